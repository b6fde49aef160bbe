/* Read sections of threads and of reader objects, and what is looked up inside. */
#include "check.h"

#define CANARY 0x5EC7104E5EC7104Eu

typedef struct {
    uint64_t canary;
    uint64_t id;
} Context;

static unsigned cleaned;

static VOID WINAPI spoil(PVOID context)
{
    Context *mine = (Context *)context;
    EQ(mine->canary, CANARY);
    mine->canary = 0;
    free(mine);
    ADD(&cleaned, 1);
}

static Context *fresh(uint64_t id)
{
    Context *context = (Context *)malloc(sizeof *context);
    CHECK(context != NULL);
    context->canary = CANARY;
    context->id = id;
    return context;
}

/* The two ways to do the same: NULL is the thread's own section. */
static RTMX_READER_HANDLE by;

static DWORD enter(void) { return by ? RtmxReaderEnter(by) : RtmxEnter(); }
static DWORD leave(void) { return by ? RtmxReaderLeave(by) : RtmxLeave(); }
static DWORD quiescent(void) { return by ? RtmxReaderQuiescent(by) : RtmxQuiescent(); }
static DWORD get(RTM_ENTITY_HANDLE entity, void **context)
{
    return by ? RtmxReaderGetContext(by, entity, context) : RtmxGetContext(entity, context);
}
static DWORD get_many(UINT count, PRTM_ENTITY_HANDLE entities, void **contexts, PUINT found)
{
    return by ? RtmxReaderGetContexts(by, count, entities, contexts, found)
              : RtmxGetContexts(count, entities, contexts, found);
}

static void outside(void)
{
    RTM_ENTITY_HANDLE e = add_with(1, &by, NULL);
    void *context = &context;
    UINT found = 77;

    EQ(leave(), ERROR_NOT_LOCKED);
    EQ(quiescent(), ERROR_NOT_LOCKED);
    EQ(get(e, &context), ERROR_NOT_LOCKED);
    EQ(get_many(1, &e, &context, &found), ERROR_NOT_LOCKED);
    EQ(get_many(0, NULL, NULL, NULL), ERROR_NOT_LOCKED);
    CHECK(context == &context && found == 77);
    OK(enter());
    OK(leave());
    EQ(leave(), ERROR_NOT_LOCKED);
    EQ(get(e, &context), ERROR_NOT_LOCKED);
    OK(RtmDeregisterEntity(e));
}

static void nesting(void)
{
    enum { DEPTH = 1000 };
    RTM_ENTITY_HANDLE e = add_with(1, &by, NULL);
    void *context;
    int i;

    for (i = 0; i < DEPTH; i++) {
        EQ(quiescent(), i == 0 ? ERROR_NOT_LOCKED : i == 1 ? NO_ERROR : ERROR_POSSIBLE_DEADLOCK);
        OK(enter());
        context = NULL;
        OK(get(e, &context));
        CHECK(context == &by);
        EQ(statistics().Inside, 1);
    }
    for (i = DEPTH; i > 0; i--) {
        EQ(RtmxSynchronize(), ERROR_POSSIBLE_DEADLOCK);
        EQ(RtmxFlush(), ERROR_POSSIBLE_DEADLOCK);
        EQ(RtmxShutdown(), ERROR_POSSIBLE_DEADLOCK);
        OK(get(e, &context));
        OK(leave());
    }
    EQ(leave(), ERROR_NOT_LOCKED);
    EQ(statistics().Inside, 0);
    OK(RtmxSynchronize());
    OK(RtmxFlush());
    OK(RtmDeregisterEntity(e));
}

static void looking_up(void)
{
    RTM_ENTITY_HANDLE plain = NULL, with = add_with(2, &by, NULL), six = NULL;
    RTM_ENTITY_INFO info = make_info(0, TEST_INET, 1);
    RTM_REGN_PROFILE profile;
    void *context = &context;

    OK(RtmRegisterEntity(&info, NULL, NULL, FALSE, &profile, &plain));
    OK(try_register(4, TEST_INET6, 1, &six, NULL, &six));
    OK(enter());
    OK(get(plain, &context));
    CHECK(context == NULL);
    OK(get(with, &context));
    CHECK(context == &by);
    /* Of any table. */
    OK(get(six, &context));
    CHECK(context == &six);
    EQ(get(NULL, &context), ERROR_INVALID_HANDLE);
    EQ(get(as_handle(12345), &context), ERROR_INVALID_HANDLE);
    EQ(get(with, NULL), ERROR_INVALID_PARAMETER);
    EQ(get(NULL, NULL), ERROR_INVALID_PARAMETER);
    EQ(get(with, (void **)(void *)((char *)&context + 1)), ERROR_INVALID_PARAMETER);
    CHECK(context == &six);
    /* Inside a section entities may come, be counted and go. */
    OK(RtmReferenceHandles(plain, 1, &with));
    OK(RtmDeregisterEntity(with));
    EQ(get(with, &context), ERROR_INVALID_HANDLE);
    OK(RtmGetEntityInfo(plain, with, &info));
    OK(RtmReleaseEntities(plain, 1, &with));
    with = add_with(2, &info, NULL);
    OK(get(with, &context));
    CHECK(context == &info);
    OK(RtmDeregisterEntity(with));
    OK(RtmDeregisterEntity(plain));
    OK(RtmDeregisterEntity(six));
    OK(leave());
}

static VOID WINAPI count_null(PVOID context)
{
    CHECK(context == NULL);
    ADD(&cleaned, 1);
}

/* A cleanup without a context is a cleanup all the same. */
static void null_context(void)
{
    RTM_ENTITY_HANDLE e = add_with(3, NULL, count_null);
    void *context = &context;

    cleaned = 0;
    OK(enter());
    OK(get(e, &context));
    CHECK(context == NULL);
    OK(leave());
    OK(RtmDeregisterEntity(e));
    OK(RtmxFlush());
    EQ(cleaned, 1);
}

static void looking_up_many(void)
{
    enum { N = 1000 };
    static RTM_ENTITY_HANDLE all[N];
    static void *found_at[N + 1], *in_place[N];
    UINT found, expected = 0, count = N;
    RTM_ENTITY_HANDLE self;
    int i;

    for (i = 0; i < N; i++)
        all[i] = add_with((uint64_t)i, &all[i], NULL);
    OK(enter());
    memset(found_at, 0xEE, sizeof found_at);
    found = 77;
    OK(get_many(N, all, found_at, &found));
    EQ(found, N);
    for (i = 0; i < N; i++)
        CHECK(found_at[i] == &all[i]);
    EQ((uintptr_t)found_at[N], 0xEEEEEEEEEEEEEEEEu);
    OK(get_many(N, all, found_at, NULL));
    memcpy(in_place, all, sizeof all);
    OK(get_many(N, in_place, in_place, NULL));
    EQ(memcmp(in_place, found_at, sizeof in_place), 0);
    found = 77;
    OK(get_many(0, NULL, NULL, &found));
    EQ(found, 0);
    OK(get_many(0, NULL, NULL, NULL));
    OK(get_many(0, (PRTM_ENTITY_HANDLE)(uintptr_t)3, (void **)(uintptr_t)5, NULL));

    for (i = 0; i < N; i++)
        if (i % 3 == 0)
            OK(RtmDeregisterEntity(all[i]));
        else
            expected++;
    all[1] = NULL;
    all[2] = as_handle(0xDEADBEEFCAFEF00Du);
    expected -= 2;
    memset(found_at, 0xEE, sizeof found_at);
    EQ(get_many(N, all, found_at, &found), ERROR_INVALID_HANDLE);
    EQ(found, expected);
    for (i = 0; i < N; i++)
        CHECK(found_at[i] == (i < 3 || i % 3 == 0 ? NULL : (void *)&all[i]));

    /* Nothing is written if the arguments are bad. */
    memset(found_at, 0xEE, sizeof found_at);
    found = 77;
    EQ(get_many(N, NULL, found_at, &found), ERROR_INVALID_PARAMETER);
    EQ(get_many(N, all, NULL, &found), ERROR_INVALID_PARAMETER);
    EQ(get_many(0xFFFFFFFFu, NULL, NULL, NULL), ERROR_INVALID_PARAMETER);
    EQ(get_many(N, (PRTM_ENTITY_HANDLE)(void *)((char *)all + 4), found_at, &found), ERROR_INVALID_PARAMETER);
    EQ(get_many(N, all, (void **)(void *)((char *)found_at + 1), &found), ERROR_INVALID_PARAMETER);
    EQ(get_many(N, all, found_at, (PUINT)(void *)((char *)&found + 1)), ERROR_INVALID_PARAMETER);
    EQ(found, 77);
    for (i = 0; i < N; i++)
        EQ((uintptr_t)found_at[i], 0xEEEEEEEEEEEEEEEEu);
    OK(leave());
    EQ(get_many(N, all, found_at, &found), ERROR_NOT_LOCKED);
    EQ(found, 77);
    EQ(RtmxShutdown(), ERROR_BUSY);
    /* The listing finds all that is left, the two lost ones too. */
    self = all[4];
    OK(RtmGetRegisteredEntities(self, &count, all, NULL));
    EQ(count, expected + 2);
    OK(RtmReleaseEntities(self, count, all));
    while (count)
        OK(RtmDeregisterEntity(all[--count]));
}

/* --- Protection --- */

static RTM_ENTITY_HANDLE victim;
static unsigned flushed;

static void *deregister(void *unused)
{
    OK(RtmDeregisterEntity(victim));
    EQ(RtmDeregisterEntity(victim), ERROR_INVALID_HANDLE);
    return unused;
}

static void *flush(void *unused)
{
    OK(RtmxFlush());
    ADD(&flushed, 1);
    return unused;
}

static void *synchronize(void *unused)
{
    OK(RtmxSynchronize());
    ADD(&flushed, 1);
    return unused;
}

/* A context is valid until the section ends, whoever deregisters and flushes meanwhile. */
static void protection(void *(*waiter)(void *))
{
    unsigned long i, looks = check_rounds(20000);
    void *context = NULL;
    Context *mine;
    pthread_t waiting;

    cleaned = flushed = 0;
    victim = add_with(1, fresh(1), spoil);
    OK(enter());
    OK(get(victim, &context));
    mine = (Context *)context;
    elsewhere(deregister, NULL);
    EQ(get(victim, &context), ERROR_INVALID_HANDLE);
    CHECK(context == mine);
    waiting = start(waiter, NULL);
    /* Others come and go, and a nested section ends: no reason to clean up. */
    for (i = 0; i < looks; i++) {
        OK(enter());
        EQ(LOAD(&mine->canary), CANARY);
        EQ(mine->id, 1);
        if (i % 16 == 0) {
            OK(RtmDeregisterEntity(add(100)));
            sched_yield();
        }
        OK(leave());
    }
    EQ(LOAD(&cleaned), 0);
    EQ(LOAD(&flushed), 0);
    EQ(mine->canary, CANARY);
    OK(leave());
    join(waiting);
    EQ(flushed, 1);
    OK(RtmxFlush());
    EQ(cleaned, 1);
}

/* A quiescent call lets go without leaving. */
static void letting_go(void)
{
    uint64_t until = check_now_ms() + 20000;
    void *context = NULL;

    cleaned = 0;
    OK(enter());
    victim = add_with(1, fresh(1), spoil);
    OK(get(victim, &context));
    elsewhere(deregister, NULL);
    EQ(((Context *)context)->canary, CANARY);
    EQ(LOAD(&cleaned), 0);
    while (LOAD(&cleaned) == 0) {
        struct timespec nap = {0, 200000};
        CHECK(check_now_ms() < until);
        OK(quiescent());
        nanosleep(&nap, NULL);
    }
    EQ(cleaned, 1);
    OK(quiescent());
    OK(leave());
    EQ(leave(), ERROR_NOT_LOCKED);
}

/* --- Reader objects --- */

static void reader_objects(void)
{
    enum { N = 100 };
    RTMX_READER_HANDLE a = NULL, b = NULL, all[N], old[N];
    RTM_ENTITY_HANDLE e = add_with(1, &a, NULL);
    void *context;
    int i, j;

    EQ(RtmxCreateReader(NULL), ERROR_INVALID_PARAMETER);
    EQ(RtmxCreateReader((PRTMX_READER_HANDLE)(void *)((char *)&a + 1)), ERROR_INVALID_PARAMETER);
    OK(RtmxCreateReader(&a));
    OK(RtmxCreateReader(&b));
    CHECK(a != NULL && b != NULL && a != b && a != e && b != e);

    /* Sections of two readers and the thread are apart. */
    OK(RtmxReaderEnter(a));
    EQ(statistics().Inside, 1);
    EQ(RtmxReaderGetContext(b, e, &context), ERROR_NOT_LOCKED);
    EQ(RtmxGetContext(e, &context), ERROR_NOT_LOCKED);
    EQ(RtmxLeave(), ERROR_NOT_LOCKED);
    EQ(RtmxReaderLeave(b), ERROR_NOT_LOCKED);
    OK(RtmxReaderEnter(b));
    OK(RtmxEnter());
    EQ(statistics().Inside, 3);
    OK(RtmxReaderLeave(a));
    EQ(RtmxReaderGetContext(a, e, &context), ERROR_NOT_LOCKED);
    OK(RtmxReaderGetContext(b, e, &context));
    OK(RtmxGetContext(e, &context));
    OK(RtmxLeave());
    OK(RtmxReaderGetContext(b, e, &context));
    EQ(RtmxFlush(), ERROR_POSSIBLE_DEADLOCK);
    EQ(RtmxSynchronize(), ERROR_POSSIBLE_DEADLOCK);
    EQ(RtmxShutdown(), ERROR_POSSIBLE_DEADLOCK);

    /* One that is inside stays. */
    EQ(RtmxDeleteReader(b), ERROR_BUSY);
    OK(RtmxReaderGetContext(b, e, &context));
    OK(RtmxReaderEnter(b));
    OK(RtmxReaderLeave(b));
    EQ(RtmxDeleteReader(b), ERROR_BUSY);
    OK(RtmxReaderLeave(b));
    OK(RtmxFlush());
    OK(RtmxDeleteReader(b));
    EQ(RtmxDeleteReader(b), ERROR_INVALID_HANDLE);
    EQ(RtmxReaderEnter(b), ERROR_INVALID_HANDLE);
    EQ(RtmxReaderLeave(b), ERROR_INVALID_HANDLE);
    EQ(RtmxReaderQuiescent(b), ERROR_INVALID_HANDLE);
    EQ(RtmxReaderGetContext(b, e, &context), ERROR_INVALID_HANDLE);
    EQ(RtmxReaderGetContexts(b, 1, &e, &context, NULL), ERROR_INVALID_HANDLE);
    OK(RtmxReaderEnter(a));
    OK(RtmxReaderLeave(a));
    OK(RtmxDeleteReader(a));

    /* A reader's place is used again, its handle is not. */
    for (i = 0; i < N; i++)
        OK(RtmxCreateReader(&old[i]));
    for (i = 0; i < N; i++)
        OK(RtmxDeleteReader(old[i]));
    for (i = 0; i < N; i++) {
        OK(RtmxCreateReader(&all[i]));
        for (j = 0; j < i; j++)
            CHECK(all[i] != all[j]);
        for (j = 0; j < N; j++)
            CHECK(all[i] != old[j]);
    }
    for (i = 0; i < N; i++)
        EQ(RtmxReaderEnter(old[i]), ERROR_INVALID_HANDLE);
    for (i = 0; i < N; i++)
        OK(RtmxReaderEnter(all[i]));
    EQ(statistics().Inside, N);
    for (i = 0; i < N; i++) {
        EQ(RtmxDeleteReader(all[i]), ERROR_BUSY);
        OK(RtmxReaderLeave(all[i]));
        OK(RtmxDeleteReader(all[i]));
    }
    EQ(statistics().Inside, 0);
    OK(RtmDeregisterEntity(e));
}

/* A reader goes from thread to thread, and another thread's section delays a wait. */
static RTMX_READER_HANDLE wandering;

static void *use_reader(void *entity)
{
    void *context = NULL;
    EQ(RtmxReaderLeave(wandering), ERROR_NOT_LOCKED);
    OK(RtmxReaderEnter(wandering));
    OK(RtmxReaderGetContext(wandering, (RTM_ENTITY_HANDLE)entity, &context));
    CHECK(context == &wandering);
    OK(RtmxReaderLeave(wandering));
    /* Not this thread's any more: it may wait. */
    OK(RtmxSynchronize());
    return NULL;
}

static void wandering_reader(void)
{
    RTM_ENTITY_HANDLE e = add_with(1, &wandering, NULL);
    int i;

    OK(RtmxCreateReader(&wandering));
    for (i = 0; i < 20; i++) {
        elsewhere(use_reader, e);
        use_reader(e);
    }
    OK(RtmxDeleteReader(wandering));
    OK(RtmDeregisterEntity(e));
}

/* A section that is older than the slots finds what is in them. */
static void older_than_the_slots(void)
{
    enum { N = 5000 };
    static RTM_ENTITY_HANDLE entities[N];
    static void *contexts[N];
    RTMX_READER_HANDLE reader = NULL;
    UINT found = 0;
    int i, round;

    OK(RtmxCreateReader(&reader));
    OK(RtmxEnter());
    OK(RtmxReaderEnter(reader));
    for (i = 0; i < N; i++)
        entities[i] = add_with((uint64_t)i, &entities[i], NULL);
    for (round = 0; round < 4; round++) {
        by = round % 2 ? reader : NULL;
        for (i = 0; i < N; i++) {
            void *context = NULL;
            OK(get(entities[i], &context));
            CHECK(context == &entities[i]);
        }
        memset(contexts, 0, sizeof contexts);
        OK(get_many(N, entities, contexts, &found));
        EQ(found, N);
        for (i = 0; i < N; i++)
            CHECK(contexts[i] == &entities[i]);
        OK(quiescent());
    }
    by = NULL;
    OK(RtmxLeave());
    OK(RtmxReaderLeave(reader));
    for (i = 0; i < N; i++)
        OK(RtmDeregisterEntity(entities[i]));
    OK(RtmxDeleteReader(reader));
}

int main(void)
{
    RTMX_READER_HANDLE reader = NULL;
    int round;

    /* Before anything was ever registered. */
    EQ(RtmxLeave(), ERROR_NOT_LOCKED);
    EQ(RtmxQuiescent(), ERROR_NOT_LOCKED);
    OK(RtmxSynchronize());
    OK(RtmxFlush());
    OK(RtmxEnter());
    OK(RtmxQuiescent());
    OK(RtmxLeave());

    OK(RtmxCreateReader(&reader));
    for (round = 0; round < 2; round++) {
        by = round ? reader : NULL;
        outside();
        nesting();
        looking_up();
        looking_up_many();
        null_context();
        protection(flush);
        protection(synchronize);
        letting_go();
    }
    by = NULL;
    OK(RtmxDeleteReader(reader));
    reader_objects();
    wandering_reader();
    older_than_the_slots();
    EQ(statistics().Live, 0);
    OK(RtmxShutdown());
    return check_done("sections");
}
