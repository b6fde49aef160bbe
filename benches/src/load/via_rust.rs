//! The workers over the core, without the C ABI. The same work and checks as the C workers': this file as
//! `c/load.c`, the others as the C files of these names.

mod client;
mod listen;
mod tools;

use super::layout::{
    BATCH, DEREGISTER, ENUMERATE, HELD, INFO, LOOKUP, REGISTER, RUNDOWN, STALE, Shared, Worker,
};
use super::{Drive, Figures, Role};
use listen::Listeners;
use rtm_core::{
    ClientCode, DeregisterError, DropBy, Entity, EntityInfo, Guard, Handle, InvalidHandle, Limits,
    Participant, Refusal, Registry, Settings,
};
use std::collections::HashSet;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

const CHUNK: usize = 64;
const ALIVE: u64 = 0x616c_6976_6521_2121;
const DROPPED: u64 = 0x6472_6f70_7065_6421;

/// What a client would keep for its entity.
struct Context {
    state: AtomicU64,
    entity: u32,
    asn: u32,
    /// Its methods must not run just now.
    blocked: AtomicU32,
    shared: &'static Shared,
}

impl Context {
    fn new(shared: &'static Shared, entity: u32, asn: u32) -> Context {
        let (state, blocked) = (AtomicU64::new(ALIVE), AtomicU32::new(0));
        Context { state, entity, asn, blocked, shared }
    }
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

pub(super) struct Core {
    /// Before the registry, which its threads use.
    listeners: OnceLock<Listeners>,
    registry: Arc<Registry<Context>>,
}

impl Core {
    pub(super) fn new() -> Core {
        let registry = Registry::new(Settings::default()).expect("memory for an empty registry");
        Core { listeners: OnceLock::new(), registry: Arc::new(registry) }
    }
}

fn register(
    participant: &Participant<'_, Context>,
    worker: &mut Worker,
    shared: &'static Shared,
    entity: u32,
) -> Result<(), Refusal> {
    let context = Context::new(shared, entity, shared.identity(entity).asn);
    let code = ClientCode { methods: shared.is_callee(entity), events: None };
    match participant.register_client(shared.info(entity), context, DropBy::Writers, code) {
        Ok(handle) => {
            worker.created += 1;
            shared.gate(entity).store(handle.to_bits(), Ordering::Release);
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

/// Deregisters an entity that the caller owns.
fn deregister(
    participant: &Participant<'_, Context>,
    worker: &mut Worker,
    shared: &'static Shared,
    entity: u32,
    handle: Handle,
) -> Result<(), DeregisterError> {
    let callee = shared.is_callee(entity);
    if callee && worker.draw().is_multiple_of(4) {
        client::block_callee(participant, worker, shared, entity, handle);
    }
    let begin = Instant::now();
    let mut ended = participant.deregister(handle);
    while callee && ended == Err(DeregisterError::WouldDeadlock) {
        // Somebody inside the callee waits, by way of others, for us to resume it.
        client::resume_callee(participant, handle);
        std::thread::yield_now();
        ended = participant.deregister(handle);
    }
    let kind = if callee { RUNDOWN } else { DEREGISTER };
    worker.sample(kind, begin, shared);
    worker.count(kind, 1);
    shared.gate(entity).store(0, Ordering::Release);
    ended
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
    fn listeners(&self) -> &Listeners {
        self.listeners.get().expect("prepared, since there is somebody who listens")
    }

    fn reader(&self, worker: &mut Worker, shared: &'static Shared) {
        let participant = self.registry.join().expect("memory for a member");
        let mut guard = participant.enter();
        while !shared.stopped() {
            let mut chosen: Vec<(u32, Handle)> = Vec::with_capacity(CHUNK);
            while chosen.len() < CHUNK && !shared.stopped() {
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
            let tried = if kept == 0 { 0 } else { CHUNK / 4 };
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
                let info = self.registry.registered_info(handle);
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
        let participant = self.registry.join().expect("memory for a member");
        while !shared.stopped() {
            // Where callers are, rather what they call.
            let hot = shared.callee_groups() != 0 && worker.draw().is_multiple_of(8);
            let entity = if hot {
                worker.draw_callee(shared, true)
            } else {
                worker.draw_below(shared.entities)
            };
            if shared.is_permanent(entity) {
                continue;
            }
            let bits = shared.place(entity).swap(0, Ordering::AcqRel);
            let Some(handle) = Handle::from_bits(bits) else { continue };
            let ended = deregister(&participant, worker, shared, entity, handle);
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
        let participant = self.registry.join().expect("memory for a member");
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
    fn prepare(&self, shared: &Shared) -> Result<(), String> {
        if shared.listeners == 0 {
            return Ok(());
        }
        // SAFETY: as in `shared_of`.
        let shared = unsafe { &*std::ptr::from_ref(shared) };
        if shared.journal != 0 {
            let limits = Limits { journal: shared.journal, ..Limits::default() };
            self.registry.set_limits(limits).map_err(|error| error.to_string())?;
        }
        let listeners = Listeners::new(self.registry.clone(), shared)?;
        let _ = self.listeners.set(listeners);
        Ok(())
    }

    fn register_range(&self, worker: &mut Worker, first: u32, last: u32) {
        let shared = shared_of(worker);
        let participant = self.registry.join().expect("memory for a member");
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
            Role::Invoker => client::invoker(&self.registry, worker, shared),
            Role::Host => self.listeners().host(worker),
            Role::Loop => self.listeners().run_loop(worker),
            Role::Holder | Role::Referrer | Role::Visitors | Role::Housekeeper => {
                unreachable!("refused by the options")
            }
        }
    }

    fn finish(&self, worker: &mut Worker, created: u64) {
        let shared = shared_of(worker);
        for entity in 0..shared.entities {
            let bits = shared.place(entity).swap(0, Ordering::AcqRel);
            if let Some(handle) = Handle::from_bits(bits)
                && self.registry.deregister(handle).is_err()
            {
                shared.violate(format!("deregistering entity {entity} failed"));
            }
        }
        if let Err(error) = self.registry.flush() {
            shared.violate(format!("flushing: {error}"));
        }
        let cleaned = shared.cleaned.load(Ordering::Acquire);
        if cleaned != created {
            shared.violate(format!("{created} payloads were made, {cleaned} dropped"));
        }
        let left = self.registry.statistics();
        if left.live + left.referenced + left.retired + left.listeners != 0
            || left.registered != left.deregistered
        {
            shared.violate(format!("left over: {left:?}"));
        }
        let guard = self.registry.enter();
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
        let now = self.registry.statistics();
        Figures {
            live: now.live,
            retired: now.retired,
            retired_peak: now.retired_peak,
            reclaimed: now.reclaimed,
            bytes: now.bytes,
            index_bytes: now.index_bytes,
            chunks: now.chunks,
            event_threads: self.listeners.get().map_or(0, Listeners::threads),
        }
    }
}
