//! See `rtm_loom_tests::slab`.
#![cfg(rtm_loom)]

rtm_loom_tests::tests! { slab:
    publish_and_look_up
    look_up_against_removal
    refresh_against_removal
    publish_and_copy
    copy_against_reuse
    copy_against_trim
    theft_against_trim
    join_against_trim
    two_removals
    remove_what_another_published
    reference_against_removal
    reference_sees_registration
    release_against_reclaim
    release_against_plain_reclaim
    two_releases
    last_generation
    growth_by_two
    growth_seen_by_a_reader
    growth_seen_through_an_old_view
    two_thieves
    share_against_theft
    seal_against_seal
    retire_against_seal
    two_take_what_is_retired
}
