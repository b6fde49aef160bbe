//! Relative links of the documents and their anchors.

use crate::{Texts, edit, pages, root};
use std::collections::BTreeSet;

/// The lines outside of fenced code, each without what stands between backticks.
fn prose(text: &str) -> impl Iterator<Item = String> {
    let mut fence = None;
    text.lines().filter_map(move |line| {
        let begins = ["```", "~~~"].into_iter().find(|mark| line.trim_start().starts_with(mark));
        match (fence, begins) {
            (None, Some(mark)) => fence = Some(mark),
            (Some(open), Some(mark)) if open == mark => fence = None,
            (None, None) => return Some(line.split('`').step_by(2).collect::<Vec<_>>().join("")),
            _ => {}
        }
        None
    })
}

/// The targets of `[text](target)`, `![text](target)` and `[name]: target`.
fn targets(text: &str) -> Vec<String> {
    let mut targets = Vec::new();
    for line in prose(text) {
        for (at, _) in line.match_indices("](") {
            let rest = &line[at + 2..];
            let end = rest.find([')', ' ']).unwrap_or(rest.len());
            targets.push(rest[..end].to_owned());
        }
        if let Some((_, target)) = line.strip_prefix('[').and_then(|rest| rest.split_once("]: ")) {
            targets.push(target.split(' ').next().unwrap_or_default().to_owned());
        }
    }
    targets
}

/// What the headings of a page are called in links, as GitHub makes it: small letters, digits, `-` and `_`;
/// of equal ones the second is `-1`.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    // Code between backticks is part of a heading's name.
    let mut fenced = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        let title = line.trim_start_matches('#');
        if fenced || title.len() == line.len() || !title.starts_with(' ') {
            continue;
        }
        let mut name = String::new();
        for letter in title.trim().chars().flat_map(char::to_lowercase) {
            match letter {
                ' ' => name.push('-'),
                '-' | '_' => name.push(letter),
                _ if letter.is_alphanumeric() => name.push(letter),
                _ => {}
            }
        }
        let mut number = 0;
        let mut unique = name.clone();
        while !anchors.insert(unique.clone()) {
            number += 1;
            unique = format!("{name}-{number}");
        }
    }
    anchors
}

/// `folder/../file` without the detour; `None` if it leads out of the tree.
fn resolved(folder: &str, target: &str) -> Option<String> {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

fn faults(pages: &Texts) -> Vec<String> {
    let mut faults = Vec::new();
    for (page, text) in pages {
        let folder = page.rsplit_once('/').map_or("", |(folder, _)| folder);
        for target in targets(text) {
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let (path, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let file = if path.is_empty() { Some(page.clone()) } else { resolved(folder, path) };
            match file {
                Some(file) if pages.contains_key(&file) => {
                    if !anchor.is_empty() && !anchors(&pages[&file]).contains(anchor) {
                        faults.push(format!("{page}: {target}: {file} has no such heading"));
                    }
                }
                Some(file) if root().join(&file).exists() => {
                    if !anchor.is_empty() {
                        faults.push(format!("{page}: {target}: {file} is no page"));
                    }
                }
                _ => faults.push(format!("{page}: {target}: there is no such file")),
            }
        }
    }
    faults
}

#[test]
fn every_link_leads_somewhere() {
    let pages = pages();
    let all: usize = pages.values().map(|text| targets(text).len()).sum();
    assert!(all > 20, "only {all} links found");
    let faults = faults(&pages);
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn broken_links_are_found() {
    let found = |page: &str, from: &str, to: &str, says: &str| {
        let mut pages = pages();
        edit(&mut pages, page, from, to);
        let faults = faults(&pages);
        assert!(faults.iter().any(|fault| fault.contains(says)), "{says}: {faults:?}");
    };
    let link = "(../README.md#two-commands)";
    found(
        "docs/tuning.md",
        link,
        "(../READYOU.md#two-commands)",
        "READYOU.md#two-commands: there is no",
    );
    found("docs/tuning.md", link, "(../README.md#three-commands)", "no such heading");
    found("docs/tuning.md", link, "(../../README.md)", "no such file");
    found("docs/tuning.md", link, "(../Cargo.toml#two-commands)", "is no page");
    found("README.md", "(docs/faq.md)", "(docs/fax.md)", "docs/fax.md: there is no such file");
    // A heading that is renamed leaves those behind who link to it.
    found("README.md", "## Two commands", "## 2 commands", "README.md has no such heading");
}

#[test]
fn links_and_headings_are_read_as_they_are_shown() {
    let text = "# A `b_c`, d-e!\n## Twice\n## Twice\n```c\n# not_one [x](y)\n```\n\
                [one](1.md) `[two](2.md)` ![three](3.svg \"t\")\n[four]: 4.md\n";
    assert_eq!(targets(text), ["1.md", "3.svg", "4.md"]);
    assert_eq!(
        anchors(text).iter().map(String::as_str).collect::<Vec<_>>(),
        ["a-b_c-d-e", "twice", "twice-1"]
    );
    assert_eq!(resolved("docs/a", "../b.md"), Some("docs/b.md".to_owned()));
    assert_eq!(resolved("docs", "../../b.md"), None);
}
