//! Fuzz target: the table about TLS of connect.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mqtt::lua::fuzz_secure(data));
