//! Grace periods, waits, flushes and the records of members.

use crate::{Canary, Ledger, One, Pair, Two, explore, explore_once, spawn};
use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicBool, AtomicPtr};
use loom::thread;
use rtm_core::model::{Domain, Sealed, Seat, Slab, slot_of};
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

const STEPS: usize = 3;

/// A canary that readers find through a pointer.
struct Shared {
    domain: Domain,
    place: AtomicPtr<Canary>,
}

impl Shared {
    fn new(canary: Canary) -> Arc<Shared> {
        let place = AtomicPtr::new(Box::into_raw(Box::new(canary)));
        Arc::new(Shared { domain: Domain::new(), place })
    }

    /// Reads it, if it is still to be found. Inside a section.
    fn read(&self) {
        // SAFETY: the caller is inside, and the canary tells if that did not help.
        if let Some(canary) = unsafe { self.place.load(Acquire).as_ref() } {
            assert_eq!((canary.read(), canary.read()), (1, 1));
        }
    }

    fn unlink(&self) -> Box<Canary> {
        let raw = self.place.swap(ptr::null_mut(), AcqRel);
        // SAFETY: made from a box by `new`, and taken out once.
        unsafe { Box::from_raw(raw) }
    }
}

/// What was unlinked is dropped once, after everybody who may have found it has left.
pub fn grace_period() {
    explore(|| {
        let ledger = Ledger::default();
        let shared = Shared::new(ledger.canary(1));
        let (writer, reader) = (shared.domain.join(), shared.domain.join());
        let thread = {
            let shared = shared.clone();
            spawn(move || {
                let section = reader.enter(&shared.domain);
                shared.read();
                drop(section);
                reader
            })
        };
        writer.retire(shared.unlink());
        (0..STEPS).for_each(|_| writer.nudge());
        writer.process();
        let _reader = thread.join().unwrap();
        (0..STEPS).for_each(|_| writer.nudge());
        writer.process();
        assert_eq!(ledger.drops(1), 1);
    });
}

/// A grace period that began before the garbage was unlinked does not serve it, though another thread
/// began it, a third one unlinked, and the one that seals has heard of neither but by what it takes.
pub fn grace_period_too_early() {
    explore_once(|| {
        let ledger = Ledger::default();
        let shared = Shared::new(ledger.canary(1));
        let list = Arc::new(AtomicPtr::new(ptr::null_mut()));
        let (sealer, reader) = (shared.domain.join(), shared.domain.join());
        let reading = {
            let shared = shared.clone();
            spawn(move || {
                reader.retire(Box::new(()));
                // So that it may be over although we are inside.
                reader.help();
                let section = reader.enter(&shared.domain);
                shared.read();
                drop(section);
                reader
            })
        };
        let unlinking = {
            let (shared, list) = (shared.clone(), list.clone());
            spawn(move || {
                list.swap(Box::into_raw(shared.unlink()), Release);
            })
        };
        let found = || {
            let raw: *mut Canary = list.swap(ptr::null_mut(), Acquire);
            // SAFETY: null, or from the box that the other thread unlinked, taken out once.
            (!raw.is_null()).then(|| unsafe { Box::from_raw(raw) } as Box<dyn Send>)
        };
        sealer.retire_found(found);
        sealer.nudge();
        sealer.process();
        unlinking.join().unwrap();
        let _reader = reading.join().unwrap();
        sealer.retire_found(found);
        (0..2 * STEPS).for_each(|_| sealer.nudge());
        sealer.process();
        assert_eq!(ledger.drops(1), 1);
    });
}

/// Nobody loses a batch by looking for ripe ones while it is pushed.
pub fn push_against_take() {
    explore(|| {
        let sealed = Arc::new(Sealed::new());
        let thread = {
            let sealed = sealed.clone();
            spawn(move || sealed.push())
        };
        let early = sealed.take();
        thread.join().unwrap();
        assert_eq!(early + sealed.take(), 1);
    });
}

/// After a wait nobody is left who may have found what was unlinked before it.
pub fn synchronize() {
    explore_once(|| {
        let ledger = Ledger::default();
        let shared = Shared::new(ledger.canary(1));
        let (writer, reader) = (shared.domain.join(), shared.domain.join());
        let thread = {
            let shared = shared.clone();
            spawn(move || {
                let section = reader.enter(&shared.domain);
                shared.read();
                drop(section);
                // May itself find that the grace period is over, and say so.
                (0..2).for_each(|_| reader.help());
                reader
            })
        };
        let canary = shared.unlink();
        writer.synchronize();
        drop(canary);
        let _reader = thread.join().unwrap();
        assert_eq!(ledger.drops(1), 1);
    });
}

/// As above, when the one inside leaves during the wait and finds itself that it is over.
pub fn synchronize_with_one_inside() {
    explore(|| {
        let ledger = Ledger::default();
        let shared = Shared::new(ledger.canary(1));
        let inside = Arc::new(AtomicBool::new(false));
        let (writer, reader) = (shared.domain.join(), shared.domain.join());
        let thread = {
            let (shared, inside) = (shared.clone(), inside.clone());
            spawn(move || {
                let section = reader.enter(&shared.domain);
                shared.read();
                inside.store(true, Relaxed);
                thread::yield_now();
                shared.read();
                drop(section);
                (0..2).for_each(|_| reader.help());
                reader
            })
        };
        while !inside.load(Relaxed) {
            thread::yield_now();
        }
        let canary = shared.unlink();
        writer.synchronize();
        drop(canary);
        let _reader = thread.join().unwrap();
        assert_eq!(ledger.drops(1), 1);
    });
}

/// The phases of flushes by themselves: a member counts itself in and takes what was retired; two
/// threads flush. No flush that found the list taken ends before the taker counted itself out.
pub fn phases() {
    struct World {
        domain: Domain,
        retired: AtomicBool,
        processed: UnsafeCell<bool>,
    }
    // SAFETY: loom watches the cell.
    unsafe impl Sync for World {}

    impl World {
        /// Seals and processes the list, if it is there.
        fn seal(&self) {
            let phase = self.domain.count_in();
            if self.retired.swap(false, AcqRel) {
                // SAFETY: one thread finds the flag set; that readers come after is what loom checks.
                self.processed.with_mut(|processed| unsafe { *processed = true });
            }
            self.domain.count_out(phase);
        }

        fn flush(&self) {
            if self.retired.load(Acquire) {
                self.seal();
            }
            let mut flush = self.domain.begin_flush();
            while !flush.is_over(&self.domain) {
                thread::yield_now();
            }
        }
    }

    explore_once(|| {
        let world = Arc::new(World {
            domain: Domain::new(),
            retired: AtomicBool::new(true),
            processed: UnsafeCell::new(false),
        });
        let member = {
            let world = world.clone();
            spawn(move || world.seal())
        };
        let other = {
            let world = world.clone();
            spawn(move || {
                for _ in 0..2 {
                    let mut flush = world.domain.begin_flush();
                    while !flush.is_over(&world.domain) {
                        thread::yield_now();
                    }
                }
            })
        };
        world.flush();
        // SAFETY: loom panics if somebody is just writing it.
        assert!(world.processed.with(|processed| unsafe { *processed }), "a flush came back early");
        member.join().unwrap();
        other.join().unwrap();
    });
}

/// Flushes a slab as the registry does: seal, then process until the phases have passed.
fn flush(slab: &Slab<Canary, Pair>, seat: &Seat) {
    slab.seal_all(seat);
    let mut flush = slab.domain.begin_flush();
    loop {
        slab.collect(seat, 1);
        if flush.is_over(&slab.domain) {
            return;
        }
        thread::yield_now();
    }
}

/// A slab with one object removed and in its member's list, not sealed.
fn with_one_retired(ledger: &Ledger) -> (Arc<Slab<Canary, Pair>>, Seat) {
    let slab = Arc::new(Slab::new());
    let seat = slab.domain.join();
    let token = slab.add(&seat, 1, ledger.canary(1)).unwrap();
    assert!(slab.remove(&seat, token));
    (slab, seat)
}

/// A flush that finds a list just taken by another waits until it is processed.
pub fn seal_against_flush() {
    explore(|| {
        let ledger = Ledger::default();
        let (slab, seat) = with_one_retired(&ledger);
        let other = slab.domain.join();
        let thread = {
            let slab = slab.clone();
            spawn(move || {
                slab.seal_all(&seat);
                seat
            })
        };
        flush(&slab, &other);
        assert_eq!(ledger.drops(1), 1, "a flush came back early");
        let _seat = thread.join().unwrap();
        assert_eq!(slab.domain.backlog(), 0);
    });
}

/// As above when the phase has just been moved on: a flush must not take the old phase for its own.
pub fn seal_in_the_next_phase() {
    explore(|| {
        let ledger = Ledger::default();
        let (slab, seat) = with_one_retired(&ledger);
        let other = slab.domain.join();
        let thread = {
            let slab = slab.clone();
            spawn(move || {
                let mut flush = slab.domain.begin_flush();
                while !flush.is_over(&slab.domain) {
                    thread::yield_now();
                }
                // Keeps what it seals from ripening, so that only the count can hold the flush.
                let section = seat.enter(&slab.domain);
                slab.seal_all(&seat);
                drop(section);
                seat
            })
        };
        flush(&slab, &other);
        assert_eq!(ledger.drops(1), 1, "a flush came back early");
        let _seat = thread.join().unwrap();
    });
}

/// A member that goes while a section of its own is open leaves its record to that section.
pub fn record_reuse() {
    explore(|| {
        let domain = Arc::new(Domain::new());
        let gone = domain.join();
        let place = gone.place();
        let section = gone.enter(&domain);
        drop(gone);
        let ending = Arc::new(AtomicBool::new(false));
        let thread = {
            let (domain, ending) = (domain.clone(), ending.clone());
            spawn(move || {
                let seat = domain.join();
                let same = seat.place() == place;
                assert!(!same || ending.load(Relaxed), "a record in use was given out");
                let section = seat.enter(&domain);
                assert!(domain.inside() >= 1);
                drop(section);
                seat
            })
        };
        ending.store(true, Relaxed);
        drop(section);
        let seat = thread.join().unwrap();
        let third = domain.join();
        assert!(seat.place() == place || third.place() == place, "a free record was not used");
        assert_eq!(domain.inside(), 0);
    });
}

/// The next owner of a record finds its lists as the one before left them.
pub fn record_handed_on() {
    explore(|| {
        let slab = Arc::new(Slab::<(), Two>::new());
        let first = slab.domain.join();
        slab.add(&first, 1, ()).unwrap();
        drop(first);
        let thread = {
            let slab = slab.clone();
            spawn(move || {
                let seat = slab.domain.join();
                let slot = slab.reserve(&seat, 2, ()).map(|reserved| slot_of(reserved.token()));
                drop(seat);
                slot
            })
        };
        let seat = slab.domain.join();
        let own = slab.reserve(&seat, 3, ()).map(|reserved| slot_of(reserved.token()));
        let other = thread.join().unwrap();
        // One slot is left of the chunk: the one who found the record with it has it.
        let taken: Vec<_> = own.into_iter().chain(other).collect();
        assert!(taken.is_empty() || taken == [1], "handed out twice: {taken:?}");
    });
}

/// Two threads that join at once get places of their own, and both are found by others.
pub fn two_members() {
    explore(|| {
        let ledger = Ledger::default();
        let slab = Arc::new(Slab::<Canary, Pair>::new());
        let first = slab.domain.join();
        let tokens = [1, 2].map(|id| slab.add(&first, id, ledger.canary(id)).unwrap());
        let thread = {
            let slab = slab.clone();
            spawn(move || {
                let seat = slab.domain.join();
                assert!(slab.remove(&seat, tokens[0]));
                seat
            })
        };
        let seat = slab.domain.join();
        // Walks the records while one is added.
        slab.seal_all(&seat);
        assert!(slab.remove(&seat, tokens[1]));
        let other = thread.join().unwrap();
        assert_ne!(seat.place(), other.place(), "two members in one place");
        slab.seal_all(&seat);
        slab.collect(&seat, STEPS);
        assert_eq!((ledger.drops(1), ledger.drops(2)), (1, 1));
        assert_eq!(slab.domain.records(), 3);
    });
}

/// Garbage of a member that is gone is reclaimed by others.
pub fn member_gone_with_garbage() {
    explore_once(|| {
        let ledger = Ledger::default();
        let slab = Arc::new(Slab::<Canary, One>::new());
        let (going, staying) = (slab.domain.join(), slab.domain.join());
        let token = slab.add(&going, 1, ledger.canary(1)).unwrap();
        let message = Arc::new(AtomicBool::new(false));
        let thread = {
            let (slab, message) = (slab.clone(), message.clone());
            spawn(move || {
                assert!(slab.remove(&going, token));
                drop(going);
                message.store(true, Release);
            })
        };
        let section = staying.enter(&slab.domain);
        if let Some((_, canary)) = slab.get(token, &section) {
            assert_eq!(canary.read(), 1);
        }
        drop(section);
        let gone = message.load(Relaxed);
        slab.collect(&staying, STEPS);
        thread.join().unwrap();
        let _ = gone;
        slab.collect(&staying, STEPS);
        assert_eq!((ledger.drops(1), slab.domain.backlog()), (1, 0));
        assert!(slab.add(&staying, 2, ledger.canary(2)).is_some());
    });
}
