//! Waiting for everybody, the end, figures, limits, texts; how a program begins and ends.

use super::context::{forget_told, log, logged, told};
use super::model::{Callback, Certainty, DEFAULT_LIMITS, Model};
use super::program::{Fault, Place};
use super::registering::Request;
use super::{World, call, expect};
use rtm::*;
use std::ffi::CStr;
use std::ptr;

/// All codes that have a text.
const CODES: [DWORD; 18] = [
    NO_ERROR,
    ERROR_FILE_NOT_FOUND,
    ERROR_ACCESS_DENIED,
    ERROR_INVALID_HANDLE,
    ERROR_NOT_ENOUGH_MEMORY,
    ERROR_INVALID_DATA,
    ERROR_NOT_SUPPORTED,
    ERROR_INVALID_PARAMETER,
    ERROR_INSUFFICIENT_BUFFER,
    ERROR_NOT_LOCKED,
    ERROR_BUSY,
    ERROR_ALREADY_EXISTS,
    ERROR_POSSIBLE_DEADLOCK,
    ERROR_NOT_FOUND,
    ERROR_INTERNAL_ERROR,
    ERROR_NO_SYSTEM_RESOURCES,
    ERROR_BAD_CONFIGURATION,
    ERROR_INVALID_STATE,
];

impl World {
    pub(super) fn synchronize(&self) {
        let refused = self.model().must_not_wait();
        let allowed = if refused { ERROR_POSSIBLE_DEADLOCK } else { NO_ERROR };
        expect("synchronize", call!(RtmxSynchronize()), &[allowed]);
    }

    pub(super) fn flush(&self) {
        let refused = self.model().must_not_wait();
        let allowed = if refused { ERROR_POSSIBLE_DEADLOCK } else { NO_ERROR };
        expect("flush", call!(RtmxFlush()), &[allowed]);
        if !refused {
            self.flushed();
        }
    }

    /// Nothing that has departed is left.
    fn flushed(&self) {
        let of_pool: Vec<u64> = {
            let model = self.model();
            let gone = |handle: &&u64| model.entities[*handle].callback == Callback::Pool;
            model.leaving.iter().filter(gone).copied().collect()
        };
        for listener in of_pool {
            told(listener, |told| told.over = true);
            self.check_told(listener);
        }
        self.change().flushed();
    }

    pub(super) fn shutdown(&self) {
        let allowed: &[DWORD] = {
            let model = self.model();
            if model.must_not_wait() {
                &[ERROR_POSSIBLE_DEADLOCK]
            } else if !model.alive.is_empty() || model.referenced() != 0 {
                &[ERROR_BUSY]
            } else if model.lingering(Certainty::Maybe) != 0 {
                &[ERROR_BUSY, NO_ERROR]
            } else {
                &[NO_ERROR]
            }
        };
        let code = call!(RtmxShutdown());
        expect("shutdown", code, allowed);
        if code == NO_ERROR {
            self.flushed();
            let now = self.model().now;
            *self.change() = Model::new(now);
        }
    }

    // --- Figures and limits ---

    pub(super) fn statistics(&self) {
        const WHOLE: usize = size_of::<RTMX_STATISTICS>();
        let size = self.size(WHOLE);
        let faults = self.program.faults();
        let place = Place::<RTMX_STATISTICS>::of_bytes(vec![1; size], faults.next());
        let bad = place.is_bad() || size == 0;
        let code = call!(RtmxGetStatistics(place.pointer(), size as UINT));
        expect("statistics", code, &[if bad { ERROR_INVALID_PARAMETER } else { NO_ERROR }]);
        if bad {
            return place.assert_untouched();
        }
        let rest = place.bytes().get(WHOLE..).unwrap_or_default();
        assert!(rest.iter().all(|byte| *byte == 0), "DIVERGENCE: figures that nobody knows");
        if size >= WHOLE {
            self.check_figures(&place.get(0));
        }
    }

    fn check_figures(&self, figures: &RTMX_STATISTICS) {
        let model = self.model();
        let count = |name: &str, figure: u64, least: u64, most: u64| {
            let range = least..=most;
            assert!(range.contains(&figure), "DIVERGENCE: {name} {figure}, not in {range:?}");
        };
        let (alive, counts) = (model.alive.len() as u64, &model.counts);
        let lingering = model.lingering(Certainty::Yes);
        let maybe = model.lingering(Certainty::Maybe);
        count("Live", figures.Live, alive + lingering, alive + lingering + maybe);
        count("Referenced", figures.Referenced, model.referenced(), model.referenced());
        count("Registered", figures.Registered, counts.registered, counts.registered);
        let departed = counts.departed - lingering;
        count("Deregistered", figures.Deregistered, departed - maybe, departed);
        // What is handed over just now may be seen on both sides.
        count("Retired", figures.Retired, 0, 2 * counts.departed);
        count("Reclaimed", figures.Reclaimed, 0, counts.departed);
        count("RetiredPeak", figures.RetiredPeak, figures.Retired, u64::MAX);
        count("ExhaustedSlots", figures.ExhaustedSlots, 0, 0);
        count("Bytes", figures.Bytes, figures.IndexBytes, u64::MAX);
        let tables = model.tables.union(&model.tables_maybe).count() as u64;
        count("Tables", figures.Tables, model.tables.len() as u64, tables);
        let readers = model.readers.values().filter(|reader| reader.depth != 0).count() as u64;
        let inside = readers + u64::from(model.own.depth != 0);
        // Threads of the library are inside one now and then.
        count("Inside", figures.Inside, inside, inside + 80);
        let listeners = model.listeners.len() as u64;
        count("Listeners", figures.Listeners, listeners, listeners);
        let queues = model.queues.len() as u64;
        count("EventQueues", figures.EventQueues, queues, queues);
        let most = |counted: u64| if model.pool_used { u64::MAX } else { counted };
        count("Events", figures.Events, counts.events, most(counts.events));
        count("EventsMissed", figures.EventsMissed, counts.missed, most(counts.missed));
    }

    /// A size that a caller says its structure has: mostly the right one.
    fn size(&self, whole: usize) -> usize {
        match self.program.byte() {
            0..0xc0 => whole,
            0xc0..0xd0 => 0,
            byte @ 0xd0..0xe0 => whole + usize::from(byte & 15),
            byte @ 0xe0..0xf0 => whole * usize::from(byte & 15) / 16,
            _ => 24,
        }
    }

    pub(super) fn get_limits(&self) {
        const WHOLE: usize = size_of::<RTMX_LIMITS>();
        let size = self.size(WHOLE);
        let place = Place::<RTMX_LIMITS>::of_bytes(vec![1; size], self.program.faults().next());
        let bad = place.is_bad() || size == 0;
        let code = call!(RtmxGetLimits(place.pointer(), size as UINT));
        expect("get limits", code, &[if bad { ERROR_INVALID_PARAMETER } else { NO_ERROR }]);
        if bad {
            return place.assert_untouched();
        }
        let mut known = limit_bytes(&self.model().limits);
        known.resize(size, 0);
        assert!(place.bytes() == known, "DIVERGENCE: the limits in force");
    }

    pub(super) fn set_limits(&self) {
        let program = &self.program;
        let mut limits = self.model().limits;
        for _ in 0..program.byte() % 4 {
            let field = program.byte() % 8;
            let of = |list: &[u32]| list[usize::from(program.byte()) % list.len()];
            match field {
                0 => limits.MaxEntities = of(&[1 << 28, 0, 1, 4, (1 << 28) + 1]),
                1 => limits.MaxInstances = of(&[1 << 16, 0, 1, 2]),
                2 => limits.MaxReferences = of(&[(1 << 28) - 1, 0, 1, 3, 1 << 28]),
                3 => limits.MaxOpaquePointers = of(&[1024, 0, 1]),
                4 => limits.MaxBacklog = of(&[1 << 20, 0, 2, 300]).into(),
                5 => limits.MaxJournal = of(&[1 << 20, 0, 1, 512, 1 << 23, (1 << 23) + 1]).into(),
                6 => limits.IdleEventThreads = of(&[2, 0, 1]),
                _ => limits.MaxEventThreads = of(&[64, 0, 1]),
            }
        }
        let size = self.size(size_of::<RTMX_LIMITS>());
        self.set_limits_to(&limits, size, program.byte() & 1, program.faults().next());
    }

    /// `beyond`: what stands in the bytes that nobody knows.
    fn set_limits_to(&self, limits: &RTMX_LIMITS, size: usize, beyond: u8, fault: Fault) {
        const WHOLE: usize = size_of::<RTMX_LIMITS>();
        let mut bytes = limit_bytes(limits);
        bytes.resize(size, beyond);
        let place = Place::<RTMX_LIMITS>::of_bytes(bytes, fault);
        let mut new = *limits;
        if size == 24 {
            let now = self.model().limits;
            new.MaxJournal = now.MaxJournal;
            new.IdleEventThreads = now.IdleEventThreads;
            new.MaxEventThreads = now.MaxEventThreads;
        }
        let too_much = new.MaxEntities > DEFAULT_LIMITS.MaxEntities
            || new.MaxReferences > DEFAULT_LIMITS.MaxReferences
            || !(1..=1 << 23).contains(&new.MaxJournal)
            || new.MaxEventThreads == 0;
        let allowed = if place.is_bad() || size != 24 && size < WHOLE {
            ERROR_INVALID_PARAMETER
        } else if size > WHOLE && beyond != 0 {
            ERROR_NOT_SUPPORTED
        } else if too_much {
            ERROR_INVALID_PARAMETER
        } else {
            NO_ERROR
        };
        let code = call!(RtmxSetLimits(place.pointer(), size as UINT));
        expect("set limits", code, &[allowed]);
        if code == NO_ERROR {
            self.change().limits = new;
        }
    }

    // --- Texts ---

    pub(super) fn texts(&self) {
        let faults = self.program.faults();
        let parts: [Place<u32>; 3] = std::array::from_fn(|_| Place::new(1, faults.next()));
        let bad = parts.iter().any(Place::is_odd);
        let [major, minor, patch] = parts.each_ref().map(Place::pointer);
        let code = call!(RtmxGetVersion(major, minor, patch));
        expect("version", code, &[if bad { ERROR_INVALID_PARAMETER } else { NO_ERROR }]);
        for part in parts.iter().filter(|part| bad || part.is_null()) {
            part.assert_untouched();
        }
        assert_eq!(call!(RtmxGetAbiNumber()), RTMX_ABI_NUMBER);
        let code = match self.program.byte() {
            byte @ 0..0x80 => CODES[usize::from(byte) % CODES.len()],
            _ => self.program.word() as u32,
        };
        let text = |code| {
            let text = call!(RtmxErrorText(code));
            // SAFETY: a text that is always there.
            unsafe { CStr::from_ptr(text) }
        };
        let known = text(code) != text(DWORD::MAX);
        assert_eq!(known, CODES.contains(&code), "DIVERGENCE: the text of {code}");
    }

    pub(super) fn log_function(&self) {
        let function: RTMX_LOG = if self.program.byte() & 1 == 0 { Some(log) } else { None };
        expect("log function", call!(RtmxSetLogFunction(function, ptr::null_mut())), &[NO_ERROR]);
    }

    // --- A program ---

    pub(super) fn begin(&self) {
        expect("log function", call!(RtmxSetLogFunction(Some(log), ptr::null_mut())), &[NO_ERROR]);
    }

    /// Gives everything back. Then there must be nothing left.
    pub(super) fn finish(&self) {
        self.leave_all();
        let whole = size_of::<RTMX_LIMITS>();
        self.set_limits_to(&DEFAULT_LIMITS, whole, 0, Fault::None);
        self.flush();
        let referenced: Vec<(u64, u32, super::Table)> = {
            let model = self.model();
            let entities = model.entities.iter().filter(|(_, entity)| entity.references != 0);
            entities.map(|(handle, known)| (*handle, known.references, known.table)).collect()
        };
        for (handle, references, table) in referenced {
            let own =
                self.register(Request::plain(table, u64::MAX - 1)).expect("nothing forbids it");
            let list = vec![handle; references as usize];
            self.release_list(own, &list, Fault::None);
            self.deregister(own);
        }
        let alive = self.model().alive.clone();
        for handle in alive {
            self.deregister(handle);
        }
        self.flush();
        assert_eq!(self.model().referenced(), 0);
        let retired = {
            let place = Place::<RTMX_STATISTICS>::new(1, Fault::None);
            let size = size_of::<RTMX_STATISTICS>() as UINT;
            expect("statistics", call!(RtmxGetStatistics(place.pointer(), size)), &[NO_ERROR]);
            self.check_figures(&place.get(0));
            place.get(0).Retired
        };
        assert_eq!(retired, 0, "DIVERGENCE: flushed, and something waits still");
        self.shutdown();
        assert!(self.model().entities.is_empty());
        for (listener, told) in forget_told() {
            assert!(
                told.over,
                "DIVERGENCE: {listener:#x} was told, and is no listener of the pool"
            );
        }
        let defects = logged();
        assert!(defects.is_empty(), "DIVERGENCE: {defects:?}");
    }
}

fn limit_bytes(limits: &RTMX_LIMITS) -> Vec<u8> {
    const { assert!(size_of::<RTMX_LIMITS>() == 4 * 6 + 8 * 2) };
    let pointer = ptr::from_ref(limits).cast::<u8>();
    // SAFETY: a structure without gaps, as asserted.
    unsafe { std::slice::from_raw_parts(pointer, size_of::<RTMX_LIMITS>()) }.to_vec()
}
