//! How all maps that are compared hash their keys.

use std::hash::{BuildHasherDefault, Hasher};

/// One multiplication, and the upper half folded into the lower.
#[derive(Default)]
pub struct Multiply(u64);

/// Makes hashers of it.
pub type Build = BuildHasherDefault<Multiply>;

impl Hasher for Multiply {
    #[inline(always)]
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(self.0 ^ u64::from(*byte)));
    }

    #[inline(always)]
    fn write_u64(&mut self, number: u64) {
        let product = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = product ^ product >> 32;
    }
}
