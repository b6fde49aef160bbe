//! Memberships for threads that have none and find no memory for one.
//!
//! *Roles.* The first registration makes them. A thread's first call that deregisters, releases or describes
//! takes one if it cannot have its own, and puts it back when it is done. While all are taken, a call that
//! must not fail waits for one; a description, which may, fails: it may be asked inside of the client code
//! that those who have them wait for. A deregistration that waits for client code has one meanwhile.

use crate::boundary::Outcome;
use crate::client::Client;
use crate::manager::Manager;
use crate::sync::{Mutex, MutexGuard};
use crate::thread;
use crate::types::{DWORD, ERROR_NOT_ENOUGH_MEMORY};
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

    /// One of them, if one is there.
    fn try_take(&'static self) -> Option<Borrowed> {
        let participant = self.lock().iter_mut().find_map(Option::take)?;
        Some(Borrowed { spares: self, participant: Some(participant) })
    }

    fn take(&'static self) -> Borrowed {
        loop {
            if let Some(taken) = self.try_take() {
                return taken;
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

/// The membership by which a call does its work that must not fail, or is to fail last.
pub(crate) enum Membership {
    Own(&'static Participant<'static, Client>),
    Spare(Borrowed),
}

impl Membership {
    /// The calling thread's, or a spare one, for which it waits. There is an entity, so there are spares.
    pub(crate) fn get(manager: &'static Manager) -> Membership {
        match thread::record(manager) {
            Ok(record) => Membership::Own(record.section.participant()),
            Err(_) => Membership::Spare(manager.spares.take()),
        }
    }

    /// The calling thread's, or a spare one if one is there. Waits for nobody.
    pub(crate) fn try_get(manager: &'static Manager) -> Result<Membership, DWORD> {
        match thread::record(manager) {
            Ok(record) => Ok(Membership::Own(record.section.participant())),
            Err(code) => manager.spares.try_take().map(Membership::Spare).ok_or(code),
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
