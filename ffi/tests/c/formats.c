/* Statistics and entities as texts: sizes, formats, what the lines say, parts, while others come and go. */
#include "check.h"

enum { ROOM = 8192, MANY = 300 };

static char text[ROOM];

/* The text of a call that has enough room. */
static const char *figures(UINT format)
{
    UINT size = sizeof text;
    memset(text, 0x7E, sizeof text);
    OK(RtmxFormatStatistics(format, text, &size));
    EQ(size, strlen(text) + 1);
    EQ(text[size - 2], '\n');
    EQ((unsigned char)text[size], 0x7E);
    return text;
}

/* The value behind the first place where the text has these words. */
static unsigned long long value(const char *in, const char *words)
{
    const char *at = strstr(in, words);
    if (!at)
        fprintf(stderr, "no \"%s\" in:\n%s\n", words, in);
    CHECK(at != NULL);
    return strtoull(at + strlen(words), NULL, 10);
}

static void sizes_of_statistics(void)
{
    UINT format, size, needed, i;
    for (format = RTMX_TEXT; format <= RTMX_PROMETHEUS; format++) {
        needed = 0;
        EQ(RtmxFormatStatistics(format, NULL, &needed), ERROR_INSUFFICIENT_BUFFER);
        CHECK(needed > 200 && needed <= ROOM);
        for (i = 1; i <= 2; i++) {
            memset(text, 0x7E, sizeof text);
            size = i == 1 ? needed - 1 : 1;
            EQ(RtmxFormatStatistics(format, text, &size), ERROR_INSUFFICIENT_BUFFER);
            EQ(size, needed);
            EQ(text[0], 0x7E);
        }
        size = needed;
        OK(RtmxFormatStatistics(format, text, &size));
        EQ(size, needed);
        EQ(strlen(text) + 1, needed);
        EQ(text[needed], 0x7E);
    }
    size = 7;
    EQ(RtmxFormatStatistics(3, text, &size), ERROR_NOT_SUPPORTED);
    EQ(RtmxFormatStatistics(0xFFFFFFFFu, text, &size), ERROR_NOT_SUPPORTED);
    EQ(RtmxFormatStatistics(RTMX_TEXT, NULL, &size), ERROR_INVALID_PARAMETER);
    EQ(RtmxFormatStatistics(RTMX_TEXT, text, NULL), ERROR_INVALID_PARAMETER);
    EQ(size, 7);
}

/* The three say the same as the structure. */
static void values_of_statistics(void)
{
    RTMX_STATISTICS now = statistics();
    CHECK(now.Live != 0);
    EQ(value(figures(RTMX_TEXT), "live "), now.Live);
    EQ(value(text, "\nregistered "), now.Registered);
    EQ(value(text, "\nindex_bytes "), now.IndexBytes);
    EQ(value(text, "\nevent_queues "), now.EventQueues);
    EQ(value(figures(RTMX_JSON), "{\"live\":"), now.Live);
    EQ(value(text, ",\"deregistered\":"), now.Deregistered);
    EQ(value(text, ",\"event_threads\":"), now.EventThreads);
    EQ(strstr(text, "}\n") - text, (long)strlen(text) - 2);
    EQ(value(figures(RTMX_PROMETHEUS), "\nrtm_live "), now.Live);
    EQ(value(text, "\nrtm_registered_total "), now.Registered);
    CHECK(strstr(text, "\n# TYPE rtm_registered_total counter\n") != NULL);
    CHECK(strstr(text, "\n# TYPE rtm_event_queues gauge\n") != NULL);
    CHECK(strncmp(text, "# HELP rtm_live ", 16) == 0);
}

/* --- Entities --- */

static char whole[1 << 20];

/* All parts, read by a buffer of `room` bytes. */
static const char *entities(UINT format, UINT room)
{
    ULONGLONG position = 0;
    size_t length = 0;
    do {
        UINT size = room;
        DWORD code = RtmxFormatEntities(format, &position, text, &size);
        if (code == ERROR_INSUFFICIENT_BUFFER) {
            /* One line is longer: exactly so much it needs. */
            UINT needed = size;
            CHECK(needed > room && needed <= 512);
            size = needed;
            OK(RtmxFormatEntities(format, &position, text, &size));
            EQ(size, needed);
        } else {
            EQ(code, NO_ERROR);
            CHECK(size <= room);
        }
        EQ(size, strlen(text) + 1);
        CHECK(size == 1 || text[size - 2] == '\n');
        CHECK(length + size < sizeof whole);
        memcpy(whole + length, text, size);
        length += size - 1;
    } while (position != 0);
    return whole;
}

/* The one line about an entity, NULL if there is none. */
static const char *line_of(RTM_ENTITY_HANDLE handle)
{
    static char line[512];
    char name[64];
    const char *at, *end;
    snprintf(name, sizeof name, "handle=0x%llx ", (unsigned long long)(uintptr_t)handle);
    at = strstr(entities(RTMX_TEXT, 4096), name);
    if (!at)
        return NULL;
    end = strchr(at, '\n');
    CHECK(end != NULL && end - at < (long)sizeof line);
    CHECK(strstr(end, name) == NULL);
    memcpy(line, at, (size_t)(end - at));
    line[end - at] = 0;
    return line;
}

static int says(RTM_ENTITY_HANDLE handle, const char *words)
{
    const char *line = line_of(handle);
    return line != NULL && strstr(line, words) != NULL;
}

static void no_entities(void)
{
    ULONGLONG position = 0;
    UINT size = 2;
    EQ(strcmp(entities(RTMX_TEXT, 1), ""), 0);
    EQ(strcmp(entities(RTMX_JSON, 4096), ""), 0);
    OK(RtmxFormatEntities(RTMX_JSON, &position, text, &size));
    EQ(size, 1);
    size = 0;
    EQ(RtmxFormatEntities(RTMX_TEXT, &position, NULL, &size), ERROR_INSUFFICIENT_BUFFER);
    EQ(size, 1);
    EQ(position, 0);
    position = ~0ull, size = sizeof text;
    OK(RtmxFormatEntities(RTMX_TEXT, &position, text, &size));
    EQ(position, 0);
    size = 7, position = 9;
    EQ(RtmxFormatEntities(RTMX_PROMETHEUS, &position, text, &size), ERROR_NOT_SUPPORTED);
    EQ(RtmxFormatEntities(RTMX_TEXT, &position, NULL, &size), ERROR_INVALID_PARAMETER);
    EQ(RtmxFormatEntities(RTMX_TEXT, NULL, text, &size), ERROR_INVALID_PARAMETER);
    EQ(RtmxFormatEntities(RTMX_TEXT, &position, text, NULL), ERROR_INVALID_PARAMETER);
    EQ(size, 7);
    EQ(position, 9);
}

static void parts(void)
{
    static RTM_ENTITY_HANDLE all[MANY];
    static char once[sizeof whole];
    UINT i, rooms[] = {1, 100, 333, 4096};
    for (i = 0; i < MANY; i++)
        all[i] = add(1000 + i);
    memcpy(once, entities(RTMX_TEXT, sizeof text), sizeof once);
    for (i = 0; i < 4; i++)
        EQ(strcmp(once, entities(RTMX_TEXT, rooms[i])), 0);
    for (i = 0; i < MANY; i += 50) {
        char words[128];
        snprintf(words, sizeof words, " table=%u/inet id=0x%x state=registered references=0", check_instance,
                 1000 + i);
        CHECK(says(all[i], words));
    }
    memcpy(once, entities(RTMX_JSON, sizeof text), sizeof once);
    EQ(strcmp(once, entities(RTMX_JSON, 1)), 0);
    CHECK(strstr(once, "\"instance\":0,\"family\":\"inet\",\"id\":\"0x3e8\",\"state\":\"registered\"") != NULL);
    for (i = 0; i < MANY; i++)
        OK(RtmDeregisterEntity(all[i]));
    OK(RtmxFlush());
}

static void references(void)
{
    RTM_ENTITY_HANDLE self = add(1), other = add(2), two[2];
    two[0] = two[1] = other;
    OK(RtmReferenceHandles(self, 2, two));
    CHECK(says(other, "state=registered references=2"));
    OK(RtmxEnter());
    OK(RtmDeregisterEntity(other));
    CHECK(says(other, "state=departing references=2"));
    OK(RtmxLeave());
    OK(RtmxFlush());
    CHECK(says(other, "id=0x2 state=referenced references=2"));
    OK(RtmReleaseEntities(self, 2, two));
    CHECK(line_of(other) == NULL);
    OK(RtmDeregisterEntity(self));
}

/* --- Client code --- */

static RTM_ENTITY_HANDLE self;
static Gate inside = GATE, go = GATE;

static VOID WINAPI method(RTM_ENTITY_HANDLE caller, RTM_ENTITY_HANDLE entity, PRTM_ENTITY_METHOD_INPUT input,
                          PRTM_ENTITY_METHOD_OUTPUT output)
{
    (void)caller, (void)input;
    /* It may be asked here, too. */
    CHECK(says(entity, "methods=open invocations=1 running=1"));
    gate_open(&inside);
    gate_pass(&go);
    output->OutputSize = 0;
}

static void *invokes(void *callee)
{
    OK(invoke(self, callee));
    return NULL;
}

static void *deregisters(void *callee)
{
    OK(RtmDeregisterEntity(callee));
    return NULL;
}

static void methods(void)
{
    RTM_ENTITY_HANDLE callee = add_callee(2, method);
    pthread_t threads[2];
    self = add(1);
    CHECK(says(callee, "methods=open invocations=0 running=0"));
    threads[0] = start(invokes, callee);
    gate_pass(&inside);
    CHECK(says(callee, "state=registered references=0 methods=open invocations=1 running=1"));
    /* Whose code a deregistration waits for. */
    threads[1] = start(deregisters, callee);
    AWAIT(says(callee, "state=departing references=0 methods=open invocations=1 running=1 awaited"));
    gate_open(&go);
    join(threads[0]);
    join(threads[1]);
    OK(RtmxFlush());
    CHECK(line_of(callee) == NULL);
    callee = add_callee(2, method);
    OK(RtmBlockMethods(callee, NULL, 0, RTM_BLOCK_METHODS));
    CHECK(says(callee, "methods=blocked"));
    OK(RtmDeregisterEntity(callee));
    OK(RtmDeregisterEntity(self));
}

static unsigned told;

static DWORD WINAPI hear(RTM_ENTITY_HANDLE own, RTM_EVENT_TYPE kind, PVOID subject, PVOID info)
{
    char words[64];
    (void)kind, (void)subject, (void)info;
    snprintf(words, sizeof words, "lag=%u told=now running=1", 3 - told);
    CHECK(says(own, words));
    told++;
    return 0;
}

static void events(void)
{
    RTMX_QUEUE_HANDLE queue;
    RTM_ENTITY_HANDLE listener, others[3];
    unsigned i;
    OK(RtmxCreateEventQueue(&queue));
    listener = add_listener(1, hear, queue);
    CHECK(says(listener, "lag=0 told=no running=0"));
    for (i = 0; i < 3; i++)
        others[i] = add(10 + i);
    CHECK(says(listener, "lag=3 told=no running=0"));
    AWAIT(RtmxDispatchEvents(queue, 10, NULL) == NO_ERROR && told == 3);
    CHECK(says(listener, "lag=0 told=no"));
    OK(RtmDeregisterEntity(listener));
    for (i = 0; i < 3; i++)
        OK(RtmDeregisterEntity(others[i]));
    OK(RtmxFlush());
    OK(RtmxDeleteEventQueue(queue));
}

/* --- While others come and go --- */

static int stop;

static void *churns(void *argument)
{
    unsigned long long id = (unsigned long long)(uintptr_t)argument << 32;
    while (!LOAD(&stop)) {
        RTM_ENTITY_HANDLE handle = ++id % 2 ? add(id) : add_callee(id, method);
        OK(RtmDeregisterEntity(handle));
    }
    return NULL;
}

enum { STAY = 100 };

/* How many entities that stay are described. Only they have so short an id, of those that are registered: an earlier
 * one may have gone and not be forgotten, because the herald has not looked yet. */
static unsigned staying(int json, UINT room)
{
    ULONGLONG position = 0;
    unsigned seen = 0;
    do {
        const char *line;
        UINT size = room;
        OK(RtmxFormatEntities(json ? RTMX_JSON : RTMX_TEXT, &position, text, &size));
        for (line = text; *line; line = strchr(line, '\n') + 1) {
            const char *id = strstr(line, json ? "\"id\":\"0x" : " id=0x") + (json ? 8 : 6);
            const char *state = strstr(line, json ? "\"state\":\"" : " state=") + (json ? 9 : 7);
            seen += strncmp(state, "registered", 10) == 0 && strtoull(id, NULL, 16) < STAY;
        }
    } while (position != 0);
    return seen;
}

static void churn(void)
{
    RTM_ENTITY_HANDLE stay[STAY];
    pthread_t threads[2];
    unsigned long rounds = check_rounds(40), round;
    uintptr_t i;
    for (i = 0; i < STAY; i++)
        stay[i] = add(i);
    for (i = 0; i < 2; i++)
        threads[i] = start(churns, (void *)(i + 1));
    for (round = 0; round < rounds; round++)
        EQ(staying(round % 2, round % 3 ? 4096 : 512), STAY);
    STORE(&stop, 1);
    for (i = 0; i < 2; i++)
        join(threads[i]);
    EQ(staying(0, 8192), STAY);
    for (i = 0; i < STAY; i++)
        OK(RtmDeregisterEntity(stay[i]));
    OK(RtmxFlush());
}

int main(void)
{
    /* Before anything is there, and with a registry without entities. */
    no_entities();
    EQ(value(figures(RTMX_TEXT), "live "), 0);
    EQ(value(text, "event_queues "), 0);
    OK(RtmxFlush());
    no_entities();
    sizes_of_statistics();
    self = add(1);
    values_of_statistics();
    OK(RtmDeregisterEntity(self));
    OK(RtmxFlush());
    no_entities();
    parts();
    references();
    methods();
    events();
    churn();
    OK(RtmxShutdown());
    no_entities();
    return check_done("formats");
}
