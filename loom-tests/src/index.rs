//! The id index: uniqueness, and growth under everything else.

use crate::{Four, Two, explore, spawn};
use loom::cell::UnsafeCell;
use rtm_core::Config;
use rtm_core::model::{Index, Seat};
use std::sync::Arc;

/// All ids in the index, sorted; none twice.
fn ids<C: Config>(index: &Index<C>, seat: &Seat) -> Vec<u64> {
    let mut ids: Vec<_> =
        index.walk(&seat.enter(&index.domain)).iter().map(|(id, _)| *id).collect();
    ids.sort_unstable();
    assert!(ids.is_sorted_by(|a, b| a < b), "an entry shows twice: {ids:?}");
    ids
}

/// One of two insertions of an id wins, and its object is the one that shows.
pub fn two_insertions() {
    explore(|| {
        let index = Arc::new(Index::<Four>::new());
        let (one, other) = (index.domain.join(), index.domain.join());
        let thread = {
            let index = index.clone();
            spawn(move || (index.insert(&other, 7, 2), other))
        };
        let first = index.insert(&one, 7, 1);
        let (second, _other) = thread.join().unwrap();
        assert!(first != second, "not exactly one insertion won");
        let expected = if first { 1 } else { 2 };
        assert_eq!(index.walk(&one.enter(&index.domain)), [(7, expected)]);
    });
}

/// Insertions of different ids that meet in one cell both find a place.
pub fn two_ids_in_one_cell() {
    explore(|| {
        let index = Arc::new(Index::<Four>::new());
        let (one, other) = (index.domain.join(), index.domain.join());
        let thread = {
            let index = index.clone();
            spawn(move || {
                assert!(index.insert(&other, 8, 2));
                other
            })
        };
        assert!(index.insert(&one, 7, 1));
        let _other = thread.join().unwrap();
        assert_eq!(ids(&index, &one), [7, 8]);
    });
}

/// An id is taken until its removal and free from then on.
pub fn insert_against_remove() {
    explore(|| {
        let index = Arc::new(Index::<Four>::new());
        let (one, other) = (index.domain.join(), index.domain.join());
        assert!(index.insert(&one, 7, 1));
        let thread = {
            let index = index.clone();
            spawn(move || {
                index.remove(&other, 7, 1);
                (index.insert(&other, 7, 3), other)
            })
        };
        let first = index.insert(&one, 7, 2);
        let (second, _other) = thread.join().unwrap();
        assert!(first != second, "an id that was free was refused, or given out twice");
        let expected = if first { 2 } else { 3 };
        assert_eq!(index.walk(&one.enter(&index.domain)), [(7, expected)]);
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
    fn new() -> Arc<Guarded> {
        Arc::new(Guarded { index: Index::new(), held: UnsafeCell::new(0) })
    }

    fn touch(&self) {
        // SAFETY: loom panics if the holders do not come one after the other.
        self.held.with_mut(|held| unsafe { *held += 1 });
    }
}

/// Whoever takes an id that was free has seen what its last holder did before letting go. Both are
/// inside sections of their own, so that no fence of the collector helps.
pub fn id_handed_on() {
    explore(|| {
        let world = Guarded::new();
        let (one, other) = (world.index.domain.join(), world.index.domain.join());
        assert!(world.index.insert(&one, 7, 1));
        let thread = {
            let world = world.clone();
            spawn(move || {
                let section = other.enter(&world.index.domain);
                world.touch();
                world.index.remove(&other, 7, 1);
                drop(section);
                other
            })
        };
        let section = one.enter(&world.index.domain);
        if world.index.insert(&one, 7, 2) {
            world.touch();
        }
        drop(section);
        let _other = thread.join().unwrap();
    });
}

/// Insertions while the array grows: nothing is lost, no id is given out twice.
pub fn insert_against_growth() {
    explore(|| {
        let index = Arc::new(Index::<Two>::new());
        let (one, other) = (index.domain.join(), index.domain.join());
        assert!(index.insert(&one, 1, 1));
        let thread = {
            let index = index.clone();
            spawn(move || {
                // The first goes past the window and begins a growth, the second takes part in it.
                assert!(index.insert(&other, 2, 2));
                assert!(!index.insert(&other, 1, 9), "an id was given out twice");
                other
            })
        };
        assert!(index.insert(&one, 3, 3));
        let other = thread.join().unwrap();
        assert_eq!(ids(&index, &other), [1, 2, 3]);
        assert!([1, 2, 3].iter().all(|id| !index.insert(&one, *id, 9)));
        assert!(index.moved(&one.enter(&index.domain)) > 0, "it did not grow");
    });
}

/// A full array is replaced within one insertion; others find the new one complete.
pub fn growth_in_one_step() {
    explore(|| {
        let index = Arc::new(Index::<Four>::new());
        let (one, other) = (index.domain.join(), index.domain.join());
        assert!((1..=4).all(|id| index.insert(&one, id, id)));
        let thread = {
            let index = index.clone();
            spawn(move || {
                assert!(index.insert(&other, 5, 5));
                other
            })
        };
        assert!(!index.insert(&one, 1, 9), "an id was given out twice");
        let section = one.enter(&index.domain);
        assert!(index.bytes(&section) > 0);
        drop(section);
        let _other = thread.join().unwrap();
        assert_eq!(ids(&index, &one), [1, 2, 3, 4, 5]);
    });
}

/// A removal while its entry is on the way to the new array is not undone.
pub fn remove_against_growth() {
    explore(|| {
        let index = Arc::new(Index::<Two>::new());
        let (one, other) = (index.domain.join(), index.domain.join());
        assert!(index.insert(&one, 1, 1));
        let thread = {
            let index = index.clone();
            spawn(move || {
                assert!(index.insert(&other, 2, 2));
                assert!(index.insert(&other, 3, 3));
                other
            })
        };
        index.remove(&one, 1, 1);
        let other = thread.join().unwrap();
        assert_eq!(ids(&index, &other), [2, 3]);
        assert!(index.insert(&one, 1, 4), "an id that is free was refused");
    });
}

/// A mover that falls behind does not bring back what was removed from the new array since.
pub fn late_mover() {
    explore(|| {
        let index = Arc::new(Index::<Two>::new());
        let (one, other) = (index.domain.join(), index.domain.join());
        assert!(index.insert(&one, 1, 1) && index.insert(&one, 2, 2));
        // The growth has begun and nothing has been moved.
        let thread = {
            let index = index.clone();
            spawn(move || {
                assert!(index.insert(&other, 3, 3));
                other
            })
        };
        index.remove(&one, 1, 1);
        assert!(!ids(&index, &one).contains(&1));
        let other = thread.join().unwrap();
        assert_eq!(ids(&index, &other), [2, 3]);
        assert!(index.insert(&one, 1, 4), "an id that is free was refused");
    });
}

/// An array is freed after everybody who walks or probes it has left.
pub fn array_freed_under_a_walk() {
    explore(|| {
        let index = Arc::new(Index::<Two>::new());
        let (one, other) = (index.domain.join(), index.domain.join());
        assert!(index.insert(&one, 1, 1) && index.insert(&one, 2, 2));
        let thread = {
            let index = index.clone();
            spawn(move || {
                assert!(index.insert(&other, 3, 3));
                (0..3).for_each(|_| other.nudge());
                other.process();
                other
            })
        };
        assert!(ids(&index, &one).starts_with(&[1, 2]));
        let _other = thread.join().unwrap();
    });
}

/// A walk shows what is there all the time exactly once, whatever moves meanwhile.
pub fn walk_against_growth() {
    explore(|| {
        let index = Arc::new(Index::<Two>::new());
        let (one, other) = (index.domain.join(), index.domain.join());
        assert!(index.insert(&one, 1, 1) && index.insert(&one, 2, 2));
        let thread = {
            let index = index.clone();
            spawn(move || {
                assert!(index.insert(&other, 3, 3));
                index.remove(&other, 3, 3);
                other
            })
        };
        let shown = ids(&index, &one);
        assert!(shown == [1, 2] || shown == [1, 2, 3], "{shown:?}");
        let _other = thread.join().unwrap();
        assert_eq!(ids(&index, &one), [1, 2]);
    });
}
