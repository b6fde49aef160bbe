//! Looking at slots one by one, for descriptions of what is there. Nobody is kept from anything.

use super::directory::Fixed;
use super::word::{State, Word};
use super::{Slab, look};
use crate::handle::{Config, Token};
use crate::sync::{Ordering, fence};

/// What a slot held at some moment.
pub(crate) struct Tenant<P> {
    pub(crate) token: Token,
    pub(crate) plain: P,
    /// [`State::Live`], [`State::Dead`] or [`State::Ghost`].
    pub(crate) state: State,
    pub(crate) references: u32,
    pub(crate) held: bool,
}

impl<F: Fixed, T: Send + Sync, C: Config> Slab<F, T, C> {
    /// Numbers of slots are below this.
    pub(crate) fn slots(&self) -> u32 {
        self.directory.chunks() << C::CHUNK_BITS
    }

    /// Whether the object is live, or has ended and is held by the library.
    pub(crate) fn is_live_or_held(&self, token: Token) -> bool {
        let word = self.directory.slot_of(token).map(|(word, _)| look(word));
        word.is_some_and(|word| {
            let ended = matches!(word.state(), State::Dead | State::Ghost);
            word.generation() == token.generation()
                && (word.state() == State::Live || ended && word.is_held())
        })
    }

    /// The object in this slot, if there is one: also one that has ended and that nobody holds.
    pub(crate) fn tenant(&self, slot: u32) -> Option<Tenant<F::Plain>> {
        let (word, place) = self.directory.slot(slot)?;
        let before = look(word);
        let state = before.state();
        if matches!(state, State::Vacant | State::Spent) {
            return None;
        }
        let plain = place.fixed.read();
        // Fence: as in `copy`. If the copy saw anything of a later object, its generation is seen below.
        fence(Ordering::Acquire);
        let after = Word(word.load(Ordering::Relaxed));
        (after.generation() == before.generation()).then(|| Tenant {
            token: Token::new(before.generation(), slot),
            plain,
            state,
            references: before.references(),
            held: before.is_held(),
        })
    }
}
