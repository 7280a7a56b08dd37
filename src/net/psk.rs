//! TLS with a key that both sides know beforehand, over any byte stream: feature `psk`, through the system's libssl.
//!
//! Only suites that need the key are offered, and no certificate is ever accepted, so a server that does not know the key
//! cannot be mistaken for one that does.

use std::fmt;

use super::handshake::HandshakeError;

const MISSING: &str = "this build has no TLS-PSK (Cargo feature psk)";

/// The longest identity and the longest key that libssl takes.
const MAX_LENGTH: usize = 256;

/// A name and the key that goes with it.
#[derive(Clone, PartialEq, Eq)]
pub struct Psk {
    identity: Vec<u8>,
    key: Vec<u8>,
}

impl Psk {
    /// From an identity and a key in hexadecimal, whose leading zeros count.
    ///
    /// # Errors
    /// What is wrong, for people, beginning with `psk_identity` or `psk_key`; or this build cannot do it.
    pub fn new(identity: &[u8], hex: &[u8]) -> Result<Psk, String> {
        if cfg!(not(feature = "psk")) {
            return Err(format!("psk_identity: {MISSING}"));
        }
        if identity.is_empty() || identity.len() > MAX_LENGTH - 1 || identity.contains(&0) {
            return Err(format!("psk_identity: 1 to {} bytes, none of them NUL", MAX_LENGTH - 1));
        }
        let bad_key = || format!("psk_key: 1 to {MAX_LENGTH} bytes, as hexadecimal digits in pairs");
        let digit = |byte: u8| char::from(byte).to_digit(16);
        let pair = |pair: &[u8]| match *pair {
            [high, low] => Some((digit(high)? << 4 | digit(low)?) as u8),
            _ => None,
        };
        let key: Option<Vec<u8>> = hex.chunks(2).map(pair).collect();
        let key = key.filter(|key| (1..=MAX_LENGTH).contains(&key.len())).ok_or_else(bad_key)?;
        Ok(Psk { identity: identity.to_vec(), key })
    }
}

impl fmt::Debug for Psk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Psk(\"{}\", <redacted>)", self.identity.escape_ascii())
    }
}

#[cfg(feature = "psk")]
pub use stream::{Stream, handshake};

/// [`handshake`](fn@handshake) over a stream of this layer.
#[cfg(feature = "psk")]
pub(super) async fn open(stream: super::Stream, psk: &Psk) -> Result<super::Stream, HandshakeError> {
    handshake(stream, psk).await.map(super::Stream::Psk)
}

/// Without the feature there is no [`Psk`], so nobody comes here.
#[cfg(not(feature = "psk"))]
pub(super) async fn open(_stream: super::Stream, _psk: &Psk) -> Result<super::Stream, HandshakeError> {
    Err(HandshakeError::new(MISSING))
}

#[cfg(feature = "psk")]
mod stream {
    use std::fmt;
    use std::io;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use async_openssl::SslStream;
    use futures_lite::{AsyncRead, AsyncWrite};
    use openssl::error::ErrorStack;
    use openssl::ssl::{
        Ssl, SslContext, SslMethod, SslOptions, SslSessionCacheMode, SslVerifyMode, SslVersion,
    };
    use openssl::x509::store::X509StoreBuilder;

    use super::Psk;
    use crate::net::handshake::HandshakeError;

    /// For TLS 1.2: a suite with the key that encrypts (`PSK` alone would let NULL ciphers in), and none in which a
    /// certificate has a say (RSA_PSK).
    const CIPHERS: &str = "kECDHEPSK:kDHEPSK:kPSK:!eNULL:!aNULL:!aRSA:!kRSAPSK:!3DES:!RC4";

    /// For TLS 1.3, where a key that is given this way goes with SHA-256 (RFC 8446, section 4.2.11).
    const CIPHERS_TLS13: &str = "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256";

    /// Makes a byte stream a TLS stream with a server that knows the key. There is no limit of time: drop the future.
    ///
    /// # Errors
    /// The check that failed. Nothing has been sent then but TLS's own messages.
    pub async fn handshake<S>(stream: S, psk: &Psk) -> Result<Stream<S>, HandshakeError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let context = context(psk).map_err(|error| HandshakeError::new(format!("libssl: {error}")))?;
        let opened = Ssl::new(&context).and_then(|ssl| SslStream::new(ssl, stream));
        let mut stream = opened.map_err(|error| HandshakeError::new(format!("libssl: {error}")))?;
        if let Err(error) = Pin::new(&mut stream).connect().await {
            return Err(explain(error));
        }
        // what the context has seen to already
        let ssl = stream.ssl();
        let suite = ssl.current_cipher().map_or("", |cipher| cipher.name());
        if ssl.peer_certificate().is_some() || !(ssl.session_reused() || suite.contains("PSK")) {
            return Err(HandshakeError::new(CERTIFICATE));
        }
        Ok(Stream { inner: Box::new(stream) })
    }

    const CERTIFICATE: &str = "the server answers with a certificate instead of the pre-shared key";

    fn context(psk: &Psk) -> Result<SslContext, ErrorStack> {
        let mut builder = SslContext::builder(SslMethod::tls_client())?;
        builder.set_min_proto_version(Some(SslVersion::TLS1_2))?;
        builder.set_cipher_list(CIPHERS)?;
        builder.set_ciphersuites(CIPHERS_TLS13)?;
        // Verified against nothing: every certificate is refused. Without verifying, a server that ignores the key and
        // shows any certificate would be accepted.
        builder.set_cert_store(X509StoreBuilder::new()?.build());
        builder.set_verify(SslVerifyMode::PEER);
        builder.set_session_cache_mode(SslSessionCacheMode::OFF);
        builder.set_options(SslOptions::NO_TICKET | SslOptions::NO_RENEGOTIATION);
        let psk = psk.clone();
        builder.set_psk_client_callback(move |_ssl, _hint, identity, key| {
            // the identity ends with a NUL; a key of no length ends the handshake
            let (length, end) = (psk.identity.len(), psk.key.len());
            if identity.len() <= length || key.len() < end {
                return Ok(0);
            }
            identity[..length].copy_from_slice(&psk.identity);
            identity[length] = 0;
            key[..end].copy_from_slice(&psk.key);
            Ok(end)
        });
        Ok(builder.build())
    }

    fn explain(error: openssl::ssl::Error) -> HandshakeError {
        let stack = error.ssl_error().map_or(&[][..], |stack| stack.errors());
        let reason = stack.iter().rev().find_map(|error| error.reason()).unwrap_or_default();
        if let Some((_, meaning)) = REASONS.iter().find(|(part, _)| reason.contains(part)) {
            return HandshakeError::new(*meaning);
        }
        HandshakeError::new(match error.io_error() {
            _ if !reason.is_empty() => format!("the TLS handshake failed: {reason}"),
            Some(error) => format!("the connection broke during the TLS handshake: {error}"),
            None => "the server closed the connection during the TLS handshake".into(),
        })
    }

    /// Parts of libssl's reasons, and what they mean here.
    const REASONS: [(&str, &str); 8] = [
        ("certificate verify failed", CERTIFICATE),
        ("unknown psk identity", "the server does not know psk_identity"),
        // in TLS 1.2, in TLS 1.3, and what libssl's own servers say instead in TLS 1.3
        ("bad record mac", ANOTHER_KEY),
        ("decrypt error", ANOTHER_KEY),
        ("illegal parameter", ANOTHER_KEY),
        ("handshake failure", "the server does not know psk_identity, or accepts no pre-shared key at all"),
        ("wrong version number", "the server does not speak TLS, or not on this port"),
        ("unexpected eof", "the server closed the connection during the TLS handshake"),
    ];

    const ANOTHER_KEY: &str = "the server has another key for psk_identity";

    /// An encrypted byte stream to a server that knows the key.
    pub struct Stream<S: Unpin> {
        inner: Box<SslStream<S>>,
    }

    impl<S: Unpin> fmt::Debug for Stream<S> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("psk::Stream")
        }
    }

    impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Stream<S> {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buffer: &mut [u8],
        ) -> Poll<io::Result<usize>> {
            Pin::new(&mut self.inner).poll_read(cx, buffer)
        }
    }

    impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Stream<S> {
        fn poll_write(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            Pin::new(&mut self.inner).poll_write(cx, bytes)
        }

        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.inner).poll_flush(cx)
        }

        /// Says in TLS that no more comes, then ends our direction.
        fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.inner).poll_close(cx)
        }
    }
}
