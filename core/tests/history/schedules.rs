//! Histories of threads that shuttle schedules: three to five, on a whole registry.
//!
//! After each atomic operation and lock of the library the scheduler, random or PCT (Burckhardt et al.,
//! 2010), chooses the thread that goes on. What crossbeam-epoch does is one step each time, and
//! every load sees the last store: orderings are loom's affair.
//!
//! A seed stands for a *batch*: what the threads do, and [`BATCH`] schedules of it. The same seed gives
//! the same schedules: `RTM_SCHEDULE_SEED` repeats a batch (alone, or with `RTM_SCHEDULES` as the first of
//! that many schedules).

use crate::common::{Random, Small};
use crate::drive::{self, Driver, Log, Payload, Round, Tally};
use crate::{Repeat, variable};
use rtm_core::{Registry, Settings};
use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::{Config, FailurePersistence, MaxSteps, Runner};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// Schedules of one seed. PCT uses the first to learn how long they are.
const BATCH: usize = 64;

/// What is done, by seed.
#[derive(Clone, Copy)]
struct Plan {
    seed: u64,
    threads: u32,
    ids: u64,
    operations: usize,
    events: u64,
    /// The journal is as short as can be.
    short_journal: bool,
}

impl Plan {
    fn new(seed: u64) -> Plan {
        // Neighbouring seeds begin alike.
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let mut between = |from: u64, to: u64| from + (random.next() >> 32) % (to - from + 1);
        Plan {
            seed,
            threads: between(3, 5) as u32,
            ids: between(1, 3),
            operations: between(4, 12) as usize,
            // With listeners every third time.
            events: if between(1, 3) == 1 { 4 } else { 0 },
            short_journal: between(1, 2) == 1,
        }
    }

    fn schedules(self) -> Box<dyn Scheduler + Send> {
        match self.seed % 4 {
            0 => Box::new(RandomScheduler::new_from_seed(self.seed, BATCH)),
            depth => Box::new(PctScheduler::new_from_seed(self.seed, depth as usize + 1, BATCH)),
        }
    }

    /// One execution. Says how many operations there were, and how many events were told.
    fn execute(self) -> [usize; 2] {
        let (tally, fresh) = (Tally::default(), AtomicU64::new(0));
        let round =
            Round::new(self.ids, &fresh, &tally).with_events(self.events, self.short_journal);
        let mut settings = Settings::default();
        if self.short_journal {
            settings.limits.journal = 1;
        }
        let registry = Registry::<Payload<'_>, Small>::with_config(settings).expect("memory");
        let drive = |thread| {
            let member = registry.join().expect("memory");
            Driver::new(&round, &member, thread, self.seed).run(self.operations)
        };
        let drive = &drive;
        let mut logs: Vec<Log> = shuttle::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..self.threads).map(|n| scope.spawn(move || drive(n))).collect();
            threads.into_iter().map(|thread| thread.join().expect("see above")).collect()
        });
        let member = registry.join().expect("memory");
        let last = Driver::new(&round, &member, self.threads, self.seed).end(&mut logs);
        logs.push(last);
        let done = drive::judge(&logs).unwrap_or_else(|why| panic!("VIOLATION: {why}"));
        drive::nothing_left(&member, &tally);
        done
    }
}

fn batch(seed: u64) -> [usize; 3] {
    let _repeat = Repeat("RTM_SCHEDULE_SEED", seed);
    let mut config = Config::new();
    config.stack_size = 1 << 18;
    config.max_steps = MaxSteps::FailAfter(1_000_000);
    config.failure_persistence = FailurePersistence::None;
    config.silence_warnings = true;
    config.ungraceful_shutdown_config.immediately_return_on_panic = true;
    let plan = Plan::new(seed);
    let counts = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
    let all = counts.clone();
    let schedules = Runner::new(plan.schedules(), config).run(move || {
        let done = plan.execute();
        for (all, done) in all.iter().zip(done) {
            all.fetch_add(done, Ordering::Relaxed);
        }
    });
    let [operations, told] = [0, 1].map(|which| counts[which].load(Ordering::Relaxed));
    [schedules, operations, told]
}

#[test]
fn three_to_five_threads() {
    let first = variable("RTM_SCHEDULE_SEED");
    let alone = if first.is_some() { BATCH } else { 2000 };
    let wanted = variable("RTM_SCHEDULES").map_or(alone, |count| count as usize);
    let (first, batches) = (first.unwrap_or(1), wanted.div_ceil(BATCH) as u64);
    let (next, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let sums = [(); 3].map(|()| AtomicUsize::new(0));
    let start = std::time::Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= batches {
                        return;
                    }
                    // Stays set if the batch panics.
                    let others_go_on = Stop(&stop);
                    let done = batch(first + number);
                    std::mem::forget(others_go_on);
                    for (sum, done) in sums.iter().zip(done) {
                        sum.fetch_add(done, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let [schedules, operations, told] = sums.map(AtomicUsize::into_inner);
    let seconds = start.elapsed().as_secs_f64();
    println!("{schedules} schedules, {operations} operations, {told} events, {seconds:.1} s");
    assert!(schedules >= wanted, "only {schedules} schedules");
}

/// Ends the other threads if this one panics.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
