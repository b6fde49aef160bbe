//! The model: with the defect loom finds it, without it holds.
#![cfg(rtm_loom)]

use rtm_core::Config;
use rtm_loom_example::{Backend, Reuse};
use std::sync::Arc;

/// A registry that is small enough for loom: four slots.
struct Small;

impl Config for Small {
    const GENERATION_BITS: u32 = 32;
    const CHUNK_BITS: u32 = 1;
    const SLOT_BITS: u32 = 2;
    const MAGAZINE: u32 = 1;
    const INDEX_LEVEL: u32 = 0;
    const INDEX_SAMPLE: u32 = 0;
    const CREDIT_BATCH: i64 = 1;
}

/// One protocol goes and another comes, for which there is only the one place, while a thread forwards.
fn forwarding(reuse: Reuse) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(2);
    builder.max_branches = 50_000;
    builder.check(move || {
        let backend = Arc::new(Backend::<Small>::new(1, reuse).expect("memory"));
        let worker = backend.worker().expect("memory");
        let ospf = worker.add(1, 0x0a00_0001).expect("there is a place");
        let forwarding = {
            let backend = backend.clone();
            loom::thread::spawn(move || {
                let worker = backend.worker().expect("memory");
                if let Some(next_hop) = worker.forward(ospf) {
                    assert_eq!(next_hop, 0x0a00_0001, "forwarded to another protocol's next hop");
                }
            })
        };
        assert!(worker.remove(ospf));
        // Refused while the place cannot be used again.
        worker.add(2, 0x0a00_0002);
        forwarding.join().expect("no panic");
    });
}

#[test]
#[should_panic(expected = "forwarded to another protocol's next hop")]
fn a_place_used_again_at_deregistration() {
    forwarding(Reuse::AtDeregistration);
}

#[test]
fn a_place_used_again_at_reclamation() {
    forwarding(Reuse::AtReclamation);
}
