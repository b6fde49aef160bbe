/*
 * A client is loaded (its path is the first argument), registers with a context, hears events, is invoked
 * by 8 threads, deregisters, is flushed and unloaded; as often as the second argument says.
 */
#include "check.h"
#include "plugin.h"

#include <dlfcn.h>
#include <semaphore.h>

enum { INVOKERS = 8, TURNS = 4 };

static RTM_ENTITY_HANDLE self, current;
static unsigned heard, invoked, cleaned, over;
static sem_t something;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static unsigned long round_now;

static void note_heard(void)
{
    if (ADD(&heard, 1) == 0)
        sem_post(&something);
}

static void note_invoked(void)
{
    if (ADD(&invoked, 1) == 0)
        sem_post(&something);
}

static void note_cleaned(void)
{
    ADD(&cleaned, 1);
}

/* Each round a few times, also while the client goes and when it has gone. */
static void *invoke_in_rounds(void *unused)
{
    unsigned long seen = 0;
    for (;;) {
        int turn;
        pthread_mutex_lock(&lock);
        while (round_now == seen)
            pthread_cond_wait(&changed, &lock);
        seen = round_now;
        pthread_mutex_unlock(&lock);
        if (LOAD(&over))
            return unused;
        for (turn = 0; turn < TURNS; turn++) {
            DWORD code = invoke(self, LOAD(&current));
            CHECK(code == NO_ERROR || code == ERROR_INVALID_HANDLE);
        }
    }
}

static void next_round(void)
{
    pthread_mutex_lock(&lock);
    round_now++;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static void resolve(void *library, const char *name, void *place)
{
    void *symbol = dlsym(library, name);
    CHECK(symbol != NULL);
    memcpy(place, &symbol, sizeof symbol);
}

int main(int argc, char **argv)
{
    Host host;
    pthread_t threads[INVOKERS];
    unsigned long rounds, i;
    unsigned all_invoked = 0;

    EQ(argc, 3);
    rounds = check_rounds(strtoul(argv[2], NULL, 10));
    memset(&host, 0, sizeof host);
    host.register_entity = RtmxRegisterEntity;
    host.deregister_entity = RtmDeregisterEntity;
    host.get_info = RtmGetEntityInfo;
    host.heard = note_heard;
    host.invoked = note_invoked;
    host.cleaned = note_cleaned;
    EQ(sem_init(&something, 0, 0), 0);
    self = add(1);
    for (i = 0; i < INVOKERS; i++)
        threads[i] = start(invoke_in_rounds, NULL);
    for (i = 0; i < rounds; i++) {
        struct timespec until;
        RTM_ENTITY_HANDLE handle = NULL, other;
        Begin begin;
        End end;
        void *client = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
        if (!client)
            fprintf(stderr, "%s\n", dlerror());
        CHECK(client != NULL);
        resolve(client, "begin", &begin);
        resolve(client, "end", &end);
        STORE(&heard, 0);
        STORE(&invoked, 0);
        STORE(&cleaned, 0);
        OK(begin(&host, 2, &handle));
        STORE(&current, handle);
        next_round();
        other = add(3);
        /* It has been told something and invoked. */
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += 20;
        EQ(sem_timedwait(&something, &until), 0);
        EQ(sem_timedwait(&something, &until), 0);
        OK(end());
        CHECK(RtmDeregisterEntity(handle) == ERROR_INVALID_HANDLE);
        OK(RtmDeregisterEntity(other));
        OK(RtmxFlush());
        EQ(LOAD(&cleaned), 1);
        all_invoked += LOAD(&invoked);
        EQ(dlclose(client), 0);
        /* It really has gone. */
        if (i % 100 == 0)
            CHECK(dlopen(argv[1], RTLD_NOW | RTLD_NOLOAD) == NULL);
    }
    STORE(&over, 1);
    next_round();
    for (i = 0; i < INVOKERS; i++)
        join(threads[i]);
    CHECK_OP(all_invoked, >=, rounds);
    OK(RtmDeregisterEntity(self));
    OK(RtmxFlush());
    EQ(statistics().Live, 0);
    EQ(statistics().Retired, 0);
    OK(RtmxShutdown());
    return check_done("plugin");
}
