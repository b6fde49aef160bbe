//! The journal against an oracle, its memory, and under threads.

use super::*;
use crate::sync::{AtomicBool, AtomicU32, AtomicU64 as Plain};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Barrier, Mutex};

/// The note of position `at`: everything in it follows from that.
fn note(at: u64, holds: bool) -> Note {
    Note { kind: (at % 16) as u8, token: token(at), id: !at, holds }
}

fn token(at: u64) -> Token {
    Token::from_bits(at.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

fn refuse(token: Token) {
    panic!("{token:?} released");
}

#[derive(Clone, Debug)]
enum Step {
    /// Reserve and commit.
    Append {
        holds: bool,
    },
    Reserve,
    /// Commit one of the positions that are reserved.
    Commit {
        which: usize,
        holds: bool,
    },
    /// Trim to so far behind the tail.
    Trim {
        behind: u64,
    },
    Check,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => any::<bool>().prop_map(|holds| Step::Append { holds }),
        3 => Just(Step::Reserve),
        3 => (any::<usize>(), any::<bool>())
            .prop_map(|(which, holds)| Step::Commit { which, holds }),
        3 => (0..40_u64).prop_map(|behind| Step::Trim { behind }),
        3 => Just(Step::Check),
    ]
}

/// A journal that says what the real one must say.
struct Oracle {
    capacity: u64,
    tail: u64,
    floor: u64,
    lost: u64,
    notes: BTreeMap<u64, Note>,
    /// By entry: the latest position that was written there.
    latest: BTreeMap<u64, u64>,
    held: BTreeSet<u64>,
    released: Vec<Token>,
}

impl Oracle {
    fn commit(&mut self, at: u64, holds: bool) {
        let latest = self.latest.get(&(at % self.capacity)).copied();
        if at < self.floor || latest > Some(at) {
            self.lost = self.lost.max(at + 1);
            if holds {
                self.released.push(token(at));
            }
            return;
        }
        if let Some(old) = self.latest.insert(at % self.capacity, at) {
            self.notes.remove(&old);
            if self.held.remove(&old) {
                self.released.push(token(old));
            }
        }
        self.notes.insert(at, note(at, holds));
        if holds {
            self.held.insert(at);
        }
    }

    fn trim(&mut self, to: u64) {
        self.floor = self.floor.max(to);
        let kept = self.held.split_off(&self.floor);
        let gone = std::mem::replace(&mut self.held, kept);
        self.released.extend(gone.into_iter().map(token));
    }

    fn read(&self, at: u64) -> Read {
        if let Some(note) = self.notes.get(&at) {
            return Read::Note(*note);
        }
        let gone = self.tail.saturating_sub(at) > self.capacity || at < self.floor.max(self.lost);
        if gone { Read::Missed } else { Read::NotYet }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn one_thread_sees_what_the_oracle_says(
        steps in proptest::collection::vec(step(), 1..200),
        entries in 1..40_u64,
        bits in 0..4_u32,
    ) {
        let journal = Journal::with_sizes(entries, bits, 8).unwrap();
        prop_assert!(journal.capacity() >= entries);
        let mut oracle = Oracle {
            capacity: journal.capacity(),
            tail: 0, floor: 0, lost: 0,
            notes: BTreeMap::new(), latest: BTreeMap::new(), held: BTreeSet::new(),
            released: Vec::new(),
        };
        let mut open: Vec<Position> = Vec::new();
        let mut released: Vec<Token> = Vec::new();
        for step in steps {
            let mut release = |token| released.push(token);
            match step {
                Step::Append { holds } => {
                    let at = journal.reserve();
                    let p = at.0;
                    prop_assert_eq!(p, oracle.tail);
                    oracle.tail += 1;
                    journal.commit(at, note(p, holds), &mut release);
                    oracle.commit(p, holds);
                }
                Step::Reserve => {
                    open.push(journal.reserve());
                    oracle.tail += 1;
                }
                Step::Commit { which, holds } if !open.is_empty() => {
                    let at = open.swap_remove(which % open.len());
                    let p = at.0;
                    journal.commit(at, note(p, holds), &mut release);
                    oracle.commit(p, holds);
                }
                Step::Commit { .. } => {}
                Step::Trim { behind } => {
                    let to = oracle.tail.saturating_sub(behind);
                    journal.trim(to, &mut release);
                    oracle.trim(to);
                }
                Step::Check => {
                    prop_assert_eq!(journal.tail(), oracle.tail);
                    for at in 0..=oracle.tail + 1 {
                        let (found, said) = (journal.read(at), oracle.read(at));
                        // What is trimmed may still be there, or come back with its block.
                        let trimmed = at < oracle.floor
                            && match found {
                                Read::Note(found) => found == note(at, found.holds),
                                Read::Missed => true,
                                Read::NotYet => false,
                            };
                        prop_assert!(found == said || trimmed, "{at}: {found:?}, not {said:?}");
                    }
                }
            }
            released.sort_by_key(|token| token.bits());
            oracle.released.sort_by_key(|token| token.bits());
            prop_assert_eq!(&released, &oracle.released);
        }
        for at in open {
            let p = at.0;
            journal.commit(at, note(p, true), &mut |token| released.push(token));
            oracle.commit(p, true);
        }
        journal.trim(oracle.tail, &mut |token| released.push(token));
        oracle.trim(oracle.tail);
        released.sort_by_key(|token| token.bits());
        oracle.released.sort_by_key(|token| token.bits());
        prop_assert_eq!(&released, &oracle.released);
        prop_assert!(oracle.held.is_empty());
    }
}

#[test]
fn sizes_are_rounded_up_and_bounded() {
    for (entries, capacity) in [(0, 512), (1, 512), (513, 1024), (65_536, 65_536)] {
        assert_eq!(Journal::new(entries).unwrap().capacity(), capacity);
    }
    assert_eq!(Journal::new(u64::MAX).unwrap().capacity(), MOST << BITS);
}

/// A reader that keeps up costs three blocks, however long the journal runs and could become.
#[test]
fn blocks_go_round() {
    let journal = Journal::new(65_536).unwrap();
    let empty = journal.footprint();
    let mut released = 0_u64;
    for p in 0..100_000 {
        let at = journal.reserve();
        journal.commit(at, note(p, p % 3 == 0), &mut |_| released += 1);
        assert_eq!(journal.read(p), Read::Note(note(p, p % 3 == 0)));
        assert_eq!(journal.read(p + 1), Read::NotYet);
        if p % 100 == 99 {
            journal.trim(p + 1, &mut |_| released += 1);
        }
    }
    assert_eq!(journal.blocks(), 3);
    assert_eq!(journal.footprint(), empty + 3 * 256 * 32);
    assert_eq!(released, 100_000_u64.div_ceil(3));
}

/// A reader that does not come costs the whole ring, and no more.
#[test]
fn a_reader_left_behind_misses() {
    let journal = Journal::new(1024).unwrap();
    for p in 0..100_000 {
        let at = journal.reserve();
        journal.commit(at, note(p, false), &mut refuse);
    }
    assert_eq!(journal.blocks(), 4);
    assert_eq!(journal.read(0), Read::Missed);
    assert_eq!(journal.read(100_000 - 1025), Read::Missed);
    for p in 100_000 - 1024..100_000 {
        assert_eq!(journal.read(p), Read::Note(note(p, false)));
    }
}

/// Without memory a note is lost, its reader is told, and its hold is released.
#[test]
fn no_memory_loses_notes_but_no_holds() {
    let journal = Journal::with_blocks(4, 1, 1).unwrap();
    let mut released = Vec::new();
    for p in 0..4 {
        let at = journal.reserve();
        journal.commit(at, note(p, true), &mut |token| released.push(token));
    }
    assert_eq!(released, [token(2), token(3)]);
    assert_eq!(journal.read(0), Read::Note(note(0, true)));
    assert_eq!((journal.read(2), journal.read(3)), (Read::Missed, Read::Missed));
    assert_eq!(journal.read(4), Read::NotYet);
    journal.trim(4, &mut |token| released.push(token));
    assert_eq!(released, [2, 3, 0, 1].map(token));
    // The block is spare again.
    let at = journal.reserve();
    journal.commit(at, note(4, true), &mut refuse);
    assert_eq!(journal.read(4), Read::Note(note(4, true)));
    journal.trim(5, &mut |token| released.push(token));
    assert_eq!(released.len(), 5);
}

/// A note whose writer went to sleep holds up readers, and one that is a round late is lost.
#[test]
fn a_late_commit_is_lost() {
    let journal = Journal::with_sizes(4, 1, 8).unwrap();
    let late = journal.reserve();
    for p in 1..4 {
        let at = journal.reserve();
        journal.commit(at, note(p, false), &mut refuse);
    }
    assert_eq!(journal.read(0), Read::NotYet);
    let at = journal.reserve();
    journal.commit(at, note(4, true), &mut refuse);
    assert_eq!(journal.read(0), Read::Missed);
    let mut released = Vec::new();
    journal.commit(late, note(0, true), &mut |token| released.push(token));
    assert_eq!(released, [token(0)]);
    assert_eq!(journal.read(0), Read::Missed);
    assert_eq!(journal.read(4), Read::Note(note(4, true)));
}

/// Writers, readers of different speed and a trimmer. Readers see every position in order with
/// its content, or are told that they missed some; every hold is released once.
///
/// The trimmer does not wait for the slowest reader. If `paced`, writers wait for the other two,
/// who then must not miss anything.
fn stress(entries: u64, bits: u32, each: u64, paced: bool) {
    const WRITERS: u64 = 4;
    let all = WRITERS * each;
    let journal = Journal::with_sizes(entries, bits, 64).unwrap();
    let released: Vec<AtomicU32> = (0..all).map(|_| AtomicU32::new(0)).collect();
    // A token that says its position, so that a release can be counted.
    let note = |p: u64| Note { token: Token::from_bits(p), ..note(p, p.is_multiple_of(2)) };
    let release = |token: Token| {
        released[token.bits() as usize].fetch_add(1, Ordering::Relaxed);
    };
    let cursors: Vec<Plain> = (0..3).map(|_| Plain::new(0)).collect();
    let consumed =
        || cursors[..2].iter().map(|cursor| cursor.load(Ordering::Acquire)).min().unwrap();
    let missed = Mutex::new([0_u64; 3]);
    let (over, start) = (AtomicBool::new(false), Barrier::new(8));
    std::thread::scope(|scope| {
        for _ in 0..WRITERS {
            scope.spawn(|| {
                start.wait();
                for _ in 0..each {
                    let room = journal.capacity().saturating_sub(WRITERS);
                    while paced && journal.tail().saturating_sub(consumed()) > room {
                        std::thread::yield_now();
                    }
                    let at = journal.reserve();
                    let p = at.0;
                    journal.commit(at, note(p), &mut { release });
                    if p.is_multiple_of(8) {
                        std::thread::yield_now();
                    }
                }
            });
        }
        let readers: Vec<_> = (0..3_usize)
            .map(|speed| {
                let (journal, cursors, missed, note) = (&journal, &cursors, &missed, &note);
                let start = &start;
                scope.spawn(move || {
                    start.wait();
                    let mut cursor = 0;
                    while cursor < all {
                        match journal.read(cursor) {
                            Read::Note(found) => {
                                assert_eq!(found, note(cursor));
                                cursor += 1;
                            }
                            Read::NotYet => std::thread::yield_now(),
                            Read::Missed => {
                                let tail = journal.tail();
                                assert!(tail >= cursor);
                                missed.lock().unwrap()[speed] += tail - cursor;
                                cursor = tail;
                            }
                        }
                        for _ in 0..speed * 50 {
                            std::hint::spin_loop();
                        }
                        cursors[speed].store(cursor, Ordering::Release);
                    }
                })
            })
            .collect();
        scope.spawn(|| {
            start.wait();
            while !over.load(Ordering::Relaxed) {
                journal.trim(consumed(), &mut { release });
                std::thread::yield_now();
            }
        });
        for reader in readers {
            reader.join().unwrap();
        }
        over.store(true, Ordering::Relaxed);
    });
    journal.trim(all, &mut { release });
    for (p, count) in released.iter().enumerate() {
        assert_eq!(
            count.load(Ordering::Relaxed),
            u32::from(p.is_multiple_of(2)),
            "releases of {p}"
        );
    }
    let (missed, made) = (missed.into_inner().unwrap(), journal.blocks());
    println!("missed: {missed:?} of {all}, blocks: {made}");
    assert!(made <= journal.ring.len() as u64 + 16, "{made} blocks");
    if paced {
        assert_eq!(missed[..2], [0, 0]);
    }
}

#[test]
fn stress_with_a_large_ring() {
    stress(65_536, 8, 100_000, true);
}

#[test]
fn stress_with_a_small_ring() {
    stress(64, 2, 100_000, true);
}

#[test]
fn stress_with_overrun() {
    stress(256, 4, 100_000, false);
}

#[test]
fn stress_with_blocks_of_one() {
    stress(2, 0, 50_000, false);
}
