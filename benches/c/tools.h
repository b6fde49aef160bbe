/* What the C workers share. */
#ifndef RTM_LOAD_TOOLS_H
#define RTM_LOAD_TOOLS_H

#include "load.h"
#include "rtmv2.h"

#include <stdint.h>
#include <string.h>
#include <time.h>

#ifdef LOAD_VIA_TABLE
#define FN(name) load_table_##name
/* In the order of `SYMBOLS` in via_c.rs. */
extern struct load_api {
    DWORD (*RtmxRegisterEntity)(PRTM_ENTITY_INFO, PRTM_ENTITY_EXPORT_METHODS, RTM_EVENT_CALLBACK, BOOL,
                                PVOID, RTMX_CLEANUP, RTMX_QUEUE_HANDLE, PRTM_REGN_PROFILE,
                                PRTM_ENTITY_HANDLE);
    DWORD (*RtmDeregisterEntity)(RTM_ENTITY_HANDLE);
    DWORD (*RtmGetRegisteredEntities)(RTM_ENTITY_HANDLE, PUINT, PRTM_ENTITY_HANDLE, PRTM_ENTITY_INFO);
    DWORD (*RtmReleaseEntities)(RTM_ENTITY_HANDLE, UINT, PRTM_ENTITY_HANDLE);
    DWORD (*RtmGetEntityInfo)(RTM_ENTITY_HANDLE, RTM_ENTITY_HANDLE, PRTM_ENTITY_INFO);
    DWORD (*RtmInvokeMethod)(RTM_ENTITY_HANDLE, RTM_ENTITY_HANDLE, PRTM_ENTITY_METHOD_INPUT, PUINT,
                             PRTM_ENTITY_METHOD_OUTPUT);
    DWORD (*RtmBlockMethods)(RTM_ENTITY_HANDLE, HANDLE, UCHAR, DWORD);
    DWORD (*RtmxCreateEventQueue)(PRTMX_QUEUE_HANDLE);
    DWORD (*RtmxDeleteEventQueue)(RTMX_QUEUE_HANDLE);
    DWORD (*RtmxGetEventQueueDescriptor)(RTMX_QUEUE_HANDLE, int *);
    DWORD (*RtmxDispatchEvents)(RTMX_QUEUE_HANDLE, UINT, PUINT);
    DWORD (*RtmxGetLimits)(PRTMX_LIMITS, UINT);
    DWORD (*RtmxSetLimits)(const RTMX_LIMITS *, UINT);
    DWORD (*RtmxEnter)(void);
    DWORD (*RtmxLeave)(void);
    DWORD (*RtmxQuiescent)(void);
    DWORD (*RtmxGetContext)(RTM_ENTITY_HANDLE, PVOID *);
    DWORD (*RtmxGetContexts)(UINT, PRTM_ENTITY_HANDLE, PVOID *, PUINT);
    DWORD (*RtmxFlush)(void);
    DWORD (*RtmxShutdown)(void);
    DWORD (*RtmxGetStatistics)(PRTMX_STATISTICS, UINT);
    const char *(*RtmxErrorText)(DWORD);
    DWORD (*RtmxDeregisterEntityLater)(RTM_ENTITY_HANDLE);
    DWORD (*RtmReferenceHandles)(RTM_ENTITY_HANDLE, UINT, HANDLE *);
    DWORD (*RtmReleaseEntityInfo)(RTM_ENTITY_HANDLE, PRTM_ENTITY_INFO);
    DWORD (*RtmGetEntityMethods)(RTM_ENTITY_HANDLE, RTM_ENTITY_HANDLE, PUINT, PRTM_ENTITY_EXPORT_METHOD);
    DWORD (*RtmxCreateReader)(PRTMX_READER_HANDLE);
    DWORD (*RtmxDeleteReader)(RTMX_READER_HANDLE);
    DWORD (*RtmxReaderEnter)(RTMX_READER_HANDLE);
    DWORD (*RtmxReaderLeave)(RTMX_READER_HANDLE);
    DWORD (*RtmxReaderQuiescent)(RTMX_READER_HANDLE);
    DWORD (*RtmxReaderGetContext)(RTMX_READER_HANDLE, RTM_ENTITY_HANDLE, PVOID *);
    DWORD (*RtmxReaderGetContexts)(RTMX_READER_HANDLE, UINT, PRTM_ENTITY_HANDLE, PVOID *, PUINT);
    DWORD (*RtmxSynchronize)(void);
    DWORD (*RtmxGetVersion)(PUINT, PUINT, PUINT);
    UINT (*RtmxGetAbiNumber)(void);
    DWORD (*RtmxSetLogFunction)(RTMX_LOG, PVOID);
    DWORD (*RtmxTrim)(ULONGLONG *);
} load_table_api;
#define RTM(name) load_table_api.name
#else
#define FN(name) load_##name
#define RTM(name) name
#endif

#define ALIVE UINT64_C(0x616c697665212121)
#define CLEANED UINT64_C(0x636c65616e656421)

/* What a client would keep for its entity. */
struct context {
    uint64_t state;
    uint32_t entity;
    uint32_t asn;
    uint32_t prefixes;
    uint32_t blocked; /* its methods must not run just now */
    uint64_t serial;
    struct load *load;
};

/* Notes the first thing that is wrong, and ends the run. */
#define violate FN(violate)
void violate(struct load *load, const char *format, ...) __attribute__((format(printf, 2, 3)));

static inline uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static inline uint64_t draw(struct load_worker *worker) {
    uint64_t x = worker->random;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return worker->random = x;
}

static inline uint32_t draw_below(struct load_worker *worker, uint32_t bound) {
    return (uint32_t)((draw(worker) >> 32) * bound >> 32);
}

/* One operation took so long, the clock included. */
static inline void sample(struct load_worker *worker, enum load_kind kind, uint64_t ns) {
    ns = ns > worker->load->timer_ns ? ns - worker->load->timer_ns : 0;
    if (ns > worker->max_ns[kind]) {
        worker->max_ns[kind] = ns;
    }
    unsigned bucket;
    if (ns < LOAD_STEPS) {
        bucket = (unsigned)ns;
    } else {
        unsigned power = 63u - (unsigned)__builtin_clzll(ns);
        bucket = (power - 3) * LOAD_STEPS + (unsigned)(ns >> (power - 4)) % LOAD_STEPS;
    }
    worker->histogram[kind][bucket < LOAD_BUCKETS ? bucket : LOAD_BUCKETS - 1]++;
}

static inline void count(struct load_worker *worker, enum load_kind kind, uint64_t operations) {
    __atomic_store_n(&worker->operations[kind], worker->operations[kind] + operations,
                     __ATOMIC_RELAXED);
}

static inline void block(struct load_worker *worker, enum load_kind kind, uint64_t operations,
                         uint64_t ns) {
    worker->block_ns[kind] += ns;
    worker->block_ops[kind] += operations;
    count(worker, kind, operations);
}

static inline int stopped(const struct load *load) {
    return (int)__atomic_load_n(&load->stop, __ATOMIC_RELAXED);
}

static inline int is_violated(const struct load *load) {
    return (int)__atomic_load_n(&load->violated, __ATOMIC_RELAXED);
}

static inline RTM_ENTITY_HANDLE to_handle(uint64_t bits) { return (RTM_ENTITY_HANDLE)(uintptr_t)bits; }

static inline uint64_t to_bits(RTM_ENTITY_HANDLE handle) { return (uint64_t)(uintptr_t)handle; }

static inline uint64_t on_board(const struct load *load, uint32_t entity) {
    return __atomic_load_n(&load->handles[entity], __ATOMIC_ACQUIRE);
}

static inline RTM_ENTITY_INFO info_of(const struct load *load, uint32_t entity) {
    const struct load_identity *identity = &load->identities[entity];
    RTM_ENTITY_INFO info;
    memset(&info, 0, sizeof info);
    info.RtmInstanceId = identity->instance;
    info.AddressFamily = identity->family;
    info.EntityId.EntityProtocolId = 14; /* BGP */
    info.EntityId.EntityInstanceId = identity->asn;
    return info;
}

/* Groups of entities of the first instance, each with one callee in each family. */
static inline uint32_t callee_groups(const struct load *load) {
    return load->invokers == 0 ? 0 : load->first_instance / load->permanent_stride;
}

static inline int is_callee(const struct load *load, uint32_t entity) {
    return entity / load->permanent_stride < callee_groups(load) &&
           entity % load->permanent_stride / 2 == load->permanent_stride / 4;
}

/* A callee; one of the few hot ones, or any. There are some. */
static inline uint32_t draw_callee(struct load_worker *worker, int hot) {
    const struct load *load = worker->load;
    uint32_t groups = callee_groups(load);
    uint32_t group = draw_below(worker, hot && groups > 32 ? 32 : groups);
    return group * load->permanent_stride + load->permanent_stride / 2 + (draw(worker) >> 40 & 1);
}

/* In load.c: reads what a look-up has given and judges it; deregisters and re-registers a random entity. */
#define judge FN(judge)
void judge(struct load *load, uint32_t entity, uint64_t handle, DWORD code, PVOID found);
#define churn FN(churn)
void churn(struct load_worker *worker);

/* In client.c: the methods of a callee; blocks and resumes them now and then, by the callee's owner. */
#define callee_methods FN(callee_methods)
PRTM_ENTITY_EXPORT_METHODS callee_methods(void);
#define block_callee FN(block_callee)
void block_callee(struct load_worker *worker, uint32_t entity, RTM_ENTITY_HANDLE handle);

/* In listen.c: at the end. */
#define delete_queue FN(delete_queue)
void delete_queue(struct load *load);

#endif
