/* The query functions, and counted references. */
#include "check.h"

enum { MANY = 200 };

static RTM_ENTITY_HANDLE many[MANY];

static UINT listed(RTM_ENTITY_HANDLE self)
{
    UINT count = 0;
    DWORD code = RtmGetRegisteredEntities(self, &count, NULL, NULL);
    if (count)
        EQ(code, ERROR_INSUFFICIENT_BUFFER);
    else
        EQ(code, NO_ERROR);
    return count;
}

static int is_one_of_many(RTM_ENTITY_HANDLE handle)
{
    int i;
    for (i = 0; i < MANY; i++)
        if (many[i] == handle)
            return 1;
    return 0;
}

/* How many references there are: so many releases succeed. */
static unsigned drain(RTM_ENTITY_HANDLE self, RTM_ENTITY_HANDLE handle)
{
    unsigned released = 0;
    while (RtmReleaseEntities(self, 1, &handle) == NO_ERROR)
        released++;
    return released;
}

static void list_at(RTM_ENTITY_HANDLE self, UINT capacity, int want_handles, int want_infos)
{
    enum { ROOM = MANY + 50 };
    static RTM_ENTITY_HANDLE handles[ROOM + 1];
    static RTM_ENTITY_INFO infos[ROOM + 1];
    RTM_ENTITY_INFO blank;
    UINT count = capacity, expected, i, j;
    DWORD code;

    memset(handles, 0xEE, sizeof handles);
    memset(infos, 0xEE, sizeof infos);
    memset(&blank, 0xEE, sizeof blank);
    code = RtmGetRegisteredEntities(self, &count, want_handles ? handles : NULL, want_infos ? infos : NULL);
    EQ(code, capacity < MANY ? ERROR_INSUFFICIENT_BUFFER : NO_ERROR);
    expected = capacity == 0 || capacity > MANY ? (UINT)MANY : capacity;
    EQ(count, expected);
    if (capacity == 0)
        count = 0;
    for (i = 0; i < count; i++) {
        if (want_handles) {
            CHECK(is_one_of_many(handles[i]));
            for (j = 0; j < i; j++)
                CHECK(handles[i] != handles[j]);
        }
        if (want_infos) {
            EQ(infos[i].RtmInstanceId, 0);
            EQ(infos[i].AddressFamily, TEST_INET);
            CHECK_OP(infos[i].EntityId.EntityId, <, MANY);
            for (j = 0; j < i; j++)
                CHECK(infos[i].EntityId.EntityId != infos[j].EntityId.EntityId);
        }
        if (want_handles && want_infos)
            EQ(handles[i], many[infos[i].EntityId.EntityId]);
    }
    /* Nothing behind the entries is written. */
    for (i = count; i <= ROOM; i++) {
        EQ(handles[i], as_handle(0xEEEEEEEEEEEEEEEEu));
        CHECK(memcmp(&infos[i], &blank, sizeof blank) == 0);
    }
    /* One reference on each stored handle, and on nothing else. */
    if (want_handles && count)
        OK(RtmReleaseEntities(self, count, handles));
    for (i = 0; i < MANY; i++)
        EQ(drain(self, many[i]), 0);
}

static void listing(void)
{
    static const UINT capacities[] = {0, 1, 2, 63, MANY - 1, MANY, MANY + 1, MANY + 50};
    RTM_ENTITY_HANDLE other_family = NULL, other_instance = NULL;
    UINT count = 0xFFFFFFFFu;
    unsigned i;

    for (i = 0; i < MANY; i++)
        many[i] = add(i);
    OK(try_register(0, TEST_INET6, 0, NULL, NULL, &other_family));
    OK(try_register(1, TEST_INET, 0, NULL, NULL, &other_instance));
    for (i = 0; i < sizeof capacities / sizeof *capacities; i++) {
        list_at(many[0], capacities[i], 0, 0);
        list_at(many[1], capacities[i], 1, 0);
        list_at(many[2], capacities[i], 0, 1);
        list_at(many[MANY - 1], capacities[i], 1, 1);
    }
    OK(RtmGetRegisteredEntities(many[0], &count, NULL, NULL));
    EQ(count, MANY);
    EQ(listed(other_family), 1);
    EQ(listed(other_instance), 1);
    /* What departs is not shown, referenced or not. */
    OK(RtmReferenceHandles(many[0], 1, &many[7]));
    OK(RtmDeregisterEntity(many[7]));
    OK(RtmDeregisterEntity(many[8]));
    EQ(listed(many[0]), MANY - 2);
    EQ(listed(other_family), 1);
    OK(RtmReleaseEntities(many[0], 1, &many[7]));
    for (i = 0; i < MANY; i++)
        EQ(RtmDeregisterEntity(many[i]), i == 7 || i == 8 ? ERROR_INVALID_HANDLE : NO_ERROR);
    OK(RtmDeregisterEntity(other_family));
    OK(RtmDeregisterEntity(other_instance));
}

static void listing_errors(void)
{
    RTM_ENTITY_HANDLE self = add(1), gone = add(2), handles[2];
    RTM_ENTITY_INFO infos[2];
    UINT count = 2, before;

    OK(RtmDeregisterEntity(gone));
    memset(handles, 0xEE, sizeof handles);
    EQ(RtmGetRegisteredEntities(gone, &count, handles, infos), ERROR_INVALID_HANDLE);
    EQ(RtmGetRegisteredEntities(NULL, &count, handles, infos), ERROR_INVALID_HANDLE);
    EQ(RtmGetRegisteredEntities(NULL, NULL, NULL, NULL), ERROR_INVALID_HANDLE);
    EQ(RtmGetRegisteredEntities(self, NULL, handles, infos), ERROR_INVALID_PARAMETER);
    EQ(RtmGetRegisteredEntities(self, &count, (PRTM_ENTITY_HANDLE)(void *)((char *)handles + 4), infos),
       ERROR_INVALID_PARAMETER);
    EQ(RtmGetRegisteredEntities(self, &count, handles, (PRTM_ENTITY_INFO)(void *)((char *)infos + 4)),
       ERROR_INVALID_PARAMETER);
    before = count;
    EQ(before, 2);
    EQ(handles[0], as_handle(0xEEEEEEEEEEEEEEEEu));
    EQ(drain(self, self), 0);
    OK(RtmDeregisterEntity(self));
}

static RTMX_LIMITS set_references(UINT most)
{
    RTMX_LIMITS before, now;
    OK(RtmxGetLimits(&before, sizeof before));
    now = before;
    now.MaxReferences = most;
    OK(RtmxSetLimits(&now, sizeof now));
    return before;
}

/* An entity that has the most references fails the whole listing: no reference is kept, no count told. */
static void listing_at_the_limit(void)
{
    enum { FEW = 20 };
    RTM_ENTITY_HANDLE all[FEW], handles[FEW];
    RTM_ENTITY_INFO infos[FEW];
    RTMX_LIMITS before = set_references(1);
    UINT count;
    unsigned i, j;

    for (i = 0; i < FEW; i++)
        all[i] = add(i);
    for (i = 0; i < FEW; i++) {
        OK(RtmReferenceHandles(all[0], 1, &all[i]));
        count = FEW;
        EQ(RtmGetRegisteredEntities(all[0], &count, handles, infos), ERROR_NO_SYSTEM_RESOURCES);
        EQ(count, FEW);
        for (j = 0; j < FEW; j++)
            EQ(drain(all[0], all[j]), i == j);
    }
    /* Without handles there is nothing to count. */
    OK(RtmReferenceHandles(all[0], FEW, all));
    count = FEW;
    OK(RtmGetRegisteredEntities(all[0], &count, NULL, infos));
    EQ(count, FEW);
    OK(RtmReleaseEntities(all[0], FEW, all));
    OK(RtmxSetLimits(&before, sizeof before));
    for (i = 0; i < FEW; i++)
        OK(RtmDeregisterEntity(all[i]));
}

static void describing(void)
{
    RTM_ENTITY_HANDLE a = add(1), b = add(2), six = NULL, other = NULL;
    RTM_ENTITY_INFO info, before;

    OK(try_register(0, TEST_INET6, 1, NULL, NULL, &six));
    OK(try_register(9, TEST_INET, 1, NULL, NULL, &other));
    OK(RtmGetEntityInfo(a, b, &info));
    EQ(info.RtmInstanceId, 0);
    EQ(info.AddressFamily, TEST_INET);
    EQ(info.EntityId.EntityId, 2);
    OK(RtmGetEntityInfo(six, six, &info));
    EQ(info.AddressFamily, TEST_INET6);
    OK(RtmGetEntityInfo(other, other, &info));
    EQ(info.RtmInstanceId, 9);

    memset(&info, 0xEE, sizeof info);
    memset(&before, 0xEE, sizeof before);
    EQ(RtmGetEntityInfo(a, six, &info), ERROR_INVALID_HANDLE);
    EQ(RtmGetEntityInfo(six, a, &info), ERROR_INVALID_HANDLE);
    EQ(RtmGetEntityInfo(a, other, &info), ERROR_INVALID_HANDLE);
    EQ(RtmGetEntityInfo(other, a, &info), ERROR_INVALID_HANDLE);
    EQ(RtmGetEntityInfo(a, NULL, &info), ERROR_INVALID_HANDLE);
    EQ(RtmGetEntityInfo(NULL, a, &info), ERROR_INVALID_HANDLE);
    EQ(RtmGetEntityInfo(NULL, NULL, NULL), ERROR_INVALID_HANDLE);
    EQ(RtmGetEntityInfo(a, b, NULL), ERROR_INVALID_PARAMETER);
    EQ(RtmGetEntityInfo(a, NULL, NULL), ERROR_INVALID_PARAMETER);
    CHECK(memcmp(&info, &before, sizeof info) == 0);

    OK(RtmReleaseEntityInfo(a, &info));
    OK(RtmReleaseEntityInfo(a, &info));
    OK(RtmReleaseEntityInfo(six, &info));
    CHECK(memcmp(&info, &before, sizeof info) == 0);
    EQ(RtmReleaseEntityInfo(a, NULL), ERROR_INVALID_PARAMETER);
    EQ(RtmReleaseEntityInfo(NULL, &info), ERROR_INVALID_HANDLE);
    EQ(RtmReleaseEntityInfo(NULL, NULL), ERROR_INVALID_HANDLE);

    /* The information is a copy: it outlives its entity. */
    OK(RtmGetEntityInfo(a, b, &info));
    OK(RtmDeregisterEntity(b));
    EQ(RtmGetEntityInfo(a, b, &before), ERROR_INVALID_HANDLE);
    EQ(RtmReleaseEntityInfo(b, &info), ERROR_INVALID_HANDLE);
    OK(RtmReleaseEntityInfo(a, &info));
    EQ(info.EntityId.EntityId, 2);
    OK(RtmDeregisterEntity(a));
    OK(RtmDeregisterEntity(six));
    OK(RtmDeregisterEntity(other));
}

static void references(void)
{
    RTM_ENTITY_HANDLE self = add(1), e = add(2), f = add(3), six = NULL, gone = add(4), list[4], copy[4];
    RTM_ENTITY_INFO info;

    OK(try_register(0, TEST_INET6, 1, NULL, NULL, &six));
    OK(RtmDeregisterEntity(gone));

    /* Nothing to do. */
    OK(RtmReferenceHandles(self, 0, NULL));
    OK(RtmReleaseEntities(self, 0, NULL));
    OK(RtmReferenceHandles(self, 0, (HANDLE *)(uintptr_t)3));
    OK(RtmReleaseEntities(self, 0, (HANDLE *)(uintptr_t)3));
    EQ(RtmReferenceHandles(self, 1, NULL), ERROR_INVALID_PARAMETER);
    EQ(RtmReleaseEntities(self, 1, NULL), ERROR_INVALID_PARAMETER);
    EQ(RtmReferenceHandles(gone, 0, NULL), ERROR_INVALID_HANDLE);
    EQ(RtmReleaseEntities(gone, 0, NULL), ERROR_INVALID_HANDLE);
    EQ(RtmReferenceHandles(gone, 1, NULL), ERROR_INVALID_HANDLE);
    EQ(RtmReleaseEntities(NULL, 1, NULL), ERROR_INVALID_HANDLE);

    /* A registration is no reference: it cannot be released. */
    EQ(RtmReleaseEntities(self, 1, &self), ERROR_INVALID_HANDLE);
    EQ(RtmReleaseEntities(self, 1, &e), ERROR_INVALID_HANDLE);
    OK(RtmGetEntityInfo(self, e, &info));

    /* A handle listed twice gets two. */
    list[0] = e, list[1] = f, list[2] = e, list[3] = self;
    memcpy(copy, list, sizeof list);
    OK(RtmReferenceHandles(self, 4, list));
    CHECK(memcmp(list, copy, sizeof list) == 0);
    EQ(drain(self, e), 2);
    EQ(drain(self, f), 1);
    EQ(drain(self, self), 1);

    /* All or nothing. */
    list[2] = gone;
    EQ(RtmReferenceHandles(self, 4, list), ERROR_INVALID_HANDLE);
    list[2] = six;
    EQ(RtmReferenceHandles(self, 4, list), ERROR_INVALID_HANDLE);
    list[2] = NULL;
    EQ(RtmReferenceHandles(self, 4, list), ERROR_INVALID_HANDLE);
    list[2] = e, list[3] = as_handle(0x123456789u);
    EQ(RtmReferenceHandles(self, 4, list), ERROR_INVALID_HANDLE);
    EQ(drain(self, e) + drain(self, f) + drain(self, self), 0);

    /* Releasing goes on after a bad element, and says so. */
    list[0] = e, list[1] = f, list[2] = e, list[3] = self;
    OK(RtmReferenceHandles(self, 4, list));
    copy[0] = e, copy[1] = NULL, copy[2] = gone, copy[3] = f;
    memcpy(list, copy, sizeof list);
    EQ(RtmReleaseEntities(self, 4, copy), ERROR_INVALID_HANDLE);
    CHECK(memcmp(list, copy, sizeof list) == 0);
    EQ(drain(self, e), 1);
    EQ(drain(self, f), 0);
    EQ(drain(self, self), 1);

    /* One table's entity does not count another's. */
    OK(RtmReferenceHandles(six, 1, &six));
    EQ(RtmReleaseEntities(self, 1, &six), ERROR_INVALID_HANDLE);
    EQ(drain(six, six), 1);
    EQ(RtmReferenceHandles(self, 1, &six), ERROR_INVALID_HANDLE);

    OK(RtmDeregisterEntity(self));
    OK(RtmDeregisterEntity(e));
    OK(RtmDeregisterEntity(f));
    OK(RtmDeregisterEntity(six));
}

/* A departed entity that is referenced can be described and referenced, and nothing else. */
static void departed(void)
{
    RTM_ENTITY_HANDLE self = add(1), e = add(2), six = NULL, successor, *old;
    RTM_ENTITY_INFO info;
    unsigned long i, rounds = check_rounds(5000);
    void *context = &info;

    OK(try_register(0, TEST_INET6, 1, NULL, NULL, &six));
    OK(RtmReferenceHandles(self, 1, &e));
    OK(RtmDeregisterEntity(e));
    EQ(statistics().Referenced, 1);
    OK(RtmxFlush());
    EQ(statistics().Referenced, 1);
    EQ(RtmDeregisterEntity(e), ERROR_INVALID_HANDLE);
    OK(RtmGetEntityInfo(self, e, &info));
    EQ(info.EntityId.EntityId, 2);
    EQ(RtmGetEntityInfo(six, e, &info), ERROR_INVALID_HANDLE);
    EQ(RtmReferenceHandles(six, 1, &e), ERROR_INVALID_HANDLE);
    EQ(RtmReleaseEntities(six, 1, &e), ERROR_INVALID_HANDLE);
    OK(RtmReferenceHandles(self, 1, &e));
    OK(RtmxEnter());
    EQ(RtmxGetContext(e, &context), ERROR_INVALID_HANDLE);
    OK(RtmxLeave());
    /* It is no caller any more. */
    EQ(RtmGetEntityInfo(e, self, &info), ERROR_INVALID_HANDLE);
    EQ(RtmGetEntityInfo(e, e, &info), ERROR_INVALID_HANDLE);
    EQ(RtmReleaseEntityInfo(e, &info), ERROR_INVALID_HANDLE);
    EQ(RtmReferenceHandles(e, 1, &self), ERROR_INVALID_HANDLE);
    EQ(RtmReleaseEntities(e, 1, &e), ERROR_INVALID_HANDLE);
    /* Its id is free, and the new entity is another. */
    successor = add(2);
    CHECK(successor != e);
    OK(RtmReleaseEntities(self, 1, &e));
    OK(RtmGetEntityInfo(self, e, &info));
    OK(RtmReleaseEntities(self, 1, &e));
    EQ(RtmGetEntityInfo(self, e, &info), ERROR_INVALID_HANDLE);
    EQ(RtmReferenceHandles(self, 1, &e), ERROR_INVALID_HANDLE);
    EQ(RtmReleaseEntities(self, 1, &e), ERROR_INVALID_HANDLE);
    EQ(statistics().Referenced, 0);
    OK(RtmGetEntityInfo(self, successor, &info));

    /* Many of them: no slot is used again under a reference. */
    old = (RTM_ENTITY_HANDLE *)malloc(rounds * sizeof *old);
    CHECK(old != NULL);
    for (i = 0; i < rounds; i++) {
        old[i] = add(100 + i);
        OK(RtmReferenceHandles(self, 1, &old[i]));
        OK(RtmDeregisterEntity(old[i]));
    }
    OK(RtmxFlush());
    EQ(statistics().Referenced, rounds);
    for (i = 0; i < rounds; i++)
        OK(RtmDeregisterEntity(add(100 + i)));
    for (i = 0; i < rounds; i++) {
        OK(RtmGetEntityInfo(self, old[i], &info));
        EQ(info.EntityId.EntityId, 100 + i);
    }
    OK(RtmReleaseEntities(self, (UINT)rounds, old));
    EQ(RtmReleaseEntities(self, (UINT)rounds, old), ERROR_INVALID_HANDLE);
    OK(RtmxFlush());
    EQ(statistics().Referenced, 0);
    free(old);
    OK(RtmDeregisterEntity(successor));
    OK(RtmDeregisterEntity(self));
    OK(RtmDeregisterEntity(six));
}

static void reference_limit(void)
{
    RTM_ENTITY_HANDLE self = add(1), e = add(2), list[6];
    RTMX_LIMITS before = set_references(5);
    int i;

    EQ(before.MaxReferences, (1u << 28) - 1);
    for (i = 0; i < 6; i++)
        list[i] = e;
    EQ(RtmReferenceHandles(self, 6, list), ERROR_NO_SYSTEM_RESOURCES);
    EQ(drain(self, e), 0);
    OK(RtmReferenceHandles(self, 5, list));
    EQ(RtmReferenceHandles(self, 1, list), ERROR_NO_SYSTEM_RESOURCES);
    OK(RtmReleaseEntities(self, 1, list));
    OK(RtmReferenceHandles(self, 1, list));
    /* A lower limit takes nothing away; what is above it can be given back. */
    set_references(0);
    EQ(RtmReferenceHandles(self, 1, list), ERROR_NO_SYSTEM_RESOURCES);
    EQ(drain(self, e), 5);
    EQ(RtmReferenceHandles(self, 1, list), ERROR_NO_SYSTEM_RESOURCES);
    OK(RtmxSetLimits(&before, sizeof before));
    OK(RtmReferenceHandles(self, 1, list));
    EQ(drain(self, e), 1);
    OK(RtmDeregisterEntity(self));
    OK(RtmDeregisterEntity(e));
}

/* A listing shows every entity that stays, once, whoever comes and goes meanwhile. */
enum { STAYING = 100, CROWD = 3 };
static int stop;

static void *come_and_go(void *number)
{
    enum { WAVE = 700 };
    RTM_ENTITY_HANDLE wave[WAVE];
    uint64_t id = ((uint64_t)(uintptr_t)number + 1) << 32;
    while (!LOAD(&stop)) {
        int i;
        for (i = 0; i < WAVE; i++)
            wave[i] = add(++id);
        for (i = 0; i < WAVE; i++)
            OK(RtmDeregisterEntity(wave[i]));
    }
    return NULL;
}

static void listing_a_crowd(void)
{
    enum { ROOM = 8192 };
    static RTM_ENTITY_INFO infos[ROOM];
    static RTM_ENTITY_HANDLE handles[ROOM];
    RTM_ENTITY_HANDLE staying[STAYING];
    pthread_t crowd[CROWD];
    unsigned long rounds = check_rounds(3000), round;
    uintptr_t i;

    for (i = 0; i < STAYING; i++)
        staying[i] = add(i);
    for (i = 0; i < CROWD; i++)
        crowd[i] = start(come_and_go, (void *)i);
    for (round = 0; round < rounds; round++) {
        unsigned char seen[STAYING];
        UINT count = ROOM, n = 0;
        int with_handles = round % 4 == 0;
        memset(seen, 0, sizeof seen);
        OK(RtmGetRegisteredEntities(staying[0], &count, with_handles ? handles : NULL, infos));
        for (i = 0; i < count; i++)
            if (infos[i].EntityId.EntityId < STAYING) {
                EQ(seen[infos[i].EntityId.EntityId]++, 0);
                n++;
            }
        EQ(n, STAYING);
        if (with_handles)
            OK(RtmReleaseEntities(staying[0], count, handles));
    }
    STORE(&stop, 1);
    for (i = 0; i < CROWD; i++)
        join(crowd[i]);
    for (i = 0; i < STAYING; i++)
        OK(RtmDeregisterEntity(staying[i]));
}

/* References of many threads add up. */
enum { SHARERS = 4 };
static RTM_ENTITY_HANDLE shared_self, shared_entity;

static void *share(void *rounds)
{
    unsigned long i;
    for (i = 0; i < *(unsigned long *)rounds; i++) {
        RTM_ENTITY_HANDLE list[2];
        list[0] = list[1] = shared_entity;
        OK(RtmReferenceHandles(shared_self, 2, list));
        OK(RtmReleaseEntities(shared_self, 1, list));
    }
    return NULL;
}

static void shared_references(void)
{
    pthread_t threads[SHARERS];
    unsigned long rounds = check_rounds(20000);
    int i;

    shared_self = add(1);
    shared_entity = add(2);
    for (i = 0; i < SHARERS; i++)
        threads[i] = start(share, &rounds);
    for (i = 0; i < SHARERS; i++)
        join(threads[i]);
    OK(RtmDeregisterEntity(shared_entity));
    EQ(drain(shared_self, shared_entity), SHARERS * rounds);
    OK(RtmDeregisterEntity(shared_self));
}

int main(void)
{
    listing();
    listing_errors();
    listing_at_the_limit();
    describing();
    references();
    departed();
    reference_limit();
    shared_references();
    listing_a_crowd();
    EQ(statistics().Live, 0);
    OK(RtmxShutdown());
    return check_done("queries");
}
