//! The functions of RTMv2 about entities: queries and references.

use crate::boundary::{
    Outcome, call, call_hot, handle, optional, required, required_array, to_c, without_cancellation,
};
use crate::manager::{self, Manager};
use crate::spares::Membership;
use crate::thread;
use crate::types::*;
use rtm_core::{EntityInfo, Handle, ReferenceError, TableKey};

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
///   ERROR_INSUFFICIENT_BUFFER the capacity was too small, also if it was 0 to ask for the number (unlike
///   RtmGetEntityMethods); with a capacity above 0, that many entries are stored and referenced all the same;
///   ERROR_INVALID_HANDLE RtmRegHandle is not a live registration;
///   ERROR_INVALID_PARAMETER NumEntities NULL, or a pointer misaligned;
///   ERROR_POSSIBLE_DEADLOCK called inside a registered or deregistered event;
///   ERROR_NO_SYSTEM_RESOURCES an entity has the most references it may have;
///   ERROR_NOT_ENOUGH_MEMORY. On these five no reference is kept and NumEntities is untouched; what
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
    without_cancellation(|| {
        call(|| {
            let (manager, own, table) = caller(RtmRegHandle)?;
            required(NumEntities)?;
            optional(EntityHandles)?;
            optional(EntityInfos)?;
            not_inside_membership_event(manager)?;
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
                    match participant.reference(entity.handle()) {
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
/// Never ends a registration. Any thread. Lock-free; allocates only in a thread's first call, but needs no
/// memory: see WHEN MEMORY RUNS OUT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn RtmReleaseEntities(
    RtmRegHandle: RTM_ENTITY_HANDLE,
    NumEntities: UINT,
    EntityHandles: PRTM_ENTITY_HANDLE,
) -> DWORD {
    without_cancellation(|| {
        call(|| {
            let (manager, _, table) = caller(RtmRegHandle)?;
            required_array(EntityHandles, NumEntities)?;
            if NumEntities == 0 {
                return Ok(());
            }
            let participant = Membership::get(manager);
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
    without_cancellation(|| {
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
                    participant.reference(handle).map_err(|error| match error {
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
    })
}

/// The manager, the handle and the table of the entity that calls.
#[inline(always)]
pub(crate) fn caller(
    registration: RTM_ENTITY_HANDLE,
) -> Result<(&'static Manager, Handle, TableKey), DWORD> {
    let (manager, own) = (manager::of_handle()?, handle(registration)?);
    let info = manager.registry.registered_info(own).map_err(|_| ERROR_INVALID_HANDLE)?;
    Ok((manager, own, info.table))
}

/// Refuses a handle of another instance or family.
pub(crate) fn same_table(manager: &Manager, handle: Handle, table: TableKey) -> Outcome {
    match manager.registry.info(handle) {
        Ok(info) if info.table == table => Ok(()),
        _ => Err(ERROR_INVALID_HANDLE),
    }
}

#[inline(always)]
pub(crate) fn to_c_info(info: EntityInfo) -> RTM_ENTITY_INFO {
    RTM_ENTITY_INFO {
        RtmInstanceId: info.table.instance,
        AddressFamily: info.table.family as USHORT,
        EntityId: RTM_ENTITY_ID { EntityId: info.id },
    }
}

/// Refuses what RTMv2 forbids inside a registered or deregistered event.
pub(crate) fn not_inside_membership_event(manager: &Manager) -> Outcome {
    match thread::existing(manager) {
        Some(record) if record.section.participant().inside_membership_event() => {
            Err(ERROR_POSSIBLE_DEADLOCK)
        }
        _ => Ok(()),
    }
}
