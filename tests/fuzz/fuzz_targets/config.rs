//! Fuzz target: a configuration of Mongoose OS.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mqtt::lua::fuzz_config(data));
