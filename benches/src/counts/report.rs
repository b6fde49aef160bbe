//! What is printed of the rows, and what is wrong with them.

use super::committed::{self, Entry, Key, What};
use super::{Row, events};
use std::path::Path;

/// How a figure compares with what is committed.
#[derive(Debug, PartialEq)]
enum Verdict {
    /// No difference that matters.
    Same,
    /// Much lower: the limit should follow.
    Better,
    Above,
    /// Not in the file.
    New,
}

fn judge(figure: f64, committed: Option<&Entry>) -> Verdict {
    match committed {
        None => Verdict::New,
        Some(entry) if figure > entry.limit => Verdict::Above,
        Some(entry) if entry.figure - figure > entry.limit - entry.figure => Verdict::Better,
        Some(_) => Verdict::Same,
    }
}

/// Of the rows that prove that the simulation sees a shared line, those that do not.
pub(super) fn blind(rows: &[Row]) -> u32 {
    let blind =
        |row: &&Row| row.key.operation == events::SELF_CHECK && row.key.at > 1 && row.figure < 0.9;
    let found = rows.iter().filter(blind).count() as u32;
    if found != 0 {
        println!("the simulation does not see a counter that all threads write");
    }
    found
}

/// Prints the rows; how many of them are wrong.
pub(super) fn print(rows: &[Row], committed: &[Entry]) -> u32 {
    let (mut faults, mut better, mut what) = (0, 0, None);
    for Row { key, figure, places } in rows {
        if what.replace(key.what) != Some(key.what) {
            let at = if key.what == What::Events { "threads" } else { "entities" };
            let title = format!("{} per operation", key.what.name());
            println!(
                "\n{title:46} {at:>9} {:>10} {:>10} {:>8} {:>10}",
                "figure", "committed", "", "limit"
            );
        }
        let entry = committed.iter().find(|entry| entry.key == *key);
        let verdict = judge(*figure, entry);
        faults += u32::from(matches!(verdict, Verdict::Above | Verdict::New));
        better += u32::from(verdict == Verdict::Better);
        let note = match verdict {
            Verdict::Same => "",
            Verdict::Better => "  better",
            Verdict::Above => "  ABOVE ITS LIMIT",
            Verdict::New => "  NOT IN THE FILE",
        };
        let gate = committed::gate(key).map_or(String::new(), |gate| {
            format!("  gate {gate}: {}", if *figure <= gate { "met" } else { "missed" })
        });
        let digits = if key.what == What::Events { 4 } else { 1 };
        let (before, limit, change) = match entry {
            None => Default::default(),
            Some(entry) => (
                format!("{:.digits$}", entry.figure),
                format!("{:.digits$}", entry.limit),
                change(*figure, entry.figure),
            ),
        };
        let Key { operation, at, .. } = key;
        println!(
            "  {operation:44} {at:>9} {figure:>10.digits$} {before:>10} {change:>8} {limit:>10}{note}{gate}"
        );
        for (place, share) in places {
            println!("      {share:.4}  {place}");
        }
    }
    if better != 0 {
        println!(
            "\n{better} better by more than the room their limits leave: --bless takes them for right"
        );
    }
    faults + blind(rows)
}

fn change(figure: f64, before: f64) -> String {
    let percent = (figure - before) / before * 100.0;
    match figure == before {
        true => String::new(),
        false if before == 0.0 => "new".to_owned(),
        false => format!("{percent:+.1}%"),
    }
}

/// Writes the figures down, beside those that were not counted this time.
pub(super) fn bless(
    file: &Path,
    rows: &[Row],
    committed: Vec<Entry>,
    place: impl Fn(&Key) -> Option<usize>,
) -> Result<(), String> {
    let mut entries: Vec<Entry> = committed
        .into_iter()
        .filter(|entry| place(&entry.key).is_some() && !rows.iter().any(|row| row.key == entry.key))
        .collect();
    entries.extend(rows.iter().map(|Row { key, figure, .. }| {
        let limit = committed::limit(key, *figure);
        Entry { key: key.clone(), figure: *figure, limit }
    }));
    entries.sort_by_key(|entry| place(&entry.key));
    committed::write(file, &entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(operation: &str, figure: f64) -> Row {
        let key = Key { what: What::Events, operation: operation.to_owned(), at: 16 };
        Row { key, figure, places: Vec::new() }
    }

    #[test]
    fn a_figure_is_judged_by_its_limit() {
        let entry = Entry { key: row("info", 0.0).key, figure: 20.0, limit: 22.0 };
        let judge = |figure| judge(figure, Some(&entry));
        assert_eq!(judge(22.0), Verdict::Same);
        assert_eq!(judge(22.01), Verdict::Above);
        assert_eq!(judge(18.0), Verdict::Same);
        assert_eq!(judge(17.9), Verdict::Better);
        assert_eq!(super::judge(0.0, None), Verdict::New);
    }

    #[test]
    fn what_is_above_or_unknown_is_a_fault() {
        let rows = [row("info", 0.01), row("batch, held guard", 0.0)];
        let entry = |row: &Row, limit| Entry { key: row.key.clone(), figure: 0.0, limit };
        assert_eq!(print(&rows, &[]), 2);
        assert_eq!(print(&rows, &[entry(&rows[0], 0.0), entry(&rows[1], 0.0)]), 1);
        assert_eq!(print(&rows, &[entry(&rows[0], 0.01), entry(&rows[1], 0.0)]), 0);
    }

    #[test]
    fn a_blind_simulation_is_a_fault() {
        assert_eq!(blind(&[row(events::SELF_CHECK, 0.0)]), 1);
        assert_eq!(blind(&[row(events::SELF_CHECK, 1.0), row("info", 0.0)]), 0);
    }
}
