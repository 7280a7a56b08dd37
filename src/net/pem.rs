//! Certificates and keys as they are given: PEM data, or the path of a file that holds it.

use std::borrow::Cow;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::PathBuf;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::{PemObject, SectionKind};

/// A file may be so large: the bundle of all public CAs has a quarter of a megabyte.
const MAX_FILE: u64 = 16 << 20;

/// PEM data, or the path of a file with it, which is read anew at each use.
#[derive(Clone, PartialEq, Eq)]
pub enum Pem {
    /// The data itself.
    Data(Vec<u8>),
    /// Where it is.
    Path(PathBuf),
}

impl Pem {
    /// What holds PEM armour is data, anything else a path.
    pub fn new(given: &[u8]) -> Pem {
        if contains(given, b"-----BEGIN ") {
            return Pem::Data(given.to_vec());
        }
        #[cfg(unix)]
        let path = <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(given).to_owned();
        #[cfg(not(unix))]
        let path = String::from_utf8_lossy(given).into_owned();
        Pem::Path(path.into())
    }

    /// All certificates, in their order; at least one.
    ///
    /// # Errors
    /// A sentence for people, without the data.
    pub(super) fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, String> {
        let mut found = Vec::new();
        for section in self.sections().map_err(|error| match self {
            Pem::Path(path) => format!("{error} ({})", path.display()),
            Pem::Data(_) => error,
        })? {
            if let (SectionKind::Certificate, der) = section {
                found.push(CertificateDer::from(der));
            }
        }
        match found.is_empty() {
            true => Err("there is no certificate in it".into()),
            false => Ok(found),
        }
    }

    /// The first private key (PKCS#1, PKCS#8 or SEC1), as DER.
    ///
    /// # Errors
    /// A sentence for people. It never shows the path either: what was taken for one may be a key without its armour.
    pub(super) fn private_key(&self) -> Result<Vec<u8>, String> {
        let key = |section: &(SectionKind, Vec<u8>)| {
            matches!(
                section.0,
                SectionKind::PrivateKey | SectionKind::RsaPrivateKey | SectionKind::EcPrivateKey
            )
        };
        let found = self.sections()?.into_iter().find(key);
        found.map(|(_, der)| der).ok_or_else(|| "there is no private key in it".into())
    }

    fn sections(&self) -> Result<Vec<(SectionKind, Vec<u8>)>, String> {
        let bytes = self.read().map_err(|error| format!("cannot read the file: {error}"))?;
        if contains(&bytes, b"-----BEGIN ENCRYPTED PRIVATE KEY")
            || contains(&bytes, b"Proc-Type: 4,ENCRYPTED")
        {
            return Err(
                "the key is encrypted: store it without a password (openssl pkey -in … -out …)".into()
            );
        }
        let sections =
            <(SectionKind, Vec<u8>)>::pem_slice_iter(&unindented(&bytes)).collect::<Result<Vec<_>, _>>();
        // the parser's own error shows the line it stumbled over, which may be one of a key
        sections.map_err(|_| "the PEM data is damaged".into())
    }

    fn read(&self) -> io::Result<Cow<'_, [u8]>> {
        let path = match self {
            Pem::Data(bytes) => return Ok(Cow::Borrowed(bytes)),
            Pem::Path(path) => path,
        };
        // opening a pipe would wait for its writer
        if !fs::metadata(path)?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
        }
        let mut bytes = Vec::new();
        File::open(path)?.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
        match bytes.len() as u64 > MAX_FILE {
            true => Err(io::Error::new(io::ErrorKind::InvalidData, "it is too large")),
            false => Ok(Cow::Owned(bytes)),
        }
    }
}

impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pem::Data(bytes) => write!(f, "Data({} B)", bytes.len()),
            Pem::Path(_) => f.write_str("Path(<redacted>)"),
        }
    }
}

/// The lines without the blanks around them, and without a byte order mark: armour in a script is often indented.
fn unindented(bytes: &[u8]) -> Vec<u8> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut out = Vec::with_capacity(bytes.len());
    for line in bytes.split(|byte| matches!(byte, b'\n' | b'\r')) {
        out.extend_from_slice(line.trim_ascii());
        out.push(b'\n');
    }
    out
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// The entry for fuzzing: data of any bytes has certificates and a key or not, and neither errors nor `Debug` show it.
#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    let pem = Pem::Data(data.to_vec());
    assert_eq!(format!("{pem:?}"), format!("Data({} B)", data.len()));
    if let Ok(certificates) = pem.certificates() {
        assert!(!certificates.is_empty());
    }
    let _ = pem.private_key();
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three bytes that stand for a certificate; the parser looks at the armour only.
    const CERT: &str = "-----BEGIN CERTIFICATE-----\nAQID\n-----END CERTIFICATE-----\n";

    fn pem(text: &str) -> Pem {
        Pem::new(text.as_bytes())
    }

    #[test]
    fn armour_tells_data_from_a_path() {
        assert!(matches!(pem(CERT), Pem::Data(_)));
        assert!(matches!(pem(&format!("some text\r\n{CERT}")), Pem::Data(_)));
        assert_eq!(pem("/etc/ca.pem"), Pem::Path("/etc/ca.pem".into()));
    }

    #[test]
    fn several_certificates_with_text_and_other_line_ends_between() {
        for text in [
            format!("{CERT}{CERT}"),
            format!("subject=CN = x\n{CERT}\n# the second\n{CERT}trailer"),
            format!("{CERT}{CERT}").replace('\n', "\r\n"),
            format!("{CERT}{CERT}").replace('\n', "\n    "),
            format!("\u{feff}{CERT}{}", CERT.trim_end()),
        ] {
            let found = pem(&text).certificates().unwrap();
            assert_eq!(found, [CertificateDer::from(vec![1, 2, 3]), vec![1, 2, 3].into()], "{text:?}");
        }
    }

    #[test]
    fn keys_of_three_encodings_are_found_behind_other_sections() {
        for kind in ["PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY"] {
            let text = format!(
                "-----BEGIN EC PARAMETERS-----\nBggq\n-----END EC PARAMETERS-----\n{CERT}\
                 -----BEGIN {kind}-----\nBAUG\n-----END {kind}-----\n"
            );
            assert_eq!(pem(&text).private_key().unwrap(), [4, 5, 6]);
        }
    }

    #[test]
    fn errors_say_what_is_wrong_and_show_nothing() {
        let encrypted = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nhunter2=\n";
        assert!(pem(encrypted).private_key().unwrap_err().contains("encrypted"));
        let cut = "-----BEGIN PRIVATE KEY-----\nhunter2!\n";
        assert_eq!(pem(cut).private_key().unwrap_err(), "the PEM data is damaged");
        let bad = "-----BEGIN PRIVATE KEY-----\nhunter2!\n-----END PRIVATE KEY-----\n";
        assert_eq!(pem(bad).private_key().unwrap_err(), "the PEM data is damaged");
        assert_eq!(pem(CERT).private_key().unwrap_err(), "there is no private key in it");
        let nowhere = pem("hunter2").private_key().unwrap_err();
        assert!(nowhere.contains("cannot read") && !nowhere.contains("hunter2"), "{nowhere}");
        assert!(pem("/no/such/file").certificates().unwrap_err().contains("/no/such/file"));
        assert!(!format!("{:?}{:?}", pem("hunter2"), pem(bad)).contains("hunter2"));
    }

    #[test]
    fn what_is_no_regular_file_is_refused() {
        for path in ["/dev/zero", "/"] {
            assert!(pem(path).certificates().unwrap_err().contains("it is no regular file"));
        }
    }
}
