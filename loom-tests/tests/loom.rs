//! In an ordinary build (`cargo test`): builds this package under loom, in a target folder of its own,
//! and runs every model and mutant; the models that take long to their end only with `CI` set.
#![cfg(not(rtm_loom))]

use std::path::Path;
use std::process::Command;

#[test]
fn models_hold_and_mutants_are_caught() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let brief = std::env::var_os("CI").is_none().then_some("--brief");
    let status = Command::new(env!("CARGO"))
        .current_dir(&root)
        .args(["run", "--locked", "--quiet", "--profile", "dev", "--target-dir"])
        .arg(root.join("target/loom"))
        .args(["-p", "rtm-loom-tests", "--bin", "loom-mutants", "--"])
        .args(brief)
        .env("RUSTFLAGS", "--cfg rtm_loom --cfg crossbeam_loom")
        .status()
        .expect("cargo runs");
    assert!(status.success(), "see the lines above");
}
