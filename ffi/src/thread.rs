//! One record for each thread that has used the library: its membership and what it is inside of.
//!
//! *Roles.* The thread itself, and at its end the destructor of a pthread key.
//! *Paths.* A thread-local pointer leads to the record; it has no destructor of its own, so it can be
//! read at any moment of a thread's life. The record hangs on a pthread key, whose destructor runs
//! after those of C++ and Rust thread-locals, frees the record and clears the pointer. A call from a
//! destructor of another key that runs later makes a new record, and pthread runs ours again.
//! *Shutdown.* A record belongs to the manager with its serial number. Found to be of an earlier one,
//! it is made anew; that it held nothing of that manager is what `RtmxShutdown` made sure of.

use crate::client::Client;
use crate::manager::Manager;
use crate::types::*;
use rtm_core::{Flushing, Guard, OutOfMemory, Participant};
use std::cell::{Cell, RefCell};
use std::ptr;
use std::sync::OnceLock;

/// A read section on some member: nested calls count, the outermost holds the guard.
pub(crate) struct Section {
    guard: RefCell<Option<Guard<'static, Client>>>,
    depth: Cell<u32>,
    // After the guard, which borrows it.
    participant: Box<Participant<'static, Client>>,
}

impl Section {
    pub(crate) fn new(manager: &'static Manager) -> Result<Section, OutOfMemory> {
        let participant = manager.registry.join()?;
        let (guard, depth) = (RefCell::new(None), Cell::new(0));
        Ok(Section { guard, depth, participant: Box::new(participant) })
    }

    /// The membership.
    #[inline(always)]
    pub(crate) fn participant(&self) -> &'static Participant<'static, Client> {
        // SAFETY: boxed, so it does not move, and dropped after everything that borrows it: the
        // guard beside it and the flush of the record, both of which are dropped before.
        unsafe { &*ptr::from_ref(&*self.participant) }
    }

    #[inline(always)]
    pub(crate) fn enter(&self) {
        let depth = self.depth.get();
        if depth == 0 {
            *self.guard.borrow_mut() = Some(self.participant().enter());
        }
        self.depth.set(depth + 1);
    }

    #[inline(always)]
    pub(crate) fn leave(&self) -> Result<(), DWORD> {
        let depth = self.depth.get().checked_sub(1).ok_or(ERROR_NOT_LOCKED)?;
        self.depth.set(depth);
        if depth == 0 {
            *self.guard.borrow_mut() = None;
        }
        Ok(())
    }

    #[inline(always)]
    pub(crate) fn quiesce(&self) -> Result<(), DWORD> {
        match (self.depth.get(), &mut *self.guard.borrow_mut()) {
            (1, Some(guard)) => guard.refresh(),
            (0, _) | (_, None) => return Err(ERROR_NOT_LOCKED),
            _ => return Err(ERROR_POSSIBLE_DEADLOCK),
        }
        Ok(())
    }

    pub(crate) fn is_inside(&self) -> bool {
        self.depth.get() != 0
    }

    /// Runs `f` with the guard of the section that the caller must be in.
    #[inline(always)]
    pub(crate) fn with<R>(
        &self,
        f: impl FnOnce(&Guard<'static, Client>) -> Result<R, DWORD>,
    ) -> Result<R, DWORD> {
        match &*self.guard.borrow() {
            Some(guard) => f(guard),
            None => Err(ERROR_NOT_LOCKED),
        }
    }
}

/// Everything of one thread.
pub(crate) struct Record {
    serial: u64,
    /// An `RtmxFlush` under way.
    pub(crate) flushing: RefCell<Option<Flushing<'static, Client>>>,
    // After the flush, which borrows its participant.
    pub(crate) section: Section,
}

thread_local! {
    static RECORD: Cell<*const Record> = const { Cell::new(ptr::null()) };
}

static KEY: OnceLock<Option<libc::pthread_key_t>> = OnceLock::new();

fn key() -> Option<libc::pthread_key_t> {
    *KEY.get_or_init(|| {
        let mut key = 0;
        // SAFETY: `key` is a place for the new key; the library is never unloaded (-z nodelete), so
        // the destructor stays.
        let failed = unsafe { libc::pthread_key_create(&mut key, Some(destroy)) };
        (failed == 0).then_some(key)
    })
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
    let key = key().ok_or(ERROR_NO_SYSTEM_RESOURCES)?;
    forget_mine();
    let section = Section::new(manager).map_err(|OutOfMemory| ERROR_NOT_ENOUGH_MEMORY)?;
    let record = Record { serial: manager.serial, flushing: RefCell::new(None), section };
    let record = Box::into_raw(Box::new(record));
    // SAFETY: the key exists; it takes any pointer.
    if unsafe { libc::pthread_setspecific(key, record.cast()) } != 0 {
        // SAFETY: made above, seen by nobody.
        drop(unsafe { Box::from_raw(record) });
        return Err(ERROR_NOT_ENOUGH_MEMORY);
    }
    RECORD.set(record);
    // SAFETY: made above; freed at the thread's end or by `forget_mine`.
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
