//! See `rtm_loom_tests::index`.
#![cfg(rtm_loom)]

rtm_loom_tests::tests! { index:
    two_insertions
    two_ids_in_one_place
    two_ids_of_one_order
    insert_against_remove
    id_handed_on
    id_handed_on_by_its_mark
    insert_behind_a_removal
    two_neighbours_removed
    slot_used_again_under_a_search
    slot_used_again_under_a_walk
    walk_against_the_rest
    bucket_linked_under_insertions
    bucket_linked_under_a_removal
    growth_seen
    two_growths
}
