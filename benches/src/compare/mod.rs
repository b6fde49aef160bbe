//! rtm-compare: the registry beside its peers and the floor, in one run.
//!
//! This program runs itself for each table and size, one launch of all after another, so that whatever the
//! machine does in a minute meets all of them; a figure is the median of its launches' medians. Then it
//! prints the figures and what they say of each gate.

#[cfg(feature = "c-peers")]
mod c_peers;
mod calls;
mod gates;
mod measure;
mod ours;
mod peers;
mod table;

use indicatif::{ProgressBar, ProgressStyle};
use measure::{Effort, measure};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;
use table::{Table, Traits};

/// The text of `--help`.
pub const HELP: &str = "\
rtm-compare: measure the rtm registry beside its peers, and say which gates are met

usage: rtm-compare [OPTIONS]

  --quick        fewer launches and repetitions, no cross-language LTO: about a minute
  --launches N   launches of each table (default 4; quick: 1)
  --small        only tables of 1,000 entities
  --json FILE    write the figures there too
  --help         this text

Times are ns per operation, memory is bytes per entity. A figure is the median over launches; in
brackets how far its launches (of one launch: its repetitions) lie apart, as a share of it.
Exit code: 0 all measured gates are met, 1 one is missed by more than the noise of this run, 2 it could
not run.
";

/// What to do.
#[derive(Clone, Debug)]
pub struct Options {
    quick: bool,
    launches: Option<u32>,
    small: bool,
    json: Option<PathBuf>,
    /// Measure one table, for the program that started this one.
    child: Option<(String, usize, u64)>,
}

/// Reads the command line; `None` asks for help.
///
/// # Errors
/// What is wrong with it.
pub fn parse(mut parser: lexopt::Parser) -> Result<Option<Options>, lexopt::Error> {
    use lexopt::prelude::*;
    let mut options =
        Options { quick: false, launches: None, small: false, json: None, child: None };
    while let Some(argument) = parser.next()? {
        match argument {
            Long("quick") => options.quick = true,
            Long("small") => options.small = true,
            Long("launches") => {
                let launches: u32 = parser.value()?.parse()?;
                options.launches = Some(launches.max(1));
            }
            Long("json") => options.json = Some(parser.value()?.into()),
            Long("child") => {
                let name = parser.value()?.string()?;
                options.child = Some((name, parser.value()?.parse()?, parser.value()?.parse()?));
            }
            Long("help") => return Ok(None),
            other => return Err(other.unexpected()),
        }
    }
    Ok(Some(options))
}

type Measure = fn(usize, Effort);

/// Every table, ours first.
const TABLES: &[(&str, Traits, Measure)] = &[
    entry::<ours::Rtm>(),
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

const fn entry<T: Table>() -> (&'static str, Traits, Measure) {
    (T::NAME, T::TRAITS, measure::<T>)
}

/// A figure, and how far the launches lie apart, as a share of it.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Figure {
    value: f64,
    spread: f64,
}

/// By size, operation and table.
struct Figures(BTreeMap<(usize, String, &'static str), Figure>);

impl Figures {
    fn get(&self, count: usize, operation: &str, table: &'static str) -> Option<Figure> {
        self.0.get(&(count, operation.to_owned(), table)).copied()
    }
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let half = values.len() / 2;
    match values.len() % 2 {
        0 => f64::midpoint(values[half - 1], values[half]),
        _ => values[half],
    }
}

/// Runs; the exit code.
pub fn run(options: &Options) -> i32 {
    let effort = Effort {
        repetitions: if options.quick { 3 } else { 7 },
        millis: if options.quick { 5 } else { 30 },
        seed: 0,
    };
    if let Some((name, count, seed)) = &options.child {
        let others = TABLES.iter().map(|(name, _, run)| (*name, *run));
        let mut all = others.chain([(calls::INLINED, calls::measure as Measure)]);
        let Some((_, run)) = all.find(|(known, _)| known == name) else { return 2 };
        run(*count, Effort { seed: *seed, ..effort });
        // Some peers run at exit what may not outlive them.
        // SAFETY: ends the process; everything has been printed.
        unsafe { libc::_exit(i32::from(std::io::Write::flush(&mut std::io::stdout()).is_err())) };
    }
    match collect(options, effort) {
        Ok(figures) => report(options, &figures),
        Err(error) => {
            eprintln!("rtm-compare: {error}");
            2
        }
    }
}

/// Runs all launches.
fn collect(options: &Options, effort: Effort) -> Result<Figures, String> {
    let launches = options.launches.unwrap_or(if options.quick { 1 } else { 4 });
    let sizes: &[usize] = if options.small { &[1_000] } else { &[1_000, 1_000_000] };
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let programs = calls::build(&program, options.quick)?;
    programs.missing.iter().for_each(|why| eprintln!("rtm-compare: not measured: {why}"));
    // What is launched: this program for a table, or another. The calls are compared with each other, by
    // gates with little room: several times if there is one launch.
    let mut all: Vec<_> = TABLES.iter().map(|(name, ..)| (*name, None)).collect();
    for _ in 0..if launches == 1 { 3 } else { 1 } {
        all.push((calls::INLINED, None));
        all.extend(programs.built.iter().map(|(name, path)| (*name, Some(path))));
    }
    let bar = ProgressBar::new(u64::from(launches) * (sizes.len() * all.len()) as u64);
    let style = ProgressStyle::with_template("{msg:50} [{bar:30}] {pos}/{len}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> "));
    let mut medians: BTreeMap<(usize, String, &'static str), Vec<f64>> = BTreeMap::new();
    for launch in 0..launches {
        for count in sizes {
            for (name, other) in all.iter().copied() {
                bar.set_message(format!("launch {}, {count} entities, {name}", launch + 1));
                let seed = u64::from(launch) + 1;
                let mut command = match other {
                    Some(path) => calls::command(path, *count, Effort { seed, ..effort }),
                    None => Command::new(&program),
                };
                if other.is_none() {
                    command.args(options.quick.then_some("--quick"));
                    command.args(["--child", name, &count.to_string(), &seed.to_string()]);
                }
                let output = command.output().map_err(|error| error.to_string())?;
                if !output.status.success() {
                    let text = String::from_utf8_lossy(&output.stderr);
                    return Err(format!("{name}, {count} entities: {}\n{text}", output.status));
                }
                let mut rows: BTreeMap<String, Vec<f64>> = BTreeMap::new();
                for line in String::from_utf8_lossy(&output.stdout).lines() {
                    let row = line.split_once('\t');
                    let row = row.and_then(|(name, figure)| Some((name, figure.parse().ok()?)));
                    let (operation, figure) = row.ok_or_else(|| format!("{name}: {line}"))?;
                    rows.entry(operation.to_owned()).or_default().push(figure);
                }
                for (operation, mut figures) in rows {
                    let all = medians.entry((*count, operation, name)).or_default();
                    match launches {
                        1 => all.extend(figures),
                        _ => all.push(median(&mut figures)),
                    }
                }
                bar.inc(1);
            }
        }
    }
    bar.finish_and_clear();
    let figure = |mut all: Vec<f64>| {
        let value = median(&mut all);
        let apart = all.last().zip(all.first()).map_or(0.0, |(most, least)| most - least);
        Figure { value, spread: if value == 0.0 { 0.0 } else { apart / value } }
    };
    Ok(Figures(medians.into_iter().map(|(key, all)| (key, figure(all))).collect()))
}

const COLUMNS: [&str; 12] = [
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
    "enumerate, aged",
    "bytes",
];

/// Prints everything; the exit code.
fn report(options: &Options, figures: &Figures) -> i32 {
    let sizes: &[usize] = if options.small { &[1_000] } else { &[1_000, 1_000_000] };
    for count in sizes {
        println!("\n{count} entities of 128 bytes");
        for operation in COLUMNS {
            println!("\n  {operation}");
            for (name, ..) in TABLES.iter().copied() {
                let Some(Figure { value, spread }) = figures.get(*count, operation, name) else {
                    continue;
                };
                let wrong = figures.get(*count, "stale accepted", name);
                let wrong = wrong.is_some_and(|wrong| wrong.value != 0.0);
                let note = if wrong { "  accepts stale keys" } else { "" };
                println!("    {name:36} {value:10.2} ({spread:4.2}){note}");
            }
        }
        println!("\n  rtm only");
        for operation in gates::OURS {
            if let Some(Figure { value, spread }) = figures.get(*count, operation, TABLES[0].0) {
                println!("    {operation:36} {value:10.2} ({spread:4.2})");
            }
        }
        calls::print(figures, *count);
    }
    let gates = gates::judge(figures, sizes);
    println!("\ngates (figure against limit)");
    let mut missed = 0;
    for gate in &gates {
        println!("  {gate}");
        missed += i32::from(gate.is_missed());
    }
    gates::NOT_MEASURED.iter().for_each(|gate| println!("  not measured yet  {gate}"));
    if let Some(path) = &options.json
        && let Err(error) = std::fs::write(path, json(figures))
    {
        eprintln!("rtm-compare: cannot write {}: {error}", path.display());
        return 2;
    }
    i32::from(missed != 0)
}

/// One object a figure.
fn json(figures: &Figures) -> String {
    let mut text = String::from("[\n");
    for (index, ((count, operation, name), figure)) in figures.0.iter().enumerate() {
        let comma = if index == 0 { "" } else { ",\n" };
        let Figure { value, spread } = figure;
        let _ = write!(
            text,
            "{comma}{{\"entities\": {count}, \"operation\": {operation:?}, \"table\": {name:?}, \
             \"figure\": {value:.3}, \"spread\": {spread:.3}}}"
        );
    }
    text.push_str("\n]\n");
    text
}
