//! [`Session`]: what the broker remembers of one client, and the messages that are on their way to it.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use super::link::Link;
use crate::codec::{Delivery, Kind, PacketId, Publish, Qos, v4};

/// A message with an owner: its parts are shared by all that keep it.
#[derive(Clone)]
pub(super) struct Message {
    pub(super) topic: Arc<str>,
    pub(super) payload: Bytes,
    pub(super) qos: Qos,
    pub(super) retain: bool,
}

/// The state of one client.
pub(super) struct Session {
    pub(super) client: Arc<str>,
    /// It ends with its connection.
    pub(super) clean: bool,
    /// The connection that serves it.
    pub(super) link: Option<usize>,
    pub(super) will: Option<Message>,
    pub(super) subscriptions: BTreeMap<String, Qos>,
    /// QoS 2 PUBLISHes that were passed on and that the client has not released: what comes with these ids is the
    /// same message again.
    pub(super) unreleased: HashSet<PacketId>,
    /// The number of the message that reached this session last, and where the session stands among its receivers.
    pub(super) reached: (u64, usize),
    /// In the order of their first sending. Invariant: no id twice.
    in_flight: VecDeque<InFlight>,
    /// Invariant: empty unless the client is away or `in_flight` is full.
    queue: VecDeque<Message>,
    next_id: PacketId,
}

struct InFlight {
    id: PacketId,
    message: Message,
    /// PUBREC arrived: from now on PUBREL is what is repeated.
    released: bool,
}

/// How many messages are kept for one client.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) in_flight: usize,
    pub(super) queue: usize,
}

impl Session {
    pub(super) fn new(client: Arc<str>, clean: bool) -> Session {
        Session {
            client,
            clean,
            link: None,
            will: None,
            subscriptions: BTreeMap::new(),
            unreleased: HashSet::new(),
            reached: (0, 0),
            in_flight: VecDeque::new(),
            queue: VecDeque::new(),
            next_id: PacketId::MIN,
        }
    }

    /// Sends a QoS 1 or 2 message, now or when it is its turn. False: there are too many already.
    #[must_use]
    pub(super) fn send(&mut self, link: Option<&mut Link>, message: Message, limits: Limits) -> bool {
        debug_assert!(message.qos != Qos::AtMostOnce);
        match link {
            Some(link) if self.in_flight.len() < limits.in_flight => self.send_first(link, message),
            _ if self.queue.len() < limits.queue => self.queue.push_back(message),
            _ => return false,
        }
        true
    }

    /// Repeats what was in flight when the client went [MQTT-4.4.0-1], then sends what came meanwhile.
    pub(super) fn resume(&mut self, link: &mut Link, limits: Limits) {
        for InFlight { id, message, released } in &self.in_flight {
            match released {
                true => link.send(Kind::Pubrel, |out| v4::pubrel(out, *id)),
                false => send_publish(link, *id, message, true),
            }
        }
        self.send_queued(link, limits);
    }

    /// PUBACK arrived.
    pub(super) fn acknowledged(&mut self, id: PacketId, link: &mut Link, limits: Limits) {
        self.done(id, link, limits, |message| message.message.qos == Qos::AtLeastOnce);
    }

    /// PUBREC arrived. It is answered whether or not the id is known, so that the client can forget it.
    pub(super) fn received(&mut self, id: PacketId, link: &mut Link) {
        if let Some(index) = self.find(id)
            && self.in_flight[index].message.qos == Qos::ExactlyOnce
        {
            self.in_flight[index].released = true;
        }
        link.send(Kind::Pubrel, |out| v4::pubrel(out, id));
    }

    /// PUBCOMP arrived.
    pub(super) fn completed(&mut self, id: PacketId, link: &mut Link, limits: Limits) {
        self.done(id, link, limits, |message| message.released);
    }

    fn done(&mut self, id: PacketId, link: &mut Link, limits: Limits, fits: impl Fn(&InFlight) -> bool) {
        if let Some(index) = self.find(id)
            && fits(&self.in_flight[index])
        {
            self.in_flight.remove(index);
            self.send_queued(link, limits);
        }
    }

    fn send_queued(&mut self, link: &mut Link, limits: Limits) {
        while self.in_flight.len() < limits.in_flight
            && let Some(message) = self.queue.pop_front()
        {
            self.send_first(link, message);
        }
    }

    fn send_first(&mut self, link: &mut Link, message: Message) {
        let id = self.unused_id();
        send_publish(link, id, &message, false);
        self.in_flight.push_back(InFlight { id, message, released: false });
    }

    fn unused_id(&mut self) -> PacketId {
        // Ends: far fewer than 65,535 messages are in flight.
        loop {
            let id = self.next_id;
            self.next_id = id.next();
            if self.find(id).is_none() {
                return id;
            }
        }
    }

    /// Clients acknowledge in order, mostly: the search ends at the front.
    fn find(&self, id: PacketId) -> Option<usize> {
        self.in_flight.iter().position(|message| message.id == id)
    }
}

fn send_publish(link: &mut Link, id: PacketId, message: &Message, dup: bool) {
    let delivery = match message.qos {
        Qos::AtMostOnce => Delivery::AtMostOnce,
        Qos::AtLeastOnce => Delivery::AtLeastOnce(id),
        Qos::ExactlyOnce => Delivery::ExactlyOnce(id),
    };
    let Message { topic, payload, retain, .. } = message;
    let publish = Publish { dup, delivery, retain: *retain, topic, payload };
    link.send(Kind::Publish, |out| v4::publish(out, &publish));
}
