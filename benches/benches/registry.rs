//! The registry beside its best peers and the floor, in one run. Entities of 112 bytes (a slot of
//! 128), random access in an order of its own for each repetition.
//!
//! A look-up reads a field of the entity it finds. "guard" enters and leaves for each look-up, "held"
//! does not, "info" copies the plain information without a guard, "stale" is refused. "pair" is a
//! deregistration and a registration of the same entity; ours keeps a unique-id index, theirs none.

use concurrent_slotmap::{SlotId, SlotMap};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use parking_lot::RwLock;
use rtm_core::{AddressFamily, DropBy, EntityInfo, Handle, Registry, Settings, TableKey};
use std::hint::black_box;

const BATCH: usize = 1024;

#[derive(Clone, Copy)]
struct Payload([u64; 14]);

fn payload(id: u64) -> Payload {
    Payload([id; 14])
}

fn info(id: u64) -> EntityInfo {
    EntityInfo { table: TableKey { instance: 0, family: AddressFamily::Inet }, id }
}

/// `BATCH` numbers below `count`, in no order.
fn picks(count: usize, seed: u64) -> Vec<usize> {
    let mut x = seed | 1;
    let draw = || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        x as usize % count
    };
    std::iter::repeat_with(draw).take(BATCH).collect()
}

/// Times `f` over fresh random picks of `handles`.
fn look_up<H: Copy>(
    group: &mut criterion::BenchmarkGroup<'_, criterion::measurement::WallTime>,
    name: &str,
    handles: &[H],
    mut f: impl FnMut(&[H]) -> u64,
) {
    let mut seed = 88_172_645_463_325_252;
    group.throughput(Throughput::Elements(BATCH as u64));
    group.bench_function(BenchmarkId::new(name, handles.len()), |bencher| {
        bencher.iter_batched_ref(
            || {
                seed += 2;
                picks(handles.len(), seed).into_iter().map(|at| handles[at]).collect::<Vec<_>>()
            },
            |chosen| black_box(f(chosen)),
            criterion::BatchSize::SmallInput,
        );
    });
}

fn bench(criterion: &mut Criterion) {
    for count in [1_000, 1_000_000] {
        let registry = Registry::<Payload>::new(Settings::default()).unwrap();
        let register =
            |id| registry.register_handle(info(id), payload(id), DropBy::Writers).unwrap();
        let handles: Vec<Handle> = (0..count as u64).map(register).collect();
        let stale: Vec<Handle> = (0..count.min(100_000) as u64)
            .map(|id| {
                let handle = register(u64::MAX - 10 - id);
                registry.deregister(handle).unwrap();
                handle
            })
            .collect();
        let slotmap = SlotMap::<SlotId, Payload>::new(1 << 24);
        let theirs: Vec<SlotId> =
            (0..count as u64).map(|id| slotmap.insert(payload(id), &slotmap.pin())).collect();
        let gone: Vec<SlotId> = (0..count.min(100_000) as u64)
            .map(|id| slotmap.insert(payload(id), &slotmap.pin()))
            .collect();
        gone.iter().for_each(|id| assert!(slotmap.remove(*id, &slotmap.pin()).is_some()));
        let locked = RwLock::new(slotmap::SlotMap::new());
        let keys: Vec<_> = (0..count as u64).map(|id| locked.write().insert(payload(id))).collect();
        let old: Vec<_> =
            (0..count.min(100_000) as u64).map(|id| locked.write().insert(payload(id))).collect();
        old.iter().for_each(|key| assert!(locked.write().remove(*key).is_some()));
        let sharded = sharded_slab::Slab::new();
        let places: Vec<usize> =
            (0..count as u64).map(|id| sharded.insert(payload(id)).unwrap()).collect();
        let floor: Vec<Payload> = (0..count as u64).map(payload).collect();
        let indexes: Vec<usize> = (0..count).collect();

        let mut group = criterion.benchmark_group("guard");
        look_up(&mut group, "rtm", &handles, |chosen| {
            chosen.iter().map(|h| registry.enter().get(*h).unwrap().0[1]).sum()
        });
        let member = registry.join().unwrap();
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

        let mut group = criterion.benchmark_group("info");
        look_up(&mut group, "rtm", &handles, |chosen| {
            chosen.iter().map(|h| registry.info(*h).unwrap().id).sum()
        });
        group.finish();

        let mut group = criterion.benchmark_group("stale");
        let member = registry.join().unwrap();
        look_up(&mut group, "rtm info", &stale, |chosen| {
            chosen.iter().filter(|h| registry.info(**h).is_ok()).count() as u64
        });
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

        let mut group = criterion.benchmark_group("pair");
        group.throughput(Throughput::Elements(1));
        let mut id = 1 << 40;
        group.bench_function(BenchmarkId::new("rtm, same id", count), |bencher| {
            bencher.iter(|| {
                let payload = payload(1 << 41);
                let handle = member.register_handle(info(1 << 41), payload, DropBy::Writers);
                member.deregister(handle.unwrap()).unwrap();
            });
        });
        group.bench_function(BenchmarkId::new("rtm, new id", count), |bencher| {
            bencher.iter(|| {
                id += 1;
                let handle = member.register_handle(info(id), payload(id), DropBy::Writers);
                member.deregister(handle.unwrap()).unwrap();
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
    config = Criterion::default()
        .warm_up_time(std::time::Duration::from_millis(300))
        .measurement_time(std::time::Duration::from_millis(1500))
        .sample_size(20);
    targets = bench
}
criterion_main!(benches);
