//! The registry, and the floor: a vector that nobody changes.

use super::table::{Entity, Payload, Seat, Table, Traits};
use rtm_core::{
    AddressFamily, Config, DropBy, EntityInfo, Guard, Handle, Limits, Participant, Refusal,
    RegisterError, Registry, Settings, Standard, TableKey,
};

const TABLE: TableKey = TableKey { instance: 0, family: AddressFamily::Inet };

/// The departures that may wait for readers.
pub(super) fn backlog() -> u64 {
    Limits::default().backlog
}

/// With or without an index of ids.
pub(crate) struct Rtm<C: Config = Standard>(Registry<Payload, C>);

impl<C: Config> Table for Rtm<C> {
    const NAME: &'static str = if C::UNIQUE_IDS { "rtm" } else { "rtm, handles only" };
    const TRAITS: Traits = Traits {
        churns: true,
        holds: true,
        indexed: C::UNIQUE_IDS,
        enumerates: C::UNIQUE_IDS,
        grows: true,
        ours: true,
    };
    type Key = Handle;
    type Seat<'t> = Participant<'t, Payload, C>;

    fn new(_: usize) -> Self {
        Rtm(Registry::with_config(Settings::default()).expect("memory for a registry"))
    }

    fn seat(&self) -> Self::Seat<'_> {
        self.0.join().expect("memory for a member")
    }
}

impl<C: Config> Seat for Participant<'_, Payload, C> {
    type Key = Handle;
    type Guard<'s>
        = Guard<'s, Payload, C>
    where
        Self: 's;

    #[inline(always)]
    fn insert(&self, id: u64) -> Handle {
        self.try_insert(id).expect("nobody is stuck")
    }

    #[inline(always)]
    fn try_insert(&self, id: u64) -> Option<Handle> {
        let info = EntityInfo { table: TABLE, id };
        match self.register_handle(info, [id; 14], DropBy::Writers) {
            Ok(handle) => Some(handle),
            Err(RegisterError { refusal: Refusal::Backlog, .. }) => None,
            Err(error) => panic!("not registered: {}", error.refusal),
        }
    }

    #[inline(always)]
    fn remove(&self, key: Handle) -> bool {
        self.deregister(key).is_ok()
    }

    #[inline(always)]
    fn get(&self, key: Handle) -> Option<u64> {
        self.look_up(key).ok().map(|entity| entity[1])
    }

    fn guard(&self) -> Guard<'_, Payload, C> {
        self.enter()
    }

    #[inline(always)]
    fn get_held<'s>(&'s self, guard: &Guard<'s, Payload, C>, key: Handle) -> Option<u64> {
        guard.get(key).ok().map(|entity| entity[1])
    }

    fn count(&self) -> (u64, u64) {
        let guard = self.enter();
        guard.entities(TABLE).fold((0, 0), |(n, sum), entity| (n + 1, sum + entity[1]))
    }

    #[inline(always)]
    fn info(&self, key: Handle) -> Option<u64> {
        self.registry().info(key).ok().map(|info| info.id)
    }

    #[inline(always)]
    fn batch(&self, keys: &[Handle]) -> u64 {
        let mut sum = 0;
        self.enter().get_each(keys, |_, found| sum += found.map_or(0, |entity| entity[1]));
        sum
    }

    fn settle(&self) {
        self.registry().flush().expect("outside");
    }

    fn trim(&self) {
        Participant::trim(self).expect("memory to count in");
    }
}

/// The floor. Looking up is indexing.
pub(crate) struct Floor(Vec<Entity>);

impl Table for Floor {
    const NAME: &'static str = "floor: Vec<T>[i]";
    const TRAITS: Traits = Traits {
        churns: false,
        holds: false,
        indexed: false,
        enumerates: true,
        grows: false,
        ours: false,
    };
    type Key = usize;
    type Seat<'t> = &'t Floor;

    /// All are there from the beginning.
    fn new(expected: usize) -> Self {
        Floor((0..expected as u64).map(Entity::new).collect())
    }

    fn seat(&self) -> &Floor {
        self
    }
}

impl Seat for &Floor {
    type Key = usize;
    type Guard<'s>
        = ()
    where
        Self: 's;

    fn insert(&self, id: u64) -> usize {
        id as usize
    }

    fn remove(&self, _: usize) -> bool {
        true
    }

    #[inline(always)]
    fn get(&self, key: usize) -> Option<u64> {
        Some(self.0[key].payload[1])
    }

    fn guard(&self) {}

    #[inline(always)]
    fn get_held(&self, (): &(), key: usize) -> Option<u64> {
        self.get(key)
    }

    fn count(&self) -> (u64, u64) {
        self.0.iter().fold((0, 0), |(n, sum), entity| (n + 1, sum + entity.payload[1]))
    }
}
