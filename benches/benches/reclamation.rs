//! Read sections, and what becomes of the departed.
//!
//! "section" is entering and leaving: alone, inside another of the same member, and beside members that do
//! nothing. "refresh" lets go of what was looked up and stays inside. "deregister + flush" takes entities
//! out and waits until their payloads (a heap block each) are dropped, per entity. "synchronize" waits for
//! readers: alone, and beside a thread that enters and leaves all the time. "beside a stuck reader" is a
//! registration and a deregistration while another member never leaves, so that nothing can be reclaimed.
//! "two threads": each is a member of its own.

mod common;

use common::{BATCH, in_batches, in_threads, info};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use rtm_core::{DropBy, Handle, Participant, Registry, Settings};
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

type Payload = Box<u64>;

fn registry() -> Registry<Payload> {
    Registry::new(Settings::default()).unwrap()
}

fn register(member: &Participant<'_, Payload>, id: u64) -> Handle {
    member.register_handle(info(id), Box::new(id), DropBy::Writers).unwrap()
}

fn sections(criterion: &mut Criterion) {
    let registry = registry();
    let member = registry.join().unwrap();
    let mut group = criterion.benchmark_group("section");
    group.bench_function("registry", |bencher| bencher.iter(|| drop(registry.enter())));
    group.bench_function("participant", |bencher| bencher.iter(|| drop(member.enter())));
    group.bench_function("participant, nested", |bencher| {
        let _outer = member.enter();
        bencher.iter(|| drop(member.enter()));
    });
    group.bench_function("participant, two threads", |bencher| {
        bencher.iter_custom(|iterations| {
            in_threads(2, iterations, |iterations| {
                let member = registry.join().unwrap();
                (0..iterations).for_each(|_| drop(member.enter()));
            })
        });
    });
    for idle in [64, 1024] {
        let others: Vec<_> = (0..idle).map(|_| registry.join().unwrap()).collect();
        others.iter().for_each(|other| drop(other.enter()));
        group.bench_function(BenchmarkId::new("participant, idle members", idle), |bencher| {
            bencher.iter(|| drop(member.enter()));
        });
    }
    group.finish();
    criterion.bench_function("refresh", |bencher| {
        let mut guard = member.enter();
        bencher.iter(|| guard.refresh());
    });
}

fn departures(criterion: &mut Criterion) {
    let registry = registry();
    let member = registry.join().unwrap();
    let mut group = criterion.benchmark_group("deregister + flush");
    group.throughput(Throughput::Elements(1));
    for together in [1, BATCH as u64, 100_000] {
        group.bench_function(BenchmarkId::from_parameter(together), |bencher| {
            bencher.iter_custom(|iterations| {
                in_batches(iterations, together, |most| {
                    let handles: Vec<Handle> = (0..most).map(|id| register(&member, id)).collect();
                    let begin = Instant::now();
                    handles.into_iter().for_each(|handle| member.deregister(handle).unwrap());
                    registry.flush().unwrap();
                    begin.elapsed()
                })
            });
        });
    }
    group.finish();

    let mut group = criterion.benchmark_group("pair");
    group.bench_function("no reader", |bencher| {
        bencher.iter(|| member.deregister(register(&member, 1)).unwrap());
    });
    let next = AtomicU64::new(1 << 40);
    group.bench_function("no reader, two threads", |bencher| {
        bencher.iter_custom(|iterations| {
            in_threads(2, iterations, |iterations| {
                let member = registry.join().unwrap();
                let id = next.fetch_add(1, Ordering::Relaxed);
                (0..iterations).for_each(|_| member.deregister(register(&member, id)).unwrap());
            })
        });
    });
    group.bench_function("beside a stuck reader", |bencher| {
        bencher.iter_custom(|iterations| {
            // Half of what may be waiting to be reclaimed.
            in_batches(iterations, 1 << 19, |most| {
                let stuck = registry.enter();
                let begin = Instant::now();
                for _ in 0..most {
                    member.deregister(register(&member, 1)).unwrap();
                }
                let time = begin.elapsed();
                assert!(registry.statistics().retired >= most);
                drop(stuck);
                registry.flush().unwrap();
                time
            })
        });
    });
    group.finish();
}

fn synchronize(criterion: &mut Criterion) {
    let registry = registry();
    let mut group = criterion.benchmark_group("synchronize");
    group.bench_function("alone", |bencher| bencher.iter(|| registry.synchronize().unwrap()));
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let member = registry.join().unwrap();
            let handle = register(&member, 1);
            while !stop.load(Ordering::Relaxed) {
                black_box(**member.enter().get(handle).unwrap());
            }
            member.deregister(handle).unwrap();
        });
        group.bench_function("beside a reader", |bencher| {
            bencher.iter(|| registry.synchronize().unwrap());
        });
        stop.store(true, Ordering::Relaxed);
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = common::config();
    targets = sections, departures, synchronize
}
criterion_main!(benches);
