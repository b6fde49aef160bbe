//! Limits, and how the one on entities is kept without a counter that every registration writes.
//!
//! *Roles.* A registration takes one credit, a deregistration gives one back; `set` changes how
//! many there are.
//! *No limit.* As long as the limit was never below what there are slots for, nothing is charged: members
//! count what they register and deregister, each for itself. From the first lower limit on everything
//! that registers is charged. What was registered before has no credit to give back: its number is
//! `reserved`, subtracted from the pool, and counted anew whenever no credit is found.
//! *States.* Every credit is in the pool, in some member's stock, or spent on a live entity: pool + stocks +
//! reserved + charged and live = limit, always. After the limit was lowered the pool may be negative: the
//! registry is *in debt*, stocks are not used, and whatever is given back goes to the pool until it is
//! positive again.
//! *Paths.* Take: own stock → a batch from the pool → one from somebody's stock → refused. Give: own
//! stock, from which a batch goes to the pool when there are two.
//! *Orderings.* Relaxed: credits guard no memory, and each counter is changed by read-modify-writes
//! alone, so that none is lost or doubled. Two fences keep the mark of debt from being cleared by a
//! sweep that has not seen the lowering that set it. A departure is counted with release and read with
//! acquire, before the registrations: what is seen to go was seen to come.
//! *Exactness.* Never more live entities than the limit, but for registrations that run while the
//! limit is being lowered (also from none). A refusal means that a search of all stocks found nothing.
//! *Progress.* Lock-free; the search is as long as the list of members.

use crate::handle::SLOT_BITS;
use crate::mutant::{Mutant, active, fence_unless, relaxed_if};
use crate::reclamation::Local;
use crate::slab::MAX_REFERENCES;
use crate::sync::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering, bump};

/// What a registry may hold. Replaced at run time as a whole; see
/// [`Registry::set_limits`](crate::Registry::set_limits).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Entities registered at a time, at most 2^28 (the default).
    pub entities: u32,
    /// Instances that have a table; 65,536 by default. Tables are never given up, so a lower limit
    /// stops new ones and touches none.
    pub instances: u32,
    /// Counted references on one entity, at most (and by default) 2^28 - 1.
    pub references: u32,
    /// Departed entities that wait for their grace period, beyond which registration is refused rather than
    /// memory eaten because a reader is stuck. Counted in magazines of 256 for each thread, so that up to 255
    /// for each other thread may come on top. A thread that found less than half of a limit of at least 4,096
    /// looks again after 256 departures of its own, when it needs new slots, or when it has freed one by a
    /// last release: until then what it registers is not refused. Default: 2^20.
    pub backlog: u64,
    /// Events of one table that are kept for slow listeners; one that falls further behind is told that
    /// it missed some. 32 bytes each while they are kept. Rounded up to a power of two, at least 512 and at
    /// most 2^23; fixed for a table when its first
    /// listener comes. Default: 2^20.
    pub journal: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            entities: 1 << 28,
            instances: 1 << 16,
            references: MAX_REFERENCES,
            backlog: 1 << 20,
            journal: 1 << 20,
        }
    }
}

/// The limits in force, each to be looked at by itself. They guard no memory: relaxed.
pub(crate) struct InForce {
    entities: AtomicU32,
    instances: AtomicU32,
    references: AtomicU32,
    backlog: AtomicU64,
    journal: AtomicU64,
}

impl InForce {
    pub(crate) fn new(limits: Limits) -> InForce {
        InForce {
            entities: AtomicU32::new(limits.entities),
            instances: AtomicU32::new(limits.instances),
            references: AtomicU32::new(limits.references),
            backlog: AtomicU64::new(limits.backlog),
            journal: AtomicU64::new(limits.journal),
        }
    }

    /// By one at a time.
    pub(crate) fn set(&self, limits: Limits) {
        self.entities.store(limits.entities, Ordering::Relaxed);
        self.instances.store(limits.instances, Ordering::Relaxed);
        self.references.store(limits.references, Ordering::Relaxed);
        self.backlog.store(limits.backlog, Ordering::Relaxed);
        self.journal.store(limits.journal, Ordering::Relaxed);
    }

    /// All of them; of one moment if nobody sets them meanwhile.
    pub(crate) fn all(&self) -> Limits {
        Limits {
            entities: self.entities.load(Ordering::Relaxed),
            instances: self.instances(),
            references: self.references(),
            backlog: self.backlog(),
            journal: self.journal(),
        }
    }

    pub(crate) fn instances(&self) -> u32 {
        self.instances.load(Ordering::Relaxed)
    }

    #[inline]
    pub(crate) fn references(&self) -> u32 {
        self.references.load(Ordering::Relaxed)
    }

    #[inline]
    pub(crate) fn backlog(&self) -> u64 {
        self.backlog.load(Ordering::Relaxed)
    }

    pub(crate) fn journal(&self) -> u64 {
        self.journal.load(Ordering::Relaxed)
    }
}

/// A member state with a place for its stock.
pub(crate) trait Stocked: Send + Sync + 'static {
    fn stock(&self) -> &AtomicI64;
    fn uncharged(&self) -> &Uncharged;
}

/// What a member registered and deregistered of the entities that were not charged. Written by the
/// member alone.
#[derive(Default)]
pub(crate) struct Uncharged {
    taken: AtomicU64,
    given: AtomicU64,
}

/// Whether a credit was taken for an entity.
pub(crate) type Charged = bool;

/// There are not more slots than this.
const NO_LIMIT: i64 = 1 << SLOT_BITS;

pub(crate) struct Credits {
    pool: AtomicI64,
    limit: AtomicI64,
    /// The pool is negative. Read by every operation, written when limits change.
    debt: AtomicBool,
    /// Registrations are charged: there is, or was, a limit.
    charging: AtomicBool,
    /// Subtracted from the pool for entities that were not charged.
    reserved: AtomicI64,
}

fn take_up_to(from: &AtomicI64, wanted: i64) -> i64 {
    if active(Mutant::CreditWithoutExchange) {
        let have = from.load(Ordering::Relaxed).max(0);
        from.store(have - have.min(wanted), Ordering::Relaxed);
        return have.min(wanted);
    }
    from.try_update(Ordering::Relaxed, Ordering::Relaxed, |have| {
        (have > 0).then(|| have - have.min(wanted))
    })
    .map_or(0, |have| have.min(wanted))
}

impl Credits {
    pub(crate) fn new(limit: u32) -> Self {
        Credits {
            pool: AtomicI64::new(limit.into()),
            limit: AtomicI64::new(limit.into()),
            debt: AtomicBool::new(false),
            charging: AtomicBool::new(i64::from(limit) < NO_LIMIT),
            reserved: AtomicI64::new(0),
        }
    }

    /// Takes a credit if one is needed; `None` if there is none.
    #[inline]
    pub(crate) fn take<S: Stocked>(&self, local: &Local<S>, batch: i64) -> Option<Charged> {
        if !self.charging.load(Ordering::Relaxed) {
            bump(&local.record().state.uncharged().taken, 1);
            return Some(false);
        }
        self.take_charged(local, batch).then_some(true)
    }

    #[inline(never)]
    fn take_charged<S: Stocked>(&self, local: &Local<S>, batch: i64) -> bool {
        self.search(local, batch) || self.recount(local) && take_up_to(&self.pool, 1) == 1
    }

    fn search<S: Stocked>(&self, local: &Local<S>, batch: i64) -> bool {
        let own = local.record().state.stock();
        if !self.debt.load(Ordering::Relaxed) {
            if take_up_to(own, 1) == 1 {
                return true;
            }
            let got = take_up_to(&self.pool, batch);
            if got > 0 {
                own.fetch_add(got - 1, Ordering::Relaxed);
                return true;
            }
            let mut stocks = local.shared().records().map(|record| record.state.stock());
            if stocks.any(|stock| take_up_to(stock, 1) == 1) {
                return true;
            }
            // Credits that moved from a stock to the pool during the search.
            return take_up_to(&self.pool, 1) == 1;
        }
        self.sweep(local);
        take_up_to(&self.pool, 1) == 1
    }

    #[inline]
    pub(crate) fn give<S: Stocked>(&self, local: &Local<S>, batch: i64, charged: Charged) {
        if !charged {
            let given = &local.record().state.uncharged().given;
            // Release: partner is `recount`, which sees the registration, too.
            let order = relaxed_if(Mutant::UnchargedRelaxed, Ordering::Release);
            given.store(given.load(Ordering::Relaxed).wrapping_add(1), order);
            return;
        }
        self.give_charged(local, batch);
    }

    #[inline(never)]
    fn give_charged<S: Stocked>(&self, local: &Local<S>, batch: i64) {
        if self.debt.load(Ordering::Relaxed) {
            self.pool.fetch_add(1, Ordering::Relaxed);
            self.sweep(local);
            return;
        }
        let own = local.record().state.stock();
        if own.fetch_add(1, Ordering::Relaxed) + 1 >= 2 * batch {
            self.pool.fetch_add(take_up_to(own, batch), Ordering::Relaxed);
        }
    }

    /// Changes the number of credits.
    pub(crate) fn set<S: Stocked>(&self, local: &Local<S>, limit: u32) {
        let limit = i64::from(limit);
        let before = self.limit.swap(limit, Ordering::Relaxed);
        self.pool.fetch_add(limit - before, Ordering::Relaxed);
        if limit < NO_LIMIT && !self.charging.swap(true, Ordering::Relaxed) {
            self.recount(local);
        }
        if limit < before {
            // Fence: partner is the one in `sweep`.
            fence_unless(Mutant::LowerWithoutFence, Ordering::SeqCst);
            self.debt.store(true, Ordering::Relaxed);
        }
        self.sweep(local);
    }

    /// Counts the entities that were not charged. Says whether there are fewer than were reserved.
    fn recount<S: Stocked>(&self, local: &Local<S>) -> bool {
        if active(Mutant::RecountForgotten) {
            return false;
        }
        let counts = || local.shared().records().map(|record| record.state.uncharged());
        // Acquire: partner is `give`.
        let order = relaxed_if(Mutant::UnchargedSeenRelaxed, Ordering::Acquire);
        let given = counts().fold(0_u64, |sum, each| sum.wrapping_add(each.given.load(order)));
        let taken =
            counts().fold(0_u64, |sum, each| sum.wrapping_add(each.taken.load(Ordering::Relaxed)));
        let now = taken.wrapping_sub(given).cast_signed();
        let before = self.reserved.swap(now, Ordering::Relaxed);
        self.pool.fetch_add(before - now, Ordering::Relaxed);
        if before < now {
            self.debt.store(true, Ordering::Relaxed);
            self.sweep(local);
        }
        before > now
    }

    /// Moves all stocks to the pool and sees whether the debt is paid.
    fn sweep<S: Stocked>(&self, local: &Local<S>) {
        for record in local.shared().records() {
            let stock = record.state.stock();
            if stock.load(Ordering::Relaxed) > 0 {
                self.pool.fetch_add(take_up_to(stock, i64::MAX), Ordering::Relaxed);
            }
        }
        if self.pool.load(Ordering::Relaxed) >= 0 {
            self.debt.store(false, Ordering::Relaxed);
            // Fence: partner is the one in `set`. If its debt comes first, the pool is seen negative
            // below; else its store comes after ours.
            fence_unless(Mutant::SweepWithoutFence, Ordering::SeqCst);
            if self.pool.load(Ordering::Relaxed) < 0 {
                self.debt.store(true, Ordering::Relaxed);
            }
        }
    }
}
