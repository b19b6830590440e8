//! See `pointillist_fuzz::csv`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| pointillist_fuzz::csv(data));
