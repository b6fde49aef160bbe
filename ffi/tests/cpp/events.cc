/* Events: functions and what they hold, queues, deregistration from inside, threads that end. */
#include "check.hpp"

#include <poll.h>
#include <vector>

struct listener {
    counted here{};
    std::vector<uint64_t> told;
    unsigned registered = 0, deregistered = 0;
};

static rtm::entity<listener> listening(ULONG id)
{
    rtm::entity<listener> made(rtm::make_info(TEST_INET, id));
    made.on_event([kept = counted(9)](listener &self, const rtm::event &event) {
        EQ(kept.number, 9);
        CHECK(!event.is_missed());
        CHECK(event.entity != nullptr && event.self != nullptr);
        self.told.push_back(event.info->EntityId.EntityId);
        ADD(event.is_registered() ? &self.registered : &self.deregistered, 1);
    });
    return made;
}

static void from_a_queue()
{
    rtm::event_queue queue = good(rtm::event_queue::create());
    pollfd fd{good(queue.descriptor()), POLLIN, 0};
    EQ(good(queue.dispatch()), 0);
    {
        const rtm::registration me = good(listening(1).queue(queue).register_entity());
        {
            const rtm::registration other = plain(2);
            EQ(poll(&fd, 1, 20000), 1);
            EQ(good(queue.dispatch(1)), 1);
            BAD(queue.dispatch(0).error(), invalid_parameter);
        }
        AWAIT(good(queue.dispatch()) == 1);
        const rtm::section section;
        const listener *self = section.get<listener>(me.get());
        EQ(self->registered, 1);
        EQ(self->deregistered, 1);
        EQ(self->told.size(), 2);
        EQ(self->told[0], 2);
        BAD(queue.dispatch().error(), possible_deadlock);
        BAD(queue.close(), busy);
    }
    GOOD(rtm::flush());
    EQ(LOAD(&counted::alive), 0); /* states, and what the functions hold */
    const RTMX_QUEUE_HANDLE handle = queue.get();
    rtm::event_queue moved(std::move(queue));
    CHECK(moved.get() == handle);
    GOOD(moved.close());
    BAD(moved.dispatch().error(), invalid_handle);
}

static void from_the_librarys_threads()
{
    rtm::registration me = good(listening(1).register_entity());
    const rtm::registration other = plain(2);
    {
        const rtm::section section;
        listener *self = section.get<listener>(me.get());
        AWAIT(LOAD(&self->registered) == 1);
    }
    BAD(([&] {
            const rtm::section section;
            return me.deregister();
        })(),
        possible_deadlock); /* it stays */
    CHECK(is_registered(me.get()));
    GOOD(me.deregister());
    GOOD(rtm::flush());
    EQ(LOAD(&counted::alive), 0);
}

static int ended;

/* An entity that ends itself when it hears of another: by the end of its own registration. */
static void ends_itself()
{
    struct owner {
        rtm::registration me{nullptr};
        Gate known = GATE;
        counted here{};
    };
    rtm::registration made = good(rtm::entity<owner>(rtm::make_info(TEST_INET, 1))
                                      .on_event([](owner &self, const rtm::event &event) {
                                          gate_pass(&self.known);
                                          {
                                              const rtm::registration mine(std::move(self.me));
                                              BAD(rtm::registration(nullptr).deregister(), invalid_handle);
                                          } /* later, for it would wait for this very function */
                                          CHECK(!is_registered(event.self));
                                          EQ(self.here.number, 0); /* not destroyed under us */
                                          STORE(&ended, 1);
                                      })
                                      .register_entity());
    {
        const rtm::section section;
        owner *self = section.get<owner>(made.get());
        self->me = std::move(made);
        gate_open(&self->known);
    }
    const rtm::registration other = plain(2);
    AWAIT(LOAD(&ended));
    GOOD(rtm::flush());
    EQ(LOAD(&counted::alive), 0);
}

static int exits;

static void threads_may_end_inside()
{
    const rtm::registration me = good(rtm::entity<>(rtm::make_info(TEST_INET, 1))
                                          .on_event([](rtm::nothing &, const rtm::event &) {
                                              if (ADD(&exits, 1) == 0)
                                                  pthread_exit(nullptr);
                                          })
                                          .register_entity());
    const rtm::registration other = plain(2);
    AWAIT(LOAD(&exits) == 1);
    const rtm::registration another = plain(3); /* the thread has been replaced */
    AWAIT(LOAD(&exits) == 2);
}

int main()
{
    from_a_queue();
    from_the_librarys_threads();
    ends_itself();
    threads_may_end_inside();
    GOOD(rtm::flush());
    GOOD(rtm::shutdown());
    return check_done("events");
}
