//! Fuzz target: JSON text, encoded and decoded by sjson.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mqtt::lua::fuzz_sjson(data));
