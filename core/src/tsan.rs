//! What the thread sanitizer cannot see by itself, shown to it. Only with `--cfg rtm_tsan`.
//!
//! std is not instrumented, so that the slow path of its mutex orders nothing in the sanitizer's eyes:
//! [`Mutex`] says when it was taken and is given back. The sanitizer knows no fences either: [`fence`]
//! orders all fences among each other as they come, which is more than they do. A race that an
//! unrelated fence hides is thus not found here; the models are exact about fences.

use crate::sync::{Ordering, unseen_fence};
use std::ffi::c_void;
use std::ops::{Deref, DerefMut};
use std::sync::PoisonError;

unsafe extern "C" {
    fn __tsan_acquire(address: *mut c_void);
    fn __tsan_release(address: *mut c_void);
}

/// What was done before [`release`] of the same address is seen.
pub(crate) fn acquire<T>(address: *const T) {
    // SAFETY: names a place; nothing is read.
    unsafe { __tsan_acquire(address.cast_mut().cast()) };
}

pub(crate) fn release<T>(address: *const T) {
    // SAFETY: as above.
    unsafe { __tsan_release(address.cast_mut().cast()) };
}

pub(crate) fn fence(order: Ordering) {
    static ALL: u8 = 0;
    unseen_fence(order);
    if order != Ordering::Release {
        acquire(&raw const ALL);
    }
    if order != Ordering::Acquire {
        release(&raw const ALL);
    }
}

/// std's mutex.
#[derive(Debug, Default)]
pub struct Mutex<T>(std::sync::Mutex<T>);

/// std's guard.
pub struct MutexGuard<'a, T> {
    guard: std::sync::MutexGuard<'a, T>,
    mutex: *const Mutex<T>,
}

impl<T> Mutex<T> {
    /// As std's.
    pub const fn new(value: T) -> Self {
        Mutex(std::sync::Mutex::new(value))
    }

    /// As std's; never poisoned, as all callers want it.
    pub fn lock(&self) -> Result<MutexGuard<'_, T>, PoisonError<MutexGuard<'_, T>>> {
        let guard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        acquire(self);
        Ok(MutexGuard { guard, mutex: self })
    }

    /// As std's.
    pub fn try_lock(
        &self,
    ) -> Result<MutexGuard<'_, T>, std::sync::TryLockError<MutexGuard<'_, T>>> {
        let Ok(guard) = self.0.try_lock() else {
            return Err(std::sync::TryLockError::WouldBlock);
        };
        acquire(self);
        Ok(MutexGuard { guard, mutex: self })
    }

    /// As std's.
    pub fn get_mut(&mut self) -> Result<&mut T, PoisonError<&mut T>> {
        self.0.get_mut()
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.guard
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.guard
    }
}

impl<T> Drop for MutexGuard<'_, T> {
    fn drop(&mut self) {
        release(self.mutex);
    }
}
