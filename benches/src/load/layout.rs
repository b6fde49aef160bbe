//! What the workers share, laid out as `c/load.h` says.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Kinds of operation, in the order of the C workers.
pub(crate) const KINDS: [&str; 20] = [
    "lookup, own section",
    "lookup, held section",
    "lookup, batch of 64",
    "plain info copy",
    "stale handle refused",
    "register",
    "deregister",
    "enumerate, per entity",
    "invoke a method",
    "block and resume",
    "deregister a callee",
    "event, own thread",
    "event, library's thread",
    "register, all told",
    "reference and release",
    "section with naps",
    "a thread's life",
    "synchronize",
    "flush",
    "set limits",
];
pub(crate) const LOOKUP: usize = 0;
pub(crate) const HELD: usize = 1;
pub(crate) const BATCH: usize = 2;
pub(crate) const INFO: usize = 3;
pub(crate) const STALE: usize = 4;
pub(crate) const REGISTER: usize = 5;
pub(crate) const DEREGISTER: usize = 6;
pub(crate) const ENUMERATE: usize = 7;
pub(crate) const INVOKE: usize = 8;
pub(crate) const BLOCK: usize = 9;
pub(crate) const RUNDOWN: usize = 10;
pub(crate) const TOLD_QUEUE: usize = 11;
pub(crate) const TOLD_POOL: usize = 12;
pub(crate) const WAKE: usize = 13;
/// The first kind of those that only a soak has.
pub(crate) const REFER: usize = 14;

pub(crate) const STEPS: usize = 16;
pub(crate) const BUCKETS: usize = 40 * STEPS;
/// One entity of this many is never deregistered, so that enumerations can be checked (two
/// neighbours, one of each family).
pub(crate) const PERMANENT_STRIDE: u32 = 16;
/// Stale handles kept.
pub(crate) const STALE_KEPT: u32 = 1 << 16;

/// Who an entity is. Entities 2k and 2k + 1 are one AS in both families.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Identity {
    pub(crate) instance: u16,
    pub(crate) family: u16,
    pub(crate) asn: u32,
    pub(crate) prefixes: u32,
}

/// What a listener has been told.
#[derive(Default)]
#[repr(C, align(64))]
pub(crate) struct Tally {
    pub(crate) told: AtomicU64,
    pub(crate) missed: AtomicU64,
    pub(crate) rounds: AtomicU64,
}

/// What the workers share, as C sees it.
#[repr(C)]
pub(crate) struct Shared {
    pub(crate) identities: *const Identity,
    pub(crate) handles: *const AtomicU64,
    pub(crate) stale: *const AtomicU64,
    pub(crate) gates: *const AtomicU64,
    /// For the C workers.
    pub(crate) contexts: *const AtomicU64,
    pub(crate) by_asn: *const u32,
    pub(crate) tallies: *const Tally,
    pub(crate) entities: u32,
    pub(crate) permanent_stride: u32,
    pub(crate) stale_mask: u32,
    pub(crate) stop: AtomicU32,
    pub(crate) quiet: AtomicU32,
    pub(crate) settled: AtomicU32,
    pub(crate) first_instance: u32,
    pub(crate) by_asn_bits: u32,
    pub(crate) listeners: u32,
    pub(crate) invokers: u32,
    pub(crate) journal: u64,
    pub(crate) stale_count: AtomicU64,
    pub(crate) cleaned: AtomicU64,
    pub(crate) timer_ns: u64,
    pub(crate) patience_ns: u64,
    pub(crate) violated: AtomicU32,
    pub(crate) violation: std::cell::UnsafeCell<[u8; 252]>,
}

// SAFETY: shared through atomics; `violation` is written once, before `violated` is released.
unsafe impl Sync for Shared {}
// SAFETY: as above.
unsafe impl Send for Shared {}

impl Shared {
    /// What was wrong first, if anything was.
    pub(crate) fn violation(&self) -> Option<String> {
        // Acquire: partner is the store of 2 behind the text, here and in `c/load.c`.
        (self.violated.load(Ordering::Acquire) == 2).then(|| {
            // SAFETY: written once, before the store that was seen.
            let text = unsafe { &*self.violation.get() };
            let end = text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
            String::from_utf8_lossy(&text[..end]).into_owned()
        })
    }
}

/// One thread's counts, as C sees them.
#[repr(C)]
pub(crate) struct Worker {
    pub(crate) shared: *const Shared,
    pub(crate) random: u64,
    pub(crate) id: u32,
    padding: u32,
    pub(crate) operations: [AtomicU64; KINDS.len()],
    pub(crate) block_ns: [u64; KINDS.len()],
    pub(crate) block_ops: [u64; KINDS.len()],
    pub(crate) max_ns: [u64; KINDS.len()],
    pub(crate) created: u64,
    pub(crate) refused: u64,
    pub(crate) histogram: [[u64; BUCKETS]; KINDS.len()],
}

// SAFETY: a worker is used by its thread; others read `operations` only.
unsafe impl Send for Worker {}
// SAFETY: as above.
unsafe impl Sync for Worker {}

impl Worker {
    pub(crate) fn new(shared: &Shared, id: u32, seed: u64) -> Box<Worker> {
        // The histogram is too large for the stack.
        let worker = Box::<Worker>::new_zeroed();
        // SAFETY: all fields are numbers, atomics of numbers and a pointer that may be null.
        let mut worker = unsafe { worker.assume_init() };
        worker.shared = shared;
        worker.id = id;
        worker.random = (seed ^ u64::from(id + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)).max(1);
        worker
    }
}

/// Where each AS of the first instance stands: a hash table with linear probing of `index / 2 + 1`, and
/// the binary logarithm of its length.
pub(crate) fn by_asn(identities: &[Identity]) -> (Vec<u32>, u32) {
    let first = identities.iter().take_while(|identity| identity.instance == 0);
    let half = first.clone().count() / 2;
    let bits = (2 * half.max(1)).next_power_of_two().ilog2().max(1);
    let mut table = vec![0; 1 << bits];
    for (index, identity) in first.step_by(2).enumerate() {
        let mut at = identity.asn.wrapping_mul(0x9e37_79b9) >> (32 - bits);
        while table[at as usize] != 0 {
            at = (at + 1) & ((1 << bits) - 1);
        }
        table[at as usize] = index as u32 + 1;
    }
    (table, bits)
}
