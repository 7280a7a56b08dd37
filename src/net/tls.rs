//! TLS 1.2 and 1.3 over any byte stream. The only file that names `async_tls`.
//!
//! # Driving the stream
//! `async_tls` reads while it writes. What it finds then waits inside, and no event of the socket tells of it: [`Stream`]
//! wakes the task that wrote, which therefore has to read too. So one task does both, writes first. Bytes lie in a buffer
//! until they are flushed.
//!
//! In TLS 1.3 a client is done before the server has seen its certificate. A server that refuses it says so in answer to
//! the first bytes that are sent, and hangs up. The error of that read holds a [`HandshakeError`], see
//! [`HandshakeError::of`].

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use futures_lite::{AsyncRead, AsyncWrite};
use rustls::client::{ClientConfig, ResolvesClientCert, Resumption, ServerCertVerifier};
use rustls::sign::{CertifiedKey, any_supported_type};
use rustls::{ALL_CIPHER_SUITES, AlertDescription, Certificate, PrivateKey, ServerName};
use rustls::{SignatureScheme, SupportedCipherSuite};
use tracing::warn;

use super::blocking::unblock;
use super::handshake::HandshakeError;
use super::pem::Pem;
use super::verify::{Anybody, Verifier, all_readable, is_signed_by};

/// How to speak TLS. The default verifies against the system's trust store.
#[derive(Clone, PartialEq, Eq)]
pub struct Tls {
    /// Who may vouch for the server, or its own certificate; none: the CAs that the system trusts.
    pub ca_cert: Option<Pem>,
    /// Our certificate, followed by those between it and its CA, if any.
    pub client_cert: Option<Pem>,
    /// The key of the first of them.
    pub client_key: Option<Pem>,
    /// The name that the server's certificate has to bear, and that the server is told; none: the host's.
    pub server_name: Option<String>,
    /// Application protocols to offer, the best first; empty: none.
    pub alpn: Vec<Vec<u8>>,
    /// Names of cipher suites, as IANA spells them, the best first; empty: all that are good.
    pub cipher_suites: Vec<String>,
    /// Whether the server's certificate is checked at all.
    pub verify: bool,
}

impl Default for Tls {
    fn default() -> Tls {
        Tls {
            ca_cert: None,
            client_cert: None,
            client_key: None,
            server_name: None,
            alpn: Vec::new(),
            cipher_suites: Vec::new(),
            verify: true,
        }
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("ca_cert", &self.ca_cert)
            .field("client_cert", &self.client_cert)
            .field("client_key", &self.client_key.as_ref().map(|_| "<redacted>"))
            .field("server_name", &self.server_name)
            .field("alpn", &self.alpn.iter().map(|name| name.escape_ascii().to_string()).collect::<Vec<_>>())
            .field("cipher_suites", &self.cipher_suites)
            .field("verify", &self.verify)
            .finish()
    }
}

/// Whether a handshake can be tried with this: everything but the server and the system's trust store is looked at.
///
/// # Errors
/// The field that is wrong and why, for people: `client_key: it does not match client_cert`.
pub fn check(tls: &Tls) -> Result<(), String> {
    if let Some(name) = &tls.server_name {
        named(name)?;
    }
    protocols(tls)?;
    suites(tls)?;
    trusted(tls)?;
    identity(tls).map(drop)
}

/// Makes a byte stream to `host` a TLS stream. Files are read now. There is no limit of time: drop the future.
///
/// # Errors
/// The check that failed. Nothing has been sent then but TLS's own messages.
pub async fn handshake<S>(stream: S, host: &str, tls: &Tls) -> Result<Stream<S>, HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let name = match &tls.server_name {
        Some(name) => named(name),
        None => peer_name(host).ok_or_else(|| format!("{host:?} is no name that a certificate can bear")),
    };
    let name = name.map_err(HandshakeError::new)?;
    if !tls.verify {
        warn!("the TLS certificate of {host} is not verified (verify = false): anybody may be listening");
    }
    // reading files and the trust store takes milliseconds, or much longer on a network drive
    let prepared = {
        let tls = tls.clone();
        let done = unblock(move || prepare(&tls)).await;
        done.unwrap_or_else(|error| Err(error.to_string())).map_err(HandshakeError::new)?
    };
    let connector = async_tls::TlsConnector::from(prepared.config.clone());
    let stream = Lasting { stream, broken: None, arrived: false, gathers: false, gathered: Vec::new() };
    match connector.connect(&name, stream).await {
        Ok(mut inner) => {
            inner.get_mut().gathers = true;
            Ok(Stream { inner, identity: prepared.identity })
        }
        Err(error) => Err(prepared.explain(&error)),
    }
}

/// A verified and encrypted byte stream. The module's text says how to drive it.
///
/// A server that ends the connection without saying so in TLS is at its end all the same: MQTT knows by itself whether
/// it is in the middle of a packet.
pub struct Stream<S> {
    inner: async_tls::client::TlsStream<Lasting<S>>,
    identity: Arc<Identity>,
}

impl<S> fmt::Debug for Stream<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("tls::Stream")
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream<S> {
    fn write_with<T>(
        &mut self,
        cx: &mut Context<'_>,
        step: impl FnOnce(
            Pin<&mut async_tls::client::TlsStream<Lasting<S>>>,
            &mut Context<'_>,
        ) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        self.inner.get_mut().arrived = false;
        let outcome = step(Pin::new(&mut self.inner), cx);
        if self.inner.get_ref().arrived {
            cx.waker().wake_by_ref();
        }
        outcome.map_err(|error| self.identity.explained(error))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Stream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.inner).poll_read(cx, buffer);
        // TLS itself may have answered something
        let _ = self.inner.get_mut().poll_drain(cx);
        Poll::Ready(match ready!(outcome) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
            Err(error) => Err(self.identity.explained(error)),
            read => read,
        })
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Stream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.write_with(cx, |inner, cx| inner.poll_write(cx, bytes))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.write_with(cx, |inner, cx| inner.poll_flush(cx))
    }

    /// Says in TLS that no more comes, then ends our direction.
    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.write_with(cx, |inner, cx| inner.poll_close(cx))
    }
}

/// Everything that one handshake needs besides the stream.
struct Prepared {
    config: Arc<ClientConfig>,
    verifier: Option<Arc<Verifier>>,
    identity: Arc<Identity>,
}

impl Prepared {
    fn explain(&self, error: &io::Error) -> HandshakeError {
        if let Some(refusal) = self.verifier.as_ref().and_then(|verifier| verifier.refusal()) {
            return HandshakeError::new(refusal);
        }
        match inner(error) {
            Some(error) => HandshakeError::new(self.identity.explain(error)),
            None if error.kind() == io::ErrorKind::UnexpectedEof => {
                HandshakeError::new("the server closed the connection during the TLS handshake")
            }
            None => HandshakeError::new(format!("the connection broke during the TLS handshake: {error}")),
        }
    }
}

fn prepare(tls: &Tls) -> Result<Prepared, String> {
    let verifier = match (tls.verify, trusted(tls)?) {
        (false, _) => None,
        (true, Some(given)) => Some(Arc::new(given)),
        (true, None) => Some(Arc::new(Verifier::of_the_system()?)),
    };
    let identity = Arc::new(identity(tls)?);
    let used: Arc<dyn ServerCertVerifier> = match &verifier {
        Some(verifier) => verifier.clone(),
        None => Arc::new(Anybody),
    };
    let mut config = ClientConfig::builder()
        .with_cipher_suites(&suites(tls)?)
        .with_safe_default_kx_groups()
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("cipher_suites: {error}"))?
        .with_custom_certificate_verifier(used)
        .with_client_cert_resolver(identity.clone());
    config.alpn_protocols = protocols(tls)?;
    // a resumed session would skip the verification, and would outlive a change of the files
    config.resumption = Resumption::disabled();
    Ok(Prepared { config: Arc::new(config), verifier, identity })
}

fn trusted(tls: &Tls) -> Result<Option<Verifier>, String> {
    let Some(pem) = &tls.ca_cert else { return Ok(None) };
    let verifier = pem.certificates().and_then(Verifier::new);
    verifier.map(Some).map_err(|error| format!("ca_cert: {error}"))
}

fn identity(tls: &Tls) -> Result<Identity, String> {
    let (chain, key) = match (&tls.client_cert, &tls.client_key) {
        (None, None) => return Ok(Identity::default()),
        (Some(_), None) => return Err("client_cert: it needs its client_key".into()),
        (None, Some(_)) => return Err("client_key: it needs its client_cert".into()),
        (Some(chain), Some(key)) => (chain, key),
    };
    let chain = chain.certificates().and_then(|chain| all_readable(&chain).map(|()| chain));
    let chain = chain.map_err(|error| format!("client_cert: {error}"))?;
    let key = key.private_key().map_err(|error| format!("client_key: {error}"))?;
    let key = any_supported_type(&PrivateKey(key)).map_err(|_| {
        "client_key: it is none of RSA (2048 to 4096 bits), ECDSA (P-256, P-384), Ed25519, or it is damaged"
    })?;
    // Only a signature tells whether the two belong together: the key's public half cannot be had.
    let signer = key.choose_scheme(CLIENT_SCHEMES).ok_or("client_key: its kind cannot be used")?;
    let signature = signer.sign(SAMPLE).map_err(|error| format!("client_key: {error}"))?;
    if !is_signed_by(&chain[0], signer.scheme(), SAMPLE, &signature) {
        return Err("client_key: it does not match client_cert".into());
    }
    let chain = chain.iter().map(|der| Certificate(der.to_vec())).collect();
    Ok(Identity { key: Some(Arc::new(CertifiedKey::new(chain, key))), asked: AtomicBool::new(false) })
}

fn suites(tls: &Tls) -> Result<Vec<SupportedCipherSuite>, String> {
    if tls.cipher_suites.is_empty() {
        return Ok(rustls::DEFAULT_CIPHER_SUITES.to_vec());
    }
    let find = |name: &String| {
        let found = ALL_CIPHER_SUITES.iter().find(|suite| iana_name(suite).eq_ignore_ascii_case(name));
        found.copied().ok_or_else(|| format!("cipher_suites: {name:?} is not known here"))
    };
    tls.cipher_suites.iter().map(find).collect()
}

fn protocols(tls: &Tls) -> Result<Vec<Vec<u8>>, String> {
    match tls.alpn.iter().all(|name| (1..=255).contains(&name.len())) {
        true => Ok(tls.alpn.clone()),
        false => Err("alpn: a protocol name has 1 to 255 bytes".into()),
    }
}

fn named(server_name: &str) -> Result<String, String> {
    peer_name(server_name)
        .ok_or_else(|| format!("server_name: {server_name:?} is no host name and no address"))
}

/// The library writes `TLS13_AES_…` for what IANA calls `TLS_AES_…`.
fn iana_name(suite: &SupportedCipherSuite) -> String {
    format!("{:?}", suite.suite()).replacen("TLS13_", "TLS_", 1)
}

/// What a certificate is compared with: without the dot of an absolute name (RFC 6066 forbids it in the server name that
/// is sent) and without the zone of a link-local address.
fn peer_name(host: &str) -> Option<String> {
    let name = host.strip_suffix('.').unwrap_or(host);
    let name = name.split_once('%').map_or(name, |(address, _zone)| address);
    ServerName::try_from(name).ok().map(|_| name.to_owned())
}

/// Our certificate and key, and whether the server has asked for it.
#[derive(Default)]
struct Identity {
    key: Option<Arc<CertifiedKey>>,
    asked: AtomicBool,
}

impl Identity {
    fn explained(&self, error: io::Error) -> io::Error {
        match inner(&error) {
            Some(inner) => HandshakeError::new(self.explain(inner)).into(),
            None => error,
        }
    }

    /// What an error of the TLS library means, for people.
    fn explain(&self, error: &rustls::Error) -> String {
        use rustls::{Error, PeerIncompatible};
        match error {
            Error::AlertReceived(alert) => self.explain_alert(*alert),
            Error::InvalidMessage(_) => "the server does not speak TLS, or not on this port".into(),
            Error::PeerIncompatible(
                PeerIncompatible::ServerDoesNotSupportTls12Or13
                | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
            ) => "the server speaks neither TLS 1.2 nor TLS 1.3".into(),
            Error::NoCertificatesPresented => "the server has no certificate".into(),
            Error::InappropriateMessage { .. } | Error::InappropriateHandshakeMessage { .. } => {
                "the server broke the TLS protocol: a message out of turn".into()
            }
            Error::General(why) => why.clone(),
            other => other.to_string(),
        }
    }

    fn explain_alert(&self, alert: AlertDescription) -> String {
        use AlertDescription::*;
        let missing = self.asked.load(Ordering::Relaxed) && self.key.is_none();
        match alert {
            CertificateRequired => "client certificate required".into(),
            // what servers say instead, TLS 1.2 having no word for it
            HandshakeFailure | BadCertificate | UnknownCA | AccessDenied | CertificateUnknown if missing => {
                "client certificate required".into()
            }
            ProtocolVersion => "the server speaks neither TLS 1.2 nor TLS 1.3".into(),
            HandshakeFailure => {
                "the server accepts none of the offered cipher suites, groups or signatures".into()
            }
            NoApplicationProtocol => "the server knows none of the protocols in alpn".into(),
            UnrecognisedName => "the server does not know the name it was called by (server_name)".into(),
            UnknownCA => "the server refused the client certificate: unknown issuer".into(),
            CertificateExpired => {
                "the server refused the client certificate: expired, or not yet valid".into()
            }
            CertificateRevoked => "the server refused the client certificate: revoked".into(),
            BadCertificate | UnsupportedCertificate | CertificateUnknown | AccessDenied => {
                format!("the server refused the client certificate ({alert:?})")
            }
            other => format!("the server ended the connection with the TLS alert {other:?}"),
        }
    }
}

impl ResolvesClientCert for Identity {
    fn resolve(&self, _issuers: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.asked.store(true, Ordering::Relaxed);
        self.key.clone()
    }

    fn has_certs(&self) -> bool {
        self.key.is_some()
    }
}

fn inner(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

/// The stream below TLS, with three changes.
///
/// When writing fails it goes on as if it had not, until reading has nothing more to tell. A server that hangs up in
/// the handshake says why in its last bytes. They lie in our buffer even after a reset, but the TLS library would end with
/// the failed write before it comes to read them.
///
/// It notes that bytes have come.
///
/// And after the handshake it gathers records until it is flushed or has many: the TLS library writes each of them by
/// itself, and those calls of the system would be most of the work.
struct Lasting<S> {
    stream: S,
    broken: Option<io::Error>,
    /// Something was read since this was last set to false.
    arrived: bool,
    /// The handshake, which does not flush, is over.
    gathers: bool,
    /// Records that the stream below has not been given yet.
    gathered: Vec<u8>,
}

/// So many bytes of records are gathered at most.
const GATHERED: usize = 256 * 1024;

/// Memory that a flush leaves for what is gathered next: connections are mostly idle, and there may be many.
const KEPT: usize = 512;

impl<S: AsyncWrite + Unpin> Lasting<S> {
    /// Writes what was gathered.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut written = 0;
        while written < self.gathered.len() && self.broken.is_none() {
            match Pin::new(&mut self.stream).poll_write(cx, &self.gathered[written..]) {
                Poll::Ready(Ok(n)) if n > 0 => written += n,
                Poll::Ready(Ok(_)) => self.break_off(io::ErrorKind::WriteZero.into(), cx),
                Poll::Ready(Err(error)) => self.break_off(error, cx),
                Poll::Pending => {
                    self.gathered.drain(..written);
                    return Poll::Pending;
                }
            }
        }
        self.gathered.clear();
        Poll::Ready(())
    }

    /// Writing has failed.
    fn break_off(&mut self, error: io::Error, cx: &mut Context<'_>) {
        self.broken = Some(error);
        cx.waker().wake_by_ref(); // for the read that reports it
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Lasting<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_read(cx, buffer);
        self.arrived |= outcome.is_ready();
        match (outcome, self.broken.take()) {
            (Poll::Ready(Ok(n)), broken) if n > 0 => {
                self.broken = broken;
                Poll::Ready(Ok(n))
            }
            (_, Some(broken)) => Poll::Ready(Err(broken)),
            (outcome, None) => outcome,
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Lasting<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.broken.is_some() {
            return Poll::Ready(Ok(bytes.len()));
        }
        if self.gathers {
            if self.gathered.len() + bytes.len() > GATHERED {
                ready!(self.poll_drain(cx));
            }
            self.gathered.extend_from_slice(bytes);
            return Poll::Ready(Ok(bytes.len()));
        }
        match ready!(Pin::new(&mut self.stream).poll_write(cx, bytes)) {
            Err(error) if !bytes.is_empty() => {
                self.break_off(error, cx);
                Poll::Ready(Ok(bytes.len()))
            }
            outcome => Poll::Ready(outcome),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(cx));
        self.gathered.shrink_to(KEPT);
        match self.broken {
            Some(_) => Poll::Ready(Ok(())),
            None => Pin::new(&mut self.stream).poll_flush(cx),
        }
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(cx));
        Pin::new(&mut self.stream).poll_close(cx)
    }
}

/// Signed to see whether a key and a certificate belong together.
const SAMPLE: &[u8] = b"nodemcu-mqtt: do this key and this certificate belong together?";

/// One scheme for each kind of key that can be used.
const CLIENT_SCHEMES: &[SignatureScheme] = &[
    SignatureScheme::RSA_PSS_SHA256,
    SignatureScheme::ECDSA_NISTP256_SHA256,
    SignatureScheme::ECDSA_NISTP384_SHA384,
    SignatureScheme::ED25519,
];
