//! The end of a batch: its payloads are dropped, or moved out, and its slots become vacant.
//!
//! *Roles.* The one thread that took the ripe batch. Holders of references may let go meanwhile.
//! *States of a slot:* Dead → Vacant, Spent or Ghost, at the head of `slab`. Where payloads need no drop and nothing is
//! attached, slots are freed as they are linked, and only the exceptions go one by one.
//! *Panics.* A payload's drop that panics leaves its slot settled, the rest of the batch for another time.
//! *Progress.* Lock-free, apart from the drops.

use super::directory::Fixed;
use super::shard::{Freed, NIL, Sharded};
use super::word::{State, Word};
use super::{Place, Slab};
use crate::handle::Config;
use crate::mutant::{Mutant, active, relaxed_if};
use crate::reclamation::{Batch, Dropping, Garbage, Local, Record, Shared};
use crate::stack::Chain;
use crate::sync::Ordering;

impl<F: Fixed, T: Send + Sync, C: Config> Slab<F, T, C> {
    /// Processes the ripe batches of one record: drops payloads, frees slots for this member.
    pub(crate) fn process_ripe<S: Sharded>(&self, local: &Local<S>, from: &Record<S>) {
        let mut ripe = local.shared().take_ripe(&from.sealed);
        // A payload's drop that panics leaves the rest of the chain to be put back.
        struct PutBack<'a, S>(&'a mut Chain<Batch<S>>, &'a Record<S>);
        impl<S> Drop for PutBack<'_, S> {
            fn drop(&mut self) {
                for batch in &mut *self.0 {
                    self.1.sealed.push(batch);
                }
            }
        }
        let rest = PutBack(&mut ripe, from);
        for batch in rest.0.by_ref() {
            self.drain(local, batch).run();
        }
    }

    /// Begins to reclaim the slots of a ripe batch.
    pub(crate) fn drain<'a, S: Sharded>(
        &'a self,
        local: &'a Local<S>,
        batch: Box<Batch<S>>,
    ) -> Drain<'a, F, T, C, S> {
        let (head, count) = match batch.garbage {
            Garbage::Slots { head, count, .. } => (head, count),
            _ => (NIL, 0),
        };
        let record = local.record();
        Drain {
            slab: self,
            shared: local.shared(),
            record,
            batch: Some(batch),
            head,
            left: count,
            done: 0,
            freed: Freed::NONE,
            _dropping: record.dropping(),
        }
    }

    /// The payload is gone: frees the slot, or leaves it to the last reference. Says what it is now.
    #[inline(always)]
    pub(super) fn settle(&self, place: Place<'_, F, T>) -> State {
        // Acquire: partner is `release`, as below.
        let now = Word(place.word.load(Ordering::Acquire));
        if now.is_kept() {
            return self.settle_kept(place, now);
        }
        // Dead and unreferenced it is nobody's but ours.
        debug_assert_eq!(now.state(), State::Dead);
        let next = self.freed(place.number, now);
        place.word.store(next.0, Ordering::Relaxed);
        next.state()
    }

    #[cold]
    fn settle_kept(&self, place: Place<'_, F, T>, mut now: Word) -> State {
        loop {
            debug_assert_eq!(now.state(), State::Dead);
            let unheld = active(Mutant::SettleFreesHeld) && now.references() == 0;
            let next = if !now.is_kept() || unheld {
                self.freed(place.number, now)
            } else {
                now.with_state(State::Ghost)
            };
            // AcqRel: partner is `release`, whichever of us comes second frees the slot.
            let order = relaxed_if(Mutant::SettleRelaxed, Ordering::AcqRel);
            match place.word.compare_exchange_weak(now.0, next.0, order, Ordering::Relaxed) {
                Ok(_) => return next.state(),
                Err(seen) => now = Word(seen),
            }
        }
    }
}

/// A ripe batch whose payloads are being taken out one by one.
///
/// Dropped before its end it puts the rest back, so that a panicking or vanishing client loses
/// nothing.
pub(crate) struct Drain<'a, F: Fixed, T: Send + Sync, C: Config, S: Sharded> {
    slab: &'a Slab<F, T, C>,
    shared: &'a Shared<S>,
    record: &'a Record<S>,
    batch: Option<Box<Batch<S>>>,
    head: u32,
    left: u32,
    done: u32,
    freed: Freed<'a>,
    _dropping: Dropping<'a>,
}

/// A payload that is just being dropped: its slot is settled even if that panics.
struct Dropped<'d, 'a, F: Fixed, T: Send + Sync, C: Config, S: Sharded> {
    drain: &'d mut Drain<'a, F, T, C, S>,
    place: Place<'a, F, T>,
}

impl<F: Fixed, T: Send + Sync, C: Config, S: Sharded> Drop for Dropped<'_, '_, F, T, C, S> {
    #[inline(always)]
    fn drop(&mut self) {
        self.drain.settle(self.place);
    }
}

impl<'a, F: Fixed, T: Send + Sync, C: Config, S: Sharded> Drain<'a, F, T, C, S> {
    #[inline(always)]
    fn advance(&mut self) -> Option<Place<'a, F, T>> {
        if self.left == 0 {
            return None;
        }
        let place = self.slab.existing(self.head);
        self.head = place.slot.link.load(Ordering::Relaxed);
        self.left -= 1;
        Some(place)
    }

    #[inline(always)]
    fn settle(&mut self, place: Place<'a, F, T>) {
        self.slab.attachments.clear(place.number);
        match self.slab.settle(place) {
            State::Vacant => self.freed.add(place),
            State::Spent => {
                self.slab.spent.fetch_add(1, Ordering::Relaxed);
            }
            State::Live | State::Dead | State::Ghost => {}
        }
        self.done += 1;
    }

    /// Drops all payloads in their places.
    fn run(&mut self) {
        loop {
            if !std::mem::needs_drop::<T>() {
                self.settle_plain();
            }
            if !self.drop_next() {
                return;
            }
        }
    }

    /// Frees what comes next, up to the first slot that needs more than that: one that is kept, used up or
    /// might have an attachment. The payloads need no drop.
    fn settle_plain(&mut self) {
        let slab = self.slab;
        if slab.attachments.may_have_some() {
            return;
        }
        let (head, mut next, mut count) = (self.head, self.head, 0);
        let mut tail = None;
        while count != self.left {
            let place = slab.existing(next);
            // Acquire: as in `settle`.
            let now = Word(place.word.load(Ordering::Acquire));
            let freed = slab.freed(next, now);
            let kept = now.is_kept() && !active(Mutant::PlainSettlesKept);
            if kept || freed.state() != State::Vacant {
                break;
            }
            debug_assert_eq!(now.state(), State::Dead);
            next = place.slot.link.load(Ordering::Relaxed);
            place.word.store(freed.0, Ordering::Relaxed);
            tail = Some(&place.slot.link);
            count += 1;
        }
        if let Some(tail) = tail {
            self.freed.add_linked(head, tail, count);
            self.head = next;
            self.left -= count;
            self.done += count;
        }
    }

    /// Drops the next payload in its place.
    #[inline(always)]
    pub(crate) fn drop_next(&mut self) -> bool {
        let Some(place) = self.advance() else { return false };
        let dropped = Dropped { drain: self, place };
        if std::mem::needs_drop::<T>() {
            // SAFETY: I1: the grace period is over and the batch is ours.
            unsafe { dropped.place.slot.drop_value() };
        }
        true
    }

    /// Moves the next payload out. Its slot is free from now on; the batch counts as processed when the
    /// payload after its last is asked for, or this is dropped.
    pub(crate) fn take_next(&mut self) -> Option<T> {
        let place = self.advance()?;
        // SAFETY: I1: the grace period is over and the batch is ours; not read again.
        let payload = unsafe { place.slot.take_value() };
        // Now, not later: if this is leaked, the slot must not look as if the payload were there.
        self.settle(place);
        std::mem::replace(&mut self.freed, Freed::NONE).put(self.record.state.shard());
        Some(payload)
    }
}

impl<F: Fixed, T: Send + Sync, C: Config, S: Sharded> Drop for Drain<'_, F, T, C, S> {
    fn drop(&mut self) {
        std::mem::replace(&mut self.freed, Freed::NONE).put(self.record.state.shard());
        let Some(mut batch) = self.batch.take() else { return };
        if self.left == 0 {
            self.shared.finish(&mut batch, self.done);
            self.slab.share_free(self.record.state.shard(), batch);
        } else if let Garbage::Slots { deferred, .. } = batch.garbage {
            self.shared.note_processed(self.done);
            batch.garbage = Garbage::Slots { head: self.head, count: self.left, deferred };
            let sealed = if deferred { &*self.shared.deferred } else { &self.record.sealed };
            sealed.push(batch);
        }
    }
}
