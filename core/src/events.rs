//! Where events wait for those who deliver them, and the herald who brings them there.

use crate::alloc::OutOfMemory;
use crate::dispatch::Queue;
use crate::handle::{Config, Handle};
use crate::participant::Participant;
use crate::registry::Registry;
use crate::reserve::try_arc;
use crate::{Courier, Event};
use std::sync::Arc;
use std::time::Duration;

/// Where the events of entities wait to be delivered: any number of entities share one. A clone is
/// the same queue.
///
/// Each entity's events are delivered one at a time and in order, those of different entities by as many
/// threads at once as there are [couriers](Participant::courier).
#[derive(Clone)]
pub struct EventQueue(pub(crate) Arc<Queue>);

/// Why there is no queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NoQueue {
    /// The limit on descriptors of the process or of the system is reached.
    NoDescriptor,
    /// Memory could not be had.
    OutOfMemory,
}

impl std::fmt::Display for NoQueue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            NoQueue::NoDescriptor => {
                f.write_str("no file descriptor is left; raise the limit (ulimit -n) or close some")
            }
            NoQueue::OutOfMemory => OutOfMemory.fmt(f),
        }
    }
}

impl std::error::Error for NoQueue {}

impl EventQueue {
    /// A queue for threads that [`wait`](EventQueue::wait).
    pub fn new() -> EventQueue {
        EventQueue(Arc::new(Queue::new()))
    }

    /// As [`new`](EventQueue::new), but reports it if there is no memory.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub fn try_new() -> Result<EventQueue, OutOfMemory> {
        Ok(EventQueue(try_arc(Queue::new())?))
    }

    /// A queue with a descriptor for `poll` and its kind: readable from the moment something is
    /// pending until a courier has found nothing left.
    ///
    /// # Errors
    /// [`NoQueue`].
    pub fn with_descriptor() -> Result<EventQueue, NoQueue> {
        let queue = Queue::with_descriptor().map_err(|_| NoQueue::NoDescriptor)?;
        Ok(EventQueue(try_arc(queue).map_err(|OutOfMemory| NoQueue::OutOfMemory)?))
    }

    /// The descriptor, to be polled and nothing else. Lives as long as the queue.
    #[cfg(not(rtm_loom))]
    pub fn descriptor(&self) -> Option<std::os::fd::RawFd> {
        self.0.descriptor()
    }

    /// Sleeps until something is pending, for `timeout`, or until
    /// [`interrupt_all`](EventQueue::interrupt_all). Says whether something is pending.
    pub fn wait(&self, timeout: Option<Duration>) -> bool {
        self.0.wait(timeout)
    }

    /// Ends the waits of all threads.
    pub fn interrupt_all(&self) {
        self.0.interrupt_all();
    }

    /// Threads that wait.
    pub fn idle(&self) -> u32 {
        self.0.idle()
    }

    /// How often an entity's turn has come.
    pub fn taken(&self) -> u64 {
        self.0.taken()
    }

    /// Entities whose turn is to come.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether something is pending, nobody waits for it, and nobody's turn has come since the call
    /// before, which left `seen`: all who deliver are inside client code, and one more is needed.
    pub fn is_stalled(&self, seen: &mut u64) -> bool {
        let taken = self.taken();
        let moved = std::mem::replace(seen, taken) != taken;
        !moved && self.idle() == 0 && !self.is_empty()
    }

    /// Whether nothing is pending.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Default for EventQueue {
    fn default() -> Self {
        EventQueue::new()
    }
}

impl std::fmt::Debug for EventQueue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EventQueue").field("pending", &self.len()).finish_non_exhaustive()
    }
}

/// One event of an iterator: who is told, and what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// The entity that is told.
    pub listener: Handle,
    /// What it is told.
    pub event: Event,
}

impl<T: Send + Sync, C: Config> Courier<'_, T, C> {
    /// What is pending, as an iterator that ends when nothing is. An event counts as consumed when
    /// the next one is asked for.
    pub fn pending(&mut self) -> impl Iterator<Item = Told> {
        std::iter::from_fn(|| {
            let delivery = self.next_event()?;
            Some(Told { listener: delivery.listener, event: delivery.event })
        })
    }
}

impl<T: Send + Sync, C: Config> Participant<'_, T, C> {
    /// One pass of the herald: brings what has happened to those who listen, and lets go of what all have
    /// heard. Says whether there was anything to do. One thread at a time.
    ///
    /// The registry has no threads of its own: without somebody who runs the herald no event arrives. A
    /// [`Dispatcher`](crate::Dispatcher) does.
    pub fn herald_step(&self) -> bool {
        let (registry, local) = (self.registry(), self.local());
        registry.herald.step(&mut |held| registry.slab.let_go(local, held))
    }
}

impl<T: Send + Sync, C: Config> Registry<T, C> {
    /// Sleeps until the herald has something to do, or for `timeout`; may return early. `false`: it is
    /// stopped.
    pub fn herald_wait(&self, timeout: Option<Duration>) -> bool {
        self.herald.wait(timeout)
    }

    /// Ends the herald's waits, now and until [`herald_start`](Registry::herald_start).
    pub fn herald_stop(&self) {
        self.herald.stop();
    }

    /// Undoes [`herald_stop`](Registry::herald_stop), for another thread.
    pub fn herald_start(&self) {
        self.herald.start();
    }
}
