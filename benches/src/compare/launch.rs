//! The processes of a run: one for each table, size and launch, which take turns in rounds.
//!
//! Filling and ageing a million entities takes longer than all that is timed with them, so a process stays for
//! several rounds. It prints rows, then [`READY`]; for each line that it reads it measures a round and prints
//! its rows and [`READY`] again; when there is nothing more to read it ends. All processes of a launch are
//! there at once, and one at a time has its turn; the others sleep, and have nothing to do.

use super::figures::{Figures, Key, Rows};
use super::measure::{Effort, READY};
use super::plan::{self, Job, Launch, Part};
use super::{Options, TABLES, calls};
use indicatif::{ProgressBar, ProgressStyle};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Lines, Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// Where a run's time went.
pub(super) type Spent = BTreeMap<String, Duration>;

/// A process that measures.
struct Process {
    job: Job,
    child: Child,
    turns: Option<ChildStdin>,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Process {
    fn start(job: Job, mut command: Command) -> Result<Process, String> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| format!("{command:?}: {error}"))?;
        let turns = child.stdin.take();
        let output = child.stdout.take().ok_or("a process without output")?;
        Ok(Process { job, child, turns, lines: BufReader::new(output).lines() })
    }

    /// Takes rows in until it is ready, or has ended.
    fn take(&mut self, round: u64, rows: &mut Rows) -> Result<(), String> {
        let (_, count, name) = self.job;
        loop {
            let line = match self.lines.next() {
                None => return self.end(),
                Some(line) => line.map_err(|error| format!("{name}: {error}"))?,
            };
            if line == READY {
                return Ok(());
            }
            let row = line.split_once('\t');
            let row = row.and_then(|(name, figure)| Some((name, figure.parse().ok()?)));
            let (operation, figure) = row.ok_or_else(|| format!("{name}: {line}"))?;
            let key: Key = (count, operation.to_owned(), name);
            rows.add(key, round, figure);
        }
    }

    /// Gives it a turn.
    fn turn(&mut self, round: u64, rows: &mut Rows) -> Result<(), String> {
        // If it cannot read it has ended, and that is found out now.
        let _ = self.turns.as_mut().map(|turns| turns.write_all(b"\n"));
        match (self.take(round, rows), self.child.try_wait()) {
            (Ok(()), Ok(Some(_))) => Err(format!("{}: has ended too soon", self.job.2)),
            (done, _) => done,
        }
    }

    /// Waits for its end, of which it has been told, or which it has come to by itself.
    fn end(&mut self) -> Result<(), String> {
        self.turns = None;
        let status = self.child.wait().map_err(|error| error.to_string())?;
        if status.success() {
            return Ok(());
        }
        let (part, count, name) = self.job;
        let mut text = String::new();
        let _ = self.child.stderr.take().map(|mut errors| errors.read_to_string(&mut text));
        Err(format!("{}, {name}, {count} entities: {status}\n{text}", part.name()))
    }
}

/// If a run fails, none stays.
impl Drop for Process {
    fn drop(&mut self) {
        self.turns = None;
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Run<'o> {
    options: &'o Options,
    effort: Effort,
    program: PathBuf,
    /// The C programs.
    programs: Vec<(&'static str, PathBuf)>,
    bar: ProgressBar,
    rows: Rows,
    spent: Spent,
}

/// Runs all.
pub(super) fn collect(options: &Options, effort: Effort) -> Result<(Figures, Spent), String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let begin = Instant::now();
    let programs = calls::build(&program, options.quick)?;
    programs.missing.iter().for_each(|why| eprintln!("rtm-compare: not measured: {why}"));
    let launches = plan::launches(options);
    let once = plan::once(options);
    let processes = (TABLES.len() + 1 + programs.built.len()) as u64;
    let turns: u64 = launches.iter().map(|launch| processes * (1 + launch.rounds)).sum();
    let bar = ProgressBar::new(turns + once.len() as u64);
    let style = ProgressStyle::with_template("{msg:60} [{bar:30}] {pos}/{len}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> "));
    let (programs, rows, spent) = (programs.built, Rows::default(), Spent::new());
    let mut run = Run { options, effort, program, programs, bar, rows, spent };
    run.took("the C programs, built".to_owned(), 0, begin);
    launches.iter().try_for_each(|launch| run.launch(launch))?;
    once.into_iter().try_for_each(|job| run.once(job))?;
    run.bar.finish_and_clear();
    Ok((run.rows.figures(), run.spent))
}

impl Run<'_> {
    /// So many steps of the bar.
    fn took(&mut self, what: String, steps: usize, begin: Instant) {
        *self.spent.entry(what).or_default() += begin.elapsed();
        self.bar.inc(steps as u64);
    }

    fn start(&self, job: Job, seed: u64) -> Result<Process, String> {
        let (part, count, name) = job;
        self.bar.set_message(format!("{}, {count} entities, {name}", part.name()));
        let command = match self.programs.iter().find(|(known, _)| *known == name) {
            Some((_, path)) => calls::command(path, count, Effort { seed, ..self.effort }),
            None => {
                let mut command = Command::new(&self.program);
                command.args(self.options.quick.then_some("--quick"));
                command.args(["--child", part.name(), name]);
                command.args([count.to_string(), seed.to_string()]);
                command
            }
        };
        Process::start(job, command)
    }

    /// All tables, and the calls in all ways.
    fn launch(&mut self, launch: &Launch) -> Result<(), String> {
        let Launch { count, number, rounds } = *launch;
        let tables = TABLES.iter().map(|(name, ..)| (Part::Times, count, *name));
        let ways = self.programs.iter().map(|(name, _)| *name);
        let ways = std::iter::once(calls::INLINED).chain(ways);
        let jobs: Vec<Job> = tables.chain(ways.map(|way| (Part::Calls, count, way))).collect();
        let first = number * rounds;
        let mut all: Vec<Process> = Vec::new();
        // A quick run has no time to let each fill its table alone.
        for some in jobs.chunks(if self.options.quick { 2 } else { 1 }) {
            let begin = Instant::now();
            let mut ready: Vec<Process> = Vec::new();
            for job in some {
                ready.push(self.start(*job, number + 1)?);
            }
            ready.iter_mut().try_for_each(|process| process.take(first, &mut self.rows))?;
            self.took(format!("{count} entities, filled and aged"), some.len(), begin);
            all.append(&mut ready);
        }
        for round in first..first + rounds {
            for place in plan::order(TABLES.len(), all.len(), round) {
                let begin = Instant::now();
                let (part, _, name) = all[place].job;
                self.bar.set_message(format!("round {round}, {count} entities, {name}"));
                all[place].turn(round, &mut self.rows)?;
                self.took(format!("{count} entities, {}", part.name()), 1, begin);
            }
        }
        // Their tables go at once: nothing is measured meanwhile.
        let begin = Instant::now();
        all.iter_mut().for_each(|process| process.turns = None);
        all.iter_mut().try_for_each(Process::end)?;
        self.took(format!("{count} entities, processes ended"), 0, begin);
        Ok(())
    }

    /// What does not wait for turns.
    fn once(&mut self, job: Job) -> Result<(), String> {
        let begin = Instant::now();
        self.start(job, 1)?.take(0, &mut self.rows)?;
        self.took(format!("{} entities, {}", job.1, job.0.name()), 1, begin);
        Ok(())
    }
}
