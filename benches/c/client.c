/* Invokers, and the methods of callees. */
#define _GNU_SOURCE
#include "tools.h"

#include <sched.h>
#include <stddef.h>

/* What the method is to do beside its checks. */
enum errand { NOTHING, STAY, YIELD, INVOKE_ANOTHER };

/* An RTM_ENTITY_METHOD_INPUT. */
struct question {
    RTM_ENTITY_METHOD_TYPE type;
    UINT size;
    uint32_t entity;
    uint32_t errand;
    struct load_worker *worker;
};

/* An RTM_ENTITY_METHOD_OUTPUT, with room for a word too many. */
struct answer {
    RTM_ENTITY_METHOD_TYPE type;
    DWORD status;
    UINT size;
    uint32_t data[2];
};

static DWORD ask(struct load_worker *worker, uint32_t entity, uint64_t handle, enum errand errand);

/* Whether this entity's methods may run, and have what they need. */
static void check(struct load *load, uint32_t entity, RTM_ENTITY_HANDLE callee) {
    if (__atomic_load_n(&load->gates[entity], __ATOMIC_ACQUIRE) != to_bits(callee)) {
        violate(load, "a method of entity %u ran after its deregistration had returned", entity);
        return;
    }
    const struct context *context =
        (const struct context *)(uintptr_t)__atomic_load_n(&load->contexts[entity], __ATOMIC_RELAXED);
    if (__atomic_load_n(&context->state, __ATOMIC_RELAXED) != ALIVE || context->entity != entity) {
        violate(load, "the context of entity %u was cleaned up under its method", entity);
    } else if (__atomic_load_n(&context->blocked, __ATOMIC_ACQUIRE) != 0) {
        violate(load, "a method of entity %u ran while it was blocked", entity);
    }
}

static VOID WINAPI method(RTM_ENTITY_HANDLE caller, RTM_ENTITY_HANDLE callee,
                          RTM_ENTITY_METHOD_INPUT *input, RTM_ENTITY_METHOD_OUTPUT *output) {
    const struct question *question = (const struct question *)(const void *)input;
    struct load_worker *worker = question->worker;
    struct load *load = worker->load;
    uint32_t entity = question->entity;
    (void)caller;
    check(load, entity, callee);
    switch (question->errand) {
    case STAY:
        for (unsigned i = 0; i < 200; i++) {
            check(load, entity, callee);
        }
        break;
    case YIELD:
        sched_yield();
        break;
    case INVOKE_ANOTHER: {
        uint32_t other = (draw_callee(worker, 1) & ~1u) | (entity & 1);
        uint64_t handle = __atomic_load_n(&load->gates[other], __ATOMIC_ACQUIRE);
        if (handle != 0) {
            ask(worker, other, handle, NOTHING);
        }
        break;
    }
    default:
        break;
    }
    check(load, entity, callee);
    struct answer *answer = (struct answer *)(void *)output;
    answer->data[0] = load->identities[entity].asn;
    answer->size = sizeof answer->data[0];
}

PRTM_ENTITY_EXPORT_METHODS callee_methods(void) {
    static RTM_ENTITY_EXPORT_METHODS methods = {1, {method}};
    return &methods;
}

/* Invokes a callee's method and judges the outcome. */
static DWORD ask(struct load_worker *worker, uint32_t entity, uint64_t handle, enum errand errand) {
    struct load *load = worker->load;
    /* A permanent entity of the same table stands for the caller. */
    RTM_ENTITY_HANDLE self = to_handle(load->handles[entity % 2]);
    struct question question = {1, sizeof question - offsetof(struct question, entity), entity, errand,
                                worker};
    struct answer answer = {0, 0, 0, {0, 0}};
    UINT size = sizeof answer;
    DWORD code = RTM(RtmInvokeMethod)(self, to_handle(handle), (PRTM_ENTITY_METHOD_INPUT)(void *)&question,
                                      &size, (PRTM_ENTITY_METHOD_OUTPUT)(void *)&answer);
    if (code == ERROR_INVALID_HANDLE) {
        if (on_board(load, entity) == handle) {
            violate(load, "invoking entity %u, which is registered, was refused", entity);
        }
    } else if (code == NO_ERROR) {
        if (size != offsetof(struct answer, data) + sizeof answer.data[0] || answer.type != 1 ||
            answer.status != NO_ERROR || answer.data[0] != load->identities[entity].asn) {
            violate(load, "the method of entity %u gave AS %u", entity, answer.data[0]);
        }
    } else if (code != ERROR_POSSIBLE_DEADLOCK) {
        violate(load, "invoking entity %u: %s", entity, RTM(RtmxErrorText)(code));
    }
    return code;
}

/* One in 64 has an errand, whose time is not the library's. */
static enum errand errand_of(uint64_t random) {
    unsigned which = random >> 16 & 15;
    if ((random >> 8 & 63) != 0) {
        return NOTHING;
    }
    return which == 0 ? YIELD : which < 8 ? STAY : INVOKE_ANOTHER;
}

/* Invokes callees, half of them hot, also such as are blocked or deregistered just now. */
void FN(invoker)(struct load_worker *worker) {
    struct load *load = worker->load;
    while (callee_groups(load) != 0 && !stopped(load)) {
        uint64_t begin = now_ns();
        unsigned done = 0, clocks = 0;
        for (unsigned i = 0; i < 64; i++) {
            uint64_t random = draw(worker);
            uint32_t entity = draw_callee(worker, random & 1);
            uint64_t handle = __atomic_load_n(&load->gates[entity], __ATOMIC_ACQUIRE);
            if (handle == 0) {
                continue;
            }
            enum errand errand = errand_of(random);
            uint64_t one = errand == NOTHING && i % 8 == 0 ? now_ns() : 0;
            DWORD code = ask(worker, entity, handle, errand);
            if (one != 0) {
                sample(worker, LOAD_INVOKE, now_ns() - one);
                clocks++;
            }
            if (code == ERROR_POSSIBLE_DEADLOCK) {
                violate(load, "invoking entity %u, inside nothing, was refused", entity);
            }
            done += code == NO_ERROR;
        }
        block(worker, LOAD_INVOKE, done, now_ns() - begin - clocks * load->timer_ns);
    }
}

void block_callee(struct load_worker *worker, uint32_t entity, RTM_ENTITY_HANDLE handle) {
    struct load *load = worker->load;
    struct context *context = (struct context *)(uintptr_t)load->contexts[entity];
    uint64_t begin = now_ns();
    DWORD code = RTM(RtmBlockMethods)(handle, NULL, 0, RTM_BLOCK_METHODS);
    if (code == ERROR_POSSIBLE_DEADLOCK) {
        return; /* somebody inside waits, by way of others, for us */
    }
    uint64_t blocked = now_ns() - begin;
    if (code != NO_ERROR) {
        violate(load, "blocking entity %u: %s", entity, RTM(RtmxErrorText)(code));
        return;
    }
    __atomic_store_n(&context->blocked, 1, __ATOMIC_RELEASE);
    if (draw(worker) % 64 == 0) {
        sched_yield();
    }
    if (draw(worker) % 4 == 0) {
        return; /* it goes as it is, and whoever waits is refused */
    }
    __atomic_store_n(&context->blocked, 0, __ATOMIC_RELEASE);
    begin = now_ns();
    code = RTM(RtmBlockMethods)(handle, NULL, 0, RTM_RESUME_METHODS);
    if (code != NO_ERROR) {
        violate(load, "resuming entity %u: %s", entity, RTM(RtmxErrorText)(code));
    }
    /* Two readings of the clock; one is taken off. */
    uint64_t resumed = now_ns() - begin;
    sample(worker, LOAD_BLOCK, blocked + (resumed > load->timer_ns ? resumed - load->timer_ns : 0));
    count(worker, LOAD_BLOCK, 1);
}
