//! placeholder
#[cfg(not(target_pointer_width = "64"))]
compile_error!("rtm needs a 64-bit target: handles, words and index cells are 64 bits wide");

mod alloc;
mod entity;
mod error;
mod handle;
mod index;
mod limits;
mod member;
mod mutant;
mod participant;
mod reclamation;
mod registry;
mod slab;
mod snapshot;
mod stack;
mod statistics;
mod sync;
mod table;

pub use alloc::OutOfMemory;
pub use entity::{AddressFamily, EntityInfo, TableKey};
pub use error::{InvalidHandle, ReferenceError, Refusal, RegisterError, WaitError};
pub use handle::{Config, Handle, Kind, Standard};
pub use limits::Limits;
pub use participant::{Departed, Entity, Flushing, Guard, Participant, Registration};
pub use registry::{DropBy, Registry, Settings};
pub use statistics::Statistics;
pub use table::Profile;

#[cfg(rtm_loom)]
pub mod model;
#[cfg(rtm_loom)]
pub use mutant::Mutant;
