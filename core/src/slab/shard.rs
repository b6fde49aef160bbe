//! A member's part of a slab: the slots it may use next and those it has retired.
//!
//! *Roles.* The owning member uses every list. Others take its spare lists when they run out (`spare.rs`), and
//! seal its retired lists (`retired.rs`) for a collect or a flush.
//! *Lists* are linked through the slots. `free` and the fresh range are the owner's alone: relaxed
//! atomics, for the record passes between owners through an acquire.
//! *Progress.* Everything is lock-free; `retire` needs no memory: while there is none, the list
//! just grows.

use super::directory::{Fixed, Full};
use super::retired::Retired;
use super::spare::Spares;
use super::word::{State, Word};
use super::{Place, Reserved, Slab};
use crate::alloc::OutOfMemory;
use crate::handle::Config;
use crate::mutant::{Mutant, active};
use crate::reclamation::{Batch, Garbage, Local, Record};
use crate::sync::{AtomicU32, AtomicU64, Ordering, bump};

pub(super) const NIL: u32 = u32::MAX;

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
    pub(super) spares: Spares<S>,
    /// Objects that ended while referenced, and those of them whose last reference went. Owner only.
    pub(super) kept: AtomicU64,
    pub(super) let_go: AtomicU64,
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
            spares: Spares::default(),
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

    /// Makes this the owner's free list, which must be empty.
    pub(super) fn load_list(&self, head: u32, count: u32) {
        self.free.store(head, Ordering::Relaxed);
        self.free_len.store(count, Ordering::Relaxed);
    }

    /// Makes this the owner's chunk, whose slots are new, or serve again.
    pub(super) fn load_chunk(&self, first: u32, end: u32, again: bool) {
        self.fresh.store(first, Ordering::Relaxed);
        self.fresh_end.store(end, Ordering::Relaxed);
        self.fresh_again.store(again.into(), Ordering::Relaxed);
    }

    /// Slots of the owner's free list.
    pub(super) fn free_len(&self) -> u32 {
        self.free_len.load(Ordering::Relaxed)
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
        local.record().state.shard().load_chunk(first, end, false);
        Ok(())
    }

    /// Puts a slot that was reserved and not published back.
    pub(crate) fn cancel<S: Sharded>(&self, local: &Local<S>, reserved: Reserved<'_, F, T>) {
        Freed::one(reserved.place).put(local.record().state.shard());
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
}

/// Slots of one thread that have become vacant, linked.
pub(super) struct Freed<'a> {
    head: u32,
    tail: Option<&'a AtomicU32>,
    count: u32,
}

impl<'a> Freed<'a> {
    pub(super) const NONE: Freed<'static> = Freed { head: NIL, tail: None, count: 0 };

    pub(super) fn one<F, T>(place: Place<'a, F, T>) -> Self {
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
    pub(super) fn add_linked(&mut self, head: u32, tail: &'a AtomicU32, count: u32) {
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
