//! Bytes on their way out: directly on the caller's thread, through the writer, both at once.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use mqtt::client::{Client, ClientOptions, Sending, reactor};
use mqtt::codec::Qos;
use mqtt::session::{Config, Limits, Refused, Token};

use super::support::*;

#[test]
fn a_message_after_a_pause_goes_out_before_publish_returns() {
    let server = Listener::new();
    let mut tested = Tested::new();
    let mut peer = tested.connected(&server, options(server.port()));
    let quiet_since = Instant::now();
    while quiet_since.elapsed() < Duration::from_millis(2) {}
    let token = Token(1);
    tested.client.publish("t", b"x", Qos::AtMostOnce, false, token, Sending::Soon).unwrap();
    assert_eq!(tested.try_next(), Some(Seen::Published(token)), "no other thread was needed");
    peer.expect(&message("t", b"x"));
}

#[test]
fn messages_in_a_row_follow_within_the_lingering() {
    let server = Listener::new();
    let mut tested = Tested::new();
    let mut peer = tested.connected(&server, options(server.port()));
    for number in 0..10 {
        tested.publish("t", &[number], Qos::AtMostOnce).unwrap();
    }
    for number in 0..10 {
        peer.expect(&message("t", &[number]));
    }
    for _ in 0..10 {
        assert_eq!(tested.next(), Seen::Published(Token::NONE));
    }
    assert_eq!(tested.client.pending(), (0, 0));
}

#[test]
fn a_batch_goes_out_at_its_flush() {
    let server = Listener::new();
    let mut tested = Tested::new();
    let mut peer = tested.connected(&server, options(server.port()));
    reactor::settle(); // the task that has read CONNACK would take what it finds before it sleeps
    for number in 0..10 {
        tested.client.publish("t", &[number], Qos::AtMostOnce, false, Token::NONE, Sending::AtFlush).unwrap();
    }
    tested.client.flush();
    assert_eq!(tested.client.pending(), (0, 0), "on this thread");
    tested.client.flush();
    for number in 0..10 {
        peer.expect(&message("t", &[number]));
    }
}

/// A client of which nobody hears the ends of QoS 0 messages.
fn ignoring_writes() -> Tested {
    let bell = Arc::new(Bell::default());
    let options = ClientOptions { ignores_writes: true, ..ClientOptions::default() };
    Tested::of(Client::new(Config::default(), options, bell.clone()), bell, None)
}

#[test]
fn nobody_is_told_of_what_a_caller_has_sent_itself_until_somebody_hears_of_it() {
    let server = Listener::new();
    let mut tested = ignoring_writes();
    let mut peer = tested.connected(&server, options(server.port()));
    let rung = tested.bell.count();
    reactor::settle();
    let mut publish = |tested: &Tested, token| {
        tested.client.publish("t", b"x", Qos::AtMostOnce, false, token, Sending::AtFlush).unwrap();
        assert!(tested.client.flush(), "there was something to send");
        assert_eq!(tested.client.pending(), (0, 0));
        peer.expect(&message("t", b"x"));
    };
    publish(&tested, Token::NONE);
    publish(&tested, Token::NONE);
    assert_eq!(tested.bell.count(), rung);
    tested.client.hear_writes();
    assert_eq!(tested.bell.count(), rung + 1, "of those that were sent before too");
    for _ in 0..2 {
        assert_eq!(tested.try_next(), Some(Seen::Published(Token::NONE)));
    }
    publish(&tested, Token::NONE);
    assert_eq!(tested.bell.count(), rung + 2);
}

#[test]
fn a_flush_with_nothing_to_send_tells_nobody_of_what_a_caller_has_sent_itself() {
    let server = Listener::new();
    let mut tested = ignoring_writes();
    let _peer = tested.connected(&server, options(server.port()));
    reactor::settle();
    tested.client.publish("t", b"x", Qos::AtMostOnce, false, Token::NONE, Sending::AtFlush).unwrap();
    let rung = tested.bell.count();
    assert!(tested.client.flush());
    assert!(!tested.client.flush(), "all is sent");
    assert_eq!(tested.bell.count(), rung);
}

#[test]
fn whoever_waits_for_a_message_with_a_token_is_told_of_it() {
    let server = Listener::new();
    let mut tested = ignoring_writes();
    let _peer = tested.connected(&server, options(server.port()));
    for token in [Token::NONE, Token(7)] {
        tested.client.publish("t", b"x", Qos::AtMostOnce, false, token, Sending::AtFlush).unwrap();
        tested.client.flush();
    }
    assert_eq!(tested.next(), Seen::Published(Token::NONE));
    assert_eq!(tested.next(), Seen::Published(Token(7)));
}

#[test]
fn a_large_batch_starts_before_its_flush() {
    let server = Listener::new();
    let mut tested = Tested::new();
    let mut peer = tested.connected(&server, options(server.port()));
    let payload = [5; 10_000];
    for _ in 0..20 {
        tested.client.publish("t", &payload, Qos::AtMostOnce, false, Token::NONE, Sending::AtFlush).unwrap();
    }
    peer.expect(&message("t", &payload));
}

#[test]
fn with_a_manual_clock_nothing_waits_for_time() {
    let server = Listener::new();
    let mut tested = Tested::manual();
    let mut peer = tested.connected(&server, options(server.port()));
    for number in 0..10 {
        tested.publish("t", &[number], Qos::AtMostOnce).unwrap();
        assert_eq!(tested.try_next(), Some(Seen::Published(Token::NONE)));
        peer.expect(&message("t", &[number]));
    }
}

/// Two threads, every way of sending, a peer that reads in fits and starts.
#[test]
fn all_bytes_arrive_once_and_in_order_whoever_writes_them() {
    const EACH: u32 = 60_000;
    let server = Listener::new();
    let mut tested = Tested::new();
    let mut peer = tested.connected(&server, options(server.port()));
    let publishers: Vec<_> = (0..2_u8)
        .map(|name| {
            let client = tested.client.clone();
            thread::spawn(move || {
                let mut payload = vec![0; 5 + 200];
                payload[0] = name;
                for number in 0..EACH {
                    payload[1..5].copy_from_slice(&number.to_be_bytes());
                    let length = 5 + (number as usize * 7) % 200;
                    let sending = if number % 1_000 < 500 { Sending::Soon } else { Sending::AtFlush };
                    while client
                        .publish("t", &payload[..length], Qos::AtMostOnce, false, Token::NONE, sending)
                        .is_err()
                    {
                        thread::yield_now();
                    }
                    if number % 97 == 0 {
                        client.flush();
                    }
                }
                client.flush();
            })
        })
        .collect();
    let mut next = [0_u32; 2];
    for count in 0..2 * EACH {
        let packet = peer.packet();
        // the topic is one byte: header 1, length 1 or 2, topic 3
        let start = if packet[1] & 0x80 == 0 { 5 } else { 6 };
        let name = usize::from(packet[start]);
        assert_eq!(packet[start + 1..start + 5], next[name].to_be_bytes());
        next[name] += 1;
        if count % 20_000 == 0 {
            // let the buffers fill, so that sends are cut anywhere
            let since = Instant::now();
            while since.elapsed() < Duration::from_millis(20) {}
        }
    }
    assert_eq!(next, [EACH; 2]);
    for publisher in publishers {
        publisher.join().unwrap();
    }
    wait_until("everything is reported", || tested.client.pending() == (0, 0));
    tested.client.close();
    peer.expect(&DISCONNECT);
}

#[test]
fn a_full_queue_refuses_and_says_when_there_is_room_again() {
    let server = Listener::new();
    let config = Config { limits: Limits { max_queue: 8 << 20, ..Limits::default() }, ..Config::default() };
    let mut tested = Tested::with(config, mqtt::client::Clock::real(), None);
    let mut peer = tested.connected(&server, options(server.port()));
    let payload = vec![1; 100_000];
    let mut accepted = 0;
    let refused = loop {
        match tested.publish("t", &payload, Qos::AtMostOnce) {
            Ok(()) => accepted += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(refused, Refused::QueueFull);
    for _ in 0..accepted {
        assert_eq!(peer.packet().len(), 1 + 3 + 3 + payload.len());
    }
    let mut published = 0;
    let mut drained = 0;
    while published < accepted || drained == 0 {
        match tested.next() {
            Seen::Published(_) => published += 1,
            Seen::Drained => drained += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(drained, 1);
}

#[test]
fn acknowledgements_go_out_without_the_caller() {
    let server = Listener::new();
    let mut tested = Tested::new();
    let mut peer = tested.connected(&server, options(server.port()));
    for id in 1..=200_u8 {
        peer.send(&[0x32, 0x05, 0, 1, b't', 0, id]); // PUBLISH, QoS 1
    }
    for id in 1..=200_u8 {
        peer.expect(&[0x40, 0x02, 0, id]); // PUBACK
    }
    assert_eq!(tested.next(), Seen::Message("t".into(), vec![]));
}
