/* The hot calls of the library, as a client's compiled code makes them: one program for each way of linking
 * (src/compare/calls.rs builds and runs it).
 *
 * calls ENTITIES REPETITIONS MILLISECONDS SEED
 *
 * Says "ready", and for each line that it reads prints a row for each operation and repetition: its name, a
 * tab, ns per operation; then "ready" again. Handles are used in random order; results are checked before
 * anything is timed, by the sum of what was found. */
#define _GNU_SOURCE
#include <rtmv2.h>

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

/* Operations for one timed call, and how many calls are checked. */
#define PIECE 1000
#define CHECKED 100

static size_t entities, checked, repetitions, at;
static double most_ns;
static RTM_ENTITY_HANDLE own, *handles;
static RTMX_READER_HANDLE reader;
static ULONGLONG next_id = 1ull << 40, found;

static void check(int good, const char *what) {
    if (!good) {
        fprintf(stderr, "calls: %s\n", what);
        exit(1);
    }
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

/* The next handles, round and round. */
static RTM_ENTITY_HANDLE *piece(void) {
    RTM_ENTITY_HANDLE *first = handles + at;
    at = (at + PIECE) % entities;
    return first;
}

static RTM_ENTITY_HANDLE add(ULONGLONG id) {
    RTM_ENTITY_INFO info;
    RTM_REGN_PROFILE profile;
    RTM_ENTITY_HANDLE handle = NULL;
    memset(&info, 0, sizeof info);
    info.AddressFamily = AF_INET;
    info.EntityId.EntityId = id;
    PVOID context = (PVOID)(uintptr_t)id;
    DWORD code = RtmxRegisterEntity(&info, NULL, NULL, FALSE, context, NULL, NULL, &profile, &handle);
    check(code == NO_ERROR, RtmxErrorText(code));
    return handle;
}

/* Each does a piece and adds the ids it found, or as much, to `found`. */

static void call_alone(void) {
    for (size_t n = 0; n < PIECE; n++) {
        found += RtmxGetAbiNumber();
    }
}

static void one_look_up(void) {
    RTM_ENTITY_INFO info;
    for (size_t n = 0; n < PIECE; n++) {
        found += RtmReleaseEntityInfo(own, &info) == NO_ERROR;
    }
}

static void get_entity_info(void) {
    RTM_ENTITY_HANDLE *some = piece();
    RTM_ENTITY_INFO info;
    for (size_t n = 0; n < PIECE; n++) {
        if (RtmGetEntityInfo(own, some[n], &info) == NO_ERROR) {
            found += info.EntityId.EntityId;
        }
    }
}

static void section_each(void) {
    RTM_ENTITY_HANDLE *some = piece();
    PVOID context;
    for (size_t n = 0; n < PIECE; n++) {
        RtmxEnter();
        if (RtmxGetContext(some[n], &context) == NO_ERROR) {
            found += (uintptr_t)context;
        }
        RtmxLeave();
    }
}

static void section_held(void) {
    RTM_ENTITY_HANDLE *some = piece();
    PVOID context;
    RtmxEnter();
    for (size_t n = 0; n < PIECE; n++) {
        if (RtmxGetContext(some[n], &context) == NO_ERROR) {
            found += (uintptr_t)context;
        }
    }
    RtmxLeave();
}

static void reader_each(void) {
    RTM_ENTITY_HANDLE *some = piece();
    PVOID context;
    for (size_t n = 0; n < PIECE; n++) {
        RtmxReaderEnter(reader);
        if (RtmxReaderGetContext(reader, some[n], &context) == NO_ERROR) {
            found += (uintptr_t)context;
        }
        RtmxReaderLeave(reader);
    }
}

static void reader_held(void) {
    RTM_ENTITY_HANDLE *some = piece();
    PVOID context;
    RtmxReaderEnter(reader);
    for (size_t n = 0; n < PIECE; n++) {
        if (RtmxReaderGetContext(reader, some[n], &context) == NO_ERROR) {
            found += (uintptr_t)context;
        }
    }
    RtmxReaderLeave(reader);
}

static void batch(void) {
    static PVOID contexts[PIECE];
    RtmxEnter();
    RtmxGetContexts(PIECE, piece(), contexts, NULL);
    RtmxLeave();
    for (size_t n = 0; n < PIECE; n++) {
        found += (uintptr_t)contexts[n];
    }
}

static void pair(void) {
    for (size_t n = 0; n < PIECE; n++) {
        RTM_ENTITY_HANDLE handle = add(next_id++);
        check(RtmDeregisterEntity(handle) == NO_ERROR, "an entity is not there");
    }
}

/* The first handles must give `all`; timed are those after what was timed last. */
static void measure(const char *operation, void (*f)(void), ULONGLONG all) {
    size_t place = at;
    at = 0;
    found = 0;
    for (size_t call = 0; call < checked / PIECE; call++) {
        f();
    }
    check(found == all, operation);
    at = place;
    double begin = now();
    f();
    f();
    double once = (now() - begin) / 2;
    size_t calls = once < most_ns ? (size_t)(most_ns / once) : 1;
    for (size_t repetition = 0; repetition < repetitions; repetition++) {
        begin = now();
        for (size_t call = 0; call < calls; call++) {
            f();
        }
        printf("%s\t%.3f\n", operation, (now() - begin) / ((double)calls * PIECE));
    }
}

int main(int argc, char **argv) {
    check(argc == 5, "usage: calls ENTITIES REPETITIONS MILLISECONDS SEED");
    entities = strtoull(argv[1], NULL, 10);
    repetitions = strtoull(argv[2], NULL, 10);
    most_ns = strtod(argv[3], NULL) * 1e6;
    ULONGLONG random = strtoull(argv[4], NULL, 10) << 8 | 1;
    check(entities != 0 && entities % PIECE == 0, "the number of entities is no multiple of 1,000");
    cpu_set_t processors;
    CPU_ZERO(&processors);
    CPU_SET(0, &processors);
    sched_setaffinity(0, sizeof processors, &processors);

    checked = entities < CHECKED * PIECE ? entities : CHECKED * PIECE;
    handles = malloc(entities * sizeof *handles);
    ULONGLONG *ids = malloc(entities * sizeof *ids);
    check(handles != NULL && ids != NULL, "no memory");
    for (size_t n = 0; n < entities; n++) {
        handles[n] = add(n);
        ids[n] = n;
    }
    own = handles[0];
    for (size_t last = entities - 1; last != 0; last--) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        size_t other = random % (last + 1);
        RTM_ENTITY_HANDLE handle = handles[last];
        handles[last] = handles[other];
        handles[other] = handle;
        ULONGLONG id = ids[last];
        ids[last] = ids[other];
        ids[other] = id;
    }
    check(RtmxCreateReader(&reader) == NO_ERROR, "no reader object");

    ULONGLONG all = 0;
    for (size_t n = 0; n < checked; n++) {
        all += ids[n];
    }
    for (char line[16]; puts("ready"), fflush(stdout), fgets(line, sizeof line, stdin) != NULL;) {
        measure("a call alone", call_alone, checked * RTMX_ABI_NUMBER);
        measure("RtmReleaseEntityInfo", one_look_up, checked);
        measure("RtmGetEntityInfo", get_entity_info, all);
        measure("RtmxGetContext, section for each", section_each, all);
        measure("RtmxGetContext, held", section_held, all);
        measure("RtmxReaderGetContext, section for each", reader_each, all);
        measure("RtmxReaderGetContext, held", reader_held, all);
        measure("RtmxGetContexts of 1,000", batch, all);
        measure("register + deregister", pair, 0);
    }
    return 0;
}
