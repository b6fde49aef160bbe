/* Entities and their registrations. Part of rtm.hpp: include that. SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef RTM_ENTITY_HPP
#define RTM_ENTITY_HPP

#include "client_code.hpp"

namespace rtm {

/*
 * A counted reference: what it refers to can be described as long as it lives. It goes before the registration it was
 * made by: afterwards it cannot be given back.
 */
class reference {
public:
    reference(handle self, handle of) noexcept : self_(self), of_(of) {}
    reference(reference &&other) noexcept : self_(other.self_), of_(std::exchange(other.of_, nullptr)) {}
    reference &operator=(reference &&other) noexcept
    {
        reference old(std::move(other));
        std::swap(self_, old.self_);
        std::swap(of_, old.of_);
        return *this;
    }
    ~reference()
    {
        if (of_)
            RtmReleaseEntities(self_, 1, &of_);
    }

    handle get() const noexcept { return of_; }

private:
    handle self_, of_;
};

/* Entities that were registered, each with a reference. Goes before the registration it was made by. */
class entity_list {
public:
    entity_list(entity_list &&) noexcept = default;
    entity_list &operator=(entity_list &&) noexcept = default;

    span<const handle> handles() const noexcept { return {items_ ? items_->handles.get() : nullptr, size()}; }
    span<const entity_info> infos() const noexcept { return {items_ ? items_->infos.get() : nullptr, size()}; }
    std::size_t size() const noexcept { return items_ ? items_->number : 0; }

private:
    friend class registration;

    struct items {
        handle self = nullptr;
        UINT number = 0;
        std::unique_ptr<handle[]> handles;
        std::unique_ptr<entity_info[]> infos;

        ~items()
        {
            if (number)
                RtmReleaseEntities(self, number, handles.get());
        }
    };

    explicit entity_list(std::unique_ptr<items> all) noexcept : items_(std::move(all)) {}

    std::unique_ptr<items> items_;
};

/* Methods that are blocked until this goes. */
class methods_block {
public:
    explicit methods_block(handle self) noexcept : own_(self) {}

private:
    static DWORD resume(handle self) noexcept { return RtmBlockMethods(self, nullptr, 0, RTM_RESUME_METHODS); }

    detail::owned<handle, resume> own_;
};

/* An entity's registration. Ends with it: as deregister, and where that is refused, as deregister_later. */
class registration {
public:
    explicit registration(handle adopted) noexcept : own_(adopted) {}

    handle get() const noexcept { return own_.get(); }
    handle release() noexcept { return own_.release(); }

    /* Returns when none of its functions runs or ever will. On an error it stays. */
    std::error_code deregister() { return own_.close(RtmDeregisterEntity); }

    /* Never waits. */
    std::error_code deregister_later() noexcept { return own_.close(RtmxDeregisterEntityLater); }

    result<entity_info> describe(handle of) const noexcept
    {
        entity_info info;
        const DWORD code = RtmGetEntityInfo(get(), of, &info);
        return code == NO_ERROR ? result<entity_info>(info) : to_error(code);
    }

    result<rtm::reference> reference(handle of) const noexcept
    {
        const DWORD code = RtmReferenceHandles(get(), 1, &of);
        return code == NO_ERROR ? result<rtm::reference>(rtm::reference(get(), of)) : to_error(code);
    }

    /* Everybody in the table. */
    result<entity_list> entities() const noexcept
    {
        UINT number = 0;
        DWORD code = RtmGetRegisteredEntities(get(), &number, nullptr, nullptr);
        while (code == ERROR_INSUFFICIENT_BUFFER) {
            const UINT room = number + 8; /* some more may come meanwhile */
            std::unique_ptr<entity_list::items> all(new (std::nothrow) entity_list::items);
            if (!all)
                return errc::not_enough_memory;
            all->handles.reset(new (std::nothrow) handle[room]);
            all->infos.reset(new (std::nothrow) entity_info[room]);
            if (!all->handles || !all->infos)
                return errc::not_enough_memory;
            all->self = get();
            number = room;
            code = RtmGetRegisteredEntities(get(), &number, all->handles.get(), all->infos.get());
            if (code == NO_ERROR || code == ERROR_INSUFFICIENT_BUFFER)
                all->number = number;
            if (code == NO_ERROR)
                return entity_list(std::move(all));
        }
        return to_error(code);
    }

    /* Runs methods of an entity on this thread. Their answers go into `room`, which is 4-byte aligned. */
    replies invoke(handle of, DWORD methods, bytes input, span<unsigned char> room) const
    {
        constexpr std::size_t header = offsetof(RTM_ENTITY_METHOD_INPUT, InputData);
        alignas(RTM_ENTITY_METHOD_INPUT) unsigned char small[256];
        std::unique_ptr<unsigned char[]> large;
        if (input.size() > UINT_MAX - header || room.size() > UINT_MAX)
            return replies(ERROR_INVALID_PARAMETER, {});
        if (input.size() > sizeof small - header) {
            large.reset(new (std::nothrow) unsigned char[header + input.size()]);
            if (!large)
                return replies(ERROR_NOT_ENOUGH_MEMORY, {});
        }
        auto *in = reinterpret_cast<RTM_ENTITY_METHOD_INPUT *>(large ? large.get() : small);
        in->MethodType = methods;
        in->InputSize = static_cast<UINT>(input.size());
        if (!input.empty())
            std::memcpy(in->InputData, input.data(), input.size());
        UINT size = static_cast<UINT>(room.size());
        const DWORD code = RtmInvokeMethod(get(), of, in, &size,
                                           reinterpret_cast<RTM_ENTITY_METHOD_OUTPUT *>(room.data()));
        /* Otherwise nothing is written, and the size is what it was. */
        const bool some = code == NO_ERROR || code == ERROR_INSUFFICIENT_BUFFER;
        return replies(code, bytes(room.data(), some ? size : 0));
    }

    /* Returns when none of its own methods runs; invokers wait until what it gives goes. */
    result<methods_block> block_methods() const
    {
        const DWORD code = RtmBlockMethods(get(), nullptr, 0, RTM_BLOCK_METHODS);
        return code == NO_ERROR ? result<methods_block>(methods_block(get())) : to_error(code);
    }

private:
    static DWORD end(handle self) noexcept
    {
        const DWORD code = RtmDeregisterEntity(self);
        return code == ERROR_POSSIBLE_DEADLOCK ? RtmxDeregisterEntityLater(self) : code;
    }

    detail::owned<handle, end> own_;
};

/* The state of an entity that has none. */
struct nothing {};

/* What an entity is to be. Register it once. */
template <class T = nothing>
class entity {
public:
    explicit entity(const entity_info &info) noexcept : info_(info) {}

    /* f(T &, const event &): told when others of the table come and go, one at a time. */
    template <class F>
    entity &on_event(F f) noexcept
    {
        code_.on_event = detail::closure::make<T, const event>(std::move(f));
        return note(static_cast<bool>(code_.on_event));
    }

    /* f(T &, call &): the method of bit 1 << number, at most 31. Any number of threads call it at once. */
    template <class F>
    entity &method(UINT number, F f) noexcept
    {
        if (number >= detail::most_methods) {
            error_ = ERROR_INVALID_DATA;
            return *this;
        }
        if (!code_.methods)
            code_.methods.reset(new (std::nothrow) detail::closure[detail::most_methods]);
        if (!code_.methods)
            return note(false);
        code_.methods[number] = detail::closure::make<T, call>(std::move(f));
        code_.number = code_.number > number + 1 ? code_.number : number + 1;
        return note(static_cast<bool>(code_.methods[number]));
    }

    /* Events go to this queue and not to the library's threads. */
    entity &queue(const event_queue &queue) noexcept
    {
        queue_ = queue.get();
        return *this;
    }

    entity &reserve_opaque_pointer() noexcept
    {
        opaque_ = TRUE;
        return *this;
    }

    /* Makes the state of the arguments, and registers the entity. */
    template <class... A>
    result<registration> register_entity(A &&...arguments)
    {
        if (error_ != NO_ERROR)
            return to_error(error_);
        struct {
            UINT number;
            RTM_ENTITY_EXPORT_METHOD methods[detail::most_methods];
        } table{code_.number, {}};
        static_assert(offsetof(decltype(table), methods) == offsetof(RTM_ENTITY_EXPORT_METHODS, Methods));
        for (UINT i = 0; i < code_.number; i++)
            table.methods[i] = code_.methods[i] ? detail::on_call : nullptr;
        const RTM_EVENT_CALLBACK callback = code_.on_event ? detail::on_event : nullptr;
        const bool bare = std::is_same_v<T, nothing> && !callback && code_.number == 0;
        std::unique_ptr<detail::block<T>> made;
        if (!bare) {
            made.reset(new (std::nothrow) detail::block<T>(std::move(code_), std::forward<A>(arguments)...));
            if (!made)
                return errc::not_enough_memory;
        }
        RTM_REGN_PROFILE profile;
        handle self = nullptr;
        const DWORD code = RtmxRegisterEntity(
            &info_, table.number ? reinterpret_cast<PRTM_ENTITY_EXPORT_METHODS>(&table) : nullptr, callback,
            opaque_, bare ? nullptr : std::addressof(made->state), bare ? nullptr : detail::block<T>::destroy,
            queue_, &profile, &self);
        if (code != NO_ERROR)
            return to_error(code);
        made.release();
        return registration(self);
    }

private:
    entity &note(bool made) noexcept
    {
        if (!made)
            error_ = ERROR_NOT_ENOUGH_MEMORY;
        return *this;
    }

    entity_info info_;
    detail::functions code_;
    RTMX_QUEUE_HANDLE queue_ = nullptr;
    BOOL opaque_ = FALSE;
    DWORD error_ = NO_ERROR;
};

} // namespace rtm

#endif
