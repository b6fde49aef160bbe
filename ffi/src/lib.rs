//! The RTMv2 C ABI over [`rtm_core`]: `librtm.so`, `librtm.a`, header `include/rtmv2.h`.
//!
//! Every export is one call of the boundary (`boundary.rs`), which refuses to work in a forked child
//! and turns a panic into `ERROR_INTERNAL_ERROR`. The documentation of each function is written for
//! the header, which cbindgen makes from this crate; `tests/header.rs` compares them.
//!
//! State of the process: at most one `Manager` (`manager.rs`), made by the first call that needs it
//! and given back by `RtmxShutdown`; one record for each thread that has used it (`thread.rs`), freed
//! when the thread ends. Threads of the library: the reclaimer (`reclaimer.rs`), the herald and the
//! pool that runs event callbacks (`pool.rs`), each started when it is first needed.

#![allow(non_camel_case_types, non_snake_case, clippy::upper_case_acronyms)]
// The contract of each export is its documentation, which is the header's.
#![allow(clippy::missing_safety_doc)]

#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
compile_error!("librtm is for 64-bit Linux");

mod boundary;
mod client;
mod entities;
mod events;
mod fork;
mod formats;
mod manager;
mod methods;
mod pool;
mod reading;
mod reclaimer;
mod registration;
#[cfg(feature = "reserve")]
mod reserve;
#[cfg(not(feature = "reserve"))]
#[path = "no_reserve.rs"]
mod reserve;
mod spares;
mod sync;
mod thread;
mod tokens;
mod tuning;
mod types;

#[doc(hidden)]
#[cfg(debug_assertions)]
pub use boundary::inject_panic;
pub use entities::*;
pub use events::*;
pub use formats::*;
pub use methods::*;
pub use reading::*;
pub use reclaimer::*;
pub use registration::*;
pub use tuning::*;
pub use types::*;

/// The figures of each member of the process's registry: for `rtm-load`.
#[doc(hidden)]
pub fn member_figures() -> Vec<rtm_core::MemberFigures> {
    manager::existing().map_or(Vec::new(), |manager| manager.registry.member_figures().collect())
}

/// Limits that nobody can set, as `docs/tuning.md` names them: for the test that compares.
#[doc(hidden)]
pub const FIXED_LIMITS: [(&str, u64); 4] = [
    ("reader objects", 1 << tokens::PLACE_BITS),
    ("event queues", 1 << tokens::PLACE_BITS),
    ("methods of an entity", types::MAX_METHODS as u64),
    (
        "entities one after the other in one slot",
        1 << <rtm_core::Standard as rtm_core::Config>::GENERATION_BITS,
    ),
];
