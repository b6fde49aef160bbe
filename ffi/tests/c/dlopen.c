/*
 * The shared library brought in at run time (its path is the first argument), let go, brought in again;
 * and, unless RTM_ALONE is defined, beside what this program is linked with: the second argument says
 * how many copies that makes.
 */
#include "check.h"

#include <dlfcn.h>

typedef struct {
    void *library;
    DWORD (*register_entity)(PRTM_ENTITY_INFO, PRTM_ENTITY_EXPORT_METHODS, RTM_EVENT_CALLBACK, BOOL, PVOID,
                             RTMX_CLEANUP, RTMX_QUEUE_HANDLE, PRTM_REGN_PROFILE, PRTM_ENTITY_HANDLE);
    DWORD (*deregister_entity)(RTM_ENTITY_HANDLE);
    DWORD (*get_info)(RTM_ENTITY_HANDLE, RTM_ENTITY_HANDLE, PRTM_ENTITY_INFO);
    DWORD (*reference)(RTM_ENTITY_HANDLE, UINT, HANDLE *);
    DWORD (*release)(RTM_ENTITY_HANDLE, UINT, PRTM_ENTITY_HANDLE);
    DWORD (*enter)(void);
    DWORD (*leave)(void);
    DWORD (*get_context)(RTM_ENTITY_HANDLE, PVOID *);
    DWORD (*create_reader)(PRTMX_READER_HANDLE);
    DWORD (*delete_reader)(RTMX_READER_HANDLE);
    DWORD (*reader_enter)(RTMX_READER_HANDLE);
    DWORD (*reader_leave)(RTMX_READER_HANDLE);
    DWORD (*flush)(void);
    DWORD (*shut_down)(void);
    DWORD (*get_statistics)(PRTMX_STATISTICS, UINT);
    UINT (*get_abi_number)(void);
} Copy;

static void resolve(void *library, const char *name, void *place)
{
    void *symbol = dlsym(library, name);
    if (!symbol)
        fprintf(stderr, "no %s\n", name);
    CHECK(symbol != NULL);
    memcpy(place, &symbol, sizeof symbol);
}

static Copy load(const char *path)
{
    Copy copy;
    copy.library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!copy.library)
        fprintf(stderr, "%s\n", dlerror());
    CHECK(copy.library != NULL);
    resolve(copy.library, "RtmxRegisterEntity", &copy.register_entity);
    resolve(copy.library, "RtmDeregisterEntity", &copy.deregister_entity);
    resolve(copy.library, "RtmGetEntityInfo", &copy.get_info);
    resolve(copy.library, "RtmReferenceHandles", &copy.reference);
    resolve(copy.library, "RtmReleaseEntities", &copy.release);
    resolve(copy.library, "RtmxEnter", &copy.enter);
    resolve(copy.library, "RtmxLeave", &copy.leave);
    resolve(copy.library, "RtmxGetContext", &copy.get_context);
    resolve(copy.library, "RtmxCreateReader", &copy.create_reader);
    resolve(copy.library, "RtmxDeleteReader", &copy.delete_reader);
    resolve(copy.library, "RtmxReaderEnter", &copy.reader_enter);
    resolve(copy.library, "RtmxReaderLeave", &copy.reader_leave);
    resolve(copy.library, "RtmxFlush", &copy.flush);
    resolve(copy.library, "RtmxShutdown", &copy.shut_down);
    resolve(copy.library, "RtmxGetStatistics", &copy.get_statistics);
    resolve(copy.library, "RtmxGetAbiNumber", &copy.get_abi_number);
    EQ(copy.get_abi_number(), RTMX_ABI_NUMBER);
    return copy;
}

static unsigned cleaned;

static VOID WINAPI count(PVOID context)
{
    (void)context;
    ADD(&cleaned, 1);
}

static RTM_ENTITY_HANDLE add_to(const Copy *copy, uint64_t id, void *context, RTMX_CLEANUP cleanup)
{
    RTM_ENTITY_INFO info = make_info(0, TEST_INET, id);
    RTM_REGN_PROFILE profile;
    RTM_ENTITY_HANDLE handle = NULL;
    OK(copy->register_entity(&info, NULL, NULL, FALSE, context, cleanup, NULL, &profile, &handle));
    return handle;
}

static RTMX_STATISTICS figures(const Copy *copy)
{
    RTMX_STATISTICS now;
    OK(copy->get_statistics(&now, sizeof now));
    return now;
}

/* --- Threads that end when the library has been let go --- */

static pthread_barrier_t barrier;
static Copy *used;
static RTM_ENTITY_HANDLE shown;

static void *outlive(void *how)
{
    RTMX_READER_HANDLE reader = NULL;
    void *context = NULL;

    OK(used->enter());
    OK(used->get_context(shown, &context));
    CHECK(context == &shown);
    if (how) {
        OK(used->leave());
        OK(used->create_reader(&reader));
        OK(used->reader_enter(reader));
        OK(used->reader_leave(reader));
        OK(used->delete_reader(reader));
    }
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    return NULL;
}

static void let_go_and_back(const char *path)
{
    Copy copy = load(path), back;
    RTM_ENTITY_HANDLE departed;
    RTM_ENTITY_INFO info;
    pthread_t threads[2];
    int round;

    for (round = 0; round < 5; round++) {
        cleaned = 0;
        used = &copy;
        shown = add_to(&copy, 1, &shown, count);
        departed = add_to(&copy, 2, NULL, count);
        EQ(pthread_barrier_init(&barrier, NULL, 3), 0);
        threads[0] = start(outlive, NULL);
        threads[1] = start(outlive, (void *)1);
        pthread_barrier_wait(&barrier);
        OK(copy.deregister_entity(departed));
        EQ(figures(&copy).Inside, 1);
        EQ(dlclose(copy.library), 0);
        /* One of them inside a section, both with records. The reclaimer lives as well. */
        pthread_barrier_wait(&barrier);
        join(threads[0]);
        join(threads[1]);
        pthread_barrier_destroy(&barrier);
        AWAIT(LOAD(&cleaned) == 1);
        back = load(path);
        /* It never went: what was registered still is. */
        CHECK(back.enter == copy.enter && back.flush == copy.flush);
        OK(back.get_info(shown, shown, &info));
        EQ(info.EntityId.EntityId, 1);
        EQ(back.get_info(departed, departed, &info), ERROR_INVALID_HANDLE);
        EQ(figures(&back).Inside, 0);
        OK(back.deregister_entity(shown));
        OK(back.flush());
        EQ(cleaned, 2);
        EQ(figures(&back).Live, 0);
        OK(back.shut_down());
        copy = back;
    }
    EQ(dlclose(copy.library), 0);
}

/* --- Two copies --- */

#ifndef RTM_ALONE

static Copy linked(void)
{
    Copy copy;
    copy.library = NULL;
    copy.register_entity = RtmxRegisterEntity;
    copy.deregister_entity = RtmDeregisterEntity;
    copy.get_info = RtmGetEntityInfo;
    copy.reference = RtmReferenceHandles;
    copy.release = RtmReleaseEntities;
    copy.enter = RtmxEnter;
    copy.leave = RtmxLeave;
    copy.get_context = RtmxGetContext;
    copy.create_reader = RtmxCreateReader;
    copy.delete_reader = RtmxDeleteReader;
    copy.reader_enter = RtmxReaderEnter;
    copy.reader_leave = RtmxReaderLeave;
    copy.flush = RtmxFlush;
    copy.shut_down = RtmxShutdown;
    copy.get_statistics = RtmxGetStatistics;
    copy.get_abi_number = RtmxGetAbiNumber;
    return copy;
}

static void refuses(const Copy *copy, RTM_ENTITY_HANDLE own, RTM_ENTITY_HANDLE foreign)
{
    RTM_ENTITY_INFO info;
    RTM_ENTITY_HANDLE two[2];
    void *context = NULL;

    two[0] = own, two[1] = foreign;
    EQ(copy->deregister_entity(foreign), ERROR_INVALID_HANDLE);
    EQ(copy->get_info(own, foreign, &info), ERROR_INVALID_HANDLE);
    EQ(copy->get_info(foreign, own, &info), ERROR_INVALID_HANDLE);
    EQ(copy->reference(own, 2, two), ERROR_INVALID_HANDLE);
    EQ(copy->release(own, 1, &foreign), ERROR_INVALID_HANDLE);
    EQ(copy->get_context(foreign, &context), ERROR_INVALID_HANDLE);
    OK(copy->get_context(own, &context));
    CHECK(context == copy);
}

static void *use_both(void *copies)
{
    const Copy *two = (const Copy *)copies;
    OK(two[0].enter());
    OK(two[1].enter());
    OK(two[0].leave());
    EQ(two[0].leave(), ERROR_NOT_LOCKED);
    /* Ends inside the other one. */
    return NULL;
}

/* This program is linked with the shared library, and that of the given path: it is there once. */
static void one_copy(const char *path)
{
    Copy own = linked(), loaded = load(path);
    CHECK(own.enter == loaded.enter);
    OK(loaded.deregister_entity(add_to(&own, 1, NULL, NULL)));
    OK(own.shut_down());
    EQ(dlclose(loaded.library), 0);
}

static void two_copies(const char *path)
{
    enum { N = 300 };
    static RTM_ENTITY_HANDLE handles[2][N];
    Copy two[2];
    RTMX_READER_HANDLE readers[2];
    int i, k;

    two[0] = linked();
    two[1] = load(path);
    CHECK(two[0].enter != two[1].enter);
    cleaned = 0;
    for (k = 0; k < 2; k++) {
        for (i = 0; i < N; i++)
            handles[k][i] = add_to(&two[k], (uint64_t)i, &two[k], count);
        OK(two[k].create_reader(&readers[k]));
        EQ(figures(&two[k]).Live, N);
    }
    OK(two[0].enter());
    EQ(two[1].leave(), ERROR_NOT_LOCKED);
    EQ(figures(&two[0]).Inside, 1);
    EQ(figures(&two[1]).Inside, 0);
    OK(two[1].enter());
    for (k = 0; k < 2; k++) {
        for (i = 0; i < N; i++)
            refuses(&two[k], handles[k][i], handles[1 - k][i]);
        EQ(two[k].reader_enter(readers[1 - k]), ERROR_INVALID_HANDLE);
        EQ(two[k].reader_leave(readers[1 - k]), ERROR_INVALID_HANDLE);
        EQ(two[k].delete_reader(readers[1 - k]), ERROR_INVALID_HANDLE);
    }
    OK(two[0].leave());
    /* Inside one, one may wait for the other. */
    OK(two[0].flush());
    EQ(two[1].flush(), ERROR_POSSIBLE_DEADLOCK);
    OK(two[1].leave());
    for (i = 0; i < 20; i++) {
        elsewhere(use_both, two);
        for (k = 0; k < 2; k++)
            EQ(figures(&two[k]).Inside, 0);
    }
    for (i = 0; i < N; i++)
        OK(two[0].deregister_entity(handles[0][i]));
    OK(two[0].shut_down());
    EQ(cleaned, N);
    EQ(figures(&two[1]).Live, N);
    for (i = 0; i < N; i++)
        OK(two[1].deregister_entity(handles[1][i]));
    OK(two[1].flush());
    EQ(cleaned, 2 * N);
    OK(two[1].shut_down());
    EQ(dlclose(two[1].library), 0);
}

#endif

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: dlopen path-of-librtm.so copies\n");
        return 2;
    }
    let_go_and_back(argv[1]);
#ifndef RTM_ALONE
    if (argv[2][0] == '1')
        one_copy(argv[1]);
    else
        two_copies(argv[1]);
    let_go_and_back(argv[1]);
#endif
    return check_done("dlopen");
}
