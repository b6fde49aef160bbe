//! Methods: running an entity's code on the invoker's thread, and keeping invokers out for a while.
//!
//! *Roles.* *Invokers* enter an entity's methods, which keeps its deregistration from finishing. A
//! *blocker* closes the door, waits until nobody is inside, and later it or another thread opens it.
//!
//! *Paths.* Entering: a look-up and one compare-exchange on the stripe of the member. If the methods are
//! blocked: a thread that is inside them already is let in (whoever blocks waits for it anyway); a
//! thread that would wait for itself is refused; others sleep until the door opens or the entity
//! goes, without holding anything that keeps memory.
//!
//! *Progress.* Entering and leaving: lock-free unless the methods are blocked. Blocking: blocks.

use crate::code::{self, Frame, Part};
use crate::error::{BlockError, InvalidHandle, InvokeError};
use crate::handle::{Config, Handle, Standard, Token};
use crate::member::Member;
use crate::mutant::{Mutant, active};
use crate::reclamation::Local;
use crate::registry::Registry;
use crate::rundown::Refused;
use crate::sync::{Ordering, thread_serial, thread_token};
use crate::waits::{For, Thread};
use std::marker::PhantomData;
use std::ops::Deref;

/// A wait that is noted; dropping it ends the note.
pub(crate) struct Noted<'r, T: Send + Sync, C: Config>(Option<&'r Registry<T, C>>);

impl<T: Send + Sync, C: Config> Drop for Noted<'_, T, C> {
    fn drop(&mut self) {
        if let Some(registry) = self.0 {
            registry.waits.leave(Thread::current());
        }
    }
}

impl<T: Send + Sync, C: Config> Registry<T, C> {
    /// Notes a wait of the calling thread if others could wait for it; `None`: it must not wait. A thread
    /// that is going to block methods can be waited for as soon as it has.
    pub(crate) fn note_wait(&self, local: &Local<Member>, awaits: For) -> Option<Noted<'_, T, C>> {
        let (me, shared) = (Thread::current(), local.shared());
        let blocks = self.blocks.load(Ordering::Relaxed) != 0
            || matches!(awaits, For::Methods(_)) && !active(Mutant::BlockerUnnoted);
        if !blocks && !code::has_frame(shared, me.token, |_| true) {
            return Some(Noted(None));
        }
        let is_inside = |thread, entity, methods: bool| {
            code::has_frame(shared, thread, |frame| {
                frame.entity == entity && (!methods || frame.is_method())
            })
        };
        self.waits.enter(me, awaits, is_inside).ok()?;
        Some(Noted(Some(self)))
    }

    /// Enters the methods of `callee` and notes the frame with the member.
    pub(crate) fn enter_methods(
        &self,
        local: &Local<Member>,
        callee: Handle,
        wanted: impl Fn(&T) -> bool,
    ) -> Result<Token, InvokeError> {
        let token = self.slab.open(callee).ok_or(InvokeError::InvalidHandle)?;
        let member = &local.record().state;
        let frames = &member.frames;
        frames.reserve().map_err(|_| InvokeError::OutOfMemory)?;
        let (mut stripe, mut again) = (member.stripe(), false);
        loop {
            let blocker = {
                let pin = local.pin();
                let entity =
                    self.slab.get(token.sought(), &pin).ok_or(InvokeError::InvalidHandle)?;
                let code = self.slab.attachments.get(token.slot());
                let code = code.filter(|code| code.rundown.has_methods());
                let code = code.ok_or(InvokeError::NoMethods)?;
                match code.rundown.enter(stripe, again) {
                    Ok(()) => {
                        frames.push(Frame::new(token, Part::Method(stripe)));
                        return Ok(token);
                    }
                    Err(Refused::Closed) => return Err(InvokeError::InvalidHandle),
                    Err(Refused::Blocked) => {
                        // SAFETY: I1: it was live under the pin, which is still held.
                        if !wanted(unsafe { entity.value() }) {
                            return Err(InvokeError::NoMethods);
                        }
                        code.blocker.load(Ordering::Relaxed)
                    }
                }
            };
            if let Some(inside) = self.await_resumption(local, token, stripe, blocker)? {
                // The same: a blocker that looks at one stripe after the other must find it there.
                (stripe, again) = (inside, true);
            }
        }
    }

    /// Sleeps until the methods are not blocked by `blocker` any more. A stripe: the thread is inside them
    /// already, by way of that, and need not wait.
    fn await_resumption(
        &self,
        local: &Local<Member>,
        token: Token,
        stripe: usize,
        blocker: usize,
    ) -> Result<Option<usize>, InvokeError> {
        let (me, shared) = (Thread::current(), local.shared());
        let inside =
            code::find_frame(shared, me.token, |frame| frame.entity == token && frame.is_method());
        if let Some(Frame { part: Part::Method(stripe), .. }) = inside {
            return Ok(Some(stripe));
        }
        if blocker == me.serial || shared.is_inside() {
            return Err(InvokeError::WouldDeadlock);
        }
        let wait = self.note_wait(local, For::Resumption(blocker));
        let _wait = wait.ok_or(InvokeError::WouldDeadlock)?;
        let bell = self.bells.of(token);
        loop {
            let heard = bell.listen();
            let still = {
                let pin = local.pin();
                self.slab.get(token.sought(), &pin).is_some()
                    && self.slab.attachments.get(token.slot()).is_some_and(|code| {
                        // In this order: see `Rundown::block`.
                        code.rundown.is_blocked(stripe)
                            && code.blocker.load(Ordering::Relaxed) == blocker
                    })
            };
            if !still {
                return Ok(None);
            }
            bell.wait(heard);
        }
    }

    /// Leaves the member's innermost method of those. `false`: there is none.
    pub(crate) fn leave_methods(
        &self,
        local: &Local<Member>,
        which: impl Fn(&Frame) -> bool,
    ) -> bool {
        let frames = &local.record().state.frames;
        let Some(frame) = frames.take(|frame| frame.is_method() && which(frame)) else {
            return false;
        };
        let Part::Method(stripe) = frame.part else { return false };
        let code = self.slab.attachments.get(frame.entity.slot());
        let code = code.expect("kept by the count that is given back here");
        let ended = code.rundown.leave(stripe);
        self.after(local, frame.entity, ended);
        true
    }

    pub(crate) fn block_methods_as(
        &self,
        local: &Local<Member>,
        handle: Handle,
    ) -> Result<(), BlockError> {
        let token = self.slab.open(handle).ok_or(BlockError::InvalidHandle)?;
        let (me, shared) = (thread_token(), local.shared());
        local.record().state.frames.adopt();
        let inside = |frame: &Frame| frame.entity == token && frame.is_method();
        if self.slab.get(token.sought(), &local.pin()).is_none() {
            return Err(BlockError::InvalidHandle);
        }
        if shared.is_inside() || code::has_frame(shared, me, inside) {
            return Err(BlockError::WouldDeadlock);
        }
        let wait = self.note_wait(local, For::Methods(token));
        let _wait = wait.ok_or(BlockError::WouldDeadlock)?;
        self.set_blocked(local, token, true)?;
        let bell = self.bells.of(token);
        loop {
            let heard = bell.listen();
            {
                let pin = local.pin();
                self.slab.get(token.sought(), &pin).ok_or(BlockError::InvalidHandle)?;
                let Some(code) = self.slab.attachments.get(token.slot()) else { return Ok(()) };
                if code.rundown.is_quiet() || !*code::locked(&code.blocked) {
                    return Ok(());
                }
            }
            bell.wait(heard);
        }
    }

    pub(crate) fn resume_methods_as(
        &self,
        local: &Local<Member>,
        handle: Handle,
    ) -> Result<(), BlockError> {
        let token = self.slab.open(handle).ok_or(BlockError::InvalidHandle)?;
        self.set_blocked(local, token, false)
    }

    fn set_blocked(
        &self,
        local: &Local<Member>,
        token: Token,
        blocked: bool,
    ) -> Result<(), BlockError> {
        let pin = local.pin();
        self.slab.get(token.sought(), &pin).ok_or(BlockError::InvalidHandle)?;
        let code = self.slab.attachments.get(token.slot());
        let Some(code) = code.filter(|code| code.rundown.has_methods()) else { return Ok(()) };
        let mut now = code::locked(&code.blocked);
        // Again, under the lock under which a deregistration clears the flag.
        self.slab.get(token.sought(), &pin).ok_or(BlockError::InvalidHandle)?;
        if *now == blocked {
            return Ok(());
        }
        *now = blocked;
        if blocked {
            code.blocker.store(thread_serial(), Ordering::Relaxed);
            self.blocks.fetch_add(1, Ordering::Relaxed);
            code.rundown.block();
        } else {
            self.blocks.fetch_sub(1, Ordering::Relaxed);
            code.rundown.unblock();
            if !active(Mutant::ResumptionWakesNobody) {
                self.bells.of(token).ring();
            }
        }
        Ok(())
    }
}

/// Inside an entity's methods: while it exists, the entity cannot finish deregistering, and its payload
/// stays. Not `Send`. Leaking it keeps the entity's deregistration waiting for ever.
pub struct Invocation<'p, T: Send + Sync, C: Config = Standard> {
    registry: &'p Registry<T, C>,
    local: &'p Local<Member>,
    entity: Token,
    /// A frame belongs to its thread.
    marker: PhantomData<*const ()>,
}

impl<'p, T: Send + Sync, C: Config> Invocation<'p, T, C> {
    pub(crate) fn begin(
        registry: &'p Registry<T, C>,
        local: &'p Local<Member>,
        callee: Handle,
        wanted: impl Fn(&T) -> bool,
    ) -> Result<Self, InvokeError> {
        let entity = registry.enter_methods(local, callee, wanted)?;
        Ok(Invocation { registry, local, entity, marker: PhantomData })
    }

    /// Leaves the frame open until
    /// [`Participant::end_kept_invocation`](crate::Participant::end_kept_invocation), or until the
    /// participant goes. For callers whose frames may vanish without their destructors.
    pub fn keep(self) {
        self.local.record().state.frames.keep(self.entity);
        std::mem::forget(self);
    }

    /// The entity's handle.
    pub fn handle(&self) -> Handle {
        self.registry.slab.seal(self.entity)
    }
}

impl<T: Send + Sync, C: Config> Deref for Invocation<'_, T, C> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: I1: the slot is not retired before this frame ends.
        unsafe { self.registry.slab.place(self.entity).slot().value() }
    }
}

impl<T: Send + Sync, C: Config> Drop for Invocation<'_, T, C> {
    fn drop(&mut self) {
        // Not the innermost: guards may go in any order. Those of one entity are all alike.
        let own = |frame: &Frame| frame.entity == self.entity && !frame.kept;
        self.registry.leave_methods(self.local, own);
    }
}

impl<T: Send + Sync, C: Config> Registry<T, C> {
    /// Runs `f` with the payload of `callee`, which was registered with
    /// [`ClientCode::methods`](crate::ClientCode::methods). The callee's deregistration does not return before
    /// `f` has; any number of threads invoke at once; `f` may do anything but wait for the callee.
    ///
    /// Lock-free, apart from `f`; blocks while the callee's methods are
    /// [blocked](Registry::block_methods). Allocates in the thread's first calls.
    ///
    /// # Errors
    /// See [`InvokeError`].
    pub fn invoke<R>(&self, callee: Handle, f: impl FnOnce(&T) -> R) -> Result<R, InvokeError> {
        let local = crate::member::ambient(&self.domain).map_err(|_| InvokeError::OutOfMemory)?;
        let invocation = Invocation::begin(self, &local, callee, |_| true)?;
        Ok(f(&invocation))
    }

    /// Keeps invokers of an entity out, and returns when none is inside any more. A switch, not a
    /// counter.
    ///
    /// Blocks.
    ///
    /// # Errors
    /// See [`BlockError`].
    pub fn block_methods(&self, handle: Handle) -> Result<(), BlockError> {
        self.ambient(|local| self.block_methods_as(local, handle))
            .unwrap_or(Err(InvalidHandle.into()))
    }

    /// Lets invokers in again, all that wait at once. Any thread may.
    ///
    /// # Errors
    /// [`BlockError::InvalidHandle`].
    pub fn resume_methods(&self, handle: Handle) -> Result<(), BlockError> {
        self.ambient(|local| self.resume_methods_as(local, handle))
            .unwrap_or(Err(InvalidHandle.into()))
    }
}
