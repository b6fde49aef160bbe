//! See `rtm_fuzz::handles`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| rtm_fuzz::handles::run(bytes));
