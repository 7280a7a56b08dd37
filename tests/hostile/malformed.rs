//! Packets that are wrong in themselves, on an accepted connection: each in three states of the session, always between a
//! good message, which counts, and another one, which must not.

use crate::hostile::{Behaviour, violation};

pub(crate) fn behaviours() -> Vec<Behaviour> {
    let mut all = Vec::new();
    for (name, packet) in PACKETS {
        let bytes = [GOOD, packet, GOOD].concat();
        all.push(violation(&format!("{name}, idle")).connected().send(&bytes).tells(&["g=1"]));
        // one message of each QoS under way, the last of them released, and a request
        all.push(
            violation(&format!("{name}, with calls unanswered"))
                .connected()
                .published(1, 1)
                .published(2, 2)
                .subscribed(3)
                .send(&[0x50, 2, 0, 2])
                .expect(&[0x62, 2, 0, 2])
                .send(&bytes)
                .tells(&["g=1"]),
        );
        // a message of the broker's is at PUBREC
        all.push(
            violation(&format!("{name}, between QoS 2 and its PUBREL"))
                .keeping_session()
                .connected()
                .send(b"\x34\x06\0\x01q\0\x09x")
                .expect(&[0x50, 2, 0, 9])
                .send(&bytes)
                .tells(&["q=x", "g=1"]),
        );
    }
    // These answer a SUBSCRIBE, so there has to be one.
    for (name, packet) in SUBACKS {
        let bytes = [GOOD, packet, GOOD].concat();
        all.push(violation(&format!("SUBACK {name}")).connected().subscribed(1).send(&bytes).tells(&["g=1"]));
    }
    all
}

/// PUBLISH of "1" to "g".
const GOOD: &[u8] = b"\x30\x04\0\x01g1";

const SUBACKS: [(&str, &[u8]); 9] = [
    ("with code 3", &[0x90, 3, 0, 1, 3]),
    ("with code 4", &[0x90, 3, 0, 1, 4]),
    ("with code 127", &[0x90, 3, 0, 1, 0x7F]),
    ("with code 129", &[0x90, 3, 0, 1, 0x81]),
    ("with code 135, of MQTT 5", &[0x90, 3, 0, 1, 0x87]),
    ("with code 255", &[0x90, 3, 0, 1, 0xFF]),
    ("with two codes for one filter", &[0x90, 4, 0, 1, 0, 0]),
    ("with a wrong second code", &[0x90, 4, 0, 1, 0, 9]),
    ("without a code for the filter", &[0x90, 2, 0, 1]),
];

const PACKETS: [(&str, &[u8]); 92] = [
    // types, 2.2.1
    ("reserved type 0", &[0x00, 0]),
    ("reserved type 0 with flags", &[0x0F, 0]),
    ("reserved type 15", &[0xF0, 0]),
    ("reserved type 15 with flags", &[0xFF, 0]),
    ("CONNECT", b"\x10\x0D\0\x04MQTT\x04\x02\0\0\0\x01x"),
    ("SUBSCRIBE", b"\x82\x06\0\x01\0\x01a\0"),
    ("UNSUBSCRIBE", b"\xA2\x05\0\x01\0\x01a"),
    ("PINGREQ", &[0xC0, 0]),
    ("DISCONNECT", &[0xE0, 0]),
    ("DISCONNECT of MQTT 5", &[0xE0, 1, 0x8B]),
    ("AUTH of MQTT 5", &[0xF0, 2, 0x18, 0]),
    ("a second CONNACK", &[0x20, 2, 0, 0]),
    ("a second CONNACK with a session", &[0x20, 2, 1, 0]),
    ("a second CONNACK that refuses", &[0x20, 2, 0, 5]),
    ("a second CONNACK that is malformed", &[0x20, 2, 0, 9]),
    // flags, 2.2.2
    ("CONNACK with flags", &[0x21, 2, 0, 0]),
    ("PUBACK with flag 1", &[0x41, 2, 0, 1]),
    ("PUBACK with flag 2", &[0x42, 2, 0, 1]),
    ("PUBACK with flag 4", &[0x44, 2, 0, 1]),
    ("PUBACK with flag 8", &[0x48, 2, 0, 1]),
    ("PUBREC with flag 2", &[0x52, 2, 0, 2]),
    ("PUBREC with all flags", &[0x5F, 2, 0, 2]),
    ("PUBREL without its flag", &[0x60, 2, 0, 9]),
    ("PUBREL with another flag", &[0x61, 2, 0, 9]),
    ("PUBREL with a flag too many", &[0x63, 2, 0, 9]),
    ("PUBREL with DUP", &[0x6A, 2, 0, 9]),
    ("PUBCOMP with flag 2", &[0x72, 2, 0, 2]),
    ("SUBACK with flag 2", &[0x92, 3, 0, 3, 0]),
    ("UNSUBACK with flag 2", &[0xB2, 2, 0, 3]),
    ("PINGRESP with flag 1", &[0xD1, 0]),
    ("PINGRESP with flag 8", &[0xD8, 0]),
    // lengths, 2.2.3
    ("PUBACK without a body", &[0x40, 0]),
    ("PUBACK with half an id", &[0x40, 1, 0]),
    ("PUBACK of three bytes", &[0x40, 3, 0, 1, 0]),
    ("PUBACK of 256 MB", &[0x40, 0xFF, 0xFF, 0xFF, 0x7F]),
    ("PUBREC without a body", &[0x50, 0]),
    ("PUBREC with half an id", &[0x50, 1, 2]),
    ("PUBREC of MQTT 5", &[0x50, 3, 0, 2, 0x10]),
    ("PUBREL without a body", &[0x62, 0]),
    ("PUBREL with half an id", &[0x62, 1, 9]),
    ("PUBREL of three bytes", &[0x62, 3, 0, 9, 0]),
    ("PUBCOMP without a body", &[0x70, 0]),
    ("PUBCOMP of three bytes", &[0x70, 3, 0, 2, 0]),
    ("UNSUBACK without a body", &[0xB0, 0]),
    ("UNSUBACK of MQTT 5", &[0xB0, 4, 0, 3, 0, 0]),
    ("PINGRESP with a body", &[0xD0, 1, 0]),
    ("PINGRESP of 256 MB", &[0xD0, 0xFF, 0xFF, 0xFF, 0x7F]),
    ("SUBACK without a body", &[0x90, 0]),
    ("SUBACK with half an id", &[0x90, 1, 0]),
    ("SUBACK without codes", &[0x90, 2, 0, 7]),
    ("SUBACK of 65,536 codes", &[0x90, 0x82, 0x80, 0x04]),
    ("SUBACK of 256 MB", &[0x90, 0xFF, 0xFF, 0xFF, 0x7F]),
    ("PUBACK with a length of five bytes", &[0x40, 0x82, 0x80, 0x80, 0x80, 0x00]),
    ("PUBLISH with a length of five bytes", &[0x30, 0xFF, 0xFF, 0xFF, 0xFF, 0x01]),
    ("PUBLISH with a length that never ends", &[0x30, 0x80, 0x80, 0x80, 0x80, 0x80]),
    ("PUBLISH without a body", &[0x30, 0]),
    ("PUBLISH with half a topic length", &[0x30, 1, 0]),
    ("PUBLISH with a topic beyond its end", b"\x30\x04\0\x03tx"),
    ("PUBLISH with a topic of 65,535 bytes that are not there", &[0x30, 3, 0xFF, 0xFF, b't']),
    ("PUBLISH of QoS 1 without an id", b"\x32\x03\0\x01t"),
    ("PUBLISH of QoS 1 with half an id", b"\x32\x04\0\x01t\0"),
    ("PUBLISH of QoS 2 without an id", b"\x34\x03\0\x01t"),
    ("PUBLISH of QoS 2 with half an id", b"\x34\x04\0\x01t\x09"),
    // ids, MQTT-2.3.1-1
    ("PUBACK of id 0", &[0x40, 2, 0, 0]),
    ("PUBREC of id 0", &[0x50, 2, 0, 0]),
    ("PUBREL of id 0", &[0x62, 2, 0, 0]),
    ("PUBCOMP of id 0", &[0x70, 2, 0, 0]),
    ("SUBACK of id 0", &[0x90, 3, 0, 0, 0]),
    ("UNSUBACK of id 0", &[0xB0, 2, 0, 0]),
    ("PUBLISH of QoS 1 and id 0", b"\x32\x06\0\x01t\0\0x"),
    ("PUBLISH of QoS 2 and id 0", b"\x34\x06\0\x01t\0\0x"),
    // flags of PUBLISH, 3.3.1
    ("PUBLISH of QoS 3", b"\x36\x06\0\x01t\0\x01x"),
    ("PUBLISH of QoS 3, retained", b"\x37\x06\0\x01t\0\x01x"),
    ("PUBLISH of QoS 3 with DUP", b"\x3E\x06\0\x01t\0\x01x"),
    ("PUBLISH of QoS 0 with DUP", b"\x38\x04\0\x01tx"),
    ("PUBLISH of QoS 0 with DUP, retained", b"\x39\x04\0\x01tx"),
    // topics, 1.5.3 and 4.7
    ("an empty topic", b"\x30\x03\0\0x"),
    ("an empty topic at QoS 1", b"\x32\x05\0\0\0\x01x"),
    ("topic #", b"\x30\x04\0\x01#x"),
    ("topic +", b"\x30\x04\0\x01+x"),
    ("topic a/+/b at QoS 2", b"\x34\x0A\0\x05a/+/b\0\x01x"),
    ("topic a/# at QoS 1", b"\x32\x08\0\x03a/#\0\x01x"),
    ("topic a+", b"\x30\x05\0\x02a+x"),
    ("topic U+0000", b"\x30\x04\0\x01\0x"),
    ("topic with U+0000 at its end", b"\x30\x05\0\x02a\0x"),
    ("topic of two bytes that are no UTF-8", b"\x30\x05\0\x02\xFF\xFEx"),
    ("topic that starts inside a character", b"\x30\x05\0\x02\x80ax"),
    ("topic that ends inside a character", b"\x32\x07\0\x02a\xC3\0\x01x"),
    ("topic with an overlong U+0000", b"\x30\x05\0\x02\xC0\x80x"),
    ("topic with an overlong /", b"\x30\x06\0\x03\xE0\x80\xAFx"),
    ("topic with a surrogate", b"\x30\x06\0\x03\xED\xA0\x80x"),
    ("topic above U+10FFFF", b"\x34\x09\0\x04\xF4\x90\x80\x80\0\x01x"),
];
