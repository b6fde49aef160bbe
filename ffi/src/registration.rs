//! Registering and deregistering.
//!
//! *Registration*, in order: checks; the threads that it needs; the opaque pointer; the core's registration,
//! with which the entity is there; the caller's outputs; its events. Whatever fails undoes what was before it,
//! but that threads stay.

use crate::boundary::{Outcome, call, handle, optional, required, to_c, without_cancellation};
use crate::client::Client;
use crate::entities::not_inside_membership_event;
use crate::events::User;
use crate::manager::{self, Manager};
use crate::reserve;
use crate::spares::Membership;
use crate::thread;
use crate::types::*;
use rtm_core::{
    AddressFamily, ClientCode, DeregisterError, DropBy, EntityInfo, Handle, Participant, Refusal,
    TableKey,
};
use std::ptr;

/// Registers an entity with a routing table: the first call of every client.
///
/// @param RtmEntityInfo  in: instance, address family (AF_INET or AF_INET6) and id. Required.
/// @param ExportMethods  in: methods to export, or NULL. Copied.
/// @param EventCallback  in: called when other entities of the table come and go, see EVENTS; NULL for no
///   events. Runs on threads of the library's.
/// @param ReserveOpaquePointer  in: TRUE reserves an opaque pointer.
/// @param RtmRegProfile  out: what the table offers. Required.
/// @param RtmRegHandle   out: the handle, never NULL. Required. Both outputs are written before the
///   callback can be called.
///
/// @return NO_ERROR;
///   ERROR_INVALID_PARAMETER a required pointer is NULL or misaligned, or the address family is not
///   supported;
///   ERROR_INVALID_DATA more than 32 methods;
///   ERROR_ALREADY_EXISTS the id is registered in this instance and family, or is being registered or
///   deregistered just now;
///   ERROR_NO_SYSTEM_RESOURCES a limit is reached (entities, instances, opaque pointers), or too many
///   departed entities wait for a reader that stays inside or for slow cleanups: see RTMX_LIMITS; or a
///   thread for the callback cannot be started;
///   ERROR_POSSIBLE_DEADLOCK called inside a registered or deregistered event;
///   ERROR_NOT_ENOUGH_MEMORY.
///   On failure nothing is registered and the outputs are untouched.
///
/// The same id may be registered once in each instance and family. Ownership: the registration is the
/// caller's until RtmDeregisterEntity. Who was there before is not told as an event: see
/// RtmGetRegisteredEntities. Any thread. Lock-free but for the start of threads, which the first
/// callback needs; may allocate. Allowed in a section, a method, a cleanup, and in a callback that tells of
/// RTMX_EVENTS_MISSED.
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
            none,
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
/// @param EventQueue  in: the queue that EventCallback is called from (RtmxDispatchEvents); NULL: the
///   library's threads call it. Looked at, and not used, if EventCallback is NULL.
///
/// Cleanup runs on the library's reclaimer thread ("rtm-reclaimer", started by the first registration
/// that has a cleanup function, all signals blocked) or inside RtmxFlush; with no lock of the library
/// held, never inside another client's call, never in a forked child. None is started any more once
/// exit() has come to the library's exit handler (set by the first such registration), unless it is
/// flushed or shut down: an application whose contexts depend on global objects calls RtmxFlush before
/// it exits. It must return, may call anything but the waiting functions (which answer
/// ERROR_POSSIBLE_DEADLOCK there), and may register and deregister entities.
///
/// @return as RtmRegisterEntity; ERROR_INVALID_HANDLE EventQueue is not NULL and not a queue;
///   ERROR_NO_SYSTEM_RESOURCES also if the reclaimer thread cannot be started. If registration fails,
///   Cleanup is not called: Context stays the caller's.
///
/// Any thread. Lock-free but for the start of threads and finding the queue; may allocate. Allowed as
/// RtmRegisterEntity.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn RtmxRegisterEntity(
    RtmEntityInfo: PRTM_ENTITY_INFO,
    ExportMethods: PRTM_ENTITY_EXPORT_METHODS,
    EventCallback: RTM_EVENT_CALLBACK,
    ReserveOpaquePointer: BOOL,
    Context: PVOID,
    Cleanup: RTMX_CLEANUP,
    EventQueue: RTMX_QUEUE_HANDLE,
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
        queue: EventQueue,
        profile: RtmRegProfile,
        handle: RtmRegHandle,
    };
    // SAFETY: the caller's pointers, as the header asks for.
    without_cancellation(|| call(|| unsafe { register(&request) }))
}

/// The arguments of a registration.
struct Request {
    info: PRTM_ENTITY_INFO,
    methods: PRTM_ENTITY_EXPORT_METHODS,
    callback: RTM_EVENT_CALLBACK,
    opaque: bool,
    context: PVOID,
    cleanup: RTMX_CLEANUP,
    queue: RTMX_QUEUE_HANDLE,
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
    let hold = match request.queue.is_null() {
        true => None,
        false => Some(manager::of_handle()?.queues.hold(request.queue)?),
    };
    let manager = manager::get()?;
    not_inside_membership_event(manager)?;
    reserve::top_up()?;
    manager.spares.make(manager)?;
    let queue = match (request.callback, &hold) {
        (None, _) => None,
        (Some(_), Some(hold)) => {
            manager.pool.start_herald(manager)?;
            Some(&hold.queue)
        }
        (Some(_), None) => {
            manager.pool.start_threads(manager)?;
            manager.pool.queue()
        }
    };
    if request.cleanup.is_some() {
        manager.reclaimer.start(manager)?;
    }
    let code = ClientCode {
        methods: methods.iter().flatten().any(Option::is_some),
        events: queue.cloned(),
    };
    let user = hold.filter(|_| request.callback.is_some()).map(User::new).transpose()?;
    if request.opaque {
        manager.reserve_opaque()?;
    }
    let client = Client::new(
        request.context,
        request.cleanup,
        methods,
        request.callback,
        request.opaque,
        user,
    );
    let table = TableKey { instance: info.RtmInstanceId, family };
    let info = EntityInfo { table, id: info.EntityId.EntityId };
    let drop_by = if request.cleanup.is_some() { DropBy::Collectors } else { DropBy::Writers };
    let registered = thread::record(manager).and_then(|record| {
        let participant = record.section.participant();
        let registered = participant.register_client(info, client, drop_by, code);
        Ok((registered.map_err(|error| refused(error.refusal))?, participant))
    });
    let (handle, participant) = match registered {
        Ok(registered) => registered,
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
    // From here on the callback may run.
    participant.start_events(handle);
    if request.callback.is_some() {
        manager.pool.see_to(manager);
    }
    Ok(())
}

fn refused(refusal: Refusal) -> DWORD {
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
/// First the entity is taken out: no look-up finds it any more, and calls that wait for its methods to be
/// resumed fail. Then the call waits for the entity's methods and its callback, if any of them is running,
/// and returns when none of them runs or ever will; called from its own callback (where that is allowed,
/// see EVENTS), it waits for all but that one. API calls and read sections are not waited for.
///
/// When it returns, no look-up finds the entity or its context any more, and its id is free. What
/// other threads hold inside their read sections they keep until they leave. A context with a cleanup
/// function is cleaned up later: call RtmxFlush before you free or unload what it needs. References
/// that others hold keep the handle describable (RtmGetEntityInfo) and nothing else.
///
/// @return NO_ERROR; ERROR_INVALID_HANDLE not a live registration: stale, forged, of another kind, or
///   another thread deregisters it just now and wins (and waits; this call does not);
///   ERROR_POSSIBLE_DEADLOCK called inside a registered or deregistered event; from one of the entity's
///   own methods; inside a read section, if the entity has a callback or methods; or where waiting would
///   close a circle of threads that wait for client code (two methods that deregister each other's
///   entities: one of them is refused): nothing has changed, see RtmxDeregisterEntityLater.
///
/// Do not hold a lock that the entity's callback or methods may be waiting for. Any thread, also inside a
/// cleanup function. Lock-free if the entity has neither callback nor methods; else it blocks while one of
/// them is running. Allocates, but needs no memory: see WHEN MEMORY RUNS OUT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn RtmDeregisterEntity(RtmRegHandle: RTM_ENTITY_HANDLE) -> DWORD {
    without_cancellation(|| {
        call(|| {
            deregister(
                RtmRegHandle,
                |manager, participant, handle| {
                    not_inside_membership_event(manager)?;
                    participant.deregister(handle).map_err(|error| match error {
                        DeregisterError::InvalidHandle => ERROR_INVALID_HANDLE,
                        DeregisterError::WouldDeadlock => ERROR_POSSIBLE_DEADLOCK,
                    })
                },
                true,
            )
        })
    })
}

/// As RtmDeregisterEntity, but never waits: the entity is taken out, and the rest follows when its last
/// running method and its callback have returned. What an entity calls to end itself from its own methods
/// and events.
///
/// @param RtmRegHandle  in: the registration.
///
/// When it returns, no look-up finds the entity, no invocation and no event of it begins any more, and its
/// handle is dead; but those that had begun may still be running (an invocation: all its methods), and the id
/// is taken until they have returned. Completion is the cleanup function (RtmxRegisterEntity), which is
/// called when nothing of the entity runs any more and the context is in nobody's hands; or wait for it
/// with RtmxFlush.
///
/// @return NO_ERROR; ERROR_INVALID_HANDLE not a live registration: stale, forged, of another kind, or
///   another thread deregisters it just now and wins.
///
/// Any thread; allowed in a section, every callback, a method, a cleanup. Lock-free. Allocates, but needs no
/// memory: see WHEN MEMORY RUNS OUT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn RtmxDeregisterEntityLater(RtmRegHandle: RTM_ENTITY_HANDLE) -> DWORD {
    without_cancellation(|| {
        call(|| {
            deregister(
                RtmRegHandle,
                |_, participant, handle| {
                    participant.deregister_later(handle).map_err(|_| ERROR_INVALID_HANDLE)
                },
                false,
            )
        })
    })
}

fn deregister(
    registration: RTM_ENTITY_HANDLE,
    end: impl FnOnce(&Manager, &Participant<'static, Client>, Handle) -> Outcome,
    completely: bool,
) -> Outcome {
    let (manager, handle) = (manager::of_handle()?, handle(registration)?);
    // Before the record: a thread's first call with a bad handle makes none.
    manager.registry.registered_info(handle).map_err(|_| ERROR_INVALID_HANDLE)?;
    let participant = Membership::get(manager);
    let (opaque, cleanup, queue) = {
        let guard = participant.enter();
        let client = guard.get(handle).map_err(|_| ERROR_INVALID_HANDLE)?;
        (client.reserves_opaque, client.cleanup.is_some(), client.queue.clone())
    };
    end(manager, &participant, handle)?;
    if let Some(queue) = queue
        && completely
    {
        queue.give_up();
    }
    if opaque {
        manager.release_opaque();
    }
    if cleanup {
        // Also if methods or the callback are still running: that counts as retired, so that the thread
        // looks again until they have returned.
        manager.reclaimer.wake();
    }
    Ok(())
}
