//! What a user holds beside guards: registrations, memberships, and payloads that are to be dropped.

use crate::alloc::OutOfMemory;
use crate::code::ClientCode;
use crate::courier;
use crate::entity::{EntityFixed, EntityInfo};
use crate::error::{
    BlockError, DeregisterError, InvalidHandle, InvokeError, ReferenceError, RegisterError,
    WaitError,
};
use crate::guard::{Found, Guard};
use crate::handle::{Config, Handle, Standard};
use crate::invoke::Invocation;
use crate::limits::Limits;
use crate::member::Member;
use crate::reclamation::{Batch, Flush, Local, Section};
use crate::registry::{DropBy, Registry};
use crate::slab::Drain;
use crate::stack::Chain;
use crate::statistics::Statistics;
use crate::sync::Backoff;
use std::fmt;
use std::mem::ManuallyDrop;

/// Owns a registration: dropping it deregisters the entity. When the drop returns, no client code of the
/// entity runs, unless it is dropped where a wait is refused (inside that code itself, inside a read
/// section): then it is a [`Registry::deregister_later`].
pub struct Registration<'r, T: Send + Sync, C: Config = Standard> {
    registry: &'r Registry<T, C>,
    handle: Handle,
}

impl<'r, T: Send + Sync, C: Config> Registration<'r, T, C> {
    pub(crate) fn new(registry: &'r Registry<T, C>, handle: Handle) -> Self {
        Registration { registry, handle }
    }

    /// The entity's handle, to give away.
    pub fn handle(&self) -> Handle {
        self.handle
    }

    /// Leaves the deregistration to whoever has the handle.
    pub fn into_handle(self) -> Handle {
        ManuallyDrop::new(self).handle
    }
}

impl<T: Send + Sync, C: Config> Drop for Registration<'_, T, C> {
    fn drop(&mut self) {
        // Somebody else who has the handle may have been faster. Where it must not wait it does not.
        if self.registry.deregister(self.handle) == Err(DeregisterError::WouldDeadlock) {
            let _ = self.registry.deregister_later(self.handle);
        }
    }
}

impl<T: Send + Sync, C: Config> fmt::Debug for Registration<'_, T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Registration").field(&self.handle).finish()
    }
}

/// An explicit membership. See [`Registry::join`]. `Send`, not `Sync`.
pub struct Participant<'r, T: Send + Sync, C: Config = Standard> {
    registry: &'r Registry<T, C>,
    local: Local<Member>,
}

impl<'r, T: Send + Sync, C: Config> Participant<'r, T, C> {
    pub(crate) fn new(registry: &'r Registry<T, C>, local: Local<Member>) -> Self {
        Participant { registry, local }
    }

    /// The registry it belongs to.
    pub fn registry(&self) -> &'r Registry<T, C> {
        self.registry
    }

    /// Enters a read section; see [`Registry::enter`]. Needs no memory.
    ///
    /// The guard borrows the participant, which thus cannot move to another thread meanwhile.
    #[inline(always)]
    pub fn enter(&self) -> Guard<'_, T, C> {
        Guard::new(self.registry, self.section())
    }

    #[inline(always)]
    fn section(&self) -> Section<'_, Member> {
        self.local.enter(&self.registry.domain)
    }

    /// Looks one entity up under a section of its own: [`enter`](Self::enter) and [`Guard::get`] in one, but
    /// faster when entities are not in the processor's cache, because they are asked for before the
    /// section is entered.
    ///
    /// As [`enter`](Self::enter): wait-free but for each 128th. Allocates nothing.
    ///
    /// # Errors
    /// [`InvalidHandle`].
    #[inline(always)]
    pub fn look_up(&self, handle: Handle) -> Result<Found<'_, T, C>, InvalidHandle> {
        Found::look_up(self.registry, handle, || self.section())
    }

    /// See [`Registry::register_handle`].
    ///
    /// # Errors
    /// A [`Refusal`](crate::Refusal), with the payload.
    #[inline(always)]
    pub fn register_handle(
        &self,
        info: EntityInfo,
        payload: T,
        drop_by: DropBy,
    ) -> Result<Handle, RegisterError<T>> {
        self.registry.register_as(&self.local, info, payload, drop_by, ClientCode::default())
    }

    /// As [`Registry::register_client`], but the entity's events begin with
    /// [`start_events`](Participant::start_events), so that the caller can first put the handle
    /// where they look for it.
    ///
    /// # Errors
    /// A [`Refusal`](crate::Refusal), with the payload.
    pub fn register_client(
        &self,
        info: EntityInfo,
        payload: T,
        drop_by: DropBy,
        code: ClientCode,
    ) -> Result<Handle, RegisterError<T>> {
        self.registry.register_as(&self.local, info, payload, drop_by, code)
    }

    /// Lets the events of an entity begin: it is told of everything that happens from now on. Without
    /// effect if they have, or if it has none.
    pub fn start_events(&self, handle: Handle) {
        self.registry.start_events_as(&self.local, handle);
    }

    /// See [`Registry::deregister`]. Needs no memory of ours.
    ///
    /// # Errors
    /// See [`DeregisterError`].
    pub fn deregister(&self, handle: Handle) -> Result<(), DeregisterError> {
        self.registry.deregister_as(&self.local, handle)
    }

    /// See [`Registry::deregister_later`]. Needs no memory of ours.
    ///
    /// # Errors
    /// [`InvalidHandle`].
    pub fn deregister_later(&self, handle: Handle) -> Result<(), InvalidHandle> {
        self.registry.deregister_later_as(&self.local, handle).map_err(|_| InvalidHandle)
    }

    /// Enters the methods of an entity; see [`Registry::invoke`].
    ///
    /// # Errors
    /// See [`InvokeError`].
    pub fn begin_invoke(&self, callee: Handle) -> Result<Invocation<'_, T, C>, InvokeError> {
        Invocation::begin(self.registry, &self.local, callee, |_| true)
    }

    /// As [`begin_invoke`](Self::begin_invoke), but does not wait for methods that are blocked if `wanted`
    /// says that none of them is: then it is as if there were none. Not asked if they are not blocked.
    ///
    /// # Errors
    /// See [`InvokeError`].
    pub fn begin_invoke_if(
        &self,
        callee: Handle,
        wanted: impl Fn(&T) -> bool,
    ) -> Result<Invocation<'_, T, C>, InvokeError> {
        Invocation::begin(self.registry, &self.local, callee, wanted)
    }

    /// Ends the innermost invocation that was [kept](Invocation::keep). Says whether there was one.
    pub fn end_kept_invocation(&self) -> bool {
        self.registry.leave_methods(&self.local, |frame| frame.kept)
    }

    /// See [`Registry::block_methods`].
    ///
    /// # Errors
    /// See [`BlockError`].
    pub fn block_methods(&self, handle: Handle) -> Result<(), BlockError> {
        self.registry.block_methods_as(&self.local, handle)
    }

    /// See [`Registry::resume_methods`].
    ///
    /// # Errors
    /// [`BlockError::InvalidHandle`].
    pub fn resume_methods(&self, handle: Handle) -> Result<(), BlockError> {
        self.registry.resume_methods_as(&self.local, handle)
    }

    /// Whether the calling thread is inside the event that an entity came or went.
    pub fn inside_membership_event(&self) -> bool {
        courier::inside_membership_event(&self.local)
    }

    pub(crate) fn local(&self) -> &Local<Member> {
        &self.local
    }

    /// See [`Registry::reference`]. Needs no memory.
    ///
    /// # Errors
    /// See [`ReferenceError`].
    pub fn reference(&self, handle: Handle) -> Result<(), ReferenceError> {
        self.registry.reference_as(&self.local, handle)
    }

    /// See [`Registry::release`]. Needs no memory.
    ///
    /// # Errors
    /// [`InvalidHandle`].
    pub fn release(&self, handle: Handle) -> Result<(), InvalidHandle> {
        self.registry.release_as(&self.local, handle)
    }

    /// See [`Registry::synchronize`].
    ///
    /// # Errors
    /// See [`WaitError`].
    pub fn synchronize(&self) -> Result<(), WaitError> {
        self.registry.synchronize_as(&self.local)
    }

    /// Whether a wait of the calling thread would be refused just now.
    ///
    /// # Errors
    /// See [`WaitError`].
    pub fn may_wait(&self) -> Result<(), WaitError> {
        self.registry.may_wait_as(&self.local)
    }

    /// Whether the calling thread is inside a section, of this participant or another.
    pub fn is_inside_section(&self) -> bool {
        self.local.shared().is_inside()
    }

    /// See [`Registry::set_limits`].
    pub fn set_limits(&self, limits: Limits) {
        self.registry.set_limits_as(&self.local, limits);
    }

    /// See [`Registry::statistics`].
    pub fn statistics(&self) -> Statistics {
        self.registry.statistics()
    }

    /// Departed entities whose payloads are not dropped yet: [`Statistics::retired`] alone.
    pub fn retired(&self) -> u64 {
        self.registry.retired()
    }

    /// See [`Registry::is_idle`].
    pub fn is_idle(&self) -> bool {
        self.registry.is_idle()
    }

    /// Begins a [`Registry::flush`] that hands the deferred payloads to the caller.
    ///
    /// # Errors
    /// See [`WaitError`].
    pub fn begin_flush(&self) -> Result<Flushing<'_, T, C>, WaitError> {
        self.registry.begin_flush_as(&self.local)
    }

    /// As [`Registry::collect`], but leaves deferred payloads to [`departed`](Self::departed).
    pub fn collect(&self) {
        self.registry.collect_as(&self.local);
    }

    /// As [`Registry::trim`].
    ///
    /// # Errors
    /// [`OutOfMemory`]: nothing was given back.
    pub fn trim(&self) -> Result<usize, OutOfMemory> {
        self.registry.slab.trim(&self.local)
    }

    /// Deferred payloads that are due.
    pub fn departed(&self) -> Departed<'_, T, C> {
        self.registry.departed_as(&self.local)
    }
}

impl<T: Send + Sync, C: Config> Drop for Participant<'_, T, C> {
    fn drop(&mut self) {
        // What was kept and never ended, by a thread that is gone, and guards that were leaked.
        while self.registry.leave_methods(&self.local, |_| true) {}
        // Of a courier that was leaked: its listener stays as it is, but whoever uses the member next is
        // not inside of it.
        self.local.record().state.frames.clear();
    }
}

impl<T: Send + Sync, C: Config> Registry<T, C> {
    pub(crate) fn departed_as<'a>(&'a self, local: &'a Local<Member>) -> Departed<'a, T, C> {
        Departed { registry: self, local, chain: Chain::empty(), drain: None }
    }
}

/// Deferred payloads whose grace period is over, one after the other.
///
/// A payload counts as dropped when the next one is asked for or this is dropped; a flush by
/// somebody else waits for that, for ever if this is leaked. What has not been asked for goes back for
/// others.
pub struct Departed<'p, T: Send + Sync, C: Config = Standard> {
    registry: &'p Registry<T, C>,
    local: &'p Local<Member>,
    chain: Chain<Batch<Member>>,
    drain: Option<Drain<'p, EntityFixed, T, C, Member>>,
}

impl<T: Send + Sync, C: Config> Departed<'_, T, C> {
    /// The next payload, if one is due just now. Not in the drop of another: then `None`.
    pub fn next_departed(&mut self) -> Option<T> {
        loop {
            if let Some(drain) = &mut self.drain {
                if let Some(payload) = drain.take_next() {
                    return Some(payload);
                }
                self.drain = None;
            }
            if self.local.record().is_dropping() {
                return None;
            }
            let batch = match self.chain.next() {
                Some(batch) => batch,
                None => {
                    let shared = self.local.shared();
                    self.chain = shared.take_ripe(&shared.deferred);
                    self.chain.next()?
                }
            };
            self.drain = Some(self.registry.slab.drain(self.local, batch));
        }
    }
}

impl<T: Send + Sync, C: Config> Drop for Departed<'_, T, C> {
    fn drop(&mut self) {
        self.drain = None;
        for batch in &mut self.chain {
            self.local.shared().deferred.push(batch);
        }
    }
}

/// A flush under way. See [`Participant::begin_flush`].
pub struct Flushing<'p, T: Send + Sync, C: Config = Standard> {
    departed: Departed<'p, T, C>,
    flush: Flush,
}

impl<'p, T: Send + Sync, C: Config> Flushing<'p, T, C> {
    pub(crate) fn new(registry: &'p Registry<T, C>, local: &'p Local<Member>) -> Self {
        Flushing {
            departed: registry.departed_as(local),
            flush: Flush::begin(registry.domain.shared()),
        }
    }

    /// The next deferred payload, which the caller drops; `None` when the flush is over. Blocks
    /// while there is nothing to do but to wait for readers, or for others who drop.
    pub fn next_departed(&mut self) -> Option<T> {
        let (registry, local) = (self.departed.registry, self.departed.local);
        let mut backoff = Backoff::default();
        loop {
            if let Some(payload) = self.departed.next_departed() {
                return Some(payload);
            }
            let over = local.shared().graces_over();
            // Without memory there will be some, or another member has it.
            let _ = local.step();
            registry.process_all(local);
            if self.flush.is_over(local.shared()) {
                return None;
            }
            if local.shared().graces_over() == over {
                backoff.snooze();
            }
        }
    }
}
