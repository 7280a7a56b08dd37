//! Lengths, cuts, floods and silence on an accepted connection.

use mqtt::codec::Qos;

use crate::client::message;
use crate::hostile::{Behaviour, Step, dead, harmless, violation};

/// PUBLISH of "x" to "t".
const MESSAGE: &[u8] = b"\x30\x04\0\x01tx";

const ANNOUNCED: &[u8] = &[0x30, 0xFF, 0xFF, 0xFF, 0x7F];

pub(crate) fn behaviours() -> Vec<Behaviour> {
    let mut all = pieces();
    all.extend(cuts());
    all.extend(silence());
    all.extend(floods());
    all.extend(sizes());
    all
}

/// Right bytes, oddly cut.
fn pieces() -> Vec<Behaviour> {
    let mut all = Vec::new();
    for at in 1..MESSAGE.len() {
        let (first, second) = MESSAGE.split_at(at);
        let name = format!("a message cut after byte {at}");
        all.push(harmless(&name).connected().send(first).send(second).tells(&["t=x"]));
    }
    all.push(
        harmless("a message and a half, then the rest")
            .connected()
            .send(&[MESSAGE, &MESSAGE[..4]].concat())
            .send(&MESSAGE[4..])
            .tells_times("t=x", 2),
    );
    all.push(
        harmless("every kind of packet in one")
            .connected()
            .published(1, 1)
            .published(2, 2)
            .subscribed(3)
            .send(
                &[
                    MESSAGE,
                    &[0x40, 2, 0, 1, 0x50, 2, 0, 2, 0x90, 3, 0, 3, 1, 0x70, 2, 0, 2, 0xD0, 0, 0xB0, 2, 0, 4],
                    MESSAGE,
                ]
                .concat(),
            )
            .expect(&[0x62, 2, 0, 2])
            .tells(&["t=x", "published", "subscribed", "published", "t=x"]),
    );
    for bytes in 2..=4 {
        let mut packet = vec![0x30, 0x84];
        packet.resize(bytes, 0x80);
        packet.push(0);
        packet.extend(&MESSAGE[2..]);
        let name = format!("a length of {bytes} bytes where one would do");
        all.push(harmless(&name).connected().send(&packet).tells(&["t=x"]));
    }
    all
}

/// It goes away.
fn cuts() -> Vec<Behaviour> {
    let mut all = Vec::new();
    for (how, step) in [("closed", Step::Close), ("half-closed", Step::HalfClose), ("reset", Step::Reset)] {
        let step = || step.clone();
        let cut = |when: &str| violation(&format!("{how} {when}")).connected();
        all.push(cut("with a message and a request unanswered").published(1, 1).subscribed(2).step(step()));
        all.push(
            cut("between PUBREC and PUBCOMP")
                .published(2, 1)
                .send(&[0x50, 2, 0, 1])
                .expect(&[0x62, 2, 0, 1])
                .step(step()),
        );
        if how == "reset" {
            // What was sent just before may be lost with it: here it was answered.
            all.push(
                cut("after a message")
                    .send(b"\x32\x06\0\x01t\0\x01x")
                    .expect(&[0x40, 2, 0, 1])
                    .step(step())
                    .tells(&["t=x"]),
            );
        } else {
            all.push(cut("after a message").send(MESSAGE).step(step()).tells(&["t=x"]));
            all.push(cut("inside a fixed header").send(&[0x30]).step(step()));
            all.push(cut("inside a length").send(&[0x30, 0x80]).step(step()));
            all.push(cut("inside a topic").send(&[0x30, 9, 0, 5, b'a']).step(step()));
            all.push(cut("one byte before the end of a message").send(&MESSAGE[..5]).step(step()));
            all.push(cut("after 256 MB were announced").send(ANNOUNCED).step(step()));
            all.push(
                cut("inside the second message")
                    .send(&[MESSAGE, &MESSAGE[..3]].concat())
                    .step(step())
                    .tells(&["t=x"]),
            );
        }
    }
    all
}

/// It does nothing, or nothing that counts.
fn silence() -> Vec<Behaviour> {
    let up = |name: &str| dead(name).keep_alive().connected();
    vec![
        up("silent after CONNACK"),
        up("PINGREQ read and not answered").expect(&[0xC0, 0]),
        up("the second PINGREQ not answered").expect(&[0xC0, 0]).send(&[0xD0, 0]).expect(&[0xC0, 0]),
        up("half a PINGRESP").expect(&[0xC0, 0]).send(&[0xD0]),
        up("silent inside a fixed header").send(&[0x30]),
        up("silent inside a topic").send(&[0x30, 9, 0, 5, b'a']),
        up("256 MB announced, then silent").send(ANNOUNCED),
        up("256 MB announced over the limit, then silent").max_message(1000).send(ANNOUNCED),
        up("silent with a QoS 1 message under way").published(1, 1),
        up("silent with a QoS 2 message under way").published(2, 1),
        up("silent with a request under way").subscribed(1),
        up("silent after PUBREC").published(2, 1).send(&[0x50, 2, 0, 1]).expect(&[0x62, 2, 0, 1]),
        up("reads nothing, 16 MB are on their way").step(Step::PublishLarge(16 << 20)),
        up("reads nothing, small messages are on their way")
            .step(Step::Publish(Qos::AtMostOnce))
            .tells(&["published"]),
        violation("PINGREQ answered with garbage")
            .keep_alive()
            .connected()
            .expect(&[0xC0, 0])
            .send(&[0xD0, 1, 0]),
        violation("PINGREQ answered with CONNACK")
            .keep_alive()
            .connected()
            .expect(&[0xC0, 0])
            .send(&[0x20, 2, 0, 0]),
        violation("PINGREQ answered with PINGREQ")
            .keep_alive()
            .connected()
            .expect(&[0xC0, 0])
            .send(&[0xC0, 0]),
    ]
}

/// Much of it.
fn floods() -> Vec<Behaviour> {
    let acknowledged = |id: u16| [0x32, 6, 0, 1, b't', (id >> 8) as u8, id as u8, b'x'];
    let burst: Vec<u8> = (1..=2000).flat_map(acknowledged).collect();
    let answers: Vec<u8> = (1..=2000_u16).flat_map(|id| [0x40, 2, (id >> 8) as u8, id as u8]).collect();
    vec![
        harmless("20,000 messages in one")
            .connected()
            .send(&MESSAGE.repeat(20_000))
            .tells_times("t=x", 20_000),
        harmless("2,000 messages of QoS 1 in one")
            .connected()
            .send(&burst)
            .expect(&answers)
            .tells_times("t=x", 2000),
        harmless("20,000 answers to nothing").connected().send(&[0x40, 2, 1, 1].repeat(20_000)),
        // answered with 4 bytes each, which it does not read
        violation("a QoS 2 message for ever, its answers unread")
            .connected()
            .step(Step::Flood(b"\x34\x06\0\x01t\0\x01x".repeat(20_000), 400))
            .tells(&["t=x"]),
        violation("PUBREL for ever, its answers unread")
            .connected()
            .step(Step::Flood([0x62, 2, 0, 1].repeat(40_000), 400)),
        violation("zeros for ever").connected().step(Step::Flood(vec![0; 100_000], 50)),
    ]
}

/// Around the limit of a message.
fn sizes() -> Vec<Behaviour> {
    let large = message("t", &[b'x'; 100_000]);
    let over = |name: &str| harmless(name).max_message(50).connected();
    vec![
        harmless("a message of 100 KB").connected().send(&large).tells(&["100000 bytes"]),
        harmless("a message of 100 KB in halves")
            .connected()
            .send(&large[..50_000])
            .send(&large[50_000..])
            .tells(&["100000 bytes"]),
        harmless("a topic of 65,535 bytes")
            .connected()
            .send(&message(&"t".repeat(65_535), b"x"))
            .tells(&[&format!("{}=x", "t".repeat(65_535))]),
        over("a message over the limit").send(&large).send(MESSAGE).tells(&["43 bytes", "t=x"]),
        over("a message over the limit at QoS 1")
            .send(&{
                let mut packet = vec![0x32, 0x85, 0x02, 0, 1, b't', 0, 1];
                packet.resize(264, b'x');
                packet
            })
            .expect(&[0x40, 2, 0, 1])
            .tells(&["42 bytes"]),
        over("a topic over the limit")
            .send(&message(&"t".repeat(60), b"x"))
            .send(MESSAGE)
            .tells(&[&format!("{}=", "t".repeat(60)), "t=x"]),
        violation("a malformed packet after one over the limit")
            .max_message(50)
            .connected()
            .send(&large)
            .send(&[0xF0, 0])
            .send(MESSAGE)
            .tells(&["43 bytes"]),
        violation("an illegal topic over the limit")
            .max_message(50)
            .connected()
            .send(&message("a/#", &[b'x'; 100])),
        violation("closed inside a message over the limit")
            .max_message(50)
            .connected()
            .send(&large[..1000])
            .step(Step::Close),
    ]
}
