//! rtm-compare: the registry beside its peers and the floor, in one run.
//!
//! This program runs itself for each table, size and part of what is measured. Times are measured in rounds,
//! in each of which each table has a short turn ([`plan`] says how often, [`launch`] how), so that whatever the
//! machine does in a minute meets all of them; [`figures`] says what a figure and a ratio are then. At the end
//! it prints the figures and what they say of each gate, and draws them.

mod bounds;
#[cfg(feature = "c-peers")]
mod c_peers;
mod calls;
mod figures;
mod gates;
mod growth;
mod launch;
mod measure;
mod memory;
mod ours;
mod page;
mod peers;
mod picture;
mod plan;
mod scaling;
mod table;

use crate::page::machine::Machine;
use figures::{Figure, Figures};
use measure::Effort;
use plan::Part;
use rtm_core::HandlesOnly;
use std::path::PathBuf;
use table::{Table, Traits};

/// The text of `--help`.
pub const HELP: &str = "\
rtm-compare: measure the rtm registry beside its peers, and say which gates are met

usage: rtm-compare [OPTIONS]

  --quick        fewer and shorter rounds, fewer tables beside threads, no cross-language LTO:
                 a minute with c-peers on two cores (the full run: half an hour)
  --launches N   of each table and size (default 11 of 1,000 entities, 2 of 1,000,000; quick: 6, 1)
  --small        only tables of 1,000 entities
  --json FILE    write figures, bounds and gates there
  --report FILE  a page (HTML) of all figures with charts
  --svg FILE     one picture of the operations that matter most
  --help         this text

Times are ns per operation, memory is bytes per entity.

All tables have short turns in each of several rounds, each round in another order. A launch, in
which all tables are filled and aged anew, has one round with 1,000 entities, and with 1,000,000
seven, with --quick four (all tables are in memory then: 4 GB with c-peers). A round's figure is
the median of its three repetitions; a figure is the median over rounds. In brackets its spread:
the distance between the quartiles of the rounds, as a share of the figure (between the least
and the most, if there are fewer than five; of one round, or of what is measured once, those of
its repetitions). With --quick two tables are filled at a time, so that \"fill\" says little.

A gate compares two figures round by round: its figure is the median of the rounds' ratios, so
that a slow phase of the machine, which is longer than a round, cancels out. The best peer is
the one against which the ratio is highest. What the ratios spread, and never more than 0.3,
may be above the limit without being missed: that is \"met within noise\".

Exit code: 0 all measured gates are met, 1 one is missed by more than the noise of this run, 2 it could
not run.
";

/// What to do.
#[derive(Clone, Debug, Default)]
pub struct Options {
    quick: bool,
    launches: Option<u64>,
    small: bool,
    json: Option<PathBuf>,
    report: Option<PathBuf>,
    svg: Option<PathBuf>,
    /// Measure one table, for the program that started this one.
    child: Option<(Part, String, usize, u64)>,
}

/// Reads the command line; `None` asks for help.
///
/// # Errors
/// What is wrong with it.
pub fn parse(mut parser: lexopt::Parser) -> Result<Option<Options>, lexopt::Error> {
    use lexopt::prelude::*;
    let mut options = Options::default();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("quick") => options.quick = true,
            Long("small") => options.small = true,
            Long("launches") => {
                let launches: u64 = parser.value()?.parse()?;
                options.launches = Some(launches.max(1));
            }
            Long("json") => options.json = Some(parser.value()?.into()),
            Long("report") => options.report = Some(parser.value()?.into()),
            Long("svg") => options.svg = Some(parser.value()?.into()),
            Long("child") => {
                let part = Part::named(&parser.value()?.string()?).ok_or("no such part")?;
                let name = parser.value()?.string()?;
                let count = parser.value()?.parse()?;
                options.child = Some((part, name, count, parser.value()?.parse()?));
            }
            Long("help") => return Ok(None),
            other => return Err(other.unexpected()),
        }
    }
    Ok(Some(options))
}

type Measure = fn(Part, usize, Effort);

/// Name, traits, and how it is measured.
type Entry = (&'static str, Traits, Measure);

/// Every table, ours first.
const TABLES: &[Entry] = &[
    entry::<ours::Rtm>(),
    entry::<ours::Rtm<HandlesOnly>>(),
    entry::<ours::Floor>(),
    entry::<peers::ConcurrentSlotmap>(),
    entry::<peers::LockedSlotmap>(),
    entry::<peers::ShardedSlab>(),
    entry::<peers::IdrEbr>(),
    entry::<peers::DashMap>(),
    entry::<peers::Papaya>(),
    entry::<peers::SccIndex>(),
    #[cfg(feature = "c-peers")]
    entry::<c_peers::CPeer<c_peers::UrcuMemb>>(),
    #[cfg(feature = "c-peers")]
    entry::<c_peers::CPeer<c_peers::UrcuQsbr>>(),
    #[cfg(feature = "c-peers")]
    entry::<c_peers::CPeer<c_peers::Ck>>(),
    #[cfg(feature = "c-peers")]
    entry::<c_peers::CPeer<c_peers::Tbb>>(),
    entry::<peers::Indexed<peers::ConcurrentSlotmap>>(),
    entry::<peers::Indexed<peers::ShardedSlab>>(),
    entry::<peers::Indexed<peers::LockedSlotmap>>(),
];

const fn entry<T: Table>() -> Entry {
    (T::NAME, T::TRAITS, |part, count, effort| part.measure::<T>(count, effort))
}

const RTM: &str = <ours::Rtm as Table>::NAME;
const HANDLES_ONLY: &str = <ours::Rtm<HandlesOnly> as Table>::NAME;
const FLOOR: &str = ours::Floor::NAME;

/// The tables of others.
fn peers() -> impl Iterator<Item = &'static Entry> {
    TABLES.iter().filter(|(name, traits, _)| !traits.ours && *name != FLOOR)
}

/// Runs; the exit code.
pub fn run(options: &Options) -> i32 {
    let effort = Effort {
        repetitions: 3,
        millis: if options.quick { 2 } else { 10 },
        seed: 0,
        quick: options.quick,
    };
    if let Some((part, name, count, seed)) = &options.child {
        // The inlined calls are ours.
        let inlined = (calls::INLINED, TABLES[0].2);
        let mut all = TABLES.iter().map(|(name, _, run)| (*name, *run)).chain([inlined]);
        let Some((_, run)) = all.find(|(known, _)| known == name) else { return 2 };
        run(*part, *count, Effort { seed: *seed, ..effort });
        // Some peers run at exit what may not outlive them.
        // SAFETY: ends the process; everything has been printed.
        unsafe { libc::_exit(i32::from(std::io::Write::flush(&mut std::io::stdout()).is_err())) };
    }
    match launch::collect(options, effort) {
        Ok((figures, spent)) => report(options, &figures, &spent),
        Err(error) => {
            eprintln!("rtm-compare: {error}");
            2
        }
    }
}

const COLUMNS: [&str; 15] = [
    "look up",
    "look up, dependent",
    "look up, held",
    "stale",
    "look up, two readers",
    "reader beside churner",
    "churner beside reader",
    "two churners",
    "pair, hot",
    "pair, random",
    "fill",
    "enumerate, fresh",
    "enumerate, aged",
    "enumerate, sparse",
    "bytes",
];

/// Prints what there is of these operations.
fn print_rows<'o>(
    figures: &Figures,
    count: usize,
    operations: impl IntoIterator<Item = &'o str>,
    tables: &[Entry],
) {
    for operation in operations {
        let mut head = Some(operation);
        for (name, ..) in tables {
            let Some(figure) = figures.get(count, operation, name) else { continue };
            let wrong = figures.get(count, "stale accepted", name);
            let wrong = wrong.is_some_and(|wrong| wrong.value != 0.0);
            let note = if wrong { "  accepts stale keys" } else { "" };
            head.take().into_iter().for_each(|head| println!("\n  {head}"));
            println!("    {name:36} {:10.2} ({:4.2}){note}", figure.value, figure.spread);
        }
    }
}

/// Prints everything; the exit code.
fn report(options: &Options, figures: &Figures, spent: &launch::Spent) -> i32 {
    let sizes = &plan::sizes(options);
    for count in sizes {
        println!("\n{count} entities of 128 bytes");
        print_rows(figures, *count, COLUMNS, TABLES);
        println!("\n  rtm only");
        for operation in gates::OURS {
            if let Some(Figure { value, spread, .. }) = figures.get(*count, operation, RTM) {
                println!("    {operation:36} {value:10.2} ({spread:4.2})");
            }
        }
        calls::print(figures, *count);
    }
    for count in plan::weighed(options) {
        println!("\nmemory, {count} entities of 128 bytes");
        let all = memory::GROWN.into_iter().chain(memory::CHURNED).chain(memory::STUCK);
        print_rows(figures, *count, all, TABLES);
    }
    println!("\nmany threads, 1000 entities");
    let threads = scaling::THREADS;
    let rows = threads.map(scaling::throughput).into_iter();
    let rows = rows.chain(threads.map(scaling::refusals)).chain(scaling::IDLE.map(scaling::beside));
    let alone = scaling::ALONE.into_iter();
    let rows = rows.chain(alone.flat_map(|mix| scaling::CROWD.map(|threads| mix.row(threads))));
    print_rows(figures, 1_000, rows.collect::<Vec<_>>().iter().map(String::as_str), TABLES);
    for count in plan::grown(options) {
        println!("\n{count} registrations one by one, ns");
        growth::print(figures, *count);
    }
    bounds::print();
    println!("\nwhere the time of this run went, s");
    for (what, time) in spent {
        println!("  {what:50} {:8.1}", time.as_secs_f64());
    }
    let gates = gates::judge(figures, sizes);
    println!("\ngates (figure against limit)");
    let mut missed = 0;
    for gate in &gates {
        println!("  {gate}");
        missed += i32::from(gate.is_missed());
    }
    let shown = page::Shown {
        figures,
        gates: &gates,
        machine: &Machine::here(),
        sizes,
        weighed: plan::weighed(options),
        grown: plan::grown(options),
        often: &plan::often(options),
        quick: options.quick,
    };
    let files = [
        (&options.json, json(figures, &gates)),
        (&options.report, page::html(&shown)),
        (&options.svg, picture::svg(&shown)),
    ];
    for (path, text) in files {
        if let Some(path) = path
            && let Err(error) = std::fs::write(path, text)
        {
            eprintln!("rtm-compare: cannot write {}: {error}", path.display());
            return 2;
        }
    }
    i32::from(missed != 0)
}

/// Figures, bounds, and gates: one object a line.
fn json(figures: &Figures, gates: &[gates::Gate]) -> String {
    let figures = figures.0.iter().map(|((count, operation, name), figure)| {
        let Figure { value, spread, .. } = figure;
        format!(
            "{{\"entities\": {count}, \"operation\": {operation:?}, \"table\": {name:?}, \
             \"figure\": {value:.3}, \"spread\": {spread:.3}}}"
        )
    });
    let gates = gates.iter().map(|gate| {
        let gates::Gate { what, figure, limit, .. } = gate;
        format!(
            "{{\"gate\": {what:?}, \"figure\": {figure:.3}, \"limit\": {limit:.3}, \"missed\": {}}}",
            gate.is_missed()
        )
    });
    let [figures, gates] =
        [figures.collect::<Vec<_>>(), gates.collect()].map(|lines| lines.join(",\n"));
    let bounds = bounds::json();
    format!(
        "{{\"figures\": [\n{figures}\n],\n\"bounds\": [\n{bounds}\n],\n\"gates\": [\n{gates}\n]}}\n"
    )
}
