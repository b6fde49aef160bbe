//! Read sections, and what is found in them.

use crate::entity::{EntityFixed, EntityInfo, TableKey};
use crate::error::InvalidHandle;
use crate::handle::{Config, Handle, Standard};
use crate::member::Member;
use crate::reclamation::Section;
use crate::registry::Registry;
use crate::slab::{Slot, View};
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

/// Entities whose cache lines are asked for before the first of them is looked at.
const BLOCK: usize = 32;
/// Handles ahead of the one that is looked up whose lines are asked for.
const AHEAD: usize = 16;

/// A read section. See [`Registry::enter`]. Not `Send`: a section belongs to its thread.
///
/// ```compile_fail,E0277
/// fn send<T: Send>(_: T) {}
/// let registry = rtm_core::Registry::<()>::new(Default::default()).unwrap();
/// send(registry.enter());
/// ```
pub struct Guard<'r, T: Send + Sync, C: Config = Standard> {
    registry: &'r Registry<T, C>,
    section: Section<'r, Member>,
    view: View<'r, EntityFixed, T>,
}

impl<'r, T: Send + Sync, C: Config> Guard<'r, T, C> {
    #[inline(always)]
    pub(crate) fn new(registry: &'r Registry<T, C>, section: Section<'r, Member>) -> Self {
        Guard { registry, section, view: registry.slab.view() }
    }

    /// The entity of this handle, if it is registered. Valid as long as the guard is.
    ///
    /// Wait-free, writes nothing, allocates nothing.
    ///
    /// # Errors
    /// [`InvalidHandle`].
    #[inline(always)]
    pub fn get(&self, handle: Handle) -> Result<Entity<'_, T>, InvalidHandle> {
        self.get_through(self.view, handle)
    }

    #[inline(always)]
    fn get_through<'g>(
        &'g self,
        view: View<'g, EntityFixed, T>,
        handle: Handle,
    ) -> Result<Entity<'g, T>, InvalidHandle> {
        let slot = self.registry.slab.get_through(view, handle, &self.section);
        Ok(Entity { slot: slot.ok_or(InvalidHandle)?, handle })
    }

    /// Looks up many handles, prefetching ahead, and hands each result to `f` in order.
    #[inline]
    pub fn get_each<'g>(
        &'g self,
        handles: &[Handle],
        mut f: impl FnMut(usize, Result<Entity<'g, T>, InvalidHandle>),
    ) {
        self.get_each_by(handles.len(), |index| Some(handles[index]), &mut f);
    }

    /// As [`get_each`](Guard::get_each), for handles that come from a function of their index, which is called
    /// twice for each: to prefetch, and to look up. `None` counts as an invalid handle.
    #[inline]
    pub fn get_each_by<'g>(
        &'g self,
        count: usize,
        handle: impl Fn(usize) -> Option<Handle>,
        mut f: impl FnMut(usize, Result<Entity<'g, T>, InvalidHandle>),
    ) {
        let view = self.view;
        let ask = |index| {
            if let Some(handle) = handle(index) {
                view.ask_for_sought(handle);
            }
        };
        (0..count.min(AHEAD)).for_each(ask);
        for index in 0..count {
            if count - index > AHEAD {
                ask(index + AHEAD);
            }
            let handle = handle(index).ok_or(InvalidHandle);
            f(index, handle.and_then(|handle| self.get_through(view, handle)));
        }
    }

    /// Every entity of the table that was registered before the call and is not deregistered until
    /// the walk ends, exactly once; others that come or go meanwhile, at most once. In no
    /// particular order. Never keeps anybody from registering. Without
    /// [`Config::UNIQUE_IDS`], none.
    pub fn entities(&self, table: TableKey) -> impl Iterator<Item = Entity<'_, T>> {
        let (slab, view) = (&self.registry.slab, self.view);
        let table = self.registry.tables.find(table).filter(|_| C::UNIQUE_IDS);
        let mut walk = table.map(|table| table.index.walk(slab, &self.section));
        let mut block = [0; BLOCK];
        let (mut next, mut filled) = (0, 0);
        std::iter::from_fn(move || {
            loop {
                if next == filled {
                    filled = walk.as_mut()?.fill(&mut block);
                    next = 0;
                    if filled == 0 {
                        walk = None;
                        return None;
                    }
                    block[..filled].iter().for_each(|slot| view.ask_for(*slot));
                }
                let occupant = slab.occupant(block[next], &self.section);
                next += 1;
                if let Some((handle, slot)) = occupant {
                    return Some(Entity { slot, handle });
                }
            }
        })
    }

    /// Lets go of everything looked up so far and stays inside: what a loop that never leaves calls
    /// now and then. Without effect while another guard of this member exists.
    #[inline]
    pub fn refresh(&mut self) {
        self.section.refresh();
        self.view = self.registry.slab.view();
    }

    /// How many guards of this member exist, this one included.
    pub fn depth(&self) -> u32 {
        self.section.depth()
    }
}

/// A registered entity, seen through a guard. Dereferences to the payload.
pub struct Entity<'g, T> {
    slot: &'g Slot<EntityFixed, T>,
    handle: Handle,
}

impl<T> Clone for Entity<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Entity<'_, T> {}

impl<'g, T> Entity<'g, T> {
    /// Its information.
    #[inline(always)]
    pub fn info(&self) -> EntityInfo {
        self.slot.plain().info()
    }

    /// Its handle.
    #[inline(always)]
    pub fn handle(&self) -> Handle {
        self.handle
    }

    /// Its payload, for as long as the guard holds.
    #[inline(always)]
    pub fn payload(self) -> &'g T {
        // SAFETY: an `Entity` is made only from a slot looked up under a guard that outlives 'g.
        unsafe { self.slot.value() }
    }
}

impl<T> Deref for Entity<'_, T> {
    type Target = T;
    #[inline(always)]
    fn deref(&self) -> &T {
        self.payload()
    }
}

/// An entity with the section that keeps it. See [`Registry::look_up`]. Dereferences to the payload.
pub struct Found<'r, T: Send + Sync, C: Config = Standard> {
    slot: *const Slot<EntityFixed, T>,
    handle: Handle,
    _section: Section<'r, Member>,
    config: PhantomData<C>,
}

impl<'r, T: Send + Sync, C: Config> Found<'r, T, C> {
    #[inline(always)]
    pub(crate) fn look_up(
        registry: &'r Registry<T, C>,
        handle: Handle,
        enter: impl FnOnce() -> Section<'r, Member>,
    ) -> Result<Self, InvalidHandle> {
        let view = registry.slab.view();
        view.ask_for_sought(handle);
        let section = enter();
        let slot = registry.slab.get_through(view, handle, &section).ok_or(InvalidHandle)?;
        let slot = std::ptr::from_ref(slot);
        Ok(Found { slot, handle, _section: section, config: PhantomData })
    }

    /// The entity, as if it had been looked up through a guard.
    #[inline(always)]
    pub fn entity(&self) -> Entity<'_, T> {
        // SAFETY: looked up in the section, which keeps it, and slots never move.
        let slot = unsafe { &*self.slot };
        Entity { slot, handle: self.handle }
    }
}

impl<T: Send + Sync, C: Config> Deref for Found<'_, T, C> {
    type Target = T;
    #[inline(always)]
    fn deref(&self) -> &T {
        self.entity().payload()
    }
}

impl<T: fmt::Debug> fmt::Debug for Entity<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entity")
            .field("handle", &self.handle)
            .field("info", &self.info())
            .field("payload", &**self)
            .finish()
    }
}
