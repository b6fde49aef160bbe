/* Methods from functions: answers, room, holes, blocking, the end of an entity under its callers. */
#include "check.hpp"

#include <vector>

struct adder {
    long base;
    counted here{};
};

static rtm::registration adding(ULONG id, long base)
{
    return good(rtm::entity<adder>(rtm::make_info(TEST_INET, id))
                    .method(0,
                            [kept = counted(1)](adder &self, rtm::call &call) {
                                long sum = self.base + kept.number;
                                for (const unsigned char byte : call.input())
                                    sum += byte;
                                call.append(sum);
                            })
                    .method(2, [](adder &, rtm::call &call) { CHECK(call.caller() != call.self()); })
                    .method(31,
                            [](adder &, rtm::call &call) {
                                EQ(call.methods() >> 31, 1);
                                call.append(call.input().data(), call.input().size());
                                call.append(call.input().data(), call.input().size());
                            })
                    .register_entity(base));
}

static void answers()
{
    const rtm::registration me = plain(1), other = adding(2, 1000);
    alignas(8) unsigned char room[256];
    const unsigned char input[] = {1, 2, 3};
    std::vector<rtm::reply> all;
    const rtm::replies replies = me.invoke(other.get(), METHOD_TYPE_ALL_METHODS, input, room);
    GOOD(replies.error());
    for (const rtm::reply &reply : replies)
        all.push_back(reply);
    EQ(all.size(), 3); /* holes are skipped */
    long sum = 0;
    CHECK(all[0].read(sum));
    EQ(sum, 1007);
    EQ(all[0].method, 1);
    EQ(all[1].method, 4);
    EQ(all[1].status, NO_ERROR);
    CHECK(all[1].data.empty());
    CHECK(!all[1].read(sum));
    EQ(all[2].method, 1u << 31);
    EQ(all[2].data.size(), 6);
    EQ(memcmp(all[2].data.data() + 3, input, 3), 0);

    /* Room for the first, and for half of the last. */
    const rtm::replies half = me.invoke(other.get(), 1u << 31, input, rtm::span<unsigned char>(room, 12 + 3));
    GOOD(half.error());
    EQ((*half.begin()).status, ERROR_INSUFFICIENT_BUFFER);
    EQ((*half.begin()).data.size(), 3);
    const rtm::replies few = me.invoke(other.get(), 1 | 4, {}, rtm::span<unsigned char>(room, 20 + 3));
    BAD(few.error(), insufficient_buffer);
    CHECK(!few.empty());
    EQ((*few.begin()).method, 1);
    CHECK(++few.begin() == few.end());

    const rtm::replies none = me.invoke(other.get(), 2, {}, room);
    BAD(none.error(), not_found);
    CHECK(none.empty());
    BAD(me.invoke(nullptr, 1, {}, room).error(), invalid_handle);
    CHECK(me.invoke(nullptr, 1, {}, room).empty());
    BAD(me.invoke(other.get(), 1, {}, {}).error(), invalid_parameter);

    const std::vector<unsigned char> large(100000, 1);
    const rtm::replies much = me.invoke(other.get(), 1, large, room);
    GOOD(much.error());
    CHECK((*much.begin()).read(sum));
    EQ(sum, 101001);
}

static void refused()
{
    const long alive = LOAD(&counted::alive);
    BAD(rtm::entity<>(rtm::make_info(TEST_INET, 9))
            .method(32, [kept = counted()](rtm::nothing &, rtm::call &) {})
            .register_entity()
            .error(),
        invalid_data);
    BAD(rtm::entity<adder>(rtm::make_info(999, 9))
            .method(0, [kept = counted()](adder &, rtm::call &) {})
            .register_entity(1)
            .error(),
        invalid_parameter);
    EQ(LOAD(&counted::alive), alive);
}

struct inside {
    rtm::handle self, other;
    unsigned done;
};

static void *invoke_blocked(void *argument)
{
    auto *given = static_cast<inside *>(argument);
    alignas(8) unsigned char room[64];
    const rtm::registration me = plain(50);
    GOOD(me.invoke(given->other, 1, {}, room).error());
    STORE(&given->done, 1);
    return nullptr;
}

static void blocking()
{
    const rtm::registration other = adding(2, 1);
    inside given{nullptr, other.get(), 0};
    pthread_t thread;
    {
        const rtm::methods_block block = good(other.block_methods());
        thread = start(invoke_blocked, &given);
        alignas(8) unsigned char room[64];
        BAD(other.invoke(other.get(), 1, {}, room).error(), possible_deadlock);
        EQ(LOAD(&given.done), 0);
    }
    join(thread);
    EQ(LOAD(&given.done), 1);
}

/* Callers beside an entity that comes and goes: an answer, or none, and everything is destroyed once. */
static rtm::handle current;
static unsigned long answered;
static int stop;

static void *call_on(void *argument)
{
    const rtm::registration me = plain(static_cast<ULONG>(reinterpret_cast<uintptr_t>(argument)));
    alignas(8) unsigned char room[64];
    while (!LOAD(&stop)) {
        const rtm::replies replies = me.invoke(LOAD(&current), 1, {}, room);
        if (replies.error()) {
            BAD(replies.error(), invalid_handle);
            continue;
        }
        const rtm::reply reply = *replies.begin();
        long sum = 0;
        if (reply.status == ERROR_INVALID_HANDLE)
            continue;
        CHECK(reply.read(sum));
        EQ(sum, 101);
        ADD(&answered, 1);
    }
    return nullptr;
}

static void coming_and_going()
{
    pthread_t threads[3];
    for (uintptr_t i = 0; i < 3; i++)
        threads[i] = start(call_on, reinterpret_cast<void *>(100 + i));
    for (unsigned long i = check_rounds(5000); i > 0; i--) {
        rtm::registration one = adding(2, 100);
        STORE(&current, one.get());
        if (i % 64 == 0) {
            const unsigned long before = LOAD(&answered);
            AWAIT(LOAD(&answered) > before);
        }
        if (i % 8 == 0) {
            GOOD(one.deregister_later());
            GOOD(rtm::flush()); /* its id is free again */
        }
    }
    STORE(&stop, 1);
    for (pthread_t thread : threads)
        join(thread);
}

/* A function that throws ends the process. */
static void throws()
{
#if defined(__cpp_exceptions)
    const rtm::registration me = plain(1);
    const rtm::registration other = good(rtm::entity<>(rtm::make_info(TEST_INET, 2))
                                             .method(0, [](rtm::nothing &, rtm::call &) { throw 1; })
                                             .register_entity());
    alignas(8) unsigned char room[64];
    std::set_terminate([] { _exit(77); });
    (void)me.invoke(other.get(), 1, {}, room);
#else
    _exit(77);
#endif
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        throws();
        return 1;
    }
    answers();
    refused();
    blocking();
    coming_and_going();
    GOOD(rtm::flush());
    EQ(LOAD(&counted::alive), 0);
    GOOD(rtm::shutdown());
    run_silently(argv[0], "throws", 77);
    return check_done("methods");
}
