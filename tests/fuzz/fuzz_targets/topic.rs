//! Fuzz target: topics and filters.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mqtt::codec::topic::fuzz(data));
