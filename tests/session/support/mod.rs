//! What every test needs: a session with a clock to move, literal bytes in, literal bytes out.

pub mod broker;
pub mod monitor;
pub mod random;
pub mod world;

use std::time::{Duration, Instant};

use mqtt::codec::{Connect, Qos, Version};
use mqtt::session::{Config, Error, Event, Keep, Limits, Refused, Session, Token};

/// CONNACK: accepted, session present 0.
pub const ACCEPTED: [u8; 4] = [0x20, 0x02, 0x00, 0x00];
/// CONNACK: accepted, session present 1.
pub const RESUMED: [u8; 4] = [0x20, 0x02, 0x01, 0x00];
pub const PINGREQ: [u8; 2] = [0xC0, 0x00];
pub const PINGRESP: [u8; 2] = [0xD0, 0x00];
pub const DISCONNECT: [u8; 2] = [0xE0, 0x00];

/// CONNECT of client `c`, without keep-alive.
pub fn connect(clean_session: bool) -> Connect<'static> {
    Connect {
        version: Version::V311,
        clean_session,
        keep_alive: 0,
        client_id: "c",
        will: None,
        username: None,
        password: None,
    }
}

/// The defaults with another in-flight window.
pub fn window(inflight: u16) -> Config {
    Config { limits: Limits { inflight, ..Limits::default() }, ..Config::default() }
}

/// A packet that is a first byte and an id.
pub fn ack(first: u8, id: u16) -> [u8; 4] {
    let [high, low] = id.to_be_bytes();
    [first, 2, high, low]
}

pub fn puback(id: u16) -> [u8; 4] {
    ack(0x40, id)
}

pub fn pubrec(id: u16) -> [u8; 4] {
    ack(0x50, id)
}

pub fn pubrel(id: u16) -> [u8; 4] {
    ack(0x62, id)
}

pub fn pubcomp(id: u16) -> [u8; 4] {
    ack(0x70, id)
}

/// A short PUBLISH to topic `t`; `first` says type, DUP, QoS and RETAIN.
pub fn publish(first: u8, id: u16, payload: &str) -> Vec<u8> {
    let mut packet = vec![first, 0, 0, 1, b't'];
    if first & 0b0110 != 0 {
        packet.extend(id.to_be_bytes());
    }
    packet.extend(payload.as_bytes());
    packet[1] = u8::try_from(packet.len() - 2).ok().filter(|len| *len < 128).expect("a short payload");
    packet
}

/// Cuts bytes into packets: first byte and what follows the fixed header.
pub fn packets(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut found = Vec::new();
    while let Some((first, body)) = next_packet(&mut bytes) {
        found.push((first, body.to_vec()));
    }
    assert!(bytes.is_empty(), "half a packet: {bytes:02x?}");
    found
}

/// Takes one packet off the front; none if it is not there whole.
pub fn next_packet<'a>(bytes: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    let (&first, mut rest) = bytes.split_first()?;
    let (mut len, mut shift) = (0, 0);
    loop {
        let (&byte, after) = rest.split_first()?;
        rest = after;
        len |= usize::from(byte & 0x7F) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            break;
        }
        assert!(shift < 28, "Remaining Length of more than four bytes");
    }
    let (body, after) = rest.split_at_checked(len)?;
    *bytes = after;
    Some((first, body))
}

/// An [`Event`] that owns what it says, for comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happened {
    Connected { session_present: bool },
    Message { topic: String, payload: String, qos: u8, retain: bool, dup: bool },
    Overflow { topic: String, payload: String },
    Published { id: Option<u16>, token: u32 },
    Subscribed { token: u32, granted: Vec<(String, Option<u8>)> },
    Unsubscribed { token: u32 },
    Dropped { token: u32 },
    Drained,
    Tick,
}

impl From<Event<'_>> for Happened {
    fn from(event: Event<'_>) -> Happened {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match event {
            Event::Connected { session_present } => Happened::Connected { session_present },
            Event::Message { topic, payload, qos, retain, dup, .. } => {
                Happened::Message { topic: text(topic), payload: text(payload), qos: qos as u8, retain, dup }
            }
            Event::Overflow { topic, payload } => {
                Happened::Overflow { topic: text(topic), payload: text(payload) }
            }
            Event::Published { id, token } => {
                Happened::Published { id: id.map(|id| id.get()), token: token.0 }
            }
            Event::Subscribed { token, granted, .. } => Happened::Subscribed {
                token: token.0,
                granted: granted.map(|(filter, qos)| (filter.to_owned(), qos.map(|qos| qos as u8))).collect(),
            },
            Event::Unsubscribed { token, .. } => Happened::Unsubscribed { token: token.0 },
            Event::Dropped { token } => Happened::Dropped { token: token.0 },
            Event::Drained => Happened::Drained,
            Event::Tick => Happened::Tick,
            Event::ConnectFailed { .. }
            | Event::Offline
            | Event::CredentialsWanted
            | Event::Attempt { .. }
            | Event::AttemptFailed { .. }
            | Event::ConnectWanted { .. } => {
                panic!("a session never says {event:?}")
            }
        }
    }
}

/// A message to topic `t`, neither retained nor repeated.
pub fn message(payload: &str, qos: u8) -> Happened {
    Happened::Message { topic: "t".into(), payload: payload.into(), qos, retain: false, dup: false }
}

/// The same with DUP.
pub fn repeated(payload: &str, qos: u8) -> Happened {
    Happened::Message { topic: "t".into(), payload: payload.into(), qos, retain: false, dup: true }
}

pub fn published(id: u16, token: u32) -> Happened {
    Happened::Published { id: Some(id), token }
}

/// QoS 0: taken by the system.
pub fn written(token: u32) -> Happened {
    Happened::Published { id: None, token }
}

pub fn dropped(token: u32) -> Happened {
    Happened::Dropped { token }
}

pub fn qos(level: u8) -> Qos {
    Qos::new(level).expect("0, 1 or 2")
}

/// A session, its clock, and whoever would hold its socket.
#[derive(Debug)]
pub struct Driver {
    pub session: Session,
    pub now: Instant,
}

impl Driver {
    /// Without a connection.
    pub fn new(config: Config) -> Driver {
        Driver { session: Session::new(config), now: Instant::now() }
    }

    /// Connected with a clean session and no keep-alive; nothing unsent, no events.
    pub fn connected() -> Driver {
        Driver::connected_with(Config::default(), &connect(true))
    }

    /// The same with another configuration and CONNECT.
    pub fn connected_with(config: Config, connect: &Connect<'_>) -> Driver {
        let mut driver = Driver::new(config);
        driver.connect(connect, &ACCEPTED);
        driver.happened();
        driver
    }

    /// Sends CONNECT and receives `connack`.
    pub fn connect(&mut self, connect: &Connect<'_>, connack: &[u8]) {
        self.session.connect(connect, None);
        self.sent();
        self.feed(connack);
    }

    /// Bytes that are in order arrive.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.session.handle_input(self.now, bytes).expect("nothing is wrong with them");
    }

    /// Bytes arrive that end the connection.
    pub fn feed_wrong(&mut self, bytes: &[u8]) -> Error {
        self.session.handle_input(self.now, bytes).expect_err("the connection has to be closed")
    }

    /// Everything that waits to be sent; the system takes it.
    pub fn sent(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        while !self.session.transmit().is_empty() {
            let len = self.session.transmit().len();
            all.extend(self.take(len));
        }
        all
    }

    /// The system takes `n` bytes.
    pub fn take(&mut self, n: usize) -> Vec<u8> {
        let bytes = self.session.transmit()[..n].to_vec();
        self.session.handle_transmitted(self.now, n);
        bytes
    }

    pub fn happened(&mut self) -> Vec<Happened> {
        let mut all = Vec::new();
        while let Some(event) = self.session.events().pop() {
            all.push(event.into());
        }
        all
    }

    /// `seconds` pass. Deadlines on the way are kept; the system takes what is sent at them at once.
    pub fn pass(&mut self, seconds: f64) -> Result<Vec<(f64, Vec<u8>)>, Error> {
        let start = self.now;
        let end = start + Duration::from_secs_f64(seconds);
        let mut sent = Vec::new();
        while let Some(at) = self.session.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.session.handle_timeout(self.now)?;
            let bytes = self.sent();
            if !bytes.is_empty() {
                sent.push(((self.now - start).as_secs_f64(), bytes));
            }
        }
        self.now = end;
        Ok(sent)
    }

    /// Publishes to topic `t`.
    pub fn publish(&mut self, payload: &str, level: u8, token: u32) {
        self.try_publish(payload, level, token).expect("accepted");
    }

    pub fn try_publish(&mut self, payload: &str, level: u8, token: u32) -> Result<(), Refused> {
        self.session.publish("t", payload.as_bytes(), qos(level), false, Token(token))
    }

    /// The connection is lost; messages stay for the next.
    pub fn lose(&mut self) {
        self.session.handle_closed(Keep::Session);
    }

    /// Lost, and connected anew with `connack`; what is sent after that. The events are those of both.
    pub fn reconnect(&mut self, clean_session: bool, connack: &[u8]) -> Vec<u8> {
        self.lose();
        self.connect(&connect(clean_session), connack);
        self.sent()
    }
}

/// Puts byte strings together.
pub fn join<const N: usize>(parts: [&[u8]; N]) -> Vec<u8> {
    parts.concat()
}
