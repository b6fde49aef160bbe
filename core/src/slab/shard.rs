//! A member's part of a slab: the slots it may use next and those it has retired.
//!
//! *Roles.* The owning member uses every list. Others take its spare lists when they run out, and
//! seal its retired lists for a collect or a flush.
//! *Lists* are linked through the slots. `free` and the fresh range are the owner's alone (relaxed
//! atomics, for the record passes between owners through an acquire). `retired`: `retired.rs`. `spare`
//! is a stack of free lists of at least two magazines each, and of ranges of slots whose memory was given back.
//! *Orderings.* Spare stacks release and acquire the links (`stack.rs`).
//! *Progress.* Everything is lock-free; `retire` needs no memory: while there is none, the list
//! just grows.

use super::directory::{Fixed, Full};
use super::retired::Retired;
use super::word::{State, Word};
use super::{Place, Released, Reserved, Slab};
use crate::alloc::OutOfMemory;
use crate::handle::{Config, Token};
use crate::mutant::{Mutant, active, relaxed_if};
use crate::reclamation::{Batch, Dropping, Garbage, Local, Record, Shared};
use crate::stack::{Chain, Stack};
use crate::sync::{AtomicI64, AtomicU32, AtomicU64, Ordering, bump};

pub(super) const NIL: u32 = u32::MAX;
/// Spare lists that a member does not take from another as long as there are slots never used: slots that pass
/// between members bring words of several members onto one line. (Ranges are taken: they are whole chunks.)
const KEPT: i64 = if cfg!(rtm_loom) { 0 } else { 2 };
/// Out of so many times that a member adds a chunk, it looks once for what members have left that are gone.
const LOOK: u32 = 16;

/// A member state with a place for this slab's lists.
pub(crate) trait Sharded: Send + Sync + Sized + 'static {
    fn shard(&self) -> &Shard<Self>;
}

pub(crate) struct Shard<S> {
    /// Slots ready for use, linked. Owner only.
    free: AtomicU32,
    free_len: AtomicU32,
    /// The unused rest of the chunk this member took last, and whether it is a new one (0) or one that was
    /// given back, whose words say their generations. Owner only.
    fresh: AtomicU32,
    fresh_end: AtomicU32,
    fresh_again: AtomicU32,
    /// Retired slots, ordinary and deferred.
    retired: [Retired; 2],
    /// Free lists to spare, and ranges of slots whose memory was given back; and their weight, a hint.
    spare: Stack<Batch<S>>,
    spare_weight: AtomicI64,
    /// Objects that ended while referenced, and those of them whose last reference went. Owner only.
    kept: AtomicU64,
    let_go: AtomicU64,
}

impl<S> Default for Shard<S> {
    fn default() -> Self {
        Shard {
            free: AtomicU32::new(NIL),
            free_len: AtomicU32::new(0),
            fresh: AtomicU32::new(0),
            fresh_end: AtomicU32::new(0),
            fresh_again: AtomicU32::new(0),
            retired: [Retired::default(), Retired::default()],
            spare: Stack::default(),
            spare_weight: AtomicI64::new(0),
            kept: AtomicU64::new(0),
            let_go: AtomicU64::new(0),
        }
    }
}

impl<S> Shard<S> {
    /// Slots retired and not yet sealed.
    #[inline]
    pub(crate) fn unsealed(&self) -> u64 {
        self.retired.iter().map(|list| u64::from(list.len())).sum()
    }

    /// Slots that the owner may use next: of its free list and of its own chunk.
    pub(crate) fn at_hand(&self) -> u64 {
        let fresh = self.fresh_end.load(Ordering::Relaxed);
        let fresh = fresh.saturating_sub(self.fresh.load(Ordering::Relaxed));
        u64::from(self.free_len.load(Ordering::Relaxed)) + u64::from(fresh)
    }

    /// Whether the owner would have to look for a slot elsewhere.
    #[inline]
    pub(crate) fn is_out_of_slots(&self) -> bool {
        self.free.load(Ordering::Relaxed) == NIL
    }

    /// Takes the owner's free list: its head and its length.
    pub(super) fn unload(&self) -> (u32, u32) {
        let (head, count) =
            (self.free.load(Ordering::Relaxed), self.free_len.load(Ordering::Relaxed));
        self.free.store(NIL, Ordering::Relaxed);
        self.free_len.store(0, Ordering::Relaxed);
        (head, count)
    }

    /// Objects that ended while referenced, less those let go; may be negative for one member.
    pub(crate) fn kept(&self) -> u64 {
        let kept = self.kept.load(Ordering::Relaxed);
        kept.wrapping_sub(self.let_go.load(Ordering::Relaxed))
    }
}

impl<F: Fixed, T: Send + Sync, C: Config> Slab<F, T, C> {
    /// A vacant slot for this member.
    #[inline(always)]
    pub(crate) fn reserve<S: Sharded>(&self, local: &Local<S>) -> Result<Reserved<'_, F, T>, Full> {
        let shard = local.record().state.shard();
        loop {
            let slot = shard.free.load(Ordering::Relaxed);
            if slot != NIL {
                let place = self.existing(slot);
                shard.free.store(place.slot.link.load(Ordering::Relaxed), Ordering::Relaxed);
                let length = shard.free_len.load(Ordering::Relaxed);
                shard.free_len.store(length - 1, Ordering::Relaxed);
                let generation = Word(place.word.load(Ordering::Relaxed)).generation();
                return Ok(Reserved { place, generation });
            }
            let slot = shard.fresh.load(Ordering::Relaxed);
            if slot != shard.fresh_end.load(Ordering::Relaxed) {
                shard.fresh.store(slot + 1, Ordering::Relaxed);
                let place = self.existing(slot);
                if shard.fresh_again.load(Ordering::Relaxed) != 0 && !active(Mutant::RangeForgets) {
                    let generation = Word(place.word.load(Ordering::Relaxed)).generation();
                    return Ok(Reserved { place, generation });
                }
                let generation = self.first_generation(slot);
                place.word.store(Word::new(generation, State::Vacant, 0).0, Ordering::Relaxed);
                return Ok(Reserved { place, generation });
            }
            self.find_slots(local)?;
        }
    }

    /// Fills the free list or the fresh range of a member that has neither.
    #[cold]
    fn find_slots<S: Sharded>(&self, local: &Local<S>) -> Result<(), Full> {
        local.record().roomy.store(u64::MAX, Ordering::Relaxed);
        if self.take_spare(local, false) {
            return Ok(());
        }
        let (first, end) = match self.directory.add() {
            Ok(chunk) => chunk,
            Err(_) if self.take_spare(local, true) => return Ok(()),
            Err(full) => return Err(full),
        };
        let shard = local.record().state.shard();
        shard.fresh.store(first, Ordering::Relaxed);
        shard.fresh_end.store(end, Ordering::Relaxed);
        shard.fresh_again.store(0, Ordering::Relaxed);
        Ok(())
    }

    /// Puts a slot that was reserved and not published back.
    pub(crate) fn cancel<S: Sharded>(&self, local: &Local<S>, reserved: Reserved<'_, F, T>) {
        Freed::one(reserved.place).put(local.record().state.shard());
    }

    /// Moves spare slots to this member: its own, or those of a record without an owner, or of a member that has
    /// more lists than are kept, or ranges; if `all`, of any.
    fn take_spare<S: Sharded>(&self, local: &Local<S>, all: bool) -> bool {
        let to = local.record().state.shard();
        if self.take_spare_of(to, to, 0) {
            return true;
        }
        // Relaxed: a hint; missing a list costs a chunk, not correctness.
        let none = self.spares.load(Ordering::Relaxed) <= 0;
        if none && !all && self.directory.chunks() % LOOK != LOOK - 1 {
            return false;
        }
        local.shared().records().any(|record| {
            let kept = if all || !record.owned.load(Ordering::Relaxed) { 0 } else { KEPT };
            self.take_spare_of(record.state.shard(), to, kept)
        })
    }

    /// Moves all spare lists of a member but `kept` of them, and its ranges; the first becomes its free list.
    fn take_spare_of<S>(&self, from: &Shard<S>, to: &Shard<S>, mut kept: i64) -> bool {
        if from.spare_weight.load(Ordering::Relaxed) <= kept {
            return false;
        }
        let (mut first, mut rest) = (None, from.spare.take());
        while first.is_none()
            && let Some(list) = rest.next()
        {
            if kept > 0 && matches!(list.garbage, Garbage::Slots { .. }) {
                kept -= 1;
                from.spare.push(list);
            } else {
                first = Some(list);
            }
        }
        let Some(mut taken) = first else { return false };
        self.weigh(from, &taken, -1);
        if std::ptr::eq(from, to) {
            to.spare.put_back(rest);
        } else {
            for list in rest {
                if kept > 0 && matches!(list.garbage, Garbage::Slots { .. }) {
                    kept -= 1;
                    from.spare.push(list);
                    continue;
                }
                self.weigh(from, &list, -1);
                self.put_spare(to, list);
            }
        }
        match taken.garbage {
            Garbage::Slots { head, count, .. } => {
                to.free.store(head, Ordering::Relaxed);
                to.free_len.store(count, Ordering::Relaxed);
            }
            // As many as a chunk has.
            Garbage::Range { first, end } => {
                let rest = end.min(first + (1 << C::CHUNK_BITS));
                to.fresh.store(first, Ordering::Relaxed);
                to.fresh_end.store(rest, Ordering::Relaxed);
                to.fresh_again.store(1, Ordering::Relaxed);
                if rest != end {
                    taken.garbage = Garbage::Range { first: rest, end };
                    self.put_spare(to, taken);
                }
            }
            _ => {}
        }
        true
    }

    /// Puts a list or a range where others find it.
    pub(super) fn put_spare<S>(&self, shard: &Shard<S>, list: Box<Batch<S>>) {
        self.weigh(shard, &list, 1);
        shard.spare.push(list);
    }

    /// Notes that a member has a list or a range more, or less, and how much of what it has others may take.
    fn weigh<S>(&self, shard: &Shard<S>, list: &Batch<S>, sign: i64) {
        // A range makes up for those that are kept.
        let weight = if matches!(list.garbage, Garbage::Range { .. }) { KEPT + 1 } else { 1 };
        let before = shard.spare_weight.fetch_add(sign * weight, Ordering::Relaxed);
        let over = |weight: i64| (weight - KEPT).max(0);
        let change = over(before + sign * weight) - over(before);
        if change != 0 {
            self.spares.fetch_add(change, Ordering::Relaxed);
        }
    }

    /// Takes the spare lists and ranges of a member for which `take` says so, and leaves the others.
    pub(super) fn pick_spares<S>(
        &self,
        shard: &Shard<S>,
        mut take: impl FnMut(&Batch<S>) -> bool,
    ) -> Chain<Batch<S>> {
        let mut picked = Chain::empty();
        for list in shard.spare.take() {
            if take(&list) {
                self.weigh(shard, &list, -1);
                picked.push(list);
            } else {
                shard.spare.push(list);
            }
        }
        picked
    }

    /// Hands an unpublished slot over for reclamation. Needs no memory.
    #[inline(always)]
    pub(crate) fn retire<S: Sharded>(
        &self,
        local: &Local<S>,
        place: Place<'_, F, T>,
        deferred: bool,
        references: u32,
    ) {
        let record = local.record();
        let shard = record.state.shard();
        if references != 0 {
            bump(&shard.kept, 1);
        }
        if active(Mutant::ReclaimEarly) {
            // SAFETY: none; this mutant drops what readers may still use.
            unsafe { place.slot.drop_value() };
            if self.settle(place) == State::Vacant {
                Freed::one(place).put(shard);
            }
            return;
        }
        let link = |next| place.slot.link.store(next, Ordering::Relaxed);
        let length = shard.retired[usize::from(deferred)].push(place.number, link);
        if length >= C::MAGAZINE {
            // Without memory for the batch the list stays and is sealed another time.
            let _ = self.seal_list(local, record, deferred);
        }
    }

    /// Seals one retired list of `from` on behalf of `local`, if there is anything in it.
    fn seal_list<S: Sharded>(
        &self,
        local: &Local<S>,
        from: &Record<S>,
        deferred: bool,
    ) -> Result<(), OutOfMemory> {
        let list = &from.state.shard().retired[usize::from(deferred)];
        if list.len() == 0 {
            return Ok(());
        }
        let batch = Batch::new()?;
        local.seal(batch, || {
            list.take().map(|(head, count)| Garbage::Slots { head, count, deferred })
        });
        Ok(())
    }

    /// Seals the retired lists of every member.
    pub(crate) fn seal_all<S: Sharded>(&self, local: &Local<S>) -> Result<(), OutOfMemory> {
        for record in local.shared().records() {
            for deferred in [false, true] {
                self.seal_list(local, record, deferred)?;
            }
        }
        Ok(())
    }

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
    fn settle(&self, place: Place<'_, F, T>) -> State {
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

    /// A member that only frees must not keep what others could use. Without memory for the carrier
    /// it keeps it until another time.
    fn share_surplus<S: Sharded>(&self, shard: &Shard<S>) {
        if shard.free_len.load(Ordering::Relaxed) >= 2 * C::MAGAZINE
            && let Ok(batch) = Batch::new()
        {
            self.share_free(shard, batch);
        }
    }

    /// Hands one unpublished slot over in a batch of its own: what [`retire`](Slab::retire) does
    /// for whole lists.
    pub(crate) fn retire_alone<S: Sharded>(
        &self,
        local: &Local<S>,
        batch: Box<Batch<S>>,
        slot: u32,
        deferred: bool,
        phase: usize,
    ) {
        local.seal_in(batch, phase, Garbage::Slots { head: slot, count: 1, deferred });
    }

    /// Puts a long free list where others find it, in a batch that has served.
    fn share_free<S: Sharded>(&self, shard: &Shard<S>, mut batch: Box<Batch<S>>) {
        if shard.free_len.load(Ordering::Relaxed) >= 2 * C::MAGAZINE {
            let (head, count) = shard.unload();
            batch.garbage = Garbage::Slots { head, count, deferred: false };
            self.put_spare(shard, batch);
        }
    }
}

/// Slots of one thread that have become vacant, linked.
pub(super) struct Freed<'a> {
    head: u32,
    tail: Option<&'a AtomicU32>,
    count: u32,
}

impl<'a> Freed<'a> {
    pub(super) const NONE: Freed<'static> = Freed { head: NIL, tail: None, count: 0 };

    fn one<F, T>(place: Place<'a, F, T>) -> Self {
        Freed { head: place.number, tail: Some(&place.slot.link), count: 1 }
    }

    #[inline(always)]
    pub(super) fn add<F, T>(&mut self, place: Place<'a, F, T>) {
        match self.tail {
            Some(link) => link.store(place.number, Ordering::Relaxed),
            None => self.head = place.number,
        }
        self.tail = Some(&place.slot.link);
        self.count += 1;
    }

    /// Adds slots that are linked already, from `head` to the one `tail` belongs to.
    fn add_linked(&mut self, head: u32, tail: &'a AtomicU32, count: u32) {
        match self.tail {
            Some(link) => link.store(head, Ordering::Relaxed),
            None => self.head = head,
        }
        self.tail = Some(tail);
        self.count += count;
    }

    pub(super) fn count(&self) -> u32 {
        self.count
    }

    /// Ends the list: its head and its length, unless it is empty.
    pub(super) fn end(self) -> Option<(u32, u32)> {
        self.tail?.store(NIL, Ordering::Relaxed);
        Some((self.head, self.count))
    }

    /// Puts them into the free list of the calling thread's member.
    pub(super) fn put<S>(self, shard: &Shard<S>) {
        let Some(link) = self.tail else { return };
        link.store(shard.free.load(Ordering::Relaxed), Ordering::Relaxed);
        shard.free.store(self.head, Ordering::Relaxed);
        let length = shard.free_len.load(Ordering::Relaxed);
        shard.free_len.store(length + self.count, Ordering::Relaxed);
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
