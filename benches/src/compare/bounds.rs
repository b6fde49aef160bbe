//! Bounds of throughput on more cores than this machine has: from the coherence events of an operation, which
//! `rtm-counts` finds by simulation, and the time that a cache line takes from core to core.
//!
//! If all transfers of an operation are of one line, they happen one after another, whoever asks: the machine
//! does at most one operation in that time. If each is of a line that no other thread wants at the moment,
//! every thread waits for its own alone, and the bound is as many times higher as there are threads. What is
//! true lies between the two.

use crate::counts::committed::{self, Entry, What};
use std::fmt::Write as _;

/// What a transfer takes, in ns.
const NANOS: [f64; 2] = [30.0, 50.0];

/// The events of an operation, by so many threads at once.
pub(super) struct Bound {
    pub(super) operation: String,
    pub(super) threads: usize,
    pub(super) events: f64,
}

/// Of all operations that are simulated.
pub(super) fn all() -> impl Iterator<Item = Bound> {
    let events = committed::built_in().into_iter().filter(|entry| entry.key.what == What::Events);
    events.map(|Entry { key, figure, .. }| Bound {
        operation: key.operation,
        threads: key.at,
        events: figure,
    })
}

impl Bound {
    /// The most operations in a second of all threads together, if all transfers are of one line.
    fn of_one_line(&self, nanos: f64) -> Option<f64> {
        (self.events != 0.0).then(|| 1e9 / (self.events * nanos))
    }

    /// The same, if no two threads want a line at once.
    fn of_lines_apart(&self, nanos: f64) -> Option<f64> {
        self.of_one_line(nanos).map(|most| most * self.threads as f64)
    }

    /// The cells of a row.
    pub(super) fn cells(&self) -> [String; 7] {
        let Bound { operation, threads, events } = self;
        let [one, other, apart, other_apart] = self.bounds().map(text);
        let [threads, events] = [threads.to_string(), format!("{events:.4}")];
        [operation.clone(), threads, events, one, other, apart, other_apart]
    }

    /// For each time of a transfer: of one line, then of lines apart.
    fn bounds(&self) -> [Option<f64>; 4] {
        let [short, long] = NANOS;
        let one = [short, long].map(|nanos| self.of_one_line(nanos));
        let apart = [short, long].map(|nanos| self.of_lines_apart(nanos));
        [one[0], one[1], apart[0], apart[1]]
    }
}

/// In millions, or that there is none.
fn text(most: Option<f64>) -> String {
    most.map_or("none".to_owned(), |most| format!("{:.1}", most / 1e6))
}

/// The heads of a table's columns.
pub(super) fn heads() -> [String; 7] {
    let [short, long] = NANOS.map(|nanos| format!("{nanos} ns"));
    let apart = [&short, &long].map(|nanos| format!("{nanos}, apart"));
    let [short_apart, long_apart] = apart;
    let [operation, threads, events] = ["operation", "threads", "events"].map(str::to_owned);
    [operation, threads, events, short, long, short_apart, long_apart]
}

pub(super) const NOTE: &str = "\
Coherence events of an operation (simulated, last deterministic run), and the most million
operations per second of all threads together if each event takes so long: all of one line,
or of lines that no two threads want at once.";

/// Prints them.
pub(super) fn print() {
    println!("\nscaling\n{NOTE}\n");
    let line = |cells: [String; 7]| {
        let [operation, threads, events, bounds @ ..] = cells;
        let bounds = bounds.map(|cell| format!(" {cell:>12}")).concat();
        println!("  {operation:44} {threads:>7} {events:>8}{bounds}");
    };
    line(heads());
    all().for_each(|bound| line(bound.cells()));
}

/// As JSON, one object a line.
pub(super) fn json() -> String {
    let number = |most: Option<f64>| most.map_or("null".to_owned(), |most| format!("{most:.0}"));
    let object = |bound: Bound| {
        let Bound { operation, threads, events } = &bound;
        let mut text =
            format!("{{\"operation\": {operation:?}, \"threads\": {threads}, \"events\": {events}");
        for nanos in NANOS {
            let [one, apart] = [bound.of_one_line(nanos), bound.of_lines_apart(nanos)].map(number);
            let _ = write!(
                text,
                ", \"per second at {nanos} ns\": {one}, \"per second at {nanos} ns, apart\": {apart}"
            );
        }
        text + "}"
    };
    all().map(object).collect::<Vec<_>>().join(",\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_follows_from_events() {
        let bound = |events| Bound { operation: String::new(), threads: 16, events };
        let [short, long, short_apart, long_apart] = bound(2.0).bounds().map(Option::unwrap);
        assert_eq!([short, short_apart], [1e9 / 60.0, 16e9 / 60.0]);
        assert_eq!([long, long_apart], [1e7, 16e7]);
        assert_eq!(bound(0.0).bounds(), [None; 4]);
    }

    #[test]
    fn some_have_a_bound_and_some_have_none() {
        let all: Vec<Bound> = all().collect();
        for (operation, bounded) in [("info", false), ("reference + release, one entity", true)] {
            let has = |bound: &Bound| {
                bound.operation == operation
                    && bound.threads == 64
                    && bound.bounds()[0].is_some() == bounded
            };
            assert!(all.iter().any(has), "{operation}");
        }
    }

    /// The rows of docs/scaling.md, of 16 and 64 threads: events, and the bounds from the longer to the
    /// shorter time of a transfer.
    fn rows() -> String {
        let all: Vec<Bound> = all().collect();
        let cells = |bound: &Bound| {
            let [short, long, short_apart, long_apart] = bound.bounds();
            let range = |long, short: Option<f64>| match short {
                None => text(None),
                Some(_) => format!("{}–{}", text(long), text(short)),
            };
            let [one, apart] = [range(long, short), range(long_apart, short_apart)];
            format!(" {} | {one} | {apart} |", bound.events)
        };
        let mut rows = String::new();
        for bound in all.iter().filter(|bound| bound.threads == 16) {
            let more = |other: &&Bound| other.operation == bound.operation && other.threads == 64;
            let more = all.iter().find(more).expect("64 threads");
            let _ = writeln!(rows, "| {} |{}{}", bound.operation, cells(bound), cells(more));
        }
        rows
    }

    #[test]
    fn the_document_has_the_committed_figures() {
        let text = include_str!("../../../docs/scaling.md");
        let rows = rows();
        assert!(text.contains(&rows), "docs/scaling.md should have these rows:\n{rows}");
    }
}
