//! The screen of `rtm-load --watch`: what a run is doing, drawn in place.
//!
//! The terminal's other screen is used, so that what was there before comes back. It is given back when the
//! [`Screen`] goes, before a watchdog's last words ([`leave`]), and by the handlers of the signals that end or stop
//! a program from the keyboard.

use super::{Figures, RATES, Role};
use crate::page::grouped;
use rtm_core::MemberFigures;
use std::cmp::Reverse;
use std::collections::VecDeque;
use std::io::{IsTerminal, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};

/// The other screen, no cursor, no wrapping at the edge.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J";
const LEAVE: &str = "\x1b[?2026l\x1b[?7h\x1b[?25h\x1b[?1049l";
/// Around a frame: a terminal that knows synchronized output shows it whole, however it arrives.
const BEGIN: &str = "\x1b[?2026h\x1b[H";
const END: &str = "\x1b[K\x1b[J\x1b[?2026l";

static SHOWN: AtomicBool = AtomicBool::new(false);

/// What is shown.
pub(super) struct Frame {
    pub(super) title: String,
    /// Since the run began, and how long it is to take.
    pub(super) seconds: f64,
    pub(super) of: f64,
    /// In the order of [`RATES`]: a second, and so far.
    pub(super) rates: [f64; RATES.len()],
    pub(super) totals: [u64; RATES.len()],
    pub(super) figures: Figures,
    /// Of the process, in memory.
    pub(super) resident: u64,
    /// Operations so far of each thread.
    pub(super) threads: Vec<(Role, u64)>,
    pub(super) members: Vec<MemberFigures>,
    pub(super) violation: Option<String>,
}

/// The terminal while the screen is shown.
pub(super) struct Screen {
    /// Whether it takes more than ASCII.
    wide: bool,
    size: (usize, usize),
    /// Rates of the frames before, the newest last.
    history: VecDeque<[f64; RATES.len()]>,
    before: Option<Frame>,
}

impl Screen {
    /// `None`: there is no terminal.
    pub(super) fn open() -> Option<Screen> {
        if !std::io::stdout().is_terminal() {
            return None;
        }
        catch_signals();
        SHOWN.store(true, Ordering::SeqCst);
        put(ENTER);
        let names =
            ["LC_ALL", "LC_CTYPE", "LANG"].map(|name| std::env::var(name).unwrap_or_default());
        let locale = names.iter().find(|name| !name.is_empty()).map_or("", String::as_str);
        let wide = locale.to_ascii_lowercase().replace('-', "").contains("utf8");
        Some(Screen { wide, size: size(), history: VecDeque::new(), before: None })
    }

    pub(super) fn draw(&mut self, frame: Frame) {
        self.history.push_back(frame.rates);
        if self.history.len() > 512 {
            self.history.pop_front();
        }
        let now = size();
        let mut text = String::from(BEGIN);
        if now != self.size {
            text.push_str("\x1b[2J");
            self.size = now;
        }
        let lines = self.lines(&frame);
        text.push_str(&lines.join("\x1b[K\r\n"));
        text.push_str(END);
        if SHOWN.load(Ordering::SeqCst) {
            put(&text);
        }
        self.before = Some(frame);
    }

    /// The lines of a frame, none longer and no more than the terminal has room for.
    fn lines(&self, frame: &Frame) -> Vec<String> {
        let (columns, rows) = self.size;
        let mut lines = vec![self.head(frame, columns), String::new()];
        lines.push(format!("{:<17}{:>11}{:>11}{:>17}", "", "a second", "mean", "so far"));
        for (kind, name) in RATES.iter().enumerate() {
            let mean = frame.totals[kind] as f64 / frame.seconds.max(1e-9);
            let [now, mean] = [frame.rates[kind], mean].map(short);
            let total = grouped(frame.totals[kind]);
            let curve = self.curve(kind, columns.saturating_sub(58));
            lines.push(format!("{name:<17}{now:>11}{mean:>11}{total:>17}  {curve}"));
        }
        let figures = &frame.figures;
        let [live, retired, peak, reclaimed] =
            [figures.live, figures.retired, figures.retired_peak, figures.reclaimed].map(grouped);
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        lines.push(String::new());
        lines.push(format!("live {live}  backlog {retired} (peak {peak})  reclaimed {reclaimed}"));
        lines.push(format!(
            "memory {:.1} MiB of {:.1}  chunks {}  event threads {}",
            mib(figures.bytes),
            mib(frame.resident),
            figures.chunks,
            figures.event_threads
        ));
        lines.push(match &frame.violation {
            None => "violations: none".to_owned(),
            Some(text) => format!("VIOLATION: {text}"),
        });
        let left = rows.saturating_sub(lines.len());
        let (threads, members) = (self.threads(frame), self.members(frame));
        // Each gets half, or what the other leaves.
        let half = (left / 2).max(left.saturating_sub(members.len()));
        let threads = cut(threads, half);
        let left = left.saturating_sub(threads.len());
        lines.extend(threads);
        lines.extend(cut(members, left));
        lines.truncate(rows);
        lines.into_iter().map(|line| line.chars().take(columns).collect()).collect()
    }

    fn head(&self, frame: &Frame, columns: usize) -> String {
        let time = format!("{:.1} of {} s", frame.seconds, frame.of);
        let room = columns.saturating_sub(frame.title.len() + time.len() + 6).min(40);
        let done = (room as f64 * (frame.seconds / frame.of).min(1.0)) as usize;
        let bar = if room < 5 { String::new() } else { format!("[{:<room$}]", "=".repeat(done)) };
        format!("{}  {time}  {bar}", frame.title)
    }

    /// The latest rates of one kind, as many as fit.
    fn curve(&self, kind: usize, room: usize) -> String {
        let steps: Vec<char> = if self.wide { " ▁▂▃▄▅▆▇█" } else { " .:-=+*%#" }.chars().collect();
        let from = self.history.len().saturating_sub(room);
        let shown = || self.history.iter().skip(from).map(|rates| rates[kind]);
        let most = shown().fold(0.0, f64::max);
        let step = |rate: f64| if most > 0.0 { (rate / most * 8.0).round() as usize } else { 0 };
        shown().map(|rate| steps[step(rate).min(8)]).collect()
    }

    /// A bar of up to `room` characters.
    fn bar(&self, part: f64, room: usize) -> String {
        let filled = (part.clamp(0.0, 1.0) * room as f64).round() as usize;
        if self.wide { "█" } else { "#" }.repeat(filled)
    }

    fn threads(&self, frame: &Frame) -> Vec<String> {
        let before = self.before.as_ref().map_or(&[][..], |before| &before.threads);
        let seconds = frame.seconds - self.before.as_ref().map_or(0.0, |before| before.seconds);
        let rate = |index: usize| {
            let earlier = before.get(index).map_or(0, |(_, count)| *count);
            frame.threads[index].1.saturating_sub(earlier) as f64 / seconds.max(1e-9)
        };
        let rates: Vec<f64> = (0..frame.threads.len()).map(rate).collect();
        let mut lines = vec![String::new(), format!("{:<17}{:>11}", "thread", "a second")];
        let room = self.size.0.saturating_sub(32).min(40);
        for (index, (role, _)) in frame.threads.iter().enumerate() {
            // Beside those of its kind.
            let alike = frame.threads.iter().zip(&rates).filter(|((other, _), _)| other == role);
            let most = alike.map(|(_, rate)| *rate).fold(1.0, f64::max);
            let bar = self.bar(rates[index] / most, room);
            let name = format!("{role:?}").to_lowercase();
            lines.push(format!("{:>3} {name:<13}{:>11}  {bar}", index + 1, short(rates[index])));
        }
        lines
    }

    fn members(&self, frame: &Frame) -> Vec<String> {
        if frame.members.is_empty() {
            return Vec::new();
        }
        let most = frame.members.iter().map(|member| member.free + member.retired).max();
        let most = most.unwrap_or(0).max(1) as f64;
        let mut lines = vec![
            String::new(),
            format!(
                "{:<6}{:>8}{:>14}{:>14}{:>9}{:>9}",
                "shard", "", "registered", "deregistered", "free", "retired"
            ),
        ];
        let room = self.size.0.saturating_sub(64).min(40);
        // Numbered from the oldest, the busiest first.
        let mut members: Vec<_> = (1..).zip(frame.members.iter().rev()).collect();
        members.sort_by_key(|(_, member)| {
            Reverse(member.registered + member.deregistered + member.free)
        });
        for (number, member) in members {
            let now = match (member.in_use, member.inside) {
                (_, Some(_)) => "inside",
                (true, None) => "",
                (false, None) => "unused",
            };
            let [registered, deregistered] = [member.registered, member.deregistered].map(grouped);
            let bar = self.bar((member.free + member.retired) as f64 / most, room);
            lines.push(format!(
                "{number:>3}   {now:>8}{registered:>14}{deregistered:>14}{:>9}{:>9}  {bar}",
                member.free, member.retired
            ));
        }
        lines
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        leave();
    }
}

/// As many lines as there is room for; the last says how many more there are.
fn cut(mut lines: Vec<String>, room: usize) -> Vec<String> {
    // A heading alone says nothing.
    if room < 3 {
        return Vec::new();
    }
    if lines.len() > room {
        let more = lines.len() - room + 1;
        lines.truncate(room - 1);
        lines.push(format!("    {more} more"));
    }
    lines
}

/// Three digits and a unit.
fn short(rate: f64) -> String {
    match rate {
        rate if rate >= 1e6 => format!("{:.2} M", rate / 1e6),
        rate if rate >= 1e4 => format!("{:.1} k", rate / 1e3),
        rate => format!("{rate:.0}  "),
    }
}

fn put(text: &str) {
    let mut out = std::io::stdout().lock();
    // If the terminal has gone there is nobody to tell.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Columns and rows.
fn size() -> (usize, usize) {
    // SAFETY: a structure of numbers.
    let mut size: libc::winsize = unsafe { std::mem::zeroed() };
    // SAFETY: fills the structure in.
    let code = unsafe { libc::ioctl(libc::STDOUT_FILENO, libc::TIOCGWINSZ, &raw mut size) };
    match (code, size.ws_col, size.ws_row) {
        (0, columns @ 1.., rows @ 1..) => (columns.into(), rows.into()),
        _ => (80, 24),
    }
}

/// Gives the terminal back, if it was taken. Async-signal-safe.
pub(super) fn leave() {
    if SHOWN.swap(false, Ordering::SeqCst) {
        put_raw(LEAVE);
    }
}

fn put_raw(text: &str) {
    // SAFETY: writes from a text that is there.
    unsafe { libc::write(libc::STDOUT_FILENO, text.as_ptr().cast(), text.len()) };
}

fn catch_signals() {
    /// Its action is the default one again.
    extern "C" fn end(signal: libc::c_int) {
        leave();
        // SAFETY: no conditions. Takes effect when this returns.
        unsafe { libc::raise(signal) };
    }
    extern "C" fn stop(_: libc::c_int) {
        let shown = SHOWN.load(Ordering::SeqCst);
        if shown {
            put_raw(LEAVE);
        }
        // SAFETY: no conditions. Returns when the program is continued.
        unsafe { libc::raise(libc::SIGSTOP) };
        if shown {
            put_raw(ENTER);
        }
    }
    let set = |signal, handler: extern "C" fn(libc::c_int), flags| {
        // SAFETY: a structure of numbers.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = handler as *const () as usize;
        action.sa_flags = flags | libc::SA_RESTART;
        // SAFETY: both handlers do only what a handler may.
        unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) };
    };
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT] {
        set(signal, end, libc::SA_RESETHAND);
    }
    set(libc::SIGTSTP, stop, 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn screen(columns: usize, rows: usize) -> Screen {
        Screen { wide: true, size: (columns, rows), history: VecDeque::new(), before: None }
    }

    fn frame(threads: usize, members: usize) -> Frame {
        Frame {
            title: "rtm-load: 1,000 entities via rust".to_owned(),
            seconds: 3.0,
            of: 15.0,
            rates: [1.5e6, 2e4, 300.0, 0.0, 12.0],
            totals: [3_000_000, 45_000, 900, 0, 36],
            figures: Figures { live: 1000, retired: 7, ..Figures::default() },
            resident: 5 << 20,
            threads: vec![(Role::Reader, 600); threads],
            members: vec![MemberFigures::default(); members],
            violation: None,
        }
    }

    #[test]
    fn lines_fit_any_terminal() {
        for (columns, rows) in [(1, 1), (20, 5), (40, 12), (80, 24), (200, 60)] {
            for (threads, members) in [(0, 0), (5, 0), (3, 4), (100, 100)] {
                let mut screen = screen(columns, rows);
                screen.history.extend([[1.0; RATES.len()]; 300]);
                let lines = screen.lines(&frame(threads, members));
                assert!(lines.len() <= rows, "{} lines in {rows}", lines.len());
                let widest = lines.iter().map(|line| line.chars().count()).max().unwrap();
                assert!(widest <= columns, "{widest} columns in {columns}");
            }
        }
    }

    #[test]
    fn a_large_terminal_shows_everything() {
        let mut screen = screen(100, 60);
        let text = screen.lines(&frame(3, 2)).join("\n");
        for words in [
            "lookups               1.50 M     1.00 M        3,000,000",
            "re-registrations      20.0 k     15.0 k           45,000",
            "3.0 of 15 s  [=====",
            "live 1,000  backlog 7 (peak 0)",
            "violations: none",
            "  3 reader             200  ",
            "shard             registered",
        ] {
            assert!(text.contains(words), "{words}\n{text}");
        }
        screen.size = (100, 20);
        let text = screen.lines(&frame(30, 20)).join("\n");
        assert!(text.matches(" more").count() == 2, "{text}");
    }

    #[test]
    fn curves_show_the_latest() {
        let mut screen = screen(80, 24);
        for rate in 0..=16 {
            screen.history.push_back([f64::from(rate); RATES.len()]);
        }
        assert_eq!(screen.curve(0, 3), "▇██");
        assert_eq!(screen.curve(0, 100).chars().count(), 17);
        screen.wide = false;
        assert_eq!(screen.curve(0, 2), "##");
    }
}
