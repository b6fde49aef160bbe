//! Runs every model as it is, which must pass, and under each of its mutants, which must fail.
//!
//! Each run is a process of its own: this program again, with `RTM_MUTANT` set.

#[cfg(not(rtm_loom))]
fn main() {
    eprintln!(
        "built without loom; build with\n  \
         RUSTFLAGS=\"--cfg rtm_loom --cfg crossbeam_loom\" cargo run --target-dir target/loom \
         -p rtm-loom-tests --bin loom-mutants"
    );
    std::process::exit(2);
}

#[cfg(rtm_loom)]
fn main() {
    std::process::exit(runner::main());
}

#[cfg(rtm_loom)]
mod runner {
    use rtm_core::Mutant;
    use rtm_loom_tests::{MODELS, Model};
    use std::io::Read;
    use std::process::{Child, Command, Stdio};
    use std::sync::Mutex;
    use std::time::{Duration, Instant};

    const USAGE: &str = "\
loom-mutants [--brief | --deep] [--seconds N] [--matrix] [--jobs N] [--list] [MODEL...]
            a bound of two pre-emptions
  --brief   the models as they are at most --seconds (2) from each side, mutants as ever
  --deep    one more for the models as they are, each side at most --seconds (600)
  --matrix  every mutant against every model, not only those that must catch it; for information
  --jobs    processes at a time (as many as there are processors)
  --list    names the models with the mutants that each must catch
  MODEL     only models whose names contain this";

    /// A mutant must be found within this time.
    const MUTANT_LIMIT: Duration = Duration::from_secs(120);

    struct Options {
        deep: bool,
        brief: bool,
        matrix: bool,
        jobs: usize,
        seconds: Option<u64>,
    }

    /// One process to run.
    #[derive(Clone, Copy)]
    struct Case {
        model: &'static Model,
        mutant: Option<(Mutant, &'static str)>,
    }

    pub(super) fn main() -> i32 {
        let jobs = std::thread::available_parallelism().map_or(1, usize::from);
        let mut options = Options { deep: false, brief: false, matrix: false, jobs, seconds: None };
        let (mut list, mut wanted) = (false, Vec::new());
        let mut arguments = std::env::args().skip(1);
        let mut usage = false;
        while let Some(argument) = arguments.next() {
            let mut number = || arguments.next().and_then(|text| text.parse::<u64>().ok());
            match argument.as_str() {
                "--run" => {
                    let name = arguments.next().unwrap_or_default();
                    let model = MODELS.iter().find(|model| model.name == name);
                    (model.expect("a model's name").run)();
                    return 0;
                }
                "--brief" => options.brief = true,
                "--deep" => options.deep = true,
                "--matrix" => options.matrix = true,
                "--list" => list = true,
                "--jobs" => match number() {
                    Some(jobs) if jobs != 0 => options.jobs = jobs as usize,
                    _ => usage = true,
                },
                "--seconds" => match number() {
                    None => usage = true,
                    seconds => options.seconds = seconds,
                },
                option if option.starts_with('-') => usage = true,
                _ => wanted.push(argument),
            }
        }
        if usage || (options.brief && options.deep) {
            eprintln!("{USAGE}");
            return 2;
        }
        let chosen = |model: &&Model| {
            wanted.is_empty() || wanted.iter().any(|part| model.name.contains(part.as_str()))
        };
        let models: Vec<_> = MODELS.iter().filter(chosen).collect();
        if models.is_empty() {
            eprintln!("no such model; see --list");
            return 2;
        }
        if list {
            for model in models {
                let names: Vec<_> = model.catches.iter().map(|mutant| name(*mutant)).collect();
                println!("{:40} {}", model.name, names.join(" "));
            }
            return 0;
        }
        let mut cases = Vec::new();
        for model in &models {
            cases.push(Case { model, mutant: None });
            for mutant in Mutant::ALL {
                if options.matrix || model.catches.contains(&mutant.0) {
                    cases.push(Case { model, mutant: Some(*mutant) });
                }
            }
        }
        let orphans: Vec<_> = Mutant::ALL
            .iter()
            .filter(|(mutant, _)| !MODELS.iter().any(|model| model.catches.contains(mutant)))
            .map(|(_, name)| *name)
            .collect();
        let start = Instant::now();
        let bad = run_all(&cases, &options);
        let mutants = cases.iter().filter(|case| case.mutant.is_some()).count();
        println!(
            "{} models, {mutants} runs of mutants, {bad} bad, {:.0} s",
            models.len(),
            start.elapsed().as_secs_f64()
        );
        if !orphans.is_empty() {
            println!("mutants that no model is said to catch: {}", orphans.join(" "));
        }
        i32::from(bad != 0 || !orphans.is_empty())
    }

    fn name(mutant: Mutant) -> &'static str {
        Mutant::ALL.iter().find(|(known, _)| *known == mutant).map_or("?", |(_, name)| name)
    }

    /// Runs the cases and says how many went wrong.
    fn run_all(cases: &[Case], options: &Options) -> usize {
        let next = Mutex::new((cases.iter(), 0));
        let work = || {
            loop {
                let case = next.lock().expect("no panic").0.next().copied();
                let Some(case) = case else { return };
                let good = report(case, options);
                next.lock().expect("no panic").1 += usize::from(!good);
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..options.jobs {
                scope.spawn(work);
            }
        });
        next.into_inner().expect("no panic").1
    }

    fn report(case: Case, options: &Options) -> bool {
        let start = Instant::now();
        let outcome = run(case, options);
        let seconds = start.elapsed().as_secs_f64();
        let must = case.mutant.is_none_or(|(mutant, _)| case.model.catches.contains(&mutant));
        let (good, verdict) = match (case.mutant, &outcome.passed) {
            (None, Some(true)) => (true, "ok"),
            (None, Some(false)) => (false, "FAILED"),
            (None, None) => (false, "TOO SLOW"),
            (Some(_), Some(false)) => (true, "caught"),
            (Some(_), _) if !must => (true, "-"),
            (Some(_), Some(true)) => (false, "SURVIVED"),
            (Some(_), None) => (false, "SURVIVED (time limit)"),
        };
        let what = case.mutant.map_or("", |(_, name)| name);
        println!(
            "{:38} {what:24} {seconds:6.1} s {:>22}  {verdict}{}",
            case.model.name,
            outcome.executions,
            if outcome.why.is_empty() { String::new() } else { format!(": {}", outcome.why) },
        );
        if !good && case.mutant.is_none() {
            println!("{}", outcome.text);
        }
        good
    }

    struct Outcome {
        /// Whether the process ended well; `None` if it was stopped.
        passed: Option<bool>,
        executions: String,
        /// The panic's first line.
        why: String,
        text: String,
    }

    fn run(case: Case, options: &Options) -> Outcome {
        let me = std::env::current_exe().expect("the path of this program");
        let mut command = Command::new(me);
        command.args(["--run", case.model.name]).env_remove("RTM_MUTANT");
        let seconds = options.seconds.unwrap_or(if options.brief { 2 } else { 600 });
        let mut limit = Duration::from_secs(seconds);
        if let Some((_, mutant)) = case.mutant {
            // Also when searching deep: a larger bound changes the order and finds them later.
            command.env("RTM_MUTANT", mutant);
            limit = MUTANT_LIMIT;
        } else if options.deep || options.brief {
            if options.deep {
                command.env("RTM_LOOM_DEEP", "1");
            }
            command.env("LOOM_MAX_DURATION", seconds.to_string());
            // From both sides, and loom looks at the clock now and then.
            limit = limit * 2 + MUTANT_LIMIT;
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("this program runs");
        let readers =
            [read(child.stdout.take().expect("piped")), read(child.stderr.take().expect("piped"))];
        let passed = wait(&mut child, limit);
        let [out, err] = readers.map(|reader| reader.join().expect("no panic"));
        let executions = out.lines().find_map(|line| line.strip_prefix("executions: "));
        let mut lines = err.lines().skip_while(|line| !line.contains("panicked at")).skip(1);
        let why = lines.find(|line| !line.trim().is_empty()).unwrap_or_default().trim();
        let why: String = why.chars().take(100).collect();
        let executions = executions.unwrap_or_default().to_owned();
        Outcome { passed, executions, why, text: err }
    }

    fn read(mut from: impl Read + Send + 'static) -> std::thread::JoinHandle<String> {
        std::thread::spawn(move || {
            let mut text = Vec::new();
            let _ = from.read_to_end(&mut text);
            String::from_utf8_lossy(&text).into_owned()
        })
    }

    fn wait(child: &mut Child, limit: Duration) -> Option<bool> {
        let start = Instant::now();
        loop {
            if let Some(status) = child.try_wait().expect("our child") {
                return Some(status.success());
            }
            if start.elapsed() > limit {
                let _ = child.kill();
                let _ = child.wait();
                return None;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
