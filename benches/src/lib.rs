//! What the benchmark programs of rtm share: the input, and the load driver.

pub mod input;
pub mod load;
