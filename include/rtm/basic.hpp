/* Errors, results, spans. Part of rtm.hpp: include that. SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef RTM_BASIC_HPP
#define RTM_BASIC_HPP

#include "../rtmv2.h"

#include <cassert>
#include <cstddef>
#include <iterator>
#include <optional>
#include <string>
#include <system_error>
#include <type_traits>
#include <utility>

namespace rtm {

using handle = RTM_ENTITY_HANDLE;
using entity_info = RTM_ENTITY_INFO;

inline entity_info make_info(int family, ULONG protocol, ULONG number = 0, USHORT instance = 0) noexcept
{
    entity_info info{};
    info.RtmInstanceId = instance;
    info.AddressFamily = static_cast<USHORT>(family);
    info.EntityId.EntityProtocolId = protocol;
    info.EntityId.EntityInstanceId = number;
    return info;
}

// --- Errors ---

enum class errc : int {
    access_denied = ERROR_ACCESS_DENIED,
    invalid_handle = ERROR_INVALID_HANDLE,
    not_enough_memory = ERROR_NOT_ENOUGH_MEMORY,
    invalid_data = ERROR_INVALID_DATA,
    not_supported = ERROR_NOT_SUPPORTED,
    invalid_parameter = ERROR_INVALID_PARAMETER,
    insufficient_buffer = ERROR_INSUFFICIENT_BUFFER,
    not_locked = ERROR_NOT_LOCKED,
    busy = ERROR_BUSY,
    already_exists = ERROR_ALREADY_EXISTS,
    possible_deadlock = ERROR_POSSIBLE_DEADLOCK,
    not_found = ERROR_NOT_FOUND,
    internal_error = ERROR_INTERNAL_ERROR,
    no_system_resources = ERROR_NO_SYSTEM_RESOURCES,
    invalid_state = ERROR_INVALID_STATE,
};

} // namespace rtm

template <>
struct std::is_error_code_enum<rtm::errc> : std::true_type {};

namespace rtm {

namespace detail {

class category final : public std::error_category {
public:
    const char *name() const noexcept override { return "rtm"; }

    std::string message(int code) const override { return RtmxErrorText(static_cast<DWORD>(code)); }

    std::error_condition default_error_condition(int code) const noexcept override
    {
        switch (static_cast<errc>(code)) {
        case errc::access_denied: return std::errc::permission_denied;
        case errc::not_enough_memory: return std::errc::not_enough_memory;
        case errc::not_supported: return std::errc::not_supported;
        case errc::invalid_parameter: return std::errc::invalid_argument;
        case errc::insufficient_buffer: return std::errc::no_buffer_space;
        case errc::busy: return std::errc::device_or_resource_busy;
        case errc::already_exists: return std::errc::file_exists;
        case errc::possible_deadlock: return std::errc::resource_deadlock_would_occur;
        case errc::no_system_resources: return std::errc::resource_unavailable_try_again;
        default: return std::error_condition(code, *this);
        }
    }
};

} // namespace detail

inline const std::error_category &category() noexcept
{
    static const detail::category only;
    return only;
}

/* What a C call has returned. NO_ERROR is no error. */
inline std::error_code to_error(DWORD code) noexcept
{
    return code == NO_ERROR ? std::error_code() : std::error_code(static_cast<int>(code), category());
}

inline std::error_code make_error_code(errc code) noexcept
{
    return to_error(static_cast<DWORD>(code));
}

/* A value, or why there is none. */
template <class T>
class [[nodiscard]] result {
public:
    result(T value) noexcept : value_(std::move(value)) {}
    result(std::error_code error) noexcept : error_(error) { assert(error); }
    result(errc error) noexcept : error_(error) {}

    explicit operator bool() const noexcept { return value_.has_value(); }
    std::error_code error() const noexcept { return error_; }

    /* Only if there is one. */
    T &operator*() & noexcept { return *checked(); }
    T &&operator*() && noexcept { return std::move(*checked()); }
    T *operator->() noexcept { return checked(); }

private:
    T *checked() noexcept
    {
        assert(value_);
        return &*value_;
    }

    std::optional<T> value_;
    std::error_code error_;
};

// --- Spans ---

/* Consecutive elements of somebody else's, as std::span (C++20), to which it converts. */
template <class T>
class span {
public:
    constexpr span() noexcept = default;
    constexpr span(T *data, std::size_t size) noexcept : data_(data), size_(size) {}

    /* Of an array or a container; one that only reads also of a temporary, for the call it is made in. */
    template <class C, class E = std::remove_pointer_t<decltype(std::data(std::declval<C &>()))>,
              class = std::enable_if_t<std::is_convertible_v<E (*)[], T (*)[]>>>
    constexpr span(C &&all) noexcept : data_(std::data(all)), size_(std::size(all))
    {
        static_assert(std::is_lvalue_reference_v<C> || std::is_const_v<T>);
    }

    constexpr T *data() const noexcept { return data_; }
    constexpr std::size_t size() const noexcept { return size_; }
    constexpr bool empty() const noexcept { return size_ == 0; }
    constexpr T *begin() const noexcept { return data_; }
    constexpr T *end() const noexcept { return data_ + size_; }
    constexpr T &operator[](std::size_t i) const noexcept { return data_[i]; }

private:
    T *data_ = nullptr;
    std::size_t size_ = 0;
};

using bytes = span<const unsigned char>;

namespace detail {

/* What has a handle and one owner. */
template <class H, DWORD (*Close)(H)>
class owned {
public:
    owned() noexcept = default;
    explicit owned(H handle) noexcept : handle_(handle) {}
    owned(owned &&other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
    owned &operator=(owned &&other) noexcept
    {
        owned old(std::move(other));
        std::swap(handle_, old.handle_);
        return *this;
    }
    ~owned()
    {
        if (handle_)
            Close(handle_);
    }

    H get() const noexcept { return handle_; }
    H release() noexcept { return std::exchange(handle_, nullptr); }

    /* On an error it stays. */
    std::error_code close(DWORD (*by)(H) = Close)
    {
        const DWORD code = by(handle_);
        if (code == NO_ERROR)
            handle_ = nullptr;
        return to_error(code);
    }

private:
    H handle_ = nullptr;
};

} // namespace detail

} // namespace rtm

#endif
