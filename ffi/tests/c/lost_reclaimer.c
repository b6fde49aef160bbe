/* Cleanup functions that end the thread they run on: what is due after them was never done. */
#include "check.h"

static unsigned cleaned, wrong;

static VOID WINAPI clean(PVOID context)
{
    (void)context;
    ADD(&cleaned, 1);
}

static VOID WINAPI end_thread(PVOID context)
{
    ADD(&cleaned, 1);
    if (RtmxFlush() != ERROR_POSSIBLE_DEADLOCK)
        ADD(&wrong, 1);
    if (context)
        cancel_here();
    pthread_exit(NULL);
}

static void *flush(void *unused)
{
    OK(RtmxFlush());
    return unused;
}

/* The last look of a thread that a cleanup ends as it flushes: the rest is another's. */
static void *flush_and_end(void *unused)
{
    RtmxFlush();
    return unused;
}

/* Without a flush: another thread of the library goes on. */
static void without_flush(void)
{
    unsigned i;
    cleaned = 0;
    for (i = 0; i < 20; i++)
        OK(RtmDeregisterEntity(add_with(i, (void *)(uintptr_t)(i % 2), i % 3 ? clean : end_thread)));
    AWAIT(LOAD(&cleaned) == 20);
    AWAIT(statistics().Retired == 0);
}

static void with_flush(void)
{
    unsigned i;
    cleaned = 0;
    for (i = 0; i < 20; i++) {
        OK(RtmDeregisterEntity(add_with(i, (void *)(uintptr_t)(i % 2), i % 3 ? clean : end_thread)));
        elsewhere(flush_and_end, NULL);
    }
    elsewhere(flush, NULL);
    EQ(LOAD(&cleaned), 20);
    EQ(statistics().Retired, 0);
}

/* Shutdown does what is left, with as many threads as it takes. */
static void with_shutdown(void)
{
    unsigned i;
    cleaned = 0;
    OK(RtmxEnter());
    for (i = 0; i < 20; i++)
        OK(RtmDeregisterEntity(add_with(i, (void *)(uintptr_t)(i % 2), i % 3 ? clean : end_thread)));
    OK(RtmxLeave());
    OK(RtmxShutdown());
    EQ(LOAD(&cleaned), 20);
}

int main(void)
{
    unsigned long rounds = check_rounds(20), i;
    for (i = 0; i < rounds; i++) {
        without_flush();
        with_flush();
        with_shutdown();
    }
    EQ(wrong, 0);
    return check_done("lost_reclaimer");
}
