//! The one way in: fork check, panic guard, pointer checks.

use crate::fork;
use crate::sync::Mutex;
use crate::types::*;
use rtm_core::reserve::lend;
use rtm_core::{Handle, OutOfMemory};
use std::alloc::Layout;
use std::cell::Cell;
use std::ffi::{CString, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::{Once, PoisonError};

/// What a function's body may say: nothing on success, else the code.
pub(crate) type Outcome = Result<(), DWORD>;

thread_local! {
    /// This thread is in a call whose panic must not be printed.
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Runs the body of an export.
#[inline(always)]
pub(crate) fn call(body: impl FnOnce() -> Outcome) -> DWORD {
    QUIET.set(true);
    let code = call_hot(body);
    QUIET.set(false);
    code
}

/// As [`call`], without the thread-local access: for bodies of a few instructions that have nothing
/// to panic about.
#[inline(always)]
pub(crate) fn call_hot(body: impl FnOnce() -> Outcome) -> DWORD {
    if !fork::usable() {
        return ERROR_INVALID_STATE;
    }
    let body = || {
        #[cfg(debug_assertions)]
        injected();
        body()
    };
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => NO_ERROR,
        Ok(Err(code)) => code,
        Err(payload) => caught(payload),
    }
}

#[cold]
fn caught(payload: Box<dyn std::any::Any + Send>) -> DWORD {
    let text = (payload.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "unknown panic".to_owned());
    // The payload's own drop may panic; then it is leaked.
    if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        std::mem::forget(second);
    }
    log(&format!("rtm: a defect was caught: {text}"));
    ERROR_INTERNAL_ERROR
}

/// The function set by `RtmxSetLogFunction`, and its context's address.
static LOG: Mutex<(RTMX_LOG, usize)> = Mutex::new((None, 0));

pub(crate) fn set_log(function: RTMX_LOG, context: PVOID) {
    let new = (function, context.expose_provenance());
    *LOG.lock().unwrap_or_else(PoisonError::into_inner) = new;
}

fn log(text: &str) {
    // Called without the lock: the function may set another.
    let (function, context) = *LOG.lock().unwrap_or_else(PoisonError::into_inner);
    let (Some(function), Ok(text)) = (function, CString::new(text.replace('\0', " "))) else {
        return;
    };
    let context = ptr::with_exposed_provenance_mut::<c_void>(context);
    // SAFETY: the application gave the function for this use.
    unsafe { function(context, text.as_ptr()) };
}

/// Keeps panics inside our calls from being printed; all others go where they went before.
pub(crate) fn silence_panics() -> Outcome {
    static ONCE: Once = Once::new();
    // The hook keeps the one before, a pointer of two words.
    let _loan = lend(Layout::new::<[usize; 2]>()).map_err(|OutOfMemory| ERROR_NOT_ENOUGH_MEMORY)?;
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                before(info);
            }
        }));
    });
    Ok(())
}

#[cfg(debug_assertions)]
thread_local! {
    static INJECT: Cell<bool> = const { Cell::new(false) };
}

/// Makes this thread's next call panic, in builds with debug assertions: for tests.
#[doc(hidden)]
#[cfg(debug_assertions)]
pub fn inject_panic() {
    assert_eq!(silence_panics(), Ok(()));
    INJECT.set(true);
}

#[cfg(debug_assertions)]
fn injected() {
    if INJECT.replace(false) {
        QUIET.set(true);
        panic!("injected");
    }
}

/// Keeps the calling thread from being cancelled while it waits (or asks the system for random numbers)
/// inside the library, whose frames a cancellation must not unwind. A pending cancellation takes effect at
/// the caller's next cancellation point.
pub(crate) fn without_cancellation<R>(f: impl FnOnce() -> R) -> R {
    unsafe extern "C" {
        fn pthread_setcancelstate(state: libc::c_int, before: *mut libc::c_int) -> libc::c_int;
    }
    const DISABLE: libc::c_int = 1;
    let mut before = 0;
    // SAFETY: changes the calling thread's own state; `before` is a place for the old one.
    unsafe { pthread_setcancelstate(DISABLE, &mut before) };
    let result = f();
    // SAFETY: as above.
    unsafe { pthread_setcancelstate(before, &mut before) };
    result
}

/// `Box::new` that reports failure.
pub(crate) fn try_box<T>(value: T) -> Result<Box<T>, DWORD> {
    const { assert!(size_of::<T>() != 0) };
    // SAFETY: the layout has a non-zero size (asserted above).
    let place = unsafe { std::alloc::alloc(std::alloc::Layout::new::<T>()) }.cast::<T>();
    if place.is_null() {
        return Err(ERROR_NOT_ENOUGH_MEMORY);
    }
    // SAFETY: fresh memory for a T.
    unsafe { place.write(value) };
    // SAFETY: from the global allocator with T's layout, and holds a T.
    Ok(unsafe { Box::from_raw(place) })
}

/// A pointer that a C caller must have given.
pub(crate) fn required<T>(pointer: *const T) -> Outcome {
    if pointer.is_null() || !pointer.is_aligned() { Err(ERROR_INVALID_PARAMETER) } else { Ok(()) }
}

/// An array that may be NULL if it is empty.
pub(crate) fn required_array<T>(pointer: *const T, count: UINT) -> Outcome {
    if count == 0 { Ok(()) } else { required(pointer) }
}

/// A pointer that may be NULL.
pub(crate) fn optional<T>(pointer: *const T) -> Outcome {
    if pointer.is_null() { Ok(()) } else { required(pointer) }
}

/// The core's handle of a C handle.
#[inline(always)]
pub(crate) fn handle(handle: HANDLE) -> Result<Handle, DWORD> {
    Handle::from_bits(handle.addr() as u64).ok_or(ERROR_INVALID_HANDLE)
}

/// The C handle of a core handle.
#[inline(always)]
pub(crate) fn to_c(handle: Handle) -> HANDLE {
    ptr::without_provenance_mut(handle.to_bits() as usize)
}
