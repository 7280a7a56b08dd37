//! What SUBSCRIBE, UNSUBSCRIBE and SUBACK list: checked when read, then walked without an allocation.

use super::error::{Error, TopicError};
use super::packet::{Kind, Qos};
use super::topic;
use super::wire::Reader;

/// The failure code of SUBACK (3.9.3).
const REFUSED: u8 = 0x80;

/// What SUBACK says of a filter: the granted QoS; none: refused.
pub(crate) fn suback_code(granted: Option<Qos>) -> u8 {
    granted.map_or(REFUSED, |qos| qos as u8)
}

/// The filters of a SUBSCRIBE with their QoS, at least one; checked when decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filters<'a> {
    body: &'a [u8],
}

impl<'a> Filters<'a> {
    pub(super) fn read(mut body: Reader<'a>) -> Result<Filters<'a>, Error> {
        let filters = Filters { body: body.rest() };
        if body.is_empty() {
            return Err(Error::NoFilters(Kind::Subscribe));
        }
        while !body.is_empty() {
            check_filter(Kind::Subscribe, body.binary()?)?;
            let options = body.u8()?;
            Qos::new(options).ok_or(Error::SubscribeOptions(options))?;
        }
        Ok(filters)
    }

    /// The pairs from the start.
    pub const fn iter(&self) -> Filters<'a> {
        *self
    }
}

impl<'a> Iterator for Filters<'a> {
    type Item = (&'a str, Qos);

    fn next(&mut self) -> Option<Self::Item> {
        let (filter, rest) = split_string(self.body)?;
        let (&qos, rest) = rest.split_first().expect("checked by read");
        self.body = rest;
        Some((filter, Qos::new(qos).expect("checked by read")))
    }
}

/// The filters of an UNSUBSCRIBE, at least one; checked when decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Topics<'a> {
    body: &'a [u8],
}

impl<'a> Topics<'a> {
    pub(super) fn read(mut body: Reader<'a>) -> Result<Topics<'a>, Error> {
        let topics = Topics { body: body.rest() };
        if body.is_empty() {
            return Err(Error::NoFilters(Kind::Unsubscribe));
        }
        while !body.is_empty() {
            check_filter(Kind::Unsubscribe, body.binary()?)?;
        }
        Ok(topics)
    }

    /// The filters from the start.
    pub const fn iter(&self) -> Topics<'a> {
        *self
    }
}

impl<'a> Iterator for Topics<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<Self::Item> {
        let (filter, rest) = split_string(self.body)?;
        self.body = rest;
        Some(filter)
    }
}

/// The results of a SUBACK, at least one, `None` for a refusal; checked when decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubackCodes<'a> {
    body: &'a [u8],
}

impl<'a> SubackCodes<'a> {
    pub(super) fn read(body: Reader<'a>) -> Result<SubackCodes<'a>, Error> {
        let codes = SubackCodes { body: body.rest() };
        if body.is_empty() {
            return Err(Error::NoCodes);
        }
        match codes.body.iter().copied().find(|code| !matches!(*code, 0..=2 | REFUSED)) {
            Some(code) => Err(Error::SubackCode(code)),
            None => Ok(codes),
        }
    }

    /// The results from the start.
    pub const fn iter(&self) -> SubackCodes<'a> {
        *self
    }

    /// How many results are left.
    pub const fn len(&self) -> usize {
        self.body.len()
    }

    /// Whether none is left.
    pub const fn is_empty(&self) -> bool {
        self.body.is_empty()
    }
}

impl Iterator for SubackCodes<'_> {
    type Item = Option<Qos>;

    fn next(&mut self) -> Option<Self::Item> {
        self.body.split_off_first().map(|&code| Qos::new(code))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.len(), Some(self.len()))
    }
}

impl ExactSizeIterator for SubackCodes<'_> {}

fn check_filter(kind: Kind, filter: &[u8]) -> Result<(), Error> {
    std::str::from_utf8(filter)
        .map_err(|_| TopicError::Utf8)
        .and_then(topic::check_filter)
        .map_err(|error| Error::Filter(kind, error))
}

/// The string at the front of what `read` has checked, and what follows; `None` at the end.
fn split_string(body: &[u8]) -> Option<(&str, &[u8])> {
    let (&length, rest) = body.split_first_chunk()?;
    let (string, rest) = rest.split_at(usize::from(u16::from_be_bytes(length)));
    Some((std::str::from_utf8(string).expect("checked by read"), rest))
}
