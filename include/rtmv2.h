/*
 * rtmv2.h - the Routing Table Manager, version 2, for Linux.
 *
 * Generated from the sources of rtm by cbindgen: do not edit. SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * WHAT THIS IS
 *   Routing protocols inside one process register as entities with a routing table (an instance and an
 *   address family), look each other up by handle, and deregister, from any number of threads at once.
 *   The functions named Rtm... are RTMv2's; those named Rtmx... are extensions of this library.
 *
 * HANDLES
 *   A handle is an opaque token, never an address. It names one registration for ever: NULL, stale,
 *   forged and foreign values are answered with ERROR_INVALID_HANDLE and nothing else happens. A made-up
 *   or foreign number passes for a live handle with a probability of (live entities) / 2^60.
 *
 * RETURN VALUES
 *   Every function but RtmxGetAbiNumber and RtmxErrorText returns 0 (NO_ERROR) or a code from below. On
 *   failure outputs are untouched unless the function says otherwise. Arguments are checked in this order:
 *   registration, reader or queue handle that the call is about, whether a look-up is inside a section,
 *   pointers, flags and sizes, other handles, state.
 *   ERROR_INTERNAL_ERROR (a defect of the library) and ERROR_INVALID_STATE (a forked child) may come from
 *   any function and are not listed again.
 *
 * WHAT MAY BE CALLED WHERE
 *                                    read     event      method    cleanup    signal    forked
 *                                    section  callback             function   handler   child
 *   RtmGetEntityInfo,
 *     RtmReleaseEntityInfo           yes      yes        yes       yes        yes       error
 *   RtmRegisterEntity,
 *     RtmxRegisterEntity,
 *     RtmGetRegisteredEntities       yes      missed     yes       yes        no        error
 *   RtmDeregisterEntity              plain    missed     others    yes        no        error
 *   RtmInvokeMethod                  (1)      yes        yes       yes        no        error
 *   RtmBlockMethods, to block        refused  yes        others    yes        no        error
 *   RtmxDispatchEvents               refused  refused    yes       yes        no        error
 *   RtmxSynchronize, RtmxFlush,
 *     RtmxShutdown                   refused  refused    refused   refused    no        error
 *   RtmxGetAbiNumber, RtmxErrorText  yes      yes        yes       yes        yes       yes
 *   all others                       yes      yes        yes       yes        no        error
 *   "refused": ERROR_POSSIBLE_DEADLOCK. "error": ERROR_INVALID_STATE. "no": the effect is undefined.
 *   "missed": refused inside RTM_ENTITY_REGISTERED and RTM_ENTITY_DEREGISTERED, allowed inside
 *   RTMX_EVENTS_MISSED. "plain": refused for an entity that has a callback or methods. "others": refused
 *   for the entity whose method the thread is inside of. (1) Refused if it would have to wait, because
 *   the methods are blocked. Waits for client code (RtmDeregisterEntity, RtmBlockMethods, RtmInvokeMethod of
 *   blocked methods) are also refused where they would close a circle of threads that wait for each
 *   other's client code. A refused call has changed nothing.
 *
 * EVENTS
 *   An entity that is registered with a callback is told when other entities of its table (instance and
 *   address family) come and go: RTM_ENTITY_REGISTERED and RTM_ENTITY_DEREGISTERED with Context1 = the other
 *   entity's handle and Context2 = its PRTM_ENTITY_INFO. Both are lent for the call: copy the structure, and
 *   take a reference (RtmReferenceHandles) to keep the handle. A departed entity can be described and
 *   referenced until everybody has been told. Not told: the entity itself, and who was there before it:
 *   register first, then call RtmGetRegisteredEntities; whoever comes meanwhile is in the list, or told, or
 *   both. Of one whose registration had begun before yours, the departure may be told alone: ignore it. An
 *   entity's events come one at a time and in the order of the table's history, those of different entities at
 *   the same time. No lock of the library is held, and no call of the client's runs a callback but
 *   RtmxDispatchEvents. The callback's result is not looked at. An entity that falls more than
 *   RTMX_LIMITS.MaxJournal events behind is told so once, by RTMX_EVENTS_MISSED (both contexts NULL), in place
 *   of those events; it then calls RtmGetRegisteredEntities to start afresh. Nobody waits for a slow
 *   callback but the deregistration of its own entity.
 *
 * THREADS
 *   Any thread may call anything at any time, also threads that end at any moment: what a thread was
 *   inside of is left for it (but not a reader object's section: whoever takes the reader over leaves it).
 *   Only RtmxShutdown asks that nobody else is in a call. No call is a cancellation point.
 *   The library's own threads block all signals and are started when they are first needed:
 *     rtm-reclaimer   runs cleanup functions (first registration with one)
 *     rtm-events      wakes those who run callbacks; runs no client code (first callback)
 *     rtm-event-N     run callbacks of entities without a queue (first such callback).
 *                     RTMX_LIMITS.IdleEventThreads of them (2; at least 1) stay. While all are inside
 *                     callbacks and something is due, more are started, up to RTMX_LIMITS.MaxEventThreads
 *                     (64): so many callbacks may block without delaying other entities' events. They end
 *                     after a second without work.
 *   After the beginning of exit() they start no client code any more.
 *   A callback, a method or a cleanup function may call pthread_exit, or be cancelled at a cancellation
 *   point of its own (deferred): what its thread was inside of is released; a thread of the
 *   library is replaced. UNSUPPORTED, with undefined effect: leaving a function of the
 *   library, or a client function that it called, by longjmp or a C++ exception; asynchronous
 *   cancellation (PTHREAD_CANCEL_ASYNCHRONOUS) of a thread that is inside either.
 *
 * WHEN MEMORY RUNS OUT
 *   A call that needs memory and finds none answers ERROR_NOT_ENOUGH_MEMORY (ERROR_NO_SYSTEM_RESOURCES if it
 *   is a thread that cannot be started) and has changed nothing. Never for memory fail: RtmDeregisterEntity,
 *   RtmxDeregisterEntityLater, RtmReleaseEntities, RtmxFormatStatistics, leaving, deleting, and the end of a thread.
 *   In a thread's first call the first three then use one of two memberships that the first registration has put
 *   by; while both are in use they wait for one. RtmxFormatEntities uses one as well, but does not wait for it.
 *   What departs while there is no memory is cleaned up when there is some again. Not ours: the C library ends the
 *   process if there is no memory for the thread-local data of a library that was loaded by dlopen, at a thread's
 *   first access.
 *
 * UNLOADING A CLIENT
 *   RtmDeregisterEntity(h)    returns when none of the entity's callbacks and methods runs or ever will
 *   RtmxFlush()               returns when its cleanup function has run: now dlclose() is safe
 *
 * LIFE OF A CONTEXT
 *   RtmxRegisterEntity(..., Context, Cleanup, ...)   the library lends Context to readers
 *   RtmxEnter(); RtmxGetContext(h, &c); use c; RtmxLeave();
 *   RtmDeregisterEntity(h)                           nobody new finds it
 *   Cleanup(Context), later, or within RtmxFlush()   nobody has it any more
 */

#ifndef RTMV2_H
#define RTMV2_H

#include <stddef.h>
#include <stdint.h>

/*
 * Basic types. An application that has its own (a Windows compatibility layer) defines RTM_NO_BASIC_TYPES
 * before it includes this header. They must have these widths: checked below.
 */
#ifndef RTM_NO_BASIC_TYPES
typedef uint32_t DWORD, *PDWORD;
typedef int32_t INT;
typedef uint32_t UINT, *PUINT;
typedef uint32_t ULONG, *PULONG;
typedef uint64_t ULONGLONG;
typedef uint16_t USHORT;
typedef uint8_t UCHAR, *PUCHAR;
typedef int32_t BOOL;
typedef void *PVOID;
typedef void *HANDLE;
#ifndef VOID
#define VOID void
#endif
#ifndef WINAPI
#define WINAPI
#endif
#ifndef FALSE
#define FALSE 0
#endif
#ifndef TRUE
#define TRUE 1
#endif
#endif /* RTM_NO_BASIC_TYPES */

/* A negative array size here means that a basic type has the wrong width. */
typedef char RTM_CHECK_DWORD[sizeof(DWORD) == 4 ? 1 : -1];
typedef char RTM_CHECK_UINT[sizeof(UINT) == 4 ? 1 : -1];
typedef char RTM_CHECK_ULONG[sizeof(ULONG) == 4 ? 1 : -1];
typedef char RTM_CHECK_ULONGLONG[sizeof(ULONGLONG) == 8 ? 1 : -1];
typedef char RTM_CHECK_USHORT[sizeof(USHORT) == 2 ? 1 : -1];
typedef char RTM_CHECK_BOOL[sizeof(BOOL) == 4 ? 1 : -1];
typedef char RTM_CHECK_HANDLE[sizeof(HANDLE) == 8 ? 1 : -1];

#ifndef RTM_API
#define RTM_API
#endif

/* Codes. Those from 158 on that RTMv2 does not document are this library's use of Win32 codes. */
#ifndef NO_ERROR
#define NO_ERROR 0                      /* done */
#endif
#ifndef ERROR_INVALID_HANDLE
#define ERROR_FILE_NOT_FOUND 2          /* not used here */
#define ERROR_ACCESS_DENIED 5           /* the object belongs to another entity */
#define ERROR_INVALID_HANDLE 6          /* stale, forged, foreign, of another kind or table */
#define ERROR_NOT_ENOUGH_MEMORY 8       /* nothing has changed */
#define ERROR_INVALID_DATA 13           /* more than 32 methods */
#define ERROR_NOT_SUPPORTED 50
#define ERROR_INVALID_PARAMETER 87      /* NULL, misaligned, out of range */
#define ERROR_INSUFFICIENT_BUFFER 122
#define ERROR_NOT_LOCKED 158            /* not inside a read section */
#define ERROR_BUSY 170                  /* in use */
#define ERROR_ALREADY_EXISTS 183
#define ERROR_POSSIBLE_DEADLOCK 1131    /* the call would wait for its own thread */
#define ERROR_NOT_FOUND 1168            /* the entity exports none of the methods */
#define ERROR_INTERNAL_ERROR 1359       /* a defect of the library was caught */
#define ERROR_NO_SYSTEM_RESOURCES 1450  /* a limit is reached */
#define ERROR_BAD_CONFIGURATION 1610    /* not used here */
#define ERROR_INVALID_STATE 5023        /* forked child */
#endif

/* Changes whenever a program built against an older header might not run with the library. */
#define RTMX_ABI_NUMBER 1

#define RTM_MAX_VIEWS 32
#define RTM_VIEW_MASK_SIZE 0x20

#define RTM_VIEW_ID_UCAST 0
#define RTM_VIEW_ID_MCAST 1
#define RTM_VIEW_MASK_NONE 0x00000000u
#define RTM_VIEW_MASK_ANY 0x00000000u
#define RTM_VIEW_MASK_UCAST 0x00000001u
#define RTM_VIEW_MASK_MCAST 0x00000002u
#define RTM_VIEW_MASK_ALL 0xFFFFFFFFu

#define METHOD_TYPE_ALL_METHODS 0xFFFFFFFFu

/* Methods that protocols export; the syntax of the data is theirs. */
#define METHOD_RIP2_NEIGHBOUR_ADDR 0x00000001u
#define METHOD_RIP2_OUTBOUND_INTF 0x00000002u
#define METHOD_RIP2_ROUTE_TAG 0x00000004u
#define METHOD_RIP2_ROUTE_TIMESTAMP 0x00000008u
#define METHOD_OSPF_ROUTE_TYPE 0x00000001u
#define METHOD_OSPF_ROUTE_METRIC 0x00000002u
#define METHOD_OSPF_LSDB_TYPE 0x00000004u
#define METHOD_OSPF_ROUTE_TAG 0x00000008u
#define METHOD_OSPF_ROUTE_AREA 0x00000010u
#define METHOD_OSPF_FWD_ADDRESS 0x00000020u
#define METHOD_BGP4_AS_PATH 0x00000001u
#define METHOD_BGP4_PEER_ID 0x00000002u
#define METHOD_BGP4_PA_ORIGIN 0x00000004u
#define METHOD_BGP4_NEXTHOP_ATTR 0x00000008u

/* RtmBlockMethods. The values of the target types are this library's own: RTMv2 publishes none. */
#define RTM_RESUME_METHODS 0
#define RTM_BLOCK_METHODS 1
#define DEST_TYPE 1
#define ROUTE_TYPE 2
#define NEXTHOP_TYPE 3

/* RtmxFormatStatistics, RtmxFormatEntities. */
#define RTMX_TEXT 0
#define RTMX_JSON 1
#define RTMX_PROMETHEUS 2

#ifdef __cplusplus
extern "C" {
#endif

typedef HANDLE RTM_ENTITY_HANDLE, *PRTM_ENTITY_HANDLE;
typedef DWORD RTM_VIEW_SET, *PRTM_VIEW_SET;
typedef DWORD RTM_ENTITY_METHOD_TYPE, *PRTM_ENTITY_METHOD_TYPE;

/* An entity's identity: two numbers, compared for equality only, or both as one. */
__extension__ typedef struct _RTM_ENTITY_ID {
    union {
        struct {
            ULONG EntityProtocolId; /* which protocol */
            ULONG EntityInstanceId; /* which of its registrations */
        };
        ULONGLONG EntityId; /* both; on a little-endian machine the protocol is the low half */
    };
} RTM_ENTITY_ID, *PRTM_ENTITY_ID;

/* Where an entity is registered, and as what. Holds no handle. */
typedef struct _RTM_ENTITY_INFO {
    USHORT RtmInstanceId; /* usually 0; instances share nothing */
    USHORT AddressFamily; /* AF_INET or AF_INET6 of this platform */
    RTM_ENTITY_ID EntityId;
} RTM_ENTITY_INFO, *PRTM_ENTITY_INFO;

/* What a routing table offers; constant for the life of the table. */
typedef struct _RTM_REGN_PROFILE {
    UINT MaxNextHopsInRoute; /* most next hops of a route */
    UINT MaxHandlesInEnum;   /* most items one enumeration call may ask for */
    RTM_VIEW_SET ViewsSupported;
    UINT NumberOfViews;      /* bits set in ViewsSupported */
} RTM_REGN_PROFILE, *PRTM_REGN_PROFILE;

/* Kinds of event. */
typedef enum _RTM_EVENT_TYPE {
    RTM_ENTITY_REGISTERED = 0,   /* Context1: the other entity's handle, Context2: its PRTM_ENTITY_INFO */
    RTM_ENTITY_DEREGISTERED = 1, /* the same */
    RTM_ROUTE_EXPIRED = 2,       /* not in this version */
    RTM_CHANGE_NOTIFICATION = 3, /* not in this version */
    RTMX_EVENTS_MISSED = 0x10000 /* both NULL: events are missing here, see EVENTS */
} RTM_EVENT_TYPE, *PRTM_EVENT_TYPE;
#define RTMX_EVENTS_MISSED RTMX_EVENTS_MISSED

/* An entity's event callback: see EVENTS. */
typedef DWORD(WINAPI _EVENT_CALLBACK)(RTM_ENTITY_HANDLE RtmRegHandle, RTM_EVENT_TYPE EventType,
                                      PVOID Context1, PVOID Context2);
typedef _EVENT_CALLBACK *RTM_EVENT_CALLBACK, **PRTM_EVENT_CALLBACK;

/* Input and output of exported methods; variable length. */
typedef struct _RTM_ENTITY_METHOD_INPUT {
    RTM_ENTITY_METHOD_TYPE MethodType;
    UINT InputSize;
    UCHAR InputData[1];
} RTM_ENTITY_METHOD_INPUT, *PRTM_ENTITY_METHOD_INPUT;

typedef struct _RTM_ENTITY_METHOD_OUTPUT {
    RTM_ENTITY_METHOD_TYPE MethodType;
    DWORD MethodStatus;
    UINT OutputSize;
    UCHAR OutputData[1];
} RTM_ENTITY_METHOD_OUTPUT, *PRTM_ENTITY_METHOD_OUTPUT;

/* An exported method: see RtmInvokeMethod. */
typedef VOID(WINAPI _ENTITY_METHOD)(RTM_ENTITY_HANDLE CallerHandle, RTM_ENTITY_HANDLE CalleeHandle,
                                    RTM_ENTITY_METHOD_INPUT *Input, RTM_ENTITY_METHOD_OUTPUT *Output);
typedef _ENTITY_METHOD *RTM_ENTITY_EXPORT_METHOD, **PRTM_ENTITY_EXPORT_METHOD;

/* A method table; variable length. Methods[i] is the method of bit 1 << i, NULL a hole. */
typedef struct _RTM_ENTITY_EXPORT_METHODS {
    UINT NumMethods; /* at most 32 */
    RTM_ENTITY_EXPORT_METHOD Methods[1];
} RTM_ENTITY_EXPORT_METHODS, *PRTM_ENTITY_EXPORT_METHODS;

/* Called once with an entity's context when nobody has it any more: see RtmxRegisterEntity. */
typedef VOID(WINAPI *RTMX_CLEANUP)(PVOID Context);

/* Called with a text about a defect that was caught: see RtmxSetLogFunction. */
typedef VOID(WINAPI *RTMX_LOG)(PVOID Context, const char *Text);

/* A reader object: see RtmxCreateReader. */
typedef HANDLE RTMX_READER_HANDLE, *PRTMX_READER_HANDLE;

/* An event queue: see RtmxCreateEventQueue. */
typedef HANDLE RTMX_QUEUE_HANDLE, *PRTMX_QUEUE_HANDLE;

/* Figures of one moment; counts of entities unless said otherwise. Grows at its end. */
typedef struct _RTMX_STATISTICS {
    ULONGLONG Live;           /* registered now */
    ULONGLONG Referenced;     /* deregistered, still referenced */
    ULONGLONG Retired;        /* deregistered, not reclaimed yet; for a moment one may count twice */
    ULONGLONG RetiredPeak;    /* the most that Retired has been */
    ULONGLONG Reclaimed;      /* reclaimed so far */
    ULONGLONG Registered;     /* registrations so far */
    ULONGLONG Deregistered;   /* deregistrations so far */
    ULONGLONG ExhaustedSlots; /* slots used up for ever, after 2^32 entities each */
    ULONGLONG Chunks;         /* chunks of 512 slots */
    ULONGLONG Bytes;          /* bytes of slots, indexes and journals */
    ULONGLONG IndexBytes;     /* bytes of the indexes alone */
    ULONGLONG Tables;         /* routing tables */
    ULONGLONG Inside;         /* threads and readers inside a read section */
    ULONGLONG Events;         /* events handed to callbacks so far */
    ULONGLONG EventsMissed;   /* times that an entity was told that it missed some */
    ULONGLONG Listeners;      /* entities with a callback */
    ULONGLONG EventThreads;   /* threads rtm-event-N */
    ULONGLONG EventQueues;    /* queues from RtmxCreateEventQueue */
} RTMX_STATISTICS, *PRTMX_STATISTICS;

/* What the registry may hold. Grows at its end. */
typedef struct _RTMX_LIMITS {
    UINT MaxEntities;       /* registered at a time; default and most 2^28 */
    UINT MaxInstances;      /* instances with a table; default 65,536 */
    UINT MaxReferences;     /* on one entity; default and most 2^28 - 1 */
    UINT MaxOpaquePointers; /* entities with an opaque pointer, in all tables; default 1,024 */
    ULONGLONG MaxBacklog;   /* deregistered and not reclaimed; default 2^20; see RtmRegisterEntity */
    /* From here on: not in the first version of the structure. */
    ULONGLONG MaxJournal;   /* events that a table keeps for slow callbacks, 32 bytes each while they are
                               kept; default 2^20, most 2^23; rounded up to a power of two, at least 512.
                               See EVENTS. For tables whose first callback is registered afterwards. */
    UINT IdleEventThreads;  /* threads rtm-event-N that stay without work; default 2; at least 1 stays, and
                               at most MaxEventThreads */
    UINT MaxEventThreads;   /* threads rtm-event-N; default 64 */
} RTMX_LIMITS, *PRTMX_LIMITS;

/*
 * Registers an entity with a routing table: the first call of every client.
 *
 * @param RtmEntityInfo  in: instance, address family (AF_INET or AF_INET6) and id. Required.
 * @param ExportMethods  in: methods to export, or NULL. Copied.
 * @param EventCallback  in: called when other entities of the table come and go, see EVENTS; NULL for no
 *   events. Runs on threads of the library's.
 * @param ReserveOpaquePointer  in: TRUE reserves an opaque pointer.
 * @param RtmRegProfile  out: what the table offers. Required.
 * @param RtmRegHandle   out: the handle, never NULL. Required. Both outputs are written before the
 *   callback can be called.
 *
 * @return NO_ERROR;
 *   ERROR_INVALID_PARAMETER a required pointer is NULL or misaligned, or the address family is not
 *   supported;
 *   ERROR_INVALID_DATA more than 32 methods;
 *   ERROR_ALREADY_EXISTS the id is registered in this instance and family, or is being registered or
 *   deregistered just now;
 *   ERROR_NO_SYSTEM_RESOURCES a limit is reached (entities, instances, opaque pointers), or too many
 *   departed entities wait for a reader that stays inside or for slow cleanups: see RTMX_LIMITS; or a
 *   thread for the callback cannot be started;
 *   ERROR_POSSIBLE_DEADLOCK called inside a registered or deregistered event;
 *   ERROR_NOT_ENOUGH_MEMORY.
 *   On failure nothing is registered and the outputs are untouched.
 *
 * The same id may be registered once in each instance and family. Ownership: the registration is the
 * caller's until RtmDeregisterEntity. Who was there before is not told as an event: see
 * RtmGetRegisteredEntities. Any thread. Lock-free but for the start of threads, which the first
 * callback needs; may allocate. Allowed in a section, a method, a cleanup, and in a callback that tells of
 * RTMX_EVENTS_MISSED.
 */
RTM_API DWORD RtmRegisterEntity(PRTM_ENTITY_INFO RtmEntityInfo,
                                PRTM_ENTITY_EXPORT_METHODS ExportMethods,
                                RTM_EVENT_CALLBACK EventCallback,
                                BOOL ReserveOpaquePointer,
                                PRTM_REGN_PROFILE RtmRegProfile,
                                PRTM_ENTITY_HANDLE RtmRegHandle);

/*
 * As RtmRegisterEntity, with a context pointer that others look up by the entity's handle, and an
 * optional cleanup function for it.
 *
 * @param Context  in: any pointer; found by RtmxGetContext until deregistration takes effect.
 * @param Cleanup  in: called exactly once with Context after the entity has been deregistered and the
 *   last read section that could hold the pointer has been left; NULL for none.
 * @param EventQueue  in: the queue that EventCallback is called from (RtmxDispatchEvents); NULL: the
 *   library's threads call it. Looked at, and not used, if EventCallback is NULL.
 *
 * Cleanup runs on the library's reclaimer thread ("rtm-reclaimer", started by the first registration
 * that has a cleanup function, all signals blocked) or inside RtmxFlush; with no lock of the library
 * held, never inside another client's call, never in a forked child. None is started any more once
 * exit() has come to the library's exit handler (set by the first such registration), unless it is
 * flushed or shut down: an application whose contexts depend on global objects calls RtmxFlush before
 * it exits. It must return, may call anything but the waiting functions (which answer
 * ERROR_POSSIBLE_DEADLOCK there), and may register and deregister entities.
 *
 * @return as RtmRegisterEntity; ERROR_INVALID_HANDLE EventQueue is not NULL and not a queue;
 *   ERROR_NO_SYSTEM_RESOURCES also if the reclaimer thread cannot be started. If registration fails,
 *   Cleanup is not called: Context stays the caller's.
 *
 * Any thread. Lock-free but for the start of threads and finding the queue; may allocate. Allowed as
 * RtmRegisterEntity.
 */
RTM_API DWORD RtmxRegisterEntity(PRTM_ENTITY_INFO RtmEntityInfo,
                                 PRTM_ENTITY_EXPORT_METHODS ExportMethods,
                                 RTM_EVENT_CALLBACK EventCallback,
                                 BOOL ReserveOpaquePointer,
                                 PVOID Context,
                                 RTMX_CLEANUP Cleanup,
                                 RTMX_QUEUE_HANDLE EventQueue,
                                 PRTM_REGN_PROFILE RtmRegProfile,
                                 PRTM_ENTITY_HANDLE RtmRegHandle);

/*
 * Ends a registration. Its handle is dead for ever.
 *
 * First the entity is taken out: no look-up finds it any more, and calls that wait for its methods to be
 * resumed fail. Then the call waits for the entity's methods and its callback, if any of them is running,
 * and returns when none of them runs or ever will; called from its own callback (where that is allowed,
 * see EVENTS), it waits for all but that one. API calls and read sections are not waited for.
 *
 * When it returns, no look-up finds the entity or its context any more, and its id is free. What
 * other threads hold inside their read sections they keep until they leave. A context with a cleanup
 * function is cleaned up later: call RtmxFlush before you free or unload what it needs. References
 * that others hold keep the handle describable (RtmGetEntityInfo) and nothing else.
 *
 * @return NO_ERROR; ERROR_INVALID_HANDLE not a live registration: stale, forged, of another kind, or
 *   another thread deregisters it just now and wins (and waits; this call does not);
 *   ERROR_POSSIBLE_DEADLOCK called inside a registered or deregistered event; from one of the entity's
 *   own methods; inside a read section, if the entity has a callback or methods; or where waiting would
 *   close a circle of threads that wait for client code (two methods that deregister each other's
 *   entities: one of them is refused): nothing has changed, see RtmxDeregisterEntityLater.
 *
 * Do not hold a lock that the entity's callback or methods may be waiting for. Any thread, also inside a
 * cleanup function. Lock-free if the entity has neither callback nor methods; else it blocks while one of
 * them is running. Allocates, but needs no memory: see WHEN MEMORY RUNS OUT.
 */
RTM_API DWORD RtmDeregisterEntity(RTM_ENTITY_HANDLE RtmRegHandle);

/*
 * As RtmDeregisterEntity, but never waits: the entity is taken out, and the rest follows when its last
 * running method and its callback have returned. What an entity calls to end itself from its own methods
 * and events.
 *
 * @param RtmRegHandle  in: the registration.
 *
 * When it returns, no look-up finds the entity, no invocation and no event of it begins any more, and its
 * handle is dead; but those that had begun may still be running (an invocation: all its methods), and the id
 * is taken until they have returned. Completion is the cleanup function (RtmxRegisterEntity), which is
 * called when nothing of the entity runs any more and the context is in nobody's hands; or wait for it
 * with RtmxFlush.
 *
 * @return NO_ERROR; ERROR_INVALID_HANDLE not a live registration: stale, forged, of another kind, or
 *   another thread deregisters it just now and wins.
 *
 * Any thread; allowed in a section, every callback, a method, a cleanup. Lock-free. Allocates, but needs no
 * memory: see WHEN MEMORY RUNS OUT.
 */
RTM_API DWORD RtmxDeregisterEntityLater(RTM_ENTITY_HANDLE RtmRegHandle);

/*
 * Lists the entities registered with the caller's instance and family, the caller included.
 *
 * @param RtmRegHandle   in: the caller's registration.
 * @param NumEntities    in: capacity of the arrays; out: entries stored, or, if the capacity was 0,
 *   how many there are. Required.
 * @param EntityHandles  out: handles, each with one reference that the caller gives back with
 *   RtmReleaseEntities; or NULL.
 * @param EntityInfos    out: information, parallel to EntityHandles; or NULL.
 *
 * @return NO_ERROR everything fitted;
 *   ERROR_INSUFFICIENT_BUFFER the capacity was too small, also if it was 0 to ask for the number (unlike
 *   RtmGetEntityMethods); with a capacity above 0, that many entries are stored and referenced all the same;
 *   ERROR_INVALID_HANDLE RtmRegHandle is not a live registration;
 *   ERROR_INVALID_PARAMETER NumEntities NULL, or a pointer misaligned;
 *   ERROR_POSSIBLE_DEADLOCK called inside a registered or deregistered event;
 *   ERROR_NO_SYSTEM_RESOURCES an entity has the most references it may have;
 *   ERROR_NOT_ENOUGH_MEMORY. On these five no reference is kept and NumEntities is untouched; what
 *   stands in the arrays then means nothing.
 *
 * Shows, once each and in no particular order, every entity that was registered before the call and
 * is not deregistered during it. Any thread. Lock-free; allocates only in a thread's first call.
 */
RTM_API DWORD RtmGetRegisteredEntities(RTM_ENTITY_HANDLE RtmRegHandle,
                                       PUINT NumEntities,
                                       PRTM_ENTITY_HANDLE EntityHandles,
                                       PRTM_ENTITY_INFO EntityInfos);

/*
 * Gives references on entities back.
 *
 * @param RtmRegHandle   in: the caller's registration.
 * @param NumEntities    in: number of handles, may be 0.
 * @param EntityHandles  in: the handles; may be NULL if there are none. Not written.
 *
 * @return NO_ERROR;
 *   ERROR_INVALID_HANDLE RtmRegHandle is not a live registration (then nothing is released), or an
 *   element is bad, of another table or has no reference (then the others are released);
 *   ERROR_INVALID_PARAMETER NULL or misaligned array with a count above 0.
 *
 * Never ends a registration. Any thread. Lock-free; allocates only in a thread's first call, but needs no
 * memory: see WHEN MEMORY RUNS OUT.
 */
RTM_API DWORD RtmReleaseEntities(RTM_ENTITY_HANDLE RtmRegHandle,
                                 UINT NumEntities,
                                 PRTM_ENTITY_HANDLE EntityHandles);

/*
 * Describes an entity.
 *
 * @param RtmRegHandle  in: the caller's registration.
 * @param EntityHandle  in: the entity, of the same table; may be the caller itself. Also one that
 *   has been deregistered and is still referenced.
 * @param EntityInfo    out: its information. Required.
 *
 * @return NO_ERROR; ERROR_INVALID_HANDLE a handle is bad; ERROR_INVALID_PARAMETER EntityInfo NULL or
 *   misaligned.
 *
 * Takes no reference. Any thread, inside a section, a callback, a cleanup or a SIGNAL HANDLER: it uses
 * no guard, no thread-local data, no memory and no lock, and never retries (an entity that changes
 * under it reads as invalid). Wait-free.
 */
RTM_API DWORD RtmGetEntityInfo(RTM_ENTITY_HANDLE RtmRegHandle,
                               RTM_ENTITY_HANDLE EntityHandle,
                               PRTM_ENTITY_INFO EntityInfo);

/*
 * Gives a structure from RtmGetEntityInfo back. It holds no handle, so nothing happens; call it for
 * symmetry, once, twice or never.
 *
 * @return NO_ERROR; ERROR_INVALID_HANDLE RtmRegHandle is not a live registration;
 *   ERROR_INVALID_PARAMETER EntityInfo NULL or misaligned. The structure is not looked at.
 *
 * Any thread, also a signal handler. Wait-free.
 */
RTM_API DWORD RtmReleaseEntityInfo(RTM_ENTITY_HANDLE RtmRegHandle,
                                   PRTM_ENTITY_INFO EntityInfo);

/*
 * Takes one more reference on each object: all of them or, on failure, none.
 *
 * @param RtmRegHandle  in: the caller's registration.
 * @param NumHandles    in: number of handles, may be 0. A handle listed twice gets two references.
 * @param RtmHandles    in: handles of counted objects of the caller's table (entities, in this
 *   version); may be NULL if there are none.
 *
 * @return NO_ERROR; ERROR_INVALID_HANDLE a handle is bad; ERROR_INVALID_PARAMETER NULL or misaligned
 *   array with a count above 0; ERROR_NO_SYSTEM_RESOURCES an object has the most references it may
 *   have (RTMX_LIMITS).
 *
 * Give them back with the release call of the object's kind (RtmReleaseEntities). Works on a
 * deregistered entity that is still referenced. Any thread. Lock-free; allocates only in a thread's
 * first call.
 */
RTM_API DWORD RtmReferenceHandles(RTM_ENTITY_HANDLE RtmRegHandle,
                                  UINT NumHandles,
                                  HANDLE *RtmHandles);

/*
 * Tells the methods that an entity exports.
 *
 * @param RtmRegHandle  in: the caller's registration.
 * @param EntityHandle  in: the entity, of the same table; may be the caller itself.
 * @param NumMethods    in: capacity of the array, 0 to ask for the number only; out: number of methods,
 *   holes included, or, if the capacity was too small, number stored. Required.
 * @param ExptMethods   out: the methods, NULL where there is a hole; may be NULL if the capacity is 0.
 *
 * @return NO_ERROR all are stored, or the capacity was 0;
 *   ERROR_INSUFFICIENT_BUFFER the capacity was above 0 and too small: that many are stored;
 *   ERROR_INVALID_HANDLE a handle is bad, or the entity has been deregistered;
 *   ERROR_INVALID_PARAMETER NumMethods NULL or misaligned, or ExptMethods with a capacity above 0;
 *   ERROR_NOT_ENOUGH_MEMORY (only in a thread's first call). On the last three nothing is written.
 *
 * Never call a returned pointer yourself: only RtmInvokeMethod makes sure that the entity is still there.
 * Takes no reference; the pointers stay the exporting client's. Any thread; allowed in a section, a
 * callback, a method, a cleanup. Wait-free; allocates only in a thread's first call.
 */
RTM_API DWORD RtmGetEntityMethods(RTM_ENTITY_HANDLE RtmRegHandle,
                                  RTM_ENTITY_HANDLE EntityHandle,
                                  PUINT NumMethods,
                                  PRTM_ENTITY_EXPORT_METHOD ExptMethods);

/*
 * Runs methods of an entity on the calling thread, one after the other in ascending order of their bits,
 * and collects their output.
 *
 * @param RtmRegHandle  in: the caller's registration.
 * @param EntityHandle  in: the entity, of the same table; may be the caller itself.
 * @param Input         in: MethodType says which methods (bits that are holes or beyond the table are
 *   skipped); the rest is theirs. Each of them gets this very structure. Required.
 * @param OutputSize    in: bytes at Output; out: bytes used. Required.
 * @param Output        out: records, one for each method that ran, without padding between them: the
 *   next one is offsetof(RTM_ENTITY_METHOD_OUTPUT, OutputData) (12) + OutputSize bytes further, and thus
 *   aligned only if all sizes before it are. Required.
 *
 * Each method is given a 4-byte aligned record with MethodType = its bit, MethodStatus = NO_ERROR and
 * OutputSize = the room for data, which it replaces by what it used; if it does not, all room counts as
 * used. A size beyond the room is cut to it, and MethodStatus becomes ERROR_INSUFFICIENT_BUFFER. A method
 * that fails does not stop the others.
 *
 * @return NO_ERROR every selected method ran;
 *   ERROR_INVALID_HANDLE a handle is bad, or the entity is being deregistered or gone, also while the
 *   call waits: then no method ran;
 *   ERROR_INVALID_PARAMETER Input, OutputSize or Output NULL or misaligned, or Input->MethodType 0;
 *   ERROR_NOT_FOUND the entity exports none of the methods; *OutputSize is set to 0;
 *   ERROR_INSUFFICIENT_BUFFER no room for the next record: those before it are there, and *OutputSize
 *   covers them;
 *   ERROR_POSSIBLE_DEADLOCK the entity's methods are blocked, and the call would wait for this very thread:
 *   it blocked them itself, or waiting would close a circle of threads that wait for client code, or
 *   it is inside a read section;
 *   ERROR_NOT_ENOUGH_MEMORY; as on ERROR_INSUFFICIENT_BUFFER if some methods have run, else nothing is
 *   written.
 *
 * Waits, without limit, while the entity's methods are blocked (RtmBlockMethods); else lock-free. No lock
 * of the library is held while a method runs, and the entity's deregistration is not complete before it
 * has returned. Any number of threads may invoke at once. A method may call anything but the waiting
 * functions and may invoke further methods, also its own entity's; see WHAT MAY BE CALLED WHERE. A method
 * may end its thread (pthread_exit, deferred cancellation): then the invocation is over. Allocates in a
 * thread's first call, and when a record is not aligned, which also costs a copy of the room that is left.
 */
RTM_API DWORD RtmInvokeMethod(RTM_ENTITY_HANDLE RtmRegHandle,
                              RTM_ENTITY_HANDLE EntityHandle,
                              PRTM_ENTITY_METHOD_INPUT Input,
                              PUINT OutputSize,
                              PRTM_ENTITY_METHOD_OUTPUT Output);

/*
 * Blocks the caller's own methods, or lets invokers in again: for the time in which it rearranges what its
 * methods read. A switch, not a counter.
 *
 * @param RtmRegHandle  in: the caller's registration.
 * @param TargetHandle  in: must be NULL; RTMv2 names destinations, routes and next hops here, and does
 *   not support them.
 * @param TargetType    in: must be 0.
 * @param BlockingFlag  in: RTM_BLOCK_METHODS or RTM_RESUME_METHODS.
 *
 * @return NO_ERROR also if they are blocked or resumed already, or if the entity has none;
 *   ERROR_INVALID_HANDLE RtmRegHandle is not a live registration, also if it is deregistered while the call
 *   waits;
 *   ERROR_INVALID_PARAMETER another BlockingFlag;
 *   ERROR_NOT_SUPPORTED a target;
 *   ERROR_POSSIBLE_DEADLOCK blocking from inside a method of the entity, inside a read section, or where
 *   waiting would close a circle of threads that wait for client code: nothing has changed;
 *   ERROR_NOT_ENOUGH_MEMORY (only in a thread's first call).
 *
 * Blocking returns when the methods that are running have returned. Invocations then wait until the methods
 * are resumed, by any thread, which lets all of them in at once, or until the entity is deregistered,
 * which fails them. Block shortly. The blocked state ends with the registration. Any thread; resuming is
 * lock-free and allowed everywhere.
 */
RTM_API DWORD RtmBlockMethods(RTM_ENTITY_HANDLE RtmRegHandle,
                              HANDLE TargetHandle,
                              UCHAR TargetType,
                              DWORD BlockingFlag);

/*
 * Creates an event queue: it collects the events of the entities that are registered with it
 * (RtmxRegisterEntity) until a thread of the application's dispatches them. For daemons with an event
 * loop: one descriptor says when there is something to do.
 *
 * @param EventQueue  out: its handle, never NULL. Required.
 *
 * @return NO_ERROR; ERROR_INVALID_PARAMETER EventQueue NULL or misaligned;
 *   ERROR_NO_SYSTEM_RESOURCES there are 65,536 queues, or the process can have no further descriptor;
 *   ERROR_NOT_ENOUGH_MEMORY.
 *
 * Ownership: the queue is the caller's until RtmxDeleteEventQueue or RtmxShutdown. Any number of entities
 * of any tables may share it. Any thread; allowed everywhere. Blocks shortly; allocates.
 */
RTM_API DWORD RtmxCreateEventQueue(PRTMX_QUEUE_HANDLE EventQueue);

/*
 * Deletes an event queue. Its handle is dead for ever.
 *
 * @param EventQueue  in: the queue.
 *
 * @return NO_ERROR; ERROR_INVALID_HANDLE not a queue (any more);
 *   ERROR_BUSY a thread dispatches it, or an entity is registered with it (or was, and has not been
 *   reclaimed since RtmxDeregisterEntityLater: see RtmxFlush).
 *
 * Take the descriptor out of your poll set first: it is closed at once if no entity has used the queue,
 * else at the latest when those that have are reclaimed (RtmxFlush). Any thread. Blocks shortly; allocates
 * nothing.
 */
RTM_API DWORD RtmxDeleteEventQueue(RTMX_QUEUE_HANDLE EventQueue);

/*
 * The descriptor of an event queue, for poll, epoll or select: readable while there is something to
 * dispatch.
 *
 * @param EventQueue  in: the queue.
 * @param Descriptor  out: the descriptor (an eventfd). Required.
 *
 * @return NO_ERROR; ERROR_INVALID_HANDLE not a queue; ERROR_INVALID_PARAMETER Descriptor NULL or
 *   misaligned.
 *
 * Wait for it, level- or edge-triggered, and then call RtmxDispatchEvents; do not read, write or close
 * it. It may be readable when another thread has just dispatched everything. Ownership: the queue's. Any
 * thread. Blocks shortly; allocates nothing.
 */
RTM_API DWORD RtmxGetEventQueueDescriptor(RTMX_QUEUE_HANDLE EventQueue,
                                          int *Descriptor);

/*
 * Runs the event callbacks that are due of the entities registered with a queue, on the calling thread.
 *
 * @param EventQueue     in: the queue.
 * @param Budget         in: most callbacks to run; above 0.
 * @param NumDispatched  out: how many were run; or NULL.
 *
 * @return NO_ERROR also if none was due;
 *   ERROR_INVALID_HANDLE not a queue;
 *   ERROR_INVALID_PARAMETER Budget 0, or NumDispatched misaligned;
 *   ERROR_POSSIBLE_DEADLOCK called inside an event callback, or inside a read section, which the
 *   callbacks would find themselves in;
 *   ERROR_NOT_ENOUGH_MEMORY (only in a thread's first call).
 *   On failure no callback has run and NumDispatched is untouched.
 *
 * What the budget leaves stays in the queue, whose descriptor stays readable. Never waits for an event.
 * Several threads may dispatch one queue: the callbacks of one entity still run one at a time and in
 * order. A callback that leaves a read section open is the last one that is run. A callback may end the
 * thread (pthread_exit, deferred cancellation): its event is over, the others stay. Any thread, also in a
 * method or a cleanup. Lock-free but for finding the queue; allocates only in a thread's first call.
 */
RTM_API DWORD RtmxDispatchEvents(RTMX_QUEUE_HANDLE EventQueue,
                                 UINT Budget,
                                 PUINT NumDispatched);

/*
 * Enters a read section on this thread: what is looked up inside stays valid until it is left.
 * Nestable; each call needs its RtmxLeave.
 *
 * @return NO_ERROR; ERROR_NOT_ENOUGH_MEMORY (only in a thread's first call);
 *   ERROR_NO_SYSTEM_RESOURCES (in a thread's first call: the process has no pthread key left; or the
 *   thread has entered 2^32 times).
 *
 * A thread that stays inside keeps departed entities from being reclaimed and in the end others from
 * registering (RTMX_LIMITS.MaxBacklog): leave, or call RtmxQuiescent, now and then, and do not sleep
 * inside. A thread that ends inside leaves by itself (unless it enters in the last round of its pthread
 * destructors). Any thread, not a signal handler. Wait-free but
 * for the first call, which allocates, and each 128th, which walks all members (lock-free).
 */
RTM_API DWORD RtmxEnter(void);

/*
 * Leaves a read section of this thread.
 *
 * @return NO_ERROR; ERROR_NOT_LOCKED the thread is not inside.
 *
 * Wait-free, allocates nothing.
 */
RTM_API DWORD RtmxLeave(void);

/*
 * Lets go of everything this thread has looked up and stays inside: for loops that never leave.
 *
 * @return NO_ERROR; ERROR_NOT_LOCKED the thread is not inside; ERROR_POSSIBLE_DEADLOCK the section is
 *   nested in another one, whose pointers would be lost.
 *
 * Wait-free, allocates nothing.
 */
RTM_API DWORD RtmxQuiescent(void);

/*
 * Looks up the context pointer of an entity. Valid until the read section ends.
 *
 * @param EntityHandle  in: an entity of any table.
 * @param Context       out: the pointer given to RtmxRegisterEntity (NULL for an entity that was
 *   registered without one). Required.
 *
 * @return NO_ERROR; ERROR_INVALID_HANDLE not registered (any more), whatever references there are;
 *   ERROR_NOT_LOCKED the thread is not inside a read section; ERROR_INVALID_PARAMETER Context NULL or
 *   misaligned.
 *
 * Wait-free, writes no shared memory, allocates nothing.
 */
RTM_API DWORD RtmxGetContext(RTM_ENTITY_HANDLE EntityHandle,
                             PVOID *Context);

/*
 * Looks up the contexts of many entities at once; several times faster per handle than one by one
 * when there are many entities.
 *
 * @param NumEntities    in: number of handles, may be 0.
 * @param EntityHandles  in: the handles; may be NULL if there are none.
 * @param Contexts       out: a context for each handle, NULL where the handle is bad; may be NULL if
 *   there are none. May be the array of the handles itself; else the two must not overlap.
 * @param NumFound       out: how many handles were good; or NULL.
 *
 * @return NO_ERROR all were good; ERROR_INVALID_HANDLE at least one was bad (the others are looked
 *   up); ERROR_NOT_LOCKED, ERROR_INVALID_PARAMETER as RtmxGetContext, nothing is written.
 *
 * Wait-free, writes no shared memory, allocates nothing.
 */
RTM_API DWORD RtmxGetContexts(UINT NumEntities,
                              PRTM_ENTITY_HANDLE EntityHandles,
                              PVOID *Contexts,
                              PUINT NumFound);

/*
 * Creates a reader object: read sections that are not tied to a thread's own. A reader saves the
 * thread-local access of each call, and lets a worker keep a section of its own beside the thread's.
 *
 * @param Reader  out: its handle. Required.
 *
 * @return NO_ERROR; ERROR_NOT_ENOUGH_MEMORY; ERROR_NO_SYSTEM_RESOURCES there are 65,536 readers;
 *   ERROR_INVALID_PARAMETER Reader NULL or misaligned.
 *
 * A reader is used by one thread at a time; a section of it is left by the thread that entered it.
 * Using one from two threads at once is a defect of the caller with undefined effect. Blocks
 * shortly; allocates about 5 KiB, kept for later readers when this one is deleted.
 */
RTM_API DWORD RtmxCreateReader(PRTMX_READER_HANDLE Reader);

/*
 * Deletes a reader object.
 *
 * @return NO_ERROR; ERROR_INVALID_HANDLE not a reader; ERROR_BUSY inside a read section.
 *
 * Blocks shortly.
 */
RTM_API DWORD RtmxDeleteReader(RTMX_READER_HANDLE Reader);

/*
 * RtmxEnter for a reader object.
 *
 * @return NO_ERROR; ERROR_INVALID_HANDLE not a reader; ERROR_NO_SYSTEM_RESOURCES entered 2^32 times.
 *
 * Allocates nothing.
 */
RTM_API DWORD RtmxReaderEnter(RTMX_READER_HANDLE Reader);

/*
 * RtmxLeave for a reader object.
 *
 * @return NO_ERROR; ERROR_INVALID_HANDLE not a reader; ERROR_NOT_LOCKED not inside.
 */
RTM_API DWORD RtmxReaderLeave(RTMX_READER_HANDLE Reader);

/*
 * RtmxQuiescent for a reader object.
 *
 * @return NO_ERROR; ERROR_INVALID_HANDLE not a reader; ERROR_NOT_LOCKED not inside;
 *   ERROR_POSSIBLE_DEADLOCK nested.
 */
RTM_API DWORD RtmxReaderQuiescent(RTMX_READER_HANDLE Reader);

/*
 * RtmxGetContext inside a reader object's section.
 *
 * @return as RtmxGetContext; ERROR_INVALID_HANDLE also if Reader is not a reader.
 */
RTM_API DWORD RtmxReaderGetContext(RTMX_READER_HANDLE Reader,
                                   RTM_ENTITY_HANDLE EntityHandle,
                                   PVOID *Context);

/*
 * RtmxGetContexts inside a reader object's section.
 *
 * @return as RtmxGetContexts; ERROR_INVALID_HANDLE also if Reader is not a reader, then nothing is
 *   written.
 */
RTM_API DWORD RtmxReaderGetContexts(RTMX_READER_HANDLE Reader,
                                    UINT NumEntities,
                                    PRTM_ENTITY_HANDLE EntityHandles,
                                    PVOID *Contexts,
                                    PUINT NumFound);

/*
 * Returns when every read section that any thread was inside at the call has been left.
 *
 * @return NO_ERROR; ERROR_POSSIBLE_DEADLOCK called inside a read section, a callback, a method or a
 *   cleanup function; ERROR_NOT_ENOUGH_MEMORY.
 *
 * A section that is entered during the call may delay it further. Blocks.
 */
RTM_API DWORD RtmxSynchronize(void);

/*
 * Returns when everything that was deregistered before the call has been cleaned up, and thus every read
 * section left that could have seen any of it: what a plugin calls before it is unloaded. Waits for the
 * callbacks and methods of entities that RtmxDeregisterEntityLater has ended. Runs cleanup functions itself,
 * on this thread. Do not call it while methods are blocked that those callbacks and methods invoke: nobody
 * would see that it waits for its own thread.
 *
 * @return NO_ERROR; ERROR_POSSIBLE_DEADLOCK called inside a read section, a callback, a method or a
 *   cleanup function; ERROR_NOT_ENOUGH_MEMORY. ERROR_POSSIBLE_DEADLOCK also if a cleanup function has
 *   entered a read section and not left it; then some of the cleanups have run.
 *
 * Blocks.
 */
RTM_API DWORD RtmxFlush(void);

/*
 * Gives everything back to the system: memory, reader objects, event queues, the library's threads (what
 * hangs on other threads, about 5 KiB each, when they end or call again). What is still to
 * be cleaned up is cleaned up by the reclaimer thread first. The next registration starts afresh,
 * with default limits; handles from before stay invalid.
 *
 * @return NO_ERROR (also if there is nothing to give back); ERROR_BUSY an entity is registered or
 *   referenced, or a thread or reader is inside a read section; ERROR_POSSIBLE_DEADLOCK called inside
 *   a read section, a callback, a method or a cleanup function; ERROR_NO_SYSTEM_RESOURCES or
 *   ERROR_NOT_ENOUGH_MEMORY a cleanup function has ended its thread, and another cannot be had. On failure
 *   nothing has changed, but that some of what was to be cleaned up may have been.
 *
 * The caller promises that no other thread is in any call of this library, RtmGetEntityInfo included,
 * or makes one until this returns. Blocks.
 */
RTM_API DWORD RtmxShutdown(void);

/*
 * Copies figures of this moment, each exact for itself.
 *
 * @param Statistics  out: the figures. Required.
 * @param Size        in: sizeof(RTMX_STATISTICS) as the caller knows it. A library that knows fewer
 *   figures fills the rest with 0.
 *
 * @return NO_ERROR; ERROR_INVALID_PARAMETER Statistics NULL or misaligned, or Size 0;
 *   ERROR_NOT_ENOUGH_MEMORY.
 *
 * Any thread. Walks all threads' records; blocks shortly. Allocates only in a thread's first call.
 */
RTM_API DWORD RtmxGetStatistics(PRTMX_STATISTICS Statistics,
                                UINT Size);

/*
 * Copies the limits in force.
 *
 * @param Limits  out: the limits. Required.
 * @param Size    in: sizeof(RTMX_LIMITS) as the caller knows it.
 *
 * @return NO_ERROR; ERROR_INVALID_PARAMETER Limits NULL or misaligned, or Size 0;
 *   ERROR_NOT_ENOUGH_MEMORY.
 *
 * Any thread. Blocks shortly.
 */
RTM_API DWORD RtmxGetLimits(PRTMX_LIMITS Limits,
                            UINT Size);

/*
 * Replaces all limits at once. A limit below what there is stops additions and removes nothing. In
 * force until RtmxShutdown.
 *
 * @param Limits  in: the limits; get them first and change what you want changed. Required.
 * @param Size    in: sizeof(RTMX_LIMITS) as the caller knows it. What an older version of the structure
 *   did not have keeps its value.
 *
 * @return NO_ERROR; ERROR_INVALID_PARAMETER Limits NULL or misaligned, Size that of no version of the
 *   structure, MaxEntities above 2^28, MaxReferences above 2^28 - 1, MaxJournal 0
 *   or above 2^23, or MaxEventThreads 0;
 *   ERROR_NOT_SUPPORTED Size is larger than this library knows and what lies beyond is not 0;
 *   ERROR_NOT_ENOUGH_MEMORY. On failure nothing has changed.
 *
 * Any thread. Blocks shortly; allocates only in a thread's first call.
 */
RTM_API DWORD RtmxSetLimits(const RTMX_LIMITS *Limits,
                            UINT Size);

/*
 * Gives the memory of entities that have gone back to the system, for the time after a peak.
 *
 * @param Bytes  out: how many; may be NULL.
 *
 * @return NO_ERROR; ERROR_INVALID_PARAMETER Bytes misaligned; ERROR_NOT_ENOUGH_MEMORY: nothing was given
 *   back.
 *
 * Call RtmxFlush first: what waits to be cleaned up is in use. What goes is room for 64 entities at a time
 * of which none is in use, where at least half of a huge page's is vacant. A huge page that does not go
 * whole is split, and what is left in it is found more slowly, until it is mostly in use at a later call.
 * Room that another thread has at hand for its next registrations (some hundred entities) is in use.
 * Handles of before stay invalid, the room serves again when it is needed, and 16 bytes for each entity
 * that there was stay, or 24 if some had callbacks or methods. 0 bytes where memory is locked (mlockall),
 * for from such a process the system takes nothing back, and while another thread is inside this call.
 *
 * Any thread. Walks over all room; blocks nobody and waits for nobody. At least half of what is vacant is
 * left to registrations all the time.
 */
RTM_API DWORD RtmxTrim(ULONGLONG *Bytes);

/*
 * The library's version.
 *
 * @param Major, Minor, Patch  out: its parts; each may be NULL.
 *
 * @return NO_ERROR; ERROR_INVALID_PARAMETER a pointer is misaligned.
 */
RTM_API DWORD RtmxGetVersion(PUINT Major,
                             PUINT Minor,
                             PUINT Patch);

/*
 * The ABI number of the library: compare it with RTMX_ABI_NUMBER of the header.
 *
 * @return the number. Works in any process and at any time, a signal handler included.
 */
RTM_API UINT RtmxGetAbiNumber(void);

/*
 * What a code means, in one English sentence with what to do about it.
 *
 * @return a text that is always there; for an unknown code one that says so. Works in any process and
 *   at any time, a signal handler included.
 */
RTM_API const char *RtmxErrorText(DWORD Code);

/*
 * Sets the function that is told of defects caught inside the library (they are answered with
 * ERROR_INTERNAL_ERROR). The library itself never prints anything.
 *
 * @param LogFunction  in: the function, or NULL for none. It may be called by any thread, also for a
 *   moment after it has been replaced.
 * @param Context      in: passed to it.
 *
 * @return NO_ERROR.
 *
 * Any thread. Blocks shortly; allocates nothing.
 */
RTM_API DWORD RtmxSetLogFunction(RTMX_LOG LogFunction,
                                 PVOID Context);

/*
 * Writes the figures of RtmxGetStatistics, and some more, as a text.
 *
 * @param Format  in: RTMX_TEXT: a line for each figure, its name and its value; RTMX_JSON: one object in one
 *   line; RTMX_PROMETHEUS: what Prometheus scrapes (text format 0.0.4, Content-Type text/plain;
 *   version=0.0.4): each figure with its help and its type, names beginning with rtm_, those of counters ending
 *   with _total.
 * @param Buffer  out: the text, with a NUL behind it. May be NULL if Size leads to 0.
 * @param Size    in: bytes of Buffer; out: bytes of the text with its NUL, also if they do not fit. Required.
 *
 * @return NO_ERROR;
 *   ERROR_INSUFFICIENT_BUFFER the text does not fit: Size says how many bytes it needs, Buffer is untouched.
 *   Figures change meanwhile: give some bytes more. 8,192 are enough for every format of this version;
 *   ERROR_NOT_SUPPORTED no such format;
 *   ERROR_INVALID_PARAMETER Size NULL or misaligned, or Buffer NULL with a size above 0.
 *
 * Each figure is exact for itself; they are read one after the other. Any thread. Walks all threads' records
 * and all tables; blocks shortly. Allocates nothing.
 */
RTM_API DWORD RtmxFormatStatistics(UINT Format,
                                   char *Buffer,
                                   PUINT Size);

/*
 * Describes all entities of all tables, a part at each call, for people and programs that want to know what is
 * going on: registered ones, and departed ones of which something is left.
 *
 * One line for each entity. As RTMX_TEXT, words name=value between spaces:
 *
 *   handle=0x... table=N/inet|inet6 id=0x... state=WORD references=N
 *
 * The table is an instance and a family. States are registered; departing: deregistered and not cleaned up,
 * its code runs, or a read section might have its context, or the cleanup is still due; referenced: cleaned
 * up, and described to holders of references; held: cleaned up, without references, and described to
 * listeners who have not been told that it has gone. (RTMX_STATISTICS.Referenced counts those that have gone
 * and whose references are not 0.) Then, as it applies: untold, a listener has not been told that it has
 * gone; methods=open|blocked, and invocations=N, the calls inside its methods; lag=N, events that its
 * callback has not consumed, and told=now|no, whether a thread is at its callback; running=N, how many run
 * its code in all, or running=? for one that departs and that no RtmDeregisterEntity waits for; awaited, one
 * does. As RTMX_JSON, the same as an object, handle and id in strings; its members say the rest by true and
 * false. More words, states and members may come.
 *
 * @param Format    in: RTMX_TEXT or RTMX_JSON.
 * @param Position  in: 0 for the first part, then what the call before left there; out: where the next part
 *   begins, 0 if this was the last. Required.
 * @param Buffer    out: as many whole lines as fit, each with its end, and a NUL; an empty text if there are
 *   none. May be NULL if Size leads to 0.
 * @param Size      in: bytes of Buffer; out: bytes of the text with its NUL. Required.
 *
 * @return NO_ERROR;
 *   ERROR_INSUFFICIENT_BUFFER not even the next line fits: Size says how many bytes it needs, all else is
 *   untouched. 512 are enough for every line of this version;
 *   ERROR_NOT_SUPPORTED no such format, or one that does not describe entities;
 *   ERROR_INVALID_PARAMETER Position or Size NULL or misaligned, or Buffer NULL with a size above 0;
 *   ERROR_NOT_ENOUGH_MEMORY (only in a thread's first call, and only while others use what is put by for that).
 *
 * An entity that is there from the first part to the last is shown exactly once, others at most once. A line is
 * of one moment, its figures of methods and events of several, and all lines together of none. The library
 * keeps nothing between two calls: they may be of different threads, and need not go on to the end.
 *
 * Any thread; allowed everywhere that a look-up is. Lock-free, but for locks that are held shortly; keeps nobody
 * from registering or deregistering. Allocates only in a thread's first call; see WHEN MEMORY RUNS OUT.
 */
RTM_API DWORD RtmxFormatEntities(UINT Format,
                                 ULONGLONG *Position,
                                 char *Buffer,
                                 PUINT Size);


#ifdef __cplusplus
}
#endif

#endif /* RTMV2_H */
