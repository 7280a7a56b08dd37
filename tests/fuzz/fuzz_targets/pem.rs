//! Fuzz target: PEM data.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mqtt::net::pem::fuzz(data));
