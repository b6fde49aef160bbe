/* Client code that enters a read section and does not leave it: others were run inside of it. */
#include "check.h"

static RTM_ENTITY_HANDLE self;
static RTMX_QUEUE_HANDLE queue;
static unsigned entered, seen, dispatched;

static DWORD WINAPI enter_only(RTM_ENTITY_HANDLE own, RTM_EVENT_TYPE kind, PVOID subject, PVOID info)
{
    (void)own, (void)kind, (void)subject, (void)info;
    OK(RtmxEnter());
    ADD(&entered, 1);
    return 0;
}

static DWORD WINAPI look(RTM_ENTITY_HANDLE own, RTM_EVENT_TYPE kind, PVOID subject, PVOID info)
{
    (void)own, (void)kind, (void)subject, (void)info;
    EQ(RtmxLeave(), ERROR_NOT_LOCKED);
    ADD(&seen, 1);
    return 0;
}

/* On the library's threads the section ends with the callback. */
static void on_the_pool(void)
{
    RTMX_LIMITS limits;
    RTM_ENTITY_HANDLE one, other;
    unsigned i;

    OK(RtmxGetLimits(&limits, sizeof limits));
    limits.IdleEventThreads = limits.MaxEventThreads = 1;
    OK(RtmxSetLimits(&limits, sizeof limits));
    one = add_listener(2, enter_only, NULL);
    other = add_listener(3, look, NULL);
    for (i = 0; i < 50; i++)
        OK(RtmDeregisterEntity(add(4)));
    AWAIT(LOAD(&entered) >= 100 && LOAD(&seen) >= 100);
    OK(RtmDeregisterEntity(one));
    OK(RtmDeregisterEntity(other));
    AWAIT(statistics().Inside == 0);
    OK(RtmxFlush());
}

static VOID WINAPI dispatch(RTM_ENTITY_HANDLE caller, RTM_ENTITY_HANDLE own, RTM_ENTITY_METHOD_INPUT *input,
                            RTM_ENTITY_METHOD_OUTPUT *output)
{
    UINT ran = 7;
    (void)caller, (void)own, (void)input;
    output->OutputSize = 0;
    OK(RtmxEnter());
    EQ(RtmxDispatchEvents(queue, 8, &ran), ERROR_POSSIBLE_DEADLOCK);
    EQ(ran, 7);
    OK(RtmxLeave());
    ADD(&dispatched, 1);
}

static VOID WINAPI dispatch_in_cleanup(PVOID context)
{
    UINT ran = 7;
    (void)context;
    OK(RtmxEnter());
    EQ(RtmxDispatchEvents(queue, 8, &ran), ERROR_POSSIBLE_DEADLOCK);
    EQ(ran, 7);
    OK(RtmxLeave());
    ADD(&dispatched, 1);
}

/* Dispatching goes no further than the callback that stays inside, and is refused inside anything. */
static void on_a_queue(void)
{
    RTM_ENTITY_HANDLE one, callee;
    UINT ran = 0;

    OK(RtmxCreateEventQueue(&queue));
    one = add_listener(2, enter_only, queue);
    entered = 0;
    OK(RtmDeregisterEntity(add(4)));
    while (entered == 0)
        OK(RtmxDispatchEvents(queue, 8, &ran));
    EQ(ran, 1);
    EQ(RtmxDispatchEvents(queue, 8, &ran), ERROR_POSSIBLE_DEADLOCK);
    EQ(entered, 1);
    OK(RtmxLeave());
    EQ(RtmxLeave(), ERROR_NOT_LOCKED);
    callee = add_callee(5, dispatch);
    OK(invoke(self, callee));
    EQ(dispatched, 1);
    OK(RtmDeregisterEntity(add_with(6, NULL, dispatch_in_cleanup)));
    OK(RtmxFlush());
    EQ(LOAD(&dispatched), 2);
    OK(RtmDeregisterEntity(callee));
    OK(RtmDeregisterEntity(one));
    OK(RtmxFlush());
    OK(RtmxDeleteEventQueue(queue));
}

int main(void)
{
    self = add(1);
    on_the_pool();
    on_a_queue();
    OK(RtmDeregisterEntity(self));
    OK(RtmxShutdown());
    return check_done("open_sections");
}
