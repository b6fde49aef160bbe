/*
 * A router's backend. Workers forward: they resolve the handles of sessions and never wait. The main thread has
 * the event loop: a timer, by which sessions restart under the workers' hands; the registry's event queue, which
 * says who has come and gone; and signals.
 *
 *   router [SECONDS]    how long, 1 if not given; SIGINT and SIGTERM end it earlier
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#define _GNU_SOURCE
#include <rtmv2.h>

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

enum { RIB_MANAGER = 1, BGP = 14 }; /* protocol ids */
enum { SESSIONS = 1024, WORKERS = 4, RESTARTS = 16 /* each millisecond */, BUDGET = 256, PATIENCE_MS = 10000 };

struct session {
    ULONG number; /* ~0 when it has been cleaned up */
    unsigned next_hop;
};

struct worker {
    pthread_t thread;
    unsigned number;
    unsigned long forwarded, refused, wrong;
};

static RTM_ENTITY_HANDLE mine[SESSIONS];         /* the main thread's: what it has registered */
static _Atomic(RTM_ENTITY_HANDLE) fib[SESSIONS]; /* the workers': what the events have said */
static atomic_bool stopping;
static atomic_ulong cleaned_up;
static unsigned long registered, events, missed;

static void fail(const char *what, const char *why)
{
    fprintf(stderr, "router: %s: %s\n", what, why);
    exit(1);
}

static void must(DWORD code, const char *what)
{
    if (code != NO_ERROR)
        fail(what, RtmxErrorText(code));
}

static int must_be_open(int descriptor, const char *what)
{
    if (descriptor < 0)
        fail(what, strerror(errno));
    return descriptor;
}

/* --- Sessions --- */

static VOID clean_up(PVOID context)
{
    struct session *session = context;
    session->number = ~0u;
    free(session);
    atomic_fetch_add(&cleaned_up, 1);
}

static void start_session(ULONG number)
{
    RTM_ENTITY_INFO info = {
        .AddressFamily = AF_INET,
        .EntityId = {.EntityProtocolId = BGP, .EntityInstanceId = number},
    };
    RTM_REGN_PROFILE profile;
    struct session *session = malloc(sizeof *session);
    if (!session)
        fail("malloc", strerror(errno));
    session->number = number;
    session->next_hop = 2 * number;
    must(RtmxRegisterEntity(&info, NULL, NULL, FALSE, session, clean_up, NULL, &profile, &mine[number]),
         "register");
    registered++;
}

static void stop_session(ULONG number)
{
    /* Workers may have it in their hands: it is cleaned up after the last of them has left. */
    must(RtmDeregisterEntity(mine[number]), "deregister");
    mine[number] = NULL;
}

/* --- Workers --- */

static void forward(struct worker *me, ULONG number)
{
    PVOID found;
    DWORD code = RtmxGetContext(atomic_load_explicit(&fib[number], memory_order_relaxed), &found);
    if (code == NO_ERROR) {
        const struct session *session = found;
        if (session->number == number && session->next_hop == 2 * number)
            me->forwarded++;
        else
            me->wrong++;
    } else if (code == ERROR_INVALID_HANDLE) {
        me->refused++; /* it has gone, or is not there yet */
    } else {
        me->wrong++;
    }
}

static void *work(void *argument)
{
    struct worker *me = argument;
    unsigned random = me->number;
    while (!atomic_load_explicit(&stopping, memory_order_relaxed)) {
        /* A section for a batch costs less than one for each; one for ever would keep memory from reuse. */
        must(RtmxEnter(), "enter");
        for (int i = 0; i < 64; i++) {
            random = random * 1664525 + 1013904223;
            forward(me, random >> 16 & (SESSIONS - 1));
        }
        must(RtmxLeave(), "leave");
    }
    return NULL;
}

/* --- Events --- */

static void note(const RTM_ENTITY_INFO *info, RTM_ENTITY_HANDLE handle)
{
    const RTM_ENTITY_ID *id = &info->EntityId;
    if (id->EntityProtocolId == BGP && id->EntityInstanceId < SESSIONS)
        atomic_store(&fib[id->EntityInstanceId], handle);
}

/* Whoever is there: at the start, and when events were missed. */
static void enumerate(RTM_ENTITY_HANDLE self)
{
    enum { ROOM = SESSIONS + 1 };
    static RTM_ENTITY_HANDLE handles[ROOM];
    static RTM_ENTITY_INFO infos[ROOM];
    UINT number = ROOM;
    must(RtmGetRegisteredEntities(self, &number, handles, infos), "enumerate");
    for (int i = 0; i < SESSIONS; i++)
        atomic_store(&fib[i], NULL);
    for (UINT i = 0; i < number; i++)
        note(&infos[i], handles[i]);
    /* A handle stays good without a reference: that of one who has gone is refused for ever. */
    must(RtmReleaseEntities(self, number, handles), "release");
}

/* The main thread's, inside RtmxDispatchEvents. */
static DWORD on_event(RTM_ENTITY_HANDLE self, RTM_EVENT_TYPE type, PVOID other, PVOID info)
{
    events++;
    if (type == RTM_ENTITY_REGISTERED) {
        note(info, other);
    } else if (type == RTM_ENTITY_DEREGISTERED) {
        note(info, NULL);
    } else if (type == RTMX_EVENTS_MISSED) {
        missed++;
        enumerate(self);
    }
    return NO_ERROR;
}

static RTM_ENTITY_HANDLE start_manager(RTMX_QUEUE_HANDLE queue)
{
    RTM_ENTITY_INFO info = {.AddressFamily = AF_INET, .EntityId = {.EntityProtocolId = RIB_MANAGER}};
    RTM_REGN_PROFILE profile;
    RTM_ENTITY_HANDLE self;
    must(RtmxRegisterEntity(&info, NULL, on_event, FALSE, NULL, NULL, queue, &profile, &self), "register");
    enumerate(self); /* after registering: who comes in between shows twice, and nobody never */
    return self;
}

/* Events come soon, not at once. */
static void wait_until_told(RTMX_QUEUE_HANDLE queue, int descriptor)
{
    for (int waited = 0; waited < PATIENCE_MS; waited++) {
        int same = 0;
        struct pollfd readable = {.fd = descriptor, .events = POLLIN};
        while (same < SESSIONS && atomic_load(&fib[same]) == mine[same])
            same++;
        if (same == SESSIONS)
            return;
        if (poll(&readable, 1, 1) < 0 && errno != EINTR)
            fail("poll", strerror(errno));
        must(RtmxDispatchEvents(queue, BUDGET, NULL), "dispatch");
    }
    fail("events", "they do not say what there is");
}

/* --- The loop --- */

static void watch(int loop, int descriptor)
{
    struct epoll_event interest = {.events = EPOLLIN, .data = {.fd = descriptor}};
    if (epoll_ctl(loop, EPOLL_CTL_ADD, descriptor, &interest) < 0)
        fail("epoll_ctl", strerror(errno));
}

/* To be called before threads are started, which are to block the signals too. */
static int open_signals(void)
{
    sigset_t ending;
    sigemptyset(&ending);
    sigaddset(&ending, SIGINT);
    sigaddset(&ending, SIGTERM);
    if (pthread_sigmask(SIG_BLOCK, &ending, NULL) != 0)
        fail("pthread_sigmask", "refused");
    return must_be_open(signalfd(-1, &ending, SFD_CLOEXEC), "signalfd");
}

static int open_timer(void)
{
    struct itimerspec each_ms = {.it_interval = {.tv_nsec = 1000000}, .it_value = {.tv_nsec = 1000000}};
    int timer = must_be_open(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC), "timerfd_create");
    if (timerfd_settime(timer, 0, &each_ms, NULL) < 0)
        fail("timerfd_settime", strerror(errno));
    return timer;
}

static void run(RTMX_QUEUE_HANDLE queue, int descriptor, int signals, uint64_t milliseconds)
{
    int loop = must_be_open(epoll_create1(EPOLL_CLOEXEC), "epoll_create1");
    int timer = open_timer();
    uint64_t passed = 0;
    ULONG next = 0;
    bool ended = false;
    watch(loop, descriptor);
    watch(loop, signals);
    watch(loop, timer);
    while (!ended && passed < milliseconds) {
        struct epoll_event ready[3];
        int number = epoll_wait(loop, ready, 3, -1);
        if (number < 0 && errno != EINTR)
            fail("epoll_wait", strerror(errno));
        for (int i = 0; i < number; i++) {
            if (ready[i].data.fd == descriptor) {
                /* What the budget leaves keeps the descriptor readable. */
                must(RtmxDispatchEvents(queue, BUDGET, NULL), "dispatch");
            } else if (ready[i].data.fd == timer) {
                uint64_t ticks;
                if (read(timer, &ticks, sizeof ticks) != sizeof ticks)
                    fail("timer", strerror(errno));
                passed += ticks;
                for (int restart = 0; restart < RESTARTS; restart++) {
                    next = (next + 1) % SESSIONS;
                    stop_session(next);
                    start_session(next);
                }
            } else {
                ended = true;
            }
        }
    }
    close(timer);
    close(loop);
}

int main(int argc, char **argv)
{
    double seconds = argc > 1 ? atof(argv[1]) : 1;
    struct worker workers[WORKERS];
    unsigned long forwarded = 0, refused = 0, wrong = 0;
    RTMX_LIMITS limits;
    RTMX_STATISTICS now;
    RTMX_QUEUE_HANDLE queue;
    RTM_ENTITY_HANDLE manager;
    int descriptor, signals = open_signals();

    /* A short memory for events: the loop begins with more sessions than that, so that it misses some. */
    must(RtmxGetLimits(&limits, sizeof limits), "limits");
    limits.MaxJournal = SESSIONS / 2;
    must(RtmxSetLimits(&limits, sizeof limits), "limits");

    must(RtmxCreateEventQueue(&queue), "event queue");
    must(RtmxGetEventQueueDescriptor(queue, &descriptor), "descriptor");
    manager = start_manager(queue);
    for (ULONG i = 0; i < SESSIONS; i++)
        start_session(i);
    for (unsigned i = 0; i < WORKERS; i++) {
        workers[i] = (struct worker){.number = i};
        if (pthread_create(&workers[i].thread, NULL, work, &workers[i]) != 0)
            fail("pthread_create", "refused");
    }

    run(queue, descriptor, signals, (uint64_t)(seconds * 1000));
    wait_until_told(queue, descriptor);

    /* Under the workers' hands to the last. */
    for (ULONG i = 0; i < SESSIONS; i++)
        stop_session(i);
    wait_until_told(queue, descriptor);
    atomic_store(&stopping, true);
    for (unsigned i = 0; i < WORKERS; i++) {
        if (pthread_join(workers[i].thread, NULL) != 0)
            fail("pthread_join", "refused");
        forwarded += workers[i].forwarded;
        refused += workers[i].refused;
        wrong += workers[i].wrong;
    }
    must(RtmDeregisterEntity(manager), "deregister");
    must(RtmxFlush(), "flush");
    must(RtmxDeleteEventQueue(queue), "delete the queue");
    must(RtmxGetStatistics(&now, sizeof now), "statistics");
    must(RtmxShutdown(), "shut down");
    close(signals);

    printf("router: %lu sessions started, %lu cleaned up; %lu events, %lu times some missed; "
           "%lu packets forwarded, %lu refused, %lu wrong\n",
           registered, atomic_load(&cleaned_up), events, missed, forwarded, refused, wrong);
    return wrong == 0 && forwarded > 0 && cleaned_up == registered && now.Live == 0 && now.Retired == 0 ? 0 : 1;
}
