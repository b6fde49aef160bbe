//! Listeners of a round: what they were told is compared with what happened.
//!
//! *Contract.* A listener is told, once each and in an order that the times of the calls allow, that an entity
//! has come and that it has gone; of one id by turns, but for the departure of an entity that came before it
//! listened and that it need not have been told of; of nothing else. From the return of
//! [`start_events`](rtm_core::Participant::start_events) on it is told everything, up to what it was told last
//! and, at the end of the round, up to there. Who comes while the listener does is shown by an enumeration
//! afterwards, or told. Inside the event an entity is described, unless the journal is short. Told that it
//! missed some, the listener begins afresh: an enumeration shows who is there, the rest is told.

use crate::check::{Did, Name, Operation};
use crate::common::V4;
use crate::drive::{Payload, Round, Walk};
use rtm_core::{Config, Event, EventQueue, Handle, Participant};
use std::collections::{HashMap, HashSet};

/// A listener with a queue of its own.
pub(crate) struct Listener {
    pub(crate) id: u64,
    pub(crate) handle: Handle,
    pub(crate) queue: EventQueue,
    /// When it was registered, until its events had begun.
    pub(crate) came: (u64, u64),
    /// An enumeration afterwards.
    pub(crate) walk: Walk,
    told: Vec<(u64, Event)>,
    /// An enumeration inside the last event that it missed some, if there was one.
    afresh: Option<Walk>,
    /// Until when it must have been told everything; before its end: what it was told last.
    pub(crate) until: Option<u64>,
}

impl Listener {
    pub(crate) fn new(
        id: u64,
        handle: Handle,
        queue: EventQueue,
        came: (u64, u64),
        walk: Walk,
    ) -> Listener {
        Listener { id, handle, queue, came, walk, told: Vec::new(), afresh: None, until: None }
    }

    /// How many events it was told.
    pub(crate) fn told(&self) -> usize {
        self.told.len()
    }

    /// Takes at most so many events. Says how many.
    pub(crate) fn hear<C: Config>(
        &mut self,
        member: &Participant<'_, Payload<'_>, C>,
        round: &Round<'_>,
        most: usize,
    ) -> usize {
        let mut courier = member.courier(&self.queue);
        let before = self.told.len();
        while self.told.len() < before + most
            && let Some(delivery) = courier.next_event()
        {
            let event = delivery.event;
            if let Event::Registered { handle, info } | Event::Deregistered { handle, info } = event
            {
                let described = member.registry().info(handle);
                if described != Ok(info) && !round.short_journal {
                    panic!("VIOLATION: told {event:?}, which is described as {described:?}");
                }
            }
            if event == Event::Missed {
                let called = round.now();
                let guard = member.enter();
                let shown = guard.entities(V4).map(|entity| entity.handle().to_bits()).collect();
                self.afresh = Some(Walk { called, returned: round.now(), shown });
            }
            self.told.push((round.now(), event));
        }
        self.told.len() - before
    }
}

/// When something was called and returned.
type Call = (u64, u64);

/// Who came and went in a round.
pub(crate) struct Lives {
    comes: HashMap<Name, (u64, Call)>,
    goes: HashMap<Name, (u64, Call)>,
}

impl Lives {
    pub(crate) fn new<'a>(all: impl Iterator<Item = &'a (u64, Operation)>) -> Lives {
        let mut lives = Lives { comes: HashMap::new(), goes: HashMap::new() };
        for (id, operation) in all {
            let call = (operation.called, operation.returned);
            match operation.did {
                Did::Registered(name) => drop(lives.comes.insert(name, (*id, call))),
                Did::Unpublished(name) => drop(lives.goes.insert(name, (*id, call))),
                _ => {}
            }
        }
        lives
    }

    /// Whether what a listener was told can have been, and is all that it must have been told.
    pub(crate) fn check(&self, listener: &Listener) -> Result<(), String> {
        let fault = |what: &str, name: Name| {
            let (own, came) = (listener.handle.to_bits(), listener.came);
            let [comes, goes] = [&self.comes, &self.goes].map(|of| of.get(&name));
            // What it was told of the id, up to here.
            let id = comes.or(goes).map(|of| of.0);
            let one = |(time, event): &(u64, Event)| match *event {
                Event::Registered { handle, info } if Some(info.id) == id => {
                    Some(format!("{time}: +{:#x}", handle.to_bits()))
                }
                Event::Deregistered { handle, info } if Some(info.id) == id => {
                    Some(format!("{time}: -{:#x}", handle.to_bits()))
                }
                Event::Missed => Some(format!("{time}: missed")),
                _ => None,
            };
            let told: Vec<_> = listener.told.iter().filter_map(one).collect();
            let of_name = told.iter().position(|one| one.ends_with(&format!("{name:#x}")));
            let told = &told[of_name.unwrap_or(0).saturating_sub(6)..];
            let told = &told[..told.len().min(12)];
            Err(format!(
                "a listener ({own:#x}, registered {came:?}) {what}: {name:#x}, which came {comes:?} and went \
                 {goes:?} (id and times of call and return); what it was told of the id about then: {told:?}"
            ))
        };
        let (mut latest, mut since) = (0, listener.came.1);
        let (mut heard, mut holders) = (HashSet::new(), HashMap::new());
        for (time, event) in &listener.told {
            let (handle, info, comes) = match *event {
                Event::Registered { handle, info } => (handle, info, true),
                Event::Deregistered { handle, info } => (handle, info, false),
                _ => {
                    holders.clear();
                    since = *time;
                    continue;
                }
            };
            let name = handle.to_bits();
            let known = if comes { &self.comes } else { &self.goes };
            let Some((_, call)) =
                known.get(&name).filter(|one| one.0 == info.id && one.1.0 < *time)
            else {
                return fault("was told what had not happened", name);
            };
            if call.1 < latest {
                return fault("was told too late", name);
            }
            latest = latest.max(call.0);
            if !heard.insert((name, comes)) || comes && heard.contains(&(name, false)) {
                return fault("was told twice, or of a departure first", name);
            }
            // Nobody need have listened when this one came.
            let unseen = !comes && self.comes.get(&name).is_some_and(|(_, call)| call.0 <= since);
            if let Some((holder, present)) = holders.insert(info.id, (name, comes))
                && (if present { comes || holder != name } else { !comes && !unseen })
            {
                return fault("was told of an id not by turns", name);
            }
        }
        let until = listener.until.unwrap_or(latest);
        let own = listener.handle.to_bits();
        for (of, comes) in [(&self.comes, true), (&self.goes, false)] {
            let due = |call: &Call| call.0 > since && call.1 < until;
            let mut due = of.iter().filter(|(name, (_, call))| due(call) && **name != own);
            if let Some((name, _)) = due.find(|(name, _)| !heard.contains(&(**name, comes))) {
                return fault("was not told", *name);
            }
        }
        // Who comes while it begins, or begins afresh.
        let (begins, walk) = match &listener.afresh {
            Some(walk) => (walk.called, walk),
            None => (listener.came.0, &listener.walk),
        };
        let meanwhile = |call: &Call| call.0 <= since && call.1 > begins;
        // Until after the enumeration, and until its own registration had returned.
        let stays = |name, came: &Call| {
            self.goes.get(name).is_none_or(|one| one.1.0 > walk.returned.max(came.1))
        };
        let neither = self.comes.iter().find(|(name, (_, call))| {
            meanwhile(call)
                && call.1 < until
                && stays(name, call)
                && **name != own
                && !walk.shown.contains(name)
                && !heard.contains(&(**name, true))
        });
        match neither {
            Some((name, _)) => fault("was neither shown nor told", *name),
            None => Ok(()),
        }
    }
}
