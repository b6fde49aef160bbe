//! Reclaiming, as a registry does it: what is dropped when, and who waits for it.
//!
//! *Drops of payloads* run in threads that register or deregister, for slots that they retired
//! themselves; in `collect` and `flush`, for everybody's; deferred payloads only there. Never in a
//! thread that only reads, never while we are inside a section of our own, never nested in another drop
//! of the same member.
//!
//! *The backlog's limit* is looked at by each registration, but for a member that has found less than half of
//! it: until it seals, needs new slots, or frees one that references have kept.
//!
//! *Progress.* Lock-free, apart from the drops; `synchronize` and flushing block for readers.

use crate::alloc::OutOfMemory;
use crate::code;
use crate::error::WaitError;
use crate::handle::Config;
use crate::member::{self, Member};
use crate::participant::Flushing;
use crate::reclamation::Local;
use crate::registry::Registry;
use crate::slab::Sharded;
use crate::sync::{Ordering, thread_token};

impl<T: Send + Sync, C: Config> Registry<T, C> {
    /// Drops what this member retired long enough ago.
    pub(crate) fn process_own(&self, local: &Local<Member>) {
        let record = local.record();
        if local.shared().has_ripe(&record.sealed) && !record.is_dropping() {
            record.waiting.store(0, Ordering::Relaxed);
            self.slab.process_ripe(local, record);
        }
    }

    /// Whether no more entities wait for their grace period than the limit allows, after reclaiming if need be.
    #[cold]
    pub(crate) fn finds_room(&self, local: &Local<Member>, limit: u64) -> bool {
        let record = local.record();
        let waiting = || local.shared().backlog() + record.state.shard().unsealed();
        if waiting() > limit {
            self.collect_as(local);
            if waiting() > limit {
                return false;
            }
        }
        // Far below a large limit the next look can wait until this member seals or needs new slots.
        if limit / 2 >= u64::from(8 * C::MAGAZINE).max(waiting()) {
            record.roomy.store(limit, Ordering::Relaxed);
        }
        true
    }

    /// Returns when every read section that was open at the call has ended. (A section that is
    /// entered during the call may delay it further: crossbeam's epochs.)
    ///
    /// Blocks.
    ///
    /// # Errors
    /// [`WaitError`]: called where it would never return.
    pub fn synchronize(&self) -> Result<(), WaitError> {
        self.ambient(|local| self.synchronize_as(local)).unwrap_or(Err(WaitError::OutOfMemory))
    }

    pub(crate) fn synchronize_as(&self, local: &Local<Member>) -> Result<(), WaitError> {
        self.may_wait_as(local)?;
        local.synchronize()
    }

    pub(crate) fn may_wait_as(&self, local: &Local<Member>) -> Result<(), WaitError> {
        local.record().state.frames.adopt();
        if code::has_frame(local.shared(), thread_token(), |_| true) {
            return Err(WaitError::InsideClientCode);
        }
        local.shared().may_wait()
    }

    /// Returns when every payload whose deregistration returned before the call has been dropped, by this
    /// thread or another, and thus every read section ended that could have seen one of them.
    ///
    /// Blocks. A payload's drop that panics panics here; call again for the rest.
    ///
    /// # Errors
    /// [`WaitError`]: called where it would never return.
    pub fn flush(&self) -> Result<(), WaitError> {
        let local = member::ambient(&self.domain).map_err(|OutOfMemory| WaitError::OutOfMemory)?;
        let mut flushing = self.begin_flush_as(&local)?;
        while let Some(payload) = flushing.next_departed() {
            drop(payload);
        }
        Ok(())
    }

    pub(crate) fn begin_flush_as<'a>(
        &'a self,
        local: &'a Local<Member>,
    ) -> Result<Flushing<'a, T, C>, WaitError> {
        self.may_wait_as(local)?;
        let no_memory = |OutOfMemory| WaitError::OutOfMemory;
        self.slab.seal_all(local).map_err(no_memory)?;
        local.step().map_err(no_memory)?;
        Ok(Flushing::new(self, local))
    }

    /// Drops whatever is due, of all threads, without waiting for anybody. Says how many departed
    /// entities still wait.
    ///
    /// Inside a payload's drop it drops nothing. Lock-free, apart from the drops.
    pub fn collect(&self) -> u64 {
        self.ambient(|local| {
            self.collect_as(local);
            let mut departed = self.departed_as(local);
            while let Some(payload) = departed.next_departed() {
                drop(payload);
            }
        })
        .ok();
        self.retired()
    }

    /// Gives the memory of entities that have gone back to the system, and says how many bytes.
    ///
    /// For the time after a peak: of blocks of 64 slots none of which is in use, in huge pages that are not
    /// mostly in use. (One that does not go whole is split, and the entities in it are found more slowly,
    /// until it is mostly in use at a later trim.) Not in use is what neither waits for readers, so
    /// [`flush`](Self::flush) first, nor is at hand of another thread for its next registrations; some
    /// hundred slots for each, each of which keeps its block. Handles of before stay stale, and the slots
    /// serve again when they are needed; 16 bytes for each stay, which keep that so (8 without an index; 8
    /// more if entities had client code).
    ///
    /// 0 where memory is locked (`mlockall`), for from such a process the system takes nothing back, and
    /// while another thread is inside this call.
    ///
    /// Lock-free; walks over all slots. It leaves at least half of what is vacant to others all the time; a
    /// registration that finds none adds to the table, or is refused if that is full.
    ///
    /// # Errors
    /// [`OutOfMemory`]: nothing was given back.
    pub fn trim(&self) -> Result<usize, OutOfMemory> {
        self.ambient(|local| self.slab.trim(local))?
    }

    /// Seals what is retired, pushes the epoch on, processes what is ripe of everybody.
    pub(crate) fn collect_as(&self, local: &Local<Member>) {
        // Without memory for a batch its list waits for another time.
        let _ = self.slab.seal_all(local);
        // Two steps are a grace period, and the one that is under way may be too early.
        for _ in 0..4 {
            // Without memory, another time.
            let _ = local.step();
        }
        self.process_all(local);
    }

    pub(crate) fn process_all(&self, local: &Local<Member>) {
        if local.record().is_dropping() {
            return;
        }
        for record in local.shared().records() {
            self.slab.process_ripe(local, record);
        }
    }
}
