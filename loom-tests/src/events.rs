//! Events of whole registries: who is told what, while entities and listeners come and go; and the
//! holds that keep the departed describable.

use crate::registry::{Member, Models, TABLE, flush, info, register, with_settings};
use crate::{Canary, Ledger, One, explore, spawn};
use rtm_core::model::Slab;
use rtm_core::{ClientCode, DropBy, Event, EventQueue, Handle, Limits, Settings};
use std::sync::Arc;

/// Runs `f` with a registry whose journals have four entries.
fn with(f: impl FnOnce(&'static Models)) {
    let limits = Limits { journal: 4, ..Limits::default() };
    with_settings(Settings { limits, ..Settings::default() }, f);
}

/// A listener whose events have not begun.
fn quiet(member: &Member, id: u64, canary: Canary, queue: &EventQueue) -> Handle {
    registered(member, id, canary, ClientCode { methods: false, events: Some(queue.clone()) })
}

fn registered(member: &Member, id: u64, canary: Canary, code: ClientCode) -> Handle {
    let registered = member.register_client(info(id), canary, DropBy::Writers, code);
    registered.map_err(|error| error.refusal).expect("a registration")
}

fn listening(member: &Member, id: u64, canary: Canary, queue: &EventQueue) -> Handle {
    let listener = quiet(member, id, canary, queue);
    member.start_events(listener);
    listener
}

fn herald(member: &Member) {
    while member.herald_step() {}
}

/// Delivers all that is pending. Whoever is told can describe what he is told of.
fn deliver(member: &Member, queue: &EventQueue) -> Vec<Event> {
    let mut courier = member.courier(queue);
    let mut told = Vec::new();
    while let Some(delivery) = courier.next_event() {
        delivery.payload().read();
        match delivery.event {
            Event::Registered { handle, info } | Event::Deregistered { handle, info } => {
                assert_eq!(member.registry().info(handle), Ok(info), "it can not be described");
            }
            _ => {}
        }
        told.push(delivery.event);
    }
    told
}

fn ids(member: &Member) -> Vec<u64> {
    member.enter().entities(TABLE).map(|entity| entity.info().id).collect()
}

fn came(handle: Handle, id: u64) -> Event {
    Event::Registered { handle, info: info(id) }
}

fn went(handle: Handle, id: u64) -> Event {
    Event::Deregistered { handle, info: info(id) }
}

/// When a deregistration returns the listener's events do not run, and its payload can go.
pub fn deregister_against_delivery() {
    explore(|| {
        with(|registry| {
            let ledger = Ledger::default();
            let (one, other) = (registry.join().unwrap(), registry.join().unwrap());
            let queue = EventQueue::new();
            let listener = listening(&one, 7, ledger.canary(1), &queue);
            let visitor = register(&one, 8, ledger.canary(2)).ok().unwrap();
            herald(&one);
            let pending = queue.clone();
            let thread = spawn(move || {
                let told = deliver(&other, &pending);
                assert!(told.is_empty() || told == [came(visitor, 8)]);
                other
            });
            assert_eq!(one.deregister(listener), Ok(()));
            assert_eq!(deliver(&one, &queue), []);
            flush(&one);
            assert_eq!(ledger.drops(1), 1);
            let _other = thread.join().unwrap();
            herald(&one);
            assert_eq!(one.statistics().listeners, 0);
        });
    });
}

/// A departure that does not wait is completed once, by whoever ends the event or by itself.
pub fn deregister_later_against_delivery() {
    explore(|| {
        with(|registry| {
            let ledger = Ledger::default();
            let (one, other) = (registry.join().unwrap(), registry.join().unwrap());
            let queue = EventQueue::new();
            let listener = listening(&one, 7, ledger.canary(1), &queue);
            register(&one, 8, ledger.canary(2)).ok().unwrap();
            herald(&one);
            let thread = spawn(move || {
                deliver(&other, &queue);
                other
            });
            assert_eq!(one.deregister_later(listener), Ok(()));
            let _other = thread.join().unwrap();
            assert!(register(&one, 7, ledger.canary(3)).is_ok(), "the id is not free");
            herald(&one);
            flush(&one);
            assert_eq!(ledger.drops(1), 1);
        });
    });
}

/// A listener that goes inside its own event waits for its methods, not for that event.
pub fn deregister_inside_missed_event() {
    explore(|| {
        with(|registry| {
            let ledger = Ledger::default();
            let (one, other) = (registry.join().unwrap(), registry.join().unwrap());
            let queue = EventQueue::new();
            let code = ClientCode { methods: true, events: Some(queue.clone()) };
            let listener = registered(&one, 7, ledger.canary(1), code);
            one.start_events(listener);
            for id in 2..5 {
                let visitor = register(&one, id, ledger.canary(id as u32)).ok().unwrap();
                assert_eq!(one.deregister(visitor), Ok(()));
            }
            herald(&one);
            let mut courier = one.courier(&queue);
            assert_eq!(courier.next_event().expect("an event").event, Event::Missed);
            let thread = spawn(move || {
                if let Ok(invocation) = other.begin_invoke(listener) {
                    assert_eq!(invocation.read(), 1);
                }
                other
            });
            assert_eq!(one.deregister(listener), Ok(()));
            assert!(!registry.is_idle(), "its event has not ended");
            assert!(courier.next_event().is_none());
            drop(courier);
            let _other = thread.join().unwrap();
            herald(&one);
            flush(&one);
            assert_eq!(ledger.drops(1), 1);
            let figures = one.statistics();
            assert_eq!((figures.registered, figures.deregistered), (4, 4));
        });
    });
}

/// A listener that goes while its events begin.
pub fn deregister_against_start() {
    explore(|| {
        with(|registry| {
            let ledger = Ledger::default();
            let (one, other) = (registry.join().unwrap(), registry.join().unwrap());
            let queue = EventQueue::new();
            let listener = quiet(&one, 7, ledger.canary(1), &queue);
            let thread = spawn(move || {
                other.start_events(listener);
                other
            });
            assert_eq!(one.deregister(listener), Ok(()));
            let _other = thread.join().unwrap();
            assert_eq!(one.statistics().listeners, 0);
            herald(&one);
            flush(&one);
            assert_eq!(ledger.drops(1), 1);
        });
    });
}

/// Whoever is registered while a listener is appears in its first enumeration or as an event.
pub fn registration_of_a_listener_against_another() {
    explore(|| {
        with(|registry| {
            let ledger = Ledger::default();
            let (one, other) = (registry.join().unwrap(), registry.join().unwrap());
            let queue = EventQueue::new();
            // So that the table is there, and slots at hand.
            for (id, member) in [(5, &one), (6, &other)] {
                let early = register(member, id, ledger.canary(id as u32)).ok().unwrap();
                assert_eq!(member.deregister(early), Ok(()));
            }
            let canary = ledger.canary(2);
            let thread = spawn(move || (register(&other, 8, canary).ok().unwrap(), other));
            listening(&one, 7, ledger.canary(1), &queue);
            let shown = ids(&one).contains(&8);
            let (visitor, _other) = thread.join().unwrap();
            herald(&one);
            let told = deliver(&one, &queue);
            assert!(shown || told == [came(visitor, 8)], "neither shown nor told");
            assert!(told.len() < 2);
        });
    });
}

/// Whoever a listener's first enumeration shows, and is gone, has gone with an event.
pub fn registration_of_a_listener_against_departure() {
    explore(|| {
        with(|registry| {
            let ledger = Ledger::default();
            let (one, other) = (registry.join().unwrap(), registry.join().unwrap());
            let queue = EventQueue::new();
            let visitor = register(&one, 8, ledger.canary(2)).ok().unwrap();
            let thread = spawn(move || {
                assert_eq!(other.deregister(visitor), Ok(()));
                other
            });
            listening(&one, 7, ledger.canary(1), &queue);
            let shown = ids(&one).contains(&8);
            let _other = thread.join().unwrap();
            herald(&one);
            let told = deliver(&one, &queue);
            assert!(!shown || told == [went(visitor, 8)], "gone without an event");
            herald(&one);
            assert!(registry.info(visitor).is_err(), "still held");
        });
    });
}

/// An entity that is found and deregistered while it is being registered comes before it goes.
pub fn registration_against_departure() {
    explore(|| {
        with(|registry| {
            let ledger = Ledger::default();
            let (one, other) = (registry.join().unwrap(), registry.join().unwrap());
            let queue = EventQueue::new();
            listening(&one, 7, ledger.canary(1), &queue);
            let canary = ledger.canary(2);
            let thread = spawn(move || (register(&other, 8, canary).ok().unwrap(), other));
            let found = {
                let guard = one.enter();
                let found = guard.entities(TABLE).find(|entity| entity.info().id == 8);
                found.map(|entity| entity.handle())
            };
            if let Some(found) = found {
                assert_eq!(one.deregister(found), Ok(()));
            }
            let (visitor, _other) = thread.join().unwrap();
            herald(&one);
            let told = deliver(&one, &queue);
            match found {
                None => assert_eq!(told, [came(visitor, 8)]),
                Some(_) => assert_eq!(told, [came(visitor, 8), went(visitor, 8)]),
            }
        });
    });
}

/// An entity comes and goes while one listener has gone and the next has not come: the next is told nothing, or
/// of both.
pub fn registration_while_listeners_change() {
    explore(|| {
        with(|registry| {
            let ledger = Ledger::default();
            let (one, other) = (registry.join().unwrap(), registry.join().unwrap());
            let (before, queue) = (EventQueue::new(), EventQueue::new());
            let listener = listening(&one, 7, ledger.canary(1), &before);
            let canary = ledger.canary(2);
            let thread = spawn(move || (register(&other, 8, canary).ok(), other));
            assert_eq!(one.deregister(listener), Ok(()));
            let there = one.enter().entities(TABLE).map(|entity| entity.handle()).next();
            if let Some(visitor) = there {
                assert_eq!(one.deregister(visitor), Ok(()));
            }
            listening(&one, 9, ledger.canary(3), &queue);
            let (visitor, _other) = thread.join().unwrap();
            let visitor = visitor.expect("a registration");
            herald(&one);
            let mut told = deliver(&one, &queue);
            // Perhaps of the listener that has gone, too.
            told.retain(|event| ![came(listener, 7), went(listener, 7)].contains(event));
            match there {
                Some(_) => assert!(told.is_empty() || told == [went(visitor, 8)], "{told:?}"),
                // Told, or there before.
                None => assert!(told.is_empty() || told == [came(visitor, 8)], "{told:?}"),
            }
        });
    });
}

/// That an id's holder has gone is told before the next holder is.
pub fn id_handed_on() {
    explore(|| {
        with(|registry| {
            let ledger = Ledger::default();
            let (one, other) = (registry.join().unwrap(), registry.join().unwrap());
            let queue = EventQueue::new();
            listening(&one, 7, ledger.canary(1), &queue);
            let first = register(&one, 8, ledger.canary(2)).ok().unwrap();
            herald(&one);
            deliver(&one, &queue);
            let thread = spawn(move || {
                assert_eq!(other.deregister(first), Ok(()));
                other
            });
            let second = register(&one, 8, ledger.canary(3)).ok();
            let _other = thread.join().unwrap();
            herald(&one);
            let told = deliver(&one, &queue);
            match second {
                None => assert_eq!(told, [went(first, 8)]),
                Some(second) => assert_eq!(told, [went(first, 8), came(second, 8)]),
            }
        });
    });
}

/// What an event names stays describable until that event has ended.
pub fn delivery_against_trim() {
    explore(|| {
        with(|registry| {
            let ledger = Ledger::default();
            let (one, other) = (registry.join().unwrap(), registry.join().unwrap());
            let queue = EventQueue::new();
            listening(&one, 7, ledger.canary(1), &queue);
            let visitor = register(&one, 8, ledger.canary(2)).ok().unwrap();
            assert_eq!(one.deregister(visitor), Ok(()));
            flush(&one);
            assert_eq!(ledger.drops(2), 1);
            herald(&one);
            let mut courier = one.courier(&queue);
            assert_eq!(courier.next_event().expect("an event").event, came(visitor, 8));
            assert_eq!(courier.next_event().expect("an event").event, went(visitor, 8));
            let canary = ledger.canary(3);
            let thread = spawn(move || {
                // The herald is rung, and trims what the listener has consumed so far.
                assert!(register(&other, 9, canary).is_ok());
                herald(&other);
                other
            });
            assert_eq!(registry.info(visitor), Ok(info(8)), "it can not be described");
            drop(courier);
            let _other = thread.join().unwrap();
            herald(&one);
            deliver(&one, &queue);
            herald(&one);
            assert!(registry.info(visitor).is_err(), "still held");
        });
    });
}

// --- Holds ---

/// Whether the one slot there is can be used by either of two.
fn free_once(slab: &Slab<Canary, One>, ledger: &Ledger, seats: [&rtm_core::model::Seat; 2]) {
    let added: Vec<_> =
        seats.into_iter().filter_map(|seat| slab.add(seat, 9, ledger.canary(6))).collect();
    assert_eq!(added.len(), 1, "freed never, or twice");
}

/// The later one of the end of the payload and the end of the hold frees the slot, after both.
pub fn hold_against_reclaim() {
    explore(|| {
        let ledger = Ledger::default();
        let slab = Arc::new(Slab::<Canary, One>::new());
        let (one, other) = (slab.domain.join(), slab.domain.join());
        let token = slab.add(&one, 1, ledger.canary(1)).unwrap();
        slab.remove_held(&one, token);
        assert_eq!(slab.copy(token), Some((1, false)));
        let (shared, canary) = (slab.clone(), ledger.canary(2));
        let thread = spawn(move || {
            assert_eq!(shared.copy(token), Some((1, false)), "held, and not describable");
            shared.let_go(&other, token);
            let added = shared.add(&other, 2, canary);
            (added, other)
        });
        slab.seal_all(&one);
        slab.collect(&one, 4);
        let (added, other) = thread.join().unwrap();
        slab.collect(&one, 4);
        assert_eq!(ledger.drops(1), 1);
        assert_eq!(slab.copy(token), None);
        match added {
            Some(token) => assert_eq!(slab.copy(token), Some((2, true))),
            None => free_once(&slab, &ledger, [&one, &other]),
        }
    });
}

/// A slab with one object that has gone, its payload too, and is held and referenced once.
fn ghost() -> (Arc<Slab<Canary, One>>, Ledger, [rtm_core::model::Seat; 2], u64) {
    let ledger = Ledger::default();
    let slab = Arc::new(Slab::<Canary, One>::new());
    let seats = [slab.domain.join(), slab.domain.join()];
    let token = slab.add(&seats[0], 1, ledger.canary(1)).unwrap();
    assert!(slab.reference(token));
    slab.remove_held(&seats[0], token);
    slab.seal_all(&seats[0]);
    slab.collect(&seats[0], 4);
    assert_eq!(ledger.drops(1), 1);
    (slab, ledger, seats, token)
}

/// The later one of the last release and the end of the hold frees the slot.
pub fn hold_against_release() {
    explore(|| {
        let (slab, ledger, [one, other], token) = ghost();
        let shared = slab.clone();
        let thread = spawn(move || {
            assert!(shared.release(&other, token));
            other
        });
        slab.let_go(&one, token);
        let other = thread.join().unwrap();
        assert_eq!(slab.copy(token), None);
        free_once(&slab, &ledger, [&one, &other]);
    });
}

/// A reference that is taken while the object was held keeps it.
pub fn hold_against_reference() {
    explore(|| {
        let (slab, ledger, [one, other], token) = ghost();
        assert!(slab.release(&one, token));
        let shared = slab.clone();
        let thread = spawn(move || {
            if shared.reference(token) {
                assert_eq!(shared.copy(token), Some((1, false)), "referenced, and not describable");
                assert!(shared.release(&other, token));
            }
            assert!(!shared.release(&other, token));
            other
        });
        slab.let_go(&one, token);
        let other = thread.join().unwrap();
        assert_eq!(slab.copy(token), None);
        free_once(&slab, &ledger, [&one, &other]);
    });
}
