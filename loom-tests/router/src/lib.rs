//! An example of a user's own code on top of the registry, and how loom checks both together.
//! `docs/model-checking.md` walks through it.
//!
//! A backend in which each protocol has one next hop. Next hops lie in a small table, and the place of
//! one whose protocol has gone is used again. Threads that forward look a protocol up and read its next
//! hop, without any lock.
//!
//! What can go wrong is *when* a place is used again: see [`Reuse`].

/// The one door to atomics and locks: loom's in a model, std's in production.
mod sync {
    #[cfg(rtm_loom)]
    pub(crate) use loom::sync::{Mutex, atomic::AtomicU32};
    pub(crate) use std::sync::atomic::Ordering;
    #[cfg(not(rtm_loom))]
    pub(crate) use std::sync::{Mutex, atomic::AtomicU32};
}

use rtm_core::{
    AddressFamily, Config, DropBy, EntityInfo, Handle, OutOfMemory, Participant, Registry,
    Settings, Standard, TableKey,
};
use std::sync::Arc;
use sync::{AtomicU32, Mutex, Ordering};

const TABLE: TableKey = TableKey { instance: 0, family: AddressFamily::Inet };

/// When a next hop's place is used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reuse {
    /// As soon as its protocol is deregistered. This is the defect: a thread that looked the protocol up
    /// before may be about to read the next hop, and would read another protocol's.
    AtDeregistration,
    /// When the protocol's payload is dropped, which the registry does after the last section that could
    /// have found it.
    AtReclamation,
}

struct NextHops {
    addresses: Box<[AtomicU32]>,
    free: Mutex<Vec<usize>>,
}

impl NextHops {
    fn new(places: usize) -> Self {
        let addresses = (0..places).map(|_| AtomicU32::new(0)).collect();
        NextHops { addresses, free: Mutex::new((0..places).collect()) }
    }

    fn take(&self) -> Option<usize> {
        self.free.lock().expect("nobody panics inside").pop()
    }

    fn give_back(&self, place: usize) {
        self.free.lock().expect("nobody panics inside").push(place);
    }
}

/// What the registry keeps for a protocol.
struct Protocol {
    next_hops: Arc<NextHops>,
    place: usize,
    reuse: Reuse,
}

impl Drop for Protocol {
    fn drop(&mut self) {
        if self.reuse == Reuse::AtReclamation {
            self.next_hops.give_back(self.place);
        }
    }
}

/// The backend. Threads work with it through a [`Worker`] each.
pub struct Backend<C: Config = Standard> {
    registry: Registry<Protocol, C>,
    next_hops: Arc<NextHops>,
    reuse: Reuse,
}

impl<C: Config> Backend<C> {
    /// With so many places for next hops.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub fn new(places: usize, reuse: Reuse) -> Result<Self, OutOfMemory> {
        let registry = Registry::with_config(Settings::default())?;
        Ok(Backend { registry, next_hops: Arc::new(NextHops::new(places)), reuse })
    }

    /// What one thread works with.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub fn worker(&self) -> Result<Worker<'_, C>, OutOfMemory> {
        Ok(Worker { backend: self, member: self.registry.join()? })
    }
}

/// See [`Backend::worker`].
pub struct Worker<'b, C: Config = Standard> {
    backend: &'b Backend<C>,
    member: Participant<'b, Protocol, C>,
}

impl<C: Config> Worker<'_, C> {
    /// Adds a protocol with its next hop; `None` if there is no place, or the id is taken.
    pub fn add(&self, id: u64, next_hop: u32) -> Option<Handle> {
        let next_hops = &self.backend.next_hops;
        let place = next_hops.take().or_else(|| {
            // Drops the protocols that no thread can see any more.
            self.member.collect();
            next_hops.take()
        })?;
        // Relaxed: registering publishes it.
        next_hops.addresses[place].store(next_hop, Ordering::Relaxed);
        let protocol = Protocol { next_hops: next_hops.clone(), place, reuse: self.backend.reuse };
        let info = EntityInfo { table: TABLE, id };
        let registered = self.member.register_handle(info, protocol, DropBy::Writers);
        // A refused payload gives its place back when it is dropped, or else here.
        if registered.is_err() && self.backend.reuse == Reuse::AtDeregistration {
            next_hops.give_back(place);
        }
        registered.ok()
    }

    /// Removes a protocol. Says whether it was there.
    pub fn remove(&self, handle: Handle) -> bool {
        let guard = self.member.enter();
        let place = guard.get(handle).map(|protocol| protocol.place);
        drop(guard);
        let removed = self.member.deregister(handle).is_ok();
        if let (true, Ok(place), Reuse::AtDeregistration) = (removed, place, self.backend.reuse) {
            self.backend.next_hops.give_back(place);
        }
        removed
    }

    /// The protocol's next hop, if the protocol is there. Never waits.
    pub fn forward(&self, handle: Handle) -> Option<u32> {
        let guard = self.member.enter();
        let protocol = guard.get(handle).ok()?;
        // Relaxed: looking the protocol up acquired it.
        Some(self.backend.next_hops.addresses[protocol.place].load(Ordering::Relaxed))
    }
}
