//! Registering and deregistering.

use super::context::{Context, cleanup, told};
use super::model::{Callback, Certainty, Entity, Model, Table};
use super::program::{Fault, Faults, Place};
use super::{World, call, client, expect, from_c, to_c};
use rtm::*;
use std::collections::VecDeque;
use std::ptr;

/// What a registration asks for.
pub(super) struct Request {
    pub(super) table: Table,
    pub(super) id: u64,
    /// Length of the table of methods, and its holes.
    pub(super) methods: Option<(u8, u8)>,
    pub(super) callback: bool,
    pub(super) opaque: bool,
    /// By `RtmxRegisterEntity`, with these.
    pub(super) more: Option<More>,
    pub(super) faults: Faults,
}

pub(super) struct More {
    pub(super) context: bool,
    pub(super) cleanup: bool,
    pub(super) queue: u64,
}

impl Request {
    pub(super) fn plain(table: Table, id: u64) -> Request {
        let faults = Faults::none();
        Request { table, id, methods: None, callback: false, opaque: false, more: None, faults }
    }

    fn exports(&self) -> Vec<bool> {
        let (length, holes) = self.methods.unwrap_or_default();
        (0..length).map(|bit| holes >> (bit % 8) & 1 == 0).collect()
    }

    fn queue(&self) -> u64 {
        self.more.as_ref().map_or(0, |more| more.queue)
    }
}

impl World {
    pub(super) fn register_any(&self) {
        let program = &self.program;
        let (table, id, what) = (self.table(), u64::from(program.byte() % 12), program.byte());
        let more = what & 1 == 0;
        let methods = (what & 0x20 != 0).then(|| match program.byte() {
            length @ 0..0xf0 => (length % 9, program.byte()),
            length => (length % 40, program.byte()),
        });
        let more = more.then(|| More {
            context: what & 2 != 0,
            cleanup: what & 6 == 6,
            queue: if what & 0x18 == 0x18 { self.queue() } else { 0 },
        });
        let callback = what & 0x10 != 0;
        let opaque = what & 0x80 != 0;
        let faults = program.faults();
        self.register(Request { table, id, methods, callback, opaque, more, faults });
    }

    /// Registers, and compares. The handle, if it has come to one.
    pub(super) fn register(&self, request: Request) -> Option<u64> {
        let faults = &request.faults;
        let info = RTM_ENTITY_INFO {
            RtmInstanceId: request.table.0,
            AddressFamily: request.table.1,
            EntityId: RTM_ENTITY_ID { EntityId: request.id },
        };
        let info = Place::holding(&[info], faults.next());
        let profile = Place::<RTM_REGN_PROFILE>::new(1, faults.next());
        let handle = Place::<HANDLE>::new(1, faults.next());
        let exports = request.exports();
        let methods = match request.methods {
            None => Place::new(0, Fault::Null),
            Some(_) => method_table(&exports, faults.next()),
        };
        let callback: RTM_EVENT_CALLBACK = match request.callback {
            true => Some(client::callback),
            false => None,
        };

        let queue = request.queue();
        let bad_pointer = info.is_bad() || profile.is_bad() || handle.is_bad() || methods.is_odd();
        let family = i32::from(request.table.1);
        let refused = if bad_pointer || ![libc::AF_INET, libc::AF_INET6].contains(&family) {
            Some(ERROR_INVALID_PARAMETER)
        } else if exports.len() > 32 && !methods.is_null() {
            Some(ERROR_INVALID_DATA)
        } else if queue != 0 && !self.model().queues.contains(&queue) {
            Some(ERROR_INVALID_HANDLE)
        } else if self.model().in_membership_event() {
            Some(ERROR_POSSIBLE_DEADLOCK)
        } else {
            None
        };
        let allowed = match refused {
            Some(code) => vec![code],
            None => self.change().may_register(&request),
        };

        let opaque = request.opaque.into();
        let (info, profile_to) = (info.pointer(), profile.pointer());
        let (table, to) = (methods.pointer(), handle.pointer());
        let (mut context, mut cleaned) = (ptr::null::<Context>(), false);
        let code = match &request.more {
            None => {
                call!(RtmRegisterEntity(info, table, callback, opaque, profile_to, to))
            }
            Some(more) => {
                if more.context {
                    context = self.new_context();
                }
                cleaned = more.cleanup;
                let cleanup: RTMX_CLEANUP = if cleaned { Some(cleanup) } else { None };
                let (shown, queue) = (context.cast_mut().cast(), to_c(queue));
                call!(RtmxRegisterEntity(
                    info, table, callback, opaque, shown, cleanup, queue, profile_to, to
                ))
            }
        };
        expect("register", code, &allowed);
        if code != NO_ERROR {
            profile.assert_untouched();
            handle.assert_untouched();
            if code == ERROR_NO_SYSTEM_RESOURCES {
                self.change().tables_maybe.insert(request.table);
            }
            return None;
        }
        let profile = profile.get(0);
        assert!(profile.MaxNextHopsInRoute != 0 && profile.MaxHandlesInEnum != 0);
        assert_eq!(profile.NumberOfViews, profile.ViewsSupported.count_ones());
        let handle = from_c(handle.get(0));
        self.note_given(handle, |given| &mut given.entities);
        let entity = Entity {
            table: request.table,
            id: request.id,
            live: true,
            references: 0,
            context,
            cleanup: cleaned,
            methods: if methods.is_null() { Vec::new() } else { exports },
            blocked: false,
            opaque: request.opaque,
            callback: match (request.callback, queue) {
                (false, _) => Callback::None,
                (true, 0) => Callback::Pool,
                (true, queue) => Callback::Queue(queue),
            },
            outstanding: VecDeque::new(),
            lost: false,
            frames: 0,
            departed: 0,
            later: false,
            told: false,
        };
        self.change().add(handle, entity);
        Some(handle)
    }

    pub(super) fn deregister(&self, handle: u64) {
        let allowed = {
            let model = self.model();
            match model.live(handle) {
                None => ERROR_INVALID_HANDLE,
                Some(_) if model.in_membership_event() => ERROR_POSSIBLE_DEADLOCK,
                Some(entity)
                    if entity.has_code() && (model.is_inside() || model.in_method_of(handle)) =>
                {
                    ERROR_POSSIBLE_DEADLOCK
                }
                Some(_) => NO_ERROR,
            }
        };
        if allowed == NO_ERROR {
            self.release_context(handle);
        }
        let code = call!(RtmDeregisterEntity(to_c(handle)));
        expect("deregister", code, &[allowed]);
        if code == NO_ERROR {
            self.departs(handle, false);
        }
    }

    pub(super) fn deregister_later(&self, handle: u64) {
        let live = self.model().live(handle).is_some();
        if live {
            self.release_context(handle);
        }
        let code = call!(RtmxDeregisterEntityLater(to_c(handle)));
        expect("deregister later", code, &[if live { NO_ERROR } else { ERROR_INVALID_HANDLE }]);
        if live {
            self.departs(handle, true);
        }
    }

    fn release_context(&self, handle: u64) {
        let context = self.of_entity(handle, |entity| entity.context);
        // SAFETY: NULL, or one that stays until the program is over.
        if let Some(context) = unsafe { context.as_ref() } {
            context.release();
        }
    }

    fn departs(&self, handle: u64, later: bool) {
        let pool = self.of_entity(handle, |entity| entity.callback == Callback::Pool);
        if pool {
            told(handle, |told| told.over = !later);
            self.check_told(handle);
        }
        self.change().depart(handle, later);
    }

    /// Many come and go: enough of them to use up a journal.
    pub(super) fn churn(&self) {
        let (table, count) = (self.table(), u32::from(self.program.byte()) * 3);
        if self.churned.get() + count > 2000 || self.model().in_membership_event() {
            return;
        }
        self.churned.set(self.churned.get() + count);
        for _ in 0..count {
            match self.register(Request::plain(table, u64::MAX)) {
                Some(handle) => self.deregister(handle),
                None => break,
            }
        }
    }
}

impl Model {
    /// The codes that a registration with good arguments may come to, which is noted where it has
    /// begun something.
    fn may_register(&mut self, request: &Request) -> Vec<DWORD> {
        let (table, instance) = (request.table, request.table.0);
        let mut certain = Vec::new();
        let mut maybe = Vec::new();
        if request.opaque && self.counts.opaque >= self.limits.MaxOpaquePointers {
            certain.push(ERROR_NO_SYSTEM_RESOURCES);
        }
        if self.counts.unflushed > self.limits.MaxBacklog {
            maybe.push(ERROR_NO_SYSTEM_RESOURCES);
        }
        if !self.tables.iter().any(|known| known.0 == instance) {
            let instances = |tables: &mut dyn Iterator<Item = &Table>| {
                tables.map(|table| table.0).collect::<std::collections::BTreeSet<_>>().len() as u32
            };
            let least = instances(&mut self.tables.iter());
            let most = instances(&mut self.tables.iter().chain(&self.tables_maybe));
            if least >= self.limits.MaxInstances
                && !self.tables_maybe.iter().any(|known| known.0 == instance)
            {
                certain.push(ERROR_NO_SYSTEM_RESOURCES);
            } else if most >= self.limits.MaxInstances {
                maybe.push(ERROR_NO_SYSTEM_RESOURCES);
            }
        }
        let least = self.alive.len() as u64 + self.lingering(Certainty::Yes);
        let most = least + self.lingering(Certainty::Maybe);
        let limit = self.limits.MaxEntities.into();
        if least >= limit {
            certain.push(ERROR_NO_SYSTEM_RESOURCES);
        } else if most >= limit {
            maybe.push(ERROR_NO_SYSTEM_RESOURCES);
        }
        match self.is_taken(table, request.id) {
            Certainty::Yes => certain.push(ERROR_ALREADY_EXISTS),
            Certainty::Maybe => maybe.push(ERROR_ALREADY_EXISTS),
            Certainty::No => {}
        }
        if request.callback {
            let room = self.limits.MaxJournal.next_power_of_two().max(512);
            let least = self.journals.entry(table).or_insert(room);
            *least = room.min(*least);
        }
        let refusals = certain.iter().chain(&maybe).copied();
        refusals.chain(certain.is_empty().then_some(NO_ERROR)).collect()
    }
}

/// A table of methods. One that is too long has no entries: nobody should look for them.
fn method_table(exports: &[bool], fault: Fault) -> Place<RTM_ENTITY_EXPORT_METHODS> {
    let mut bytes = (exports.len() as u64).to_le_bytes().to_vec();
    if exports.len() <= 32 {
        for (bit, is_method) in exports.iter().enumerate() {
            let entry = if *is_method { client::entry(bit as u32) } else { 0 };
            bytes.extend(entry.to_le_bytes());
        }
    }
    Place::of_bytes(bytes, fault)
}
