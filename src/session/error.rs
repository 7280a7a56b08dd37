//! Why a session refuses a call, and why it ends a connection.

use std::fmt;

use crate::codec::{self, ConnectCode};

/// A call that was not accepted; nothing has changed by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// There is no connection, and nothing that would keep the message for one.
    NotConnected,
    /// As many bytes are accepted and not done as the limit allows, or every packet id is in use.
    QueueFull,
}

impl Refused {
    /// In the words of the Lua API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Refused::NotConnected => "not connected",
            Refused::QueueFull => "queue full",
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::error::Error for Refused {}

/// Why the connection has to be closed. All but `Refused`, `NoConnack` and `Silent` are the peer's violations of the
/// protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// A malformed packet \[MQTT-4.8.0-1\].
    Protocol(codec::Error),
    /// CONNACK with this code \[MQTT-3.2.2-5\].
    Refused(ConnectCode),
    /// Another packet than CONNACK came first \[MQTT-3.2.0-1\].
    NotConnack,
    /// CONNACK came again \[MQTT-3.2.0-1\].
    SecondConnack,
    /// SUBACK has another number of codes than the SUBSCRIBE had filters \[MQTT-3.9.3-1\].
    SubackCount {
        /// Filters asked for.
        asked: usize,
        /// Codes in the answer.
        got: usize,
    },
    /// More answers of ours wait to be taken than the broker can wait for.
    RepliesUnread,
    /// CONNACK did not come in time.
    NoConnack,
    /// Nothing came in time after a PINGREQ.
    Silent,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Protocol(error) => error.fmt(f),
            Error::Refused(code) => f.write_str(match code {
                ConnectCode::Accepted => "accepted",
                ConnectCode::ProtocolVersion => "the broker refuses this version of the protocol",
                ConnectCode::IdentifierRejected => "the broker rejects the client id",
                ConnectCode::ServerUnavailable => "the broker says that it is unavailable",
                ConnectCode::BadUserOrPassword => "the broker rejects the user name or password",
                ConnectCode::NotAuthorized => "the broker does not authorize this client",
            }),
            Error::NotConnack => f.write_str("the first packet was no CONNACK [MQTT-3.2.0-1]"),
            Error::SecondConnack => f.write_str("a second CONNACK [MQTT-3.2.0-1]"),
            Error::SubackCount { asked, got } => {
                write!(f, "SUBACK with {got} codes for {asked} filters [MQTT-3.9.3-1]")
            }
            Error::RepliesUnread => {
                f.write_str("no room for more acknowledgements: the broker does not read them [MQTT-4.8.0-2]")
            }
            Error::NoConnack => f.write_str("no CONNACK in time"),
            Error::Silent => f.write_str("nothing came after PINGREQ: the connection is dead"),
        }
    }
}

impl std::error::Error for Error {}

impl From<codec::Error> for Error {
    fn from(error: codec::Error) -> Error {
        Error::Protocol(error)
    }
}
