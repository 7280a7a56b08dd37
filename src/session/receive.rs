//! What a packet from the broker does to the session: one method for each.

use std::time::Instant;

use super::outbox::State as EntryState;
use super::transmit::Kind;
use super::{Error, Event, REQUEST, Session, State, trace};
use crate::codec::Kind as PacketKind;
use crate::codec::v4::{self, Incoming, SubackCodes};
use crate::codec::{Connack, ConnectCode, Delivery, Frame, Packet, PacketId, Qos, Version};

impl Session {
    #[inline]
    pub(super) fn handle_frame(&mut self, now: Instant, frame: &Frame<'_>) -> Result<(), Error> {
        self.volume.packets_in += 1;
        if frame.header >> 4 == PacketKind::Publish as u8 && self.state == State::Connected {
            let publish = v4::decode_publish(frame)?;
            trace::received(frame);
            self.handle_publish(&publish, frame.truncated);
            return Ok(());
        }
        let packet = v4::decode(frame)?;
        trace::received(frame);
        if let State::Connecting { clean_session, version } = self.state {
            return match packet {
                Packet::Connack(connack) => self.handle_connack(now, connack, clean_session, version),
                _ => Err(Error::NotConnack),
            };
        }
        match packet {
            Packet::Publish(_) => unreachable!("taken above: the session is connected"),
            Packet::Puback(id) => self.handle_puback(id),
            Packet::Pubrec(id) => self.handle_pubrec(id),
            Packet::Pubrel(id) => self.handle_pubrel(id),
            Packet::Pubcomp(id) => self.handle_pubcomp(id),
            Packet::Suback { id, codes } => self.handle_suback(id, codes)?,
            Packet::Unsuback(id) => self.handle_unsuback(id),
            Packet::Pingresp => {
                self.pings = self.pings.saturating_sub(1);
                self.tx.shrink();
            }
            Packet::Connack(_) => return Err(Error::SecondConnack),
            Packet::Connect(_)
            | Packet::Subscribe { .. }
            | Packet::Unsubscribe { .. }
            | Packet::Pingreq
            | Packet::Disconnect => unreachable!("the deframer refuses what only clients send"),
        }
        Ok(())
    }

    fn handle_connack(
        &mut self,
        now: Instant,
        connack: Connack,
        clean_session: bool,
        version: Version,
    ) -> Result<(), Error> {
        if connack.code != ConnectCode::Accepted {
            return Err(Error::Refused(connack.code));
        }
        self.accepted(now);
        self.listening = !clean_session;
        // A broker that claims a session after Clean Session has none that we could mean [MQTT-3.2.2-1].
        let session_present = connack.session_present && !clean_session;
        self.events.push(Event::Connected { session_present });
        // MQTT 3.1 has no such flag: there the broker kept what we asked it to keep.
        let kept = session_present || !clean_session && version == Version::V31;
        let left = self.arrive();
        self.resume(kept, session_present, left);
        Ok(())
    }

    #[inline]
    fn handle_publish(&mut self, publish: &Incoming<'_>, truncated: bool) {
        self.progress = true;
        self.listening = true; // some brokers subscribe for their clients
        let qos = publish.delivery.qos();
        // The answer goes out whether or not somebody wants the message [MQTT-4.5.0-2].
        match publish.delivery {
            Delivery::AtMostOnce => {}
            Delivery::AtLeastOnce(id) => self.reply(|out| v4::puback(out, id)),
            Delivery::ExactlyOnce(id) => {
                self.reply(|out| v4::pubrec(out, id));
                if self.received.get(id).is_some() {
                    return;
                }
                self.received.insert(id, 0);
            }
        }
        self.counts.received[qos as usize] += 1;
        let (topic, payload) = (publish.topic, publish.payload);
        self.events.push(if truncated {
            Event::Overflow { topic, payload }
        } else {
            let id = publish.delivery.id();
            Event::Message { topic, payload, qos, retain: publish.retain, dup: publish.dup, id }
        });
    }

    #[inline]
    fn handle_puback(&mut self, id: PacketId) {
        match self.in_flight(id) {
            Some(index) if self.outbox.entry(index).qos == Qos::AtLeastOnce => {
                self.progress = true;
                self.finish(index);
            }
            _ => tracing::info!(target: "mqtt", "PUBACK {id:?} answers nothing, ignored"),
        }
    }

    #[inline]
    fn handle_pubrec(&mut self, id: PacketId) {
        match self.in_flight(id) {
            Some(index) if self.outbox.entry(index).qos == Qos::ExactlyOnce => {
                self.progress = true;
                if self.outbox.entry(index).state() != EntryState::Released {
                    self.outbox.release(index);
                    self.check_drained();
                }
            }
            _ => tracing::info!(target: "mqtt", "PUBREC {id:?} answers nothing"),
        }
        // The broker waits for it in any case, also when it answers what we have forgotten.
        self.reply(|out| v4::pubrel(out, id));
    }

    #[inline]
    fn handle_pubrel(&mut self, id: PacketId) {
        if let Some(received) = self.received.get_mut() {
            received.remove(id);
        }
        // Also for an id that we do not know: the broker waits for it [MQTT-4.3.3-2].
        self.reply(|out| v4::pubcomp(out, id));
    }

    #[inline]
    fn handle_pubcomp(&mut self, id: PacketId) {
        match self.in_flight(id) {
            Some(index) if self.outbox.entry(index).state() == EntryState::Released => {
                self.progress = true;
                self.finish(index);
            }
            _ => tracing::info!(target: "mqtt", "PUBCOMP {id:?} answers nothing, ignored"),
        }
    }

    fn handle_suback(&mut self, id: PacketId, codes: SubackCodes<'_>) -> Result<(), Error> {
        let Some(asked) = self.subscriptions.asked(id) else {
            tracing::info!(target: "mqtt", "SUBACK {id:?} answers nothing, ignored");
            return Ok(());
        };
        if asked != codes.len() {
            return Err(Error::SubackCount { asked, got: codes.len() });
        }
        self.progress = true;
        self.ids.release(id);
        self.ids.shrink();
        let (token, filters) = self.subscriptions.granted(id, codes);
        self.events.push_subscribed(id, token, filters.iter().map(|filter| &**filter).zip(codes));
        Ok(())
    }

    fn handle_unsuback(&mut self, id: PacketId) {
        let Some(token) = self.subscriptions.ended(id) else {
            tracing::info!(target: "mqtt", "UNSUBACK {id:?} answers nothing, ignored");
            return;
        };
        self.progress = true;
        self.ids.release(id);
        self.ids.shrink();
        self.events.push(Event::Unsubscribed { id, token });
    }

    /// The outbox entry that was sent under this id.
    #[inline]
    fn in_flight(&self, id: PacketId) -> Option<u32> {
        let index = self.ids.get(id).filter(|value| *value != REQUEST)?;
        let entry = self.outbox.entry(index);
        // one that waits may have its id already
        (entry.state() != EntryState::Queued || entry.dup).then_some(index)
    }

    /// Answers a packet.
    #[inline]
    fn reply(&mut self, encode: impl FnOnce(&mut Vec<u8>)) {
        self.replies += self.send(Kind::Reply, encode) as u32;
    }
}
