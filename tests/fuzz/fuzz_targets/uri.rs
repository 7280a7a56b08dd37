//! Fuzz target: addresses.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mqtt::net::uri::fuzz(data));
