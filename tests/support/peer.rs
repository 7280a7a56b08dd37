//! A bare MQTT client for the broker's tests: a blocking socket that speaks bytes.

// Each test program uses its own part of this.
#![allow(dead_code)]

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use mqtt::broker::{Broker, BrokerOptions};
use mqtt::codec::{Connect, Delivery, PacketId, Publish, Qos, Version, Will, v4};

/// Far longer than anything takes: what is missing then does not come.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

pub(crate) fn broker() -> Broker {
    Broker::start(BrokerOptions::default()).expect("127.0.0.1 has free ports")
}

/// A CONNECT with a clean session, no keep-alive, nothing else.
pub(crate) fn clean(client_id: &str) -> Connect<'_> {
    Connect {
        version: Version::V311,
        clean_session: true,
        keep_alive: 0,
        client_id,
        will: None,
        username: None,
        password: None,
    }
}

/// The same with a session that is kept.
pub(crate) fn persistent(client_id: &str) -> Connect<'_> {
    Connect { clean_session: false, ..clean(client_id) }
}

/// A will of QoS 0: "gone".
pub(crate) fn will(topic: &str) -> Option<Will<'_>> {
    Some(Will { topic, message: b"gone", qos: Qos::AtMostOnce, retain: false })
}

pub(crate) fn id(id: u16) -> PacketId {
    PacketId::new(id).expect("not 0")
}

/// A PUBLISH, as bytes; `id` is 0 at QoS 0.
pub(crate) fn publish(topic: &str, payload: &str, qos: Qos, number: u16) -> Vec<u8> {
    let delivery = match qos {
        Qos::AtMostOnce => Delivery::AtMostOnce,
        Qos::AtLeastOnce => Delivery::AtLeastOnce(id(number)),
        Qos::ExactlyOnce => Delivery::ExactlyOnce(id(number)),
    };
    let publish = Publish { dup: false, delivery, retain: false, topic, payload: payload.as_bytes() };
    encode(|out| v4::publish(out, &publish))
}

/// The same PUBLISH with its retain flag set.
pub(crate) fn retained(mut publish: Vec<u8>) -> Vec<u8> {
    publish[0] |= 0x01;
    publish
}

/// The same PUBLISH with its DUP flag set.
pub(crate) fn dup(mut publish: Vec<u8>) -> Vec<u8> {
    publish[0] |= 0x08;
    publish
}

pub(crate) fn subscribe(number: u16, filters: &[(&str, Qos)]) -> Vec<u8> {
    encode(|out| v4::subscribe(out, id(number), filters.iter().copied()))
}

pub(crate) fn encode(write: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(&mut bytes);
    bytes
}

pub(crate) struct Peer {
    pub(crate) stream: TcpStream,
}

impl Peer {
    /// A connection on which nothing was sent yet.
    pub(crate) fn dial(broker: &Broker) -> Peer {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, broker.port())).expect("the broker listens");
        stream.set_read_timeout(Some(LIMIT)).expect("a valid timeout");
        stream.set_nodelay(true).expect("it is a TCP socket");
        Peer { stream }
    }

    /// A connection that was accepted, its session new.
    pub(crate) fn connect(broker: &Broker, connect: &Connect<'_>) -> Peer {
        let mut peer = Peer::dial(broker);
        peer.send(&encode(|out| v4::connect(out, connect)));
        peer.expect(ACCEPTED);
        peer
    }

    /// A connection that was accepted and found its session.
    pub(crate) fn resume(broker: &Broker, connect: &Connect<'_>) -> Peer {
        let mut peer = Peer::dial(broker);
        peer.send(&encode(|out| v4::connect(out, connect)));
        peer.expect(ACCEPTED_WITH_SESSION);
        peer
    }

    /// A connection that was accepted and has one subscription.
    pub(crate) fn subscriber(broker: &Broker, client: &str, filter: &str, qos: Qos) -> Peer {
        let mut peer = Peer::connect(broker, &clean(client));
        peer.subscribe(filter, qos);
        peer
    }

    pub(crate) fn subscribe(&mut self, filter: &str, qos: Qos) {
        self.send(&subscribe(1, &[(filter, qos)]));
        self.expect(&[0x90, 3, 0, 1, qos as u8]);
    }

    #[track_caller]
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the broker reads");
    }

    /// The next packet, whole.
    #[track_caller]
    pub(crate) fn packet(&mut self) -> Vec<u8> {
        let mut packet = self.bytes(2);
        let (mut remaining, mut shift) = (usize::from(packet[1] & 0x7F), 7);
        while packet.last().is_some_and(|last| last & 0x80 != 0) {
            packet.extend(self.bytes(1));
            remaining |= usize::from(packet[packet.len() - 1] & 0x7F) << shift;
            shift += 7;
        }
        packet.extend(self.bytes(remaining));
        packet
    }

    #[track_caller]
    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.stream.read_exact(&mut bytes).expect("the broker sends more");
        bytes
    }

    /// The next packet is this one.
    #[track_caller]
    pub(crate) fn expect(&mut self, packet: &[u8]) {
        let next = self.packet();
        assert!(next == packet, "got {next:02x?}, expected {packet:02x?}");
    }

    /// Nothing was sent to this client: the answer to a ping is what comes next. What other clients caused is seen
    /// here if they were answered before.
    #[track_caller]
    pub(crate) fn expect_nothing(&mut self) {
        self.send(PINGREQ);
        self.expect(PINGRESP);
    }

    /// The connection ends here, and nothing comes before that.
    #[track_caller]
    pub(crate) fn expect_end(&mut self) {
        let mut byte = [0];
        match self.stream.read(&mut byte) {
            Ok(0) => {}
            Ok(_) => panic!("got {:02x}…, expected the end", byte[0]),
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}"),
        }
    }

    /// A graceful end.
    #[track_caller]
    pub(crate) fn disconnect(mut self) {
        self.send(DISCONNECT);
        self.expect_end();
    }
}

pub(crate) const ACCEPTED: &[u8] = &[0x20, 2, 0, 0];
pub(crate) const ACCEPTED_WITH_SESSION: &[u8] = &[0x20, 2, 1, 0];
pub(crate) const PINGREQ: &[u8] = &[0xC0, 0];
pub(crate) const PINGRESP: &[u8] = &[0xD0, 0];
pub(crate) const DISCONNECT: &[u8] = &[0xE0, 0];
