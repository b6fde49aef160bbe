//! Statistics and entities as texts in the caller's memory: nothing is allocated for them.

use crate::boundary::{Outcome, call, required};
use crate::manager;
use crate::spares::Membership;
use crate::tuning::figures;
use crate::types::*;
use rtm_core::{Description, Figure, FigureKind, Format, Statistics};
use std::ffi::c_char;
use std::fmt::{self, Write};
use std::ptr;

/// A text on its way into the caller's memory.
struct Room {
    buffer: *mut u8,
    /// Bytes of the buffer.
    size: usize,
    /// Bytes of the text; what does not fit is counted and not written.
    length: usize,
}

impl Write for Room {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.length.checked_add(text.len()).ok_or(fmt::Error)?;
        if end < self.size {
            // SAFETY: the caller's buffer is so large.
            let place = unsafe { self.buffer.add(self.length) };
            // SAFETY: as above; a text of ours does not overlap it.
            unsafe { ptr::copy_nonoverlapping(text.as_ptr(), place, text.len()) };
        }
        self.length = end;
        Ok(())
    }
}

/// The length of what `write` writes.
fn length(write: impl FnOnce(&mut Room) -> fmt::Result) -> Result<usize, DWORD> {
    let mut room = Room { buffer: ptr::null_mut(), size: 0, length: 0 };
    write(&mut room).map_err(|fmt::Error| ERROR_INTERNAL_ERROR)?;
    Ok(room.length)
}

/// The caller's buffer and its size, which is to be replaced by that of the text.
///
/// # Safety
/// `size` is NULL or leads to a UINT, `buffer` to so many bytes if they are not 0.
unsafe fn room(buffer: *mut c_char, size: PUINT) -> Result<Room, DWORD> {
    required(size)?;
    // SAFETY: checked above.
    let given = unsafe { size.read() } as usize;
    if given != 0 {
        required(buffer)?;
    }
    Ok(Room { buffer: buffer.cast(), size: given, length: 0 })
}

impl Room {
    /// Ends the text and says how long it is with its NUL.
    ///
    /// # Safety
    /// `size` leads to a UINT.
    unsafe fn finish(self, size: PUINT) -> Outcome {
        // SAFETY: whoever wrote has left room.
        let end = unsafe { self.buffer.add(self.length) };
        // SAFETY: as above.
        unsafe { end.write(0) };
        // SAFETY: as the caller promises; no longer than the size, which is a UINT.
        unsafe { size.write(self.length as UINT + 1) };
        Ok(())
    }
}

/// Says how much room a text of this length needs.
///
/// # Safety
/// `size` leads to a UINT.
unsafe fn too_small(length: usize, size: PUINT) -> Outcome {
    let needed = UINT::try_from(length + 1).unwrap_or(UINT::MAX);
    // SAFETY: as the caller promises.
    unsafe { size.write(needed) };
    Err(ERROR_INSUFFICIENT_BUFFER)
}

/// Writes the figures of RtmxGetStatistics, and some more, as a text.
///
/// @param Format  in: RTMX_TEXT: a line for each figure, its name and its value; RTMX_JSON: one object in one
///   line; RTMX_PROMETHEUS: what Prometheus scrapes (text format 0.0.4, Content-Type text/plain;
///   version=0.0.4): each figure with its help and its type, names beginning with rtm_, those of counters ending
///   with _total.
/// @param Buffer  out: the text, with a NUL behind it. May be NULL if Size leads to 0.
/// @param Size    in: bytes of Buffer; out: bytes of the text with its NUL, also if they do not fit. Required.
///
/// @return NO_ERROR;
///   ERROR_INSUFFICIENT_BUFFER the text does not fit: Size says how many bytes it needs, Buffer is untouched.
///   Figures change meanwhile: give some bytes more. 8,192 are enough for every format of this version;
///   ERROR_NOT_SUPPORTED no such format;
///   ERROR_INVALID_PARAMETER Size NULL or misaligned, or Buffer NULL with a size above 0.
///
/// Each figure is exact for itself; they are read one after the other. Any thread. Walks all threads' records
/// and all tables; blocks shortly. Allocates nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn RtmxFormatStatistics(
    Format: UINT,
    Buffer: *mut c_char,
    Size: PUINT,
) -> DWORD {
    call(|| {
        // SAFETY: as the caller promises.
        let mut room = unsafe { room(Buffer, Size) }?;
        let format = match Format {
            RTMX_TEXT => Format::Text,
            RTMX_JSON => Format::Json,
            RTMX_PROMETHEUS => Format::Prometheus(&[]),
            _ => return Err(ERROR_NOT_SUPPORTED),
        };
        let all = all_figures();
        let length = length(|room| format.write(all.clone(), room))?;
        if length >= room.size {
            // SAFETY: checked above.
            return unsafe { too_small(length, Size) };
        }
        format.write(all, &mut room).map_err(|fmt::Error| ERROR_INTERNAL_ERROR)?;
        // SAFETY: checked above.
        unsafe { room.finish(Size) }
    })
}

/// Core's figures and ours.
fn all_figures() -> impl Iterator<Item = Figure> + Clone {
    let (core, ours) = match manager::existing() {
        None => (Statistics::default(), RTMX_STATISTICS::default()),
        Some(manager) => {
            let core = manager.registry.statistics();
            (core, figures(manager, core))
        }
    };
    let gauge = |name, help, value| Figure { name, help, kind: FigureKind::Gauge, value };
    core.figures().chain([
        gauge(
            "event_threads",
            "Threads of the library that run callbacks (rtm-event-N).",
            ours.EventThreads,
        ),
        gauge("event_queues", "Event queues that the application has made.", ours.EventQueues),
    ])
}

/// Describes all entities of all tables, a part at each call, for people and programs that want to know what is
/// going on: registered ones, and departed ones of which something is left.
///
/// One line for each entity. As RTMX_TEXT, words name=value between spaces:
///
///   handle=0x... table=N/inet|inet6 id=0x... state=WORD references=N
///
/// The table is an instance and a family. States are registered; departing: deregistered and not cleaned up,
/// its code runs, or a read section might have its context, or the cleanup is still due; referenced: cleaned
/// up, and described to holders of references; held: cleaned up, without references, and described to
/// listeners who have not been told that it has gone. (RTMX_STATISTICS.Referenced counts those that have gone
/// and whose references are not 0.) Then, as it applies: untold, a listener has not been told that it has
/// gone; methods=open|blocked, and invocations=N, the calls inside its methods; lag=N, events that its
/// callback has not consumed, and told=now|no, whether a thread is at its callback; running=N, how many run
/// its code in all, or running=? for one that departs and that no RtmDeregisterEntity waits for; awaited, one
/// does. As RTMX_JSON, the same as an object, handle and id in strings; its members say the rest by true and
/// false. More words, states and members may come.
///
/// @param Format    in: RTMX_TEXT or RTMX_JSON.
/// @param Position  in: 0 for the first part, then what the call before left there; out: where the next part
///   begins, 0 if this was the last. Required.
/// @param Buffer    out: as many whole lines as fit, each with its end, and a NUL; an empty text if there are
///   none. May be NULL if Size leads to 0.
/// @param Size      in: bytes of Buffer; out: bytes of the text with its NUL. Required.
///
/// @return NO_ERROR;
///   ERROR_INSUFFICIENT_BUFFER not even the next line fits: Size says how many bytes it needs, all else is
///   untouched. 512 are enough for every line of this version;
///   ERROR_NOT_SUPPORTED no such format, or one that does not describe entities;
///   ERROR_INVALID_PARAMETER Position or Size NULL or misaligned, or Buffer NULL with a size above 0;
///   ERROR_NOT_ENOUGH_MEMORY (only in a thread's first call, and only while others use what is put by for that).
///
/// An entity that is there from the first part to the last is shown exactly once, others at most once. A line is
/// of one moment, its figures of methods and events of several, and all lines together of none. The library
/// keeps nothing between two calls: they may be of different threads, and need not go on to the end.
///
/// Any thread; allowed everywhere that a look-up is. Lock-free, but for locks that are held shortly; keeps nobody
/// from registering or deregistering. Allocates only in a thread's first call; see WHEN MEMORY RUNS OUT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn RtmxFormatEntities(
    Format: UINT,
    Position: *mut ULONGLONG,
    Buffer: *mut c_char,
    Size: PUINT,
) -> DWORD {
    call(|| {
        required(Position)?;
        // SAFETY: as the caller promises.
        let mut room = unsafe { room(Buffer, Size) }?;
        let write: fn(&Description, &mut Room) -> fmt::Result = match Format {
            RTMX_TEXT => |seen, room| writeln!(room, "{seen}"),
            RTMX_JSON => |seen, room| writeln!(room, "{}", seen.json()),
            _ => return Err(ERROR_NOT_SUPPORTED),
        };
        // SAFETY: checked above.
        let from = unsafe { Position.read() };
        let mut next = 0;
        if let Some(manager) = manager::existing().filter(|manager| manager.spares.are_there()) {
            let participant = Membership::try_get(manager)?;
            let from = u32::try_from(from).unwrap_or(u32::MAX);
            let mut all = participant.descriptions_from(from);
            loop {
                let at = all.position();
                let Some(seen) = all.next() else { break };
                let line = length(|room| write(&seen, room))?;
                if room.length + line >= room.size {
                    if room.length == 0 {
                        // SAFETY: checked above.
                        return unsafe { too_small(line, Size) };
                    }
                    next = at;
                    break;
                }
                write(&seen, &mut room).map_err(|fmt::Error| ERROR_INTERNAL_ERROR)?;
            }
        }
        if room.size == 0 {
            // SAFETY: checked above.
            return unsafe { too_small(0, Size) };
        }
        // SAFETY: checked above.
        unsafe { Position.write(next.into()) };
        // SAFETY: checked above.
        unsafe { room.finish(Size) }
    })
}
