//! std's mutex, or what stands for it where the thread sanitizer looks on.

#[cfg(rtm_tsan)]
pub(crate) use rtm_core::{Mutex, MutexGuard};
#[cfg(not(rtm_tsan))]
pub(crate) use std::sync::{Mutex, MutexGuard};
