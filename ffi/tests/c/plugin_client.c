/* A client in a shared object of its own, whose code and data vanish when it is unloaded. */
#include "plugin.h"

#include <stddef.h>
#include <string.h>

#ifdef __cplusplus
#define EXPORT extern "C" __attribute__((visibility("default")))
#else
#define EXPORT __attribute__((visibility("default")))
#endif

static const Host *host;
static RTM_ENTITY_HANDLE self;
static struct {
    unsigned alive;
    unsigned events, methods;
} state = {0x600d, 0, 0};

static void check(void)
{
    if (__atomic_load_n(&state.alive, __ATOMIC_SEQ_CST) != 0x600d)
        __builtin_trap();
}

static DWORD WINAPI on_event(RTM_ENTITY_HANDLE own, RTM_EVENT_TYPE kind, PVOID subject, PVOID info)
{
    (void)own, (void)kind, (void)subject, (void)info;
    check();
    __atomic_fetch_add(&state.events, 1, __ATOMIC_SEQ_CST);
    host->heard();
    check();
    return 0;
}

static VOID WINAPI on_invoke(RTM_ENTITY_HANDLE caller, RTM_ENTITY_HANDLE own, RTM_ENTITY_METHOD_INPUT *input,
                             RTM_ENTITY_METHOD_OUTPUT *output)
{
    RTM_ENTITY_INFO info;
    (void)input;
    check();
    __atomic_fetch_add(&state.methods, 1, __ATOMIC_SEQ_CST);
    if (host->get_info(caller, own, &info) != NO_ERROR)
        output->MethodStatus = ERROR_INVALID_HANDLE; /* it is being deregistered */
    output->OutputSize = 0;
    host->invoked();
    check();
}

static VOID WINAPI on_cleanup(PVOID context)
{
    if (context != &state)
        __builtin_trap();
    check();
    state.alive = 0xdead;
    host->cleaned();
}

EXPORT DWORD begin(const Host *given, ULONGLONG id, PRTM_ENTITY_HANDLE handle)
{
    RTM_ENTITY_INFO info;
    RTM_REGN_PROFILE profile;
    RTM_ENTITY_EXPORT_METHODS methods;
    DWORD code;

    host = given;
    memset(&info, 0, sizeof info);
    info.AddressFamily = 2;
    info.EntityId.EntityId = id;
    methods.NumMethods = 1;
    methods.Methods[0] = on_invoke;
    code = host->register_entity(&info, &methods, on_event, FALSE, &state, on_cleanup, NULL, &profile, &self);
    *handle = self;
    return code;
}

EXPORT DWORD end(void)
{
    return host->deregister_entity(self);
}
