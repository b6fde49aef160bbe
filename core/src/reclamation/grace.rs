//! Grace periods of a domain: numbered from 1, at most one under way, shared by all members.
//!
//! *States.* not begun → under way → over. One that is under way is one function deferred to crossbeam, which
//! notes that it is over: everybody has left who was inside when it began. The function runs on whichever
//! thread pins next, so a thread that only reads never runs anybody's drop; it holds the record list by an
//! `Arc` and may outlive the registry.
//!
//! *Roles.* A sealed batch waits for the first grace period that begins after it was sealed. Who seals begins
//! it, if none is under way; if one is, whoever began it pushes it on at each of his seals, and so does
//! whoever has waited for [`PATIENCE`] seals of his own. So all members share the cost, and a member that
//! seals reads what others write twice in a grace period. Collects and flushes step until nobody waits.
//!
//! *Orderings.* Pinning against unlinking is crossbeam's: `pin` announces and fences, pushing the function
//! out fences and reads the epoch. The unlinking comes before that, also when others have done it: who
//! seals has seen it, either as its own or through the acquire that took the list, and reads `begun` behind
//! a fence. If it reads that grace period n has not begun, this fence comes before that of whoever begins it.
//!
//! *Progress.* Sealing and pushing on: lock-free. `synchronize` blocks until other threads leave.

use super::{Batch, Local, Sealed, Shared};
use crate::alloc::OutOfMemory;
use crate::error::WaitError;
use crate::mutant::{Mutant, active, fence_unless, relaxed_if};
use crate::reserve::lend_bag;
use crate::stack::Chain;
use crate::sync::{Arc, AtomicU64, Backoff, Ordering};

/// A grace period.
pub(super) type Grace = u64;

/// Seals of a member, each with a batch that still waits, after which it helps a grace period that another
/// has begun.
const PATIENCE: u64 = if cfg!(rtm_loom) { 1 } else { 3 };

/// Grace periods, on a line that members who seal read.
pub(super) struct Graces {
    pub(super) begun: AtomicU64,
    pub(super) over: AtomicU64,
}

impl<S> Shared<S> {
    /// Whether something of these batches is ripe.
    #[inline(always)]
    pub(crate) fn has_ripe(&self, of: &Sealed<S>) -> bool {
        of.has_ripe(self.graces_over())
    }

    /// The grace period that garbage which was unlinked before must wait for.
    pub(super) fn next_grace(&self) -> Grace {
        // Fence: partner is the one of crossbeam when it is pushed out that a grace period has begun. If that
        // is not seen below, all those are waited for who may have found the garbage before it was unlinked.
        fence_unless(Mutant::GraceWithoutFence, Ordering::SeqCst);
        let begun = self.graces.begun.load(Ordering::Relaxed);
        let next = if active(Mutant::GraceUnderWay) { begun.max(1) } else { begun + 1 };
        self.accounts.wanted.fetch_max(next, Ordering::Relaxed);
        next
    }

    /// Grace periods that are over.
    #[inline(always)]
    pub(crate) fn graces_over(&self) -> Grace {
        self.graces.over.load(Ordering::Relaxed)
    }

    /// As [`graces_over`](Self::graces_over), for one who goes on to reclaim.
    fn graces_seen_over(&self) -> Grace {
        // Acquire: partner is `note_over`; what those did who have left is seen.
        self.graces.over.load(relaxed_if(Mutant::GraceOverSeenRelaxed, Ordering::Acquire))
    }

    /// Takes what is ripe of these batches.
    pub(crate) fn take_ripe(&self, from: &Sealed<S>) -> Chain<Batch<S>> {
        from.take_ripe(self.graces_seen_over())
    }
}

impl<S: Send + Sync + 'static> Local<S> {
    /// For one who has just sealed: begins a grace period, or pushes the one that is under way on.
    pub(super) fn push_on(&self) {
        let (graces, record) = (&self.shared().graces, self.record());
        let begun = graces.begun.load(Ordering::Relaxed);
        let helps = begun == record.begun.load(Ordering::Relaxed)
            || record.waiting.load(Ordering::Relaxed) > PATIENCE;
        if helps && begun != graces.over.load(Ordering::Relaxed) {
            self.nudge();
        }
        // Without memory it begins another time.
        let _ = self.begin_grace();
    }

    /// Takes a step towards the end of all grace periods that somebody waits for.
    pub(crate) fn step(&self) -> Result<(), OutOfMemory> {
        let begun = self.begin_grace();
        // Also without memory: what the collector frees may be some.
        self.nudge();
        begun
    }

    /// Begins a grace period, if somebody waits for one and none is under way.
    fn begin_grace(&self) -> Result<(), OutOfMemory> {
        let Shared { graces, accounts, .. } = self.shared();
        let over = graces.over.load(Ordering::Relaxed);
        let none = graces.begun.load(Ordering::Relaxed) == over;
        if !none || accounts.wanted.load(Ordering::Relaxed) <= over {
            return Ok(());
        }
        // One for what is there already, should it fill a bag.
        let _loans = [lend_bag()?, lend_bag()?];
        let relaxed = Ordering::Relaxed;
        if graces.begun.compare_exchange(over, over + 1, relaxed, relaxed).is_err() {
            return Ok(());
        }
        self.record().begun.store(over + 1, relaxed);
        let shared = self.shared.clone();
        let pin = self.handle.pin();
        // SAFETY: the function owns what it captures (`Shared` is Send and Sync), and may run on any thread
        // at any time, also after the registry is gone.
        unsafe { pin.defer_unchecked(move || note_over(&shared, over + 1)) };
        pin.flush();
        Ok(())
    }

    /// Lets the collector take a step: push out what this member deferred, try to move the epoch.
    pub(crate) fn nudge(&self) {
        let pin = self.handle.pin();
        if let Ok(_loan) = lend_bag() {
            return pin.flush();
        }
        drop(pin);
        // At each 128th pin the collector takes a step by itself.
        (0..128).for_each(|_| drop(self.handle.pin()));
    }

    /// Returns when every section that was open at the call has ended.
    pub(crate) fn synchronize(&self) -> Result<(), WaitError> {
        let shared = self.shared();
        shared.may_wait()?;
        let grace = shared.next_grace();
        let mut backoff = Backoff::default();
        loop {
            self.step().map_err(|OutOfMemory| WaitError::OutOfMemory)?;
            if grace <= shared.graces_seen_over() {
                return Ok(());
            }
            backoff.snooze();
        }
    }
}

/// The deferred function: everybody has left who was inside when the grace period began.
fn note_over<S>(shared: &Arc<Shared<S>>, grace: Grace) {
    // Release: partner is `graces_seen_over`.
    shared.graces.over.store(grace, Ordering::Release);
}
