//! Event queues, and what listeners are told.

use super::context::told;
use super::model::Callback;
use super::program::Place;
use super::{World, call, expect, from_c, to_c};
use rtm::*;
use std::ffi::c_int;
use std::time::{Duration, Instant};

/// When something that must come is given up.
const LIMIT: Duration = Duration::from_secs(30);

impl World {
    pub(super) fn create_queue(&self) {
        let queue = Place::<HANDLE>::new(1, self.program.faults().next());
        let allowed = if queue.is_bad() { ERROR_INVALID_PARAMETER } else { NO_ERROR };
        let code = call!(RtmxCreateEventQueue(queue.pointer()));
        expect("create queue", code, &[allowed]);
        if code != NO_ERROR {
            return queue.assert_untouched();
        }
        let queue = from_c(queue.get(0));
        self.note_given(queue, |given| &mut given.queues);
        self.change().queues.insert(queue);
    }

    pub(super) fn delete_queue(&self) {
        let queue = self.queue();
        let allowed: &[DWORD] = {
            let model = self.model();
            let uses = |listener: &u64| model.entities[listener].callback == Callback::Queue(queue);
            if !model.queues.contains(&queue) {
                &[ERROR_INVALID_HANDLE]
            } else if model.listeners.iter().any(uses) || self.dispatching.get() == queue {
                &[ERROR_BUSY]
            } else if model.queues_kept.contains(&queue) {
                &[ERROR_BUSY, NO_ERROR]
            } else {
                &[NO_ERROR]
            }
        };
        let code = call!(RtmxDeleteEventQueue(to_c(queue)));
        expect("delete queue", code, allowed);
        if code == NO_ERROR {
            self.change().queues.remove(&queue);
        }
    }

    pub(super) fn descriptor(&self) {
        let queue = self.queue();
        let descriptor = Place::<c_int>::new(1, self.program.faults().next());
        let allowed = match self.model().queues.contains(&queue) {
            false => ERROR_INVALID_HANDLE,
            true if descriptor.is_bad() => ERROR_INVALID_PARAMETER,
            true => NO_ERROR,
        };
        let code = call!(RtmxGetEventQueueDescriptor(to_c(queue), descriptor.pointer()));
        expect("descriptor", code, &[allowed]);
        match code {
            NO_ERROR => assert!(descriptor.get(0) >= 0, "DIVERGENCE: no descriptor"),
            _ => descriptor.assert_untouched(),
        }
    }

    pub(super) fn dispatch_any(&self) {
        let (queue, budget) = (self.queue(), self.program.byte());
        let done = Place::new(1, self.program.faults().next());
        self.dispatch(queue, u32::from(budget % 16), &done);
    }

    /// Dispatches, and compares. How many callbacks were run.
    fn dispatch(&self, queue: u64, budget: u32, done: &Place<u32>) -> u32 {
        let allowed = {
            let model = self.model();
            if !model.queues.contains(&queue) {
                ERROR_INVALID_HANDLE
            } else if done.is_odd() || budget == 0 {
                ERROR_INVALID_PARAMETER
            } else if model.is_dispatching() || model.is_inside() {
                ERROR_POSSIBLE_DEADLOCK
            } else {
                NO_ERROR
            }
        };
        if allowed == NO_ERROR {
            self.dispatched.set(0);
            self.dispatching.set(queue);
        }
        let code = call!(RtmxDispatchEvents(to_c(queue), budget, done.pointer()));
        expect("dispatch", code, &[allowed]);
        if code != NO_ERROR {
            done.assert_untouched();
            return 0;
        }
        self.dispatching.set(0);
        let dispatched = self.dispatched.get();
        assert!(dispatched <= budget, "DIVERGENCE: {dispatched} callbacks for {budget}");
        if !done.is_null() {
            assert_eq!(done.get(0), dispatched, "DIVERGENCE: callbacks run");
        }
        dispatched
    }

    /// Dispatches until everybody has been told everything, which must come.
    pub(super) fn drain(&self, queue: u64) {
        if !self.model().queues.contains(&queue) || self.model().is_dispatching() {
            return;
        }
        let mut descriptor = -1;
        let code = call!(RtmxGetEventQueueDescriptor(to_c(queue), &mut descriptor));
        expect("descriptor", code, &[NO_ERROR]);
        let began = Instant::now();
        while !self.model().is_inside() && self.model().queues.contains(&queue) {
            let outstanding = {
                let model = self.model();
                let of_queue =
                    |listener: &&u64| model.entities[*listener].callback == Callback::Queue(queue);
                let listeners = model.listeners.iter().filter(of_queue);
                listeners.map(|listener| model.entities[listener].outstanding.len()).sum::<usize>()
            };
            if outstanding != 0 {
                let mut poll = libc::pollfd { fd: descriptor, events: libc::POLLIN, revents: 0 };
                // SAFETY: one structure.
                let ready = unsafe { libc::poll(&mut poll, 1, LIMIT.as_millis() as c_int) };
                assert!(ready == 1, "DIVERGENCE: {outstanding} events are due, and nobody says so");
            }
            let dispatched = self.dispatch(queue, 64, &Place::new(1, super::program::Fault::None));
            if outstanding == 0 {
                assert_eq!(dispatched, 0, "DIVERGENCE: callbacks, and none was due");
                break;
            }
            assert!(began.elapsed() < LIMIT, "DIVERGENCE: {outstanding} events do not come");
        }
    }

    // --- Callbacks that the library's threads run ---

    /// Compares what the pool has told a listener so far. Whether that was all.
    pub(super) fn check_told(&self, listener: u64) -> bool {
        let mut model = self.change();
        let entity = &model.entities[&listener];
        let (room, due) = (model.journals[&entity.table], &entity.outstanding);
        let mut all = entity.lost;
        let mut lost = entity.lost;
        told(listener, |told| {
            for (index, event) in told.events.iter().enumerate() {
                if lost || event.kind == RTMX_EVENTS_MISSED {
                    let missed = due.len() as u64 + 8 >= room;
                    assert!(
                        lost || missed,
                        "DIVERGENCE: the pool has missed some of {}",
                        due.len()
                    );
                    lost = true;
                    break;
                }
                assert_eq!(
                    Some(event),
                    due.get(index),
                    "DIVERGENCE: event {index} of {listener:#x}"
                );
            }
            all |= told.events.len() == due.len();
        });
        model.entities.get_mut(&listener).expect("known").lost = lost;
        all || lost
    }

    /// Waits until the pool has told a listener everything, which must come.
    pub(super) fn await_pool(&self, listener: u64) {
        let of_pool = |model: &super::Model| {
            model.live(listener).is_some_and(|entity| entity.callback == Callback::Pool)
        };
        if !of_pool(&self.model()) {
            return;
        }
        let began = Instant::now();
        while !self.check_told(listener) {
            assert!(began.elapsed() < LIMIT, "DIVERGENCE: events of {listener:#x} do not come");
            std::thread::sleep(Duration::from_micros(20));
        }
    }
}
