//! SUBSCRIBE, SUBACK and UNSUBSCRIBE.

use super::super::{Error, Kind, MAX_PACKET, MAX_REMAINING, Packet, Qos, TopicError, v4};
use super::{assert_error, decode_each_way, encoded, id};

const FILTERS: [(&str, Qos); 3] =
    [("a/b", Qos::AtLeastOnce), ("c/+/#", Qos::ExactlyOnce), ("$share/g/d", Qos::AtMostOnce)];

/// SUBSCRIBE with [`FILTERS`].
const SUBSCRIBE: &[u8] = &[
    0x82, // SUBSCRIBE, flags 0010
    0x1D, // Remaining Length: 29
    0x12, 0x34, // packet id
    0x00, 0x03, b'a', b'/', b'b', // filter
    0x01, // QoS 1
    0x00, 0x05, b'c', b'/', b'+', b'/', b'#', // filter
    0x02, // QoS 2
    0x00, 0x0A, b'$', b's', b'h', b'a', b'r', b'e', b'/', b'g', b'/', b'd', // filter
    0x00, // QoS 0
];

/// UNSUBSCRIBE of two filters.
const UNSUBSCRIBE: &[u8] = &[
    0xA2, // UNSUBSCRIBE, flags 0010
    0x0C, // Remaining Length: 12
    0x00, 0x07, // packet id
    0x00, 0x03, b'a', b'/', b'b', // filter
    0x00, 0x03, b'c', b'/', b'+', // filter
];

#[test]
fn mqtt_3_8_1_1_subscribe_is_82_and_lists_filters_with_qos() {
    assert_eq!(encoded(|out| v4::subscribe(out, id(0x1234), FILTERS.into_iter())), SUBSCRIBE);
    assert_eq!(v4::subscribe_size(FILTERS.into_iter()), Some(SUBSCRIBE.len()));
    decode_each_way(SUBSCRIBE, |result| {
        let Ok(Packet::Subscribe { id: request, filters }) = result else { panic!("{result:?}") };
        assert_eq!(request, id(0x1234));
        assert!(filters.iter().eq(FILTERS) && filters.iter().eq(filters), "iterating uses nothing up");
        assert_eq!(encoded(|out| v4::encode(out, &Packet::Subscribe { id: request, filters })), SUBSCRIBE);
    });
    for flags in [0x80, 0x8A] {
        let bytes = [&[flags], &SUBSCRIBE[1..]].concat();
        assert_error(&bytes, Error::Flags(Kind::Subscribe, flags & 0x0F), "MQTT-3.8.1-1");
    }
}

#[test]
fn mqtt_3_8_3_1_filters_are_utf_8() {
    let error = |error| Error::Filter(Kind::Subscribe, error);
    assert_error(b"\x82\x07\x00\x01\x00\x02\xFF\xFE\x00", error(TopicError::Utf8), "MQTT-1.5.3-1");
    assert_error(b"\x82\x08\x00\x01\x00\x03\xED\xA0\x80\x00", error(TopicError::Utf8), "MQTT-1.5.3-1");
    assert_error(b"\x82\x08\x00\x01\x00\x03a\x00b\x00", error(TopicError::Nul), "MQTT-1.5.3-2");
}

#[test]
fn mqtt_3_8_3_3_a_subscribe_without_a_filter_is_an_error() {
    assert_error(b"\x82\x02\x00\x01", Error::NoFilters(Kind::Subscribe), "MQTT-3.8.3-3");
}

#[test]
fn mqtt_3_8_3_4_the_options_are_qos_0_1_or_2() {
    for options in 3..=255 {
        let bytes = [0x82, 0x06, 0x00, 0x01, 0x00, 0x01, b'a', options];
        assert_error(&bytes, Error::SubscribeOptions(options), "MQTT-3.8.3-4");
        // also in the second filter
        let bytes = [0x82, 0x0A, 0x00, 0x01, 0x00, 0x01, b'a', 0x00, 0x00, 0x01, b'b', options];
        assert_error(&bytes, Error::SubscribeOptions(options), "MQTT-3.8.3-4");
    }
}

#[test]
fn mqtt_4_7_1_2_mqtt_4_7_1_3_and_mqtt_4_7_3_1_bad_filters_are_errors() {
    for (filter, error, clause) in [
        ("", TopicError::Empty, "MQTT-4.7.3-1"),
        ("a#", TopicError::MultiLevel, "MQTT-4.7.1-2"),
        ("a/#/b", TopicError::MultiLevel, "MQTT-4.7.1-2"),
        ("a+/b", TopicError::SingleLevel, "MQTT-4.7.1-3"),
        ("$share/g", TopicError::Share, "MQTT 5.0, 4.8.2"),
    ] {
        let subscribe = encoded(|out| v4::subscribe(out, id(1), [(filter, Qos::AtMostOnce)].into_iter()));
        assert_error(&subscribe, Error::Filter(Kind::Subscribe, error), clause);
        let unsubscribe = encoded(|out| v4::unsubscribe(out, id(1), [filter].into_iter()));
        assert_error(&unsubscribe, Error::Filter(Kind::Unsubscribe, error), clause);
    }
}

#[test]
fn requests_that_end_within_a_field_are_errors_wherever_they_end() {
    for (whole, kind, clause, ends) in [
        // After a whole filter a shorter packet is a right one, and after the id the error is another.
        (SUBSCRIBE, Kind::Subscribe, "3.8", &[4, 10, 18][..]),
        (UNSUBSCRIBE, Kind::Unsubscribe, "3.10", &[4, 9]),
    ] {
        for end in (2..whole.len()).filter(|end| !ends.contains(end)) {
            let mut bytes = whole[..end].to_vec();
            bytes[1] = (end - 2) as u8;
            assert_error(&bytes, Error::Short(kind), clause);
        }
    }
}

#[test]
fn mqtt_3_9_3_1_suback_has_a_code_per_filter_in_their_order() {
    let codes = [Some(Qos::ExactlyOnce), None, Some(Qos::AtMostOnce), Some(Qos::AtLeastOnce)];
    let bytes = [
        0x90, // SUBACK
        0x06, // Remaining Length: 6
        0x00, 0x07, // packet id
        0x02, 0x80, 0x00, 0x01, // QoS 2, refused, QoS 0, QoS 1
    ];
    assert_eq!(encoded(|out| v4::suback(out, id(7), codes.into_iter())), bytes);
    decode_each_way(&bytes, |result| {
        let Ok(Packet::Suback { id: request, codes: mut decoded }) = result else { panic!("{result:?}") };
        assert_eq!((request, decoded.len()), (id(7), 4));
        assert!(decoded.iter().eq(codes));
        assert_eq!(encoded(|out| v4::encode(out, &Packet::Suback { id: request, codes: decoded })), bytes);
        decoded.next();
        assert_eq!((decoded.len(), decoded.is_empty(), decoded.next()), (3, false, Some(None)));
    });
    assert_error(&[0x90, 0x02, 0x00, 0x07], Error::NoCodes, "MQTT-3.9.3-1");
}

#[test]
fn mqtt_3_9_3_2_other_codes_than_00_01_02_80_are_errors() {
    for code in (0x03..0x80).chain(0x81..=0xFF) {
        assert_error(&[0x90, 0x03, 0x00, 0x07, code], Error::SubackCode(code), "MQTT-3.9.3-2");
        assert_error(&[0x90, 0x05, 0x00, 0x07, 0x00, 0x80, code], Error::SubackCode(code), "MQTT-3.9.3-2");
    }
}

#[test]
fn a_suback_that_ends_within_its_id_is_an_error() {
    assert_error(&[0x90, 0x00], Error::Short(Kind::Suback), "3.9");
    assert_error(&[0x90, 0x01, 0x00], Error::Short(Kind::Suback), "3.9");
}

#[test]
fn mqtt_3_10_1_1_unsubscribe_is_a2_and_lists_filters() {
    let filters = ["a/b", "c/+"];
    assert_eq!(encoded(|out| v4::unsubscribe(out, id(7), filters.into_iter())), UNSUBSCRIBE);
    assert_eq!(v4::unsubscribe_size(filters.into_iter()), Some(UNSUBSCRIBE.len()));
    decode_each_way(UNSUBSCRIBE, |result| {
        let Ok(Packet::Unsubscribe { id: request, filters: decoded }) = result else { panic!("{result:?}") };
        assert_eq!(request, id(7));
        assert!(decoded.iter().eq(filters) && decoded.iter().eq(decoded));
        assert_eq!(
            encoded(|out| v4::encode(out, &Packet::Unsubscribe { id: request, filters: decoded })),
            UNSUBSCRIBE
        );
    });
    for flags in [0xA0, 0xAA] {
        let bytes = [&[flags], &UNSUBSCRIBE[1..]].concat();
        assert_error(&bytes, Error::Flags(Kind::Unsubscribe, flags & 0x0F), "MQTT-3.10.1-1");
    }
}

#[test]
fn mqtt_3_10_3_1_and_mqtt_3_10_3_2_unsubscribe_has_filters_in_utf_8() {
    let error = |error| Error::Filter(Kind::Unsubscribe, error);
    assert_error(b"\xA2\x06\x00\x01\x00\x02\xFF\xFE", error(TopicError::Utf8), "MQTT-1.5.3-1");
    assert_error(b"\xA2\x07\x00\x01\x00\x03a\x00b", error(TopicError::Nul), "MQTT-1.5.3-2");
    assert_error(b"\xA2\x02\x00\x01", Error::NoFilters(Kind::Unsubscribe), "MQTT-3.10.3-2");
}

#[test]
fn request_sizes_end_where_mqtt_does() {
    let long = "f".repeat(65_535);
    // 2 bytes of id, then filters of 2 + 65535 + 1 and of 2 + 65535 bytes: as many as fit, and one that just fits
    let (count, left) = ((MAX_REMAINING - 2) / 65_538, (MAX_REMAINING - 2) % 65_538);
    let filters =
        |last| (0..count).map(|_| &long[..]).chain([&long[..last]]).map(|filter| (filter, Qos::AtMostOnce));
    assert_eq!(v4::subscribe_size(filters(left - 3)), Some(MAX_PACKET));
    assert_eq!(v4::subscribe_size(filters(left - 2)), None);
    let (count, left) = ((MAX_REMAINING - 2) / 65_537, (MAX_REMAINING - 2) % 65_537);
    let filters = |last| (0..count).map(|_| &long[..]).chain([&long[..last]]);
    assert_eq!(v4::unsubscribe_size(filters(left - 2)), Some(MAX_PACKET));
    assert_eq!(v4::unsubscribe_size(filters(left - 1)), None);
}
