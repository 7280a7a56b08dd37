//! SUBSCRIBE, UNSUBSCRIBE, and renewing subscriptions.

use mqtt::session::{Config, Error, Keep, Resubscribe, Token};

use crate::support::*;

fn subscribed<const N: usize>(token: u32, granted: [(&str, Option<u8>); N]) -> Happened {
    Happened::Subscribed { token, granted: granted.map(|(filter, qos)| (filter.to_owned(), qos)).to_vec() }
}

/// A session that renews subscriptions, connected.
fn renewing(clean_session: bool) -> Driver {
    Driver::connected_with(
        Config { resubscribe: Resubscribe::NewSession, ..Config::default() },
        &connect(clean_session),
    )
}

#[test]
fn mqtt_3_8_1_1_and_mqtt_3_8_3_4_subscribe_is_82_with_a_qos_after_each_filter() {
    let mut driver = Driver::connected();
    driver.session.subscribe(&[("a/+", qos(1)), ("#", qos(2)), ("b", qos(0))], Token(1)).expect("connected");
    assert_eq!(
        driver.sent(),
        [
            0x82, 0x10, // SUBSCRIBE with its fixed flags; 16 bytes follow
            0x00, 0x01, // packet id
            0x00, 0x03, b'a', b'/', b'+', 0x01, // filter, QoS
            0x00, 0x01, b'#', 0x02, //
            0x00, 0x01, b'b', 0x00, //
        ]
    );
}

#[test]
fn mqtt_3_9_3_1_and_mqtt_3_9_3_2_suback_codes_belong_to_the_filters_in_their_order() {
    let mut driver = Driver::connected();
    driver
        .session
        .subscribe(&[("a", qos(2)), ("b", qos(2)), ("c", qos(0)), ("d", qos(1))], Token(9))
        .expect("connected");
    driver.sent();
    driver.feed(&[
        0x90, 0x06, // SUBACK, 6 bytes follow
        0x00, 0x01, // packet id
        0x02, 0x80, 0x00, 0x01, // QoS 2, refused, QoS 0, QoS 1
    ]);
    let expected = [("a", Some(2)), ("b", None), ("c", Some(0)), ("d", Some(1))];
    assert_eq!(driver.happened(), [subscribed(9, expected)]);
}

#[test]
fn mqtt_3_9_3_1_another_number_of_codes_than_filters_is_a_violation() {
    for codes in [1, 3] {
        let mut driver = Driver::connected();
        driver.session.subscribe(&[("a", qos(0)), ("b", qos(0))], Token(9)).expect("connected");
        driver.sent();
        let mut suback = vec![0x90, 2 + codes, 0x00, 0x01];
        suback.extend(vec![0; codes.into()]);
        let error = driver.feed_wrong(&suback);
        assert_eq!(error, Error::SubackCount { asked: 2, got: codes.into() });
        assert!(error.to_string().contains("[MQTT-3.9.3-1]"));
        driver.lose();
        assert_eq!(driver.happened(), [dropped(9)]);
    }
}

#[test]
fn mqtt_3_10_1_1_unsubscribe_is_a2() {
    let mut driver = Driver::connected();
    driver.session.unsubscribe(&["a/+", "#"], Token(4)).expect("connected");
    assert_eq!(
        driver.sent(),
        [
            0xA2, 0x0A, // UNSUBSCRIBE with its fixed flags; 10 bytes follow
            0x00, 0x01, // packet id
            0x00, 0x03, b'a', b'/', b'+', // filter
            0x00, 0x01, b'#', //
        ]
    );
    driver.feed(&ack(0xB0, 1));
    assert_eq!(driver.happened(), [Happened::Unsubscribed { token: 4 }]);
}

#[test]
fn each_request_gets_its_own_answer_whatever_their_order() {
    let mut driver = Driver::connected();
    driver.session.subscribe(&[("a", qos(0))], Token(1)).expect("connected");
    driver.session.unsubscribe(&["a"], Token(2)).expect("connected");
    driver.session.subscribe(&[("b", qos(1))], Token(3)).expect("connected");
    driver.sent();
    driver.feed(&[0x90, 0x03, 0x00, 0x03, 0x01]);
    driver.feed(&ack(0xB0, 2));
    driver.feed(&[0x90, 0x03, 0x00, 0x01, 0x00]);
    assert_eq!(
        driver.happened(),
        [
            subscribed(3, [("b", Some(1))]),
            Happened::Unsubscribed { token: 2 },
            subscribed(1, [("a", Some(0))]),
        ]
    );
}

#[test]
fn an_answer_of_the_other_kind_answers_nothing() {
    let mut driver = Driver::connected();
    driver.session.subscribe(&[("a", qos(0))], Token(1)).expect("connected");
    driver.session.unsubscribe(&["b"], Token(2)).expect("connected");
    driver.sent();
    driver.feed(&ack(0xB0, 1));
    driver.feed(&[0x90, 0x03, 0x00, 0x02, 0x00]);
    driver.feed(&join([&puback(1), &pubcomp(2)]));
    assert_eq!((driver.happened(), driver.session.ids_in_use()), (vec![], 2));
}

#[test]
fn requests_without_their_answer_are_dropped_when_the_connection_ends() {
    for keep in [Keep::Session, Keep::Nothing] {
        let mut driver = Driver::connected_with(Config::default(), &connect(false));
        driver.session.subscribe(&[("a", qos(0))], Token(1)).expect("connected");
        driver.session.subscribe(&[("b", qos(0))], Token::NONE).expect("connected");
        driver.session.unsubscribe(&["c"], Token(3)).expect("connected");
        driver.session.handle_closed(keep);
        assert_eq!(driver.happened(), [dropped(1), dropped(3)], "of those somebody waits for");
        assert_eq!(driver.session.ids_in_use(), 0);
        driver.connect(&connect(false), &RESUMED);
        assert_eq!(driver.sent(), b"", "requests are not repeated");
    }
}

#[test]
fn a_suback_that_comes_after_the_reconnect_answers_nothing() {
    let mut driver = Driver::connected_with(Config::default(), &connect(false));
    driver.session.subscribe(&[("a", qos(0))], Token(1)).expect("connected");
    driver.reconnect(false, &RESUMED);
    driver.happened();
    driver.feed(&[0x90, 0x03, 0x00, 0x01, 0x00]);
    assert_eq!(driver.happened(), []);
}

#[test]
fn subscriptions_are_renewed_when_the_broker_did_not_keep_them() {
    let mut driver = renewing(true);
    driver.session.subscribe(&[("b", qos(1)), ("a", qos(0))], Token(1)).expect("connected");
    driver.session.subscribe(&[("no", qos(2))], Token(2)).expect("connected");
    driver.session.subscribe(&[("gone", qos(2))], Token(3)).expect("connected");
    driver.session.unsubscribe(&["gone"], Token(4)).expect("connected");
    driver.session.subscribe(&[("b", qos(2))], Token(5)).expect("connected");
    driver.sent();
    driver.feed(&[0x90, 0x04, 0x00, 0x01, 0x01, 0x00]); // SUBACK 1: both granted
    driver.feed(&[0x90, 0x03, 0x00, 0x02, 0x80]); // SUBACK 2: refused
    driver.feed(&[0x90, 0x03, 0x00, 0x03, 0x02]); // SUBACK 3
    driver.feed(&[0xB0, 0x02, 0x00, 0x04]); // UNSUBACK 4
    driver.feed(&[0x90, 0x03, 0x00, 0x05, 0x02]); // SUBACK 5
    driver.happened();
    assert_eq!(
        driver.reconnect(true, &ACCEPTED),
        [
            0x82, 0x0A, 0x00, 0x06, // SUBSCRIBE 6
            0x00, 0x01, b'b', 0x02, // with its last QoS, in its first place
            0x00, 0x01, b'a', 0x00, //
        ]
    );
    driver.feed(&[0x90, 0x04, 0x00, 0x06, 0x02, 0x00]);
    assert_eq!(
        driver.happened(),
        [Happened::Connected { session_present: false }, subscribed(0, [("b", Some(2)), ("a", Some(0))])]
    );
}

#[test]
fn subscriptions_are_not_renewed_when_the_broker_kept_them() {
    let mut driver = renewing(false);
    driver.session.subscribe(&[("a", qos(1))], Token(1)).expect("connected");
    driver.sent();
    driver.feed(&[0x90, 0x03, 0x00, 0x01, 0x01]);
    assert_eq!(driver.reconnect(false, &RESUMED), b"");
}

#[test]
fn a_subscribe_that_was_cut_off_is_renewed_even_when_the_broker_kept_the_session() {
    let mut driver = renewing(false);
    driver.session.subscribe(&[("had", qos(1)), ("more", qos(0))], Token(1)).expect("connected");
    driver.sent();
    driver.feed(&[0x90, 0x04, 0x00, 0x01, 0x01, 0x00]);
    driver.session.subscribe(&[("lost", qos(1)), ("more", qos(2))], Token(2)).expect("connected");
    assert_eq!(
        driver.reconnect(false, &RESUMED),
        [
            0x82, 0x10, 0x00, 0x03, // SUBSCRIBE 3
            0x00, 0x04, b'm', b'o', b'r', b'e', 0x02, // asked for before `lost`
            0x00, 0x04, b'l', b'o', b's', b't', 0x01, //
        ]
    );
}

#[test]
fn the_last_call_for_a_filter_counts_while_its_answer_is_to_come() {
    // SUBACK for the first of two calls: granted, refused.
    for code in [0x00, 0x80] {
        let mut driver = renewing(false);
        driver.session.subscribe(&[("a", qos(0))], Token(1)).expect("connected");
        driver.session.subscribe(&[("a", qos(1))], Token(2)).expect("connected");
        driver.sent();
        driver.feed(&[0x90, 0x03, 0x00, 0x01, code]);
        // SUBSCRIBE 3: topic a, QoS 1
        assert_eq!(driver.reconnect(false, &RESUMED), [0x82, 0x06, 0x00, 0x03, 0x00, 0x01, b'a', 0x01]);
    }
}

#[test]
fn without_the_wish_nothing_is_renewed() {
    let mut driver = Driver::connected();
    driver.session.subscribe(&[("a", qos(1))], Token(1)).expect("connected");
    driver.sent();
    assert_eq!(driver.reconnect(true, &ACCEPTED), b"");
}

#[test]
fn many_subscriptions_are_renewed_in_packets_that_every_broker_takes() {
    let mut driver = renewing(true);
    let names: Vec<String> = (0..20).map(|n| format!("topic/{n}")).collect();
    let filters: Vec<_> = names.iter().map(|name| (name.as_str(), qos(0))).collect();
    driver.session.subscribe(&filters, Token(1)).expect("connected");
    let sent = packets(&driver.reconnect(true, &ACCEPTED));
    let counts: Vec<usize> =
        sent.iter().map(|(_, body)| body.windows(6).filter(|bytes| *bytes == b"topic/").count()).collect();
    assert_eq!(counts, [8, 8, 4]);
}

#[test]
fn renewed_subscriptions_come_before_waiting_messages() {
    let mut driver = renewing(true);
    driver.session.subscribe(&[("a", qos(0))], Token(1)).expect("connected");
    driver.publish("x", 1, 0);
    driver.sent();
    let sent = packets(&driver.reconnect(true, &ACCEPTED));
    assert_eq!(sent.iter().map(|(first, _)| *first).collect::<Vec<_>>(), [0x82, 0x32]);
}
