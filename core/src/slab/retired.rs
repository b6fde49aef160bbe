//! What a member has retired and nobody has sealed yet.
//!
//! *Roles.* The owning member pushes, by stores alone. Anybody takes all there is.
//! *States.* A slot is pushed, later taken. Two words: how many were ever pushed, with the newest slot; how
//! many were ever taken. What lies between them is linked through the slots from the newest on. The link of the
//! oldest leads to what has been taken: nobody follows it, since a length goes with each list.
//! *ABA.* Taking exchanges the full count of what was taken, which never comes back. The other count is
//! kept modulo 2^32, and fewer slots than that lie in between.
//! *Orderings.* A push releases the unpublishing and the link to the take. Takes release to those that come
//! after: who finds a list empty has seen what its taker did before.
//! *Progress.* Pushing is wait-free, taking lock-free.

use super::shard::NIL;
use crate::mutant::{Mutant, active, relaxed_if};
use crate::sync::{AtomicU64, Ordering};

pub(crate) struct Retired {
    /// The newest slot in the low half, how many there ever were in the high half. Written by the owner only.
    pushed: AtomicU64,
    taken: AtomicU64,
}

impl Default for Retired {
    fn default() -> Self {
        Retired { pushed: AtomicU64::new(NIL.into()), taken: AtomicU64::new(0) }
    }
}

/// How many slots lie in between.
fn between(taken: u64, pushed: u64) -> u32 {
    ((pushed >> 32) as u32).wrapping_sub(taken as u32)
}

impl Retired {
    /// Pushes a slot, to which `link` belongs. Says how many there are, or more.
    #[inline(always)]
    pub(crate) fn push(&self, slot: u32, link: impl FnOnce(u32)) -> u32 {
        let newest = self.pushed.load(Ordering::Relaxed);
        link(newest as u32);
        let pushed = (newest >> 32).wrapping_add(1) << 32 | u64::from(slot);
        // Release: partner is `take`; the link and the unpublishing are seen.
        self.pushed.store(pushed, relaxed_if(Mutant::RetireRelaxed, Ordering::Release));
        between(self.taken.load(Ordering::Relaxed), pushed)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> u32 {
        // Acquire: partner is `take`. Who finds nothing has seen that the taker was counted in
        // (`reclamation`, phases); and what was taken is seen pushed.
        let taken = self.taken.load(relaxed_if(Mutant::SealLookRelaxed, Ordering::Acquire));
        between(taken, self.pushed.load(Ordering::Relaxed))
    }

    /// Takes all: the newest slot and how many there are.
    pub(crate) fn take(&self) -> Option<(u32, u32)> {
        // Acquire: as in `len`.
        let mut taken = self.taken.load(relaxed_if(Mutant::TakenSeenRelaxed, Ordering::Acquire));
        loop {
            // Acquire: partner is `push`.
            let order = relaxed_if(Mutant::RetiredSeenRelaxed, Ordering::Acquire);
            let pushed = self.pushed.load(order);
            let count = between(taken, pushed);
            if count == 0 {
                return None;
            }
            let next = taken + u64::from(count);
            if active(Mutant::TakeBlindly) {
                self.taken.store(next, Ordering::Relaxed);
                return Some((pushed as u32, count));
            }
            // Release: partners are the loads. Acquire when it fails: as in `len`.
            let order = relaxed_if(Mutant::TakenRelaxed, Ordering::Release);
            let failed = relaxed_if(Mutant::TakenFoundRelaxed, Ordering::Acquire);
            match self.taken.compare_exchange(taken, next, order, failed) {
                Ok(_) => return Some((pushed as u32, count)),
                Err(now) => taken = now,
            }
        }
    }
}
