//! What the calls of the table have at hand: an entity of each sort, alive and stale.

use super::*;

/// What a call has at hand.
pub(super) struct World {
    pub(super) live: HANDLE,
    pub(super) reader: HANDLE,
    /// To be deregistered.
    pub(super) spare: HANDLE,
    /// With a method, and a callback that its queue is for.
    pub(super) callee: HANDLE,
    pub(super) queue: HANDLE,
    pub(super) stale: HANDLE,
    pub(super) stale_reader: HANDLE,
    pub(super) stale_queue: HANDLE,
}

pub(super) fn info(id: u64) -> RTM_ENTITY_INFO {
    let id = RTM_ENTITY_ID { EntityId: id };
    RTM_ENTITY_INFO { RtmInstanceId: 0, AddressFamily: 2, EntityId: id }
}

pub(super) fn profile() -> RTM_REGN_PROFILE {
    RTM_REGN_PROFILE {
        MaxNextHopsInRoute: 0,
        MaxHandlesInEnum: 0,
        ViewsSupported: 0,
        NumberOfViews: 0,
    }
}

pub(super) fn registered(id: u64) -> HANDLE {
    let (mut info, mut profile, mut handle) = (info(id), profile(), null_mut());
    let code = call!(RtmRegisterEntity(&mut info, null_mut(), None, 0, &mut profile, &mut handle));
    assert_eq!(code, NO_ERROR);
    handle
}

pub(super) fn new_queue() -> HANDLE {
    let mut queue = null_mut();
    assert_eq!(call!(RtmxCreateEventQueue(&mut queue)), NO_ERROR);
    queue
}

unsafe extern "C" fn method(
    _: HANDLE,
    _: HANDLE,
    _: *mut RTM_ENTITY_METHOD_INPUT,
    _: *mut RTM_ENTITY_METHOD_OUTPUT,
) {
}

unsafe extern "C" fn callback(_: HANDLE, _: RTM_EVENT_TYPE, _: PVOID, _: PVOID) -> DWORD {
    NO_ERROR
}

pub(super) fn registered_callee(id: u64, queue: HANDLE) -> HANDLE {
    let (mut info, mut profile, mut handle) = (info(id), profile(), null_mut());
    let mut methods = RTM_ENTITY_EXPORT_METHODS { NumMethods: 1, Methods: [Some(method)] };
    let (none, profile) = (null_mut(), &mut profile);
    let (callback, handle_place) = (Some(callback as _), &mut handle);
    let code = call!(RtmxRegisterEntity(
        &mut info,
        &mut methods,
        callback,
        0,
        none,
        None,
        queue,
        profile,
        handle_place
    ));
    assert_eq!(code, NO_ERROR);
    handle
}

pub(super) fn invoke(caller: HANDLE, callee: HANDLE) -> DWORD {
    let mut input = RTM_ENTITY_METHOD_INPUT { MethodType: 1, InputSize: 0, InputData: [0] };
    let mut output =
        RTM_ENTITY_METHOD_OUTPUT { MethodType: 0, MethodStatus: 0, OutputSize: 0, OutputData: [0] };
    let mut size = size_of_val(&output) as UINT;
    call!(RtmInvokeMethod(caller, callee, &mut input, &mut size, &mut output))
}

pub(super) fn new_reader() -> HANDLE {
    let mut reader = null_mut();
    assert_eq!(call!(RtmxCreateReader(&mut reader)), NO_ERROR);
    reader
}

impl World {
    pub(super) fn new() -> World {
        let (stale, stale_reader, stale_queue) = (registered(9), new_reader(), new_queue());
        assert_eq!(call!(RtmDeregisterEntity(stale)), NO_ERROR);
        assert_eq!(call!(RtmxDeleteReader(stale_reader)), NO_ERROR);
        assert_eq!(call!(RtmxDeleteEventQueue(stale_queue)), NO_ERROR);
        let (live, spare, reader) = (registered(1), registered(2), new_reader());
        let queue = new_queue();
        let callee = registered_callee(3, queue);
        World { live, reader, spare, callee, queue, stale, stale_reader, stale_queue }
    }

    pub(super) fn enter(&self) {
        assert_eq!(call!(RtmxEnter()), NO_ERROR);
        assert_eq!(call!(RtmxReaderEnter(self.reader)), NO_ERROR);
    }

    pub(super) fn leave(&self) {
        while call!(RtmxLeave()) == NO_ERROR {}
        while call!(RtmxReaderLeave(self.reader)) == NO_ERROR {}
    }

    /// They are as they were, and describe themselves.
    pub(super) fn check(&self) {
        for (handle, id) in [(self.live, 1), (self.spare, 2), (self.callee, 3)] {
            let mut found = info(0);
            assert_eq!(call!(RtmGetEntityInfo(handle, handle, &mut found)), NO_ERROR);
            assert_eq!(found, info(id));
            let mut handle = handle;
            let code = call!(RtmReleaseEntities(handle, 1, &mut handle));
            assert_eq!(code, ERROR_INVALID_HANDLE, "a reference was left behind");
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.leave();
        for handle in [self.live, self.spare, self.callee] {
            call!(RtmDeregisterEntity(handle));
        }
        // What was deregistered later is complete then.
        call!(RtmxFlush());
        call!(RtmxDeleteEventQueue(self.queue));
        call!(RtmxDeleteReader(self.reader));
    }
}
