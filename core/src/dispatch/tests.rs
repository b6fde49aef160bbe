//! What the parts of `dispatch` promise, one by one and all together.

use super::*;
use crate::journal::Note;
use crate::sync::AtomicBool;
use std::sync::{Barrier, Weak};
use std::thread;
use std::time::{Duration, Instant};

const ENTRIES: u64 = 1 << 16;
const FOREVER: Duration = Duration::from_secs(60);

fn token(slot: u32) -> Token {
    Token::new(7, slot)
}

fn note(id: u64) -> Note {
    Note { kind: 1, token: token(id as u32), id, holds: false }
}

fn holding(id: u64) -> Note {
    Note { holds: true, ..note(id) }
}

fn nothing_held(token: Token) {
    panic!("{token:?} was not held");
}

/// A table with its herald.
struct World {
    herald: Arc<Herald>,
    audience: Arc<Audience>,
}

impl World {
    fn new() -> World {
        let herald = Herald::new().unwrap();
        World { audience: Audience::new(herald.clone()).unwrap(), herald }
    }

    fn listener(&self, slot: u32, queue: &Arc<Queue>) -> Arc<Listener> {
        self.audience.enlist(ENTRIES).unwrap();
        let listener = Listener::new(token(slot), self.audience.clone(), queue.clone()).unwrap();
        let node = Joining::new(listener.clone()).unwrap();
        assert_eq!(Audience::join(node), Paused::Open);
        listener
    }

    fn append(&self, note: Note) {
        self.audience.append(note, &mut nothing_held);
    }

    /// Steps until nothing is rung; what was let go meanwhile.
    fn settle(&self) -> Vec<u32> {
        let mut released = Vec::new();
        while self.herald.step(&mut |token| released.push(token.slot())) {}
        released
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.audience.disband();
        self.herald.disband();
    }
}

/// Everything there is to read, by its runner.
fn read_all(listener: &Listener) -> Vec<u64> {
    let mut ids = Vec::new();
    while let Read::Note(note) = listener.read() {
        ids.push(note.id);
        listener.advance();
    }
    ids
}

#[test]
fn a_listener_is_run_by_one_at_a_time() {
    let (world, queue) = (World::new(), Arc::new(Queue::new()));
    let listener = world.listener(1, &queue);
    assert!(queue.pop().is_none());
    world.append(note(1));
    assert!(queue.pop().is_none(), "the herald has not been there");
    world.settle();
    world.append(note(2));
    world.settle();
    assert_eq!((queue.len(), queue.taken()), (1, 0));
    let popped = queue.pop().unwrap();
    assert!(Arc::ptr_eq(&popped, &listener));
    assert!(popped.begin());
    // Running: events do not queue it again.
    world.append(note(3));
    world.settle();
    assert!(queue.pop().is_none());
    assert_eq!(listener.read(), Read::Note(note(1)));
    listener.advance();
    assert_eq!(listener.pause(true), Paused::Open);
    assert!(queue.pop().unwrap().begin());
    assert_eq!(read_all(&listener), [2, 3]);
    // More comes between the last look and the pause: it is seen there.
    world.append(note(4));
    assert_eq!(listener.pause(false), Paused::Open);
    assert!(queue.pop().unwrap().begin());
    assert_eq!(read_all(&listener), [4]);
    assert_eq!(listener.pause(false), Paused::Open);
    world.settle();
    assert_eq!((queue.len(), queue.taken()), (0, 3));
    assert_eq!(world.audience.trimmed(), 4);
}

#[test]
fn closing_finds_a_listener_in_any_state() {
    let (world, queue) = (World::new(), Arc::new(Queue::new()));
    let [idle, ready, popped, running, pausing, more] =
        [1, 2, 3, 4, 5, 6].map(|slot| world.listener(slot, &queue));
    // All but the first become READY, the others' queue order being theirs to choose.
    assert!(!idle.close());
    world.audience.leave();
    world.append(note(1));
    world.settle();
    assert_eq!((queue.len(), world.audience.members()), (5, 5));

    let mut in_hand = Vec::new();
    while let Some(listener) = queue.pop() {
        in_hand.push(listener);
    }
    for listener in &in_hand {
        if !Arc::ptr_eq(listener, &popped) {
            assert!(listener.begin());
        }
    }
    // READY: the queue gives it up.
    assert_eq!(ready.pause(true), Paused::Open);
    assert!(!ready.close());
    world.audience.leave();
    world.settle();
    assert_eq!((queue.len(), world.audience.members()), (0, 4));
    // Popped and not begun.
    assert!(!popped.close());
    world.audience.leave();
    world.settle();
    assert_eq!(world.audience.members(), 4, "somebody has it in hand");
    assert!(!popped.begin());
    world.settle();
    assert_eq!(world.audience.members(), 3);
    // Running.
    for (listener, has_more) in [(&running, false), (&pausing, false), (&more, true)] {
        assert!(listener.close());
        world.audience.leave();
        world.settle();
        let before = world.audience.members();
        assert_eq!(listener.pause(has_more), Paused::Closed);
        world.settle();
        assert_eq!(world.audience.members(), before - 1);
    }
    assert!(!world.audience.hint());
    // Nobody listens: what is appended all the same is let go at once.
    world.append(holding(9));
    assert_eq!(world.settle(), [9]);
}

#[test]
fn held_entities_are_let_go_when_all_have_read() {
    let (world, queue) = (World::new(), Arc::new(Queue::new()));
    let listeners = [1, 2].map(|slot| world.listener(slot, &queue));
    world.append(holding(10));
    world.append(note(11));
    assert_eq!(world.settle(), []);
    for listener in &listeners {
        assert!(queue.pop().unwrap().begin());
        assert_eq!(world.settle(), []);
        assert_eq!(read_all(listener), [10, 11]);
    }
    assert_eq!(listeners[0].pause(false), Paused::Open);
    assert!(!world.herald.is_rung(), "another still reads");
    assert_eq!(listeners[1].pause(false), Paused::Open);
    assert!(world.herald.is_rung(), "the last one rings");
    assert_eq!(world.settle(), [10]);
    // One that leaves with events unread does not hold them.
    world.append(holding(12));
    world.settle();
    assert!(queue.pop().unwrap().begin());
    let ran = listeners.iter().position(|l| l.state.load(Ordering::Relaxed) == RUNNING).unwrap();
    assert_eq!(read_all(&listeners[ran]), [12]);
    assert_eq!(listeners[ran].pause(false), Paused::Open);
    assert_eq!(world.settle(), []);
    assert!(!listeners[1 - ran].close());
    world.audience.leave();
    assert_eq!(world.settle(), [12]);
}

#[test]
fn one_that_joins_is_told_of_what_is_still_to_be_committed() {
    let (world, queue) = (World::new(), Arc::new(Queue::new()));
    assert!(!world.audience.hint());
    assert!(world.audience.reserve().is_none());
    let mut released = Vec::new();
    world.audience.append(holding(1), &mut |token| released.push(token.slot()));
    assert_eq!(released, [1], "nobody ever listened");

    let first = world.listener(1, &queue);
    assert!(world.audience.hint() && world.audience.someone_listens_now());
    world.append(note(2));
    let reserved = world.audience.reserve().unwrap();
    world.append(note(4));
    world.settle();
    let second = world.listener(2, &queue);
    assert_eq!(second.cursor(), 1);
    world.settle();
    assert!(Arc::ptr_eq(&queue.pop().unwrap(), &first));
    assert!(first.begin());
    assert_eq!(read_all(&first), [2]);
    assert_eq!(first.pause(false), Paused::Open);
    world.settle();
    assert!(queue.pop().is_none(), "nobody can read past what is not committed");
    assert_eq!(world.audience.trimmed(), 1);
    world.audience.commit(reserved, note(3), &mut nothing_held);
    world.settle();
    for _ in 0..2 {
        let listener = queue.pop().unwrap();
        assert!(listener.begin());
        assert_eq!(read_all(&listener), [3, 4]);
        assert_eq!(listener.pause(false), Paused::Open);
    }
    world.settle();
    assert_eq!(world.audience.trimmed(), 3);
}

#[test]
fn one_that_has_missed_events_goes_on_with_the_next() {
    let world = World::new();
    let queue = Arc::new(Queue::new());
    world.audience.enlist(1).unwrap();
    world.audience.undo_enlist();
    let listener = world.listener(1, &queue);
    // Twice what a journal of the least size holds.
    let mut id = 0;
    while listener.read() != Read::Missed {
        id += 1;
        world.append(note(id));
    }
    world.settle();
    assert!(queue.pop().unwrap().begin());
    listener.skip();
    assert_eq!(listener.read(), Read::NotYet);
    world.append(note(id + 1));
    assert_eq!(listener.pause(false), Paused::Open);
    assert!(queue.pop().unwrap().begin());
    assert_eq!(read_all(&listener), [id + 1]);
    assert_eq!(listener.pause(false), Paused::Open);
    world.settle();
    assert_eq!(world.audience.trimmed(), id + 1);
}

#[test]
fn queue_is_first_come_first_served() {
    let (world, queue) = (World::new(), Arc::new(Queue::new()));
    let listeners: Vec<_> = (0..5).map(|slot| world.listener(slot, &queue)).collect();
    let run = |listener: &Arc<Listener>| assert!(listener.begin());
    world.append(note(1));
    world.settle();
    let order: Vec<_> = std::iter::from_fn(|| queue.pop()).inspect(run).collect();
    assert_eq!(order.len(), 5);
    for listener in &listeners {
        assert_eq!(listener.pause(true), Paused::Open);
    }
    // Out of the middle, the front and the end.
    for gone in [2, 0, 4] {
        assert!(!listeners[gone].close());
        assert!(listeners[gone].has_ended());
    }
    let slots = |queue: &Queue| -> Vec<_> {
        std::iter::from_fn(|| queue.pop()).inspect(run).map(|l| l.token.slot()).collect()
    };
    assert_eq!(slots(&queue), [1, 3]);
    assert_eq!(listeners[3].pause(true), Paused::Open);
    assert_eq!(listeners[1].pause(true), Paused::Open);
    assert_eq!(slots(&queue), [3, 1]);
    assert_eq!((queue.len(), queue.taken()), (0, 9));
}

#[test]
fn descriptor_shows_whether_something_is_queued() {
    let world = World::new();
    let queue = Arc::new(Queue::with_descriptor().unwrap());
    let counter = |queue: &Queue| {
        let mut bytes = [0; 8];
        // SAFETY: a descriptor that is open, a buffer of eight bytes.
        let n = unsafe { libc::read(queue.descriptor().unwrap(), bytes.as_mut_ptr().cast(), 8) };
        (n == 8).then(|| u64::from_ne_bytes(bytes))
    };
    let listeners = [1, 2, 3].map(|slot| world.listener(slot, &queue));
    assert!(!queue.is_readable());
    assert!(queue.pop().is_none());
    assert!(!queue.is_readable());
    for round in 1..4 {
        world.append(note(round));
        world.settle();
        assert!(queue.is_readable());
        for left in [2, 1, 0] {
            let listener = queue.pop().unwrap();
            assert!(listener.begin());
            assert_eq!((read_all(&listener), queue.len()), (vec![round], left));
            assert_eq!(listener.pause(false), Paused::Open);
            assert!(queue.is_readable(), "until a pop has found nothing");
        }
        // Not yet found empty: another push is no change.
        if round == 2 {
            world.append(note(20));
            world.settle();
            // Three pushes before and three now, one write.
            assert_eq!(counter(&queue), Some(1));
            while let Some(listener) = queue.pop() {
                assert!(listener.begin());
                assert_eq!(read_all(&listener), [20]);
                assert_eq!(listener.pause(false), Paused::Open);
            }
        }
        assert!(queue.pop().is_none());
        assert!(!queue.is_readable());
        assert_eq!(counter(&queue), None);
    }
    drop((world, listeners));
    let number = queue.descriptor().unwrap();
    // SAFETY: only asks.
    let is_open = || unsafe { libc::fcntl(number, libc::F_GETFD) };
    assert_eq!(is_open(), libc::FD_CLOEXEC);
    assert_eq!(Arc::strong_count(&queue), 1);
    assert!(Queue::new().descriptor().is_none());
}

#[test]
fn waiting_ends_with_a_push_a_timeout_or_an_interruption() {
    let (world, queue) = (World::new(), Arc::new(Queue::new()));
    let listener = world.listener(1, &queue);
    assert!(!queue.wait(Some(Duration::ZERO)));
    assert!(!queue.wait(Some(Duration::from_millis(2))));
    let ticket = queue.ticket();
    queue.interrupt_all();
    assert!(!queue.wait_since(ticket, Some(FOREVER)), "an interruption before the wait counts");
    let start = Instant::now();
    thread::scope(|scope| {
        let threads: Vec<_> = (0..3).map(|_| scope.spawn(|| queue.wait(Some(FOREVER)))).collect();
        while queue.idle() < 3 {
            thread::yield_now();
        }
        queue.interrupt_all();
        assert!(threads.into_iter().all(|thread| !thread.join().unwrap()));
        let thread = scope.spawn(|| queue.wait(None));
        while queue.idle() < 1 {
            thread::yield_now();
        }
        world.append(note(1));
        world.settle();
        assert!(thread.join().unwrap());
    });
    assert_eq!(queue.idle(), 0);
    assert!(queue.wait(None));
    assert!(queue.pop().unwrap().begin());
    assert_eq!(listener.pause(false), Paused::Open);
    assert!(start.elapsed() < FOREVER);
}

#[test]
fn herald_sleeps_until_rung_or_stopped() {
    let (world, queue) = (World::new(), Arc::new(Queue::new()));
    let herald = world.herald.clone();
    assert!(herald.wait(Some(Duration::from_millis(2))));
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let mut passes = 0;
            while herald.wait(Some(FOREVER)) {
                passes += u32::from(herald.step(&mut nothing_held));
            }
            passes
        });
        let listener = world.listener(1, &queue);
        world.append(note(1));
        assert!(queue.wait(Some(FOREVER)), "the herald was woken");
        assert!(queue.pop().unwrap().begin());
        assert_eq!(read_all(&listener), [1]);
        assert_eq!(listener.pause(false), Paused::Open);
        herald.stop();
        assert!(thread.join().unwrap() >= 1);
    });
    assert!(!herald.wait(None));
    herald.start();
    assert!(herald.wait(Some(Duration::from_millis(2))));
}

#[test]
fn nothing_is_left_of_a_disbanded_audience() {
    let queue = Arc::new(Queue::new());
    let (weak, listeners): (Weak<Audience>, Vec<Weak<Listener>>) = {
        let world = World::new();
        let listeners: Vec<_> = (0..4).map(|slot| world.listener(slot, &queue)).collect();
        world.append(note(1));
        world.settle();
        let running = queue.pop().unwrap();
        assert!(running.begin());
        let late = world.listener(4, &queue);
        world.append(note(2));
        let weak = (
            Arc::downgrade(&world.audience),
            listeners.iter().chain([&late]).map(Arc::downgrade).collect(),
        );
        drop((world, listeners, late));
        assert_eq!(weak.0.strong_count(), 1, "the runner's");
        assert_eq!(running.pause(true), Paused::Closed);
        weak
    };
    assert_eq!(weak.strong_count(), 0);
    assert!(listeners.iter().all(|listener| listener.strong_count() == 0));
    assert_eq!((queue.len(), Arc::strong_count(&queue)), (0, 1));
}

/// What a listener's client sees.
#[derive(Default)]
struct Client {
    running: AtomicBool,
    /// Nobody may run it any more.
    dead: AtomicBool,
    /// A runner has said that it was the last.
    told: AtomicBool,
    seen: [AtomicU64; 2],
}

#[test]
fn no_event_and_no_wake_up_is_lost() {
    const NOTES: u64 = 10_000;
    const LISTENERS: usize = 50;
    const LATE: usize = 10;
    let world = World::new();
    let queues = [Arc::new(Queue::new()), Arc::new(Queue::with_descriptor().unwrap())];
    let clients: Vec<Client> = (0..LISTENERS + LATE).map(|_| Client::default()).collect();
    let mut listeners: Vec<_> =
        (0..LISTENERS).map(|i| world.listener(i as u32, &queues[i % 2])).collect();
    let released: Vec<AtomicU64> = (0..2 * NOTES + 2).map(|_| AtomicU64::new(0)).collect();
    let over = AtomicBool::new(false);
    let begin = Barrier::new(2 + 3 + 1 + 1);
    let end = Instant::now() + FOREVER;
    let release = |token: Token| {
        released[token.slot() as usize].fetch_add(1, Ordering::Relaxed);
    };

    let appender = |who: u64| {
        begin.wait();
        for count in 1..=NOTES {
            // Slots of the two are odd and even.
            let slot = (2 * count + who) as u32;
            let note =
                Note { kind: who as u8, token: token(slot), id: count, holds: count % 4 == 0 };
            if count % 3 == 0 {
                let position = world.audience.reserve().unwrap();
                world.audience.commit(position, note, &mut { release });
            } else {
                world.audience.append(note, &mut { release });
            }
        }
    };
    let run = |listener: &Arc<Listener>, budget: usize| {
        let client = &clients[listener.token.slot() as usize];
        assert!(!client.running.swap(true, Ordering::Relaxed), "run by two");
        assert!(!client.dead.load(Ordering::Relaxed), "run after its closing");
        let mut more = true;
        for _ in 0..budget {
            match listener.read() {
                Read::Note(note) => {
                    let seen = &client.seen[usize::from(note.kind)];
                    let before = seen.load(Ordering::Relaxed);
                    let first = before == 0 && listener.token.slot() as usize >= LISTENERS;
                    assert!(first || before + 1 == note.id, "{before}, then {}", note.id);
                    assert_eq!(released[note.token.slot() as usize].load(Ordering::Relaxed), 0);
                    seen.store(note.id, Ordering::Relaxed);
                    listener.advance();
                }
                Read::NotYet => more = false,
                Read::Missed => panic!("the journal is large enough"),
            }
            if !more {
                break;
            }
        }
        client.running.store(false, Ordering::Relaxed);
        if listener.pause(more) == Paused::Closed {
            assert!(!client.told.swap(true, Ordering::Relaxed), "told twice");
        }
    };
    let consumer = |queue: &Queue, mut seed: u64| {
        begin.wait();
        loop {
            let ticket = queue.ticket();
            if over.load(Ordering::Relaxed) {
                return;
            }
            queue.wait_since(ticket, None);
            while let Some(listener) = queue.pop() {
                seed = crate::handle::mix(seed);
                if listener.begin() {
                    run(&listener, 1 + (seed % 16) as usize);
                }
            }
        }
    };
    let is_done = |listener: &Listener| {
        let seen = &clients[listener.token.slot() as usize].seen;
        let late = listener.token.slot() as usize >= LISTENERS;
        listener.cursor() == 2 * NOTES
            && (late || seen.iter().all(|seen| seen.load(Ordering::Relaxed) == NOTES))
    };

    thread::scope(|scope| {
        let herald = &world.herald;
        scope.spawn(|| {
            begin.wait();
            while herald.wait(None) {
                while herald.step(&mut { release }) {}
            }
        });
        (0..2).for_each(|who| drop(scope.spawn(move || appender(who))));
        for (i, queue) in [0, 1, 0].into_iter().enumerate() {
            let queue = &queues[queue];
            scope.spawn(move || consumer(queue, i as u64));
        }
        let watched = |mut condition: Box<dyn FnMut() -> bool + '_>| {
            while !condition() && Instant::now() < end {
                thread::yield_now();
            }
            condition()
        };
        begin.wait();
        // A third of them close under way, each at some event of its own.
        let mut fine = true;
        for i in (0..LISTENERS).step_by(3) {
            let client = &clients[i];
            let at = (i as u64 + 1) * 150;
            fine &= watched(Box::new(|| client.seen[0].load(Ordering::Relaxed) >= at));
            if listeners[i].close() {
                fine &= watched(Box::new(|| client.told.load(Ordering::Relaxed)));
            }
            client.dead.store(true, Ordering::Relaxed);
            world.audience.leave();
            if listeners.len() < LISTENERS + LATE {
                listeners.push(world.listener(listeners.len() as u32, &queues[i % 2]));
            }
        }
        let open = || listeners.iter().enumerate().filter(|(i, _)| *i >= LISTENERS || i % 3 != 0);
        fine &= watched(Box::new(|| open().all(|(_, listener)| is_done(listener))));
        fine &= watched(Box::new(|| world.audience.trimmed() == 2 * NOTES));
        fine &= watched(Box::new(|| world.audience.members() == open().count() as u32));
        over.store(true, Ordering::Relaxed);
        queues.iter().for_each(|queue| queue.interrupt_all());
        herald.stop();
        assert!(fine, "a wake-up was lost");
    });
    for count in 1..=NOTES {
        for who in 0..2 {
            let times = released[(2 * count + who) as usize].load(Ordering::Relaxed);
            assert_eq!(times, u64::from(count % 4 == 0), "what an event held");
        }
    }
    assert!(queues.iter().all(|queue| queue.len() == 0));
}
