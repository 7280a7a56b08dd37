//! The settings: what is an error before anything is tried, and what each of them does.

use std::fs;
use std::io::Read;
use std::process::Command;

use mqtt::net::pem::Pem;
use mqtt::net::tls::{Tls, check};

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use crate::certs::{CA, Issued, Key, LEAF, Spec, fresh_dir, issue, key, openssl, p};
use crate::server::{Server, accepted, attempt, listen, refused};

/// What a build says that cannot do it.
#[cfg(not(feature = "psk"))]
#[test]
fn a_pre_shared_key_needs_the_feature() {
    let why = mqtt::net::psk::Psk::new(b"device", b"00").unwrap_err();
    assert_eq!(why, "psk_identity: this build has no TLS-PSK (Cargo feature psk)");
}

fn trusting(ca: &Issued) -> Tls {
    Tls { ca_cert: Some(ca.pem()), ..Tls::default() }
}

fn text(text: &str) -> Option<Pem> {
    Some(Pem::new(text.as_bytes()))
}

#[track_caller]
fn wrong(tls: &Tls, expected: &str) {
    let why = check(tls).expect_err("this was to be an error");
    assert!(why.contains(expected), "{why:?} lacks {expected:?}");
    // nor does a handshake fall back to anything
    let (port, sent) = silent();
    refused(port, "localhost", tls, &[&why]);
    assert_eq!((sent.recv_blocking(), sent.recv_blocking()), (Ok(0), Ok(0)));
}

/// A server that tells how many bytes each client has sent.
fn silent() -> (u16, smol::channel::Receiver<usize>) {
    let (tell, told) = smol::channel::unbounded();
    let port = listen(move |mut socket| {
        let mut sent = Vec::new();
        let _ = socket.read_to_end(&mut sent);
        let _ = tell.send_blocking(sent.len());
    });
    (port, told)
}

#[test]
fn nothing_is_needed() {
    assert_eq!(check(&Tls::default()), Ok(()));
}

#[test]
fn certificates_come_as_text_or_as_a_path_with_whatever_is_around_them() {
    let ca = issue(None, &CA);
    let other = issue(None, &Spec { subject: "Other", key: Key::P256(2), ..CA });
    let server = Server::start(&issue(Some(&ca), &LEAF), &[]);
    let (pem, other) = (ca.text(), other.text());
    let file = fresh_dir().join("both");
    fs::write(&file, format!("a comment\n{other}{pem}")).unwrap();
    for given in [
        pem.clone(),
        pem.replace('\n', "\r\n"),
        format!("Certificate:\n    Data:\n        Version: 3 (0x2)\n{pem}"),
        format!("{other}{pem}"),
        format!("{pem}\n\n{other}"),
        openssl(&["x509", "-in", p(&ca.cert), "-text"]),
        file.display().to_string(),
    ] {
        let tls = Tls { ca_cert: text(&given), ..Tls::default() };
        assert_eq!(check(&tls), Ok(()));
        accepted(server.port, "localhost", &tls);
    }
}

#[test]
fn a_ca_that_cannot_be_read_is_an_error() {
    let ca = issue(None, &CA);
    let der = fresh_dir().join("der");
    openssl(&["x509", "-in", p(&ca.cert), "-outform", "DER", "-out", p(&der)]);
    let cut = ca.text().lines().take(4).collect::<Vec<_>>().join("\n");
    let damaged = ca.text().replacen("MII", "MIJ", 1);
    for (given, expected) in [
        (
            "/no/such/file",
            "ca_cert: cannot read the file: No such file or directory (os error 2) (/no/such/file)",
        ),
        ("/", "ca_cert: cannot read the file: it is no regular file (/)"),
        (p(&der), "ca_cert: there is no certificate in it"),
        (p(&ca.key), "ca_cert: there is no certificate in it"),
        (&cut, "ca_cert: the PEM data is damaged"),
        (&ca.text().replace('M', "*"), "ca_cert: "),
        (
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            "ca_cert: the certificate is malformed",
        ),
        (&damaged, "ca_cert: the certificate is malformed"),
        (&format!("{}{damaged}", ca.text()), "ca_cert: certificate 2 is malformed"),
    ] {
        wrong(&Tls { ca_cert: text(given), ..Tls::default() }, expected);
    }
}

#[test]
fn a_ca_with_damage_anywhere_is_an_error_or_a_ca_but_no_panic() {
    let ca = issue(None, &Spec { names: "DNS:localhost", ..CA });
    let der = CertificateDer::from_pem_file(&ca.cert).unwrap();
    for at in 0..der.len() {
        for change in [0x01, 0x7f, 0x80, 0xff] {
            let mut bytes = der.to_vec();
            bytes[at] ^= change;
            let _ = check(&Tls { ca_cert: text(&armoured(&bytes)), ..Tls::default() });
        }
        let cut = Tls { ca_cert: text(&armoured(&der[..at])), ..Tls::default() };
        assert_eq!(check(&cut).unwrap_err(), "ca_cert: the certificate is malformed");
    }
    assert_eq!(check(&Tls { ca_cert: text(&armoured(&der)), ..Tls::default() }), Ok(()));
}

/// A certificate as PEM.
fn armoured(der: &[u8]) -> String {
    let digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::from("-----BEGIN CERTIFICATE-----\n");
    for three in der.chunks(3) {
        let bits = three.iter().fold(0, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for place in 0..4 {
            let digit = digits[(bits >> (18 - 6 * place) & 63) as usize];
            text.push(if place <= three.len() { char::from(digit) } else { '=' });
        }
    }
    text + "\n-----END CERTIFICATE-----\n"
}

#[test]
fn a_client_certificate_and_its_key_are_a_pair() {
    let ca = issue(None, &CA);
    for kind in [Key::P256(3), Key::P384, Key::Ed25519, Key::Rsa(2048)] {
        let device = issue(Some(&ca), &Spec { key: kind, ..LEAF });
        let pair =
            Tls { client_cert: Some(device.pem()), client_key: Some(device.key_pem()), ..Tls::default() };
        assert_eq!(check(&pair), Ok(()));
        wrong(&Tls { client_key: None, ..pair.clone() }, "client_cert: it needs its client_key");
        wrong(&Tls { client_cert: None, ..pair.clone() }, "client_key: it needs its client_cert");
        for other in [Key::P256(2), Key::Rsa(3072)] {
            let other = Some(Pem::Path(key(other)));
            wrong(&Tls { client_key: other, ..pair.clone() }, "client_key: it does not match client_cert");
        }
        let damaged = Pem::new(format!("{}{}", device.text(), armoured(b"\x30\x03abc")).as_bytes());
        wrong(&Tls { client_cert: Some(damaged), ..pair.clone() }, "client_cert: certificate 2 is malformed");
        // both files the wrong way round
        let swapped =
            Tls { client_cert: Some(device.key_pem()), client_key: Some(device.pem()), ..Tls::default() };
        wrong(&swapped, "client_cert: there is no certificate in it");
    }
}

#[test]
fn keys_come_in_every_encoding() {
    let ca = issue(None, &CA);
    let server = Server::start(
        &issue(Some(&ca), &LEAF),
        &["-Verify", "1", "-verify_return_error", "-CAfile", p(&ca.cert)],
    );
    let dir = fresh_dir();
    for (kind, command, begin) in [
        (Key::Rsa(2048), &["rsa", "-traditional"][..], "-----BEGIN RSA PRIVATE KEY-----"),
        (Key::P256(3), &["ec"], "-----BEGIN EC PRIVATE KEY-----"),
        (Key::P384, &["ec"], "-----BEGIN EC PRIVATE KEY-----"),
        (Key::Rsa(2048), &["pkey"], "-----BEGIN PRIVATE KEY-----"),
        (Key::P256(3), &["pkey"], "-----BEGIN PRIVATE KEY-----"),
        (Key::Ed25519, &["pkey"], "-----BEGIN PRIVATE KEY-----"),
    ] {
        let device = issue(Some(&ca), &Spec { key: kind, ..LEAF });
        let out = dir.join("key");
        openssl(&[command, &["-in", p(&device.key), "-out", p(&out)]].concat());
        let written = fs::read_to_string(&out).unwrap();
        assert!(written.starts_with(begin), "{written}");
        for client_key in [text(&written), Some(Pem::Path(out.clone())), text(&written.replace('\n', "\r\n"))]
        {
            let tls = Tls { client_cert: Some(device.pem()), client_key, ..trusting(&ca) };
            accepted(server.port, "localhost", &tls);
        }
    }
    // as `openssl ecparam -genkey` writes it: the parameters come first
    let out = dir.join("with parameters");
    openssl(&["ecparam", "-name", "prime256v1", "-genkey", "-out", p(&out)]);
    let request = dir.join("request");
    openssl(&["req", "-new", "-subj", "/CN=x", "-key", p(&out), "-out", p(&request)]);
    let cert = dir.join("cert");
    openssl(&[
        "x509",
        "-req",
        "-in",
        p(&request),
        "-CA",
        p(&ca.cert),
        "-CAkey",
        p(&ca.key),
        "-out",
        p(&cert),
    ]);
    assert!(fs::read_to_string(&out).unwrap().starts_with("-----BEGIN EC PARAMETERS-----"));
    let tls = Tls { client_cert: Some(Pem::Path(cert)), client_key: Some(Pem::Path(out)), ..trusting(&ca) };
    accepted(server.port, "localhost", &tls);
}

#[test]
fn keys_that_cannot_be_used_are_errors_that_show_nothing_of_them() {
    let ca = issue(None, &CA);
    let device = issue(Some(&ca), &Spec { key: Key::Rsa(2048), ..LEAF });
    let dir = fresh_dir();
    let (pkcs8, traditional, short) = (dir.join("1"), dir.join("2"), dir.join("3"));
    let encrypt = ["-aes128", "-passout", "pass:hunter2", "-in", p(&device.key), "-out"];
    openssl(
        &[&["pkcs8", "-topk8", "-v2"][..], &encrypt[..0], &["aes128"], &encrypt[1..], &[p(&pkcs8)]].concat(),
    );
    openssl(&[&["rsa", "-traditional"][..], &encrypt, &[p(&traditional)]].concat());
    openssl(&["genrsa", "-out", p(&short), "1024"]);
    let written = fs::read_to_string(&device.key).unwrap();
    let naked: String = written.lines().filter(|line| !line.starts_with('-')).collect();
    for (given, expected) in [
        (p(&pkcs8), "client_key: the key is encrypted"),
        (p(&traditional), "client_key: the key is encrypted"),
        (p(&short), "client_key: it is none of RSA (2048"),
        (&naked, "client_key: cannot read the file"),
        (&written.replacen("MII", "MIJ", 1), "client_key: it is none of RSA"),
        (&written.replace("END", "ENT"), "client_key: the PEM data is damaged"),
    ] {
        let tls = Tls { client_cert: Some(device.pem()), client_key: text(given), ..trusting(&ca) };
        wrong(&tls, expected);
        let shown = format!("{}{tls:?}", check(&tls).unwrap_err());
        assert!(!naked.as_bytes().chunks(16).any(|part| shown.contains(std::str::from_utf8(part).unwrap())));
    }
}

#[test]
fn files_are_read_again_for_each_handshake() {
    let (old, new) = (issue(None, &CA), issue(None, &Spec { key: Key::P256(2), ..CA }));
    let server = Server::start(&issue(Some(&new), &LEAF), &[]);
    let file = fresh_dir().join("ca");
    let tls = Tls { ca_cert: Some(Pem::Path(file.clone())), ..Tls::default() };
    fs::copy(&old.cert, &file).unwrap();
    refused(server.port, "localhost", &tls, &["unknown issuer"]);
    fs::copy(&new.cert, &file).unwrap();
    accepted(server.port, "localhost", &tls);
    fs::copy(&old.cert, &file).unwrap();
    refused(server.port, "localhost", &tls, &["unknown issuer"]);
    fs::remove_file(&file).unwrap();
    refused(server.port, "localhost", &tls, &["ca_cert: cannot read the file"]);
}

#[test]
fn the_server_name_is_told_and_checked() {
    let ca = issue(None, &CA);
    let leaf = issue(Some(&ca), &Spec { names: "DNS:broker.example", ..LEAF });
    // this one refuses a client that calls it by another name
    let (cert, key) = (p(&leaf.cert), p(&leaf.key));
    let server = Server::start(
        &leaf,
        &["-servername", "broker.example", "-servername_fatal", "-cert2", cert, "-key2", key],
    );
    accepted(server.port, "broker.example", &trusting(&ca));
    let named = |name: &str| Tls { server_name: Some(name.into()), ..trusting(&ca) };
    for host in ["127.0.0.1", "localhost", "not a name at all"] {
        accepted(server.port, host, &named("broker.example"));
    }
    refused(
        server.port,
        "broker.example",
        &named("other.example"),
        &["does not know the name", "server_name"],
    );
    // an address is not told: there is no certificate for it
    refused(
        server.port,
        "127.0.0.1",
        &trusting(&ca),
        &["certificate is for DNS:broker.example, not for 127.0.0.1"],
    );
    for bad in ["", "a b", "-", "a..b", "1.2.3", "[::1]"] {
        wrong(&named(bad), "server_name: ");
    }
}

#[test]
fn a_host_that_no_certificate_can_bear_is_refused() {
    let (port, sent) = silent();
    for host in ["", "a b", "\u{e4}.example"] {
        refused(port, host, &Tls::default(), &["is no name that a certificate can bear"]);
        assert_eq!((sent.recv_blocking(), sent.recv_blocking()), (Ok(0), Ok(0)));
    }
}

#[test]
fn the_application_protocol_is_offered() {
    let ca = issue(None, &CA);
    let server = Server::start(&issue(Some(&ca), &LEAF), &["-alpn", "x-amzn-mqtt-ca,mqtt"]);
    let offering = |names: &[&str]| Tls {
        alpn: names.iter().map(|name| name.as_bytes().to_vec()).collect(),
        ..trusting(&ca)
    };
    accepted(server.port, "localhost", &offering(&[]));
    accepted(server.port, "localhost", &offering(&["h2", "mqtt"]));
    refused(server.port, "localhost", &offering(&["h2"]), &["none of the protocols in alpn"]);
    wrong(&offering(&[""]), "alpn: ");
    wrong(&offering(&[&"x".repeat(256)]), "alpn: ");
}

#[test]
fn only_the_cipher_suites_that_are_named_are_offered() {
    let ca = issue(None, &CA);
    let leaf = issue(Some(&ca), &LEAF);
    let naming = |names: &[&str]| Tls {
        cipher_suites: names.iter().map(|name| (*name).into()).collect(),
        ..trusting(&ca)
    };
    for (version, kind, openssl_name, name) in [
        ("-tls1_3", "-ciphersuites", "TLS_AES_256_GCM_SHA384", "TLS_AES_256_GCM_SHA384"),
        ("-tls1_3", "-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256", "tls_chacha20_poly1305_sha256"),
        ("-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-GCM-SHA384", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"),
        (
            "-tls1_2",
            "-cipher",
            "ECDHE-ECDSA-CHACHA20-POLY1305",
            "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        ),
    ] {
        let server = Server::start(&leaf, &[version, kind, openssl_name]);
        accepted(server.port, "localhost", &trusting(&ca));
        accepted(server.port, "localhost", &naming(&[name]));
        accepted(server.port, "localhost", &naming(&["TLS_AES_128_GCM_SHA256", name]));
        let others = naming(&["TLS_AES_128_GCM_SHA256", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"]);
        let why = attempt(server.port, "localhost", &others).unwrap_err();
        assert!(why.contains("none of the offered cipher suites"), "{why}");
    }
    // one version has no suite left, so it is not offered
    let server = Server::start(&leaf, &["-tls1_2"]);
    refused(server.port, "localhost", &naming(&["TLS_AES_128_GCM_SHA256"]), &["neither TLS 1.2 nor TLS 1.3"]);
    for bad in ["", "TLS_RSA_WITH_AES_128_CBC_SHA", "AES128-SHA", "TLS13_AES_128_GCM_SHA256"] {
        wrong(&naming(&["TLS_AES_128_GCM_SHA256", bad]), "cipher_suites: ");
    }
}

#[test]
fn verification_can_be_turned_off_and_then_everything_goes() {
    let unverified = Tls { verify: false, ..Tls::default() };
    let ca = issue(None, &Spec { subject: "Nobody's CA", key: Key::P256(2), ..CA });
    for spec in [
        LEAF,
        Spec { to: "20210101000000Z", names: "DNS:elsewhere.example", ..LEAF },
        Spec { key: Key::Rsa(1024), digest: "sha1", ..LEAF },
        Spec { extensions: "extendedKeyUsage = clientAuth", ..LEAF },
    ] {
        let server = Server::start(&issue(Some(&ca), &spec), &["-cipher", "DEFAULT@SECLEVEL=0"]);
        accepted(server.port, "localhost", &unverified);
        accepted(server.port, "127.0.0.1", &unverified);
    }
    // what is given is checked for being readable all the same
    wrong(&Tls { ca_cert: text("/no/such/file"), ..unverified }, "ca_cert: ");
}

#[test]
fn without_ca_cert_the_systems_trust_store_decides() {
    let name = "options::without_ca_cert_the_systems_trust_store_decides";
    // The store is found through the environment, which only another process can have another way: this test runs
    // itself, once for each store.
    if let Ok(part) = std::env::var("TLS_TEST_PART") {
        let (port, expected) = part.split_once(' ').unwrap();
        let port = port.parse().unwrap();
        if expected.is_empty() {
            accepted(port, "localhost", &Tls::default());
            // ca_cert does not add to the system's store, it replaces it
            let other = issue(None, &Spec { key: Key::P256(2), ..CA });
            refused(port, "localhost", &trusting(&other), &["unknown issuer"]);
        } else {
            refused(port, "localhost", &Tls::default(), &[expected]);
        }
        return;
    }
    let ca = issue(None, &CA);
    let server = Server::start(&issue(Some(&ca), &LEAF), &[]);
    let other = issue(None, &Spec { key: Key::P256(2), ..CA });
    for (store, expected) in [
        (p(&ca.cert), ""),
        (p(&other.cert), "unknown issuer"),
        ("/no/such/file", "the system's trust store is empty"),
    ] {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name])
            .env("SSL_CERT_FILE", store)
            .env_remove("SSL_CERT_DIR")
            .env("TLS_TEST_PART", format!("{} {expected}", server.port))
            .output()
            .unwrap();
        let log = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && log.contains("1 passed"), "{store}: {log}");
    }
}
