/*
 * A storm of signals: each thread has a timer of its own, about 1 kHz, and the process another. Every function is
 * called again and again, by several threads, until each thread has been interrupted inside of each; those that
 * wait are made to. No call may notice, and the handler copies information all the while, also of entities that
 * come and go in the very call that it interrupts.
 */
#include "check.h"

#include <errno.h>
#include <signal.h>
#include <sys/time.h>

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

/* RtmxShutdown, the last, is called by one thread alone. */
#define FUNCTIONS(F)                                                                                \
    F(RtmBlockMethods) F(RtmDeregisterEntity) F(RtmGetEntityInfo) F(RtmGetEntityMethods)            \
    F(RtmGetRegisteredEntities) F(RtmInvokeMethod) F(RtmReferenceHandles) F(RtmRegisterEntity)      \
    F(RtmReleaseEntities) F(RtmReleaseEntityInfo) F(RtmxCreateEventQueue) F(RtmxCreateReader)       \
    F(RtmxDeleteEventQueue) F(RtmxDeleteReader) F(RtmxDeregisterEntityLater) F(RtmxDispatchEvents)  \
    F(RtmxEnter) F(RtmxErrorText) F(RtmxFlush) F(RtmxFormatEntities) F(RtmxFormatStatistics)        \
    F(RtmxGetAbiNumber) F(RtmxGetContext)                                                           \
    F(RtmxGetContexts) F(RtmxGetEventQueueDescriptor) F(RtmxGetLimits) F(RtmxGetStatistics)         \
    F(RtmxGetVersion) F(RtmxLeave) F(RtmxQuiescent) F(RtmxReaderEnter) F(RtmxReaderGetContext)      \
    F(RtmxReaderGetContexts) F(RtmxReaderLeave) F(RtmxReaderQuiescent) F(RtmxRegisterEntity)        \
    F(RtmxSetLimits) F(RtmxSetLogFunction) F(RtmxSynchronize) F(RtmxTrim) F(RtmxShutdown)
#define NAMED(function) IN_##function,
enum { FUNCTIONS(NAMED) NOWHERE };
enum { WORKERS = 3, NS = 1000000, LISTED = 16 };

/* Calls a function, marked as where the thread is. */
#define IN(function, arguments) (where = IN_##function, back(function arguments))
/* Repeats what follows until the thread has been interrupted inside of the function once more. */
#define UNTIL(function)                                                                             \
    for (unsigned long before_##function = interrupted[IN_##function];                              \
         interrupted[IN_##function] == before_##function;)

typedef struct {
    unsigned number; /* and its instance */
    RTM_ENTITY_HANDLE self, callee, moving;
    RTMX_QUEUE_HANDLE queue;
    RTM_ENTITY_HANDLE slow, polled;
} Worker;

static Worker workers[WORKERS];
static unsigned long rounds, told, dispatched, cleaned, made;
static int over, aside;
static __thread Worker *mine; /* NULL: not a thread that may be interrupted */
static __thread volatile int where = NOWHERE;
static __thread volatile unsigned long interrupted[NOWHERE + 1];
static __thread volatile unsigned long copies;

static DWORD back(DWORD code)
{
    where = NOWHERE;
    return code;
}

/* Any naps are short, and may be shorter. */
static void nap(long ns)
{
    struct timespec time = {0, ns};
    nanosleep(&time, NULL);
}

/* --- The storm --- */

static void copy(const Worker *worker)
{
    RTM_ENTITY_INFO info, fixed = make_info(worker->number, TEST_INET, 1);
    RTM_ENTITY_INFO passing = make_info(worker->number, TEST_INET, 2);
    RTM_ENTITY_HANDLE self = LOAD(&worker->self), moving = LOAD(&worker->moving);
    DWORD code;
    if (self == NULL)
        return;
    OK(RtmGetEntityInfo(self, self, &info));
    CHECK(same_info(&info, &fixed));
    OK(RtmReleaseEntityInfo(self, &info));
    code = RtmGetEntityInfo(self, moving, &info);
    CHECK(code == NO_ERROR || code == ERROR_INVALID_HANDLE);
    CHECK(code != NO_ERROR || same_info(&info, &passing));
    EQ(RtmGetEntityInfo(self, as_handle(1), &info), ERROR_INVALID_HANDLE);
}

static void handle_signal(int signal)
{
    int error = errno;
    (void)signal;
    CHECK(mine != NULL);
    interrupted[where] = interrupted[where] + 1; /* C++20 has no ++ of what is volatile */
    if (!LOAD(&aside)) {
        unsigned long n = copies;
        copies = n + 1;
        copy(mine);
        copy(&workers[n % WORKERS]);
        CHECK(RtmxErrorText(ERROR_BUSY)[0] != 0);
        EQ(RtmxGetAbiNumber(), RTMX_ABI_NUMBER);
    }
    errno = error;
}

/* Without SA_RESTART: system calls of ours are interrupted, too. */
static void expect_storm(void)
{
    struct sigaction action;
    struct itimerval every = {{0, 1100}, {0, 1100}};
    memset(&action, 0, sizeof action);
    action.sa_handler = handle_signal;
    EQ(sigaction(SIGUSR1, &action, NULL), 0);
    EQ(sigaction(SIGALRM, &action, NULL), 0);
    EQ(setitimer(ITIMER_REAL, &every, NULL), 0);
}

/* This thread is interrupted from here on. */
static timer_t stand_in_storm(Worker *worker)
{
    struct sigevent event;
    struct itimerspec every = {{0, NS}, {0, NS}};
    timer_t timer;
    sigset_t set;
    mine = worker;
    memset(&event, 0, sizeof event);
    event.sigev_notify = SIGEV_THREAD_ID;
    event.sigev_signo = SIGUSR1;
    event.sigev_notify_thread_id = own_tid();
    EQ(timer_create(CLOCK_MONOTONIC, &event, &timer), 0);
    EQ(timer_settime(timer, 0, &every, NULL), 0);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGALRM);
    EQ(pthread_sigmask(SIG_UNBLOCK, &set, NULL), 0);
    return timer;
}

static void leave_storm(timer_t timer)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGALRM);
    EQ(pthread_sigmask(SIG_BLOCK, &set, NULL), 0);
    EQ(timer_delete(timer), 0);
}

/* --- What is called --- */

static VOID WINAPI answer(RTM_ENTITY_HANDLE caller, RTM_ENTITY_HANDLE callee, RTM_ENTITY_METHOD_INPUT *input,
                          RTM_ENTITY_METHOD_OUTPUT *output)
{
    (void)caller, (void)callee, (void)input;
    output->OutputSize = 0;
    nap(50000);
}

static DWORD WINAPI hear_slowly(RTM_ENTITY_HANDLE own, RTM_EVENT_TYPE kind, PVOID subject, PVOID info)
{
    (void)own, (void)kind, (void)subject, (void)info;
    ADD(&told, 1);
    nap(NS / 2);
    return 0;
}

static DWORD WINAPI hear(RTM_ENTITY_HANDLE own, RTM_EVENT_TYPE kind, PVOID subject, PVOID info)
{
    (void)own, (void)kind, (void)subject, (void)info;
    ADD(&dispatched, 1);
    return 0;
}

static VOID WINAPI clean(PVOID context)
{
    (void)context;
    ADD(&cleaned, 1);
}

static VOID WINAPI caught(PVOID context, const char *text)
{
    (void)context;
    fprintf(stderr, "%s\n", text);
    CHECK(!"a defect was caught");
}

/* Registers something in the worker's table. */
static RTM_ENTITY_HANDLE come(Worker *worker, uint64_t id, RTM_ENTITY_EXPORT_METHOD method,
                              RTM_EVENT_CALLBACK callback, RTMX_QUEUE_HANDLE queue)
{
    RTM_ENTITY_EXPORT_METHODS methods = {1, {method}};
    RTM_ENTITY_INFO info = make_info(worker->number, TEST_INET, id);
    RTM_REGN_PROFILE profile;
    RTM_ENTITY_HANDLE handle = NULL;
    OK(IN(RtmxRegisterEntity, (&info, method ? &methods : NULL, callback, FALSE, worker, clean, queue, &profile,
          &handle)));
    ADD(&made, 1);
    return handle;
}

static void registrations(Worker *worker)
{
    RTM_ENTITY_INFO info = make_info(worker->number, TEST_INET, 2);
    RTM_REGN_PROFILE profile;
    UNTIL(RtmRegisterEntity) UNTIL(RtmDeregisterEntity) {
        RTM_ENTITY_HANDLE handle = NULL;
        OK(IN(RtmRegisterEntity, (&info, NULL, NULL, FALSE, &profile, &handle)));
        STORE(&worker->moving, handle);
        EQ(RtmRegisterEntity(&info, NULL, NULL, FALSE, &profile, &handle), ERROR_ALREADY_EXISTS);
        OK(IN(RtmDeregisterEntity, (handle)));
        EQ(RtmDeregisterEntity(handle), ERROR_INVALID_HANDLE);
    }
    UNTIL(RtmxRegisterEntity) UNTIL(RtmxDeregisterEntityLater) {
        STORE(&worker->moving, come(worker, 2, NULL, NULL, NULL));
        OK(IN(RtmxDeregisterEntityLater, (worker->moving)));
    }
    /* It waits for the callback. */
    UNTIL(RtmDeregisterEntity) {
        RTM_ENTITY_HANDLE listener = come(worker, 3, NULL, hear_slowly, NULL);
        STORE(&worker->moving, come(worker, 2, NULL, NULL, NULL));
        nap(100000);
        OK(IN(RtmDeregisterEntity, (listener)));
        OK(IN(RtmDeregisterEntity, (worker->moving)));
    }
}

static void questions(Worker *worker)
{
    RTM_ENTITY_HANDLE handles[LISTED], two[2] = {worker->self, worker->callee};
    RTM_ENTITY_INFO infos[LISTED], info;
    RTM_ENTITY_EXPORT_METHOD methods[2];
    UINT number;
    UNTIL(RtmGetEntityInfo) OK(IN(RtmGetEntityInfo, (worker->self, worker->callee, &info)));
    EQ(info.EntityId.EntityId, 4);
    UNTIL(RtmReleaseEntityInfo) OK(IN(RtmReleaseEntityInfo, (worker->self, &info)));
    UNTIL(RtmGetEntityMethods) {
        number = 2;
        OK(IN(RtmGetEntityMethods, (worker->self, worker->callee, &number, methods)));
        EQ(number, 1);
        CHECK(methods[0] == answer);
    }
    UNTIL(RtmReferenceHandles) UNTIL(RtmReleaseEntities) {
        OK(IN(RtmReferenceHandles, (worker->self, 2, two)));
        OK(IN(RtmReleaseEntities, (worker->self, 2, two)));
    }
    UNTIL(RtmGetRegisteredEntities) {
        number = LISTED;
        OK(IN(RtmGetRegisteredEntities, (worker->self, &number, handles, infos)));
        /* Itself, the callee and two listeners. */
        EQ(number, 4);
        OK(IN(RtmReleaseEntities, (worker->self, number, handles)));
    }
}

/* Another thread blocks the methods all the time. */
static void calls(Worker *worker)
{
    UNTIL(RtmInvokeMethod) {
        RTM_ENTITY_METHOD_INPUT input = {1, 0, {0}};
        UINT output[16], size = sizeof output;
        OK(IN(RtmInvokeMethod, (worker->self, worker->callee, &input, &size,
              (PRTM_ENTITY_METHOD_OUTPUT)(void *)output)));
        EQ(size, 12);
    }
    UNTIL(RtmBlockMethods) OK(IN(RtmBlockMethods, (worker->self, NULL, 0, RTM_BLOCK_METHODS)));
}

static void sections(Worker *worker)
{
    RTM_ENTITY_HANDLE handles[2] = {worker->callee, worker->polled};
    PVOID contexts[2], context = NULL;
    UINT found;
    UNTIL(RtmxEnter) UNTIL(RtmxLeave) {
        OK(IN(RtmxEnter, ()));
        OK(IN(RtmxLeave, ()));
    }
    OK(RtmxEnter());
    UNTIL(RtmxQuiescent) OK(IN(RtmxQuiescent, ()));
    UNTIL(RtmxGetContext) OK(IN(RtmxGetContext, (worker->callee, &context)));
    CHECK(context == worker);
    UNTIL(RtmxGetContexts) OK(IN(RtmxGetContexts, (2, handles, contexts, &found)));
    EQ(found, 2);
    OK(RtmxLeave());
    EQ(RtmxLeave(), ERROR_NOT_LOCKED);
}

static void readers(Worker *worker)
{
    RTM_ENTITY_HANDLE handles[2] = {worker->callee, worker->polled};
    RTMX_READER_HANDLE reader;
    PVOID contexts[2], context = NULL;
    UINT found;
    UNTIL(RtmxCreateReader) UNTIL(RtmxDeleteReader) {
        OK(IN(RtmxCreateReader, (&reader)));
        OK(IN(RtmxDeleteReader, (reader)));
    }
    OK(RtmxCreateReader(&reader));
    UNTIL(RtmxReaderEnter) UNTIL(RtmxReaderLeave) {
        OK(IN(RtmxReaderEnter, (reader)));
        OK(IN(RtmxReaderLeave, (reader)));
    }
    OK(RtmxReaderEnter(reader));
    UNTIL(RtmxReaderQuiescent) OK(IN(RtmxReaderQuiescent, (reader)));
    UNTIL(RtmxReaderGetContext) OK(IN(RtmxReaderGetContext, (reader, worker->callee, &context)));
    CHECK(context == worker);
    UNTIL(RtmxReaderGetContexts) OK(IN(RtmxReaderGetContexts, (reader, 2, handles, contexts, &found)));
    EQ(found, 2);
    OK(RtmxReaderLeave(reader));
    OK(RtmxDeleteReader(reader));
}

static void queues(Worker *worker)
{
    RTMX_QUEUE_HANDLE queue;
    UINT ran;
    int descriptor = -1;
    UNTIL(RtmxCreateEventQueue) UNTIL(RtmxDeleteEventQueue) {
        OK(IN(RtmxCreateEventQueue, (&queue)));
        OK(IN(RtmxDeleteEventQueue, (queue)));
    }
    UNTIL(RtmxGetEventQueueDescriptor) OK(IN(RtmxGetEventQueueDescriptor, (worker->queue, &descriptor)));
    CHECK(descriptor >= 0);
    UNTIL(RtmxDispatchEvents) {
        OK(RtmDeregisterEntity(come(worker, 2, NULL, NULL, NULL)));
        OK(IN(RtmxDispatchEvents, (worker->queue, 16, &ran)));
    }
}

static void the_rest(Worker *worker)
{
    RTMX_STATISTICS figures;
    RTMX_LIMITS limits;
    UINT version[3], number = 0;
    UNTIL(RtmxErrorText) {
        where = IN_RtmxErrorText;
        const char *text = RtmxErrorText(NO_ERROR);
        back(NO_ERROR);
        CHECK(text[0] != 0);
    }
    UNTIL(RtmxGetAbiNumber) number = IN(RtmxGetAbiNumber, ());
    EQ(number, RTMX_ABI_NUMBER);
    UNTIL(RtmxGetVersion) OK(IN(RtmxGetVersion, (&version[0], &version[1], &version[2])));
    UNTIL(RtmxGetLimits) OK(IN(RtmxGetLimits, (&limits, sizeof limits)));
    UNTIL(RtmxSetLimits) OK(IN(RtmxSetLimits, (&limits, sizeof limits)));
    UNTIL(RtmxGetStatistics) OK(IN(RtmxGetStatistics, (&figures, sizeof figures)));
    CHECK_OP(figures.Live, >=, 4);
    static __thread char text[1 << 14];
    UNTIL(RtmxFormatStatistics) {
        UINT size = sizeof text;
        OK(IN(RtmxFormatStatistics, (RTMX_JSON, text, &size)));
    }
    UNTIL(RtmxFormatEntities) {
        ULONGLONG position = 0;
        UINT size = sizeof text;
        OK(IN(RtmxFormatEntities, (RTMX_TEXT, &position, text, &size)));
    }
    UNTIL(RtmxTrim) OK(IN(RtmxTrim, (NULL)));
    UNTIL(RtmxSetLogFunction) OK(IN(RtmxSetLogFunction, (caught, NULL)));
    /* They wait for the one that stays inside. */
    UNTIL(RtmxSynchronize) OK(IN(RtmxSynchronize, ()));
    UNTIL(RtmxFlush) {
        STORE(&worker->moving, come(worker, 2, NULL, NULL, NULL));
        OK(IN(RtmDeregisterEntity, (worker->moving)));
        OK(IN(RtmxFlush, ()));
    }
}

static void *work(void *argument)
{
    Worker *worker = (Worker *)argument;
    timer_t timer = stand_in_storm(worker);
    unsigned long n;
    for (n = 0; n < rounds; n++) {
        registrations(worker);
        questions(worker);
        calls(worker);
        sections(worker);
        readers(worker);
        queues(worker);
        the_rest(worker);
    }
    for (n = 0; n < IN_RtmxShutdown; n++)
        CHECK_OP(interrupted[n], >=, rounds);
    CHECK(copies > 0);
    leave_storm(timer);
    return NULL;
}

/* Stays inside for a while, so that others wait, and blocks methods, so that they wait for those. */
static void *hinder(void *unused)
{
    timer_t timer = stand_in_storm(&workers[0]);
    unsigned n;
    while (!LOAD(&over)) {
        OK(IN(RtmxEnter, ()));
        nap(NS);
        OK(IN(RtmxLeave, ()));
        for (n = 0; n < WORKERS; n++)
            OK(IN(RtmBlockMethods, (workers[n].callee, NULL, 0, RTM_BLOCK_METHODS)));
        nap(NS);
        for (n = 0; n < WORKERS; n++)
            OK(IN(RtmBlockMethods, (workers[n].callee, NULL, 0, RTM_RESUME_METHODS)));
    }
    UNTIL(RtmBlockMethods) OK(IN(RtmBlockMethods, (workers[0].callee, NULL, 0, RTM_RESUME_METHODS)));
    leave_storm(timer);
    return unused;
}

/* Nobody else is in a call, and the handler makes none. */
static void shut_down(void)
{
    timer_t timer;
    STORE(&aside, 1);
    timer = stand_in_storm(&workers[0]);
    unsigned long n;
    for (n = 0; n < rounds; n++)
        UNTIL(RtmxShutdown) {
            OK(RtmDeregisterEntity(come(&workers[0], 1, NULL, hear, NULL)));
            OK(IN(RtmxShutdown, ()));
        }
    leave_storm(timer);
}

int main(void)
{
    pthread_t threads[WORKERS], hindering;
    sigset_t set;
    unsigned n;

    /* Whoever is meant to be interrupted says so. */
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGALRM);
    EQ(pthread_sigmask(SIG_BLOCK, &set, NULL), 0);
    rounds = check_rounds(10);
    OK(RtmxSetLogFunction(caught, NULL));
    for (n = 0; n < WORKERS; n++) {
        Worker *worker = &workers[n];
        worker->number = n;
        worker->self = come(worker, 1, NULL, NULL, NULL);
        worker->callee = come(worker, 4, answer, NULL, NULL);
        OK(RtmxCreateEventQueue(&worker->queue));
        worker->slow = come(worker, 5, NULL, hear, NULL);
        worker->polled = come(worker, 6, NULL, hear, worker->queue);
    }
    expect_storm();
    hindering = start(hinder, NULL);
    for (n = 0; n < WORKERS; n++)
        threads[n] = start(work, &workers[n]);
    for (n = 0; n < WORKERS; n++)
        join(threads[n]);
    STORE(&over, 1);
    join(hindering);
    for (n = 0; n < WORKERS; n++) {
        Worker *worker = &workers[n];
        OK(RtmDeregisterEntity(worker->polled));
        OK(RtmDeregisterEntity(worker->slow));
        OK(RtmDeregisterEntity(worker->callee));
        OK(RtmDeregisterEntity(worker->self));
    }
    OK(RtmxFlush());
    EQ(LOAD(&cleaned), made);
    CHECK(LOAD(&told) > 0 && LOAD(&dispatched) > 0);
    shut_down();
    EQ(LOAD(&cleaned), made);
    return check_done("signals");
}
