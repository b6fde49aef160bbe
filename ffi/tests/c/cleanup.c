/* Cleanup functions: how often, when, where, and what they may do. */
#include "check.h"

#include <signal.h>
#include <sys/prctl.h>

static unsigned cleaned;
static __thread int flushing;

static int on_reclaimer(void)
{
    char name[17] = "";
    prctl(PR_GET_NAME, name, 0, 0, 0);
    return strcmp(name, "rtm-reclaimer") == 0;
}

static VOID WINAPI count(PVOID context)
{
    (void)context;
    ADD(&cleaned, 1);
}

static DWORD flush(void)
{
    DWORD code;
    flushing = 1;
    code = RtmxFlush();
    flushing = 0;
    return code;
}

/* --- Where --- */

static pthread_t by_thread;

static VOID WINAPI look_around(PVOID context)
{
    sigset_t blocked;
    int signal;

    CHECK(context == &by_thread);
    CHECK(on_reclaimer() || flushing);
    if (on_reclaimer()) {
        EQ(pthread_sigmask(SIG_BLOCK, NULL, &blocked), 0);
        for (signal = 1; signal < NSIG; signal++) {
            /* Two that cannot be blocked, two that the C library keeps for itself. */
            if (signal == SIGKILL || signal == SIGSTOP || (signal > 31 && signal < SIGRTMIN))
                continue;
            EQ(sigismember(&blocked, signal), 1);
        }
        by_thread = pthread_self();
    }
    ADD(&cleaned, 1);
}

/* Nobody has to flush. */
static void in_time(void)
{
    sigset_t before, after;
    int i, signal;

    EQ(pthread_sigmask(SIG_BLOCK, NULL, &before), 0);
    for (i = 0; i < 20; i++) {
        cleaned = 0;
        OK(RtmDeregisterEntity(add_with(1, &by_thread, look_around)));
        AWAIT(LOAD(&cleaned) == 1);
        CHECK(!pthread_equal(by_thread, pthread_self()));
    }
    EQ(pthread_sigmask(SIG_BLOCK, NULL, &after), 0);
    for (signal = 1; signal < NSIG; signal++)
        EQ(sigismember(&before, signal), sigismember(&after, signal));
    /* A crowd as well as one. */
    cleaned = 0;
    for (i = 0; i < 5000; i++)
        OK(RtmDeregisterEntity(add_with(1, &by_thread, look_around)));
    AWAIT(LOAD(&cleaned) == 5000);
    AWAIT(statistics().Retired == 0);
}

/* --- How often --- */

static void when_flushed(void)
{
    unsigned long rounds = check_rounds(2000), i, k;

    for (i = 0; i < rounds; i++) {
        RTM_ENTITY_HANDLE all[7];
        cleaned = 0;
        for (k = 0; k < 7; k++)
            all[k] = add_with(k, &by_thread, look_around);
        for (k = 0; k < i % 8; k++)
            OK(RtmDeregisterEntity(all[k]));
        OK(flush());
        EQ(LOAD(&cleaned), i % 8);
        for (; k < 7; k++)
            OK(RtmDeregisterEntity(all[k]));
        OK(flush());
        EQ(LOAD(&cleaned), 7);
    }
}

/* Several flush and churn at once: each finds its own cleaned up, in the right threads. */
enum { CHURNERS = 4 };

static VOID WINAPI count_mine(PVOID context)
{
    CHECK(on_reclaimer() || flushing);
    ADD((unsigned *)context, 1);
}

static void *churn_and_flush(void *number)
{
    unsigned long rounds = check_rounds(400), i, k;
    unsigned mine = 0;
    uint64_t id = 1000 * (uint64_t)(uintptr_t)number;

    for (i = 1; i <= rounds; i++) {
        for (k = 0; k < 50; k++)
            OK(RtmDeregisterEntity(add_with(id + k, &mine, count_mine)));
        OK(flush());
        EQ(LOAD(&mine), 50 * i);
    }
    return NULL;
}

static void flush_together(void)
{
    pthread_t threads[CHURNERS];
    uintptr_t i;
    for (i = 0; i < CHURNERS; i++)
        threads[i] = start(churn_and_flush, (void *)i);
    for (i = 0; i < CHURNERS; i++)
        join(threads[i]);
}

/* Many threads deregister one handle: one wins, one cleanup. */
static pthread_barrier_t barrier;
static RTM_ENTITY_HANDLE contested;
static unsigned won;

static void *contend(void *rounds)
{
    unsigned long i;
    for (i = 0; i < *(unsigned long *)rounds; i++) {
        DWORD code;
        if (pthread_barrier_wait(&barrier) == PTHREAD_BARRIER_SERIAL_THREAD)
            contested = add_with(1, NULL, count);
        pthread_barrier_wait(&barrier);
        code = RtmDeregisterEntity(contested);
        if (code == NO_ERROR)
            ADD(&won, 1);
        else
            EQ(code, ERROR_INVALID_HANDLE);
    }
    return NULL;
}

static void contention(void)
{
    pthread_t threads[CHURNERS];
    unsigned long rounds = check_rounds(3000);
    int i;

    cleaned = won = 0;
    EQ(pthread_barrier_init(&barrier, NULL, CHURNERS), 0);
    for (i = 0; i < CHURNERS; i++)
        threads[i] = start(contend, &rounds);
    for (i = 0; i < CHURNERS; i++)
        join(threads[i]);
    pthread_barrier_destroy(&barrier);
    EQ(won, rounds);
    OK(flush());
    EQ(cleaned, rounds);
}

/* A registration that fails leaves the context with the caller. */
static void not_registered(void)
{
    RTM_ENTITY_INFO info = make_info(0, TEST_INET, 1), alien = make_info(0, 23, 1);
    RTM_REGN_PROFILE profile;
    RTM_ENTITY_HANDLE handle = NULL, taken = add(1);
    RTMX_LIMITS before, none;
    RTM_ENTITY_EXPORT_METHODS many;
    int i;

    cleaned = 0;
    memset(&many, 0, sizeof many);
    many.NumMethods = 33;
    OK(RtmxGetLimits(&before, sizeof before));
    none = before;
    none.MaxOpaquePointers = 0;
    OK(RtmxSetLimits(&none, sizeof none));
    for (i = 0; i < 300; i++) {
        EQ(RtmxRegisterEntity(&info, NULL, NULL, FALSE, NULL, count, NULL, &profile, &handle), ERROR_ALREADY_EXISTS);
        EQ(RtmxRegisterEntity(&alien, NULL, NULL, FALSE, NULL, count, NULL, &profile, &handle), ERROR_INVALID_PARAMETER);
        EQ(RtmxRegisterEntity(&info, &many, NULL, FALSE, NULL, count, NULL, &profile, &handle), ERROR_INVALID_DATA);
        EQ(RtmxRegisterEntity(&info, NULL, NULL, TRUE, NULL, count, NULL, &profile, &handle), ERROR_NO_SYSTEM_RESOURCES);
        EQ(RtmxRegisterEntity(NULL, NULL, NULL, FALSE, NULL, count, NULL, &profile, &handle), ERROR_INVALID_PARAMETER);
        EQ(RtmxRegisterEntity(&info, NULL, NULL, FALSE, NULL, count, NULL, &profile, NULL), ERROR_INVALID_PARAMETER);
    }
    none.MaxEntities = 1;
    OK(RtmxSetLimits(&none, sizeof none));
    info.EntityId.EntityId = 2;
    EQ(RtmxRegisterEntity(&info, NULL, NULL, FALSE, NULL, count, NULL, &profile, &handle), ERROR_NO_SYSTEM_RESOURCES);
    OK(RtmxSetLimits(&before, sizeof before));
    EQ(handle, NULL);
    OK(RtmDeregisterEntity(taken));
    OK(flush());
    EQ(cleaned, 0);
}

/* References do not delay a cleanup. */
static void referenced(void)
{
    RTM_ENTITY_HANDLE self = add(1), e = add_with(2, NULL, count);
    RTM_ENTITY_INFO info;

    cleaned = 0;
    OK(RtmReferenceHandles(self, 1, &e));
    OK(RtmDeregisterEntity(e));
    OK(flush());
    EQ(cleaned, 1);
    OK(RtmGetEntityInfo(self, e, &info));
    OK(RtmReleaseEntities(self, 1, &e));
    OK(flush());
    EQ(cleaned, 1);
    OK(RtmDeregisterEntity(self));
}

/* --- What a cleanup may do --- */

static RTM_ENTITY_HANDLE anchor;
static unsigned left;

static VOID WINAPI busy_body(PVOID context)
{
    RTM_ENTITY_INFO info;
    RTM_ENTITY_HANDLE list[8], mine = NULL;
    RTMX_READER_HANDLE reader = NULL;
    UINT number = 8;
    void *found = NULL;
    DWORD code;

    CHECK(context == &left);
    EQ(RtmxFlush(), ERROR_POSSIBLE_DEADLOCK);
    EQ(RtmxSynchronize(), ERROR_POSSIBLE_DEADLOCK);
    EQ(RtmxShutdown(), ERROR_POSSIBLE_DEADLOCK);
    EQ(RtmxLeave(), ERROR_NOT_LOCKED);

    OK(RtmGetEntityInfo(anchor, anchor, &info));
    OK(RtmReleaseEntityInfo(anchor, &info));
    OK(RtmxEnter());
    EQ(RtmxFlush(), ERROR_POSSIBLE_DEADLOCK);
    OK(RtmxGetContext(anchor, &found));
    CHECK(found == &anchor);
    OK(RtmxQuiescent());
    OK(RtmxLeave());
    code = RtmGetRegisteredEntities(anchor, &number, list, NULL);
    CHECK(code == NO_ERROR || code == ERROR_INSUFFICIENT_BUFFER);
    OK(RtmReferenceHandles(anchor, number, list));
    OK(RtmReleaseEntities(anchor, number, list));
    OK(RtmReleaseEntities(anchor, number, list));
    OK(RtmxCreateReader(&reader));
    OK(RtmxReaderEnter(reader));
    OK(RtmxReaderGetContext(reader, anchor, &found));
    OK(RtmxReaderLeave(reader));
    OK(RtmxDeleteReader(reader));
    CHECK_OP(statistics().Live, >=, 1);

    /* One without a cleanup, and the next link of the chain. */
    OK(try_register(0, TEST_INET6, 77, NULL, NULL, &mine));
    OK(RtmDeregisterEntity(mine));
    if (ADD(&left, -1) > 1) {
        OK(try_register(0, TEST_INET6, 78, context, busy_body, &mine));
        OK(RtmDeregisterEntity(mine));
        EQ(RtmxFlush(), ERROR_POSSIBLE_DEADLOCK);
    }
    ADD(&cleaned, 1);
}

static void chain(int by_flush)
{
    unsigned links = by_flush ? (unsigned)check_rounds(500) : 10;
    RTM_ENTITY_HANDLE first = NULL;

    cleaned = 0;
    left = links;
    anchor = add_with(1, &anchor, NULL);
    OK(try_register(0, TEST_INET6, 78, &left, busy_body, &first));
    OK(RtmDeregisterEntity(first));
    while (by_flush && LOAD(&cleaned) < links)
        OK(flush());
    AWAIT(LOAD(&cleaned) == links);
    OK(flush());
    EQ(cleaned, links);
    OK(RtmDeregisterEntity(anchor));
}

/* A cleanup that takes long is nobody's business but a flush's. */
static unsigned blocked, unblock, flushed;

static VOID WINAPI block(PVOID context)
{
    (void)context;
    STORE(&blocked, 1);
    AWAIT(LOAD(&unblock));
    ADD(&cleaned, 1);
}

static void *flush_elsewhere(void *unused)
{
    OK(flush());
    CHECK_OP(LOAD(&cleaned), >=, 1);
    STORE(&flushed, 1);
    return unused;
}

static void *live_on(void *unused)
{
    RTM_ENTITY_HANDLE self = add(1), e = add_with(2, NULL, count), list[4];
    RTMX_READER_HANDLE reader = NULL;
    RTM_ENTITY_INFO info;
    RTMX_LIMITS limits;
    UINT number = 4;
    void *context;

    OK(RtmxEnter());
    OK(RtmxGetContext(e, &context));
    OK(RtmxLeave());
    OK(RtmGetEntityInfo(self, e, &info));
    OK(RtmGetRegisteredEntities(self, &number, list, NULL));
    OK(RtmReleaseEntities(self, number, list));
    OK(RtmxCreateReader(&reader));
    OK(RtmxDeleteReader(reader));
    OK(RtmxGetLimits(&limits, sizeof limits));
    OK(RtmxSetLimits(&limits, sizeof limits));
    CHECK_OP(statistics().Retired, >=, 1);
    OK(RtmxSetLogFunction(NULL, NULL));
    OK(RtmxSynchronize());
    EQ(RtmxShutdown(), ERROR_BUSY);
    OK(RtmDeregisterEntity(self));
    OK(RtmDeregisterEntity(e));
    return unused;
}

static void nobody_waits(void)
{
    pthread_t flusher;

    cleaned = blocked = unblock = flushed = 0;
    OK(RtmDeregisterEntity(add_with(9, NULL, block)));
    AWAIT(LOAD(&blocked));
    flusher = start(flush_elsewhere, NULL);
    elsewhere(live_on, NULL);
    EQ(LOAD(&flushed), 0);
    STORE(&unblock, 1);
    join(flusher);
    EQ(flushed, 1);
    OK(flush());
    EQ(cleaned, 2);
}

/* One that stays inside a section ends the flush that runs it, which would wait for itself. */
static VOID WINAPI stay_inside(PVOID context)
{
    (void)context;
    CHECK(flushing);
    OK(RtmxEnter());
    ADD(&cleaned, 1);
}

static void staying_inside(void)
{
    cleaned = blocked = unblock = 0;
    /* The reclaimer is kept busy, so that the flush runs the other one. */
    OK(RtmDeregisterEntity(add_with(9, NULL, block)));
    AWAIT(LOAD(&blocked));
    OK(RtmDeregisterEntity(add_with(8, NULL, stay_inside)));
    EQ(flush(), ERROR_POSSIBLE_DEADLOCK);
    EQ(LOAD(&cleaned), 1);
    EQ(flush(), ERROR_POSSIBLE_DEADLOCK);
    OK(RtmxLeave());
    EQ(RtmxLeave(), ERROR_NOT_LOCKED);
    STORE(&unblock, 1);
    OK(flush());
    EQ(cleaned, 2);
}

/* --- At the end of the process --- */

enum { PENDING = 100 };
static DWORD (*at_exit)(void);

static VOID WINAPI tell(PVOID context)
{
    ssize_t written = at_exit ? 0 : write(1, "cleanup\n", 8);
    (void)context, (void)written;
    ADD(&cleaned, 1);
}

/* Registered before the library's own handler, hence run after it. */
static void last_handler(void)
{
    uint64_t until = check_now_ms() + 100;

    /* The library has been told of the exit: what becomes due now is not begun. */
    if (RtmxLeave() != NO_ERROR)
        _exit(20);
    while (check_now_ms() < until)
        sched_yield();
    if (LOAD(&cleaned) != 0)
        _exit(21);
    if (at_exit && (at_exit() != NO_ERROR || LOAD(&cleaned) != PENDING))
        _exit(22);
}

static int exit_while_held(void)
{
    int i;
    if (atexit(last_handler) != 0 || RtmxEnter() != NO_ERROR)
        return 19;
    for (i = 0; i < PENDING; i++)
        if (RtmDeregisterEntity(add_with((uint64_t)i, NULL, tell)) != NO_ERROR)
            return 18;
    exit(7);
}

static void *churn_for_ever(void *number)
{
    uint64_t id = (uint64_t)(uintptr_t)number;
    for (;;) {
        RTM_ENTITY_HANDLE handle = NULL;
        void *context;
        if (try_register(0, TEST_INET, id, NULL, count, &handle) == NO_ERROR) {
            RtmxEnter();
            RtmxGetContext(handle, &context);
            RtmxLeave();
            RtmDeregisterEntity(handle);
        }
    }
    return NULL;
}

/* The process ends in the middle of everything. */
static int exit_while_busy(int how)
{
    uintptr_t i;
    for (i = 0; i < 3; i++)
        start(churn_for_ever, (void *)i);
    while (LOAD(&cleaned) < 100)
        sched_yield();
    if (how == 0)
        exit(7);
    if (how == 1)
        _exit(7);
    return 7;
}

/* --- What is given back --- */

enum { PEAK = 200000 };
static RTM_ENTITY_HANDLE peak[PEAK], again[PEAK];

/* Most of a peak, and the room serves again, under other handles. Less than a whole peak is not much more than
 * what the reclaimer has at hand. */
static void trimmed(void)
{
    ULONGLONG bytes = 77;
    RTM_ENTITY_INFO info;
    RTM_ENTITY_HANDLE self = add(PEAK + 1);
    PVOID context;
    unsigned n, count_of_peak = (unsigned)check_rounds(PEAK);
    OK(RtmxTrim(&bytes));
    CHECK(bytes < 77 || bytes >= 4096);
    for (n = 0; n < count_of_peak; n++)
        OK(try_register(check_instance, TEST_INET, n + 1, &cleaned, count, &peak[n]));
    OK(RtmxTrim(&bytes));
    EQ(bytes, 0);
    for (n = 0; n < count_of_peak; n++)
        OK(RtmDeregisterEntity(peak[n]));
    OK(RtmxFlush());
    OK(RtmxTrim(&bytes));
    CHECK(count_of_peak < PEAK || bytes >= 4u << 20);
    OK(RtmxTrim(NULL));
    for (n = 0; n < count_of_peak; n++)
        OK(try_register(check_instance, TEST_INET, n + 1, &peak[n], count, &again[n]));
    OK(RtmxEnter());
    for (n = 0; n < count_of_peak; n++) {
        EQ(RtmGetEntityInfo(self, peak[n], &info), ERROR_INVALID_HANDLE);
        OK(RtmGetEntityInfo(self, again[n], &info));
        EQ(info.EntityId.EntityId, n + 1);
        OK(RtmxGetContext(again[n], &context));
        CHECK(context == &peak[n]);
    }
    OK(RtmxLeave());
    for (n = 0; n < count_of_peak; n++)
        OK(RtmDeregisterEntity(again[n]));
    OK(RtmDeregisterEntity(self));
    OK(RtmxFlush());
}

int main(int argc, char **argv)
{
    int i;

    if (argc > 1) {
        if (strcmp(argv[1], "held") == 0)
            return exit_while_held();
        if (strcmp(argv[1], "flush") == 0 || strcmp(argv[1], "shutdown") == 0) {
            at_exit = argv[1][0] == 'f' ? RtmxFlush : RtmxShutdown;
            return exit_while_held();
        }
        return exit_while_busy(argv[1][0] - '0');
    }
    in_time();
    when_flushed();
    flush_together();
    contention();
    not_registered();
    referenced();
    chain(0);
    chain(1);
    nobody_waits();
    staying_inside();
    trimmed();
    for (i = 0; i < 5; i++) {
        run_silently(argv[0], "held", 7);
        run_silently(argv[0], "flush", 7);
        run_silently(argv[0], "shutdown", 7);
        run_silently(argv[0], "0", 7);
        run_silently(argv[0], "1", 7);
        run_silently(argv[0], "2", 7);
    }
    EQ(statistics().Live, 0);
    OK(RtmxShutdown());
    return check_done("cleanup");
}
