//! Why a TLS or WebSocket handshake failed.

use std::fmt;
use std::io;

/// A handshake failed: one sentence for people, which never holds a secret.
///
/// Also the inner error of a stream's `io::Error`, when the peer tells only later that it refused the handshake, or when
/// TLS fails in the middle of the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandshakeError(String);

impl HandshakeError {
    pub(crate) fn new(detail: impl Into<String>) -> HandshakeError {
        HandshakeError(detail.into())
    }

    /// The handshake error that an error of a stream stands for, if it is one.
    pub fn of(error: &io::Error) -> Option<&HandshakeError> {
        error.get_ref()?.downcast_ref()
    }
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for HandshakeError {}

impl From<HandshakeError> for io::Error {
    fn from(error: HandshakeError) -> io::Error {
        io::Error::new(io::ErrorKind::ConnectionAborted, error)
    }
}
