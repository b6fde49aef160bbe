//! See `rtm_fuzz::csv`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| rtm_fuzz::csv::run(bytes));
