//! Memory from the system itself: address space that costs nothing until it is used, for which huge pages are asked.
//!
//! Mapping, and allowing what was reserved, may be refused; then nothing has changed but perhaps the access to some of
//! the pages. At the limit of a process's mappings unmapping may be refused, too: then address space is lost, and nothing
//! else.

use crate::alloc::OutOfMemory;
use std::ptr::{self, NonNull};

/// Bytes of a huge page.
pub(crate) const HUGE_PAGE: usize = 2 << 20;

const ACCESS: libc::c_int = libc::PROT_READ | libc::PROT_WRITE;

/// Reserves address space for so many bytes, whole pages, from a huge page's first address on.
#[cfg(not(rtm_loom))]
pub(crate) fn reserve(bytes: usize) -> Result<NonNull<u8>, OutOfMemory> {
    map_with(bytes, libc::PROT_NONE)
}

/// The same, accessible, all zero.
pub(crate) fn map(bytes: usize) -> Result<NonNull<u8>, OutOfMemory> {
    map_with(bytes, ACCESS)
}

fn map_with(bytes: usize, access: libc::c_int) -> Result<NonNull<u8>, OutOfMemory> {
    let length = bytes.checked_add(HUGE_PAGE).ok_or(OutOfMemory)?;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: a new mapping at an address of the kernel's choice.
    let mapping = unsafe { libc::mmap(ptr::null_mut(), length, access, flags, -1, 0) };
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
#[cfg(not(rtm_loom))]
pub(crate) unsafe fn allow(first: NonNull<u8>, length: usize) -> Result<(), OutOfMemory> {
    // SAFETY: as the caller says.
    match unsafe { libc::mprotect(first.as_ptr().cast(), length, ACCESS) } {
        0 => Ok(()),
        _ => Err(OutOfMemory),
    }
}

/// # Safety
/// It was reserved or mapped with so many bytes, and nobody uses it any more.
pub(crate) unsafe fn unmap(base: NonNull<u8>, bytes: usize) {
    // SAFETY: as the caller says.
    unsafe { libc::munmap(base.as_ptr().cast(), bytes) };
}
