//! A model of a broker with one client: the server's side of MQTT 3.1.1 as literally as it can be written. It knows
//! nothing of the library, panics when the client breaks a rule, and keeps what was delivered to it.

use std::collections::{BTreeSet, VecDeque};

use super::{ack, next_packet};

/// PUBLISHes of the broker that wait for an acknowledgement.
const WINDOW: usize = 20;

#[derive(Default)]
pub struct Broker {
    /// Onward delivery: QoS and payload, in order.
    pub delivered: Vec<(u8, String)>,
    /// The next CONNECT finds no session, whatever it asks for.
    pub forgetful: bool,
    session: Option<Session>,
    connection: Option<Connection>,
    /// Bytes for the client.
    pub output: Vec<u8>,
}

/// What [MQTT-3.1.2-4] lists for the server, but for subscriptions: the client gets everything.
#[derive(Default)]
struct Session {
    /// QoS 2 messages of the client whose PUBREL has not come.
    received: BTreeSet<u16>,
    /// Messages sent to the client and not acknowledged.
    sent: VecDeque<Sent>,
    /// Messages for the client that have not been sent.
    queue: VecDeque<(u8, String)>,
    last_id: u16,
}

struct Sent {
    id: u16,
    qos: u8,
    payload: String,
    /// PUBREC has come.
    released: bool,
}

#[derive(Default)]
struct Connection {
    input: Vec<u8>,
    clean: bool,
    accepted: bool,
    ended: bool,
}

impl Broker {
    /// A connection of the client.
    pub fn opened(&mut self) {
        self.connection = Some(Connection::default());
        self.output.clear();
    }

    /// The connection is gone.
    pub fn closed(&mut self) {
        let connection = self.connection.take();
        self.output.clear();
        if connection.is_some_and(|connection| connection.accepted && connection.clean) {
            self.session = None;
        }
    }

    /// Whether DISCONNECT came.
    pub fn has_ended(&self) -> bool {
        self.connection.as_ref().is_some_and(|connection| connection.ended)
    }

    /// Whether the client has nothing left to answer.
    pub fn is_done(&self) -> bool {
        self.session.as_ref().is_none_or(|session| {
            session.sent.is_empty() && session.queue.is_empty() && session.received.is_empty()
        })
    }

    /// Somebody publishes what this client has subscribed to. Kept while the session lives.
    pub fn publish(&mut self, qos: u8, payload: &str) {
        let online = self.connection.as_ref().is_some_and(|connection| connection.accepted);
        let Some(session) = &mut self.session else { return };
        if qos > 0 {
            session.queue.push_back((qos, payload.into()));
            if online {
                self.send_queued();
            }
        } else if online {
            self.send_publish(0x30, 0, payload);
        }
    }

    /// Bytes from the client.
    pub fn receive(&mut self, bytes: &[u8]) {
        let connection = self.connection.as_mut().expect("connected");
        connection.input.extend_from_slice(bytes);
        let input = std::mem::take(&mut connection.input);
        let mut rest = &input[..];
        while let Some((first, body)) = next_packet(&mut rest) {
            self.handle(first, body);
        }
        self.connection.as_mut().expect("still there").input = rest.to_vec();
    }

    fn handle(&mut self, first: u8, body: &[u8]) {
        let connection = self.connection.as_ref().expect("connected");
        assert!(!connection.ended, "{first:02x} after DISCONNECT [MQTT-3.14.4-2]");
        if !connection.accepted {
            return self.handle_connect(first, body);
        }
        let id = || u16::from_be_bytes([body[0], body[1]]);
        let session = self.session.as_mut().expect("a session as long as the connection");
        match first {
            0x30 | 0x31 => self.delivered.push((0, payload(body, false))),
            _ if first >> 4 == 3 => {
                let (id, payload) = (publish_id(body), payload(body, true));
                assert_ne!(id, 0, "[MQTT-2.3.1-1]");
                if first & 0b0110 == 0b0010 {
                    self.delivered.push((1, payload));
                    self.output.extend(ack(0x40, id));
                } else {
                    assert_eq!(first & 0b0110, 0b0100, "QoS 3 [MQTT-3.3.1-4]");
                    if session.received.insert(id) {
                        self.delivered.push((2, payload));
                    } else {
                        assert_eq!(
                            first & 8,
                            8,
                            "a new message with id {id}, which is in use [MQTT-2.3.1-2]"
                        );
                    }
                    self.output.extend(ack(0x50, id));
                }
            }
            0x40 => {
                let at = session.sent.iter().position(|sent| sent.id == id() && sent.qos == 1);
                session.sent.remove(at.expect("a PUBACK that answers a PUBLISH"));
                self.send_queued();
            }
            0x50 => {
                let sent = session.sent.iter_mut().find(|sent| sent.id == id() && sent.qos == 2);
                sent.expect("a PUBREC that answers a PUBLISH").released = true;
                self.output.extend(ack(0x62, id()));
            }
            0x62 => {
                session.received.remove(&id());
                self.output.extend(ack(0x70, id()));
            }
            0x70 => {
                let at = session.sent.iter().position(|sent| sent.id == id() && sent.released);
                session.sent.remove(at.expect("a PUBCOMP that answers a PUBREL"));
                self.send_queued();
            }
            0x82 => {
                let mut codes = Vec::new();
                let mut rest = &body[2..];
                while let [high, low, after @ ..] = rest {
                    let len = usize::from(u16::from_be_bytes([*high, *low]));
                    codes.push(after[len]);
                    rest = &after[len + 1..];
                }
                assert!(!codes.is_empty(), "[MQTT-3.8.3-3]");
                self.output.extend([0x90, 2 + codes.len() as u8, body[0], body[1]]);
                self.output.extend(codes);
            }
            0xA2 => self.output.extend(ack(0xB0, id())),
            0xC0 => self.output.extend([0xD0, 0]),
            0xE0 => self.connection.as_mut().expect("connected").ended = true,
            _ => panic!("a client never sends {first:02x}"),
        }
    }

    fn handle_connect(&mut self, first: u8, body: &[u8]) {
        assert_eq!(first, 0x10, "the first packet is CONNECT [MQTT-3.1.0-1]");
        assert_eq!(body[..7], [0, 4, b'M', b'Q', b'T', b'T', 4]);
        let clean = body[7] & 0x02 != 0;
        if clean || std::mem::take(&mut self.forgetful) {
            self.session = None;
        }
        let connection = self.connection.as_mut().expect("connected");
        connection.accepted = true;
        connection.clean = clean;
        let present = self.session.is_some();
        self.output.extend([0x20, 2, u8::from(present), 0]);
        let session = self.session.get_or_insert_default();
        let mut again = Vec::new();
        for sent in &session.sent {
            again.push((sent.id, sent.qos, sent.payload.clone(), sent.released));
        }
        for (id, qos, payload, released) in again {
            if released {
                self.output.extend(ack(0x62, id));
            } else {
                self.send_publish(0x38 | qos << 1, id, &payload); // DUP 1 [MQTT-3.3.1-1]
            }
        }
        self.send_queued();
    }

    fn send_queued(&mut self) {
        while let Some(session) = &mut self.session
            && session.sent.len() < WINDOW
            && let Some((qos, payload)) = session.queue.pop_front()
        {
            loop {
                session.last_id = session.last_id % 50 + 1; // few, so that they come again soon
                if session.sent.iter().all(|sent| sent.id != session.last_id) {
                    break;
                }
            }
            let id = session.last_id;
            session.sent.push_back(Sent { id, qos, payload: payload.clone(), released: false });
            self.send_publish(0x30 | qos << 1, id, &payload);
        }
    }

    fn send_publish(&mut self, first: u8, id: u16, payload: &str) {
        self.output.extend(super::publish(first, id, payload));
    }
}

/// The packet id of a PUBLISH: behind its topic.
pub fn publish_id(body: &[u8]) -> u16 {
    let at = 2 + usize::from(u16::from_be_bytes([body[0], body[1]]));
    u16::from_be_bytes([body[at], body[at + 1]])
}

fn payload(body: &[u8], id: bool) -> String {
    let at = 2 + usize::from(u16::from_be_bytes([body[0], body[1]])) + if id { 2 } else { 0 };
    String::from_utf8(body[at..].to_vec()).expect("the tests send text")
}
