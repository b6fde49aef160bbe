//! Exported methods: their table, invoking them, blocking them.
//!
//! *Client code* is called from `RtmInvokeMethod`'s frame, which owns nothing: one call of the boundary
//! before the first method, one after each. What is under way hangs on the thread's record: the
//! invocation, kept on the participant (innermost last), and a place for output records. A thread
//! that ends inside a method releases both with its record.
//!
//! *Cancellation.* Invoking makes no system call but a futex's, which is no cancellation point: it is not
//! kept off for the two calls of the boundary, which would cost a tenth of an invocation.

use crate::boundary::{Outcome, call, handle, required, required_array, without_cancellation};
use crate::entities::{caller, same_table};
use crate::thread::{self, Record};
use crate::types::*;
use rtm_core::{BlockError, InvokeError};
use std::cell::{Cell, RefCell};
use std::mem::offset_of;
use std::ptr;

/// Tells the methods that an entity exports.
///
/// @param RtmRegHandle  in: the caller's registration.
/// @param EntityHandle  in: the entity, of the same table; may be the caller itself.
/// @param NumMethods    in: capacity of the array, 0 to ask for the number only; out: number of methods,
///   holes included, or, if the capacity was too small, number stored. Required.
/// @param ExptMethods   out: the methods, NULL where there is a hole; may be NULL if the capacity is 0.
///
/// @return NO_ERROR all are stored, or the capacity was 0;
///   ERROR_INSUFFICIENT_BUFFER the capacity was above 0 and too small: that many are stored;
///   ERROR_INVALID_HANDLE a handle is bad, or the entity has been deregistered;
///   ERROR_INVALID_PARAMETER NumMethods NULL or misaligned, or ExptMethods with a capacity above 0;
///   ERROR_NOT_ENOUGH_MEMORY (only in a thread's first call). On the last three nothing is written.
///
/// Never call a returned pointer yourself: only RtmInvokeMethod makes sure that the entity is still there.
/// Takes no reference; the pointers stay the exporting client's. Any thread; allowed in a section, a
/// callback, a method, a cleanup. Wait-free; allocates only in a thread's first call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn RtmGetEntityMethods(
    RtmRegHandle: RTM_ENTITY_HANDLE,
    EntityHandle: RTM_ENTITY_HANDLE,
    NumMethods: PUINT,
    ExptMethods: PRTM_ENTITY_EXPORT_METHOD,
) -> DWORD {
    call(|| {
        let (manager, _, table) = caller(RtmRegHandle)?;
        required(NumMethods)?;
        // SAFETY: checked above.
        let capacity = unsafe { NumMethods.read() };
        required_array(ExptMethods, capacity)?;
        let entity = handle(EntityHandle)?;
        same_table(manager, entity, table)?;
        let participant = thread::record(manager)?.section.participant();
        let guard = participant.enter();
        let found = guard.get(entity).map_err(|_| ERROR_INVALID_HANDLE)?;
        let methods = found.payload().methods();
        let number = methods.len() as UINT;
        let stored = number.min(capacity);
        for (index, method) in methods[..stored as usize].iter().enumerate() {
            // SAFETY: below the capacity that the caller gives.
            let place = unsafe { ExptMethods.add(index) };
            // SAFETY: as above.
            unsafe { place.write(*method) };
        }
        let told = if capacity == 0 { number } else { stored };
        // SAFETY: checked above.
        unsafe { NumMethods.write(told) };
        if capacity != 0 && stored < number { Err(ERROR_INSUFFICIENT_BUFFER) } else { Ok(()) }
    })
}

/// Runs methods of an entity on the calling thread, one after the other in ascending order of their bits,
/// and collects their output.
///
/// @param RtmRegHandle  in: the caller's registration.
/// @param EntityHandle  in: the entity, of the same table; may be the caller itself.
/// @param Input         in: MethodType says which methods (bits that are holes or beyond the table are
///   skipped); the rest is theirs. Each of them gets this very structure. Required.
/// @param OutputSize    in: bytes at Output; out: bytes used. Required.
/// @param Output        out: records, one for each method that ran, without padding between them: the
///   next one is offsetof(RTM_ENTITY_METHOD_OUTPUT, OutputData) (12) + OutputSize bytes further, and thus
///   aligned only if all sizes before it are. Required.
///
/// Each method is given a 4-byte aligned record with MethodType = its bit, MethodStatus = NO_ERROR and
/// OutputSize = the room for data, which it replaces by what it used; if it does not, all room counts as
/// used. A size beyond the room is cut to it, and MethodStatus becomes ERROR_INSUFFICIENT_BUFFER. A method
/// that fails does not stop the others.
///
/// @return NO_ERROR every selected method ran;
///   ERROR_INVALID_HANDLE a handle is bad, or the entity is being deregistered or gone, also while the
///   call waits: then no method ran;
///   ERROR_INVALID_PARAMETER Input, OutputSize or Output NULL or misaligned, or Input->MethodType 0;
///   ERROR_NOT_FOUND the entity exports none of the methods; *OutputSize is set to 0;
///   ERROR_INSUFFICIENT_BUFFER no room for the next record: those before it are there, and *OutputSize
///   covers them;
///   ERROR_POSSIBLE_DEADLOCK the entity's methods are blocked, and the call would wait for this very thread:
///   it blocked them itself, or waiting would close a circle of threads that wait for client code, or
///   it is inside a read section;
///   ERROR_NOT_ENOUGH_MEMORY; as on ERROR_INSUFFICIENT_BUFFER if some methods have run, else nothing is
///   written.
///
/// Waits, without limit, while the entity's methods are blocked (RtmBlockMethods); else lock-free. No lock
/// of the library is held while a method runs, and the entity's deregistration is not complete before it
/// has returned. Any number of threads may invoke at once. A method may call anything but the waiting
/// functions and may invoke further methods, also its own entity's; see WHAT MAY BE CALLED WHERE. A method
/// may end its thread (pthread_exit, deferred cancellation): then the invocation is over. Allocates in a
/// thread's first call, and when a record is not aligned, which also costs a copy of the room that is left.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn RtmInvokeMethod(
    RtmRegHandle: RTM_ENTITY_HANDLE,
    EntityHandle: RTM_ENTITY_HANDLE,
    Input: PRTM_ENTITY_METHOD_INPUT,
    OutputSize: PUINT,
    Output: PRTM_ENTITY_METHOD_OUTPUT,
) -> DWORD {
    let request = Request { RtmRegHandle, EntityHandle, Input, OutputSize, Output };
    let mut running = Running::NOTHING;
    // SAFETY: the caller's pointers, as the header asks for.
    let mut code = call(|| unsafe { running.begin(&request) });
    while let Some(method) = running.method.take() {
        // SAFETY: the client gave the function for this use; the record is large enough for what it
        // says.
        unsafe { method(RtmRegHandle, EntityHandle, Input, running.record) };
        // SAFETY: as above; the method has returned.
        code = call(|| unsafe { running.proceed(&request) });
    }
    code
}

struct Request {
    RtmRegHandle: RTM_ENTITY_HANDLE,
    EntityHandle: RTM_ENTITY_HANDLE,
    Input: PRTM_ENTITY_METHOD_INPUT,
    OutputSize: PUINT,
    Output: PRTM_ENTITY_METHOD_OUTPUT,
}

type Method = unsafe extern "C" fn(
    RTM_ENTITY_HANDLE,
    RTM_ENTITY_HANDLE,
    *mut RTM_ENTITY_METHOD_INPUT,
    *mut RTM_ENTITY_METHOD_OUTPUT,
);

/// Bytes of a record before its data.
const HEAD: u32 = offset_of!(RTM_ENTITY_METHOD_OUTPUT, OutputData) as u32;

/// An invocation under way. Plain data: dropping it does nothing.
struct Running {
    /// The method to call next, with the record to give it.
    method: Option<Method>,
    record: *mut RTM_ENTITY_METHOD_OUTPUT,
    /// The calling thread's.
    thread: Option<&'static Record>,
    /// The callee's table, which stays while the invocation does.
    methods: *const RTM_ENTITY_EXPORT_METHOD,
    /// Bits of the methods that are to run.
    left: RTM_ENTITY_METHOD_TYPE,
    /// Where the next record goes, and bytes there.
    place: *mut u8,
    room: u32,
    used: u32,
    /// Which of the thread's scratch places is ours.
    level: usize,
}

impl Running {
    const NOTHING: Running = Running {
        method: None,
        record: ptr::null_mut(),
        thread: None,
        methods: ptr::null(),
        left: 0,
        place: ptr::null_mut(),
        room: 0,
        used: 0,
        level: 0,
    };

    /// Checks the request, begins the invocation and finds the first method.
    ///
    /// # Safety
    /// The request's pointers are NULL or lead to what the header says.
    unsafe fn begin(&mut self, request: &Request) -> Outcome {
        let (manager, _, table) = caller(request.RtmRegHandle)?;
        required(request.Input)?;
        required(request.OutputSize)?;
        required(request.Output)?;
        // SAFETY: checked above.
        let wanted = unsafe { (*request.Input).MethodType };
        if wanted == 0 {
            return Err(ERROR_INVALID_PARAMETER);
        }
        let callee = handle(request.EntityHandle)?;
        same_table(manager, callee, table)?;
        let thread = thread::record(manager)?;
        let selects = |client: &crate::client::Client| client.exported & wanted;
        let participant = thread.section.participant();
        let begun = participant.begin_invoke_if(callee, |client| selects(client) != 0);
        let selected = match &begun {
            Ok(invocation) => selects(invocation),
            Err(InvokeError::NoMethods) => 0,
            Err(InvokeError::InvalidHandle) => return Err(ERROR_INVALID_HANDLE),
            Err(InvokeError::WouldDeadlock) => return Err(ERROR_POSSIBLE_DEADLOCK),
            Err(InvokeError::OutOfMemory) => return Err(ERROR_NOT_ENOUGH_MEMORY),
        };
        let invocation = match begun {
            Ok(invocation) if selected != 0 => invocation,
            _ => {
                // SAFETY: checked above.
                unsafe { request.OutputSize.write(0) };
                return Err(ERROR_NOT_FOUND);
            }
        };
        self.methods = invocation.methods().as_ptr();
        invocation.keep();
        self.thread = Some(thread);
        self.level = thread.scratch.descend();
        // From here on a thread that ends ends the invocation, see `Record`.
        self.left = selected;
        self.place = request.Output.cast();
        // SAFETY: checked above.
        self.room = unsafe { request.OutputSize.read() };
        // SAFETY: the caller's.
        unsafe { self.next(request) }
    }

    /// Takes over what a method has left and finds the next one.
    ///
    /// # Safety
    /// `begin` has succeeded, and the method that it or this found has returned.
    unsafe fn proceed(&mut self, request: &Request) -> Outcome {
        let preset = self.room - HEAD;
        // SAFETY: the record that the method was given.
        let mut size = unsafe { (*self.record).OutputSize };
        if size > preset {
            size = preset;
            // SAFETY: as above.
            unsafe { (*self.record).OutputSize = size };
            // SAFETY: as above.
            unsafe { (*self.record).MethodStatus = ERROR_INSUFFICIENT_BUFFER };
        }
        let whole = HEAD + size;
        if self.record.cast::<u8>() != self.place {
            // SAFETY: the scratch place and the caller's have that many bytes and are not the same.
            unsafe { ptr::copy_nonoverlapping(self.record.cast(), self.place, whole as usize) };
        }
        // SAFETY: within the caller's buffer.
        self.place = unsafe { self.place.add(whole as usize) };
        self.room -= whole;
        self.used += whole;
        // SAFETY: the caller's.
        unsafe { self.next(request) }
    }

    /// Prepares the next method's record, or ends the invocation.
    ///
    /// # Safety
    /// The invocation has begun and no method is running.
    unsafe fn next(&mut self, request: &Request) -> Outcome {
        let outcome = if self.left == 0 {
            Ok(())
        } else if self.room < HEAD {
            Err(ERROR_INSUFFICIENT_BUFFER)
        } else {
            // SAFETY: there is room for a record's head.
            match unsafe { self.prepare() } {
                Ok(()) => return Ok(()),
                Err(code) => Err(code),
            }
        };
        if let Some(thread) = self.thread.take() {
            thread.section.participant().end_kept_invocation();
            thread.scratch.ascend(self.level);
        }
        if self.used != 0 || outcome != Err(ERROR_NOT_ENOUGH_MEMORY) {
            // SAFETY: checked by `begin`.
            unsafe { request.OutputSize.write(self.used) };
        }
        outcome
    }

    /// # Safety
    /// A method is left, and there is room for a record's head at `place`.
    unsafe fn prepare(&mut self) -> Outcome {
        let bit = self.left & self.left.wrapping_neg();
        self.record = self.place.cast();
        if !self.record.is_aligned() {
            let thread = self.thread.ok_or(ERROR_INTERNAL_ERROR)?;
            let scratch = thread.scratch.place(self.level, self.room as usize)?;
            // What the method does not write stays as the caller had it.
            // SAFETY: both have that many bytes and are not the same.
            unsafe { ptr::copy_nonoverlapping(self.place, scratch.cast(), self.room as usize) };
            self.record = scratch.cast();
        }
        let head = [bit, NO_ERROR, self.room - HEAD];
        // SAFETY: room for the head, aligned. Not the whole type, which is longer than the head.
        unsafe { self.record.cast::<[u32; 3]>().write(head) };
        // SAFETY: the callee exports this bit, so its table is that long.
        let entry = unsafe { self.methods.add(bit.trailing_zeros() as usize) };
        // SAFETY: as above; the table stays until the invocation ends.
        self.method = unsafe { entry.read() };
        self.left &= self.left - 1;
        Ok(())
    }
}

/// A thread's places for records that are not aligned in their caller's buffer: one for each invocation
/// that it is inside of. They stay for the next invocation unless they are large.
#[derive(Default)]
pub(crate) struct Scratch {
    /// Invocations that the thread is inside of.
    depth: Cell<usize>,
    places: RefCell<Vec<Vec<u32>>>,
}

/// Words of a place that is kept.
const KEPT: usize = 1 << 14;

impl Scratch {
    /// Invocations that the thread is inside of.
    pub(crate) fn depth(&self) -> usize {
        self.depth.get()
    }

    /// Begins an invocation. Gives its number.
    fn descend(&self) -> usize {
        let level = self.depth.get();
        self.depth.set(level + 1);
        level
    }

    /// Ends the invocation with this number.
    pub(crate) fn ascend(&self, level: usize) {
        self.depth.set(level);
        if let Some(place) = self.places.borrow_mut().get_mut(level)
            && place.capacity() > KEPT
        {
            *place = Vec::new();
        }
    }

    /// The invocation's place, with room for so many bytes. Whatever it was given before is gone.
    fn place(&self, level: usize, bytes: usize) -> Result<*mut u32, DWORD> {
        let mut places = self.places.borrow_mut();
        let missing = (level + 1).saturating_sub(places.len());
        places.try_reserve(missing).map_err(|_| ERROR_NOT_ENOUGH_MEMORY)?;
        for _ in 0..missing {
            places.push(Vec::new());
        }
        let place = &mut places[level];
        place.try_reserve_exact(bytes.div_ceil(4)).map_err(|_| ERROR_NOT_ENOUGH_MEMORY)?;
        Ok(place.as_mut_ptr())
    }
}

/// Blocks the caller's own methods, or lets invokers in again: for the time in which it rearranges what its
/// methods read. A switch, not a counter.
///
/// @param RtmRegHandle  in: the caller's registration.
/// @param TargetHandle  in: must be NULL; RTMv2 names destinations, routes and next hops here, and does
///   not support them.
/// @param TargetType    in: must be 0.
/// @param BlockingFlag  in: RTM_BLOCK_METHODS or RTM_RESUME_METHODS.
///
/// @return NO_ERROR also if they are blocked or resumed already, or if the entity has none;
///   ERROR_INVALID_HANDLE RtmRegHandle is not a live registration, also if it is deregistered while the call
///   waits;
///   ERROR_INVALID_PARAMETER another BlockingFlag;
///   ERROR_NOT_SUPPORTED a target;
///   ERROR_POSSIBLE_DEADLOCK blocking from inside a method of the entity, inside a read section, or where
///   waiting would close a circle of threads that wait for client code: nothing has changed;
///   ERROR_NOT_ENOUGH_MEMORY (only in a thread's first call).
///
/// Blocking returns when the methods that are running have returned. Invocations then wait until the methods
/// are resumed, by any thread, which lets all of them in at once, or until the entity is deregistered,
/// which fails them. Block shortly. The blocked state ends with the registration. Any thread; resuming is
/// lock-free and allowed everywhere.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn RtmBlockMethods(
    RtmRegHandle: RTM_ENTITY_HANDLE,
    TargetHandle: HANDLE,
    TargetType: UCHAR,
    BlockingFlag: DWORD,
) -> DWORD {
    without_cancellation(|| {
        call(|| {
            let (manager, own, _) = caller(RtmRegHandle)?;
            if BlockingFlag != RTM_BLOCK_METHODS && BlockingFlag != RTM_RESUME_METHODS {
                return Err(ERROR_INVALID_PARAMETER);
            }
            if !TargetHandle.is_null() || TargetType != 0 {
                return Err(ERROR_NOT_SUPPORTED);
            }
            let participant = thread::record(manager)?.section.participant();
            let done = match BlockingFlag {
                RTM_BLOCK_METHODS => participant.block_methods(own),
                _ => participant.resume_methods(own),
            };
            done.map_err(|error| match error {
                BlockError::InvalidHandle => ERROR_INVALID_HANDLE,
                BlockError::WouldDeadlock => ERROR_POSSIBLE_DEADLOCK,
            })
        })
    })
}
