//! Read sections and reader objects.

use super::model::Section;
use super::program::Place;
use super::{World, call, expect, from_c, to_c};
use rtm::*;

impl World {
    pub(super) fn enter(&self) {
        expect("enter", call!(RtmxEnter()), &[NO_ERROR]);
        let mut model = self.change();
        let now = model.now;
        model.own.enter(now);
    }

    pub(super) fn leave(&self) {
        let allowed = self.change().own.leave();
        expect("leave", call!(RtmxLeave()), &[allowed]);
    }

    pub(super) fn quiescent(&self) {
        let mut model = self.change();
        let now = model.now;
        let allowed = model.own.quiescent(now);
        drop(model);
        expect("quiescent", call!(RtmxQuiescent()), &[allowed]);
    }

    /// By the reader object, or in the thread's own section.
    pub(super) fn get_context(&self, reader: Option<u64>) {
        let (entity, faults) = (self.entity(), self.program.faults());
        let context = Place::<PVOID>::new(1, faults.next());
        let known = self.model().live(entity).map(|known| known.context);
        let allowed = match self.section(reader) {
            Err(code) => code,
            Ok(_) if context.is_bad() => ERROR_INVALID_PARAMETER,
            Ok(_) if known.is_none() => ERROR_INVALID_HANDLE,
            Ok(_) => NO_ERROR,
        };
        let (handle, to) = (to_c(entity), context.pointer());
        let code = match reader {
            None => call!(RtmxGetContext(handle, to)),
            Some(reader) => call!(RtmxReaderGetContext(to_c(reader), handle, to)),
        };
        expect("get context", code, &[allowed]);
        match code {
            NO_ERROR => {
                let found = context.get(0).cast_const().cast();
                assert_eq!(Some(found), known, "DIVERGENCE: the context of {entity:#x}");
            }
            _ => context.assert_untouched(),
        }
    }

    pub(super) fn get_contexts(&self, reader: Option<u64>) {
        let (list, faults) = (self.entity_list(0), self.program.faults());
        let handles: Vec<HANDLE> = list.iter().map(|handle| to_c(*handle)).collect();
        let handles = Place::holding(&handles, faults.next());
        let contexts = Place::<PVOID>::new(list.len(), faults.next());
        let found = Place::<u32>::new(1, faults.next());
        let good: Vec<_> = {
            let model = self.model();
            list.iter().map(|handle| model.live(*handle).map(|known| known.context)).collect()
        };
        let number = good.iter().flatten().count();
        let bad_pointer = (handles.is_bad() || contexts.is_bad()) && !list.is_empty();
        let allowed = match self.section(reader) {
            Err(code) => code,
            Ok(_) if bad_pointer || found.is_odd() => ERROR_INVALID_PARAMETER,
            Ok(_) if number == list.len() => NO_ERROR,
            Ok(_) => ERROR_INVALID_HANDLE,
        };
        let written = allowed == NO_ERROR || number != list.len() && self.section(reader).is_ok();
        let written = written && allowed != ERROR_INVALID_PARAMETER;
        let (count, from, to) = (list.len() as u32, handles.pointer(), contexts.pointer());
        let code = match reader {
            None => call!(RtmxGetContexts(count, from, to, found.pointer())),
            Some(reader) => {
                call!(RtmxReaderGetContexts(to_c(reader), count, from, to, found.pointer()))
            }
        };
        expect("get contexts", code, &[allowed]);
        handles.assert_untouched();
        if !written {
            contexts.assert_untouched();
            found.assert_untouched();
            return;
        }
        for (index, context) in good.iter().enumerate() {
            let context = context.unwrap_or(std::ptr::null());
            let told = contexts.get(index).cast_const().cast();
            assert_eq!(told, context, "DIVERGENCE: the context of {:#x}", list[index]);
        }
        if !found.is_null() {
            assert_eq!(found.get(0) as usize, number, "DIVERGENCE: how many were good");
        }
    }

    /// The section that is looked up in, or why not.
    fn section(&self, reader: Option<u64>) -> Result<(), DWORD> {
        let model = self.model();
        let section = match reader {
            None => Some(&model.own),
            Some(reader) => model.readers.get(&reader),
        };
        match section.ok_or(ERROR_INVALID_HANDLE)?.depth {
            0 => Err(ERROR_NOT_LOCKED),
            _ => Ok(()),
        }
    }

    // --- Reader objects ---

    pub(super) fn create_reader(&self) {
        let reader = Place::<HANDLE>::new(1, self.program.faults().next());
        let allowed = if reader.is_bad() { ERROR_INVALID_PARAMETER } else { NO_ERROR };
        let code = call!(RtmxCreateReader(reader.pointer()));
        expect("create reader", code, &[allowed]);
        if code != NO_ERROR {
            return reader.assert_untouched();
        }
        let reader = from_c(reader.get(0));
        self.note_given(reader, |given| &mut given.readers);
        self.change().readers.insert(reader, Section::default());
    }

    pub(super) fn delete_reader(&self) {
        let reader = self.reader();
        let allowed = match self.model().readers.get(&reader) {
            None => ERROR_INVALID_HANDLE,
            Some(section) if section.depth != 0 => ERROR_BUSY,
            Some(_) => NO_ERROR,
        };
        expect("delete reader", call!(RtmxDeleteReader(to_c(reader))), &[allowed]);
        if allowed == NO_ERROR {
            self.change().readers.remove(&reader);
        }
    }

    pub(super) fn reader_enter(&self) {
        let reader = self.reader();
        let allowed = self.of_reader(reader, |section, now| {
            section.enter(now);
            NO_ERROR
        });
        expect("reader enters", call!(RtmxReaderEnter(to_c(reader))), &[allowed]);
    }

    pub(super) fn reader_leave(&self) {
        let reader = self.reader();
        let allowed = self.of_reader(reader, |section, _| section.leave());
        expect("reader leaves", call!(RtmxReaderLeave(to_c(reader))), &[allowed]);
    }

    pub(super) fn reader_quiescent(&self) {
        let reader = self.reader();
        let allowed = self.of_reader(reader, Section::quiescent);
        expect("reader quiescent", call!(RtmxReaderQuiescent(to_c(reader))), &[allowed]);
    }

    fn of_reader(&self, reader: u64, change: impl FnOnce(&mut Section, u64) -> DWORD) -> DWORD {
        let mut model = self.change();
        let now = model.now;
        match model.readers.get_mut(&reader) {
            None => ERROR_INVALID_HANDLE,
            Some(section) => change(section, now),
        }
    }

    /// Leaves whatever is open.
    pub(super) fn leave_all(&self) {
        while self.model().own.depth != 0 {
            self.leave();
        }
        let open = |_: &u64, section: &mut Section| section.depth != 0;
        let readers: Vec<_> = self.change().readers.extract_if(.., open).collect();
        for (reader, section) in readers {
            for _ in 0..section.depth {
                expect("reader leaves", call!(RtmxReaderLeave(to_c(reader))), &[NO_ERROR]);
            }
            self.change().readers.insert(reader, Section::default());
        }
    }
}

impl Section {
    fn enter(&mut self, now: u64) {
        if self.depth == 0 {
            self.since = now;
        }
        self.depth += 1;
    }

    fn leave(&mut self) -> DWORD {
        if self.depth == 0 {
            return ERROR_NOT_LOCKED;
        }
        self.depth -= 1;
        NO_ERROR
    }

    fn quiescent(&mut self, now: u64) -> DWORD {
        match self.depth {
            0 => ERROR_NOT_LOCKED,
            1 => {
                self.since = now;
                NO_ERROR
            }
            _ => ERROR_POSSIBLE_DEADLOCK,
        }
    }
}
