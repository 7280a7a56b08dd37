//! The state of one MQTT client, without a socket, a clock or a thread.
//!
//! A [`Session`] is driven from outside. Its methods are of four kinds:
//!
//! - commands, what the application wants: [`connect`](Session::connect), [`publish`](Session::publish),
//!   [`subscribe`](Session::subscribe), [`unsubscribe`](Session::unsubscribe), [`disconnect`](Session::disconnect);
//! - `handle_*`, what the world did: bytes came, bytes were taken, time passed, the connection went away;
//! - what is to be done next: [`transmit`](Session::transmit) or [`take_transmit`](Session::take_transmit) (bytes to write),
//!   [`poll_timeout`](Session::poll_timeout) (when to come back), [`events`](Session::events) (what happened);
//! - plain questions.
//!
//! After any command or `handle_*` the driver looks at what is to be done next. An error of a `handle_*` means: close the
//! connection, then call [`handle_closed`](Session::handle_closed). `now` is always an argument, so a test moves time by
//! passing another instant.
//!
//! Invariants: a packet id is in use exactly while a message or request that has it waits for its last acknowledgement;
//! QoS 1 and 2 messages stand in [`Outbox`] in the order in which they were accepted; nothing is encoded before CONNECT or
//! after DISCONNECT.

mod error;
mod event;
mod ids;
mod outbox;
mod subscriptions;
mod timer;
mod trace;
mod transmit;

use std::time::{Duration, Instant};

pub use error::{Error, Refused};
pub use event::{Event, Events, Granted, Token};
pub use timer::Timer;
pub use trace::TARGET as TRACE_TARGET;

use crate::codec::{
    Connack, Connect, ConnectCode, Deframer, Delivery, Frame, Packet, PacketId, Publish, Qos, v4::{self, SubackCodes},
};
use ids::{IdMap, Ids};
use outbox::{Outbox, State as EntryState};
use subscriptions::Subscriptions;
use timer::Timers;
use transmit::{Kind, Transmit};

/// Unsent copies of stored messages may take this much memory; the rest waits in the outbox.
const MAX_UNSENT_COPIES: usize = 1 << 20;

/// PINGREQ goes out this much before the keep-alive interval ends, so that a timer's lateness does not stretch it.
const KEEP_ALIVE_MARGIN: Duration = Duration::from_millis(10);

/// A connection that lasted this long has made progress even when nothing came over it.
const SETTLED: Duration = Duration::from_secs(5);

/// In the id pool: this id belongs to a SUBSCRIBE or UNSUBSCRIBE, not to an entry of the outbox.
const REQUEST: u32 = IdMap::MAX - 1;

/// Bounds of a session.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes accepted and not done, bookkeeping included; a single message larger than that is accepted when nothing
    /// else waits.
    pub max_queue: usize,
    /// QoS 1 and 2 messages under way at once, at least 1.
    pub inflight: u16,
    /// The largest packet delivered whole; see [`Event::Overflow`].
    pub max_packet: Option<usize>,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { max_queue: 64 << 20, inflight: 100, max_packet: None }
    }
}

/// What does not change while a session lives.
#[derive(Clone, Copy, Debug, Default)]
pub struct Config {
    /// Bounds.
    pub limits: Limits,
    /// Renew subscriptions on a connection whose session the broker did not keep.
    pub resubscribe: bool,
}

/// What becomes of unacknowledged messages when a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// They stay for the next connection.
    Session,
    /// They are dropped.
    Nothing,
}

/// Counters, from the session's beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Packets received.
    pub packets_in: u64,
    /// Packets sent, or waiting to be.
    pub packets_out: u64,
    /// Bytes received.
    pub bytes_in: u64,
    /// Bytes taken by the system.
    pub bytes_out: u64,
    /// Messages received, by QoS.
    pub messages_in: [u64; 3],
    /// Messages accepted for sending, by QoS.
    pub messages_out: [u64; 3],
    /// Messages accepted and given up: QoS 0 unsent when the connection ended, others with their session.
    pub dropped: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Disconnected,
    /// CONNECT is encoded, CONNACK has not come.
    Connecting {
        clean_session: bool,
    },
    Connected,
    /// DISCONNECT is encoded: nothing more is, and what comes is ignored \[MQTT-3.14.4-2\].
    Disconnecting,
}

/// See the [module](self).
#[derive(Debug)]
pub struct Session {
    config: Config,
    state: State,
    deframer: Deframer,
    tx: Transmit,
    outbox: Outbox,
    ids: Ids,
    subscriptions: Subscriptions,
    /// QoS 2 messages received whose PUBREL has not come: not to be delivered again \[MQTT-4.3.3-2\].
    received: IdMap,
    timers: Timers,
    keep_alive: Duration,
    /// Whether the driver reads from the socket; while it does not, a missing PINGRESP proves nothing.
    reading: bool,
    /// PINGREQ is out and nothing has come since.
    awaiting_ping: bool,
    /// QoS 1 and 2 are accepted while there is no connection.
    offline_queue: bool,
    /// Bytes of unsent copies of outbox entries.
    copies: usize,
    /// QoS 0 messages not yet sent: how many, and their bytes.
    messages: usize,
    message_bytes: usize,
    /// A publish was refused for lack of room: [`Event::Drained`] is owed.
    refused: bool,
    connected_at: Option<Instant>,
    /// An acknowledgement or a message came over this connection.
    progress: bool,
    events: Events,
    stats: Stats,
}

impl Session {
    /// A session without a connection.
    pub fn new(config: Config) -> Session {
        Session {
            state: State::Disconnected,
            deframer: Deframer::from_broker(config.limits.max_packet),
            tx: Transmit::default(),
            outbox: Outbox::new(),
            ids: Ids::new(),
            subscriptions: Subscriptions::new(config.resubscribe),
            received: IdMap::default(),
            timers: Timers::default(),
            keep_alive: Duration::ZERO,
            reading: true,
            awaiting_ping: false,
            offline_queue: false,
            copies: 0,
            messages: 0,
            message_bytes: 0,
            refused: false,
            connected_at: None,
            progress: false,
            events: Events::new(),
            stats: Stats::default(),
            config,
        }
    }

    // Commands.

    /// A byte stream to the broker is up: sends CONNECT \[MQTT-3.1.0-1\]. CONNACK has to come by `deadline`.
    pub fn connect(&mut self, connect: &Connect<'_>, deadline: Option<Instant>) {
        debug_assert_eq!(self.state, State::Disconnected, "one CONNECT per connection [MQTT-3.1.0-2]");
        self.state = State::Connecting { clean_session: connect.clean_session };
        self.keep_alive = Duration::from_secs(connect.keep_alive.into());
        self.timers = Timers::default();
        if let Some(deadline) = deadline {
            self.timers.set(Timer::Connack, deadline);
        }
        self.send(Kind::Control, |out| v4::connect(out, connect));
    }

    /// Accepts a message for delivery. The caller has checked the topic and that the packet is not larger than MQTT
    /// allows ([`v4::publish_size`]).
    #[inline]
    pub fn publish(
        &mut self,
        topic: &str,
        payload: &[u8],
        qos: Qos,
        retain: bool,
        token: Token,
    ) -> Result<(), Refused> {
        let connected = self.state == State::Connected;
        if !connected && (!self.offline_queue || qos == Qos::AtMostOnce || self.state == State::Disconnecting)
        {
            return Err(Refused::NotConnected);
        }
        // 2 bytes of topic length, 2 of id, 5 of header: close enough to bound memory
        let cost = topic.len() + payload.len() + 9 + outbox::OVERHEAD;
        let queued = self.queued_cost();
        if queued > 0 && queued + cost > self.config.limits.max_queue {
            self.refused = true;
            return Err(Refused::QueueFull);
        }
        self.stats.messages_out[qos as usize] += 1;
        if qos == Qos::AtMostOnce {
            let publish = Publish { dup: false, delivery: Delivery::AtMostOnce, retain, topic, payload };
            let size = self.send(Kind::Message(token), |out| v4::publish(out, &publish));
            self.messages += 1;
            self.message_bytes += size;
        } else {
            // The id is written over this one when the message is sent.
            let delivery = match qos {
                Qos::ExactlyOnce => Delivery::ExactlyOnce(PacketId::MIN),
                _ => Delivery::AtLeastOnce(PacketId::MIN),
            };
            let publish = Publish { dup: false, delivery, retain, topic, payload };
            self.outbox.push(qos, token, |out| v4::publish(out, &publish));
            if connected {
                self.send_queued();
            }
        }
        Ok(())
    }

    /// Sends one SUBSCRIBE for all `filters`, at least one and checked by the caller.
    pub fn subscribe(&mut self, filters: &[(&str, Qos)], token: Token) -> Result<(), Refused> {
        debug_assert!(!filters.is_empty(), "[MQTT-3.8.3-3]");
        let id = self.request()?;
        self.send(Kind::Control, |out| v4::subscribe(out, id, filters.iter().copied()));
        self.subscriptions.subscribed(id, token, filters);
        Ok(())
    }

    /// Sends one UNSUBSCRIBE for all `filters`, at least one and checked by the caller.
    pub fn unsubscribe(&mut self, filters: &[&str], token: Token) -> Result<(), Refused> {
        debug_assert!(!filters.is_empty(), "[MQTT-3.10.3-2]");
        let id = self.request()?;
        self.send(Kind::Control, |out| v4::unsubscribe(out, id, filters.iter().copied()));
        self.subscriptions.unsubscribed(id, token, filters);
        Ok(())
    }

    /// Ends the connection in order: DISCONNECT goes out behind what is unsent, and nothing after it.
    pub fn disconnect(&mut self) {
        if self.state == State::Connected {
            self.send(Kind::Control, v4::disconnect);
            self.state = State::Disconnecting;
            self.timers = Timers::default();
        }
    }

    /// Gives up the QoS 0 messages of which nothing has been sent.
    pub fn drop_unsent_messages(&mut self) {
        let Session { tx, events, messages, message_bytes, stats, .. } = self;
        tx.drop_messages(|token, len| {
            *messages -= 1;
            *message_bytes -= len;
            drop_message(events, stats, token);
        });
    }

    /// Whether QoS 1 and 2 messages are accepted while there is no connection.
    pub fn set_offline_queue(&mut self, accept: bool) {
        self.offline_queue = accept;
    }

    /// Gives up every message that is not done, and what is known of the broker's.
    pub fn forget(&mut self) {
        while let Some(index) = self.outbox.first() {
            let id = self.outbox.entry(index).id;
            let token = self.outbox.remove(index);
            if let Some(id) = id {
                self.ids.release(id);
            }
            drop_message(&mut self.events, &mut self.stats, token);
        }
        self.received.clear();
        self.check_drained();
    }

    // What the world did.

    /// Bytes came.
    pub fn handle_input(&mut self, now: Instant, mut input: &[u8]) -> Result<(), Error> {
        self.stats.bytes_in += input.len() as u64;
        self.awaiting_ping = false;
        self.timers.clear(Timer::PingResponse);
        let mut deframer = std::mem::take(&mut self.deframer);
        let outcome = loop {
            match deframer.next(&mut input) {
                Ok(Some(frame)) => {
                    if let Err(error) = self.handle_frame(now, &frame) {
                        break Err(error);
                    }
                }
                Ok(None) => break Ok(()),
                Err(error) => break Err(error.into()),
            }
        };
        self.deframer = deframer;
        if outcome.is_ok() && self.state == State::Connected {
            self.send_queued();
        }
        outcome
    }

    /// The system took `n` bytes of what [`transmit`](Self::transmit) showed or [`take_transmit`](Self::take_transmit)
    /// gave.
    #[inline]
    pub fn handle_transmitted(&mut self, now: Instant, n: usize) {
        if n == 0 {
            return;
        }
        self.stats.bytes_out += n as u64;
        if self.keep_alive > Duration::ZERO && self.state != State::Disconnecting {
            let margin = KEEP_ALIVE_MARGIN.min(self.keep_alive / 10);
            self.timers.set(Timer::KeepAlive, now + self.keep_alive - margin);
        }
        let Session { tx, events, messages, message_bytes, copies, .. } = self;
        tx.advance(n, |kind, len| match kind {
            Kind::Control => {}
            Kind::Message(token) => {
                *messages -= 1;
                *message_bytes -= len;
                events.push(Event::Published { id: None, token });
            }
            Kind::Stored { .. } => *copies -= len,
        });
        self.check_drained();
        if self.state == State::Connected {
            self.send_queued();
        }
    }

    /// Time passed.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), Error> {
        while let Some(timer) = self.timers.expire(now) {
            match timer {
                Timer::Connack => return Err(Error::TimedOut(timer)),
                Timer::PingResponse => {
                    if self.reading {
                        return Err(Error::TimedOut(timer));
                    }
                }
                Timer::KeepAlive => {
                    self.timers.set(Timer::KeepAlive, now + self.keep_alive);
                    if self.state == State::Connected {
                        self.send(Kind::Control, v4::pingreq);
                        if !self.awaiting_ping {
                            self.awaiting_ping = true;
                            self.await_ping_response(now);
                        }
                        self.shrink();
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether the driver reads. While it holds back, the wait for PINGRESP rests; it starts anew after.
    pub fn set_reading(&mut self, now: Instant, reading: bool) {
        if self.reading != reading {
            self.reading = reading;
            if self.awaiting_ping {
                self.await_ping_response(now);
            }
        }
    }

    /// The connection is gone, whoever ended it. QoS 0 that was not sent and requests without their answer are dropped.
    pub fn handle_closed(&mut self, keep: Keep) {
        self.state = State::Disconnected;
        self.timers = Timers::default();
        self.deframer.reset();
        self.awaiting_ping = false;
        self.reading = true;
        self.connected_at = None;
        self.progress = false;
        self.copies = 0;
        self.messages = 0;
        self.message_bytes = 0;
        for (id, token) in self.subscriptions.drain() {
            self.ids.release(id);
            push_dropped(&mut self.events, token);
        }
        // What was sent becomes queued again with its id. The broker may have seen it, so that its next PUBLISH is a
        // repetition, unless not even its first byte went out.
        self.outbox.requeue();
        self.outbox.for_each_queued(|entry| entry.dup = entry.id.is_some());
        let Session { tx, outbox, events, stats, .. } = self;
        tx.clear(|kind, _, begun| match kind {
            Kind::Control => {}
            Kind::Message(token) => drop_message(events, stats, token),
            Kind::Stored { entry, id } => {
                if let Some(entry) = outbox.entry_mut(entry).filter(|entry| entry.id == Some(id) && !begun) {
                    entry.dup = entry.resent;
                }
            }
        });
        if keep == Keep::Nothing {
            self.forget();
        }
        self.check_drained();
    }

    // What is to be done next.

    /// Bytes to write, unless a taken buffer is still being written.
    #[inline]
    pub fn transmit(&self) -> &[u8] {
        self.tx.waiting()
    }

    /// Gives the bytes to write into `buffer`, which must be empty, so that they can be written without the session at
    /// hand. Each part that the system took is reported by [`handle_transmitted`](Self::handle_transmitted), and all of it
    /// before the next call.
    pub fn take_transmit(&mut self, buffer: &mut Vec<u8>) {
        self.tx.lend(buffer);
    }

    /// Whether bytes given away by [`take_transmit`](Self::take_transmit) are still being written.
    #[inline]
    pub fn is_transmitting(&self) -> bool {
        self.tx.is_lent()
    }

    /// Bytes that the system has not taken yet.
    #[inline]
    pub fn unsent(&self) -> usize {
        self.tx.len()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// What happened, oldest first.
    #[inline]
    pub fn events(&mut self) -> &mut Events {
        &mut self.events
    }

    // Questions.

    /// Whether the broker accepted the connection and no side has ended it.
    #[inline]
    pub fn is_connected(&self) -> bool {
        self.state == State::Connected
    }

    /// Whether this connection did anything useful: an acknowledgement or a message came, or it has lasted for 5 s.
    pub fn progressed(&self, now: Instant) -> bool {
        self.progress || self.connected_at.is_some_and(|at| now.saturating_duration_since(at) >= SETTLED)
    }

    /// Messages accepted and not done, and the bytes of their packets.
    pub fn pending(&self) -> (u64, u64) {
        ((self.outbox.len() + self.messages) as u64, (self.outbox.bytes() + self.message_bytes) as u64)
    }

    /// Counters.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    // Receiving.

    #[inline]
    fn handle_frame(&mut self, now: Instant, frame: &Frame<'_>) -> Result<(), Error> {
        if self.state == State::Disconnecting {
            return Ok(());
        }
        let packet = v4::decode(frame)?;
        self.stats.packets_in += 1;
        trace::received(&packet, frame);
        if let State::Connecting { clean_session } = self.state {
            return match packet {
                Packet::Connack(connack) => self.handle_connack(now, connack, clean_session),
                _ => Err(Error::NotConnack),
            };
        }
        match packet {
            Packet::Publish(publish) => self.handle_publish(&publish, frame.truncated),
            Packet::Puback(id) => self.handle_puback(id),
            Packet::Pubrec(id) => self.handle_pubrec(id),
            Packet::Pubrel(id) => {
                self.received.remove(id);
                self.send(Kind::Control, |out| v4::pubcomp(out, id)); // also for an unknown one [MQTT-4.3.3-2]
            }
            Packet::Pubcomp(id) => self.handle_pubcomp(id),
            Packet::Suback { id, codes } => self.handle_suback(id, codes)?,
            Packet::Unsuback(id) => self.handle_unsuback(id),
            Packet::Pingresp => {}
            Packet::Connack(_) => return Err(Error::SecondConnack),
            Packet::Connect(_)
            | Packet::Subscribe { .. }
            | Packet::Unsubscribe { .. }
            | Packet::Pingreq
            | Packet::Disconnect => unreachable!("the deframer refuses what only clients send"),
        }
        Ok(())
    }

    fn handle_connack(&mut self, now: Instant, connack: Connack, clean_session: bool) -> Result<(), Error> {
        if connack.code != ConnectCode::Accepted {
            return Err(Error::Refused(connack.code));
        }
        self.state = State::Connected;
        self.timers.clear(Timer::Connack);
        self.connected_at = Some(now);
        // A broker that claims a session after Clean Session has none that we could mean [MQTT-3.2.2-1].
        let kept = connack.session_present && !clean_session;
        self.events.push(Event::Connected { session_present: kept });
        if kept {
            self.repeat_pubrels();
        } else {
            self.renew();
        }
        self.send_queued();
        Ok(())
    }

    /// The broker kept the session: released messages go on with PUBREL \[MQTT-4.4.0-1\]; sent ones are queued again already.
    fn repeat_pubrels(&mut self) {
        let mut index = self.outbox.next_released(None);
        while let Some(at) = index {
            let id = self.outbox.entry(at).id.expect("a released message has an id");
            self.send(Kind::Control, |out| v4::pubrel(out, id));
            index = self.outbox.next_released(Some(at));
        }
    }

    /// The session is new: released messages had arrived and are done; the others are published afresh.
    fn renew(&mut self) {
        self.received.clear();
        while let Some(index) = self.outbox.next_released(None) {
            self.finish(index);
        }
        let Session { outbox, ids, .. } = self;
        outbox.for_each_queued(|entry| {
            if let Some(id) = entry.id.take() {
                ids.release(id);
            }
            entry.dup = false;
            entry.resent = false;
        });
        let wanted = self.subscriptions.wanted();
        if !wanted.is_empty()
            && let Some(id) = self.ids.allocate(REQUEST)
        {
            let filters: Vec<(&str, Qos)> = wanted.iter().map(|(filter, qos)| (&**filter, *qos)).collect();
            self.send(Kind::Control, |out| v4::subscribe(out, id, filters.iter().copied()));
            self.subscriptions.subscribed(id, Token::NONE, &filters);
        }
    }

    #[inline]
    fn handle_publish(&mut self, publish: &Publish<'_>, truncated: bool) {
        self.progress = true;
        let qos = publish.delivery.qos();
        let new = match publish.delivery {
            Delivery::AtMostOnce => true,
            Delivery::AtLeastOnce(id) => {
                self.send(Kind::Control, |out| v4::puback(out, id));
                true
            }
            Delivery::ExactlyOnce(id) => {
                self.send(Kind::Control, |out| v4::pubrec(out, id));
                let new = self.received.get(id).is_none();
                if new {
                    self.received.insert(id, 0);
                }
                new
            }
        };
        if !new {
            return;
        }
        self.stats.messages_in[qos as usize] += 1;
        let (topic, payload) = (publish.topic.as_bytes(), publish.payload);
        self.events.push(if truncated {
            Event::Overflow { topic, payload }
        } else {
            Event::Message { topic, payload, qos, retain: publish.retain, dup: publish.dup }
        });
    }

    #[inline]
    fn handle_puback(&mut self, id: PacketId) {
        match self.in_flight(id) {
            Some(index) if self.outbox.entry(index).qos == Qos::AtLeastOnce => self.finish(index),
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
                }
            }
            _ => tracing::info!(target: "mqtt", "PUBREC {id:?} answers nothing"),
        }
        // The broker waits for it in any case, also when it answers what we have forgotten.
        self.send(Kind::Control, |out| v4::pubrel(out, id));
    }

    #[inline]
    fn handle_pubcomp(&mut self, id: PacketId) {
        match self.in_flight(id) {
            Some(index) if self.outbox.entry(index).state() == EntryState::Released => self.finish(index),
            _ => tracing::info!(target: "mqtt", "PUBCOMP {id:?} answers nothing, ignored"),
        }
    }

    fn handle_suback(&mut self, id: PacketId, codes: SubackCodes<'_>) -> Result<(), Error> {
        let Some(filters) = self.subscriptions.request(id).and_then(|request| request.filters.as_ref())
        else {
            tracing::info!(target: "mqtt", "SUBACK {id:?} answers nothing, ignored");
            return Ok(());
        };
        if filters.len() != codes.len() {
            return Err(Error::SubackCount { asked: filters.len(), got: codes.len() });
        }
        self.progress = true;
        let request = self.subscriptions.take(id).expect("looked up above");
        self.ids.release(id);
        let filters = request.filters.unwrap_or_default();
        for (filter, code) in filters.iter().zip(codes) {
            if code.is_none() {
                self.subscriptions.refused(filter);
            }
        }
        self.events.push_subscribed(request.token, filters.iter().map(|filter| &**filter).zip(codes));
        Ok(())
    }

    fn handle_unsuback(&mut self, id: PacketId) {
        if self.subscriptions.request(id).is_none_or(|request| request.filters.is_some()) {
            tracing::info!(target: "mqtt", "UNSUBACK {id:?} answers nothing, ignored");
            return;
        }
        self.progress = true;
        let request = self.subscriptions.take(id).expect("looked up above");
        self.ids.release(id);
        self.events.push(Event::Unsubscribed { token: request.token });
    }

    /// The outbox entry that was sent under this id.
    #[inline]
    fn in_flight(&self, id: PacketId) -> Option<u32> {
        self.ids.get(id).filter(|value| *value != REQUEST)
    }

    /// A message is done: its id is free, its caller is told.
    #[inline]
    fn finish(&mut self, index: u32) {
        self.progress = true;
        let id = self.outbox.entry(index).id;
        let token = self.outbox.remove(index);
        if let Some(id) = id {
            self.ids.release(id);
        }
        self.events.push(Event::Published { id, token });
        self.check_drained();
    }

    // Sending.

    /// Sends what waits, while the window and the memory for copies allow.
    #[inline]
    fn send_queued(&mut self) {
        while self.outbox.in_flight() < usize::from(self.config.limits.inflight)
            && self.copies < MAX_UNSENT_COPIES
            && let Some(index) = self.outbox.next_queued()
        {
            let Some(id) = self.outbox.entry(index).id.or_else(|| self.ids.allocate(index)) else {
                return; // every id is in use
            };
            self.outbox.set_sent(index, id);
            let entry = self.outbox.entry_mut(index).expect("just sent");
            v4::replace_id(&mut entry.packet, id);
            entry.resent = entry.dup;
            let out = self.tx.buffer();
            let start = out.len();
            out.extend_from_slice(&entry.packet);
            if entry.dup {
                v4::set_dup(&mut out[start..]);
            }
            trace::sent(&out[start..]);
            self.copies += entry.packet.len();
            self.tx.mark(start, Kind::Stored { entry: index, id });
            self.stats.packets_out += 1;
        }
    }

    /// Encodes one packet; its size.
    #[inline]
    fn send(&mut self, kind: Kind, encode: impl FnOnce(&mut Vec<u8>)) -> usize {
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
        self.stats.packets_out += 1;
        size
    }

    /// An id for a SUBSCRIBE or UNSUBSCRIBE.
    fn request(&mut self) -> Result<PacketId, Refused> {
        if self.state != State::Connected {
            return Err(Refused::NotConnected);
        }
        self.ids.allocate(REQUEST).ok_or(Refused::QueueFull)
    }

    fn await_ping_response(&mut self, now: Instant) {
        if self.reading {
            let wait = (self.keep_alive / 2).max(Duration::from_secs(1));
            self.timers.set(Timer::PingResponse, now + wait);
        } else {
            self.timers.clear(Timer::PingResponse);
        }
    }

    /// What counts against `max_queue`.
    #[inline]
    fn queued_cost(&self) -> usize {
        self.outbox.bytes() + self.message_bytes + (self.outbox.len() + self.messages) * outbox::OVERHEAD
    }

    /// Tells a publisher that was refused when half of the room is free again.
    #[inline]
    fn check_drained(&mut self) {
        if self.refused && self.queued_cost() <= self.config.limits.max_queue / 2 {
            self.refused = false;
            self.events.push(Event::Drained);
        }
    }

    /// Gives back memory that holds nothing; done when nothing was sent for a keep-alive interval.
    fn shrink(&mut self) {
        self.ids.shrink();
        self.tx.shrink();
        if self.received.len() == 0 {
            self.received.clear();
        }
        self.events.shrink();
    }
}

fn drop_message(events: &mut Events, stats: &mut Stats, token: Token) {
    stats.dropped += 1;
    push_dropped(events, token);
}

/// Only a caller that waits has to hear that it waits in vain.
fn push_dropped(events: &mut Events, token: Token) {
    if token.is_some() {
        events.push(Event::Dropped { token });
    }
}
