//! Invokers, and the methods of callees.

use super::{ALIVE, CHUNK, Context};
use crate::load::layout::{BLOCK, INVOKE, Shared, Worker};
use rtm_core::{BlockError, Handle, InvokeError, Participant, Registry};
use std::sync::atomic::Ordering;
use std::time::Instant;

/// What the method is to do beside its checks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Errand {
    Nothing,
    Stay,
    Yield,
    InvokeAnother,
}

/// Whether this entity's methods may run, and have what they need.
fn check(shared: &Shared, entity: u32, callee: Handle, context: &Context) {
    if shared.gate(entity).load(Ordering::Acquire) != callee.to_bits() {
        let text = "ran after its deregistration had returned";
        shared.violate(format!("a method of entity {entity} {text}"));
    } else if context.state.load(Ordering::Relaxed) != ALIVE || context.entity != entity {
        shared.violate(format!("the payload of entity {entity} was dropped under its method"));
    } else if context.blocked.load(Ordering::Acquire) != 0 {
        shared.violate(format!("a method of entity {entity} ran while it was blocked"));
    }
}

/// Invokes a callee's method and judges the outcome.
fn ask(
    participant: &Participant<'_, Context>,
    worker: &mut Worker,
    shared: &'static Shared,
    entity: u32,
    callee: Handle,
    errand: Errand,
) -> Result<(), InvokeError> {
    let invoked = participant.begin_invoke(callee).map(|context| {
        check(shared, entity, callee, &context);
        match errand {
            Errand::Nothing => {}
            Errand::Stay => (0..200).for_each(|_| check(shared, entity, callee, &context)),
            Errand::Yield => std::thread::yield_now(),
            Errand::InvokeAnother => {
                let other = (worker.draw_callee(shared, true) & !1) | (entity & 1);
                let bits = shared.gate(other).load(Ordering::Acquire);
                if let Some(handle) = Handle::from_bits(bits) {
                    let _ = ask(participant, worker, shared, other, handle, Errand::Nothing);
                }
            }
        }
        check(shared, entity, callee, &context);
    });
    match invoked {
        Ok(()) | Err(InvokeError::WouldDeadlock) => {}
        Err(InvokeError::InvalidHandle) => {
            if shared.place(entity).load(Ordering::Acquire) == callee.to_bits() {
                let text = "which is registered, was refused";
                shared.violate(format!("invoking entity {entity}, {text}"));
            }
        }
        Err(error) => shared.violate(format!("invoking entity {entity}: {error}")),
    }
    invoked
}

/// Invokes callees, half of them hot, also such as are blocked or deregistered just now.
pub(super) fn invoker(registry: &Registry<Context>, worker: &mut Worker, shared: &'static Shared) {
    let participant = registry.join().expect("memory for a member");
    while shared.callee_groups() != 0 && !shared.stopped() {
        let begin = Instant::now();
        let (mut done, mut clocks) = (0, 0);
        for n in 0..CHUNK {
            let random = worker.draw();
            let entity = worker.draw_callee(shared, random & 1 != 0);
            let bits = shared.gate(entity).load(Ordering::Acquire);
            let Some(callee) = Handle::from_bits(bits) else { continue };
            // One in 64 has an errand, whose time is not the library's.
            let errand = match (random >> 8 & 63, random >> 16 & 15) {
                (0, 0) => Errand::Yield,
                (0, 1..8) => Errand::Stay,
                (0, _) => Errand::InvokeAnother,
                _ => Errand::Nothing,
            };
            let timed = errand == Errand::Nothing && n % 8 == 0;
            let one = timed.then(Instant::now);
            let invoked = ask(&participant, worker, shared, entity, callee, errand);
            if let Some(one) = one {
                worker.sample(INVOKE, one, shared);
                clocks += 1;
            }
            if invoked == Err(InvokeError::WouldDeadlock) {
                shared.violate(format!("invoking entity {entity}, inside nothing, was refused"));
            }
            done += usize::from(invoked.is_ok());
        }
        worker.block(INVOKE, done, begin, clocks, shared);
    }
}

/// Blocks and mostly resumes a callee, by its owner.
pub(super) fn block_callee(
    participant: &Participant<'_, Context>,
    worker: &mut Worker,
    shared: &'static Shared,
    entity: u32,
    handle: Handle,
) {
    let begin = Instant::now();
    match participant.block_methods(handle) {
        Ok(()) => {}
        // Somebody inside waits, by way of others, for us.
        Err(BlockError::WouldDeadlock) => return,
        Err(error) => return shared.violate(format!("blocking entity {entity}: {error}")),
    }
    let blocked = begin.elapsed();
    set_blocked(participant, handle, 1);
    if worker.draw().is_multiple_of(64) {
        std::thread::yield_now();
    }
    if worker.draw().is_multiple_of(4) {
        return; // it goes as it is, and whoever waits is refused
    }
    set_blocked(participant, handle, 0);
    let begin = Instant::now();
    if let Err(error) = participant.resume_methods(handle) {
        shared.violate(format!("resuming entity {entity}: {error}"));
    }
    // Two readings of the clock; one is taken off.
    let resumed = (begin.elapsed().as_nanos() as u64).saturating_sub(shared.timer_ns);
    worker.sample_ns(BLOCK, blocked.as_nanos() as u64 + resumed, shared);
    worker.count(BLOCK, 1);
}

/// Resumes a callee, by its owner.
pub(super) fn resume_callee(participant: &Participant<'_, Context>, handle: Handle) {
    set_blocked(participant, handle, 0);
    let _ = participant.resume_methods(handle);
}

/// What the methods check, of an entity that the caller owns.
fn set_blocked(participant: &Participant<'_, Context>, handle: Handle, to: u32) {
    if let Ok(found) = participant.enter().get(handle) {
        found.payload().blocked.store(to, Ordering::Release);
    }
}
