//! What the integration tests share.
#![allow(dead_code, unreachable_pub)]

use rtm_core::{AddressFamily, Config, EntityInfo, TableKey};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Everything as small as it gets, so that growth, wrap-around and exhaustion happen at once.
pub struct Tiny;

impl Config for Tiny {
    const GENERATION_BITS: u32 = 2;
    const CHUNK_BITS: u32 = 1;
    const SLOT_BITS: u32 = 10;
    const MAGAZINE: u32 = 2;
    const INDEX_LEVEL: u32 = 0;
    const INDEX_SAMPLE: u32 = 0;
    const CREDIT_BATCH: i64 = 2;
}

/// Full generations, everything else small.
pub struct Small;

impl Config for Small {
    const GENERATION_BITS: u32 = 32;
    const CHUNK_BITS: u32 = 3;
    const SLOT_BITS: u32 = 15;
    const MAGAZINE: u32 = 4;
    const INDEX_LEVEL: u32 = 2;
    const INDEX_SAMPLE: u32 = 2;
    const CREDIT_BATCH: i64 = 4;
}

pub const V4: TableKey = TableKey { instance: 0, family: AddressFamily::Inet };
pub const V6: TableKey = TableKey { instance: 0, family: AddressFamily::Inet6 };

pub fn entity(table: TableKey, id: u64) -> EntityInfo {
    EntityInfo { table, id }
}

/// A payload that knows whether it lives, and counts drops.
pub struct Tracked<'a> {
    pub id: u64,
    alive: u64,
    drops: &'a AtomicUsize,
}

const ALIVE: u64 = 0x5afe_5afe_5afe_5afe;

impl<'a> Tracked<'a> {
    pub fn new(id: u64, drops: &'a AtomicUsize) -> Self {
        Tracked { id, alive: ALIVE, drops }
    }

    pub fn check(&self, id: u64) {
        assert_eq!(self.alive, ALIVE, "a payload was read after its drop");
        assert_eq!(self.id, id, "a handle led to another entity");
    }
}

impl Drop for Tracked<'_> {
    fn drop(&mut self) {
        assert_eq!(self.alive, ALIVE, "a payload was dropped twice");
        self.alive = 0xdead;
        self.drops.fetch_add(1, Ordering::Relaxed);
    }
}

/// A small generator of random numbers (xorshift).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub fn shuffle<T>(&mut self, all: &mut [T]) {
        for last in (1..all.len()).rev() {
            all.swap(last, self.below(last as u64 + 1) as usize);
        }
    }
}
