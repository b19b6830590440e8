//! See `pointillist_fuzz::request`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| pointillist_fuzz::request(data));
