//! Tables: one id index for each instance and address family, created on first use.
//!
//! The list of tables is a snapshot that is replaced when one is added, which is rare; tables are
//! never removed before the registry goes. Two threads that need the same new table both build it,
//! and one of them throws its own away.

use crate::alloc::OutOfMemory;
use crate::dispatch::{Audience, Herald};
use crate::entity::TableKey;
use crate::error::Refusal;
use crate::handle::{Config, mix};
use crate::index::Index;
use crate::snapshot::Snapshot;
use crate::sync::{AtomicPtr, Ordering};
use std::sync::Arc;

/// What every table of a registry offers its entities, fixed when the registry is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Most next hops of one route.
    pub max_next_hops_in_route: u32,
    /// Most items one enumeration call may ask for.
    pub max_handles_in_enum: u32,
    /// The views, as a mask: bit 0 unicast, bit 1 multicast.
    pub views: u32,
}

impl Default for Profile {
    fn default() -> Self {
        Profile { max_next_hops_in_route: 16, max_handles_in_enum: 128, views: 0b11 }
    }
}

/// One routing table's entities.
pub(crate) struct Table<C: Config> {
    pub(crate) key: TableKey,
    pub(crate) index: Index<C>,
    /// Those who are told of its entities.
    pub(crate) audience: Arc<Audience>,
}

/// All tables, sorted by key.
pub(crate) struct List<C: Config>(Vec<Arc<Table<C>>>);

impl<C: Config> List<C> {
    fn find(&self, key: TableKey) -> Option<&Table<C>> {
        let place = self.0.binary_search_by_key(&key, |table| table.key).ok()?;
        Some(&self.0[place])
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Table<C>> {
        self.0.iter().map(|table| &**table)
    }

    /// How many instances have a table.
    pub(crate) fn instances(&self) -> usize {
        self.0.chunk_by(|a, b| a.key.instance == b.key.instance).count()
    }

    fn has_instance(&self, instance: u16) -> bool {
        self.0.iter().any(|table| table.key.instance == instance)
    }
}

pub(crate) struct Tables<C: Config> {
    list: Snapshot<List<C>>,
    seed: u64,
    herald: Arc<Herald>,
}

impl<C: Config> Tables<C> {
    pub(crate) fn new(seed: u64, herald: Arc<Herald>) -> Self {
        Tables { list: Snapshot::new(List(Vec::new())), seed, herald }
    }

    /// The table of this name.
    #[inline]
    pub(crate) fn find(&self, key: TableKey) -> Option<&Table<C>> {
        let table = std::ptr::from_ref(self.list.load().find(key)?);
        // SAFETY: a table that was in the list is in every later list, so it lives as long as
        // `self`.
        Some(unsafe { &*table })
    }

    /// As [`find`](Tables::find), with the table that the same member found last at hand.
    #[inline(always)]
    pub(crate) fn find_again(&self, key: TableKey, last: &AtomicPtr<()>) -> Option<&Table<C>> {
        // Relaxed: only the member itself writes it.
        let table = last.load(Ordering::Relaxed).cast::<Table<C>>();
        // SAFETY: null, or a table of this registry, which lives as long as `self`.
        if let Some(table) = unsafe { table.as_ref() }
            && table.key == key
        {
            return Some(table);
        }
        self.find_anew(key, last)
    }

    #[cold]
    fn find_anew(&self, key: TableKey, last: &AtomicPtr<()>) -> Option<&Table<C>> {
        let table = self.find(key)?;
        last.store(std::ptr::from_ref(table).cast_mut().cast(), Ordering::Relaxed);
        Some(table)
    }

    /// For the end: lets go of all listeners.
    pub(crate) fn disband(&self) {
        self.all().iter().for_each(|table| table.audience.disband());
    }

    /// All tables there are now.
    pub(crate) fn all(&self) -> Arc<List<C>> {
        Arc::clone(&self.list.load())
    }

    /// Makes the table unless it is there.
    pub(crate) fn create(&self, key: TableKey, max_instances: u32) -> Result<(), Refusal> {
        loop {
            let list = self.list.load();
            if list.find(key).is_some() {
                return Ok(());
            }
            if !list.has_instance(key.instance) && list.instances() >= max_instances as usize {
                return Err(Refusal::InstanceLimit);
            }
            let seed = u64::from(key.instance) << 16 | u64::from(key.family as u16);
            let index =
                Index::new(mix(self.seed ^ seed)).map_err(|OutOfMemory| Refusal::OutOfMemory)?;
            let mut next = Vec::new();
            next.try_reserve_exact(list.0.len() + 1).map_err(|_| Refusal::OutOfMemory)?;
            next.extend(list.0.iter().cloned());
            let place = next.partition_point(|table| table.key < key);
            let audience = Audience::new(self.herald.clone());
            next.insert(place, Arc::new(Table { key, index, audience }));
            if self.list.replace(&list, List(next)) {
                return Ok(());
            }
        }
    }
}
