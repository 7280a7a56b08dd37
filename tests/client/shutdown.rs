//! The end of a process: everybody says goodbye, within one limit.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mqtt::client::{Client, State, shutdown_all};
use mqtt::codec::Qos;

use super::support::*;

/// These clients only: other tests of this process have theirs.
fn among<'a>(clients: &'a [&Tested]) -> impl Fn(&Client) -> bool + 'a {
    move |client| clients.iter().any(|tested| tested.client.id() == client.id())
}

#[test]
fn accepted_connections_get_their_data_and_disconnect_attempts_are_cut() {
    let server = Listener::new();
    let (mut one, mut two, connecting) = (Tested::new(), Tested::new(), Tested::new());
    let peers =
        [one.connected(&server, options(server.port())), two.connected(&server, options(server.port()))];
    connecting.client.connect(options(server.port()));
    let mut attempt = server.accept();
    attempt.expect_connect();
    one.publish("t", b"last", Qos::AtMostOnce).unwrap();
    two.publish("t", b"last", Qos::AtMostOnce).unwrap();
    let brokers: Vec<_> = peers
        .into_iter()
        .map(|mut peer| {
            std::thread::spawn(move || {
                peer.expect(&message("t", b"last"));
                peer.expect(&DISCONNECT);
                peer.expect_eof();
            })
        })
        .collect();
    let clients = [&one, &two, &connecting];
    shutdown_all(LIMIT, among(&clients));
    for tested in clients {
        assert_eq!(tested.client.state(), State::Idle);
    }
    for broker in brokers {
        broker.join().unwrap();
    }
    attempt.expect_eof();
    let started = Instant::now();
    shutdown_all(LIMIT, among(&clients)); // again: nothing to do
    assert!(started.elapsed() < LIMIT / 2);
    assert_eq!(one.next(), Seen::Offline);
}

#[test]
fn what_is_not_through_at_the_limit_is_cut() {
    let server = Listener::new();
    let (mut stuck, mut other) = (Tested::manual(), Tested::new());
    let mut silent = stuck.connected(&server, keeping(server.port()));
    let mut peer = other.connected(&server, options(server.port()));
    // On a clock that stands still, a peer that never closes would be waited for for ever.
    let limit = Duration::from_millis(300);
    let started = Instant::now();
    let clients = [&stuck, &other];
    shutdown_all(limit, among(&clients));
    assert!(started.elapsed() < LIMIT / 2, "one limit for all");
    silent.expect(&DISCONNECT);
    silent.expect_gone();
    assert_eq!(stuck.next(), Seen::Offline);
    peer.expect(&DISCONNECT);
}

#[test]
fn a_dropped_client_is_waited_for_as_well() {
    let server = Listener::new();
    let mut tested = Tested::new();
    let mut peer = tested.connected(&server, keeping(server.port()));
    let id = tested.client.id();
    tested.publish("t", &[0; 100], Qos::AtMostOnce).unwrap();
    drop(tested);
    let hangs_up = Arc::new(AtomicBool::new(false));
    let broker = std::thread::spawn({
        let hangs_up = hangs_up.clone();
        move || {
            peer.expect(&message("t", &[0; 100]));
            peer.expect(&DISCONNECT);
            peer.expect_eof();
            hangs_up.store(true, Ordering::SeqCst);
        }
    });
    shutdown_all(LIMIT, |client| client.id() == id);
    assert!(hangs_up.load(Ordering::SeqCst), "not over before the broker has closed its side");
    broker.join().unwrap();
}
