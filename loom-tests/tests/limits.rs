//! See `rtm_loom_tests::limits`.
#![cfg(rtm_loom)]

rtm_loom_tests::tests! { limits:
    two_takers
    give_against_take
    lower_against_take
    lower_against_the_end_of_debt
    first_limit_against_take
    recount_against_departure
}
