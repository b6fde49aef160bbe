//! The id index: uniqueness, removal, buckets, and what is left to reclamation.

use crate::{Four, Two, explore, spawn};
use loom::cell::UnsafeCell;
use rtm_core::Config;
use rtm_core::model::{Index, Seat};
use std::sync::Arc;

/// The nth id whose key begins with these three bits, which are its order.
fn id(bits: u64, n: usize) -> u64 {
    Index::<Four>::id(bits, n)
}

/// The slots of all entries, sorted; none twice.
fn slots<C: Config>(index: &Index<C>, seat: &Seat) -> Vec<u32> {
    let mut slots = index.walk(&seat.enter(&index.domain));
    slots.sort_unstable();
    assert!(slots.is_sorted_by(|a, b| a < b), "an object shows twice: {slots:?}");
    slots
}

/// An index of so many slots, and two seats.
fn world<C: Config>(slots: u64) -> (Arc<Index<C>>, Seat, Seat) {
    let index = Arc::new(Index::new(slots));
    let (one, other) = (index.domain.join(), index.domain.join());
    (index, one, other)
}

/// One of two insertions of an id wins, and its object is the one that shows.
pub fn two_insertions() {
    explore(|| {
        let (index, one, other) = world::<Four>(2);
        let thread = {
            let index = index.clone();
            spawn(move || (index.insert(&other, id(3, 0), 1), other))
        };
        let first = index.insert(&one, id(3, 0), 0);
        let (second, _other) = thread.join().unwrap();
        assert!(first != second, "not exactly one insertion won");
        assert_eq!(slots(&index, &one), [if first { 0 } else { 1 }]);
    });
}

/// Insertions of different ids between the same two nodes both take place.
pub fn two_ids_in_one_place() {
    explore(|| {
        let (index, one, other) = world::<Four>(2);
        let thread = {
            let index = index.clone();
            spawn(move || {
                assert!(index.insert(&other, id(5, 0), 1));
                other
            })
        };
        assert!(index.insert(&one, id(3, 0), 0));
        let _other = thread.join().unwrap();
        assert_eq!(slots(&index, &one), [0, 1]);
        assert_eq!(index.walk(&one.enter(&index.domain)), [0, 1], "not in order");
    });
}

/// As `two_insertions`, of two ids whose order is the same, and of one of them twice.
pub fn two_ids_of_one_order() {
    explore(|| {
        let (index, one, other) = world::<Four>(3);
        let thread = {
            let index = index.clone();
            spawn(move || {
                assert!(index.insert(&other, id(3, 1), 1));
                (index.insert(&other, id(3, 0), 2), other)
            })
        };
        let first = index.insert(&one, id(3, 0), 0);
        let (second, _other) = thread.join().unwrap();
        assert!(first != second, "not exactly one insertion won");
        assert_eq!(slots(&index, &one), if first { [0, 1] } else { [1, 2] });
    });
}

/// An id is taken until its removal and free from then on.
pub fn insert_against_remove() {
    explore(|| {
        let (index, one, other) = world::<Four>(3);
        assert!(index.insert(&one, id(3, 0), 0));
        let thread = {
            let index = index.clone();
            spawn(move || {
                index.remove(&other, id(3, 0), 0);
                (index.insert(&other, id(3, 0), 2), other)
            })
        };
        let first = index.insert(&one, id(3, 0), 1);
        let (second, _other) = thread.join().unwrap();
        assert!(first != second, "an id that was free was refused, or given out twice");
        assert_eq!(slots(&index, &one), [if first { 1 } else { 2 }]);
    });
}

/// An index with something that only the holder of an id touches.
struct Guarded {
    index: Index<Four>,
    held: UnsafeCell<u32>,
}

// SAFETY: loom watches the cell.
unsafe impl Sync for Guarded {}

impl Guarded {
    fn touch(&self) {
        // SAFETY: loom panics if the holders do not come one after the other.
        self.held.with_mut(|held| unsafe { *held += 1 });
    }
}

/// Whoever takes an id that was free has seen what its last holder did before letting go. Both are
/// inside sections of their own, so that no fence of the collector helps.
fn handed_on(others: &[(u64, u32)]) {
    let world = Arc::new(Guarded { index: Index::new(4), held: UnsafeCell::new(0) });
    let (one, other) = (world.index.domain.join(), world.index.domain.join());
    for (id, slot) in others {
        assert!(world.index.insert(&one, *id, *slot));
    }
    assert!(world.index.insert(&one, id(3, 0), 0));
    let thread = {
        let world = world.clone();
        spawn(move || {
            let section = other.enter(&world.index.domain);
            world.touch();
            world.index.remove(&other, id(3, 0), 0);
            drop(section);
            other
        })
    };
    let section = one.enter(&world.index.domain);
    if world.index.insert(&one, id(3, 0), 1) {
        world.touch();
    }
    drop(section);
    let _other = thread.join().unwrap();
}

/// The holder is the first of its bucket.
pub fn id_handed_on() {
    explore(|| handed_on(&[]));
}

/// The holder stands behind another, so that whoever finds its mark may unlink it.
pub fn id_handed_on_by_its_mark() {
    explore(|| handed_on(&[(id(2, 0), 2)]));
}

/// What is inserted behind an object that is just being removed stays.
pub fn insert_behind_a_removal() {
    explore(|| {
        let (index, one, other) = world::<Four>(2);
        assert!(index.insert(&one, id(2, 0), 0));
        let thread = {
            let index = index.clone();
            spawn(move || {
                index.remove(&other, id(2, 0), 0);
                other
            })
        };
        assert!(index.insert(&one, id(3, 0), 1));
        let _other = thread.join().unwrap();
        assert_eq!(slots(&index, &one), [1]);
    });
}

/// Two neighbours are removed at once, and both are gone.
pub fn two_neighbours_removed() {
    explore(|| {
        let (index, one, other) = world::<Four>(3);
        assert!((0..3).all(|n| index.insert(&one, id(n, 0), n as u32)));
        let thread = {
            let index = index.clone();
            spawn(move || {
                index.remove(&other, id(0, 0), 0);
                other
            })
        };
        index.remove(&one, id(1, 0), 1);
        let _other = thread.join().unwrap();
        assert_eq!(slots(&index, &one), [2]);
    });
}

/// A slot is used again only when nobody may still be looking at the object that was in it.
pub fn slot_used_again_under_a_search() {
    explore(|| {
        let (index, one, other) = world::<Four>(2);
        assert!(index.insert(&one, id(2, 0), 0));
        let thread = {
            let index = index.clone();
            spawn(move || {
                index.remove(&other, id(2, 0), 0);
                index.retire(&other, 0);
                (0..3).for_each(|_| other.nudge());
                other.process();
                other
            })
        };
        assert!(index.insert(&one, id(3, 0), 1));
        let _other = thread.join().unwrap();
        assert_eq!(slots(&index, &one), [1]);
    });
}

/// The same for walks.
pub fn slot_used_again_under_a_walk() {
    explore(|| {
        let (index, one, other) = world::<Four>(2);
        assert!(index.insert(&one, id(2, 0), 0) && index.insert(&one, id(3, 0), 1));
        let thread = {
            let index = index.clone();
            spawn(move || {
                index.remove(&other, id(2, 0), 0);
                index.retire(&other, 0);
                (0..3).for_each(|_| other.nudge());
                other.process();
                other
            })
        };
        assert!(slots(&index, &one).contains(&1));
        let _other = thread.join().unwrap();
    });
}

/// A walk shows what is there all the time exactly once, whatever comes and goes.
pub fn walk_against_the_rest() {
    explore(|| {
        let (index, one, other) = world::<Two>(4);
        assert!((0..3).all(|n| index.insert(&one, id(2 * n, 0), n as u32)));
        let thread = {
            let index = index.clone();
            spawn(move || {
                index.remove(&other, id(2, 0), 1);
                assert!(index.insert(&other, id(5, 0), 3));
                other
            })
        };
        let shown = slots(&index, &one);
        assert!(shown.contains(&0) && shown.contains(&2), "{shown:?}");
        let _other = thread.join().unwrap();
        assert_eq!(slots(&index, &one), [0, 2, 3]);
    });
}

/// A bucket that is being linked neither loses what is inserted behind it meanwhile nor lets an id be
/// taken twice.
pub fn bucket_linked_under_insertions() {
    explore(|| {
        let (index, one, other) = world::<Two>(4);
        // Grows to two buckets, of which the second is not in use.
        assert!(index.insert(&one, id(6, 0), 0));
        let thread = {
            let index = index.clone();
            spawn(move || (index.insert(&other, id(5, 0), 1), other))
        };
        let first = index.insert(&one, id(5, 0), 2);
        let (second, _other) = thread.join().unwrap();
        assert!(first != second, "not exactly one insertion won");
        assert!(!index.insert(&one, id(6, 0), 3), "an id was given out twice");
        assert_eq!(slots(&index, &one), [0, if first { 2 } else { 1 }]);
    });
}

/// The same while what stood behind it goes, so that linking it takes a second attempt.
pub fn bucket_linked_under_a_removal() {
    explore(|| {
        let (index, one, other) = world::<Two>(3);
        assert!(index.insert(&one, id(6, 0), 0));
        let thread = {
            let index = index.clone();
            spawn(move || {
                index.remove(&other, id(6, 0), 0);
                assert!(index.insert(&other, id(5, 0), 1));
                other
            })
        };
        assert!(index.insert(&one, id(4, 0), 2));
        let _other = thread.join().unwrap();
        assert_eq!(slots(&index, &one), [1, 2]);
        assert!(!index.insert(&one, id(5, 0), 0), "an id was given out twice");
    });
}

/// Whoever sees that an index has grown finds the new buckets.
pub fn growth_seen() {
    explore(|| {
        let (index, one, other) = world::<Two>(2);
        let thread = {
            let index = index.clone();
            spawn(move || {
                assert!(index.insert(&other, id(1, 0), 0));
                other
            })
        };
        assert!(index.insert(&one, id(6, 0), 1));
        let _other = thread.join().unwrap();
        assert_eq!(slots(&index, &one), [0, 1]);
        assert!(index.bytes() >= 2 * 8, "it did not grow");
    });
}

/// As `growth_seen`, when the one who raises the level has not made the buckets.
pub fn two_growths() {
    explore(|| {
        let (index, one, other) = world::<Two>(3);
        let thread = {
            let index = index.clone();
            spawn(move || {
                assert!(index.insert(&other, id(1, 0), 0));
                other
            })
        };
        assert!(index.insert(&one, id(2, 0), 1));
        assert!(index.insert(&one, id(6, 0), 2));
        let _other = thread.join().unwrap();
        assert_eq!(slots(&index, &one), [0, 1, 2]);
    });
}
