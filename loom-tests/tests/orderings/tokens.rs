//! Rust sources as trees of tokens: no comments, no lines.

use proc_macro2::{Delimiter, TokenStream, TokenTree};

pub(crate) fn list(stream: TokenStream) -> Vec<TokenTree> {
    stream.into_iter().collect()
}

pub(crate) fn word(tree: Option<&TokenTree>) -> String {
    match tree {
        Some(TokenTree::Ident(ident)) => ident.to_string(),
        _ => String::new(),
    }
}

pub(crate) fn group(tree: Option<&TokenTree>, delimiter: Delimiter) -> Option<Vec<TokenTree>> {
    match tree {
        Some(TokenTree::Group(group)) if group.delimiter() == delimiter => {
            Some(list(group.stream()))
        }
        _ => None,
    }
}

pub(crate) fn is_punct(tree: Option<&TokenTree>, punct: char) -> bool {
    matches!(tree, Some(TokenTree::Punct(found)) if found.as_char() == punct)
}

pub(crate) fn tokens(text: &str) -> Vec<TokenTree> {
    list(text.parse().expect("Rust source"))
}

/// Where the item ends that begins at `at`: at its body or its semicolon.
pub(crate) fn end_of_item(trees: &[TokenTree], at: usize) -> usize {
    let ends = |at: &usize| {
        is_punct(trees.get(*at), ';') || group(trees.get(*at), Delimiter::Brace).is_some()
    };
    (at..trees.len()).find(ends).unwrap_or(trees.len() - 1)
}
