//! What we hold ourselves to, and whether a run says so.

use super::ours::backlog;
use super::peers::ShardedSlab;
use super::scaling::{ALONE, CROWD};
use super::table::Table;
use super::{FLOOR, Figure, Figures, HANDLES_ONLY, RTM, calls, growth, peers};
use crate::counts::committed::{self, Entry, Key, What};
use std::fmt;

/// Operations of ours alone.
pub(super) const OURS: [&str; 10] = [
    "info",
    "batch",
    "stale, info",
    "tail p50",
    "tail p99",
    "tail p99.9",
    "tail max",
    "tail, info p50",
    "tail, info p99",
    "tail, info p99.9",
];

/// A figure that must not be above a limit.
pub(super) struct Gate {
    pub(super) what: String,
    pub(super) figure: f64,
    pub(super) limit: f64,
    /// By how much it may be above because of what the rounds lie apart, as a share of the limit.
    noise: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Met,
    WithinNoise,
    Missed,
}

impl Gate {
    pub(super) fn verdict(&self) -> Verdict {
        match self.figure <= self.limit {
            true => Verdict::Met,
            false if !self.is_missed() => Verdict::WithinNoise,
            false => Verdict::Missed,
        }
    }

    pub(super) fn is_missed(&self) -> bool {
        self.figure > self.limit * (1.0 + self.noise)
    }
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match self.verdict() {
            Verdict::Met => "met",
            Verdict::WithinNoise => "met within noise",
            Verdict::Missed => "MISSED",
        };
        let Gate { what, figure, limit, .. } = self;
        write!(f, "{verdict:17} {figure:8.2} against {limit:8.2}  {what}")
    }
}

/// Ours over the best peer that refuses stale keys: over the one against which it is worst, round by round.
/// With or without an index of ids.
fn over_best(
    figures: &Figures,
    count: usize,
    ours: &Figure,
    operation: &str,
    indexed: bool,
) -> Option<Figure> {
    let peers = peers().filter(|(_, traits, _)| traits.indexed == indexed);
    let right = peers.filter(|(name, ..)| {
        figures.get(count, "stale accepted", name).is_none_or(|wrong| wrong.value == 0.0)
    });
    let all = right.filter_map(|(name, ..)| figures.get(count, operation, name));
    all.map(|peer| ours.over(peer)).max_by(|one, other| one.value.total_cmp(&other.value))
}

/// The most that noise excuses.
const MOST_NOISE: f64 = 0.3;

/// All gates that were measured.
pub(super) fn judge(figures: &Figures, sizes: &[usize]) -> Vec<Gate> {
    let mut gates = Vec::new();
    let mut gate = |count: usize, what: &str, figure: Option<Figure>, limit| {
        let Some(Figure { value: figure, spread, .. }) = figure else { return };
        let what = format!("{what}; {count} entities");
        gates.push(Gate { what, figure, limit, noise: spread.min(MOST_NOISE) });
    };
    let over = |ours: Option<&Figure>, other: Option<&Figure>| Some(ours?.over(other?));
    for count in sizes.iter().copied() {
        let large = count >= 1_000_000;
        let ours = |operation: &str| figures.get(count, operation, RTM);
        let floor = figures.get(count, "look up", FLOOR);
        let best =
            |own: &str, operation: &str| over_best(figures, count, ours(own)?, operation, false);
        let mut gate = |what: &str, figure, limit| gate(count, what, figure, limit);
        let limit = if large { 2.8 } else { 3.5 };
        gate("info over the floor", over(ours("info"), floor), limit);
        let limit = if large { 1.0 / 1.6 } else { 1.0 / 2.5 };
        gate("info over the best peer's look-up", best("info", "look up"), limit);
        gate("look-up over the best peer's", best("look up", "look up"), 1.0);
        let held = "look up, held";
        gate("held look-up over the best peer's", best(held, held), 1.1);
        if large {
            gate("batch over the floor", over(ours("batch"), floor), 1.3);
        }
        gate("stale refused over the best peer's", best("stale, info", "stale"), 0.5);
        for operation in ["pair, hot", "pair, random"] {
            let what = format!("{operation} over the best peer with an index of ids");
            let indexed = |ours| over_best(figures, count, ours, operation, true);
            gate(&what, ours(operation).and_then(indexed), 1.0);
        }
        for operation in ["two churners", "churner beside reader"] {
            let what = format!("{operation}, without an index of ids, over sharded-slab's");
            let [ours, other] =
                [HANDLES_ONLY, ShardedSlab::NAME].map(|name| figures.get(count, operation, name));
            gate(&what, over(ours, other), 0.8);
        }
        for (operation, what, limit) in [
            (calls::GET_INFO, "RtmGetEntityInfo, shared library, over two inlined look-ups", 2.6),
            (calls::BATCH, "RtmxGetContexts of 1,000, shared library, over the inlined", 1.2),
        ] {
            let way = |way| figures.get(count, operation, way);
            gate(what, over(way(calls::SHARED), way(calls::INLINED)), limit);
        }
        if large {
            for (name, operation, what, limit) in [
                (HANDLES_ONLY, "bytes", "at rest, without an index of ids", 8.0),
                (RTM, "bytes", "at rest, with the index", 40.0),
                (RTM, "bytes, most while growing", "while it grows", 90.0),
            ] {
                let above = figures.get(count, operation, name);
                let above = above.map(|bytes| bytes.map(|bytes| bytes - 128.0));
                gate(&format!("bytes above an entity's 128 {what}"), above, limit);
            }
        } else {
            let what = "departures that wait for a stuck reader when registration is refused, over the limit";
            let pairs = ours("stuck reader, pairs");
            gate(what, pairs.map(|pairs| pairs.map(|pairs| pairs / backlog() as f64)), 1.001);
            let info = ours("tail, info p99.9").cloned();
            gate("p99.9 of info beside a churner, ns", info, 200.0);
            let guard = ours("tail p99.9").cloned();
            gate("p99.9 under a guard beside a churner, ns", guard, 1000.0);
            for mix in ALONE {
                let [few, many] = CROWD;
                let what = format!("{}, {few} threads over {many}", mix.name);
                gate(&what, over(ours(&mix.row(few)), ours(&mix.row(many))), 2.0);
            }
        }
    }
    for count in growth::SIZES {
        let slow = |load| figures.get(count, &format!("{load} p99.99"), RTM);
        // Nothing is faster than nothing.
        let least = [growth::LARGE, growth::NOTHING].into_iter().filter_map(slow);
        let least = least.max_by(|a, b| a.value.total_cmp(&b.value));
        for load in [growth::GROWING, growth::NEW] {
            let what = format!("p99.99, {load} over large index, or nothing if that is slower");
            gate(count, &what, over(slow(load), least), 2.0);
        }
    }
    gates.extend(simulated());
    gates
}

/// Gates on coherence events, which `rtm-counts` finds: with the figures that are committed.
fn simulated() -> impl Iterator<Item = Gate> {
    let committed = committed::built_in();
    committed::GATES.into_iter().filter_map(move |(operation, threads, limit)| {
        let is_it = |entry: &&Entry| {
            let Key { what, operation: of, at } = &entry.key;
            (*what, &**of, *at) == (What::Events, operation, threads)
        };
        let figure = committed.iter().find(is_it)?.figure;
        let what = format!(
            "coherence events, {operation}; {threads} threads, simulated, last deterministic run"
        );
        Some(Gate { what, figure, limit, noise: 0.0 })
    })
}
