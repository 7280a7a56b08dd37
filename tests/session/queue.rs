//! Bounds: the in-flight window, `max_queue`, and being told when there is room again.

use mqtt::codec::Qos;
use mqtt::session::{Config, Keep, Limits, Refused, Token};

use crate::support::*;

fn bounded(max_queue: usize, inflight: u16) -> Driver {
    let limits = Limits { max_queue, inflight, ..Limits::default() };
    let mut driver = Driver::connected_with(Config { limits, ..Config::default() }, &connect(true));
    driver.session.set_offline_queue(true);
    driver
}

/// Publishes until refused: how many were accepted.
fn fill(driver: &mut Driver, level: u8) -> u32 {
    let mut accepted = 0;
    while driver.try_publish(&"x".repeat(100), level, 0).is_ok() {
        accepted += 1;
        assert!(accepted < 100_000, "never refused");
    }
    assert_eq!(driver.try_publish(&"x".repeat(100), level, 0), Err(Refused::QueueFull));
    accepted
}

#[test]
fn no_more_than_the_window_is_under_way() {
    let mut driver = bounded(1 << 20, 2);
    for n in 1..=4 {
        driver.publish(&n.to_string(), 1, n);
    }
    assert_eq!(driver.sent(), join([&publish(0x32, 1, "1"), &publish(0x32, 2, "2")]));
    driver.feed(&puback(2));
    assert_eq!(driver.sent(), publish(0x32, 3, "3"));
    driver.feed(&join([&puback(1), &puback(3)]));
    assert_eq!(driver.sent(), publish(0x32, 4, "4"));
}

#[test]
fn qos_0_does_not_wait_for_the_window() {
    let mut driver = bounded(1 << 20, 1);
    driver.publish("1", 2, 0);
    driver.publish("2", 2, 0);
    driver.publish("0", 0, 0);
    assert_eq!(driver.sent(), join([&publish(0x34, 1, "1"), &publish(0x30, 0, "0")]));
}

#[test]
fn a_window_of_0_is_one_of_1() {
    let mut driver = bounded(1 << 20, 0);
    driver.publish("1", 1, 0);
    assert_eq!(driver.sent(), publish(0x32, 1, "1"));
}

#[test]
fn a_full_queue_refuses_and_says_when_half_of_it_is_free() {
    for level in 1..3 {
        let mut driver = bounded(20_000, 10_000);
        let accepted = fill(&mut driver, level);
        assert!(accepted > 50);
        assert_eq!(Refused::QueueFull.to_string(), "queue full");
        driver.sent();
        for id in 1..=accepted as u16 {
            if level == 1 {
                driver.feed(&puback(id));
            } else {
                driver.feed(&join([&pubrec(id), &pubcomp(id)]));
            }
            let happened = driver.happened();
            assert!(happened.contains(&published(id, 0)));
            if happened.len() > 1 {
                assert!(happened.contains(&Happened::Drained));
                let left = accepted - u32::from(id);
                assert!((accepted / 2 - 2..=accepted / 2).contains(&left), "{left} of {accepted}");
                break;
            }
        }
        assert!(driver.try_publish("x", level, 0).is_ok());
    }
}

#[test]
fn drained_is_said_once_and_only_to_who_was_refused() {
    let mut driver = bounded(20_000, 10_000);
    for _ in 0..10 {
        driver.publish(&"x".repeat(100), 0, 0);
    }
    driver.sent();
    assert_eq!(driver.happened(), vec![written(0); 10], "nobody was refused");
    let accepted = fill(&mut driver, 0);
    driver.sent();
    let happened = driver.happened();
    assert_eq!(happened.iter().filter(|happened| **happened == Happened::Drained).count(), 1);
    assert_eq!(happened.len(), accepted as usize + 1);
}

#[test]
fn a_released_message_gives_back_the_room_of_its_packet() {
    let mut driver = bounded(100_000, 10);
    driver.session.publish("t", &[0; 90_000], Qos::ExactlyOnce, false, Token(1)).expect("fits");
    assert_eq!(
        driver.session.publish("t", &[0; 20_000], Qos::AtLeastOnce, false, Token(2)),
        Err(Refused::QueueFull)
    );
    driver.sent();
    driver.feed(&pubrec(1));
    assert_eq!(driver.happened(), [Happened::Drained]);
}

#[test]
fn a_single_message_that_is_larger_than_the_queue_is_accepted_when_nothing_else_waits() {
    for level in 0..3 {
        let mut driver = bounded(1000, 10);
        let large = vec![b'x'; 5000];
        driver.session.publish("t", &large, qos(level), false, Token(1)).expect("nothing waits");
        assert_eq!(driver.try_publish("x", level, 0), Err(Refused::QueueFull));
        assert_eq!(driver.sent().len(), 5000 + 3 + 3 + if level > 0 { 2 } else { 0 });
        match level {
            0 => {}
            1 => driver.feed(&puback(1)),
            _ => driver.feed(&join([&pubrec(1), &pubcomp(1)])),
        }
        assert_eq!(driver.session.pending(), (0, 0));
        driver.session.publish("t", &large, qos(level), false, Token(2)).expect("nothing waits again");
    }
}

#[test]
fn pending_counts_what_is_accepted_and_not_done() {
    let mut driver = bounded(1 << 20, 2);
    assert_eq!(driver.session.pending(), (0, 0));
    driver.publish("0", 0, 0); // 6 bytes
    driver.publish("1", 1, 0); // 8 bytes
    driver.publish("2", 2, 0); // 8 bytes
    driver.publish("3", 1, 0); // 8 bytes, waits for the window
    assert_eq!(driver.session.pending(), (4, 30));
    driver.sent();
    assert_eq!(driver.session.pending(), (3, 24), "QoS 0 is done");
    driver.lose();
    assert_eq!(driver.session.pending(), (3, 24));
    driver.session.handle_closed(Keep::Nothing);
    assert_eq!(driver.session.pending(), (0, 0));
}

#[test]
fn the_offline_queue_is_bounded_too() {
    let mut driver = bounded(20_000, 10);
    driver.lose();
    let accepted = fill(&mut driver, 1);
    assert!(accepted > 50);
    driver.session.handle_closed(Keep::Nothing);
    assert_eq!(driver.happened(), [Happened::Drained]);
}

#[test]
fn forgetting_drops_what_waits_and_frees_the_ids() {
    let mut driver = bounded(1 << 20, 2);
    for n in 1..=3 {
        driver.publish("x", 1, n);
    }
    driver.sent();
    driver.lose();
    driver.session.forget();
    assert_eq!(driver.happened(), [dropped(1), dropped(2), dropped(3)]);
    assert_eq!((driver.session.pending(), driver.session.ids_in_use()), ((0, 0), 0));
    driver.connect(&connect(false), &RESUMED);
    assert_eq!(driver.sent(), b"");
}

#[test]
fn a_long_backlog_is_copied_to_the_socket_piece_by_piece() {
    // 64 messages of 100 kB: were they all encoded for the socket at once, memory would double.
    let limits = Limits { inflight: 1000, ..Limits::default() };
    let mut driver = Driver::connected_with(Config { limits, ..Config::default() }, &connect(true));
    let payload = vec![b'x'; 100_000];
    for _ in 0..64 {
        driver.session.publish("t", &payload, Qos::AtLeastOnce, false, Token::NONE).expect("room");
    }
    let mut most = 0;
    let mut total = 0;
    while driver.session.unsent() > 0 {
        most = most.max(driver.session.unsent());
        total += driver.take(driver.session.unsent().min(30_000)).len();
    }
    assert!(most < 1_300_000, "{most} bytes");
    assert_eq!(total, 64 * (100_000 + 9));
}
