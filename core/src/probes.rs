//! Points at which a tracer may look on: USDT probes of the provider `rtm`, a `nop` and a note in the file each.
//! Without the feature `probes` nothing. `docs/tuning.md` lists them with their arguments.

use crate::entity::EntityInfo;
use crate::handle::Handle;
use crate::sync::AtomicU64;

#[cfg(feature = "probes")]
use crate::sync::Ordering;
#[cfg(feature = "probes")]
use probe::probe;

/// An entity has been registered.
#[inline(always)]
pub(crate) fn register(handle: Handle, info: EntityInfo) {
    #[cfg(feature = "probes")]
    probe!(rtm, register, handle.to_bits(), info.table.instance, info.table.family as u16, info.id);
    let _ = (handle, info);
}

/// An entity is not found any more: its deregistration has begun.
#[inline(always)]
pub(crate) fn deregister(handle: Handle, info: EntityInfo) {
    #[cfg(feature = "probes")]
    probe!(
        rtm,
        deregister,
        handle.to_bits(),
        info.table.instance,
        info.table.family as u16,
        info.id
    );
    let _ = (handle, info);
}

/// So many payloads have been dropped; what is left of the backlog.
#[inline(always)]
pub(crate) fn reclaim(slots: u32, backlog: &AtomicU64) {
    #[cfg(feature = "probes")]
    if slots != 0 {
        probe!(rtm, reclaim, slots, backlog.load(Ordering::Relaxed));
    }
    let _ = (slots, backlog);
}

/// A registration is refused because too many departed entities wait.
#[inline(always)]
pub(crate) fn backpressure(info: EntityInfo, limit: u64) {
    #[cfg(feature = "probes")]
    probe!(rtm, backpressure, info.table.instance, info.table.family as u16, info.id, limit);
    let _ = (info, limit);
}
