/* Every rule and code of the three functions that make and end registrations. */
#include "check.h"

#include <stddef.h>
#include <sys/resource.h>

#define PATTERN 0xEE

/* Either of the two registering functions. */
static int extended;

static DWORD reg(PRTM_ENTITY_INFO info, PRTM_ENTITY_EXPORT_METHODS methods, BOOL opaque,
                 PRTM_REGN_PROFILE profile, PRTM_ENTITY_HANDLE handle)
{
    if (extended)
        return RtmxRegisterEntity(info, methods, NULL, opaque, &extended, NULL, NULL, profile, handle);
    return RtmRegisterEntity(info, methods, NULL, opaque, profile, handle);
}

/* A registration that must fail with `code` and leave no trace. */
static void refused(DWORD code, PRTM_ENTITY_INFO info, PRTM_ENTITY_EXPORT_METHODS methods, BOOL opaque)
{
    struct {
        RTM_REGN_PROFILE profile;
        RTM_ENTITY_HANDLE handle;
    } out, before;
    RTMX_STATISTICS then = statistics(), now;

    memset(&out, PATTERN, sizeof out);
    memset(&before, PATTERN, sizeof before);
    EQ(reg(info, methods, opaque, &out.profile, &out.handle), code);
    CHECK(memcmp(&out, &before, sizeof out) == 0);
    now = statistics();
    EQ(now.Live, then.Live);
    EQ(now.Registered, then.Registered);
}

static DWORD simple(unsigned instance, unsigned family, uint64_t id, BOOL opaque, RTM_ENTITY_HANDLE *handle)
{
    RTM_ENTITY_INFO info = make_info(instance, family, id);
    RTM_REGN_PROFILE profile;
    return reg(&info, NULL, opaque, &profile, handle);
}

static void profile_and_info(void)
{
    static const unsigned families[] = {TEST_INET, TEST_INET6};
    size_t i;

    for (i = 0; i < 2; i++) {
        RTM_ENTITY_INFO info = make_info(7, families[i], 0x0123456789ABCDEFu), copy = info, read;
        RTM_REGN_PROFILE profile;
        RTM_ENTITY_HANDLE handle = NULL;
        memset(&profile, PATTERN, sizeof profile);
        memset(&read, PATTERN, sizeof read);
        OK(reg(&info, NULL, FALSE, &profile, &handle));
        CHECK(handle != NULL);
        CHECK(same_info(&info, &copy));
        CHECK_OP(profile.MaxNextHopsInRoute, >=, 1);
        CHECK_OP(profile.MaxHandlesInEnum, >=, 64);
        CHECK_OP(profile.MaxHandlesInEnum, <=, 256);
        EQ(profile.ViewsSupported, RTM_VIEW_MASK_UCAST | RTM_VIEW_MASK_MCAST);
        EQ(profile.NumberOfViews, 2);
        OK(RtmGetEntityInfo(handle, handle, &read));
        EQ(read.RtmInstanceId, 7);
        EQ(read.AddressFamily, families[i]);
        EQ(read.EntityId.EntityId, 0x0123456789ABCDEFu);
        EQ(read.EntityId.EntityProtocolId, 0x89ABCDEFu);
        EQ(read.EntityId.EntityInstanceId, 0x01234567u);
        OK(RtmDeregisterEntity(handle));
    }
}

static void families(void)
{
    static const unsigned bad[] = {0, 1, 3, 9, 11, 16, 23, 255, 256 + 2, 0x0A00, 0x0200, 65535};
    RTM_ENTITY_INFO info;
    size_t i;

    for (i = 0; i < sizeof bad / sizeof *bad; i++) {
        info = make_info(0, bad[i], 1);
        refused(ERROR_INVALID_PARAMETER, &info, NULL, FALSE);
    }
}

/* The id is unique in an instance and family, and only there. */
static void identity(void)
{
    static const uint64_t ids[] = {0, 1, 0xFFFFFFFFu, 0xFFFFFFFF00000000u, ~(uint64_t)0, 0x3FFF000800000008u};
    static const unsigned instances[] = {0, 1, 255, 256, 65535};
    static const unsigned inets[] = {TEST_INET, TEST_INET6};
    RTM_ENTITY_HANDLE all[6 * 5 * 2];
    size_t i, j, k, n = 0, m;

    for (i = 0; i < 6; i++)
        for (j = 0; j < 5; j++)
            for (k = 0; k < 2; k++) {
                RTM_ENTITY_INFO info = make_info(instances[j], inets[k], ids[i]);
                OK(simple(instances[j], inets[k], ids[i], FALSE, &all[n++]));
                refused(ERROR_ALREADY_EXISTS, &info, NULL, FALSE);
                refused(ERROR_ALREADY_EXISTS, &info, NULL, TRUE);
            }
    for (i = 0; i < n; i++)
        for (m = 0; m < i; m++)
            CHECK(all[i] != all[m]);
    /* Each is described as itself, to itself. */
    n = 0;
    for (i = 0; i < 6; i++)
        for (j = 0; j < 5; j++)
            for (k = 0; k < 2; k++) {
                RTM_ENTITY_INFO read;
                OK(RtmGetEntityInfo(all[n], all[n], &read));
                EQ(read.RtmInstanceId, instances[j]);
                EQ(read.AddressFamily, inets[k]);
                EQ(read.EntityId.EntityId, ids[i]);
                n++;
            }
    for (i = 0; i < n; i++) {
        OK(RtmDeregisterEntity(all[i]));
        EQ(RtmDeregisterEntity(all[i]), ERROR_INVALID_HANDLE);
    }
}

/* An id is free when its deregistration returns; a handle is dead for ever. */
static void registered_again(void)
{
    unsigned long rounds = check_rounds(20000), i;
    RTM_ENTITY_HANDLE *old = (RTM_ENTITY_HANDLE *)malloc(rounds * sizeof *old);
    RTM_ENTITY_HANDLE live = NULL;
    RTM_ENTITY_INFO read;

    CHECK(old != NULL);
    for (i = 0; i < rounds; i++) {
        OK(simple(0, TEST_INET, 99, FALSE, &old[i]));
        OK(RtmDeregisterEntity(old[i]));
        EQ(RtmDeregisterEntity(old[i]), ERROR_INVALID_HANDLE);
    }
    OK(simple(0, TEST_INET, 99, FALSE, &live));
    for (i = 0; i < rounds; i++) {
        CHECK(old[i] != live);
        EQ(RtmGetEntityInfo(live, old[i], &read), ERROR_INVALID_HANDLE);
        EQ(RtmGetEntityInfo(old[i], live, &read), ERROR_INVALID_HANDLE);
        EQ(RtmDeregisterEntity(old[i]), ERROR_INVALID_HANDLE);
    }
    OK(RtmGetEntityInfo(live, live, &read));
    OK(RtmDeregisterEntity(live));
    free(old);
}

static VOID WINAPI method(RTM_ENTITY_HANDLE caller, RTM_ENTITY_HANDLE callee,
                          RTM_ENTITY_METHOD_INPUT *input, RTM_ENTITY_METHOD_OUTPUT *output)
{
    (void)caller, (void)callee, (void)input, (void)output;
    abort();
}

static DWORD WINAPI event(RTM_ENTITY_HANDLE self, RTM_EVENT_TYPE type, PVOID first, PVOID second)
{
    (void)self, (void)type, (void)first, (void)second;
    abort();
}

/* A table of exactly as much memory as `count` entries need. */
static PRTM_ENTITY_EXPORT_METHODS table_of(UINT count, UINT entries)
{
    size_t size = offsetof(RTM_ENTITY_EXPORT_METHODS, Methods) + entries * sizeof(RTM_ENTITY_EXPORT_METHOD);
    PRTM_ENTITY_EXPORT_METHODS table = (PRTM_ENTITY_EXPORT_METHODS)calloc(1, size);
    UINT i;
    CHECK(table != NULL);
    table->NumMethods = count;
    for (i = 0; i < entries; i++)
        table->Methods[i] = i % 3 == 1 ? NULL : method;
    return table;
}

static void methods(void)
{
    static const UINT good[] = {0, 1, 2, 31, 32};
    static const UINT bad[] = {33, 34, 64, 0x80000000u, 0xFFFFFFFFu};
    RTM_ENTITY_INFO info = make_info(0, TEST_INET, 5);
    RTM_REGN_PROFILE profile;
    RTM_ENTITY_HANDLE handle = NULL, taken = NULL;
    size_t i;

    for (i = 0; i < 5; i++) {
        PRTM_ENTITY_EXPORT_METHODS table = table_of(good[i], good[i]);
        OK(reg(&info, table, FALSE, &profile, &handle));
        memset(table, PATTERN, offsetof(RTM_ENTITY_EXPORT_METHODS, Methods));
        free(table);
        OK(RtmDeregisterEntity(handle));
    }
    OK(simple(0, TEST_INET, 6, FALSE, &taken));
    for (i = 0; i < 5; i++) {
        /* Too many: the entries, which are not there, are not looked at. */
        PRTM_ENTITY_EXPORT_METHODS table = table_of(bad[i], 0);
        refused(ERROR_INVALID_DATA, &info, table, FALSE);
        refused(ERROR_INVALID_DATA, &info, table, TRUE);
        /* The content of the arguments is looked at before the state. */
        info.EntityId.EntityId = 6;
        refused(ERROR_INVALID_DATA, &info, table, FALSE);
        info.EntityId.EntityId = 5;
        free(table);
    }
    OK(RtmDeregisterEntity(taken));
    /* A callback is stored. */
    OK(RtmRegisterEntity(&info, NULL, event, FALSE, &profile, &handle));
    OK(RtmDeregisterEntity(handle));
}

static void order_of_checks(void)
{
    RTM_ENTITY_INFO info = make_info(0, TEST_INET, 5), alien = make_info(0, 23, 5);
    RTM_REGN_PROFILE profile;
    RTM_ENTITY_HANDLE handle = as_handle(77), taken = NULL;
    PRTM_ENTITY_EXPORT_METHODS many = table_of(33, 0);
    PRTM_ENTITY_EXPORT_METHODS crooked = (PRTM_ENTITY_EXPORT_METHODS)(void *)((char *)many + 1);

    OK(simple(0, TEST_INET, 5, FALSE, &taken));
    EQ(reg(NULL, many, FALSE, &profile, &handle), ERROR_INVALID_PARAMETER);
    EQ(reg(&info, many, FALSE, NULL, &handle), ERROR_INVALID_PARAMETER);
    EQ(reg(&info, many, FALSE, &profile, NULL), ERROR_INVALID_PARAMETER);
    EQ(reg(&info, crooked, FALSE, &profile, &handle), ERROR_INVALID_PARAMETER);
    EQ(reg(&alien, many, FALSE, &profile, &handle), ERROR_INVALID_PARAMETER);
    EQ(reg(&alien, NULL, FALSE, &profile, &handle), ERROR_INVALID_PARAMETER);
    EQ(reg(&info, many, FALSE, &profile, &handle), ERROR_INVALID_DATA);
    EQ(reg(&info, NULL, FALSE, &profile, &handle), ERROR_ALREADY_EXISTS);
    EQ(handle, as_handle(77));
    OK(RtmDeregisterEntity(taken));
    free(many);
}

static RTMX_LIMITS limits(void)
{
    RTMX_LIMITS now;
    OK(RtmxGetLimits(&now, sizeof now));
    return now;
}

static void opaque_pointers(void)
{
    enum { MOST = 5 };
    RTMX_LIMITS before = limits(), few = before;
    RTM_ENTITY_HANDLE all[MOST], plain = NULL, late = NULL;
    RTM_ENTITY_INFO info = make_info(0, TEST_INET, 1000);
    unsigned i;

    EQ(before.MaxOpaquePointers, 1024);
    few.MaxOpaquePointers = MOST;
    OK(RtmxSetLimits(&few, sizeof few));
    /* Any number but 0 is TRUE; in all tables together. */
    for (i = 0; i < MOST; i++)
        OK(simple(i, i & 1 ? TEST_INET : TEST_INET6, i, i & 1 ? (BOOL)0x80000000u : 2, &all[i]));
    refused(ERROR_NO_SYSTEM_RESOURCES, &info, NULL, TRUE);
    refused(ERROR_NO_SYSTEM_RESOURCES, &info, NULL, -1);
    OK(simple(0, TEST_INET, 1000, FALSE, &plain));
    for (i = 0; i < 100; i++) {
        OK(RtmDeregisterEntity(all[0]));
        /* A registration that fails for another reason takes none. */
        refused(ERROR_ALREADY_EXISTS, &info, NULL, TRUE);
        OK(simple(0, TEST_INET6, 0, TRUE, &all[0]));
        EQ(simple(0, TEST_INET6, 1001, TRUE, &late), ERROR_NO_SYSTEM_RESOURCES);
    }
    /* A lower limit takes nothing away. */
    few.MaxOpaquePointers = 1;
    OK(RtmxSetLimits(&few, sizeof few));
    for (i = 0; i < MOST; i++) {
        EQ(simple(0, TEST_INET6, 1001, TRUE, &late), ERROR_NO_SYSTEM_RESOURCES);
        OK(RtmDeregisterEntity(all[i]));
    }
    OK(simple(0, TEST_INET6, 1001, TRUE, &late));
    OK(RtmDeregisterEntity(late));
    OK(RtmDeregisterEntity(plain));
    few.MaxOpaquePointers = 0;
    OK(RtmxSetLimits(&few, sizeof few));
    EQ(simple(0, TEST_INET6, 1001, TRUE, &late), ERROR_NO_SYSTEM_RESOURCES);
    OK(RtmxSetLimits(&before, sizeof before));
}

static void opaque_default(void)
{
    RTM_ENTITY_HANDLE all[1024], one_more = NULL;
    unsigned i;
    for (i = 0; i < 1024; i++)
        OK(simple(0, TEST_INET, i, TRUE, &all[i]));
    EQ(simple(0, TEST_INET, 1024, TRUE, &one_more), ERROR_NO_SYSTEM_RESOURCES);
    OK(simple(0, TEST_INET, 1024, FALSE, &one_more));
    OK(RtmDeregisterEntity(one_more));
    for (i = 0; i < 1024; i++)
        OK(RtmDeregisterEntity(all[i]));
}

static void entity_limit(void)
{
    enum { MOST = 300 };
    RTMX_LIMITS before = limits(), few = before;
    RTM_ENTITY_HANDLE all[MOST], none = NULL;
    RTM_ENTITY_INFO info = make_info(0, TEST_INET6, 7), taken = make_info(0, TEST_INET, 7);
    unsigned i;

    EQ(before.MaxEntities, 1u << 28);
    few.MaxEntities = MOST;
    OK(RtmxSetLimits(&few, sizeof few));
    for (i = 0; i < MOST; i++)
        OK(simple(0, TEST_INET, i, FALSE, &all[i]));
    refused(ERROR_NO_SYSTEM_RESOURCES, &info, NULL, FALSE);
    for (i = 0; i < 1000; i++) {
        OK(RtmDeregisterEntity(all[3]));
        /* A registration that fails for another reason takes no place. */
        refused(ERROR_ALREADY_EXISTS, &taken, NULL, FALSE);
        OK(simple(0, TEST_INET, 3, FALSE, &all[3]));
        EQ(simple(0, TEST_INET6, 3, FALSE, &none), ERROR_NO_SYSTEM_RESOURCES);
    }
    /* A lower limit removes nothing; there is room again when enough have gone. */
    few.MaxEntities = 10;
    OK(RtmxSetLimits(&few, sizeof few));
    EQ(statistics().Live, MOST);
    for (i = 10; i < MOST; i++) {
        EQ(simple(0, TEST_INET6, 3, FALSE, &none), ERROR_NO_SYSTEM_RESOURCES);
        OK(RtmDeregisterEntity(all[i]));
    }
    EQ(simple(0, TEST_INET6, 3, FALSE, &none), ERROR_NO_SYSTEM_RESOURCES);
    OK(RtmDeregisterEntity(all[9]));
    OK(simple(0, TEST_INET6, 3, FALSE, &none));
    OK(RtmDeregisterEntity(none));
    few.MaxEntities = 0;
    OK(RtmxSetLimits(&few, sizeof few));
    EQ(simple(0, TEST_INET6, 3, FALSE, &none), ERROR_NO_SYSTEM_RESOURCES);
    OK(RtmxSetLimits(&before, sizeof before));
    for (i = 0; i < 9; i++)
        OK(RtmDeregisterEntity(all[i]));
}

static void instance_limit(void)
{
    RTMX_LIMITS before, few;
    RTM_ENTITY_HANDLE first = NULL, second = NULL, third = NULL;
    RTM_ENTITY_INFO info = make_info(3, TEST_INET, 7);

    /* Tables are kept: begin afresh. */
    OK(RtmxShutdown());
    before = few = limits();
    EQ(before.MaxInstances, 65536);
    few.MaxInstances = 2;
    OK(RtmxSetLimits(&few, sizeof few));
    OK(simple(1, TEST_INET, 7, FALSE, &first));
    OK(simple(2, TEST_INET, 7, FALSE, &second));
    refused(ERROR_NO_SYSTEM_RESOURCES, &info, NULL, FALSE);
    refused(ERROR_NO_SYSTEM_RESOURCES, &info, NULL, TRUE);
    /* Another family is another table, but no other instance. */
    OK(simple(2, TEST_INET6, 7, FALSE, &third));
    EQ(statistics().Tables, 3);
    OK(RtmDeregisterEntity(first));
    /* A table that is empty is still there. */
    refused(ERROR_NO_SYSTEM_RESOURCES, &info, NULL, FALSE);
    OK(simple(1, TEST_INET, 8, FALSE, &first));
    OK(RtmDeregisterEntity(first));
    OK(RtmDeregisterEntity(second));
    OK(RtmDeregisterEntity(third));
    OK(RtmxSetLimits(&before, sizeof before));
    OK(RtmxShutdown());
}

/* A reader that stays inside stops registrations in the end, and only registrations. */
static void backlog_limit(void)
{
    RTMX_LIMITS before, few;
    RTM_ENTITY_HANDLE live = NULL, handle = NULL;
    RTM_ENTITY_INFO info = make_info(0, TEST_INET, 8), read;
    unsigned long i;
    DWORD code = NO_ERROR;

    before = few = limits();
    EQ(before.MaxBacklog, 1u << 20);
    few.MaxBacklog = 1000;
    OK(RtmxSetLimits(&few, sizeof few));
    OK(simple(0, TEST_INET, 7, FALSE, &live));
    OK(RtmxEnter());
    for (i = 0; i < 10000; i++) {
        code = simple(0, TEST_INET, 8, FALSE, &handle);
        if (code != NO_ERROR)
            break;
        OK(RtmDeregisterEntity(handle));
    }
    EQ(code, ERROR_NO_SYSTEM_RESOURCES);
    CHECK_OP(i, >=, 1000);
    CHECK_OP(i, <=, 1000 + 256);
    refused(ERROR_NO_SYSTEM_RESOURCES, &info, NULL, FALSE);
    CHECK_OP(statistics().Retired, >=, 1000);
    OK(RtmGetEntityInfo(live, live, &read));
    OK(RtmxQuiescent());
    OK(RtmxLeave());
    OK(RtmxFlush());
    EQ(statistics().Retired, 0);
    OK(simple(0, TEST_INET, 8, FALSE, &handle));
    OK(RtmDeregisterEntity(handle));
    OK(RtmDeregisterEntity(live));
    OK(RtmxSetLimits(&before, sizeof before));
}

/* One of many registrations of an id wins, and one of many deregistrations of a handle. */
enum { RACERS = 6 };
static pthread_barrier_t barrier;
static RTM_ENTITY_HANDLE contested;
static unsigned long won, lost, ended;

static void *race(void *rounds)
{
    unsigned long i;
    for (i = 0; i < *(unsigned long *)rounds; i++) {
        RTM_ENTITY_HANDLE mine = NULL;
        DWORD code;
        pthread_barrier_wait(&barrier);
        code = simple(0, TEST_INET, i, FALSE, &mine);
        if (code == NO_ERROR) {
            STORE(&contested, mine);
            ADD(&won, 1);
        } else {
            EQ(code, ERROR_ALREADY_EXISTS);
            EQ(mine, NULL);
            ADD(&lost, 1);
        }
        pthread_barrier_wait(&barrier);
        EQ(LOAD(&won), i + 1);
        EQ(LOAD(&lost), (i + 1) * (RACERS - 1));
        code = RtmDeregisterEntity(LOAD(&contested));
        if (code != NO_ERROR)
            EQ(code, ERROR_INVALID_HANDLE);
        else
            ADD(&ended, 1);
        pthread_barrier_wait(&barrier);
        EQ(LOAD(&ended), i + 1);
        EQ(RtmDeregisterEntity(LOAD(&contested)), ERROR_INVALID_HANDLE);
    }
    return NULL;
}

static void races(void)
{
    pthread_t threads[RACERS];
    unsigned long rounds = check_rounds(2000);
    RTMX_STATISTICS before = statistics(), after;
    int i;

    won = lost = ended = 0;
    EQ(pthread_barrier_init(&barrier, NULL, RACERS), 0);
    for (i = 0; i < RACERS; i++)
        threads[i] = start(race, &rounds);
    for (i = 0; i < RACERS; i++)
        join(threads[i]);
    pthread_barrier_destroy(&barrier);
    after = statistics();
    EQ(after.Live, before.Live);
    EQ(after.Registered - before.Registered, rounds);
    EQ(after.Deregistered - before.Deregistered, rounds);
}

/* Without memory a registration fails, and what there is goes on. Memory that may be written is limited, not
 * address space, which the registry reserves when it is made. */
static int out_of_memory(void)
{
    enum { MOST = 2000000, ROOM = 16 << 20 };
    RTM_ENTITY_HANDLE *all = (RTM_ENTITY_HANDLE *)calloc(MOST, sizeof *all);
    RTM_ENTITY_INFO info = make_info(0, TEST_INET, 0), read;
    RTM_REGN_PROFILE profile;
    struct rlimit before, small;
    unsigned long pages = 0, i, round, live;
    UINT count = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    DWORD code = NO_ERROR;

    CHECK(all != NULL && file != NULL);
    all[0] = add(0);
    /* The sixth figure: pages of data. */
    EQ(fscanf(file, "%*u %*u %*u %*u %*u %lu", &pages), 1);
    fclose(file);
    EQ(getrlimit(RLIMIT_DATA, &before), 0);
    small = before;
    small.rlim_cur = pages * 4096 + ROOM;
    EQ(setrlimit(RLIMIT_DATA, &small), 0);
    for (i = 1; i < MOST; i++) {
        info.EntityId.EntityId = i;
        code = RtmRegisterEntity(&info, NULL, NULL, FALSE, &profile, &all[i]);
        if (code != NO_ERROR)
            break;
    }
    EQ(code, ERROR_NOT_ENOUGH_MEMORY);
    CHECK_OP(i, >=, 10000);
    EQ(all[i], NULL);
    live = i;
    for (round = 0; round < 100; round++) {
        info.EntityId.EntityId = live + round;
        EQ(RtmRegisterEntity(&info, NULL, NULL, FALSE, &profile, &all[live]), ERROR_NOT_ENOUGH_MEMORY);
    }
    EQ(statistics().Live, live);
    EQ(RtmGetRegisteredEntities(all[0], &count, NULL, NULL), ERROR_INSUFFICIENT_BUFFER);
    EQ(count, live);
    for (i = 0; i < live; i++) {
        OK(RtmGetEntityInfo(all[0], all[i], &read));
        EQ(read.EntityId.EntityId, i);
    }
    /* What goes makes room, and needs none to go. */
    for (i = 1; i < live; i++)
        OK(RtmDeregisterEntity(all[i]));
    OK(RtmxFlush());
    EQ(statistics().Live, 1);
    for (i = 1; i < live / 2; i++)
        all[i] = add(i);
    for (i = 0; i < live / 2; i++)
        OK(RtmDeregisterEntity(all[i]));
    OK(RtmxShutdown());
    EQ(setrlimit(RLIMIT_DATA, &before), 0);
    free(all);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc > 1)
        return out_of_memory();
#ifdef __SANITIZE_ADDRESS__
    /* Its shadow takes more room than there would be. */
    (void)argv;
#else
    {
        /* valgrind keeps this limit to itself. */
        const char *preload = getenv("LD_PRELOAD");
        if (preload == NULL || strstr(preload, "vgpreload") == NULL)
            run_silently(argv[0], "memory", 0);
    }
#endif
    for (extended = 0; extended < 2; extended++) {
        profile_and_info();
        families();
        identity();
        registered_again();
        methods();
        order_of_checks();
        opaque_pointers();
        opaque_default();
        entity_limit();
        instance_limit();
        backlog_limit();
        races();
    }
    EQ(statistics().Live, 0);
    OK(RtmxShutdown());
    return check_done("registration");
}
