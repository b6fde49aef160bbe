//! Batches that wait for grace periods, and when it is worth while to look at them.
//!
//! *Roles.* Whoever seals pushes. Any thread takes what is ripe and puts the rest back.
//!
//! *Due.* At most the least grace period of what is on the stack, but for a batch that is just being pushed
//! and those that somebody has just taken. So nobody walks over batches none of which is ripe, which may be
//! many while a reader is stuck.
//!
//! *Orderings.* A push lowers `due` behind it and releases; a take raises it before and acquires: it finds each
//! batch whose push has lowered what it raises.
//!
//! *Progress.* Pushing: lock-free. Taking: wait-free but for what it puts back.

use super::Batch;
use super::grace::Grace;
use crate::mutant::{Mutant, relaxed_if};
use crate::stack::{Chain, Stack};
use crate::sync::{AtomicU64, Ordering};

pub(crate) struct Sealed<S> {
    stack: Stack<Batch<S>>,
    due: AtomicU64,
}

impl<S> Default for Sealed<S> {
    fn default() -> Self {
        Sealed { stack: Stack::default(), due: AtomicU64::new(Grace::MAX) }
    }
}

impl<S> Sealed<S> {
    pub(crate) fn push(&self, batch: Box<Batch<S>>) {
        let grace = batch.grace;
        self.stack.push(batch);
        // Release: partner is `take_ripe`.
        self.due.fetch_min(grace, relaxed_if(Mutant::DueRelaxed, Ordering::Release));
    }

    /// Whether a [`take_ripe`](Self::take_ripe) would find anything.
    #[inline(always)]
    pub(crate) fn has_ripe(&self, over: Grace) -> bool {
        self.due.load(Ordering::Relaxed) <= over
    }

    /// Takes the batches whose grace period is over.
    pub(crate) fn take_ripe(&self, over: Grace) -> Chain<Batch<S>> {
        let mut ripe = Chain::empty();
        if !self.has_ripe(over) {
            return ripe;
        }
        // Acquire: partner is `push`.
        self.due.swap(Grace::MAX, relaxed_if(Mutant::DueSeenRelaxed, Ordering::Acquire));
        for batch in self.stack.take() {
            if batch.grace <= over {
                ripe.push(batch);
            } else {
                self.push(batch);
            }
        }
        ripe
    }
}
