//! What looks at a run from outside: the watchdog, and who shows and keeps its figures.

use super::layout::{
    BATCH, DEREGISTER, ENUMERATE, HELD, INFO, INVOKE, KINDS, LOOKUP, RUNDOWN, STALE, Shared, Tally,
};
use super::options::Options;
use super::{Drive, Figures, Moment, RATES};
use indicatif::{ProgressBar, ProgressStyle};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a run may take to end that has failed.
const PATIENCE_WHEN_WRONG: Duration = Duration::from_secs(5);
/// How often a figure is printed where there is no terminal.
const LINE: Duration = Duration::from_secs(60);

pub(super) fn bar(length: u64, style: &str) -> ProgressBar {
    let bar = ProgressBar::new(length);
    bar.set_style(
        ProgressStyle::with_template(style)
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .progress_chars("=> "),
    );
    bar
}

/// Ends the program when a phase takes too long: what hangs does not come back to say so.
pub(super) struct Watchdog {
    phase: Mutex<Phase>,
    patience: Duration,
}

/// What is waited for, and until when; `None`: for the user's own time.
#[derive(Clone, Copy, Default)]
struct Phase {
    what: &'static str,
    until: Option<Instant>,
    over: bool,
}

impl Watchdog {
    /// With so much patience in each phase.
    pub(super) fn new(patience: Duration) -> Watchdog {
        Watchdog { phase: Mutex::default(), patience }
    }

    fn set(&self, phase: Phase) {
        *self.phase.lock().unwrap_or_else(PoisonError::into_inner) = phase;
    }

    pub(super) fn begin(&self, what: &'static str) {
        self.set(Phase { what, until: Some(Instant::now() + self.patience), over: false });
    }

    pub(super) fn end(&self) {
        self.set(Phase { over: true, ..Phase::default() });
    }

    pub(super) fn watch(&self, shared: &Shared) {
        let mut wrong_since = None;
        loop {
            let Phase { what, until, over } =
                *self.phase.lock().unwrap_or_else(PoisonError::into_inner);
            if over {
                return;
            }
            let violation = shared.violation();
            if violation.is_some() {
                wrong_since = wrong_since.or(Some(Instant::now()));
            }
            let late = until.is_some_and(|until| Instant::now() > until)
                || wrong_since.is_some_and(|since| since.elapsed() > PATIENCE_WHEN_WRONG);
            if late {
                let hangs =
                    || format!("after {} s it was not so that {what}", self.patience.as_secs());
                println!("VIOLATION: {}", violation.unwrap_or_else(hangs));
                std::process::exit(1);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Bytes of the process's pages that are in memory.
pub(super) fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = text.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok());
    // SAFETY: no conditions.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    pages.unwrap_or(0) * u64::try_from(page).unwrap_or(0)
}

/// The library's bytes and the process's, in words.
pub(super) fn memory(library: u64, resident: u64) -> String {
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    format!("{:.1} MiB of the library, {:.1} of the process", mib(library), mib(resident))
}

/// Shows live rates until the time is over or something is wrong; keeps them.
pub(super) fn watch(
    drive: &dyn Drive,
    shared: &Shared,
    options: &Options,
    views: &[&[AtomicU64; KINDS.len()]],
    tallies: &[Tally],
    begin: Instant,
) -> Vec<Moment> {
    let end = Duration::from_secs_f64(options.seconds);
    let bar = bar(end.as_millis() as u64, "[{bar:30}] {msg}");
    let sum = |kinds: &[usize]| -> u64 {
        let of = |view: &&[AtomicU64; KINDS.len()]| -> u64 {
            kinds.iter().map(|kind| view[*kind].load(Ordering::Relaxed)).sum()
        };
        views.iter().map(of).sum()
    };
    let mut moments = Vec::new();
    let mut before = (begin, [0; RATES.len()]);
    let mut next_line = LINE;
    while begin.elapsed() < end && shared.stop.load(Ordering::Relaxed) == 0 {
        std::thread::sleep(Duration::from_millis(200).min(end.saturating_sub(begin.elapsed())));
        let counts = [
            sum(&[LOOKUP, HELD, BATCH, INFO, STALE]),
            sum(&[DEREGISTER, RUNDOWN]),
            sum(&[ENUMERATE]),
            tallies.iter().map(|tally| tally.told.load(Ordering::Relaxed)).sum(),
            sum(&[INVOKE]),
        ];
        let now = (Instant::now(), counts);
        let passed = now.0.duration_since(before.0).as_secs_f64().max(1e-9);
        let rates =
            std::array::from_fn(|kind| (now.1[kind] - before.1[kind]) as f64 / passed / 1e6);
        let Figures { retired, bytes, .. } = drive.figures();
        let seconds = begin.elapsed().as_secs_f64();
        let moment = Moment { seconds, rates, retired, bytes, resident: resident() };
        bar.set_position(begin.elapsed().as_millis() as u64);
        let [lookups, registrations, listed, events, invocations] = rates;
        let message = format!(
            "{seconds:>4.0} s  M/s: {lookups:6.1} lookups  {registrations:5.2} re-registrations  \
             {listed:5.1} listed  {events:5.2} events  {invocations:5.2} invocations  backlog {retired}",
        );
        if bar.is_hidden() && begin.elapsed() >= next_line && next_line < end {
            next_line += LINE;
            println!("{message}  {}", memory(bytes, moment.resident));
        }
        bar.set_message(message);
        moments.push(moment);
        before = now;
    }
    bar.finish_and_clear();
    moments
}
