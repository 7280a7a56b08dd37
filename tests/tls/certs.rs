//! Certificates, made with the `openssl` command line.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{LazyLock, Mutex};

use mqtt::net::pem::Pem;

/// Kinds of keys. The number tells keys of one kind apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    P256(u8),
    P384,
    Ed25519,
    Rsa(u16),
}

/// A certificate with its key.
#[derive(Clone)]
pub(crate) struct Issued {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
}

impl Issued {
    /// The certificate, as a script gives it.
    pub(crate) fn pem(&self) -> Pem {
        Pem::Path(self.cert.clone())
    }

    /// Its key, as a script gives it.
    pub(crate) fn key_pem(&self) -> Pem {
        Pem::Path(self.key.clone())
    }

    pub(crate) fn text(&self) -> String {
        fs::read_to_string(&self.cert).unwrap()
    }
}

/// What a certificate is to hold.
#[derive(Clone)]
pub(crate) struct Spec<'a> {
    pub(crate) subject: &'a str,
    pub(crate) key: Key,
    /// Subject alternative names, as openssl writes them; empty: none.
    pub(crate) names: &'a str,
    pub(crate) is_ca: bool,
    /// Further lines of extensions.
    pub(crate) extensions: &'a str,
    /// `YYYYMMDDHHMMSSZ`
    pub(crate) from: &'a str,
    pub(crate) to: &'a str,
    pub(crate) digest: &'a str,
}

/// A server's certificate for this machine.
pub(crate) const LEAF: Spec<'_> = Spec {
    subject: "server",
    key: Key::P256(0),
    names: "DNS:localhost,IP:127.0.0.1,IP:::1",
    is_ca: false,
    extensions: "",
    from: "20200101000000Z",
    to: "20500101000000Z",
    digest: "sha256",
};

/// A CA.
pub(crate) const CA: Spec<'_> =
    Spec { subject: "Test CA", key: Key::P256(1), names: "", is_ca: true, ..LEAF };

/// A certificate signed by `issuer`, or by itself.
pub(crate) fn issue(issuer: Option<&Issued>, spec: &Spec<'_>) -> Issued {
    let dir = fresh_dir();
    let key = key(spec.key);
    let mut config = format!(
        "[req]\ndistinguished_name = dn\nprompt = no\n[dn]\nCN = {}\n\
         [ca]\ndefault_ca = here\n[here]\ndatabase = {dir}/index\nnew_certs_dir = {dir}\nrand_serial = yes\n\
         unique_subject = no\npolicy = any\n[any]\ncommonName = supplied\n\
         [extensions]\nbasicConstraints = critical,CA:{}\n",
        spec.subject,
        if spec.is_ca { "TRUE" } else { "FALSE" },
        dir = dir.display(),
    );
    if !spec.names.is_empty() {
        config.push_str(&format!("subjectAltName = {}\n", spec.names));
    }
    config.push_str(spec.extensions);
    fs::write(dir.join("config"), config).unwrap();
    fs::write(dir.join("index"), "").unwrap();
    let (config, request, cert) = (dir.join("config"), dir.join("request"), dir.join("cert.pem"));
    openssl(&["req", "-new", "-config", p(&config), "-key", p(&key), "-out", p(&request)]);
    let mut arguments =
        vec!["ca", "-batch", "-notext", "-config", p(&config), "-in", p(&request), "-out", p(&cert)];
    arguments.extend(["-startdate", spec.from, "-enddate", spec.to, "-extensions", "extensions"]);
    if !matches!(spec.key, Key::Ed25519) || issuer.is_some() {
        arguments.extend(["-md", spec.digest]);
    } else {
        arguments.extend(["-md", "default"]);
    }
    match issuer {
        Some(issuer) => arguments.extend(["-cert", p(&issuer.cert), "-keyfile", p(&issuer.key)]),
        None => arguments.extend(["-selfsign", "-keyfile", p(&key)]),
    }
    openssl(&arguments);
    Issued { cert, key }
}

/// A certificate of X.509 version 1, signed by `issuer` or by itself: what `openssl x509 -req` made for a long time when
/// it was told nothing else.
pub(crate) fn issue_version_1(issuer: Option<&Issued>, subject: &str, kind: Key) -> Issued {
    let dir = fresh_dir();
    let key = key(kind);
    let (request, cert) = (dir.join("request"), dir.join("cert.pem"));
    openssl(&["req", "-new", "-subj", &format!("/CN={subject}"), "-key", p(&key), "-out", p(&request)]);
    let mut arguments =
        vec!["x509", "-req", "-in", p(&request), "-out", p(&cert), "-days", "30", "-set_serial", "7"];
    match issuer {
        Some(issuer) => arguments.extend(["-CA", p(&issuer.cert), "-CAkey", p(&issuer.key)]),
        None => arguments.extend(["-signkey", p(&key)]),
    }
    openssl(&arguments);
    Issued { cert, key }
}

/// The file of a key; keys are made once and used again, that takes the time.
pub(crate) fn key(kind: Key) -> PathBuf {
    static MADE: Mutex<()> = Mutex::new(());
    let path = ROOT.join(format!("{kind:?}.key"));
    let _one_at_a_time = MADE.lock().unwrap();
    if !path.exists() {
        let bits;
        let kind: &[&str] = match kind {
            Key::P256(_) => &["EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
            Key::P384 => &["EC", "-pkeyopt", "ec_paramgen_curve:P-384"],
            Key::Ed25519 => &["ED25519"],
            Key::Rsa(length) => {
                bits = format!("rsa_keygen_bits:{length}");
                &["RSA", "-pkeyopt", &bits]
            }
        };
        openssl(&[&["genpkey", "-quiet", "-out", p(&path), "-algorithm"], kind].concat());
    }
    path
}

/// Runs `openssl`; its output.
pub(crate) fn openssl(arguments: &[&str]) -> String {
    let output =
        Command::new("openssl").args(arguments).stdin(Stdio::null()).output().expect("openssl is installed");
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "openssl {}: {log}", arguments.join(" "));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A new empty directory that goes with the tests.
pub(crate) fn fresh_dir() -> PathBuf {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let dir = ROOT.join(COUNT.fetch_add(1, Ordering::Relaxed).to_string());
    fs::create_dir(&dir).unwrap();
    dir
}

pub(crate) fn p(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// One directory per process, so that two runs at once do not meet. Those of runs that have ended are removed.
static ROOT: LazyLock<PathBuf> = LazyLock::new(|| {
    let tmp = Path::new(env!("CARGO_TARGET_TMPDIR"));
    for entry in fs::read_dir(tmp).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let process = name.to_str().and_then(|name| name.strip_prefix("tls-"));
        if process.is_some_and(|process| !Path::new("/proc").join(process).exists()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    let root = tmp.join(format!("tls-{}", std::process::id()));
    let _ = fs::remove_dir_all(&root);
    fs::create_dir_all(&root).unwrap();
    root
});
