//! Fuzz target: packets.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mqtt::codec::v4::fuzz(data));
