//! Atomics on which shuttle's scheduler may let another thread run. Only with `--cfg rtm_shuttle`.
//!
//! Each is std's, behind a place where shuttle may switch to another thread: before every operation. They
//! are as large as std's and may be made of zeroed memory, so that all else is the shipped code. Shuttle
//! runs one thread at a time: orderings are not tested (that is loom's affair), and what does not go
//! through the door, crossbeam-epoch, happens in one step from switch to switch.

use std::ops::{Deref, DerefMut};
use std::sync::atomic;

/// Lets the scheduler choose who goes on; nothing outside of an execution, or when one has failed.
fn switch() {
    if !std::thread::panicking() && shuttle::current::get_current_task().is_some() {
        shuttle::thread::sleep(std::time::Duration::ZERO);
    }
}

macro_rules! scheduled {
    ($($name:ident $(<$parameter:ident>)?, $value:ty;)+) => {$(
        #[repr(transparent)]
        #[derive(Debug, Default)]
        pub(crate) struct $name $(<$parameter>)? (atomic::$name $(<$parameter>)?);

        impl $(<$parameter>)? $name $(<$parameter>)? {
            pub(crate) const fn new(value: $value) -> Self {
                $name(atomic::$name::new(value))
            }
        }

        impl $(<$parameter>)? Deref for $name $(<$parameter>)? {
            type Target = atomic::$name $(<$parameter>)?;
            fn deref(&self) -> &Self::Target {
                switch();
                &self.0
            }
        }

        impl $(<$parameter>)? DerefMut for $name $(<$parameter>)? {
            fn deref_mut(&mut self) -> &mut Self::Target {
                &mut self.0
            }
        }
    )+};
}

scheduled! {
    AtomicBool, bool;
    AtomicI64, i64;
    AtomicPtr<T>, *mut T;
    AtomicU32, u32;
    AtomicU64, u64;
    AtomicUsize, usize;
}
