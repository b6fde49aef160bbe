//! An entity's client code: what of it others may run, and which of it the calling thread is inside.
//!
//! *Frames.* A member's list of frames belongs to the thread that is noted beside it, which alone changes
//! it. A thread looks for its own frames in all members that bear its number, for it may use several.
//! Another thread looks only while the owner waits and has said so in `Waits`, under whose lock
//! both the owner's note and the look are made. A member that comes to another thread with frames that
//! were kept is noted as that one's under the list's own lock, which all who look hold (F1).

use crate::alloc::OutOfMemory;
use crate::dispatch::{Joining, Listener};
use crate::handle::Token;
use crate::member::Member;
use crate::mutant::{Mutant, active};
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
    /// Where its events go; `None` for an entity that wants none. Nothing comes without a
    /// [`Dispatcher`](crate::Dispatcher) or a herald of your own, see
    /// [`Participant::herald_step`](crate::Participant::herald_step).
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
    /// The serial number of the thread that blocked them last.
    pub(crate) blocker: AtomicUsize,
    /// What a deregistration that completes later is retired in, so that it needs no memory then.
    carrier: Mutex<Option<Box<Batch<Member>>>>,
    /// The phase in which such a deregistration counted itself in (`reclamation`).
    pub(crate) phase: AtomicUsize,
    /// The id and all else of it was given up before its own frame ended: only the slot is left.
    pub(crate) gone: AtomicBool,
}

/// Stripes of the methods of one entity: as many as there are processors, asked for once, since the answer
/// is read from a file.
#[cfg(not(rtm_loom))]
fn stripes() -> usize {
    static STRIPES: AtomicUsize = AtomicUsize::new(0);
    match STRIPES.load(Ordering::Relaxed) {
        0 => {
            // SAFETY: asks for a number.
            let processors = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) };
            let stripes = usize::try_from(processors).unwrap_or(1).clamp(1, 16).next_power_of_two();
            STRIPES.store(stripes, Ordering::Relaxed);
            stripes
        }
        stripes => stripes,
    }
}

#[cfg(rtm_loom)]
fn stripes() -> usize {
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

    /// Whether the listener has begun to join its audience, or there is none.
    pub(crate) fn has_joined(&self) -> bool {
        locked(&self.joining).is_none()
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
    /// Has no guard that ends it.
    pub(crate) kept: bool,
}

impl Frame {
    pub(crate) fn new(entity: Token, part: Part) -> Frame {
        Frame { entity, part, kept: false }
    }

    pub(crate) fn is_method(&self) -> bool {
        matches!(self.part, Part::Method(_))
    }
}

/// The client code that the user of a member is inside of.
pub(crate) struct Frames {
    /// The thread that is inside, else 0.
    thread: AtomicUsize,
    list: UnsafeCell<Vec<Frame>>,
    /// Held by all who look, and while the list comes to another thread.
    looking: Mutex<()>,
}

impl Default for Frames {
    fn default() -> Self {
        Frames {
            thread: AtomicUsize::new(0),
            list: UnsafeCell::new(Vec::new()),
            looking: Mutex::new(()),
        }
    }
}

// SAFETY: F1.
unsafe impl Sync for Frames {}
// SAFETY: plain data.
unsafe impl Send for Frames {}

impl Frames {
    /// By the member's user, who is about to change the list.
    fn own<R>(&self, change: impl FnOnce(&mut Vec<Frame>) -> R) -> R {
        let (me, before) = (thread_token(), self.thread.load(Ordering::Relaxed));
        if before != me && before != 0 && !active(Mutant::FramesTakenBlindly) {
            let _alone = locked(&self.looking);
            self.thread.store(me, Ordering::Relaxed);
        }
        self.list.with_mut(|list| {
            // SAFETY: F1.
            let list = unsafe { &mut *list };
            let result = change(list);
            let now = if list.is_empty() { 0 } else { me };
            if now != before {
                self.thread.store(now, Ordering::Relaxed);
            }
            result
        })
    }

    /// Makes what was kept by another thread, which used the member before, this one's.
    pub(crate) fn adopt(&self) {
        self.own(|_| ());
    }

    /// Makes room for one more.
    pub(crate) fn reserve(&self) -> Result<(), OutOfMemory> {
        self.own(|list| list.try_reserve(1).map_err(|_| OutOfMemory))
    }

    /// Enters; there is room.
    pub(crate) fn push(&self, frame: Frame) {
        self.own(|list| list.push(frame));
    }

    /// Leaves the innermost of those.
    pub(crate) fn take(&self, which: impl FnMut(&Frame) -> bool) -> Option<Frame> {
        self.own(|list| {
            let index = list.iter().rposition(which)?;
            Some(list.remove(index))
        })
    }

    /// Leaves all: nobody is inside any more.
    pub(crate) fn clear(&self) {
        self.own(Vec::clear);
    }

    /// Leaves the innermost invocation of `entity` open.
    pub(crate) fn keep(&self, entity: Token) {
        self.own(|list| {
            let mut frames = list.iter_mut().rev();
            let guarded =
                |frame: &&mut Frame| frame.entity == entity && frame.is_method() && !frame.kept;
            frames.find(guarded).expect("its guard is here").kept = true;
        });
    }

    /// See [`find_frame`].
    pub(crate) fn find(&self, thread: usize, which: impl FnMut(&Frame) -> bool) -> Option<Frame> {
        if self.thread.load(Ordering::Relaxed) != thread {
            return None;
        }
        let _looking = locked(&self.looking);
        // Again: it may be another's by now.
        if self.thread.load(Ordering::Relaxed) != thread {
            return None;
        }
        self.list.with(|list| {
            // SAFETY: F1: the calling thread's own, or that of one that waits.
            unsafe { &*list }.iter().copied().find(which)
        })
    }
}

/// Such a frame of `thread`, which is the calling thread, or one that is noted in `Waits`.
pub(crate) fn find_frame(
    shared: &Shared<Member>,
    thread: usize,
    mut which: impl FnMut(&Frame) -> bool,
) -> Option<Frame> {
    shared.records().find_map(|record| record.state.frames.find(thread, &mut which))
}

/// Whether `thread` has such a frame, see [`find_frame`].
pub(crate) fn has_frame(
    shared: &Shared<Member>,
    thread: usize,
    which: impl FnMut(&Frame) -> bool,
) -> bool {
    find_frame(shared, thread, which).is_some()
}

/// A number for a member's stripe: consecutive, so that a few members use different ones.
#[cfg(not(rtm_loom))]
pub(crate) fn next_stripe() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Loom's members are made by one thread: by the thread that uses them.
#[cfg(rtm_loom)]
pub(crate) fn next_stripe() -> usize {
    crate::handle::mix(thread_token() as u64) as usize
}

/// Places to sleep at until something about an entity changes.
#[derive(Default)]
pub(crate) struct Bells([Padded<Bell>; 8]);

impl Bells {
    pub(crate) fn of(&self, entity: Token) -> &Bell {
        &self.0[entity.slot() as usize % self.0.len()]
    }
}
