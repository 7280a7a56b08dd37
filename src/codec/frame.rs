//! Where packets begin and end in a stream of bytes: [`Deframer`].
//!
//! What a header alone shows to be wrong (type, flags, length) is found here, before a byte of the body is kept; what is
//! inside a body is the business of [`v4::decode`](super::v4::decode).

use super::error::Error;
use super::packet::{Kind, MAX_REMAINING};
use super::partial::{Lent, Partial};
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
    /// A packet that has not arrived whole: seldom is there one, so it costs no memory otherwise.
    partial: Option<Box<Partial>>,
    /// The largest PUBLISH that is kept whole, fixed header included. None is larger than 32 bits can say.
    limit: u32,
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
            Some(limit) if limit < u32::MAX as usize => limit as u32,
            _ => u32::MAX,
        };
        Deframer { partial: None, limit, accepts: ANY }
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
        if self.partial.as_ref().is_some_and(|partial| partial.done) {
            self.reset();
        }
        if self.partial.is_none()
            && let Some(head) = Head::read(input, self.accepts)?
            && let Some((packet, rest)) = input.split_at_checked(head.size)
        {
            *input = rest;
            let limit = self.limit as usize;
            return Ok(Some(head.frame(limit, &packet[..head.kept(limit, packet)])));
        }
        // The frame is put together here: one returned through memory would slow down the path above.
        let limit = self.limit as usize;
        let Some(partial) = self.gather(input)? else { return Ok(None) };
        let head = partial.head.expect("a packet that has arrived whole has a header");
        Ok(Some(head.frame(limit, &partial.bytes)))
    }

    /// Whether a packet has arrived in part.
    pub fn is_partial(&self) -> bool {
        self.partial.as_ref().is_some_and(|partial| !partial.done)
    }

    /// Forgets a packet that has arrived in part: for the next connection.
    #[inline(never)]
    pub fn reset(&mut self) {
        self.partial = None;
    }

    /// Lends the packet that has arrived in part, if `much` of it has and as much has yet to come, so that it can be read
    /// on in its place. [`restore`](Self::restore) brings it back, before the next packet is asked for.
    pub fn lend(&mut self, much: usize) -> Option<Lent> {
        self.partial.as_mut()?.lend(self.limit as usize, much)
    }

    /// Takes back what was lent; then the packet may be whole. What has come behind it is the input that follows.
    pub fn restore(&mut self, mut lent: Lent) -> Vec<u8> {
        let rest = lent.split_off_rest();
        if let Some(partial) = &mut self.partial {
            partial.bytes = lent.bytes;
        }
        rest
    }

    /// The packet returned last, with its header, if it arrived in parts: who keeps it need not copy it.
    pub fn take_gathered(&mut self) -> Option<Vec<u8>> {
        let gathered = self.partial.take_if(|partial| partial.done)?;
        Some(gathered.bytes)
    }

    /// Moves what belongs to one packet from `input` to `partial`; gives that when it is whole now.
    #[inline(never)]
    fn gather(&mut self, input: &mut &[u8]) -> Result<Option<&Partial>, Error> {
        if input.is_empty() && self.partial.is_none() {
            return Ok(None);
        }
        let partial = self.partial.get_or_insert_default();
        partial.gather(input, self.limit as usize, self.accepts)?;
        Ok(partial.done.then_some(partial))
    }
}

/// A fixed header, checked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    /// The first byte of the packet.
    first: u8,
    /// The size of the fixed header.
    len: usize,
    /// The size of the whole packet.
    pub(super) size: usize,
}

impl Head {
    /// Reads the header at the front of `bytes`; `None` if it has not arrived whole.
    #[inline]
    pub(super) fn read(bytes: &[u8], accepts: u16) -> Result<Option<Head>, Error> {
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
    pub(super) fn kept(&self, limit: usize, packet: &[u8]) -> usize {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A PUBLISH of QoS 1 with the topic `room/temp`, the id 0x1234 and 20 bytes of payload: 35 bytes.
    const LONG: &[u8] = b"\x32\x21\x00\x09room/temp\x12\x3401234567890123456789";
    /// The bytes before its payload.
    const BEFORE_PAYLOAD: usize = 2 + 2 + 9 + 2;

    type Kept = (u8, Vec<u8>, usize, bool);

    /// The frames in `pieces`, until there are no more or one is wrong.
    fn frames<'a>(
        limit: Option<usize>,
        pieces: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<(Vec<Kept>, Deframer), Error> {
        let mut deframer = Deframer::new(limit);
        let mut frames = Vec::new();
        for mut piece in pieces {
            while let Some(frame) = deframer.next(&mut piece)? {
                frames.push((frame.header, frame.body.to_vec(), frame.size, frame.truncated));
            }
            assert!(piece.is_empty());
        }
        Ok((frames, deframer))
    }

    /// The memory that the bytes of a partial packet have, if there is one.
    fn gathered(deframer: &Deframer) -> Option<usize> {
        deframer.partial.as_ref().map(|partial| partial.bytes.capacity())
    }

    #[test]
    fn a_whole_packet_is_a_slice_of_the_input() {
        let mut input = LONG;
        let mut deframer = Deframer::new(None);
        let frame = deframer.next(&mut input).unwrap().unwrap();
        assert!(std::ptr::eq(frame.body, &LONG[2..]));
        assert_eq!((frame.header, frame.size, frame.truncated), (0x32, LONG.len(), false));
        assert_eq!(gathered(&deframer), None);
    }

    #[test]
    fn packets_are_found_wherever_the_stream_is_cut() {
        let mut stream = LONG.to_vec();
        stream.extend_from_slice(b"\xD0\x00"); // PINGRESP
        stream.extend_from_slice(b"\x30\x80\x01\x00\x01a"); // PUBLISH QoS 0 of 128 bytes: length in two bytes
        stream.resize(stream.len() + 125, b'x');
        stream.extend_from_slice(b"\x40\x02\x00\x01"); // PUBACK
        let (whole, _) = frames(None, [&stream[..]]).unwrap();
        let sizes: Vec<_> =
            whole.iter().map(|(header, body, size, _)| (*header, body.len(), *size)).collect();
        assert_eq!(sizes, [(0x32, 33, 35), (0xD0, 0, 2), (0x30, 128, 131), (0x40, 2, 4)]);
        for size in 1..stream.len() {
            let (left, right) = stream.split_at(size);
            assert_eq!(frames(None, [left, right]).unwrap().0, whole, "cut at {size}");
            assert_eq!(frames(None, stream.chunks(size)).unwrap().0, whole, "pieces of {size}");
        }
    }

    #[test]
    fn a_packet_in_part_is_reported_and_forgotten_by_reset() {
        let mut deframer = Deframer::new(None);
        assert!(!deframer.is_partial());
        for byte in &LONG[..20] {
            assert_eq!(deframer.next(&mut &[*byte][..]), Ok(None));
            assert!(deframer.is_partial());
        }
        deframer.reset();
        assert!(!deframer.is_partial());
        let mut input = &b"\xD0\x00"[..];
        assert_eq!(deframer.next(&mut input).unwrap().unwrap().header, 0xD0);
        // A gathered packet that has been returned is no packet in part.
        assert_eq!(deframer.next(&mut &LONG[..5]), Ok(None));
        assert!(deframer.next(&mut &LONG[5..]).unwrap().is_some());
        assert!(!deframer.is_partial());
    }

    #[test]
    fn an_announced_length_allocates_nothing() {
        // PUBLISH, SUBSCRIBE and UNSUBSCRIBE of 256 MiB, and the first bytes of it
        for first in [0x30, 0x82, 0xA2] {
            let mut deframer = Deframer::new(None);
            let mut input = &[first, 0xFF, 0xFF, 0xFF, 0x7F, 0, 1, b'a'][..];
            assert_eq!(deframer.next(&mut input), Ok(None));
            assert!(deframer.is_partial() && gathered(&deframer) <= Some(64));
        }
    }

    #[test]
    fn the_memory_of_a_large_packet_is_given_back() {
        let mut stream = b"\x30\x80\x80\x04\x00\x01a".to_vec(); // PUBLISH of 64 KiB
        stream.resize(4 + (1 << 16), 0);
        let (frames, mut deframer) = frames(None, stream.chunks(1000)).unwrap();
        assert_eq!((frames.len(), frames[0].1.len()), (1, 1 << 16));
        assert_eq!(deframer.next(&mut &[][..]), Ok(None));
        assert_eq!(gathered(&deframer), None);
    }

    #[test]
    fn a_publish_at_the_limit_is_kept_whole_and_one_above_it_is_cut_at_the_limit() {
        for limit in 0..LONG.len() + 2 {
            let (whole, _) = frames(Some(limit), [LONG]).unwrap();
            let kept = LONG.len().min(limit.max(BEFORE_PAYLOAD));
            assert_eq!(
                whole,
                [(0x32, LONG[2..kept].to_vec(), LONG.len(), limit < LONG.len())],
                "limit {limit}"
            );
        }
    }

    #[test]
    fn a_publish_above_the_limit_is_cut_alike_however_it_arrives_and_spares_the_next_packet() {
        let stream = [LONG, b"\xD0\x00"].concat();
        for limit in 0..LONG.len() {
            let (whole, _) = frames(Some(limit), [&stream[..]]).unwrap();
            assert_eq!(whole.len(), 2);
            for size in 1..stream.len() {
                let (left, right) = stream.split_at(size);
                assert_eq!(
                    frames(Some(limit), [left, right]).unwrap().0,
                    whole,
                    "limit {limit}, cut at {size}"
                );
                assert_eq!(
                    frames(Some(limit), stream.chunks(size)).unwrap().0,
                    whole,
                    "limit {limit}, by {size}"
                );
            }
        }
    }

    #[test]
    fn what_is_above_the_limit_takes_no_memory() {
        let mut deframer = Deframer::new(Some(100));
        let mut input = &b"\x32\x80\x80\x80\x04\x00\x01a\x00\x07"[..]; // PUBLISH QoS 1 of 8 MiB, id 7
        assert_eq!(deframer.next(&mut input), Ok(None));
        let mut left = (8 << 20) - 5;
        let block = [0; 1 << 16];
        while left > block.len() {
            assert_eq!(deframer.next(&mut &block[..]), Ok(None));
            left -= block.len();
            assert!(gathered(&deframer) <= Some(256));
        }
        let frame = deframer.next(&mut &block[..left]).unwrap().unwrap();
        assert_eq!((frame.body.len(), frame.size, frame.truncated), (95, 5 + (8 << 20), true));
    }

    #[test]
    fn a_topic_longer_than_its_truncated_packet_is_left_to_the_decoder() {
        // QoS 1, 6 bytes, topic length 65535
        let (frames, _) = frames(Some(3), b"\x32\x06\xFF\xFFabcd".chunks(1)).unwrap();
        assert_eq!(frames, [(0x32, b"\xFF\xFFabcd".to_vec(), 8, true)]);
        // no room for a topic length
        let (short, _) = self::frames(Some(0), b"\x30\x01\x00".chunks(1)).unwrap();
        assert_eq!(short, [(0x30, vec![0], 3, true)]);
    }

    #[test]
    fn only_publish_is_cut() {
        let suback = b"\x90\x04\x00\x01\x00\x01";
        assert_eq!(frames(Some(1), [&suback[..]]).unwrap().0, [(0x90, suback[2..].to_vec(), 6, false)]);
    }

    #[test]
    fn mqtt_2_2_2_2_wrong_flags_of_every_packet_are_an_error_at_the_first_byte() {
        for first in 0..=255_u8 {
            let flags = first & 0x0F;
            let expected = match (first >> 4, flags) {
                (kind @ (0 | 15), _) => Err(Error::ReservedType(kind)),
                (3, 6 | 7 | 14 | 15) => Err(Error::PublishQos),
                (3, 8 | 9) => Err(Error::DupAtQos0),
                (3, _) | (6 | 8 | 10, 2) => Ok(None),
                (6 | 8 | 10, _) => Err(Error::Flags(Kind::of(first).unwrap(), flags)),
                (_, 0) => Ok(None),
                _ => Err(Error::Flags(Kind::of(first).unwrap(), flags)),
            };
            assert_eq!(Deframer::new(None).next(&mut &[first][..]), expected, "{first:02x}");
            assert_eq!(
                check(first, 2).is_err(),
                expected.is_err() || matches!(first >> 4, 12..=14),
                "{first:02x}"
            );
        }
    }

    #[test]
    fn the_remaining_length_has_at_most_four_bytes() {
        // (its bytes, its value)
        let lengths: [(&[u8], usize); 9] = [
            (&[0x00], 0),
            (&[0x7F], 127),
            (&[0x80, 0x01], 128),
            (&[0xFF, 0x7F], 16_383),
            (&[0x80, 0x80, 0x01], 16_384),
            (&[0xFF, 0xFF, 0x7F], 2_097_151),
            (&[0x80, 0x80, 0x80, 0x01], 2_097_152),
            (&[0xFF, 0xFF, 0xFF, 0x7F], 268_435_455),
            (&[0x85, 0x00], 5), // longer than it needs to be: MQTT 3.1.1 does not forbid it
        ];
        for (bytes, value) in lengths {
            assert_eq!(remaining_length(bytes), Ok(Some((value, bytes.len()))));
            for end in 0..bytes.len() {
                assert_eq!(remaining_length(&bytes[..end]), Ok(None));
            }
        }
        for fifth in [&[][..], &[0x00], &[0x80], &[0x01, 0x02]] {
            let header = [&[0x30, 0x80, 0x80, 0x80, 0x80], fifth].concat();
            assert_eq!(frames(None, [&header[..]]).unwrap_err(), Error::RemainingLength);
            assert_eq!(frames(None, header.chunks(1)).unwrap_err(), Error::RemainingLength);
        }
    }

    #[test]
    fn impossible_lengths_are_errors_at_the_header() {
        // (first byte, Remaining Length, whether it can be)
        let table: &[(u8, usize, bool)] = &[
            (0x20, 2, true),
            (0x20, 1, false),
            (0x20, 3, false),
            (0x40, 2, true),
            (0x40, 0, false),
            (0x40, 3, false),
            (0x50, 4, false),
            (0x62, 1, false),
            (0x70, 127, false),
            (0xB0, 3, false),
            (0xC0, 0, true),
            (0xC0, 1, false),
            (0xD0, 1, false),
            (0xE0, 1, false),
            (0x90, 2 + 65_535, true),
            (0x90, 2 + 65_536, false),
            (0x10, 327_697, true),
            (0x10, 327_698, false),
            (0x30, 268_435_455, true),
            (0x82, 268_435_455, true),
            (0xA2, 268_435_455, true),
        ];
        for &(first, remaining, possible) in table {
            let mut header = Vec::new();
            super::super::wire::put_header(&mut header, first, remaining);
            let error = Error::Length(Kind::of(first).unwrap(), remaining as u32);
            let result = frames(None, header.chunks(1)).map(|_| ());
            assert_eq!(result, if possible { Ok(()) } else { Err(error) }, "{first:02x} {remaining}");
        }
    }

    #[test]
    fn each_side_refuses_what_only_it_sends() {
        // (first byte, a client may get it, a broker may get it)
        let table = [
            (0x10, false, true),
            (0x20, true, false),
            (0x30, true, true),
            (0x40, true, true),
            (0x50, true, true),
            (0x62, true, true),
            (0x70, true, true),
            (0x82, false, true),
            (0x90, true, false),
            (0xA2, false, true),
            (0xB0, true, false),
            (0xC0, false, true),
            (0xD0, true, false),
            (0xE0, false, true),
        ];
        for (first, client, broker) in table {
            let error = Err(Error::Direction(Kind::of(first).unwrap()));
            for (mut deframer, legal) in
                [(Deframer::from_broker(None), client), (Deframer::from_client(None), broker)]
            {
                assert_eq!(
                    deframer.next(&mut &[first][..]),
                    if legal { Ok(None) } else { error },
                    "{first:02x}"
                );
            }
        }
        assert_eq!(Deframer::from_broker(None).next(&mut &[0xF0][..]), Err(Error::ReservedType(15)));
    }
}
