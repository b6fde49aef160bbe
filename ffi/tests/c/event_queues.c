/* Event queues: descriptors, budgets, who may dispatch, when a queue may go. */
#include "check.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/resource.h>

static RTM_ENTITY_HANDLE self;

static RTMX_QUEUE_HANDLE new_queue(void)
{
    RTMX_QUEUE_HANDLE queue = NULL;
    OK(RtmxCreateEventQueue(&queue));
    CHECK(queue != NULL);
    return queue;
}

static int descriptor(RTMX_QUEUE_HANDLE queue)
{
    int fd = -1;
    OK(RtmxGetEventQueueDescriptor(queue, &fd));
    CHECK(fd >= 0);
    return fd;
}

/* At once, or within 20 seconds. */
static int readable(RTMX_QUEUE_HANDLE queue, int wait)
{
    struct pollfd one = {descriptor(queue), POLLIN, 0};
    int ready = poll(&one, 1, wait ? 20000 : 0);
    CHECK(ready >= 0);
    CHECK(ready == 0 || one.revents == POLLIN);
    return ready;
}

/* What the callbacks have been told. */
typedef struct {
    RTM_ENTITY_HANDLE listener, subject;
    RTM_EVENT_TYPE kind;
    RTM_ENTITY_INFO info;
    pthread_t thread;
} Note;
static Note notes[1000];
static unsigned told;

static DWORD WINAPI note(RTM_ENTITY_HANDLE own, RTM_EVENT_TYPE kind, PVOID subject, PVOID info)
{
    unsigned index = ADD(&told, 1);
    Note *place = &notes[index % 1000];
    place->listener = own;
    place->subject = subject;
    place->kind = kind;
    place->thread = pthread_self();
    if (info)
        place->info = *(RTM_ENTITY_INFO *)info;
    return ERROR_NOT_SUPPORTED;
}

/* Dispatches until so many callbacks have run. */
static void dispatch(RTMX_QUEUE_HANDLE queue, unsigned wanted)
{
    unsigned before = LOAD(&told);
    while (LOAD(&told) - before < wanted) {
        UINT done = 99;
        EQ(readable(queue, 1), 1);
        OK(RtmxDispatchEvents(queue, 1, &done));
        CHECK(done <= 1);
    }
    EQ(LOAD(&told) - before, wanted);
}

/* --- Handles and arguments --- */

static void handles(void)
{
    RTMX_QUEUE_HANDLE queue = new_queue(), second = new_queue(), old = queue, untouched = &told;
    RTMX_READER_HANDLE reader = NULL;
    RTM_ENTITY_HANDLE handle = NULL;
    UINT done = 7;
    int fd = 7, i;

    CHECK(queue != second);
    EQ((uintptr_t)queue >> 28 & 15, 14);
    NE(descriptor(queue), descriptor(second));
    EQ(statistics().EventQueues, 2);
    EQ(RtmxCreateEventQueue(NULL), ERROR_INVALID_PARAMETER);
    EQ(RtmxGetEventQueueDescriptor(NULL, NULL), ERROR_INVALID_HANDLE);
    EQ(RtmxGetEventQueueDescriptor(queue, NULL), ERROR_INVALID_PARAMETER);
    EQ(RtmxDispatchEvents(NULL, 0, NULL), ERROR_INVALID_HANDLE);
    EQ(RtmxDispatchEvents(queue, 0, NULL), ERROR_INVALID_PARAMETER);
    EQ(RtmxDispatchEvents(queue, 0, &done), ERROR_INVALID_PARAMETER);
    EQ(RtmxDispatchEvents(queue, 1, (PUINT)(void *)((char *)&done + 1)), ERROR_INVALID_PARAMETER);
    EQ(done, 7);
    OK(RtmxDispatchEvents(queue, 1, NULL));
    OK(RtmxDispatchEvents(queue, 0xFFFFFFFF, &done));
    EQ(done, 0);
    EQ(readable(queue, 0), 0);

    /* Another kind of handle is none. */
    OK(RtmxCreateReader(&reader));
    done = 7;
    EQ(RtmxDispatchEvents(reader, 1, &done), ERROR_INVALID_HANDLE);
    EQ(RtmxDispatchEvents(self, 1, &done), ERROR_INVALID_HANDLE);
    EQ(RtmxReaderEnter(queue), ERROR_INVALID_HANDLE);
    EQ(RtmxDeleteReader(queue), ERROR_INVALID_HANDLE);
    EQ(RtmxDeleteEventQueue(reader), ERROR_INVALID_HANDLE);
    EQ(RtmDeregisterEntity(queue), ERROR_INVALID_HANDLE);
    OK(RtmxDeleteReader(reader));

    OK(RtmxDeleteEventQueue(queue));
    EQ(RtmxDeleteEventQueue(queue), ERROR_INVALID_HANDLE);
    EQ(RtmxGetEventQueueDescriptor(queue, &fd), ERROR_INVALID_HANDLE);
    EQ(RtmxDispatchEvents(queue, 1, &done), ERROR_INVALID_HANDLE);
    EQ(try_client(2, 0, NULL, note, queue, NULL, NULL, &handle), ERROR_INVALID_HANDLE);
    EQ(try_client(2, 0, NULL, NULL, queue, NULL, NULL, &handle), ERROR_INVALID_HANDLE);
    EQ(fd, 7);
    EQ(done, 7);
    EQ(handle, NULL);
    /* Never again the same. */
    for (i = 0; i < 1000; i++) {
        queue = new_queue();
        CHECK(queue != old && queue != second);
        EQ(RtmxDeleteEventQueue(old), ERROR_INVALID_HANDLE);
        OK(RtmxDeleteEventQueue(queue));
        old = queue;
    }
    CHECK(untouched == &told);
    OK(RtmxDeleteEventQueue(second));
    EQ(statistics().EventQueues, 0);
}

/* No descriptor is left. */
static void exhausted(void)
{
    struct rlimit before, none;
    RTMX_QUEUE_HANDLE queue = NULL;
    int next = dup(0);

    CHECK(next >= 0);
    close(next);
    EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    none.rlim_cur = (rlim_t)next;
    EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
    EQ(RtmxCreateEventQueue(&queue), ERROR_NO_SYSTEM_RESOURCES);
    EQ(queue, NULL);
    EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
    EQ(statistics().EventQueues, 0);
    queue = new_queue();
    OK(RtmxDeleteEventQueue(queue));
    /* Closed with it, if nobody has used it. */
    EQ(fcntl(next, F_GETFD), -1);
}

/* --- Descriptor and budget --- */

static void budget(void)
{
    RTMX_QUEUE_HANDLE queue = new_queue();
    RTM_ENTITY_HANDLE listener = add_listener(2, note, queue), others[20];
    UINT done;
    unsigned i, passes = 0;

    told = 0;
    EQ(statistics().Listeners, 1);
    EQ(readable(queue, 0), 0);
    for (i = 0; i < 20; i++)
        others[i] = add(100 + i);
    EQ(readable(queue, 1), 1);
    /* Until the library's thread has passed all on. */
    while (LOAD(&told) < 20) {
        unsigned before = LOAD(&told);
        done = 99;
        EQ(readable(queue, 1), 1);
        OK(RtmxDispatchEvents(queue, 3, &done));
        EQ(LOAD(&told) - before, done);
        CHECK(done <= 3);
        passes++;
    }
    CHECK(passes >= 7);
    EQ(told, 20);
    for (i = 0; i < 20; i++) {
        RTM_ENTITY_INFO info = make_info(0, TEST_INET, 100 + i);
        EQ(notes[i].kind, RTM_ENTITY_REGISTERED);
        CHECK(notes[i].listener == listener && notes[i].subject == others[i]);
        CHECK(same_info(&notes[i].info, &info));
        CHECK(pthread_equal(notes[i].thread, pthread_self()));
    }
    OK(RtmxDispatchEvents(queue, 100, &done));
    EQ(done, 0);
    EQ(readable(queue, 0), 0);

    /* What the budget leaves is still to be seen, whoever is the last. */
    for (i = 0; i < 20; i++)
        OK(RtmDeregisterEntity(others[i]));
    for (i = 0; i < 20; i++) {
        EQ(readable(queue, 1), 1);
        done = 0;
        while (done == 0)
            OK(RtmxDispatchEvents(queue, 1, &done));
        EQ(done, 1);
        EQ(notes[20 + i].kind, RTM_ENTITY_DEREGISTERED);
        CHECK(notes[20 + i].subject == others[i]);
    }
    OK(RtmxDispatchEvents(queue, 1, &done));
    EQ(done, 0);
    EQ(readable(queue, 0), 0);
    OK(RtmDeregisterEntity(listener));
    OK(RtmxDeleteEventQueue(queue));
    EQ(statistics().Listeners, 0);
}

/* Edge-triggered: dispatched to the end after each edge, nothing is left behind. */
static void edges(void)
{
    RTMX_QUEUE_HANDLE queue = new_queue();
    RTM_ENTITY_HANDLE listener = add_listener(2, note, queue);
    struct epoll_event wanted, got;
    int set = epoll_create1(0);
    unsigned long rounds = check_rounds(2000), i;

    memset(&wanted, 0, sizeof wanted);
    wanted.events = EPOLLIN | EPOLLET;
    EQ(epoll_ctl(set, EPOLL_CTL_ADD, descriptor(queue), &wanted), 0);
    told = 0;
    for (i = 0; i < rounds; i++) {
        OK(RtmDeregisterEntity(add(3)));
        while (LOAD(&told) < 2 * (i + 1)) {
            EQ(epoll_wait(set, &got, 1, 20000), 1);
            for (;;) {
                UINT done;
                OK(RtmxDispatchEvents(queue, 64, &done));
                if (done == 0)
                    break;
            }
        }
    }
    EQ(told, 2 * rounds);
    close(set);
    OK(RtmDeregisterEntity(listener));
    OK(RtmxDeleteEventQueue(queue));
}

/* --- Several entities, several tables --- */

static void shared_queue(void)
{
    RTMX_QUEUE_HANDLE queue = new_queue(), apart = new_queue();
    RTM_ENTITY_HANDLE a = add_listener(2, note, queue), b, c, alien = NULL;
    RTM_ENTITY_INFO info = make_info(7, TEST_INET6, 2);
    RTM_REGN_PROFILE profile;
    unsigned i, from_a = 0, from_b = 0;

    told = 0;
    OK(RtmxRegisterEntity(&info, NULL, note, FALSE, NULL, NULL, queue, &profile, &alien));
    b = add_listener(3, note, queue);
    dispatch(queue, 1);
    CHECK(notes[0].listener == a && notes[0].subject == b);
    c = add_listener(4, note, apart);
    dispatch(queue, 2);
    for (i = 1; i < 3; i++) {
        from_a += notes[i].listener == a;
        from_b += notes[i].listener == b;
        CHECK(notes[i].subject == c);
    }
    EQ(from_a, 1);
    EQ(from_b, 1);
    EQ(readable(apart, 0), 0);
    /* Each queue has its own. */
    OK(RtmDeregisterEntity(b));
    dispatch(apart, 1);
    CHECK(notes[3].listener == c && notes[3].subject == b);
    dispatch(queue, 1);
    CHECK(notes[4].listener == a && notes[4].subject == b);
    /* What a departed one has not been told it is not told any more. */
    OK(RtmDeregisterEntity(add(5)));
    EQ(readable(apart, 1), 1);
    OK(RtmDeregisterEntity(c));
    dispatch(queue, 3);
    OK(RtmxDispatchEvents(apart, 100, &i));
    EQ(i, 0);
    EQ(readable(apart, 0), 0);
    OK(RtmDeregisterEntity(a));
    EQ(RtmxDeleteEventQueue(queue), ERROR_BUSY);
    OK(RtmDeregisterEntity(alien));
    OK(RtmxDeleteEventQueue(queue));
    OK(RtmxDeleteEventQueue(apart));
}

/* --- When a queue is busy --- */

static RTMX_QUEUE_HANDLE the_queue;
static Gate inside = GATE, leave = GATE;

static DWORD WINAPI wait_inside(RTM_ENTITY_HANDLE own, RTM_EVENT_TYPE kind, PVOID subject, PVOID info)
{
    note(own, kind, subject, info);
    gate_open(&inside);
    gate_pass(&leave);
    return 0;
}

static void *dispatch_one(void *unused)
{
    UINT done = 0;
    while (done == 0) {
        EQ(readable(the_queue, 1), 1);
        OK(RtmxDispatchEvents(the_queue, 1, &done));
    }
    EQ(done, 1);
    return unused;
}

static void busy(void)
{
    RTM_ENTITY_HANDLE listener, other, silent = NULL;
    pthread_t thread;

    the_queue = new_queue();
    gate_close(&inside);
    gate_close(&leave);
    /* Without a callback it is not used. */
    OK(try_client(2, 0, NULL, NULL, the_queue, NULL, NULL, &silent));
    EQ(statistics().Listeners, 0);
    listener = add_listener(3, wait_inside, the_queue);
    EQ(RtmxDeleteEventQueue(the_queue), ERROR_BUSY);
    other = add(4);
    thread = start(dispatch_one, NULL);
    gate_pass(&inside);
    OK(RtmxDeregisterEntityLater(listener));
    EQ(RtmxDeleteEventQueue(the_queue), ERROR_BUSY);
    gate_open(&leave);
    join(thread);
    OK(RtmxFlush());
    OK(RtmxDeleteEventQueue(the_queue));
    OK(RtmDeregisterEntity(silent));
    OK(RtmDeregisterEntity(other));
}

/* --- Where dispatching is refused --- */

static unsigned tried;

static DWORD WINAPI dispatch_inside(RTM_ENTITY_HANDLE own, RTM_EVENT_TYPE kind, PVOID subject, PVOID info)
{
    RTMX_QUEUE_HANDLE another = new_queue();
    UINT done = 7;
    (void)own, (void)kind, (void)subject, (void)info;
    EQ(RtmxDispatchEvents(the_queue, 1, &done), ERROR_POSSIBLE_DEADLOCK);
    EQ(RtmxDispatchEvents(another, 1, &done), ERROR_POSSIBLE_DEADLOCK);
    EQ(done, 7);
    if (LOAD(&tried) == 0)
        EQ(RtmxDeleteEventQueue(the_queue), ERROR_BUSY);
    OK(RtmxDeleteEventQueue(another));
    ADD(&tried, 1);
    ADD(&told, 1);
    return 0;
}

static void refused(void)
{
    RTM_ENTITY_HANDLE listener, pooled;
    UINT done = 7;

    the_queue = new_queue();
    tried = 0;
    listener = add_listener(2, dispatch_inside, the_queue);
    pooled = add_listener(3, dispatch_inside, NULL);
    dispatch(the_queue, 1);
    EQ(tried, 1);
    /* On a thread of the pool. */
    OK(RtmDeregisterEntity(listener));
    AWAIT(LOAD(&tried) == 2);
    OK(RtmDeregisterEntity(pooled));

    OK(RtmxEnter());
    EQ(RtmxDispatchEvents(the_queue, 1, &done), ERROR_POSSIBLE_DEADLOCK);
    OK(RtmxLeave());
    EQ(done, 7);
    OK(RtmxDispatchEvents(the_queue, 1, &done));
    EQ(done, 0);
    OK(RtmxDeleteEventQueue(the_queue));
}

/* --- Several threads --- */

enum { LISTENERS = 8, THREADS = 4 };
static int in_callback[LISTENERS];
static unsigned heard[LISTENERS];
static uint64_t last_id[LISTENERS];
static RTM_ENTITY_HANDLE listeners[LISTENERS];
static int over;

static DWORD WINAPI serial(RTM_ENTITY_HANDLE own, RTM_EVENT_TYPE kind, PVOID subject, PVOID info)
{
    unsigned i = 0;
    while (listeners[i] != own)
        i++;
    EQ(SWAP(&in_callback[i], 1), 0);
    (void)subject;
    if (kind == RTM_ENTITY_REGISTERED) {
        CHECK_OP(((RTM_ENTITY_INFO *)info)->EntityId.EntityId, >, last_id[i]);
        last_id[i] = ((RTM_ENTITY_INFO *)info)->EntityId.EntityId;
    } else {
        EQ(kind, RTM_ENTITY_DEREGISTERED);
        EQ(((RTM_ENTITY_INFO *)info)->EntityId.EntityId, last_id[i]);
    }
    EQ(SWAP(&in_callback[i], 0), 1);
    ADD(&heard[i], 1);
    return 0;
}

static void *keep_dispatching(void *unused)
{
    while (!LOAD(&over)) {
        struct pollfd one = {descriptor(the_queue), POLLIN, 0};
        poll(&one, 1, 10);
        OK(RtmxDispatchEvents(the_queue, 5, NULL));
    }
    return unused;
}

static void together(void)
{
    RTM_ENTITY_INFO info = make_info(9, TEST_INET, 1);
    RTM_REGN_PROFILE profile;
    pthread_t threads[THREADS];
    unsigned long rounds = check_rounds(3000), i;

    the_queue = new_queue();
    for (i = 0; i < LISTENERS; i++)
        listeners[i] = NULL;
    for (i = 0; i < LISTENERS; i++) {
        info.EntityId.EntityId = i;
        OK(RtmxRegisterEntity(&info, NULL, serial, FALSE, NULL, NULL, the_queue, &profile, &listeners[i]));
    }
    /* They heard of each other: not counted. */
    for (;;) {
        unsigned sum = 0;
        UINT done;
        OK(RtmxDispatchEvents(the_queue, 100, &done));
        for (i = 0; i < LISTENERS; i++)
            sum += heard[i];
        if (sum == LISTENERS * (LISTENERS - 1) / 2)
            break;
        if (done == 0)
            EQ(readable(the_queue, 1), 1);
    }
    memset(heard, 0, sizeof heard);
    memset(last_id, 0, sizeof last_id);
    for (i = 0; i < THREADS; i++)
        threads[i] = start(keep_dispatching, NULL);
    for (i = 0; i < rounds; i++) {
        RTM_ENTITY_HANDLE one = NULL;
        info.EntityId.EntityId = 1000 + i;
        OK(RtmRegisterEntity(&info, NULL, NULL, FALSE, &profile, &one));
        OK(RtmDeregisterEntity(one));
    }
    for (i = 0; i < LISTENERS; i++)
        AWAIT(LOAD(&heard[i]) == 2 * rounds);
    STORE(&over, 1);
    for (i = 0; i < THREADS; i++)
        join(threads[i]);
    for (i = 0; i < LISTENERS; i++)
        OK(RtmDeregisterEntity(listeners[i]));
    OK(RtmxDeleteEventQueue(the_queue));
}

/* --- Threads that end inside --- */

static int ends_how;

static DWORD WINAPI end_thread(RTM_ENTITY_HANDLE own, RTM_EVENT_TYPE kind, PVOID subject, PVOID info)
{
    note(own, kind, subject, info);
    if (SWAP(&ends_how, 0) == 1)
        pthread_exit(&ends_how);
    cancel_here();
    return 0;
}

static void *dispatch_and_end(void *how)
{
    STORE(&ends_how, (int)(uintptr_t)how);
    for (;;) {
        EQ(readable(the_queue, 1), 1);
        RtmxDispatchEvents(the_queue, 10, NULL);
    }
    return NULL;
}

static void ending(void)
{
    int round;
    for (round = 0; round < 40; round++) {
        int how = 1 + round % 2;
        RTM_ENTITY_HANDLE other, listener;
        void *result;

        the_queue = new_queue();
        told = 0;
        listener = add_listener(2, end_thread, the_queue);
        other = add(3);
        OK(RtmDeregisterEntity(other));
        result = elsewhere(dispatch_and_end, (void *)(uintptr_t)how);
        CHECK(result == (how == 1 ? (void *)&ends_how : PTHREAD_CANCELED));
        EQ(told, 1);
        if (round % 4 < 2) {
            /* The next event is not lost. */
            elsewhere(dispatch_and_end, (void *)(uintptr_t)how);
            EQ(told, 2);
            EQ(notes[1].kind, RTM_ENTITY_DEREGISTERED);
        }
        OK(RtmDeregisterEntity(listener));
        OK(RtmxDeleteEventQueue(the_queue));
    }
}

/* --- Behind --- */

static UINT missed, registered;
static RTM_ENTITY_HANDLE seen_again[64];
static UINT seen_number;

static DWORD WINAPI lag(RTM_ENTITY_HANDLE own, RTM_EVENT_TYPE kind, PVOID subject, PVOID info)
{
    ADD(&told, 1);
    if (kind != RTMX_EVENTS_MISSED) {
        registered++;
        return 0;
    }
    missed++;
    CHECK(subject == NULL && info == NULL);
    /* Everything but waiting is allowed. */
    EQ(RtmxFlush(), ERROR_POSSIBLE_DEADLOCK);
    EQ(RtmxSynchronize(), ERROR_POSSIBLE_DEADLOCK);
    EQ(RtmxShutdown(), ERROR_POSSIBLE_DEADLOCK);
    seen_number = 64;
    OK(RtmGetRegisteredEntities(own, &seen_number, seen_again, NULL));
    OK(RtmReleaseEntities(own, seen_number, seen_again));
    OK(RtmDeregisterEntity(add(77)));
    return 0;
}

static unsigned diligent_heard;
static DWORD WINAPI diligent(RTM_ENTITY_HANDLE own, RTM_EVENT_TYPE kind, PVOID subject, PVOID info)
{
    (void)own, (void)subject, (void)info;
    NE(kind, RTMX_EVENTS_MISSED);
    ADD(&diligent_heard, 1);
    return 0;
}

static void behind(void)
{
    RTMX_QUEUE_HANDLE slow = new_queue(), quick = new_queue();
    RTM_ENTITY_HANDLE laggard, other, last;
    RTMX_LIMITS before, tiny;
    unsigned i;
    UINT done;

    OK(RtmxGetLimits(&before, sizeof before));
    tiny = before;
    tiny.MaxJournal = 16;
    OK(RtmxSetLimits(&tiny, sizeof tiny));
    /* A table of its own: the limit holds for those whose first callback comes after it. */
    check_instance = 30;
    laggard = add_listener(2, lag, slow);
    other = add_listener(3, diligent, quick);
    dispatch(slow, 1);
    told = missed = registered = 0;
    diligent_heard = 0;
    for (i = 0; i < 5000; i++) {
        unsigned wanted = 2 * (i + 1);
        OK(RtmDeregisterEntity(add(10)));
        while (diligent_heard < wanted) {
            EQ(readable(quick, 1), 1);
            OK(RtmxDispatchEvents(quick, 100, NULL));
        }
    }
    EQ(diligent_heard, 10000);
    last = add(11);
    EQ(statistics().EventsMissed, 0);
    do {
        EQ(readable(slow, 1), 1);
        OK(RtmxDispatchEvents(slow, 1, &done));
    } while (missed == 0);
    EQ(missed, 1);
    EQ(statistics().EventsMissed, 1);
    /* Whoever is there now was in the list, or is told. */
    for (i = 0; i < seen_number; i++)
        if (seen_again[i] == last)
            break;
    CHECK(i < seen_number);
    do {
        OK(RtmxDispatchEvents(slow, 100, &done));
        CHECK_OP(registered, <, 5000);
    } while (done);
    EQ(missed, 1);
    OK(RtmxSetLimits(&before, sizeof before));
    OK(RtmDeregisterEntity(last));
    OK(RtmDeregisterEntity(laggard));
    OK(RtmDeregisterEntity(other));
    OK(RtmxDeleteEventQueue(slow));
    OK(RtmxDeleteEventQueue(quick));
    check_instance = 0;
}

/* --- Shutdown takes queues with it --- */

static void shut_down(void)
{
    RTMX_QUEUE_HANDLE queue = new_queue();
    int fd = descriptor(queue);
    struct pollfd one = {fd, POLLIN, 0};
    OK(RtmDeregisterEntity(add_listener(2, note, queue)));
    OK(RtmxFlush());
    EQ(statistics().Live, 0);
    OK(RtmxShutdown());
    EQ(poll(&one, 1, 0), 1);
    EQ(one.revents, POLLNVAL);
    EQ(RtmxDispatchEvents(queue, 1, NULL), ERROR_INVALID_HANDLE);
    EQ(RtmxDeleteEventQueue(queue), ERROR_INVALID_HANDLE);
}

int main(void)
{
    self = add(1);
    handles();
    exhausted();
    budget();
    edges();
    shared_queue();
    busy();
    refused();
    together();
    ending();
    behind();
    OK(RtmDeregisterEntity(self));
    shut_down();
    return check_done("event_queues");
}
