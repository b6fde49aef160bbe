//! Events: what entities are told of each other, and who delivers it.
//!
//! *Roles.* A *courier* is one thread's work on an [`EventQueue`]: it takes a listener that is ready,
//! hands its events out one by one, and requeues it when its slice is over. The thread that holds a
//! courier runs the client's code between two calls. What schedules listeners is `dispatch`'s, what
//! stores events is `journal`'s.
//!
//! *Serial and ordered.* One courier at a time runs a listener (`dispatch`: RUNNING), and only it moves
//! the cursor; an event counts as consumed when its frame ends, so that what it names stays
//! describable inside it.
//!
//! *Missed.* A listener that fell behind the journal is moved to its end, then told so: what it
//! enumerates inside that event or later, together with the events that follow, misses nothing.
//!
//! *End.* A closed listener gets nothing more; the courier that ran it ends its part of the
//! rundown, and completes the deregistration if nobody else will (`departure`).
//!
//! *Progress.* Lock-free but for the queue's lock, which is held for a few instructions.

use crate::code::{Frame, Part};
use crate::dispatch::{Listener, Paused};
use crate::entity::EntityInfo;
use crate::events::EventQueue;
use crate::handle::{Config, Handle, Standard};
use crate::journal::{Note, Read};
use crate::member::Member;
use crate::mutant::{Mutant, active};
use crate::participant::Participant;
use crate::reclamation::Local;
use crate::registry::Registry;
use crate::sync::bump;
use std::marker::PhantomData;
use std::sync::Arc;

/// Kinds of notes in a journal.
pub(crate) const NOTHING: u8 = 0;
pub(crate) const REGISTERED: u8 = 1;
pub(crate) const DEREGISTERED: u8 = 2;

/// Events of one listener before it is another's turn.
const SLICE: u32 = 64;

/// What an entity is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// Another entity of the table has been registered. It may have gone since; it can be described
    /// and referenced inside this event (as long as the journal does not go round meanwhile; the next
    /// event is then that some were missed).
    Registered {
        /// Who.
        handle: Handle,
        /// What it is.
        info: EntityInfo,
    },
    /// Another entity of the table has gone. It can be described and referenced inside this event, as
    /// above. If its registration had begun before the listener's, or before that was told that it missed
    /// some, neither an event nor an enumeration need have shown it.
    Deregistered {
        /// Who.
        handle: Handle,
        /// What it was.
        info: EntityInfo,
    },
    /// The listener was too slow for the journal ([`Limits::journal`](crate::Limits::journal)):
    /// events are missing here. Enumerate to start afresh; what happens from now on will be told.
    Missed,
}

/// An event for one entity, handed out by a [`Courier`].
pub struct Delivery<'c, T> {
    /// The entity that is told.
    pub listener: Handle,
    /// What it is told.
    pub event: Event,
    payload: &'c T,
}

impl<'c, T> Delivery<'c, T> {
    /// The payload of the entity that is told.
    pub fn payload(&self) -> &'c T {
        self.payload
    }
}

/// Delivers the events of a queue, in one thread. See [`Participant::courier`]. Not `Send`.
///
/// While an event is handed out, the calling thread counts as being inside the listener's code: the
/// listener's deregistration waits for the next call, or for the courier to be dropped.
pub struct Courier<'p, T: Send + Sync, C: Config = Standard> {
    registry: &'p Registry<T, C>,
    local: &'p Local<Member>,
    queue: EventQueue,
    current: Option<Running>,
    /// A frame belongs to its thread.
    marker: PhantomData<*const ()>,
}

/// The listener that a courier runs.
struct Running {
    listener: Arc<Listener>,
    slice: u32,
    /// What is handed out.
    handed_out: Option<HandedOut>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum HandedOut {
    /// The event at the cursor, which moves on when it ends.
    AtCursor,
    /// That some were missed; the cursor has moved on already.
    Missed,
}

impl<'p, T: Send + Sync, C: Config> Courier<'p, T, C> {
    pub(crate) fn new(
        registry: &'p Registry<T, C>,
        local: &'p Local<Member>,
        queue: &EventQueue,
    ) -> Self {
        Courier { registry, local, queue: queue.clone(), current: None, marker: PhantomData }
    }

    /// Ends the event handed out before, and takes the next one if any is pending.
    pub fn next_event(&mut self) -> Option<Delivery<'_, T>> {
        self.end_event();
        // Room for the frame; without memory for it nothing is taken.
        self.local.record().state.frames.reserve().ok()?;
        let (token, event) = loop {
            let Some(running) = &mut self.current else {
                let listener = self.queue.0.pop()?;
                if listener.begin() {
                    self.current = Some(Running { listener, slice: SLICE, handed_out: None });
                }
                continue;
            };
            let listener = &running.listener;
            if running.slice == 0 || listener.is_closed() {
                self.pause(true);
                continue;
            }
            match listener.read() {
                Read::NotYet => self.pause(false),
                Read::Missed => {
                    listener.skip();
                    running.handed_out = Some(HandedOut::Missed);
                    break (listener.token, Event::Missed);
                }
                Read::Note(note) => match told(self.registry, listener, note) {
                    None => listener.advance(),
                    Some(event) => {
                        if active(Mutant::ConsumedEarly) {
                            listener.advance();
                            running.handed_out = Some(HandedOut::Missed);
                        } else {
                            running.handed_out = Some(HandedOut::AtCursor);
                        }
                        break (listener.token, event);
                    }
                },
            }
        };
        if let Some(running) = &mut self.current {
            running.slice -= 1;
        }
        let state = &self.local.record().state;
        bump(&state.events, 1);
        let part = if event == Event::Missed {
            bump(&state.missed, 1);
            Part::OtherEvent
        } else {
            Part::Membership
        };
        state.frames.push(Frame::new(token, part));
        // SAFETY: I1: the slot is not retired before the listener's part has ended, which this courier
        // ends, after the borrow that the delivery holds.
        let payload = unsafe { self.registry.slab.place(token).slot().value() };
        Some(Delivery { listener: self.registry.slab.seal(token), event, payload })
    }

    /// Ends the event handed out last, and lets its listener go on elsewhere.
    pub fn finish(&mut self) {
        self.end_event();
        if self.current.is_some() {
            self.pause(true);
        }
    }

    fn end_event(&mut self) {
        let Some(running) = &mut self.current else { return };
        if let Some(what) = running.handed_out.take() {
            // Not the innermost: an invocation that has begun inside the event may still be open.
            let own = |frame: &Frame| frame.entity == running.listener.token && !frame.is_method();
            self.local.record().state.frames.take(own);
            if what == HandedOut::AtCursor {
                running.listener.advance();
            }
        }
    }

    /// Lets the current listener go. `more`: there may be events for it.
    fn pause(&mut self, more: bool) {
        let Some(running) = self.current.take() else { return };
        let token = running.listener.token;
        if running.listener.pause(more) == Paused::Closed {
            let code = self.registry.slab.attachments.get(token.slot());
            let code = code.expect("kept by the part that is ended here");
            let ended = code.rundown.end_part();
            self.registry.after(self.local, token, ended);
        }
    }
}

/// What a listener is told of a note, if anything.
fn told<T: Send + Sync, C: Config>(
    registry: &Registry<T, C>,
    listener: &Listener,
    note: Note,
) -> Option<Event> {
    let Note { kind, token, id, .. } = note;
    if token == listener.token {
        return None;
    }
    let handle = registry.slab.seal(token);
    let table = registry.slab.place(listener.token).slot().plain().table();
    let info = EntityInfo { table, id };
    match kind {
        REGISTERED => {
            // See `dispatch`, *The past*.
            let here = !listener.is_at_past() || registry.slab.is_live_or_held(token);
            (here || active(Mutant::ToldOfThePast)).then_some(Event::Registered { handle, info })
        }
        DEREGISTERED => Some(Event::Deregistered { handle, info }),
        _ => None,
    }
}

impl<T: Send + Sync, C: Config> Drop for Courier<'_, T, C> {
    fn drop(&mut self) {
        self.finish();
    }
}

/// Whether the calling thread is inside the event that an entity came or went.
pub(crate) fn inside_membership_event(local: &Local<Member>) -> bool {
    let me = crate::sync::thread_token();
    crate::code::has_frame(local.shared(), me, |frame| frame.part == Part::Membership)
}

impl<'r, T: Send + Sync, C: Config> Participant<'r, T, C> {
    /// Delivers events of a queue in the calling thread.
    pub fn courier(&self, queue: &EventQueue) -> Courier<'_, T, C> {
        Courier::new(self.registry(), self.local(), queue)
    }
}
