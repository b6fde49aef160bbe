//! Giving memory back to the system: that of blocks of slots none of which is in use.
//!
//! *Roles.* One thread trims at a time. It looks for *candidates* in the words: blocks all of whose slots are
//! vacant. Then it goes through the lists of vacant slots that nobody has at hand (the spare lists of all
//! members, the free lists of members without an owner, and its own), takes the slots of candidates out of
//! them, and puts the others back at once. What it has taken is its own (I2).
//! *States of a block.* In use; candidate; *whole*, when the thread has all of its slots; *given back*: its
//! slots are part of a range and of no list, for the links in them are gone; in use again, when a member takes
//! it out of the range. Its words have stayed, and with them the generations: no handle comes back to life
//! (I3). The slots of a candidate that does not become whole go back into lists.
//! *What others see.* A lookup stops at the word. A plain copy that is under way reads the old information,
//! or zero bytes, or some of each; and then a later generation, so that it reports nothing.
//! *What others have.* Only half of the candidates are taken at a time, lists only in small groups, and ranges
//! not at all. So members that run out of slots meanwhile find some; if they need more, they add a chunk.
//! *Huge pages* go whole where they can. Where most of one can go it is split, for good until it is mostly in
//! use at a later trim: otherwise the kernel would sooner or later fill it up again.
//! *Orderings.* The release fence before slots are given back is partner of the acquire fences in `copy` and
//! `tenant`, as the one in `fill` is: whoever has read anything of what came later sees the generations of
//! before. (Outside loom the system takes the memory away, which orders more than that.)
//! *Progress.* Nobody waits: a second thread finds that there is nothing to do. It walks over all words and
//! a few times over the vacant slots.

use super::directory::Fixed;
use super::shard::{Freed, Shard, Sharded};
use super::word::{State, Word};
use super::{Place, Slab};
use crate::alloc::OutOfMemory;
use crate::handle::Config;
use crate::mutant::{Mutant, fence_unless};
use crate::reclamation::{Batch, Garbage, Local, Record};
use crate::stack::Chain;
use crate::sync::{AtomicBool, AtomicUsize, Ordering};
use std::ops::Range;

/// Lists that are taken out of a stack at a time.
const GROUP: usize = 64;

/// What is known of the blocks, each of `1 << BITS` slots.
struct Census {
    /// For each its slots that were taken, and whether it is a candidate.
    blocks: Vec<u8>,
    bits: u32,
}

const CANDIDATE: u8 = 0x80;

impl Census {
    /// A block is a part of a chunk; its slots can be counted in seven bits.
    const fn bits<C: Config>() -> u32 {
        if C::CHUNK_BITS < 6 { C::CHUNK_BITS } else { 6 }
    }

    fn of(&self, slot: u32) -> u8 {
        self.blocks[(slot >> self.bits) as usize]
    }

    fn is_whole(&self, block: u32) -> bool {
        self.blocks[block as usize] == CANDIDATE | 1 << self.bits
    }

    fn is_candidate(&self, block: u32) -> bool {
        self.blocks[block as usize] & CANDIDATE != 0
    }

    fn candidates(&self) -> impl Iterator<Item = u32> {
        (0..self.blocks.len() as u32).filter(|block| self.is_candidate(*block))
    }

    /// All blocks in two parts with about as many candidates each.
    fn halves(&self) -> [Range<u32>; 2] {
        let middle = self.candidates().count().div_ceil(2);
        let end = self.blocks.len() as u32;
        let middle = self.candidates().nth(middle).unwrap_or(end);
        [0..middle, middle..end]
    }

    fn blocks_of(&self, slots: &Range<u32>) -> Range<usize> {
        let end = (slots.end.div_ceil(1 << self.bits) as usize).min(self.blocks.len());
        (slots.start >> self.bits) as usize..end
    }

    /// The share of these slots that are in candidates, in percent.
    fn vacancy(&self, slots: &Range<u32>) -> usize {
        let blocks = &self.blocks[self.blocks_of(slots)];
        let candidates = blocks.iter().filter(|block| **block & CANDIDATE != 0).count();
        candidates * 100 / blocks.len().max(1)
    }

    /// These are not to be taken.
    fn spare(&mut self, slots: &Range<u32>) {
        let blocks = self.blocks_of(slots);
        self.blocks[blocks].fill(0);
    }

    /// The slots of whole blocks of this part that lie together.
    fn runs(&self, part: Range<u32>) -> impl Iterator<Item = Range<u32>> {
        let mut whole = part.filter(|block| self.is_whole(*block)).peekable();
        std::iter::from_fn(move || {
            let first = whole.next()?;
            let mut end = first + 1;
            while whole.next_if_eq(&end).is_some() {
                end += 1;
            }
            Some(first << self.bits..end << self.bits)
        })
    }
}

/// Whether a thread trims, and a number for each pass over the lists.
#[derive(Default)]
pub(super) struct Trimming {
    busy: AtomicBool,
    passes: AtomicUsize,
}

struct Alone<'a>(&'a Trimming);

impl Trimming {
    fn begin(&self) -> Option<Alone<'_>> {
        // Relaxed: it keeps two threads from taking too much, no more.
        (!self.busy.swap(true, Ordering::Relaxed)).then_some(Alone(self))
    }
}

impl Alone<'_> {
    fn next_pass(&self) -> usize {
        self.0.passes.fetch_add(1, Ordering::Relaxed)
    }
}

impl Drop for Alone<'_> {
    fn drop(&mut self) {
        self.0.busy.store(false, Ordering::Relaxed);
    }
}

/// Slots on their way from lists into lists, and into ranges.
struct Sorting<'a, F: Fixed, T, C: Config, S: Sharded> {
    slab: &'a Slab<F, T, C>,
    shard: &'a Shard<S>,
    census: Census,
    /// The blocks whose candidates are taken.
    part: Range<u32>,
    /// Marks lists that have been gone through.
    stamp: usize,
    taken: Freed<'a>,
    rest: Freed<'a>,
    carriers: Chain<Batch<S>>,
}

impl<'a, F: Fixed, T: Send + Sync, C: Config, S: Sharded> Sorting<'a, F, T, C, S> {
    /// Goes through a list that is the caller's.
    fn sort(&mut self, head: u32, count: u32) {
        for place in self.slab.linked(head, count) {
            let number = place.number;
            if self.part.contains(&(number >> self.census.bits))
                && self.census.of(number) & CANDIDATE != 0
            {
                self.census.blocks[(number >> self.census.bits) as usize] += 1;
                self.taken.add(place);
            } else {
                self.keep(place);
            }
        }
    }

    /// Puts a slot back, in time.
    fn keep(&mut self, place: Place<'a, F, T>) {
        self.rest.add(place);
        if self.rest.count() >= 2 * C::MAGAZINE
            && let Some(mut list) = self.carriers.next().or_else(|| Batch::new().ok())
            && let Some((head, count)) = std::mem::replace(&mut self.rest, Freed::NONE).end()
        {
            list.garbage = Garbage::Slots { head, count, deferred: false };
            list.mark(self.stamp);
            self.slab.put_spare(self.shard, list);
        }
    }

    /// Goes through the spare lists of a member.
    fn sort_spares(&mut self, record: &'a Record<S>) {
        let mut groups = 0..usize::MAX;
        while groups.next().is_some() {
            let (group, left) = self.take_group(record);
            // Others may put more and more there.
            groups.end = groups.end.min(groups.start + left.div_ceil(GROUP));
            for mut list in group {
                let garbage = std::mem::replace(&mut list.garbage, Garbage::None);
                self.carriers.push(list);
                if let Garbage::Slots { head, count, .. } = garbage {
                    self.sort(head, count);
                }
            }
        }
    }

    /// Some of the spare lists that have not been gone through, and how many more there are.
    fn take_group(&self, record: &Record<S>) -> (Chain<Batch<S>>, usize) {
        let mut all = 0;
        let group = self.slab.pick_spares(record.state.shard(), |list| {
            let is_new =
                matches!(list.garbage, Garbage::Slots { .. }) && !list.has_mark(self.stamp);
            all += usize::from(is_new);
            is_new && all <= GROUP
        });
        (group, all.saturating_sub(GROUP))
    }

    /// Gives whole blocks back, and puts all other slots that were taken into lists.
    fn finish(&mut self) -> Result<usize, OutOfMemory> {
        // One carrier for each run, before anything is changed.
        let (mut carriers, mut prepared) = (Chain::empty(), Ok(()));
        for _ in self.census.runs(self.part.clone()) {
            match self.carriers.next().map_or_else(Batch::new, Ok) {
                Ok(carrier) => carriers.push(carrier),
                Err(OutOfMemory) => {
                    prepared = Err(OutOfMemory);
                    break;
                }
            }
        }
        let taken = std::mem::replace(&mut self.taken, Freed::NONE).end();
        for place in taken.into_iter().flat_map(|(head, count)| self.slab.linked(head, count)) {
            if prepared.is_err() || !self.census.is_whole(place.number >> self.census.bits) {
                self.keep(place);
            }
        }
        let mut bytes = 0;
        if prepared.is_ok() {
            bytes = self.give_back(carriers);
        }
        // What is left is no whole list.
        std::mem::replace(&mut self.rest, Freed::NONE).put(self.shard);
        prepared.map(|()| bytes)
    }

    fn give_back(&mut self, mut carriers: Chain<Batch<S>>) -> usize {
        let (slab, mut bytes, mut next) = (self.slab, 0, self.part.start);
        loop {
            let run = self.census.runs(next..self.part.end).next();
            let Some(run) = run else { break };
            next = run.end >> self.census.bits;
            // Fence: partners are the acquire fences in `copy` and `tenant`. The generations come before the
            // zeros.
            fence_unless(Mutant::GiveBackWithoutFence, Ordering::Release);
            match (slab.directory.give_back(run.clone()), carriers.next()) {
                (Some(given), Some(mut carrier)) => {
                    bytes += given;
                    carrier.garbage = Garbage::Range { first: run.start, end: run.end };
                    slab.put_spare(self.shard, carrier);
                }
                // The system does not take it.
                _ => run.for_each(|number| self.keep(slab.existing(number))),
            }
        }
        bytes
    }
}

impl<F: Fixed, T: Send + Sync, C: Config> Slab<F, T, C> {
    /// Gives back what can be given back, and says how many bytes.
    pub(crate) fn trim<S: Sharded>(&self, local: &Local<S>) -> Result<usize, OutOfMemory> {
        let Some(alone) = self.trimming.begin() else { return Ok(0) };
        let shard = local.record().state.shard();
        let census = self.take_census()?;
        let halves = census.halves();
        let mut sorting = Sorting {
            slab: self,
            shard,
            census,
            part: 0..0,
            stamp: 0,
            taken: Freed::NONE,
            rest: Freed::NONE,
            carriers: Chain::empty(),
        };
        let mut bytes = 0;
        for part in halves {
            if part.is_empty() {
                continue;
            }
            (sorting.part, sorting.stamp) = (part, alone.next_pass());
            let (head, count) = shard.unload();
            sorting.sort(head, count);
            for record in local.shared().records() {
                record.as_owner(|state| {
                    let (head, count) = state.shard().unload();
                    sorting.sort(head, count);
                });
                sorting.sort_spares(record);
            }
            match sorting.finish() {
                Ok(given) => bytes += given,
                Err(OutOfMemory) if bytes == 0 => return Err(OutOfMemory),
                Err(OutOfMemory) => break,
            }
        }
        Ok(bytes)
    }

    /// Which blocks are vacant, as their words say just now. Those in huge pages that are mostly in use are not
    /// candidates.
    fn take_census(&self) -> Result<Census, OutOfMemory> {
        let bits = Census::bits::<C>();
        let count = (self.directory.chunks() << (C::CHUNK_BITS - bits)) as usize;
        let mut blocks = Vec::new();
        blocks.try_reserve_exact(count).map_err(|_| OutOfMemory)?;
        let vacant = |number: u32| {
            // Relaxed: a hint.
            let word = self.directory.slot(number).map(|(word, _)| word.load(Ordering::Relaxed));
            word.is_some_and(|word| Word(word).state() == State::Vacant)
        };
        blocks.extend((0..count as u32).map(|block| {
            let mut slots = block << bits..(block + 1) << bits;
            if slots.all(vacant) { CANDIDATE } else { 0 }
        }));
        let mut census = Census { blocks, bits };
        // Others may add chunks meanwhile.
        for slots in self.directory.huge_pages((count as u32) << bits) {
            let vacancy = census.vacancy(&slots);
            if vacancy < 25 {
                self.directory.mend(slots.start);
            }
            if vacancy < 50 {
                census.spare(&slots);
            }
        }
        Ok(census)
    }

    /// The slots of a list that is the caller's.
    fn linked(&self, head: u32, count: u32) -> impl Iterator<Item = Place<'_, F, T>> {
        let mut next = head;
        (0..count).map(move |_| {
            let place = self.existing(next);
            next = place.slot.link.load(Ordering::Relaxed);
            place
        })
    }
}
