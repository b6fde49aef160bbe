/*
 * What the test programs share. C11 and C++17. A failed check says where, what and with which values,
 * and ends the process with 1.
 */
#ifndef RTM_TEST_CHECK_H
#define RTM_TEST_CHECK_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "rtmv2.h"

#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define UNUSED __attribute__((unused))

#define TEST_INET 2
#define TEST_INET6 10

/* Relaxed or stronger accesses to plain variables, the same in C and C++. */
#define LOAD(p) __atomic_load_n((p), __ATOMIC_SEQ_CST)
#define STORE(p, v) __atomic_store_n((p), (v), __ATOMIC_SEQ_CST)
#define ADD(p, v) __atomic_fetch_add((p), (v), __ATOMIC_SEQ_CST)
#define SWAP(p, v) __atomic_exchange_n((p), (v), __ATOMIC_SEQ_CST)

static unsigned long long check_count UNUSED;

__attribute__((noreturn, unused)) static void
check_failed(const char *file, int line, const char *what, const char *how, unsigned long long a,
             unsigned long long b)
{
    char text[512];
    int n = snprintf(text, sizeof text, "%s:%d: check failed: %s: %llu %s %llu (%#llx, %#llx)\n",
                     file, line, what, a, how, b, a, b);
    ssize_t written = write(2, text, n < (int)sizeof text ? (size_t)n : sizeof text - 1);
    (void)written;
    _exit(1);
}

#define CHECK_OP(a, op, b)                                                                          \
    do {                                                                                            \
        unsigned long long check_a = (unsigned long long)(a), check_b = (unsigned long long)(b);    \
        if (!(check_a op check_b))                                                                  \
            check_failed(__FILE__, __LINE__, #a " " #op " " #b, "against", check_a, check_b);       \
        __atomic_fetch_add(&check_count, 1, __ATOMIC_RELAXED);                                      \
    } while (0)

#define CHECK(expression) CHECK_OP(!!(expression), ==, 1)
#define EQ(a, b) CHECK_OP(a, ==, b)
#define NE(a, b) CHECK_OP(a, !=, b)
#define OK(call) CHECK_OP(call, ==, NO_ERROR)

/* The one line that a program prints, and its exit code. */
UNUSED static int check_done(const char *name)
{
    printf("%s: %llu checks\n", name, LOAD(&check_count));
    return 0;
}

/* Under a slow checker everything that is repeated is repeated less. */
UNUSED static unsigned long check_rounds(unsigned long normal)
{
    const char *divisor = getenv("RTM_TEST_DIVISOR");
    unsigned long by = divisor ? strtoul(divisor, NULL, 10) : 1;
    unsigned long rounds = by > 1 ? normal / by : normal;
    return rounds ? rounds : 1;
}

UNUSED static uint64_t check_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* A bounded wait for something another thread does. */
#define AWAIT(condition)                                                                            \
    do {                                                                                            \
        uint64_t check_until = check_now_ms() + 20000;                                              \
        while (!(condition)) {                                                                      \
            struct timespec check_nap = {0, 200000};                                                \
            if (check_now_ms() > check_until)                                                       \
                check_failed(__FILE__, __LINE__, "in time: " #condition, "against", 0, 1);          \
            nanosleep(&check_nap, NULL);                                                            \
        }                                                                                           \
        __atomic_fetch_add(&check_count, 1, __ATOMIC_RELAXED);                                      \
    } while (0)

/* A door that stays open once opened. */
typedef struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int open;
} Gate;
#define GATE {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0}

UNUSED static void gate_open(Gate *gate)
{
    EQ(pthread_mutex_lock(&gate->lock), 0);
    gate->open = 1;
    EQ(pthread_cond_broadcast(&gate->changed), 0);
    EQ(pthread_mutex_unlock(&gate->lock), 0);
}

UNUSED static void gate_close(Gate *gate)
{
    EQ(pthread_mutex_lock(&gate->lock), 0);
    gate->open = 0;
    EQ(pthread_mutex_unlock(&gate->lock), 0);
}

/* Waits at most 20 seconds. */
UNUSED static void gate_pass(Gate *gate)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 20;
    EQ(pthread_mutex_lock(&gate->lock), 0);
    while (!gate->open)
        EQ(pthread_cond_timedwait(&gate->changed, &gate->lock, &until), 0);
    EQ(pthread_mutex_unlock(&gate->lock), 0);
}

UNUSED static pid_t own_tid(void)
{
    return (pid_t)syscall(SYS_gettid);
}

/* The thread sleeps: there is no other way to see that a call waits. 0 while it has not told its id. */
UNUSED static int is_asleep(pid_t tid)
{
    char path[64], text[256], *state;
    size_t length;
    FILE *file;
    if (tid == 0)
        return 0;
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", (int)tid);
    file = fopen(path, "r");
    if (!file)
        return 0;
    length = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[length] = 0;
    state = strrchr(text, ')');
    return state != NULL && state[1] == ' ' && state[2] == 'S';
}

#ifdef __SANITIZE_ADDRESS__
#ifdef __cplusplus
extern "C"
#endif
void __asan_handle_no_return(void);
#endif

/* Ends the thread by deferred cancellation. */
UNUSED static void cancel_here(void)
{
    EQ(pthread_cancel(pthread_self()), 0);
#ifdef __SANITIZE_ADDRESS__
    /* As the compiler does before pthread_exit: the frames that vanish leave no marks on the stack. */
    __asan_handle_no_return();
#endif
    pthread_testcancel();
    CHECK(!"reached");
}

/* A small generator: one state for each thread. */
UNUSED static uint64_t check_random(uint64_t *state)
{
    uint64_t x = (*state += 0x9e3779b97f4a7c15u);
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

UNUSED static RTM_ENTITY_INFO make_info(unsigned instance, unsigned family, uint64_t id)
{
    RTM_ENTITY_INFO info;
    memset(&info, 0xA5, sizeof info);
    info.RtmInstanceId = (USHORT)instance;
    info.AddressFamily = (USHORT)family;
    info.EntityId.EntityId = id;
    return info;
}

/* By fields: the padding between them is nobody's. */
UNUSED static int same_info(const RTM_ENTITY_INFO *a, const RTM_ENTITY_INFO *b)
{
    return a->RtmInstanceId == b->RtmInstanceId && a->AddressFamily == b->AddressFamily &&
           a->EntityId.EntityId == b->EntityId.EntityId;
}

#ifndef RTM_ALONE /* linked with the library */

/* Where the functions below register. */
static unsigned check_instance UNUSED;

UNUSED static DWORD try_register(unsigned instance, unsigned family, uint64_t id, void *context,
                                 RTMX_CLEANUP cleanup, RTM_ENTITY_HANDLE *handle)
{
    RTM_ENTITY_INFO info = make_info(instance, family, id);
    RTM_REGN_PROFILE profile;
    return RtmxRegisterEntity(&info, NULL, NULL, FALSE, context, cleanup, NULL, &profile, handle);
}

/* An entity of instance `check_instance`, IPv4, without a context. */
UNUSED static RTM_ENTITY_HANDLE add(uint64_t id)
{
    RTM_ENTITY_HANDLE handle = NULL;
    OK(try_register(check_instance, TEST_INET, id, NULL, NULL, &handle));
    CHECK(handle != NULL);
    return handle;
}

UNUSED static RTM_ENTITY_HANDLE add_with(uint64_t id, void *context, RTMX_CLEANUP cleanup)
{
    RTM_ENTITY_HANDLE handle = NULL;
    OK(try_register(check_instance, TEST_INET, id, context, cleanup, &handle));
    CHECK(handle != NULL);
    return handle;
}

/* ... with client code. */
UNUSED static DWORD try_client(uint64_t id, UINT number, const RTM_ENTITY_EXPORT_METHOD *methods,
                               RTM_EVENT_CALLBACK callback, RTMX_QUEUE_HANDLE queue, void *context,
                               RTMX_CLEANUP cleanup, RTM_ENTITY_HANDLE *handle)
{
    union {
        RTM_ENTITY_EXPORT_METHODS table;
        unsigned char room[sizeof(RTM_ENTITY_EXPORT_METHODS) + 33 * sizeof(RTM_ENTITY_EXPORT_METHOD)];
    } given;
    RTM_ENTITY_INFO info = make_info(check_instance, TEST_INET, id);
    RTM_REGN_PROFILE profile;
    memset(&given, 0, sizeof given);
    given.table.NumMethods = number;
    if (number)
        memcpy(given.room + offsetof(RTM_ENTITY_EXPORT_METHODS, Methods), methods, number * sizeof *methods);
    return RtmxRegisterEntity(&info, number ? &given.table : NULL, callback, FALSE, context, cleanup, queue,
                              &profile, handle);
}

UNUSED static RTM_ENTITY_HANDLE add_client(uint64_t id, UINT number, const RTM_ENTITY_EXPORT_METHOD *methods,
                                           RTM_EVENT_CALLBACK callback, RTMX_QUEUE_HANDLE queue)
{
    RTM_ENTITY_HANDLE handle = NULL;
    OK(try_client(id, number, methods, callback, queue, NULL, NULL, &handle));
    CHECK(handle != NULL);
    return handle;
}

UNUSED static RTM_ENTITY_HANDLE add_callee(uint64_t id, RTM_ENTITY_EXPORT_METHOD method)
{
    return add_client(id, 1, &method, NULL, NULL);
}

UNUSED static RTM_ENTITY_HANDLE add_listener(uint64_t id, RTM_EVENT_CALLBACK callback, RTMX_QUEUE_HANDLE queue)
{
    return add_client(id, 0, NULL, callback, queue);
}

/* Runs the methods in `mask` without input, with room for `size` bytes of output. */
UNUSED static DWORD invoke_for(RTM_ENTITY_HANDLE caller, RTM_ENTITY_HANDLE callee, DWORD mask, void *output,
                               UINT *size)
{
    RTM_ENTITY_METHOD_INPUT input;
    memset(&input, 0, sizeof input);
    input.MethodType = mask;
    return RtmInvokeMethod(caller, callee, &input, size, (PRTM_ENTITY_METHOD_OUTPUT)output);
}

/* Runs method 0. */
UNUSED static DWORD invoke(RTM_ENTITY_HANDLE caller, RTM_ENTITY_HANDLE callee)
{
    UINT output[16], size = sizeof output;
    return invoke_for(caller, callee, 1, output, &size);
}

UNUSED static int is_registered(RTM_ENTITY_HANDLE handle)
{
    RTM_ENTITY_INFO info;
    return RtmGetEntityInfo(handle, handle, &info) == NO_ERROR;
}

UNUSED static RTMX_STATISTICS statistics(void)
{
    RTMX_STATISTICS now;
    OK(RtmxGetStatistics(&now, sizeof now));
    return now;
}

#endif

UNUSED static RTM_ENTITY_HANDLE as_handle(uint64_t bits)
{
    return (RTM_ENTITY_HANDLE)(uintptr_t)bits;
}

UNUSED static pthread_t start(void *(*body)(void *), void *argument)
{
    pthread_t thread;
    EQ(pthread_create(&thread, NULL, body, argument), 0);
    return thread;
}

UNUSED static void *join(pthread_t thread)
{
    void *result = NULL;
    EQ(pthread_join(thread, &result), 0);
    return result;
}

/*
 * Runs this program again with the argument `mode`, for at most 20 seconds. Gives its wait status, and
 * what it printed, both streams in one.
 */
UNUSED static int run_again(const char *program, const char *mode, char *output, size_t size)
{
    int ends[2], status = -1;
    size_t have = 0;
    pid_t child;

    EQ(pipe(ends), 0);
    child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        dup2(ends[1], 1);
        dup2(ends[1], 2);
        close(ends[0]);
        close(ends[1]);
        alarm(20);
        execl(program, program, mode, (char *)NULL);
        _exit(127);
    }
    close(ends[1]);
    for (;;) {
        char scrap[256];
        ssize_t got = have + 1 < size ? read(ends[0], output + have, size - 1 - have)
                                      : read(ends[0], scrap, sizeof scrap);
        if (got <= 0)
            break;
        if (have + 1 < size)
            have += (size_t)got;
    }
    output[have] = 0;
    close(ends[0]);
    EQ(waitpid(child, &status, 0), child);
    return status;
}

/* ... which must end with exit code `code` and have printed nothing. */
UNUSED static void run_silently(const char *program, const char *mode, int code)
{
    char output[4096];
    int status = run_again(program, mode, output, sizeof output);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != code || output[0])
        fprintf(stderr, "%s %s ended with wait status %#x:\n%s\n", program, mode, (unsigned)status, output);
    CHECK(WIFEXITED(status));
    EQ(WEXITSTATUS(status), code);
    EQ(output[0], 0);
}

/* Runs `body` on a thread of its own, to its end. */
UNUSED static void *elsewhere(void *(*body)(void *), void *argument)
{
    return join(start(body, argument));
}

#endif
