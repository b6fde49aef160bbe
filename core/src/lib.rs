//! A lock-free, sharded registry of entities with epoch-based reclamation.
//!
//! An *entity* is a registered client of a routing table: it has an instance, an address family, an
//! id that is unique there while it is registered, a *handle* that names it for ever, and a payload of
//! the user's type. Any number of threads register, deregister, look up and enumerate at once;
//! deregistration never waits for readers (only for *client code* of the entity that runs), and what a reader
//! has looked up stays valid until its [`Guard`] goes.
//!
//! ```
//! use rtm_core::{AddressFamily, EntityInfo, InvalidHandle, Registry, Settings, TableKey};
//!
//! let registry = Registry::<String>::new(Settings::default())?;
//! let table = TableKey { instance: 0, family: AddressFamily::Inet };
//!
//! // The registration is owned: dropping it deregisters.
//! let ospf = registry.register(EntityInfo { table, id: 13 }, "ospf".to_owned())?;
//! let handle = ospf.handle();
//!
//! let guard = registry.enter();
//! let found = guard.get(handle)?;
//! assert_eq!(found.as_str(), "ospf");
//!
//! // Another thread may deregister at any moment; what is held stays.
//! std::thread::scope(|scope| {
//!     scope.spawn(move || drop(ospf));
//! });
//! assert_eq!(guard.get(handle).map(|_| ()), Err(InvalidHandle));
//! assert_eq!(found.as_str(), "ospf");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Entities with [`ClientCode`] can be invoked by others, and are told when others of their table come and
//! go. Events need exactly one [`Dispatcher`] for the registry (or a thread of your own that runs
//! [`Participant::herald_step`]), also if they are delivered by a [`Courier`] from an [`EventQueue`] of
//! your own:
//!
//! ```
//! use rtm_core::{
//!     AddressFamily, ClientCode, Dispatcher, DropBy, EntityInfo, Event, EventQueue, Registry, Settings,
//!     TableKey, Threads,
//! };
//! use std::sync::Arc;
//!
//! let registry = Arc::new(Registry::<&str>::new(Settings::default())?);
//! let table = TableKey { instance: 0, family: AddressFamily::Inet };
//! let dispatcher = Dispatcher::start(registry.clone(), Threads::default(), |delivery| {
//!     println!("{} is told: {:?}", delivery.payload(), delivery.event);
//! })?;
//!
//! // One is told by the dispatcher's threads, the other by whoever asks its queue.
//! let queue = EventQueue::new();
//! let told = [dispatcher.queue(), queue.clone()];
//! let [ospf, bgp] = [("ospf", 13, &told[0]), ("bgp", 14, &told[1])].map(|(name, id, events)| {
//!     let code = ClientCode { methods: true, events: Some(events.clone()) };
//!     registry.register_client(EntityInfo { table, id }, name, DropBy::Writers, code)
//! });
//! // `adopt` makes an owner of a handle, as `register` gives one.
//! let (ospf, bgp) = (registry.adopt(ospf?), registry.adopt(bgp?));
//!
//! assert_eq!(registry.invoke(ospf.handle(), |name| name.len())?, 4);
//! let isis = registry.register(EntityInfo { table, id: 131 }, "isis")?;
//! queue.wait(None);
//! let participant = registry.join()?;
//! let mut courier = participant.courier(&queue);
//! let delivery = courier.next_event().expect("somebody has come");
//! assert_eq!((delivery.listener, *delivery.payload()), (bgp.handle(), "bgp"));
//! assert!(matches!(delivery.event, Event::Registered { handle, .. } if handle == isis.handle()));
//! // The event ends with the courier's next call, or with the courier.
//! drop(courier);
//! // When these have gone, none of their code runs.
//! drop((ospf, bgp));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Guarantees
//!
//! 1. A handle names one entity of one registry for ever. Stale, forged, foreign and wrong-kind
//!    handles are refused; by luck a made-up one resolves with a probability of live / 2^60.
//! 2. What a guard has looked up is not dropped before the guard goes or is refreshed.
//! 3. A payload is dropped exactly once, after the grace period, and never in a thread that only reads.
//! 4. Of several registrations of an id one wins; of several deregistrations of a handle one wins.
//!    The id is free when the winning deregistration returns.
//! 5. A referenced entity can be described until its last reference goes, and its slot is not reused
//!    before; its payload is not kept by references.
//! 6. An enumeration shows every entity that is registered throughout, exactly once.
//! 7. Readers never wait, and a lookup writes no shared cache line; registering and deregistering are
//!    lock-free.
//! 8. When [`Registry::deregister`] returns, or an owner has been dropped elsewhere, none of the entity's
//!    client code runs or ever will, but for the event it was called from; a call that would wait for its own
//!    thread is refused instead.
//! 9. Registering costs the same however many listen; a listener that is too slow is told that it missed
//!    events ([`Limits::journal`]), and holds back nobody else.
//! 10. A stuck reader costs bounded memory: beyond [`Limits::backlog`], registration is refused.
//!
//! # What costs what
//!
//! | operation | progress | allocates |
//! | --- | --- | --- |
//! | [`Guard::get`], [`Guard::get_each`] | wait-free, no shared write | never |
//! | [`Registry::info`], [`Registry::registered_info`] | wait-free, no guard, async-signal-safe | never |
//! | [`Registry::enter`], [`Participant::enter`] | wait-free but for each 128th, which is lock-free and walks all members | the thread's first `Registry::enter` |
//! | [`Guard::refresh`], leaving | wait-free | never |
//! | [`Registry::register`] | lock-free | slots by chunks, buckets of the index by rows |
//! | [`Registry::register_client`] | lock-free | what stands beside the entity |
//! | [`Registry::deregister`] | lock-free; blocks for client code that runs | every 256th, a batch and crossbeam's bag |
//! | [`Registry::deregister_later`] | lock-free | as above |
//! | [`Registry::invoke`] | lock-free; blocks while the methods are blocked | the thread's first |
//! | [`Registry::block_methods`] | blocks for methods that run | never |
//! | [`Courier::next_event`] | the queue's lock, shortly | the thread's first |
//! | [`Registry::reference`], [`Registry::release`] | lock-free | never |
//! | [`Registry::collect`] | lock-free | crossbeam's bag |
//! | [`Registry::synchronize`], [`Registry::flush`] | blocks for readers | crossbeam's bag |
//! | [`Registry::statistics`] | lock-free, walks all members and all tables | never |
//! | [`Registry::member_figures`] | lock-free, a member for each `next` | never |
//! | [`Statistics::render`], [`Format::write`] | wait-free, no shared access | the text; `write` never |
//! | [`Participant::descriptions`] | lock-free but for a lock held shortly; looks at each slot that there is, used or not | never |
//!
//! # When memory runs out
//!
//! Our own allocations report [`OutOfMemory`] and change nothing. Deregistering and releasing need no memory
//! of ours. What aborts instead, because crossbeam-epoch allocates: each grace period, that is at most one
//! for a magazine of 256 retirements, each `synchronize`, a thread's exit and, rarely, entering a section (a
//! bag, 2,072 bytes). With a global allocator that lends ([`reserve`]) none of these does, but for the last,
//! which a store of bags helps. For a thread's first use (a participant, 2,304 bytes) and for each `Arc`
//! memory is looked for before.
//!
//! # What is not covered
//!
//! 64-bit targets only. A registry reserves address space for all the slots it may ever have
//! ([`Config::SLOT_BITS`]) and takes memory as they are used; where address space is limited (`RLIMIT_AS`) it
//! has fewer slots. A guard that is leaked stalls reclamation for ever, like one that is held. A process that
//! forks must not use the registry in the child (the C ABI checks that, this crate cannot). Payloads that
//! wait for their grace period are dropped by later calls, not by a thread of this crate: call
//! [`Registry::collect`] now and then if nobody registers.
//!
//! # Model checking
//!
//! With `--cfg rtm_loom --cfg crossbeam_loom` in `RUSTFLAGS` the crate runs on loom's atomics. Use
//! [`Registry::join`] there, not the thread's own membership.

#[cfg(not(target_pointer_width = "64"))]
compile_error!("rtm needs a 64-bit target: handles, words and index cells are 64 bits wide");

mod alloc;
mod code;
mod collect;
mod courier;
mod departure;
mod describe;
mod dispatch;
#[cfg(not(rtm_loom))]
mod dispatcher;
mod entity;
mod error;
mod events;
mod figures;
mod guard;
mod handle;
mod index;
mod invoke;
mod journal;
mod limits;
mod mapping;
mod member;
mod mutant;
mod participant;
mod probes;
mod reclamation;
mod registry;
pub mod reserve;
mod rundown;
#[cfg(rtm_shuttle)]
mod scheduled;
mod slab;
mod stack;
mod statistics;
mod sync;
mod table;
#[cfg(rtm_tsan)]
mod tsan;
mod waits;

pub use alloc::OutOfMemory;
pub use code::ClientCode;
pub use courier::{Courier, Delivery, Event};
pub use describe::{Activity, Description, Descriptions, Stage};
#[cfg(not(rtm_loom))]
pub use dispatcher::{Dispatcher, StartError, Threads};
pub use entity::{AddressFamily, EntityInfo, TableKey};
pub use error::{
    BlockError, DeregisterError, InvalidHandle, InvokeError, ReferenceError, Refusal,
    RegisterError, WaitError,
};
pub use events::{EventQueue, NoQueue, Told};
pub use guard::{Entity, Found, Guard};
pub use handle::{Config, Handle, HandlesOnly, Standard};
pub use invoke::Invocation;
pub use limits::Limits;
pub use participant::{Departed, Flushing, Participant, Registration};
pub use registry::{DropBy, Registry, Settings};
pub use statistics::{Figure, FigureKind, Format, MemberFigures, Statistics};
pub use table::Profile;

/// README's program for Rust, which is compiled and run as an example.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

#[cfg(rtm_loom)]
pub mod model;
#[cfg(rtm_loom)]
pub use mutant::Mutant;
#[cfg(rtm_tsan)]
#[doc(hidden)]
pub use tsan::{Mutex, MutexGuard};
