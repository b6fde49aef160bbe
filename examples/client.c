/*
 * The life of one entity: it registers with a routing table, is found by its handle, and goes.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include <rtmv2.h>

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

struct ospf {
    unsigned areas;
};

static int cleaned_up;

/* Called once, when nobody can have the state any more; often by a thread of the library. */
static VOID clean_up(PVOID state)
{
    free(state);
    cleaned_up++;
}

static void must(DWORD code, const char *what)
{
    if (code == NO_ERROR)
        return;
    fprintf(stderr, "%s: %s\n", what, RtmxErrorText(code));
    exit(1);
}

int main(void)
{
    RTM_ENTITY_INFO info = {.AddressFamily = AF_INET, .EntityId = {.EntityProtocolId = 13}};
    RTM_REGN_PROFILE profile;
    RTM_ENTITY_HANDLE handle;
    PVOID found;
    struct ospf *state = malloc(sizeof *state);
    unsigned areas;

    if (!state)
        must(ERROR_NOT_ENOUGH_MEMORY, "malloc");
    state->areas = 3;
    must(RtmxRegisterEntity(&info, NULL, NULL, FALSE, state, clean_up, NULL, &profile, &handle), "register");

    /* Any thread that has the handle does this, at any time. What it finds stays valid until it leaves. */
    must(RtmxEnter(), "enter");
    must(RtmxGetContext(handle, &found), "look up");
    areas = ((struct ospf *)found)->areas;
    must(RtmxLeave(), "leave");

    must(RtmDeregisterEntity(handle), "deregister"); /* nobody new finds it ... */
    must(RtmxFlush(), "flush");                      /* ... and nobody has it any more */
    if (areas != 3 || cleaned_up != 1 || RtmDeregisterEntity(handle) != ERROR_INVALID_HANDLE) {
        fprintf(stderr, "%u areas, cleaned up %d times\n", areas, cleaned_up);
        return 1;
    }
    printf("ospf had %u areas and has gone\n", areas);
    return 0;
}
