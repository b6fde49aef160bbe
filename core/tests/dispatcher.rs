//! The threads of a dispatcher. Nothing here depends on speed, and a watchdog ends what hangs.
#![cfg(not(rtm_loom))]

mod common;
mod watchdog;

use common::{V4, entity};
use rtm_core::{
    ClientCode, Delivery, Dispatcher, DropBy, Event, EventQueue, Handle, Refusal, Registry,
    Settings, Threads,
};
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::thread;
use std::time::Duration;
use watchdog::{Fatal, Watchdog};

const LISTENERS: u64 = 1 << 32;
const MARKERS: u64 = 1 << 33;

/// Those who enter wait until it is opened.
#[derive(Default)]
struct Gate {
    open: Mutex<bool>,
    changed: Condvar,
}

impl Gate {
    fn pass(&self) {
        let open = self.open.lock().unwrap();
        drop(self.changed.wait_while(open, |open| !*open).unwrap());
    }

    fn open(&self) {
        *self.open.lock().unwrap() = true;
        self.changed.notify_all();
    }
}

type Numbers = Registry<u64>;

fn numbers() -> Arc<Numbers> {
    Arc::new(Registry::new(Settings::default()).unwrap())
}

fn listen(registry: &Numbers, number: u64, queue: EventQueue) -> Handle {
    let code = ClientCode { methods: false, events: Some(queue) };
    let info = entity(V4, LISTENERS + number);
    registry.register_client(info, number, DropBy::Writers, code).unwrap()
}

/// Listeners whose numbers are told by `send`, but for those below `blocked`, who tell and then wait.
fn blocking(
    registry: &Arc<Numbers>,
    threads: Threads,
    blocked: u64,
    gate: &Arc<Gate>,
) -> (Dispatcher<u64>, mpsc::Receiver<u64>) {
    let (send, receive) = mpsc::channel();
    let (send, gate) = (Mutex::new(send), gate.clone());
    let handler = move |delivery: &Delivery<'_, u64>| {
        let Event::Registered { info, .. } = delivery.event else { return };
        if info.id != MARKERS {
            return;
        }
        send.lock().unwrap().send(*delivery.payload()).unwrap();
        if *delivery.payload() < blocked {
            gate.pass();
        }
    };
    (Dispatcher::start(registry.clone(), threads, handler).unwrap(), receive)
}

#[test]
fn handlers_that_block_delay_nobody_else() {
    let _watchdog = Watchdog::new("handlers_that_block_delay_nobody_else");
    let _fatal = Fatal;
    let (registry, gate) = (numbers(), Arc::new(Gate::default()));
    let threads = Threads { idle: 1, most: 64 };
    let (dispatcher, receive) = blocking(&registry, threads, 16, &gate);
    for number in 0..17 {
        listen(&registry, number, dispatcher.queue());
    }
    let _marker = registry.register(entity(V4, MARKERS), 0).unwrap();
    // All 17, and nobody has passed the gate.
    let heard: HashSet<u64> = receive.iter().take(17).collect();
    assert_eq!(heard, (0..17).collect());
    assert!(dispatcher.workers() >= 16);
    gate.open();
    // It shrinks again. (A worker ends after a second without work.)
    while dispatcher.workers() > 1 {
        thread::sleep(Duration::from_millis(1));
    }
    let _again = registry.register(entity(V4, MARKERS + 1), 0).unwrap();
    drop(dispatcher);
}

#[test]
fn there_are_never_more_workers_than_allowed() {
    let _watchdog = Watchdog::new("there_are_never_more_workers_than_allowed");
    let _fatal = Fatal;
    let (registry, gate) = (numbers(), Arc::new(Gate::default()));
    let (dispatcher, receive) = blocking(&registry, Threads { idle: 1, most: 4 }, 8, &gate);
    for number in 0..8 {
        listen(&registry, number, dispatcher.queue());
    }
    let marker = registry.register(entity(V4, MARKERS), 0).unwrap();
    let first: HashSet<u64> = receive.iter().take(4).collect();
    assert_eq!(dispatcher.workers(), 4);
    drop(marker);
    for id in 0..1000 {
        drop(registry.register(entity(V4, id), 0).unwrap());
        assert!(dispatcher.workers() <= 4);
    }
    assert!(receive.try_recv().is_err(), "a fifth worker");
    gate.open();
    let rest: HashSet<u64> = receive.iter().take(4).collect();
    assert_eq!(&first | &rest, (0..8).collect());
}

#[test]
fn a_handler_that_panics_ends_its_event_alone() {
    let _watchdog = Watchdog::new("a_handler_that_panics_ends_its_event_alone");
    let _fatal = Fatal;
    let registry = numbers();
    let (send, receive) = mpsc::channel();
    let send = Mutex::new(send);
    let handler = move |delivery: &Delivery<'_, u64>| {
        let Event::Registered { info, .. } = delivery.event else { return };
        send.lock().unwrap().send(info.id).unwrap();
        if info.id % 2 == 1 {
            // Without the message of a panic.
            std::panic::resume_unwind(Box::new(()));
        }
    };
    let dispatcher = Dispatcher::start(registry.clone(), Threads::default(), handler).unwrap();
    let listener = listen(&registry, 0, dispatcher.queue());
    for id in 0..100 {
        registry.register_handle(entity(V4, id), 0, DropBy::Writers).unwrap();
    }
    assert_eq!(receive.iter().take(100).collect::<Vec<_>>(), (0..100).collect::<Vec<_>>());
    assert_eq!(registry.deregister(listener), Ok(()));
}

#[test]
fn a_dispatcher_can_go_while_events_flow() {
    let _watchdog = Watchdog::new("a_dispatcher_can_go_while_events_flow");
    let _fatal = Fatal;
    let registry = numbers();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                for id in 0..16 {
                    // A reader that gets no processor for long enough stops us, as it should.
                    match registry.register(entity(V4, id), 0) {
                        Ok(registration) => drop(registration),
                        Err(error) => assert_eq!(error.refusal, Refusal::Backlog),
                    }
                }
            }
        });
        for _ in 0..50 {
            let (heard, gone) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
            let (counts, ended) = (heard.clone(), gone.clone());
            let handler = move |_: &Delivery<'_, u64>| {
                counts.fetch_add(1, Ordering::Relaxed);
                assert!(!ended.load(Ordering::SeqCst), "runs after its dispatcher has gone");
            };
            let threads = Threads { idle: 2, most: 4 };
            let dispatcher = Dispatcher::start(registry.clone(), threads, handler).unwrap();
            let listeners: Vec<_> =
                (0..4).map(|number| listen(&registry, number, dispatcher.queue())).collect();
            while heard.load(Ordering::Relaxed) < 20 {
                thread::yield_now();
            }
            drop(dispatcher);
            gone.store(true, Ordering::SeqCst);
            for listener in listeners {
                assert_eq!(registry.deregister(listener), Ok(()));
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_dispatcher_can_go_inside_its_handler() {
    let _watchdog = Watchdog::new("a_dispatcher_can_go_inside_its_handler");
    let _fatal = Fatal;
    for _ in 0..20 {
        let registry = numbers();
        let place = Arc::new(Mutex::new(None::<Dispatcher<u64>>));
        let (send, receive) = mpsc::channel();
        let (own, send) = (place.clone(), Mutex::new(send));
        let handler = move |_: &Delivery<'_, u64>| {
            let dispatcher = own.lock().unwrap().take();
            if dispatcher.is_some() {
                drop(dispatcher);
                send.lock().unwrap().send(()).unwrap();
            }
        };
        let threads = Threads { idle: 3, most: 4 };
        let dispatcher = Dispatcher::start(registry.clone(), threads, handler).unwrap();
        let queue = dispatcher.queue();
        *place.lock().unwrap() = Some(dispatcher);
        let listener = listen(&registry, 0, queue);
        let _visitor = registry.register(entity(V4, 1), 0).unwrap();
        receive.recv().unwrap();
        assert_eq!(registry.deregister(listener), Ok(()));
    }
}
