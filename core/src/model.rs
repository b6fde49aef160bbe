//! The parts of this crate one by one, for the models in `loom-tests`.
//!
//! Thin: every method is one call into the part it names, so that a model drives what ships. Compiled
//! under `rtm_loom` alone and no part of the API.

use crate::alloc::try_box;
use crate::handle::{Config, Kind, Token, mix};
use crate::member::Member;
use crate::reclamation::{self, Batch, Flush, Garbage};
use crate::slab::{self, Fixed};
use crate::stack::{self, Linked};
use crate::sync::{Arc, AtomicU32, AtomicU64, Ordering};
use crate::{dispatch, index, journal, limits};
use std::ptr;

mod ending;
mod events;
mod slots;
pub use ending::*;
pub use events::*;
pub use slots::*;

// --- Reclamation ---

/// A collector with its members.
pub struct Domain(reclamation::Domain<Member>);

impl Domain {
    /// A domain without members.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Domain {
        Domain(reclamation::Domain::new().expect("memory for a domain"))
    }

    /// A new member.
    pub fn join(&self) -> Seat {
        Seat(self.0.join().expect("memory for a member"))
    }

    /// Slots sealed and not yet processed.
    pub fn backlog(&self) -> u64 {
        self.0.shared().backlog()
    }

    /// Members inside a section.
    pub fn inside(&self) -> usize {
        self.0.shared().inside()
    }

    /// Places for members, owned or free.
    pub fn records(&self) -> usize {
        self.0.shared().records().count()
    }

    /// Counts a batch into the current phase, as the first half of sealing does.
    pub fn count_in(&self) -> usize {
        self.0.shared().count_in()
    }

    /// Counts a processed batch out.
    pub fn count_out(&self, phase: usize) {
        self.0.shared().count_out(phase);
    }

    /// Begins a flush: everything is sealed.
    pub fn begin_flush(&self) -> Flushing {
        Flushing(Flush::begin(self.0.shared()))
    }
}

/// A flush under way.
pub struct Flushing(Flush);

impl Flushing {
    /// Whether everything sealed before is processed.
    pub fn is_over(&mut self, domain: &Domain) -> bool {
        self.0.is_over(domain.0.shared())
    }
}

/// A membership.
pub struct Seat(reclamation::Local<Member>);

impl Seat {
    /// Enters a section.
    pub fn enter<'d>(&self, domain: &'d Domain) -> Section<'d> {
        Section(self.0.enter(&domain.0))
    }

    /// Has `garbage` dropped after the grace period.
    pub fn retire(&self, garbage: Box<dyn Send>) {
        self.retire_found(|| Some(garbage));
    }

    /// As [`retire`](Seat::retire), for what `take` finds.
    pub fn retire_found(&self, take: impl FnOnce() -> Option<Box<dyn Send>>) {
        let batch = Batch::new().expect("memory for a batch");
        self.0.seal(batch, || take().map(Garbage::Memory));
    }

    /// Drops garbage from [`retire`](Seat::retire) that is ripe, whoever retired it.
    pub fn process(&self) {
        for record in self.0.shared().records() {
            for mut batch in self.0.shared().take_ripe(&record.sealed) {
                self.0.shared().finish(&mut batch, 0);
            }
        }
    }

    /// Lets the collector take a step.
    pub fn nudge(&self) {
        self.0.step().expect("memory for a bag");
    }

    /// Moves the epoch on if it can, and nothing else.
    pub fn help(&self) {
        self.0.nudge();
    }

    /// Waits for all sections that are open.
    pub fn synchronize(&self) {
        self.0.synchronize().expect("a wait that can end");
    }

    /// Where its record is, to see whether it is used again.
    pub fn place(&self) -> usize {
        ptr::from_ref(self.0.record()).addr()
    }
}

/// Sealed batches without a domain; all are ripe at once.
pub struct Sealed(reclamation::Sealed<Member>);

impl Sealed {
    /// None.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Sealed {
        Sealed(reclamation::Sealed::default())
    }

    /// Adds one.
    pub fn push(&self) {
        self.0.push(Batch::new().expect("memory for a batch"));
    }

    /// Takes all there are. Says how many.
    pub fn take(&self) -> usize {
        self.0.take_ripe(0).count()
    }
}

/// An open section.
pub struct Section<'d>(reclamation::Section<'d, Member>);

impl Section<'_> {
    /// Lets go of what was read, and goes on.
    pub fn refresh(&mut self) {
        self.0.refresh();
    }
}

// --- Index ---

/// The slots of an index without a slab. Looking at one that is being recycled is what loom sees.
struct Places {
    links: Vec<AtomicU64>,
    ids: Vec<AtomicU64>,
    canaries: Vec<loom::cell::UnsafeCell<()>>,
}

// SAFETY: loom watches the canaries.
unsafe impl Send for Places {}
// SAFETY: as above.
unsafe impl Sync for Places {}

impl index::Nodes for Places {
    fn link(&self, slot: u32) -> &AtomicU64 {
        self.canaries[slot as usize].with(|_| ());
        &self.links[slot as usize]
    }

    fn id(&self, slot: u32) -> u64 {
        self.canaries[slot as usize].with(|_| ());
        self.ids[slot as usize].load(Ordering::Relaxed)
    }
}

/// Recycles a slot when it is dropped.
struct Recycled(Arc<Places>, u32);

impl Drop for Recycled {
    fn drop(&mut self) {
        self.0.canaries[self.1 as usize].with_mut(|_| ());
    }
}

/// An id index with slots and a domain of its own.
pub struct Index<C: Config> {
    index: index::Index<C>,
    places: Arc<Places>,
    /// Who may use it.
    pub domain: Domain,
}

impl<C: Config> Index<C> {
    /// An empty index for objects in so many slots.
    pub fn new(slots: u64) -> Self {
        let places = Places {
            links: (0..slots).map(|_| AtomicU64::new(0)).collect(),
            ids: (0..slots).map(|_| AtomicU64::new(0)).collect(),
            canaries: (0..slots).map(|_| loom::cell::UnsafeCell::new(())).collect(),
        };
        Index {
            index: index::Index::new(0).expect("memory for an index"),
            places: Arc::new(places),
            domain: Domain::new(),
        }
    }

    /// The nth id whose key begins with these three bits.
    pub fn id(bits: u64, n: usize) -> u64 {
        let mut ids = (0..).filter(|id| mix(*id) >> 61 == bits);
        ids.nth(n).expect("there are many")
    }

    /// Takes an id for the object in `slot`. `false`: it is taken.
    pub fn insert(&self, seat: &Seat, id: u64, slot: u32) -> bool {
        self.places.ids[slot as usize].store(id, Ordering::Relaxed);
        self.index.insert(&*self.places, &seat.0, self.index.sight(id), self.node(slot)).is_ok()
    }

    /// Frees an id that the object in `slot` holds.
    pub fn remove(&self, seat: &Seat, id: u64, slot: u32) {
        self.index.remove(&*self.places, &seat.0, self.index.sight(id), self.node(slot));
    }

    fn node(&self, slot: u32) -> index::Node<'_> {
        index::Node { slot, link: &self.places.links[slot as usize] }
    }

    /// Lets the slot be used again after a grace period.
    pub fn retire(&self, seat: &Seat, slot: u32) {
        let recycled = try_box(Recycled(self.places.clone(), slot)).expect("memory");
        let batch = Batch::new().expect("memory for a batch");
        seat.0.seal(batch, || Some(Garbage::Memory(recycled)));
    }

    /// The slots of all entries.
    pub fn walk(&self, section: &Section<'_>) -> Vec<u32> {
        let mut walk = self.index.walk(&*self.places, &section.0);
        let (mut room, mut all) = ([0], Vec::new());
        while walk.fill(&mut room) != 0 {
            all.push(room[0]);
        }
        all
    }

    /// Bytes of its buckets.
    pub fn bytes(&self) -> usize {
        self.index.bytes()
    }
}

// --- Stack ---

struct Node {
    next: *mut Node,
    value: loom::cell::UnsafeCell<u32>,
}

// SAFETY: a node is owned by one thread at a time.
unsafe impl Send for Node {}

impl Linked for Node {
    fn link(&mut self) -> &mut *mut Node {
        &mut self.next
    }
}

/// A stack of numbers whose nodes loom watches.
#[derive(Default)]
pub struct Stack(stack::Stack<Node>);

// SAFETY: nodes are Send.
unsafe impl Sync for Stack {}

impl Stack {
    /// Pushes a number.
    pub fn push(&self, value: u32) {
        let node = Node { next: ptr::null_mut(), value: loom::cell::UnsafeCell::new(value) };
        self.0.push(Box::new(node));
    }

    /// Takes everything, last pushed first.
    pub fn take(&self) -> Vec<u32> {
        let read = |node: Box<Node>| {
            // SAFETY: the node is ours; that nobody else has it is what loom checks here.
            node.value.with_mut(|value| unsafe { *value })
        };
        self.0.take().map(read).collect()
    }

    /// Takes the number pushed last, by taking everything and putting back the rest.
    pub fn take_one(&self) -> Option<u32> {
        let mut chain = self.0.take();
        let node = chain.next();
        self.0.put_back(chain);
        // SAFETY: as in `take`.
        node.map(|node| node.value.with_mut(|value| unsafe { *value }))
    }
}

// --- Credits ---

/// The credits that keep the limit on entities.
pub struct Credits {
    credits: limits::Credits,
    /// Who may use them.
    pub domain: Domain,
}

impl Credits {
    /// A pool of `limit` credits.
    pub fn new(limit: u32) -> Self {
        let domain = Domain::new();
        Credits { credits: limits::Credits::new(limit), domain }
    }

    /// Takes one; `None` if there is none, else whether it was charged.
    pub fn take(&self, seat: &Seat, batch: i64) -> Option<bool> {
        self.credits.take(&seat.0, batch)
    }

    /// Gives one back.
    pub fn give(&self, seat: &Seat, batch: i64, charged: bool) {
        self.credits.give(&seat.0, batch, charged);
    }

    /// Changes how many there are.
    pub fn set(&self, seat: &Seat, limit: u32) {
        self.credits.set(&seat.0, limit);
    }
}

// --- Journal ---

/// A journal of few entries. A note's id is its position's double, its kind the position modulo 16.
pub struct Journal(journal::Journal);

/// A position to be committed.
#[must_use]
pub struct Position(journal::Position);

/// What a reader finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// The note of this token.
    Note(u64),
    /// Nothing so far.
    NotYet,
    /// It was there, or will never be.
    Missed,
}

impl Journal {
    /// A journal of `entries` in blocks of 2^bits, `blocks` of them in all.
    pub fn new(entries: u64, bits: u32, blocks: usize) -> Self {
        Journal(journal::Journal::with_blocks(entries, bits, blocks).expect("memory for a journal"))
    }

    /// Takes the next position.
    pub fn reserve(&self) -> Position {
        Position(self.0.reserve())
    }

    /// Commits a note of `token`.
    pub fn commit(&self, at: Position, token: u64, holds: bool, mut release: impl FnMut(u64)) {
        let kind = (token % 16) as u8;
        let note = journal::Note {
            kind,
            token: Token::from_bits(token),
            id: token.wrapping_mul(2),
            holds,
        };
        self.0.commit(at.0, note, &mut |token| release(token.bits()));
    }

    /// Reserves and commits.
    pub fn append(&self, token: u64, holds: bool, release: impl FnMut(u64)) {
        self.commit(self.reserve(), token, holds, release);
    }

    /// The first position not reserved.
    pub fn tail(&self) -> u64 {
        self.0.tail()
    }

    /// The token of the note at a position, whose parts belong together.
    pub fn read(&self, at: u64) -> Read {
        match self.0.read(at) {
            journal::Read::Note(note) => {
                let token = note.token.bits();
                let whole = (u64::from(note.kind), note.id) == (token % 16, token.wrapping_mul(2));
                assert!(whole, "parts of two notes: {note:?}");
                Read::Note(token)
            }
            journal::Read::NotYet => Read::NotYet,
            journal::Read::Missed => Read::Missed,
        }
    }

    /// Everybody has consumed what is below.
    pub fn trim(&self, to: u64, mut release: impl FnMut(u64)) {
        self.0.trim(to, &mut |token| release(token.bits()));
    }

    /// Blocks made.
    pub fn blocks(&self) -> u64 {
        self.0.blocks()
    }
}

/// The blocks of a journal, without it.
pub struct Blocks(journal::Blocks);

impl Blocks {
    /// Room for `most` of one entry.
    pub fn new(most: usize) -> Self {
        Blocks(journal::Blocks::new(0, most).expect("memory for blocks"))
    }

    /// A block, spare or new, whose memory is there.
    pub fn take(&self) -> Option<u64> {
        let block = self.0.take()?;
        self.0.touch(block);
        Some(block)
    }

    /// Makes it spare.
    pub fn give(&self, block: u64) {
        self.0.give(block);
    }
}
