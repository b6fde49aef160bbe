//! Threads that use one registry at random and write down what they did and when.
//!
//! A *round* is a few thousand operations on a registry that has no entity at its beginning and end.
//! All threads use the same few ids, on which they meet; now and then one uses an id that nobody had
//! before, so that the index fills up with abandoned keys and is rewritten under way. In some rounds there are
//! listeners; then an entity is described after its departure until all have heard of it, so nothing is
//! described or referenced.
//!
//! *Time* is one counter, taken with acquire and release before and after each operation: what
//! returned before another was called happens before it.

use crate::check::{self, Did, Name, Operation};
use crate::common::{Random, V4, entity};
use crate::listen::{Listener, Lives};
use rtm_core::{
    ClientCode, Config, DropBy, Entity, EventQueue, Found, Handle, Participant, Refusal, Registry,
};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};

/// The payload: whose it is and whether it lives.
pub(crate) struct Payload<'a> {
    serial: u64,
    alive: u64,
    tally: &'a Tally,
}

const ALIVE: u64 = 0x5afe_5afe_5afe_5afe;

/// Payloads made and dropped.
#[derive(Default)]
pub(crate) struct Tally {
    made: AtomicU64,
    dropped: AtomicU64,
}

impl Payload<'_> {
    fn check(&self, serial: u64) {
        assert_eq!(self.alive, ALIVE, "a payload was read after its drop");
        assert_eq!(self.serial, serial, "a payload changed under a reader");
    }
}

impl Drop for Payload<'_> {
    fn drop(&mut self) {
        assert_eq!(self.alive, ALIVE, "a payload was dropped twice");
        self.alive = 0xdead;
        self.tally.dropped.fetch_add(1, Ordering::Relaxed);
    }
}

/// What the threads of a round share.
pub(crate) struct Round<'a> {
    clock: AtomicU64,
    /// Of each id the last handle and some before it.
    handles: Vec<[AtomicU64; 4]>,
    /// The next id that nobody had.
    fresh: &'a AtomicU64,
    pub(crate) tally: &'a Tally,
    /// One in so many operations is a listener's; 0: none.
    events: u64,
    /// So that listeners miss some.
    pub(crate) short_journal: bool,
}

/// What one thread did.
#[derive(Default)]
pub(crate) struct Log {
    thread: u32,
    done: Vec<(u64, Operation)>,
    walks: Vec<Walk>,
    listeners: Vec<Listener>,
}

#[derive(Clone)]
pub(crate) struct Walk {
    pub(crate) called: u64,
    pub(crate) returned: u64,
    pub(crate) shown: HashSet<Name>,
}

/// The ids on which the threads meet are below this.
const FRESH: u64 = 1000;

impl<'a> Round<'a> {
    pub(crate) fn new(ids: u64, fresh: &'a AtomicU64, tally: &'a Tally) -> Self {
        fresh.fetch_max(FRESH, Ordering::Relaxed);
        let handles = (0..ids).map(|_| Default::default()).collect();
        let clock = AtomicU64::new(0);
        Round { clock, handles, fresh, tally, events: 0, short_journal: false }
    }

    /// With listeners, whose operations are one in so many.
    pub(crate) fn with_events(self, events: u64, short_journal: bool) -> Self {
        Round { events, short_journal, ..self }
    }

    pub(crate) fn now(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::AcqRel)
    }
}

/// A moment in which others may run.
fn pause() {
    #[cfg(rtm_shuttle)]
    shuttle::thread::sleep(std::time::Duration::ZERO);
}

/// One thread of a round.
pub(crate) struct Driver<'a, 'r, C: Config> {
    round: &'a Round<'r>,
    registry: &'a Registry<Payload<'r>, C>,
    member: &'a Participant<'a, Payload<'r>, C>,
    random: Random,
    log: Log,
    held: Vec<(u64, Found<'a, Payload<'r>, C>)>,
    own: Option<(u64, Handle)>,
    listener: Option<Listener>,
}

impl<'a, 'r, C: Config> Driver<'a, 'r, C> {
    pub(crate) fn new(
        round: &'a Round<'r>,
        member: &'a Participant<'a, Payload<'r>, C>,
        thread: u32,
        seed: u64,
    ) -> Self {
        let log = Log { thread, ..Log::default() };
        // Spread: neighbouring seeds would begin alike.
        let seed = (seed ^ u64::from(thread) << 32).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let (registry, random) = (member.registry(), Random(seed));
        Driver { round, registry, member, random, log, held: Vec::new(), own: None, listener: None }
    }

    /// So many operations at random, and everything that this thread alone has is given up.
    pub(crate) fn run(mut self, operations: usize) -> Log {
        for _ in 0..operations {
            self.step();
        }
        if let Some((id, handle)) = self.own.take() {
            self.deregister(id, handle);
        }
        self.let_go();
        if self.random.below(2) == 0 {
            // Those that stay hear the end of it.
            self.log.listeners.extend(self.listener.take());
        }
        self.stop_listening();
        self.log
    }

    /// What belongs to listening, if it is its turn.
    fn listen(&mut self) -> bool {
        match self.random.below(self.round.events) {
            0 => {
                let most = 1 + self.random.below(64) as usize;
                let (member, round) = (self.member, self.round);
                if let Some(listener) = &mut self.listener {
                    listener.hear(member, round, most);
                }
            }
            // One thread at a time.
            1 if self.log.thread == 0 => drop(self.member.herald_step()),
            2 if self.random.below(self.round.events) < 2 => match self.listener {
                None => self.begin_listening(),
                Some(_) => self.stop_listening(),
            },
            _ => return false,
        }
        true
    }

    fn begin_listening(&mut self) {
        let serial = self.round.tally.made.fetch_add(1, Ordering::Relaxed);
        let id = self.round.fresh.fetch_add(1, Ordering::Relaxed);
        let payload = Payload { serial: serial << 32 | id, alive: ALIVE, tally: self.round.tally };
        let queue = EventQueue::new();
        let code = ClientCode { methods: false, events: Some(queue.clone()) };
        let called = self.round.now();
        let made = self.member.register_client(entity(V4, id), payload, DropBy::Collectors, code);
        let returned = self.round.now();
        let Ok(handle) = made else { return };
        self.note(id, called, returned, Did::Registered(handle.to_bits()));
        self.member.start_events(handle);
        let came = (called, self.round.now());
        self.walk();
        let walk = self.log.walks.last().expect("just now").clone();
        self.listener = Some(Listener::new(id, handle, queue, came, walk));
    }

    fn stop_listening(&mut self) {
        if let Some(listener) = self.listener.take() {
            // Inside a section it would be refused.
            self.let_go();
            self.deregister(listener.id, listener.handle);
            self.log.listeners.push(listener);
        }
    }

    fn step(&mut self) {
        if self.round.events != 0 && self.listen() {
            return;
        }
        let id = self.random.below(self.round.handles.len() as u64);
        let handle = self.pick(id);
        match self.random.below(100) {
            0..20 => drop(self.register(id)),
            20..26 => match self.own.take() {
                None => {
                    let id = self.round.fresh.fetch_add(1, Ordering::Relaxed);
                    self.own = self.register(id).map(|handle| (id, handle));
                }
                Some((id, handle)) => {
                    self.look(id, handle);
                    self.deregister(id, handle);
                }
            },
            26..28 => self.walk(),
            28..30 => self.let_go(),
            30 => match self.random.below(4) {
                0 => _ = self.member.trim().expect("memory to count in"),
                _ => self.collect(),
            },
            31 if self.held.is_empty() && self.random.below(8) == 0 => flush(self.member),
            what => {
                let Some(handle) = handle else { return };
                match what {
                    0..50 => self.deregister(id, handle),
                    50..65 => self.look(id, handle),
                    65..70 => self.hold(id, handle),
                    70..74 => self.look_registered(id, handle),
                    74..88 if self.round.events != 0 => self.look_registered(id, handle),
                    74..80 => self.describe(id, handle),
                    80..88 => self.reference(id, handle),
                    88..96 => self.release(id, handle),
                    _ => self.count(id, handle),
                }
            }
        }
    }

    fn collect(&self) {
        self.member.collect();
        let mut departed = self.member.departed();
        while let Some(payload) = departed.next_departed() {
            drop(payload);
        }
    }

    /// A handle that this id has or had.
    fn pick(&mut self, id: u64) -> Option<Handle> {
        let handles = &self.round.handles[id as usize];
        let which = self.random.below(8) as usize;
        let which = if which < handles.len() { which } else { 0 };
        Handle::from_bits(handles[which].load(Ordering::Acquire))
    }

    /// An operation on one id, timed and written down.
    fn timed<R>(&mut self, id: u64, what: impl FnOnce(&mut Self) -> R, did: impl FnOnce(R) -> Did) {
        let called = self.round.now();
        let result = what(self);
        let returned = self.round.now();
        self.note(id, called, returned, did(result));
    }

    fn note(&mut self, id: u64, called: u64, returned: u64, did: Did) {
        let thread = self.log.thread;
        self.log.done.push((id, Operation { thread, called, returned, did }));
    }

    fn register(&mut self, id: u64) -> Option<Handle> {
        let serial = self.round.tally.made.fetch_add(1, Ordering::Relaxed);
        // The id is part of it, so that a look-up can tell whose the payload is.
        let payload = Payload { serial: serial << 32 | id, alive: ALIVE, tally: self.round.tally };
        let drop_by = [DropBy::Writers, DropBy::Collectors][self.random.below(2) as usize];
        let called = self.round.now();
        let result = self.member.register_handle(entity(V4, id), payload, drop_by);
        let returned = self.round.now();
        match result {
            Ok(handle) => {
                self.note(id, called, returned, Did::Registered(handle.to_bits()));
                if id < FRESH {
                    let handles = &self.round.handles[id as usize];
                    let before = handles[0].swap(handle.to_bits(), Ordering::AcqRel);
                    let other = 1 + self.random.below(handles.len() as u64 - 1) as usize;
                    handles[other].store(before, Ordering::Release);
                }
                Some(handle)
            }
            Err(error) if error.refusal == Refusal::AlreadyExists => {
                self.note(id, called, returned, Did::Taken);
                None
            }
            // Back-pressure, as if it had not been called.
            Err(error) => {
                let pressure = [Refusal::Backlog, Refusal::NoSlot];
                assert!(pressure.contains(&error.refusal), "{error}");
                self.let_go();
                self.collect();
                None
            }
        }
    }

    fn deregister(&mut self, id: u64, handle: Handle) {
        let name = handle.to_bits();
        let called = self.round.now();
        let done = self.member.deregister(handle).is_ok();
        let returned = self.round.now();
        if done {
            self.note(id, called, returned, Did::Unpublished(name));
            self.note(id, called, returned, Did::Freed(name));
        } else {
            self.note(id, called, returned, Did::NotDeregistered(name));
        }
    }

    /// What a look-up found; the payload must be the entity's.
    fn found(id: u64, handle: Handle, entity: Option<Entity<'_, Payload<'r>>>) -> Did {
        let name = handle.to_bits();
        let Some(entity) = entity else { return Did::NotFound(name) };
        let serial = entity.payload().serial;
        entity.payload().check(serial);
        let right =
            entity.info().id == id && serial & 0xffff_ffff == id && entity.handle() == handle;
        if right { Did::Found(name) } else { Did::Misled(name) }
    }

    fn look(&mut self, id: u64, handle: Handle) {
        let member = self.member;
        let guard = member.enter();
        let called = self.round.now();
        let entity = guard.get(handle).ok();
        let returned = self.round.now();
        self.note(id, called, returned, Self::found(id, handle, entity));
        if let Some(entity) = entity {
            let serial = entity.payload().serial;
            pause();
            entity.payload().check(serial);
        }
    }

    /// Looks an entity up and keeps it.
    fn hold(&mut self, id: u64, handle: Handle) {
        let member = self.member;
        let called = self.round.now();
        let found = member.look_up(handle).ok();
        let returned = self.round.now();
        self.note(id, called, returned, Self::found(id, handle, found.as_ref().map(Found::entity)));
        if let Some(found) = found {
            self.held.push((found.serial, found));
        }
        if self.held.len() > 4 {
            self.let_go();
        }
    }

    fn let_go(&mut self) {
        for (serial, found) in &self.held {
            found.check(*serial);
        }
        self.held.clear();
    }

    fn look_registered(&mut self, id: u64, handle: Handle) {
        let name = handle.to_bits();
        let look = |this: &mut Self| this.registry.registered_info(handle);
        self.timed(id, look, |info| match info {
            Ok(info) if info.id == id => Did::Found(name),
            Ok(_) => Did::Misled(name),
            Err(_) => Did::NotFound(name),
        });
    }

    fn describe(&mut self, id: u64, handle: Handle) {
        let name = handle.to_bits();
        self.timed(
            id,
            |this| this.registry.info(handle),
            |info| match info {
                Ok(info) if info.id == id => Did::Described(name),
                Ok(_) => Did::Misled(name),
                Err(_) => Did::NotDescribed(name),
            },
        );
    }

    fn reference(&mut self, id: u64, handle: Handle) {
        let name = handle.to_bits();
        self.timed(
            id,
            |this| this.registry.reference(handle),
            |result| match result {
                Ok(()) => Did::Referenced(name),
                Err(_) => Did::NotReferenced(name),
            },
        );
    }

    fn release(&mut self, id: u64, handle: Handle) {
        let name = handle.to_bits();
        self.timed(
            id,
            |this| this.member.release(handle),
            |result| match result {
                Ok(()) => Did::Released(name),
                Err(_) => Did::NotReleased(name),
            },
        );
    }

    fn count(&mut self, id: u64, handle: Handle) {
        let name = handle.to_bits();
        let count = |this: &mut Self| this.registry.references(handle);
        self.timed(id, count, |count| Did::Counted(name, count));
    }

    fn walk(&mut self) {
        let member = self.member;
        let guard = member.enter();
        let called = self.round.now();
        let all: Vec<_> = guard.entities(V4).collect();
        let returned = self.round.now();
        let mut shown = HashSet::new();
        for entity in all {
            let (id, handle) = (entity.info().id, entity.handle());
            // A walk looks each up in its time.
            self.note(id, called, returned, Self::found(id, handle, Some(entity)));
            assert!(shown.insert(handle.to_bits()), "an enumeration shows {handle:?} twice");
        }
        self.log.walks.push(Walk { called, returned, shown });
    }

    /// Listeners that are still there hear of everything, then go.
    fn hear_the_end(&mut self, logs: &mut [Log]) {
        let (member, round) = (self.member, self.round);
        let mut staying: Vec<_> = logs.iter_mut().flat_map(|log| &mut log.listeners).collect();
        staying.retain(|listener| {
            let there = member.registry().registered_info(listener.handle);
            there.is_ok_and(|info| info.id == listener.id)
        });
        let until = round.now();
        loop {
            let more = member.herald_step();
            let heard: usize = staying.iter_mut().map(|one| one.hear(member, round, 1000)).sum();
            if !more && heard == 0 {
                break;
            }
        }
        for listener in staying {
            listener.until = Some(until);
            self.deregister(listener.id, listener.handle);
        }
        while member.herald_step() {}
    }

    /// After all threads: looks at every entity there was, then ends them all.
    pub(crate) fn end(mut self, logs: &mut [Log]) -> Log {
        if self.round.events != 0 {
            self.hear_the_end(logs);
        }
        self.walk();
        let mut names: Vec<_> =
            logs.iter().flat_map(|log| &log.done).filter_map(registered).collect();
        names.sort_unstable();
        for (id, name) in names {
            let handle = Handle::from_bits(name).expect("a handle's");
            self.count(id, handle);
            while self.registry.references(handle) > 0 {
                self.release(id, handle);
            }
            self.look(id, handle);
            self.deregister(id, handle);
            self.describe(id, handle);
        }
        self.walk();
        self.log
    }
}

fn flush<C: Config>(member: &Participant<'_, Payload<'_>, C>) {
    let mut flushing = member.begin_flush().expect("outside");
    while let Some(payload) = flushing.next_departed() {
        drop(payload);
    }
}

/// Nothing is left of a round that has ended.
pub(crate) fn nothing_left<C: Config>(member: &Participant<'_, Payload<'_>, C>, tally: &Tally) {
    flush(member);
    let [made, dropped] = [&tally.made, &tally.dropped].map(|count| count.load(Ordering::Relaxed));
    assert_eq!(made, dropped, "payloads made and dropped");
    let now = member.statistics();
    assert_eq!((now.live, now.referenced, now.retired), (0, 0, 0));
}

fn registered((id, operation): &(u64, Operation)) -> Option<(u64, Name)> {
    match operation.did {
        Did::Registered(name) => Some((*id, name)),
        _ => None,
    }
}

/// Checks what the threads of a round did. Says how many operations there were, and how many events were told.
pub(crate) fn judge(logs: &[Log]) -> Result<[usize; 2], String> {
    let all = || logs.iter().flat_map(|log| &log.done);
    let mut by_id: BTreeMap<u64, Vec<Operation>> = BTreeMap::new();
    all().for_each(|(id, operation)| by_id.entry(*id).or_default().push(*operation));
    for (id, operations) in &by_id {
        check::check(*id, operations)?;
    }
    let mut names = HashSet::new();
    if let Some(twice) = all().filter_map(registered).find(|one| !names.insert(one.1)) {
        return Err(format!("the handle {:#x} of id {} was given out twice", twice.1, twice.0));
    }
    complete(all().map(|one| one.1), logs.iter().flat_map(|log| &log.walks))?;
    let lives = Lives::new(all());
    let mut told = 0;
    for listener in logs.iter().flat_map(|log| &log.listeners) {
        lives.check(listener)?;
        told += listener.told();
    }
    Ok([all().count(), told])
}

/// Whether each enumeration shows every entity that is registered throughout, that is from the return of
/// its registration to the call of its deregistration. (That it shows none twice is seen at once; that
/// what it shows was there in its time is part of the id's history.)
fn complete<'a>(
    all: impl Iterator<Item = Operation>,
    walks: impl Iterator<Item = &'a Walk>,
) -> Result<(), String> {
    enum Event<'a> {
        Comes(Name),
        Goes(Name),
        Shown(&'a Walk),
    }
    let mut events: Vec<_> = walks.map(|walk| (walk.returned, Event::Shown(walk))).collect();
    events.extend(all.filter_map(|operation| match operation.did {
        Did::Registered(name) => Some((operation.returned, Event::Comes(name))),
        Did::Unpublished(name) => Some((operation.called, Event::Goes(name))),
        _ => None,
    }));
    events.sort_unstable_by_key(|(time, _)| *time);
    let (mut there, mut gone) = (HashMap::new(), HashSet::new());
    for (time, event) in events {
        match event {
            // Somebody who found it in an enumeration may have been faster.
            Event::Comes(name) if gone.contains(&name) => {}
            Event::Comes(name) => drop(there.insert(name, time)),
            Event::Goes(name) => {
                gone.insert(name);
                there.remove(&name);
            }
            Event::Shown(walk) => {
                let mut before = there.iter().filter(|(_, since)| **since < walk.called);
                if let Some((name, since)) = before.find(|(name, _)| !walk.shown.contains(name)) {
                    return Err(format!(
                        "an enumeration called at {} and returned at {time} does not show {name:#x}, \
                         registered since {since}",
                        walk.called
                    ));
                }
            }
        }
    }
    Ok(())
}
