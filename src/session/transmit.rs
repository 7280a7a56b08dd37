//! Bytes on their way to the socket, and what becomes of the session as the system takes them.
//!
//! ```text
//!            sent            lent to the writer              still here
//!   ...................|===========================|=======================|
//!                            `lent` bytes               buffer[head..]
//!                      |<------------------- marks ------------------------>|
//! ```
//! A mark stands for a packet (answers in a row share one), so that a QoS 0 publish is done exactly when the system has
//! taken its last byte.

use std::collections::VecDeque;

use super::event::Token;
use crate::codec::PacketId;

/// Memory kept by an emptied buffer; above it, it is given back.
const KEEP: usize = 256 * 1024;

/// Answers in a row share a mark up to this many bytes.
const RUN: u32 = 4096;

/// What a run of bytes is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// CONNECT, subscriptions, pings.
    Control,
    /// Answers to packets of the broker.
    Reply,
    /// A QoS 0 publish, done when it is written.
    Message(Token),
    /// A copy of entry `entry` of the outbox, sent under `id`.
    Stored { entry: u32, id: PacketId },
}

#[derive(Clone, Copy, Debug)]
struct Mark {
    len: u32,
    kind: Kind,
}

#[derive(Default)]
pub(super) struct Transmit {
    buffer: Vec<u8>,
    /// Start of the unsent part of `buffer`.
    head: usize,
    /// Bytes that [`Transmit::lend`] gave away and that are not reported as sent yet; they come before `buffer`.
    lent: usize,
    /// The packets of the lent and the waiting bytes.
    marks: VecDeque<Mark>,
    /// How much of the first mark has been sent.
    partial: usize,
}

impl Transmit {
    /// Where a packet is encoded; to be followed by [`Transmit::mark`].
    #[inline]
    pub(super) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// Says what has been appended since `start`, the buffer's length before.
    #[inline]
    pub(super) fn mark(&mut self, start: usize, kind: Kind) {
        let len = (self.buffer.len() - start) as u32;
        if kind == Kind::Reply
            && let Some(Mark { len: last, kind: Kind::Reply }) = self.marks.back_mut()
            && *last < RUN
        {
            *last += len;
            return;
        }
        self.marks.push_back(Mark { len, kind });
    }

    /// Bytes not yet taken by the system.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.lent + self.buffer.len() - self.head
    }

    /// Whether the writer holds bytes.
    #[inline]
    pub(super) fn is_lent(&self) -> bool {
        self.lent > 0
    }

    /// What may be written next, when nothing is lent.
    #[inline]
    pub(super) fn waiting(&self) -> &[u8] {
        if self.lent == 0 { &self.buffer[self.head..] } else { &[] }
    }

    /// Exchanges the waiting bytes for an empty buffer.
    pub(super) fn lend(&mut self, spare: &mut Vec<u8>) {
        debug_assert!(self.lent == 0 && spare.is_empty(), "the writer still holds bytes");
        if spare.capacity() > KEEP {
            *spare = Vec::new();
        }
        if self.head > 0 {
            self.buffer.drain(..self.head);
            self.head = 0;
        }
        self.lent = self.buffer.len();
        std::mem::swap(&mut self.buffer, spare);
    }

    /// The system took `n` more bytes: calls `done` for each packet that is complete by that.
    #[inline]
    pub(super) fn advance(&mut self, n: usize, mut done: impl FnMut(Kind, usize)) {
        debug_assert!(n <= self.len(), "more sent than there was");
        if self.lent > 0 {
            debug_assert!(n <= self.lent, "more sent than the writer had");
            self.lent -= n.min(self.lent);
        } else {
            self.head += n;
            if self.head == self.buffer.len() {
                self.head = 0;
                self.buffer.clear();
                if self.buffer.capacity() > KEEP {
                    self.buffer = Vec::new();
                }
            }
        }
        self.partial += n;
        while let Some(mark) = self.marks.front()
            && self.partial >= mark.len as usize
        {
            self.partial -= mark.len as usize;
            done(mark.kind, mark.len as usize);
            self.marks.pop_front();
        }
    }

    /// The connection is gone: forgets everything, telling of each packet that was not wholly sent whether its first
    /// byte had been.
    pub(super) fn clear(&mut self, mut lost: impl FnMut(Kind, bool)) {
        let mut begun = self.partial > 0;
        for mark in self.marks.drain(..) {
            lost(mark.kind, begun);
            begun = false;
        }
        *self = Transmit::default();
    }

    /// Drops what is waiting of QoS 0, keeps the rest in order; for a goodbye that shall not wait for messages. Bytes
    /// that are lent or begun stay.
    pub(super) fn drop_messages(&mut self, mut lost: impl FnMut(Token, usize)) {
        let mut at = 0; // offset of a mark's first byte from the first unsent byte, may start before it
        let (lent, partial, head) = (self.lent, self.partial, self.head);
        let old = std::mem::take(&mut self.buffer);
        let mut kept = Vec::with_capacity((old.len() - head).min(KEEP));
        self.marks.retain(|mark| {
            let (start, end) = (at, at + mark.len as usize);
            at = end;
            // In bytes still here: the part of the packet behind what was sent or lent.
            let from = start.max(partial + lent) - partial - lent;
            let to = end.saturating_sub(partial + lent);
            let untouched = start >= partial + lent;
            if let Kind::Message(token) = mark.kind
                && untouched
            {
                lost(token, mark.len as usize);
                return false;
            }
            if to > from {
                kept.extend_from_slice(&old[head + from..head + to]);
            }
            true
        });
        self.buffer = kept;
        self.head = 0;
    }

    /// Gives back memory that holds nothing.
    pub(super) fn shrink(&mut self) {
        if self.len() == 0 {
            *self = Transmit::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(tx: &mut Transmit, bytes: &[u8], kind: Kind) {
        let start = tx.buffer().len();
        tx.buffer().extend_from_slice(bytes);
        tx.mark(start, kind);
    }

    #[test]
    fn a_message_is_done_with_its_last_byte() {
        let mut tx = Transmit::default();
        put(&mut tx, b"ab", Kind::Control);
        put(&mut tx, b"cde", Kind::Message(Token(1)));
        let mut done = Vec::new();
        for n in 1..=5 {
            tx.advance(1, |kind, len| done.push((n, kind, len)));
        }
        assert_eq!(done, [(2, Kind::Control, 2), (5, Kind::Message(Token(1)), 3)]);
        assert_eq!(tx.len(), 0);
    }

    #[test]
    fn lent_bytes_come_before_waiting_ones() {
        let mut tx = Transmit::default();
        put(&mut tx, b"abc", Kind::Control);
        tx.advance(1, |_, _| {});
        let mut writer = Vec::new();
        tx.lend(&mut writer);
        put(&mut tx, b"de", Kind::Message(Token(2)));
        assert_eq!((writer.as_slice(), tx.len(), tx.waiting()), (&b"bc"[..], 4, &b""[..]));
        tx.advance(2, |_, _| {});
        assert_eq!(tx.waiting(), b"de");
    }

    #[test]
    fn drop_messages_keeps_what_was_begun_and_what_is_no_message() {
        let mut tx = Transmit::default();
        put(&mut tx, b"11", Kind::Message(Token(1)));
        put(&mut tx, b"cc", Kind::Control);
        put(&mut tx, b"22", Kind::Message(Token(2)));
        put(&mut tx, b"dd", Kind::Control);
        tx.advance(1, |_, _| {});
        let mut lost = Vec::new();
        tx.drop_messages(|token, len| lost.push((token, len)));
        assert_eq!(lost, [(Token(2), 2)]);
        assert_eq!(tx.waiting(), b"1ccdd");
        let mut done = Vec::new();
        tx.advance(5, |kind, _| done.push(kind));
        assert_eq!(done, [Kind::Message(Token(1)), Kind::Control, Kind::Control]);
    }
}
