//! The figures of a run as a page.

mod scaling;

use super::gates::{Gate, Verdict};
use super::memory::{CHURNED, GROWN, STUCK};
use super::plan::Often;
use super::table::Traits;
use super::{COLUMNS, FLOOR, Figure, Figures, HANDLES_ONLY, RTM, TABLES};
use super::{calls, measure::TAIL, peers};
use crate::page::chart::{Axes, Bar, Curve, Kind, bars, curves};
use crate::page::machine::{Machine, versions};
use crate::page::{self, Markup, figure, grouped};

/// The packages of the Rust peers.
const PACKAGES: [&str; 8] = [
    "concurrent-slotmap",
    "dashmap",
    "idr-ebr",
    "papaya",
    "parking_lot",
    "scc",
    "sharded-slab",
    "slotmap",
];

/// The peers in C and C++, with their versions, if they are compared.
const IN_C: Option<&str> = option_env!("RTM_C_PEERS");

/// All that is shown.
pub(super) struct Shown<'a> {
    pub(super) figures: &'a Figures,
    pub(super) gates: &'a [Gate],
    pub(super) machine: &'a Machine,
    pub(super) sizes: &'a [usize],
    pub(super) weighed: &'a [usize],
    pub(super) grown: &'a [usize],
    pub(super) often: &'a [Often],
    pub(super) quick: bool,
}

/// As a chart has room for.
fn short(name: &str) -> String {
    name.replace(", dashmap of ids", " + ids").replace("floor: ", "")
}

pub(super) fn entities(count: usize) -> String {
    grouped(count as u64) + " entities"
}

impl Shown<'_> {
    fn accepts_stale(&self, count: usize, name: &'static str) -> bool {
        let accepted = self.figures.get(count, "stale accepted", name);
        accepted.is_some_and(|accepted| accepted.value != 0.0)
    }

    fn bar(&self, count: usize, operation: &str, name: &'static str) -> Option<Bar> {
        let Figure { value, low, high, .. } = *self.figures.get(count, operation, name)?;
        let kind = match name {
            RTM | HANDLES_ONLY => Kind::Ours,
            FLOOR => Kind::Floor,
            _ if self.accepts_stale(count, name) => Kind::Wrong,
            _ => Kind::Peer,
        };
        let mark = if kind == Kind::Wrong { " †" } else { "" };
        Some(Bar { name: short(name) + mark, value, least: low, most: high, kind })
    }

    /// Those that have a figure, the best first; ours also under other operations.
    pub(super) fn bars(
        &self,
        count: usize,
        operation: &str,
        ours: &[(&str, &str)],
        chosen: impl Fn(&Traits) -> bool,
    ) -> Vec<Bar> {
        let names =
            TABLES.iter().filter(|(name, traits, _)| [RTM, FLOOR].contains(name) || chosen(traits));
        let mut all: Vec<Bar> =
            names.filter_map(|(name, ..)| self.bar(count, operation, name)).collect();
        for (other, title) in ours {
            let more = self.bar(count, other, RTM);
            all.extend(more.map(|bar| Bar { name: format!("{RTM}, {title}"), ..bar }));
        }
        all.sort_by(|one, other| one.value.total_cmp(&other.value));
        all
    }
}

/// Other ways of ours to do the same.
pub(super) fn other_ways(operation: &str) -> &'static [(&'static str, &'static str)] {
    match operation {
        "look up" => &[("info", "plain info"), ("batch", "batch")],
        "stale" => &[("stale, info", "plain info")],
        _ => &[],
    }
}

/// The page.
pub(super) fn html(shown: &Shown<'_>) -> String {
    page::page("rtm beside its peers", |out| {
        let met = shown.gates.iter().filter(|gate| gate.verdict() != Verdict::Missed).count();
        let lead = format!(
            "The entity registry, tables that others made, and the floor of this machine, measured in one \
             run: {met} of {} gates are met.",
            shown.gates.len()
        );
        out.leaf("p", &[("class", &"lead")], &lead);
        let peers =
            versions(&PACKAGES).into_iter().map(|(name, version)| format!("{name} {version}"));
        let peers = peers.chain(IN_C.map(str::to_owned));
        shown.machine.list(out, &[("Peers", peers.collect::<Vec<_>>().join(", "))]);
        let rounds = |often: &Often| {
            let count = entities(often.count);
            match often.all_rounds() {
                1 => format!("one round with {count}"),
                n => format!("{n} rounds with {count}"),
            }
        };
        let rounds: Vec<_> = shown.often.iter().map(rounds).collect();
        let note = format!(
            "All tables have a turn in each round, {}. A figure is the median over rounds; a whisker goes from \
             quartile to quartile of them, or from the least to the most if there are fewer than five. Gates \
             compare round by round. Times are nanoseconds per operation. The floor is an index into a vector that nobody changes. Peers marked † accept \
             stale keys and are never the best peer. “+ ids”: with a dashmap of ids beside it, since \
             rtm keeps ids unique; “rtm, handles only” does not. Held: 1,000 look-ups under one guard. Pair: a deregistration and a \
             registration, hot of ever new ids, random of ids that are looked up first.",
            rounds.join(", ")
        );
        out.leaf("p", &[("class", &"note")], &note);
        gates(out, shown.gates);
        for count in shown.sizes {
            out.leaf("h2", &[], &format!("Times, {} of 128 bytes", entities(*count)));
            out.element("div", &[("class", &"charts")], |out| {
                for operation in COLUMNS.iter().filter(|operation| **operation != "bytes") {
                    let all = shown.bars(*count, operation, other_ways(operation), |_| true);
                    let note = other_ways(operation).first().map_or("", |_| {
                        "plain info: a validated copy without a guard; batch: 1,000 handles in one call"
                    });
                    if !all.is_empty() {
                        bars(out, &format!("{operation}, ns"), note, &all);
                    }
                }
            });
            tail(out, shown, *count);
        }
        from_c(out, shown);
        memory(out, shown);
        scaling::growth(out, shown);
        scaling::threads(out, shown);
        scaling::bounds(out);
        out.leaf("h2", &[], "All figures");
        out.element("details", &[], |out| {
            out.leaf("summary", &[], "Each operation of each table");
            let rows = shown.figures.0.iter().map(|((count, operation, name), all)| {
                let number = |value: f64| format!("{value:.3}");
                let [value, low, high] = [all.value, all.low, all.high].map(number);
                vec![
                    operation.clone(),
                    (*name).to_owned(),
                    grouped(*count as u64),
                    value,
                    low,
                    high,
                ]
            });
            let head = ["operation", "table", "entities", "figure", "from", "to"];
            out.table(&head, &rows.collect::<Vec<_>>());
        });
    })
}

fn gates(out: &mut Markup, all: &[Gate]) {
    out.leaf("h2", &[], "Gates");
    out.element("div", &[("class", &"wide")], |out| {
        out.element("table", &[("class", &"gates")], |out| {
            out.element("tr", &[], |out| {
                for head in ["verdict", "figure", "limit", "gate"] {
                    out.leaf("th", &[], head);
                }
            });
            for gate in all {
                out.element("tr", &[], |out| {
                    let (class, word) = match gate.verdict() {
                        Verdict::Met => ("good", "✓ met"),
                        Verdict::WithinNoise => ("fair", "≈ within noise"),
                        Verdict::Missed => ("bad", "✗ missed"),
                    };
                    out.leaf("td", &[("class", &class)], word);
                    out.leaf("td", &[], &figure(gate.figure));
                    out.leaf("td", &[], &figure(gate.limit));
                    out.leaf("td", &[], &gate.what);
                });
            }
        });
    });
    let note = "A gate is met if the figure is not above the limit; within noise if it is above by less than \
                the spread of the rounds' ratios.";
    out.leaf("p", &[("class", &"note")], note);
}

fn shares() -> impl Iterator<Item = &'static str> {
    TAIL.iter().map(|(name, _)| *name)
}

/// The tail of an operation of a table.
fn tail_of(
    shown: &Shown<'_>,
    count: usize,
    operation: &str,
    table: &'static str,
    name: String,
) -> Curve {
    let points = shares().zip(0..).filter_map(|(share, at)| {
        let figure = shown.figures.get(count, &format!("{operation} {share}"), table)?;
        Some([f64::from(at), figure.value])
    });
    Curve { name, points: points.collect() }
}

/// Draws some tails, and tables them all.
fn tails(out: &mut Markup, across: &str, heading: &str, note: &str, all: &[Curve]) {
    let places: Vec<(f64, &str)> =
        shares().enumerate().map(|(at, share)| (at as f64, share)).collect();
    let axes = Axes { across, places: &places, across_by_powers: false, up_by_powers: true };
    out.element("div", &[("class", &"charts")], |out| {
        curves(out, heading, note, &axes, &all[..all.len().min(6)]);
        let rows = all.iter().map(|curve| {
            let figures = curve.points.iter().map(|point| figure(point[1].round()));
            let figures =
                figures.map(|text| text.trim_end_matches(".00").trim_end_matches(".0").to_owned());
            std::iter::once(curve.name.clone()).chain(figures).collect::<Vec<_>>()
        });
        let head: Vec<&str> = std::iter::once("ns").chain(shares()).collect();
        out.element("div", &[], |out| out.table(&head, &rows.collect::<Vec<_>>()));
    });
}

fn tail(out: &mut Markup, shown: &Shown<'_>, count: usize) {
    let curve = |operation, table, name| tail_of(shown, count, operation, table, name);
    let mut ours = vec![
        curve("tail", RTM, RTM.to_owned()),
        curve("tail, info", RTM, format!("{RTM}, plain info")),
    ];
    let peers = peers().filter(|(_, traits, _)| !traits.indexed);
    let peers = peers.map(|(name, ..)| curve("tail", name, short(name)));
    let mut peers: Vec<Curve> = peers.filter(|curve| !curve.points.is_empty()).collect();
    ours.retain(|curve| !curve.points.is_empty());
    if ours.is_empty() {
        return;
    }
    let slow = |curve: &Curve| curve.points.iter().rev().nth(2).map_or(f64::MAX, |point| point[1]);
    peers.sort_by(|one, other| slow(one).total_cmp(&slow(other)));
    ours.append(&mut peers);
    out.leaf("h3", &[], "Tail of a reader beside a churner");
    let heading = "single look-ups, ns (the clock's own time is taken off)";
    let note = "The peers with the least p99.9 are drawn.";
    tails(out, "share of look-ups", heading, note, &ours);
}

/// The calls from C, each in all ways.
fn from_c(out: &mut Markup, shown: &Shown<'_>) {
    out.leaf("h2", &[], "Calls of the library from C");
    let note = "Beside what Rust, with the library inlined, needs to do the same.";
    out.leaf("p", &[], note);
    for count in shown.sizes {
        out.leaf("h3", &[], &entities(*count));
        out.element("div", &[("class", &"charts")], |out| {
            for operation in calls::OPERATIONS {
                let bar = |way| {
                    let figure = shown.figures.get(*count, operation, way)?;
                    let Figure { value, low, high, .. } = *figure;
                    let kind = if way == calls::INLINED { Kind::Floor } else { Kind::Ours };
                    Some(Bar { name: way.to_owned(), value, least: low, most: high, kind })
                };
                let all: Vec<Bar> = calls::WAYS.into_iter().filter_map(bar).collect();
                if !all.is_empty() {
                    bars(out, &format!("{operation}, ns"), "", &all);
                }
            }
        });
    }
}

/// A table of these operations for each table that has one of them.
fn figures_table(out: &mut Markup, shown: &Shown<'_>, count: usize, columns: &[(&str, &str)]) {
    let get = |operation: &str, name| shown.figures.get(count, operation, name);
    let known = |operation: &str| TABLES.iter().any(|(name, ..)| get(operation, name).is_some());
    let columns: Vec<_> = columns.iter().filter(|(operation, _)| known(operation)).collect();
    let cell = |operation: &str, name| match get(operation, name).map(|figure| figure.value) {
        None => String::new(),
        Some(value) if operation == STUCK[1] => if value == 0.0 { "no" } else { "yes" }.to_owned(),
        Some(value) => figure(value),
    };
    let rows = TABLES.iter().map(|(name, ..)| {
        let cells = columns.iter().map(|(operation, _)| cell(operation, name));
        std::iter::once(short(name)).chain(cells).collect::<Vec<_>>()
    });
    let rows: Vec<_> = rows.filter(|row| row[1..].iter().any(|cell| !cell.is_empty())).collect();
    if !rows.is_empty() {
        let head: Vec<&str> =
            std::iter::once("").chain(columns.iter().map(|(_, head)| *head)).collect();
        out.table(&head, &rows);
    }
}

fn memory(out: &mut Markup, shown: &Shown<'_>) {
    out.leaf("h2", &[], "Memory");
    let note = "Resident bytes of the process for each live entity of 128 bytes, of a table that was not made \
                for so many beforehand.";
    out.leaf("p", &[], note);
    let weighed =
        |operation: &'static str| shown.weighed.iter().map(move |count| (operation, *count));
    let charts = weighed(GROWN[0]).chain(weighed(GROWN[1]));
    out.element("div", &[("class", &"charts")], |out| {
        for (operation, count) in charts {
            let all = shown.bars(count, operation, &[], |_| true);
            // In a quick run some sizes are weighed for ours alone; the tables below have them.
            if all.len() > 1 {
                bars(out, &format!("{operation}, {}", entities(count)), "", &all);
            }
        }
    });
    for count in shown.weighed {
        out.leaf("h3", &[], &format!("Bytes for each live entity, {}", entities(*count)));
        let heads = [
            "grown",
            "most while growing",
            "first 90 % gone",
            "any 90 % gone",
            "all gone *",
            "first 90 % gone, trimmed",
            "all gone, trimmed *",
        ];
        let churn = ["most while churned", "after churn"];
        let columns = GROWN.into_iter().chain(CHURNED).zip(heads.into_iter().chain(churn));
        figures_table(out, shown, *count, &columns.collect::<Vec<_>>());
    }
    let note = "* for each entity that was there. Churn: two threads replace entities at random.";
    out.leaf("p", &[("class", &"note")], note);
    out.leaf("h3", &[], "A reader that never leaves");
    let note = format!(
        "One thread stays inside its section while another registers and deregisters, until it is refused \
         or has done twice the registry's limit of {}.",
        grouped(super::ours::backlog())
    );
    out.leaf("p", &[], &note);
    let heads = ["pairs done", "refused", "MiB more", "MiB more when it has left"];
    figures_table(out, shown, 1_000, &STUCK.into_iter().zip(heads).collect::<Vec<_>>());
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::picture::svg;
    use super::super::{bounds, gates, growth, plan, scaling};
    use super::*;
    use crate::page::tests::Read;
    use std::collections::BTreeMap;

    /// Every operation of every table, each figure another.
    fn figures() -> Figures {
        let (mut all, mut next) = (BTreeMap::new(), 1.0);
        let tails = ["tail", "tail, info"].into_iter().chain(growth::LOADS);
        let tails = tails.flat_map(|tail| shares().map(move |share| format!("{tail} {share}")));
        let names =
            COLUMNS.iter().chain(&["info", "batch", "stale, info"]).chain(&GROWN).chain(&CHURNED);
        let mut names: Vec<String> = names.chain(&STUCK).map(|name| (*name).to_owned()).collect();
        names.extend(tails);
        names.extend(scaling::THREADS.map(scaling::throughput));
        names.extend(scaling::IDLE.map(scaling::beside));
        let crowd = scaling::ALONE.into_iter();
        names.extend(crowd.flat_map(|mix| scaling::CROWD.map(|threads| mix.row(threads))));
        for count in [1_000, 1_000_000] {
            for (name, ..) in TABLES {
                for operation in &names {
                    next += 1.37;
                    all.insert(
                        (count, operation.clone(), *name),
                        Figure::of(vec![next, next * 1.1]),
                    );
                }
            }
            for way in calls::WAYS {
                for operation in calls::OPERATIONS {
                    next += 1.37;
                    all.insert((count, operation.to_owned(), way), Figure::of(vec![next]));
                }
            }
            all.insert((count, "stale accepted".to_owned(), "sharded-slab"), Figure::of(vec![9.0]));
        }
        // Nothing and too much must not spoil a chart.
        all.insert((1_000, "look up".to_owned(), "dashmap"), Figure::of(vec![0.0]));
        all.insert((1_000, "stale".to_owned(), "papaya"), Figure::of(vec![1e12]));
        Figures(all)
    }

    pub(in super::super) fn shown(check: impl FnOnce(&Shown<'_>)) {
        let (figures, sizes) = (figures(), [1_000, 1_000_000]);
        let gates = gates::judge(&figures, &sizes);
        let machine = Machine { processor: "Sun & <Moon>".to_owned(), ..Machine::here() };
        let weighed = &sizes;
        check(&Shown {
            figures: &figures,
            gates: &gates,
            machine: &machine,
            sizes: &sizes,
            weighed,
            grown: &sizes,
            often: &plan::often(&super::super::Options::default()),
            quick: true,
        });
    }

    #[test]
    fn a_page_has_all_figures() {
        shown(|shown| {
            let read = Read::new(&html(shown));
            for ((count, operation, name), all) in &shown.figures.0 {
                let text = format!("{:.3}", all.value);
                assert!(read.says(&text), "{count} {operation} {name}: {text}");
                let mut drawn = COLUMNS.iter().chain(&calls::OPERATIONS);
                let drawn = drawn.any(|known| known == operation) && operation != "bytes";
                assert!(!drawn || read.says(&figure(all.value)), "{count} {operation} {name}");
            }
            for gate in shown.gates {
                assert!(read.says(&gate.what) && read.says(&figure(gate.figure)), "{}", gate.what);
            }
            for bound in bounds::all() {
                assert!(bound.cells().iter().all(|cell| read.says(cell)), "{}", bound.operation);
            }
            let Machine { processor, kernel, compiler, date, .. } = shown.machine;
            assert!([processor, kernel, *compiler, date].iter().all(|text| read.says(text)));
            for package in PACKAGES {
                let version = &versions(&[package])[0].1;
                assert!(
                    !version.is_empty() && read.says(&format!("{package} {version}")),
                    "{package}"
                );
            }
            assert_eq!(IN_C.is_some(), cfg!(feature = "c-peers"));
            assert!(IN_C.is_none_or(|all| all.starts_with("liburcu 0.") && read.says(all)));
            assert!(read.says("sharded-slab †"));
        });
    }

    /// A run of few parts has a page as well.
    #[test]
    fn what_is_missing_is_left_out() {
        let figures = Figures(BTreeMap::new());
        let (machine, options) = (Machine::here(), super::super::Options::default());
        let sizes = &plan::sizes(&options);
        let shown = Shown {
            figures: &figures,
            gates: &[],
            machine: &machine,
            sizes,
            weighed: sizes,
            grown: sizes,
            often: &[],
            quick: true,
        };
        assert!(Read::new(&html(&shown)).says("0 of 0"));
        Read::new(&svg(&shown));
    }
}
