//! The end in good order.

use mqtt::codec::Connect;
use mqtt::session::{Config, Keep, Refused, Token};

use crate::support::*;

#[test]
fn mqtt_3_14_1_1_disconnect_is_e0_00() {
    let mut driver = Driver::connected();
    driver.session.disconnect();
    assert_eq!(driver.sent(), [0xE0, 0x00]);
    assert!(!driver.session.is_connected());
}

#[test]
fn mqtt_3_14_4_2_nothing_is_sent_after_disconnect() {
    let mut driver = Driver::connected_with(window(1), &connect(false));
    driver.session.set_offline_queue(true);
    driver.publish("under way", 2, 1);
    driver.publish("waits for the window", 1, 2);
    driver.publish("unsent", 0, 3);
    driver.session.disconnect();
    for level in 0..3 {
        assert_eq!(driver.try_publish("late", level, 0), Err(Refused::NotConnected));
    }
    assert_eq!(driver.session.subscribe(&[("a", qos(0))], Token(4)), Err(Refused::NotConnected));
    assert_eq!(driver.session.unsubscribe(&["a"], Token(5)), Err(Refused::NotConnected));
    driver.session.disconnect();
    // What would be answered by PUBREL, PUBCOMP, PUBACK, PUBREC, and what would open the window.
    driver.feed(&join([&pubrec(1), &pubrel(7), &publish(0x32, 8, "m"), &publish(0x34, 9, "m"), &pubcomp(1)]));
    let sent = driver.sent();
    assert_eq!(
        sent,
        join([&publish(0x34, 1, "under way"), &publish(0x30, 0, "unsent"), &DISCONNECT]),
        "DISCONNECT behind what was unsent, and nothing after it"
    );
    assert_eq!(driver.pass(1e6), Ok(vec![]), "no PINGREQ either");
    assert_eq!(driver.happened(), [written(3)], "and what came is not looked at");
}

#[test]
fn mqtt_3_14_4_2_partial_writes_do_not_change_that() {
    let mut driver = Driver::connected_with(window(1), &connect(true));
    for _ in 0..3 {
        driver.publish("x", 1, 0);
    }
    driver.session.disconnect();
    let mut sent = Vec::new();
    while driver.session.unsent() > 0 {
        sent.extend(driver.take(1));
        driver.feed(&puback(1));
    }
    assert_eq!(sent, join([&publish(0x32, 1, "x"), &DISCONNECT]));
}

#[test]
fn mqtt_3_14_4_1_what_comes_after_disconnect_is_not_even_read_for_errors() {
    // The driver closes the connection in any case; that the broker babbles must not turn a goodbye into a failure.
    let mut driver = Driver::connected();
    driver.session.disconnect();
    driver.feed(&[0xFF; 100]);
    driver.feed(&ACCEPTED);
    assert_eq!(driver.sent(), DISCONNECT);
    assert_eq!(driver.happened(), []);
}

#[test]
fn what_was_unacknowledged_at_a_goodbye_is_kept_for_the_next_connection() {
    let mut driver = Driver::connected_with(Config::default(), &connect(false));
    driver.publish("x", 1, 1);
    driver.session.disconnect();
    driver.sent();
    assert_eq!(driver.reconnect(false, &RESUMED), publish(0x3A, 1, "x"));
}

#[test]
fn or_dropped_with_a_clean_session() {
    let mut driver = Driver::connected();
    driver.publish("x", 1, 1);
    driver.session.disconnect();
    driver.sent();
    driver.session.handle_closed(Keep::Nothing);
    assert_eq!(driver.happened(), [dropped(1)]);
    driver.connect(&connect(true), &ACCEPTED);
    assert_eq!(driver.sent(), b"");
}

#[test]
fn without_a_connection_there_is_nothing_to_say() {
    let mut driver = Driver::new(Config::default());
    driver.session.disconnect();
    assert_eq!(driver.sent(), b"");
    driver.session.connect(&connect(true), None);
    let connect = driver.sent();
    driver.session.disconnect();
    assert_eq!((connect[0], driver.sent()), (0x10, vec![]), "not accepted yet: just close");
}

#[test]
fn more_may_come_over_a_connection_when_the_broker_was_asked_for_something_or_has_sent_a_message() {
    let case = |clean_session, happens: &dyn Fn(&mut Driver)| {
        let mut driver = Driver::connected_with(Config::default(), &connect(clean_session));
        happens(&mut driver);
        driver.session.may_receive()
    };
    let acknowledged = |driver: &mut Driver| {
        driver.publish("x", 0, 0);
        driver.publish("x", 1, 0);
        driver.sent();
        driver.feed(&puback(1));
    };
    assert!(!case(true, &|_| {}));
    assert!(!case(true, &acknowledged));
    assert!(case(false, &|_| {}), "the session may have subscriptions");
    assert!(case(true, &|driver| driver.publish("x", 1, 0)));
    assert!(case(true, &|driver| driver.feed(&publish(0x30, 0, "m"))), "some brokers subscribe for us");
    let subscribed = |driver: &mut Driver| driver.session.subscribe(&[("a", qos(0))], Token(4)).unwrap();
    assert!(case(true, &subscribed));
    assert!(case(true, &|driver| {
        subscribed(driver);
        driver.sent();
        driver.feed(&[0x90, 3, 0, 1, 0]); // SUBACK
    }));
    assert!(case(true, &|driver| driver.feed(&publish(0x30, 0, "half of it")[..5])));
    let mut driver = Driver::connected_with(Config::default(), &Connect { keep_alive: 10, ..connect(true) });
    driver.publish("x", 1, 0);
    driver.sent();
    driver.pass(11.0).unwrap();
    driver.feed(&puback(1)); // which proves that the broker lives, but is not the answer to PINGREQ
    assert!(driver.session.may_receive(), "PINGRESP");
    driver.feed(&PINGRESP);
    assert!(!driver.session.may_receive());
    driver.session.subscribe(&[("a", qos(0))], Token(4)).unwrap();
    driver.session.handle_closed(Keep::Nothing);
    driver.connect(&connect(true), &ACCEPTED);
    assert!(!driver.session.may_receive(), "another session");
}
