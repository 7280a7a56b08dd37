//! Bytes on their way to the socket, and what becomes of the session as the system takes them.
//!
//! ```text
//!            sent            lent to the writer              still here
//!   ...................|===========================|=======================|
//!                            `lent` bytes               buffer[head..]
//!                      |<------------------- marks ------------------------>|
//! ```
//! A mark stands for a packet, so that a QoS 0 publish is done exactly when the system has taken its last byte. Answers in
//! a row share one, and so do messages of one size whose end nobody waits for: a burst costs no memory and its end no
//! walk.

use std::collections::VecDeque;

use super::event::Token;
use super::on_demand::Blank;
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
    /// Bytes of one.
    len: u32,
    /// How many there are, one behind the other.
    count: u32,
    kind: Kind,
}

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

impl Blank for Transmit {
    const BLANK: Transmit = Transmit::new();
    const SHOWN: &'static Transmit = &Transmit::new();

    fn is_blank(&self) -> bool {
        self.len() == 0
    }
}

impl Transmit {
    pub(super) const fn new() -> Transmit {
        Transmit { buffer: Vec::new(), head: 0, lent: 0, marks: VecDeque::new(), partial: 0 }
    }

    /// Where a packet is encoded; to be followed by [`Transmit::mark`].
    #[inline]
    pub(super) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// Says what has been appended since `start`, the buffer's length before.
    #[inline]
    pub(super) fn mark(&mut self, start: usize, kind: Kind) {
        let len = (self.buffer.len() - start) as u32;
        if let Some(last) = self.marks.back_mut()
            && last.kind == kind
        {
            if kind == Kind::Reply && last.len < RUN {
                last.len += len;
                return;
            }
            if kind == Kind::Message(Token::NONE) && last.len == len && last.count < u32::MAX {
                last.count += 1;
                return;
            }
        }
        self.marks.push_back(Mark { len, count: 1, kind });
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
        if self.head > 0 {
            self.buffer.drain(..self.head);
            self.head = 0;
        }
        // under load the two take turns: new memory for each would cost more than encrypting it does
        if spare.capacity() > KEEP.max(2 * self.buffer.capacity()) {
            *spare = Vec::new();
        }
        self.lent = self.buffer.len();
        std::mem::swap(&mut self.buffer, spare);
    }

    /// The system took `n` more bytes: calls `done` for the packets that are complete by that, with the size of one and
    /// how many of it.
    #[inline]
    pub(super) fn advance(&mut self, n: usize, mut done: impl FnMut(Kind, usize, usize)) {
        debug_assert!(n <= self.len(), "more sent than there was");
        if self.lent > 0 {
            debug_assert!(n <= self.lent, "more sent than the writer had");
            self.lent -= n.min(self.lent);
        } else {
            self.head += n;
        }
        if self.head == self.buffer.len() && self.lent == 0 {
            self.head = 0;
            self.buffer.clear();
            if self.buffer.capacity() > KEEP {
                self.buffer = Vec::new();
            }
        }
        self.partial += n;
        while let Some(mark) = self.marks.front_mut()
            && self.partial >= mark.len as usize
        {
            let len = mark.len as usize;
            let count = if mark.count == 1 { 1 } else { (self.partial / len).min(mark.count as usize) };
            self.partial -= count * len;
            done(mark.kind, len, count);
            mark.count -= count as u32;
            if mark.count == 0 {
                self.marks.pop_front();
            }
        }
    }

    /// Before [`Transmit::clear`]: `n` more bytes may have been sent.
    pub(super) fn begin(&mut self, n: usize) {
        debug_assert!(n <= self.lent, "more begun than the writer had");
        self.partial += n;
    }

    /// The connection is gone: forgets everything, telling of each packet that was not wholly sent whether its first
    /// byte may have been.
    pub(super) fn clear(&mut self, mut lost: impl FnMut(Kind, bool)) {
        let mut begun = self.partial;
        for mark in self.marks.drain(..) {
            for _ in 0..mark.count {
                lost(mark.kind, begun > 0);
                begun = begun.saturating_sub(mark.len as usize);
            }
        }
        *self = Transmit::new();
    }

    /// Drops what is waiting of QoS 0, keeps the rest in order; for a goodbye that shall not wait for messages. Bytes
    /// that are lent or begun stay.
    pub(super) fn drop_messages(&mut self, mut lost: impl FnMut(Token, usize)) {
        let mut at = 0; // offset of a mark's first byte from the first unsent byte, may start before it
        let (lent, partial, head) = (self.lent, self.partial, self.head);
        let old = std::mem::take(&mut self.buffer);
        let mut kept = Vec::with_capacity((old.len() - head).min(KEEP));
        let one_by_one = |mark: Mark| std::iter::repeat_n(Mark { count: 1, ..mark }, mark.count as usize);
        self.marks = std::mem::take(&mut self.marks).into_iter().flat_map(one_by_one).collect();
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
        let mut tx = Transmit::new();
        put(&mut tx, b"ab", Kind::Control);
        put(&mut tx, b"cde", Kind::Message(Token(1)));
        let mut done = Vec::new();
        for n in 1..=5 {
            tx.advance(1, |kind, len, _| done.push((n, kind, len)));
        }
        assert_eq!(done, [(2, Kind::Control, 2), (5, Kind::Message(Token(1)), 3)]);
        assert_eq!(tx.len(), 0);
    }

    #[test]
    fn messages_of_one_size_share_a_mark_and_are_done_one_by_one() {
        let mut tx = Transmit::new();
        for _ in 0..5 {
            put(&mut tx, b"abc", Kind::Message(Token::NONE));
        }
        put(&mut tx, b"abcd", Kind::Message(Token::NONE));
        assert_eq!(tx.marks.len(), 2);
        let mut done = Vec::new();
        for n in [2, 1, 7, 5, 4] {
            tx.advance(n, |_, len, count| done.push((n, len, count)));
        }
        assert_eq!(done, [(1, 3, 1), (7, 3, 2), (5, 3, 2), (4, 4, 1)]);

        for _ in 0..3 {
            put(&mut tx, b"abc", Kind::Message(Token::NONE));
        }
        tx.advance(1, |_, _, _| {});
        let mut lost = 0;
        tx.drop_messages(|_, len| lost += len);
        assert_eq!((lost, tx.waiting()), (6, &b"bc"[..]));
        put(&mut tx, b"xyz", Kind::Message(Token::NONE));
        let mut begun = Vec::new();
        tx.clear(|_, b| begun.push(b));
        assert_eq!(begun, [true, false]);
    }

    #[test]
    fn lent_bytes_come_before_waiting_ones() {
        let mut tx = Transmit::new();
        put(&mut tx, b"abc", Kind::Control);
        tx.advance(1, |_, _, _| {});
        let mut writer = Vec::new();
        tx.lend(&mut writer);
        put(&mut tx, b"de", Kind::Message(Token(2)));
        assert_eq!((writer.as_slice(), tx.len(), tx.waiting()), (&b"bc"[..], 4, &b""[..]));
        tx.advance(2, |_, _, _| {});
        assert_eq!(tx.waiting(), b"de");
    }

    #[test]
    fn buffers_take_turns_under_load_and_are_given_back_after_it() {
        let mut tx = Transmit::new();
        let mut writer = Vec::new();
        for _ in 0..3 {
            put(&mut tx, &[7; 3 * KEEP], Kind::Control);
            let had = writer.capacity();
            tx.lend(&mut writer);
            assert!(tx.buffer.capacity() == had && writer.capacity() >= 3 * KEEP);
            put(&mut tx, &[7; 3 * KEEP], Kind::Control);
            tx.advance(writer.len(), |_, _, _| {});
            writer.clear();
            tx.lend(&mut writer);
            tx.advance(writer.len(), |_, _, _| {});
            assert_eq!((tx.len(), tx.buffer.capacity()), (0, 0));
            writer.clear();
        }
        // much less than that was large
        put(&mut tx, b"ab", Kind::Control);
        tx.lend(&mut writer);
        assert!(tx.buffer.capacity() == 0 && writer == b"ab");
    }

    #[test]
    fn drop_messages_keeps_what_was_begun_and_what_is_no_message() {
        let mut tx = Transmit::new();
        put(&mut tx, b"11", Kind::Message(Token(1)));
        put(&mut tx, b"cc", Kind::Control);
        put(&mut tx, b"22", Kind::Message(Token(2)));
        put(&mut tx, b"dd", Kind::Control);
        tx.advance(1, |_, _, _| {});
        let mut lost = Vec::new();
        tx.drop_messages(|token, len| lost.push((token, len)));
        assert_eq!(lost, [(Token(2), 2)]);
        assert_eq!(tx.waiting(), b"1ccdd");
        let mut done = Vec::new();
        tx.advance(5, |kind, _, _| done.push(kind));
        assert_eq!(done, [Kind::Message(Token(1)), Kind::Control, Kind::Control]);
    }
}
