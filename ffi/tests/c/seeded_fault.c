/*
 * Programs that are wrong on purpose: a checker that does not report them checks nothing. Without an
 * argument nothing is wrong.
 */
#include "check.h"

static VOID WINAPI release(PVOID context)
{
    free(context);
}

static volatile int raced;

static void *race(void *unused)
{
    raced++;
    return unused;
}

int main(int argc, char **argv)
{
    const char *fault = argc > 1 ? argv[1] : "none";
    volatile int *number = (volatile int *)malloc(sizeof *number);
    RTM_ENTITY_HANDLE entity;
    void *context = NULL;

    CHECK(number != NULL);
    *number = 1;
    entity = add_with(1, (void *)(uintptr_t)number, release);
    OK(RtmxEnter());
    OK(RtmxGetContext(entity, &context));
    OK(RtmxLeave());
    OK(RtmDeregisterEntity(entity));
    OK(RtmxFlush());
    OK(RtmxShutdown());
    if (strcmp(fault, "use-after-free") == 0)
        /* The section has ended, and with it the right to look. */
        printf("%d\n", *(volatile int *)context);
    if (strcmp(fault, "leak") == 0) {
        void *volatile lost = malloc(4321);
        lost = NULL;
        (void)lost;
    }
    if (strcmp(fault, "race") == 0) {
        pthread_t other = start(race, NULL);
        raced++;
        join(other);
    }
    if (strcmp(fault, "overflow") == 0) {
        volatile int most = 0x7FFFFFFF;
        printf("%d\n", most + argc);
    }
    return check_done("seeded_fault");
}
