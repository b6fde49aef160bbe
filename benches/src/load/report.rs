//! The table at the end of a run, and its JSON.

use super::layout::{BUCKETS, INVOKE, KINDS, RUNDOWN, STEPS, Worker};
use super::{Memory, Outcome};
use crate::page::grouped;
use std::fmt::Write as _;
use std::sync::atomic::Ordering;

/// One line of the table.
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) operations: u64,
    /// Mean over whole blocks of operations, or over samples where there are no blocks.
    pub(super) mean_ns: Option<f64>,
    /// p50, p99, p99.9 of single operations, the clock's own cost taken off.
    quantiles: Option<[f64; 3]>,
    pub(super) max_ns: u64,
    pub(super) samples: u64,
}

/// The middle of a bucket, ns.
fn value_of(bucket: usize) -> f64 {
    if bucket < STEPS {
        return bucket as f64;
    }
    let (power, step) = (bucket / STEPS + 3, bucket % STEPS);
    let width = (1_u64 << (power - 4)) as f64;
    (STEPS + step) as f64 * width + width / 2.0
}

pub(super) fn quantile(histogram: &[u64; BUCKETS], total: u64, q: f64) -> f64 {
    let rank = (q * total as f64).ceil().max(1.0) as u64;
    let mut seen = 0;
    for (bucket, count) in histogram.iter().enumerate() {
        seen += count;
        if seen >= rank {
            return value_of(bucket);
        }
    }
    0.0
}

/// Samples of all workers.
pub(super) fn histogram(workers: &[Box<Worker>], kind: usize) -> [u64; BUCKETS] {
    let mut histogram = [0_u64; BUCKETS];
    for worker in workers {
        for (sum, count) in histogram.iter_mut().zip(&worker.histogram[kind]) {
            *sum += count;
        }
    }
    histogram
}

pub(super) fn row(workers: &[Box<Worker>], kind: usize) -> Row {
    let histogram = histogram(workers, kind);
    let (mut operations, mut ns, mut ops, mut max_ns) = (0, 0, 0, 0);
    for worker in workers {
        operations += worker.operations[kind].load(Ordering::Relaxed);
        ns += worker.block_ns[kind];
        ops += worker.block_ops[kind];
        max_ns = max_ns.max(worker.max_ns[kind]);
    }
    let samples: u64 = histogram.iter().sum();
    let sampled_mean = || {
        let sum: f64 = histogram.iter().enumerate().map(|(b, n)| value_of(b) * *n as f64).sum();
        (samples != 0).then(|| sum / samples as f64)
    };
    Row {
        name: KINDS[kind],
        operations,
        mean_ns: if ops != 0 { Some(ns as f64 / ops as f64) } else { sampled_mean() },
        quantiles: (samples != 0)
            .then(|| [0.5, 0.99, 0.999].map(|q| quantile(&histogram, samples, q))),
        max_ns,
        samples,
    }
}

fn ns(value: Option<f64>) -> String {
    match value {
        None => "-".to_owned(),
        Some(value) if value < 100.0 => format!("{value:.1}"),
        Some(value) => grouped(value.round() as u64),
    }
}

/// Prints the report.
pub(super) fn print(outcome: &Outcome) {
    println!(
        "\n{:<23}{:>14} {:>10} {:>7} {:>9} {:>11} {:>12}",
        "operation", "operations", "ns/op", "p50", "p99", "p99.9", "max"
    );
    for kind in 0..KINDS.len() {
        let row = row(&outcome.workers, kind);
        if row.operations == 0 {
            continue;
        }
        let [p50, p99, p999] = row.quantiles.map_or([None; 3], |q| q.map(Some));
        println!(
            "{:<23}{:>14} {:>10} {:>7} {:>9} {:>11} {:>12}",
            row.name,
            grouped(row.operations),
            ns(row.mean_ns),
            ns(p50),
            ns(p99),
            ns(p999),
            if row.samples == 0 { "-".to_owned() } else { grouped(row.max_ns) },
        );
    }
    let full = &outcome.full;
    println!(
        "\nregistered {} entities in {:.2} s; {:.1} bytes each ({:.1} of them id index), {} chunks",
        grouped(outcome.entities.into()),
        outcome.load_seconds,
        full.bytes as f64 / f64::from(outcome.entities),
        full.index_bytes as f64 / f64::from(outcome.entities),
        full.chunks,
    );
    println!(
        "ran {:.1} s; backlog peak {}, reclaimed {}, refused by back-pressure {}",
        outcome.run_seconds,
        grouped(outcome.last.retired_peak),
        grouped(outcome.last.reclaimed),
        grouped(outcome.refused),
    );
    for (when, memory) in &outcome.memory {
        println!("memory, {when:<11} {}", super::watch::memory(memory.library, memory.resident));
    }
    let per_second = |kind: usize| {
        let all = outcome.workers.iter().map(|w| w.operations[kind].load(Ordering::Relaxed));
        grouped((all.sum::<u64>() as f64 / outcome.run_seconds) as u64)
    };
    if outcome.options.listeners != 0 {
        println!(
            "{} events told ({}/s) to {} listeners that registered {} times; {} times some were missed; \
             {} library threads",
            grouped(outcome.told),
            grouped((outcome.told as f64 / outcome.run_seconds) as u64),
            outcome.options.listeners,
            grouped(outcome.rounds),
            grouped(outcome.missed),
            outcome.last.event_threads,
        );
    }
    if outcome.options.invokers != 0 {
        let (invoked, gone) = (per_second(INVOKE), per_second(RUNDOWN));
        println!("{invoked} invocations/s, of entities of which {gone}/s were deregistered");
    }
    println!(
        "ns/op: mean over blocks, checks included; p50 to max: single operations, the clock taken off"
    );
    match &outcome.violation {
        None => println!(
            "checked: every handle led to its own entity, no stale one to any, every enumeration was \
             complete,\n         every event was told, once, in order; no method and no callback ran where it \
             must not,\n         {} contexts were cleaned up exactly once, nothing is left",
            grouped(outcome.created),
        ),
        Some(text) => println!("VIOLATION: {text}"),
    }
}

/// The report as JSON.
pub(super) fn json(outcome: &Outcome) -> String {
    let mut text = String::from("{\n");
    let options = &outcome.options;
    let violation = match &outcome.violation {
        None => "null".to_owned(),
        Some(text) => format!("\"{}\"", text.escape_default()),
    };
    let memory = outcome.memory.map(|(when, Memory { library, resident })| {
        format!("\"{when}\": {{\"library\": {library}, \"process\": {resident}}}")
    });
    let memory = memory.join(", ");
    let _ = write!(
        text,
        "  \"version\": \"{}\",\n  \"via\": \"{}\",\n  \"entities\": {},\n  \"readers\": {},\n  \
         \"churners\": {},\n  \"enumerators\": {},\n  \"listeners\": {},\n  \"invokers\": {},\n  \"holders\": {},\n  \
         \"referrers\": {},\n  \"visitors\": {},\n  \"housekeepers\": {},\n  \"seed\": {},\n  \"load_seconds\": {:.3},\n  \
         \"run_seconds\": {:.3},\n  \"bytes\": {},\n  \"index_bytes\": {},\n  \"backlog_peak\": {},\n  \
         \"reclaimed\": {},\n  \"live_at_end_of_run\": {},\n  \"refused\": {},\n  \"contexts\": {},\n  \
         \"events_told\": {},\n  \"events_missed\": {},\n  \"listener_registrations\": {},\n  \
         \"memory\": {{{memory}}},\n  \
         \"violation\": {violation},\n  \"operations\": [\n",
        env!("CARGO_PKG_VERSION"),
        options.via.name(),
        outcome.entities,
        options.readers,
        options.churners,
        options.enumerators,
        options.listeners,
        options.invokers,
        options.holders,
        options.referrers,
        options.visitors,
        options.housekeepers,
        options.seed,
        outcome.load_seconds,
        outcome.run_seconds,
        outcome.full.bytes,
        outcome.full.index_bytes,
        outcome.last.retired_peak,
        outcome.last.reclaimed,
        outcome.last.live,
        outcome.refused,
        outcome.created,
        outcome.told,
        outcome.missed,
        outcome.rounds,
    );
    for kind in 0..KINDS.len() {
        let row = row(&outcome.workers, kind);
        let number =
            |value: Option<f64>| value.map_or("null".to_owned(), |value| format!("{value:.2}"));
        let [p50, p99, p999] = row.quantiles.map_or([None; 3], |q| q.map(Some));
        let _ = writeln!(
            text,
            "    {{\"name\": \"{}\", \"operations\": {}, \"mean_ns\": {}, \"p50_ns\": {}, \
             \"p99_ns\": {}, \"p99_9_ns\": {}, \"max_ns\": {}, \"samples\": {}}}{}",
            row.name,
            row.operations,
            number(row.mean_ns),
            number(p50),
            number(p99),
            number(p999),
            row.max_ns,
            row.samples,
            if kind + 1 == KINDS.len() { "" } else { "," },
        );
    }
    text.push_str("  ]\n}\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_hold_their_value() {
        for ns in [0_u64, 1, 15, 16, 17, 31, 32, 100, 1000, 123_456, 1 << 30] {
            // As `sample` in c/load.c chooses it.
            let bucket = if ns < 16 {
                ns as usize
            } else {
                let power = 63 - ns.leading_zeros() as usize;
                (power - 3) * STEPS + (ns >> (power - 4)) as usize % STEPS
            };
            let value = value_of(bucket);
            assert!((value - ns as f64).abs() <= ns as f64 / 16.0, "{ns}: {value}");
        }
    }

    #[test]
    fn quantiles_find_their_bucket() {
        let mut histogram = [0; BUCKETS];
        histogram[3] = 98;
        histogram[7] = 1;
        histogram[9] = 1;
        assert_eq!(
            [0.5, 0.98, 0.99, 1.0].map(|q| quantile(&histogram, 100, q) as u64),
            [3, 3, 7, 9]
        );
    }
}
