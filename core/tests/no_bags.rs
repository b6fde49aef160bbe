//! A lender without bags: waits say so at once, and nothing is lost. The lender is one for the process.

#![cfg(not(any(rtm_loom, rtm_shuttle)))]

mod common;

use common::{V4, entity};
use rtm_core::reserve::{BAG, Lender, set_lender};
use rtm_core::{DropBy, Registry, Settings, WaitError};
use std::alloc::{Layout, alloc};
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;

static SHORT: AtomicBool = AtomicBool::new(false);

unsafe fn lend(_: NonNull<u8>, _: Layout) {}

unsafe fn end(_: NonNull<u8>) -> bool {
    true
}

fn bag() -> *mut u8 {
    if SHORT.load(Ordering::Relaxed) {
        return null_mut();
    }
    // SAFETY: not empty.
    unsafe { alloc(BAG) }
}

static LENDER: Lender = Lender { lend, end, bag };

#[test]
fn waits_report_that_there_is_no_bag() {
    // SAFETY: what is lent is not used, and each block is given back when its loan ends.
    unsafe { set_lender(&LENDER) };
    let (sender, answers) = channel();
    let thread = std::thread::spawn(move || {
        let registry = Registry::<u64>::new(Settings::default()).unwrap();
        let handle = registry.register_handle(entity(V4, 1), 1, DropBy::Writers).unwrap();
        SHORT.store(true, Ordering::Relaxed);
        registry.deregister(handle).unwrap();
        sender.send(registry.synchronize()).unwrap();
        sender.send(registry.flush()).unwrap();
        assert_eq!(registry.statistics().retired, 1);
        SHORT.store(false, Ordering::Relaxed);
        sender.send(registry.flush()).unwrap();
        assert_eq!(registry.statistics().retired, 0);
    });
    let next = || answers.recv_timeout(Duration::from_secs(20)).expect("it hangs");
    assert_eq!(next(), Err(WaitError::OutOfMemory));
    assert_eq!(next(), Err(WaitError::OutOfMemory));
    assert_eq!(next(), Ok(()));
    thread.join().unwrap();
}
