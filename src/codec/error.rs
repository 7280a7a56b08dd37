//! What can be wrong with bytes, topics and filters. Every message ends with the clause that was broken.

use std::fmt;

use super::packet::Kind;

/// The peer sent what MQTT forbids: the connection has to be closed \[MQTT-4.8.0-1\].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// Packet type 0 or 15.
    ReservedType(u8),
    /// The four low bits of the first byte are not those of this packet type.
    Flags(Kind, u8),
    /// A PUBLISH of QoS 3.
    PublishQos,
    /// A PUBLISH of QoS 0 that says it is a repetition.
    DupAtQos0,
    /// A Remaining Length that does not end within four bytes.
    RemainingLength,
    /// A Remaining Length that this packet type cannot have.
    Length(Kind, u32),
    /// A packet that only the other side may send.
    Direction(Kind),
    /// A field that the packet must have is missing, or reaches beyond the packet's end.
    Short(Kind),
    /// Bytes after the packet's last field.
    Trailing(Kind),
    /// A string that is not UTF-8.
    Utf8(Kind),
    /// A string that contains U+0000.
    Nul(Kind),
    /// A packet identifier of 0.
    ZeroId(Kind),
    /// The topic name of a PUBLISH or of a will.
    Topic(Kind, TopicError),
    /// A filter of a SUBSCRIBE or UNSUBSCRIBE.
    Filter(Kind, TopicError),
    /// CONNECT with a protocol name that is neither `MQTT` nor `MQIsdp`.
    ProtocolName,
    /// CONNECT with a level that does not belong to its protocol name. A broker answers this one with
    /// [`ConnectCode::ProtocolVersion`](super::ConnectCode::ProtocolVersion) before it closes.
    ProtocolLevel(u8),
    /// CONNECT with bit 0 of its flags set.
    ConnectReserved,
    /// CONNECT with a QoS or retain bit for a will that it does not have.
    WillFlags,
    /// CONNECT with a will of QoS 3.
    WillQos,
    /// CONNECT with a password and no user name.
    PasswordWithoutUser,
    /// CONNECT without client identifier that wants its session kept.
    EmptyClientId,
    /// A string or binary field longer than its two length bytes can say.
    TooLong(Kind),
    /// CONNACK with a reserved bit in its first byte.
    ConnackFlags(u8),
    /// CONNACK with a return code above 5.
    ConnackCode(u8),
    /// CONNACK that refuses and reports a session.
    SessionPresent(u8),
    /// SUBACK with a code other than 00, 01, 02 and 80.
    SubackCode(u8),
    /// SUBACK without a code.
    NoCodes,
    /// SUBSCRIBE or UNSUBSCRIBE without a filter.
    NoFilters(Kind),
    /// SUBSCRIBE with an options byte other than 0, 1 and 2.
    SubscribeOptions(u8),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Error::ReservedType(kind) => write!(f, "packet type {kind} is reserved [2.2.1]"),
            Error::Flags(kind, flags) => {
                let clause = match kind {
                    Kind::Pubrel => " [MQTT-3.6.1-1]",
                    Kind::Subscribe => " [MQTT-3.8.1-1]",
                    Kind::Unsubscribe => " [MQTT-3.10.1-1]",
                    _ => "",
                };
                write!(f, "{kind} with the flag bits {flags:04b} [MQTT-2.2.2-2]{clause}")
            }
            Error::PublishQos => write!(f, "PUBLISH with QoS 3 [MQTT-3.3.1-4]"),
            Error::DupAtQos0 => write!(f, "PUBLISH of QoS 0 with DUP set [MQTT-3.3.1-2]"),
            Error::RemainingLength => write!(f, "Remaining Length of more than four bytes [2.2.3]"),
            Error::Length(kind, length) => {
                write!(f, "{kind} with a Remaining Length of {length} [2.2.3] [{}]", chapter(kind))
            }
            Error::Direction(kind) => {
                write!(f, "{kind} is not for this side to receive [2.2.1] [MQTT-4.8.0-1]")
            }
            Error::Short(kind) => write!(f, "{kind} ends within a field [{}]", chapter(kind)),
            Error::Trailing(kind) => write!(f, "{kind} goes on after its last field [{}]", chapter(kind)),
            Error::Utf8(kind) => write!(f, "string in {kind} is not UTF-8 [MQTT-1.5.3-1]"),
            Error::Nul(kind) => write!(f, "string in {kind} contains U+0000 [MQTT-1.5.3-2]"),
            Error::ZeroId(kind) => write!(f, "{kind} with packet identifier 0 [MQTT-2.3.1-1]"),
            Error::Topic(kind, error) => write!(f, "topic name in {kind} {error}"),
            Error::Filter(kind, error) => write!(f, "topic filter in {kind} {error}"),
            Error::ProtocolName => write!(f, "CONNECT with an unknown protocol name [MQTT-3.1.2-1]"),
            Error::ProtocolLevel(level) => write!(f, "CONNECT with protocol level {level} [MQTT-3.1.2-2]"),
            Error::ConnectReserved => write!(f, "CONNECT with the reserved flag bit set [MQTT-3.1.2-3]"),
            Error::WillFlags => write!(
                f,
                "CONNECT with Will QoS or Will Retain but no will [MQTT-3.1.2-11] [MQTT-3.1.2-13] [MQTT-3.1.2-15]"
            ),
            Error::WillQos => write!(f, "CONNECT with a will of QoS 3 [MQTT-3.1.2-14]"),
            Error::PasswordWithoutUser => {
                write!(f, "CONNECT with a password and no user name [MQTT-3.1.2-22]")
            }
            Error::EmptyClientId => {
                write!(f, "CONNECT with an empty client identifier and clean session 0 [MQTT-3.1.3-7]")
            }
            Error::TooLong(kind) => write!(f, "field of {kind} is longer than 65535 bytes [1.5.3]"),
            Error::ConnackFlags(flags) => write!(f, "CONNACK with the reserved flags {flags:08b} [3.2.2.1]"),
            Error::ConnackCode(code) => write!(f, "CONNACK with the reserved return code {code} [3.2.2.3]"),
            Error::SessionPresent(code) => {
                write!(f, "CONNACK with return code {code} and a session present [MQTT-3.2.2-4]")
            }
            Error::SubackCode(code) => {
                write!(f, "SUBACK with the reserved return code {code:#04x} [MQTT-3.9.3-2]")
            }
            Error::NoCodes => write!(f, "SUBACK without a return code [MQTT-3.9.3-1]"),
            Error::NoFilters(Kind::Unsubscribe) => write!(f, "UNSUBSCRIBE without a filter [MQTT-3.10.3-2]"),
            Error::NoFilters(kind) => write!(f, "{kind} without a filter [MQTT-3.8.3-3]"),
            Error::SubscribeOptions(options) => {
                write!(f, "SUBSCRIBE with the options byte {options:#04x} [MQTT-3.8.3-4]")
            }
        }
    }
}

impl std::error::Error for Error {}

/// What is wrong with a topic name or filter. Its message continues a sentence: "topic …".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TopicError {
    /// No characters at all.
    Empty,
    /// More than 65535 bytes.
    TooLong,
    /// Not UTF-8.
    Utf8,
    /// Contains U+0000.
    Nul,
    /// A name with a wildcard.
    Wildcard,
    /// A filter with `#` elsewhere than as its last level.
    MultiLevel,
    /// A filter with `+` that shares its level.
    SingleLevel,
    /// A `$share` filter that is not `$share/<group>/<filter>`.
    Share,
}

impl fmt::Display for TopicError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TopicError::Empty => "is empty [MQTT-4.7.3-1]",
            TopicError::TooLong => "is longer than 65535 bytes [MQTT-4.7.3-3]",
            TopicError::Utf8 => "is not UTF-8 [MQTT-1.5.3-1]",
            TopicError::Nul => "contains U+0000 [MQTT-4.7.3-2] [MQTT-1.5.3-2]",
            TopicError::Wildcard => "contains a wildcard [MQTT-3.3.2-2] [MQTT-4.7.1-1]",
            TopicError::MultiLevel => "has # elsewhere than as its last level [MQTT-4.7.1-2]",
            TopicError::SingleLevel => "has + beside other characters of a level [MQTT-4.7.1-3]",
            TopicError::Share => "is not $share/<group>/<filter> [MQTT 5.0, 4.8.2]",
        })
    }
}

impl std::error::Error for TopicError {}

/// The chapter of MQTT 3.1.1 that describes a packet.
fn chapter(kind: Kind) -> &'static str {
    match kind {
        Kind::Connect => "MQTT-3.1.3-1",
        Kind::Connack => "3.2.1",
        Kind::Publish => "3.3",
        Kind::Puback => "3.4.1",
        Kind::Pubrec => "3.5.1",
        Kind::Pubrel => "3.6.1",
        Kind::Pubcomp => "3.7.1",
        Kind::Subscribe => "3.8",
        Kind::Suback => "3.9",
        Kind::Unsubscribe => "3.10",
        Kind::Unsuback => "3.11.1",
        Kind::Pingreq => "3.12.1",
        Kind::Pingresp => "3.13.1",
        Kind::Disconnect => "3.14.1",
    }
}
