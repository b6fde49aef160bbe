//! A flush's side of the phases; the protocol stands at the head of `reclamation`.

use super::Shared;
use crate::mutant::{Mutant, active, fence_unless, relaxed_if};
use crate::sync::{Ordering, fence};

/// A flush under way, for [`Flush::is_over`].
pub(crate) struct Flush {
    phase: usize,
    moved: bool,
}

impl Flush {
    /// Begins a flush. The caller has sealed every record's lists since it was called.
    pub(crate) fn begin<S>(shared: &Shared<S>) -> Flush {
        Flush { phase: shared.phase.load(Ordering::Relaxed), moved: false }
    }

    /// Whether everything retired before the beginning is processed. If not, others (or the caller)
    /// have batches to process.
    pub(crate) fn is_over<S>(&mut self, shared: &Shared<S>) -> bool {
        if !self.moved {
            let phase = shared.phase.load(Ordering::Relaxed);
            // Fence: partner is the one in `count_in`. Whoever counted itself into the phase before
            // did so before this one began, and we see its count.
            fence_unless(Mutant::FlushWithoutFence, Ordering::SeqCst);
            if phase != self.phase {
                self.moved = true;
            } else if shared.drained(phase.wrapping_sub(1)) || active(Mutant::FlushSkipsOlderPhase)
            {
                let next = phase.wrapping_add(1);
                // Failure means that another flush moved it, which serves as well.
                let order = relaxed_if(Mutant::PhaseRelaxed, Ordering::AcqRel);
                let _ = shared.phase.compare_exchange(phase, next, order, Ordering::Relaxed);
                self.moved = true;
            } else {
                return false;
            }
            // Fence: partner is the one in `count_in`.
            fence(Ordering::SeqCst);
        }
        // Acquire: pairs with the exchange above in the flush that ended our phase and the next.
        let now = shared.phase.load(relaxed_if(Mutant::PhaseSeenRelaxed, Ordering::Acquire));
        now != self.phase.wrapping_add(1) || shared.drained(self.phase)
    }
}
