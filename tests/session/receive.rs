//! Messages of the broker: delivery and its acknowledgements.

use mqtt::codec::Connect;
use mqtt::session::{Config, Events, Limits};

use crate::support::random::Random;
use crate::support::*;

#[test]
fn mqtt_3_3_4_1_each_qos_has_its_answer() {
    let mut driver = Driver::connected();
    driver.feed(&publish(0x30, 0, "zero"));
    assert_eq!(driver.sent(), b"", "QoS 0: none");
    driver.feed(&publish(0x32, 0x0102, "one"));
    assert_eq!(driver.sent(), [0x40, 0x02, 0x01, 0x02], "QoS 1: PUBACK");
    driver.feed(&publish(0x34, 0x0304, "two"));
    assert_eq!(driver.sent(), [0x50, 0x02, 0x03, 0x04], "QoS 2: PUBREC");
    assert_eq!(driver.happened(), [message("zero", 0), message("one", 1), message("two", 2)]);
}

#[test]
fn mqtt_2_3_1_6_every_answer_carries_the_id_of_its_publish() {
    let mut driver = Driver::connected();
    for id in [1, 255, 256, 65_535] {
        driver.feed(&join([&publish(0x32, id, "m"), &publish(0x34, id, "m"), &pubrel(id)]));
        assert_eq!(driver.sent(), join([&puback(id), &pubrec(id), &pubcomp(id)]));
    }
}

#[test]
fn retain_and_dup_are_told() {
    let mut driver = Driver::connected();
    driver.feed(&publish(0x3B, 5, "m")); // PUBLISH: DUP 1, QoS 1, RETAIN 1
    let expected =
        Happened::Message { topic: "t".into(), payload: "m".into(), qos: 1, retain: true, dup: true };
    assert_eq!(driver.happened(), [expected]);
}

#[test]
fn mqtt_4_3_2_2_after_puback_the_same_id_is_a_new_message_whatever_dup_says() {
    let mut driver = Driver::connected();
    for first in [0x32, 0x3A, 0x32] {
        driver.feed(&publish(first, 7, "m"));
        assert_eq!(driver.sent(), puback(7));
    }
    assert_eq!(driver.happened(), [message("m", 1), repeated("m", 1), message("m", 1)]);
}

#[test]
fn mqtt_4_3_3_2_a_qos_2_message_is_delivered_once_until_its_pubrel() {
    let mut driver = Driver::connected();
    driver.feed(&publish(0x34, 7, "m"));
    driver.feed(&publish(0x3C, 7, "m"));
    driver.feed(&publish(0x34, 7, "m"));
    assert_eq!(driver.sent(), pubrec(7).repeat(3), "PUBREC each time");
    assert_eq!(driver.happened(), [message("m", 2)]);
    driver.feed(&join([&pubrel(7), &pubrel(7)]));
    assert_eq!(driver.sent(), pubcomp(7).repeat(2), "PUBCOMP for every PUBREL");
    driver.feed(&publish(0x3C, 7, "n"));
    assert_eq!(driver.happened(), [repeated("n", 2)], "the id is new again, whatever DUP says");
}

#[test]
fn mqtt_4_3_3_2_an_unknown_pubrel_gets_its_pubcomp() {
    let mut driver = Driver::connected();
    driver.feed(&pubrel(9));
    assert_eq!((driver.sent(), driver.happened()), (pubcomp(9).to_vec(), vec![]));
}

#[test]
fn mqtt_4_1_0_2_a_qos_2_id_stays_known_until_pubrel() {
    let mut driver = Driver::connected();
    driver.feed(&publish(0x34, 7, "first"));
    for id in 8..1008 {
        driver.feed(&join([&publish(0x34, id, "other"), &pubrel(id)]));
    }
    driver.pass(1e7).expect("no timer");
    driver.happened();
    driver.feed(&publish(0x3C, 7, "first"));
    assert_eq!(driver.happened(), [], "known");
    driver.feed(&pubrel(7));
    driver.feed(&publish(0x34, 7, "second"));
    assert_eq!(driver.happened(), [message("second", 2)]);
}

#[test]
fn the_ids_of_the_broker_are_not_ours() {
    let mut driver = Driver::connected();
    driver.publish("ours", 2, 1);
    assert_eq!(driver.sent(), publish(0x34, 1, "ours"));
    driver.feed(&publish(0x34, 1, "theirs"));
    driver.feed(&pubrec(1));
    assert_eq!(driver.sent(), join([&pubrec(1), &pubrel(1)]));
    driver.feed(&pubrel(1));
    driver.feed(&pubcomp(1));
    assert_eq!(driver.sent(), pubcomp(1));
    assert_eq!(driver.happened(), [message("theirs", 2), published(1, 1)]);
}

#[test]
fn mqtt_4_6_0_2_pubacks_come_in_the_order_of_the_publishes() {
    let mut driver = Driver::connected();
    let ids = [5, 3, 65_535, 4, 1];
    let burst: Vec<u8> = ids.iter().flat_map(|id| publish(0x32, *id, "m")).collect();
    driver.feed(&burst);
    assert_eq!(driver.sent(), ids.iter().flat_map(|id| puback(*id)).collect::<Vec<_>>());
}

#[test]
fn mqtt_4_6_0_3_pubrecs_come_in_the_order_of_the_publishes() {
    let mut driver = Driver::connected();
    let ids = [5, 3, 65_535, 4, 1];
    let burst: Vec<u8> = ids.iter().flat_map(|id| publish(0x34, *id, "m")).collect();
    driver.feed(&burst);
    assert_eq!(driver.sent(), ids.iter().flat_map(|id| pubrec(*id)).collect::<Vec<_>>());
}

#[test]
fn mqtt_4_5_0_2_what_is_too_long_is_acknowledged_all_the_same() {
    let limits = Limits { max_packet: Some(12), ..Limits::default() };
    let mut driver = Driver::connected_with(Config { limits, ..Config::default() }, &connect(true));
    let overflow = |payload: &str| Happened::Overflow { topic: "t".into(), payload: payload.into() };
    driver.feed(&publish(0x32, 7, "12345")); // 12 bytes: fits
    driver.feed(&publish(0x32, 8, "123456")); // 13 bytes
    driver.feed(&publish(0x34, 9, "1234567890"));
    driver.feed(&publish(0x3C, 9, "1234567890"));
    driver.feed(&publish(0x30, 0, "next"));
    assert_eq!(driver.sent(), join([&puback(7), &puback(8), &pubrec(9), &pubrec(9)]));
    assert_eq!(
        driver.happened(),
        [message("12345", 1), overflow("12345"), overflow("12345"), message("next", 0)]
    );
}

#[test]
fn mqtt_1_5_3_3_a_byte_order_mark_stays_a_character_of_the_topic() {
    let mut driver = Driver::connected();
    // PUBLISH, 7 bytes follow; topic U+FEFF "a", payload "m"
    driver.feed(&[0x30, 0x07, 0x00, 0x04, 0xEF, 0xBB, 0xBF, b'a', b'm']);
    let expected = Happened::Message {
        topic: "\u{FEFF}a".into(),
        payload: "m".into(),
        qos: 0,
        retain: false,
        dup: false,
    };
    assert_eq!(driver.happened(), [expected]);
}

#[test]
fn mqtt_7_1_2_1_packets_may_be_cut_anywhere() {
    let stream = join([
        &publish(0x30, 0, "zero"),
        &publish(0x32, 1, "one"),
        &PINGRESP,
        &publish(0x34, 2, "two"),
        &pubrel(2),
        &publish(0x32, 3, ""),
    ]);
    let expected = [message("zero", 0), message("one", 1), message("two", 2), message("", 1)];
    let answers = join([&puback(1), &pubrec(2), &pubcomp(2), &puback(3)]);
    for first in 0..=stream.len() {
        for second in first..=stream.len() {
            let mut driver = Driver::connected();
            driver.feed(&stream[..first]);
            driver.feed(&stream[first..second]);
            driver.feed(&stream[second..]);
            assert_eq!((driver.sent(), driver.happened()), (answers.clone(), expected.to_vec()));
        }
    }
    let mut driver = Driver::connected();
    for byte in stream {
        driver.feed(&[byte]);
    }
    assert_eq!((driver.sent(), driver.happened()), (answers, expected.to_vec()));
}

#[test]
fn half_a_packet_is_forgotten_with_its_connection() {
    let mut driver = Driver::connected();
    driver.feed(&publish(0x32, 7, "lost")[..5]);
    assert_eq!(driver.reconnect(true, &ACCEPTED), b"");
    driver.feed(&publish(0x32, 8, "whole"));
    assert_eq!(driver.happened(), [Happened::Connected { session_present: false }, message("whole", 1)]);
}

/// A PUBLISH to `t` with so much payload.
fn large(first: u8, id: u16, len: usize) -> Vec<u8> {
    let mut body = vec![0, 1, b't'];
    if first & 0b0110 != 0 {
        body.extend(id.to_be_bytes());
    }
    let payload = body.len();
    body.resize(payload + len, id as u8);
    let mut packet = vec![first];
    let mut rest = body.len();
    loop {
        let more = if rest > 127 { 128 } else { 0 };
        packet.push((rest % 128) as u8 | more);
        rest /= 128;
        if rest == 0 {
            break;
        }
    }
    packet.extend(body);
    packet
}

impl Driver {
    /// Much comes at once.
    fn feed_buffer(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut buffer = bytes.to_vec();
        self.session.handle_buffer(self.now, &mut buffer, bytes.len()).expect("nothing is wrong with them");
        buffer
    }

    /// More of a packet comes, which is read on in its place; what has no room there.
    fn feed_packet<'a>(&mut self, bytes: &'a [u8], much: usize) -> &'a [u8] {
        let Some(mut packet) = self.session.lend_packet(much) else { return bytes };
        let room = packet.room();
        let (now, later) = bytes.split_at(bytes.len().min(room.capacity() - room.len()));
        room.extend_from_slice(now);
        self.session.handle_packet(self.now, packet, now.len()).expect("nothing is wrong with them");
        later
    }
}

#[test]
fn a_stream_gives_the_same_wherever_it_is_cut_and_read_to() {
    let limits = Limits { max_packet: Some(30_000), ..Limits::default() };
    let config = || Config { limits, ..Config::default() };
    let stream: Vec<u8> = (1..=60)
        .flat_map(|n: u16| {
            let first = [0x30, 0x32, 0x34, 0x3D][usize::from(n) % 4];
            let len =
                [0, 1, 100, 128, 1000, 12_000, 29_990, 40_000][usize::from(n) % 7 + usize::from(n == 7)];
            join([&large(first, n, len), &puback(n), &pubrel(n)])
        })
        .collect();
    let mut driver = Driver::connected_with(config(), &connect(true));
    driver.feed(&stream);
    let expected = (driver.sent(), driver.happened());
    assert_eq!(expected.1.len(), 60);

    let mut random = Random::new(7);
    for round in 0..if cfg!(miri) { 2 } else { 60 } {
        let mut driver = Driver::connected_with(config(), &connect(true));
        let mut rest = &stream[..];
        let most = 1 << (4 + round % 14);
        let mut happened = Vec::new();
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(1 + random.below(most)));
            rest = later;
            let now = driver.feed_packet(now, [1, 1000, 16_384][random.below(3)]);
            if random.below(3) == 0 {
                driver.feed(now);
            } else {
                driver.feed_buffer(now);
            }
            if random.below(4) == 0 {
                happened.extend(driver.happened());
            }
            if random.below(16) == 0 {
                // as a consumer does
                let mut batch = Events::new();
                driver.session.events().swap(&mut batch);
                while let Some(event) = batch.pop() {
                    happened.push(event.into());
                }
                batch.clear();
            }
        }
        happened.extend(driver.happened());
        assert!((driver.sent(), happened) == expected, "round {round}");
    }
}

#[test]
fn a_buffer_is_kept_if_there_are_messages_in_it() {
    let mut driver = Driver::connected();
    driver.session.events().clear();
    let acknowledgements = puback(9).repeat(1000);
    let buffer = driver.feed_buffer(&acknowledgements);
    assert_eq!(buffer, acknowledgements, "given back");
    assert_eq!(driver.session.events().weight(), 0);

    let stream = join([&acknowledgements, &publish(0x32, 7, "m"), &pubrel(7)]);
    let buffer = driver.feed_buffer(&stream);
    assert_ne!(buffer, stream);
    let weight = driver.session.events().weight();
    assert!(weight >= stream.len(), "all of it counts: {weight}");
    assert_eq!(driver.happened(), [message("m", 1)]);
    driver.session.events().clear();
    assert_eq!(driver.session.events().weight(), 0);
}

#[test]
fn what_comes_before_a_violation_is_told_though_its_buffer_ends_the_connection() {
    let mut driver = Driver::connected();
    let mut buffer = join([&publish(0x30, 0, "good"), &[0xF0, 0x00], &publish(0x30, 0, "never")]);
    let len = buffer.len();
    driver
        .session
        .handle_buffer(driver.now, &mut buffer, len)
        .expect_err("a packet type that does not exist");
    assert_eq!(driver.happened(), [message("good", 0)]);
}

#[test]
fn a_large_packet_counts_from_when_it_is_whole_and_is_forgotten_with_its_connection() {
    let mut driver = Driver::connected();
    driver.session.events().clear();
    let packet = large(0x32, 7, 100_000);
    driver.feed(&packet[..40_000]);
    let mut rest = &packet[40_000..];
    while !rest.is_empty() {
        assert_eq!(driver.session.events().weight(), 0);
        let before = driver.session.stats().bytes_in;
        let later = driver.feed_packet(rest, 1000);
        assert_eq!(driver.session.stats().bytes_in - before, (rest.len() - later.len()) as u64);
        rest = later;
    }
    assert!(driver.session.events().weight() >= packet.len());
    assert_eq!(driver.sent(), puback(7));
    assert_eq!(driver.happened().len(), 1);

    driver.feed(&packet[..40_000]);
    assert_eq!(driver.reconnect(true, &ACCEPTED), b"");
    assert!(driver.session.lend_packet(1).is_none());
    driver.feed(&publish(0x32, 8, "whole"));
    assert_eq!(driver.happened(), [Happened::Connected { session_present: false }, message("whole", 1)]);
}

#[test]
fn bytes_for_a_large_packet_answer_a_ping() {
    let mut driver = Driver::connected_with(Config::default(), &Connect { keep_alive: 10, ..connect(true) });
    let packet = large(0x30, 0, 1_000_000);
    driver.feed(&packet[..100]);
    let mut rest = &packet[100..];
    for _ in 0..5 {
        driver.pass(10.0).expect("the broker lives");
        rest = driver.feed_packet(rest, 1);
    }
    assert!(driver.pass(60.0).is_err(), "now it does not");
    assert!(!rest.is_empty());
}
