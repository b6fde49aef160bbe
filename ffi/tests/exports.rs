//! Every export, driven from a table: with nothing, with stale and with forged handles, and with a
//! panic inside. An export that the table does not name fails the test.

mod common;

use common::{libraries, run};
use rtm::*;
use std::collections::BTreeSet;
use std::ffi::{CStr, c_char};
use std::process::Command;
use std::ptr::{null, null_mut};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

const SYMBOLS: &str = include_str!("../../include/rtm.symbols");

/// One call of an export.
macro_rules! call {
    ($call:expr) => {{
        // SAFETY: pointers in these tests are NULL or lead to locals of the right type.
        unsafe { $call }
    }};
}

/// What a call has at hand.
struct World {
    live: HANDLE,
    reader: HANDLE,
    /// To be deregistered.
    spare: HANDLE,
    /// With a method, and a callback that its queue is for.
    callee: HANDLE,
    queue: HANDLE,
    stale: HANDLE,
    stale_reader: HANDLE,
    stale_queue: HANDLE,
}

fn info(id: u64) -> RTM_ENTITY_INFO {
    let id = RTM_ENTITY_ID { EntityId: id };
    RTM_ENTITY_INFO { RtmInstanceId: 0, AddressFamily: 2, EntityId: id }
}

fn profile() -> RTM_REGN_PROFILE {
    RTM_REGN_PROFILE {
        MaxNextHopsInRoute: 0,
        MaxHandlesInEnum: 0,
        ViewsSupported: 0,
        NumberOfViews: 0,
    }
}

fn registered(id: u64) -> HANDLE {
    let (mut info, mut profile, mut handle) = (info(id), profile(), null_mut());
    let code = call!(RtmRegisterEntity(&mut info, null_mut(), None, 0, &mut profile, &mut handle));
    assert_eq!(code, NO_ERROR);
    handle
}

fn new_queue() -> HANDLE {
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

fn registered_callee(id: u64, queue: HANDLE) -> HANDLE {
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

fn invoke(caller: HANDLE, callee: HANDLE) -> DWORD {
    let mut input = RTM_ENTITY_METHOD_INPUT { MethodType: 1, InputSize: 0, InputData: [0] };
    let mut output =
        RTM_ENTITY_METHOD_OUTPUT { MethodType: 0, MethodStatus: 0, OutputSize: 0, OutputData: [0] };
    let mut size = size_of_val(&output) as UINT;
    call!(RtmInvokeMethod(caller, callee, &mut input, &mut size, &mut output))
}

fn new_reader() -> HANDLE {
    let mut reader = null_mut();
    assert_eq!(call!(RtmxCreateReader(&mut reader)), NO_ERROR);
    reader
}

impl World {
    fn new() -> World {
        let (stale, stale_reader, stale_queue) = (registered(9), new_reader(), new_queue());
        assert_eq!(call!(RtmDeregisterEntity(stale)), NO_ERROR);
        assert_eq!(call!(RtmxDeleteReader(stale_reader)), NO_ERROR);
        assert_eq!(call!(RtmxDeleteEventQueue(stale_queue)), NO_ERROR);
        let (live, spare, reader) = (registered(1), registered(2), new_reader());
        let queue = new_queue();
        let callee = registered_callee(3, queue);
        World { live, reader, spare, callee, queue, stale, stale_reader, stale_queue }
    }

    fn enter(&self) {
        assert_eq!(call!(RtmxEnter()), NO_ERROR);
        assert_eq!(call!(RtmxReaderEnter(self.reader)), NO_ERROR);
    }

    fn leave(&self) {
        while call!(RtmxLeave()) == NO_ERROR {}
        while call!(RtmxReaderLeave(self.reader)) == NO_ERROR {}
    }

    /// They are as they were, and describe themselves.
    fn check(&self) {
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

/// A call with one handle that is not right.
type Place = fn(&World, HANDLE) -> DWORD;

struct Export {
    name: &'static str,
    /// With nothing but NULL and 0, and what that gives.
    with_nothing: (fn() -> DWORD, DWORD),
    /// One call for each parameter that is a handle.
    handles: &'static [Place],
    /// Whether `sample` is made inside read sections.
    inside: bool,
    /// A call with good arguments, and what it gives.
    sample: (fn(&World) -> DWORD, DWORD),
}

fn exports() -> Vec<Export> {
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

/// Those that take no part in the boundary: they say no code.
const UNGUARDED: [&str; 2] = ["RtmxGetAbiNumber", "RtmxErrorText"];

fn limits() -> RTMX_LIMITS {
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

/// What the log function was told.
static LOGGED: Mutex<Vec<String>> = Mutex::new(Vec::new());

extern "C" fn log(_context: PVOID, text: *const c_char) {
    // SAFETY: the library gives a text.
    let text = unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned();
    LOGGED.lock().unwrap().push(text);
}

fn set_log() -> DWORD {
    call!(RtmxSetLogFunction(Some(log), null_mut()))
}

/// The library is one for the process: one test at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn the_table_names_every_export() {
    let listed: BTreeSet<&str> = SYMBOLS.lines().collect();
    let table: Vec<&str> = exports().iter().map(|export| export.name).chain(UNGUARDED).collect();
    let named: BTreeSet<&str> = table.iter().copied().collect();
    assert_eq!(named.len(), table.len(), "a name stands twice");
    assert_eq!(named, listed);
}

#[test]
fn the_shared_library_exports_the_list() {
    let mut nm = Command::new("nm");
    nm.args(["-D", "--defined-only", "--format=posix"]).arg(libraries().join("librtm.so"));
    let ended = run("nm", &mut nm, Duration::from_secs(60));
    assert!(ended.status.success(), "{}", ended.text);
    let exported: BTreeSet<&str> =
        ended.text.lines().map(|line| line.split(' ').next().unwrap()).collect();
    let listed: BTreeSet<&str> = SYMBOLS.lines().collect();
    assert_eq!(exported, listed);
}

#[test]
fn with_nothing() {
    let _alone = alone();
    for export in exports() {
        let world = World::new();
        let (call, code) = export.with_nothing;
        assert_eq!(call(), code, "{}", export.name);
        world.check();
    }
    assert_eq!(call!(RtmxGetAbiNumber()), RTMX_ABI_NUMBER);
    assert!(!call!(RtmxErrorText(0)).is_null());
}

#[test]
fn with_a_good_call() {
    let _alone = alone();
    for export in exports() {
        let world = World::new();
        if export.inside {
            world.enter();
        }
        let (call, code) = export.sample;
        assert_eq!(call(&world), code, "{}", export.name);
    }
}

#[test]
fn with_bad_handles() {
    let _alone = alone();
    let mut state = u64::from(std::process::id());
    for export in exports() {
        let world = World::new();
        world.enter();
        let refused = |place: &Place, bad: HANDLE, what: &str| {
            let code = place(&world, bad);
            assert_eq!(code, ERROR_INVALID_HANDLE, "{}: {what} {bad:p}", export.name);
        };
        for place in export.handles {
            refused(place, null_mut(), "NULL");
            refused(place, world.stale, "stale");
            refused(place, world.stale_reader, "stale");
            refused(place, world.stale_queue, "stale");
            for _ in 0..10_000 {
                // The generator of splitmix64.
                state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
                let mut bits = state;
                bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
                let forged = (bits ^ bits >> 31) as usize;
                refused(place, std::ptr::without_provenance_mut(forged), "forged");
            }
        }
        world.check();
    }
}

#[test]
fn the_version_is_the_package() {
    let _alone = alone();
    let (mut major, mut minor, mut patch) = (0, 0, 0);
    assert_eq!(call!(RtmxGetVersion(&mut major, &mut minor, &mut patch)), NO_ERROR);
    assert_eq!(format!("{major}.{minor}.{patch}"), env!("CARGO_PKG_VERSION"));
}

#[cfg(debug_assertions)]
mod injected {
    use super::*;

    const CHILD: &str = "RTM_TEST_INJECT";

    /// Panics inside every export, in a process of its own, because nothing must be printed there.
    #[test]
    fn a_panic_inside_is_an_error_and_a_line_of_the_log() {
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", "injected::child", "--nocapture", "--quiet"]).env(CHILD, "1");
        let ended = run("injected::child", &mut child, Duration::from_secs(60));
        assert!(ended.status.success(), "{}", ended.text);
        let calls = exports().len();
        assert!(ended.text.contains(&format!("<{calls} exports>")), "{}", ended.text);
        for word in ["panicked", "injected"] {
            assert!(!ended.text.contains(word), "something was printed:\n{}", ended.text);
        }
    }

    #[test]
    fn child() {
        if std::env::var_os(CHILD).is_none() {
            return;
        }
        assert_eq!(set_log(), NO_ERROR);
        let table = exports();
        for export in &table {
            let world = World::new();
            if export.inside {
                world.enter();
            }
            let (call, code) = export.sample;
            LOGGED.lock().unwrap().clear();
            inject_panic();
            let injected = call(&world);
            let logged = std::mem::take(&mut *LOGGED.lock().unwrap());
            let again = call(&world);
            // Ends the silence that an injected panic leaves behind in the hot calls, so that a failed
            // assertion is seen.
            assert_eq!(call!(RtmxGetVersion(null_mut(), null_mut(), null_mut())), NO_ERROR);
            assert_eq!(injected, ERROR_INTERNAL_ERROR, "{}", export.name);
            assert_eq!(logged.len(), 1, "{}", export.name);
            assert!(logged[0].ends_with("injected"), "{}: {logged:?}", export.name);
            assert_eq!(again, code, "{} does not work any more", export.name);
            assert!(LOGGED.lock().unwrap().is_empty());
        }
        // Without a log function the text goes nowhere.
        assert_eq!(call!(RtmxSetLogFunction(None, null_mut())), NO_ERROR);
        inject_panic();
        assert_eq!(call!(RtmxFlush()), ERROR_INTERNAL_ERROR);
        assert_eq!(call!(RtmxFlush()), NO_ERROR);
        // What is not an answer of the boundary is not affected.
        inject_panic();
        assert_eq!(call!(RtmxGetAbiNumber()), RTMX_ABI_NUMBER);
        assert_eq!(call!(RtmxFlush()), ERROR_INTERNAL_ERROR);
        assert_eq!(call!(RtmxShutdown()), NO_ERROR);
        println!("<{} exports>", table.len());
    }
}
