//! The committed corpus, without a fuzzer: every program must hold. `RTM_CORPUS` names another folder.

use std::path::{Path, PathBuf};

fn replay(target: &str, run: fn(&[u8])) {
    let corpus = std::env::var_os("RTM_CORPUS").map(PathBuf::from);
    let corpus = corpus.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus"));
    let mut programs: Vec<PathBuf> = std::fs::read_dir(corpus.join(target))
        .expect("a folder for each target")
        .map(|entry| entry.expect("readable").path())
        .collect();
    programs.sort();
    assert!(programs.len() >= 20, "{target}: the corpus is gone");
    for program in &programs {
        // A defect may end the process: whoever reads its output finds the program.
        eprintln!("{}", program.display());
        run(&std::fs::read(program).expect("readable"));
    }
    println!("{target}: {} programs", programs.len());
}

#[test]
fn abi() {
    replay("abi", rtm_fuzz::abi::run);
}

#[test]
fn csv() {
    replay("csv", rtm_fuzz::csv::run);
}

#[test]
fn handles() {
    replay("handles", rtm_fuzz::handles::run);
}
