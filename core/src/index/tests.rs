use super::{Index, Nodes};
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

/// Of so many insertions into an index that grows, how many look at more than `far` objects, their own included.
fn far_searches(seed: u64, count: u32, far: u32) -> usize {
    let domain = Domain::<()>::new().unwrap();
    let local = domain.join().unwrap();
    let index = Index::<Standard>::new(seed).unwrap();
    let nodes =
        Watched { links: (0..count).map(|_| AtomicU64::new(0)).collect(), looks: Cell::new(0) };
    let insertions = (0..count).filter(|slot| {
        nodes.looks.set(0);
        assert!(index.insert(&nodes, &local, index.sight((*slot).into()), *slot).is_ok());
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
