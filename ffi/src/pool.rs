//! The threads that run event callbacks, and the one that looks after them.
//!
//! *Roles.* The *herald* (`rtm-events`) does what `Registry::herald_step` has to do for sleeping queues,
//! and keeps the pool at the size it needs; it never runs client code. Threads of the *pool*
//! (`rtm-event-N`) run the callbacks of the pool's queue. Registrations start both; `RtmxShutdown` ends
//! them.
//!
//! *States* of a seat: free → taken by a thread that runs → *leaving* by its own decision → *left*, when
//! its record goes → free, when it has been joined. A thread that a callback ends goes from taken to left;
//! the herald is told and replaces it.
//!
//! *Size.* `IdleEventThreads` threads (at least 1) stay. One more is started when the queue is not
//! empty, nobody waits for it, and nothing has been taken from it for 1 ms; up to `MaxEventThreads`. A
//! thread beyond the idle number that finds nothing for 1 s leaves. The herald looks again each millisecond
//! while the queue is not empty, whoever waits: they may have been woken already and be about to take
//! something else. While it is empty the herald may sleep, since others than the herald rarely fill it, and
//! take care then: a thread that puts a listener back takes one out or, if it ends, rouses the herald, and a
//! registration that began its events when one was just coming rouses it too.
//!
//! *Waking the herald* for anything but events (a thread is gone, limits are higher, shutdown) must not be
//! lost when it is just about to sleep: `rouse` stops it, which lasts, and it starts itself again before
//! it looks.
//!
//! *Exit.* Once the process exits no callback is started: the threads park until a shutdown, and what they
//! had just taken is dropped.
//!
//! *Client code* is called from frames that own nothing, see `reclaimer.rs`. What a thread is at hangs on
//! its record (`thread.rs`).
//!
//! *Locks.* `state` is never held while client code runs or a thread is joined.

use crate::boundary::{Outcome, call, try_box, without_cancellation};
use crate::client::Client;
use crate::events::{Due, next_due};
use crate::manager::Manager;
use crate::reclaimer::{EXITING, futex_wait, futex_wake, watch_exit, with_signals_blocked};
use crate::sync::{Mutex, MutexGuard};
use crate::thread::{self, Record};
use crate::types::*;
use rtm_core::{EventQueue, OutOfMemory, Participant};
use std::io::Write;
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{OnceLock, PoisonError};
use std::time::{Duration, Instant};

const IDLE_THREADS: u32 = 2;
const MOST_THREADS: u32 = 64;
/// How long the queue may stand still before a thread is added.
const STALL: Duration = Duration::from_millis(1);
/// How long a surplus thread waits for work.
const LINGER: Duration = Duration::from_secs(1);
/// How soon the herald tries again what failed.
const RETRY: Duration = Duration::from_millis(10);

/// What runs, in `Pool::started`.
const HERALD: u32 = 1;
const THREADS: u32 = 2;

pub(crate) struct Pool {
    /// `IdleEventThreads` and `MaxEventThreads`.
    pub(crate) idle: AtomicU32,
    pub(crate) most: AtomicU32,
    /// NOTHING, HERALD or THREADS; for the fast path of registrations.
    started: AtomicU32,
    /// Not 0 while a shutdown ends the threads.
    stopping: AtomicU32,
    /// Of the entities that have no queue of their own.
    queue: OnceLock<EventQueue>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    herald: Option<libc::pthread_t>,
    seats: Vec<SeatState>,
    /// Threads that neither leave nor have left.
    running: u32,
}

#[derive(Clone, Copy)]
enum SeatState {
    Free,
    Taken(libc::pthread_t),
    Leaving(libc::pthread_t),
    Left(libc::pthread_t),
}

impl Default for Pool {
    fn default() -> Self {
        Pool {
            idle: AtomicU32::new(IDLE_THREADS),
            most: AtomicU32::new(MOST_THREADS),
            started: AtomicU32::new(0),
            stopping: AtomicU32::new(0),
            queue: OnceLock::new(),
            state: Mutex::default(),
        }
    }
}

/// A thread's membership in the pool; dropped with its record.
pub(crate) struct Seat {
    manager: &'static Manager,
    number: usize,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut state = self.manager.pool.lock();
        let State { seats, running, .. } = &mut *state;
        match seats[self.number] {
            SeatState::Taken(thread) => {
                *running -= 1;
                seats[self.number] = SeatState::Left(thread);
            }
            SeatState::Leaving(thread) => seats[self.number] = SeatState::Left(thread),
            SeatState::Free | SeatState::Left(_) => {}
        }
        // The manager stays: a shutdown joins this thread first.
        drop(state);
        self.manager.pool.rouse(self.manager);
    }
}

impl Pool {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Threads of the pool.
    pub(crate) fn threads(&self) -> u32 {
        self.lock().running
    }

    /// Where events of entities without a queue of their own go; after `start_threads`.
    pub(crate) fn queue(&self) -> Option<&EventQueue> {
        self.queue.get()
    }

    /// Makes sure that the herald runs.
    pub(crate) fn start_herald(&self, manager: &'static Manager) -> Outcome {
        // Acquire: pairs with the store in `start`.
        if self.started.load(Ordering::Acquire) >= HERALD {
            return Ok(());
        }
        self.start(manager, HERALD)
    }

    /// Makes sure that the herald and at least one thread for callbacks run.
    pub(crate) fn start_threads(&self, manager: &'static Manager) -> Outcome {
        // Acquire: as above.
        if self.started.load(Ordering::Acquire) >= THREADS {
            return Ok(());
        }
        self.start(manager, THREADS)
    }

    #[cold]
    fn start(&self, manager: &'static Manager, what: u32) -> Outcome {
        let mut state = self.lock();
        if what == THREADS && self.queue.get().is_none() {
            let queue = EventQueue::try_new().map_err(|OutOfMemory| ERROR_NOT_ENOUGH_MEMORY)?;
            let _ = self.queue.set(queue);
        }
        // A callback registers while a shutdown ends the pool: the shutdown will see it and start anew.
        if self.stopping.load(Ordering::Relaxed) != 0 {
            return Ok(());
        }
        if state.herald.is_none() {
            state.herald = Some(spawn_herald(manager)?);
        }
        if what == THREADS {
            let wanted = self.floor();
            while state.running < wanted {
                let added = add_thread(&mut state, manager);
                if state.running == 0 {
                    added?;
                }
                if added.is_err() {
                    break;
                }
            }
        }
        // Release: partner is the load in `start_...`; the queue is seen.
        self.started.fetch_max(what, Ordering::Release);
        Ok(())
    }

    /// After the events of an entity have begun.
    pub(crate) fn see_to(&self, manager: &Manager) {
        if self.queue.get().is_some_and(|queue| !queue.is_empty()) {
            self.rouse(manager);
        }
    }

    /// Makes the herald look after the pool.
    pub(crate) fn rouse(&self, manager: &Manager) {
        manager.registry.herald_stop();
    }

    /// Starts again what `stop` has ended.
    pub(crate) fn start_again(&self, manager: &'static Manager, what: u32) -> Outcome {
        if what == 0 { Ok(()) } else { self.start(manager, what) }
    }

    /// Threads that stay.
    fn floor(&self) -> u32 {
        let (idle, most) = (self.idle.load(Ordering::Relaxed), self.most.load(Ordering::Relaxed));
        idle.min(most).max(1)
    }

    fn is_stopping(&self) -> bool {
        // Acquire: partner is the store in `stop`.
        self.stopping.load(Ordering::Acquire) != 0
    }

    /// Ends all threads, after the callbacks they are in. Says what ran, for `start_again`.
    pub(crate) fn stop(&self, manager: &Manager) -> u32 {
        let herald = {
            let mut state = self.lock();
            // Release: partner is `is_stopping`.
            self.stopping.store(1, Ordering::Release);
            state.herald.take()
        };
        let before = self.started.swap(0, Ordering::Relaxed);
        futex_wake(&self.stopping, i32::MAX);
        let mut nap_us = 20;
        loop {
            if let Some(queue) = self.queue.get() {
                queue.interrupt_all();
            }
            let mut state = self.lock();
            join_left(&mut state);
            if state.seats.iter().all(|seat| matches!(seat, SeatState::Free)) {
                break;
            }
            drop(state);
            std::thread::sleep(Duration::from_micros(nap_us));
            nap_us = (nap_us * 2).min(2000);
        }
        if let Some(herald) = herald {
            self.rouse(manager);
            // SAFETY: started by `spawn_herald`, joined once.
            unsafe { libc::pthread_join(herald, ptr::null_mut()) };
            manager.registry.herald_start();
        }
        self.stopping.store(0, Ordering::Relaxed);
        before
    }

    /// Whether a thread that has found nothing for long may go: then it is not counted any more.
    fn may_leave(&self, number: usize) -> bool {
        let mut state = self.lock();
        let surplus = state.running > self.floor();
        if surplus && let SeatState::Taken(thread) = state.seats[number] {
            state.seats[number] = SeatState::Leaving(thread);
            state.running -= 1;
        }
        surplus
    }

    /// Joins those that have left, adds threads if the queue stands still. Says when to look again.
    fn tend(&self, manager: &'static Manager, stall: &mut Stall) -> Option<Duration> {
        let queue = self.queue.get()?;
        let mut state = self.lock();
        let mut again = (!join_left(&mut state)).then_some(RETRY);
        if self.started.load(Ordering::Relaxed) < THREADS {
            return again;
        }
        let room = state.running < self.most.load(Ordering::Relaxed);
        let mut wanted = state.running < self.floor();
        if queue.is_empty() {
            stall.since = None;
        } else if room {
            again = Some(STALL);
            wanted |= stall.lasts(queue);
        }
        if wanted {
            stall.since = None;
            if add_thread(&mut state, manager).is_err() {
                again = Some(RETRY);
            }
        }
        again
    }
}

/// Since when nothing has been taken from the queue.
#[derive(Default)]
struct Stall {
    since: Option<(u64, Instant)>,
}

impl Stall {
    /// Whether it has stood still for long enough, with nobody to take anything.
    fn lasts(&mut self, queue: &EventQueue) -> bool {
        let taken = queue.taken();
        if queue.idle() != 0 {
            self.since = None;
            return false;
        }
        match self.since {
            Some((before, since)) if before == taken => since.elapsed() >= STALL,
            _ => {
                self.since = Some((taken, Instant::now()));
                false
            }
        }
    }
}

unsafe extern "C" {
    fn pthread_tryjoin_np(thread: libc::pthread_t, result: *mut *mut libc::c_void) -> libc::c_int;
    fn pthread_testcancel();
}

/// Joins the threads that have left; `false` if one of them is not quite gone.
fn join_left(state: &mut State) -> bool {
    let mut all = true;
    for seat in &mut state.seats {
        if let SeatState::Left(thread) = *seat {
            // Does not wait: what else the thread does on its way out is not ours.
            // SAFETY: started by `add_thread`, joined once: the seat is free then.
            if unsafe { pthread_tryjoin_np(thread, ptr::null_mut()) } == 0 {
                *seat = SeatState::Free;
            } else {
                all = false;
            }
        }
    }
    all
}

type Body = extern "C" fn(*mut libc::c_void) -> *mut libc::c_void;

/// Starts a thread with all signals blocked, which owns its work.
fn spawn<W>(body: Body, work: Box<W>) -> Result<libc::pthread_t, DWORD> {
    watch_exit()?;
    let work = Box::into_raw(work);
    let mut thread = 0;
    let failed = with_signals_blocked(|| {
        // SAFETY: the body takes its work over, which borrows only the manager, which outlives the
        // thread: shutdown joins it first.
        unsafe { libc::pthread_create(&mut thread, ptr::null(), body, work.cast()) }
    });
    if failed != 0 {
        // SAFETY: from the box above; no thread has got it.
        drop(unsafe { Box::from_raw(work) });
        return Err(ERROR_NO_SYSTEM_RESOURCES);
    }
    Ok(thread)
}

// --- The herald ---

struct Herald {
    participant: Participant<'static, Client>,
    manager: &'static Manager,
    stall: Stall,
}

fn spawn_herald(manager: &'static Manager) -> Result<libc::pthread_t, DWORD> {
    let participant = manager.registry.join().map_err(|OutOfMemory| ERROR_NOT_ENOUGH_MEMORY)?;
    spawn(herald, try_box(Herald { participant, manager, stall: Stall::default() })?)
}

extern "C" fn herald(work: *mut libc::c_void) -> *mut libc::c_void {
    // SAFETY: names the calling thread; the text ends with NUL.
    unsafe { libc::prctl(libc::PR_SET_NAME, c"rtm-events".as_ptr()) };
    // SAFETY: `spawn` gives it to this thread.
    let mut at = unsafe { Box::from_raw(work.cast::<Herald>()) };
    let manager = at.manager;
    while !manager.pool.is_stopping() {
        call(|| {
            let busy = at.participant.herald_step();
            let timeout = manager.pool.tend(manager, &mut at.stall);
            if !busy && !manager.registry.herald_wait(timeout) {
                // Roused: looks again.
                manager.registry.herald_start();
            }
            Ok(())
        });
    }
    ptr::null_mut()
}

// --- The pool ---

/// What a new thread is given.
struct Work {
    record: Box<Record>,
    manager: &'static Manager,
    number: usize,
}

/// Starts one thread more.
fn add_thread(state: &mut State, manager: &'static Manager) -> Outcome {
    let free = state.seats.iter().position(|seat| matches!(seat, SeatState::Free));
    let number = match free {
        Some(number) => number,
        None => {
            state.seats.try_reserve(1).map_err(|_| ERROR_NOT_ENOUGH_MEMORY)?;
            state.seats.push(SeatState::Free);
            state.seats.len() - 1
        }
    };
    let thread = spawn(run, try_box(Work { record: Record::new(manager)?, manager, number })?)?;
    state.seats[number] = SeatState::Taken(thread);
    state.running += 1;
    Ok(())
}

/// Where a thread of the pool is. Plain data: dropping it does nothing.
#[derive(Clone, Copy)]
struct Place {
    record: &'static Record,
    manager: &'static Manager,
    number: usize,
}

extern "C" fn run(work: *mut libc::c_void) -> *mut libc::c_void {
    let mut place = None;
    let mut due = Due::NOTHING;
    call(|| {
        // SAFETY: `add_thread` gives it to this thread.
        place = sit_down(*unsafe { Box::from_raw(work.cast::<Work>()) });
        Ok(())
    });
    while let Some(at) = place {
        let mut more = false;
        call(|| {
            more = without_cancellation(|| at.next(&mut due));
            Ok(())
        });
        if !more {
            break;
        }
        // SAFETY: the courier on the thread's record waits for the next turn.
        unsafe { due.run() };
        // A callback that has cancelled its thread ends it here at the latest, not in another's callback.
        // SAFETY: this frame owns nothing.
        unsafe { pthread_testcancel() };
    }
    ptr::null_mut()
}

/// Names the thread and makes the record its own. `None`: it could not be, and the seat is left.
fn sit_down(work: Work) -> Option<Place> {
    let Work { record, manager, number } = work;
    let mut name = [0_u8; 16];
    // All but the NUL; the kernel takes no longer ones.
    let _ = write!(&mut name[..15], "rtm-event-{number}");
    // SAFETY: names the calling thread; the text ends with NUL.
    unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) };
    let seat = Seat { manager, number };
    let record = thread::adopt(record).ok()?;
    record.seat.set(Some(seat));
    Some(Place { record, manager, number })
}

impl Place {
    /// Ends the callback before and waits for the next one. `false`: the thread ends.
    fn next(self, due: &mut Due) -> bool {
        let pool = &self.manager.pool;
        let Some(queue) = pool.queue() else { return false };
        let participant = self.record.section.participant();
        let mut place = self.record.courier.borrow_mut();
        let courier = place.get_or_insert_with(|| participant.courier(queue));
        // What a callback has entered and not left is not the next one's.
        self.record.section.leave_all();
        loop {
            while EXITING.load(Ordering::Relaxed) && !pool.is_stopping() {
                courier.finish();
                futex_wait(&pool.stopping, 0, None);
            }
            if pool.is_stopping() {
                break;
            }
            if let Some(next) = next_due(courier) {
                // Whoever sees an event that came after the beginning of the exit sees that too.
                if EXITING.load(Ordering::Relaxed) {
                    continue;
                }
                *due = next;
                return true;
            }
            let surplus = pool.lock().running > pool.floor();
            let found = queue.wait(surplus.then_some(LINGER));
            if surplus && !found && pool.may_leave(self.number) {
                break;
            }
        }
        *place = None;
        false
    }
}
