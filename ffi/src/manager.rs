//! The process-wide registry: made by the first call that needs it, given back by `RtmxShutdown`.

use crate::boundary::{silence_panics, try_box, without_cancellation};
use crate::client::Client;
use crate::events::Queues;
use crate::fork;
use crate::pool::Pool;
use crate::reading::Readers;
use crate::reclaimer::Reclaimer;
use crate::reserve;
use crate::spares::Spares;
use crate::types::*;
use rtm_core::{OutOfMemory, Registry, Settings};
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};

/// Opaque pointers unless `RtmxSetLimits` says otherwise.
const DEFAULT_OPAQUE_POINTERS: u32 = 1024;

pub(crate) struct Manager {
    /// Told apart from every other manager of the process.
    pub(crate) serial: u64,
    // Before the registry, which their sections borrow.
    pub(crate) readers: Readers,
    pub(crate) spares: Spares,
    pub(crate) registry: Registry<Client>,
    pub(crate) reclaimer: Reclaimer,
    pub(crate) queues: Queues,
    pub(crate) pool: Pool,
    pub(crate) opaque_pointers: AtomicU32,
    pub(crate) max_opaque_pointers: AtomicU32,
}

static MANAGER: AtomicPtr<Manager> = AtomicPtr::new(ptr::null_mut());
static SERIALS: AtomicU64 = AtomicU64::new(1);

/// The manager, if there is one.
///
/// It lives until `RtmxShutdown`, during which the application runs no other call: hence 'static.
#[inline(always)]
pub(crate) fn existing() -> Option<&'static Manager> {
    // Acquire: pairs with the exchange in `create`.
    // SAFETY: null, or a manager that is freed only by `take`.
    unsafe { MANAGER.load(Ordering::Acquire).as_ref() }
}

/// The manager for a call that has been given a handle: without a manager there are none.
#[inline(always)]
pub(crate) fn of_handle() -> Result<&'static Manager, DWORD> {
    existing().ok_or(ERROR_INVALID_HANDLE)
}

/// The manager, made if there is none.
pub(crate) fn get() -> Result<&'static Manager, DWORD> {
    match existing() {
        Some(manager) => Ok(manager),
        None => without_cancellation(create),
    }
}

#[cold]
fn create() -> Result<&'static Manager, DWORD> {
    reserve::begin()?;
    silence_panics()?;
    if !fork::arm() {
        return Err(ERROR_NOT_ENOUGH_MEMORY);
    }
    let registry = Registry::new(Settings::default());
    let manager = Box::into_raw(try_box(Manager {
        serial: SERIALS.fetch_add(1, Ordering::Relaxed),
        registry: registry.map_err(|OutOfMemory| ERROR_NOT_ENOUGH_MEMORY)?,
        readers: Readers::default(),
        spares: Spares::default(),
        reclaimer: Reclaimer::default(),
        queues: Queues::default(),
        pool: Pool::default(),
        opaque_pointers: AtomicU32::new(0),
        max_opaque_pointers: AtomicU32::new(DEFAULT_OPAQUE_POINTERS),
    })?);
    // Release: partner is `existing`. Acquire on failure: the winner's manager is used.
    match MANAGER.compare_exchange(ptr::null_mut(), manager, Ordering::Release, Ordering::Acquire) {
        // SAFETY: made above; freed only by `take`.
        Ok(_) => Ok(unsafe { &*manager }),
        Err(winner) => {
            // SAFETY: made above, seen by nobody.
            drop(unsafe { Box::from_raw(manager) });
            // SAFETY: as in `existing`.
            Ok(unsafe { &*winner })
        }
    }
}

/// Takes the manager away and frees it.
///
/// # Safety
/// No other thread is in a call of the library, and nobody uses what it has got from it.
pub(crate) unsafe fn take(manager: &'static Manager) {
    MANAGER.store(ptr::null_mut(), Ordering::Relaxed);
    // SAFETY: made from a box by `create`; the caller promises that it is the last user.
    drop(unsafe { Box::from_raw(ptr::from_ref(manager).cast_mut()) });
    reserve::finish();
}

impl Manager {
    /// Reserves an opaque pointer if one is left.
    pub(crate) fn reserve_opaque(&self) -> Result<(), DWORD> {
        let most = self.max_opaque_pointers.load(Ordering::Relaxed);
        self.opaque_pointers
            .try_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                (used < most).then_some(used + 1)
            })
            .map(drop)
            .map_err(|_| ERROR_NO_SYSTEM_RESOURCES)
    }

    pub(crate) fn release_opaque(&self) {
        self.opaque_pointers.fetch_sub(1, Ordering::Relaxed);
    }
}
