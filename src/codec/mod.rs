//! Bytes become packets and packets become bytes: pure functions of MQTT 3.1 and 3.1.1, for both ends of a connection.
//!
//! | file | what it knows |
//! |---|---|
//! | `packet.rs` | the packets as values, the same for every version |
//! | `frame.rs` | [`Deframer`]: where a packet ends in a stream of bytes, and how much of it to keep |
//! | `partial.rs` | a packet that arrives in parts, and [`Lent`]: its place to read on in |
//! | [`v4`] | what is inside a packet of MQTT 3.1 and 3.1.1; a later version stands beside it |
//! | `lists.rs` | what SUBSCRIBE, UNSUBSCRIBE and SUBACK list |
//! | [`topic`] | topic names and filters: which are legal, which match |
//! | `tree.rs`, `slab.rs` | [`FilterTree`]: values under filters, found by a topic |
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
//! let (mut deframer, mut input) = (Deframer::new(None), &stream[..]);
//! while let Some(frame) = deframer.next(&mut input)? {
//!     assert_eq!(v4::decode(&frame)?, Packet::Publish(message));
//! }
//! # Ok::<(), mqtt::codec::Error>(())
//! ```

mod error;
mod frame;
mod lists;
mod packet;
mod partial;
pub(crate) mod slab;
pub mod topic;
mod tree;
pub mod v4;
mod wire;

#[cfg(test)]
mod tests;

pub use error::{Error, TopicError};
pub use frame::{Deframer, Frame};
pub(crate) use lists::suback_code;
pub use packet::{
    Connack, Connect, ConnectCode, Delivery, Kind, MAX_PACKET, MAX_REMAINING, Packet, PacketId, Publish, Qos,
    Version, Will,
};
pub use partial::Lent;
pub use topic::{TopicFilter, TopicName};
pub use tree::FilterTree;

/// The entry for fuzzing, also run by the tests with random bytes: a stream gives the same packets however it is cut, what
/// decodes can be encoded and decodes to the same again, and nothing panics. The first two bytes of `data` choose the
/// limit and the cuts.
#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    let Some((&[limit, piece], stream)) = data.split_first_chunk() else { return };
    let limit = Some(usize::from(limit)).filter(|limit| *limit < 128);
    for deframer in [Deframer::new, Deframer::from_broker, Deframer::from_client] {
        let pieces = || stream.chunks(1 + usize::from(piece % 16));
        let whole = read_all(deframer(limit), std::iter::once(stream), false);
        assert_eq!(whole, read_all(deframer(limit), pieces(), false), "cuts make a difference");
        assert_eq!(whole, read_all(deframer(limit), pieces(), true), "the place makes a difference");
    }
}

/// A frame's header, body, size on the wire, and whether it was truncated.
type Read = (u8, Vec<u8>, usize, bool);

/// What a stream holds: the frames, whole or in part, and at last perhaps an error. `in_place`: what came in part is read on
/// in its place.
fn read_all<'a>(
    mut deframer: Deframer,
    pieces: impl Iterator<Item = &'a [u8]>,
    in_place: bool,
) -> (Vec<Read>, Option<Error>) {
    let mut frames = Vec::new();
    for piece in pieces {
        let mut piece = piece.to_vec();
        if in_place && let Some(mut packet) = deframer.lend(1) {
            let room = packet.room();
            let n = piece.len().min(room.capacity() - room.len());
            room.extend(piece.drain(..n));
            piece.splice(..0, deframer.restore(packet));
        }
        let mut piece = &piece[..];
        loop {
            match deframer.next(&mut piece) {
                Ok(Some(frame)) => {
                    frames.push((frame.header, frame.body.to_vec(), frame.size, frame.truncated));
                    match v4::decode(&frame) {
                        Ok(packet) => assert_survives(&packet),
                        Err(error) => return (frames, Some(error)),
                    }
                }
                Ok(None) => break,
                Err(error) => return (frames, Some(error)),
            }
        }
        assert!(piece.is_empty(), "input is left over");
    }
    (frames, None)
}

/// Encodes a packet and decodes it again.
fn assert_survives(packet: &Packet<'_>) {
    let mut bytes = Vec::new();
    v4::encode(&mut bytes, packet);
    let (mut deframer, mut input) = (Deframer::new(None), &bytes[..]);
    let frame = deframer.next(&mut input).expect("a header of ours is right").expect("the packet is whole");
    assert_eq!(v4::decode(&frame).as_ref(), Ok(packet));
}
