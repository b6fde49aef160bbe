//! rtm-load: drives the registry on real input and checks that nothing goes wrong.
//!
//! The workers and their checks are written twice: in C (the folder `c`), which reaches the library as a
//! daemon does, and in Rust (`via_rust`) over the core. This module makes the threads, shows progress and
//! reports; `layout` has what the workers share.
//!
//! *Phases.* All entities are registered; the threads work until the time is over (`stop`); when all but
//! the listeners' threads have ended (`quiet`), every listener must be told of what was left, and the
//! accounts are closed (`settled`); everything is deregistered and nothing may be left. A watchdog ends a
//! run in which a phase does not end: a wait that nobody ends is a violation too.

mod layout;
pub mod options;
mod page;
mod report;
mod via_c;
mod via_rust;
mod watch;

use crate::input::{self, Origin};
use layout::{Identity, KINDS, STALE_KEPT, Shared, TOLD_POOL, TOLD_QUEUE, Tally, Worker};
use options::{Options, Via};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Instant;
use watch::{Watchdog, bar, resident, watch};

/// What a worker does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Reader,
    Churner,
    Enumerator,
    Invoker,
    /// Registers the listeners and does their accounts.
    Host,
    /// Runs the events of those listeners that have a queue of their own.
    Loop,
    /// Stays inside sections.
    Holder,
    /// Keeps references.
    Referrer,
    /// Sends threads that come and go.
    Visitors,
    /// Synchronizes, flushes, changes limits.
    Housekeeper,
}

/// A way to the library.
pub(crate) trait Drive: Sync {
    /// Makes the listeners, which are not registered yet. Says what it lacks.
    fn prepare(&self, shared: &Shared) -> Result<(), String>;
    /// Registers entities `first..last`.
    fn register_range(&self, worker: &mut Worker, first: u32, last: u32);
    /// Works until told to stop.
    fn work(&self, role: Role, worker: &mut Worker);
    /// Deregisters everything and checks the accounts.
    fn finish(&self, worker: &mut Worker, created: u64);
    /// Figures of this moment.
    fn figures(&self) -> Figures;
}

/// What the library says of itself.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Figures {
    pub(crate) live: u64,
    pub(crate) retired: u64,
    pub(crate) retired_peak: u64,
    pub(crate) reclaimed: u64,
    pub(crate) bytes: u64,
    pub(crate) index_bytes: u64,
    pub(crate) chunks: u64,
    pub(crate) event_threads: u64,
}

/// What is shown while it runs.
pub(crate) const RATES: [&str; 5] =
    ["lookups", "re-registrations", "listed", "events", "invocations"];

/// A moment of the run.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Moment {
    /// Since it began.
    pub(crate) seconds: f64,
    /// Millions per second since the moment before, in the order of [`RATES`].
    pub(crate) rates: [f64; RATES.len()],
    /// Entities that wait for their grace period.
    pub(crate) retired: u64,
    /// Of the library.
    pub(crate) bytes: u64,
    /// Of the process, in memory.
    pub(crate) resident: u64,
}

/// Bytes of the library and of the process.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Memory {
    pub(crate) library: u64,
    pub(crate) resident: u64,
}

/// Everything measured in a run.
pub(crate) struct Outcome {
    pub(crate) options: Options,
    pub(crate) entities: u32,
    pub(crate) load_seconds: f64,
    pub(crate) run_seconds: f64,
    pub(crate) full: Figures,
    pub(crate) last: Figures,
    /// When all were registered; the most there was; when the time was over; when all was given back.
    pub(crate) memory: [(&'static str, Memory); 4],
    /// What was seen while it ran.
    pub(crate) moments: Vec<Moment>,
    pub(crate) workers: Vec<Box<Worker>>,
    pub(crate) refused: u64,
    pub(crate) created: u64,
    pub(crate) told: u64,
    pub(crate) missed: u64,
    pub(crate) rounds: u64,
    pub(crate) violation: Option<String>,
}

fn identities(origins: &[Origin], wanted: Option<u32>) -> Vec<Identity> {
    let per_instance = 2 * origins.len();
    let count = wanted.map_or(per_instance, |wanted| (wanted.max(2) as usize).next_multiple_of(2));
    (0..count)
        .map(|index| {
            let origin = &origins[index % per_instance / 2];
            let (family, prefixes) = match index % 2 {
                0 => (libc::AF_INET, origin.ipv4_prefixes),
                _ => (libc::AF_INET6, origin.ipv6_prefixes),
            };
            let instance = u16::try_from(index / per_instance).unwrap_or(u16::MAX);
            Identity { instance, family: family as u16, asn: origin.asn, prefixes }
        })
        .collect()
}

/// Runs the load and reports. The exit code of the program.
pub fn run(options: Options) -> i32 {
    let origins = if options.input.is_empty() {
        input::default_input()
    } else {
        match input::read(&options.input) {
            Ok(origins) => origins,
            Err(error) => {
                eprintln!("rtm-load: {error}");
                return 2;
            }
        }
    };
    if options.entities.is_some_and(|wanted| wanted as usize > origins.len() * 2 * 65_536) {
        eprintln!("rtm-load: --entities is more than 65,536 instances of this input hold");
        return 2;
    }
    let identities = identities(&origins, options.entities);
    let drive: Box<dyn Drive> = match &options.via {
        Via::C => Box::new(via_c::Direct),
        Via::SharedObject(path) => match via_c::Table::open(path.as_deref()) {
            Ok(table) => Box::new(table),
            Err(error) => {
                eprintln!("rtm-load: {error}");
                return 2;
            }
        },
        Via::Rust => Box::new(via_rust::Core::new()),
    };
    let outcome = drive_load(&*drive, options, &identities);
    report::print(&outcome);
    let files = [
        (&outcome.options.json, report::json(&outcome)),
        (&outcome.options.report, page::html(&outcome)),
    ];
    for (path, text) in files {
        if let Some(path) = path
            && let Err(error) = std::fs::write(path, text)
        {
            eprintln!("rtm-load: cannot write {}: {error}", path.display());
            return 2;
        }
    }
    i32::from(outcome.violation.is_some())
}

fn atomics(count: usize) -> Vec<AtomicU64> {
    (0..count).map(|_| AtomicU64::new(0)).collect()
}

/// What reading the clock twice costs, at the least.
fn timer_ns() -> u64 {
    let twice = |_| {
        let begin = Instant::now();
        begin.elapsed().as_nanos() as u64
    };
    (0..10_000).map(twice).min().unwrap_or(0)
}

fn drive_load(drive: &dyn Drive, options: Options, identities: &[Identity]) -> Outcome {
    let count = identities.len();
    let handles = atomics(count);
    let stale = atomics(2 * STALE_KEPT as usize);
    let (gates, contexts) = (atomics(count), atomics(count));
    let (by_asn, by_asn_bits) = layout::by_asn(identities);
    let tallies: Vec<Tally> =
        std::iter::repeat_with(Tally::default).take(options.listeners as usize).collect();
    let first_instance = identities.iter().take_while(|identity| identity.instance == 0).count();
    let shared = Shared {
        identities: identities.as_ptr(),
        handles: handles.as_ptr(),
        stale: stale.as_ptr(),
        gates: gates.as_ptr(),
        contexts: contexts.as_ptr(),
        by_asn: by_asn.as_ptr(),
        tallies: tallies.as_ptr(),
        entities: count as u32,
        permanent_stride: layout::PERMANENT_STRIDE,
        stale_mask: STALE_KEPT - 1,
        stop: AtomicU32::new(0),
        quiet: AtomicU32::new(0),
        settled: AtomicU32::new(0),
        first_instance: first_instance as u32,
        by_asn_bits,
        listeners: options.listeners,
        invokers: options.invokers,
        journal: options.journal.unwrap_or(0),
        stale_count: AtomicU64::new(0),
        cleaned: AtomicU64::new(0),
        timer_ns: timer_ns(),
        patience_ns: (options.patience() / 3).as_nanos() as u64,
        violated: AtomicU32::new(0),
        violation: std::cell::UnsafeCell::new([0; 252]),
    };
    println!(
        "rtm-load: {count} entities ({} AS x 2 families), {}, {} s, via {}, seed {}",
        count / 2,
        options.threads(),
        options.seconds,
        options.via.name(),
        options.seed,
    );
    let mut workers: Vec<Box<Worker>> = Vec::new();
    if let Err(lacking) = drive.prepare(&shared) {
        eprintln!("rtm-load: {lacking}");
        std::process::exit(2);
    }

    let begin = Instant::now();
    let loading = bar(count as u64, "registering [{bar:40}] {pos}/{len} {per_sec}");
    let mut first = Worker::new(&shared, 0, options.seed);
    for chunk in (0..count as u32).step_by(8192) {
        drive.register_range(&mut first, chunk, (chunk + 8192).min(count as u32));
        loading.set_position(u64::from(chunk));
        if shared.violated.load(Ordering::Relaxed) != 0 {
            break;
        }
    }
    loading.finish_and_clear();
    let load_seconds = begin.elapsed().as_secs_f64();
    let full = drive.figures();
    let start = Memory { library: full.bytes, resident: resident() };
    workers.push(first);

    let listening = usize::from(options.listeners != 0);
    let roles = [
        (Role::Reader, options.readers as usize),
        (Role::Churner, options.churners as usize),
        (Role::Enumerator, options.enumerators as usize),
        (Role::Invoker, options.invokers as usize),
        (Role::Host, listening),
        (Role::Loop, listening),
        (Role::Holder, options.holders as usize),
        (Role::Referrer, options.referrers as usize),
        (Role::Visitors, options.visitors as usize),
        (Role::Housekeeper, options.housekeepers as usize),
    ];
    let roles = roles.into_iter().flat_map(|(role, count)| std::iter::repeat_n(role, count));
    let mut running: Vec<(Role, Box<Worker>)> = roles
        .enumerate()
        .map(|(n, role)| (role, Worker::new(&shared, n as u32 + 1, options.seed)))
        .collect();
    let watchdog = Watchdog::new(options.patience());
    let (run_seconds, moments, last, end, created, refused) = std::thread::scope(|scope| {
        scope.spawn(|| watchdog.watch(&shared));
        let (run_seconds, moments) =
            run_threads(drive, &shared, &options, &tallies, &watchdog, &mut running);
        workers.extend(running.into_iter().map(|(_, worker)| worker));
        let created = workers.iter().map(|worker| worker.created).sum();
        let refused = workers.iter().map(|worker| worker.refused).sum();
        let last = drive.figures();
        let end = Memory { library: last.bytes, resident: resident() };
        watchdog.begin("everything was deregistered and cleaned up");
        drive.finish(&mut workers[0], created);
        watchdog.end();
        (run_seconds, moments, last, end, created, refused)
    });
    let most = |of: fn(&Moment) -> u64| moments.iter().map(of).max().unwrap_or(0);
    let peak = Memory {
        library: most(|moment| moment.bytes).max(start.library).max(end.library),
        resident: most(|moment| moment.resident).max(start.resident).max(end.resident),
    };
    let left = Memory { library: drive.figures().bytes, resident: resident() };
    let memory = [("start", start), ("peak", peak), ("end", end), ("given back", left)];
    let sum = |of: fn(&Tally) -> &AtomicU64| -> u64 {
        tallies.iter().map(|tally| of(tally).load(Ordering::Relaxed)).sum()
    };
    let told = sum(|tally| &tally.told);
    let own: u64 =
        workers.iter().map(|worker| worker.operations[TOLD_QUEUE].load(Ordering::Relaxed)).sum();
    workers[0].operations[TOLD_POOL].store(told.saturating_sub(own), Ordering::Relaxed);
    Outcome {
        options,
        entities: count as u32,
        load_seconds,
        run_seconds,
        full,
        last,
        memory,
        moments,
        workers,
        refused,
        created,
        told,
        missed: sum(|tally| &tally.missed),
        rounds: sum(|tally| &tally.rounds),
        violation: shared.violation(),
    }
}

/// Lets the threads work, and the listeners hear the rest. How long they worked, and what was seen.
fn run_threads(
    drive: &dyn Drive,
    shared: &Shared,
    options: &Options,
    tallies: &[Tally],
    watchdog: &Watchdog,
    running: &mut [(Role, Box<Worker>)],
) -> (f64, Vec<Moment>) {
    let begin = Instant::now();
    std::thread::scope(|scope| {
        let mut views: Vec<&[AtomicU64; KINDS.len()]> = Vec::new();
        let mut threads = Vec::new();
        for (role, worker) in running {
            // SAFETY: the worker outlives the scope and changes these by atomic stores alone.
            views.push(unsafe { &*std::ptr::from_ref(&worker.operations) });
            let role = *role;
            let thread = scope.spawn(move || drive.work(role, worker));
            if !matches!(role, Role::Host | Role::Loop) {
                threads.push(thread);
            }
        }
        let moments = watch(drive, shared, options, &views, tallies, begin);
        shared.stop.store(1, Ordering::Relaxed);
        watchdog.begin("all threads had ended");
        for thread in threads {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        }
        let run_seconds = begin.elapsed().as_secs_f64();
        shared.quiet.store(1, Ordering::Release);
        watchdog.begin("all listeners had been told everything");
        (run_seconds, moments)
    })
}
