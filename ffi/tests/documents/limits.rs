//! Limits: what the documents, the header and rustdoc say against what the library does.

use crate::{Texts, edit, pages, root};
use rtm::*;
use rtm_core::{Config, Limits, Standard, Threads};
use std::collections::{BTreeMap, BTreeSet};

/// The numbers of a text: `512`, `65,536`, `2^28`, `2^28 - 1`.
fn numbers(text: &str) -> Vec<u64> {
    let mut numbers = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c.is_ascii_digit()) {
        let (mut number, after) = digits(&rest[at..]);
        rest = after;
        if let Some(power) =
            rest.strip_prefix('^').filter(|power| power.starts_with(|c: char| c.is_ascii_digit()))
        {
            let (exponent, after) = digits(power);
            number = number.pow(u32::try_from(exponent).expect("an exponent"));
            rest = after;
            if let Some(after) = rest.strip_prefix(" - 1") {
                number -= 1;
                rest = after;
            }
        }
        numbers.push(number);
    }
    numbers
}

/// The number at the beginning, commas between its digits ignored, and what follows.
fn digits(text: &str) -> (u64, &str) {
    let bytes = text.as_bytes();
    let is_digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    let mut end = 0;
    while is_digit(end) || bytes.get(end) == Some(&b',') && is_digit(end + 1) {
        end += 1;
    }
    (text[..end].replace(',', "").parse().expect("digits"), &text[end..])
}

fn number(text: &str) -> Option<u64> {
    numbers(text).first().copied()
}

fn cells(line: &str) -> Vec<&str> {
    line.trim().trim_matches('|').split('|').map(str::trim).collect()
}

/// The rows of the table with this head.
fn table<'a>(text: &'a str, head: &str) -> Vec<Vec<&'a str>> {
    let lines = text.lines().skip_while(|line| *line != head).skip(2);
    lines.take_while(|line| line.starts_with('|')).map(cells).collect()
}

/// What C can set, in the order of the structure.
fn c_limits() -> RTMX_LIMITS {
    let mut limits = std::mem::MaybeUninit::<RTMX_LIMITS>::zeroed();
    // SAFETY: a place of that size.
    let code = unsafe { RtmxGetLimits(limits.as_mut_ptr(), size_of::<RTMX_LIMITS>() as UINT) };
    assert_eq!(code, NO_ERROR);
    // SAFETY: all fields are integers.
    unsafe { limits.assume_init() }
}

/// Whether the library takes these, which are not in force afterwards.
fn accepted(limits: &RTMX_LIMITS) -> bool {
    let (before, size) = (c_limits(), size_of::<RTMX_LIMITS>() as UINT);
    // SAFETY: structures of that size.
    let code = unsafe { RtmxSetLimits(limits, size) };
    // SAFETY: as above.
    assert_eq!(unsafe { RtmxSetLimits(&before, size) }, NO_ERROR);
    match code {
        NO_ERROR => true,
        ERROR_INVALID_PARAMETER => false,
        code => panic!("RtmxSetLimits: {code}"),
    }
}

/// A limit: its name in C and in Rust, the defaults, and whether C takes a value of it.
struct Limit {
    c: &'static str,
    rust: Option<&'static str>,
    defaults: Vec<u64>,
    /// The largest value that the field can hold.
    widest: u64,
    takes: Box<dyn Fn(u64) -> bool>,
}

fn limits() -> Vec<Limit> {
    let (c, rust, threads) = (c_limits(), Limits::default(), Threads::default());
    macro_rules! limit {
        ($field:ident: $type:ty, $name:expr, $default:expr) => {
            Limit {
                c: stringify!($field),
                rust: $name,
                defaults: std::iter::once(u64::from(c.$field)).chain($default).collect(),
                widest: u64::from(<$type>::MAX),
                takes: Box::new(move |value| {
                    accepted(&RTMX_LIMITS { $field: value as $type, ..c })
                }),
            }
        };
    }
    let some = |value: u64| Some(value);
    vec![
        limit!(MaxEntities: u32, Some("entities"), some(rust.entities.into())),
        limit!(MaxInstances: u32, Some("instances"), some(rust.instances.into())),
        limit!(MaxReferences: u32, Some("references"), some(rust.references.into())),
        limit!(MaxOpaquePointers: u32, None, None),
        limit!(MaxBacklog: u64, Some("backlog"), some(rust.backlog)),
        limit!(MaxJournal: u64, Some("journal"), some(rust.journal)),
        limit!(IdleEventThreads: u32, Some("Threads::idle"), some(threads.idle as u64)),
        limit!(MaxEventThreads: u32, Some("Threads::most"), some(threads.most as u64)),
    ]
}

const LIMITS: &str = "| `RTMX_LIMITS` | Rust | default | most | who is refused beyond it |";
const FIGURES: &str = "| `RTMX_STATISTICS` | in texts | what it says |";
const FIXED: &str = "| fixed | number |";

/// Numbers that stand in running text: the page, the words around the number, the number.
fn claims() -> Vec<(&'static str, &'static str, u64)> {
    let defaults = Limits::default();
    let slots = 1 << Standard::SLOT_BITS;
    let generations = 1 << Standard::GENERATION_BITS;
    vec![
        ("README.md", "Beyond `RTMX_LIMITS.MaxBacklog` ({})", defaults.backlog),
        ("README.md", "- {} entities; a slot serves", slots),
        ("README.md", "entities; a slot serves {} of them", generations),
        ("docs/reclamation.md", "When more than `MaxBacklog` ({}) wait", defaults.backlog),
        ("docs/architecture.md", "It has a number, below {}, and a generation", slots),
        ("docs/tuning.md", "| chunks of {} slots |", 1 << Standard::CHUNK_BITS),
        ("docs/tuning.md", "each thread hands over {} at a time", Standard::MAGAZINE.into()),
        ("docs/tuning.md", "there are fewer slots than {}.", slots),
        ("docs/tuning.md", "was never below {}, nothing is counted", defaults.entities.into()),
        ("include/rtmv2.h", "slots used up for ever, after {} entities each", generations),
        ("include/rtmv2.h", "MaxEntities above {},", defaults.entities.into()),
        ("include/rtmv2.h", "MaxReferences above {}, MaxJournal 0", defaults.references.into()),
        ("include/rtmv2.h", "*   or above {}, or MaxEventThreads 0", 1 << 23),
        ("include/rtmv2.h", "there are {} queues, or", fixed("event queues")),
        ("include/rtmv2.h", "there are {} readers;", fixed("reader objects")),
    ]
}

fn fixed(what: &str) -> u64 {
    let mut all = FIXED_LIMITS.iter();
    all.find(|limit| limit.0 == what).unwrap_or_else(|| panic!("no {what}")).1
}

/// The pages, the header, and core's limits with their comments.
fn texts() -> Texts {
    let mut texts = pages();
    for path in ["include/rtmv2.h", "core/src/limits.rs", "core/src/dispatcher.rs"] {
        let text = std::fs::read_to_string(root().join(path)).expect("a text");
        texts.insert(path.to_owned(), text);
    }
    texts
}

/// Fields of the C structure with the comments behind them.
fn header_fields(header: &str) -> BTreeMap<String, String> {
    let body = header.split_once("typedef struct _RTMX_LIMITS {").expect("the structure").1;
    let body = body.split_once("} RTMX_LIMITS").expect("its end").0;
    let fields = body.split("*/").filter_map(|field| field.split_once(';'));
    let name = |field: &str| field.split_whitespace().last().unwrap_or_default().to_owned();
    fields.map(|(field, comment)| (name(field), comment.to_owned())).collect()
}

/// Fields of core's structure with the comments before them.
fn rust_fields(source: &str) -> BTreeMap<String, String> {
    let body = source.split_once("pub struct Limits {").expect("the structure").1;
    let body = body.split_once("\n}").expect("its end").0;
    let mut fields = BTreeMap::new();
    let mut comment = String::new();
    for line in body.lines().map(str::trim) {
        if let Some(text) = line.strip_prefix("///") {
            comment += text;
        } else if let Some((name, _)) =
            line.strip_prefix("pub ").and_then(|line| line.split_once(':'))
        {
            fields.insert(name.to_owned(), std::mem::take(&mut comment));
        }
    }
    fields
}

fn faults(texts: &Texts) -> Vec<String> {
    let mut faults = Vec::new();
    let mut check = |holds: bool, what: String| {
        if !holds {
            faults.push(what);
        }
    };
    let tuning = &texts["docs/tuning.md"];
    let rows = table(tuning, LIMITS);
    let header = header_fields(&texts["include/rtmv2.h"]);
    let rust = rust_fields(&texts["core/src/limits.rs"]);
    let known = limits();
    check(
        rows.len() == known.len(),
        format!("docs/tuning.md: {} limits of {}", rows.len(), known.len()),
    );
    for (row, limit) in rows.iter().zip(&known) {
        let &[c, in_rust, default, most, _] = &row[..] else {
            check(false, format!("docs/tuning.md: not five cells: {row:?}"));
            continue;
        };
        let name = limit.c;
        check(c == format!("`{name}`"), format!("docs/tuning.md: {c} in place of {name}"));
        let expected = limit.rust.map_or("–".to_owned(), |name| format!("`{name}`"));
        check(
            in_rust == expected,
            format!("docs/tuning.md: {name} is {expected} in Rust, not {in_rust}"),
        );
        for actual in &limit.defaults {
            let said = number(default) == Some(*actual);
            check(
                said,
                format!("docs/tuning.md: the default of {name} is {actual}, not {default}"),
            );
        }
        let largest = number(most).unwrap_or(limit.widest);
        check((limit.takes)(largest), format!("docs/tuning.md: {name} cannot be {most}"));
        let further = largest == limit.widest || !(limit.takes)(largest + 1);
        check(further, format!("docs/tuning.md: {name} can be more than {most}"));
        let comment = header.get(name).map_or("", String::as_str);
        let said = comment.split_once("default").map_or("", |(_, after)| after);
        check(
            number(said) == Some(limit.defaults[0]),
            format!("rtmv2.h: the default of {name} is {}, not:{comment}", limit.defaults[0]),
        );
        if most != "–" {
            let said = numbers(said).contains(&largest);
            check(said, format!("rtmv2.h: the most of {name} is {largest}, not:{comment}"));
        }
        if let Some(field) = limit.rust.filter(|name| !name.contains("::")) {
            let comment = rust.get(field).map_or("", String::as_str);
            let said = numbers(comment).contains(&limit.defaults[0]);
            check(
                said,
                format!(
                    "rustdoc of Limits::{field}: {} is its default, not:{comment}",
                    limit.defaults[0]
                ),
            );
        }
    }
    let rows = table(tuning, FIXED);
    let all: Vec<(&str, Option<u64>)> = rows.iter().map(|row| (row[0], number(row[1]))).collect();
    let expected: Vec<_> = FIXED_LIMITS.iter().map(|(what, value)| (*what, Some(*value))).collect();
    check(all == expected, format!("docs/tuning.md: fixed are {expected:?}, not {all:?}"));
    for (page, words, value) in claims() {
        let (before, after) = words.split_once("{}").expect("a place for the number");
        let said = texts[page].match_indices(before).any(|(at, _)| {
            let rest = &texts[page][at + before.len()..];
            let end = rest.find(after).unwrap_or(0);
            end < 16 && numbers(&rest[..end]) == [value]
        });
        check(said, format!("{page} does not say: {}", words.replace("{}", &value.to_string())));
    }
    faults
}

#[test]
fn documented_limits_are_those_in_force() {
    let faults = faults(&texts());
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// What the fixed ones say is what a client meets.
#[test]
fn fixed_limits_are_met() {
    assert_eq!(fixed("entities one after the other in one slot"), 1 << Standard::GENERATION_BITS);
    let most = fixed("methods of an entity") as UINT;
    for (count, expected) in [(most, NO_ERROR), (most + 1, ERROR_INVALID_DATA)] {
        // A table of this many holes, each a word, behind a word with their number.
        let mut methods = vec![0_u64; count as usize + 1];
        methods[0] = count.into();
        let id = RTM_ENTITY_ID { EntityId: 7 };
        let mut info = RTM_ENTITY_INFO { RtmInstanceId: 0, AddressFamily: 2, EntityId: id };
        let mut profile = RTM_REGN_PROFILE {
            MaxNextHopsInRoute: 0,
            MaxHandlesInEnum: 0,
            ViewsSupported: 0,
            NumberOfViews: 0,
        };
        let mut handle = std::ptr::null_mut();
        // SAFETY: all of the right size, alive for the call.
        let code = unsafe {
            RtmRegisterEntity(
                &mut info,
                methods.as_mut_ptr().cast(),
                None,
                0,
                &mut profile,
                &mut handle,
            )
        };
        assert_eq!(code, expected, "{count} methods");
        if code == NO_ERROR {
            // SAFETY: any handle may be given.
            assert_eq!(unsafe { RtmDeregisterEntity(handle) }, NO_ERROR);
        }
    }
}

#[test]
fn wrong_limits_are_found() {
    let found = |page: &str, from: &str, to: &str, says: &str| {
        let mut texts = texts();
        edit(&mut texts, page, from, to);
        let faults = faults(&texts);
        assert!(faults.iter().any(|fault| fault.contains(says)), "{says}: {faults:?}");
    };
    let tuning = "docs/tuning.md";
    let entities = "| `MaxEntities` | `entities` | 2^28 | 2^28 |";
    found(
        tuning,
        entities,
        "| `MaxEntities` | `entities` | 2^27 | 2^28 |",
        "default of MaxEntities",
    );
    found(
        tuning,
        entities,
        "| `MaxEntities` | `entities` | 2^28 | 2^29 |",
        "MaxEntities cannot be 2^29",
    );
    found(
        tuning,
        entities,
        "| `MaxEntities` | `entities` | 2^28 | 2^27 |",
        "can be more than 2^27",
    );
    found(tuning, entities, "| `MaxEntities` | `many` | 2^28 | 2^28 |", "`entities` in Rust");
    found(
        tuning,
        "| `MaxBacklog` | `backlog` | 2^20 |",
        "| `MaxBacklog` | `backlog` | 2^21 |",
        "default of MaxBacklog",
    );
    found(tuning, "| 1,024 |", "| 1,025 |", "default of MaxOpaquePointers");
    found(tuning, "| reader objects | 65,536 |", "| reader objects | 65,535 |", "fixed are");
    found(tuning, "chunks of 512 slots", "chunks of 256 slots", "chunks of 512 slots");
    found(
        "README.md",
        "`RTMX_LIMITS.MaxBacklog` (2^20)",
        "`RTMX_LIMITS.MaxBacklog` (2^10)",
        "README.md does not say",
    );
    let header = "include/rtmv2.h";
    found(
        header,
        "instances with a table; default 65,536",
        "instances with a table; default 65,535",
        "default of MaxInstances",
    );
    found(
        header,
        "kept; default 2^20, most 2^23;",
        "kept; default 2^20, most 2^24;",
        "most of MaxJournal",
    );
    found(
        "core/src/limits.rs",
        "have a table; 65,536 by default",
        "have a table; 1,000 by default",
        "Limits::instances",
    );
}

/// The names of figures on the page are those in texts, and all are there.
#[test]
fn figures_have_the_names_of_the_page() {
    let mut text = [0; 8192];
    let mut size = text.len() as UINT;
    // SAFETY: a buffer of that size.
    let code = unsafe { RtmxFormatStatistics(RTMX_TEXT, text.as_mut_ptr(), &mut size) };
    assert_eq!(code, NO_ERROR);
    let text: Vec<u8> = text[..size as usize - 1].iter().map(|byte| *byte as u8).collect();
    let text = String::from_utf8(text).expect("UTF-8");
    let written: BTreeSet<&str> = text.lines().filter_map(|line| line.split(' ').next()).collect();
    let pages = pages();
    let rows = table(&pages["docs/tuning.md"], FIGURES);
    let mut named: BTreeSet<&str> = rows.iter().flat_map(|row| row[1].split(", ")).collect();
    named.extend(["`instances`", "`members`"]);
    let named: BTreeSet<&str> = named.iter().map(|name| name.trim_matches('`')).collect();
    assert_eq!(named, written);
    let fields = size_of::<RTMX_STATISTICS>() / size_of::<ULONGLONG>();
    assert_eq!(rows.iter().flat_map(|row| row[0].split(", ")).count(), fields);
}

#[test]
fn numbers_are_read() {
    assert_eq!(
        numbers("512, 65,536 and 2^28 - 1, or 2^20."),
        [512, 65_536, (1 << 28) - 1, 1 << 20]
    );
    assert_eq!(numbers("–"), [0_u64; 0]);
}
