//! The library's allocator: malloc, and memory put by for the code that would end the process without.
//!
//! *Loans.* What is lent (`rtm_core::reserve`) hangs on its thread until it is ended or an allocation finds
//! nothing else. A list of blocks, the head in a thread-local without a destructor; each block has its own
//! note in it.
//! *Bags.* crossbeam may have to push out its own garbage at any pin, also one of a reader, who has nothing to
//! fail. For these a few bags are kept for the whole process, from the manager's beginning to its
//! end. More are lent where memory is short, so that flushing and shutting down go on with those that come back:
//! while some are missing, freed bags go there. Whoever may fail fills them up before it begins.
//!
//! Nothing of this is looked at as long as malloc finds memory.

use crate::boundary::Outcome;
use crate::sync::Mutex;
use crate::types::ERROR_NOT_ENOUGH_MEMORY;
use rtm_core::reserve::{BAG, Lender, set_lender};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ptr::{self, NonNull};
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering};

/// Bags that are kept, and those of them that are not lent.
const KEPT: usize = 12;
const FOR_READERS: usize = 4;

#[global_allocator]
static FRONT: Front = Front;

struct Front;

// SAFETY: what malloc gives, and blocks that it gave before, each to one user at a time.
unsafe impl GlobalAlloc for Front {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's.
        let place = unsafe { System.alloc(layout) };
        if place.is_null() { put_by(layout) } else { place }
    }

    #[inline]
    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        if layout.size() == BAG.size() && SHORT.load(Ordering::Relaxed) && layout == BAG {
            return put_back(place);
        }
        // SAFETY: the caller's; whatever the layout was, malloc gave it.
        unsafe { System.dealloc(place, layout) }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's.
        unsafe { System.alloc_zeroed(layout) }
    }

    #[inline]
    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's.
        unsafe { System.realloc(place, layout, size) }
    }
}

#[cold]
fn put_by(layout: Layout) -> *mut u8 {
    let lent = take_loan(layout);
    if !lent.is_null() || layout != BAG {
        return lent;
    }
    SHORT.store(true, Ordering::Relaxed);
    bags().take()
}

// --- Loans ---

/// At the beginning of a block that is lent.
struct Note {
    next: *mut Note,
    layout: Layout,
}

thread_local! {
    static LOANS: Cell<*mut Note> = const { Cell::new(ptr::null_mut()) };
}

/// The smallest loan of this thread that is large enough; null if there is none.
fn take_loan(layout: Layout) -> *mut u8 {
    let fits = |lent: Layout| lent.size() >= layout.size() && lent.align() >= layout.align();
    let mut best: Option<&Note> = None;
    for note in loans() {
        if fits(note.layout) && best.is_none_or(|best| note.layout.size() < best.layout.size()) {
            best = Some(note);
        }
    }
    let best = best.map_or(ptr::null_mut(), |note| ptr::from_ref(note).cast_mut());
    if !best.is_null() {
        unlink(best);
    }
    best.cast()
}

fn loans() -> impl Iterator<Item = &'static Note> {
    let mut next = LOANS.get();
    std::iter::from_fn(move || {
        // SAFETY: null, or a note of this thread's list, which nobody changes while it is walked.
        let note = unsafe { next.as_ref() }?;
        next = note.next;
        Some(note)
    })
}

/// Takes a block off the list. Whether it was there.
fn unlink(place: *mut Note) -> bool {
    let mut before: *mut Note = ptr::null_mut();
    let mut now = LOANS.get();
    while !now.is_null() {
        // SAFETY: a note of this thread's list.
        let next = unsafe { (*now).next };
        if now == place {
            if before.is_null() {
                LOANS.set(next);
            } else {
                // SAFETY: as above.
                unsafe { (*before).next = next };
            }
            return true;
        }
        (before, now) = (now, next);
    }
    false
}

unsafe fn lend(place: NonNull<u8>, layout: Layout) {
    const { assert!(size_of::<Note>() <= 32 && align_of::<Note>() <= 8) };
    let note = place.cast::<Note>().as_ptr();
    // SAFETY: the block has 32 bytes, which are ours meanwhile, and malloc aligns by 16.
    unsafe { note.write(Note { next: LOANS.get(), layout }) };
    LOANS.set(note);
}

unsafe fn end(place: NonNull<u8>) -> bool {
    unlink(place.cast().as_ptr())
}

static LENDER: Lender = Lender { lend, end, bag };

fn bag() -> *mut u8 {
    // SAFETY: the layout is not empty.
    let place = unsafe { System.alloc(BAG) };
    if !place.is_null() {
        return place;
    }
    SHORT.store(true, Ordering::Relaxed);
    let mut bags = bags();
    if bags.number > FOR_READERS { bags.take() } else { ptr::null_mut() }
}

// --- Bags ---

/// There may be fewer bags than are kept.
static SHORT: AtomicBool = AtomicBool::new(true);
static BAGS: Mutex<Bags> = Mutex::new(Bags { first: ptr::null_mut(), number: 0, kept: 0 });

struct Bags {
    first: *mut Bag,
    number: usize,
    /// As many as there should be.
    kept: usize,
}

struct Bag {
    next: *mut Bag,
}

// SAFETY: owns its blocks.
unsafe impl Send for Bags {}

fn bags() -> impl std::ops::DerefMut<Target = Bags> {
    BAGS.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Bags {
    fn add(&mut self, place: *mut u8) {
        let bag = place.cast::<Bag>();
        // SAFETY: a block with BAG's layout, nobody's.
        unsafe { bag.write(Bag { next: self.first }) };
        self.first = bag;
        self.number += 1;
    }

    fn take(&mut self) -> *mut u8 {
        let bag = self.first;
        // SAFETY: null, or a bag of ours.
        if let Some(head) = unsafe { bag.as_ref() } {
            self.first = head.next;
            self.number -= 1;
        }
        bag.cast()
    }

    fn fill(&mut self) -> Outcome {
        while self.number < self.kept {
            // SAFETY: the layout is not empty.
            let place = unsafe { System.alloc(BAG) };
            if place.is_null() {
                return Err(ERROR_NOT_ENOUGH_MEMORY);
            }
            self.add(place);
        }
        SHORT.store(false, Ordering::Relaxed);
        Ok(())
    }

    fn free_down_to(&mut self, number: usize) {
        while self.number > number {
            // SAFETY: a bag of ours, allocated with this layout.
            unsafe { System.dealloc(self.take(), BAG) };
        }
    }
}

/// Instead of giving it back to malloc.
#[cold]
fn put_back(place: *mut u8) {
    let mut bags = bags();
    bags.add(place);
    let kept = bags.kept;
    bags.free_down_to(kept);
    if bags.number == kept {
        SHORT.store(false, Ordering::Relaxed);
    }
}

/// Before there is a manager.
pub(crate) fn begin() -> Outcome {
    // SAFETY: the functions above keep what they are lent on a list of the thread's.
    unsafe { set_lender(&LENDER) };
    let mut bags = bags();
    bags.kept = KEPT;
    bags.fill()
}

/// Before an operation that may fail: what others have used up is there again.
#[inline]
pub(crate) fn top_up() -> Outcome {
    if SHORT.load(Ordering::Relaxed) { bags().fill() } else { Ok(()) }
}

/// When the manager has gone.
pub(crate) fn finish() {
    let mut bags = bags();
    bags.kept = 0;
    bags.free_down_to(0);
    SHORT.store(true, Ordering::Relaxed);
}
