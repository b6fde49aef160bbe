//! `rtm-load --watch` in a terminal: a pseudo-terminal, whose output a terminal emulator reads.

use std::fs::File;
use std::io::{Read, Write};
use std::num::NonZero;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);

/// Both ends of a new pseudo-terminal of this size.
fn terminal(columns: u16, rows: u16) -> (OwnedFd, OwnedFd) {
    let (mut master, mut slave) = (-1, -1);
    let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    let none = std::ptr::null_mut();
    // SAFETY: places for two descriptors, no name, no settings, a size.
    let code = unsafe { libc::openpty(&mut master, &mut slave, none, none.cast(), &size) };
    assert_eq!(code, 0, "no pseudo-terminal");
    // SAFETY: just opened, nobody else's.
    let master = unsafe { OwnedFd::from_raw_fd(master) };
    // SAFETY: as above.
    (master, unsafe { OwnedFd::from_raw_fd(slave) })
}

fn load(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rtm-load"));
    command.args(["--watch", "--via", "rust", "--entities", "2000"]).args(arguments);
    command.env("LC_ALL", "C.UTF-8");
    command
}

/// A run in a terminal.
struct Run {
    child: Child,
    master: File,
    screen: vt100::Parser,
    /// What has been read since the last frame began.
    marks: Vec<u8>,
    begin: Instant,
}

impl Run {
    fn start(mut command: Command, columns: u16, rows: u16) -> Run {
        let (master, slave) = terminal(columns, rows);
        let stream = || Stdio::from(slave.try_clone().expect("a descriptor"));
        command.stdin(stream()).stdout(stream()).stderr(stream());
        let begin_session = || {
            // SAFETY: no conditions.
            unsafe { libc::setsid() };
            // SAFETY: the standard input is the terminal.
            match unsafe { libc::ioctl(0, libc::TIOCSCTTY, 0) } {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            }
        };
        // SAFETY: two system calls.
        unsafe { command.pre_exec(begin_session) };
        let child = command.spawn().expect("rtm-load");
        let size = |number| NonZero::new(number).expect("a size");
        let mut screen = vt100::Parser::new(size(rows), size(columns), 0);
        // What was there before.
        screen.process(b"$ rtm-load\r\n");
        Run { child, master: master.into(), screen, marks: Vec::new(), begin: Instant::now() }
    }

    /// Reads on; `false`: the program has closed its terminal.
    fn read(&mut self) -> bool {
        assert!(self.begin.elapsed() < PATIENCE, "it does not end:\n{}", self.text());
        let mut bytes = [0; 4096];
        let mut ready =
            libc::pollfd { fd: self.master.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one structure.
        if unsafe { libc::poll(&mut ready, 1, 1000) } == 0 {
            return true;
        }
        match self.master.read(&mut bytes) {
            // On Linux the end is an error.
            Ok(0) | Err(_) => false,
            Ok(length) => {
                self.screen.process(&bytes[..length]);
                self.marks.extend(&bytes[..length]);
                true
            }
        }
    }

    /// Whether what is on the screen is a frame and not half of the next one too: a terminal hands out what
    /// it has, and that may end anywhere. Forgets all before the last frame's begin.
    fn is_whole(&mut self) -> bool {
        let last = |mark: &[u8]| self.marks.windows(mark.len()).rposition(|bytes| bytes == mark);
        let (begin, end) = (last(b"\x1b[?2026h"), last(b"\x1b[?2026l"));
        let Some(begin) = begin else { return false };
        self.marks.drain(..begin);
        end > Some(begin)
    }

    fn text(&self) -> String {
        self.screen.screen().contents()
    }

    fn is_shown(&self) -> bool {
        let screen = self.screen.screen();
        screen.alternate_screen() && screen.hide_cursor()
    }

    /// Reads until this is on the screen.
    fn until(&mut self, words: &str) {
        while !(self.is_shown() && self.text().contains(words)) {
            assert!(self.read(), "it ended without {words}:\n{}", self.text());
        }
    }

    fn is_restored(&self) {
        let screen = self.screen.screen();
        assert!(!screen.alternate_screen() && !screen.hide_cursor());
        assert!(self.text().starts_with("$ rtm-load\n"), "{}", self.text());
    }
}

/// A test that fails leaves nothing running.
impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The number behind these words.
fn figure(text: &str, words: &str) -> u64 {
    let rest = text.split_once(words).unwrap_or_else(|| panic!("no {words}:\n{text}")).1;
    let number: String =
        rest.trim_start().chars().take_while(|c| c.is_ascii_digit() || *c == ',').collect();
    number.replace(',', "").parse().unwrap_or_else(|_| panic!("no number behind {words}:\n{text}"))
}

#[test]
fn figures_change_and_the_terminal_comes_back() {
    let mut run = Run::start(load(&["--seconds", "3"]), 100, 50);
    run.until("violations: none");
    let mut reclaimed = Vec::new();
    let (mut frames, mut last) = (0, String::new());
    while run.is_shown() {
        let text = run.text();
        if text != last && run.is_whole() && text.contains("shard") {
            reclaimed.push(figure(&text, "reclaimed "));
            (frames, last) = (frames + 1, text);
        }
        if !run.read() {
            break;
        }
    }
    for words in
        ["lookups", "re-registrations", "listed", "events", "invocations", "reader", "churner"]
    {
        assert!(last.contains(words), "{words}\n{last}");
    }
    assert!(last.contains("of 3 s  [====="), "{last}");
    assert!(frames >= 5, "{frames} frames in 3 s");
    assert!(reclaimed.is_sorted() && reclaimed.first() < reclaimed.last(), "{reclaimed:?}");
    while run.read() {}
    assert!(run.child.wait().expect("its end").success());
    let screen = run.screen.screen();
    assert!(!screen.alternate_screen() && !screen.hide_cursor());
    // The report stands on the screen that was there before.
    assert!(run.text().contains("checked: every handle"), "{}", run.text());
    assert!(!run.text().contains("violations: none"), "{}", run.text());
}

#[test]
fn a_small_terminal_is_not_overrun() {
    let mut run = Run::start(load(&["--seconds", "600"]), 44, 14);
    run.until("re-registrations");
    // What comes is a part of a picture, a whole one or several.
    for _ in 0..6 {
        assert!(run.read(), "it ended:\n{}", run.text());
        let screen = run.screen.screen();
        assert!(run.is_shown());
        assert!((0..14).all(|row| !screen.row_wrapped(row)), "{}", run.text());
        // Scrolled, the title would have gone.
        assert!(screen.contents().starts_with("rtm-load"), "{}", run.text());
    }
}

#[test]
fn interrupted_it_gives_the_terminal_back() {
    let mut run = Run::start(load(&["--seconds", "600"]), 80, 24);
    run.until("re-registrations");
    // Ctrl-C: the terminal sends the signal.
    run.master.write_all(b"\x03").expect("a terminal");
    while run.read() {}
    assert_eq!(run.child.wait().expect("its end").signal(), Some(libc::SIGINT));
    run.is_restored();
}

#[test]
fn stopped_it_gives_the_terminal_back_for_the_time() {
    let mut run = Run::start(load(&["--seconds", "600"]), 80, 24);
    run.until("re-registrations");
    let pid = run.child.id() as libc::pid_t;
    // Not by Ctrl-Z: the kernel does not stop a process whose session has nobody to go on with.
    // SAFETY: a child of ours that has not been waited for.
    unsafe { libc::kill(pid, libc::SIGTSTP) };
    while run.is_shown() {
        assert!(run.read());
    }
    run.is_restored();
    // It gives the terminal back first, and stops then.
    let mut status = 0;
    // SAFETY: as above.
    assert_eq!(unsafe { libc::waitpid(pid, &mut status, libc::WUNTRACED) }, pid);
    assert!(libc::WIFSTOPPED(status), "{status:#x}");
    // SAFETY: as above.
    unsafe { libc::kill(pid, libc::SIGCONT) };
    run.until("re-registrations");
    // SAFETY: as above.
    unsafe { libc::kill(pid, libc::SIGTERM) };
    while run.read() {}
    assert_eq!(run.child.wait().expect("its end").signal(), Some(libc::SIGTERM));
    run.is_restored();
}

#[test]
fn without_a_terminal_there_are_lines() {
    let output = load(&["--seconds", "3"]).stdin(Stdio::null()).output().expect("rtm-load");
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(!text.contains('\x1b'), "{text}");
    let lines = text.lines().filter(|line| line.contains("re-registrations  ")).count();
    assert!((1..=3).contains(&lines), "{text}");
    assert!(text.contains("checked: every handle"), "{text}");
}
