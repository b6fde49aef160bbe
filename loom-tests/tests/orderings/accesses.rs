//! The accesses of a function: which atomic, which ordering, which mutants weaken it.

use crate::tokens::{end_of_item, group, is_punct, list, word};
use proc_macro2::{Delimiter, TokenTree};
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

pub(crate) const STRONG: [&str; 4] = ["Acquire", "Release", "AcqRel", "SeqCst"];
const ACCESSES: [&str; 13] = [
    "load",
    "store",
    "swap",
    "compare_exchange",
    "compare_exchange_weak",
    "fetch_add",
    "fetch_sub",
    "fetch_or",
    "fetch_and",
    "fetch_max",
    "fetch_min",
    "fetch_update",
    "try_update",
];

/// An ordering and the mutants that weaken it.
#[derive(Clone)]
pub(crate) struct Order {
    pub(crate) name: String,
    pub(crate) mutants: BTreeSet<String>,
}

/// A name that stands for orderings, and whether an access used it.
type Named = (Vec<Order>, Cell<bool>);

/// One function.
#[derive(Default)]
pub(crate) struct Function {
    /// `file::function`.
    pub(crate) name: String,
    /// Atomics, or `fence`, with each ordering of each access.
    pub(crate) accesses: Vec<(String, Order)>,
    /// Orderings that the scan cannot assign.
    pub(crate) unclear: Vec<String>,
    names: BTreeMap<String, Named>,
}

/// `Ordering :: X` at this place.
fn ordering(trees: &[TokenTree], at: usize) -> Option<String> {
    let path = word(trees.get(at)) == "Ordering"
        && is_punct(trees.get(at + 1), ':')
        && is_punct(trees.get(at + 2), ':');
    path.then(|| word(trees.get(at + 3)))
}

/// The mutants named in these tokens.
fn mutants_in(trees: &[TokenTree]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, tree) in trees.iter().enumerate() {
        if word(Some(tree)) == "Mutant" && is_punct(trees.get(at + 1), ':') {
            found.insert(word(trees.get(at + 3)));
        } else if let TokenTree::Group(group) = tree {
            found.extend(mutants_in(&list(group.stream())));
        }
    }
    found
}

/// `if active(..) {..}` at this place: the condition, and how many tokens.
fn defect(trees: &[TokenTree], at: usize) -> Option<BTreeSet<String>> {
    let condition = (word(trees.get(at)) == "if" && word(trees.get(at + 1)) == "active")
        .then(|| group(trees.get(at + 2), Delimiter::Parenthesis))??;
    group(trees.get(at + 3), Delimiter::Brace)?;
    Some(mutants_in(&condition))
}

/// The name of the atomic whose `. method` stands at `dot`.
fn receiver(trees: &[TokenTree], dot: usize) -> String {
    let mut at = dot;
    while let Some(before) = at.checked_sub(1) {
        at = before;
        match &trees[at] {
            TokenTree::Ident(ident) => return ident.to_string(),
            TokenTree::Literal(index) => return index.to_string(),
            TokenTree::Group(group) if group.delimiter() == Delimiter::Parenthesis => {
                let called = word(at.checked_sub(1).and_then(|before| trees.get(before)));
                if called.is_empty() {
                    return last_word(&list(group.stream()));
                }
                return called;
            }
            TokenTree::Group(_) | TokenTree::Punct(_) => {}
        }
    }
    "?".to_owned()
}

fn last_word(trees: &[TokenTree]) -> String {
    trees
        .iter()
        .rev()
        .map(|tree| word(Some(tree)))
        .find(|word| !word.is_empty())
        .unwrap_or_default()
}

impl Function {
    pub(crate) fn of(name: String, body: &[TokenTree]) -> Function {
        let mut function = Function { name, ..Function::default() };
        function.walk(body, &BTreeSet::new(), false);
        let names: Vec<_> = function.names.keys().cloned().collect();
        names.iter().for_each(|name| function.forget(name));
        function
    }

    /// The orderings that an expression stands for, accesses inside it left out.
    fn evaluate(&self, trees: &[TokenTree], by: &BTreeSet<String>) -> Vec<Order> {
        let (mut found, mut by, mut at) = (Vec::new(), by.clone(), 0);
        while at < trees.len() {
            if let Some(mutants) = defect(trees, at) {
                by.extend(mutants);
                at += 4;
                continue;
            }
            if let Some(name) = ordering(trees, at) {
                found.push(Order { name, mutants: by.clone() });
                at += 4;
                continue;
            }
            let name = word(trees.get(at));
            if let Some((orders, used)) = self.names.get(&name) {
                used.set(true);
                let all = |order: &Order| {
                    let mutants = order.mutants.union(&by).cloned().collect();
                    Order { name: order.name.clone(), mutants }
                };
                found.extend(orders.iter().map(all));
            }
            if let Some(inner) = group(trees.get(at + 1), Delimiter::Parenthesis) {
                if name == "relaxed_if" {
                    let mut by = by.clone();
                    by.extend(mutants_in(&inner));
                    found.extend(self.evaluate(&inner, &by));
                    at += 2;
                    continue;
                }
                if is_call(trees, at).is_some() {
                    at += 2;
                    continue;
                }
            }
            if let TokenTree::Group(group) = &trees[at] {
                let inner = list(group.stream());
                // Statements have orderings of their own.
                if !inner.iter().any(|tree| is_punct(Some(tree), ';')) {
                    found.extend(self.evaluate(&inner, &by));
                }
            }
            at += 1;
        }
        found
    }

    fn access(&mut self, atomic: &str, orders: Vec<Order>) {
        for order in orders {
            self.accesses.push((atomic.to_owned(), order));
        }
    }

    /// Finds the accesses. `ours`: orderings here belong to what surrounds them.
    fn walk(&mut self, trees: &[TokenTree], by: &BTreeSet<String>, ours: bool) {
        let mut at = 0;
        while at < trees.len() {
            at += self.step(trees, at, by, ours);
        }
    }

    fn step(&mut self, trees: &[TokenTree], at: usize, by: &BTreeSet<String>, ours: bool) -> usize {
        let name = word(trees.get(at));
        if defect(trees, at).is_some() {
            return 4;
        }
        if name == "if" && is_punct(trees.get(at + 1), '!') && word(trees.get(at + 2)) == "active" {
            // What is left out under a mutant.
            if let Some(inner) = group(trees.get(at + 4), Delimiter::Brace) {
                let mut by = by.clone();
                by.extend(mutants_in(&trees[at + 3..at + 4]));
                self.walk(&inner, &by, ours);
                return 5;
            }
        }
        if let Some(ordering) = ordering(trees, at) {
            if !ours && STRONG.contains(&ordering.as_str()) {
                self.unclear.push(format!(
                    "{}: {ordering} belongs to no access; write it in the call or in a `let` before",
                    self.name
                ));
            }
            return 4;
        }
        if STRONG.contains(&name.as_str()) {
            self.unclear.push(format!("{}: write `Ordering::{name}` in full", self.name));
        }
        if name == "fn" && !word(trees.get(at + 1)).is_empty() {
            // It has accesses of its own.
            return end_of_item(trees, at) + 1 - at;
        }
        if name == "let" {
            return self.binding(trees, at, by);
        }
        if let Some(inner) = group(trees.get(at + 1), Delimiter::Parenthesis)
            && let Some(call) = is_call(trees, at)
        {
            let mut by = by.clone();
            let (atomic, orders) = match call {
                Call::Access => {
                    let orders = self.evaluate(&inner, &by);
                    (receiver(trees, at - 1), orders)
                }
                Call::Fence => {
                    by.extend(mutants_in(&inner));
                    ("fence".to_owned(), self.evaluate(&inner, &by))
                }
                Call::FenceAfterUpdate => {
                    let full = Order { name: "SeqCst".to_owned(), mutants: by.clone() };
                    ("fence".to_owned(), vec![full])
                }
                Call::Announce => {
                    let comma = inner.iter().position(|tree| is_punct(Some(tree), ','));
                    let (place, rest) = inner.split_at(comma.unwrap_or(0));
                    (last_word(place), self.evaluate(rest, &by))
                }
            };
            self.access(&atomic, orders);
            self.walk(&inner, &by, true);
            return 2;
        }
        if let TokenTree::Group(group) = &trees[at] {
            self.walk(&list(group.stream()), by, ours);
        }
        1
    }

    /// `let name = expression;`: a name for orderings if that is what the expression stands for.
    fn binding(&mut self, trees: &[TokenTree], at: usize, by: &BTreeSet<String>) -> usize {
        let end = (at..trees.len()).find(|at| is_punct(trees.get(*at), ';'));
        let (name, equals) = (word(trees.get(at + 1)), is_punct(trees.get(at + 2), '='));
        let Some(end) = end.filter(|_| equals && !name.is_empty()) else { return 1 };
        let value = &trees[at + 3..end];
        let orders = self.evaluate(value, by);
        let is_order = !orders.is_empty();
        self.walk(value, by, is_order);
        self.forget(&name);
        if is_order {
            self.names.insert(name, (orders, Cell::new(false)));
        }
        end - at
    }

    /// A name goes; what it stood for must have been used.
    fn forget(&mut self, name: &str) {
        if let Some((orders, used)) = self.names.remove(name)
            && !used.get()
            && let Some(order) = orders.iter().find(|order| STRONG.contains(&order.name.as_str()))
        {
            self.unclear
                .push(format!("{}: {} in `{name}` belongs to no access", self.name, order.name));
        }
    }
}

enum Call {
    Access,
    Fence,
    FenceAfterUpdate,
    Announce,
}

/// Whether the name at this place, which parentheses follow, takes orderings.
fn is_call(trees: &[TokenTree], at: usize) -> Option<Call> {
    let name = word(trees.get(at));
    let method = at.checked_sub(1).is_some_and(|before| is_punct(trees.get(before), '.'));
    match name.as_str() {
        name if method && ACCESSES.contains(&name) => Some(Call::Access),
        "fence" | "fence_unless" if !method => Some(Call::Fence),
        "fence_after_update" if !method => Some(Call::FenceAfterUpdate),
        "announce" if !method => Some(Call::Announce),
        _ => None,
    }
}
