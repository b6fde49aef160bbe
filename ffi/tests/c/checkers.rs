//! The programs without memory, under the sanitizers and under valgrind. Each checker must find a seeded fault.

use super::common::*;
use super::compile::*;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

// --- Memory that runs out ---

/// What the linker puts the failing allocator before.
const ALLOCATOR: [&str; 6] =
    ["malloc", "calloc", "realloc", "free", "posix_memalign", "aligned_alloc"];

/// The program that lets each allocation fail: of the program and `librtm.a`, or, with the shared library, of
/// the whole process.
fn without_memory(test: &str, with: Compiler, link: Link) -> PathBuf {
    let output = folder(test).join("no_memory");
    let mut command = compiler(with.command, with.flags);
    command.args(["-O1", "-g", "-pthread", "-o"]).arg(&output);
    if link == Link::Static {
        command.arg("-DRTM_WRAPPED");
        command.args(ALLOCATOR.map(|name| format!("-Wl,--wrap={name}")));
    }
    // What follows is no source.
    command.arg(sources().join("no_memory.c")).args(["-x", "none"]);
    match link {
        Link::Static => command.arg(libraries().join("librtm.a")),
        _ => {
            command.arg("-L").arg(libraries()).arg("-lrtm");
            command.arg(format!("-Wl,-rpath,{}", libraries().display()))
        }
    };
    command.args(NATIVE_LIBRARIES);
    let linked = run("no_memory", &mut command, COMPILE_LIMIT);
    assert!(linked.status.success(), "{command:?}\n{}", linked.text);
    output
}

#[test]
fn each_allocation_fails() {
    if !have("gcc") {
        return;
    }
    for (test, link) in [("no-memory-static", Link::Static), ("no-memory-shared", Link::Shared)] {
        let mut command = Command::new(without_memory(test, C11, link));
        expect_success(test, &run(test, &mut command, RUN_LIMIT));
    }
}

/// A tenth, or less, of what is repeated.
#[test]
fn each_allocation_fails_under_the_checkers() {
    if !have("gcc") || !have("valgrind") {
        return;
    }
    let test = "no-memory-sanitized";
    let mut command = Command::new(without_memory(test, SANITIZED, Link::Static));
    sanitizer_options(&mut command, true);
    command.env("RTM_TEST_DIVISOR", "10");
    expect_success(test, &run(test, &mut command, RUN_LIMIT));
    if !whole() {
        return;
    }
    let test = "no-memory-valgrind";
    let mut command = valgrind(&without_memory(test, C11, Link::Static));
    command.env("RTM_TEST_DIVISOR", "100");
    expect_success(test, &run(test, &mut command, Duration::from_secs(120)));
}

// --- Sanitizers ---

/// Runs the program with the seeded faults.
fn seeded(file: &Path, argument: &str, leaks: bool) -> Ended {
    let mut command = Command::new(file);
    command.arg(argument);
    sanitizer_options(&mut command, leaks);
    run(argument, &mut command, RUN_LIMIT)
}

/// Those that fork while other threads run. A child loses what these point to, and inherits locks of the
/// sanitizers' allocators that they hold (gcc 12, clang 14).
fn forks(program: &str) -> bool {
    ["process", "forking_client"].contains(&program)
}

fn suppressions(name: &str, text: &str) -> PathBuf {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&file, text).unwrap();
    file
}

fn sanitizer_options(command: &mut Command, leaks: bool) {
    let leaks = u8::from(leaks);
    command.env("ASAN_OPTIONS", format!("exitcode=23:detect_leaks={leaks}:abort_on_error=0"));
    command.env("UBSAN_OPTIONS", "exitcode=23:print_stacktrace=1");
}

#[test]
fn with_address_and_undefined_behaviour_sanitizer() {
    with_sanitizers(SANITIZED);
}

#[test]
fn with_address_and_undefined_behaviour_sanitizer_of_clang() {
    if !have("clang") {
        return;
    }
    let folder = run("clang", Command::new("clang").arg("--print-runtime-dir"), RUN_LIMIT);
    let is_checker = |name: std::ffi::OsString| name.to_string_lossy().contains("rt.asan");
    let runtimes = std::fs::read_dir(folder.text.trim());
    if runtimes
        .is_ok_and(|mut all| all.any(|entry| entry.is_ok_and(|file| is_checker(file.file_name()))))
    {
        with_sanitizers(SANITIZED_BY_CLANG);
    } else {
        skipped("clang has no sanitizers here (Debian: libclang-rt-dev)");
    }
}

fn with_sanitizers(with: Compiler) {
    if !have(with.command) {
        return;
    }
    // The gate is on: the checker is in the program and finds what is wrong on purpose.
    let file = build(with.name, with, Link::Static, "seeded_fault");
    let symbols = run("nm", Command::new("nm").arg(&file), RUN_LIMIT);
    assert!(symbols.text.contains("__asan_init"), "the sanitizer is not in the program");
    let fine = seeded(&file, "none", false);
    assert!(fine.status.success(), "{}", fine.text);
    let fault = seeded(&file, "use-after-free", false);
    assert_eq!(fault.status.code(), Some(23), "{}", fault.text);
    assert!(fault.text.contains("heap-use-after-free"), "{}", fault.text);
    let fault = seeded(&file, "overflow", false);
    assert!(fault.text.contains("signed integer overflow"), "{}", fault.text);
    assert!(!fault.status.success());
    let leak = seeded(&file, "leak", true);
    let leaks = leak.text.contains("4321 byte");
    if leaks {
        assert_eq!(leak.status.code(), Some(23), "{}", leak.text);
    } else {
        skipped("the leak sanitizer does not work here");
    }

    let programs: Vec<_> = PROGRAMS.into_iter().filter(|program| !forks(program)).collect();
    for_each(&programs, |program| {
        let mut command = Command::new(build(with.name, with, Link::Static, program));
        arguments(&mut command, with.name, with, Link::Static, program);
        sanitizer_options(&mut command, leaks);
        let ended = run(program, &mut command, RUN_LIMIT);
        expect_success(&format!("{}/{program}", with.name), &ended);
    });
}

// --- Races ---

/// The static library with the thread sanitizer's instrumentation, and the sanitizer: Rust's own, for it has
/// to be of one version with the compiler.
pub(super) struct Races {
    pub(super) library: PathBuf,
    pub(super) checker: PathBuf,
}

/// `None`: the toolchain has none.
pub(super) fn races() -> Option<&'static Races> {
    static RACES: OnceLock<Option<Races>> = OnceLock::new();
    let make = || {
        let rustc = |what| run("rustc", Command::new("rustc").args(["--print", what]), RUN_LIMIT);
        let host = rustc("host-tuple").text.trim().to_owned();
        let rest = format!("lib/rustlib/{host}/lib");
        let folder = Path::new(rustc("sysroot").text.trim()).join(rest);
        let checker = std::fs::read_dir(folder).ok()?.find_map(|entry| {
            let path = entry.ok()?.path();
            path.to_str()?.ends_with("_rt.tsan.a").then_some(path)
        })?;
        let target = libraries().parent().unwrap().join("races");
        let mut cargo = Command::new(env!("CARGO"));
        cargo.current_dir(root()).args(["rustc", "--quiet", "--release", "-p", "rtm-ffi", "--lib"]);
        cargo.args(["--crate-type", "staticlib", "--target", &host, "--target-dir"]).arg(&target);
        // The defects are in, to be chosen at run time. Sanitizers are not stable.
        let mut flags =
            "-Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer --cfg rtm_tsan --cfg rtm_broken"
                .to_owned();
        if cfg!(rtm_short_generations) {
            flags.push_str(" --cfg rtm_short_generations");
        }
        cargo.env("RUSTC_BOOTSTRAP", "1").env("RUSTFLAGS", flags);
        cargo.env("CARGO_PROFILE_RELEASE_LTO", "false");
        cargo.env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16");
        let built = run("cargo rustc", &mut cargo, Duration::from_secs(600));
        assert!(built.status.success(), "{}", built.text);
        Some(Races { library: target.join(host).join("release/librtm.a"), checker })
    };
    RACES.get_or_init(make).as_ref()
}

/// Not `registration`, which does without address space, `process`, whose children are copies of one thread,
/// `shutdown`, which counts threads and memory, `lost_reclaimer` and `forking_client`, whose threads end in late
/// destructors or are forked, `signals`, which the sanitizer delays, and those about linking and loading.
const FOR_RACES: [&str; 12] = [
    "queries",
    "formats",
    "sections",
    "cleanup",
    "misuse",
    "threads",
    "methods",
    "events",
    "event_queues",
    "rundown",
    "circles",
    "open_sections",
];

/// Without `CI`: the quick ones.
const RACES_EVERY_DAY: [&str; 6] =
    ["sections", "misuse", "threads", "methods", "event_queues", "open_sections"];

/// std is not instrumented, and the fence of `Arc`'s drop is not seen.
const RACE_SUPPRESSIONS: &str = "race:drop_slow\n";

fn for_races(program: &str) -> Command {
    let mut command = Command::new(build("races", RACES, Link::Races, program));
    let file = suppressions("races.supp", RACE_SUPPRESSIONS);
    command.env("TSAN_OPTIONS", format!("exitcode=23:suppressions={}", file.display()));
    command.env("RTM_TEST_DIVISOR", "30");
    command
}

#[test]
fn with_thread_sanitizer() {
    if !have("gcc") {
        return;
    }
    if races().is_none() {
        skipped("this Rust toolchain has no thread sanitizer");
        return;
    }
    let limit = Duration::from_secs(120);
    // The gate is on: it finds a race of the client's, and one of ours.
    let fine = run("none", for_races("seeded_fault").arg("none"), limit);
    expect_success("races/seeded_fault", &fine);
    let fault = run("race", for_races("seeded_fault").arg("race"), limit);
    assert_eq!(fault.status.code(), Some(23), "{}", fault.text);
    assert!(fault.text.contains("data race"), "{}", fault.text);
    for defect in ["RungPushRelaxed", "RungTakeRelaxed"] {
        let fault = run(defect, for_races("event_queues").env("RTM_MUTANT", defect), limit);
        assert_eq!(fault.status.code(), Some(23), "{defect}: {}", fault.text);
        assert!(fault.text.contains("data race"), "{defect}: {}", fault.text);
    }

    for_each::<&str>(if whole() { &FOR_RACES } else { &RACES_EVERY_DAY }, |program| {
        let ended = run(program, &mut for_races(program), limit);
        expect_success(&format!("races/{program}"), &ended);
    });
}

// --- Valgrind ---

/// Those that valgrind says something about beyond the sanitizers: it looks into the library too. Not `signals`,
/// which it delivers between slices only.
const UNDER_VALGRIND: [&str; 17] = [
    "registration",
    "queries",
    "formats",
    "sections",
    "cleanup",
    "misuse",
    "threads",
    "process",
    "shutdown",
    "methods",
    "events",
    "event_queues",
    "rundown",
    "plugin",
    "circles",
    "lost_reclaimer",
    "open_sections",
];

/// Without `CI`.
const VALGRIND_EVERY_DAY: [&str; 4] = ["sections", "misuse", "cleanup", "open_sections"];

fn valgrind(file: &Path) -> Command {
    let mut command = Command::new("valgrind");
    command.args(["-q", "--error-exitcode=9", "--leak-check=full", "--show-leak-kinds=definite"]);
    command.args(["--errors-for-leak-kinds=definite", "--fair-sched=try"]);
    if forks(file.file_name().unwrap().to_str().unwrap()) {
        command.arg("--leak-check=no");
    }
    command.arg(file);
    command.env("RTM_TEST_DIVISOR", "30");
    command
}

#[test]
fn under_valgrind() {
    if !have("gcc") || !have("valgrind") {
        return;
    }
    let limit = Duration::from_secs(120);
    let file = build("valgrind", C11, Link::Static, "seeded_fault");
    let fine = run("none", valgrind(&file).arg("none"), limit);
    expect_success("valgrind/seeded_fault", &fine);
    for (fault, words) in [("use-after-free", "Invalid read"), ("leak", "definitely lost")] {
        let found = run(fault, valgrind(&file).arg(fault), limit);
        assert_eq!(found.status.code(), Some(9), "{}", found.text);
        assert!(found.text.contains(words), "{}", found.text);
    }
    for_each::<&str>(if whole() { &UNDER_VALGRIND } else { &VALGRIND_EVERY_DAY }, |program| {
        let mut command = valgrind(&build("valgrind", C11, Link::Static, program));
        arguments(&mut command, "valgrind", C11, Link::Static, program);
        let ended = run(program, &mut command, limit);
        expect_success(&format!("valgrind/{program}"), &ended);
    });
}
