//! How the programs are compiled, and the ways in which they are linked with the library.

use super::checkers::races;
use super::common::*;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

/// One for each subject.
pub(super) const PROGRAMS: [&str; 22] = [
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
pub(super) const NATIVE_LIBRARIES: [&str; 2] = ["-lpthread", "-ldl"];

pub(super) const WARNINGS: [&str; 4] = ["-Wall", "-Wextra", "-pedantic", "-Werror"];
pub(super) const COMPILE_LIMIT: Duration = Duration::from_secs(60);
pub(super) const RUN_LIMIT: Duration = Duration::from_secs(60);

/// How to compile.
#[derive(Clone, Copy)]
pub(super) struct Compiler {
    /// Names the folder of its objects.
    pub(super) name: &'static str,
    pub(super) command: &'static str,
    pub(super) flags: &'static [&'static str],
}

pub(super) const C11: Compiler =
    Compiler { name: "c11", command: "gcc", flags: &["-x", "c", "-std=c11"] };
pub(super) const CXX17: Compiler =
    Compiler { name: "cxx17", command: "clang++", flags: &["-x", "c++", "-std=c++17"] };
pub(super) const ALONE: Compiler =
    Compiler { name: "alone", command: "gcc", flags: &["-x", "c", "-std=c11", "-DRTM_ALONE"] };
pub(super) const SANITIZED: Compiler = Compiler {
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
pub(super) const SANITIZED_BY_CLANG: Compiler = Compiler {
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

pub(super) const RACES: Compiler = Compiler {
    name: "races",
    command: "gcc",
    flags: &["-x", "c", "-std=c11", "-fsanitize=thread", "-fno-omit-frame-pointer"],
};

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Link {
    Shared,
    Static,
    /// The static library and the checker of `races`.
    Races,
    /// With nothing: the program loads the library itself.
    Nothing,
}

pub(super) fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/c")
}

pub(super) fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// A compiler's command line up to the source.
pub(super) fn compiler(command: &str, flags: &[&str]) -> Command {
    let mut command = Command::new(command);
    command.args(flags).args(WARNINGS);
    command.args(cfg!(rtm_short_generations).then_some("-DRTM_SHORT_GENERATIONS"));
    command.arg("-I").arg(root().join("include")).arg("-I").arg(sources());
    command
}

/// The object file of a program, compiled once for all tests.
pub(super) fn object(with: Compiler, program: &str) -> PathBuf {
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
pub(super) fn build(test: &str, with: Compiler, link: Link, program: &str) -> PathBuf {
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
pub(super) fn client(test: &str, with: Compiler) -> PathBuf {
    let output = folder(test).join("plugin_client.so");
    let mut command = compiler(with.command, with.flags);
    command.args(["-O1", "-g", "-fPIC", "-shared", "-o"]).arg(&output);
    command.arg(sources().join("plugin_client.c"));
    let linked = run("plugin_client", &mut command, COMPILE_LIMIT);
    assert!(linked.status.success(), "{command:?}\n{}", linked.text);
    output
}

pub(super) fn arguments(
    command: &mut Command,
    test: &str,
    with: Compiler,
    link: Link,
    program: &str,
) {
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
pub(super) fn expect_success(name: &str, ended: &Ended) {
    assert!(ended.status.success(), "{name} ended with {}\n{}", ended.describe(), ended.text);
    assert_eq!(ended.text.lines().count(), 1, "{name} printed:\n{}", ended.text);
    println!("{:6.2} s  {name}: {}", ended.time.as_secs_f64(), ended.text.trim_end());
}

pub(super) fn build_and_run(test: &str, with: Compiler, link: Link, programs: &[&str]) {
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
