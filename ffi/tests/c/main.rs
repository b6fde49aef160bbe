//! The C and C++ programs of `tests/c`, compiled and run in every way the library is to be used.
//!
//! Each program prints one line and ends with 0, or says what failed and ends with 1.

mod checkers;
#[path = "../common/mod.rs"]
mod common;
mod compile;

use common::*;
use compile::*;
use std::process::Command;
use std::time::Duration;

// --- The header alone ---

const STANDARDS: [(&str, &[&str]); 2] =
    [("c", &["c99", "c11", "c17", "c2x"]), ("c++", &["c++11", "c++14", "c++17", "c++20"])];

fn only_compiles(compiler_name: &str, source: &str, more: &[&str]) {
    if !have(compiler_name) {
        return;
    }
    for (language, standards) in STANDARDS {
        for standard in standards {
            let std = format!("-std={standard}");
            let mut command = compiler(compiler_name, &["-x", language, &std]);
            command.arg("-fsyntax-only").args(more).arg(sources().join(source));
            let compiled = run(&std, &mut command, COMPILE_LIMIT);
            assert!(compiled.status.success(), "{command:?}\n{}", compiled.text);
        }
    }
}

#[test]
fn header_alone_with_gcc() {
    only_compiles("gcc", "header_alone.c", &[]);
}

#[test]
fn header_alone_with_clang() {
    only_compiles("clang", "header_alone.c", &[]);
}

/// What the page for authors of clients shows, as one program text.
#[test]
fn the_page_compiles() {
    let page = std::fs::read_to_string(root().join("docs/writing-a-client.md")).unwrap();
    let shown: Vec<&str> =
        page.split("```c\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(shown.len() >= 5, "the page has lost its programs");
    let file = folder("page").join("page.c");
    std::fs::write(&file, shown.join("\n")).unwrap();
    // `join` of an absolute path is that path. POSIX, for `poll`.
    for name in ["gcc", "clang"] {
        only_compiles(name, file.to_str().unwrap(), &["-D_POSIX_C_SOURCE=200809L"]);
    }
}

#[test]
fn own_types_with_gcc() {
    only_compiles("gcc", "own_types.c", &[]);
}

#[test]
fn own_types_with_clang() {
    only_compiles("clang", "own_types.c", &[]);
}

#[test]
fn own_types_of_the_wrong_width_are_refused() {
    for name in ["gcc", "clang"] {
        if !have(name) {
            continue;
        }
        let mut command = compiler(name, &["-x", "c"]);
        command.args(["-fsyntax-only", "-DOWN_ULONG=unsigned long"]);
        command.arg(sources().join("own_types.c"));
        let compiled = run(name, &mut command, COMPILE_LIMIT);
        assert!(!compiled.status.success());
        assert!(compiled.text.contains("RTM_CHECK_ULONG"), "{}", compiled.text);
    }
}

// --- The programs ---

#[test]
fn c11_with_the_shared_library() {
    build_and_run("c11-shared", C11, Link::Shared, &PROGRAMS);
}

/// With each language and library everything is run, with each pair of them in CI.
#[test]
fn c11_with_the_static_library() {
    build_and_run("c11-static", C11, Link::Static, if whole() { &PROGRAMS } else { &["layout"] });
}

#[test]
fn cxx17_with_the_shared_library() {
    build_and_run(
        "cxx17-shared",
        CXX17,
        Link::Shared,
        if whole() { &PROGRAMS } else { &["layout"] },
    );
}

#[test]
fn cxx17_with_the_static_library() {
    build_and_run("cxx17-static", CXX17, Link::Static, &PROGRAMS);
}

/// `signals` waits until it has been interrupted inside of each function of its list.
#[test]
fn signals_interrupt_every_function() {
    let exported = std::fs::read_to_string(root().join("include/rtm.symbols")).unwrap();
    let program = std::fs::read_to_string(sources().join("signals.c")).unwrap();
    for function in exported.lines() {
        assert!(program.contains(&format!("F({function})")), "signals.c does not call {function}");
    }
}

#[test]
fn the_library_only_loaded() {
    build_and_run("c11-alone", ALONE, Link::Nothing, &["dlopen"]);
}

#[test]
fn a_failed_check_says_where() {
    if !have("gcc") {
        return;
    }
    // There is no library where its argument says, so that the first check fails.
    let file = build("failing", ALONE, Link::Nothing, "dlopen");
    let ended = run("dlopen", Command::new(file).args(["/nowhere", "1"]), RUN_LIMIT);
    assert_eq!(ended.status.code(), Some(1), "{}", ended.text);
    assert!(ended.text.contains("dlopen.c:"), "{}", ended.text);
    assert!(ended.text.contains("copy.library != "), "{}", ended.text);
}

#[test]
#[should_panic(expected = "sleep: not done after 1 s")]
fn a_program_that_hangs_is_ended_and_named() {
    run("sleep", Command::new("sleep").arg("100"), Duration::from_secs(1));
}

/// In three threads that churn while a fourth stays in a section. `RTM_STUCK_SECONDS=60` for longer.
#[test]
fn a_reader_that_never_leaves() {
    let seconds = std::env::var("RTM_STUCK_SECONDS").ok().and_then(|text| text.parse().ok());
    if !have("gcc") {
        return;
    }
    let mut command = Command::new(build("stuck", C11, Link::Shared, "stuck_reader"));
    let limit = RUN_LIMIT + Duration::from_secs(seconds.unwrap_or(1));
    expect_success("stuck_reader", &run("stuck_reader", &mut command, limit));
}
