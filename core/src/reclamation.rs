//! Epoch-based reclamation in batches: who is inside, what may be freed, and who waits for it.
//!
//! *Roles.* A [`Domain`] is one registry's collector with a list of [`Record`]s. A [`Local`] is
//! somebody's membership: one crossbeam participant and one record, used by one thread at a time. A
//! [`Section`] is a pinned member: while one exists, nothing that was reachable when it began is
//! reclaimed. Garbage travels in a [`Batch`]: *sealed* by the member that collected it, *ripe*
//! after its grace period, then *processed* by a writer, a `collect` or a flush.
//!
//! *States of a batch.* open (slots pile up in their shard) → sealed (on its home record's stack, or on
//! the domain's stack of deferred payloads) → ripe (there) → processed. Batches stay with those who
//! sealed them: no other thread touches one, except to collect or to flush.
//!
//! *Grace periods:* `grace.rs`.
//!
//! *States of a record.* free ↔ owned. Records are never freed before their domain, so anybody may
//! walk them. A member that goes while a section of it is still open leaves its record *orphaned*,
//! and the end of that section frees it. A record's stacks and lists stay with it and serve the
//! next owner, or whoever collects.
//!
//! *Phases.* A flush must not return before everything retired before it is processed, though
//! others go on retiring. Batches are counted under the phase in which they were sealed, in
//! `outstanding[phase % 2]`. A flush seals every record's lists, waits for the phase before its own
//! to drain, moves the phase on, and waits for its own to drain. A member counts itself in
//! *before* it takes the list it seals and looks at the phase again behind a fence:
//!   - if its count comes first, the flush that ends this phase sees the count and waits;
//!   - else it sees the new phase, takes its count back and counts itself into that one.
//!
//! A list that a flush did not find was thus taken by a member that had counted itself in earlier
//! (the exchange that took the list orders the two), into a phase this flush waits for.
//!
//! *ABA.* Stacks are emptied as a whole (`stack.rs`); phases are compared in full, not modulo 2; grace
//! periods are never numbered twice.
//!
//! *Orderings* of grace periods: `grace.rs`. All others stand at their sites.
//!
//! *Progress.* `enter`: wait-free but for every 128th, which walks all members (crossbeam) and is
//! lock-free. Leaving: wait-free. `seal`: lock-free. `join`: lock-free, allocates. `synchronize` and
//! flushing block until other threads leave.
//!
//! *Memory.* crossbeam allocates a participant in `join` and a bag whenever something is pushed out: by
//! `step`, the end of a member, and when 64 pieces of its own garbage have come together. For
//! all but the last, memory is put by before (`reserve`): without it `join` and `synchronize` fail, a grace
//! period begins later, and a member has its bag for the end from the beginning.

use crate::alloc::{OutOfMemory, try_box};
use crate::error::WaitError;
use crate::mutant::{Mutant, active, fence_unless, relaxed_if};
use crate::reserve::{BAG, Block, COLLECTOR, PARTICIPANT, lend, lend_each, shared};
use crate::stack::Linked;
use crate::sync::{
    Arc, AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering, Padded, bump,
    thread_token,
};
use crossbeam_epoch as epoch;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ptr;

mod flush;
mod grace;
mod sealed;
pub(crate) use flush::Flush;
use grace::{Grace, Graces};
pub(crate) use sealed::Sealed;

/// What can wait for a grace period.
pub(crate) enum Garbage {
    /// Nothing (a batch before it is filled).
    None,
    /// `count` slots, linked from `head`. If `deferred`, their payloads are dropped only by those
    /// who ask for them.
    Slots { head: u32, count: u32, deferred: bool },
    /// Vacant slots whose memory was given back (never under way: lists of vacant slots travel in batches
    /// that have served).
    Range { first: u32, end: u32 },
    /// Memory to be freed by dropping it: what models retire. Held, not read.
    #[cfg(rtm_loom)]
    #[allow(dead_code)]
    Memory(Box<dyn Send>),
}

/// A unit of garbage under way.
pub(crate) struct Batch<S> {
    next: *mut Batch<S>,
    pub(crate) garbage: Garbage,
    /// Counted in `outstanding[phase % 2]` while sealed or ripe.
    phase: usize,
    /// Ripe when this is over.
    grace: Grace,
    marker: PhantomData<S>,
}

// SAFETY: a batch is owned by one thread at a time, with the stack it is on.
unsafe impl<S: Send + Sync> Send for Batch<S> {}

impl<S> Batch<S> {
    pub(crate) fn new() -> Result<Box<Self>, OutOfMemory> {
        try_box(Batch {
            next: ptr::null_mut(),
            garbage: Garbage::None,
            phase: 0,
            grace: 0,
            marker: PhantomData,
        })
    }

    /// Marks a batch that is under way no more. Phases are below all marks, as they count up from 0.
    pub(crate) fn mark(&mut self, mark: usize) {
        self.phase = usize::MAX - mark;
    }

    pub(crate) fn has_mark(&self, mark: usize) -> bool {
        self.phase == usize::MAX - mark
    }
}

impl<S> Linked for Batch<S> {
    fn link(&mut self) -> &mut *mut Self {
        &mut self.next
    }
}

/// One member's place in the domain. `S` is what the layer above keeps per member.
pub(crate) struct Record<S> {
    next: *const Record<S>,
    pub(crate) owned: AtomicBool,
    /// The owner went while a section was open.
    orphaned: AtomicBool,
    /// Sections open. Written by the owner only.
    depth: AtomicU32,
    /// The thread that is inside a section, else 0.
    pub(crate) inside: AtomicUsize,
    /// The thread that runs drops for this member, else 0.
    dropping: AtomicUsize,
    /// Batches sealed here.
    pub(crate) sealed: Sealed<S>,
    /// Batches that the owner has sealed since it last found some of them ripe (of deferred ones it does not
    /// hear), and the grace period that it began last. Owner only.
    pub(crate) waiting: AtomicU64,
    begun: AtomicU64,
    /// The limit of the backlog that was found far away; the owner does not look again until it seals, needs new
    /// slots, or frees one that references have kept. Owner only.
    pub(crate) roomy: AtomicU64,
    pub(crate) state: S,
}

// SAFETY: `next` is written before the record is published and never again; what it points to is
// Sync for the same reason.
unsafe impl<S: Send + Sync> Send for Record<S> {}
// SAFETY: as above.
unsafe impl<S: Send + Sync> Sync for Record<S> {}

/// Everything of a domain that deferred functions may touch.
pub(crate) struct Shared<S> {
    records: AtomicPtr<Padded<Record<S>>>,
    phase: AtomicUsize,
    /// The registry has gone; members may be let go.
    closed: AtomicBool,
    /// Sealed batches whose payloads are dropped only by those who ask for them.
    pub(crate) deferred: Padded<Sealed<S>>,
    graces: Padded<Graces>,
    accounts: Padded<Accounts>,
}

/// What is counted for each batch, on one line.
struct Accounts {
    outstanding: [AtomicUsize; 2],
    backlog: AtomicU64,
    peak: AtomicU64,
    reclaimed: AtomicU64,
    /// Somebody waits for this grace period.
    wanted: AtomicU64,
}

impl<S> Shared<S> {
    /// Every record, owned or free.
    pub(crate) fn records(&self) -> impl Iterator<Item = &Record<S>> {
        // Acquire: pairs with the release in `Domain::join` that published the record.
        let order = relaxed_if(Mutant::RecordFoundRelaxed, Ordering::Acquire);
        let mut next = self.records.load(order).cast_const();
        std::iter::from_fn(move || {
            // SAFETY: records live as long as `self`; the pointer is null or one of them.
            let record = unsafe { next.as_ref() }?;
            next = record.next.cast();
            Some(&record.0)
        })
    }

    /// Slots that are retired, sealed and not yet processed.
    #[inline]
    pub(crate) fn backlog(&self) -> u64 {
        self.accounts.backlog.load(Ordering::Relaxed)
    }

    /// The most that has waited at once, as far as somebody has looked; so many do now.
    pub(crate) fn peak(&self, now: u64) -> u64 {
        self.accounts.peak.fetch_max(now, Ordering::Relaxed).max(now)
    }

    pub(crate) fn reclaimed(&self) -> u64 {
        self.accounts.reclaimed.load(Ordering::Relaxed)
    }

    /// Threads inside a section.
    pub(crate) fn inside(&self) -> usize {
        self.records().filter(|record| record.inside.load(Ordering::Relaxed) != 0).count()
    }

    /// Counts one batch into the current phase and says which that is.
    pub(crate) fn count_in(&self) -> usize {
        loop {
            let phase = self.phase.load(Ordering::Relaxed);
            self.accounts.outstanding[phase % 2].fetch_add(1, Ordering::Relaxed);
            // Fence: partner is the one in `begin_flush`. If our count comes first in the total
            // order of the fences, the flush sees it; else we see its phase below.
            fence_unless(Mutant::CountInWithoutFence, Ordering::SeqCst);
            if self.phase.load(Ordering::Relaxed) == phase || active(Mutant::SealWithoutRecheck) {
                return phase;
            }
            self.count_out(phase);
        }
    }

    pub(crate) fn count_out(&self, phase: usize) {
        // Release: `drained`, seeing the count gone, sees what was done to the batch.
        let order = relaxed_if(Mutant::CountOutRelaxed, Ordering::Release);
        self.accounts.outstanding[phase % 2].fetch_sub(1, order);
    }

    fn drained(&self, phase: usize) -> bool {
        // Acquire: partner is `count_out`.
        let order = relaxed_if(Mutant::DrainedRelaxed, Ordering::Acquire);
        self.accounts.outstanding[phase % 2].load(order) == 0
    }

    /// Notes that the last `slots` of a batch have been processed. The box may serve again.
    pub(crate) fn finish(&self, batch: &mut Batch<S>, slots: u32) {
        self.note_processed(slots);
        batch.garbage = Garbage::None;
        self.count_out(batch.phase);
    }

    /// Notes that `slots` of a batch have been processed.
    pub(crate) fn note_processed(&self, slots: u32) {
        self.accounts.backlog.fetch_sub(slots.into(), Ordering::Relaxed);
        self.accounts.reclaimed.fetch_add(slots.into(), Ordering::Relaxed);
        crate::probes::reclaim(slots, &self.accounts.backlog);
    }

    /// Whether the calling thread is inside a section of any member.
    pub(crate) fn is_inside(&self) -> bool {
        let me = thread_token();
        // Relaxed: only our own stores can hold our own token.
        self.records().any(|record| record.inside.load(Ordering::Relaxed) == me)
    }

    /// Refuses a wait that the calling thread would itself keep from ending.
    pub(crate) fn may_wait(&self) -> Result<(), WaitError> {
        let me = thread_token();
        for record in self.records() {
            // Relaxed: only our own stores can hold our own token.
            if record.dropping.load(Ordering::Relaxed) == me {
                return Err(WaitError::InsideDrop);
            }
            if record.inside.load(Ordering::Relaxed) == me {
                return Err(WaitError::InsideSection);
            }
        }
        Ok(())
    }
}

impl<S> Drop for Shared<S> {
    fn drop(&mut self) {
        // Acquire: as in `records`.
        let mut next = self.records.load(Ordering::Acquire);
        while !next.is_null() {
            // SAFETY: `self` is going, so nobody else reaches its records; each came from a box.
            let record = unsafe { Box::from_raw(next) };
            next = record.next.cast::<Padded<Record<S>>>().cast_mut();
        }
    }
}

/// One registry's collector.
pub(crate) struct Domain<S> {
    collector: epoch::Collector,
    shared: Arc<Shared<S>>,
}

impl<S: Default + Send + Sync + 'static> Domain<S> {
    pub(crate) fn new() -> Result<Self, OutOfMemory> {
        let all = Shared {
            records: AtomicPtr::new(ptr::null_mut()),
            phase: AtomicUsize::new(2),
            closed: AtomicBool::new(false),
            deferred: Padded(Sealed::default()),
            graces: Padded(Graces { begun: AtomicU64::new(0), over: AtomicU64::new(0) }),
            accounts: Padded(Accounts {
                outstanding: [AtomicUsize::new(0), AtomicUsize::new(0)],
                backlog: AtomicU64::new(0),
                peak: AtomicU64::new(0),
                reclaimed: AtomicU64::new(0),
                wanted: AtomicU64::new(0),
            }),
        };
        let _loans = lend_each([COLLECTOR, BAG, shared::<Shared<S>>()])?;
        Ok(Domain { collector: epoch::Collector::new(), shared: Arc::new(all) })
    }

    pub(crate) fn shared(&self) -> &Shared<S> {
        &self.shared
    }

    /// Distinguishes this domain from every other as long as anybody holds a member of it.
    pub(crate) fn id(&self) -> *const () {
        ptr::from_ref::<Shared<S>>(&self.shared).cast()
    }

    /// A new member, on a free record if there is one.
    pub(crate) fn join(&self) -> Result<Local<S>, OutOfMemory> {
        let last_bag = Block::bag()?;
        let record = match self.shared.records().find(|record| record.take_over()) {
            Some(record) => ptr::from_ref(record),
            None => self.new_record()?,
        };
        let Ok(_loan) = lend(PARTICIPANT) else {
            // SAFETY: records live as long as `shared`.
            unsafe { &*record }.give_up();
            return Err(OutOfMemory);
        };
        let handle = ManuallyDrop::new(self.collector.register());
        Ok(Local { shared: self.shared.clone(), record, handle, last_bag })
    }

    fn new_record(&self) -> Result<*const Record<S>, OutOfMemory> {
        let mut record = try_box(Padded(Record {
            next: ptr::null(),
            owned: AtomicBool::new(true),
            orphaned: AtomicBool::new(false),
            depth: AtomicU32::new(0),
            inside: AtomicUsize::new(0),
            dropping: AtomicUsize::new(0),
            sealed: Sealed::default(),
            waiting: AtomicU64::new(0),
            begun: AtomicU64::new(0),
            roomy: AtomicU64::new(u64::MAX),
            state: S::default(),
        }))?;
        let mut head = self.shared.records.load(Ordering::Relaxed);
        loop {
            record.0.next = head.cast_const().cast();
            let raw = Box::into_raw(record);
            // Release: pairs with the acquire in `records`.
            let order = relaxed_if(Mutant::RecordRelaxed, Ordering::Release);
            match self.shared.records.compare_exchange_weak(head, raw, order, Ordering::Relaxed) {
                Ok(_) => {
                    // SAFETY: `raw` is published and lives as long as `shared`.
                    return Ok(unsafe { &raw const (*raw).0 });
                }
                Err(now) => {
                    head = now;
                    // SAFETY: the exchange failed, so `raw` is still ours alone.
                    record = unsafe { Box::from_raw(raw) };
                }
            }
        }
    }
}

impl<S> Drop for Domain<S> {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Relaxed);
    }
}

impl<S> Record<S> {
    /// Makes a record that has no owner the caller's.
    fn take_over(&self) -> bool {
        // Acquire: pairs with the release in `give_up`; the new owner sees the lists as the old one left
        // them.
        let order = relaxed_if(Mutant::TakeOverRelaxed, Ordering::Acquire);
        !self.owned.load(Ordering::Relaxed)
            && self.owned.compare_exchange(false, true, order, Ordering::Relaxed).is_ok()
    }

    /// Makes the record free for the next member.
    fn give_up(&self) {
        self.orphaned.store(false, Ordering::Relaxed);
        // Set if what ran drops was leaked.
        self.dropping.store(0, Ordering::Relaxed);
        // Release: pairs with the acquire in `Domain::join`.
        self.owned.store(false, relaxed_if(Mutant::GiveUpRelaxed, Ordering::Release));
    }

    /// Runs `f` as the owner of a record that has none; not at all if it has one.
    pub(crate) fn as_owner(&self, f: impl FnOnce(&S)) {
        if self.take_over() {
            f(&self.state);
            self.give_up();
        }
    }

    /// Whether this member runs drops just now.
    #[inline]
    pub(crate) fn is_dropping(&self) -> bool {
        self.dropping.load(Ordering::Relaxed) != 0
    }

    /// Marks the calling thread as running drops for this member.
    pub(crate) fn dropping(&self) -> Dropping<'_> {
        let before = self.dropping.load(Ordering::Relaxed);
        self.dropping.store(thread_token(), Ordering::Relaxed);
        Dropping { place: &self.dropping, before }
    }
}

/// While it exists, waits of the thread that made it are refused.
pub(crate) struct Dropping<'a> {
    place: &'a AtomicUsize,
    before: usize,
}

impl Drop for Dropping<'_> {
    fn drop(&mut self) {
        self.place.store(self.before, Ordering::Relaxed);
    }
}

/// A membership: used by one thread at a time.
pub(crate) struct Local<S> {
    shared: Arc<Shared<S>>,
    record: *const Record<S>,
    handle: ManuallyDrop<epoch::LocalHandle>,
    /// For the handle's end.
    last_bag: Option<Block>,
}

// SAFETY: a crossbeam participant does not know which thread uses it; what it must not see is two
// at a time, and `Local` is not Sync. No section can be open while it is moved: a `Section` is not
// Send and borrows the registry's member.
unsafe impl<S: Send + Sync> Send for Local<S> {}

impl<S: Send + Sync + 'static> Local<S> {
    #[inline(always)]
    pub(crate) fn record(&self) -> &Record<S> {
        // SAFETY: records live as long as `shared`, which `self` holds.
        unsafe { &*self.record }
    }

    #[inline(always)]
    pub(crate) fn shared(&self) -> &Shared<S> {
        &self.shared
    }

    pub(crate) fn id(&self) -> *const () {
        ptr::from_ref::<Shared<S>>(&self.shared).cast()
    }

    /// Whether the registry has gone.
    pub(crate) fn is_closed(&self) -> bool {
        self.shared.closed.load(Ordering::Relaxed)
    }

    /// Enters a section of `domain`, of which this must be a member.
    #[inline(always)]
    pub(crate) fn enter<'a>(&self, domain: &'a Domain<S>) -> Section<'a, S> {
        debug_assert_eq!(self.id(), ptr::from_ref::<Shared<S>>(&domain.shared).cast());
        // SAFETY: records live as long as `shared`, which `domain` holds too.
        let record: &'a Record<S> = unsafe { &*self.record };
        let depth = record.depth.load(Ordering::Relaxed);
        // Wraps after 2^32 leaked guards, at the cost of the figures; crossbeam counts them on its own.
        record.depth.store(depth.wrapping_add(1), Ordering::Relaxed);
        if depth == 0 {
            record.inside.store(thread_token(), Ordering::Relaxed);
        }
        Section { pin: self.handle.pin(), inside: Inside { record } }
    }

    /// Pins for the length of one operation of ours, unseen by `may_wait`.
    #[inline(always)]
    pub(crate) fn pin(&self) -> Pinned {
        Pinned(self.handle.pin())
    }

    /// Seals what `take` takes out of some record's list: it becomes ripe on this member's record
    /// when everybody inside now has left. Says whether there was anything.
    pub(crate) fn seal(
        &self,
        batch: Box<Batch<S>>,
        take: impl FnOnce() -> Option<Garbage>,
    ) -> bool {
        let mut phase = self.shared.count_in();
        if active(Mutant::CountInLate) {
            self.shared.count_out(phase);
        }
        let taken = take();
        if active(Mutant::CountInLate) {
            phase = self.shared.count_in();
        }
        let Some(garbage) = taken else {
            self.shared.count_out(phase);
            return false;
        };
        self.seal_in(batch, phase, garbage);
        true
    }

    /// As `seal`, for a batch that has been counted into `phase`.
    pub(crate) fn seal_in(&self, mut batch: Box<Batch<S>>, phase: usize, garbage: Garbage) {
        let (shared, record) = (self.shared(), self.record());
        if let Garbage::Slots { count, .. } = garbage {
            let (count, accounts) = (u64::from(count), &shared.accounts);
            let backlog = accounts.backlog.fetch_add(count, Ordering::Relaxed) + count;
            accounts.peak.fetch_max(backlog, Ordering::Relaxed);
        }
        let deferred = matches!(garbage, Garbage::Slots { deferred: true, .. });
        batch.garbage = garbage;
        batch.phase = phase;
        batch.grace = if active(Mutant::RipenAtOnce) { 0 } else { shared.next_grace() };
        bump(&record.waiting, 1);
        let sealed = if deferred { &*shared.deferred } else { &record.sealed };
        sealed.push(batch);
        record.roomy.store(u64::MAX, Ordering::Relaxed);
        self.push_on();
    }
}

impl<S> Drop for Local<S> {
    fn drop(&mut self) {
        // SAFETY: records live as long as `shared`, which `self` holds.
        let record = unsafe { &*self.record };
        if record.depth.load(Ordering::Relaxed) != 0 && !active(Mutant::RecordReusedInside) {
            // A guard outlives its member (thread-local destructors run in any order): the guard's
            // drop frees the record.
            record.orphaned.store(true, Ordering::Relaxed);
        } else {
            record.give_up();
        }
        let _loan = self.last_bag.take().map(Block::lend);
        // SAFETY: dropped once, here.
        unsafe { ManuallyDrop::drop(&mut self.handle) };
    }
}

/// Proof that the member is inside.
pub(crate) struct Section<'a, S> {
    // Dropped in this order: first the pin goes, then the record says so.
    pin: epoch::Guard,
    inside: Inside<'a, S>,
}

struct Inside<'a, S> {
    record: &'a Record<S>,
}

impl<S> Drop for Inside<'_, S> {
    #[inline(always)]
    fn drop(&mut self) {
        let record = self.record;
        let depth = record.depth.load(Ordering::Relaxed).wrapping_sub(1);
        record.depth.store(depth, Ordering::Relaxed);
        if depth == 0 {
            record.inside.store(0, Ordering::Relaxed);
            if record.orphaned.load(Ordering::Relaxed) {
                record.give_up();
            }
        }
    }
}

impl<S> Section<'_, S> {
    /// Lets go of everything read so far and goes on inside. Without effect unless this is the
    /// member's only section.
    #[inline]
    pub(crate) fn refresh(&mut self) {
        self.pin.repin();
    }

    /// How many sections of this member are open.
    #[inline]
    pub(crate) fn depth(&self) -> u32 {
        self.inside.record.depth.load(Ordering::Relaxed)
    }
}

/// Proof that memory read now stays. Unlike a [`Section`] it is not seen by `may_wait`.
pub(crate) struct Pinned(#[allow(dead_code)] epoch::Guard);

/// Anything that keeps what it reads from being reclaimed.
pub(crate) trait Protects {}
impl Protects for Pinned {}
impl<S> Protects for Section<'_, S> {}
