//! The peers, each as a user would arrange it to be at its best. Maps are given keys made for them, and box
//! their entities unless they do that themselves; all maps hash alike, with one multiplication.

use super::table::{Entity, Seat, Table, Traits};
use crate::hash::Build;
use concurrent_slotmap::{SlotId, SlotMap, hyaline};
use parking_lot::{RwLock, RwLockReadGuard};
use slotmap::DefaultKey;
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

/// Guards, ids and enumeration: what most peers have.
const FULL: Traits = Traits {
    churns: true,
    holds: true,
    indexed: false,
    enumerates: true,
    grows: true,
    ours: false,
};

/// Implements a table whose threads need nothing of their own.
macro_rules! peer {
    ($type:ty, $name:literal, $key:ty, $traits:expr, |$expected:ident| $new:expr) => {
        impl Table for $type {
            const NAME: &'static str = $name;
            const TRAITS: Traits = $traits;
            type Key = $key;
            type Seat<'t> = &'t $type;

            fn new($expected: usize) -> Self {
                $new
            }

            fn seat(&self) -> &Self {
                self
            }
        }
    };
}

// --- Slot maps ---

pub(crate) struct ConcurrentSlotmap(SlotMap<SlotId, Entity>);
peer!(ConcurrentSlotmap, "concurrent-slotmap", SlotId, FULL, |_expected| {
    ConcurrentSlotmap(SlotMap::new(1 << 24))
});

impl Seat for &ConcurrentSlotmap {
    type Key = SlotId;
    type Guard<'s>
        = hyaline::Guard<'s>
    where
        Self: 's;

    #[inline(always)]
    fn insert(&self, id: u64) -> SlotId {
        self.0.insert(Entity::new(id), &self.0.pin())
    }

    #[inline(always)]
    fn remove(&self, key: SlotId) -> bool {
        self.0.remove(key, &self.0.pin()).is_some()
    }

    #[inline(always)]
    fn get(&self, key: SlotId) -> Option<u64> {
        self.0.get(key, &self.0.pin()).map(|entity| entity.payload[1])
    }

    fn guard(&self) -> hyaline::Guard<'_> {
        self.0.pin()
    }

    #[inline(always)]
    fn get_held<'s>(&'s self, guard: &hyaline::Guard<'s>, key: SlotId) -> Option<u64> {
        self.0.get(key, guard).map(|entity| entity.payload[1])
    }

    fn count(&self) -> (u64, u64) {
        let guard = self.0.pin();
        self.0.iter(&guard).fold((0, 0), |(n, sum), (_, entity)| (n + 1, sum + entity.payload[1]))
    }
}

pub(crate) struct LockedSlotmap(RwLock<slotmap::SlotMap<DefaultKey, Entity>>);
peer!(LockedSlotmap, "RwLock + slotmap", DefaultKey, FULL, |expected| {
    LockedSlotmap(RwLock::new(slotmap::SlotMap::with_capacity(expected)))
});

impl Seat for &LockedSlotmap {
    type Key = DefaultKey;
    type Guard<'s>
        = RwLockReadGuard<'s, slotmap::SlotMap<DefaultKey, Entity>>
    where
        Self: 's;

    #[inline(always)]
    fn insert(&self, id: u64) -> DefaultKey {
        self.0.write().insert(Entity::new(id))
    }

    #[inline(always)]
    fn remove(&self, key: DefaultKey) -> bool {
        self.0.write().remove(key).is_some()
    }

    #[inline(always)]
    fn get(&self, key: DefaultKey) -> Option<u64> {
        self.0.read().get(key).map(|entity| entity.payload[1])
    }

    fn guard(&self) -> Self::Guard<'_> {
        self.0.read()
    }

    #[inline(always)]
    fn get_held<'s>(&'s self, guard: &Self::Guard<'s>, key: DefaultKey) -> Option<u64> {
        guard.get(key).map(|entity| entity.payload[1])
    }

    fn count(&self) -> (u64, u64) {
        let all = self.0.read();
        all.values().fold((0, 0), |(n, sum), entity| (n + 1, sum + entity.payload[1]))
    }
}

pub(crate) struct ShardedSlab(sharded_slab::Slab<Entity>);
peer!(
    ShardedSlab,
    "sharded-slab",
    usize,
    Traits { holds: false, enumerates: false, ..FULL },
    |_expected| ShardedSlab(sharded_slab::Slab::new())
);

impl Seat for &ShardedSlab {
    type Key = usize;
    type Guard<'s>
        = ()
    where
        Self: 's;

    #[inline(always)]
    fn insert(&self, id: u64) -> usize {
        self.0.insert(Entity::new(id)).expect("room in the slab")
    }

    #[inline(always)]
    fn remove(&self, key: usize) -> bool {
        self.0.remove(key)
    }

    #[inline(always)]
    fn get(&self, key: usize) -> Option<u64> {
        self.0.get(key).map(|entity| entity.payload[1])
    }

    fn guard(&self) {}

    #[inline(always)]
    fn get_held(&self, (): &(), key: usize) -> Option<u64> {
        self.get(key)
    }
}

pub(crate) struct IdrEbr(idr_ebr::Idr<Entity>);
peer!(IdrEbr, "idr-ebr", idr_ebr::Key, FULL, |_expected| IdrEbr(idr_ebr::Idr::new()));

impl Seat for &IdrEbr {
    type Key = idr_ebr::Key;
    type Guard<'s>
        = idr_ebr::EbrGuard
    where
        Self: 's;

    #[inline(always)]
    fn insert(&self, id: u64) -> idr_ebr::Key {
        self.0.insert(Entity::new(id)).expect("room in the table")
    }

    #[inline(always)]
    fn remove(&self, key: idr_ebr::Key) -> bool {
        self.0.remove(key)
    }

    #[inline(always)]
    fn get(&self, key: idr_ebr::Key) -> Option<u64> {
        self.get_held(&idr_ebr::EbrGuard::new(), key)
    }

    fn guard(&self) -> idr_ebr::EbrGuard {
        idr_ebr::EbrGuard::new()
    }

    #[inline(always)]
    fn get_held(&self, guard: &idr_ebr::EbrGuard, key: idr_ebr::Key) -> Option<u64> {
        self.0.get(key, guard).map(|entity| entity.payload[1])
    }

    fn count(&self) -> (u64, u64) {
        let guard = idr_ebr::EbrGuard::new();
        self.0.iter(&guard).fold((0, 0), |(n, sum), (_, entity)| (n + 1, sum + entity.payload[1]))
    }
}

// --- Maps ---

/// A key that was never given out. Threads take them by the million, so that they share no line.
#[inline(always)]
fn fresh_key() -> u64 {
    const TAKEN: u64 = 1 << 20;
    static NEXT: AtomicU64 = AtomicU64::new(TAKEN);
    std::thread_local!(static OWN: Cell<u64> = const { Cell::new(0) });
    let mut next = OWN.get();
    if next.is_multiple_of(TAKEN) {
        next = NEXT.fetch_add(TAKEN, Ordering::Relaxed) + 1;
    }
    OWN.set(next + 1);
    // Scattered, as generation-tagged keys would be.
    let mixed = (next ^ next >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed ^ mixed >> 27
}

pub(crate) struct DashMap(dashmap::DashMap<u64, Box<Entity>, Build>);
peer!(DashMap, "dashmap", u64, Traits { holds: false, ..FULL }, |expected| {
    DashMap(dashmap::DashMap::with_capacity_and_hasher(expected, Build::default()))
});

impl Seat for &DashMap {
    type Key = u64;
    type Guard<'s>
        = ()
    where
        Self: 's;

    #[inline(always)]
    fn insert(&self, id: u64) -> u64 {
        let key = fresh_key();
        self.0.insert(key, Box::new(Entity::new(id)));
        key
    }

    #[inline(always)]
    fn remove(&self, key: u64) -> bool {
        self.0.remove(&key).is_some()
    }

    #[inline(always)]
    fn get(&self, key: u64) -> Option<u64> {
        self.0.get(&key).map(|entity| entity.payload[1])
    }

    fn guard(&self) {}

    #[inline(always)]
    fn get_held(&self, (): &(), key: u64) -> Option<u64> {
        self.get(key)
    }

    fn count(&self) -> (u64, u64) {
        self.0.iter().fold((0, 0), |(n, sum), entity| (n + 1, sum + entity.payload[1]))
    }
}

pub(crate) struct Papaya(papaya::HashMap<u64, Entity, Build>);
peer!(Papaya, "papaya", u64, FULL, |expected| {
    Papaya(papaya::HashMap::with_capacity_and_hasher(expected, Build::default()))
});

impl Seat for &Papaya {
    type Key = u64;
    type Guard<'s>
        = papaya::LocalGuard<'s>
    where
        Self: 's;

    #[inline(always)]
    fn insert(&self, id: u64) -> u64 {
        let key = fresh_key();
        self.0.pin().insert(key, Entity::new(id));
        key
    }

    #[inline(always)]
    fn remove(&self, key: u64) -> bool {
        self.0.pin().remove(&key).is_some()
    }

    #[inline(always)]
    fn get(&self, key: u64) -> Option<u64> {
        self.0.pin().get(&key).map(|entity| entity.payload[1])
    }

    fn guard(&self) -> papaya::LocalGuard<'_> {
        self.0.guard()
    }

    #[inline(always)]
    fn get_held<'s>(&'s self, guard: &papaya::LocalGuard<'s>, key: u64) -> Option<u64> {
        self.0.get(&key, guard).map(|entity| entity.payload[1])
    }

    fn count(&self) -> (u64, u64) {
        let guard = self.0.guard();
        self.0.iter(&guard).fold((0, 0), |(n, sum), (_, entity)| (n + 1, sum + entity.payload[1]))
    }
}

pub(crate) struct SccIndex(scc::HashIndex<u64, Box<Entity>, Build>);
peer!(SccIndex, "scc HashIndex", u64, FULL, |expected| {
    SccIndex(scc::HashIndex::with_capacity_and_hasher(expected, Build::default()))
});

impl Seat for &SccIndex {
    type Key = u64;
    type Guard<'s>
        = scc::Guard
    where
        Self: 's;

    #[inline(always)]
    fn insert(&self, id: u64) -> u64 {
        let key = fresh_key();
        assert!(self.0.insert_sync(key, Box::new(Entity::new(id))).is_ok());
        key
    }

    #[inline(always)]
    fn remove(&self, key: u64) -> bool {
        self.0.remove_sync(&key)
    }

    #[inline(always)]
    fn get(&self, key: u64) -> Option<u64> {
        self.0.peek_with(&key, |_, entity| entity.payload[1])
    }

    fn guard(&self) -> scc::Guard {
        scc::Guard::new()
    }

    #[inline(always)]
    fn get_held(&self, guard: &scc::Guard, key: u64) -> Option<u64> {
        self.0.peek(&key, guard).map(|entity| entity.payload[1])
    }

    fn count(&self) -> (u64, u64) {
        let guard = scc::Guard::new();
        self.0.iter(&guard).fold((0, 0), |(n, sum), (_, entity)| (n + 1, sum + entity.payload[1]))
    }
}

// --- With unique ids ---

/// A table that has to keep its ids unique, as the registry does, by a map beside it.
pub(crate) struct Indexed<T: Table> {
    table: T,
    ids: dashmap::DashMap<u64, T::Key, Build>,
}

pub(crate) struct IndexedSeat<'t, T: Table + 't> {
    of: &'t Indexed<T>,
    seat: T::Seat<'t>,
}

macro_rules! indexed {
    ($peer:ty, $name:literal) => {
        impl Table for Indexed<$peer> {
            const NAME: &'static str = $name;
            const TRAITS: Traits = Traits { indexed: true, ..<$peer as Table>::TRAITS };
            type Key = (u64, <$peer as Table>::Key);
            type Seat<'t> = IndexedSeat<'t, $peer>;

            fn new(expected: usize) -> Self {
                let ids = dashmap::DashMap::with_capacity_and_hasher(expected, Build::default());
                Indexed { table: <$peer>::new(expected), ids }
            }

            fn seat(&self) -> Self::Seat<'_> {
                IndexedSeat { of: self, seat: self.table.seat() }
            }
        }
    };
}

indexed!(ConcurrentSlotmap, "concurrent-slotmap, dashmap of ids");
indexed!(ShardedSlab, "sharded-slab, dashmap of ids");
indexed!(LockedSlotmap, "RwLock + slotmap, dashmap of ids");

impl<'t, T: Table> Seat for IndexedSeat<'t, T> {
    type Key = (u64, T::Key);
    type Guard<'s>
        = <T::Seat<'t> as Seat>::Guard<'s>
    where
        Self: 's;

    #[inline(always)]
    fn insert(&self, id: u64) -> Self::Key {
        let dashmap::Entry::Vacant(place) = self.of.ids.entry(id) else { panic!("{id} is taken") };
        let key = self.seat.insert(id);
        place.insert(key);
        (id, key)
    }

    #[inline(always)]
    fn remove(&self, (id, key): Self::Key) -> bool {
        self.seat.remove(key) && self.of.ids.remove(&id).is_some()
    }

    #[inline(always)]
    fn get(&self, (_, key): Self::Key) -> Option<u64> {
        self.seat.get(key)
    }

    fn guard(&self) -> Self::Guard<'_> {
        self.seat.guard()
    }

    #[inline(always)]
    fn get_held<'s>(&'s self, guard: &Self::Guard<'s>, (_, key): Self::Key) -> Option<u64> {
        self.seat.get_held(guard, key)
    }

    fn count(&self) -> (u64, u64) {
        self.seat.count()
    }
}
