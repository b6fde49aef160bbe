//! More threads than processors, and members that do nothing.
//!
//! A process has one table, for peers that can have but one. A thread says that it rests before it waits.

use super::measure::{Effort, FAR, Random, pin, row, time};
use super::memory::patiently;
use super::table::{Seat, Table};
use std::hint::black_box;
use std::sync::Barrier;
use std::time::{Duration, Instant};

/// How many threads; a quick run leaves some out.
pub(super) const THREADS: [usize; 7] = [1, 2, 4, 8, 16, 32, 64];
const QUICK: [usize; 3] = [1, 2, 64];
/// As many as there are processors, and many more: throughput must not collapse.
pub(super) const CROWD: [usize; 2] = [2, 64];
/// How many members do nothing.
pub(super) const IDLE: [usize; 3] = [0, 64, 1024];

/// What a thread does in a turn: looks all entities up or not, and replaces so many of its own.
#[derive(Clone, Copy)]
pub(super) struct Mix {
    pub(super) name: &'static str,
    looks_up: bool,
    replaced: usize,
}

const MIXED: Mix = Mix { name: "M/s", looks_up: true, replaced: 16 };
/// Each alone.
pub(super) const ALONE: [Mix; 2] = [
    Mix { name: "look-ups, M/s", looks_up: true, replaced: 0 },
    Mix { name: "pairs, M/s", looks_up: false, replaced: 64 },
];

impl Mix {
    /// The name of a row: million operations per second of so many threads.
    pub(super) fn row(self, threads: usize) -> String {
        format!("{}, {threads} threads", self.name)
    }
}

/// The name of a row: of look-ups and registrations together.
pub(super) fn throughput(threads: usize) -> String {
    MIXED.row(threads)
}

/// The name of a row: registrations that were refused, of a million.
pub(super) fn refusals(threads: usize) -> String {
    format!("refused in a million, {threads} threads")
}

/// The name of a row: ns for a look-up beside so many members that do nothing.
pub(super) fn beside(idle: usize) -> String {
    format!("look up, {idle} idle members")
}

/// A table with so many entities, and their keys in random order. The thread rests.
fn filled<T: Table>(count: usize) -> (T, Vec<T::Key>) {
    let table = T::new(count);
    let seat = table.seat();
    let mut keys: Vec<T::Key> = (0..count as u64).map(|id| seat.insert(id)).collect();
    drop(seat);
    Random::new(1).shuffle(&mut keys);
    table.rest();
    (table, keys)
}

/// Throughput of threads that all do the same.
pub(super) fn threads<T: Table>(count: usize, effort: Effort) {
    let (table, keys) = filled::<T>(count);
    let chosen = if effort.quick { &QUICK[..] } else { &THREADS };
    let (repetitions, millis) = if effort.quick { (1, 100) } else { (3, 200) };
    for threads in chosen.iter().copied() {
        for _ in 0..repetitions {
            let refused = turns(&table, &keys, threads, MIXED, Duration::from_millis(millis));
            row(&refusals(threads), refused * 1e6);
        }
    }
}

/// Throughput of few and of many threads, in turn.
pub(super) fn crowd<T: Table>(count: usize, effort: Effort) {
    let (table, keys) = filled::<T>(count);
    let millis = if effort.quick { 60 } else { 300 };
    for _ in 0..3 {
        for (mix, threads) in ALONE.into_iter().flat_map(|mix| CROWD.map(|threads| (mix, threads)))
        {
            turns(&table, &keys, threads, mix, Duration::from_millis(millis));
        }
    }
}

/// The share of registrations that were refused.
fn turns<T: Table>(
    table: &T,
    keys: &[T::Key],
    threads: usize,
    mix: Mix,
    duration: Duration,
) -> f64 {
    let barrier = &Barrier::new(threads);
    let sum: u64 = (0..keys.len() as u64).sum();
    let work = |number: u64| {
        let (seat, mut id) = (table.seat(), number * FAR);
        let mut own: Vec<T::Key> = (id..).take(mix.replaced).map(|id| seat.insert(id)).collect();
        let (mut turns, mut refused) = (0_u64, 0_u64);
        id += mix.replaced as u64;
        table.rest();
        barrier.wait();
        let begin = Instant::now();
        while begin.elapsed() < duration {
            assert!(!mix.looks_up || seat.look_up(keys) == sum);
            for key in &mut own {
                assert!(seat.remove(*key));
                *key = seat.try_insert(id).unwrap_or_else(|| {
                    refused += 1;
                    patiently(&seat, id)
                });
                id += 1;
            }
            turns += 1;
        }
        let end = Instant::now();
        own.into_iter().for_each(|key| assert!(seat.remove(key)));
        (begin, end, turns, refused)
    };
    let done: Vec<_> = std::thread::scope(|scope| {
        let work = &work;
        let threads = (1..=threads as u64).map(|number| scope.spawn(move || work(number)));
        let threads: Vec<_> = threads.collect();
        threads.into_iter().map(|thread| thread.join().expect("a thread")).collect()
    });
    let begin = done.iter().map(|(begin, ..)| *begin).min().expect("a thread");
    let end = done.iter().map(|(_, end, ..)| *end).max().expect("a thread");
    let turns: u64 = done.iter().map(|(_, _, turns, _)| turns).sum();
    let refused: u64 = done.iter().map(|(.., refused)| refused).sum();
    let looked_up = if mix.looks_up { keys.len() } else { 0 };
    let operations = turns as f64 * (looked_up + mix.replaced) as f64;
    row(&mix.row(threads), operations / (end - begin).as_secs_f64() / 1e6);
    refused as f64 / (turns as f64 * mix.replaced as f64).max(1.0)
}

/// Looking up while others that have looked up once sleep.
pub(super) fn idle<T: Table>(count: usize, effort: Effort) {
    pin(0);
    let (table, keys) = &filled::<T>(count);
    for others in IDLE {
        let (barrier, key) = (&Barrier::new(others + 1), keys[0]);
        std::thread::scope(|scope| {
            for _ in 0..others {
                let thread = std::thread::Builder::new().stack_size(1 << 17);
                let spawned = thread.spawn_scoped(scope, move || {
                    let seat = table.seat();
                    assert!(seat.get(key).is_some());
                    table.rest();
                    barrier.wait();
                    barrier.wait();
                });
                spawned.expect("room for a thread");
            }
            barrier.wait();
            let seat = table.seat();
            time(effort, &beside(others), keys.len(), || {
                black_box(seat.look_up(keys));
            });
            table.rest();
            barrier.wait();
        });
    }
}
