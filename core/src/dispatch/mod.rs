//! Who is told of a table's events, when, and by whom.
//!
//! The journal keeps the events; this schedules those who read it. Nothing here runs client code.
//!
//! *Roles.* An *appender* (any thread that registers or deregisters) enters an event and *rings* the
//! table's [`Audience`], in steps that are bounded but for others doing the same. The [`Herald`] (one
//! thread) takes the audiences that have been rung, puts their listeners that have something to read into
//! their [`Queue`]s, and trims journals. A *runner* (any thread that pops a queue) delivers one
//! [`Listener`]'s events. A *deregistration* closes its listener and leaves the audience.
//!
//! *States of a listener.* IDLE → READY (by the herald, or by a runner that looked again) → RUNNING (by
//! the runner that popped it) → READY (more to do) or IDLE. It begins as RUNNING by the thread that
//! joins it. CLOSED is a flag beside them, set once by the deregistration:
//!   - on IDLE or READY: nobody runs it any more. A queue gives it out once more at most, and `begin`
//!     refuses.
//!   - on RUNNING: the runner's `pause` finds it and says so. Exactly one of the two sides has the duty
//!     to tell whoever waits, since both change one word.
//!
//! IDLE | CLOSED, after somebody has *ended* it, is final. The herald lets go of it then and not before.
//!
//! *An event's path.* The appender commits it, fences, and looks at the audience's flag `rung`; if it is
//! not set, sets it, pushes the audience on the herald's stack, fences and looks whether the herald
//! sleeps. The herald takes the stack, clears a flag, fences, and only then looks at the journal and at the
//! states. A runner that found nothing more goes IDLE, fences, and looks at the journal again.
//!
//! *No lost wake-up.* Let a runner not see an event when it looks again. Then its fence comes before the
//! appender's in their total order. The appender finds the flag
//!   - not set: it pushes, and the herald's next pass comes after both fences;
//!   - set: then the clearing that ends this setting comes after the appender's fence, for a look behind
//!     that fence would have seen a clearing before a fence that precedes it. So the herald's fence
//!     comes after both.
//!
//! Either way the herald sees the event and the IDLE, and makes the listener READY. An event that is
//! reserved and not committed makes nobody READY; its commit rings. Between setting the flag and
//! pushing, a ringer that is stopped delays its table's events until it goes on.
//!
//! *Busy.* `busy` counts the members that are READY or RUNNING: counted before the push into the queue,
//! taken off before the state changes to IDLE. (One that joins is not counted, and leaves it to the herald
//! to make it READY: so it is a member by then.) A herald that finds it equal to the number of members
//! knows that none is IDLE whose look came before the fence of an event it is to be told of, for its
//! taking off would be seen; they all come back to the journal by themselves. The one who takes the
//! count to 0 rings, so that a journal is trimmed soon after all have read it.
//!
//! *Cost of a pass.* All rings since the flag was cleared cost one pass. A pass looks at every member
//! once, or at none if all are busy, none has joined or left and less than an eighth of the journal is
//! new. Each look thus stands for a listener that is made READY, or for an eighth of a journal, or for
//! a member among ones that are busy.
//!
//! *Joining against trimming.* A new listener stores its cursor, goes on the list `joining`, fences and
//! reads `floor`. The herald stores `floor`, fences, and looks at `joining` before it trims.
//!   - If the joiner's fence comes first, the herald sees the cursor and trims up to it at most;
//!   - else the joiner sees the floor, and if that is above its cursor, moves up and looks again.
//!
//! Cursors only move up, so the members that the herald had seen before need no second look.
//!
//! *Settled.* All positions below `settled` are committed (or lost). A joiner starts at the first
//! position that is not: what is committed later it is told of, though it was reserved earlier; what was
//! published before its commit and committed before the join, an enumeration after the join shows. It
//! may be told of something that an enumeration shows too. Never trimmed beyond `settled`.
//!
//! *The past.* A joiner's first position may have been reserved long before it was enlisted, by a registration that
//! is still under way, and the entity may have gone again while nobody listened: unpublished, with no event and
//! no hold. A joiner that was told of such a registration would wait for the departure for ever. So positions
//! that were reserved before the join (below the tail that it reads) are *past*: of them it is told only if the
//! entity is live or held. Enlisting and a departure both fence between what they write (count; word) and
//! what they look at (word; count):
//!   - if the departure's fence comes first, the joiner sees that the entity has ended;
//!   - else the departure sees the listener, and enters an event. (If it only sees it behind its
//!     unpublishing, it holds the entity then: for these instructions the joiner, who may be told of the
//!     registration just now, cannot describe it.)
//!
//! A position that is not past was reserved after the joiner's fence. If its entity departs unseen, then the
//! departure's fence came before that one; so it had not seen the entity published behind the reservation,
//! and the registration, which fences between a reservation behind the publication and its look at the entity,
//! sees it ended and enters nothing.
//!
//! *Passed by.* Who begins behind a position (joining, or after it missed something) looks at the registry
//! for what was published before. That is all there is if the position is committed. If it is *missed* instead (a
//! round behind, trimmed, or below a lost one), its owner may yet have to publish. So the listener fences
//! between finding it missed and looking at the registry (in `start`), and the owner between publishing and
//! asking whether the position is missed (in `is_passed`):
//!   - if the owner's fence comes first, the listener sees what is published;
//!   - else the owner sees that the position is missed, leaves it empty, and enters the event at a new one
//!     as if it had found its first listener just now. (If the entity has ended by then, only its departure
//!     is told.)
//!
//! A position that is reserved behind the publication, a departure's too, needs only that whoever finds it
//! missed sees what came before the reservation.
//!
//! *ABA.* A listener's word may return to IDLE between a look and the exchange to READY; then it is run once
//! for nothing. The stack of rung audiences is emptied as a whole; a member of it is pushed again only
//! after its flag was cleared, behind the reading of its link.
//!
//! *Lifetimes.* Queue, rung stack and member list each own a count of an `Arc`. Members and listeners hold
//! each other: [`Audience::disband`] and [`Herald::disband`] break that when the registry goes.
//! `Arc`s are std's in loom too: what they free is plain memory.
//!
//! *Orderings.* At their sites. What one run of a listener did is seen by the next (through IDLE, or the
//! queue's lock), by a deregistration whose `close` found nobody running, and, through the cursor, by
//! the herald before it lets go of what the events held.
//!
//! *Progress.* `append`, `commit`, `ring`, `enlist`, `join`, `leave`, `close`: lock-free, never wait;
//! `join` repeats only if a trim overtook it. `begin`: lock-free; `pop`, `pause`: the queue's lock, shortly.
//! A pass of the herald: work linear in members and new events, behind a lock that is the herald's.

use crate::alloc::OutOfMemory;
use crate::handle::Token;
use crate::journal::Read;
use crate::mutant::{Mutant, active, fence_unless, relaxed_if};
use crate::reserve::try_arc;
use crate::sync::{AtomicU32, AtomicU64, Ordering};
use std::sync::Arc;

mod audience;
mod herald;
mod queue;
#[cfg(all(test, not(rtm_loom)))]
mod tests;

pub(crate) use audience::{Audience, Joining};
pub(crate) use herald::Herald;
pub(crate) use queue::Queue;

const IDLE: u32 = 0;
const READY: u32 = 1;
const RUNNING: u32 = 2;
/// Beside one of the above.
const CLOSED: u32 = 4;

/// What a runner learns when it stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Paused {
    /// Nobody waits for this runner.
    Open,
    /// Closed while it ran: `close` said so to the deregistration, and this runner is the one who
    /// tells whoever waits for it.
    Closed,
}

/// One entity that wants events.
pub(crate) struct Listener {
    /// Whose.
    pub(crate) token: Token,
    state: AtomicU32,
    /// The next position to read. Stored by whoever runs it.
    cursor: AtomicU64,
    /// Positions below this were reserved before it joined. Stored by the one who joins it.
    since: AtomicU64,
    audience: Arc<Audience>,
    queue: Arc<Queue>,
    link: queue::Link,
}

impl Listener {
    /// As if run by the calling thread, which is to [`join`](Audience::join) it. Its audience has been
    /// [enlisted](Audience::enlist) with.
    pub(crate) fn new(
        token: Token,
        audience: Arc<Audience>,
        queue: Arc<Queue>,
    ) -> Result<Arc<Listener>, OutOfMemory> {
        try_arc(Listener {
            token,
            state: AtomicU32::new(RUNNING),
            cursor: AtomicU64::new(0),
            since: AtomicU64::new(0),
            audience,
            queue,
            link: queue::Link::new(),
        })
    }

    pub(crate) fn audience(&self) -> &Arc<Audience> {
        &self.audience
    }

    pub(crate) fn queue(&self) -> &Arc<Queue> {
        &self.queue
    }

    /// The next position to read.
    pub(crate) fn cursor(&self) -> u64 {
        // Relaxed: for its runner.
        self.cursor.load(Ordering::Relaxed)
    }

    /// By the runner: whether the note at the cursor may be of before it was enlisted, see *The past* at the
    /// head.
    pub(crate) fn is_at_past(&self) -> bool {
        // Relaxed: comes with the listener.
        self.cursor() < self.since.load(Ordering::Relaxed)
    }

    /// What is there for its runner to deliver.
    pub(crate) fn read(&self) -> Read {
        self.audience.read(self.cursor())
    }

    /// By the runner: the note it read is delivered; what that held may be let go.
    pub(crate) fn advance(&self) {
        self.set_cursor(self.cursor() + 1);
    }

    /// By the runner: it has missed events and goes on with those that are to come. Whatever was
    /// committed before is to be seen by looking at the registry after this call.
    pub(crate) fn skip(&self) {
        self.set_cursor(self.audience.start().max(self.cursor()));
    }

    fn set_cursor(&self, to: u64) {
        // Release: partner is the fence in `Audience::trim`, behind which what the event held is let go.
        self.cursor.store(to, relaxed_if(Mutant::CursorRelaxed, Ordering::Release));
    }

    /// Whether a runner has it.
    pub(crate) fn is_in_hand(&self) -> bool {
        self.state.load(Ordering::Relaxed) & RUNNING != 0
    }

    /// Events that it has not consumed.
    pub(crate) fn lag(&self) -> u64 {
        self.audience.behind(self.cursor())
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.state.load(Ordering::Relaxed) & CLOSED != 0
    }

    /// By the one who popped it: READY → RUNNING. `false`: it is closed and is not to be run.
    pub(crate) fn begin(self: &Arc<Self>) -> bool {
        // Relaxed: what the last run did comes with the queue's lock.
        let order = Ordering::Relaxed;
        if active(Mutant::BeginBlindly) {
            let state = self.state.load(order);
            self.state.store(RUNNING | state & CLOSED, order);
            return state & CLOSED == 0;
        }
        if self.state.compare_exchange(READY, RUNNING, order, order).is_ok() {
            return true;
        }
        self.audience.one_rests();
        self.end();
        false
    }

    /// By the runner: RUNNING → READY, behind the others of its queue, if it has seen that there is
    /// more; else IDLE.
    pub(crate) fn pause(self: &Arc<Self>, more: bool) -> Paused {
        if more {
            if self.ends_as(READY) {
                self.enqueue();
                return Paused::Open;
            }
            self.audience.one_rests();
            self.end();
            return Paused::Closed;
        }
        if active(Mutant::RestsLate) {
            let paused = self.rest(false, true);
            self.audience.one_rests();
            return paused;
        }
        let last = self.audience.one_rests();
        self.rest(last && !active(Mutant::LastDoesNotRing), true)
    }

    /// RUNNING → IDLE, not counted as busy (any more). If there is something to read, back to READY if
    /// `itself`, else by way of the herald; if not, rings if `ring`.
    fn rest(self: &Arc<Self>, ring: bool, itself: bool) -> Paused {
        if !self.ends_as(IDLE) {
            self.end();
            return Paused::Closed;
        }
        // Fence: partner is the one in `Audience::ring`. If ours comes first, the herald's pass sees
        // IDLE; else we see the event.
        fence_unless(Mutant::PauseWithoutFence, Ordering::SeqCst);
        let more = !active(Mutant::PauseWithoutLook) && self.audience.has(self.cursor());
        if more && itself && self.rouse() {
            return Paused::Open;
        }
        if ring || more && !itself {
            self.audience.ring();
        }
        Paused::Open
    }

    /// By the one who joins it: its events may begin. Takes no lock.
    fn set_off(self: &Arc<Self>, ring: bool) -> Paused {
        self.rest(ring, active(Mutant::JoinerRouses))
    }

    /// Ends a run, unless it was closed.
    fn ends_as(&self, state: u32) -> bool {
        // Release: partners are `close` and `rouse`, which see all this run did.
        // Relaxed on failure: the fence of the ring in `end` acquires what led to the closing.
        let order = relaxed_if(Mutant::PauseRelaxed, Ordering::Release);
        self.state.compare_exchange(RUNNING, state, order, Ordering::Relaxed).is_ok()
    }

    /// By the deregistration, once: nobody begins to run it any more. Says whether somebody runs it now;
    /// that one's [`pause`](Listener::pause) says [`Paused::Closed`]. To be followed by
    /// [`leave`](Audience::leave).
    pub(crate) fn close(&self) -> bool {
        if active(Mutant::CloseBlindly) {
            let state = self.state.load(Ordering::Acquire);
            self.state.store(state | CLOSED, Ordering::Release);
            return state & RUNNING != 0;
        }
        // Acquire: partner is the exchange in `pause`; if nobody runs it, all that runs did is seen.
        // Release: partner is the fence behind the exchange that fails there.
        let order = if active(Mutant::CloseSeesRelaxed) {
            Ordering::Release
        } else if active(Mutant::CloseRelaxed) {
            Ordering::Acquire
        } else {
            Ordering::AcqRel
        };
        self.state.fetch_or(CLOSED, order) & RUNNING != 0
    }

    /// IDLE → READY and into the queue. `false`: it was not IDLE (any more).
    fn rouse(self: &Arc<Self>) -> bool {
        // Acquire: partner is `pause`; the queue's lock hands it on to the next runner.
        let order = relaxed_if(Mutant::RouseRelaxed, Ordering::Acquire);
        if self.state.compare_exchange(IDLE, READY, order, Ordering::Relaxed).is_err() {
            return false;
        }
        // Before the push, after which it may be taken off again.
        self.audience.one_stirs();
        self.enqueue();
        true
    }

    fn enqueue(self: &Arc<Self>) {
        if self.queue.push(self.clone()).is_err() {
            // Closed since, and READY: nobody waits for us.
            self.audience.one_rests();
            self.end();
        }
    }

    /// It is closed and taken off the busy ones: the herald may let go of it. Acquires what led to the
    /// closing.
    fn end(&self) {
        self.set_ended();
        self.audience.ring();
    }

    fn set_ended(&self) {
        // Relaxed: a pass that sees this, and not that it was taken off `busy`, may skip its members; but
        // whoever ends it or has closed it rings afterwards, and the pass behind that does not.
        self.state.store(ENDED, Ordering::Relaxed);
    }

    /// By the herald: whether it is closed and nobody has it in hand. Takes it out of its queue.
    fn has_ended(&self) -> bool {
        match self.state.load(Ordering::Relaxed) {
            ENDED => true,
            // If it is not there, one who pops or pushes it has it in hand, ends it, and rings.
            REFUSED if self.queue.remove(self).is_some() => {
                self.audience.one_rests();
                self.set_ended();
                true
            }
            _ => false,
        }
    }
}

const ENDED: u32 = IDLE | CLOSED;
const REFUSED: u32 = READY | CLOSED;
