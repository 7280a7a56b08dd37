//! `close`, and dropping a client: the broker gets DISCONNECT, the caller hears of the end once and of nothing else.

use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use mqtt::client::{Sending, State, reactor};
use mqtt::codec::Qos;
use mqtt::session::{Refused, Token};

use super::support::*;

#[test]
fn mqtt_3_14_4_1_after_disconnect_the_client_closes_though_the_broker_does_nothing() {
    let server = Listener::new();
    let mut tested = Tested::manual();
    let mut peer = tested.connected(&server, keeping(server.port()));
    tested.client.close();
    assert_eq!(tested.client.state(), State::Idle, "at once");
    peer.expect(&DISCONNECT);
    peer.expect_eof();
    tested.expect_silence(); // the socket is still there
    assert!(tested.client.busy());
    assert_eq!(tested.next_advancing(Duration::from_millis(100)), Seen::Offline);
    tested.expect_rest();
}

#[test]
fn a_connection_over_which_nothing_more_can_come_is_closed_at_once() {
    let server = Listener::new();
    let mut tested = Tested::manual();
    let mut peer = tested.connected(&server, options(server.port()));
    tested.publish("t", b"x", Qos::AtMostOnce).unwrap();
    tested.client.close();
    assert_eq!(tested.next(), Seen::Offline, "the broker has not closed its side");
    tested.expect_rest();
    assert_eq!(peer.packet(), message("t", b"x"));
    peer.expect(&DISCONNECT);
    peer.expect_eof(); // which panics at a reset
}

#[test]
fn a_connection_with_unread_input_is_not_closed_before_the_broker_has_closed_it() {
    let server = Listener::new();
    let mut tested = Tested::manual();
    let mut peer = tested.connected(&server, options(server.port()));
    reactor::settle();
    let (let_go, held) = mpsc::channel();
    let holder = reactor::spawn(async move { held.recv() }); // so that nobody reads before `close`
    peer.send(&PINGRESP);
    wait_until("PINGRESP lies in the socket", || {
        tested.client.is_settled().1.is_some_and(|traffic| !traffic.is_done)
    });
    tested.client.close();
    let_go.send(()).unwrap();
    drop(holder);
    peer.expect(&DISCONNECT);
    peer.expect_eof(); // which panics at a reset
    tested.expect_silence();
    drop(peer);
    assert_eq!(tested.next(), Seen::Offline);
}

#[test]
fn a_connection_whose_end_by_the_broker_has_come_unread_is_closed_in_order() {
    let server = Listener::new();
    let mut tested = Tested::new();
    let mut peer = tested.connected(&server, keeping(server.port())); // which may receive, as far as the session knows
    wait_until("the socket is lent, so that nobody reads before `close`", || tested.client.lend().is_some());
    peer.shutdown_write();
    wait_until("the broker's end has come", || {
        tested.client.is_settled().1.is_some_and(|traffic| !traffic.is_done)
    });
    tested.client.close();
    peer.expect(&DISCONNECT);
    peer.expect_eof();
    assert_eq!(tested.next(), Seen::Offline);
    tested.expect_rest();
}

#[test]
fn mqtt_3_14_4_2_nothing_is_sent_after_disconnect() {
    let server = Listener::new();
    let mut tested = Tested::manual();
    let mut peer = tested.connected(&server, options(server.port()));
    peer.send(&[0x34, 0x05, 0, 1, b'q', 0, 7]); // PUBLISH, QoS 2, id 7
    peer.expect(&[0x50, 0x02, 0, 7]); // PUBREC
    tested.publish("t", b"x", Qos::ExactlyOnce).unwrap();
    tested.client.close();
    assert_eq!(tested.publish("t", b"late", Qos::AtLeastOnce), Err(Refused::NotConnected));
    peer.send(&[0x62, 0x02, 0, 7]); // PUBREL comes too late to be answered
    peer.send(&message("t", b"late"));
    assert_eq!(peer.packet()[0], 0x34, "the PUBLISH that had been accepted");
    peer.expect(&DISCONNECT);
    peer.expect_eof();
    drop(peer);
    assert_eq!(tested.next(), Seen::Offline, "and not the message");
    tested.expect_rest();
}

#[test]
fn close_flushes_what_is_unsent_and_the_broker_gets_all_of_it_before_disconnect() {
    const MESSAGES: u32 = 2_000;
    let server = Listener::new();
    let mut tested = Tested::new();
    let mut peer = tested.connected(&server, options(server.port()));
    let payload = vec![7; 4_000];
    for number in 0..MESSAGES {
        let mut payload = payload.clone();
        payload[..4].copy_from_slice(&number.to_be_bytes());
        tested.publish("t", &payload, Qos::AtMostOnce).unwrap();
    }
    tested.client.close();
    for number in 0..MESSAGES {
        let packet = peer.packet();
        assert_eq!(packet[6..10], number.to_be_bytes(), "in order");
    }
    peer.expect(&DISCONNECT);
    peer.expect_eof();
    drop(peer);
    assert_eq!(tested.next(), Seen::Offline);
    tested.expect_rest();
}

#[test]
fn close_sends_the_whole_window_of_large_messages() {
    // more than the session copies at once, less than the window
    const MESSAGES: usize = 40;
    let server = Listener::new();
    let mut tested = Tested::new();
    let mut peer = tested.connected(&server, options(server.port()));
    let payload = vec![7; 100_000];
    for _ in 0..MESSAGES {
        tested.publish("t", &payload, Qos::AtLeastOnce).unwrap();
    }
    tested.client.close();
    for _ in 0..MESSAGES {
        assert_eq!(peer.packet()[0], 0x32);
    }
    peer.expect(&DISCONNECT);
}

#[test]
fn close_does_not_wait_for_ever_for_a_broker_that_does_not_read() {
    let server = Listener::new();
    let mut tested = Tested::manual();
    let peer = tested.connected(&server, options(server.port()));
    let payload = vec![0; 1 << 20];
    while tested.publish("t", &payload, Qos::AtMostOnce).is_ok() {}
    tested.client.close();
    tested.advance(Duration::from_millis(999));
    tested.expect_silence();
    tested.advance(Duration::from_millis(1));
    assert_eq!(tested.next(), Seen::Offline);
    tested.expect_rest();
    drop(peer);
}

#[test]
fn disconnect_arrives_even_when_input_is_unread() {
    let server = Listener::new();
    let mut tested = Tested::new();
    let mut peer = tested.connected(&server, options(server.port()));
    // Nobody takes the events, so the client stops reading some time, and the system's buffers fill up.
    let chunk = message("t", &[0; 10_000]);
    let mut offset = 0;
    let mut stalled = 0;
    while stalled < 1_000 {
        match peer.send_without_waiting(&chunk[offset..]) {
            0 => {
                stalled += 1;
                reactor::settle();
            }
            n => {
                offset = (offset + n) % chunk.len();
                stalled = 0;
            }
        }
    }
    tested.client.close();
    peer.expect(&DISCONNECT);
    peer.expect_eof(); // which panics at a reset
    drop(peer);
    assert_eq!(tested.next(), Seen::Offline);
    tested.expect_rest();
}

#[test]
fn what_came_before_close_and_was_not_taken_is_not_delivered_after_it() {
    let server = Listener::new();
    let mut tested = Tested::new();
    let mut peer = tested.connected(&server, options(server.port()));
    let token = Token(5);
    tested.client.subscribe(&[("t", Qos::AtMostOnce)], token, Sending::Soon).unwrap();
    let subscribe = peer.packet();
    peer.send(&[0x90, 0x03, subscribe[2], subscribe[3], 0]); // SUBACK
    peer.send(&message("t", b"early"));
    wait_until("the message came", || tested.client.stats().session.messages_in[0] == 1);
    tested.client.close();
    peer.expect(&DISCONNECT);
    drop(peer);
    assert_eq!(tested.next(), Seen::Dropped(token), "its callback will never run");
    assert_eq!(tested.next(), Seen::Offline);
    tested.expect_rest();
}

#[test]
fn a_connection_whose_acceptance_nobody_saw_ends_without_offline() {
    let server = Listener::new();
    let mut tested = Tested::new();
    tested.client.connect(options(server.port()));
    let mut peer = server.accept();
    peer.expect_connect();
    peer.send(&ACCEPTED);
    wait_until("accepted", || tested.client.state() == State::Connected);
    tested.client.close();
    peer.expect(&DISCONNECT);
    drop(peer);
    tested.expect_rest();
}

#[test]
fn close_while_connecting_is_silent_and_hangs_up() {
    let server = Listener::new();
    let mut tested = Tested::new();
    tested.client.connect(options(server.port()));
    let mut peer = server.accept();
    peer.expect_connect();
    tested.client.close();
    assert_eq!(tested.client.state(), State::Idle);
    peer.expect_eof();
    tested.expect_rest();
}

#[test]
fn close_on_an_idle_client_does_nothing() {
    let mut tested = Tested::new();
    tested.client.close();
    tested.client.close();
    tested.expect_rest();
}

#[test]
fn connect_right_after_close_waits_for_the_goodbye() {
    let server = Listener::new();
    let mut tested = Tested::new();
    let mut first = tested.connected(&server, keeping(server.port()));
    tested.client.close();
    tested.client.connect(options(server.port()));
    assert_eq!(tested.client.state(), State::Connecting);
    first.expect(&DISCONNECT);
    first.expect_eof();
    assert!(server.try_accept().is_none(), "one connection at a time");
    drop(first);
    assert_eq!(tested.next(), Seen::Offline);
    let mut second = server.accept();
    second.expect_connect();
    second.send(&ACCEPTED);
    assert_eq!(tested.next(), CONNECTED);
    tested.client.close();
    tested.client.connect(options(server.port()));
    tested.client.close(); // both at once: the attempt goes silently, the connection with its one Offline
    second.expect(&DISCONNECT);
    drop(second);
    assert_eq!(tested.next(), Seen::Offline);
    tested.expect_rest();
}

#[test]
fn connect_while_connected_gives_up_qos_0_that_was_not_sent() {
    let server = Listener::new();
    let mut tested = Tested::manual();
    let mut peer = tested.connected(&server, options(server.port()));
    let send = |qos, token| tested.client.publish("t", b"", qos, false, token, Sending::AtFlush).unwrap();
    send(Qos::AtMostOnce, Token(1));
    send(Qos::AtLeastOnce, Token(2));
    tested.client.connect(options(server.port()));
    assert_eq!(peer.packet()[0], 0x32, "QoS 1");
    peer.expect(&DISCONNECT);
    peer.expect_eof();
    drop(peer);
    assert_eq!(tested.next(), Seen::Dropped(Token(1)));
    assert_eq!(tested.next(), Seen::Dropped(Token(2)), "clean session: not kept for the next");
    assert_eq!(tested.next(), Seen::Offline);
}

#[test]
fn unacknowledged_messages_survive_close_with_a_kept_session_only() {
    for clean_session in [true, false] {
        let server = Listener::new();
        let mut tested = Tested::new();
        let mut options = options(server.port());
        options.profiles[0].connect.clean_session = clean_session;
        let mut peer = tested.connected(&server, options.clone());
        tested.publish("t", b"", Qos::AtLeastOnce).unwrap();
        peer.packet();
        tested.client.close();
        peer.expect(&DISCONNECT);
        drop(peer);
        assert_eq!(tested.next(), Seen::Offline);
        assert_eq!(tested.client.pending().0, if clean_session { 0 } else { 1 });
        tested.client.connect(options);
        let mut peer = server.accept();
        peer.expect_connect();
        peer.send(&[0x20, 0x02, u8::from(!clean_session), 0]);
        assert_eq!(tested.next(), Seen::Connected { session_present: !clean_session });
        if clean_session {
            tested.client.close();
            peer.expect(&DISCONNECT);
        } else {
            assert_eq!(peer.packet()[0], 0x3A, "QoS 1 with DUP");
        }
    }
}

#[test]
fn dropping_the_last_handle_says_disconnect_and_leaks_nothing() {
    let server = Listener::new();
    let mut tested = Tested::new();
    let mut peer = tested.connected(&server, options(server.port()));
    let Tested { client, bell, .. } = tested;
    let other = client.clone();
    drop(client);
    assert_eq!(other.state(), State::Connected);
    drop(other);
    peer.expect(&DISCONNECT);
    peer.expect_eof();
    drop(peer);
    wait_until("everything is freed", || Arc::strong_count(&bell) == 1);
}

#[test]
fn dropping_a_client_that_connects_or_reconnects_leaks_nothing() {
    let server = Listener::new();
    let tested = Tested::new();
    tested.client.connect(options(server.port()));
    let mut peer = server.accept();
    peer.expect_connect();
    let bell = tested.bell.clone();
    drop(tested);
    peer.expect_eof();
    wait_until("everything is freed", || Arc::strong_count(&bell) == 1);

    let mut tested = Tested::manual();
    drop(tested.connected(&server, reconnecting(server.port())));
    assert_eq!(tested.next(), Seen::Offline);
    let bell = tested.bell.clone();
    drop(tested);
    wait_until("everything is freed", || Arc::strong_count(&bell) == 1);
}

#[test]
fn close_from_another_thread_while_publishing_loses_no_order() {
    let server = Listener::new();
    let mut tested = Tested::new();
    let mut peer = tested.connected(&server, options(server.port()));
    let client = tested.client.clone();
    let publisher = thread::spawn(move || {
        let mut number = 0_u32;
        while client
            .publish("t", &number.to_be_bytes(), Qos::AtMostOnce, false, Token::NONE, Sending::Soon)
            .is_ok()
        {
            number += 1;
        }
        number
    });
    for number in 0..5_000_u32 {
        assert_eq!(peer.packet()[5..], number.to_be_bytes());
    }
    tested.client.close();
    let mut seen = 5_000;
    loop {
        let packet = peer.packet();
        if packet == DISCONNECT {
            break;
        }
        assert_eq!(packet[5..], u32::to_be_bytes(seen));
        seen += 1;
    }
    peer.expect_eof();
    assert_eq!(seen, publisher.join().unwrap(), "everything that was accepted");
}
