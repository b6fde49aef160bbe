//! Large indexes, whose rows of buckets are mapped: without address space for more of them they become slower and
//! refuse nobody, with it they grow, and all of it goes with the registry.
#![cfg(not(rtm_loom))]

mod common;

use common::{V4, entity};
use rtm_core::{DropBy, Handle, Registry, Settings};
use std::sync::Barrier;

const THREADS: u64 = 2;
/// Of each thread. All together are far from where the index grows, at 393,216 and 786,432: it counts a sample.
const IDS: u64 = 300_000;
const MIB: u64 = 1 << 20;

/// Bytes of address space that the process has.
fn address_space() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = pages.split(' ').next().unwrap().parse().unwrap();
    // SAFETY: no conditions.
    pages * unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as u64
}

fn limit_address_space(to: u64) {
    let limit = libc::rlimit { rlim_cur: to, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: a local.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &raw const limit) }, 0);
}

/// Two threads register, with so much address space beyond what there is. The bytes of the index then, and when it
/// may grow again.
fn fill(room: u64) -> [u64; 2] {
    let registry = Registry::<()>::new(Settings::default()).unwrap();
    let barrier = Barrier::new(THREADS as usize + 1);
    let register = |thread: u64| {
        let member = registry.join().unwrap();
        let mut handles: Vec<Handle> = Vec::with_capacity(IDS as usize);
        barrier.wait();
        barrier.wait();
        for id in 0..IDS {
            let done = member.register_handle(entity(V4, thread << 32 | id), (), DropBy::Writers);
            handles.push(done.expect("nobody is refused"));
        }
        handles
    };
    let handles: Vec<Handle> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..THREADS).map(|thread| scope.spawn(move || register(thread))).collect();
        barrier.wait();
        limit_address_space(address_space().saturating_add(room));
        barrier.wait();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    limit_address_space(libc::RLIM_INFINITY);
    let without = registry.statistics().index_bytes;
    assert_eq!(registry.enter().entities(V4).count() as u64, THREADS * IDS);
    for id in 0..1_000 {
        registry.register_handle(entity(V4, 1 << 40 | id), (), DropBy::Writers).unwrap();
    }
    let with = registry.statistics().index_bytes;
    assert_eq!(registry.enter().entities(V4).count() as u64, THREADS * IDS + 1_000);
    handles.iter().step_by(2).for_each(|handle| registry.deregister(*handle).unwrap());
    assert_eq!(registry.enter().entities(V4).count() as u64, THREADS * IDS / 2 + 1_000);
    [without, with]
}

#[test]
fn large_indexes_grow_or_do_without() {
    let room = u64::MAX / 2;
    let [grown, more] = fill(room);
    assert!(grown == 8 * MIB && more == grown, "{grown} bytes, then {more}");
    let before = address_space();
    for _ in 0..3 {
        let [without, with] = fill(3 * MIB);
        assert!(
            without <= 4 * MIB && with == grown,
            "{without} bytes without room, {with} with it"
        );
    }
    // Each time rows of 6 MiB were mapped.
    let after = address_space();
    assert!(after < before + 12 * MIB, "{after} bytes of address space, {before} before");
}
