/* Sizes, offsets, values and prototypes: what a client was compiled against must be what is there. */
#include "check.h"

#include <stddef.h>

#define LAYOUT(type, size, align)                                                                   \
    do {                                                                                            \
        EQ(sizeof(type), size);                                                                     \
        EQ(__alignof__(type), align);                                                               \
    } while (0)
#define FIELD(type, field, offset, size)                                                            \
    do {                                                                                            \
        EQ(offsetof(type, field), offset);                                                          \
        EQ(sizeof(((type *)0)->field), size);                                                       \
    } while (0)

static void basic_types(void)
{
    LAYOUT(DWORD, 4, 4);
    LAYOUT(INT, 4, 4);
    LAYOUT(UINT, 4, 4);
    LAYOUT(ULONG, 4, 4);
    LAYOUT(BOOL, 4, 4);
    LAYOUT(USHORT, 2, 2);
    LAYOUT(UCHAR, 1, 1);
    LAYOUT(ULONGLONG, 8, 8);
    LAYOUT(PVOID, 8, 8);
    LAYOUT(HANDLE, 8, 8);
    LAYOUT(RTM_ENTITY_HANDLE, 8, 8);
    LAYOUT(RTMX_READER_HANDLE, 8, 8);
    LAYOUT(RTM_EVENT_CALLBACK, 8, 8);
    LAYOUT(RTM_ENTITY_EXPORT_METHOD, 8, 8);
    LAYOUT(RTMX_CLEANUP, 8, 8);
    LAYOUT(RTMX_LOG, 8, 8);
    LAYOUT(RTM_VIEW_SET, 4, 4);
    LAYOUT(RTM_ENTITY_METHOD_TYPE, 4, 4);
    LAYOUT(RTM_EVENT_TYPE, 4, 4);
    /* Signedness. */
    CHECK((DWORD)-1 > 0 && (UINT)-1 > 0 && (ULONG)-1 > 0 && (USHORT)-1 > 0 && (UCHAR)-1 > 0);
    CHECK((INT)-1 < 0 && (BOOL)-1 < 0 && (ULONGLONG)-1 > 0);
}

static void structures(void)
{
    RTM_ENTITY_ID id;

    LAYOUT(RTM_REGN_PROFILE, 16, 4);
    FIELD(RTM_REGN_PROFILE, MaxNextHopsInRoute, 0, 4);
    FIELD(RTM_REGN_PROFILE, MaxHandlesInEnum, 4, 4);
    FIELD(RTM_REGN_PROFILE, ViewsSupported, 8, 4);
    FIELD(RTM_REGN_PROFILE, NumberOfViews, 12, 4);

    LAYOUT(RTM_ENTITY_ID, 8, 8);
    FIELD(RTM_ENTITY_ID, EntityProtocolId, 0, 4);
    FIELD(RTM_ENTITY_ID, EntityInstanceId, 4, 4);
    FIELD(RTM_ENTITY_ID, EntityId, 0, 8);
    id.EntityProtocolId = 8;
    id.EntityInstanceId = 0x3FFF0008;
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    EQ(id.EntityId, 0x3FFF000800000008u);
#endif

    LAYOUT(RTM_ENTITY_INFO, 16, 8);
    FIELD(RTM_ENTITY_INFO, RtmInstanceId, 0, 2);
    FIELD(RTM_ENTITY_INFO, AddressFamily, 2, 2);
    FIELD(RTM_ENTITY_INFO, EntityId, 8, 8);

    LAYOUT(RTM_ENTITY_METHOD_INPUT, 12, 4);
    FIELD(RTM_ENTITY_METHOD_INPUT, MethodType, 0, 4);
    FIELD(RTM_ENTITY_METHOD_INPUT, InputSize, 4, 4);
    FIELD(RTM_ENTITY_METHOD_INPUT, InputData, 8, 1);

    LAYOUT(RTM_ENTITY_METHOD_OUTPUT, 16, 4);
    FIELD(RTM_ENTITY_METHOD_OUTPUT, MethodType, 0, 4);
    FIELD(RTM_ENTITY_METHOD_OUTPUT, MethodStatus, 4, 4);
    FIELD(RTM_ENTITY_METHOD_OUTPUT, OutputSize, 8, 4);
    FIELD(RTM_ENTITY_METHOD_OUTPUT, OutputData, 12, 1);

    LAYOUT(RTM_ENTITY_EXPORT_METHODS, 16, 8);
    FIELD(RTM_ENTITY_EXPORT_METHODS, NumMethods, 0, 4);
    FIELD(RTM_ENTITY_EXPORT_METHODS, Methods, 8, 8);

    /* The extensions' structures may grow; what is there may not move. */
    CHECK_OP(sizeof(RTMX_STATISTICS), >=, 144);
    EQ(__alignof__(RTMX_STATISTICS), 8);
    FIELD(RTMX_STATISTICS, Live, 0, 8);
    FIELD(RTMX_STATISTICS, Referenced, 8, 8);
    FIELD(RTMX_STATISTICS, Retired, 16, 8);
    FIELD(RTMX_STATISTICS, RetiredPeak, 24, 8);
    FIELD(RTMX_STATISTICS, Reclaimed, 32, 8);
    FIELD(RTMX_STATISTICS, Registered, 40, 8);
    FIELD(RTMX_STATISTICS, Deregistered, 48, 8);
    FIELD(RTMX_STATISTICS, ExhaustedSlots, 56, 8);
    FIELD(RTMX_STATISTICS, Chunks, 64, 8);
    FIELD(RTMX_STATISTICS, Bytes, 72, 8);
    FIELD(RTMX_STATISTICS, IndexBytes, 80, 8);
    FIELD(RTMX_STATISTICS, Tables, 88, 8);
    FIELD(RTMX_STATISTICS, Inside, 96, 8);
    FIELD(RTMX_STATISTICS, Events, 104, 8);
    FIELD(RTMX_STATISTICS, EventsMissed, 112, 8);
    FIELD(RTMX_STATISTICS, Listeners, 120, 8);
    FIELD(RTMX_STATISTICS, EventThreads, 128, 8);
    FIELD(RTMX_STATISTICS, EventQueues, 136, 8);

    CHECK_OP(sizeof(RTMX_LIMITS), >=, 40);
    EQ(__alignof__(RTMX_LIMITS), 8);
    FIELD(RTMX_LIMITS, MaxEntities, 0, 4);
    FIELD(RTMX_LIMITS, MaxInstances, 4, 4);
    FIELD(RTMX_LIMITS, MaxReferences, 8, 4);
    FIELD(RTMX_LIMITS, MaxOpaquePointers, 12, 4);
    FIELD(RTMX_LIMITS, MaxBacklog, 16, 8);
    FIELD(RTMX_LIMITS, MaxJournal, 24, 8);
    FIELD(RTMX_LIMITS, IdleEventThreads, 32, 4);
    FIELD(RTMX_LIMITS, MaxEventThreads, 36, 4);
}

static void constants(void)
{
    EQ(NO_ERROR, 0);
    EQ(ERROR_FILE_NOT_FOUND, 2);
    EQ(ERROR_ACCESS_DENIED, 5);
    EQ(ERROR_INVALID_HANDLE, 6);
    EQ(ERROR_NOT_ENOUGH_MEMORY, 8);
    EQ(ERROR_INVALID_DATA, 13);
    EQ(ERROR_NOT_SUPPORTED, 50);
    EQ(ERROR_INVALID_PARAMETER, 87);
    EQ(ERROR_INSUFFICIENT_BUFFER, 122);
    EQ(ERROR_NOT_LOCKED, 158);
    EQ(ERROR_BUSY, 170);
    EQ(ERROR_ALREADY_EXISTS, 183);
    EQ(ERROR_POSSIBLE_DEADLOCK, 1131);
    EQ(ERROR_NOT_FOUND, 1168);
    EQ(ERROR_INTERNAL_ERROR, 1359);
    EQ(ERROR_NO_SYSTEM_RESOURCES, 1450);
    EQ(ERROR_BAD_CONFIGURATION, 1610);
    EQ(ERROR_INVALID_STATE, 5023);

    EQ(RTM_MAX_VIEWS, 32);
    EQ(RTM_VIEW_MASK_SIZE, 32);
    EQ(RTM_VIEW_ID_UCAST, 0);
    EQ(RTM_VIEW_ID_MCAST, 1);
    EQ(RTM_VIEW_MASK_NONE, 0);
    EQ(RTM_VIEW_MASK_ANY, 0);
    EQ(RTM_VIEW_MASK_UCAST, 1);
    EQ(RTM_VIEW_MASK_MCAST, 2);
    EQ(RTM_VIEW_MASK_ALL, 4294967295u);
    EQ(METHOD_TYPE_ALL_METHODS, 4294967295u);
    EQ(METHOD_RIP2_NEIGHBOUR_ADDR, 1);
    EQ(METHOD_RIP2_OUTBOUND_INTF, 2);
    EQ(METHOD_RIP2_ROUTE_TAG, 4);
    EQ(METHOD_RIP2_ROUTE_TIMESTAMP, 8);
    EQ(METHOD_OSPF_ROUTE_TYPE, 1);
    EQ(METHOD_OSPF_ROUTE_METRIC, 2);
    EQ(METHOD_OSPF_LSDB_TYPE, 4);
    EQ(METHOD_OSPF_ROUTE_TAG, 8);
    EQ(METHOD_OSPF_ROUTE_AREA, 16);
    EQ(METHOD_OSPF_FWD_ADDRESS, 32);
    EQ(METHOD_BGP4_AS_PATH, 1);
    EQ(METHOD_BGP4_PEER_ID, 2);
    EQ(METHOD_BGP4_PA_ORIGIN, 4);
    EQ(METHOD_BGP4_NEXTHOP_ATTR, 8);
    EQ(RTM_RESUME_METHODS, 0);
    EQ(RTM_BLOCK_METHODS, 1);
    CHECK(DEST_TYPE && ROUTE_TYPE && NEXTHOP_TYPE);
    CHECK(DEST_TYPE != ROUTE_TYPE && ROUTE_TYPE != NEXTHOP_TYPE && DEST_TYPE != NEXTHOP_TYPE);
    EQ(RTM_ENTITY_REGISTERED, 0);
    EQ(RTM_ENTITY_DEREGISTERED, 1);
    EQ(RTM_ROUTE_EXPIRED, 2);
    EQ(RTM_CHANGE_NOTIFICATION, 3);
    EQ(RTMX_EVENTS_MISSED, 0x10000);
    EQ(sizeof(RTM_EVENT_TYPE), 4);
    EQ(FALSE, 0);
    EQ(TRUE, 1);
    EQ(RTMX_ABI_NUMBER, 1);
}

/* Compiles only if the prototypes are RTMv2's, and links only if the functions are there. */
static void prototypes(void)
{
    DWORD (*register_entity)(PRTM_ENTITY_INFO, PRTM_ENTITY_EXPORT_METHODS, RTM_EVENT_CALLBACK, BOOL,
                             PRTM_REGN_PROFILE, PRTM_ENTITY_HANDLE) = RtmRegisterEntity;
    DWORD (*deregister_entity)(RTM_ENTITY_HANDLE) = RtmDeregisterEntity;
    DWORD (*get_registered)(RTM_ENTITY_HANDLE, PUINT, PRTM_ENTITY_HANDLE, PRTM_ENTITY_INFO) =
        RtmGetRegisteredEntities;
    DWORD (*release_entities)(RTM_ENTITY_HANDLE, UINT, PRTM_ENTITY_HANDLE) = RtmReleaseEntities;
    DWORD (*get_info)(RTM_ENTITY_HANDLE, RTM_ENTITY_HANDLE, PRTM_ENTITY_INFO) = RtmGetEntityInfo;
    DWORD (*release_info)(RTM_ENTITY_HANDLE, PRTM_ENTITY_INFO) = RtmReleaseEntityInfo;
    DWORD (*reference)(RTM_ENTITY_HANDLE, UINT, HANDLE *) = RtmReferenceHandles;
    CHECK(register_entity && deregister_entity && get_registered && release_entities);
    DWORD (*get_methods)(RTM_ENTITY_HANDLE, RTM_ENTITY_HANDLE, PUINT, PRTM_ENTITY_EXPORT_METHOD) =
        RtmGetEntityMethods;
    DWORD (*invoke_method)(RTM_ENTITY_HANDLE, RTM_ENTITY_HANDLE, PRTM_ENTITY_METHOD_INPUT, PUINT,
                           PRTM_ENTITY_METHOD_OUTPUT) = RtmInvokeMethod;
    DWORD (*block_methods)(RTM_ENTITY_HANDLE, HANDLE, UCHAR, DWORD) = RtmBlockMethods;
    CHECK(get_info && release_info && reference);
    CHECK(get_methods && invoke_method && block_methods);
}

static void texts(void)
{
    static const DWORD codes[] = {
        NO_ERROR,
        ERROR_FILE_NOT_FOUND,
        ERROR_ACCESS_DENIED,
        ERROR_INVALID_HANDLE,
        ERROR_NOT_ENOUGH_MEMORY,
        ERROR_INVALID_DATA,
        ERROR_NOT_SUPPORTED,
        ERROR_INVALID_PARAMETER,
        ERROR_INSUFFICIENT_BUFFER,
        ERROR_NOT_LOCKED,
        ERROR_BUSY,
        ERROR_ALREADY_EXISTS,
        ERROR_POSSIBLE_DEADLOCK,
        ERROR_NOT_FOUND,
        ERROR_INTERNAL_ERROR,
        ERROR_NO_SYSTEM_RESOURCES,
        ERROR_BAD_CONFIGURATION,
        ERROR_INVALID_STATE,
    };
    const char *unknown = RtmxErrorText(4242);
    UINT major = 77, minor = 77, patch = 77;
    size_t i;

    CHECK(unknown != NULL && strlen(unknown) > 10);
    CHECK(strcmp(unknown, RtmxErrorText(0xFFFFFFFFu)) == 0);
    for (i = 0; i < sizeof codes / sizeof *codes; i++) {
        const char *text = RtmxErrorText(codes[i]);
        CHECK(text != NULL && text[0] >= 'A' && text[0] <= 'Z');
        CHECK(text[strlen(text) - 1] == '.');
        CHECK(strcmp(text, unknown) != 0);
    }
    EQ(RtmxGetAbiNumber(), RTMX_ABI_NUMBER);
    OK(RtmxGetVersion(&major, &minor, &patch));
    CHECK(major != 77 && minor != 77 && patch != 77);
    OK(RtmxGetVersion(NULL, NULL, NULL));
    major = 77;
    OK(RtmxGetVersion(&major, NULL, NULL));
    NE(major, 77);
}

int main(void)
{
    basic_types();
    structures();
    constants();
    prototypes();
    texts();
    return check_done("layout");
}
