/* Registrations, states, sections, readers, enumeration. With an argument: what the address sanitizer must find. */
#include "check.hpp"

#include <vector>

static rtm::result<rtm::registration> try_counted(ULONG id, int number)
{
    return rtm::entity<counted>(rtm::make_info(TEST_INET, id, 7, 3)).register_entity(number);
}

static rtm::registration with_state(ULONG id, int number)
{
    return good(try_counted(id, number));
}

static void states()
{
    const long made = LOAD(&counted::made);
    {
        const rtm::registration one = with_state(1, 11);
        EQ(LOAD(&counted::made), made + 1); /* in place */
        BAD(try_counted(1, 12).error(), already_exists);
        EQ(LOAD(&counted::alive), 1); /* the one that is not registered has gone */
        const rtm::section section;
        CHECK(section);
        EQ(section.get<counted>(one.get())->number, 11);
        PVOID context = nullptr; /* what C sees */
        OK(RtmxGetContext(one.get(), &context));
        CHECK(context == section.get<counted>(one.get()));
    }
    GOOD(rtm::flush());
    EQ(LOAD(&counted::alive), 0);
    EQ(LOAD(&counted::made), made + 2);
}

static void moves()
{
    rtm::registration one = with_state(1, 1), two = with_state(2, 2);
    const rtm::handle first = one.get(), second = two.get();
    CHECK(is_registered(first));
    one = std::move(two); /* ends the first */
    CHECK(!is_registered(first));
    EQ((uintptr_t)one.get(), (uintptr_t)second);
    CHECK(two.get() == nullptr); // NOLINT: what a moved one is
    BAD(two.deregister(), invalid_handle);
    rtm::registration three(std::move(one));
    CHECK(is_registered(second));
    rtm::registration adopted(three.release());
    CHECK(three.get() == nullptr); // NOLINT
    GOOD(adopted.deregister());
    CHECK(!is_registered(second));
    CHECK(adopted.get() == nullptr);
    GOOD(rtm::flush());
    EQ(LOAD(&counted::alive), 0);
}

static void sections()
{
    rtm::registration one = with_state(1, 5);
    {
        const rtm::section outer;
        counted *found = outer.get<counted>(one.get());
        CHECK(one.deregister() == std::error_code());
        CHECK(outer.get<counted>(found ? one.get() : nullptr) == nullptr);
        EQ(found->number, 5); /* until the section ends */
        BAD(rtm::flush(), possible_deadlock);
        {
            const rtm::section inner;
            BAD(inner.quiescent(), possible_deadlock);
        }
        EQ(found->number, 5);
        GOOD(outer.quiescent());
    }
    BAD(rtm::to_error(RtmxLeave()), not_locked); /* nothing is left open */
    GOOD(rtm::flush());
    EQ(LOAD(&counted::alive), 0);

    rtm::reader reader = good(rtm::reader::create());
    const rtm::registration two = with_state(2, 6);
    {
        const auto section = reader.enter();
        CHECK(section);
        EQ(section.get<counted>(two.get())->number, 6);
        BAD(reader.close(), busy);
    }
    const rtm::handle of_reader = reader.get();
    {
        const rtm::reader moved(std::move(reader));
        CHECK(moved.get() == of_reader);
        const auto nowhere = reader.enter(); // NOLINT
        CHECK(!nowhere);
        BAD(nowhere.error(), invalid_handle);
        CHECK(nowhere.get<counted>(two.get()) == nullptr);
    }
    EQ(RtmxReaderEnter(of_reader), ERROR_INVALID_HANDLE);
}

static void batches()
{
    constexpr int number = 100;
    std::vector<rtm::registration> all;
    std::vector<rtm::handle> handles;
    for (int i = 0; i < number; i++) {
        all.push_back(with_state(static_cast<ULONG>(100 + i), i));
        handles.push_back(all.back().get());
    }
    GOOD(all[40].deregister());
    std::vector<void *> states(handles.size());
    UINT found = 0;
    const rtm::section section;
    BAD(section.get(handles, states, &found), invalid_handle);
    EQ(found, number - 1);
    for (int i = 0; i < number; i++)
        if (i == 40)
            CHECK(states[40] == nullptr);
        else
            EQ(static_cast<counted *>(states[(size_t)i])->number, i);
    handles[40] = handles[41];
    GOOD(section.get(handles, states));
    states.pop_back();
    BAD(section.get(handles, states), invalid_parameter);
    GOOD(section.get({}, {}));
    rtm::reader reader = good(rtm::reader::create());
    states.push_back(nullptr);
    GOOD(reader.enter().get(handles, states));
    CHECK(states[99] == section.get<counted>(handles[99]));
}

static void lists()
{
    const rtm::registration me = with_state(1, 1);
    rtm::registration other = with_state(2, 2);
    {
        const rtm::entity_list all = good(me.entities());
        EQ(all.size(), 2);
        UINT seen = 0;
        for (const rtm::entity_info &info : all.infos()) {
            EQ(info.EntityId.EntityInstanceId, 7);
            EQ(info.RtmInstanceId, 3);
            seen |= info.EntityId.EntityProtocolId;
        }
        EQ(seen, 3);
        const rtm::handle gone = other.get();
        GOOD(other.deregister());
        EQ(good(me.describe(gone)).EntityId.EntityProtocolId, 2); /* the list keeps it */
        rtm::entity_list moved = good(me.entities());
        EQ(moved.size(), 1);
        EQ((uintptr_t)moved.handles()[0], (uintptr_t)me.get());
        const rtm::reference reference = good(me.reference(gone));
        CHECK(reference.get() == gone);
        EQ(good(rtm::statistics()).Referenced, 1);
    }
    EQ(good(rtm::statistics()).Referenced, 0);
    rtm::reference one = good(me.reference(me.get())), two = std::move(one);
    CHECK(one.get() == nullptr); // NOLINT
    BAD(me.reference(nullptr).error(), invalid_handle);
    BAD(me.describe(nullptr).error(), invalid_handle);
    BAD(other.entities().error(), invalid_handle);
}

int main(int argc, char **argv)
{
    (void)argv;
    if (argc > 1) {
        rtm::registration one = with_state(1, 1);
        const counted *kept = rtm::section().get<counted>(one.get());
        GOOD(one.deregister());
        GOOD(rtm::flush());
        return kept->number; /* freed */
    }
    states();
    moves();
    sections();
    batches();
    lists();
    GOOD(rtm::flush());
    EQ(LOAD(&counted::alive), 0);
    GOOD(rtm::shutdown());
    return check_done("life");
}
