/* Exported methods: their table, invoking, records, blocking, recursion, threads that end inside. */
#include "check.h"

#define HEAD offsetof(RTM_ENTITY_METHOD_OUTPUT, OutputData)

static RTM_ENTITY_HANDLE self, callee;

/* --- The table --- */

static VOID WINAPI nothing(RTM_ENTITY_HANDLE caller, RTM_ENTITY_HANDLE own, RTM_ENTITY_METHOD_INPUT *input,
                           RTM_ENTITY_METHOD_OUTPUT *output)
{
    (void)caller, (void)own, (void)input;
    output->OutputSize = 0;
}

static VOID WINAPI other(RTM_ENTITY_HANDLE caller, RTM_ENTITY_HANDLE own, RTM_ENTITY_METHOD_INPUT *input,
                         RTM_ENTITY_METHOD_OUTPUT *output)
{
    nothing(caller, own, input, output);
}

static void tables(void)
{
    RTM_ENTITY_EXPORT_METHOD holes[5] = {NULL, nothing, NULL, other, NULL}, found[33], all[33];
    RTM_ENTITY_HANDLE plain = add(2), some = add_client(3, 5, holes, NULL, NULL), full, wrong = NULL;
    RTM_ENTITY_INFO alien;
    RTM_REGN_PROFILE profile;
    UINT number, i;

    for (i = 0; i < 33; i++)
        all[i] = i % 2 ? nothing : other;
    full = add_client(4, 32, all, NULL, NULL);
    EQ(try_client(5, 33, all, NULL, NULL, NULL, NULL, &wrong), ERROR_INVALID_DATA);
    EQ(wrong, NULL);

    number = 0;
    OK(RtmGetEntityMethods(self, plain, &number, NULL));
    EQ(number, 0);
    number = 7;
    OK(RtmGetEntityMethods(self, plain, &number, found));
    EQ(number, 0);

    number = 0;
    OK(RtmGetEntityMethods(self, some, &number, NULL));
    EQ(number, 5);
    for (i = 1; i <= 7; i++) {
        UINT k;
        for (k = 0; k < 33; k++)
            found[k] = all[0];
        number = i;
        EQ(RtmGetEntityMethods(some, some, &number, found), i < 5 ? ERROR_INSUFFICIENT_BUFFER : NO_ERROR);
        EQ(number, i < 5 ? i : 5);
        for (k = 0; k < 7; k++)
            CHECK(found[k] == (k < number ? holes[k] : all[0]));
    }
    number = 33;
    OK(RtmGetEntityMethods(self, full, &number, found));
    EQ(number, 32);
    CHECK(memcmp(found, all, 32 * sizeof *all) == 0);

    /* In the documented order of checks. */
    EQ(RtmGetEntityMethods(NULL, NULL, NULL, NULL), ERROR_INVALID_HANDLE);
    EQ(RtmGetEntityMethods(self, NULL, NULL, NULL), ERROR_INVALID_PARAMETER);
    number = 1;
    EQ(RtmGetEntityMethods(self, NULL, &number, NULL), ERROR_INVALID_PARAMETER);
    EQ(RtmGetEntityMethods(self, NULL, &number, found), ERROR_INVALID_HANDLE);
    EQ(number, 1);
    alien = make_info(0, TEST_INET6, 1);
    OK(RtmRegisterEntity(&alien, NULL, NULL, FALSE, &profile, &wrong));
    EQ(RtmGetEntityMethods(wrong, some, &number, found), ERROR_INVALID_HANDLE);
    EQ(invoke(wrong, some), ERROR_INVALID_HANDLE);
    OK(RtmDeregisterEntity(wrong));

    /* A reference keeps the description, not the methods. */
    OK(RtmReferenceHandles(self, 1, &some));
    OK(RtmDeregisterEntity(some));
    OK(RtmGetEntityInfo(self, some, &alien));
    EQ(RtmGetEntityMethods(self, some, &number, found), ERROR_INVALID_HANDLE);
    EQ(invoke(self, some), ERROR_INVALID_HANDLE);
    OK(RtmReleaseEntities(self, 1, &some));
    EQ(number, 1);
    OK(RtmDeregisterEntity(plain));
    OK(RtmDeregisterEntity(full));
}

/* --- What a method is given --- */

static UINT seen[64], seen_count;
static pthread_t seen_thread;
static const RTM_ENTITY_METHOD_INPUT *seen_input;
static UINT seen_mask, seen_room[64];

static VOID WINAPI look(RTM_ENTITY_HANDLE caller, RTM_ENTITY_HANDLE own, RTM_ENTITY_METHOD_INPUT *input,
                        RTM_ENTITY_METHOD_OUTPUT *output)
{
    CHECK(caller == self);
    CHECK(own == callee);
    EQ((uintptr_t)output % 4, 0);
    EQ(output->MethodStatus, NO_ERROR);
    EQ(output->MethodType & (output->MethodType - 1), 0);
    seen_thread = pthread_self();
    seen_input = input;
    seen_mask = input->MethodType;
    seen_room[seen_count] = output->OutputSize;
    seen[seen_count++] = output->MethodType;
    output->OutputSize = 0;
}

static void arguments(void)
{
    union {
        RTM_ENTITY_METHOD_INPUT input;
        unsigned char room[64];
    } given;
    unsigned char copy[64];
    RTM_ENTITY_EXPORT_METHOD methods[32];
    UINT output[256], size, i;

    for (i = 0; i < 32; i++)
        methods[i] = i == 0 || i == 5 || i == 31 ? NULL : look;
    callee = add_client(10, 32, methods, NULL, NULL);
    memset(&given, 0x5A, sizeof given);
    given.input.MethodType = METHOD_TYPE_ALL_METHODS;
    given.input.InputSize = 17;
    memcpy(copy, &given, sizeof copy);
    memset(output, 0xEE, sizeof output);
    size = sizeof output;
    seen_count = 0;
    OK(RtmInvokeMethod(self, callee, &given.input, &size, (PRTM_ENTITY_METHOD_OUTPUT)output));
    EQ(size, 29 * HEAD);
    EQ(seen_count, 29);
    CHECK(pthread_equal(seen_thread, pthread_self()));
    CHECK(seen_input == &given.input);
    EQ(seen_mask, METHOD_TYPE_ALL_METHODS);
    CHECK(memcmp(copy, &given, sizeof copy) == 0);
    for (i = 0; i < 29; i++) {
        CHECK(i == 0 || seen[i] > seen[i - 1]);
        EQ(seen_room[i], sizeof output - (i + 1) * HEAD);
        EQ(output[3 * i], seen[i]);
        EQ(output[3 * i + 1], NO_ERROR);
        EQ(output[3 * i + 2], 0);
    }
    EQ(seen[0], 2);
    EQ(seen[28], 1u << 30);
    EQ(output[3 * 29], 0xEEEEEEEE);

    /* A mask with holes in it, and one of nothing but holes. */
    seen_count = 0;
    size = sizeof output;
    OK(invoke_for(self, callee, 1 | 4 | 32 | 64, output, &size));
    EQ(seen_count, 2);
    EQ(seen[0] | seen[1], 4 | 64);
    EQ(seen_mask, 1 | 4 | 32 | 64);
    size = 77;
    EQ(invoke_for(self, callee, 1 | 32 | 1u << 31, output, &size), ERROR_NOT_FOUND);
    EQ(size, 0);
    size = 77;
    EQ(invoke_for(self, self, METHOD_TYPE_ALL_METHODS, output, &size), ERROR_NOT_FOUND);
    EQ(size, 0);
    OK(RtmDeregisterEntity(callee));
    /* Nothing but holes. */
    methods[1] = NULL;
    callee = add_client(10, 2, methods, NULL, NULL);
    size = 77;
    EQ(invoke_for(self, callee, METHOD_TYPE_ALL_METHODS, output, &size), ERROR_NOT_FOUND);
    EQ(size, 0);
    OK(RtmDeregisterEntity(callee));
}

static void wrong_arguments(void)
{
    RTM_ENTITY_METHOD_INPUT input;
    UINT output[8], size = sizeof output;
    PRTM_ENTITY_METHOD_OUTPUT out = (PRTM_ENTITY_METHOD_OUTPUT)output;
    PRTM_ENTITY_METHOD_OUTPUT odd = (PRTM_ENTITY_METHOD_OUTPUT)(void *)((char *)output + 1);

    callee = add_callee(11, look);
    memset(&input, 0, sizeof input);
    EQ(RtmInvokeMethod(NULL, NULL, NULL, NULL, NULL), ERROR_INVALID_HANDLE);
    EQ(RtmInvokeMethod(self, NULL, NULL, &size, out), ERROR_INVALID_PARAMETER);
    EQ(RtmInvokeMethod(self, NULL, &input, NULL, out), ERROR_INVALID_PARAMETER);
    EQ(RtmInvokeMethod(self, NULL, &input, &size, NULL), ERROR_INVALID_PARAMETER);
    EQ(RtmInvokeMethod(self, NULL, &input, &size, odd), ERROR_INVALID_PARAMETER);
    EQ(RtmInvokeMethod(self, callee, &input, &size, out), ERROR_INVALID_PARAMETER);
    input.MethodType = 1;
    EQ(RtmInvokeMethod(self, NULL, &input, &size, out), ERROR_INVALID_HANDLE);
    EQ(size, sizeof output);
    EQ(RtmBlockMethods(NULL, self, 9, 9), ERROR_INVALID_HANDLE);
    EQ(RtmBlockMethods(self, self, 9, 2), ERROR_INVALID_PARAMETER);
    EQ(RtmBlockMethods(self, self, 0, RTM_BLOCK_METHODS), ERROR_NOT_SUPPORTED);
    EQ(RtmBlockMethods(self, NULL, DEST_TYPE, RTM_RESUME_METHODS), ERROR_NOT_SUPPORTED);
    EQ(RtmBlockMethods(callee, NULL, ROUTE_TYPE, RTM_BLOCK_METHODS), ERROR_NOT_SUPPORTED);
    EQ(RtmBlockMethods(callee, NULL, NEXTHOP_TYPE, RTM_BLOCK_METHODS), ERROR_NOT_SUPPORTED);
    /* An entity without methods may block them. */
    OK(RtmBlockMethods(self, NULL, 0, RTM_BLOCK_METHODS));
    OK(RtmBlockMethods(self, NULL, 0, RTM_RESUME_METHODS));
    OK(RtmDeregisterEntity(callee));
    EQ(RtmInvokeMethod(self, callee, &input, &size, out), ERROR_INVALID_HANDLE);
    EQ(RtmBlockMethods(callee, NULL, 0, RTM_BLOCK_METHODS), ERROR_INVALID_HANDLE);
    EQ(RtmBlockMethods(callee, NULL, 0, RTM_RESUME_METHODS), ERROR_INVALID_HANDLE);
}

/* --- Records --- */

/* Writes as many bytes as its input says for its bit, of the value of the bit's number; 255: leaves the size. */
static VOID WINAPI fill(RTM_ENTITY_HANDLE caller, RTM_ENTITY_HANDLE own, RTM_ENTITY_METHOD_INPUT *input,
                        RTM_ENTITY_METHOD_OUTPUT *output)
{
    const unsigned char *sizes = (const unsigned char *)input + offsetof(RTM_ENTITY_METHOD_INPUT, InputData);
    unsigned char *data = (unsigned char *)output + HEAD;
    unsigned bit = (unsigned)__builtin_ctz(output->MethodType);
    (void)caller, (void)own;

    EQ((uintptr_t)output % 4, 0);
    EQ(output->MethodStatus, NO_ERROR);
    if (sizes[bit] == 255)
        return;
    memset(data, (int)bit, sizes[bit] < output->OutputSize ? sizes[bit] : output->OutputSize);
    output->OutputSize = sizes[bit];
    output->MethodStatus = sizes[bit] % 3 == 2 ? 1234 : NO_ERROR;
}

typedef struct {
    RTM_ENTITY_METHOD_INPUT head;
    unsigned char more[16];
} Sizes;

static UINT at(const unsigned char *place)
{
    UINT value;
    memcpy(&value, place, sizeof value);
    return value;
}

static void records(void)
{
    RTM_ENTITY_EXPORT_METHOD methods[4] = {fill, fill, fill, fill};
    uint64_t random = 1;
    unsigned long rounds = check_rounds(20000), i;
    UINT plenty = 200;

    callee = add_client(12, 4, methods, NULL, NULL);
    for (i = 0; i < rounds; i++) {
        Sizes input;
        unsigned char *sizes = (unsigned char *)&input + offsetof(RTM_ENTITY_METHOD_INPUT, InputData);
        UINT room = (UINT)(check_random(&random) % plenty), size = room, used = 0, bit, mask, ran = 0;
        unsigned char *buffer = (unsigned char *)malloc(room + 1);
        DWORD expected = NO_ERROR, code;

        memset(&input, 0, sizeof input);
        mask = (UINT)(check_random(&random) % 15 + 1);
        input.head.MethodType = mask;
        for (bit = 0; bit < 4; bit++) {
            uint64_t kind = check_random(&random) % 16;
            sizes[bit] = kind == 0 ? 255 : (unsigned char)(check_random(&random) % (kind < 3 ? 250 : 9));
        }
        memset(buffer, 0xDD, room + 1);
        code = RtmInvokeMethod(self, callee, &input.head, &size, (PRTM_ENTITY_METHOD_OUTPUT)(void *)buffer);
        for (bit = 0; bit < 4; bit++) {
            UINT left = room - used, data, real, k;
            if (!(mask & 1u << bit))
                continue;
            if (left < HEAD) {
                expected = ERROR_INSUFFICIENT_BUFFER;
                break;
            }
            data = left - (UINT)HEAD;
            real = sizes[bit] == 255 || sizes[bit] > data ? data : sizes[bit];
            EQ(at(buffer + used), 1u << bit);
            EQ(at(buffer + used + 4), sizes[bit] != 255 && sizes[bit] > data ? ERROR_INSUFFICIENT_BUFFER
                                      : sizes[bit] != 255 && sizes[bit] % 3 == 2 ? 1234 : NO_ERROR);
            EQ(at(buffer + used + 8), real);
            for (k = 0; k < real; k++)
                EQ(buffer[used + HEAD + k], sizes[bit] == 255 ? 0xDD : bit);
            used += (UINT)HEAD + real;
            ran++;
        }
        EQ(code, expected);
        EQ(size, used);
        EQ(buffer[room], 0xDD);
        free(buffer);
    }
    OK(RtmDeregisterEntity(callee));
}

/* A record beyond what a thread keeps for the next one. */
static VOID WINAPI last_byte(RTM_ENTITY_HANDLE caller, RTM_ENTITY_HANDLE own, RTM_ENTITY_METHOD_INPUT *input,
                             RTM_ENTITY_METHOD_OUTPUT *output)
{
    (void)caller, (void)own, (void)input;
    EQ((uintptr_t)output % 4, 0);
    if (output->MethodType == 1)
        output->OutputSize = 1;
    else
        ((unsigned char *)output + HEAD)[output->OutputSize - 1] = 0x77;
}

static void large_record(void)
{
    RTM_ENTITY_EXPORT_METHOD methods[2] = {last_byte, last_byte};
    UINT room = 1 << 20, size;
    unsigned char *buffer = (unsigned char *)malloc(room);
    int i;
    callee = add_client(12, 2, methods, NULL, NULL);
    for (i = 0; i < 3; i++) {
        memset(buffer, 0x11, room);
        size = room;
        OK(invoke_for(self, callee, 3, buffer, &size));
        EQ(size, room);
        EQ(at(buffer + HEAD + 1 + 8), room - HEAD - 1 - HEAD);
        EQ(buffer[room - 1], 0x77);
        EQ(buffer[room - 2], 0x11);
    }
    free(buffer);
    OK(RtmDeregisterEntity(callee));
}

/* --- Methods that invoke --- */

static RTM_ENTITY_HANDLE partner[2];

/* Two records, the second of them not aligned, at every depth; each entity invokes the other. */
static VOID WINAPI deeper(RTM_ENTITY_HANDLE caller, RTM_ENTITY_HANDLE own, RTM_ENTITY_METHOD_INPUT *input,
                          RTM_ENTITY_METHOD_OUTPUT *output)
{
    UINT depth = input->InputSize;
    unsigned char *data = (unsigned char *)output + HEAD, expected = (unsigned char)(depth * 7);
    RTM_ENTITY_HANDLE other_one = partner[own == partner[0]];

    CHECK(caller == other_one || caller == self || caller == own);
    EQ((uintptr_t)output % 4, 0);
    if (output->MethodType == 1) {
        data[0] = expected;
        output->OutputSize = 1;
        return;
    }
    memset(data, expected, 5);
    output->OutputSize = 5;
    if (depth > 0) {
        unsigned char buffer[64];
        RTM_ENTITY_METHOD_INPUT next;
        UINT size = sizeof buffer;
        void *aligned = buffer + (4 - (uintptr_t)buffer % 4) % 4;
        memset(&next, 0, sizeof next);
        next.MethodType = 3;
        next.InputSize = depth - 1;
        size = 40;
        OK(RtmInvokeMethod(own, depth % 3 ? other_one : own, &next, &size, (PRTM_ENTITY_METHOD_OUTPUT)aligned));
        EQ(size, HEAD + 1 + HEAD + 5);
        EQ(((unsigned char *)aligned)[HEAD], (unsigned char)((depth - 1) * 7));
        EQ(((unsigned char *)aligned)[HEAD + 1 + HEAD + 4], (unsigned char)((depth - 1) * 7));
    }
    /* Ours is as it was. */
    EQ(data[0], expected);
    EQ(data[4], expected);
}

static void recursion(void)
{
    RTM_ENTITY_EXPORT_METHOD methods[2] = {deeper, deeper};
    RTM_ENTITY_METHOD_INPUT input;
    UINT output[16], size;
    int i;

    partner[0] = add_client(13, 2, methods, NULL, NULL);
    partner[1] = add_client(14, 2, methods, NULL, NULL);
    memset(&input, 0, sizeof input);
    input.MethodType = 3;
    for (i = 0; i < 100; i++) {
        input.InputSize = (UINT)i;
        size = sizeof output;
        OK(RtmInvokeMethod(self, partner[i % 2], &input, &size, (PRTM_ENTITY_METHOD_OUTPUT)output));
        EQ(size, HEAD + 1 + HEAD + 5);
    }
    OK(RtmDeregisterEntity(partner[0]));
    OK(RtmDeregisterEntity(partner[1]));
}

/* --- Many at once --- */

enum { INVOKERS = 4 };
static pthread_barrier_t together;
static unsigned running, entered;

/* All invokers are inside at the same time, or this never ends. */
static VOID WINAPI meet(RTM_ENTITY_HANDLE caller, RTM_ENTITY_HANDLE own, RTM_ENTITY_METHOD_INPUT *input,
                        RTM_ENTITY_METHOD_OUTPUT *output)
{
    nothing(caller, own, input, output);
    ADD(&entered, 1);
    pthread_barrier_wait(&together);
}

static void *invoke_once(void *unused)
{
    OK(invoke(self, callee));
    return unused;
}

static void concurrent(void)
{
    pthread_t threads[INVOKERS];
    int i;
    EQ(pthread_barrier_init(&together, NULL, INVOKERS), 0);
    callee = add_callee(15, meet);
    entered = 0;
    for (i = 0; i < INVOKERS; i++)
        threads[i] = start(invoke_once, NULL);
    for (i = 0; i < INVOKERS; i++)
        join(threads[i]);
    EQ(entered, INVOKERS);
    OK(RtmDeregisterEntity(callee));
    pthread_barrier_destroy(&together);
}

/* --- Blocking --- */

static int open_now;
static Gate inside = GATE, leave = GATE;
static pid_t waiters[INVOKERS];

static VOID WINAPI only_when_open(RTM_ENTITY_HANDLE caller, RTM_ENTITY_HANDLE own,
                                  RTM_ENTITY_METHOD_INPUT *input, RTM_ENTITY_METHOD_OUTPUT *output)
{
    nothing(caller, own, input, output);
    CHECK(LOAD(&open_now));
    ADD(&entered, 1);
}

static void *held_back(void *number)
{
    STORE(&waiters[(uintptr_t)number], own_tid());
    return (void *)(uintptr_t)invoke(self, callee);
}

static void await_waiters(void)
{
    int i;
    for (i = 0; i < INVOKERS; i++)
        AWAIT(is_asleep(LOAD(&waiters[i])));
}

static void *resume(void *unused)
{
    STORE(&open_now, 1);
    OK(RtmBlockMethods(callee, NULL, 0, RTM_RESUME_METHODS));
    return unused;
}

static void hold_and_release(int how)
{
    pthread_t threads[INVOKERS];
    uintptr_t i;

    open_now = 0;
    entered = 0;
    memset(waiters, 0, sizeof waiters);
    callee = add_callee(16, only_when_open);
    OK(RtmBlockMethods(callee, NULL, 0, RTM_RESUME_METHODS));
    OK(RtmBlockMethods(callee, NULL, 0, RTM_BLOCK_METHODS));
    OK(RtmBlockMethods(callee, NULL, 0, RTM_BLOCK_METHODS));
    for (i = 0; i < INVOKERS; i++)
        threads[i] = start(held_back, (void *)i);
    await_waiters();
    EQ(LOAD(&entered), 0);
    if (how == 0)
        resume(NULL);
    else if (how == 1)
        elsewhere(resume, NULL);
    else
        OK(RtmDeregisterEntity(callee));
    for (i = 0; i < INVOKERS; i++)
        EQ((uintptr_t)join(threads[i]), how == 2 ? ERROR_INVALID_HANDLE : NO_ERROR);
    EQ(entered, how == 2 ? 0 : INVOKERS);
    if (how != 2) {
        OK(invoke(self, callee));
        OK(RtmDeregisterEntity(callee));
    }
}

static VOID WINAPI wait_inside(RTM_ENTITY_HANDLE caller, RTM_ENTITY_HANDLE own, RTM_ENTITY_METHOD_INPUT *input,
                               RTM_ENTITY_METHOD_OUTPUT *output)
{
    nothing(caller, own, input, output);
    ADD(&running, 1);
    gate_open(&inside);
    gate_pass(&leave);
    ADD(&running, -1);
}

static pid_t blocker_tid;
static void *block(void *unused)
{
    STORE(&blocker_tid, own_tid());
    OK(RtmBlockMethods(callee, NULL, 0, RTM_BLOCK_METHODS));
    EQ(LOAD(&running), 0);
    return unused;
}

static void blocking_waits(void)
{
    pthread_t invoker, blocker;
    gate_close(&inside);
    gate_close(&leave);
    running = 0;
    blocker_tid = 0;
    callee = add_callee(17, wait_inside);
    invoker = start(invoke_once, NULL);
    gate_pass(&inside);
    blocker = start(block, NULL);
    AWAIT(is_asleep(LOAD(&blocker_tid)));
    EQ(LOAD(&running), 1);
    gate_open(&leave);
    join(blocker);
    join(invoker);
    OK(RtmBlockMethods(callee, NULL, 0, RTM_RESUME_METHODS));
    OK(invoke(self, callee));
    OK(RtmDeregisterEntity(callee));
}

/* Who would wait for itself is told. */
static VOID WINAPI block_own(RTM_ENTITY_HANDLE caller, RTM_ENTITY_HANDLE own, RTM_ENTITY_METHOD_INPUT *input,
                             RTM_ENTITY_METHOD_OUTPUT *output)
{
    RTM_ENTITY_HANDLE third = *(RTM_ENTITY_HANDLE *)&callee;
    nothing(caller, own, input, output);
    EQ(RtmBlockMethods(own, NULL, 0, RTM_BLOCK_METHODS), ERROR_POSSIBLE_DEADLOCK);
    OK(RtmBlockMethods(own, NULL, 0, RTM_RESUME_METHODS));
    /* Nothing has changed. */
    if (input->InputSize == 0) {
        RTM_ENTITY_METHOD_INPUT again = *input;
        UINT room[4], size = sizeof room;
        again.InputSize = 1;
        OK(RtmInvokeMethod(own, third, &again, &size, (PRTM_ENTITY_METHOD_OUTPUT)room));
    }
    ADD(&entered, 1);
}

static void *try_blocked(void *unused)
{
    OK(RtmxEnter());
    EQ(invoke(self, callee), ERROR_POSSIBLE_DEADLOCK);
    EQ(RtmBlockMethods(callee, NULL, 0, RTM_BLOCK_METHODS), ERROR_POSSIBLE_DEADLOCK);
    OK(RtmxLeave());
    return unused;
}

static void would_deadlock(void)
{
    UINT output[16], size = sizeof output;

    entered = 0;
    callee = add_callee(18, block_own);
    OK(invoke(self, callee));
    EQ(entered, 2);
    OK(RtmDeregisterEntity(callee));

    callee = add_callee(19, nothing);
    OK(RtmBlockMethods(callee, NULL, 0, RTM_BLOCK_METHODS));
    EQ(invoke(self, callee), ERROR_POSSIBLE_DEADLOCK);
    EQ(invoke(self, callee), ERROR_POSSIBLE_DEADLOCK);
    elsewhere(try_blocked, NULL);
    /* Nothing to run, nothing to wait for. */
    EQ(invoke_for(self, callee, 2, output, &size), ERROR_NOT_FOUND);
    EQ(size, 0);
    OK(RtmBlockMethods(callee, NULL, 0, RTM_RESUME_METHODS));
    /* In a section, but with nothing to wait for. */
    OK(RtmxEnter());
    OK(invoke(self, callee));
    EQ(RtmBlockMethods(callee, NULL, 0, RTM_BLOCK_METHODS), ERROR_POSSIBLE_DEADLOCK);
    OK(invoke(self, callee));
    OK(RtmxLeave());
    OK(RtmDeregisterEntity(callee));
}

/* --- What a method may not do, and may --- */

static VOID WINAPI look_around(RTM_ENTITY_HANDLE caller, RTM_ENTITY_HANDLE own, RTM_ENTITY_METHOD_INPUT *input,
                               RTM_ENTITY_METHOD_OUTPUT *output)
{
    RTM_ENTITY_HANDLE fresh, list[16];
    RTMX_QUEUE_HANDLE queue = NULL;
    RTM_ENTITY_INFO info;
    UINT number = 16;
    void *context;

    nothing(caller, own, input, output);
    EQ(RtmxFlush(), ERROR_POSSIBLE_DEADLOCK);
    EQ(RtmxSynchronize(), ERROR_POSSIBLE_DEADLOCK);
    EQ(RtmxShutdown(), ERROR_POSSIBLE_DEADLOCK);
    EQ(RtmDeregisterEntity(own), ERROR_POSSIBLE_DEADLOCK);
    CHECK(is_registered(own));
    fresh = add_callee(90, nothing);
    OK(invoke(own, fresh));
    OK(RtmDeregisterEntity(fresh));
    OK(RtmGetEntityInfo(own, caller, &info));
    OK(RtmGetRegisteredEntities(own, &number, list, NULL));
    OK(RtmReleaseEntities(own, number, list));
    OK(RtmxEnter());
    OK(RtmxGetContext(own, &context));
    OK(RtmxLeave());
    OK(RtmxCreateEventQueue(&queue));
    OK(RtmxDispatchEvents(queue, 1, NULL));
    OK(RtmxDeleteEventQueue(queue));
    ADD(&entered, 1);
}

static void allowed(void)
{
    entered = 0;
    callee = add_callee(20, look_around);
    OK(invoke(self, callee));
    EQ(entered, 1);
    OK(RtmDeregisterEntity(callee));
}

/* --- Threads that end inside --- */

/* Method 0 leaves an odd size, so that method 1 is in a scratch record. */
static VOID WINAPI end_thread(RTM_ENTITY_HANDLE caller, RTM_ENTITY_HANDLE own, RTM_ENTITY_METHOD_INPUT *input,
                              RTM_ENTITY_METHOD_OUTPUT *output)
{
    (void)caller;
    if (output->MethodType == 1) {
        output->OutputSize = 1;
        return;
    }
    ADD(&entered, 1);
    if (input->InputSize & 4) {
        RTM_ENTITY_METHOD_INPUT again = *input;
        UINT room[16], size = sizeof room;
        again.InputSize &= ~4u;
        RtmInvokeMethod(own, own, &again, &size, (PRTM_ENTITY_METHOD_OUTPUT)room);
    }
    if (input->InputSize & 1)
        pthread_exit(&entered);
    cancel_here();
}

static void *invoke_and_end(void *how)
{
    RTM_ENTITY_METHOD_INPUT input;
    UINT output[32], size = sizeof output;
    memset(&input, 0, sizeof input);
    input.MethodType = 3;
    input.InputSize = (UINT)(uintptr_t)how;
    RtmInvokeMethod(self, callee, &input, &size, (PRTM_ENTITY_METHOD_OUTPUT)output);
    CHECK(!"reached");
    return NULL;
}

static void ending(void)
{
    RTM_ENTITY_EXPORT_METHOD methods[2] = {end_thread, end_thread};
    uintptr_t how;
    int round;
    for (round = 0; round < 20; round++)
        for (how = 1; how <= 6; how++) {
            void *result;
            if (how == 3)
                continue;
            entered = 0;
            callee = add_client(21, 2, methods, NULL, NULL);
            result = elsewhere(invoke_and_end, (void *)how);
            CHECK(result == (how & 1 ? (void *)&entered : PTHREAD_CANCELED));
            EQ(entered, how & 4 ? 2 : 1);
            /* Nothing of it runs: neither waits. */
            OK(RtmBlockMethods(callee, NULL, 0, RTM_BLOCK_METHODS));
            OK(RtmDeregisterEntity(callee));
        }
}

/* Waiting is no cancellation point. */
static int returned;
static void *cancelled_while_waiting(void *unused)
{
    STORE(&waiters[0], own_tid());
    OK(invoke(self, callee));
    STORE(&returned, 1);
    pthread_testcancel();
    CHECK(!"reached");
    return unused;
}

static void cancelled(void)
{
    pthread_t thread;
    callee = add_callee(23, nothing);
    OK(RtmBlockMethods(callee, NULL, 0, RTM_BLOCK_METHODS));
    returned = 0;
    waiters[0] = 0;
    thread = start(cancelled_while_waiting, NULL);
    AWAIT(is_asleep(LOAD(&waiters[0])));
    EQ(pthread_cancel(thread), 0);
    OK(RtmBlockMethods(callee, NULL, 0, RTM_RESUME_METHODS));
    CHECK(join(thread) == PTHREAD_CANCELED);
    EQ(returned, 1);
    OK(RtmDeregisterEntity(callee));
}

/* --- Everything at once --- */

static RTM_ENTITY_HANDLE current;
static int stop_storm;

static VOID WINAPI storm_method(RTM_ENTITY_HANDLE caller, RTM_ENTITY_HANDLE own, RTM_ENTITY_METHOD_INPUT *input,
                                RTM_ENTITY_METHOD_OUTPUT *output)
{
    CHECK(is_registered(caller));
    nothing(caller, own, input, output);
}

static void *storm(void *unused)
{
    while (!LOAD(&stop_storm)) {
        DWORD code = invoke(self, LOAD(&current));
        CHECK(code == NO_ERROR || code == ERROR_INVALID_HANDLE);
        if (code == NO_ERROR)
            ADD(&entered, 1);
    }
    return unused;
}

static void storms(void)
{
    pthread_t threads[INVOKERS];
    unsigned long rounds = check_rounds(1000), i;

    entered = 0;
    stop_storm = 0;
    for (i = 0; i < INVOKERS; i++)
        threads[i] = start(storm, NULL);
    for (i = 0; i < rounds; i++) {
        RTM_ENTITY_HANDLE now = add_callee(22, storm_method);
        STORE(&current, now);
        if (i % 3 == 0) {
            OK(RtmBlockMethods(now, NULL, 0, RTM_BLOCK_METHODS));
            OK(RtmBlockMethods(now, NULL, 0, RTM_RESUME_METHODS));
        } else if (i % 3 == 1) {
            OK(RtmBlockMethods(now, NULL, 0, RTM_BLOCK_METHODS));
        }
        if (i % 16 == 0) {
            unsigned before = LOAD(&entered);
            OK(RtmBlockMethods(now, NULL, 0, RTM_RESUME_METHODS));
            AWAIT(LOAD(&entered) != before);
        }
        OK(RtmDeregisterEntity(now));
    }
    STORE(&stop_storm, 1);
    for (i = 0; i < INVOKERS; i++)
        join(threads[i]);
}

int main(void)
{
    int round;
    self = add(1);
    tables();
    arguments();
    wrong_arguments();
    records();
    large_record();
    recursion();
    concurrent();
    for (round = 0; round < 5; round++) {
        hold_and_release(0);
        hold_and_release(1);
        hold_and_release(2);
        blocking_waits();
    }
    would_deadlock();
    allowed();
    ending();
    cancelled();
    storms();
    OK(RtmDeregisterEntity(self));
    OK(RtmxFlush());
    EQ(statistics().Live, 0);
    EQ(statistics().Retired, 0);
    OK(RtmxShutdown());
    return check_done("methods");
}
