//! Entities found by handle, beside the best peers and the floor, in one run. Entities of 112 bytes (a slot
//! of 128), random access in an order of its own for each repetition.
//!
//! A look-up reads a field of the entity it finds. "guard" enters and leaves for each look-up, "held" does
//! not, "stale" is refused. "two readers": both threads look up, each through a seat of its own. "register"
//! is the registration of a new entity in a table of so many, its departure not in the time; ours keeps a
//! unique-id index, theirs none. "pair without ids" is a registration and a deregistration, without an index.

mod common;

use common::{BATCH, Payload, SIZES, in_batches, in_threads, info, look_up, payload, two_threads};
use concurrent_slotmap::{SlotId, SlotMap};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use parking_lot::RwLock;
use rtm_core::{DropBy, Handle, HandlesOnly, Registry, Settings};
use std::hint::black_box;
use std::time::Instant;

fn bench(criterion: &mut Criterion) {
    for count in SIZES {
        let ids = 0..count as u64;
        let gone_ids = || u64::MAX - 100_000..u64::MAX - 100_000 + count.min(100_000) as u64;
        let registry = Registry::<Payload>::new(Settings::default()).unwrap();
        let member = registry.join().unwrap();
        let register = |id| member.register_handle(info(id), payload(id), DropBy::Writers).unwrap();
        let handles: Vec<Handle> = ids.clone().map(register).collect();
        let stale: Vec<Handle> = gone_ids().map(register).collect();
        stale.iter().for_each(|handle| member.deregister(*handle).unwrap());
        let slotmap = SlotMap::<SlotId, Payload>::new(1 << 24);
        let insert = |id| slotmap.insert(payload(id), &slotmap.pin());
        let theirs: Vec<SlotId> = ids.clone().map(insert).collect();
        let gone: Vec<SlotId> = gone_ids().map(insert).collect();
        gone.iter().for_each(|id| assert!(slotmap.remove(*id, &slotmap.pin()).is_some()));
        let locked = RwLock::new(slotmap::SlotMap::new());
        let keys: Vec<_> = ids.clone().map(|id| locked.write().insert(payload(id))).collect();
        let old: Vec<_> = gone_ids().map(|id| locked.write().insert(payload(id))).collect();
        old.iter().for_each(|key| assert!(locked.write().remove(*key).is_some()));
        let sharded = sharded_slab::Slab::new();
        let places: Vec<usize> =
            ids.clone().map(|id| sharded.insert(payload(id)).unwrap()).collect();
        let floor: Vec<Payload> = ids.map(payload).collect();
        let indexes: Vec<usize> = (0..count).collect();

        let mut group = criterion.benchmark_group("guard");
        look_up(&mut group, "rtm", &handles, |chosen| {
            chosen.iter().map(|h| registry.enter().get(*h).unwrap().0[1]).sum()
        });
        look_up(&mut group, "rtm participant", &handles, |chosen| {
            chosen.iter().map(|h| member.enter().get(*h).unwrap().0[1]).sum()
        });
        look_up(&mut group, "concurrent-slotmap", &theirs, |chosen| {
            chosen.iter().map(|id| slotmap.get(*id, &slotmap.pin()).unwrap().0[1]).sum()
        });
        look_up(&mut group, "RwLock<slotmap>", &keys, |chosen| {
            chosen.iter().map(|key| locked.read()[*key].0[1]).sum()
        });
        look_up(&mut group, "sharded-slab", &places, |chosen| {
            chosen.iter().map(|place| sharded.get(*place).unwrap().0[1]).sum()
        });
        look_up(&mut group, "floor Vec", &indexes, |chosen| {
            chosen.iter().map(|at| floor[*at].0[1]).sum()
        });
        group.finish();

        let mut group = criterion.benchmark_group("held");
        look_up(&mut group, "rtm", &handles, |chosen| {
            let guard = registry.enter();
            chosen.iter().map(|h| guard.get(*h).unwrap().0[1]).sum()
        });
        look_up(&mut group, "rtm batch", &handles, |chosen| {
            let mut sum = 0;
            registry.enter().get_each(chosen, |_, found| sum += found.unwrap().0[1]);
            sum
        });
        look_up(&mut group, "concurrent-slotmap", &theirs, |chosen| {
            let guard = slotmap.pin();
            chosen.iter().map(|id| slotmap.get(*id, &guard).unwrap().0[1]).sum()
        });
        look_up(&mut group, "RwLock<slotmap>", &keys, |chosen| {
            let guard = locked.read();
            chosen.iter().map(|key| guard[*key].0[1]).sum()
        });
        group.finish();

        let mut group = criterion.benchmark_group("stale");
        look_up(&mut group, "rtm participant", &stale, |chosen| {
            chosen.iter().filter(|h| member.enter().get(**h).is_ok()).count() as u64
        });
        look_up(&mut group, "concurrent-slotmap", &gone, |chosen| {
            chosen.iter().filter(|id| slotmap.get(**id, &slotmap.pin()).is_some()).count() as u64
        });
        look_up(&mut group, "RwLock<slotmap>", &old, |chosen| {
            chosen.iter().filter(|key| locked.read().get(**key).is_some()).count() as u64
        });
        group.finish();

        let mut group = criterion.benchmark_group("two readers");
        two_threads(&mut group, "rtm participant", &handles, |picks| {
            let member = registry.join().unwrap();
            let one = |handle| member.enter().get(handle).unwrap().0[1];
            black_box(picks.map(one).fold(0, u64::wrapping_add));
        });
        two_threads(&mut group, "concurrent-slotmap", &theirs, |picks| {
            let one = |id| slotmap.get(id, &slotmap.pin()).unwrap().0[1];
            black_box(picks.map(one).fold(0, u64::wrapping_add));
        });
        two_threads(&mut group, "sharded-slab", &places, |picks| {
            let one = |place| sharded.get(place).unwrap().0[1];
            black_box(picks.map(one).fold(0, u64::wrapping_add));
        });
        group.finish();

        let mut group = criterion.benchmark_group("register");
        let mut next = 1 << 40;
        group.bench_function(BenchmarkId::new("rtm participant", count), |bencher| {
            bencher.iter_custom(|iterations| {
                in_batches(iterations, BATCH as u64, |most| {
                    let begin = Instant::now();
                    let new: Vec<Handle> = (next..next + most).map(register).collect();
                    let time = begin.elapsed();
                    next += most;
                    new.into_iter().for_each(|handle| member.deregister(handle).unwrap());
                    time
                })
            });
        });
        group.bench_function(BenchmarkId::new("concurrent-slotmap", count), |bencher| {
            bencher.iter_custom(|iterations| {
                in_batches(iterations, BATCH as u64, |most| {
                    let begin = Instant::now();
                    let new: Vec<SlotId> = (0..most).map(insert).collect();
                    let time = begin.elapsed();
                    new.into_iter().for_each(|id| {
                        slotmap.remove(id, &slotmap.pin()).unwrap();
                    });
                    time
                })
            });
        });
        group.finish();

        let mut group = criterion.benchmark_group("pair without ids");
        let bare = Registry::<Payload, HandlesOnly>::with_config(Settings::default()).unwrap();
        let others = bare.join().unwrap();
        for id in 0..count as u64 {
            others.register_handle(info(id), payload(id), DropBy::Writers).unwrap();
        }
        for threads in [1, 2] {
            group.bench_function(
                BenchmarkId::new(format!("rtm, threads: {threads}"), count),
                |bencher| {
                    bencher.iter_custom(|iterations| {
                        in_threads(threads, iterations, |iterations| {
                            let member = bare.join().unwrap();
                            for id in 0..iterations {
                                let new =
                                    member.register_handle(info(id), payload(id), DropBy::Writers);
                                member.deregister(new.unwrap()).unwrap();
                            }
                        })
                    });
                },
            );
            group.bench_function(
                BenchmarkId::new(format!("sharded-slab, threads: {threads}"), count),
                |bencher| {
                    bencher.iter_custom(|iterations| {
                        in_threads(threads, iterations, |iterations| {
                            for id in 0..iterations {
                                let place = sharded.insert(payload(id)).unwrap();
                                assert!(sharded.remove(place));
                            }
                        })
                    });
                },
            );
        }
        group.finish();

        let mut group = criterion.benchmark_group("enumerate");
        group.throughput(Throughput::Elements(count as u64));
        group.sample_size(10);
        group.bench_function(BenchmarkId::new("rtm", count), |bencher| {
            bencher.iter(|| {
                let guard = registry.enter();
                guard.entities(info(0).table).map(|entity| entity.0[1]).sum::<u64>()
            });
        });
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = common::config();
    targets = bench
}
criterion_main!(benches);
