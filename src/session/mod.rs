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
//! QoS 1 and 2 messages stand in `Outbox` in the order in which they were accepted; nothing is encoded before CONNECT or
//! after DISCONNECT.
//!
//! | file | what it holds |
//! |---|---|
//! | `mod.rs` | [`Session`]: commands, bytes out, time |
//! | `input.rs` | bytes in: whole packets are found, and stay where they were read to |
//! | `receive.rs` | packets in: one method for each |
//! | `send.rs` | packets out: what is sent, under which id |
//! | `resume.rs` | the end of a connection and the start of the next |
//! | `elsewhere.rs` | a change of broker |
//! | `outbox.rs` | QoS 1 and 2 messages that are not done |
//! | `ids.rs` | packet ids in use |
//! | `subscriptions.rs` | requests without their answer, filters to renew |
//! | `transmit.rs` | bytes on their way to the socket |
//! | `event.rs`, `events.rs` | what can happen, and what has: for the application |
//! | `chunks.rs` | buffers that were read into and hold messages |
//! | `on_demand.rs` | memory for those of them that are in use |
//! | `timer.rs`, `trace.rs`, `config.rs`, `error.rs`, `fuzz.rs` | deadlines, log lines, plain values, fuzzing |

mod chunks;
mod config;
mod elsewhere;
mod error;
mod event;
mod events;
#[doc(hidden)]
pub mod fuzz;
mod ids;
mod input;
mod on_demand;
mod outbox;
mod receive;
mod resume;
mod send;
mod subscriptions;
mod timer;
mod trace;
mod transmit;

use std::fmt;
use std::time::{Duration, Instant};

pub use chunks::BUFFER;
pub use config::{Config, Keep, Limits, Resubscribe, Stats};
pub use error::{Error, Refused};
pub use event::{Event, Granted, Token};
pub use events::Events;
pub use trace::TARGET as TRACE_TARGET;

use crate::codec::{Connect, Deframer, Delivery, PacketId, Publish, Qos, Version, v4};
use config::{Messages, Volume};
use elsewhere::Elsewhere;
use ids::{IdMap, Ids};
use on_demand::OnDemand;
use outbox::Outbox;
use subscriptions::Subscriptions;
use timer::{Tick, Timer, Timers};
use transmit::{Kind, Transmit};

/// Unsent copies of stored messages may take this much memory; the rest waits in the outbox.
const MAX_UNSENT_COPIES: u32 = 1 << 20;

/// PINGREQ goes out this much before the keep-alive interval ends, so that a timer's lateness does not stretch it.
const KEEP_ALIVE_MARGIN: Duration = Duration::from_millis(10);

/// A connection that lasted this long has made progress even when nothing came over it.
const SETTLED: Duration = Duration::from_secs(5);

/// Unsent answers beyond this prove a broker that does not read: it cannot wait for more than one per packet id of its
/// own messages and one per id of ours, 4 bytes each.
const MAX_UNSENT_REPLIES: u32 = 1 << 20;

/// Messages that have their ids before they are sent leave this many to what cannot wait for one: 535 of 65,535.
const MAX_NAMED: usize = 65_000;

/// In the id pool: this id belongs to a SUBSCRIBE or UNSUBSCRIBE, not to an entry of the outbox.
const REQUEST: u32 = IdMap::MAX - 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Disconnected,
    /// CONNECT is encoded, CONNACK has not come.
    Connecting {
        clean_session: bool,
        version: Version,
    },
    Connected,
    /// DISCONNECT is encoded: nothing more is, and what comes is ignored \[MQTT-3.14.4-2\].
    Disconnecting,
}

/// See the [module](self).
pub struct Session {
    config: Config,
    state: State,
    deframer: Deframer,
    tx: OnDemand<Transmit>,
    outbox: OnDemand<Outbox>,
    ids: Ids,
    subscriptions: Subscriptions,
    /// QoS 2 messages received whose PUBREL has not come: not to be delivered again \[MQTT-4.3.3-2\].
    received: OnDemand<IdMap>,
    elsewhere: Elsewhere,
    timers: Timers,
    /// In seconds; 0: none.
    keep_alive: u16,
    tick: Option<Box<Tick>>,
    /// Whether the driver reads from the socket; while it does not, a missing PINGRESP proves nothing.
    reading: bool,
    /// PINGREQ was sent on this accepted connection and nothing has come since.
    awaiting_ping: bool,
    /// So many PINGREQ have no PINGRESP yet.
    pings: u16,
    /// Unsent bytes up to the end of the PINGREQ that is waited for.
    ping_unsent: usize,
    /// QoS 1 and 2 are accepted while there is no connection.
    offline_queue: bool,
    /// Bytes of unsent copies of outbox entries: at most the limit and one packet.
    copies: u32,
    /// Bytes of unsent answers to packets.
    replies: u32,
    /// QoS 0 messages not yet sent: how many (four billion of them would be 20 GB), and their bytes.
    messages: u32,
    message_bytes: usize,
    /// A publish was refused for lack of room: [`Event::Drained`] is owed.
    refused: bool,
    connected_at: Option<Instant>,
    /// An acknowledgement or a message came over this connection.
    progress: bool,
    /// The broker may send messages over this connection.
    listening: bool,
    events: Events,
    volume: Volume,
    counts: OnDemand<Messages>,
}

impl Session {
    /// A session without a connection.
    pub fn new(config: Config) -> Session {
        Session {
            state: State::Disconnected,
            deframer: Deframer::from_broker(config.limits.max_packet()),
            tx: OnDemand::new(),
            outbox: OnDemand::new(),
            ids: Ids::new(),
            subscriptions: Subscriptions::new(config.resubscribe),
            received: OnDemand::new(),
            elsewhere: Elsewhere::default(),
            timers: Timers::default(),
            keep_alive: 0,
            tick: None,
            reading: true,
            awaiting_ping: false,
            pings: 0,
            ping_unsent: 0,
            offline_queue: config.keep_messages,
            copies: 0,
            replies: 0,
            messages: 0,
            message_bytes: 0,
            refused: false,
            connected_at: None,
            progress: false,
            listening: false,
            events: Events::new(),
            volume: Volume::default(),
            counts: OnDemand::new(),
            config,
        }
    }

    // Commands.

    /// A byte stream to the broker is up: sends CONNECT \[MQTT-3.1.0-1\]. CONNACK has to come by `deadline`.
    pub fn connect(&mut self, connect: &Connect<'_>, deadline: Option<Instant>) {
        debug_assert_eq!(self.state, State::Disconnected, "one CONNECT per connection [MQTT-3.1.0-2]");
        if self.state != State::Disconnected {
            return;
        }
        self.state = State::Connecting { clean_session: connect.clean_session, version: connect.version };
        self.deframer = Deframer::from_broker(self.config.limits.max_packet());
        self.keep_alive = connect.keep_alive;
        self.stop_timers();
        if let Some(deadline) = deadline {
            self.timers.set(Timer::Answer, deadline);
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
        self.accept(topic, payload, qos, retain, token, None)
    }

    /// The same, under a packet id that is chosen now and stays the message's until it is done; the id. A message of
    /// QoS 0 has none, but takes one's turn.
    pub fn publish_with_id(
        &mut self,
        topic: &str,
        payload: &[u8],
        qos: Qos,
        retain: bool,
        token: Token,
    ) -> Result<PacketId, Refused> {
        let id = self.next_id().filter(|_| self.ids.len() < MAX_NAMED).ok_or(Refused::QueueFull)?;
        self.accept(topic, payload, qos, retain, token, Some(id)).map(|()| id)
    }

    /// The packet id whose turn it is: not in use, and not taken by this call. The next call gives the next one. None
    /// while all are in use.
    pub fn next_id(&mut self) -> Option<PacketId> {
        self.ids.take_turn()
    }

    #[inline]
    fn accept(
        &mut self,
        topic: &str,
        payload: &[u8],
        qos: Qos,
        retain: bool,
        token: Token,
        id: Option<PacketId>,
    ) -> Result<(), Refused> {
        let connected = self.state == State::Connected;
        let qos = qos.min(self.config.limits.max_qos);
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
        if !connected && let Some(max) = self.config.limits.max_waiting {
            self.make_room(max as usize)?;
        }
        self.counts.accepted[qos as usize] += 1;
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
            let index = self.outbox.push(qos, token, payload.len(), |out| v4::publish(out, &publish));
            if let Some(id) = id {
                self.ids.occupy(id, index);
                let entry = self.outbox.entry_mut(index).expect("just put in");
                (entry.id, entry.named) = (Some(id), true);
            }
            if connected {
                self.send_queued();
            }
        }
        Ok(())
    }

    /// Sends one SUBSCRIBE for all `filters`, at least one and checked by the caller.
    pub fn subscribe(&mut self, filters: &[(&str, Qos)], token: Token) -> Result<(), Refused> {
        debug_assert!(!filters.is_empty(), "[MQTT-3.8.3-3]");
        if self.state != State::Connected && self.subscriptions.always() {
            self.subscriptions.want(filters, None);
            resume::push_dropped(&mut self.events, token);
            return Ok(());
        }
        let id = self.request()?;
        self.send_subscribe(id, filters);
        self.subscriptions.subscribed(id, token, filters);
        Ok(())
    }

    /// Sends one UNSUBSCRIBE for all `filters`, at least one and checked by the caller.
    pub fn unsubscribe(&mut self, filters: &[&str], token: Token) -> Result<(), Refused> {
        debug_assert!(!filters.is_empty(), "[MQTT-3.10.3-2]");
        if self.state != State::Connected && self.subscriptions.always() {
            self.subscriptions.unwant(filters);
            resume::push_dropped(&mut self.events, token);
            return Ok(());
        }
        let id = self.request()?;
        self.send_unsubscribe(id, filters);
        self.subscriptions.unsubscribed(id, token, filters);
        Ok(())
    }

    /// Ends the connection in order: DISCONNECT goes out behind what is unsent, and nothing after it.
    pub fn disconnect(&mut self) {
        if self.state == State::Connected {
            self.send(Kind::Control, v4::disconnect);
            self.state = State::Disconnecting;
            self.stop_timers();
        }
    }

    /// Gives up the QoS 0 messages of which nothing has been sent.
    pub fn drop_unsent_messages(&mut self) {
        let Session { tx, events, messages, message_bytes, counts, .. } = self;
        if let Some(tx) = tx.get_mut() {
            tx.drop_messages(|token, len| {
                *messages -= 1;
                *message_bytes -= len;
                resume::drop_message(events, counts, token);
            });
        }
        self.ping_unsent = self.ping_unsent.min(self.tx.len());
        self.check_drained();
    }

    /// Whether QoS 1 and 2 messages are accepted while there is no connection.
    pub fn set_offline_queue(&mut self, accept: bool) {
        self.offline_queue = accept || self.config.keep_messages;
    }

    /// Other bounds, for messages from now on and those that were never sent; that of a packet from the next
    /// connection on.
    pub fn set_limits(&mut self, limits: Limits) {
        self.config.limits = limits;
    }

    /// The bounds in force.
    pub fn limits(&self) -> Limits {
        self.config.limits
    }

    // What the world did.

    /// The system took `n` bytes of what [`transmit`](Self::transmit) showed or [`take_transmit`](Self::take_transmit)
    /// gave.
    #[inline]
    pub fn handle_transmitted(&mut self, now: Instant, n: usize) {
        if n == 0 || self.state == State::Disconnected {
            return;
        }
        self.volume.bytes_out += n as u64;
        if self.keep_alive > 0 && self.state != State::Disconnecting {
            let interval = self.keep_alive_interval();
            let margin = KEEP_ALIVE_MARGIN.min(interval / 10);
            self.timers.set(Timer::KeepAlive, now + interval - margin);
            if self.ping_unsent > 0 {
                // The answer cannot come before PINGREQ has gone out behind what is before it.
                self.ping_unsent = self.ping_unsent.saturating_sub(n);
                self.await_ping_response(now);
            }
        }
        let Session { tx, events, messages, message_bytes, copies, replies, .. } = self;
        tx.advance(n, |kind, len, count| match kind {
            Kind::Control => {}
            Kind::Reply => *replies -= len as u32,
            Kind::Message(token) => {
                *messages -= count as u32;
                *message_bytes -= count * len;
                events.push_written(token, count);
            }
            Kind::Stored { .. } => *copies -= len as u32,
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
                Timer::Answer if self.state == State::Connected => return Err(Error::Silent),
                Timer::Answer => return Err(Error::NoConnack),
                Timer::KeepAlive => self.keep_alive(now),
            }
        }
        self.tick(now);
        Ok(())
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

    /// Whether the broker may send more over this connection than the end of it: messages, as it has subscriptions of ours
    /// or may have, or answers. A broker that subscribes for its clients is known by its first message only.
    pub fn may_receive(&self) -> bool {
        self.listening || self.pings > 0 || self.ids_in_use() > 0 || self.deframer.is_partial()
    }

    /// Whether this connection did anything useful: an acknowledgement or a message came, or it has lasted for 5 s.
    pub fn progressed(&self, now: Instant) -> bool {
        self.progress || self.connected_at.is_some_and(|at| now.saturating_duration_since(at) >= SETTLED)
    }

    /// Messages accepted and not done, and the bytes of their packets.
    pub fn pending(&self) -> (u64, u64) {
        (
            self.outbox.len() as u64 + u64::from(self.messages),
            (self.outbox.bytes() + self.message_bytes) as u64,
        )
    }

    /// Bytes of payload in QoS 1 and 2 messages without their acknowledgement, and of everything else that the system has
    /// not taken yet.
    pub fn unsent_bytes(&self) -> usize {
        self.outbox.payload_bytes() + self.tx.len().saturating_sub(self.copies as usize)
    }

    /// Counters.
    pub fn stats(&self) -> Stats {
        let Volume { packets_in, packets_out, bytes_in, bytes_out } = self.volume;
        let Messages { received, accepted, dropped } = *self.counts;
        Stats {
            packets_in,
            packets_out,
            bytes_in,
            bytes_out,
            messages_in: received,
            messages_out: accepted,
            dropped,
        }
    }

    /// Packets that came, from the beginning on.
    #[inline]
    pub fn packets_in(&self) -> u64 {
        self.volume.packets_in
    }

    /// Packet ids in use: of messages under way and of requests without their answer.
    pub fn ids_in_use(&self) -> usize {
        self.ids.len()
    }

    // Bounds.

    /// A message comes to those that wait for a connection, of which there may be `max`: fewer than before, perhaps.
    fn make_room(&mut self, max: usize) -> Result<(), Refused> {
        if max == 0 {
            return Err(Refused::NotConnected);
        }
        while self.outbox.waiting() >= max
            && let Some(oldest) = self.outbox.first_waiting()
        {
            tracing::warn!(target: "mqtt", "{max} messages wait for a connection: the oldest is dropped for a new one");
            self.give_up(oldest);
        }
        Ok(())
    }

    /// What counts against `max_queue`.
    #[inline]
    fn queued_cost(&self) -> usize {
        self.outbox.bytes()
            + self.message_bytes
            + (self.outbox.len() + self.messages as usize) * outbox::OVERHEAD
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
        self.outbox.shrink();
        self.received.shrink();
        self.tx.shrink();
        self.events.shrink();
    }
}

/// Neither buffers nor messages: they hold payloads, and CONNECT a password.
impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("state", &self.state)
            .field("pending", &self.pending())
            .field("unsent", &self.unsent())
            .field("ids_in_use", &self.ids_in_use())
            .field("timers", &self.timers)
            .finish_non_exhaustive()
    }
}
