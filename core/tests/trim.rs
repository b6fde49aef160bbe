//! Memory that is given back to the system: how much, that handles stay what they were, and that it serves
//! again.

mod common;

use common::{Small, V4, entity};
use rtm_core::{DropBy, Handle, Registry, Settings};
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Barrier, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

const MIB: usize = 1 << 20;

type Payload = [u64; 14];

/// What is resident is the whole process's.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("Rss:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
}

fn registry() -> Registry<Payload> {
    Registry::new(Settings::default()).unwrap()
}

fn fill(registry: &Registry<Payload>, ids: std::ops::Range<u64>) -> Vec<Handle> {
    let one = |id| registry.register_handle(entity(V4, id), [id; 14], DropBy::Writers).unwrap();
    ids.map(one).collect()
}

fn empty(registry: &Registry<Payload>, handles: &[Handle]) {
    handles.iter().for_each(|handle| registry.deregister(*handle).unwrap());
    registry.flush().unwrap();
}

#[test]
fn a_peak_is_given_back_and_its_handles_stay_stale() {
    let _alone = alone();
    let registry = registry();
    let staying = fill(&registry, 0..1_000);
    let before = resident();
    let peak = fill(&registry, 1_000..200_000);
    let most = resident();
    assert!(most - before > 25 * MIB, "{before} {most}");
    empty(&registry, &peak);
    let bytes = registry.trim().unwrap();
    let after = resident();
    // All but the huge pages in which those that stay are, and the end.
    assert!(bytes > 20 * MIB, "{bytes}");
    assert!(most - after > bytes - 2 * MIB, "{bytes} of {most}, {after} left");
    assert_eq!(registry.trim().unwrap(), 0);

    assert!(peak.iter().all(|handle| registry.info(*handle).is_err()));
    assert!(peak.iter().all(|handle| registry.look_up(*handle).is_err()));
    let again = fill(&registry, 1_000..200_000);
    {
        let known: HashSet<_> = peak.iter().chain(&staying).collect();
        assert!(again.iter().all(|handle| !known.contains(handle)), "a handle was given out twice");
    }
    assert!(peak.iter().all(|handle| registry.info(*handle).is_err()));
    for (handle, id) in staying.iter().chain(&again).zip(0..) {
        assert_eq!(registry.info(*handle).unwrap().id, id);
        assert_eq!(registry.look_up(*handle).unwrap()[13], id);
    }
    // The same slots serve again.
    assert!(resident() < most + 2 * MIB, "{} after {most}", resident());
    empty(&registry, &again);
    assert!(registry.trim().unwrap() >= bytes);
}

#[test]
fn what_one_thread_has_given_back_serves_others() {
    let _alone = alone();
    let registry = registry();
    let (count, mut chunks) = (50_000_u64, Vec::new());
    for _ in 0..4 {
        let both_full = Barrier::new(2);
        std::thread::scope(|scope| {
            for first in [0, 1 << 32] {
                let (registry, both_full) = (&registry, &both_full);
                scope.spawn(move || {
                    let handles = fill(registry, first..first + count);
                    both_full.wait();
                    empty(registry, &handles);
                });
            }
        });
        chunks.push(registry.statistics().chunks);
        // This thread stays, and the memory that is given back is first its own.
        registry.trim().unwrap();
    }
    let needed = 2 * count / 512;
    assert!(chunks[3] <= chunks[0] + needed / 10, "{chunks:?}, where {needed} are needed");
}

#[test]
fn what_threads_that_ended_have_left_is_given_back() {
    let _alone = alone();
    let registry = registry();
    std::thread::scope(|scope| {
        for part in 0..4 {
            let registry = &registry;
            scope.spawn(move || {
                let handles = fill(registry, part * 20_000..(part + 1) * 20_000);
                empty(registry, &handles);
            });
        }
    });
    registry.flush().unwrap();
    // 80,000 slots of 144 bytes are 11 MiB; some chunks are not used to their end.
    let bytes = registry.trim().unwrap();
    assert!(bytes >= 4 * MIB, "{bytes}");
}

#[test]
fn nothing_to_give() {
    let _alone = alone();
    let registry = registry();
    assert_eq!(registry.trim().unwrap(), 0);
    let handles = fill(&registry, 0..100);
    assert_eq!(registry.trim().unwrap(), 0);
    // What waits for a reader is in use.
    let guard = registry.enter();
    handles.iter().for_each(|handle| registry.deregister(*handle).unwrap());
    assert_eq!(registry.trim().unwrap(), 0);
    drop(guard);
    registry.flush().unwrap();
    // What was not used to its end stays.
    assert!(registry.trim().unwrap() <= 100 * 128);
}

/// What other threads have at hand keeps little else from going, wherever it is.
#[test]
fn scattered_slots_of_an_idle_thread() {
    let _alone = alone();
    let registry = registry();
    let mut handles = fill(&registry, 0..300_000);
    common::Random(7).shuffle(&mut handles);
    let (ready, done) = (Barrier::new(2), Barrier::new(2));
    std::thread::scope(|scope| {
        let some = handles.split_off(handles.len() - 500);
        let (registry, ready, done) = (&registry, &ready, &done);
        scope.spawn(move || {
            empty(registry, &some);
            let at_hand = registry.member_figures().map(|figures| figures.free).max();
            assert!(at_hand >= Some(300), "{at_hand:?}");
            ready.wait();
            done.wait();
        });
        ready.wait();
        let before = resident();
        empty(registry, &handles);
        let bytes = registry.trim().unwrap();
        let gone = before.saturating_sub(resident());
        done.wait();
        // Of 36 MiB.
        assert!(bytes > 28 * MIB && gone > 26 * MIB, "{bytes} and {gone} given back");
    });
}

#[test]
fn while_the_table_grows() {
    let _alone = alone();
    let registry = registry();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                registry.trim().unwrap();
            }
        });
        for part in 0..20 {
            let handles = fill(&registry, part * 30_000..(part + 1) * 30_000);
            empty(&registry, &handles[..10_000]);
            assert!(handles[10_000..].iter().all(|handle| registry.info(*handle).is_ok()));
        }
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn beside_those_who_come_and_go() {
    let _alone = alone();
    // Small chunks, and not many, so that pages are given back, not huge pages.
    let registry = Registry::<Payload, Small>::with_config(Settings::default()).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Many that are all gone from time to time, and few that are not.
        for (thread, count) in [(0, 4_000), (1, 20)] {
            let (registry, stop) = (&registry, &stop);
            scope.spawn(move || {
                let mut first = thread << 32;
                while !stop.load(Ordering::Relaxed) {
                    let new = |id| {
                        registry.register_handle(entity(V4, id), [id; 14], DropBy::Writers).unwrap()
                    };
                    let handles: Vec<_> = (first..first + count).map(new).collect();
                    for (handle, id) in handles.iter().zip(first..) {
                        assert_eq!(registry.info(*handle).unwrap().id, id);
                        assert_eq!(registry.look_up(*handle).unwrap()[7], id);
                    }
                    for handle in &handles {
                        registry.deregister(*handle).unwrap();
                        assert!(registry.info(*handle).is_err());
                    }
                    first += count;
                    std::thread::sleep(Duration::from_micros(count));
                }
            });
        }
        let (begin, mut trims, mut given) = (Instant::now(), 0, 0);
        while trims < 200 || (given < 4 * MIB && begin.elapsed() < Duration::from_secs(30)) {
            registry.collect();
            given += registry.trim().unwrap();
            trims += 1;
        }
        stop.store(true, Ordering::Relaxed);
        // Half of what is vacant is left to others while a trim is under way.
        let slots = registry.statistics().chunks * 8;
        println!("{} KiB given back in {trims} trims, {slots} slots", given >> 10);
        assert!(given >= 4 * MIB && slots <= 24_000);
    });
    registry.flush().unwrap();
    assert_eq!(registry.statistics().live, 0);
}
