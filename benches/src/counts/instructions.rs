//! The operations whose instructions are counted. Each is run twice, so that what comes before and after
//! cancels out; a round is [`Counted::per_round`] operations.

use super::c_calls;
use rtm_core::{
    AddressFamily, ClientCode, Config, DropBy, EntityInfo, EventQueue, Handle, Participant,
    Registry, Settings, Standard, TableKey,
};
use std::hint::black_box;

pub(super) type Payload = [u64; 14];
type Member<'r, C = Standard> = Participant<'r, Payload, C>;

/// An operation.
pub(super) struct Counted {
    pub(super) name: &'static str,
    pub(super) entities: usize,
    pub(super) per_round: u64,
    /// Rounds of the two runs.
    pub(super) rounds: [usize; 2],
    pub(super) run: fn(usize, usize),
}

const PICKS: usize = 1000;
const LISTENERS: u64 = 100;
const FEW: usize = 1000;
const MANY: usize = 1_000_000;
const LOOK_UP: [usize; 2] = [2, 22];
const CHURN: [usize; 2] = [4096, 20_480];

/// In the order of the table.
pub(super) const ALL: &[Counted] = &[
    look_up("info", FEW, info),
    look_up("info, stale", FEW, info_stale),
    look_up("look up, own guard", FEW, own_guard),
    look_up("look up, held guard", FEW, held),
    look_up("look up, refreshed guard", FEW, refreshed),
    look_up("look up, own guard, beside 63 idle members", FEW, beside_idle),
    look_up("stale, held guard", FEW, held_stale),
    look_up("batch, per handle", FEW, batch),
    look_up("reference + release", FEW, reference),
    look_up("invoke", FEW, invoke),
    churn("register + deregister, 256 ids", FEW, few_ids),
    churn("register + deregister, new ids", FEW, pair),
    Counted { per_round: FEW as u64, ..look_up("enumerate, per entity", FEW, enumerate) },
    churn("register + deregister, told to 1 listener", 1, told),
    Counted {
        name: "told, per event and listener",
        entities: LISTENERS as usize,
        per_round: 2 * LISTENERS,
        rounds: [20, 220],
        run: told,
    },
    look_up("C, info (checks two handles)", FEW, c_calls::info),
    look_up("C, enter + look up + leave", FEW, c_calls::own_section),
    look_up("C, look up in a section", FEW, c_calls::held),
    look_up("C, batch, per handle", FEW, c_calls::batch),
    look_up("C, reference + release", FEW, c_calls::reference),
    look_up("C, invoke", FEW, c_calls::invoke),
];

/// Those with many entities, which take long.
pub(super) const LARGE: &[Counted] = &[
    look_up("info", MANY, info),
    look_up("look up, held guard", MANY, held),
    look_up("batch, per handle", MANY, batch),
    churn("register + deregister, new ids", MANY, pair),
    Counted {
        per_round: MANY as u64,
        rounds: [0, 1],
        ..look_up("enumerate, per entity", MANY, enumerate)
    },
];

const fn look_up(name: &'static str, entities: usize, run: fn(usize, usize)) -> Counted {
    Counted { name, entities, per_round: PICKS as u64, rounds: LOOK_UP, run }
}

const fn churn(name: &'static str, entities: usize, run: fn(usize, usize)) -> Counted {
    Counted { name, entities, per_round: 1, rounds: CHURN, run }
}

pub(super) fn entity(instance: u16, id: u64) -> EntityInfo {
    EntityInfo { table: TableKey { instance, family: AddressFamily::Inet }, id }
}

pub(super) fn registry<C: Config>() -> Registry<Payload, C> {
    Registry::with_config(Settings::default()).expect("memory for a registry")
}

pub(super) fn register<C: Config>(member: &Member<'_, C>, instance: u16, id: u64) -> Handle {
    let done = member.register_handle(entity(instance, id), [id; 14], DropBy::Writers);
    done.unwrap_or_else(|error| panic!("not registered: {}", error.refusal))
}

pub(super) const METHODS: ClientCode = ClientCode { methods: true, events: None };

/// So many of them, in no order.
pub(super) fn picks<H: Copy>(all: &[H], count: usize) -> Vec<H> {
    let mut x = 88_172_645_463_325_252_u64;
    let draw = || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        all[x as usize % all.len()]
    };
    std::iter::repeat_with(draw).take(count).collect()
}

/// All of them, so many times.
#[inline(always)]
pub(super) fn each<H: Copy>(rounds: usize, all: &[H], mut f: impl FnMut(H)) {
    for _ in 0..rounds {
        all.iter().for_each(|one| f(*one));
    }
}

/// A registry with so many entities; picks of their handles, and a member.
fn with_entities(count: usize, run: impl FnOnce(&Member<'_>, &[Handle])) {
    let registry = registry::<Standard>();
    let member = registry.join().expect("memory for a member");
    let handles: Vec<Handle> = (0..count as u64).map(|id| register(&member, 0, id)).collect();
    run(&member, &picks(&handles, PICKS));
}

/// As [`with_entities`], but the handles are of others that have gone.
fn with_stale(count: usize, run: impl FnOnce(&Member<'_>, &[Handle])) {
    with_entities(count, |member, _| {
        let stale = |id| {
            let handle = register(member, 0, id);
            member.deregister(handle).expect("registered");
            handle
        };
        let handles: Vec<Handle> = (0..PICKS as u64).map(|id| stale(id + (1 << 32))).collect();
        run(member, &picks(&handles, PICKS));
    });
}

fn info(entities: usize, rounds: usize) {
    with_entities(entities, |member, handles| {
        each(rounds, handles, |handle| {
            black_box(member.registry().info(handle).expect("registered").id);
        });
    });
}

fn info_stale(entities: usize, rounds: usize) {
    with_stale(entities, |member, handles| {
        each(rounds, handles, |handle| {
            assert!(member.registry().info(handle).is_err());
        });
    });
}

fn own_guard(entities: usize, rounds: usize) {
    with_entities(entities, |member, handles| {
        each(rounds, handles, |handle| {
            black_box(member.enter().get(handle).expect("registered")[1]);
        });
    });
}

fn beside_idle(entities: usize, rounds: usize) {
    with_entities(entities, |member, handles| {
        let join = |_| member.registry().join().expect("memory for a member");
        let _idle: Vec<Member<'_>> = (0..63).map(join).collect();
        each(rounds, handles, |handle| {
            black_box(member.enter().get(handle).expect("registered")[1]);
        });
    });
}

fn held(entities: usize, rounds: usize) {
    with_entities(entities, |member, handles| {
        let guard = member.enter();
        each(rounds, handles, |handle| {
            black_box(guard.get(handle).expect("registered")[1]);
        });
    });
}

fn refreshed(entities: usize, rounds: usize) {
    with_entities(entities, |member, handles| {
        let mut guard = member.enter();
        each(rounds, handles, |handle| {
            black_box(guard.get(handle).expect("registered")[1]);
            guard.refresh();
        });
    });
}

fn held_stale(entities: usize, rounds: usize) {
    with_stale(entities, |member, handles| {
        let guard = member.enter();
        each(rounds, handles, |handle| {
            assert!(guard.get(handle).is_err());
        });
    });
}

fn batch(entities: usize, rounds: usize) {
    with_entities(entities, |member, handles| {
        for _ in 0..rounds {
            let mut sum = 0;
            let guard = member.enter();
            guard.get_each(handles, |_, found| sum += found.map_or(0, |entity| entity[1]));
            black_box(sum);
        }
    });
}

fn reference(entities: usize, rounds: usize) {
    with_entities(entities, |member, handles| {
        each(rounds, handles, |handle| {
            member.registry().reference(handle).expect("registered");
            member.release(handle).expect("referenced");
        });
    });
}

fn invoke(entities: usize, rounds: usize) {
    with_entities(entities, |member, _| {
        let callee = |id| {
            let info = entity(0, id);
            member.register_client(info, [id; 14], DropBy::Writers, METHODS).expect("registered")
        };
        let callees: Vec<Handle> = (0..64).map(|id| callee(id + (1 << 32))).collect();
        let callees = picks(&callees, PICKS);
        each(rounds, &callees, |handle| {
            black_box(member.begin_invoke(handle).expect("registered")[1]);
        });
    });
}

/// An entity comes and goes, with a new id each time.
fn pair(entities: usize, rounds: usize) {
    with_entities(entities, |member, _| {
        for id in 0..rounds as u64 {
            let handle = register(member, 0, id + (1 << 32));
            member.deregister(handle).expect("registered");
        }
    });
}

/// Few ids, again and again. More than one, as an id's place in the index is different in each run.
fn few_ids(entities: usize, rounds: usize) {
    with_entities(entities, |member, _| {
        for round in 0..rounds as u64 {
            let handle = register(member, 0, round % 256 + (1 << 32));
            member.deregister(handle).expect("registered");
        }
    });
}

fn enumerate(entities: usize, rounds: usize) {
    with_entities(entities, |member, _| {
        for _ in 0..rounds {
            let guard = member.enter();
            let all = guard.entities(entity(0, 0).table);
            let found = all.fold((0, 0), |(count, sum), entity| (count + 1, sum + entity[1]));
            assert_eq!(found, (entities, (entities as u64 * (entities as u64 - 1)) / 2));
        }
    });
}

/// Registers and deregisters an entity, and delivers both events to all listeners.
fn told(listeners: usize, rounds: usize) {
    let registry = registry::<Standard>();
    let member = registry.join().expect("memory for a member");
    let queue = EventQueue::new();
    let tell = || {
        let mut told = 0;
        while member.herald_step() {
            let mut courier = member.courier(&queue);
            while let Some(delivery) = courier.next_event() {
                black_box(delivery.event);
                told += 1;
            }
        }
        told
    };
    let listener = |id| {
        let code = ClientCode { methods: false, events: Some(queue.clone()) };
        let info = entity(0, id | 1 << 40);
        member.register_client(info, [id; 14], DropBy::Writers, code).expect("registered")
    };
    let handles: Vec<Handle> = (0..listeners as u64).map(listener).collect();
    handles.into_iter().for_each(|handle| member.start_events(handle));
    tell();
    for id in 0..rounds as u64 {
        let handle = register(&member, 0, id);
        member.deregister(handle).expect("registered");
        assert_eq!(tell(), 2 * listeners);
    }
}
