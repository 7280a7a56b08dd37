//! Messages of ours on one connection: QoS 0, 1 and 2, and answers that answer nothing.

use mqtt::codec::Qos;
use mqtt::session::{Config, Token};

use crate::support::*;

#[test]
fn mqtt_4_3_1_1_and_mqtt_3_3_1_2_qos_0_goes_out_with_qos_and_dup_0() {
    let mut driver = Driver::connected();
    driver.publish("hi", 0, 0);
    assert_eq!(
        driver.sent(),
        [
            0x30, 0x05, // PUBLISH: DUP 0, QoS 0, RETAIN 0; 5 bytes follow
            0x00, 0x01, b't', // topic
            b'h', b'i', // payload: no packet id before it [MQTT-2.3.1-5]
        ]
    );
}

#[test]
fn mqtt_2_3_1_5_qos_0_carries_no_id() {
    let mut driver = Driver::connected();
    driver.session.publish("a/b", b"", Qos::AtMostOnce, true, Token::NONE).expect("connected");
    // PUBLISH: RETAIN 1; 5 bytes follow; topic, nothing behind it
    assert_eq!(driver.sent(), [0x31, 0x05, 0x00, 0x03, b'a', b'/', b'b']);
    assert_eq!(driver.session.ids_in_use(), 0);
}

#[test]
fn mqtt_3_3_2_1_the_topic_comes_first_as_utf_8() {
    let mut driver = Driver::connected();
    driver.session.publish("ü/€", b"\0\xFF", Qos::AtLeastOnce, true, Token::NONE).expect("connected");
    assert_eq!(
        driver.sent(),
        [
            0x33, 0x0C, // PUBLISH: QoS 1, RETAIN 1; 12 bytes follow
            0x00, 0x06, 0xC3, 0xBC, b'/', 0xE2, 0x82, 0xAC, // topic
            0x00, 0x01, // packet id
            0x00, 0xFF, // payload
        ]
    );
}

#[test]
fn mqtt_4_3_2_1_qos_1_has_a_new_id_dup_0_and_is_unacknowledged_until_puback() {
    let mut driver = Driver::connected();
    driver.publish("one", 1, 11);
    driver.publish("two", 1, 12);
    assert_eq!(
        driver.sent(),
        [
            0x32, 0x08, // PUBLISH: DUP 0, QoS 1; 8 bytes follow
            0x00, 0x01, b't', // topic
            0x00, 0x01, // packet id 1
            b'o', b'n', b'e', // payload
            0x32, 0x08, // the second one
            0x00, 0x01, b't', //
            0x00, 0x02, // packet id 2
            b't', b'w', b'o', //
        ]
    );
    assert_eq!((driver.happened(), driver.session.pending()), (vec![], (2, 20)));
    driver.feed(&puback(2));
    assert_eq!((driver.happened(), driver.session.pending()), (vec![published(2, 12)], (1, 10)));
    driver.feed(&puback(1));
    assert_eq!((driver.happened(), driver.session.pending()), (vec![published(1, 11)], (0, 0)));
    assert_eq!((driver.sent(), driver.session.ids_in_use()), (vec![], 0));
}

#[test]
fn mqtt_4_3_3_1_qos_2_is_publish_until_pubrec_then_pubrel_until_pubcomp() {
    let mut driver = Driver::connected();
    driver.publish("x", 2, 5);
    // PUBLISH: DUP 0, QoS 2; 6 bytes follow; topic, packet id 1, payload
    assert_eq!(driver.sent(), [0x34, 0x06, 0x00, 0x01, b't', 0x00, 0x01, b'x']);
    driver.feed(&[0x50, 0x02, 0x00, 0x01]); // PUBREC
    assert_eq!(driver.sent(), [0x62, 0x02, 0x00, 0x01]); // PUBREL
    assert_eq!((driver.happened(), driver.session.pending().0), (vec![], 1), "not done yet");
    driver.feed(&[0x70, 0x02, 0x00, 0x01]); // PUBCOMP
    assert_eq!((driver.happened(), driver.session.pending()), (vec![published(1, 5)], (0, 0)));
    assert_eq!(driver.session.ids_in_use(), 0);
}

#[test]
fn mqtt_3_6_1_1_and_mqtt_2_3_1_6_our_pubrel_is_62_and_carries_the_id_of_the_publish() {
    let mut driver = Driver::connected();
    for _ in 0..300 {
        driver.publish("x", 1, 0);
        driver.sent();
        driver.feed(&puback(driver.session.stats().messages_out[1] as u16));
    }
    driver.publish("x", 2, 0);
    driver.sent();
    driver.feed(&[0x50, 0x02, 0x01, 0x2D]); // PUBREC 301
    assert_eq!(driver.sent(), [0x62, 0x02, 0x01, 0x2D]); // PUBREL 301
}

#[test]
fn mqtt_4_6_0_4_pubrels_come_in_the_order_of_the_pubrecs() {
    let mut driver = Driver::connected();
    for n in 1..=4 {
        driver.publish("x", 2, n);
    }
    driver.sent();
    driver.feed(&join([&pubrec(3), &pubrec(1), &pubrec(4)]));
    driver.feed(&pubrec(2));
    assert_eq!(driver.sent(), join([&pubrel(3), &pubrel(1), &pubrel(4), &pubrel(2)]));
    driver.feed(&join([&pubcomp(1), &pubcomp(2), &pubcomp(3), &pubcomp(4)]));
    assert_eq!(driver.happened(), [published(1, 1), published(2, 2), published(3, 3), published(4, 4)]);
}

#[test]
fn mqtt_4_3_3_1_a_second_pubrec_is_answered_by_a_second_pubrel() {
    let mut driver = Driver::connected();
    driver.publish("x", 2, 5);
    driver.sent();
    driver.feed(&join([&pubrec(1), &pubrec(1)]));
    assert_eq!(driver.sent(), join([&pubrel(1), &pubrel(1)]));
    driver.feed(&pubcomp(1));
    assert_eq!(driver.happened(), [published(1, 5)]);
    driver.feed(&pubcomp(1));
    assert_eq!(driver.happened(), [], "done once");
}

#[test]
fn mqtt_3_3_1_3_first_sends_have_dup_0() {
    let mut driver = Driver::connected_with(window(1000), &connect(true));
    for n in 0..255 {
        driver.publish("x", n % 3, 0);
    }
    for (first, _) in packets(&driver.sent()) {
        assert_eq!(first & 0b1000, 0);
    }
}

#[test]
fn mqtt_3_3_1_4_qos_is_0_1_or_2() {
    assert_eq!((Qos::new(3), Qos::new(255)), (None, None), "there is no way to ask for another");
    let mut driver = Driver::connected();
    for level in 0..3 {
        driver.publish("x", level, 0);
    }
    let levels: Vec<u8> = packets(&driver.sent()).iter().map(|(first, _)| first >> 1 & 3).collect();
    assert_eq!(levels, [0, 1, 2]);
}

#[test]
fn answers_that_answer_nothing_do_no_harm() {
    let mut driver = Driver::connected();
    driver.publish("x", 1, 1);
    driver.publish("y", 2, 2);
    driver.session.subscribe(&[("a", qos(1))], Token(3)).expect("connected");
    driver.session.unsubscribe(&["b"], Token(4)).expect("connected");
    driver.sent();
    for id in [1, 2, 3, 4, 5, 65_535] {
        if id != 1 {
            driver.feed(&puback(id));
        }
        driver.feed(&pubcomp(id)); // not even for 2, whose PUBREC has not come
        if id != 4 {
            driver.feed(&ack(0xB0, id)); // UNSUBACK
        }
        if id != 3 {
            driver.feed(&[0x90, 0x03, 0, id as u8, 0x00]); // SUBACK
        }
    }
    assert_eq!((driver.happened(), driver.sent()), (vec![], vec![]));
    assert_eq!((driver.session.pending().0, driver.session.ids_in_use()), (2, 4));
    // A PUBREC is answered in any case: the broker would wait for ever, and repeat it on every connection.
    driver.feed(&join([&pubrec(9), &pubrec(1)]));
    assert_eq!(driver.sent(), join([&pubrel(9), &pubrel(1)]));
    driver.feed(&join([&pubcomp(9), &pubcomp(1)]));
    assert_eq!((driver.happened(), driver.session.pending().0), (vec![], 2));
    // And everything still works.
    driver.feed(&join([&puback(1), &pubrec(2), &pubcomp(2), &ack(0xB0, 4)]));
    driver.feed(&[0x90, 0x03, 0x00, 0x03, 0x01]);
    assert_eq!(driver.session.ids_in_use(), 0);
}

#[test]
fn mqtt_4_1_0_1_a_message_stays_as_long_as_the_connection_however_long_that_is() {
    let mut driver = Driver::connected_with(Config::default(), &connect(true));
    driver.publish("x", 1, 1);
    driver.publish("y", 2, 2);
    driver.sent();
    driver.feed(&pubrec(2));
    assert_eq!(driver.sent(), pubrel(2));
    assert_eq!(driver.pass(1e7), Ok(vec![]), "and nothing is repeated by a timer");
    driver.feed(&join([&puback(1), &pubcomp(2)]));
    assert_eq!(driver.happened(), [published(1, 1), published(2, 2)]);
}

#[test]
fn what_is_done_is_counted() {
    let mut driver = Driver::connected();
    for level in [0, 1, 1, 2] {
        driver.publish("abc", level, 0);
    }
    let sent = driver.sent();
    driver.feed(&join([&puback(1), &puback(2), &pubrec(3), &pubcomp(3), &publish(0x30, 0, "m")]));
    let stats = driver.session.stats();
    assert_eq!((stats.messages_out, stats.messages_in), ([1, 2, 1], [1, 0, 0]));
    assert_eq!((stats.packets_out, stats.packets_in), (6, 6), "with CONNECT, CONNACK and PUBREL");
    assert_eq!(stats.bytes_out, 15 + sent.len() as u64);
    assert_eq!((stats.bytes_in, stats.dropped), (4 + 16 + 6, 0));
}
