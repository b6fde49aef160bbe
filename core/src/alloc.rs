//! Fallible allocation: running out of memory is an error value here, never an abort.

use crate::sync::{AtomicPtr, AtomicU64};
use std::alloc::{Layout, alloc, alloc_zeroed, dealloc};
use std::ptr::NonNull;

/// Memory could not be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfMemory;

impl std::fmt::Display for OutOfMemory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("out of memory")
    }
}

impl std::error::Error for OutOfMemory {}

/// `Box::new` that reports failure and gives the value back to nobody: it is dropped.
pub(crate) fn try_box<T>(value: T) -> Result<Box<T>, OutOfMemory> {
    const { assert!(size_of::<T>() != 0) };
    // SAFETY: the layout has a non-zero size (asserted above).
    let raw = unsafe { alloc(Layout::new::<T>()) }.cast::<T>();
    if raw.is_null() {
        return Err(OutOfMemory);
    }
    // SAFETY: `raw` is fresh, aligned for T and large enough.
    unsafe { raw.write(value) };
    // SAFETY: `raw` came from the global allocator with T's layout and holds a T.
    Ok(unsafe { Box::from_raw(raw) })
}

/// Zeroed memory of `layout`, which must not be empty.
pub(crate) fn try_zeroed(layout: Layout) -> Result<NonNull<u8>, OutOfMemory> {
    assert!(layout.size() != 0);
    // SAFETY: the layout has a non-zero size (asserted above).
    NonNull::new(unsafe { alloc_zeroed(layout) }).ok_or(OutOfMemory)
}

/// A type whose first value is all zero bytes.
///
/// # Safety
/// Outside loom, all bytes zero must be what [`zero`](Zero::zero) returns.
pub(crate) unsafe trait Zero: Sized {
    fn zero() -> Self;
}

// SAFETY: std's atomics have the representation of their integer.
unsafe impl Zero for AtomicU64 {
    fn zero() -> Self {
        AtomicU64::new(0)
    }
}

// SAFETY: a null pointer is all zero bytes.
unsafe impl<T> Zero for AtomicPtr<T> {
    fn zero() -> Self {
        AtomicPtr::new(std::ptr::null_mut())
    }
}

/// Fills `count` elements behind `base` with their first value, where zeroed memory is not enough
/// (loom's atomics have an identity).
///
/// # Safety
/// `base` points to zeroed memory for `count` elements.
pub(crate) unsafe fn init_zeroed<E: Zero>(base: NonNull<E>, count: usize) {
    if cfg!(rtm_loom) {
        for index in 0..count {
            // SAFETY: within the memory that the caller describes.
            let element = unsafe { base.add(index) };
            // SAFETY: as above.
            unsafe { element.write(E::zero()) };
        }
    }
}

/// Undoes [`init_zeroed`].
///
/// # Safety
/// `base` points to `count` initialised elements that nobody uses any more.
pub(crate) unsafe fn drop_zeroed<E: Zero>(base: NonNull<E>, count: usize) {
    if cfg!(rtm_loom) {
        for index in 0..count {
            // SAFETY: within the memory that the caller describes.
            let element = unsafe { base.add(index) };
            // SAFETY: as above.
            unsafe { element.drop_in_place() };
        }
    }
}

/// A fixed number of elements that start as zero; the pages of a large one are untouched until
/// used.
pub(crate) struct Zeroed<E: Zero> {
    base: NonNull<E>,
    count: usize,
}

// SAFETY: owns its elements as a boxed slice does.
unsafe impl<E: Zero + Send> Send for Zeroed<E> {}
// SAFETY: as above.
unsafe impl<E: Zero + Sync> Sync for Zeroed<E> {}

impl<E: Zero> Zeroed<E> {
    pub(crate) fn new(count: usize) -> Result<Self, OutOfMemory> {
        let layout = Layout::array::<E>(count).map_err(|_| OutOfMemory)?;
        let base = try_zeroed(layout)?.cast::<E>();
        // SAFETY: just made for `count` elements.
        unsafe { init_zeroed(base, count) };
        Ok(Zeroed { base, count })
    }

    /// Lets go of the elements; [`from_raw`](Zeroed::from_raw) takes them back.
    pub(crate) fn into_raw(self) -> *mut E {
        std::mem::ManuallyDrop::new(self).base.as_ptr()
    }

    /// # Safety
    /// `base` came from `into_raw` of `count` elements, and is taken back once.
    pub(crate) unsafe fn from_raw(base: *mut E, count: usize) -> Self {
        // SAFETY: never null, see `into_raw`.
        Zeroed { base: unsafe { NonNull::new_unchecked(base) }, count }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.count * size_of::<E>()
    }
}

impl<E: Zero> std::ops::Deref for Zeroed<E> {
    type Target = [E];
    #[inline(always)]
    fn deref(&self) -> &[E] {
        // SAFETY: `count` initialised elements that live as long as `self`.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr(), self.count) }
    }
}

impl<E: Zero> Drop for Zeroed<E> {
    fn drop(&mut self) {
        // SAFETY: initialised in `new`, and `self` is going.
        unsafe { drop_zeroed(self.base, self.count) };
        let layout = Layout::array::<E>(self.count).expect("it was valid in `new`");
        // SAFETY: allocated in `new` with this layout.
        unsafe { dealloc(self.base.as_ptr().cast(), layout) };
    }
}
