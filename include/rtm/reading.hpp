/* Read sections, readers, event queues. Part of rtm.hpp: include that. SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef RTM_READING_HPP
#define RTM_READING_HPP

#include "basic.hpp"

#include <climits>

namespace rtm {

namespace detail {

struct of_thread {
    DWORD enter() const noexcept { return RtmxEnter(); }
    DWORD leave() const noexcept { return RtmxLeave(); }
    DWORD quiescent() const noexcept { return RtmxQuiescent(); }
    DWORD get(handle of, void **context) const noexcept { return RtmxGetContext(of, context); }
    DWORD get(UINT n, handle *of, void **contexts, UINT *found) const noexcept
    {
        return RtmxGetContexts(n, of, contexts, found);
    }
};

struct of_reader {
    RTMX_READER_HANDLE reader;

    DWORD enter() const noexcept { return RtmxReaderEnter(reader); }
    DWORD leave() const noexcept { return RtmxReaderLeave(reader); }
    DWORD quiescent() const noexcept { return RtmxReaderQuiescent(reader); }
    DWORD get(handle of, void **context) const noexcept { return RtmxReaderGetContext(reader, of, context); }
    DWORD get(UINT n, handle *of, void **contexts, UINT *found) const noexcept
    {
        return RtmxReaderGetContexts(reader, n, of, contexts, found);
    }
};
} // namespace detail

/* A read section, from its construction to its end: rtm::section of this thread, reader::enter of a reader. */
template <class Of>
class basic_section {
public:
    explicit basic_section(Of of = Of()) noexcept : of_(of), code_(of_.enter()) {}
    basic_section(const basic_section &) = delete;
    basic_section &operator=(const basic_section &) = delete;
    ~basic_section()
    {
        if (code_ == NO_ERROR)
            of_.leave();
    }

    /* Whether it could be entered. If not, nothing is found in it. */
    explicit operator bool() const noexcept { return code_ == NO_ERROR; }
    std::error_code error() const noexcept { return to_error(code_); }

    /* The state of an entity that was registered with a T; null if it is not registered (any more). */
    template <class T>
    T *get(handle of) const noexcept
    {
        void *context = nullptr;
        return of_.get(of, &context) == NO_ERROR ? static_cast<T *>(context) : nullptr;
    }

    /* As RtmxGetContexts: null where a handle is bad. Both spans have the same size. */
    std::error_code get(span<const handle> of, span<void *> contexts, UINT *found = nullptr) const noexcept
    {
        if (of.size() != contexts.size() || of.size() > UINT_MAX)
            return errc::invalid_parameter;
        return to_error(of_.get(static_cast<UINT>(of.size()), const_cast<handle *>(of.data()), contexts.data(), found));
    }

    /* Lets go of everything that was found, and stays inside. */
    std::error_code quiescent() const noexcept { return to_error(of_.quiescent()); }

private:
    Of of_;
    DWORD code_;
};

using section = basic_section<detail::of_thread>;

/* A reader object: for one thread at a time. */
class reader {
public:
    static result<reader> create() noexcept
    {
        RTMX_READER_HANDLE made = nullptr;
        const DWORD code = RtmxCreateReader(&made);
        return code == NO_ERROR ? result<reader>(reader(made)) : to_error(code);
    }

    basic_section<detail::of_reader> enter() const noexcept
    {
        return basic_section<detail::of_reader>(detail::of_reader{own_.get()});
    }

    RTMX_READER_HANDLE get() const noexcept { return own_.get(); }

    /* errc::busy: inside a section; it stays. The destructor then leaves it to rtm::shutdown. */
    std::error_code close() noexcept { return own_.close(); }

private:
    explicit reader(RTMX_READER_HANDLE made) noexcept : own_(made) {}

    detail::owned<RTMX_READER_HANDLE, RtmxDeleteReader> own_;
};

/* An event queue. */
class event_queue {
public:
    static result<event_queue> create() noexcept
    {
        RTMX_QUEUE_HANDLE made = nullptr;
        const DWORD code = RtmxCreateEventQueue(&made);
        return code == NO_ERROR ? result<event_queue>(event_queue(made)) : to_error(code);
    }

    /* For poll, epoll and select; the queue's. */
    result<int> descriptor() const noexcept
    {
        int number = -1;
        const DWORD code = RtmxGetEventQueueDescriptor(own_.get(), &number);
        return code == NO_ERROR ? result<int>(number) : to_error(code);
    }

    /* Runs what is due, at most `budget` functions, on this thread. How many were run. */
    result<UINT> dispatch(UINT budget = 64) const
    {
        UINT number = 0;
        const DWORD code = RtmxDispatchEvents(own_.get(), budget, &number);
        return code == NO_ERROR ? result<UINT>(number) : to_error(code);
    }

    RTMX_QUEUE_HANDLE get() const noexcept { return own_.get(); }

    /* errc::busy: an entity uses it; it stays. The destructor then leaves it to rtm::shutdown. */
    std::error_code close() noexcept { return own_.close(); }

private:
    explicit event_queue(RTMX_QUEUE_HANDLE made) noexcept : own_(made) {}

    detail::owned<RTMX_QUEUE_HANDLE, RtmxDeleteEventQueue> own_;
};

} // namespace rtm

#endif
