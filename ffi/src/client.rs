//! What librtm attaches to an entity: the C client's context, cleanup, methods and callback.

use crate::types::*;

/// The payload of a registered entity.
pub(crate) struct Client {
    context: usize,
    pub(crate) cleanup: RTMX_CLEANUP,
    /// Checked and stored for the calls that will use them.
    #[allow(dead_code)]
    methods: Option<Box<[RTM_ENTITY_EXPORT_METHOD]>>,
    #[allow(dead_code)]
    callback: RTM_EVENT_CALLBACK,
    pub(crate) reserves_opaque: bool,
}

impl Client {
    pub(crate) fn new(
        context: PVOID,
        cleanup: RTMX_CLEANUP,
        methods: Option<Box<[RTM_ENTITY_EXPORT_METHOD]>>,
        callback: RTM_EVENT_CALLBACK,
        reserves_opaque: bool,
    ) -> Client {
        Client { context: context.expose_provenance(), cleanup, methods, callback, reserves_opaque }
    }

    /// The pointer that the client registered.
    #[inline(always)]
    pub(crate) fn context(&self) -> PVOID {
        std::ptr::with_exposed_provenance_mut(self.context)
    }
}
