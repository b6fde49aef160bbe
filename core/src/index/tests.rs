use super::{Index, LARGE_LEVEL, Node, Nodes, load};
use crate::handle::Standard;
use crate::reclamation::Domain;
use crate::sync::AtomicU64;
use std::cell::Cell;

/// Objects that count how often they are looked at. Their ids are the numbers of their slots.
struct Watched {
    links: Vec<AtomicU64>,
    looks: Cell<u32>,
}

impl Nodes for Watched {
    fn link(&self, slot: u32) -> &AtomicU64 {
        self.looks.set(self.looks.get() + 1);
        &self.links[slot as usize]
    }

    fn id(&self, slot: u32) -> u64 {
        slot.into()
    }
}

/// An empty index and so many objects for it.
fn with_nodes(seed: u64, count: u32) -> (Index<Standard>, Watched) {
    let links = (0..count).map(|_| AtomicU64::new(0)).collect();
    (Index::new(seed).unwrap(), Watched { links, looks: Cell::new(0) })
}

/// Of so many insertions into an index that grows, how many look at more than `far` objects, their own included.
fn far_searches(seed: u64, count: u32, far: u32) -> usize {
    let domain = Domain::<()>::new().unwrap();
    let local = domain.join().unwrap();
    let (index, nodes) = with_nodes(seed, count);
    let insertions = (0..count).filter(|slot| {
        nodes.looks.set(0);
        let node = Node { slot: *slot, link: nodes.link(*slot) };
        assert!(index.insert(&nodes, &local, index.sight((*slot).into()), node).is_ok());
        nodes.looks.get() > far
    });
    insertions.count()
}

/// When searches began at the bucket that theirs was split from, one in five hundred passed more than a hundred
/// objects.
#[test]
fn growth_has_no_long_searches() {
    for seed in 1..4 {
        let far = far_searches(seed, 1 << 17, 40);
        assert!(far <= 2, "{far} of 131,072 insertions looked at more than 40 objects");
    }
}

/// When a large index grows, few of the buckets are unused that it had until then. Without those that insertions link
/// for others, a third and more would be.
#[test]
fn buckets_are_linked_before_the_index_grows_again() {
    let domain = Domain::<()>::new().unwrap();
    let local = domain.join().unwrap();
    let count = 3 << 16;
    let (index, nodes) = with_nodes(1, count);
    let mut grown = 0;
    for slot in 0..count {
        let level = index.buckets.level();
        let node = Node { slot, link: nodes.link(slot) };
        assert!(index.insert(&nodes, &local, index.sight(slot.into()), node).is_ok());
        if index.buckets.level() != level && level >= LARGE_LEVEL {
            let places = 1 << (LARGE_LEVEL - 1)..1 << level;
            let unused = places.filter(|place| !load(index.buckets.at(*place)).is_in_use());
            let unused = unused.count();
            assert!(unused <= 1 << level >> 3, "{unused} buckets of level {level} are unused");
            grown += 1;
        }
    }
    assert!(grown >= 4, "it has grown {grown} times");
}
