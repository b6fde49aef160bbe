//! The journal: notes, blocks, holds.

use crate::{Canary, Ledger, explore, explore_once, spawn};
use rtm_core::model::{Blocks, Journal, Position, Read};
use std::sync::Arc;

/// A journal whose notes hold canaries: that of token 1, 2, ...
struct Held {
    journal: Journal,
    ledger: Ledger,
    canaries: [loom::cell::UnsafeCell<Option<Canary>>; 5],
}

// SAFETY: who has committed a token's note does not touch its canary again, and who releases the
// token drops it; that the one is ordered before the other, and once, is what loom checks.
unsafe impl Sync for Held {}
// SAFETY: as above.
unsafe impl Send for Held {}

impl Held {
    fn new(journal: Journal) -> Arc<Held> {
        let canaries = std::array::from_fn(|_| loom::cell::UnsafeCell::new(None));
        Arc::new(Held { journal, ledger: Ledger::default(), canaries })
    }

    /// Commits a note that holds its token.
    fn commit(&self, at: Position, token: u64) {
        self.canaries[token as usize].with_mut(|place| {
            // SAFETY: loom panics before a racing access.
            unsafe { *place = Some(self.ledger.canary(token as u32)) };
        });
        self.journal.commit(at, token, true, |token| self.release(token));
    }

    /// Commits one that does not.
    fn commit_free(&self, at: Position, token: u64) {
        self.journal.commit(at, token, false, |token| self.release(token));
    }

    fn trim(&self, to: u64) {
        self.journal.trim(to, |token| self.release(token));
    }

    fn release(&self, token: u64) {
        let canary = self.canaries[token as usize].with_mut(|place| {
            // SAFETY: loom panics before a racing access.
            unsafe { (*place).take() }
        });
        drop(canary.expect("released once"));
    }

    /// How often each token from 1 was released.
    fn released<const N: usize>(&self) -> [usize; N] {
        std::array::from_fn(|token| self.ledger.drops(token as u32 + 1))
    }
}

fn never(token: u64) {
    panic!("{token} released");
}

/// A reader that keeps up sees every note, in order and complete, in a block that the writer makes
/// meanwhile; it is never told that it missed something.
pub fn append_and_read() {
    explore(|| {
        let journal = Arc::new(Journal::new(4, 1, 2));
        let thread = {
            let journal = journal.clone();
            spawn(move || {
                journal.append(1, false, never);
                journal.append(2, false, never);
            })
        };
        let mut cursor = 0;
        for _ in 0..2 {
            match journal.read(cursor) {
                Read::Note(token) => {
                    cursor += 1;
                    assert_eq!(token, cursor);
                }
                Read::NotYet => {}
                Read::Missed => panic!("missed {cursor}"),
            }
        }
        thread.join().unwrap();
        assert_eq!((journal.read(0), journal.read(1)), (Read::Note(1), Read::Note(2)));
        assert_eq!(journal.read(2), Read::NotYet);
    });
}

/// A reader that is overrun in the middle of a note sees that note or none.
pub fn read_against_overrun() {
    explore(|| {
        let journal = Arc::new(Journal::new(2, 0, 2));
        journal.append(1, false, never);
        journal.append(2, false, never);
        let thread = {
            let journal = journal.clone();
            spawn(move || journal.append(3, false, never))
        };
        // Not yet: it knows the tail of before.
        assert!(matches!(journal.read(0), Read::Note(1) | Read::Missed | Read::NotYet));
        thread.join().unwrap();
        let all = [journal.read(0), journal.read(1), journal.read(2)];
        assert_eq!(all, [Read::Missed, Read::Note(2), Read::Note(3)]);
    });
}

/// Two writers that both need a block at once enter both notes into one.
pub fn two_writers_need_a_block() {
    explore(|| {
        let journal = Arc::new(Journal::new(4, 1, 3));
        let thread = {
            let journal = journal.clone();
            spawn(move || journal.append(1, false, never))
        };
        journal.append(2, false, never);
        thread.join().unwrap();
        let found = [journal.read(0), journal.read(1)];
        assert!(matches!(found, [Read::Note(1), Read::Note(2)] | [Read::Note(2), Read::Note(1)]));
        // The block that lost is spare and will be used.
        journal.append(3, false, never);
        assert_eq!(journal.read(2), Read::Note(3));
        assert!(journal.blocks() <= 3);
    });
}

/// A block is trimmed while a writer comes round to its place: moved on or taken away, the new note
/// is there, and the old hold is released once.
pub fn trim_against_append() {
    explore(|| {
        let held = Held::new(Journal::new(2, 0, 3));
        held.commit(held.journal.reserve(), 1);
        held.commit(held.journal.reserve(), 2);
        let thread = {
            let held = held.clone();
            spawn(move || held.commit(held.journal.reserve(), 3))
        };
        held.trim(1);
        assert_ne!(held.journal.read(2), Read::Missed);
        thread.join().unwrap();
        assert_eq!(held.journal.read(1), Read::Note(2));
        assert_eq!(held.journal.read(2), Read::Note(3));
        assert_eq!(held.released(), [1, 0, 0]);
        held.commit(held.journal.reserve(), 4);
        assert_eq!([held.journal.read(2), held.journal.read(3)], [Read::Note(3), Read::Note(4)]);
        assert_eq!(held.released(), [1, 1, 0, 0]);
        held.trim(4);
        assert_eq!(held.released(), [1, 1, 1, 1]);
    });
}

/// A reader is not misled by a block that goes to another place while it looks.
pub fn read_against_recycling() {
    explore(|| {
        // Block 0 serves 0 and is spare when 3 needs one; 2 gets another.
        let journal = Arc::new(Journal::new(2, 0, 4));
        journal.append(1, false, never);
        journal.append(2, false, never);
        let thread = {
            let journal = journal.clone();
            spawn(move || {
                journal.trim(2, never);
                let (two, three) = (journal.reserve(), journal.reserve());
                journal.commit(three, 4, false, never);
                journal.commit(two, 3, false, never);
            })
        };
        for (at, token) in [(2, 3), (3, 4)] {
            let found = journal.read(at);
            assert!(found == Read::Note(token) || found == Read::NotYet, "{found:?}");
        }
        thread.join().unwrap();
        assert_eq!([journal.read(2), journal.read(3)], [Read::Note(3), Read::Note(4)]);
        assert_eq!(journal.read(0), Read::Missed);
    });
}

/// A writer takes what the note before it in the entry holds, which another thread wrote.
pub fn overwrite_sees_a_hold() {
    explore(|| {
        let held = Held::new(Journal::new(2, 0, 2));
        let old = held.journal.reserve();
        held.commit_free(held.journal.reserve(), 2);
        let new = held.journal.reserve();
        let thread = {
            let held = held.clone();
            spawn(move || held.commit(old, 1))
        };
        held.commit_free(new, 3);
        thread.join().unwrap();
        held.trim(3);
        assert_eq!(held.released(), [1]);
    });
}

/// A hold is released once though the note is overwritten while it is trimmed, and the one that
/// comes after it stays.
pub fn overwrite_against_trim() {
    explore(|| {
        let held = Held::new(Journal::new(2, 0, 4));
        held.commit(held.journal.reserve(), 1);
        held.commit_free(held.journal.reserve(), 2);
        let thread = {
            let held = held.clone();
            spawn(move || held.commit(held.journal.reserve(), 3))
        };
        held.trim(1);
        thread.join().unwrap();
        assert_eq!(held.released(), [1, 0, 0]);
        assert_eq!(held.journal.read(2), Read::Note(3));
        held.trim(3);
        assert_eq!(held.released(), [1, 0, 1]);
    });
}

/// As above, where what comes after holds nothing.
pub fn free_overwrite_against_trim() {
    explore(|| {
        let held = Held::new(Journal::new(2, 0, 4));
        held.commit(held.journal.reserve(), 1);
        held.commit_free(held.journal.reserve(), 2);
        let thread = {
            let held = held.clone();
            spawn(move || held.commit_free(held.journal.reserve(), 3))
        };
        held.trim(1);
        thread.join().unwrap();
        assert_eq!(held.released(), [1]);
        assert_eq!(held.journal.read(2), Read::Note(3));
    });
}

/// A writer that the floor passes (it was overrun, and the reader went on) has its hold released
/// once, and by one of the two.
pub fn late_commit_against_trim() {
    explore(|| {
        let held = Held::new(Journal::new(2, 0, 3));
        let late = held.journal.reserve();
        let thread = {
            let held = held.clone();
            spawn(move || held.commit(late, 1))
        };
        held.trim(1);
        thread.join().unwrap();
        assert_eq!(held.released(), [1]);
    });
}

/// The same when the late writer has found a block that is recycled under it: newer notes are not
/// touched.
pub fn late_commit_against_recycling() {
    explore(|| {
        let held = Held::new(Journal::new(4, 1, 2));
        let late = held.journal.reserve();
        held.commit_free(held.journal.reserve(), 2);
        let thread = {
            let held = held.clone();
            spawn(move || held.commit(late, 1))
        };
        held.trim(2);
        // The block of 0 and 1 serves 2 and 3, unless the late writer has put it back.
        held.commit(held.journal.reserve(), 3);
        let before = held.journal.read(2);
        thread.join().unwrap();
        assert!(matches!(before, Read::Note(3) | Read::Missed), "{before:?}");
        assert_eq!(held.journal.read(2), before);
        held.trim(3);
        assert_eq!(held.released(), [1, 0, 1]);
    });
}

/// The same with the newer writer in a thread of its own.
pub fn late_commit_against_trim_and_append() {
    explore_once(|| {
        let held = Held::new(Journal::new(4, 1, 4));
        let late = held.journal.reserve();
        held.commit_free(held.journal.reserve(), 2);
        let threads = [(Some(late), 1), (None, 3)].map(|(at, token)| {
            let held = held.clone();
            spawn(move || {
                let at = at.unwrap_or_else(|| held.journal.reserve());
                held.commit(at, token);
            })
        });
        held.trim(2);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        match held.journal.read(2) {
            Read::Note(3) => assert_eq!(held.released(), [1, 0, 0]),
            // Lost: the late writer had the entry.
            Read::Missed => assert_eq!(held.released(), [1, 0, 1]),
            found => panic!("{found:?}"),
        }
        held.trim(3);
        assert_eq!(held.released(), [1, 0, 1]);
    });
}

/// Two writers of one entry, a round apart: the newer note stays or is lost, and nobody waits for
/// it; never a mixture.
pub fn writers_a_round_apart() {
    explore(|| {
        let held = Held::new(Journal::new(2, 0, 2));
        let old = held.journal.reserve();
        held.commit_free(held.journal.reserve(), 2);
        let new = held.journal.reserve();
        let thread = {
            let held = held.clone();
            spawn(move || held.commit(new, 3))
        };
        held.commit(old, 1);
        thread.join().unwrap();
        assert_eq!(held.journal.read(1), Read::Note(2));
        match held.journal.read(2) {
            Read::Note(3) => {
                assert_eq!(held.journal.read(0), Read::Missed);
                assert_eq!(held.released(), [1, 0, 0]);
            }
            // Lost: the older note was being written, and is there.
            Read::Missed => assert_eq!(held.released(), [0, 0, 1]),
            found => panic!("{found:?}"),
        }
        held.trim(3);
        assert_eq!(held.released(), [1, 0, 1]);
    });
}

/// Blocks arrive with their memory, and nobody gets one that another has.
pub fn spare_blocks() {
    explore(|| {
        let blocks = Arc::new(Blocks::new(3));
        let one = blocks.take().unwrap();
        let other = blocks.take().unwrap();
        blocks.give(other);
        blocks.give(one);
        let thread = {
            let blocks = blocks.clone();
            spawn(move || {
                let mine = [blocks.take().unwrap(), blocks.take().unwrap()];
                blocks.give(mine[0]);
                (mine[1], mine[0])
            })
        };
        let mine = blocks.take().unwrap();
        let (theirs, _given) = thread.join().unwrap();
        assert_ne!(mine, theirs);
        if let Some(more) = blocks.take() {
            assert!(more != mine && more != theirs);
        }
    });
}

/// A block that another thread has made and given arrives with its memory.
pub fn spare_block_handed_on() {
    explore(|| {
        let blocks = Arc::new(Blocks::new(3));
        let thread = {
            let blocks = blocks.clone();
            spawn(move || {
                let made = blocks.take().unwrap();
                blocks.give(made);
            })
        };
        let mine = [blocks.take(), blocks.take()];
        thread.join().unwrap();
        assert_ne!(mine[0], mine[1]);
    });
}
