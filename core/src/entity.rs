//! What an entity is: its plain information, and the address families it can belong to.

use crate::code::Code;
use crate::limits::Charged;
use crate::slab::{Fixed, Identified};
use crate::sync::{AtomicU32, Ordering};

/// An address family, by the platform's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u16)]
pub enum AddressFamily {
    /// IPv4 (`AF_INET`).
    Inet = 2,
    /// IPv6 (`AF_INET6`, 10 on Linux).
    Inet6 = 10,
}

impl AddressFamily {
    /// Both.
    pub const ALL: [AddressFamily; 2] = [AddressFamily::Inet, AddressFamily::Inet6];

    /// The family of this number, if it is supported.
    pub const fn from_number(number: u16) -> Option<Self> {
        match number {
            2 => Some(AddressFamily::Inet),
            10 => Some(AddressFamily::Inet6),
            _ => None,
        }
    }
}

/// A routing table's name: instance and address family. Tables share nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TableKey {
    /// The routing instance; 0 is the usual one.
    pub instance: u16,
    /// The address family.
    pub family: AddressFamily,
}

/// An entity's plain information, fixed at registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EntityInfo {
    /// The table it is registered with.
    pub table: TableKey,
    /// Its identity there, unique while it is registered. Opaque; any of the 2^64 values.
    pub id: u64,
}

/// [`EntityInfo`] in a slot, with the flag that says who drops the payload.
#[derive(Default)]
pub(crate) struct EntityFixed {
    /// Instance in the high half; family, [`DEFERRED`], [`CODE`] and [`CHARGED`] in the low one.
    place: AtomicU32,
    // Two halves, so that together with the slot's link this takes 16 bytes.
    id_low: AtomicU32,
    id_high: AtomicU32,
}

impl Identified for EntityFixed {
    #[inline(always)]
    fn id(&self) -> u64 {
        let low = self.id_low.load(Ordering::Relaxed);
        u64::from(self.id_high.load(Ordering::Relaxed)) << 32 | u64::from(low)
    }
}

const DEFERRED: u32 = 1 << 15;
const CODE: u32 = 1 << 14;
const CHARGED: u32 = 1 << 13;

impl TableKey {
    /// The key as it stands in a slot.
    #[inline(always)]
    pub(crate) fn packed(self) -> u32 {
        u32::from(self.instance) << 16 | self.family as u32
    }

    /// What was packed. Of anything else: some key.
    #[inline(always)]
    pub(crate) fn unpacked(packed: u32) -> TableKey {
        let family = if packed & 0xffff == AddressFamily::Inet6 as u32 {
            AddressFamily::Inet6
        } else {
            AddressFamily::Inet
        };
        TableKey { instance: (packed >> 16) as u16, family }
    }
}

/// What a slot of the registry says about its entity. A copy that is going to be thrown away may hold
/// anything.
#[derive(Clone, Copy)]
pub(crate) struct EntityPlain {
    place: u32,
    pub(crate) id: u64,
}

impl EntityPlain {
    /// With client code `code` is attached to the slot; if `charged`, a credit was taken.
    #[inline(always)]
    pub(crate) fn new(info: EntityInfo, deferred: bool, code: bool, charged: Charged) -> Self {
        let flag = |set, flag| if set { flag } else { 0 };
        let flags = flag(deferred, DEFERRED) | flag(code, CODE) | flag(charged, CHARGED);
        EntityPlain { place: info.table.packed() | flags, id: info.id }
    }

    #[inline(always)]
    pub(crate) fn table(self) -> TableKey {
        TableKey::unpacked(self.packed_table())
    }

    #[inline(always)]
    pub(crate) fn packed_table(self) -> u32 {
        self.place & !(DEFERRED | CODE | CHARGED)
    }

    #[inline(always)]
    pub(crate) fn info(self) -> EntityInfo {
        EntityInfo { table: self.table(), id: self.id }
    }

    /// Only those who ask for it drop the payload.
    #[inline(always)]
    pub(crate) fn deferred(self) -> bool {
        self.place & DEFERRED != 0
    }

    /// It has client code, attached to its slot.
    #[inline(always)]
    pub(crate) fn code(self) -> bool {
        self.place & CODE != 0
    }

    /// A credit was taken for it.
    #[inline(always)]
    pub(crate) fn charged(self) -> Charged {
        self.place & CHARGED != 0
    }
}

// SAFETY: all bytes zero is the default: three zero atomics.
unsafe impl Fixed for EntityFixed {
    type Plain = EntityPlain;
    type Attachment = Code;

    #[inline(always)]
    fn read(&self) -> EntityPlain {
        EntityPlain { place: self.place.load(Ordering::Relaxed), id: self.id() }
    }

    #[inline(always)]
    fn write(&self, plain: EntityPlain) {
        self.place.store(plain.place, Ordering::Relaxed);
        self.id_low.store(plain.id as u32, Ordering::Relaxed);
        self.id_high.store((plain.id >> 32) as u32, Ordering::Relaxed);
    }
}
