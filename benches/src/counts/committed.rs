//! The committed figures and limits, `counts.tsv`.
//!
//! A limit is a little above the figure: another compiler, C library or processor changes a few instructions
//! in a hundred. What a limit catches is a change that somebody made.

use std::fmt::Write;
use std::path::Path;

/// As of when this program was built.
#[cfg(feature = "peers")]
const BUILT_IN: &str = include_str!("../../counts.tsv");

const HEAD: &str = "\
# Instructions and coherence events per operation, with the limits that CI holds them to.
# Made by `rtm-counts --bless`; see there. A limit is the figure and 5 % and 1 (instructions), or 10 % and
# 0.002 (events), for other compilers, but never above a gate that is met, and 0 stays 0.
# what\toperation\tentities or threads\tfigure\tlimit
";

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum What {
    Instructions,
    Events,
}

impl What {
    pub(super) fn name(self) -> &'static str {
        match self {
            What::Instructions => "instructions",
            What::Events => "events",
        }
    }
}

/// What is counted of which operation, with so many entities or threads.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) what: What,
    pub(crate) operation: String,
    pub(crate) at: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) key: Key,
    pub(crate) figure: f64,
    pub(crate) limit: f64,
}

/// What we hold ourselves to: operation, threads, events.
pub(crate) const GATES: [(&str, usize, f64); 3] =
    [("info", 16, 0.0), ("batch, held guard", 16, 0.0), (super::events::OWN_SHARDS, 16, 0.05)];

pub(crate) fn gate(key: &Key) -> Option<f64> {
    let ours = |(name, at, _): &&(&str, usize, f64)| {
        key.what == What::Events && key.operation == *name && key.at == *at
    };
    GATES.iter().find(ours).map(|(.., limit)| *limit)
}

/// The limit for a figure that is right.
pub(super) fn limit(key: &Key, figure: f64) -> f64 {
    let limit = match key.what {
        What::Instructions => ((figure * 1.05 + 1.0) * 10.0).ceil() / 10.0,
        What::Events if figure == 0.0 => 0.0,
        What::Events => ((figure * 1.1 + 0.002) * 1000.0).ceil() / 1000.0,
    };
    match gate(key) {
        Some(gate) if figure <= gate => limit.min(gate),
        _ => limit,
    }
}

fn parse(text: &str) -> Result<Vec<Entry>, String> {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| entry(line).ok_or_else(|| format!("counts.tsv: {line}"))).collect()
}

fn entry(line: &str) -> Option<Entry> {
    let mut fields = line.split('\t');
    let what = match fields.next()? {
        "instructions" => What::Instructions,
        "events" => What::Events,
        _ => return None,
    };
    let key = Key { what, operation: fields.next()?.to_owned(), at: fields.next()?.parse().ok()? };
    let entry =
        Entry { key, figure: fields.next()?.parse().ok()?, limit: fields.next()?.parse().ok()? };
    fields.next().is_none().then_some(entry)
}

pub(super) fn read(path: &Path) -> Result<Vec<Entry>, String> {
    let text = std::fs::read_to_string(path);
    parse(&text.map_err(|error| format!("cannot read {}: {error}", path.display()))?)
}

/// The figures of the last run that was blessed before this program was built, without the simulation's
/// check of itself.
#[cfg(feature = "peers")]
pub(crate) fn built_in() -> Vec<Entry> {
    let mut all = parse(BUILT_IN).unwrap_or_default();
    all.retain(|entry| entry.key.operation != super::events::SELF_CHECK);
    all
}

/// One line an entry, in the order given.
pub(super) fn write(path: &Path, entries: &[Entry]) -> Result<(), String> {
    let mut text = String::from(HEAD);
    for Entry { key: Key { what, operation, at }, figure, limit } in entries {
        let _ = writeln!(text, "{}\t{operation}\t{at}\t{figure}\t{limit}", what.name());
    }
    std::fs::write(path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(what: What, operation: &str) -> Key {
        Key { what, operation: operation.to_owned(), at: 16 }
    }

    #[test]
    fn the_committed_file_is_understood() {
        let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/counts.tsv"));
        let entries = read(path).unwrap();
        for (operation, at, _) in GATES {
            let key = Key { at, ..key(What::Events, operation) };
            assert!(entries.iter().any(|entry| entry.key == key), "{key:?}");
        }
        for entry in &entries {
            assert!(entry.figure <= entry.limit, "{entry:?}");
            assert_eq!(entry.limit, limit(&entry.key, entry.figure), "{entry:?}");
        }
        let again = std::env::temp_dir().join(format!("counts-{}.tsv", std::process::id()));
        write(&again, &entries).unwrap();
        assert_eq!(read(&again).unwrap(), entries);
        std::fs::remove_file(&again).unwrap();
    }

    #[test]
    fn other_lines_are_refused() {
        for line in ["events\tinfo\t16\t0", "times\tinfo\t16\t0\t0", "events\tinfo\t16\t0\t0\t0"] {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn limits_leave_a_little_room_and_never_pass_a_gate() {
        assert_eq!(limit(&key(What::Instructions, "info"), 20.0), 22.0);
        assert_eq!(limit(&key(What::Events, "info"), 0.0), 0.0);
        assert_eq!(limit(&key(What::Events, "invoke, one callee"), 1.0), 1.102);
        let own = key(What::Events, super::super::events::OWN_SHARDS);
        assert_eq!(limit(&own, 0.049), 0.05);
        assert!(limit(&own, 0.06) > 0.06);
    }
}
