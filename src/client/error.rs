//! Why an attempt did not lead to a connection.

use std::fmt;
use std::io;

use super::options::Server;
use crate::codec::ConnectCode;
use crate::net::HandshakeError;
use crate::session;

/// Why an attempt did not lead to a connection. [`reason`](ConnectError::reason) gives the number that scripts see,
/// `Display` a sentence for people; neither ever holds a secret.
#[derive(Debug)]
pub enum ConnectError {
    /// The client was given no server, or the network thread cannot be started.
    Setup(String),
    /// Credentials were asked for and not given.
    NoCredentials,
    /// The name does not resolve.
    Resolve(Server, io::Error),
    /// Resolving the name took too long.
    ResolveTimeout(Server),
    /// No address accepted a connection.
    Unreachable(Server, io::Error),
    /// No address answered in time.
    DialTimeout(Server),
    /// TLS or WebSocket could not be agreed upon, or the server ended it before CONNACK.
    Handshake(HandshakeError),
    /// The TLS or WebSocket handshake took too long.
    HandshakeTimeout(Server),
    /// CONNECT could not be written.
    Send(io::Error),
    /// CONNECT could not be written in time.
    SendTimeout,
    /// No CONNACK came in time.
    NoConnack,
    /// The connection ended before CONNACK; the error is none when the peer closed it in good order.
    Closed(Option<io::Error>),
    /// Something else than a well-formed CONNACK came.
    Violation(session::Error),
    /// The broker's return code, 1 to 5.
    Refused(ConnectCode),
}

impl ConnectError {
    /// The number for scripts: MQTT's return codes 1 to 5, or
    ///
    /// | | |
    /// | --- | --- |
    /// | -1 | CONNECT could not be sent |
    /// | -2 | timed out waiting for CONNACK |
    /// | -3 | the name does not resolve, or resolving timed out |
    /// | -4 | no CONNACK, a malformed one, or the connection closed before it |
    /// | -5 | refused, unreachable, or TCP timed out |
    /// | -6 | TLS or WebSocket handshake failed or timed out |
    pub fn reason(&self) -> i8 {
        match self {
            ConnectError::NoCredentials | ConnectError::Send(_) | ConnectError::SendTimeout => -1,
            ConnectError::NoConnack => -2,
            ConnectError::Resolve(..) | ConnectError::ResolveTimeout(_) => -3,
            ConnectError::Closed(_) | ConnectError::Violation(_) => -4,
            ConnectError::Setup(_) | ConnectError::Unreachable(..) | ConnectError::DialTimeout(_) => -5,
            ConnectError::Handshake(_) | ConnectError::HandshakeTimeout(_) => -6,
            ConnectError::Refused(code) => *code as i8,
        }
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConnectError::Setup(why) => f.write_str(why),
            ConnectError::NoCredentials => f.write_str("no credentials were provided"),
            ConnectError::Resolve(server, error) => write!(f, "cannot resolve {}: {error}", server.host),
            ConnectError::ResolveTimeout(server) => write!(f, "resolving {} timed out", server.host),
            ConnectError::Unreachable(server, error) => write!(f, "cannot connect to {server}: {error}"),
            ConnectError::DialTimeout(server) => write!(f, "connecting to {server} timed out"),
            ConnectError::Handshake(error) => error.fmt(f),
            ConnectError::HandshakeTimeout(server) => write!(f, "the handshake with {server} timed out"),
            ConnectError::Send(error) => write!(f, "cannot send CONNECT: {error}"),
            ConnectError::SendTimeout => f.write_str("sending CONNECT timed out"),
            ConnectError::NoConnack => f.write_str("timed out waiting for CONNACK"),
            ConnectError::Closed(None) => f.write_str("the connection was closed before CONNACK"),
            ConnectError::Closed(Some(error)) => write!(f, "the connection broke before CONNACK: {error}"),
            ConnectError::Violation(error) => error.fmt(f),
            ConnectError::Refused(code) => session::Error::Refused(*code).fmt(f),
        }
    }
}

impl std::error::Error for ConnectError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ConnectError::Resolve(_, error)
            | ConnectError::Unreachable(_, error)
            | ConnectError::Send(error)
            | ConnectError::Closed(Some(error)) => Some(error),
            ConnectError::Handshake(error) => Some(error),
            ConnectError::Violation(error) => Some(error),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_stage_has_its_number_in_time_and_out_of_time() {
        let server = || Server { host: "host".into(), port: 1 };
        let broken = || io::Error::from(io::ErrorKind::BrokenPipe);
        for (error, reason) in [
            (ConnectError::NoCredentials, -1),
            (ConnectError::Resolve(server(), broken()), -3),
            (ConnectError::ResolveTimeout(server()), -3),
            (ConnectError::Unreachable(server(), broken()), -5),
            (ConnectError::DialTimeout(server()), -5),
            (ConnectError::Handshake(HandshakeError::new("unknown issuer")), -6),
            (ConnectError::HandshakeTimeout(server()), -6),
            (ConnectError::Send(broken()), -1),
            (ConnectError::SendTimeout, -1),
            (ConnectError::NoConnack, -2),
            (ConnectError::Closed(Some(broken())), -4),
            (ConnectError::Closed(None), -4),
            (ConnectError::Refused(ConnectCode::NotAuthorized), 5),
        ] {
            assert_eq!(error.reason(), reason, "{error}");
        }
    }
}
