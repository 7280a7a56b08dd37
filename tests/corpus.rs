//! The bodies of the fuzz targets, run on the seeds that are kept in `tests/fuzz/corpus`, as they are and damaged in ways
//! that are the same in every run. The fuzzer itself: see CONTRIBUTING.md.

use std::fs;
use std::path::Path;
use std::time::Instant;

#[allow(dead_code, unreachable_pub)]
#[path = "session/support/random.rs"]
mod random;

use random::Random;

/// Damaged copies of a target's seeds together.
const COPIES: usize = 12_000;

/// The seeds of a target.
fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(target);
    let mut paths: Vec<_> = fs::read_dir(folder)
        .expect("it has a corpus")
        .map(|entry| entry.expect("it is read").path())
        .collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).expect("it is read")).collect()
}

/// A copy with bytes changed, left out, put in, or taken from another seed.
fn damaged(seeds: &[Vec<u8>], seed: &[u8], random: &mut Random) -> Vec<u8> {
    let mut data = seed.to_vec();
    for _ in 0..1 + random.below(6) {
        let at = random.below(data.len() + 1);
        match random.below(5) {
            0 if at < data.len() => data[at] ^= 1 << random.below(8),
            1 if at < data.len() => data[at] = random.next() as u8,
            2 if at < data.len() => drop(data.remove(at)),
            3 => {
                let other = &seeds[random.below(seeds.len())];
                let from = random.below(other.len() + 1);
                data.splice(at.., other[from..].iter().copied());
            }
            _ => data.insert(at, random.next() as u8),
        }
    }
    data
}

fn run(target: &str, body: impl Fn(&[u8])) {
    let seeds = seeds(target);
    assert!(!seeds.is_empty(), "{target} has seeds");
    let mut random = Random::new(4);
    for seed in &seeds {
        body(seed);
        for _ in 0..COPIES / seeds.len() {
            body(&damaged(&seeds, seed, &mut random));
        }
    }
}

#[test]
fn deframe_finds_nothing() {
    run("deframe", mqtt::codec::fuzz);
}

#[test]
fn decode_v4_finds_nothing() {
    run("decode_v4", mqtt::codec::v4::fuzz);
}

#[test]
fn session_finds_nothing() {
    let start = Instant::now();
    run("session", |data| mqtt::session::fuzz::fuzz(start, data));
}

#[test]
fn topic_finds_nothing() {
    run("topic", mqtt::codec::topic::fuzz);
}

#[test]
fn uri_finds_nothing() {
    run("uri", mqtt::net::uri::fuzz);
}

#[test]
fn pem_finds_nothing() {
    run("pem", mqtt::net::pem::fuzz);
}

#[test]
fn x509_finds_nothing() {
    run("x509", mqtt::net::fuzz_x509);
}

#[test]
fn config_finds_nothing() {
    run("config", mqtt::lua::fuzz_config);
}

#[test]
fn sjson_finds_nothing() {
    run("sjson", mqtt::lua::fuzz_sjson);
}

#[test]
fn secure_finds_nothing() {
    run("secure", mqtt::lua::fuzz_secure);
}
