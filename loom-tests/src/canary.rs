//! A payload whose reads and drop loom sees: a premature drop is a detected race.

use loom::cell::UnsafeCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const IDS: usize = 8;

/// Counts the drops of canaries by number. Not seen by loom: it adds no order.
#[derive(Clone, Default)]
pub struct Ledger(Arc<[AtomicUsize; IDS]>);

impl Ledger {
    /// A canary with this number.
    pub fn canary(&self, id: u32) -> Canary {
        Canary { content: UnsafeCell::new(id), id, ledger: self.clone() }
    }

    /// How often canaries of this number were dropped.
    pub fn drops(&self, id: u32) -> usize {
        self.0[id as usize].load(Ordering::Relaxed)
    }
}

/// The payload of the models.
pub struct Canary {
    content: UnsafeCell<u32>,
    id: u32,
    ledger: Ledger,
}

// SAFETY: concurrent reads and exclusive drops; whether drops are exclusive is what loom checks.
unsafe impl Sync for Canary {}

impl Canary {
    /// Its number.
    ///
    /// # Panics
    /// If it has been dropped; loom panics if it is just being dropped.
    pub fn read(&self) -> u32 {
        // SAFETY: loom panics before a racing access.
        let content = self.content.with(|content| unsafe { *content });
        assert_eq!(content, self.id, "read after drop");
        content
    }
}

impl Drop for Canary {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        self.content.with_mut(|content| {
            // SAFETY: loom panics before a racing access.
            let content = unsafe { &mut *content };
            assert_eq!(*content, self.id, "dropped twice");
            *content = u32::MAX;
        });
        self.ledger.0[self.id as usize].fetch_add(1, Ordering::Relaxed);
    }
}
