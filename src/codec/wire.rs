//! Integers, strings and lengths as they stand on the wire (MQTT 3.1.1, 1.5 and 2.2.3).

use super::error::Error;
use super::packet::{Kind, MAX_REMAINING, PacketId};

/// Takes fields off the front of a packet's body; every read is checked against its end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    /// Whose body it is, for errors.
    kind: Kind,
}

impl<'a> Reader<'a> {
    #[inline]
    pub(super) fn new(kind: Kind, body: &'a [u8]) -> Reader<'a> {
        Reader { rest: body, kind }
    }

    pub(super) fn u8(&mut self) -> Result<u8, Error> {
        let (&byte, rest) = self.rest.split_first().ok_or(Error::Short(self.kind))?;
        self.rest = rest;
        Ok(byte)
    }

    #[inline]
    pub(super) fn u16(&mut self) -> Result<u16, Error> {
        let (&bytes, rest) = self.rest.split_first_chunk().ok_or(Error::Short(self.kind))?;
        self.rest = rest;
        Ok(u16::from_be_bytes(bytes))
    }

    #[inline]
    pub(super) fn id(&mut self) -> Result<PacketId, Error> {
        PacketId::new(self.u16()?).ok_or(Error::ZeroId(self.kind))
    }

    /// Two bytes of length and so many bytes.
    #[inline]
    pub(super) fn binary(&mut self) -> Result<&'a [u8], Error> {
        let length = usize::from(self.u16()?);
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or(Error::Short(self.kind))?;
        self.rest = rest;
        Ok(bytes)
    }

    /// A string that is no topic: UTF-8 without U+0000.
    pub(super) fn string(&mut self) -> Result<&'a str, Error> {
        let string = std::str::from_utf8(self.binary()?).map_err(|_| Error::Utf8(self.kind))?;
        if string.contains('\0') { Err(Error::Nul(self.kind)) } else { Ok(string) }
    }

    /// Everything that is left.
    #[inline]
    pub(super) fn rest(self) -> &'a [u8] {
        self.rest
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The packet must end here.
    pub(super) fn finish(self) -> Result<(), Error> {
        if self.rest.is_empty() { Ok(()) } else { Err(Error::Trailing(self.kind)) }
    }
}

/// Reads a Remaining Length: the number and how many bytes it took; `None` if it has not arrived whole.
#[inline]
pub(super) fn remaining_length(bytes: &[u8]) -> Result<Option<(usize, usize)>, Error> {
    let mut value = 0;
    for (index, &byte) in bytes.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7F) << (7 * index);
        if byte < 0x80 {
            return Ok(Some((value, index + 1)));
        }
    }
    if bytes.len() < 4 { Ok(None) } else { Err(Error::RemainingLength) }
}

/// How many bytes a Remaining Length takes.
#[inline]
pub(super) fn remaining_length_size(remaining: usize) -> usize {
    match remaining {
        0..0x80 => 1,
        0x80..0x4000 => 2,
        0x4000..0x20_0000 => 3,
        _ => 4,
    }
}

/// Makes room for a packet and writes its fixed header.
#[inline]
pub(super) fn put_header(out: &mut Vec<u8>, first: u8, remaining: usize) {
    debug_assert!(remaining <= MAX_REMAINING, "the caller checks the size");
    out.reserve(5 + remaining);
    if remaining < 0x80 {
        out.extend_from_slice(&[first, remaining as u8]);
    } else {
        put_long_header(out, first, remaining);
    }
}

/// The fixed header of a packet of 128 bytes and more.
fn put_long_header(out: &mut Vec<u8>, first: u8, mut remaining: usize) {
    out.push(first);
    while remaining >= 0x80 {
        out.push(remaining as u8 | 0x80);
        remaining >>= 7;
    }
    out.push(remaining as u8);
}

#[inline]
pub(super) fn put_u16(out: &mut Vec<u8>, number: u16) {
    out.extend_from_slice(&number.to_be_bytes());
}

/// Two bytes of length and the bytes.
///
/// # Panics
/// With more than 65535 bytes: a wrong length would shift the whole stream, so callers check what users give them.
pub(super) fn put_binary(out: &mut Vec<u8>, bytes: &[u8]) {
    put_u16(out, u16::try_from(bytes.len()).expect("the caller has checked that the field fits"));
    out.extend_from_slice(bytes);
}
