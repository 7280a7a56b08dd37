//! Whether a client waits for nothing but others, for tests that move time by hand: everything that takes no time is to be
//! done before time goes on.

use std::io;
use std::net::TcpStream;
use std::sync::atomic::Ordering;

use super::shared::{Inner, Shared};

/// How far a connection has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traffic {
    /// Its two ports: ours and the peer's.
    pub ports: (u16, u16),
    /// Bytes received, and acted upon.
    pub received: u64,
    /// Bytes sent.
    pub sent: u64,
    /// Whether nothing is left to be done with what is here: no byte to be sent, none to be read.
    pub is_done: bool,
}

impl Shared {
    /// Marks, while the result lives, that a name is being resolved or a connection made.
    pub(super) fn dial(&self) -> Dialling<'_> {
        self.dialling.store(true, Ordering::Release);
        Dialling(self)
    }

    /// See [`Client::is_settled`](super::Client::is_settled).
    pub(super) fn is_settled(&self) -> (bool, Option<Traffic>) {
        let inner = self.lock();
        let traffic = inner.traffic();
        let is_done = traffic.is_none_or(|traffic| traffic.is_done);
        (is_done && !inner.closing && !self.dialling.load(Ordering::Acquire), traffic)
    }
}

/// What [`Shared::dial`] gives.
pub(super) struct Dialling<'a>(&'a Shared);

impl Drop for Dialling<'_> {
    fn drop(&mut self) {
        self.0.dialling.store(false, Ordering::Release);
    }
}

impl Inner {
    /// How far the connection has got; none without one, or with one whose socket is not for us to look at.
    fn traffic(&self) -> Option<Traffic> {
        let socket = self.direct()?;
        let ports = (socket.local_addr().ok()?.port(), socket.peer_addr().ok()?.port());
        let stats = self.session.stats();
        let (before_in, before_out) = self.writer.before;
        Some(Traffic {
            ports,
            received: stats.bytes_in - before_in,
            sent: stats.bytes_out - before_out,
            is_done: self.session.unsent() == 0
                && self.writer.lent == 0
                && (self.paused || !is_readable(socket)),
        })
    }
}

/// Whether there is something to read: bytes, the end of the stream, or an error. The socket does not block.
pub(super) fn is_readable(socket: &TcpStream) -> bool {
    !matches!(socket.peek(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}
