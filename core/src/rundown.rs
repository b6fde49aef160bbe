//! Rundown: who is inside an entity's methods, and how a deregistration comes to know that nobody is.
//!
//! *Roles.* *Invokers* enter and leave. A *blocker* (under the entity's own lock) closes the door for a
//! while and waits until nobody is inside. The *closer*, the one deregistration that has unpublished
//! the entity, closes it for ever. An entity's listener (`dispatch`) is one more part that the
//! closer waits for.
//!
//! *States of a stripe* (one word: CLOSED, BLOCKED, count): an invoker enters by compare-exchange and
//! only if neither flag is set, so that a closed stripe's count can only fall, and exactly one leave
//! brings it to zero. Each invoker uses the stripe of its own member, each stripe has a cache line of
//! its own: invokers on different processors share none.
//!
//! *Parts.* `parts` counts what still has to end: every stripe, the listener, and the closer itself. The
//! closer takes off at once what it found empty; each stripe that runs empty after it was closed takes
//! one off, and so does the listener's end. Whoever takes the last one off *completes* the
//! deregistration; the closer that waits keeps its own part until all others are gone, so that it is
//! the last; a closer that does not wait (LATER) gives it up and leaves the completion to whoever is.
//!
//! *Lifetime.* A leave touches nothing of the rundown after it has given up its last part: the memory
//! goes when the parts are 0. Before that it cannot go, for the stripe's part is still counted. Sleepers
//! are woken through a place of the registry (`Parking`), which stays.
//!
//! *ABA.* Compare-exchanges change a count by one and test flags that are never cleared (CLOSED) or
//! looked at again (BLOCKED).
//!
//! *Orderings.* Leaving releases what was done inside; whoever sees the count at zero acquires it. The
//! flags need nothing else for that: flag and count are one word, whose order decides whether an invoker
//! came before the flag (then its count is seen) or after (then it sees the flag). BLOCKED releases who
//! blocked, which whoever is refused wants to know.
//!
//! *Progress.* Entering and leaving: lock-free. Closing: wait-free, as many steps as stripes. Waiting is
//! the caller's.

use crate::alloc::OutOfMemory;
use crate::mutant::{Mutant, active, fence_unless, relaxed_if};
use crate::sync::{AtomicU32, AtomicU64, Ordering, Padded};

const CLOSED: u64 = 1 << 63;
const BLOCKED: u64 = 1 << 62;
const COUNT: u64 = BLOCKED - 1;

const LATER: u32 = 1 << 31;

/// Why nobody was let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    Closed,
    Blocked,
}

/// What the end of a part asks of whoever ended it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Ended {
    /// Nothing.
    Quiet,
    /// Wake those who wait for the entity.
    Wake,
    /// Complete the deregistration.
    Complete,
}

pub(crate) struct Rundown {
    /// None for an entity without methods.
    stripes: Box<[Padded<AtomicU64>]>,
    parts: AtomicU32,
}

impl Rundown {
    /// `stripes` is 0 or a power of two.
    pub(crate) fn new(stripes: usize) -> Result<Rundown, OutOfMemory> {
        let mut all = Vec::new();
        all.try_reserve_exact(stripes).map_err(|_| OutOfMemory)?;
        all.resize_with(stripes, Padded::default);
        Ok(Rundown { stripes: all.into_boxed_slice(), parts: AtomicU32::new(stripes as u32 + 2) })
    }

    pub(crate) fn has_methods(&self) -> bool {
        !self.stripes.is_empty()
    }

    fn stripe(&self, number: usize) -> &AtomicU64 {
        &self.stripes[number & (self.stripes.len() - 1)]
    }

    /// Enters the methods by way of the stripe `number`; `again` for a thread that is inside already.
    pub(crate) fn enter(&self, number: usize, again: bool) -> Result<(), Refused> {
        let stripe = self.stripe(number);
        let mut now = stripe.load(Ordering::Relaxed);
        loop {
            if now & CLOSED != 0 && !active(Mutant::EnterClosed) {
                return Err(Refused::Closed);
            }
            if now & BLOCKED != 0 && !again && !active(Mutant::EnterBlocked) {
                // Fence: partner is `block`; whoever blocked is seen.
                fence_unless(Mutant::RefuseWithoutFence, Ordering::Acquire);
                return Err(Refused::Blocked);
            }
            // Acquire: partner is `unblock`; what the blocker rearranged is seen.
            let order = relaxed_if(Mutant::EnterRelaxed, Ordering::Acquire);
            match stripe.compare_exchange_weak(now, now + 1, order, Ordering::Relaxed) {
                Ok(_) => return Ok(()),
                Err(seen) => now = seen,
            }
        }
    }

    /// Leaves what was entered by way of the same stripe. Unless it says that there is more to do for the
    /// entity, the rundown may be gone when this returns.
    pub(crate) fn leave(&self, number: usize) -> Ended {
        // Release: partners are `is_quiet` and the last `end_part`. Acquire: partners are those who left by
        // the same stripe, for whom the last one ends the part.
        let order = if active(Mutant::LeaveSeesRelaxed) {
            Ordering::Release
        } else {
            relaxed_if(Mutant::LeaveRelaxed, Ordering::AcqRel)
        };
        let before = self.stripe(number).fetch_sub(1, order);
        if before & COUNT != 1 {
            return Ended::Quiet;
        }
        if before & CLOSED != 0 {
            return self.end_part();
        }
        if before & BLOCKED != 0 { Ended::Wake } else { Ended::Quiet }
    }

    /// Takes off one part that has ended.
    pub(crate) fn end_part(&self) -> Ended {
        // AcqRel: whoever takes off the last part has seen what was done inside all others.
        let order = relaxed_if(Mutant::PartRelaxed, Ordering::AcqRel);
        let before = self.parts.fetch_sub(1, order);
        match (before & LATER != 0, before & !LATER) {
            (true, 1) => Ended::Complete,
            (true, _) => Ended::Quiet,
            (false, _) => Ended::Wake,
        }
    }

    /// Closes the methods for ever. `listener_runs`: the listener's part will be ended by its runner.
    /// With `later` the caller gives its own part up; else it waits for [`is_over`](Rundown::is_over).
    pub(crate) fn close(&self, later: bool, listener_runs: bool) -> Ended {
        if later {
            self.parts.fetch_or(LATER, Ordering::Relaxed);
        }
        let mut ended = u32::from(!listener_runs) + u32::from(later);
        for stripe in &self.stripes {
            // Acquire: partner is `leave`.
            if stripe.fetch_or(CLOSED, Ordering::Acquire) & COUNT == 0 {
                ended += 1;
            }
        }
        if ended == 0 {
            return Ended::Quiet;
        }
        // AcqRel: as in `end_part`.
        let before = self.parts.fetch_sub(ended, Ordering::AcqRel);
        if later && before & !LATER == ended { Ended::Complete } else { Ended::Quiet }
    }

    /// Whether nothing runs any more but the waiting closer and `own` frames of its thread.
    pub(crate) fn is_over(&self, own: u32) -> bool {
        // Acquire: partner is `end_part`.
        let order = relaxed_if(Mutant::OverRelaxed, Ordering::Acquire);
        self.parts.load(order) == 1 + own
    }

    /// The closer that has waited goes, though a frame of its own thread still runs: the end of that
    /// frame completes.
    pub(crate) fn leave_to_own_frame(&self) {
        self.parts.fetch_or(LATER, Ordering::Relaxed);
        // Release: partner is `end_part`, on this same thread.
        self.parts.fetch_sub(1, Ordering::Release);
    }

    /// Keeps invokers out from now on. Under the entity's lock.
    pub(crate) fn block(&self) {
        for stripe in &self.stripes {
            // Release: partners are `enter`, where it refuses, and `is_blocked`: who is refused sees who
            // blocked.
            stripe.fetch_or(BLOCKED, relaxed_if(Mutant::BlockRelaxed, Ordering::Release));
        }
    }

    /// Lets them in again. Under the entity's lock.
    pub(crate) fn unblock(&self) {
        for stripe in &self.stripes {
            // Release: partner is `enter`.
            let order = relaxed_if(Mutant::UnblockRelaxed, Ordering::Release);
            stripe.fetch_and(!BLOCKED, order);
        }
    }

    /// Whether nobody is inside the methods. Stays so while they are blocked or closed.
    pub(crate) fn is_quiet(&self) -> bool {
        // Acquire: partner is `leave`.
        let order = relaxed_if(Mutant::QuietRelaxed, Ordering::Acquire);
        self.stripes.iter().all(|stripe| stripe.load(order) & COUNT == 0)
    }

    /// How many are inside the methods, stripe by stripe.
    pub(crate) fn inside(&self) -> u64 {
        self.stripes.iter().map(|stripe| stripe.load(Ordering::Relaxed) & COUNT).sum()
    }

    /// Whether [`enter`](Rundown::enter) would refuse for being blocked.
    pub(crate) fn is_blocked(&self, number: usize) -> bool {
        // Acquire: partner is `block`.
        self.stripe(number).load(Ordering::Acquire) & (CLOSED | BLOCKED) == BLOCKED
    }
}
