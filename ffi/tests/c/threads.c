/* Many threads at everything at once, and threads that end at awkward moments. */
#include "check.h"

/* The thread sanitizer has given up what it knows of a thread before its last destructors run. */
#ifdef __SANITIZE_THREAD__
enum { RACES = 1 };
#else
enum { RACES = 0 };
#endif

#include <limits.h>

/* --- Churn --- */

enum { THREADS = 8, SLOTS = 512, STALE = 1024 };
#define ALIVE 0xA11CE0A11CE0A11Cu
#define DEAD 0xDEADDEADDEADDEADu

typedef struct {
    uint64_t canary;
    uint64_t id;
    uint64_t *sum;
} Context;

static RTM_ENTITY_HANDLE anchor, slots[SLOTS];
static uint64_t made, cleaned, sum_made, sum_cleaned, lookups, hits;
static int stop;

static VOID WINAPI cleanup(PVOID argument)
{
    Context *context = (Context *)argument;
    EQ(context->canary, ALIVE);
    ADD(context->sum, context->id);
    context->canary = DEAD;
    ADD(&cleaned, 1);
    free(context);
}

static void look_at(Context *context, RTM_ENTITY_HANDLE handle)
{
    RTM_ENTITY_INFO info;
    EQ(LOAD(&context->canary), ALIVE);
    /* It may have departed meanwhile; if not, it is the one that the context belongs to. */
    if (RtmGetEntityInfo(anchor, handle, &info) == NO_ERROR)
        EQ(info.EntityId.EntityId, context->id);
    ADD(&hits, 1);
}

/* Deregisters whatever is in a slot and registers anew. */
static void churn(uint64_t *seed, uint64_t *next_id)
{
    RTM_ENTITY_HANDLE *slot = &slots[check_random(seed) % SLOTS], handle = NULL, old;
    Context *context = (Context *)malloc(sizeof *context);
    DWORD code;

    CHECK(context != NULL);
    context->canary = ALIVE;
    context->sum = &sum_cleaned;
    context->id = (*next_id)++;
    code = try_register(0, TEST_INET, context->id, context, cleanup, &handle);
    if (code != NO_ERROR) {
        /* Too much backlog, at worst. */
        EQ(code, ERROR_NO_SYSTEM_RESOURCES);
        free(context);
        return;
    }
    ADD(&made, 1);
    ADD(&sum_made, *next_id - 1);
    old = SWAP(slot, handle);
    if (old)
        OK(RtmDeregisterEntity(old));
}

static void read_some(uint64_t *seed, RTMX_READER_HANDLE reader)
{
    RTM_ENTITY_HANDLE handles[16];
    void *contexts[16];
    UINT found = 99, good = 0;
    int i, own = (int)(check_random(seed) % 2), depth = (int)(check_random(seed) % 3) + 1;

    for (i = 0; i < depth; i++)
        OK(own ? RtmxEnter() : RtmxReaderEnter(reader));
    for (i = 0; i < 16; i++) {
        void *context = NULL;
        DWORD code;
        handles[i] = LOAD(&slots[check_random(seed) % SLOTS]);
        code = own ? RtmxGetContext(handles[i], &context) : RtmxReaderGetContext(reader, handles[i], &context);
        if (code == NO_ERROR)
            look_at((Context *)context, handles[i]);
        else
            EQ(code, ERROR_INVALID_HANDLE);
    }
    if (own)
        RtmxGetContexts(16, handles, contexts, &found);
    else
        RtmxReaderGetContexts(reader, 16, handles, contexts, &found);
    for (i = 0; i < 16; i++)
        if (contexts[i]) {
            look_at((Context *)contexts[i], handles[i]);
            good++;
        }
    EQ(good, found);
    if (depth == 1)
        OK(own ? RtmxQuiescent() : RtmxReaderQuiescent(reader));
    for (i = 0; i < depth; i++)
        OK(own ? RtmxLeave() : RtmxReaderLeave(reader));
    ADD(&lookups, 32);
}

static void enumerate(uint64_t *seed)
{
    RTM_ENTITY_HANDLE handles[SLOTS];
    RTM_ENTITY_INFO infos[SLOTS], info;
    UINT count = (UINT)(check_random(seed) % SLOTS) + 1, i;
    DWORD code = RtmGetRegisteredEntities(anchor, &count, handles, infos);

    CHECK(code == NO_ERROR || code == ERROR_INSUFFICIENT_BUFFER);
    CHECK_OP(count, >=, 1);
    for (i = 0; i < count; i++) {
        /* Referenced, hence still described, departed or not. */
        OK(RtmGetEntityInfo(anchor, handles[i], &info));
        EQ(info.EntityId.EntityId, infos[i].EntityId.EntityId);
    }
    OK(RtmReleaseEntities(anchor, count, handles));
}

static void refer(uint64_t *seed)
{
    RTM_ENTITY_HANDLE handle = LOAD(&slots[check_random(seed) % SLOTS]), twice[2];
    RTM_ENTITY_INFO info;
    int i;

    twice[0] = twice[1] = handle;
    if (RtmReferenceHandles(anchor, 2, twice) != NO_ERROR)
        return;
    for (i = 0; i < 20; i++)
        OK(RtmGetEntityInfo(anchor, handle, &info));
    OK(RtmReleaseEntities(anchor, 2, twice));
}

/* Handles of the past never resolve. */
static void try_stale(uint64_t *seed, RTM_ENTITY_HANDLE *stale)
{
    RTM_ENTITY_INFO info;
    RTM_ENTITY_HANDLE handle = NULL, *kept = &stale[check_random(seed) % STALE];
    void *context;
    int i;

    if (try_register(1, TEST_INET6, check_random(seed), NULL, NULL, &handle) == NO_ERROR) {
        OK(RtmDeregisterEntity(handle));
        *kept = handle;
    }
    OK(RtmxEnter());
    for (i = 0; i < 16; i++) {
        handle = stale[check_random(seed) % STALE];
        EQ(RtmxGetContext(handle, &context), ERROR_INVALID_HANDLE);
        EQ(RtmGetEntityInfo(handle, handle, &info), ERROR_INVALID_HANDLE);
        EQ(RtmDeregisterEntity(handle), ERROR_INVALID_HANDLE);
    }
    OK(RtmxLeave());
}

static void *everything(void *number)
{
    uint64_t seed = (uint64_t)(uintptr_t)number + 1, next_id = (uint64_t)(uintptr_t)number << 40;
    RTM_ENTITY_HANDLE *stale = (RTM_ENTITY_HANDLE *)calloc(STALE, sizeof *stale);
    RTMX_READER_HANDLE reader = NULL;

    CHECK(stale != NULL);
    OK(RtmxCreateReader(&reader));
    while (!LOAD(&stop)) {
        switch (check_random(&seed) % 8) {
        case 0: case 1: case 2: churn(&seed, &next_id); break;
        case 3: case 4: read_some(&seed, reader); break;
        case 5: enumerate(&seed); break;
        case 6: refer(&seed); break;
        default: try_stale(&seed, stale); break;
        }
        if (check_random(&seed) % 1024 == 0)
            OK(RtmxFlush());
        if (check_random(&seed) % 64 == 0) {
            OK(RtmxDeleteReader(reader));
            OK(RtmxCreateReader(&reader));
        }
        CHECK_OP(statistics().Live, >=, 1);
    }
    OK(RtmxDeleteReader(reader));
    free(stale);
    return NULL;
}

static void churning(void)
{
    pthread_t threads[THREADS];
    struct timespec pause = {0, 0};
    unsigned long ms = check_rounds(2000);
    RTMX_STATISTICS end;
    uintptr_t i;

    pause.tv_sec = (time_t)(ms / 1000);
    pause.tv_nsec = (long)(ms % 1000) * 1000000;
    anchor = add(~(uint64_t)0);
    for (i = 0; i < THREADS; i++)
        threads[i] = start(everything, (void *)i);
    nanosleep(&pause, NULL);
    STORE(&stop, 1);
    for (i = 0; i < THREADS; i++)
        join(threads[i]);
    for (i = 0; i < SLOTS; i++)
        if (slots[i])
            OK(RtmDeregisterEntity(slots[i]));
    OK(RtmDeregisterEntity(anchor));
    OK(RtmxFlush());
    EQ(cleaned, made);
    EQ(sum_cleaned, sum_made);
    CHECK(made > 100 && lookups > 100 && hits > 10);
    end = statistics();
    EQ(end.Live, 0);
    EQ(end.Referenced, 0);
    EQ(end.Retired, 0);
    EQ(end.Inside, 0);
    EQ(end.Registered, end.Deregistered);
    EQ(end.Reclaimed, end.Deregistered);
    CHECK_OP(end.Registered, >=, made);
#ifdef RTM_SHORT_GENERATIONS
    /* Each serves 16 entities. */
    CHECK(end.ExhaustedSlots > 0 || getenv("RTM_TEST_DIVISOR"));
#else
    EQ(end.ExhaustedSlots, 0);
#endif
    EQ(end.Tables, 2);
    OK(RtmxShutdown());
    EQ(statistics().Bytes, 0);
}

/* Nobody runs out of memory because somebody else is slow. */
static void *crowd(void *number)
{
    uint64_t id = ((uint64_t)(uintptr_t)number + 1) << 32;
    while (!LOAD(&stop)) {
        RTM_ENTITY_INFO info = make_info(0, TEST_INET, ++id);
        RTM_REGN_PROFILE profile;
        RTM_ENTITY_HANDLE handle = NULL;
        OK(RtmRegisterEntity(&info, NULL, NULL, FALSE, &profile, &handle));
        OK(RtmDeregisterEntity(handle));
    }
    return NULL;
}

static void crowded(void)
{
    enum { CROWD = 3 };
    pthread_t threads[CROWD];
    uint64_t until = check_now_ms() + check_rounds(1000);
    uintptr_t i;

    STORE(&stop, 0);
    for (i = 0; i < CROWD; i++)
        threads[i] = start(crowd, (void *)i);
    while (check_now_ms() < until)
        sched_yield();
    STORE(&stop, 1);
    for (i = 0; i < CROWD; i++)
        join(threads[i]);
    OK(RtmxShutdown());
}

/* --- Threads that end inside --- */

static unsigned counted;

static VOID WINAPI count(PVOID context)
{
    ADD(context ? (unsigned *)context : &counted, 1);
}

/* What is deregistered after somebody has ended inside is reclaimed all the same. */
static void nobody_is_inside(void)
{
    unsigned mine = 0;
    OK(RtmDeregisterEntity(add_with(1, &mine, count)));
    OK(RtmxFlush());
    EQ(mine, 1);
    EQ(statistics().Inside, 0);
}

static RTM_ENTITY_HANDLE shown;

static void enter_and_look(int depth)
{
    void *context = NULL;
    int i;
    for (i = 0; i < depth; i++)
        OK(RtmxEnter());
    OK(RtmxGetContext(shown, &context));
    CHECK(context == &shown);
    OK(RtmDeregisterEntity(add_with(1000 + (uint64_t)depth, NULL, count)));
}

static void *ends_by_return(void *depth)
{
    enter_and_look((int)(uintptr_t)depth);
    return NULL;
}

static void *ends_by_exit(void *depth)
{
    enter_and_look((int)(uintptr_t)depth);
    pthread_exit(NULL);
}

static void *ends_by_cancellation(void *depth)
{
    enter_and_look((int)(uintptr_t)depth);
    for (;;)
        pause();
    return NULL;
}

static void ending_inside(void)
{
    int depth, round;
    shown = add_with(5, &shown, NULL);
    for (round = 0; round < 20; round++)
        for (depth = 1; depth <= 3; depth++) {
            pthread_t thread;
            elsewhere(ends_by_return, (void *)(uintptr_t)depth);
            nobody_is_inside();
            elsewhere(ends_by_exit, (void *)(uintptr_t)depth);
            nobody_is_inside();
            thread = start(ends_by_cancellation, (void *)(uintptr_t)depth);
            AWAIT(statistics().Inside == 1);
            EQ(pthread_cancel(thread), 0);
            CHECK(join(thread) == PTHREAD_CANCELED);
            nobody_is_inside();
        }
    OK(RtmDeregisterEntity(shown));
}

/* Threads that end inside in great number leave no trace but memory that is used again. */
static void many_ends(void)
{
    unsigned long i, rounds = check_rounds(2000);
    uint64_t chunks;

    shown = add_with(5, &shown, NULL);
    elsewhere(ends_by_exit, (void *)1);
    nobody_is_inside();
    chunks = statistics().Chunks;
    for (i = 0; i < rounds; i++)
        elsewhere(ends_by_return, (void *)1);
    nobody_is_inside();
    /* A thread's chunk goes to the next one; a few threads may overlap. */
    CHECK_OP(statistics().Chunks, <=, chunks + 4);
    OK(RtmDeregisterEntity(shown));
}

/* --- Cancellation that comes in the middle of a call --- */

static RTM_ENTITY_HANDLE held;
static int arrived;

static void *cancelled_before_every_call(void *unused)
{
    RTM_ENTITY_HANDLE self = NULL, list[4];
    RTMX_READER_HANDLE reader = NULL;
    RTM_ENTITY_INFO info;
    UINT number = 4;
    void *context;

    /* Pending from here on: a call that were a cancellation point would unwind through the library. */
    EQ(pthread_cancel(pthread_self()), 0);
    OK(try_register(3, TEST_INET, 1, NULL, count, &self));
    OK(RtmGetEntityInfo(self, self, &info));
    OK(RtmReleaseEntityInfo(self, &info));
    OK(RtmGetRegisteredEntities(self, &number, list, &info));
    OK(RtmReferenceHandles(self, number, list));
    OK(RtmReleaseEntities(self, number, list));
    OK(RtmReleaseEntities(self, number, list));
    OK(RtmxEnter());
    OK(RtmxGetContext(self, &context));
    OK(RtmxQuiescent());
    OK(RtmxLeave());
    OK(RtmxCreateReader(&reader));
    OK(RtmxReaderEnter(reader));
    OK(RtmxReaderQuiescent(reader));
    OK(RtmxReaderGetContext(reader, self, &context));
    OK(RtmxReaderLeave(reader));
    OK(RtmxDeleteReader(reader));
    CHECK_OP(statistics().Live, >=, 1);
    OK(RtmxSetLogFunction(NULL, NULL));
    OK(RtmDeregisterEntity(self));
    pthread_testcancel();
    CHECK(!"cancelled");
    return unused;
}

/* ... and the calls that wait. */
static void *cancelled_while_waiting(void *wait)
{
    DWORD (*waits)(void) = *(DWORD (**)(void))wait;
    STORE(&arrived, 1);
    EQ(waits(), NO_ERROR);
    for (;;)
        pthread_testcancel();
    return NULL;
}

static void *hold(void *unused)
{
    OK(RtmxEnter());
    STORE(&arrived, 2);
    AWAIT(LOAD(&arrived) == 3);
    OK(RtmxLeave());
    return unused;
}

static int cancellation(const char *mode)
{
    DWORD (*waits)(void) = NULL;

    if (strcmp(mode, "cancel-first") == 0) {
        CHECK(elsewhere(cancelled_before_every_call, NULL) == PTHREAD_CANCELED);
    } else if (strcmp(mode, "cancel-later") == 0) {
        held = add_with(1, NULL, count);
        OK(RtmDeregisterEntity(held));
        OK(RtmxFlush());
        CHECK(elsewhere(cancelled_before_every_call, NULL) == PTHREAD_CANCELED);
        CHECK(elsewhere(cancelled_before_every_call, NULL) == PTHREAD_CANCELED);
    } else {
        pthread_t holder = start(hold, NULL), waiter;
        struct timespec nap = {0, 100000000};
        AWAIT(LOAD(&arrived) == 2);
        waits = strcmp(mode, "cancel-flush") == 0 ? RtmxFlush : RtmxSynchronize;
        OK(RtmDeregisterEntity(add_with(1, NULL, count)));
        STORE(&arrived, 0);
        waiter = start(cancelled_while_waiting, &waits);
        AWAIT(LOAD(&arrived) == 1);
        EQ(pthread_cancel(waiter), 0);
        /* Long enough for a waiter that naps to find it out. */
        nanosleep(&nap, NULL);
        STORE(&arrived, 3);
        join(holder);
        CHECK(join(waiter) == PTHREAD_CANCELED);
    }
    OK(RtmxFlush());
    EQ(statistics().Inside, 0);
    OK(RtmxShutdown());
    return 0;
}

static void *shut_down_cancelled(void *unused)
{
    EQ(pthread_cancel(pthread_self()), 0);
    OK(RtmxShutdown());
    pthread_testcancel();
    CHECK(!"cancelled");
    return unused;
}

static int cancelled_shutdown(void)
{
    OK(RtmDeregisterEntity(add_with(1, NULL, count)));
    CHECK(elsewhere(shut_down_cancelled, NULL) == PTHREAD_CANCELED);
    OK(RtmxShutdown());
    EQ(counted, 1);
    return 0;
}

/* --- Late calls --- */

static pthread_key_t early_key, late_key;
static unsigned late_calls;

static void call_everything(void)
{
    RTM_ENTITY_HANDLE mine = NULL;
    RTMX_READER_HANDLE reader = NULL;
    RTM_ENTITY_INFO info;
    void *context = NULL;

    OK(RtmGetEntityInfo(shown, shown, &info));
    OK(RtmxEnter());
    OK(RtmxGetContext(shown, &context));
    CHECK(context == &shown);
    OK(RtmxLeave());
    OK(try_register(2, TEST_INET, (uint64_t)pthread_self() + ADD(&late_calls, 1), NULL, count, &mine));
    OK(RtmReferenceHandles(mine, 1, &mine));
    OK(RtmReleaseEntities(mine, 1, &mine));
    OK(RtmDeregisterEntity(mine));
    OK(RtmxCreateReader(&reader));
    OK(RtmxReaderEnter(reader));
    OK(RtmxReaderLeave(reader));
    OK(RtmxDeleteReader(reader));
    CHECK_OP(statistics().Live, >=, 1);
}

/* Called in as many rounds of destructors as it says. */
static void late(pthread_key_t key, void *rounds)
{
    uintptr_t left = (uintptr_t)rounds;
    call_everything();
    if (left > 1)
        EQ(pthread_setspecific(key, (void *)(left - 1)), 0);
}
static void late_by_early_key(void *rounds) { late(early_key, rounds); }
static void late_by_late_key(void *rounds) { late(late_key, rounds); }

static void *ends_with_destructors(void *rounds)
{
    EQ(pthread_setspecific(early_key, rounds), 0);
    EQ(pthread_setspecific(late_key, rounds), 0);
    call_everything();
    return NULL;
}

static void *ends_with_destructors_alone(void *rounds)
{
    EQ(pthread_setspecific(early_key, rounds), 0);
    EQ(pthread_setspecific(late_key, rounds), 0);
    return NULL;
}

/* Thread-local destructors in the way of C++, which C can register as well. */
#ifdef __cplusplus
extern "C"
#else
extern
#endif
int __cxa_thread_atexit_impl(void (*destructor)(void *), void *object, void *library);
#ifdef __cplusplus
extern "C"
#else
extern
#endif
void *__dso_handle;

static void at_thread_exit(void *unused)
{
    (void)unused;
    call_everything();
    OK(RtmxEnter());
}

#ifdef __cplusplus
struct Calls {
    int number;
    ~Calls()
    {
        if (number)
            call_everything();
    }
};
static thread_local Calls first, second;
#endif

static void *ends_with_thread_locals(void *both)
{
#ifdef __cplusplus
    first.number = 1;
#endif
    EQ(__cxa_thread_atexit_impl(at_thread_exit, NULL, &__dso_handle), 0);
    if (both)
        call_everything();
    EQ(__cxa_thread_atexit_impl(at_thread_exit, NULL, &__dso_handle), 0);
#ifdef __cplusplus
    second.number = 2;
#endif
    return NULL;
}

/* One key from before the library made its own, and one from after. */
static void late_calling(uintptr_t rounds)
{
    uintptr_t i;

    shown = add_with(5, &shown, NULL);
    for (i = 1; i <= rounds; i++) {
        elsewhere(ends_with_destructors, (void *)i);
        nobody_is_inside();
        elsewhere(ends_with_destructors_alone, (void *)i);
        nobody_is_inside();
    }
    elsewhere(ends_with_thread_locals, NULL);
    nobody_is_inside();
    elsewhere(ends_with_thread_locals, (void *)1);
    nobody_is_inside();
    CHECK_OP(late_calls, >=, rounds * 3);
    OK(RtmDeregisterEntity(shown));
}

/* The last rounds of all, after which the C library gives up: a record stays behind at most. */
static int latest(void)
{
    EQ(pthread_key_create(&early_key, late_by_early_key), 0);
    OK(RtmDeregisterEntity(add(1)));
    EQ(pthread_key_create(&late_key, late_by_late_key), 0);
    late_calling(PTHREAD_DESTRUCTOR_ITERATIONS);
    OK(RtmxFlush());
    OK(RtmxShutdown());
    return 0;
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        if (strcmp(argv[1], "latest") == 0)
            return latest();
        if (strcmp(argv[1], "cancel-shutdown") == 0)
            return cancelled_shutdown();
        return cancellation(argv[1]);
    }
    EQ(pthread_key_create(&early_key, late_by_early_key), 0);
    churning();
    crowded();
    EQ(pthread_key_create(&late_key, late_by_late_key), 0);
    if (!RACES) {
        ending_inside();
        many_ends();
        late_calling(2);
    }
    OK(RtmxFlush());
    EQ(statistics().Inside, 0);
    OK(RtmxShutdown());
    if (!RACES)
        run_silently(argv[0], "latest", 0);
#if !defined __SANITIZE_ADDRESS__ && !defined __SANITIZE_THREAD__
    /* The sanitizer leaves the frames of a cancelled thread marked and finds its destructors there. */
    run_silently(argv[0], "cancel-later", 0);
    run_silently(argv[0], "cancel-first", 0);
    run_silently(argv[0], "cancel-flush", 0);
    run_silently(argv[0], "cancel-synchronize", 0);
    run_silently(argv[0], "cancel-shutdown", 0);
#endif
    return check_done("threads");
}
