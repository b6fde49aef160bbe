//! A run as a page.

use super::layout::{KINDS, REFER, REGISTER};
use super::report::{histogram, quantile, row};
use super::{Moment, Outcome, RATES};
use crate::page::chart::{Axes, Bar, Curve, Kind, bars, curves};
use crate::page::machine::Machine;
use crate::page::{self, Markup, figure, grouped};

/// Shares of the operations that are below a figure.
const SHARES: [(&str, f64); 5] =
    [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("p99.99", 0.9999)];
/// The most points of a curve.
const POINTS: usize = 240;

/// The page.
pub(super) fn html(outcome: &Outcome) -> String {
    show(outcome, &Machine::here())
}

fn show(outcome: &Outcome, machine: &Machine) -> String {
    page::page("A load run of rtm", |out| {
        let options = &outcome.options;
        let lead = format!(
            "{} entities, read, churned and listed for {:.1} s, reached {}.",
            grouped(outcome.entities.into()),
            outcome.run_seconds,
            match options.via.name() {
                "c" => "from C over the C ABI, linked in",
                "so" => "from C over the shared library",
                _ => "from Rust, without the C ABI",
            },
        );
        out.leaf("p", &[("class", &"lead")], &lead);
        machine.list(out, &[("Threads", options.threads()), ("Seed", options.seed.to_string())]);
        checks(out, outcome);
        over_time(out, &outcome.moments);
        latencies(out, outcome);
        memory(out, outcome);
    })
}

fn checks(out: &mut Markup, outcome: &Outcome) {
    out.leaf("h2", &[], "Checks");
    let Some(violation) = &outcome.violation else {
        out.element("p", &[], |out| {
            out.leaf("span", &[("class", &"good")], "✓ passed");
            out.text(&format!(
                ": every handle led to its own entity, no stale one to any; every enumeration was complete; \
                 every event was told, once, in order; no method and no callback ran where it must not; {} \
                 contexts were cleaned up exactly once, nothing is left.",
                grouped(outcome.created)
            ));
        });
        return;
    };
    out.element("p", &[], |out| {
        out.leaf("span", &[("class", &"bad")], "✗ violated");
        out.text(&format!(": {violation}"));
    });
}

fn over_time(out: &mut Markup, moments: &[Moment]) {
    out.leaf("h2", &[], "Over time");
    let stride = moments.len().div_ceil(POINTS).max(1);
    let mean = |some: &[Moment], of: &dyn Fn(&Moment) -> f64| {
        some.iter().map(of).sum::<f64>() / some.len() as f64
    };
    let curve = |of: &dyn Fn(&Moment) -> f64| {
        let points =
            moments.chunks(stride).map(|some| [mean(some, &|one| one.seconds), mean(some, of)]);
        vec![Curve { name: String::new(), points: points.collect() }]
    };
    let axes =
        Axes { across: "seconds", places: &[], across_by_powers: false, up_by_powers: false };
    let draw = |out: &mut Markup, heading: &str, of: &dyn Fn(&Moment) -> f64| {
        let mean = format!("mean {}", figure(mean(moments, of)));
        if moments.iter().any(|moment| of(moment) > 0.0) {
            curves(out, heading, &mean, &axes, &curve(of));
        }
    };
    out.element("div", &[("class", &"charts")], |out| {
        for (kind, name) in RATES.iter().enumerate() {
            draw(out, &format!("{name}, million per second"), &|moment| moment.rates[kind]);
        }
        draw(out, "entities that wait for their grace period", &|moment| moment.retired as f64);
        draw(out, "memory of the library, MiB", &|moment| moment.bytes as f64 / f64::from(1 << 20));
        draw(out, "memory of the process, MiB", &|moment| {
            moment.resident as f64 / f64::from(1 << 20)
        });
    });
}

/// Kinds that are drawn together.
const GROUPS: [(&str, std::ops::Range<usize>); 4] = [
    ("reading", 0..REGISTER),
    ("coming, going, listing", REGISTER..8),
    ("client code", 8..REFER),
    ("soak", REFER..KINDS.len()),
];

fn latencies(out: &mut Markup, outcome: &Outcome) {
    out.leaf("h2", &[], "Time of an operation");
    let note = "ns/op: mean over blocks of operations, checks included. Shares: single operations, the clock's \
                own time taken off.";
    out.leaf("p", &[], note);
    let rows: Vec<_> = (0..KINDS.len()).map(|kind| row(&outcome.workers, kind)).collect();
    let shares = |kind: usize| {
        let histogram = histogram(&outcome.workers, kind);
        let samples = rows[kind].samples;
        let most = rows[kind].max_ns as f64;
        let at = |share: f64| quantile(&histogram, samples, share).min(most);
        (samples != 0).then(|| SHARES.map(|(_, share)| at(share)).into_iter().chain([most]))
    };
    let means = rows.iter().filter(|row| row.operations != 0).filter_map(|row| {
        let value = row.mean_ns?;
        Some(Bar { name: row.name.to_owned(), value, least: value, most: value, kind: Kind::Ours })
    });
    let places: Vec<(f64, &str)> = SHARES
        .iter()
        .map(|(name, _)| *name)
        .chain(["max"])
        .enumerate()
        .map(|(at, name)| (at as f64, name))
        .collect();
    out.element("div", &[("class", &"charts")], |out| {
        bars(out, "mean, ns", "", &means.collect::<Vec<_>>());
        for (name, kinds) in GROUPS {
            let of = |kind: usize| {
                let points = shares(kind)?.enumerate().map(|(at, ns)| [at as f64, ns]);
                Some(Curve { name: KINDS[kind].to_owned(), points: points.collect() })
            };
            let all: Vec<Curve> = kinds.filter_map(of).collect();
            let axes = Axes {
                across: "share",
                places: &places,
                across_by_powers: false,
                up_by_powers: true,
            };
            if !all.is_empty() {
                curves(out, &format!("{name}: single operations, ns"), "", &axes, &all);
            }
        }
    });
    let lines = (0..KINDS.len()).filter(|kind| rows[*kind].operations != 0).map(|kind| {
        let mean = rows[kind].mean_ns.map_or(String::new(), figure);
        let shares = shares(kind).into_iter().flatten().map(figure);
        let first = [rows[kind].name.to_owned(), grouped(rows[kind].operations), mean];
        first.into_iter().chain(shares).collect::<Vec<_>>()
    });
    let head =
        ["operation", "operations", "ns/op"].into_iter().chain(places.iter().map(|place| place.1));
    out.table(&head.collect::<Vec<_>>(), &lines.collect::<Vec<_>>());
}

fn memory(out: &mut Markup, outcome: &Outcome) {
    out.leaf("h2", &[], "Accounts");
    let entities = f64::from(outcome.entities);
    let (full, last) = (&outcome.full, &outcome.last);
    let rows = [
        ("registered, s", format!("{:.2}", outcome.load_seconds)),
        ("bytes for each entity", figure(full.bytes as f64 / entities)),
        ("of them id index", figure(full.index_bytes as f64 / entities)),
        ("chunks", grouped(full.chunks)),
        ("most that waited for their grace period", grouped(last.retired_peak)),
        ("reclaimed", grouped(last.reclaimed)),
        ("refused by back-pressure", grouped(outcome.refused)),
        ("contexts cleaned up", grouped(outcome.created)),
        ("events told", grouped(outcome.told)),
        ("times that a listener missed some", grouped(outcome.missed)),
        ("registrations of listeners", grouped(outcome.rounds)),
        ("threads of the library for events", grouped(last.event_threads)),
    ];
    let mib = |bytes: u64| grouped((bytes + (1 << 19)) >> 20);
    let memory = outcome.memory.map(|(when, memory)| {
        let name = format!("memory, {when}, library / process");
        vec![name, format!("{} / {} MiB", mib(memory.library), mib(memory.resident))]
    });
    let rows = rows.map(|(name, figure)| vec![name.to_owned(), figure]).into_iter().chain(memory);
    out.table(&["", "figure"], &rows.collect::<Vec<_>>());
}

#[cfg(test)]
mod tests {
    use super::super::layout::{BUCKETS, Worker};
    use super::super::{Figures, Memory, options};
    use super::*;
    use crate::page::tests::Read;
    use std::sync::atomic::Ordering;

    fn outcome(violation: Option<&str>) -> Outcome {
        let arguments = lexopt::Parser::from_args(["--seconds", "3", "--seed", "77"]);
        let Ok(options::Asked::Run(options)) = options::parse(arguments) else { panic!() };
        // SAFETY: all fields are numbers, atomics of numbers and a pointer that nobody follows here.
        let mut worker = unsafe { Box::<Worker>::new_zeroed().assume_init() };
        for kind in [0, REGISTER] {
            worker.operations[kind].store(123_000 + kind as u64, Ordering::Relaxed);
            worker.block_ns[kind] = 5_432_100;
            worker.block_ops[kind] = 100_000;
            worker.histogram[kind][BUCKETS / 8] = 90;
            worker.histogram[kind][BUCKETS / 4] = 10;
            worker.max_ns[kind] = 76_543;
        }
        let moment = |n: u32| Moment {
            seconds: f64::from(n) / 5.0,
            rates: [f64::from(n) + 40.5, 2.5, 0.0, 1.5, 0.25],
            retired: 777,
            bytes: 3 << 20,
            resident: 5 << 20,
        };
        let full =
            Figures { bytes: 1_620_000, index_bytes: 360_000, chunks: 31, ..Figures::default() };
        let last = Figures { retired_peak: 98_765, reclaimed: 87_654, event_threads: 3, ..full };
        Outcome {
            options,
            entities: 10_000,
            load_seconds: 0.25,
            run_seconds: 3.0,
            full,
            last,
            memory: ["start", "peak", "end", "given back"]
                .map(|when| (when, Memory { library: 31 << 20, resident: 47 << 20 })),
            moments: (0..1000).map(moment).collect(),
            workers: vec![worker],
            refused: 11,
            created: 456_789,
            told: 345_678,
            missed: 12,
            rounds: 13,
            violation: violation.map(str::to_owned),
        }
    }

    #[test]
    fn a_page_has_all_figures() {
        let read = Read::new(&html(&outcome(None)));
        for text in [
            "10,000 entities",
            "3.0 s",
            "77",
            "passed",
            "456,789",
            "54.3",
            "123,000",
            "123,005",
            "76,543",
            "lookup, own section",
            "register",
            "162",
            "36.0",
            "31",
            "98,765",
            "87,654",
            "11",
            "345,678",
            "12",
            "13",
            "0.25",
            "mean 540",
            "mean 2.50",
            "mean 1.50",
            "mean 777",
            "mean 3.00",
            "mean 5.00",
            "31 / 47 MiB",
        ] {
            assert!(read.says(text), "{text} is missing");
        }
        assert!(!read.says("deregister"), "what was not done has no line");
    }

    #[test]
    fn a_violation_is_told() {
        let read = Read::new(&html(&outcome(Some("handle <7> & another"))));
        assert!(read.says("violated") && read.says("handle <7> & another") && !read.says("passed"));
    }
}
