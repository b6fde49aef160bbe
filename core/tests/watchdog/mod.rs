//! What ends a test that hangs, or that has failed in a thread nobody waits for.
#![allow(dead_code, unreachable_pub)]

use std::io::Write;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// Ends the process if it is not dropped in time.
pub struct Watchdog {
    _alive: mpsc::Sender<()>,
}

impl Watchdog {
    pub fn new(what: &'static str) -> Watchdog {
        let (alive, gone) = mpsc::channel();
        thread::spawn(move || {
            if gone.recv_timeout(Duration::from_secs(120)) == Err(mpsc::RecvTimeoutError::Timeout) {
                // Not `eprintln`: what the test harness has caught goes with the process.
                let _ = writeln!(std::io::stderr(), "{what} hangs");
                std::process::abort();
            }
        });
        Watchdog { _alive: alive }
    }
}

/// Ends the process if a thread panics: others would wait for it, or nobody would see it. Why is shown
/// with `--nocapture`.
pub struct Fatal;

impl Drop for Fatal {
    fn drop(&mut self) {
        if thread::panicking() {
            std::process::abort();
        }
    }
}
