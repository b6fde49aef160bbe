//! One record for each thread that has used the library: its membership and what it is inside of.
//!
//! *Roles.* The thread itself, and at its end the destructor of a pthread key.
//! *Paths.* A thread-local pointer leads to the record; it has no destructor of its own, so it can be
//! read at any moment of a thread's life. The record hangs on a pthread key, whose destructor runs
//! after those of C++ and Rust thread-locals, frees the record and clears the pointer. A call from a
//! destructor of another key that runs later makes a new record, and pthread runs ours again.
//! *Client code* that does not return leaves what it was in on the record, which releases it: the
//! courier with the event it has handed out, the queue that is dispatched, invocations (kept on the
//! participant), scratch memory, and the thread's seat in the pool or its duty as the reclaimer, which
//! have it replaced.
//! *Shutdown.* A record belongs to the manager with its serial number. Found to be of an earlier one,
//! it is made anew; that it held nothing of that manager is what `RtmxShutdown` made sure of.

use crate::boundary::try_box;
use crate::client::Client;
use crate::events::Hold;
use crate::manager::Manager;
use crate::methods::Scratch;
use crate::pool::Seat;
use crate::reclaimer::Duty;
use crate::types::*;
use rtm_core::{Courier, Departed, Flushing, Guard, OutOfMemory, Participant};
use std::cell::{Cell, RefCell, UnsafeCell};
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};

/// A read section on some member: nested calls count, the outermost holds the guard.
///
/// The guard is made and dropped in its place, never moved: moving it would read back in one piece what
/// has just been written in several, which stalls the processor for longer than the whole call takes.
pub(crate) struct Section {
    /// Initialised while `depth` is not 0.
    guard: UnsafeCell<MaybeUninit<Guard<'static, Client>>>,
    depth: Cell<u32>,
    // Dropped after the guard, which borrows it.
    participant: Box<Participant<'static, Client>>,
}

impl Section {
    pub(crate) fn new(manager: &'static Manager) -> Result<Section, DWORD> {
        let participant = manager.registry.join();
        let participant = participant.map_err(|OutOfMemory| ERROR_NOT_ENOUGH_MEMORY)?;
        let participant = try_box(participant)?;
        let guard = UnsafeCell::new(MaybeUninit::uninit());
        Ok(Section { guard, depth: Cell::new(0), participant })
    }

    /// The membership.
    #[inline(always)]
    pub(crate) fn participant(&self) -> &'static Participant<'static, Client> {
        // SAFETY: boxed, so it does not move, and dropped after everything that borrows it: the
        // guard beside it and the flush of the record, both of which are dropped before.
        unsafe { &*ptr::from_ref(&*self.participant) }
    }

    #[inline(always)]
    pub(crate) fn enter(&self) -> Result<(), DWORD> {
        let depth = self.depth.get();
        let deeper = depth.checked_add(1).ok_or(ERROR_NO_SYSTEM_RESOURCES)?;
        if depth == 0 {
            let guard = self.participant().enter();
            // SAFETY: one thread at a time uses a section, and nothing borrows the guard now.
            unsafe { (*self.guard.get()).write(guard) };
        }
        self.depth.set(deeper);
        Ok(())
    }

    #[inline(always)]
    pub(crate) fn leave(&self) -> Result<(), DWORD> {
        let depth = self.depth.get().checked_sub(1).ok_or(ERROR_NOT_LOCKED)?;
        self.depth.set(depth);
        if depth == 0 {
            // SAFETY: the depth was 1, so the guard is there; nothing borrows it now.
            unsafe { self.guard.get().cast::<Guard<'static, Client>>().drop_in_place() };
        }
        Ok(())
    }

    #[inline(always)]
    pub(crate) fn quiesce(&self) -> Result<(), DWORD> {
        match self.depth.get() {
            0 => Err(ERROR_NOT_LOCKED),
            1 => {
                // SAFETY: the depth is 1, so the guard is there; nothing borrows it now.
                unsafe { &mut *self.guard.get().cast::<Guard<'static, Client>>() }.refresh();
                Ok(())
            }
            _ => Err(ERROR_POSSIBLE_DEADLOCK),
        }
    }

    /// Leaves whatever has been entered and not left.
    pub(crate) fn leave_all(&self) {
        if self.depth.get() != 0 {
            self.depth.set(1);
            let _ = self.leave();
        }
    }

    pub(crate) fn is_inside(&self) -> bool {
        self.depth.get() != 0
    }

    /// The guard of the section that the caller must be in.
    #[inline(always)]
    pub(crate) fn guard(&self) -> Result<&Guard<'static, Client>, DWORD> {
        if self.depth.get() == 0 {
            return Err(ERROR_NOT_LOCKED);
        }
        // SAFETY: the depth is not 0, so the guard is there; it is changed only by calls that this
        // borrow does not outlive.
        Ok(unsafe { &*self.guard.get().cast::<Guard<'static, Client>>() })
    }
}

impl Drop for Section {
    fn drop(&mut self) {
        self.leave_all();
    }
}

/// Everything of one thread.
pub(crate) struct Record {
    serial: u64,
    /// An `RtmxFlush` under way.
    pub(crate) flushing: RefCell<Option<Flushing<'static, Client>>>,
    /// What the reclaimer thread is at.
    pub(crate) departed: RefCell<Option<Departed<'static, Client>>>,
    /// Invocations that the thread was inside of when it got its courier.
    pub(crate) outer: Cell<usize>,
    /// Gets events for `RtmxDispatchEvents` under way, or for a thread of the pool.
    pub(crate) courier: RefCell<Option<Courier<'static, Client>>>,
    /// The queue that is dispatched. After the courier, which uses it.
    pub(crate) dispatched: RefCell<Option<Hold>>,
    /// Places for output records whose own are not aligned.
    pub(crate) scratch: Scratch,
    // After what borrows its participant.
    pub(crate) section: Section,
    /// Last: a thread of the pool is gone when it holds nothing any more.
    pub(crate) seat: Cell<Option<Seat>>,
    /// The reclaimer thread's.
    pub(crate) duty: Cell<Option<Duty>>,
}

impl Record {
    pub(crate) fn new(manager: &'static Manager) -> Result<Box<Record>, DWORD> {
        try_box(Record {
            serial: manager.serial,
            flushing: RefCell::new(None),
            departed: RefCell::new(None),
            outer: Cell::new(0),
            courier: RefCell::new(None),
            dispatched: RefCell::new(None),
            scratch: Scratch::default(),
            section: Section::new(manager)?,
            seat: Cell::new(None),
            duty: Cell::new(None),
        })
    }

    /// Ends invocations that the thread has not returned from, but for so many.
    fn end_invocations(&self, but: usize) {
        while self.scratch.depth() > but {
            self.section.participant().end_kept_invocation();
            self.scratch.ascend(self.scratch.depth() - 1);
        }
    }

    /// Whether the thread is inside an event callback.
    pub(crate) fn is_dispatching(&self) -> bool {
        self.courier.try_borrow().map_or(true, |courier| courier.is_some())
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        // Innermost first: the methods that a callback was in, its event, the methods around it.
        if self.courier.get_mut().is_some() {
            self.end_invocations(self.outer.get());
            *self.courier.get_mut() = None;
        }
        self.end_invocations(0);
    }
}

thread_local! {
    static RECORD: Cell<*const Record> = const { Cell::new(ptr::null()) };
}

/// The key plus 1, or 0 while there is none.
static KEY: AtomicU64 = AtomicU64::new(0);

/// The key, made if there is none. `None`: the process has no key left.
fn key() -> Option<libc::pthread_key_t> {
    let existing = KEY.load(Ordering::Relaxed);
    if existing != 0 {
        return Some((existing - 1) as libc::pthread_key_t);
    }
    let mut key = 0;
    // SAFETY: `key` is a place for the new key; the library is never unloaded (-z nodelete), so the
    // destructor stays.
    if unsafe { libc::pthread_key_create(&mut key, Some(destroy)) } != 0 {
        return None;
    }
    match KEY.compare_exchange(0, u64::from(key) + 1, Ordering::Relaxed, Ordering::Relaxed) {
        Ok(_) => Some(key),
        Err(winner) => {
            // SAFETY: made above, used by nobody.
            unsafe { libc::pthread_key_delete(key) };
            Some((winner - 1) as libc::pthread_key_t)
        }
    }
}

unsafe extern "C" fn destroy(record: *mut libc::c_void) {
    RECORD.set(ptr::null());
    if !crate::fork::usable() {
        // The members of a forked child's parent are not ours to touch.
        return;
    }
    // SAFETY: the key holds what `Box::into_raw` gave, and this thread's end takes it out once.
    drop(unsafe { Box::from_raw(record.cast::<Record>()) });
}

/// The calling thread's record, if it has one of this manager.
#[inline(always)]
pub(crate) fn existing(manager: &Manager) -> Option<&'static Record> {
    // SAFETY: null, or this thread's record, which only this thread frees, and not while a call of
    // the library is running.
    let record = unsafe { RECORD.get().as_ref() }?;
    (record.serial == manager.serial).then_some(record)
}

/// The calling thread's record if it is inside a section: then it is of the one manager there is.
#[inline(always)]
pub(crate) fn inside() -> Option<&'static Record> {
    // SAFETY: as in `existing`.
    unsafe { RECORD.get().as_ref() }
}

/// The calling thread's record, made if there is none.
pub(crate) fn record(manager: &'static Manager) -> Result<&'static Record, DWORD> {
    match existing(manager) {
        Some(record) => Ok(record),
        None => make(manager),
    }
}

#[cold]
fn make(manager: &'static Manager) -> Result<&'static Record, DWORD> {
    // Before the record: its failure should not cost a membership.
    key().ok_or(ERROR_NO_SYSTEM_RESOURCES)?;
    forget_mine();
    adopt(Record::new(manager)?)
}

/// Makes a record the calling thread's, which has none.
pub(crate) fn adopt(record: Box<Record>) -> Result<&'static Record, DWORD> {
    let key = key().ok_or(ERROR_NO_SYSTEM_RESOURCES)?;
    let record = Box::into_raw(record);
    // SAFETY: the key exists; it takes any pointer.
    if unsafe { libc::pthread_setspecific(key, record.cast()) } != 0 {
        // SAFETY: from the box above, seen by nobody.
        drop(unsafe { Box::from_raw(record) });
        return Err(ERROR_NOT_ENOUGH_MEMORY);
    }
    RECORD.set(record);
    // SAFETY: from the box above; freed at the thread's end or by `forget_mine`.
    Ok(unsafe { &*record })
}

/// Frees the calling thread's record.
pub(crate) fn forget_mine() {
    let record = RECORD.replace(ptr::null()).cast_mut();
    if record.is_null() {
        return;
    }
    if let Some(key) = key() {
        // SAFETY: the key exists.
        unsafe { libc::pthread_setspecific(key, ptr::null()) };
    }
    // SAFETY: made by `make`; taken out of the pointer and the key above.
    drop(unsafe { Box::from_raw(record) });
}
