//! Packets that are right in themselves and come at the wrong time, twice, or with a foreign id.

use crate::hostile::{Behaviour, Step, harmless, violation};

const PUBACK: u8 = 0x40;
const PUBREC: u8 = 0x50;
const PUBREL: u8 = 0x62;
const PUBCOMP: u8 = 0x70;
const UNSUBACK: u8 = 0xB0;

fn ack(kind: u8, id: u8) -> [u8; 4] {
    [kind, 2, 0, id]
}

/// SUBACK of one code.
fn suback(id: u8, code: u8) -> [u8; 5] {
    [0x90, 3, 0, id, code]
}

pub(crate) fn behaviours() -> Vec<Behaviour> {
    let mut all = unknown();
    all.extend(publishing());
    all.extend(requests());
    all.extend(receiving());
    all.extend(sessions());
    all.extend(closing());
    all
}

/// Answers to nothing.
fn unknown() -> Vec<Behaviour> {
    let mut all = Vec::new();
    for id in [1, 255] {
        for (name, kind, answer) in [
            ("PUBACK", PUBACK, None),
            ("PUBREC", PUBREC, Some(PUBREL)),
            ("PUBREL", PUBREL, Some(PUBCOMP)),
            ("PUBCOMP", PUBCOMP, None),
            ("UNSUBACK", UNSUBACK, None),
        ] {
            let unknown = harmless(&format!("{name} of id {id}, which is not in use"));
            let unknown = unknown.connected().send(&ack(kind, id));
            all.push(match answer {
                Some(answer) => unknown.expect(&ack(answer, id)),
                None => unknown,
            });
        }
        let name = format!("SUBACK of id {id}, which is not in use");
        all.push(harmless(&name).connected().send(&suback(id, 0)));
    }
    all.push(harmless("SUBACK of many codes that nobody asked for").connected().send(&{
        let mut packet = vec![0x90, 102, 0, 1];
        packet.extend([2; 100]);
        packet
    }));
    all.push(harmless("PINGRESP that nobody asked for").connected().send(&[0xD0, 0]));
    all.push(harmless("a thousand PINGRESP").connected().send(&[0xD0, 0].repeat(1000)));
    all.push(harmless("a PUBACK for every id").connected().send(&{
        (1..=u16::MAX).flat_map(|id| [PUBACK, 2, (id >> 8) as u8, id as u8]).collect::<Vec<u8>>()
    }));
    all
}

/// Answers to what the client published.
fn publishing() -> Vec<Behaviour> {
    let one = |name: &str| harmless(name).connected().published(1, 1);
    let two = |name: &str| harmless(name).connected().published(2, 1);
    let released = |name: &str| two(name).send(&ack(PUBREC, 1)).expect(&ack(PUBREL, 1));
    vec![
        one("a QoS 1 message never acknowledged"),
        two("a QoS 2 message never acknowledged"),
        released("PUBREL never answered"),
        one("PUBACK twice").send(&ack(PUBACK, 1).repeat(2)).tells(&["published"]),
        one("PUBACK, then PUBACK once more after the next message")
            .send(&ack(PUBACK, 1))
            .published(1, 2)
            .send(&ack(PUBACK, 1))
            .send(&ack(PUBACK, 2))
            .tells(&["published", "published"]),
        one("PUBACK of the id after").send(&ack(PUBACK, 2)),
        one("PUBACK with the bytes of the id exchanged").send(&[PUBACK, 2, 1, 0]),
        one("PUBREC of a QoS 1 message").send(&ack(PUBREC, 1)).expect(&ack(PUBREL, 1)),
        one("PUBREC, PUBCOMP and PUBACK of a QoS 1 message")
            .send(&[ack(PUBREC, 1), ack(PUBCOMP, 1), ack(PUBACK, 1)].concat())
            .expect(&ack(PUBREL, 1))
            .tells(&["published"]),
        one("PUBCOMP of a QoS 1 message").send(&ack(PUBCOMP, 1)),
        one("PUBREL of a message of ours").send(&ack(PUBREL, 1)).expect(&ack(PUBCOMP, 1)),
        one("SUBACK of a message's id").send(&suback(1, 0)),
        one("UNSUBACK of a message's id").send(&ack(UNSUBACK, 1)),
        one("PUBACKs in the wrong order")
            .published(1, 2)
            .published(1, 3)
            .send(&[ack(PUBACK, 3), ack(PUBACK, 1), ack(PUBACK, 2)].concat())
            .tells_times("published", 3),
        two("PUBACK of a QoS 2 message").send(&ack(PUBACK, 1)),
        two("PUBCOMP before PUBREC").send(&ack(PUBCOMP, 1)),
        two("PUBCOMP before PUBREC, then both in order")
            .send(&[ack(PUBCOMP, 1), ack(PUBREC, 1)].concat())
            .expect(&ack(PUBREL, 1))
            .send(&ack(PUBCOMP, 1))
            .tells(&["published"]),
        released("PUBREC twice").send(&ack(PUBREC, 1)).expect(&ack(PUBREL, 1)),
        released("PUBREC a hundred times")
            .send(&ack(PUBREC, 1).repeat(100))
            .expect(&ack(PUBREL, 1).repeat(100)),
        released("PUBACK after PUBREC").send(&ack(PUBACK, 1)),
        released("PUBCOMP twice").send(&ack(PUBCOMP, 1).repeat(2)).tells(&["published"]),
        released("PUBREC once more after PUBCOMP")
            .send(&[ack(PUBCOMP, 1), ack(PUBREC, 1)].concat())
            .expect(&ack(PUBREL, 1))
            .tells(&["published"]),
        released("PUBCOMPs in the wrong order")
            .published(2, 2)
            .send(&ack(PUBREC, 2))
            .expect(&ack(PUBREL, 2))
            .send(&[ack(PUBCOMP, 2), ack(PUBCOMP, 1)].concat())
            .tells_times("published", 2),
    ]
}

/// Answers to SUBSCRIBE and UNSUBSCRIBE.
fn requests() -> Vec<Behaviour> {
    let asked = |name: &str| harmless(name).connected().subscribed(1);
    let unasked =
        |name: &str| harmless(name).connected().step(Step::Unsubscribe).expect(&[0xA2, 5, 0, 1, 0, 1, b'a']);
    let three = |verdict: fn(&str) -> Behaviour, name: &str| {
        let packet = [0x82, 14, 0, 1, 0, 1, b'a', 1, 0, 1, b'b', 1, 0, 1, b'c', 1];
        verdict(name).connected().step(Step::Subscribe(&["a", "b", "c"])).expect(&packet)
    };
    vec![
        asked("SUBSCRIBE never answered"),
        unasked("UNSUBSCRIBE never answered"),
        asked("SUBACK twice").send(&suback(1, 1).repeat(2)).tells(&["subscribed"]),
        asked("SUBACK that refuses").send(&suback(1, 0x80)).tells(&["subscribed"]),
        asked("SUBACK that grants less").send(&suback(1, 0)).tells(&["subscribed"]),
        asked("SUBACK that grants more").send(&suback(1, 2)).tells(&["subscribed"]),
        asked("SUBACK of another id").send(&suback(2, 1)),
        asked("UNSUBACK of SUBSCRIBE's id, then SUBACK")
            .send(&ack(UNSUBACK, 1))
            .send(&suback(1, 1))
            .tells(&["subscribed"]),
        asked("PUBACK of SUBSCRIBE's id").send(&ack(PUBACK, 1)),
        asked("PUBREC of SUBSCRIBE's id").send(&ack(PUBREC, 1)).expect(&ack(PUBREL, 1)),
        asked("PUBCOMP of SUBSCRIBE's id").send(&ack(PUBCOMP, 1)),
        asked("a message before SUBACK")
            .send(b"\x30\x04\0\x01ax")
            .send(&suback(1, 1))
            .tells(&["a=x", "subscribed"]),
        asked("a message after a refusal")
            .send(&suback(1, 0x80))
            .send(b"\x30\x04\0\x01ax")
            .tells(&["subscribed", "a=x"]),
        unasked("UNSUBACK twice").send(&ack(UNSUBACK, 1).repeat(2)).tells(&["unsubscribed"]),
        unasked("SUBACK of UNSUBSCRIBE's id, then UNSUBACK")
            .send(&suback(1, 1))
            .send(&ack(UNSUBACK, 1))
            .tells(&["unsubscribed"]),
        three(harmless, "SUBACK that refuses some").send(&[0x90, 5, 0, 1, 0x80, 1, 0]).tells(&["subscribed"]),
        three(violation, "SUBACK with two codes for three filters").send(&[0x90, 4, 0, 1, 1, 1]),
        three(violation, "SUBACK with four codes for three filters").send(&[0x90, 6, 0, 1, 1, 1, 1, 1]),
        three(violation, "SUBACK with 65,535 codes for three filters").send(&{
            let mut packet = vec![0x90, 0x81, 0x80, 0x04, 0, 1];
            packet.extend([0; 65_535]);
            packet
        }),
    ]
}

/// The broker's own messages.
fn receiving() -> Vec<Behaviour> {
    const QOS1: &[u8] = b"\x32\x06\0\x01t\0\x07x";
    const QOS2: &[u8] = b"\x34\x06\0\x01t\0\x07x";
    const QOS2_DUP: &[u8] = b"\x3C\x06\0\x01t\0\x07x";
    let rec = ack(PUBREC, 7);
    vec![
        harmless("a message nobody subscribed to").connected().send(b"\x30\x04\0\x01tx").tells(&["t=x"]),
        harmless("a retained message with DUP")
            .connected()
            .send(b"\x3B\x06\0\x01t\0\x07x")
            .expect(&ack(PUBACK, 7))
            .tells(&["t=x"]),
        harmless("a message without a payload").connected().send(b"\x30\x03\0\x01t").tells(&["t="]),
        harmless("a topic of the broker's own").connected().send(b"\x30\x07\0\x04$SYSx").tells(&["$SYS=x"]),
        harmless("a topic with a control character")
            .connected()
            .send(b"\x30\x04\0\x01\x07x")
            .tells(&["\x07=x"]),
        harmless("a topic with U+FEFF")
            .connected()
            .send(b"\x30\x06\0\x03\xEF\xBB\xBFx")
            .tells(&["\u{FEFF}=x"]),
        harmless("a topic with U+FFFF")
            .connected()
            .send(b"\x30\x06\0\x03\xEF\xBF\xBFx")
            .tells(&["\u{FFFF}=x"]),
        harmless("a topic of slashes").connected().send(b"\x30\x06\0\x03///x").tells(&["///=x"]),
        harmless("QoS 1 twice under one id")
            .connected()
            .send(&QOS1.repeat(2))
            .expect(&ack(PUBACK, 7).repeat(2))
            .tells_times("t=x", 2),
        harmless("QoS 2 twice before PUBREL")
            .connected()
            .send(&QOS2.repeat(2))
            .expect(&rec.repeat(2))
            .tells(&["t=x"]),
        harmless("QoS 2 with DUP that is the first").connected().send(QOS2_DUP).expect(&rec).tells(&["t=x"]),
        harmless("QoS 2 repeated a hundred times")
            .connected()
            .send(QOS2)
            .send(&QOS2_DUP.repeat(99))
            .expect(&rec.repeat(100))
            .tells(&["t=x"]),
        harmless("QoS 2 again after PUBREL")
            .connected()
            .send(&[QOS2, &ack(PUBREL, 7), QOS2].concat())
            .expect(&[rec, ack(PUBCOMP, 7), rec].concat())
            .tells_times("t=x", 2),
        harmless("PUBREL twice")
            .connected()
            .send(&[QOS2, &ack(PUBREL, 7), &ack(PUBREL, 7)].concat())
            .expect(&[rec, ack(PUBCOMP, 7), ack(PUBCOMP, 7)].concat())
            .tells(&["t=x"]),
        harmless("QoS 1 under the id of a QoS 2 message")
            .connected()
            .send(&[QOS2, QOS1].concat())
            .expect(&[rec, ack(PUBACK, 7)].concat())
            .tells_times("t=x", 2),
        harmless("PUBREC instead of PUBREL")
            .connected()
            .send(&[QOS2, &rec].concat())
            .expect(&[rec, ack(PUBREL, 7)].concat())
            .tells(&["t=x"]),
        harmless("a message under an id of ours")
            .connected()
            .published(1, 1)
            .send(b"\x32\x06\0\x01t\0\x01x")
            .expect(&ack(PUBACK, 1))
            .send(&ack(PUBACK, 1))
            .tells(&["t=x", "published"]),
    ]
}

/// What it says of sessions, over two connections.
fn sessions() -> Vec<Behaviour> {
    let again = |name: &str| harmless(name).keeping_session().reconnecting().connected();
    let sent = [0x32, 6, 0, 1, b't', 0, 1, b'p'];
    let repeated = [0x3A, 6, 0, 1, b't', 0, 1, b'p'];
    let afresh = |first: u8, id: u8| [first, 6, 0, 1, b't', 0, id, b'p'];
    vec![
        again("a session forgotten with QoS 1 under way")
            .step(Step::Publish(mqtt::codec::Qos::AtLeastOnce))
            .expect(&sent)
            .step(Step::Again)
            .connected()
            .expect(&afresh(0x32, 2))
            .send(&ack(PUBACK, 2))
            .tells(&["offline", "connected", "published"]),
        again("a session claimed, its QoS 1 message unknown")
            .step(Step::Publish(mqtt::codec::Qos::AtLeastOnce))
            .expect(&sent)
            .step(Step::Again)
            .connecting()
            .send(&[0x20, 2, 1, 0])
            .expect(&repeated)
            .send(&ack(PUBACK, 9))
            .send(&ack(PUBACK, 1))
            .tells(&["offline", "connected again", "published"]),
        again("a session forgotten after PUBREC")
            .published(2, 1)
            .send(&ack(PUBREC, 1))
            .expect(&ack(PUBREL, 1))
            .step(Step::Again)
            .connected()
            .send(&ack(PUBCOMP, 1))
            .tells(&["offline", "connected", "published"]),
        again("a session kept, PUBREC once more after PUBREL")
            .published(2, 1)
            .send(&ack(PUBREC, 1))
            .expect(&ack(PUBREL, 1))
            .step(Step::Again)
            .connecting()
            .send(&[0x20, 2, 1, 0])
            .expect(&ack(PUBREL, 1))
            .send(&ack(PUBREC, 1))
            .expect(&ack(PUBREL, 1))
            .send(&ack(PUBCOMP, 1))
            .tells(&["offline", "connected again", "published"]),
        again("a session forgotten, the same QoS 2 id for another message")
            .send(b"\x34\x06\0\x01t\0\x07x")
            .expect(&ack(PUBREC, 7))
            .step(Step::Again)
            .connected()
            .send(b"\x34\x06\0\x01t\0\x07y")
            .expect(&ack(PUBREC, 7))
            .tells(&["t=x", "offline", "connected", "t=y"]),
        again("a session kept, the same QoS 2 message again")
            .send(b"\x34\x06\0\x01t\0\x07x")
            .expect(&ack(PUBREC, 7))
            .step(Step::Again)
            .connecting()
            .send(&[0x20, 2, 1, 0])
            .send(b"\x3C\x06\0\x01t\0\x07x")
            .expect(&ack(PUBREC, 7))
            .tells(&["t=x", "offline", "connected again"]),
        again("SUBACK on the connection after")
            .subscribed(1)
            .step(Step::Again)
            .connected()
            .send(&suback(1, 1))
            .tells(&["offline", "connected"]),
    ]
}

/// After the caller has closed a connection over which something might still come.
fn closing() -> Vec<Behaviour> {
    let mut all = Vec::new();
    let closed =
        |name: &str| violation(name).keeping_session().connected().step(Step::CloseClient).expect(&[0xE0, 0]);
    let after: [(&str, &[u8]); 7] = [
        ("a message", b"\x32\x06\0\x01t\0\x01x"),
        ("a malformed packet", &[0xF0, 0]),
        ("CONNACK", &[0x20, 2, 0, 0]),
        ("PUBACK", &[0x40, 2, 0, 1]),
        ("PINGRESP", &[0xD0, 0]),
        ("half a packet", &[0x30, 100, 0]),
        ("256 MB announced", &[0x30, 0xFF, 0xFF, 0xFF, 0x7F, 0, 1, b't']),
    ];
    for (name, bytes) in after {
        let close = closed(&format!("{name} after our DISCONNECT"));
        all.push(close.send(bytes).step(Step::HalfClose));
    }
    all.push(closed("connection kept open after our DISCONNECT"));
    all.push(closed("a reset after our DISCONNECT").step(Step::Reset));
    all
}
