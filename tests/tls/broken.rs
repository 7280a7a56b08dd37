//! Servers that are none, that stop in the middle, or that speak too old a TLS.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use futures_lite::{AsyncRead, AsyncWrite, future};
use mqtt::net::tls::{self, Tls};

use crate::certs::{CA, Issued, LEAF, issue};
use crate::server::{Proxy, Server, Socket, Then, accepted, attempt, dial, listen, refused, run};

const VERSIONS: [&str; 2] = ["-tls1_2", "-tls1_3"];

fn trusting(ca: &Issued) -> Tls {
    Tls { ca_cert: Some(ca.pem()), ..Tls::default() }
}

/// Records of a server until the client is done.
fn handshake_records(server: &Server, tls: &Tls) -> usize {
    /// Keeps what is read.
    struct Recorder(Socket, Arc<Mutex<Vec<u8>>>);
    impl AsyncRead for Recorder {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buffer: &mut [u8],
        ) -> Poll<io::Result<usize>> {
            let n = ready!(Pin::new(&mut self.0).poll_read(cx, buffer))?;
            self.1.lock().unwrap().extend_from_slice(&buffer[..n]);
            Poll::Ready(Ok(n))
        }
    }
    impl AsyncWrite for Recorder {
        fn poll_write(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            Pin::new(&mut self.0).poll_write(cx, bytes)
        }
        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_flush(cx)
        }
        fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_close(cx)
        }
    }
    let read = Arc::new(Mutex::new(Vec::new()));
    run(async {
        let recorder = Recorder(dial(server.port).await, read.clone());
        tls::handshake(recorder, "localhost", tls).await.unwrap();
    });
    let (bytes, mut at, mut records) = (read.lock().unwrap(), 0, 0);
    while at < bytes.len() {
        at += 5 + usize::from(u16::from_be_bytes([bytes[at + 3], bytes[at + 4]]));
        records += 1;
    }
    assert_eq!(at, bytes.len());
    records
}

#[test]
fn a_connection_that_is_cut_anywhere_is_refused() {
    for version in VERSIONS {
        let ca = issue(None, &CA);
        let server = Server::start(&issue(Some(&ca), &LEAF), &[version]);
        let tls = trusting(&ca);
        let all = handshake_records(&server, &tls);
        assert!(all >= 4, "{version}: only {all} records");
        for records in 0..all {
            for bytes in [0, 3, 9] {
                let proxy = Proxy::start(server.port, records, bytes, Then::Close);
                refused(proxy.port, "localhost", &tls, &["the connection", "during the TLS handshake"]);
                if records + bytes == 0 {
                    continue; // the reset would come before the connection is up
                }
                let proxy = Proxy::start(server.port, records, bytes, Then::Reset);
                refused(proxy.port, "localhost", &tls, &["the connection", "during the TLS handshake"]);
            }
        }
        // and the server has not been hurt
        accepted(server.port, "localhost", &tls);
    }
}

#[test]
fn a_handshake_that_stalls_anywhere_waits_and_ends_with_its_future() {
    for version in VERSIONS {
        let ca = issue(None, &CA);
        let server = Server::start(&issue(Some(&ca), &LEAF), &[version]);
        let tls = trusting(&ca);
        for records in 0..handshake_records(&server, &tls) {
            for bytes in [0, 3, 9] {
                let proxy = Proxy::start(server.port, records, bytes, Then::Stall);
                for _time in ["first", "second"] {
                    run(async {
                        let handshake = async {
                            let outcome = tls::handshake(dial(proxy.port).await, "localhost", &tls).await;
                            panic!("{version}: done after {records} records and {bytes} bytes: {outcome:?}");
                        };
                        let stalled = async { proxy.reached.recv().await.unwrap() };
                        future::or(stalled, handshake).await;
                        // dropped, and with it the socket
                        proxy.client_gone.recv().await.unwrap();
                    });
                }
            }
        }
    }
}

#[test]
fn what_is_not_tls_is_refused() {
    let random: Vec<u8> = (0..2000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let garbage: [(&[u8], &str); 11] = [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "does not speak TLS"),
        (b"SSH-2.0-OpenSSH_9.2p1\r\n", "does not speak TLS"),
        (b"\x20\x02\x00\x00\xd0\x00", "does not speak TLS"),
        (&[0; 100], "does not speak TLS"),
        (&[0xff; 100], "does not speak TLS"),
        (&random, "does not speak TLS"),
        // a handshake record with nonsense, and one that is too long
        (b"\x16\x03\x03\x00\x05hello", "does not speak TLS"),
        (b"\x16\x03\x03\x4f\xff\x02\x00\x00", "does not speak TLS"),
        // application data before the handshake
        (b"\x17\x03\x03\x00\x05hello", "out of turn"),
        // alerts: handshake_failure, and one that is not known
        (b"\x15\x03\x03\x00\x02\x02\x28", "accepts none of the offered cipher suites"),
        (b"\x15\x03\x03\x00\x02\x02\xee", "TLS alert"),
    ];
    let (tls, ca) = (trusting(&issue(None, &CA)), issue(None, &CA));
    for (bytes, expected) in garbage {
        let answer = bytes.to_vec();
        let port = listen(move |mut socket: TcpStream| {
            let _hello = socket.read(&mut [0; 1024]);
            let _ = socket.write_all(&answer);
            // open until the client has had enough
            let _ = socket.read_to_end(&mut Vec::new());
        });
        refused(port, "localhost", &tls, &[expected]);
        // nor without verification
        refused(port, "localhost", &Tls { verify: false, ..trusting(&ca) }, &[expected]);
    }
}

#[test]
fn a_message_without_end_is_refused() {
    // a ServerHello of 16 MB, in records of 16 KB
    let port = listen(|mut socket: TcpStream| {
        let _hello = socket.read(&mut [0; 1024]);
        let mut record = b"\x16\x03\x03\x40\x00".to_vec();
        record.extend([0xff; 0x4000]);
        record[5] = 2;
        while socket.write_all(&record).is_ok() {}
    });
    refused(port, "localhost", &trusting(&issue(None, &CA)), &["does not speak TLS"]);
}

#[test]
fn a_server_that_hangs_up_at_once_is_refused() {
    let port = listen(|mut socket: TcpStream| {
        let _hello = socket.read(&mut [0; 1024]);
    });
    let tls = trusting(&issue(None, &CA));
    for _ in 0..2 {
        assert!(attempt(port, "localhost", &tls).unwrap_err().contains("during the TLS handshake"));
    }
}

#[test]
fn old_versions_of_tls_are_refused() {
    let ca = issue(None, &CA);
    let leaf = issue(Some(&ca), &LEAF);
    for version in ["-tls1", "-tls1_1"] {
        let server = Server::start(&leaf, &[version, "-cipher", "ALL@SECLEVEL=0"]);
        for verify in [true, false] {
            let tls = Tls { verify, ..trusting(&ca) };
            refused(server.port, "localhost", &tls, &["neither TLS 1.2 nor TLS 1.3"]);
        }
    }
}

#[test]
fn weak_cipher_suites_are_refused() {
    let ca = issue(None, &CA);
    let leaf = issue(Some(&ca), &LEAF);
    for suite in ["ECDHE-ECDSA-AES128-SHA", "ECDHE-ECDSA-NULL-SHA", "AECDH-AES128-SHA"] {
        let server = Server::start(&leaf, &["-tls1_2", "-cipher", &format!("{suite}:@SECLEVEL=0")]);
        refused(server.port, "localhost", &trusting(&ca), &["none of the offered cipher suites"]);
    }
}
