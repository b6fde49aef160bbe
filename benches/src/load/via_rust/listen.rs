//! Listeners: every event accounted for, as the head of `c/listen.c` says. Even ones are told by a
//! dispatcher, odd ones by the load's own loop.

use super::Context;
use super::tools::element;
use crate::load::layout::{Shared, TOLD_QUEUE, Tally, WAKE, Worker};
use rtm_core::{
    ClientCode, Delivery, Dispatcher, DropBy, EntityInfo, Event, EventQueue, Handle, Participant,
    Refusal, Registry, Threads,
};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Protocols, beside BGP.
const LISTENER: u64 = 99;
const SENTINEL: u64 = 98;
const SENTINELS: u32 = 200;

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Kind {
    #[default]
    Open,
    Listed,
    Up,
    Down,
}

#[derive(Clone, Copy, Default)]
struct Sight {
    handle: u64,
    /// Of another round: nothing is known.
    round: u32,
    kind: Kind,
}

/// Held while the listener registers, which its callback may wait for.
#[derive(Default)]
struct Accounts {
    round: u32,
    sights: Vec<Sight>,
}

struct Listener {
    number: u32,
    /// 0 or 1: that of the entities 2k or 2k + 1.
    family: u32,
    goes: bool,
    /// 0 unless registered. By the host.
    handle: AtomicU64,
    /// Not 0 from before the registration until the deregistration has returned.
    life: AtomicU64,
    inside: AtomicBool,
    /// The last sentinel that has come, and gone.
    arrived: AtomicU64,
    gone: AtomicU64,
    accounts: Mutex<Accounts>,
}

/// What the handler of the dispatcher and the loop need.
struct Told {
    registry: Arc<Registry<Context>>,
    shared: &'static Shared,
    listeners: Vec<Listener>,
}

pub(super) struct Listeners {
    told: Arc<Told>,
    queue: EventQueue,
    dispatcher: Dispatcher<Context>,
}

impl Listener {
    fn lock(&self) -> MutexGuard<'_, Accounts> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Told {
    fn tally(&self, listener: &Listener) -> &'static Tally {
        element(self.shared.tallies, listener.number.into())
    }

    /// Entities of the first instance in one family; behind them in the sights: listeners, the sentinel.
    fn half(&self) -> usize {
        self.shared.first_instance as usize / 2
    }

    /// An entity's place in the sights, unless it is none of ours.
    fn index_of(&self, info: EntityInfo) -> Option<usize> {
        let (shared, number) = (self.shared, (info.id >> 32) as u32);
        match info.id & 0xffff_ffff {
            LISTENER if number < shared.listeners => Some(self.half() + number as usize),
            SENTINEL => Some(self.half() + shared.listeners as usize),
            14 => {
                let mask = (1_u32 << shared.by_asn_bits) - 1;
                let mut at = number.wrapping_mul(0x9e37_79b9) >> (32 - shared.by_asn_bits);
                loop {
                    let index = element(shared.by_asn, at.into()).checked_sub(1)?;
                    if shared.identity(2 * index).asn == number {
                        return Some(index as usize);
                    }
                    at = (at + 1) & mask;
                }
            }
            _ => None,
        }
    }

    /// One entity has come or gone.
    fn see(
        &self,
        listener: &Listener,
        accounts: &mut Accounts,
        came: bool,
        handle: Handle,
        info: EntityInfo,
    ) {
        let (shared, number, subject) = (self.shared, listener.number, handle.to_bits());
        let index = self.index_of(info).filter(|_| info.table == shared.table(listener.family));
        let Some(index) = index else {
            return shared.violate(format!("listener {number} was told of a stranger, {info:?}"));
        };
        if subject == listener.handle.load(Ordering::Relaxed) {
            shared.violate(format!("listener {number} was told of itself"));
        }
        let round = accounts.round;
        let sight = &mut accounts.sights[index];
        let kind = if sight.round == round { sight.kind } else { Kind::Open };
        let same = sight.handle == subject;
        let wrong = match (kind, came) {
            (Kind::Up, true) => "comes, but not that it had gone",
            (Kind::Down, true) if same => "comes, after it had gone",
            (Kind::Down, false) => "goes, but not that it had come",
            (Kind::Up, false) if !same => "goes, by a wrong handle",
            _ => "",
        };
        if !wrong.is_empty() {
            shared.violate(format!("listener {number} was told that entity {index} {wrong}"));
        }
        if kind != Kind::Listed || same {
            let kind = if came { Kind::Up } else { Kind::Down };
            *sight = Sight { handle: subject, round, kind };
        }
        // Inside the event it can be described. A short journal is overrun even there.
        if shared.journal == 0 && self.registry.info(handle) != Ok(info) {
            let text = "which nobody describes";
            shared.violate(format!("listener {number} was told of entity {index}, {text}"));
        }
        if info.id & 0xffff_ffff == SENTINEL {
            let place = if came { &listener.arrived } else { &listener.gone };
            place.store(subject, Ordering::Release);
        }
    }

    /// Begins anew with what is listed.
    fn enumerate(&self, listener: &Listener, accounts: &mut Accounts) {
        accounts.round += 1;
        let round = accounts.round;
        let half = self.half();
        accounts.sights[..half].fill(Sight { handle: 0, round, kind: Kind::Open });
        let guard = self.registry.enter();
        for entity in guard.entities(self.shared.table(listener.family)) {
            if let Some(index) = self.index_of(entity.info()).filter(|index| *index < half) {
                let handle = entity.handle().to_bits();
                accounts.sights[index] = Sight { handle, round, kind: Kind::Listed };
            }
        }
    }

    /// One event.
    fn hear(&self, delivery: &Delivery<'_, Context>) {
        let shared = self.shared;
        let listener = &self.listeners[(delivery.payload().entity - shared.entities) as usize];
        let (number, tally) = (listener.number, self.tally(listener));
        let life = listener.life.load(Ordering::Acquire);
        if listener.inside.swap(true, Ordering::Acquire) {
            shared.violate(format!("listener {number} was told two events at once"));
        }
        let mut accounts = listener.lock();
        let told = tally.told.load(Ordering::Relaxed) + 1;
        tally.told.store(told, Ordering::Relaxed);
        match delivery.event {
            Event::Registered { handle, info } => {
                self.see(listener, &mut accounts, true, handle, info);
            }
            Event::Deregistered { handle, info } => {
                self.see(listener, &mut accounts, false, handle, info);
            }
            _ => {
                self.enumerate(listener, &mut accounts);
                tally.missed.fetch_add(1, Ordering::Release);
            }
        }
        drop(accounts);
        listener.inside.store(false, Ordering::Release);
        if life == 0 || listener.life.load(Ordering::Acquire) != life {
            let text = "after its deregistration had returned";
            shared.violate(format!("listener {number} was told {text}"));
        }
    }

    /// Whether a listener has seen everything: its sights are the board.
    fn settle(&self, listener: &Listener) {
        let accounts = listener.lock();
        for (index, sight) in accounts.sights[..self.half()].iter().enumerate() {
            let seen = match sight.kind {
                Kind::Open | Kind::Down => 0,
                Kind::Listed | Kind::Up => sight.handle,
            };
            let place = self.shared.place(2 * index as u32 + listener.family);
            if sight.round != accounts.round || seen != place.load(Ordering::Acquire) {
                let text = "was not told the last of entity";
                self.shared.violate(format!("listener {} {text} {index}", listener.number));
                return;
            }
        }
    }
}

impl Listeners {
    pub(super) fn new(
        registry: Arc<Registry<Context>>,
        shared: &'static Shared,
    ) -> Result<Listeners, String> {
        let sights = shared.first_instance as usize / 2 + shared.listeners as usize + 1;
        let listener = |number: u32| Listener {
            number,
            family: number / 2 % 2,
            goes: number % 4 == 2 || number % 8 == 5,
            handle: AtomicU64::new(0),
            life: AtomicU64::new(0),
            inside: AtomicBool::new(false),
            arrived: AtomicU64::new(0),
            gone: AtomicU64::new(0),
            accounts: Mutex::new(Accounts { round: 0, sights: vec![Sight::default(); sights] }),
        };
        let listeners = (0..shared.listeners).map(listener).collect();
        let told = Arc::new(Told { registry: registry.clone(), shared, listeners });
        let handler = told.clone();
        let hear = move |delivery: &Delivery<'_, Context>| handler.hear(delivery);
        let dispatcher = Dispatcher::start(registry, Threads::default(), hear)
            .map_err(|error| format!("cannot tell listeners: {error}"))?;
        Ok(Listeners { told, queue: EventQueue::new(), dispatcher })
    }

    pub(super) fn threads(&self) -> u64 {
        self.dispatcher.workers() as u64
    }

    /// Registers something, again while the backlog is full.
    fn join(
        &self,
        participant: &Participant<'_, Context>,
        worker: &mut Worker,
        info: EntityInfo,
        listener: Option<&Listener>,
    ) -> Option<Handle> {
        let shared = self.told.shared;
        let events = listener.map(|listener| match listener.number % 2 {
            0 => self.dispatcher.queue(),
            _ => self.queue.clone(),
        });
        let number = listener.map_or(shared.listeners, |listener| listener.number);
        let code = ClientCode { methods: false, events };
        loop {
            let context = Context::new(shared, shared.entities + number, 0);
            match participant.register_client(info, context, DropBy::Writers, code.clone()) {
                Ok(handle) => {
                    worker.created += 1;
                    return Some(handle);
                }
                Err(error) => {
                    // It never got in, so its drop is not one of the registry's.
                    shared.cleaned.fetch_sub(1, Ordering::Relaxed);
                    if error.refusal != Refusal::Backlog || shared.is_violated() {
                        shared.violate(format!("registering {info:?}: {}", error.refusal));
                        return None;
                    }
                }
            }
            std::thread::yield_now();
        }
    }

    fn info_for(&self, family: u32, protocol: u64, number: u32) -> EntityInfo {
        let table = self.told.shared.table(family);
        EntityInfo { table, id: u64::from(number) << 32 | protocol }
    }

    /// Registers a listener. `full`: with an enumeration.
    fn start(
        &self,
        participant: &Participant<'_, Context>,
        worker: &mut Worker,
        listener: &Listener,
        full: bool,
    ) {
        let mut accounts = listener.lock();
        accounts.round += 1;
        let rounds = self.told.tally(listener).rounds.fetch_add(1, Ordering::Relaxed) + 1;
        listener.life.store(rounds, Ordering::Release);
        let info = self.info_for(listener.family, LISTENER, listener.number);
        let Some(handle) = self.join(participant, worker, info, Some(listener)) else { return };
        listener.handle.store(handle.to_bits(), Ordering::Relaxed);
        participant.start_events(handle);
        if full {
            self.told.enumerate(listener, &mut accounts);
        }
    }

    fn stop(&self, participant: &Participant<'_, Context>, listener: &Listener) {
        let (shared, number) = (self.told.shared, listener.number);
        let bits = listener.handle.load(Ordering::Relaxed);
        let Some(handle) = Handle::from_bits(bits) else { return };
        if let Err(error) = participant.deregister(handle) {
            shared.violate(format!("deregistering listener {number}: {error}"));
        }
        listener.life.store(0, Ordering::Release);
        listener.handle.store(0, Ordering::Relaxed);
        if listener.inside.load(Ordering::Acquire) {
            let text = "was being told when its deregistration returned";
            shared.violate(format!("listener {number} {text}"));
        }
    }

    /// How often listeners have been told that they missed some.
    fn missed(&self) -> u64 {
        let of = |listener| self.told.tally(listener).missed.load(Ordering::Acquire);
        self.told.listeners.iter().map(of).sum()
    }

    /// Until all listeners of the table have been told of a sentinel, or one has missed it.
    fn await_told(&self, family: u32, came: bool, handle: Handle, missed: u64) {
        let (shared, begin) = (self.told.shared, Instant::now());
        for listener in self.told.listeners.iter().filter(|listener| listener.family == family) {
            let place = if came { &listener.arrived } else { &listener.gone };
            while place.load(Ordering::Acquire) != handle.to_bits()
                && !shared.is_violated()
                && self.missed() == missed
            {
                if begin.elapsed() > Duration::from_nanos(shared.patience_ns) {
                    let what = if came { "come" } else { "gone" };
                    let text = format!("was not told in time that an entity had {what}");
                    shared.violate(format!("listener {} {text}", listener.number));
                }
                std::thread::yield_now();
            }
        }
    }

    /// One entity comes and goes while nothing else happens, which all are told of. `false`: one of them
    /// that it missed some.
    fn ping(
        &self,
        participant: &Participant<'_, Context>,
        worker: &mut Worker,
        family: u32,
        measured: bool,
    ) -> bool {
        let (shared, missed) = (self.told.shared, self.missed());
        let begin = Instant::now();
        let info = self.info_for(family, SENTINEL, 0);
        let Some(handle) = self.join(participant, worker, info, None) else { return true };
        self.await_told(family, true, handle, missed);
        if measured {
            worker.sample(WAKE, begin, shared);
            worker.count(WAKE, 1);
        }
        if let Err(error) = participant.deregister(handle) {
            shared.violate(format!("deregistering a sentinel: {error}"));
        }
        self.await_told(family, false, handle, missed);
        self.missed() == missed
    }

    pub(super) fn host(&self, worker: &mut Worker) {
        let (shared, listeners) = (self.told.shared, &self.told.listeners);
        let participant = self.told.registry.join().expect("memory for a member");
        for listener in listeners {
            self.start(&participant, worker, listener, true);
        }
        while shared.quiet.load(Ordering::Acquire) == 0 {
            for listener in listeners.iter().filter(|listener| listener.goes) {
                if !shared.stopped() {
                    self.stop(&participant, listener);
                    let full = worker.draw().is_multiple_of(64);
                    self.start(&participant, worker, listener, full);
                }
            }
            match worker.draw() % 4 {
                0 => {}
                1 => std::thread::yield_now(),
                _ => std::thread::sleep(Duration::from_nanos(worker.draw() % 2_000_000)),
            }
        }
        for listener in listeners.iter().filter(|listener| listener.goes) {
            if !shared.is_violated() {
                self.stop(&participant, listener);
                self.start(&participant, worker, listener, true);
            }
        }
        for n in 0..2 * SENTINELS {
            // The first brings them up to date.
            let measured = n > 1;
            while !shared.is_violated() && !self.ping(&participant, worker, n % 2, measured) {}
        }
        if !shared.is_violated() {
            listeners.iter().for_each(|listener| self.told.settle(listener));
        }
        listeners.iter().for_each(|listener| self.stop(&participant, listener));
        shared.settled.store(1, Ordering::Release);
    }

    /// The event loop of those with a queue.
    pub(super) fn run_loop(&self, worker: &mut Worker) {
        let shared = self.told.shared;
        let participant = self.told.registry.join().expect("memory for a member");
        let mut courier = participant.courier(&self.queue);
        while shared.settled.load(Ordering::Acquire) == 0 {
            if !self.queue.wait(Some(Duration::from_millis(50))) {
                continue;
            }
            let begin = Instant::now();
            let mut done = 0;
            while done < 256
                && let Some(delivery) = courier.next_event()
            {
                self.told.hear(&delivery);
                done += 1;
            }
            courier.finish();
            worker.block(TOLD_QUEUE, done, begin, 0, shared);
        }
    }
}
