//! What `docs/concurrency.md` says, and whether it is so.

use crate::source::{Site, Source, Weakened};
use std::collections::{BTreeMap, BTreeSet};

/// Begins the ledger's tables.
const EDGES: &str =
    "| atomic | stored by | loaded by | makes visible | models | mutants | not weakened because |";
/// Begins the tables of atomics that order nothing.
const RELAXED: &str = "| atomic, relaxed | why that is enough |";
/// Begins the table of public operations.
const PROGRESS: &str = "| operation | progress |";

/// One edge.
#[derive(Default)]
struct Row {
    text: String,
    fields: Vec<String>,
    stored: Vec<String>,
    loaded: Vec<String>,
    models: Vec<String>,
    mutants: Vec<String>,
    reason: String,
}

#[derive(Default)]
struct Page {
    rows: Vec<Row>,
    relaxed: Vec<String>,
    operations: BTreeSet<String>,
    faults: Vec<String>,
}

/// What stands between backticks.
fn quoted(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn cells(line: &str) -> Vec<&str> {
    line.trim().trim_matches('|').split('|').map(str::trim).collect()
}

impl Page {
    fn of(text: &str) -> Page {
        let mut page = Page::default();
        let mut table = "";
        for line in text.lines() {
            if !line.starts_with('|') {
                table = "";
                continue;
            }
            match table {
                "" => table = line,
                _ if line.starts_with("| ---") => {}
                EDGES => page.edge(line),
                RELAXED => page.relaxed.extend(quoted(cells(line)[0])),
                PROGRESS => page.operations.extend(quoted(cells(line)[0])),
                _ => {}
            }
        }
        page
    }

    fn edge(&mut self, line: &str) {
        let cells = cells(line);
        let [fields, stored, loaded, visible, models, mutants, reason] = cells[..] else {
            self.faults.push(format!("not seven cells: {line}"));
            return;
        };
        if visible.is_empty() {
            self.faults.push(format!("what does it make visible? {line}"));
        }
        let reason = if reason == "–" { "" } else { reason };
        self.rows.push(Row {
            text: line.to_owned(),
            fields: quoted(fields),
            stored: quoted(stored),
            loaded: quoted(loaded),
            models: quoted(models),
            mutants: quoted(mutants),
            reason: reason.to_owned(),
        });
    }
}

impl Row {
    fn sites(&self) -> impl Iterator<Item = &String> {
        self.stored.iter().chain(&self.loaded)
    }
}

/// Everything the page is compared with.
pub(crate) struct Facts {
    pub(crate) source: Source,
    pub(crate) mutants: BTreeSet<String>,
    /// With the mutants that each must catch.
    pub(crate) models: BTreeMap<String, BTreeSet<String>>,
    /// Invariants that the sources cite.
    pub(crate) cited: BTreeSet<String>,
}

/// What is wrong, one line or row each.
pub(crate) fn faults(text: &str, facts: &Facts) -> Vec<String> {
    let page = Page::of(text);
    let mut faults = page.faults;
    faults.extend(facts.source.unclear.iter().cloned());
    let known: BTreeMap<String, (&Site, &Weakened)> =
        facts.source.sites.iter().map(|all| (all.0.to_string(), all)).collect();

    for (site, weakened) in facts.source.sites.iter().filter(|(site, _)| site.is_strong()) {
        let name = site.to_string();
        let with =
            |side: fn(&Row) -> &Vec<String>| page.rows.iter().any(|row| side(row).contains(&name));
        let (stores, loads) = (with(|row| &row.stored), with(|row| &row.loaded));
        let complete = match site.ordering.as_str() {
            "Release" => stores,
            "Acquire" => loads,
            "AcqRel" => stores && loads,
            _ => stores || loads,
        };
        if !complete {
            faults.push(format!("no row for this; add:\n{}", draft(site, weakened, facts)));
        }
        let mut rows = page.rows.iter().filter(|row| row.sites().any(|site| *site == name));
        for mutant in &weakened.mutants {
            if complete && !rows.clone().any(|row| row.mutants.contains(mutant)) {
                faults.push(format!("`{name}`: no row of it names `{mutant}`, which weakens it"));
            }
        }
        if weakened.partly && complete && rows.any(|row| row.reason.is_empty()) {
            faults.push(format!("`{name}`: no mutant weakens it, and a row does not say why"));
        }
    }

    for row in &page.rows {
        let mut say = |what: String| faults.push(format!("{what}; in the row\n{}", row.text));
        for name in row.sites() {
            match known.get(name) {
                None => say(format!("there is no `{name}`{}", similar(name, facts))),
                Some((site, _)) => {
                    let wrong = match site.ordering.as_str() {
                        "Acquire" => row.stored.contains(name),
                        "Release" => row.loaded.contains(name),
                        _ => false,
                    };
                    if wrong {
                        say(format!("`{name}` stands on the wrong side"));
                    }
                }
            }
        }
        let unweakened = |name: &String| {
            known.get(name).is_some_and(|(site, weakened)| site.is_strong() && weakened.partly)
        };
        // A mutant of an acquire-and-release may be caught by one half of it alone.
        let halves = row.sites().any(|name| name.contains("AcqRel"));
        if !row.reason.is_empty() && !halves && !row.sites().any(unweakened) {
            say("all of it is weakened by mutants, so the last cell has nothing to explain"
                .to_owned());
        }
        if row.stored.is_empty() || row.loaded.is_empty() {
            say("a row has two sides".to_owned());
        }
        if row.mutants.is_empty() && row.reason.is_empty() {
            say("without a mutant, the last cell says why".to_owned());
        }
        for model in row.models.iter().filter(|model| !facts.models.contains_key(*model)) {
            say(format!("there is no model `{model}`"));
        }
        for mutant in &row.mutants {
            let catches =
                |model: &String| facts.models.get(model).is_some_and(|all| all.contains(mutant));
            if !facts.mutants.contains(mutant) {
                say(format!("there is no mutant `{mutant}`"));
            } else if !row.models.iter().any(catches) {
                say(format!(
                    "no model here is said to catch `{mutant}`{}",
                    catchers(mutant, facts)
                ));
            }
        }
    }

    let mut proved = BTreeMap::new();
    for (site, weakened) in facts.source.sites.iter().filter(|(site, _)| site.is_strong()) {
        for mutant in &weakened.mutants {
            if let Some(other) = proved.insert(mutant, site) {
                faults.push(format!(
                    "`{mutant}` weakens `{other}` and `{site}`: that it is caught proves but one of them; \
                     give each its own"
                ));
            }
        }
    }

    let named: BTreeSet<_> =
        page.rows.iter().flat_map(|row| &row.fields).chain(&page.relaxed).collect();
    for field in facts.source.fields.keys().filter(|field| !named.contains(field)) {
        faults.push(format!(
            "`{field}` is in no table; if it orders nothing, add:\n| `{field}` | … |"
        ));
    }
    for field in named.into_iter().filter(|field| !facts.source.fields.contains_key(*field)) {
        faults.push(format!("there is no atomic `{field}`"));
    }
    let operations = &facts.source.operations;
    for operation in operations.iter().filter(|name| !page.operations.contains(*name)) {
        faults.push(format!("no progress is promised; add:\n| `{operation}` | … |"));
    }
    let promised = page.operations.iter().filter(|name| name.contains("::"));
    for operation in promised.filter(|name| !operations.contains(*name)) {
        faults.push(format!("there is no operation `{operation}`"));
    }

    let defined = |number: &String| text.contains(&format!("- **{number}.** "));
    for number in facts.cited.iter().filter(|number| !defined(number)) {
        faults.push(format!("the sources cite {number}; add a line `- **{number}.** …`"));
    }
    let modules: BTreeSet<_> =
        facts.models.keys().filter_map(|name| name.split_once("::")).collect();
    for name in quoted(text).iter().filter(|name| !name.contains(' ')) {
        let of_models = name
            .split_once("::")
            .is_some_and(|(module, _)| modules.iter().any(|all| all.0 == module));
        if of_models && !facts.models.contains_key(name) {
            faults.push(format!("there is no model `{name}`"));
        }
    }
    faults
}

/// The row to paste, as far as the sources tell.
fn draft(site: &Site, weakened: &Weakened, facts: &Facts) -> String {
    // Likely one of the same file.
    let field = facts.source.fields.iter().find(|(name, file)| {
        name.ends_with(&format!(".{}", site.atomic)) && site.function.starts_with(file.as_str())
    });
    let field = field.map_or("TYPE.FIELD", |(name, _)| name.as_str());
    let own = format!("`{site}`");
    let (stored, loaded) = match site.ordering.as_str() {
        "Release" => (own.as_str(), "`PARTNER`"),
        "Acquire" => ("`PARTNER`", own.as_str()),
        _ => (own.as_str(), own.as_str()),
    };
    let list = |names: Vec<&String>| {
        let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
        if names.is_empty() { "–".to_owned() } else { names.join(", ") }
    };
    let caught = |model: &&String| !facts.models[*model].is_disjoint(&weakened.mutants);
    let models = list(facts.models.keys().filter(caught).collect());
    let mutants = list(weakened.mutants.iter().collect());
    let reason = if weakened.partly { "WHY" } else { "–" };
    format!("| `{field}` | {stored} | {loaded} | WHAT | {models} | {mutants} | {reason} |")
}

/// What the sources have in that function.
fn similar(name: &str, facts: &Facts) -> String {
    let function = name.split(' ').next().unwrap_or_default();
    let there = facts.source.sites.keys().filter(|site| site.function == function);
    let there: Vec<_> = there.map(|site| format!("`{site}`")).collect();
    if there.is_empty() { String::new() } else { format!(" (but {})", there.join(", ")) }
}

fn catchers(mutant: &str, facts: &Facts) -> String {
    let models = facts.models.iter().filter(|(_, catches)| catches.contains(mutant));
    let models: Vec<_> = models.map(|(name, _)| format!("`{name}`")).collect();
    if models.is_empty() { String::new() } else { format!(" (but {})", models.join(", ")) }
}
