//! Deliberate defects, one line each, that a loom model must catch.
//!
//! A mutant is chosen at run time in a loom build (`RTM_MUTANT=Name`, see `loom-tests`), so that
//! one build serves all; in every other build [`active`] is a constant `false`.

macro_rules! mutants {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {
        /// The known defects.
        #[cfg_attr(not(rtm_loom), allow(dead_code, unreachable_pub))]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Mutant { $($(#[$doc])* $name),+ }

        #[cfg(rtm_loom)]
        impl Mutant {
            /// Every mutant with its name.
            pub const ALL: &'static [(Mutant, &'static str)] =
                &[$((Mutant::$name, stringify!($name))),+];
        }
    };
}

mutants! {
    /// A slot is published with a relaxed store.
    PublishRelaxed,
    /// A lookup loads the slot's word relaxed.
    LookupRelaxed,
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
    /// The retired list is taken with a load and a store instead of a swap.
    SealWithoutSwap,
    /// A chunk is published with a relaxed store.
    ChunkRelaxed,
    /// The directory hands a chunk number out twice.
    ChunkTwice,
    /// A stack is taken with a load and a store instead of a swap.
    TakeWithoutSwap,
    /// The index claims a key with a store instead of a compare-exchange.
    IndexClaimBlindly,
    /// Migration copies a value without freezing it first.
    IndexCopyUnfrozen,
    /// Migration does not seal the empty cell that ends a probe.
    IndexSkipSeal,
    /// Removal leaves the cell as if it had never been written, so a late copy resurrects it.
    IndexRemoveToNull,
    /// A record is reused while a guard of it is still inside.
    RecordReusedInside,
    /// A flush does not look at the phase again after counting itself in.
    SealWithoutRecheck,
}

#[cfg(rtm_loom)]
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

#[cfg(not(rtm_loom))]
#[inline(always)]
pub(crate) const fn active(_: Mutant) -> bool {
    false
}
