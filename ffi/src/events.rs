//! Event queues, and what their dispatcher and the pool share.
//!
//! *States* of a place for a queue: free (no handle) → a queue → free. A queue goes only when nobody
//! holds it: a dispatcher does while it dispatches, an entity from before its registration until its
//! deregistration is complete, or, if that does not wait, until it is reclaimed.
//! *Client code* is called from `RtmxDispatchEvents`'s frame, which owns nothing: one call of the
//! boundary before each callback and one after the last. The courier, with the event that it has
//! handed out, and the hold on the queue hang on the thread's record.

use crate::boundary::{Outcome, call, optional, required, to_c, without_cancellation};
use crate::client::Client;
use crate::entities::to_c_info;
use crate::manager;
use crate::sync::{Mutex, MutexGuard};
use crate::thread;
use crate::tokens::Serials;
use crate::types::*;
use rtm_core::reserve::{lend, shared};
use rtm_core::{Courier, EntityInfo, Event, EventQueue, Handle, NoQueue, OutOfMemory};
use std::ffi::c_int;
use std::ptr;
use std::sync::{Arc, PoisonError};

const QUEUE_KIND: u64 = 14;

/// All event queues of the application's.
pub(crate) struct Queues {
    serials: Serials,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    places: Vec<Place>,
    /// Those that are free.
    free: Vec<u16>,
}

struct Place {
    /// The queue's handle, else 0.
    handle: u64,
    holds: u32,
    queue: Option<EventQueue>,
}

impl Default for Queues {
    fn default() -> Self {
        Queues { serials: Serials::new(QUEUE_KIND), table: Mutex::default() }
    }
}

/// A queue that cannot be deleted while this exists.
pub(crate) struct Hold {
    queues: &'static Queues,
    number: u16,
    pub(crate) queue: EventQueue,
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let Some(place) = self.queues.lock().places.get_mut(usize::from(self.number)) {
            place.holds -= 1;
        }
    }
}

/// The hold of an entity, given up once, by its deregistration or with its payload.
pub(crate) struct User(Mutex<Option<Hold>>);

impl User {
    pub(crate) fn new(hold: Hold) -> Result<Arc<User>, DWORD> {
        let _loan = lend(shared::<User>()).map_err(|OutOfMemory| ERROR_NOT_ENOUGH_MEMORY)?;
        Ok(Arc::new(User(Mutex::new(Some(hold)))))
    }

    pub(crate) fn give_up(&self) {
        drop(self.0.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

impl Queues {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many there are.
    pub(crate) fn number(&self) -> u64 {
        let table = self.lock();
        (table.places.len() - table.free.len()) as u64
    }

    /// The queue with this handle, to use.
    pub(crate) fn hold(&'static self, handle: RTMX_QUEUE_HANDLE) -> Result<Hold, DWORD> {
        let mut table = self.lock();
        let (number, place) = table.find(handle)?;
        let queue = place.queue.clone().ok_or(ERROR_INVALID_HANDLE)?;
        place.holds += 1;
        Ok(Hold { queues: self, number, queue })
    }

    fn create(&self) -> Result<RTMX_QUEUE_HANDLE, DWORD> {
        let queue = EventQueue::with_descriptor().map_err(|error| match error {
            NoQueue::OutOfMemory => ERROR_NOT_ENOUGH_MEMORY,
            _ => ERROR_NO_SYSTEM_RESOURCES,
        })?;
        let mut table = self.lock();
        let number = match table.free.pop() {
            Some(number) => number,
            None => {
                let number = table.places.len();
                let short = u16::try_from(number).map_err(|_| ERROR_NO_SYSTEM_RESOURCES)?;
                table.places.try_reserve(1).map_err(|_| ERROR_NOT_ENOUGH_MEMORY)?;
                // Room for its return, so that deleting needs no memory.
                let Table { places, free } = &mut *table;
                free.try_reserve(number + 1).map_err(|_| ERROR_NOT_ENOUGH_MEMORY)?;
                places.push(Place { handle: 0, holds: 0, queue: None });
                short
            }
        };
        let handle = self.serials.next(number);
        table.places[usize::from(number)] = Place { handle, holds: 0, queue: Some(queue) };
        Ok(ptr::without_provenance_mut(handle as usize))
    }

    fn delete(&self, handle: RTMX_QUEUE_HANDLE) -> Outcome {
        let mut table = self.lock();
        let (number, place) = table.find(handle)?;
        if place.holds != 0 {
            return Err(ERROR_BUSY);
        }
        place.handle = 0;
        let queue = place.queue.take();
        table.free.push(number);
        drop(table);
        drop(queue);
        Ok(())
    }
}

impl Table {
    fn find(&mut self, handle: RTMX_QUEUE_HANDLE) -> Result<(u16, &mut Place), DWORD> {
        let bits = handle.addr() as u64;
        let number = bits as u16;
        match self.places.get_mut(usize::from(number)) {
            // No queue has the handle 0, which a free place has.
            Some(place) if bits != 0 && place.handle == bits => Ok((number, place)),
            _ => Err(ERROR_INVALID_HANDLE),
        }
    }
}

/// A callback that is due. Plain data: dropping it does nothing.
#[derive(Clone, Copy)]
pub(crate) struct Due {
    callback: RTM_EVENT_CALLBACK,
    listener: HANDLE,
    kind: RTM_EVENT_TYPE,
    /// The entity that has come or gone; NULL if some were missed.
    subject: HANDLE,
    info: RTM_ENTITY_INFO,
}

impl Due {
    pub(crate) const NOTHING: Due = Due {
        callback: None,
        listener: ptr::null_mut(),
        kind: 0,
        subject: ptr::null_mut(),
        info: RTM_ENTITY_INFO {
            RtmInstanceId: 0,
            AddressFamily: 0,
            EntityId: RTM_ENTITY_ID { EntityId: 0 },
        },
    };

    /// Calls the callback.
    ///
    /// # Safety
    /// The courier that this comes from has not gone on.
    #[inline(always)]
    pub(crate) unsafe fn run(&mut self) {
        let info = match self.subject.is_null() {
            true => ptr::null_mut(),
            false => (&raw mut self.info).cast(),
        };
        if let Some(callback) = self.callback {
            // SAFETY: the client gave the function for this use, and is there until the courier goes on.
            unsafe { callback(self.listener, self.kind, self.subject, info) };
        }
    }
}

/// Ends the event before and takes the next one.
pub(crate) fn next_due(courier: &mut Courier<'static, Client>) -> Option<Due> {
    let delivery = courier.next_event()?;
    let callback = delivery.payload().callback;
    let listener = to_c(delivery.listener);
    let none = Due { callback, listener, ..Due::NOTHING };
    let about = |kind, handle: Handle, info: EntityInfo| Due {
        kind,
        subject: to_c(handle),
        info: to_c_info(info),
        ..none
    };
    Some(match delivery.event {
        Event::Registered { handle, info } => about(RTM_ENTITY_REGISTERED, handle, info),
        Event::Deregistered { handle, info } => about(RTM_ENTITY_DEREGISTERED, handle, info),
        // Missed; no other kind yet.
        _ => Due { kind: RTMX_EVENTS_MISSED, ..none },
    })
}

/// Creates an event queue: it collects the events of the entities that are registered with it
/// (RtmxRegisterEntity) until a thread of the application's dispatches them. For daemons with an event
/// loop: one descriptor says when there is something to do.
///
/// @param EventQueue  out: its handle, never NULL. Required.
///
/// @return NO_ERROR; ERROR_INVALID_PARAMETER EventQueue NULL or misaligned;
///   ERROR_NO_SYSTEM_RESOURCES there are 65,536 queues, or the process can have no further descriptor;
///   ERROR_NOT_ENOUGH_MEMORY.
///
/// Ownership: the queue is the caller's until RtmxDeleteEventQueue or RtmxShutdown. Any number of entities
/// of any tables may share it. Any thread; allowed everywhere. Blocks shortly; allocates.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn RtmxCreateEventQueue(EventQueue: PRTMX_QUEUE_HANDLE) -> DWORD {
    call(|| {
        required(EventQueue)?;
        let handle = manager::get()?.queues.create()?;
        // SAFETY: checked above.
        unsafe { EventQueue.write(handle) };
        Ok(())
    })
}

/// Deletes an event queue. Its handle is dead for ever.
///
/// @param EventQueue  in: the queue.
///
/// @return NO_ERROR; ERROR_INVALID_HANDLE not a queue (any more);
///   ERROR_BUSY a thread dispatches it, or an entity is registered with it (or was, and has not been
///   reclaimed since RtmxDeregisterEntityLater: see RtmxFlush).
///
/// Take the descriptor out of your poll set first: it is closed at once if no entity has used the queue,
/// else at the latest when those that have are reclaimed (RtmxFlush). Any thread. Blocks shortly; allocates
/// nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn RtmxDeleteEventQueue(EventQueue: RTMX_QUEUE_HANDLE) -> DWORD {
    without_cancellation(|| call(|| manager::of_handle()?.queues.delete(EventQueue)))
}

/// The descriptor of an event queue, for poll, epoll or select: readable while there is something to
/// dispatch.
///
/// @param EventQueue  in: the queue.
/// @param Descriptor  out: the descriptor (an eventfd). Required.
///
/// @return NO_ERROR; ERROR_INVALID_HANDLE not a queue; ERROR_INVALID_PARAMETER Descriptor NULL or
///   misaligned.
///
/// Wait for it, level- or edge-triggered, and then call RtmxDispatchEvents; do not read, write or close
/// it. It may be readable when another thread has just dispatched everything. Ownership: the queue's. Any
/// thread. Blocks shortly; allocates nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn RtmxGetEventQueueDescriptor(
    EventQueue: RTMX_QUEUE_HANDLE,
    Descriptor: *mut c_int,
) -> DWORD {
    call(|| {
        let hold = manager::of_handle()?.queues.hold(EventQueue)?;
        required(Descriptor)?;
        let descriptor = hold.queue.descriptor().ok_or(ERROR_INTERNAL_ERROR)?;
        // SAFETY: checked above.
        unsafe { Descriptor.write(descriptor) };
        Ok(())
    })
}

/// Runs the event callbacks that are due of the entities registered with a queue, on the calling thread.
///
/// @param EventQueue     in: the queue.
/// @param Budget         in: most callbacks to run; above 0.
/// @param NumDispatched  out: how many were run; or NULL.
///
/// @return NO_ERROR also if none was due;
///   ERROR_INVALID_HANDLE not a queue;
///   ERROR_INVALID_PARAMETER Budget 0, or NumDispatched misaligned;
///   ERROR_POSSIBLE_DEADLOCK called inside an event callback, or inside a read section, which the
///   callbacks would find themselves in;
///   ERROR_NOT_ENOUGH_MEMORY (only in a thread's first call).
///   On failure no callback has run and NumDispatched is untouched.
///
/// What the budget leaves stays in the queue, whose descriptor stays readable. Never waits for an event.
/// Several threads may dispatch one queue: the callbacks of one entity still run one at a time and in
/// order. A callback that leaves a read section open is the last one that is run. A callback may end the
/// thread (pthread_exit, deferred cancellation): its event is over, the others stay. Any thread, also in a
/// method or a cleanup. Lock-free but for finding the queue; allocates only in a thread's first call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn RtmxDispatchEvents(
    EventQueue: RTMX_QUEUE_HANDLE,
    Budget: UINT,
    NumDispatched: PUINT,
) -> DWORD {
    let mut due = Due::NOTHING;
    let mut done = 0;
    let mut code =
        without_cancellation(|| call(|| begin_dispatch(EventQueue, Budget, NumDispatched)));
    while code == NO_ERROR {
        let mut more = false;
        let next = || next_of_dispatch(done < Budget, &mut due, &mut more);
        code = without_cancellation(|| call(next));
        if !more {
            break;
        }
        done += 1;
        // SAFETY: the courier on the thread's record waits for the next call.
        unsafe { due.run() };
    }
    if code == NO_ERROR && !NumDispatched.is_null() {
        // SAFETY: checked by `begin_dispatch`.
        unsafe { NumDispatched.write(done) };
    }
    code
}

fn begin_dispatch(queue: RTMX_QUEUE_HANDLE, budget: UINT, dispatched: PUINT) -> Outcome {
    let manager = manager::of_handle()?;
    let hold = manager.queues.hold(queue)?;
    optional(dispatched)?;
    if budget == 0 {
        return Err(ERROR_INVALID_PARAMETER);
    }
    let record = thread::record(manager)?;
    let participant = record.section.participant();
    if record.is_dispatching() || participant.is_inside_section() {
        return Err(ERROR_POSSIBLE_DEADLOCK);
    }
    record.outer.set(record.scratch.depth());
    *record.courier.borrow_mut() = Some(participant.courier(&hold.queue));
    *record.dispatched.borrow_mut() = Some(hold);
    Ok(())
}

fn next_of_dispatch(go_on: bool, due: &mut Due, more: &mut bool) -> Outcome {
    let Some(manager) = manager::existing() else { return Ok(()) };
    let record = thread::record(manager)?;
    let mut courier = record.courier.borrow_mut();
    // A callback that has entered a section and not left it: the next one would find itself in it.
    let go_on = go_on && !record.section.is_inside();
    if go_on && let Some(next) = courier.as_mut().and_then(next_due) {
        *due = next;
        *more = true;
        return Ok(());
    }
    // Ends what it handed out last.
    *courier = None;
    drop(courier);
    *record.dispatched.borrow_mut() = None;
    Ok(())
}
