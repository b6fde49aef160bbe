//! The registry: entities in tables, each with a unique id, a handle and a payload.
//!
//! *Roles.* Any thread does anything, as a member of the registry's domain.
//!
//! *Registration*, in order: reclaim a little if out of slots; refuse if the backlog is over its
//! limit; find or make the table; take a credit; reserve a slot, attach its client code and fill it; insert
//! the id (here exactly one of several registrations of an id wins); publish the slot and tell the
//! table's listeners. Whatever fails, all before it is undone and the payload given back.
//!
//! *Telling.* The place in the journal is reserved before the slot is published and filled after it, so that
//! no deregistration of the entity comes before it. A registration that sees the first listener only
//! after it has published tells it too, unless the entity has gone again. So does one that was stopped
//! between the two for as long as it takes the journal to pass its place by (`dispatch`, *Passed by*).
//!
//! *Deregistration:* `departure`.
//!
//! *Reclaiming:* `collect`.
//!
//! *Progress.* Registration and deregistration are lock-free. They drop whatever of their own member is ripe: a
//! magazine as a rule, all that waited after a stuck reader has left.

use crate::alloc::{OutOfMemory, try_box};
use crate::code::{Bells, ClientCode, Code};
use crate::courier;
use crate::describe::Awaited;
use crate::dispatch::{Audience, Herald, Joining, Listener, Paused};
use crate::entity::{EntityFixed, EntityInfo, EntityPlain, TableKey};
use crate::error::{DeregisterError, InvalidHandle, ReferenceError, Refusal, RegisterError};
use crate::guard::{Found, Guard};
use crate::handle::{Config, Handle, Kind, Standard, Token, random_secret};
use crate::index::Exists;
use crate::journal::{Note, Position};
use crate::limits::{Credits, InForce, Limits};
use crate::member::{self, Member};
use crate::mutant::{Mutant, active};
use crate::participant::{Participant, Registration};
use crate::probes;
use crate::reclamation::{Domain, Local, Section};
use crate::slab::{Full, NoReference, Reserved, Sharded, Slab};
use crate::sync::{AtomicU32, AtomicU64, Mutex, Ordering, bump, fence};
use crate::table::{Profile, Table, Tables};
use crate::waits::Waits;
use std::sync::Arc;

/// How a registry is made. Plain values; [`Default`] is right for a router.
#[derive(Clone, Copy, Debug, Default)]
pub struct Settings {
    /// Fixed for the registry's life.
    pub profile: Profile,
    /// Can be replaced later, see [`Registry::set_limits`].
    pub limits: Limits,
}

/// Who drops an entity's payload once its grace period is over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DropBy {
    /// Any thread that registers or deregisters, or flushes or collects.
    #[default]
    Writers,
    /// Only a thread that asks for it: [`Registry::flush`], [`Registry::collect`],
    /// [`Participant::departed`].
    Collectors,
}

impl From<Full> for Refusal {
    fn from(full: Full) -> Refusal {
        match full {
            Full::NoSlot => Refusal::NoSlot,
            Full::OutOfMemory => Refusal::OutOfMemory,
        }
    }
}

/// A registry of entities with a payload `T` each. See the [crate] documentation.
///
/// Shared by reference; all methods may be called by any thread at any time, also from the drop of
/// a payload where not said otherwise. Dropping it drops all payloads.
///
/// What a payload borrows must outlive the registry:
///
/// ```compile_fail,E0597
/// # use rtm_core::{AddressFamily, EntityInfo, Registry, TableKey};
/// let registry = Registry::<&String>::new(Default::default()).unwrap();
/// let name = String::from("bgp");
/// let table = TableKey { instance: 0, family: AddressFamily::Inet };
/// registry.register(EntityInfo { table, id: 1 }, &name).unwrap().into_handle();
/// ```
pub struct Registry<T: Send + Sync, C: Config = Standard> {
    pub(crate) slab: Slab<EntityFixed, T, C>,
    pub(crate) domain: Domain<Member>,
    pub(crate) tables: Tables<C>,
    pub(crate) limits: InForce,
    pub(crate) credits: Credits,
    pub(crate) bells: Bells,
    pub(crate) waits: Waits,
    /// Entities whose methods are blocked.
    pub(crate) blocks: AtomicU32,
    /// Departures that end later.
    pub(crate) pending: AtomicU64,
    /// Departures that wait for client code.
    pub(crate) awaited: Awaited,
    pub(crate) herald: Arc<Herald>,
    /// Held while limits are replaced.
    pub(crate) setting: Mutex<()>,
    pub(crate) profile: Profile,
}

impl<T: Send + Sync> Registry<T> {
    /// An empty registry, a few KiB.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub fn new(settings: Settings) -> Result<Self, OutOfMemory> {
        Self::with_config(settings)
    }
}

impl<T: Send + Sync, C: Config> Registry<T, C> {
    /// An empty registry that is built otherwise than [`Standard`].
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub fn with_config(settings: Settings) -> Result<Self, OutOfMemory> {
        let secret = random_secret();
        let herald = Herald::new()?;
        Ok(Registry {
            slab: Slab::new(Kind::Entity, secret)?,
            domain: Domain::new()?,
            // A secret of its own: handles show something of the slab's.
            tables: Tables::new(random_secret(), herald.clone()),
            bells: Bells::default(),
            waits: Waits::default(),
            blocks: AtomicU32::new(0),
            pending: AtomicU64::new(0),
            awaited: Awaited::default(),
            herald,
            limits: InForce::new(settings.limits),
            credits: Credits::new(settings.limits.entities),
            setting: Mutex::new(()),
            profile: settings.profile,
        })
    }

    // --- Members ---

    /// A membership of its own: the same operations without the thread-local look-up, used by one
    /// thread at a time. About 3 KiB; its place is reused after it is dropped.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub fn join(&self) -> Result<Participant<'_, T, C>, OutOfMemory> {
        Ok(Participant::new(self, self.domain.join()?))
    }

    pub(crate) fn ambient<R>(&self, f: impl FnOnce(&Local<Member>) -> R) -> Result<R, OutOfMemory> {
        Ok(f(&*member::ambient(&self.domain)?))
    }

    // --- Reading ---

    /// Enters a read section of the calling thread. Nestable.
    ///
    /// What is looked up through the guard stays valid until the guard is dropped or refreshed,
    /// whoever deregisters meanwhile. A guard that is held for long keeps memory from being
    /// reclaimed (see [`Limits::backlog`]).
    ///
    /// Wait-free but for each 128th, which walks all members (lock-free). The thread's first call
    /// allocates its membership, and aborts the process if there is no memory, as collections do.
    #[inline]
    pub fn enter(&self) -> Guard<'_, T, C> {
        Guard::new(self, self.section())
    }

    #[inline]
    fn section(&self) -> Section<'_, Member> {
        match member::enter_existing(&self.domain) {
            Some(section) => section,
            None => match self.ambient(|local| local.enter(&self.domain)) {
                Ok(section) => section,
                Err(OutOfMemory) => {
                    std::alloc::handle_alloc_error(std::alloc::Layout::new::<Member>())
                }
            },
        }
    }

    /// Looks one entity up under a section of its own: [`enter`](Registry::enter) and [`Guard::get`] in one,
    /// but faster when entities are not in the processor's cache, because they are asked for before
    /// the section is entered.
    ///
    /// As [`enter`](Registry::enter): wait-free but for each 128th; the thread's first call allocates.
    ///
    /// # Errors
    /// [`InvalidHandle`].
    #[inline]
    pub fn look_up(&self, handle: Handle) -> Result<Found<'_, T, C>, InvalidHandle> {
        Found::look_up(self, handle, || self.section())
    }

    /// A copy of the information of an entity that is registered, or departed and still referenced.
    ///
    /// No guard, no thread-local, no allocation, no retry: wait-free and async-signal-safe. An
    /// entity that is just changing reads as invalid.
    ///
    /// # Errors
    /// [`InvalidHandle`].
    #[inline(always)]
    pub fn info(&self, handle: Handle) -> Result<EntityInfo, InvalidHandle> {
        Ok(self.slab.copy(self.slab.seek(handle)).ok_or(InvalidHandle)?.0.info())
    }

    /// As [`info`](Registry::info), but only for an entity that is registered.
    ///
    /// # Errors
    /// [`InvalidHandle`].
    #[inline(always)]
    pub fn registered_info(&self, handle: Handle) -> Result<EntityInfo, InvalidHandle> {
        match self.slab.copy(self.slab.seek(handle)) {
            Some((plain, true)) => Ok(plain.info()),
            _ => Err(InvalidHandle),
        }
    }

    // --- Registering ---

    /// Registers an entity and returns what owns the registration: dropping it deregisters.
    ///
    /// Lock-free. May allocate; may run drops of payloads that this thread retired.
    ///
    /// # Errors
    /// A [`Refusal`], with the payload.
    #[inline]
    pub fn register(
        &self,
        info: EntityInfo,
        payload: T,
    ) -> Result<Registration<'_, T, C>, RegisterError<T>> {
        let handle = self.register_handle(info, payload, DropBy::Writers)?;
        Ok(Registration::new(self, handle))
    }

    /// Registers an entity and leaves its deregistration to the caller.
    ///
    /// # Errors
    /// A [`Refusal`], with the payload.
    #[inline]
    pub fn register_handle(
        &self,
        info: EntityInfo,
        payload: T,
        drop_by: DropBy,
    ) -> Result<Handle, RegisterError<T>> {
        self.register_client(info, payload, drop_by, ClientCode::default())
    }

    /// Registers an entity with client code: methods that others invoke, events that it is told. The handle
    /// owns nothing: [`adopt`](Self::adopt) makes an owner of it.
    ///
    /// Lock-free. May allocate; may run drops of payloads that this thread retired.
    ///
    /// # Errors
    /// A [`Refusal`], with the payload.
    pub fn register_client(
        &self,
        info: EntityInfo,
        payload: T,
        drop_by: DropBy,
        code: ClientCode,
    ) -> Result<Handle, RegisterError<T>> {
        match member::ambient(&self.domain) {
            Ok(local) => {
                let handle = self.register_as(&local, info, payload, drop_by, code)?;
                self.start_events_as(&local, handle);
                Ok(handle)
            }
            Err(OutOfMemory) => Err(RegisterError { refusal: Refusal::OutOfMemory, payload }),
        }
    }

    /// Makes dropping the result deregister the entity of this handle.
    pub fn adopt(&self, handle: Handle) -> Registration<'_, T, C> {
        Registration::new(self, handle)
    }

    /// Ends a registration. When it returns, no lookup finds the entity any more, its id is free, and
    /// none of its client code runs or ever will; guards that hold it keep its payload until they go.
    /// One of several calls wins; the others return at once.
    ///
    /// Lock-free for an entity without client code; else it waits for what runs, if anything does.
    /// Needs no memory of ours once the thread is a member.
    ///
    /// From inside an event of the entity itself (where it is allowed) it waits for everything but
    /// that frame.
    ///
    /// # Errors
    /// [`DeregisterError`]; [`DeregisterError::InvalidHandle`] also if the calling thread's first
    /// call finds no memory for its membership; then nothing has changed.
    pub fn deregister(&self, handle: Handle) -> Result<(), DeregisterError> {
        self.ambient(|local| self.deregister_as(local, handle))
            .unwrap_or(Err(DeregisterError::InvalidHandle))
    }

    /// As [`deregister`](Registry::deregister), but never waits: what of the entity's client code runs goes
    /// on, none is begun any more, and when the last has ended, by then or later, the id becomes free and
    /// the payload is dropped. Allowed everywhere.
    ///
    /// # Errors
    /// [`InvalidHandle`].
    pub fn deregister_later(&self, handle: Handle) -> Result<(), InvalidHandle> {
        let done = self.ambient(|local| self.deregister_later_as(local, handle));
        done.map_err(|_| InvalidHandle)?.map_err(|_| InvalidHandle)
    }

    /// Inlined, so that the payload is made where it stays.
    #[inline(always)]
    pub(crate) fn register_as(
        &self,
        local: &Local<Member>,
        info: EntityInfo,
        payload: T,
        drop_by: DropBy,
        code: ClientCode,
    ) -> Result<Handle, RegisterError<T>> {
        let refuse = |refusal, payload| Err(RegisterError { refusal, payload });
        let record = local.record();
        if record.state.shard().is_out_of_slots() {
            self.process_own(local);
        }
        let backlog = self.limits.backlog();
        if record.roomy.load(Ordering::Relaxed) != backlog && !self.finds_room(local, backlog) {
            probes::backpressure(info, backlog);
            return refuse(Refusal::Backlog, payload);
        }
        let table = match self.tables.find_again(info.table.packed(), &record.state.table) {
            Some(table) => table,
            None => match self.make_table(local, info.table) {
                Ok(table) => table,
                Err(refusal) => return refuse(refusal, payload),
            },
        };
        let sight = C::UNIQUE_IDS.then(|| table.index.sight(info.id));
        let Some(charged) = self.credits.take(local, C::CREDIT_BATCH) else {
            return refuse(Refusal::EntityLimit, payload);
        };
        let reserved = match self.slab.reserve(local) {
            Ok(reserved) => reserved,
            Err(full) => {
                self.credits.give(local, C::CREDIT_BATCH, charged);
                return refuse(full.into(), payload);
            }
        };
        let token = reserved.token();
        let listens = code.events.is_some();
        let has_code = listens || code.methods;
        if has_code && let Err(OutOfMemory) = self.attach(table, token, code) {
            // Not enlisted, or no longer.
            self.slab.cancel(local, reserved);
            self.credits.give(local, C::CREDIT_BATCH, charged);
            return refuse(Refusal::OutOfMemory, payload);
        }
        let deferred = drop_by == DropBy::Collectors;
        let plain = EntityPlain::new(info, deferred, has_code, charged);
        self.slab.fill(&reserved, plain, payload);
        if let Some(sight) = sight
            && let Err(Exists) =
                table.index.insert(&self.slab, local, sight, self.slab.node(reserved.place()))
        {
            let payload = self.slab.take_back(&reserved);
            if listens {
                table.audience.undo_enlist();
            }
            self.slab.attachments.clear(token.slot());
            self.slab.cancel(local, reserved);
            self.credits.give(local, C::CREDIT_BATCH, charged);
            return refuse(Refusal::AlreadyExists, payload);
        }
        probes::register(self.slab.seal(token), info);
        self.publish(local, table, reserved, info.id);
        bump(&record.state.registered, 1);
        Ok(self.slab.seal(token))
    }

    /// Makes the table of this name.
    #[cold]
    fn make_table(&self, local: &Local<Member>, key: TableKey) -> Result<&Table<C>, Refusal> {
        self.tables.create(key, self.limits.instances())?;
        let table = self.tables.find_again(key.packed(), &local.record().state.table);
        Ok(table.expect("tables are never removed"))
    }

    /// Gives a reserved slot its client code. On failure nothing is left of it.
    #[inline(never)]
    fn attach(&self, table: &Table<C>, token: Token, code: ClientCode) -> Result<(), OutOfMemory> {
        let mut attached = Code::new(code.methods)?;
        let listens = code.events.is_some();
        if let Some(queue) = code.events {
            let audience = &table.audience;
            let listener = Listener::new(token, audience.clone(), queue.0)?;
            let joining = Joining::new(listener.clone())?;
            audience.enlist(self.limits.journal())?;
            attached.listen(listener, joining);
        }
        let attach =
            try_box(attached).and_then(|boxed| self.slab.attachments.attach(token.slot(), boxed));
        if attach.is_err() && listens {
            table.audience.undo_enlist();
        }
        attach
    }

    /// Makes the entity resolve and tells those who listen.
    #[inline(always)]
    fn publish(
        &self,
        local: &Local<Member>,
        table: &Table<C>,
        reserved: Reserved<'_, EntityFixed, T>,
        id: u64,
    ) {
        let (token, audience) = (reserved.token(), &table.audience);
        let place_first = !active(Mutant::PublishedBeforePlace);
        let place = (place_first && audience.hint()).then(|| audience.reserve()).flatten();
        self.slab.publish(reserved);
        if place.is_some() || !active(Mutant::PublishWithoutLook) && audience.someone_listens_now()
        {
            self.tell_registered(local, table, token, id, place);
        }
    }

    /// Tells of an entity that has been published, at the place that was reserved before.
    #[inline(never)]
    fn tell_registered(
        &self,
        local: &Local<Member>,
        table: &Table<C>,
        token: Token,
        id: u64,
        place: Option<Position>,
    ) {
        let audience = &table.audience;
        let note = |kind| Note { kind, token, id, holds: false };
        let let_go = &mut |held| self.slab.let_go(local, held);
        if let Some(place) = place {
            if !audience.is_passed(&place) {
                audience.commit(place, note(courier::REGISTERED), let_go);
                return;
            }
            if active(Mutant::PublishWithoutLook) || !audience.someone_listens_now() {
                return;
            }
        }
        let Some(place) = audience.reserve() else { return };
        // Fence: partner is the one in `someone_listens_now`, of a departure. Behind the reservation: if the
        // entity is still there, its departure is told after us.
        fence(Ordering::SeqCst);
        let here = self.slab.copy(token.sought()).is_some_and(|(_, live)| live)
            || active(Mutant::PublishedBeforePlace);
        let kind = if here { courier::REGISTERED } else { courier::NOTHING };
        audience.commit(place, note(kind), let_go);
    }

    /// Lets the entity's events begin: others that are registered or deregistered from now on.
    pub(crate) fn start_events_as(&self, local: &Local<Member>, handle: Handle) {
        let Some(token) = self.slab.open(handle) else { return };
        let pin = local.pin();
        if self.slab.get(token.sought(), &pin).is_none() {
            return;
        }
        let Some(code) = self.slab.attachments.get(token.slot()) else { return };
        if let Some(joining) = code.take_joining()
            && Audience::join(joining) == Paused::Closed
        {
            if active(Mutant::StarterForgetsPart) {
                return;
            }
            // Deregistered meanwhile.
            let ended = code.rundown.end_part();
            drop(pin);
            self.after(local, token, ended);
        }
    }

    // --- References ---

    /// Takes a counted reference: the entity's information stays readable, and its handle unused,
    /// until [`release`](Registry::release). Works on a departed entity that is still referenced.
    ///
    /// Lock-free, allocates nothing.
    ///
    /// # Errors
    /// See [`ReferenceError`].
    pub fn reference(&self, handle: Handle) -> Result<(), ReferenceError> {
        if self.take_reference(handle)? {
            // Without memory for a membership the figure of referenced entities is too low by one.
            let _ = self.ambient(|local| self.slab.note_kept(local));
        }
        Ok(())
    }

    pub(crate) fn reference_as(
        &self,
        local: &Local<Member>,
        handle: Handle,
    ) -> Result<(), ReferenceError> {
        if self.take_reference(handle)? {
            self.slab.note_kept(local);
        }
        Ok(())
    }

    /// Whether it is to be noted.
    fn take_reference(&self, handle: Handle) -> Result<bool, ReferenceError> {
        let token = self.slab.open(handle).ok_or(ReferenceError::InvalidHandle)?;
        self.slab.reference(token, self.limits.references()).map_err(|error| match error {
            NoReference::Invalid => ReferenceError::InvalidHandle,
            NoReference::Limit => ReferenceError::Limit,
        })
    }

    /// Gives a counted reference back. One too many is an error and does no harm beyond eating
    /// another holder's reference if there is one.
    ///
    /// Lock-free.
    ///
    /// # Errors
    /// [`InvalidHandle`]: the entity is gone, or has no reference.
    pub fn release(&self, handle: Handle) -> Result<(), InvalidHandle> {
        self.ambient(|local| self.release_as(local, handle)).unwrap_or(Err(InvalidHandle))
    }

    pub(crate) fn release_as(
        &self,
        local: &Local<Member>,
        handle: Handle,
    ) -> Result<(), InvalidHandle> {
        let token = self.slab.open(handle).ok_or(InvalidHandle)?;
        self.slab.release_and_free(local, token).map(drop).ok_or(InvalidHandle)
    }

    /// How many counted references the entity has; 0 if the handle is invalid.
    pub fn references(&self, handle: Handle) -> u32 {
        self.slab.open(handle).map_or(0, |token| self.slab.references(token))
    }
}

impl<T: Send + Sync, C: Config> Drop for Registry<T, C> {
    fn drop(&mut self) {
        self.tables.disband();
        self.herald.disband();
    }
}
