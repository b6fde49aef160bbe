//! The id index of one table: which ids are taken, and by which object.
//!
//! A split-ordered list (Shalev and Shavit, 2006; the list after Harris, 2001, and Michael, 2002): all
//! objects in one linked list, sorted by order, and buckets that lead into it. An order are the upper bits of a
//! key, a key is the id, mixed with a secret by a bijection: different ids have different keys. The
//! links of objects are words beside their slots; the index itself is its buckets. Growth adds buckets and
//! moves nothing. In a large index the insertions that follow put the new buckets into the list, some at a time, in
//! the order of their places: to meet an unused one costs several cache misses.
//!
//! *Roles.* Registrations insert, deregistrations remove, enumerations walk.
//!
//! *States.* An object is outside → linked → marked → unlinked, and stays so until its slot is used again.
//! Its link leads nowhere else once it is marked. A bucket (its word) is unused → claimed, while one thread puts it
//! into the list → in use, for ever: when it is in the list, by that thread or one that has come to it there. Until
//! it is in use, everybody begins at one before it that is, so nobody waits for that thread. That is the nearest
//! one, not the one it is split from: of these some have never been used either, nor have those that they are split
//! from, and one search in five hundred would pass more than a hundred objects while the index grows.
//!
//! *Paths.* Mostly the node before the place that is looked for is the bucket itself, and a link tells
//! the order of the node it leads to: one load, and one compare-exchange to insert; a mark more to remove. No
//! other object is touched. Else the list is searched, pinned, and marked objects on the way are unlinked.
//!
//! *Uniqueness.* An id has one place in the list: behind all nodes of its rank or less, and before the next. It
//! is inserted by a compare-exchange of the link between them, so two insertions of one id meet.
//!
//! *ABA and reclamation.* Buckets never go. A link from a bucket that has not changed, or has changed back,
//! leads to a node of the same rank: it is still right to insert before it. A link from an object may be
//! that of the next object in its slot, so objects are visited only under a pin: a slot is used again only after
//! a grace period that begins after its object was unlinked.
//!
//! *Orderings.* Links are read with acquire and changed by read-modify-writes with release: whoever follows
//! one sees the object as it was filled, and whoever finds an id free has seen what its last holder did.
//! A bucket on its way into the list is its one thread's, so it stores.
//!
//! *Progress.* Insert, remove and walk are lock-free, whatever happens to the thread that links a bucket. A search
//! steps over as many buckets as there are unused ones in a row, seldom more than a few.
//! Without memory to grow, searches become longer.

mod buckets;
mod link;

use crate::alloc::OutOfMemory;
use crate::handle::{Config, mix};
use crate::mutant::{Mutant, active, relaxed_if};
use crate::reclamation::{Local, Pinned, Protects};
use crate::sync::{AtomicU32, AtomicU64, Ordering, Padded, prefetch};
use buckets::{Buckets, MAX_LEVEL};
use link::{CLAIMED, IN_USE, Link, MARKED, Rank, UNUSED};
use std::marker::PhantomData;

/// Below this level there are two buckets for an object, from it on four for three.
const ROOMY_LEVEL: u32 = 16;
/// From this level on the buckets of an index do not stay in the nearest cache.
const LARGE_LEVEL: u32 = if cfg!(rtm_shuttle) { 3 } else { 13 };
/// Buckets ahead of a walk that are asked for, and whose first object is.
const AHEAD: u32 = 16;
const OBJECTS_AHEAD: u32 = 8;

/// Buckets of a large index that an insertion links, on the average, as long as there are unused ones. (In models
/// those alone that somebody needs.)
const LINKED: u32 = if cfg!(rtm_loom) { 0 } else { 2 };

/// The objects, known by the numbers of their slots.
pub(crate) trait Nodes {
    /// The word beside this slot. The index owns it while the object is in the list.
    fn link(&self, slot: u32) -> &AtomicU64;
    /// The id of the object in this slot.
    fn id(&self, slot: u32) -> u64;
}

/// An object by the number of its slot, with the word beside it.
#[derive(Clone, Copy)]
pub(crate) struct Node<'a> {
    pub(crate) slot: u32,
    pub(crate) link: &'a AtomicU64,
}

/// The id is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exists;

pub(crate) struct Index<C: Config> {
    buckets: Buckets,
    /// Of the ids whose keys end in `C::INDEX_SAMPLE` zeros: how many are taken. Apart from what every
    /// operation reads.
    counted: Padded<AtomicU64>,
    /// The next place whose bucket is linked before it is needed.
    linked: Padded<AtomicU32>,
    seed: u64,
    marker: PhantomData<C>,
}

/// An id, and where the search for it begins.
#[derive(Clone, Copy)]
pub(crate) struct Sight<'a> {
    key: u64,
    place: u32,
    bucket: &'a AtomicU64,
}

/// Where a node is, or would be: behind `before`, which leads to `link`.
#[derive(Clone, Copy)]
struct Spot<'a> {
    before: &'a AtomicU64,
    link: Link,
}

#[inline(always)]
fn load(word: &AtomicU64) -> Link {
    // Acquire: partners are `redirect`, `remove` and `link_bucket`.
    Link(word.load(relaxed_if(Mutant::LinkFoundRelaxed, Ordering::Acquire)))
}

impl<'a> Spot<'a> {
    #[inline(always)]
    fn behind(before: &'a AtomicU64) -> Spot<'a> {
        Spot { before, link: load(before) }
    }

    /// Makes the node before lead elsewhere, unless it has changed.
    #[inline(always)]
    fn redirect(self, to: Link) -> Result<(), Link> {
        // AcqRel: partner is `load`. Acquire also when it succeeds: the link may have changed and changed back.
        let order = relaxed_if(Mutant::LinkRelaxed, Ordering::AcqRel);
        (self.before)
            .compare_exchange(self.link.0, to.bare().0, order, Ordering::Acquire)
            .map_or_else(|now| Err(Link(now)), |_| Ok(()))
    }
}

impl<C: Config> Index<C> {
    /// Insertions of ids whose keys end in so many zeros link buckets, for the others, too.
    const LINK_SAMPLE: u32 = C::INDEX_SAMPLE.saturating_sub(2);

    pub(crate) fn new(seed: u64) -> Result<Self, OutOfMemory> {
        const { assert!(C::INDEX_LEVEL <= MAX_LEVEL && C::INDEX_SAMPLE <= u64::BITS) };
        let buckets = Buckets::new(C::INDEX_LEVEL)?;
        buckets.at(0).store(Link::END.0, Ordering::Relaxed);
        // Those of an index in the nearest cache can wait until somebody needs them: walks are shorter for it.
        let linked = Padded(AtomicU32::new(1 << (LARGE_LEVEL - 1)));
        let counted = Padded(AtomicU64::new(0));
        Ok(Index { buckets, counted, linked, seed, marker: PhantomData })
    }

    #[inline(always)]
    fn key(&self, id: u64) -> u64 {
        mix(id ^ self.seed)
    }

    /// Finds where the search for an id begins, and asks for the line.
    #[inline(always)]
    pub(crate) fn sight(&self, id: u64) -> Sight<'_> {
        let key = self.key(id);
        let (place, bucket) = self.buckets.of(key);
        prefetch(bucket);
        Sight { key, place, bucket }
    }

    /// Takes the id that is sighted for an object, unless it is taken. The object has been filled.
    #[inline(always)]
    pub(crate) fn insert<S: Send + Sync + 'static>(
        &self,
        nodes: &impl Nodes,
        local: &Local<S>,
        sight: Sight<'_>,
        node: Node<'_>,
    ) -> Result<(), Exists> {
        let spot = Spot::behind(sight.bucket);
        if self.insert_here(nodes, local, spot, sight, node).is_ok() {
            return Ok(());
        }
        self.insert_searching(nodes, local, sight, node)
    }

    /// Inserts behind `spot` as long as nothing is before the place that is sighted. If something is, says behind
    /// what the search goes on.
    #[inline(always)]
    fn insert_here<'a, S: Send + Sync + 'static>(
        &self,
        nodes: &impl Nodes,
        local: &Local<S>,
        mut spot: Spot<'a>,
        sight: Sight<'_>,
        node: Node<'_>,
    ) -> Result<(), Spot<'a>> {
        let rank = Rank::of_object(sight.key);
        while spot.link.leads_beyond(rank) {
            let this = Link::to(rank, node.slot);
            node.link.store(spot.link.bare().0, Ordering::Relaxed);
            if active(Mutant::InsertBlindly) {
                spot.before.store(this.0, Ordering::Release);
                self.count_in(nodes, local, sight);
                return Ok(());
            }
            match spot.redirect(this) {
                Ok(()) => {
                    self.count_in(nodes, local, sight);
                    return Ok(());
                }
                Err(now) => spot.link = now,
            }
        }
        Err(spot)
    }

    #[inline(never)]
    fn insert_searching<S: Send + Sync + 'static>(
        &self,
        nodes: &impl Nodes,
        local: &Local<S>,
        sight: Sight<'_>,
        node: Node<'_>,
    ) -> Result<(), Exists> {
        let rank = Rank::of_object(sight.key);
        let from = self.skip_buckets(self.begin(nodes, local, sight.place), rank);
        let Err(Spot { before, .. }) = self.insert_here(nodes, local, from, sight, node) else {
            return Ok(());
        };
        let pin = Self::pin(local);
        loop {
            let Some(spot) = self.search(nodes, &pin, before, rank, sight.key) else {
                return Err(Exists);
            };
            node.link.store(spot.link.bare().0, Ordering::Relaxed);
            if spot.redirect(Link::to(rank, node.slot)).is_ok() {
                self.count_in(nodes, local, sight);
                return Ok(());
            }
        }
    }

    /// Frees the id that is sighted, which the object must hold.
    #[inline(always)]
    pub(crate) fn remove<S: Send + Sync + 'static>(
        &self,
        nodes: &impl Nodes,
        local: &Local<S>,
        sight: Sight<'_>,
        node: Node<'_>,
    ) {
        let spot = Spot::behind(sight.bucket);
        let next = if active(Mutant::RemoveUnmarked) {
            load(node.link)
        } else {
            // Release: whoever finds the mark may take the id. Acquire: we pass on where it leads. Added, as it is set
            // once.
            let order = relaxed_if(Mutant::MarkRelaxed, Ordering::AcqRel);
            Link(node.link.fetch_add(MARKED, order))
        };
        self.count_out(sight);
        let is_first = spot.link == Link::to(Rank::of_object(sight.key), node.slot);
        if is_first && spot.redirect(next).is_ok() || active(Mutant::LeftLinked) {
            return;
        }
        self.unlink_searching(nodes, local, sight);
    }

    /// A search leaves nothing marked behind it.
    #[inline(never)]
    fn unlink_searching<S: Send + Sync + 'static>(
        &self,
        nodes: &impl Nodes,
        local: &Local<S>,
        sight: Sight<'_>,
    ) {
        let from = self.begin(nodes, local, sight.place).before;
        let pin = Self::pin(local);
        let _ = self.search(nodes, &pin, from, Rank::of_object(sight.key), sight.key);
    }

    fn pin<S: Send + Sync + 'static>(local: &Local<S>) -> Option<Pinned> {
        (!active(Mutant::SearchUnpinned)).then(|| local.pin())
    }

    /// Behind the bucket at this place, or the nearest before it that is in use.
    #[inline(always)]
    fn begin<'a, S: Send + Sync + 'static>(
        &'a self,
        nodes: &impl Nodes,
        local: &Local<S>,
        place: u32,
    ) -> Spot<'a> {
        let spot = Spot::behind(self.buckets.at(place));
        if spot.link.is_in_use() {
            return spot;
        }
        self.begin_before(nodes, local, place, spot.link)
    }

    #[cold]
    fn begin_before<'a, S: Send + Sync + 'static>(
        &'a self,
        nodes: &impl Nodes,
        local: &Local<S>,
        place: u32,
        found: Link,
    ) -> Spot<'a> {
        let mut before = place;
        let spot = loop {
            before = self.buckets.before(before);
            let spot = Spot::behind(self.buckets.at(before));
            // The bucket at 0 always is.
            if spot.link.is_in_use() {
                break spot;
            }
        };
        if found.0 == UNUSED && self.link_bucket(nodes, local, place, spot.before) {
            return Spot::behind(self.buckets.at(place));
        }
        spot
    }

    /// Puts the bucket into the list, unless somebody else does. `from` is a bucket before it.
    fn link_bucket<S: Send + Sync + 'static>(
        &self,
        nodes: &impl Nodes,
        local: &Local<S>,
        place: u32,
        from: &AtomicU64,
    ) -> bool {
        let word = self.buckets.at(place);
        let relaxed = Ordering::Relaxed;
        let taken = word.compare_exchange(UNUSED, CLAIMED, relaxed, relaxed);
        if taken.is_err() && !active(Mutant::BucketLinkedTwice) {
            return false;
        }
        let key = buckets::least_key(place);
        let rank = Rank::of_bucket(key);
        let pin = Self::pin(local);
        loop {
            let spot = self.search(nodes, &pin, from, rank, key);
            let spot = spot.expect("no object has a bucket's rank");
            let used = if active(Mutant::BucketUsedNew) { IN_USE } else { 0 };
            word.store(spot.link.bare().0 & !IN_USE | used, Ordering::Relaxed);
            if spot.redirect(Link::to(rank, place)).is_ok() {
                break;
            }
        }
        // Release: partner is `load`; what the search saw is seen. (No mutant: it takes three threads that
        // insert, link and find, more than loom gets through.)
        word.fetch_or(IN_USE, Ordering::Release);
        true
    }

    /// Goes on to the last bucket before `rank`, as long as there is no object in between.
    #[inline(always)]
    fn skip_buckets<'a>(&'a self, mut spot: Spot<'a>, rank: Rank) -> Spot<'a> {
        while spot.link.rank() < rank && spot.link.is_to_bucket() {
            spot = Spot::behind(self.buckets.at(spot.link.number()));
        }
        spot
    }

    /// The place for a node of this rank and key, behind `from`, which is a bucket before it. Unlinks what is
    /// marked on the way. `None`: an object with this key is in the list.
    fn search<'a, N: Nodes>(
        &'a self,
        nodes: &'a N,
        _pin: &'a Option<Pinned>,
        from: &'a AtomicU64,
        rank: Rank,
        key: u64,
    ) -> Option<Spot<'a>> {
        let mut spot = Spot::behind(from);
        loop {
            // Never marked: that of a bucket, or looked at below. If it is marked since, it cannot be redirected.
            if spot.link.rank() > rank {
                return Some(spot);
            }
            let number = spot.link.number();
            if spot.link.is_to_bucket() {
                spot = Spot::behind(self.buckets.at(number));
                continue;
            }
            let word = nodes.link(number);
            let next = load(word);
            if next.is_marked() {
                spot = match spot.redirect(next) {
                    Ok(()) => Spot { link: next.bare(), ..spot },
                    Err(_) => Spot::behind(from),
                };
                continue;
            }
            if spot.link.rank() == rank && self.key(nodes.id(number)) == key {
                return None;
            }
            spot = Spot { before: word, link: next };
        }
    }

    fn is_sampled(sight: Sight<'_>) -> bool {
        sight.key.trailing_zeros() >= C::INDEX_SAMPLE
    }

    #[inline(always)]
    fn count_in<S: Send + Sync + 'static>(
        &self,
        nodes: &impl Nodes,
        local: &Local<S>,
        sight: Sight<'_>,
    ) {
        if sight.key.trailing_zeros() >= Self::LINK_SAMPLE {
            if Self::is_sampled(sight) {
                self.count_sampled();
            }
            self.link_some(nodes, local);
        }
    }

    /// Links the buckets that come next in the order of their places, if there are any.
    #[cold]
    fn link_some<S: Send + Sync + 'static>(&self, nodes: &impl Nodes, local: &Local<S>) {
        let end = 1 << self.buckets.level();
        let first = self.linked.load(Ordering::Relaxed);
        if first >= end || LINKED == 0 {
            return;
        }
        let some = LINKED.checked_shl(Self::LINK_SAMPLE).unwrap_or(end);
        let next = end.min(first + some);
        let relaxed = Ordering::Relaxed;
        if self.linked.compare_exchange(first, next, relaxed, relaxed).is_err() {
            return;
        }
        // One for all.
        let _pin = Self::pin(local);
        // Where the search for a later one will begin. Not further than the last.
        let from = |place: u32| self.buckets.at(self.buckets.before(place.min(end - 1)));
        for place in first..next {
            prefetch(from(place + AHEAD));
            let link = load(from(place + OBJECTS_AHEAD));
            if link.is_in_use() && !link.is_to_bucket() {
                prefetch(nodes.link(link.number()));
            }
            let found = load(self.buckets.at(place));
            if found.0 == UNUSED {
                self.begin_before(nodes, local, place, found);
            }
        }
    }

    #[cold]
    fn count_sampled(&self) {
        let counted = self.counted.fetch_add(1, Ordering::Relaxed) + 1;
        let level = self.buckets.level();
        let room = if level < ROOMY_LEVEL { 1 << level >> 1 } else { 3 << level >> 2 };
        if counted << C::INDEX_SAMPLE > room {
            self.buckets.grow(level);
        }
    }

    #[inline(always)]
    fn count_out(&self, sight: Sight<'_>) {
        if Self::is_sampled(sight) {
            self.counted.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Walks everything that is in the index during the whole walk, and perhaps more, each object at most
    /// once. Objects may have gone, or not come yet, when they are shown: ask the slab.
    pub(crate) fn walk<'g, N: Nodes>(
        &'g self,
        nodes: &'g N,
        _guard: &'g impl Protects,
    ) -> Walk<'g, C, N> {
        Walk { index: self, nodes, level: self.buckets.level(), link: load(self.buckets.at(0)) }
    }

    /// Bytes held.
    pub(crate) fn bytes(&self) -> usize {
        self.buckets.bytes()
    }
}

/// A walk over an index. See [`Index::walk`].
pub(crate) struct Walk<'g, C: Config, N> {
    index: &'g Index<C>,
    nodes: &'g N,
    level: u32,
    link: Link,
}

impl<C: Config, N: Nodes> Walk<'_, C, N> {
    /// The slots of the next objects, as many as there is room for. 0: that was all.
    pub(crate) fn fill(&mut self, room: &mut [u32]) -> usize {
        let mut found = 0;
        while found < room.len() && !self.link.is_end() {
            let number = self.link.number();
            // Marked objects, too: where they lead the list goes on.
            self.link = if self.link.is_to_bucket() {
                self.ask_ahead(number);
                load(self.index.buckets.at(number))
            } else {
                room[found] = number;
                found += 1;
                load(self.nodes.link(number))
            };
        }
        found
    }

    /// The walk has come to this bucket: asks for those that come soon.
    #[inline(always)]
    fn ask_ahead(&self, place: u32) {
        if cfg!(rtm_loom) || self.level < LARGE_LEVEL {
            return;
        }
        let (buckets, step) = (&self.index.buckets, 1 << (u64::BITS - 1 - self.level) << 1);
        let key = buckets::least_key(place);
        let ahead = |count: u32| {
            let there = u64::from(count).checked_mul(step).and_then(|far| key.checked_add(far));
            there.map(|key| buckets.at(Buckets::place(self.level, key)))
        };
        if let Some(bucket) = ahead(AHEAD) {
            prefetch(bucket);
        }
        if let Some(bucket) = ahead(OBJECTS_AHEAD) {
            // Acquire: a slot that it leads to is open.
            let link = load(bucket);
            if link.is_in_use() && !link.is_to_bucket() {
                prefetch(self.nodes.link(link.number()));
            }
        }
    }
}

#[cfg(all(test, not(any(rtm_loom, rtm_shuttle))))]
mod tests;
