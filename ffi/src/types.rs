//! Types and constants of the C interface. Layouts are checked at the bottom.

use std::ffi::{c_char, c_void};

/// 32 unsigned bits; every function returns one of the `ERROR_...` codes in it.
pub type DWORD = u32;
/// 32 unsigned bits.
pub type UINT = u32;
/// 32 unsigned bits, also on Linux.
pub type ULONG = u32;
/// 64 unsigned bits.
pub type ULONGLONG = u64;
/// 16 unsigned bits.
pub type USHORT = u16;
/// 8 unsigned bits.
pub type UCHAR = u8;
/// 0 is false, all else true.
pub type BOOL = i32;
/// Any pointer.
pub type PVOID = *mut c_void;
/// An opaque token, never a valid address.
pub type HANDLE = *mut c_void;
/// A counter of the caller's.
pub type PUINT = *mut UINT;
/// An entity.
pub type RTM_ENTITY_HANDLE = HANDLE;
/// Many methods of the caller's.
pub type PRTM_ENTITY_EXPORT_METHOD = *mut RTM_ENTITY_EXPORT_METHOD;
/// See [`RTM_ENTITY_METHOD_INPUT`].
pub type PRTM_ENTITY_METHOD_INPUT = *mut RTM_ENTITY_METHOD_INPUT;
/// See [`RTM_ENTITY_METHOD_OUTPUT`].
pub type PRTM_ENTITY_METHOD_OUTPUT = *mut RTM_ENTITY_METHOD_OUTPUT;
/// An array of entity handles of the caller's.
pub type PRTM_ENTITY_HANDLE = *mut RTM_ENTITY_HANDLE;
/// A set of views.
pub type RTM_VIEW_SET = DWORD;
/// A set of methods.
pub type RTM_ENTITY_METHOD_TYPE = DWORD;
/// A kind of event.
pub type RTM_EVENT_TYPE = DWORD;

/// An entity's identity, as one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct RTM_ENTITY_ID {
    /// Protocol in the low, instance in the high half.
    pub EntityId: ULONGLONG,
}

/// Where an entity is registered, and as what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct RTM_ENTITY_INFO {
    /// The routing instance, usually 0.
    pub RtmInstanceId: USHORT,
    /// `AF_INET` or `AF_INET6`.
    pub AddressFamily: USHORT,
    /// The identity.
    pub EntityId: RTM_ENTITY_ID,
}

/// See [`RTM_ENTITY_INFO`].
pub type PRTM_ENTITY_INFO = *mut RTM_ENTITY_INFO;

/// What a table offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct RTM_REGN_PROFILE {
    /// Most next hops of a route.
    pub MaxNextHopsInRoute: UINT,
    /// Most items one enumeration call may ask for.
    pub MaxHandlesInEnum: UINT,
    /// The views.
    pub ViewsSupported: RTM_VIEW_SET,
    /// How many.
    pub NumberOfViews: UINT,
}

/// See [`RTM_REGN_PROFILE`].
pub type PRTM_REGN_PROFILE = *mut RTM_REGN_PROFILE;

/// Input of a method; variable length.
#[repr(C)]
pub struct RTM_ENTITY_METHOD_INPUT {
    /// The methods to run.
    pub MethodType: RTM_ENTITY_METHOD_TYPE,
    /// Bytes of input.
    pub InputSize: UINT,
    /// The input.
    pub InputData: [UCHAR; 1],
}

/// One record of output; variable length.
#[repr(C)]
pub struct RTM_ENTITY_METHOD_OUTPUT {
    /// The method it comes from.
    pub MethodType: RTM_ENTITY_METHOD_TYPE,
    /// That method's status.
    pub MethodStatus: DWORD,
    /// Bytes of output.
    pub OutputSize: UINT,
    /// The output.
    pub OutputData: [UCHAR; 1],
}

/// A method; NULL in a table is a hole.
pub type RTM_ENTITY_EXPORT_METHOD = Option<
    unsafe extern "C" fn(
        RTM_ENTITY_HANDLE,
        RTM_ENTITY_HANDLE,
        *mut RTM_ENTITY_METHOD_INPUT,
        *mut RTM_ENTITY_METHOD_OUTPUT,
    ),
>;

/// A method table; variable length.
#[repr(C)]
pub struct RTM_ENTITY_EXPORT_METHODS {
    /// Entries, at most 32.
    pub NumMethods: UINT,
    /// The entries.
    pub Methods: [RTM_ENTITY_EXPORT_METHOD; 1],
}

/// See [`RTM_ENTITY_EXPORT_METHODS`].
pub type PRTM_ENTITY_EXPORT_METHODS = *mut RTM_ENTITY_EXPORT_METHODS;

/// An entity's event callback.
pub type RTM_EVENT_CALLBACK =
    Option<unsafe extern "C" fn(RTM_ENTITY_HANDLE, RTM_EVENT_TYPE, PVOID, PVOID) -> DWORD>;

/// Called once when a departed entity's context is no longer in anybody's hands. Must return.
pub type RTMX_CLEANUP = Option<unsafe extern "C" fn(Context: PVOID)>;

/// Called with a line of text about a defect that was caught in the library.
pub type RTMX_LOG = Option<unsafe extern "C" fn(Context: PVOID, Text: *const c_char)>;

/// A reader object.
pub type RTMX_READER_HANDLE = HANDLE;
/// See [`RTMX_READER_HANDLE`].
pub type PRTMX_READER_HANDLE = *mut RTMX_READER_HANDLE;

/// An event queue.
pub type RTMX_QUEUE_HANDLE = HANDLE;
/// See [`RTMX_QUEUE_HANDLE`].
pub type PRTMX_QUEUE_HANDLE = *mut RTMX_QUEUE_HANDLE;

/// Figures of one moment. Counts of entities unless said otherwise. May grow at its end.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct RTMX_STATISTICS {
    /// Registered now.
    pub Live: ULONGLONG,
    /// Deregistered, still referenced.
    pub Referenced: ULONGLONG,
    /// Deregistered, not reclaimed yet.
    pub Retired: ULONGLONG,
    /// The most that `Retired` has been.
    pub RetiredPeak: ULONGLONG,
    /// Reclaimed: cleaned up, slot used again.
    pub Reclaimed: ULONGLONG,
    /// Registrations so far.
    pub Registered: ULONGLONG,
    /// Deregistrations so far.
    pub Deregistered: ULONGLONG,
    /// Slots used up for ever.
    pub ExhaustedSlots: ULONGLONG,
    /// Chunks of 512 slots.
    pub Chunks: ULONGLONG,
    /// Bytes of chunks, directory and indexes.
    pub Bytes: ULONGLONG,
    /// Bytes of the indexes alone.
    pub IndexBytes: ULONGLONG,
    /// Routing tables (instance and family).
    pub Tables: ULONGLONG,
    /// Threads and reader objects inside a read section.
    pub Inside: ULONGLONG,
    /// Events handed to callbacks so far.
    pub Events: ULONGLONG,
    /// Times that a listener was told that it missed some.
    pub EventsMissed: ULONGLONG,
    /// Entities registered with a callback.
    pub Listeners: ULONGLONG,
    /// Threads of the library's pool for callbacks.
    pub EventThreads: ULONGLONG,
    /// Event queues of the application's.
    pub EventQueues: ULONGLONG,
}

/// See [`RTMX_STATISTICS`].
pub type PRTMX_STATISTICS = *mut RTMX_STATISTICS;

/// What the registry may hold. May grow at its end.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct RTMX_LIMITS {
    /// Entities registered at a time; default (and most) 2^28.
    pub MaxEntities: UINT,
    /// Instances that have a table; default 65,536.
    pub MaxInstances: UINT,
    /// References on one entity; default (and most) 2^28 - 1.
    pub MaxReferences: UINT,
    /// Entities that have an opaque pointer reserved, in all tables; default 1,024.
    pub MaxOpaquePointers: UINT,
    /// Deregistered entities that are not reclaimed yet; default 2^20.
    pub MaxBacklog: ULONGLONG,
    /// Events that a table keeps for its slowest listener; default 2^20.
    pub MaxJournal: ULONGLONG,
    /// Threads of the pool that stay when there is nothing to do; default 2.
    pub IdleEventThreads: UINT,
    /// Most threads of the pool; default 64.
    pub MaxEventThreads: UINT,
}

/// See [`RTMX_LIMITS`].
pub type PRTMX_LIMITS = *mut RTMX_LIMITS;

/// Another entity of the table has been registered.
pub const RTM_ENTITY_REGISTERED: RTM_EVENT_TYPE = 0;
/// Another entity of the table has been deregistered.
pub const RTM_ENTITY_DEREGISTERED: RTM_EVENT_TYPE = 1;
/// The listener fell behind: some events are lost.
pub const RTMX_EVENTS_MISSED: RTM_EVENT_TYPE = 0x10000;

/// `RtmBlockMethods`: lets invokers in again.
pub const RTM_RESUME_METHODS: DWORD = 0;
/// `RtmBlockMethods`: holds invokers back.
pub const RTM_BLOCK_METHODS: DWORD = 1;

/// A line of text for each.
pub const RTMX_TEXT: UINT = 0;
/// JSON.
pub const RTMX_JSON: UINT = 1;
/// Prometheus' text exposition.
pub const RTMX_PROMETHEUS: UINT = 2;

/// Done.
pub const NO_ERROR: DWORD = 0;
/// Not used by this library, which reads no configuration file.
pub const ERROR_FILE_NOT_FOUND: DWORD = 2;
/// The object belongs to somebody else.
pub const ERROR_ACCESS_DENIED: DWORD = 5;
/// A handle that names nothing this call accepts.
pub const ERROR_INVALID_HANDLE: DWORD = 6;
/// Memory could not be had; nothing has changed.
pub const ERROR_NOT_ENOUGH_MEMORY: DWORD = 8;
/// An argument's content is wrong: more than 32 methods.
pub const ERROR_INVALID_DATA: DWORD = 13;
/// Not supported.
pub const ERROR_NOT_SUPPORTED: DWORD = 50;
/// NULL, misaligned or out of range.
pub const ERROR_INVALID_PARAMETER: DWORD = 87;
/// The buffer is too small.
pub const ERROR_INSUFFICIENT_BUFFER: DWORD = 122;
/// Not inside a read section.
pub const ERROR_NOT_LOCKED: DWORD = 158;
/// In use.
pub const ERROR_BUSY: DWORD = 170;
/// The id is registered.
pub const ERROR_ALREADY_EXISTS: DWORD = 183;
/// The call would wait for its own thread.
pub const ERROR_POSSIBLE_DEADLOCK: DWORD = 1131;
/// Nothing of what was asked for is there.
pub const ERROR_NOT_FOUND: DWORD = 1168;
/// A defect of the library was caught; see `RtmxSetLogFunction`.
pub const ERROR_INTERNAL_ERROR: DWORD = 1359;
/// A limit is reached.
pub const ERROR_NO_SYSTEM_RESOURCES: DWORD = 1450;
/// Not used by this library, which reads no configuration file.
pub const ERROR_BAD_CONFIGURATION: DWORD = 1610;
/// A forked child of a process that had used the library.
pub const ERROR_INVALID_STATE: DWORD = 5023;

/// What the first version of [`RTMX_LIMITS`] measured.
pub(crate) const FIRST_LIMITS: usize = 24;

/// Most methods of an entity.
pub(crate) const MAX_METHODS: UINT = 32;

const _: () = {
    use std::mem::offset_of;
    assert!(size_of::<RTM_ENTITY_ID>() == 8 && align_of::<RTM_ENTITY_ID>() == 8);
    assert!(size_of::<RTM_ENTITY_INFO>() == 16 && align_of::<RTM_ENTITY_INFO>() == 8);
    assert!(offset_of!(RTM_ENTITY_INFO, AddressFamily) == 2);
    assert!(offset_of!(RTM_ENTITY_INFO, EntityId) == 8);
    assert!(size_of::<RTM_REGN_PROFILE>() == 16 && align_of::<RTM_REGN_PROFILE>() == 4);
    assert!(size_of::<RTM_ENTITY_METHOD_INPUT>() == 12);
    assert!(offset_of!(RTM_ENTITY_METHOD_INPUT, InputData) == 8);
    assert!(size_of::<RTM_ENTITY_METHOD_OUTPUT>() == 16);
    assert!(offset_of!(RTM_ENTITY_METHOD_OUTPUT, OutputData) == 12);
    assert!(size_of::<RTM_ENTITY_EXPORT_METHODS>() == 16);
    assert!(offset_of!(RTM_ENTITY_EXPORT_METHODS, Methods) == 8);
    assert!(size_of::<RTMX_STATISTICS>() == 18 * 8 && size_of::<RTMX_LIMITS>() == 40);
    assert!(offset_of!(RTMX_LIMITS, MaxJournal) == FIRST_LIMITS);
};
