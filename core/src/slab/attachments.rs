//! What some objects have beside their payload, found by slot, paid for only where there is any.
//!
//! *Roles.* Whoever has reserved a slot attaches; readers of the object find; whoever drops the
//! payload clears.
//! *States of a place.* null → attached (before the object is published) → null (after the grace
//! period, with the payload, or when the slot goes back unpublished).
//! *Orderings.* The two levels are published with release and found with acquire, as the slab's
//! chunks are. A place itself needs none: it is written before the object is published and cleared
//! after its grace period.
//! *Progress.* Finding and clearing: wait-free. Attaching: lock-free, allocates.

use crate::alloc::{OutOfMemory, Zeroed};
use crate::handle::Config;
use crate::sync::{AtomicPtr, AtomicUsize, Ordering};
use std::marker::PhantomData;
use std::ptr::{self, NonNull};

type Place<A> = AtomicPtr<A>;
type Part<A> = AtomicPtr<Place<A>>;

pub(crate) struct Attachments<A, C: Config> {
    /// A part for each chunk of slots, null until needed; itself null until needed.
    parts: AtomicPtr<Part<A>>,
    /// Parts from here on are null.
    end: AtomicUsize,
    marker: PhantomData<(Box<A>, C)>,
}

// SAFETY: owns what is attached and hands out shared references to it alone.
unsafe impl<A: Send + Sync, C: Config> Send for Attachments<A, C> {}
// SAFETY: as above.
unsafe impl<A: Send + Sync, C: Config> Sync for Attachments<A, C> {}

impl<A, C: Config> Default for Attachments<A, C> {
    fn default() -> Self {
        Attachments {
            parts: AtomicPtr::new(ptr::null_mut()),
            end: AtomicUsize::new(0),
            marker: PhantomData,
        }
    }
}

impl<A, C: Config> Attachments<A, C> {
    const PARTS: usize = 1 << (C::SLOT_BITS - C::CHUNK_BITS);
    const PLACES: usize = 1 << C::CHUNK_BITS;

    /// The place of a slot, if its part exists.
    #[inline(always)]
    fn place(&self, slot: u32) -> Option<&Place<A>> {
        // Acquire: partner is `publish`.
        let parts = NonNull::new(self.parts.load(Ordering::Acquire))?;
        // SAFETY: slot numbers are below PARTS * PLACES.
        let part = unsafe { parts.add(slot as usize >> C::CHUNK_BITS) };
        // SAFETY: never freed before `self`.
        let part = unsafe { part.as_ref() };
        // Acquire: as above.
        let places = NonNull::new(part.load(Ordering::Acquire))?;
        // SAFETY: a part has this many places.
        let place = unsafe { places.add(slot as usize & (Self::PLACES - 1)) };
        // SAFETY: as above.
        Some(unsafe { place.as_ref() })
    }

    /// Whether anything was ever attached.
    #[inline]
    pub(crate) fn may_have_some(&self) -> bool {
        // Relaxed: who asks of an object that has something has seen it attached.
        !self.parts.load(Ordering::Relaxed).is_null()
    }

    /// What is attached to an object that the caller keeps from being reclaimed.
    #[inline(always)]
    pub(crate) fn get(&self, slot: u32) -> Option<&A> {
        let attached = self.place(slot)?.load(Ordering::Relaxed);
        // SAFETY: null, or a box that only `clear` frees, after the object's grace period.
        unsafe { attached.as_ref() }
    }

    /// Attaches to a slot that the caller has reserved.
    pub(crate) fn attach(&self, slot: u32, attachment: Box<A>) -> Result<(), OutOfMemory> {
        if self.place(slot).is_none() {
            publish(&self.parts, Self::PARTS)?;
            let parts = self.parts.load(Ordering::Acquire);
            let index = slot as usize >> C::CHUNK_BITS;
            self.end.fetch_max(index + 1, Ordering::Relaxed);
            // SAFETY: as in `place`; just made sure that it is there.
            let part = unsafe { parts.add(index) };
            // SAFETY: as above.
            publish(unsafe { &*part }, Self::PLACES)?;
        }
        let place = self.place(slot).ok_or(OutOfMemory)?;
        debug_assert!(place.load(Ordering::Relaxed).is_null());
        place.store(Box::into_raw(attachment), Ordering::Relaxed);
        Ok(())
    }

    /// Frees what is attached, if anything is.
    #[inline]
    pub(crate) fn clear(&self, slot: u32) {
        let Some(place) = self.place(slot) else { return };
        let attached = place.load(Ordering::Relaxed);
        if !attached.is_null() {
            place.store(ptr::null_mut(), Ordering::Relaxed);
            // SAFETY: from a box, taken out of its place; the caller owns the slot.
            drop(unsafe { Box::from_raw(attached) });
        }
    }

    fn walk(&self, mut f: impl FnMut(&Part<A>, &[Place<A>])) {
        let Some(parts) = NonNull::new(self.parts.load(Ordering::Acquire)) else { return };
        for index in 0..self.end.load(Ordering::Relaxed) {
            // SAFETY: within the array.
            let part = unsafe { parts.add(index) };
            // SAFETY: never freed before `self`.
            let part = unsafe { part.as_ref() };
            if let Some(places) = NonNull::new(part.load(Ordering::Acquire)) {
                // SAFETY: a part has this many places.
                f(part, unsafe { std::slice::from_raw_parts(places.as_ptr(), Self::PLACES) });
            }
        }
    }

    /// Bytes of the two levels; what is attached is not counted.
    pub(crate) fn bytes(&self) -> usize {
        let mut parts = 0;
        self.walk(|_, _| parts += 1);
        let top = if parts == 0 { 0 } else { Self::PARTS };
        (top + parts * Self::PLACES) * size_of::<AtomicPtr<A>>()
    }
}

/// Makes sure that `place` leads to `count` null pointers.
fn publish<T>(place: &AtomicPtr<AtomicPtr<T>>, count: usize) -> Result<(), OutOfMemory> {
    if !place.load(Ordering::Relaxed).is_null() {
        return Ok(());
    }
    let new = Zeroed::<AtomicPtr<T>>::new(count)?.into_raw();
    // Release: partner is `Attachments::place`. The loser's array is empty.
    let raced = place.compare_exchange(ptr::null_mut(), new, Ordering::Release, Ordering::Relaxed);
    if raced.is_err() {
        // SAFETY: made above, seen by nobody.
        drop(unsafe { Zeroed::from_raw(new, count) });
    }
    Ok(())
}

impl<A, C: Config> Drop for Attachments<A, C> {
    fn drop(&mut self) {
        let parts = self.parts.load(Ordering::Acquire);
        if parts.is_null() {
            return;
        }
        self.walk(|part, places| {
            for place in places {
                let attached = place.load(Ordering::Relaxed);
                if !attached.is_null() {
                    // SAFETY: from a box; `self` is going.
                    drop(unsafe { Box::from_raw(attached) });
                }
            }
            // SAFETY: made by `publish`, taken back once.
            drop(unsafe { Zeroed::from_raw(part.load(Ordering::Relaxed), Self::PLACES) });
        });
        // SAFETY: as above.
        drop(unsafe { Zeroed::from_raw(parts, Self::PARTS) });
    }
}
