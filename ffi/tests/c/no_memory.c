/*
 * Memory runs out at every place where it can: each function that may allocate is called with its first
 * allocation failing, then its second, until it gets along; each time alone and with all that follow it, in a
 * thread's first call and in a later one. A call that fails says so and has changed nothing; deregistering,
 * releasing, leaving and ending a thread never fail. At the end nothing is allocated that was not at the beginning.
 */
#include "check.h"
#include "failing_malloc.h"

enum { ROUNDS = 300 };

static RTM_ENTITY_HANDLE self, callee;
static RTMX_QUEUE_HANDLE queue;
static unsigned long sites;

static void method(RTM_ENTITY_HANDLE caller, RTM_ENTITY_HANDLE entity, PRTM_ENTITY_METHOD_INPUT input,
                   PRTM_ENTITY_METHOD_OUTPUT output)
{
    (void)caller, (void)entity, (void)input;
    output->OutputSize = 1;
}

static DWORD heard(RTM_ENTITY_HANDLE listener, RTM_EVENT_TYPE event, PVOID a, PVOID b)
{
    (void)listener, (void)event, (void)a, (void)b;
    return 0;
}

static void cleanup(PVOID context)
{
    ADD((int *)context, 1);
}

static const RTM_ENTITY_EXPORT_METHOD methods[2] = {method, method};

/* --- One call --- */

/* Where the call that is swept leaves what it got, and what it is given. */
static RTM_ENTITY_HANDLE got;
static RTMX_READER_HANDLE reader;
static int cleaned;

static DWORD get_limits(void)
{
    RTMX_LIMITS limits;
    return RtmxGetLimits(&limits, sizeof limits);
}

static DWORD set_limits(void)
{
    RTMX_LIMITS limits;
    DWORD code = RtmxGetLimits(&limits, sizeof limits);
    return code ? code : RtmxSetLimits(&limits, sizeof limits);
}

static DWORD get_statistics(void)
{
    RTMX_STATISTICS now;
    return RtmxGetStatistics(&now, sizeof now);
}

static DWORD format_statistics(void)
{
    char text[8192];
    UINT size = sizeof text;
    return RtmxFormatStatistics(RTMX_PROMETHEUS, text, &size);
}

static DWORD format_entities(void)
{
    char text[8192];
    UINT size = sizeof text;
    ULONGLONG position = 0;
    DWORD code = RtmxFormatEntities(RTMX_TEXT, &position, text, &size);
    EQ(position, 0);
    CHECK(code != NO_ERROR || strstr(text, "methods=open") != NULL);
    return code;
}

static DWORD register_plain(void)
{
    return try_register(0, TEST_INET, 100, NULL, NULL, &got);
}

static DWORD register_in_new_table(void)
{
    static unsigned instance = 10;
    DWORD code = try_register(instance, TEST_INET6, 100, NULL, NULL, &got);
    if (code == NO_ERROR)
        instance++;
    return code;
}

static DWORD register_with_methods(void)
{
    return try_client(100, 2, methods, NULL, NULL, NULL, NULL, &got);
}

static DWORD register_with_queue(void)
{
    return try_client(100, 2, methods, heard, queue, NULL, NULL, &got);
}

static DWORD register_with_callback(void)
{
    return try_client(100, 0, NULL, heard, NULL, NULL, NULL, &got);
}

static DWORD register_with_cleanup(void)
{
    return try_client(100, 0, NULL, NULL, NULL, &cleaned, cleanup, &got);
}

static DWORD deregister(void)
{
    return RtmDeregisterEntity(got);
}

static DWORD deregister_later(void)
{
    return RtmxDeregisterEntityLater(got);
}

static RTM_ENTITY_HANDLE list[16];

static DWORD enumerate(void)
{
    UINT number = 16;
    RTM_ENTITY_INFO infos[16];
    return RtmGetRegisteredEntities(self, &number, list, infos);
}

static DWORD release_all(void)
{
    return RtmReleaseEntities(self, 2, list);
}

static DWORD reference(void)
{
    HANDLE handles[2];
    handles[0] = self, handles[1] = callee;
    return RtmReferenceHandles(self, 2, handles);
}

static DWORD get_methods(void)
{
    RTM_ENTITY_EXPORT_METHOD table[2];
    UINT number = 2;
    return RtmGetEntityMethods(self, callee, &number, table);
}

/* The second record is not aligned. */
static DWORD invoke_both(void)
{
    UINT output[16], size = sizeof output;
    DWORD code = invoke_for(self, callee, 3, output, &size);
    if (code == NO_ERROR)
        EQ(size, 2 * (offsetof(RTM_ENTITY_METHOD_OUTPUT, OutputData) + 1));
    return code;
}

static DWORD block(void)
{
    return RtmBlockMethods(callee, NULL, 0, RTM_BLOCK_METHODS);
}

static DWORD resume(void)
{
    return RtmBlockMethods(callee, NULL, 0, RTM_RESUME_METHODS);
}

static RTMX_QUEUE_HANDLE other_queue;

static DWORD create_queue(void)
{
    return RtmxCreateEventQueue(&other_queue);
}

static DWORD delete_queue(void)
{
    return RtmxDeleteEventQueue(other_queue);
}

static DWORD descriptor(void)
{
    int fd;
    return RtmxGetEventQueueDescriptor(queue, &fd);
}

static DWORD dispatch(void)
{
    return RtmxDispatchEvents(queue, 100, NULL);
}

static DWORD create_reader(void)
{
    return RtmxCreateReader(&reader);
}

static DWORD delete_reader(void)
{
    return RtmxDeleteReader(reader);
}

static DWORD read_with_reader(void)
{
    PVOID context;
    OK(RtmxReaderEnter(reader));
    OK(RtmxReaderGetContext(reader, self, &context));
    OK(RtmxReaderGetContexts(reader, 1, &self, &context, NULL));
    OK(RtmxReaderQuiescent(reader));
    return RtmxReaderLeave(reader);
}

static DWORD enter(void)
{
    return RtmxEnter();
}

static DWORD only_leave(void)
{
    return RtmxLeave();
}

static DWORD leave(void)
{
    PVOID context;
    OK(RtmxGetContext(self, &context));
    OK(RtmxGetContexts(1, &self, &context, NULL));
    OK(RtmxQuiescent());
    return RtmxLeave();
}

static DWORD synchronize(void)
{
    return RtmxSynchronize();
}

static DWORD flush(void)
{
    return RtmxFlush();
}

static DWORD trim(void)
{
    ULONGLONG bytes = 77;
    DWORD code = RtmxTrim(&bytes);
    CHECK(code == NO_ERROR ? bytes == 0 : bytes == 77);
    return code;
}

static DWORD info(void)
{
    RTM_ENTITY_INFO info;
    OK(RtmGetEntityInfo(self, callee, &info));
    return RtmReleaseEntityInfo(self, &info);
}

static DWORD small_things(void)
{
    UINT major;
    CHECK(RtmxErrorText(ERROR_NOT_ENOUGH_MEMORY) != NULL);
    EQ(RtmxGetAbiNumber(), RTMX_ABI_NUMBER);
    OK(RtmxSetLogFunction(NULL, NULL));
    return RtmxGetVersion(&major, NULL, NULL);
}

/* Takes back what the one before has done. */
static DWORD nothing(void)
{
    return NO_ERROR;
}

typedef struct {
    const char *name;
    DWORD (*call)(void);
    DWORD (*undo)(void);
    int must; /* never fails for memory */
} Case;

static const Case cases[] = {
    {"get limits", get_limits, nothing, 0},
    {"set limits", set_limits, nothing, 0},
    {"statistics", get_statistics, nothing, 0},
    {"statistics as a text", format_statistics, nothing, 1},
    {"entities as a text", format_entities, nothing, 1},
    {"register", register_plain, deregister, 0},
    {"register in a new table", register_in_new_table, deregister, 0},
    {"register with methods", register_with_methods, deregister, 0},
    {"register with a queue", register_with_queue, deregister, 0},
    {"register with a callback", register_with_callback, deregister, 0},
    {"register with a cleanup", register_with_cleanup, deregister, 0},
    {"deregister", deregister, register_plain, 1},
    {"deregister with methods", deregister, register_with_methods, 1},
    {"deregister with a queue", deregister, register_with_queue, 1},
    {"deregister later", deregister_later, register_with_methods, 1},
    {"deregister later, with a queue", deregister_later, register_with_queue, 1},
    {"enumerate", enumerate, release_all, 0},
    {"release", release_all, enumerate, 1},
    {"reference", reference, release_all, 0},
    {"get methods", get_methods, nothing, 0},
    {"invoke", invoke_both, nothing, 0},
    {"block", block, resume, 0},
    {"resume", resume, block, 0},
    {"create a queue", create_queue, delete_queue, 0},
    {"delete a queue", delete_queue, create_queue, 1},
    {"descriptor", descriptor, nothing, 1},
    {"dispatch", dispatch, nothing, 0},
    {"create a reader", create_reader, delete_reader, 0},
    {"delete a reader", delete_reader, create_reader, 1},
    {"read with a reader", read_with_reader, nothing, 1},
    {"enter", enter, leave, 0},
    {"synchronize", synchronize, nothing, 0},
    {"flush", flush, nothing, 0},
    {"trim", trim, nothing, 0},
    {"info", info, nothing, 1},
    {"small things", small_things, nothing, 1},
};

/* What a call that has failed leaves as it was. */
static RTMX_STATISTICS figures(void)
{
    RTMX_STATISTICS now = statistics(), kept;
    memset(&kept, 0, sizeof kept);
    kept.Live = now.Live;
    kept.Referenced = now.Referenced;
    kept.Registered = now.Registered;
    kept.Deregistered = now.Deregistered;
    kept.Tables = now.Tables;
    kept.Inside = now.Inside;
    kept.Listeners = now.Listeners;
    kept.EventQueues = now.EventQueues;
    return kept;
}

typedef struct {
    const Case *what;
    long n;
    int on, later;
    /* Whether an allocation has failed. */
    int reached;
} Try;

static void *attempt(void *argument)
{
    Try *at = (Try *)argument;
    RTMX_STATISTICS before, after;
    DWORD code;
    memset(&before, 0, sizeof before);
    if (at->later)
        before = figures();
    fail_from(at->n, at->on);
    failing_here = 1;
    code = at->what->call();
    failing_here = 0;
    at->reached = LOAD(&failed) != 0;
    if (code != NO_ERROR) {
        if (at->what->must || !at->reached || (code != ERROR_NOT_ENOUGH_MEMORY && code != ERROR_NO_SYSTEM_RESOURCES))
            fprintf(stderr, "%s: allocation %ld%s fails: code %u\n", at->what->name, at->n,
                    at->on ? " and all after it" : "", (unsigned)code);
        CHECK(at->reached);
        CHECK(!at->what->must);
        CHECK(code == ERROR_NOT_ENOUGH_MEMORY || code == ERROR_NO_SYSTEM_RESOURCES);
        if (at->later) {
            after = figures();
            EQ(memcmp(&before, &after, sizeof before), 0);
        }
    } else
        OK(at->what->undo());
    return NULL;
}

static void sweep(const Case *what)
{
    Try at;
    for (at.later = 0; at.later < 2; at.later++)
        for (at.on = 0; at.on < 2; at.on++) {
            at.what = what;
            for (at.n = 1; at.n == 1 || at.reached; at.n++) {
                at.reached = 0;
                elsewhere(attempt, &at);
                CHECK(at.n < 200);
            }
            sites += (unsigned long)at.n - 2;
        }
}

/* What the cases that come after another case's undo begin with. */
static void each_call(void)
{
    size_t index;
    OK(RtmxCreateEventQueue(&queue));
    self = add(1);
    callee = add_client(2, 2, methods, NULL, NULL);
    for (index = 0; index < sizeof cases / sizeof *cases; index++) {
        const Case *what = &cases[index];
        int prepared = what->undo == register_plain || what->undo == register_with_methods ||
                       what->undo == register_with_queue || what->undo == enumerate ||
                       what->undo == block || what->undo == create_queue || what->undo == create_reader;
        if (prepared)
            OK(what->undo());
        if (what->call == read_with_reader)
            OK(create_reader());
        sweep(what);
        if (prepared)
            OK(what->call());
        if (what->call == read_with_reader)
            OK(delete_reader());
    }
    OK(RtmDeregisterEntity(callee));
    OK(RtmDeregisterEntity(self));
    OK(RtmxFlush());
    OK(RtmxDeleteEventQueue(queue));
    OK(RtmxShutdown());
}

/* --- The first call of all --- */

static DWORD register_the_first(void)
{
    return try_client(1, 2, methods, heard, NULL, &cleaned, cleanup, &got);
}

static void first_of_all(void)
{
    static const Case cases_here[] = {
        {"the first registration", register_the_first, deregister, 0},
        {"the first queue", create_queue, delete_queue, 0},
        {"the first reader", create_reader, delete_reader, 0},
        {"the first section", enter, only_leave, 0},
        {"the first limits", get_limits, nothing, 0},
        {"the first figures", get_statistics, nothing, 0},
    };
    Try at;
    size_t index;
    for (index = 0; index < sizeof cases_here / sizeof *cases_here; index++)
        for (at.on = 0; at.on < 2; at.on++) {
            at.what = &cases_here[index];
            at.later = 0;
            for (at.n = 1; at.n == 1 || at.reached; at.n++) {
                at.reached = 0;
                elsewhere(attempt, &at);
                OK(RtmxShutdown());
                CHECK(at.n < 400);
            }
            sites += (unsigned long)at.n - 2;
        }
}

/* --- A shutdown --- */

static void shut_down(void)
{
    long n = 0;
    do {
        RTM_ENTITY_HANDLE handle = add_with(1, &cleaned, cleanup);
        DWORD code;
        OK(RtmDeregisterEntity(handle));
        n++;
        fail_from(n, n % 2 == 0);
        STORE(&failing_everywhere, 1);
        code = RtmxShutdown();
        STORE(&failing_everywhere, 0);
        CHECK(code == NO_ERROR || code == ERROR_NOT_ENOUGH_MEMORY || code == ERROR_NO_SYSTEM_RESOURCES);
        OK(RtmxShutdown());
    } while (LOAD(&failed));
    sites += (unsigned long)n - 1;
}

/* --- Nothing at all for a long time --- */

static DWORD tolerated(DWORD code)
{
    CHECK(code == NO_ERROR || code == ERROR_NOT_ENOUGH_MEMORY || code == ERROR_NO_SYSTEM_RESOURCES);
    return code;
}

static Gate inside = GATE, go_on = GATE;

static void *stay(void *unused)
{
    OK(RtmxEnter());
    gate_open(&inside);
    gate_pass(&go_on);
    OK(RtmxLeave());
    return unused;
}

static void *deregister_one(void *handle)
{
    OK(RtmDeregisterEntity((RTM_ENTITY_HANDLE)handle));
    return NULL;
}

/* Ends inside a section. */
static void *end_inside(void *handle)
{
    PVOID context;
    OK(RtmxEnter());
    OK(RtmxGetContext((RTM_ENTITY_HANDLE)handle, &context));
    gate_open(&inside);
    gate_pass(&go_on);
    return NULL;
}

static void a_long_lack(void)
{
    unsigned long number = check_rounds(20000), index;
    RTM_ENTITY_HANDLE *all = (RTM_ENTITY_HANDLE *)calloc(number, sizeof *all);
    pthread_t reader_thread, first_calls[8], ending[8];
    for (index = 0; index < number; index++)
        all[index] = index % 16 ? add(10 + index) : add_with(10 + index, &cleaned, cleanup);
    gate_close(&inside), gate_close(&go_on);
    reader_thread = start(stay, NULL);
    gate_pass(&inside);
    for (index = 0; index < 8; index++) {
        gate_close(&inside);
        ending[index] = start(end_inside, all[0]);
        gate_pass(&inside);
    }
    fail_from(1, 1);
    STORE(&failing_everywhere, 1);
    for (index = 8; index < number; index++)
        OK(RtmDeregisterEntity(all[index]));
    for (index = 0; index < 8; index++) {
        /* The C library needs memory for a thread. */
        STORE(&failing_everywhere, 0);
        first_calls[index] = start(deregister_one, all[index]);
        STORE(&failing_everywhere, 1);
        join(first_calls[index]);
    }
    EQ(register_in_new_table(), ERROR_NOT_ENOUGH_MEMORY);
    gate_open(&go_on);
    for (index = 0; index < 8; index++)
        join(ending[index]);
    join(reader_thread);
    for (index = 0; index < 10000; index++) {
        OK(RtmxEnter());
        OK(RtmxLeave());
    }
    /* With the bags that are kept, if others do not use them. */
    tolerated(RtmxFlush());
    tolerated(RtmxSynchronize());
    STORE(&failing_everywhere, 0);
    OK(RtmxFlush());
    EQ(statistics().Live, 0);
    EQ(statistics().Retired, 0);
    EQ(statistics().Inside, 0);
    OK(RtmxShutdown());
    free(all);
}

/* --- What is put by is in use --- */

static unsigned at_work;

static void stays(RTM_ENTITY_HANDLE caller, RTM_ENTITY_HANDLE entity, PRTM_ENTITY_METHOD_INPUT input,
                  PRTM_ENTITY_METHOD_OUTPUT output)
{
    (void)caller, (void)entity, (void)input;
    ADD(&at_work, 1);
    gate_pass(&go_on);
    output->OutputSize = 0;
}

static const RTM_ENTITY_EXPORT_METHOD staying[1] = {stays};

static void *invoke_it(void *entity)
{
    OK(invoke(self, (RTM_ENTITY_HANDLE)entity));
    return NULL;
}

static void *deregister_without_memory(void *entity)
{
    failing_here = 1;
    OK(RtmDeregisterEntity((RTM_ENTITY_HANDLE)entity));
    failing_here = 0;
    return NULL;
}

static int departs(RTM_ENTITY_HANDLE entity)
{
    char text[8192], name[64];
    UINT size = sizeof text;
    ULONGLONG position = 0;
    const char *line, *state;
    OK(RtmxFormatEntities(RTMX_TEXT, &position, text, &size));
    snprintf(name, sizeof name, "handle=0x%llx ", (unsigned long long)(uintptr_t)entity);
    line = strstr(text, name);
    CHECK(line != NULL);
    state = strstr(line, "state=");
    return strncmp(state, "state=departing", 15) == 0;
}

static void *describe_without_memory(void *unused)
{
    char text[8192] = "untouched";
    UINT size = sizeof text;
    ULONGLONG position = 0;
    failing_here = 1;
    EQ(RtmxFormatEntities(RTMX_TEXT, &position, text, &size), ERROR_NOT_ENOUGH_MEMORY);
    failing_here = 0;
    EQ(strcmp(text, "untouched"), 0);
    EQ(size, sizeof text);
    EQ(position, 0);
    /* With memory it is answered, whoever has what is put by. */
    OK(RtmxFormatEntities(RTMX_TEXT, &position, text, &size));
    return unused;
}

/* Two deregistrations have the two memberships until methods return: a description does not wait for them. */
static void nothing_put_by(void)
{
    RTM_ENTITY_HANDLE busy[2];
    pthread_t threads[4];
    UINT index;
    gate_close(&go_on);
    self = add(1);
    for (index = 0; index < 2; index++) {
        busy[index] = add_client(2 + index, 1, staying, NULL, NULL);
        threads[index] = start(invoke_it, busy[index]);
    }
    AWAIT(LOAD(&at_work) == 2);
    fail_from(1, 1);
    for (index = 0; index < 2; index++) {
        threads[2 + index] = start(deregister_without_memory, busy[index]);
        AWAIT(departs(busy[index]));
    }
    elsewhere(describe_without_memory, NULL);
    gate_open(&go_on);
    for (index = 0; index < 4; index++)
        join(threads[index]);
    OK(RtmDeregisterEntity(self));
    OK(RtmxFlush());
    OK(RtmxShutdown());
}

/* --- All threads at once --- */

static void deregister_if(RTM_ENTITY_HANDLE handle)
{
    if (handle)
        OK(RtmDeregisterEntity(handle));
}

static void whole_life(long n, int on)
{
    RTM_ENTITY_HANDLE plain = NULL, polled = NULL, listener = NULL, many[ROUNDS];
    UINT output[16], size = sizeof output, index;
    fail_from(n, on);
    STORE(&failing_everywhere, 1);
    queue = NULL;
    if (tolerated(RtmxCreateEventQueue(&queue)) == NO_ERROR)
        tolerated(try_client(2, 2, methods, heard, queue, NULL, NULL, &polled));
    tolerated(try_client(3, 0, NULL, heard, NULL, NULL, NULL, &listener));
    tolerated(try_register(0, TEST_INET, 1, &cleaned, cleanup, &plain));
    for (index = 0; index < ROUNDS; index++) {
        many[index] = NULL;
        tolerated(try_register(0, TEST_INET, 10 + index, NULL, NULL, &many[index]));
    }
    if (plain && polled)
        tolerated(invoke_for(plain, polled, 3, output, &size));
    for (index = 0; index < ROUNDS; index++)
        deregister_if(many[index]);
    if (queue)
        tolerated(RtmxDispatchEvents(queue, 1000, NULL));
    tolerated(RtmxSynchronize());
    tolerated(RtmxFlush());
    deregister_if(plain);
    deregister_if(listener);
    deregister_if(polled);
    STORE(&failing_everywhere, 0);
    OK(RtmxFlush());
    if (queue)
        OK(RtmxDeleteEventQueue(queue));
    EQ(statistics().Live, 0);
    EQ(statistics().Retired, 0);
    OK(RtmxShutdown());
}

static void all_threads(void)
{
    unsigned long step = 2000 / check_rounds(2000);
    int on;
    for (on = 0; on < 2; on++) {
        long n = 1;
        do {
            whole_life(n, on);
            n += (long)step;
        } while (LOAD(&failed));
        sites += (unsigned long)n / step;
    }
}

int main(void)
{
    long before;
    int rounds;
    /* What the C library keeps for good it has after the first. */
    for (rounds = 0; rounds < 2; rounds++) {
        whole_life(-1, 0);
        before = LOAD(&blocks);
    }
    first_of_all();
    each_call();
    shut_down();
    a_long_lack();
    nothing_put_by();
    all_threads();
#ifdef RTM_WRAPPED
    EQ(LOAD(&blocks), before);
#else
    (void)before;
#endif
    printf("%lu failing allocations, ", sites);
    return check_done("no_memory");
}
