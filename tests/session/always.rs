//! Subscriptions that are renewed on every connection, and calls that are accepted without one.

use mqtt::session::{Config, Resubscribe, Token};

use crate::support::*;

fn always() -> Driver {
    Driver::new(Config { resubscribe: Resubscribe::Always, keep_messages: true, ..Config::default() })
}

/// SUBSCRIBE of one-letter filters at QoS 1.
fn subscribe(id: u8, filters: &str) -> Vec<u8> {
    let mut packet = vec![0x82, 2 + 4 * filters.len() as u8, 0, id];
    for filter in filters.bytes() {
        packet.extend([0, 1, filter, 1]);
    }
    packet
}

/// UNSUBSCRIBE of one one-letter filter.
fn unsubscribe(id: u8, filter: u8) -> Vec<u8> {
    vec![0xA2, 5, 0, id, 0, 1, filter]
}

impl Driver {
    fn subscribe(&mut self, filter: &str) {
        self.session.subscribe(&[(filter, qos(1))], Token::NONE).expect("accepted at any time");
    }

    fn unsubscribe(&mut self, filter: &str) {
        self.session.unsubscribe(&[filter], Token::NONE).expect("accepted at any time");
    }
}

#[test]
fn what_was_asked_for_without_a_connection_goes_out_first_on_the_next() {
    let mut driver = always();
    driver.subscribe("b");
    driver.subscribe("a");
    driver.subscribe("c");
    driver.unsubscribe("c");
    driver.publish("m", 1, 0);
    driver.connect(&connect(true), &ACCEPTED);
    assert_eq!(driver.sent(), join([&subscribe(1, "ba"), &publish(0x32, 2, "m")]));
}

#[test]
fn every_connection_renews_also_where_the_broker_kept_the_session() {
    let mut driver = always();
    driver.connect(&connect(false), &ACCEPTED);
    driver.subscribe("a");
    driver.sent();
    driver.feed(&[0x90, 3, 0, 1, 1]);
    for (id, connack) in [(2, RESUMED), (3, ACCEPTED)] {
        assert_eq!(driver.reconnect(false, &connack), subscribe(id, "a"));
        driver.feed(&[0x90, 3, 0, id, 1]);
    }
    driver.happened();
    driver.feed(&[0x90, 3, 0, 3, 1]);
    assert_eq!(driver.happened(), [], "answered already");
}

#[test]
fn what_a_broker_refused_is_asked_for_again() {
    let mut driver = always();
    driver.connect(&connect(true), &ACCEPTED);
    driver.subscribe("a");
    driver.sent();
    driver.feed(&[0x90, 3, 0, 1, 0x80]);
    assert_eq!(driver.reconnect(true, &ACCEPTED), subscribe(2, "a"));
}

#[test]
fn the_answer_to_a_renewal_is_told_without_a_token() {
    let mut driver = always();
    driver.subscribe("a");
    driver.subscribe("b");
    driver.connect(&connect(true), &ACCEPTED);
    driver.sent();
    driver.happened();
    driver.feed(&[0x90, 4, 0, 1, 1, 0x80]);
    let granted = vec![("a".to_owned(), Some(1)), ("b".to_owned(), None)];
    assert_eq!(driver.happened(), [Happened::Subscribed { token: 0, granted }]);
}

#[test]
fn what_was_ended_without_a_connection_is_ended_where_the_broker_kept_it() {
    let mut driver = always();
    driver.connect(&connect(false), &ACCEPTED);
    driver.subscribe("a");
    driver.subscribe("b");
    driver.sent();
    driver.feed(&join([&[0x90, 3, 0, 1, 1], &[0x90, 3, 0, 2, 1]]));
    driver.lose();
    driver.unsubscribe("a");
    driver.connect(&connect(false), &RESUMED);
    assert_eq!(driver.sent(), join([&unsubscribe(3, b'a'), &subscribe(4, "b")]));
    // not answered: asked again
    assert_eq!(driver.reconnect(false, &RESUMED), join([&unsubscribe(5, b'a'), &subscribe(6, "b")]));
    driver.feed(&ack(0xB0, 5));
    assert_eq!(driver.reconnect(false, &RESUMED), subscribe(7, "b"));
    // a new session has nothing to end
    driver.unsubscribe("b");
    driver.sent();
    assert_eq!(driver.reconnect(false, &ACCEPTED), b"");
    assert_eq!(driver.reconnect(false, &RESUMED), b"");
}

#[test]
fn what_is_wanted_again_is_not_ended() {
    let mut driver = always();
    driver.connect(&connect(false), &ACCEPTED);
    driver.subscribe("a");
    driver.sent();
    driver.feed(&[0x90, 3, 0, 1, 1]);
    driver.lose();
    driver.unsubscribe("a");
    driver.subscribe("a");
    driver.connect(&connect(false), &RESUMED);
    assert_eq!(driver.sent(), subscribe(2, "a"));
}
