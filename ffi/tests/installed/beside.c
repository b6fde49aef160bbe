/* librtm.a and another Rust static library in one program. */
#include "check.h"

#ifdef __cplusplus
extern "C"
#endif
uint64_t other_work(uint64_t n);

static int cleaned;

static VOID cleanup(PVOID context)
{
    ADD((int *)context, 1);
}

static void *work(void *argument)
{
    (void)argument;
    EQ(other_work(100), 328351); /* the squares below 100, and one for the panic that was caught */
    return NULL;
}

int main(void)
{
    RTM_ENTITY_HANDLE handle = add_with(1, &cleaned, cleanup);
    pthread_t other = start(work, NULL);
    PVOID context = NULL;

    OK(RtmxEnter());
    OK(RtmxGetContext(handle, &context));
    CHECK(context == &cleaned);
    work(NULL);
    OK(RtmxLeave());
    join(other);
    OK(RtmDeregisterEntity(handle));
    OK(RtmxFlush());
    EQ(LOAD(&cleaned), 1);
    OK(RtmxShutdown());
    return check_done("beside");
}
