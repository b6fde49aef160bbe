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

/// What a slot of the registry says about its entity.
#[derive(Clone, Copy)]
pub(crate) struct EntityPlain {
    pub(crate) info: EntityInfo,
    pub(crate) deferred: bool,
    /// It has client code, attached to its slot.
    pub(crate) code: bool,
    /// A credit was taken for it.
    pub(crate) charged: Charged,
}

// SAFETY: all bytes zero is the default: three zero atomics.
unsafe impl Fixed for EntityFixed {
    type Plain = EntityPlain;
    type Attachment = Code;

    #[inline(always)]
    fn read(&self) -> EntityPlain {
        let place = self.place.load(Ordering::Relaxed);
        // A copy that is going to be thrown away may hold anything, so this is total.
        let family = if place & (CHARGED - 1) == AddressFamily::Inet6 as u32 {
            AddressFamily::Inet6
        } else {
            AddressFamily::Inet
        };
        let table = TableKey { instance: (place >> 16) as u16, family };
        let info = EntityInfo { table, id: self.id() };
        EntityPlain {
            info,
            deferred: place & DEFERRED != 0,
            code: place & CODE != 0,
            charged: place & CHARGED != 0,
        }
    }

    #[inline(always)]
    fn write(&self, plain: EntityPlain) {
        let EntityPlain { info, deferred, code, charged } = plain;
        let flag = |set, flag| if set { flag } else { 0 };
        let flags = flag(deferred, DEFERRED) | flag(code, CODE) | flag(charged, CHARGED);
        let place = u32::from(info.table.instance) << 16 | flags | info.table.family as u32;
        self.place.store(place, Ordering::Relaxed);
        self.id_low.store(info.id as u32, Ordering::Relaxed);
        self.id_high.store((info.id >> 32) as u32, Ordering::Relaxed);
    }
}
