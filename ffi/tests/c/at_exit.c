/*
 * Bug: RtmxShutdown in a destructor of the program waited for ever for cleanups that the process's exit
 * had stopped.
 */
#include "check.h"

static RTM_ENTITY_HANDLE last;
static int cleaned_at_exit;

static VOID WINAPI note(PVOID context)
{
    (void)context;
    ADD(&cleaned_at_exit, 1);
}

__attribute__((destructor)) static void fini(void)
{
    if (last == NULL)
        return;
    if (RtmDeregisterEntity(last) != NO_ERROR || RtmxShutdown() != NO_ERROR)
        _exit(3);
    if (LOAD(&cleaned_at_exit) != 1)
        _exit(4);
}

int main(void)
{
    RTM_ENTITY_INFO info;
    RTM_REGN_PROFILE profile;
    memset(&info, 0, sizeof info);
    info.AddressFamily = TEST_INET;
    info.EntityId.EntityId = 1;
    OK(RtmxRegisterEntity(&info, NULL, NULL, FALSE, NULL, note, NULL, &profile, &last));
    return check_done("at_exit");
}
