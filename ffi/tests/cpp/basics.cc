/* Errors, results, spans, and what can be copied and moved. */
#include "check.hpp"

#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <vector>
#if __cplusplus >= 202002L
#include <span>
#endif

template <class T>
constexpr bool moves_only = std::is_nothrow_move_constructible_v<T> && std::is_nothrow_move_assignable_v<T> &&
                            !std::is_copy_constructible_v<T> && !std::is_copy_assignable_v<T>;

static_assert(moves_only<rtm::registration> && moves_only<rtm::reference> && moves_only<rtm::entity_list>);
static_assert(moves_only<rtm::reader> && moves_only<rtm::event_queue> && moves_only<rtm::methods_block>);
static_assert(!std::is_move_constructible_v<rtm::section> && !std::is_copy_constructible_v<rtm::section>);
static_assert(std::is_convertible_v<rtm::errc, std::error_code>);
static_assert(std::is_convertible_v<std::vector<rtm::handle> &, rtm::span<const rtm::handle>>);
static_assert(std::is_convertible_v<rtm::span<int>, rtm::span<const int>>);
static_assert(!std::is_convertible_v<rtm::span<const int>, rtm::span<int>>);
static_assert(!std::is_constructible_v<rtm::span<int>, std::vector<long> &>);

static void errors()
{
    const std::error_code stale = rtm::errc::invalid_handle, none = rtm::to_error(NO_ERROR);
    CHECK(!none);
    CHECK(stale);
    CHECK(stale.category() == rtm::category());
    CHECK(stale == rtm::to_error(ERROR_INVALID_HANDLE));
    CHECK(stale.message() == RtmxErrorText(ERROR_INVALID_HANDLE));
    CHECK(std::string("rtm") == rtm::category().name());
    CHECK(rtm::to_error(ERROR_NOT_ENOUGH_MEMORY) == std::errc::not_enough_memory);
    CHECK(rtm::to_error(ERROR_ALREADY_EXISTS) == std::errc::file_exists);
    CHECK(rtm::to_error(ERROR_POSSIBLE_DEADLOCK) == std::errc::resource_deadlock_would_occur);
    CHECK(rtm::to_error(ERROR_BUSY) == std::errc::device_or_resource_busy);
    CHECK(stale != std::errc::invalid_argument);
    CHECK(stale.default_error_condition() == std::error_condition(ERROR_INVALID_HANDLE, rtm::category()));
}

static void results()
{
    rtm::result<std::unique_ptr<int>> good(std::make_unique<int>(3)), bad(rtm::errc::busy);
    CHECK(good);
    CHECK(!good.error());
    EQ(**good, 3);
    const std::unique_ptr<int> taken = *std::move(good);
    EQ(*taken, 3);
    CHECK(!bad);
    BAD(bad.error(), busy);
}

static long sum(rtm::span<const long> all)
{
    long total = 0;
    for (const long one : all)
        total += one;
    return total;
}

static void spans()
{
    std::vector<long> vector{1, 2, 3};
    const std::array<long, 2> array{4, 5};
    long plain[]{6};
    EQ(sum(vector), 6);
    EQ(sum(array), 9);
    EQ(sum(plain), 6);
    EQ(sum(std::vector<long>{7, 8}), 15);
    EQ(sum({}), 0);
    CHECK(rtm::span<long>().empty());
    rtm::span<long> writes = vector;
    writes[1] = 20;
    EQ(vector[1], 20);
    EQ(sum(writes), 24);
#if __cplusplus >= 202002L
    const std::span<long> theirs = writes;
    EQ(theirs.size(), 3);
    EQ(sum(theirs), 24);
#endif
}

static void limits_and_statistics()
{
    RTMX_LIMITS limits = good(rtm::limits());
    const UINT before = limits.MaxEntities;
    limits.MaxEntities = 1;
    GOOD(rtm::set_limits(limits));
    {
        const rtm::registration one = plain(1);
        EQ(good(rtm::statistics()).Live, 1);
        BAD(rtm::entity<>(rtm::make_info(TEST_INET, 2)).register_entity().error(), no_system_resources);
    }
    limits.MaxEntities = before;
    GOOD(rtm::set_limits(limits));
    limits.MaxEventThreads = 0;
    BAD(rtm::set_limits(limits), invalid_parameter);
    EQ(good(rtm::statistics()).Live, 0);
    GOOD(rtm::trim().error());
}

static void texts()
{
    std::array<char, 8192> room;
    GOOD(rtm::flush());
    const rtm::registration one = plain(1), two = plain(2);
    const std::string_view json = good(rtm::format_statistics(rtm::format::json, room));
    CHECK(json.substr(0, 10) == "{\"live\":2,");
    EQ(json.back(), '\n');
    const std::string_view scraped = good(rtm::format_statistics(rtm::format::prometheus, room));
    CHECK(scraped.find("\nrtm_registered_total ") != scraped.npos);
    BAD(rtm::format_statistics(rtm::format::text, {room.data(), 10}).error(), insufficient_buffer);

    std::string lines;
    GOOD(rtm::format_entities(rtm::format::text, [&](std::string_view some) { lines += some; }));
    EQ(std::count(lines.begin(), lines.end(), '\n'), 2);
    CHECK(lines.find(" id=0x2 state=registered references=0\n") != lines.npos);
    BAD(rtm::format_entities(rtm::format::prometheus, [](std::string_view) {}), not_supported);
}

int main()
{
    CHECK(rtm::is_abi_of_header());
    errors();
    results();
    spans();
    limits_and_statistics();
    texts();
    GOOD(rtm::shutdown());
    return check_done("basics");
}
