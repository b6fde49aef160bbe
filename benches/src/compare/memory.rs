//! Memory, as the system counts what is resident: of tables that grow from nothing, that shrink, whose
//! entities come and go, and of which a reader never leaves.
//!
//! What is asked of a table before it is weighed at rest: its own way to let garbage go, if it has one, some
//! pairs so that others' epochs pass, and that the allocator gives back what it can.

use super::measure::{Effort, FAR, Random, resident, row};
use super::table::{Seat, Table};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Per live entity (after all have gone: per entity that was there).
pub(super) const GROWN: [&str; 7] = [
    "bytes, grown",
    "bytes, most while growing",
    "bytes, the first 90 % gone",
    "bytes, any 90 % gone",
    "bytes, all gone",
    "bytes, the first 90 % gone, trimmed",
    "bytes, all gone, trimmed",
];
/// Per live entity.
pub(super) const CHURNED: [&str; 2] = ["bytes, most while churned", "bytes, after churn"];
/// Of pairs of which no departure can be completed.
pub(super) const STUCK: [&str; 4] = [
    "stuck reader, pairs",
    "stuck reader, refused",
    "stuck reader, MiB",
    "stuck reader, MiB after it",
];

/// As many pairs are tried while a reader is stuck: twice as many as the registry lets wait.
pub(super) fn pairs() -> u64 {
    2 * super::ours::backlog()
}

/// Lets garbage go.
fn settle<S: Seat>(seat: &S) {
    const ID: u64 = 9 * FAR;
    for _ in 0..2000 {
        assert!(seat.remove(patiently(seat, ID)));
    }
    seat.settle();
    // SAFETY: gives memory back that nobody uses.
    unsafe { libc::malloc_trim(0) };
}

/// Inserts when it is not refused any more; others must run for that.
pub(super) fn patiently<S: Seat>(seat: &S, id: u64) -> S::Key {
    loop {
        match seat.try_insert(id) {
            Some(key) => return key,
            None => std::thread::yield_now(),
        }
    }
}

/// Weighs a table that was not made for so many, unless it must be.
pub(super) fn grown<T: Table>(count: usize) {
    let mut places: Vec<Option<T::Key>> = vec![None; count];
    let before = resident();
    let table = T::growing(count);
    let seat = table.seat();
    let (step, mut most) = ((count / 200).max(1), 0.0_f64);
    for (number, place) in places.iter_mut().enumerate() {
        *place = Some(seat.insert(number as u64));
        let live = number + 1;
        if live % step == 0 && live >= count / 10 {
            most = most.max((resident() - before) / live as f64);
        }
    }
    row(GROWN[1], most.max((resident() - before) / count as f64));
    settle(&seat);
    let full = (resident() - before) / count as f64;
    row(GROWN[0], full);
    let mut keys: Vec<T::Key> = places.into_iter().flatten().collect();
    // The keys have moved; what is weighed from here on is what has changed since.
    let base = resident() - full * count as f64;
    let gone = count / 10 * 9;
    let left = count - gone;

    keys[..gone].iter().for_each(|key| assert!(seat.remove(*key)));
    settle(&seat);
    row(GROWN[2], (resident() - base) / left as f64);
    if T::TRAITS.ours {
        seat.trim();
        row(GROWN[5], (resident() - base) / left as f64);
    }
    for (key, id) in keys[..gone].iter_mut().zip(0..) {
        *key = seat.insert(id);
    }
    Random::new(1).shuffle(&mut keys);
    keys[..gone].iter().for_each(|key| assert!(seat.remove(*key)));
    settle(&seat);
    row(GROWN[3], (resident() - base) / left as f64);
    assert!(keys[gone..].iter().all(|key| seat.get(*key).is_some()));
    keys[gone..].iter().for_each(|key| assert!(seat.remove(*key)));
    settle(&seat);
    row(GROWN[4], (resident() - base) / count as f64);
    if T::TRAITS.ours {
        seat.trim();
        row(GROWN[6], (resident() - base) / count as f64);
    }
}

/// Weighs a table while two threads replace its entities by others with ever new ids.
pub(super) fn churned<T: Table>(count: usize, effort: Effort) {
    let mut keys: Vec<Option<T::Key>> = vec![None; count];
    let before = resident();
    let table = T::growing(count);
    let seat = table.seat();
    keys.iter_mut().zip(0..).for_each(|(place, id)| *place = Some(seat.insert(id)));
    let end = Instant::now() + Duration::from_secs(if effort.quick { 1 } else { 60 });
    let (stop, table) = (&AtomicBool::new(false), &table);
    let mut most = 0.0_f64;
    table.rest();
    std::thread::scope(|scope| {
        for (part, number) in keys.chunks_mut(count.div_ceil(2)).zip(1..) {
            scope.spawn(move || {
                let (seat, mut random, mut id) = (table.seat(), Random::new(number), number * FAR);
                while !stop.load(Ordering::Relaxed) {
                    for _ in 0..1000 {
                        let place = random.below(part.len());
                        let key = part[place].take().expect("it is there");
                        assert!(seat.remove(key));
                        part[place] = Some(patiently(&seat, id));
                        id += 1;
                    }
                }
            });
        }
        while Instant::now() < end {
            std::thread::sleep(Duration::from_millis(10));
            most = most.max(resident() - before);
        }
        stop.store(true, Ordering::Relaxed);
    });
    settle(&seat);
    assert!(keys.iter().flatten().all(|key| seat.get(*key).is_some()));
    row(CHURNED[0], most / count as f64);
    row(CHURNED[1], (resident() - before) / count as f64);
}

/// Weighs a table while a reader stays inside its section and another thread registers and deregisters, until
/// it is refused or has done all [`pairs`].
pub(super) fn stuck<T: Table>(count: usize) {
    let table = T::growing(count);
    let seat = table.seat();
    let keys: Vec<T::Key> = (0..count as u64).map(|id| seat.insert(id)).collect();
    let (table, barrier, key) = (&table, &Barrier::new(2), keys[0]);
    let before = resident();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let seat = table.seat();
            let guard = seat.guard();
            assert_eq!(seat.get_held(&guard, key), Some(0));
            barrier.wait();
            barrier.wait();
        });
        barrier.wait();
        let pair = |id| seat.try_insert(id).map(|key| assert!(seat.remove(key)));
        let done = (FAR..FAR + pairs()).map_while(pair).count() as u64;
        row(STUCK[0], done as f64);
        row(STUCK[1], f64::from(u8::from(done < pairs())));
        row(STUCK[2], (resident() - before) / f64::from(1 << 20));
        barrier.wait();
    });
    // Once the reader has left, nothing is refused.
    settle(&seat);
    row(STUCK[3], (resident() - before) / f64::from(1 << 20));
}
