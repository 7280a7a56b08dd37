//! What can happen: [`Event`].

use crate::codec::{PacketId, Qos};

/// Names a call whose caller wants to hear of its own result; [`Token::NONE`] when nobody does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Token(pub u32);

impl Token {
    /// Nobody waits for this one.
    pub const NONE: Token = Token(0);

    /// Whether somebody waits.
    pub const fn is_some(self) -> bool {
        self.0 != 0
    }
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// The broker accepted the connection.
    Connected {
        /// It kept the session of before.
        session_present: bool,
    },
    /// An attempt did not lead to a connection, and is not retried (pushed by `client`).
    ConnectFailed {
        /// MQTT's return codes 1..5, or `client`'s own negative ones.
        reason: i8,
        /// For people.
        detail: &'a str,
    },
    /// An attempt begins, for the profile of this index (pushed by `client`, where that is asked for).
    Attempt {
        /// Index of the profile.
        profile: u16,
    },
    /// An attempt did not lead to a connection, and there will be another (pushed by `client`, where that is asked for).
    AttemptFailed {
        /// As of `ConnectFailed`.
        reason: i8,
        /// For people.
        detail: &'a str,
    },
    /// An accepted connection ended (pushed by `client`).
    Offline,
    /// The next dial waits for credentials (pushed by `client`).
    CredentialsWanted,
    /// A link to the server of this profile is up, and CONNECT waits for its contents (pushed by `client`).
    ConnectWanted {
        /// Index of the profile.
        profile: u16,
    },
    /// Time passes on an accepted connection. Not said while anything else waits to be taken.
    Tick,
    /// A PUBLISH arrived.
    Message {
        /// Its topic: UTF-8, as the codec has checked (bytes, so that nobody checks it again).
        topic: &'a [u8],
        /// Its payload.
        payload: &'a [u8],
        /// Its QoS.
        qos: Qos,
        /// It had been retained.
        retain: bool,
        /// It may be a repetition.
        dup: bool,
        /// Its packet id; none at QoS 0.
        id: Option<PacketId>,
    },
    /// A PUBLISH arrived that is larger than the limit.
    Overflow {
        /// Its topic, UTF-8.
        topic: &'a [u8],
        /// The part of its payload below the limit.
        payload: &'a [u8],
    },
    /// A publish is done: QoS 0 taken by the system (`id` is none), QoS 1 PUBACK, QoS 2 PUBCOMP.
    Published {
        /// The id it had.
        id: Option<PacketId>,
        /// Of the call.
        token: Token,
    },
    /// SUBACK arrived.
    Subscribed {
        /// Of the packet.
        id: PacketId,
        /// Of the call; none where the session has renewed subscriptions by itself.
        token: Token,
        /// The filters, with what was granted (none: refused), in the order of the call.
        granted: Granted<'a>,
    },
    /// UNSUBACK arrived.
    Unsubscribed {
        /// Of the packet.
        id: PacketId,
        /// Of the call.
        token: Token,
    },
    /// The call of this token can no longer be answered.
    Dropped {
        /// Of the call.
        token: Token,
    },
    /// A queue that refused a publish is half empty again.
    Drained,
}

/// The outcome of a SUBSCRIBE: an iterator over filters and granted QoS (none: refused).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Granted<'a> {
    pub(super) bytes: &'a [u8],
}

impl<'a> Iterator for Granted<'a> {
    type Item = (&'a str, Option<Qos>);

    fn next(&mut self) -> Option<Self::Item> {
        let (&[code, high, low], rest) = self.bytes.split_first_chunk()?;
        let (filter, rest) = rest.split_at(usize::from(u16::from_be_bytes([high, low])));
        self.bytes = rest;
        Some((std::str::from_utf8(filter).expect("written from a str by push_subscribed"), Qos::new(code)))
    }
}
