//! Hands what libFuzzer makes to the body of `screen`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| chinwag_fuzz::screen(data));
