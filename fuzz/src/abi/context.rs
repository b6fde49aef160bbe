//! What entities are registered with, and what the library's own threads tell of it.

use super::model::Event;
use rtm::*;
use std::collections::BTreeMap;
use std::ffi::{CStr, c_char};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// A client's context.
#[derive(Default)]
pub(super) struct Context {
    may: AtomicBool,
    cleaned: AtomicU32,
}

impl Context {
    /// From here on it may be cleaned up.
    pub(super) fn release(&self) {
        self.may.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_clean(&self) -> bool {
        self.cleaned.load(Ordering::Acquire) != 0
    }
}

/// The cleanup function of all entities that have one.
pub(super) unsafe extern "C" fn cleanup(context: PVOID) {
    // SAFETY: contexts stay until the program is over, which flushes before.
    let context = unsafe { &*context.cast::<Context>() };
    assert!(context.may.load(Ordering::Relaxed), "DIVERGENCE: cleaned up while it is registered");
    let before = context.cleaned.fetch_add(1, Ordering::Release);
    assert!(before == 0, "DIVERGENCE: cleaned up twice");
}

/// What a listener of the pool was told.
#[derive(Default)]
pub(super) struct Told {
    pub(super) events: Vec<Event>,
    /// Its deregistration has returned.
    pub(super) over: bool,
}

static TOLD: Mutex<BTreeMap<u64, Told>> = Mutex::new(BTreeMap::new());

/// What the pool has told this listener.
pub(super) fn told<R>(listener: u64, look: impl FnOnce(&mut Told) -> R) -> R {
    look(TOLD.lock().expect("nobody panics with it").entry(listener).or_default())
}

/// All of them, for the next program to begin with none.
pub(super) fn forget_told() -> BTreeMap<u64, Told> {
    std::mem::take(&mut TOLD.lock().expect("nobody panics with it"))
}

/// A callback that a thread of the pool runs.
pub(super) fn tell(listener: u64, event: Event) {
    let over = told(listener, |told| {
        told.events.push(event);
        told.over
    });
    assert!(!over, "DIVERGENCE: {listener:#x} is told of {event:?} after its deregistration");
}

/// Defects that the library has caught.
static LOG: Mutex<Vec<String>> = Mutex::new(Vec::new());

pub(super) unsafe extern "C" fn log(_: PVOID, text: *const c_char) {
    // SAFETY: the library's, NUL-terminated.
    let text = unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned();
    LOG.lock().expect("nobody panics with it").push(text);
}

pub(super) fn logged() -> Vec<String> {
    std::mem::take(&mut LOG.lock().expect("nobody panics with it"))
}
