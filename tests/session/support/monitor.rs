//! Watches the bytes between a session and a broker, and panics at the first that breaks a rule for clients.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::broker::publish_id;
use super::{ack, next_packet};

#[derive(Default)]
pub struct Monitor {
    /// What has come of a packet that is not whole yet, from the client and from the broker.
    from_client: Vec<u8>,
    from_broker: Vec<u8>,
    /// Ids of the client that are in use, and for what.
    in_use: BTreeMap<u16, Use>,
    /// Released ids in the order of their PUBRECs.
    released: Vec<u16>,
    /// Answers that the client owes, in this order.
    owed: VecDeque<[u8; 4]>,
    /// Beginnings of packets that a cut has left: the broker may have seen more of them than we.
    begun: Vec<Vec<u8>>,
    /// PUBLISHes of this connection.
    here: BTreeSet<u16>,
    connected: bool,
    /// The client has said goodbye and looks at nothing any more.
    deaf: bool,
    /// DISCONNECT was sent.
    ended: bool,
    clean: bool,
}

enum Use {
    /// PUBLISH, as it was first sent.
    Published(Vec<u8>),
    /// Its PUBREC has come.
    Released,
    /// SUBSCRIBE or UNSUBSCRIBE.
    Request,
}

impl Monitor {
    /// How many ids of the client are in use.
    pub fn in_use(&self) -> usize {
        self.in_use.len()
    }

    /// The system took these bytes of the client.
    pub fn client_sent(&mut self, bytes: &[u8]) {
        self.from_client.extend_from_slice(bytes);
        let stream = std::mem::take(&mut self.from_client);
        let mut rest = &stream[..];
        let mut before = rest;
        while let Some((first, body)) = next_packet(&mut rest) {
            self.check_sent(first, body, &before[..before.len() - rest.len()]);
            before = rest;
        }
        self.from_client = rest.to_vec();
    }

    fn check_sent(&mut self, first: u8, body: &[u8], packet: &[u8]) {
        assert!(!self.ended, "{first:02x} after DISCONNECT [MQTT-3.14.4-2]");
        assert_eq!(
            self.connected,
            first != 0x10,
            "CONNECT first and only once [MQTT-3.1.0-1] [MQTT-3.1.0-2]"
        );
        let id = || u16::from_be_bytes([body[0], body[1]]);
        match first {
            0x10 => {
                self.connected = true;
                self.clean = body[7] & 0x02 != 0;
            }
            0x30 | 0x31 | 0xC0 => {}
            _ if first >> 4 == 3 => self.check_publish(packet, publish_id(body), first & 8 != 0),
            0x40 | 0x50 | 0x62 | 0x70 => {
                let owed = self.owed.pop_front();
                assert_eq!(owed, Some(ack(first, id())), "answers in the order of the questions [4.6]");
            }
            0x82 | 0xA2 => {
                assert!(self.in_use.insert(id(), Use::Request).is_none(), "id in use [MQTT-2.3.1-2]");
            }
            0xE0 => self.ended = true,
            _ => panic!("a client never sends {first:02x}"),
        }
    }

    fn check_publish(&mut self, packet: &[u8], id: u16, dup: bool) {
        let mut plain = packet.to_vec();
        plain[0] &= !8;
        assert!(self.here.insert(id) || !dup, "repeated without a reason");
        match self.in_use.get(&id) {
            Some(Use::Published(first)) => {
                assert!(dup, "id {id} is in use [MQTT-2.3.1-2], or DUP is missing [MQTT-3.3.1-1]");
                assert_eq!(*first, plain, "a repetition differs");
            }
            Some(_) => panic!("PUBLISH with id {id} of a request or after PUBREC [MQTT-4.3.3-1]"),
            None if dup => {
                let begun = self.begun.iter().any(|begun| plain.starts_with(begun));
                assert!(begun, "DUP on what was never sent [MQTT-3.3.1-3]");
            }
            None => {}
        }
        self.in_use.insert(id, Use::Published(plain));
    }

    /// The client is about to say goodbye.
    pub fn client_leaves(&mut self) {
        self.deaf = true;
    }

    /// These bytes of the broker are given to the client.
    pub fn client_got(&mut self, bytes: &[u8]) {
        if self.deaf {
            return;
        }
        self.from_broker.extend_from_slice(bytes);
        let stream = std::mem::take(&mut self.from_broker);
        let mut rest = &stream[..];
        while let Some((first, body)) = next_packet(&mut rest) {
            self.note_received(first, body);
        }
        self.from_broker = rest.to_vec();
    }

    fn note_received(&mut self, first: u8, body: &[u8]) {
        let id = || u16::from_be_bytes([body[0], body[1]]);
        match first {
            0x20 if body[0] == 1 && !self.clean => {
                self.owed.extend(self.released.iter().map(|id| ack(0x62, *id)));
            }
            0x20 => {
                self.in_use.clear();
                self.released.clear();
                self.begun.clear();
            }
            0x30 | 0x31 | 0xD0 => {}
            _ if first >> 4 == 3 => {
                let answer = if first & 0b0110 == 0b0010 { 0x40 } else { 0x50 };
                self.owed.push_back(ack(answer, publish_id(body)));
            }
            0x40 | 0x70 | 0x90 | 0xB0 => self.free(id()),
            0x50 => {
                self.owed.push_back(ack(0x62, id()));
                if let Some(usage @ Use::Published(_)) = self.in_use.get_mut(&id()) {
                    *usage = Use::Released;
                    self.released.push(id());
                }
            }
            0x62 => self.owed.push_back(ack(0x70, id())),
            _ => panic!("the model broker never sends {first:02x}"),
        }
    }

    fn free(&mut self, id: u16) {
        self.in_use.remove(&id);
        self.here.remove(&id);
        self.released.retain(|released| *released != id);
    }

    /// The connection is gone.
    pub fn cut(&mut self) {
        let mut begun = std::mem::take(&mut self.from_client);
        if let Some(first) = begun.first_mut() {
            *first &= !8;
            self.begun.push(begun);
        }
        self.from_broker.clear();
        self.owed.clear();
        self.here.clear();
        self.in_use.retain(|_, usage| !matches!(usage, Use::Request));
        self.connected = false;
        self.deaf = false;
        self.ended = false;
    }
}
