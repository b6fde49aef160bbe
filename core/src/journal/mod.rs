//! The journal: the latest notes of one routing table in one order, for readers that come when they
//! like.
//!
//! Bounded, with any number of writers and readers, none of whom ever waits for another. A reader
//! is a position that somebody else keeps; the journal knows none of them. A note may *hold* a
//! token (the slot of a departed entity, which is not to be used again while somebody may still
//! read of it); `release` is called for it exactly once, when the note has been trimmed, is
//! overwritten, or could not be entered.
//!
//! *Roles.* A *writer* reserves a position and commits its note, in two steps, so that it can
//! publish something between them; positions are the order of events. A *reader* asks for the note
//! at its position. The *trimmer*, one thread at a time, says what everybody has read. Anybody who
//! takes a hold calls `release`.
//!
//! *Layout.* Position p stands in entry p % 2^bits of block p >> bits, its *number*, and that at
//! place number % length of the ring. A place names the number it serves and the block that does:
//!
//! ```text
//!             first writer who needs it               writer of number + length (or more)
//!   empty --------------------------------> (number, block) --------> (number + length, block)
//!     ^                                            | |                                 |
//!     +--------------------------------------------+ +---- trimmer, past all of it ----+
//!                  trimmer: the block becomes spare
//! ```
//!
//! All are exchanges of one word, so a block is taken away by the trimmer or moved on by a writer,
//! never both: a writer who finds or makes a place serve its number or a later one has a block that
//! stays until the trimmer is past that writer's position. A journal whose readers keep up goes
//! round with three blocks, and one that is not trimmed fills the ring. Whose notes a block
//! contains is said by its entries (`entry.rs`), not by the place.
//!
//! *Paths.* Commit: the place serves our number or a later one → claim the entry. It serves an
//! older one → move it on. It is empty → a spare block, else a new one; of several writers one puts
//! its block in and the others make theirs spare. The writer of a block's first entry sees that one
//! block is spare. Overwriting the note one round older is normal. If the entry cannot be claimed
//! (newer note there, or a writer one round older stopped in the middle), or if there is no memory,
//! the note is *lost*: `lost` is raised past it, and every reader that stops before it is told that
//! it missed something. One who reserves before he publishes asks, behind publishing, whether the position
//! is *passed* ([`is_passed`](Journal::is_passed)): readers may have gone on without a note there, and looked
//! too early for what is published. Then he reserves another one.
//!
//! *Reading.* The entry says Ready or Holding with our position, twice: that is the note, whatever
//! the block serves by now. Else it is *missed* if `floor`, `lost`, or `tail` (more than the
//! capacity ahead) say so, and else *not yet* there. No conclusion is drawn from an entry with
//! another position: the block may be another number's since we found it. So an overrun just under
//! way may look like not yet. Not yet is never for good: a committed note that is not found was
//! overwritten, and then the tail is a round ahead; or its block was taken away, and then floor is
//! past it.
//!
//! *Late writers.* A writer may be stopped for as long as it takes to go round: it then commits a
//! note of a position below the floor, into a block that is spare or serves another number. Why
//! that is harmless:
//! - states of an entry only go up, so it overwrites only notes older than its own, which are below
//!   the floor, too; and what it has claimed is refused to others for a while (they are lost, see
//!   Paths);
//! - nobody reads it as anything but its own position;
//! - what it holds is released. The trimmer raises `floor` and then looks at the entries; the
//!   writer makes its note Holding and then looks at `floor`. With a fence in between on both
//!   sides:
//!     - if the writer's fence comes first, the trimmer finds the note: the block is in the ring,
//!       since it was there when the writer looked and no earlier trim was past the position;
//!     - else the writer sees the floor past its position and takes its token back.
//!
//!   If both happen, the exchange of the hold decides.
//!
//! *ABA.* A place holding (number, block) means the same whenever it comes back. The spare list
//! counts its changes (`blocks.rs`). States of entries carry whole positions. Numbers have 48 bits:
//! 2^56 positions, 200 years of ten million a second.
//!
//! *Orderings.* A place releases its block's address to whoever acquires the place. `floor` against
//! entries: above. `tail`, `lost` and `floor` are relaxed otherwise: a reader that finds an old
//! value comes back later. Notes: `entry.rs`.
//!
//! *Progress.* `reserve`, `read`, `tail`: wait-free. `commit`: lock-free, may allocate. `trim`:
//! lock-free, a step per position.

mod blocks;
mod entry;
#[cfg(all(test, not(any(rtm_loom, rtm_broken, rtm_shuttle))))]
mod tests;

use crate::alloc::{OutOfMemory, Zeroed};
use crate::handle::{KIND_MASK, Token};
use crate::mutant::{Mutant, active, fence_unless, relaxed_if};
use crate::sync::{AtomicU64, Ordering, Padded};
pub(crate) use blocks::Blocks;
use blocks::NUMBER_BITS;
use entry::{Entry, Found};

/// A block has 2^BITS entries of 32 bytes.
const BITS: u32 = if cfg!(any(rtm_loom, rtm_shuttle)) { 1 } else { 8 };
/// Blocks beside those in the ring: in the hands of writers, and spare.
const HANDS: usize = if cfg!(rtm_loom) { 4 } else { 256 };
/// The longest ring.
const MOST: u64 = 1 << (NUMBER_BITS - 1);
const _: () = assert!(MOST as usize + HANDS < 1 << NUMBER_BITS);

/// One event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Note {
    /// Below 16.
    pub(crate) kind: u8,
    pub(crate) token: Token,
    pub(crate) id: u64,
    /// The token is to be released when the note has gone. At most one note of a token holds it.
    pub(crate) holds: bool,
}

/// What a reader finds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Read {
    Note(Note),
    /// Nothing has been committed here so far.
    NotYet,
    /// It was overwritten, trimmed or lost: go on from the tail.
    Missed,
}

/// A place in the order of events, to be committed: until then it stops all readers.
#[must_use]
#[derive(Debug)]
pub(crate) struct Position(u64);

impl Position {
    #[cfg(rtm_loom)]
    pub(crate) fn number(&self) -> u64 {
        self.0
    }
}

/// A place of the ring: the block's number among the blocks in the low bits, above it the number it
/// serves + 1; or 0.
#[derive(Clone, Copy)]
struct Place(u64);

impl Place {
    const EMPTY: Place = Place(0);

    fn new(number: u64, block: u64) -> Place {
        Place((number + 1) << NUMBER_BITS | block)
    }

    /// The number it serves and the block; `None` if it is empty.
    #[inline(always)]
    fn serves(self) -> Option<(u64, u64)> {
        let number = (self.0 >> NUMBER_BITS).checked_sub(1)?;
        Some((number, self.0 & ((1 << NUMBER_BITS) - 1)))
    }
}

pub(crate) struct Journal {
    ring: Zeroed<AtomicU64>,
    blocks: Blocks,
    /// The next position.
    tail: Padded<AtomicU64>,
    /// Everybody has read what is below. Written by the trimmer alone.
    floor: Padded<AtomicU64>,
    /// One past the latest position that was lost.
    lost: AtomicU64,
}

impl Journal {
    /// An empty journal that keeps at least `entries` notes (up to 2^23), without memory for any.
    pub(crate) fn new(entries: u64) -> Result<Journal, OutOfMemory> {
        Journal::with_sizes(entries, BITS, HANDS)
    }

    /// With blocks of 2^bits entries, `hands` of them beside those in the ring.
    pub(crate) fn with_sizes(entries: u64, bits: u32, hands: usize) -> Result<Self, OutOfMemory> {
        let length = entries.div_ceil(1 << bits).clamp(2, MOST).next_power_of_two() as usize;
        Ok(Journal {
            ring: Zeroed::new(length)?,
            blocks: Blocks::new(bits, length + hands)?,
            tail: Padded(AtomicU64::new(0)),
            floor: Padded(AtomicU64::new(0)),
            lost: AtomicU64::new(0),
        })
    }

    /// With memory for `blocks` blocks in all.
    #[cfg(any(test, rtm_loom))]
    pub(crate) fn with_blocks(entries: u64, bits: u32, most: usize) -> Result<Self, OutOfMemory> {
        let mut journal = Journal::with_sizes(entries, bits, 0)?;
        journal.blocks = Blocks::new(bits, most)?;
        Ok(journal)
    }

    /// Positions after which an entry is used again.
    pub(crate) fn capacity(&self) -> u64 {
        (self.ring.len() as u64) << self.blocks.bits()
    }

    /// Blocks made.
    #[cfg(any(test, rtm_loom))]
    pub(crate) fn blocks(&self) -> u64 {
        self.blocks.made()
    }

    /// Bytes held.
    pub(crate) fn footprint(&self) -> usize {
        size_of::<Journal>() + self.ring.bytes() + self.blocks.bytes()
    }

    /// The first position not yet reserved.
    #[inline]
    pub(crate) fn tail(&self) -> u64 {
        self.tail.load(Ordering::Relaxed)
    }

    /// Takes the next position.
    #[inline]
    pub(crate) fn reserve(&self) -> Position {
        // Release: partner is the fence in `Audience::start`, should readers be a whole round behind.
        let order = relaxed_if(Mutant::JournalReserveRelaxed, Ordering::Release);
        Position(self.tail.fetch_add(1, order))
    }

    /// Makes `note` readable at its position, or loses it. `release` gets the tokens that need not
    /// be held any more.
    pub(crate) fn commit(&self, at: Position, note: Note, release: &mut dyn FnMut(Token)) {
        debug_assert!(note.kind <= KIND_MASK);
        let Position(at) = at;
        // Relaxed: only saves a late writer the rest.
        let late = self.floor.load(Ordering::Relaxed) > at;
        if late || !self.enter(at, &note, release) {
            if !active(Mutant::JournalLostSilently) {
                // Relaxed: a reader that does not see it comes back.
                self.lost.fetch_max(at + 1, Ordering::Relaxed);
            }
            if note.holds {
                release(note.token);
            }
        }
        if at & ((1 << self.blocks.bits()) - 1) == 0 {
            let next = self.place(at + (1 << self.blocks.bits()));
            if next.load(Ordering::Relaxed) == Place::EMPTY.0 {
                self.blocks.keep_one_spare();
            }
        }
    }

    /// Writes a note; `false`: it could not be.
    fn enter(&self, at: u64, note: &Note, release: &mut dyn FnMut(Token)) -> bool {
        let Some(entry) = self.entry_to_write(at) else { return false };
        let Some(claimed) = entry.claim(at) else { return false };
        if let Some(token) = claimed.commit(note) {
            release(token);
        }
        if note.holds && !active(Mutant::JournalLateBlindly) {
            // Fence: partner is the one in `trim`. If ours comes first, the trimmer finds the note;
            // else we see the floor.
            fence_unless(Mutant::JournalLateWithoutFence, Ordering::SeqCst);
            if self.floor.load(Ordering::Relaxed) > at
                && let Some(token) = entry.take_back(note.token)
            {
                release(token);
            }
        }
        true
    }

    /// The entry of a position in a block that serves it or a later round; `None`: no memory.
    fn entry_to_write(&self, at: u64) -> Option<&Entry> {
        let number = at >> self.blocks.bits();
        let place = self.place(at);
        // Acquire: partner is the exchange below; the block's address is seen.
        let found = relaxed_if(Mutant::JournalBlockMetRelaxed, Ordering::Acquire);
        let mut now = Place(place.load(found));
        let mut fresh = None;
        let block = loop {
            let (next, block) = match now.serves() {
                Some((there, block)) if there >= number => break block,
                Some((_, block)) => (Place::new(number, block), block),
                None => {
                    let block = match fresh {
                        Some(block) => block,
                        None => *fresh.insert(self.blocks.take()?),
                    };
                    (Place::new(number, block), block)
                }
            };
            if active(Mutant::JournalInstallBlindly) {
                place.store(next.0, Ordering::Release);
                return Some(self.blocks.entry(block, at));
            }
            // Release: partners are all who look at the place.
            let order = relaxed_if(Mutant::JournalBlockRelaxed, Ordering::Release);
            match place.compare_exchange(now.0, next.0, order, found) {
                Ok(_) => {
                    if fresh == Some(block) {
                        fresh = None;
                    }
                    break block;
                }
                Err(seen) => now = Place(seen),
            }
        };
        if let Some(unused) = fresh {
            self.blocks.give(unused);
        }
        Some(self.blocks.entry(block, at))
    }

    /// The note at a reader's position.
    #[inline]
    pub(crate) fn read(&self, cursor: u64) -> Read {
        // Acquire: partner is `entry_to_write`.
        let found = relaxed_if(Mutant::JournalBlockFoundRelaxed, Ordering::Acquire);
        if let Some((_, block)) = Place(self.place(cursor).load(found)).serves() {
            match self.blocks.entry(block, cursor).read(cursor) {
                Found::Note(note) => return Read::Note(note),
                Found::Gone => return Read::Missed,
                Found::Other => {}
            }
        }
        if self.is_missed(cursor) { Read::Missed } else { Read::NotYet }
    }

    /// Whether a reader that finds no note at its position goes on from the tail. Never changes back.
    fn is_missed(&self, cursor: u64) -> bool {
        // Relaxed: see Orderings.
        self.tail().saturating_sub(cursor) > self.capacity()
            || self.floor.load(Ordering::Relaxed) > cursor
            || self.lost.load(Ordering::Relaxed) > cursor
    }

    /// Whether readers pass by this position without a note. The caller fences before, behind what it wants
    /// seen by those who have passed.
    #[inline]
    pub(crate) fn is_passed(&self, at: &Position) -> bool {
        self.is_missed(at.0)
    }

    /// Notes that everybody has consumed what is below `to`, which must not be past the tail. One
    /// thread at a time; going back does nothing.
    pub(crate) fn trim(&self, to: u64, release: &mut dyn FnMut(Token)) {
        let from = self.floor.load(Ordering::Relaxed);
        if to <= from {
            return;
        }
        self.floor.store(to, Ordering::Relaxed);
        // Fence: partner is the one in `enter`. If ours comes first, the writer sees the floor;
        // else we find its note below.
        fence_unless(Mutant::JournalTrimWithoutFence, Ordering::SeqCst);
        let bits = self.blocks.bits();
        // Further back, the entries are the same ones. Whole blocks, since all of a block is to be
        // looked at before it is taken away.
        let mut at = from.max(to.saturating_sub(self.capacity()) >> bits << bits);
        while at < to {
            let number = at >> bits;
            let end = (number + 1) << bits;
            // Acquire: partner is `entry_to_write`.
            let found = relaxed_if(Mutant::JournalBlockTrimmedRelaxed, Ordering::Acquire);
            let now = Place(self.place(at).load(found));
            if let Some((_, block)) = now.serves() {
                for at in at..end.min(to) {
                    if let Some(token) = self.blocks.entry(block, at).let_go(to) {
                        release(token);
                    }
                }
                if end <= to {
                    self.take_away(number, now);
                }
            }
            at = end;
        }
    }

    /// Makes the block spare that serves `number` or an earlier one, unless a writer moves it on.
    fn take_away(&self, number: u64, mut now: Place) {
        let place = self.place(number << self.blocks.bits());
        while let Some((there, block)) = now.serves() {
            if there > number {
                return;
            }
            if active(Mutant::JournalDetachBlindly) {
                place.store(Place::EMPTY.0, Ordering::Relaxed);
                return self.blocks.give(block);
            }
            // Relaxed: the block does not change hands by the place but by the spare list.
            let empty = Place::EMPTY.0;
            match place.compare_exchange(now.0, empty, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return self.blocks.give(block),
                Err(seen) => now = Place(seen),
            }
        }
    }

    #[inline(always)]
    fn place(&self, at: u64) -> &AtomicU64 {
        let number = at >> self.blocks.bits();
        &self.ring[number as usize & (self.ring.len() - 1)]
    }
}
