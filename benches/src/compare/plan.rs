//! What a run measures of which table, how often, and in which order.

use super::measure::{Effort, Random, measure};
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
            Part::Growth => growth::measure(count, effort),
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
/// In a quick run the first two alone. A guard of theirs can be held while others write (scc would take minutes; a writer of liburcu's waits for
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

/// How often times of so many entities are measured: in a launch all tables are filled and aged anew, and in
/// each of its rounds each has a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Often {
    pub(super) count: usize,
    launches: u64,
    rounds: u64,
}

/// Of a thousand, launching costs little; of a million, most.
const QUICK: [Often; 2] = [
    Often { count: 1_000, launches: 6, rounds: 1 },
    Often { count: 1_000_000, launches: 1, rounds: 4 },
];
const FULL: [Often; 2] = [
    Often { count: 1_000, launches: 11, rounds: 1 },
    Often { count: 1_000_000, launches: 2, rounds: 7 },
];

impl Often {
    pub(super) fn all_rounds(self) -> u64 {
        self.launches * self.rounds
    }
}

/// For each size.
pub(super) fn often(options: &Options) -> Vec<Often> {
    let all = if options.quick { QUICK } else { FULL };
    let all = all.into_iter().filter(|often| !options.small || often.count == 1_000);
    all.map(|often| Often { launches: options.launches.unwrap_or(often.launches), ..often })
        .collect()
}

/// All tables with so many entities at once.
pub(super) struct Launch {
    pub(super) count: usize,
    /// From 0 on, of this size.
    pub(super) number: u64,
    pub(super) rounds: u64,
}

/// One after another. Those of each size are spread over the whole time, since a slow phase of the machine
/// may last as long as several of them.
pub(super) fn launches(options: &Options) -> Vec<Launch> {
    let all = often(options).into_iter().flat_map(|Often { count, launches, rounds }| {
        (0..launches).map(move |number| {
            let place = (number as f64 + 0.5) / launches as f64;
            (place, Launch { count, number, rounds })
        })
    });
    let mut all: Vec<_> = all.collect();
    all.sort_by(|(one, _), (other, _)| one.total_cmp(other));
    all.into_iter().map(|(_, launch)| launch).collect()
}

/// The order of a round: the tables, then the calls, which are compared with each other; both shuffled, in
/// each round otherwise, so that none always comes behind the same.
pub(super) fn order(tables: usize, all: usize, round: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..all).collect();
    let mut random = Random::new(round + 1);
    random.shuffle(&mut order[..tables]);
    random.shuffle(&mut order[tables..]);
    order
}

/// How many entities times are measured with.
pub(super) fn sizes(options: &Options) -> Vec<usize> {
    often(options).into_iter().map(|often| often.count).collect()
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

/// What is no matter of nanoseconds, or takes its own turns, is measured once.
pub(super) fn once(options: &Options) -> Vec<Job> {
    let tables = || TABLES.iter().map(|(name, traits, _)| (*name, traits));
    let mut jobs = Vec::new();
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
    several(Part::Stuck, 1_000, quick(STUCK, 2));
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
    use std::collections::BTreeSet;

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

    #[test]
    fn nobody_always_comes_behind_the_same() {
        let (tables, all) = (TABLES.len(), TABLES.len() + 3);
        let orders: Vec<_> = (0..5).map(|round| order(tables, all, round)).collect();
        for order in &orders {
            assert_eq!(order.iter().collect::<BTreeSet<_>>().len(), all);
            assert!(order[..tables].iter().all(|place| *place < tables));
        }
        for place in 0..all {
            let before = |order: &Vec<usize>| {
                let at = order.iter().position(|known| *known == place)?;
                at.checked_sub(1).map(|before| order[before])
            };
            let all: BTreeSet<_> = orders.iter().map(before).collect();
            assert!(all.len() > 1, "{place} always comes behind {all:?}");
        }
    }

    #[test]
    fn sizes_are_spread_over_a_run() {
        let options = Options { quick: true, ..Options::default() };
        let all = launches(&options);
        let large = all.iter().position(|launch| launch.count == 1_000_000);
        assert_eq!((all.len(), large), (7, Some(3)));
        let one = Options { launches: Some(1), small: true, ..options };
        assert_eq!(launches(&one).len(), 1);
        for often in often(&Options::default()) {
            assert!(often.all_rounds() >= 11);
        }
    }
}
