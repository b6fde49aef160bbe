//! One entry of a journal: a note under a sequence lock, and what it holds.
//!
//! *Roles.* Writers of different positions that share the entry, readers, and the trimmer.
//!
//! *States*, all in `seq` with the position they belong to; they only go up:
//!
//! ```text
//!  never written --> Writing p --> Ready p | Holding p --> Writing q --> ...      p < q
//! ```
//!
//! A writer *claims* the entry by exchanging an older Ready or Holding for its Writing. It has
//! failed if a newer position is there, or if an older one is just being written: nobody waits, and
//! nobody else's half-written note is overwritten, for its writer goes on writing.
//!
//! *What is held.* `hold` names the token until somebody *takes* it, which is a read-modify-write
//! that leaves something else: the writer that has claimed the entry swaps; the trimmer and the
//! note's own writer (see `mod.rs`, late writers) exchange that very token for nothing. A token is
//! in one note at most, so an exchange cannot take what a later note holds.
//!
//! *Orderings.* A sequence lock over relaxed fields. `commit` releases the note to those who find
//! it Ready or Holding with an acquire: readers, the trimmer, the next writer. The writer's release
//! fence stands between Writing and the new fields, the acquire fences of `read` and `let_go`
//! between the fields and their second look: who has seen anything of the new note sees that the
//! old one is gone.
//!
//! *Progress.* `claim` lock-free (it fails for good when it sees a newer state), the others
//! wait-free.

use super::Note;
use crate::alloc::Zero;
use crate::handle::{KIND_MASK, KIND_SHIFT, Token};
use crate::mutant::{Mutant, active, fence_unless, relaxed_if};
use crate::sync::{AtomicU64, Ordering};

/// Fills half a cache line.
#[repr(C, align(32))]
pub(crate) struct Entry {
    seq: AtomicU64,
    /// Kind and token.
    what: AtomicU64,
    id: AtomicU64,
    /// The token's bits + 1, or 0.
    hold: AtomicU64,
}

// SAFETY: four zero atomics.
unsafe impl Zero for Entry {
    fn zero() -> Self {
        Entry {
            seq: AtomicU64::new(0),
            what: AtomicU64::new(0),
            id: AtomicU64::new(0),
            hold: AtomicU64::new(0),
        }
    }
}

const STATE_BITS: u32 = 2;
const STATE_MASK: u64 = (1 << STATE_BITS) - 1;
const WRITING: u64 = 1;
const READY: u64 = 2;
const HOLDING: u64 = 3;

/// An entry that the holder alone writes.
pub(super) struct Claimed<'a> {
    entry: &'a Entry,
    at: u64,
}

/// What [`Entry::read`] found.
pub(super) enum Found {
    Note(Note),
    /// It was there and is overwritten.
    Gone,
    /// Another position's, or nothing.
    Other,
}

impl Entry {
    /// Claims the entry for the note of position `at`.
    pub(super) fn claim(&self, at: u64) -> Option<Claimed<'_>> {
        let writing = at << STATE_BITS | WRITING;
        let mut seq = self.seq.load(Ordering::Relaxed);
        loop {
            let busy = seq & STATE_MASK == WRITING && !active(Mutant::JournalClaimsBusy);
            if busy || seq > writing && !active(Mutant::JournalClaimsNewer) {
                return None;
            }
            // Acquire: partner is `commit` of the note that is overwritten; what it holds is seen.
            let order = relaxed_if(Mutant::JournalClaimRelaxed, Ordering::Acquire);
            match self.seq.compare_exchange(seq, writing, order, Ordering::Relaxed) {
                Ok(_) => break,
                Err(now) => seq = now,
            }
        }
        // Fence: partners are the acquire fences in `read` and `let_go`. Writing comes before all
        // that is written now.
        fence_unless(Mutant::JournalClaimWithoutFence, Ordering::Release);
        Some(Claimed { entry: self, at })
    }

    /// The note of position `at`.
    #[inline]
    pub(super) fn read(&self, at: u64) -> Found {
        // Acquire: partner is `commit`; the fields read below are at least this note's.
        let seq = self.seq.load(relaxed_if(Mutant::JournalReadRelaxed, Ordering::Acquire));
        if seq >> STATE_BITS != at || seq & STATE_MASK < READY {
            return Found::Other;
        }
        let what = self.what.load(Ordering::Relaxed);
        let id = self.id.load(Ordering::Relaxed);
        // Fence: partner is the release fence in `claim`. If a field is of a later note, so is the
        // state below.
        fence_unless(Mutant::JournalReadWithoutFence, Ordering::Acquire);
        if self.seq.load(Ordering::Relaxed) != seq && !active(Mutant::JournalReadWithoutRecheck) {
            return Found::Gone;
        }
        Found::Note(Note {
            kind: (what >> KIND_SHIFT) as u8 & KIND_MASK,
            token: Token::from_bits(what),
            id,
            holds: seq & STATE_MASK == HOLDING,
        })
    }

    /// Takes what a note of a position below `to` holds.
    pub(super) fn let_go(&self, to: u64) -> Option<Token> {
        // Acquire: partner is `commit`; what was done before the note was entered comes before its
        // token is released, and the hold is seen.
        let seq = self.seq.load(Ordering::Acquire);
        if seq & STATE_MASK != HOLDING || seq >> STATE_BITS >= to {
            return None;
        }
        let hold = self.hold.load(Ordering::Relaxed);
        // Fence: partner is the release fence in `claim`. If the hold is a later note's, so is the
        // state below.
        fence_unless(Mutant::JournalSweepWithoutFence, Ordering::Acquire);
        if self.seq.load(Ordering::Relaxed) != seq && !active(Mutant::JournalSweepWithoutRecheck) {
            // The writer that has claimed the entry takes it.
            return None;
        }
        self.exchange(hold)
    }

    /// Takes what the note of `token` holds, if nobody has.
    pub(super) fn take_back(&self, token: Token) -> Option<Token> {
        self.exchange(holding(token))
    }

    fn exchange(&self, hold: u64) -> Option<Token> {
        if hold == 0 {
            return None;
        }
        if active(Mutant::JournalLetGoWithoutExchange) {
            self.hold.store(0, Ordering::Relaxed);
            return held(hold);
        }
        // Relaxed: one taker wins; what comes before the note was acquired with its state.
        let taken = self.hold.compare_exchange(hold, 0, Ordering::Relaxed, Ordering::Relaxed);
        taken.ok().and_then(held)
    }
}

impl Claimed<'_> {
    /// Writes the note and makes it readable. Returns what the overwritten note held, if nobody had
    /// taken it.
    pub(super) fn commit(self, note: &Note) -> Option<Token> {
        let entry = self.entry;
        let hold = if note.holds { holding(note.token) } else { 0 };
        // Relaxed: what an earlier note holds was acquired with the claim. A swap, for the trimmer
        // takes it, too.
        let mut old = entry.hold.load(Ordering::Relaxed);
        if active(Mutant::JournalHoldWithoutSwap) {
            entry.hold.store(hold, Ordering::Relaxed);
        } else if old | hold != 0 {
            old = entry.hold.swap(hold, Ordering::Relaxed);
        }
        let what = u64::from(note.kind) << KIND_SHIFT | note.token.bits();
        entry.what.store(what, Ordering::Relaxed);
        entry.id.store(note.id, Ordering::Relaxed);
        let state = if note.holds { HOLDING } else { READY };
        // Release: partners are `read`, `let_go` and the next `claim`.
        let order = relaxed_if(Mutant::JournalCommitRelaxed, Ordering::Release);
        entry.seq.store(self.at << STATE_BITS | state, order);
        held(old)
    }
}

fn holding(token: Token) -> u64 {
    token.bits() + 1
}

fn held(hold: u64) -> Option<Token> {
    hold.checked_sub(1).map(Token::from_bits)
}
