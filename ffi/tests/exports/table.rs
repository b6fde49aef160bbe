//! The table: how each export is called, and what it answers.

use super::world::*;
use super::*;

/// A call with one handle that is not right.
pub(super) type Place = fn(&World, HANDLE) -> DWORD;

pub(super) struct Export {
    pub(super) name: &'static str,
    /// With nothing but NULL and 0, and what that gives.
    pub(super) with_nothing: (fn() -> DWORD, DWORD),
    /// One call for each parameter that is a handle.
    pub(super) handles: &'static [Place],
    /// Whether `sample` is made inside read sections.
    pub(super) inside: bool,
    /// A call with good arguments, and what it gives.
    pub(super) sample: (fn(&World) -> DWORD, DWORD),
}

pub(super) fn exports() -> Vec<Export> {
    vec![
        Export {
            name: "RtmRegisterEntity",
            with_nothing: (
                || {
                    call!(RtmRegisterEntity(
                        null_mut(),
                        null_mut(),
                        None,
                        0,
                        null_mut(),
                        null_mut()
                    ))
                },
                ERROR_INVALID_PARAMETER,
            ),
            handles: &[],
            inside: false,
            sample: (
                |_| {
                    let (mut info, mut profile, mut handle) = (info(1), profile(), null_mut());
                    let none = null_mut();
                    let profile = &mut profile;
                    call!(RtmRegisterEntity(&mut info, none, None, 1, profile, &mut handle))
                },
                ERROR_ALREADY_EXISTS,
            ),
        },
        Export {
            name: "RtmxRegisterEntity",
            with_nothing: (
                || {
                    let (a, b, c, d, e) =
                        (null_mut(), null_mut(), null_mut(), null_mut(), null_mut());
                    call!(RtmxRegisterEntity(a, b, None, 0, c, None, null_mut(), d, e))
                },
                ERROR_INVALID_PARAMETER,
            ),
            handles: &[|world, bad| {
                // NULL is no queue at all: the id is taken.
                if bad.is_null() {
                    return ERROR_INVALID_HANDLE;
                }
                let (mut info, mut profile, mut handle) = (info(1), profile(), world.live);
                let (none, context) = (null_mut(), null_mut());
                let (profile, handle) = (&mut profile, &mut handle);
                call!(RtmxRegisterEntity(
                    &mut info, none, None, 0, context, None, bad, profile, handle
                ))
            }],
            inside: false,
            sample: (
                |world| {
                    let (mut info, mut profile, mut handle) = (info(2), profile(), null_mut());
                    let (none, none_queue, context) = (null_mut(), null_mut(), world.live);
                    let profile = &mut profile;
                    let handle = &mut handle;
                    call!(RtmxRegisterEntity(
                        &mut info, none, None, 0, context, None, none_queue, profile, handle
                    ))
                },
                ERROR_ALREADY_EXISTS,
            ),
        },
        Export {
            name: "RtmDeregisterEntity",
            with_nothing: (|| call!(RtmDeregisterEntity(null_mut())), ERROR_INVALID_HANDLE),
            handles: &[|_, bad| call!(RtmDeregisterEntity(bad))],
            inside: true,
            sample: (|world| call!(RtmDeregisterEntity(world.spare)), NO_ERROR),
        },
        Export {
            name: "RtmGetRegisteredEntities",
            with_nothing: (
                || {
                    let none = null_mut();
                    call!(RtmGetRegisteredEntities(null_mut(), none, null_mut(), null_mut()))
                },
                ERROR_INVALID_HANDLE,
            ),
            handles: &[|world, bad| {
                let (mut count, mut handle, mut info) = (1, world.live, info(0));
                call!(RtmGetRegisteredEntities(bad, &mut count, &mut handle, &mut info))
            }],
            inside: true,
            sample: (
                |world| {
                    let mut count = 0;
                    let live = world.live;
                    call!(RtmGetRegisteredEntities(live, &mut count, null_mut(), null_mut()))
                },
                ERROR_INSUFFICIENT_BUFFER,
            ),
        },
        Export {
            name: "RtmReleaseEntities",
            with_nothing: (
                || call!(RtmReleaseEntities(null_mut(), 0, null_mut())),
                ERROR_INVALID_HANDLE,
            ),
            handles: &[
                |world, bad| {
                    let mut live = world.live;
                    call!(RtmReleaseEntities(bad, 1, &mut live))
                },
                |world, mut bad| call!(RtmReleaseEntities(world.live, 1, &mut bad)),
            ],
            inside: true,
            sample: (|world| call!(RtmReleaseEntities(world.live, 0, null_mut())), NO_ERROR),
        },
        Export {
            name: "RtmGetEntityInfo",
            with_nothing: (
                || call!(RtmGetEntityInfo(null_mut(), null_mut(), null_mut())),
                ERROR_INVALID_HANDLE,
            ),
            handles: &[
                |world, bad| call!(RtmGetEntityInfo(bad, world.live, &mut info(0))),
                |world, bad| call!(RtmGetEntityInfo(world.live, bad, &mut info(0))),
            ],
            inside: true,
            sample: (
                |world| call!(RtmGetEntityInfo(world.live, world.live, &mut info(0))),
                NO_ERROR,
            ),
        },
        Export {
            name: "RtmReleaseEntityInfo",
            with_nothing: (
                || call!(RtmReleaseEntityInfo(null_mut(), null_mut())),
                ERROR_INVALID_HANDLE,
            ),
            handles: &[|_, bad| call!(RtmReleaseEntityInfo(bad, &mut info(0)))],
            inside: true,
            sample: (|world| call!(RtmReleaseEntityInfo(world.live, &mut info(0))), NO_ERROR),
        },
        Export {
            name: "RtmReferenceHandles",
            with_nothing: (
                || call!(RtmReferenceHandles(null_mut(), 0, null_mut())),
                ERROR_INVALID_HANDLE,
            ),
            handles: &[
                |world, bad| {
                    let mut live = world.live;
                    call!(RtmReferenceHandles(bad, 1, &mut live))
                },
                |world, bad| {
                    let mut two = [world.live, bad];
                    call!(RtmReferenceHandles(world.live, 2, two.as_mut_ptr()))
                },
            ],
            inside: true,
            sample: (|world| call!(RtmReferenceHandles(world.live, 0, null_mut())), NO_ERROR),
        },
        Export {
            name: "RtmGetEntityMethods",
            with_nothing: (
                || call!(RtmGetEntityMethods(null_mut(), null_mut(), null_mut(), null_mut())),
                ERROR_INVALID_HANDLE,
            ),
            handles: &[
                |world, bad| call!(RtmGetEntityMethods(bad, world.live, &mut 0, null_mut())),
                |world, bad| call!(RtmGetEntityMethods(world.live, bad, &mut 0, null_mut())),
            ],
            inside: true,
            sample: (
                |world| call!(RtmGetEntityMethods(world.live, world.live, &mut 0, null_mut())),
                NO_ERROR,
            ),
        },
        Export {
            name: "RtmInvokeMethod",
            with_nothing: (
                || {
                    let none = null_mut();
                    call!(RtmInvokeMethod(null_mut(), null_mut(), null_mut(), none, null_mut()))
                },
                ERROR_INVALID_HANDLE,
            ),
            handles: &[
                |world, bad| invoke(bad, world.callee),
                |world, bad| invoke(world.live, bad),
            ],
            inside: true,
            sample: (|world| invoke(world.live, world.callee), NO_ERROR),
        },
        Export {
            name: "RtmBlockMethods",
            with_nothing: (
                || call!(RtmBlockMethods(null_mut(), null_mut(), 0, RTM_BLOCK_METHODS)),
                ERROR_INVALID_HANDLE,
            ),
            handles: &[
                |_, bad| call!(RtmBlockMethods(bad, null_mut(), 0, RTM_BLOCK_METHODS)),
                |_, bad| call!(RtmBlockMethods(bad, null_mut(), 0, RTM_RESUME_METHODS)),
            ],
            inside: false,
            sample: (
                |world| call!(RtmBlockMethods(world.callee, null_mut(), 0, RTM_BLOCK_METHODS)),
                NO_ERROR,
            ),
        },
        Export {
            name: "RtmxDeregisterEntityLater",
            with_nothing: (|| call!(RtmxDeregisterEntityLater(null_mut())), ERROR_INVALID_HANDLE),
            handles: &[|_, bad| call!(RtmxDeregisterEntityLater(bad))],
            inside: true,
            sample: (|world| call!(RtmxDeregisterEntityLater(world.callee)), NO_ERROR),
        },
        Export {
            name: "RtmxCreateEventQueue",
            with_nothing: (|| call!(RtmxCreateEventQueue(null_mut())), ERROR_INVALID_PARAMETER),
            handles: &[],
            inside: true,
            sample: (|_| call!(RtmxCreateEventQueue(&mut null_mut())), NO_ERROR),
        },
        Export {
            name: "RtmxDeleteEventQueue",
            with_nothing: (|| call!(RtmxDeleteEventQueue(null_mut())), ERROR_INVALID_HANDLE),
            handles: &[|_, bad| call!(RtmxDeleteEventQueue(bad))],
            inside: true,
            sample: (|world| call!(RtmxDeleteEventQueue(world.queue)), ERROR_BUSY),
        },
        Export {
            name: "RtmxGetEventQueueDescriptor",
            with_nothing: (
                || call!(RtmxGetEventQueueDescriptor(null_mut(), null_mut())),
                ERROR_INVALID_HANDLE,
            ),
            handles: &[|_, bad| call!(RtmxGetEventQueueDescriptor(bad, &mut 0))],
            inside: true,
            sample: (|world| call!(RtmxGetEventQueueDescriptor(world.queue, &mut 0)), NO_ERROR),
        },
        Export {
            name: "RtmxDispatchEvents",
            with_nothing: (
                || call!(RtmxDispatchEvents(null_mut(), 0, null_mut())),
                ERROR_INVALID_HANDLE,
            ),
            handles: &[|_, bad| call!(RtmxDispatchEvents(bad, 1, &mut 0))],
            inside: false,
            sample: (|world| call!(RtmxDispatchEvents(world.queue, 1, &mut 0)), NO_ERROR),
        },
        Export {
            name: "RtmxEnter",
            with_nothing: (|| call!(RtmxEnter()), NO_ERROR),
            handles: &[],
            inside: false,
            sample: (|_| call!(RtmxEnter()), NO_ERROR),
        },
        Export {
            name: "RtmxLeave",
            with_nothing: (|| call!(RtmxLeave()), ERROR_NOT_LOCKED),
            handles: &[],
            inside: true,
            sample: (|_| call!(RtmxLeave()), NO_ERROR),
        },
        Export {
            name: "RtmxQuiescent",
            with_nothing: (|| call!(RtmxQuiescent()), ERROR_NOT_LOCKED),
            handles: &[],
            inside: true,
            sample: (|_| call!(RtmxQuiescent()), NO_ERROR),
        },
        Export {
            name: "RtmxGetContext",
            with_nothing: (|| call!(RtmxGetContext(null_mut(), null_mut())), ERROR_NOT_LOCKED),
            handles: &[|_, bad| call!(RtmxGetContext(bad, &mut null_mut()))],
            inside: true,
            sample: (|world| call!(RtmxGetContext(world.live, &mut null_mut())), NO_ERROR),
        },
        Export {
            name: "RtmxGetContexts",
            with_nothing: (
                || call!(RtmxGetContexts(0, null_mut(), null_mut(), null_mut())),
                ERROR_NOT_LOCKED,
            ),
            handles: &[|_, mut bad| {
                call!(RtmxGetContexts(1, &mut bad, &mut null_mut(), null_mut()))
            }],
            inside: true,
            sample: (
                |world| {
                    let mut live = world.live;
                    call!(RtmxGetContexts(1, &mut live, &mut null_mut(), &mut 0))
                },
                NO_ERROR,
            ),
        },
        Export {
            name: "RtmxCreateReader",
            with_nothing: (|| call!(RtmxCreateReader(null_mut())), ERROR_INVALID_PARAMETER),
            handles: &[],
            inside: true,
            sample: (|_| call!(RtmxCreateReader(&mut null_mut())), NO_ERROR),
        },
        Export {
            name: "RtmxDeleteReader",
            with_nothing: (|| call!(RtmxDeleteReader(null_mut())), ERROR_INVALID_HANDLE),
            handles: &[|_, bad| call!(RtmxDeleteReader(bad))],
            inside: true,
            sample: (|world| call!(RtmxDeleteReader(world.reader)), ERROR_BUSY),
        },
        Export {
            name: "RtmxReaderEnter",
            with_nothing: (|| call!(RtmxReaderEnter(null_mut())), ERROR_INVALID_HANDLE),
            handles: &[|_, bad| call!(RtmxReaderEnter(bad))],
            inside: false,
            sample: (|world| call!(RtmxReaderEnter(world.reader)), NO_ERROR),
        },
        Export {
            name: "RtmxReaderLeave",
            with_nothing: (|| call!(RtmxReaderLeave(null_mut())), ERROR_INVALID_HANDLE),
            handles: &[|_, bad| call!(RtmxReaderLeave(bad))],
            inside: true,
            sample: (|world| call!(RtmxReaderLeave(world.reader)), NO_ERROR),
        },
        Export {
            name: "RtmxReaderQuiescent",
            with_nothing: (|| call!(RtmxReaderQuiescent(null_mut())), ERROR_INVALID_HANDLE),
            handles: &[|_, bad| call!(RtmxReaderQuiescent(bad))],
            inside: true,
            sample: (|world| call!(RtmxReaderQuiescent(world.reader)), NO_ERROR),
        },
        Export {
            name: "RtmxReaderGetContext",
            with_nothing: (
                || call!(RtmxReaderGetContext(null_mut(), null_mut(), null_mut())),
                ERROR_INVALID_HANDLE,
            ),
            handles: &[
                |world, bad| call!(RtmxReaderGetContext(bad, world.live, &mut null_mut())),
                |world, bad| call!(RtmxReaderGetContext(world.reader, bad, &mut null_mut())),
            ],
            inside: true,
            sample: (
                |world| call!(RtmxReaderGetContext(world.reader, world.live, &mut null_mut())),
                NO_ERROR,
            ),
        },
        Export {
            name: "RtmxReaderGetContexts",
            with_nothing: (
                || {
                    let none = null_mut();
                    call!(RtmxReaderGetContexts(null_mut(), 0, null_mut(), null_mut(), none))
                },
                ERROR_INVALID_HANDLE,
            ),
            handles: &[
                |world, bad| {
                    let (mut live, mut context) = (world.live, null_mut());
                    call!(RtmxReaderGetContexts(bad, 1, &mut live, &mut context, null_mut()))
                },
                |world, mut bad| {
                    let (reader, mut context) = (world.reader, null_mut());
                    call!(RtmxReaderGetContexts(reader, 1, &mut bad, &mut context, null_mut()))
                },
            ],
            inside: true,
            sample: (
                |world| {
                    let (mut live, mut context, reader) = (world.live, null_mut(), world.reader);
                    call!(RtmxReaderGetContexts(reader, 1, &mut live, &mut context, &mut 0))
                },
                NO_ERROR,
            ),
        },
        Export {
            name: "RtmxSynchronize",
            with_nothing: (|| call!(RtmxSynchronize()), NO_ERROR),
            handles: &[],
            inside: false,
            sample: (|_| call!(RtmxSynchronize()), NO_ERROR),
        },
        Export {
            name: "RtmxFlush",
            with_nothing: (|| call!(RtmxFlush()), NO_ERROR),
            handles: &[],
            inside: false,
            sample: (|_| call!(RtmxFlush()), NO_ERROR),
        },
        Export {
            name: "RtmxTrim",
            with_nothing: (|| call!(RtmxTrim(null_mut())), NO_ERROR),
            handles: &[],
            inside: true,
            sample: (|_| call!(RtmxTrim(null_mut())), NO_ERROR),
        },
        Export {
            name: "RtmxShutdown",
            with_nothing: (|| call!(RtmxShutdown()), ERROR_BUSY),
            handles: &[],
            inside: false,
            sample: (|_| call!(RtmxShutdown()), ERROR_BUSY),
        },
        Export {
            name: "RtmxGetStatistics",
            with_nothing: (|| call!(RtmxGetStatistics(null_mut(), 0)), ERROR_INVALID_PARAMETER),
            handles: &[],
            inside: true,
            sample: (
                |_| {
                    let mut figures = RTMX_STATISTICS::default();
                    call!(RtmxGetStatistics(&mut figures, size_of::<RTMX_STATISTICS>() as UINT))
                },
                NO_ERROR,
            ),
        },
        Export {
            name: "RtmxGetLimits",
            with_nothing: (|| call!(RtmxGetLimits(null_mut(), 0)), ERROR_INVALID_PARAMETER),
            handles: &[],
            inside: true,
            sample: (
                |_| call!(RtmxGetLimits(&mut limits(), size_of::<RTMX_LIMITS>() as UINT)),
                NO_ERROR,
            ),
        },
        Export {
            name: "RtmxSetLimits",
            with_nothing: (|| call!(RtmxSetLimits(null(), 0)), ERROR_INVALID_PARAMETER),
            handles: &[],
            inside: true,
            sample: (
                |_| call!(RtmxSetLimits(&limits(), size_of::<RTMX_LIMITS>() as UINT)),
                NO_ERROR,
            ),
        },
        Export {
            name: "RtmxFormatStatistics",
            with_nothing: (
                || call!(RtmxFormatStatistics(0, null_mut(), null_mut())),
                ERROR_INVALID_PARAMETER,
            ),
            handles: &[],
            inside: true,
            sample: (
                |_| call!(RtmxFormatStatistics(RTMX_JSON, null_mut(), &mut 0)),
                ERROR_INSUFFICIENT_BUFFER,
            ),
        },
        Export {
            name: "RtmxFormatEntities",
            with_nothing: (
                || call!(RtmxFormatEntities(0, null_mut(), null_mut(), null_mut())),
                ERROR_INVALID_PARAMETER,
            ),
            handles: &[],
            inside: true,
            sample: (
                |_| {
                    let mut text = [0; 1024];
                    call!(RtmxFormatEntities(RTMX_TEXT, &mut 0, text.as_mut_ptr(), &mut 1024))
                },
                NO_ERROR,
            ),
        },
        Export {
            name: "RtmxGetVersion",
            with_nothing: (|| call!(RtmxGetVersion(null_mut(), null_mut(), null_mut())), NO_ERROR),
            handles: &[],
            inside: true,
            sample: (|_| call!(RtmxGetVersion(&mut 0, &mut 0, &mut 0)), NO_ERROR),
        },
        Export {
            name: "RtmxSetLogFunction",
            with_nothing: (|| call!(RtmxSetLogFunction(None, null_mut())), NO_ERROR),
            handles: &[],
            inside: true,
            sample: (|_| set_log(), NO_ERROR),
        },
    ]
}

pub(super) fn limits() -> RTMX_LIMITS {
    RTMX_LIMITS {
        MaxEntities: 1 << 28,
        MaxInstances: 1 << 16,
        MaxReferences: (1 << 28) - 1,
        MaxOpaquePointers: 1024,
        MaxBacklog: 1 << 20,
        MaxJournal: 1 << 20,
        IdleEventThreads: 2,
        MaxEventThreads: 64,
    }
}
