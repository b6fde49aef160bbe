//! Free lists that a member does not need just now, and who takes them.
//!
//! *Roles.* The owning member puts lists of at least two magazines here, and takes them back when it runs out.
//! Others take what it has too many of, and everything when it has gone or nothing else is left. Ranges of slots
//! whose memory was given back lie here, too, and are anybody's.
//! *Weight.* Each member's lists and ranges are counted, a range so that it makes up for the lists that are kept.
//! What exceeds those is summed up for all, so that nobody looks through the members in vain.
//! *Orderings.* The stacks release and acquire the links (`stack.rs`); the weights are hints.
//! *Progress.* Lock-free.

use super::Slab;
use super::directory::Fixed;
use super::shard::{Shard, Sharded};
use crate::handle::Config;
use crate::reclamation::{Batch, Garbage, Local};
use crate::stack::{Chain, Stack};
use crate::sync::{AtomicI64, Ordering};

/// Spare lists that a member does not take from another as long as there are slots never used: slots that pass
/// between members bring words of several members onto one line. (Ranges are taken: they are whole chunks.)
const KEPT: i64 = if cfg!(rtm_loom) { 0 } else { 2 };
/// Of so many chunks that are added, before one somebody looks for what members have left that are gone.
const LOOK: u32 = 16;

/// The spare lists and ranges of a member.
pub(super) struct Spares<S> {
    stack: Stack<Batch<S>>,
    /// A hint.
    weight: AtomicI64,
}

impl<S> Default for Spares<S> {
    fn default() -> Self {
        Spares { stack: Stack::default(), weight: AtomicI64::new(0) }
    }
}

fn is_range<S>(list: &Batch<S>) -> bool {
    matches!(list.garbage, Garbage::Range { .. })
}

impl<F: Fixed, T: Send + Sync, C: Config> Slab<F, T, C> {
    /// Moves spare slots to this member: its own, or those of a record without an owner, or of a member that has
    /// more lists than are kept, or ranges; if `all`, of any.
    pub(super) fn take_spare<S: Sharded>(&self, local: &Local<S>, all: bool) -> bool {
        let to = local.record().state.shard();
        if self.take_own_spare(to) {
            return true;
        }
        // Relaxed: a hint; missing a list costs a chunk, not correctness.
        let none = self.spares.load(Ordering::Relaxed) <= 0;
        if none && !all && self.directory.chunks() % LOOK != LOOK - 1 {
            return false;
        }
        local.shared().records().any(|record| {
            let kept = if all || !record.owned.load(Ordering::Relaxed) { 0 } else { KEPT };
            self.take_spare_of(record.state.shard(), to, kept)
        })
    }

    /// Moves a spare list or range of the member to its own free list or chunk.
    fn take_own_spare<S>(&self, own: &Shard<S>) -> bool {
        let mut lists = own.spares.stack.take();
        let Some(list) = lists.next() else { return false };
        own.spares.stack.put_back(lists);
        self.weigh(own, &list, -1);
        self.load(own, list);
        true
    }

    /// Moves all spare lists of a member but `kept` of them, and its ranges, to one that has nothing.
    fn take_spare_of<S>(&self, from: &Shard<S>, to: &Shard<S>, mut kept: i64) -> bool {
        if from.spares.weight.load(Ordering::Relaxed) <= kept {
            return false;
        }
        let mut lists = self.pick_spares(from, |list| {
            let keep = kept > 0 && !is_range(list);
            kept -= i64::from(keep);
            !keep
        });
        let Some(list) = lists.next() else { return false };
        lists.for_each(|list| self.put_spare(to, list));
        self.load(to, list);
        true
    }

    /// Makes a list, or as much of a range as a chunk has, what the member uses next; it has nothing else.
    fn load<S>(&self, shard: &Shard<S>, mut list: Box<Batch<S>>) {
        match list.garbage {
            Garbage::Slots { head, count, .. } => shard.load_list(head, count),
            Garbage::Range { first, end } => {
                let rest = end.min(first + (1 << C::CHUNK_BITS));
                shard.load_chunk(first, rest, true);
                if rest != end {
                    list.garbage = Garbage::Range { first: rest, end };
                    self.put_spare(shard, list);
                }
            }
            _ => {}
        }
    }

    /// Puts a list or a range where others find it.
    pub(super) fn put_spare<S>(&self, shard: &Shard<S>, list: Box<Batch<S>>) {
        self.weigh(shard, &list, 1);
        shard.spares.stack.push(list);
    }

    /// Notes that a member has a list or a range more, or less, and how much of what it has others may take.
    fn weigh<S>(&self, shard: &Shard<S>, list: &Batch<S>, sign: i64) {
        let change = sign * if is_range(list) { KEPT + 1 } else { 1 };
        let before = shard.spares.weight.fetch_add(change, Ordering::Relaxed);
        let too_many = |weight: i64| (weight - KEPT).max(0);
        let change = too_many(before + change) - too_many(before);
        if change != 0 {
            self.spares.fetch_add(change, Ordering::Relaxed);
        }
    }

    /// Takes the spare lists and ranges of a member for which `take` says so, and leaves the others.
    pub(super) fn pick_spares<S>(
        &self,
        shard: &Shard<S>,
        mut take: impl FnMut(&Batch<S>) -> bool,
    ) -> Chain<Batch<S>> {
        let mut picked = Chain::empty();
        for list in shard.spares.stack.take() {
            if take(&list) {
                self.weigh(shard, &list, -1);
                picked.push(list);
            } else {
                shard.spares.stack.push(list);
            }
        }
        picked
    }

    /// A member that only frees must not keep what others could use. Without memory for the carrier
    /// it keeps it until another time.
    pub(super) fn share_surplus<S: Sharded>(&self, shard: &Shard<S>) {
        if shard.free_len() >= 2 * C::MAGAZINE
            && let Ok(batch) = Batch::new()
        {
            self.share_free(shard, batch);
        }
    }

    /// Puts a long free list where others find it, in a batch that has served.
    pub(super) fn share_free<S: Sharded>(&self, shard: &Shard<S>, mut batch: Box<Batch<S>>) {
        if shard.free_len() >= 2 * C::MAGAZINE {
            let (head, count) = shard.unload();
            batch.garbage = Garbage::Slots { head, count, deferred: false };
            self.put_spare(shard, batch);
        }
    }
}
