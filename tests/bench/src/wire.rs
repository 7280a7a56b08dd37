//! Packets that the stand-in for a broker and the bare sockets share.

use mqtt::codec::{Connect, Delivery, PacketId, Publish, Qos, Version, v4};

/// What everybody publishes to.
pub const TOPIC: &str = "sensors/room1/temp";

/// What comes back to the sender.
pub const ECHO: &str = "echo";

/// The stand-in sends `count` messages to whoever subscribes to this. Its length does not depend on the numbers.
pub fn blast_topic(count: usize, size: usize, qos: u8) -> String {
    format!("blast/{count:09}/{size:08}/{qos}")
}

/// A PUBLISH with the id 1, if it has one.
pub fn publish(topic: &str, qos: u8, size: usize) -> Vec<u8> {
    let delivery = match Qos::new(qos) {
        Some(Qos::AtMostOnce) => Delivery::AtMostOnce,
        Some(Qos::AtLeastOnce) => Delivery::AtLeastOnce(PacketId::MIN),
        _ => Delivery::ExactlyOnce(PacketId::MIN),
    };
    let payload = payload(size);
    let mut packet = Vec::new();
    v4::publish(&mut packet, &Publish { dup: false, delivery, retain: false, topic, payload: &payload });
    packet
}

/// The alphabet, over and over.
pub fn payload(size: usize) -> Vec<u8> {
    (b'a'..=b'z').cycle().take(size).collect()
}

/// A CONNECT.
pub fn connect(client_id: &str) -> Vec<u8> {
    let mut packet = Vec::new();
    let connect = Connect {
        version: Version::V311,
        clean_session: true,
        keep_alive: 60,
        client_id,
        will: None,
        username: None,
        password: None,
    };
    v4::connect(&mut packet, &connect);
    packet
}

/// A SUBSCRIBE to one topic.
pub fn subscribe(topic: &str, qos: u8) -> Vec<u8> {
    let mut packet = Vec::new();
    let filter = (topic, Qos::new(qos).expect("a QoS"));
    v4::subscribe(&mut packet, PacketId::MIN, std::iter::once(filter));
    packet
}

/// Writes a packet id at `at`.
pub fn put_id(packet: &mut [u8], at: usize, id: u16) {
    packet[at..at + 2].copy_from_slice(&id.to_be_bytes());
}

/// The id after this one.
pub fn next_id(id: u16) -> u16 {
    if id == u16::MAX { 1 } else { id + 1 }
}
