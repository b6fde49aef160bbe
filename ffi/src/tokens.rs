//! Handles of objects that are not the core's: reader objects and event queues.
//!
//! A handle has a kind (15 and 14; the core's are lower) where the core's have theirs, a serial number that is
//! never used twice (under a random key, so that handles of another manager or library are refused: 2^-44),
//! and the number of the object's place.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

pub(crate) const PLACE_BITS: u32 = 16;
const SERIAL_BITS: u32 = 44;
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
const KIND_SHIFT: u32 = 28;
const KIND_BITS: u32 = 4;
const _: () = assert!(PLACE_BITS + SERIAL_BITS + KIND_BITS == 64 && PLACE_BITS <= KIND_SHIFT);

/// Makes the handles of one kind.
pub(crate) struct Serials {
    kind: u64,
    key: u64,
    next: AtomicU64,
}

impl Serials {
    pub(crate) fn new(kind: u64) -> Serials {
        let key = RandomState::new().hash_one(kind) & ((1 << SERIAL_BITS) - 1);
        Serials { kind, key, next: AtomicU64::new(1) }
    }

    /// A new handle for the object at `place`: never 0, never given before.
    pub(crate) fn next(&self, place: u16) -> u64 {
        let serial = self.next.fetch_add(1, Ordering::Relaxed);
        // Times an odd number: a bijection, after which neighbours differ in many bits.
        let spread = (serial.wrapping_mul(SPREAD) ^ self.key) & ((1 << SERIAL_BITS) - 1);
        let rest = spread << PLACE_BITS | u64::from(place);
        let below = rest & ((1 << KIND_SHIFT) - 1);
        rest >> KIND_SHIFT << (KIND_SHIFT + KIND_BITS) | self.kind << KIND_SHIFT | below
    }
}
