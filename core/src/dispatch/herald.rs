//! The herald: takes the audiences that have been rung, one pass each. The thread that runs it is
//! somebody else's.
//!
//! *Roles.* Ringers push audiences and wake; one thread waits and steps (several may step).
//! *States.* AWAKE ↔ ASLEEP, by the waiting thread and by whoever wakes it; STOPPED from either, until
//! `start`. The stack `rung` owns a count of the `Arc` of each audience on it. An audience is on it at
//! most once, since its flag lets one ringer through.
//! *No lost wake-up.* A ringer pushes, fences and reads the state; the thread says ASLEEP, fences and
//! reads the stack. If the ringer's fence comes first, the thread sees the audience and stays awake; else
//! the ringer sees ASLEEP and wakes it.
//! *ABA.* The stack is emptied as a whole.
//! *Progress.* `push`, `wake`: lock-free. `step`: see `Audience::pass`.

use super::Audience;
use crate::alloc::OutOfMemory;
use crate::handle::Token;
use crate::mutant::{Mutant, active, fence_unless, relaxed_if};
use crate::reserve::try_arc;
use crate::sync::{AtomicPtr, Ordering, Padded, Word};
use std::ptr;
use std::sync::Arc;
use std::time::Duration;

const AWAKE: u32 = 0;
const ASLEEP: u32 = 1;
const STOPPED: u32 = 2;

/// One of a registry.
pub(crate) struct Herald {
    rung: Padded<AtomicPtr<Audience>>,
    state: Padded<Word>,
}

impl Herald {
    pub(crate) fn new() -> Result<Arc<Herald>, OutOfMemory> {
        let rung = Padded(AtomicPtr::new(ptr::null_mut()));
        try_arc(Herald { rung, state: Padded(Word::new(AWAKE)) })
    }

    /// By the ringer who set the audience's flag.
    pub(super) fn push(&self, audience: Arc<Audience>) {
        let raw = Arc::into_raw(audience);
        let mut head = self.rung.load(Ordering::Relaxed);
        loop {
            // SAFETY: alive, since its count is ours until the exchange.
            let link = unsafe { &(*raw).link };
            // SAFETY: whoever set the flag has the link, until `step` clears it.
            link.with_mut(|link| unsafe { *link = head });
            // Release: partner is the swap in `take`; the link, and for the pass what its ringer did.
            let order = relaxed_if(Mutant::RungPushRelaxed, Ordering::Release);
            match self.rung.compare_exchange_weak(head, raw.cast_mut(), order, Ordering::Relaxed) {
                Ok(_) => return self.wake(),
                Err(now) => head = now,
            }
        }
    }

    /// Makes sure that the thread sees what has been pushed.
    fn wake(&self) {
        // Fence: partner is the one in `wait`.
        fence_unless(Mutant::WakeWithoutFence, Ordering::SeqCst);
        let relaxed = Ordering::Relaxed;
        if self.state.load(relaxed) == ASLEEP
            && self.state.compare_exchange(ASLEEP, AWAKE, relaxed, relaxed).is_ok()
        {
            self.state.wake(1);
        }
    }

    /// Sleeps until an audience has been rung, or for `timeout`; may return early. `false`: stopped.
    pub(crate) fn wait(&self, timeout: Option<Duration>) -> bool {
        let relaxed = Ordering::Relaxed;
        if self.state.compare_exchange(AWAKE, ASLEEP, relaxed, relaxed).is_ok() {
            // Fence: partner is the one in `wake`.
            fence_unless(Mutant::WaitWithoutFence, Ordering::SeqCst);
            if active(Mutant::WaitWithoutLook) || !self.is_rung() {
                self.state.wait(ASLEEP, timeout);
            }
            let _ = self.state.compare_exchange(ASLEEP, AWAKE, relaxed, relaxed);
        }
        // Acquire: partner is `stop`.
        self.state.load(relaxed_if(Mutant::StopSeenRelaxed, Ordering::Acquire)) != STOPPED
    }

    /// Makes every `wait` return `false`, now and from now on.
    pub(crate) fn stop(&self) {
        // Release: partners are `start` and the end of `wait`: what led to it is seen. A swap, so that
        // loom knows its place among the exchanges of `wait`.
        self.state.swap(STOPPED, relaxed_if(Mutant::StopRelaxed, Ordering::Release));
        self.state.wake(u32::MAX);
    }

    /// Undoes [`stop`](Herald::stop): whoever was to be told by it looks after this. Says whether there was
    /// one to undo.
    pub(crate) fn start(&self) -> bool {
        // A swap: of a `stop` that it undoes it acquires what led to it; a later one is not undone.
        self.state.swap(AWAKE, relaxed_if(Mutant::StartRelaxed, Ordering::Acquire)) == STOPPED
    }

    /// Whether a [`step`](Herald::step) would have found something just now.
    pub(crate) fn is_rung(&self) -> bool {
        !self.rung.load(Ordering::Relaxed).is_null()
    }

    /// One pass for each audience that has been rung; says whether there was one. `release` is called
    /// for what trimmed events held; it must neither panic nor step.
    pub(crate) fn step(&self, release: &mut dyn FnMut(Token)) -> bool {
        let mut some = false;
        for audience in self.take() {
            some = true;
            if !active(Mutant::AttendLate) {
                audience.attend();
            }
            audience.pass(release);
            if active(Mutant::AttendLate) {
                audience.attend();
            }
        }
        some
    }

    /// Takes all rung audiences. The link of each has been read when it is given out.
    fn take(&self) -> impl Iterator<Item = Arc<Audience>> {
        let mut next = ptr::null_mut();
        if self.is_rung() {
            // Acquire: partner is `push`.
            let order = relaxed_if(Mutant::RungTakeRelaxed, Ordering::Acquire);
            next = self.rung.swap(ptr::null_mut(), order);
        }
        std::iter::from_fn(move || {
            if next.is_null() {
                return None;
            }
            // SAFETY: `push` gave the count to the stack, and the swap gave it to us.
            let audience = unsafe { Arc::from_raw(next.cast_const()) };
            // SAFETY: its flag is set by one who has pushed it, and not yet cleared.
            next = audience.link.with(|link| unsafe { *link });
            Some(audience)
        })
    }

    /// When the registry goes, after all its audiences were disbanded: lets go of those still rung.
    pub(crate) fn disband(&self) {
        self.take().for_each(drop);
    }
}
