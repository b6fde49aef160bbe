//! What the fuzz targets do with the bytes that they are given. A divergence from what is specified is a
//! panic; so is each of the library's own assertions, which are on.
//!
//! The targets in `fuzz_targets` and the replay of the corpus in `tests` call these functions and
//! nothing else.

pub mod abi;
pub mod csv;
pub mod handles;

/// The reader of rtm-load, without what else its package needs.
#[path = "../../benches/src/input.rs"]
pub mod input;
