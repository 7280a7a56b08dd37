//! Keep-alive: PINGREQ in time, and a peer that has died is noticed.

use std::time::Duration;

use mqtt::codec::Connect;
use mqtt::session::{Config, Error};

use crate::support::*;

/// Connected with this keep-alive.
fn alive(keep_alive: u16) -> Driver {
    Driver::connected_with(Config::default(), &Connect { keep_alive, ..connect(true) })
}

const DEAD: Error = Error::Silent;

#[test]
fn mqtt_3_1_2_23_pingreq_goes_out_before_the_keep_alive_interval_ends() {
    for keep_alive in [1, 2, 60, 65_535] {
        let mut driver = alive(keep_alive);
        for _ in 0..5 {
            let started = driver.now;
            let at = driver.session.poll_timeout().expect("keep-alive is on");
            let wait = at - started;
            let interval = Duration::from_secs(keep_alive.into());
            assert!(wait <= interval && wait > interval * 8 / 10, "{wait:?}");
            driver.now = at;
            driver.session.handle_timeout(at).expect("alive");
            assert_eq!(driver.sent(), PINGREQ);
            driver.feed(&PINGRESP);
        }
    }
}

#[test]
fn mqtt_3_1_2_23_a_packet_that_is_sent_puts_pingreq_off() {
    let mut driver = alive(10);
    for n in 0..20 {
        driver.publish("x", 0, 0);
        driver.sent();
        assert_eq!(driver.pass(9.0), Ok(vec![]), "round {n}");
    }
    let sent = driver.pass(1.0).expect("alive");
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].1, PINGREQ);
}

#[test]
fn mqtt_3_1_2_23_incoming_packets_do_not_count_as_sent() {
    let mut driver = alive(2);
    let mut sent = Vec::new();
    for _ in 0..10 {
        driver.feed(&publish(0x30, 0, "m"));
        for (_, bytes) in driver.pass(0.5).expect("alive") {
            sent.extend(bytes);
        }
    }
    assert_eq!(sent, PINGREQ.repeat(2), "at 2 and at 4 of 5 seconds");
}

#[test]
fn mqtt_3_1_2_23_what_waits_in_the_session_does_not_count_as_sent() {
    let mut driver = alive(10);
    assert_eq!(driver.pass(9.0), Ok(vec![]));
    driver.publish("x", 0, 0);
    let at = driver.session.poll_timeout().expect("keep-alive is on");
    assert!(at <= driver.now + Duration::from_secs(1), "nothing was written yet");
}

#[test]
fn mqtt_3_1_2_23_a_late_connack_does_not_stretch_the_interval() {
    let mut driver = Driver::new(Config::default());
    let deadline = driver.now + Duration::from_secs(10);
    driver.session.connect(&Connect { keep_alive: 4, ..connect(true) }, Some(deadline));
    driver.sent();
    // The standard lets a client send before CONNACK (3.1.4).
    let sent = driver.pass(9.0).expect("CONNACK may still come");
    assert_eq!(sent.iter().map(|(_, bytes)| &bytes[..]).collect::<Vec<_>>(), [PINGREQ, PINGREQ]);
    driver.feed(&ACCEPTED);
    driver.feed(&PINGRESP.repeat(2));
    assert_eq!(driver.pass(3.0).expect("alive").len(), 1);
}

#[test]
fn keep_alive_0_turns_it_off() {
    let mut driver = alive(0);
    driver.publish("x", 0, 0);
    driver.sent();
    assert_eq!(driver.session.poll_timeout(), None);
    assert_eq!(driver.pass(1e6), Ok(vec![]));
}

#[test]
fn the_answer_to_pingreq_has_half_the_interval_but_at_least_a_second() {
    for (keep_alive, wait) in [(1, 1.0), (2, 1.0), (3, 1.5), (60, 30.0), (65_535, 32_767.5)] {
        let mut driver = alive(keep_alive);
        driver.now = driver.session.poll_timeout().expect("keep-alive is on");
        driver.session.handle_timeout(driver.now).expect("alive");
        assert_eq!(driver.sent(), PINGREQ);
        assert!(driver.pass(wait - 0.001).is_ok(), "keep-alive {keep_alive}");
        assert_eq!(driver.pass(0.001), Err(DEAD), "keep-alive {keep_alive}");
    }
}

#[test]
fn any_packet_counts_as_an_answer() {
    for answer in [&PINGRESP[..], &publish(0x30, 0, "m"), &puback(77), &[0x30]] {
        let mut driver = alive(10);
        assert_eq!(driver.pass(10.0).expect("alive").len(), 1);
        driver.feed(answer);
        assert_eq!(driver.pass(9.99).map(|sent| sent.len()), Ok(1), "the next PINGREQ, and no death between");
    }
}

#[test]
fn an_empty_read_is_no_answer() {
    let mut driver = alive(10);
    assert_eq!(driver.pass(10.0).expect("alive").len(), 1);
    driver.feed(&[]);
    assert_eq!(driver.pass(6.0), Err(DEAD));
}

#[test]
fn while_we_do_not_read_the_wait_for_an_answer_rests() {
    let mut driver = alive(10);
    assert_eq!(driver.pass(10.0).expect("alive").len(), 1);
    driver.session.set_reading(driver.now, false);
    assert_eq!(driver.pass(100.0).expect("it is us").len(), 10, "PINGREQ goes on");
    driver.session.set_reading(driver.now, true);
    assert!(driver.pass(4.999).is_ok(), "it has its whole time again");
    assert_eq!(driver.pass(0.001), Err(DEAD));
}

#[test]
fn a_pingreq_that_goes_out_while_we_do_not_read_is_waited_for_later() {
    let mut driver = alive(10);
    driver.session.set_reading(driver.now, false);
    assert_eq!(driver.pass(30.0).expect("it is us").len(), 3);
    driver.session.set_reading(driver.now, true);
    driver.session.set_reading(driver.now, true);
    assert_eq!(driver.pass(5.0), Err(DEAD));
}

#[test]
fn only_one_pingreq_waits_for_a_socket_that_takes_nothing() {
    let mut driver = alive(10);
    driver.session.set_reading(driver.now, false);
    driver.publish("stuck", 0, 0);
    for _ in 0..10 {
        driver.now += Duration::from_secs(10);
        driver.session.handle_timeout(driver.now).expect("we do not read");
    }
    assert_eq!(driver.sent(), join([&publish(0x30, 0, "stuck"), &PINGREQ]));
}

#[test]
fn a_pingreq_moves_up_when_messages_before_it_are_dropped() {
    let mut driver = alive(10);
    driver.publish(&"x".repeat(100), 0, 0);
    driver.now += Duration::from_secs(10);
    driver.session.handle_timeout(driver.now).expect("alive");
    driver.session.drop_unsent_messages();
    assert_eq!(driver.sent(), PINGREQ);
    driver.feed(&PINGRESP);
    assert_eq!(driver.pass(10.0).expect("alive").len(), 1);
}

#[test]
fn a_timer_that_fires_late_sends_pingreq_at_once() {
    let mut driver = alive(10);
    driver.now += Duration::from_secs(25);
    driver.session.handle_timeout(driver.now).expect("nobody was asked yet");
    assert_eq!(driver.sent(), PINGREQ);
}

#[test]
fn a_peer_that_takes_no_bytes_is_dead_as_well() {
    let mut driver = alive(10);
    driver.publish("stuck", 0, 0);
    driver.now = driver.session.poll_timeout().expect("keep-alive is on");
    driver.session.handle_timeout(driver.now).expect("not yet");
    let mut seconds = 0;
    let error = loop {
        driver.now += Duration::from_secs(1);
        seconds += 1;
        if let Err(error) = driver.session.handle_timeout(driver.now) {
            break error;
        }
    };
    assert_eq!((error, seconds), (DEAD, 5));
    assert_eq!(packets(driver.session.transmit()).len(), 2, "PINGREQ waits once");
}

#[test]
fn a_stuck_pingreq_is_waited_for_again_when_something_came_in_between() {
    let mut driver = alive(10);
    driver.publish("stuck", 0, 0);
    let passed = |driver: &mut Driver, seconds| {
        driver.now += Duration::from_secs(seconds);
        driver.session.handle_timeout(driver.now)
    };
    passed(&mut driver, 10).expect("PINGREQ is queued");
    driver.feed(&publish(0x30, 0, "alive"));
    passed(&mut driver, 9).expect("something came");
    passed(&mut driver, 1).expect("PINGREQ is due again");
    passed(&mut driver, 4).expect("not yet");
    assert_eq!(passed(&mut driver, 1), Err(DEAD));
}

#[test]
fn the_wait_for_an_answer_starts_when_pingreq_has_gone_out() {
    let mut driver = alive(10);
    driver.publish(&"x".repeat(100), 0, 0);
    driver.now += Duration::from_secs(10);
    driver.session.handle_timeout(driver.now).expect("alive");
    // The link is slow, but it moves: 4 bytes every 4 seconds.
    while driver.session.transmit().len() > 4 {
        driver.now += Duration::from_secs(4);
        driver.session.handle_timeout(driver.now).expect("PINGREQ has not even been sent");
        driver.take(4);
    }
    let rest = driver.sent();
    assert!(rest.ends_with(&PINGREQ));
    driver.now += Duration::from_millis(4999);
    driver.session.handle_timeout(driver.now).expect("not yet");
    driver.now += Duration::from_millis(1);
    assert_eq!(driver.session.handle_timeout(driver.now), Err(DEAD));
}

#[test]
fn after_disconnect_no_timer_runs() {
    let mut driver = alive(10);
    driver.session.disconnect();
    assert_eq!(driver.sent(), DISCONNECT);
    assert_eq!(driver.session.poll_timeout(), None);
}

#[test]
fn a_new_connection_starts_with_new_timers() {
    let mut driver = alive(10);
    assert_eq!(driver.pass(10.0).expect("alive").len(), 1);
    driver.lose();
    assert_eq!(driver.session.poll_timeout(), None);
    driver.now += Duration::from_secs(3);
    driver.connect(&Connect { keep_alive: 20, ..connect(true) }, &ACCEPTED);
    assert_eq!(driver.pass(19.0), Ok(vec![]), "the old PINGREQ is forgotten");
    assert_eq!(driver.pass(1.0).expect("alive").len(), 1);
}

#[test]
fn a_new_connection_is_read_and_its_pingreq_is_not_stuck() {
    let mut driver = alive(10);
    driver.session.set_reading(driver.now, false);
    driver.publish(&"x".repeat(100), 0, 0);
    driver.now += Duration::from_secs(10);
    driver.session.handle_timeout(driver.now).expect("alive");
    driver.lose(); // with PINGREQ unsent
    driver.connect(&Connect { keep_alive: 10, ..connect(true) }, &ACCEPTED);
    assert_eq!(driver.pass(10.0).expect("alive").len(), 1);
    assert_eq!(driver.pass(5.0), Err(DEAD));
}
