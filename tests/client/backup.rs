//! A client that is to be connected for ever, with a second server to turn to: the whole schedule on a clock that the
//! test moves, and what becomes of messages on the way.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, SystemTime};

use mqtt::client::{Clock, ConnectOptions, Options, Policy, Profile, Server, State};
use mqtt::codec::Qos;
use mqtt::session::{Config, Limits, Refused, Resubscribe, Token};
use rustix::net::{AddressFamily, SocketType};

use super::support::*;

const SECOND: Duration = Duration::from_secs(1);
const MOMENT: Duration = Duration::from_millis(1);

/// A port that refuses connections, and is nobody else's.
struct Refusing {
    _socket: rustix::fd::OwnedFd,
    port: u16,
}

impl Refusing {
    fn new() -> Refusing {
        let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        rustix::net::bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = rustix::net::getsockname(&socket).unwrap();
        let port = SocketAddrV4::try_from(address).unwrap().port();
        Refusing { _socket: socket, port }
    }
}

fn seconds(min: u32, max: u32) -> Policy {
    Policy { min: min * SECOND, max: max * SECOND, factor: 2.0, jitter: 0.0 }
}

fn profile(port: u16, reconnect: Policy, broker: u32) -> Profile {
    let connect = ConnectOptions { client_id: "id".into(), clean_session: true, ..ConnectOptions::default() };
    let server = Server { host: "127.0.0.1".into(), port };
    Profile { reconnect: Some(reconnect), broker, ..Profile::new(server, connect) }
}

/// Connected for ever, telling of each attempt.
fn persistent(profiles: Vec<Profile>) -> Options {
    Options {
        reconnect: Some(Policy::default()),
        retry_first: true,
        report_attempts: true,
        profiles,
        ..options(1)
    }
}

fn keeping() -> Tested {
    let (clock, hand) = Clock::manual();
    let config = Config { keep_messages: true, resubscribe: Resubscribe::Always, ..Config::default() };
    Tested::with(config, clock, Some(hand))
}

impl Tested {
    /// The next attempt comes after exactly this wait.
    fn expect_attempt(&mut self, wait: Duration, profile: u16) {
        if wait > MOMENT {
            self.advance(wait - MOMENT);
            self.expect_silence();
            self.advance(MOMENT);
        }
        assert_eq!(self.next(), Seen::Attempt(profile), "after {wait:?}");
    }

    /// The same with an attempt that is refused.
    fn expect_refusal(&mut self, wait: u32, profile: u16) {
        self.expect_attempt(wait * SECOND, profile);
        assert_eq!(self.next(), Seen::AttemptFailed(-5));
    }

    /// An attempt at a server, which accepts.
    fn expect_connection(&mut self, wait: u32, profile: u16, server: &Listener) -> Peer {
        self.expect_attempt(wait * SECOND, profile);
        let mut peer = server.accept();
        peer.expect_connect();
        peer.send(&ACCEPTED);
        assert_eq!(self.next(), CONNECTED);
        peer
    }
}

#[test]
fn the_whole_schedule_from_the_first_attempt_to_the_return_from_the_backup() {
    let (main, backup) = (Refusing::new(), Refusing::new());
    let mut tested = Tested::manual();
    let profiles = vec![profile(main.port, seconds(2, 60), 0), profile(backup.port, seconds(3, 10), 1)];
    tested.client.connect(persistent(profiles));
    // at once, then after each wait; the attempt after the longest wait is the last at the main server
    for wait in [0, 2, 4, 8, 16, 32, 60] {
        tested.expect_refusal(wait, 0);
        assert_eq!(tested.client.state(), State::Connecting, "the outcome is open");
    }
    for wait in [3, 6, 10] {
        tested.expect_refusal(wait, 1);
    }
    for wait in [2, 4, 8, 16, 32, 60] {
        tested.expect_refusal(wait, 0);
    }
    tested.expect_refusal(3, 1);
    assert_eq!(tested.client.stats().reconnects, 0);
}

#[test]
fn one_server_is_tried_for_ever_at_the_longest_wait() {
    let main = Refusing::new();
    let mut tested = Tested::manual();
    tested.client.connect(persistent(vec![profile(main.port, seconds(2, 60), 0)]));
    for wait in [0, 2, 4, 8, 16, 32, 60, 60, 60, 60] {
        tested.expect_refusal(wait, 0);
    }
}

#[test]
fn every_wait_is_fuzzed_by_a_tenth_of_its_own() {
    let main = Refusing::new();
    let mut tested = Tested::manual();
    let fuzzed = Policy { jitter: 0.1, ..seconds(2, 60) };
    tested.client.connect(persistent(vec![profile(main.port, fuzzed, 0)]));
    tested.expect_refusal(0, 0);
    let step = Duration::from_millis(50);
    let mut seen = Vec::new();
    for wait in [2, 4, 8, 16, 32, 60, 60] {
        let mut passed = Duration::ZERO;
        while tested.try_next().is_none() {
            tested.advance(step);
            passed += step;
            assert!(passed <= 70 * SECOND, "never");
        }
        let share = passed.as_secs_f64() / f64::from(wait);
        assert!((0.9 - 1e-9..=1.1 + 0.05).contains(&share), "{passed:?} instead of {wait} s");
        seen.push(share);
        assert_eq!(tested.next(), Seen::AttemptFailed(-5));
    }
    assert!(seen.iter().any(|share| (share - seen[0]).abs() > 1e-6), "{seen:?}");
}

#[test]
fn a_drop_on_the_backup_is_retried_there_and_leads_back_when_it_fails() {
    let (main, backup) = (Refusing::new(), Listener::new());
    let mut tested = Tested::manual();
    let profiles = vec![profile(main.port, seconds(1, 2), 0), profile(backup.port(), seconds(1, 4), 1)];
    tested.client.connect(persistent(profiles));
    for wait in [0, 1, 2] {
        tested.expect_refusal(wait, 0);
    }
    // accepted there: it stays there, however often it is dropped after some progress
    let mut wait = 1;
    for _ in 0..3 {
        let mut peer = tested.expect_connection(wait, 1, &backup);
        peer.send(&message("t", b""));
        assert_eq!(tested.next(), Seen::Message("t".into(), vec![]));
        drop(peer);
        assert_eq!(tested.next(), Seen::Offline);
        assert_eq!(tested.client.state(), State::Reconnecting);
        wait = 1;
    }
    // accepted and dropped without any progress is a failure like others
    for wait in [1, 2, 4] {
        drop(tested.expect_connection(wait, 1, &backup));
        assert_eq!(tested.next(), Seen::Offline);
    }
    tested.expect_refusal(1, 0);
}

#[test]
fn waits_start_over_after_a_connection_that_made_progress() {
    let server = Listener::new();
    let mut tested = Tested::manual();
    tested.client.connect(persistent(vec![profile(server.port(), seconds(2, 60), 0)]));
    for wait in [0, 2, 4, 8] {
        tested.expect_attempt(wait * SECOND, 0);
        server.accept();
        assert_eq!(tested.next(), Seen::AttemptFailed(-4));
    }
    let peer = tested.expect_connection(16, 0, &server);
    tested.advance(5 * SECOND);
    drop(peer);
    assert_eq!(tested.next(), Seen::Offline);
    drop(tested.expect_connection(2, 0, &server));
    assert_eq!(tested.next(), Seen::Offline);
    drop(tested.expect_connection(4, 0, &server));
}

#[test]
fn an_attempt_that_waits_for_its_time_can_be_made_at_once() {
    let main = Refusing::new();
    let mut tested = Tested::manual();
    tested.client.hasten();
    tested.client.connect(persistent(vec![profile(main.port, seconds(10, 60), 0)]));
    for wait in [0, 10] {
        tested.expect_refusal(wait, 0);
    }
    for _ in 0..2 {
        reactor_is_idle();
        tested.client.hasten();
        tested.expect_refusal(0, 0);
    }
    // 10, 20, 40 and 60 have been drawn
    tested.expect_refusal(60, 0);
    tested.client.close();
    tested.client.hasten();
    tested.expect_rest();
}

#[test]
fn to_hasten_an_attempt_under_way_does_not_hasten_the_next() {
    let server = Listener::new();
    let mut tested = Tested::manual();
    tested.client.connect(persistent(vec![profile(server.port(), seconds(10, 60), 0)]));
    assert_eq!(tested.next(), Seen::Attempt(0));
    let mut peer = server.accept();
    peer.expect_connect();
    tested.client.hasten();
    drop(peer);
    assert!(matches!(tested.next(), Seen::AttemptFailed(_)));
    tested.expect_attempt(10 * SECOND, 0);
}

/// Everything that was ready has been done.
fn reactor_is_idle() {
    mqtt::client::reactor::settle();
}

#[test]
fn close_ends_the_retries_of_a_first_attempt_silently() {
    let main = Refusing::new();
    let mut tested = Tested::manual();
    tested.client.connect(persistent(vec![profile(main.port, seconds(1, 1), 0)]));
    tested.expect_refusal(0, 0);
    tested.client.close();
    assert_eq!(tested.client.state(), State::Idle);
    tested.advance(100 * SECOND);
    tested.expect_rest();
}

#[test]
fn no_attempt_is_made_before_the_wall_clock_is_set() {
    let main = Refusing::new();
    let mut tested = Tested::manual();
    let hand = tested.hand.clone().unwrap();
    hand.set_wall(SystemTime::UNIX_EPOCH);
    let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1_500_000_000);
    let profile = Profile { not_before: Some(then), ..profile(main.port, seconds(1, 1), 0) };
    tested.client.connect(persistent(vec![profile]));
    tested.advance(1000 * SECOND);
    tested.expect_silence();
    hand.set_wall(then);
    tested.expect_attempt(SECOND, 0);
    assert_eq!(tested.next(), Seen::AttemptFailed(-5));
}

#[test]
fn connect_is_asked_for_on_each_link_and_sent_as_answered() {
    let server = Listener::new();
    let mut tested = Tested::manual();
    tested.client.ask_connect(true);
    tested.client.connect(persistent(vec![profile(server.port(), seconds(1, 60), 0)]));
    assert_eq!(tested.next(), Seen::Attempt(0));
    let mut peer = server.accept();
    assert_eq!(tested.next(), Seen::ConnectWanted(0));
    let given = ConnectOptions {
        client_id: "other".into(),
        clean_session: true,
        username: Some("token".into()),
        password: Some(b"1".to_vec()),
        ..ConnectOptions::default()
    };
    assert!(tested.client.provide_connect(given.clone()));
    assert!(!tested.client.provide_connect(given.clone()), "once");
    let packet = peer.expect_connect();
    let text = String::from_utf8_lossy(&packet);
    assert!(text.contains("other") && text.contains("token"), "{text}");
    peer.send(&ACCEPTED);
    assert_eq!(tested.next(), CONNECTED);
    drop(peer);
    assert_eq!(tested.next(), Seen::Offline);
    // nobody answers: the attempt fails by its limit
    tested.expect_attempt(SECOND, 0);
    let mut peer = server.accept();
    assert_eq!(tested.next(), Seen::ConnectWanted(0));
    tested.advance(Options::CONNECT_TIMEOUT);
    assert_eq!(tested.next(), Seen::AttemptFailed(-1));
    peer.expect_eof();
    assert!(!tested.client.provide_connect(given));
    tested.client.ask_connect(false);
    tested.expect_connection(2, 0, &server);
}

#[test]
fn the_bounds_are_those_of_the_profile_that_is_tried() {
    let (main, backup) = (Refusing::new(), Listener::new());
    let limits = |max_qos, max_waiting| Some(Limits { max_qos, max_waiting, ..Limits::default() });
    let main = Profile { limits: limits(Qos::ExactlyOnce, Some(1)), ..profile(main.port, seconds(1, 1), 0) };
    let backup_profile =
        Profile { limits: limits(Qos::AtLeastOnce, Some(0)), ..profile(backup.port(), seconds(1, 1), 1) };
    let mut tested = keeping();
    tested.client.connect(persistent(vec![main, backup_profile]));
    for payload in [b"1", b"2"] {
        assert_eq!(tested.publish("t", payload, Qos::ExactlyOnce), Ok(()));
    }
    assert_eq!(tested.client.pending().0, 1, "the older one had to go");
    for wait in [0, 1] {
        tested.expect_refusal(wait, 0);
    }
    tested.expect_attempt(SECOND, 1);
    assert_eq!(tested.publish("t", b"3", Qos::ExactlyOnce), Err(Refused::NotConnected));
    let mut peer = backup.accept();
    peer.expect_connect();
    peer.send(&ACCEPTED);
    assert_eq!(tested.next(), CONNECTED);
    let packet = peer.packet();
    assert_eq!((packet[0], packet.last()), (0x32, Some(&b'2')), "lowered");
    tested.client.set_max_qos(Some(Qos::AtMostOnce));
    assert_eq!(tested.publish("t", b"4", Qos::ExactlyOnce), Ok(()));
    assert_eq!(peer.packet()[0], 0x30);
    tested.client.set_max_qos(None);
    assert_eq!(tested.publish("t", b"5", Qos::ExactlyOnce), Ok(()));
    assert_eq!(peer.packet()[0], 0x32);
}

#[test]
fn messages_and_subscriptions_move_to_the_backup_as_new_ones() {
    let (main, backup) = (Listener::new(), Listener::new());
    let profiles = vec![profile(main.port(), seconds(1, 1), 0), profile(backup.port(), seconds(1, 1), 1)];
    let mut tested = keeping();
    let client = tested.client.clone();
    client.subscribe(&[("a", Qos::AtLeastOnce)], Token::NONE, mqtt::client::Sending::Soon).unwrap();
    tested.client.connect(persistent(profiles));
    let id = client
        .publish_with_id("t", b"1", Qos::ExactlyOnce, false, Token::NONE, mqtt::client::Sending::Soon)
        .unwrap();
    let mut peer = tested.expect_connection(0, 0, &main);
    assert_eq!(peer.packet()[..2], [0x82, 6], "SUBSCRIBE first");
    let first = peer.packet();
    assert_eq!((first[0], first.last()), (0x34, Some(&b'1')));
    drop(peer);
    assert_eq!(tested.next(), Seen::Offline);
    drop(main);
    tested.expect_refusal(1, 0);
    let mut peer = tested.expect_connection(1, 1, &backup);
    assert_eq!(peer.packet()[..2], [0x82, 6], "SUBSCRIBE again");
    assert_eq!(peer.packet(), first, "no repetition, under the id that the caller knows: {id:?}");
}

#[test]
fn ticks_come_while_connected() {
    let server = Listener::new();
    let mut tested = Tested::manual();
    tested.client.set_tick(Some(SECOND));
    let peer = tested.connected(&server, options(server.port()));
    for _ in 0..3 {
        tested.advance(SECOND);
        assert_eq!(tested.next(), Seen::Tick);
    }
    tested.client.set_tick(None);
    tested.advance(10 * SECOND);
    tested.expect_silence();
    drop(peer);
    assert_eq!(tested.next(), Seen::Offline);
}
