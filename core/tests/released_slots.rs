//! Bug: a thread that did nothing but release last references kept all the slots it freed, and others
//! took new chunks for ever.
#![cfg(not(rtm_loom))]

mod common;

use common::{V4, entity};
use rtm_core::{DropBy, Registry, Settings};

#[test]
fn slots_freed_by_a_releasing_thread_are_used_again() {
    let registry = Registry::<u64>::new(Settings::default()).unwrap();
    let (writer, releaser) = (registry.join().unwrap(), registry.join().unwrap());
    for round in 0..20_000 {
        let handle = writer.register_handle(entity(V4, 1), round, DropBy::Writers).unwrap();
        registry.reference(handle).unwrap();
        writer.deregister(handle).unwrap();
        if round % 64 == 0 {
            registry.flush().unwrap();
        }
        releaser.release(handle).unwrap();
    }
    let statistics = registry.statistics();
    assert!(statistics.chunks <= 8, "{} chunks for one entity at a time", statistics.chunks);
}
