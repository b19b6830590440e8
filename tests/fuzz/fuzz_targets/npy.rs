//! See `pointillist_fuzz::npy`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| pointillist_fuzz::npy(data));
