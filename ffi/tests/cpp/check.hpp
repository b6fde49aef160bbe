/* What the C++ test programs share, beside what the C programs do. */
#ifndef RTM_TEST_CHECK_HPP
#define RTM_TEST_CHECK_HPP

#include "../c/check.h"

#include <rtm.hpp>

/* What is made and destroyed is counted. */
struct counted {
    static inline long made, alive;

    counted(int given = 0) : number(given)
    {
        ADD(&made, 1);
        ADD(&alive, 1);
    }
    counted(counted &&other) : counted(other.number) {}
    counted &operator=(counted &&other)
    {
        number = other.number;
        return *this;
    }
    ~counted()
    {
        number = -1;
        ADD(&alive, -1);
    }

    int number;
};

#define GOOD(error) EQ((error).value(), 0)
#define BAD(error, expected) CHECK((error) == rtm::errc::expected)

/* The value of a result that must have one. */
template <class T>
T good(rtm::result<T> result)
{
    GOOD(result.error());
    CHECK(result);
    return *std::move(result);
}

/* A plain entity of IPv4. */
inline rtm::registration plain(ULONG id)
{
    return good(rtm::entity<>(rtm::make_info(TEST_INET, id)).register_entity());
}

#endif
