//! What arrived: [`Received`], and the bounded log of it.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use super::routing::Routed;
use crate::codec::{PacketId, Publish, Qos};

/// A PUBLISH that a client sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// Who sent it.
    pub client: Arc<str>,
    /// Its topic.
    pub topic: Arc<str>,
    /// Its payload.
    pub payload: Bytes,
    /// Its QoS.
    pub qos: Qos,
    /// Its packet id.
    pub id: Option<PacketId>,
    /// Its retain flag.
    pub retain: bool,
    /// Its DUP flag.
    pub dup: bool,
    /// It was a QoS 2 message that had arrived before and was not passed on again.
    pub repeated: bool,
}

/// The last PUBLISHes that arrived.
pub(super) struct ReceivedLog {
    entries: VecDeque<Received>,
    /// Bytes of payload in `entries`.
    bytes: usize,
    max: usize,
}

impl ReceivedLog {
    pub(super) const fn new(max: usize) -> ReceivedLog {
        ReceivedLog { entries: VecDeque::new(), bytes: 0, max }
    }

    pub(super) fn push(
        &mut self,
        client: &Arc<str>,
        publish: &Publish<'_>,
        repeated: bool,
        routed: &mut Routed<'_>,
    ) {
        if self.max == 0 {
            return;
        }
        let (topic, payload) = routed.shared();
        self.bytes += payload.len();
        self.entries.push_back(Received {
            client: client.clone(),
            topic,
            payload,
            qos: publish.delivery.qos(),
            id: publish.delivery.id(),
            retain: publish.retain,
            dup: publish.dup,
            repeated,
        });
        while (self.entries.len() > self.max || self.bytes > MAX_BYTES)
            && let Some(oldest) = self.entries.pop_front()
        {
            self.bytes -= oldest.payload.len();
        }
    }

    pub(super) fn to_vec(&self) -> Vec<Received> {
        self.entries.iter().cloned().collect()
    }

    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.bytes = 0;
    }
}

/// More payload than this is not kept, however few messages it belongs to.
const MAX_BYTES: usize = 64 << 20;
