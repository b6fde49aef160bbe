//! Queries and references.

use super::model::{Certainty, Table};
use super::program::{Fault, Place};
use super::{World, call, client, expect, from_c, to_c};
use rtm::*;
use std::collections::BTreeSet;

impl World {
    pub(super) fn enumerate(&self) {
        let (caller, faults) = (self.entity(), self.program.faults());
        let capacity = match self.program.byte() {
            byte @ 0..0xf0 => u32::from(byte % 12),
            byte => u32::from(byte) * 4,
        };
        let number = Place::holding(&[capacity], faults.next());
        let null = |is_null: bool| if is_null { Fault::Null } else { faults.next() };
        let wanted = self.program.byte();
        let handles = Place::<HANDLE>::new(capacity as usize, null(wanted & 1 != 0));
        let infos = Place::<RTM_ENTITY_INFO>::new(capacity as usize, null(wanted & 2 != 0));

        let table = self.caller(caller);
        let all: BTreeSet<u64> = {
            let model = self.model();
            let in_table = |handle: &&u64| Some(model.entities[*handle].table) == table;
            model.alive.iter().filter(in_table).copied().collect()
        };
        let (all_fit, takes) =
            (all.len() <= capacity as usize, capacity != 0 && !handles.is_null());
        let at_limit = {
            let model = self.model();
            let most = model.limits.MaxReferences;
            takes && all.iter().any(|handle| model.entities[handle].references >= most)
        };
        let done = if all_fit { NO_ERROR } else { ERROR_INSUFFICIENT_BUFFER };
        let allowed = if table.is_none() {
            vec![ERROR_INVALID_HANDLE]
        } else if number.is_bad() || handles.is_odd() || infos.is_odd() {
            vec![ERROR_INVALID_PARAMETER]
        } else if self.model().in_membership_event() {
            vec![ERROR_POSSIBLE_DEADLOCK]
        } else if at_limit && all_fit {
            vec![ERROR_NO_SYSTEM_RESOURCES]
        } else if at_limit {
            vec![ERROR_NO_SYSTEM_RESOURCES, done]
        } else {
            vec![done]
        };
        let (to, place) = (handles.pointer(), infos.pointer());
        let code = call!(RtmGetRegisteredEntities(to_c(caller), number.pointer(), to, place));
        expect("enumerate", code, &allowed);
        if code != done {
            number.assert_untouched();
            return;
        }
        let stored = number.get(0) as usize;
        if capacity == 0 {
            assert_eq!(stored, all.len(), "DIVERGENCE: the number of entities");
            return;
        }
        assert_eq!(stored, all.len().min(capacity as usize), "DIVERGENCE: entities stored");
        let mut seen = BTreeSet::new();
        for index in 0..stored {
            if !handles.is_null() {
                let handle = from_c(handles.get(index));
                assert!(all.contains(&handle), "DIVERGENCE: {handle:#x} is shown");
                assert!(seen.insert(handle), "DIVERGENCE: {handle:#x} is shown twice");
                self.change().entities.get_mut(&handle).expect("shown").references += 1;
                if !infos.is_null() {
                    self.compare_info(handle, infos.get(index));
                }
            } else if !infos.is_null() {
                let (table, id) = read_info(infos.get(index));
                let is_it = |handle: &&u64| {
                    self.of_entity(**handle, |entity| (entity.table, entity.id) == (table, id))
                };
                let handle = all.iter().find(is_it).expect("DIVERGENCE: nobody's information");
                assert!(seen.insert(*handle), "DIVERGENCE: {handle:#x} is shown twice");
            }
        }
        if !handles.is_null() {
            handles.assert_untouched_from(stored);
        }
        if !infos.is_null() {
            infos.assert_untouched_from(stored);
        }
    }

    pub(super) fn compare_info(&self, handle: u64, info: RTM_ENTITY_INFO) {
        let known = self.of_entity(handle, |entity| (entity.table, entity.id));
        assert_eq!(read_info(info), known, "DIVERGENCE: the information of {handle:#x}");
    }

    pub(super) fn reference(&self) {
        let caller = self.entity();
        let (list, faults) = (self.entity_list(caller), self.program.faults());
        self.reference_list(caller, &list, faults.next());
    }

    fn reference_list(&self, caller: u64, list: &[u64], fault: Fault) {
        let handles: Vec<HANDLE> = list.iter().map(|handle| to_c(*handle)).collect();
        let handles = Place::holding(&handles, fault);
        let allowed = match self.caller(caller) {
            None => vec![ERROR_INVALID_HANDLE],
            Some(_) if handles.is_bad() && !list.is_empty() => vec![ERROR_INVALID_PARAMETER],
            Some(table) => self.may_reference(list, table),
        };
        let number = list.len() as u32;
        let code = call!(RtmReferenceHandles(to_c(caller), number, handles.pointer()));
        expect("reference", code, &allowed);
        handles.assert_untouched();
        if code == NO_ERROR {
            for handle in list {
                self.change().entities.get_mut(handle).expect("good").references += 1;
            }
        }
    }

    /// The codes for a list, of which the first bad element decides.
    fn may_reference(&self, list: &[u64], table: Table) -> Vec<DWORD> {
        let model = self.model();
        let mut allowed = Vec::new();
        for (index, handle) in list.iter().enumerate() {
            let before = list[..index].iter().filter(|other| *other == handle).count() as u32;
            match model.describable(*handle, table) {
                Certainty::No => {
                    allowed.push(ERROR_INVALID_HANDLE);
                    return allowed;
                }
                Certainty::Maybe if before == 0 => allowed.push(ERROR_INVALID_HANDLE),
                _ => {}
            }
            if model.entities[handle].references + before >= model.limits.MaxReferences {
                allowed.push(ERROR_NO_SYSTEM_RESOURCES);
                return allowed;
            }
        }
        allowed.push(NO_ERROR);
        allowed
    }

    pub(super) fn release(&self) {
        let caller = self.entity();
        let (list, faults) = (self.entity_list(caller), self.program.faults());
        self.release_list(caller, &list, faults.next());
    }

    pub(super) fn release_list(&self, caller: u64, list: &[u64], fault: Fault) {
        let handles: Vec<HANDLE> = list.iter().map(|handle| to_c(*handle)).collect();
        let handles = Place::holding(&handles, fault);
        let mut allowed = NO_ERROR;
        match self.caller(caller) {
            None => allowed = ERROR_INVALID_HANDLE,
            Some(_) if handles.is_bad() && !list.is_empty() => allowed = ERROR_INVALID_PARAMETER,
            Some(table) => {
                for handle in list {
                    let mut model = self.change();
                    let entity = model.entities.get_mut(handle);
                    match entity.filter(|entity| entity.table == table && entity.references != 0) {
                        Some(entity) => entity.references -= 1,
                        None => allowed = ERROR_INVALID_HANDLE,
                    }
                }
            }
        }
        let number = list.len() as u32;
        let code = call!(RtmReleaseEntities(to_c(caller), number, handles.pointer()));
        expect("release", code, &[allowed]);
        handles.assert_untouched();
    }

    pub(super) fn info(&self) {
        let caller = self.entity();
        let (entity, faults) = (self.other(caller), self.program.faults());
        let info = Place::<RTM_ENTITY_INFO>::new(1, faults.next());
        let allowed: &[DWORD] = match self.caller(caller) {
            None => &[ERROR_INVALID_HANDLE],
            Some(_) if info.is_bad() => &[ERROR_INVALID_PARAMETER],
            Some(table) => match self.model().describable(entity, table) {
                Certainty::Yes => &[NO_ERROR],
                Certainty::No => &[ERROR_INVALID_HANDLE],
                Certainty::Maybe => &[NO_ERROR, ERROR_INVALID_HANDLE],
            },
        };
        let code = call!(RtmGetEntityInfo(to_c(caller), to_c(entity), info.pointer()));
        expect("info", code, allowed);
        match code {
            NO_ERROR => self.compare_info(entity, info.get(0)),
            _ => info.assert_untouched(),
        }
    }

    pub(super) fn release_info(&self) {
        let (caller, faults) = (self.entity(), self.program.faults());
        let info = Place::<RTM_ENTITY_INFO>::new(1, faults.next());
        let allowed = match self.caller(caller) {
            None => ERROR_INVALID_HANDLE,
            Some(_) if info.is_bad() => ERROR_INVALID_PARAMETER,
            Some(_) => NO_ERROR,
        };
        let code = call!(RtmReleaseEntityInfo(to_c(caller), info.pointer()));
        expect("release info", code, &[allowed]);
        info.assert_untouched();
    }

    pub(super) fn methods(&self) {
        let caller = self.entity();
        let (entity, faults) = (self.other(caller), self.program.faults());
        let capacity = u32::from(self.program.byte() % 40);
        let number = Place::holding(&[capacity], faults.next());
        let methods = Place::<u64>::new(capacity as usize, faults.next());
        let known = self.model().live(entity).map(|known| (known.table, known.methods.clone()));
        let table = self.caller(caller);
        let known = known.filter(|known| Some(known.0) == table).map(|known| known.1);
        let fits = |known: &Vec<bool>| capacity == 0 || known.len() <= capacity as usize;
        let allowed = match &known {
            _ if table.is_none() => ERROR_INVALID_HANDLE,
            _ if number.is_bad() || methods.is_bad() && capacity != 0 => ERROR_INVALID_PARAMETER,
            None => ERROR_INVALID_HANDLE,
            Some(known) if fits(known) => NO_ERROR,
            Some(_) => ERROR_INSUFFICIENT_BUFFER,
        };
        let to = methods.pointer().cast();
        let code = call!(RtmGetEntityMethods(to_c(caller), to_c(entity), number.pointer(), to));
        expect("methods", code, &[allowed]);
        let mut stored = 0;
        if let (NO_ERROR | ERROR_INSUFFICIENT_BUFFER, Some(known)) = (code, known) {
            stored = known.len().min(capacity as usize);
            let told = if capacity == 0 { known.len() } else { stored };
            assert_eq!(number.get(0) as usize, told, "DIVERGENCE: the number of methods");
            for (bit, is_method) in known.iter().enumerate().take(stored) {
                let entry = if *is_method { client::entry(bit as u32) } else { 0 };
                assert_eq!(methods.get(bit), entry, "DIVERGENCE: method {bit}");
            }
        } else {
            number.assert_untouched();
        }
        methods.assert_untouched_from(stored);
    }
}

fn read_info(info: RTM_ENTITY_INFO) -> (Table, u64) {
    ((info.RtmInstanceId, info.AddressFamily), info.EntityId.EntityId)
}
