//! Threads that bring events to entities: the herald and a pool that grows while its threads are busy.
//!
//! *Roles.* One thread runs the herald and never client code. *Workers* run the handler. *Progress.*
//! The herald starts one more worker when something is pending, nobody waits for work, and for a
//! millisecond nobody has taken any: all are inside the handler. So a handler that blocks delays the
//! events of its own entity and no other's, up to [`Threads::most`]. Workers beyond
//! [`Threads::idle`] end after a second without work.

use crate::handle::{Config, Standard};
use crate::registry::Registry;
use crate::sync::{AtomicBool, AtomicUsize, Mutex, Ordering};
use crate::{Delivery, EventQueue, OutOfMemory};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

/// How long the queue may stand still before a worker is added.
const STALL: Duration = Duration::from_millis(1);

/// How many workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Threads {
    /// Stay when there is nothing to do; at least 1.
    pub idle: usize,
    /// Exist at most.
    pub most: usize,
}

impl Default for Threads {
    fn default() -> Self {
        Threads { idle: 2, most: 64 }
    }
}

/// Why a dispatcher could not be started.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// Memory could not be had.
    OutOfMemory,
    /// A thread could not be had.
    Thread(io::Error),
}

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            StartError::OutOfMemory => OutOfMemory.fmt(f),
            StartError::Thread(error) => write!(f, "no thread for events: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

type Handler<T> = dyn Fn(&Delivery<'_, T>) + Send + Sync;

struct Shared<T: Send + Sync, C: Config> {
    registry: Arc<Registry<T, C>>,
    queue: EventQueue,
    handler: Box<Handler<T>>,
    threads: Threads,
    /// Workers that have not ended.
    workers: AtomicUsize,
    started: Mutex<Vec<JoinHandle<()>>>,
    stopping: AtomicBool,
}

/// Delivers the events of the entities that are registered with its [queue](Dispatcher::queue), and runs
/// the [herald](crate::Participant::herald_step) of its registry: a registry
/// that tells anybody needs exactly one.
///
/// Dropping it stops its threads and waits for handlers that run (but for the one it is dropped in).
pub struct Dispatcher<T: Send + Sync + 'static, C: Config + 'static = Standard> {
    shared: Arc<Shared<T, C>>,
    herald: Option<JoinHandle<()>>,
}

impl<T: Send + Sync + 'static, C: Config + Send + Sync + 'static> Dispatcher<T, C> {
    /// Starts the herald and one worker. `handler` runs every event, on a worker; a panic in it
    /// ends that event and nothing else.
    ///
    /// # Errors
    /// [`StartError`]; then nothing runs.
    pub fn start(
        registry: Arc<Registry<T, C>>,
        threads: Threads,
        handler: impl Fn(&Delivery<'_, T>) + Send + Sync + 'static,
    ) -> Result<Self, StartError> {
        let shared = Arc::new(Shared {
            registry,
            queue: EventQueue::new(),
            handler: Box::new(handler),
            threads: Threads { idle: threads.idle.max(1), most: threads.most.max(1) },
            workers: AtomicUsize::new(0),
            started: Mutex::default(),
            stopping: AtomicBool::new(false),
        });
        shared.registry.herald_start();
        let mut dispatcher = Dispatcher { shared: shared.clone(), herald: None };
        shared.start_worker()?;
        let thread = Builder::new().name("rtm-events".to_owned());
        let herald = thread.spawn(move || shared.herald()).map_err(StartError::Thread)?;
        dispatcher.herald = Some(herald);
        Ok(dispatcher)
    }

    /// Where entities have their events put: [`ClientCode::events`](crate::ClientCode::events).
    pub fn queue(&self) -> EventQueue {
        self.shared.queue.clone()
    }

    /// Workers there are now.
    pub fn workers(&self) -> usize {
        self.shared.workers.load(Ordering::Relaxed)
    }
}

impl<T: Send + Sync + 'static, C: Config + Send + Sync + 'static> Shared<T, C> {
    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    fn start_worker(self: &Arc<Self>) -> Result<(), StartError> {
        let number = self.workers.fetch_add(1, Ordering::Relaxed);
        let shared = self.clone();
        let thread = Builder::new().name(format!("rtm-event-{number}"));
        match thread.spawn(move || shared.work()) {
            Ok(thread) => {
                let mut started = self.started.lock().unwrap_or_else(PoisonError::into_inner);
                started.retain(|thread| !thread.is_finished());
                started.push(thread);
                Ok(())
            }
            Err(error) => {
                self.workers.fetch_sub(1, Ordering::Relaxed);
                Err(StartError::Thread(error))
            }
        }
    }

    fn herald(self: &Arc<Self>) {
        let Ok(participant) = self.registry.join() else { return };
        let (mut seen, mut looked) = (0, Instant::now());
        while !self.is_stopping() {
            participant.herald_step();
            // Rung in quick succession, it must not take a moment for a standstill.
            let due = looked.elapsed() >= STALL;
            if due {
                looked = Instant::now();
            }
            if due
                && self.queue.is_stalled(&mut seen)
                && self.workers.load(Ordering::Relaxed) < self.threads.most
            {
                // Without a thread the events wait for those there are.
                let _ = self.start_worker();
            }
            let watches = !self.queue.is_empty();
            self.registry.herald_wait(watches.then_some(STALL));
        }
    }

    fn work(&self) {
        if let Ok(participant) = self.registry.join() {
            let mut courier = participant.courier(&self.queue);
            while !self.is_stopping() {
                while let Some(delivery) = courier.next_event() {
                    let _ = catch_unwind(AssertUnwindSafe(|| (self.handler)(&delivery)));
                    if self.is_stopping() {
                        break;
                    }
                }
                // The event ends now, whether or not somebody still interrupts our wait.
                if self.is_stopping() {
                    break;
                }
                if !self.queue.wait(Some(Duration::from_secs(1))) && self.is_surplus() {
                    return;
                }
            }
        }
        self.workers.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether the calling worker is one too many; it is counted out then.
    fn is_surplus(&self) -> bool {
        let fewer = |now: usize| (now > self.threads.idle).then(|| now - 1);
        self.workers.try_update(Ordering::Relaxed, Ordering::Relaxed, fewer).is_ok()
    }
}

impl<T: Send + Sync + 'static, C: Config + 'static> Drop for Dispatcher<T, C> {
    fn drop(&mut self) {
        let shared = &self.shared;
        shared.stopping.store(true, Ordering::Relaxed);
        shared.registry.herald_stop();
        let herald = self.herald.take();
        let take = || {
            let mut started = shared.started.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *started)
        };
        let me = std::thread::current().id();
        if let Some(herald) = herald {
            let _ = herald.join();
        }
        for worker in take() {
            while !worker.is_finished() && worker.thread().id() != me {
                shared.queue.interrupt_all();
                std::thread::sleep(Duration::from_micros(200));
            }
        }
    }
}
