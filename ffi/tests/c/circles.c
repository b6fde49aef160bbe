/*
 * Circles of waits that were not seen: through a thread that blocks methods and is in no client code itself;
 * and one that was seen where there was none: through a thread that ended, with another in its place.
 */
#include "check.h"

static RTM_ENTITY_HANDLE self, blocked, between;
static Gate inside_blocked = GATE, inside_between = GATE, go_second = GATE, go_third = GATE;
static DWORD second = 77, third = 77;
static pid_t blocker_tid, second_tid, third_tid;

static VOID WINAPI nothing(RTM_ENTITY_HANDLE caller, RTM_ENTITY_HANDLE own, RTM_ENTITY_METHOD_INPUT *input,
                           RTM_ENTITY_METHOD_OUTPUT *output)
{
    (void)caller, (void)own, (void)input;
    output->OutputSize = 0;
}

static VOID WINAPI deregister_between(RTM_ENTITY_HANDLE caller, RTM_ENTITY_HANDLE own,
                                      RTM_ENTITY_METHOD_INPUT *input, RTM_ENTITY_METHOD_OUTPUT *output)
{
    nothing(caller, own, input, output);
    gate_open(&inside_blocked);
    gate_pass(&go_second);
    STORE(&second_tid, own_tid());
    STORE(&second, RtmDeregisterEntity(between));
}

static VOID WINAPI invoke_blocked(RTM_ENTITY_HANDLE caller, RTM_ENTITY_HANDLE own, RTM_ENTITY_METHOD_INPUT *input,
                                  RTM_ENTITY_METHOD_OUTPUT *output)
{
    nothing(caller, own, input, output);
    gate_open(&inside_between);
    gate_pass(&go_third);
    STORE(&third_tid, own_tid());
    STORE(&third, invoke(self, blocked));
}

static void *run_blocked(void *unused)
{
    OK(invoke(self, blocked));
    return unused;
}

static void *run_between(void *unused)
{
    OK(invoke(self, between));
    return unused;
}

static void *block(void *unused)
{
    STORE(&blocker_tid, own_tid());
    OK(RtmBlockMethods(blocked, NULL, 0, RTM_BLOCK_METHODS));
    OK(RtmBlockMethods(blocked, NULL, 0, RTM_RESUME_METHODS));
    return unused;
}

/* The blocker waits for one inside, who deregisters an entity whose method waits for the blocker. */
static void through_a_blocker(void)
{
    pthread_t one, two, three;

    self = add(1);
    blocked = add_callee(2, deregister_between);
    between = add_callee(3, invoke_blocked);
    two = start(run_blocked, NULL);
    three = start(run_between, NULL);
    gate_pass(&inside_blocked);
    gate_pass(&inside_between);
    one = start(block, NULL);
    AWAIT(is_asleep(LOAD(&blocker_tid)));
    gate_open(&go_second);
    AWAIT(is_asleep(LOAD(&second_tid)));
    gate_open(&go_third);
    join(three);
    join(two);
    join(one);
    EQ(third, ERROR_POSSIBLE_DEADLOCK);
    EQ(second, NO_ERROR);
    OK(RtmDeregisterEntity(blocked));
}

/* --- Another thread in the same place --- */

static pthread_t blocker;
static int same_place;

static void *block_and_end(void *unused)
{
    OK(RtmBlockMethods(blocked, NULL, 0, RTM_BLOCK_METHODS));
    blocker = pthread_self();
    return unused;
}

static void *wait_for_it(void *unused)
{
    STORE(&same_place, pthread_equal(pthread_self(), blocker) ? 1 : 2);
    STORE(&third_tid, own_tid());
    OK(invoke(self, blocked));
    return unused;
}

static void in_the_place_of_a_blocker(void)
{
    unsigned same = 0, i;

    for (i = 0; i < 100 && !same; i++) {
        pthread_t waiter;
        blocked = add_callee(2, nothing);
        third_tid = 0;
        elsewhere(block_and_end, NULL);
        waiter = start(wait_for_it, NULL);
        AWAIT(is_asleep(LOAD(&third_tid)));
        same += LOAD(&same_place) == 1;
        OK(RtmBlockMethods(blocked, NULL, 0, RTM_RESUME_METHODS));
        join(waiter);
        OK(RtmDeregisterEntity(blocked));
    }
#if !defined __SANITIZE_ADDRESS__ && !defined __SANITIZE_THREAD__
    CHECK_OP(same, >, 0);
#endif
}

int main(void)
{
    through_a_blocker();
    in_the_place_of_a_blocker();
    OK(RtmDeregisterEntity(self));
    OK(RtmxShutdown());
    return check_done("circles");
}
