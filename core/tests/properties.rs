//! Random histories against an oracle: a registry that is trivially correct.
#![cfg(not(any(rtm_loom, rtm_broken, rtm_shuttle)))]

mod common;

use common::{Small, Tiny, Tracked, V4, V6, entity};
use proptest::prelude::*;
use rtm_core::{Config, DropBy, EntityInfo, Handle, Refusal, Registry, Settings, Standard};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

#[derive(Clone, Debug)]
enum Step {
    Register { v6: bool, id: u64, deferred: bool },
    Deregister(usize),
    Reference(usize),
    Release(usize),
    Look(usize),
    Enumerate { v6: bool },
    Hold,
    LetGo,
    Flush,
    Collect,
}

/// A handle's whole history, as the rules have it.
#[derive(Default)]
struct Oracle {
    entities: BTreeMap<Handle, Fate>,
}

struct Fate {
    info: EntityInfo,
    live: bool,
    references: u32,
}

impl Oracle {
    fn holder(&self, info: EntityInfo) -> Option<Handle> {
        self.entities.iter().find(|(_, fate)| fate.live && fate.info == info).map(|(h, _)| *h)
    }

    fn live(&self) -> usize {
        self.entities.values().filter(|fate| fate.live).count()
    }
}

fn steps(ids: u64) -> impl Strategy<Value = Vec<Step>> {
    let id = prop_oneof![0..ids, (u64::MAX - ids)..=u64::MAX];
    let step = prop_oneof![
        6 => (any::<bool>(), id, any::<bool>())
            .prop_map(|(v6, id, deferred)| Step::Register { v6, id, deferred }),
        5 => any::<usize>().prop_map(Step::Deregister),
        2 => any::<usize>().prop_map(Step::Reference),
        2 => any::<usize>().prop_map(Step::Release),
        4 => any::<usize>().prop_map(Step::Look),
        1 => any::<bool>().prop_map(|v6| Step::Enumerate { v6 }),
        1 => Just(Step::Hold),
        1 => Just(Step::LetGo),
        1 => Just(Step::Flush),
        1 => Just(Step::Collect),
    ];
    prop::collection::vec(step, 1..400)
}

fn run<C: Config>(steps: &[Step]) {
    let drops = AtomicUsize::new(0);
    let registry = Registry::<Tracked, C>::with_config(Settings::default()).unwrap();
    let member = registry.join().unwrap();
    let reader = registry.join().unwrap();
    let mut oracle = Oracle::default();
    let mut handles: Vec<Handle> = Vec::new();
    let mut guard = None;
    let mut held: Vec<(Handle, rtm_core::Entity<'_, Tracked>)> = Vec::new();
    let (mut made, mut exhausted) = (0, false);
    let pick =
        |handles: &[Handle], n: usize| (!handles.is_empty()).then(|| handles[n % handles.len()]);
    let table = |v6| if v6 { V6 } else { V4 };
    for step in steps {
        match *step {
            Step::Register { v6, id, deferred } => {
                let info = entity(table(v6), id);
                let drop_by = if deferred { DropBy::Collectors } else { DropBy::Writers };
                made += 1;
                match member.register_handle(info, Tracked::new(id, &drops), drop_by) {
                    Ok(handle) => {
                        assert_eq!(oracle.holder(info), None);
                        let fate = Fate { info, live: true, references: 0 };
                        assert!(oracle.entities.insert(handle, fate).is_none(), "handle reused");
                        handles.push(handle);
                    }
                    Err(error) if error.refusal == Refusal::NoSlot => {
                        assert!(C::GENERATION_BITS < 32, "slots ran out");
                        exhausted = true;
                    }
                    Err(error) => {
                        assert_eq!(error.refusal, Refusal::AlreadyExists);
                        assert!(oracle.holder(info).is_some());
                    }
                }
            }
            Step::Deregister(n) => {
                let Some(handle) = pick(&handles, n) else { continue };
                let fate = oracle.entities.get_mut(&handle).unwrap();
                assert_eq!(member.deregister(handle).is_ok(), fate.live);
                fate.live = false;
            }
            Step::Reference(n) => {
                let Some(handle) = pick(&handles, n) else { continue };
                let fate = oracle.entities.get_mut(&handle).unwrap();
                let resolves = fate.live || fate.references > 0;
                assert_eq!(registry.reference(handle).is_ok(), resolves);
                fate.references += u32::from(resolves);
            }
            Step::Release(n) => {
                let Some(handle) = pick(&handles, n) else { continue };
                let fate = oracle.entities.get_mut(&handle).unwrap();
                assert_eq!(member.release(handle).is_ok(), fate.references > 0);
                fate.references = fate.references.saturating_sub(1);
            }
            Step::Look(n) => {
                let Some(handle) = pick(&handles, n) else { continue };
                let fate = &oracle.entities[&handle];
                let resolves = fate.live || fate.references > 0;
                assert_eq!(registry.info(handle).ok(), resolves.then_some(fate.info));
                assert_eq!(registry.registered_info(handle).is_ok(), fate.live);
                assert_eq!(registry.references(handle), fate.references);
                let guard = member.enter();
                assert_eq!(guard.get(handle).is_ok(), fate.live);
                if let Ok(entity) = guard.get(handle) {
                    entity.check(fate.info.id);
                }
            }
            Step::Enumerate { v6 } => {
                let guard = member.enter();
                let mut seen: Vec<_> =
                    guard.entities(table(v6)).map(|e| (e.handle(), e.info())).collect();
                seen.sort_unstable_by_key(|(handle, _)| *handle);
                let expected: Vec<_> = (oracle.entities.iter())
                    .filter(|(_, fate)| fate.live && fate.info.table == table(v6))
                    .map(|(handle, fate)| (*handle, fate.info))
                    .collect();
                assert_eq!(seen, expected);
            }
            Step::Hold => {
                if guard.is_none() {
                    // Leaked for a plain lifetime; taken back below.
                    guard = Some(Box::into_raw(Box::new(reader.enter())));
                    // SAFETY: the box is freed only after `held` is emptied.
                    let guard: &rtm_core::Guard<'_, Tracked, C> = unsafe { &*guard.unwrap() };
                    for (handle, fate) in &oracle.entities {
                        if fate.live {
                            held.push((*handle, guard.get(*handle).unwrap()));
                        }
                    }
                }
            }
            Step::LetGo => {
                if let Some(guard) = guard.take() {
                    for (handle, entity) in held.drain(..) {
                        entity.check(oracle.entities[&handle].info.id);
                    }
                    // SAFETY: made by `Box::into_raw` above; nothing borrows it any more.
                    drop(unsafe { Box::from_raw(guard) });
                }
            }
            Step::Flush => {
                assert_eq!(registry.flush().is_err(), guard.is_some());
                if guard.is_none() {
                    assert_eq!(made - drops.load(Ordering::Relaxed), oracle.live());
                }
            }
            Step::Collect => {
                registry.collect();
                for (handle, entity) in &held {
                    entity.check(oracle.entities[handle].info.id);
                }
            }
        }
        let statistics = registry.statistics();
        assert_eq!(statistics.live as usize, oracle.live());
        let kept = oracle.entities.values().filter(|fate| !fate.live && fate.references > 0);
        assert_eq!(statistics.referenced as usize, kept.count());
    }
    held.clear();
    if let Some(guard) = guard {
        // SAFETY: made by `Box::into_raw` above; nothing borrows it any more.
        drop(unsafe { Box::from_raw(guard) });
    }
    for (handle, fate) in &oracle.entities {
        assert_eq!(registry.deregister(*handle).is_ok(), fate.live);
    }
    registry.flush().unwrap();
    assert_eq!(drops.load(Ordering::Relaxed), made);
    assert!(exhausted || registry.statistics().retired == 0);
    drop((member, reader));
    drop(registry);
    assert_eq!(drops.load(Ordering::Relaxed), made);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn tiny_layout(steps in steps(6)) {
        run::<Tiny>(&steps);
    }

    #[test]
    fn small_layout(steps in steps(40)) {
        run::<Small>(&steps);
    }

    #[test]
    fn standard_layout(steps in steps(200)) {
        run::<Standard>(&steps);
    }
}
