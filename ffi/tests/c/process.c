/* Forks, a signal handler, and processes that do not use the library. */
#include "check.h"

#include <dlfcn.h>
#include <signal.h>
#include <sys/time.h>

static RTM_ENTITY_HANDLE live, other;
static RTMX_READER_HANDLE reader;
static RTMX_QUEUE_HANDLE queue;
static unsigned cleaned;

static VOID WINAPI count(PVOID context)
{
    (void)context;
    ADD(&cleaned, 1);
}

static unsigned heard;

static DWORD WINAPI hear(RTM_ENTITY_HANDLE own, RTM_EVENT_TYPE kind, PVOID subject, PVOID info)
{
    (void)own, (void)kind, (void)subject, (void)info;
    ADD(&heard, 1);
    return 0;
}

/* Every call of a forked child of a user; each must come back at once. Gives a line number or 0. */
#define STATE(call)                                                                                 \
    do {                                                                                            \
        if ((call) != ERROR_INVALID_STATE)                                                          \
            return __LINE__;                                                                        \
    } while (0)

static int every_call_refused(void)
{
    RTM_ENTITY_INFO info = make_info(0, TEST_INET, 9), before = info;
    RTM_REGN_PROFILE profile;
    RTM_ENTITY_HANDLE handle = live, list[2];
    RTMX_READER_HANDLE new_reader = as_handle(77);
    RTMX_QUEUE_HANDLE new_queue = as_handle(77);
    RTM_ENTITY_METHOD_INPUT input = {1, 0, {0}};
    RTM_ENTITY_METHOD_OUTPUT output;
    RTM_ENTITY_EXPORT_METHOD method;
    int descriptor = 77;
    RTMX_STATISTICS figures;
    RTMX_LIMITS limits;
    ULONGLONG position = 0;
    UINT number = 2;
    void *context = &context;

    memset(&figures, 0xEE, sizeof figures);
    memset(&limits, 0xEE, sizeof limits);
    STATE(RtmRegisterEntity(&info, NULL, NULL, FALSE, &profile, &handle));
    STATE(RtmxRegisterEntity(&info, NULL, NULL, FALSE, NULL, count, NULL, &profile, &handle));
    STATE(RtmDeregisterEntity(live));
    STATE(RtmxDeregisterEntityLater(live));
    STATE(RtmGetEntityMethods(live, live, &number, &method));
    STATE(RtmInvokeMethod(live, live, &input, &number, &output));
    STATE(RtmBlockMethods(live, NULL, 0, RTM_BLOCK_METHODS));
    STATE(RtmxCreateEventQueue(&new_queue));
    STATE(RtmxGetEventQueueDescriptor(queue, &descriptor));
    STATE(RtmxDispatchEvents(queue, 1, &number));
    STATE(RtmxDeleteEventQueue(queue));
    STATE(RtmGetRegisteredEntities(live, &number, list, &info));
    STATE(RtmReleaseEntities(live, 1, &handle));
    STATE(RtmGetEntityInfo(live, live, &info));
    STATE(RtmReleaseEntityInfo(live, &info));
    STATE(RtmReferenceHandles(live, 1, &handle));
    STATE(RtmxEnter());
    STATE(RtmxLeave());
    STATE(RtmxQuiescent());
    STATE(RtmxGetContext(live, &context));
    STATE(RtmxGetContexts(1, &handle, &context, &number));
    STATE(RtmxCreateReader(&new_reader));
    STATE(RtmxReaderEnter(reader));
    STATE(RtmxReaderLeave(reader));
    STATE(RtmxReaderQuiescent(reader));
    STATE(RtmxReaderGetContext(reader, live, &context));
    STATE(RtmxReaderGetContexts(reader, 1, &handle, &context, &number));
    STATE(RtmxDeleteReader(reader));
    STATE(RtmxSynchronize());
    STATE(RtmxFlush());
    STATE(RtmxShutdown());
    STATE(RtmxGetStatistics(&figures, sizeof figures));
    STATE(RtmxFormatStatistics(RTMX_TEXT, NULL, &number));
    STATE(RtmxFormatEntities(RTMX_TEXT, &position, NULL, &number));
    STATE(RtmxGetLimits(&limits, sizeof limits));
    STATE(RtmxSetLimits(&limits, sizeof limits));
    STATE(RtmxTrim(NULL));
    STATE(RtmxGetVersion(&number, NULL, NULL));
    STATE(RtmxSetLogFunction(NULL, NULL));
    /* Whatever the arguments are. */
    STATE(RtmRegisterEntity(NULL, NULL, NULL, FALSE, NULL, NULL));
    STATE(RtmDeregisterEntity(NULL));
    STATE(RtmGetEntityInfo(NULL, NULL, NULL));
    if (RtmxGetAbiNumber() != RTMX_ABI_NUMBER)
        return __LINE__;
    if (strcmp(RtmxErrorText(ERROR_INVALID_STATE), RtmxErrorText(424242)) == 0)
        return __LINE__;
    if (!same_info(&info, &before) || number != 2 || context != &context || handle != live ||
        new_reader != as_handle(77) || new_queue != as_handle(77) || descriptor != 77 ||
        figures.Live != 0xEEEEEEEEEEEEEEEEu)
        return __LINE__;
    return 0;
}

static pid_t (*forks)(void);

/* A sanitizer's allocator may be locked in the child for ever: there it must not run anything. */
#ifdef __SANITIZE_ADDRESS__
#define LAST_ENDING BY_UNDERSCORE_EXIT
#else
#define LAST_ENDING BY_GRANDCHILD
#endif

enum Ending { BY_UNDERSCORE_EXIT, BY_EXIT, BY_THREAD_EXIT, BY_GRANDCHILD, ENDINGS };

static int child(enum Ending ending)
{
    int line;
    alarm(10);
    line = every_call_refused();
    if (LOAD(&cleaned))
        line = __LINE__;
    if (line) {
        fprintf(stderr, "process.c:%d: not as it must be in a forked child\n", line);
        _exit(1);
    }
    switch (ending) {
    case BY_EXIT:
        exit(0);
    case BY_THREAD_EXIT:
        /* Runs the thread's destructors, then ends the process as its last thread. */
        pthread_exit(NULL);
    case BY_GRANDCHILD: {
        int status = 1;
        pid_t grandchild = forks();
        if (grandchild == 0)
            _exit(every_call_refused() ? 1 : 0);
        _exit(waitpid(grandchild, &status, 0) == grandchild && status == 0 ? 0 : 1);
    }
    default:
        _exit(0);
    }
}

static void fork_and_look(enum Ending ending)
{
    uint64_t began = check_now_ms();
    int status = -1;
    pid_t pid;

    fflush(NULL);
    pid = forks();
    CHECK(pid >= 0);
    if (pid == 0)
        child(ending);
    EQ(waitpid(pid, &status, 0), pid);
    EQ(status, 0);
    CHECK_OP(check_now_ms() - began, <, 5000);
}

/* A thread that is at everything while others fork. */
static int stop;

static void *churn(void *number)
{
    uint64_t id = (1 + (uint64_t)(uintptr_t)number) << 32;
    RTM_ENTITY_HANDLE handle;
    void *context;

    while (!LOAD(&stop)) {
        OK(try_register(0, TEST_INET, ++id, NULL, number ? count : NULL, &handle));
        OK(RtmxEnter());
        OK(RtmxGetContext(handle, &context));
        OK(RtmxLeave());
        OK(RtmDeregisterEntity(handle));
    }
    return NULL;
}

static void forking(void)
{
    unsigned long rounds = check_rounds(25), i;
    pthread_t churner;
    enum Ending ending;

    for (i = 0; i < ENDINGS; i++)
        fork_and_look((enum Ending)i);
    /* A reader inside in the parent, on the thread and on an object. */
    OK(RtmxEnter());
    OK(RtmxReaderEnter(reader));
    for (i = 0; i < ENDINGS; i++)
        fork_and_look((enum Ending)i);
    /* A cleanup that is due as soon as the parent leaves. */
    OK(RtmDeregisterEntity(add_with(77, NULL, count)));
    for (i = 0; i < ENDINGS; i++)
        fork_and_look((enum Ending)i);
    EQ(LOAD(&cleaned), 0);
    OK(RtmxReaderLeave(reader));
    OK(RtmxLeave());
    OK(RtmxFlush());
    EQ(SWAP(&cleaned, 0), 1);
    /* In the middle of other threads' calls. No cleanup functions here: the child counts them. */
    STORE(&stop, 0);
    churner = start(churn, NULL);
    for (i = 0; i < rounds; i++) {
        ending = (enum Ending)(i % (LAST_ENDING + 1));
        fork_and_look(ending);
    }
    STORE(&stop, 1);
    join(churner);
    /* The parent has noticed nothing. */
    OK(RtmDeregisterEntity(add_with(78, NULL, count)));
    OK(RtmxFlush());
    EQ(SWAP(&cleaned, 0), 1);
}

/* --- Programs started anew --- */

/* Forks before it uses the library: both may use it then. */
static int fork_before_use(void)
{
    int status = -1;
    pid_t pid = fork();
    RTM_ENTITY_HANDLE mine = add_with(1, NULL, count);
    OK(RtmDeregisterEntity(mine));
    OK(RtmxFlush());
    EQ(cleaned, 1);
    OK(RtmxShutdown());
    if (pid == 0)
        exit(0);
    EQ(waitpid(pid, &status, 0), pid);
    EQ(status, 0);
    return 0;
}

/* Asks what needs no state, then forks: still unused. */
static int fork_after_questions(void)
{
    UINT major;
    EQ(RtmxGetAbiNumber(), RTMX_ABI_NUMBER);
    OK(RtmxGetVersion(&major, NULL, NULL));
    CHECK(RtmxErrorText(0) != NULL);
    EQ(RtmDeregisterEntity(as_handle(77)), ERROR_INVALID_HANDLE);
    EQ(RtmxLeave(), ERROR_NOT_LOCKED);
    OK(RtmxFlush());
    OK(RtmxShutdown());
    EQ(statistics().Live, 0);
    return fork_before_use();
}

static int never_used(void)
{
    int i;
    for (i = 0; i < 20; i++) {
        int status = -1;
        pid_t pid = fork();
        if (pid == 0)
            exit(i);
        EQ(waitpid(pid, &status, 0), pid);
        EQ(WEXITSTATUS(status), i);
    }
    return 0;
}

/* --- A signal handler --- */

static unsigned storms, answers;
static RTM_ENTITY_HANDLE moving;

static void on_alarm(int signal)
{
    RTM_ENTITY_INFO info;
    DWORD code;

    (void)signal;
    OK(RtmGetEntityInfo(live, live, &info));
    EQ(info.EntityId.EntityId, 1);
    OK(RtmReleaseEntityInfo(live, &info));
    EQ(RtmxGetAbiNumber(), RTMX_ABI_NUMBER);
    CHECK(RtmxErrorText(ERROR_BUSY)[0] != 0);
    EQ(RtmGetEntityInfo(as_handle(77), live, &info), ERROR_INVALID_HANDLE);
    EQ(RtmGetEntityInfo(live, as_handle(77), &info), ERROR_INVALID_HANDLE);
    code = RtmGetEntityInfo(live, LOAD(&moving), &info);
    if (code == NO_ERROR) {
        EQ(info.EntityId.EntityId, 5);
        ADD(&answers, 1);
    } else {
        EQ(code, ERROR_INVALID_HANDLE);
    }
    ADD(&storms, 1);
}

/* One entity that comes and goes, now and then with memory made and given back. */
static void *move(void *unused)
{
    while (!LOAD(&stop)) {
        RTM_ENTITY_HANDLE handle = add_with(5, NULL, count), list[8];
        UINT number = 8;
        DWORD code;
        STORE(&moving, handle);
        code = RtmGetRegisteredEntities(handle, &number, list, NULL);
        CHECK(code == NO_ERROR || code == ERROR_INSUFFICIENT_BUFFER);
        OK(RtmReleaseEntities(handle, number, list));
        OK(RtmDeregisterEntity(handle));
    }
    return unused;
}

static void signals(void)
{
    struct itimerval every, never;
    struct sigaction action, before;
    struct timespec pause;
    uint64_t until = check_now_ms() + check_rounds(1000);
    pthread_t threads[3];
    uintptr_t i;

    memset(&action, 0, sizeof action);
    memset(&every, 0, sizeof every);
    memset(&never, 0, sizeof never);
    action.sa_handler = on_alarm;
    action.sa_flags = SA_RESTART;
    EQ(sigaction(SIGALRM, &action, &before), 0);
    every.it_interval.tv_usec = every.it_value.tv_usec = 100;
    STORE(&stop, 0);
    threads[0] = start(move, NULL);
    for (i = 1; i < 3; i++)
        threads[i] = start(churn, (void *)i);
    EQ(setitimer(ITIMER_REAL, &every, NULL), 0);
    pause.tv_sec = 0;
    pause.tv_nsec = 1000000;
    while (check_now_ms() < until || LOAD(&storms) < 10) {
        CHECK_OP(check_now_ms(), <, until + 20000);
        /* The handler interrupts this thread's own calls as well. */
        OK(RtmxFlush());
        OK(RtmxCreateReader(&reader));
        OK(RtmxDeleteReader(reader));
        nanosleep(&pause, NULL);
    }
    EQ(setitimer(ITIMER_REAL, &never, NULL), 0);
    STORE(&stop, 1);
    for (i = 0; i < 3; i++)
        join(threads[i]);
    EQ(sigaction(SIGALRM, &before, NULL), 0);
    OK(RtmxFlush());
}

int main(int argc, char **argv)
{
    RTM_ENTITY_HANDLE queued, pooled;
    UINT dispatched = 0;
    pid_t (*underscore_fork)(void) = NULL;
    char output[64];
    int status;

    if (argc > 1) {
        if (strcmp(argv[1], "before") == 0)
            return fork_before_use();
        if (strcmp(argv[1], "questions") == 0)
            return fork_after_questions();
        return never_used();
    }
    live = add_with(1, &live, NULL);
    other = add_with(2, NULL, count);
    OK(RtmxCreateReader(&reader));
    OK(RtmxCreateEventQueue(&queue));
    /* Threads of the library that run callbacks are not in the child. */
    queued = add_listener(3, hear, queue);
    pooled = add_listener(4, hear, NULL);
    forks = fork;
    forking();
    *(void **)&underscore_fork = dlsym(RTLD_DEFAULT, "_Fork");
    if (underscore_fork) {
        forks = underscore_fork;
        forking();
    }
    /* A child that becomes another program, or this one again, starts afresh. */
    run_silently(argv[0], "before", 0);
    run_silently(argv[0], "questions", 0);
    run_silently(argv[0], "never", 0);
    status = run_again("/bin/echo", "hello", output, sizeof output);
    EQ(status, 0);
    CHECK(strcmp(output, "hello\n") == 0);
    OK(RtmxDeleteReader(reader));
    CHECK(LOAD(&heard) != 0);
    OK(RtmxDispatchEvents(queue, 1, &dispatched));
    EQ(dispatched, 1);
    OK(RtmDeregisterEntity(queued));
    OK(RtmDeregisterEntity(pooled));
    OK(RtmxDeleteEventQueue(queue));
    signals();
    OK(RtmDeregisterEntity(live));
    OK(RtmDeregisterEntity(other));
    OK(RtmxFlush());
    OK(RtmxShutdown());
    return check_done("process");
}
