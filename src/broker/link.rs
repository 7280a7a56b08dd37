//! [`Link`]: the state that the broker and a connection's task share: output, its end, and the faults.
//!
//! The task polls it: for output to write, for leave to read, for the order to drop everything. Everybody else appends
//! output, sets faults and calls for the end, which wakes the task.

use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::faults::{Cut, Faults, Scope};
use crate::codec::Kind;

/// One connection, from its accept to the end of its task.
#[derive(Debug)]
pub(super) struct Link {
    /// The session that it serves, once CONNECT was accepted and until another connection takes it over.
    pub(super) session: Option<usize>,
    /// The longest silence of the client that is put up with.
    pub(super) patience: Option<Duration>,
    /// Everything that comes in is dropped (see [`super::OnConnect::Ignore`]).
    pub(super) ignoring: bool,
    pub(super) scope: Scope,
    /// The client's port.
    pub(super) port: u16,
    /// Bytes that came in, whether looked at or not.
    read: u64,
    faults: Faults,
    output: Vec<u8>,
    /// Bytes of output that the task has taken so far.
    taken: u64,
    /// When the task will write what it has taken, by the time of a test.
    pub(super) held_until: Option<Instant>,
    /// How much output there will be, taken bytes included. Output behind it is cut off.
    end: Option<u64>,
    /// No input is looked at any more; the connection ends when the output is written.
    finishing: bool,
    /// The connection ends now.
    closed: bool,
    /// Since the faults were set.
    bytes_in: u64,
    packets_in: u64,
    packets_out: u64,
    /// More output than this is a subscriber that is too slow.
    max_output: usize,
    waker: Option<Waker>,
}

/// What a connection's task is to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Output {
    /// Write these.
    Bytes,
    /// All is written.
    Finished,
}

impl Link {
    pub(super) fn new(scope: Scope, faults: Faults, max_output: usize, patience: Duration) -> Link {
        let mut link = Link {
            session: None,
            patience: Some(patience),
            ignoring: false,
            scope,
            port: 0,
            read: 0,
            faults: Faults::default(),
            output: Vec::new(),
            taken: 0,
            held_until: None,
            end: None,
            finishing: false,
            closed: false,
            bytes_in: 0,
            packets_in: 0,
            packets_out: 0,
            max_output,
            waker: None,
        };
        link.set_faults(scope, faults);
        link
    }

    pub(super) fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Gives the connection other faults, counting from now.
    pub(super) fn set_faults(&mut self, scope: Scope, faults: Faults) {
        (self.bytes_in, self.packets_in, self.packets_out) = (0, 0, 0);
        self.identify(scope, faults);
    }

    /// Gives the connection the faults of its client. Counts from the start of the connection: CONNECT is the first
    /// packet received.
    pub(super) fn identify(&mut self, scope: Scope, faults: Faults) {
        (self.scope, self.faults) = (scope, faults);
        if !self.finishing {
            self.end = match self.faults.cut {
                Some(Cut::BytesSent(count)) => Some(self.position() + count),
                _ => None,
            };
            self.finish_if_full();
        }
        // What the task waits for may have changed.
        self.wake();
    }

    /// Sends a packet: once, or as often as the faults say.
    #[inline]
    pub(super) fn send(&mut self, kind: Kind, encode: impl Fn(&mut Vec<u8>)) {
        for _ in 0..self.faults.copies(kind) {
            if self.is_ending() {
                return;
            }
            encode(&mut self.output);
            self.packets_out += 1;
            if self.faults.cut == Some(Cut::PacketsSent(self.packets_out)) {
                self.finish();
            }
        }
        self.finish_if_full();
        self.wake();
    }

    /// Sends bytes of any kind.
    pub(super) fn send_raw(&mut self, bytes: &Bytes) {
        if !self.is_ending() {
            self.output.extend_from_slice(bytes);
            self.finish_if_full();
            self.wake();
        }
    }

    /// Whether the client has taken enough of its output to be given more that it can do without.
    pub(super) fn has_room(&self) -> bool {
        self.output.len() < self.max_output
    }

    /// Ends the connection when what is in the output has been sent.
    pub(super) fn finish(&mut self) {
        if !self.finishing {
            self.finishing = true;
            self.end = Some(self.end.map_or(self.position(), |end| end.min(self.position())));
            self.wake();
        }
    }

    /// Drops the connection.
    pub(super) fn close(&mut self) {
        self.closed = true;
        self.wake();
    }

    /// How long the client may be silent. For ever while it is not listened to.
    pub(super) fn silence_allowed(&self) -> Option<Duration> {
        self.patience.filter(|_| !self.faults.deaf)
    }

    /// Whether input is no longer looked at.
    pub(super) fn is_ending(&self) -> bool {
        self.finishing || self.closed
    }

    /// The part of the input before the connection's end. To be followed by [`Link::packet_done`] for every packet
    /// and [`Link::input_done`] at its end.
    pub(super) fn admit<'a>(&mut self, input: &'a [u8]) -> &'a [u8] {
        let room = match self.faults.cut {
            Some(Cut::BytesReceived(count)) => count.saturating_sub(self.bytes_in),
            _ => u64::MAX,
        };
        let admitted = &input[..input.len().min(usize::try_from(room).unwrap_or(usize::MAX))];
        self.bytes_in += admitted.len() as u64;
        self.read += input.len() as u64;
        admitted
    }

    /// A packet was acted upon.
    #[inline]
    pub(super) fn packet_done(&mut self) {
        self.packets_in += 1;
        if matches!(self.faults.cut, Some(Cut::PacketsReceived(count)) if self.packets_in >= count) {
            self.finish();
        }
    }

    /// The admitted input was acted upon.
    pub(super) fn input_done(&mut self) {
        if matches!(self.faults.cut, Some(Cut::BytesReceived(count)) if self.bytes_in >= count) {
            self.finish();
        }
    }

    /// Waits until something is to be written, or the end. `buffer` is empty.
    pub(super) fn poll_output(&mut self, cx: &mut Context<'_>, buffer: &mut Vec<u8>) -> Poll<Output> {
        debug_assert!(buffer.is_empty());
        if !self.has_room() {
            // There will be room now, and reading may have stopped for want of it.
            cx.waker().wake_by_ref();
        }
        self.take_output(buffer);
        if !buffer.is_empty() {
            return Poll::Ready(Output::Bytes);
        }
        if self.end == Some(self.taken) {
            return Poll::Ready(Output::Finished);
        }
        self.register(cx);
        Poll::Pending
    }

    /// Appends what there is to be written.
    pub(super) fn take_output(&mut self, buffer: &mut Vec<u8>) {
        if let Some(end) = self.end {
            self.output.truncate(usize::try_from(end - self.taken).unwrap_or(usize::MAX));
        }
        self.taken += self.output.len() as u64;
        match buffer.is_empty() {
            true => std::mem::swap(&mut self.output, buffer),
            false => buffer.append(&mut self.output),
        }
    }

    /// Waits until input is wanted: not while the connection is deaf or ending, nor while the client leaves the
    /// answers to what it sent lying.
    pub(super) fn poll_input_wanted(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.faults.deaf && !self.is_ending() && self.has_room() {
            return Poll::Ready(());
        }
        self.register(cx);
        Poll::Pending
    }

    /// Waits until the connection is to be dropped.
    pub(super) fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.closed {
            return Poll::Ready(());
        }
        self.register(cx);
        Poll::Pending
    }

    /// Whoever polls is the connection's one task.
    fn register(&mut self, cx: &mut Context<'_>) {
        match &mut self.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
    }

    /// How much output there was so far.
    fn position(&self) -> u64 {
        self.taken + self.output.len() as u64
    }

    /// Whether a client that has sent so many bytes and acted upon so many would have to wait for another one's doing.
    pub(super) fn is_through(&self, sent: u64, received: u64, now: Option<Instant>) -> bool {
        let heard = self.read == sent || self.faults.deaf;
        let held = self.held_until.is_some_and(|until| now.is_some_and(|now| now < until));
        heard && (held || !self.is_ending() && self.position() == received)
    }

    fn finish_if_full(&mut self) {
        if self.end.is_some_and(|end| self.position() >= end) {
            self.finishing = true;
        }
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(cut: Cut) -> Link {
        let faults = Faults { cut: Some(cut), ..Faults::default() };
        Link::new(Scope::All, faults, 1 << 20, Duration::from_secs(1))
    }

    fn output(link: &mut Link) -> (Vec<u8>, Poll<Output>) {
        let mut context = Context::from_waker(Waker::noop());
        let (mut all, mut buffer) = (Vec::new(), Vec::new());
        loop {
            let polled = link.poll_output(&mut context, &mut buffer);
            if polled != Poll::Ready(Output::Bytes) {
                return (all, polled);
            }
            all.append(&mut buffer);
        }
    }

    fn send(link: &mut Link, bytes: &[u8]) {
        link.send(Kind::Publish, |out| out.extend_from_slice(bytes));
    }

    #[test]
    fn a_cut_after_bytes_sent_may_fall_inside_a_packet() {
        let mut link = link(Cut::BytesSent(5));
        send(&mut link, b"abc");
        assert_eq!(output(&mut link), (b"abc".to_vec(), Poll::Pending));
        send(&mut link, b"def");
        assert!(link.is_ending());
        send(&mut link, b"ghi");
        assert_eq!(output(&mut link), (b"de".to_vec(), Poll::Ready(Output::Finished)));
    }

    #[test]
    fn a_cut_after_packets_sent_falls_between_packets() {
        let mut link = link(Cut::PacketsSent(2));
        for packet in [b"abc", b"def", b"ghi"] {
            send(&mut link, packet);
        }
        assert_eq!(output(&mut link), (b"abcdef".to_vec(), Poll::Ready(Output::Finished)));
    }

    #[test]
    fn a_cut_after_bytes_received_hides_the_rest_of_the_input() {
        let mut link = link(Cut::BytesReceived(5));
        assert_eq!(link.admit(b"abc"), b"abc");
        link.input_done();
        assert!(!link.is_ending());
        assert_eq!(link.admit(b"def"), b"de");
        send(&mut link, b"answer");
        link.input_done();
        assert_eq!(output(&mut link), (b"answer".to_vec(), Poll::Ready(Output::Finished)));
    }

    #[test]
    fn a_running_connection_counts_from_the_moment_its_faults_are_set() {
        let mut link = link(Cut::PacketsReceived(2));
        link.packet_done();
        link.set_faults(Scope::Client, Faults { cut: Some(Cut::PacketsReceived(2)), ..Faults::default() });
        link.packet_done();
        assert!(!link.is_ending());
        link.packet_done();
        assert!(link.is_ending());
    }

    #[test]
    fn nothing_is_read_while_the_answers_pile_up() {
        let mut link = Link::new(Scope::All, Faults::default(), 4, Duration::from_secs(1));
        let mut context = Context::from_waker(Waker::noop());
        assert_eq!(link.poll_input_wanted(&mut context), Poll::Ready(()));
        send(&mut link, b"answer");
        assert_eq!(link.poll_input_wanted(&mut context), Poll::Pending);
        assert_eq!(output(&mut link).0, b"answer");
        assert_eq!(link.poll_input_wanted(&mut context), Poll::Ready(()));
    }
}
