//! PUBLISH, the acknowledgements and the packets without content.

use super::super::{
    Delivery, Error, Frame, Kind, MAX_PACKET, MAX_REMAINING, Packet, Publish, Qos, TopicError, v4,
};
use super::{assert_error, assert_packet, decode_each_way, encoded, id};

const PLAIN: Publish<'static> =
    Publish { dup: false, delivery: Delivery::AtMostOnce, retain: false, topic: "a/b", payload: b"21.5" };

#[test]
fn mqtt_2_3_1_5_a_publish_of_qos_0_has_no_id() {
    let bytes = [
        0x30, // PUBLISH, QoS 0
        0x09, // Remaining Length: 9
        0x00, 0x03, b'a', b'/', b'b', // topic
        b'2', b'1', b'.', b'5', // payload
    ];
    assert_packet(&bytes, Packet::Publish(PLAIN));
}

#[test]
fn mqtt_3_3_2_1_the_topic_comes_first_then_the_id_then_the_payload() {
    let bytes = [
        0x33, // PUBLISH, QoS 1, RETAIN
        0x0A, // Remaining Length: 10
        0x00, 0x03, b'a', b'/', b'b', // topic
        0x12, 0x34, // packet id
        0x00, 0xFF, 0x00, // payload
    ];
    let publish = Publish {
        delivery: Delivery::AtLeastOnce(id(0x1234)),
        retain: true,
        payload: b"\x00\xFF\x00",
        ..PLAIN
    };
    assert_packet(&bytes, Packet::Publish(publish));
}

#[test]
fn a_publish_of_qos_2_with_dup_and_without_payload() {
    let bytes = [
        0x3C, // PUBLISH, DUP, QoS 2
        0x07, // Remaining Length: 7
        0x00, 0x03, b'a', b'/', b'b', // topic
        0xFF, 0xFF, // packet id: 65535
    ];
    let publish = Publish { dup: true, delivery: Delivery::ExactlyOnce(id(65_535)), payload: b"", ..PLAIN };
    assert_packet(&bytes, Packet::Publish(publish));
}

#[test]
fn mqtt_3_3_1_2_and_mqtt_4_3_1_1_qos_0_has_dup_0() {
    assert_eq!(encoded(|out| v4::publish(out, &PLAIN))[0], 0x30);
    assert_error(b"\x38\x03\x00\x01a", Error::DupAtQos0, "MQTT-3.3.1-2");
    assert_error(b"\x39\x03\x00\x01a", Error::DupAtQos0, "MQTT-3.3.1-2");
}

#[test]
fn mqtt_3_3_1_4_qos_3_does_not_exist() {
    assert_eq!(Qos::new(3), None);
    for first in [0x36, 0x37, 0x3E, 0x3F] {
        assert_error(&[first, 0x05, 0x00, 0x01, b'a', 0x00, 0x01], Error::PublishQos, "MQTT-3.3.1-4");
        let frame = Frame { header: first, body: &[0x00, 0x01, b'a', 0x00, 0x01], size: 7, truncated: false };
        assert_eq!(v4::decode(&frame), Err(Error::PublishQos), "also of a frame made by hand");
    }
}

#[test]
fn mqtt_3_3_1_1_set_dup_marks_a_repetition_and_changes_nothing_else() {
    let publish = Publish { delivery: Delivery::AtLeastOnce(id(7)), retain: true, ..PLAIN };
    let mut bytes = encoded(|out| v4::publish(out, &publish));
    v4::set_dup(&mut bytes);
    assert_packet(&bytes, Packet::Publish(Publish { dup: true, ..publish }));
    v4::set_dup(&mut bytes);
    assert_packet(&bytes, Packet::Publish(Publish { dup: true, ..publish }));
}

#[test]
fn replace_id_changes_the_id_and_nothing_else() {
    for length in [0, 1, 121, 122, 16_375, 16_376] {
        let payload = vec![7; length];
        let publish = Publish { delivery: Delivery::ExactlyOnce(id(1)), payload: &payload, ..PLAIN };
        let mut bytes = encoded(|out| v4::publish(out, &publish));
        v4::replace_id(&mut bytes, payload.len(), id(0xABCD));
        let publish = Publish { delivery: Delivery::ExactlyOnce(id(0xABCD)), ..publish };
        assert_eq!(encoded(|out| v4::publish(out, &publish)), bytes);
    }
}

#[test]
fn a_lowered_publish_is_as_if_it_had_been_published_lower() {
    for length in [0, 1, 121, 122, 123, 16_375, 16_378] {
        let payload = vec![7; length];
        for delivery in [Delivery::AtLeastOnce(id(9)), Delivery::ExactlyOnce(id(9))] {
            let publish = Publish { delivery, retain: true, payload: &payload, ..PLAIN };
            let mut bytes = encoded(|out| v4::publish(out, &publish));
            let lowest = encoded(|out| v4::publish_at_most_once(out, &bytes));
            assert_packet(&lowest, Packet::Publish(Publish { delivery: Delivery::AtMostOnce, ..publish }));
            v4::lower_to_at_least_once(&mut bytes);
            let lower = Publish { delivery: Delivery::AtLeastOnce(id(9)), ..publish };
            assert_packet(&bytes, Packet::Publish(lower));
        }
    }
}

#[test]
fn mqtt_1_5_3_1_a_topic_that_is_not_utf_8_is_an_error() {
    let error = Error::Topic(Kind::Publish, TopicError::Utf8);
    assert_error(b"\x30\x04\x00\x02\xFF\xFE", error, "MQTT-1.5.3-1");
    assert_error(b"\x30\x05\x00\x03\xED\xA0\x80", error, "MQTT-1.5.3-1"); // U+D800, a surrogate
    assert_error(b"\x32\x08\x00\x04a\xC0\x80b\x00\x01", error, "MQTT-1.5.3-1"); // U+0000 in two bytes
}

#[test]
fn mqtt_1_5_3_2_and_mqtt_4_7_3_2_a_topic_with_u_0000_is_an_error() {
    let error = Error::Topic(Kind::Publish, TopicError::Nul);
    assert_error(b"\x30\x05\x00\x03a\x00b", error, "MQTT-1.5.3-2");
    assert_error(b"\x30\x05\x00\x03a\x00b", error, "MQTT-4.7.3-2");
}

#[test]
fn mqtt_1_5_3_3_ef_bb_bf_is_a_character_of_the_topic() {
    let bytes = b"\x30\x06\x00\x04\xEF\xBB\xBFa";
    assert_packet(bytes, Packet::Publish(Publish { topic: "\u{FEFF}a", payload: b"", ..PLAIN }));
}

#[test]
fn mqtt_3_3_2_2_and_mqtt_4_7_1_1_a_topic_with_a_wildcard_is_an_error() {
    let error = Error::Topic(Kind::Publish, TopicError::Wildcard);
    assert_error(b"\x30\x05\x00\x03a/#", error, "MQTT-3.3.2-2");
    assert_error(b"\x30\x07\x00\x05a/+/b", error, "MQTT-4.7.1-1");
}

#[test]
fn mqtt_4_7_3_1_an_empty_topic_is_an_error() {
    assert_error(b"\x30\x03\x00\x00x", Error::Topic(Kind::Publish, TopicError::Empty), "MQTT-4.7.3-1");
}

#[test]
fn mqtt_4_7_3_3_a_topic_has_up_to_65535_bytes() {
    let longest = "t".repeat(65_535);
    let publish = Publish { topic: &longest, ..PLAIN };
    let bytes = encoded(|out| v4::publish(out, &publish));
    // PUBLISH, Remaining Length 65541, topic length 65535
    assert_eq!(bytes[..7], [0x30, 0x85, 0x80, 0x04, 0xFF, 0xFF, b't']);
    let frame = Frame { header: 0x30, body: &bytes[4..], size: bytes.len(), truncated: false };
    assert_eq!(v4::decode(&frame), Ok(Packet::Publish(publish)));
    assert_eq!(v4::publish_size(&longest, b"21.5", Qos::AtMostOnce), Some(bytes.len()));
    assert_eq!(v4::publish_size(&"t".repeat(65_536), b"", Qos::AtMostOnce), None);
}

#[test]
fn mqtt_2_3_1_1_id_0_is_an_error_in_every_packet_that_has_one() {
    let table: [(&[u8], Kind); 10] = [
        (b"\x32\x05\x00\x01a\x00\x00", Kind::Publish),
        (b"\x34\x05\x00\x01a\x00\x00", Kind::Publish),
        (b"\x40\x02\x00\x00", Kind::Puback),
        (b"\x50\x02\x00\x00", Kind::Pubrec),
        (b"\x62\x02\x00\x00", Kind::Pubrel),
        (b"\x70\x02\x00\x00", Kind::Pubcomp),
        (b"\xB0\x02\x00\x00", Kind::Unsuback),
        (b"\x90\x03\x00\x00\x00", Kind::Suback),
        (b"\x82\x06\x00\x00\x00\x01a\x00", Kind::Subscribe),
        (b"\xA2\x05\x00\x00\x00\x01a", Kind::Unsubscribe),
    ];
    for (bytes, kind) in table {
        assert_error(bytes, Error::ZeroId(kind), "MQTT-2.3.1-1");
    }
}

#[test]
fn a_publish_that_ends_within_a_field_is_an_error() {
    let table: [&[u8]; 7] = [
        b"\x30\x00",              // nothing
        b"\x30\x01\x00",          // half a topic length
        b"\x30\x02\x00\x01",      // no topic
        b"\x30\x04\x00\x03ab",    // a topic cut short
        b"\x30\x04\xFF\xFFab",    // a topic far longer than the packet
        b"\x32\x03\x00\x01a",     // no id
        b"\x34\x04\x00\x01a\x01", // half an id
    ];
    for bytes in table {
        assert_error(bytes, Error::Short(Kind::Publish), "3.3");
    }
}

#[test]
fn publish_size_is_the_size_on_the_wire_up_to_the_largest_packet() {
    for qos in [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce] {
        let delivery = match qos {
            Qos::AtMostOnce => Delivery::AtMostOnce,
            Qos::AtLeastOnce => Delivery::AtLeastOnce(id(9)),
            Qos::ExactlyOnce => Delivery::ExactlyOnce(id(9)),
        };
        // Around the places where the Remaining Length takes another byte.
        for remaining in [5, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152] {
            let payload = vec![0; remaining - 5];
            let size = encoded(|out| {
                v4::publish(out, &Publish { delivery, topic: "t", payload: &payload, ..PLAIN })
            })
            .len();
            assert_eq!(v4::publish_size("t", &payload, qos), Some(size));
        }
    }
    // Never written to, so these pages cost nothing.
    let payload = vec![0; MAX_REMAINING - 3];
    assert_eq!(v4::publish_size("t", &payload, Qos::AtMostOnce), Some(MAX_PACKET));
    assert_eq!(v4::publish_size("tt", &payload, Qos::AtMostOnce), None);
    assert_eq!(v4::publish_size("t", &payload, Qos::AtLeastOnce), None);
}

#[test]
fn topic_and_payload_are_slices_of_the_input() {
    let bytes = b"\x32\x0A\x00\x03a/b\x00\x07xyz";
    let frame = Frame { header: 0x32, body: &bytes[2..], size: bytes.len(), truncated: false };
    let publish = v4::decode_publish(&frame).unwrap();
    assert!(std::ptr::eq(publish.topic, &bytes[4..7]) && std::ptr::eq(publish.payload, &bytes[9..]));
    let Ok(Packet::Publish(publish)) = v4::decode(&frame) else { panic!("it is a PUBLISH") };
    assert!(
        std::ptr::eq(publish.topic.as_bytes(), &bytes[4..7]) && std::ptr::eq(publish.payload, &bytes[9..])
    );
}

#[test]
fn a_truncated_publish_keeps_topic_and_id_below_any_limit() {
    // PUBLISH QoS 2, topic a/b, id 7, payload 0123456789
    let bytes = b"\x34\x11\x00\x03a/b\x00\x070123456789";
    for limit in 0..bytes.len() {
        let mut deframer = super::super::Deframer::new(Some(limit));
        let mut input = &bytes[..];
        let frame = deframer.next(&mut input).unwrap().unwrap();
        assert!(frame.truncated && frame.size == bytes.len() && input.is_empty());
        let publish = Publish {
            delivery: Delivery::ExactlyOnce(id(7)),
            payload: &b"0123456789"[..limit.saturating_sub(9)],
            ..PLAIN
        };
        assert_eq!(v4::decode(&frame), Ok(Packet::Publish(publish)), "limit {limit}");
    }
}

#[test]
fn mqtt_2_3_1_6_acknowledgements_carry_the_id() {
    let ack = id(0x0102);
    // first byte and Remaining Length, then the id
    assert_packet(&[0x40, 0x02, 0x01, 0x02], Packet::Puback(ack));
    assert_packet(&[0x50, 0x02, 0x01, 0x02], Packet::Pubrec(ack));
    assert_packet(&[0x62, 0x02, 0x01, 0x02], Packet::Pubrel(ack));
    assert_packet(&[0x70, 0x02, 0x01, 0x02], Packet::Pubcomp(ack));
    assert_packet(&[0xB0, 0x02, 0x01, 0x02], Packet::Unsuback(ack));
}

#[test]
fn mqtt_2_2_2_1_reserved_flags_have_their_values_in_all_we_send() {
    type Encode = fn(&mut Vec<u8>);
    let encode: [(Encode, u8); 10] = [
        (|out| v4::puback(out, id(1)), 0x40),
        (|out| v4::pubrec(out, id(1)), 0x50),
        (|out| v4::pubrel(out, id(1)), 0x62),
        (|out| v4::pubcomp(out, id(1)), 0x70),
        (|out| v4::subscribe(out, id(1), [("a", Qos::AtMostOnce)].into_iter()), 0x82),
        (|out| v4::unsubscribe(out, id(1), ["a"].into_iter()), 0xA2),
        (v4::pingreq, 0xC0),
        (v4::pingresp, 0xD0),
        (v4::disconnect, 0xE0),
        (|out| v4::suback(out, id(1), [None].into_iter()), 0x90),
    ];
    for (encode, first) in encode {
        assert_eq!(encoded(encode)[0], first);
    }
}

#[test]
fn mqtt_2_2_2_2_other_flags_than_the_listed_ones_are_errors() {
    // What follows the first byte where it is right.
    let rest: [(u8, &[u8]); 12] = [
        (0x10, b"\x0F\x00\x04MQTT\x04\x02\x00\x3C\x00\x03dev"),
        (0x20, b"\x02\x00\x00"),
        (0x40, b"\x02\x00\x01"),
        (0x50, b"\x02\x00\x01"),
        (0x62, b"\x02\x00\x01"),
        (0x70, b"\x02\x00\x01"),
        (0x82, b"\x06\x00\x01\x00\x01a\x00"),
        (0x90, b"\x03\x00\x01\x00"),
        (0xA2, b"\x05\x00\x01\x00\x01a"),
        (0xB0, b"\x02\x00\x01"),
        (0xC0, b"\x00"),
        (0xE0, b"\x00"),
    ];
    for (first, rest) in rest {
        for flags in 0..16 {
            let bytes = [&[first & 0xF0 | flags], rest].concat();
            if flags == first & 0x0F {
                decode_each_way(&bytes, |result| assert!(result.is_ok(), "{result:?}"));
            } else {
                let kind = Kind::of(first).unwrap();
                assert_error(&bytes, Error::Flags(kind, flags), "MQTT-2.2.2-2");
            }
        }
    }
}

#[test]
fn mqtt_3_6_1_1_pubrel_has_the_flags_0010() {
    assert_eq!(encoded(|out| v4::pubrel(out, id(1)))[0], 0x62);
    assert_error(&[0x60, 0x02, 0x00, 0x01], Error::Flags(Kind::Pubrel, 0), "MQTT-3.6.1-1");
    // MQTT 3.1 repeated it with DUP: not supported
    assert_error(&[0x6A, 0x02, 0x00, 0x01], Error::Flags(Kind::Pubrel, 0b1010), "MQTT-3.6.1-1");
}

#[test]
fn mqtt_4_8_0_1_acknowledgements_of_another_length_are_errors() {
    let table = [
        (0x40, Kind::Puback, "3.4.1"),
        (0x50, Kind::Pubrec, "3.5.1"),
        (0x62, Kind::Pubrel, "3.6.1"),
        (0x70, Kind::Pubcomp, "3.7.1"),
        (0xB0, Kind::Unsuback, "3.11.1"),
    ];
    for (first, kind, clause) in table {
        assert_error(&[first, 0x00], Error::Length(kind, 0), clause);
        assert_error(&[first, 0x01, 0x00], Error::Length(kind, 1), clause);
        assert_error(&[first, 0x03, 0x00, 0x01, 0x00], Error::Length(kind, 3), clause);
    }
}

#[test]
fn mqtt_3_14_1_1_disconnect_is_e0_00() {
    assert_packet(&[0xE0, 0x00], Packet::Disconnect);
    assert_error(&[0xE0, 0x01, 0x00], Error::Length(Kind::Disconnect, 1), "3.14.1");
}

#[test]
fn pings_are_c0_00_and_d0_00() {
    assert_packet(&[0xC0, 0x00], Packet::Pingreq);
    assert_packet(&[0xD0, 0x00], Packet::Pingresp);
    assert_error(&[0xC0, 0x01, 0x00], Error::Length(Kind::Pingreq, 1), "3.12.1");
    assert_error(&[0xD0, 0x02, 0x00, 0x00], Error::Length(Kind::Pingresp, 2), "3.13.1");
}

#[test]
fn mqtt_4_8_0_1_reserved_packet_types_are_errors() {
    for first in [0x00, 0x01, 0xF0, 0xFF] {
        assert_error(&[first, 0x00], Error::ReservedType(first >> 4), "2.2.1");
        let frame = Frame { header: first, body: &[], size: 2, truncated: false };
        assert_eq!(v4::decode(&frame), Err(Error::ReservedType(first >> 4)));
    }
}
