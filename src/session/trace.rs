//! One log line per packet, at level TRACE and target `mqtt::packet`: direction, type, id, topic, sizes and flags; never a
//! payload, a user name or a password.

use std::fmt;

use crate::codec::{Deframer, Frame, Packet, v4};

/// The target of the lines.
pub const TARGET: &str = "mqtt::packet";

/// Says that `frame`, which decodes, arrived.
#[inline]
pub(super) fn received(frame: &Frame<'_>) {
    if tracing::enabled!(target: TARGET, tracing::Level::TRACE) {
        received_slow(frame);
    }
}

#[cold]
fn received_slow(frame: &Frame<'_>) {
    if let Ok(packet) = v4::decode(frame) {
        tracing::trace!(target: TARGET, "<- {}", Line { packet: &packet, size: frame.size });
    }
}

/// Says that the packets in `bytes`, encoded by us, go out.
#[inline]
pub(super) fn sent(bytes: &[u8]) {
    if tracing::enabled!(target: TARGET, tracing::Level::TRACE) {
        sent_slow(bytes);
    }
}

#[cold]
fn sent_slow(mut bytes: &[u8]) {
    let mut deframer = Deframer::new(None);
    while let Ok(Some(frame)) = deframer.next(&mut bytes) {
        if let Ok(packet) = v4::decode(&frame) {
            tracing::trace!(target: TARGET, "-> {}", Line { packet: &packet, size: frame.size });
        }
    }
}

struct Line<'a> {
    packet: &'a Packet<'a>,
    size: usize,
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.packet {
            Packet::Connect(connect) => {
                write!(
                    f,
                    "CONNECT client {:?} clean {} keepalive {}",
                    connect.client_id,
                    u8::from(connect.clean_session),
                    connect.keep_alive
                )?;
                if let Some(will) = connect.will {
                    write!(
                        f,
                        " will {:?} qos {} retain {}",
                        will.topic,
                        will.qos as u8,
                        u8::from(will.retain)
                    )?;
                }
            }
            Packet::Connack(ack) => {
                write!(f, "CONNACK code {} session {}", ack.code as u8, u8::from(ack.session_present))?;
            }
            Packet::Publish(publish) => {
                f.write_str("PUBLISH")?;
                if let Some(id) = publish.delivery.id() {
                    write!(f, " {id:?}")?;
                }
                write!(
                    f,
                    " {:?} qos {} retain {} dup {} payload {} B",
                    publish.topic,
                    publish.delivery.qos() as u8,
                    u8::from(publish.retain),
                    u8::from(publish.dup),
                    publish.payload.len()
                )?;
            }
            Packet::Puback(id) => write!(f, "PUBACK {id:?}")?,
            Packet::Pubrec(id) => write!(f, "PUBREC {id:?}")?,
            Packet::Pubrel(id) => write!(f, "PUBREL {id:?}")?,
            Packet::Pubcomp(id) => write!(f, "PUBCOMP {id:?}")?,
            Packet::Subscribe { id, filters } => {
                write!(f, "SUBSCRIBE {id:?}")?;
                for (filter, qos) in *filters {
                    write!(f, " {filter:?} qos {}", qos as u8)?;
                }
            }
            Packet::Suback { id, codes } => {
                write!(f, "SUBACK {id:?}")?;
                for code in *codes {
                    match code {
                        Some(qos) => write!(f, " {}", qos as u8)?,
                        None => f.write_str(" refused")?,
                    }
                }
            }
            Packet::Unsubscribe { id, filters } => {
                write!(f, "UNSUBSCRIBE {id:?}")?;
                for filter in *filters {
                    write!(f, " {filter:?}")?;
                }
            }
            Packet::Unsuback(id) => write!(f, "UNSUBACK {id:?}")?,
            Packet::Pingreq => f.write_str("PINGREQ")?,
            Packet::Pingresp => f.write_str("PINGRESP")?,
            Packet::Disconnect => f.write_str("DISCONNECT")?,
        }
        write!(f, " ({} B)", self.size)
    }
}
