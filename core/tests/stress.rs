//! Many threads at once, with everything checked that can be: payloads alive, handles exact,
//! enumerations complete, drops counted.
#![cfg(not(rtm_loom))]

mod common;

use common::{Random, Small, Tracked, V4, entity};
use rtm_core::{Config, DropBy, Handle, Refusal, Registry, Settings, Standard};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

const SLOTS: usize = 64;

/// Handles by id, as the threads publish them. A slot's id is its index.
struct Board {
    handles: Vec<AtomicU64>,
    stop: AtomicBool,
}

impl Board {
    fn random(&self, random: &mut Random) -> Option<(u64, Handle)> {
        let id = random.below(SLOTS as u64);
        let bits = self.handles[id as usize].load(Ordering::Acquire);
        Some((id, Handle::from_bits(bits)?))
    }
}

fn churn<C: Config>(
    registry: &Registry<Tracked<'_>, C>,
    board: &Board,
    make: &(impl Fn(u64) -> (EntityPayload, DropBy) + Sync),
    seed: u64,
) -> usize {
    let mut random = Random(seed);
    let mut made = 0;
    while !board.stop.load(Ordering::Relaxed) {
        let id = random.below(SLOTS as u64);
        let place = &board.handles[id as usize];
        let old = place.load(Ordering::Acquire);
        if let Some(handle) = Handle::from_bits(old) {
            if registry.deregister(handle).is_ok() {
                // We won: the handle must be dead for ever, and nobody else may have won.
                assert!(registry.registered_info(handle).is_err());
                assert_eq!(place.swap(0, Ordering::AcqRel), old, "two threads deregistered it");
            }
        } else {
            let (payload, drop_by) = make(id);
            made += 1;
            match registry.register_handle(entity(V4, id), payload.0, drop_by) {
                Ok(handle) => {
                    // The last holder may not have cleared its place yet; it will.
                    let (bits, free) = (handle.to_bits(), Ordering::AcqRel);
                    while place.compare_exchange(0, bits, free, Ordering::Relaxed).is_err() {
                        std::thread::yield_now();
                    }
                }
                Err(error) if error.refusal == Refusal::AlreadyExists => {}
                // Nobody drops fast enough: back-pressure, to which a client yields.
                Err(error) => {
                    let pressure = [Refusal::Backlog, Refusal::NoSlot];
                    assert!(pressure.contains(&error.refusal), "{error}");
                    registry.collect();
                }
            }
        }
    }
    made
}

struct EntityPayload(Tracked<'static>);

fn stress<C: Config>() {
    let drops: &'static AtomicUsize = Box::leak(Box::default());
    let registry = Registry::<Tracked<'static>, C>::with_config(Settings::default()).unwrap();
    let board = Board {
        handles: (0..SLOTS).map(|_| AtomicU64::new(0)).collect(),
        stop: AtomicBool::new(false),
    };
    // These stay registered: every enumeration must show them, once.
    let fixed: Vec<_> = (1000..1100)
        .map(|id| registry.register(entity(V4, id), Tracked::new(id, drops)).unwrap())
        .collect();
    let make = |id: u64| {
        let drop_by = if id.is_multiple_of(2) { DropBy::Writers } else { DropBy::Collectors };
        (EntityPayload(Tracked::new(id, drops)), drop_by)
    };
    let (registry_ref, board_ref, make) = (&registry, &board, &make);
    let made: usize = std::thread::scope(|scope| {
        let churners: Vec<_> = (0..3)
            .map(|n| scope.spawn(move || churn(registry_ref, board_ref, make, 77 + n)))
            .collect();
        for n in 0..2 {
            scope.spawn(move || {
                let mut random = Random(1234 + n);
                let mut stale = Vec::new();
                let mut guard = registry_ref.enter();
                while !board_ref.stop.load(Ordering::Relaxed) {
                    let mut held = Vec::new();
                    for _ in 0..16 {
                        let Some((id, handle)) = board_ref.random(&mut random) else { continue };
                        match guard.get(handle) {
                            Ok(entity) => held.push((id, entity)),
                            Err(_) => stale.push(handle),
                        }
                        if let Ok(info) = registry_ref.info(handle) {
                            assert_eq!(info.id, id);
                        }
                        if registry_ref.reference(handle).is_ok() {
                            assert_eq!(registry_ref.info(handle).map(|info| info.id), Ok(id));
                            registry_ref.release(handle).unwrap();
                        }
                    }
                    for (id, entity) in held {
                        entity.check(id);
                    }
                    if let Some(&handle) = stale.get(random.next() as usize % stale.len().max(1)) {
                        assert!(guard.get(handle).is_err(), "a stale handle came back to life");
                    }
                    stale.truncate(4096);
                    guard.refresh();
                }
            });
        }
        scope.spawn(move || {
            while !board_ref.stop.load(Ordering::Relaxed) {
                let guard = registry_ref.enter();
                let (mut count, mut sum) = (0, 0);
                for entity in guard.entities(V4) {
                    entity.check(entity.info().id);
                    if entity.info().id >= 1000 {
                        count += 1;
                        sum += entity.info().id;
                    }
                }
                assert_eq!((count, sum), (100, (1000..1100).sum()));
            }
        });
        scope.spawn(move || {
            while !board_ref.stop.load(Ordering::Relaxed) {
                registry_ref.flush().unwrap();
                registry_ref.collect();
            }
        });
        std::thread::sleep(std::time::Duration::from_millis(1500));
        board.stop.store(true, Ordering::Relaxed);
        churners.into_iter().map(|churner| churner.join().unwrap()).sum()
    });
    for place in &board.handles {
        if let Some(handle) = Handle::from_bits(place.load(Ordering::Relaxed)) {
            registry.deregister(handle).unwrap();
        }
    }
    registry.flush().unwrap();
    assert_eq!(drops.load(Ordering::Relaxed), made);
    assert!(made > 1000, "only {made} registrations");
    drop(fixed);
    assert_eq!(registry.statistics().live, 0);
}

#[test]
fn everything_at_once() {
    stress::<Standard>();
}

#[test]
fn everything_at_once_in_small() {
    stress::<Small>();
}

#[test]
fn one_registration_and_one_deregistration_win() {
    const ROUNDS: usize = 2000;
    let registry = Registry::<u64, Small>::with_config(Settings::default()).unwrap();
    let (barrier, handle, wins) = (Barrier::new(3), AtomicU64::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for thread in 0..3 {
            let (registry, barrier, handle, wins) = (&registry, &barrier, &handle, &wins);
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    let info = entity(V4, round as u64 % 7);
                    barrier.wait();
                    match registry.register_handle(info, thread, DropBy::Writers) {
                        Ok(won) => {
                            handle.store(won.to_bits(), Ordering::Release);
                            wins.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(error) => assert_eq!(error.refusal, Refusal::AlreadyExists),
                    }
                    barrier.wait();
                    let won = Handle::from_bits(handle.load(Ordering::Acquire)).unwrap();
                    if registry.deregister(won).is_ok() {
                        wins.fetch_add(1, Ordering::Relaxed);
                    }
                    barrier.wait();
                    assert_eq!(wins.load(Ordering::Relaxed), 2 * (round + 1));
                }
            });
        }
    });
}

#[test]
fn a_flush_sees_every_earlier_deregistration() {
    // Another thread seals and processes all the time; whatever this one deregistered before its
    // flush must be dropped after it.
    let (stop, noise) = (AtomicBool::new(false), AtomicUsize::new(0));
    let registry = Registry::<Tracked, Small>::with_config(Settings::default()).unwrap();
    let own: &'static AtomicUsize = Box::leak(Box::default());
    std::thread::scope(|scope| {
        for thread in 0..2_u64 {
            let (registry, stop, noise) = (&registry, &stop, &noise);
            scope.spawn(move || {
                let mut id = 1 << 32 | thread << 40;
                while !stop.load(Ordering::Relaxed) {
                    id += 1;
                    // A refusal is back-pressure: the few slots of this layout all wait.
                    let refused =
                        registry.register(entity(V4, id), Tracked::new(id, noise)).is_err();
                    if refused || id % 64 == 0 {
                        registry.collect();
                    }
                }
            });
        }
        for round in 0..3000 {
            let drop_by = if round % 2 == 0 { DropBy::Writers } else { DropBy::Collectors };
            let payload = Tracked::new(round, own);
            // Refused or not, the payload is gone after the flush.
            if let Ok(handle) = registry.register_handle(entity(V4, round), payload, drop_by) {
                registry.deregister(handle).unwrap();
            }
            registry.flush().unwrap();
            assert_eq!(own.load(Ordering::Relaxed) as u64, round + 1);
        }
        stop.store(true, Ordering::Relaxed);
    });
}
