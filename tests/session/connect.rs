//! CONNECT and CONNACK.

use std::time::Duration;

use mqtt::codec::{self, Connect, ConnectCode, Version};
use mqtt::session::{Config, Error, Refused, Token};

use crate::support::*;

#[test]
fn mqtt_3_1_0_1_the_first_packet_is_connect() {
    let mut driver = Driver::new(Config::default());
    driver.session.set_offline_queue(true);
    driver.publish("early", 1, 0);
    assert_eq!(driver.sent(), b"", "nothing without a connection");
    driver.session.connect(&Connect { keep_alive: 60, ..connect(false) }, None);
    driver.publish("later", 2, 0);
    assert_eq!(
        driver.sent(),
        [
            0x10, 0x0D, // CONNECT, 13 bytes follow
            0x00, 0x04, b'M', b'Q', b'T', b'T', // protocol name
            0x04, // level
            0x00, // flags: no clean session, no will, no user
            0x00, 0x3C, // keep-alive 60
            0x00, 0x01, b'c', // client id
        ]
    );
    assert_eq!(driver.sent(), b"", "the messages wait for CONNACK");
    driver.feed(&ACCEPTED);
    assert_eq!(driver.sent(), join([&publish(0x32, 1, "early"), &publish(0x34, 2, "later")]));
}

#[test]
fn mqtt_3_1_0_1_connect_is_first_on_every_connection() {
    let mut driver = Driver::connected_with(Config::default(), &connect(false));
    driver.session.set_offline_queue(true);
    driver.publish("a", 1, 0);
    driver.sent();
    for _ in 0..3 {
        driver.lose();
        driver.session.connect(&connect(false), None);
        driver.publish("b", 2, 0);
        let sent = driver.sent();
        assert_eq!((packets(&sent).len(), sent[0]), (1, 0x10));
    }
}

#[test]
fn mqtt_3_1_0_2_only_one_connect_is_sent_on_a_connection() {
    let mut driver = Driver::new(Config::default());
    driver.session.connect(&Connect { keep_alive: 10, ..connect(true) }, None);
    let mut sent = driver.sent();
    driver.feed(&ACCEPTED);
    for n in 0..10 {
        driver.publish("x", n % 3, 0);
        driver.feed(&publish(0x32, 7, "y"));
        driver.feed(&publish(0x34, 8, "y"));
        sent.extend(driver.sent());
        for (_, bytes) in driver.pass(12.0).expect("the broker is alive") {
            sent.extend(bytes);
        }
    }
    driver.session.disconnect();
    sent.extend(driver.sent());
    let connects = packets(&sent).iter().filter(|(first, _)| first >> 4 == 1).count();
    assert_eq!(connects, 1);
}

#[test]
fn mqtt_3_1_2_1_and_mqtt_3_1_2_2_mqtt_3_1_1_is_named_mqtt_level_4() {
    let mut driver = Driver::new(Config::default());
    driver.session.connect(&connect(true), None);
    assert_eq!(driver.sent()[2..9], [0x00, 0x04, b'M', b'Q', b'T', b'T', 0x04]);
}

#[test]
fn mqtt_3_1_is_named_mqisdp_level_3() {
    let mut driver = Driver::new(Config::default());
    driver.session.connect(&Connect { version: Version::V31, ..connect(true) }, None);
    assert_eq!(
        driver.sent(),
        [
            0x10, 0x0F, // CONNECT, 15 bytes follow
            0x00, 0x06, b'M', b'Q', b'I', b's', b'd', b'p', // protocol name
            0x03, // level
            0x02, // flags: clean session
            0x00, 0x00, // keep-alive off
            0x00, 0x01, b'c', // client id
        ]
    );
}

#[test]
fn connack_tells_whether_the_session_was_kept() {
    for (connack, session_present) in [(ACCEPTED, false), (RESUMED, true)] {
        let mut driver = Driver::new(Config::default());
        driver.connect(&connect(false), &connack);
        assert!(driver.session.is_connected());
        assert_eq!(driver.happened(), [Happened::Connected { session_present }]);
    }
}

#[test]
fn a_session_that_was_asked_to_be_clean_is_new_whatever_the_broker_says() {
    let mut driver = Driver::new(Config::default());
    driver.connect(&connect(true), &RESUMED);
    assert_eq!(driver.happened(), [Happened::Connected { session_present: false }]);
}

#[test]
fn connack_may_come_in_pieces() {
    let mut driver = Driver::new(Config::default());
    driver.session.connect(&connect(true), None);
    for byte in ACCEPTED {
        assert!(!driver.session.is_connected());
        driver.feed(&[byte]);
    }
    assert!(driver.session.is_connected());
}

#[test]
fn packets_may_follow_connack_in_the_same_read() {
    let mut driver = Driver::new(Config::default());
    driver.connect(&connect(false), &join([&RESUMED, &publish(0x32, 9, "m")]));
    assert_eq!(driver.happened(), [Happened::Connected { session_present: true }, message("m", 1)]);
    assert_eq!(driver.sent(), puback(9));
}

#[test]
fn mqtt_3_2_0_1_anything_before_connack_is_a_violation() {
    let wrong: [&[u8]; 9] = [
        &[0x30, 0x03, 0x00, 0x01, b't'],       // PUBLISH QoS 0
        &[0x32, 0x05, 0x00, 0x01, b't', 0, 1], // PUBLISH QoS 1
        &puback(1),
        &pubrec(1),
        &pubrel(1),
        &pubcomp(1),
        &[0x90, 0x03, 0x00, 0x01, 0x00], // SUBACK
        &ack(0xB0, 1),                   // UNSUBACK
        &PINGRESP,
    ];
    for packet in wrong {
        let mut driver = Driver::new(Config::default());
        driver.session.connect(&connect(true), None);
        driver.sent();
        let error = driver.feed_wrong(packet);
        assert_eq!(error, Error::NotConnack);
        assert!(error.to_string().contains("[MQTT-3.2.0-1]"));
        assert_eq!((driver.sent(), driver.happened()), (vec![], vec![]), "it is not acted upon");
    }
}

#[test]
fn mqtt_3_2_0_1_a_second_connack_is_a_violation() {
    let mut driver = Driver::connected();
    assert_eq!(driver.feed_wrong(&ACCEPTED), Error::SecondConnack);
}

#[test]
fn mqtt_3_2_2_5_a_refusal_ends_the_connection() {
    let codes = [
        ConnectCode::ProtocolVersion,
        ConnectCode::IdentifierRejected,
        ConnectCode::ServerUnavailable,
        ConnectCode::BadUserOrPassword,
        ConnectCode::NotAuthorized,
    ];
    for (number, code) in (1..).zip(codes) {
        let mut driver = Driver::new(Config::default());
        driver.session.connect(&connect(true), None);
        assert_eq!(driver.feed_wrong(&[0x20, 0x02, 0x00, number]), Error::Refused(code));
        assert!(!driver.session.is_connected());
        assert_eq!(driver.happened(), []);
    }
}

#[test]
fn a_return_code_above_5_is_a_violation() {
    let mut driver = Driver::new(Config::default());
    driver.session.connect(&connect(true), None);
    assert_eq!(driver.feed_wrong(&[0x20, 0x02, 0x00, 0x06]), Error::Protocol(codec::Error::ConnackCode(6)));
}

#[test]
fn connack_has_to_come_by_the_deadline() {
    let mut driver = Driver::new(Config::default());
    let deadline = driver.now + Duration::from_secs(10);
    driver.session.connect(&connect(true), Some(deadline));
    driver.sent();
    assert_eq!(driver.session.poll_timeout(), Some(deadline));
    assert_eq!(driver.pass(9.999), Ok(vec![]));
    assert_eq!(driver.pass(0.001), Err(Error::NoConnack));
}

#[test]
fn the_deadline_is_over_with_connack() {
    let mut driver = Driver::new(Config::default());
    let deadline = driver.now + Duration::from_secs(10);
    driver.session.connect(&connect(true), Some(deadline));
    driver.feed(&ACCEPTED);
    assert_eq!(driver.session.poll_timeout(), None);
    assert_eq!(driver.pass(100.0), Ok(vec![]));
}

#[test]
fn a_part_of_connack_does_not_move_the_deadline() {
    let mut driver = Driver::new(Config::default());
    let deadline = driver.now + Duration::from_secs(10);
    driver.session.connect(&connect(true), Some(deadline));
    driver.feed(&ACCEPTED[..3]);
    assert_eq!(driver.session.poll_timeout(), Some(deadline));
}

#[test]
fn mqtt_3_1_3_2_two_clients_do_not_share_what_is_in_flight() {
    let mut one = Driver::connected_with(Config::default(), &connect(false));
    let mut two = Driver::connected_with(Config::default(), &Connect { client_id: "d", ..connect(false) });
    one.publish("of one", 1, 1);
    two.publish("of two", 1, 2);
    assert_eq!(one.sent(), publish(0x32, 1, "of one"));
    assert_eq!(two.sent(), publish(0x32, 1, "of two"));
    one.feed(&puback(1));
    assert_eq!(one.happened(), [published(1, 1)]);
    assert_eq!((two.happened(), two.session.pending().0), (vec![], 1));
}

#[test]
fn before_connack_nothing_is_accepted_without_an_offline_queue() {
    let mut driver = Driver::new(Config::default());
    for attempt in [false, true] {
        if attempt {
            driver.session.connect(&connect(true), None);
        }
        for level in 0..3 {
            assert_eq!(driver.try_publish("x", level, 0), Err(Refused::NotConnected));
        }
        assert_eq!(driver.session.subscribe(&[("a", qos(0))], Token::NONE), Err(Refused::NotConnected));
        assert_eq!(driver.session.unsubscribe(&["a"], Token::NONE), Err(Refused::NotConnected));
    }
    assert_eq!(Refused::NotConnected.to_string(), "not connected");
}

#[test]
fn progress_is_more_than_being_accepted() {
    let mut driver = Driver::connected();
    assert!(!driver.session.progressed(driver.now));
    assert!(!driver.session.progressed(driver.now + Duration::from_millis(4999)));
    assert!(driver.session.progressed(driver.now + Duration::from_secs(5)), "it lasted");
    driver.feed(&publish(0x30, 0, "m"));
    assert!(driver.session.progressed(driver.now), "a message came");
    driver.lose();
    assert!(!driver.session.progressed(driver.now + Duration::from_secs(60)));
}

#[test]
fn secrets_and_payloads_are_not_in_debug_output() {
    let mut driver = Driver::new(Config::default());
    let secret = Connect { username: Some("uuuu"), password: Some(b"pppp"), ..connect(true) };
    driver.session.connect(&secret, None);
    driver.session.set_offline_queue(true);
    driver.publish("mmmm", 1, 0);
    let text = format!("{:?}", driver.session);
    for secret in ["uuuu", "pppp", "mmmm", "112, 112", "109, 109"] {
        assert!(!text.contains(secret), "{text}");
    }
}
