//! What happened, in order: [`Events`], an arena that is filled on the thread that reads and emptied by whoever
//! runs callbacks.
//!
//! Topics and payloads are appended to one byte buffer, or stay in the buffer that they were read into, and events are
//! appended to one list, so that a message costs no allocation; a consumer swaps the whole arena for an empty one
//! ([`Events::swap`]) and walks it without a lock.

use std::fmt;

use super::chunks::Chunks;
use super::event::{Event, Granted, Token};
use crate::codec::{PacketId, Qos, suback_code};

/// An ordered batch of events.
#[derive(Default)]
pub struct Events {
    /// Read position in `records`: everything before it has been taken.
    next: usize,
    records: Vec<Record>,
    /// What the records refer to …
    bytes: Vec<u8>,
    /// … and what those of messages refer to that stay where they were read to. Boxed, as seldom so much comes at once.
    chunks: Option<Box<Chunks>>,
}

/// Bookkeeping that a record costs beside its bytes, for [`Events::weight`].
const RECORD: usize = size_of::<Record>();

/// The fixed-size part of an event. `at` is an offset into the arena's bytes, or with `STAYS` a place in its chunks; a topic
/// of `topic` bytes stands there and `len` bytes of payload follow it, with `GAP` after a packet id.
#[derive(Clone, Copy, Debug)]
enum Record {
    Connected {
        session_present: bool,
    },
    ConnectFailed {
        reason: i8,
        at: u32,
        len: u32,
    },
    Attempt {
        profile: u16,
    },
    AttemptFailed {
        reason: i8,
        at: u32,
        len: u32,
    },
    Offline,
    CredentialsWanted,
    ConnectWanted {
        profile: u16,
    },
    Tick,
    Message {
        at: u32,
        topic: u16,
        id: Option<PacketId>,
        flags: u8,
        len: u32,
    },
    /// `count` QoS 0 publishes without a token, done one after the other.
    Written {
        count: u32,
    },
    Published {
        id: Option<PacketId>,
        token: Token,
    },
    Subscribed {
        id: PacketId,
        token: Token,
        at: u32,
        len: u32,
    },
    Unsubscribed {
        id: PacketId,
        token: Token,
    },
    Dropped {
        token: Token,
    },
    Drained,
}

/// The flags of [`Record::Message`]: its QoS, and these. In one byte they keep a record at 16.
const QOS: u8 = 0b011;
const RETAIN: u8 = 1 << 2;
const DUP: u8 = 1 << 3;
const OVERFLOW: u8 = 1 << 4;
const STAYS: u8 = 1 << 5;
const GAP: u8 = 1 << 6;

const _: () = assert!(RECORD == 16);

/// Whether memory is kept for the next batch: not so much that it would be held for ever, and not what was hardly used.
fn worth_keeping(used: usize, capacity: usize) -> bool {
    const ALWAYS: usize = 16 << 10;
    const TOO_MUCH: usize = 1 << 20;
    capacity <= TOO_MUCH && (capacity <= ALWAYS || used >= capacity / 8)
}

impl Events {
    /// An empty batch.
    pub const fn new() -> Events {
        Events { next: 0, records: Vec::new(), bytes: Vec::new(), chunks: None }
    }

    /// Whether everything has been taken.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.next == self.records.len()
    }

    /// Whether all that waits to be taken is the ends of QoS 0 publishes without a token.
    #[inline]
    pub fn is_only_written(&self) -> bool {
        matches!(self.records[self.next..], [Record::Written { .. }])
    }

    /// How many bytes of memory are in use, bookkeeping included: what back-pressure measures.
    #[inline]
    pub fn weight(&self) -> usize {
        let chunks = self.chunks.as_ref().map_or(0, |chunks| chunks.size());
        self.bytes.len() + chunks + self.records.len() * RECORD
    }

    /// Exchanges `self`, which is a client's, and `other`, which must have been emptied and is cleared for new events. The
    /// client, which may go quiet, gets no memory that is as quickly allocated anew as it would hold it for nothing.
    pub fn swap(&mut self, other: &mut Events) {
        const TOO_LITTLE: usize = 512;
        debug_assert!(other.is_empty(), "events would be lost");
        other.clear();
        if other.bytes.capacity() <= TOO_LITTLE {
            other.bytes = Vec::new();
        }
        if other.records.capacity() * RECORD <= TOO_LITTLE {
            other.records = Vec::new();
        }
        std::mem::swap(self, other);
    }

    /// Borrows the memory of `other`, which is empty, until [`hand_over`](Self::hand_over). Whether it has: not if there is
    /// more already than the ends of publishes without a token.
    pub fn borrow(&mut self, other: &mut Events) -> bool {
        debug_assert!(other.is_empty(), "events would be lost");
        let is_simple = self.is_empty() || self.is_only_written();
        if is_simple {
            other.clear();
            other.records.extend_from_slice(&self.records[self.next..]);
            self.clear();
            std::mem::swap(self, other);
        }
        is_simple
    }

    /// Gives `other` its memory back, with all events in it.
    pub fn hand_over(&mut self, other: &mut Events) {
        std::mem::swap(self, other);
    }

    /// Forgets everything; keeps its memory while that is worth keeping.
    pub fn clear(&mut self) {
        self.next = 0;
        if !worth_keeping(self.bytes.len(), self.bytes.capacity()) {
            self.bytes = Vec::new();
        }
        if !worth_keeping(self.records.len() * RECORD, self.records.capacity() * RECORD) {
            self.records = Vec::new();
        }
        self.records.clear();
        self.bytes.clear();
        if let Some(chunks) = self.chunks.take() {
            chunks.recycle();
        }
    }

    /// Gives all memory back: for a client that has gone quiet.
    pub fn shrink(&mut self) {
        if self.is_empty() {
            *self = Events::new();
        }
    }

    /// Takes the oldest event.
    #[inline]
    pub fn pop(&mut self) -> Option<Event<'_>> {
        if let Some(id) = self.pop_published() {
            return Some(Event::Published { id, token: Token::NONE });
        }
        let record = self.records.get(self.next)?;
        self.next += 1;
        let slice = |at: u32, len: u32| &self.bytes[at as usize..][..len as usize];
        Some(match *record {
            Record::Connected { session_present } => Event::Connected { session_present },
            Record::ConnectFailed { reason, at, len } => {
                Event::ConnectFailed { reason, detail: text(slice(at, len)) }
            }
            Record::Attempt { profile } => Event::Attempt { profile },
            Record::AttemptFailed { reason, at, len } => {
                Event::AttemptFailed { reason, detail: text(slice(at, len)) }
            }
            Record::Offline => Event::Offline,
            Record::CredentialsWanted => Event::CredentialsWanted,
            Record::ConnectWanted { profile } => Event::ConnectWanted { profile },
            Record::Tick => Event::Tick,
            Record::Message { at, topic, id, flags, len } => {
                let bytes = match &self.chunks {
                    Some(chunks) if flags & STAYS != 0 => chunks.at(at),
                    _ => &self.bytes[at as usize..],
                };
                let (topic, rest) = bytes.split_at(usize::from(topic));
                let payload = &rest[if flags & GAP == 0 { 0 } else { 2 }..][..len as usize];
                if flags & OVERFLOW != 0 {
                    Event::Overflow { topic, payload }
                } else {
                    let qos = Qos::new(flags & QOS).expect("put in by message");
                    let (retain, dup) = (flags & RETAIN != 0, flags & DUP != 0);
                    Event::Message { topic, payload, qos, retain, dup, id }
                }
            }
            Record::Written { .. } => unreachable!("taken above"),
            Record::Published { id, token } => Event::Published { id, token },
            Record::Subscribed { id, token, at, len } => {
                Event::Subscribed { id, token, granted: Granted { bytes: slice(at, len) } }
            }
            Record::Unsubscribed { id, token } => Event::Unsubscribed { id, token },
            Record::Dropped { token } => Event::Dropped { token },
            Record::Drained => Event::Drained,
        })
    }

    /// Takes the oldest event if it is the end of a publish without a token: the id of that. A short way past
    /// [`pop`](Self::pop), for what often comes in long rows.
    #[inline]
    pub fn pop_published(&mut self) -> Option<Option<PacketId>> {
        match self.records.get_mut(self.next)? {
            Record::Written { count } if *count > 1 => {
                *count -= 1;
                Some(None)
            }
            Record::Written { .. } => {
                self.next += 1;
                Some(None)
            }
            Record::Published { id, token: Token::NONE } => {
                self.next += 1;
                Some(*id)
            }
            _ => None,
        }
    }

    /// Forgets the ends of publishes without a token up to the next other event.
    pub fn skip_published(&mut self) {
        while let Some(Record::Written { .. } | Record::Published { token: Token::NONE, .. }) =
            self.records.get(self.next)
        {
            self.next += 1;
        }
    }

    /// Appends an event.
    #[inline]
    pub fn push(&mut self, event: Event<'_>) {
        let record = match event {
            Event::Message { topic, payload, qos, retain, dup, id } => {
                let flags = qos as u8 | if retain { RETAIN } else { 0 } | if dup { DUP } else { 0 };
                self.message(topic, payload, id, flags)
            }
            Event::Overflow { topic, payload } => self.message(topic, payload, None, OVERFLOW),
            Event::Published { id, token } => return self.push_published(id, token),
            Event::Connected { session_present } => Record::Connected { session_present },
            Event::ConnectFailed { reason, detail } => {
                let at = self.append(detail.as_bytes());
                Record::ConnectFailed { reason, at, len: detail.len() as u32 }
            }
            Event::Attempt { profile } => Record::Attempt { profile },
            Event::AttemptFailed { reason, detail } => {
                let at = self.append(detail.as_bytes());
                Record::AttemptFailed { reason, at, len: detail.len() as u32 }
            }
            Event::Offline => Record::Offline,
            Event::CredentialsWanted => Record::CredentialsWanted,
            Event::ConnectWanted { profile } => Record::ConnectWanted { profile },
            Event::Tick => Record::Tick,
            Event::Subscribed { id, token, granted } => {
                let at = self.append(granted.bytes);
                Record::Subscribed { id, token, at, len: granted.bytes.len() as u32 }
            }
            Event::Unsubscribed { id, token } => Record::Unsubscribed { id, token },
            Event::Dropped { token } => Record::Dropped { token },
            Event::Drained => Record::Drained,
        };
        self.records.push(record);
    }

    /// Appends the end of a publish that had an id, unless it was lowered to QoS 0.
    #[inline]
    pub(super) fn push_published(&mut self, id: Option<PacketId>, token: Token) {
        match id {
            Some(_) => self.records.push(Record::Published { id, token }),
            None => self.push_written(token, 1),
        }
    }

    /// Appends the end of `count` QoS 0 publishes, of which only a single one has a token.
    #[inline]
    pub(super) fn push_written(&mut self, token: Token, count: usize) {
        if token.is_some() {
            self.records.push(Record::Published { id: None, token });
        } else if let Some(Record::Written { count: before }) = self.records[self.next..].last_mut() {
            // a batch is emptied long before it has four billion
            *before = before.saturating_add(count as u32);
        } else {
            self.records.push(Record::Written { count: count as u32 });
        }
    }

    /// Appends the outcome of a SUBSCRIBE.
    pub fn push_subscribed<'a>(
        &mut self,
        id: PacketId,
        token: Token,
        granted: impl Iterator<Item = (&'a str, Option<Qos>)>,
    ) {
        let at = self.bytes.len() as u32;
        for (filter, qos) in granted {
            self.bytes.push(suback_code(qos)); // that of a refusal is no QoS
            self.bytes.extend_from_slice(&(filter.len() as u16).to_be_bytes());
            self.bytes.extend_from_slice(filter.as_bytes());
        }
        self.records.push(Record::Subscribed { id, token, at, len: self.bytes.len() as u32 - at });
    }

    /// The messages of packets in the `len` bytes at the address `begin` stay there, until
    /// [`keep_buffer`](Self::keep_buffer) is given the buffer that begins there.
    pub(super) fn leave_in(&mut self, begin: usize, len: usize) {
        self.chunks.get_or_insert_default().leave_in(begin, len);
    }

    /// Ends [`leave_in`](Self::leave_in): takes the buffer if messages are in it, and leaves one without memory.
    pub(super) fn keep_buffer(&mut self, buffer: &mut Vec<u8>) {
        if let Some(chunks) = &mut self.chunks {
            chunks.keep(buffer);
        }
    }

    #[inline]
    fn message(&mut self, topic: &[u8], payload: &[u8], id: Option<PacketId>, mut flags: u8) -> Record {
        let at = match self.chunks.as_mut().and_then(|chunks| chunks.place(topic)) {
            Some(place) => {
                // a packet: the payload follows the topic, at QoS 1 and 2 after the id
                let gap = payload.as_ptr().addr() - topic.as_ptr().addr() - topic.len();
                debug_assert!(gap == 0 || gap == 2);
                flags |= if gap == 0 { STAYS } else { STAYS | GAP };
                place
            }
            None => {
                self.bytes.reserve(topic.len() + payload.len());
                let at = self.append(topic);
                self.append(payload);
                at
            }
        };
        Record::Message { at, topic: topic.len() as u16, id, flags, len: payload.len() as u32 }
    }

    /// Appends bytes to the arena. Back-pressure keeps it far below the 4 GiB that an offset can name: it stops the
    /// reader long before, and one more packet is at most 256 MiB.
    #[inline]
    fn append(&mut self, bytes: &[u8]) -> u32 {
        let at = self.bytes.len();
        debug_assert!(at + bytes.len() <= u32::MAX as usize);
        self.bytes.extend_from_slice(bytes);
        at as u32
    }
}

/// How many, not which: they hold payloads.
impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Events({} records, {} B)", self.records.len() - self.next, self.bytes.len())
    }
}

/// What was written from a `str` and is read back.
#[inline]
fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("written from a str by push")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_out_as_they_went_in_and_in_order() {
        let message = Event::Message {
            topic: b"a/b",
            payload: b"x\0y",
            qos: Qos::ExactlyOnce,
            retain: true,
            dup: false,
            id: PacketId::new(9),
        };
        let mut events = Events::new();
        events.push(Event::Connected { session_present: true });
        events.push(message.clone());
        events.push(Event::Overflow { topic: b"big", payload: b"part" });
        events.push_subscribed(
            PacketId::MIN,
            Token(7),
            [("a/+", Some(Qos::AtLeastOnce)), ("no", None)].into_iter(),
        );
        events.push(Event::ConnectFailed { reason: -4, detail: "why" });

        assert_eq!(events.pop(), Some(Event::Connected { session_present: true }));
        assert_eq!(events.pop(), Some(message));
        assert_eq!(events.pop(), Some(Event::Overflow { topic: b"big", payload: b"part" }));
        let Some(Event::Subscribed { id: PacketId::MIN, token: Token(7), granted }) = events.pop() else {
            panic!("no suback")
        };
        assert_eq!(granted.collect::<Vec<_>>(), [("a/+", Some(Qos::AtLeastOnce)), ("no", None)]);
        assert_eq!(events.pop(), Some(Event::ConnectFailed { reason: -4, detail: "why" }));
        assert_eq!(events.pop(), None);
    }

    #[test]
    fn skipped_are_the_ends_that_nobody_waits_for_up_to_the_next_other_event() {
        let mut events = Events::new();
        events.push_written(Token::NONE, 3);
        events.push_published(PacketId::new(9), Token::NONE);
        events.push_written(Token(7), 1);
        events.push_written(Token::NONE, 2);
        events.push(Event::Drained);

        assert_eq!(events.pop(), Some(Event::Published { id: None, token: Token::NONE }));
        events.skip_published();
        assert_eq!(events.pop(), Some(Event::Published { id: None, token: Token(7) }));
        events.skip_published();
        assert_eq!(events.pop(), Some(Event::Drained));
        events.skip_published();
        assert!(events.is_empty());
    }

    #[test]
    fn borrowed_memory_goes_back_with_all_events() {
        const WARM: usize = 4096;
        let message = |topic| Event::Message {
            topic,
            payload: b"x",
            qos: Qos::AtMostOnce,
            retain: false,
            dup: false,
            id: None,
        };
        let written = Event::Published { id: None, token: Token::NONE };
        for (before, borrows) in [(None, true), (Some(written), true), (Some(message(b"old")), false)] {
            let mut taken = Events { bytes: Vec::with_capacity(WARM), ..Events::new() };
            taken.push(message(b"of the batch before"));
            assert!(taken.pop().is_some());
            let mut events = Events::new();
            before.iter().for_each(|before| events.push(before.clone()));
            assert_eq!(events.borrow(&mut taken), borrows);
            if !borrows {
                assert!(
                    matches!(events.pop(), Some(Event::Message { topic: b"old", .. })) && taken.is_empty()
                );
                continue;
            }
            events.push(message(b"new"));
            events.hand_over(&mut taken);
            let expected = before.into_iter().chain([message(b"new")]);
            for event in expected {
                assert_eq!(taken.pop(), Some(event));
            }
            assert!(events.is_empty() && taken.is_empty());
            assert!(events.bytes.capacity() == 0 && taken.bytes.capacity() == WARM);
        }
    }

    #[test]
    fn qos_0_completions_without_a_token_are_counted_not_listed() {
        let mut events = Events::new();
        for _ in 0..3 {
            events.push(Event::Published { id: None, token: Token::NONE });
        }
        assert!(events.is_only_written());
        events.push(Event::Published { id: None, token: Token(1) });
        assert_eq!(events.records.len(), 2);
        assert!(!events.is_only_written());
        for token in [0, 0, 0, 1] {
            assert_eq!(events.pop(), Some(Event::Published { id: None, token: Token(token) }));
        }
        assert!(events.is_empty());
    }
}
