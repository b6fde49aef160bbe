//! See `rtm_loom_tests::rundown`.
#![cfg(rtm_loom)]

rtm_loom_tests::tests! { rundown:
    close_against_invoke
    two_leave_by_one_stripe
    close_later_against_invoke
    block_against_invoke
    bell
    frames_handed_on
    deregister_against_invoke
    deregister_later_against_invoke
    two_departures_against_invoke
    block_and_resume_against_invoke
    departure_against_blocked_invoke
    later_departure_against_blocked_invoke
    blocked_by_another
    two_methods_that_deregister_each_other
    blocker_against_blocked
    blocker_in_a_circle
}
