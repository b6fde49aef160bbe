//! What librtm attaches to an entity: the C client's context, cleanup, methods and callback.

use crate::events::User;
use crate::types::*;
use std::sync::Arc;

/// The payload of a registered entity.
pub(crate) struct Client {
    context: usize,
    pub(crate) cleanup: RTMX_CLEANUP,
    /// With the holes.
    pub(crate) methods: Option<Box<[RTM_ENTITY_EXPORT_METHOD]>>,
    pub(crate) callback: RTM_EVENT_CALLBACK,
    /// The bits of the methods that are no holes.
    pub(crate) exported: RTM_ENTITY_METHOD_TYPE,
    pub(crate) reserves_opaque: bool,
    /// Keeps the event queue.
    pub(crate) queue: Option<Arc<User>>,
}

impl Client {
    pub(crate) fn new(
        context: PVOID,
        cleanup: RTMX_CLEANUP,
        methods: Option<Box<[RTM_ENTITY_EXPORT_METHOD]>>,
        callback: RTM_EVENT_CALLBACK,
        reserves_opaque: bool,
        queue: Option<Arc<User>>,
    ) -> Client {
        let context = context.expose_provenance();
        let table = methods.iter().flatten().enumerate();
        let exported =
            table.fold(0, |mask, (bit, method)| mask | u32::from(method.is_some()) << bit);
        Client { context, cleanup, methods, callback, exported, reserves_opaque, queue }
    }

    /// The pointer that the client registered.
    #[inline(always)]
    pub(crate) fn context(&self) -> PVOID {
        std::ptr::with_exposed_provenance_mut(self.context)
    }

    /// The method table; empty if there is none.
    pub(crate) fn methods(&self) -> &[RTM_ENTITY_EXPORT_METHOD] {
        self.methods.as_deref().unwrap_or_default()
    }
}
