/* Methods, callbacks and cleanup functions that fork: the child comes back into the library, and out of it. */
#include "check.h"

static RTM_ENTITY_HANDLE self;
static pid_t child = -1;
static unsigned calls;

/* The child ends where it comes out of the library, with this. */
enum { CAME_BACK = 42 };

static void fork_here(void)
{
    pid_t pid = fork();
    ADD(&calls, 1);
    CHECK(pid >= 0);
    if (pid == 0) {
        alarm(20);
        if (LOAD(&calls) > 1)
            _exit(1);
    }
    STORE(&child, pid);
}

static void await_child(int code)
{
    int status = -1;
    AWAIT(LOAD(&child) > 0);
    EQ(waitpid(child, &status, 0), child);
    CHECK(WIFEXITED(status));
    EQ(WEXITSTATUS(status), code);
    child = -1;
    calls = 0;
}

static VOID WINAPI fork_in_method(RTM_ENTITY_HANDLE caller, RTM_ENTITY_HANDLE own, RTM_ENTITY_METHOD_INPUT *input,
                                  RTM_ENTITY_METHOD_OUTPUT *output)
{
    (void)caller, (void)own, (void)input;
    output->OutputSize = 0;
    fork_here();
}

static DWORD WINAPI fork_in_callback(RTM_ENTITY_HANDLE own, RTM_EVENT_TYPE kind, PVOID subject, PVOID info)
{
    (void)own, (void)subject, (void)info;
    if (kind == RTM_ENTITY_REGISTERED)
        fork_here();
    return 0;
}

static VOID WINAPI fork_in_cleanup(PVOID context)
{
    (void)context;
    fork_here();
}

static void in_a_method(void)
{
    RTM_ENTITY_HANDLE callee = add_callee(2, fork_in_method);
    DWORD code = invoke(self, callee);
    if (child == 0)
        _exit(code == ERROR_INVALID_STATE ? CAME_BACK : 2);
    OK(code);
    await_child(CAME_BACK);
    OK(RtmDeregisterEntity(callee));
}

static void in_a_callback(void)
{
    RTMX_QUEUE_HANDLE queue = NULL;
    RTM_ENTITY_HANDLE listener, other;
    DWORD code = NO_ERROR;
    OK(RtmxCreateEventQueue(&queue));
    listener = add_listener(3, fork_in_callback, queue);
    other = add(4);
    while (calls == 0)
        code = RtmxDispatchEvents(queue, 8, NULL);
    if (child == 0)
        _exit(code == ERROR_INVALID_STATE ? CAME_BACK : 2);
    OK(code);
    await_child(CAME_BACK);
    OK(RtmDeregisterEntity(listener));
    OK(RtmDeregisterEntity(other));
    OK(RtmxFlush());
    OK(RtmxDeleteEventQueue(queue));
}

/* On threads of the library: they end in the child, and it with them. */
static void on_our_threads(void)
{
    RTM_ENTITY_HANDLE listener = add_listener(3, fork_in_callback, NULL), other = add(4);
    await_child(0);
    OK(RtmDeregisterEntity(listener));
    OK(RtmDeregisterEntity(other));
    OK(RtmDeregisterEntity(add_with(5, NULL, fork_in_cleanup)));
    await_child(0);
    OK(RtmxFlush());
}

int main(void)
{
    self = add(1);
    in_a_method();
    in_a_callback();
    on_our_threads();
    OK(RtmDeregisterEntity(self));
    OK(RtmxShutdown());
    return check_done("forking_client");
}
