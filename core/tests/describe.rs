//! Descriptions of entities.
#![cfg(not(any(rtm_loom, rtm_broken, rtm_shuttle)))]

use rtm_core::{
    AddressFamily, ClientCode, Description, DropBy, EntityInfo, EventQueue, Handle, HandlesOnly,
    Participant, Registry, Settings, Stage, TableKey,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};

const TABLE: TableKey = TableKey { instance: 3, family: AddressFamily::Inet6 };

fn entity(id: u64) -> EntityInfo {
    EntityInfo { table: TABLE, id }
}

fn registry() -> Registry<u64> {
    Registry::new(Settings::default()).unwrap()
}

fn of(participant: &Participant<'_, u64>, handle: Handle) -> Option<Description> {
    let mut found = participant.descriptions().filter(|seen| seen.handle == handle);
    let first = found.next();
    assert_eq!(found.next(), None, "shown twice");
    first
}

#[test]
fn stages_and_references() {
    let registry = registry();
    let participant = registry.join().unwrap();
    assert_eq!(participant.descriptions().count(), 0);
    let handle = registry.register(entity(7), 0).unwrap().into_handle();
    let seen = of(&participant, handle).unwrap();
    assert_eq!((seen.info, seen.stage, seen.references), (entity(7), Stage::Registered, 0));
    assert!(!seen.untold && !seen.client_code && seen.activity.is_none());
    registry.reference(handle).unwrap();
    registry.reference(handle).unwrap();
    assert_eq!(of(&participant, handle).unwrap().references, 2);

    let guard = registry.enter();
    registry.deregister(handle).unwrap();
    let seen = of(&participant, handle).unwrap();
    assert_eq!((seen.info, seen.stage, seen.references), (entity(7), Stage::Departing, 2));
    drop(guard);
    registry.flush().unwrap();
    assert_eq!(of(&participant, handle).unwrap().stage, Stage::Referenced);
    registry.release(handle).unwrap();
    assert_eq!(of(&participant, handle).unwrap().references, 1);
    registry.release(handle).unwrap();
    assert_eq!(of(&participant, handle), None);

    // One that nobody references is shown, too, until it is dropped.
    let guard = registry.enter();
    let handle = registry.register(entity(8), 0).unwrap().into_handle();
    registry.deregister(handle).unwrap();
    let seen = of(&participant, handle).unwrap();
    assert_eq!((seen.stage, seen.references), (Stage::Departing, 0));
    drop(guard);
    registry.flush().unwrap();
    assert_eq!(of(&participant, handle), None);
}

#[test]
fn whose_payload_is_gone_runs_nothing() {
    let registry = registry();
    let participant = registry.join().unwrap();
    let code = ClientCode { methods: true, ..ClientCode::default() };
    let handle = participant.register_client(entity(9), 0, DropBy::Writers, code).ok().unwrap();
    registry.reference(handle).unwrap();
    let guard = registry.enter();
    registry.deregister_later(handle).unwrap();
    let says = || of(&participant, handle).unwrap().to_string();
    assert!(says().ends_with("state=departing references=1 running=?"), "{}", says());
    drop(guard);
    registry.flush().unwrap();
    assert!(says().ends_with("state=referenced references=1"), "{}", says());
    registry.release(handle).unwrap();
}

#[test]
fn without_an_index() {
    let registry = Registry::<u64, HandlesOnly>::with_config(Settings::default()).unwrap();
    let participant = registry.join().unwrap();
    let registered: Vec<_> = (0..1000).map(|_| registry.register(entity(1), 0).unwrap()).collect();
    let seen: BTreeSet<Handle> = participant.descriptions().map(|seen| seen.handle).collect();
    assert_eq!(seen, registered.iter().map(|one| one.handle()).collect());
}

#[test]
fn methods_that_run_and_a_deregistration_that_waits() {
    let registry = registry();
    let participant = registry.join().unwrap();
    let code = ClientCode { methods: true, events: None };
    let handle = registry.register_client(entity(1), 0, DropBy::Writers, code).unwrap();
    let activity = || of(&participant, handle).unwrap().activity.unwrap();
    assert!(activity().methods && !activity().events);
    assert_eq!(activity().running(), 0);
    let invocations =
        [participant.begin_invoke(handle).unwrap(), participant.begin_invoke(handle).unwrap()];
    assert_eq!((activity().invocations, activity().running()), (2, 2));
    drop(invocations);
    assert_eq!(activity().invocations, 0);
    registry.block_methods(handle).unwrap();
    assert!(activity().blocked);
    registry.resume_methods(handle).unwrap();
    assert!(!activity().blocked && !activity().awaited);

    let invocation = participant.begin_invoke(handle).unwrap();
    let waits = std::thread::scope(|scope| {
        let other = scope.spawn(|| registry.deregister(handle));
        let waits = loop {
            let seen = of(&participant, handle).expect("its code runs");
            match (seen.stage, seen.activity) {
                (Stage::Departing, Some(activity)) => break activity,
                (Stage::Registered | Stage::Departing, _) => std::thread::yield_now(),
                (stage, _) => panic!("{stage:?}"),
            }
            assert!(!other.is_finished());
        };
        drop(invocation);
        other.join().unwrap().unwrap();
        waits
    });
    assert_eq!((waits.awaited, waits.invocations, waits.methods), (true, 1, true));
    registry.flush().unwrap();
    assert_eq!(of(&participant, handle), None);
}

#[test]
fn events_that_are_not_yet_told() {
    let registry = registry();
    let participant = registry.join().unwrap();
    let queue = EventQueue::new();
    let code = ClientCode { methods: false, events: Some(queue.clone()) };
    let _before = registry.register(entity(100), 0).unwrap();
    let listener = registry.register_client(entity(1), 0, DropBy::Writers, code).unwrap();
    let activity = || of(&participant, listener).unwrap().activity.unwrap();
    assert!(activity().events && !activity().methods);
    assert_eq!(activity().lag, 0);
    let mut others: Vec<_> = (2..7).map(|id| registry.register(entity(id), 0).unwrap()).collect();
    assert_eq!((activity().lag, activity().told_now), (5, false));
    // It goes, and that is still to be told.
    let gone = others.remove(0).handle();
    assert_eq!(activity().lag, 6);
    registry.flush().unwrap();
    let seen = of(&participant, gone).unwrap();
    assert_eq!((seen.stage, seen.references, seen.untold), (Stage::Held, 0, true));
    assert!(seen.to_string().ends_with("state=held references=0 untold"), "{seen}");

    participant.herald_step();
    let own = registry.join().unwrap();
    let mut courier = own.courier(&queue);
    let lags: Vec<u64> = std::iter::from_fn(|| {
        courier.next_event()?;
        assert!(activity().told_now);
        assert_eq!(activity().running(), 1);
        Some(activity().lag)
    })
    .collect();
    // An event counts until it is over.
    assert_eq!(lags, [6, 5, 4, 3, 2, 1]);
    drop(courier);
    assert_eq!((activity().lag, activity().told_now), (0, false));
    while participant.herald_step() {}
    registry.flush().unwrap();
    assert_eq!(of(&participant, gone), None);
}

/// The figure counts who has gone and has references: neither who is only held nor who is there.
#[test]
fn the_figure_of_referenced_counts_what_is_described() {
    let registry = registry();
    let participant = registry.join().unwrap();
    let queue = EventQueue::new();
    let code = ClientCode { methods: false, events: Some(queue.clone()) };
    let listener = registry.register_client(entity(1), 0, DropBy::Writers, code).unwrap();
    let gone: Vec<Handle> =
        (2..5).map(|id| registry.register(entity(id), 0).unwrap().into_handle()).collect();
    for handle in [listener, gone[0]] {
        registry.reference(handle).unwrap();
    }
    let figure_and_stages = || {
        let all: Vec<Description> = participant.descriptions().collect();
        let departed = all.iter().filter(|seen| seen.stage != Stage::Registered);
        let figure = registry.statistics().referenced;
        assert_eq!(figure, departed.clone().filter(|seen| seen.references != 0).count() as u64);
        let count = |stage| departed.clone().filter(|seen| seen.stage == stage).count();
        (figure, count(Stage::Departing), count(Stage::Referenced), count(Stage::Held))
    };
    let guard = registry.enter();
    gone.iter().for_each(|handle| registry.deregister(*handle).unwrap());
    assert_eq!(figure_and_stages(), (1, 3, 0, 0));
    drop(guard);
    registry.flush().unwrap();
    assert_eq!(figure_and_stages(), (1, 0, 1, 2));
    // A listener may take a reference, and all may be given back before it has been told.
    registry.reference(gone[1]).unwrap();
    assert_eq!(figure_and_stages(), (2, 0, 2, 1));
    gone[..2].iter().for_each(|handle| registry.release(*handle).unwrap());
    assert_eq!(figure_and_stages(), (0, 0, 0, 3));
    registry.release(listener).unwrap();
    registry.deregister(listener).unwrap();
    while participant.herald_step() {}
    registry.flush().unwrap();
    assert_eq!(participant.descriptions().count(), 0);
}

#[test]
fn a_walk_goes_on_where_it_was() {
    let registry = registry();
    let participant = registry.join().unwrap();
    let _all: Vec<_> = (0..1500).map(|id| registry.register(entity(id), 0).unwrap()).collect();
    let whole: Vec<u64> = participant.descriptions().map(|seen| seen.info.id).collect();
    assert_eq!(whole.len(), 1500);
    let (mut parts, mut position) = (Vec::new(), 0);
    loop {
        let mut walk = participant.descriptions_from(position);
        let part: Vec<u64> = walk.by_ref().take(7).map(|seen| seen.info.id).collect();
        if part.is_empty() {
            break;
        }
        parts.extend(part);
        position = walk.position();
    }
    assert_eq!(parts, whole);
    assert_eq!(participant.descriptions_from(u32::MAX).next(), None);
}

/// Others come and go while it is looked: who is there throughout is shown, once; what is shown is true.
#[test]
fn while_others_come_and_go() {
    let registry = registry();
    let code = || ClientCode { methods: true, events: Some(EventQueue::new()) };
    let stays: BTreeMap<Handle, u64> = (0..3000)
        .map(|id| {
            let code = if id % 3 == 0 { code() } else { ClientCode::default() };
            (registry.register_client(entity(id), 0, DropBy::Writers, code).unwrap(), id)
        })
        .collect();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for thread in 0..3_u64 {
            let (registry, stop, code) = (&registry, &stop, &code);
            scope.spawn(move || {
                let own = registry.join().unwrap();
                let mut id = (thread + 1) << 32;
                while !stop.load(Ordering::Relaxed) {
                    id += 1;
                    let code = if id % 2 == 0 { code() } else { ClientCode::default() };
                    let handle =
                        own.register_client(entity(id), id, DropBy::Writers, code).unwrap();
                    own.start_events(handle);
                    own.reference(handle).unwrap();
                    if id % 2 == 0 {
                        own.begin_invoke(handle).unwrap();
                    }
                    own.deregister(handle).unwrap();
                    own.release(handle).unwrap();
                }
            });
        }
        let participant = registry.join().unwrap();
        for _ in 0..60 {
            let (mut seen, mut shown) = (BTreeSet::new(), 0);
            for description in participant.descriptions() {
                assert!(seen.insert(description.handle), "shown twice: {description}");
                assert_eq!(description.info.table, TABLE);
                let id = description.info.id;
                if id >> 32 == 0 {
                    assert_eq!(stays[&description.handle], id);
                    assert_eq!(description.stage, Stage::Registered);
                    assert_eq!(description.activity.is_some(), id % 3 == 0);
                    shown += 1;
                } else {
                    assert!((1..=3).contains(&(id >> 32)) && description.references <= 1);
                    assert_eq!(description.client_code, id % 2 == 0);
                }
            }
            assert_eq!(shown, stays.len());
        }
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn lines_and_json() {
    let registry = registry();
    let participant = registry.join().unwrap();
    let plain = registry.register(entity(0xfc00_0000_000e), 0).unwrap();
    let code = ClientCode { methods: true, events: Some(EventQueue::new()) };
    let busy = registry.register_client(entity(u64::MAX), 0, DropBy::Writers, code).unwrap();
    let _invocation = participant.begin_invoke(busy).unwrap();
    let seen = of(&participant, plain.handle()).unwrap();
    let bits = plain.handle().to_bits();
    assert_eq!(
        seen.to_string(),
        format!("handle={bits:#x} table=3/inet6 id=0xfc000000000e state=registered references=0")
    );
    let read: serde_json::Value = serde_json::from_str(&seen.json().to_string()).unwrap();
    let expected = serde_json::json!({
        "handle": format!("{bits:#x}"), "instance": 3, "family": "inet6", "id": "0xfc000000000e",
        "state": "registered", "references": 0, "untold": false, "client_code": false,
    });
    assert_eq!(read, expected);

    let seen = of(&participant, busy).unwrap();
    let line = seen.to_string();
    let tail = "references=0 methods=open invocations=1 lag=0 told=no running=1";
    assert!(line.ends_with(tail), "{line}");
    let read: serde_json::Value = serde_json::from_str(&seen.json().to_string()).unwrap();
    assert_eq!((&read["running"], &read["id"]), (&1.into(), &"0xffffffffffffffff".into()));
    assert_eq!((&read["methods"], &read["told_now"]), (&true.into(), &false.into()));
}
