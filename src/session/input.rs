//! Bytes from the broker, to where the packets in them are handled.
//!
//! Little is copied, as its buffer would be held for a few bytes. Of much, messages are left where they lie
//! ([`Session::handle_buffer`]), and a large packet that spans reads is read on in its own place
//! ([`Session::lend_packet`]): so each byte is copied by the system, and then by who makes something of the message.

use std::time::Instant;

use super::chunks;
use super::timer::Timer;
use super::{Error, MAX_UNSENT_REPLIES, Session, State};
use crate::codec::{Deframer, Kind as PacketKind, Lent};

/// A message that came in parts stays where it was gathered if it is so large; a smaller one is copied to the others.
const LARGE: usize = 8 * 1024;

impl Session {
    /// Bytes came.
    pub fn handle_input(&mut self, now: Instant, input: &[u8]) -> Result<(), Error> {
        if !self.handle_arrival(input)? {
            return Ok(());
        }
        self.handle_frames(now, input, false, LARGE)
    }

    /// The same for the first `n` bytes of a buffer that is worth keeping: if there are messages in it they stay there,
    /// and another buffer, or an empty one, takes its place.
    pub fn handle_buffer(&mut self, now: Instant, buffer: &mut Vec<u8>, n: usize) -> Result<(), Error> {
        let input = &buffer[..n];
        if !self.handle_arrival(input)? {
            return Ok(());
        }
        let outcome = self.handle_frames(now, input, true, LARGE);
        self.events.keep_buffer(buffer);
        if buffer.capacity() == 0 {
            *buffer = chunks::spare();
        }
        outcome
    }

    /// Lends the packet that has arrived in part, if `much` of it has and as much has yet to come. The next bytes are read to
    /// its room, and brought by [`handle_packet`](Self::handle_packet), also if there are none.
    pub fn lend_packet(&mut self, much: usize) -> Option<Lent> {
        self.deframer.lend(much)
    }

    /// The last `n` bytes of what [`lend_packet`](Self::lend_packet) gave have come.
    pub fn handle_packet(&mut self, now: Instant, packet: Lent, n: usize) -> Result<(), Error> {
        let bytes = packet.bytes();
        let arrived = self.handle_arrival(&bytes[bytes.len() - n..])?;
        let rest = self.deframer.restore(packet);
        if !arrived {
            return Ok(());
        }
        self.handle_frames(now, &rest, false, 0)
    }

    /// Bytes came: the broker lives. Whether they are to be looked at. Before CONNACK it may be no broker, and shall not make
    /// us gather a packet that we will not want.
    fn handle_arrival(&mut self, input: &[u8]) -> Result<bool, Error> {
        self.volume.bytes_in += input.len() as u64;
        if input.is_empty() || matches!(self.state, State::Disconnected | State::Disconnecting) {
            return Ok(false);
        }
        if std::mem::take(&mut self.awaiting_ping) {
            self.timers.clear(Timer::Answer);
        }
        let connecting = matches!(self.state, State::Connecting { .. }) && !self.deframer.is_partial();
        if connecting && input[0] >> 4 != PacketKind::Connack as u8 {
            return Err(Error::NotConnack);
        }
        Ok(true)
    }

    /// Handles the packets in what has come, with the one before. The messages of `input` stay in it if `in_place`; a
    /// message that came in parts stays in its place if it has `large` bytes.
    // Never, as all that comes goes through here: its instructions are counted (`bench instructions`).
    #[inline(never)]
    fn handle_frames(
        &mut self,
        now: Instant,
        mut input: &[u8],
        in_place: bool,
        large: usize,
    ) -> Result<(), Error> {
        // Taken out, because a frame borrows from it while the rest of the session changes.
        let mut deframer = std::mem::take(&mut self.deframer);
        let outcome = self.cut(now, &mut deframer, &mut input, in_place, large);
        self.deframer = deframer;
        outcome?;
        if self.replies > MAX_UNSENT_REPLIES {
            return Err(Error::RepliesUnread);
        }
        if self.state == State::Connected {
            self.send_queued();
        }
        Ok(())
    }

    fn cut(
        &mut self,
        now: Instant,
        deframer: &mut Deframer,
        input: &mut &[u8],
        in_place: bool,
        large: usize,
    ) -> Result<(), Error> {
        let (begin, len) = (input.as_ptr().addr(), input.len());
        if deframer.is_partial() {
            self.finish_packet(now, deframer, input, large)?;
        }
        if in_place {
            self.events.leave_in(begin, len);
        }
        while let Some(frame) = deframer.next(input)? {
            self.handle_frame(now, &frame)?;
        }
        Ok(())
    }

    /// Handles the packet that has arrived in part, if it is whole now.
    #[inline(never)]
    fn finish_packet(
        &mut self,
        now: Instant,
        deframer: &mut Deframer,
        input: &mut &[u8],
        large: usize,
    ) -> Result<(), Error> {
        let Some(frame) = deframer.next(input)? else { return Ok(()) };
        if frame.truncated || frame.size < large {
            return self.handle_frame(now, &frame);
        }
        let header = frame.size - frame.body.len();
        self.events.leave_in(frame.body.as_ptr().addr() - header, frame.size);
        let outcome = self.handle_frame(now, &frame);
        if let Some(mut packet) = deframer.take_gathered() {
            self.events.keep_buffer(&mut packet);
        }
        outcome
    }
}
