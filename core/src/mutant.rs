//! Deliberate defects, one line each, that a loom model must catch.
//!
//! A mutant is chosen at run time (`RTM_MUTANT=Name`) in a loom build, see `loom-tests`, so that one build
//! serves all; in a build with `--cfg rtm_broken`, with which `rtm-load` and `core/tests/history` prove that
//! their checks can fail; and with `--cfg rtm_shuttle`. In every other build [`active`] is a constant
//! `false`.

use crate::sync::{Ordering, fence};

macro_rules! mutants {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {
        /// The known defects.
        #[cfg_attr(not(rtm_loom), allow(dead_code, unreachable_pub))]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Mutant { $($(#[$doc])* $name),+ }

        #[cfg(any(rtm_loom, rtm_shuttle, rtm_broken))]
        impl Mutant {
            /// Every mutant with its name.
            #[cfg_attr(not(rtm_loom), allow(unreachable_pub))]
            pub const ALL: &'static [(Mutant, &'static str)] =
                &[$((Mutant::$name, stringify!($name))),+];
        }
    };
}

mutants! {
    // --- slab: word and information ---
    /// A slot is published with a relaxed store.
    PublishRelaxed,
    /// A lookup loads the slot's word relaxed.
    LookupRelaxed,
    /// The plain copy's first look is relaxed.
    CopyRelaxed,
    /// The plain copy has no fence before its second look.
    CopyWithoutFence,
    /// A reference does not acquire what the registration wrote.
    ReferenceRelaxed,
    /// A release is relaxed.
    ReleaseRelaxed,
    /// The end of a payload is noted relaxed.
    SettleRelaxed,
    /// A payload is reclaimed at once instead of after the grace period.
    ReclaimEarly,
    /// A garbage batch is handed to the collector without pinning order: ripe at once.
    RipenAtOnce,
    /// Freeing a slot keeps its generation.
    KeepGeneration,
    /// A new tenant's plain information is written without the fence behind the generation.
    FixedWithoutFence,
    /// The plain copy does not check the generation again.
    CopyWithoutRecheck,
    /// Dropping the last reference frees the slot although its payload is not reclaimed yet.
    ReleaseFreesDead,
    /// A reference is taken without looking at the state.
    ReferenceBlindly,
    /// Deregistration is a store instead of a compare-exchange.
    UnpublishBlindly,
    /// The retired list is taken with a load and a store instead of a compare-exchange.
    TakeBlindly,
    /// A hold is ended relaxed.
    LetGoRelaxed,
    /// A hold that ends frees the slot although its payload is not reclaimed yet.
    LetGoFreesDead,
    /// A release frees a slot that is still held.
    ReleaseFreesHeld,
    /// The end of a payload frees a slot that is still held.
    SettleFreesHeld,
    // --- slab: directory and lists ---
    /// That chunks are open is published relaxed.
    OpenRelaxed,
    /// That a chunk is open is read relaxed.
    OpenFoundRelaxed,
    /// A look-up through an old view does not look for slots that were added since.
    ViewNotRenewed,
    /// A slot is pushed on the retired list relaxed.
    RetireRelaxed,
    /// Who takes a retired list does not release that it was counted in.
    TakenRelaxed,
    /// Who takes a retired list does not acquire what others have taken.
    TakenSeenRelaxed,
    /// Who finds a retired list taken does not acquire what others have taken.
    TakenFoundRelaxed,
    /// Who takes a retired list does not acquire what was pushed.
    RetiredSeenRelaxed,
    /// A slot whose payload needs no drop is freed although it is kept.
    PlainSettlesKept,
    /// A flush that finds a retired list empty does not acquire its taker's count.
    SealLookRelaxed,
    /// The directory hands a chunk number out twice.
    ChunkTwice,
    /// Memory of slots is given back without a fence behind their generations.
    GiveBackWithoutFence,
    /// Slots whose memory was given back begin with their first generation again.
    RangeForgets,
    // --- stack ---
    /// A node is pushed relaxed.
    PushRelaxed,
    /// A stack is taken relaxed.
    TakeRelaxed,
    /// A stack is taken with a load and a store instead of a swap.
    TakeWithoutSwap,
    // --- index ---
    /// A link is read relaxed.
    LinkFoundRelaxed,
    /// A link is changed relaxed.
    LinkRelaxed,
    /// An object is marked relaxed.
    MarkRelaxed,
    /// The number of buckets is read relaxed.
    LevelFoundRelaxed,
    /// The number of buckets is raised relaxed.
    LevelRelaxed,
    /// Another thread's new buckets are found relaxed.
    RowFoundRelaxed,
    /// An object is inserted with a store instead of a compare-exchange.
    InsertBlindly,
    /// An object is removed without being marked first.
    RemoveUnmarked,
    /// An object that is not the first of its bucket, or no longer, stays in the list.
    LeftLinked,
    /// The list is searched without a pin.
    SearchUnpinned,
    /// A bucket is used before it is in the list.
    BucketUsedNew,
    /// Two threads link one bucket.
    BucketLinkedTwice,
    // --- reclamation ---
    /// Garbage is sealed without a fence before it is seen which grace period has not begun.
    GraceWithoutFence,
    /// Garbage waits for the grace period that is under way, not for the next one.
    GraceUnderWay,
    /// A record is reused while a guard of it is still inside.
    RecordReusedInside,
    /// A record is given up relaxed.
    GiveUpRelaxed,
    /// A record is taken over relaxed.
    TakeOverRelaxed,
    /// A new record is published relaxed.
    RecordRelaxed,
    /// Records are found relaxed.
    RecordFoundRelaxed,
    /// A batch is counted in without a fence.
    CountInWithoutFence,
    /// A flush looks at the phase before its own without a fence.
    FlushWithoutFence,
    /// A processed batch is counted out relaxed.
    CountOutRelaxed,
    /// A flush sees the end of a phase relaxed.
    DrainedRelaxed,
    /// The phase is moved on relaxed.
    PhaseRelaxed,
    /// That the phase was moved on is seen relaxed.
    PhaseSeenRelaxed,
    /// A flush does not wait for the phase before its own.
    FlushSkipsOlderPhase,
    /// A batch is counted in after its list was taken.
    CountInLate,
    /// The end of a grace period is seen relaxed.
    GraceOverSeenRelaxed,
    /// A sealed batch is pushed without releasing that it is there.
    DueRelaxed,
    /// Whoever takes sealed batches does not acquire which are there.
    DueSeenRelaxed,
    /// A seal does not look at the phase again after counting itself in.
    SealWithoutRecheck,
    // --- sync: bell ---
    /// A sleeper does not see what was brought before the bell rang.
    ListenRelaxed,
    /// The bell rings relaxed.
    RingRelaxed,
    // --- rundown ---
    /// Methods that are closed are entered all the same.
    EnterClosed,
    /// Methods that are blocked are entered all the same.
    EnterBlocked,
    /// An invoker enters relaxed.
    EnterRelaxed,
    /// An invoker leaves relaxed.
    LeaveRelaxed,
    /// The last invoker that leaves does not acquire what those before it did.
    LeaveSeesRelaxed,
    /// A part of a rundown ends relaxed.
    PartRelaxed,
    /// The end of a rundown is seen relaxed.
    OverRelaxed,
    /// Methods are resumed relaxed.
    UnblockRelaxed,
    /// A blocker sees that nobody is inside relaxed.
    QuietRelaxed,
    /// Methods are blocked relaxed.
    BlockRelaxed,
    /// Whoever is refused because methods are blocked looks for the blocker without a fence.
    RefuseWithoutFence,
    // --- client code ---
    /// Frames that were kept are changed by another thread without the list's lock.
    FramesTakenBlindly,
    /// The last part of a rundown that ends wakes nobody.
    EndWakesNobody,
    /// A deregistration wakes nobody who waits for blocked methods.
    DepartureWakesNobody,
    /// Methods that are resumed wake nobody.
    ResumptionWakesNobody,
    /// Whoever is going to block methods does not note that it waits.
    BlockerUnnoted,
    /// The herald is stopped relaxed.
    StopRelaxed,
    /// The herald does not see what led to stopping it.
    StopSeenRelaxed,
    /// Whoever undoes the stopping of the herald does not see what led to it.
    StartRelaxed,
    /// A wait is not looked at for a cycle.
    WaitsBlindly,
    /// The one who begins the events of an entity that went meanwhile does not end its part.
    StarterForgetsPart,
    /// Who publishes does not look for new listeners afterwards.
    PublishWithoutLook,
    /// A listener is told of a registration that began before it listened, whatever has become of the entity.
    ToldOfThePast,
    /// Who departs does not look for new listeners afterwards.
    WithdrawWithoutLook,
    /// A departure is entered after the id was given up.
    GivenUpBeforeTold,
    /// A registration is entered at its place although the journal has passed it by.
    PassedBlindly,
    /// The place of a registration in the journal is taken after it was published.
    PublishedBeforePlace,
    /// A courier moves on when it hands an event out, not when that ends.
    ConsumedEarly,
    /// A departure that completes later forgets that its own frame gave up the id.
    GoneForgotten,
    // --- limits ---
    /// Credits are taken with a load and a store instead of a compare-exchange.
    CreditWithoutExchange,
    /// Without a credit, entities that were not charged are not counted again.
    RecountForgotten,
    /// The departure of an entity that was not charged is counted relaxed.
    UnchargedRelaxed,
    /// Whoever counts the departures of entities that were not charged counts them relaxed.
    UnchargedSeenRelaxed,
    /// A limit is lowered without a fence before the mark of debt.
    LowerWithoutFence,
    /// A sweep clears the mark of debt without a fence before it looks again.
    SweepWithoutFence,
    // --- dispatch ---
    /// A push leaves the queue's descriptor armed.
    QueueStaysArmed,
    /// A pop makes the descriptor unreadable behind the lock.
    QueueArmsUnlocked,
    /// A push wakes no sleeper.
    QueueWakesNobody,
    /// A cursor moves on relaxed.
    CursorRelaxed,
    /// A run begins with a load and a store instead of a compare-exchange.
    BeginBlindly,
    /// A listener is closed with a load and a store.
    CloseBlindly,
    /// A closing does not acquire what runs did.
    CloseSeesRelaxed,
    /// A closing does not release what led to it.
    CloseRelaxed,
    /// A run ends relaxed.
    PauseRelaxed,
    /// A listener is made READY relaxed.
    RouseRelaxed,
    /// A runner that found nothing more has no fence before its second look.
    PauseWithoutFence,
    /// It does not look a second time.
    PauseWithoutLook,
    /// The last listener that has read everything does not ring.
    LastDoesNotRing,
    /// A listener is taken off the busy ones after its runner has looked again.
    RestsLate,
    /// One that joins makes itself READY.
    JoinerRouses,
    /// Listeners are taken off the busy ones relaxed.
    BusyRelaxed,
    /// A rung audience is pushed relaxed.
    RungPushRelaxed,
    /// Rung audiences are taken relaxed.
    RungTakeRelaxed,
    /// A ringer looks whether the herald sleeps without a fence.
    WakeWithoutFence,
    /// The herald goes to sleep without a fence.
    WaitWithoutFence,
    /// The herald goes to sleep without another look.
    WaitWithoutLook,
    /// A ringer looks at the flag without a fence.
    RingWithoutFence,
    /// The flag is set with a load and a store.
    RungTwice,
    /// The flag is set relaxed.
    FlagRelaxed,
    /// The flag is cleared relaxed.
    AttendRelaxed,
    /// The herald looks for events without a fence behind the flag.
    AttendWithoutFence,
    /// The flag is cleared after the pass.
    AttendLate,
    /// Who has published looks for new listeners without a fence.
    ListensWithoutFence,
    /// A listener enlists without a fence.
    EnlistWithoutFence,
    /// A listener enlists relaxed.
    EnlistRelaxed,
    /// An appender looks for the journal without a fence.
    ReserveWithoutFence,
    /// The journal is published relaxed.
    LogRelaxed,
    /// The journal is found relaxed.
    LogSeenRelaxed,
    /// A joiner looks at the floor without a fence.
    JoinWithoutFence,
    /// A joiner does not look at the floor.
    JoinWithoutLook,
    /// The herald looks at the joiners without a fence behind the floor.
    TrimWithoutFence,
    /// The herald does not look at the joiners again.
    TrimWithoutLook,
    /// The first position that is not committed is found without a fence behind trimmed ones.
    StartWithoutFence,
    /// The same with a fence that only acquires.
    StartAcquires,
    /// Who publishes behind reserving looks without a fence whether the position was passed by.
    PassedWithoutFence,
    // --- journal ---
    /// A position is taken relaxed.
    JournalReserveRelaxed,
    /// A note is made readable relaxed.
    JournalCommitRelaxed,
    /// A reader's first look at an entry is relaxed.
    JournalReadRelaxed,
    /// A reader has no fence before its second look.
    JournalReadWithoutFence,
    /// A reader does not look twice.
    JournalReadWithoutRecheck,
    /// An entry is claimed relaxed.
    JournalClaimRelaxed,
    /// A claimed entry is written without the fence behind the claim.
    JournalClaimWithoutFence,
    /// An entry is claimed while an older note is being written.
    JournalClaimsBusy,
    /// An entry is claimed although a newer note is there.
    JournalClaimsNewer,
    /// A writer takes an older note's hold with a load and a store instead of a swap.
    JournalHoldWithoutSwap,
    /// A hold is let go with a store instead of a compare-exchange.
    JournalLetGoWithoutExchange,
    /// The trimmer has no fence before its second look at an entry.
    JournalSweepWithoutFence,
    /// The trimmer does not look at an entry twice.
    JournalSweepWithoutRecheck,
    /// The trimmer raises the floor without a fence.
    JournalTrimWithoutFence,
    /// A writer looks at the floor without a fence.
    JournalLateWithoutFence,
    /// A writer does not look at the floor after its note.
    JournalLateBlindly,
    /// A lost note is not noted.
    JournalLostSilently,
    /// A block is put into the ring relaxed.
    JournalBlockRelaxed,
    /// A reader finds a block in the ring relaxed.
    JournalBlockFoundRelaxed,
    /// A writer finds a block in the ring relaxed.
    JournalBlockMetRelaxed,
    /// The trimmer finds a block in the ring relaxed.
    JournalBlockTrimmedRelaxed,
    /// A block is put into the ring with a store instead of a compare-exchange.
    JournalInstallBlindly,
    /// A block is taken away with a store instead of a compare-exchange.
    JournalDetachBlindly,
    /// A block is made spare relaxed.
    JournalSpareRelaxed,
    /// A spare block is taken relaxed.
    JournalSpareTakenRelaxed,
    /// The head of the spare list does not count its changes.
    JournalSpareWithoutCount,
}

#[cfg(any(rtm_loom, rtm_shuttle, rtm_broken))]
#[inline]
pub(crate) fn active(mutant: Mutant) -> bool {
    use std::sync::OnceLock;
    static CHOSEN: OnceLock<Option<Mutant>> = OnceLock::new();
    *CHOSEN.get_or_init(|| {
        let name = std::env::var("RTM_MUTANT").ok()?;
        let found = Mutant::ALL.iter().find(|(_, known)| *known == name);
        Some(found.unwrap_or_else(|| panic!("RTM_MUTANT={name}: no such mutant")).0)
    }) == Some(mutant)
}

#[cfg(not(any(rtm_loom, rtm_shuttle, rtm_broken)))]
#[inline(always)]
pub(crate) const fn active(_: Mutant) -> bool {
    false
}

/// `Relaxed` under the mutant, else `order`.
#[inline(always)]
pub(crate) fn relaxed_if(mutant: Mutant, order: Ordering) -> Ordering {
    if active(mutant) { Ordering::Relaxed } else { order }
}

/// The fence, but for the mutant.
#[inline(always)]
pub(crate) fn fence_unless(mutant: Mutant, order: Ordering) {
    if !active(mutant) {
        fence(order);
    }
}
