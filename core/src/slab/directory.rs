//! Chunks of slots behind a two-level directory, at addresses that never change.
//!
//! *Roles.* Any thread finds a slot by number; a thread out of slots adds a chunk.
//! *Paths.* Finding: root entry, page entry, then base plus offset; the words of a chunk lie
//! together in front of its slots, so that refusing a stale handle touches one dense line.
//! Adding: memory first, then the chunk number (so that failure loses none), then publication.
//! *Orderings.* Pages and chunks are published with release and found with acquire: whoever finds
//! one sees it zeroed. Nothing is unpublished before the slab goes.
//! *Progress.* Finding is wait-free, adding lock-free.

use super::Slot;
use crate::alloc::{OutOfMemory, Zeroed, drop_zeroed, init_zeroed, try_zeroed};
use crate::handle::{Config, SLOT_BITS};
use crate::mutant::{Mutant, active, relaxed_if};
use crate::sync::{AtomicPtr, AtomicU32, AtomicU64, Ordering};
use std::alloc::{Layout, dealloc};
use std::marker::PhantomData;
use std::ptr::{self, NonNull};

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

/// The first of the chunks of one part of the slot space, each null until needed.
type Page = AtomicPtr<u8>;

pub(crate) struct Directory<F: Fixed, T, C: Config> {
    /// Pages, each null until needed.
    root: Zeroed<AtomicPtr<Page>>,
    /// The next chunk number.
    next: AtomicU32,
    marker: PhantomData<(F, T, C)>,
}

// SAFETY: what is behind the pointers is shared through atomics only; slots hand out payloads under
// the rules of `slab`.
unsafe impl<F: Fixed, T: Send + Sync, C: Config> Send for Directory<F, T, C> {}
// SAFETY: as above.
unsafe impl<F: Fixed, T: Send + Sync, C: Config> Sync for Directory<F, T, C> {}

impl<F: Fixed, T, C: Config> Directory<F, T, C> {
    const CHUNK: usize = 1 << C::CHUNK_BITS;
    const PAGES: usize = 1 << C::ROOT_BITS;
    const CHUNKS_PER_PAGE: usize = 1 << C::PAGE_BITS;
    const BITS: u32 = C::CHUNK_BITS + C::PAGE_BITS + C::ROOT_BITS;
    const CHUNKS: u32 = 1 << (C::PAGE_BITS + C::ROOT_BITS);
    const CHECK: () = assert!(Self::BITS <= SLOT_BITS && C::GENERATION_BITS <= 32);

    const LINE: usize = 128;
    const SLOTS_AT: usize = (Self::CHUNK * size_of::<AtomicU64>())
        .next_multiple_of(Self::LINE)
        .next_multiple_of(align_of::<Slot<F, T>>());
    const CHUNK_LAYOUT: Layout = match Layout::from_size_align(
        Self::SLOTS_AT + Self::CHUNK * size_of::<Slot<F, T>>(),
        if align_of::<Slot<F, T>>() > Self::LINE { align_of::<Slot<F, T>>() } else { Self::LINE },
    ) {
        Ok(layout) => layout,
        Err(_) => panic!("a chunk of this payload is too large"),
    };

    pub(crate) fn new() -> Result<Self, OutOfMemory> {
        let () = Self::CHECK;
        let root = Zeroed::new(Self::PAGES)?;
        Ok(Directory { root, next: AtomicU32::new(0), marker: PhantomData })
    }

    /// Chunks handed out.
    pub(crate) fn chunks(&self) -> u32 {
        self.next.load(Ordering::Relaxed)
    }

    /// Bytes of one chunk.
    pub(crate) const fn chunk_bytes() -> usize {
        Self::CHUNK_LAYOUT.size()
    }

    /// Bytes of the directory itself.
    pub(crate) fn own_bytes(&self) -> usize {
        let pages = (self.chunks() as usize).div_ceil(Self::CHUNKS_PER_PAGE);
        self.root.bytes() + pages * Self::CHUNKS_PER_PAGE * size_of::<AtomicPtr<u8>>()
    }

    /// Where the page of this chunk is noted.
    #[inline(always)]
    fn place(&self, chunk: u32) -> &AtomicPtr<Page> {
        let index = (chunk >> C::PAGE_BITS) as usize;
        debug_assert!(index < Self::PAGES);
        // SAFETY: callers pass chunk numbers below CHUNKS.
        unsafe { self.root.get_unchecked(index) }
    }

    /// Where the chunk of this number is noted, if its page exists.
    #[inline(always)]
    fn entry(&self, chunk: u32) -> Option<&AtomicPtr<u8>> {
        // Acquire: pairs with the release in `page_for`.
        let order = relaxed_if(Mutant::PageFoundRelaxed, Ordering::Acquire);
        let page = NonNull::new(self.place(chunk).load(order))?;
        // SAFETY: a page has this many entries.
        let entry = unsafe { page.add(chunk as usize & (Self::CHUNKS_PER_PAGE - 1)) };
        // SAFETY: pages live as long as `self`.
        Some(unsafe { entry.as_ref() })
    }

    #[inline(always)]
    fn base(&self, slot: u32) -> Option<NonNull<u8>> {
        if slot >> Self::BITS != 0 {
            return None;
        }
        // Acquire: pairs with the release in `add`.
        let order = relaxed_if(Mutant::ChunkFoundRelaxed, Ordering::Acquire);
        NonNull::new(self.entry(slot >> C::CHUNK_BITS)?.load(order))
    }

    /// The word and the slot of this number, if its chunk exists.
    #[inline(always)]
    pub(crate) fn find(&self, slot: u32) -> Option<(&AtomicU64, &Slot<F, T>)> {
        let base = self.base(slot)?;
        let index = slot as usize & (Self::CHUNK - 1);
        // SAFETY: `index` is masked to the number of words in front of a chunk.
        let word = unsafe { base.cast::<AtomicU64>().add(index) };
        // SAFETY: `index` is masked to the number of slots of a chunk.
        let slot = unsafe { Self::slots_of(base).add(index) };
        // SAFETY: initialised before publication, alive as long as `self`, shared by atomics.
        let word = unsafe { word.as_ref() };
        // SAFETY: as for the word.
        Some((word, unsafe { slot.as_ref() }))
    }

    /// Adds a chunk and gives its first slot's number and the number behind its last.
    pub(crate) fn add(&self) -> Result<(u32, u32), Full> {
        let chunk = Self::fresh_chunk()?;
        match self.claim() {
            Ok(number) => {
                let entry = self.entry(number).expect("`claim` made sure of the page");
                // Release: partner is `base`; the chunk is seen zeroed.
                let order = relaxed_if(Mutant::ChunkRelaxed, Ordering::Release);
                entry.store(chunk.as_ptr(), order);
                let first = number << C::CHUNK_BITS;
                Ok((first, first + (1 << C::CHUNK_BITS)))
            }
            Err(full) => {
                // SAFETY: the chunk was made above and nobody has seen it.
                unsafe { Self::free_chunk(chunk) };
                Err(full)
            }
        }
    }

    /// Takes a chunk number whose page exists.
    fn claim(&self) -> Result<u32, Full> {
        let mut number = self.next.load(Ordering::Relaxed);
        loop {
            if number >= Self::CHUNKS {
                return Err(Full::NoSlot);
            }
            self.page_for(number)?;
            if active(Mutant::ChunkTwice) {
                self.next.store(number + 1, Ordering::Relaxed);
                return Ok(number);
            }
            match self.next.compare_exchange_weak(
                number,
                number + 1,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => return Ok(number),
                Err(now) => number = now,
            }
        }
    }

    /// Makes sure that the page for this chunk number exists.
    fn page_for(&self, chunk: u32) -> Result<(), OutOfMemory> {
        let place = self.place(chunk);
        if !place.load(Ordering::Relaxed).is_null() {
            return Ok(());
        }
        let page = Zeroed::<Page>::new(Self::CHUNKS_PER_PAGE)?.into_raw();
        // Release: partner is `entry`; the page is seen zeroed.
        let order = relaxed_if(Mutant::PageRelaxed, Ordering::Release);
        if place.compare_exchange(ptr::null_mut(), page, order, Ordering::Relaxed).is_err() {
            // SAFETY: somebody else's page won; ours was made above and never seen.
            drop(unsafe { Zeroed::from_raw(page, Self::CHUNKS_PER_PAGE) });
        }
        Ok(())
    }

    /// A chunk of vacant slots. Zeroed memory is one; the kernel's zero pages stay untouched.
    fn fresh_chunk() -> Result<NonNull<u8>, OutOfMemory> {
        let base = try_zeroed(Self::CHUNK_LAYOUT)?;
        // SAFETY: zeroed memory for this many words at the beginning of the layout.
        unsafe { init_zeroed::<AtomicU64>(base.cast(), Self::CHUNK) };
        // SAFETY: zeroed memory for this many slots behind the words.
        unsafe { init_zeroed::<Slot<F, T>>(Self::slots_of(base), Self::CHUNK) };
        Ok(base)
    }

    /// # Safety
    /// The chunk came from `fresh_chunk` and nobody uses it any more; payloads are gone.
    unsafe fn free_chunk(base: NonNull<u8>) {
        // SAFETY: initialised by `fresh_chunk`; nobody uses them.
        unsafe { drop_zeroed::<AtomicU64>(base.cast(), Self::CHUNK) };
        // SAFETY: as above.
        unsafe { drop_zeroed::<Slot<F, T>>(Self::slots_of(base), Self::CHUNK) };
        // SAFETY: made by `fresh_chunk` with this layout.
        unsafe { dealloc(base.as_ptr(), Self::CHUNK_LAYOUT) };
    }

    #[inline(always)]
    fn slots_of(base: NonNull<u8>) -> NonNull<Slot<F, T>> {
        // SAFETY: a chunk is longer than its words.
        unsafe { base.add(Self::SLOTS_AT) }.cast()
    }
}

impl<F: Fixed, T, C: Config> Drop for Directory<F, T, C> {
    fn drop(&mut self) {
        for place in self.root.iter() {
            // Acquire: pairs with the release in `page_for`.
            let page = place.load(Ordering::Acquire);
            if page.is_null() {
                continue;
            }
            // SAFETY: made in `page_for` with this length; `self` is going.
            let page = unsafe { Zeroed::from_raw(page, Self::CHUNKS_PER_PAGE) };
            for entry in page.iter() {
                // Acquire: pairs with the release in `add`.
                if let Some(chunk) = NonNull::new(entry.load(Ordering::Acquire)) {
                    // SAFETY: `self` is going, so nobody uses its chunks.
                    unsafe { Self::free_chunk(chunk) };
                }
            }
        }
    }
}
