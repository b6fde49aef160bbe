//! A process whose address space is limited has a registry all the same, and room beside it.
//!
//! The limit holds for the process, so this is the only test of its file.

mod common;

use common::{V4, entity};
use rtm_core::{DropBy, Refusal, Registry, Settings};

const LIMIT: u64 = 1 << 30;

#[test]
fn under_a_limit() {
    let limit = libc::rlimit { rlim_cur: LIMIT, rlim_max: LIMIT };
    // SAFETY: reads the structure.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &raw const limit) }, 0);
    let registries: Vec<_> =
        (0..3).map(|_| Registry::<[u64; 14]>::new(Settings::default()).unwrap()).collect();
    for registry in &registries {
        for id in 0..50_000 {
            registry.register_handle(entity(V4, id), [id; 14], DropBy::Writers).unwrap();
        }
    }
    let registry = &registries[0];
    let refused = (50_000..)
        .find_map(|id| registry.register_handle(entity(V4, id), [id; 14], DropBy::Writers).err());
    let refusal = refused.map(|error| error.refusal);
    assert!(matches!(refusal, Some(Refusal::NoSlot | Refusal::OutOfMemory)), "{refusal:?}");
    assert!(registry.statistics().live > 500_000, "{:?}", registry.statistics());
    // There is memory for others.
    drop(vec![1_u8; 64 << 20]);
}
