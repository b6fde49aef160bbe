//! Events under load: what each listener was told against what happened. Histories are checked with a
//! common clock; nothing here depends on speed, and a watchdog ends what hangs.
#![cfg(not(rtm_loom))]

mod common;
mod watchdog;

use common::{Random, V4, V6, entity};
use rtm_core::{
    ClientCode, Delivery, Dispatcher, DropBy, Event, EventQueue, Handle, InvokeError, Limits,
    Registry, Settings, TableKey, Threads,
};
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;
use watchdog::{Fatal, Watchdog};

const ALIVE: u64 = 0x5afe_5afe_5afe_5afe;
const LISTENERS: u64 = 1 << 32;
const MARKERS: u64 = 1 << 33;

/// The order of things.
#[derive(Default)]
struct Clock(AtomicU64);

impl Clock {
    fn tick(&self) -> u64 {
        self.0.fetch_add(1, Ordering::SeqCst)
    }
}

/// One call, from its beginning to its end.
#[derive(Clone, Copy, Debug)]
struct Call {
    began: u64,
    ended: u64,
}

const NEVER: Call = Call { began: u64::MAX, ended: u64::MAX };

/// An entity's life.
#[derive(Clone, Copy, Debug)]
struct Life {
    table: TableKey,
    id: u64,
    came: Call,
    went: Call,
}

/// What a listener knows.
#[derive(Default)]
struct Told {
    events: Vec<Event>,
    /// As it enumerated last.
    shown: HashSet<Handle>,
    missed: usize,
}

impl Told {
    /// Events since the latest that said that some were missed.
    fn fresh(&self) -> &[Event] {
        let missed = self.events.iter().rposition(|event| *event == Event::Missed);
        &self.events[missed.map_or(0, |index| index + 1)..]
    }

    /// Who is there, from what it has seen and was told.
    fn present(&self) -> HashSet<Handle> {
        let mut present = self.shown.clone();
        let mut gone = HashSet::new();
        for event in self.fresh() {
            match event {
                Event::Registered { handle, .. } => drop(present.insert(*handle)),
                Event::Deregistered { handle, .. } => drop(gone.insert(*handle)),
                _ => {}
            }
        }
        &present - &gone
    }
}

/// Outlives its entity.
#[derive(Default)]
struct Log {
    table: Option<TableKey>,
    inside: AtomicBool,
    /// A deregistration has returned: none of its code runs any more.
    gone: AtomicBool,
    /// Its journal is so short that what is held may be let go before it is told.
    overruns: bool,
    /// It knows of a marker.
    marked: AtomicBool,
    told: Mutex<Told>,
}

/// The payload.
struct Item {
    alive: u64,
    log: Arc<Log>,
}

impl Item {
    fn new(log: &Arc<Log>) -> Item {
        Item { alive: ALIVE, log: log.clone() }
    }

    fn check(&self) {
        assert_eq!(self.alive, ALIVE, "used after its drop");
        assert!(!self.log.gone.load(Ordering::SeqCst), "runs after its deregistration");
    }
}

impl Drop for Item {
    fn drop(&mut self) {
        assert_eq!(self.alive, ALIVE, "dropped twice");
        self.alive = 0;
    }
}

fn enumerate(registry: &Registry<Item>, table: TableKey) -> HashSet<Handle> {
    registry.enter().entities(table).map(|entity| entity.handle()).collect()
}

/// What every listener does.
fn hear(registry: &Registry<Item>, delivery: &Delivery<'_, Item>) {
    let _fatal = Fatal;
    let item = delivery.payload();
    item.check();
    let log = &item.log;
    assert!(!log.inside.swap(true, Ordering::SeqCst), "two events of one listener at once");
    let marked;
    match delivery.event {
        Event::Registered { handle, info } | Event::Deregistered { handle, info } => {
            assert_ne!(handle, delivery.listener, "told of itself");
            assert_eq!(Some(info.table), log.table, "another table's");
            if !log.overruns {
                // Now and then for so long that others do much meanwhile.
                if handle.to_bits() >> 32 & 255 == 0 {
                    (0..20).for_each(|_| thread::yield_now());
                }
                assert_eq!(registry.info(handle), Ok(info), "not described: {:?}", delivery.event);
            }
            let refused = registry.deregister(delivery.listener);
            // Another thread may be at it.
            assert!(refused.is_err(), "deregistered inside its own event");
            marked = info.id == MARKERS;
        }
        Event::Missed => {
            let table = log.table.unwrap();
            let shown = enumerate(registry, table);
            let marker = Ok(entity(table, MARKERS));
            marked = shown.iter().any(|handle| registry.info(*handle) == marker);
            let mut told = log.told.lock().unwrap();
            told.missed += 1;
            told.shown = shown;
        }
        _ => unreachable!(),
    }
    log.told.lock().unwrap().events.push(delivery.event);
    // Afterwards: whoever sees it reads the log.
    log.marked.fetch_or(marked, Ordering::SeqCst);
    log.inside.store(false, Ordering::SeqCst);
    item.check();
}

/// Runs the events of a queue until told to stop.
fn serve(registry: &Registry<Item>, queue: &EventQueue, stop: &AtomicBool) {
    let participant = registry.join().unwrap();
    let mut courier = participant.courier(queue);
    while !stop.load(Ordering::Relaxed) {
        while let Some(delivery) = courier.next_event() {
            hear(registry, &delivery);
        }
        queue.wait(Some(Duration::from_millis(1)));
    }
}

/// Everything that threads share.
struct Scene {
    registry: Arc<Registry<Item>>,
    overruns: bool,
    clock: Clock,
    lives: Mutex<HashMap<Handle, Life>>,
    /// Listeners that have gone.
    heard: Mutex<Vec<(Handle, Life, Arc<Log>)>>,
    /// Handles to invoke.
    board: [AtomicU64; 8],
    stop: AtomicBool,
    invoked: AtomicUsize,
}

impl Scene {
    fn new(journal: u64) -> Arc<Scene> {
        let limits = Limits { journal, ..Limits::default() };
        let registry = Registry::new(Settings { limits, ..Settings::default() }).unwrap();
        Arc::new(Scene {
            registry: Arc::new(registry),
            overruns: journal < 1 << 16,
            clock: Clock::default(),
            lives: Mutex::default(),
            heard: Mutex::default(),
            board: Default::default(),
            stop: AtomicBool::new(false),
            invoked: AtomicUsize::new(0),
        })
    }

    fn log(&self, table: TableKey) -> Arc<Log> {
        Arc::new(Log { table: Some(table), overruns: self.overruns, ..Log::default() })
    }

    /// Registers; `None`: the id is taken.
    fn register(
        &self,
        table: TableKey,
        id: u64,
        log: &Arc<Log>,
        code: ClientCode,
    ) -> Option<(Handle, Life)> {
        let began = self.clock.tick();
        let registered =
            self.registry.register_client(entity(table, id), Item::new(log), DropBy::Writers, code);
        let handle = registered.ok()?;
        let came = Call { began, ended: self.clock.tick() };
        Some((handle, Life { table, id, came, went: NEVER }))
    }

    /// Deregisters and notes the life.
    fn deregister(&self, handle: Handle, mut life: Life, log: &Log) -> Life {
        let began = self.clock.tick();
        assert_eq!(self.registry.deregister(handle), Ok(()));
        log.gone.store(true, Ordering::SeqCst);
        life.went = Call { began, ended: self.clock.tick() };
        self.note(handle, life);
        life
    }

    fn note(&self, handle: Handle, life: Life) {
        assert!(self.lives.lock().unwrap().insert(handle, life).is_none(), "a handle came again");
    }

    /// Entities come and go, until somebody has invoked one; some have methods.
    fn churn(&self, calls: usize, seed: u64) {
        let _fatal = Fatal;
        let mut random = Random(seed);
        let mut own: Vec<(Handle, Life, Arc<Log>)> = Vec::new();
        let mut called = 0;
        while called < calls || self.invoked.load(Ordering::Relaxed) == 0 {
            called += 1;
            if own.len() > 3 || !own.is_empty() && random.below(2) == 0 {
                let (handle, life, log) = own.swap_remove(random.below(own.len() as u64) as usize);
                self.deregister(handle, life, &log);
                continue;
            }
            let table = if random.below(4) == 0 { V6 } else { V4 };
            let log = self.log(table);
            let code = ClientCode { methods: random.below(2) == 0, events: None };
            if let Some((handle, life)) = self.register(table, random.below(8), &log, code) {
                let place = &self.board[random.below(8) as usize];
                place.store(handle.to_bits(), Ordering::Relaxed);
                own.push((handle, life, log));
            }
        }
        for (handle, life, log) in own {
            self.deregister(handle, life, &log);
        }
    }

    /// Listeners come and go.
    fn flit(&self, rounds: usize, queue: &EventQueue, id: u64) {
        let _fatal = Fatal;
        let mut random = Random(id | 1);
        for _ in 0..rounds {
            let table = if random.below(4) == 0 { V6 } else { V4 };
            let log = self.log(table);
            let code = ClientCode { methods: true, events: Some(queue.clone()) };
            let (handle, life) = self.register(table, LISTENERS + id, &log, code).unwrap();
            let until = self.clock.tick() + random.below(400);
            let enough = random.below(20) as usize;
            while !self.stop.load(Ordering::Relaxed)
                && self.clock.0.load(Ordering::Relaxed) < until
                && log.told.lock().unwrap().events.len() < enough
            {
                thread::yield_now();
            }
            let life = self.deregister(handle, life, &log);
            self.heard.lock().unwrap().push((handle, life, log));
        }
    }

    fn invoke(&self, seed: u64) {
        let _fatal = Fatal;
        let mut random = Random(seed);
        while !self.stop.load(Ordering::Relaxed) {
            let bits = self.board[random.below(8) as usize].load(Ordering::Relaxed);
            let Some(handle) = Handle::from_bits(bits) else { continue };
            let invoked = self.registry.invoke(handle, |item| {
                item.check();
                thread::yield_now();
                item.check();
            });
            match invoked {
                Ok(()) => drop(self.invoked.fetch_add(1, Ordering::Relaxed)),
                Err(error) => {
                    assert!(matches!(error, InvokeError::InvalidHandle | InvokeError::NoMethods));
                }
            }
        }
    }
}

/// Whether what a listener was told can have been, and is all up to the last of it.
fn check(lives: &HashMap<Handle, Life>, listener: Handle, own: &Life, told: &Told) {
    let (mut latest, mut heard, mut holders) = (0, HashSet::new(), HashMap::new());
    for event in told.fresh() {
        let (handle, info, comes) = match *event {
            Event::Registered { handle, info } => (handle, info, true),
            Event::Deregistered { handle, info } => (handle, info, false),
            _ => unreachable!(),
        };
        let life = &lives[&handle];
        assert_eq!((life.table, life.id), (info.table, info.id));
        let call = if comes { life.came } else { life.went };
        assert!(call.ended > latest, "{event:?} comes after what happened later");
        latest = latest.max(call.began);
        assert!(heard.insert((handle, comes)), "{event:?} twice");
        assert!(!comes || !heard.contains(&(handle, false)), "{event:?} after its departure");
        if let Some((holder, came)) = holders.insert(info.id, (handle, comes)) {
            assert!(came != comes, "{event:?}: two holders of an id");
            assert!(comes || holder == handle, "{event:?}: another holds its id");
        }
    }
    if told.missed != 0 {
        return;
    }
    for (&handle, life) in lives.iter().filter(|(_, life)| life.table == own.table) {
        for (call, comes) in [(life.came, true), (life.went, false)] {
            let between = call.began > own.came.ended && call.ended < latest.min(own.went.began);
            let there = heard.contains(&(handle, comes));
            assert!(!between || there || handle == listener, "not told of {life:?}, {comes}");
        }
    }
}

/// Everything at once; listeners that stay have so long a journal.
fn history(journal: u64, calls: usize) -> usize {
    let _fatal = Fatal;
    let scene = &Scene::new(journal);
    let threads = Threads { idle: 2, most: 8 };
    let registry = scene.registry.clone();
    let hears = move |delivery: &Delivery<'_, Item>| hear(&registry, delivery);
    let dispatcher = Dispatcher::start(scene.registry.clone(), threads, hears).unwrap();
    let polled = EventQueue::with_descriptor().unwrap();
    // The last is left alone as long as anything happens.
    let queues = [dispatcher.queue(), EventQueue::new(), polled, EventQueue::new()];
    // These stay.
    let mut staying = Vec::new();
    for (number, queue) in queues.iter().enumerate() {
        for table in [V4, V4, V6] {
            let log = scene.log(table);
            let code = ClientCode { methods: false, events: Some(queue.clone()) };
            let id = LISTENERS + 100 + (number * 3 + staying.len()) as u64;
            let (handle, life) = scene.register(table, id, &log, code).unwrap();
            let shown = enumerate(&scene.registry, table);
            let mut told = log.told.lock().unwrap();
            if told.missed == 0 {
                told.shown = shown;
            }
            drop(told);
            staying.push((handle, life, log));
        }
    }
    let last = AtomicBool::new(false);
    let markers = thread::scope(|scope| {
        let servers = (0..3).map(|number| {
            let (queue, last) = (&queues[1 + number % 2], &last);
            scope.spawn(move || serve(&scene.registry, queue, last))
        });
        let mut servers: Vec<_> = servers.collect();
        let flitting = (0..3).map(|number| {
            let queue = &queues[number];
            scope.spawn(move || scene.flit(calls / 40, queue, number as u64))
        });
        let flitting: Vec<_> = flitting.collect();
        let churning: Vec<_> =
            (0..3).map(|number| scope.spawn(move || scene.churn(calls, 77 + number))).collect();
        scope.spawn(|| scene.invoke(99));
        churning.into_iter().for_each(|thread| thread.join().unwrap());
        scene.stop.store(true, Ordering::Relaxed);
        flitting.into_iter().for_each(|thread| thread.join().unwrap());
        servers.push(scope.spawn(|| serve(&scene.registry, &queues[3], &last)));
        // What stays has heard everything when it hears of these.
        let markers = [V4, V6].map(|table| {
            let log = scene.log(table);
            let marker = scene.register(table, MARKERS, &log, ClientCode::default()).unwrap();
            scene.note(marker.0, marker.1);
            marker.0
        });
        // Their logs are not asked: to go through them under their locks would keep them from growing.
        for (.., log) in &staying {
            while !log.marked.load(Ordering::SeqCst) {
                thread::yield_now();
            }
        }
        last.store(true, Ordering::Relaxed);
        servers.into_iter().for_each(|thread| thread.join().unwrap());
        markers
    });
    for (handle, life, _) in &staying {
        scene.note(*handle, *life);
    }
    let lives = scene.lives.lock().unwrap();
    let mut missed = 0;
    for (handle, life, log) in &staying {
        let told = log.told.lock().unwrap();
        check(&lives, *handle, life, &told);
        let mut present = told.present();
        present.insert(*handle);
        assert_eq!(present, enumerate(&scene.registry, life.table));
        assert!(present.contains(&markers[usize::from(life.table == V6)]));
        missed += told.missed;
    }
    let heard = scene.heard.lock().unwrap();
    let told = heard.iter().map(|(handle, life, log)| {
        let told = log.told.lock().unwrap();
        check(&lives, *handle, life, &told);
        told.events.len()
    });
    assert!(told.sum::<usize>() > 0, "none of those who came and went was told anything");
    assert!(scene.invoked.load(Ordering::Relaxed) > 0, "nobody was invoked");
    drop(dispatcher);
    let figures = scene.registry.statistics();
    assert!(figures.missed as usize >= missed);
    for (handle, ..) in &staying {
        assert_eq!(scene.registry.deregister(*handle), Ok(()));
    }
    assert_eq!(scene.registry.statistics().listeners, 0);
    missed
}

#[test]
fn everybody_is_told_what_happened_in_order() {
    let _watchdog = Watchdog::new("everybody_is_told_what_happened_in_order");
    let _fatal = Fatal;
    assert_eq!(history(1 << 20, 20_000), 0);
}

#[test]
fn whoever_misses_events_can_start_afresh() {
    let _watchdog = Watchdog::new("whoever_misses_events_can_start_afresh");
    let _fatal = Fatal;
    assert!(history(1, 20_000) > 0, "nobody missed anything");
}
