//! See `rtm_fuzz::abi`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| rtm_fuzz::abi::run(bytes));
