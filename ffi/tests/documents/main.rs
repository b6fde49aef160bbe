//! The documents against the tree and the code: what they link to is there, and the limits that they name are
//! the ones in force. Without network: links to other hosts are not followed.

mod limits;
mod links;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Texts by their names as seen from the root of the tree.
type Texts = BTreeMap<String, String>;

/// All Markdown of the tree.
fn pages() -> Texts {
    let mut pages = Texts::new();
    collect(&root(), "", &mut pages);
    assert!(pages.contains_key("README.md") && pages.contains_key("docs/tuning.md"));
    pages
}

fn collect(folder: &Path, name: &str, pages: &mut Texts) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let file = path.file_name().and_then(|name| name.to_str()).expect("a name in UTF-8");
        if path.is_dir() {
            if file != "target" && !file.starts_with('.') {
                collect(&path, &format!("{name}{file}/"), pages);
            }
        } else if file.ends_with(".md") {
            pages.insert(format!("{name}{file}"), std::fs::read_to_string(&path).expect("a text"));
        }
    }
}

/// Replaces what is there exactly once.
fn edit(pages: &mut Texts, page: &str, from: &str, to: &str) {
    let text = pages.get_mut(page).unwrap_or_else(|| panic!("no {page}"));
    assert_eq!(text.matches(from).count(), 1, "{from}");
    *text = text.replace(from, to);
}
