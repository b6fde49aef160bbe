//! What the benchmark programs of rtm share: the input, the load driver, the pages of
//! figures, and the comparison with the peers (feature `peers`).

#[cfg(feature = "peers")]
pub mod compare;
pub mod counts;
pub mod hash;
pub mod input;
pub mod load;
pub mod page;
