//! What the sources say: every access with its ordering, every atomic, every public operation.

use crate::accesses::{Function, STRONG};
use crate::tokens::{end_of_item, group, is_punct, list, tokens, word};
use proc_macro2::{Delimiter, TokenTree};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Files and folders that pass orderings on, or drive or show them for a tool: nothing that ships.
const DOORS: [&str; 5] = ["model.rs", "model/", "mutant.rs", "scheduled.rs", "tsan.rs"];
/// Such functions of `sync.rs`.
const DOOR_FUNCTIONS: [&str; 2] = ["fence_after_update", "announce"];

/// One or more accesses of a function to one atomic with one ordering. Lines do not matter.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Site {
    /// `file::function`.
    pub(crate) function: String,
    /// What the receiver is called there, or `fence`.
    pub(crate) atomic: String,
    pub(crate) ordering: String,
    pub(crate) times: usize,
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.function, self.atomic, self.ordering)?;
        if self.times > 1 { write!(f, " x{}", self.times) } else { Ok(()) }
    }
}

impl Site {
    pub(crate) fn is_strong(&self) -> bool {
        STRONG.contains(&self.ordering.as_str())
    }
}

/// How the accesses of a site are weakened.
#[derive(Default)]
pub(crate) struct Weakened {
    pub(crate) mutants: BTreeSet<String>,
    /// Some access of the site is weakened by none.
    pub(crate) partly: bool,
}

#[derive(Default)]
pub(crate) struct Source {
    pub(crate) sites: BTreeMap<Site, Weakened>,
    /// Atomics: `Type.field`, or the name of a static; and the file.
    pub(crate) fields: BTreeMap<String, String>,
    /// Public methods: `Type::method`.
    pub(crate) operations: BTreeSet<String>,
    /// Orderings that the scan cannot assign.
    pub(crate) unclear: Vec<String>,
}

/// Everything of one file.
#[derive(Default)]
struct File<'a> {
    path: &'a str,
    functions: Vec<Function>,
    fields: BTreeSet<String>,
    operations: BTreeSet<String>,
}

impl File<'_> {
    /// Functions, types and statics among these tokens and inside them.
    fn items(&mut self, trees: &[TokenTree]) {
        let mut at = 0;
        while at < trees.len() {
            let (keyword, name) = (word(trees.get(at)), word(trees.get(at + 1)));
            match keyword.as_str() {
                "mod" if name == "tests" => at += 2,
                "fn" if !name.is_empty() => {
                    at = end_of_item(trees, at);
                    if let Some(body) = group(trees.get(at), Delimiter::Brace) {
                        self.function(&name, &body);
                    }
                }
                "struct" => {
                    let end = end_of_item(trees, at);
                    if let Some(body) = group(trees.get(end), Delimiter::Brace) {
                        self.fields_of(&name, &body);
                    } else if let Some(body) =
                        (at..end).find_map(|at| group(trees.get(at), Delimiter::Parenthesis))
                        && is_atomic(&body)
                    {
                        self.fields.insert(format!("{name}.0"));
                    }
                    at = end;
                }
                "impl" => self.operations_of(&trees[at + 1..]),
                "static" if is_punct(trees.get(at + 2), ':') => self.variable(trees, at, &name),
                _ => {
                    if let TokenTree::Group(group) = &trees[at] {
                        self.items(&list(group.stream()));
                    }
                }
            }
            at += 1;
        }
    }

    fn function(&mut self, name: &str, body: &[TokenTree]) {
        self.items(body);
        if self.path == "sync.rs" && DOOR_FUNCTIONS.contains(&name) {
            return;
        }
        self.functions.push(Function::of(format!("{}::{name}", self.path), body));
    }

    fn fields_of(&mut self, owner: &str, body: &[TokenTree]) {
        let mut depth = 0_i32;
        let mut start = 0;
        for at in 0..=body.len() {
            let ends = at == body.len() || depth == 0 && is_punct(body.get(at), ',');
            if ends {
                let field = &body[start..at];
                let colon = (1..field.len()).find(|at| is_punct(field.get(*at), ':'));
                if let Some(colon) = colon
                    && is_atomic(&field[colon..])
                {
                    self.fields.insert(format!("{owner}.{}", word(field.get(colon - 1))));
                }
                start = at + 1;
            }
            depth +=
                i32::from(is_punct(body.get(at), '<')) - i32::from(is_punct(body.get(at), '>'));
        }
    }

    /// The public methods of the `impl` that begins here; those of traits are the trait's.
    fn operations_of(&mut self, trees: &[TokenTree]) {
        let braces = |tree: &TokenTree| group(Some(tree), Delimiter::Brace);
        let Some(end) = trees.iter().position(|tree| braces(tree).is_some()) else { return };
        let (mut owner, mut depth) = (None, 0_i32);
        for tree in &trees[..end] {
            let name = word(Some(tree));
            depth += i32::from(is_punct(Some(tree), '<')) - i32::from(is_punct(Some(tree), '>'));
            if depth == 0 && name == "for" {
                return;
            }
            if depth == 0 && !name.is_empty() {
                owner = owner.or(Some(name));
            }
        }
        let Some((owner, body)) = owner.zip(braces(&trees[end])) else { return };
        for (at, tree) in body.iter().enumerate() {
            if word(Some(tree)) == "pub"
                && group(body.get(at + 1), Delimiter::Parenthesis).is_none()
            {
                // `const`, `unsafe` or `extern "C"` may come between.
                let mut rest = body[at..].iter().take(6).map(|tree| word(Some(tree)));
                let method = rest.find(|word| word == "fn").and_then(|_| rest.next());
                self.operations.extend(method.map(|method| format!("{owner}::{method}")));
            }
        }
    }

    fn variable(&mut self, trees: &[TokenTree], at: usize, name: &str) {
        let end = (at..trees.len()).find(|at| is_punct(trees.get(*at), '='));
        if is_atomic(&trees[at..end.unwrap_or(trees.len())]) {
            self.fields.insert(name.to_owned());
        }
    }
}

/// Whether a type holds atomics itself.
fn is_atomic(trees: &[TokenTree]) -> bool {
    let name = |tree: &TokenTree| word(Some(tree));
    if trees.iter().any(|tree| is_punct(Some(tree), '&')) {
        return false;
    }
    trees.iter().any(|tree| name(tree).starts_with("Atomic") || name(tree) == "Word")
        || trees.iter().any(|tree| match tree {
            TokenTree::Group(group) => is_atomic(&list(group.stream())),
            _ => false,
        })
}

impl Source {
    /// Of `(path below core/src, text)`.
    pub(crate) fn of(files: &[(String, String)]) -> Source {
        let mut source = Source::default();
        let mut counted: BTreeMap<(String, String, String), (usize, Weakened)> = BTreeMap::new();
        for (path, text) in files {
            if DOORS.iter().any(|door| path.starts_with(door)) || path.ends_with("tests.rs") {
                continue;
            }
            let mut file = File { path, ..File::default() };
            file.items(&tokens(text));
            source.fields.extend(file.fields.into_iter().map(|name| (name, path.clone())));
            source.operations.append(&mut file.operations);
            for mut function in file.functions {
                source.unclear.append(&mut function.unclear);
                for (atomic, order) in function.accesses {
                    let relaxed = order.name == "Relaxed";
                    let key = (function.name.clone(), atomic, order.name);
                    let place = counted.entry(key).or_default();
                    // Of relaxed ones it matters only that there are any.
                    place.0 = if relaxed { 1 } else { place.0 + 1 };
                    place.1.partly |= order.mutants.is_empty();
                    place.1.mutants.extend(order.mutants);
                }
            }
        }
        for ((function, atomic, ordering), (times, weakened)) in counted {
            source.sites.insert(Site { function, atomic, ordering, times }, weakened);
        }
        source
    }
}
