//! The operations, each measured alike on every table; run in a process of its own for each table and size,
//! which takes turns with the others ([`launch`](super::launch)).
//!
//! A row is the name of an operation and a figure: ns per operation, or bytes per entity.
//!
//! All keys are used in random order. Before anything is timed the table is *aged*: all entities have gone
//! in random order and come again; the keys of before are the stale ones. An enumeration is timed before that (*fresh*),
//! behind it, and while one in a hundred is left (*sparse*), per entity that it shows. "pair" is a departure and a
//! registration: "hot" of ever new ids, "random" of an id that is looked up first, in the time measured.

use super::table::{Seat, Table};
use std::hint::black_box;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long and how often.
#[derive(Clone, Copy)]
pub(crate) struct Effort {
    pub(crate) repetitions: u32,
    pub(crate) millis: u64,
    pub(crate) seed: u64,
    /// Whether the run as a whole is to be short.
    pub(crate) quick: bool,
}

/// Keys for one timed call, or under one guard.
pub(super) const PIECE: usize = 1000;
/// Keys for which the functions that take many are checked, too.
const SOME: usize = 100_000;
/// A churner's own entities, and how many of them it replaces in one timed call.
const RING: usize = 256;
const TURN: usize = 64;

pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Random(seed << 8 | 1)
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 as usize % bound
    }

    pub(super) fn shuffle<T>(&mut self, all: &mut [T]) {
        for last in (1..all.len()).rev() {
            all.swap(last, self.below(last + 1));
        }
    }
}

/// Binds the calling thread to a processor.
pub(super) fn pin(processor: usize) {
    // SAFETY: a set of processors is plain memory.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: writes to the set.
    unsafe { libc::CPU_SET(processor, &mut set) };
    // SAFETY: reads the set. Without effect if there is no such processor.
    unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set) };
}

/// Bytes of memory in use, counted page by page.
pub(super) fn resident() -> f64 {
    let text = std::fs::read_to_string("/proc/self/smaps_rollup").expect("Linux");
    let line = text.lines().find_map(|line| line.strip_prefix("Rss:")).expect("what is resident");
    let kib: f64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kib * 1024.0
}

pub(super) fn row(operation: &str, figure: f64) {
    println!("{operation}\t{figure:.3}");
}

/// What a process prints when it waits for its turn.
pub(super) const READY: &str = "ready";

/// Measures a round, of this number from 0 on, whenever it is this process's turn. It rests meanwhile.
pub(super) fn in_turns(rest: impl Fn(), mut round: impl FnMut(u64)) {
    let mut turns = std::io::stdin().lines();
    for number in 0.. {
        rest();
        println!("{READY}");
        match turns.next() {
            Some(Ok(_)) => round(number),
            Some(Err(_)) | None => return,
        }
    }
}

/// Times `f`, which does so many operations at a call; only once if a call takes as long as all repetitions
/// should.
pub(super) fn time(effort: Effort, operation: &str, operations: usize, mut f: impl FnMut()) {
    let begin = Instant::now();
    f();
    let once = begin.elapsed();
    if once.as_millis() as u64 > u64::from(effort.repetitions) * effort.millis {
        return row(operation, once.as_nanos() as f64 / operations as f64);
    }
    f();
    let once = (begin.elapsed() / 2).max(Duration::from_nanos(1));
    let calls = (effort.millis as u128 * 1_000_000 / once.as_nanos()).clamp(1, 1 << 20) as u64;
    for _ in 0..effort.repetitions {
        let begin = Instant::now();
        (0..calls).for_each(|_| f());
        let time = begin.elapsed().as_nanos() as f64;
        row(operation, time / (calls as f64 * operations as f64));
    }
}

/// Times two threads at once, each on a processor of its own.
fn time_two<T: Table>(
    table: &T,
    effort: Effort,
    operations: [(&str, usize); 2],
    mut first: impl FnMut() + Send,
    mut second: impl FnMut() + Send,
) {
    let (barrier, stop) = (&Barrier::new(3), &AtomicBool::new(false));
    std::thread::scope(|scope| {
        let both: [&mut (dyn FnMut() + Send); 2] = [&mut first, &mut second];
        let threads: Vec<_> = both
            .into_iter()
            .enumerate()
            .map(|(number, f)| {
                scope.spawn(move || {
                    pin(number);
                    f();
                    let wait = || {
                        table.rest();
                        barrier.wait();
                    };
                    let timed = |_| {
                        wait();
                        let (begin, mut calls) = (Instant::now(), 0);
                        while !stop.load(Ordering::Relaxed) {
                            f();
                            calls += 1;
                        }
                        let time = begin.elapsed().as_nanos() as f64;
                        wait();
                        time / (f64::from(calls) * operations[number].1 as f64)
                    };
                    (0..effort.repetitions).map(timed).collect::<Vec<f64>>()
                })
            })
            .collect();
        table.rest();
        for _ in 0..effort.repetitions {
            stop.store(false, Ordering::Relaxed);
            barrier.wait();
            std::thread::sleep(Duration::from_millis(effort.millis));
            stop.store(true, Ordering::Relaxed);
            barrier.wait();
        }
        for (thread, (operation, _)) in threads.into_iter().zip(operations) {
            thread.join().expect("a thread").into_iter().for_each(|figure| row(operation, figure));
        }
    });
}

/// Goes through keys in pieces, round and round.
pub(super) struct Pieces<'k, K>(std::iter::Cycle<std::slice::Chunks<'k, K>>);

impl<'k, K> Pieces<'k, K> {
    pub(super) fn new(keys: &'k [K]) -> Self {
        Pieces(keys.chunks(PIECE.min(keys.len())).cycle())
    }

    /// Beginning anywhere: what has just been looked up by others may still be in a cache.
    fn somewhere(keys: &'k [K], random: &mut Random) -> Self {
        let mut all = Pieces::new(keys);
        (0..random.below(keys.len().div_ceil(PIECE))).for_each(|_| _ = all.next());
        all
    }

    pub(super) fn next(&mut self) -> &'k [K] {
        self.0.next().expect("it does not end")
    }
}

fn look_up_info<S: Seat>(seat: &S, keys: &[S::Key]) {
    black_box(keys.iter().filter_map(|key| seat.info(*key)).fold(0, u64::wrapping_add));
}

/// Replaces entities of its own.
struct Churner<S: Seat> {
    seat: S,
    ring: Vec<S::Key>,
    next: u64,
}

impl<S: Seat> Churner<S> {
    /// With ids from `first` on, which nobody else uses.
    fn new(seat: S, first: u64) -> Self {
        let ring = (first..).take(RING).map(|id| seat.insert(id)).collect();
        Churner { seat, ring, next: first + RING as u64 }
    }

    fn turn(&mut self) {
        self.seat.renew(&mut self.ring[..TURN], self.next);
        self.next += TURN as u64;
        self.ring.rotate_left(TURN);
    }

    fn end(self) {
        self.ring.into_iter().for_each(|key| assert!(self.seat.remove(key)));
    }
}

/// Ids of churners, far from all others.
pub(super) const FAR: u64 = 1 << 40;

/// Measures one table with so many entities.
pub(crate) fn measure<T: Table>(count: usize, effort: Effort) {
    // In a quick run another process is filling its table, too.
    if !effort.quick {
        pin(0);
    }
    let traits = T::TRAITS;
    let mut random = Random::new(effort.seed);
    // Touched before memory is weighed.
    let mut ids: Vec<u64> = (0..count as u64).collect();
    random.shuffle(&mut ids);
    let mut stale: Vec<Option<T::Key>> = vec![None; count];
    let before = resident();
    let begin = Instant::now();
    let table = T::new(count);
    let seat = table.seat();
    stale.iter_mut().zip(0..).for_each(|(place, id)| *place = Some(seat.insert(id)));
    row("fill", begin.elapsed().as_nanos() as f64 / count as f64);
    seat.settle();
    row("bytes", (resident() - before) / count as f64);
    let mut stale: Vec<T::Key> = stale.into_iter().flatten().collect();
    let sum: u64 = (0..count as u64).sum();
    if traits.enumerates && !effort.quick {
        let all = (count as u64, sum);
        time(effort, "enumerate, fresh", count, || assert_eq!(seat.count(), all));
    }

    let mut keys = stale.clone();
    if traits.churns {
        random.shuffle(&mut stale);
        // One in a hundred stays for a moment.
        let (few, most) = stale.split_at(count.div_ceil(100));
        most.iter().for_each(|key| assert!(seat.remove(*key)));
        seat.settle();
        if traits.enumerates && !effort.quick {
            let sum = few.iter().filter_map(|key| seat.get(*key)).sum();
            let left = (few.len() as u64, sum);
            time(effort, "enumerate, sparse", few.len(), || assert_eq!(seat.count(), left));
        }
        few.iter().for_each(|key| assert!(seat.remove(*key)));
        seat.settle();
        keys = (0..count as u64).map(|id| seat.insert(id)).collect();
        random.shuffle(&mut stale);
    }
    random.shuffle(&mut keys);
    // Is it right? In a quick run some stand for all of many; an enumeration meets all.
    let checked = if effort.quick { count.min(SOME) } else { count };
    let found = keys[..checked].iter().filter_map(|key| seat.get(*key));
    let found = found.fold((0, 0), |(n, sum), id| (n + 1, sum + id));
    assert_eq!(found.0, checked);
    assert!(checked != count || found.1 == sum);
    let some = &keys[..count.min(SOME)];
    let sum_of_some = some.iter().filter_map(|key| seat.get(*key)).sum();
    assert_eq!(seat.look_up(some), sum_of_some);
    assert_eq!(seat.look_up_dependent(some), sum_of_some);
    if traits.holds {
        assert_eq!(seat.look_up_held(some), sum_of_some);
    }
    if traits.ours {
        assert_eq!(some.iter().filter_map(|key| seat.info(*key)).sum::<u64>(), sum_of_some);
        assert_eq!(seat.batch(some), sum_of_some);
    }
    if traits.churns {
        let accepted = stale[..checked].iter().filter(|key| seat.get(**key).is_some()).count();
        assert!(accepted != 0 || seat.look_up(&stale[..count.min(SOME)]) == 0);
        row("stale accepted", accepted as f64);
    }

    pin(0);
    let mut aged = Aged { table: &table, seat, keys, stale, random };
    in_turns(|| table.rest(), |round| aged.measure(effort, round));
}

/// A table that has been filled and aged.
struct Aged<'t, T: Table> {
    table: &'t T,
    seat: T::Seat<'t>,
    keys: Vec<T::Key>,
    stale: Vec<T::Key>,
    random: Random,
}

/// The ids of a round's churners are far from another round's.
const ROUND: u64 = 1 << 34;

impl<T: Table> Aged<'_, T> {
    /// A round.
    fn measure(&mut self, effort: Effort, round: u64) {
        let count = self.keys.len();
        if T::TRAITS.enumerates && round == 0 {
            let all = (count as u64, (0..count as u64).sum());
            time(effort, "enumerate, aged", count, || assert_eq!(self.seat.count(), all));
        }
        self.look_ups(effort);
        self.two_threads(effort, round);
        if T::TRAITS.churns {
            self.pairs(effort, round);
        }
    }

    fn look_ups(&mut self, effort: Effort) {
        let Aged { seat, keys, stale, random, .. } = self;
        let (traits, piece) = (T::TRAITS, PIECE.min(keys.len()));
        let mut all = Pieces::somewhere(keys, random);
        // Other processes have had the caches; the first that is timed must not pay for that.
        let end = Instant::now() + Duration::from_millis(5 * effort.millis);
        while Instant::now() < end {
            black_box(seat.look_up(all.next()));
        }
        time(effort, "look up", piece, || {
            black_box(seat.look_up(all.next()));
        });
        time(effort, "look up, dependent", piece, || {
            black_box(seat.look_up_dependent(all.next()));
        });
        if traits.holds {
            time(effort, "look up, held", piece, || {
                black_box(seat.look_up_held(all.next()));
            });
        }
        if traits.ours {
            time(effort, "info", piece, || look_up_info(seat, all.next()));
            time(effort, "batch", piece, || {
                black_box(seat.batch(all.next()));
            });
        }
        if traits.churns {
            let mut gone = Pieces::somewhere(stale, random);
            time(effort, "stale", piece, || {
                black_box(seat.look_up(gone.next()));
            });
            if traits.ours {
                time(effort, "stale, info", piece, || look_up_info(seat, gone.next()));
            }
        }
    }

    fn two_threads(&mut self, effort: Effort, round: u64) {
        let table = self.table;
        let Aged { seat, keys, random, .. } = self;
        let (traits, piece) = (T::TRAITS, PIECE.min(keys.len()));
        let mut reader = || {
            let (seat, mut all) = (table.seat(), Pieces::somewhere(keys, random));
            move || {
                black_box(seat.look_up(all.next()));
            }
        };
        let two = [("look up, two readers", piece); 2];
        time_two(table, effort, two, reader(), reader());
        if !traits.churns {
            return;
        }
        let mut churner = Churner::new(table.seat(), FAR + round * ROUND);
        let two = [("reader beside churner", piece), ("churner beside reader", TURN)];
        time_two(table, effort, two, reader(), || churner.turn());
        let mut other = Churner::new(table.seat(), 2 * FAR + round * ROUND);
        time_two(table, effort, [("two churners", TURN); 2], || churner.turn(), || other.turn());
        let found = |seat: &T::Seat<'_>, key| seat.get(key).is_some();
        // In a quick run the peers' tails, which no gate needs, are measured once.
        if traits.ours || !effort.quick || effort.seed == 1 && round == 0 {
            tail(effort, "tail", table, keys, &mut churner, found);
        }
        if traits.ours {
            let found = |seat: &T::Seat<'_>, key| seat.info(key).is_some();
            tail(effort, "tail, info", table, keys, &mut churner, found);
        }
        churner.end();
        other.end();
        seat.settle();
    }

    fn pairs(&mut self, effort: Effort, round: u64) {
        let Aged { seat, keys, random, .. } = self;
        let piece = PIECE.min(keys.len());
        let mut id = 3 * FAR + round * ROUND;
        time(effort, "pair, hot", PIECE, || {
            seat.pairs(PIECE, id);
            id += PIECE as u64;
        });
        let mut places: Vec<usize> = (0..keys.len()).collect();
        random.shuffle(&mut places);
        let mut places = Pieces::new(&places);
        time(effort, "pair, random", piece, || seat.replace(keys, places.next()));
    }
}

/// Names of the shares that are told.
pub(super) const TAIL: [(&str, f64); 6] =
    [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("p99.99", 0.9999), ("max", 1.0)];

/// Tells the times below which shares of them stay.
pub(super) fn tell_tail(operation: &str, times: &mut [u32]) {
    times.sort_unstable();
    for (name, share) in TAIL {
        let place = (times.len() as f64 * share) as usize;
        row(&format!("{operation} {name}"), f64::from(times[place.min(times.len() - 1)]));
    }
}

/// What reading the clock costs, in ns.
pub(super) fn clock() -> u64 {
    (0..10_000).map(|_| Instant::now().elapsed().as_nanos()).min().unwrap_or(0) as u64
}

/// Single look-ups of a reader beside a churner, less what reading the clock costs: the time below which
/// shares of them stay, and the longest.
fn tail<'t, T: Table>(
    effort: Effort,
    operation: &str,
    table: &'t T,
    keys: &[T::Key],
    churner: &mut Churner<T::Seat<'t>>,
    look: impl Fn(&T::Seat<'_>, T::Key) -> bool + Send,
) {
    let (clock, stop) = (clock(), &AtomicBool::new(false));
    let mut times: Vec<u32> = Vec::with_capacity(1 << 22);
    std::thread::scope(|scope| {
        let thread = scope.spawn(move || {
            pin(1);
            while !stop.load(Ordering::Relaxed) {
                churner.turn();
            }
        });
        let seat = table.seat();
        let mut all = keys.iter().cycle();
        let end = Instant::now() + Duration::from_millis(effort.millis * 10);
        let mut now = Instant::now();
        while now < end && times.len() < times.capacity() {
            let key = *all.next().expect("it does not end");
            let begin = Instant::now();
            assert!(look(&seat, key));
            now = Instant::now();
            let time = (now - begin).as_nanos() as u64;
            times.push(time.saturating_sub(clock) as u32);
        }
        stop.store(true, Ordering::Relaxed);
        table.rest();
        thread.join().expect("a churner");
    });
    tell_tail(operation, &mut times);
}
