//! Bug: a payload that had been moved out of its slot was dropped again with the registry if the
//! `Departed` it came from was leaked.
#![cfg(not(rtm_loom))]

mod common;

use common::{Tracked, V4, entity};
use rtm_core::{DropBy, Registry, Settings};
use std::sync::atomic::{AtomicUsize, Ordering};

#[test]
fn a_payload_moved_out_is_dropped_once() {
    let drops = AtomicUsize::new(0);
    let registry = Registry::<Tracked>::new(Settings::default()).unwrap();
    for id in 0..2 {
        let payload = Tracked::new(id, &drops);
        let handle = registry.register_handle(entity(V4, id), payload, DropBy::Collectors).unwrap();
        registry.deregister(handle).unwrap();
    }
    let member = registry.join().unwrap();
    member.collect();
    let mut departed = member.departed();
    let payload = departed.next_departed().unwrap();
    std::mem::forget(departed);
    drop(payload);
    assert_eq!(drops.load(Ordering::Relaxed), 1);
    drop(member);
    drop(registry);
    assert_eq!(drops.load(Ordering::Relaxed), 2);
}
