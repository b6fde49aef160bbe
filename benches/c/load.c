#define _GNU_SOURCE
#include "tools.h"

#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#ifdef LOAD_VIA_TABLE
struct load_api load_table_api;
void load_table_set(const void *functions) {
    memcpy(&load_table_api, functions, sizeof load_table_api);
}
#endif

enum { BLOCK = 64, QUARANTINE = 8192 };

/* Cleaned contexts are freed some time later, so that a reader that is shown one can tell. */
static struct context *quarantine[QUARANTINE];
static uint64_t quarantined;

void violate(struct load *load, const char *format, ...) {
    va_list arguments;
    uint32_t fine = 0;
    if (__atomic_compare_exchange_n(&load->violated, &fine, 1, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
        va_start(arguments, format);
        vsnprintf(load->violation, sizeof load->violation, format, arguments);
        va_end(arguments);
        __atomic_store_n(&load->violated, 2, __ATOMIC_RELEASE);
    }
    __atomic_store_n(&load->stop, 1, __ATOMIC_RELAXED);
}

static VOID cleanup(PVOID pointer) {
    struct context *context = pointer;
    struct load *load = context->load;
    uint64_t state = __atomic_exchange_n(&context->state, CLEANED, __ATOMIC_RELAXED);
    if (state != ALIVE) {
        violate(load, "the context of entity %u was cleaned up twice", context->entity);
        return;
    }
    __atomic_fetch_add(&load->cleaned, 1, __ATOMIC_RELAXED);
    uint64_t place = __atomic_fetch_add(&quarantined, 1, __ATOMIC_RELAXED) % QUARANTINE;
    free(__atomic_exchange_n(&quarantine[place], context, __ATOMIC_ACQ_REL));
}

static void empty_quarantine(void) {
    for (unsigned place = 0; place < QUARANTINE; place++) {
        free(__atomic_exchange_n(&quarantine[place], NULL, __ATOMIC_ACQ_REL));
    }
}

/* Registers an entity and puts its handle on the board. The caller owns the entity. */
static DWORD register_entity(struct load_worker *worker, uint32_t entity) {
    struct load *load = worker->load;
    struct context *context = malloc(sizeof *context);
    if (context == NULL) {
        return ERROR_NOT_ENOUGH_MEMORY;
    }
    context->state = ALIVE;
    context->entity = entity;
    context->asn = load->identities[entity].asn;
    context->prefixes = load->identities[entity].prefixes;
    context->blocked = 0;
    context->serial = ++worker->created;
    context->load = load;
    RTM_ENTITY_INFO info = info_of(load, entity);
    RTM_REGN_PROFILE profile;
    RTM_ENTITY_HANDLE handle;
    PRTM_ENTITY_EXPORT_METHODS methods = is_callee(load, entity) ? callee_methods() : NULL;
    DWORD code = RTM(RtmxRegisterEntity)(&info, methods, NULL, FALSE, context, cleanup, NULL,
                                         &profile, &handle);
    if (code != NO_ERROR) {
        worker->created--;
        free(context);
        return code;
    }
    if (methods != NULL) {
        __atomic_store_n(&load->contexts[entity], (uint64_t)(uintptr_t)context, __ATOMIC_RELAXED);
        __atomic_store_n(&load->gates[entity], to_bits(handle), __ATOMIC_RELEASE);
    }
    __atomic_store_n(&load->handles[entity], (uint64_t)(uintptr_t)handle, __ATOMIC_RELEASE);
    return NO_ERROR;
}

/* Registers entities first..last, for the beginning of the run. */
DWORD FN(register_range)(struct load_worker *worker, uint32_t first, uint32_t last) {
    for (uint32_t entity = first; entity < last; entity++) {
        uint64_t begin = now_ns();
        DWORD code = register_entity(worker, entity);
        if (code != NO_ERROR) {
            violate(worker->load, "registering entity %u: %s", entity, RTM(RtmxErrorText)(code));
            return code;
        }
        sample(worker, LOAD_REGISTER, now_ns() - begin);
        count(worker, LOAD_REGISTER, 1);
    }
    return NO_ERROR;
}

void judge(struct load *load, uint32_t entity, uint64_t handle, DWORD code, PVOID found) {
    const struct context *context = found;
    if (code == ERROR_INVALID_HANDLE) {
        if (on_board(load, entity) == handle) {
            violate(load, "the handle of entity %u, which is registered, was refused", entity);
        }
    } else if (code != NO_ERROR) {
        violate(load, "looking up entity %u: %s", entity, RTM(RtmxErrorText)(code));
    } else if (context == NULL) {
        violate(load, "entity %u has lost its context", entity);
    } else if (__atomic_load_n(&context->state, __ATOMIC_RELAXED) != ALIVE) {
        violate(load, "the context of entity %u was cleaned up under a reader", entity);
    } else if (context->entity != entity || context->asn != load->identities[entity].asn) {
        violate(load, "the handle of entity %u led to entity %u", entity, context->entity);
    }
}

static void judge_stale(struct load *load, uint64_t handle, uint32_t entity, DWORD code) {
    if (code != ERROR_INVALID_HANDLE) {
        violate(load, "a stale handle of entity %u (%#llx) was accepted: %s", entity,
                (unsigned long long)handle, RTM(RtmxErrorText)(code));
    }
}

/* A random stale handle, or 0. */
static uint64_t some_stale(struct load_worker *worker, uint32_t *entity) {
    struct load *load = worker->load;
    uint64_t count = __atomic_load_n(&load->stale_count, __ATOMIC_ACQUIRE);
    if (count == 0) {
        return 0;
    }
    uint32_t kept = count > load->stale_mask ? load->stale_mask + 1 : (uint32_t)count;
    uint32_t place = 2 * draw_below(worker, kept);
    *entity = (uint32_t)__atomic_load_n(&load->stale[place + 1], __ATOMIC_RELAXED);
    return __atomic_load_n(&load->stale[place], __ATOMIC_RELAXED);
}

/* Resolves random handles: one by one, in held sections, in batches, by plain copy; stale ones too. */
void FN(reader)(struct load_worker *worker) {
    struct load *load = worker->load;
    uint32_t entities[BLOCK];
    uint64_t handles[BLOCK];
    RTM_ENTITY_HANDLE batch[BLOCK];
    PVOID found[BLOCK];
    DWORD codes[BLOCK];
    uint64_t begin, one;
    RTM(RtmxEnter)();
    while (!stopped(load)) {
        unsigned chosen = 0;
        while (chosen < BLOCK && !stopped(load)) {
            uint32_t entity = draw_below(worker, load->entities);
            uint64_t handle = on_board(load, entity);
            if (handle != 0) {
                entities[chosen] = entity;
                handles[chosen] = handle;
                batch[chosen++] = to_handle(handle);
            }
        }
        RTM(RtmxQuiescent)();

        /* Held section. */
        begin = now_ns();
        for (unsigned i = 0; i < chosen; i++) {
            codes[i] = RTM(RtmxGetContext)(batch[i], &found[i]);
            judge(load, entities[i], handles[i], codes[i], found[i]);
        }
        block(worker, LOAD_HELD, chosen, now_ns() - begin);

        /* Batch. What it found must be what the single calls found, unless it went meanwhile. */
        UINT good = 0;
        begin = now_ns();
        RTM(RtmxGetContexts)(chosen, batch, found, &good);
        one = now_ns() - begin;
        block(worker, LOAD_BATCH, chosen, one);
        for (unsigned i = 0; i < chosen; i++) {
            judge(load, entities[i], handles[i], found[i] ? NO_ERROR : ERROR_INVALID_HANDLE,
                  found[i]);
        }

        /* Stale ones. */
        uint32_t refused = 0, tried = 0;
        uint64_t stale[BLOCK / 4];
        uint32_t once[BLOCK / 4];
        for (unsigned i = 0; i < BLOCK / 4; i++) {
            stale[tried] = some_stale(worker, &once[tried]);
            tried += stale[tried] != 0;
        }
        begin = now_ns();
        for (unsigned i = 0; i < tried; i++) {
            codes[i] = RTM(RtmxGetContext)(to_handle(stale[i]), &found[i]);
            refused += codes[i] == ERROR_INVALID_HANDLE;
        }
        block(worker, LOAD_STALE, tried, now_ns() - begin);
        for (unsigned i = 0; refused != tried && i < tried; i++) {
            judge_stale(load, stale[i], once[i], codes[i]);
        }
        RTM(RtmxLeave)();

        /* A section for each look-up; one in eight is timed on its own. */
        begin = now_ns();
        for (unsigned i = 0; i < chosen; i++) {
            one = i % 8 == 0 ? now_ns() : 0;
            RTM(RtmxEnter)();
            codes[i] = RTM(RtmxGetContext)(batch[i], &found[i]);
            judge(load, entities[i], handles[i], codes[i], found[i]);
            RTM(RtmxLeave)();
            if (one != 0) {
                sample(worker, LOAD_LOOKUP, now_ns() - one);
            }
        }
        block(worker, LOAD_LOOKUP, chosen, now_ns() - begin - chosen / 8 * load->timer_ns);

        /* Plain copies. The first entity is never deregistered: it stands for the caller. */
        unsigned copied = 0;
        begin = now_ns();
        for (unsigned i = 0; i < chosen; i++) {
            RTM_ENTITY_INFO info;
            /* The caller must be of the entity's table. */
            const struct load_identity *identity = &load->identities[entities[i]];
            uint32_t self = entities[i] % 2;
            if (identity->instance != load->identities[self].instance ||
                identity->family != load->identities[self].family) {
                continue;
            }
            one = copied++ % 8 == 0 ? now_ns() : 0;
            DWORD code = RTM(RtmGetEntityInfo)(to_handle(load->handles[self]), batch[i], &info);
            if (one != 0) {
                sample(worker, LOAD_INFO, now_ns() - one);
            }
            if (code == ERROR_INVALID_HANDLE) {
                if (on_board(load, entities[i]) == handles[i]) {
                    violate(load, "entity %u, which is registered, was not described", entities[i]);
                }
            } else if (code != NO_ERROR) {
                violate(load, "describing entity %u: %s", entities[i], RTM(RtmxErrorText)(code));
            } else if (info.EntityId.EntityInstanceId != identity->asn ||
                       info.AddressFamily != identity->family) {
                violate(load, "the description of entity %u is that of AS %u", entities[i],
                        info.EntityId.EntityInstanceId);
            }
        }
        block(worker, LOAD_INFO, copied, now_ns() - begin - copied / 8 * load->timer_ns);
        RTM(RtmxEnter)();
    }
    RTM(RtmxLeave)();
}

/* Deregisters an entity that the caller owns. */
static DWORD deregister_entity(struct load_worker *worker, uint32_t entity, RTM_ENTITY_HANDLE handle) {
    struct load *load = worker->load;
    int callee = is_callee(load, entity);
    if (callee && draw(worker) % 4 == 0) {
        block_callee(worker, entity, handle);
    }
    /* It has nothing that could still run, so it is done at once. */
    int later = !callee && draw(worker) % 16 == 0;
    uint64_t begin = now_ns();
    DWORD code = later ? RTM(RtmxDeregisterEntityLater)(handle) : RTM(RtmDeregisterEntity)(handle);
    while (callee && code == ERROR_POSSIBLE_DEADLOCK) {
        /* Somebody inside the callee waits, by way of others, for us to resume it. */
        struct context *context = (struct context *)(uintptr_t)load->contexts[entity];
        __atomic_store_n(&context->blocked, 0, __ATOMIC_RELEASE);
        RTM(RtmBlockMethods)(handle, NULL, 0, RTM_RESUME_METHODS);
        sched_yield();
        code = RTM(RtmDeregisterEntity)(handle);
    }
    enum load_kind kind = callee ? LOAD_RUNDOWN : LOAD_DEREGISTER;
    sample(worker, kind, now_ns() - begin);
    count(worker, kind, 1);
    if (callee) {
        __atomic_store_n(&load->gates[entity], 0, __ATOMIC_RELEASE);
    }
    return code;
}

void churn(struct load_worker *worker) {
    struct load *load = worker->load;
    RTM_REGN_PROFILE profile;
    RTM_ENTITY_HANDLE ignored;
    uint64_t begin;
    /* Where callers are, rather what they call. */
    int hot = callee_groups(load) != 0 && draw(worker) % 8 == 0;
    uint32_t entity = hot ? draw_callee(worker, 1) : draw_below(worker, load->entities);
    if (entity % load->permanent_stride < 2) {
        return;
    }
    uint64_t handle = __atomic_exchange_n(&load->handles[entity], 0, __ATOMIC_ACQ_REL);
    if (handle == 0) {
        return;
    }
    DWORD code = deregister_entity(worker, entity, to_handle(handle));
    if (code != NO_ERROR) {
        violate(load, "deregistering entity %u: %s", entity, RTM(RtmxErrorText)(code));
    }
    if (RTM(RtmDeregisterEntity)(to_handle(handle)) != ERROR_INVALID_HANDLE) {
        violate(load, "entity %u was deregistered twice", entity);
    }
    uint64_t place = __atomic_fetch_add(&load->stale_count, 1, __ATOMIC_RELAXED);
    /* Later ones take random places, so that old ones stay for a long time. */
    if (place > load->stale_mask) {
        place = draw(worker);
    }
    place &= load->stale_mask;
    __atomic_store_n(&load->stale[2 * place + 1], entity, __ATOMIC_RELAXED);
    __atomic_store_n(&load->stale[2 * place], handle, __ATOMIC_RELEASE);

    for (;;) {
        begin = now_ns();
        code = register_entity(worker, entity);
        if (code != ERROR_NO_SYSTEM_RESOURCES || stopped(load)) {
            break;
        }
        worker->refused++;
        sched_yield();
    }
    if (code == NO_ERROR) {
        sample(worker, LOAD_REGISTER, now_ns() - begin);
        count(worker, LOAD_REGISTER, 1);
    } else if (code != ERROR_NO_SYSTEM_RESOURCES) {
        violate(load, "registering entity %u again: %s", entity, RTM(RtmxErrorText)(code));
    }
    if (draw(worker) % 64 == 0) {
        /* A permanent entity's id is taken. */
        uint32_t taken = draw_below(worker, load->entities);
        taken -= taken % load->permanent_stride;
        RTM_ENTITY_INFO info = info_of(load, taken);
        code = RTM(RtmxRegisterEntity)(&info, NULL, NULL, FALSE, NULL, NULL, NULL, &profile,
                                       &ignored);
        if (code == NO_ERROR) {
            violate(load, "the id of entity %u was given out twice", taken);
        }
    }
}

void FN(churner)(struct load_worker *worker) {
    while (!stopped(worker->load)) {
        churn(worker);
    }
}

/* Lists one table again and again. */
void FN(enumerator)(struct load_worker *worker) {
    struct load *load = worker->load;
    uint32_t self = worker->id % 2; /* one entity of each family */
    const struct load_identity *table = &load->identities[self];
    uint32_t expected = 0;
    for (uint32_t entity = 0; entity < load->entities; entity++) {
        const struct load_identity *identity = &load->identities[entity];
        expected += entity % load->permanent_stride < 2 && identity->family == table->family &&
                    identity->instance == table->instance;
    }
    UINT capacity = load->entities + load->listeners + 16;
    RTM_ENTITY_HANDLE *handles = calloc(capacity, sizeof *handles);
    RTM_ENTITY_INFO *infos = calloc(capacity, sizeof *infos);
    uint8_t *seen = calloc(load->entities, 1);
    uint32_t *by_asn = calloc(load->entities, sizeof *by_asn);
    while (handles && infos && seen && by_asn && !stopped(load)) {
        UINT listed = capacity;
        uint64_t begin = now_ns();
        DWORD code = RTM(RtmGetRegisteredEntities)(to_handle(load->handles[self]), &listed, handles,
                                                   infos);
        if (code != NO_ERROR) {
            violate(load, "enumerating: %s", RTM(RtmxErrorText)(code));
            break;
        }
        code = RTM(RtmReleaseEntities)(to_handle(load->handles[self]), listed, handles);
        if (code != NO_ERROR) {
            violate(load, "releasing %u entities: %s", listed, RTM(RtmxErrorText)(code));
        }
        block(worker, LOAD_ENUMERATE, listed, now_ns() - begin);
        /* Identities of a table are sorted by AS number: entity 2k and 2k + 1 are of one AS. */
        memset(seen, 0, load->entities);
        uint32_t permanent = 0;
        for (UINT i = 0; i < listed; i++) {
            if (infos[i].EntityId.EntityProtocolId != 14) {
                continue; /* a listener */
            }
            uint32_t low = 0, high = load->entities / 2;
            uint32_t asn = infos[i].EntityId.EntityInstanceId;
            while (low < high) {
                uint32_t middle = (low + high) / 2;
                const struct load_identity *identity = &load->identities[2 * middle + self];
                if (identity->instance < infos[i].RtmInstanceId ||
                    (identity->instance == infos[i].RtmInstanceId && identity->asn < asn)) {
                    low = middle + 1;
                } else {
                    high = middle;
                }
            }
            uint32_t entity = 2 * low + self;
            if (entity >= load->entities || load->identities[entity].asn != asn ||
                infos[i].AddressFamily != table->family) {
                violate(load, "an enumeration showed AS %u, which is not there", asn);
            } else if (entity % load->permanent_stride < 2) {
                permanent++;
                if (seen[entity]++ != 0) {
                    violate(load, "an enumeration showed AS %u twice", asn);
                }
                if (load->handles[entity] != (uint64_t)(uintptr_t)handles[i]) {
                    violate(load, "an enumeration showed AS %u with a wrong handle", asn);
                }
            }
        }
        if (permanent != expected) {
            violate(load, "an enumeration showed %u of %u permanent entities", permanent, expected);
        }
    }
    free(handles);
    free(infos);
    free(seen);
    free(by_asn);
}

/* Deregisters everything, waits for all cleanups and looks whether the accounts balance. */
void FN(finish)(struct load_worker *worker, uint64_t created) {
    struct load *load = worker->load;
    for (uint32_t entity = 0; entity < load->entities; entity++) {
        uint64_t handle = __atomic_exchange_n(&load->handles[entity], 0, __ATOMIC_ACQ_REL);
        if (handle != 0) {
            DWORD code = RTM(RtmDeregisterEntity)(to_handle(handle));
            if (code != NO_ERROR) {
                violate(load, "deregistering entity %u: %s", entity, RTM(RtmxErrorText)(code));
            }
        }
    }
    DWORD code = RTM(RtmxFlush)();
    if (code != NO_ERROR) {
        violate(load, "flushing: %s", RTM(RtmxErrorText)(code));
    }
    uint64_t cleaned = __atomic_load_n(&load->cleaned, __ATOMIC_ACQUIRE);
    if (cleaned != created) {
        violate(load, "%llu contexts were made, %llu cleaned up", (unsigned long long)created,
                (unsigned long long)cleaned);
    }
    RTMX_STATISTICS statistics;
    RTM(RtmxGetStatistics)(&statistics, sizeof statistics);
    if (statistics.Listeners != 0) {
        violate(load, "%llu listeners are left", (unsigned long long)statistics.Listeners);
    }
    if (statistics.Live != 0 || statistics.Referenced != 0 || statistics.Retired != 0 ||
        statistics.Registered != statistics.Deregistered) {
        violate(load, "left over: %llu live, %llu referenced, %llu retired",
                (unsigned long long)statistics.Live, (unsigned long long)statistics.Referenced,
                (unsigned long long)statistics.Retired);
    }
    uint32_t entity = 0;
    for (unsigned i = 0; i <= load->stale_mask && load->stale[2 * i] != 0; i++) {
        PVOID context;
        entity = (uint32_t)load->stale[2 * i + 1];
        RTM(RtmxEnter)();
        code = RTM(RtmxGetContext)(to_handle(load->stale[2 * i]), &context);
        RTM(RtmxLeave)();
        judge_stale(load, load->stale[2 * i], entity, code);
    }
    delete_queue(load);
    code = RTM(RtmxShutdown)();
    if (code != NO_ERROR) {
        violate(load, "shutting down: %s", RTM(RtmxErrorText)(code));
    }
    empty_quarantine();
}

void FN(statistics)(RTMX_STATISTICS *statistics) {
    RTM(RtmxGetStatistics)(statistics, sizeof *statistics);
}
