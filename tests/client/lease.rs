//! A caller that waits reads the socket itself, on a lease, and the connection may end in the middle of that.

use std::thread;
use std::time::Duration;

use mqtt::client::{Client, Lent, Served, State};
use mqtt::codec::Qos;
use mqtt::session::{Event, Events};
use rustix::event::{PollFd, PollFlags, Timespec};

use super::support::*;

/// What a lease gives.
type Socket = mqtt::net::Tcp;

/// The socket, once the task is not reading itself.
fn lend(client: &Client) -> Lent {
    let mut lent = None;
    wait_until("the socket is lent", || {
        lent = client.lend();
        lent.is_some()
    });
    lent.expect("waited for")
}

/// Waits until there is something to read: bytes, the end or an error.
fn readable(socket: &Socket) {
    let limit = Timespec { tv_sec: LIMIT.as_secs() as i64, tv_nsec: 0 };
    let mut socket = [PollFd::new(socket, PollFlags::IN)];
    assert!(rustix::event::poll(&mut socket, Some(&limit)).unwrap() > 0, "nothing came");
}

/// A client that is connected and has lent its socket.
fn lent(server: &Listener) -> (Tested, Peer, Socket) {
    let mut tested = Tested::new();
    let peer = tested.connected(server, options(server.port()));
    let socket = lend(&tested.client).socket;
    (tested, peer, socket)
}

#[test]
fn what_comes_is_read_by_the_caller_and_by_nobody_else() {
    let server = Listener::new();
    let (mut tested, mut peer, socket) = lent(&server);
    assert!(tested.client.lend().is_none(), "one caller at a time");
    peer.send(&message("t", b"1"));
    readable(&socket);
    tested.expect_silence(); // the task leaves it there
    tested.client.serve(None);
    assert_eq!(tested.try_next(), Some(Seen::Message("t".into(), b"1".to_vec())), "without another thread");
}

#[test]
fn what_the_caller_reads_is_handed_to_it_unless_something_waits_to_be_taken() {
    let server = Listener::new();
    let (mut tested, mut peer, socket) = lent(&server);
    let mut events = Events::new();
    assert_eq!(tested.client.serve(Some(&mut events)), Served::Nothing, "nothing has come");
    for _ in 0..2 {
        peer.send(&message("t", b"1"));
        readable(&socket);
        assert_eq!(tested.client.serve(Some(&mut events)), Served::Read { unsent: false });
        assert!(matches!(events.pop(), Some(Event::Message { payload: b"1", .. })) && events.is_empty());
        assert_eq!(tested.client.serve(Some(&mut events)), Served::NotLent, "it has given the socket back");
        lend(&tested.client);
    }
    peer.send(&message("t", b"2"));
    readable(&socket);
    tested.client.serve(None);
    lend(&tested.client);
    peer.send(&message("t", b"3"));
    readable(&socket);
    tested.client.serve(Some(&mut events));
    assert!(events.is_empty(), "it stands behind the other");
    for payload in [b"2", b"3"] {
        assert_eq!(tested.try_next(), Some(Seen::Message("t".into(), payload.to_vec())));
    }
}

#[test]
fn acknowledgements_of_what_the_caller_has_read_go_out() {
    let server = Listener::new();
    let (mut tested, mut peer, socket) = lent(&server);
    peer.send(&[0x32, 0x05, 0, 1, b'q', 0, 7]); // PUBLISH, QoS 1, id 7
    readable(&socket);
    assert_eq!(tested.client.serve(None), Served::Read { unsent: true });
    tested.client.flush();
    peer.expect(&[0x40, 0x02, 0, 7]);
    assert_eq!(tested.next(), Seen::Message("q".into(), vec![]));
}

#[test]
fn what_was_given_back_is_read_in_the_background() {
    let server = Listener::new();
    let (mut tested, mut peer, _) = lent(&server);
    for round in 0..20 {
        tested.client.give_back();
        peer.send(&message("t", &[round]));
        assert_eq!(tested.next(), Seen::Message("t".into(), vec![round]));
        lend(&tested.client);
    }
}

#[test]
fn a_lease_that_is_renewed_loses_nothing() {
    const MESSAGES: u32 = 2_000;
    let server = Listener::new();
    let (mut tested, mut peer, _) = lent(&server);
    tested.client.give_back();
    let sender = thread::spawn(move || {
        for number in 0..MESSAGES {
            peer.send(&message("t", &number.to_be_bytes()));
        }
        peer
    });
    let mut next = 0_u32;
    wait_until("all have come", || {
        // as a loop does it that waits between callbacks: sometimes it reads, sometimes the task is first
        if tested.client.lend().is_some() {
            tested.client.serve(None);
            tested.client.give_back();
        }
        while let Some(seen) = tested.try_next() {
            assert_eq!(seen, Seen::Message("t".into(), next.to_be_bytes().to_vec()));
            next += 1;
        }
        next == MESSAGES
    });
    sender.join().unwrap();
}

#[test]
fn the_answer_to_connect_is_read_by_a_caller_that_waits() {
    let server = Listener::new();
    for (answer, outcome) in [(ACCEPTED, CONNECTED), ([0x20, 2, 0, 5], Seen::Failed(5))] {
        let mut tested = Tested::new();
        tested.client.connect(options(server.port()));
        let lent = tested.client.lend().expect("CONNECT is out: nothing is left to be done but to wait");
        let mut peer = server.accept();
        peer.expect_connect();
        peer.send(&answer);
        readable(&lent.socket);
        tested.client.serve(None);
        tested.client.give_back();
        assert_eq!(tested.next(), outcome);
    }
}

#[test]
fn the_answer_to_connect_is_read_in_the_background_when_no_caller_waits() {
    let server = Listener::new();
    let mut tested = Tested::new();
    let _peer = tested.connected(&server, options(server.port()));
    assert!(!lend(&tested.client).is_awaited, "it has come");
}

#[test]
fn the_end_of_a_connection_that_was_closed_is_found_by_a_caller_that_waits() {
    let server = Listener::new();
    let (mut tested, mut peer, socket) = lent(&server);
    peer.send(&message("t", b"there may be more"));
    readable(&socket);
    tested.client.serve(None);
    assert!(matches!(tested.next(), Seen::Message(..)));
    tested.client.close();
    let lent = tested.client.lend().expect("all is said");
    peer.expect(&DISCONNECT);
    peer.send(&message("t", b"too late"));
    drop(peer);
    while tested.client.busy() {
        readable(&lent.socket);
        if tested.client.lend().is_none() {
            break; // the rest is the task's
        }
        tested.client.serve(None);
    }
    assert_eq!(tested.next(), Seen::Offline, "and not the message");
    assert_eq!(tested.client.state(), State::Idle);
    tested.expect_rest();
}

#[test]
fn close_ends_a_lease() {
    let server = Listener::new();
    let (mut tested, mut peer, socket) = lent(&server);
    peer.send(&message("t", b"too late"));
    readable(&socket);
    tested.client.close();
    assert_eq!(tested.client.serve(None), Served::NotLent, "it is no longer the caller's to read");
    tested.client.give_back();
    peer.expect(&DISCONNECT);
    peer.expect_eof();
    drop(peer);
    assert_eq!(tested.next(), Seen::Offline, "and not the message");
    tested.expect_rest();
}

#[test]
fn another_connect_ends_a_lease_and_what_the_old_connection_brings_is_not_taken() {
    let server = Listener::new();
    let (mut tested, mut old, socket) = lent(&server);
    old.send(&message("t", b"old"));
    readable(&socket);
    tested.client.connect(options(server.port()));
    tested.client.serve(None);
    tested.client.give_back();
    assert!(tested.client.lend().is_none(), "there is no connection to lend");
    old.expect(&DISCONNECT);
    drop(old);
    let mut new = server.accept();
    new.expect_connect();
    new.send(&ACCEPTED);
    assert_eq!(tested.next(), Seen::Offline);
    assert_eq!(tested.next(), CONNECTED);
    let socket = lend(&tested.client).socket;
    new.send(&message("t", b"new"));
    readable(&socket);
    tested.client.serve(None);
    assert_eq!(tested.next(), Seen::Message("t".into(), b"new".to_vec()));
}

#[test]
fn an_end_that_the_caller_finds_is_told_once_and_nothing_is_lent_after() {
    /// What the broker does, and whether what it has said before is to be heard.
    type Ending = (&'static str, fn(Peer), bool);
    let endings: [Ending; 3] = [
        ("end of stream", drop, true),
        ("reset", Peer::reset, false),
        ("violation", |mut peer| peer.send(&[0xF0, 0x00]), true),
    ];
    for (name, ending, heard) in endings {
        let server = Listener::new();
        let (mut tested, mut peer, socket) = lent(&server);
        if heard {
            peer.send(&message("t", b"before"));
            readable(&socket);
            tested.client.serve(None);
            assert_eq!(tested.next(), Seen::Message("t".into(), b"before".to_vec()), "{name}");
            lend(&tested.client);
        }
        ending(peer);
        readable(&socket);
        tested.client.serve(None);
        assert!(tested.client.lend().is_none(), "{name}: it would be readable for ever");
        tested.client.give_back();
        assert_eq!(tested.next(), Seen::Offline, "{name}");
        tested.expect_rest();
    }
}

#[test]
fn what_the_broker_said_before_a_reset_is_heard_though_a_caller_has_the_socket() {
    let server = Listener::new();
    let (mut tested, mut peer, socket) = lent(&server);
    tested.publish("a", b"unread", Qos::AtMostOnce).unwrap();
    tested.client.flush();
    wait_until("the broker has it", || peer.stream.peek(&mut [0]).unwrap() > 0);
    peer.send(&message("t", b"last words"));
    readable(&socket);
    drop(peer); // resets, as something is unread
    let mut seen = None;
    wait_until("writing fails", || {
        let _ = tested.publish("a", b"", Qos::AtMostOnce);
        tested.client.flush();
        seen = tested.try_next().filter(|seen| !matches!(seen, Seen::Published(_)));
        seen.is_some()
    });
    assert_eq!(seen, Some(Seen::Message("t".into(), b"last words".to_vec())));
}

#[test]
fn an_end_that_comes_in_the_millisecond_after_is_noticed_in_the_background() {
    for ending in [drop, Peer::reset] {
        let server = Listener::new();
        let (mut tested, peer, _) = lent(&server);
        tested.client.give_back();
        ending(peer);
        assert_eq!(tested.next(), Seen::Offline);
        tested.expect_rest();
    }
}

#[test]
fn after_a_reconnect_the_new_socket_is_lent() {
    let server = Listener::new();
    let mut tested = Tested::new();
    let mut options = reconnecting(server.port());
    options.reconnect.as_mut().unwrap().min = Duration::from_millis(1);
    let peer = tested.connected(&server, options);
    let socket = lend(&tested.client).socket;
    drop(peer);
    readable(&socket);
    tested.client.serve(None);
    tested.client.give_back();
    assert_eq!(tested.next(), Seen::Offline);
    let mut peer = server.accept();
    peer.expect_connect();
    peer.send(&ACCEPTED);
    assert_eq!(tested.next(), CONNECTED);
    let socket = lend(&tested.client).socket;
    peer.send(&message("t", b"again"));
    readable(&socket);
    tested.client.serve(None);
    assert_eq!(tested.next(), Seen::Message("t".into(), b"again".to_vec()));
}

#[test]
fn pings_are_sent_and_answers_are_read_whatever_the_caller_does() {
    let server = Listener::new();
    let mut tested = Tested::new();
    let mut options = options(server.port());
    options.profiles[0].connect.keep_alive = 1;
    let mut peer = tested.connected(&server, options);
    lend(&tested.client); // and does not read
    for _ in 0..3 {
        peer.expect(&PINGREQ);
        peer.send(&PINGRESP);
    }
    assert_eq!(tested.client.state(), State::Connected);
}

/// Sends it, and waits until all of it has come.
fn send(peer: &mut Peer, socket: &Socket, bytes: &[u8]) {
    peer.send(bytes);
    wait_until("all of it has come", || {
        let mut input = vec![0; 2 * bytes.len()];
        socket.peek(&mut input).is_ok_and(|n| n == bytes.len())
    });
}

#[test]
fn many_messages_at_once_go_back_to_the_task() {
    let server = Listener::new();
    let (mut tested, mut peer, socket) = lent(&server);
    send(&mut peer, &socket, &message("t", &[7; 100]).repeat(160));
    tested.client.serve(None);
    for _ in 0..160 {
        assert_eq!(tested.try_next(), Some(Seen::Message("t".into(), vec![7; 100])));
    }
    assert!(tested.client.lend().is_none(), "the task reads on");
    peer.send(&message("t", b"less"));
    assert_eq!(tested.next(), Seen::Message("t".into(), b"less".to_vec()));
    lend(&tested.client); // when less comes at a time
}

#[test]
fn messages_that_are_not_small_stay_with_the_caller_and_parts_of_large_ones_do_not() {
    let server = Listener::new();
    let (mut tested, mut peer, socket) = lent(&server);
    for _ in 0..3 {
        send(&mut peer, &socket, &message("t", &[7; 1000]).repeat(16));
        tested.client.serve(None);
        for _ in 0..16 {
            assert_eq!(tested.try_next(), Some(Seen::Message("t".into(), vec![7; 1000])));
        }
        tested.client.give_back();
        lend(&tested.client); // it is the caller's still
    }
    let large = message("t", &[7; 40_000]);
    send(&mut peer, &socket, &large[..16_000]);
    tested.client.serve(None);
    assert!(tested.client.lend().is_none(), "the task reads on");
    peer.send(&large[16_000..]);
    assert_eq!(tested.next(), Seen::Message("t".into(), vec![7; 40_000]));
}
