//! TLS with a pre-shared key.

use std::io::{Read, Write};

use futures_lite::{AsyncReadExt, AsyncWriteExt, future};
use mqtt::net::psk::{self, Psk};

use crate::certs::{CA, Key, LEAF, Spec, issue};
use crate::data::{exchange, sample};
use crate::server::{Proxy, Server, Socket, Then, dial, hello, listen, run};

const KEY: &str = "00a1b2c3d4e5f60718293a4b5c6d7e8f";

fn device() -> Psk {
    Psk::new(b"device", KEY.as_bytes()).unwrap()
}

async fn open(port: u16, psk: &Psk) -> Result<psk::Stream<Socket>, String> {
    psk::handshake(dial(port).await, psk).await.map_err(|error| error.to_string())
}

fn attempt(port: u16, psk: &Psk) -> Result<String, String> {
    run(async { hello(&mut open(port, psk).await?).await })
}

#[track_caller]
fn accepted(port: u16, psk: &Psk) {
    for time in ["first", "second"] {
        assert_eq!(attempt(port, psk).as_deref(), Ok("olleh"), "{time} time");
    }
}

#[track_caller]
fn refused(port: u16, psk: &Psk, expected: &str) {
    for time in ["first", "second"] {
        let why = run(open(port, psk)).expect_err("this server was to be refused");
        assert!(why.contains(expected), "{time} time: {why:?} lacks {expected:?}");
    }
}

fn server(more: &[&str]) -> Server {
    Server::with(&[&["-nocert", "-psk", KEY, "-psk_identity", "device"], more].concat())
}

#[test]
fn a_server_with_the_same_key_is_accepted() {
    for version in ["-tls1_2", "-tls1_3"] {
        accepted(server(&[version]).port, &device());
    }
    for suite in ["ECDHE-PSK-CHACHA20-POLY1305", "DHE-PSK-AES128-GCM-SHA256", "PSK-AES128-CBC-SHA256"] {
        accepted(server(&["-tls1_2", "-cipher", suite]).port, &device());
    }
}

#[test]
fn keys_of_every_length_work_and_leading_zeros_count() {
    for key in ["01", "0001", "000000", &"ab".repeat(64), &"0f".repeat(256)] {
        for version in ["-tls1_2", "-tls1_3"] {
            let server = Server::with(&["-nocert", "-psk", key, "-psk_identity", "device", version]);
            accepted(server.port, &Psk::new(b"device", key.to_uppercase().as_bytes()).unwrap());
            let other = Psk::new(b"device", format!("00{}", &key[2..]).as_bytes());
            if !key.starts_with("00") {
                refused(server.port, &other.unwrap(), "another key");
            }
        }
    }
    let server = Server::with(&["-nocert", "-psk", "0001", "-psk_identity", "device", "-tls1_3"]);
    refused(server.port, &Psk::new(b"device", b"01").unwrap(), "another key");
}

#[test]
fn another_key_is_refused() {
    let other = Psk::new(b"device", b"ffa1b2c3d4e5f60718293a4b5c6d7e8f").unwrap();
    for version in ["-tls1_2", "-tls1_3"] {
        refused(server(&[version]).port, &other, "the server has another key for psk_identity");
    }
}

#[test]
fn an_identity_that_the_server_does_not_know_is_refused() {
    // s_server takes any identity in TLS 1.2: it warns and goes on
    let other = Psk::new(b"another device", KEY.as_bytes()).unwrap();
    refused(server(&["-tls1_3"]).port, &other, "the server does not know psk_identity");
}

#[test]
fn a_server_that_shows_a_certificate_instead_is_refused() {
    // even one that a CA of the system would vouch for: there is no trust store at all
    let ca = issue(None, &CA);
    for key in [Key::P256(0), Key::Rsa(2048)] {
        let leaf = issue(Some(&ca), &Spec { key, ..LEAF });
        for version in ["-tls1_2", "-tls1_3"] {
            let server = Server::start(&leaf, &[version]);
            let why = run(open(server.port, &device())).unwrap_err();
            let again = run(open(server.port, &device())).unwrap_err();
            assert_eq!(why, again);
            let expected = match version {
                // no suite in common: certificates are not even asked for
                "-tls1_2" => "does not know psk_identity, or accepts no pre-shared key at all",
                _ => "answers with a certificate instead of the pre-shared key",
            };
            assert!(why.contains(expected), "{why}");
        }
    }
}

#[test]
fn suites_that_need_a_certificate_or_do_not_encrypt_are_not_offered() {
    let ca = issue(None, &CA);
    let leaf = issue(Some(&ca), &Spec { key: Key::Rsa(2048), ..LEAF });
    for suite in
        ["RSA-PSK-AES128-GCM-SHA256", "PSK-NULL-SHA256", "ECDHE-PSK-NULL-SHA", "ADH-AES128-GCM-SHA256"]
    {
        let suite = format!("{suite}:@SECLEVEL=0");
        let arguments = ["-tls1_2", "-cipher", &suite, "-psk", KEY, "-psk_identity", "device"];
        refused(Server::start(&leaf, &arguments).port, &device(), "accepts no pre-shared key");
    }
}

#[test]
fn megabytes_come_back_as_they_were_sent() {
    // a server of lines, so lines are sent
    for version in ["-tls1_2", "-tls1_3"] {
        let server = server(&[version]);
        run(async {
            let mut stream = open(server.port, &device()).await.unwrap();
            let line: Vec<u8> = sample(999).iter().map(|byte| b'a' + byte % 26).collect();
            let reversed: Vec<u8> = line.iter().rev().copied().chain(*b"\n").collect();
            let sent = [&line[..], b"\n"].concat().repeat(300);
            assert!(exchange(&mut stream, &sent, sent.len()).await.unwrap() == reversed.repeat(300));
            stream.close().await.unwrap();
            assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 0);
        });
    }
}

#[test]
fn a_server_that_just_hangs_up_has_ended_the_stream() {
    for version in ["-tls1_2", "-tls1_3"] {
        let server = server(&[version]);
        run(async {
            let mut stream = open(server.port, &device()).await.unwrap();
            assert_eq!(hello(&mut stream).await.as_deref(), Ok("olleh"));
            drop(server); // killed
            assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 0);
        });
    }
}

#[test]
fn a_handshake_that_is_cut_or_stalls_gives_no_stream() {
    for version in ["-tls1_2", "-tls1_3"] {
        let server = server(&[version]);
        for (records, bytes) in [(0, 0), (0, 3), (0, 9), (1, 0), (1, 3), (2, 0)] {
            let proxy = Proxy::start(server.port, records, bytes, Then::Close);
            refused(proxy.port, &device(), "the TLS handshake");
            let proxy = Proxy::start(server.port, records, bytes, Then::Stall);
            for _ in 0..2 {
                run(async {
                    let handshake = async { panic!("{:?}", open(proxy.port, &device()).await) };
                    future::or(async { proxy.reached.recv().await.unwrap() }, handshake).await;
                    proxy.client_gone.recv().await.unwrap();
                });
            }
        }
    }
}

#[test]
fn what_is_not_tls_is_refused() {
    for bytes in [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], &[0; 100], b"\x20\x02\x00\x00\xd0\x00"] {
        let port = listen(move |mut socket| {
            let _hello = socket.read(&mut [0; 1024]);
            let _ = socket.write_all(bytes);
            let _ = socket.read_to_end(&mut Vec::new());
        });
        refused(port, &device(), "the server does not speak TLS");
    }
}

#[test]
fn settings_are_checked_and_the_key_is_never_shown() {
    for (identity, key, expected) in [
        (&b""[..], &b"00"[..], "psk_identity: "),
        (b"a\0b", b"00", "psk_identity: "),
        (&[b'a'; 256], b"00", "psk_identity: "),
        (b"a", b"", "psk_key: "),
        (b"a", b"abc", "psk_key: "),
        (b"a", b"0xab", "psk_key: "),
        (b"a", b"gg", "psk_key: "),
        (b"a", &[b'a'; 514], "psk_key: "),
    ] {
        let why = Psk::new(identity, key).unwrap_err();
        assert!(why.starts_with(expected), "{why}");
    }
    let shown = format!("{:?}", Psk::new(b"device\n", KEY.as_bytes()).unwrap());
    assert!(shown.contains("device\\n") && !shown.contains("a1"), "{shown}");
    let longest = Psk::new(&[b'a'; 255], &[b'0'; 512]).unwrap();
    let identity = "a".repeat(255);
    let key = "0".repeat(512);
    let arguments = ["-nocert", "-psk", &key, "-psk_identity", &identity];
    accepted(Server::with(&arguments).port, &longest);
}
