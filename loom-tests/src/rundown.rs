//! The rundown of an entity's methods, and the bell that wakes those who wait for it.

use crate::registry::{Member, flush, info, register, with};
use crate::{Canary, Ledger, explore, spawn};
use loom::cell::UnsafeCell;
use rtm_core::model::{Bell, Frames, Rundown};
use rtm_core::{ClientCode, DeregisterError, DropBy, Handle, InvalidHandle, InvokeError};
use std::sync::Arc;

/// What invokers read and write, and whoever has waited for them changes: loom sees who is too early.
struct Watched {
    rundown: Rundown,
    state: [UnsafeCell<u32>; 2],
}

// SAFETY: who uses `state` when is what the models check.
unsafe impl Sync for Watched {}
// SAFETY: plain data.
unsafe impl Send for Watched {}

impl Watched {
    fn new() -> Arc<Watched> {
        let state = [UnsafeCell::new(1), UnsafeCell::new(1)];
        Arc::new(Watched { rundown: Rundown::new(2), state })
    }

    /// An invocation by way of a stripe. `None`: not let in; else whether it completes a departure.
    fn invoke(&self, stripe: usize) -> Option<bool> {
        if !self.rundown.enter(stripe) {
            return None;
        }
        self.work(stripe);
        Some(self.rundown.leave(stripe))
    }

    /// Inside.
    fn work(&self, part: usize) {
        self.state[part].with_mut(|state| {
            // SAFETY: checked by loom.
            let state = unsafe { &mut *state };
            assert_ne!(*state, 0, "used after the end");
        });
    }

    /// One who is inside by way of the first stripe works, leaves, and says whether it completed.
    fn leave_and_complete(&self, part: usize) -> bool {
        self.work(part);
        let completes = self.rundown.leave(0);
        if completes {
            self.change(0);
        }
        completes
    }

    /// What may be done only when nobody is inside.
    fn change(&self, to: u32) {
        for state in &self.state {
            // SAFETY: checked by loom.
            state.with_mut(|state| unsafe { *state = to });
        }
    }
}

/// When the closer returns nobody is inside, and nobody comes in any more.
pub fn close_against_invoke() {
    explore(|| {
        let watched = Watched::new();
        let threads = [0, 1].map(|stripe| {
            let watched = watched.clone();
            spawn(move || watched.invoke(stripe))
        });
        watched.rundown.close();
        watched.change(0);
        for thread in threads {
            assert_ne!(thread.join().unwrap(), Some(true), "the closer completes");
        }
        assert_eq!(watched.invoke(0), None);
    });
}

/// Of two who leave closed methods by the same stripe one completes, and has seen what the other did.
pub fn two_leave_by_one_stripe() {
    explore(|| {
        let watched = Watched::new();
        assert!(watched.rundown.enter(0) && watched.rundown.enter(0));
        assert!(!watched.rundown.close_later());
        let thread = {
            let watched = watched.clone();
            spawn(move || watched.leave_and_complete(1))
        };
        let completes = watched.leave_and_complete(0);
        assert!(completes != thread.join().unwrap(), "not exactly one completes");
    });
}

/// Exactly one of the closer and the invokers completes a departure that does not wait, the last one.
pub fn close_later_against_invoke() {
    explore(|| {
        let watched = Watched::new();
        let threads = [0, 1].map(|stripe| {
            let watched = watched.clone();
            spawn(move || {
                let completes = watched.invoke(stripe) == Some(true);
                if completes {
                    watched.change(0);
                }
                completes
            })
        });
        let mut completions = 0;
        if watched.rundown.close_later() {
            watched.change(0);
            completions += 1;
        }
        for thread in threads {
            completions += u32::from(thread.join().unwrap());
        }
        assert_eq!(completions, 1);
    });
}

/// A blocker changes what invokers use while none is inside; those who come later see the change.
pub fn block_against_invoke() {
    explore(|| {
        let watched = Watched::new();
        let other = watched.clone();
        let thread = spawn(move || {
            let _ = other.invoke(0);
        });
        watched.rundown.block();
        watched.change(2);
        watched.rundown.unblock();
        thread.join().unwrap();
        assert!(watched.invoke(1).is_some());
    });
}

/// Whoever hears that the bell was rung sees what was brought before.
pub fn bell() {
    explore(|| {
        struct Shared(Bell, UnsafeCell<u32>);
        // SAFETY: who uses the cell when is what is checked.
        unsafe impl Sync for Shared {}
        let shared = Arc::new(Shared(Bell::default(), UnsafeCell::new(0)));
        let other = shared.clone();
        let thread = spawn(move || {
            // SAFETY: checked by loom.
            other.1.with_mut(|value| unsafe { *value = 1 });
            other.0.ring();
        });
        if shared.0.listen() == 1 {
            // SAFETY: checked by loom.
            assert_eq!(shared.1.with(|value| unsafe { *value }), 1);
        }
        thread.join().unwrap();
    });
}

// --- Whole registries ---

type Entered = Result<(), InvokeError>;

/// Registers an entity with methods.
fn exporting(member: &Member, id: u64, canary: Canary) -> Handle {
    let code = ClientCode { methods: true, events: None };
    let registered = member.register_client(info(id), canary, DropBy::Writers, code);
    registered.map_err(|error| error.refusal).expect("a registration")
}

/// Invokes and reads the payload.
fn invoke(member: &Member, callee: Handle, id: u32) -> Entered {
    let invocation = member.begin_invoke(callee)?;
    assert_eq!(invocation.read(), id);
    Ok(())
}

/// A member that comes to another thread with what it kept, while the first looks for its frames.
pub fn frames_handed_on() {
    explore(|| {
        let frames = Arc::new(Frames::default());
        frames.enter(1);
        let other = frames.clone();
        let thread = spawn(move || {
            other.enter(2);
            assert!(other.is_inside(1) && other.is_inside(2));
            assert!(other.leave());
            assert!(other.leave());
            assert!(!other.leave());
        });
        assert!(!frames.is_inside(2));
        thread.join().unwrap();
        assert!(!frames.is_inside(1));
    });
}

/// When a deregistration returns nobody is inside the methods, and the payload can go.
pub fn deregister_against_invoke() {
    explore(|| {
        with(|registry| {
            let ledger = Ledger::default();
            let (one, other) = (registry.join().unwrap(), registry.join().unwrap());
            let callee = exporting(&one, 7, ledger.canary(1));
            let thread = spawn(move || {
                let invoked = invoke(&other, callee, 1);
                assert!(matches!(invoked, Ok(()) | Err(InvokeError::InvalidHandle)));
                other
            });
            assert_eq!(one.deregister(callee), Ok(()));
            assert_eq!(invoke(&one, callee, 1), Err(InvokeError::InvalidHandle));
            one.collect();
            let _other = thread.join().unwrap();
            flush(&one);
            assert_eq!(ledger.drops(1), 1);
        });
    });
}

/// A departure that does not wait is completed once, by whoever is last, and a flush waits for it.
pub fn deregister_later_against_invoke() {
    explore(|| {
        with(|registry| {
            let ledger = Ledger::default();
            let (one, other) = (registry.join().unwrap(), registry.join().unwrap());
            let callee = exporting(&one, 7, ledger.canary(1));
            let thread = spawn(move || {
                let invoked = invoke(&other, callee, 1);
                assert!(matches!(invoked, Ok(()) | Err(InvokeError::InvalidHandle)));
                other
            });
            assert_eq!(one.deregister_later(callee), Ok(()));
            assert_eq!(one.deregister_later(callee), Err(InvalidHandle));
            flush(&one);
            assert_eq!(ledger.drops(1), 1, "a flush came back early");
            assert!(register(&one, 7, ledger.canary(2)).is_ok(), "the id is not free");
            let _other = thread.join().unwrap();
            assert_eq!(one.statistics().live, 1);
        });
    });
}

/// Of two deregistrations, one that waits and one that does not, one wins; somebody is inside.
pub fn two_departures_against_invoke() {
    explore(|| {
        with(|registry| {
            let ledger = Ledger::default();
            let (one, other) = (registry.join().unwrap(), registry.join().unwrap());
            let callee = exporting(&one, 7, ledger.canary(1));
            one.begin_invoke(callee).unwrap().keep();
            let thread = spawn(move || {
                let done = other.deregister(callee);
                (done.is_ok(), other)
            });
            let later = one.deregister_later(callee).is_ok();
            assert_eq!(ledger.drops(1), 0);
            assert!(one.end_kept_invocation());
            let (waited, _other) = thread.join().unwrap();
            assert!(waited != later, "not exactly one won");
            flush(&one);
            assert_eq!(ledger.drops(1), 1);
            assert!(one.is_idle());
        });
    });
}

/// Nobody is inside while methods are blocked; whoever comes meanwhile is let in when they are resumed.
pub fn block_and_resume_against_invoke() {
    explore(|| {
        with(|registry| {
            let ledger = Ledger::default();
            let (one, other) = (registry.join().unwrap(), registry.join().unwrap());
            let callee = exporting(&one, 7, ledger.canary(1));
            let watched = Watched::new();
            let seen = watched.clone();
            let thread = spawn(move || {
                let invocation = other.begin_invoke(callee).expect("let in");
                // SAFETY: checked by loom.
                seen.state[0].with_mut(|state| unsafe { *state += 1 });
                drop(invocation);
                other
            });
            assert_eq!(one.block_methods(callee), Ok(()));
            // SAFETY: checked by loom.
            watched.state[0].with_mut(|state| unsafe { *state += 1 });
            assert_eq!(one.resume_methods(callee), Ok(()));
            let _other = thread.join().unwrap();
        });
    });
}

fn departure_against_blocked(depart: impl Fn(&Member, Handle) -> bool + Send + Sync + 'static) {
    explore(move || {
        with(|registry| {
            let ledger = Ledger::default();
            let (one, other) = (registry.join().unwrap(), registry.join().unwrap());
            let callee = exporting(&one, 7, ledger.canary(1));
            assert_eq!(one.block_methods(callee), Ok(()));
            let thread = spawn(move || {
                assert_eq!(invoke(&other, callee, 1), Err(InvokeError::InvalidHandle));
                other
            });
            assert!(depart(&one, callee));
            let _other = thread.join().unwrap();
            flush(&one);
            assert_eq!(ledger.drops(1), 1);
        });
    });
}

/// A deregistration sends those away who wait for blocked methods.
pub fn departure_against_blocked_invoke() {
    departure_against_blocked(|member, callee| member.deregister(callee).is_ok());
}

/// So does one that does not wait.
pub fn later_departure_against_blocked_invoke() {
    departure_against_blocked(|member, callee| member.deregister_later(callee).is_ok());
}

/// Whoever blocked methods once and has resumed them waits for another who has blocked them since.
pub fn blocked_by_another() {
    explore(|| {
        with(|registry| {
            let ledger = Ledger::default();
            let (one, other) = (registry.join().unwrap(), registry.join().unwrap());
            let callee = exporting(&one, 7, ledger.canary(1));
            assert_eq!(one.block_methods(callee), Ok(()));
            assert_eq!(one.resume_methods(callee), Ok(()));
            let thread = spawn(move || {
                assert_eq!(other.block_methods(callee), Ok(()));
                assert_eq!(other.resume_methods(callee), Ok(()));
                other
            });
            assert_eq!(invoke(&one, callee, 1), Ok(()));
            let _other = thread.join().unwrap();
        });
    });
}

/// Of two methods that deregister each other's entity one is refused, and neither waits for ever.
pub fn two_methods_that_deregister_each_other() {
    explore(|| {
        with(|registry| {
            let ledger = Ledger::default();
            let members = [registry.join().unwrap(), registry.join().unwrap()];
            let handles = [1, 2].map(|id| exporting(&members[0], id.into(), ledger.canary(id)));
            let [one, other] = members;
            one.begin_invoke(handles[0]).unwrap().keep();
            let thread = spawn(move || {
                let done =
                    other.begin_invoke(handles[1]).map(|_inside| other.deregister(handles[0]));
                (done, other)
            });
            let mine = one.deregister(handles[1]);
            assert!(one.end_kept_invocation());
            let (theirs, _other) = thread.join().unwrap();
            let deadlock = DeregisterError::WouldDeadlock;
            match (mine, theirs) {
                (Ok(()), Ok(Err(error))) => assert_eq!(error, deadlock),
                (Ok(()), theirs) => assert_eq!(theirs, Err(InvokeError::InvalidHandle)),
                (Err(error), theirs) => assert_eq!((error, theirs), (deadlock, Ok(Ok(())))),
            }
        });
    });
}

/// A blocker that is in no client code waits for one who waits for another who waits for the resumption.
pub fn blocker_in_a_circle() {
    explore(|| {
        with(|registry| {
            let ledger = Ledger::default();
            let [one, two, three] = [(); 3].map(|()| registry.join().unwrap());
            let blocked = exporting(&one, 1, ledger.canary(1));
            let between = exporting(&one, 2, ledger.canary(2));
            two.begin_invoke(blocked).unwrap().keep();
            three.begin_invoke(between).unwrap().keep();
            let second = spawn(move || {
                let departed = two.deregister(between);
                assert!(two.end_kept_invocation());
                (departed.is_ok(), two)
            });
            let third = spawn(move || {
                let invoked = invoke(&three, blocked, 1);
                assert!(three.end_kept_invocation());
                (invoked.is_ok(), three)
            });
            let mine = one.block_methods(blocked).is_ok();
            assert_eq!(one.resume_methods(blocked), Ok(()));
            let (departed, _two) = second.join().unwrap();
            let (invoked, _three) = third.join().unwrap();
            assert!(u32::from(mine) + u32::from(departed) + u32::from(invoked) >= 2);
        });
    });
}

/// One who has blocked methods deregisters an entity whose method waits for them to be resumed.
pub fn blocker_against_blocked() {
    explore(|| {
        with(|registry| {
            let ledger = Ledger::default();
            let (one, other) = (registry.join().unwrap(), registry.join().unwrap());
            let blocked = exporting(&one, 1, ledger.canary(1));
            let caller = exporting(&one, 2, ledger.canary(2));
            assert_eq!(one.block_methods(blocked), Ok(()));
            other.begin_invoke(caller).unwrap().keep();
            let thread = spawn(move || {
                // The frame is this thread's from its first call on.
                let invoked = invoke(&other, blocked, 1);
                assert!(other.end_kept_invocation());
                (invoked, other)
            });
            let departed = one.deregister(caller);
            assert_eq!(one.resume_methods(blocked), Ok(()));
            let (invoked, _other) = thread.join().unwrap();
            assert!(departed.is_ok() || departed == Err(DeregisterError::WouldDeadlock));
            assert!(invoked.is_ok() || invoked == Err(InvokeError::WouldDeadlock));
            assert!(departed.is_ok() || invoked.is_ok(), "both were refused");
        });
    });
}
