//! A Rust static library that is no relation of librtm: with its own copy of std, whose symbols librtm.a must not meet.

use std::collections::HashMap;
use std::panic::catch_unwind;
use std::thread;

/// Uses what both copies of std have: memory, threads, thread-locals, unwinding.
#[no_mangle]
pub extern "C" fn other_work(n: u64) -> u64 {
    let thread = thread::spawn(move || (0..n).map(|i| (i, i * i)).collect::<HashMap<u64, u64>>());
    let squares = thread.join().unwrap();
    let caught = catch_unwind(|| if squares.len() as u64 == n { panic!("on purpose") });
    squares.values().sum::<u64>() + u64::from(caught.is_err())
}
