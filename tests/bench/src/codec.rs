//! The codec alone: encoding and decoding a PUBLISH of 64 B, in nanoseconds or as a plain loop for callgrind.

use std::error::Error;
use std::hint::black_box;

use mqtt::codec::{Deframer, Delivery, PacketId, Publish, v4};

use crate::Outcome;
use crate::contest::Spread;
use crate::peers::processor;
use crate::wire::{self, TOPIC};

/// Packets that are encoded into a buffer before it is emptied, and that are decoded out of one.
const BATCH: usize = 512;
const PACKETS: usize = 1 << 21;

/// The goals, in nanoseconds.
pub const OPERATIONS: [(&str, f64); 4] =
    [("encode QoS 0", 10.0), ("encode QoS 1", 10.0), ("decode QoS 0", 13.0), ("decode QoS 1", 13.0)];

/// `codec OPERATION PACKETS`: that loop and nothing else.
pub fn run(arguments: &[String]) -> Outcome {
    let [operation, packets] = arguments else { return Err("codec OPERATION PACKETS".into()) };
    repeat(operation, packets.parse()?)
}

/// Measures the processor's time of all in turn, so many times.
pub fn report(runs: usize) -> Outcome {
    let mut rounds = vec![Vec::new(); OPERATIONS.len()];
    for _ in 0..runs {
        for ((operation, _), times) in OPERATIONS.iter().zip(&mut rounds) {
            let start = processor();
            repeat(operation, PACKETS)?;
            times.push((processor() - start).as_secs_f64() * 1e9 / PACKETS as f64);
        }
    }
    for ((operation, goal), times) in OPERATIONS.iter().zip(rounds) {
        let Spread { middle, least, most } = Spread::of(times.into_iter());
        println!("  {operation:28} {middle:6.2} ns ({least:.2}..{most:.2})  goal: {goal} ns");
    }
    Ok(())
}

fn repeat(operation: &str, packets: usize) -> Outcome {
    let (what, qos) = operation.rsplit_once(' ').ok_or("an operation and a QoS")?;
    let qos: u8 = qos.parse()?;
    match what {
        "encode QoS" if qos == 0 => encode(packets, || Delivery::AtMostOnce),
        "encode QoS" => encode(packets, || Delivery::AtLeastOnce(black_box(PacketId::MIN))),
        "decode QoS" => return decode(qos, packets),
        _ => return Err(format!("unknown operation {operation}").into()),
    }
    Ok(())
}

/// As a session does, whose caller has checked the topic, and which has a place for each QoS: strings and id are unknown
/// to the compiler.
fn encode(packets: usize, delivery: impl Fn() -> Delivery) {
    let payload = wire::payload(64);
    let mut out = Vec::with_capacity(BATCH * 128);
    for n in 0..packets {
        if n % BATCH == 0 {
            black_box(&out);
            out.clear();
        }
        let publish = Publish {
            dup: false,
            delivery: delivery(),
            retain: black_box(false),
            topic: black_box(TOPIC),
            payload: black_box(&payload),
        };
        v4::publish(&mut out, &publish);
    }
    black_box(&out);
}

/// As a session does: out of a buffer full of them.
fn decode(qos: u8, packets: usize) -> Result<(), Box<dyn Error>> {
    let stream = wire::publish(TOPIC, qos, 64).repeat(BATCH);
    let mut deframer = Deframer::from_broker(None);
    for _ in 0..packets.div_ceil(BATCH) {
        let mut input = black_box(&stream[..]);
        while let Some(frame) = deframer.next(&mut input)? {
            black_box(v4::decode_publish(&frame)?);
        }
    }
    Ok(())
}
