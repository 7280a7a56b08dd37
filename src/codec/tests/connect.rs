//! CONNECT and CONNACK.

use super::super::{Connack, Connect, ConnectCode, Error, Kind, Packet, Qos, TopicError, Version, Will, v4};
use super::{assert_error, assert_packet, decode_each_way, encoded};

/// The smallest useful one.
const PLAIN: Connect<'static> = Connect {
    version: Version::V311,
    clean_session: true,
    keep_alive: 60,
    client_id: "dev",
    will: None,
    username: None,
    password: None,
};

const WILL: Will<'static> = Will { topic: "w/t", message: b"gone", qos: Qos::AtLeastOnce, retain: true };

/// A CONNECT of MQTT 3.1.1 with these flags and this payload.
fn connect(flags: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![
        0x10, // CONNECT
        (10 + payload.len()) as u8,
        0x00,
        0x04, // length of the protocol name
        b'M',
        b'Q',
        b'T',
        b'T',
        0x04, // protocol level
        flags,
        0x00,
        0x3C, // keep-alive: 60 s
    ];
    bytes.extend_from_slice(payload);
    bytes
}

#[test]
fn mqtt_3_1_2_1_and_mqtt_3_1_2_2_connect_names_mqtt_level_4() {
    let bytes = [
        0x10, // CONNECT, flags 0000
        0x0F, // Remaining Length: 15
        0x00, 0x04, b'M', b'Q', b'T', b'T', // protocol name
        0x04, // protocol level
        0x02, // flags: clean session
        0x00, 0x3C, // keep-alive: 60 s
        0x00, 0x03, b'd', b'e', b'v', // client identifier
    ];
    assert_packet(&bytes, Packet::Connect(PLAIN));
}

#[test]
fn version_3_1_names_mqisdp_level_3() {
    let bytes = [
        0x10, // CONNECT
        0x11, // Remaining Length: 17
        0x00, 0x06, b'M', b'Q', b'I', b's', b'd', b'p', // protocol name
        0x03, // protocol level
        0x02, // flags: clean session
        0x00, 0x3C, // keep-alive
        0x00, 0x03, b'd', b'e', b'v', // client identifier
    ];
    assert_packet(&bytes, Packet::Connect(Connect { version: Version::V31, ..PLAIN }));
}

#[test]
fn mqtt_3_1_3_1_the_payload_is_id_will_topic_will_message_user_name_password() {
    let bytes = [
        0x10, // CONNECT
        0x28, // Remaining Length: 40
        0x00, 0x04, b'M', b'Q', b'T', b'T', 0x04, // protocol name and level
        0xEC, // flags: user name, password, will retain, will QoS 1, will, no clean session
        0xFF, 0xFF, // keep-alive: 65535 s
        0x00, 0x03, b'd', b'e', b'v', // client identifier
        0x00, 0x03, b'w', b'/', b't', // will topic
        0x00, 0x04, b'g', b'o', b'n', b'e', // will message
        0x00, 0x05, 0xC3, 0xA4, b'n', b'n', b'a', // user name: änna
        0x00, 0x05, 0x00, 0xFF, b'p', b'w', 0x00, // password: any bytes
    ];
    let connect = Connect {
        clean_session: false,
        keep_alive: 65_535,
        will: Some(WILL),
        username: Some("änna"),
        password: Some(b"\x00\xFFpw\x00"),
        ..PLAIN
    };
    assert_packet(&bytes, Packet::Connect(connect));
}

#[test]
fn mqtt_3_1_2_9_the_will_flag_comes_with_topic_and_message() {
    // flags: will, clean session
    let bytes = connect(0x06, b"\x00\x03dev\x00\x03w/t\x00\x04gone");
    let will = Will { qos: Qos::AtMostOnce, retain: false, ..WILL };
    assert_packet(&bytes, Packet::Connect(Connect { will: Some(will), ..PLAIN }));
    // an empty message is one
    let bytes = connect(0x06, b"\x00\x03dev\x00\x03w/t\x00\x00");
    let will = Will { message: b"", ..will };
    assert_packet(&bytes, Packet::Connect(Connect { will: Some(will), ..PLAIN }));
    // the flag without the fields
    let clause = "MQTT-3.1.3-1";
    assert_error(&connect(0x06, b"\x00\x03dev"), Error::Short(Kind::Connect), clause);
    assert_error(&connect(0x06, b"\x00\x03dev\x00\x03w/t"), Error::Short(Kind::Connect), clause);
    // the fields without the flag
    assert_error(&connect(0x02, b"\x00\x03dev\x00\x03w/t\x00\x00"), Error::Trailing(Kind::Connect), clause);
}

#[test]
fn mqtt_3_1_2_11_mqtt_3_1_2_13_and_mqtt_3_1_2_15_without_a_will_its_qos_and_retain_are_0() {
    let flags = encoded(|out| v4::connect(out, &PLAIN))[9];
    assert_eq!(flags & 0b0011_1100, 0);
    for flags in [0x0A, 0x12, 0x1A, 0x22, 0x2A] {
        for clause in ["MQTT-3.1.2-11", "MQTT-3.1.2-13", "MQTT-3.1.2-15"] {
            assert_error(&connect(flags, b"\x00\x03dev"), Error::WillFlags, clause);
        }
    }
}

#[test]
fn mqtt_3_1_2_14_the_will_has_qos_0_1_or_2() {
    for (qos, flags) in [(Qos::AtMostOnce, 0x26), (Qos::AtLeastOnce, 0x2E), (Qos::ExactlyOnce, 0x36)] {
        let bytes = connect(flags, b"\x00\x03dev\x00\x03w/t\x00\x04gone");
        assert_packet(&bytes, Packet::Connect(Connect { will: Some(Will { qos, ..WILL }), ..PLAIN }));
    }
    assert_error(&connect(0x1E, b"\x00\x03dev\x00\x01w\x00\x00"), Error::WillQos, "MQTT-3.1.2-14");
}

#[test]
fn mqtt_3_1_2_3_the_reserved_flag_is_0() {
    for connect in [
        PLAIN,
        Connect { clean_session: false, ..PLAIN },
        Connect { will: Some(WILL), username: Some("u"), password: Some(b"p"), ..PLAIN },
    ] {
        assert_eq!(encoded(|out| v4::connect(out, &connect))[9] & 1, 0);
    }
    assert_error(&connect(0x03, b"\x00\x03dev"), Error::ConnectReserved, "MQTT-3.1.2-3");
}

#[test]
fn mqtt_3_1_2_18_and_mqtt_3_1_2_19_the_user_name_is_there_exactly_when_its_flag_is() {
    let bytes = connect(0x82, b"\x00\x03dev\x00\x01u");
    assert_packet(&bytes, Packet::Connect(Connect { username: Some("u"), ..PLAIN }));
    let bytes = connect(0x82, b"\x00\x03dev\x00\x00");
    assert_packet(&bytes, Packet::Connect(Connect { username: Some(""), ..PLAIN }));
    assert_error(&connect(0x82, b"\x00\x03dev"), Error::Short(Kind::Connect), "MQTT-3.1.3-1");
    assert_error(&connect(0x02, b"\x00\x03dev\x00\x01u"), Error::Trailing(Kind::Connect), "MQTT-3.1.3-1");
}

#[test]
fn mqtt_3_1_2_20_and_mqtt_3_1_2_21_the_password_is_there_exactly_when_its_flag_is() {
    let bytes = connect(0xC2, b"\x00\x03dev\x00\x01u\x00\x02\x00p");
    assert_packet(
        &bytes,
        Packet::Connect(Connect { username: Some("u"), password: Some(b"\x00p"), ..PLAIN }),
    );
    assert_error(&connect(0xC2, b"\x00\x03dev\x00\x01u"), Error::Short(Kind::Connect), "MQTT-3.1.3-1");
    let bytes = connect(0x82, b"\x00\x03dev\x00\x01u\x00\x01p");
    assert_error(&bytes, Error::Trailing(Kind::Connect), "MQTT-3.1.3-1");
}

#[test]
fn mqtt_3_1_2_22_without_a_user_name_no_password_is_sent_or_taken() {
    let connect_without_user = Connect { password: Some(b"p"), ..PLAIN };
    let sent = encoded(|out| v4::connect(out, &connect_without_user));
    assert_eq!(sent, connect(0x02, b"\x00\x03dev"));
    assert_eq!(v4::check_connect(&connect_without_user), Err(Error::PasswordWithoutUser));
    let bytes = connect(0x42, b"\x00\x03dev\x00\x01p");
    assert_error(&bytes, Error::PasswordWithoutUser, "MQTT-3.1.2-22");
}

#[test]
fn mqtt_3_1_3_3_and_mqtt_3_1_3_4_the_client_identifier_comes_first_and_is_utf_8() {
    let bytes = connect(0x02, b"\x00\x03\xE2\x82\xAC"); // €
    assert_packet(&bytes, Packet::Connect(Connect { client_id: "€", ..PLAIN }));
    assert_error(&connect(0x02, b"\x00\x02\xFF\xFE"), Error::Utf8(Kind::Connect), "MQTT-1.5.3-1");
    assert_error(&connect(0x02, b""), Error::Short(Kind::Connect), "MQTT-3.1.3-1");
}

#[test]
fn mqtt_3_1_3_7_an_empty_client_identifier_needs_a_clean_session() {
    let empty = Connect { client_id: "", ..PLAIN };
    assert_eq!(v4::check_connect(&empty), Ok(()));
    assert_eq!(v4::check_connect(&Connect { clean_session: false, ..empty }), Err(Error::EmptyClientId));
    // It decodes either way: the broker answers with a return code [MQTT-3.1.3-8].
    assert_packet(&connect(0x02, b"\x00\x00"), Packet::Connect(empty));
    assert_packet(&connect(0x00, b"\x00\x00"), Packet::Connect(Connect { clean_session: false, ..empty }));
}

#[test]
fn mqtt_3_1_3_10_and_mqtt_3_1_3_11_will_topic_and_user_name_are_utf_8() {
    let error = Error::Topic(Kind::Connect, TopicError::Utf8);
    assert_error(&connect(0x06, b"\x00\x01d\x00\x02\xFF\xFE\x00\x00"), error, "MQTT-1.5.3-1");
    assert_error(&connect(0x82, b"\x00\x01d\x00\x01\xFF"), Error::Utf8(Kind::Connect), "MQTT-1.5.3-1");
}

#[test]
fn mqtt_1_5_3_1_strings_of_connect_have_no_surrogates() {
    let bytes = connect(0x02, b"\x00\x03\xED\xA0\x80");
    assert_error(&bytes, Error::Utf8(Kind::Connect), "MQTT-1.5.3-1");
}

#[test]
fn mqtt_1_5_3_2_strings_of_connect_have_no_u_0000() {
    let clause = "MQTT-1.5.3-2";
    assert_error(&connect(0x02, b"\x00\x03d\x00v"), Error::Nul(Kind::Connect), clause);
    assert_error(&connect(0x82, b"\x00\x01d\x00\x01\x00"), Error::Nul(Kind::Connect), clause);
    let error = Error::Topic(Kind::Connect, TopicError::Nul);
    assert_error(&connect(0x06, b"\x00\x01d\x00\x02w\x00\x00\x00"), error, clause);
    for connect in [Connect { client_id: "d\0v", ..PLAIN }, Connect { username: Some("u\0"), ..PLAIN }] {
        assert_eq!(v4::check_connect(&connect), Err(Error::Nul(Kind::Connect)));
    }
}

#[test]
fn mqtt_1_5_3_3_ef_bb_bf_is_kept_in_a_client_identifier() {
    let bytes = connect(0x02, b"\x00\x05\xEF\xBB\xBFid");
    assert_packet(&bytes, Packet::Connect(Connect { client_id: "\u{FEFF}id", ..PLAIN }));
}

#[test]
fn mqtt_4_7_1_1_and_mqtt_4_7_3_1_a_will_topic_is_a_topic_name() {
    for (topic, error) in [
        ("", TopicError::Empty),
        ("a/#", TopicError::Wildcard),
        ("+", TopicError::Wildcard),
        ("a\0", TopicError::Nul),
    ] {
        let connect = Connect { will: Some(Will { topic, ..WILL }), ..PLAIN };
        let error = Error::Topic(Kind::Connect, error);
        assert_eq!(v4::check_connect(&connect), Err(error));
        let bytes = encoded(|out| v4::connect(out, &connect));
        decode_each_way(&bytes, |result| assert_eq!(result, Err(error)));
    }
}

#[test]
fn an_unknown_protocol_name_is_told_from_an_unknown_level() {
    // (protocol name, level, error, clause)
    let table: [(&[u8], u8, Error, &str); 8] = [
        (b"MQTT", 5, Error::ProtocolLevel(5), "MQTT-3.1.2-2"),
        (b"MQTT", 3, Error::ProtocolLevel(3), "MQTT-3.1.2-2"),
        (b"MQTT", 0x84, Error::ProtocolLevel(0x84), "MQTT-3.1.2-2"),
        (b"MQIsdp", 4, Error::ProtocolLevel(4), "MQTT-3.1.2-2"),
        (b"mqtt", 4, Error::ProtocolName, "MQTT-3.1.2-1"),
        (b"MQTTx", 4, Error::ProtocolName, "MQTT-3.1.2-1"),
        (b"", 4, Error::ProtocolName, "MQTT-3.1.2-1"),
        (b"\xFF", 3, Error::ProtocolName, "MQTT-3.1.2-1"),
    ];
    for (name, level, error, clause) in table {
        let mut bytes = vec![0x10, (2 + name.len() + 1 + 1 + 2 + 5) as u8, 0x00, name.len() as u8];
        bytes.extend_from_slice(name);
        bytes.extend_from_slice(&[level, 0x02, 0, 60, 0, 3, b'd', b'e', b'v']);
        assert_error(&bytes, error, clause);
    }
    // What follows the level belongs to the other version and is not looked at.
    let mqtt_5 = [0x10, 7, 0, 4, b'M', b'Q', b'T', b'T', 5];
    assert_error(&mqtt_5, Error::ProtocolLevel(5), "MQTT-3.1.2-2");
}

#[test]
fn a_connect_that_ends_too_early_is_an_error_wherever_it_ends() {
    let whole = encoded(|out| {
        let connect = Connect { will: Some(WILL), username: Some("u"), password: Some(b"p"), ..PLAIN };
        v4::connect(out, &connect);
    });
    for end in 2..whole.len() {
        let mut bytes = whole[..end].to_vec();
        bytes[1] = (end - 2) as u8;
        assert_error(&bytes, Error::Short(Kind::Connect), "MQTT-3.1.3-1");
    }
    let longer = [&[0x10, whole[1] + 1], &whole[2..], b"x"].concat();
    assert_error(&longer, Error::Trailing(Kind::Connect), "MQTT-3.1.3-1");
}

#[test]
fn the_longest_connect_is_encoded_and_decoded_and_a_longer_field_is_refused() {
    let (text, bytes) = ("a".repeat(65_535), vec![0xFF; 65_535]);
    let longest = Connect {
        version: Version::V31,
        client_id: &text,
        will: Some(Will { topic: &text, message: &bytes, ..WILL }),
        username: Some(&text),
        password: Some(&bytes),
        ..PLAIN
    };
    assert_eq!(v4::check_connect(&longest), Ok(()));
    let encoded = encoded(|out| v4::connect(out, &longest));
    assert_eq!(encoded[..4], [0x10, 0x91, 0x80, 0x14], "CONNECT with a Remaining Length of 327,697");
    let mut input = &encoded[..];
    let mut deframer = super::super::Deframer::from_client(None);
    let frame = deframer.next(&mut input).unwrap().unwrap();
    assert_eq!(v4::decode(&frame), Ok(Packet::Connect(longest)));

    let (text, bytes) = ("a".repeat(65_536), vec![0xFF; 65_536]);
    for too_long in [
        Connect { client_id: &text, ..PLAIN },
        Connect { will: Some(Will { message: &bytes, ..WILL }), ..PLAIN },
        Connect { username: Some(&text), ..PLAIN },
        Connect { username: Some("u"), password: Some(&bytes), ..PLAIN },
    ] {
        assert_eq!(v4::check_connect(&too_long), Err(Error::TooLong(Kind::Connect)));
    }
    let will = Will { topic: &text, ..WILL };
    let error = Error::Topic(Kind::Connect, TopicError::TooLong);
    assert_eq!(v4::check_connect(&Connect { will: Some(will), ..PLAIN }), Err(error));
}

#[test]
fn connack_carries_session_present_and_a_code() {
    let codes = [
        ConnectCode::Accepted,
        ConnectCode::ProtocolVersion,
        ConnectCode::IdentifierRejected,
        ConnectCode::ServerUnavailable,
        ConnectCode::BadUserOrPassword,
        ConnectCode::NotAuthorized,
    ];
    for (number, code) in (0..).zip(codes) {
        // CONNACK, Remaining Length, no session, the code
        assert_packet(&[0x20, 0x02, 0x00, number], Packet::Connack(Connack { session_present: false, code }));
    }
    let kept = Connack { session_present: true, code: ConnectCode::Accepted };
    assert_packet(&[0x20, 0x02, 0x01, 0x00], Packet::Connack(kept));
}

#[test]
fn malformed_connacks_are_errors() {
    for flags in 2..=255 {
        assert_error(&[0x20, 0x02, flags, 0x00], Error::ConnackFlags(flags), "3.2.2.1");
    }
    for code in 6..=255 {
        assert_error(&[0x20, 0x02, 0x00, code], Error::ConnackCode(code), "3.2.2.3");
    }
    for code in 1..=5 {
        assert_error(&[0x20, 0x02, 0x01, code], Error::SessionPresent(code), "MQTT-3.2.2-4");
    }
    assert_error(&[0x20, 0x01, 0x00], Error::Length(Kind::Connack, 1), "3.2.1");
    assert_error(&[0x20, 0x03, 0x00, 0x00, 0x00], Error::Length(Kind::Connack, 3), "3.2.1");
    assert_error(&[0x21, 0x02, 0x00, 0x00], Error::Flags(Kind::Connack, 1), "MQTT-2.2.2-2");
}

#[test]
fn secrets_are_not_in_debug_output() {
    let connect = Connect { username: Some("anna"), password: Some(b"swordfish"), will: Some(WILL), ..PLAIN };
    let shown = format!("{:?}", Packet::Connect(connect));
    assert!(shown.contains("anna") && shown.contains("<redacted>"), "{shown}");
    assert!(
        !shown.contains("swordfish") && !shown.contains("115, 119") && !shown.contains("gone"),
        "{shown}"
    );
}
