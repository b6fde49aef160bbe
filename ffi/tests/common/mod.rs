//! What the tests that run other programs share: the libraries, time limits, missing tools.

#![allow(dead_code)]

use std::io::{Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Condvar, Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

/// The top of the workspace.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The folder with the release build of `librtm.so` and `librtm.a`, made once.
pub(crate) fn libraries() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        // This program lies in <target>/<profile>/deps.
        let own = std::env::current_exe().unwrap();
        let target = own.ancestors().nth(3).unwrap();
        let mut cargo = Command::new(env!("CARGO"));
        cargo.current_dir(root()).args(["build", "--quiet", "--release", "-p", "rtm-ffi"]);
        cargo.arg("--target-dir").arg(target);
        let built = run("cargo build", &mut cargo, Duration::from_secs(600));
        assert!(built.status.success(), "{}", built.text);
        let folder = target.join("release");
        for name in ["librtm.so", "librtm.a"] {
            assert!(folder.join(name).exists(), "{name} was not built");
        }
        folder
    })
}

/// How a program ended, and everything it printed.
pub(crate) struct Ended {
    /// Its status.
    pub(crate) status: ExitStatus,
    /// Both streams.
    pub(crate) text: String,
    /// How long it took.
    pub(crate) time: Duration,
}

impl Ended {
    /// The exit code, or what else ended it.
    pub(crate) fn describe(&self) -> String {
        match (self.status.code(), self.status.signal()) {
            (Some(code), _) => format!("exit code {code}"),
            (None, Some(signal)) => format!("signal {signal}"),
            _ => "an unknown end".to_owned(),
        }
    }
}

/// Runs a program to its end. One that takes longer than `limit` is ended with all it has started,
/// and fails the test by name.
pub(crate) fn run(name: &str, command: &mut Command, limit: Duration) -> Ended {
    let began = Instant::now();
    // Cargo's names the debug build's folder, and goes before the path in a program.
    command.env_remove("LD_LIBRARY_PATH");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{name}: {command:?}: {error}"));
    let streams: [Box<dyn Read + Send>; 2] =
        [Box::new(child.stdout.take().unwrap()), Box::new(child.stderr.take().unwrap())];
    let readers = streams.map(|mut stream| {
        thread::spawn(move || {
            let mut bytes = Vec::new();
            let _ = stream.read_to_end(&mut bytes);
            String::from_utf8_lossy(&bytes).into_owned()
        })
    });
    let mut nap = Duration::from_millis(1);
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break Some(status);
        }
        if began.elapsed() > limit {
            break None;
        }
        thread::sleep(nap);
        nap = (nap * 2).min(Duration::from_millis(20));
    };
    if status.is_none() {
        // SAFETY: signals the process group that was made for the child, which has not been waited for.
        unsafe { libc::kill(-(child.id() as libc::pid_t), libc::SIGKILL) };
        let _ = child.wait();
    }
    let text: String = readers.map(|reader| reader.join().unwrap()).concat();
    match status {
        Some(status) => Ended { status, text, time: began.elapsed() },
        None => panic!("{name}: not done after {} s: {command:?}\n{text}", limit.as_secs()),
    }
}

/// Whether everything is run, as in CI (`CI` is set), or less of what is slow.
pub(crate) fn whole() -> bool {
    std::env::var_os("CI").is_some()
}

/// Does something with each, several at a time: in all tests of the program together as many as there are
/// processors.
pub(crate) fn for_each<T: Sync>(items: &[T], work: impl Fn(&T) + Sync) {
    static FREE: OnceLock<Mutex<usize>> = OnceLock::new();
    static FREED: Condvar = Condvar::new();
    struct Place(&'static Mutex<usize>);
    impl Drop for Place {
        fn drop(&mut self) {
            *self.0.lock().unwrap() += 1;
            FREED.notify_one();
        }
    }
    let free =
        FREE.get_or_init(|| Mutex::new(thread::available_parallelism().map_or(1, usize::from)));
    thread::scope(|scope| {
        for item in items {
            let work = &work;
            scope.spawn(move || {
                let mut number = free.lock().unwrap();
                while *number == 0 {
                    number = FREED.wait(number).unwrap();
                }
                *number -= 1;
                drop(number);
                let _place = Place(free);
                work(item);
            });
        }
    });
}

/// Whether a program can be run. If not, says so loudly; with `CI` set, fails.
pub(crate) fn have(tool: &str) -> bool {
    let found = Command::new(tool)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !found {
        skipped(&format!("there is no {tool}"));
    }
    found
}

/// Says loudly, past the test harness, that something was not tested; with `CI` set, fails.
pub(crate) fn skipped(why: &str) {
    assert!(std::env::var_os("CI").is_none(), "{why}, and CI is set");
    let _ = writeln!(std::io::stderr(), "\n*** SKIPPED: {why} ***");
}
