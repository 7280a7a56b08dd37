//! Fuzz target: certificates.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mqtt::net::fuzz_x509(data));
