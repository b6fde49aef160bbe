//! The operations whose coherence events are simulated, by threads that take turns.
//!
//! *Without the id index*: a registry of [`HandlesOnly`]. What is left is the slab, the lists of the members,
//! reclamation and the common counters.

use super::instructions::{METHODS, entity, picks, register, registry};
use super::turns::{self, Length, Operation};
use rtm_core::{Config, DropBy, Handle, HandlesOnly, Standard};
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};

/// An operation.
pub(super) struct Simulated {
    pub(super) name: &'static str,
    pub(super) per_turn: u64,
    /// Threads that operate, of those there are.
    active: Option<usize>,
    /// Turns of each thread before the measurement, and in it: those after which everything comes round.
    warm: usize,
    period: usize,
    work: Work,
}

#[derive(Clone, Copy)]
enum Work {
    Info,
    Batch,
    OwnGuard,
    Refreshed,
    Reference,
    Invoke,
    Churn { indexed: bool },
    SharedCounter,
}

/// On lines of its own.
#[derive(Default)]
#[repr(align(128))]
struct Apart(AtomicU64);

const SHARED: u64 = 64;
const BATCH: usize = 32;
/// Every so many pins crossbeam walks all members.
const PINS: usize = 128;
/// Retirements that are handed on together, and turns until no member needs new slots any more.
const MAGAZINE: usize = 256;
const UNTIL_STEADY: usize = 896;

pub(super) const OWN_SHARDS: &str = "register + deregister, no index";
pub(super) const SELF_CHECK: &str = "info and a shared counter (self-check)";

/// In the order of the table.
pub(super) const ALL: &[Simulated] = &[
    of("info", 16, Work::Info),
    Simulated { per_turn: BATCH as u64, ..of("batch, held guard", 8, Work::Batch) },
    of("look up, own guard", PINS, Work::OwnGuard),
    Simulated { active: Some(1), ..of("look up, own guard, others idle", PINS, Work::OwnGuard) },
    of("look up, refreshed guard", 16, Work::Refreshed),
    of("reference + release, one entity", 16, Work::Reference),
    of("invoke, one callee", PINS, Work::Invoke),
    churn(OWN_SHARDS, false),
    churn("register + deregister, one table, new ids", true),
    of(SELF_CHECK, 16, Work::SharedCounter),
];

const fn of(name: &'static str, period: usize, work: Work) -> Simulated {
    Simulated { name, per_turn: 1, active: None, warm: 16, period, work }
}

const fn churn(name: &'static str, indexed: bool) -> Simulated {
    Simulated { warm: UNTIL_STEADY, ..of(name, MAGAZINE, Work::Churn { indexed }) }
}

impl Simulated {
    /// Whether a quick run does without: it takes long, or there is nothing to learn from it.
    pub(super) fn is_left_out(&self, threads: usize) -> bool {
        match self.work {
            // With one thread there are no events, or the marks are wrong.
            Work::Churn { indexed: false } => threads == 64,
            Work::Churn { indexed: true } => threads != 16,
            _ => threads == 1,
        }
    }

    /// Runs in the process that is traced. Does not return.
    pub(super) fn run(&self, threads: usize) -> ! {
        match self.work {
            Work::Churn { indexed: false } => self.run_with::<HandlesOnly>(threads),
            _ => self.run_with::<Standard>(threads),
        }
    }

    fn run_with<C: Config>(&self, threads: usize) -> ! {
        let registry = registry::<C>();
        let host = registry.join().expect("memory for a member");
        let handles: Vec<Handle> = (0..SHARED).map(|id| register(&host, 0, id)).collect();
        let done = host.register_client(entity(0, SHARED), [0; 14], DropBy::Writers, METHODS);
        let callee = done.expect("registered");
        let (registry, handles, counter) = (&registry, &picks(&handles, 1024), &Apart::default().0);
        let (active, period, work) = (self.active.unwrap_or(threads), self.period, self.work);
        let length = Length { threads, active, warm: self.warm, measured: period };
        turns::play(length, |seat| {
            let member = registry.join().expect("memory for a member");
            // A copy of its own, of which the first and the last line, which may be shared with what others
            // write, are not read.
            let margin = [handles[0]; 16];
            let (copy, mut next) = ([&margin, &handles[..], &margin].concat(), seat * 67);
            let chosen = handles[seat * 8..][..BATCH].to_vec();
            let first = handles[0];
            let mut pick = move || {
                next += 31;
                copy[margin.len() + next % (copy.len() - 2 * margin.len())]
            };
            let mut operation: Operation<'_> = match work {
                Work::Info => Box::new(move || {
                    black_box(registry.info(pick()).expect("registered").id);
                }),
                Work::SharedCounter => Box::new(move || {
                    black_box(registry.info(pick()).expect("registered").id);
                    counter.fetch_add(1, Ordering::Relaxed);
                }),
                Work::Batch => {
                    let guard = Box::leak(Box::new(member)).enter();
                    Box::new(move || {
                        let mut sum = 0;
                        guard.get_each(&chosen, |_, found| sum += found.expect("registered")[1]);
                        black_box(sum);
                    })
                }
                Work::OwnGuard => Box::new(move || {
                    black_box(member.enter().get(pick()).expect("registered")[1]);
                }),
                Work::Refreshed => {
                    let mut guard = Box::leak(Box::new(member)).enter();
                    Box::new(move || {
                        guard.refresh();
                        black_box(guard.get(pick()).expect("registered")[1]);
                    })
                }
                Work::Reference => Box::new(move || {
                    registry.reference(first).expect("registered");
                    member.release(first).expect("referenced");
                }),
                Work::Invoke => Box::new(move || {
                    black_box(member.begin_invoke(callee).expect("registered")[1]);
                }),
                Work::Churn { .. } => {
                    let mut id = (seat as u64 + 1) << 32;
                    Box::new(move || {
                        id += 1;
                        let handle = register(&member, 0, id);
                        member.deregister(handle).expect("registered");
                    })
                }
            };
            // What comes round must not come round for all in the same turn.
            (0..seat * period / threads).for_each(|_| operation());
            operation
        })
    }
}
