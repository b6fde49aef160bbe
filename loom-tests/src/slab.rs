//! The slab's word, plain information, directory and lists.

use crate::{Canary, Four, Lazy, Ledger, One, Pair, Twice, Two, explore, spawn};
use loom::cell::UnsafeCell;
use loom::sync::atomic::AtomicU64;
use rtm_core::Config;
use rtm_core::model::{Seat, Slab, slot_of};
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

mod lists;
pub use lists::*;

/// Enough steps of the collector for a batch to ripen when nobody is inside.
const STEPS: usize = 3;

/// Reserves every slot there is and says which: none twice.
fn all_slots<T: Send + Sync, C: Config>(
    slab: &Slab<T, C>,
    seat: &Seat,
    mut value: impl FnMut() -> T,
) -> Vec<u32> {
    let tokens = std::iter::from_fn(|| slab.add(seat, 9, value())).take(9);
    let mut slots: Vec<_> = tokens.map(slot_of).collect();
    slots.sort_unstable();
    assert!(slots.is_sorted_by(|a, b| a < b), "a slot was handed out twice: {slots:?}");
    slots
}

/// What a lookup finds is complete.
pub fn publish_and_look_up() {
    explore(|| {
        let slab = Arc::new(Slab::<Canary, One>::new());
        let board = Arc::new(AtomicU64::new(u64::MAX));
        let (writer, reader) = (slab.domain.join(), slab.domain.join());
        let thread = {
            let (slab, board) = (slab.clone(), board.clone());
            spawn(move || {
                let reserved = slab.reserve(&writer, 5, Ledger::default().canary(1)).unwrap();
                board.store(reserved.token(), Relaxed);
                slab.publish(reserved);
                writer
            })
        };
        let section = reader.enter(&slab.domain);
        let token = board.load(Relaxed);
        if token != u64::MAX
            && let Some((plain, canary)) = slab.get(token, &section)
        {
            assert_eq!((plain, canary.read()), (5, 1));
        }
        drop(section);
        let _writer = thread.join().unwrap();
        let section = reader.enter(&slab.domain);
        assert!(slab.get(board.load(Relaxed), &section).is_some());
    });
}

/// What a lookup found stays until the section ends; afterwards it goes exactly once.
pub fn look_up_against_removal() {
    explore(|| {
        let ledger = Ledger::default();
        let slab = Arc::new(Slab::<Canary, One>::new());
        let (writer, reader) = (slab.domain.join(), slab.domain.join());
        let token = slab.add(&writer, 5, ledger.canary(1)).unwrap();
        let thread = {
            let slab = slab.clone();
            spawn(move || {
                let section = reader.enter(&slab.domain);
                if let Some((plain, canary)) = slab.get(token, &section) {
                    assert_eq!((plain, canary.read()), (5, 1));
                    // A second access, after which the writer may have gone on.
                    assert!(slab.copy(token).is_none_or(|(plain, _)| plain == 5));
                    assert_eq!(canary.read(), 1);
                }
                drop(section);
                reader
            })
        };
        assert!(slab.remove(&writer, token));
        slab.collect(&writer, STEPS);
        let reader = thread.join().unwrap();
        assert!(slab.get(token, &reader.enter(&slab.domain)).is_none());
        slab.collect(&writer, STEPS);
        assert_eq!((ledger.drops(1), slab.domain.backlog()), (1, 0));
    });
}

/// As above with a section that is refreshed: what was found before may go then, not earlier.
pub fn refresh_against_removal() {
    explore(|| {
        let ledger = Ledger::default();
        let slab = Arc::new(Slab::<Canary, One>::new());
        let (writer, reader) = (slab.domain.join(), slab.domain.join());
        let token = slab.add(&writer, 5, ledger.canary(1)).unwrap();
        let thread = {
            let slab = slab.clone();
            spawn(move || {
                let mut section = reader.enter(&slab.domain);
                section.refresh();
                if let Some((_, canary)) = slab.get(token, &section) {
                    assert_eq!(canary.read(), 1);
                }
                section.refresh();
                if let Some((_, canary)) = slab.get(token, &section) {
                    assert_eq!(canary.read(), 1);
                }
                drop(section);
                reader
            })
        };
        assert!(slab.remove(&writer, token));
        slab.collect(&writer, STEPS);
        let _reader = thread.join().unwrap();
        slab.collect(&writer, STEPS);
        assert_eq!(ledger.drops(1), 1);
    });
}

/// What a copy without a section finds is complete.
pub fn publish_and_copy() {
    explore(|| {
        let slab = Arc::new(Slab::<(), One>::new());
        let board = Arc::new(AtomicU64::new(u64::MAX));
        let writer = slab.domain.join();
        let thread = {
            let (slab, board) = (slab.clone(), board.clone());
            spawn(move || {
                let reserved = slab.reserve(&writer, 5, ()).unwrap();
                board.store(reserved.token(), Relaxed);
                slab.publish(reserved);
                writer
            })
        };
        let token = board.load(Relaxed);
        if token != u64::MAX {
            assert!(slab.copy(token).is_none_or(|copy| copy == (5, true)));
            if slab.reference(token) {
                assert_eq!(slab.copy(token), Some((5, true)));
            }
        }
        let _writer = thread.join().unwrap();
        assert_eq!(slab.copy(board.load(Relaxed)), Some((5, true)));
    });
}

/// A copy without a section is of the object that was asked for, or none.
pub fn copy_against_reuse() {
    copy_against_next(|_, _| ());
}

/// What a copy without a section finds of an object whose memory is given back is right; and the slot's next
/// object has another name.
pub fn copy_against_trim() {
    copy_against_next(|slab, writer| assert!(slab.trim(writer) && !slab.trim(writer)));
}

/// A copy while its object goes, something happens to the slot, and the next object comes.
fn copy_against_next(between: fn(&Slab<(), One>, &Seat)) {
    explore(move || {
        let slab = Arc::new(Slab::<(), One>::new());
        let writer = slab.domain.join();
        let token = slab.add(&writer, 1, ()).unwrap();
        let thread = {
            let slab = slab.clone();
            spawn(move || {
                if let Some((plain, live)) = slab.copy(token) {
                    assert_eq!((plain, live), (1, true));
                }
            })
        };
        assert!(slab.remove(&writer, token));
        slab.collect(&writer, STEPS);
        between(&slab, &writer);
        let next = slab.add(&writer, 2, ()).unwrap();
        assert_ne!(next, token, "a name was given out twice");
        thread.join().unwrap();
        assert_eq!((slab.copy(next), slab.copy(token)), (Some((2, true)), None));
    });
}

/// A member looks for slots while another gives back what it can.
pub fn theft_against_trim() {
    explore(|| {
        let slab = Arc::new(Slab::<(), Two>::new());
        let (owner, thief) = (slab.domain.join(), slab.domain.join());
        let tokens = [slab.add(&owner, 1, ()).unwrap(), slab.add(&owner, 2, ()).unwrap()];
        assert!(tokens.iter().all(|token| slab.remove(&owner, *token)));
        slab.collect(&owner, STEPS);
        let thread = {
            let slab = slab.clone();
            spawn(move || {
                slab.trim(&owner);
                owner
            })
        };
        let stolen = slab.reserve(&thief, 5, ()).map(|reserved| slot_of(reserved.token()));
        let owner = thread.join().unwrap();
        let left =
            all_slots(&slab, &owner, || ()).into_iter().chain(all_slots(&slab, &thief, || ()));
        let mut slots: Vec<_> = stolen.into_iter().chain(left).collect();
        slots.sort_unstable();
        assert_eq!(slots, [0, 1], "a slot was lost or handed out twice");
    });
}

/// The lists of a member that has gone are trimmed while another takes its place.
pub fn join_against_trim() {
    explore(|| {
        let slab = Arc::new(Slab::<(), Pair>::new());
        let (trimming, gone) = (slab.domain.join(), slab.domain.join());
        let tokens = [slab.add(&gone, 1, ()).unwrap(), slab.add(&gone, 2, ()).unwrap()];
        assert!(tokens.iter().all(|token| slab.remove(&gone, *token)));
        slab.collect(&gone, STEPS);
        drop(gone);
        let thread = {
            let slab = slab.clone();
            spawn(move || {
                let next = slab.domain.join();
                let own = slab.reserve(&next, 5, ()).map(|reserved| slot_of(reserved.token()));
                (own, next)
            })
        };
        slab.trim(&trimming);
        let (own, next) = thread.join().unwrap();
        let left =
            all_slots(&slab, &trimming, || ()).into_iter().chain(all_slots(&slab, &next, || ()));
        let mut slots: Vec<_> = own.into_iter().chain(left).collect();
        slots.sort_unstable();
        assert_eq!(slots, [0, 1], "a slot was lost or handed out twice");
    });
}

/// One of two removals of an object wins.
pub fn two_removals() {
    explore(|| {
        let ledger = Ledger::default();
        let slab = Arc::new(Slab::<Canary, One>::new());
        let (one, other) = (slab.domain.join(), slab.domain.join());
        let token = slab.add(&one, 5, ledger.canary(1)).unwrap();
        let thread = {
            let slab = slab.clone();
            spawn(move || (slab.remove(&other, token), other))
        };
        let first = slab.remove(&one, token);
        let (second, _other) = thread.join().unwrap();
        assert!(first != second, "not exactly one removal won");
        slab.collect(&one, STEPS);
        assert_eq!(ledger.drops(1), 1);
        assert_eq!(all_slots(&slab, &one, || ledger.canary(2)).len(), 1);
    });
}

/// Whoever ends an object's life has seen what was registered, even if it heard of it by a relaxed
/// message.
pub fn remove_what_another_published() {
    explore(|| {
        let ledger = Ledger::default();
        let slab = Arc::new(Slab::<Canary, One>::new());
        let board = Arc::new(AtomicU64::new(u64::MAX));
        let (writer, other) = (slab.domain.join(), slab.domain.join());
        let thread = {
            let (slab, board, ledger) = (slab.clone(), board.clone(), ledger.clone());
            spawn(move || {
                let token = slab.add(&writer, 5, ledger.canary(1)).unwrap();
                board.store(token, Relaxed);
                writer
            })
        };
        let token = board.load(Relaxed);
        // Compares both halves of the information.
        let removed = token != u64::MAX && slab.remove(&other, token);
        slab.collect(&other, STEPS);
        let _writer = thread.join().unwrap();
        assert_eq!(ledger.drops(1), usize::from(removed));
    });
}

/// A reference taken in time keeps information and slot; one taken too late is refused.
pub fn reference_against_removal() {
    explore(|| {
        let ledger = Ledger::default();
        let slab = Arc::new(Slab::<Canary, One>::new());
        let (writer, holder) = (slab.domain.join(), slab.domain.join());
        let token = slab.add(&writer, 5, ledger.canary(1)).unwrap();
        let thread = {
            let slab = slab.clone();
            spawn(move || {
                if slab.reference(token) {
                    let (plain, _) = slab.copy(token).expect("a referenced object is described");
                    assert_eq!((plain, slab.references(token)), (5, 1));
                    assert!(slab.release(&holder, token));
                }
                assert!(!slab.release(&holder, token), "one release too many was accepted");
                holder
            })
        };
        assert!(slab.remove(&writer, token));
        slab.collect(&writer, STEPS);
        if let Some(next) = slab.add(&writer, 6, ledger.canary(2)) {
            assert_eq!((slab.copy(next), slab.references(next)), (Some((6, true)), 0));
            assert!(slab.remove(&writer, next));
        }
        let holder = thread.join().unwrap();
        assert_eq!(ledger.drops(1), 1);
        slab.collect(&writer, STEPS);
        let freed = all_slots(&slab, &writer, || ledger.canary(3)).len()
            + all_slots(&slab, &holder, || ledger.canary(3)).len();
        assert_eq!(freed, 1, "the slot was not freed exactly once");
    });
}

/// Whoever has a reference has seen what was done before the registration.
pub fn reference_sees_registration() {
    struct World {
        slab: Slab<(), Two>,
        board: AtomicU64,
        before: UnsafeCell<u32>,
    }
    // SAFETY: loom watches the cell.
    unsafe impl Sync for World {}
    explore(|| {
        let world = Arc::new(World {
            slab: Slab::new(),
            board: AtomicU64::new(u64::MAX),
            before: UnsafeCell::new(0),
        });
        let (writer, holder) = (world.slab.domain.join(), world.slab.domain.join());
        // The chunk is there, so that nothing is heard through its publication.
        world.slab.add(&writer, 1, ()).unwrap();
        let thread = {
            let world = world.clone();
            spawn(move || {
                // SAFETY: loom panics if the reader below does not come after.
                world.before.with_mut(|before| unsafe { *before = 1 });
                let token = world.slab.add(&writer, 5, ()).unwrap();
                world.board.store(token, Relaxed);
                writer
            })
        };
        let token = world.board.load(Relaxed);
        if token != u64::MAX && world.slab.reference(token) {
            // SAFETY: as above.
            assert_eq!(world.before.with(|before| unsafe { *before }), 1);
            assert!(world.slab.release(&holder, token));
        }
        thread.join().unwrap();
    });
}

/// The last release and the end of the grace period: whichever comes second frees the slot.
pub fn release_against_reclaim() {
    explore(|| {
        let ledger = Ledger::default();
        let slab = Arc::new(Slab::<Canary, One>::new());
        let (writer, holder) = (slab.domain.join(), slab.domain.join());
        let token = slab.add(&writer, 5, ledger.canary(1)).unwrap();
        assert!(slab.reference(token));
        let canary = ledger.canary(2);
        let thread = {
            let slab = slab.clone();
            spawn(move || {
                assert_eq!(slab.copy(token).map(|(plain, _)| plain), Some(5));
                assert!(slab.release(&holder, token));
                assert!(!slab.release(&holder, token), "one release too many was accepted");
                // If this release freed the slot, it is this member's to fill.
                let next = slab.add(&holder, 6, canary);
                (next.is_some(), holder)
            })
        };
        assert!(slab.remove(&writer, token));
        slab.collect(&writer, STEPS);
        assert_eq!(ledger.drops(1), 1);
        let (reused, holder) = thread.join().unwrap();
        assert_eq!(slab.copy(token), None);
        let freed = usize::from(reused)
            + all_slots(&slab, &writer, || ledger.canary(3)).len()
            + all_slots(&slab, &holder, || ledger.canary(3)).len();
        assert_eq!(freed, 1, "the slot was not freed exactly once");
    });
}

/// As `release_against_reclaim`, for payloads that need no drop.
pub fn release_against_plain_reclaim() {
    explore(|| {
        let slab = Arc::new(Slab::<u64, One>::new());
        let (writer, holder) = (slab.domain.join(), slab.domain.join());
        let token = slab.add(&writer, 5, 1).unwrap();
        assert!(slab.reference(token));
        let thread = {
            let slab = slab.clone();
            spawn(move || {
                assert_eq!(slab.copy(token).map(|(plain, _)| plain), Some(5));
                assert!(slab.release(&holder, token));
                // If this release freed the slot, it is this member's to fill.
                (slab.add(&holder, 6, 2).is_some(), holder)
            })
        };
        assert!(slab.remove(&writer, token));
        slab.collect(&writer, STEPS);
        let (reused, holder) = thread.join().unwrap();
        assert_eq!(slab.copy(token), None);
        let left = [&writer, &holder].map(|seat| all_slots(&slab, seat, || 3).len());
        let freed = usize::from(reused) + left[0] + left[1];
        assert_eq!(freed, 1, "the slot was not freed exactly once");
    });
}

/// Two holders let go while the payload is being reclaimed: the slot is freed once.
pub fn two_releases() {
    explore(|| {
        let slab = Arc::new(Slab::<(), One>::new());
        let (one, other) = (slab.domain.join(), slab.domain.join());
        let token = slab.add(&one, 5, ()).unwrap();
        assert!(slab.reference(token) && slab.reference(token));
        assert!(slab.remove(&one, token));
        let thread = {
            let slab = slab.clone();
            spawn(move || {
                assert!(slab.release(&other, token));
                other
            })
        };
        assert!(slab.release(&one, token));
        slab.collect(&one, STEPS);
        let other = thread.join().unwrap();
        assert!(!slab.release(&one, token));
        let freed = all_slots(&slab, &one, || ()).len() + all_slots(&slab, &other, || ()).len();
        assert_eq!(freed, 1, "the slot was not freed exactly once");
    });
}

/// A slot whose generations are used up is counted once and never used again, whether the last
/// release or the reclaimer ends its last object.
pub fn last_generation() {
    explore(|| {
        let slab = Arc::new(Slab::<(), Twice>::new());
        let (writer, holder) = (slab.domain.join(), slab.domain.join());
        let first = slab.add(&writer, 1, ()).unwrap();
        assert!(slab.remove(&writer, first));
        slab.collect(&writer, STEPS);
        let token = slab.add(&writer, 2, ()).unwrap();
        assert_ne!(first, token);
        assert!(slab.reference(token));
        let thread = {
            let slab = slab.clone();
            spawn(move || {
                assert!(slab.release(&holder, token));
                holder
            })
        };
        assert!(slab.remove(&writer, token));
        slab.collect(&writer, STEPS);
        let holder = thread.join().unwrap();
        assert_eq!(slab.spent(), 1);
        assert_eq!((slab.copy(first), slab.copy(token)), (None, None));
        assert!(slab.add(&writer, 3, ()).is_none() && slab.add(&holder, 3, ()).is_none());
    });
}

/// Two threads out of slots get chunks of their own.
pub fn growth_by_two() {
    explore(|| {
        let slab = Arc::new(Slab::<(), Four>::new());
        let (one, other) = (slab.domain.join(), slab.domain.join());
        let thread = {
            let slab = slab.clone();
            spawn(move || (slab.add(&other, 2, ()).unwrap(), other))
        };
        let first = slab.add(&one, 1, ()).unwrap();
        let (second, _other) = thread.join().unwrap();
        assert_ne!(slot_of(first), slot_of(second), "a slot was handed out twice");
        assert_eq!(slab.copy(first), Some((1, true)));
        assert_eq!(slab.copy(second), Some((2, true)));
        assert_eq!(slab.chunks(), 2);
        assert_eq!(all_slots(&slab, &one, || ()).len(), 2);
    });
}

/// A reader that hears of an object by a relaxed message finds it open, or not.
pub fn growth_seen_by_a_reader() {
    explore(|| {
        let slab = Arc::new(Slab::<(), Four>::new());
        let board = Arc::new([AtomicU64::new(u64::MAX), AtomicU64::new(u64::MAX)]);
        let writer = slab.domain.join();
        slab.add(&writer, 0, ()).unwrap();
        let thread = {
            let (slab, board) = (slab.clone(), board.clone());
            spawn(move || {
                for place in board.iter() {
                    place.store(slab.add(&writer, 7, ()).unwrap(), Relaxed);
                }
                writer
            })
        };
        for place in board.iter() {
            let token = place.load(Relaxed);
            if token != u64::MAX {
                assert!(slab.copy(token).is_none_or(|copy| copy == (7, true)));
            }
        }
        let _writer = thread.join().unwrap();
        assert_eq!(slab.copy(board[1].load(Relaxed)), Some((7, true)));
    });
}

/// A view that is older than a chunk: what is registered in it is found through it by all who have heard of it.
pub fn growth_seen_through_an_old_view() {
    explore(|| {
        let slab = Arc::new(Slab::<Canary, Four>::new());
        let board = Arc::new([AtomicU64::new(u64::MAX), AtomicU64::new(u64::MAX)]);
        let (writer, reader) = (slab.domain.join(), slab.domain.join());
        let view = slab.view();
        let thread = {
            let (slab, board) = (slab.clone(), board.clone());
            let canaries = [1, 2].map(|id| Ledger::default().canary(id));
            spawn(move || {
                for (place, canary) in board.iter().zip(canaries) {
                    let token = slab.add(&writer, 7, canary).unwrap();
                    place.store(token, Release);
                }
                writer
            })
        };
        {
            let section = reader.enter(&slab.domain);
            for place in board.iter() {
                let token = place.load(Acquire);
                if token != u64::MAX {
                    let (plain, canary) = slab.get_through(view, token, &section).unwrap();
                    assert_eq!(plain, 7);
                    canary.read();
                }
            }
        }
        let _writer = thread.join().unwrap();
    });
}
