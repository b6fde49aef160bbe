//! The reclaimer thread, and the calls that wait for it or do its work.
//!
//! *Roles.* One thread of the library runs cleanups; deregistrations wake it; `RtmxFlush` runs
//! cleanups itself; `RtmxShutdown` ends the thread.
//!
//! *States* (`state`): ABSENT → AWAKE (before the thread is started, so that it finds it so) ↔ ASLEEP;
//! AWAKE or ASLEEP → STOPPING by shutdown, after which the thread drains what is left and ends. A
//! thread that a cleanup ends is *lost*: the destructor of its record, which gives back what it had in
//! hand, or the shutdown that waits for it, starts another.
//!
//! *No lost wake-up.* A deregistration retires its entity, fences and reads the state; the thread says
//! ASLEEP, fences and looks whether anything is retired. If the retirement comes first in the order
//! of the fences, the thread sees it and stays awake; else the deregistration sees ASLEEP and wakes.
//! While something is retired that a reader still holds, the thread naps for 2 to 50 ms at a time.
//!
//! *Client code* is called from frames that own nothing: `RtmxFlush` and the thread's loop make one
//! call of the boundary to get the next cleanup and one after it; what is under way hangs on the
//! thread's record and survives a client that does not return.

use crate::boundary::{Outcome, call, try_box, without_cancellation};
use crate::client::Client;
use crate::fork;
use crate::manager::{self, Manager};
use crate::reserve;
use crate::sync::{Mutex, MutexGuard};
use crate::thread::{self, Record};
use crate::types::*;
use rtm_core::WaitError;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering, fence};
use std::sync::{PoisonError, TryLockError};

const ABSENT: u32 = 0;
const AWAKE: u32 = 1;
const ASLEEP: u32 = 2;
const STOPPING: u32 = 3;

/// The process has begun to exit: no cleanup and no callback is started any more.
pub(crate) static EXITING: AtomicBool = AtomicBool::new(false);

/// Makes sure that `EXITING` is set when the process exits.
pub(crate) fn watch_exit() -> Outcome {
    static WATCHING: Mutex<bool> = Mutex::new(false);
    extern "C" fn stop() {
        EXITING.store(true, Ordering::Relaxed);
    }
    let mut watching = WATCHING.lock().unwrap_or_else(PoisonError::into_inner);
    // SAFETY: the handler only stores to an atomic; the library is never unloaded.
    if !*watching && unsafe { libc::atexit(stop) } != 0 {
        return Err(ERROR_NOT_ENOUGH_MEMORY);
    }
    *watching = true;
    Ok(())
}

#[derive(Default)]
pub(crate) struct Reclaimer {
    state: AtomicU32,
    started: AtomicBool,
    thread: Mutex<Option<libc::pthread_t>>,
    /// The thread that a shutdown waited for has been ended by a cleanup.
    lost: AtomicBool,
}

/// What the next cleanup is.
type Cleanup = (unsafe extern "C" fn(PVOID), PVOID);

impl Reclaimer {
    /// Starts the thread unless it runs.
    pub(crate) fn start(&self, manager: &'static Manager) -> Outcome {
        // Acquire: pairs with the store below.
        if self.started.load(Ordering::Acquire) {
            return Ok(());
        }
        self.start_in(&mut self.lock(), manager)
    }

    fn lock(&self) -> MutexGuard<'_, Option<libc::pthread_t>> {
        self.thread.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start_in(&self, place: &mut Option<libc::pthread_t>, manager: &'static Manager) -> Outcome {
        if place.is_some() {
            return Ok(());
        }
        watch_exit()?;
        let work = Box::into_raw(try_box(Work { record: Record::new(manager)?, manager })?);
        self.state.store(AWAKE, Ordering::Relaxed);
        let mut thread = 0;
        let failed = with_signals_blocked(|| {
            // SAFETY: `run` owns its work, which borrows the manager, which outlives the thread:
            // shutdown joins it first, see `lose`.
            unsafe { libc::pthread_create(&mut thread, ptr::null(), run, work.cast()) }
        });
        if failed != 0 {
            self.state.store(ABSENT, Ordering::Relaxed);
            // SAFETY: made above; no thread has got it.
            drop(unsafe { Box::from_raw(work) });
            return Err(ERROR_NO_SYSTEM_RESOURCES);
        }
        *place = Some(thread);
        // Release: partner is the load above.
        self.started.store(true, Ordering::Release);
        Ok(())
    }

    /// Makes sure that the thread looks at what has just been retired.
    pub(crate) fn wake(&self) {
        // Fence: partner is the one in `sleep`.
        fence(Ordering::SeqCst);
        if self.state.load(Ordering::Relaxed) == ASLEEP
            && (self.state)
                .compare_exchange(ASLEEP, AWAKE, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
        {
            futex_wake(&self.state, 1);
        }
    }

    /// Ends the thread after everything retired so far has been cleaned up. Says whether it ran.
    fn stop(&self, manager: &'static Manager) -> Result<bool, DWORD> {
        let mut place = self.lock();
        let mut ran = false;
        while let Some(thread) = place.take() {
            ran = true;
            self.state.store(STOPPING, Ordering::Release);
            futex_wake(&self.state, 1);
            // SAFETY: started by `start_in`, joined once.
            unsafe { libc::pthread_join(thread, ptr::null_mut()) };
            self.started.store(false, Ordering::Relaxed);
            self.state.store(ABSENT, Ordering::Relaxed);
            if self.lost.swap(false, Ordering::Relaxed) {
                // What it has left is another's.
                self.start_in(&mut place, manager)?;
            }
        }
        Ok(ran)
    }

    /// By the thread that a cleanup ends, when it has given back what it had in hand, or that could not
    /// begin; then another is not tried at once. Touches nothing of the manager's after it has let the
    /// lock go: nobody waits for a thread that has been replaced.
    fn lose(&self, manager: &'static Manager, replace: bool) {
        loop {
            let mut place = match self.thread.try_lock() {
                Ok(place) => place,
                Err(TryLockError::Poisoned(place)) => place.into_inner(),
                // Shutdown has the lock while it waits for us, and sees to the rest.
                Err(TryLockError::WouldBlock) if self.state.load(Ordering::Relaxed) == STOPPING => {
                    // Released by the end of the thread: partner is the join.
                    self.lost.store(replace, Ordering::Relaxed);
                    return;
                }
                Err(TryLockError::WouldBlock) => {
                    std::thread::yield_now();
                    continue;
                }
            };
            if let Some(thread) = place.take() {
                // SAFETY: the calling thread, not joined by anybody.
                unsafe { libc::pthread_detach(thread) };
            }
            if !replace || self.start_in(&mut place, manager).is_err() {
                // The next registration tries again.
                self.started.store(false, Ordering::Relaxed);
            }
            return;
        }
    }

    /// Sleeps until woken, or for a nap while something is retired. Says whether it goes on.
    fn sleep(&self, work: Post, nap_ms: &mut u32) -> bool {
        let asleep = |now| (now == AWAKE).then_some(ASLEEP);
        let _ = self.state.try_update(Ordering::Relaxed, Ordering::Relaxed, asleep);
        // Fence: partner is the one in `wake`.
        fence(Ordering::SeqCst);
        let timeout = if work.record.section.participant().retired() == 0 {
            *nap_ms = 1;
            None
        } else {
            *nap_ms = (*nap_ms * 2).min(50);
            Some(*nap_ms)
        };
        futex_wait(&self.state, ASLEEP, timeout);
        let awake = |now| (now == ASLEEP).then_some(AWAKE);
        let _ = self.state.try_update(Ordering::Relaxed, Ordering::Relaxed, awake);
        self.state.load(Ordering::Acquire) != STOPPING
    }
}

/// What the thread is given.
struct Work {
    record: Box<Record>,
    manager: &'static Manager,
}

/// Where the thread is. Plain data: dropping it does nothing.
#[derive(Clone, Copy)]
struct Post {
    record: &'static Record,
    manager: &'static Manager,
}

/// Of the thread's record: dropped while the thread has it, the thread is lost.
pub(crate) struct Duty(&'static Manager);

impl Duty {
    fn done(self) {
        std::mem::forget(self);
    }
}

impl Drop for Duty {
    fn drop(&mut self) {
        // The manager stays: whoever shuts down waits for this thread first.
        self.0.reclaimer.lose(self.0, true);
    }
}

extern "C" fn run(work: *mut libc::c_void) -> *mut libc::c_void {
    // SAFETY: names the calling thread; the text ends with NUL.
    unsafe { libc::prctl(libc::PR_SET_NAME, c"rtm-reclaimer".as_ptr()) };
    let mut post = None;
    call(|| {
        // SAFETY: `start_in` gives it to this thread.
        let Work { record, manager } = *unsafe { Box::from_raw(work.cast::<Work>()) };
        match thread::adopt(record) {
            Ok(record) => {
                record.duty.set(Some(Duty(manager)));
                post = Some(Post { record, manager });
            }
            Err(_) => manager.reclaimer.lose(manager, false),
        }
        Ok(())
    });
    let Some(at) = post else { return ptr::null_mut() };
    let mut nap_ms = 1;
    loop {
        let mut next = next_cleanup(at);
        while let Some((cleanup, context)) = next {
            // SAFETY: the client gave the function for this use.
            unsafe { cleanup(context) };
            // What it deregistered should not wait for a nap that readers had made long.
            nap_ms = 1;
            next = next_cleanup(at);
        }
        // A cleanup that has forked comes back here in the child, too.
        if !fork::usable()
            || !at.manager.reclaimer.sleep(at, &mut nap_ms)
                && at.record.section.participant().retired() == 0
        {
            break;
        }
    }
    if let Some(duty) = at.record.duty.take() {
        duty.done();
    }
    ptr::null_mut()
}

/// Drops what may be dropped and finds the next cleanup that is due. The one before is over.
fn next_cleanup(at: Post) -> Option<Cleanup> {
    let mut next = None;
    call(|| {
        let participant = at.record.section.participant();
        // What a cleanup has entered and not left would keep the others from being due.
        at.record.section.leave_all();
        let mut departed = at.record.departed.borrow_mut();
        if departed.is_none() {
            participant.collect();
        }
        let due = departed.get_or_insert_with(|| participant.departed());
        // An explicit shutdown comes before the process's exit.
        let stopping = at.manager.reclaimer.state.load(Ordering::Relaxed) == STOPPING;
        if stopping || !EXITING.load(Ordering::Relaxed) {
            next = due.next_departed().and_then(|client| cleanup_of(&client));
        }
        if next.is_none() {
            *departed = None;
        }
        Ok(())
    });
    next
}

fn cleanup_of(client: &Client) -> Option<Cleanup> {
    Some((client.cleanup?, client.context()))
}

/// Returns when every read section that any thread was inside at the call has been left.
///
/// @return NO_ERROR; ERROR_POSSIBLE_DEADLOCK called inside a read section, a callback, a method or a
///   cleanup function; ERROR_NOT_ENOUGH_MEMORY.
///
/// A section that is entered during the call may delay it further. Blocks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn RtmxSynchronize() -> DWORD {
    without_cancellation(|| {
        call(|| {
            let Some(manager) = manager::existing() else { return Ok(()) };
            reserve::top_up()?;
            let participant = thread::record(manager)?.section.participant();
            participant.synchronize().map_err(wait_code)
        })
    })
}

/// Returns when everything that was deregistered before the call has been cleaned up, and thus every read
/// section left that could have seen any of it: what a plugin calls before it is unloaded. Waits for the
/// callbacks and methods of entities that RtmxDeregisterEntityLater has ended. Runs cleanup functions itself,
/// on this thread. Do not call it while methods are blocked that those callbacks and methods invoke: nobody
/// would see that it waits for its own thread.
///
/// @return NO_ERROR; ERROR_POSSIBLE_DEADLOCK called inside a read section, a callback, a method or a
///   cleanup function; ERROR_NOT_ENOUGH_MEMORY. ERROR_POSSIBLE_DEADLOCK also if a cleanup function has
///   entered a read section and not left it; then some of the cleanups have run.
///
/// Blocks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn RtmxFlush() -> DWORD {
    let mut code = call(begin_flush);
    while code == NO_ERROR {
        let mut next = None;
        code = without_cancellation(|| call(|| next_of_flush(&mut next)));
        let Some((cleanup, context)) = next else { break };
        // SAFETY: the client gave the function for this use.
        unsafe { cleanup(context) };
    }
    code
}

fn begin_flush() -> Outcome {
    let Some(manager) = manager::existing() else { return Ok(()) };
    reserve::top_up()?;
    let record = thread::record(manager)?;
    let flushing = record.section.participant().begin_flush().map_err(wait_code)?;
    *record.flushing.borrow_mut() = Some(flushing);
    Ok(())
}

fn next_of_flush(next: &mut Option<Cleanup>) -> Outcome {
    let Some(manager) = manager::existing() else { return Ok(()) };
    let record = thread::record(manager)?;
    let mut flushing = record.flushing.borrow_mut();
    if record.section.is_inside() {
        // A cleanup has entered and not left: the rest would never end.
        *flushing = None;
        return Err(ERROR_POSSIBLE_DEADLOCK);
    }
    while let Some(client) = flushing.as_mut().and_then(|flushing| flushing.next_departed()) {
        *next = cleanup_of(&client);
        if next.is_some() {
            return Ok(());
        }
    }
    *flushing = None;
    Ok(())
}

fn wait_code(error: WaitError) -> DWORD {
    match error {
        WaitError::OutOfMemory => ERROR_NOT_ENOUGH_MEMORY,
        _ => ERROR_POSSIBLE_DEADLOCK,
    }
}

/// Gives everything back to the system: memory, reader objects, event queues, the library's threads (what
/// hangs on other threads, about 5 KiB each, when they end or call again). What is still to
/// be cleaned up is cleaned up by the reclaimer thread first. The next registration starts afresh,
/// with default limits; handles from before stay invalid.
///
/// @return NO_ERROR (also if there is nothing to give back); ERROR_BUSY an entity is registered or
///   referenced, or a thread or reader is inside a read section; ERROR_POSSIBLE_DEADLOCK called inside
///   a read section, a callback, a method or a cleanup function; ERROR_NO_SYSTEM_RESOURCES or
///   ERROR_NOT_ENOUGH_MEMORY a cleanup function has ended its thread, and another cannot be had. On failure
///   nothing has changed, but that some of what was to be cleaned up may have been.
///
/// The caller promises that no other thread is in any call of this library, RtmGetEntityInfo included,
/// or makes one until this returns. Blocks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn RtmxShutdown() -> DWORD {
    without_cancellation(|| call(shutdown))
}

fn shutdown() -> Outcome {
    let Some(manager) = manager::existing() else { return Ok(()) };
    let participant = thread::record(manager)?.section.participant();
    participant.may_wait().map_err(wait_code)?;
    if !participant.is_idle() {
        return Err(ERROR_BUSY);
    }
    let ran = manager.reclaimer.stop(manager)?;
    let idle = participant.is_idle();
    let pool = if idle { manager.pool.stop(manager) } else { 0 };
    if !participant.is_idle() {
        // A cleanup or a callback has registered an entity or taken a reference.
        if ran {
            manager.reclaimer.start(manager)?;
        }
        manager.pool.start_again(manager, pool)?;
        return Err(ERROR_BUSY);
    }
    thread::forget_mine();
    // SAFETY: the caller promises that nobody else is here; the library's threads are gone.
    unsafe { manager::take(manager) };
    Ok(())
}

pub(crate) fn with_signals_blocked<R>(f: impl FnOnce() -> R) -> R {
    // SAFETY: a signal set is plain memory.
    let mut all: libc::sigset_t = unsafe { std::mem::zeroed() };
    let mut before = all;
    // SAFETY: a place for a signal set.
    unsafe { libc::sigfillset(&mut all) };
    // SAFETY: as above; changes the calling thread's mask.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut before) };
    let result = f();
    // SAFETY: as above; restores it.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &before, ptr::null_mut()) };
    result
}

pub(crate) fn futex_wait(word: &AtomicU32, expected: u32, timeout_ms: Option<u32>) {
    let timeout = timeout_ms.map(|ms| libc::timespec {
        tv_sec: i64::from(ms / 1000),
        tv_nsec: i64::from(ms % 1000) * 1_000_000,
    });
    let timeout = timeout.as_ref().map_or(ptr::null(), ptr::from_ref);
    // SAFETY: the word is alive for the call; NULL or a timespec that is.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG,
            expected,
            timeout,
        )
    };
}

pub(crate) fn futex_wake(word: &AtomicU32, threads: i32) {
    // SAFETY: the word's address is only compared.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG,
            threads,
        )
    };
}
