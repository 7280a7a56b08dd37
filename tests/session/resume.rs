//! From one connection to the next: what is sent again, how, and in which order.

use mqtt::codec::{Connect, Qos, Version};
use mqtt::session::{Config, Keep, Token};

use crate::support::*;

/// Connected, wanting its session kept.
fn persistent() -> Driver {
    Driver::connected_with(Config::default(), &connect(false))
}

const KEPT: Happened = Happened::Connected { session_present: true };
const NEW: Happened = Happened::Connected { session_present: false };

#[test]
fn mqtt_4_4_0_1_unacknowledged_publishes_and_pubrels_are_sent_again_with_their_ids() {
    let mut driver = persistent();
    driver.publish("one", 1, 1);
    driver.publish("two", 2, 2);
    driver.publish("three", 2, 3);
    driver.sent();
    driver.feed(&pubrec(2));
    driver.sent();
    assert_eq!(
        driver.reconnect(false, &RESUMED),
        join([&pubrel(2), &publish(0x3A, 1, "one"), &publish(0x3C, 3, "three")])
    );
    driver.feed(&join([&pubcomp(2), &puback(1), &pubrec(3), &pubcomp(3)]));
    assert_eq!(driver.sent(), pubrel(3));
    assert_eq!(driver.happened(), [KEPT, published(2, 2), published(1, 1), published(3, 3)]);
    assert_eq!((driver.session.pending(), driver.session.ids_in_use()), ((0, 0), 0));
}

#[test]
fn mqtt_3_3_1_1_a_repetition_has_dup_1_and_is_else_the_same() {
    let mut driver = persistent();
    driver.publish("m", 1, 0);
    assert_eq!(driver.sent(), [0x32, 0x06, 0x00, 0x01, b't', 0x00, 0x01, b'm']);
    for _ in 0..3 {
        // PUBLISH: DUP 1, QoS 1; the same id
        assert_eq!(driver.reconnect(false, &RESUMED), [0x3A, 0x06, 0x00, 0x01, b't', 0x00, 0x01, b'm']);
    }
}

#[test]
fn mqtt_3_3_1_1_a_message_of_which_one_byte_was_sent_is_a_repetition() {
    for taken in 0..8 {
        let mut driver = persistent();
        driver.publish("m", 2, 0);
        driver.take(taken);
        let dup = if taken == 0 { 0 } else { 8 };
        assert_eq!(driver.reconnect(false, &RESUMED), publish(0x34 | dup, 1, "m"), "{taken} bytes");
    }
}

#[test]
fn mqtt_3_3_1_1_a_message_of_which_one_byte_may_have_been_sent_is_a_repetition() {
    for begun in [0, 1, 8, 9, 16] {
        let mut driver = persistent();
        driver.publish("m", 1, 0);
        driver.publish("n", 2, 0);
        driver.session.take_transmit(&mut Vec::new());
        driver.session.handle_begun(begun);
        let dup = |from| if begun > from { 8 } else { 0 };
        assert_eq!(
            driver.reconnect(false, &RESUMED),
            join([&publish(0x32 | dup(0), 1, "m"), &publish(0x34 | dup(8), 2, "n")]),
            "{begun} bytes"
        );
    }
}

#[test]
fn mqtt_3_3_1_3_what_never_left_has_dup_0_when_it_is_sent_at_last() {
    let mut driver = persistent();
    driver.publish("a", 1, 0);
    driver.publish("b", 1, 0);
    driver.take(8 + 1); // all of the first, one byte of the second
    driver.publish("c", 1, 0);
    driver.lose();
    driver.connect(&connect(false), &RESUMED);
    // This connection goes before anything is sent on it.
    let sent = driver.reconnect(false, &RESUMED);
    assert_eq!(sent, join([&publish(0x3A, 1, "a"), &publish(0x3A, 2, "b"), &publish(0x32, 3, "c")]));
}

#[test]
fn mqtt_3_3_1_3_an_attempt_that_fails_does_not_make_a_first_send_a_repetition() {
    let mut driver = persistent();
    driver.publish("a", 1, 0);
    driver.lose(); // not a byte of it was taken
    driver.session.connect(&connect(false), None);
    assert_eq!(driver.reconnect(false, &RESUMED), publish(0x32, 1, "a"));
}

#[test]
fn mqtt_3_3_1_1_dup_stays_when_a_repetition_did_not_leave() {
    let mut driver = persistent();
    driver.publish("a", 2, 0);
    driver.sent();
    for _ in 0..2 {
        driver.lose();
        driver.connect(&connect(false), &RESUMED);
        // Nothing of the repetition is taken, but the first send was.
    }
    assert_eq!(driver.reconnect(false, &RESUMED), publish(0x3C, 1, "a"));
}

#[test]
fn mqtt_2_3_1_3_a_packet_that_is_sent_again_keeps_its_id_though_others_have_become_free() {
    let mut driver = persistent();
    for n in 1..=5 {
        driver.publish(&n.to_string(), 1, n);
    }
    driver.sent();
    driver.feed(&join([&puback(1), &puback(3)]));
    driver.publish("6", 1, 6);
    assert_eq!(
        driver.reconnect(false, &RESUMED),
        join([
            &publish(0x3A, 2, "2"),
            &publish(0x3A, 4, "4"),
            &publish(0x3A, 5, "5"),
            &publish(0x32, 6, "6"), // had not been sent
        ])
    );
}

#[test]
fn mqtt_4_6_0_1_repetitions_come_in_the_original_order() {
    let mut driver = persistent();
    let levels = [1, 2, 2, 1, 2, 1];
    for (n, level) in (1..).zip(levels) {
        driver.publish(&n.to_string(), level, n);
    }
    driver.sent();
    let expected: Vec<u8> =
        (1..).zip(levels).flat_map(|(n, level)| publish(0x38 | level << 1, n, &n.to_string())).collect();
    for _ in 0..3 {
        assert_eq!(driver.reconnect(false, &RESUMED), expected);
    }
}

#[test]
fn mqtt_4_6_0_4_pubrels_are_repeated_in_the_order_of_the_pubrecs() {
    let mut driver = persistent();
    for n in 1..=4 {
        driver.publish("x", 2, n);
    }
    driver.sent();
    driver.feed(&join([&pubrec(4), &pubrec(2), &pubrec(3)]));
    driver.sent();
    let expected = join([&pubrel(4), &pubrel(2), &pubrel(3), &publish(0x3C, 1, "x")]);
    assert_eq!(driver.reconnect(false, &RESUMED), expected);
    driver.feed(&pubcomp(2));
    let expected = join([&pubrel(4), &pubrel(3), &publish(0x3C, 1, "x")]);
    assert_eq!(driver.reconnect(false, &RESUMED), expected);
}

#[test]
fn mqtt_4_6_0_4_a_repeated_pubrec_does_not_change_the_order() {
    let mut driver = persistent();
    driver.publish("x", 2, 1);
    driver.publish("x", 2, 2);
    driver.sent();
    driver.feed(&join([&pubrec(1), &pubrec(2), &pubrec(1)]));
    driver.sent();
    assert_eq!(driver.reconnect(false, &RESUMED), join([&pubrel(1), &pubrel(2)]));
}

#[test]
fn mqtt_4_3_3_1_after_pubrec_the_publish_is_never_sent_again() {
    let mut driver = persistent();
    driver.publish("x", 2, 1);
    driver.sent();
    driver.feed(&pubrec(1)); // its PUBREL does not leave
    for _ in 0..3 {
        assert_eq!(driver.reconnect(false, &RESUMED), pubrel(1));
    }
    assert_eq!(driver.session.pending(), (1, 0), "the packet itself is not kept any longer");
    driver.feed(&pubcomp(1));
    assert_eq!(driver.session.pending(), (0, 0));
}

#[test]
fn an_answer_to_what_has_not_been_sent_again_yet_counts() {
    let mut driver = Driver::connected_with(window(1), &connect(false));
    driver.publish("a", 1, 1);
    driver.publish("b", 2, 2);
    driver.sent();
    driver.feed(&puback(1));
    driver.publish("c", 1, 3);
    driver.sent();
    // After the reconnect `b` goes again and `c` waits.
    assert_eq!(driver.reconnect(false, &RESUMED), publish(0x3C, 2, "b"));
    driver.feed(&pubrec(2));
    driver.sent();
    assert_eq!(driver.reconnect(false, &RESUMED), pubrel(2));
    driver.feed(&pubcomp(2));
    assert_eq!(driver.sent(), publish(0x32, 3, "c"));
    driver.feed(&puback(3));
    assert_eq!(driver.happened(), [published(1, 1), KEPT, KEPT, published(2, 2), published(3, 3)]);
    assert_eq!((driver.session.pending(), driver.session.ids_in_use()), ((0, 0), 0));
}

#[test]
fn answers_that_overtake_the_repetitions_are_counted_well() {
    let mut driver = Driver::connected_with(window(3), &connect(false));
    // So large that what is behind it waits until the socket has taken it.
    driver.session.publish("t", &[b'x'; 2 << 20], Qos::AtLeastOnce, false, Token(1)).expect("room");
    driver.sent();
    driver.publish("b", 2, 2);
    driver.publish("c", 1, 3);
    driver.sent();
    driver.lose();
    driver.connect(&connect(false), &RESUMED);
    assert_eq!(packets(driver.session.transmit()).len(), 1);
    driver.feed(&join([&pubrec(2), &puback(3), &pubcomp(2), &puback(1)]));
    assert_eq!(driver.happened(), [KEPT, published(3, 3), published(2, 2), published(1, 1)]);
    assert_eq!((driver.session.pending(), driver.session.ids_in_use()), ((0, 0), 0));
    driver.sent();
    // The window is whole again.
    for n in 4..=8 {
        driver.publish("x", 1, n);
    }
    assert_eq!(packets(&driver.sent()).len(), 3);
}

#[test]
fn an_answer_to_a_waiting_repetition_does_not_widen_the_window() {
    let mut driver = Driver::connected_with(window(3), &connect(false));
    driver.session.publish("t", &[b'x'; 2 << 20], Qos::AtLeastOnce, false, Token(1)).expect("room");
    driver.sent();
    driver.publish("b", 1, 2);
    driver.publish("c", 1, 3);
    driver.sent();
    driver.lose();
    driver.connect(&connect(false), &RESUMED);
    driver.feed(&puback(3)); // waits behind the large one
    for n in 4..=8 {
        driver.publish("x", 1, n);
    }
    assert_eq!(packets(&driver.sent()).len(), 3);
}

#[test]
fn mqtt_3_1_2_4_without_clean_session_the_state_outlives_the_connection() {
    let mut driver = persistent();
    driver.publish("ours", 2, 1);
    driver.sent();
    driver.feed(&publish(0x34, 9, "theirs"));
    driver.lose();
    assert_eq!((driver.session.pending().0, driver.session.ids_in_use()), (1, 1));
    driver.connect(&connect(false), &RESUMED);
    assert_eq!(driver.sent(), publish(0x3C, 1, "ours"));
    driver.feed(&publish(0x3C, 9, "theirs")); // the broker did not get our PUBREC
    assert_eq!(driver.sent(), pubrec(9));
    assert_eq!(driver.happened(), [message("theirs", 2), KEPT], "delivered once");
    driver.feed(&pubrel(9));
    assert_eq!(driver.sent(), pubcomp(9));
}

#[test]
fn mqtt_4_1_0_1_the_state_lives_as_long_as_the_session_through_failed_attempts() {
    let mut driver = persistent();
    driver.publish("x", 1, 1);
    driver.sent();
    for answer in [&[][..], &[0x20, 0x02, 0x00, 0x03]] {
        driver.lose();
        driver.session.connect(&connect(false), None);
        driver.sent();
        _ = driver.session.handle_input(driver.now, answer);
    }
    assert_eq!(driver.reconnect(false, &RESUMED), publish(0x3A, 1, "x"));
}

#[test]
fn mqtt_3_1_2_6_a_clean_session_reuses_nothing_of_the_old_one() {
    let mut driver = Driver::connected();
    driver.publish("sent", 1, 1);
    driver.publish("released", 2, 2);
    driver.publish("sent too", 2, 3);
    driver.sent();
    driver.feed(&pubrec(2));
    driver.feed(&publish(0x34, 9, "theirs"));
    driver.happened();
    // Kept for the next connection, whose session is new: other ids, DUP 0, no PUBREL.
    assert_eq!(
        driver.reconnect(true, &ACCEPTED),
        join([&publish(0x32, 4, "sent"), &publish(0x34, 5, "sent too")])
    );
    driver.feed(&publish(0x34, 9, "another"));
    assert_eq!(
        driver.happened(),
        [NEW, published(2, 2), message("another", 2)],
        "what had its PUBREC has arrived and is done; QoS 2 ids of before mean nothing"
    );
    assert_eq!(driver.sent(), pubrec(9));
    driver.feed(&join([&puback(1), &pubrec(3), &pubcomp(3)]));
    assert_eq!(driver.happened(), [], "answers to old ids answer nothing");
}

#[test]
fn mqtt_3_1_2_6_nothing_is_repeated_when_nothing_was_to_be_kept() {
    let mut driver = Driver::connected();
    driver.publish("a", 1, 1);
    driver.publish("b", 2, 2);
    driver.publish("c", 2, 0);
    driver.sent();
    driver.feed(&pubrec(2));
    driver.session.handle_closed(Keep::Nothing);
    assert_eq!(driver.happened(), [dropped(2), dropped(1)]);
    assert_eq!((driver.session.pending(), driver.session.ids_in_use()), ((0, 0), 0));
    assert_eq!(driver.session.stats().dropped, 3);
    driver.connect(&connect(true), &ACCEPTED);
    assert_eq!((driver.sent(), driver.happened()), (vec![], vec![NEW]));
}

#[test]
fn a_broker_that_lost_the_session_gets_everything_anew() {
    let mut driver = persistent();
    driver.publish("a", 1, 1);
    driver.publish("b", 2, 2);
    driver.sent();
    driver.feed(&pubrec(2));
    assert_eq!(driver.reconnect(false, &ACCEPTED), publish(0x32, 3, "a"));
    assert_eq!(driver.happened(), [NEW, published(2, 2)]);
    assert_eq!(driver.session.ids_in_use(), 1);
}

#[test]
fn a_session_that_the_broker_lost_is_repeated_as_usual_when_it_is_kept_the_next_time() {
    let mut driver = persistent();
    driver.publish("a", 1, 1);
    driver.sent();
    assert_eq!(driver.reconnect(false, &ACCEPTED), publish(0x32, 2, "a"));
    assert_eq!(driver.reconnect(false, &RESUMED), publish(0x3A, 2, "a"));
}

#[test]
fn in_mqtt_3_1_a_session_that_is_not_clean_counts_as_kept() {
    // CONNACK of MQTT 3.1 has no session-present flag.
    let v31 = Connect { version: Version::V31, ..connect(false) };
    let mut driver = Driver::connected_with(Config::default(), &v31);
    driver.publish("a", 1, 1);
    driver.publish("b", 2, 2);
    driver.sent();
    driver.feed(&pubrec(2));
    driver.feed(&publish(0x34, 9, "theirs"));
    driver.sent();
    driver.lose();
    driver.connect(&v31, &ACCEPTED);
    assert_eq!(driver.sent(), join([&pubrel(2), &publish(0x3A, 1, "a")]));
    driver.feed(&publish(0x3C, 9, "theirs"));
    assert_eq!(driver.happened(), [message("theirs", 2), NEW]);
    driver.lose();
    driver.connect(&Connect { clean_session: true, ..v31 }, &ACCEPTED);
    assert_eq!(driver.sent(), publish(0x32, 3, "a"));
}

#[test]
fn qos_0_is_never_sent_again() {
    let mut driver = persistent();
    driver.publish("gone", 0, 1);
    driver.publish("half", 0, 2);
    driver.publish("waits", 0, 3);
    driver.publish("nobody asks", 0, 0);
    driver.take(7 + 3);
    assert_eq!(driver.reconnect(false, &RESUMED), b"");
    assert_eq!(driver.happened(), [written(1), dropped(2), dropped(3), KEPT]);
    assert_eq!((driver.session.stats().dropped, driver.session.pending()), (3, (0, 0)));
}

#[test]
fn the_offline_queue_is_sent_in_order_behind_what_was_in_flight() {
    let mut driver = Driver::connected_with(window(3), &connect(false));
    driver.session.set_offline_queue(true);
    driver.publish("1", 1, 0);
    driver.publish("2", 2, 0);
    driver.sent();
    driver.lose();
    for n in 3..=6 {
        driver.publish(&n.to_string(), 1 + n as u8 % 2, 0);
    }
    assert!(driver.try_publish("q0", 0, 0).is_err(), "QoS 0 is not kept");
    driver.connect(&connect(false), &RESUMED);
    assert_eq!(
        driver.sent(),
        join([&publish(0x3A, 1, "1"), &publish(0x3C, 2, "2"), &publish(0x34, 3, "3")]),
        "as many as the window allows"
    );
    driver.feed(&puback(1));
    assert_eq!(driver.sent(), publish(0x32, 4, "4"));
    driver.feed(&pubrec(2));
    assert_eq!(driver.sent(), pubrel(2), "a released message is still under way");
    driver.feed(&pubcomp(2));
    assert_eq!(driver.sent(), publish(0x34, 5, "5"));
    driver.feed(&puback(4));
    assert_eq!(driver.sent(), publish(0x32, 6, "6"));
}

#[test]
fn released_messages_count_against_the_window_after_a_reconnect() {
    let mut driver = Driver::connected_with(window(2), &connect(false));
    for n in 1..=4 {
        driver.publish(&n.to_string(), 2, n);
    }
    driver.sent();
    driver.feed(&join([&pubrec(1), &pubrec(2)]));
    driver.sent();
    assert_eq!(driver.reconnect(false, &RESUMED), join([&pubrel(1), &pubrel(2)]));
    driver.feed(&pubcomp(1));
    assert_eq!(driver.sent(), publish(0x34, 3, "3"));
}

#[test]
fn without_an_offline_queue_nothing_is_accepted_while_away() {
    let mut driver = persistent();
    driver.publish("kept", 1, 1);
    driver.lose();
    assert!(driver.try_publish("x", 1, 0).is_err());
    driver.connect(&connect(false), &RESUMED);
    assert_eq!(driver.sent(), publish(0x32, 1, "kept"), "accepted before, and never sent");
}
