//! The command line of rtm-load.

use std::path::PathBuf;
use std::time::Duration;

/// What `--help` prints.
pub const HELP: &str = "\
rtm-load: drive the rtm registry on real input and check that nothing goes wrong

usage: rtm-load [OPTIONS]

  --seconds S       how long to run (default 15)
  --readers N       threads that resolve handles (default 1)
  --churners N      threads that deregister and re-register (default 1)
  --enumerators N   threads that list whole tables (default 1)
  --listeners N     entities that are told of all others' coming and going, half of them by the
                    library's threads, half by an event queue; some come and go (default 4)
  --invokers N      threads that invoke methods (default 1)
  --holders N       threads that stay inside sections for milliseconds (default 0)
  --referrers N     threads that keep references (default 0)
  --visitors N      threads that start further ones, which end in every way (default 0)
  --housekeepers N  0 or 1 thread that synchronizes, flushes and changes limits (default 0)
  --soak            an hour, 2 churners, 8 listeners, and one more thread of each kind; options behind it
                    change that
  --journal N       events that are kept for slow listeners, who are told if they missed some
                    (default: 2^20 for each table)
  --entities N      entities; more than the input has go to further instances
                    (default: every AS of the input in both families)
  --via WAY         c: C code over the C ABI, linked in (default)
                    so: the same C code over librtm.so
                    rust: the core, without the C ABI
  --library FILE    the shared library for --via so (default: librtm.so beside this program)
  --input FILE      CSV with a header, plain or zstd: prefix,origin_as or
                    origin_as,ipv4_prefixes,ipv6_prefixes; may be given several times
                    (default: the Internet's 91,065 origin AS, built in)
  --seed N          for the random choices (default 1)
  --json FILE       write the figures there too
  --report FILE     a page (HTML) of the run with charts
  --help            this text

Exit code: 0 all checks passed, 1 a check failed, 2 it could not run.

Built-in input: IP to AS data by RouteViews (routeviews.org), NRO (nro.net) and DB-IP (db-ip.com),
CC BY 4.0, via ip-location-db.
";

/// How the library is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Via {
    /// C code over the C ABI, linked in.
    C,
    /// The same over the shared library.
    SharedObject(Option<PathBuf>),
    /// The core.
    Rust,
}

impl Via {
    /// As on the command line.
    pub fn name(&self) -> &'static str {
        match self {
            Via::C => "c",
            Via::SharedObject(_) => "so",
            Via::Rust => "rust",
        }
    }
}

/// What to do.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long.
    pub seconds: f64,
    /// Threads that resolve.
    pub readers: u32,
    /// Threads that re-register.
    pub churners: u32,
    /// Threads that enumerate.
    pub enumerators: u32,
    /// Entities that are told events.
    pub listeners: u32,
    /// Threads that invoke.
    pub invokers: u32,
    /// Threads that stay inside sections.
    pub holders: u32,
    /// Threads that keep references.
    pub referrers: u32,
    /// Threads that start threads.
    pub visitors: u32,
    /// Threads that synchronize, flush and change limits.
    pub housekeepers: u32,
    /// Events that are kept, if not the default.
    pub journal: Option<u64>,
    /// Entities, if not what the input has.
    pub entities: Option<u32>,
    /// Seed of the random choices.
    pub seed: u64,
    /// How the library is reached.
    pub via: Via,
    /// Input files; none: the built-in one.
    pub input: Vec<PathBuf>,
    /// Where the figures go.
    pub json: Option<PathBuf>,
    /// Where the page goes.
    pub report: Option<PathBuf>,
}

impl Options {
    /// How long a phase may take that should take no time. Long runs share their machine.
    pub(super) fn patience(&self) -> Duration {
        Duration::from_secs_f64((self.seconds / 10.0).max(60.0))
    }

    /// The threads, in words.
    pub(super) fn threads(&self) -> String {
        let all = [
            (self.readers, "readers"),
            (self.churners, "churners"),
            (self.enumerators, "enumerators"),
            (self.listeners, "listeners"),
            (self.invokers, "invokers"),
            (self.holders, "holders"),
            (self.referrers, "referrers"),
            (self.visitors, "visitors"),
            (self.housekeepers, "housekeepers"),
        ];
        let soak = |at: usize, count: u32| at < 5 || count != 0;
        let words = all.iter().enumerate().filter(|(at, (count, _))| soak(*at, *count));
        words.map(|(_, (count, kind))| format!("{count} {kind}")).collect::<Vec<_>>().join(", ")
    }
}

/// What the command line asks for.
pub enum Asked {
    /// A run.
    Run(Options),
    /// The help text.
    Help,
}

/// Reads the command line.
///
/// # Errors
/// A text that says what is wrong.
pub fn parse(arguments: lexopt::Parser) -> Result<Asked, String> {
    parse_inner(arguments).map_err(|error| format!("{error}; see rtm-load --help"))
}

fn parse_inner(mut arguments: lexopt::Parser) -> Result<Asked, lexopt::Error> {
    use lexopt::prelude::*;
    let mut options = Options {
        seconds: 15.0,
        readers: 1,
        churners: 1,
        enumerators: 1,
        listeners: 4,
        invokers: 1,
        holders: 0,
        referrers: 0,
        visitors: 0,
        housekeepers: 0,
        journal: None,
        entities: None,
        seed: 1,
        via: Via::C,
        input: Vec::new(),
        json: None,
        report: None,
    };
    let mut library = None;
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("seconds") => options.seconds = arguments.value()?.parse()?,
            Long("readers") => options.readers = arguments.value()?.parse()?,
            Long("churners") => options.churners = arguments.value()?.parse()?,
            Long("enumerators") => options.enumerators = arguments.value()?.parse()?,
            Long("listeners") => options.listeners = arguments.value()?.parse()?,
            Long("invokers") => options.invokers = arguments.value()?.parse()?,
            Long("holders") => options.holders = arguments.value()?.parse()?,
            Long("referrers") => options.referrers = arguments.value()?.parse()?,
            Long("visitors") => options.visitors = arguments.value()?.parse()?,
            Long("housekeepers") => options.housekeepers = arguments.value()?.parse()?,
            Long("soak") => {
                options.seconds = 3600.0;
                (options.churners, options.listeners) = (2, 8);
                (options.holders, options.referrers) = (1, 1);
                (options.visitors, options.housekeepers) = (1, 1);
            }
            Long("journal") => options.journal = Some(arguments.value()?.parse()?),
            Long("entities") => options.entities = Some(arguments.value()?.parse()?),
            Long("seed") => options.seed = arguments.value()?.parse()?,
            Long("input") => options.input.push(arguments.value()?.into()),
            Long("json") => options.json = Some(arguments.value()?.into()),
            Long("report") => options.report = Some(PathBuf::from(arguments.value()?)),
            Long("library") => library = Some(PathBuf::from(arguments.value()?)),
            Long("via") => {
                options.via = match arguments.value()?.string()?.as_str() {
                    "c" => Via::C,
                    "so" => Via::SharedObject(None),
                    "rust" => Via::Rust,
                    other => return Err(format!("--via takes c, so or rust, not {other}").into()),
                }
            }
            Long("help") | Short('h') => return Ok(Asked::Help),
            _ => return Err(argument.unexpected()),
        }
    }
    if !(options.seconds > 0.0 && options.seconds <= 1e7) {
        return Err("--seconds must be above 0".to_owned().into());
    }
    if options.journal == Some(0) {
        return Err("--journal must be above 0".to_owned().into());
    }
    if options.listeners > 256 {
        // Each keeps an account of 16 bytes for each entity.
        return Err("at most 256 listeners".to_owned().into());
    }
    let soak = [options.holders, options.referrers, options.visitors, options.housekeepers];
    if options.via == Via::Rust && soak != [0; 4] {
        return Err("holders, referrers, visitors and housekeepers go with --via c or so".into());
    }
    if options.housekeepers > 1 {
        return Err("at most one housekeeper".into());
    }
    let threads = [options.readers, options.churners, options.enumerators, options.invokers];
    if threads.iter().chain(&soak).any(|count| *count > 4096) {
        return Err("at most 4,096 threads of a kind".to_owned().into());
    }
    match (&mut options.via, library) {
        (Via::SharedObject(path), library) => *path = library,
        (_, None) => {}
        _ => return Err("--library goes with --via so".to_owned().into()),
    }
    Ok(Asked::Run(options))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(arguments: &[&str]) -> Result<Asked, String> {
        parse(lexopt::Parser::from_args(arguments.iter().copied()))
    }

    #[test]
    fn options_are_read() {
        let Ok(Asked::Run(options)) = asked(&["--via", "so", "--library", "x.so", "--seconds=2"])
        else {
            panic!()
        };
        assert_eq!(options.via, Via::SharedObject(Some("x.so".into())));
        assert!((options.seconds - 2.0).abs() < 1e-9);
        assert!(matches!(asked(&["--help"]), Ok(Asked::Help)));
        let Ok(Asked::Run(options)) = asked(&["--soak", "--churners", "3"]) else { panic!() };
        assert!(options.seconds >= 3600.0);
        assert_eq!((options.churners, options.housekeepers), (3, 1));
    }

    #[test]
    fn bad_options_are_named() {
        for (bad, word) in [
            (&["--via", "x"][..], "not x"),
            (&["--seconds", "0"], "above 0"),
            (&["--seconds", "nan"], "above 0"),
            (&["--readers", "-1"], "-1"),
            (&["--what"], "--what"),
            (&["--library", "x"], "--via so"),
            (&["--churners", "5000"], "4,096"),
            (&["--invokers", "5000"], "4,096"),
            (&["--listeners", "257"], "256"),
            (&["--journal", "0"], "above 0"),
            (&["--visitors", "5000"], "4,096"),
            (&["--housekeepers", "2"], "one housekeeper"),
            (&["--soak", "--via", "rust"], "--via c or so"),
        ] {
            let Err(text) = asked(bad) else { panic!("{bad:?} was accepted") };
            assert!(text.contains(word), "{text}");
        }
    }
}
