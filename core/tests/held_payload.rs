//! A payload with memory of its own, read while it is held. Under the address sanitizer a premature drop is a
//! use after free, whatever the memory holds by then; and under the leak sanitizer none may be left.
//! `.ci/run` sees both report a seeded fault: `RTM_MUTANT=RipenAtOnce`, and `RTM_SEEDED_LEAK`.
#![cfg(not(any(rtm_loom, rtm_shuttle)))]

mod common;

use common::{V4, entity};
use rtm_core::{DropBy, Registry, Settings};

#[test]
fn a_held_payload_stays() {
    let registry = Registry::<Vec<u64>>::new(Settings::default()).unwrap();
    for round in 0..300 {
        let payload = vec![round; 100];
        let drop_by = if round % 2 == 0 { DropBy::Writers } else { DropBy::Collectors };
        let handle = registry.register_handle(entity(V4, round), payload, drop_by).unwrap();
        let reader = registry.join().unwrap();
        let guard = reader.enter();
        let held = guard.get(handle).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                registry.deregister(handle).unwrap();
                registry.collect();
            });
        });
        assert!(held.iter().all(|number| *number == round));
    }
    registry.flush().unwrap();
    if std::env::var_os("RTM_SEEDED_LEAK").is_some() {
        std::mem::forget(std::hint::black_box(vec![0_u8; 4321]));
    }
}
