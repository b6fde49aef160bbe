//! Coherence events of a program trace: cores with private caches that never evict, and MSI between them.
//!
//! *What counts.* Lines are 64 bytes. An access touches each line it overlaps; an instruction that reads a
//! line and writes it writes it. One event, whatever it would cost:
//! - a core reads a line that it does not hold and that another core wrote last;
//! - a core writes a line that another core holds.
//!
//! A core holds what it has read or written since another core wrote it. The first touch of a line nobody
//! else has written is no event: memory must bring it in on any machine. So a load followed by an exchange
//! of a line that others write is two events, an addition in place is one. Nothing else is modelled: no
//! capacity, no pairs of lines, no prefetching, no store buffers.
//!
//! *Marks.* Programs say which core they play by storing to words of a page at a fixed address
//! ([`Mark`]). What lies outside an operation is not the cores' doing and is left out, and so is every other
//! word of that page, through which the program passes the turn.

use std::collections::HashMap;
use std::io::BufRead;

const LINE: u64 = 64;

/// The page of marks. Any address would do that nothing else is put at.
pub(super) const PAGE: u64 = 0x10_0000_0000;
pub(super) const PAGE_BYTES: u64 = 8192;

/// Most cores; a line's holders are bits of a word.
pub(super) const MOST_CORES: usize = 64;

/// What a store to the page says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// An operation of this core begins.
    Begin(usize),
    /// It ends.
    End,
    /// From here on events count.
    Measure,
}

impl Mark {
    /// The word of the page.
    pub(super) fn word(self) -> usize {
        match self {
            Mark::Begin(core) => core,
            Mark::End => MOST_CORES,
            Mark::Measure => MOST_CORES + 1,
        }
    }

    fn at(address: u64) -> Option<Mark> {
        match (address - PAGE) as usize / size_of::<u64>() {
            core if core < MOST_CORES => Some(Mark::Begin(core)),
            MOST_CORES => Some(Mark::End),
            word if word == MOST_CORES + 1 => Some(Mark::Measure),
            _ => None,
        }
    }
}

#[derive(Clone, Copy, Default)]
struct Line {
    holders: u64,
    writer: Option<u8>,
}

/// All caches.
#[derive(Default)]
struct Caches(HashMap<u64, Line>);

impl Caches {
    /// One access; whether it is an event.
    fn touch(&mut self, core: usize, line: u64, writes: bool) -> bool {
        let line = self.0.entry(line).or_default();
        let own = 1 << core;
        if writes {
            let event = line.holders & !own != 0;
            *line = Line { holders: own, writer: Some(core as u8) };
            event
        } else {
            let others = line.writer.is_some_and(|writer| usize::from(writer) != core);
            let event = line.holders & own == 0 && others;
            line.holders |= own;
            event
        }
    }
}

/// What a trace came to.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Outcome {
    pub(super) operations: u64,
    pub(super) events: u64,
    /// Events by place.
    pub(super) places: HashMap<Place, u64>,
}

/// The address of an instruction, and of the last one before it that was far away: if this is in another
/// object, the call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) at: u64,
    pub(super) from: u64,
}

/// Objects lie further apart than this, and most code is not as large.
const FAR: u64 = 1 << 20;

/// Reads a trace of valgrind's lackey. Lines that are none of it are left out, and given to `other`.
pub(super) fn simulate(
    mut trace: impl BufRead,
    mut other: impl FnMut(&str),
) -> Result<Outcome, String> {
    let mut outcome = Outcome::default();
    let mut caches = Caches::default();
    let (mut core, mut measuring, mut place) = (None, false, Place::default());
    // A read that its instruction may follow by a write of the same line.
    let mut read = None;
    let mut text = Vec::new();
    loop {
        text.clear();
        if trace.read_until(b'\n', &mut text).map_err(|error| error.to_string())? == 0 {
            return Ok(outcome);
        }
        let Some((kind, address, size)) = access(&text) else {
            other(&String::from_utf8_lossy(&text));
            continue;
        };
        let writes = kind == b'S' || kind == b'M';
        let lines = address / LINE..=(address + size.max(1) - 1) / LINE;
        let mut touch = |core, line, writes| {
            if caches.touch(core, line, writes) && measuring {
                outcome.events += 1;
                *outcome.places.entry(place).or_default() += 1;
            }
        };
        if let Some((core, line)) = read.take()
            && !(writes && lines.contains(&line))
        {
            touch(core, line, false);
        }
        if kind == b'I' {
            if address.abs_diff(place.at) > FAR {
                place.from = place.at;
            }
            place.at = address;
        } else if (PAGE..PAGE + PAGE_BYTES).contains(&address) {
            match Mark::at(address).filter(|_| writes) {
                Some(Mark::Begin(begins)) => {
                    core = Some(begins);
                    outcome.operations += u64::from(measuring);
                }
                Some(Mark::End) => core = None,
                Some(Mark::Measure) => measuring = true,
                None => {}
            }
        } else if let Some(core) = core {
            for line in lines {
                match writes || read.is_some() {
                    true => touch(core, line, writes),
                    false => read = Some((core, line)),
                }
            }
        }
    }
}

/// `I  04001000,3`, ` S 1ffeffe7e0,8`, and ` L` and ` M` likewise.
fn access(text: &[u8]) -> Option<(u8, u64, u64)> {
    let (kind, rest) = match text {
        [b'I', b' ', b' ', rest @ ..] => (b'I', rest),
        [b' ', kind @ (b'L' | b'S' | b'M'), b' ', rest @ ..] => (*kind, rest),
        _ => return None,
    };
    let comma = rest.iter().position(|byte| *byte == b',')?;
    let digits = |digits: &[u8], base: u32| {
        digits.iter().try_fold(0_u64, |number, digit| {
            let digit = char::from(*digit).to_digit(base)?;
            number.checked_mul(base.into())?.checked_add(digit.into())
        })
    };
    let size = rest[comma + 1..].strip_suffix(b"\n").unwrap_or(&rest[comma + 1..]);
    Some((kind, digits(&rest[..comma], 16)?, digits(size, 10)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(mark: Mark) -> String {
        format!(" S {:x},8\n", PAGE + 8 * mark.word() as u64)
    }

    /// Each operation is a core and its accesses; all of them are measured.
    fn events(operations: &[(usize, &str)]) -> u64 {
        let mut trace = mark(Mark::Measure);
        for (core, accesses) in operations {
            trace += &mark(Mark::Begin(*core));
            for access in accesses.split_whitespace() {
                let (kind, address) = access.split_at(1);
                trace += &format!("I  4000,3\n {kind} {address}\n");
            }
            trace += &mark(Mark::End);
        }
        let outcome = simulate(trace.as_bytes(), |line| panic!("not understood: {line}")).unwrap();
        assert_eq!(outcome.operations, operations.len() as u64);
        assert_eq!(outcome.places.values().sum::<u64>(), outcome.events);
        outcome.events
    }

    #[test]
    fn reading_what_nobody_writes_is_free() {
        assert_eq!(events(&[(0, "L1000,8"), (1, "L1000,8"), (63, "L1008,8"), (0, "L1000,8")]), 0);
    }

    #[test]
    fn a_core_alone_has_no_events() {
        assert_eq!(events(&[(5, "S1000,8 L1000,8 M1000,8"), (5, "L1000,8 S1040,8")]), 0);
    }

    #[test]
    fn a_line_written_elsewhere_is_fetched_once() {
        assert_eq!(events(&[(0, "S1000,8"), (1, "L1000,8"), (1, "L1038,8"), (2, "L1000,8")]), 2);
        // Whoever wrote it still has it.
        assert_eq!(events(&[(0, "S1000,8"), (1, "L1000,8"), (0, "L1000,8")]), 1);
    }

    #[test]
    fn writing_what_others_hold_invalidates_them() {
        assert_eq!(events(&[(0, "L1000,8"), (1, "S1000,8")]), 1);
        assert_eq!(events(&[(0, "L1000,8"), (1, "L1000,8"), (2, "S1000,8"), (0, "L1000,8")]), 2);
        // Once alone with it, a core may write as often as it likes.
        assert_eq!(events(&[(0, "L1000,8"), (1, "S1000,8 S1000,8 M1008,4")]), 1);
    }

    #[test]
    fn a_shared_counter_is_one_event_and_a_loop_of_exchanges_two() {
        assert_eq!(events(&[(0, "M1000,8"), (1, "M1000,8"), (0, "M1000,8")]), 2);
        assert_eq!(events(&[(0, "L1000,8 M1000,8"), (1, "L1000,8 M1000,8")]), 2);
    }

    #[test]
    fn an_instruction_that_reads_and_writes_writes() {
        let add = |core| {
            let accesses = "I  4000,5\n L 1000,8\n M 1000,8\n";
            format!("{}{accesses}{}", mark(Mark::Begin(core)), mark(Mark::End))
        };
        let trace = format!("{}{}{}{}", mark(Mark::Measure), add(0), add(1), add(0));
        assert_eq!(simulate(trace.as_bytes(), |_| {}).unwrap().events, 2);
        // Not so if another instruction writes.
        let trace = trace.replace(" M", "I  4005,3\n M");
        assert_eq!(simulate(trace.as_bytes(), |_| {}).unwrap().events, 4);
    }

    #[test]
    fn neighbours_share_a_line() {
        assert_eq!(events(&[(0, "S1000,8"), (1, "S1038,8"), (0, "S1000,8")]), 2);
        assert_eq!(events(&[(0, "S1000,8"), (1, "S1040,8"), (0, "S1000,8")]), 0);
        // One access over the border of two lines.
        assert_eq!(events(&[(0, "S103c,8"), (1, "L1000,8"), (1, "L1040,8")]), 2);
        assert_eq!(events(&[(0, "S1000,8 S1040,8"), (1, "L103c,8")]), 2);
    }

    #[test]
    fn only_marked_and_measured_accesses_count() {
        let (begin, end) = (|core| mark(Mark::Begin(core)), mark(Mark::End));
        let store = "I  4000,3\n S 1000,8\n";
        let once = |core| format!("{}{store}{end}", begin(core));
        let run = |trace: String| simulate(trace.as_bytes(), |_| {}).unwrap();
        // Outside of operations nobody touches anything.
        let outcome = run(format!("{}{store}{}{store}", mark(Mark::Measure), once(0)));
        assert_eq!((outcome.operations, outcome.events), (1, 0));
        // What was done before the measurement is remembered, not counted.
        let outcome = run(format!("{}{}{}{}", once(0), once(1), mark(Mark::Measure), once(0)));
        assert_eq!((outcome.operations, outcome.events), (1, 1));
        assert_eq!(outcome.places, HashMap::from([(Place { at: 0x4000, from: 0 }, 1)]));
        // Reading a mark is not marking.
        let load = mark(Mark::Begin(1)).replace('S', "L");
        let outcome =
            run(format!("{}{}{}{load}{store}{end}", mark(Mark::Measure), once(0), begin(0)));
        assert_eq!((outcome.operations, outcome.events), (2, 0));
    }

    #[test]
    fn a_place_far_away_is_remembered_with_its_call() {
        let touch = |core, at| {
            format!("{}I  {at},3\n M 1000,8\n{}", mark(Mark::Begin(core)), mark(Mark::End))
        };
        let trace =
            mark(Mark::Measure) + &touch(0, "4000") + &touch(1, "7004000") + &touch(2, "7004003");
        let outcome = simulate(trace.as_bytes(), |_| {}).unwrap();
        let place = |at| Place { at, from: 0x4000 };
        assert_eq!(outcome.places, HashMap::from([(place(0x700_4000), 1), (place(0x700_4003), 1)]));
    }

    #[test]
    fn other_text_is_handed_on() {
        let mut other = Vec::new();
        let trace = "==7== Lackey\nI  04001000,3\n L 1ffe,8\n?? \n";
        simulate(trace.as_bytes(), |line| other.push(line.to_owned())).unwrap();
        assert_eq!(other, ["==7== Lackey\n", "?? \n"]);
        assert_eq!(access(b" M 1ffeffe7e0,16\n"), Some((b'M', 0x1f_feff_e7e0, 16)));
    }
}
