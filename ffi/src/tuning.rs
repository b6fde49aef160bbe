//! Figures, limits, version, texts, the log function.

use crate::boundary::{Outcome, call, optional, required, set_log};
use crate::manager::{self, Manager};
use crate::thread;
use crate::types::*;
use rtm_core::Statistics;
use std::ffi::{CStr, c_char};
use std::ptr;
use std::sync::atomic::Ordering;

/// Changes whenever a program built against an older header might not run with the library.
pub const RTMX_ABI_NUMBER: UINT = 1;

/// Copies figures of this moment, each exact for itself.
///
/// @param Statistics  out: the figures. Required.
/// @param Size        in: sizeof(RTMX_STATISTICS) as the caller knows it. A library that knows fewer
///   figures fills the rest with 0.
///
/// @return NO_ERROR; ERROR_INVALID_PARAMETER Statistics NULL or misaligned, or Size 0;
///   ERROR_NOT_ENOUGH_MEMORY.
///
/// Any thread. Walks all threads' records; blocks shortly. Allocates only in a thread's first call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn RtmxGetStatistics(Statistics: PRTMX_STATISTICS, Size: UINT) -> DWORD {
    call(|| {
        required(Statistics)?;
        let figures = match manager::existing() {
            None => RTMX_STATISTICS::default(),
            Some(manager) => {
                figures(manager, thread::record(manager)?.section.participant().statistics())
            }
        };
        // SAFETY: checked above; the caller says how large its structure is.
        unsafe { copy_sized(&figures, Statistics, Size) }
    })
}

/// Core's figures with those of this library's.
pub(crate) fn figures(manager: &Manager, now: Statistics) -> RTMX_STATISTICS {
    RTMX_STATISTICS {
        Live: now.live,
        Referenced: now.referenced,
        Retired: now.retired,
        RetiredPeak: now.retired_peak,
        Reclaimed: now.reclaimed,
        Registered: now.registered,
        Deregistered: now.deregistered,
        ExhaustedSlots: now.exhausted_slots,
        Chunks: now.chunks,
        Bytes: now.bytes,
        IndexBytes: now.index_bytes,
        Tables: now.tables,
        Inside: now.inside,
        Events: now.events,
        EventsMissed: now.missed,
        Listeners: now.listeners,
        EventThreads: manager.pool.threads().into(),
        EventQueues: manager.queues.number(),
    }
}

/// Copies the limits in force.
///
/// @param Limits  out: the limits. Required.
/// @param Size    in: sizeof(RTMX_LIMITS) as the caller knows it.
///
/// @return NO_ERROR; ERROR_INVALID_PARAMETER Limits NULL or misaligned, or Size 0;
///   ERROR_NOT_ENOUGH_MEMORY.
///
/// Any thread. Blocks shortly.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn RtmxGetLimits(Limits: PRTMX_LIMITS, Size: UINT) -> DWORD {
    call(|| {
        required(Limits)?;
        let limits = in_force(manager::get()?);
        // SAFETY: checked above; the caller says how large its structure is.
        unsafe { copy_sized(&limits, Limits, Size) }
    })
}

fn in_force(manager: &Manager) -> RTMX_LIMITS {
    let now = manager.registry.limits();
    RTMX_LIMITS {
        MaxEntities: now.entities,
        MaxInstances: now.instances,
        MaxReferences: now.references,
        MaxOpaquePointers: manager.max_opaque_pointers.load(Ordering::Relaxed),
        MaxBacklog: now.backlog,
        MaxJournal: now.journal,
        IdleEventThreads: manager.pool.idle.load(Ordering::Relaxed),
        MaxEventThreads: manager.pool.most.load(Ordering::Relaxed),
    }
}

/// Replaces all limits at once. A limit below what there is stops additions and removes nothing. In
/// force until RtmxShutdown.
///
/// @param Limits  in: the limits; get them first and change what you want changed. Required.
/// @param Size    in: sizeof(RTMX_LIMITS) as the caller knows it. What an older version of the structure
///   did not have keeps its value.
///
/// @return NO_ERROR; ERROR_INVALID_PARAMETER Limits NULL or misaligned, Size that of no version of the
///   structure, MaxEntities above 2^28, MaxReferences above 2^28 - 1, MaxJournal 0
///   or above 2^23, or MaxEventThreads 0;
///   ERROR_NOT_SUPPORTED Size is larger than this library knows and what lies beyond is not 0;
///   ERROR_NOT_ENOUGH_MEMORY. On failure nothing has changed.
///
/// Any thread. Blocks shortly; allocates only in a thread's first call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn RtmxSetLimits(Limits: *const RTMX_LIMITS, Size: UINT) -> DWORD {
    call(|| {
        required(Limits)?;
        let known = size_of::<RTMX_LIMITS>();
        let given = Size as usize;
        if given != FIRST_LIMITS && given < known {
            return Err(ERROR_INVALID_PARAMETER);
        }
        for index in known..given {
            // SAFETY: the caller says that its structure is that large.
            let byte = unsafe { Limits.cast::<u8>().add(index) };
            // SAFETY: as above.
            if unsafe { byte.read() } != 0 {
                return Err(ERROR_NOT_SUPPORTED);
            }
        }
        let manager = manager::get()?;
        let mut limits = in_force(manager);
        let (from, to) = (Limits.cast::<u8>(), (&raw mut limits).cast::<u8>());
        // SAFETY: no more than the caller says it has and we have; every field takes any bits.
        unsafe { ptr::copy_nonoverlapping(from, to, given.min(known)) };
        let most = rtm_core::Limits::default();
        let too_many = limits.MaxEntities > most.entities || limits.MaxReferences > most.references;
        if too_many || !(1..=1 << 23).contains(&limits.MaxJournal) || limits.MaxEventThreads == 0 {
            return Err(ERROR_INVALID_PARAMETER);
        }
        let new = rtm_core::Limits {
            entities: limits.MaxEntities,
            instances: limits.MaxInstances,
            references: limits.MaxReferences,
            backlog: limits.MaxBacklog,
            journal: limits.MaxJournal,
        };
        thread::record(manager)?.section.participant().set_limits(new);
        manager.max_opaque_pointers.store(limits.MaxOpaquePointers, Ordering::Relaxed);
        manager.pool.idle.store(limits.IdleEventThreads, Ordering::Relaxed);
        manager.pool.most.store(limits.MaxEventThreads, Ordering::Relaxed);
        // There may be room for a thread that it waits for.
        manager.pool.rouse(manager);
        Ok(())
    })
}

/// Gives the memory of entities that have gone back to the system, for the time after a peak.
///
/// @param Bytes  out: how many; may be NULL.
///
/// @return NO_ERROR; ERROR_INVALID_PARAMETER Bytes misaligned; ERROR_NOT_ENOUGH_MEMORY: nothing was given
///   back.
///
/// Call RtmxFlush first: what waits to be cleaned up is in use. What goes is room for 64 entities at a time
/// of which none is in use, where at least half of a huge page's is vacant. A huge page that does not go
/// whole is split, and what is left in it is found more slowly, until it is mostly in use at a later call.
/// Room that another thread has at hand for its next registrations (some hundred entities) is in use.
/// Handles of before stay invalid, the room serves again when it is needed, and 16 bytes for each entity
/// that there was stay, or 24 if some had callbacks or methods. 0 bytes where memory is locked (mlockall),
/// for from such a process the system takes nothing back, and while another thread is inside this call.
///
/// Any thread. Walks over all room; blocks nobody and waits for nobody. At least half of what is vacant is
/// left to registrations all the time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn RtmxTrim(Bytes: *mut ULONGLONG) -> DWORD {
    call(|| {
        optional(Bytes)?;
        let given = match manager::existing() {
            None => 0,
            Some(manager) => (thread::record(manager)?.section.participant())
                .trim()
                .map_err(|_| ERROR_NOT_ENOUGH_MEMORY)?,
        };
        if !Bytes.is_null() {
            // SAFETY: checked above.
            unsafe { Bytes.write(given as ULONGLONG) };
        }
        Ok(())
    })
}

/// Copies `from` to a caller's structure of `size` bytes: what fits, and 0 beyond what is known.
///
/// # Safety
/// `to` leads to `size` bytes.
unsafe fn copy_sized<T>(from: &T, to: *mut T, size: UINT) -> Outcome {
    let (size, known) = (size as usize, size_of::<T>());
    if size == 0 {
        return Err(ERROR_INVALID_PARAMETER);
    }
    let from = ptr::from_ref(from).cast::<u8>();
    // SAFETY: no more than either side has.
    unsafe { ptr::copy_nonoverlapping(from, to.cast::<u8>(), size.min(known)) };
    if size > known {
        // SAFETY: the caller says that its structure is that large.
        let rest = unsafe { to.cast::<u8>().add(known) };
        // SAFETY: as above.
        unsafe { rest.write_bytes(0, size - known) };
    }
    Ok(())
}

/// The library's version.
///
/// @param Major, Minor, Patch  out: its parts; each may be NULL.
///
/// @return NO_ERROR; ERROR_INVALID_PARAMETER a pointer is misaligned.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn RtmxGetVersion(Major: PUINT, Minor: PUINT, Patch: PUINT) -> DWORD {
    call(|| {
        let parts = [
            (Major, env!("CARGO_PKG_VERSION_MAJOR")),
            (Minor, env!("CARGO_PKG_VERSION_MINOR")),
            (Patch, env!("CARGO_PKG_VERSION_PATCH")),
        ];
        for (place, _) in parts {
            optional(place)?;
        }
        for (place, text) in parts {
            if !place.is_null() {
                // SAFETY: checked above.
                unsafe { place.write(text.parse().map_err(|_| ERROR_INTERNAL_ERROR)?) };
            }
        }
        Ok(())
    })
}

/// The ABI number of the library: compare it with RTMX_ABI_NUMBER of the header.
///
/// @return the number. Works in any process and at any time, a signal handler included.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn RtmxGetAbiNumber() -> UINT {
    RTMX_ABI_NUMBER
}

/// What a code means, in one English sentence with what to do about it.
///
/// @return a text that is always there; for an unknown code one that says so. Works in any process and
///   at any time, a signal handler included.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn RtmxErrorText(Code: DWORD) -> *const c_char {
    let text: &CStr = match Code {
        NO_ERROR => c"Done.",
        ERROR_FILE_NOT_FOUND => c"Not used: this library reads no configuration file.",
        ERROR_BAD_CONFIGURATION => c"Not used: this library reads no configuration file.",
        ERROR_ACCESS_DENIED => c"The object belongs to another entity.",
        ERROR_INVALID_HANDLE => {
            c"A handle names nothing that this call accepts: stale, of another kind, table or library."
        }
        ERROR_NOT_ENOUGH_MEMORY => c"Memory could not be had; nothing has changed, try again later.",
        ERROR_INVALID_DATA => c"An entity exports at most 32 methods.",
        ERROR_NOT_SUPPORTED => c"This library does not know what was asked for.",
        ERROR_INVALID_PARAMETER => {
            c"A required pointer is NULL or misaligned, a size is too small, or a value out of range."
        }
        ERROR_INSUFFICIENT_BUFFER => c"There is more than the arrays or the buffer have room for.",
        ERROR_NOT_LOCKED => c"Not inside a read section: call RtmxEnter or RtmxReaderEnter first.",
        ERROR_BUSY => {
            c"In use: deregister and release entities, leave read sections, end dispatching first."
        }
        ERROR_ALREADY_EXISTS => {
            c"This id is registered in this instance and family: deregister it first."
        }
        ERROR_POSSIBLE_DEADLOCK => {
            c"Not here: the call would wait for this very thread (read section, client function)."
        }
        ERROR_NOT_FOUND => c"The entity exports none of the methods that were asked for.",
        ERROR_INTERNAL_ERROR => {
            c"A defect of the library was caught; RtmxSetLogFunction tells where. Please report it."
        }
        ERROR_NO_SYSTEM_RESOURCES => {
            c"A limit is reached, or a reader stays inside a section: see RTMX_LIMITS, RTMX_STATISTICS."
        }
        ERROR_INVALID_STATE => {
            c"A forked child cannot use the library that its parent has used: exec a new program."
        }
        _ => c"Not a code of this library.",
    };
    text.as_ptr()
}

/// Sets the function that is told of defects caught inside the library (they are answered with
/// ERROR_INTERNAL_ERROR). The library itself never prints anything.
///
/// @param LogFunction  in: the function, or NULL for none. It may be called by any thread, also for a
///   moment after it has been replaced.
/// @param Context      in: passed to it.
///
/// @return NO_ERROR.
///
/// Any thread. Blocks shortly; allocates nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn RtmxSetLogFunction(LogFunction: RTMX_LOG, Context: PVOID) -> DWORD {
    call(|| {
        set_log(LogFunction, Context);
        Ok(())
    })
}
