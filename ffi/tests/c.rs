//! The C and C++ programs of `tests/c`, compiled and run in every way the library is to be used.
//!
//! Each program prints one line and ends with 0, or says what failed and ends with 1.

mod common;

use common::{Ended, for_each, have, libraries, root, run, skipped, whole};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

/// One for each subject.
const PROGRAMS: [&str; 22] = [
    "layout",
    "registration",
    "queries",
    "formats",
    "sections",
    "cleanup",
    "misuse",
    "threads",
    "process",
    "shutdown",
    "dlopen",
    "at_exit",
    "methods",
    "events",
    "event_queues",
    "rundown",
    "plugin",
    "circles",
    "lost_reclaimer",
    "forking_client",
    "open_sections",
    "signals",
];

/// What a program needs beside `librtm.a`. With glibc 2.34 and later these are empty and the line may
/// be; the unwinder comes with the compiler driver.
const NATIVE_LIBRARIES: [&str; 2] = ["-lpthread", "-ldl"];

const WARNINGS: [&str; 4] = ["-Wall", "-Wextra", "-pedantic", "-Werror"];
const COMPILE_LIMIT: Duration = Duration::from_secs(60);
const RUN_LIMIT: Duration = Duration::from_secs(60);

/// How to compile.
#[derive(Clone, Copy)]
struct Compiler {
    /// Names the folder of its objects.
    name: &'static str,
    command: &'static str,
    flags: &'static [&'static str],
}

const C11: Compiler = Compiler { name: "c11", command: "gcc", flags: &["-x", "c", "-std=c11"] };
const CXX17: Compiler =
    Compiler { name: "cxx17", command: "clang++", flags: &["-x", "c++", "-std=c++17"] };
const ALONE: Compiler =
    Compiler { name: "alone", command: "gcc", flags: &["-x", "c", "-std=c11", "-DRTM_ALONE"] };
const SANITIZED: Compiler = Compiler {
    name: "sanitized",
    command: "gcc",
    flags: &[
        "-x",
        "c",
        "-std=c11",
        "-fsanitize=address,undefined",
        "-fno-sanitize-recover=all",
        "-fno-omit-frame-pointer",
    ],
};

/// clang's own sanitizers, under gcc's name for that. Not the sizes of objects: those of the interface end in an
/// array that is longer. Not the stack, which is gcc's part: frames of a thread that a client function
/// has ended stay marked.
const SANITIZED_BY_CLANG: Compiler = Compiler {
    name: "sanitized-clang",
    command: "clang",
    flags: &[
        "-x",
        "c",
        "-std=c11",
        "-D__SANITIZE_ADDRESS__",
        "-mllvm",
        "-asan-stack=0",
        "-fsanitize=address,undefined",
        "-fno-sanitize=object-size",
        "-fno-sanitize-recover=all",
        "-fno-omit-frame-pointer",
    ],
};

const RACES: Compiler = Compiler {
    name: "races",
    command: "gcc",
    flags: &["-x", "c", "-std=c11", "-fsanitize=thread", "-fno-omit-frame-pointer"],
};

#[derive(Clone, Copy, PartialEq)]
enum Link {
    Shared,
    Static,
    /// The static library and the checker of `races`.
    Races,
    /// With nothing: the program loads the library itself.
    Nothing,
}

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/c")
}

fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// A compiler's command line up to the source.
fn compiler(command: &str, flags: &[&str]) -> Command {
    let mut command = Command::new(command);
    command.args(flags).args(WARNINGS);
    command.args(cfg!(rtm_short_generations).then_some("-DRTM_SHORT_GENERATIONS"));
    command.arg("-I").arg(root().join("include")).arg("-I").arg(sources());
    command
}

/// The object file of a program, compiled once for all tests.
fn object(with: Compiler, program: &str) -> PathBuf {
    type Once = Arc<OnceLock<PathBuf>>;
    static OBJECTS: Mutex<BTreeMap<String, Once>> = Mutex::new(BTreeMap::new());
    let name = format!("{}/{program}.o", with.name);
    let once = OBJECTS.lock().unwrap().entry(name.clone()).or_default().clone();
    once.get_or_init(|| {
        let output = folder(with.name).join(format!("{program}.o"));
        let mut command = compiler(with.command, with.flags);
        command.args(["-O1", "-g", "-pthread", "-c", "-o"]).arg(&output);
        command.arg(sources().join(format!("{program}.c")));
        let compiled = run(&name, &mut command, COMPILE_LIMIT);
        assert!(compiled.status.success(), "{command:?}\n{}", compiled.text);
        output
    })
    .clone()
}

/// A program, in a folder of the test's own.
fn build(test: &str, with: Compiler, link: Link, program: &str) -> PathBuf {
    let output = folder(test).join(program);
    let mut command = Command::new(with.command);
    if link != Link::Races {
        command.args(with.flags.iter().filter(|flag| flag.starts_with("-fsanitize")));
    }
    command.arg(object(with, program)).arg("-o").arg(&output);
    match link {
        Link::Shared => {
            command.arg("-L").arg(libraries()).arg("-lrtm");
            // What the program then loads is checked by dlopen.c.
            command.arg(format!("-Wl,-rpath,{}", libraries().display()));
        }
        Link::Static => {
            command.arg(libraries().join("librtm.a"));
        }
        Link::Races => {
            let races = races().expect("looked at before");
            command.arg(&races.library).arg("-Wl,--whole-archive").arg(&races.checker);
            command.args(["-Wl,--no-whole-archive", "-lm", "-lrt"]);
        }
        Link::Nothing => {}
    }
    command.args(NATIVE_LIBRARIES);
    let linked = run(program, &mut command, COMPILE_LIMIT);
    assert!(linked.status.success(), "{command:?}\n{}", linked.text);
    output
}

/// The client that `plugin` loads, compiled like the program.
fn client(test: &str, with: Compiler) -> PathBuf {
    let output = folder(test).join("plugin_client.so");
    let mut command = compiler(with.command, with.flags);
    command.args(["-O1", "-g", "-fPIC", "-shared", "-o"]).arg(&output);
    command.arg(sources().join("plugin_client.c"));
    let linked = run("plugin_client", &mut command, COMPILE_LIMIT);
    assert!(linked.status.success(), "{command:?}\n{}", linked.text);
    output
}

fn arguments(command: &mut Command, test: &str, with: Compiler, link: Link, program: &str) {
    if program == "dlopen" {
        command.arg(libraries().join("librtm.so"));
        command.arg(if link == Link::Static { "2" } else { "1" });
    }
    if program == "plugin" {
        // As often as promised in one mode, less in the others.
        let rounds = if (with.name, link) == (C11.name, Link::Shared) { "10000" } else { "1000" };
        command.arg(client(test, with)).arg(rounds);
    }
}

/// Exit code 0 and one line.
fn expect_success(name: &str, ended: &Ended) {
    assert!(ended.status.success(), "{name} ended with {}\n{}", ended.describe(), ended.text);
    assert_eq!(ended.text.lines().count(), 1, "{name} printed:\n{}", ended.text);
    println!("{:6.2} s  {name}: {}", ended.time.as_secs_f64(), ended.text.trim_end());
}

fn build_and_run(test: &str, with: Compiler, link: Link, programs: &[&str]) {
    if !have(with.command) {
        return;
    }
    for_each(programs, |program| {
        let mut command = Command::new(build(test, with, link, program));
        arguments(&mut command, test, with, link, program);
        let ended = run(program, &mut command, RUN_LIMIT);
        expect_success(&format!("{test}/{program}"), &ended);
    });
}

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
struct Races {
    library: PathBuf,
    checker: PathBuf,
}

/// `None`: the toolchain has none.
fn races() -> Option<&'static Races> {
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
