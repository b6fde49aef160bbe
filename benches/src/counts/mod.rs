//! rtm-counts: figures that are the same in every run, instructions and coherence events per operation, and
//! whether they are within the committed limits. See [`HELP`].
//!
//! The program runs itself under valgrind, once or twice for each row (`valgrind`). `instructions` and
//! `c_calls` have the operations whose instructions are counted, `events` those whose coherence events are
//! simulated: by threads that take turns (`turns`), from their memory accesses (`msi`, which says exactly
//! what an event is). `committed` has the limits.
//!
//! *The same in every run.* One thread runs at a time; the program brings its own `getrandom` (the registry
//! draws a secret) and its own number of processors, and starts its children with an empty environment.

mod c_calls;
pub(crate) mod committed;
mod events;
mod instructions;
mod msi;
mod report;
mod turns;
mod valgrind;

use committed::{Key, What};
use instructions::Counted;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What `--help` prints.
pub const HELP: &str = "\
rtm-counts: instructions and coherence events per operation, against committed limits

  --instructions, --events   only these
  --only WORD       only operations whose names contain the word
  --quick           without the longest rows, and those of one thread (what CI runs)
  --large           also instructions with 1,000,000 entities
  --places N        for each row of events, the N places in the code where the most happen
  --profile FILE    leave the longer run's callgrind profile there (one operation, chosen with --only
                    and --instructions), for callgrind_annotate
  --bless           take the figures for right: write them and their limits to the file
  --file FILE       the figures and limits (benches/counts.tsv)
  --jobs N          runs at a time (the number of processors)

Needs valgrind, for --places binutils, and librtm.so beside the program, as new as it: run
cargo build --release -p rtm-ffi first, or the figures of C are those of an old library.
A figure does not depend on the machine's load. It changes by a few per cent with the compiler, the C
library and the processor's vector instructions; limits leave room for that.

Exit code: 0 all within their limits; 1 a limit is exceeded, or a row is not in the file; 2 it cannot be said.
";

const THREADS: [usize; 3] = [1, 16, 64];

/// What was asked for.
pub enum Asked {
    /// To print [`HELP`].
    Help,
    /// To be run under valgrind: does not return.
    Child(Vec<String>),
    /// To count.
    Run(Options),
}

/// How to count.
pub struct Options {
    only: Option<String>,
    what: Option<What>,
    quick: bool,
    large: bool,
    places: usize,
    profile: Option<String>,
    bless: bool,
    file: PathBuf,
    jobs: usize,
}

/// Understands the command line.
///
/// # Errors
/// What is wrong with it.
pub fn parse(mut parser: lexopt::Parser) -> Result<Asked, lexopt::Error> {
    use lexopt::prelude::*;
    let mut options = Options {
        only: None,
        what: None,
        quick: false,
        large: false,
        places: 0,
        profile: None,
        bless: false,
        file: concat!(env!("CARGO_MANIFEST_DIR"), "/counts.tsv").into(),
        jobs: std::thread::available_parallelism().map_or(1, usize::from),
    };
    while let Some(argument) = parser.next()? {
        match argument {
            Long("help") | Short('h') => return Ok(Asked::Help),
            Long("child") => {
                let words: Result<_, _> = parser.raw_args()?.map(|word| word.string()).collect();
                return Ok(Asked::Child(words?));
            }
            Long("only") => options.only = Some(parser.value()?.string()?),
            Long("instructions") => options.what = Some(What::Instructions),
            Long("events") => options.what = Some(What::Events),
            Long("quick") => options.quick = true,
            Long("large") => options.large = true,
            Long("places") => options.places = parser.value()?.parse()?,
            Long("profile") => options.profile = Some(parser.value()?.string()?),
            Long("bless") => options.bless = true,
            Long("file") => options.file = parser.value()?.into(),
            Long("jobs") => options.jobs = parser.value()?.parse::<usize>()?.max(1),
            _ => return Err(argument.unexpected()),
        }
    }
    Ok(Asked::Run(options))
}

/// One row to be counted.
struct Job {
    key: Key,
    /// Left out of a quick run.
    long: bool,
    work: Work,
}

enum Work {
    Instructions(&'static Counted),
    Events(&'static events::Simulated, usize),
}

/// A row's figure, and where in the code it comes from.
pub(crate) struct Row {
    key: Key,
    figure: f64,
    places: Vec<(String, f64)>,
}

/// Every row there is, in the order of the table.
fn jobs(large: bool) -> Vec<Job> {
    let large: &[Counted] = if large { instructions::LARGE } else { &[] };
    let counted = instructions::ALL.iter().chain(large).map(|counted| Job {
        key: key(What::Instructions, counted.name, counted.entities),
        long: false,
        work: Work::Instructions(counted),
    });
    let simulated = events::ALL.iter().flat_map(|simulated| {
        THREADS.map(|threads| Job {
            key: key(What::Events, simulated.name, threads),
            long: simulated.is_left_out(threads),
            work: Work::Events(simulated, threads),
        })
    });
    counted.chain(simulated).collect()
}

fn key(what: What, operation: &str, at: usize) -> Key {
    Key { what, operation: operation.to_owned(), at }
}

impl Job {
    fn run(&self, options: &Options) -> Result<Row, String> {
        let at = self.key.at.to_string();
        let (figure, places) = match &self.work {
            Work::Instructions(counted) => {
                let count = |rounds: usize, profile| {
                    let rounds = rounds.to_string();
                    let child = ["--child", counted.name, What::Instructions.name(), &at, &rounds];
                    valgrind::instructions(&child, profile)
                };
                let fewer = count(counted.rounds[0], None)?;
                let more = count(counted.rounds[1], options.profile.as_deref())?;
                let operations = (counted.rounds[1] - counted.rounds[0]) as u64 * counted.per_round;
                let more = more.saturating_sub(fewer) as f64;
                ((more / operations as f64 * 100.0).round() / 100.0, Vec::new())
            }
            Work::Events(simulated, _) => {
                let child = ["--child", simulated.name, What::Events.name(), &at];
                let (outcome, places) = valgrind::events(&child, options.places)?;
                let operations = (outcome.operations * simulated.per_turn) as f64;
                let share = |count: u64| count as f64 / operations;
                let places = places.into_iter().map(|(name, count)| (name, share(count)));
                ((share(outcome.events) * 10_000.0).round() / 10_000.0, places.collect())
            }
        };
        Ok(Row { key: self.key.clone(), figure, places })
    }
}

/// Does an operation under valgrind. What was not asked for by [`run`] is a mistake of the caller's.
pub fn child(words: &[String]) -> ! {
    let number = |index: usize| words.get(index).and_then(|word: &String| word.parse().ok());
    let (Some(name), Some(what), Some(at)) = (words.first(), words.get(1), number(2)) else {
        panic!("a child without work: {words:?}");
    };
    let is_it =
        |job: &&Job| job.key.operation == *name && job.key.what.name() == what && job.key.at == at;
    let jobs = jobs(true);
    match (&jobs.iter().find(is_it).expect("an operation").work, number(3)) {
        (Work::Instructions(counted), Some(rounds)) => {
            (counted.run)(counted.entities, rounds);
            std::process::exit(0)
        }
        (Work::Events(simulated, threads), _) => {
            let image = valgrind::image();
            println!("{} {}", image.start, image.end);
            simulated.run(*threads)
        }
        _ => panic!("how often? {words:?}"),
    }
}

/// Counts, compares, prints. The exit code.
pub fn run(options: &Options) -> i32 {
    match try_run(options) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("rtm-counts: {error}");
            2
        }
    }
}

fn try_run(options: &Options) -> Result<i32, String> {
    let known = jobs(true);
    let wanted: Vec<Job> =
        jobs(options.large).into_iter().filter(|job| options.wants(job)).collect();
    if wanted.is_empty() {
        return Err("no such operation".to_owned());
    }
    if options.profile.is_some() && wanted.len() != 1 {
        return Err("--profile is for one operation: use --only and --instructions".to_owned());
    }
    if wanted.iter().any(|job| job.key.operation.starts_with("C, ")) {
        c_calls::library()?;
    }
    let committed = match committed::read(&options.file) {
        Err(_) if options.bless => Vec::new(),
        committed => committed?,
    };
    // The longest first, so that they do not end alone.
    let mut order: Vec<&Job> = wanted.iter().collect();
    order.sort_by_key(|job| std::cmp::Reverse((job.key.what, job.long, job.key.at)));
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        while let Some(job) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
            let row = job.run(options);
            done.lock().expect("no panics").push(row);
        }
    };
    std::thread::scope(|scope| (0..options.jobs).for_each(|_| drop(scope.spawn(work))));
    let rows: Result<Vec<Row>, String> =
        done.into_inner().expect("no panics").into_iter().collect();
    let mut rows = rows?;
    let place = |key: &Key| known.iter().position(|job| job.key == *key);
    rows.sort_by_key(|row| place(&row.key));
    let mut faults = report::print(&rows, &committed);
    for entry in committed.iter().filter(|entry| place(&entry.key).is_none()) {
        println!("{:?} is in the file and is no row any more", entry.key.operation);
        faults += u32::from(!options.bless);
    }
    if options.bless {
        report::bless(&options.file, &rows, committed, place)?;
        faults = report::blind(&rows);
    }
    Ok(i32::from(faults != 0))
}

impl Options {
    fn wants(&self, job: &Job) -> bool {
        self.what.is_none_or(|what| what == job.key.what)
            && self.only.as_ref().is_none_or(|word| job.key.operation.contains(word))
            && !(self.quick && job.long)
    }
}
