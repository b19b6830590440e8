//! See `pointillist_fuzz::filter`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| pointillist_fuzz::filter(data));
