//! [`Router`]: all that the broker knows, and what it does with packets. No socket, no clock: bytes go in at
//! [`Router::input`], and come out in the [`Link`]s.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tracing::debug;

use super::faults::{FaultTable, OnConnect, Scope};
use super::link::Link;
use super::received::ReceivedLog;
use super::session::{Limits, Message, Session};
use super::subscriptions::Subscriptions;
use crate::codec::slab::Slab;
use crate::codec::{
    Connack, Connect, ConnectCode, Deframer, Delivery, Error, Kind, Packet, PacketId, Publish, Qos, Version,
    v4,
};

/// The state of a broker.
pub(super) struct Router {
    pub(super) links: Slab<Link>,
    pub(super) sessions: Slab<Session>,
    pub(super) by_client: HashMap<Arc<str>, usize>,
    pub(super) subscriptions: Subscriptions,
    /// In the order of their topics, so that tests see one order.
    pub(super) retained: BTreeMap<Arc<str>, Message>,
    pub(super) faults: FaultTable,
    pub(super) received: ReceivedLog,
    /// How many connections were accepted so far.
    pub(super) accepted: u64,
    /// How many messages were lost because their receivers were too slow.
    pub(super) dropped: u64,
    /// How many messages were routed so far.
    pub(super) routed: u64,
    /// The broker ends its connections itself: that is no reason for wills.
    pub(super) stopping: bool,
    /// Raised by every change: what [`super::Broker::wait_until`] waits for.
    pub(super) version: u64,
    pub(super) limits: Limits,
    max_output: usize,
    users: Option<HashMap<String, String>>,
    /// How many client ids were made up so far.
    generated: u64,
}

/// Why a connection has to end \[MQTT-4.8.0-1\].
enum Violation {
    Malformed(Error),
    FirstPacket(Kind),
    SecondConnect,
}

impl Router {
    pub(super) fn new(options: super::BrokerOptions) -> Router {
        Router {
            links: Slab::new(),
            sessions: Slab::new(),
            by_client: HashMap::new(),
            subscriptions: Subscriptions::new(),
            retained: BTreeMap::new(),
            faults: FaultTable::default(),
            received: ReceivedLog::new(options.max_received),
            accepted: 0,
            dropped: 0,
            routed: 0,
            stopping: false,
            version: 0,
            limits: Limits { in_flight: options.max_in_flight, queue: options.max_queue },
            max_output: options.max_output,
            users: options.users,
            generated: 0,
        }
    }

    /// A connection was accepted, from a client's port. Its link lives until [`Router::detach`].
    pub(super) fn accept(&mut self, port: u16) -> usize {
        self.accepted += 1;
        let (scope, faults) = self.faults.accept();
        let mut link = Link::new(scope, faults, self.max_output, CONNECT_PATIENCE);
        link.port = port;
        self.links.insert(link)
    }

    /// A connection has ended, in whatever way.
    pub(super) fn detach(&mut self, link: usize) {
        self.leave(link);
        self.links.remove(link);
    }

    /// Bytes have arrived on a connection. They are acted upon as far as the connection goes.
    pub(super) fn input(&mut self, link: usize, deframer: &mut Deframer, input: &[u8]) {
        let mut input = self.links[link].admit(input);
        while !self.links[link].is_ending() {
            let result = match deframer.next(&mut input) {
                Ok(None) => break,
                Ok(Some(_)) if self.links[link].ignoring => Ok(()),
                Ok(Some(frame)) => match v4::decode(&frame) {
                    Ok(packet) => self.packet(link, &packet),
                    Err(error) => Err(Violation::Malformed(error)),
                },
                Err(error) => Err(Violation::Malformed(error)),
            };
            match result {
                Ok(()) => self.links[link].packet_done(),
                Err(violation) => self.violated(link, &violation),
            }
        }
        self.links[link].input_done();
        if self.links[link].is_ending() {
            // Not when the last output is written: a client that does not read would put off its own will.
            self.leave(link);
        }
    }

    /// Drops the connection of a client.
    pub(super) fn kill(&mut self, link: usize) {
        self.links[link].close();
        self.leave(link);
    }

    /// The session of a client, if there is one.
    pub(super) fn session_of(&self, client: &str) -> Option<usize> {
        self.by_client.get(client).copied()
    }

    /// The connection of a client, if it is connected.
    pub(super) fn link_of(&self, client: &str) -> Option<usize> {
        self.sessions[self.session_of(client)?].link
    }

    fn packet(&mut self, link: usize, packet: &Packet<'_>) -> Result<(), Violation> {
        let Some(session) = self.links[link].session else {
            return match packet {
                Packet::Connect(connect) => {
                    self.connect(link, connect);
                    Ok(())
                }
                other => Err(Violation::FirstPacket(other.kind())),
            };
        };
        let limits = self.limits;
        match *packet {
            Packet::Publish(publish) => self.publish(link, session, &publish),
            Packet::Puback(id) => self.sessions[session].acknowledged(id, &mut self.links[link], limits),
            Packet::Pubrec(id) => self.sessions[session].received(id, &mut self.links[link]),
            Packet::Pubcomp(id) => self.sessions[session].completed(id, &mut self.links[link], limits),
            Packet::Pubrel(id) => {
                self.sessions[session].unreleased.remove(&id);
                // Answered whether or not the id is known [MQTT-4.3.3-2].
                self.links[link].send(Kind::Pubcomp, |out| v4::pubcomp(out, id));
            }
            Packet::Subscribe { id, filters } => self.subscribe(link, session, id, filters),
            Packet::Unsubscribe { id, filters } => {
                for filter in filters {
                    if self.sessions[session].subscriptions.remove(filter).is_some() {
                        self.subscriptions.remove(filter, session);
                    }
                }
                self.links[link].send(Kind::Unsuback, |out| v4::unsuback(out, id));
            }
            Packet::Pingreq => self.links[link].send(Kind::Pingresp, v4::pingresp),
            Packet::Disconnect => {
                self.sessions[session].will = None;
                self.links[link].finish();
            }
            Packet::Connect(_) => return Err(Violation::SecondConnect),
            Packet::Connack(_) | Packet::Suback { .. } | Packet::Unsuback(_) | Packet::Pingresp => {
                return Err(Violation::Malformed(Error::Direction(packet.kind())));
            }
        }
        Ok(())
    }

    fn violated(&mut self, link: usize, violation: &Violation) {
        debug!("connection {link} is closed: {violation}");
        if let Violation::Malformed(Error::ProtocolLevel(_)) = violation
            && self.links[link].session.is_none()
        {
            self.refuse(link, ConnectCode::ProtocolVersion);
        }
        self.links[link].finish();
    }

    fn connect(&mut self, link: usize, connect: &Connect<'_>) {
        if let Some(faults) = self.faults.identify(self.links[link].scope, connect.client_id) {
            self.links[link].identify(Scope::Client, faults);
        }
        let on_connect = self.links[link].faults().on_connect.clone();
        if on_connect == OnConnect::Ignore {
            self.links[link].ignoring = true;
            self.links[link].patience = None;
            return;
        }
        if let OnConnect::Refuse(code) = on_connect {
            return self.refuse(link, code);
        }
        let client = match self.admit(connect) {
            Ok(client) => client,
            Err(code) => return self.refuse(link, code),
        };

        let (session, present) = self.open(client, connect.clean_session);
        let state = &mut self.sessions[session];
        debug!("connection {link} is that of client {:?}", state.client);
        state.link = Some(link);
        state.will = connect.will.map(|will| Message {
            topic: will.topic.into(),
            payload: Bytes::copy_from_slice(will.message),
            qos: will.qos,
            retain: will.retain,
        });
        let link = &mut self.links[link];
        link.session = Some(session);
        link.patience = match connect.keep_alive {
            0 => None,
            // One and a half times [MQTT-3.1.2-24].
            seconds => Some(Duration::from_millis(u64::from(seconds) * 1500)),
        };
        if let OnConnect::Bytes(bytes) = on_connect {
            link.send_raw(&bytes);
        } else {
            // The flag came with MQTT 3.1.1; the byte was reserved before.
            let present = present && connect.version != Version::V31;
            let session_present = link.faults().session_present.unwrap_or(present);
            let connack = Connack { session_present, code: ConnectCode::Accepted };
            link.send(Kind::Connack, |out| v4::connack(out, &connack));
        }
        state.resume(link, self.limits);
    }

    /// Whether the client may connect, and under which id.
    fn admit(&mut self, connect: &Connect<'_>) -> Result<Arc<str>, ConnectCode> {
        if let Some(users) = &self.users {
            let password = connect.username.and_then(|user| users.get(user));
            if password.is_none_or(|password| connect.password != Some(password.as_bytes())) {
                return Err(ConnectCode::BadUserOrPassword);
            }
        }
        if !connect.client_id.is_empty() {
            return Ok(connect.client_id.into());
        }
        // Only MQTT 3.1.1 lets a client leave its name to the broker, and only one that leaves nothing behind
        // [MQTT-3.1.3-8].
        if connect.version == Version::V31 || !connect.clean_session {
            return Err(ConnectCode::IdentifierRejected);
        }
        loop {
            self.generated += 1;
            let client = format!("auto-{}", self.generated);
            if self.session_of(&client).is_none() {
                return Ok(client.into());
            }
        }
    }

    fn refuse(&mut self, link: usize, code: ConnectCode) {
        debug!("connection {link} is refused: {code:?}");
        let connack = Connack { session_present: false, code };
        self.links[link].send(Kind::Connack, |out| v4::connack(out, &connack));
        self.links[link].finish();
    }

    /// The session of a client that connects, without a connection, and whether there was one before.
    fn open(&mut self, client: Arc<str>, clean: bool) -> (usize, bool) {
        // A second connection with the same id ends the first [MQTT-3.1.4-2].
        if let Some(link) = self.link_of(&client) {
            self.kill(link);
        }
        let kept = self.session_of(&client);
        if let Some(session) = kept
            && !clean
        {
            return (session, true);
        }
        if let Some(session) = kept {
            self.forget(session);
        }
        let session = self.sessions.insert(Session::new(client.clone(), clean));
        self.by_client.insert(client, session);
        (session, false)
    }

    /// Parts a connection from its session, if it has one: the will is published, a clean session forgotten.
    fn leave(&mut self, link: usize) {
        let Some(session) = self.links[link].session.take() else { return };
        let state = &mut self.sessions[session];
        debug!("client {:?} is gone", state.client);
        state.link = None;
        let will = state.will.take().filter(|_| !self.stopping);
        if state.clean {
            self.forget(session);
        }
        if let Some(will) = will {
            self.route(&mut (&will).into());
        }
    }

    fn forget(&mut self, session: usize) {
        let Session { client, subscriptions, .. } = self.sessions.remove(session);
        self.by_client.remove(&client);
        for filter in subscriptions.keys() {
            self.subscriptions.remove(filter, session);
        }
    }

    fn publish(&mut self, link: usize, session: usize, publish: &Publish<'_>) {
        let state = &mut self.sessions[session];
        let repeated = match publish.delivery {
            Delivery::ExactlyOnce(id) => !state.unreleased.insert(id),
            _ => false,
        };
        let mut arrived = publish.into();
        self.received.push(&state.client, publish, repeated, &mut arrived);
        if !repeated {
            self.route(&mut arrived);
        }
        let link = &mut self.links[link];
        match publish.delivery {
            Delivery::AtMostOnce => {}
            Delivery::AtLeastOnce(id) => link.send(Kind::Puback, |out| v4::puback(out, id)),
            Delivery::ExactlyOnce(id) => link.send(Kind::Pubrec, |out| v4::pubrec(out, id)),
        }
    }

    fn subscribe(&mut self, link: usize, session: usize, id: PacketId, filters: v4::Filters<'_>) {
        let faults = self.links[link].faults();
        let codes: Vec<Option<Qos>> = filters.map(|(filter, qos)| faults.grant(filter, qos)).collect();
        for ((filter, _), code) in filters.zip(&codes) {
            if let Some(qos) = *code {
                self.subscriptions.insert(filter, session, qos);
                self.sessions[session].subscriptions.insert(filter.to_owned(), qos);
            }
        }
        self.links[link].send(Kind::Suback, |out| v4::suback(out, id, codes.iter().copied()));
        for ((filter, _), code) in filters.zip(&codes) {
            if let Some(qos) = *code {
                self.send_retained(session, filter, qos);
            }
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Violation::Malformed(error) => error.fmt(f),
            Violation::FirstPacket(kind) => write!(f, "{kind} before CONNECT [MQTT-3.1.0-1]"),
            Violation::SecondConnect => write!(f, "a second CONNECT [MQTT-3.1.0-2]"),
        }
    }
}

/// How long a connection may stay without CONNECT (MQTT 3.1.1, 3.1.4: "a reasonable amount of time").
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);
