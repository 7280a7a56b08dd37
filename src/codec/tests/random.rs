//! Random bytes and damaged packets: [`fuzz`] never panics. The seed is fixed, so that a failure can be repeated.

use super::super::{Connack, Connect, ConnectCode, Delivery, Publish, Qos, Version, Will, fuzz, v4};
use super::{encoded, id};

/// Miri takes a thousand times as long.
const ROUNDS: usize = if cfg!(miri) { 60 } else { 40_000 };

/// Marsaglia's xorshift64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn byte(&mut self) -> u8 {
        self.next() as u8
    }

    /// Bytes that are likelier to mean something than even ones.
    fn telling_byte(&mut self) -> u8 {
        const TELLING: &[u8] =
            b"\x00\x01\x02\x03\x04\x7F\x80\xFF\x10\x20\x30\x32\x3D\x62\x82\x90\xA2\xC0+#/a$\xC3\xED";
        if self.next() & 1 == 0 { self.byte() } else { TELLING[self.below(TELLING.len())] }
    }
}

/// Every packet once, one after the other.
fn every_packet() -> Vec<Vec<u8>> {
    let connect = Connect {
        version: Version::V311,
        clean_session: false,
        keep_alive: 10,
        client_id: "id",
        will: Some(Will { topic: "w", message: b"gone", qos: Qos::ExactlyOnce, retain: true }),
        username: Some("user"),
        password: Some(b"pass"),
    };
    let publish = Publish {
        dup: false,
        delivery: Delivery::AtMostOnce,
        retain: true,
        topic: "room/ä/1",
        payload: b"21.5",
    };
    let filters = [("a/+", Qos::AtLeastOnce), ("$share/g/#", Qos::ExactlyOnce)];
    vec![
        encoded(|out| v4::connect(out, &connect)),
        encoded(|out| v4::connect(out, &Connect { version: Version::V31, will: None, ..connect })),
        encoded(|out| v4::connack(out, &Connack { session_present: true, code: ConnectCode::Accepted })),
        encoded(|out| v4::publish(out, &publish)),
        encoded(|out| v4::publish(out, &Publish { delivery: Delivery::AtLeastOnce(id(1)), ..publish })),
        encoded(|out| {
            v4::publish(
                out,
                &Publish { delivery: Delivery::ExactlyOnce(id(2)), payload: &[7; 150], ..publish },
            );
        }),
        encoded(|out| v4::puback(out, id(1))),
        encoded(|out| v4::pubrec(out, id(2))),
        encoded(|out| v4::pubrel(out, id(2))),
        encoded(|out| v4::pubcomp(out, id(2))),
        encoded(|out| v4::subscribe(out, id(3), filters.into_iter())),
        encoded(|out| v4::suback(out, id(3), [Some(Qos::AtMostOnce), None].into_iter())),
        encoded(|out| v4::unsubscribe(out, id(4), ["a/+", "b"].into_iter())),
        encoded(|out| v4::unsuback(out, id(4))),
        encoded(v4::pingreq),
        encoded(v4::pingresp),
        encoded(v4::disconnect),
    ]
}

#[test]
fn valid_streams_survive_every_limit_and_every_cut() {
    let stream = every_packet().concat();
    for limit in (0..=128).step_by(if cfg!(miri) { 32 } else { 1 }) {
        for piece in (0..16).step_by(if cfg!(miri) { 7 } else { 1 }) {
            fuzz(&[&[limit, piece], &stream[..]].concat());
        }
    }
}

#[test]
fn random_bytes_never_panic() {
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let mut data = Vec::new();
    for _ in 0..ROUNDS {
        data.clear();
        for _ in 0..random.below(64) {
            data.push(random.telling_byte());
        }
        fuzz(&data);
    }
}

#[test]
fn damaged_packets_never_panic() {
    let packets = every_packet();
    let mut random = Random(0x2545_F491_4F6C_DD1D);
    for _ in 0..ROUNDS {
        let mut data = vec![random.byte(), random.byte()];
        for _ in 0..1 + random.below(3) {
            let start = data.len();
            data.extend_from_slice(&packets[random.below(packets.len())]);
            for _ in 0..random.below(4) {
                let at = start + random.below(data.len() - start);
                match random.below(4) {
                    0 => data[at] ^= 1 << random.below(8),
                    1 => data[at] = random.telling_byte(),
                    2 if data.len() > start + 1 => drop(data.remove(at)),
                    _ => data.insert(at, random.telling_byte()),
                }
            }
        }
        fuzz(&data);
    }
}
