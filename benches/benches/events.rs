//! Events: what a registration costs with many listeners in the table, and how fast they are told.
//!
//! "told": one registration and one deregistration, until all listeners have been told of both. "own
//! queue": herald and courier run in the bench's thread, one pair at a time or 64 before they are told.
//! "dispatcher": the library's threads, and the bench's waits. "channels": the naive peer, the registering
//! thread sends to each listener's own `std::sync::mpsc` channel (crossbeam's), and then receives.
//!
//! "pair" is what the registering thread pays for one registration and one deregistration, in time of its
//! own (`CLOCK_THREAD_CPUTIME_ID`), since the others need processors too. "parked": nobody runs the herald,
//! so that the journal is overrun and writers let go of what old events held. "dispatcher": herald and
//! a worker run in other threads. "two threads": both register and deregister, parked; real time, of one pair of each.

mod common;

use common::{in_batches, in_threads, info};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use rtm_core::{
    ClientCode, Delivery, Dispatcher, DropBy, EntityInfo, EventQueue, Handle, Participant,
    Registry, Settings, Threads,
};
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;

const COUNTS: [u64; 3] = [1, 100, 10_000];
const PAIRS: u64 = 64;

type Member<'r> = Participant<'r, u64>;

fn registry() -> Arc<Registry<u64>> {
    Arc::new(Registry::new(Settings::default()).unwrap())
}

/// Registers so many listeners. They are not told of each other.
fn listen(member: &Member<'_>, count: u64, queue: &EventQueue) {
    let code = ClientCode { methods: false, events: Some(queue.clone()) };
    let handles: Vec<Handle> = (0..count)
        .map(|id| {
            let listener = info(1 << 40 | id);
            member.register_client(listener, id, DropBy::Writers, code.clone()).unwrap()
        })
        .collect();
    handles.into_iter().for_each(|handle| member.start_events(handle));
    while member.herald_step() {}
}

fn pair(member: &Member<'_>, id: u64) {
    let handle = member.register_handle(info(id), id, DropBy::Writers).unwrap();
    member.deregister(handle).unwrap();
}

/// Tells whatever there is to be told. How many events.
fn tell(member: &Member<'_>, queue: &EventQueue) -> u64 {
    let mut told = 0;
    while member.herald_step() {
        let mut courier = member.courier(queue);
        while let Some(delivery) = courier.next_event() {
            black_box(delivery.event);
            told += 1;
        }
    }
    told
}

fn told(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("told");
    for count in COUNTS {
        for pairs in [1, PAIRS] {
            if pairs * count > 1 << 17 {
                continue;
            }
            let registry = registry();
            let (member, queue) = (registry.join().unwrap(), EventQueue::new());
            listen(&member, count, &queue);
            group.throughput(Throughput::Elements(2 * count * pairs));
            let name = format!("own queue, {pairs} at a time");
            group.bench_function(BenchmarkId::new(name, count), |bencher| {
                bencher.iter(|| {
                    (0..pairs).for_each(|id| pair(&member, id));
                    assert_eq!(tell(&member, &queue), 2 * count * pairs);
                });
            });
        }
        for pairs in [1, PAIRS] {
            if pairs * count > 1 << 17 {
                continue;
            }
            let registry = registry();
            let seen = Arc::new(AtomicU64::new(0));
            let sum = seen.clone();
            let hear = move |delivery: &Delivery<'_, u64>| {
                black_box(delivery.event);
                sum.fetch_add(1, Ordering::Relaxed);
            };
            let dispatcher = Dispatcher::start(registry.clone(), Threads::default(), hear).unwrap();
            let member = registry.join().unwrap();
            listen(&member, count, &dispatcher.queue());
            group.throughput(Throughput::Elements(2 * count * pairs));
            let name = format!("dispatcher, {pairs} at a time");
            let mut all = 0;
            group.bench_function(BenchmarkId::new(name, count), |bencher| {
                bencher.iter(|| {
                    (0..pairs).for_each(|id| pair(&member, id));
                    all += 2 * count * pairs;
                    while seen.load(Ordering::Relaxed) != all {
                        std::thread::yield_now();
                    }
                });
            });
        }
        let registry = registry();
        let member = registry.join().unwrap();
        let (send, receive): (Vec<_>, Vec<_>) =
            (0..count).map(|_| channel::<(bool, Handle, EntityInfo)>()).unzip();
        group.throughput(Throughput::Elements(2 * count));
        group.bench_function(BenchmarkId::new("channels, 1 at a time", count), |bencher| {
            bencher.iter(|| {
                let all = |came, handle| {
                    send.iter().for_each(|to| to.send((came, handle, info(1))).unwrap());
                };
                let handle = member.register_handle(info(1), 1, DropBy::Writers).unwrap();
                all(true, handle);
                member.deregister(handle).unwrap();
                all(false, handle);
                let told: usize = receive.iter().map(|from| from.try_iter().count()).sum();
                assert_eq!(told as u64, 2 * count);
            });
        });
    }
    group.finish();
}

/// Time of the calling thread's own.
fn own_time() -> Duration {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a local.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut now) };
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

fn pairs(member: &Member<'_>, iterations: u64) -> Duration {
    in_batches(iterations, 4096, |batch| {
        let begin = own_time();
        (0..batch).for_each(|id| pair(member, id));
        own_time() - begin
    })
}

fn registering(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("pair");
    group.throughput(Throughput::Elements(1));
    for count in [0, 1, 100, 10_000] {
        let registry = registry();
        let (member, queue) = (registry.join().unwrap(), EventQueue::new());
        listen(&member, count, &queue);
        group.bench_function(BenchmarkId::new("parked", count), |bencher| {
            bencher.iter_custom(|iterations| pairs(&member, iterations));
        });
    }
    for count in [0, 1, 100, 10_000] {
        let registry = registry();
        let hear = |delivery: &Delivery<'_, u64>| {
            black_box(delivery.event);
        };
        let threads = Threads { idle: 1, most: 1 };
        let dispatcher = Dispatcher::start(registry.clone(), threads, hear).unwrap();
        let member = registry.join().unwrap();
        listen(&member, count, &dispatcher.queue());
        group.bench_function(BenchmarkId::new("dispatcher", count), |bencher| {
            bencher.iter_custom(|iterations| pairs(&member, iterations));
        });
    }
    for count in [0, 100] {
        let registry = registry();
        let (member, queue) = (registry.join().unwrap(), EventQueue::new());
        listen(&member, count, &queue);
        let next = AtomicU64::new(0);
        group.bench_function(BenchmarkId::new("parked, two threads", count), |bencher| {
            bencher.iter_custom(|iterations| {
                in_threads(2, iterations, |iterations| {
                    let member = registry.join().unwrap();
                    let id = next.fetch_add(1, Ordering::Relaxed);
                    (0..iterations).for_each(|_| pair(&member, id));
                })
            });
        });
    }
    group.bench_function("channels/100", |bencher| {
        let registry = registry();
        let member = registry.join().unwrap();
        let (send, receive): (Vec<_>, Vec<_>) =
            (0..100).map(|_| channel::<(bool, Handle, EntityInfo)>()).unzip();
        bencher.iter_custom(|iterations| {
            in_batches(iterations, 64, |batch| {
                let begin = own_time();
                for id in 0..batch {
                    let handle = member.register_handle(info(id), id, DropBy::Writers).unwrap();
                    send.iter().for_each(|to| to.send((true, handle, info(id))).unwrap());
                    member.deregister(handle).unwrap();
                    send.iter().for_each(|to| to.send((false, handle, info(id))).unwrap());
                }
                let time = own_time() - begin;
                receive.iter().for_each(|from| from.try_iter().for_each(drop));
                time
            })
        });
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = common::config();
    targets = told, registering
}
criterion_main!(benches);
