//! From one broker to another and back: packet ids belong to the session with one of them.

use mqtt::session::{Config, Resubscribe};

use crate::support::*;

const MAIN: u32 = 0;
const BACKUP: u32 = 1;

fn keeping() -> Driver {
    let config = Config { resubscribe: Resubscribe::NewSession, keep_messages: true, ..Config::default() };
    Driver::connected_with(config, &connect(false))
}

impl Driver {
    /// Lost, and connected to this broker; what is sent then.
    fn move_to(&mut self, broker: u32, connack: &[u8]) -> Vec<u8> {
        self.lose();
        self.session.set_broker(broker);
        self.connect(&connect(false), connack);
        self.sent()
    }
}

#[test]
fn another_broker_gets_messages_afresh_even_if_it_has_a_session() {
    for connack in [ACCEPTED, RESUMED] {
        let mut driver = keeping();
        driver.publish("1", 1, 1);
        driver.publish("2", 2, 2);
        driver.publish("3", 2, 3);
        driver.sent();
        driver.feed(&pubrec(2));
        driver.sent();
        let sent = driver.move_to(BACKUP, &connack);
        assert_eq!(sent, join([&publish(0x32, 4, "1"), &publish(0x34, 5, "3")]));
        assert!(driver.happened().contains(&published(2, 2)), "it had arrived");
    }
}

#[test]
fn an_attempt_that_the_other_broker_does_not_accept_changes_nothing() {
    let mut driver = keeping();
    driver.publish("2", 2, 0);
    driver.sent();
    driver.lose();
    driver.session.set_broker(BACKUP);
    driver.session.connect(&connect(false), None);
    driver.sent();
    driver.feed_wrong(&[0x20, 0x02, 0x00, 0x03]);
    assert_eq!(driver.move_to(MAIN, &RESUMED), publish(0x3C, 1, "2"));
}

#[test]
fn on_the_return_to_a_session_that_was_kept_its_ids_are_ended_first() {
    let mut driver = keeping();
    driver.publish("1", 2, 0);
    driver.publish("2", 2, 0);
    driver.publish("3", 1, 0);
    driver.sent();
    driver.feed(&pubrec(1));
    driver.move_to(BACKUP, &ACCEPTED);
    let sent = driver.move_to(MAIN, &RESUMED);
    assert_eq!(
        sent,
        join([&pubrel(1), &pubrel(2), &publish(0x34, 6, "2"), &publish(0x32, 7, "3")]),
        "QoS 1 leaves nothing behind"
    );
    driver.feed(&join([&pubcomp(1), &pubcomp(2)]));
    assert_eq!(driver.session.pending().0, 2);
    // and on the return to the other one likewise
    assert_eq!(
        driver.move_to(BACKUP, &RESUMED),
        join([&pubrel(4), &publish(0x34, 8, "2"), &publish(0x32, 9, "3")])
    );
}

#[test]
fn a_new_session_on_the_return_has_no_ids_to_end() {
    let mut driver = keeping();
    driver.publish("1", 2, 0);
    driver.sent();
    driver.move_to(BACKUP, &ACCEPTED);
    assert_eq!(driver.move_to(MAIN, &ACCEPTED), publish(0x34, 3, "1"));
}

#[test]
fn mqtt_4_3_3_2_the_ids_of_one_broker_say_nothing_about_the_messages_of_another() {
    let mut driver = keeping();
    driver.feed(&publish(0x34, 7, "from main"));
    driver.sent();
    driver.move_to(BACKUP, &RESUMED);
    driver.feed(&publish(0x34, 7, "from backup"));
    driver.sent();
    driver.move_to(MAIN, &RESUMED);
    driver.happened();
    driver.feed(&publish(0x3C, 7, "from main"));
    assert_eq!(driver.happened(), [], "a repetition");
    driver.move_to(BACKUP, &ACCEPTED);
    driver.happened();
    driver.feed(&publish(0x34, 7, "new"));
    assert_eq!(driver.happened(), [message("new", 2)]);
}

#[test]
fn another_broker_is_asked_for_subscriptions_even_if_it_has_a_session() {
    let mut driver = keeping();
    driver.session.subscribe(&[("a", qos(1))], mqtt::session::Token::NONE).expect("connected");
    driver.sent();
    driver.feed(&[0x90, 3, 0, 1, 1]);
    assert_eq!(driver.move_to(BACKUP, &RESUMED), [0x82, 6, 0, 2, 0, 1, b'a', 1]);
}
