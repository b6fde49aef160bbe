/*
 * A thread enters a read section and stops; others register and deregister for RTM_STUCK_SECONDS (1). What has
 * departed stays under the limit, and so does memory; from there on registering is refused, and looking up and
 * deregistering go on. When the reader leaves everything drains, and registering works again.
 */
#include "check.h"
#include <malloc.h>

enum { BACKLOG = 20000, CHURNING = 3, MAGAZINE = 256, KEPT = 64 };

static Gate inside = GATE;
static int go_on, stop;
static unsigned long done, refusals, cleaned;
static RTM_ENTITY_HANDLE kept[KEPT];

static void cleanup(PVOID context)
{
    (void)context;
    ADD(&cleaned, 1);
}

static void *stay(void *unused)
{
    PVOID context;
    int i;
    OK(RtmxEnter());
    OK(RtmxGetContext(kept[0], &context));
    gate_open(&inside);
    while (!LOAD(&go_on)) {
        struct timespec nap = {0, 1000000};
        nanosleep(&nap, NULL);
    }
    /* What it has looked up is still its own. */
    for (i = 0; i < KEPT; i++)
        OK(RtmxGetContext(kept[i], &context));
    OK(RtmxLeave());
    return unused;
}

static void *churn(void *argument)
{
    uint64_t id = (uint64_t)(uintptr_t)argument << 32;
    while (!LOAD(&stop)) {
        RTM_ENTITY_HANDLE handle = NULL;
        PVOID context;
        DWORD code;
        id++;
        code = try_register(0, TEST_INET, id, NULL, id % 2 ? cleanup : NULL, &handle);
        if (code != NO_ERROR) {
            EQ(code, ERROR_NO_SYSTEM_RESOURCES);
            EQ(handle, NULL);
            ADD(&refusals, 1);
            sched_yield();
            continue;
        }
        OK(RtmxEnter());
        OK(RtmxGetContext(handle, &context));
        OK(RtmxLeave());
        OK(RtmDeregisterEntity(handle));
        ADD(&done, 1);
    }
    return NULL;
}

int main(void)
{
    const char *seconds = getenv("RTM_STUCK_SECONDS");
    uint64_t until, most = BACKLOG + CHURNING * 2 * MAGAZINE;
    uint64_t most_bytes = 64u << 20;
    unsigned long before;
    pthread_t reader, threads[CHURNING];
    RTMX_LIMITS limits;
    uintptr_t i;

    OK(RtmxGetLimits(&limits, sizeof limits));
    limits.MaxBacklog = BACKLOG;
    OK(RtmxSetLimits(&limits, sizeof limits));
    for (i = 0; i < KEPT; i++)
        kept[i] = add(i);
    reader = start(stay, NULL);
    gate_pass(&inside);
    for (i = 0; i < CHURNING; i++)
        threads[i] = start(churn, (void *)(i + 1));
    AWAIT(LOAD(&refusals) != 0);
    until = check_now_ms() + 1000 * (seconds ? strtoul(seconds, NULL, 10) : 1);
    while (check_now_ms() < until) {
        struct timespec nap = {0, 1000000};
        RTMX_STATISTICS now = statistics();
        CHECK_OP(now.Retired, <=, most);
        CHECK_OP(now.Bytes, <=, most_bytes);
        CHECK_OP(mallinfo2().uordblks, <=, most_bytes);
        nanosleep(&nap, NULL);
    }
    CHECK_OP(statistics().Retired, >=, BACKLOG);
    before = LOAD(&done);
    STORE(&go_on, 1);
    join(reader);
    AWAIT(LOAD(&done) > before + BACKLOG || check_rounds(2) == 1);
    STORE(&stop, 1);
    for (i = 0; i < CHURNING; i++)
        join(threads[i]);
    OK(RtmxFlush());
    EQ(statistics().Retired, 0);
    EQ(statistics().Reclaimed, LOAD(&done));
    for (i = 0; i < KEPT; i++)
        OK(RtmDeregisterEntity(kept[i]));
    OK(RtmxShutdown());
    CHECK(LOAD(&cleaned) > 0);
    return check_done("stuck_reader");
}
