//! Packet ids: never 0, never twice, one pool for PUBLISH, SUBSCRIBE and UNSUBSCRIBE.

use std::collections::BTreeSet;

use mqtt::session::{Refused, Token};

use crate::support::broker::publish_id;
use crate::support::*;

/// The ids of what was sent.
fn ids(sent: &[u8]) -> Vec<u16> {
    let id = |(first, body): &(u8, Vec<u8>)| match first >> 4 {
        3 => publish_id(body),
        8 | 10 => u16::from_be_bytes([body[0], body[1]]),
        other => panic!("no packet of type {other} was to be sent"),
    };
    packets(sent).iter().map(id).collect()
}

#[test]
fn mqtt_2_3_1_1_no_id_is_zero_in_more_packets_than_there_are_ids() {
    let mut driver = Driver::connected();
    let mut seen = BTreeSet::new();
    for n in 0..70_000_u32 {
        match n % 4 {
            0 => driver.publish("x", 1, 0),
            1 => driver.publish("x", 2, 0),
            2 => driver.session.subscribe(&[("a", qos(0))], Token::NONE).expect("connected"),
            _ => driver.session.unsubscribe(&["a"], Token::NONE).expect("connected"),
        }
        let sent = driver.sent();
        let id = ids(&sent)[0];
        assert_ne!(id, 0);
        seen.insert(id);
        let [high, low] = id.to_be_bytes();
        match n % 4 {
            0 => driver.feed(&puback(id)),
            1 => driver.feed(&join([&pubrec(id), &pubcomp(id)])),
            2 => driver.feed(&[0x90, 0x03, high, low, 0x00]),
            _ => driver.feed(&ack(0xB0, id)),
        }
        if n % 4 == 1 {
            assert_eq!(driver.sent(), pubrel(id));
        }
        driver.happened();
    }
    assert_eq!(seen.len(), 65_535, "every id had its turn");
    assert_eq!(driver.session.ids_in_use(), 0);
}

#[test]
fn mqtt_2_3_1_2_an_id_in_use_is_passed_over_when_the_counter_goes_round() {
    let mut driver = Driver::connected();
    driver.publish("held", 1, 0);
    driver.publish("held", 2, 0);
    driver.session.subscribe(&[("a", qos(0))], Token::NONE).expect("connected");
    driver.session.unsubscribe(&["a"], Token::NONE).expect("connected");
    assert_eq!(ids(&driver.sent()), [1, 2, 3, 4]);
    driver.feed(&pubrec(2));
    assert_eq!(driver.sent(), pubrel(2), "released, and in use all the same");
    for _ in 0..66_000 {
        driver.publish("x", 1, 0);
        let id = ids(&driver.sent())[0];
        assert!(id > 4, "{id} is in use");
        driver.feed(&puback(id));
    }
    driver.happened();
    assert_eq!(driver.session.ids_in_use(), 4);
}

#[test]
fn mqtt_2_3_1_3_an_id_is_free_again_after_its_last_acknowledgement_and_only_then() {
    let mut driver = Driver::connected();
    driver.publish("one", 1, 0);
    driver.publish("two", 2, 0);
    driver.session.subscribe(&[("a", qos(0)), ("b", qos(0))], Token::NONE).expect("connected");
    driver.session.unsubscribe(&["a"], Token::NONE).expect("connected");
    driver.sent();
    assert_eq!(driver.session.ids_in_use(), 4);
    for (answer, left) in [
        (&puback(1)[..], 3),
        (&pubrec(2), 3), // not yet
        (&pubcomp(2), 2),
        (&[0x90, 0x04, 0x00, 0x03, 0x00, 0x80], 1), // SUBACK, one of them refused
        (&ack(0xB0, 4), 0),
    ] {
        driver.feed(answer);
        assert_eq!(driver.session.ids_in_use(), left, "{answer:02x?}");
    }
}

#[test]
fn mqtt_2_3_1_2_with_all_ids_in_use_messages_wait_and_requests_are_refused() {
    let mut driver = Driver::connected_with(window(65_535), &connect(true));
    for _ in 0..65_536 {
        driver.publish("x", 1, 0);
    }
    let sent = ids(&driver.sent());
    assert_eq!(sent.len(), 65_535);
    assert_eq!(sent.iter().collect::<BTreeSet<_>>().len(), 65_535);
    assert_eq!(driver.session.subscribe(&[("a", qos(0))], Token::NONE), Err(Refused::QueueFull));
    assert_eq!(driver.session.unsubscribe(&["a"], Token::NONE), Err(Refused::QueueFull));
    driver.feed(&puback(300));
    assert_eq!(ids(&driver.sent()), [300], "the one that is free now");
    driver.feed(&puback(301));
    driver.session.subscribe(&[("a", qos(0))], Token::NONE).expect("an id is free");
    assert_eq!(ids(&driver.sent()), [301]);
}
