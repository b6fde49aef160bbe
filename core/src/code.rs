//! An entity's client code: what of it others may run, and which of it the calling thread is inside.
//!
//! *Frames.* A member's list of frames belongs to the thread that is noted beside it, which alone changes
//! it. A thread looks for its own frames in all members that bear its number, for it may use several.
//! Another thread looks only while the owner waits and has said so in `Waits`, under whose lock
//! both the owner's note and the look are made (F1).

use crate::alloc::OutOfMemory;
use crate::dispatch::{Joining, Listener};
use crate::handle::{Token, mix};
use crate::member::Member;
use crate::reclamation::{Batch, Shared};
use crate::rundown::Rundown;
use crate::sync::{
    AtomicBool, AtomicUsize, Bell, Mutex, Ordering, Padded, UnsafeCell, thread_token,
};
use std::sync::Arc;

/// What of an entity others may run or be told.
#[derive(Clone, Default)]
pub struct ClientCode {
    /// Whether it can be invoked, see [`Registry::invoke`](crate::Registry::invoke).
    pub methods: bool,
    /// Where its events go; `None` for an entity that wants none.
    pub events: Option<crate::EventQueue>,
}

/// What an entity with client code has beside its payload.
pub(crate) struct Code {
    pub(crate) rundown: Rundown,
    pub(crate) listener: Option<Arc<Listener>>,
    /// What the listener joins its audience with, until it does.
    joining: Mutex<Option<Box<Joining>>>,
    /// Whether the methods are blocked; held while that changes.
    pub(crate) blocked: Mutex<bool>,
    /// The thread that blocked them last.
    pub(crate) blocker: AtomicUsize,
    /// What a deregistration that completes later is retired in, so that it needs no memory then.
    carrier: Mutex<Option<Box<Batch<Member>>>>,
    /// The phase in which such a deregistration counted itself in (`reclamation`).
    pub(crate) phase: AtomicUsize,
    /// The id and all else of it was given up before its own frame ended: only the slot is left.
    pub(crate) gone: AtomicBool,
}

/// Stripes of the methods of one entity.
fn stripes() -> usize {
    #[cfg(not(rtm_loom))]
    {
        // SAFETY: asks for a number.
        let processors = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) };
        usize::try_from(processors).unwrap_or(1).clamp(1, 16).next_power_of_two()
    }
    #[cfg(rtm_loom)]
    2
}

impl Code {
    pub(crate) fn new(methods: bool) -> Result<Code, OutOfMemory> {
        Ok(Code {
            rundown: Rundown::new(if methods { stripes() } else { 0 })?,
            listener: None,
            joining: Mutex::new(None),
            blocked: Mutex::new(false),
            blocker: AtomicUsize::new(0),
            carrier: Mutex::new(Some(Batch::new()?)),
            phase: AtomicUsize::new(0),
            gone: AtomicBool::new(false),
        })
    }

    /// Gives it a listener, which has not joined yet.
    pub(crate) fn listen(&mut self, listener: Arc<Listener>, joining: Box<Joining>) {
        self.listener = Some(listener);
        self.joining = Mutex::new(Some(joining));
    }

    pub(crate) fn take_joining(&self) -> Option<Box<Joining>> {
        locked(&self.joining).take()
    }

    pub(crate) fn take_carrier(&self) -> Option<Box<Batch<Member>>> {
        locked(&self.carrier).take()
    }
}

pub(crate) fn locked<T>(mutex: &Mutex<T>) -> impl std::ops::DerefMut<Target = T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// What a frame is inside of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// A method, entered by way of this stripe.
    Method(usize),
    /// The event that others came or went.
    Membership,
    /// Another event.
    OtherEvent,
}

#[derive(Clone, Copy)]
pub(crate) struct Frame {
    pub(crate) entity: Token,
    pub(crate) part: Part,
}

/// The client code that the user of a member is inside of.
pub(crate) struct Frames {
    /// The thread that is inside, else 0.
    thread: AtomicUsize,
    list: UnsafeCell<Vec<Frame>>,
}

impl Default for Frames {
    fn default() -> Self {
        Frames { thread: AtomicUsize::new(0), list: UnsafeCell::new(Vec::new()) }
    }
}

// SAFETY: F1.
unsafe impl Sync for Frames {}
// SAFETY: plain data.
unsafe impl Send for Frames {}

impl Frames {
    /// Makes room for one more.
    pub(crate) fn reserve(&self) -> Result<(), OutOfMemory> {
        self.list.with_mut(|list| {
            // SAFETY: F1: called by the member's user.
            unsafe { &mut *list }.try_reserve(1).map_err(|_| OutOfMemory)
        })
    }

    /// Enters; there is room.
    pub(crate) fn push(&self, frame: Frame) {
        let me = thread_token();
        let stranger = self.thread.load(Ordering::Relaxed) != me;
        self.thread.store(me, Ordering::Relaxed);
        self.list.with_mut(|list| {
            // SAFETY: F1: called by the member's user.
            let list = unsafe { &mut *list };
            if stranger {
                // What a user before leaked.
                list.clear();
            }
            list.push(frame);
        });
    }

    /// The innermost.
    pub(crate) fn last(&self) -> Option<Frame> {
        self.list.with(|list| {
            // SAFETY: F1: called by the member's user.
            unsafe { &*list }.last().copied()
        })
    }

    /// Leaves the innermost.
    pub(crate) fn pop(&self) -> Option<Frame> {
        self.list.with_mut(|list| {
            // SAFETY: F1: called by the member's user.
            let list = unsafe { &mut *list };
            let frame = list.pop();
            if list.is_empty() {
                self.thread.store(0, Ordering::Relaxed);
            }
            frame
        })
    }

    fn any(&self, thread: usize, mut which: impl FnMut(Frame) -> bool) -> bool {
        self.thread.load(Ordering::Relaxed) == thread
            && self.list.with(|list| {
                // SAFETY: F1: the calling thread's own, or that of one that waits.
                unsafe { &*list }.iter().any(|frame| which(*frame))
            })
    }
}

/// Whether `thread` has such a frame; it is the calling thread, or one that is noted in `Waits`.
pub(crate) fn has_frame(
    shared: &Shared<Member>,
    thread: usize,
    mut which: impl FnMut(Frame) -> bool,
) -> bool {
    shared.records().any(|record| record.state.frames.any(thread, &mut which))
}

/// The stripe of the calling thread.
pub(crate) fn stripe() -> usize {
    mix(thread_token() as u64) as usize
}

/// Places to sleep at until something about an entity changes.
#[derive(Default)]
pub(crate) struct Bells([Padded<Bell>; 8]);

impl Bells {
    pub(crate) fn of(&self, entity: Token) -> &Bell {
        &self.0[entity.slot() as usize % self.0.len()]
    }
}
