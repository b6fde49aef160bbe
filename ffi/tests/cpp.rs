//! The C++ header `rtm.hpp`: the programs of `tests/cpp`, with and without exceptions, and under sanitizers.
//!
//! Each program prints one line and ends with 0, or says what failed and ends with 1.

mod common;

use common::{Ended, for_each, have, libraries, root, run};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const PROGRAMS: [&str; 4] = ["basics", "life", "events", "methods"];
const LIMIT: Duration = Duration::from_secs(60);
const WARNINGS: [&str; 5] = ["-Wall", "-Wextra", "-Wshadow", "-pedantic", "-Werror"];

#[derive(Clone, Copy, PartialEq)]
enum Link {
    Shared,
    Static,
}

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cpp")
}

fn build(test: &str, compiler: &str, flags: &[&str], link: Link, program: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cpp").join(test);
    std::fs::create_dir_all(&folder).unwrap();
    let output = folder.join(program);
    let mut command = Command::new(compiler);
    command.args(flags).args(WARNINGS).args(["-O1", "-g", "-pthread", "-I"]);
    command.arg(root().join("include")).arg(sources().join(format!("{program}.cc")));
    command.arg("-o").arg(&output);
    if link == Link::Shared {
        command.arg("-L").arg(libraries()).arg("-lrtm");
        command.arg(format!("-Wl,-rpath,{}", libraries().display()));
    } else {
        command.arg(libraries().join("librtm.a")).args(["-lpthread", "-ldl"]);
    }
    let built = run(program, &mut command, LIMIT);
    assert!(built.status.success(), "{command:?}\n{}", built.text);
    output
}

fn expect_success(name: &str, ended: &Ended) {
    assert!(ended.status.success(), "{name} ended with {}\n{}", ended.describe(), ended.text);
    assert_eq!(ended.text.lines().count(), 1, "{name} printed:\n{}", ended.text);
    println!("{:6.2} s  {name}: {}", ended.time.as_secs_f64(), ended.text.trim_end());
}

fn build_and_run(test: &str, compiler: &str, flags: &[&str], link: Link) {
    if !have(compiler) {
        return;
    }
    for_each(&PROGRAMS, |program| {
        let file = build(test, compiler, flags, link, program);
        expect_success(&format!("{test}/{program}"), &run(program, &mut Command::new(file), LIMIT));
    });
}

#[test]
fn cxx17() {
    build_and_run("cxx17", "g++", &["-std=c++17"], Link::Shared);
}

#[test]
fn cxx20_without_exceptions() {
    let flags = ["-std=c++20", "-fno-exceptions", "-fno-rtti"];
    build_and_run("cxx20", "clang++", &flags, Link::Static);
}

const SANITIZED: [&str; 4] = [
    "-std=c++17",
    "-fsanitize=address,undefined",
    "-fno-sanitize-recover=all",
    "-fno-omit-frame-pointer",
];

#[test]
fn with_address_and_undefined_behaviour_sanitizer() {
    if !have("g++") {
        return;
    }
    // The gate is on: it finds a state that is used after it has been destroyed.
    let life = build("sanitized", "g++", &SANITIZED, Link::Static, "life");
    let fault = run("life", Command::new(&life).arg("use-after-free"), LIMIT);
    assert!(!fault.status.success());
    assert!(fault.text.contains("heap-use-after-free"), "{}", fault.text);
    build_and_run("sanitized", "g++", &SANITIZED, Link::Static);
}

fn only_compiles(compiler: &str, more: &[&str], file: &Path) {
    let mut command = Command::new(compiler);
    command.args(["-std=c++17", "-fsyntax-only", "-x", "c++", "-I"]).arg(root().join("include"));
    command.args(WARNINGS).args(more).arg(file);
    let compiled = run("compiler", &mut command, LIMIT);
    assert!(compiled.status.success(), "{command:?}\n{}", compiled.text);
}

/// What README shows.
#[test]
fn what_is_shown_compiles() {
    let text = std::fs::read_to_string(root().join("README.md")).unwrap();
    let shown = text.split("```cpp\n").nth(1).expect("README shows a program");
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("readme.cc");
    std::fs::write(&file, shown.split("```").next().unwrap()).unwrap();
    for compiler in ["g++", "clang++"] {
        if have(compiler) {
            only_compiles(compiler, &[], &file);
        }
    }
}

/// Each part of the header, included alone.
#[test]
fn parts_of_the_header() {
    for compiler in ["g++", "clang++"] {
        if !have(compiler) {
            continue;
        }
        for part in ["basic", "reading", "client_code", "entity"] {
            let part = root().join(format!("include/rtm/{part}.hpp"));
            only_compiles(compiler, &["-include", part.to_str().unwrap()], Path::new("/dev/null"));
        }
    }
}
