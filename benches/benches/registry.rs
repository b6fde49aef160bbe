//! What is said of an entity without a guard, references, and coming and going, beside the best peers.
//! Entities of 112 bytes (a slot of 128).
//!
//! "info" copies the plain information, "info of stale" is refused. "pair" is a deregistration and a
//! registration of the same entity; ours keeps a unique-id index, theirs none. "two threads": each has ids
//! of its own.

mod common;

use common::{Payload, SIZES, in_threads, info, look_up, payload, two_threads};
use concurrent_slotmap::{SlotId, SlotMap};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use parking_lot::RwLock;
use rtm_core::{DropBy, Handle, Participant, Registry, Settings};
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};

fn pair(member: &Participant<'_, Payload>, id: u64) {
    let handle = member.register_handle(info(id), payload(id), DropBy::Writers);
    member.deregister(handle.unwrap()).unwrap();
}

fn bench(criterion: &mut Criterion) {
    for count in SIZES {
        let registry = Registry::<Payload>::new(Settings::default()).unwrap();
        let member = registry.join().unwrap();
        let register = |id| member.register_handle(info(id), payload(id), DropBy::Writers).unwrap();
        let handles: Vec<Handle> = (0..count as u64).map(register).collect();
        let stale: Vec<Handle> = (1 << 50..).take(count.min(100_000)).map(register).collect();
        stale.iter().for_each(|handle| member.deregister(*handle).unwrap());
        let slotmap = SlotMap::<SlotId, Payload>::new(1 << 24);
        let locked = RwLock::new(slotmap::SlotMap::new());
        let sharded = sharded_slab::Slab::new();
        for id in 0..count as u64 {
            slotmap.insert(payload(id), &slotmap.pin());
            locked.write().insert(payload(id));
            sharded.insert(payload(id)).unwrap();
        }

        let mut group = criterion.benchmark_group("info");
        look_up(&mut group, "rtm", &handles, |chosen| {
            chosen.iter().map(|h| registry.info(*h).unwrap().id).sum()
        });
        two_threads(&mut group, "rtm", &handles, |picks| {
            black_box(picks.map(|h| registry.info(h).unwrap().id).fold(0, u64::wrapping_add));
        });
        group.finish();

        let mut group = criterion.benchmark_group("info of stale");
        look_up(&mut group, "rtm", &stale, |chosen| {
            chosen.iter().filter(|h| registry.info(**h).is_ok()).count() as u64
        });
        group.finish();

        let mut group = criterion.benchmark_group("reference + release");
        look_up(&mut group, "rtm", &handles, |chosen| {
            for handle in chosen {
                registry.reference(*handle).unwrap();
                member.release(*handle).unwrap();
            }
            0
        });
        two_threads(&mut group, "rtm", &handles, |picks| {
            let member = registry.join().unwrap();
            for handle in picks {
                registry.reference(handle).unwrap();
                member.release(handle).unwrap();
            }
        });
        group.finish();

        let mut group = criterion.benchmark_group("pair");
        let next = AtomicU64::new(1 << 40);
        group.bench_function(BenchmarkId::new("rtm, same id", count), |bencher| {
            bencher.iter(|| pair(&member, 1 << 41));
        });
        group.bench_function(BenchmarkId::new("rtm, new id", count), |bencher| {
            bencher.iter(|| pair(&member, next.fetch_add(1, Ordering::Relaxed)));
        });
        group.bench_function(BenchmarkId::new("rtm, new ids, two threads", count), |bencher| {
            bencher.iter_custom(|iterations| {
                in_threads(2, iterations, |iterations| {
                    let member = registry.join().unwrap();
                    let first = next.fetch_add(iterations, Ordering::Relaxed);
                    (first..first + iterations).for_each(|id| pair(&member, id));
                })
            });
        });
        group.bench_function(BenchmarkId::new("concurrent-slotmap", count), |bencher| {
            bencher.iter(|| {
                let id = slotmap.insert(payload(1), &slotmap.pin());
                slotmap.remove(id, &slotmap.pin()).is_some()
            });
        });
        group.bench_function(BenchmarkId::new("RwLock<slotmap>", count), |bencher| {
            bencher.iter(|| {
                let key = locked.write().insert(payload(1));
                locked.write().remove(key).is_some()
            });
        });
        group.bench_function(BenchmarkId::new("sharded-slab", count), |bencher| {
            bencher.iter(|| {
                let place = sharded.insert(payload(1)).unwrap();
                sharded.remove(place)
            });
        });
        group.finish();

        let mut group = criterion.benchmark_group("statistics");
        group.bench_function(BenchmarkId::new("rtm", count), |bencher| {
            bencher.iter(|| registry.statistics());
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
