//! Which certificates of servers are good, and what is said about those that are not. Everything twice: the second
//! attempt must not be easier than the first.

use mqtt::net::pem::Pem;
use mqtt::net::tls::Tls;

use crate::certs::{CA, Issued, Key, LEAF, Spec, issue, issue_version_1, p};
use crate::server::{Server, accepted, refused};

fn trusting(ca: &Issued) -> Tls {
    Tls { ca_cert: Some(ca.pem()), ..Tls::default() }
}

/// A CA, and a server with a leaf of it.
fn served(spec: &Spec<'_>) -> (Tls, Server) {
    let ca = issue(None, &CA);
    let leaf = issue(Some(&ca), spec);
    (trusting(&ca), Server::start(&leaf, &[]))
}

#[track_caller]
fn refused_leaf(spec: &Spec<'_>, host: &str, expected: &[&str]) {
    let (tls, server) = served(spec);
    refused(server.port, host, &tls, expected);
}

#[test]
fn a_server_of_a_trusted_ca_is_accepted_by_name_and_by_address() {
    let (tls, server) = served(&LEAF);
    for host in ["localhost", "LOCALHOST", "localhost.", "127.0.0.1", "::1"] {
        accepted(server.port, host, &tls);
    }
}

#[test]
fn both_versions_of_tls_and_every_kind_of_key_work() {
    for key in [Key::P256(0), Key::P384, Key::Ed25519, Key::Rsa(2048)] {
        let ca = issue(None, &CA);
        let leaf = issue(Some(&ca), &Spec { key, ..LEAF });
        for version in ["-tls1_2", "-tls1_3"] {
            let server = Server::start(&leaf, &[version]);
            accepted(server.port, "localhost", &trusting(&ca));
        }
    }
}

#[test]
fn cas_with_every_kind_of_key_work() {
    for key in [Key::P384, Key::Ed25519, Key::Rsa(2048)] {
        let ca = issue(None, &Spec { key, ..CA });
        let leaf = issue(Some(&ca), &LEAF);
        let server = Server::start(&leaf, &[]);
        accepted(server.port, "localhost", &trusting(&ca));
    }
}

#[test]
fn an_expired_certificate_is_refused_with_its_date() {
    let spec = Spec { to: "20210203040506Z", ..LEAF };
    refused_leaf(&spec, "localhost", &["the server's certificate expired on 2021-02-03 04:05:06 UTC"]);
}

#[test]
fn a_certificate_of_the_future_is_refused_with_its_date() {
    let spec = Spec { from: "20490203040506Z", ..LEAF };
    refused_leaf(
        &spec,
        "localhost",
        &["the server's certificate is not valid before 2049-02-03 04:05:06 UTC"],
    );
}

#[test]
fn another_name_is_refused_and_both_are_told() {
    let spec = Spec { names: "DNS:broker.example,DNS:*.other.example,IP:10.0.0.1", ..LEAF };
    let expected =
        "certificate is for DNS:broker.example, DNS:*.other.example, IP:10.0.0.1, not for localhost";
    refused_leaf(&spec, "localhost", &[expected]);
}

#[test]
fn another_address_is_refused() {
    let spec = Spec { names: "DNS:localhost,IP:127.0.0.2,IP:::1", ..LEAF };
    refused_leaf(
        &spec,
        "127.0.0.1",
        &["certificate is for DNS:localhost, IP:127.0.0.2, IP:", "not for 127.0.0.1"],
    );
}

#[test]
fn an_address_written_as_a_dns_name_is_not_one() {
    let spec = Spec { names: "DNS:127.0.0.1", ..LEAF };
    refused_leaf(&spec, "127.0.0.1", &["certificate is for DNS:127.0.0.1, not for 127.0.0.1"]);
}

#[test]
fn the_common_name_does_not_count() {
    let spec = Spec { subject: "localhost", names: "", ..LEAF };
    refused_leaf(
        &spec,
        "localhost",
        &["no subject alternative name", "common name, localhost, does not count"],
    );
    let spec = Spec { subject: "127.0.0.1", names: "", ..LEAF };
    refused_leaf(&spec, "127.0.0.1", &["no subject alternative name"]);
    let spec = Spec { subject: "localhost", names: "email:a@localhost", ..LEAF };
    refused_leaf(&spec, "localhost", &["name mismatch", "not for localhost"]);
}

#[test]
fn a_certificate_of_version_1_has_no_names() {
    let ca = issue(None, &CA);
    let server = Server::start(&issue_version_1(Some(&ca), "localhost", Key::P256(0)), &[]);
    refused(server.port, "localhost", &trusting(&ca), &["version 1", "no subject alternative name"]);
}

#[test]
fn a_wildcard_stands_for_one_whole_label_on_the_left() {
    let (tls, server) = served(&Spec { names: "DNS:*.iot.example.com", ..LEAF });
    accepted(server.port, "a.iot.example.com", &tls);
    for host in ["iot.example.com", "a.b.iot.example.com", "a.example.com"] {
        refused(server.port, host, &tls, &["certificate is for DNS:*.iot.example.com"]);
    }
    for names in ["DNS:a*.iot.example.com", "DNS:a.*.example.com", "DNS:*"] {
        refused_leaf(&Spec { names, ..LEAF }, "ab.iot.example.com", &["name mismatch"]);
    }
}

#[test]
fn a_wildcard_on_a_top_level_is_refused() {
    refused_leaf(
        &Spec { names: "DNS:*.example", ..LEAF },
        "broker.example",
        &["certificate is for DNS:*.example"],
    );
}

#[test]
fn a_name_that_begins_like_another_is_another() {
    let spec = Spec { names: "DNS:localhost.example.com,DNS:ocalhost", ..LEAF };
    refused_leaf(&spec, "localhost", &["name mismatch"]);
}

#[test]
fn a_self_signed_certificate_is_refused() {
    let ca = issue(None, &CA);
    for is_ca in [false, true] {
        let leaf = issue(None, &Spec { is_ca, ..LEAF });
        let server = Server::start(&leaf, &[]);
        refused(server.port, "localhost", &trusting(&ca), &["unknown issuer", "self-signed"]);
    }
}

#[test]
fn another_ca_is_refused() {
    let trusted = issue(None, &CA);
    let other = issue(None, &Spec { subject: "Other CA", key: Key::P256(2), ..CA });
    let server = Server::start(&issue(Some(&other), &LEAF), &[]);
    refused(server.port, "localhost", &trusting(&trusted), &["unknown issuer", "Other CA"]);
}

#[test]
fn a_ca_of_the_same_name_with_another_key_is_refused() {
    let trusted = issue(None, &CA);
    let other = issue(None, &Spec { key: Key::P256(2), ..CA });
    let server = Server::start(&issue(Some(&other), &LEAF), &[]);
    refused(server.port, "localhost", &trusting(&trusted), &["unknown issuer", "did not sign with its key"]);
}

#[test]
fn an_expired_ca_is_refused() {
    let ca = issue(None, &Spec { to: "20210101000000Z", ..CA });
    let server = Server::start(&issue(Some(&ca), &LEAF), &[]);
    let expected = "the trusted CA certificate \"Test CA\" expired on 2021-01-01 00:00:00 UTC";
    refused(server.port, "localhost", &trusting(&ca), &[expected]);
}

#[test]
fn a_renewed_ca_beside_the_expired_one_is_enough() {
    let old = issue(None, &Spec { to: "20210101000000Z", ..CA });
    let new = issue(None, &CA);
    let server = Server::start(&issue(Some(&old), &LEAF), &[]);
    let both = Pem::new(format!("{}{}", old.text(), new.text()).as_bytes());
    accepted(server.port, "localhost", &Tls { ca_cert: Some(both), ..Tls::default() });
}

#[test]
fn an_expired_intermediate_is_refused() {
    let ca = issue(None, &CA);
    let between = Spec { subject: "Between", key: Key::P256(2), to: "20220101000000Z", ..CA };
    let between = issue(Some(&ca), &between);
    let leaf = issue(Some(&between), &LEAF);
    let server = Server::start(&leaf, &["-cert_chain", p(&between.cert)]);
    refused(server.port, "localhost", &trusting(&ca), &["expired on 2022-01-01 00:00:00 UTC"]);
}

#[test]
fn a_chain_is_followed_and_a_missing_link_is_not_made_up() {
    let ca = issue(None, &CA);
    let between = issue(Some(&ca), &Spec { subject: "Between", key: Key::P256(2), ..CA });
    let leaf = issue(Some(&between), &LEAF);
    let whole = Server::start(&leaf, &["-cert_chain", p(&between.cert)]);
    accepted(whole.port, "localhost", &trusting(&ca));
    let broken = Server::start(&leaf, &[]);
    refused(broken.port, "localhost", &trusting(&ca), &["unknown issuer", "Between"]);
    // the link itself is a CA and may be trusted as one
    accepted(broken.port, "localhost", &trusting(&between));
}

#[test]
fn a_leaf_cannot_sign() {
    let ca = issue(None, &CA);
    let leaf = issue(Some(&ca), &Spec { subject: "a mere leaf", key: Key::P256(2), ..LEAF });
    let forged = issue(Some(&leaf), &LEAF);
    let server = Server::start(&forged, &["-cert_chain", p(&leaf.cert)]);
    refused(server.port, "localhost", &trusting(&ca), &["unknown issuer", "a mere leaf", "is no CA"]);
    // nor when it is trusted itself
    refused(
        server.port,
        "localhost",
        &trusting(&leaf),
        &["unknown issuer", "\"a mere leaf\" is trusted, but is no CA"],
    );
}

#[test]
fn a_root_of_version_1_is_a_ca_and_a_leaf_of_version_1_is_none() {
    let root = issue_version_1(None, "An old CA", Key::P256(1));
    let server = Server::start(&issue(Some(&root), &LEAF), &[]);
    accepted(server.port, "localhost", &trusting(&root));
    let leaf = issue_version_1(Some(&root), "an old leaf", Key::P256(2));
    let server = Server::start(&issue(Some(&leaf), &LEAF), &[]);
    refused(server.port, "localhost", &trusting(&leaf), &["\"an old leaf\" is trusted, but is no CA"]);
}

#[test]
fn a_chain_longer_than_its_ca_allows_is_refused() {
    let ca = issue(None, &CA);
    // openssl takes the last line of a kind, so this one replaces the plain basicConstraints
    let extensions = "basicConstraints = critical,CA:TRUE,pathlen:0";
    let first = issue(Some(&ca), &Spec { subject: "First", key: Key::P256(2), extensions, ..CA });
    let second = issue(Some(&first), &Spec { subject: "Second", key: Key::P256(3), ..CA });
    let leaf = issue(Some(&second), &LEAF);
    let chain = crate::certs::fresh_dir().join("chain");
    std::fs::write(&chain, format!("{}{}", second.text(), first.text())).unwrap();
    let server = Server::start(&leaf, &["-cert_chain", p(&chain)]);
    refused(server.port, "localhost", &trusting(&ca), &["the chain is longer than one of its CAs allows"]);
}

#[test]
fn a_certificate_for_another_purpose_is_refused() {
    let spec = Spec { extensions: "extendedKeyUsage = clientAuth", ..LEAF };
    refused_leaf(&spec, "localhost", &["not for servers"]);
    let (tls, server) = served(&Spec { extensions: "extendedKeyUsage = clientAuth,serverAuth", ..LEAF });
    accepted(server.port, "localhost", &tls);
}

#[test]
fn name_constraints_of_a_ca_are_kept() {
    for on_root in [true, false] {
        let extensions = "nameConstraints = critical,permitted;DNS:example.com,excluded;DNS:bad.example.com";
        let root = issue(None, &Spec { extensions: if on_root { extensions } else { "" }, ..CA });
        let between = Spec { subject: "Between", key: Key::P256(2), ..CA };
        let between =
            issue(Some(&root), &Spec { extensions: if on_root { "" } else { extensions }, ..between });
        for (name, good) in [
            ("a.example.com", true),
            ("localhost", false),
            ("bad.example.com", false),
            ("x.bad.example.com", false),
        ] {
            let leaf = issue(Some(&between), &Spec { names: &format!("DNS:{name}"), ..LEAF });
            let server = Server::start(&leaf, &["-cert_chain", p(&between.cert)]);
            match good {
                true => accepted(server.port, name, &trusting(&root)),
                false => refused(server.port, name, &trusting(&root), &["name constraints"]),
            }
        }
    }
}

#[test]
fn a_wildcard_does_not_reach_out_of_name_constraints() {
    // RUSTSEC-2026-0099: the certificate says *.example.com, its CA may only speak for accept.example.com
    let root = issue(
        None,
        &Spec { extensions: "nameConstraints = critical,permitted;DNS:accept.example.com", ..CA },
    );
    let server = Server::start(&issue(Some(&root), &Spec { names: "DNS:*.example.com", ..LEAF }), &[]);
    refused(server.port, "reject.example.com", &trusting(&root), &["name constraints"]);
}

#[test]
fn short_rsa_keys_are_refused() {
    let weak = ["-cipher", "DEFAULT@SECLEVEL=0"];
    let ca = issue(None, &CA);
    let leaf = issue(Some(&ca), &Spec { key: Key::Rsa(1024), ..LEAF });
    for version in ["-tls1_2", "-tls1_3"] {
        let server = Server::start(&leaf, &[&weak[..], &[version]].concat());
        refused(server.port, "localhost", &trusting(&ca), &["RSA key of 1024 bits, at least 2048"]);
        // pinning it does not help
        refused(server.port, "localhost", &trusting(&leaf), &["RSA key of 1024 bits, at least 2048"]);
    }
    let ca = issue(None, &Spec { key: Key::Rsa(1024), ..CA });
    let server = Server::start(&issue(Some(&ca), &LEAF), &weak);
    refused(server.port, "localhost", &trusting(&ca), &["the CA \"Test CA\" has an RSA key of 1024 bits"]);
}

#[test]
fn signatures_with_sha_1_are_refused() {
    for key in [Key::P256(1), Key::Rsa(2048)] {
        let ca = issue(None, &Spec { key, ..CA });
        let leaf = issue(Some(&ca), &Spec { digest: "sha1", ..LEAF });
        let server = Server::start(&leaf, &["-cipher", "DEFAULT@SECLEVEL=0"]);
        refused(server.port, "localhost", &trusting(&ca), &["signed with SHA-1, which is not accepted"]);
    }
}

#[test]
fn a_pinned_self_signed_certificate_is_accepted_ca_or_not() {
    for is_ca in [false, true] {
        let leaf = issue(None, &Spec { is_ca, ..LEAF });
        let server = Server::start(&leaf, &[]);
        accepted(server.port, "localhost", &trusting(&leaf));
        accepted(server.port, "127.0.0.1", &trusting(&leaf));
    }
}

#[test]
fn a_pinned_certificate_needs_the_name_and_the_date_all_the_same() {
    for is_ca in [false, true] {
        let leaf = issue(None, &Spec { is_ca, names: "DNS:elsewhere.example", ..LEAF });
        let server = Server::start(&leaf, &[]);
        refused(server.port, "localhost", &trusting(&leaf), &["certificate is for DNS:elsewhere.example"]);
        for (from, to, expected) in [
            (LEAF.from, "20210203040506Z", "expired on 2021-02-03"),
            ("20490203040506Z", LEAF.to, "not valid before 2049-02-03"),
        ] {
            let leaf = issue(None, &Spec { is_ca, from, to, ..LEAF });
            let server = Server::start(&leaf, &[]);
            refused(server.port, "localhost", &trusting(&leaf), &[expected]);
        }
    }
}

#[test]
fn pinning_is_of_that_certificate_not_of_its_name() {
    let pinned = issue(None, &LEAF);
    let other = issue(None, &Spec { key: Key::P256(2), ..LEAF });
    let server = Server::start(&other, &[]);
    refused(server.port, "localhost", &trusting(&pinned), &["unknown issuer", "self-signed"]);
    // the same key in another certificate, of another name
    let same_key = issue(None, &Spec { subject: "renewed", names: "DNS:localhost", ..LEAF });
    let server = Server::start(&same_key, &[]);
    refused(server.port, "localhost", &trusting(&pinned), &["unknown issuer"]);
}

#[test]
fn a_key_that_is_not_the_certificates_is_refused() {
    // openssl does not start with such a pair: a server that does not look
    let ca = issue(None, &CA);
    let leaf = issue(Some(&ca), &LEAF);
    let stolen = Issued { key: crate::certs::key(Key::P256(2)), ..leaf };
    let port = crate::server::listen_tls(&stolen, |mut stream| {
        let _ = stream.conn.complete_io(&mut stream.sock);
    });
    refused(port, "localhost", &trusting(&ca), &["not signed with its certificate's key"]);
}

#[test]
fn names_from_a_certificate_cannot_play_with_the_terminal() {
    let ca = issue(None, &CA);
    let evil = issue(None, &Spec { subject: "\u{1b}[2Jhello", key: Key::P256(2), ..CA });
    let server = Server::start(&issue(Some(&evil), &LEAF), &[]);
    refused(server.port, "localhost", &trusting(&ca), &["unknown issuer", "\\u{1b}[2Jhello"]);
}
