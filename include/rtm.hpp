/*
 * rtm.hpp - the Routing Table Manager for C++17 and later: header only, over rtmv2.h, which says what each call
 * promises and where it may be made. SPDX-License-Identifier: MIT OR Apache-2.0
 *
 *   struct ospf { std::atomic<int> neighbours{0}; };
 *
 *   rtm::result<rtm::registration> me = rtm::entity<ospf>(rtm::make_info(AF_INET, 13))
 *       .on_event([](ospf &self, const rtm::event &event) { self.neighbours += event.is_registered(); })
 *       .method(0, [](ospf &self, rtm::call &call) { call.append(self.neighbours.load()); })
 *       .register_entity();                     // what is given here goes to ospf's constructor
 *   if (!me) return me.error();                 // a std::error_code
 *
 *   rtm::section section;                       // a read section, until the end of the block
 *   if (ospf *found = section.get<ospf>(handle)) ...
 *
 * ERRORS
 *   Nothing here throws. Calls give std::error_code (category rtm::category(), values rtm::errc) or a
 *   rtm::result, which holds a value or an error. -fno-exceptions and -fno-rtti do.
 *
 * STATE
 *   An entity's state is made by register_entity and destroyed as the cleanup function of a context is: after the
 *   last section that could hold it and after the last call of the entity's code, by the thread rtm-reclaimer or
 *   inside rtm::flush. The context that C code looks up (RtmxGetContext) is a pointer to it. Functions given to
 *   on_event and method live as long.
 *
 * CLIENT CODE
 *   A function that an exception leaves ends the process (std::terminate; with libstdc++ only: elsewhere it must not
 *   happen). A thread may end inside one by pthread_exit. Events and calls that find the entity being deregistered
 *   do not reach its functions: such a call has the status ERROR_INVALID_HANDLE.
 */
#ifndef RTM_HPP
#define RTM_HPP

#include "rtm/entity.hpp"

#include <string_view>

namespace rtm {

inline std::error_code synchronize() { return to_error(RtmxSynchronize()); }
inline std::error_code flush() { return to_error(RtmxFlush()); }

/* How many bytes the system has taken back: see RtmxTrim. */
inline result<ULONGLONG> trim() noexcept
{
    ULONGLONG given = 0;
    const DWORD code = RtmxTrim(&given);
    return code == NO_ERROR ? result<ULONGLONG>(given) : to_error(code);
}

inline std::error_code shutdown() { return to_error(RtmxShutdown()); }

inline result<RTMX_STATISTICS> statistics() noexcept
{
    RTMX_STATISTICS now;
    const DWORD code = RtmxGetStatistics(&now, sizeof now);
    return code == NO_ERROR ? result<RTMX_STATISTICS>(now) : to_error(code);
}

enum class format : UINT { text = RTMX_TEXT, json = RTMX_JSON, prometheus = RTMX_PROMETHEUS };

/* As RtmxFormatStatistics, in the room that is given: insufficient_buffer if it is too small (8,192 are enough). */
inline result<std::string_view> format_statistics(format as, span<char> room) noexcept
{
    UINT size = static_cast<UINT>(room.size());
    const DWORD code = RtmxFormatStatistics(static_cast<UINT>(as), room.data(), &size);
    return code == NO_ERROR ? result<std::string_view>(std::string_view(room.data(), size - 1)) : to_error(code);
}

/* As RtmxFormatEntities: calls show(std::string_view) with some lines at a time, until all have been shown. */
template <class F>
std::error_code format_entities(format as, F &&show)
{
    char room[4096];
    ULONGLONG position = 0;
    do {
        UINT size = sizeof room;
        const DWORD code = RtmxFormatEntities(static_cast<UINT>(as), &position, room, &size);
        if (code != NO_ERROR) return to_error(code);
        if (size > 1) show(std::string_view(room, size - 1));
    } while (position != 0);
    return {};
}

inline result<RTMX_LIMITS> limits() noexcept
{
    RTMX_LIMITS now;
    const DWORD code = RtmxGetLimits(&now, sizeof now);
    return code == NO_ERROR ? result<RTMX_LIMITS>(now) : to_error(code);
}

inline std::error_code set_limits(const RTMX_LIMITS &limits) noexcept
{
    return to_error(RtmxSetLimits(&limits, sizeof limits));
}

/* Whether header and library belong together. */
inline bool is_abi_of_header() noexcept { return RtmxGetAbiNumber() == RTMX_ABI_NUMBER; }

} // namespace rtm

#endif
