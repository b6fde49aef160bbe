//! See `rtm_loom_tests::registry`.
#![cfg(rtm_loom)]

rtm_loom_tests::tests! { registry:
    two_registrations
    register_against_deregister
    two_deregistrations
    look_up_against_deregister
    enumerate_against_change
    flush_against_seal
    flush_against_flush
    deferred_against_flush
    participant_gone_with_garbage
    limit_on_entities
    reference_against_deregister
    look_up_without_index
}
