//! Bytes become packets and packets become bytes: pure functions of MQTT 3.1 and 3.1.1, for both ends of a connection.
//!
//! | file | what it knows |
//! |---|---|
//! | `packet.rs` | the packets as values, the same for every version |
//! | `frame.rs` | [`Deframer`]: where a packet ends in a stream of bytes, and how much of it to keep |
//! | [`v4`] | what is inside a packet of MQTT 3.1 and 3.1.1; a later version stands beside it |
//! | [`topic`] | topic names and filters: which are legal, which match |
//! | `wire.rs` | integers, strings and lengths |
//! | `error.rs` | [`Error`]: what was wrong, with the clause of the standard |
//!
//! Nothing here has state but the [`Deframer`], which holds the one packet that has arrived in part. Clauses in square
//! brackets are the normative statements of the OASIS Standard of 29 October 2014; bare numbers are its chapters.
//!
//! ```
//! use mqtt::codec::{Deframer, Delivery, Packet, Publish, v4};
//!
//! let mut stream = Vec::new();
//! let message = Publish {
//!     dup: false,
//!     delivery: Delivery::AtMostOnce,
//!     retain: false,
//!     topic: "room/1",
//!     payload: b"21.5",
//! };
//! v4::publish(&mut stream, &message);
//!
//! let mut input = &stream[..];
//! let frame = Deframer::new(None).next(&mut input)?.map(|frame| v4::decode(&frame) == Ok(Packet::Publish(message)));
//! assert_eq!(frame, Some(true));
//! # Ok::<(), mqtt::codec::Error>(())
//! ```

mod error;
mod frame;
mod packet;
pub mod topic;
pub mod v4;
mod wire;

pub use error::{Error, TopicError};
pub use frame::{Deframer, Frame};
pub use packet::{
    Connack, Connect, ConnectCode, Delivery, Kind, MAX_PACKET, MAX_REMAINING, Packet, PacketId, Publish, Qos,
    Version, Will,
};
pub use topic::{TopicFilter, TopicName};
