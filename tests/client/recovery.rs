//! How soon and how often a client comes back, with the waits that scripts get: promises with figures, on a clock that
//! the test moves.

use std::time::Duration;

use mqtt::client::{Options, Policy};

use super::support::*;

const MOMENT: Duration = Duration::from_millis(1);

fn by_default(port: u16) -> Options {
    Options { reconnect: Some(Policy::default()), ..options(port) }
}

/// The next attempt, and how long it took to come.
fn next_attempt(server: &Listener, tested: &Tested, limit: Duration) -> (Peer, Duration) {
    let mut waited = Duration::ZERO;
    loop {
        if let Some(peer) = server.try_accept() {
            return (peer, waited);
        }
        assert!(waited < limit, "no attempt within {limit:?}");
        tested.advance(MOMENT);
        waited += MOMENT;
    }
}

fn accept(tested: &mut Tested, peer: &mut Peer) {
    peer.expect_connect();
    peer.send(&ACCEPTED);
    assert_eq!(tested.next(), CONNECTED);
}

#[test]
fn after_progress_the_first_retry_comes_within_half_a_second_and_25_in_5_seconds_are_the_most() {
    let server = Listener::new();
    let mut tested = Tested::manual();
    let mut peer = tested.connected(&server, by_default(server.port()));
    let mut now = Duration::ZERO;
    let mut attempts = Vec::new();
    // the worst case: each connection is good for something, and lost at once
    for _ in 0..60 {
        peer.send(&message("t", b""));
        assert_eq!(tested.next(), Seen::Message("t".into(), vec![]));
        drop(peer);
        assert_eq!(tested.next(), Seen::Offline);
        let waited;
        (peer, waited) = next_attempt(&server, &tested, Duration::from_millis(500));
        now += waited;
        attempts.push(now);
        accept(&mut tested, &mut peer);
    }
    let span = Duration::from_secs(5);
    let most = attempts
        .iter()
        .map(|start| attempts.iter().filter(|at| **at >= *start && **at < *start + span).count());
    let most = most.max().unwrap_or(0);
    assert!(most <= 25, "{most} attempts in 5 s");
}

#[test]
fn a_broker_that_accepts_and_drops_sees_ever_fewer_attempts() {
    let server = Listener::new();
    let mut tested = Tested::manual();
    let mut peer = tested.connected(&server, by_default(server.port()));
    for nominal in [250, 500, 1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000] {
        drop(peer);
        assert_eq!(tested.next(), Seen::Offline);
        // ten per cent of jitter either way
        tested.advance(Duration::from_millis(nominal * 9 / 10) - MOMENT);
        assert!(server.try_accept().is_none(), "before {nominal} ms and jitter");
        let rest = Duration::from_millis(nominal / 5) + 2 * MOMENT;
        (peer, _) = next_attempt(&server, &tested, rest);
        accept(&mut tested, &mut peer);
    }
}
