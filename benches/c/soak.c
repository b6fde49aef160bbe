/*
 * The threads of a soak: those that stay inside sections (`holder`), keep references (`referrer`), come and
 * go (`visitors`), and look after the whole (`housekeeper`).
 *
 * What a holder has looked up must be alive until it leaves, and what a referrer has referenced must be
 * described until it releases, whatever churners do meanwhile. A visitor does a little of everything and
 * ends where it is; who sent it tidies up nothing for it. What was deregistered before a flush began has
 * been cleaned up when it returns.
 */
#define _GNU_SOURCE
#include "tools.h"

#include <pthread.h>
#include <sched.h>
#include <unistd.h>

enum { HELD = 256, REFERENCED = 64, ERRORS = 1460 };

static void nap(uint32_t ns) {
    struct timespec time = {ns / 1000000000, ns % 1000000000};
    nanosleep(&time, NULL);
}

/* What must not fail. */
static void must(struct load *load, DWORD code, const char *what) {
    if (code != NO_ERROR) {
        violate(load, "%s: %s", what, RTM(RtmxErrorText)(code));
    }
}

/* Fills `handles` from the board: all of `family`, of the first instance, if that is 0 or 1. */
static unsigned choose(struct load_worker *worker, uint32_t family, unsigned number, uint32_t *entities,
                       RTM_ENTITY_HANDLE *handles) {
    struct load *load = worker->load;
    unsigned chosen = 0;
    while (chosen < number && !stopped(load)) {
        uint32_t entity = family > 1 ? draw_below(worker, load->entities)
                                     : 2 * draw_below(worker, load->first_instance / 2) + family;
        uint64_t handle = on_board(load, entity);
        if (handle != 0) {
            entities[chosen] = entity;
            handles[chosen++] = to_handle(handle);
        }
    }
    return chosen;
}

/* A section of the thread's (no reader) or of a reader's. */
static DWORD enter(RTMX_READER_HANDLE reader) {
    return reader == NULL ? RTM(RtmxEnter)() : RTM(RtmxReaderEnter)(reader);
}

static DWORD leave(RTMX_READER_HANDLE reader) {
    return reader == NULL ? RTM(RtmxLeave)() : RTM(RtmxReaderLeave)(reader);
}

static DWORD quiescent(RTMX_READER_HANDLE reader) {
    return reader == NULL ? RTM(RtmxQuiescent)() : RTM(RtmxReaderQuiescent)(reader);
}

static DWORD get_context(RTMX_READER_HANDLE reader, RTM_ENTITY_HANDLE handle, PVOID *context) {
    return reader == NULL ? RTM(RtmxGetContext)(handle, context)
                          : RTM(RtmxReaderGetContext)(reader, handle, context);
}

static DWORD get_contexts(RTMX_READER_HANDLE reader, UINT number, RTM_ENTITY_HANDLE *handles,
                          PVOID *contexts, PUINT found) {
    return reader == NULL ? RTM(RtmxGetContexts)(number, handles, contexts, found)
                          : RTM(RtmxReaderGetContexts)(reader, number, handles, contexts, found);
}

/* Looks up many and stays; what was found stays alive. Inside a section. */
static void hold(struct load_worker *worker, RTMX_READER_HANDLE reader) {
    struct load *load = worker->load;
    uint32_t entities[HELD];
    RTM_ENTITY_HANDLE handles[HELD];
    PVOID found[HELD];
    UINT good = 0;
    unsigned chosen = choose(worker, 2, HELD, entities, handles);
    get_contexts(reader, chosen, handles, found, &good);
    for (unsigned i = 0; i < chosen; i++) {
        DWORD code = found[i] != NULL ? NO_ERROR : ERROR_INVALID_HANDLE;
        judge(load, entities[i], to_bits(handles[i]), code, found[i]);
        good -= found[i] != NULL;
    }
    if (good != 0) {
        violate(load, "a batch of %u handles was counted wrongly", chosen);
    }
    /* Milliseconds; now and then one that others notice. */
    uint32_t naps = draw(worker) % 64 == 0 ? 400 : draw_below(worker, 16);
    for (uint32_t n = 0; n <= naps && !stopped(load); n++) {
        nap(draw_below(worker, 2000000));
        for (unsigned i = 0; i < chosen; i++) {
            if (found[i] != NULL) {
                judge(load, entities[i], to_bits(handles[i]), NO_ERROR, found[i]);
            }
        }
    }
}

void FN(holder)(struct load_worker *worker) {
    struct load *load = worker->load;
    while (!stopped(load)) {
        uint64_t begin = now_ns();
        RTMX_READER_HANDLE reader = NULL;
        if (draw(worker) % 2 == 0) {
            must(load, RTM(RtmxCreateReader)(&reader), "creating a reader");
        }
        must(load, enter(reader), "entering");
        hold(worker, reader);
        must(load, quiescent(reader), "letting go");
        must(load, enter(reader), "entering again");
        if (quiescent(reader) != ERROR_POSSIBLE_DEADLOCK) {
            violate(load, "a nested section let go of everything");
        }
        hold(worker, reader);
        must(load, leave(reader), "leaving a nested section");
        must(load, leave(reader), "leaving");
        if (leave(reader) != ERROR_NOT_LOCKED) {
            violate(load, "a section was left twice");
        }
        if (reader != NULL) {
            must(load, RTM(RtmxDeleteReader)(reader), "deleting a reader");
        }
        sample(worker, LOAD_HOLD, now_ns() - begin);
        count(worker, LOAD_HOLD, 1);
        nap(draw_below(worker, 2000000));
    }
}

/* Describes what is referenced. */
static void describe(struct load *load, RTM_ENTITY_HANDLE self, uint32_t entity, RTM_ENTITY_HANDLE handle) {
    RTM_ENTITY_INFO info;
    DWORD code = RTM(RtmGetEntityInfo)(self, handle, &info);
    if (code != NO_ERROR) {
        violate(load, "entity %u, which is referenced, was not described: %s", entity,
                RTM(RtmxErrorText)(code));
    } else if (info.EntityId.EntityInstanceId != load->identities[entity].asn) {
        violate(load, "the description of entity %u, which is referenced, is that of AS %u", entity,
                info.EntityId.EntityInstanceId);
    }
    must(load, RTM(RtmReleaseEntityInfo)(self, &info), "giving a description back");
}

/* An entity that is registered has its methods, and one that is not has none. */
static void ask_for_methods(struct load *load, RTM_ENTITY_HANDLE self, uint32_t entity,
                            RTM_ENTITY_HANDLE handle) {
    RTM_ENTITY_EXPORT_METHOD methods[2] = {NULL, NULL};
    UINT number = 2, expected = is_callee(load, entity) ? 1 : 0;
    DWORD code = RTM(RtmGetEntityMethods)(self, handle, &number, methods);
    if (code == ERROR_INVALID_HANDLE) {
        if (to_handle(on_board(load, entity)) == handle) {
            violate(load, "entity %u, which is registered, did not tell its methods", entity);
        }
    } else if (code != NO_ERROR) {
        violate(load, "asking for the methods of entity %u: %s", entity, RTM(RtmxErrorText)(code));
    } else if (number != expected || (expected == 1 && methods[0] != callee_methods()->Methods[0])) {
        violate(load, "entity %u told %u methods of %u", entity, number, expected);
    }
}

/* References some, one by one or together, and gives them back. */
static void refer(struct load_worker *worker, uint32_t naps) {
    struct load *load = worker->load;
    uint32_t family = (uint32_t)(draw(worker) >> 40) % 2, entities[REFERENCED];
    RTM_ENTITY_HANDLE self = to_handle(load->handles[family]), handles[REFERENCED];
    unsigned chosen = choose(worker, family, REFERENCED, entities, handles), kept = 0;
    uint64_t begin = now_ns();
    for (unsigned i = 0; i < chosen; i++) {
        DWORD code = RTM(RtmReferenceHandles)(self, 1, &handles[i]);
        if (code == NO_ERROR) {
            entities[kept] = entities[i];
            handles[kept++] = handles[i];
        } else if (code != ERROR_INVALID_HANDLE) {
            violate(load, "referencing entity %u: %s", entities[i], RTM(RtmxErrorText)(code));
        } else if (to_handle(on_board(load, entities[i])) == handles[i]) {
            violate(load, "entity %u, which is registered, was not referenced", entities[i]);
        }
    }
    uint64_t taken = now_ns() - begin;
    /* Departed ones too. */
    must(load, RTM(RtmReferenceHandles)(self, kept, handles), "referencing again");
    for (uint32_t n = 0; n <= naps && !stopped(load); n++) {
        for (unsigned i = 0; i < kept; i++) {
            describe(load, self, entities[i], handles[i]);
            ask_for_methods(load, self, entities[i], handles[i]);
        }
        if (n != naps) {
            nap(draw_below(worker, 2000000));
        }
    }
    must(load, RTM(RtmReleaseEntities)(self, kept, handles), "releasing");
    for (unsigned i = 0; i < kept; i++) {
        describe(load, self, entities[i], handles[i]);
    }
    begin = now_ns();
    must(load, RTM(RtmReleaseEntities)(self, kept, handles), "releasing the last references");
    block(worker, LOAD_REFER, kept, taken + (now_ns() - begin));
}

void FN(referrer)(struct load_worker *worker) {
    while (!stopped(worker->load)) {
        refer(worker, draw(worker) % 8 == 0 ? draw_below(worker, 32) : 0);
    }
}

enum ending { RETURNS, EXITS, EXITS_INSIDE, CANCELLED_INSIDE, LEAVES_A_READER, ENDINGS };

struct visit {
    struct load_worker *worker; /* whose owner waits meanwhile */
    enum ending ending;
    uint32_t errands;
    RTMX_READER_HANDLE reader;
};

static void look_up_some(struct load_worker *worker, RTMX_READER_HANDLE reader) {
    uint32_t entities[8];
    RTM_ENTITY_HANDLE handles[8];
    unsigned chosen = choose(worker, 2, 8, entities, handles);
    for (unsigned i = 0; i < chosen; i++) {
        PVOID found = NULL;
        DWORD code = get_context(reader, handles[i], &found);
        judge(worker->load, entities[i], to_bits(handles[i]), code, found);
    }
}

static void *visit(void *argument) {
    struct visit *visit = argument;
    struct load_worker *worker = visit->worker;
    struct load *load = worker->load;
    if (visit->errands & 1) {
        churn(worker);
    }
    if (visit->errands & 2) {
        refer(worker, 0);
    }
    if (visit->errands & 4) {
        must(load, RTM(RtmxEnter)(), "a visitor enters");
        look_up_some(worker, NULL);
        must(load, RTM(RtmxLeave)(), "a visitor leaves");
    }
    switch (visit->ending) {
    case EXITS:
        pthread_exit(NULL);
    case LEAVES_A_READER:
        must(load, RTM(RtmxCreateReader)(&visit->reader), "a visitor creates a reader");
        must(load, RTM(RtmxReaderEnter)(visit->reader), "a visitor enters by a reader");
        look_up_some(worker, visit->reader);
        must(load, RTM(RtmxReaderLeave)(visit->reader), "a visitor leaves by a reader");
        break;
    case EXITS_INSIDE:
    case CANCELLED_INSIDE:
        must(load, RTM(RtmxEnter)(), "a visitor enters");
        must(load, RTM(RtmxEnter)(), "a visitor enters again");
        look_up_some(worker, NULL);
        while (visit->ending == CANCELLED_INSIDE) {
            pause();
        }
        pthread_exit(NULL);
    default:
        break;
    }
    return NULL;
}

/* Sends threads, one after the other, that end in every way. */
void FN(visitors)(struct load_worker *worker) {
    struct load *load = worker->load;
    while (!stopped(load)) {
        struct visit all = {worker, (enum ending)(draw(worker) % ENDINGS), (uint32_t)draw(worker), NULL};
        pthread_t thread;
        uint64_t begin = now_ns();
        if (pthread_create(&thread, NULL, visit, &all) != 0) {
            sched_yield();
            continue;
        }
        if (all.ending == CANCELLED_INSIDE) {
            pthread_cancel(thread);
        }
        pthread_join(thread, NULL);
        if (all.reader != NULL) {
            must(load, RTM(RtmxDeleteReader)(all.reader), "deleting a visitor's reader");
        }
        sample(worker, LOAD_VISIT, now_ns() - begin);
        count(worker, LOAD_VISIT, 1);
    }
}

static VOID WINAPI told_of_a_defect(PVOID context, const char *text) {
    violate(context, "the library has caught a defect: %s", text);
}

/* Other limits for a moment: registrations are refused, or threads come and go. */
static void change_limits(struct load_worker *worker, const RTMX_LIMITS *usual) {
    struct load *load = worker->load;
    RTMX_LIMITS limits = *usual, read;
    if (draw(worker) % 4 == 0) {
        limits.MaxEntities = load->entities / 2;
    } else {
        limits.MaxBacklog = draw_below(worker, 100000);
    }
    limits.IdleEventThreads = draw_below(worker, 4);
    limits.MaxEventThreads = 1 + draw_below(worker, 8);
    uint64_t begin = now_ns();
    must(load, RTM(RtmxSetLimits)(&limits, sizeof limits), "setting limits");
    sample(worker, LOAD_LIMITS, now_ns() - begin);
    count(worker, LOAD_LIMITS, 1);
    must(load, RTM(RtmxGetLimits)(&read, sizeof read), "reading limits");
    if (read.MaxEntities != limits.MaxEntities || read.MaxBacklog != limits.MaxBacklog ||
        read.MaxEventThreads != limits.MaxEventThreads) {
        violate(load, "the limits are not what they were set to");
    }
    nap(draw_below(worker, 4000000));
    must(load, RTM(RtmxSetLimits)(usual, sizeof *usual), "setting the usual limits");
}

static void flush(struct load_worker *worker) {
    struct load *load = worker->load;
    /* Each of them had a context. */
    uint64_t gone = __atomic_load_n(&load->stale_count, __ATOMIC_SEQ_CST), begin = now_ns();
    must(load, RTM(RtmxFlush)(), "flushing");
    sample(worker, LOAD_FLUSH, now_ns() - begin);
    count(worker, LOAD_FLUSH, 1);
    uint64_t cleaned = __atomic_load_n(&load->cleaned, __ATOMIC_SEQ_CST);
    if (cleaned < gone) {
        violate(load, "after a flush %llu of %llu contexts were cleaned up", (unsigned long long)cleaned,
                (unsigned long long)gone);
    }
    must(load, RTM(RtmxTrim)(NULL), "giving memory back");
}

/* What only grows has not shrunk, and what has a bound is within it. */
static void compare(struct load *load, RTMX_STATISTICS *before) {
    RTMX_STATISTICS now;
    must(load, RTM(RtmxGetStatistics)(&now, sizeof now), "reading statistics");
    if (now.Registered < before->Registered || now.Deregistered < before->Deregistered ||
        now.Reclaimed < before->Reclaimed || now.RetiredPeak < before->RetiredPeak ||
        now.Events < before->Events || now.EventsMissed < before->EventsMissed) {
        violate(load, "a count has shrunk");
    }
    if (now.Live > load->entities + load->listeners + 1 || now.Listeners > load->listeners) {
        violate(load, "%llu entities and %llu listeners are said to be there", (unsigned long long)now.Live,
                (unsigned long long)now.Listeners);
    }
    *before = now;
}

static void use_a_queue(struct load *load) {
    RTMX_QUEUE_HANDLE own;
    int descriptor = -1;
    UINT dispatched = 1;
    must(load, RTM(RtmxCreateEventQueue)(&own), "creating a queue");
    must(load, RTM(RtmxGetEventQueueDescriptor)(own, &descriptor), "asking for a descriptor");
    must(load, RTM(RtmxDispatchEvents)(own, 8, &dispatched), "dispatching nothing");
    if (descriptor < 0 || dispatched != 0) {
        violate(load, "a new queue has no descriptor, or events");
    }
    must(load, RTM(RtmxDeleteEventQueue)(own), "deleting a queue");
}

static void ask_the_library(struct load *load) {
    UINT version[3];
    must(load, RTM(RtmxSetLogFunction)(told_of_a_defect, load), "setting the log function");
    must(load, RTM(RtmxGetVersion)(&version[0], &version[1], &version[2]), "asking for the version");
    if (RTM(RtmxGetAbiNumber)() != RTMX_ABI_NUMBER) {
        violate(load, "the library has another ABI number than its header");
    }
    for (DWORD code = 0; code < ERRORS; code++) {
        if (RTM(RtmxErrorText)(code)[0] == 0) {
            violate(load, "code %u has no text", code);
        }
    }
}

void FN(housekeeper)(struct load_worker *worker) {
    struct load *load = worker->load;
    RTMX_LIMITS usual;
    RTMX_STATISTICS before;
    memset(&before, 0, sizeof before);
    must(load, RTM(RtmxGetLimits)(&usual, sizeof usual), "reading limits");
    while (!stopped(load)) {
        uint64_t begin;
        switch (draw(worker) % 6) {
        case 0:
            begin = now_ns();
            must(load, RTM(RtmxSynchronize)(), "synchronizing");
            sample(worker, LOAD_SYNCHRONIZE, now_ns() - begin);
            count(worker, LOAD_SYNCHRONIZE, 1);
            break;
        case 1:
            flush(worker);
            break;
        case 2:
            change_limits(worker, &usual);
            break;
        case 3:
            use_a_queue(load);
            break;
        case 4:
            ask_the_library(load);
            break;
        default:
            compare(load, &before);
        }
        nap(draw_below(worker, 20000000));
    }
    must(load, RTM(RtmxSetLogFunction)(NULL, NULL), "taking the log function away");
}
