//! Losses and returns, on a clock that the test moves.

use std::time::Duration;

use mqtt::client::{Options, Policy, Profile, Server, State};
use mqtt::codec::Qos;
use mqtt::session::Refused;

use super::support::*;

const SECOND: Duration = Duration::from_secs(1);
const MOMENT: Duration = Duration::from_millis(1);

#[test]
fn a_loss_without_a_policy_is_one_offline() {
    let server = Listener::new();
    let mut tested = Tested::manual();
    drop(tested.connected(&server, options(server.port())));
    assert_eq!(tested.next(), Seen::Offline);
    tested.advance(100 * SECOND);
    tested.expect_rest();
    assert!(server.try_accept().is_none());
}

#[test]
fn a_broker_that_accepts_and_drops_meets_growing_waits() {
    let server = Listener::new();
    let mut tested = Tested::manual();
    let mut peer = tested.connected(&server, reconnecting(server.port()));
    for wait in [1, 2, 4, 8, 8] {
        drop(peer);
        assert_eq!(tested.next(), Seen::Offline);
        assert_eq!(tested.client.state(), State::Reconnecting);
        tested.advance(wait * SECOND - MOMENT);
        assert!(server.try_accept().is_none(), "not before {wait} s");
        tested.advance(MOMENT);
        peer = server.accept();
        peer.expect_connect();
        peer.send(&ACCEPTED);
        assert_eq!(tested.next(), CONNECTED);
    }
    assert_eq!(tested.client.stats().reconnects, 5);
}

#[test]
fn waits_start_over_after_a_message_or_five_seconds() {
    let server = Listener::new();
    let mut tested = Tested::manual();
    let mut peer = tested.connected(&server, reconnecting(server.port()));
    let again = |tested: &mut Tested, wait: u32| {
        assert_eq!(tested.next(), Seen::Offline);
        tested.advance(wait * SECOND - MOMENT);
        assert!(server.try_accept().is_none(), "not before {wait} s");
        tested.advance(MOMENT);
        let mut peer = server.accept();
        peer.expect_connect();
        peer.send(&ACCEPTED);
        assert_eq!(tested.next(), CONNECTED);
        peer
    };
    for wait in [1, 2] {
        drop(peer);
        peer = again(&mut tested, wait);
    }
    peer.send(&message("t", b""));
    assert_eq!(tested.next(), Seen::Message("t".into(), vec![]));
    drop(peer);
    peer = again(&mut tested, 1);
    drop(peer);
    peer = again(&mut tested, 2);
    tested.advance(5 * SECOND);
    drop(peer);
    again(&mut tested, 1);
}

#[test]
fn failing_retries_are_silent_and_go_on_for_ever() {
    let server = Listener::new();
    let mut tested = Tested::manual();
    drop(tested.connected(&server, reconnecting(server.port())));
    assert_eq!(tested.next(), Seen::Offline);
    // refused with a code, hung up on, left without an answer
    tested.advance(SECOND);
    let mut peer = server.accept();
    peer.expect_connect();
    peer.send(&[0x20, 2, 0, 5]);
    peer.expect_eof();
    wait_until("the next wait begins", || {
        tested.advance(MOMENT);
        server.try_accept().inspect(|_| tested.advance(Duration::ZERO)).is_some()
    });
    tested.advance(Options::CONNECT_TIMEOUT);
    tested.expect_silence();
    assert_eq!(tested.client.state(), State::Reconnecting);
    let mut accepted = None;
    wait_until("another attempt", || {
        tested.advance(SECOND);
        accepted = server.try_accept();
        accepted.is_some()
    });
    let mut peer = accepted.unwrap();
    peer.expect_connect();
    peer.send(&ACCEPTED);
    assert_eq!(tested.next(), CONNECTED);
}

#[test]
fn close_while_away_ends_the_retries_silently() {
    let server = Listener::new();
    let mut tested = Tested::manual();
    drop(tested.connected(&server, reconnecting(server.port())));
    assert_eq!(tested.next(), Seen::Offline);
    tested.client.close();
    tested.advance(100 * SECOND);
    tested.expect_rest();
    assert!(server.try_accept().is_none());
}

#[test]
fn an_offline_that_nobody_took_survives_close() {
    let server = Listener::new();
    let mut tested = Tested::manual();
    drop(tested.connected(&server, reconnecting(server.port())));
    wait_until("lost", || tested.client.state() == State::Reconnecting);
    tested.client.close();
    assert_eq!(tested.next(), Seen::Offline, "the caller believes in the connection");
    tested.expect_rest();
}

#[test]
fn a_loss_and_a_return_that_nobody_took_end_in_one_offline_at_close() {
    let server = Listener::new();
    let mut tested = Tested::manual();
    drop(tested.connected(&server, reconnecting(server.port())));
    wait_until("lost", || tested.client.state() == State::Reconnecting);
    tested.advance(SECOND);
    let mut peer = server.accept();
    peer.expect_connect();
    peer.send(&ACCEPTED);
    wait_until("back", || tested.client.state() == State::Connected);
    tested.client.close();
    peer.expect(&DISCONNECT);
    drop(peer);
    assert_eq!(tested.next(), Seen::Offline);
    tested.expect_rest();
}

#[test]
fn connect_while_away_starts_at_once() {
    let server = Listener::new();
    let mut tested = Tested::manual();
    drop(tested.connected(&server, reconnecting(server.port())));
    assert_eq!(tested.next(), Seen::Offline);
    let _peer = tested.connected(&server, options(server.port()));
    tested.expect_silence();
}

#[test]
fn while_away_qos_1_is_kept_and_qos_0_refused() {
    let server = Listener::new();
    let mut tested = Tested::manual();
    drop(tested.connected(&server, reconnecting(server.port())));
    assert_eq!(tested.next(), Seen::Offline);
    assert_eq!(tested.publish("t", b"0", Qos::AtMostOnce), Err(Refused::NotConnected));
    assert_eq!(tested.publish("t", b"1", Qos::AtLeastOnce), Ok(()));
    assert_eq!(tested.publish("t", b"2", Qos::ExactlyOnce), Ok(()));
    assert_eq!(tested.client.pending().0, 2);
    tested.advance(SECOND);
    let mut peer = server.accept();
    peer.expect_connect();
    peer.send(&ACCEPTED);
    let packet = peer.packet();
    assert_eq!((packet[0], packet.last()), (0x32, Some(&b'1')));
    let packet = peer.packet();
    assert_eq!((packet[0], packet.last()), (0x34, Some(&b'2')));
}

#[test]
fn the_other_profile_takes_over_after_the_longest_wait() {
    let (main, backup) = (Listener::new(), Listener::new());
    let mut options = reconnecting(main.port());
    options.reconnect = Some(Policy { min: SECOND, max: 2 * SECOND, ..options.reconnect.unwrap() });
    let server = Server { host: "127.0.0.1".into(), port: backup.port() };
    options.profiles.push(Profile { server, ..options.profiles[0].clone() });
    let mut tested = Tested::manual();
    let mut peer = tested.connected(&main, options);
    for wait in [1, 2] {
        drop(peer);
        assert_eq!(tested.next(), Seen::Offline);
        tested.advance(wait * SECOND);
        peer = main.accept();
        peer.expect_connect();
        peer.send(&ACCEPTED);
        assert_eq!(tested.next(), CONNECTED);
    }
    drop(peer);
    assert_eq!(tested.next(), Seen::Offline);
    tested.advance(SECOND);
    backup.accept().expect_connect();
    assert!(main.try_accept().is_none());
}

#[test]
fn credentials_are_asked_for_at_every_attempt() {
    let server = Listener::new();
    let mut tested = Tested::manual();
    tested.client.connect(Options { ask_credentials: true, ..reconnecting(server.port()) });
    assert_eq!(tested.next(), Seen::CredentialsWanted);
    tested.client.provide_credentials(Some(Default::default()));
    let mut peer = server.accept();
    peer.expect_connect();
    peer.send(&ACCEPTED);
    assert_eq!(tested.next(), CONNECTED);
    drop(peer);
    assert_eq!(tested.next(), Seen::Offline);
    tested.advance(SECOND);
    assert_eq!(tested.next(), Seen::CredentialsWanted);
    // none: this attempt fails, silently, and the next one asks again
    tested.client.provide_credentials(None);
    assert_eq!(tested.next_advancing(SECOND), Seen::CredentialsWanted);
    tested.client.provide_credentials(Some(Default::default()));
    server.accept().expect_connect();
}
