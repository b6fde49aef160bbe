//! The ordering ledger in `docs/concurrency.md` against the sources, in an ordinary build.
//!
//! Every access of core with an ordering stronger than relaxed is in a row; every row's accesses, atomics,
//! models and mutants exist; every mutant of a row is one that a model of the row must catch. Whether it
//! does is for `loom-mutants` to see. An access is known by its file, function, atomic and ordering, and
//! by how many there are alike; orderings inside `if active(Mutant::..) {..}` are the defect's, not ours.
#![cfg(not(rtm_loom))]

mod accesses;
mod models;
mod page;
mod source;
mod tokens;

use page::{Facts, faults};
use source::Source;
use std::collections::BTreeSet;
use std::path::Path;

const PAGE: &str = "docs/concurrency.md";

#[derive(Clone)]
struct Tree {
    page: String,
    /// Below `core/src`.
    core: Vec<(String, String)>,
    models: String,
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

impl Tree {
    fn real() -> Tree {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut core = Vec::new();
        collect(&root.join("core/src"), "", &mut core);
        core.sort();
        let models = read(&root.join("loom-tests/src/lib.rs"));
        Tree { page: read(&root.join(PAGE)), core, models }
    }

    fn file(&mut self, path: &str) -> &mut String {
        let found = self.core.iter_mut().find(|file| file.0 == path);
        &mut found.unwrap_or_else(|| panic!("no {path}")).1
    }

    fn faults(&self) -> Vec<String> {
        let mutants = self.core.iter().find(|file| file.0 == "mutant.rs").expect("mutant.rs");
        let facts = Facts {
            source: Source::of(&self.core),
            mutants: models::mutants(&mutants.1),
            models: models::models(&self.models),
            cited: self.core.iter().flat_map(|file| cited(&file.1)).collect(),
        };
        faults(&self.page, &facts)
    }
}

/// The Rust files of a folder, named as seen from the first one.
fn collect(folder: &Path, name: &str, found: &mut Vec<(String, String)>) {
    for entry in std::fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("a file").path();
        let file = path.file_name().and_then(|name| name.to_str()).expect("a name in UTF-8");
        if path.is_dir() {
            collect(&path, &format!("{name}{file}/"), found);
        } else if file.ends_with(".rs") {
            found.push((format!("{name}{file}"), read(&path)));
        }
    }
}

/// Numbers of invariants in comments: a capital and one digit or two.
fn cited(text: &str) -> BTreeSet<String> {
    let comments =
        text.lines().filter_map(|line| line.split_once("//")).map(|(_, comment)| comment);
    let words = comments.flat_map(|comment| comment.split(|c: char| !c.is_ascii_alphanumeric()));
    let is_number = |word: &&str| {
        (2..=3).contains(&word.len())
            && word.starts_with(|c: char| c.is_ascii_uppercase())
            && word[1..].bytes().all(|c| c.is_ascii_digit())
    };
    words.filter(is_number).map(str::to_owned).collect()
}

#[test]
fn ledger_and_sources_agree() {
    let faults = Tree::real().faults();
    assert!(faults.is_empty(), "{PAGE} and the sources disagree:\n\n{}\n", faults.join("\n\n"));
}

/// What is found after a change that must be found: one fault at least, each of which `says` so.
fn found(change: impl FnOnce(&mut Tree), says: &str) -> String {
    let mut tree = Tree::real();
    change(&mut tree);
    let faults = tree.faults();
    assert!(faults.iter().any(|fault| fault.contains(says)), "not found: {says}\n{faults:?}");
    faults.join("\n")
}

/// Replaces what is there exactly once.
fn edit(text: &mut String, from: &str, to: &str) {
    assert_eq!(text.matches(from).count(), 1, "{from}");
    *text = text.replace(from, to);
}

/// The page's row with this text.
fn row(page: &str, with: &str) -> String {
    page.lines().find(|line| line.contains(with)).expect("a row").to_owned()
}

const STACK: &str = "| `Stack.head` | `stack.rs::push head Release` |";

#[test]
fn an_access_without_a_row_is_named_and_its_row_drafted() {
    let remove = |tree: &mut Tree| {
        let row = row(&tree.page, STACK);
        edit(&mut tree.page, &format!("{row}\n"), "");
    };
    found(remove, STACK);
    let faults = found(remove, "`stack.rs::take head Acquire` | WHAT |");
    // The draft of the one side with the partner and the meaning filled in is all that is missing.
    let draft = faults.lines().find(|line| line.starts_with(STACK)).expect("a row to paste");
    let mutants = "`PushRelaxed`, `TakeRelaxed`";
    let filled = draft.replace("`PARTNER`", "`stack.rs::take head Acquire`");
    let filled = filled.replace("WHAT", "a node").replace("`PushRelaxed`", mutants);
    let mut tree = Tree::real();
    let old = row(&tree.page, STACK);
    edit(&mut tree.page, &old, &filled);
    assert_eq!(tree.faults(), Vec::<String>::new());
}

#[test]
fn a_change_of_the_sources_is_noticed() {
    let strengthen = |tree: &mut Tree| {
        edit(
            tree.file("stack.rs"),
            "self.head.load(Ordering::Relaxed).is_null()",
            "self.head.load(Ordering::Acquire).is_null()",
        );
    };
    found(strengthen, "`stack.rs::is_empty head Acquire`");
    let weaken = |tree: &mut Tree| {
        edit(
            tree.file("reclamation/grace.rs"),
            ".graces.over.store(grace, Ordering::Release)",
            ".graces.over.store(grace, Ordering::Relaxed)",
        );
    };
    found(weaken, "there is no `reclamation/grace.rs::note_over over Release`");
    let fence = |tree: &mut Tree| {
        edit(tree.file("reclamation/flush.rs"), "            fence(Ordering::SeqCst);\n", "");
    };
    found(fence, "there is no `reclamation/flush.rs::is_over fence SeqCst x2`");
    let announced = |tree: &mut Tree| {
        let from = "ListensWithoutFence) {\n            fence_after_update();\n";
        edit(tree.file("dispatch/audience.rs"), from, "ListensWithoutFence) {\n");
    };
    found(announced, "there is no `dispatch/audience.rs::someone_listens_now fence SeqCst`");
    let unmutated = |tree: &mut Tree| {
        edit(
            tree.file("stack.rs"),
            "relaxed_if(Mutant::TakeRelaxed, Ordering::Acquire)",
            "Ordering::Acquire",
        );
    };
    found(unmutated, "`stack.rs::take head Acquire`: no mutant weakens it");
    let shared = |tree: &mut Tree| {
        edit(
            tree.file("stack.rs"),
            "relaxed_if(Mutant::TakeRelaxed, ",
            "relaxed_if(Mutant::PushRelaxed, ",
        );
    };
    found(shared, "`PushRelaxed` weakens");
    let field = |tree: &mut Tree| {
        edit(
            tree.file("stack.rs"),
            "    head: AtomicPtr<N>,\n",
            "    head: AtomicPtr<N>,\n    length: Padded<AtomicUsize>,\n",
        );
    };
    found(field, "| `Stack.length` | … |");
    let operation = |tree: &mut Tree| {
        edit(tree.file("events.rs"), "pub fn taken(", "pub fn turns(");
    };
    found(operation, "| `EventQueue::turns` | … |");
    found(|tree| tree.file("stack.rs").push_str("// See I99.\n"), "cite I99");
}

#[test]
fn an_ordering_that_belongs_to_nothing_is_noticed() {
    let passed_on =
        |text: &'static str| move |tree: &mut Tree| tree.file("stack.rs").push_str(text);
    found(
        passed_on("fn f() { g(Ordering::Release); }"),
        "stack.rs::f: Release belongs to no access",
    );
    found(passed_on("fn f() { let order = Ordering::SeqCst; }"), "SeqCst in `order`");
    found(passed_on("fn f(a: &A) { a.load(Acquire); }"), "`Ordering::Acquire` in full");
}

#[test]
fn a_change_of_the_page_is_noticed() {
    let doctored = |from: &'static str, to: &'static str| {
        move |tree: &mut Tree| {
            let old = row(&tree.page, STACK);
            let new = old.replace(from, to);
            assert_ne!(old, new, "{from}");
            edit(&mut tree.page, &old, &new);
        }
    };
    found(doctored("`PushRelaxed`", "`PushSlowly`"), "there is no mutant `PushSlowly`");
    found(doctored("`PushRelaxed`, ", ""), "no row of it names `PushRelaxed`");
    found(
        doctored("`stack::two_takers`", "`stack::two_bakers`"),
        "there is no model `stack::two_bakers`",
    );
    found(
        doctored("`stack::two_takers`, `slab::share_against_theft`", "`slab::last_generation`"),
        "no model here is said to catch `PushRelaxed`",
    );
    found(doctored("Stack.head", "Stack.tail"), "there is no atomic `Stack.tail`");
    found(doctored("| – |", "| it is cheap |"), "nothing to explain");
    let swap = doctored(
        "push head Release` | `stack.rs::take head Acquire",
        "take head Acquire` | `stack.rs::push head Release",
    );
    found(swap, "stands on the wrong side");
    let unexplained = |tree: &mut Tree| {
        let old = row(&tree.page, "`reclamation/grace.rs::note_over over Release`");
        let kept: Vec<_> = old.split(" | ").take(6).collect();
        edit(&mut tree.page, &old, &format!("{} | – |", kept.join(" | ")));
    };
    found(unexplained, "a row does not say why");
    let orphan =
        |tree: &mut Tree| edit(&mut tree.models, "[TakeWithoutSwap PushRelaxed TakeRelaxed]", "[]");
    found(
        |tree| {
            orphan(tree);
            edit(
                &mut tree.models,
                "share_against_theft [PushRelaxed TakeRelaxed]",
                "share_against_theft []",
            );
        },
        "no model here is said to catch `TakeRelaxed`",
    );
}

/// Comments, lines and order do not matter.
#[test]
fn moved_code_needs_no_new_row() {
    let mut tree = Tree::real();
    for (path, text) in &mut tree.core {
        if path != "mutant.rs" {
            *text = text.lines().map(|line| format!("\n// Ordering::SeqCst\n{line}\n")).collect();
        }
    }
    assert_eq!(tree.faults(), Vec::<String>::new());
}
