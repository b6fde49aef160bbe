//! What the benches share.

// Not all of it by all of them.
#![allow(dead_code)]

use criterion::measurement::WallTime;
use criterion::{BatchSize, BenchmarkGroup, BenchmarkId, Criterion, Throughput};
use rtm_core::{AddressFamily, EntityInfo, TableKey};
use std::hint::black_box;
use std::sync::Barrier;
use std::time::{Duration, Instant};

/// An entity of the one table.
pub(crate) fn info(id: u64) -> EntityInfo {
    EntityInfo { table: TableKey { instance: 0, family: AddressFamily::Inet }, id }
}

/// Makes a slot of 128 bytes.
#[derive(Clone, Copy)]
pub(crate) struct Payload(pub(crate) [u64; 14]);

pub(crate) fn payload(id: u64) -> Payload {
    Payload([id; 14])
}

/// Sizes of tables.
pub(crate) const SIZES: [usize; 2] = [1_000, 1_000_000];

/// Handles for one timed call.
pub(crate) const BATCH: usize = 1024;

/// Times `f` over fresh random picks of `handles`.
pub(crate) fn look_up<H: Copy>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    handles: &[H],
    mut f: impl FnMut(&[H]) -> u64,
) {
    let mut random = 88_172_645_463_325_252_u64;
    let mut pick = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        handles[random as usize % handles.len()]
    };
    group.throughput(Throughput::Elements(BATCH as u64));
    group.bench_function(BenchmarkId::new(name, handles.len()), |bencher| {
        bencher.iter_batched_ref(
            || std::iter::repeat_with(&mut pick).take(BATCH).collect::<Vec<_>>(),
            |chosen| black_box(f(chosen)),
            BatchSize::SmallInput,
        );
    });
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

/// So many of the handles, each far from the one before.
pub(crate) struct Picks<'h, H> {
    handles: &'h [H],
    next: usize,
    left: u64,
}

impl<H: Copy> Iterator for Picks<'_, H> {
    type Item = H;

    #[inline(always)]
    fn next(&mut self) -> Option<H> {
        self.left = self.left.checked_sub(1)?;
        let handle = self.handles[self.next];
        // Less than all of them, and prime, so that it meets each.
        self.next += 617;
        if self.next >= self.handles.len() {
            self.next -= self.handles.len();
        }
        Some(handle)
    }
}

/// Times `f` over picks of `handles` in two threads at once.
pub(crate) fn two_threads<H: Copy + Sync>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    handles: &[H],
    f: impl Fn(Picks<'_, H>) + Sync,
) {
    group.throughput(Throughput::Elements(1));
    group.bench_function(
        BenchmarkId::new(format!("{name}, two threads"), handles.len()),
        |bencher| {
            bencher.iter_custom(|iterations| {
                in_threads(2, iterations, |left| f(Picks { handles, next: 0, left }))
            });
        },
    );
}

pub(crate) fn config() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_millis(1500))
        .sample_size(20)
}
