//! Every transport to a real broker.

use std::fs;

use futures_lite::{AsyncReadExt, AsyncWriteExt};
#[cfg(feature = "psk")]
use mqtt::net::psk::Psk;
use mqtt::net::tls::Tls;
use mqtt::net::ws::WebSocket;
use mqtt::net::{self, HandshakeError, Security, Stream, Transport};

use crate::broker::Mosquitto;
use crate::certs::{CA, Key, LEAF, Spec, fresh_dir, issue, p};
use crate::server::run;

/// The id is a letter, so that two at once do not end each other.
const CONNECT: &[u8] = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01a";

/// Connects as the client does, says so in MQTT and asks for a ping: the answers.
fn greet(port: u16, transport: &Transport) -> Result<Vec<u8>, String> {
    run(async {
        transport.check()?;
        let addresses = net::resolve("localhost", port).await.unwrap();
        let tcp = net::connect(&addresses).await.unwrap();
        let mut stream = transport.open(tcp, "localhost", port).await.map_err(|error| error.to_string())?;
        assert_eq!(stream.direct().is_some(), *transport == Transport::default());
        let said = async {
            stream.write_all(CONNECT).await?;
            stream.flush().await?;
            let mut answer = vec![0; WELCOME.len()];
            stream.read_exact(&mut answer[..4]).await?;
            stream.write_all(b"\xc0\x00").await?;
            stream.flush().await?;
            stream.read_exact(&mut answer[4..]).await?;
            // the broker hangs up, perhaps before it has read all of the farewell
            let _ = stream.write_all(b"\xe0\x00").await;
            let _ = stream.close().await;
            while stream.read(&mut [0; 64]).await.is_ok_and(|n| n > 0) {}
            Ok(answer)
        };
        said.await.map_err(|error: std::io::Error| match HandshakeError::of(&error) {
            Some(refusal) => refusal.to_string(),
            None => format!("no answer: {error}"),
        })
    })
}

/// CONNACK, PINGRESP.
const WELCOME: &[u8] = b"\x20\x02\x00\x00\xd0\x00";

#[test]
fn every_transport_reaches_a_real_broker() {
    let ca = issue(None, &CA);
    let server = issue(Some(&ca), &LEAF);
    let device = issue(Some(&ca), &Spec { subject: "device", key: Key::P256(3), names: "", ..LEAF });
    let keys = fresh_dir().join("psk");
    fs::write(&keys, "device:00a1b2c3\n").unwrap();
    let tls = format!("cafile {}\ncertfile {}\nkeyfile {}\n", p(&ca.cert), p(&server.cert), p(&server.key));
    let mosquitto = Mosquitto::start(
        "per_listener_settings true",
        &[
            String::new(),
            format!("{tls}require_certificate true"),
            "protocol websockets".into(),
            format!("{tls}protocol websockets"),
            format!("psk_hint test\npsk_file {}", p(&keys)),
        ],
    );
    let ports = mosquitto.ports();
    let server_only = Tls { ca_cert: Some(ca.pem()), ..Tls::default() };
    let mutual =
        Tls { client_cert: Some(device.pem()), client_key: Some(device.key_pem()), ..server_only.clone() };
    let with = |security: Security, websocket: bool| Transport {
        security,
        websocket: websocket.then(WebSocket::default),
    };
    assert_eq!(greet(ports[0], &with(Security::None, false)).unwrap(), WELCOME);
    assert_eq!(greet(ports[1], &with(Security::Tls(mutual), false)).unwrap(), WELCOME);
    assert_eq!(greet(ports[2], &with(Security::None, true)).unwrap(), WELCOME);
    assert_eq!(greet(ports[3], &with(Security::Tls(server_only.clone()), true)).unwrap(), WELCOME);
    for _ in 0..2 {
        let why = greet(ports[1], &with(Security::Tls(server_only.clone()), false)).unwrap_err();
        assert_eq!(why, "client certificate required");
        let why = greet(ports[3], &with(Security::Tls(Tls::default()), true)).unwrap_err();
        assert!(why.contains("unknown issuer") || why.contains("trust store is empty"), "{why}");
    }
    #[cfg(feature = "psk")]
    {
        let psk = |key: &[u8]| with(Security::Psk(Psk::new(b"device", key).unwrap()), false);
        assert_eq!(greet(ports[4], &psk(b"00A1b2c3")).unwrap(), WELCOME);
        for _ in 0..2 {
            assert!(greet(ports[4], &psk(b"01a1b2c3")).unwrap_err().contains("another key"));
        }
    }
}

#[test]
fn streams_can_be_driven_by_any_one_task() {
    fn is_fit<T: futures_lite::AsyncRead + futures_lite::AsyncWrite + Unpin + Send + 'static>() {}
    is_fit::<Stream>();
}
