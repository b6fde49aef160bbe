//! The functions of RTMv2: registration, queries, references.

use crate::boundary::{Outcome, call, call_hot, handle, optional, required, required_array, to_c};
use crate::client::Client;
use crate::manager::{self, Manager};
use crate::thread;
use crate::types::*;
use rtm_core::{AddressFamily, DropBy, EntityInfo, Handle, ReferenceError, Refusal, TableKey};
use std::ptr;

/// Registers an entity with a routing table: the first call of every client.
///
/// @param RtmEntityInfo  in: instance, address family (AF_INET or AF_INET6) and id. Required.
/// @param ExportMethods  in: methods to export, or NULL. Copied.
/// @param EventCallback  in: event callback, or NULL.
/// @param ReserveOpaquePointer  in: TRUE reserves an opaque pointer.
/// @param RtmRegProfile  out: what the table offers. Required.
/// @param RtmRegHandle   out: the handle, never NULL. Required.
///
/// Methods and callback are checked and stored; this version does not call them yet.
///
/// @return NO_ERROR;
///   ERROR_INVALID_PARAMETER a required pointer is NULL or misaligned, or the address family is not
///   supported;
///   ERROR_INVALID_DATA more than 32 methods;
///   ERROR_ALREADY_EXISTS the id is registered in this instance and family, or is being registered or
///   deregistered just now;
///   ERROR_NO_SYSTEM_RESOURCES a limit is reached (entities, instances, opaque pointers), or too many
///   departed entities wait for a reader that stays inside or for slow cleanups: see RTMX_LIMITS;
///   ERROR_NOT_ENOUGH_MEMORY.
///   On failure nothing is registered and the outputs are untouched.
///
/// The same id may be registered once in each instance and family. Ownership: the registration is the
/// caller's until RtmDeregisterEntity. Any thread. Lock-free; may allocate.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn RtmRegisterEntity(
    RtmEntityInfo: PRTM_ENTITY_INFO,
    ExportMethods: PRTM_ENTITY_EXPORT_METHODS,
    EventCallback: RTM_EVENT_CALLBACK,
    ReserveOpaquePointer: BOOL,
    RtmRegProfile: PRTM_REGN_PROFILE,
    RtmRegHandle: PRTM_ENTITY_HANDLE,
) -> DWORD {
    let (none, profile, handle) = (ptr::null_mut(), RtmRegProfile, RtmRegHandle);
    // SAFETY: the caller's pointers, as the header asks for.
    unsafe {
        RtmxRegisterEntity(
            RtmEntityInfo,
            ExportMethods,
            EventCallback,
            ReserveOpaquePointer,
            none,
            None,
            profile,
            handle,
        )
    }
}

/// As RtmRegisterEntity, with a context pointer that others look up by the entity's handle, and an
/// optional cleanup function for it.
///
/// @param Context  in: any pointer; found by RtmxGetContext until deregistration takes effect.
/// @param Cleanup  in: called exactly once with Context after the entity has been deregistered and the
///   last read section that could hold the pointer has been left; NULL for none.
///
/// Cleanup runs on the library's reclaimer thread ("rtm-reclaimer", started by the first registration
/// that has a cleanup function, all signals blocked) or inside RtmxFlush; with no lock of the library
/// held, never inside another client's call, never in a forked child. None is started any more once
/// exit() has come to the library's exit handler (set by the first such registration), unless it is
/// flushed or shut down: an application whose contexts depend on global objects calls RtmxFlush before
/// it exits. It must return, may call anything but the waiting functions (which answer
/// ERROR_POSSIBLE_DEADLOCK there), and may register and deregister entities.
///
/// @return as RtmRegisterEntity; ERROR_NO_SYSTEM_RESOURCES also if the reclaimer thread cannot be
///   started. If registration fails, Cleanup is not called: Context stays the caller's.
///
/// Any thread. Lock-free but for the start of the reclaimer thread; may allocate.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn RtmxRegisterEntity(
    RtmEntityInfo: PRTM_ENTITY_INFO,
    ExportMethods: PRTM_ENTITY_EXPORT_METHODS,
    EventCallback: RTM_EVENT_CALLBACK,
    ReserveOpaquePointer: BOOL,
    Context: PVOID,
    Cleanup: RTMX_CLEANUP,
    RtmRegProfile: PRTM_REGN_PROFILE,
    RtmRegHandle: PRTM_ENTITY_HANDLE,
) -> DWORD {
    let request = Request {
        info: RtmEntityInfo,
        methods: ExportMethods,
        callback: EventCallback,
        opaque: ReserveOpaquePointer != 0,
        context: Context,
        cleanup: Cleanup,
        profile: RtmRegProfile,
        handle: RtmRegHandle,
    };
    // SAFETY: the caller's pointers, as the header asks for.
    call(|| unsafe { register(&request) })
}

/// The arguments of a registration.
struct Request {
    info: PRTM_ENTITY_INFO,
    methods: PRTM_ENTITY_EXPORT_METHODS,
    callback: RTM_EVENT_CALLBACK,
    opaque: bool,
    context: PVOID,
    cleanup: RTMX_CLEANUP,
    profile: PRTM_REGN_PROFILE,
    handle: PRTM_ENTITY_HANDLE,
}

/// # Safety
/// Each pointer is NULL or leads to what its type says.
unsafe fn register(request: &Request) -> Outcome {
    required(request.info)?;
    required(request.profile)?;
    required(request.handle)?;
    optional(request.methods)?;
    // SAFETY: not NULL, aligned; the rest is the caller's.
    let info = unsafe { request.info.read() };
    let family = AddressFamily::from_number(info.AddressFamily).ok_or(ERROR_INVALID_PARAMETER)?;
    // SAFETY: NULL or aligned; the rest is the caller's.
    let methods = unsafe { copy_methods(request.methods) }?;
    let manager = manager::get()?;
    if request.cleanup.is_some() {
        manager.reclaimer.start(manager)?;
    }
    if request.opaque {
        manager.reserve_opaque()?;
    }
    let client =
        Client::new(request.context, request.cleanup, methods, request.callback, request.opaque);
    let table = TableKey { instance: info.RtmInstanceId, family };
    let info = EntityInfo { table, id: info.EntityId.EntityId };
    let drop_by = if request.cleanup.is_some() { DropBy::Collectors } else { DropBy::Writers };
    let handle = thread::record(manager).and_then(|record| {
        let participant = record.section.participant();
        participant.register_handle(info, client, drop_by).map_err(|error| code(error.refusal))
    });
    let handle = match handle {
        Ok(handle) => handle,
        Err(code) => {
            if request.opaque {
                manager.release_opaque();
            }
            return Err(code);
        }
    };
    let profile = manager.registry.profile();
    let profile = RTM_REGN_PROFILE {
        MaxNextHopsInRoute: profile.max_next_hops_in_route,
        MaxHandlesInEnum: profile.max_handles_in_enum,
        ViewsSupported: profile.views,
        NumberOfViews: profile.views.count_ones(),
    };
    // SAFETY: checked above.
    unsafe { request.profile.write(profile) };
    // SAFETY: checked above.
    unsafe { request.handle.write(to_c(handle)) };
    Ok(())
}

fn code(refusal: Refusal) -> DWORD {
    match refusal {
        Refusal::AlreadyExists => ERROR_ALREADY_EXISTS,
        Refusal::OutOfMemory => ERROR_NOT_ENOUGH_MEMORY,
        _ => ERROR_NO_SYSTEM_RESOURCES,
    }
}

/// # Safety
/// `methods` is NULL, or aligned and leads to a table of as many entries as it says.
unsafe fn copy_methods(
    methods: PRTM_ENTITY_EXPORT_METHODS,
) -> Result<Option<Box<[RTM_ENTITY_EXPORT_METHOD]>>, DWORD> {
    if methods.is_null() {
        return Ok(None);
    }
    // SAFETY: not NULL, aligned; the rest is the caller's.
    let count = unsafe { (*methods).NumMethods };
    if count > MAX_METHODS {
        return Err(ERROR_INVALID_DATA);
    }
    let mut copy = Vec::new();
    copy.try_reserve_exact(count as usize).map_err(|_| ERROR_NOT_ENOUGH_MEMORY)?;
    // SAFETY: a field of the caller's structure.
    let first = unsafe { (&raw const (*methods).Methods).cast::<RTM_ENTITY_EXPORT_METHOD>() };
    for index in 0..count as usize {
        // SAFETY: the caller says that there are `count` entries.
        let entry = unsafe { first.add(index) };
        // SAFETY: as above.
        copy.push(unsafe { entry.read() });
    }
    Ok((count != 0).then(|| copy.into_boxed_slice()))
}

/// Ends a registration. Its handle is dead for ever.
///
/// When it returns, no look-up finds the entity or its context any more, and its id is free. What
/// other threads hold inside their read sections they keep until they leave. A context with a cleanup
/// function is cleaned up later: call RtmxFlush before you free or unload what it needs. References
/// that others hold keep the handle describable (RtmGetEntityInfo) and nothing else.
///
/// @return NO_ERROR; ERROR_INVALID_HANDLE not a live registration: stale, forged, of another kind, or
///   another thread deregisters it just now and wins; ERROR_NOT_ENOUGH_MEMORY (only in a thread's first
///   call, then nothing has changed).
///
/// Any thread, also inside a read section and inside a cleanup function. Lock-free, never waits.
/// Allocates only in a thread's first call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn RtmDeregisterEntity(RtmRegHandle: RTM_ENTITY_HANDLE) -> DWORD {
    call(|| {
        let (manager, handle) = (manager::of_handle()?, handle(RtmRegHandle)?);
        // Before the record: a thread's first call with a bad handle makes none.
        manager.registry.registered_info(handle).map_err(|_| ERROR_INVALID_HANDLE)?;
        let participant = thread::record(manager)?.section.participant();
        let (opaque, cleanup) = {
            let guard = participant.enter();
            let client = guard.get(handle).map_err(|_| ERROR_INVALID_HANDLE)?;
            (client.reserves_opaque, client.cleanup.is_some())
        };
        participant.deregister(handle).map_err(|_| ERROR_INVALID_HANDLE)?;
        if opaque {
            manager.release_opaque();
        }
        if cleanup {
            manager.reclaimer.wake();
        }
        Ok(())
    })
}

/// Lists the entities registered with the caller's instance and family, the caller included.
///
/// @param RtmRegHandle   in: the caller's registration.
/// @param NumEntities    in: capacity of the arrays; out: entries stored, or, if the capacity was 0,
///   how many there are. Required.
/// @param EntityHandles  out: handles, each with one reference that the caller gives back with
///   RtmReleaseEntities; or NULL.
/// @param EntityInfos    out: information, parallel to EntityHandles; or NULL.
///
/// @return NO_ERROR everything fitted;
///   ERROR_INSUFFICIENT_BUFFER the capacity was too small; with a capacity above 0, that many entries
///   are stored and referenced all the same;
///   ERROR_INVALID_HANDLE RtmRegHandle is not a live registration;
///   ERROR_INVALID_PARAMETER NumEntities NULL, or a pointer misaligned;
///   ERROR_NO_SYSTEM_RESOURCES an entity has the most references it may have;
///   ERROR_NOT_ENOUGH_MEMORY. On these four no reference is kept and NumEntities is untouched; what
///   stands in the arrays then means nothing.
///
/// Shows, once each and in no particular order, every entity that was registered before the call and
/// is not deregistered during it. Any thread. Lock-free; allocates only in a thread's first call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn RtmGetRegisteredEntities(
    RtmRegHandle: RTM_ENTITY_HANDLE,
    NumEntities: PUINT,
    EntityHandles: PRTM_ENTITY_HANDLE,
    EntityInfos: PRTM_ENTITY_INFO,
) -> DWORD {
    call(|| {
        let (manager, own, table) = caller(RtmRegHandle)?;
        required(NumEntities)?;
        optional(EntityHandles)?;
        optional(EntityInfos)?;
        // SAFETY: checked above.
        let capacity = unsafe { NumEntities.read() };
        let participant = thread::record(manager)?.section.participant();
        let guard = participant.enter();
        let (mut stored, mut more) = (0, false);
        let mut failure = None;
        for entity in guard.entities(table) {
            if stored == capacity && capacity != 0 {
                more = true;
                break;
            }
            if capacity != 0 && !EntityHandles.is_null() {
                match manager.registry.reference(entity.handle()) {
                    // Gone since the walk saw it.
                    Err(ReferenceError::InvalidHandle) => continue,
                    Err(ReferenceError::Limit) => {
                        failure = Some(ERROR_NO_SYSTEM_RESOURCES);
                        break;
                    }
                    Ok(()) => {}
                }
                // SAFETY: below the capacity that the caller gives.
                let place = unsafe { EntityHandles.add(stored as usize) };
                // SAFETY: as above.
                unsafe { place.write(to_c(entity.handle())) };
            }
            if capacity != 0 && !EntityInfos.is_null() {
                // SAFETY: below the capacity that the caller gives.
                let place = unsafe { EntityInfos.add(stored as usize) };
                // SAFETY: as above.
                unsafe { place.write(to_c_info(entity.info())) };
            }
            stored += 1;
        }
        // References were published: the caller must still have been registered then.
        if failure.is_none() && manager.registry.registered_info(own).is_err() {
            failure = Some(ERROR_INVALID_HANDLE);
        }
        if let Some(code) = failure {
            if !EntityHandles.is_null() && capacity != 0 {
                for index in 0..stored as usize {
                    // SAFETY: written above.
                    let place = unsafe { EntityHandles.add(index) };
                    // SAFETY: written above.
                    let taken = handle(unsafe { place.read() })?;
                    let _ = participant.release(taken);
                }
            }
            return Err(code);
        }
        // SAFETY: checked above.
        unsafe { NumEntities.write(stored) };
        if more || (capacity == 0 && stored != 0) {
            return Err(ERROR_INSUFFICIENT_BUFFER);
        }
        Ok(())
    })
}

/// Gives references on entities back.
///
/// @param RtmRegHandle   in: the caller's registration.
/// @param NumEntities    in: number of handles, may be 0.
/// @param EntityHandles  in: the handles; may be NULL if there are none. Not written.
///
/// @return NO_ERROR;
///   ERROR_INVALID_HANDLE RtmRegHandle is not a live registration (then nothing is released), or an
///   element is bad, of another table or has no reference (then the others are released);
///   ERROR_INVALID_PARAMETER NULL or misaligned array with a count above 0.
///
/// Never ends a registration. Any thread. Lock-free; allocates only in a thread's first call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn RtmReleaseEntities(
    RtmRegHandle: RTM_ENTITY_HANDLE,
    NumEntities: UINT,
    EntityHandles: PRTM_ENTITY_HANDLE,
) -> DWORD {
    call(|| {
        let (manager, _, table) = caller(RtmRegHandle)?;
        required_array(EntityHandles, NumEntities)?;
        if NumEntities == 0 {
            return Ok(());
        }
        let participant = thread::record(manager)?.section.participant();
        let mut outcome = Ok(());
        for index in 0..NumEntities as usize {
            // SAFETY: the caller says that there are as many.
            let place = unsafe { EntityHandles.add(index) };
            // SAFETY: as above.
            let element = handle(unsafe { place.read() });
            let released = element.and_then(|handle| {
                same_table(manager, handle, table)?;
                participant.release(handle).map_err(|_| ERROR_INVALID_HANDLE)
            });
            if released.is_err() {
                outcome = Err(ERROR_INVALID_HANDLE);
            }
        }
        outcome
    })
}

/// Describes an entity.
///
/// @param RtmRegHandle  in: the caller's registration.
/// @param EntityHandle  in: the entity, of the same table; may be the caller itself. Also one that
///   has been deregistered and is still referenced.
/// @param EntityInfo    out: its information. Required.
///
/// @return NO_ERROR; ERROR_INVALID_HANDLE a handle is bad; ERROR_INVALID_PARAMETER EntityInfo NULL or
///   misaligned.
///
/// Takes no reference. Any thread, inside a section, a callback, a cleanup or a SIGNAL HANDLER: it uses
/// no guard, no thread-local data, no memory and no lock, and never retries (an entity that changes
/// under it reads as invalid). Wait-free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn RtmGetEntityInfo(
    RtmRegHandle: RTM_ENTITY_HANDLE,
    EntityHandle: RTM_ENTITY_HANDLE,
    EntityInfo: PRTM_ENTITY_INFO,
) -> DWORD {
    call_hot(|| {
        let (manager, _, table) = caller(RtmRegHandle)?;
        required(EntityInfo)?;
        let info =
            manager.registry.info(handle(EntityHandle)?).map_err(|_| ERROR_INVALID_HANDLE)?;
        if info.table != table {
            return Err(ERROR_INVALID_HANDLE);
        }
        // SAFETY: checked above.
        unsafe { EntityInfo.write(to_c_info(info)) };
        Ok(())
    })
}

/// Gives a structure from RtmGetEntityInfo back. It holds no handle, so nothing happens; call it for
/// symmetry, once, twice or never.
///
/// @return NO_ERROR; ERROR_INVALID_HANDLE RtmRegHandle is not a live registration;
///   ERROR_INVALID_PARAMETER EntityInfo NULL or misaligned. The structure is not looked at.
///
/// Any thread, also a signal handler. Wait-free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn RtmReleaseEntityInfo(
    RtmRegHandle: RTM_ENTITY_HANDLE,
    EntityInfo: PRTM_ENTITY_INFO,
) -> DWORD {
    call_hot(|| {
        caller(RtmRegHandle)?;
        required(EntityInfo)
    })
}

/// Takes one more reference on each object: all of them or, on failure, none.
///
/// @param RtmRegHandle  in: the caller's registration.
/// @param NumHandles    in: number of handles, may be 0. A handle listed twice gets two references.
/// @param RtmHandles    in: handles of counted objects of the caller's table (entities, in this
///   version); may be NULL if there are none.
///
/// @return NO_ERROR; ERROR_INVALID_HANDLE a handle is bad; ERROR_INVALID_PARAMETER NULL or misaligned
///   array with a count above 0; ERROR_NO_SYSTEM_RESOURCES an object has the most references it may
///   have (RTMX_LIMITS).
///
/// Give them back with the release call of the object's kind (RtmReleaseEntities). Works on a
/// deregistered entity that is still referenced. Any thread. Lock-free; allocates only in a thread's
/// first call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn RtmReferenceHandles(
    RtmRegHandle: RTM_ENTITY_HANDLE,
    NumHandles: UINT,
    RtmHandles: *mut HANDLE,
) -> DWORD {
    call(|| {
        let (manager, own, table) = caller(RtmRegHandle)?;
        required_array(RtmHandles, NumHandles)?;
        if NumHandles == 0 {
            return Ok(());
        }
        let participant = thread::record(manager)?.section.participant();
        let element = |index: usize| {
            // SAFETY: the caller says that there are as many.
            let place = unsafe { RtmHandles.add(index) };
            // SAFETY: as above.
            handle(unsafe { place.read() })
        };
        let mut outcome = Ok(());
        let mut taken = 0;
        for index in 0..NumHandles as usize {
            outcome = element(index).and_then(|handle| {
                same_table(manager, handle, table)?;
                manager.registry.reference(handle).map_err(|error| match error {
                    ReferenceError::InvalidHandle => ERROR_INVALID_HANDLE,
                    ReferenceError::Limit => ERROR_NO_SYSTEM_RESOURCES,
                })
            });
            if outcome.is_err() {
                break;
            }
            taken += 1;
        }
        // References were published: the caller must still have been registered then.
        if outcome.is_ok() && manager.registry.registered_info(own).is_err() {
            outcome = Err(ERROR_INVALID_HANDLE);
        }
        if outcome.is_err() {
            for index in 0..taken {
                let _ = participant.release(element(index)?);
            }
        }
        outcome
    })
}

/// The manager, the handle and the table of the entity that calls.
#[inline(always)]
fn caller(registration: RTM_ENTITY_HANDLE) -> Result<(&'static Manager, Handle, TableKey), DWORD> {
    let (manager, own) = (manager::of_handle()?, handle(registration)?);
    let info = manager.registry.registered_info(own).map_err(|_| ERROR_INVALID_HANDLE)?;
    Ok((manager, own, info.table))
}

/// Refuses a handle of another instance or family.
fn same_table(manager: &Manager, handle: Handle, table: TableKey) -> Outcome {
    match manager.registry.info(handle) {
        Ok(info) if info.table == table => Ok(()),
        _ => Err(ERROR_INVALID_HANDLE),
    }
}

#[inline(always)]
fn to_c_info(info: EntityInfo) -> RTM_ENTITY_INFO {
    RTM_ENTITY_INFO {
        RtmInstanceId: info.table.instance,
        AddressFamily: info.table.family as USHORT,
        EntityId: RTM_ENTITY_ID { EntityId: info.id },
    }
}
