//! Histories: what threads did to a registry, and when, is compared with the sequential specification.
//!
//! ```text
//! cargo test -p rtm-core --test history -- --nocapture                          # a second or two
//! RTM_HISTORY_SECONDS=600 cargo test -p rtm-core --test history -- --nocapture  # each test so long
//!
//! RUSTFLAGS="--cfg rtm_shuttle" RTM_SCHEDULES=2000000 \
//!     cargo test -p rtm-core --test history --target-dir target/shuttle -- --nocapture
//! ```
//!
//! In an ordinary build the threads are the machine's (`threads.rs`); with `--cfg rtm_shuttle` a scheduler
//! decides after each atomic operation who goes on (`schedules.rs`). A failure prints the operations
//! that no order explains, and the seed that repeats it.
#![cfg(not(rtm_loom))]

mod check;
#[path = "../common/mod.rs"]
mod common;
mod drive;
mod listen;
#[cfg(rtm_shuttle)]
mod schedules;
#[cfg(not(rtm_shuttle))]
mod threads;

fn variable(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text}: not a number")))
}

/// Says, if the rest panics, how to repeat it.
struct Repeat(&'static str, u64);

impl Drop for Repeat {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("{}={} repeats this", self.0, self.1);
        }
    }
}
