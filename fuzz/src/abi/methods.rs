//! Invoking methods, and blocking them.

use super::client::METHODS;
use super::model::Part;
use super::program::Place;
use super::{World, call, expect, to_c};
use rtm::*;
use std::cell::RefCell;
use std::mem::offset_of;

/// An invocation under way, and what it should come to.
pub(super) struct Invocation {
    caller: u64,
    callee: u64,
    input: *mut RTM_ENTITY_METHOD_INPUT,
    expected: RefCell<Expected>,
}

struct Expected {
    /// The caller's buffer.
    bytes: Vec<u8>,
    used: usize,
    /// Methods that have not run.
    left: u32,
}

const HEAD: usize = offset_of!(RTM_ENTITY_METHOD_OUTPUT, OutputData);

impl Expected {
    fn room(&self) -> usize {
        self.bytes.len() - self.used
    }
}

impl World {
    pub(super) fn invoke(&self) {
        let program = &self.program;
        let caller = self.entity();
        let (callee, faults) = (self.other(caller), program.faults());
        let mask = u32::from(program.byte());
        let wanted = match program.byte() {
            0..0x80 => mask,
            0x80..0xc0 => u32::MAX,
            shift => mask.rotate_left(shift.into()),
        };
        let room = u32::from(program.byte());
        let input = Place::<u32>::holding(&[wanted, 4, 0x1234], faults.next());
        let size = Place::<u32>::holding(&[room], faults.next());
        let output =
            Place::<RTM_ENTITY_METHOD_OUTPUT>::of_bytes(vec![7; room as usize], faults.next());

        let bad_pointer = input.is_bad() || size.is_bad() || output.is_bad();
        let table = self.caller(caller);
        let mut left = 0;
        let refused = {
            let model = self.model();
            let known = model.live(callee).filter(|known| Some(known.table) == table);
            match known {
                _ if table.is_none() => Some(ERROR_INVALID_HANDLE),
                _ if bad_pointer || wanted == 0 => Some(ERROR_INVALID_PARAMETER),
                None => Some(ERROR_INVALID_HANDLE),
                Some(known) if known.exported() & wanted == 0 => Some(ERROR_NOT_FOUND),
                Some(known) if known.blocked && !model.in_method_of(callee) => {
                    Some(ERROR_POSSIBLE_DEADLOCK)
                }
                Some(known) => {
                    left = known.exported() & wanted;
                    None
                }
            }
        };
        let expected = Expected { bytes: output.bytes().to_vec(), used: 0, left };
        let expected = RefCell::new(expected);
        let invocation = Invocation { caller, callee, input: input.pointer().cast(), expected };
        let around = self.invocation.replace(&invocation);
        if refused.is_none() {
            self.change().enter(callee, Part::Method);
        }
        let (from, to) = (invocation.input, output.pointer());
        let code = call!(RtmInvokeMethod(to_c(caller), to_c(callee), from, size.pointer(), to));
        self.invocation.set(around);
        if refused.is_none() {
            self.change().leave();
        }
        let expected = invocation.expected.into_inner();
        let done = match expected.left {
            0 => NO_ERROR,
            _ => ERROR_INSUFFICIENT_BUFFER,
        };
        expect("invoke", code, &[refused.unwrap_or(done)]);
        if expected.left != 0 {
            assert!(
                expected.room() < HEAD,
                "DIVERGENCE: methods {:#x} have not run",
                expected.left
            );
        }
        input.assert_untouched();
        assert!(output.bytes() == expected.bytes, "DIVERGENCE: the output of methods");
        match refused {
            None => assert_eq!(size.get(0) as usize, expected.used, "DIVERGENCE: bytes of output"),
            Some(ERROR_NOT_FOUND) => assert_eq!(size.get(0), 0, "DIVERGENCE: bytes of output"),
            Some(_) => size.assert_untouched(),
        }
    }

    pub(super) fn run_method(
        &self,
        number: u32,
        caller: u64,
        callee: u64,
        input: *mut RTM_ENTITY_METHOD_INPUT,
        output: *mut RTM_ENTITY_METHOD_OUTPUT,
    ) {
        // SAFETY: set while an invocation is under way.
        let invocation = unsafe { self.invocation.get().as_ref() };
        let invocation = invocation.expect("DIVERGENCE: a method runs, and nobody invokes");
        assert_eq!((caller, callee), (invocation.caller, invocation.callee), "DIVERGENCE: who");
        assert_eq!(input, invocation.input, "DIVERGENCE: the input of a method");
        assert!(output.is_aligned(), "DIVERGENCE: a record is misaligned");
        let (bit, room) = {
            let mut expected = invocation.expected.borrow_mut();
            let bit = expected.left & expected.left.wrapping_neg();
            expected.left ^= bit;
            (bit, expected.room())
        };
        assert_eq!(
            bit.trailing_zeros() % METHODS,
            number,
            "DIVERGENCE: method {bit:#x} is not due"
        );
        // SAFETY: a record with that much room, as the library says.
        let record = unsafe { std::slice::from_raw_parts_mut(output.cast::<u8>(), room) };
        let head: Vec<u8> = [bit, NO_ERROR, (room - HEAD) as u32]
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .collect();
        assert_eq!(record[..HEAD], head, "DIVERGENCE: the head of method {bit:#x}'s record");
        {
            let expected = invocation.expected.borrow();
            let data = &expected.bytes[expected.used + HEAD..];
            assert!(record[HEAD..] == *data, "DIVERGENCE: what a record holds before its method");
        }
        let room = room - HEAD;

        self.nested();

        let program = &self.program;
        let mut status = u32::from(program.byte());
        let says = match program.byte() {
            byte @ 0..0x80 => u32::from(byte % 32),
            0x80..0xa0 => room as u32,
            byte => room as u32 + u32::from(byte) - 0xa0,
        };
        let size = room.min(says as usize);
        record[HEAD..HEAD + size].fill(status as u8 ^ 0x5a);
        record[4..8].copy_from_slice(&status.to_le_bytes());
        record[8..12].copy_from_slice(&says.to_le_bytes());

        if says as usize > room {
            status = ERROR_INSUFFICIENT_BUFFER;
        }
        let mut expected = invocation.expected.borrow_mut();
        let used = expected.used;
        let fill = record[HEAD..HEAD + size].to_vec();
        let place = &mut expected.bytes[used..used + HEAD + size];
        place[..4].copy_from_slice(&bit.to_le_bytes());
        place[4..8].copy_from_slice(&status.to_le_bytes());
        place[8..12].copy_from_slice(&(size as u32).to_le_bytes());
        place[HEAD..].copy_from_slice(&fill);
        expected.used += HEAD + size;
    }

    pub(super) fn block(&self) {
        let (caller, what) = (self.entity(), self.program.byte());
        let flag = if what < 0xf0 { u32::from(what & 1) } else { what.into() };
        let kind = if what & 0x1c == 0x1c { 2 } else { 0 };
        let target = if what & 0x62 == 0x62 { self.entity() } else { 0 };
        let blocks = flag == RTM_BLOCK_METHODS;
        let allowed = {
            let model = self.model();
            match model.live(caller) {
                None => ERROR_INVALID_HANDLE,
                Some(_) if flag > 1 => ERROR_INVALID_PARAMETER,
                Some(_) if kind != 0 || target != 0 => ERROR_NOT_SUPPORTED,
                Some(_) if blocks && (model.is_inside() || model.in_method_of(caller)) => {
                    ERROR_POSSIBLE_DEADLOCK
                }
                Some(_) => NO_ERROR,
            }
        };
        let code = call!(RtmBlockMethods(to_c(caller), to_c(target), kind, flag));
        expect("block", code, &[allowed]);
        if code == NO_ERROR {
            let mut model = self.change();
            let entity = model.entities.get_mut(&caller).expect("live");
            entity.blocked = blocks && entity.exported() != 0;
        }
    }
}
