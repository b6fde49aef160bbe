/*
 * A protocol in a module of its own, which a host loads and unloads while it is in use. Link it with librtm.so,
 * which stays when the module goes; not with librtm.a.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include "plugin.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define EXPORT __attribute__((visibility("default")))

struct protocol {
    atomic_uint seen;
};

static RTM_ENTITY_HANDLE self;

/* On a thread of the library's. The protocol's state stays while one of its callbacks or methods runs. */
static DWORD on_event(RTM_ENTITY_HANDLE own, RTM_EVENT_TYPE type, PVOID other, PVOID info)
{
    PVOID found;
    (void)other, (void)info;
    if (type != RTM_ENTITY_REGISTERED || RtmxEnter() != NO_ERROR)
        return NO_ERROR;
    if (RtmxGetContext(own, &found) == NO_ERROR) /* otherwise it is being deregistered */
        atomic_fetch_add(&((struct protocol *)found)->seen, 1);
    RtmxLeave();
    return NO_ERROR;
}

/* On the invoker's thread, on many at once. */
static VOID seen(RTM_ENTITY_HANDLE caller, RTM_ENTITY_HANDLE own, RTM_ENTITY_METHOD_INPUT *in,
                 RTM_ENTITY_METHOD_OUTPUT *out)
{
    UINT room = out->OutputSize;
    PVOID found = NULL;
    (void)caller, (void)in;
    out->OutputSize = 0;
    out->MethodStatus = RtmxEnter();
    if (out->MethodStatus != NO_ERROR)
        return;
    out->MethodStatus = RtmxGetContext(own, &found);
    if (out->MethodStatus == NO_ERROR && room < sizeof(unsigned))
        out->MethodStatus = ERROR_INSUFFICIENT_BUFFER;
    if (out->MethodStatus == NO_ERROR) {
        const unsigned answer = atomic_load(&((struct protocol *)found)->seen);
        memcpy(out->OutputData, &answer, sizeof answer);
        out->OutputSize = sizeof answer;
    }
    RtmxLeave();
}

/* Code of this module too: why the host flushes before it unloads. */
static VOID clean_up(PVOID context)
{
    free(context);
}

EXPORT plugin_start_function plugin_start;
EXPORT plugin_stop_function plugin_stop;

DWORD plugin_start(RTM_ENTITY_HANDLE *handle)
{
    RTM_ENTITY_INFO info = {.AddressFamily = AF_INET, .EntityId = {.EntityProtocolId = 13}};
    RTM_ENTITY_EXPORT_METHODS methods = {.NumMethods = 1, .Methods = {seen}};
    RTM_REGN_PROFILE profile;
    struct protocol *state = malloc(sizeof *state);
    DWORD code;
    if (!state)
        return ERROR_NOT_ENOUGH_MEMORY;
    atomic_init(&state->seen, 0);
    code = RtmxRegisterEntity(&info, &methods, on_event, FALSE, state, clean_up, NULL, &profile, &self);
    if (code == NO_ERROR)
        *handle = self;
    else
        free(state);
    return code;
}

/* Waits for callbacks and methods that run. A protocol with threads of its own joins them here. */
DWORD plugin_stop(void)
{
    return RtmDeregisterEntity(self);
}
