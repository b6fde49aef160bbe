//! See `rtm_loom_tests::stack`.
#![cfg(rtm_loom)]

rtm_loom_tests::tests! { stack:
    two_takers
    push_against_take
    put_back_against_take
}
