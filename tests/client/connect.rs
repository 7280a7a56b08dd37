//! From `connect` to the first answer: what is sent, and what each way to fail is called.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_lite::future::block_on;
use mqtt::client::{Client, ClientOptions, Credentials, Options, Sink, State, Will};
use mqtt::codec::Qos;
use mqtt::net;
use mqtt::session::{Config, Refused};
use parking_lot::Mutex;

use super::support::*;

/// `connect` to a peer that answers with `answer` and leaves the socket open.
fn answered_with(answer: &[u8]) -> (Seen, Tested, Peer) {
    let server = Listener::new();
    let mut tested = Tested::new();
    tested.client.connect(options(server.port()));
    let mut peer = server.accept();
    peer.expect_connect();
    peer.send(answer);
    let seen = tested.next();
    (seen, tested, peer)
}

#[test]
fn mqtt_3_1_0_1_the_first_packet_is_connect() {
    let server = Listener::new();
    let mut tested = Tested::new();
    tested.client.connect(options(server.port()));
    assert_eq!(tested.client.state(), State::Connecting);
    let mut peer = server.accept();
    let expected = [
        0x10, 14, // CONNECT, 14 bytes follow
        0, 4, b'M', b'Q', b'T', b'T', // protocol name
        4,    // level
        0x02, // flags: clean session
        0, 0, // keep-alive: off
        0, 2, b'i', b'd', // client id
    ];
    peer.expect(&expected);
    peer.send(&ACCEPTED);
    assert_eq!(tested.next(), CONNECTED);
    assert_eq!(tested.client.state(), State::Connected);
}

#[test]
fn mqtt_3_1_0_2_connect_while_connected_uses_a_connection_of_its_own() {
    let server = Listener::new();
    let mut tested = Tested::new();
    let mut first = tested.connected(&server, options(server.port()));
    tested.client.connect(options(server.port()));
    assert_eq!(tested.client.state(), State::Connecting);
    first.expect(&DISCONNECT);
    first.expect_eof();
    drop(first);
    assert_eq!(tested.next(), Seen::Offline);
    let mut second = server.accept();
    second.expect_connect();
    second.send(&ACCEPTED);
    assert_eq!(tested.next(), CONNECTED);
    tested.client.close();
    second.expect(&DISCONNECT);
    drop(second);
    assert_eq!(tested.next(), Seen::Offline);
    tested.expect_rest();
}

#[test]
fn mqtt_3_2_2_5_each_refusal_is_reported_with_its_code_and_ends_the_connection() {
    for code in 1..=5 {
        let (seen, mut tested, mut peer) = answered_with(&[0x20, 0x02, 0x00, code]);
        assert_eq!(seen, Seen::Failed(code as i8));
        peer.expect_eof();
        tested.expect_rest();
    }
}

#[test]
fn anything_but_a_good_connack_is_reason_minus_4() {
    let answers: [&[u8]; 6] = [
        &[0x20, 0x02, 0x00, 0x06],       // a code that does not exist
        &[0x20, 0x02, 0x02, 0x00],       // reserved flags
        &[0x20, 0x03, 0x00, 0x00, 0x00], // another length
        &[0xD0, 0x00],                   // PINGRESP comes first
        &[0x30, 0x03, 0x00, 0x01, b'a'], // PUBLISH comes first
        &[0x20, 0x82, 0x80, 0x80, 0x80], // a Remaining Length of more than four bytes
    ];
    for answer in answers {
        let (seen, mut tested, mut peer) = answered_with(answer);
        assert_eq!(seen, Seen::Failed(-4), "{answer:x?}");
        peer.expect_gone();
        tested.expect_rest();
    }
}

#[test]
fn a_connection_that_ends_before_connack_is_reason_minus_4() {
    let endings: [fn(Peer); 3] = [
        drop,                         // with CONNECT read
        Peer::reset,                  // a broken one
        |peer| peer.shutdown_write(), // half of it
    ];
    for end in endings {
        let server = Listener::new();
        let mut tested = Tested::new();
        tested.client.connect(options(server.port()));
        let mut peer = server.accept();
        peer.expect_connect();
        end(peer);
        assert_eq!(tested.next(), Seen::Failed(-4));
        tested.expect_rest();
    }
}

#[test]
fn a_peer_that_hangs_up_at_once_is_reason_minus_4_whatever_comes_first() {
    for _ in 0..20 {
        let server = Listener::new();
        let mut tested = Tested::new();
        tested.client.connect(options(server.port()));
        server.accept().reset();
        assert_eq!(tested.next(), Seen::Failed(-4));
    }
}

#[test]
fn no_connack_in_time_is_reason_minus_2() {
    let server = Listener::new();
    let mut tested = Tested::manual();
    tested.client.connect(options(server.port()));
    let mut peer = server.accept();
    peer.expect_connect();
    tested.advance(Options::CONNECT_TIMEOUT - Duration::from_millis(1));
    tested.expect_silence();
    tested.advance(Duration::from_millis(1));
    assert_eq!(tested.next(), Seen::Failed(-2));
    peer.expect_eof();
    tested.expect_rest();
}

#[test]
fn a_port_that_nobody_listens_on_is_reason_minus_5() {
    let port = Listener::new().port();
    let mut tested = Tested::new();
    tested.client.connect(options(port));
    assert_eq!(tested.next(), Seen::Failed(-5));
    tested.expect_rest();
}

#[test]
fn a_host_that_does_not_answer_is_reason_minus_5() {
    // A listener whose queue is full lets the system drop every further SYN.
    let (listener, _queued) = full_listener(Ipv4Addr::LOCALHOST.into()).unwrap();
    let mut tested = Tested::manual();
    tested.client.connect(options(listener.local_addr().unwrap().port()));
    assert_eq!(tested.next_advancing(Duration::from_secs(1)), Seen::Failed(-5));
    tested.expect_rest();
}

fn full_listener(ip: IpAddr) -> io::Result<(TcpListener, Vec<TcpStream>)> {
    use rustix::net::{AddressFamily, SocketType, bind, listen, socket};
    let family = if ip.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    let socket: OwnedFd = socket(family, SocketType::STREAM, None)?;
    bind(&socket, &SocketAddr::from((ip, 0)))?;
    listen(&socket, 0)?;
    let listener = TcpListener::from(socket);
    let mut queued = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&listener.local_addr()?, Duration::from_millis(200)) {
        queued.push(stream);
    }
    Ok((listener, queued))
}

/// Of the two families those that this machine has.
fn loopbacks() -> impl Iterator<Item = IpAddr> {
    let both: [IpAddr; 2] = [Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()];
    both.into_iter().filter(|ip| TcpListener::bind((*ip, 0)).is_ok())
}

#[test]
fn a_dead_route_costs_a_quarter_of_a_second_not_a_timeout() {
    for ip in loopbacks() {
        let (dead, _queued) = full_listener(ip).unwrap();
        let alive = TcpListener::bind("127.0.0.1:0").unwrap();
        let addresses = [dead.local_addr().unwrap(), alive.local_addr().unwrap()];
        let begin = Instant::now();
        let stream = block_on(net::connect(&addresses)).unwrap();
        let took = begin.elapsed();
        assert_eq!(stream.direct().unwrap().peer_addr().unwrap(), addresses[1]);
        // the dead one would take minutes
        assert!(took >= Duration::from_millis(250) && took < LIMIT, "{took:?}");
    }
}

#[test]
fn an_address_that_answers_is_not_raced() {
    let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let addresses = listeners.each_ref().map(|listener| listener.local_addr().unwrap());
    let stream = block_on(net::connect(&addresses)).unwrap();
    assert_eq!(stream.direct().unwrap().peer_addr().unwrap(), addresses[0]);
    listeners[1].set_nonblocking(true).unwrap();
    assert_eq!(listeners[1].accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
}

#[test]
fn every_family_of_addresses_leads_to_the_broker() {
    for ip in loopbacks() {
        let listener = TcpListener::bind((ip, 0)).unwrap();
        let mut options = options(listener.local_addr().unwrap().port());
        options.profiles[0].server.host = ip.to_string();
        let server = Listener { listener };
        let mut tested = Tested::new();
        let peer = tested.connected(&server, options);
        assert_eq!(peer.stream.peer_addr().unwrap().ip(), ip);
    }
}

#[test]
fn a_name_that_does_not_resolve_is_reason_minus_3() {
    let mut options = options(1883);
    options.profiles[0].server.host = "not\0a name".into();
    let mut tested = Tested::new();
    tested.client.connect(options);
    assert_eq!(tested.next(), Seen::Failed(-3));
    tested.expect_rest();
}

#[test]
fn no_server_at_all_is_a_failure_not_a_panic() {
    let mut tested = Tested::new();
    tested.client.connect(Options { profiles: Vec::new(), ..options(1) });
    assert_eq!(tested.next(), Seen::Failed(-5));
    tested.expect_rest();
}

#[test]
fn a_failing_first_attempt_is_not_retried_even_with_a_policy() {
    let port = Listener::new().port();
    let mut tested = Tested::manual();
    tested.client.connect(reconnecting(port));
    assert_eq!(tested.next(), Seen::Failed(-5));
    tested.advance(Duration::from_secs(100));
    tested.expect_rest();
}

#[test]
fn credentials_are_asked_for_before_the_dial_and_replace_the_profiles() {
    let server = Listener::new();
    let mut tested = Tested::new();
    tested.client.provide_credentials(None); // nobody asked: ignored
    tested.client.connect(Options { ask_credentials: true, ..options(server.port()) });
    assert_eq!(tested.next(), Seen::CredentialsWanted);
    assert!(server.try_accept().is_none());
    let credentials = Credentials { username: Some("u".into()), password: Some(b"p\0".to_vec()) };
    tested.client.provide_credentials(Some(credentials));
    let connect = server.accept().expect_connect();
    assert_eq!(connect[9], 0xC2, "flags: user name, password, clean session");
    assert!(connect.ends_with(&[0, 1, b'u', 0, 2, b'p', 0]), "{connect:x?}");
}

#[test]
fn no_credentials_is_reason_minus_1() {
    let server = Listener::new();
    let mut tested = Tested::new();
    tested.client.connect(Options { ask_credentials: true, ..options(server.port()) });
    assert_eq!(tested.next(), Seen::CredentialsWanted);
    tested.client.provide_credentials(None);
    assert_eq!(tested.next(), Seen::Failed(-1));
    assert!(server.try_accept().is_none(), "no dial");
    tested.expect_rest();
}

#[test]
fn close_while_credentials_are_awaited_is_silent() {
    let server = Listener::new();
    let mut tested = Tested::new();
    tested.client.connect(Options { ask_credentials: true, ..options(server.port()) });
    assert_eq!(tested.next(), Seen::CredentialsWanted);
    tested.client.close();
    tested.client.provide_credentials(Some(Credentials::default()));
    tested.expect_rest();
    assert!(server.try_accept().is_none(), "no dial");
}

#[test]
fn a_will_set_later_goes_with_the_next_connect() {
    let server = Listener::new();
    let mut tested = Tested::manual();
    let peer = tested.connected(&server, reconnecting(server.port()));
    tested.client.set_will(Some(Will {
        topic: "gone".into(),
        message: b"w".to_vec(),
        qos: Qos::AtLeastOnce,
        retain: true,
    }));
    drop(peer);
    assert_eq!(tested.next(), Seen::Offline);
    tested.advance(Duration::from_secs(1));
    let connect = server.accept().expect_connect();
    assert_eq!(connect[9], 0x2E, "flags: retain, QoS 1, will, clean session");
    assert!(connect.ends_with(b"\0\x04gone\0\x01w"), "{connect:x?}");
}

#[test]
fn connect_while_connecting_ends_the_old_attempt_silently() {
    let (silent, server) = (Listener::new(), Listener::new());
    let mut tested = Tested::new();
    tested.client.connect(options(silent.port()));
    let mut old = silent.accept();
    old.expect_connect();
    tested.client.connect(options(server.port()));
    old.expect_eof();
    let mut peer = server.accept();
    peer.expect_connect();
    peer.send(&ACCEPTED);
    assert_eq!(tested.next(), CONNECTED);
    tested.expect_silence();
}

#[test]
fn an_outcome_that_nobody_has_seen_is_withdrawn_by_another_connect() {
    let server = Listener::new();
    let mut tested = Tested::new();
    tested.client.connect(options(server.port()));
    let mut first = server.accept();
    first.expect_connect();
    first.send(&ACCEPTED);
    wait_until("accepted", || tested.client.state() == State::Connected);
    tested.client.connect(options(server.port()));
    first.expect(&DISCONNECT);
    drop(first);
    let mut second = server.accept();
    second.expect_connect();
    second.send(&ACCEPTED);
    wait_until("accepted", || tested.client.state() == State::Connected);
    assert_eq!(tested.next(), CONNECTED);
    tested.expect_silence();

    // the same with a failure
    let nobody = Listener::new().port();
    let mut tested = Tested::new();
    tested.client.connect(options(nobody));
    wait_until("failed", || tested.client.state() == State::Idle);
    tested.client.connect(options(nobody));
    assert_eq!(tested.next(), Seen::Failed(-5));
    tested.expect_rest();
}

#[test]
fn many_connects_in_a_row_leave_one_connection() {
    let server = Listener::new();
    let mut tested = Tested::new();
    for _ in 0..20 {
        tested.client.connect(options(server.port()));
    }
    let accepted = loop {
        let mut peer = server.accept();
        // the replaced ones may have been cut at any point
        let mut first = [0];
        if io::Read::read(&mut peer.stream, &mut first).is_ok_and(|n| n == 1) {
            assert_eq!(first, [0x10]);
            peer.receive(15);
            peer.stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
            let ended = io::Read::read(&mut peer.stream, &mut first);
            peer.stream.set_read_timeout(Some(LIMIT)).unwrap();
            if ended.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
                break peer;
            }
        }
    };
    let mut peer = accepted;
    peer.send(&ACCEPTED);
    assert_eq!(tested.next(), CONNECTED);
    tested.expect_silence();
}

#[test]
fn publish_is_refused_until_the_connection_is_accepted() {
    let server = Listener::new();
    let mut tested = Tested::new();
    let refused = Err(Refused::NotConnected);
    assert_eq!(tested.publish("t", b"", Qos::AtLeastOnce), refused, "idle");
    tested.client.connect(options(server.port()));
    assert_eq!(tested.publish("t", b"", Qos::AtLeastOnce), refused, "connecting");
    let mut peer = server.accept();
    peer.expect_connect();
    peer.send(&ACCEPTED);
    assert_eq!(tested.next(), CONNECTED);
    assert_eq!(tested.publish("t", b"", Qos::AtLeastOnce), Ok(()));
    tested.client.close();
    assert_eq!(tested.publish("t", b"", Qos::AtLeastOnce), refused, "closed");
}

#[test]
fn another_client_connects_from_inside_ready() {
    /// Has another client connect when told so.
    struct Meddler(Client, Mutex<Option<Options>>);

    impl Sink for Meddler {
        fn ready(&self, _: u32) {
            if let Some(options) = self.1.lock().take() {
                self.0.connect(options);
            }
        }
    }

    let (first, second) = (Listener::new(), Listener::new());
    let mut tested = Tested::new();
    let meddler = Arc::new(Meddler(tested.client.clone(), Mutex::default()));
    let client = Client::new(Config::default(), ClientOptions::default(), meddler.clone());
    client.connect(options(first.port()));
    let mut peer = first.accept();
    peer.expect_connect();
    *meddler.1.lock() = Some(options(second.port()));
    peer.send(&ACCEPTED); // on the reactor's thread, where that client is just being driven
    let mut peer = second.accept();
    peer.expect_connect();
    peer.send(&ACCEPTED);
    assert_eq!(tested.next(), CONNECTED);
}
