/* Everything a caller can get wrong short of bad addresses: an error, and no effect. */
#include "check.h"

static RTM_ENTITY_HANDLE live, other;
static RTMX_READER_HANDLE reader;

/* --- Bad handles, in every place that takes one --- */

static const void *const untouched = &live;
static void *context;
static RTM_ENTITY_INFO info;
static RTM_ENTITY_HANDLE list[4];
static UINT number;

static DWORD deregister(HANDLE h) { return RtmDeregisterEntity(h); }
static DWORD listing(HANDLE h) { return RtmGetRegisteredEntities(h, &number, list, &info); }
static DWORD releaser(HANDLE h) { return RtmReleaseEntities(h, 1, &live); }
static DWORD released(HANDLE h) { return RtmReleaseEntities(live, 1, &h); }
static DWORD asker(HANDLE h) { return RtmGetEntityInfo(h, live, &info); }
static DWORD asked(HANDLE h) { return RtmGetEntityInfo(live, h, &info); }
static DWORD giver(HANDLE h) { return RtmReleaseEntityInfo(h, &info); }
static DWORD referrer(HANDLE h) { return RtmReferenceHandles(h, 1, &live); }
static DWORD referred(HANDLE h) { return RtmReferenceHandles(live, 1, &h); }
static DWORD second_of_two(HANDLE h)
{
    HANDLE two[2];
    two[0] = live, two[1] = h;
    return RtmReferenceHandles(live, 2, two);
}
static DWORD looked_up(HANDLE h) { return RtmxGetContext(h, &context); }
static DWORD looked_up_by_reader(HANDLE h) { return RtmxReaderGetContext(reader, h, &context); }
static DWORD batch(HANDLE h)
{
    void *found = &number;
    DWORD code = RtmxGetContexts(1, &h, &found, &number);
    if (code == ERROR_INVALID_HANDLE)
        CHECK(found == NULL && number == 0);
    number = 4;
    return code;
}
static DWORD batch_by_reader(HANDLE h)
{
    void *found = &number;
    DWORD code = RtmxReaderGetContexts(reader, 1, &h, &found, &number);
    if (code == ERROR_INVALID_HANDLE)
        CHECK(found == NULL && number == 0);
    number = 4;
    return code;
}

static DWORD deleted(HANDLE h) { return RtmxDeleteReader(h); }
static DWORD entering(HANDLE h) { return RtmxReaderEnter(h); }
static DWORD leaving(HANDLE h) { return RtmxReaderLeave(h); }
static DWORD pausing(HANDLE h) { return RtmxReaderQuiescent(h); }
static DWORD looking_up(HANDLE h) { return RtmxReaderGetContext(h, live, &context); }
static DWORD batching(HANDLE h) { return RtmxReaderGetContexts(h, 1, &live, &context, &number); }

typedef DWORD (*Place)(HANDLE);
static const Place entity_places[] = {
    deregister, listing,       releaser,  released,            asker, asked,           giver, referrer,
    referred,   second_of_two, looked_up, looked_up_by_reader, batch, batch_by_reader,
};
static const Place reader_places[] = {deleted, entering, leaving, pausing, looking_up, batching};
enum {
    ENTITY_PLACES = sizeof entity_places / sizeof *entity_places,
    READER_PLACES = sizeof reader_places / sizeof *reader_places
};

static void refused_as_entity(HANDLE h)
{
    int i;
    for (i = 0; i < ENTITY_PLACES; i++)
        EQ(entity_places[i](h), ERROR_INVALID_HANDLE);
}

static void refused_as_reader(HANDLE h)
{
    int i;
    for (i = 0; i < READER_PLACES; i++)
        EQ(reader_places[i](h), ERROR_INVALID_HANDLE);
}

static void refused(HANDLE h)
{
    refused_as_entity(h);
    refused_as_reader(h);
}

/* Nothing has come of it. */
static void nothing_happened(void)
{
    RTM_ENTITY_INFO blank;
    RTMX_STATISTICS now = statistics();
    void *found = NULL;

    memset(&blank, 0xEE, sizeof blank);
    CHECK(context == untouched);
    CHECK(memcmp(&info, &blank, sizeof info) == 0);
    CHECK(list[0] == untouched);
    EQ(number, 4);
    EQ(now.Live, 2);
    EQ(now.Inside, 2);
    EQ(now.Referenced, 0);
    EQ(RtmReleaseEntities(live, 1, &live), ERROR_INVALID_HANDLE);
    EQ(RtmReleaseEntities(other, 1, &other), ERROR_INVALID_HANDLE);
    OK(RtmxGetContext(live, &found));
    CHECK(found == &live);
    OK(RtmxReaderGetContext(reader, other, &found));
    CHECK(found == &other);
}

/* Entities, event queues, reader objects. */
static const uint64_t kinds[] = {1, 14, 15};

static void bad_handles(void)
{
    unsigned long forged = check_rounds(1000000), i;
    RTMX_READER_HANDLE gone_reader = NULL, spare = NULL;
    RTM_ENTITY_HANDLE gone = add(3), next;
    uint64_t seed = (uint64_t)time(NULL) * 1000003 + (uint64_t)getpid();
    void *heap = malloc(64);
    unsigned bit;

    OK(RtmxCreateReader(&gone_reader));
    OK(RtmxDeleteReader(gone_reader));
    OK(RtmxCreateReader(&spare));
    OK(RtmDeregisterEntity(gone));
    OK(RtmxEnter());
    OK(RtmxReaderEnter(reader));
    memset(&info, 0xEE, sizeof info);
    context = list[0] = (void *)(uintptr_t)untouched;
    number = 4;

    refused(NULL);
    refused(as_handle(1));
    refused(as_handle(~(uint64_t)0));
    for (i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        refused(as_handle(kinds[i] << 28));
        refused(as_handle(~((uint64_t)15 << 28) | kinds[i] << 28));
    }
    refused(&gone);
    refused(heap);
    refused((HANDLE)(uintptr_t)RtmRegisterEntity);
    refused((HANDLE)(uintptr_t)untouched);

    /* Stale. */
    refused(gone);
    refused(gone_reader);

    /* Of the wrong kind. */
    refused_as_entity(reader);
    refused_as_entity(spare);
    refused_as_reader(live);
    refused_as_reader(other);
    nothing_happened();

    /* One bit wrong. */
    for (bit = 0; bit < 64; bit++) {
        uint64_t flip = (uint64_t)1 << bit;
        refused(as_handle((uint64_t)(uintptr_t)live ^ flip));
        refused(as_handle((uint64_t)(uintptr_t)other ^ flip));
        refused(as_handle((uint64_t)(uintptr_t)reader ^ flip));
        refused(as_handle((uint64_t)(uintptr_t)spare ^ flip));
        refused(as_handle((uint64_t)(uintptr_t)gone ^ flip));
        refused(as_handle((uint64_t)(uintptr_t)gone_reader ^ flip));
    }
    nothing_happened();

    /* Made up, three quarters of them of a kind that there is. */
    for (i = 0; i < forged; i++) {
        uint64_t bits = check_random(&seed);
        if (i % 4)
            bits = (bits & ~((uint64_t)15 << 28)) | kinds[i % 4 - 1] << 28;
        refused(as_handle(bits));
    }
    nothing_happened();

    /* Near a live one: the slot it names is right, its generation is not, and the other way round. */
    for (i = 0; i < forged / 4; i++) {
        uint64_t noise = check_random(&seed), bits = (uint64_t)(uintptr_t)live;
        uint64_t low = noise & 0xFFFFFFFu, high = noise & 0xFFFFFFFF00000000u;
        if (low)
            refused(as_handle(bits ^ low));
        if (high)
            refused(as_handle(bits ^ high));
    }
    nothing_happened();

    OK(RtmxLeave());
    OK(RtmxReaderLeave(reader));

    /* A stale handle stays so when its place is taken again and again. */
    for (i = 0; i < check_rounds(2000); i++) {
        next = add(3);
        CHECK(next != gone);
        OK(RtmxEnter());
        OK(RtmxReaderEnter(reader));
        refused_as_entity(gone);
        OK(RtmxReaderLeave(reader));
        OK(RtmxLeave());
        OK(RtmDeregisterEntity(next));
        OK(RtmxCreateReader(&spare));
        refused_as_reader(gone_reader);
        OK(RtmxDeleteReader(spare));
        if (i % 4 == 0)
            OK(RtmxFlush());
    }
    free(heap);
}

/* --- NULL and misaligned, for every pointer --- */

/* CROOKED(T) is a pointer to T that is not aligned. */
static uint64_t space[8];
#define CROOKED(T) ((T)(void *)((char *)space + 1))
#define BAD_POINTERS(T, call)                                                                       \
    do {                                                                                            \
        T pointer = NULL;                                                                           \
        EQ(call, ERROR_INVALID_PARAMETER);                                                          \
        pointer = CROOKED(T);                                                                       \
        EQ(call, ERROR_INVALID_PARAMETER);                                                          \
    } while (0)
#define CROOKED_POINTER(T, call)                                                                    \
    do {                                                                                            \
        T pointer = CROOKED(T);                                                                     \
        EQ(call, ERROR_INVALID_PARAMETER);                                                          \
    } while (0)

static void bad_pointers(void)
{
    RTM_ENTITY_INFO in = make_info(0, TEST_INET, 50);
    RTM_REGN_PROFILE profile;
    RTM_ENTITY_HANDLE handle = as_handle(77);
    RTMX_STATISTICS before = statistics();
    UINT count = 1, major = 77;
    ULONGLONG position = 77;
    void *found = &count;
    unsigned i;

    memset(space, 0xEE, sizeof space);
    BAD_POINTERS(PRTM_ENTITY_INFO, RtmRegisterEntity(pointer, NULL, NULL, FALSE, &profile, &handle));
    BAD_POINTERS(PRTM_REGN_PROFILE, RtmRegisterEntity(&in, NULL, NULL, FALSE, pointer, &handle));
    BAD_POINTERS(PRTM_ENTITY_HANDLE, RtmRegisterEntity(&in, NULL, NULL, FALSE, &profile, pointer));
    CROOKED_POINTER(PRTM_ENTITY_EXPORT_METHODS, RtmRegisterEntity(&in, pointer, NULL, FALSE, &profile, &handle));
    BAD_POINTERS(PRTM_ENTITY_INFO, RtmxRegisterEntity(pointer, NULL, NULL, FALSE, NULL, NULL, NULL, &profile, &handle));
    BAD_POINTERS(PRTM_REGN_PROFILE, RtmxRegisterEntity(&in, NULL, NULL, FALSE, NULL, NULL, NULL, pointer, &handle));
    BAD_POINTERS(PRTM_ENTITY_HANDLE, RtmxRegisterEntity(&in, NULL, NULL, FALSE, NULL, NULL, NULL, &profile, pointer));
    CROOKED_POINTER(PRTM_ENTITY_EXPORT_METHODS,
                    RtmxRegisterEntity(&in, pointer, NULL, FALSE, NULL, NULL, NULL, &profile, &handle));
    EQ(RtmRegisterEntity(NULL, NULL, NULL, FALSE, NULL, NULL), ERROR_INVALID_PARAMETER);
    EQ(RtmxRegisterEntity(NULL, NULL, NULL, FALSE, NULL, NULL, NULL, NULL, NULL), ERROR_INVALID_PARAMETER);

    BAD_POINTERS(PUINT, RtmGetRegisteredEntities(live, pointer, &handle, &in));
    CROOKED_POINTER(PRTM_ENTITY_HANDLE, RtmGetRegisteredEntities(live, &count, pointer, &in));
    CROOKED_POINTER(PRTM_ENTITY_INFO, RtmGetRegisteredEntities(live, &count, &handle, pointer));
    BAD_POINTERS(PRTM_ENTITY_HANDLE, RtmReleaseEntities(live, 1, pointer));
    BAD_POINTERS(PRTM_ENTITY_HANDLE, RtmReleaseEntities(live, 0xFFFFFFFFu, pointer));
    BAD_POINTERS(PRTM_ENTITY_INFO, RtmGetEntityInfo(live, live, pointer));
    BAD_POINTERS(PRTM_ENTITY_INFO, RtmReleaseEntityInfo(live, pointer));
    BAD_POINTERS(HANDLE *, RtmReferenceHandles(live, 1, pointer));
    BAD_POINTERS(HANDLE *, RtmReferenceHandles(live, 0xFFFFFFFFu, pointer));

    OK(RtmxEnter());
    OK(RtmxReaderEnter(reader));
    BAD_POINTERS(void **, RtmxGetContext(live, pointer));
    BAD_POINTERS(PRTM_ENTITY_HANDLE, RtmxGetContexts(1, pointer, &found, &count));
    BAD_POINTERS(void **, RtmxGetContexts(1, &live, pointer, &count));
    CROOKED_POINTER(PUINT, RtmxGetContexts(1, &live, &found, pointer));
    CROOKED_POINTER(PUINT, RtmxGetContexts(0, NULL, NULL, pointer));
    BAD_POINTERS(PRTM_ENTITY_HANDLE, RtmxGetContexts(0xFFFFFFFFu, pointer, &found, &count));
    BAD_POINTERS(void **, RtmxGetContexts(0xFFFFFFFFu, &live, pointer, &count));
    BAD_POINTERS(void **, RtmxReaderGetContext(reader, live, pointer));
    BAD_POINTERS(PRTM_ENTITY_HANDLE, RtmxReaderGetContexts(reader, 1, pointer, &found, &count));
    BAD_POINTERS(void **, RtmxReaderGetContexts(reader, 1, &live, pointer, &count));
    CROOKED_POINTER(PUINT, RtmxReaderGetContexts(reader, 1, &live, &found, pointer));
    OK(RtmxReaderLeave(reader));
    OK(RtmxLeave());

    BAD_POINTERS(PRTMX_READER_HANDLE, RtmxCreateReader(pointer));
    BAD_POINTERS(PRTMX_STATISTICS, RtmxGetStatistics(pointer, sizeof(RTMX_STATISTICS)));
    BAD_POINTERS(PRTMX_LIMITS, RtmxGetLimits(pointer, sizeof(RTMX_LIMITS)));
    BAD_POINTERS(const RTMX_LIMITS *, RtmxSetLimits(pointer, sizeof(RTMX_LIMITS)));
    BAD_POINTERS(PUINT, RtmxFormatStatistics(RTMX_TEXT, NULL, pointer));
    BAD_POINTERS(PUINT, RtmxFormatEntities(RTMX_TEXT, &position, NULL, pointer));
    BAD_POINTERS(ULONGLONG *, RtmxFormatEntities(RTMX_TEXT, pointer, NULL, &count));
    EQ(RtmxFormatStatistics(RTMX_TEXT, NULL, &count), ERROR_INVALID_PARAMETER);
    EQ(RtmxFormatEntities(RTMX_TEXT, &position, NULL, &count), ERROR_INVALID_PARAMETER);
    EQ(position, 77);
    CROOKED_POINTER(ULONGLONG *, RtmxTrim(pointer));
    EQ(RtmxGetStatistics(NULL, 0), ERROR_INVALID_PARAMETER);
    EQ(RtmxGetLimits(NULL, 0), ERROR_INVALID_PARAMETER);
    EQ(RtmxSetLimits(NULL, 0), ERROR_INVALID_PARAMETER);
    EQ(RtmxSetLimits(NULL, 0xFFFFFFFFu), ERROR_INVALID_PARAMETER);
    CROOKED_POINTER(PUINT, RtmxGetVersion(pointer, NULL, NULL));
    CROOKED_POINTER(PUINT, RtmxGetVersion(&major, pointer, NULL));
    CROOKED_POINTER(PUINT, RtmxGetVersion(&major, NULL, pointer));
    EQ(major, 77);

    for (i = 0; i < 8; i++)
        EQ(space[i], 0xEEEEEEEEEEEEEEEEu);
    EQ(handle, as_handle(77));
    EQ(count, 1);
    CHECK(found == &count);
    EQ(statistics().Registered, before.Registered);
    EQ(statistics().Live, 2);
}

static void counts(void)
{
    RTM_ENTITY_HANDLE all[3];
    RTM_ENTITY_INFO infos[3];
    UINT count = 0xFFFFFFFFu;

    OK(RtmReferenceHandles(live, 0, NULL));
    OK(RtmReleaseEntities(live, 0, NULL));
    memset(all, 0xEE, sizeof all);
    memset(infos, 0xEE, sizeof infos);
    OK(RtmGetRegisteredEntities(live, &count, all, infos));
    EQ(count, 2);
    EQ(all[2], as_handle(0xEEEEEEEEEEEEEEEEu));
    EQ(infos[2].EntityId.EntityId, 0xEEEEEEEEEEEEEEEEu);
    OK(RtmReleaseEntities(live, count, all));
    EQ(RtmReleaseEntities(live, count, all), ERROR_INVALID_HANDLE);
}

/* --- Structures that carry their size --- */

static void sizes_out(DWORD (*fill)(void *, UINT), UINT known)
{
    unsigned char whole[256], part[256];
    UINT size, i;

    memset(whole, 0xEE, sizeof whole);
    OK(fill(whole, known));
    for (i = known; i < 256; i++)
        EQ(whole[i], 0xEE);
    for (size = 0; size <= 256; size++) {
        memset(part, 0xEE, sizeof part);
        EQ(fill(part, size), size ? NO_ERROR : ERROR_INVALID_PARAMETER);
        for (i = 0; i < 256; i++)
            EQ(part[i], i >= size ? 0xEE : i < known ? whole[i] : 0);
    }
}

static DWORD fill_statistics(void *place, UINT size)
{
    return RtmxGetStatistics((PRTMX_STATISTICS)place, size);
}
static DWORD fill_limits(void *place, UINT size)
{
    return RtmxGetLimits((PRTMX_LIMITS)place, size);
}

static void sizes(void)
{
    union {
        RTMX_LIMITS limits;
        unsigned char bytes[128];
    } in;
    RTMX_LIMITS before, now;
    UINT size;

    sizes_out(fill_statistics, sizeof(RTMX_STATISTICS));
    sizes_out(fill_limits, sizeof(RTMX_LIMITS));

    OK(RtmxGetLimits(&before, sizeof before));
    memset(&in, 0, sizeof in);
    in.limits = before;
    in.limits.MaxInstances = 1234;
    for (size = 0; size < sizeof(RTMX_LIMITS); size++)
        if (size != 24)
            EQ(RtmxSetLimits(&in.limits, size), ERROR_INVALID_PARAMETER);
    OK(RtmxGetLimits(&now, sizeof now));
    EQ(now.MaxInstances, before.MaxInstances);
    for (size = sizeof(RTMX_LIMITS); size <= sizeof in; size++) {
        in.limits.MaxInstances = 1000 + size;
        OK(RtmxSetLimits(&in.limits, size));
        OK(RtmxGetLimits(&now, sizeof now));
        EQ(now.MaxInstances, 1000 + size);
    }
    /* The first version of the structure: what it did not have stays. */
    in.limits.MaxInstances = 77;
    in.limits.MaxJournal = 1;
    in.limits.IdleEventThreads = in.limits.MaxEventThreads = 1;
    OK(RtmxSetLimits(&in.limits, 24));
    OK(RtmxGetLimits(&now, sizeof now));
    EQ(now.MaxInstances, 77);
    EQ(now.MaxJournal, before.MaxJournal);
    EQ(now.IdleEventThreads, before.IdleEventThreads);
    EQ(now.MaxEventThreads, before.MaxEventThreads);
    in.limits = before;
    /* Something that this version does not know is wanted. */
    in.bytes[100] = 1;
    in.limits.MaxInstances = 5;
    OK(RtmxSetLimits(&before, sizeof before));
    for (size = 101; size <= sizeof in; size++)
        EQ(RtmxSetLimits(&in.limits, size), ERROR_NOT_SUPPORTED);
    OK(RtmxGetLimits(&now, sizeof now));
    CHECK(memcmp(&now, &before, sizeof now) == 0);

    now.MaxEntities = (1u << 28) + 1;
    EQ(RtmxSetLimits(&now, sizeof now), ERROR_INVALID_PARAMETER);
    now.MaxEntities = 0xFFFFFFFFu;
    EQ(RtmxSetLimits(&now, sizeof now), ERROR_INVALID_PARAMETER);
    now = before;
    now.MaxReferences = 1u << 28;
    EQ(RtmxSetLimits(&now, sizeof now), ERROR_INVALID_PARAMETER);
    now = before;
    now.MaxInstances = now.MaxOpaquePointers = 0xFFFFFFFFu;
    now.MaxBacklog = ~(ULONGLONG)0;
    OK(RtmxSetLimits(&now, sizeof now));
    OK(RtmDeregisterEntity(add(60)));
    OK(RtmxSetLimits(&before, sizeof before));
    OK(RtmxGetLimits(&now, sizeof now));
    CHECK(memcmp(&now, &before, sizeof now) == 0);
}

/* One too many of everything. */
static void twice(void)
{
    RTM_ENTITY_HANDLE e = add(70);
    RTMX_READER_HANDLE r = NULL;
    int i;

    OK(RtmReferenceHandles(live, 1, &e));
    OK(RtmReleaseEntities(live, 1, &e));
    for (i = 0; i < 10; i++)
        EQ(RtmReleaseEntities(live, 1, &e), ERROR_INVALID_HANDLE);
    OK(RtmReferenceHandles(live, 1, &e));
    OK(RtmDeregisterEntity(e));
    for (i = 0; i < 10; i++)
        EQ(RtmDeregisterEntity(e), ERROR_INVALID_HANDLE);
    OK(RtmReleaseEntities(live, 1, &e));
    for (i = 0; i < 10; i++)
        EQ(RtmReleaseEntities(live, 1, &e), ERROR_INVALID_HANDLE);
    OK(RtmxCreateReader(&r));
    OK(RtmxDeleteReader(r));
    for (i = 0; i < 10; i++) {
        EQ(RtmxDeleteReader(r), ERROR_INVALID_HANDLE);
        EQ(RtmxLeave(), ERROR_NOT_LOCKED);
        EQ(RtmxReaderLeave(reader), ERROR_NOT_LOCKED);
    }
}

/* Every place with no library in use: the answers are the same, and nothing is made. */
static void unused_library(void)
{
    EQ(deregister(NULL), ERROR_INVALID_HANDLE);
    EQ(deregister(as_handle(77)), ERROR_INVALID_HANDLE);
    EQ(RtmGetRegisteredEntities(as_handle(77), NULL, NULL, NULL), ERROR_INVALID_HANDLE);
    EQ(RtmReleaseEntities(as_handle(77), 1, NULL), ERROR_INVALID_HANDLE);
    EQ(RtmGetEntityInfo(as_handle(77), as_handle(78), NULL), ERROR_INVALID_HANDLE);
    EQ(RtmReleaseEntityInfo(as_handle(77), NULL), ERROR_INVALID_HANDLE);
    EQ(RtmReferenceHandles(as_handle(77), 1, NULL), ERROR_INVALID_HANDLE);
    EQ(RtmxReaderEnter(as_handle(77)), ERROR_INVALID_HANDLE);
    EQ(RtmxReaderLeave(as_handle(77)), ERROR_INVALID_HANDLE);
    EQ(RtmxReaderQuiescent(as_handle(77)), ERROR_INVALID_HANDLE);
    EQ(RtmxDeleteReader(as_handle(77)), ERROR_INVALID_HANDLE);
    EQ(RtmxLeave(), ERROR_NOT_LOCKED);
    EQ(RtmxQuiescent(), ERROR_NOT_LOCKED);
    OK(RtmxShutdown());
    EQ(statistics().Bytes, 0);
}

int main(void)
{
    unused_library();
    live = add_with(1, &live, NULL);
    other = add_with(2, &other, NULL);
    OK(RtmxCreateReader(&reader));
    bad_handles();
    bad_pointers();
    counts();
    sizes();
    twice();
    EQ(statistics().Live, 2);
    OK(RtmDeregisterEntity(live));
    OK(RtmDeregisterEntity(other));
    OK(RtmxShutdown());
    unused_library();
    return check_done("misuse");
}
