//! `max_qos`: messages and subscriptions go out no higher, whatever was asked for.

use mqtt::codec::Qos;
use mqtt::session::{Config, Limits, Refused, Resubscribe, Token};

use crate::support::*;

fn limits(max_qos: Qos) -> Limits {
    Limits { max_qos, ..Limits::default() }
}

fn lowered(max_qos: Qos) -> Driver {
    let config = Config { limits: limits(max_qos), resubscribe: Resubscribe::Always, keep_messages: true };
    Driver::connected_with(config, &connect(true))
}

#[test]
fn what_is_published_higher_goes_out_at_the_limit() {
    let mut driver = lowered(Qos::AtLeastOnce);
    driver.publish("0", 0, 0);
    driver.publish("1", 1, 0);
    driver.publish("2", 2, 0);
    assert_eq!(driver.sent(), join([&publish(0x30, 0, "0"), &publish(0x32, 1, "1"), &publish(0x32, 2, "2")]));
    driver.feed(&puback(2));
    assert_eq!(driver.happened(), [written(0), published(2, 0)]);
    driver.session.set_limits(limits(Qos::AtMostOnce));
    driver.publish("2", 2, 7);
    assert_eq!(driver.sent(), publish(0x30, 0, "2"));
    assert_eq!(driver.happened(), [written(7)]);
}

#[test]
fn at_qos_0_nothing_is_kept_for_later() {
    let mut driver = lowered(Qos::AtMostOnce);
    driver.lose();
    assert_eq!(driver.try_publish("2", 2, 0), Err(Refused::NotConnected));
}

#[test]
fn subscriptions_are_lowered_also_when_they_are_renewed() {
    let mut driver = lowered(Qos::AtLeastOnce);
    driver.session.subscribe(&[("a", qos(2)), ("b", qos(0))], Token::NONE).expect("accepted");
    assert_eq!(driver.sent(), [0x82, 10, 0, 1, 0, 1, b'a', 1, 0, 1, b'b', 0]);
    driver.session.set_limits(limits(Qos::AtMostOnce));
    assert_eq!(driver.reconnect(true, &ACCEPTED), [0x82, 10, 0, 2, 0, 1, b'a', 0, 0, 1, b'b', 0]);
    driver.session.set_limits(limits(Qos::ExactlyOnce));
    assert_eq!(driver.reconnect(true, &ACCEPTED), [0x82, 10, 0, 3, 0, 1, b'a', 2, 0, 1, b'b', 0]);
}

#[test]
fn messages_that_waited_are_lowered_when_they_go_out() {
    for (max_qos, expected) in [
        (Qos::AtLeastOnce, join([&publish(0x33, 1, "2"), &publish(0x32, 2, "1")])),
        (Qos::AtMostOnce, join([&publish(0x31, 0, "2"), &publish(0x30, 0, "1")])),
    ] {
        let mut driver = lowered(Qos::ExactlyOnce);
        driver.lose();
        driver.session.publish_with_id("t", b"2", Qos::ExactlyOnce, true, Token(8)).expect("accepted");
        driver.session.publish("t", b"1", Qos::AtLeastOnce, false, Token(9)).expect("accepted");
        driver.session.set_limits(limits(max_qos));
        driver.connect(&connect(true), &ACCEPTED);
        assert_eq!(driver.sent(), expected);
        driver.happened();
        if max_qos == Qos::AtMostOnce {
            assert_eq!((driver.session.pending(), driver.session.ids_in_use()), ((0, 0), 0));
        } else {
            driver.feed(&join([&puback(1), &puback(2)]));
            assert_eq!(driver.happened(), [published(1, 8), published(2, 9)]);
        }
    }
}

#[test]
fn a_lowered_message_is_done_when_it_is_written() {
    let mut driver = lowered(Qos::ExactlyOnce);
    driver.lose();
    driver.publish("2", 2, 5);
    driver.session.set_limits(limits(Qos::AtMostOnce));
    driver.connect(&connect(true), &ACCEPTED);
    driver.happened();
    driver.take(5);
    assert_eq!(driver.happened(), []);
    assert_eq!(driver.session.pending(), (1, 6));
    driver.take(1);
    assert_eq!(driver.happened(), [written(5)]);
    assert_eq!(driver.session.pending(), (0, 0));
}

#[test]
fn mqtt_4_3_3_1_a_repetition_keeps_the_qos_that_the_broker_has_seen() {
    let mut driver = lowered(Qos::ExactlyOnce);
    driver.publish("2", 2, 0);
    driver.sent();
    driver.session.set_limits(limits(Qos::AtMostOnce));
    assert_eq!(driver.reconnect(false, &RESUMED), publish(0x3C, 1, "2"));
}
