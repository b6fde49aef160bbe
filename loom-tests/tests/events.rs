//! See `rtm_loom_tests::events`.
#![cfg(rtm_loom)]

rtm_loom_tests::tests! { events:
    deregister_against_delivery
    deregister_later_against_delivery
    deregister_inside_missed_event
    deregister_against_start
    registration_of_a_listener_against_another
    registration_of_a_listener_against_departure
    registration_against_departure
    registration_while_listeners_change
    id_handed_on
    delivery_against_trim
    hold_against_reclaim
    hold_against_release
    hold_against_reference
}
