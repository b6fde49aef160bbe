/*
 * Loads a protocol's module (plugin.c) and unloads it, again and again, while others invoke it and make it hear of
 * them. If one instruction of the module ran after that, this program would crash.
 *
 *   host [MODULE [TIMES]]    ./plugin.so and 20 if not given
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include "plugin.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum { VISITORS = 4, CALLS = 64, ENOUGH = 200, PATIENCE_MS = 20000 };

static _Atomic(RTM_ENTITY_HANDLE) protocol; /* of this round's module; stale between two rounds */
static atomic_bool stopping;
static atomic_ulong answered, refused;
static atomic_uint seen; /* the newest answer */

static void fail(const char *what, const char *why)
{
    fprintf(stderr, "host: %s: %s\n", what, why);
    exit(1);
}

static void must(DWORD code, const char *what)
{
    if (code != NO_ERROR)
        fail(what, RtmxErrorText(code));
}

static void ask(RTM_ENTITY_HANDLE self)
{
    union {
        RTM_ENTITY_METHOD_OUTPUT record;
        UCHAR room[sizeof(RTM_ENTITY_METHOD_OUTPUT) + sizeof(unsigned)];
    } out;
    RTM_ENTITY_METHOD_INPUT in = {.MethodType = METHOD_SEEN};
    UINT size = sizeof out;
    DWORD code = RtmInvokeMethod(self, atomic_load(&protocol), &in, &size, &out.record);
    if (code == NO_ERROR)
        code = out.record.MethodStatus; /* the method's own word */
    if (code == ERROR_INVALID_HANDLE) { /* it is going, or has gone */
        atomic_fetch_add(&refused, 1);
        return;
    }
    must(code, "invoke");
    unsigned answer;
    if (out.record.OutputSize != sizeof answer)
        fail("invoke", "an answer of another size");
    memcpy(&answer, out.record.OutputData, sizeof answer);
    atomic_store(&seen, answer);
    atomic_fetch_add(&answered, 1);
}

/* Comes, asks, and goes; the protocol is told of it. */
static void *visit(void *number)
{
    RTM_ENTITY_INFO info = {
        .AddressFamily = AF_INET,
        .EntityId = {.EntityProtocolId = 1, .EntityInstanceId = *(const ULONG *)number},
    };
    while (!atomic_load(&stopping)) {
        RTM_REGN_PROFILE profile;
        RTM_ENTITY_HANDLE self;
        must(RtmRegisterEntity(&info, NULL, NULL, FALSE, &profile, &self), "register");
        for (int i = 0; i < CALLS; i++)
            ask(self);
        must(RtmDeregisterEntity(self), "deregister");
    }
    return NULL;
}

static void *symbol(void *module, const char *name)
{
    void *found = dlsym(module, name);
    if (!found)
        fail(name, dlerror());
    return found;
}

static void load_and_unload(const char *path)
{
    const struct timespec nap = {.tv_nsec = 1000000};
    const unsigned long before = atomic_load(&answered);
    plugin_start_function *start;
    plugin_stop_function *stop;
    RTM_ENTITY_HANDLE handle;
    void *found, *module = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!module)
        fail("dlopen", dlerror());
    /* ISO C knows no cast from data to code; POSIX promises that the bytes are the same. */
    found = symbol(module, "plugin_start");
    memcpy(&start, &found, sizeof start);
    found = symbol(module, "plugin_stop");
    memcpy(&stop, &found, sizeof stop);

    atomic_store(&seen, 0);
    must(start(&handle), "start");
    atomic_store(&protocol, handle);
    for (int waited = 0; atomic_load(&answered) - before < ENOUGH || atomic_load(&seen) < 3; waited++) {
        if (waited == PATIENCE_MS)
            fail("plugin", "it is not invoked and told");
        nanosleep(&nap, NULL);
    }

    /* While it is busy: */
    must(stop(), "stop");      /* none of its callbacks and methods runs, nor ever will */
    must(RtmxFlush(), "flush"); /* its cleanup function has returned */
    if (dlclose(module) != 0)
        fail("dlclose", dlerror());
    if (dlopen(path, RTLD_NOW | RTLD_NOLOAD))
        fail("dlclose", "the module is still there");
}

int main(int argc, char **argv)
{
    const char *path = argc > 1 ? argv[1] : "./plugin.so";
    const long times = argc > 2 ? atol(argv[2]) : 20;
    pthread_t visitors[VISITORS];
    ULONG numbers[VISITORS];

    for (ULONG i = 0; i < VISITORS; i++) {
        numbers[i] = i;
        if (pthread_create(&visitors[i], NULL, visit, &numbers[i]) != 0)
            fail("pthread_create", "refused");
    }
    for (long i = 0; i < times; i++)
        load_and_unload(path);
    atomic_store(&stopping, true);
    for (int i = 0; i < VISITORS; i++)
        if (pthread_join(visitors[i], NULL) != 0)
            fail("pthread_join", "refused");
    must(RtmxShutdown(), "shut down"); /* refused if an entity were left */
    printf("host: loaded and unloaded %ld times; %lu calls answered, %lu refused\n", times,
           atomic_load(&answered), atomic_load(&refused));
    return 0;
}
