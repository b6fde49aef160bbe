//! The models of the rundown, as tests.
#![cfg(rtm_loom)]

rtm_loom_tests::tests!(rundown: close_against_invoke close_later_against_invoke block_against_invoke bell);
