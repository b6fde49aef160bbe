//! In an ordinary build: the backend works, and its model is built under loom and run.
#![cfg(not(rtm_loom))]

use rtm_loom_example::{Backend, Reuse};
use std::path::Path;
use std::process::Command;

#[test]
fn a_place_is_used_again() {
    let backend = <Backend>::new(1, Reuse::AtReclamation).expect("memory");
    let worker = backend.worker().expect("memory");
    let ospf = worker.add(1, 10).expect("there is a place");
    assert_eq!(worker.forward(ospf), Some(10));
    assert_eq!(worker.add(2, 20), None, "there is no second place");
    assert!(worker.remove(ospf) && !worker.remove(ospf));
    let bgp = worker.add(2, 20).expect("the place is free again");
    assert_eq!((worker.forward(ospf), worker.forward(bgp)), (None, Some(20)));
}

#[test]
fn the_model_holds_and_finds_the_defect() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut cargo = Command::new(env!("CARGO"));
    if std::env::var_os("CI").is_none() {
        // To its end it takes half a minute.
        cargo.env("LOOM_MAX_DURATION", "4");
    }
    let status = cargo
        .current_dir(&root)
        .args(["test", "--locked", "--quiet", "--target-dir"])
        .arg(root.join("target/loom"))
        .args(["-p", "rtm-loom-example"])
        .env("RUSTFLAGS", "--cfg rtm_loom --cfg crossbeam_loom")
        .status()
        .expect("cargo runs");
    assert!(status.success(), "see the lines above");
}
