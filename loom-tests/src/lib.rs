//! Loom models of `rtm-core`, their canary payload, and the mutants they must catch.
//!
//! ```text
//! export RUSTFLAGS="--cfg rtm_loom --cfg crossbeam_loom"
//! cargo run --target-dir target/loom -p rtm-loom-tests --bin loom-mutants   # models and mutants
//! cargo test --target-dir target/loom -p rtm-loom-tests                     # models alone
//! ```
//!
//! A model drives one part (through `rtm_core::model`) or a whole registry with explicit
//! participants. loom explores its executions within a bound on pre-emptions, stale values of
//! relaxed loads among them. Every model asserts something, has more than one execution, and is
//! explored from both sides (see `explore`). The last column of the table of models names the
//! mutants (`rtm_core::Mutant`) under which it must fail; the runner checks that, too.
//!
//! # What is not the shipped code
//!
//! | under loom | why | covered by |
//! | --- | --- | --- |
//! | memory is never short: no sealed batch waits for any (`reclamation.rs`) | loom's has no end | `ffi/tests/c/no_memory.c` |
//! | all tables hang in one bucket (`table.rs`) | size | `core/tests/registry.rs` |
//! | slots lie in memory that is all there from the start; what is open is noted (`slab/span.rs`) | no system calls | all tests of core |
//! | slots and arrays are written with zero atomics (`alloc.rs`) | loom's atomics have an identity | all tests of core |
//! | waiting is a yield (`Backoff`) | loom has no time | `core/tests/registry.rs` |
//! | a thread's token is loom's number of it (`thread_token`) | loom's threads share one | `core/tests/registry.rs`, waits |
//! | a timeout never comes (`Word`); its lock orders the sleeper behind the waker | loom has no time and no futex | `core/src/dispatch/tests.rs` |
//! | a counter instead of an eventfd (`dispatch/queue.rs`) | no system calls | `core/src/dispatch/tests.rs` |
//! | counts of `Arc`s in `dispatch` are std's | fewer executions; they free plain memory | – |
//! | two stripes for an entity's methods (`code.rs`) | size | `core/tests/events.rs` |
//! | orders of 3 bits instead of 33 (`index/link.rs`) | objects of one order | `core/tests/properties.rs` |
//! | a journal has blocks of two entries (`journal/mod.rs`) | size | `core/src/journal/tests.rs` |
//! | the index's objects lie in slots that have canaries (`model.rs`) | loom does not see an atomic used anew | `core/tests/properties.rs` |
//! | crossbeam-epoch's compiler fence is a fence | loom has none | crossbeam's own tests |
//!
//! Never run: members of threads in the thread-local list (`member.rs`; `core/tests/registry.rs` and
//! `stress.rs`), buckets of an index beyond the fourth level (`registry.rs`, `stress.rs`), limits that
//! change at run time, back-pressure, panicking drops (`registry.rs`), the threads of a `Dispatcher`
//! (`core/tests/dispatcher.rs`), listeners of several tables, slices of more than a few events.
//!
//! # What loom does not show
//!
//! Load buffering (a load never sees a store that is executed later). `SeqCst` fences are a little
//! stronger than C++'s: all that come before are acquired. The bound on pre-emptions cuts
//! executions off, and only the last access to an atomic counts for what is tried the other way
//! round.
//!
//! # Orderings without a mutant
//!
//! What each ordering is for, which model and mutant show it, and why some stay without: the ledger in
//! `docs/concurrency.md`, which `tests/orderings` compares with the sources. A mutant weakens the accesses of
//! one function to one atomic and nothing else, for what is caught when two sides are weakened proves one.
#![cfg(rtm_loom)]

mod canary;
pub mod dispatch;
pub mod events;
pub mod index;
pub mod journal;
pub mod limits;
pub mod reclamation;
pub mod registry;
pub mod rundown;
pub mod slab;
pub mod stack;

pub use canary::{Canary, Ledger};

use rtm_core::{Config, Mutant};
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// One model.
pub struct Model {
    /// `module::function`.
    pub name: &'static str,
    /// Explores it; panics if it finds a fault.
    pub run: fn(),
    /// The mutants it must fail under.
    pub catches: &'static [Mutant],
}

macro_rules! models {
    ($($module:ident { $($function:ident [$($mutant:ident)*])+ })+) => {
        /// Every model.
        pub const MODELS: &[Model] = &[$($(Model {
            name: concat!(stringify!($module), "::", stringify!($function)),
            run: $module::$function,
            catches: &[$(Mutant::$mutant),*],
        }),+),+];
    };
}

models! {
    slab {
        publish_and_look_up [PublishRelaxed LookupRelaxed]
        look_up_against_removal [ReclaimEarly RipenAtOnce]
        refresh_against_removal []
        publish_and_copy [CopyRelaxed]
        copy_against_reuse [CopyWithoutFence FixedWithoutFence CopyWithoutRecheck KeepGeneration]
        copy_against_trim [GiveBackWithoutFence RangeForgets]
        theft_against_trim [TakeWithoutSwap]
        join_against_trim [GiveUpRelaxed TakeOverRelaxed]
        two_removals [UnpublishBlindly]
        remove_what_another_published [LookupRelaxed]
        reference_against_removal [ReferenceBlindly]
        reference_sees_registration [ReferenceRelaxed]
        release_against_reclaim [ReleaseFreesDead ReleaseRelaxed SettleRelaxed]
        release_against_plain_reclaim [PlainSettlesKept]
        two_releases []
        last_generation []
        growth_by_two [ChunkTwice]
        growth_seen_by_a_reader [OpenRelaxed OpenFoundRelaxed]
        growth_seen_through_an_old_view [ViewNotRenewed]
        two_thieves []
        share_against_theft [PushRelaxed TakeRelaxed]
        seal_against_seal [TakeBlindly]
        retire_against_seal [RetireRelaxed]
        two_take_what_is_retired [TakeBlindly RetireRelaxed RetiredSeenRelaxed TakenRelaxed TakenSeenRelaxed TakenFoundRelaxed]
    }
    stack {
        two_takers [TakeWithoutSwap PushRelaxed TakeRelaxed]
        push_against_take []
        put_back_against_take []
    }
    index {
        two_insertions [InsertBlindly]
        two_ids_in_one_place [InsertBlindly]
        two_ids_of_one_order []
        insert_against_remove []
        id_handed_on [LinkRelaxed LinkFoundRelaxed]
        id_handed_on_by_its_mark [MarkRelaxed LinkFoundRelaxed]
        insert_behind_a_removal [RemoveUnmarked]
        two_neighbours_removed [RemoveUnmarked LeftLinked]
        slot_used_again_under_a_search [SearchUnpinned]
        slot_used_again_under_a_walk []
        walk_against_the_rest []
        bucket_linked_under_insertions [BucketLinkedTwice]
        bucket_linked_under_a_removal [BucketUsedNew]
        growth_seen [LevelRelaxed LevelFoundRelaxed]
        two_growths [RowFoundRelaxed]
    }
    journal {
        append_and_read [
            JournalCommitRelaxed JournalReadRelaxed JournalBlockRelaxed JournalBlockFoundRelaxed
        ]
        read_against_overrun [
            JournalReadWithoutFence JournalReadWithoutRecheck JournalClaimWithoutFence
        ]
        two_writers_need_a_block [JournalInstallBlindly JournalBlockMetRelaxed]
        trim_against_append [JournalDetachBlindly]
        read_against_recycling []
        overwrite_sees_a_hold [JournalClaimRelaxed]
        overwrite_against_trim [
            JournalHoldWithoutSwap JournalSweepWithoutFence JournalSweepWithoutRecheck
            JournalLetGoWithoutExchange
        ]
        free_overwrite_against_trim []
        late_commit_against_trim [
            JournalTrimWithoutFence JournalLateWithoutFence JournalLateBlindly
            JournalBlockTrimmedRelaxed
        ]
        late_commit_against_recycling [JournalClaimsNewer]
        late_commit_against_trim_and_append [JournalLateBlindly]
        writers_a_round_apart [JournalClaimsBusy JournalLostSilently]
        spare_blocks [JournalSpareWithoutCount]
        spare_block_handed_on [JournalSpareRelaxed JournalSpareTakenRelaxed]
    }
    reclamation {
        grace_period [RipenAtOnce]
        grace_period_too_early [GraceUnderWay GraceWithoutFence]
        push_against_take [DueRelaxed DueSeenRelaxed]
        synchronize []
        synchronize_with_one_inside [GraceOverSeenRelaxed]
        phases [
            SealWithoutRecheck CountInWithoutFence FlushWithoutFence CountOutRelaxed DrainedRelaxed
            PhaseRelaxed PhaseSeenRelaxed FlushSkipsOlderPhase
        ]
        seal_against_flush [CountInLate]
        seal_in_the_next_phase [SealLookRelaxed]
        record_reuse [RecordReusedInside GiveUpRelaxed TakeOverRelaxed]
        record_handed_on []
        two_members [RecordRelaxed RecordFoundRelaxed]
        member_gone_with_garbage []
    }
    dispatch {
        append_against_sleep [WakeWithoutFence WaitWithoutFence WaitWithoutLook]
        stop_against_sleep [StopRelaxed StopSeenRelaxed]
        stop_against_start [StopRelaxed StartRelaxed]
        rouse_against_sleep [StopRelaxed]
        append_against_pause [PauseWithoutLook PauseWithoutFence RestsLate]
        append_against_pass [AttendLate AttendWithoutFence RingWithoutFence]
        runs_one_after_the_other [PauseRelaxed RouseRelaxed]
        the_last_one_rings [LastDoesNotRing BusyRelaxed]
        reading_against_release [CursorRelaxed]
        close_against_a_run [
            BeginBlindly CloseBlindly CloseRelaxed CloseSeesRelaxed PauseRelaxed
        ]
        close_against_join [CloseBlindly]
        close_against_pop []
        join_against_trim [JoinWithoutFence JoinWithoutLook TrimWithoutFence TrimWithoutLook]
        join_against_pass [JoinerRouses]
        skip_against_commit [StartWithoutFence StartAcquires]
        publish_against_overrun [PassedBlindly PassedWithoutFence StartAcquires StartWithoutFence]
        skip_against_overrun [JournalReserveRelaxed StartWithoutFence]
        publish_against_enlist [ListensWithoutFence EnlistWithoutFence]
        append_against_enlist [EnlistRelaxed ReserveWithoutFence]
        two_enlist [LogRelaxed LogSeenRelaxed]
        two_ringers [RungTwice FlagRelaxed AttendRelaxed RungPushRelaxed RungTakeRelaxed]
        push_against_pop [QueueStaysArmed QueueArmsUnlocked]
        push_against_wait [QueueWakesNobody]
        two_sleepers [QueueWakesNobody]
        interrupt_against_wait []
    }
    rundown {
        close_against_invoke [EnterClosed LeaveRelaxed OverRelaxed]
        two_leave_by_one_stripe [LeaveSeesRelaxed]
        close_later_against_invoke [PartRelaxed]
        block_against_invoke [EnterBlocked EnterRelaxed UnblockRelaxed QuietRelaxed]
        bell [ListenRelaxed RingRelaxed]
        frames_handed_on [FramesTakenBlindly]
        deregister_against_invoke [EnterClosed LeaveRelaxed EndWakesNobody]
        deregister_later_against_invoke [EnterClosed PartRelaxed]
        two_departures_against_invoke [EndWakesNobody]
        block_and_resume_against_invoke [EnterBlocked ResumptionWakesNobody EndWakesNobody]
        departure_against_blocked_invoke [DepartureWakesNobody]
        later_departure_against_blocked_invoke [DepartureWakesNobody]
        blocked_by_another [BlockRelaxed RefuseWithoutFence]
        two_methods_that_deregister_each_other [WaitsBlindly]
        blocker_against_blocked [WaitsBlindly]
        blocker_in_a_circle [BlockerUnnoted]
    }
    events {
        deregister_against_delivery [EndWakesNobody]
        deregister_later_against_delivery []
        deregister_inside_missed_event [GoneForgotten]
        deregister_against_start [StarterForgetsPart]
        registration_of_a_listener_against_another [PublishWithoutLook]
        registration_of_a_listener_against_departure [WithdrawWithoutLook]
        registration_against_departure [PublishedBeforePlace]
        registration_while_listeners_change [ToldOfThePast]
        id_handed_on [GivenUpBeforeTold]
        delivery_against_trim [ConsumedEarly]
        hold_against_reclaim [LetGoRelaxed LetGoFreesDead SettleFreesHeld]
        hold_against_release [ReleaseFreesHeld]
        hold_against_reference []
    }
    limits {
        two_takers [CreditWithoutExchange]
        give_against_take []
        lower_against_take []
        lower_against_the_end_of_debt [LowerWithoutFence SweepWithoutFence]
        first_limit_against_take [RecountForgotten]
        recount_against_departure [UnchargedRelaxed UnchargedSeenRelaxed]
    }
    registry {
        two_registrations []
        register_against_deregister []
        two_deregistrations []
        look_up_against_deregister [ReclaimEarly RipenAtOnce]
        enumerate_against_change []
        flush_against_seal []
        flush_against_flush []
        deferred_against_flush []
        participant_gone_with_garbage []
        limit_on_entities []
        reference_against_deregister []
        look_up_without_index []
    }
}

/// Pre-emptions of one execution.
const PREEMPTIONS: usize = 2;

/// Explores the executions of `model` with at most two pre-emptions, twice: once beginning with the
/// thread that spawns, once with those that are spawned.
///
/// loom searches from the first execution backwards and notes only the last access to each atomic;
/// where a thread reads before it writes, what it finds depends on who came first.
///
/// `RTM_LOOM_DEEP` in the environment allows one pre-emption more, `LOOM_MAX_PREEMPTIONS` says how
/// many. `LOOM_MAX_DURATION` (seconds) cuts each exploration off.
///
/// # Panics
/// If the model does, or if there was nothing to interleave: one execution from each side.
pub fn explore(model: impl Fn() + Send + Sync + 'static) {
    search(&[false, true], 0, model);
}

/// As [`explore`] from one side only, for models of three threads.
///
/// # Panics
/// As [`explore`].
pub fn explore_once(model: impl Fn() + Send + Sync + 'static) {
    search(&[false], 0, model);
}

/// As [`explore_once`] with one pre-emption less, for long models.
///
/// # Panics
/// As [`explore`].
pub fn explore_shortly(model: impl Fn() + Send + Sync + 'static) {
    search(&[false], -1, model);
}

fn search(sides: &[bool], further: isize, model: impl Fn() + Send + Sync + 'static) {
    let mut counted = Counted::default();
    let model = Arc::new(model);
    for spawned_first in sides {
        let mut builder = loom::model::Builder::new();
        builder.max_branches = 50_000;
        builder.checkpoint_interval = 500;
        if builder.preemption_bound.is_none() {
            let deeper = usize::from(std::env::var_os("RTM_LOOM_DEEP").is_some());
            builder.preemption_bound = Some((PREEMPTIONS + deeper).saturating_add_signed(further));
        }
        counted.bound = builder.preemption_bound.unwrap_or_default();
        SPAWNED_FIRST.set(*spawned_first);
        let start = Instant::now();
        let (count, model) = (counted.executions.clone(), model.clone());
        builder.check(move || {
            count.fetch_add(1, Ordering::Relaxed);
            model();
        });
        counted.cut_off |= builder.max_duration.is_some_and(|most| start.elapsed() >= most);
    }
    // Of one side there may be one alone, where the other thread reads before it writes.
    let executions = counted.count();
    assert!(executions > sides.len(), "one execution only: loom saw nothing to interleave");
}

/// Says at the end, however that comes, how many executions there were.
#[derive(Default)]
struct Counted {
    executions: Arc<AtomicUsize>,
    bound: usize,
    cut_off: bool,
}

impl Counted {
    fn count(&self) -> usize {
        self.executions.load(Ordering::Relaxed)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let cut_off = if self.cut_off { ", cut off" } else { "" };
        println!("executions: {} (bound {}{cut_off})", self.count(), self.bound);
    }
}

std::thread_local! {
    /// Which side begins. All threads of a model are one thread of std's.
    static SPAWNED_FIRST: Cell<bool> = const { Cell::new(false) };
}

/// A thread of a model. Where the spawned are to begin, the spawner waits until it does. (With a
/// yield it would lose sight of stale values.)
pub(crate) fn spawn<T: 'static>(f: impl FnOnce() -> T + 'static) -> loom::thread::JoinHandle<T> {
    if !SPAWNED_FIRST.get() {
        return loom::thread::spawn(f);
    }
    let spawner = loom::thread::current();
    let thread = loom::thread::spawn(move || {
        spawner.unpark();
        f()
    });
    loom::thread::park();
    thread
}

/// Bits of a generation, slots of one chunk and of all (as bits), magazine, first level and sample (as bits)
/// of a model's parts.
macro_rules! sizes {
    ($(#[$doc:meta])* $name:ident, $generation:literal, $chunk:literal, $slot:literal,
        $magazine:literal, $level:literal, $sample:literal) => {
        $(#[$doc])*
        pub struct $name;
        impl Config for $name {
            const GENERATION_BITS: u32 = $generation;
            const CHUNK_BITS: u32 = $chunk;
            const SLOT_BITS: u32 = $slot;
            const MAGAZINE: u32 = $magazine;
            const INDEX_LEVEL: u32 = $level;
            const INDEX_SAMPLE: u32 = $sample;
            const CREDIT_BATCH: i64 = 1;
        }
    };
}

sizes!(
    /// One slot in all, so that it is used again.
    One, 32, 0, 0, 1, 0, 64
);
sizes!(
    /// One slot, used twice and then spent.
    Twice, 1, 0, 0, 1, 0, 64
);
sizes!(
    /// Four slots, each a chunk. An index of one bucket.
    Four, 32, 0, 2, 1, 0, 64
);
sizes!(
    /// Two slots in one chunk, retired in pairs.
    Pair, 32, 1, 1, 2, 0, 64
);
sizes!(
    /// Four slots in two chunks, retired in fours.
    Lazy, 32, 1, 2, 4, 0, 64
);
sizes!(
    /// Four slots in two chunks, retired in pairs.
    Paired, 32, 1, 2, 2, 0, 64
);
sizes!(
    /// Two slots in one chunk, retired one by one; an index that grows with every id.
    Two, 32, 1, 1, 1, 0, 0
);

/// As [`Paired`], without an index of ids.
pub struct Nameless;

impl Config for Nameless {
    const GENERATION_BITS: u32 = Paired::GENERATION_BITS;
    const CHUNK_BITS: u32 = Paired::CHUNK_BITS;
    const SLOT_BITS: u32 = Paired::SLOT_BITS;
    const MAGAZINE: u32 = Paired::MAGAZINE;
    const INDEX_LEVEL: u32 = Paired::INDEX_LEVEL;
    const INDEX_SAMPLE: u32 = Paired::INDEX_SAMPLE;
    const CREDIT_BATCH: i64 = Paired::CREDIT_BATCH;
    const UNIQUE_IDS: bool = false;
}

/// Makes a test of each named model, and one that no model of the module is missing.
#[macro_export]
macro_rules! tests {
    ($module:ident: $($function:ident)+) => {
        $(#[test]
        fn $function() {
            $crate::$module::$function();
        })+

        #[test]
        fn every_model_of_the_module_is_here() {
            let prefix = concat!(stringify!($module), "::");
            let known: Vec<_> =
                $crate::MODELS.iter().filter_map(|m| m.name.strip_prefix(prefix)).collect();
            assert_eq!(known, [$(stringify!($function)),+]);
        }
    };
}
