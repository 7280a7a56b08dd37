//! The control packets of MQTT as values, the same for every version of the protocol.
//!
//! A packet that the standard forbids cannot be built: an id is never 0, and QoS and id are one value, so a QoS 1
//! PUBLISH without an id, or a QoS 0 one with an id, cannot be written. Everything with a length borrows: from
//! the caller when it is encoded, from the input when it was decoded.

use std::fmt;
use std::num::NonZeroU16;

use super::v4::{Filters, SubackCodes, Topics};

/// The largest packet that MQTT can carry, fixed header included: a Remaining Length of 268,435,455 bytes
/// (MQTT 3.1.1, 2.2.3) and 5 bytes before it.
pub const MAX_PACKET: usize = MAX_REMAINING + 5;

/// The largest Remaining Length: four bytes of seven bits (MQTT 3.1.1, 2.2.3).
pub const MAX_REMAINING: usize = 268_435_455;

/// The version of the protocol that a connection speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    /// MQTT 3.1: protocol name `MQIsdp`, level 3.
    V31,
    /// MQTT 3.1.1: protocol name `MQTT`, level 4.
    #[default]
    V311,
}

/// Quality of service: how hard a message is delivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Qos {
    /// Fire and forget.
    #[default]
    AtMostOnce = 0,
    /// Acknowledged by PUBACK; may arrive twice.
    AtLeastOnce = 1,
    /// PUBREC, PUBREL, PUBCOMP: arrives once.
    ExactlyOnce = 2,
}

impl Qos {
    /// The QoS of a number, `None` above 2.
    pub const fn new(level: u8) -> Option<Qos> {
        match level {
            0 => Some(Qos::AtMostOnce),
            1 => Some(Qos::AtLeastOnce),
            2 => Some(Qos::ExactlyOnce),
            _ => None,
        }
    }
}

/// A packet identifier: 1 to 65535 \[MQTT-2.3.1-1\].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PacketId(NonZeroU16);

impl PacketId {
    /// The smallest id.
    pub const MIN: PacketId = PacketId(NonZeroU16::MIN);

    /// The id of a number, `None` for 0.
    pub const fn new(id: u16) -> Option<PacketId> {
        match NonZeroU16::new(id) {
            Some(id) => Some(PacketId(id)),
            None => None,
        }
    }

    /// The number.
    pub const fn get(self) -> u16 {
        self.0.get()
    }

    /// The id after this one; 65535 is followed by 1.
    pub const fn next(self) -> PacketId {
        match self.0.checked_add(1) {
            Some(id) => PacketId(id),
            None => PacketId::MIN,
        }
    }
}

impl fmt::Debug for PacketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// The QoS of a PUBLISH together with the packet id that QoS 1 and 2 need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// QoS 0: carries no id \[MQTT-2.3.1-5\].
    AtMostOnce,
    /// QoS 1.
    AtLeastOnce(PacketId),
    /// QoS 2.
    ExactlyOnce(PacketId),
}

impl Delivery {
    /// The quality of service alone.
    pub const fn qos(self) -> Qos {
        match self {
            Delivery::AtMostOnce => Qos::AtMostOnce,
            Delivery::AtLeastOnce(_) => Qos::AtLeastOnce,
            Delivery::ExactlyOnce(_) => Qos::ExactlyOnce,
        }
    }

    /// The packet id, if this QoS has one.
    pub const fn id(self) -> Option<PacketId> {
        match self {
            Delivery::AtMostOnce => None,
            Delivery::AtLeastOnce(id) | Delivery::ExactlyOnce(id) => Some(id),
        }
    }
}

/// The first packet of a client.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Connect<'a> {
    /// Which protocol name and level to send.
    pub version: Version,
    /// Clean session: the broker forgets what it knew of this client.
    pub clean_session: bool,
    /// Seconds between packets that the client promises; 0: none.
    pub keep_alive: u16,
    /// The name of the session.
    pub client_id: &'a str,
    /// What the broker publishes when the client vanishes.
    pub will: Option<Will<'a>>,
    /// User name.
    pub username: Option<&'a str>,
    /// Password. Only with a user name \[MQTT-3.1.2-22\]: without one it is not encoded.
    pub password: Option<&'a [u8]>,
}

impl fmt::Debug for Connect<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connect")
            .field("version", &self.version)
            .field("clean_session", &self.clean_session)
            .field("keep_alive", &self.keep_alive)
            .field("client_id", &self.client_id)
            .field("will", &self.will)
            .field("username", &self.username)
            .field("password", &self.password.map(|_| "<redacted>"))
            .finish()
    }
}

/// A last will.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Will<'a> {
    /// Where it is published.
    pub topic: &'a str,
    /// Its payload.
    pub message: &'a [u8],
    /// Its quality of service.
    pub qos: Qos,
    /// Whether it is retained.
    pub retain: bool,
}

impl fmt::Debug for Will<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Will({:?}, {} B, {:?}, retain {})", self.topic, self.message.len(), self.qos, self.retain)
    }
}

/// The broker's answer to CONNECT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connack {
    /// The broker kept a session of this client; only ever set with an accepted code.
    pub session_present: bool,
    /// Accepted, or why not.
    pub code: ConnectCode,
}

/// The return code of CONNACK (MQTT 3.1.1, table 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ConnectCode {
    /// Connection accepted.
    Accepted = 0,
    /// Unacceptable protocol version.
    ProtocolVersion = 1,
    /// Client identifier rejected.
    IdentifierRejected = 2,
    /// Server unavailable.
    ServerUnavailable = 3,
    /// Bad user name or password.
    BadUserOrPassword = 4,
    /// Not authorized.
    NotAuthorized = 5,
}

impl ConnectCode {
    /// The code of a number, `None` above 5 (reserved).
    pub const fn new(code: u8) -> Option<ConnectCode> {
        Some(match code {
            0 => ConnectCode::Accepted,
            1 => ConnectCode::ProtocolVersion,
            2 => ConnectCode::IdentifierRejected,
            3 => ConnectCode::ServerUnavailable,
            4 => ConnectCode::BadUserOrPassword,
            5 => ConnectCode::NotAuthorized,
            _ => return None,
        })
    }
}

/// An application message on its way.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Publish<'a> {
    /// This may be a repetition of an earlier attempt.
    pub dup: bool,
    /// QoS and packet id.
    pub delivery: Delivery,
    /// To the broker: keep it. From the broker: it was kept.
    pub retain: bool,
    /// A topic name, without wildcards.
    pub topic: &'a str,
    /// Any bytes.
    pub payload: &'a [u8],
}

impl fmt::Debug for Publish<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publish")
            .field("dup", &self.dup)
            .field("delivery", &self.delivery)
            .field("retain", &self.retain)
            .field("topic", &self.topic)
            .field("payload", &format_args!("{} B", self.payload.len()))
            .finish()
    }
}

/// Any packet, decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packet<'a> {
    /// Client to broker, first.
    Connect(Connect<'a>),
    /// Broker to client, first.
    Connack(Connack),
    /// Either way.
    Publish(Publish<'a>),
    /// Answer to a QoS 1 PUBLISH.
    Puback(PacketId),
    /// Answer to a QoS 2 PUBLISH.
    Pubrec(PacketId),
    /// Answer to PUBREC.
    Pubrel(PacketId),
    /// Answer to PUBREL.
    Pubcomp(PacketId),
    /// Client to broker.
    Subscribe {
        /// Names the request.
        id: PacketId,
        /// Pairs of filter and QoS, at least one.
        filters: Filters<'a>,
    },
    /// Broker to client.
    Suback {
        /// That of the SUBSCRIBE.
        id: PacketId,
        /// One result per filter, in their order.
        codes: SubackCodes<'a>,
    },
    /// Client to broker.
    Unsubscribe {
        /// Names the request.
        id: PacketId,
        /// At least one filter.
        filters: Topics<'a>,
    },
    /// Broker to client.
    Unsuback(PacketId),
    /// Client to broker.
    Pingreq,
    /// Broker to client.
    Pingresp,
    /// Client to broker, last.
    Disconnect,
}

impl Packet<'_> {
    /// Which packet it is.
    pub const fn kind(&self) -> Kind {
        match self {
            Packet::Connect(_) => Kind::Connect,
            Packet::Connack(_) => Kind::Connack,
            Packet::Publish(_) => Kind::Publish,
            Packet::Puback(_) => Kind::Puback,
            Packet::Pubrec(_) => Kind::Pubrec,
            Packet::Pubrel(_) => Kind::Pubrel,
            Packet::Pubcomp(_) => Kind::Pubcomp,
            Packet::Subscribe { .. } => Kind::Subscribe,
            Packet::Suback { .. } => Kind::Suback,
            Packet::Unsubscribe { .. } => Kind::Unsubscribe,
            Packet::Unsuback(_) => Kind::Unsuback,
            Packet::Pingreq => Kind::Pingreq,
            Packet::Pingresp => Kind::Pingresp,
            Packet::Disconnect => Kind::Disconnect,
        }
    }
}

/// The type of a packet (MQTT 3.1.1, table 2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// CONNECT
    Connect = 1,
    /// CONNACK
    Connack = 2,
    /// PUBLISH
    Publish = 3,
    /// PUBACK
    Puback = 4,
    /// PUBREC
    Pubrec = 5,
    /// PUBREL
    Pubrel = 6,
    /// PUBCOMP
    Pubcomp = 7,
    /// SUBSCRIBE
    Subscribe = 8,
    /// SUBACK
    Suback = 9,
    /// UNSUBSCRIBE
    Unsubscribe = 10,
    /// UNSUBACK
    Unsuback = 11,
    /// PINGREQ
    Pingreq = 12,
    /// PINGRESP
    Pingresp = 13,
    /// DISCONNECT
    Disconnect = 14,
}

impl Kind {
    /// The type that the first byte of a packet names; `None` for the reserved types 0 and 15.
    pub const fn of(first: u8) -> Option<Kind> {
        Some(match first >> 4 {
            1 => Kind::Connect,
            2 => Kind::Connack,
            3 => Kind::Publish,
            4 => Kind::Puback,
            5 => Kind::Pubrec,
            6 => Kind::Pubrel,
            7 => Kind::Pubcomp,
            8 => Kind::Subscribe,
            9 => Kind::Suback,
            10 => Kind::Unsubscribe,
            11 => Kind::Unsuback,
            12 => Kind::Pingreq,
            13 => Kind::Pingresp,
            14 => Kind::Disconnect,
            _ => return None,
        })
    }

    /// Its name, in capitals as in the standard.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Connect => "CONNECT",
            Kind::Connack => "CONNACK",
            Kind::Publish => "PUBLISH",
            Kind::Puback => "PUBACK",
            Kind::Pubrec => "PUBREC",
            Kind::Pubrel => "PUBREL",
            Kind::Pubcomp => "PUBCOMP",
            Kind::Subscribe => "SUBSCRIBE",
            Kind::Suback => "SUBACK",
            Kind::Unsubscribe => "UNSUBSCRIBE",
            Kind::Unsuback => "UNSUBACK",
            Kind::Pingreq => "PINGREQ",
            Kind::Pingresp => "PINGRESP",
            Kind::Disconnect => "DISCONNECT",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
