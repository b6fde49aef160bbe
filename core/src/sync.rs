//! The one door to shared memory: every atomic, cell, fence and yield of this crate.
//!
//! Built with `--cfg rtm_loom` (and `--cfg crossbeam_loom` for crossbeam-epoch beside it) the same
//! names stand for loom's, so that what is model-checked is what ships. No other module may name
//! std's atomics or cells; `.ci/run` looks.

#[cfg(rtm_loom)]
pub(crate) use loom::{
    cell::UnsafeCell,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, fence},
    },
};
#[cfg(not(rtm_loom))]
pub(crate) use std::sync::Arc;
pub(crate) use std::sync::atomic::Ordering;
#[cfg(not(rtm_loom))]
pub(crate) use std::{
    cell::UnsafeCell as StdUnsafeCell,
    sync::atomic::{AtomicBool, AtomicI64, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, fence},
};

/// A cell with loom's closure interface over std's.
#[cfg(not(rtm_loom))]
#[repr(transparent)]
pub(crate) struct UnsafeCell<T>(StdUnsafeCell<T>);

#[cfg(not(rtm_loom))]
impl<T> UnsafeCell<T> {
    #[cfg_attr(not(test), allow(dead_code))]
    pub(crate) fn new(value: T) -> Self {
        UnsafeCell(StdUnsafeCell::new(value))
    }

    #[inline(always)]
    pub(crate) fn with<R>(&self, f: impl FnOnce(*const T) -> R) -> R {
        f(self.0.get())
    }

    #[inline(always)]
    pub(crate) fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
        f(self.0.get())
    }
}

/// Keeps its content on cache lines of its own. 128 bytes: x86 fetches lines in pairs.
#[repr(align(128))]
#[derive(Default)]
pub(crate) struct Padded<T>(pub(crate) T);

impl<T> std::ops::Deref for Padded<T> {
    type Target = T;
    #[inline(always)]
    fn deref(&self) -> &T {
        &self.0
    }
}

/// Waiting for other threads in a blocking operation: a few yields, then naps of up to 1 ms.
///
/// Nobody wakes the sleeper, so that those it waits for need not know of it.
#[derive(Default)]
pub(crate) struct Backoff {
    #[cfg(not(rtm_loom))]
    step: u32,
}

impl Backoff {
    #[cfg(not(rtm_loom))]
    pub(crate) fn snooze(&mut self) {
        self.step = (self.step + 1).min(16);
        if self.step <= 6 {
            std::thread::yield_now();
        } else {
            std::thread::sleep(std::time::Duration::from_micros(1 << (self.step - 6)));
        }
    }

    #[cfg(rtm_loom)]
    pub(crate) fn snooze(&mut self) {
        loom::thread::yield_now();
    }
}

/// A number that no other thread alive has, never 0.
///
/// On x86-64 and AArch64 the thread pointer is read straight from its register, which needs no
/// call into the dynamic linker when this code is part of a shared library.
#[inline(always)]
#[cfg(not(rtm_loom))]
pub(crate) fn thread_token() -> usize {
    #[cfg(target_arch = "x86_64")]
    {
        let token: usize;
        // SAFETY: the x86-64 ABI of Linux keeps the thread control block's own address at fs:0.
        unsafe {
            std::arch::asm!("mov {}, fs:0", out(reg) token,
                options(nostack, preserves_flags, readonly, pure));
        }
        token
    }
    #[cfg(target_arch = "aarch64")]
    {
        let token: usize;
        // SAFETY: reading the thread pointer register has no effect on anything.
        unsafe {
            std::arch::asm!("mrs {}, tpidr_el0", out(reg) token,
                options(nostack, preserves_flags, nomem, pure));
        }
        token
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    {
        std::thread_local!(static TOKEN: u8 = const { 0 });
        TOKEN.with(|token| std::ptr::from_ref(token).addr())
    }
}

#[cfg(rtm_loom)]
pub(crate) fn thread_token() -> usize {
    // loom numbers its threads but shows the number only as text.
    let text = format!("{:?}", loom::thread::current().id());
    text.bytes().filter(u8::is_ascii_digit).fold(1, |n, digit| n * 10 + usize::from(digit - b'0'))
}

/// Asks the processor to bring a cache line in; a hint without effect on meaning.
#[inline(always)]
pub(crate) fn prefetch<T>(address: *const T) {
    #[cfg(all(target_arch = "x86_64", not(rtm_loom)))]
    // SAFETY: prefetch never faults, whatever the address.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(address.cast());
    }
    #[cfg(not(all(target_arch = "x86_64", not(rtm_loom))))]
    let _ = address;
}

/// Adds to a counter that only the calling thread writes and anyone may read: no locked
/// instruction.
#[inline(always)]
pub(crate) fn bump(counter: &AtomicU64, by: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(by), Ordering::Relaxed);
}
