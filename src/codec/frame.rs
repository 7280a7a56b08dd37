//! Where packets begin and end in a stream of bytes: [`Deframer`].
//!
//! What a header alone shows to be wrong (type, flags, length) is found here, before a byte of the body is kept; what is
//! inside a body is the business of [`v4::decode`](super::v4::decode).

use super::error::Error;
use super::packet::{Kind, MAX_REMAINING};
use super::wire::remaining_length;

/// One packet as it arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Its first byte: packet type and flags.
    pub header: u8,
    /// What follows the fixed header. Of a PUBLISH above the limit: the part of it that was kept.
    pub body: &'a [u8],
    /// The size of the whole packet on the wire, fixed header included.
    pub size: usize,
    /// It is a PUBLISH larger than the limit. Its body still has topic and packet id whole.
    pub truncated: bool,
}

/// Cuts a stream into packets, however its bytes are spread over reads.
///
/// A packet that lies whole in the input is a slice of it. One that arrives in pieces is gathered in a buffer that grows
/// with what arrives, never with what a header announces. Of a PUBLISH above the limit, the bytes above the limit are
/// dropped as they come.
///
/// After an error the place in the stream is lost: only [`Deframer::reset`] makes sense then.
#[derive(Debug)]
pub struct Deframer {
    /// The start of a packet that has not arrived whole, or (`done`) the packet returned last; as far as it is kept.
    partial: Vec<u8>,
    /// The header of `partial`, as soon as it is whole.
    head: Option<Head>,
    /// How many bytes of that packet came after the kept ones.
    dropped: usize,
    /// `partial` has been returned and is cleared by the next call.
    done: bool,
    /// The largest PUBLISH that is kept whole, fixed header included.
    limit: usize,
    /// Bit n: packet type n may come.
    accepts: u16,
}

impl Default for Deframer {
    fn default() -> Deframer {
        Deframer::new(None)
    }
}

impl Deframer {
    /// For packets of both directions. A PUBLISH larger than `limit` bytes (fixed header included) is truncated.
    pub const fn new(limit: Option<usize>) -> Deframer {
        let limit = match limit {
            Some(limit) => limit,
            None => usize::MAX,
        };
        Deframer { partial: Vec::new(), head: None, dropped: 0, done: false, limit, accepts: ANY }
    }

    /// For a client: as [`Deframer::new`], and a packet that only clients send is an error at its header.
    pub const fn from_broker(limit: Option<usize>) -> Deframer {
        let mut deframer = Deframer::new(limit);
        deframer.accepts = 1 << Kind::Connack as u16
            | ACKS
            | 1 << Kind::Suback as u16
            | 1 << Kind::Unsuback as u16
            | 1 << Kind::Pingresp as u16;
        deframer
    }

    /// For a broker: as [`Deframer::new`], and a packet that only brokers send is an error at its header.
    pub const fn from_client(limit: Option<usize>) -> Deframer {
        let mut deframer = Deframer::new(limit);
        deframer.accepts = 1 << Kind::Connect as u16
            | ACKS
            | 1 << Kind::Subscribe as u16
            | 1 << Kind::Unsubscribe as u16
            | 1 << Kind::Pingreq as u16
            | 1 << Kind::Disconnect as u16;
        deframer
    }

    /// Takes the next packet off the front of `input`. `None`: all of `input` is used up, the rest of the packet has yet
    /// to come.
    // Always: a frame that is returned through memory costs more than all the work in here.
    #[inline(always)]
    pub fn next<'a, 'i: 'a>(&'a mut self, input: &mut &'i [u8]) -> Result<Option<Frame<'a>>, Error> {
        if self.done {
            self.reset();
        }
        if self.partial.is_empty()
            && let Some(head) = Head::read(input, self.accepts)?
            && let Some((packet, rest)) = input.split_at_checked(head.size)
        {
            *input = rest;
            return Ok(Some(head.frame(self.limit, &packet[..head.kept(self.limit, packet)])));
        }
        // The frame is put together here: one returned through memory would slow down the path above.
        if !self.gather(input)? {
            return Ok(None);
        }
        let head = self.head.expect("a packet that has arrived whole has a header");
        Ok(Some(head.frame(self.limit, &self.partial)))
    }

    /// Whether a packet has arrived in part.
    pub fn is_partial(&self) -> bool {
        !self.partial.is_empty() && !self.done
    }

    /// Forgets a packet that has arrived in part: for the next connection.
    #[inline(never)]
    pub fn reset(&mut self) {
        /// More than this is given back, so that one large packet does not stay in memory for ever.
        const KEEP: usize = 4096;
        self.partial.clear();
        if self.partial.capacity() > KEEP {
            self.partial = Vec::new();
        }
        self.head = None;
        self.dropped = 0;
        self.done = false;
    }

    /// Moves what belongs to one packet from `input` to `partial`; tells whether that is whole now.
    #[inline(never)]
    fn gather(&mut self, input: &mut &[u8]) -> Result<bool, Error> {
        let head = loop {
            if let Some(head) = self.head {
                break head;
            }
            let Some(byte) = input.split_off_first() else { return Ok(false) };
            self.partial.push(*byte);
            self.head = Head::read(&self.partial, self.accepts)?;
        };
        // Twice for a PUBLISH above the limit: how much is kept of it depends on the length of its topic.
        loop {
            let missing = head.kept(self.limit, &self.partial) - self.partial.len();
            if missing == 0 {
                break;
            }
            let arrived = input.split_off(..missing.min(input.len())).expect("no more than there is");
            self.partial.extend_from_slice(arrived);
            if arrived.len() < missing {
                return Ok(false);
            }
        }
        let unwanted = head.size - self.partial.len() - self.dropped;
        let arrived = input.split_off(..unwanted.min(input.len())).expect("no more than there is");
        self.dropped += arrived.len();
        if arrived.len() < unwanted {
            return Ok(false);
        }
        self.done = true;
        Ok(true)
    }
}

/// A fixed header, checked.
#[derive(Clone, Copy, Debug)]
struct Head {
    /// The first byte of the packet.
    first: u8,
    /// The size of the fixed header.
    len: usize,
    /// The size of the whole packet.
    size: usize,
}

impl Head {
    /// Reads the header at the front of `bytes`; `None` if it has not arrived whole.
    #[inline]
    fn read(bytes: &[u8], accepts: u16) -> Result<Option<Head>, Error> {
        let Some((&first, rest)) = bytes.split_first() else { return Ok(None) };
        let rule = &RULES[usize::from(first >> 4)];
        if rule.flags >> (first & 0x0F) & accepts >> (first >> 4) & 1 == 0 {
            return Err(first_error(first, accepts));
        }
        let Some((remaining, len)) = remaining_length(rest)? else { return Ok(None) };
        if remaining < rule.min || remaining > rule.max {
            return Err(length_error(first, remaining));
        }
        Ok(Some(Head { first, len: 1 + len, size: 1 + len + remaining }))
    }

    /// How many bytes of the packet are kept, as far as its first bytes tell: all, or of a PUBLISH above the limit its
    /// topic, its id and what else is below the limit.
    #[inline]
    fn kept(&self, limit: usize, packet: &[u8]) -> usize {
        if self.size <= limit || !self.is_publish() {
            return self.size;
        }
        let topic = self.len + 2;
        let needed = match packet.get(self.len..topic) {
            Some(&[high, low]) => {
                let id = if self.first & 0b0110 == 0 { 0 } else { 2 };
                topic + usize::from(u16::from_be_bytes([high, low])) + id
            }
            _ => topic,
        };
        limit.max(needed).min(self.size)
    }

    /// The packet of this header; `packet` is as much of it as is kept.
    #[inline]
    fn frame<'a>(&self, limit: usize, packet: &'a [u8]) -> Frame<'a> {
        Frame {
            header: self.first,
            body: &packet[self.len..],
            size: self.size,
            truncated: self.size > limit && self.is_publish(),
        }
    }

    #[inline]
    fn is_publish(&self) -> bool {
        self.first >> 4 == Kind::Publish as u8
    }
}

/// What the fixed header of a packet type may be.
struct Rule {
    /// Bit n: the flags may be n.
    flags: u16,
    /// The smallest Remaining Length.
    min: usize,
    /// The largest Remaining Length.
    max: usize,
}

/// Indexed by packet type.
const RULES: [Rule; 16] = {
    const fn rule(flags: u16, min: usize, max: usize) -> Rule {
        Rule { flags, min, max }
    }
    /// Flags that have to be 0000, and 0010.
    const ZERO: u16 = 1 << 0b0000;
    const TWO: u16 = 1 << 0b0010;
    /// Not QoS 3, and not DUP at QoS 0.
    const PUBLISH: u16 = 0b0011_1100_0011_1111;
    [
        rule(0, 0, 0),
        rule(ZERO, 0, MAX_CONNECT),
        rule(ZERO, 2, 2), // CONNACK
        rule(PUBLISH, 0, MAX_REMAINING),
        rule(ZERO, 2, 2),            // PUBACK
        rule(ZERO, 2, 2),            // PUBREC
        rule(TWO, 2, 2),             // PUBREL
        rule(ZERO, 2, 2),            // PUBCOMP
        rule(TWO, 0, MAX_REMAINING), // SUBSCRIBE
        rule(ZERO, 0, MAX_SUBACK),
        rule(TWO, 0, MAX_REMAINING), // UNSUBSCRIBE
        rule(ZERO, 2, 2),            // UNSUBACK
        rule(ZERO, 0, 0),            // PINGREQ
        rule(ZERO, 0, 0),            // PINGRESP
        rule(ZERO, 0, 0),            // DISCONNECT
        rule(0, 0, 0),
    ]
};

/// Says what is wrong with the first byte of a packet.
#[cold]
fn first_error(first: u8, accepts: u16) -> Error {
    let flags = first & 0x0F;
    match Kind::of(first) {
        None => Error::ReservedType(first >> 4),
        Some(kind) if accepts >> kind as u8 & 1 == 0 => Error::Direction(kind),
        Some(Kind::Publish) if flags & 0b0110 == 0b0110 => Error::PublishQos,
        Some(Kind::Publish) => Error::DupAtQos0,
        Some(kind) => Error::Flags(kind, flags),
    }
}

/// Says what is wrong with the length of a packet whose first byte is right.
#[cold]
fn length_error(first: u8, remaining: usize) -> Error {
    match Kind::of(first) {
        None => Error::ReservedType(first >> 4),
        Some(kind) => Error::Length(kind, remaining as u32),
    }
}

/// Checks the header of a frame that may have been made by hand.
#[inline]
pub(super) fn check(header: u8, remaining: usize) -> Result<Kind, Error> {
    let rule = &RULES[usize::from(header >> 4)];
    if rule.flags >> (header & 0x0F) & 1 == 0 {
        return Err(first_error(header, ANY));
    }
    if remaining < rule.min || remaining > rule.max {
        return Err(length_error(header, remaining));
    }
    Kind::of(header).ok_or(Error::ReservedType(header >> 4))
}

/// Every packet type but the reserved ones, 0 and 15.
const ANY: u16 = 0x7FFE;

/// PUBLISH and its answers: what both sides may send.
const ACKS: u16 = 1 << Kind::Publish as u16
    | 1 << Kind::Puback as u16
    | 1 << Kind::Pubrec as u16
    | 1 << Kind::Pubrel as u16
    | 1 << Kind::Pubcomp as u16;

/// The longest CONNECT: protocol name, level, flags, keep-alive and five fields of 65535 bytes.
const MAX_CONNECT: usize = 2 + 6 + 1 + 1 + 2 + 5 * (2 + 65_535);

/// The longest SUBACK that is taken: as many codes as there are packet ids.
const MAX_SUBACK: usize = 2 + 65_535;
