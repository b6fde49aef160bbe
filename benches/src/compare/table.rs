//! What is compared: tables that give out a key for an entity and find it again.

/// An entity of 128 bytes: who it is, and a payload of 112. The registry keeps the first part as its own.
#[derive(Clone, Copy)]
pub(crate) struct Entity {
    _id: u64,
    _table: u64,
    pub(crate) payload: Payload,
}

pub(crate) type Payload = [u64; 14];

impl Entity {
    pub(crate) fn new(id: u64) -> Entity {
        Entity { _id: id, _table: 0, payload: [id; 14] }
    }
}

/// A table of entities.
pub(crate) trait Table: Sync + Sized {
    /// As it is shown.
    const NAME: &'static str;
    /// What it can do.
    const TRAITS: Traits;
    type Key: Copy + Send + Sync;
    /// What a thread uses it through.
    type Seat<'t>: Seat<Key = Self::Key> + Send
    where
        Self: 't;

    /// An empty one, for about so many.
    fn new(expected: usize) -> Self;
    fn seat(&self) -> Self::Seat<'_>;
    /// An empty one, to which so many will come; it is told so only if it must be.
    fn growing(expected: usize) -> Self {
        Self::new(if Self::TRAITS.grows { 1024 } else { expected })
    }
    /// The calling thread is outside and about to wait for others.
    fn rest(&self) {}
}

/// What is measured of a table, beside looking up.
#[derive(Clone, Copy)]
pub(crate) struct Traits {
    /// Entities come and go while others look.
    pub(crate) churns: bool,
    /// One guard covers many look-ups.
    pub(crate) holds: bool,
    /// Keeps ids unique.
    pub(crate) indexed: bool,
    /// Can be enumerated while others use it.
    pub(crate) enumerates: bool,
    /// Is as it should be with more entities than it was made for.
    pub(crate) grows: bool,
    /// Has look-ups of its own kind: without a guard, and in batches.
    pub(crate) ours: bool,
}

/// A thread's way to a table.
pub(crate) trait Seat {
    type Key: Copy;
    /// Covers the look-ups made with it.
    type Guard<'s>
    where
        Self: 's;

    fn insert(&self, id: u64) -> Self::Key;
    /// `None` if the table has to refuse for now.
    fn try_insert(&self, id: u64) -> Option<Self::Key> {
        Some(self.insert(id))
    }
    fn remove(&self, key: Self::Key) -> bool;
    /// Finds an entity under a guard of the look-up's own and reads a word of its payload, which is its id.
    fn get(&self, key: Self::Key) -> Option<u64>;
    fn guard(&self) -> Self::Guard<'_>;
    /// Finds it under a guard.
    fn get_held<'s>(&'s self, guard: &Self::Guard<'s>, key: Self::Key) -> Option<u64>;
    /// How many there are, and the sum of their ids.
    fn count(&self) -> (u64, u64) {
        (0, 0)
    }
    /// Who it is, without a guard.
    fn info(&self, key: Self::Key) -> Option<u64> {
        self.get(key)
    }
    /// Looks many up, each under a guard of its own; the sum of the ids of those that are found. A table
    /// whose functions are not compiled into its user's does these things itself.
    #[inline(always)]
    fn look_up(&self, keys: &[Self::Key]) -> u64 {
        keys.iter().filter_map(|key| self.get(*key)).fold(0, u64::wrapping_add)
    }
    /// The same, each look-up depending on the one before.
    #[inline(always)]
    fn look_up_dependent(&self, keys: &[Self::Key]) -> u64 {
        let (mut at, mut sum) = (0, 0_u64);
        while let Some(key) = keys.get(at) {
            let id = self.get(*key).unwrap_or(0);
            sum = sum.wrapping_add(id);
            // No id has this bit, which nobody but us knows.
            at += 1 + (id >> 63) as usize;
        }
        sum
    }
    /// The same under one guard.
    #[inline(always)]
    fn look_up_held(&self, keys: &[Self::Key]) -> u64 {
        let guard = self.guard();
        let found = keys.iter().filter_map(|key| self.get_held(&guard, *key));
        found.fold(0, u64::wrapping_add)
    }
    /// Replaces entities by others, whose ids begin with `next`.
    #[inline(always)]
    fn renew(&self, keys: &mut [Self::Key], next: u64) {
        for (key, id) in keys.iter_mut().zip(next..) {
            assert!(self.remove(*key));
            *key = self.insert(id);
        }
    }
    /// Inserts and removes so many entities, one after the other, whose ids begin with `first`.
    #[inline(always)]
    fn pairs(&self, count: usize, first: u64) {
        for id in (first..).take(count) {
            assert!(self.remove(self.insert(id)));
        }
    }
    /// Looks up the entities whose keys are in these places, and replaces each by one of the same id.
    #[inline(always)]
    fn replace(&self, keys: &mut [Self::Key], places: &[usize]) {
        for place in places {
            let key = &mut keys[*place];
            let id = self.get(*key).expect("it is there");
            assert!(self.remove(*key));
            *key = self.insert(id);
        }
    }
    /// The sum of the ids of all that are found, as fast as many can be found at once.
    fn batch(&self, keys: &[Self::Key]) -> u64 {
        keys.iter().filter_map(|key| self.get(*key)).sum()
    }
    /// Lets garbage go.
    fn settle(&self) {}
    /// Gives back to the system what it can, if it can.
    fn trim(&self) {}
}
