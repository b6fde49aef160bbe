//! What the benches of client code share.

// Not all of it by all of them.
#![allow(dead_code)]

use criterion::Criterion;
use rtm_core::{AddressFamily, EntityInfo, TableKey};
use std::sync::Barrier;
use std::time::{Duration, Instant};

/// An entity of the one table.
pub(crate) fn info(id: u64) -> EntityInfo {
    EntityInfo { table: TableKey { instance: 0, family: AddressFamily::Inet }, id }
}

/// `iterations` in batches of at most `most`; the sum of what `batch` says they took.
pub(crate) fn in_batches(
    iterations: u64,
    most: u64,
    mut batch: impl FnMut(u64) -> Duration,
) -> Duration {
    (0..iterations).step_by(most as usize).map(|done| batch(most.min(iterations - done))).sum()
}

/// Runs `f` as often as asked for in each of so many threads; from when all begin until all have ended.
pub(crate) fn in_threads(threads: u32, iterations: u64, f: impl Fn(u64) + Sync) -> Duration {
    let barrier = Barrier::new(threads as usize);
    std::thread::scope(|scope| {
        let run = || {
            barrier.wait();
            let begin = Instant::now();
            f(iterations);
            (begin, Instant::now())
        };
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(run)).collect();
        let (mut begin, mut end) = run();
        for other in others {
            let (began, ended) = other.join().unwrap();
            (begin, end) = (begin.min(began), end.max(ended));
        }
        end - begin
    })
}

pub(crate) fn config() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_millis(1500))
        .sample_size(20)
}
