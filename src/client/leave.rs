//! The end of a connection or attempt by the caller: what is still to be said, and what must not be heard any more.

use std::io;
use std::time::Instant;

use super::dialogue::Pause;
use super::reader::Reader;
use super::shared::{DIRECT_BYTES, Inner, send, send_with_end};
use super::{Clock, State};
use crate::net;
use crate::session::{Event, Events, Token};

/// What is left to do for a connection that the caller has ended.
pub(super) struct Farewell {
    /// To be written behind what the task has taken already; DISCONNECT is at the end. None: all is said, and the broker
    /// has nothing to say, so the socket can be closed at once.
    pub(super) last_words: Option<Vec<u8>>,
    /// The caller has seen the connection and hears of its end.
    pub(super) offline: bool,
    /// Where a caller can wait for the broker's end of it.
    pub(super) socket: Option<net::Tcp>,
}

impl Inner {
    /// Ends what is going on, by `close` (which flushes) or by another `connect` (which does not); whether there was an
    /// accepted connection. That one is left to its task with its last words; it is [`closing`](Self::closing) until they
    /// are said. `lends`: the caller may wait for the end of it at the socket.
    pub(super) fn leave(&mut self, clock: &Clock, flush: bool, lends: bool) -> bool {
        let now = clock.now();
        let was_connected = self.state == State::Connected;
        self.generation = self.generation.wrapping_add(1);
        let farewell = was_connected.then(|| {
            let (bytes, socket) = self.last_words(now, flush);
            let is_over = socket.as_ref().is_some_and(|(_, is_over)| *is_over);
            let socket = socket.map(|(socket, _)| socket).filter(|_| lends && !is_over && bytes.is_empty());
            Box::new(Farewell { last_words: (!is_over).then_some(bytes), offline: false, socket })
        });
        if self.state != State::Idle {
            self.session.set_offline_queue(false);
            self.end_connection(self.keep);
        }
        if let Some(farewell) = farewell {
            if farewell.socket.is_some() {
                self.reader = Reader::lent_from(clock, now);
            }
            self.farewell = Some(farewell);
            self.closing = true;
        }
        self.pause = Pause::None;
        self.state = State::Idle;
        was_connected
    }

    /// Everything that is still to be written, DISCONNECT last, but for what the task has taken and what the system
    /// takes now; and the socket, if callers may use it, with whether it can be closed at once.
    fn last_words(&mut self, now: Instant, flush: bool) -> (Vec<u8>, Option<(net::Tcp, bool)>) {
        let mut bytes = Vec::new();
        if flush {
            // Each round lets more of the queue into the window.
            loop {
                self.take_all(now, &mut bytes);
                if self.session.unsent() == 0 {
                    break;
                }
            }
            self.session.disconnect();
        } else {
            self.session.drop_unsent_messages();
            self.session.disconnect();
        }
        self.take_all(now, &mut bytes);
        let Some(socket) = self.writer.direct.take() else { return (bytes, None) };
        let hears_no_more = self.hears_no_more(&socket);
        let now = &bytes[..bytes.len().min(DIRECT_BYTES)];
        // The end of the connection goes out with what is said before it: one packet less, of the four after the handshake.
        // (If the child of a fork has the socket too it is said a fifth of a second later.)
        let sent = if hears_no_more { send_with_end(&socket, now) } else { send(&socket, now) };
        bytes.drain(..sent.unwrap_or_default());
        let is_over = hears_no_more && bytes.is_empty();
        (bytes, Some((socket, is_over)))
    }

    /// Whether nothing more can come but the broker's end of the connection, or that has come. What came after the socket is
    /// closed would make the system answer with a reset, which overtakes DISCONNECT.
    fn hears_no_more(&self, socket: &net::Tcp) -> bool {
        match socket.peek(&mut [0]) {
            Ok(n) => n == 0,
            Err(error) => error.kind() != io::ErrorKind::WouldBlock || !self.session.may_receive(),
        }
    }

    /// Moves what is unsent to `bytes`, so that the session is through with it. What the task has taken it will write.
    fn take_all(&mut self, now: Instant, bytes: &mut Vec<u8>) {
        if self.writer.lent > 0 {
            self.writer.direct = None; // the task's bytes come first
            self.session.handle_transmitted(now, std::mem::take(&mut self.writer.lent));
            self.writer.begun = 0;
        }
        let mut more = Vec::new();
        self.session.take_transmit(&mut more);
        self.session.handle_transmitted(now, more.len());
        if bytes.is_empty() {
            *bytes = more;
        } else {
            bytes.append(&mut more);
        }
    }

    /// Takes events out that must not be heard any more: the outcome and the requests of what `leave` ended, and with
    /// `all` everything but the end of a connection that the caller knows of. Whether such an end is still to be told.
    pub(super) fn purge(&mut self, all: bool, was_connected: bool) -> bool {
        let mut old = Events::new();
        self.session.events().swap(&mut old);
        let events = self.session.events();
        // What comes first of Connected and Offline says what the caller thinks: it has not seen the one, so it believes
        // in the other.
        let mut caller_is_connected = None;
        while let Some(event) = old.pop() {
            match event {
                Event::Connected { .. } => {
                    caller_is_connected.get_or_insert(false);
                }
                Event::Offline => {
                    if caller_is_connected.is_none() {
                        events.push(event);
                        // told by this one
                        caller_is_connected = Some(false);
                    }
                }
                Event::ConnectFailed { .. }
                | Event::CredentialsWanted
                | Event::Attempt { .. }
                | Event::AttemptFailed { .. }
                | Event::ConnectWanted { .. }
                | Event::Tick => {}
                Event::Dropped { .. } => events.push(event),
                other if !all => events.push(other),
                Event::Published { token, .. }
                | Event::Subscribed { token, .. }
                | Event::Unsubscribed { token, .. } => {
                    if token != Token::NONE {
                        events.push(Event::Dropped { token });
                    }
                }
                Event::Message { .. } | Event::Overflow { .. } | Event::Drained => {}
            }
        }
        caller_is_connected.unwrap_or(was_connected)
    }
}
