//! Figures that a user can read at any time.

/// What a registry holds and has done. Counts of entities unless said otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Statistics {
    /// Registered now.
    pub live: u64,
    /// Deregistered, and described to holders of counted references still.
    pub referenced: u64,
    /// Deregistered, payload not dropped yet. Never too few; one that another thread hands over just now may
    /// count twice.
    pub retired: u64,
    /// The most that `retired` has been, as seen when magazines were sealed.
    pub retired_peak: u64,
    /// Payloads dropped after their grace period.
    pub reclaimed: u64,
    /// Registrations so far.
    pub registered: u64,
    /// Deregistrations so far.
    pub deregistered: u64,
    /// Slots whose generations are used up; never used again.
    pub exhausted_slots: u64,
    /// Chunks of slots.
    pub chunks: u64,
    /// Bytes of chunks, indexes and journals.
    pub bytes: u64,
    /// Bytes of the buckets of the id indexes alone.
    pub index_bytes: u64,
    /// Tables (instance and family).
    pub tables: u64,
    /// Instances.
    pub instances: u64,
    /// Places for members, one for each thread or reader that is or has been one.
    pub members: u64,
    /// Members inside a read section.
    pub inside: u64,
    /// Entities that are told events.
    pub listeners: u64,
    /// Events handed out so far.
    pub events: u64,
    /// Those of them that said that some were missed.
    pub missed: u64,
}
