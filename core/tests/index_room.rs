//! Bug, of an earlier index that moved its entries when it grew: ids that had been withdrawn came back during a
//! move and found no room: a panic that left the table broken. And: a mover that slept made others see "out
//! of memory".
#![cfg(not(rtm_loom))]

mod common;

use common::{Random, V4, entity};
use rtm_core::{DropBy, Refusal, Registry, Settings};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

#[test]
fn ids_that_come_back_during_a_move_find_room() {
    let end = Instant::now() + Duration::from_secs(6);
    while Instant::now() < end {
        let registry = Registry::<u64>::new(Settings::default()).unwrap();
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let (registry, stop) = (&registry, &stop);
            // Two blocks of ids that come and go as a whole...
            for thread in 0..2_u64 {
                scope.spawn(move || {
                    let member = registry.join().unwrap();
                    while !stop.load(Ordering::Relaxed) {
                        let handles: Vec<_> = (0..180)
                            .map(|n| {
                                let id = thread << 32 | n;
                                member.register_handle(entity(V4, id), id, DropBy::Writers).unwrap()
                            })
                            .collect();
                        handles.into_iter().for_each(|handle| member.deregister(handle).unwrap());
                    }
                });
            }
            // ...beside ids that are always new, so that the index is rewritten all the time.
            for thread in 2..4_u64 {
                scope.spawn(move || {
                    let member = registry.join().unwrap();
                    let mut random = Random(thread + 1);
                    while !stop.load(Ordering::Relaxed) {
                        let id = random.next() | 1 << 63;
                        match member.register_handle(entity(V4, id), id, DropBy::Writers) {
                            Ok(handle) => member.deregister(handle).unwrap(),
                            Err(error) => assert_eq!(error.refusal, Refusal::AlreadyExists),
                        }
                    }
                });
            }
            std::thread::sleep(Duration::from_millis(500));
            stop.store(true, Ordering::Relaxed);
        });
        assert_eq!(registry.enter().entities(V4).count(), 0);
        assert_eq!(registry.statistics().live, 0);
    }
}
