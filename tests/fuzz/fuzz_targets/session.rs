//! Fuzz target: a broker's bytes, and commands.
#![no_main]

use std::sync::LazyLock;
use std::time::Instant;

/// The same for all runs: what happens depends on the data alone.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

libfuzzer_sys::fuzz_target!(|data: &[u8]| mqtt::session::fuzz::fuzz(*START, data));
