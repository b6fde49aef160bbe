//! Statistics and entities as texts; giving memory back.

use super::program::{Fault, Place};
use super::{World, call, expect};
use rtm::*;
use std::collections::BTreeSet;
use std::ffi::c_char;

/// Enough for all statistics, and for every line of an entity.
const WHOLE: usize = 8192;
const LINE: usize = 512;

/// Where a text goes and how much room it has; the arguments of both functions.
struct Room {
    buffer: Place<c_char>,
    size: Place<UINT>,
    given: usize,
}

impl Room {
    fn new(given: usize, buffer: Fault, size: Fault) -> Room {
        // Characters are never misaligned.
        let buffer = if buffer == Fault::Odd { Fault::None } else { buffer };
        let size = Place::holding(&[given as UINT], size);
        Room { buffer: Place::new(given, buffer), size, given }
    }

    fn is_bad(&self) -> bool {
        self.size.is_bad() || (self.given != 0 && self.buffer.is_null())
    }

    fn assert_untouched(&self) {
        self.buffer.assert_untouched();
        self.size.assert_untouched();
    }

    /// How much room the text needs.
    fn needed(&self) -> usize {
        self.buffer.assert_untouched();
        let needed = self.size.get(0) as usize;
        assert!(needed > self.given, "DIVERGENCE: {needed} bytes do not fit into {}", self.given);
        needed
    }

    fn text(&self) -> String {
        let size = self.size.get(0) as usize;
        assert!((1..=self.given).contains(&size), "DIVERGENCE: a text of {size} bytes");
        let (text, end) = self.buffer.bytes()[..size].split_at(size - 1);
        assert!(end == [0] && !text.contains(&0), "DIVERGENCE: a text does not end where it does");
        String::from_utf8(text.to_vec()).expect("DIVERGENCE: no UTF-8")
    }
}

impl World {
    /// Either function, with any arguments.
    pub(super) fn format(&self) {
        let program = &self.program;
        let format = u32::from(program.byte() % 5);
        let given = [WHOLE, LINE, 0, 1, 2, 40, 100, 1000][usize::from(program.byte() % 8)];
        let faults = program.faults();
        let room = Room::new(given, faults.next(), faults.next());
        if program.byte().is_multiple_of(2) {
            self.format_statistics(format, &room);
        } else {
            let position = Place::holding(&[program.word()], faults.next());
            self.format_entities(format, &position, &room);
        }
    }

    fn format_statistics(&self, format: UINT, room: &Room) {
        let allowed: &[DWORD] = match (room.is_bad(), format, room.given) {
            (true, ..) => &[ERROR_INVALID_PARAMETER],
            (_, 3.., _) => &[ERROR_NOT_SUPPORTED],
            (.., 0..=100) => &[ERROR_INSUFFICIENT_BUFFER],
            (.., WHOLE..) => &[NO_ERROR],
            _ => &[NO_ERROR, ERROR_INSUFFICIENT_BUFFER],
        };
        let code = call!(RtmxFormatStatistics(format, room.buffer.pointer(), room.size.pointer()));
        expect("format statistics", code, allowed);
        match code {
            NO_ERROR => {
                let (text, live) = (room.text(), self.model().alive.len());
                assert!(text.contains("live"), "DIVERGENCE: {live} live: {text}");
            }
            ERROR_INSUFFICIENT_BUFFER => assert!(room.needed() <= WHOLE),
            _ => room.assert_untouched(),
        }
    }

    fn format_entities(&self, format: UINT, position: &Place<ULONGLONG>, room: &Room) {
        let (at, size) = (position.pointer(), room.size.pointer());
        let code = call!(RtmxFormatEntities(format, at, room.buffer.pointer(), size));
        let allowed: &[DWORD] = match (room.is_bad() || position.is_bad(), format, room.given) {
            (true, ..) => &[ERROR_INVALID_PARAMETER],
            (_, 2.., _) => &[ERROR_NOT_SUPPORTED],
            (.., 0) => &[ERROR_INSUFFICIENT_BUFFER],
            (.., LINE..) => &[NO_ERROR],
            _ => &[NO_ERROR, ERROR_INSUFFICIENT_BUFFER],
        };
        expect("format entities", code, allowed);
        match code {
            NO_ERROR => _ = self.described(&room.text()),
            ERROR_INSUFFICIENT_BUFFER => {
                position.assert_untouched();
                assert!(room.needed() <= LINE);
            }
            _ => {
                position.assert_untouched();
                room.assert_untouched();
            }
        }
        if code == NO_ERROR {
            self.walk_descriptions(format, room.given);
        }
    }

    /// All parts from the first to the last: who is there is in one of them.
    fn walk_descriptions(&self, format: UINT, given: usize) {
        let position = Place::holding(&[0_u64], Fault::None);
        let mut seen = BTreeSet::new();
        loop {
            let room = Room::new(given.max(LINE), Fault::None, Fault::None);
            let (buffer, size) = (room.buffer.pointer(), room.size.pointer());
            let code = call!(RtmxFormatEntities(format, position.pointer(), buffer, size));
            expect("format entities", code, &[NO_ERROR]);
            for handle in self.described(&room.text()) {
                assert!(seen.insert(handle), "DIVERGENCE: {handle:#x} is described twice");
            }
            if position.get(0) == 0 {
                break;
            }
        }
        for handle in &self.model().alive {
            assert!(seen.contains(handle), "DIVERGENCE: {handle:#x} is not described");
        }
    }

    /// The entities of these lines.
    fn described(&self, lines: &str) -> Vec<u64> {
        assert!(lines.is_empty() || lines.ends_with('\n'), "DIVERGENCE: half a line: {lines}");
        let handle = |line: &str| {
            let hex = line.split_once("0x").map(|(_, rest)| rest);
            let digits =
                hex.and_then(|hex| hex.split(|other: char| !other.is_ascii_hexdigit()).next());
            digits.and_then(|digits| u64::from_str_radix(digits, 16).ok())
        };
        let handles: Vec<_> = lines.lines().map(|line| handle(line).expect("a handle")).collect();
        let model = self.model();
        for handle in &handles {
            assert!(model.entities.contains_key(handle), "DIVERGENCE: {handle:#x} was never given");
        }
        handles
    }

    pub(super) fn trim(&self) {
        let bytes = Place::<ULONGLONG>::new(1, self.program.faults().next());
        let code = call!(RtmxTrim(bytes.pointer()));
        let allowed = if bytes.is_odd() { ERROR_INVALID_PARAMETER } else { NO_ERROR };
        expect("trim", code, &[allowed]);
        if bytes.is_bad() {
            return bytes.assert_untouched();
        }
        assert!(bytes.get(0).is_multiple_of(4096), "DIVERGENCE: {} bytes given back", bytes.get(0));
    }
}
