//! Limits and figures of a registry: set, looked at, counted.

use crate::alloc::OutOfMemory;
use crate::entity::TableKey;
use crate::handle::Config;
use crate::limits::Limits;
use crate::member::Member;
use crate::reclamation::Local;
use crate::registry::Registry;
use crate::slab::Sharded;
use crate::statistics::{MemberFigures, Statistics};
use crate::sync::Ordering;
use crate::table::Profile;
use std::sync::PoisonError;

impl<T: Send + Sync, C: Config> Registry<T, C> {
    /// The limits in force. Waits for a thread that replaces them just now.
    pub fn limits(&self) -> Limits {
        let _still = self.setting.lock().unwrap_or_else(PoisonError::into_inner);
        self.limits.all()
    }

    /// Replaces all limits at once. A limit below what there is stops additions and removes
    /// nothing. Waits for another thread that replaces them.
    ///
    /// # Errors
    /// [`OutOfMemory`], then nothing has changed.
    pub fn set_limits(&self, limits: Limits) -> Result<(), OutOfMemory> {
        self.ambient(|local| self.set_limits_as(local, limits))
    }

    pub(crate) fn set_limits_as(&self, local: &Local<Member>, limits: Limits) {
        let _alone = self.setting.lock().unwrap_or_else(PoisonError::into_inner);
        self.limits.set(limits);
        self.credits.set(local, limits.entities);
    }

    /// What every table offers.
    pub fn profile(&self) -> Profile {
        self.profile
    }

    /// Whether nothing is registered, nothing referenced, and no thread inside a section.
    pub fn is_idle(&self) -> bool {
        let now = self.counts();
        let pending = self.pending.load(Ordering::Relaxed);
        now.live == 0 && now.referenced == 0 && now.inside == 0 && pending == 0
    }

    pub(crate) fn retired(&self) -> u64 {
        let shared = self.domain.shared();
        let unsealed: u64 = shared.records().map(|record| record.state.shard().unsealed()).sum();
        shared.backlog() + unsealed + self.pending.load(Ordering::Relaxed)
    }

    /// Figures of this moment, each exact for itself, taken one after the other.
    ///
    /// Lock-free; walks all members and tables.
    pub fn statistics(&self) -> Statistics {
        let mut statistics = self.counts();
        let tables = self.tables.all();
        for table in tables.iter() {
            statistics.tables += 1;
            statistics.listeners += u64::from(table.audience.listeners());
            statistics.bytes += table.audience.bytes() as u64;
            statistics.index_bytes += table.index.bytes() as u64;
        }
        statistics.bytes += statistics.index_bytes;
        statistics.instances = tables.instances().into();
        statistics
    }

    /// What can be counted without looking into the tables.
    fn counts(&self) -> Statistics {
        let shared = self.domain.shared();
        let (chunks, bytes) = self.slab.footprint();
        let mut counts = Statistics {
            retired: self.retired(),
            reclaimed: shared.reclaimed(),
            exhausted_slots: self.slab.spent(),
            inside: shared.inside() as u64,
            chunks: chunks.into(),
            bytes: bytes as u64,
            ..Statistics::default()
        };
        counts.retired_peak = shared.peak(counts.retired);
        let mut referenced = 0_u64;
        for record in shared.records() {
            counts.deregistered += record.state.deregistered.load(Ordering::Relaxed);
            referenced = referenced.wrapping_add(record.state.shard().kept());
            counts.events += record.state.events.load(Ordering::Relaxed);
            counts.missed += record.state.missed.load(Ordering::Relaxed);
            counts.members += 1;
        }
        // After the departures, so that none is counted whose registration is not.
        for record in shared.records() {
            counts.registered += record.state.registered.load(Ordering::Relaxed);
        }
        counts.live = counts.registered.saturating_sub(counts.deregistered);
        // One member's part may be negative, and their sum for a moment too.
        counts.referenced = if referenced >> 63 == 0 { referenced } else { 0 };
        counts
    }

    /// The figures of each member: the one that was added last first. Lock-free; each figure is one of this
    /// moment.
    pub fn member_figures(&self) -> impl Iterator<Item = MemberFigures> {
        self.domain.shared().records().map(|record| {
            let (state, inside) = (&record.state, record.inside.load(Ordering::Relaxed));
            MemberFigures {
                in_use: record.owned.load(Ordering::Relaxed),
                inside: (inside != 0).then_some(inside),
                registered: state.registered.load(Ordering::Relaxed),
                deregistered: state.deregistered.load(Ordering::Relaxed),
                free: state.shard().at_hand(),
                retired: state.shard().unsealed(),
                events: state.events.load(Ordering::Relaxed),
            }
        })
    }

    /// Whether a table has been created for this key.
    pub fn has_table(&self, key: TableKey) -> bool {
        self.tables.find(key).is_some()
    }
}
