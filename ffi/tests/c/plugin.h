/* What plugin.c gives to the client it loads, which is linked with nothing. */
#ifndef RTM_TEST_PLUGIN_H
#define RTM_TEST_PLUGIN_H

#include "rtmv2.h"

typedef struct {
    DWORD (*register_entity)(PRTM_ENTITY_INFO, PRTM_ENTITY_EXPORT_METHODS, RTM_EVENT_CALLBACK, BOOL, PVOID,
                             RTMX_CLEANUP, RTMX_QUEUE_HANDLE, PRTM_REGN_PROFILE, PRTM_ENTITY_HANDLE);
    DWORD (*deregister_entity)(RTM_ENTITY_HANDLE);
    DWORD (*get_info)(RTM_ENTITY_HANDLE, RTM_ENTITY_HANDLE, PRTM_ENTITY_INFO);
    /* Called by its callback, its method and its cleanup. */
    void (*heard)(void);
    void (*invoked)(void);
    void (*cleaned)(void);
} Host;

/* Both give a code. */
typedef DWORD (*Begin)(const Host *host, ULONGLONG id, PRTM_ENTITY_HANDLE handle);
typedef DWORD (*End)(void);

#endif
