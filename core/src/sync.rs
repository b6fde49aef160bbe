//! The one door to shared memory: every atomic, cell, fence and yield of this crate.
//!
//! Built with `--cfg rtm_loom` (and `--cfg crossbeam_loom` for crossbeam-epoch beside it) the same
//! names stand for loom's, so that what is model-checked is what ships. Built with `--cfg rtm_shuttle`
//! they are std's with shuttle's scheduler before each operation (`scheduled.rs`), and locks are shuttle's.
//! No other module may name std's atomics or cells; `.ci/run` looks.

use crate::mutant::{Mutant, relaxed_if};
#[cfg(rtm_shuttle)]
pub(crate) use crate::scheduled::{
    AtomicBool, AtomicI64, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize,
};
#[cfg(rtm_tsan)]
pub(crate) use crate::tsan::{Mutex, MutexGuard, fence};
#[cfg(rtm_loom)]
pub(crate) use loom::{
    cell::UnsafeCell,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicI64, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, fence},
    },
};
#[cfg(rtm_loom)]
use loom::{sync::Condvar, thread::yield_now};
#[cfg(rtm_shuttle)]
pub(crate) use shuttle::sync::{Mutex, MutexGuard};
#[cfg(rtm_shuttle)]
use shuttle::{sync::Condvar, thread::yield_now};
#[cfg(not(rtm_loom))]
use std::cell::UnsafeCell as StdUnsafeCell;
#[cfg(not(rtm_loom))]
pub(crate) use std::sync::Arc;
pub(crate) use std::sync::atomic::Ordering;
#[cfg(rtm_tsan)]
pub(crate) use std::sync::atomic::fence as unseen_fence;
#[cfg(not(any(rtm_loom, rtm_tsan)))]
pub(crate) use std::sync::atomic::fence;
#[cfg(not(any(rtm_loom, rtm_shuttle)))]
pub(crate) use std::sync::atomic::{
    AtomicBool, AtomicI64, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize,
};
#[cfg(not(any(rtm_loom, rtm_tsan, rtm_shuttle)))]
pub(crate) use std::sync::{Mutex, MutexGuard};

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
    #[cfg(not(any(rtm_loom, rtm_shuttle)))]
    step: u32,
}

impl Backoff {
    #[cfg(not(any(rtm_loom, rtm_shuttle)))]
    pub(crate) fn snooze(&mut self) {
        self.step = (self.step + 1).min(16);
        if self.step <= 6 {
            std::thread::yield_now();
        } else {
            std::thread::sleep(std::time::Duration::from_micros(1 << (self.step - 6)));
        }
    }

    #[cfg(any(rtm_loom, rtm_shuttle))]
    pub(crate) fn snooze(&mut self) {
        yield_now();
    }
}

/// An atomic number that threads can sleep on for as long as it keeps a value.
///
/// Sleeping and waking order nothing: who is woken reads again what he waited for.
pub(crate) struct Word {
    word: AtomicU32,
    #[cfg(any(rtm_loom, rtm_shuttle))]
    lock: Mutex<()>,
    #[cfg(any(rtm_loom, rtm_shuttle))]
    changed: Condvar,
}

impl Word {
    pub(crate) fn new(value: u32) -> Self {
        Word {
            word: AtomicU32::new(value),
            #[cfg(any(rtm_loom, rtm_shuttle))]
            lock: Mutex::new(()),
            #[cfg(any(rtm_loom, rtm_shuttle))]
            changed: Condvar::new(),
        }
    }

    /// Sleeps if it is `value`, until woken or for at most `timeout` (under a checker: for ever). May return early.
    pub(crate) fn wait(&self, value: u32, timeout: Option<std::time::Duration>) {
        #[cfg(not(any(rtm_loom, rtm_shuttle)))]
        futex(&self.word, libc::FUTEX_WAIT, value, timeout);
        #[cfg(any(rtm_loom, rtm_shuttle))]
        {
            let _ = timeout;
            let lock = self.lock.lock().expect("nobody panics inside");
            if self.word.load(Ordering::Relaxed) == value {
                drop(self.changed.wait(lock));
            }
        }
    }

    /// Wakes up to `threads` sleepers (under a checker: all). To be called after the number was changed.
    pub(crate) fn wake(&self, threads: u32) {
        #[cfg(not(any(rtm_loom, rtm_shuttle)))]
        futex(&self.word, libc::FUTEX_WAKE, threads.min(i32::MAX as u32), None);
        #[cfg(any(rtm_loom, rtm_shuttle))]
        {
            let _ = threads;
            drop(self.lock.lock());
            self.changed.notify_all();
        }
    }
}

impl std::ops::Deref for Word {
    type Target = AtomicU32;
    fn deref(&self) -> &AtomicU32 {
        &self.word
    }
}

/// A place to sleep at until something has changed.
///
/// A sleeper listens, looks whether what it waits for has come, and waits if not; whoever brings it
/// rings afterwards. So either the sleeper's look comes late enough, or what it heard is out of date.
pub(crate) struct Bell {
    rings: Word,
}

impl Default for Bell {
    fn default() -> Self {
        Bell { rings: Word::new(0) }
    }
}

impl Bell {
    /// For [`wait`](Bell::wait).
    pub(crate) fn listen(&self) -> u32 {
        // Acquire: partner is `ring`; what was brought before it is seen.
        self.rings.load(relaxed_if(Mutant::ListenRelaxed, Ordering::Acquire))
    }

    /// Wakes everybody.
    pub(crate) fn ring(&self) {
        // Release: partner is `listen`.
        self.rings.fetch_add(1, relaxed_if(Mutant::RingRelaxed, Ordering::Release));
        self.rings.wake(u32::MAX);
    }

    /// Sleeps unless somebody has rung since `heard`. May return early.
    pub(crate) fn wait(&self, heard: u32) {
        self.rings.wait(heard, None);
    }
}

/// The system call, on a word of this process alone. Not a cancellation point.
#[cfg(not(any(rtm_loom, rtm_shuttle)))]
fn futex(word: &AtomicU32, operation: i32, value: u32, timeout: Option<std::time::Duration>) {
    let timeout = timeout.map(|timeout| libc::timespec {
        tv_sec: timeout.as_secs() as libc::time_t,
        tv_nsec: timeout.subsec_nanos().into(),
    });
    let timeout = timeout.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: the word is alive for the call (waking only compares its address); NULL or a timespec
    // that is alive.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            operation | libc::FUTEX_PRIVATE_FLAG,
            value,
            timeout,
        )
    };
}

/// A number that no other thread alive has, never 0.
///
/// On x86-64 and AArch64 the thread pointer is read straight from its register, which needs no
/// call into the dynamic linker when this code is part of a shared library.
#[inline(always)]
#[cfg(not(any(rtm_loom, rtm_shuttle)))]
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

#[cfg(rtm_shuttle)]
pub(crate) fn thread_token() -> usize {
    1 + shuttle::current::get_current_task().map_or(0, usize::from)
}

/// A number that no other thread has or ever had, never 0. Slower than [`thread_token`].
#[cfg(not(any(rtm_loom, rtm_shuttle)))]
pub(crate) fn thread_serial() -> usize {
    static LAST: AtomicUsize = AtomicUsize::new(0);
    std::thread_local!(static OWN: std::cell::Cell<usize> = const { std::cell::Cell::new(0) });
    match OWN.get() {
        0 => {
            let own = LAST.fetch_add(1, Ordering::Relaxed) + 1;
            OWN.set(own);
            own
        }
        own => own,
    }
}

#[cfg(any(rtm_loom, rtm_shuttle))]
pub(crate) fn thread_serial() -> usize {
    thread_token()
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

/// Whether a read-modify-write is a full fence for the processor (and a fence behind it would be one
/// too many).
const UPDATES_FENCE: bool = cfg!(all(target_arch = "x86_64", not(rtm_loom), not(rtm_tsan)));

/// `fence(SeqCst)` for a thread whose last access to shared memory was a read-modify-write, or an
/// [`announce`].
#[inline(always)]
pub(crate) fn fence_after_update() {
    if UPDATES_FENCE {
        std::sync::atomic::compiler_fence(Ordering::SeqCst);
    } else {
        fence(Ordering::SeqCst);
    }
}

/// Stores with `order`, in such a way that [`fence_after_update`] may follow.
#[inline(always)]
pub(crate) fn announce(place: &AtomicU64, value: u64, order: Ordering) {
    if UPDATES_FENCE {
        place.swap(value, order);
    } else {
        place.store(value, order);
    }
}

/// Adds to a counter that only the calling thread writes and anyone may read: no locked
/// instruction.
#[inline(always)]
pub(crate) fn bump(counter: &AtomicU64, by: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(by), Ordering::Relaxed);
}
