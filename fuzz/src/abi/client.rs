//! The client code that the library calls.

use super::context::tell;
use super::model::{Callback, Event, Part, Table};
use super::{World, from_c, world};
use rtm::*;

/// The callback of all entities that have one.
pub(super) unsafe extern "C" fn callback(
    listener: RTM_ENTITY_HANDLE,
    kind: RTM_EVENT_TYPE,
    subject: PVOID,
    info: PVOID,
) -> DWORD {
    let (event, table) = if kind == RTMX_EVENTS_MISSED {
        assert!(subject.is_null() && info.is_null(), "DIVERGENCE: contexts where some were missed");
        (Event { kind, subject: 0, id: 0 }, None)
    } else {
        // SAFETY: lent for the call.
        let info = unsafe { &*info.cast::<RTM_ENTITY_INFO>() };
        let table = (info.RtmInstanceId, info.AddressFamily);
        (Event { kind, subject: from_c(subject), id: info.EntityId.EntityId }, Some(table))
    };
    match world() {
        Some(world) => world.run_callback(from_c(listener), event, table),
        None => tell(from_c(listener), event),
    }
    // Not looked at.
    kind.wrapping_sub(1)
}

/// One of several methods, to tell which is called.
unsafe extern "C" fn method<const N: u32>(
    caller: RTM_ENTITY_HANDLE,
    callee: RTM_ENTITY_HANDLE,
    input: *mut RTM_ENTITY_METHOD_INPUT,
    output: *mut RTM_ENTITY_METHOD_OUTPUT,
) {
    let world = world().expect("DIVERGENCE: a method runs on another thread");
    world.run_method(N, from_c(caller), from_c(callee), input, output);
}

pub(super) const METHODS: u32 = 4;

/// The table entry of the method with this bit.
pub(super) fn entry(bit: u32) -> u64 {
    let methods: [unsafe extern "C" fn(_, _, _, _); METHODS as usize] =
        [method::<0>, method::<1>, method::<2>, method::<3>];
    methods[(bit % METHODS) as usize] as usize as u64
}

impl World {
    /// An event from the queue that is dispatched.
    fn run_callback(&self, listener: u64, event: Event, table: Option<Table>) {
        self.dispatched.set(self.dispatched.get() + 1);
        let mut model = self.change();
        let entity = model.live(listener);
        let entity =
            entity.unwrap_or_else(|| panic!("DIVERGENCE: {listener:#x} is told of {event:?}"));
        let (queue, own_table) = (Callback::Queue(self.dispatching.get()), entity.table);
        assert_eq!(entity.callback, queue, "DIVERGENCE: told by another queue");
        assert!(table.is_none_or(|table| table == own_table), "DIVERGENCE: another table's event");
        let room = model.journals[&own_table];
        let outstanding = &mut model.entities.get_mut(&listener).expect("live").outstanding;
        let part = if event.kind == RTMX_EVENTS_MISSED {
            let fell_behind = outstanding.len() as u64 + 8 >= room;
            assert!(fell_behind, "DIVERGENCE: {} of {room} events are missed", outstanding.len());
            outstanding.clear();
            model.counts.missed += 1;
            Part::Missed
        } else {
            let due = outstanding.pop_front();
            assert_eq!(Some(event), due, "DIVERGENCE: {listener:#x} is told of the first one");
            Part::Membership(event.subject)
        };
        model.counts.events += 1;
        model.enter(listener, part);
        drop(model);
        self.nested();
        self.change().leave();
    }
}
