/* The header needs nothing before it, may come twice, and makes no warning. */
#include "rtmv2.h"
#include "rtmv2.h"

DWORD ask(RTM_ENTITY_HANDLE self, PRTM_ENTITY_INFO info);

DWORD ask(RTM_ENTITY_HANDLE self, PRTM_ENTITY_INFO info)
{
    info->EntityId.EntityProtocolId = 0;
    return RtmGetEntityInfo(self, self, info);
}
