//! The rundown of an entity's methods, and the bell that wakes those who wait for it.

use crate::{explore, spawn};
use loom::cell::UnsafeCell;
use rtm_core::model::{Bell, Rundown};
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
        self.state[stripe].with_mut(|state| {
            // SAFETY: checked by loom.
            let state = unsafe { &mut *state };
            assert_ne!(*state, 0, "used after the end");
        });
        Some(self.rundown.leave(stripe))
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
