/* Deregistration waits for the entity's client code, and for nothing else; who would wait for itself is told. */
#include "check.h"

#include <poll.h>

enum { OUTSIDE = 30 }; /* an instance whose tables have a short journal */

static RTM_ENTITY_HANDLE self, one, two;
static Gate inside = GATE, leave = GATE;
static unsigned running, cleaned;
static pid_t waiter;

static VOID WINAPI count(PVOID context)
{
    (void)context;
    EQ(LOAD(&running), 0);
    ADD(&cleaned, 1);
}

static void again(void)
{
    gate_close(&inside);
    gate_close(&leave);
    running = 0;
    waiter = 0;
    cleaned = 0;
}

static VOID WINAPI nothing(RTM_ENTITY_HANDLE caller, RTM_ENTITY_HANDLE own, RTM_ENTITY_METHOD_INPUT *input,
                           RTM_ENTITY_METHOD_OUTPUT *output)
{
    (void)caller, (void)own, (void)input;
    output->OutputSize = 0;
}

static VOID WINAPI stay(RTM_ENTITY_HANDLE caller, RTM_ENTITY_HANDLE own, RTM_ENTITY_METHOD_INPUT *input,
                        RTM_ENTITY_METHOD_OUTPUT *output)
{
    nothing(caller, own, input, output);
    ADD(&running, 1);
    gate_open(&inside);
    gate_pass(&leave);
    ADD(&running, -1);
}

static DWORD WINAPI stay_in_callback(RTM_ENTITY_HANDLE own, RTM_EVENT_TYPE kind, PVOID subject, PVOID info)
{
    (void)own, (void)kind, (void)subject, (void)info;
    ADD(&running, 1);
    gate_open(&inside);
    gate_pass(&leave);
    ADD(&running, -1);
    return 0;
}

static DWORD WINAPI ignore(RTM_ENTITY_HANDLE own, RTM_EVENT_TYPE kind, PVOID subject, PVOID info)
{
    (void)own, (void)kind, (void)subject, (void)info;
    return 0;
}

static void *invoke_one(void *unused)
{
    OK(invoke(self, one));
    return unused;
}

static void *deregister_one(void *unused)
{
    STORE(&waiter, own_tid());
    OK(RtmDeregisterEntity(one));
    EQ(LOAD(&running), 0);
    return unused;
}

/* Until something is dispatched. */
static void *dispatch(void *queue)
{
    UINT done = 0;
    while (done == 0) {
        struct pollfd ready;
        memset(&ready, 0, sizeof ready);
        OK(RtmxGetEventQueueDescriptor(queue, &ready.fd));
        ready.events = POLLIN;
        EQ(poll(&ready, 1, 20000), 1);
        OK(RtmxDispatchEvents(queue, 1, &done));
    }
    return NULL;
}

/* --- It waits --- */

/* While it waits: the handle is dead, the id taken, and a second one does not wait. */
static void while_it_waits(void)
{
    RTM_ENTITY_HANDLE handle = NULL;
    void *context;
    AWAIT(is_asleep(LOAD(&waiter)));
    EQ(LOAD(&running), 1);
    CHECK(!is_registered(one));
    EQ(invoke(self, one), ERROR_INVALID_HANDLE);
    EQ(RtmDeregisterEntity(one), ERROR_INVALID_HANDLE);
    EQ(RtmxDeregisterEntityLater(one), ERROR_INVALID_HANDLE);
    EQ(RtmBlockMethods(one, NULL, 0, RTM_BLOCK_METHODS), ERROR_INVALID_HANDLE);
    OK(RtmxEnter());
    EQ(RtmxGetContext(one, &context), ERROR_INVALID_HANDLE);
    OK(RtmxLeave());
    EQ(try_register(check_instance, TEST_INET, 100, NULL, NULL, &handle), ERROR_ALREADY_EXISTS);
    EQ(LOAD(&cleaned), 0);
}

static void for_a_method(void)
{
    RTM_ENTITY_EXPORT_METHOD method = stay;
    pthread_t invoker, closer;
    again();
    OK(try_client(100, 1, &method, NULL, NULL, NULL, count, &one));
    invoker = start(invoke_one, NULL);
    gate_pass(&inside);
    closer = start(deregister_one, NULL);
    while_it_waits();
    gate_open(&leave);
    join(closer);
    OK(RtmDeregisterEntity(add(100)));
    join(invoker);
    OK(RtmxFlush());
    EQ(cleaned, 1);
}

static void for_a_callback(int queued)
{
    RTMX_QUEUE_HANDLE queue = NULL;
    pthread_t dispatcher = 0, closer;
    RTM_ENTITY_HANDLE other;
    again();
    if (queued)
        OK(RtmxCreateEventQueue(&queue));
    OK(try_client(100, 0, NULL, stay_in_callback, queue, NULL, count, &one));
    other = add(101);
    if (queued)
        dispatcher = start(dispatch, queue);
    gate_pass(&inside);
    closer = start(deregister_one, NULL);
    while_it_waits();
    gate_open(&leave);
    join(closer);
    OK(RtmDeregisterEntity(add(100)));
    if (queued) {
        join(dispatcher);
        OK(RtmxDeleteEventQueue(queue));
    }
    OK(RtmDeregisterEntity(other));
    OK(RtmxFlush());
    EQ(cleaned, 1);
}

/* --- It does not wait --- */

static void *stay_in_section(void *unused)
{
    OK(RtmxEnter());
    gate_open(&inside);
    gate_pass(&leave);
    OK(RtmxLeave());
    return unused;
}

static void for_nothing_else(void)
{
    RTMX_QUEUE_HANDLE queue = NULL;
    RTM_ENTITY_EXPORT_METHOD method = nothing;
    pthread_t reader;
    int i;

    again();
    OK(RtmxCreateEventQueue(&queue));
    /* Not for events that are pending, nor for readers, nor for other entities' code. */
    one = add_client(100, 1, &method, stay_in_callback, queue);
    two = add_client(101, 1, &method, stay_in_callback, queue);
    for (i = 0; i < 10; i++)
        OK(RtmDeregisterEntity(add(102)));
    reader = start(stay_in_section, NULL);
    gate_pass(&inside);
    OK(RtmDeregisterEntity(one));
    OK(RtmDeregisterEntity(two));
    gate_open(&leave);
    join(reader);
    OK(RtmxDeleteEventQueue(queue));
}

/* --- It is refused --- */

static VOID WINAPI from_own_method(RTM_ENTITY_HANDLE caller, RTM_ENTITY_HANDLE own,
                                   RTM_ENTITY_METHOD_INPUT *input, RTM_ENTITY_METHOD_OUTPUT *output)
{
    nothing(caller, own, input, output);
    EQ(RtmDeregisterEntity(own), ERROR_POSSIBLE_DEADLOCK);
    CHECK(is_registered(own));
    if (own == one)
        OK(invoke(own, two));
    else if (caller == one) /* deeper inside */
        EQ(RtmDeregisterEntity(one), ERROR_POSSIBLE_DEADLOCK);
    /* Another one. */
    OK(RtmDeregisterEntity(add_callee(102, nothing)));
    ADD(&running, 1);
}

static void in_own_method(void)
{
    again();
    one = add_callee(100, from_own_method);
    two = add_callee(101, from_own_method);
    OK(invoke(self, one));
    EQ(running, 2);
    OK(invoke(two, two));
    OK(RtmDeregisterEntity(one));
    OK(RtmDeregisterEntity(two));
}

static void in_a_section(void)
{
    one = add_callee(100, nothing);
    two = add_listener(101, ignore, NULL);
    OK(RtmxEnter());
    EQ(RtmDeregisterEntity(one), ERROR_POSSIBLE_DEADLOCK);
    EQ(RtmDeregisterEntity(two), ERROR_POSSIBLE_DEADLOCK);
    CHECK(is_registered(one));
    CHECK(is_registered(two));
    OK(invoke(self, one));
    OK(RtmDeregisterEntity(add(102)));
    OK(RtmxDeregisterEntityLater(one));
    CHECK(!is_registered(one));
    OK(RtmxLeave());
    OK(RtmDeregisterEntity(two));
    OK(RtmxFlush());
    OK(RtmDeregisterEntity(add(100)));
}

/* What registered and deregistered events forbid, on the callback's own thread. */
static unsigned looked;
static DWORD WINAPI forbidden(RTM_ENTITY_HANDLE own, RTM_EVENT_TYPE kind, PVOID subject, PVOID info)
{
    RTM_ENTITY_HANDLE handle = NULL, list[4];
    RTM_ENTITY_INFO copy = *(RTM_ENTITY_INFO *)info;
    RTM_REGN_PROFILE profile;
    UINT number = 4;

    CHECK(kind == RTM_ENTITY_REGISTERED || kind == RTM_ENTITY_DEREGISTERED);
    copy.EntityId.EntityId = 999;
    EQ(RtmRegisterEntity(&copy, NULL, NULL, FALSE, &profile, &handle), ERROR_POSSIBLE_DEADLOCK);
    EQ(try_register(0, TEST_INET6, 5, NULL, NULL, &handle), ERROR_POSSIBLE_DEADLOCK);
    EQ(RtmDeregisterEntity(own), ERROR_POSSIBLE_DEADLOCK);
    EQ(RtmDeregisterEntity(self), ERROR_POSSIBLE_DEADLOCK);
    EQ(RtmDeregisterEntity(NULL), ERROR_INVALID_HANDLE);
    EQ(RtmGetRegisteredEntities(own, &number, list, NULL), ERROR_POSSIBLE_DEADLOCK);
    EQ(RtmGetRegisteredEntities(self, &number, NULL, NULL), ERROR_POSSIBLE_DEADLOCK);
    EQ(RtmxFlush(), ERROR_POSSIBLE_DEADLOCK);
    EQ(RtmxSynchronize(), ERROR_POSSIBLE_DEADLOCK);
    EQ(RtmxShutdown(), ERROR_POSSIBLE_DEADLOCK);
    EQ(handle, NULL);
    EQ(number, 4);
    /* All else is allowed. */
    OK(RtmReferenceHandles(own, 1, &subject));
    OK(RtmReleaseEntities(own, 1, &subject));
    OK(invoke(own, two));
    OK(RtmBlockMethods(own, NULL, 0, RTM_BLOCK_METHODS));
    OK(RtmBlockMethods(own, NULL, 0, RTM_RESUME_METHODS));
    if (kind == RTM_ENTITY_DEREGISTERED)
        EQ(invoke(own, subject), ERROR_INVALID_HANDLE);
    ADD(&looked, 1);
    return 0;
}

static void in_an_event(int queued)
{
    RTMX_QUEUE_HANDLE queue = NULL;
    RTM_ENTITY_EXPORT_METHOD method = nothing;
    RTM_ENTITY_HANDLE handle = NULL;
    UINT number = 0;
    if (queued)
        OK(RtmxCreateEventQueue(&queue));
    looked = 0;
    two = add_callee(101, nothing);
    one = add_client(100, 1, &method, forbidden, queue);
    OK(RtmDeregisterEntity(add(102)));
    if (queued) {
        dispatch(queue);
        /* On a thread that is no longer inside it is allowed. */
        OK(try_register(0, TEST_INET6, 5, NULL, NULL, &handle));
        OK(RtmDeregisterEntity(handle));
        EQ(RtmGetRegisteredEntities(self, &number, NULL, NULL), ERROR_INSUFFICIENT_BUFFER);
        dispatch(queue);
    }
    AWAIT(LOAD(&looked) == 2);
    OK(RtmDeregisterEntity(one));
    OK(RtmDeregisterEntity(two));
    if (queued)
        OK(RtmxDeleteEventQueue(queue));
}

/* --- Two that wait for each other --- */

static pthread_barrier_t both;
static unsigned refused, done;
static int by_blocking;

static VOID WINAPI end_the_other(RTM_ENTITY_HANDLE caller, RTM_ENTITY_HANDLE own,
                                 RTM_ENTITY_METHOD_INPUT *input, RTM_ENTITY_METHOD_OUTPUT *output)
{
    RTM_ENTITY_HANDLE other = own == one ? two : one;
    DWORD code;
    nothing(caller, own, input, output);
    pthread_barrier_wait(&both);
    code = by_blocking ? RtmBlockMethods(other, NULL, 0, RTM_BLOCK_METHODS) : RtmDeregisterEntity(other);
    if (code == ERROR_POSSIBLE_DEADLOCK) {
        CHECK(is_registered(other));
        ADD(&refused, 1);
    } else {
        EQ(code, NO_ERROR);
        ADD(&done, 1);
    }
}

static void *invoke_two(void *unused)
{
    OK(invoke(self, two));
    return unused;
}

static void each_other(void)
{
    unsigned long rounds = check_rounds(500), i;
    EQ(pthread_barrier_init(&both, NULL, 2), 0);
    for (i = 0; i < rounds; i++) {
        pthread_t threads[2];
        int alive;
        by_blocking = i % 2;
        refused = done = 0;
        one = add_callee(100, end_the_other);
        two = add_callee(101, end_the_other);
        threads[0] = start(invoke_one, NULL);
        threads[1] = start(invoke_two, NULL);
        join(threads[0]);
        join(threads[1]);
        EQ(refused, 1);
        EQ(done, 1);
        alive = is_registered(one) + is_registered(two);
        EQ(alive, by_blocking ? 2 : 1);
        if (is_registered(one))
            OK(RtmDeregisterEntity(one));
        if (is_registered(two))
            OK(RtmDeregisterEntity(two));
    }
    pthread_barrier_destroy(&both);
}

/* --- A callback that waits for whoever waits for it --- */

static Gate told = GATE;
static DWORD invoked_with;
static pid_t callback_tid;

static DWORD WINAPI invoke_blocked(RTM_ENTITY_HANDLE own, RTM_EVENT_TYPE kind, PVOID subject, PVOID info)
{
    (void)own, (void)kind, (void)subject, (void)info;
    gate_open(&inside);
    gate_pass(&leave);
    STORE(&callback_tid, own_tid());
    STORE(&invoked_with, invoke(self, two));
    gate_open(&told);
    return 0;
}

static void *let_in_when_asleep(void *unused)
{
    AWAIT(is_asleep(LOAD(&waiter)));
    gate_open(&leave);
    return unused;
}

static void around_a_block(int callback_first)
{
    RTM_ENTITY_HANDLE other;
    pthread_t helper;

    again();
    gate_close(&told);
    invoked_with = 77;
    callback_tid = 0;
    one = add_listener(100, invoke_blocked, NULL);
    two = add_callee(101, nothing);
    gate_pass(&inside);
    other = add(102);
    OK(RtmBlockMethods(two, NULL, 0, RTM_BLOCK_METHODS));
    if (callback_first) {
        gate_open(&leave);
        AWAIT(is_asleep(LOAD(&callback_tid)));
        EQ(RtmDeregisterEntity(one), ERROR_POSSIBLE_DEADLOCK);
        CHECK(is_registered(one));
        EQ(LOAD(&invoked_with), 77);
        OK(RtmBlockMethods(two, NULL, 0, RTM_RESUME_METHODS));
        gate_pass(&told);
        EQ(LOAD(&invoked_with), NO_ERROR);
        OK(RtmDeregisterEntity(one));
    } else {
        STORE(&waiter, own_tid());
        helper = start(let_in_when_asleep, NULL);
        OK(RtmDeregisterEntity(one));
        EQ(invoked_with, ERROR_POSSIBLE_DEADLOCK);
        join(helper);
        OK(RtmBlockMethods(two, NULL, 0, RTM_RESUME_METHODS));
    }
    OK(RtmDeregisterEntity(two));
    OK(RtmDeregisterEntity(other));
}

/* --- Waiting is no cancellation point --- */

static void *deregister_and_look(void *unused)
{
    deregister_one(unused);
    ADD(&cleaned, 1);
    pthread_testcancel();
    CHECK(!"reached");
    return unused;
}

static void cancelled(void)
{
    pthread_t invoker, closer;
    again();
    one = add_callee(100, stay);
    invoker = start(invoke_one, NULL);
    gate_pass(&inside);
    closer = start(deregister_and_look, NULL);
    AWAIT(is_asleep(LOAD(&waiter)));
    EQ(pthread_cancel(closer), 0);
    gate_open(&leave);
    CHECK(join(closer) == PTHREAD_CANCELED);
    EQ(cleaned, 1);
    join(invoker);
}

/* --- In a cleanup function all but the waits for readers is allowed --- */

static VOID WINAPI live_on(PVOID context)
{
    RTMX_QUEUE_HANDLE queue = NULL;
    RTM_ENTITY_EXPORT_METHOD method = nothing;
    RTM_ENTITY_HANDLE mine, pooled;

    (void)context;
    OK(RtmxCreateEventQueue(&queue));
    mine = add_client(110, 1, &method, ignore, queue);
    pooled = add_client(111, 1, &method, ignore, NULL);
    OK(invoke(mine, mine));
    OK(invoke(mine, pooled));
    dispatch(queue);
    OK(RtmBlockMethods(pooled, NULL, 0, RTM_BLOCK_METHODS));
    EQ(invoke(mine, pooled), ERROR_POSSIBLE_DEADLOCK);
    OK(RtmDeregisterEntity(pooled));
    OK(RtmDeregisterEntity(mine));
    OK(RtmxDeregisterEntityLater(add_callee(111, nothing)));
    OK(RtmxDeleteEventQueue(queue));
    EQ(RtmxFlush(), ERROR_POSSIBLE_DEADLOCK);
    ADD(&cleaned, 1);
}

static void in_a_cleanup(int flush_it)
{
    again();
    OK(RtmDeregisterEntity(add_with(100, NULL, live_on)));
    if (flush_it)
        OK(RtmxFlush());
    AWAIT(LOAD(&cleaned) == 1);
    OK(RtmxFlush());
}

/* --- Later --- */

static DWORD WINAPI later_in_callback(RTM_ENTITY_HANDLE own, RTM_EVENT_TYPE kind, PVOID subject, PVOID info)
{
    (void)kind, (void)subject, (void)info;
    EQ(own, one);
    ADD(&running, 1);
    OK(RtmxDeregisterEntityLater(own));
    EQ(RtmxDeregisterEntityLater(own), ERROR_INVALID_HANDLE);
    CHECK(!is_registered(own));
    gate_open(&inside);
    gate_pass(&leave);
    EQ(LOAD(&cleaned), 0);
    ADD(&running, -1);
    return 0;
}

static VOID WINAPI later_in_method(RTM_ENTITY_HANDLE caller, RTM_ENTITY_HANDLE own,
                                   RTM_ENTITY_METHOD_INPUT *input, RTM_ENTITY_METHOD_OUTPUT *output)
{
    nothing(caller, own, input, output);
    later_in_callback(own, RTM_ENTITY_REGISTERED, NULL, NULL);
}

static pid_t flusher;
static void *flush(void *unused)
{
    STORE(&flusher, own_tid());
    OK(RtmxFlush());
    EQ(LOAD(&running), 0);
    EQ(LOAD(&cleaned), 1);
    return unused;
}

static void later(int how)
{
    RTM_ENTITY_EXPORT_METHOD method = later_in_method;
    RTM_ENTITY_HANDLE other = NULL, handle = NULL;
    RTMX_QUEUE_HANDLE queue = NULL;
    pthread_t thread = 0, flushing;

    again();
    flusher = 0;
    if (how == 2)
        OK(RtmxCreateEventQueue(&queue));
    OK(try_client(100, how == 0, &method, how ? later_in_callback : NULL, queue, NULL, count, &one));
    if (how)
        other = add(101);
    if (how != 1)
        thread = how ? start(dispatch, queue) : start(invoke_one, NULL);
    gate_pass(&inside);
    CHECK(!is_registered(one));
    EQ(try_register(check_instance, TEST_INET, 100, NULL, NULL, &handle), ERROR_ALREADY_EXISTS);
    flushing = start(flush, NULL);
    AWAIT(is_asleep(LOAD(&flusher)));
    EQ(LOAD(&cleaned), 0);
    EQ(LOAD(&running), 1);
    gate_open(&leave);
    join(flushing);
    if (how != 1)
        join(thread);
    OK(RtmDeregisterEntity(add(100)));
    if (how)
        OK(RtmDeregisterEntity(other));
    if (how == 2)
        OK(RtmxDeleteEventQueue(queue));
}

/* Nobody has to flush. */
static void later_in_time(void)
{
    RTM_ENTITY_EXPORT_METHOD method = later_in_method;
    int i;
    for (i = 0; i < 10; i++) {
        again();
        gate_open(&leave);
        OK(try_client(100, 1, &method, NULL, NULL, NULL, count, &one));
        OK(invoke(self, one));
        AWAIT(LOAD(&cleaned) == 1);
        EQ(LOAD(&running), 0);
        /* With nothing running it is complete at once. */
        one = add_callee(100, nothing);
        OK(RtmxDeregisterEntityLater(one));
        OK(RtmDeregisterEntity(add(100)));
        OK(RtmxDeregisterEntityLater(add(100)));
        OK(RtmDeregisterEntity(add(100)));
    }
    EQ(RtmxDeregisterEntityLater(NULL), ERROR_INVALID_HANDLE);
}

/* --- One handle, two threads --- */

static unsigned won;
static void *contend(void *unused)
{
    DWORD code;
    pthread_barrier_wait(&both);
    code = RtmDeregisterEntity(one);
    if (code == NO_ERROR) {
        EQ(LOAD(&running), 0);
        ADD(&won, 1);
    } else {
        EQ(code, ERROR_INVALID_HANDLE);
        if (unused) /* the method ends only when this call, the loser's, has returned */
            gate_open(&leave);
    }
    return NULL;
}

static void contention(void)
{
    unsigned long rounds = check_rounds(300), i;
    EQ(pthread_barrier_init(&both, NULL, 2), 0);
    for (i = 0; i < rounds; i++) {
        pthread_t invoker, threads[2];
        again();
        won = 0;
        one = add_callee(100, stay);
        invoker = start(invoke_one, NULL);
        gate_pass(&inside);
        threads[0] = start(contend, &won);
        threads[1] = start(contend, &won);
        join(threads[0]);
        join(threads[1]);
        join(invoker);
        EQ(won, 1);
    }
    pthread_barrier_destroy(&both);
}

/* --- Blocked methods --- */

static void blocked(void)
{
    int i;
    for (i = 0; i < 3; i++) {
        again();
        one = add_callee(100, nothing);
        OK(RtmBlockMethods(one, NULL, 0, RTM_BLOCK_METHODS));
        if (i == 0)
            OK(RtmDeregisterEntity(one));
        else if (i == 1)
            elsewhere(deregister_one, NULL);
        else
            OK(RtmxDeregisterEntityLater(one));
        EQ(RtmBlockMethods(one, NULL, 0, RTM_RESUME_METHODS), ERROR_INVALID_HANDLE);
        /* A new one is not blocked. */
        one = add_callee(100, nothing);
        OK(invoke(self, one));
        OK(RtmDeregisterEntity(one));
    }
}

static void *block_one(void *unused)
{
    STORE(&waiter, own_tid());
    EQ(RtmBlockMethods(one, NULL, 0, RTM_BLOCK_METHODS), ERROR_INVALID_HANDLE);
    return unused;
}

/* A deregistration overtakes a blocking that waits for the same method. */
static void overtaken(void)
{
    pthread_t invoker, blocker, closer;
    again();
    one = add_callee(100, stay);
    invoker = start(invoke_one, NULL);
    gate_pass(&inside);
    blocker = start(block_one, NULL);
    AWAIT(is_asleep(LOAD(&waiter)));
    STORE(&waiter, 0);
    closer = start(deregister_one, NULL);
    join(blocker);
    EQ(LOAD(&running), 1);
    gate_open(&leave);
    join(closer);
    join(invoker);
}

/* --- Threads that end inside, while somebody waits --- */

static int by_cancel;

static void end_here(void)
{
    gate_open(&inside);
    gate_pass(&leave);
    if (by_cancel) {
        cancel_here();
    }
    pthread_exit(NULL);
}

static VOID WINAPI end_in_method(RTM_ENTITY_HANDLE caller, RTM_ENTITY_HANDLE own,
                                 RTM_ENTITY_METHOD_INPUT *input, RTM_ENTITY_METHOD_OUTPUT *output)
{
    nothing(caller, own, input, output);
    end_here();
}

static DWORD WINAPI end_in_callback(RTM_ENTITY_HANDLE own, RTM_EVENT_TYPE kind, PVOID subject, PVOID info)
{
    (void)own, (void)kind, (void)subject, (void)info;
    end_here();
    return 0;
}

/* The callback's thread ends inside a method of another entity. */
static DWORD WINAPI end_deeper(RTM_ENTITY_HANDLE own, RTM_EVENT_TYPE kind, PVOID subject, PVOID info)
{
    (void)kind, (void)subject, (void)info;
    invoke(own, two);
    return 0;
}

static void ending(int where)
{
    RTM_ENTITY_EXPORT_METHOD method = end_in_method;
    RTM_EVENT_CALLBACK callback = where >= 3 ? end_deeper : end_in_callback;
    RTMX_QUEUE_HANDLE queue = NULL;
    RTM_ENTITY_HANDLE other = NULL;
    pthread_t thread = 0, closer;

    again();
    if (where == 2 || where == 4)
        OK(RtmxCreateEventQueue(&queue));
    two = add_callee(101, end_in_method);
    OK(try_client(100, where == 0, &method, where ? callback : NULL, queue, NULL, count, &one));
    if (where)
        other = add(102);
    if (where == 0)
        thread = start(invoke_one, NULL);
    else if (queue)
        thread = start(dispatch, queue);
    gate_pass(&inside);
    closer = start(deregister_one, NULL);
    AWAIT(is_asleep(LOAD(&waiter)));
    gate_open(&leave);
    join(closer);
    if (where == 0 || queue)
        join(thread);
    OK(RtmDeregisterEntity(two));
    if (where)
        OK(RtmDeregisterEntity(other));
    if (queue)
        OK(RtmxDeleteEventQueue(queue));
    OK(RtmxFlush());
    EQ(cleaned, 1);
}

/* --- Inside RTMX_EVENTS_MISSED --- */

static unsigned missed;
static RTM_ENTITY_HANDLE third;

static DWORD WINAPI end_when_behind(RTM_ENTITY_HANDLE own, RTM_EVENT_TYPE kind, PVOID subject, PVOID info)
{
    if (kind != RTMX_EVENTS_MISSED) {
        gate_open(&inside);
        gate_pass(&leave);
        return 0;
    }
    CHECK(subject == NULL && info == NULL);
    EQ(RtmxFlush(), ERROR_POSSIBLE_DEADLOCK);
    /* Another one, with a method; registers; and itself, all but this frame. */
    OK(RtmDeregisterEntity(third));
    third = add_callee(120, nothing);
    OK(invoke(own, third));
    OK(RtmDeregisterEntity(own));
    CHECK(!is_registered(own));
    EQ(RtmDeregisterEntity(own), ERROR_INVALID_HANDLE);
    OK(RtmDeregisterEntity(add(100)));
    EQ(LOAD(&cleaned), 0);
    EQ(ADD(&missed, 1), 0);
    return 0;
}

static void inside_missed(int queued)
{
    RTMX_QUEUE_HANDLE queue = NULL;
    UINT dispatched, sum = 0;
    int i;

    again();
    missed = 0;
    check_instance = OUTSIDE;
    if (queued)
        OK(RtmxCreateEventQueue(&queue));
    OK(try_client(100, 0, NULL, end_when_behind, queue, NULL, count, &one));
    third = add_callee(120, nothing);
    if (queued)
        gate_open(&leave);
    else
        gate_pass(&inside);
    for (i = 0; i < 20000; i++)
        OK(RtmDeregisterEntity(add(121)));
    gate_open(&leave);
    while (queued && LOAD(&missed) == 0) {
        OK(RtmxDispatchEvents(queue, 100, &dispatched));
        sum += dispatched;
        CHECK_OP(sum, <, 20000);
    }
    if (queued) {
        OK(RtmxDispatchEvents(queue, 100, &dispatched));
        EQ(dispatched, 0);
    }
    AWAIT(LOAD(&missed) == 1);
    OK(RtmDeregisterEntity(third));
    OK(RtmxFlush());
    EQ(cleaned, 1);
    EQ(missed, 1);
    if (queued)
        OK(RtmxDeleteEventQueue(queue));
    check_instance = 0;
}

/* --- Nothing of it runs afterwards --- */

static RTM_ENTITY_HANDLE stormed;
static int alive, stop_storm;

static VOID WINAPI only_alive(RTM_ENTITY_HANDLE caller, RTM_ENTITY_HANDLE own, RTM_ENTITY_METHOD_INPUT *input,
                              RTM_ENTITY_METHOD_OUTPUT *output)
{
    nothing(caller, own, input, output);
    EQ(LOAD(&alive), 1);
    sched_yield();
    EQ(LOAD(&alive), 1);
}

static DWORD WINAPI only_alive_callback(RTM_ENTITY_HANDLE own, RTM_EVENT_TYPE kind, PVOID subject, PVOID info)
{
    (void)own, (void)kind, (void)subject, (void)info;
    EQ(LOAD(&alive), 1);
    sched_yield();
    EQ(LOAD(&alive), 1);
    return 0;
}

static void *storm(void *unused)
{
    while (!LOAD(&stop_storm))
        invoke(self, LOAD(&stormed));
    return unused;
}

static void *churn(void *unused)
{
    while (!LOAD(&stop_storm))
        OK(RtmDeregisterEntity(add(130)));
    return unused;
}

static void storms(void)
{
    RTM_ENTITY_EXPORT_METHOD method = only_alive;
    pthread_t threads[4];
    unsigned long rounds = check_rounds(400), i;

    stop_storm = 0;
    for (i = 0; i < 4; i++)
        threads[i] = start(i < 3 ? storm : churn, NULL);
    for (i = 0; i < rounds; i++) {
        RTM_ENTITY_HANDLE now;
        STORE(&alive, 1);
        now = add_client(131, 1, &method, only_alive_callback, NULL);
        STORE(&stormed, now);
        if (i % 4 == 0)
            sched_yield();
        OK(RtmDeregisterEntity(now));
        STORE(&alive, 0);
    }
    STORE(&stop_storm, 1);
    for (i = 0; i < 4; i++)
        join(threads[i]);
}

int main(void)
{
    RTMX_LIMITS limits;
    int i;

    OK(RtmxGetLimits(&limits, sizeof limits));
    limits.MaxJournal = 16;
    OK(RtmxSetLimits(&limits, sizeof limits));
    check_instance = OUTSIDE; /* its first callback: the limit is its table's */
    OK(RtmDeregisterEntity(add_listener(1, ignore, NULL)));
    limits.MaxJournal = 1 << 20;
    OK(RtmxSetLimits(&limits, sizeof limits));
    check_instance = 0;

    self = add(1);
    for (i = 0; i < 3; i++) {
        for_a_method();
        for_a_callback(0);
        for_a_callback(1);
        for_nothing_else();
        in_own_method();
        in_a_section();
        in_an_event(0);
        in_an_event(1);
        later(0);
        later(1);
        later(2);
        blocked();
        overtaken();
        around_a_block(0);
        around_a_block(1);
        cancelled();
        in_a_cleanup(0);
        in_a_cleanup(1);
        inside_missed(0);
        inside_missed(1);
        for (by_cancel = 0; by_cancel < 2; by_cancel++) {
            int where;
            for (where = 0; where < 5; where++)
                ending(where);
        }
    }
    each_other();
    later_in_time();
    contention();
    storms();
    OK(RtmDeregisterEntity(self));
    OK(RtmxFlush());
    EQ(statistics().Live, 0);
    EQ(statistics().Retired, 0);
    EQ(statistics().Listeners, 0);
    OK(RtmxShutdown());
    return check_done("rundown");
}
