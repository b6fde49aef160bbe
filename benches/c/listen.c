/*
 * Listeners: every event accounted for.
 *
 * Even listeners are told by the library's threads, odd ones by `loop`, which polls a queue. `host` registers
 * them and does the accounts; some of them (`goes`) come and go all the time.
 *
 * Accounts. A listener keeps a sight of every entity of its table: OPEN, LISTED (the handle that an
 * enumeration behind its registration gave), UP or DOWN (the last event). One that is UP can go, with that
 * handle; one that is DOWN can come, with another. One that is OPEN may do either, and so may one that
 * is LISTED: who comes or goes while a listener registers may be told, listed, or both, and what was told
 * before the registration may be told again. But LISTED it stays until its own handle is told of. So no
 * event is lost, doubled or exchanged. At the end, when the churners are gone and all listeners have
 * been told of the last sentinel, every sight must be what the board says: none was lost at the end
 * either, and nobody was neither listed nor told of. A listener that is told that it missed some enumerates
 * and begins anew.
 */
#define _GNU_SOURCE
#include "tools.h"

#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

enum { LISTENER = 99, SENTINEL = 98 }; /* protocols, beside BGP */
enum { SENTINELS = 200 };

enum kind { OPEN, LISTED, UP, DOWN };

struct sight {
    uint64_t handle;
    uint32_t round; /* of another round: nothing is known */
    uint32_t kind;
};

struct listener {
    struct load *load;
    uint32_t number;
    uint32_t family; /* 0 or 1: that of the entities 2k or 2k + 1 */
    int goes;
    RTM_ENTITY_HANDLE handle;
    uint32_t life;    /* not 0 from before the registration until the deregistration has returned */
    uint32_t leaving; /* from before the deregistration */
    uint32_t inside;
    uint64_t arrived; /* the last sentinel that has come... */
    uint64_t gone;    /* ...and gone */
    pthread_mutex_t lock; /* held while it registers, which its callback may wait for */
    uint32_t round;
    struct sight *sights;
};

static struct listener *listeners;
static RTMX_QUEUE_HANDLE queue;

static uint64_t look(const uint64_t *place) { return __atomic_load_n(place, __ATOMIC_ACQUIRE); }

/* Entities of the first instance in one family; behind them in the sights: listeners, the sentinel. */
static uint32_t half_of(const struct load *load) { return load->first_instance / 2; }

static uint32_t sights_of(const struct load *load) { return half_of(load) + load->listeners + 1; }

static RTM_ENTITY_INFO info_for(const struct load *load, uint32_t family, ULONG protocol, ULONG number) {
    RTM_ENTITY_INFO info = info_of(load, family); /* an entity of that table */
    info.EntityId.EntityProtocolId = protocol;
    info.EntityId.EntityInstanceId = number;
    return info;
}

/* An entity's place in the sights; beyond them if it is none of ours. */
static uint32_t index_of(const struct load *load, const RTM_ENTITY_INFO *info) {
    uint32_t number = info->EntityId.EntityInstanceId;
    switch (info->EntityId.EntityProtocolId) {
    case LISTENER:
        return number < load->listeners ? half_of(load) + number : UINT32_MAX;
    case SENTINEL:
        return half_of(load) + load->listeners;
    case 14: {
        uint32_t mask = (1u << load->by_asn_bits) - 1;
        uint32_t at = number * 0x9e3779b9u >> (32 - load->by_asn_bits);
        for (; load->by_asn[at] != 0; at = (at + 1) & mask) {
            uint32_t index = load->by_asn[at] - 1;
            if (load->identities[2 * index].asn == number) {
                return index;
            }
        }
        return UINT32_MAX;
    }
    default:
        return UINT32_MAX;
    }
}

/* The listener that is told. Its context is not to be had any more once it leaves. */
static struct listener *find(RTM_ENTITY_HANDLE handle) {
    PVOID found = NULL;
    RTM(RtmxEnter)();
    DWORD code = RTM(RtmxGetContext)(handle, &found);
    RTM(RtmxLeave)();
    if (code == NO_ERROR) {
        return found;
    }
    for (uint32_t n = 0; n < listeners->load->listeners; n++) {
        if (__atomic_load_n(&listeners[n].handle, __ATOMIC_RELAXED) == handle) {
            return &listeners[n];
        }
    }
    violate(listeners->load, "a listener was told that has been registered again since");
    return listeners;
}

/* One entity has come or gone. Under the listener's lock. */
static void see(struct listener *listener, int came, uint64_t subject, const RTM_ENTITY_INFO *info) {
    struct load *load = listener->load;
    RTM_ENTITY_INFO table = info_of(load, listener->family), again;
    uint32_t index = index_of(load, info), number = listener->number;
    if (index >= sights_of(load) || info->AddressFamily != table.AddressFamily ||
        info->RtmInstanceId != table.RtmInstanceId) {
        violate(load, "listener %u was told of a stranger", number);
        return;
    }
    if (subject == to_bits(listener->handle)) {
        violate(load, "listener %u was told of itself", number);
    }
    struct sight *sight = &listener->sights[index];
    uint32_t kind = sight->round == listener->round ? sight->kind : OPEN;
    int known = kind >= UP;
    if (known && came && kind == UP) {
        violate(load, "listener %u was told that entity %u comes, but not that it had gone", number, index);
    } else if (known && came && sight->handle == subject) {
        violate(load, "listener %u was told that entity %u comes, after it had gone", number, index);
    } else if (known && !came && kind == DOWN) {
        violate(load, "listener %u was told that entity %u goes, but not that it had come", number, index);
    } else if (known && !came && sight->handle != subject) {
        violate(load, "listener %u was told that entity %u goes, by a wrong handle", number, index);
    }
    if (kind != LISTED || sight->handle == subject) {
        *sight = (struct sight){subject, listener->round, came ? UP : DOWN};
    }
    /* Inside the event it can be described, unless the listener itself goes. A short journal is overrun
     * even there. */
    DWORD code = RTM(RtmGetEntityInfo)(listener->handle, to_handle(subject), &again);
    if (code != NO_ERROR && load->journal == 0 && !__atomic_load_n(&listener->leaving, __ATOMIC_ACQUIRE)) {
        violate(load, "listener %u was told of entity %u, which nobody describes", number, index);
    } else if (code == NO_ERROR && again.EntityId.EntityId != info->EntityId.EntityId) {
        violate(load, "listener %u was told of entity %u, which is another", number, index);
    }
    if (info->EntityId.EntityProtocolId == SENTINEL) {
        __atomic_store_n(came ? &listener->arrived : &listener->gone, subject, __ATOMIC_RELEASE);
    }
}

/* Begins anew with what is listed. Under the lock. */
static void enumerate(struct listener *listener) {
    struct load *load = listener->load;
    uint32_t half = half_of(load);
    UINT number = half + load->listeners + 64;
    RTM_ENTITY_HANDLE *handles = calloc(number, sizeof *handles);
    RTM_ENTITY_INFO *infos = calloc(number, sizeof *infos);
    DWORD code = ERROR_NOT_ENOUGH_MEMORY;
    if (handles != NULL && infos != NULL) {
        code = RTM(RtmGetRegisteredEntities)(listener->handle, &number, handles, infos);
    }
    if (code == NO_ERROR) {
        code = RTM(RtmReleaseEntities)(listener->handle, number, handles);
    }
    if (code != NO_ERROR) {
        if (!__atomic_load_n(&listener->leaving, __ATOMIC_ACQUIRE)) {
            violate(load, "listener %u enumerates: %s", listener->number, RTM(RtmxErrorText)(code));
        }
        number = 0;
    }
    listener->round++;
    for (uint32_t index = 0; index < half; index++) {
        listener->sights[index] = (struct sight){0, listener->round, OPEN};
    }
    for (UINT i = 0; i < number; i++) {
        uint32_t index = index_of(load, &infos[i]);
        if (index < half) {
            listener->sights[index] = (struct sight){to_bits(handles[i]), listener->round, LISTED};
        }
    }
    free(handles);
    free(infos);
}

static DWORD WINAPI told(RTM_ENTITY_HANDLE handle, RTM_EVENT_TYPE type, PVOID subject, PVOID info) {
    struct listener *listener = find(handle);
    struct load *load = listener->load;
    struct load_tally *tally = &load->tallies[listener->number];
    uint32_t life = __atomic_load_n(&listener->life, __ATOMIC_ACQUIRE);
    if (__atomic_exchange_n(&listener->inside, 1, __ATOMIC_ACQUIRE) != 0) {
        violate(load, "listener %u was told two events at once", listener->number);
    }
    pthread_mutex_lock(&listener->lock);
    __atomic_store_n(&tally->told, tally->told + 1, __ATOMIC_RELAXED);
    if (type == RTMX_EVENTS_MISSED) {
        enumerate(listener);
        __atomic_store_n(&tally->missed, tally->missed + 1, __ATOMIC_RELEASE);
    } else if (type == RTM_ENTITY_REGISTERED || type == RTM_ENTITY_DEREGISTERED) {
        see(listener, type == RTM_ENTITY_REGISTERED, to_bits(subject), info);
    } else {
        violate(load, "listener %u was told an event of type %d", listener->number, (int)type);
    }
    pthread_mutex_unlock(&listener->lock);
    __atomic_store_n(&listener->inside, 0, __ATOMIC_RELEASE);
    if (life == 0 || __atomic_load_n(&listener->life, __ATOMIC_ACQUIRE) != life) {
        violate(load, "listener %u was told after its deregistration had returned", listener->number);
    }
    return NO_ERROR;
}

/* Registers something, again while the backlog is full. */
static DWORD join(struct load *load, RTM_ENTITY_INFO info, struct listener *listener,
                  RTM_ENTITY_HANDLE *handle) {
    RTM_REGN_PROFILE profile;
    DWORD code;
    RTMX_QUEUE_HANDLE via = listener != NULL && listener->number % 2 == 1 ? queue : NULL;
    do {
        code = RTM(RtmxRegisterEntity)(&info, NULL, listener != NULL ? told : NULL, FALSE, listener, NULL,
                                       via, &profile, handle);
    } while (code == ERROR_NO_SYSTEM_RESOURCES && !is_violated(load) && sched_yield() == 0);
    return code;
}

/* Registers a listener. `full`: with an enumeration. */
static void start(struct listener *listener, int full) {
    struct load *load = listener->load;
    pthread_mutex_lock(&listener->lock);
    uint64_t rounds = ++load->tallies[listener->number].rounds;
    listener->round++;
    listener->leaving = 0;
    __atomic_store_n(&listener->life, (uint32_t)rounds | 1u << 31, __ATOMIC_RELEASE);
    RTM_ENTITY_INFO info = info_for(load, listener->family, LISTENER, listener->number);
    DWORD code = join(load, info, listener, &listener->handle);
    if (code != NO_ERROR) {
        listener->handle = NULL;
        violate(load, "registering listener %u: %s", listener->number, RTM(RtmxErrorText)(code));
    } else if (full) {
        enumerate(listener);
    }
    pthread_mutex_unlock(&listener->lock);
}

static void stop(struct listener *listener) {
    if (listener->handle == NULL) {
        return;
    }
    __atomic_store_n(&listener->leaving, 1, __ATOMIC_RELEASE);
    DWORD code = RTM(RtmDeregisterEntity)(listener->handle);
    if (code != NO_ERROR) {
        violate(listener->load, "deregistering listener %u: %s", listener->number,
                RTM(RtmxErrorText)(code));
    }
    __atomic_store_n(&listener->life, 0, __ATOMIC_RELEASE);
    if (__atomic_load_n(&listener->inside, __ATOMIC_ACQUIRE) != 0) {
        violate(listener->load, "listener %u was being told when its deregistration returned",
                listener->number);
    }
}

/* How often listeners have been told that they missed some. */
static uint64_t missed(const struct load *load) {
    uint64_t sum = 0;
    for (uint32_t n = 0; n < load->listeners; n++) {
        sum += look(&load->tallies[n].missed);
    }
    return sum;
}

/* Until all listeners of the table have been told of a sentinel, or one has missed it. */
static void await(struct load *load, uint32_t family, int came, uint64_t handle, uint64_t before) {
    uint64_t begin = now_ns();
    for (uint32_t n = 0; n < load->listeners; n++) {
        struct listener *listener = &listeners[n];
        while (listener->family == family && listener->handle != NULL && !is_violated(load) &&
               look(came ? &listener->arrived : &listener->gone) != handle &&
               missed(load) == before) {
            if (now_ns() - begin > load->patience_ns) {
                violate(load, "listener %u was not told in time that an entity had %s", n,
                        came ? "come" : "gone");
            }
            sched_yield();
        }
    }
}

/* One entity comes and goes while nothing else happens, which all are told of. 0: one of them that it
 * missed some. */
static int ping(struct load_worker *worker, uint32_t family, int measured) {
    struct load *load = worker->load;
    RTM_ENTITY_HANDLE handle;
    uint64_t before = missed(load), begin = now_ns();
    DWORD code = join(load, info_for(load, family, SENTINEL, 0), NULL, &handle);
    if (code != NO_ERROR) {
        violate(load, "registering a sentinel: %s", RTM(RtmxErrorText)(code));
        return 1;
    }
    await(load, family, 1, to_bits(handle), before);
    if (measured) {
        sample(worker, LOAD_WAKE, now_ns() - begin);
        count(worker, LOAD_WAKE, 1);
    }
    code = RTM(RtmDeregisterEntity)(handle);
    if (code != NO_ERROR) {
        violate(load, "deregistering a sentinel: %s", RTM(RtmxErrorText)(code));
    }
    await(load, family, 0, to_bits(handle), before);
    return missed(load) == before;
}

/* Whether a listener has seen everything: its sights are the board. */
static void settle(struct listener *listener) {
    struct load *load = listener->load;
    pthread_mutex_lock(&listener->lock);
    for (uint32_t index = 0; index < half_of(load); index++) {
        const struct sight *sight = &listener->sights[index];
        uint64_t seen = sight->kind == OPEN || sight->kind == DOWN ? 0 : sight->handle;
        if (sight->round != listener->round || seen != on_board(load, 2 * index + listener->family)) {
            violate(load, "listener %u was not told the last of entity %u", listener->number, index);
            break;
        }
    }
    pthread_mutex_unlock(&listener->lock);
}

DWORD FN(prepare)(struct load *load) {
    listeners = calloc(load->listeners, sizeof *listeners);
    for (uint32_t n = 0; listeners != NULL && n < load->listeners; n++) {
        struct listener *listener = &listeners[n];
        listener->load = load;
        listener->number = n;
        listener->family = n / 2 % 2;
        listener->goes = n % 4 == 2 || n % 8 == 5;
        pthread_mutex_init(&listener->lock, NULL);
        listener->sights = calloc(sights_of(load), sizeof *listener->sights);
        if (listener->sights == NULL) {
            return ERROR_NOT_ENOUGH_MEMORY;
        }
    }
    if (listeners == NULL) {
        return ERROR_NOT_ENOUGH_MEMORY;
    }
    if (load->journal != 0) {
        RTMX_LIMITS limits;
        RTM(RtmxGetLimits)(&limits, sizeof limits);
        limits.MaxJournal = load->journal;
        DWORD code = RTM(RtmxSetLimits)(&limits, sizeof limits);
        if (code != NO_ERROR) {
            return code;
        }
    }
    return RTM(RtmxCreateEventQueue)(&queue);
}

void FN(host)(struct load_worker *worker) {
    struct load *load = worker->load;
    for (uint32_t n = 0; n < load->listeners; n++) {
        start(&listeners[n], 1);
    }
    while (!__atomic_load_n(&load->quiet, __ATOMIC_ACQUIRE)) {
        for (uint32_t n = 0; n < load->listeners && !stopped(load); n++) {
            struct listener *listener = &listeners[n];
            if (listener->goes) {
                stop(listener);
                start(listener, draw(worker) % 64 == 0);
            }
        }
        switch (draw(worker) % 4) {
        case 0:
            break;
        case 1:
            sched_yield();
            break;
        default: {
            struct timespec nap = {0, (long)draw_below(worker, 2000000)};
            nanosleep(&nap, NULL);
        }
        }
    }
    for (uint32_t n = 0; n < load->listeners && !is_violated(load); n++) {
        if (listeners[n].goes) {
            stop(&listeners[n]);
            start(&listeners[n], 1);
        }
    }
    for (unsigned i = 0; i < 2 * SENTINELS; i++) {
        /* The first brings them up to date. */
        while (!is_violated(load) && !ping(worker, i % 2, i > 1)) {
        }
    }
    for (uint32_t n = 0; n < load->listeners && !is_violated(load); n++) {
        settle(&listeners[n]);
    }
    for (uint32_t n = 0; n < load->listeners; n++) {
        stop(&listeners[n]);
    }
    __atomic_store_n(&load->settled, 1, __ATOMIC_RELEASE);
}

/* The event loop of those with a queue. */
void FN(loop)(struct load_worker *worker) {
    struct load *load = worker->load;
    struct pollfd poller = {-1, POLLIN, 0};
    DWORD code = RTM(RtmxGetEventQueueDescriptor)(queue, &poller.fd);
    while (code == NO_ERROR && !__atomic_load_n(&load->settled, __ATOMIC_ACQUIRE)) {
        if (poll(&poller, 1, 50) > 0) {
            UINT done = 0;
            uint64_t begin = now_ns();
            code = RTM(RtmxDispatchEvents)(queue, 256, &done);
            block(worker, LOAD_TOLD_QUEUE, done, now_ns() - begin);
        }
    }
    if (code != NO_ERROR) {
        violate(load, "dispatching: %s", RTM(RtmxErrorText)(code));
    }
}

void delete_queue(struct load *load) {
    if (queue != NULL) {
        DWORD code = RTM(RtmxDeleteEventQueue)(queue);
        if (code != NO_ERROR) {
            violate(load, "deleting the queue: %s", RTM(RtmxErrorText)(code));
        }
        queue = NULL;
    }
    for (uint32_t n = 0; listeners != NULL && n < load->listeners; n++) {
        free(listeners[n].sights);
    }
    free(listeners);
    listeners = NULL;
}
