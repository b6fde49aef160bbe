/* Giving everything back, and beginning afresh. */
#include "check.h"

#include <dirent.h>
#include <malloc.h>

static unsigned cleaned;

static VOID WINAPI count(PVOID context)
{
    (void)context;
    ADD(&cleaned, 1);
}

static unsigned tasks(void)
{
    unsigned n = 0;
    DIR *dir = opendir("/proc/self/task");
    struct dirent *entry;
    CHECK(dir != NULL);
    while ((entry = readdir(dir)) != NULL)
        n += entry->d_name[0] != '.';
    closedir(dir);
    return n;
}

/* A joined thread may be listed a little longer: the kernel tells of its end before it takes it off. */
static void await_one_task(void)
{
    AWAIT(tasks() == 1);
}

/* Pages of address space and of memory in use. */
static unsigned long pages(unsigned long *resident)
{
    unsigned long size = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    CHECK(file != NULL);
    EQ(fscanf(file, "%lu %lu", &size, resident), 2);
    fclose(file);
    return size;
}

/* --- When it is refused --- */

typedef struct {
    pthread_barrier_t barrier;
    RTMX_READER_HANDLE reader;
} Inside;

static void *be_inside(void *argument)
{
    Inside *inside = (Inside *)argument;
    OK(inside->reader ? RtmxReaderEnter(inside->reader) : RtmxEnter());
    pthread_barrier_wait(&inside->barrier);
    pthread_barrier_wait(&inside->barrier);
    OK(inside->reader ? RtmxReaderLeave(inside->reader) : RtmxLeave());
    return NULL;
}

static void busy_with(Inside *inside)
{
    pthread_t thread = start(be_inside, inside);
    pthread_barrier_wait(&inside->barrier);
    EQ(RtmxShutdown(), ERROR_BUSY);
    EQ(RtmxShutdown(), ERROR_BUSY);
    EQ(statistics().Inside, 1);
    pthread_barrier_wait(&inside->barrier);
    join(thread);
}

static void refusals(void)
{
    RTM_ENTITY_HANDLE e, next;
    RTMX_READER_HANDLE reader = NULL;
    RTM_ENTITY_INFO info;
    Inside inside;
    void *context;

    OK(RtmxShutdown());
    e = add_with(1, &inside, count);
    EQ(RtmxShutdown(), ERROR_BUSY);
    /* On failure nothing has changed. */
    OK(RtmGetEntityInfo(e, e, &info));
    OK(RtmxEnter());
    OK(RtmxGetContext(e, &context));
    CHECK(context == &inside);
    EQ(RtmxShutdown(), ERROR_POSSIBLE_DEADLOCK);
    OK(RtmxLeave());
    EQ(cleaned, 0);

    /* Departed and referenced: somebody of the same table must release it. */
    OK(RtmReferenceHandles(e, 1, &e));
    OK(RtmDeregisterEntity(e));
    OK(RtmxFlush());
    EQ(RtmxShutdown(), ERROR_BUSY);
    next = add(1);
    OK(RtmReleaseEntities(next, 1, &e));
    EQ(RtmxShutdown(), ERROR_BUSY);
    OK(RtmDeregisterEntity(next));

    OK(RtmxCreateReader(&reader));
    EQ(pthread_barrier_init(&inside.barrier, NULL, 2), 0);
    inside.reader = NULL;
    busy_with(&inside);
    inside.reader = reader;
    busy_with(&inside);
    pthread_barrier_destroy(&inside.barrier);
    OK(RtmxReaderEnter(reader));
    EQ(RtmxShutdown(), ERROR_POSSIBLE_DEADLOCK);
    OK(RtmxReaderLeave(reader));

    OK(RtmxShutdown());
    EQ(cleaned, 1);
    await_one_task();
    OK(RtmxShutdown());
    EQ(statistics().Bytes, 0);
    EQ(statistics().Registered, 0);
}

/* --- Afresh --- */

static void old_handles(void)
{
    enum { N = 100 };
    RTM_ENTITY_HANDLE old[N], now[N];
    RTMX_READER_HANDLE old_reader = NULL, reader = NULL;
    RTM_ENTITY_INFO info;
    void *context = NULL;
    int i, round;

    OK(RtmxCreateReader(&old_reader));
    for (i = 0; i < N; i++)
        old[i] = add_with((uint64_t)i, NULL, count);
    for (i = 0; i < N; i++)
        OK(RtmDeregisterEntity(old[i]));
    OK(RtmxShutdown());
    for (round = 0; round < 5; round++) {
        /* With nothing there, with readers alone, with entities. */
        for (i = 0; i < N; i++) {
            EQ(RtmDeregisterEntity(old[i]), ERROR_INVALID_HANDLE);
            EQ(RtmGetEntityInfo(old[i], old[i], &info), ERROR_INVALID_HANDLE);
            EQ(RtmxReaderEnter(old[i]), ERROR_INVALID_HANDLE);
        }
        EQ(RtmxReaderEnter(old_reader), ERROR_INVALID_HANDLE);
        EQ(RtmxReaderLeave(old_reader), ERROR_INVALID_HANDLE);
        EQ(RtmxDeleteReader(old_reader), ERROR_INVALID_HANDLE);
        OK(RtmxCreateReader(&reader));
        CHECK(reader != old_reader);
        EQ(RtmxReaderEnter(old_reader), ERROR_INVALID_HANDLE);
        EQ(RtmxDeleteReader(old_reader), ERROR_INVALID_HANDLE);
        for (i = 0; i < N; i++)
            now[i] = add((uint64_t)i);
        OK(RtmxEnter());
        for (i = 0; i < N; i++) {
            int j;
            for (j = 0; j < N; j++)
                CHECK(now[i] != old[j]);
            EQ(RtmxGetContext(old[i], &context), ERROR_INVALID_HANDLE);
            EQ(RtmGetEntityInfo(now[0], old[i], &info), ERROR_INVALID_HANDLE);
            EQ(RtmReferenceHandles(now[0], 1, &old[i]), ERROR_INVALID_HANDLE);
            EQ(RtmReleaseEntities(now[0], 1, &old[i]), ERROR_INVALID_HANDLE);
            EQ(RtmDeregisterEntity(old[i]), ERROR_INVALID_HANDLE);
        }
        OK(RtmxLeave());
        for (i = 0; i < N; i++)
            OK(RtmDeregisterEntity(now[i]));
        OK(RtmxShutdown());
    }
}

static void default_limits(void)
{
    RTMX_LIMITS before, few, now;
    RTM_ENTITY_HANDLE e = NULL;

    OK(RtmxGetLimits(&before, sizeof before));
    few = before;
    few.MaxEntities = few.MaxInstances = few.MaxReferences = few.MaxOpaquePointers = 0;
    few.MaxBacklog = 0;
    OK(RtmxSetLimits(&few, sizeof few));
    EQ(try_register(0, TEST_INET, 1, NULL, NULL, &e), ERROR_NO_SYSTEM_RESOURCES);
    OK(RtmxShutdown());
    OK(RtmxGetLimits(&now, sizeof now));
    CHECK(memcmp(&now, &before, sizeof now) == 0);
    OK(RtmDeregisterEntity(add(1)));
    OK(RtmxShutdown());
}

/* What is still to be cleaned up is cleaned up first, by the reclaimer. */
static void pending_cleanups(void)
{
    unsigned i, n = (unsigned)check_rounds(5000);
    cleaned = 0;
    for (i = 0; i < n; i++)
        OK(RtmDeregisterEntity(add_with(i, NULL, count)));
    OK(RtmxShutdown());
    EQ(cleaned, n);
}

/* A cleanup that comes up during the shutdown itself, and deregisters what it registers. */
static unsigned links;

static VOID WINAPI next_link(PVOID context)
{
    RTM_ENTITY_HANDLE next = NULL;
    EQ(RtmxShutdown(), ERROR_POSSIBLE_DEADLOCK);
    EQ(RtmxFlush(), ERROR_POSSIBLE_DEADLOCK);
    ADD(&cleaned, 1);
    if (ADD(&links, -1) > 1) {
        OK(try_register(0, TEST_INET, 1, context, next_link, &next));
        OK(RtmDeregisterEntity(next));
    }
}

static void chained_cleanups(void)
{
    unsigned round;
    for (round = 0; round < 10; round++) {
        cleaned = 0;
        links = 5;
        OK(RtmDeregisterEntity(add_with(1, NULL, next_link)));
        OK(RtmxShutdown());
        EQ(cleaned, 5);
    }
}

/* ... and one that leaves something registered: it must not be lost. */
static RTM_ENTITY_HANDLE successor;

static VOID WINAPI register_successor(PVOID context)
{
    (void)context;
    OK(try_register(0, TEST_INET, 2, NULL, count, &successor));
}

static void successors(void)
{
    unsigned round;
    for (round = 0; round < 100; round++) {
        DWORD code;
        cleaned = 0;
        successor = NULL;
        OK(RtmDeregisterEntity(add_with(1, NULL, register_successor)));
        code = RtmxShutdown();
        if (code != NO_ERROR)
            EQ(code, ERROR_BUSY);
        /* Refused because of it, or not: a registration ends by being deregistered. */
        AWAIT(LOAD(&successor) != NULL);
        OK(RtmDeregisterEntity(successor));
        OK(RtmxFlush());
        EQ(cleaned, 1);
        OK(RtmxShutdown());
    }
}

/* --- Threads that live through it --- */

static pthread_barrier_t barrier;
enum { VETERANS = 4, LIVES = 30 };

static void *veteran(void *number)
{
    uint64_t id = 10 + (uint64_t)(uintptr_t)number;
    int life;

    for (life = 0; life < LIVES; life++) {
        RTM_ENTITY_HANDLE mine = add_with(id, &barrier, count);
        RTM_ENTITY_INFO info;
        void *context = NULL;
        OK(RtmxEnter());
        OK(RtmxEnter());
        OK(RtmxGetContext(mine, &context));
        CHECK(context == &barrier);
        OK(RtmGetEntityInfo(mine, mine, &info));
        OK(RtmxLeave());
        OK(RtmxLeave());
        OK(RtmDeregisterEntity(mine));
        pthread_barrier_wait(&barrier);
        /* Shut down in between. */
        pthread_barrier_wait(&barrier);
        EQ(RtmDeregisterEntity(mine), ERROR_INVALID_HANDLE);
        EQ(RtmxLeave(), ERROR_NOT_LOCKED);
        EQ(RtmxQuiescent(), ERROR_NOT_LOCKED);
        EQ(RtmxGetContext(mine, &context), ERROR_NOT_LOCKED);
        /* Some ask for something at once, some find others' work. */
        if ((life + (int)id) % 3 == 0)
            OK(RtmxFlush());
        if ((life + (int)id) % 3 == 1)
            OK(RtmxSynchronize());
    }
    /* The last of them end with a record of what has been given back. */
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    return NULL;
}

static void veterans(void)
{
    pthread_t threads[VETERANS];
    uintptr_t i;
    int life;

    cleaned = 0;
    EQ(pthread_barrier_init(&barrier, NULL, VETERANS + 1), 0);
    for (i = 0; i < VETERANS; i++)
        threads[i] = start(veteran, (void *)i);
    for (life = 0; life < LIVES; life++) {
        pthread_barrier_wait(&barrier);
        OK(RtmxShutdown());
        EQ(cleaned, VETERANS * (unsigned)(life + 1));
        pthread_barrier_wait(&barrier);
    }
    pthread_barrier_wait(&barrier);
    OK(RtmxShutdown());
    pthread_barrier_wait(&barrier);
    for (i = 0; i < VETERANS; i++)
        join(threads[i]);
    pthread_barrier_destroy(&barrier);
    OK(RtmxShutdown());
}

/* --- Again and again --- */

static void one_life(unsigned n)
{
    RTM_ENTITY_HANDLE all[64];
    RTMX_READER_HANDLE reader = NULL;
    RTM_ENTITY_HANDLE list[8];
    UINT number = 8;
    unsigned i;

    OK(RtmxCreateReader(&reader));
    for (i = 0; i < 64; i++)
        OK(try_register(i % 4, i & 1 ? TEST_INET : TEST_INET6, i, NULL, n & 1 ? count : NULL, &all[i]));
    EQ(RtmGetRegisteredEntities(all[0], &number, list, NULL), ERROR_INSUFFICIENT_BUFFER);
    OK(RtmReleaseEntities(all[0], number, list));
    OK(RtmxReaderEnter(reader));
    for (i = 0; i < 64; i++)
        OK(RtmDeregisterEntity(all[i]));
    OK(RtmxReaderLeave(reader));
    OK(RtmxShutdown());
}

static void no_growth(void)
{
    unsigned long rounds = check_rounds(1000), i, warm_up = rounds / 10 + 2;
    unsigned long size = 0, resident = 0, size_after, resident_after;
    struct mallinfo2 heap, heap_after;

    for (i = 0; i < warm_up; i++)
        one_life((unsigned)i);
    size = pages(&resident);
    heap = mallinfo2();
    for (i = 0; i < rounds; i++)
        one_life((unsigned)i);
    heap_after = mallinfo2();
    size_after = pages(&resident_after);
    /* Under a checker the first is 0, and the others are its own affair. */
    CHECK_OP(heap_after.uordblks, <=, heap.uordblks + 64 * 1024);
    if (heap.uordblks && !getenv("RTM_TEST_DIVISOR")) {
        CHECK_OP(size_after, <=, size + 512);
        CHECK_OP(resident_after, <=, resident + 512);
    }
    await_one_task();
}

int main(void)
{
    refusals();
    old_handles();
    default_limits();
    pending_cleanups();
    chained_cleanups();
    successors();
    veterans();
    no_growth();
    return check_done("shutdown");
}
