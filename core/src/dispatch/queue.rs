//! The queue of listeners that are READY, for those who run them: a chain through the listeners
//! themselves behind a lock, threads that sleep until something is there, and one descriptor to poll.
//!
//! *Roles.* The herald and dispatching threads push; dispatching threads pop and wait. Registering
//! and deregistering threads do neither.
//! *States.* `armed`: the descriptor is not readable and the next push makes it so (one write); a pop
//! that finds nothing makes it unreadable (one read) and arms it again. Both happen under the lock,
//! so that what a poll shows is what the queue was at some moment: readable from the moment something is
//! queued until a pop has found the queue empty.
//! *Sleeping.* A thread counts itself as sleeping and reads `word` under the lock; a push that
//! finds more sleeping than have been woken (`signalled`) changes `word` under the lock and wakes one
//! after it. The sleeper sees the push when it locks, or `word` is not what it read. `signalled` never
//! exceeds the threads that have been woken and not yet locked again: it may be too low (one wake
//! too many), never too high.
//! *ABA.* None: one lock.
//! *Orderings.* All the lock's.
//! *Progress.* Blocking for a few instructions, or one write or read of the descriptor per change between
//! empty and not. Client code never runs under the lock. Nothing allocates.

use super::Listener;
use crate::mutant::{Mutant, active};
use crate::sync::{Mutex, MutexGuard, Ordering, UnsafeCell, Word};
use std::ptr;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

/// A listener's place in its queue. Used under that queue's lock.
pub(super) struct Link(UnsafeCell<Place>);

struct Place {
    /// What the queue got from the listener's `Arc`; null if it is not queued.
    own: *const Listener,
    previous: *const Listener,
    next: *const Listener,
}

// SAFETY: used by the holder of the queue's lock alone; the neighbours are kept alive by the queue.
unsafe impl Send for Link {}
// SAFETY: as above.
unsafe impl Sync for Link {}

impl Link {
    pub(super) fn new() -> Link {
        Link(UnsafeCell::new(Place { own: ptr::null(), previous: ptr::null(), next: ptr::null() }))
    }

    /// # Safety
    /// The caller holds the lock of the listener's queue and has no other access to this place.
    unsafe fn with<R>(&self, f: impl FnOnce(&mut Place) -> R) -> R {
        // SAFETY: exclusive, as the caller promises.
        self.0.with_mut(|place| f(unsafe { &mut *place }))
    }
}

/// No descriptor could be had: the system's or the process's limit, or no memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoDescriptor;

/// First come, first served. Lives in an `Arc`.
pub(crate) struct Queue {
    chain: Mutex<Chain>,
    /// Changes when sleepers are to look again.
    word: Word,
    descriptor: Option<Descriptor>,
}

/// Owns one count of the `Arc` of each listener in it. Each of those is linked exactly once.
struct Chain {
    first: *const Listener,
    last: *const Listener,
    len: usize,
    taken: u64,
    /// Threads inside `wait`, but for those that hold the lock.
    sleeping: u32,
    signalled: u32,
    interrupts: u32,
    armed: bool,
}

// SAFETY: owns its listeners as a `VecDeque<Arc<Listener>>` would.
unsafe impl Send for Chain {}

impl Queue {
    pub(crate) fn new() -> Queue {
        Queue::with(None)
    }

    /// With a descriptor that can be polled.
    pub(crate) fn with_descriptor() -> Result<Queue, NoDescriptor> {
        Ok(Queue::with(Some(Descriptor::new()?)))
    }

    fn with(descriptor: Option<Descriptor>) -> Queue {
        let chain = Chain {
            first: ptr::null(),
            last: ptr::null(),
            len: 0,
            taken: 0,
            sleeping: 0,
            signalled: 0,
            interrupts: 0,
            armed: true,
        };
        Queue { chain: Mutex::new(chain), word: Word::new(0), descriptor }
    }

    fn lock(&self) -> MutexGuard<'_, Chain> {
        self.chain.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a READY listener of this queue behind all others and wakes one sleeper. If the listener
    /// has been closed it is not entered, and given back: the caller ends it.
    pub(super) fn push(&self, listener: Arc<Listener>) -> Result<(), Arc<Listener>> {
        let mut chain = self.lock();
        // Under the lock: `remove` comes after the closing, so one of the two sees the other.
        if listener.is_closed() {
            return Err(listener);
        }
        chain.append(listener);
        if chain.armed
            && let Some(descriptor) = &self.descriptor
        {
            chain.armed = active(Mutant::QueueStaysArmed);
            descriptor.set();
        }
        let wakes = chain.sleeping > chain.signalled;
        if wakes {
            chain.signalled += 1;
            // Relaxed: the lock orders it.
            self.word.fetch_add(1, Ordering::Relaxed);
        }
        drop(chain);
        if wakes && !active(Mutant::QueueWakesNobody) {
            self.word.wake(1);
        }
        Ok(())
    }

    /// The listener that has waited longest; the caller's next call is its
    /// [`begin`](Listener::begin).
    pub(crate) fn pop(&self) -> Option<Arc<Listener>> {
        let mut chain = self.lock();
        let first = chain.first;
        if first.is_null() {
            if !chain.armed
                && let Some(descriptor) = &self.descriptor
            {
                if active(Mutant::QueueArmsUnlocked) {
                    chain.armed = true;
                    drop(chain);
                    descriptor.clear();
                    return None;
                }
                descriptor.clear();
                chain.armed = true;
            }
            return None;
        }
        // SAFETY: the chain keeps its listeners alive.
        let listener = unsafe { &*first };
        chain.taken += 1;
        Some(chain.unlink(listener))
    }

    /// Takes a listener of this queue out. `None`: it is not in it (it has been popped, or is still to
    /// be pushed).
    pub(super) fn remove(&self, listener: &Listener) -> Option<Arc<Listener>> {
        let mut chain = self.lock();
        // SAFETY: the lock is held.
        let queued = unsafe { listener.link.with(|place| !place.own.is_null()) };
        queued.then(|| chain.unlink(listener))
    }

    /// Sleeps until something is queued, or for `timeout`, or until
    /// [`interrupt_all`](Queue::interrupt_all). Says whether something is queued (which another
    /// thread may take first).
    pub(crate) fn wait(&self, timeout: Option<Duration>) -> bool {
        self.wait_since(self.ticket(), timeout)
    }

    /// For [`wait_since`](Queue::wait_since): taken before the caller looks at its own reasons not to
    /// wait, so that an interruption in between is not lost.
    pub(crate) fn ticket(&self) -> u32 {
        self.lock().interrupts
    }

    /// As [`wait`](Queue::wait); an interruption since the ticket was taken counts.
    pub(crate) fn wait_since(&self, ticket: u32, timeout: Option<Duration>) -> bool {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let mut chain = self.lock();
        loop {
            if chain.len != 0 {
                return true;
            }
            if chain.interrupts != ticket {
                return false;
            }
            let left = deadline.map(|end| end.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return false;
            }
            chain.sleeping += 1;
            // Relaxed: changed under the lock alone.
            let word = self.word.load(Ordering::Relaxed);
            drop(chain);
            self.word.wait(word, left);
            chain = self.lock();
            chain.sleeping -= 1;
            chain.signalled = chain.signalled.saturating_sub(1);
        }
    }

    /// Makes every thread return that waits now, or took its ticket before.
    pub(crate) fn interrupt_all(&self) {
        let mut chain = self.lock();
        chain.interrupts = chain.interrupts.wrapping_add(1);
        // Relaxed: the lock orders it.
        self.word.fetch_add(1, Ordering::Relaxed);
        drop(chain);
        self.word.wake(u32::MAX);
    }

    /// Listeners queued.
    pub(crate) fn len(&self) -> usize {
        self.lock().len
    }

    /// Threads that sleep in [`wait`](Queue::wait).
    pub(crate) fn idle(&self) -> u32 {
        self.lock().sleeping
    }

    /// Listeners popped so far.
    pub(crate) fn taken(&self) -> u64 {
        self.lock().taken
    }

    /// To poll for reading; never to be read or written by others. Lives as long as the queue.
    #[cfg(not(rtm_loom))]
    pub(crate) fn descriptor(&self) -> Option<std::os::fd::RawFd> {
        self.descriptor.as_ref().map(Descriptor::number)
    }

    /// Whether a poll of the descriptor would say readable.
    #[cfg(any(test, rtm_loom))]
    pub(crate) fn is_readable(&self) -> bool {
        self.descriptor.as_ref().is_some_and(Descriptor::is_set)
    }
}

impl Chain {
    fn append(&mut self, listener: Arc<Listener>) {
        let last = self.last;
        let raw = Arc::into_raw(listener);
        // SAFETY: alive: the chain has just got its count.
        let link = unsafe { &(*raw).link };
        let set = |place: &mut Place| {
            debug_assert!(place.own.is_null(), "a listener is queued once");
            *place = Place { own: raw, previous: last, next: ptr::null() };
        };
        // SAFETY: `self` is borrowed from under the lock.
        unsafe { link.with(set) };
        self.set_next(last, raw);
        self.last = raw;
        self.len += 1;
    }

    /// Takes out a listener that is in the chain.
    fn unlink(&mut self, listener: &Listener) -> Arc<Listener> {
        let take = |place: &mut Place| {
            (std::mem::replace(&mut place.own, ptr::null()), place.previous, place.next)
        };
        // SAFETY: `self` is borrowed from under the lock.
        let (own, previous, next) = unsafe { listener.link.with(take) };
        self.set_next(previous, next);
        // SAFETY: null or a neighbour, kept alive by the chain.
        match unsafe { next.as_ref() } {
            None => self.last = previous,
            Some(next) => {
                // SAFETY: as for `take`.
                unsafe { next.link.with(|place| place.previous = previous) };
            }
        }
        self.len -= 1;
        // SAFETY: gives out the count that `append` put in.
        unsafe { Arc::from_raw(own) }
    }

    /// Makes `next` come behind `listener`, or first if that is null.
    fn set_next(&mut self, listener: *const Listener, next: *const Listener) {
        // SAFETY: null or in the chain, which keeps it alive.
        match unsafe { listener.as_ref() } {
            None => self.first = next,
            Some(listener) => {
                // SAFETY: `self` is borrowed from under the lock.
                unsafe { listener.link.with(|place| place.next = next) };
            }
        }
    }
}

/// An event counter of the system.
#[cfg(not(rtm_loom))]
struct Descriptor(std::fs::File);

#[cfg(not(rtm_loom))]
impl Descriptor {
    fn new() -> Result<Descriptor, NoDescriptor> {
        use std::os::fd::{FromRawFd, OwnedFd};
        // SAFETY: touches no memory.
        let number = unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) };
        if number < 0 {
            return Err(NoDescriptor);
        }
        // SAFETY: just opened; nobody else has it.
        Ok(Descriptor(unsafe { OwnedFd::from_raw_fd(number) }.into()))
    }

    fn number(&self) -> std::os::fd::RawFd {
        use std::os::fd::AsRawFd;
        self.0.as_raw_fd()
    }

    /// Makes it readable. Cannot fail: the counter is 0.
    fn set(&self) {
        let _ = std::io::Write::write(&mut &self.0, &1_u64.to_ne_bytes());
    }

    /// Makes it unreadable.
    fn clear(&self) {
        let _ = std::io::Read::read(&mut &self.0, &mut [0; 8]);
    }

    #[cfg(test)]
    fn is_set(&self) -> bool {
        let mut poll = libc::pollfd { fd: self.number(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one entry that is alive for the call.
        let found = unsafe { libc::poll(&mut poll, 1, 0) };
        found == 1 && poll.revents == libc::POLLIN
    }
}

/// The counter by itself.
#[cfg(rtm_loom)]
struct Descriptor(crate::sync::AtomicU64);

#[cfg(rtm_loom)]
impl Descriptor {
    fn new() -> Result<Descriptor, NoDescriptor> {
        Ok(Descriptor(crate::sync::AtomicU64::new(0)))
    }

    fn set(&self) {
        let before = self.0.fetch_add(1, Ordering::Relaxed);
        assert_eq!(before, 0, "two writes for one change");
    }

    fn clear(&self) {
        self.0.swap(0, Ordering::Relaxed);
    }

    fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed) != 0
    }
}
