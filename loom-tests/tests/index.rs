//! See `rtm_loom_tests::index`.
#![cfg(rtm_loom)]

rtm_loom_tests::tests! { index:
    two_insertions
    two_ids_in_one_cell
    insert_against_remove
    id_handed_on
    insert_against_growth
    growth_in_one_step
    remove_against_growth
    late_mover
    array_freed_under_a_walk
    walk_against_growth
}
