//! See `rtm_loom_tests::journal`.
#![cfg(rtm_loom)]

rtm_loom_tests::tests! { journal:
    append_and_read
    read_against_overrun
    two_writers_need_a_block
    trim_against_append
    read_against_recycling
    overwrite_sees_a_hold
    overwrite_against_trim
    free_overwrite_against_trim
    late_commit_against_trim
    late_commit_against_recycling
    late_commit_against_trim_and_append
    writers_a_round_apart
    spare_blocks
    spare_block_handed_on
}
