//! Descriptions of the entities: what each is, who holds it, and what of its code runs.
//!
//! *Roles.* Any member reads; nobody is kept from anything, but for deregistrations that wait for client code,
//! which note so under a lock.
//! *What is read.* Slots in the order of their numbers, a few at a time. The word and the information of a slot
//! are one copy, as `Slab::copy` makes it. What stands beside a live entity is read under the pin under which
//! it was found live; beside a departed one only if its deregistration is noted as waiting, under the lock: it
//! has not retired the slot then. These figures are read one by one.
//! *Progress.* Lock-free, but for the lock, which is held for a few instructions.

use crate::code::{Code, locked};
use crate::entity::{AddressFamily, EntityInfo, EntityPlain};
use crate::handle::{Config, Handle, Token};
use crate::participant::Participant;
use crate::registry::Registry;
use crate::slab::{State, Tenant};
use std::fmt;
use std::sync::PoisonError;

#[cfg(not(rtm_loom))]
use crate::sync::Mutex;
// Nothing that loom sees happens while it is held.
#[cfg(rtm_loom)]
use std::sync::Mutex;

/// Entities that are read under one pin.
const BLOCK: usize = 32;
/// Slots that are looked at under one pin, at the most.
const REACH: u32 = 4096;

/// How far an entity's life has gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stage {
    /// It resolves.
    Registered,
    /// Deregistered. Its payload has not been dropped: client code of it still runs, or a read section
    /// might have it, or nobody has come to drop it.
    Departing,
    /// Its payload is gone. Counted references keep it describable.
    Referenced,
    /// Its payload is gone, and nobody has a counted reference. The registry keeps it describable, because its
    /// end has not been told to all who listen.
    Held,
}

/// What an entity with client code is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Activity {
    /// It can be invoked.
    pub methods: bool,
    /// Its methods are [blocked](crate::Registry::block_methods).
    pub blocked: bool,
    /// Threads inside its methods; one that has entered them twice counts twice.
    pub invocations: u64,
    /// It is told events.
    pub events: bool,
    /// A courier has it in hand: an event of it is being told, or is about to be.
    pub told_now: bool,
    /// Events of its table that it has not consumed. More than [`Limits::journal`](crate::Limits::journal): it
    /// will be told that it missed some.
    pub lag: u64,
    /// A deregistration of it waits for its code.
    pub awaited: bool,
}

impl Activity {
    /// Threads that run its code.
    pub fn running(&self) -> u64 {
        self.invocations + u64::from(self.told_now)
    }
}

/// What was seen of an entity. See [`Participant::descriptions`].
///
/// As a text (`Display`) it is one line of `name=value`; see [`json`](Description::json) for another form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Description {
    /// Its handle.
    pub handle: Handle,
    /// Its information.
    pub info: EntityInfo,
    /// How far its life has gone.
    pub stage: Stage,
    /// Counted references.
    pub references: u32,
    /// The registry keeps it describable, because its end has not been told to all who listen.
    pub untold: bool,
    /// It was registered with client code.
    pub client_code: bool,
    /// What its client code is at; `None` if it has none, or if it has departed and no deregistration waits.
    pub activity: Option<Activity>,
}

/// Descriptions, one after the other. See [`Participant::descriptions`].
pub struct Descriptions<'p, T: Send + Sync, C: Config> {
    participant: &'p Participant<'p, T, C>,
    block: [Option<Description>; BLOCK],
    /// The slots of those.
    slots: [u32; BLOCK],
    next: usize,
    filled: usize,
    /// The first slot not looked at.
    position: u32,
}

impl<T: Send + Sync, C: Config> Participant<'_, T, C> {
    /// Describes every entity that there is: registered ones, and departed ones of which something is left.
    ///
    /// Others may come and go meanwhile. An entity that is there from the first call of `next` to the last is
    /// shown exactly once, others at most once. Each description is of one moment, its
    /// [`activity`](Description::activity) of several; together they are of no moment at all.
    ///
    /// Keeps nobody from anything and no memory between two calls of `next`: what is done with a description
    /// may take its time. Lock-free, but for a lock that is held shortly. Allocates nothing.
    pub fn descriptions(&self) -> Descriptions<'_, T, C> {
        self.descriptions_from(0)
    }

    /// As [`descriptions`](Participant::descriptions), but goes on where an earlier one was, see
    /// [`Descriptions::position`]. Any number may be given.
    pub fn descriptions_from(&self, position: u32) -> Descriptions<'_, T, C> {
        Descriptions {
            participant: self,
            block: [None; BLOCK],
            slots: [0; BLOCK],
            next: 0,
            filled: 0,
            position,
        }
    }
}

impl<T: Send + Sync, C: Config> Descriptions<'_, T, C> {
    /// Where the next one will be looked for.
    pub fn position(&self) -> u32 {
        if self.next < self.filled { self.slots[self.next] } else { self.position }
    }

    /// Looks at the next slots. `false`: there are none.
    fn fill(&mut self) -> bool {
        let (registry, local) = (self.participant.registry(), self.participant.local());
        let slots = registry.slab.slots();
        let end = slots.min(self.position.saturating_add(REACH));
        (self.next, self.filled) = (0, 0);
        let _pin = local.pin();
        while self.position < end && self.filled < BLOCK {
            let slot = self.position;
            self.position += 1;
            if let Some(tenant) = registry.slab.tenant(slot) {
                self.block[self.filled] = Some(registry.describe(tenant));
                self.slots[self.filled] = slot;
                self.filled += 1;
            }
        }
        self.filled != 0 || self.position < slots
    }
}

impl<T: Send + Sync, C: Config> Iterator for Descriptions<'_, T, C> {
    type Item = Description;

    fn next(&mut self) -> Option<Description> {
        while self.next == self.filled {
            if !self.fill() {
                return None;
            }
        }
        self.next += 1;
        self.block[self.next - 1]
    }
}

impl<T: Send + Sync, C: Config> Registry<T, C> {
    /// Under a pin that is older than the look.
    fn describe(&self, tenant: Tenant<EntityPlain>) -> Description {
        let Tenant { token, plain, state, references, held } = tenant;
        let beside = || self.slab.attachments.get(token.slot());
        let activity = match state {
            _ if !plain.code() => None,
            State::Live => beside().map(|code| activity(code, false)),
            _ => self.awaited.with(token, || beside().map(|code| activity(code, true))),
        };
        Description {
            handle: self.slab.seal(token),
            info: plain.info(),
            stage: match state {
                State::Live => Stage::Registered,
                State::Ghost if references == 0 => Stage::Held,
                State::Ghost => Stage::Referenced,
                _ => Stage::Departing,
            },
            references,
            untold: held,
            client_code: plain.code(),
            activity,
        }
    }
}

fn activity(code: &Code, awaited: bool) -> Activity {
    let listener = code.listener.as_deref();
    Activity {
        methods: code.rundown.has_methods(),
        blocked: *locked(&code.blocked),
        invocations: code.rundown.inside(),
        events: listener.is_some(),
        told_now: listener.is_some_and(|listener| listener.is_in_hand()),
        lag: listener.filter(|_| code.has_joined()).map_or(0, |listener| listener.lag()),
        awaited,
    }
}

/// Departed entities whose deregistration waits for their client code.
#[derive(Default)]
pub(crate) struct Awaited(Mutex<Vec<Token>>);

impl Awaited {
    /// Notes one for as long as the result lives. Without memory it is not noted.
    pub(crate) fn note(&self, token: Token) -> impl Drop {
        struct Note<'a>(&'a Awaited, Token);
        impl Drop for Note<'_> {
            fn drop(&mut self) {
                let mut all = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(index) = all.iter().position(|token| *token == self.1) {
                    all.swap_remove(index);
                }
            }
        }
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.try_reserve(1).is_ok() {
            all.push(token);
        }
        Note(self, token)
    }

    /// Does it if the entity is noted, and stays so meanwhile.
    fn with<R>(&self, token: Token, f: impl FnOnce() -> Option<R>) -> Option<R> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.contains(&token) { f() } else { None }
    }
}

impl Stage {
    fn name(self) -> &'static str {
        match self {
            Stage::Registered => "registered",
            Stage::Departing => "departing",
            Stage::Referenced => "referenced",
            Stage::Held => "held",
        }
    }
}

fn family_name(info: &EntityInfo) -> &'static str {
    match info.table.family {
        AddressFamily::Inet => "inet",
        AddressFamily::Inet6 => "inet6",
    }
}

impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (info, stage) = (&self.info, self.stage.name());
        write!(f, "handle={:#x} table={}/", self.handle.to_bits(), info.table.instance)?;
        write!(f, "{} id={:#x} state={stage}", family_name(info), info.id)?;
        write!(f, " references={}", self.references)?;
        if self.untold {
            f.write_str(" untold")?;
        }
        let Some(now) = self.activity else {
            let unknown = self.client_code && self.stage == Stage::Departing;
            return f.write_str(if unknown { " running=?" } else { "" });
        };
        if now.methods {
            f.write_str(if now.blocked { " methods=blocked" } else { " methods=open" })?;
            write!(f, " invocations={}", now.invocations)?;
        }
        if now.events {
            write!(f, " lag={} told={}", now.lag, if now.told_now { "now" } else { "no" })?;
        }
        write!(f, " running={}", now.running())?;
        f.write_str(if now.awaited { " awaited" } else { "" })
    }
}

impl Description {
    /// The same as a JSON object. Handle and id are strings, since they have up to 64 bits.
    pub fn json(&self) -> impl fmt::Display + use<> {
        Json(*self)
    }
}

struct Json(Description);

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Description { handle, info, stage, references, untold, client_code, activity } = self.0;
        let (handle, id) = (handle.to_bits(), info.id);
        let (instance, family, stage) = (info.table.instance, family_name(&info), stage.name());
        write!(
            f,
            r#"{{"handle":"{handle:#x}","instance":{instance},"family":"{family}","id":"{id:#x}","#
        )?;
        write!(f, r#""state":"{stage}","references":{references},"untold":{untold},"#)?;
        write!(f, r#""client_code":{client_code}"#)?;
        if let Some(now) = activity {
            let Activity { methods, blocked, invocations, events, told_now, lag, awaited } = now;
            write!(f, r#","methods":{methods},"blocked":{blocked},"invocations":{invocations},"#)?;
            write!(f, r#""events":{events},"told_now":{told_now},"lag":{lag},"#)?;
            write!(f, r#""running":{},"awaited":{awaited}"#, now.running())?;
        }
        f.write_str("}")
    }
}
