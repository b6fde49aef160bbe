//! Unique ids, beside concurrent maps from ids to handles, in tables of so many. One and two threads, each
//! with ids of its own; an operation is done for 1,024 ids at a time, and undone outside the time.
//!
//! The registry's index is not reached alone. "insert" is a registration and "remove" a deregistration, slot
//! and all; "find" is the registration of an id that is taken, the only thing that looks one up, and which
//! also reserves a slot and gives it back. The maps do the map's part alone: what ours costs above theirs
//! is index and entity together.

mod common;

use common::{BATCH, SIZES, in_batches, info};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use rtm_benches::hash::Build;
use rtm_core::{DropBy, Handle, Participant, Refusal, Registry, Settings};
use std::hint::black_box;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

trait Ids: Sync {
    type Seat<'i>: Seat
    where
        Self: 'i;

    fn seat(&self) -> Self::Seat<'_>;
}

/// A thread's way to the ids.
trait Seat {
    type Key;

    fn insert(&self, id: u64) -> Self::Key;
    fn remove(&self, key: Self::Key);
    fn contains(&self, id: u64) -> bool;
}

impl Ids for Registry<u64> {
    type Seat<'i> = Participant<'i, u64>;

    fn seat(&self) -> Participant<'_, u64> {
        self.join().unwrap()
    }
}

impl Seat for Participant<'_, u64> {
    type Key = Handle;

    fn insert(&self, id: u64) -> Handle {
        self.register_handle(info(id), id, DropBy::Writers).unwrap()
    }

    fn remove(&self, handle: Handle) {
        self.deregister(handle).unwrap();
    }

    fn contains(&self, id: u64) -> bool {
        let refused = self.register_handle(info(id), id, DropBy::Writers);
        matches!(refused, Err(error) if error.refusal == Refusal::AlreadyExists)
    }
}

macro_rules! map {
    ($map:ty, |$self:ident, $id:ident| $insert:expr, $remove:expr, $contains:expr) => {
        impl Ids for $map {
            type Seat<'i> = &'i $map;

            fn seat(&self) -> &$map {
                self
            }
        }

        impl Seat for &$map {
            type Key = u64;

            fn insert(&$self, $id: u64) -> u64 {
                assert!($insert);
                $id
            }

            fn remove(&$self, $id: u64) {
                assert!($remove);
            }

            fn contains(&$self, $id: u64) -> bool {
                $contains
            }
        }
    };
}

map!(
    dashmap::DashMap<u64, u64, Build>,
    |self, id| (**self).insert(id, id).is_none(),
    (**self).remove(&id).is_some(),
    self.contains_key(&id)
);
map!(
    papaya::HashMap<u64, u64, Build>,
    |self, id| self.pin().insert(id, id).is_none(),
    self.pin().remove(&id).is_some(),
    self.pin().contains_key(&id)
);
map!(
    scc::HashIndex<u64, u64, Build>,
    |self, id| self.insert_sync(id, id).is_ok(),
    self.remove_sync(&id),
    self.peek_with(&id, |_, _| ()).is_some()
);

#[derive(Clone, Copy)]
enum Operation {
    Insert,
    Remove,
    Find,
}

/// Does `most` operations; the time of them alone.
fn run<S: Seat>(
    seat: &S,
    operation: Operation,
    most: u64,
    next: &AtomicU64,
    count: u64,
) -> Duration {
    let first = next.fetch_add(most, Ordering::Relaxed);
    let begin = Instant::now();
    if let Operation::Find = operation {
        // A stride that meets all ids.
        let find = |n: u64| seat.contains(n.wrapping_mul(617_033) % count);
        let found = (first..first + most).filter(|n| find(*n)).count();
        let time = begin.elapsed();
        assert_eq!(found as u64, most);
        return time;
    }
    let keys: Vec<S::Key> = (first..first + most).map(|id| seat.insert(id)).collect();
    let inserted = begin.elapsed();
    keys.into_iter().for_each(|key| seat.remove(key));
    if let Operation::Insert = operation { inserted } else { begin.elapsed() - inserted }
}

fn bench_one<I: Ids>(criterion: &mut Criterion, name: &str, ids: &I, count: usize) {
    let seat = ids.seat();
    (0..count as u64).for_each(|id| {
        black_box(seat.insert(id));
    });
    let next = AtomicU64::new(1 << 40);
    for (what, operation) in
        [("insert", Operation::Insert), ("remove", Operation::Remove), ("find", Operation::Find)]
    {
        for threads in [1, 2] {
            let mut group = criterion.benchmark_group(format!("{what}, {threads} threads"));
            group.bench_function(BenchmarkId::new(name, count), |bencher| {
                bencher.iter_custom(|iterations| {
                    let barrier = Barrier::new(threads);
                    let work = || {
                        let seat = ids.seat();
                        barrier.wait();
                        in_batches(iterations, BATCH as u64, |most| {
                            run(&seat, operation, most, &next, count as u64)
                        })
                    };
                    std::thread::scope(|scope| {
                        let all: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
                        let all = all.into_iter().map(|thread| thread.join().unwrap());
                        all.sum::<Duration>() / threads as u32
                    })
                });
            });
            group.finish();
        }
    }
}

fn bench(criterion: &mut Criterion) {
    for count in SIZES {
        let registry = Registry::<u64>::new(Settings::default()).unwrap();
        bench_one(criterion, "rtm", &registry, count);
        drop(registry);
        let map = dashmap::DashMap::with_capacity_and_hasher(count, Build::default());
        bench_one(criterion, "dashmap", &map, count);
        drop(map);
        let map = papaya::HashMap::with_capacity_and_hasher(count, Build::default());
        bench_one(criterion, "papaya", &map, count);
        drop(map);
        let map = scc::HashIndex::with_capacity_and_hasher(count, Build::default());
        bench_one(criterion, "scc HashIndex", &map, count);
    }
}

criterion_group! {
    name = benches;
    config = common::config();
    targets = bench
}
criterion_main!(benches);
