//! The specification for one thread: what there is, and what may be called where.
//!
//! Threads of the library run cleanups and callbacks at their own pace. What depends on that is *maybe*
//! so; all else is certain.

use super::context::Context;
use rtm::*;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Instance and address family.
pub(super) type Table = (u16, u16);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Certainty {
    No,
    Maybe,
    Yes,
}

/// Who calls an entity's callback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Callback {
    None,
    Pool,
    Queue(u64),
}

/// What a listener is to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) kind: u32,
    pub(super) subject: u64,
    pub(super) id: u64,
}

pub(super) struct Entity {
    pub(super) table: Table,
    pub(super) id: u64,
    pub(super) live: bool,
    pub(super) references: u32,
    /// What it was registered with; NULL: without.
    pub(super) context: *const Context,
    pub(super) cleanup: bool,
    /// Which entries of its table are methods, in the table's length.
    pub(super) methods: Vec<bool>,
    pub(super) blocked: bool,
    pub(super) opaque: bool,
    pub(super) callback: Callback,
    /// Not told yet; by the pool: all there ever were.
    pub(super) outstanding: VecDeque<Event>,
    /// It has missed events, and what is outstanding is not known.
    pub(super) lost: bool,
    /// How often the calling thread is inside its code.
    pub(super) frames: u32,
    /// When it departed.
    pub(super) departed: u64,
    /// Without waiting: its id may be taken until its code has returned.
    pub(super) later: bool,
    /// Somebody listened when it departed: it may be described until all are told.
    pub(super) told: bool,
}

impl Entity {
    pub(super) fn exported(&self) -> u32 {
        self.methods.iter().enumerate().fold(0, |mask, (bit, is)| mask | u32::from(*is) << bit)
    }

    pub(super) fn has_code(&self) -> bool {
        self.callback != Callback::None || self.exported() != 0
    }
}

/// A read section, of the thread or of a reader object.
#[derive(Clone, Copy, Default)]
pub(super) struct Section {
    pub(super) depth: u32,
    /// What was there then may still be in its user's hands.
    pub(super) since: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Method,
    /// That another came or went.
    Membership(u64),
    Missed,
}

/// Client code that the thread is inside of.
#[derive(Clone, Copy)]
pub(super) struct Frame {
    pub(super) entity: u64,
    pub(super) part: Part,
}

#[derive(Default)]
pub(super) struct Counts {
    pub(super) registered: u64,
    pub(super) departed: u64,
    pub(super) events: u64,
    pub(super) missed: u64,
    /// Deregistered since the last flush.
    pub(super) unflushed: u64,
    pub(super) opaque: u32,
}

pub(super) struct Model {
    pub(super) entities: BTreeMap<u64, Entity>,
    /// Those that are registered, oldest first.
    pub(super) alive: Vec<u64>,
    /// Those of them that have a callback.
    pub(super) listeners: Vec<u64>,
    /// Departed ones that run still, or may do.
    pub(super) leaving: Vec<u64>,
    pub(super) readers: BTreeMap<u64, Section>,
    pub(super) queues: BTreeSet<u64>,
    /// Those that a departed entity may still use.
    pub(super) queues_kept: Vec<u64>,
    pub(super) own: Section,
    pub(super) frames: Vec<Frame>,
    pub(super) limits: RTMX_LIMITS,
    pub(super) counts: Counts,
    /// Tables that there are, and those that may be there.
    pub(super) tables: BTreeSet<Table>,
    pub(super) tables_maybe: BTreeSet<Table>,
    /// The least that a table's journal may keep.
    pub(super) journals: BTreeMap<Table, u64>,
    pub(super) pool_used: bool,
    /// Departed ones whose cleanup may not have run.
    pub(super) unclean: Vec<u64>,
    pub(super) now: u64,
}

pub(super) const DEFAULT_LIMITS: RTMX_LIMITS = RTMX_LIMITS {
    MaxEntities: 1 << 28,
    MaxInstances: 1 << 16,
    MaxReferences: (1 << 28) - 1,
    MaxOpaquePointers: 1024,
    MaxBacklog: 1 << 20,
    MaxJournal: 1 << 20,
    IdleEventThreads: 2,
    MaxEventThreads: 64,
};

impl Model {
    pub(super) fn new(now: u64) -> Model {
        Model {
            entities: BTreeMap::new(),
            alive: Vec::new(),
            listeners: Vec::new(),
            leaving: Vec::new(),
            readers: BTreeMap::new(),
            queues: BTreeSet::new(),
            queues_kept: Vec::new(),
            own: Section::default(),
            frames: Vec::new(),
            limits: DEFAULT_LIMITS,
            counts: Counts::default(),
            tables: BTreeSet::new(),
            tables_maybe: BTreeSet::new(),
            journals: BTreeMap::new(),
            pool_used: false,
            unclean: Vec::new(),
            now,
        }
    }

    /// A registered entity.
    pub(super) fn live(&self, handle: u64) -> Option<&Entity> {
        self.entities.get(&handle).filter(|entity| entity.live)
    }

    pub(super) fn is_inside(&self) -> bool {
        self.own.depth != 0 || self.readers.values().any(|reader| reader.depth != 0)
    }

    pub(super) fn in_membership_event(&self) -> bool {
        self.frames.iter().any(|frame| matches!(frame.part, Part::Membership(_)))
    }

    pub(super) fn is_dispatching(&self) -> bool {
        self.frames.iter().any(|frame| frame.part != Part::Method)
    }

    pub(super) fn in_method_of(&self, handle: u64) -> bool {
        self.frames.iter().any(|frame| frame.entity == handle && frame.part == Part::Method)
    }

    /// Whether waiting for everybody is refused.
    pub(super) fn must_not_wait(&self) -> bool {
        self.is_inside() || !self.frames.is_empty()
    }

    /// Whether an open section may hold what departed then.
    pub(super) fn is_guarded(&self, departed: u64) -> bool {
        let holds = |section: &Section| section.depth != 0 && section.since < departed;
        holds(&self.own) || self.readers.values().any(holds)
    }

    /// Whether callers of the table get the entity's information.
    pub(super) fn describable(&self, handle: u64, table: Table) -> Certainty {
        let Some(entity) = self.entities.get(&handle).filter(|entity| entity.table == table) else {
            return Certainty::No;
        };
        if entity.live || entity.references != 0 {
            return Certainty::Yes;
        }
        if !entity.told {
            return Certainty::No;
        }
        let room = self.journals.get(&table).copied().unwrap_or(0);
        let promised = |listener: &u64| {
            let listening = &self.entities[listener];
            let is_current = self
                .frames
                .iter()
                .any(|frame| frame.entity == *listener && frame.part == Part::Membership(handle));
            let due = |event: &Event| event.subject == handle;
            matches!(listening.callback, Callback::Queue(_))
                && (listening.outstanding.len() as u64) + 8 < room
                && (is_current || listening.outstanding.iter().any(due))
        };
        let promised = self.listeners.iter().any(promised);
        if promised { Certainty::Yes } else { Certainty::Maybe }
    }

    /// Everybody of the table is to be told.
    fn tell(&mut self, table: Table, event: Event) {
        for listener in &self.listeners {
            let entity = self.entities.get_mut(listener).expect("it listens");
            if entity.table == table && *listener != event.subject {
                entity.outstanding.push_back(event);
            }
        }
    }

    pub(super) fn add(&mut self, handle: u64, entity: Entity) {
        let (table, id) = (entity.table, entity.id);
        self.tell(table, Event { kind: RTM_ENTITY_REGISTERED, subject: handle, id });
        self.tables.insert(table);
        self.counts.registered += 1;
        self.counts.opaque += u32::from(entity.opaque);
        self.alive.push(handle);
        if entity.callback != Callback::None {
            self.listeners.push(handle);
        }
        self.pool_used |= entity.callback == Callback::Pool;
        let before = self.entities.insert(handle, entity);
        assert!(before.is_none(), "DIVERGENCE: two entities have the handle {handle:#x}");
    }

    pub(super) fn depart(&mut self, handle: u64, later: bool) {
        let now = self.now;
        let entity = self.entities.get_mut(&handle).expect("registered");
        let (table, id) = (entity.table, entity.id);
        let told = self.listeners.iter().any(|listener| self.entities[listener].table == table);
        let entity = self.entities.get_mut(&handle).expect("registered");
        entity.live = false;
        entity.blocked = false;
        entity.departed = now;
        entity.later = later;
        entity.told = told;
        if entity.callback != Callback::Pool {
            entity.outstanding.clear();
        }
        self.counts.opaque -= u32::from(entity.opaque);
        self.counts.departed += 1;
        self.counts.unflushed += 1;
        if entity.cleanup && !entity.context.is_null() {
            self.unclean.push(handle);
        }
        if let (Callback::Queue(queue), true) = (entity.callback, later) {
            self.queues_kept.push(queue);
        }
        if entity.frames != 0 || later && entity.callback == Callback::Pool {
            self.leaving.push(handle);
        }
        let last = |list: &[u64]| list.iter().rposition(|other| *other == handle);
        if let Some(index) = last(&self.alive) {
            self.alive.remove(index);
        }
        if let Some(index) = last(&self.listeners) {
            self.listeners.remove(index);
        }
        self.tell(table, Event { kind: RTM_ENTITY_DEREGISTERED, subject: handle, id });
    }

    /// Whether a departed entity still has its id, its place among the registered ones, and so on.
    fn lingers(&self, handle: u64) -> Certainty {
        let entity = &self.entities[&handle];
        match (entity.later, entity.frames, entity.callback) {
            (false, ..) => Certainty::No,
            (true, 1.., _) => Certainty::Yes,
            (true, 0, Callback::Pool) => Certainty::Maybe,
            _ => Certainty::No,
        }
    }

    /// Departed ones that linger, certainly or perhaps.
    pub(super) fn lingering(&self, how: Certainty) -> u64 {
        self.leaving.iter().filter(|handle| self.lingers(**handle) == how).count() as u64
    }

    pub(super) fn is_taken(&self, table: Table, id: u64) -> Certainty {
        let is_it = |handle: &&u64| {
            let entity = &self.entities[*handle];
            (entity.table, entity.id) == (table, id)
        };
        if self.alive.iter().any(|handle| is_it(&handle)) {
            return Certainty::Yes;
        }
        let leaving = self.leaving.iter().filter(is_it).map(|handle| self.lingers(*handle));
        leaving.max_by_key(|certainty| *certainty as u8).unwrap_or(Certainty::No)
    }

    pub(super) fn enter(&mut self, entity: u64, part: Part) {
        self.frames.push(Frame { entity, part });
        self.entities.get_mut(&entity).expect("its code runs").frames += 1;
    }

    pub(super) fn leave(&mut self) {
        let frame = self.frames.pop().expect("entered before");
        let entity = self.entities.get_mut(&frame.entity).expect("its code ran");
        entity.frames -= 1;
        if entity.frames == 0 && entity.callback != Callback::Pool {
            self.leaving.retain(|handle| *handle != frame.entity);
        }
    }

    /// Everything that departed has been cleaned up.
    pub(super) fn flushed(&mut self) {
        self.counts.unflushed = 0;
        self.leaving.clear();
        self.queues_kept.clear();
        for handle in std::mem::take(&mut self.unclean) {
            // SAFETY: contexts stay until the program is over.
            let context = unsafe { &*self.entities[&handle].context };
            assert!(context.is_clean(), "DIVERGENCE: flushed, but {handle:#x} is not cleaned up");
        }
    }

    /// What holds at any time of cleanups.
    pub(super) fn check_cleanups(&mut self) {
        let mut unclean = std::mem::take(&mut self.unclean);
        unclean.retain(|handle| {
            let entity = &self.entities[handle];
            let kept = self.is_guarded(entity.departed) || entity.frames != 0;
            // SAFETY: as above.
            let clean = unsafe { &*entity.context }.is_clean();
            assert!(
                !(kept && clean),
                "DIVERGENCE: {handle:#x} was cleaned up while somebody had it"
            );
            !clean
        });
        self.unclean = unclean;
    }

    pub(super) fn referenced(&self) -> u64 {
        let is = |entity: &&Entity| !entity.live && entity.references != 0;
        self.entities.values().filter(is).count() as u64
    }
}
