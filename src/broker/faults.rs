//! What the broker does wrong when it is asked to: [`Faults`], plain data.
//!
//! A connection has a copy of the faults that concern it and looks at them in four places: where it answers CONNECT
//! and SUBSCRIBE (`router.rs`), where it takes input and where it puts a packet into its output (`link.rs`), and where
//! it writes (`connection.rs`).

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::codec::{ConnectCode, Kind, Qos};

/// How a connection misbehaves. The default is not at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// What CONNECT is answered with.
    pub on_connect: OnConnect,
    /// The session-present flag of CONNACK, whether or not there is a session.
    pub session_present: Option<bool>,
    /// Where the connection ends.
    pub cut: Option<Cut>,
    /// How long everything that is sent is held back, by the broker's [`Time`]. What comes up meanwhile goes out with it.
    pub delay: Duration,
    /// Packets that are never sent, although the broker goes on as if they had been.
    pub swallow: Kinds,
    /// Packets that are sent twice.
    pub repeat: Kinds,
    /// Every byte in a write of its own.
    pub byte_by_byte: bool,
    /// Nothing is read any more. Keep-alive does not end such a connection.
    pub deaf: bool,
    /// Filters that SUBACK refuses (0x80), compared as text.
    pub refuse_filters: Vec<String>,
    /// The highest QoS that SUBACK grants.
    pub max_qos: Option<Qos>,
}

/// The time of a test, which moves when the test says so.
pub trait Time: Send + Sync {
    /// What time it is.
    fn now(&self) -> Instant;
    /// Ready once it is `at`.
    fn sleep_until(&self, at: Instant) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

/// What CONNECT is answered with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum OnConnect {
    /// What MQTT says.
    #[default]
    Answer,
    /// This code; then the connection is closed.
    Refuse(ConnectCode),
    /// Nothing, for as long as the client waits. Whatever else it sends is ignored.
    Ignore,
    /// These bytes in the place of an accepting CONNACK.
    Bytes(Bytes),
}

/// The point at which a connection ends without ceremony. What the broker has to say by then is still sent.
///
/// Counted from the start of the connection, or from the moment when the faults were set on a running one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// This many bytes were read. What follows them is never looked at.
    BytesReceived(u64),
    /// This many bytes were written; the last packet may be a part of one. 0 ends a connection at once.
    BytesSent(u64),
    /// This many packets were read and acted upon.
    PacketsReceived(u64),
    /// This many packets were written. What the client causes after that is lost.
    PacketsSent(u64),
}

/// The packets that a broker sends.
pub const SENT: [Kind; 9] = [
    Kind::Connack,
    Kind::Publish,
    Kind::Puback,
    Kind::Pubrec,
    Kind::Pubrel,
    Kind::Pubcomp,
    Kind::Suback,
    Kind::Unsuback,
    Kind::Pingresp,
];

/// The one of [`SENT`] with this name, in capitals or not.
pub fn kind_named(name: &str) -> Result<Kind, UnknownKind> {
    let found = SENT.into_iter().find(|kind| kind.name().eq_ignore_ascii_case(name));
    found.ok_or_else(|| UnknownKind(name.to_owned()))
}

/// A name that is not one of a packet that a broker sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownKind(String);

impl fmt::Display for UnknownKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = SENT.map(|kind| kind.name().to_ascii_lowercase()).join(", ");
        write!(f, "a broker sends no {:?}, but {names}", self.0)
    }
}

impl std::error::Error for UnknownKind {}

/// A set of [`Kind`]s: `[Kind::Puback, Kind::Pubrec].into()`.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Kinds(u16);

impl Kinds {
    /// Whether the kind is in the set.
    pub const fn contains(self, kind: Kind) -> bool {
        self.0 & (1 << kind as u8) != 0
    }
}

impl FromIterator<Kind> for Kinds {
    fn from_iter<I: IntoIterator<Item = Kind>>(kinds: I) -> Kinds {
        Kinds(kinds.into_iter().fold(0, |set, kind| set | 1 << kind as u8))
    }
}

impl<const N: usize> From<[Kind; N]> for Kinds {
    fn from(kinds: [Kind; N]) -> Kinds {
        kinds.into_iter().collect()
    }
}

impl fmt::Debug for Kinds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(SENT.into_iter().filter(|&kind| self.contains(kind))).finish()
    }
}

impl Faults {
    /// How often a packet of this kind is sent.
    pub(super) fn copies(&self, kind: Kind) -> usize {
        match (self.swallow.contains(kind), self.repeat.contains(kind)) {
            (true, _) => 0,
            (false, true) => 2,
            (false, false) => 1,
        }
    }

    /// What a request for this filter is granted, `None` if it is refused.
    pub(super) fn grant(&self, filter: &str, qos: Qos) -> Option<Qos> {
        if self.refuse_filters.iter().any(|refused| refused == filter) {
            return None;
        }
        Some(self.max_qos.map_or(qos, |max| qos.min(max)))
    }
}

/// Which connections have which faults.
#[derive(Debug, Default)]
pub(super) struct FaultTable {
    pub(super) all: Faults,
    /// For connections to come, one each.
    pub(super) next: VecDeque<Faults>,
    pub(super) clients: HashMap<String, Faults>,
}

/// Whom the faults of a connection were meant for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    All,
    Connection,
    Client,
}

impl FaultTable {
    /// The faults of a new connection.
    pub(super) fn accept(&mut self) -> (Scope, Faults) {
        match self.next.pop_front() {
            Some(faults) => (Scope::Connection, faults),
            None => (Scope::All, self.all.clone()),
        }
    }

    /// The faults of a connection whose client is now known, if they are other ones. Faults that were meant for this
    /// very connection stay.
    pub(super) fn identify(&self, scope: Scope, client: &str) -> Option<Faults> {
        if scope == Scope::All { self.clients.get(client).cloned() } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kinds_of_packets_are_known_by_name() {
        for kind in SENT {
            assert_eq!(kind_named(kind.name()), Ok(kind));
            assert_eq!(kind_named(&kind.name().to_ascii_lowercase()), Ok(kind));
        }
        let error = kind_named("subscribe").expect_err("only clients send it").to_string();
        assert!(error.starts_with(r#"a broker sends no "subscribe", but connack, publish,"#), "{error}");
    }

    #[test]
    fn a_packet_is_sent_never_twice_or_once() {
        let faults = Faults {
            swallow: [Kind::Puback].into(),
            repeat: [Kind::Puback, Kind::Suback].into(),
            ..Faults::default()
        };
        assert_eq!([0, 2, 1], [Kind::Puback, Kind::Suback, Kind::Pubrec].map(|kind| faults.copies(kind)));
    }
}
