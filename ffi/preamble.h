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

