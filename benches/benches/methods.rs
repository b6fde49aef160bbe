//! Client code that is called: invoking an entity's method beside the ways to do without a registry, from
//! one thread and from two on one callee, and what having methods costs a deregistration.
//!
//! The method adds up two words of the callee's. The peers find the callee by a number, as ours does by
//! its handle, and differ in what they promise: with "Arc" a method may run after its callee has
//! gone; with "read lock" it may not, and whoever lets it go waits for it, as with ours. In the floor nobody
//! can go.

mod common;

use arc_swap::ArcSwap;
use common::{in_batches, in_threads, info};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use parking_lot::RwLock;
use rtm_core::{ClientCode, DropBy, Handle, Participant, Registry, Settings};
use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

const CALLEES: u64 = 1000;
const CALLEE: u64 = 500;
const METHODS: ClientCode = ClientCode { methods: true, events: None };
const NOTHING: ClientCode = ClientCode { methods: false, events: None };

type Method = dyn Fn(&[u64; 2]) -> u64 + Send + Sync;

/// The callee of the peers, with its method.
#[derive(Clone)]
struct Callee {
    method: Arc<Method>,
    state: [u64; 2],
}

impl Callee {
    fn new(id: u64) -> Callee {
        // Each with something of its own, so that the call is not resolved at compile time.
        let own = black_box(0);
        Callee { method: Arc::new(move |state| state[0] + state[1] + own), state: [id; 2] }
    }

    fn call(&self) -> u64 {
        (self.method)(&self.state)
    }
}

fn invoke(criterion: &mut Criterion) {
    let registry = Registry::<[u64; 2]>::new(Settings::default()).unwrap();
    let handles: Vec<Handle> = (0..CALLEES)
        .map(|id| registry.register_client(info(id), [id; 2], DropBy::Writers, METHODS).unwrap())
        .collect();
    let callee = handles[CALLEE as usize];
    let all = || (0..CALLEES).map(|id| (id, Callee::new(id)));
    let swapped = ArcSwap::from_pointee(all().collect::<HashMap<u64, Callee>>());
    let locked = RwLock::new(all().collect::<HashMap<u64, Callee>>());
    let each: HashMap<u64, RwLock<Callee>> =
        all().map(|(id, callee)| (id, RwLock::new(callee))).collect();

    let constant: Vec<Callee> = all().map(|(_, callee)| callee).collect();

    let mut group = criterion.benchmark_group("invoke");
    group.throughput(Throughput::Elements(1));
    for threads in [1, 2] {
        let mut bench = |name: &str, f: &(dyn Fn(u64) + Sync)| {
            group.bench_function(format!("{name}/{threads}"), |bencher| {
                bencher.iter_custom(|iterations| in_threads(threads, iterations, f));
            });
        };
        bench("rtm", &|iterations| {
            for _ in 0..iterations {
                black_box(registry.invoke(black_box(callee), |own| own[0] + own[1]).unwrap());
            }
        });
        bench("rtm participant", &|iterations| {
            let member = registry.join().unwrap();
            for _ in 0..iterations {
                let own = member.begin_invoke(black_box(callee)).unwrap();
                black_box(own[0] + own[1]);
            }
        });
        bench("arc-swap<HashMap>, Arc", &|iterations| {
            for _ in 0..iterations {
                let found = swapped.load().get(&black_box(CALLEE)).unwrap().clone();
                black_box(found.call());
            }
        });
        bench("RwLock<HashMap>, Arc", &|iterations| {
            for _ in 0..iterations {
                let found = locked.read().get(&black_box(CALLEE)).unwrap().clone();
                black_box(found.call());
            }
        });
        bench("HashMap<RwLock>, read lock", &|iterations| {
            for _ in 0..iterations {
                let found = each.get(&black_box(CALLEE)).unwrap().read();
                black_box(found.call());
            }
        });
        bench("floor Vec", &|iterations| {
            for _ in 0..iterations {
                black_box(constant[black_box(CALLEE as usize)].call());
            }
        });
    }
    group.finish();
}

fn block(criterion: &mut Criterion) {
    let registry = Registry::<[u64; 2]>::new(Settings::default()).unwrap();
    let member = registry.join().unwrap();
    let callee = member.register_client(info(1), [1; 2], DropBy::Writers, METHODS).unwrap();
    let lock = RwLock::new(());
    let mut group = criterion.benchmark_group("block and resume");
    group.bench_function("rtm", |bencher| {
        bencher.iter(|| {
            member.block_methods(callee).unwrap();
            member.resume_methods(callee).unwrap();
        });
    });
    group.bench_function("RwLock, write lock", |bencher| bencher.iter(|| *lock.write()));
    group.finish();
}

/// `timed` over batches of entities that are registered beforehand.
fn over_entities(
    member: &Participant<'_, [u64; 2]>,
    iterations: u64,
    code: &ClientCode,
    mut timed: impl FnMut(Handle),
) -> Duration {
    in_batches(iterations, 256, |batch| {
        let register =
            |id| member.register_client(info(id), [id; 2], DropBy::Writers, code.clone());
        let handles: Vec<Handle> = (0..batch).map(|id| register(id).unwrap()).collect();
        let begin = Instant::now();
        handles.into_iter().for_each(&mut timed);
        begin.elapsed()
    })
}

fn deregister(criterion: &mut Criterion) {
    let registry = Registry::<[u64; 2]>::new(Settings::default()).unwrap();
    let member = registry.join().unwrap();
    let mut group = criterion.benchmark_group("deregister, nothing to wait for");
    group.throughput(Throughput::Elements(1));
    for (name, code) in [("without client code", NOTHING), ("with methods", METHODS)] {
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|iterations| {
                over_entities(&member, iterations, &code, |handle| {
                    member.deregister(handle).unwrap();
                })
            });
        });
    }
    group.finish();
    let mut group = criterion.benchmark_group("register and deregister");
    group.throughput(Throughput::Elements(1));
    for (name, code) in [("without client code", NOTHING), ("with methods", METHODS)] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let registered =
                    member.register_client(info(7), [7; 2], DropBy::Writers, code.clone());
                member.deregister(registered.unwrap()).unwrap();
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = common::config();
    targets = invoke, block, deregister
}
criterion_main!(benches);
