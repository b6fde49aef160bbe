//! The word of a slot: generation, state and counted references in one atomic.
//!
//! ```text
//!   63   62   60 59                            28 27                     0
//! +------+-------+--------------------------------+-------------------------+
//! | held | state |           generation           |       references        |
//! +------+-------+--------------------------------+-------------------------+
//! ```
//!
//! State and generation stand together, so that one comparison says whether an object is live and the one
//! that is sought.
//!
//! *References* are the users'. *Held* is the library's own claim on an object that has ended: a
//! journal still has something to tell of it. No user's release takes it away.

use crate::handle::{GENERATION_WIDTH, Sought, Token};

const REFERENCE_BITS: u32 = 28;
const GENERATION_SHIFT: u32 = REFERENCE_BITS;
const STATE_SHIFT: u32 = GENERATION_SHIFT + GENERATION_WIDTH;
const STATE_BITS: u32 = 3;
const HELD_SHIFT: u32 = STATE_SHIFT + STATE_BITS;
const _: () = assert!(HELD_SHIFT + 1 == u64::BITS);
const REFERENCE_MASK: u64 = (1 << REFERENCE_BITS) - 1;
const STATE_MASK: u64 = ((1 << STATE_BITS) - 1) << STATE_SHIFT;
const GENERATION_MASK: u64 = (1 << GENERATION_WIDTH) - 1;

/// The library's own claim.
pub(crate) const HELD: u64 = 1 << HELD_SHIFT;

/// The most counted references one object can have.
pub(crate) const MAX_REFERENCES: u32 = REFERENCE_MASK as u32;

/// What a slot holds. The legal transitions stand at the head of `slab`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// No object: never used, free, or being prepared by the one who reserved it.
    Vacant = 0,
    /// An object that resolves.
    Live = 1,
    /// An object that was unpublished; its payload waits for the grace period.
    Dead = 2,
    /// Its payload is gone; references or the library still hold the plain information.
    Ghost = 3,
    /// Every generation is used up; never used again.
    Spent = 4,
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
        (self.0 >> GENERATION_SHIFT & GENERATION_MASK) as u32
    }

    #[inline(always)]
    pub(crate) fn references(self) -> u32 {
        (self.0 & REFERENCE_MASK) as u32
    }

    #[inline(always)]
    pub(crate) fn state(self) -> State {
        match (self.0 & STATE_MASK) >> STATE_SHIFT {
            0 => State::Vacant,
            1 => State::Live,
            2 => State::Dead,
            3 => State::Ghost,
            _ => State::Spent,
        }
    }

    /// Whether the word says: this generation, and live.
    #[inline(always)]
    pub(crate) fn is_live(self, sought: Sought) -> bool {
        let live = (State::Live as u64) << GENERATION_WIDTH;
        self.0 >> GENERATION_SHIFT == live | u64::from(sought.generation())
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

    /// Whether the word says: this very object, and somebody may still describe it.
    #[inline(always)]
    pub(crate) fn resolves(self, token: Token) -> bool {
        self.generation() == token.generation()
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
                    assert!(!word.is_live(other.sought()) && !word.resolves(other));
                }
            }
        }
    }

    #[test]
    fn the_dead_resolve_only_while_referenced() {
        let token = Token::new(9, 0);
        for state in [State::Dead, State::Ghost] {
            assert!(!Word::new(9, state, 0).resolves(token));
            assert!(Word::new(9, state, 1).resolves(token));
            assert!(Word(Word::new(9, state, 0).0 | HELD).resolves(token));
        }
        assert!(!Word::new(9, State::Vacant, 0).resolves(token));
        assert!(!Word::new(9, State::Spent, 0).resolves(token));
    }
}
