//! A read-mostly value, replaced as a whole: arc-swap, and a lock in its place under loom.
//!
//! Readers get one consistent value, without waiting for whoever replaces it. Replacing allocates
//! one `Arc`; a thread's first load allocates arc-swap's node (192 bytes). Both abort if there is no
//! memory.

use std::ops::Deref;
use std::sync::Arc;

#[cfg(not(rtm_loom))]
pub(crate) struct Snapshot<T>(arc_swap::ArcSwap<T>);

#[cfg(not(rtm_loom))]
impl<T> Snapshot<T> {
    pub(crate) fn new(value: T) -> Self {
        Snapshot(arc_swap::ArcSwap::from_pointee(value))
    }

    #[inline]
    pub(crate) fn load(&self) -> impl Deref<Target = Arc<T>> + use<T> {
        self.0.load()
    }

    pub(crate) fn swap(&self, value: T) -> Arc<T> {
        self.0.swap(Arc::new(value))
    }

    /// Replaces `old`; `false` if somebody else replaced it before.
    pub(crate) fn replace(&self, old: &Arc<T>, value: T) -> bool {
        Arc::ptr_eq(&self.0.compare_and_swap(old, Arc::new(value)), old)
    }
}

#[cfg(rtm_loom)]
pub(crate) struct Snapshot<T>(loom::sync::Mutex<Arc<T>>);

#[cfg(rtm_loom)]
impl<T> Snapshot<T> {
    pub(crate) fn new(value: T) -> Self {
        Snapshot(loom::sync::Mutex::new(Arc::new(value)))
    }

    fn lock(&self) -> loom::sync::MutexGuard<'_, Arc<T>> {
        self.0.lock().expect("loom's mutex is not poisoned")
    }

    pub(crate) fn load(&self) -> impl Deref<Target = Arc<T>> + use<T> {
        struct Loaded<T>(Arc<T>);
        impl<T> Deref for Loaded<T> {
            type Target = Arc<T>;
            fn deref(&self) -> &Arc<T> {
                &self.0
            }
        }
        Loaded(self.lock().clone())
    }

    pub(crate) fn swap(&self, value: T) -> Arc<T> {
        std::mem::replace(&mut *self.lock(), Arc::new(value))
    }

    pub(crate) fn replace(&self, old: &Arc<T>, value: T) -> bool {
        let mut now = self.lock();
        let same = Arc::ptr_eq(&now, old);
        if same {
            *now = Arc::new(value);
        }
        same
    }
}
