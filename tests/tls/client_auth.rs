//! Certificates of clients.

use mqtt::net::tls::{self, Tls};
use mqtt::net::ws;

use crate::certs::{CA, Issued, Key, LEAF, Spec, issue, issue_version_1, p};
use crate::server::{Server, accepted, dial, refused, run};

const VERSIONS: [&str; 2] = ["-tls1_2", "-tls1_3"];

const DEVICE: Spec<'_> = Spec {
    subject: "device",
    key: Key::P256(3),
    names: "",
    extensions: "extendedKeyUsage = clientAuth",
    ..LEAF
};

/// A CA, and a server of it that wants clients of it.
fn demanding(version: &str) -> (Issued, Server) {
    let ca = issue(None, &CA);
    let leaf = issue(Some(&ca), &LEAF);
    let server =
        Server::start(&leaf, &[version, "-Verify", "3", "-verify_return_error", "-CAfile", p(&ca.cert)]);
    (ca, server)
}

fn with(ca: &Issued, client: &Issued) -> Tls {
    Tls {
        ca_cert: Some(ca.pem()),
        client_cert: Some(client.pem()),
        client_key: Some(client.key_pem()),
        ..Tls::default()
    }
}

#[test]
fn every_kind_of_key_serves() {
    for version in VERSIONS {
        let (ca, server) = demanding(version);
        for key in [Key::P256(3), Key::P384, Key::Ed25519, Key::Rsa(2048)] {
            accepted(server.port, "localhost", &with(&ca, &issue(Some(&ca), &Spec { key, ..DEVICE })));
        }
    }
}

#[test]
fn a_certificate_of_version_1_serves() {
    let (ca, server) = demanding("-tls1_3");
    accepted(
        server.port,
        "localhost",
        &with(&ca, &issue_version_1(Some(&ca), "an old device", Key::P256(3))),
    );
}

#[test]
fn the_chain_that_is_given_is_sent() {
    for version in VERSIONS {
        let (ca, server) = demanding(version);
        let between = issue(Some(&ca), &Spec { subject: "Between", key: Key::P256(2), ..CA });
        let client = issue(Some(&between), &DEVICE);
        let mut tls = with(&ca, &client);
        refused(
            server.port,
            "localhost",
            &tls,
            &["the server refused the client certificate: unknown issuer"],
        );
        let chain = format!("{}{}", client.text(), between.text());
        tls.client_cert = Some(mqtt::net::pem::Pem::new(chain.as_bytes()));
        accepted(server.port, "localhost", &tls);
    }
}

#[test]
fn a_missing_certificate_is_what_the_refusal_says() {
    for version in VERSIONS {
        let (ca, server) = demanding(version);
        let tls = Tls { ca_cert: Some(ca.pem()), ..Tls::default() };
        // many times: the server's last words race with the reset that follows them
        for _ in 0..10 {
            refused(server.port, "localhost", &tls, &["client certificate required"]);
        }
    }
}

#[test]
fn a_websocket_inside_tells_it_too() {
    for version in VERSIONS {
        let (ca, server) = demanding(version);
        let tls = Tls { ca_cert: Some(ca.pem()), ..Tls::default() };
        for _ in 0..2 {
            let error = run(async {
                let stream = tls::handshake(dial(server.port).await, "localhost", &tls).await?;
                let socket = ws::WebSocket::default();
                ws::handshake(stream, "localhost", server.port, true, &socket).await.map(drop)
            });
            assert_eq!(error.unwrap_err().to_string(), "client certificate required");
        }
    }
}

#[test]
fn a_certificate_of_another_ca_is_what_the_refusal_says() {
    for version in VERSIONS {
        let (ca, server) = demanding(version);
        let other = issue(None, &Spec { subject: "Other CA", key: Key::P256(2), ..CA });
        let tls = with(&ca, &issue(Some(&other), &DEVICE));
        refused(
            server.port,
            "localhost",
            &tls,
            &["the server refused the client certificate: unknown issuer"],
        );
    }
}

#[test]
fn an_expired_certificate_is_what_the_refusal_says() {
    for version in VERSIONS {
        let (ca, server) = demanding(version);
        let tls = with(&ca, &issue(Some(&ca), &Spec { to: "20210101000000Z", ..DEVICE }));
        refused(server.port, "localhost", &tls, &["the server refused the client certificate: expired"]);
    }
}

#[test]
fn a_certificate_is_not_shown_to_a_server_that_is_not_verified() {
    for version in VERSIONS {
        let (_, server) = demanding(version);
        let other = issue(None, &Spec { subject: "Other CA", key: Key::P256(2), ..CA });
        let tls = with(&other, &issue(Some(&other), &DEVICE));
        refused(server.port, "localhost", &tls, &["unknown issuer: the server's certificate"]);
    }
}

#[test]
fn a_server_that_does_not_ask_is_served_too() {
    let ca = issue(None, &CA);
    let server = Server::start(&issue(Some(&ca), &LEAF), &[]);
    accepted(server.port, "localhost", &with(&ca, &issue(Some(&ca), &DEVICE)));
}
