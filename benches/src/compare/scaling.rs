//! More threads than processors, and members that do nothing.

use super::measure::{Effort, FAR, Random, pin, row, time};
use super::memory::patiently;
use super::table::{Seat, Table};
use std::hint::black_box;
use std::sync::Barrier;
use std::time::{Duration, Instant};

/// How many threads; a quick run leaves some out.
pub(super) const THREADS: [usize; 7] = [1, 2, 4, 8, 16, 32, 64];
const QUICK: [usize; 4] = [1, 2, 8, 64];
/// How many members do nothing.
pub(super) const IDLE: [usize; 3] = [0, 64, 1024];

/// In one turn a thread looks up so many entities, and replaces so many of its own.
const LOOKED_UP: usize = 1000;
const REPLACED: usize = 16;

/// The name of a row: million operations per second of so many threads.
pub(super) fn throughput(threads: usize) -> String {
    format!("M/s, {threads} threads")
}

/// The name of a row: registrations that were refused, of a million.
pub(super) fn refusals(threads: usize) -> String {
    format!("refused in a million, {threads} threads")
}

/// The name of a row: ns for a look-up beside so many members that do nothing.
pub(super) fn beside(idle: usize) -> String {
    format!("look up, {idle} idle members")
}

/// Throughput of threads that all do the same.
pub(super) fn threads<T: Table>(count: usize, effort: Effort) {
    let chosen = if effort.quick { &QUICK[..] } else { &THREADS };
    let (repetitions, millis) = if effort.quick { (1, 200) } else { (3, 500) };
    for threads in chosen.iter().copied() {
        for _ in 0..repetitions {
            turns::<T>(count, threads, Duration::from_millis(millis));
        }
    }
}

fn turns<T: Table>(count: usize, threads: usize, duration: Duration) {
    let table = &T::new(count);
    let seat = table.seat();
    let mut keys: Vec<T::Key> = (0..count as u64).map(|id| seat.insert(id)).collect();
    Random::new(1).shuffle(&mut keys);
    let (keys, barrier) = (&keys, &Barrier::new(threads));
    let work = |number: u64| {
        let (seat, mut id) = (table.seat(), number * FAR);
        let mut own: Vec<T::Key> = (id..).take(REPLACED).map(|id| seat.insert(id)).collect();
        let mut all = keys.iter().cycle();
        let (mut turns, mut refused) = (0_u64, 0_u64);
        id += REPLACED as u64;
        barrier.wait();
        let begin = Instant::now();
        while begin.elapsed() < duration {
            let mut looked_up = all.by_ref().take(LOOKED_UP);
            assert!(looked_up.all(|key| black_box(seat.get(*key)).is_some()));
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
    let operations = turns as f64 * (LOOKED_UP + REPLACED) as f64;
    row(&throughput(threads), operations / (end - begin).as_secs_f64() / 1e6);
    row(&refusals(threads), refused as f64 / (turns as f64 * REPLACED as f64).max(1.0) * 1e6);
}

/// Looking up while others that have looked up once sleep.
pub(super) fn idle<T: Table>(count: usize, effort: Effort) {
    pin(0);
    for others in IDLE {
        let table = &T::new(count);
        let seat = table.seat();
        let mut keys: Vec<T::Key> = (0..count as u64).map(|id| seat.insert(id)).collect();
        Random::new(1).shuffle(&mut keys);
        let (barrier, key) = (&Barrier::new(others + 1), keys[0]);
        std::thread::scope(|scope| {
            for _ in 0..others {
                let thread = std::thread::Builder::new().stack_size(1 << 17);
                let spawned = thread.spawn_scoped(scope, move || {
                    let seat = table.seat();
                    assert!(seat.get(key).is_some());
                    barrier.wait();
                    barrier.wait();
                });
                spawned.expect("room for a thread");
            }
            barrier.wait();
            time(effort, &beside(others), keys.len(), || {
                black_box(keys.iter().filter_map(|key| seat.get(*key)).fold(0, u64::wrapping_add));
            });
            barrier.wait();
        });
    }
}
