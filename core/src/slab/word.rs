//! The word of a slot: generation, state and counted references in one atomic.
//!
//! ```text
//!  63                            32 31  29  28  27                     0
//! +--------------------------------+------+------+------------------------+
//! |           generation           | state| held |       references       |
//! +--------------------------------+------+------+------------------------+
//! ```
//!
//! Generation, state and held stand where what is [sought](Sought) has generation and kind, 1000 for live and for
//! right, so that one comparison says whether an object is live and the one that is sought.
//!
//! *References* are the users'. *Held* is the library's own claim on an object that has ended: a
//! journal still has something to tell of it. No user's release takes it away.

use crate::handle::{GENERATION_SHIFT, Sought};

const REFERENCE_BITS: u32 = 28;
const HELD_SHIFT: u32 = REFERENCE_BITS;
const STATE_SHIFT: u32 = HELD_SHIFT + 1;
const STATE_BITS: u32 = 3;
const _: () = assert!(STATE_SHIFT + STATE_BITS == GENERATION_SHIFT);
// Live, and not held, looks as what is sought does where it has its kind.
const _: () = assert!((State::Live as u64) << STATE_SHIFT == Sought::RIGHT);
const REFERENCE_MASK: u64 = (1 << REFERENCE_BITS) - 1;
const STATE_MASK: u64 = ((1 << STATE_BITS) - 1) << STATE_SHIFT;

/// The library's own claim.
pub(crate) const HELD: u64 = 1 << HELD_SHIFT;

/// The most counted references one object can have.
pub(crate) const MAX_REFERENCES: u32 = REFERENCE_MASK as u32;

/// What a slot holds. The legal transitions stand at the head of `slab`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// No object: never used, free, or being prepared by the one who reserved it.
    Vacant = 0,
    /// An object that was unpublished; its payload waits for the grace period.
    Dead = 1,
    /// Its payload is gone; references or the library still hold the plain information.
    Ghost = 2,
    /// Every generation is used up; never used again.
    Spent = 3,
    /// An object that resolves.
    Live = 4,
}

/// A decoded word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Word(pub(crate) u64);

impl Word {
    #[inline(always)]
    pub(crate) fn new(generation: u32, state: State, references: u32) -> Word {
        debug_assert!(references <= MAX_REFERENCES);
        Word(
            u64::from(generation) << GENERATION_SHIFT
                | (state as u64) << STATE_SHIFT
                | u64::from(references),
        )
    }

    #[inline(always)]
    pub(crate) fn generation(self) -> u32 {
        (self.0 >> GENERATION_SHIFT) as u32
    }

    #[inline(always)]
    pub(crate) fn references(self) -> u32 {
        (self.0 & REFERENCE_MASK) as u32
    }

    #[inline(always)]
    pub(crate) fn state(self) -> State {
        match (self.0 & STATE_MASK) >> STATE_SHIFT {
            0 => State::Vacant,
            1 => State::Dead,
            2 => State::Ghost,
            4 => State::Live,
            _ => State::Spent,
        }
    }

    /// Whether the word says: this generation, and live. The caller has found what is sought to be of the right
    /// kind: else another state might be right for a wrong kind.
    #[inline(always)]
    pub(crate) fn is_live(self, sought: Sought) -> bool {
        (self.0 ^ sought.bits()) >> HELD_SHIFT == 0
    }

    /// Whether a reference or the library keeps the plain information.
    #[inline(always)]
    pub(crate) fn is_kept(self) -> bool {
        self.0 & (REFERENCE_MASK | HELD) != 0
    }

    #[inline(always)]
    pub(crate) fn is_held(self) -> bool {
        self.0 & HELD != 0
    }

    /// Whether the word says: this generation, and somebody may still describe the object.
    #[inline(always)]
    pub(crate) fn resolves(self, generation: u32) -> bool {
        self.generation() == generation
            && match self.state() {
                State::Live => true,
                State::Dead | State::Ghost => self.is_kept(),
                State::Vacant | State::Spent => false,
            }
    }

    /// Of a live object: the same, dead, and held if `hold`.
    #[inline(always)]
    pub(crate) fn ended(self, hold: bool) -> Word {
        const CHANGE: u64 = (State::Live as u64 ^ State::Dead as u64) << STATE_SHIFT;
        debug_assert_eq!(self.state(), State::Live);
        Word((self.0 ^ CHANGE) | u64::from(hold) << HELD_SHIFT)
    }

    /// The same with another state.
    #[inline(always)]
    pub(crate) fn with_state(self, state: State) -> Word {
        Word(self.0 & !STATE_MASK | (state as u64) << STATE_SHIFT)
    }
}

#[cfg(all(test, not(rtm_loom)))]
mod tests {
    use super::*;
    use crate::handle::Token;

    #[test]
    fn fields_do_not_touch() {
        for generation in [0, 1, u32::MAX] {
            for state in [State::Vacant, State::Live, State::Dead, State::Ghost, State::Spent] {
                for references in [0, 1, MAX_REFERENCES] {
                    let word = Word::new(generation, state, references);
                    assert_eq!(word.generation(), generation);
                    assert_eq!(word.state(), state);
                    assert_eq!(word.references(), references);
                    let held = Word(word.0 | HELD);
                    assert_eq!((held.state(), held.references()), (state, references));
                    assert!(held.is_held() && !word.is_held());
                    assert_eq!(held.generation(), generation);
                    let token = Token::new(generation, 7);
                    assert_eq!(word.is_live(token.sought()), state == State::Live);
                    let other = Token::new(generation ^ 1, 7);
                    assert!(!word.is_live(other.sought()) && !word.resolves(other.generation()));
                }
            }
        }
    }

    #[test]
    fn the_dead_resolve_only_while_referenced() {
        for state in [State::Dead, State::Ghost] {
            assert!(!Word::new(9, state, 0).resolves(9));
            assert!(Word::new(9, state, 1).resolves(9));
            assert!(Word(Word::new(9, state, 0).0 | HELD).resolves(9));
        }
        assert!(!Word::new(9, State::Vacant, 0).resolves(9));
        assert!(!Word::new(9, State::Spent, 0).resolves(9));
    }
}
