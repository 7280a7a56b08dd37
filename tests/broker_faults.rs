//! What the embedded broker does wrong on request.

#[path = "support/peer.rs"]
mod peer;

use std::time::{Duration, Instant};

use mqtt::broker::{Broker, Cut, Faults, OnConnect};
use mqtt::codec::Qos::{AtLeastOnce, AtMostOnce, ExactlyOnce};
use mqtt::codec::{Connect, ConnectCode, Kind, v4};
use peer::*;

fn broker_with(faults: Faults) -> Broker {
    let broker = broker();
    broker.set_faults(faults);
    broker
}

fn cut(cut: Cut) -> Faults {
    Faults { cut: Some(cut), ..Faults::default() }
}

fn connect_bytes(client: &str) -> Vec<u8> {
    encode(|out| v4::connect(out, &clean(client)))
}

#[test]
fn connections_are_refused_with_any_code() {
    for code in 1..=5 {
        let refusal = ConnectCode::new(code).expect("MQTT has five");
        let broker = broker_with(Faults { on_connect: OnConnect::Refuse(refusal), ..Faults::default() });
        let mut peer = Peer::dial(&broker);
        peer.send(&connect_bytes("a"));
        peer.expect(&[0x20, 2, 0, code]);
        peer.expect_end();
        assert!(broker.clients().is_empty());
    }
}

#[test]
fn connect_is_never_answered() {
    let broker = broker();
    broker.set_next_faults(Faults { on_connect: OnConnect::Ignore, ..Faults::default() });
    let mut ignored = Peer::dial(&broker);
    ignored.send(&connect_bytes("a"));
    ignored.send(PINGREQ);
    ignored.send(&publish("t", "x", AtLeastOnce, 1));
    // Others are served meanwhile.
    let mut served = Peer::connect(&broker, &clean("b"));
    served.expect_nothing();
    assert_eq!(broker.clients(), ["b"]);
    assert_eq!(broker.received(), []);
    ignored.stream.set_nonblocking(true).expect("it is a socket");
    let error = ignored.stream.peek(&mut [0]).expect_err("nothing has come");
    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
}

#[test]
fn connect_is_answered_with_any_bytes() {
    let reserved_code = &[0x20, 2, 0, 6][..];
    let on_connect = OnConnect::Bytes(reserved_code.into());
    let broker = broker_with(Faults { on_connect, ..Faults::default() });
    let mut peer = Peer::dial(&broker);
    peer.send(&connect_bytes("a"));
    peer.expect(reserved_code);
    peer.expect_nothing();
}

#[test]
fn the_session_present_flag_lies_both_ways() {
    let broker = broker_with(Faults { session_present: Some(true), ..Faults::default() });
    Peer::resume(&broker, &persistent("a")).disconnect();
    broker.set_faults(Faults { session_present: Some(false), ..Faults::default() });
    Peer::connect(&broker, &persistent("a")).disconnect();
    broker.clear_faults();
    Peer::resume(&broker, &persistent("a"));
}

#[test]
fn a_connection_ends_after_bytes_received() {
    let connect = connect_bytes("a");
    let message = publish("t", "x", AtLeastOnce, 1);
    let whole = (connect.len() + message.len()) as u64;
    for (count, received) in [(whole - 1, 0), (whole, 1)] {
        let broker = broker_with(cut(Cut::BytesReceived(count)));
        let mut peer = Peer::dial(&broker);
        peer.send(&connect);
        peer.expect(ACCEPTED);
        peer.send(&[&message, PINGREQ].concat());
        if received == 1 {
            // What arrived before the end is acted upon and answered.
            peer.expect(&[0x40, 2, 0, 1]);
        }
        peer.expect_end();
        assert_eq!(broker.received().len(), received);
    }
}

#[test]
fn a_connection_ends_after_packets_received() {
    let broker = broker_with(cut(Cut::PacketsReceived(2)));
    let mut peer = Peer::connect(&broker, &Connect { will: will("will"), ..clean("a") });
    peer.send(&[publish("t", "first", AtLeastOnce, 1), publish("t", "second", AtLeastOnce, 2)].concat());
    peer.expect(&[0x40, 2, 0, 1]);
    peer.expect_end();
    assert_eq!(broker.received().len(), 1);
}

#[test]
fn a_connection_ends_after_bytes_sent() {
    for count in 0..=7_u64 {
        let broker = broker_with(cut(Cut::BytesSent(count)));
        let mut peer = Peer::dial(&broker);
        if count > 0 {
            peer.send(&[connect_bytes("a"), publish("t", "x", AtLeastOnce, 1)].concat());
        }
        let answers = [ACCEPTED, &[0x40, 2, 0, 1]].concat();
        assert_eq!(peer.bytes(count as usize), answers[..count as usize]);
        peer.expect_end();
        // The answer was lost on the way, not the message.
        assert_eq!(broker.received().len(), usize::from(count > 4));
    }
}

#[test]
fn a_connection_ends_after_packets_sent() {
    let broker = broker_with(cut(Cut::PacketsSent(2)));
    let mut peer = Peer::connect(&broker, &clean("a"));
    peer.send(PINGREQ);
    peer.expect(PINGRESP);
    peer.expect_end();
    assert!(broker.wait_until(LIMIT, |broker| broker.clients().is_empty()));
}

#[test]
fn a_running_connection_is_cut_from_now_on() {
    let broker = broker();
    let mut peer = Peer::subscriber(&broker, "a", "t", AtMostOnce);
    broker.set_client_faults("a", cut(Cut::PacketsSent(1)));
    for payload in ["last", "lost"] {
        broker.publish("t", payload, AtMostOnce, false).expect("a good topic");
    }
    peer.expect(&publish("t", "last", AtMostOnce, 0));
    peer.expect_end();
}

#[test]
fn answers_are_held_back() {
    let delay = Duration::from_millis(50);
    let broker = broker_with(Faults { delay, ..Faults::default() });
    let start = Instant::now();
    let mut peer = Peer::connect(&broker, &clean("a"));
    peer.expect_nothing();
    assert!(start.elapsed() >= 2 * delay);
    // A delay does not put off the end.
    broker.set_faults(Faults { delay: Duration::from_secs(3600), ..Faults::default() });
    peer.send(PINGREQ);
    assert!(broker.kill("a"));
    peer.expect_end();
}

#[test]
fn acknowledgements_are_swallowed() {
    let swallow = [Kind::Puback, Kind::Pubrec, Kind::Pubcomp, Kind::Suback, Kind::Unsuback].into();
    let broker = broker_with(Faults { swallow, ..Faults::default() });
    let mut peer = Peer::connect(&broker, &clean("a"));
    peer.send(&subscribe(1, &[("t", AtMostOnce)]));
    peer.send(&publish("t", "1", AtLeastOnce, 2));
    peer.send(&publish("t", "2", ExactlyOnce, 3));
    peer.send(&[0x62, 2, 0, 3]); // PUBREL
    // The broker did what it was asked for.
    peer.expect(&publish("t", "1", AtMostOnce, 0));
    peer.expect(&publish("t", "2", AtMostOnce, 0));
    peer.send(&encode(|out| v4::unsubscribe(out, id(4), ["t"].into_iter())));
    peer.send(&publish("t", "3", AtMostOnce, 0));
    peer.expect_nothing();

    broker.set_faults(Faults { swallow: [Kind::Pingresp].into(), ..Faults::default() });
    peer.send(PINGREQ);
    peer.send(&publish("t", "4", AtLeastOnce, 5));
    peer.expect(&[0x40, 2, 0, 5]);
}

#[test]
fn packets_are_sent_twice() {
    let repeat = [Kind::Puback, Kind::Publish, Kind::Pubrel, Kind::Connack].into();
    let broker = broker_with(Faults { repeat, ..Faults::default() });
    let mut peer = Peer::connect(&broker, &clean("a"));
    peer.expect(ACCEPTED);
    peer.subscribe("t", ExactlyOnce);
    peer.send(&publish("t", "x", AtLeastOnce, 9));
    for _ in 0..2 {
        peer.expect(&publish("t", "x", AtLeastOnce, 1));
    }
    for _ in 0..2 {
        peer.expect(&[0x40, 2, 0, 9]);
    }
    peer.send(&[0x50, 2, 0, 1]); // PUBREC, of whatever
    for _ in 0..2 {
        peer.expect(&[0x62, 2, 0, 1]);
    }
    peer.expect_nothing();
}

#[test]
fn output_comes_byte_by_byte() {
    let broker = broker_with(Faults { byte_by_byte: true, ..Faults::default() });
    let mut peer = Peer::subscriber(&broker, "a", "t", AtLeastOnce);
    broker.publish("t", "hello", AtLeastOnce, false).expect("a good topic");
    peer.expect(&publish("t", "hello", AtLeastOnce, 1));
    peer.expect_nothing();
}

#[test]
fn a_deaf_broker_reads_nothing_until_it_is_healed() {
    let broker = broker();
    let mut peer = Peer::subscriber(&broker, "a", "t", AtMostOnce);
    broker.set_client_faults("a", Faults { deaf: true, ..Faults::default() });
    peer.send(&publish("u", "unheard", AtMostOnce, 0));
    // It still talks.
    broker.publish("t", "x", AtMostOnce, false).expect("a good topic");
    peer.expect(&publish("t", "x", AtMostOnce, 0));
    Peer::connect(&broker, &clean("other")).expect_nothing();
    assert_eq!(broker.received(), []);
    broker.set_client_faults("a", Faults::default());
    assert!(broker.wait_until(LIMIT, |broker| broker.received().len() == 1));
    peer.expect_nothing();
}

#[test]
fn a_deaf_broker_fills_the_clients_pipe() {
    let broker = broker_with(Faults { deaf: true, ..Faults::default() });
    let peer = Peer::dial(&broker);
    peer.stream.set_nonblocking(true).expect("it is a socket");
    let chunk = [0; 64 << 10];
    let mut stream = &peer.stream;
    // Ends: nobody reads.
    while std::io::Write::write(&mut stream, &chunk).is_ok() {}
}

#[test]
fn subscriptions_are_refused_or_granted_less() {
    let refuse_filters = vec!["secret/#".to_owned()];
    let broker = broker_with(Faults { refuse_filters, max_qos: Some(AtLeastOnce), ..Faults::default() });
    let mut peer = Peer::connect(&broker, &clean("a"));
    peer.send(&subscribe(1, &[("a", ExactlyOnce), ("secret/#", AtMostOnce), ("b", AtMostOnce)]));
    peer.expect(&[0x90, 5, 0, 1, 1, 0x80, 0]);
    broker.publish("secret/x", "x", AtMostOnce, false).expect("a good topic");
    broker.publish("a", "x", ExactlyOnce, false).expect("a good topic");
    peer.expect(&publish("a", "x", AtLeastOnce, 1));
    peer.expect_nothing();
}

#[test]
fn any_bytes_are_sent_to_a_client() {
    let broker = broker();
    let mut peer = Peer::connect(&broker, &clean("a"));
    assert!(broker.send_raw("a", &b"\xF0\x00"[..]));
    peer.expect(b"\xF0\x00");
    assert!(!broker.send_raw("b", &b"\xF0\x00"[..]));
}

#[test]
fn faults_hit_the_next_connections_only() {
    let broker = broker();
    let refuse = |code| Faults { on_connect: OnConnect::Refuse(code), ..Faults::default() };
    broker.set_next_faults(refuse(ConnectCode::ServerUnavailable));
    broker.set_next_faults(refuse(ConnectCode::NotAuthorized));
    for code in [3, 5, 0] {
        let mut peer = Peer::dial(&broker);
        peer.send(&connect_bytes("a"));
        peer.expect(&[0x20, 2, 0, code]);
    }
}

#[test]
fn faults_hit_one_client_only() {
    let broker = broker();
    broker.set_client_faults("bad", Faults { repeat: [Kind::Pingresp].into(), ..Faults::default() });
    let mut good = Peer::connect(&broker, &clean("good"));
    let mut bad = Peer::connect(&broker, &clean("bad"));
    good.expect_nothing();
    good.expect_nothing();
    for _ in 0..2 {
        bad.expect_nothing();
        bad.expect(PINGRESP);
    }
    // Faults for all leave those alone that have their own.
    broker.set_faults(Faults { swallow: [Kind::Pingresp].into(), ..Faults::default() });
    bad.expect_nothing();
    bad.expect(PINGRESP);
    broker.clear_faults();
    good.expect_nothing();
    bad.expect_nothing();
    bad.expect_nothing();
}
