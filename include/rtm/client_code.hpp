/* What an entity's functions are given. Part of rtm.hpp: include that. SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef RTM_CLIENT_CODE_HPP
#define RTM_CLIENT_CODE_HPP

#include "reading.hpp"

#include <cstring>
#include <exception>
#include <memory>
#include <new>
#if defined(__cpp_exceptions) && defined(__GLIBCXX__)
#include <cxxabi.h>
#endif

namespace rtm {

/* What an event says. Valid during the call. */
struct event {
    handle self;
    RTM_EVENT_TYPE type;
    handle entity;           /* borrowed: registration::reference keeps it */
    const entity_info *info; /* both null in events_missed */

    bool is_registered() const noexcept { return type == RTM_ENTITY_REGISTERED; }
    bool is_deregistered() const noexcept { return type == RTM_ENTITY_DEREGISTERED; }
    bool is_missed() const noexcept { return type == RTMX_EVENTS_MISSED; }
};

/* A call of a method. What is appended is the answer; nothing is one too. */
class call {
public:
    call(handle caller, handle self, const RTM_ENTITY_METHOD_INPUT *in, RTM_ENTITY_METHOD_OUTPUT *out) noexcept
        : caller_(caller), self_(self), in_(in), out_(out), room_(out->OutputSize)
    {
        out_->OutputSize = 0;
    }
    call(const call &) = delete;
    call &operator=(const call &) = delete;

    handle caller() const noexcept { return caller_; }
    handle self() const noexcept { return self_; }
    DWORD methods() const noexcept { return in_->MethodType; } /* all that the caller has selected */
    bytes input() const noexcept { return bytes(in_->InputData, in_->InputSize); }
    std::size_t room() const noexcept { return room_ - out_->OutputSize; }

    /* False, and the status is ERROR_INSUFFICIENT_BUFFER, if there is no room for all of it. */
    bool append(const void *data, std::size_t size) noexcept
    {
        if (size > room()) {
            fail(ERROR_INSUFFICIENT_BUFFER);
            return false;
        }
        if (size)
            std::memcpy(out_->OutputData + out_->OutputSize, data, size);
        out_->OutputSize += static_cast<UINT>(size);
        return true;
    }

    template <class T>
    bool append(const T &value) noexcept
    {
        static_assert(std::is_trivially_copyable_v<T>);
        return append(&value, sizeof value);
    }

    void fail(DWORD status) noexcept { out_->MethodStatus = status; }

private:
    handle caller_, self_;
    const RTM_ENTITY_METHOD_INPUT *in_;
    RTM_ENTITY_METHOD_OUTPUT *out_;
    UINT room_;
};

/* One method's answer. */
struct reply {
    RTM_ENTITY_METHOD_TYPE method; /* its bit */
    DWORD status;
    bytes data;

    /* False if the answer is not a T by its size. */
    template <class T>
    bool read(T &value) const noexcept
    {
        static_assert(std::is_trivially_copyable_v<T>);
        if (data.size() != sizeof value)
            return false;
        std::memcpy(&value, data.data(), sizeof value);
        return true;
    }
};

/* The answers of an invocation, in the buffer that was given for them, and how it ended. */
class replies {
public:
    class iterator {
    public:
        using iterator_category = std::input_iterator_tag;
        using value_type = reply;
        using difference_type = std::ptrdiff_t;
        using pointer = const reply *;
        using reference = reply;

        explicit iterator(const unsigned char *at) noexcept : at_(at) {}
        reply operator*() const noexcept
        {
            const auto head = read();
            return reply{head.MethodType, head.MethodStatus, bytes(at_ + header, head.OutputSize)};
        }
        iterator &operator++() noexcept
        {
            at_ += header + read().OutputSize;
            return *this;
        }
        bool operator==(const iterator &other) const noexcept { return at_ == other.at_; }
        bool operator!=(const iterator &other) const noexcept { return at_ != other.at_; }

    private:
        static constexpr std::size_t header = offsetof(RTM_ENTITY_METHOD_OUTPUT, OutputData);

        /* Records lie without padding. */
        RTM_ENTITY_METHOD_OUTPUT read() const noexcept
        {
            RTM_ENTITY_METHOD_OUTPUT head{};
            std::memcpy(&head, at_, header);
            return head;
        }

        const unsigned char *at_;
    };

    replies(DWORD code, bytes records) noexcept : code_(code), records_(records) {}

    std::error_code error() const noexcept { return to_error(code_); }
    bool empty() const noexcept { return records_.empty(); }
    iterator begin() const noexcept { return iterator(records_.begin()); }
    iterator end() const noexcept { return iterator(records_.end()); }

private:
    DWORD code_;
    bytes records_;
};

namespace detail {

/* Calls f, from which no exception may come; the end of a thread passes, which is no object (and no fault). */
template <class F>
__attribute__((no_sanitize("null"))) void guarded(F f)
{
#if defined(__cpp_exceptions) && defined(__GLIBCXX__)
    try {
        f();
    } catch (abi::__forced_unwind &) {
        throw;
    } catch (...) {
        std::terminate();
    }
#else
    f();
#endif
}

/* A function of any type that is given a state and what has happened. */
class closure {
public:
    closure() noexcept = default;
    closure(closure &&other) noexcept
        : function_(std::exchange(other.function_, nullptr)), call_(other.call_), destroy_(other.destroy_)
    {
    }
    closure &operator=(closure &&other) noexcept
    {
        std::swap(function_, other.function_);
        std::swap(call_, other.call_);
        std::swap(destroy_, other.destroy_);
        return *this;
    }
    ~closure()
    {
        if (function_)
            destroy_(function_);
    }

    template <class State, class What, class F>
    static closure make(F function) noexcept
    {
        closure made;
        made.function_ = new (std::nothrow) F(std::move(function));
        made.call_ = [](void *f, void *state, void *what) {
            (*static_cast<F *>(f))(*static_cast<State *>(state), *static_cast<What *>(what));
        };
        made.destroy_ = [](void *f) { delete static_cast<F *>(f); };
        return made;
    }

    explicit operator bool() const noexcept { return function_ != nullptr; }
    void operator()(void *state, void *what) const { call_(function_, state, what); }

private:
    void *function_ = nullptr;
    void (*call_)(void *, void *, void *) = nullptr;
    void (*destroy_)(void *) = nullptr;
};

constexpr UINT most_methods = 32;

/* An entity's functions. They lie before its state, to which its context points. */
struct alignas(std::max_align_t) functions {
    closure on_event;
    std::unique_ptr<closure[]> methods;
    UINT number = 0;

    static functions &of(void *state) noexcept { return static_cast<functions *>(state)[-1]; }
};

template <class T, class... A>
T make_state(A &&...arguments)
{
    if constexpr (std::is_constructible_v<T, A...>)
        return T(std::forward<A>(arguments)...);
    else
        return T{std::forward<A>(arguments)...};
}

template <class T>
struct block {
    functions code;
    T state;

    template <class... A>
    explicit block(functions &&own, A &&...arguments)
        : code(std::move(own)), state(make_state<T>(std::forward<A>(arguments)...))
    {
        static_assert(alignof(T) <= alignof(functions), "keep a pointer to what is aligned more than max_align_t");
        assert(&functions::of(std::addressof(state)) == &code);
    }

    static VOID WINAPI destroy(PVOID state) { delete reinterpret_cast<block *>(&functions::of(state)); }
};

/* Null if the entity is being deregistered. Else what is found stays while code of the entity runs. */
inline void *state_of(handle self) noexcept
{
    const section inside;
    return inside.get<void>(self);
}

inline DWORD WINAPI on_event(handle self, RTM_EVENT_TYPE type, PVOID first, PVOID second)
{
    event what{self, type, first, static_cast<const entity_info *>(second)};
    if (void *state = state_of(self))
        guarded([&] { functions::of(state).on_event(state, &what); });
    return NO_ERROR;
}

inline VOID WINAPI on_call(handle caller, handle self, RTM_ENTITY_METHOD_INPUT *in, RTM_ENTITY_METHOD_OUTPUT *out)
{
    /* Its own bit alone. */
    const UINT number = static_cast<UINT>(__builtin_ctz(out->MethodType));
    call what(caller, self, in, out);
    if (void *state = state_of(self))
        guarded([&] { functions::of(state).methods[number](state, &what); });
    else
        what.fail(ERROR_INVALID_HANDLE);
}

} // namespace detail

} // namespace rtm

#endif
