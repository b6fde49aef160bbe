//! Which mutants there are, and which models must catch them.

use crate::tokens::{group, is_punct, tokens, word};
use proc_macro2::{Delimiter, TokenTree};
use std::collections::{BTreeMap, BTreeSet};

/// What stands in the braces of `name! {..}`.
fn body(text: &str, name: &str) -> Vec<TokenTree> {
    let trees = tokens(text);
    let call = (0..trees.len())
        .find(|at| word(trees.get(*at)) == name && is_punct(trees.get(at + 1), '!'));
    let body = call.and_then(|at| group(trees.get(at + 2), Delimiter::Brace));
    body.unwrap_or_else(|| panic!("no {name}! {{ .. }}"))
}

/// The mutants of `mutant.rs`.
pub(crate) fn mutants(text: &str) -> BTreeSet<String> {
    let names = body(text, "mutants").into_iter().map(|tree| word(Some(&tree)));
    names.filter(|word| !word.is_empty()).collect()
}

/// The models of `loom-tests/src/lib.rs` with the mutants that each must catch.
pub(crate) fn models(text: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut models = BTreeMap::new();
    for pair in body(text, "models").chunks(2) {
        let module = word(pair.first());
        let inner = group(pair.get(1), Delimiter::Brace).expect("a module's models");
        for model in inner.chunks(2) {
            let catches = group(model.get(1), Delimiter::Bracket).expect("a model's mutants");
            let catches = catches.iter().map(|tree| word(Some(tree))).collect();
            models.insert(format!("{module}::{}", word(model.first())), catches);
        }
    }
    models
}
