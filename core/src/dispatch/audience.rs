//! The audience of one table: its journal, its listeners, and what the herald does for them. The
//! protocol stands at the head of `dispatch`.

use super::{Herald, IDLE, Listener, Paused};
use crate::alloc::{OutOfMemory, try_box};
use crate::handle::Token;
use crate::journal::{Journal, Note, Position, Read};
use crate::mutant::{Mutant, active, fence_unless, relaxed_if};
use crate::reserve::try_arc;
use crate::stack::{Linked, Stack};
use crate::sync::{
    AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Mutex, Ordering, Padded, UnsafeCell, fence,
    fence_after_update,
};
use std::ptr;
use std::sync::{Arc, PoisonError};

/// Who listens to one table.
pub(crate) struct Audience {
    /// Listeners, from before they join until they leave. Beside what is written as seldom.
    count: AtomicU32,
    log: AtomicPtr<Log>,
    herald: Arc<Herald>,
    joining: Stack<Joining>,
    /// Closed listeners that have left and not yet been let go.
    left: AtomicU32,
    settled: AtomicU64,
    floor: AtomicU64,
    members: Mutex<Members>,
    /// Listeners that are READY or RUNNING.
    busy: Padded<AtomicU32>,
    /// On the herald's stack, or about to be.
    rung: Padded<AtomicBool>,
    /// For the herald's stack; belongs to the one who set `rung`.
    pub(super) link: UnsafeCell<*mut Audience>,
}

// SAFETY: `link` is used by one thread at a time, see there; everything else is Send and Sync, the
// journal behind `log` too.
unsafe impl Send for Audience {}
// SAFETY: as above.
unsafe impl Sync for Audience {}

/// Made with the first listener, never removed.
struct Log {
    journal: Journal,
    /// Written when it is made, read by whoever finds it: loom sees a read before.
    #[cfg(rtm_loom)]
    canary: UnsafeCell<()>,
}

impl Log {
    fn new(entries: u64) -> Result<Box<Log>, OutOfMemory> {
        let log = try_box(Log {
            journal: Journal::new(entries)?,
            #[cfg(rtm_loom)]
            canary: UnsafeCell::new(()),
        })?;
        #[cfg(rtm_loom)]
        log.canary.with_mut(|_| ());
        Ok(log)
    }
}

/// A listener's place among the members.
pub(crate) struct Joining {
    next: *mut Joining,
    listener: Arc<Listener>,
    rest: Option<Box<Joining>>,
}

// SAFETY: owned by one thread at a time, with the stack it is on.
unsafe impl Send for Joining {}

impl Linked for Joining {
    fn link(&mut self) -> &mut *mut Joining {
        &mut self.next
    }
}

impl Joining {
    pub(crate) fn new(listener: Arc<Listener>) -> Result<Box<Joining>, OutOfMemory> {
        try_box(Joining { next: ptr::null_mut(), listener, rest: None })
    }
}

/// What the herald knows.
struct Members {
    first: Option<Box<Joining>>,
    len: u32,
    /// The journal's tail when all were looked at last.
    scanned: u64,
    trimmed: u64,
}

impl Members {
    fn add(&mut self, mut node: Box<Joining>) {
        node.rest = self.first.take();
        self.first = Some(node);
        self.len += 1;
    }

    /// Keeps those for which `keep` says so.
    fn retain(&mut self, mut keep: impl FnMut(&Arc<Listener>) -> bool) -> u32 {
        let (before, mut place) = (self.len, &mut self.first);
        while let Some(node) = place.as_mut().map(|node| &mut **node) {
            if keep(&node.listener) {
                place = &mut place.as_mut().expect("it was there").rest;
            } else {
                let rest = node.rest.take();
                *place = rest;
                self.len -= 1;
            }
        }
        before - self.len
    }
}

impl Audience {
    pub(crate) fn new(herald: Arc<Herald>) -> Result<Arc<Audience>, OutOfMemory> {
        try_arc(Audience {
            count: AtomicU32::new(0),
            log: AtomicPtr::new(ptr::null_mut()),
            herald,
            joining: Stack::default(),
            left: AtomicU32::new(0),
            settled: AtomicU64::new(0),
            floor: AtomicU64::new(0),
            members: Mutex::new(Members { first: None, len: 0, scanned: 0, trimmed: 0 }),
            busy: Padded(AtomicU32::new(0)),
            rung: Padded(AtomicBool::new(false)),
            link: UnsafeCell::new(ptr::null_mut()),
        })
    }

    // --- Who listens ---

    /// Whether somebody may be listening: one relaxed load if not.
    #[inline(always)]
    pub(crate) fn hint(&self) -> bool {
        self.count.load(Ordering::Relaxed) != 0
    }

    /// For one who has just published (or unpublished) an entity without an event: whether it needs one
    /// after all. If not, whoever enlists later sees the registry as the caller left it.
    #[inline]
    pub(crate) fn someone_listens_now(&self) -> bool {
        // Fence: partner is the one in `enlist`. If ours comes first, the new listener sees what we
        // published; else we see its count.
        if !active(Mutant::ListensWithoutFence) {
            fence_after_update();
        }
        self.hint()
    }

    /// Counts a listener in, before it is made, and makes the journal if there is none, of at
    /// least that many entries.
    pub(crate) fn enlist(&self, entries: u64) -> Result<(), OutOfMemory> {
        if self.log().is_none() {
            let log = Box::into_raw(Log::new(entries)?);
            // Release: partner is `log`.
            let order = relaxed_if(Mutant::LogRelaxed, Ordering::Release);
            let first = self.log.compare_exchange(ptr::null_mut(), log, order, Ordering::Relaxed);
            if first.is_err() {
                // SAFETY: the exchange failed, so it is still ours alone.
                drop(unsafe { Box::from_raw(log) });
            }
        }
        // Release: partner is `reserve`, which sees the journal.
        let order = relaxed_if(Mutant::EnlistRelaxed, Ordering::Release);
        self.count.fetch_add(1, order);
        // Fence: partner is the one in `someone_listens_now`.
        fence_unless(Mutant::EnlistWithoutFence, Ordering::SeqCst);
        Ok(())
    }

    /// Listeners now.
    pub(crate) fn listeners(&self) -> u32 {
        self.count.load(Ordering::Relaxed)
    }

    /// Bytes of the journal.
    pub(crate) fn bytes(&self) -> usize {
        self.log().map_or(0, |log| log.journal.footprint())
    }

    /// Events entered from `cursor` on.
    pub(super) fn behind(&self, cursor: u64) -> u64 {
        self.log().map_or(0, |log| log.journal.tail().saturating_sub(cursor))
    }

    /// Takes [`enlist`](Audience::enlist) back: the listener has not joined.
    pub(crate) fn undo_enlist(&self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
    }

    /// The listener gets all events that are committed from now on, and maybe some before. It may be
    /// run, and closed, from here on. The result is that of its [`pause`](Listener::pause).
    pub(crate) fn join(node: Box<Joining>) -> Paused {
        let listener = node.listener.clone();
        let audience = listener.audience();
        // Behind the fence in `enlist`. Relaxed: comes with the listener.
        let tail = audience.log().map_or(0, |log| log.journal.tail());
        listener.since.store(tail, Ordering::Relaxed);
        let mut start = audience.start();
        listener.set_cursor(start);
        audience.joining.push(node);
        let mut moved = false;
        loop {
            // Fence: partner is the one in `trim`.
            fence_unless(Mutant::JoinWithoutFence, Ordering::SeqCst);
            let floor = audience.floor.load(Ordering::Relaxed);
            if floor <= start || active(Mutant::JoinWithoutLook) {
                // If we moved, the herald may have kept what is below for us.
                return listener.set_off(moved);
            }
            moved = true;
            start = audience.start().max(floor);
            listener.set_cursor(start);
        }
    }

    /// A listener that was [closed](Listener::close) is counted out.
    pub(crate) fn leave(self: &Arc<Self>) {
        self.count.fetch_sub(1, Ordering::Relaxed);
        self.left.fetch_add(1, Ordering::Relaxed);
        self.ring();
    }

    /// When the registry goes: closes and lets go of everything. Nobody appends or joins any more.
    pub(crate) fn disband(&self) {
        // Whoever still pauses a listener must not put us on the stack again.
        self.rung.swap(true, Ordering::Relaxed);
        let mut members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        for node in self.joining.take() {
            members.add(node);
        }
        members.retain(|listener| {
            listener.close();
            drop(listener.queue().remove(listener));
            false
        });
    }

    // --- Events ---

    fn log(&self) -> Option<&Log> {
        // Acquire: partner is `enlist`.
        let log = self.log.load(relaxed_if(Mutant::LogSeenRelaxed, Ordering::Acquire));
        // SAFETY: null or made by `enlist`; it lives as long as `self`.
        let log = unsafe { log.as_ref() };
        #[cfg(rtm_loom)]
        log.inspect(|log| log.canary.with(|_| ()));
        log
    }

    fn journal(&self) -> &Journal {
        &self.log().expect("who listens has enlisted").journal
    }

    /// Enters an event and has those who listen told. Nothing if nobody ever did.
    pub(crate) fn append(self: &Arc<Self>, note: Note, release: &mut dyn FnMut(Token)) {
        match self.reserve() {
            Some(position) => self.commit(position, note, release),
            None if note.holds => release(note.token),
            None => {}
        }
    }

    /// The next position, for the caller to [`commit`](Audience::commit). `None`: nobody ever listened;
    /// never if a [`hint`](Audience::hint) said that somebody does.
    pub(crate) fn reserve(&self) -> Option<Position> {
        if !active(Mutant::ReserveWithoutFence) {
            // Fence: behind the load of `hint`; partner is the release in `enlist`.
            fence(Ordering::Acquire);
        }
        self.log().map(|log| log.journal.reserve())
    }

    /// For one who has published behind reserving: whether a listener may have gone past the position and not
    /// seen what is published. Then nothing is to be committed there; if not, whoever goes past it sees it.
    #[inline]
    pub(crate) fn is_passed(&self, position: &Position) -> bool {
        if active(Mutant::PassedBlindly) {
            return false;
        }
        // Fence: partner is the one in `start`.
        if !active(Mutant::PassedWithoutFence) {
            fence_after_update();
        }
        self.journal().is_passed(position)
    }

    /// Enters the event at its position and has those who listen told.
    pub(crate) fn commit(
        self: &Arc<Self>,
        position: Position,
        note: Note,
        release: &mut dyn FnMut(Token),
    ) {
        // Fence: partner is the one in `start`, should the note be lost.
        fence(Ordering::Release);
        self.journal().commit(position, note, release);
        self.ring();
    }

    /// Makes the herald look: there is an event, or a listener has read or left.
    pub(crate) fn ring(self: &Arc<Self>) {
        // Fence: partners are the ones in `attend` and `Listener::pause`.
        fence_unless(Mutant::RingWithoutFence, Ordering::SeqCst);
        if self.rung.load(Ordering::Relaxed) {
            return;
        }
        // Acquire: partner is the store in `attend`; the link is ours.
        let order = relaxed_if(Mutant::FlagRelaxed, Ordering::Acquire);
        if active(Mutant::RungTwice) {
            self.rung.store(true, Ordering::Relaxed);
        } else if self.rung.swap(true, order) {
            return;
        }
        self.herald.push(self.clone());
    }

    pub(super) fn read(&self, cursor: u64) -> Read {
        self.journal().read(cursor)
    }

    /// Whether a listener at `cursor` has something to do.
    pub(super) fn has(&self, cursor: u64) -> bool {
        !matches!(self.read(cursor), Read::NotYet)
    }

    /// The first position that is not committed.
    pub(super) fn start(&self) -> u64 {
        let Some(log) = self.log() else { return 0 };
        let tail = log.journal.tail();
        let settled = self.settled.load(Ordering::Relaxed);
        // What is more than the journal's length behind is gone.
        let mut at = settled.max(tail.saturating_sub(log.journal.capacity()));
        while at < tail && !matches!(log.journal.read(at), Read::NotYet) {
            at += 1;
        }
        // Fence: what was published before the commits below is seen. Behind `settled` (partner is this fence,
        // in `pass`), and behind what made the journal say that a position is missed: trimmed (partner is the
        // fence in `trim`), lost (the one in `commit`) or a round behind (`Journal::reserve`). And partner of
        // the one in `is_passed`: who has published there sees that the position is missed, or is seen.
        if active(Mutant::StartAcquires) {
            fence(Ordering::Acquire);
        } else {
            fence_unless(Mutant::StartWithoutFence, Ordering::SeqCst);
        }
        at
    }

    // --- The herald's part ---

    /// A listener is READY, and not yet in its queue.
    pub(super) fn one_stirs(&self) {
        // Relaxed: the push carries it to the one who takes it off.
        self.busy.fetch_add(1, Ordering::Relaxed);
    }

    /// A listener is about to be IDLE or ended. Says whether it was the last.
    pub(super) fn one_rests(&self) -> bool {
        // Release and acquire: whoever takes the last one off has seen the others' cursors, and hands
        // them on by its ring.
        let order = relaxed_if(Mutant::BusyRelaxed, Ordering::AcqRel);
        self.busy.fetch_sub(1, order) == 1
    }

    /// Whoever rings after this pushes again. Its link has been read.
    pub(super) fn attend(&self) {
        #[cfg(rtm_loom)]
        assert!(self.rung.load(Ordering::Relaxed), "on the stack twice");
        // Release: partner is the swap in `ring`.
        self.rung.store(false, relaxed_if(Mutant::AttendRelaxed, Ordering::Release));
        // Fence: partner is the one in `ring`. What was done before a ring that found the flag still
        // set is seen behind it.
        fence_unless(Mutant::AttendWithoutFence, Ordering::SeqCst);
    }

    /// Takes in those who join, lets go of those who have left, makes READY whoever has something to
    /// read, trims. After [`attend`](Audience::attend).
    pub(super) fn pass(&self, release: &mut dyn FnMut(Token)) {
        let Some(log) = self.log() else { return };
        let mut members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        let members = &mut *members;
        let tail = log.journal.tail();
        let joined = !self.joining.is_empty();
        for node in self.joining.take() {
            members.add(node);
        }
        let relaxed = Ordering::Relaxed;
        let all_busy = members.len != 0 && self.busy.load(relaxed) == members.len;
        let far = tail.saturating_sub(members.scanned) >= (log.journal.capacity() / 8).max(1);
        if all_busy && !joined && !far && self.left.load(relaxed) == 0 {
            return;
        }
        members.scanned = tail;
        let settled = self.start();
        // Behind the fence in `start`; partner is the one there, whose caller sees what we saw committed.
        self.settled.store(settled, relaxed);
        let mut lowest = settled;
        // What the journal was last asked, since many members stand at one place.
        let mut known = (settled, false);
        let gone = members.retain(|listener| {
            if listener.has_ended() {
                return false;
            }
            // Relaxed: the fence in `trim` acquires what was done before.
            let cursor = listener.cursor();
            lowest = lowest.min(cursor);
            if listener.state.load(relaxed) == IDLE {
                if cursor > settled && cursor != known.0 {
                    known = (cursor, self.has(cursor));
                }
                if cursor < settled || cursor == known.0 && known.1 {
                    listener.rouse();
                }
            }
            true
        });
        if gone != 0 {
            self.left.fetch_sub(gone, relaxed);
        }
        self.trim(log, members, lowest, release);
    }

    /// All members have read what is below `to`.
    fn trim(&self, log: &Log, members: &mut Members, to: u64, release: &mut dyn FnMut(Token)) {
        if to <= members.trimmed {
            return;
        }
        let mut to = to;
        if to > self.floor.load(Ordering::Relaxed) {
            self.floor.store(to, Ordering::Relaxed);
        }
        // Fence: partner is the one in `join`. Also acquires what was done before the cursors moved up
        // to here; partner is `Listener::set_cursor`.
        fence_unless(Mutant::TrimWithoutFence, Ordering::SeqCst);
        if !active(Mutant::TrimWithoutLook) {
            for node in self.joining.take() {
                to = to.min(node.listener.cursor());
                members.add(node);
            }
        }
        if to > members.trimmed {
            members.trimmed = to;
            log.journal.trim(to, release);
        }
    }

    /// Members that the herald has taken in and not let go.
    #[cfg(any(test, rtm_loom))]
    pub(crate) fn members(&self) -> u32 {
        self.members.lock().unwrap_or_else(PoisonError::into_inner).len
    }

    /// What has been trimmed.
    #[cfg(any(test, rtm_loom))]
    pub(crate) fn trimmed(&self) -> u64 {
        self.members.lock().unwrap_or_else(PoisonError::into_inner).trimmed
    }
}

impl Drop for Audience {
    fn drop(&mut self) {
        // Relaxed: the last `Arc` has acquired it.
        let log = self.log.load(Ordering::Relaxed);
        if !log.is_null() {
            // SAFETY: made by `enlist` from a box; nobody else is here any more.
            drop(unsafe { Box::from_raw(log) });
        }
        let members = self.members.get_mut().unwrap_or_else(PoisonError::into_inner);
        // One by one, not each inside the one before.
        members.retain(|_| false);
    }
}
