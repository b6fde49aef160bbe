//! The workers over the core, without the C ABI. The same work and checks as `c/load.c`.

use super::{
    BATCH, BUCKETS, DEREGISTER, Drive, ENUMERATE, Figures, HELD, INFO, Identity, LOOKUP, REGISTER,
    Role, STALE, STEPS, Shared, Worker,
};
use rtm_core::{
    AddressFamily, DropBy, Entity, EntityInfo, Guard, Handle, InvalidHandle, Participant, Refusal,
    Registry, Settings, TableKey,
};
use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

const BLOCK: usize = 64;
const ALIVE: u64 = 0x616c_6976_6521_2121;
const DROPPED: u64 = 0x6472_6f70_7065_6421;

/// What a client would keep for its entity.
struct Context {
    state: AtomicU64,
    entity: u32,
    asn: u32,
    shared: &'static Shared,
}

impl Drop for Context {
    fn drop(&mut self) {
        if self.state.swap(DROPPED, Ordering::Relaxed) == ALIVE {
            self.shared.cleaned.fetch_add(1, Ordering::Relaxed);
        } else {
            self.shared.violate(format!("the payload of entity {} was dropped twice", self.entity));
        }
    }
}

pub(super) struct Core(Registry<Context>);

impl Core {
    pub(super) fn new() -> Core {
        Core(Registry::new(Settings::default()).expect("memory for an empty registry"))
    }
}

/// An element of one of the run's arrays, whose length the caller has checked.
fn element<'a, T>(array: *const T, index: u64) -> &'a T {
    let place = array.wrapping_add(index as usize);
    // SAFETY: within the array, which outlives all workers.
    unsafe { &*place }
}

impl Shared {
    fn violate(&self, text: String) {
        if self.violated.compare_exchange(0, 1, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            let length = text.len().min(251);
            // SAFETY: only the thread that raised `violated` writes.
            let place = unsafe { &mut *self.violation.get() };
            place[..length].copy_from_slice(&text.as_bytes()[..length]);
            self.violated.store(2, Ordering::Release);
        }
        self.stop.store(1, Ordering::Relaxed);
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed) != 0
    }

    fn identity(&self, entity: u32) -> &Identity {
        assert!(entity < self.entities);
        element(self.identities, entity.into())
    }

    fn place(&self, entity: u32) -> &AtomicU64 {
        assert!(entity < self.entities);
        element(self.handles, entity.into())
    }

    fn stale(&self, index: u64) -> &AtomicU64 {
        assert!(index < 2 * (u64::from(self.stale_mask) + 1));
        element(self.stale, index)
    }

    fn table(&self, entity: u32) -> TableKey {
        let identity = self.identity(entity);
        let family = AddressFamily::from_number(identity.family).expect("one of the two families");
        TableKey { instance: identity.instance, family }
    }

    fn info(&self, entity: u32) -> EntityInfo {
        let id = u64::from(self.identity(entity).asn) << 32 | 14;
        EntityInfo { table: self.table(entity), id }
    }

    fn is_permanent(&self, entity: u32) -> bool {
        entity % self.permanent_stride < 2
    }
}

impl Worker {
    fn draw(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    fn draw_below(&mut self, bound: u32) -> u32 {
        (((self.draw() >> 32) * u64::from(bound)) >> 32) as u32
    }

    fn sample(&mut self, kind: usize, begin: Instant, shared: &Shared) {
        let ns = (begin.elapsed().as_nanos() as u64).saturating_sub(shared.timer_ns);
        self.max_ns[kind] = self.max_ns[kind].max(ns);
        let bucket = if ns < STEPS as u64 {
            ns as usize
        } else {
            let power = 63 - ns.leading_zeros() as usize;
            (power - 3) * STEPS + (ns >> (power - 4)) as usize % STEPS
        };
        self.histogram[kind][bucket.min(BUCKETS - 1)] += 1;
    }

    fn count(&self, kind: usize, operations: u64) {
        let now = self.operations[kind].load(Ordering::Relaxed) + operations;
        self.operations[kind].store(now, Ordering::Relaxed);
    }

    fn block(&mut self, kind: usize, operations: usize, begin: Instant, clocks: usize, s: &Shared) {
        let ns = begin.elapsed().as_nanos() as u64;
        self.block_ns[kind] += ns.saturating_sub(clocks as u64 * s.timer_ns);
        self.block_ops[kind] += operations as u64;
        self.count(kind, operations as u64);
    }
}

fn register(
    participant: &Participant<'_, Context>,
    worker: &mut Worker,
    shared: &'static Shared,
    entity: u32,
) -> Result<(), Refusal> {
    let asn = shared.identity(entity).asn;
    let context = Context { state: AtomicU64::new(ALIVE), entity, asn, shared };
    match participant.register_handle(shared.info(entity), context, DropBy::Writers) {
        Ok(handle) => {
            worker.created += 1;
            shared.place(entity).store(handle.to_bits(), Ordering::Release);
            Ok(())
        }
        Err(error) => {
            // It never got in, so its drop is not one of the registry's.
            error.payload.shared.cleaned.fetch_sub(1, Ordering::Relaxed);
            Err(error.refusal)
        }
    }
}

fn judge(shared: &Shared, entity: u32, handle: Handle, found: Result<&Context, InvalidHandle>) {
    match found {
        Err(InvalidHandle) => {
            if shared.place(entity).load(Ordering::Acquire) == handle.to_bits() {
                let text = "which is registered, was refused";
                shared.violate(format!("the handle of entity {entity}, {text}"));
            }
        }
        Ok(context) => {
            if context.state.load(Ordering::Relaxed) != ALIVE {
                shared
                    .violate(format!("the payload of entity {entity} was dropped under a reader"));
            } else if context.entity != entity || context.asn != shared.identity(entity).asn {
                let other = context.entity;
                shared.violate(format!("the handle of entity {entity} led to entity {other}"));
            }
        }
    }
}

fn payload<'g>(
    found: Result<Entity<'g, Context>, InvalidHandle>,
) -> Result<&'g Context, InvalidHandle> {
    found.map(Entity::payload)
}

fn judge_stale(shared: &Shared, guard: &Guard<'_, Context>, handle: u64, entity: u64) {
    if let Some(handle) = Handle::from_bits(handle)
        && guard.get(handle).is_ok()
    {
        shared.violate(format!("a stale handle of entity {entity} ({handle:?}) was accepted"));
    }
}

impl Core {
    fn reader(&self, worker: &mut Worker, shared: &'static Shared) {
        let participant = self.0.join().expect("memory for a member");
        let mut guard = participant.enter();
        while !shared.stopped() {
            let mut chosen: Vec<(u32, Handle)> = Vec::with_capacity(BLOCK);
            while chosen.len() < BLOCK && !shared.stopped() {
                let entity = worker.draw_below(shared.entities);
                let bits = shared.place(entity).load(Ordering::Acquire);
                chosen.extend(Handle::from_bits(bits).map(|handle| (entity, handle)));
            }
            let handles: Vec<Handle> = chosen.iter().map(|(_, handle)| *handle).collect();
            guard.refresh();

            let begin = Instant::now();
            for &(entity, handle) in &chosen {
                judge(shared, entity, handle, payload(guard.get(handle)));
            }
            worker.block(HELD, chosen.len(), begin, 0, shared);

            let begin = Instant::now();
            guard.get_each(&handles, |index, found| {
                judge(shared, chosen[index].0, chosen[index].1, payload(found));
            });
            worker.block(BATCH, chosen.len(), begin, 0, shared);

            let count = shared.stale_count.load(Ordering::Acquire);
            let kept = count.min(u64::from(shared.stale_mask) + 1) as u32;
            let tried = if kept == 0 { 0 } else { BLOCK / 4 };
            let stale: Vec<(u64, u64)> = (0..tried)
                .map(|_| {
                    let index = 2 * u64::from(worker.draw_below(kept));
                    let entity = shared.stale(index + 1).load(Ordering::Relaxed);
                    (shared.stale(index).load(Ordering::Relaxed), entity)
                })
                .collect();
            let begin = Instant::now();
            for (handle, entity) in stale {
                judge_stale(shared, &guard, handle, entity);
            }
            worker.block(STALE, tried, begin, 0, shared);
            drop(guard);

            let begin = Instant::now();
            for (n, &(entity, handle)) in chosen.iter().enumerate() {
                let one = (n % 8 == 0).then(Instant::now);
                {
                    let guard = participant.enter();
                    judge(shared, entity, handle, payload(guard.get(handle)));
                }
                if let Some(one) = one {
                    worker.sample(LOOKUP, one, shared);
                }
            }
            worker.block(LOOKUP, chosen.len(), begin, chosen.len() / 8, shared);

            let begin = Instant::now();
            for (n, &(entity, handle)) in chosen.iter().enumerate() {
                let one = (n % 8 == 0).then(Instant::now);
                let info = self.0.registered_info(handle);
                if let Some(one) = one {
                    worker.sample(INFO, one, shared);
                }
                match info {
                    Ok(info) if info != shared.info(entity) => {
                        shared.violate(format!("the description of entity {entity} is {info:?}"));
                    }
                    Err(_) if shared.place(entity).load(Ordering::Acquire) == handle.to_bits() => {
                        let text = "which is registered, was not described";
                        shared.violate(format!("entity {entity}, {text}"));
                    }
                    _ => {}
                }
            }
            worker.block(INFO, chosen.len(), begin, chosen.len() / 8, shared);
            guard = participant.enter();
        }
    }

    fn churner(&self, worker: &mut Worker, shared: &'static Shared) {
        let participant = self.0.join().expect("memory for a member");
        while !shared.stopped() {
            let entity = worker.draw_below(shared.entities);
            if shared.is_permanent(entity) {
                continue;
            }
            let bits = shared.place(entity).swap(0, Ordering::AcqRel);
            let Some(handle) = Handle::from_bits(bits) else { continue };
            let begin = Instant::now();
            let ended = participant.deregister(handle);
            worker.sample(DEREGISTER, begin, shared);
            worker.count(DEREGISTER, 1);
            if ended.is_err() || participant.deregister(handle).is_ok() {
                shared.violate(format!("deregistering entity {entity} did not work once"));
            }
            let mut place = shared.stale_count.fetch_add(1, Ordering::Relaxed);
            if place > u64::from(shared.stale_mask) {
                place = worker.draw();
            }
            let index = 2 * (place & u64::from(shared.stale_mask));
            shared.stale(index + 1).store(entity.into(), Ordering::Relaxed);
            shared.stale(index).store(bits, Ordering::Release);
            loop {
                let begin = Instant::now();
                match register(&participant, worker, shared, entity) {
                    Ok(()) => {
                        worker.sample(REGISTER, begin, shared);
                        worker.count(REGISTER, 1);
                        break;
                    }
                    Err(Refusal::Backlog) if !shared.stopped() => {
                        worker.refused += 1;
                        std::thread::yield_now();
                    }
                    Err(Refusal::Backlog) => break,
                    Err(refusal) => {
                        shared.violate(format!("registering entity {entity} again: {refusal}"));
                        break;
                    }
                }
            }
        }
    }

    fn enumerator(&self, worker: &mut Worker, shared: &'static Shared) {
        let participant = self.0.join().expect("memory for a member");
        let table = shared.table(worker.id % 2);
        let permanent: HashSet<u64> = (0..shared.entities)
            .filter(|entity| shared.is_permanent(*entity) && shared.table(*entity) == table)
            .map(|entity| shared.info(entity).id)
            .collect();
        while !shared.stopped() {
            let begin = Instant::now();
            let guard = participant.enter();
            let listed: Vec<(EntityInfo, Handle)> =
                guard.entities(table).map(|entity| (entity.info(), entity.handle())).collect();
            worker.block(ENUMERATE, listed.len(), begin, 0, shared);
            drop(guard);
            let mut seen = HashSet::new();
            for (info, _) in &listed {
                if info.table != table {
                    shared.violate(format!("an enumeration of {table:?} showed {info:?}"));
                }
                if permanent.contains(&info.id) && !seen.insert(info.id) {
                    shared.violate(format!("an enumeration showed {info:?} twice"));
                }
            }
            if seen.len() != permanent.len() {
                let (seen, all) = (seen.len(), permanent.len());
                shared.violate(format!("an enumeration showed {seen} of {all} permanent entities"));
            }
        }
    }
}

/// The shared part of a worker's run.
fn shared_of(worker: &Worker) -> &'static Shared {
    // SAFETY: it outlives all workers, and every payload: `finish` drops them before it goes.
    unsafe { &*worker.shared }
}

impl Drive for Core {
    fn register_range(&self, worker: &mut Worker, first: u32, last: u32) {
        let shared = shared_of(worker);
        let participant = self.0.join().expect("memory for a member");
        for entity in first..last {
            let begin = Instant::now();
            if let Err(refusal) = register(&participant, worker, shared, entity) {
                shared.violate(format!("registering entity {entity}: {refusal}"));
                return;
            }
            worker.sample(REGISTER, begin, shared);
            worker.count(REGISTER, 1);
        }
    }

    fn work(&self, role: Role, worker: &mut Worker) {
        let shared = shared_of(worker);
        match role {
            Role::Reader => self.reader(worker, shared),
            Role::Churner => self.churner(worker, shared),
            Role::Enumerator => self.enumerator(worker, shared),
        }
    }

    fn finish(&self, worker: &mut Worker, created: u64) {
        let shared = shared_of(worker);
        for entity in 0..shared.entities {
            let bits = shared.place(entity).swap(0, Ordering::AcqRel);
            if let Some(handle) = Handle::from_bits(bits)
                && self.0.deregister(handle).is_err()
            {
                shared.violate(format!("deregistering entity {entity} failed"));
            }
        }
        if let Err(error) = self.0.flush() {
            shared.violate(format!("flushing: {error}"));
        }
        let cleaned = shared.cleaned.load(Ordering::Acquire);
        if cleaned != created {
            shared.violate(format!("{created} payloads were made, {cleaned} dropped"));
        }
        let left = self.0.statistics();
        if left.live + left.referenced + left.retired != 0 || left.registered != left.deregistered {
            shared.violate(format!("left over: {left:?}"));
        }
        let guard = self.0.enter();
        for index in 0..=u64::from(shared.stale_mask) {
            let handle = shared.stale(2 * index).load(Ordering::Relaxed);
            judge_stale(
                shared,
                &guard,
                handle,
                shared.stale(2 * index + 1).load(Ordering::Relaxed),
            );
        }
    }

    fn figures(&self) -> Figures {
        let now = self.0.statistics();
        Figures {
            live: now.live,
            retired: now.retired,
            retired_peak: now.retired_peak,
            reclaimed: now.reclaimed,
            bytes: now.bytes,
            index_bytes: now.index_bytes,
            chunks: now.chunks,
        }
    }
}
