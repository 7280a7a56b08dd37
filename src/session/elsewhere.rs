//! A change of broker: what is left of the session with one of them while another is spoken to.
//!
//! Packet ids belong to the session with a broker. After a move nothing goes on where it stood: messages that are not done
//! are published afresh. But the broker that was left still counts on some ids, and may keep its side for the day we return:
//! it must not hear our new QoS 2 message under an id that it takes for a repetition, nor may we take its repetition
//! for something new.

use std::num::NonZeroU32;

use super::Session;
use super::ids::IdMap;
use super::on_demand::{Blank, OnDemand};
use super::outbox::State as EntryState;
use super::transmit::Kind;
use crate::codec::{PacketId, Qos, v4};

/// So many brokers that were left are remembered, if there is anything to remember.
const MOST: usize = 8;

/// Where the session is, and what it left elsewhere.
#[derive(Default)]
pub(super) struct Elsewhere {
    /// One more than the number of the broker of the last accepted connection. (An `Option<u32>` would be twice as large.)
    here: Option<NonZeroU32>,
    /// The one that the next connection is to.
    next: u32,
    /// By broker, oldest first.
    left: OnDemand<Vec<(u32, Left)>>,
}

impl Blank for Vec<(u32, Left)> {
    const BLANK: Self = Vec::new();
    const SHOWN: &'static Self = &Vec::new();

    fn is_blank(&self) -> bool {
        self.is_empty()
    }
}

/// What a broker that was left may still count on.
pub(super) struct Left {
    /// QoS 2 messages of its own whose PUBREL has not come.
    received: OnDemand<IdMap>,
    /// Ids of ours that it has seen a QoS 2 PUBLISH of and, as far as we know, no end.
    unfinished: Vec<PacketId>,
}

impl Session {
    /// Which broker the next connection is to. Those with the same number share one session; at first it is 0.
    pub fn set_broker(&mut self, broker: u32) {
        self.elsewhere.next = broker;
    }

    /// A broker accepted the connection: if it is another one than before, notes what is left there, and gives what was
    /// left here earlier.
    pub(super) fn arrive(&mut self) -> Option<Left> {
        let Elsewhere { here, next, left } = &mut self.elsewhere;
        let before = here.replace(NonZeroU32::MIN.saturating_add(*next))?.get() - 1;
        if before == *next {
            return None;
        }
        let at = left.iter().position(|(broker, _)| broker == next);
        let nothing = || Left { received: OnDemand::new(), unfinished: Vec::new() };
        let found = at.map_or_else(nothing, |at| left.remove(at).1);
        let mut unfinished = Vec::new();
        self.outbox.for_each(|entry| {
            let seen = entry.state() == EntryState::Released || entry.dup;
            unfinished.extend(entry.id.filter(|_| seen && entry.qos == Qos::ExactlyOnce));
        });
        let received = std::mem::take(&mut self.received);
        if received.len() > 0 || !unfinished.is_empty() {
            if left.len() == MOST {
                left.remove(0);
            }
            left.push((before, Left { received, unfinished }));
        }
        Some(found)
    }

    /// The broker has kept its side of what was left here: its ids are ended, ours are known again. PUBCOMP finds nothing
    /// that waits for it, and needs nothing.
    pub(super) fn return_to(&mut self, left: Left) {
        self.received = left.received;
        for id in left.unfinished {
            self.send(Kind::Control, |out| v4::pubrel(out, id));
        }
    }
}
