//! See `pointillist_fuzz::manifest`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| pointillist_fuzz::manifest(data));
