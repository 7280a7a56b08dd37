//! How bytes leave: partial writes, and a writer that takes the buffer away.

use mqtt::session::{Config, Keep, Token};

use crate::support::*;

#[test]
fn qos_0_is_done_exactly_when_the_system_has_taken_its_last_byte() {
    let mut driver = Driver::connected();
    driver.publish("a", 0, 1); // 6 bytes
    driver.publish("bc", 0, 2); // 7 bytes
    for n in 1..=13 {
        driver.take(1);
        let expected = match n {
            6 => vec![written(1)],
            13 => vec![written(2)],
            _ => vec![],
        };
        assert_eq!(driver.happened(), expected, "after {n} bytes");
    }
    assert_eq!(driver.session.unsent(), 0);
}

#[test]
fn several_messages_may_be_done_by_one_write() {
    let mut driver = Driver::connected();
    for token in 1..=3 {
        driver.publish("x", 0, token);
    }
    driver.take(5);
    driver.take(13);
    assert_eq!(driver.happened(), [written(1), written(2), written(3)]);
}

#[test]
fn a_taken_buffer_is_written_without_the_session_at_hand() {
    let mut driver = Driver::connected();
    driver.publish("a", 0, 1);
    driver.take(2);
    let mut buffer = Vec::new();
    driver.session.take_transmit(&mut buffer);
    assert_eq!(buffer, publish(0x30, 0, "a")[2..], "what is left");
    assert!(driver.session.is_transmitting());
    driver.publish("b", 0, 2);
    assert_eq!((driver.session.transmit(), driver.session.unsent()), (&[][..], 4 + 6));
    driver.session.handle_transmitted(driver.now, 3);
    assert!(driver.session.is_transmitting());
    assert_eq!(driver.happened(), []);
    driver.session.handle_transmitted(driver.now, 1);
    assert!(!driver.session.is_transmitting());
    assert_eq!(driver.happened(), [written(1)]);
    assert_eq!(driver.session.transmit(), publish(0x30, 0, "b"), "behind what was taken");
    buffer.clear();
    driver.session.take_transmit(&mut buffer);
    assert_eq!(buffer, publish(0x30, 0, "b"));
    driver.session.handle_transmitted(driver.now, 6);
    assert_eq!(driver.happened(), [written(2)]);
}

#[test]
fn taking_nothing_is_nothing() {
    let mut driver = Driver::connected();
    let mut buffer = Vec::new();
    driver.session.take_transmit(&mut buffer);
    assert!(buffer.is_empty() && !driver.session.is_transmitting());
    driver.session.handle_transmitted(driver.now, 0);
    driver.publish("a", 0, 1);
    assert_eq!(driver.sent(), publish(0x30, 0, "a"));
}

#[test]
fn a_buffer_that_was_taken_when_the_connection_broke_is_forgotten() {
    let mut driver = Driver::connected_with(Config::default(), &connect(false));
    driver.publish("a", 0, 1);
    driver.publish("b", 1, 2);
    let mut buffer = Vec::new();
    driver.session.take_transmit(&mut buffer);
    driver.session.handle_transmitted(driver.now, 6 + 2);
    driver.publish("c", 0, 3);
    driver.lose();
    assert_eq!((driver.session.unsent(), driver.session.is_transmitting()), (0, false));
    assert_eq!(driver.happened(), [written(1), dropped(3)]);
    driver.session.handle_transmitted(driver.now, 3); // a report that comes too late
    driver.connect(&connect(false), &RESUMED);
    assert_eq!(driver.sent(), publish(0x3A, 1, "b"));
}

#[test]
fn a_large_message_that_was_unsent_when_the_connection_broke_is_sent_on_the_next() {
    let mut driver = Driver::connected_with(Config::default(), &connect(false));
    for _ in 0..3 {
        driver.session.publish("t", &[b'x'; 2 << 20], qos(1), false, Token::NONE).expect("room");
    }
    driver.take(1000);
    let sent = driver.reconnect(false, &RESUMED);
    assert_eq!(packets(&sent).iter().map(|(first, _)| *first).collect::<Vec<_>>(), [0x3A, 0x32, 0x32]);
}

#[test]
fn answers_keep_their_place_between_messages() {
    let mut driver = Driver::connected();
    driver.publish("a", 0, 1);
    driver.feed(&join([&publish(0x32, 7, "m"), &publish(0x32, 8, "m")]));
    driver.publish("b", 0, 2);
    driver.happened();
    driver.take(6 + 7);
    assert_eq!(driver.happened(), [written(1)]);
    driver.take(1 + 5);
    assert_eq!(driver.happened(), []);
    driver.take(1);
    assert_eq!(driver.happened(), [written(2)]);
}

#[test]
fn unsent_qos_0_can_be_dropped_before_a_goodbye() {
    let mut driver = Driver::connected();
    driver.publish("begun", 0, 1);
    driver.publish("stored", 1, 2);
    driver.publish("waits", 0, 3);
    driver.feed(&publish(0x32, 7, "m"));
    driver.publish("waits too", 0, 0);
    driver.happened();
    driver.take(1);
    driver.session.drop_unsent_messages();
    assert_eq!(driver.happened(), [dropped(3)]);
    assert_eq!((driver.session.pending().0, driver.session.stats().dropped), (2, 2));
    driver.session.disconnect();
    assert_eq!(
        driver.sent(),
        join([&publish(0x30, 0, "begun")[1..], &publish(0x32, 1, "stored"), &puback(7), &DISCONNECT])
    );
    assert_eq!(driver.happened(), [written(1)]);
}

#[test]
fn unsent_qos_0_is_dropped_behind_a_taken_buffer_but_not_in_it() {
    for reported in 0..=10 {
        let mut driver = Driver::connected();
        driver.publish("a", 0, 1);
        driver.publish("b", 0, 2);
        let mut buffer = Vec::new();
        driver.session.take_transmit(&mut buffer);
        driver.session.handle_transmitted(driver.now, reported);
        driver.publish("c", 0, 3);
        driver.publish("d", 1, 4);
        driver.session.drop_unsent_messages();
        driver.session.handle_transmitted(driver.now, 12 - reported);
        assert_eq!(driver.session.transmit(), publish(0x32, 1, "d"));
        driver.sent();
        let mut happened = driver.happened();
        happened.sort_by_key(|happened| matches!(happened, Happened::Published { .. }));
        assert_eq!(happened, [dropped(3), written(1), written(2)]);
    }
}

#[test]
fn what_was_not_sent_when_nothing_is_kept_is_dropped() {
    let mut driver = Driver::connected();
    driver.publish("a", 0, 1);
    driver.publish("b", 1, 2);
    driver.publish("c", 0, 0);
    driver.session.handle_closed(Keep::Nothing);
    assert_eq!(driver.happened(), [dropped(1), dropped(2)]);
    assert_eq!(driver.session.stats().dropped, 3);
    driver.session.handle_closed(Keep::Nothing);
    assert_eq!((driver.happened(), driver.session.stats().dropped), (vec![], 3));
}
