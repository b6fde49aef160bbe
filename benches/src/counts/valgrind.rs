//! This program run again under valgrind: instructions by callgrind, accesses by lackey.

use super::msi::{self, Outcome, Place};
use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, BufReader, Read};
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::Duration;

/// Runs a child of this program under a tool. The environment and the heap are the same everywhere.
fn start(tool: &[&str], child: &[&str]) -> Result<Child, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut command = Command::new("valgrind");
    command.args(tool).arg(program).args(child).env_clear();
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    // A heap of its own for each thread, however many processors there are.
    command.env("GLIBC_TUNABLES", "glibc.malloc.arena_max=128");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().map_err(|error| format!("cannot run valgrind: {error}"))
}

fn text(from: Option<impl Read>) -> Result<String, String> {
    let mut text = String::new();
    let read = from.map(|mut from| from.read_to_string(&mut text));
    read.transpose().map_err(|error| error.to_string()).map(|_| text)
}

fn ended(mut child: Child, name: &str, said: &str) -> Result<(), String> {
    let status = child.wait().map_err(|error| error.to_string())?;
    if status.success() { Ok(()) } else { Err(format!("{name}: {status}\n{said}")) }
}

/// Reads a pipe into which somebody writes line by line. Valgrind does: waking the reader for each line takes
/// longer than writing it, so let some gather.
struct Gathered(ChildStderr);

const PIPE: usize = 1 << 20;

impl Gathered {
    fn new(pipe: ChildStderr) -> Gathered {
        // SAFETY: an open descriptor and a size. If it is refused, less gathers.
        unsafe { libc::fcntl(pipe.as_raw_fd(), libc::F_SETPIPE_SZ, PIPE as libc::c_int) };
        Gathered(pipe)
    }
}

impl Read for Gathered {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        std::thread::sleep(Duration::from_millis(4));
        self.0.read(buffer)
    }
}

/// How many instructions the child executes. `profile`: the file that callgrind_annotate reads.
pub(super) fn instructions(child: &[&str], profile: Option<&str>) -> Result<u64, String> {
    let out = format!("--callgrind-out-file={}", profile.unwrap_or("/dev/null"));
    let mut running = start(&["--tool=callgrind", &out], child)?;
    let said = text(running.stderr.take())?;
    ended(running, child[1], &said)?;
    let figure = said.lines().find_map(|line| line.split_once("Collected :"));
    let figure = figure.and_then(|(_, figure)| figure.trim().parse().ok());
    figure.ok_or_else(|| format!("{}: callgrind gave no figure\n{said}", child[1]))
}

/// What the accesses of the child come to, and where in this program the most events are.
pub(super) fn events(
    child: &[&str],
    places: usize,
) -> Result<(Outcome, Vec<(String, u64)>), String> {
    let tool = ["--tool=lackey", "--trace-mem=yes", "--basic-counts=no"];
    let mut running = start(&tool, child)?;
    let trace = running.stderr.take().ok_or("no trace")?;
    let mut said = String::new();
    let outcome =
        msi::simulate(BufReader::with_capacity(PIPE, Gathered::new(trace)), |line| said += line)?;
    let image = text(running.stdout.take())?;
    ended(running, child[1], &said)?;
    if outcome.operations == 0 {
        return Err(format!("{}: no operation was traced\n{said}", child[1]));
    }
    let named = match places {
        0 => Vec::new(),
        _ => {
            let image = image.trim().split_once(' ');
            let image = image.and_then(|(base, end)| Some((base.parse().ok()?, end.parse().ok()?)));
            let (base, end) = image.ok_or_else(|| format!("{}: where is it loaded?", child[1]))?;
            name(&outcome.places, base..end, places)?
        }
    };
    Ok((outcome, named))
}

/// Where this program is loaded in this process.
pub(super) fn image() -> Range<u64> {
    unsafe extern "C" fn first(
        object: *mut libc::dl_phdr_info,
        _: usize,
        image: *mut libc::c_void,
    ) -> libc::c_int {
        // SAFETY: the caller's object.
        let object = unsafe { &*object };
        // SAFETY: an object has so many headers.
        let headers =
            unsafe { std::slice::from_raw_parts(object.dlpi_phdr, object.dlpi_phnum.into()) };
        let end = headers.iter().map(|header| header.p_vaddr + header.p_memsz).max();
        let base = object.dlpi_addr;
        // SAFETY: the pointer given below.
        unsafe { image.cast::<Range<u64>>().write(base..base + end.unwrap_or(0)) };
        1
    }
    let mut image = 0..0;
    // SAFETY: the first object is the program; stops there.
    unsafe { libc::dl_iterate_phdr(Some(first), (&raw mut image).cast()) };
    image
}

/// The places of this program with the most events, named by binutils' addr2line: the lines of our own and
/// our dependencies' code, innermost first. What happens elsewhere is put to its caller.
fn name(
    places: &HashMap<Place, u64>,
    image: Range<u64>,
    most: usize,
) -> Result<Vec<(String, u64)>, String> {
    let mut ours: BTreeMap<(u64, bool), u64> = BTreeMap::new();
    for (place, count) in places {
        let elsewhere = !image.contains(&place.at);
        let at = if elsewhere { place.from } else { place.at };
        *ours.entry((at.wrapping_sub(image.start), elsewhere)).or_default() += count;
    }
    if ours.is_empty() {
        return Ok(Vec::new());
    }
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut command = Command::new("addr2line");
    command.args([
        "--functions",
        "--demangle",
        "--inlines",
        "--basenames",
        "--pretty-print",
        "--exe",
    ]);
    command.arg(program).args(ours.keys().map(|(at, _)| format!("{at:#x}")));
    let output = command.output().map_err(|error| format!("cannot run addr2line: {error}"))?;
    let mut names: Vec<Vec<String>> = Vec::new();
    for line in output.stdout.lines() {
        let line = line.map_err(|error| error.to_string())?;
        let frame = line.trim_start().strip_prefix("(inlined by) ");
        if frame.is_none() {
            names.push(Vec::new());
        }
        let (function, at) = frame.unwrap_or(&line).rsplit_once(" at ").unwrap_or(("??", "??:0"));
        // `path::function<parameters>`
        let function = function.split('<').next().unwrap_or(function);
        let function = function.rsplit("::").next().unwrap_or(function);
        let is_std = ["??", "atomic.rs", "alloc.rs", "boxed.rs"];
        if let Some(frames) = names.last_mut().filter(|frames| frames.len() < 3)
            && !is_std.iter().any(|file| at.starts_with(file))
        {
            frames.push(format!("{function} {at}"));
        }
    }
    let mut sums: HashMap<String, u64> = HashMap::new();
    for (frames, ((_, elsewhere), count)) in names.into_iter().zip(ours) {
        let called = if elsewhere { "called by " } else { "" };
        *sums.entry(format!("{called}{}", frames.join(" < "))).or_default() += count;
    }
    let mut sums: Vec<_> = sums.into_iter().collect();
    sums.sort_by(|one, other| (other.1, &one.0).cmp(&(one.1, &other.0)));
    sums.truncate(most);
    Ok(sums)
}
