//! MQTT 3.1 and 3.1.1: the inside of every packet, both ways.
//!
//! The two versions differ in CONNECT's protocol name and level only; all else is read and written alike.

use super::error::{Error, TopicError};
use super::frame::{self, Frame};
use super::lists::suback_code;
pub use super::lists::{Filters, SubackCodes, Topics};
use super::packet::{
    Connack, Connect, ConnectCode, Delivery, Kind, MAX_REMAINING, Packet, PacketId, Publish, Qos, Version,
    Will,
};
use super::topic;
use super::wire::{Reader, put_binary, put_header, put_u16, remaining_length, remaining_length_size};

/// Decodes a packet of either direction. Everything with a length is a slice of the frame.
#[inline]
pub fn decode<'a>(frame: &Frame<'a>) -> Result<Packet<'a>, Error> {
    if let Some(packet) = decode_acknowledgement(frame) {
        return Ok(packet);
    }
    if frame.header >> 4 != Kind::Publish as u8 {
        return decode_other(frame.header, frame.body);
    }
    let Incoming { dup, delivery, retain, topic, payload } = decode_publish(frame)?;
    let topic = std::str::from_utf8(topic).map_err(|_| Error::Topic(Kind::Publish, TopicError::Utf8))?;
    Ok(Packet::Publish(Publish { dup, delivery, retain, topic, payload }))
}

/// A decoded PUBLISH whose topic is left as bytes: checked, but making a `str` of it would check it again and take as
/// long as all the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Incoming<'a> {
    /// This may be a repetition of an earlier attempt.
    pub dup: bool,
    /// QoS and packet id.
    pub delivery: Delivery,
    /// From the broker: it was kept.
    pub retain: bool,
    /// A topic name, in UTF-8.
    pub topic: &'a [u8],
    /// Any bytes; of a truncated frame what was kept of them.
    pub payload: &'a [u8],
}

/// Decodes a PUBLISH, for who has seen in [`Frame::header`] that it is one: faster than [`decode`].
// Always, for the reason that `Deframer::next` gives.
#[inline(always)]
pub fn decode_publish<'a>(frame: &Frame<'a>) -> Result<Incoming<'a>, Error> {
    let header = frame.header;
    debug_assert_eq!(header >> 4, Kind::Publish as u8, "the caller has looked");
    let mut body = Reader::new(Kind::Publish, frame.body);
    let topic = body.binary()?;
    topic::check_name_bytes(topic).map_err(|error| Error::Topic(Kind::Publish, error))?;
    let delivery = match header & QOS {
        // never out of a deframer
        0b0000 if header & DUP != 0 => return Err(Error::DupAtQos0),
        0b0000 => Delivery::AtMostOnce,
        0b0010 => Delivery::AtLeastOnce(body.id()?),
        0b0100 => Delivery::ExactlyOnce(body.id()?),
        _ => return Err(Error::PublishQos),
    };
    let (dup, retain) = (header & DUP != 0, header & RETAIN != 0);
    Ok(Incoming { dup, delivery, retain, topic, payload: body.rest() })
}

/// A short way for what comes as often as PUBLISH; none where it is anything else, or wrong.
#[inline]
fn decode_acknowledgement<'a>(frame: &Frame<'a>) -> Option<Packet<'a>> {
    let &[high, low] = frame.body else { return None };
    let id = PacketId::new(u16::from_be_bytes([high, low]))?;
    match (frame.header >> 4, frame.header & 0b1111) {
        (4, 0) => Some(Packet::Puback(id)),
        (5, 0) => Some(Packet::Pubrec(id)),
        (6, 0b0010) => Some(Packet::Pubrel(id)),
        (7, 0) => Some(Packet::Pubcomp(id)),
        _ => None,
    }
}

/// Everything but PUBLISH.
#[inline(never)]
fn decode_other(header: u8, body: &[u8]) -> Result<Packet<'_>, Error> {
    let kind = frame::check(header, body.len())?;
    let mut body = Reader::new(kind, body);
    let packet = match kind {
        Kind::Connect => Packet::Connect(decode_connect(&mut body)?),
        Kind::Connack => Packet::Connack(decode_connack(&mut body)?),
        Kind::Publish => unreachable!("decode has taken it"),
        Kind::Puback => Packet::Puback(body.id()?),
        Kind::Pubrec => Packet::Pubrec(body.id()?),
        Kind::Pubrel => Packet::Pubrel(body.id()?),
        Kind::Pubcomp => Packet::Pubcomp(body.id()?),
        Kind::Unsuback => Packet::Unsuback(body.id()?),
        Kind::Subscribe => return Ok(Packet::Subscribe { id: body.id()?, filters: Filters::read(body)? }),
        Kind::Suback => return Ok(Packet::Suback { id: body.id()?, codes: SubackCodes::read(body)? }),
        Kind::Unsubscribe => return Ok(Packet::Unsubscribe { id: body.id()?, filters: Topics::read(body)? }),
        Kind::Pingreq => Packet::Pingreq,
        Kind::Pingresp => Packet::Pingresp,
        Kind::Disconnect => Packet::Disconnect,
    };
    body.finish()?;
    Ok(packet)
}

fn decode_connect<'a>(body: &mut Reader<'a>) -> Result<Connect<'a>, Error> {
    let name = body.binary()?;
    let level = body.u8()?;
    let version = match (name, level) {
        (NAME_V311, LEVEL_V311) => Version::V311,
        (NAME_V31, LEVEL_V31) => Version::V31,
        (NAME_V311 | NAME_V31, _) => return Err(Error::ProtocolLevel(level)),
        _ => return Err(Error::ProtocolName),
    };
    let flags = body.u8()?;
    let will_qos = flags >> 3 & 0b11;
    if flags & CONNECT_RESERVED != 0 {
        return Err(Error::ConnectReserved);
    }
    if flags & WILL == 0 && (will_qos != 0 || flags & WILL_RETAIN != 0) {
        return Err(Error::WillFlags);
    }
    let will_qos = Qos::new(will_qos).ok_or(Error::WillQos)?;
    if flags & PASSWORD != 0 && flags & USER_NAME == 0 {
        return Err(Error::PasswordWithoutUser);
    }
    // Fields of a struct expression are evaluated in the order they are written, which is their order in the packet.
    Ok(Connect {
        version,
        clean_session: flags & CLEAN_SESSION != 0,
        keep_alive: body.u16()?,
        client_id: body.string()?,
        will: if flags & WILL == 0 {
            None
        } else {
            Some(Will {
                topic: decode_will_topic(body.binary()?)?,
                message: body.binary()?,
                qos: will_qos,
                retain: flags & WILL_RETAIN != 0,
            })
        },
        username: if flags & USER_NAME == 0 { None } else { Some(body.string()?) },
        password: if flags & PASSWORD == 0 { None } else { Some(body.binary()?) },
    })
}

fn decode_will_topic(bytes: &[u8]) -> Result<&str, Error> {
    std::str::from_utf8(bytes)
        .map_err(|_| TopicError::Utf8)
        .and_then(|topic| topic::check_name(topic).map(|()| topic))
        .map_err(|error| Error::Topic(Kind::Connect, error))
}

fn decode_connack(body: &mut Reader<'_>) -> Result<Connack, Error> {
    let (flags, code) = (body.u8()?, body.u8()?);
    if flags > 1 {
        return Err(Error::ConnackFlags(flags));
    }
    let connack = Connack {
        session_present: flags == 1,
        code: ConnectCode::new(code).ok_or(Error::ConnackCode(code))?,
    };
    if connack.session_present && connack.code != ConnectCode::Accepted {
        return Err(Error::SessionPresent(code));
    }
    Ok(connack)
}

/// Appends any packet; what the function of its type says about panics and the caller's duties holds.
pub fn encode(out: &mut Vec<u8>, packet: &Packet<'_>) {
    match *packet {
        Packet::Connect(ref packet) => connect(out, packet),
        Packet::Connack(ref packet) => connack(out, packet),
        Packet::Publish(ref packet) => publish(out, packet),
        Packet::Puback(id) => puback(out, id),
        Packet::Pubrec(id) => pubrec(out, id),
        Packet::Pubrel(id) => pubrel(out, id),
        Packet::Pubcomp(id) => pubcomp(out, id),
        Packet::Subscribe { id, filters } => subscribe(out, id, filters),
        Packet::Suback { id, codes } => suback(out, id, codes),
        Packet::Unsubscribe { id, filters } => unsubscribe(out, id, filters),
        Packet::Unsuback(id) => unsuback(out, id),
        Packet::Pingreq => pingreq(out),
        Packet::Pingresp => pingresp(out),
        Packet::Disconnect => disconnect(out),
    }
}

/// The size of a PUBLISH on the wire; `None` if MQTT cannot carry it.
#[inline]
pub fn publish_size(topic: &str, payload: &[u8], qos: Qos) -> Option<usize> {
    let id = if qos == Qos::AtMostOnce { 0 } else { 2 };
    // Cannot overflow: two slices and a few bytes never fill the address space.
    whole_size(2 + topic.len() + id + payload.len()).filter(|_| topic.len() <= topic::MAX_TOPIC)
}

/// Appends a PUBLISH. The caller has checked the topic ([`topic::check_name`]) and the size ([`publish_size`]).
// Always: to put the message into memory for a call takes a session 40 instructions more, a third of the packet.
#[inline(always)]
pub fn publish(out: &mut Vec<u8>, publish: &Publish<'_>) {
    let Publish { dup, delivery, retain, topic, payload } = *publish;
    debug_assert!(topic::check_name(topic).is_ok(), "the caller checks the topic");
    debug_assert!(!dup || delivery != Delivery::AtMostOnce, "DUP is 0 at QoS 0 [MQTT-3.3.1-2]");
    let first = (Kind::Publish as u8) << 4
        | if dup { DUP } else { 0 }
        | (delivery.qos() as u8) << 1
        | if retain { RETAIN } else { 0 };
    let id = delivery.id();
    let remaining = 2 + topic.len() + if id.is_some() { 2 } else { 0 } + payload.len();
    let [high, low] = (topic.len() as u16).to_be_bytes();
    if remaining < 0x80 {
        // in one piece: that of most messages
        out.reserve(2 + remaining);
        out.extend_from_slice(&[first, remaining as u8, high, low]);
    } else {
        put_header(out, first, remaining);
        out.extend_from_slice(&[high, low]);
    }
    out.extend_from_slice(topic.as_bytes());
    if let Some(id) = id {
        put_u16(out, id.get());
    }
    out.extend_from_slice(payload);
}

/// Marks an encoded PUBLISH of QoS 1 or 2 as a repetition \[MQTT-3.3.1-1\].
#[inline]
pub fn set_dup(packet: &mut [u8]) {
    debug_assert!(is_acknowledged_publish(packet), "only QoS 1 and 2 are repeated");
    packet[0] |= DUP;
}

/// Gives an encoded PUBLISH of QoS 1 or 2, with a payload of so many bytes, another packet id.
#[inline]
pub fn replace_id(packet: &mut [u8], payload: usize, id: PacketId) {
    debug_assert!(is_acknowledged_publish(packet), "only QoS 1 and 2 have an id");
    let at = packet.len() - payload - 2;
    packet[at..at + 2].copy_from_slice(&id.get().to_be_bytes());
}

/// Lowers an encoded PUBLISH of QoS 2 to QoS 1.
pub fn lower_to_at_least_once(packet: &mut [u8]) {
    debug_assert!(is_acknowledged_publish(packet), "QoS 0 is lower");
    packet[0] = packet[0] & !0b0110 | 0b0010;
}

/// Appends an encoded PUBLISH of QoS 1 or 2 as one of QoS 0.
pub fn publish_at_most_once(out: &mut Vec<u8>, packet: &[u8]) {
    debug_assert!(is_acknowledged_publish(packet), "QoS 0 is as low as it gets");
    let (remaining, len) =
        remaining_length(&packet[1..]).ok().flatten().expect("publish wrote a whole header");
    let body = &packet[1 + len..];
    let id = 2 + usize::from(u16::from_be_bytes([body[0], body[1]]));
    put_header(out, packet[0] & !(DUP | 0b0110), remaining - 2);
    out.extend_from_slice(&body[..id]);
    out.extend_from_slice(&body[id + 2..]);
}

fn is_acknowledged_publish(packet: &[u8]) -> bool {
    packet[0] >> 4 == Kind::Publish as u8 && matches!(packet[0] & 0b0110, 0b0010 | 0b0100)
}

/// Whether a CONNECT may be sent: strings without U+0000, fields of at most 65535 bytes, a will that has a topic name,
/// no password alone, and no empty client identifier that wants its session kept.
pub fn check_connect(connect: &Connect<'_>) -> Result<(), Error> {
    let Connect { client_id, will, username, password, clean_session, .. } = *connect;
    if let Some(will) = will {
        topic::check_name(will.topic).map_err(|error| Error::Topic(Kind::Connect, error))?;
    }
    for string in [client_id, username.unwrap_or_default()] {
        if string.contains('\0') {
            return Err(Error::Nul(Kind::Connect));
        }
    }
    let message = will.map_or(&[][..], |will| will.message);
    let user = username.unwrap_or_default().as_bytes();
    for field in [client_id.as_bytes(), message, user, password.unwrap_or_default()] {
        if field.len() > MAX_FIELD {
            return Err(Error::TooLong(Kind::Connect));
        }
    }
    if password.is_some() && username.is_none() {
        return Err(Error::PasswordWithoutUser);
    }
    if client_id.is_empty() && !clean_session {
        return Err(Error::EmptyClientId);
    }
    Ok(())
}

/// Appends a CONNECT that [`check_connect`] allows. A password without a user name is left out.
///
/// # Panics
/// If a field is longer than 65535 bytes.
pub fn connect(out: &mut Vec<u8>, connect: &Connect<'_>) {
    let Connect { version, clean_session, keep_alive, client_id, will, username, password } = *connect;
    let password = password.filter(|_| username.is_some());
    let (name, level) = match version {
        Version::V31 => (NAME_V31, LEVEL_V31),
        Version::V311 => (NAME_V311, LEVEL_V311),
    };
    let mut flags = if clean_session { CLEAN_SESSION } else { 0 };
    let mut remaining = 2 + name.len() + 1 + 1 + 2 + 2 + client_id.len();
    if let Some(will) = will {
        flags |= WILL | (will.qos as u8) << 3 | if will.retain { WILL_RETAIN } else { 0 };
        remaining += 2 + will.topic.len() + 2 + will.message.len();
    }
    if let Some(username) = username {
        flags |= USER_NAME;
        remaining += 2 + username.len();
    }
    if let Some(password) = password {
        flags |= PASSWORD;
        remaining += 2 + password.len();
    }
    put_header(out, (Kind::Connect as u8) << 4, remaining);
    put_binary(out, name);
    out.extend_from_slice(&[level, flags]);
    put_u16(out, keep_alive);
    put_binary(out, client_id.as_bytes());
    if let Some(will) = will {
        put_binary(out, will.topic.as_bytes());
        put_binary(out, will.message);
    }
    if let Some(username) = username {
        put_binary(out, username.as_bytes());
    }
    if let Some(password) = password {
        put_binary(out, password);
    }
}

/// Appends a CONNACK.
pub fn connack(out: &mut Vec<u8>, connack: &Connack) {
    let Connack { session_present, code } = *connack;
    debug_assert!(
        !session_present || code == ConnectCode::Accepted,
        "a refusal has no session [MQTT-3.2.2-4]"
    );
    out.extend_from_slice(&[(Kind::Connack as u8) << 4, 2, u8::from(session_present), code as u8]);
}

/// Appends a PUBACK.
#[inline]
pub fn puback(out: &mut Vec<u8>, id: PacketId) {
    put_ack(out, 0x40, id);
}

/// Appends a PUBREC.
#[inline]
pub fn pubrec(out: &mut Vec<u8>, id: PacketId) {
    put_ack(out, 0x50, id);
}

/// Appends a PUBREL, whose flags are 0010 \[MQTT-3.6.1-1\].
#[inline]
pub fn pubrel(out: &mut Vec<u8>, id: PacketId) {
    put_ack(out, 0x62, id);
}

/// Appends a PUBCOMP.
#[inline]
pub fn pubcomp(out: &mut Vec<u8>, id: PacketId) {
    put_ack(out, 0x70, id);
}

/// Appends an UNSUBACK.
#[inline]
pub fn unsuback(out: &mut Vec<u8>, id: PacketId) {
    put_ack(out, 0xB0, id);
}

/// The five packets that are a first byte and an id.
#[inline]
fn put_ack(out: &mut Vec<u8>, first: u8, id: PacketId) {
    let [high, low] = id.get().to_be_bytes();
    out.extend_from_slice(&[first, 2, high, low]);
}

/// The size of a SUBSCRIBE on the wire; `None` if MQTT cannot carry it.
pub fn subscribe_size<'a>(filters: impl Iterator<Item = (&'a str, Qos)>) -> Option<usize> {
    whole_size(subscribe_remaining(filters))
}

/// Appends a SUBSCRIBE. The caller has checked that there is a filter \[MQTT-3.8.3-3\], each filter
/// ([`topic::check_filter`]) and the size ([`subscribe_size`]).
///
/// # Panics
/// If a filter is longer than 65535 bytes.
pub fn subscribe<'a>(out: &mut Vec<u8>, id: PacketId, filters: impl Iterator<Item = (&'a str, Qos)> + Clone) {
    put_header(out, 0x82, subscribe_remaining(filters.clone()));
    put_u16(out, id.get());
    for (filter, qos) in filters {
        put_binary(out, filter.as_bytes());
        out.push(qos as u8);
    }
}

fn subscribe_remaining<'a>(filters: impl Iterator<Item = (&'a str, Qos)>) -> usize {
    2 + filters.map(|(filter, _)| 2 + filter.len() + 1).sum::<usize>()
}

/// Appends a SUBACK with a result per filter, in their order; `None` is a refusal.
pub fn suback(out: &mut Vec<u8>, id: PacketId, codes: impl Iterator<Item = Option<Qos>> + Clone) {
    put_header(out, 0x90, 2 + codes.clone().count());
    put_u16(out, id.get());
    out.extend(codes.map(suback_code));
}

/// The size of an UNSUBSCRIBE on the wire; `None` if MQTT cannot carry it.
pub fn unsubscribe_size<'a>(filters: impl Iterator<Item = &'a str>) -> Option<usize> {
    whole_size(unsubscribe_remaining(filters))
}

/// Appends an UNSUBSCRIBE. The caller has checked as for [`subscribe`] \[MQTT-3.10.3-2\].
///
/// # Panics
/// If a filter is longer than 65535 bytes.
pub fn unsubscribe<'a>(out: &mut Vec<u8>, id: PacketId, filters: impl Iterator<Item = &'a str> + Clone) {
    put_header(out, 0xA2, unsubscribe_remaining(filters.clone()));
    put_u16(out, id.get());
    for filter in filters {
        put_binary(out, filter.as_bytes());
    }
}

fn unsubscribe_remaining<'a>(filters: impl Iterator<Item = &'a str>) -> usize {
    2 + filters.map(|filter| 2 + filter.len()).sum::<usize>()
}

/// Appends a PINGREQ.
pub fn pingreq(out: &mut Vec<u8>) {
    out.extend_from_slice(&[0xC0, 0]);
}

/// Appends a PINGRESP.
pub fn pingresp(out: &mut Vec<u8>) {
    out.extend_from_slice(&[0xD0, 0]);
}

/// Appends a DISCONNECT.
pub fn disconnect(out: &mut Vec<u8>) {
    out.extend_from_slice(&[0xE0, 0]);
}

/// The size of a packet with this Remaining Length; `None` if MQTT cannot carry it.
#[inline]
fn whole_size(remaining: usize) -> Option<usize> {
    if remaining > MAX_REMAINING { None } else { Some(1 + remaining_length_size(remaining) + remaining) }
}

/// Flags of PUBLISH (3.3.1).
const DUP: u8 = 0b1000;
const QOS: u8 = 0b0110;
const RETAIN: u8 = 0b0001;

/// Flags of CONNECT (3.1.2.3); the QoS of the will is in bits 3 and 4.
const CONNECT_RESERVED: u8 = 0x01;
const CLEAN_SESSION: u8 = 0x02;
const WILL: u8 = 0x04;
const WILL_RETAIN: u8 = 0x20;
const PASSWORD: u8 = 0x40;
const USER_NAME: u8 = 0x80;

/// Protocol names and levels \[MQTT-3.1.2-1\] \[MQTT-3.1.2-2\].
const NAME_V31: &[u8] = b"MQIsdp";
const LEVEL_V31: u8 = 3;
const NAME_V311: &[u8] = b"MQTT";
const LEVEL_V311: u8 = 4;

/// The longest string or binary field.
const MAX_FIELD: usize = 65_535;

/// The entry for fuzzing: a frame of these bytes, the first of them its header, decodes or does not; what decodes can be
/// encoded, and decodes to the same again.
#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    let Some((&header, body)) = data.split_first() else { return };
    let Ok(packet) = decode(&Frame { header, body, size: 1 + body.len(), truncated: false }) else { return };
    let mut bytes = Vec::new();
    encode(&mut bytes, &packet);
    let start = 2 + bytes[1..].iter().position(|byte| *byte < 0x80).expect("a length ends");
    let again = Frame { header: bytes[0], body: &bytes[start..], size: bytes.len(), truncated: false };
    assert_eq!(decode(&again).as_ref(), Ok(&packet));
}
