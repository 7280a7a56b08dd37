//! Whether a server's certificate is good: chain, dates, purpose, name constraints, and the name of the server.
//!
//! The TLS library of `async-tls` brings a path validation that is no longer maintained and has open advisories. This
//! verifier does all of that work with a maintained `rustls-webpki` instead, the signatures of the handshake included, so
//! that nothing a peer sends reaches the old one.
//!
//! Beyond what `rustls-webpki` checks:
//! - A trust anchor is refused when it is out of date or is no CA. The library takes anchors as names and keys only.
//! - A certificate that equals a trusted one is good without a chain ("pinned"), CA or not; its dates and its names are
//!   checked all the same.
//! - An RSA key below 2048 bits is refused by name, not by a signature that does not fit.
//!
//! Revocation is not checked.

use std::sync::OnceLock;
use std::time::SystemTime;

use rustls::client::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::{Certificate, CertificateError, DigitallySignedStruct, ServerName, SignatureScheme};
use rustls_pki_types::{
    CertificateDer, SignatureVerificationAlgorithm, SubjectPublicKeyInfoDer, TrustAnchor, UnixTime,
};
use webpki::{EndEntityCert, KeyUsage, RawPublicKeyEntity, anchor_from_trusted_cert, ring};

use super::x509::{Fields, OutOfDate};

/// So many names of a certificate are shown.
const SHOWN_NAMES: usize = 8;

/// Checks one server against a set of trusted certificates, and remembers why it was refused.
pub(super) struct Verifier {
    trusted: Vec<CertificateDer<'static>>,
    refusal: OnceLock<String>,
}

impl Verifier {
    /// For certificates that are trusted: CAs, or servers themselves.
    ///
    /// # Errors
    /// One of them is malformed, for people.
    pub(super) fn new(trusted: Vec<CertificateDer<'static>>) -> Result<Verifier, String> {
        all_readable(&trusted)?;
        Ok(Verifier { trusted, refusal: OnceLock::new() })
    }

    /// For the certificates that the system trusts; those of them that cannot be read are left out.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn of_the_system() -> Result<Verifier, String> {
        let found = rustls_native_certs::load_native_certs();
        let mut trusted = found.certs;
        trusted.retain(is_readable);
        if trusted.is_empty() {
            let why = found.errors.first().map(|error| format!(" ({error})")).unwrap_or_default();
            return Err(format!(
                "the system's trust store is empty{why}: install its CA certificates, or give ca_cert"
            ));
        }
        Ok(Verifier { trusted, refusal: OnceLock::new() })
    }

    /// Why the server was refused, if it was.
    pub(super) fn refusal(&self) -> Option<&str> {
        self.refusal.get().map(String::as_str)
    }

    fn check(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &rustls_pki_types::ServerName<'_>,
        now: SystemTime,
    ) -> Result<(), Refusal> {
        let malformed =
            || Refusal::new(CertificateError::BadEncoding, "the server's certificate is malformed");
        let fields = Fields::read(leaf).ok_or_else(malformed)?;
        let certificate = EndEntityCert::try_from(leaf).map_err(|error| match error {
            webpki::Error::UnsupportedCertVersion => {
                let why =
                    "the server's certificate is of X.509 version 1, which has no subject alternative name";
                Refusal::new(CertificateError::NotValidForName, why)
            }
            other => Refusal::of(other, &fields),
        })?;
        if let Some(reason) = fields.out_of_date(now) {
            return Err(Refusal::dated(reason, "the server's certificate"));
        }
        if let Some(why) = too_short(&fields) {
            return Err(Refusal::new(
                CertificateError::BadSignature,
                format!("the server's certificate has {why}"),
            ));
        }
        if !self.trusted.iter().any(|trusted| trusted == leaf) {
            self.check_chain(&certificate, &fields, intermediates, now)?;
        }
        certificate.verify_is_valid_for_subject_name(name).map_err(|error| Refusal::of(error, &fields))
    }

    fn check_chain(
        &self,
        certificate: &EndEntityCert<'_>,
        fields: &Fields<'_>,
        intermediates: &[CertificateDer<'_>],
        now: SystemTime,
    ) -> Result<(), Refusal> {
        let time = now.duration_since(SystemTime::UNIX_EPOCH).map_err(|_| {
            Refusal::new(CertificateError::NotValidYet, "the clock of this machine shows a year before 1970")
        })?;
        let verify = |anchors: &[TrustAnchor<'_>]| {
            let time = UnixTime::since_unix_epoch(time);
            let usage = KeyUsage::server_auth();
            certificate
                .verify_for_usage(ALGORITHMS, anchors, intermediates, time, usage, None, None)
                .map(drop)
        };
        let (mut anchors, mut unfit) = (Vec::new(), Vec::new());
        for trusted in &self.trusted {
            let (Ok(anchor), Some(fields)) = (anchor_from_trusted_cert(trusted), Fields::read(trusted))
            else {
                continue; // the constructors let none such in
            };
            let out_of_date = fields.out_of_date(now);
            if out_of_date.is_none() && fields.may_sign {
                anchors.push(anchor);
            } else {
                unfit.push((anchor, fields, out_of_date));
            }
        }
        let Err(error) = verify(&anchors) else {
            return Ok(());
        };
        // Would one of the certificates that were left out do? Then that is the reason, and a better one.
        for (anchor, fields, out_of_date) in unfit {
            if verify(&[anchor]).is_ok() {
                let subject = fields.subject.as_deref().unwrap_or("without a name");
                return Err(match out_of_date {
                    Some(reason) => {
                        Refusal::dated(reason, &format!("the trusted CA certificate \"{subject}\""))
                    }
                    None => {
                        let why = format!("unknown issuer: \"{subject}\" is trusted, but is no CA");
                        Refusal::new(CertificateError::UnknownIssuer, why)
                    }
                });
            }
        }
        if matches!(error, webpki::Error::InvalidSignatureForPublicKey) {
            // a signature by too short a key is reported as a wrong one
            let all = intermediates.iter().chain(&self.trusted);
            let short = all.filter_map(|certificate| Fields::read(certificate)).find(|issuer| {
                too_short(issuer).is_some() && (issuer.subject == fields.issuer || !intermediates.is_empty())
            });
            if let Some((issuer, why)) = short.as_ref().and_then(|issuer| Some((issuer, too_short(issuer)?)))
            {
                let subject = issuer.subject.as_deref().unwrap_or("without a name");
                return Err(Refusal::new(
                    CertificateError::BadSignature,
                    format!("the CA \"{subject}\" has {why}"),
                ));
            }
        }
        Err(Refusal::of(error, fields))
    }

    fn refuse(&self, refusal: Refusal) -> rustls::Error {
        let _ = self.refusal.set(refusal.why); // the first one counts; there is one server per verifier
        rustls::Error::InvalidCertificate(refusal.kind)
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &Certificate,
        intermediates: &[Certificate],
        server_name: &ServerName,
        _scts: &mut dyn Iterator<Item = &[u8]>,
        _ocsp_response: &[u8],
        now: SystemTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let name = match server_name {
            ServerName::DnsName(name) => rustls_pki_types::ServerName::try_from(name.as_ref()).ok(),
            ServerName::IpAddress(address) => Some((*address).into()),
            _ => None,
        };
        let name = name.ok_or(rustls::Error::UnsupportedNameType)?;
        let leaf = CertificateDer::from(end_entity.0.as_slice());
        let intermediates: Vec<_> =
            intermediates.iter().map(|der| CertificateDer::from(der.0.as_slice())).collect();
        match self.check(&leaf, &intermediates, &name, now) {
            Ok(()) => Ok(ServerCertVerified::assertion()),
            Err(refusal) => Err(self.refuse(refusal)),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &Certificate,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let (exact, more) = algorithms(signed.scheme);
        verify_handshake(&[exact, more], message, certificate, signed).map_err(|refusal| self.refuse(refusal))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &Certificate,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let (exact, _) = algorithms(signed.scheme);
        verify_handshake(&[exact], message, certificate, signed).map_err(|refusal| self.refuse(refusal))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        SCHEMES.iter().map(|(scheme, ..)| *scheme).collect()
    }

    fn request_scts(&self) -> bool {
        false
    }
}

/// Accepts everybody. For `verify = false` only.
pub(super) struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &Certificate,
        _intermediates: &[Certificate],
        _server_name: &ServerName,
        _scts: &mut dyn Iterator<Item = &[u8]>,
        _ocsp_response: &[u8],
        _now: SystemTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    // A signature by a key that nobody vouches for proves nothing, and devices have keys that are refused otherwise.
    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &Certificate,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &Certificate,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        SCHEMES.iter().map(|(scheme, ..)| *scheme).collect()
    }

    fn request_scts(&self) -> bool {
        false
    }
}

/// Whether `signature` of `message`, made with `scheme`, was made by the key that belongs to `certificate`, of whatever
/// X.509 version that is.
pub(super) fn is_signed_by(
    certificate: &[u8],
    scheme: SignatureScheme,
    message: &[u8],
    signature: &[u8],
) -> bool {
    let Some(fields) = Fields::read(certificate) else { return false };
    let key = SubjectPublicKeyInfoDer::from(fields.public_key);
    let Ok(key) = RawPublicKeyEntity::try_from(&key) else { return false };
    algorithms(scheme).0.iter().any(|algorithm| key.verify_signature(*algorithm, message, signature).is_ok())
}

/// Whether all of them are well-formed certificates.
///
/// # Errors
/// Which one is not, for people.
pub(super) fn all_readable(certificates: &[CertificateDer<'_>]) -> Result<(), String> {
    match certificates.iter().position(|certificate| !is_readable(certificate)) {
        None => Ok(()),
        Some(index) if certificates.len() > 1 => Err(format!("certificate {} is malformed", index + 1)),
        Some(_) => Err("the certificate is malformed".into()),
    }
}

/// Well-formed for both readers.
fn is_readable(certificate: &CertificateDer<'_>) -> bool {
    anchor_from_trusted_cert(certificate).is_ok() && Fields::read(certificate).is_some()
}

fn too_short(fields: &Fields<'_>) -> Option<String> {
    let bits = fields.rsa_bits.filter(|bits| *bits < 2048)?;
    Some(format!("an RSA key of {bits} bits, at least 2048 are needed"))
}

fn verify_handshake(
    algorithms: &[Algorithms],
    message: &[u8],
    certificate: &Certificate,
    signed: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, Refusal> {
    let der = CertificateDer::from(certificate.0.as_slice());
    let good = EndEntityCert::try_from(&der).is_ok_and(|certificate| {
        let mut algorithms = algorithms.iter().copied().flatten();
        algorithms
            .any(|algorithm| certificate.verify_signature(*algorithm, message, signed.signature()).is_ok())
    });
    match good {
        true => Ok(HandshakeSignatureValid::assertion()),
        false => Err(Refusal::new(
            CertificateError::BadSignature,
            format!("the server's handshake is not signed with its certificate's key ({:?})", signed.scheme),
        )),
    }
}

/// Why a server is refused: for the alert it gets, and for people.
struct Refusal {
    kind: CertificateError,
    why: String,
}

impl Refusal {
    fn new(kind: CertificateError, why: impl Into<String>) -> Refusal {
        Refusal { kind, why: why.into() }
    }

    fn dated(reason: OutOfDate, what: &str) -> Refusal {
        let kind = match reason {
            OutOfDate::NotYetValid(_) => CertificateError::NotValidYet,
            OutOfDate::Expired(_) => CertificateError::Expired,
        };
        let verb = if matches!(reason, OutOfDate::NotYetValid(_)) { "is " } else { "" };
        Refusal::new(kind, format!("{what} {verb}{reason}"))
    }

    /// From the error of the path validation for a leaf with these fields.
    fn of(error: webpki::Error, leaf: &Fields<'_>) -> Refusal {
        use webpki::Error;
        let issuer = leaf.issuer.as_deref().unwrap_or("without a name");
        match error {
            Error::UnknownIssuer | Error::CaUsedAsEndEntity if leaf.self_issued => Refusal::new(
                CertificateError::UnknownIssuer,
                format!(
                    "unknown issuer: the server's certificate is self-signed (\"{issuer}\") and is not trusted itself"
                ),
            ),
            Error::UnknownIssuer => Refusal::new(
                CertificateError::UnknownIssuer,
                format!(
                    "unknown issuer: the server's certificate is signed by \"{issuer}\", which leads to no trusted CA"
                ),
            ),
            Error::InvalidSignatureForPublicKey => Refusal::new(
                CertificateError::BadSignature,
                format!("unknown issuer: a CA named \"{issuer}\" is known, but did not sign with its key"),
            ),
            Error::CertExpired { not_after, .. } => {
                Refusal::dated(OutOfDate::Expired(signed(not_after)), "a CA certificate that the server sent")
            }
            Error::CertNotValidYet { not_before, .. } => Refusal::dated(
                OutOfDate::NotYetValid(signed(not_before)),
                "a CA certificate that the server sent",
            ),
            Error::InvalidCertValidity => {
                Refusal::new(CertificateError::Expired, "a certificate ends before it begins")
            }
            Error::CertNotValidForName(context) => {
                let expected = context.expected.to_str();
                Refusal::new(CertificateError::NotValidForName, mismatch(&expected, &context.presented, leaf))
            }
            Error::RequiredEkuNotFoundContext(_) | Error::EmptyEkuExtension => Refusal::new(
                CertificateError::InvalidPurpose,
                "the certificate is not for servers (extended key usage without serverAuth)",
            ),
            Error::CaUsedAsEndEntity => {
                Refusal::new(CertificateError::InvalidPurpose, "the server's certificate is a CA certificate")
            }
            Error::EndEntityUsedAsCa => Refusal::new(
                CertificateError::UnknownIssuer,
                format!("unknown issuer: \"{issuer}\", which signed the certificate, is no CA"),
            ),
            Error::PathLenConstraintViolated => Refusal::new(
                CertificateError::UnknownIssuer,
                "unknown issuer: the chain is longer than one of its CAs allows",
            ),
            Error::NameConstraintViolation => Refusal::new(
                CertificateError::UnknownIssuer,
                "the name constraints of a CA do not allow the names of the server's certificate",
            ),
            Error::UnsupportedSignatureAlgorithmContext(context) => Refusal::new(
                CertificateError::BadSignature,
                format!("a certificate is signed with {}", algorithm_name(&context.signature_algorithm_id)),
            ),
            Error::UnsupportedCriticalExtension => Refusal::new(
                CertificateError::UnhandledCriticalExtension,
                "a certificate has a critical extension that is not known here",
            ),
            Error::CertDistrusted | Error::CertRevoked => {
                Refusal::new(CertificateError::Revoked, "the CA is no longer trusted by anybody")
            }
            other => Refusal::new(
                CertificateError::BadEncoding,
                format!("the server's certificate is not valid: {other}"),
            ),
        }
    }
}

fn mismatch(expected: &str, presented: &[String], leaf: &Fields<'_>) -> String {
    if presented.is_empty() {
        let subject = leaf.subject.as_deref().unwrap_or("none");
        return format!(
            "name mismatch: the certificate has no subject alternative name (its common name, {subject}, does not count)"
        );
    }
    let mut names: Vec<_> = presented.iter().take(SHOWN_NAMES).map(|name| general_name(name)).collect();
    if presented.len() > SHOWN_NAMES {
        names.push(format!("{} more", presented.len() - SHOWN_NAMES));
    }
    format!("name mismatch: certificate is for {}, not for {expected}", names.join(", "))
}

/// `DnsName("a.b")` as the library shows it, as `DNS:a.b`.
fn general_name(shown: &str) -> String {
    let inner = |kind: &str| shown.strip_prefix(kind)?.strip_suffix(')');
    let name = match (inner("DnsName("), inner("IpAddress(")) {
        (Some(name), _) => format!("DNS:{}", name.trim_matches('"')),
        (_, Some(address)) => format!("IP:{address}"),
        _ => shown.to_owned(),
    };
    name.escape_debug().to_string()
}

fn algorithm_name(id: &[u8]) -> String {
    let known: [(&[u8], &str); 4] = [
        (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x05], "SHA-1"),
        (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x01], "SHA-1"),
        (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x04], "MD5"),
        (
            &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a],
            "RSA-PSS parameters that are not supported",
        ),
    ];
    let found = known.iter().find(|(oid, _)| id.windows(oid.len()).any(|window| window == *oid));
    match found {
        Some((_, name)) => format!("{name}, which is not accepted"),
        None => "an algorithm that is not accepted".into(),
    }
}

fn signed(time: UnixTime) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}

/// Ways to sign.
type Algorithms = &'static [&'static dyn SignatureVerificationAlgorithm];

/// What certificates may be signed with: no SHA-1, no RSA below 2048 bits.
static ALGORITHMS: Algorithms = &[
    ring::ECDSA_P256_SHA256,
    ring::ECDSA_P256_SHA384,
    ring::ECDSA_P384_SHA256,
    ring::ECDSA_P384_SHA384,
    ring::ED25519,
    ring::RSA_PSS_2048_8192_SHA256_LEGACY_KEY,
    ring::RSA_PSS_2048_8192_SHA384_LEGACY_KEY,
    ring::RSA_PSS_2048_8192_SHA512_LEGACY_KEY,
    ring::RSA_PKCS1_2048_8192_SHA256,
    ring::RSA_PKCS1_2048_8192_SHA384,
    ring::RSA_PKCS1_2048_8192_SHA512,
    ring::RSA_PKCS1_3072_8192_SHA384,
];

/// What the handshake may be signed with, the best first, and the algorithms that go by that name: in TLS 1.3 one, or none
/// for PKCS#1 (RFC 8446, section 4.2.3); in TLS 1.2, where it tells no curve, one more for ECDSA.
static SCHEMES: &[(SignatureScheme, Algorithms, Algorithms)] = &[
    (SignatureScheme::ECDSA_NISTP384_SHA384, &[ring::ECDSA_P384_SHA384], &[ring::ECDSA_P256_SHA384]),
    (SignatureScheme::ECDSA_NISTP256_SHA256, &[ring::ECDSA_P256_SHA256], &[ring::ECDSA_P384_SHA256]),
    (SignatureScheme::ED25519, &[ring::ED25519], &[]),
    (SignatureScheme::RSA_PSS_SHA512, &[ring::RSA_PSS_2048_8192_SHA512_LEGACY_KEY], &[]),
    (SignatureScheme::RSA_PSS_SHA384, &[ring::RSA_PSS_2048_8192_SHA384_LEGACY_KEY], &[]),
    (SignatureScheme::RSA_PSS_SHA256, &[ring::RSA_PSS_2048_8192_SHA256_LEGACY_KEY], &[]),
    (SignatureScheme::RSA_PKCS1_SHA512, &[], &[ring::RSA_PKCS1_2048_8192_SHA512]),
    (SignatureScheme::RSA_PKCS1_SHA384, &[], &[ring::RSA_PKCS1_2048_8192_SHA384]),
    (SignatureScheme::RSA_PKCS1_SHA256, &[], &[ring::RSA_PKCS1_2048_8192_SHA256]),
];

/// Algorithms of a scheme in TLS 1.3, and those that TLS 1.2 adds.
fn algorithms(scheme: SignatureScheme) -> (Algorithms, Algorithms) {
    let found = SCHEMES.iter().find(|(known, ..)| *known == scheme);
    found.map_or((&[], &[]), |(_, all, tls12)| (all, tls12))
}
