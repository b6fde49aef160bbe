//! See `rtm_loom_tests::dispatch`.
#![cfg(rtm_loom)]

rtm_loom_tests::tests! { dispatch:
    append_against_sleep
    stop_against_sleep
    stop_against_start
    rouse_against_sleep
    append_against_pause
    append_against_pass
    runs_one_after_the_other
    the_last_one_rings
    reading_against_release
    close_against_a_run
    close_against_join
    close_against_pop
    join_against_trim
    join_against_pass
    skip_against_commit
    publish_against_enlist
    append_against_enlist
    two_enlist
    two_ringers
    push_against_pop
    push_against_wait
    two_sleepers
    interrupt_against_wait
}
