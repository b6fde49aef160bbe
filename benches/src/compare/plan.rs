//! What a run measures of which table, and in which order.

use super::measure::{Effort, measure};
use super::table::Table;
use super::{HANDLES_ONLY, Options, RTM, TABLES};
use super::{calls, growth, memory, scaling};

/// What one process measures of one table, or of the calls in one way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Times,
    Calls,
    Memory,
    Churn,
    Stuck,
    Threads,
    Crowd,
    Idle,
    Growth,
}

const PARTS: [(Part, &str); 9] = [
    (Part::Times, "times"),
    (Part::Calls, "calls"),
    (Part::Memory, "memory"),
    (Part::Churn, "churn"),
    (Part::Stuck, "stuck"),
    (Part::Threads, "threads"),
    (Part::Crowd, "crowd"),
    (Part::Idle, "idle"),
    (Part::Growth, "growth"),
];

impl Part {
    pub(super) fn name(self) -> &'static str {
        PARTS.iter().find(|(part, _)| *part == self).map_or("", |(_, name)| name)
    }

    pub(super) fn named(name: &str) -> Option<Part> {
        PARTS.iter().find(|(_, known)| *known == name).map(|(part, _)| *part)
    }

    /// The others are measured in the first launch alone.
    pub(super) fn is_in_each_launch(self) -> bool {
        [Part::Times, Part::Calls].contains(&self)
    }

    pub(super) fn measure<T: Table>(self, count: usize, effort: Effort) {
        match self {
            Part::Times => measure::<T>(count, effort),
            Part::Calls => calls::measure(count, effort),
            Part::Memory => memory::grown::<T>(count),
            Part::Churn => memory::churned::<T>(count, effort),
            Part::Stuck => memory::stuck::<T>(count),
            Part::Threads => scaling::threads::<T>(count, effort),
            Part::Crowd => scaling::crowd::<T>(count, effort),
            Part::Idle => scaling::idle::<T>(count, effort),
            Part::Growth => growth::measure(count),
        }
    }
}

/// A process to run.
pub(super) type Job = (Part, usize, &'static str);

/// Their memory under churn, in a quick run the first two alone.
pub(super) const CHURNED: &[&str] = &[
    RTM,
    "concurrent-slotmap",
    "sharded-slab, dashmap of ids",
    "papaya",
    #[cfg(feature = "c-peers")]
    "liburcu lfht, memb",
    #[cfg(feature = "c-peers")]
    "liburcu lfht, qsbr",
    #[cfg(feature = "c-peers")]
    "ConcurrencyKit ck_hs",
    #[cfg(feature = "c-peers")]
    "oneTBB concurrent_hash_map",
];
/// A guard of theirs can be held while others write (scc would take minutes; a writer of liburcu's waits for
/// the reader; oneTBB has no guard).
pub(super) const STUCK: &[&str] = &[
    RTM,
    "concurrent-slotmap",
    "idr-ebr",
    "papaya",
    #[cfg(feature = "c-peers")]
    "ConcurrencyKit ck_hs",
];
/// With many threads, in a quick run the first three alone (a crowd with the first).
pub(super) const SCALED: &[&str] = &[
    RTM,
    "concurrent-slotmap",
    "RwLock + slotmap",
    HANDLES_ONLY,
    "dashmap",
    "papaya",
    #[cfg(feature = "c-peers")]
    "liburcu lfht, memb",
    #[cfg(feature = "c-peers")]
    "liburcu lfht, qsbr",
    #[cfg(feature = "c-peers")]
    "ConcurrencyKit ck_hs",
    #[cfg(feature = "c-peers")]
    "oneTBB concurrent_hash_map",
];

/// How many entities times are measured with.
pub(super) fn sizes(options: &Options) -> &'static [usize] {
    if options.small { &[1_000] } else { &[1_000, 1_000_000] }
}

/// The sizes that memory is weighed at.
pub(super) fn weighed(options: &Options) -> &'static [usize] {
    match (options.small, options.quick) {
        (true, _) => &[1_000],
        (false, true) => &[1_000, 100_000, 1_000_000],
        (false, false) => &[1_000, 100_000, 1_000_000, 10_000_000],
    }
}

/// Up to how many entities registering is timed one by one.
pub(super) fn grown(options: &Options) -> &'static [usize] {
    match (options.small, options.quick) {
        (true, _) => &growth::SIZES[..1],
        (false, true) => &growth::SIZES[1..2],
        (false, false) => &growth::SIZES[1..],
    }
}

/// How many entities are there while some are churned.
pub(super) fn churned(options: &Options) -> usize {
    if options.small { 1_000 } else { 100_000 }
}

/// The jobs of a launch, with the calls from C in these ways. What is no matter of nanoseconds is measured in
/// the first alone.
pub(super) fn launch(options: &Options, number: u64, ways: &[&'static str]) -> Vec<Job> {
    let tables = || TABLES.iter().map(|(name, traits, _)| (*name, traits));
    let mut jobs = Vec::new();
    for count in sizes(options) {
        jobs.extend(tables().map(|(name, _)| (Part::Times, *count, name)));
        // The calls are compared with each other, by gates with little room: several times if there is one
        // launch.
        for _ in 0..if options.launches() == 1 { 3 } else { 1 } {
            jobs.push((Part::Calls, *count, calls::INLINED));
            jobs.extend(ways.iter().map(|name| (Part::Calls, *count, *name)));
        }
    }
    if number != 0 {
        return jobs;
    }
    for count in weighed(options) {
        // In a quick run the peers are weighed once.
        let all = !options.quick || options.small || *count == 100_000;
        let chosen = tables().filter(|(name, traits)| traits.churns && (all || *name == RTM));
        jobs.extend(chosen.map(|(name, _)| (Part::Memory, *count, name)));
    }
    let mut several = |part, count, names: &[&'static str]| {
        jobs.extend(names.iter().map(|name| (part, count, *name)));
    };
    let quick = |names: &'static [&'static str], first| match options.quick {
        true => &names[..first],
        false => names,
    };
    several(Part::Churn, churned(options), quick(CHURNED, 2));
    several(Part::Stuck, 1_000, STUCK);
    several(Part::Threads, 1_000, quick(SCALED, 3));
    several(Part::Crowd, 1_000, quick(SCALED, 1));
    several(Part::Idle, 1_000, quick(SCALED, 3));
    grown(options).iter().for_each(|count| several(Part::Growth, *count, &[RTM]));
    jobs
}

#[cfg(test)]
mod tests {
    use super::super::{FLOOR, peers};
    use super::*;

    #[test]
    fn names_are_known() {
        for name in CHURNED.iter().chain(STUCK).chain(SCALED) {
            assert!(TABLES.iter().any(|(known, ..)| known == name), "{name}");
        }
        for (part, name) in PARTS {
            assert_eq!((part.name(), Part::named(name)), (name, Some(part)));
        }
    }

    #[test]
    fn what_is_ours_is_no_peer() {
        let known: Vec<_> = peers().map(|(name, ..)| *name).collect();
        assert_eq!(known.len() + 3, TABLES.len());
        assert!([RTM, HANDLES_ONLY, FLOOR].iter().all(|ours| !known.contains(ours)));
    }
}
