//! Histories of the machine's threads.
//!
//! `RTM_HISTORY_SEED` repeats the round with that seed over and over. The seed decides what the threads do
//! and not how the machine runs them, so it may take some rounds.

use crate::common::{Random, Small};
use crate::drive::{self, Driver, Log, Payload, Round, Tally};
use crate::{Repeat, variable};
use rtm_core::{Config, Limits, Registry, Settings, Standard};
use std::io::Write;
use std::sync::Barrier;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

/// Rounds on one registry, for as long as the environment says.
fn run<C: Config>(what: &str, short_journal: bool) {
    let limit =
        variable("RTM_HISTORY_SECONDS").map_or(Duration::from_millis(1500), Duration::from_secs);
    let start = Instant::now();
    let fixed = variable("RTM_HISTORY_SEED");
    let mut seeds = Random(std::process::id().into());
    let (tally, fresh) = (Tally::default(), AtomicU64::new(0));
    let mut limits = Limits::default();
    if short_journal {
        limits.journal = 1;
    }
    let settings = Settings { limits, ..Settings::default() };
    let registry = Registry::<Payload<'_>, C>::with_config(settings).expect("memory");
    let (mut operations, mut told, mut rounds) = (0, 0, 0);
    let watch = watch();
    while start.elapsed() < limit {
        let seed = fixed.unwrap_or_else(|| seeds.next());
        watch.send(seed).expect("it listens");
        let _repeat = Repeat("RTM_HISTORY_SEED", seed);
        let round = Round::new(2 + seed % 7, &fresh, &tally);
        // With listeners every other time.
        let events = if seed >> 16 & 1 == 0 { 32 } else { 0 };
        let done = one(&registry, round.with_events(events, short_journal), seed);
        operations += done[0];
        told += done[1];
        rounds += 1;
    }
    let seconds = start.elapsed().as_secs_f64();
    println!("{what}: {operations} operations, {told} events in {rounds} rounds, {seconds:.1} s");
    assert!(operations > 20_000, "only {operations} operations");
}

/// Ends the process if a round, whose seed it is sent, does not end.
fn watch() -> Sender<u64> {
    let (watch, seeds) = channel();
    std::thread::spawn(move || {
        let mut seed = 0;
        loop {
            match seeds.recv_timeout(Duration::from_secs(60)) {
                Ok(next) => seed = next,
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {
                    // Not `eprintln`: what the test harness has caught goes with the process.
                    let _ = writeln!(
                        std::io::stderr(),
                        "VIOLATION: a round does not end, RTM_HISTORY_SEED={seed} repeats it"
                    );
                    std::process::abort();
                }
            }
        }
    });
    watch
}

/// Of each thread in a round: enough for it to be interrupted a few times.
const OPERATIONS: usize = 20_000;

fn one<'a, C: Config>(
    registry: &Registry<Payload<'a>, C>,
    round: Round<'a>,
    seed: u64,
) -> [usize; 2] {
    let threads = 3 + (seed >> 8) as u32 % 3;
    let together = Barrier::new(threads as usize);
    let drive = &|thread| {
        let member = registry.join().expect("memory");
        let driver = Driver::new(&round, &member, thread, seed);
        together.wait();
        driver.run(OPERATIONS)
    };
    let mut logs: Vec<Log> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|n| scope.spawn(move || drive(n))).collect();
        threads.into_iter().map(|thread| thread.join().expect("see above")).collect()
    });
    let member = registry.join().expect("memory");
    let last = Driver::new(&round, &member, threads, seed).end(&mut logs);
    logs.push(last);
    let done = drive::judge(&logs).unwrap_or_else(|why| panic!("VIOLATION: {why}"));
    drive::nothing_left(&member, round.tally);
    done
}

#[test]
fn everything_small() {
    run::<Small>("everything small", true);
}

#[test]
fn shipped_sizes() {
    run::<Standard>("shipped sizes", false);
}
