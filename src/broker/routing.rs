//! From one message to its receivers: the other half of [`Router`].

use std::sync::Arc;

use bytes::Bytes;
use tracing::debug;

use super::router::Router;
use super::session::Message;
use super::subscriptions::Receiver;
use crate::codec::{Delivery, Kind, Publish, Qos, topic, v4};

/// A message that is being routed. It gets owners only where somebody keeps it: a QoS 0 message that is only passed on
/// is copied from one connection's input to the others' outputs and nowhere else.
pub(super) struct Routed<'a> {
    topic: &'a str,
    payload: &'a [u8],
    qos: Qos,
    retain: bool,
    shared: Option<(Arc<str>, Bytes)>,
}

impl<'a> From<&Publish<'a>> for Routed<'a> {
    fn from(publish: &Publish<'a>) -> Routed<'a> {
        let Publish { topic, payload, retain, .. } = *publish;
        Routed { topic, payload, qos: publish.delivery.qos(), retain, shared: None }
    }
}

impl<'a> From<&'a Message> for Routed<'a> {
    fn from(message: &'a Message) -> Routed<'a> {
        let Message { topic, payload, qos, retain } = message;
        let shared = Some((topic.clone(), payload.clone()));
        Routed { topic, payload, qos: *qos, retain: *retain, shared }
    }
}

impl Routed<'_> {
    /// Topic and payload with an owner.
    pub(super) fn shared(&mut self) -> (Arc<str>, Bytes) {
        let (topic, payload) = (self.topic, self.payload);
        self.shared.get_or_insert_with(|| (topic.into(), Bytes::copy_from_slice(payload))).clone()
    }

    fn message(&mut self, qos: Qos, retain: bool) -> Message {
        let (topic, payload) = self.shared();
        Message { topic, payload, qos, retain }
    }
}

impl Router {
    /// Brings a message to everybody who subscribed to it, and retains it if it says so.
    pub(super) fn route(&mut self, routed: &mut Routed<'_>) {
        if routed.retain && routed.payload.is_empty() {
            // [MQTT-3.3.1-10], [MQTT-3.3.1-11]
            self.retained.remove(routed.topic);
        } else if routed.retain {
            let message = routed.message(routed.qos, true);
            self.retained.insert(message.topic.clone(), message);
        }

        let mut receivers: Vec<Receiver> = Vec::new();
        let sessions = &self.sessions;
        let online = |session: usize| sessions[session].link.is_some();
        self.subscriptions.matching(routed.topic, online, |receiver| receivers.push(receiver));
        self.merge(&mut receivers);
        for receiver in receivers {
            // The flag is for messages that were kept [MQTT-3.3.1-9].
            self.deliver(receiver.session, routed, receiver.qos, false);
        }
    }

    /// Sends a session the retained messages that match a filter. Shared subscriptions get none.
    pub(super) fn send_retained(&mut self, session: usize, filter: &str, qos: Qos) {
        if topic::shared(filter).is_some() {
            return;
        }
        let messages: Vec<Message> = match filter.contains(['+', '#']) {
            false => self.retained.get(filter).cloned().into_iter().collect(),
            true => {
                let matching =
                    self.retained.values().filter(|message| topic::matches(filter, &message.topic));
                matching.cloned().collect()
            }
        };
        for message in &messages {
            self.deliver(session, &mut message.into(), qos, true);
        }
    }

    /// A session whose filters overlap gets a message once, with the highest of their QoS \[MQTT-3.3.5-1\].
    fn merge(&mut self, receivers: &mut Vec<Receiver>) {
        self.routed += 1;
        let mut kept = 0;
        for index in 0..receivers.len() {
            let receiver = receivers[index];
            let reached = &mut self.sessions[receiver.session].reached;
            if receiver.shared {
                // Is another copy.
            } else if reached.0 == self.routed {
                let first = &mut receivers[reached.1];
                first.qos = first.qos.max(receiver.qos);
                continue;
            } else {
                *reached = (self.routed, kept);
            }
            receivers[kept] = receiver;
            kept += 1;
        }
        receivers.truncate(kept);
    }

    /// Sends one session a message, at the lower of its QoS and that of the subscription.
    fn deliver(&mut self, session: usize, routed: &mut Routed<'_>, qos: Qos, retain: bool) {
        let qos = qos.min(routed.qos);
        let state = &mut self.sessions[session];
        let link = state.link.map(|link| &mut self.links[link]);
        let sent = match (qos, link) {
            (Qos::AtMostOnce, None) => return,
            (Qos::AtMostOnce, Some(link)) => {
                let Routed { topic, payload, .. } = *routed;
                let publish = Publish { dup: false, delivery: Delivery::AtMostOnce, retain, topic, payload };
                let room = link.has_room();
                if room {
                    link.send(Kind::Publish, |out| v4::publish(out, &publish));
                }
                room
            }
            (_, link) => state.send(link, routed.message(qos, retain), self.limits),
        };
        if !sent {
            debug!("a message for client {:?} is dropped: it is too slow", state.client);
            self.dropped += 1;
        }
    }
}
