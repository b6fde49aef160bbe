//! rtm-load: drives the registry on real input and checks that nothing goes wrong.
//!
//! The workers and their checks are written twice: in C (`c/load.c`), which reaches the library as a
//! daemon does, and in Rust (`via_rust.rs`) over the core. This module has what both share, makes the
//! threads, shows progress and reports.

pub mod options;
mod report;
mod via_c;
mod via_rust;

use crate::input::{self, Origin};
use indicatif::{ProgressBar, ProgressStyle};
use options::{Options, Via};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Kinds of operation, in the order of the C workers.
pub const KINDS: [&str; 8] = [
    "lookup, own section",
    "lookup, held section",
    "lookup, batch of 64",
    "plain info copy",
    "stale handle refused",
    "register",
    "deregister",
    "enumerate, per entity",
];
pub(crate) const LOOKUP: usize = 0;
pub(crate) const HELD: usize = 1;
pub(crate) const BATCH: usize = 2;
pub(crate) const INFO: usize = 3;
pub(crate) const STALE: usize = 4;
pub(crate) const REGISTER: usize = 5;
pub(crate) const DEREGISTER: usize = 6;
pub(crate) const ENUMERATE: usize = 7;

pub(crate) const STEPS: usize = 16;
pub(crate) const BUCKETS: usize = 40 * STEPS;
/// One entity of this many is never deregistered, so that enumerations can be checked (two
/// neighbours, one of each family).
const PERMANENT_STRIDE: u32 = 16;
/// Stale handles kept.
const STALE_KEPT: u32 = 1 << 16;

/// Who an entity is. Entities 2k and 2k + 1 are one AS in both families.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Identity {
    pub(crate) instance: u16,
    pub(crate) family: u16,
    pub(crate) asn: u32,
    pub(crate) prefixes: u32,
}

/// What the workers share, as C sees it.
#[repr(C)]
pub(crate) struct Shared {
    pub(crate) identities: *const Identity,
    pub(crate) handles: *const AtomicU64,
    pub(crate) stale: *const AtomicU64,
    pub(crate) entities: u32,
    pub(crate) permanent_stride: u32,
    pub(crate) stale_mask: u32,
    pub(crate) stop: AtomicU32,
    pub(crate) stale_count: AtomicU64,
    pub(crate) cleaned: AtomicU64,
    pub(crate) timer_ns: u64,
    pub(crate) violated: AtomicU32,
    pub(crate) violation: std::cell::UnsafeCell<[u8; 252]>,
}

// SAFETY: shared through atomics; `violation` is written once, before `violated` is released.
unsafe impl Sync for Shared {}
// SAFETY: as above.
unsafe impl Send for Shared {}

/// One thread's counts, as C sees them.
#[repr(C)]
pub(crate) struct Worker {
    pub(crate) shared: *const Shared,
    pub(crate) random: u64,
    pub(crate) id: u32,
    padding: u32,
    pub(crate) operations: [AtomicU64; KINDS.len()],
    pub(crate) block_ns: [u64; KINDS.len()],
    pub(crate) block_ops: [u64; KINDS.len()],
    pub(crate) max_ns: [u64; KINDS.len()],
    pub(crate) created: u64,
    pub(crate) refused: u64,
    pub(crate) histogram: [[u64; BUCKETS]; KINDS.len()],
}

// SAFETY: a worker is used by its thread; others read `operations` only.
unsafe impl Send for Worker {}
// SAFETY: as above.
unsafe impl Sync for Worker {}

impl Worker {
    fn new(shared: &Shared, id: u32, seed: u64) -> Box<Worker> {
        // The histogram is too large for the stack.
        let worker = Box::<Worker>::new_zeroed();
        // SAFETY: all fields are numbers, atomics of numbers and a pointer that may be null.
        let mut worker = unsafe { worker.assume_init() };
        worker.shared = shared;
        worker.id = id;
        worker.random = (seed ^ u64::from(id + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)).max(1);
        worker
    }
}

/// What a worker does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Reader,
    Churner,
    Enumerator,
}

/// A way to the library.
pub(crate) trait Drive: Sync {
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
}

/// Everything measured in a run.
pub(crate) struct Outcome {
    pub(crate) options: Options,
    pub(crate) entities: u32,
    pub(crate) load_seconds: f64,
    pub(crate) run_seconds: f64,
    pub(crate) full: Figures,
    pub(crate) last: Figures,
    pub(crate) workers: Vec<Box<Worker>>,
    pub(crate) refused: u64,
    pub(crate) created: u64,
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
    if let Some(path) = &outcome.options.json
        && let Err(error) = std::fs::write(path, report::json(&outcome))
    {
        eprintln!("rtm-load: cannot write {}: {error}", path.display());
        return 2;
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

fn bar(length: u64, style: &str) -> ProgressBar {
    let bar = ProgressBar::new(length);
    bar.set_style(
        ProgressStyle::with_template(style)
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .progress_chars("=> "),
    );
    bar
}

fn drive_load(drive: &dyn Drive, options: Options, identities: &[Identity]) -> Outcome {
    let count = identities.len();
    let handles = atomics(count);
    let stale = atomics(2 * STALE_KEPT as usize);
    let shared = Shared {
        identities: identities.as_ptr(),
        handles: handles.as_ptr(),
        stale: stale.as_ptr(),
        entities: count as u32,
        permanent_stride: PERMANENT_STRIDE,
        stale_mask: STALE_KEPT - 1,
        stop: AtomicU32::new(0),
        stale_count: AtomicU64::new(0),
        cleaned: AtomicU64::new(0),
        timer_ns: timer_ns(),
        violated: AtomicU32::new(0),
        violation: std::cell::UnsafeCell::new([0; 252]),
    };
    println!(
        "rtm-load: {count} entities ({} AS x 2 families), {} readers, {} churners, {} enumerators, \
         {} s, via {}, seed {}",
        count / 2,
        options.readers,
        options.churners,
        options.enumerators,
        options.seconds,
        options.via.name(),
        options.seed,
    );
    let mut workers: Vec<Box<Worker>> = Vec::new();

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
    workers.push(first);

    let roles = (std::iter::repeat_n(Role::Reader, options.readers as usize))
        .chain(std::iter::repeat_n(Role::Churner, options.churners as usize))
        .chain(std::iter::repeat_n(Role::Enumerator, options.enumerators as usize));
    let mut running: Vec<(Role, Box<Worker>)> = roles
        .enumerate()
        .map(|(n, role)| (role, Worker::new(&shared, n as u32 + 1, options.seed)))
        .collect();
    let begin = Instant::now();
    std::thread::scope(|scope| {
        let mut views: Vec<&[AtomicU64; KINDS.len()]> = Vec::new();
        for (role, worker) in &mut running {
            // SAFETY: the worker outlives the scope and changes these by atomic stores alone.
            views.push(unsafe { &*std::ptr::from_ref(&worker.operations) });
            let role = *role;
            scope.spawn(move || drive.work(role, worker));
        }
        watch(drive, &shared, &options, &views, begin);
        shared.stop.store(1, Ordering::Relaxed);
    });
    let run_seconds = begin.elapsed().as_secs_f64();
    workers.extend(running.into_iter().map(|(_, worker)| worker));

    let created = workers.iter().map(|worker| worker.created).sum();
    let refused = workers.iter().map(|worker| worker.refused).sum();
    let last = drive.figures();
    drive.finish(&mut workers[0], created);
    let violation = (shared.violated.load(Ordering::Acquire) != 0).then(|| {
        // SAFETY: all workers have ended.
        let text = unsafe { &*shared.violation.get() };
        let end = text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
        String::from_utf8_lossy(&text[..end]).into_owned()
    });
    Outcome {
        options,
        entities: count as u32,
        load_seconds,
        run_seconds,
        full,
        last,
        workers,
        refused,
        created,
        violation,
    }
}

/// Shows live rates until the time is over or something is wrong.
fn watch(
    drive: &dyn Drive,
    shared: &Shared,
    options: &Options,
    views: &[&[AtomicU64; KINDS.len()]],
    begin: Instant,
) {
    let end = Duration::from_secs_f64(options.seconds);
    let bar = bar(end.as_millis() as u64, "[{bar:30}] {msg}");
    let sum = |kinds: &[usize]| -> u64 {
        let of = |view: &&[AtomicU64; KINDS.len()]| -> u64 {
            kinds.iter().map(|kind| view[*kind].load(Ordering::Relaxed)).sum()
        };
        views.iter().map(of).sum()
    };
    let mut before = (Instant::now(), 0, 0, 0);
    while begin.elapsed() < end && shared.stop.load(Ordering::Relaxed) == 0 {
        std::thread::sleep(Duration::from_millis(200).min(end.saturating_sub(begin.elapsed())));
        let now = (
            Instant::now(),
            sum(&[LOOKUP, HELD, BATCH, INFO, STALE]),
            sum(&[DEREGISTER]),
            sum(&[ENUMERATE]),
        );
        let rate = |new: u64, old: u64| {
            (new - old) as f64 / now.0.duration_since(before.0).as_secs_f64().max(1e-9) / 1e6
        };
        let figures = drive.figures();
        bar.set_position(begin.elapsed().as_millis() as u64);
        bar.set_message(format!(
            "{:>4.0} s  {:6.1} M lookups/s  {:5.2} M re-registrations/s  {:5.1} M listed/s  \
             backlog {}",
            begin.elapsed().as_secs_f64(),
            rate(now.1, before.1),
            rate(now.2, before.2),
            rate(now.3, before.3),
            figures.retired,
        ));
        before = now;
    }
    bar.finish_and_clear();
}
