//! One grace period serves all members: nobody waits for one who has begun it and sleeps, and what is looked at
//! seldom is looked at in time.

#![cfg(not(any(rtm_loom, rtm_shuttle)))]

mod common;

use common::{V4, entity};
use rtm_core::{DropBy, HandlesOnly, Registry, Settings};

const MAGAZINE: u64 = 256;

/// One member begins a grace period and does nothing more; another goes on.
fn left_beside_an_idle_beginner(drop_by: DropBy) -> u64 {
    let registry = Registry::<u64, HandlesOnly>::with_config(Settings::default()).unwrap();
    let (idle, busy) = (registry.join().unwrap(), registry.join().unwrap());
    let pair = |member: &rtm_core::Participant<'_, u64, HandlesOnly>, id| {
        member.deregister(member.register_handle(entity(V4, id), id, drop_by).unwrap()).unwrap();
    };
    (0..MAGAZINE).for_each(|id| pair(&idle, id));
    for id in 0..200 * MAGAZINE {
        pair(&busy, id);
        if id % MAGAZINE == 0 {
            let mut due = busy.departed();
            while due.next_departed().is_some() {}
        }
    }
    registry.statistics().retired
}

#[test]
fn an_idle_beginner_keeps_nobody_waiting() {
    for drop_by in [DropBy::Writers, DropBy::Collectors] {
        let left = left_beside_an_idle_beginner(drop_by);
        assert!(left <= 20 * MAGAZINE, "{drop_by:?}: {left} wait");
    }
}

/// Slots that last references free are new slots for a member: it looks at the backlog again.
#[test]
fn freed_references_do_not_pass_the_limit() {
    let mut settings = Settings::default();
    settings.limits.backlog = 4096;
    let registry = Registry::<u64>::new(settings).unwrap();
    let (reader, busy, other) =
        (registry.join().unwrap(), registry.join().unwrap(), registry.join().unwrap());
    let register = |member: &rtm_core::Participant<'_, u64>, id| {
        member.register_handle(entity(V4, id), id, DropBy::Writers)
    };
    let referenced: Vec<_> = (0..20_000).map(|id| register(&other, id).unwrap()).collect();
    for handle in &referenced {
        registry.reference(*handle).unwrap();
        other.deregister(*handle).unwrap();
    }
    registry.flush().unwrap();
    let stuck = reader.enter();
    let mut accepted = 0;
    for (handle, id) in referenced.iter().zip(1 << 20..) {
        busy.release(*handle).unwrap();
        let Ok(new) = register(&busy, id) else { break };
        other.deregister(new).unwrap();
        accepted += 1;
    }
    assert!(accepted <= 4096 + 3 * MAGAZINE, "{accepted} above a limit of 4096");
    drop(stuck);
}
