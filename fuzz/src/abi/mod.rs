//! The C ABI as a byte-code of calls, run against an oracle.
//!
//! A program is a sequence of calls of all exported functions with arguments of its choice: handles that are
//! good, stale, of another kind, changed or made up; pointers that are NULL or misaligned; sizes too small.
//! One thread runs it. Callbacks from event queues and methods go on with the program, so that calls are
//! made from inside of them. Before each call the `Model` says what may come out of it; code and outputs
//! are compared. When the program is over, everything is given back, and must be.
//!
//! Handles that were not given out are taken to be bad: one of them resolves with a probability of
//! 2^-32 at most.

mod client;
mod context;
mod entities;
mod events;
mod formats;
mod methods;
mod model;
mod process;
mod program;
mod registering;
mod sections;

use context::Context;
use model::{Entity, Model, Table};
use program::Program;
use rtm::*;
use std::cell::{Cell, Ref, RefCell, RefMut};
use std::ffi::c_void;
use std::ptr;

thread_local! {
    /// The program that this thread runs.
    static WORLD: Cell<*const World> = const { Cell::new(ptr::null()) };
}

/// How deep calls are nested in client code.
const DEPTH: u32 = 3;

struct World {
    program: Program,
    model: RefCell<Model>,
    /// All handles that were ever given, oldest first.
    given: RefCell<Given>,
    /// They stay, for cleanups that come late.
    #[expect(clippy::vec_box, reason = "their addresses are given away")]
    contexts: RefCell<Vec<Box<Context>>>,
    depth: Cell<u32>,
    /// What `RtmxDispatchEvents` under way has run.
    dispatched: Cell<u32>,
    dispatching: Cell<u64>,
    /// The invocation under way.
    invocation: Cell<*const methods::Invocation>,
    /// Entities that were registered and deregistered in bulk.
    churned: Cell<u32>,
}

#[derive(Default)]
struct Given {
    entities: Vec<u64>,
    readers: Vec<u64>,
    queues: Vec<u64>,
    all: Vec<u64>,
}

/// Runs a program.
pub fn run(bytes: &[u8]) {
    let world = World {
        program: Program::new(bytes),
        model: RefCell::new(Model::new(1)),
        given: RefCell::default(),
        contexts: RefCell::default(),
        depth: Cell::new(0),
        dispatched: Cell::new(0),
        dispatching: Cell::new(0),
        invocation: Cell::new(ptr::null()),
        churned: Cell::new(0),
    };
    WORLD.set(&world);
    world.begin();
    while !world.program.is_over() {
        world.step();
    }
    world.finish();
    WORLD.set(ptr::null());
}

/// The program of this thread; `None` in the library's own.
fn world<'w>() -> Option<&'w World> {
    // SAFETY: set for as long as `run` runs, which calls everything that asks.
    unsafe { WORLD.get().as_ref() }
}

/// Compares a code with those that may come.
#[track_caller]
fn expect(call: &str, code: DWORD, allowed: &[DWORD]) {
    if !allowed.contains(&code) {
        panic!("DIVERGENCE: {call} answers {code}, not one of {allowed:?} {:?}", context::logged());
    }
}

/// One call of the library.
macro_rules! call {
    ($function:ident($($argument:expr),* $(,)?)) => {
        // SAFETY: pointers that are NULL, misaligned, or lead to as much memory as the call is told.
        unsafe { rtm::$function($($argument),*) }
    };
}
use call;

fn to_c(handle: u64) -> HANDLE {
    ptr::without_provenance_mut::<c_void>(handle as usize)
}

fn from_c(handle: HANDLE) -> u64 {
    handle.addr() as u64
}

impl World {
    fn model(&self) -> Ref<'_, Model> {
        self.model.borrow()
    }

    fn change(&self) -> RefMut<'_, Model> {
        self.model.borrow_mut()
    }

    fn step(&self) {
        self.change().now += 1;
        match self.program.byte() % 64 {
            0..=11 => self.register_any(),
            12..=15 => self.deregister(self.entity()),
            16..=17 => self.deregister_later(self.entity()),
            18..=19 => self.enumerate(),
            20..=21 => self.reference(),
            22..=23 => self.release(),
            24 => self.info(),
            25 => self.release_info(),
            26 => self.methods(),
            27..=29 => self.invoke(),
            30..=31 => self.block(),
            32 => self.create_queue(),
            33 => self.delete_queue(),
            34 => self.descriptor(),
            35..=36 => self.dispatch_any(),
            37..=38 => self.drain(self.queue()),
            39 => self.await_pool(self.entity()),
            40..=41 => self.enter(),
            42 => self.leave(),
            43 => self.quiescent(),
            44..=45 => self.get_context(None),
            46 => self.get_contexts(None),
            47 => self.create_reader(),
            48 => self.delete_reader(),
            49 => self.reader_enter(),
            50 => self.reader_leave(),
            51 => self.reader_quiescent(),
            52 => self.get_context(Some(self.reader())),
            53 => self.get_contexts(Some(self.reader())),
            54 => self.synchronize(),
            55 => self.flush(),
            56 => self.shutdown(),
            57 => self.statistics(),
            58 => self.format(),
            59 => self.get_limits(),
            60 => self.set_limits(),
            61 if self.program.byte().is_multiple_of(4) => self.trim(),
            61 => self.texts(),
            62 => self.log_function(),
            _ => self.churn(),
        }
        self.change().check_cleanups();
    }

    /// Goes on with the program inside client code.
    fn nested(&self) {
        let depth = self.depth.get();
        if depth == DEPTH {
            return;
        }
        self.depth.set(depth + 1);
        for _ in 0..self.program.byte() % 4 {
            if !self.program.is_over() {
                self.step();
            }
        }
        self.depth.set(depth);
    }

    // --- Arguments ---

    fn table(&self) -> Table {
        const FAMILIES: [u16; 2] = [libc::AF_INET as u16, libc::AF_INET6 as u16];
        match self.program.byte() {
            byte @ 0..0xf0 => {
                let instance = if byte < 0x90 { 0 } else { byte.into() };
                (instance % 5, FAMILIES[usize::from(byte & 1)])
            }
            byte => (0, byte.into()),
        }
    }

    /// An entity's handle, mostly.
    fn entity(&self) -> u64 {
        self.handle(&self.model().alive, &self.given.borrow().entities)
    }

    /// A handle that goes with the caller's: mostly of an entity of its table.
    fn other(&self, caller: u64) -> u64 {
        let Some(table) = self.caller(caller) else { return self.entity() };
        let peers: Vec<u64> = {
            let model = self.model();
            let is_peer = |handle: &&u64| model.entities[*handle].table == table;
            model.alive.iter().filter(is_peer).copied().collect()
        };
        self.handle(&peers, &self.given.borrow().entities)
    }

    fn reader(&self) -> u64 {
        let readers = &self.given.borrow().readers;
        self.handle(readers, readers)
    }

    fn queue(&self) -> u64 {
        let queues = &self.given.borrow().queues;
        self.handle(queues, queues)
    }

    /// Mostly a good one, or one that was; at times any number.
    fn handle(&self, good: &[u64], given: &[u64]) -> u64 {
        let all = &self.given.borrow().all;
        match self.program.byte() {
            0..0xb0 if !good.is_empty() => self.program.one_of(good),
            0..0xe0 if !given.is_empty() => self.program.one_of(given),
            0..0xe8 if !all.is_empty() => self.program.one_of(all),
            _ => self.mutated(all),
        }
    }

    fn mutated(&self, all: &[u64]) -> u64 {
        let how = self.program.byte() % 8;
        if how == 0 || all.is_empty() {
            return 0;
        }
        let handle = self.program.one_of(all);
        match how {
            1 => handle ^ 1 << (self.program.byte() % 64),
            2 => handle & !(15 << 28) | u64::from(self.program.byte() & 15) << 28,
            3 => handle.wrapping_add(self.program.byte() as i8 as u64),
            4 => self.program.word(),
            5 => handle & 0xffff_ffff | self.program.one_of(all) & !0xffff_ffff,
            6 => handle ^ self.program.one_of(all),
            _ => handle.rotate_left(self.program.byte().into()),
        }
    }

    /// Some handles of entities, to go with the caller's.
    fn entity_list(&self, caller: u64) -> Vec<u64> {
        let count = match self.program.byte() {
            byte @ 0..0xf0 => byte % 5,
            byte => byte % 70,
        };
        (0..count).map(|_| self.other(caller)).collect()
    }

    /// A handle that was given for the first time.
    fn note_given(&self, handle: u64, list: impl FnOnce(&mut Given) -> &mut Vec<u64>) {
        assert!(handle != 0, "DIVERGENCE: a handle is NULL");
        let mut given = self.given.borrow_mut();
        // All would take too long to look at, where there are many.
        let mut last = given.all.iter().rev().take(256);
        assert!(last.all(|other| *other != handle), "DIVERGENCE: {handle:#x} is given twice");
        given.all.push(handle);
        list(&mut given).push(handle);
    }

    fn new_context(&self) -> *const Context {
        let mut contexts = self.contexts.borrow_mut();
        contexts.push(Box::default());
        &raw const **contexts.last().expect("just pushed")
    }

    /// The caller's table; `None`: it is not registered.
    fn caller(&self, handle: u64) -> Option<Table> {
        self.model().live(handle).map(|entity| entity.table)
    }

    fn of_entity<R>(&self, handle: u64, look: impl FnOnce(&Entity) -> R) -> R {
        look(&self.model().entities[&handle])
    }
}
