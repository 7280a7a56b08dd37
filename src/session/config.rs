//! What a session is made with, and what it counts.

use super::on_demand::Blank;
use crate::codec::Qos;

/// Bounds of a session.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes accepted and not done, bookkeeping included; a single message larger than that is accepted when nothing
    /// else waits.
    pub max_queue: usize,
    /// QoS 1 and 2 messages under way at once; 0 counts as 1.
    pub inflight: u16,
    /// The largest packet delivered whole; see [`Event::Overflow`](super::Event::Overflow).
    pub max_packet: Option<u32>,
    /// The QoS of messages and subscriptions of ours is lowered to this.
    pub max_qos: Qos,
    /// QoS 1 and 2 messages that may wait without a connection and have never been sent. One more drops the oldest of
    /// them; with 0 none may. None: only bytes are bounded.
    pub max_waiting: Option<u32>,
}

impl Limits {
    /// [`max_packet`](Self::max_packet) as a size.
    pub(super) fn max_packet(&self) -> Option<usize> {
        self.max_packet.map(|bytes| bytes as usize)
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            max_queue: 64 << 20,
            inflight: 100,
            max_packet: None,
            max_qos: Qos::ExactlyOnce,
            max_waiting: None,
        }
    }
}

/// What does not change while a session lives.
#[derive(Clone, Copy, Debug, Default)]
pub struct Config {
    /// Bounds.
    pub limits: Limits,
    /// Which connections subscriptions are renewed on.
    pub resubscribe: Resubscribe,
    /// QoS 1 and 2 messages are accepted at any time and kept until they are delivered, whatever connections there are
    /// and however they end.
    pub keep_messages: bool,
}

/// Which connections subscriptions are renewed on, before anything that waits is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Resubscribe {
    /// None.
    #[default]
    Never,
    /// Those whose session the broker did not keep. What it refused once is not asked for again.
    NewSession,
    /// All. Then calls are also accepted without a connection, for the next; nobody hears how those end.
    Always,
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

/// What of the [`Stats`] every connection has to count.
#[derive(Default)]
pub(super) struct Volume {
    pub(super) packets_in: u64,
    pub(super) packets_out: u64,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
}

/// The rest of the [`Stats`], which an idle client has no need of.
#[derive(PartialEq)]
pub(super) struct Messages {
    pub(super) received: [u64; 3],
    pub(super) accepted: [u64; 3],
    pub(super) dropped: u64,
}

impl Blank for Messages {
    const BLANK: Messages = Messages { received: [0; 3], accepted: [0; 3], dropped: 0 };
    const SHOWN: &'static Messages = &Messages::BLANK;

    fn is_blank(&self) -> bool {
        *self == Messages::BLANK
    }
}
