//! Whole registries, through the public interface, with explicit participants.

use crate::{Canary, Ledger, Nameless, Paired, explore, explore_shortly, spawn};
use rtm_core::{
    AddressFamily, DropBy, EntityInfo, Handle, Limits, Participant, Refusal, Registry, Settings,
    TableKey,
};
use std::sync::Arc;

pub(crate) type Models = Registry<Canary, Paired>;
pub(crate) type Member = Participant<'static, Canary, Paired>;

pub(crate) const TABLE: TableKey = TableKey { instance: 0, family: AddressFamily::Inet };

pub(crate) fn info(id: u64) -> EntityInfo {
    EntityInfo { table: TABLE, id }
}

/// A registry that threads reach by reference, and is dropped when all have been joined.
struct World(Arc<Models>);

impl World {
    fn new(settings: Settings) -> World {
        World(Arc::new(Registry::with_config(settings).expect("memory")))
    }

    fn registry(&self) -> &'static Models {
        // SAFETY: the world is dropped last, see `with`.
        unsafe { &*Arc::as_ptr(&self.0) }
    }
}

/// Runs `f` with a registry that outlives everything `f` makes.
pub(crate) fn with(f: impl FnOnce(&'static Models)) {
    with_settings(Settings::default(), f);
}

pub(crate) fn with_settings(settings: Settings, f: impl FnOnce(&'static Models)) {
    let world = World::new(settings);
    f(world.registry());
}

pub(crate) fn register(
    member: &Member,
    id: u64,
    canary: Canary,
) -> Result<Handle, (Refusal, Canary)> {
    let registered = member.register_handle(info(id), canary, DropBy::Writers);
    registered.map_err(|error| (error.refusal, error.payload))
}

pub(crate) fn flush(member: &Member) {
    let mut flushing = member.begin_flush().expect("outside");
    while flushing.next_departed().is_some() {}
}

/// One of two registrations of an id wins; the other gets its payload back.
pub fn two_registrations() {
    explore(|| {
        with(|registry| {
            let ledger = Ledger::default();
            let (one, other) = (registry.join().unwrap(), registry.join().unwrap());
            let canary = ledger.canary(2);
            let thread = spawn(move || (register(&other, 7, canary), other));
            let first = register(&one, 7, ledger.canary(1));
            let (second, _other) = thread.join().unwrap();
            assert!(first.is_ok() != second.is_ok(), "not exactly one registration won");
            for (result, id) in [(first, 1), (second, 2)] {
                match result {
                    Ok(handle) => {
                        assert_eq!(one.enter().get(handle).unwrap().payload().read(), id);
                    }
                    Err((refusal, canary)) => {
                        assert_eq!((refusal, canary.read()), (Refusal::AlreadyExists, id));
                    }
                }
            }
        });
    });
}

/// An id is free once its deregistration returned, and has one holder at any time.
pub fn register_against_deregister() {
    explore(|| {
        with(|registry| {
            let ledger = Ledger::default();
            let (one, other) = (registry.join().unwrap(), registry.join().unwrap());
            let handle = register(&one, 7, ledger.canary(1)).ok().unwrap();
            let canary = ledger.canary(2);
            let thread = spawn(move || {
                assert!(other.deregister(handle).is_ok());
                assert!(other.enter().get(handle).is_err(), "found after its deregistration");
                (register(&other, 7, canary).is_ok(), other)
            });
            let first = register(&one, 7, ledger.canary(3)).is_ok();
            let (second, _other) = thread.join().unwrap();
            assert!(first != second, "a free id was refused, or given out twice");
            let guard = one.enter();
            let shown: Vec<_> =
                guard.entities(TABLE).map(|entity| entity.payload().read()).collect();
            assert_eq!(shown, [if first { 3 } else { 2 }]);
        });
    });
}

/// One of two deregistrations wins, and the payload goes once.
pub fn two_deregistrations() {
    explore(|| {
        with(|registry| {
            let ledger = Ledger::default();
            let (one, other) = (registry.join().unwrap(), registry.join().unwrap());
            let handle = register(&one, 7, ledger.canary(1)).ok().unwrap();
            let thread = spawn(move || (other.deregister(handle), other));
            let first = one.deregister(handle);
            let (second, _other) = thread.join().unwrap();
            assert!(first.is_ok() != second.is_ok(), "not exactly one deregistration won");
            flush(&one);
            assert_eq!(ledger.drops(1), 1);
        });
    });
}

/// What a guard found stays; the plain information is whole; afterwards everything goes.
pub fn look_up_against_deregister() {
    explore(|| {
        with(|registry| {
            let ledger = Ledger::default();
            let (one, other) = (registry.join().unwrap(), registry.join().unwrap());
            let handle = register(&one, 7, ledger.canary(1)).ok().unwrap();
            let thread = spawn(move || {
                let guard = other.enter();
                if let Ok(entity) = guard.get(handle) {
                    assert_eq!((entity.payload().read(), entity.info()), (1, info(7)));
                    // Gone for new callers, perhaps; not another's.
                    if let Ok(copy) = registry.info(handle) {
                        assert_eq!(copy, info(7));
                    }
                    assert_eq!(entity.payload().read(), 1);
                }
                drop(guard);
                other
            });
            assert!(one.deregister(handle).is_ok());
            one.collect();
            let _other = thread.join().unwrap();
            one.collect();
            assert_eq!(ledger.drops(1), 1);
        });
    });
}

/// An enumeration shows what stays exactly once, and what comes or goes at most once.
pub fn enumerate_against_change() {
    explore(|| {
        with(|registry| {
            let ledger = Ledger::default();
            let (one, other) = (registry.join().unwrap(), registry.join().unwrap());
            register(&one, 1, ledger.canary(1)).ok().unwrap();
            let going = register(&one, 2, ledger.canary(2)).ok().unwrap();
            let canary = ledger.canary(3);
            let thread = spawn(move || {
                assert!(other.deregister(going).is_ok());
                assert!(register(&other, 3, canary).is_ok());
                other
            });
            let guard = one.enter();
            let mut shown: Vec<_> = guard.entities(TABLE).map(|e| e.payload().read()).collect();
            shown.sort_unstable();
            assert!(shown.is_sorted_by(|a, b| a < b), "shown twice: {shown:?}");
            assert!(shown.contains(&1), "{shown:?}");
            drop(guard);
            let _other = thread.join().unwrap();
        });
    });
}

/// When a flush returns, what was deregistered before it is dropped, whoever seals meanwhile.
pub fn flush_against_seal() {
    explore(|| {
        with(|registry| {
            let ledger = Ledger::default();
            let (one, other) = (registry.join().unwrap(), registry.join().unwrap());
            let handles =
                [1, 2].map(|id| register(&one, id.into(), ledger.canary(id)).ok().unwrap());
            assert!(one.deregister(handles[0]).is_ok());
            let thread = spawn(move || {
                assert!(one.deregister(handles[1]).is_ok());
                one
            });
            flush(&other);
            assert_eq!(ledger.drops(1), 1, "a flush came back early");
            let _one = thread.join().unwrap();
            flush(&other);
            assert_eq!(ledger.drops(2), 1);
        });
    });
}

/// Two threads flush while a third one's batch is under way: neither returns early.
pub fn flush_against_flush() {
    explore_shortly(|| {
        with(|registry| {
            let ledger = Ledger::default();
            let (one, other) = (registry.join().unwrap(), registry.join().unwrap());
            let handle = register(&one, 1, ledger.canary(1)).ok().unwrap();
            assert!(one.deregister(handle).is_ok());
            let seen = ledger.clone();
            let thread = spawn(move || {
                flush(&other);
                assert_eq!(seen.drops(1), 1, "a flush came back early");
                other
            });
            flush(&one);
            assert_eq!(ledger.drops(1), 1, "a flush came back early");
            let _other = thread.join().unwrap();
        });
    });
}

/// A deferred payload goes to one of those who ask; a flush waits for whoever has it.
pub fn deferred_against_flush() {
    explore(|| {
        with(|registry| {
            let ledger = Ledger::default();
            let (one, other) = (registry.join().unwrap(), registry.join().unwrap());
            let registered = one.register_handle(info(1), ledger.canary(1), DropBy::Collectors);
            let handle = registered.ok().unwrap();
            assert!(one.deregister(handle).is_ok());
            one.collect();
            assert_eq!(ledger.drops(1), 0, "dropped by who did not ask");
            let thread = spawn(move || {
                if let Some(canary) = other.departed().next_departed() {
                    assert_eq!(canary.read(), 1);
                }
                other
            });
            flush(&one);
            assert_eq!(ledger.drops(1), 1, "a flush came back early");
            let _other = thread.join().unwrap();
        });
    });
}

/// What a participant that is gone left behind is dropped by others.
pub fn participant_gone_with_garbage() {
    explore(|| {
        with(|registry| {
            let ledger = Ledger::default();
            let (one, other) = (registry.join().unwrap(), registry.join().unwrap());
            let handle = register(&one, 1, ledger.canary(1)).ok().unwrap();
            let thread = spawn(move || {
                assert!(other.deregister(handle).is_ok());
                drop(other);
            });
            let next = registry.join().unwrap();
            if let Ok(entity) = next.enter().get(handle) {
                assert_eq!(entity.payload().read(), 1);
            }
            thread.join().unwrap();
            flush(&one);
            assert_eq!(ledger.drops(1), 1);
        });
    });
}

/// The limit on entities holds against two registrations at once, and refuses none too many.
pub fn limit_on_entities() {
    explore(|| {
        let ledger = Ledger::default();
        let limits = Limits { entities: 1, ..Limits::default() };
        let settings = Settings { limits, ..Settings::default() };
        with_settings(settings, |registry| {
            let (one, other) = (registry.join().unwrap(), registry.join().unwrap());
            let canary = ledger.canary(2);
            let thread = spawn(move || (register(&other, 2, canary), other));
            let first = register(&one, 1, ledger.canary(1));
            let (second, other) = thread.join().unwrap();
            assert!(first.is_ok() != second.is_ok(), "not exactly one registration fits");
            for result in [first, second] {
                match result {
                    Ok(handle) => assert!(other.deregister(handle).is_ok()),
                    Err((refusal, _)) => assert_eq!(refusal, Refusal::EntityLimit),
                }
            }
            assert!(register(&one, 3, ledger.canary(3)).is_ok(), "a credit was lost");
        });
    });
}

/// A referenced entity can be described, and not looked up, after it was deregistered.
pub fn reference_against_deregister() {
    explore(|| {
        with(|registry| {
            let ledger = Ledger::default();
            let (one, other) = (registry.join().unwrap(), registry.join().unwrap());
            let handle = register(&one, 7, ledger.canary(1)).ok().unwrap();
            let thread = spawn(move || {
                let held = registry.reference(handle).is_ok();
                if held {
                    assert_eq!(registry.info(handle), Ok(info(7)));
                    assert!(other.release(handle).is_ok());
                }
                assert!(other.release(handle).is_err(), "one release too many was accepted");
                other
            });
            assert!(one.deregister(handle).is_ok());
            one.collect();
            if let Ok(next) = register(&one, 8, ledger.canary(2)) {
                assert_eq!(registry.info(next), Ok(info(8)));
            }
            let _other = thread.join().unwrap();
            assert!(registry.info(handle).is_err() && registry.reference(handle).is_err());
            flush(&one);
            assert_eq!(ledger.drops(1), 1);
        });
    });
}

/// Without an index two entities have one id; one of them goes while both are looked up.
pub fn look_up_without_index() {
    explore(|| {
        let ledger = Ledger::default();
        let registry = Registry::<Canary, Nameless>::with_config(Settings::default());
        // Members borrow it, so it is dropped last.
        let world = Arc::new(registry.expect("memory"));
        // SAFETY: as in `World`.
        let registry: &'static Registry<Canary, Nameless> = unsafe { &*Arc::as_ptr(&world) };
        let (one, other) = (registry.join().unwrap(), registry.join().unwrap());
        let handles = [1, 2].map(|number| {
            one.register_handle(info(7), ledger.canary(number), DropBy::Writers).ok().unwrap()
        });
        let thread = spawn(move || {
            let guard = other.enter();
            assert!(guard.get(handles[0]).is_ok_and(|entity| entity.payload().read() == 1));
            if let Ok(entity) = guard.get(handles[1]) {
                assert_eq!(entity.payload().read(), 2);
            }
            drop(guard);
            other
        });
        one.deregister(handles[1]).unwrap();
        let _other = thread.join().unwrap();
        let guard = one.enter();
        assert!(guard.get(handles[0]).is_ok() && guard.get(handles[1]).is_err());
        assert_eq!(guard.entities(TABLE).count(), 0);
    });
}
