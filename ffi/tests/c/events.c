/* Events on the library's threads: who is told what, in which order, by which threads. */
#include "check.h"

#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>

/* --- No thread is left --- */

#if !defined __SANITIZE_ADDRESS__ && !defined __SANITIZE_THREAD__ /* which have their own of these */
static int no_threads;
typedef int (*Create)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);

#ifdef __cplusplus
extern "C" int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*body)(void *),
                              void *argument) noexcept
#else
int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*body)(void *), void *argument)
#endif
{
    Create create;
    void *symbol = dlsym(RTLD_NEXT, "pthread_create");
    memcpy(&create, &symbol, sizeof create);
    /* The n-th from now on; the herald is started before the pool. */
    if (LOAD(&no_threads) && ADD(&no_threads, -1) == 1)
        return EAGAIN;
    return create(thread, attributes, body, argument);
}

static DWORD WINAPI never(RTM_ENTITY_HANDLE own, RTM_EVENT_TYPE kind, PVOID subject, PVOID info)
{
    (void)own, (void)kind, (void)subject, (void)info;
    CHECK(!"told");
    return 0;
}

static void no_thread(void)
{
    RTM_ENTITY_HANDLE handle = NULL, self = add(9);
    RTMX_QUEUE_HANDLE queue = NULL;
    int i;

    OK(RtmxCreateEventQueue(&queue));
    for (i = 0; i < 3; i++) {
        STORE(&no_threads, 1);
        EQ(try_client(1, 0, NULL, never, i == 1 ? queue : NULL, NULL, NULL, &handle), ERROR_NO_SYSTEM_RESOURCES);
        EQ(LOAD(&no_threads), 0);
        EQ(handle, NULL);
        EQ(statistics().Live, 1);
        EQ(statistics().Listeners, 0);
    }
    STORE(&no_threads, 2);
    EQ(try_client(1, 0, NULL, never, NULL, NULL, NULL, &handle), ERROR_NO_SYSTEM_RESOURCES);
    EQ(statistics().EventThreads, 0);
    EQ(statistics().Live, 1);
    /* The herald runs: all that a queue needs. */
    STORE(&no_threads, 1);
    OK(try_client(1, 0, NULL, never, queue, NULL, NULL, &handle));
    EQ(LOAD(&no_threads), 1);
    STORE(&no_threads, 0);
    OK(RtmDeregisterEntity(handle));
    OK(RtmxDeleteEventQueue(queue));
    /* One of two is enough. */
    STORE(&no_threads, 2);
    OK(try_client(1, 0, NULL, never, NULL, NULL, NULL, &handle));
    CHECK_OP(statistics().EventThreads, >=, 1);
    OK(RtmDeregisterEntity(handle));
    OK(RtmDeregisterEntity(self));
    OK(RtmxShutdown());
}
#else
static void no_thread(void)
{
}
#endif

static DWORD WINAPI nothing(RTM_ENTITY_HANDLE own, RTM_EVENT_TYPE kind, PVOID subject, PVOID info)
{
    (void)own, (void)kind, (void)subject, (void)info;
    return 0;
}

/* --- What is told --- */

enum { NOTES = 4096 };
typedef struct {
    RTM_ENTITY_HANDLE listener, subject;
    RTM_EVENT_TYPE kind;
    RTM_ENTITY_INFO info;
} Note;
static Note notes[NOTES];
static unsigned told;

static DWORD WINAPI note(RTM_ENTITY_HANDLE own, RTM_EVENT_TYPE kind, PVOID subject, PVOID info)
{
    Note *place = &notes[LOAD(&told) % NOTES];
    place->listener = own;
    place->subject = subject;
    place->kind = kind;
    place->info = *(RTM_ENTITY_INFO *)info;
    ADD(&told, 1);
    return ERROR_NOT_SUPPORTED;
}

static void who_is_told(void)
{
    RTM_ENTITY_INFO info = make_info(0, TEST_INET, 3), other_family = make_info(0, TEST_INET6, 3),
                    other_instance = make_info(1, TEST_INET, 3);
    RTM_REGN_PROFILE profile;
    RTM_ENTITY_HANDLE before = add(1), listener, subject = NULL, alien = NULL, loud = NULL;
    int i;

    told = 0;
    listener = add_listener(2, note, NULL);
    /* In other tables, with a callback and without. */
    OK(RtmRegisterEntity(&other_family, NULL, nothing, FALSE, &profile, &alien));
    OK(RtmRegisterEntity(&other_instance, NULL, NULL, FALSE, &profile, &loud));
    OK(RtmDeregisterEntity(alien));
    OK(RtmDeregisterEntity(loud));
    /* Not told: itself, and who was there. A deregistration of who was there is. */
    OK(RtmDeregisterEntity(before));
    OK(RtmRegisterEntity(&info, NULL, nothing, FALSE, &profile, &subject));
    AWAIT(LOAD(&told) == 2);
    EQ(notes[0].kind, RTM_ENTITY_DEREGISTERED);
    EQ(notes[0].info.EntityId.EntityId, 1);
    CHECK(notes[0].subject == before);
    EQ(notes[1].kind, RTM_ENTITY_REGISTERED);
    CHECK(notes[1].subject == subject);
    CHECK(same_info(&notes[1].info, &info));
    /* A failed registration is no event. */
    for (i = 0; i < 10; i++)
        EQ(RtmRegisterEntity(&info, NULL, nothing, FALSE, &profile, &alien), ERROR_ALREADY_EXISTS);
    OK(RtmDeregisterEntity(subject));
    AWAIT(LOAD(&told) == 3);
    EQ(notes[2].kind, RTM_ENTITY_DEREGISTERED);
    for (i = 0; i < 3; i++)
        CHECK(notes[i].listener == listener);
    CHECK_OP(statistics().Events, >=, 3);
    EQ(statistics().EventsMissed, 0);
    EQ(statistics().Listeners, 1);
    CHECK_OP(statistics().EventThreads, >=, 1);
    OK(RtmDeregisterEntity(listener));
    EQ(told, 3);
}

/* --- Outputs come first --- */

static RTM_ENTITY_HANDLE early_handle;
static RTM_REGN_PROFILE early_profile;
static unsigned early;
static int stop;

static DWORD WINAPI outputs_are_there(RTM_ENTITY_HANDLE own, RTM_EVENT_TYPE kind, PVOID subject, PVOID info)
{
    CHECK(LOAD(&early_handle) == own);
    CHECK(early_profile.NumberOfViews != 0);
    nothing(own, kind, subject, info);
    ADD(&early, 1);
    return 0;
}

static void *churn(void *id)
{
    while (!LOAD(&stop))
        OK(RtmDeregisterEntity(add((uintptr_t)id)));
    return NULL;
}

static void outputs_first(void)
{
    unsigned long rounds = check_rounds(1000), i;
    pthread_t churner = start(churn, (void *)50);
    for (i = 0; i < rounds; i++) {
        RTM_ENTITY_INFO info = make_info(0, TEST_INET, 2);
        unsigned before = LOAD(&early);
        memset(&early_profile, 0, sizeof early_profile);
        STORE(&early_handle, NULL);
        OK(RtmRegisterEntity(&info, NULL, outputs_are_there, FALSE, &early_profile, &early_handle));
        if (i % 8 == 0)
            AWAIT(LOAD(&early) != before);
        OK(RtmDeregisterEntity(early_handle));
    }
    STORE(&stop, 1);
    join(churner);
    stop = 0;
}

/* --- Serial, ordered, complete --- */

enum { LISTENERS = 6, CHURNERS = 3, IDS = 4 };
typedef struct {
    RTM_ENTITY_HANDLE handle;
    int inside;
    unsigned events;
    RTM_ENTITY_HANDLE present[CHURNERS * IDS]; /* by id */
} Listener;
static Listener listeners[LISTENERS];

static DWORD WINAPI follow(RTM_ENTITY_HANDLE own, RTM_EVENT_TYPE kind, PVOID subject, PVOID info)
{
    RTM_ENTITY_INFO copy = *(RTM_ENTITY_INFO *)info, described;
    Listener *listener = listeners;
    uint64_t id = copy.EntityId.EntityId - 1000;
    if (id >= CHURNERS * IDS)
        return 0;
    while (LOAD(&listener->handle) != own)
        listener++;
    EQ(SWAP(&listener->inside, 1), 0);
    /* An id is taken by one at a time. */
    if (kind == RTM_ENTITY_REGISTERED) {
        EQ(listener->present[id], NULL);
        listener->present[id] = subject;
    } else {
        EQ(kind, RTM_ENTITY_DEREGISTERED);
        CHECK(listener->present[id] == subject);
        listener->present[id] = NULL;
    }
    /* Described and referenced, also if it has gone. */
    OK(RtmGetEntityInfo(own, subject, &described));
    CHECK(same_info(&described, &copy));
    OK(RtmReferenceHandles(own, 1, &subject));
    OK(RtmGetEntityInfo(own, subject, &described));
    OK(RtmReleaseEntities(own, 1, &subject));
    EQ(SWAP(&listener->inside, 0), 1);
    ADD(&listener->events, 1);
    return 0;
}

static unsigned long churn_rounds;
static void *churn_ids(void *number)
{
    uint64_t first = 1000 + IDS * (uint64_t)(uintptr_t)number, state = first;
    unsigned long i;
    for (i = 0; i < churn_rounds; i++)
        OK(RtmDeregisterEntity(add(first + check_random(&state) % IDS)));
    return NULL;
}

static void serial_and_ordered(void)
{
    pthread_t threads[CHURNERS];
    uintptr_t i;
    churn_rounds = check_rounds(2000);
    memset(listeners, 0, sizeof listeners);
    for (i = 0; i < LISTENERS; i++)
        listeners[i].handle = add_listener(100 + i, follow, NULL);
    for (i = 0; i < CHURNERS; i++)
        threads[i] = start(churn_ids, (void *)i);
    for (i = 0; i < CHURNERS; i++)
        join(threads[i]);
    for (i = 0; i < LISTENERS; i++)
        AWAIT(LOAD(&listeners[i].events) == CHURNERS * churn_rounds * 2);
    for (i = 0; i < LISTENERS; i++)
        OK(RtmDeregisterEntity(listeners[i].handle));
}

/* --- The departed --- */

static Gate inside = GATE, leave = GATE;
static RTM_ENTITY_HANDLE departed;
static int ready_to_look;

static DWORD WINAPI hold_departed(RTM_ENTITY_HANDLE own, RTM_EVENT_TYPE kind, PVOID subject, PVOID info)
{
    RTM_ENTITY_INFO described;
    void *context;
    if (kind != RTM_ENTITY_DEREGISTERED)
        return 0;
    (void)info;
    CHECK(subject == LOAD(&departed));
    gate_open(&inside);
    gate_pass(&leave);
    /* Its id has been taken again, and its cleanup run. */
    OK(RtmGetEntityInfo(own, subject, &described));
    EQ(described.EntityId.EntityId, 60);
    OK(RtmxEnter());
    EQ(RtmxGetContext(subject, &context), ERROR_INVALID_HANDLE);
    OK(RtmxLeave());
    if (ready_to_look)
        OK(RtmReferenceHandles(own, 1, &subject));
    return 0;
}

static unsigned cleaned;
static VOID WINAPI count(PVOID context)
{
    (void)context;
    ADD(&cleaned, 1);
}

static void the_departed(int reference)
{
    RTM_ENTITY_HANDLE listener, second, self = add(1);
    RTM_ENTITY_INFO info;
    gate_close(&inside);
    gate_close(&leave);
    cleaned = 0;
    ready_to_look = reference;
    listener = add_listener(2, hold_departed, NULL);
    departed = add_with(60, NULL, count);
    OK(RtmDeregisterEntity(departed));
    gate_pass(&inside);
    OK(RtmxFlush());
    EQ(cleaned, 1);
    second = add(60);
    CHECK(second != departed);
    OK(RtmGetEntityInfo(self, departed, &info));
    gate_open(&leave);
    if (reference) {
        /* What the callback has kept. */
        AWAIT(RtmReleaseEntities(self, 1, &departed) == NO_ERROR);
    }
    AWAIT(RtmGetEntityInfo(self, departed, &info) == ERROR_INVALID_HANDLE);
    EQ(RtmReferenceHandles(self, 1, &departed), ERROR_INVALID_HANDLE);
    OK(RtmDeregisterEntity(listener));
    OK(RtmDeregisterEntity(second));
    OK(RtmDeregisterEntity(self));
}

/* --- A blocking callback delays nobody --- */

enum { BLOCKING = 32 };
static unsigned waiting, quick;

static DWORD WINAPI block(RTM_ENTITY_HANDLE own, RTM_EVENT_TYPE kind, PVOID subject, PVOID info)
{
    nothing(own, kind, subject, info);
    ADD(&waiting, 1);
    gate_pass(&leave);
    ADD(&waiting, -1);
    return 0;
}

static DWORD WINAPI be_quick(RTM_ENTITY_HANDLE own, RTM_EVENT_TYPE kind, PVOID subject, PVOID info)
{
    nothing(own, kind, subject, info);
    ADD(&quick, 1);
    return 0;
}

static void blocking(void)
{
    RTM_ENTITY_HANDLE all[BLOCKING], last, other;
    RTM_ENTITY_INFO info = make_info(5, TEST_INET, 1);
    RTM_REGN_PROFILE profile;
    int i;

    gate_close(&leave);
    waiting = quick = 0;
    for (i = 0; i < BLOCKING; i++) {
        /* So that they do not hear of each other. */
        info.RtmInstanceId = (USHORT)(100 + i);
        OK(RtmRegisterEntity(&info, NULL, block, FALSE, &profile, &all[i]));
    }
    info.RtmInstanceId = 99;
    OK(RtmRegisterEntity(&info, NULL, be_quick, FALSE, &profile, &last));
    info.EntityId.EntityId = 2;
    for (i = 0; i < BLOCKING; i++) {
        info.RtmInstanceId = (USHORT)(100 + i);
        OK(RtmRegisterEntity(&info, NULL, NULL, FALSE, &profile, &other));
        OK(RtmDeregisterEntity(other));
    }
    AWAIT(LOAD(&waiting) == BLOCKING);
    info.RtmInstanceId = 99;
    for (i = 0; i < 100; i++) {
        OK(RtmRegisterEntity(&info, NULL, NULL, FALSE, &profile, &other));
        OK(RtmDeregisterEntity(other));
    }
    AWAIT(LOAD(&quick) == 200);
    EQ(LOAD(&waiting), BLOCKING);
    CHECK_OP(statistics().EventThreads, >, BLOCKING);
    CHECK_OP(statistics().EventThreads, <=, 64);
    gate_open(&leave);
    for (i = 0; i < BLOCKING; i++)
        OK(RtmDeregisterEntity(all[i]));
    EQ(waiting, 0);
    OK(RtmDeregisterEntity(last));
    /* Those that are not needed leave. */
    AWAIT(statistics().EventThreads == 2);
}

/* So many threads and no more; what waits for one is not lost. */
static void limited(void)
{
    RTMX_LIMITS before, few;
    RTM_ENTITY_HANDLE all[5];
    int i;

    OK(RtmxGetLimits(&before, sizeof before));
    EQ(before.IdleEventThreads, 2);
    EQ(before.MaxEventThreads, 64);
    EQ(before.MaxJournal, 1 << 20);
    few = before;
    few.MaxEventThreads = 0;
    EQ(RtmxSetLimits(&few, sizeof few), ERROR_INVALID_PARAMETER);
    few.MaxEventThreads = 3;
    few.MaxJournal = (1 << 23) + 1;
    EQ(RtmxSetLimits(&few, sizeof few), ERROR_INVALID_PARAMETER);
    few.MaxJournal = 0;
    EQ(RtmxSetLimits(&few, sizeof few), ERROR_INVALID_PARAMETER);
    few.MaxJournal = before.MaxJournal;
    OK(RtmxSetLimits(&few, sizeof few));
    gate_close(&leave);
    waiting = 0;
    for (i = 0; i < 5; i++)
        all[i] = add_listener(200 + (unsigned)i, block, NULL);
    OK(RtmDeregisterEntity(add(300)));
    AWAIT(LOAD(&waiting) == 3);
    EQ(statistics().EventThreads, 3);
    /* More, as soon as the limit allows. */
    OK(RtmxSetLimits(&before, sizeof before));
    AWAIT(LOAD(&waiting) == 5);
    gate_open(&leave);
    for (i = 0; i < 5; i++)
        OK(RtmDeregisterEntity(all[i]));
    EQ(waiting, 0);
}

/* --- The threads --- */

static unsigned checked;
static pthread_t callback_thread;

static DWORD WINAPI look_around(RTM_ENTITY_HANDLE own, RTM_EVENT_TYPE kind, PVOID subject, PVOID info)
{
    char name[17] = "";
    sigset_t blocked;
    int signal;

    nothing(own, kind, subject, info);
    prctl(PR_GET_NAME, name, 0, 0, 0);
    EQ(strncmp(name, "rtm-event-", 10), 0);
    EQ(pthread_sigmask(SIG_BLOCK, NULL, &blocked), 0);
    for (signal = 1; signal < NSIG; signal++) {
        if (signal == SIGKILL || signal == SIGSTOP || (signal > 31 && signal < SIGRTMIN))
            continue;
        EQ(sigismember(&blocked, signal), 1);
    }
    callback_thread = pthread_self();
    ADD(&checked, 1);
    return 0;
}

/* --- A client's own lock, held around its calls and taken in its callback --- */

static pthread_mutex_t client_lock = PTHREAD_MUTEX_INITIALIZER;
static DWORD WINAPI take_lock(RTM_ENTITY_HANDLE own, RTM_EVENT_TYPE kind, PVOID subject, PVOID info)
{
    nothing(own, kind, subject, info);
    pthread_mutex_lock(&client_lock);
    ADD(&checked, 1);
    pthread_mutex_unlock(&client_lock);
    return 0;
}

static void threads(void)
{
    RTM_ENTITY_HANDLE listener = add_listener(2, look_around, NULL);
    int i;
    checked = 0;
    for (i = 0; i < 50; i++)
        OK(RtmDeregisterEntity(add(3)));
    AWAIT(LOAD(&checked) == 100);
    CHECK(!pthread_equal(callback_thread, pthread_self()));
    OK(RtmDeregisterEntity(listener));

    checked = 0;
    listener = add_listener(2, take_lock, NULL);
    pthread_mutex_lock(&client_lock);
    for (i = 0; i < 50; i++)
        OK(RtmDeregisterEntity(add(3)));
    EQ(checked, 0);
    pthread_mutex_unlock(&client_lock);
    AWAIT(LOAD(&checked) == 100);
    OK(RtmDeregisterEntity(listener));
}

/* --- Threads that end inside --- */

static DWORD WINAPI end_thread(RTM_ENTITY_HANDLE own, RTM_EVENT_TYPE kind, PVOID subject, PVOID info)
{
    nothing(own, kind, subject, info);
    switch (ADD(&checked, 1) % 4) {
    case 0:
        pthread_exit(NULL);
    case 1:
        cancel_here();
        break;
#ifndef __SANITIZE_THREAD__ /* which gives our frame there something to clean up */
    case 2: /* takes effect when the callback returns */
        pthread_cancel(pthread_self());
        break;
#endif
    default:
        break;
    }
    return 0;
}

static void ending(void)
{
    RTM_ENTITY_HANDLE listener = add_listener(2, end_thread, NULL);
    unsigned i, rounds = 40;
    checked = 0;
    for (i = 0; i < rounds; i++)
        OK(RtmDeregisterEntity(add(3)));
    /* Not an event is lost. */
    AWAIT(LOAD(&checked) == 2 * rounds);
    AWAIT(statistics().EventThreads >= 2);
    OK(RtmDeregisterEntity(listener));
}

/* --- Behind --- */

static unsigned missed, after_missed;
static RTM_ENTITY_HANDLE expected;

static DWORD WINAPI fall_behind(RTM_ENTITY_HANDLE own, RTM_EVENT_TYPE kind, PVOID subject, PVOID info)
{
    RTM_ENTITY_HANDLE list[16];
    UINT number = 16, i;
    ADD(&told, 1);
    if (kind == RTMX_EVENTS_MISSED) {
        CHECK(subject == NULL && info == NULL);
        OK(RtmGetRegisteredEntities(own, &number, list, NULL));
        for (i = 0; i < number && list[i] != LOAD(&expected); i++)
            continue;
        CHECK(i < number);
        OK(RtmReleaseEntities(own, number, list));
        ADD(&missed, 1);
    } else if (LOAD(&missed)) {
        ADD(&after_missed, 1);
    } else {
        gate_open(&inside);
        gate_pass(&leave);
    }
    return 0;
}

static void behind(void)
{
    RTMX_LIMITS before, tiny;
    RTM_ENTITY_HANDLE laggard, other;
    unsigned i;

    gate_close(&inside);
    gate_close(&leave);
    OK(RtmxGetLimits(&before, sizeof before));
    tiny = before;
    tiny.MaxJournal = 8;
    OK(RtmxSetLimits(&tiny, sizeof tiny));
    check_instance = 30;
    told = missed = after_missed = quick = 0;
    laggard = add_listener(2, fall_behind, NULL);
    other = add_listener(3, be_quick, NULL);
    gate_pass(&inside);
    for (i = 0; i < 3000; i++) {
        OK(RtmDeregisterEntity(add(10)));
        AWAIT(LOAD(&quick) == 2 * (i + 1));
    }
    expected = add(11);
    AWAIT(LOAD(&quick) == 6001);
    EQ(statistics().EventsMissed, 0);
    gate_open(&leave);
    AWAIT(LOAD(&missed) == 1);
    OK(RtmDeregisterEntity(expected));
    AWAIT(LOAD(&after_missed) >= 1);
    AWAIT(LOAD(&quick) == 6002);
    EQ(missed, 1);
    CHECK_OP(told, <, 3000);
    EQ(statistics().EventsMissed, 1);
    OK(RtmDeregisterEntity(laggard));
    OK(RtmDeregisterEntity(other));
    OK(RtmxSetLimits(&before, sizeof before));
    check_instance = 0;
}

/* --- In the list, or told, or both --- */

enum { CROWD = 64 };
static unsigned char known[CROWD];
static RTM_ENTITY_HANDLE crowd[CROWD];

static DWORD WINAPI learn(RTM_ENTITY_HANDLE own, RTM_EVENT_TYPE kind, PVOID subject, PVOID info)
{
    uint64_t id = ((RTM_ENTITY_INFO *)info)->EntityId.EntityId - 5000;
    nothing(own, kind, subject, info);
    if (kind == RTM_ENTITY_REGISTERED && id < CROWD)
        STORE(&known[id], 1);
    return 0;
}

static pthread_barrier_t both;
static void *gather(void *unused)
{
    int i;
    pthread_barrier_wait(&both);
    for (i = 0; i < CROWD; i++)
        crowd[i] = add(5000 + (unsigned)i);
    return unused;
}

static void nobody_is_overlooked(void)
{
    unsigned long rounds = check_rounds(200), i;
    int first_callback;
    EQ(pthread_barrier_init(&both, NULL, 2), 0);
    for (i = 0; i < rounds; i++) {
        RTM_ENTITY_INFO infos[CROWD + 8];
        UINT number = CROWD + 8, k;
        pthread_t gatherer = start(gather, NULL);
        RTM_ENTITY_HANDLE listener;
        /* Now and then in a table that has not had a callback. */
        first_callback = i % 4 == 0;
        check_instance = first_callback ? 1000 + (unsigned)i : 0;
        memset(known, 0, sizeof known);
        pthread_barrier_wait(&both);
        listener = add_listener(2, learn, NULL);
        OK(RtmGetRegisteredEntities(listener, &number, NULL, infos));
        for (k = 0; k < number; k++)
            if (infos[k].EntityId.EntityId >= 5000)
                STORE(&known[infos[k].EntityId.EntityId - 5000], 1);
        join(gatherer);
        for (k = 0; k < CROWD; k++)
            AWAIT(LOAD(&known[k]));
        for (k = 0; k < CROWD; k++)
            OK(RtmDeregisterEntity(crowd[k]));
        OK(RtmDeregisterEntity(listener));
    }
    check_instance = 0;
    pthread_barrier_destroy(&both);
}

/* --- At the end of the process --- */

static int exiting;
static DWORD WINAPI not_while_exiting(RTM_ENTITY_HANDLE own, RTM_EVENT_TYPE kind, PVOID subject, PVOID info)
{
    nothing(own, kind, subject, info);
    if (LOAD(&exiting))
        _exit(33);
    ADD(&told, 1);
    return 0;
}

/* Registered before the library's own handler, hence run after it. */
static RTM_ENTITY_HANDLE last_listener;
static int flush_at_exit;
static void last_handler(void)
{
    uint64_t until = check_now_ms() + 50;
    int i;
    STORE(&exiting, 1);
    for (i = 0; i < 100; i++)
        if (RtmDeregisterEntity(add(7)) != NO_ERROR)
            _exit(21);
    while (check_now_ms() < until)
        sched_yield();
    if (RtmDeregisterEntity(last_listener) != NO_ERROR)
        _exit(22);
    if (flush_at_exit && RtmxShutdown() != NO_ERROR)
        _exit(23);
}

static int exit_with_events(int how)
{
    flush_at_exit = how;
    if (atexit(last_handler) != 0)
        return 20;
    last_listener = add_listener(1, not_while_exiting, NULL);
    OK(RtmDeregisterEntity(add(7)));
    AWAIT(LOAD(&told) == 2);
    exit(7);
}

/* In the middle of everything. */
static int exit_while_busy(int how)
{
    uintptr_t i;
    for (i = 0; i < 3; i++) {
        add_listener(100 + i, be_quick, NULL);
        start(churn, (void *)i);
    }
    while (LOAD(&quick) < 100)
        sched_yield();
    if (how == 0)
        exit(7);
    if (how == 1)
        _exit(7);
    return 7;
}

/* --- Shutdown ends the threads, and all begins afresh --- */

static void shut_down(void)
{
    int i;
    for (i = 0; i < 20; i++) {
        RTM_ENTITY_HANDLE listener = add_listener(1, be_quick, NULL);
        quick = 0;
        OK(RtmDeregisterEntity(add(2)));
        EQ(RtmxShutdown(), ERROR_BUSY);
        if (i % 2)
            AWAIT(LOAD(&quick) == 2);
        OK(RtmDeregisterEntity(listener));
        OK(RtmxShutdown());
        EQ(statistics().EventThreads, 0);
    }
}

int main(int argc, char **argv)
{
    int i;
    if (argc > 1) {
        if (strcmp(argv[1], "leave") == 0 || strcmp(argv[1], "shutdown") == 0)
            return exit_with_events(argv[1][0] == 's');
        return exit_while_busy(argv[1][0] - '0');
    }
    no_thread();
    who_is_told();
    outputs_first();
    serial_and_ordered();
    for (i = 0; i < 5; i++)
        the_departed(i % 2);
    threads();
    ending();
    limited();
    blocking();
    behind();
    nobody_is_overlooked();
    for (i = 0; i < 3; i++) {
        run_silently(argv[0], "leave", 7);
        run_silently(argv[0], "shutdown", 7);
        run_silently(argv[0], "0", 7);
        run_silently(argv[0], "1", 7);
        run_silently(argv[0], "2", 7);
    }
    OK(RtmxFlush());
    EQ(statistics().Live, 0);
    EQ(statistics().Listeners, 0);
    EQ(statistics().Referenced, 0);
    shut_down();
    return check_done("events");
}
