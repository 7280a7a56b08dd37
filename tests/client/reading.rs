//! What comes from the broker: streams cut anywhere, back-pressure, silence.

use std::thread;
use std::time::Duration;

use mqtt::client::{State, reactor};
use mqtt::session::Events;

use super::support::*;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn mqtt_7_1_2_1_packets_cut_anywhere_arrive_whole() {
    let server = Listener::new();
    let mut tested = Tested::new();
    tested.client.connect(options(server.port()));
    let mut peer = server.accept();
    peer.expect_connect();
    let mut stream = ACCEPTED.to_vec();
    let payloads = [&b""[..], b"x", &[9; 300]];
    for payload in payloads {
        stream.extend(message("topic", payload));
    }
    for byte in stream {
        peer.send(&[byte]);
    }
    assert_eq!(tested.next(), CONNECTED);
    for payload in payloads {
        assert_eq!(tested.next(), Seen::Message("topic".into(), payload.to_vec()));
    }
}

#[test]
fn messages_of_all_sizes_arrive_whole_and_in_order() {
    const LENS: [usize; 9] = [10, 300_000, 0, 40_000, 16 << 20, 1_000, 70_000, 20_000, 1];
    let server = Listener::new();
    let mut tested = Tested::new();
    let mut peer = tested.connected(&server, options(server.port()));
    let payload = |number: usize| {
        let random = (number as u32 | 1).wrapping_mul(0x9E37_79B9);
        (0..LENS[number % LENS.len()] as u32)
            .map(|n| (n ^ random).wrapping_mul(random) as u8)
            .collect::<Vec<_>>()
    };
    // the small ones come together, so that much is read at once
    let count = 3 * LENS.len();
    let sender = thread::spawn(move || {
        let mut stream = Vec::new(); // byte by byte it would take half a minute under ThreadSanitizer
        for number in 0..count {
            stream.extend_from_slice(&message("large", &payload(number)));
            stream.extend_from_slice(&message("s", b"small").repeat(9_000));
        }
        peer.send(&stream);
        peer
    });
    for number in 0..count {
        assert!(tested.next() == Seen::Message("large".into(), payload(number)), "number {number}");
        for _ in 0..9_000 {
            assert_eq!(tested.next(), Seen::Message("s".into(), b"small".to_vec()));
        }
    }
    sender.join().unwrap();
}

#[test]
fn a_violation_ends_the_connection_after_what_came_before_it() {
    let server = Listener::new();
    let mut tested = Tested::new();
    let mut peer = tested.connected(&server, options(server.port()));
    let mut bytes = message("t", b"good");
    bytes.extend([0xF0, 0x00]); // a packet type that does not exist
    bytes.extend(message("t", b"never"));
    peer.send(&bytes);
    assert_eq!(tested.next(), Seen::Message("t".into(), b"good".to_vec()));
    assert_eq!(tested.next(), Seen::Offline);
    peer.expect_gone();
    tested.expect_rest();
}

#[test]
fn a_reader_that_nobody_listens_to_stops_and_goes_on_later_without_a_loss() {
    const MESSAGES: u32 = 40_000;
    let server = Listener::new();
    let mut tested = Tested::new();
    let mut peer = tested.connected(&server, options(server.port()));
    let sent = counter();
    let sender = thread::spawn({
        let sent = sent.clone();
        move || {
            for number in 0..MESSAGES {
                let mut payload = [0; 1_000];
                payload[..4].copy_from_slice(&number.to_be_bytes());
                let message = message("t", &payload);
                peer.send(&message);
                sent.fetch_add(message.len(), std::sync::atomic::Ordering::SeqCst);
            }
            peer
        }
    });
    // 40 MB are more than the events may weigh and the system's buffers hold
    let mut received = 0;
    wait_until("the reader stops", || {
        let sent = count(&sent);
        let before = tested.client.is_settled();
        reactor::settle(); // what has been read and not been counted yet
        let now = tested.client.is_settled();
        received = now.1.expect("connected").received;
        // it does nothing, though there is something to read
        now.0 && now == before && received < sent as u64
    });
    assert!(received < 8 << 20, "{received} bytes were read though nobody took the events");
    assert!(!sender.is_finished());
    for number in 0..MESSAGES {
        let Seen::Message(_, payload) = tested.next() else { panic!("a message") };
        assert_eq!(payload[..4], number.to_be_bytes());
    }
    sender.join().unwrap();
}

#[test]
fn one_flood_does_not_starve_another_client() {
    let server = Listener::new();
    let (mut flooded, mut other) = (Tested::new(), Tested::new());
    let mut flood = flooded.connected(&server, options(server.port()));
    let mut quiet = other.connected(&server, options(server.port()));
    let (stop, stopped) = (counter(), counter());
    let flooder = thread::spawn({
        let stop = stop.clone();
        move || {
            let chunk = message("t", &[0; 1_000]).repeat(100);
            while count(&stop) == 0 {
                flood.send(&chunk);
            }
        }
    });
    let taker = thread::spawn({
        let (client, stopped) = (flooded.client.clone(), stopped.clone());
        move || {
            let mut batch = Events::new();
            while count(&stopped) == 0 {
                client.swap_events(&mut batch, false);
                while batch.pop().is_some() {}
            }
        }
    });
    for number in 0..100_u8 {
        quiet.send(&message("q", &[number]));
        assert_eq!(other.next(), Seen::Message("q".into(), vec![number]));
    }
    stop.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    flooder.join().unwrap();
    stopped.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    taker.join().unwrap();
}

#[test]
fn a_silent_peer_is_pinged_and_then_given_up() {
    let server = Listener::new();
    let mut tested = Tested::manual();
    let mut options = options(server.port());
    options.profiles[0].connect.keep_alive = 10;
    let mut peer = tested.connected(&server, options);
    // answered: the connection lives
    for _ in 0..3 {
        tested.advance(10 * SECOND);
        peer.expect(&PINGREQ);
        let before = tested.client.stats().session.bytes_in;
        peer.send(&PINGRESP);
        wait_until("read", || tested.client.stats().session.bytes_in > before);
    }
    // not answered within half the interval: it is dead
    tested.advance(10 * SECOND);
    peer.expect(&PINGREQ);
    tested.advance(4 * SECOND);
    tested.expect_silence();
    tested.advance(SECOND);
    assert_eq!(tested.next(), Seen::Offline);
    tested.expect_rest();
    peer.expect_eof();
}

#[test]
fn pings_go_out_while_the_caller_does_nothing() {
    let server = Listener::new();
    let mut tested = Tested::new();
    let mut options = options(server.port());
    options.profiles[0].connect.keep_alive = 1;
    let mut peer = tested.connected(&server, options);
    for _ in 0..2 {
        peer.expect(&PINGREQ);
        peer.send(&PINGRESP);
    }
    assert_eq!(tested.client.state(), State::Connected);
}

#[test]
fn a_missing_pingresp_proves_nothing_while_the_reader_holds_back() {
    let server = Listener::new();
    let mut tested = Tested::manual();
    let mut options = options(server.port());
    options.profiles[0].connect.keep_alive = 10;
    let mut peer = tested.connected(&server, options);
    let chunk = message("t", &[0; 60_000]);
    let (mut sent, mut offset, mut stalled) = (0, 0, 0);
    while stalled < 1_000 {
        match peer.send_without_waiting(&chunk[offset..]) {
            0 => {
                stalled += 1;
                reactor::settle();
            }
            n => {
                sent += n;
                offset = (offset + n) % chunk.len();
                stalled = 0;
            }
        }
    }
    tested.advance(10 * SECOND);
    peer.expect(&PINGREQ);
    tested.advance(100 * SECOND);
    assert_eq!(tested.client.state(), State::Connected, "we are the ones who do not read");
    for _ in 0..sent / chunk.len() {
        assert_eq!(tested.next(), Seen::Message("t".into(), vec![0; 60_000]));
    }
    // what came has counted as an answer
    assert_eq!(tested.client.state(), State::Connected);
}
