//! A broker that breaks the protocol loses the connection, and nothing else happens.

use mqtt::codec;
use mqtt::session::{Config, Error, Token};

use crate::support::random::Random;
use crate::support::*;

#[test]
fn mqtt_4_8_0_1_a_violation_of_the_protocol_ends_the_connection() {
    let violations: [(&[u8], &str); 25] = [
        (&[0x00, 0x00], "reserved type 0"),
        (&[0xF0, 0x00], "reserved type 15"),
        (&[0x36, 0x05, 0x00, 0x01, b't', 0x00, 0x01], "PUBLISH of QoS 3"),
        (&[0x30, 0xFF, 0xFF, 0xFF, 0xFF, 0x01], "Remaining Length of five bytes"),
        (&[0x41, 0x02, 0x00, 0x01], "PUBACK with a flag"),
        (&[0x60, 0x02, 0x00, 0x01], "PUBREL without its flag"),
        (&[0x40, 0x02, 0x00, 0x00], "PUBACK of id 0"),
        (&[0x32, 0x05, 0x00, 0x01, b't', 0x00, 0x00], "PUBLISH with id 0"),
        (&[0x32, 0x03, 0x00, 0x01, b't'], "PUBLISH of QoS 1 without id"),
        (&[0x30, 0x02, 0x00, 0x00], "empty topic"),
        (&[0x30, 0x03, 0x00, 0x01, b'#'], "topic with #"),
        (&[0x30, 0x03, 0x00, 0x01, b'+'], "topic with +"),
        (&[0x30, 0x03, 0x00, 0x01, 0x00], "topic with U+0000"),
        (&[0x30, 0x04, 0x00, 0x02, 0xFF, 0xFE], "topic that is not UTF-8"),
        (&[0x30, 0x05, 0x00, 0x03, 0xED, 0xA0, 0x80], "topic with a surrogate"),
        (&[0x30, 0x03, 0x00, 0x02, b't'], "topic longer than the packet"),
        (&[0xD0, 0x01, 0x00], "PINGRESP with a body"),
        (&[0x40, 0x03, 0x00, 0x01, 0x00], "PUBACK that is too long"),
        (&[0x90, 0x03, 0x00, 0x01, 0x03], "SUBACK with code 3"),
        (&[0x10, 0x00], "CONNECT"),
        (&[0x82, 0x06, 0x00, 0x01, 0x00, 0x01, b'a', 0x00], "SUBSCRIBE"),
        (&[0xA2, 0x05, 0x00, 0x01, 0x00, 0x01, b'a'], "UNSUBSCRIBE"),
        (&[0xC0, 0x00], "PINGREQ"),
        (&[0xE0, 0x00], "DISCONNECT"),
        (&[0x20, 0x02, 0x00, 0x00], "second CONNACK"),
    ];
    for (packet, what) in violations {
        let mut driver = Driver::connected();
        driver.session.subscribe(&[("a", qos(0))], Token(1)).expect("connected");
        driver.sent();
        let error = driver.session.handle_input(driver.now, packet);
        assert!(matches!(error, Err(Error::Protocol(_) | Error::SecondConnack)), "{what}: {error:?}");
        assert_eq!((driver.sent(), driver.happened()), (vec![], vec![]), "{what}");
    }
}

#[test]
fn mqtt_2_2_2_2_wrong_flag_bits_end_the_connection() {
    for (right, wrong) in [(0x40, 0x41), (0x50, 0x52), (0x62, 0x60), (0x70, 0x78), (0xB0, 0xB1)] {
        let mut driver = Driver::connected();
        driver.feed(&ack(right, 9));
        let error = driver.feed_wrong(&ack(wrong, 9));
        assert!(matches!(error, Error::Protocol(codec::Error::Flags(..))), "{wrong:02x}");
        assert!(error.to_string().contains("[MQTT-2.2.2-2]"));
    }
}

#[test]
fn what_came_before_the_violation_counts() {
    let mut driver = Driver::connected();
    let error = driver.feed_wrong(&join([&publish(0x30, 0, "good"), &[0xF0, 0x00], &publish(0x30, 0, "x")]));
    assert!(matches!(error, Error::Protocol(codec::Error::ReservedType(15))));
    assert_eq!(driver.happened(), [message("good", 0)]);
}

#[test]
fn after_a_violation_the_next_connection_starts_afresh() {
    let mut driver = Driver::connected_with(Config::default(), &connect(false));
    driver.publish("x", 1, 1);
    driver.sent();
    driver.feed_wrong(&[0x30, 0xFF, 0xFF, 0xFF, 0xFF]);
    assert_eq!(driver.reconnect(false, &RESUMED), publish(0x3A, 1, "x"));
    driver.feed(&puback(1));
    assert_eq!(driver.session.pending(), (0, 0));
}

#[test]
fn mqtt_4_8_0_2_without_room_for_our_answers_the_connection_ends() {
    let mut driver = Driver::connected();
    let mut burst = Vec::new();
    for id in 1..=65_535 {
        burst.extend(publish(0x34, id, ""));
    }
    // Every id once: a broker may do that.
    driver.feed(&burst);
    // Every id again and again without reading one answer: memory would grow without a bound.
    let error = (0..10).find_map(|_| driver.session.handle_input(driver.now, &burst).err());
    assert_eq!(error, Some(Error::RepliesUnread));
    assert!(Error::RepliesUnread.to_string().contains("[MQTT-4.8.0-2]"));
    assert!(driver.session.unsent() < 2 << 20);
}

#[test]
fn answers_that_were_lost_with_a_connection_do_not_count_on_the_next() {
    let mut driver = Driver::connected_with(Config::default(), &connect(false));
    let burst = publish(0x32, 7, "").repeat(100_000);
    for _ in 0..20 {
        driver.feed(&burst);
        driver.happened();
        driver.reconnect(false, &RESUMED);
    }
}

#[test]
fn a_broker_that_reads_slowly_is_not_left() {
    let mut driver = Driver::connected();
    let burst = publish(0x32, 7, "").repeat(10_000);
    for _ in 0..100 {
        driver.feed(&burst);
        driver.happened();
        while driver.session.unsent() > 1000 {
            driver.take(777);
        }
    }
}

#[test]
fn random_bytes_never_panic() {
    let mut random = Random::new(311);
    for _ in 0..20_000 {
        let mut driver = Driver::new(Config::default());
        driver.session.connect(&connect(random.one_in(2)), None);
        if random.one_in(2) {
            driver.feed(if random.one_in(2) { &ACCEPTED } else { &RESUMED });
        }
        for _ in 0..random.below(20) {
            let mut bytes: Vec<u8> = (0..random.below(12)).map(|_| random.next() as u8).collect();
            // Mostly headers that lead somewhere: a type that brokers send, a length that fits.
            if let [first, len, body @ ..] = &mut bytes[..]
                && random.below(4) > 0
            {
                const FIRST: [u8; 14] =
                    [0x20, 0x30, 0x31, 0x32, 0x33, 0x34, 0x3A, 0x3C, 0x40, 0x50, 0x62, 0x70, 0x90, 0xB0];
                *first = FIRST[random.below(FIRST.len())];
                *len = (*len % 12).min(body.len() as u8);
            }
            if random.one_in(4) && driver.session.is_connected() {
                driver.publish("x", random.below(3) as u8, 1);
            }
            if driver.session.handle_input(driver.now, &bytes).is_err() {
                driver.lose();
                driver.session.connect(&connect(false), None);
            }
            if random.one_in(3) {
                driver.sent();
            }
        }
        driver.happened();
    }
}

#[test]
fn random_packets_of_a_broker_never_panic() {
    let mut random = Random::new(5);
    for _ in 0..3000 {
        let mut driver = Driver::connected_with(window(3), &connect(false));
        for _ in 0..200 {
            let id = 1 + random.below(6) as u16;
            let packet = match random.below(10) {
                0 => puback(id).to_vec(),
                1 => pubrec(id).to_vec(),
                2 => pubrel(id).to_vec(),
                3 => pubcomp(id).to_vec(),
                4 => vec![0x90, 0x03, 0, id as u8, [0, 1, 2, 0x80][random.below(4)]],
                5 => ack(0xB0, id).to_vec(),
                6 => publish(0x32, id, "m"),
                7 => publish(0x3C, id, "m"),
                8 => PINGRESP.to_vec(),
                _ => publish(0x30, 0, "m"),
            };
            driver.feed(&packet);
            match random.below(8) {
                0 => driver.publish("x", 0, 1),
                1 => driver.publish("x", 1, 2),
                2 => driver.publish("x", 2, 3),
                3 => driver.session.subscribe(&[("a", qos(0))], Token(4)).expect("connected"),
                4 => driver.session.unsubscribe(&["a"], Token(5)).expect("connected"),
                5 => _ = driver.take(driver.session.unsent().min(random.below(20))),
                6 if random.one_in(10) => {
                    driver.reconnect(false, if random.one_in(2) { &ACCEPTED } else { &RESUMED });
                }
                _ => {}
            }
        }
        // A broker that behaves ends every message, whatever came before.
        driver.reconnect(false, &ACCEPTED);
        while driver.session.pending().0 > 0 {
            for id in 1..=1000 {
                driver.feed(&join([&puback(id), &pubrec(id), &pubcomp(id)]));
            }
            driver.sent();
        }
        assert_eq!(driver.session.ids_in_use(), 0);
    }
}

#[test]
fn mqtt_3_2_0_1_a_first_packet_that_is_no_connack_is_refused_at_its_first_byte() {
    for first in (0..=255).filter(|first| first >> 4 != 2) {
        let mut driver = Driver::new(Config::default());
        driver.session.connect(&connect(true), None);
        assert_eq!(driver.feed_wrong(&[first]), Error::NotConnack, "{first:02x}");
    }
}
