//! Tables: one id index for each instance and address family, created on first use.
//!
//! *Roles.* Any thread finds tables and makes one that is missing.
//! *States.* built → published → also in its bucket. A table is never removed before the registry goes.
//! All tables are on one list, newest first; putting a table at its head is what creates it, and
//! exactly one of several threads that want the same one succeeds. Each also hangs in a bucket, where it is
//! found faster; its creator puts it there afterwards, and whoever does not find it there looks through the list.
//! *ABA.* Nothing is ever taken off.
//! *Orderings.* Heads are stored with release and loaded with acquire: a table that is found is seen whole.
//! *Progress.* Finding: wait-free, as long as a bucket, or as the list if there is no such table. Creating:
//! lock-free; a thread that loses a race looks again and keeps what it has built.

use crate::alloc::{OutOfMemory, try_box};
use crate::dispatch::{Audience, Herald};
use crate::entity::TableKey;
use crate::error::Refusal;
use crate::handle::{Config, mix};
use crate::index::Index;
use crate::sync::{AtomicPtr, Ordering};
use std::ptr;
use std::sync::Arc;

const BUCKETS: usize = if cfg!(rtm_loom) { 1 } else { 128 };
const _: () = assert!(BUCKETS.is_power_of_two());

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
    packed: u32,
    pub(crate) index: Index<C>,
    /// Those who are told of its entities.
    pub(crate) audience: Arc<Audience>,
    /// The one that was created before. Written before this one is published.
    older: AtomicPtr<Table<C>>,
    /// The next one in the bucket. Written before this one is put there.
    beside: AtomicPtr<Table<C>>,
    /// Instances that have a table, up to this one.
    instances: u32,
}

/// The tables there were at some moment, newest first.
pub(crate) struct List<'a, C: Config>(Option<&'a Table<C>>);

impl<'a, C: Config> List<'a, C> {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &'a Table<C>> + use<'a, C> {
        // SAFETY: null, or a table, which stays as long as the newest does.
        std::iter::successors(self.0, |table| unsafe {
            table.older.load(Ordering::Relaxed).as_ref()
        })
    }

    /// How many instances have a table.
    pub(crate) fn instances(&self) -> u32 {
        self.0.map_or(0, |newest| newest.instances)
    }
}

pub(crate) struct Tables<C: Config> {
    newest: AtomicPtr<Table<C>>,
    buckets: [AtomicPtr<Table<C>>; BUCKETS],
    seed: u64,
    herald: Arc<Herald>,
}

impl<C: Config> Tables<C> {
    pub(crate) fn new(seed: u64, herald: Arc<Herald>) -> Self {
        let nothing = || AtomicPtr::new(ptr::null_mut());
        Tables { newest: nothing(), buckets: std::array::from_fn(|_| nothing()), seed, herald }
    }

    fn bucket(&self, key: TableKey) -> &AtomicPtr<Table<C>> {
        let number = usize::from(key.instance) * 2 + usize::from(key.family as u16 != 2);
        &self.buckets[number & (BUCKETS - 1)]
    }

    /// The table of this name.
    #[inline]
    pub(crate) fn find(&self, key: TableKey) -> Option<&Table<C>> {
        // Acquire: partner is `hang`.
        let mut next = self.bucket(key).load(Ordering::Acquire);
        // SAFETY: null, or a table, which stays as long as `self`.
        while let Some(table) = unsafe { next.as_ref() } {
            if table.key == key {
                return Some(table);
            }
            next = table.beside.load(Ordering::Relaxed);
        }
        self.all().iter().find(|table| table.key == key)
    }

    /// As [`find`](Tables::find), with the table that the same member found last at hand, for a
    /// [packed](TableKey::packed) key.
    #[inline(always)]
    pub(crate) fn find_again(&self, packed: u32, last: &AtomicPtr<()>) -> Option<&Table<C>> {
        // Relaxed: only the member itself writes it.
        let table = last.load(Ordering::Relaxed).cast::<Table<C>>();
        // SAFETY: null, or a table of this registry, which lives as long as `self`.
        if let Some(table) = unsafe { table.as_ref() }
            && table.packed == packed
        {
            return Some(table);
        }
        self.find_anew(packed, last)
    }

    #[cold]
    fn find_anew(&self, packed: u32, last: &AtomicPtr<()>) -> Option<&Table<C>> {
        let table = self.find(TableKey::unpacked(packed))?;
        last.store(ptr::from_ref(table).cast_mut().cast(), Ordering::Relaxed);
        Some(table)
    }

    /// For the end: lets go of all listeners.
    pub(crate) fn disband(&self) {
        self.all().iter().for_each(|table| table.audience.disband());
    }

    /// All tables there are now.
    pub(crate) fn all(&self) -> List<'_, C> {
        // Acquire: partner is the exchange in `create`.
        // SAFETY: null, or a table, which stays as long as `self`.
        List(unsafe { self.newest.load(Ordering::Acquire).as_ref() })
    }

    /// Makes the table unless it is there.
    pub(crate) fn create(&self, key: TableKey, max_instances: u32) -> Result<(), Refusal> {
        let mut built: Option<Box<Table<C>>> = None;
        loop {
            let list = self.all();
            if list.iter().any(|table| table.key == key) {
                return Ok(());
            }
            let new = !list.iter().any(|table| table.key.instance == key.instance);
            if new && list.instances() >= max_instances {
                return Err(Refusal::InstanceLimit);
            }
            let mut table = match built.take() {
                Some(table) => table,
                None => self.build(key).map_err(|OutOfMemory| Refusal::OutOfMemory)?,
            };
            let older = list.0.map_or(ptr::null_mut(), |table| ptr::from_ref(table).cast_mut());
            table.older.store(older, Ordering::Relaxed);
            table.instances = list.instances() + u32::from(new);
            let table = Box::into_raw(table);
            // Release: partner is `all`.
            match self.newest.compare_exchange(older, table, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => {
                    // SAFETY: published, so it stays as long as `self`.
                    self.hang(unsafe { &*table });
                    return Ok(());
                }
                // SAFETY: the exchange failed, so it is still ours alone.
                Err(_) => built = Some(unsafe { Box::from_raw(table) }),
            }
        }
    }

    fn build(&self, key: TableKey) -> Result<Box<Table<C>>, OutOfMemory> {
        let seed = u64::from(key.instance) << 16 | u64::from(key.family as u16);
        try_box(Table {
            key,
            packed: key.packed(),
            index: Index::new(mix(self.seed ^ seed))?,
            audience: Audience::new(self.herald.clone())?,
            older: AtomicPtr::new(ptr::null_mut()),
            beside: AtomicPtr::new(ptr::null_mut()),
            instances: 0,
        })
    }

    /// Puts a table into its bucket.
    fn hang(&self, table: &Table<C>) {
        let bucket = self.bucket(table.key);
        let mut head = bucket.load(Ordering::Relaxed);
        loop {
            table.beside.store(head, Ordering::Relaxed);
            let new = ptr::from_ref(table).cast_mut();
            // Release: partner is `find`.
            match bucket.compare_exchange(head, new, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => head = now,
            }
        }
    }
}

impl<C: Config> Drop for Tables<C> {
    fn drop(&mut self) {
        // Acquire: as in `all`.
        let mut next = self.newest.load(Ordering::Acquire);
        while !next.is_null() {
            // SAFETY: `self` is going; each came from a box and is on the list once.
            let table = unsafe { Box::from_raw(next) };
            next = table.older.load(Ordering::Relaxed);
        }
    }
}
