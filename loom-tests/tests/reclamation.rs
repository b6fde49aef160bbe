//! See `rtm_loom_tests::reclamation`.
#![cfg(rtm_loom)]

rtm_loom_tests::tests! { reclamation:
    grace_period
    grace_period_too_early
    push_against_take
    synchronize
    synchronize_with_one_inside
    phases
    seal_against_flush
    seal_in_the_next_phase
    record_reuse
    record_handed_on
    two_members
    member_gone_with_garbage
}
