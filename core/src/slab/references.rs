//! What keeps an object that has ended describable: counted references, and the library's one hold.
//!
//! *Roles.* Holders take and release; who unpublished the object may hold it. Whoever lets go last of an object
//! whose payload is gone (Ghost) frees the slot, or else the thread that settles it (`drain.rs`).
//! *Orderings.* Letting go releases what was done with the object, and acquires what others did, to whoever frees
//! the slot.
//! *Progress.* Lock-free.

use super::Slab;
use super::directory::Fixed;
use super::shard::{Freed, Sharded};
use super::word::{HELD, MAX_REFERENCES, State, Word};
use crate::handle::{Config, Token};
use crate::mutant::{Mutant, active, relaxed_if};
use crate::reclamation::Local;
use crate::sync::{Ordering, bump};

/// What a release did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Released {
    /// The object is there for others, or live.
    Kept,
    /// It was the last reference of an object that had been unpublished; the slot is the caller's
    /// to free if `free` says so.
    Last { free: bool },
}

/// Why no reference was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoReference {
    Invalid,
    Limit,
}

impl<F: Fixed, T: Send + Sync, C: Config> Slab<F, T, C> {
    /// Holds an object that the caller has unpublished and not yet retired.
    pub(crate) fn hold(&self, token: Token) {
        self.place(token).word.fetch_or(HELD, Ordering::Relaxed);
    }

    /// Ends a hold. Says whether the slot is the caller's to free.
    fn end_hold(&self, token: Token) -> bool {
        let word = self.place(token).word;
        let mut now = Word(word.load(Ordering::Relaxed));
        loop {
            debug_assert!(now.generation() == token.generation() && now.is_held());
            let last = now.references() == 0;
            let (next, free) = match now.state() {
                State::Ghost if last => (self.freed(token.slot(), now), true),
                State::Dead if last && active(Mutant::LetGoFreesDead) => {
                    (self.freed(token.slot(), now), true)
                }
                _ => (Word(now.0 & !HELD), false),
            };
            // AcqRel: as in `release`.
            let order = relaxed_if(Mutant::LetGoRelaxed, Ordering::AcqRel);
            match word.compare_exchange_weak(now.0, next.0, order, Ordering::Relaxed) {
                Ok(_) => return free,
                Err(seen) => now = Word(seen),
            }
        }
    }

    /// Adds a counted reference, unless there are `limit` of them. Says whether it is the first of an
    /// object that has ended and is only held.
    pub(crate) fn reference(&self, token: Token, limit: u32) -> Result<bool, NoReference> {
        let (word, _) = self.directory.slot_of(token).ok_or(NoReference::Invalid)?;
        let mut now = Word(word.load(Ordering::Relaxed));
        loop {
            if !now.resolves(token.generation()) && !active(Mutant::ReferenceBlindly) {
                return Err(NoReference::Invalid);
            }
            if now.references() >= limit.min(MAX_REFERENCES) {
                return Err(NoReference::Limit);
            }
            // Acquire: partner is `publish`.
            let order = relaxed_if(Mutant::ReferenceRelaxed, Ordering::Acquire);
            match word.compare_exchange_weak(now.0, now.0 + 1, order, Ordering::Relaxed) {
                Ok(_) => return Ok(now.state() != State::Live && now.references() == 0),
                Err(seen) => now = Word(seen),
            }
        }
    }

    /// Gives a counted reference back; `None` if the object has none.
    pub(crate) fn release(&self, token: Token) -> Option<Released> {
        let (word, _) = self.directory.slot_of(token)?;
        let mut now = Word(word.load(Ordering::Relaxed));
        loop {
            if now.generation() != token.generation() || now.references() == 0 {
                return None;
            }
            let last = now.references() == 1;
            let (next, released) = match now.state() {
                State::Ghost if last && (!now.is_held() || active(Mutant::ReleaseFreesHeld)) => {
                    (self.freed(token.slot(), now), Released::Last { free: true })
                }
                State::Dead if last && active(Mutant::ReleaseFreesDead) => {
                    (self.freed(token.slot(), now), Released::Last { free: true })
                }
                State::Dead | State::Ghost if last => {
                    (Word(now.0 - 1), Released::Last { free: false })
                }
                _ => (Word(now.0 - 1), Released::Kept),
            };
            // AcqRel: what the holder did with the object comes before the slot is used again, and
            // whoever frees it has seen what all other holders did.
            let order = relaxed_if(Mutant::ReleaseRelaxed, Ordering::AcqRel);
            match word.compare_exchange_weak(now.0, next.0, order, Ordering::Relaxed) {
                Ok(_) => return Some(released),
                Err(seen) => now = Word(seen),
            }
        }
    }

    /// The counted references of an object, 0 if it does not resolve.
    pub(crate) fn references(&self, token: Token) -> u32 {
        match self.directory.slot_of(token) {
            Some((word, _)) => {
                let now = Word(word.load(Ordering::Relaxed));
                if now.resolves(token.generation()) { now.references() } else { 0 }
            }
            None => 0,
        }
    }

    /// The last thing that kept an object has gone, and its payload before: its slot is ours.
    fn free_kept<S: Sharded>(&self, local: &Local<S>, token: Token) {
        let record = local.record();
        let shard = record.state.shard();
        // A slot more, so a look more at the backlog.
        record.roomy.store(u64::MAX, Ordering::Relaxed);
        let place = self.place(token);
        match Word(place.word.load(Ordering::Relaxed)).state() {
            State::Vacant => Freed::one(place).put(shard),
            State::Spent => {
                self.spent.fetch_add(1, Ordering::Relaxed);
            }
            State::Live | State::Dead | State::Ghost => {}
        }
        self.share_surplus(shard);
    }

    /// Gives a reference back and frees the slot if it was the last thing that held it.
    pub(crate) fn release_and_free<S: Sharded>(
        &self,
        local: &Local<S>,
        token: Token,
    ) -> Option<Released> {
        let released = self.release(token)?;
        if let Released::Last { free } = released {
            let shard = local.record().state.shard();
            bump(&shard.let_go, 1);
            if free {
                self.free_kept(local, token);
            }
        }
        Some(released)
    }

    /// Ends a hold, and frees the slot if nothing else kept it.
    pub(crate) fn let_go<S: Sharded>(&self, local: &Local<S>, token: Token) {
        if self.end_hold(token) {
            self.free_kept(local, token);
        }
    }

    /// Notes the first reference on an object that had ended and was only held.
    pub(crate) fn note_kept<S: Sharded>(&self, local: &Local<S>) {
        bump(&local.record().state.shard().kept, 1);
    }
}
