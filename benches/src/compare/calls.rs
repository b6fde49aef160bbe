//! The C ABI: the hot calls of the library from C (`c/calls.c`), beside the same things compiled into Rust.
//!
//! The C program is compiled by `cc -O2` and linked as a client's would be: with the shared library, with the
//! static one, and (not in a quick run) by cross-language LTO, as docs/cross-language-lto.md says. All run as
//! children and take turns as the tables do ([`launch`](super::launch)).
//!
//! The Rust side does for each operation what the C call has to do: `RtmGetEntityInfo` checks two handles, so
//! its partner is two look-ups of plain information, of the caller and of another entity. Payloads are of the
//! size that the C boundary keeps of a client, so that both read the same amount of memory.

use super::measure::{Effort, PIECE, Pieces, Random, in_turns, pin, time};
use super::{Figure, Figures};
use rtm_core::{AddressFamily, DropBy, EntityInfo, Handle, Registry, Settings, TableKey};
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::Command;

pub(super) const INLINED: &str = "Rust, inlined";
pub(super) const SHARED: &str = "C, shared library";
const STATIC: &str = "C, static library";
const LTO: &str = "C, cross-language LTO";
pub(super) const WAYS: [&str; 4] = [INLINED, SHARED, STATIC, LTO];

pub(super) const GET_INFO: &str = "RtmGetEntityInfo";
pub(super) const BATCH: &str = "RtmxGetContexts of 1,000";
pub(super) const OPERATIONS: [&str; 9] = [
    "a call alone",
    "RtmReleaseEntityInfo",
    GET_INFO,
    "RtmxGetContext, section for each",
    "RtmxGetContext, held",
    "RtmxReaderGetContext, section for each",
    "RtmxReaderGetContext, held",
    BATCH,
    "register + deregister",
];

/// The C programs, and why one is missing.
pub(super) struct Programs {
    pub(super) built: Vec<(&'static str, PathBuf)>,
    pub(super) missing: Option<String>,
}

/// Compiles them, into a folder beside this program.
pub(super) fn build(program: &Path, quick: bool) -> Result<Programs, String> {
    let beside = program.parent().ok_or("this program is in no folder")?;
    let folder = beside.join("calls");
    let failed = |error: std::io::Error| format!("cannot write to {}: {error}", folder.display());
    std::fs::create_dir_all(&folder).map_err(failed)?;
    std::fs::write(folder.join("calls.c"), include_str!("../../c/calls.c")).map_err(failed)?;
    std::fs::write(folder.join("rtmv2.h"), include_str!("../../../include/rtmv2.h"))
        .map_err(failed)?;
    // Cargo builds the libraries with every build of this program.
    let libraries = beside.join("deps");
    for name in ["librtm.so", "librtm.a"] {
        let path = libraries.join(name);
        if !path.exists() {
            return Err(format!("there is no {}: start this program with cargo", path.display()));
        }
    }
    let compiler = |name: &str| {
        let mut compiler = Command::new(name);
        compiler.current_dir(&folder).args(["-O2", "-I.", "calls.c"]);
        compiler
    };
    let mut shared = compiler("cc");
    shared.args(["-o", "shared", "-lrtm", "-L"]).arg(&libraries);
    shared.arg(format!("-Wl,-rpath,{}", libraries.display()));
    run(&mut shared)?;
    run(compiler("cc").args(["-o", "static"]).arg(libraries.join("librtm.a")).args(NATIVE))?;
    let mut programs = Programs {
        built: vec![(SHARED, folder.join("shared")), (STATIC, folder.join("static"))],
        missing: None,
    };
    if quick {
        return Ok(programs);
    }
    match inlined(compiler("clang"), &folder) {
        Ok(()) => programs.built.push((LTO, folder.join("lto-calls"))),
        Err(error) => programs.missing = Some(format!("{LTO}: {error}")),
    }
    Ok(programs)
}

/// What a program needs beside `librtm.a`.
const NATIVE: [&str; 4] = ["-lpthread", "-ldl", "-lm", "-lgcc_s"];

/// The recipe of docs/cross-language-lto.md.
fn inlined(mut clang: Command, folder: &Path) -> Result<(), String> {
    let text = |command: &mut Command| -> Result<String, String> {
        let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let target = folder.join("lto");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    cargo.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    cargo.env("RUSTFLAGS", "-Clinker-plugin-lto").env("CARGO_PROFILE_RELEASE_LTO", "off");
    cargo.args(["rustc", "-q", "--locked", "--release", "-p", "rtm-ffi"]);
    cargo.args(["--crate-type", "staticlib", "--target-dir"]).arg(&target);
    run(&mut cargo)?;
    let libraries = text(Command::new("rustc").args(["--print", "target-libdir"]))?;
    let linker = Path::new(&libraries).join("../bin/gcc-ld/ld.lld");
    clang.args(["-flto=thin", "-Wl,--lto-O3", "-o", "lto-calls"]);
    clang.arg(format!("--ld-path={}", linker.display()));
    clang.arg(target.join("release/librtm.a")).args(NATIVE);
    run(&mut clang)
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("{command:?}:\n{}", String::from_utf8_lossy(&output.stderr))),
    }
}

/// Runs a C program as a child.
pub(super) fn command(path: &Path, count: usize, effort: Effort) -> Command {
    let mut command = Command::new(path);
    let Effort { repetitions, millis, seed, .. } = effort;
    command.args([count as u64, u64::from(repetitions), millis, seed].map(|n| n.to_string()));
    command
}

/// Calls that the C program checks before it times an operation.
const CHECKED: usize = 100;

/// Times an operation after as many calls as the C program makes then: the caches may be others', and the
/// index may still grow.
fn time_as_c(effort: Effort, count: usize, operation: &str, piece: usize, mut f: impl FnMut()) {
    (0..CHECKED.min(count / PIECE)).for_each(|_| f());
    time(effort, operation, piece, f);
}

/// As large as what the C boundary keeps of a client.
type Payload = [u64; 7];

/// Measures the Rust side.
pub(super) fn measure(count: usize, effort: Effort) {
    pin(0);
    let registry = Registry::<Payload>::new(Settings::default()).expect("memory for a registry");
    let member = registry.join().expect("memory for a member");
    let table = TableKey { instance: 0, family: AddressFamily::Inet };
    let register = |id| {
        let info = EntityInfo { table, id };
        match member.register_handle(info, [id; 7], DropBy::Writers) {
            Ok(handle) => handle,
            Err(error) => panic!("not registered: {}", error.refusal),
        }
    };
    let mut handles: Vec<Handle> = (0..count as u64).map(register).collect();
    let own = handles[0];
    Random::new(effort.seed).shuffle(&mut handles);
    let mut pieces = Pieces::new(&handles);
    let piece = PIECE.min(count);
    let mut sum = 0_u64;
    let mut next = 1 << 40;
    in_turns(
        || (),
        |_| {
            time_as_c(effort, count, "RtmReleaseEntityInfo", piece, || {
                for _ in 0..piece {
                    sum += u64::from(registry.registered_info(own).is_ok());
                }
            });
            time_as_c(effort, count, GET_INFO, piece, || {
                for handle in pieces.next() {
                    if registry.registered_info(own).is_ok()
                        && let Ok(info) = registry.info(*handle)
                    {
                        sum = sum.wrapping_add(info.id);
                    }
                }
            });
            for operation in
                ["RtmxGetContext, section for each", "RtmxReaderGetContext, section for each"]
            {
                time_as_c(effort, count, operation, piece, || {
                    for handle in pieces.next() {
                        if let Ok(entity) = member.enter().get(*handle) {
                            sum = sum.wrapping_add(entity[0]);
                        }
                    }
                });
            }
            for operation in ["RtmxGetContext, held", "RtmxReaderGetContext, held"] {
                time_as_c(effort, count, operation, piece, || {
                    let guard = member.enter();
                    for handle in pieces.next() {
                        if let Ok(entity) = guard.get(*handle) {
                            sum = sum.wrapping_add(entity[0]);
                        }
                    }
                });
            }
            let mut contexts = [0; PIECE];
            time_as_c(effort, count, BATCH, piece, || {
                member.enter().get_each(pieces.next(), |at, found| {
                    contexts[at] = found.map_or(0, |entity| entity[0]);
                });
                sum = contexts.iter().fold(sum, |sum, context| sum.wrapping_add(*context));
            });
            let pairs = || {
                for _ in 0..PIECE {
                    assert!(member.deregister(register(next)).is_ok());
                    next += 1;
                }
            };
            time_as_c(effort, count, "register + deregister", PIECE, pairs);
        },
    );
    black_box(sum);
}

/// Prints each operation: ns, and as a multiple of the Rust side.
pub(super) fn print(figures: &Figures, count: usize) {
    println!("\n  calls of the library");
    for operation in OPERATIONS {
        println!("\n  {operation}");
        let base = figures.get(count, operation, INLINED);
        for way in WAYS {
            let Some(Figure { value, spread, .. }) = figures.get(count, operation, way) else {
                continue;
            };
            let times =
                base.map_or(String::new(), |base| format!("  {:5.2} x", value / base.value));
            println!("    {way:36} {value:10.2} ({spread:4.2}){times}");
        }
    }
}
