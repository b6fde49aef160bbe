//! What the workers share: the run's arrays, and how they draw and count.

use crate::load::layout::{BUCKETS, Identity, STEPS, Shared, Worker};
use rtm_core::{AddressFamily, EntityInfo, TableKey};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// An element of one of the run's arrays, whose length the caller has checked.
pub(super) fn element<'a, T>(array: *const T, index: u64) -> &'a T {
    let place = array.wrapping_add(index as usize);
    // SAFETY: within the array, which outlives all workers.
    unsafe { &*place }
}

impl Shared {
    pub(super) fn violate(&self, text: String) {
        if self.violated.compare_exchange(0, 1, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            let length = text.len().min(251);
            // SAFETY: only the thread that raised `violated` writes.
            let place = unsafe { &mut *self.violation.get() };
            place[..length].copy_from_slice(&text.as_bytes()[..length]);
            self.violated.store(2, Ordering::Release);
        }
        self.stop.store(1, Ordering::Relaxed);
    }

    pub(super) fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed) != 0
    }

    pub(super) fn identity(&self, entity: u32) -> &Identity {
        assert!(entity < self.entities);
        element(self.identities, entity.into())
    }

    pub(super) fn place(&self, entity: u32) -> &AtomicU64 {
        assert!(entity < self.entities);
        element(self.handles, entity.into())
    }

    pub(super) fn stale(&self, index: u64) -> &AtomicU64 {
        assert!(index < 2 * (u64::from(self.stale_mask) + 1));
        element(self.stale, index)
    }

    pub(super) fn table(&self, entity: u32) -> TableKey {
        let identity = self.identity(entity);
        let family = AddressFamily::from_number(identity.family).expect("one of the two families");
        TableKey { instance: identity.instance, family }
    }

    pub(super) fn info(&self, entity: u32) -> EntityInfo {
        let id = u64::from(self.identity(entity).asn) << 32 | 14;
        EntityInfo { table: self.table(entity), id }
    }

    pub(super) fn gate(&self, entity: u32) -> &AtomicU64 {
        assert!(entity < self.entities);
        element(self.gates, entity.into())
    }

    pub(super) fn is_violated(&self) -> bool {
        self.violated.load(Ordering::Relaxed) != 0
    }

    /// Groups of entities of the first instance, each with one callee in each family.
    pub(super) fn callee_groups(&self) -> u32 {
        if self.invokers == 0 { 0 } else { self.first_instance / self.permanent_stride }
    }

    pub(super) fn is_callee(&self, entity: u32) -> bool {
        entity / self.permanent_stride < self.callee_groups()
            && entity % self.permanent_stride / 2 == self.permanent_stride / 4
    }

    pub(super) fn is_permanent(&self, entity: u32) -> bool {
        entity % self.permanent_stride < 2
    }
}

impl Worker {
    pub(super) fn draw(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    pub(super) fn draw_below(&mut self, bound: u32) -> u32 {
        (((self.draw() >> 32) * u64::from(bound)) >> 32) as u32
    }

    /// A callee; one of the few hot ones, or any. There are some.
    pub(super) fn draw_callee(&mut self, shared: &Shared, hot: bool) -> u32 {
        let groups = shared.callee_groups();
        let group = self.draw_below(if hot { groups.min(32) } else { groups });
        let stride = shared.permanent_stride;
        group * stride + stride / 2 + (self.draw() >> 40 & 1) as u32
    }

    pub(super) fn sample(&mut self, kind: usize, begin: Instant, shared: &Shared) {
        self.sample_ns(kind, begin.elapsed().as_nanos() as u64, shared);
    }

    pub(super) fn sample_ns(&mut self, kind: usize, ns: u64, shared: &Shared) {
        let ns = ns.saturating_sub(shared.timer_ns);
        self.max_ns[kind] = self.max_ns[kind].max(ns);
        let bucket = if ns < STEPS as u64 {
            ns as usize
        } else {
            let power = 63 - ns.leading_zeros() as usize;
            (power - 3) * STEPS + (ns >> (power - 4)) as usize % STEPS
        };
        self.histogram[kind][bucket.min(BUCKETS - 1)] += 1;
    }

    pub(super) fn count(&self, kind: usize, operations: u64) {
        let now = self.operations[kind].load(Ordering::Relaxed) + operations;
        self.operations[kind].store(now, Ordering::Relaxed);
    }

    pub(super) fn block(
        &mut self,
        kind: usize,
        operations: usize,
        begin: Instant,
        clocks: usize,
        s: &Shared,
    ) {
        let ns = begin.elapsed().as_nanos() as u64;
        self.block_ns[kind] += ns.saturating_sub(clocks as u64 * s.timer_ns);
        self.block_ops[kind] += operations as u64;
        self.count(kind, operations as u64);
    }
}
