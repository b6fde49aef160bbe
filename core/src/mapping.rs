//! Memory from the system itself: address space that costs nothing until it is used, in huge pages where the
//! system has them.
//!
//! Reserving, allowing and unmapping are one system call or a few; the first two may be refused, and then nothing has
//! changed.

use crate::alloc::OutOfMemory;
use std::ptr::{self, NonNull};

/// Bytes of a huge page.
pub(crate) const HUGE_PAGE: usize = 2 << 20;

/// Maps so many bytes, whole pages, from a huge page's first address on. Inaccessible at first.
pub(crate) fn reserve(bytes: usize) -> Result<NonNull<u8>, OutOfMemory> {
    let length = bytes.checked_add(HUGE_PAGE).ok_or(OutOfMemory)?;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: a new mapping at an address of the kernel's choice.
    let mapping = unsafe { libc::mmap(ptr::null_mut(), length, libc::PROT_NONE, flags, -1, 0) };
    if mapping == libc::MAP_FAILED {
        return Err(OutOfMemory);
    }
    let mapping = NonNull::new(mapping.cast::<u8>()).ok_or(OutOfMemory)?;
    let before = mapping.addr().get().next_multiple_of(HUGE_PAGE) - mapping.addr().get();
    // SAFETY: less than a huge page, by which the mapping is longer than `bytes`.
    let base = unsafe { mapping.add(before) };
    // SAFETY: as above.
    let behind = unsafe { base.add(bytes) };
    for (first, length) in [(mapping, before), (behind, HUGE_PAGE - before)] {
        if length != 0 {
            // SAFETY: a part of the mapping, which is ours, and nobody has heard of it.
            unsafe { libc::munmap(first.as_ptr().cast(), length) };
        }
    }
    // A kernel without huge pages refuses, which is as good.
    // SAFETY: the rest of the mapping.
    unsafe { libc::madvise(base.as_ptr().cast(), bytes, libc::MADV_HUGEPAGE) };
    Ok(base)
}

/// Makes this part of a mapping, whole pages, accessible.
///
/// # Safety
/// It is ours, and nobody uses it with less access.
pub(crate) unsafe fn allow(first: NonNull<u8>, length: usize) -> Result<(), OutOfMemory> {
    let access = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: as the caller says.
    match unsafe { libc::mprotect(first.as_ptr().cast(), length, access) } {
        0 => Ok(()),
        _ => Err(OutOfMemory),
    }
}

/// Zeroed memory in huge pages, where the system has them; of so many bytes, a multiple of [`HUGE_PAGE`].
pub(crate) fn map(bytes: usize) -> Result<NonNull<u8>, OutOfMemory> {
    let base = reserve(bytes)?;
    // SAFETY: our own, and nobody has heard of it.
    unsafe { allow(base, bytes) }.inspect_err(|OutOfMemory| {
        // SAFETY: mapped above.
        unsafe { unmap(base, bytes) };
    })?;
    Ok(base)
}

/// # Safety
/// [`map`] made it of so many bytes, and nobody uses it any more.
pub(crate) unsafe fn unmap(base: NonNull<u8>, bytes: usize) {
    // SAFETY: as the caller says.
    unsafe { libc::munmap(base.as_ptr().cast(), bytes) };
}
