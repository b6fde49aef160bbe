//! Whether this process is the one that began to use the library.
//!
//! A page that the kernel empties in every forked child (`MADV_WIPEONFORK`, Linux 4.14) holds a
//! mark; one load tells, and `_Fork` or a raw `clone` cannot go round it. Where the kernel does not
//! know the advice, a `pthread_atfork` handler clears the mark, which `_Fork` skips.

use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

const MARK: u32 = 0x7274_6d02;

static FALLBACK: AtomicU32 = AtomicU32::new(0);
static PAGE: AtomicPtr<AtomicU32> = AtomicPtr::new(std::ptr::null_mut());

/// Whether calls may work: nothing has been used yet, or it was this process that used it.
#[inline(always)]
pub(crate) fn usable() -> bool {
    // Acquire: pairs with the exchange in `arm`; the mark is seen.
    let page = PAGE.load(Ordering::Acquire);
    // SAFETY: null, or an atomic that lives as long as the process.
    unsafe { page.as_ref() }.is_none_or(|mark| mark.load(Ordering::Relaxed) == MARK)
}

/// Marks this process as the user. `false`: no memory.
pub(crate) fn arm() -> bool {
    if !PAGE.load(Ordering::Acquire).is_null() {
        return true;
    }
    let Some(page) = wiped_page().or_else(fallback) else { return false };
    // SAFETY: just made, aligned and large enough, never freed.
    unsafe { &*page }.store(MARK, Ordering::Relaxed);
    // Release: partner is `usable`. Whoever loses leaves a page behind, once.
    let _ = PAGE.compare_exchange(std::ptr::null_mut(), page, Ordering::Release, Ordering::Relaxed);
    true
}

fn wiped_page() -> Option<*mut AtomicU32> {
    let length = 4096;
    // SAFETY: an anonymous mapping at an address of the kernel's choice.
    let page = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            length,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    if page == libc::MAP_FAILED {
        return None;
    }
    // SAFETY: the mapping just made.
    if unsafe { libc::madvise(page, length, libc::MADV_WIPEONFORK) } != 0 {
        // SAFETY: as above; nobody has seen it.
        unsafe { libc::munmap(page, length) };
        return None;
    }
    Some(page.cast())
}

fn fallback() -> Option<*mut AtomicU32> {
    extern "C" fn in_child() {
        FALLBACK.store(0, Ordering::Relaxed);
    }
    // SAFETY: the handler only stores to an atomic; the library is never unloaded (-z nodelete).
    let failed = unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
    (failed == 0).then(|| std::ptr::from_ref(&FALLBACK).cast_mut())
}
