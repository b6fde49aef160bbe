//! The registry's rules, one by one, on one thread or with barriers.
#![cfg(not(rtm_loom))]

mod common;

use common::{Random, Small, Tracked, V4, V6, entity};
use rtm_core::{
    DeregisterError, DropBy, HandlesOnly, InvalidHandle, Limits, ReferenceError, Refusal, Registry,
    Settings, TableKey, WaitError,
};
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};

fn registry<T: Send + Sync>() -> Registry<T> {
    Registry::new(Settings::default()).unwrap()
}

#[test]
fn the_life_of_an_entity() {
    let registry = registry::<String>();
    let registration = registry.register(entity(V4, 7), "ospf".into()).unwrap();
    let handle = registration.handle();
    assert_eq!(registry.info(handle), Ok(entity(V4, 7)));
    let guard = registry.enter();
    let held = guard.get(handle).unwrap();
    assert_eq!((held.as_str(), held.info(), held.handle()), ("ospf", entity(V4, 7), handle));
    drop(registration);
    assert_eq!(guard.get(handle).map(|_| ()), Err(InvalidHandle));
    assert_eq!(registry.info(handle), Err(InvalidHandle));
    assert_eq!(held.as_str(), "ospf", "a guard keeps what it has seen");
    drop(guard);
    assert_eq!(registry.deregister(handle), Err(DeregisterError::InvalidHandle));
    registry.flush().unwrap();
    let statistics = registry.statistics();
    assert_eq!((statistics.live, statistics.retired, statistics.reclaimed), (0, 0, 1));
}

#[test]
fn what_is_looked_up_by_itself_is_kept() {
    let drops = AtomicUsize::new(0);
    let registry = registry::<Tracked>();
    let participant = registry.join().unwrap();
    let payload = Tracked::new(7, &drops);
    let first = registry.register_handle(entity(V4, 7), payload, DropBy::Writers).unwrap();
    for found in [participant.look_up(first).unwrap(), registry.look_up(first).unwrap()] {
        found.check(7);
        assert_eq!((found.entity().info(), found.entity().handle()), (entity(V4, 7), first));
    }
    let found = [participant.look_up(first).unwrap(), registry.look_up(first).unwrap()];
    registry.deregister(first).unwrap();
    assert_eq!(registry.flush(), Err(WaitError::InsideSection));
    for _ in 0..10 {
        registry.collect();
    }
    found.iter().for_each(|found| found.check(7));
    assert_eq!(drops.load(Ordering::Relaxed), 0);
    assert!(participant.look_up(first).is_err() && registry.look_up(first).is_err());
    drop(found);
    registry.flush().unwrap();
    assert_eq!(drops.load(Ordering::Relaxed), 1);
}

#[test]
fn without_an_index_ids_mean_nothing() {
    let drops = AtomicUsize::new(0);
    let registry = Registry::<Tracked, HandlesOnly>::with_config(Settings::default()).unwrap();
    let add = || registry.register(entity(V4, 7), Tracked::new(7, &drops)).unwrap();
    let twins = [add(), add()];
    let [one, other] = twins.each_ref().map(|twin| twin.handle());
    assert_ne!(one, other);
    assert_eq!(registry.enter().entities(V4).count(), 0);
    assert_eq!(registry.deregister(one), Ok(()));
    assert_eq!(registry.info(one), Err(InvalidHandle));
    assert_eq!(registry.info(other), Ok(entity(V4, 7)));
    registry.look_up(other).unwrap().check(7);
    drop(twins);
    registry.flush().unwrap();
    let statistics = registry.statistics();
    assert_eq!((drops.load(Ordering::Relaxed), statistics.live, statistics.registered), (2, 0, 2));
}

#[test]
fn a_first_limit_counts_who_is_there() {
    let registry = registry::<u64>();
    let add = |id| registry.register_handle(entity(V4, id), id, DropBy::Writers);
    let refused = |id| add(id).map_err(|error| error.refusal) == Err(Refusal::EntityLimit);
    let early: Vec<_> = (0..10).map(|id| add(id).unwrap()).collect();
    for limit in [5, 6] {
        registry.set_limits(Limits { entities: limit, ..Limits::default() }).unwrap();
        assert!(refused(10));
    }
    // Also in a thread that registered none of them.
    std::thread::scope(|scope| {
        scope.spawn(|| early[..4].iter().for_each(|handle| registry.deregister(*handle).unwrap()));
    });
    assert!(refused(10));
    registry.deregister(early[4]).unwrap();
    let late = add(10).unwrap();
    assert!(refused(11));
    registry.deregister(early[5]).unwrap();
    registry.deregister(late).unwrap();
    let two = [add(11).unwrap(), add(12).unwrap()];
    assert!(refused(13));
    registry.set_limits(Limits::default()).unwrap();
    let many: Vec<_> = (20..120).map(|id| add(id).unwrap()).collect();
    registry.set_limits(Limits { entities: 1, ..Limits::default() }).unwrap();
    let all = early[6..].iter().chain(&two).chain(&many);
    all.for_each(|handle| {
        assert!(refused(13));
        registry.deregister(*handle).unwrap();
    });
    add(13).unwrap();
    assert!(refused(14));
}

#[test]
fn ids_are_unique_within_a_table() {
    let registry = registry::<u32>();
    let first = registry.register(entity(V4, 1), 10).unwrap();
    let error = registry.register(entity(V4, 1), 11).unwrap_err();
    assert_eq!((error.refusal, error.payload), (Refusal::AlreadyExists, 11));
    let other = TableKey { instance: 9, ..V4 };
    let elsewhere = [V6, other].map(|table| registry.register(entity(table, 1), 12).unwrap());
    assert_ne!(elsewhere[0].handle(), elsewhere[1].handle());
    let old = first.into_handle();
    registry.deregister(old).unwrap();
    let again = registry.register(entity(V4, 1), 13).unwrap();
    assert_ne!(again.handle(), old);
    assert_eq!(registry.info(old), Err(InvalidHandle));
}

#[test]
fn extreme_ids_are_ordinary() {
    let registry = registry::<u64>();
    let ids = [0, 1, 2, u64::MAX - 2, u64::MAX - 1, u64::MAX];
    for _ in 0..3 {
        let owned: Vec<_> =
            ids.iter().map(|&id| registry.register(entity(V4, id), id).unwrap()).collect();
        for &id in &ids {
            let refused = registry.register(entity(V4, id), id).unwrap_err();
            assert_eq!(refused.refusal, Refusal::AlreadyExists);
        }
        let mut seen: Vec<_> = registry.enter().entities(V4).map(|e| *e.payload()).collect();
        seen.sort_unstable();
        assert_eq!(seen, ids);
        drop(owned);
    }
}

#[test]
fn references_keep_the_information_and_nothing_else() {
    let drops = AtomicUsize::new(0);
    let registry = registry::<Tracked>();
    let handle = registry.register(entity(V6, 3), Tracked::new(3, &drops)).unwrap().into_handle();
    registry.reference(handle).unwrap();
    registry.reference(handle).unwrap();
    assert_eq!(registry.references(handle), 2);
    registry.deregister(handle).unwrap();
    assert_eq!(registry.info(handle), Ok(entity(V6, 3)));
    assert_eq!(registry.registered_info(handle), Err(InvalidHandle));
    assert!(registry.enter().get(handle).is_err());
    assert_eq!(registry.statistics().referenced, 1);
    registry.flush().unwrap();
    assert_eq!(drops.load(Ordering::Relaxed), 1, "references do not keep the payload");
    registry.reference(handle).unwrap();
    for _ in 0..3 {
        assert_eq!(registry.info(handle), Ok(entity(V6, 3)));
        registry.release(handle).unwrap();
    }
    assert_eq!(registry.info(handle), Err(InvalidHandle));
    assert_eq!(registry.release(handle), Err(InvalidHandle));
    assert_eq!(registry.reference(handle), Err(ReferenceError::InvalidHandle));
    assert!(registry.is_idle());
}

#[test]
fn a_slot_is_not_reused_while_referenced() {
    let registry = Registry::<u64, Small>::with_config(Settings::default()).unwrap();
    let kept = registry.register(entity(V4, 1), 1).unwrap().into_handle();
    registry.reference(kept).unwrap();
    registry.deregister(kept).unwrap();
    for round in 0..200 {
        drop(registry.register(entity(V4, 2), round).unwrap());
        assert_eq!(registry.info(kept), Ok(entity(V4, 1)));
    }
    registry.release(kept).unwrap();
    assert_eq!(registry.info(kept), Err(InvalidHandle));
}

#[test]
fn too_many_releases_are_an_error() {
    let registry = registry::<()>();
    let owned = registry.register(entity(V4, 1), ()).unwrap();
    assert_eq!(registry.release(owned.handle()), Err(InvalidHandle));
    registry.reference(owned.handle()).unwrap();
    registry.release(owned.handle()).unwrap();
    assert_eq!(registry.release(owned.handle()), Err(InvalidHandle));
    assert!(registry.info(owned.handle()).is_ok(), "a release never ends a registration");
}

#[test]
fn limits_are_kept_and_can_be_replaced() {
    let limits = Limits { entities: 5, instances: 2, references: 3, ..Limits::default() };
    let registry = Registry::<u64>::new(Settings { limits, ..Settings::default() }).unwrap();
    let mut owned: Vec<_> =
        (0..5).map(|id| registry.register(entity(V4, id), id).unwrap()).collect();
    let refused = |id| registry.register(entity(V4, id), id).unwrap_err().refusal;
    assert_eq!(refused(9), Refusal::EntityLimit);
    assert_eq!(refused(1), Refusal::EntityLimit, "limits come before uniqueness");
    registry.set_limits(Limits { entities: 3, ..limits }).unwrap();
    for left in [4, 3] {
        owned.pop();
        assert_eq!(registry.statistics().live, left);
        assert_eq!(refused(9), Refusal::EntityLimit, "still {left} with a limit of 3");
    }
    owned.pop();
    owned.push(registry.register(entity(V4, 9), 9).unwrap());
    assert_eq!(refused(10), Refusal::EntityLimit);
    registry.set_limits(Limits { entities: 100, ..limits }).unwrap();
    let table = |instance| TableKey { instance, ..V4 };
    owned.push(registry.register(entity(table(7), 1), 1).unwrap());
    let error = registry.register(entity(table(8), 1), 1).unwrap_err();
    assert_eq!(error.refusal, Refusal::InstanceLimit);
    owned.push(registry.register(entity(V6, 1), 1).unwrap());
    let handle = owned[0].handle();
    (0..3).for_each(|_| registry.reference(handle).unwrap());
    assert_eq!(registry.reference(handle), Err(ReferenceError::Limit));
    assert_eq!(registry.limits().references, 3);
}

#[test]
fn the_entity_limit_is_exact_across_threads() {
    const LIMIT: u32 = 100;
    let limits = Limits { entities: LIMIT, ..Limits::default() };
    let registry = Registry::<u64>::new(Settings { limits, ..Settings::default() }).unwrap();
    let (live, barrier) = (AtomicUsize::new(0), Barrier::new(4));
    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            let (registry, live, barrier) = (&registry, &live, &barrier);
            scope.spawn(move || {
                for round in 0..50 {
                    barrier.wait();
                    let mut mine = Vec::new();
                    for n in 0..60 {
                        let id = (round * 4 + thread) * 60 + n;
                        if let Ok(owned) = registry.register(entity(V4, id), id) {
                            let now = live.fetch_add(1, Ordering::SeqCst) + 1;
                            assert!(now <= LIMIT as usize, "{now} entities");
                            mine.push(owned);
                        }
                    }
                    // Everybody tried 60: exactly the limit must have got in.
                    barrier.wait();
                    assert_eq!(live.load(Ordering::SeqCst), LIMIT as usize);
                    barrier.wait();
                    live.fetch_sub(mine.len(), Ordering::SeqCst);
                    drop(mine);
                }
            });
        }
    });
}

#[test]
fn a_stuck_reader_meets_back_pressure() {
    const BACKLOG: u64 = 1000;
    let drops = AtomicUsize::new(0);
    let limits = Limits { backlog: BACKLOG, ..Limits::default() };
    let registry = Registry::<Tracked>::new(Settings { limits, ..Settings::default() }).unwrap();
    let owned = registry.register(entity(V4, 0), Tracked::new(0, &drops)).unwrap();
    let reader = registry.join().unwrap();
    let guard = reader.enter();
    let held = guard.get(owned.handle()).unwrap();
    drop(owned);
    let mut cycles = 0;
    let refusal = loop {
        match registry.register(entity(V4, 1), Tracked::new(1, &drops)) {
            Ok(owned) => drop(owned),
            Err(error) => break error.refusal,
        }
        cycles += 1;
        assert!(cycles < 10 * BACKLOG);
    };
    assert_eq!(refusal, Refusal::Backlog);
    assert_eq!(cycles, BACKLOG);
    held.check(0);
    let statistics = registry.statistics();
    assert_eq!((statistics.retired, statistics.inside), (BACKLOG + 1, 1));
    drop(guard);
    let owned = registry.register(entity(V4, 1), Tracked::new(1, &drops)).unwrap();
    drop(owned);
    registry.flush().unwrap();
    // One more for each payload that a refusal gave back.
    assert_eq!(drops.load(Ordering::Relaxed) as u64, BACKLOG + 3);
    assert!(registry.statistics().retired_peak >= BACKLOG);
}

#[test]
fn waits_are_refused_where_they_would_hang() {
    let registry = registry::<()>();
    let guard = registry.enter();
    assert_eq!(registry.synchronize(), Err(WaitError::InsideSection));
    assert_eq!(registry.flush(), Err(WaitError::InsideSection));
    drop(guard);
    let reader = registry.join().unwrap();
    let guard = reader.enter();
    assert_eq!(registry.synchronize(), Err(WaitError::InsideSection));
    drop(guard);
    registry.synchronize().unwrap();
    registry.flush().unwrap();
}

#[test]
fn a_drop_may_use_the_registry_but_not_wait() {
    struct Nosy<'a>(&'a Registry<Nosy<'static>>, &'a AtomicUsize);
    impl Drop for Nosy<'_> {
        fn drop(&mut self) {
            assert_eq!(self.0.flush(), Err(WaitError::InsideDrop));
            assert_eq!(self.0.synchronize(), Err(WaitError::InsideDrop));
            self.0.collect();
            assert_eq!(self.0.enter().entities(V4).count(), 0);
            self.1.fetch_add(1, Ordering::Relaxed);
        }
    }
    let registry: &'static Registry<Nosy<'static>> =
        Box::leak(Box::new(Registry::new(Settings::default()).unwrap()));
    let drops: &'static AtomicUsize = Box::leak(Box::default());
    for id in 0..3 {
        let drop_by = if id == 0 { DropBy::Collectors } else { DropBy::Writers };
        let handle = registry.register_handle(entity(V4, id), Nosy(registry, drops), drop_by);
        registry.deregister(handle.unwrap()).unwrap();
    }
    registry.flush().unwrap();
    assert_eq!(drops.load(Ordering::Relaxed), 3);
}

#[test]
fn a_panicking_drop_loses_nothing_else() {
    struct Bomb<'a>(bool, &'a AtomicUsize);
    impl Drop for Bomb<'_> {
        fn drop(&mut self) {
            self.1.fetch_add(1, Ordering::Relaxed);
            assert!(!self.0, "bomb");
        }
    }
    for drop_by in [DropBy::Writers, DropBy::Collectors] {
        let drops = AtomicUsize::new(0);
        let registry = registry::<Bomb>();
        for id in 0..10 {
            let bomb = Bomb(id == 4, &drops);
            let handle = registry.register_handle(entity(V4, id), bomb, drop_by).unwrap();
            registry.deregister(handle).unwrap();
        }
        let flush = std::panic::AssertUnwindSafe(|| registry.flush());
        assert!(std::panic::catch_unwind(flush).is_err());
        registry.flush().unwrap();
        assert_eq!(drops.load(Ordering::Relaxed), 10);
        assert_eq!(registry.statistics().retired, 0);
    }
}

#[test]
fn only_collectors_drop_deferred_payloads() {
    let drops = AtomicUsize::new(0);
    let registry = Registry::<Tracked, Small>::with_config(Settings::default()).unwrap();
    for id in 0..100 {
        let payload = Tracked::new(id, &drops);
        let handle = registry.register_handle(entity(V4, id), payload, DropBy::Collectors);
        registry.deregister(handle.unwrap()).unwrap();
    }
    assert_eq!(drops.load(Ordering::Relaxed), 0);
    let participant = registry.join().unwrap();
    participant.collect();
    assert_eq!(drops.load(Ordering::Relaxed), 0);
    let mut departed = participant.departed();
    for _ in 0..30 {
        drop(departed.next_departed().unwrap());
    }
    drop(departed);
    assert_eq!(drops.load(Ordering::Relaxed), 30);
    registry.flush().unwrap();
    assert_eq!(drops.load(Ordering::Relaxed), 100);
    assert_eq!(registry.statistics().reclaimed, 100);
}

#[test]
fn a_reader_never_runs_a_drop() {
    let drops = AtomicUsize::new(0);
    let tracked = Registry::<Tracked>::new(Settings::default()).unwrap();
    let (retired, read) = (Barrier::new(2), Barrier::new(2));
    std::thread::scope(|scope| {
        let (tracked, drops, retired, read) = (&tracked, &drops, &retired, &read);
        scope.spawn(move || {
            for id in 0..2000 {
                drop(tracked.register(entity(V4, id), Tracked::new(id, drops)).unwrap());
            }
            let before = drops.load(Ordering::Relaxed);
            retired.wait();
            read.wait();
            assert_eq!(drops.load(Ordering::Relaxed), before);
        });
        scope.spawn(move || {
            retired.wait();
            // crossbeam collects at every 128th pin of any thread.
            for _ in 0..10_000 {
                drop(tracked.enter());
            }
            read.wait();
        });
    });
    tracked.flush().unwrap();
    assert_eq!(drops.load(Ordering::Relaxed), 2000);
}

#[test]
fn enumeration_is_per_table_and_complete() {
    let registry = registry::<u64>();
    let owned: Vec<_> = (0..500_u64)
        .map(|id| {
            let table = if id % 3 == 0 { V6 } else { V4 };
            registry.register(entity(table, id), id).unwrap()
        })
        .collect();
    let guard = registry.enter();
    let mut seen: Vec<_> = guard.entities(V6).map(|entity| entity.info().id).collect();
    seen.sort_unstable();
    let expected: Vec<_> = (0..500).filter(|id| id % 3 == 0).collect();
    assert_eq!(seen, expected);
    assert_eq!(guard.entities(V4).count() + seen.len(), owned.len());
    assert_eq!(guard.entities(TableKey { instance: 1, ..V4 }).count(), 0);
}

#[test]
fn an_empty_registry_is_small_and_threads_come_and_go() {
    let registry = registry::<[u64; 14]>();
    assert!(registry.statistics().bytes < 8 << 10);
    for round in 0..200 {
        // Joined, so that its thread-local destructors have run.
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                drop(registry.register(entity(V4, round), [round; 14]).unwrap());
            });
            thread.join().unwrap();
        });
    }
    let statistics = registry.statistics();
    assert!(statistics.members <= 2, "{} places for 200 threads", statistics.members);
    assert!(statistics.chunks <= statistics.members, "a chunk is used up before the next");
    registry.flush().unwrap();
    assert_eq!(registry.statistics().reclaimed, 200);
}

#[test]
fn the_index_grows_with_its_ids() {
    let registry = registry::<()>();
    let mut owned = Vec::new();
    for (count, most) in [(1_000, 16 << 10), (200_000, 2 << 20)] {
        for id in owned.len() as u64..count {
            owned.push(registry.register(entity(V4, id), ()).unwrap().into_handle());
        }
        let bytes = registry.statistics().index_bytes;
        // Between one bucket and four for each id.
        assert!(bytes >= 8 * count && bytes <= 2 * most, "{bytes} bytes for {count} ids");
        assert_eq!(registry.enter().entities(V4).count() as u64, count);
    }
    for id in 0..owned.len() as u64 {
        let again = registry.register(entity(V4, id), ()).map(|_| ());
        assert_eq!(again.unwrap_err().refusal, Refusal::AlreadyExists);
    }
    for handle in owned {
        registry.deregister(handle).unwrap();
    }
    assert_eq!(registry.enter().entities(V4).count(), 0);
}

#[test]
fn random_ids_for_ever_do_not_fill_the_index() {
    let registry = registry::<()>();
    let mut random = Random(42);
    for _ in 0..100_000 {
        drop(registry.register(entity(V4, random.next()), ()).unwrap());
    }
    let bytes = registry.statistics().index_bytes;
    assert!(bytes < 64 << 10, "{bytes} bytes of index for one live entity");
}

#[test]
fn a_guard_may_outlive_the_thread_s_membership() {
    std::thread_local! {
        static KEPT: std::cell::RefCell<Option<rtm_core::Guard<'static, u64>>> =
            const { std::cell::RefCell::new(None) };
    }
    let registry: &'static Registry<u64> = Box::leak(Box::new(registry()));
    let handle = registry.register(entity(V4, 1), 5).unwrap().into_handle();
    for _ in 0..10 {
        std::thread::spawn(move || {
            // Thread-local destructors run in an unspecified order: both orders must work.
            KEPT.with(|kept| *kept.borrow_mut() = Some(registry.enter()));
            KEPT.with(|kept| assert_eq!(*kept.borrow().as_ref().unwrap().get(handle).unwrap(), 5));
        })
        .join()
        .unwrap();
    }
    assert_eq!(registry.statistics().inside, 0);
    registry.synchronize().unwrap();
}

/// Also when more wait than when a magazine was last handed over.
#[test]
fn the_peak_of_the_retired_never_sinks() {
    let registry = Registry::<u64>::new(Settings::default()).unwrap();
    let member = registry.join().unwrap();
    let reader = registry.join().unwrap();
    let guard = reader.enter();
    for id in 0..300 {
        let handle = member.register_handle(entity(V4, id), id, DropBy::Writers).unwrap();
        member.deregister(handle).unwrap();
    }
    let before = registry.statistics();
    assert_eq!((before.retired, before.retired_peak), (300, 300));
    drop(guard);
    // The magazine that was handed over is due then; what has not been handed over stays as it is.
    registry.synchronize().unwrap();
    for id in 0..10 {
        let handle = member.register_handle(entity(V6, id), id, DropBy::Writers).unwrap();
        member.deregister(handle).unwrap();
    }
    let after = registry.statistics();
    assert!(after.retired < 300 && after.retired_peak == 300, "{after:?}");
}
