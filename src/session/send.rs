//! Packets out: what is sent, under which id, and how low.

use super::transmit::Kind;
use super::{MAX_UNSENT_COPIES, REQUEST, Refused, Session, State, trace};
use crate::codec::{PacketId, Qos, v4};

impl Session {
    /// Sends what waits, while the window and the memory for copies allow.
    #[inline]
    pub(super) fn send_queued(&mut self) {
        while self.outbox.in_flight() < usize::from(self.config.limits.inflight.max(1))
            && self.copies < MAX_UNSENT_COPIES
            && let Some(index) = self.outbox.next_queued()
        {
            let max_qos = self.config.limits.max_qos;
            let entry = self.outbox.entry(index);
            // What a broker may have seen keeps its QoS.
            if entry.qos > max_qos && !entry.dup {
                if max_qos == Qos::AtMostOnce {
                    self.send_at_most_once(index);
                    continue;
                }
                let entry = self.outbox.entry_mut(index).expect("it is queued");
                entry.qos = max_qos;
                v4::lower_to_at_least_once(&mut entry.packet);
            }
            let Some(id) = self.outbox.entry(index).id.or_else(|| self.ids.allocate(index)) else {
                return; // every id is in use
            };
            self.outbox.set_sent(index, id);
            let entry = self.outbox.entry_mut(index).expect("just sent");
            v4::replace_id(&mut entry.packet, entry.payload, id);
            entry.resent = entry.dup;
            let out = self.tx.buffer();
            let start = out.len();
            out.extend_from_slice(&entry.packet);
            if entry.dup {
                v4::set_dup(&mut out[start..]);
            }
            trace::sent(&out[start..]);
            self.copies += entry.packet.len() as u32;
            self.tx.mark(start, Kind::Stored { entry: index, id });
            self.volume.packets_out += 1;
        }
    }

    /// Sends the next queued message as one of QoS 0, which it is from now on.
    #[cold]
    fn send_at_most_once(&mut self, index: u32) {
        let entry = self.outbox.entry(index);
        let out = self.tx.buffer();
        let start = out.len();
        v4::publish_at_most_once(out, &entry.packet);
        trace::sent(&out[start..]);
        self.messages += 1;
        self.message_bytes += out.len() - start;
        self.volume.packets_out += 1;
        if let Some(id) = entry.id {
            self.ids.release(id);
        }
        let token = self.outbox.remove(index);
        self.tx.mark(start, Kind::Message(token));
    }

    /// Encodes one packet; its size.
    #[inline]
    pub(super) fn send(&mut self, kind: Kind, encode: impl FnOnce(&mut Vec<u8>)) -> usize {
        debug_assert!(
            !matches!(self.state, State::Disconnected | State::Disconnecting),
            "nothing is encoded without a connection or after DISCONNECT"
        );
        let out = self.tx.buffer();
        let start = out.len();
        encode(out);
        let size = out.len() - start;
        trace::sent(&out[start..]);
        self.tx.mark(start, kind);
        self.volume.packets_out += 1;
        size
    }

    /// An id for a SUBSCRIBE or UNSUBSCRIBE.
    pub(super) fn request(&mut self) -> Result<PacketId, Refused> {
        if self.state != State::Connected {
            return Err(Refused::NotConnected);
        }
        self.ids.allocate(REQUEST).ok_or(Refused::QueueFull)
    }

    /// Sends a SUBSCRIBE with an id of [`request`](Self::request).
    pub(super) fn send_subscribe(&mut self, id: PacketId, filters: &[(&str, Qos)]) {
        let max_qos = self.config.limits.max_qos;
        let lowered = filters.iter().map(|&(filter, qos)| (filter, qos.min(max_qos)));
        self.send(Kind::Control, |out| v4::subscribe(out, id, lowered));
        self.listening = true;
    }

    /// Sends an UNSUBSCRIBE with an id of [`request`](Self::request).
    pub(super) fn send_unsubscribe(&mut self, id: PacketId, filters: &[&str]) {
        self.send(Kind::Control, |out| v4::unsubscribe(out, id, filters.iter().copied()));
    }
}
