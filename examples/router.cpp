/*
 * The backend of router.c in C++17: workers resolve the handles of sessions, which restart under their hands; the
 * main thread has an event loop with the registry's event queue in it.
 *
 *   router [SECONDS]    how long, 1 if not given; SIGINT and SIGTERM end it earlier
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include <rtm.hpp>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

namespace {

constexpr ULONG rib_manager = 1, bgp = 14; // protocol ids
constexpr ULONG sessions = 1024;
constexpr unsigned workers = 4, restarts = 16; // each millisecond
constexpr UINT budget = 256;

[[noreturn]] void fail(const char *what, const std::string &why)
{
    std::fprintf(stderr, "router: %s: %s\n", what, why.c_str());
    std::exit(1);
}

void must(std::error_code error, const char *what)
{
    if (error)
        fail(what, error.message());
}

template <class T>
T must(rtm::result<T> made, const char *what)
{
    must(made.error(), what);
    return *std::move(made);
}

class descriptor {
public:
    descriptor(int number, const char *what) : number_(number)
    {
        if (number_ < 0)
            fail(what, std::strerror(errno));
    }
    descriptor(const descriptor &) = delete;
    descriptor &operator=(const descriptor &) = delete;
    ~descriptor() { close(number_); }

    int get() const { return number_; }

private:
    int number_;
};

// The state of a session's entity: destroyed when no worker can have it any more.
struct session {
    ULONG number;
    ULONG next_hop;

    ~session()
    {
        number = ~ULONG{0};
        destroyed++;
    }

    static inline std::atomic<unsigned long> destroyed{0};
};

struct counts {
    unsigned long forwarded = 0, refused = 0, wrong = 0;
};

class router {
public:
    router() : queue_(must(rtm::event_queue::create(), "event queue"))
    {
        // Functions of an entity may refer to whatever outlives it; they run in our dispatch alone.
        manager_ = must(rtm::entity<>(rtm::make_info(AF_INET, rib_manager))
                            .on_event([this](rtm::nothing &, const rtm::event &event) { on_event(event); })
                            .queue(queue_)
                            .register_entity(),
                        "register");
        enumerate(); // after registering: who comes in between shows twice, and nobody never
        mine_.reserve(sessions);
        for (ULONG i = 0; i < sessions; i++)
            mine_.push_back(start_session(i));
    }

    // Until `milliseconds` have passed, or a signal comes.
    void run(const descriptor &signals, std::uint64_t milliseconds)
    {
        const descriptor loop(epoll_create1(EPOLL_CLOEXEC), "epoll_create1");
        const descriptor timer(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC), "timerfd_create");
        const timespec millisecond{0, 1000000};
        const itimerspec each{millisecond, millisecond};
        if (timerfd_settime(timer.get(), 0, &each, nullptr) < 0)
            fail("timerfd_settime", std::strerror(errno));
        const int events = must(queue_.descriptor(), "descriptor");
        for (int watched : {events, timer.get(), signals.get()}) {
            epoll_event interest{};
            interest.events = EPOLLIN;
            interest.data.fd = watched;
            if (epoll_ctl(loop.get(), EPOLL_CTL_ADD, watched, &interest) < 0)
                fail("epoll_ctl", std::strerror(errno));
        }
        bool ended = false;
        for (std::uint64_t passed = 0; !ended && passed < milliseconds;) {
            epoll_event ready[3];
            const int number = epoll_wait(loop.get(), ready, 3, -1);
            if (number < 0 && errno != EINTR)
                fail("epoll_wait", std::strerror(errno));
            for (int i = 0; i < number; i++) {
                if (ready[i].data.fd == events)
                    dispatch(); // what the budget leaves keeps the descriptor readable
                else if (ready[i].data.fd == timer.get())
                    passed += on_timer(timer);
                else
                    ended = true;
            }
        }
    }

    void stop_sessions()
    {
        for (rtm::registration &session : mine_)
            must(session.deregister(), "deregister");
    }

    // Events come soon, not at once.
    void wait_until_told()
    {
        pollfd readable{must(queue_.descriptor(), "descriptor"), POLLIN, 0};
        for (int patience = 10000; patience > 0; patience--) {
            ULONG same = 0;
            while (same < sessions && fib_[same] == mine_[same].get())
                same++;
            if (same == sessions)
                return;
            if (poll(&readable, 1, 1) < 0 && errno != EINTR)
                fail("poll", std::strerror(errno));
            dispatch();
        }
        fail("events", "they do not say what there is");
    }

    // A worker's.
    counts forward(unsigned random, const std::atomic<bool> &stopping) const
    {
        counts mine;
        while (!stopping.load(std::memory_order_relaxed)) {
            // A section for a batch costs less than one for each; one for ever would keep memory from reuse.
            const rtm::section section;
            must(section.error(), "enter");
            for (int i = 0; i < 64; i++) {
                random = random * 1664525 + 1013904223;
                const ULONG number = random >> 16 & (sessions - 1);
                const session *found = section.get<session>(fib_[number].load(std::memory_order_relaxed));
                if (!found)
                    mine.refused++; // it has gone, or is not there yet
                else if (found->number == number && found->next_hop == 2 * number)
                    mine.forwarded++;
                else
                    mine.wrong++;
            }
        }
        return mine;
    }

    // Ends what is left of it; then nothing of it runs or is held by anybody.
    void close()
    {
        mine_.clear();
        must(manager_.deregister(), "deregister");
        must(rtm::flush(), "flush");
        must(queue_.close(), "delete the queue");
    }

    unsigned long started = 0, events = 0, missed = 0;

private:
    rtm::registration start_session(ULONG number)
    {
        started++;
        rtm::entity<session> made(rtm::make_info(AF_INET, bgp, number));
        return must(made.register_entity(number, 2 * number), "register");
    }

    std::uint64_t on_timer(const descriptor &timer)
    {
        std::uint64_t ticks = 0;
        if (read(timer.get(), &ticks, sizeof ticks) != sizeof ticks)
            fail("timer", std::strerror(errno));
        for (unsigned i = 0; i < restarts; i++) {
            next_ = (next_ + 1) % sessions;
            must(mine_[next_].deregister(), "deregister"); // workers may have it in their hands
            mine_[next_] = start_session(next_);
        }
        return ticks;
    }

    void dispatch()
    {
        must(queue_.dispatch(budget).error(), "dispatch");
    }

    void on_event(const rtm::event &event)
    {
        events++;
        if (event.is_missed()) {
            missed++;
            enumerate();
        } else {
            note(*event.info, event.is_registered() ? event.entity : nullptr);
        }
    }

    void note(const rtm::entity_info &info, rtm::handle handle)
    {
        if (info.EntityId.EntityProtocolId == bgp && info.EntityId.EntityInstanceId < sessions)
            fib_[info.EntityId.EntityInstanceId] = handle;
    }

    // Whoever is there: at the start, and when events were missed.
    void enumerate()
    {
        const rtm::entity_list all = must(manager_.entities(), "enumerate");
        for (auto &handle : fib_)
            handle = nullptr;
        // A handle stays good without the list's reference: that of one who has gone is refused for ever.
        for (std::size_t i = 0; i < all.size(); i++)
            note(all.infos()[i], all.handles()[i]);
    }

    std::array<std::atomic<rtm::handle>, sessions> fib_{}; // the workers': what the events have said
    rtm::event_queue queue_;
    rtm::registration manager_{nullptr};
    std::vector<rtm::registration> mine_;
    ULONG next_ = 0;
};

// To be called before threads are started, which are to block the signals too.
int open_signals()
{
    sigset_t ending;
    sigemptyset(&ending);
    sigaddset(&ending, SIGINT);
    sigaddset(&ending, SIGTERM);
    if (pthread_sigmask(SIG_BLOCK, &ending, nullptr) != 0)
        fail("pthread_sigmask", "refused");
    return signalfd(-1, &ending, SFD_CLOEXEC);
}

} // namespace

int main(int argc, char **argv)
{
    const double seconds = argc > 1 ? std::atof(argv[1]) : 1;
    const descriptor signals(open_signals(), "signalfd");

    // A short memory for events: the loop begins with more sessions than that, so that it misses some.
    RTMX_LIMITS limits = must(rtm::limits(), "limits");
    limits.MaxJournal = sessions / 2;
    must(rtm::set_limits(limits), "limits");

    router router;
    std::atomic<bool> stopping{false};
    counts each[workers];
    std::vector<std::thread> threads;
    for (unsigned i = 0; i < workers; i++)
        threads.emplace_back([&, i] { each[i] = router.forward(i, stopping); });
    router.run(signals, static_cast<std::uint64_t>(seconds * 1000));
    router.wait_until_told();
    router.stop_sessions(); // under the workers' hands to the last
    router.wait_until_told();
    stopping = true;
    counts sum;
    for (unsigned i = 0; i < workers; i++) {
        threads[i].join();
        sum.forwarded += each[i].forwarded;
        sum.refused += each[i].refused;
        sum.wrong += each[i].wrong;
    }
    router.close();
    must(rtm::shutdown(), "shut down"); // refused if an entity were left

    std::printf("router: %lu sessions started, %lu destroyed; %lu events, %lu times some missed; "
                "%lu packets forwarded, %lu refused, %lu wrong\n",
                router.started, session::destroyed.load(), router.events, router.missed, sum.forwarded,
                sum.refused, sum.wrong);
    return sum.wrong == 0 && sum.forwarded > 0 && session::destroyed == router.started ? 0 : 1;
}
