//! Memberships for the calls that must not fail, of threads that have none and find no memory for one.
//!
//! *Roles.* The first registration makes them. A thread's first call that deregisters or releases
//! takes one if it cannot have its own, and puts it back when it is done; while all are taken it waits for one.
//! A deregistration that waits for client code has one meanwhile.

use crate::boundary::Outcome;
use crate::client::Client;
use crate::manager::Manager;
use crate::sync::{Mutex, MutexGuard};
use crate::thread;
use crate::types::ERROR_NOT_ENOUGH_MEMORY;
use rtm_core::{OutOfMemory, Participant};
use std::ops::Deref;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const SPARES: usize = 2;

type Places = [Option<Participant<'static, Client>>; SPARES];

#[derive(Default)]
pub(crate) struct Spares {
    there: AtomicBool,
    places: Mutex<Places>,
}

impl Spares {
    fn lock(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes them if there are none.
    #[inline]
    pub(crate) fn make(&self, manager: &'static Manager) -> Outcome {
        // Acquire: partner is the store below; nobody looks for what is not there.
        if self.there.load(Ordering::Acquire) { Ok(()) } else { self.make_now(manager) }
    }

    #[cold]
    fn make_now(&self, manager: &'static Manager) -> Outcome {
        let mut places = self.lock();
        // Another thread may have made them, and a third may have one.
        if self.there.load(Ordering::Relaxed) {
            return Ok(());
        }
        for place in places.iter_mut().filter(|place| place.is_none()) {
            let new = manager.registry.join().map_err(|OutOfMemory| ERROR_NOT_ENOUGH_MEMORY)?;
            *place = Some(new);
        }
        // Release: partner is `make`.
        self.there.store(true, Ordering::Release);
        Ok(())
    }

    /// Whether an entity was ever registered, or nearly.
    pub(crate) fn are_there(&self) -> bool {
        // Acquire: as in `make`.
        self.there.load(Ordering::Acquire)
    }

    fn take(&'static self) -> Borrowed {
        loop {
            let taken = self.lock().iter_mut().find_map(Option::take);
            if let Some(participant) = taken {
                return Borrowed { spares: self, participant: Some(participant) };
            }
            std::thread::sleep(Duration::from_micros(100));
        }
    }
}

/// A spare in use.
pub(crate) struct Borrowed {
    spares: &'static Spares,
    /// Until it is put back.
    participant: Option<Participant<'static, Client>>,
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        let mut places = self.spares.lock();
        if let Some(place) = places.iter_mut().find(|place| place.is_none()) {
            *place = self.participant.take();
        }
    }
}

/// The membership by which a call that must not fail does its work.
pub(crate) enum Membership {
    Own(&'static Participant<'static, Client>),
    Spare(Borrowed),
}

impl Membership {
    /// The calling thread's, or a spare one. There is an entity, so there are spares.
    pub(crate) fn get(manager: &'static Manager) -> Membership {
        match thread::record(manager) {
            Ok(record) => Membership::Own(record.section.participant()),
            Err(_) => Membership::Spare(manager.spares.take()),
        }
    }
}

impl Deref for Membership {
    type Target = Participant<'static, Client>;
    fn deref(&self) -> &Participant<'static, Client> {
        match self {
            Membership::Own(own) => own,
            Membership::Spare(spare) => spare.participant.as_ref().expect("put back by its drop"),
        }
    }
}
