//! The blocks of a journal: made on demand, never freed before the journal, handed out again.
//!
//! *Roles.* Appenders take and give, the trimmer gives. Whoever holds a block's number, which
//! stands in one place of the ring or belongs to one thread or is spare, may look at its entries at
//! any time later, too.
//! *States of a block.* made → spare ↔ in use.
//! *ABA.* The head of the spare list carries a count of its changes (48 bits), so that an exchange
//! fails if the block it removes was away meanwhile. Links are read from blocks that may just be
//! taken by somebody else; then the exchange fails.
//! *Orderings.* `give` releases a block's address and its link to the `take` that acquires the
//! head. All changes of the head are read-modify-writes, so the blocks further down are released
//! along.
//! *Progress.* Lock-free. `take` allocates if nothing is spare.

use super::entry::Entry;
use crate::alloc::{OutOfMemory, Zeroed};
use crate::mutant::{Mutant, active, relaxed_if};
use crate::sync::{AtomicPtr, AtomicU64, Ordering, Padded};

/// Bits of a block's number.
pub(super) const NUMBER_BITS: u32 = 16;
const NUMBER_MASK: u64 = (1 << NUMBER_BITS) - 1;

/// # Invariants
/// - B1: a number below `made` that `take` returned has an address in `entries`, which is never
///   changed again; what is there lives as long as `self`.
/// - B2: a number is in the list once, or taken.
pub(crate) struct Blocks {
    /// A block has 2^bits entries.
    bits: u32,
    entries: Zeroed<AtomicPtr<Entry>>,
    /// Of a spare block: the next one's number + 1, 0 for none.
    links: Zeroed<AtomicU64>,
    made: AtomicU64,
    /// Changes, and the first spare block's number + 1.
    spare: Padded<AtomicU64>,
}

impl Blocks {
    /// Room for `most` blocks, none of which is made.
    pub(crate) fn new(bits: u32, most: usize) -> Result<Self, OutOfMemory> {
        assert!(most as u64 <= NUMBER_MASK);
        Ok(Blocks {
            bits,
            entries: Zeroed::new(most)?,
            links: Zeroed::new(most)?,
            made: AtomicU64::new(0),
            spare: Padded(AtomicU64::new(0)),
        })
    }

    #[inline(always)]
    pub(super) fn bits(&self) -> u32 {
        self.bits
    }

    /// The entry of position `at` in a block that was taken once, by whomever.
    #[inline(always)]
    pub(super) fn entry(&self, block: u64, at: u64) -> &Entry {
        // Relaxed: who knows the number has acquired it with the address.
        let base = self.entries[block as usize].load(Ordering::Relaxed);
        assert!(!base.is_null(), "a block that is not made");
        let index = at & ((1 << self.bits) - 1);
        // SAFETY: B1: a block has 2^bits entries.
        let entry = unsafe { base.add(index as usize) };
        // SAFETY: B1; entries are atomics, shared freely.
        unsafe { &*entry }
    }

    /// A block for the caller alone: a spare one, else a new one. `None`: no memory.
    pub(crate) fn take(&self) -> Option<u64> {
        self.take_spare().or_else(|| self.make())
    }

    fn take_spare(&self) -> Option<u64> {
        // Acquire: partner is `give`.
        let order = relaxed_if(Mutant::JournalSpareTakenRelaxed, Ordering::Acquire);
        let mut head = self.spare.load(order);
        loop {
            let block = (head & NUMBER_MASK).checked_sub(1)?;
            let next = self.links[block as usize].load(Ordering::Relaxed);
            match self.spare.compare_exchange_weak(head, changed(head, next), order, order) {
                Ok(_) => return Some(block),
                Err(now) => head = now,
            }
        }
    }

    fn make(&self) -> Option<u64> {
        let mut number = self.made.load(Ordering::Relaxed);
        if number >= self.entries.len() as u64 {
            return None;
        }
        let entries = Zeroed::<Entry>::new(1 << self.bits).ok()?;
        loop {
            if number >= self.entries.len() as u64 {
                return None;
            }
            let more = number + 1;
            match self.made.compare_exchange(number, more, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => break,
                Err(now) => number = now,
            }
        }
        self.entries[number as usize].store(entries.into_raw(), Ordering::Relaxed);
        Some(number)
    }

    /// Makes a block spare that the caller has taken, or taken out of the ring.
    pub(crate) fn give(&self, block: u64) {
        let mut head = self.spare.load(Ordering::Relaxed);
        loop {
            self.links[block as usize].store(head & NUMBER_MASK, Ordering::Relaxed);
            // Release: partner is `take`; address and link are seen.
            let order = relaxed_if(Mutant::JournalSpareRelaxed, Ordering::Release);
            let next = changed(head, block + 1);
            match self.spare.compare_exchange_weak(head, next, order, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => head = now,
            }
        }
    }

    /// Makes a block spare if there is none and memory for it. Racing callers may make one each.
    pub(super) fn keep_one_spare(&self) {
        if self.spare.load(Ordering::Relaxed) & NUMBER_MASK == 0
            && let Some(block) = self.make()
        {
            self.give(block);
        }
    }

    /// Sees whether a block's memory is there.
    #[cfg(rtm_loom)]
    pub(crate) fn touch(&self, block: u64) {
        let _ = self.entry(block, 0).read(0);
    }

    /// How many were made.
    pub(super) fn made(&self) -> u64 {
        self.made.load(Ordering::Relaxed)
    }

    pub(super) fn bytes(&self) -> usize {
        let block = size_of::<Entry>() << self.bits;
        self.entries.bytes() + self.links.bytes() + self.made() as usize * block
    }
}

/// The head after a change.
fn changed(head: u64, first: u64) -> u64 {
    if active(Mutant::JournalSpareWithoutCount) {
        return first;
    }
    (head & !NUMBER_MASK).wrapping_add(1 << NUMBER_BITS) | first
}

impl Drop for Blocks {
    fn drop(&mut self) {
        for place in &*self.entries {
            // Relaxed: `&mut self` orders us behind everything.
            let base = place.load(Ordering::Relaxed);
            if !base.is_null() {
                // SAFETY: B1: from `into_raw` of 2^bits entries in `make`, and nobody is left.
                drop(unsafe { Zeroed::from_raw(base, 1 << self.bits) });
            }
        }
    }
}
