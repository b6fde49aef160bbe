//! Where slots are: words and slots in two spans, at addresses that never change.
//!
//! *Roles.* Any thread finds a slot by number; a thread out of slots adds a chunk of them.
//! *Paths.* Finding: one comparison with what is open, then base plus offset. The words lie together,
//! apart from the slots, so that refusing a stale handle touches one dense line. Through a view that was made
//! before, only slots that were open then are found. Adding: both spans
//! are opened up to the chunk's end (and an eighth further, so that it is rare), then the chunk number
//! is taken: failure loses none.
//! *Orderings.* `open` is raised with release after the spans were opened and read with acquire, when a view is made.
//! Nothing is closed before the slab goes.
//! *Progress.* Finding is wait-free, adding lock-free.

use super::Slot;
use super::span::{Elements, Span, decent};
use crate::alloc::OutOfMemory;
use crate::handle::{Config, SLOT_BITS, Sought, Token};
use crate::mutant::{Mutant, active, relaxed_if};
use crate::sync::{AtomicU32, AtomicU64, Ordering, Padded, prefetch};
use std::marker::PhantomData;
use std::ops::Range;

/// Plain information beside a payload: readable at any time by a validated copy, hence atomics.
///
/// # Safety
/// All bytes zero must be a valid value.
pub(crate) unsafe trait Fixed: Default + Send + Sync {
    /// What a reader gets.
    type Plain: Copy;
    /// What an object may have beside its payload.
    type Attachment: Send + Sync;
    fn read(&self) -> Self::Plain;
    fn write(&self, plain: Self::Plain);
}

/// Why no chunk could be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    NoSlot,
    OutOfMemory,
}

impl From<OutOfMemory> for Full {
    fn from(_: OutOfMemory) -> Full {
        Full::OutOfMemory
    }
}

/// Elements are found by the [number](Sought::number) of their slot.
const FIRST: usize = Sought::FIRST as usize;

/// How slots are found, by value. Behind a reference a look-up has to load all this again, because the acquire of
/// the one before forbids to keep it.
pub(crate) struct View<'d, F: Fixed, T> {
    words: Elements<'d, AtomicU64, FIRST>,
    slots: Elements<'d, Slot<F, T>, FIRST>,
    /// Slots below this number may be looked at; others perhaps by now.
    open: u32,
}

impl<F: Fixed, T> Clone for View<'_, F, T> {
    #[inline(always)]
    fn clone(&self) -> Self {
        *self
    }
}

impl<F: Fixed, T> Copy for View<'_, F, T> {}

impl<'d, F: Fixed, T> View<'d, F, T> {
    /// The word and the slot of this number, if there was one when the view was made.
    #[inline(always)]
    pub(crate) fn find(self, number: u32) -> Option<(&'d AtomicU64, &'d Slot<F, T>)> {
        if number as i32 >= self.open as i32 {
            return None;
        }
        // SAFETY: below `open`, and so, no number being less, from the first on.
        let word = unsafe { self.words.get(number as usize) };
        // SAFETY: as above.
        Some((word, unsafe { self.slots.get(number as usize) }))
    }

    /// Asks for the lines of the slot with this number. If there is none, nothing happens.
    #[inline(always)]
    pub(crate) fn ask_for(self, number: u32) {
        prefetch(self.words.address(number as usize));
        prefetch(self.slots.address(number as usize));
    }
}

pub(crate) struct Directory<F: Fixed, T, C: Config> {
    words: Span<AtomicU64, FIRST>,
    slots: Span<Slot<F, T>, FIRST>,
    /// A word for each slot, for the index its object is in; none if `C` wants no index.
    links: Span<AtomicU64, 0>,
    /// Slots below this [number](Sought::number) may be looked at.
    open: AtomicU32,
    /// Chunks handed out. Apart from what look-ups read.
    next: Padded<AtomicU32>,
    /// Chunks there is room for.
    capacity: u32,
    marker: PhantomData<C>,
}

// SAFETY: what is in the spans is shared through atomics only; slots hand out payloads under the
// rules of `slab`.
unsafe impl<F: Fixed, T: Send + Sync, C: Config> Send for Directory<F, T, C> {}
// SAFETY: as above.
unsafe impl<F: Fixed, T: Send + Sync, C: Config> Sync for Directory<F, T, C> {}

impl<F: Fixed, T, C: Config> Directory<F, T, C> {
    const CHUNKS: u32 = 1 << (C::SLOT_BITS - C::CHUNK_BITS);
    const CHECK: () = assert!(
        C::SLOT_BITS <= SLOT_BITS && C::CHUNK_BITS <= C::SLOT_BITS && C::GENERATION_BITS <= 32
    );

    /// With room for as many slots as `C` says; fewer where the address space is limited.
    pub(crate) fn new() -> Result<Self, OutOfMemory> {
        let () = Self::CHECK;
        let mut capacity = Self::CHUNKS;
        while capacity > 1 && capacity as usize > decent() / Self::chunk_bytes() {
            capacity /= 2;
        }
        loop {
            let count = (capacity as usize) << C::CHUNK_BITS;
            let links = if C::UNIQUE_IDS { count } else { 0 };
            let spans = || Ok((Span::new(count)?, Span::new(count)?, Span::new(links)?));
            match spans() {
                Ok((words, slots, links)) => {
                    let (open, next) = (AtomicU32::new(Sought::FIRST), Padded(AtomicU32::new(0)));
                    return Ok(Directory {
                        words,
                        slots,
                        links,
                        open,
                        next,
                        capacity,
                        marker: PhantomData,
                    });
                }
                Err(OutOfMemory) if capacity == 1 => return Err(OutOfMemory),
                Err(OutOfMemory) => capacity /= 2,
            }
        }
    }

    /// Chunks handed out.
    pub(crate) fn chunks(&self) -> u32 {
        self.next.load(Ordering::Relaxed)
    }

    /// Bytes of one chunk.
    pub(crate) const fn chunk_bytes() -> usize {
        let words = if C::UNIQUE_IDS { 2 } else { 1 };
        (words * size_of::<AtomicU64>() + size_of::<Slot<F, T>>()) << C::CHUNK_BITS
    }

    #[inline(always)]
    pub(crate) fn view(&self) -> View<'_, F, T> {
        // Acquire: partner is `reach`.
        let open = self.open.load(relaxed_if(Mutant::OpenFoundRelaxed, Ordering::Acquire));
        View { words: self.words.elements(), slots: self.slots.elements(), open }
    }

    /// The word and the slot of this [number](Sought::number), if there is one.
    #[inline(always)]
    pub(crate) fn find(&self, number: u32) -> Option<(&AtomicU64, &Slot<F, T>)> {
        self.view().find(number)
    }

    /// The same of this slot.
    #[inline(always)]
    pub(crate) fn slot(&self, slot: u32) -> Option<(&AtomicU64, &Slot<F, T>)> {
        self.find(Sought::number_of(slot))
    }

    /// The same of this token's slot.
    #[inline(always)]
    pub(crate) fn slot_of(&self, token: Token) -> Option<(&AtomicU64, &Slot<F, T>)> {
        self.find(token.sought().number())
    }

    /// The word beside this slot for the index its object is in.
    #[inline(always)]
    pub(crate) fn link(&self, slot: u32) -> &AtomicU64 {
        assert!(self.slot(slot).is_some(), "a slot of this slab");
        // SAFETY: found.
        unsafe { self.link_of_found(slot) }
    }

    /// As [`link`](Self::link), of a slot that the caller has found.
    ///
    /// # Safety
    /// [`find`](Self::find) has found it.
    #[inline(always)]
    pub(crate) unsafe fn link_of_found(&self, slot: u32) -> &AtomicU64 {
        assert!(C::UNIQUE_IDS);
        // SAFETY: below `open`, and there is one for each slot.
        unsafe { self.links.elements().get(slot as usize) }
    }

    /// Gives the memory of vacant slots that are the caller's back to the system: they read as zero from now
    /// on. Says how many bytes it took; `None` if it takes none. Huge pages that only belong to them in part
    /// are split.
    pub(crate) fn give_back(&self, slots: Range<u32>) -> Option<usize> {
        #[cfg(rtm_loom)]
        for slot in slots.clone() {
            if let Some((_, slot)) = self.slot(slot) {
                slot.link.store(0, Ordering::Relaxed);
                slot.fixed.write(F::default().read());
            }
        }
        self.slots.give_back(slots.start as usize..slots.end as usize)
    }

    /// The slots below `end`, which there are, of each huge page.
    pub(crate) fn huge_pages(&self, end: u32) -> impl Iterator<Item = Range<u32>> {
        let pages = self.slots.huge_pages(end as usize);
        pages.map(|slots| slots.start as u32..slots.end as u32).filter(|slots| !slots.is_empty())
    }

    /// Allows the huge page again in which this is the first slot.
    pub(crate) fn mend(&self, slot: u32) {
        self.slots.mend(slot as usize);
    }

    /// Adds a chunk and gives its first slot's number and the number behind its last.
    pub(crate) fn add(&self) -> Result<(u32, u32), Full> {
        let mut number = self.next.load(Ordering::Relaxed);
        loop {
            if number >= self.capacity {
                return Err(Full::NoSlot);
            }
            self.reach(number)?;
            let taken = if active(Mutant::ChunkTwice) {
                self.next.store(number + 1, Ordering::Relaxed);
                Ok(number)
            } else {
                let relaxed = Ordering::Relaxed;
                self.next.compare_exchange_weak(number, number + 1, relaxed, relaxed)
            };
            match taken {
                Ok(_) => return Ok((number << C::CHUNK_BITS, (number + 1) << C::CHUNK_BITS)),
                Err(now) => number = now,
            }
        }
    }

    /// Makes sure that this chunk is open.
    fn reach(&self, chunk: u32) -> Result<(), OutOfMemory> {
        let from = self.open.load(Ordering::Relaxed) - Sought::FIRST;
        let needed = (chunk + 1) << C::CHUNK_BITS;
        if from >= needed {
            return Ok(());
        }
        let further = (chunk + 1 + chunk / 8).min(self.capacity) << C::CHUNK_BITS;
        let open = |end: u32| {
            self.words.open(from as usize, end as usize)?;
            self.slots.open(from as usize, end as usize)?;
            if C::UNIQUE_IDS {
                self.links.open(from as usize, end as usize)?;
            }
            Ok(end)
        };
        let end = open(further).or_else(|OutOfMemory| open(needed))?;
        // Release: partner is `view`.
        let order = relaxed_if(Mutant::OpenRelaxed, Ordering::Release);
        self.open.fetch_max(Sought::number_of(end), order);
        Ok(())
    }
}

#[cfg(all(test, not(rtm_loom)))]
mod tests {
    use super::*;
    use crate::entity::EntityFixed;
    use crate::handle::Standard;

    /// Opens them all, which takes address space.
    #[test]
    fn all_slots_there_can_be() {
        let directory = Directory::<EntityFixed, u64, Standard>::new().unwrap();
        let (first, all) = (Sought::FIRST, 1 << SLOT_BITS);
        for number in [0, first - 1, first, first + 1, first + all, u32::MAX] {
            assert!(directory.find(number).is_none(), "{number:#x}");
        }
        let mut from = 0;
        while let Ok(chunk) = directory.add() {
            let end = from + (1 << Standard::CHUNK_BITS);
            assert_eq!(chunk, (from, end));
            from = end;
        }
        assert_eq!(from, all);
        let begin = std::ptr::from_ref(directory.slot(0).unwrap().0);
        for kind in 0..16 {
            for slot in [0, 1, all / 2, all - 1] {
                let number = kind << SLOT_BITS | slot;
                let found = directory.find(number);
                assert_eq!(found.is_some(), kind == first >> SLOT_BITS, "{number:#x}");
                if let Some((word, slot)) = found {
                    assert_eq!(word.load(Ordering::Relaxed), 0);
                    assert_eq!(slot.plain().id, 0);
                    let there = begin.wrapping_add((number - first) as usize);
                    assert_eq!(std::ptr::from_ref(word), there);
                }
            }
        }
    }
}
