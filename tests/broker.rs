//! The embedded broker, spoken to in bytes. What it does wrong on request is in `broker_faults.rs`.

#[path = "support/peer.rs"]
mod peer;

use std::collections::HashMap;
use std::io::Write;
use std::time::Duration;

use mqtt::broker::{Broker, BrokerOptions};
use mqtt::codec::Qos::{AtLeastOnce, AtMostOnce, ExactlyOnce};
use mqtt::codec::{Connect, Qos, Version, Will, v4};
use peer::*;

const QOS: [Qos; 3] = [AtMostOnce, AtLeastOnce, ExactlyOnce];

#[test]
fn a_client_connects_pings_and_disconnects() {
    let broker = broker();
    let mut peer = Peer::dial(&broker);
    #[rustfmt::skip]
    peer.send(&[
        0x10, 13,                       // CONNECT, Remaining Length
        0, 4, b'M', b'Q', b'T', b'T',   // protocol name
        4,                              // level: MQTT 3.1.1
        0x02,                           // clean session
        0, 60,                          // keep-alive
        0, 1, b'a',                     // client id
    ]);
    peer.expect(&[0x20, 2, 0, 0]); // CONNACK, no session, accepted
    assert_eq!(broker.clients(), ["a"]);
    peer.send(&[0xC0, 0]); // PINGREQ
    peer.expect(&[0xD0, 0]); // PINGRESP
    peer.disconnect();
    assert_eq!(broker.clients(), [] as [&str; 0]);
    assert_eq!(broker.accepted(), 1);
}

#[test]
fn packets_may_arrive_byte_by_byte_or_all_at_once() {
    let broker = broker();
    let mut stream = encode(|out| v4::connect(out, &clean("a")));
    stream.extend(subscribe(1, &[("t", ExactlyOnce)]));
    stream.extend(publish("t", "hello", AtLeastOnce, 9));
    let mut expected = [ACCEPTED, &[0x90, 3, 0, 1, 2]].concat();
    expected.extend(publish("t", "hello", AtLeastOnce, 1));
    expected.extend([0x40, 2, 0, 9]);

    let mut peer = Peer::dial(&broker);
    peer.send(&stream);
    assert_eq!(peer.bytes(expected.len()), expected);
    peer.disconnect();
    let mut peer = Peer::dial(&broker);
    for byte in stream {
        peer.send(&[byte]);
    }
    assert_eq!(peer.bytes(expected.len()), expected);
}

#[test]
fn a_message_arrives_with_the_lower_qos_of_publish_and_subscription() {
    let broker = broker();
    for subscribed in QOS {
        let mut subscriber = Peer::subscriber(&broker, "s", "t/+", subscribed);
        let mut publisher = Peer::connect(&broker, &clean("p"));
        for (sent, number) in QOS.into_iter().zip(1..) {
            publisher.send(&publish("t/a", "x", sent, 7));
            match sent {
                AtMostOnce => {}
                AtLeastOnce => publisher.expect(&[0x40, 2, 0, 7]),
                ExactlyOnce => {
                    publisher.expect(&[0x50, 2, 0, 7]);
                    publisher.send(&[0x62, 2, 0, 7]);
                    publisher.expect(&[0x70, 2, 0, 7]);
                }
            }
            publisher.expect_nothing();
            // Ids are given out by the broker, in their order, where the QoS has one.
            let number = if subscribed == AtMostOnce { 0 } else { number - 1 };
            subscriber.expect(&publish("t/a", "x", sent.min(subscribed), number));
        }
        subscriber.disconnect();
        publisher.disconnect();
    }
}

#[test]
fn an_incoming_qos_2_id_names_one_message_until_it_is_released() {
    let broker = broker();
    let mut subscriber = Peer::subscriber(&broker, "s", "t", AtMostOnce);
    let mut publisher = Peer::connect(&broker, &clean("p"));
    for payload in ["first", "next"] {
        publisher.send(&publish("t", payload, ExactlyOnce, 3));
        publisher.expect(&[0x50, 2, 0, 3]);
        publisher.send(&dup(publish("t", payload, ExactlyOnce, 3)));
        publisher.expect(&[0x50, 2, 0, 3]);
        for _ in 0..2 {
            // A PUBREL whose id is no longer known is answered as well.
            publisher.send(&[0x62, 2, 0, 3]);
            publisher.expect(&[0x70, 2, 0, 3]);
        }
        subscriber.expect(&publish("t", payload, AtMostOnce, 0));
        subscriber.expect_nothing();
    }
    let repeated: Vec<_> = broker.received().iter().map(|received| received.repeated).collect();
    assert_eq!(repeated, [false, true, false, true]);
}

#[test]
fn an_outgoing_qos_2_message_is_done_after_pubcomp() {
    let broker =
        Broker::start(BrokerOptions { max_in_flight: 1, ..BrokerOptions::default() }).expect("starts");
    let mut peer = Peer::subscriber(&broker, "s", "t", ExactlyOnce);
    for payload in ["a", "b"] {
        broker.publish("t", payload, ExactlyOnce, false).expect("a good topic");
    }
    for (payload, number) in [("a", 1), ("b", 2)] {
        peer.expect(&publish("t", payload, ExactlyOnce, number));
        peer.send(&[0x50, 2, 0, number as u8]);
        peer.expect(&[0x62, 2, 0, number as u8]);
        // Only one may be in flight, and it still is.
        peer.expect_nothing();
        peer.send(&[0x70, 2, 0, number as u8]);
    }
    peer.expect_nothing();
}

#[test]
fn messages_wait_while_as_many_as_allowed_are_unacknowledged() {
    let options = BrokerOptions { max_in_flight: 2, max_queue: 1, ..BrokerOptions::default() };
    let broker = Broker::start(options).expect("starts");
    let mut peer = Peer::subscriber(&broker, "s", "t", AtLeastOnce);
    for payload in ["a", "b", "c", "one too many"] {
        broker.publish("t", payload, AtLeastOnce, false).expect("a good topic");
    }
    assert_eq!(broker.dropped(), 1);
    peer.expect(&publish("t", "a", AtLeastOnce, 1));
    peer.expect(&publish("t", "b", AtLeastOnce, 2));
    peer.expect_nothing();
    peer.send(&[0x40, 2, 0, 2]); // PUBACK of the second
    peer.expect(&publish("t", "c", AtLeastOnce, 3));
    peer.send(&[0x40, 2, 0, 9]); // PUBACK of none
    peer.expect_nothing();
}

#[test]
fn a_retained_message_waits_for_subscribers_and_an_empty_one_deletes_it() {
    let broker = broker();
    let mut live = Peer::subscriber(&broker, "live", "#", AtMostOnce);
    let mut publisher = Peer::connect(&broker, &clean("p"));
    publisher.send(&retained(publish("r/a", "old", AtLeastOnce, 1)));
    publisher.send(&retained(publish("r/a", "a", AtLeastOnce, 2)));
    publisher.send(&retained(publish("r/b", "b", AtMostOnce, 0)));
    publisher.expect(&[0x40, 2, 0, 1]);
    publisher.expect(&[0x40, 2, 0, 2]);
    publisher.expect_nothing();
    for (topic, payload) in [("r/a", "old"), ("r/a", "a"), ("r/b", "b")] {
        live.expect(&publish(topic, payload, AtMostOnce, 0));
    }

    let mut late = Peer::subscriber(&broker, "late", "r/a", AtLeastOnce);
    late.expect(&retained(publish("r/a", "a", AtLeastOnce, 1)));
    late.subscribe("r/#", AtMostOnce);
    late.expect(&retained(publish("r/a", "a", AtMostOnce, 0)));
    late.expect(&retained(publish("r/b", "b", AtMostOnce, 0)));
    late.subscribe("$share/g/r/#", AtMostOnce);
    late.expect_nothing();

    publisher.send(&retained(publish("r/a", "", AtMostOnce, 0)));
    publisher.expect_nothing();
    live.expect(&publish("r/a", "", AtMostOnce, 0));
    let mut later = Peer::subscriber(&broker, "later", "r/+", AtLeastOnce);
    later.expect(&retained(publish("r/b", "b", AtMostOnce, 0)));
    later.expect_nothing();
}

#[test]
fn overlapping_filters_of_a_client_bring_a_message_once() {
    let broker = broker();
    let mut peer = Peer::connect(&broker, &clean("s"));
    let filters = [("a/#", AtMostOnce), ("a/+", ExactlyOnce), ("a/b", AtLeastOnce), ("#", AtMostOnce)];
    peer.send(&subscribe(5, &filters));
    peer.expect(&[0x90, 6, 0, 5, 0, 2, 1, 0]);
    broker.publish("a/b", "x", ExactlyOnce, false).expect("a good topic");
    peer.expect(&publish("a/b", "x", ExactlyOnce, 1));
    peer.expect_nothing();
    let mut subscriptions = filters.map(|(filter, qos)| (filter.to_owned(), qos));
    subscriptions.sort();
    assert_eq!(broker.subscriptions("s"), subscriptions);
}

#[test]
fn unsubscribing_ends_the_messages() {
    let broker = broker();
    let mut peer = Peer::connect(&broker, &clean("s"));
    peer.subscribe("a", AtMostOnce);
    peer.subscribe("b", AtMostOnce);
    let filters = ["a", "unknown"];
    peer.send(&encode(|out| v4::unsubscribe(out, id(8), filters.into_iter())));
    peer.expect(&[0xB0, 2, 0, 8]);
    for topic in ["a", "b"] {
        broker.publish(topic, "x", AtMostOnce, false).expect("a good topic");
    }
    peer.expect(&publish("b", "x", AtMostOnce, 0));
    peer.expect_nothing();
}

#[test]
fn wildcards_do_not_reach_topics_that_start_with_a_dollar_sign() {
    let broker = broker();
    let mut wild = Peer::subscriber(&broker, "wild", "#", AtMostOnce);
    wild.subscribe("+/load", AtMostOnce);
    let mut plain = Peer::subscriber(&broker, "plain", "$SYS/#", AtMostOnce);
    broker.publish("$SYS/load", "x", AtMostOnce, false).expect("a good topic");
    wild.expect_nothing();
    plain.expect(&publish("$SYS/load", "x", AtMostOnce, 0));
}

#[test]
fn the_members_of_a_shared_subscription_take_turns() {
    let broker = broker();
    let [mut a, mut b] = ["a", "b"].map(|id| Peer::subscriber(&broker, id, "$share/g/t/+", AtMostOnce));
    let mut other = Peer::subscriber(&broker, "other", "$share/h/t/1", AtMostOnce);
    for payload in ["1", "2", "3"] {
        broker.publish("t/1", payload, AtMostOnce, false).expect("a good topic");
        other.expect(&publish("t/1", payload, AtMostOnce, 0));
    }
    a.expect(&publish("t/1", "1", AtMostOnce, 0));
    b.expect(&publish("t/1", "2", AtMostOnce, 0));
    a.expect(&publish("t/1", "3", AtMostOnce, 0));
    a.expect_nothing();
    b.disconnect();
    broker.publish("t/2", "4", AtMostOnce, false).expect("a good topic");
    a.expect(&publish("t/2", "4", AtMostOnce, 0));
}

#[test]
fn a_will_is_published_unless_the_client_says_goodbye() {
    let broker = broker();
    let mut watcher = Peer::subscriber(&broker, "watcher", "will/#", AtLeastOnce);
    let connect = |client| {
        let will = Will { topic: "will/x", message: b"gone", qos: AtLeastOnce, retain: true };
        Peer::connect(&broker, &Connect { will: Some(will), ..clean(client) })
    };
    connect("polite").disconnect();
    watcher.expect_nothing();

    drop(connect("closes"));
    watcher.expect(&publish("will/x", "gone", AtLeastOnce, 1));

    let mut violates = connect("violates");
    violates.send(&[0x00, 0]);
    violates.expect_end();
    watcher.expect(&publish("will/x", "gone", AtLeastOnce, 2));

    let mut replaced = connect("twice");
    let second = connect("twice");
    replaced.expect_end();
    watcher.expect(&publish("will/x", "gone", AtLeastOnce, 3));
    second.disconnect();

    let mut killed = connect("killed");
    assert!(broker.kill("killed"));
    killed.expect_end();
    watcher.expect(&publish("will/x", "gone", AtLeastOnce, 4));
    assert!(!broker.kill("killed"));

    watcher.expect_nothing();
    // It is retained as well.
    watcher.subscribe("will/x", AtMostOnce);
    watcher.expect(&retained(publish("will/x", "gone", AtMostOnce, 0)));
}

#[test]
fn a_client_that_is_silent_for_longer_than_its_keep_alive_is_gone() {
    let broker = broker();
    let mut watcher = Peer::subscriber(&broker, "watcher", "will", AtMostOnce);
    let start = std::time::Instant::now();
    let mut silent =
        Peer::connect(&broker, &Connect { keep_alive: 1, will: will("will"), ..clean("silent") });
    silent.expect_end();
    assert!(start.elapsed() >= Duration::from_millis(1500), "one and a half times [MQTT-3.1.2-24]");
    watcher.expect(&publish("will", "gone", AtMostOnce, 0));
}

#[test]
fn a_clean_session_leaves_nothing_behind() {
    let broker = broker();
    let mut peer = Peer::connect(&broker, &persistent("a"));
    peer.subscribe("t", AtLeastOnce);
    peer.disconnect();
    // The old session is discarded, the new one with its connection.
    Peer::connect(&broker, &clean("a")).disconnect();
    assert_eq!(broker.subscriptions("a"), []);
    broker.publish("t", "x", AtLeastOnce, false).expect("a good topic");
    let mut peer = Peer::connect(&broker, &persistent("a"));
    peer.expect_nothing();
}

#[test]
fn a_persistent_session_gets_what_it_missed_at_qos_1_and_2() {
    let broker = broker();
    let mut peer = Peer::connect(&broker, &persistent("a"));
    peer.subscribe("t", ExactlyOnce);
    peer.disconnect();
    assert_eq!(broker.subscriptions("a"), [("t".to_owned(), ExactlyOnce)]);
    for qos in QOS {
        broker.publish("t", "missed", qos, false).expect("a good topic");
    }
    let mut peer = Peer::resume(&broker, &persistent("a"));
    peer.expect(&publish("t", "missed", AtLeastOnce, 1));
    peer.expect(&publish("t", "missed", ExactlyOnce, 2));
    broker.publish("t", "live", AtMostOnce, false).expect("a good topic");
    peer.expect(&publish("t", "live", AtMostOnce, 0));
}

#[test]
fn what_was_in_flight_is_repeated_in_order_with_dup_or_as_pubrel() {
    let broker = broker();
    let mut peer = Peer::connect(&broker, &persistent("a"));
    peer.subscribe("t", ExactlyOnce);
    for (qos, payload) in [(AtLeastOnce, "1"), (ExactlyOnce, "2"), (ExactlyOnce, "3"), (AtLeastOnce, "4")] {
        broker.publish("t", payload, qos, false).expect("a good topic");
        peer.packet();
    }
    peer.send(&[0x50, 2, 0, 2]); // PUBREC of the second
    peer.expect(&[0x62, 2, 0, 2]);
    peer.send(&[0x40, 2, 0, 4]); // PUBACK of the fourth
    peer.expect_nothing();
    drop(peer);

    for _ in 0..2 {
        let mut peer = Peer::resume(&broker, &persistent("a"));
        peer.expect(&dup(publish("t", "1", AtLeastOnce, 1)));
        peer.expect(&[0x62, 2, 0, 2]);
        peer.expect(&dup(publish("t", "3", ExactlyOnce, 3)));
        peer.expect_nothing();
    }
}

#[test]
fn a_qos_2_id_stays_known_over_a_reconnect() {
    let broker = broker();
    let mut peer = Peer::connect(&broker, &persistent("a"));
    peer.subscribe("t", AtMostOnce);
    peer.send(&publish("t", "once", ExactlyOnce, 5));
    peer.expect(&publish("t", "once", AtMostOnce, 0));
    peer.expect(&[0x50, 2, 0, 5]);
    let mut peer = Peer::resume(&broker, &persistent("a"));
    peer.send(&dup(publish("t", "once", ExactlyOnce, 5)));
    peer.expect(&[0x50, 2, 0, 5]);
    peer.expect_nothing();
}

#[test]
fn a_second_connection_of_a_client_takes_over() {
    let broker = broker();
    let mut first = Peer::connect(&broker, &persistent("a"));
    first.subscribe("t", AtMostOnce);
    let mut second = Peer::resume(&broker, &persistent("a"));
    first.expect_end();
    broker.publish("t", "x", AtMostOnce, false).expect("a good topic");
    second.expect(&publish("t", "x", AtMostOnce, 0));
    // The state of a clean session ends with its connection, also where the next one would keep it.
    let mut clean = Peer::connect(&broker, &clean("b"));
    Peer::connect(&broker, &persistent("b"));
    clean.expect_end();
}

#[test]
fn only_users_with_their_passwords_are_let_in() {
    let users = HashMap::from([("ann".to_owned(), "secret".to_owned())]);
    let broker =
        Broker::start(BrokerOptions { users: Some(users), ..BrokerOptions::default() }).expect("starts");
    let with = |username, password| Connect { username, password, ..clean("a") };
    for refused in [
        with(None, None),
        with(Some("ann"), None),
        with(Some("ann"), Some(&b"Secret"[..])),
        with(Some("bob"), Some(b"secret")),
    ] {
        let mut peer = Peer::dial(&broker);
        peer.send(&encode(|out| v4::connect(out, &refused)));
        peer.expect(&[0x20, 2, 0, 4]);
        peer.expect_end();
    }
    Peer::connect(&broker, &with(Some("ann"), Some(b"secret")));
}

#[test]
fn a_client_without_id_gets_one_if_it_leaves_nothing_behind() {
    let broker = broker();
    let mut a = Peer::connect(&broker, &clean(""));
    let mut b = Peer::connect(&broker, &clean(""));
    a.expect_nothing();
    b.expect_nothing();
    assert_eq!(broker.clients().len(), 2);
    for refused in [persistent(""), Connect { version: Version::V31, ..clean("") }] {
        let mut peer = Peer::dial(&broker);
        peer.send(&encode(|out| v4::connect(out, &refused)));
        peer.expect(&[0x20, 2, 0, 2]);
        peer.expect_end();
    }
}

#[test]
fn versions_3_and_4_are_spoken_and_others_refused() {
    let broker = broker();
    let old = |clean_session| Connect { version: Version::V31, clean_session, ..clean("old") };
    Peer::connect(&broker, &old(false)).disconnect();
    // MQTT 3.1 knows no session-present flag.
    Peer::connect(&broker, &old(false)).disconnect();
    let mut peer = Peer::dial(&broker);
    #[rustfmt::skip]
    peer.send(&[
        0x10, 14, 0, 4, b'M', b'Q', b'T', b'T',
        5,                              // level: MQTT 5
        0x02, 0, 60,
        0,                              // no properties
        0, 1, b'a',
    ]);
    peer.expect(&[0x20, 2, 0, 1]);
    peer.expect_end();
}

#[test]
fn a_violation_of_the_protocol_closes_the_connection() {
    let broker = broker();
    let connect = encode(|out| v4::connect(out, &clean("a")));
    let before_connect: [&[u8]; 4] = [PINGREQ, DISCONNECT, &[0x40, 2, 0, 1], b"GET / HTTP/1.1\r\n\r\n"];
    for bytes in before_connect {
        let mut peer = Peer::dial(&broker);
        peer.send(bytes);
        peer.expect_end();
    }
    let after_connect: [&[u8]; 12] = [
        &connect,                              // a second CONNECT
        &[0x00, 0],                            // type 0
        &[0xF0, 0],                            // type 15
        &[0x20, 2, 0, 0],                      // CONNACK is for brokers
        &[0xD0, 0],                            // so is PINGRESP
        &[0x60, 2, 0, 1],                      // PUBREL without its flags
        &[0x36, 5, 0, 1, b'a', 0, 1],          // QoS 3
        &[0x30, 3, 0, 1, b'#'],                // a topic with a wildcard
        &[0x82, 7, 0, 1, 0, 2, b'a', b'#', 0], // a filter with a misplaced one
        &[0x82, 2, 0, 1],                      // SUBSCRIBE to nothing
        &[0x82, 6, 0, 0, 0, 1, b'a', 0],       // packet id 0
        &[0xC0, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F], // a length of five bytes
    ];
    for bytes in after_connect {
        let mut peer = Peer::connect(&broker, &clean("a"));
        // What came before the violation is answered.
        peer.send(&[PINGREQ, bytes, PINGREQ].concat());
        peer.expect(PINGRESP);
        peer.expect_end();
        assert!(broker.clients().is_empty(), "after {bytes:02x?}");
    }
}

#[test]
fn the_log_tells_what_arrived() {
    let broker =
        Broker::start(BrokerOptions { max_received: 2, ..BrokerOptions::default() }).expect("starts");
    let mut peer = Peer::connect(&broker, &clean("p"));
    peer.send(&publish("t", "forgotten", AtMostOnce, 0));
    peer.send(&publish("t", "a", AtMostOnce, 0));
    peer.send(&dup(retained(publish("u", "b", AtLeastOnce, 258))));
    assert!(broker.wait_until(LIMIT, |broker| broker.received().len() == 2));
    peer.expect(&[0x40, 2, 1, 2]);
    let received = broker.received();
    let [first, second] = &received[..] else { panic!("{received:?}") };
    assert_eq!((&*first.client, &*first.topic, &first.payload[..]), ("p", "t", &b"a"[..]));
    assert_eq!((first.qos, first.id, first.retain, first.dup), (AtMostOnce, None, false, false));
    assert_eq!((&*second.topic, second.qos, second.id), ("u", AtLeastOnce, Some(id(258))));
    assert!(second.retain && second.dup && !second.repeated);
    broker.clear_received();
    assert_eq!(broker.received(), []);
    // The broker's own messages did not arrive anywhere.
    broker.publish("t", "own", AtMostOnce, false).expect("a good topic");
    assert_eq!(broker.received(), []);
}

#[test]
fn the_broker_publishes_to_names_only() {
    let broker = broker();
    for (topic, wanted) in [("", "[MQTT-4.7.3-1]"), ("a/#", "[MQTT-3.3.2-2]")] {
        let error = broker.publish(topic, "x", AtMostOnce, false).expect_err("not a topic name").to_string();
        assert!(error.contains(wanted), "{error}");
    }
}

#[test]
fn a_stopped_broker_can_be_restarted_with_its_sessions() {
    let broker = broker();
    let mut peer = Peer::connect(&broker, &Connect { will: will("t"), ..persistent("a") });
    peer.subscribe("t", AtLeastOnce);
    broker.stop();
    peer.expect_end();
    assert!(std::net::TcpStream::connect(("127.0.0.1", broker.port())).is_err());
    broker.stop();
    broker.publish("t", "meanwhile", AtLeastOnce, false).expect("a good topic");
    broker.restart().expect("the port is free");
    broker.restart().expect("nothing to do");
    let mut peer = Peer::resume(&broker, &persistent("a"));
    // Not its will: the broker was to blame.
    peer.expect(&publish("t", "meanwhile", AtLeastOnce, 1));
    peer.expect_nothing();
}

#[test]
fn dropping_the_broker_frees_its_port() {
    let first = broker();
    let port = first.port();
    let mut peer = Peer::connect(&first, &clean("a"));
    drop(first);
    peer.expect_end();
    let again = Broker::start(BrokerOptions { port, ..BrokerOptions::default() }).expect("the port is free");
    let error = Broker::start(BrokerOptions { port, ..BrokerOptions::default() }).err().expect("taken");
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
    assert_eq!(again.port(), port);
}

#[test]
fn a_slow_subscriber_loses_qos_0_messages_and_nobody_waits_for_it() {
    let broker =
        Broker::start(BrokerOptions { max_output: 1 << 20, ..BrokerOptions::default() }).expect("starts");
    let mut slow = Peer::subscriber(&broker, "slow", "t", AtMostOnce);
    let mut publisher = Peer::connect(&broker, &clean("p"));
    let message = publish("t", &"x".repeat(64 << 10), AtMostOnce, 0);
    // However much the kernel takes for the subscriber, there is an end to it.
    while broker.dropped() == 0 {
        publisher.send(&message);
        publisher.expect_nothing();
    }
    publisher.send(&publish("t", "last", AtMostOnce, 0));
    // When it reads again, it gets what was kept for it, and new messages.
    let limit = std::time::Instant::now() + LIMIT;
    slow.stream.write_all(PINGREQ).expect("sent");
    while slow.packet() != PINGRESP {
        assert!(std::time::Instant::now() < limit);
    }
    broker.publish("t", "new", AtMostOnce, false).expect("a good topic");
    while slow.packet() != publish("t", "new", AtMostOnce, 0) {
        assert!(std::time::Instant::now() < limit);
    }
}

#[test]
fn a_large_message_reaches_many_subscribers() {
    let broker = broker();
    let mut subscribers: Vec<Peer> =
        (0..20).map(|i| Peer::subscriber(&broker, &format!("s{i}"), "big", ExactlyOnce)).collect();
    let payload = "0123456789abcdef".repeat(1 << 14);
    let mut publisher = Peer::connect(&broker, &clean("p"));
    publisher.send(&publish("big", &payload, ExactlyOnce, 1));
    publisher.expect(&[0x50, 2, 0, 1]);
    for subscriber in &mut subscribers {
        subscriber.expect(&publish("big", &payload, ExactlyOnce, 1));
    }
    assert_eq!(broker.dropped(), 0);
}
