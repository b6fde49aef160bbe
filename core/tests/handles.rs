//! Which handles are refused: forged, foreign, of another kind, and those of former tenants of a slot.
#![cfg(not(rtm_loom))]

mod common;

use common::{Random, Tiny, V4, entity};
use rtm_core::{Config, DropBy, Guard, Handle, Refusal, Registry, Settings};

fn registry<T: Send + Sync>() -> Registry<T> {
    Registry::new(Settings::default()).unwrap()
}

#[test]
#[cfg_attr(
    rtm_short_generations,
    ignore = "a neighbour's slot may well have the same of 16 generations"
)]
fn forged_and_foreign_handles_are_refused() {
    let ours = registry::<u64>();
    let theirs = registry::<u64>();
    let mine: Vec<_> =
        (0..1000).map(|id| ours.register(entity(V4, id), id).unwrap().into_handle()).collect();
    let foreign: Vec<_> =
        (0..1000).map(|id| theirs.register(entity(V4, id), id).unwrap().into_handle()).collect();
    let guard = ours.enter();
    for &handle in &foreign {
        assert!(guard.get(handle).is_err() && ours.info(handle).is_err());
        assert!(ours.reference(handle).is_err() && ours.release(handle).is_err());
        assert!(ours.deregister(handle).is_err());
    }
    let mut random = Random(0x1234_5678);
    for _ in 0..1_000_000 {
        let handle = Handle::from_bits(random.next() | 1).unwrap();
        assert!(guard.get(handle).is_err() && ours.info(handle).is_err());
    }
    for &handle in &mine {
        for bit in 0..64 {
            let Some(forged) = Handle::from_bits(handle.to_bits() ^ 1 << bit) else { continue };
            assert!(guard.get(forged).is_err(), "{handle:?} with bit {bit} flipped");
        }
        assert!(guard.get(handle).is_ok());
    }
}

/// Every number that differs from the handle in its kind, its generation's lowest bits, or both, and the
/// handle itself, is refused by all look-ups; of the handle, `described` says whether a copy is to be had.
fn assert_refused<C: Config>(registry: &Registry<u64, C>, handle: Handle, described: bool) {
    let member = registry.join().unwrap();
    let guard = registry.enter();
    for forgery in 0..64_u64 {
        let bits = handle.to_bits() ^ (forgery >> 2) << 28 ^ (forgery & 3) << 32;
        let Some(forged) = Handle::from_bits(bits) else { continue };
        assert!(guard.get(forged).is_err(), "{handle:?} as {forged:?}");
        guard.get_each(&[forged], |_, found| assert!(found.is_err()));
        assert!(registry.look_up(forged).is_err() && member.look_up(forged).is_err());
        assert!(registry.registered_info(forged).is_err());
        assert_eq!(registry.info(forged).is_ok(), described && forgery == 0);
        assert_eq!(registry.references(forged) != 0, described && forgery == 0);
    }
}

#[test]
fn no_kind_of_handle_finds_what_is_not_live() {
    let registry = registry::<u64>();
    let handle = registry.register(entity(V4, 1), 1).unwrap().into_handle();
    registry.reference(handle).unwrap();
    let reader = registry.enter();
    registry.deregister(handle).unwrap();
    // Dead, referenced.
    assert_refused(&registry, handle, true);
    drop(reader);
    registry.flush().unwrap();
    // Its payload gone.
    assert_refused(&registry, handle, true);
    registry.release(handle).unwrap();
    // Vacant, in the next generation.
    assert_refused(&registry, handle, false);
    let reader = registry.enter();
    let handle = registry.register(entity(V4, 1), 1).unwrap().into_handle();
    registry.deregister(handle).unwrap();
    // Dead, unreferenced.
    assert_refused(&registry, handle, false);
    drop(reader);
    // Spent.
    let registry = Registry::<u64, Tiny>::with_config(Settings::default()).unwrap();
    for id in 0..100 {
        let handle = registry.register(entity(V4, id), id).unwrap().into_handle();
        registry.deregister(handle).unwrap();
        registry.flush().unwrap();
        assert_refused(&registry, handle, false);
    }
    assert!(registry.statistics().exhausted_slots > 0);
}

#[test]
fn generations_run_out_and_slots_retire() {
    // 2 generation bits: each slot serves four objects, and no handle comes twice.
    let registry = Registry::<u64, Tiny>::with_config(Settings::default()).unwrap();
    let mut seen = std::collections::HashSet::new();
    let mut refusal = None;
    for round in 0..10_000 {
        match registry.register_handle(entity(V4, 1), round, DropBy::Writers) {
            Ok(handle) => {
                assert!(seen.insert(handle), "{handle:?} was given out twice");
                registry.deregister(handle).unwrap();
                registry.flush().unwrap();
            }
            Err(error) => {
                refusal = Some(error.refusal);
                break;
            }
        }
    }
    assert_eq!(refusal, Some(Refusal::NoSlot));
    let slots = 1 << 10;
    assert_eq!(seen.len(), 4 * slots);
    assert_eq!(registry.statistics().exhausted_slots, slots as u64);
    for handle in seen {
        assert!(registry.info(handle).is_err());
    }
}

/// In the build with `--cfg rtm_short_generations` the shipped sizes have slots that serve 16 entities.
#[test]
fn shipped_generations() {
    let registry = registry::<u64>();
    for round in 0..40_000 {
        registry.register(entity(V4, 1), round).unwrap();
    }
    registry.flush().unwrap();
    let exhausted = registry.statistics().exhausted_slots;
    assert_eq!(exhausted > 0, cfg!(rtm_short_generations), "{exhausted} slots are used up");
}

/// What a guard has by value when it is made knows nothing of the slots that come after it. (Tiny has chunks of few.)
#[test]
fn a_guard_older_than_the_slots_finds_what_is_in_them() {
    let registry = Registry::<u64, Tiny>::with_config(Settings::default()).unwrap();
    let mut old = registry.enter();
    let nested = registry.enter();
    let handles: Vec<_> =
        (0..500).map(|id| registry.register(entity(V4, id), id).unwrap().into_handle()).collect();
    let check = |guard: &Guard<'_, u64, Tiny>| {
        for (id, &handle) in handles.iter().enumerate() {
            assert_eq!(*guard.get(handle).unwrap(), id as u64);
            for kind in 1..16 {
                let forged = Handle::from_bits(handle.to_bits() ^ kind << 28);
                assert!(forged.is_none_or(|forged| guard.get(forged).is_err()));
            }
        }
        let mut seen = 0;
        guard.get_each(&handles, |index, found| {
            assert_eq!(*found.unwrap(), index as u64);
            seen += 1;
        });
        assert_eq!(seen, handles.len());
        assert_eq!(guard.entities(V4).count(), handles.len());
    };
    check(&old);
    check(&nested);
    drop(nested);
    registry.deregister(handles[499]).unwrap();
    assert!(old.get(handles[499]).is_err());
    old.refresh();
    assert!(old.get(handles[499]).is_err());
    assert!(handles[..499].iter().all(|&handle| old.get(handle).is_ok()));
}
