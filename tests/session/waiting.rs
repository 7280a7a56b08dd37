//! Messages that are kept whatever happens to connections: how many wait, under which ids, and what is counted.

use std::time::Duration;

use mqtt::codec::PacketId;
use mqtt::session::{Config, Keep, Limits, Refused, Token};

use crate::support::*;

/// A session that keeps its messages, `max` of them while there is no connection.
fn keeping(max: Option<u32>) -> Driver {
    let limits = Limits { max_waiting: max, inflight: 1000, ..Limits::default() };
    Driver::new(Config { limits, keep_messages: true, ..Config::default() })
}

fn id(n: u16) -> PacketId {
    PacketId::new(n).expect("not 0")
}

impl Driver {
    fn publish_with_id(&mut self, payload: &str, level: u8) -> Result<PacketId, Refused> {
        self.session.publish_with_id("t", payload.as_bytes(), qos(level), false, Token::NONE)
    }
}

#[test]
fn messages_are_kept_before_the_first_connection_and_after_every_end() {
    let mut driver = keeping(None);
    assert_eq!(driver.try_publish("0", 0, 0), Err(Refused::NotConnected));
    driver.publish("1", 1, 1);
    driver.session.handle_closed(Keep::Nothing);
    driver.session.set_offline_queue(false);
    driver.publish("2", 2, 2);
    driver.connect(&connect(true), &ACCEPTED);
    driver.publish("3", 1, 3);
    assert_eq!(driver.sent(), join([&publish(0x32, 1, "1"), &publish(0x34, 2, "2"), &publish(0x32, 3, "3")]));
    driver.session.handle_closed(Keep::Nothing);
    assert_eq!(driver.session.pending().0, 3);
}

#[test]
fn one_more_than_may_wait_drops_the_oldest() {
    let mut driver = keeping(Some(2));
    for n in 1..=4 {
        driver.publish(&n.to_string(), 1, n);
    }
    assert_eq!(driver.happened(), [dropped(1), dropped(2)]);
    assert_eq!(driver.session.stats().dropped, 2);
    driver.connect(&connect(true), &ACCEPTED);
    assert_eq!(driver.sent(), join([&publish(0x32, 1, "3"), &publish(0x32, 2, "4")]));
}

#[test]
fn a_lowered_number_of_those_that_may_wait_holds_from_the_next_message_on() {
    let mut driver = keeping(None);
    for n in 1..=4 {
        driver.publish(&n.to_string(), 1, n);
    }
    driver.session.set_limits(Limits { max_waiting: Some(2), ..Limits::default() });
    driver.publish("5", 1, 5);
    assert_eq!(driver.happened(), [dropped(1), dropped(2), dropped(3)]);
    driver.connect(&connect(true), &ACCEPTED);
    assert_eq!(driver.sent(), join([&publish(0x32, 1, "4"), &publish(0x32, 2, "5")]));
}

#[test]
fn where_none_may_wait_none_is_accepted_without_a_connection() {
    let mut driver = keeping(Some(0));
    assert_eq!(driver.try_publish("x", 1, 0), Err(Refused::NotConnected));
    driver.connect(&connect(true), &ACCEPTED);
    driver.publish("x", 1, 0);
    driver.sent();
    driver.lose();
    assert_eq!(driver.session.pending().0, 1, "what was sent is kept");
    assert_eq!(driver.try_publish("y", 2, 0), Err(Refused::NotConnected));
}

#[test]
fn what_was_sent_once_is_never_dropped_for_a_newer_one() {
    let mut driver = keeping(Some(1));
    driver.connect(&connect(true), &ACCEPTED);
    driver.publish("sent", 1, 1);
    driver.publish("sent too", 2, 2);
    driver.sent();
    driver.lose();
    // accepted by a broker that knows nothing, and lost again before anything went out
    driver.connect(&connect(true), &ACCEPTED);
    driver.lose();
    for n in 3..=5 {
        driver.publish(&n.to_string(), 1, n);
    }
    let dropped_ones: Vec<_> =
        driver.happened().into_iter().filter(|it| matches!(it, Happened::Dropped { .. })).collect();
    assert_eq!(dropped_ones, [dropped(3), dropped(4)]);
    driver.connect(&connect(true), &ACCEPTED);
    let payloads: Vec<String> = packets(&driver.sent())
        .into_iter()
        .map(|(_, body)| String::from_utf8_lossy(&body[5..]).into_owned())
        .collect();
    assert_eq!(payloads, ["sent", "sent too", "5"]);
}

#[test]
fn the_bound_is_for_what_waits_without_a_connection() {
    let mut driver = keeping(Some(1));
    driver.connect(&connect(true), &ACCEPTED);
    for n in 1..=50 {
        driver.publish("x", 1, n);
    }
    assert_eq!(packets(&driver.sent()).len(), 50);
    assert!(!driver.happened().iter().any(|it| matches!(it, Happened::Dropped { .. })));
}

#[test]
fn an_id_given_at_the_call_is_the_one_that_is_sent_and_acknowledged() {
    let mut driver = keeping(None);
    assert_eq!(driver.publish_with_id("1", 1), Ok(id(1)));
    assert_eq!(driver.session.next_id(), Some(id(2)), "a turn");
    assert_eq!(driver.publish_with_id("3", 2), Ok(id(3)));
    driver.connect(&connect(true), &ACCEPTED);
    assert_eq!(driver.publish_with_id("0", 0), Ok(id(4)), "a turn");
    assert_eq!(driver.sent(), join([&publish(0x32, 1, "1"), &publish(0x34, 3, "3"), &publish(0x30, 0, "0")]));
    driver.lose();
    // a session that knows of nothing: not as repetitions, but under their ids
    driver.connect(&connect(true), &ACCEPTED);
    assert_eq!(driver.sent(), join([&publish(0x32, 1, "1"), &publish(0x34, 3, "3")]));
    driver.happened();
    driver.feed(&join([&puback(1), &pubrec(3), &pubcomp(3)]));
    assert_eq!(driver.happened(), [published(1, 0), published(3, 0)]);
    assert_eq!(driver.session.ids_in_use(), 0);
}

#[test]
fn mqtt_2_3_1_2_an_id_given_at_the_call_is_in_use_from_then_on() {
    let mut driver = keeping(None);
    let held = driver.publish_with_id("x", 1).expect("accepted");
    for _ in 0..140_000 {
        assert_ne!(driver.session.next_id(), Some(held));
    }
    for _ in 1..65_000 {
        driver.publish_with_id("", 1).expect("an id is free");
    }
    assert_eq!(driver.publish_with_id("", 1), Err(Refused::QueueFull));
    assert!(driver.session.next_id().is_some(), "subscribing needs some too");
}

#[test]
fn an_acknowledgement_of_what_was_never_sent_is_ignored() {
    let mut driver = keeping(None);
    driver.publish_with_id("1", 1).expect("accepted");
    driver.publish_with_id("2", 2).expect("accepted");
    driver.session.set_limits(Limits { inflight: 1, ..Limits::default() });
    driver.connect(&connect(true), &ACCEPTED);
    driver.sent();
    driver.feed(&join([&pubrec(2), &pubcomp(2)]));
    driver.sent();
    assert_eq!(driver.session.pending().0, 2);
    driver.feed(&puback(1));
    assert_eq!(driver.sent(), publish(0x34, 2, "2"));
}

#[test]
fn unsent_bytes_are_payloads_without_acknowledgement_and_what_waits_for_the_socket() {
    let mut driver = keeping(None);
    driver.publish("four", 1, 0);
    driver.publish("sixsix", 2, 0);
    assert_eq!(driver.session.unsent_bytes(), 10);
    driver.connect(&connect(true), &ACCEPTED);
    driver.publish("0", 0, 0); // 6 bytes on the wire
    assert_eq!(driver.session.unsent_bytes(), 16, "what is encoded for the socket is not counted twice");
    driver.sent();
    assert_eq!(driver.session.unsent_bytes(), 10);
    driver.feed(&join([&puback(1), &pubrec(2)]));
    driver.sent();
    assert_eq!(driver.session.unsent_bytes(), 0);
}

#[test]
fn time_is_told_while_connected_and_nothing_else_waits() {
    let mut driver = keeping(None);
    let second = Some(Duration::from_secs(1));
    driver.session.set_tick(driver.now, second);
    assert_eq!(driver.session.poll_timeout(), None);
    driver.connect(&connect(true), &ACCEPTED);
    driver.pass(5.0).expect("nothing is wrong");
    assert_eq!(driver.happened(), [Happened::Connected { session_present: false }], "nobody looked");
    driver.pass(2.5).expect("nothing is wrong");
    assert_eq!(driver.happened(), [Happened::Tick]);
    driver.session.set_tick(driver.now, None);
    driver.pass(5.0).expect("nothing is wrong");
    assert_eq!(driver.happened(), []);
    driver.session.set_tick(driver.now, second);
    driver.lose();
    assert_eq!(driver.session.poll_timeout(), None);
}

#[test]
fn a_new_limit_for_packets_holds_from_the_next_connection_on() {
    let mut driver = Driver::connected();
    driver.session.set_limits(Limits { max_packet: Some(12), ..Limits::default() });
    driver.feed(&publish(0x30, 0, "0123456789"));
    driver.lose();
    driver.connect(&connect(true), &ACCEPTED);
    driver.feed(&publish(0x30, 0, "0123456789"));
    let cut = Happened::Overflow { topic: "t".into(), payload: "0123456".into() };
    let connected = Happened::Connected { session_present: false };
    assert_eq!(driver.happened(), [message("0123456789", 0), connected, cut]);
}

#[test]
fn messages_published_in_order_arrive_in_order_across_queue_and_connections() {
    let mut driver = keeping(None);
    driver.session.set_limits(Limits { inflight: 2, ..Limits::default() });
    for n in 0..4 {
        driver.publish(&n.to_string(), 1 + n as u8 % 2, 0);
    }
    driver.connect(&connect(true), &ACCEPTED);
    driver.publish("4", 1, 0);
    let mut seen = Vec::new();
    while driver.session.pending().0 > 0 {
        for (first, body) in packets(&driver.sent()) {
            if first == 0x62 {
                driver.feed(&pubcomp(u16::from_be_bytes([body[0], body[1]])));
                continue;
            }
            let id = u16::from_be_bytes([body[3], body[4]]);
            seen.push(String::from_utf8_lossy(&body[5..]).into_owned());
            driver.feed(&if first == 0x32 { puback(id) } else { pubrec(id) });
        }
    }
    assert_eq!(seen, ["0", "1", "2", "3", "4"]);
}
