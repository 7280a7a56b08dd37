//! What lies between TCP and MQTT: nothing, TLS, WebSocket, or both.

use super::handshake::HandshakeError;
use super::psk::Psk;
use super::tls::{self, Tls};
use super::ws::{self, WebSocket};
use super::{Stream, psk};

/// What to put on top of a TCP connection. The default is nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transport {
    /// Encryption, first.
    pub security: Security,
    /// WebSocket inside of it.
    pub websocket: Option<WebSocket>,
}

/// How a connection is encrypted, and how the server proves who it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Security {
    /// Not at all.
    #[default]
    None,
    /// TLS with certificates.
    Tls(Tls),
    /// TLS with a pre-shared key.
    Psk(Psk),
}

impl Transport {
    /// Whether this can be tried: everything is looked at that needs no server. It reads the files that are named.
    ///
    /// # Errors
    /// The setting that is wrong and why, for people: `client_key: it does not match client_cert`.
    pub fn check(&self) -> Result<(), String> {
        if let Security::Tls(tls) = &self.security {
            tls::check(tls)?;
        }
        self.websocket.as_ref().map_or(Ok(()), ws::check)
    }

    /// Does the handshakes over a stream that has just been connected to `host`. There is no limit of time: drop the
    /// future.
    ///
    /// # Errors
    /// The check that failed. No byte of what is to be transported has been sent then.
    pub async fn open(&self, tcp: Stream, host: &str, port: u16) -> Result<Stream, HandshakeError> {
        // Handshakes are boxed: they would make this future, and every one around it, large.
        let stream = match &self.security {
            Security::None => tcp,
            Security::Tls(tls) => Stream::Tls(Box::new(Box::pin(tls::handshake(tcp, host, tls)).await?)),
            Security::Psk(psk) => Box::pin(psk::open(tcp, psk)).await?,
        };
        let Some(socket) = &self.websocket else { return Ok(stream) };
        let secure = self.security != Security::None;
        Box::pin(ws::handshake(stream, host, port, secure, socket))
            .await
            .map(|stream| Stream::WebSocket(Box::new(stream)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::pem::Pem;

    #[test]
    fn debug_output_holds_no_secret() {
        let transport = Transport {
            security: Security::Tls(Tls {
                ca_cert: Some(Pem::new(b"-----BEGIN CERTIFICATE-----hunter2")),
                client_cert: Some(Pem::new(b"hunter2")),
                client_key: Some(Pem::new(b"-----BEGIN PRIVATE KEY-----hunter2")),
                ..Tls::default()
            }),
            websocket: Some(WebSocket {
                path: "/mqtt?token=hunter2".into(),
                headers: vec![("Authorization".into(), "hunter2".into())],
            }),
        };
        let text = format!("{transport:?}");
        assert!(!text.contains("hunter2") && text.contains("Authorization"), "{text}");
        assert!(!transport.check().unwrap_err().contains("hunter2"));
    }

    #[test]
    fn a_websocket_is_checked_without_showing_its_headers() {
        let with = |path: &str, headers: &[(&str, &str)]| {
            let headers = headers.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
            let websocket = Some(WebSocket { path: path.into(), headers });
            Transport { websocket, ..Transport::default() }.check()
        };
        assert_eq!(with("/mqtt?a=b", &[("X-Api-Key", "k"), ("Cookie", "a=1"), ("Cookie", "b=2")]), Ok(()));
        for path in ["", "mqtt", "/a b", "/a#b", "/\u{e9}", "/a\r\nHost: b"] {
            assert!(with(path, &[]).unwrap_err().contains("path"), "{path:?}");
        }
        for name in ["Host", "host", "Upgrade", "Connection", "Sec-WebSocket-Protocol", "Content-Length"] {
            assert!(with("/", &[(name, "x")]).unwrap_err().contains("belongs to the handshake"), "{name}");
        }
        for (name, value) in [("a b", "x"), ("", "x"), ("a", "hunter2\r\nb: c"), ("a", "hunter2\0")] {
            let why = with("/", &[(name, value)]).unwrap_err();
            assert!(why.starts_with("headers: ") && !why.contains("hunter2"), "{why}");
        }
    }
}
