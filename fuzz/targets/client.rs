//! Hands what libFuzzer makes to the body of `client`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| chinwag_fuzz::client(data));
