//! Handles: 64 opaque bits that name an object for ever, and the layout behind them.
//!
//! ```text
//!  63                            32 31  28 27                         0
//! +--------------------------------+------+----------------------------+
//! |        generation ^ key        | kind |         slot ^ key         |
//! +--------------------------------+------+----------------------------+
//! ```
//!
//! - *kind* (never 0, so that no handle is 0) is in the clear: a handle of the wrong kind is always
//!   recognised.
//! - *generation* says which tenant of the slot is meant. A slot starts at a generation drawn from
//!   the slab's secret and never uses one twice.
//! - generation and slot are stored exclusive-or the slab's random key.
//!
//! A handle of another slab of the same kind (another registry, a second copy of the library, the
//! registry before `RtmxShutdown`) therefore decodes to a slot and a generation that are random
//! with respect to this slab: it resolves with a probability of at most live / 2^60, live being the
//! number of live objects here (2^-43 for 91,000 entities). The same holds for a number made up
//! without knowledge of any handle; one made from a live handle by changing its slot bits meets an
//! unrelated generation (2^-32). Neither is a promise against an attacker inside the process.

use std::fmt;
use std::num::NonZeroU64;

/// How a registry is built. [`Standard`] is what a routing table uses, [`HandlesOnly`] is for objects without
/// ids; others are for tests.
pub trait Config: Send + Sync + 'static {
    /// Bits of a generation, at most 32. A slot is used 2^bits times, then retired.
    const GENERATION_BITS: u32;
    /// A chunk has 2^bits slots.
    const CHUNK_BITS: u32;
    /// There are at most 2^bits slots, at most 28 bits. Address space is reserved for all of them (if
    /// there is less, there are fewer), memory is not.
    const SLOT_BITS: u32;
    /// Retirements that are handed to the collector together.
    const MAGAZINE: u32;
    /// An index starts with 2^level buckets.
    const INDEX_LEVEL: u32;
    /// An index counts one in 2^sample of its ids, to know when to grow.
    const INDEX_SAMPLE: u32;
    /// Entities whose credit moves between a thread's stock and the common pool at once.
    const CREDIT_BATCH: i64;
    /// Whether ids are unique and entities can be enumerated: whether there is an index of ids. Without
    /// one, ids are information like any other, [`Guard::entities`](crate::Guard::entities) shows nobody,
    /// and registering and deregistering cost less.
    const UNIQUE_IDS: bool = true;
}

/// The shipped sizes: 32-bit generations, 2^28 slots in chunks of 512. (With `--cfg rtm_short_generations`, for
/// tests, 4-bit generations.)
#[derive(Clone, Copy, Debug)]
pub struct Standard;

impl Config for Standard {
    const GENERATION_BITS: u32 = if cfg!(rtm_short_generations) { 4 } else { 32 };
    const CHUNK_BITS: u32 = 9;
    const SLOT_BITS: u32 = SLOT_BITS;
    const MAGAZINE: u32 = 256;
    const INDEX_LEVEL: u32 = 6;
    const INDEX_SAMPLE: u32 = 5;
    const CREDIT_BATCH: i64 = 64;
}

/// As [`Standard`], but without an index of ids: for objects whose only name is their handle.
#[derive(Clone, Copy, Debug)]
pub struct HandlesOnly;

impl Config for HandlesOnly {
    const GENERATION_BITS: u32 = Standard::GENERATION_BITS;
    const CHUNK_BITS: u32 = Standard::CHUNK_BITS;
    const SLOT_BITS: u32 = Standard::SLOT_BITS;
    const MAGAZINE: u32 = Standard::MAGAZINE;
    const INDEX_LEVEL: u32 = 0;
    const INDEX_SAMPLE: u32 = Standard::INDEX_SAMPLE;
    const CREDIT_BATCH: i64 = Standard::CREDIT_BATCH;
    const UNIQUE_IDS: bool = false;
}

pub(crate) const SLOT_BITS: u32 = 28;
pub(crate) const KIND_SHIFT: u32 = SLOT_BITS;
const KIND_BITS: u32 = 4;
pub(crate) const KIND_MASK: u8 = (1 << KIND_BITS) - 1;
pub(crate) const GENERATION_SHIFT: u32 = KIND_SHIFT + KIND_BITS;
const _: () = assert!(GENERATION_SHIFT + u32::BITS == u64::BITS);

const SLOT_MASK: u64 = (1 << SLOT_BITS) - 1;
const TOKEN_MASK: u64 = !((KIND_MASK as u64) << KIND_SHIFT);

/// The name of one object for ever: of this object and of no other, before or after it.
///
/// Opaque, never 0, all 64 bits significant. Two handles are equal exactly when they name the same
/// object of the same registry. Nothing can be read from its bits, and any number may be offered
/// back as one: what does not name a live object is refused.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(transparent)]
pub struct Handle(NonZeroU64);

impl Handle {
    /// The handle with these bits; `None` for 0, which no handle has.
    #[inline(always)]
    pub const fn from_bits(bits: u64) -> Option<Handle> {
        match NonZeroU64::new(bits) {
            Some(bits) => Some(Handle(bits)),
            None => None,
        }
    }

    /// The bits, as a C program sees them.
    #[inline(always)]
    pub const fn to_bits(self) -> u64 {
        self.0.get()
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Handle({:#018x})", self.0)
    }
}

/// What a handle names. The numbers are part of every handle and never reused; 14 and 15 are left to handles
/// that are not ours (event queues and reader objects of the C interface).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// A registered entity.
    Entity = 1,
    /// Of no registry: for tests of other kinds.
    #[cfg(all(test, not(rtm_loom)))]
    Other = 2,
}

/// A handle less its key, whose kind nobody has looked at yet.
///
/// Where the handle has its kind stands 1000 if that is right, what the word of a live object has in the same
/// place. So one comparison of the [number](Sought::number) with that of the last slot finds kind and slot
/// right, and after it one comparison with the word generation and state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sought(u64);

impl Sought {
    /// In the place of a kind that is right.
    pub(crate) const RIGHT: u64 = 0b1000 << KIND_SHIFT;
    /// The [number](Sought::number) of slot 0: the least, as a signed one.
    pub(crate) const FIRST: u32 = Self::RIGHT as u32;

    /// The slot's number, from [`FIRST`](Sought::FIRST) on, if the kind is right; else one that as a *signed* number is
    /// above all that slots have.
    #[inline(always)]
    pub(crate) fn number(self) -> u32 {
        self.0 as u32
    }

    /// The number of this slot.
    #[inline(always)]
    pub(crate) fn number_of(slot: u32) -> u32 {
        Self::FIRST + slot
    }

    #[inline(always)]
    pub(crate) fn bits(self) -> u64 {
        self.0
    }

    /// The token, if the kind is right.
    #[inline(always)]
    pub(crate) fn token(self) -> Option<Token> {
        (self.0 & !TOKEN_MASK == Self::RIGHT).then_some(Token(self))
    }

    /// The token of which the caller has seen that the kind is right.
    #[inline(always)]
    pub(crate) fn known(self) -> Token {
        debug_assert!(self.token().is_some());
        Token(self)
    }
}

/// Generation and slot of an object: what is sought with a handle of the right kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token(Sought);

impl Token {
    #[inline(always)]
    pub(crate) fn new(generation: u32, slot: u32) -> Token {
        debug_assert!(u64::from(slot) <= SLOT_MASK);
        let number = Sought::number_of(slot);
        Token(Sought(u64::from(generation) << GENERATION_SHIFT | u64::from(number)))
    }

    /// From what [`bits`](Token::bits) gave, whatever stands in the place of the kind.
    #[inline(always)]
    pub(crate) fn from_bits(bits: u64) -> Token {
        Token(Sought(bits & TOKEN_MASK | Sought::RIGHT))
    }

    /// The bits, 0 in the place of the kind.
    #[inline(always)]
    pub(crate) fn bits(self) -> u64 {
        self.0.0 ^ Sought::RIGHT
    }

    #[inline(always)]
    pub(crate) fn sought(self) -> Sought {
        self.0
    }

    #[inline(always)]
    pub(crate) fn generation(self) -> u32 {
        (self.0.0 >> GENERATION_SHIFT) as u32
    }

    #[inline(always)]
    pub(crate) fn slot(self) -> u32 {
        (self.0.0 & SLOT_MASK) as u32
    }
}

/// Turns tokens into handles and back, for one slab.
#[derive(Clone, Copy)]
pub(crate) struct Cipher {
    /// What turns the kind into a right one, and the key.
    mask: u64,
}

impl Cipher {
    pub(crate) fn new(kind: Kind, secret: u64) -> Cipher {
        let kind = (kind as u64) << KIND_SHIFT;
        Cipher { mask: (kind ^ Sought::RIGHT) | mix(secret) & TOKEN_MASK }
    }

    #[inline(always)]
    pub(crate) fn seal(self, token: Token) -> Handle {
        // The kind is not 0, so neither is the handle.
        Handle(NonZeroU64::new(token.sought().bits() ^ self.mask).unwrap_or(NonZeroU64::MAX))
    }

    /// What a look-up of this handle seeks.
    #[inline(always)]
    pub(crate) fn seek(self, handle: Handle) -> Sought {
        Sought(handle.to_bits() ^ self.mask)
    }

    /// The token, if the handle is of this slab's kind. Of a foreign handle: a random one.
    #[inline(always)]
    pub(crate) fn open(self, handle: Handle) -> Option<Token> {
        self.seek(handle).token()
    }
}

/// A bijection that spreads every bit of `x` over all 64 (the finaliser of splitmix64).
#[inline(always)]
pub(crate) fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ x >> 31
}

/// 64 bits nobody can guess, from the operating system by way of std's hash keys.
pub(crate) fn random_secret() -> u64 {
    if cfg!(any(rtm_loom, rtm_shuttle)) {
        // Every execution of a model must go the same way.
        return 0x0123_4567_89ab_cdef;
    }
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0x7274_6d00_u32)
}

#[cfg(all(test, not(rtm_loom)))]
mod tests {
    use super::*;

    #[test]
    fn tokens_and_handles_round_trip() {
        for secret in [0, 1, u64::MAX, 0x1234_5678_9abc_def0] {
            let cipher = Cipher::new(Kind::Entity, secret);
            for generation in [0, 1, 7, u32::MAX] {
                for slot in [0, 1, 511, 512, (1 << 28) - 1] {
                    let token = Token::new(generation, slot);
                    assert_eq!((token.generation(), token.slot()), (generation, slot));
                    assert_eq!(Token::from_bits(token.bits()), token);
                    let handle = cipher.seal(token);
                    assert_eq!(cipher.open(handle), Some(token));
                    assert_eq!(Handle::from_bits(handle.to_bits()), Some(handle));
                    assert_eq!(Cipher::new(Kind::Other, secret).open(handle), None);
                    assert_eq!(cipher.seek(handle), token.sought());
                    assert_eq!(token.sought().number(), Sought::FIRST + slot);
                    assert_eq!(token.sought().known(), token);
                    for kind in 1..16 {
                        let wrong = Handle::from_bits(handle.to_bits() ^ kind << KIND_SHIFT);
                        let sought = cipher.seek(wrong.unwrap_or(handle));
                        assert!(wrong.is_none() || sought.token().is_none());
                        let above = (Sought::FIRST + (1 << SLOT_BITS)) as i32;
                        assert!(wrong.is_none() || sought.number() as i32 >= above);
                    }
                }
            }
        }
        assert_eq!(Handle::from_bits(0), None);
    }

    #[test]
    fn secrets_differ() {
        assert_ne!(random_secret(), random_secret());
    }
}
