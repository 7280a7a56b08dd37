//! WebSocket, plain and over TLS.

use std::io::{Read, Write};
use std::net::TcpStream;

use async_tungstenite::tungstenite::handshake::derive_accept_key;
use async_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use async_tungstenite::tungstenite::http::HeaderValue;
use async_tungstenite::tungstenite::protocol::CloseFrame;
use async_tungstenite::tungstenite::{Bytes, Message, WebSocket, accept_hdr};
use futures_lite::{AsyncReadExt, AsyncWriteExt, future};
use mqtt::net::tls::{self, Tls};
use mqtt::net::ws;

use crate::certs::{CA, LEAF, issue};
use crate::data::{exchange, sample};
use crate::server::{Proxy, Socket, Then, dial, listen, listen_tls, run};

/// Accepts as a broker does.
pub(crate) fn accept<S: Read + Write>(stream: S) -> WebSocket<S> {
    accept_hdr(stream, agree).unwrap()
}

#[expect(clippy::result_large_err, reason = "the library's type")]
fn agree(_request: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
    response.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_static("mqtt"));
    Ok(response)
}

/// A server that accepts and then does this.
fn serving(serve: impl Fn(&mut WebSocket<TcpStream>) + Send + Sync + 'static) -> u16 {
    listen(move |socket| serve(&mut accept(socket)))
}

async fn open(port: u16) -> Result<ws::Stream<Socket>, String> {
    let opened = ws::handshake(dial(port).await, "localhost", port, false, &ws::WebSocket::default()).await;
    opened.map_err(|error| error.to_string())
}

/// Opens twice and expects the same refusal.
#[track_caller]
fn refused(port: u16, expected: &str) {
    for time in ["first", "second"] {
        let why = run(open(port)).expect_err("this server was to be refused");
        assert!(why.contains(expected), "{time} time: {why:?} lacks {expected:?}");
    }
}

/// Sends every binary message back.
fn echo<S: Read + Write>(socket: &mut WebSocket<S>) {
    while let Ok(message) = socket.read() {
        if message.is_binary() && socket.send(message).is_err() {
            break;
        }
    }
}

#[test]
fn bytes_come_back_through_frames() {
    let port = serving(echo);
    run(async {
        let mut stream = open(port).await.unwrap();
        for length in [1, 125, 126, 65_535, 65_536, 65_537, 3_000_000] {
            let sent = sample(length);
            assert!(exchange(&mut stream, &sent, length).await.unwrap() == sent, "{length} bytes");
        }
    });
}

#[test]
fn bytes_come_back_through_frames_inside_of_tls() {
    let ca = issue(None, &CA);
    let tls = Tls { ca_cert: Some(ca.pem()), ..Tls::default() };
    let port = listen_tls(&issue(Some(&ca), &LEAF), |stream| echo(&mut accept(stream)));
    run(async {
        let stream = tls::handshake(dial(port).await, "localhost", &tls).await.unwrap();
        let mut stream =
            ws::handshake(stream, "localhost", port, true, &ws::WebSocket::default()).await.unwrap();
        for length in [1, 65_536, 3_000_000] {
            let sent = sample(length);
            assert!(exchange(&mut stream, &sent, length).await.unwrap() == sent, "{length} bytes");
        }
    });
}

#[test]
fn mqtt_6_0_0_3_the_request_is_what_was_asked_for() {
    let (tell, told) = smol::channel::unbounded();
    let port = listen(move |socket| {
        let tell = tell.clone();
        #[expect(clippy::result_large_err, reason = "the library's type")]
        let note = move |request: &Request, response: Response| {
            let headers =
                request.headers().iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()));
            let mut lines: Vec<_> = headers.filter(|line| !line.starts_with("sec-websocket-key: ")).collect();
            lines.insert(0, format!("{} {}", request.method(), request.uri()));
            tell.send_blocking(lines).unwrap();
            agree(request, response)
        };
        accept_hdr(socket, note).unwrap();
    });
    let usual = [
        "connection: Upgrade",
        "upgrade: websocket",
        "sec-websocket-version: 13",
        "sec-websocket-protocol: mqtt",
    ];
    let headers =
        [("X-Token", "abc"), ("Cookie", "a=1"), ("Cookie", "b=2"), ("Authorization", "Bearer hunter2")];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    for (socket, host, as_port, first, host_line, more) in [
        (ws::WebSocket::default(), "broker.example", 1884, "GET /mqtt", "host: broker.example:1884", &[][..]),
        (ws::WebSocket::default(), "broker.example", 80, "GET /mqtt", "host: broker.example", &[]),
        (ws::WebSocket::default(), "::1", 80, "GET /mqtt", "host: [::1]", &[]),
        (
            ws::WebSocket { path: "/a/b?c=d%20e".into(), headers },
            "10.0.0.1",
            8083,
            "GET /a/b?c=d%20e",
            "host: 10.0.0.1:8083",
            &["x-token: abc", "cookie: a=1", "cookie: b=2", "authorization: Bearer hunter2"],
        ),
    ] {
        let mut lines = run(async {
            ws::handshake(dial(port).await, host, as_port, false, &socket).await.unwrap();
            told.recv().await.unwrap()
        });
        assert_eq!(lines.remove(0), first);
        let mut expected = [&usual[..], &[host_line], more].concat();
        expected.sort_unstable();
        lines.sort_unstable();
        assert_eq!(lines, expected);
    }
}

/// The answer that accepts, to a request that was read.
fn acceptance(request: &str, protocol: &str) -> String {
    let key = request.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap();
    let key = derive_accept_key(key.trim().as_bytes());
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {key}\r\n{protocol}\r\n"
    )
}

/// Reads a request to its end.
fn read_request(socket: &mut TcpStream) -> String {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") && socket.read(&mut byte).unwrap() == 1 {
        request.push(byte[0]);
    }
    String::from_utf8(request).unwrap()
}

/// A server that answers with `answer`, which gets the request, and waits for the client to leave.
fn answering(answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> u16 {
    listen(move |mut socket| {
        let request = read_request(&mut socket);
        let _ = socket.write_all(&answer(&request));
        let _ = socket.read_to_end(&mut Vec::new());
    })
}

const MQTT: &str = "Sec-WebSocket-Protocol: mqtt\r\n";

#[test]
fn mqtt_6_0_0_4_a_server_that_does_not_agree_is_refused() {
    let fixed = |answer: &'static str| answering(move |_| answer.into());
    refused(fixed("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"), "HTTP status 404 Not Found");
    refused(fixed("HTTP/1.1 401 Unauthorized\r\n\r\n"), "HTTP status 401 Unauthorized");
    refused(
        fixed("HTTP/1.1 301 Moved Permanently\r\nLocation: /x\r\n\r\n"),
        "HTTP status 301 Moved Permanently",
    );
    refused(fixed("HTTP/1.1 200 OK\r\n\r\nhello"), "HTTP status 200 OK");
    refused(fixed("\x20\x02\x00\x00\r\n\r\n"), "does not speak HTTP");
    refused(fixed("\x15\x03\x01\x00\x02\x02\x46\r\n\r\n"), "does not speak HTTP");
    refused(answering(|request| acceptance(request, "").into()), "does not speak the subprotocol mqtt");
    refused(
        answering(|request| acceptance(request, "Sec-WebSocket-Protocol: mqttv3.1\r\n").into()),
        "speaks another subprotocol than mqtt",
    );
    refused(
        answering(|_| acceptance("Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", MQTT).into()),
        "the WebSocket handshake failed",
    );
    refused(
        answering(|request| acceptance(request, MQTT).replace("Upgrade: websocket", "Upgrade: h2c").into()),
        "the WebSocket handshake failed",
    );
    // an answer without end
    refused(listen(|mut socket| while socket.write_all(&[b'x'; 4096]).is_ok() {}), "the");
}

#[test]
fn a_handshake_that_is_cut_or_stalls_anywhere_gives_no_stream() {
    let whole = acceptance("Sec-WebSocket-Key: x", MQTT).len();
    for length in (0..whole).step_by(7) {
        let cut = listen(move |mut socket| {
            let answer = acceptance(&read_request(&mut socket), MQTT);
            let _ = socket.write_all(&answer.as_bytes()[..length]);
        });
        refused(cut, "the server closed the connection during the WebSocket handshake");
        let (tell, stalled) = smol::channel::unbounded();
        let stalls = listen(move |mut socket| {
            let answer = acceptance(&read_request(&mut socket), MQTT);
            let _ = socket.write_all(&answer.as_bytes()[..length]);
            tell.send_blocking(()).unwrap();
            assert_eq!(socket.read(&mut [0]).unwrap_or(0), 0);
            tell.send_blocking(()).unwrap();
        });
        for _ in 0..2 {
            run(async {
                let handshake = async { panic!("{:?}", open(stalls).await) };
                future::or(async { stalled.recv().await.unwrap() }, handshake).await;
                stalled.recv().await.unwrap(); // the client has hung up
            });
        }
    }
}

#[test]
fn a_stalling_tls_below_is_noticed_too() {
    let ca = issue(None, &CA);
    let tls = Tls { ca_cert: Some(ca.pem()), ..Tls::default() };
    let port = listen_tls(&issue(Some(&ca), &LEAF), |stream| echo(&mut accept(stream)));
    let proxy = Proxy::start(port, 1, 3, Then::Close);
    run(async {
        assert!(tls::handshake(dial(proxy.port).await, "localhost", &tls).await.is_err());
    });
}

#[test]
fn what_follows_the_answer_at_once_is_not_lost() {
    let port = answering(|request| [acceptance(request, MQTT).as_bytes(), b"\x82\x02\x20\x02"].concat());
    run(async {
        let mut got = [0; 2];
        open(port).await.unwrap().read_exact(&mut got).await.unwrap();
        assert_eq!(&got, b"\x20\x02");
    });
}

/// Sends raw frames after the handshake, then closes in good order; what the client reads.
fn read_all(frames: &[u8]) -> Result<Vec<u8>, String> {
    let frames = [frames, b"\x88\x02\x03\xe8"].concat();
    let port = answering(move |request| [acceptance(request, MQTT).as_bytes(), &frames].concat());
    run(async {
        let mut got = Vec::new();
        let mut stream = open(port).await.unwrap();
        stream.read_to_end(&mut got).await.map(|_| got).map_err(|error| error.to_string())
    })
}

#[test]
fn mqtt_6_0_0_2_packets_are_joined_across_frames_and_nothing_else_gets_between_them() {
    // a packet over three messages, an empty message, a fragmented one with a ping in the middle, a pong, two more in one
    let frames =
        b"\x82\x01a\x82\x01b\x82\x01c\x82\x00\x02\x01d\x89\x04ping\x00\x01e\x80\x01f\x8a\x04pong\x82\x02gh";
    assert_eq!(read_all(frames).unwrap(), b"abcdefgh");
    // every length form
    let long = [b"\x82\x7e\x00\x03abc".as_slice(), b"\x82\x7f\x00\x00\x00\x00\x00\x00\x00\x02de"].concat();
    assert_eq!(read_all(&long).unwrap(), b"abcde");
    // more pings in a row than are taken at once
    let pings = [b"\x89\x00".repeat(500), b"\x82\x01x".to_vec()].concat();
    assert_eq!(read_all(&pings).unwrap(), b"x");
}

#[test]
fn mqtt_6_0_0_1_other_frames_end_the_connection() {
    for (frames, expected) in [
        (&b"\x81\x05hello"[..], "text frame"),
        (b"\x01\x02he\x80\x03llo", "text frame"),
        (b"\x82\x82\x00\x00\x00\x00ab", "mask"), // masked, which only clients do
        (b"\xc2\x01a", "eserved"),
        (b"\x83\x01a", "nvalid opcode"),
        (b"\x8b\x00", "nvalid opcode"),
        (b"\x80\x01a", "ontinu"),
        (b"\x02\x01a\x82\x01b", "ragment"),
        (b"\x09\x00", "ragmented"),
        (b"\x89\x7e\x00\x80", ""),
    ] {
        let mut all = frames.to_vec();
        all.extend([0; 200]);
        let why = read_all(&all).expect_err("these frames were to be refused");
        assert!(why.contains(expected), "{frames:02x?}: {why:?} lacks {expected:?}");
    }
    // data before the violation still counts
    assert!(read_all(b"\x82\x01a\x81\x01b").unwrap_err().contains("text frame"));
}

#[test]
fn a_frame_larger_than_any_packet_is_refused_by_its_header() {
    // 2^62 bytes, and one more than MQTT's largest packet
    for header in
        [&b"\x82\x7f\x40\x00\x00\x00\x00\x00\x00\x00"[..], b"\x82\x7f\x00\x00\x00\x00\x10\x00\x00\x05"]
    {
        assert!(read_all(header).unwrap_err().contains("too long"));
    }
}

#[test]
fn pings_are_answered_while_only_reading() {
    let (tell, told) = smol::channel::unbounded();
    let port = serving(move |socket| {
        for n in 0..3_u8 {
            socket.send(Message::Ping(vec![n; 3].into())).unwrap();
            tell.send_blocking(socket.read().unwrap()).unwrap();
        }
        socket.send(Message::binary(vec![1])).unwrap();
    });
    run(async {
        let mut stream = open(port).await.unwrap();
        assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 1);
        for n in 0..3_u8 {
            assert_eq!(told.recv().await.unwrap(), Message::Pong(vec![n; 3].into()));
        }
    });
}

#[test]
fn writes_become_binary_frames_of_a_bounded_size() {
    let (tell, told) = smol::channel::unbounded();
    let port = serving(move |socket| {
        while let Ok(message) = socket.read() {
            assert!(message.is_binary());
            tell.send_blocking(message.into_data()).unwrap();
        }
    });
    run(async {
        let mut stream = open(port).await.unwrap();
        stream.write_all(b"\xc0\x00").await.unwrap();
        stream.flush().await.unwrap();
        assert_eq!(told.recv().await.unwrap(), Bytes::from_static(b"\xc0\x00"));
        let sent = sample(200_000);
        stream.write_all(&sent).await.unwrap();
        stream.flush().await.unwrap();
        let mut got = Vec::new();
        while got.len() < sent.len() {
            let frame = told.recv().await.unwrap();
            assert!(frame.len() <= 65_536);
            got.extend_from_slice(&frame);
        }
        assert!(got == sent);
    });
}

#[test]
fn closing_is_a_handshake_of_its_own() {
    let (tell, told) = smol::channel::unbounded();
    let port = serving(move |socket| {
        assert_eq!(socket.read().unwrap(), Message::binary(&b"\xe0\x00"[..]));
        socket.send(Message::binary(&b"late"[..])).unwrap();
        let close = socket.read().unwrap();
        // sends the answer
        while socket.read().is_ok() {}
        tell.send_blocking(close).unwrap();
    });
    run(async {
        let mut stream = open(port).await.unwrap();
        stream.write_all(b"\xe0\x00").await.unwrap();
        stream.close().await.unwrap();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"late");
        assert!(told.recv().await.unwrap().is_close());
        stream.close().await.unwrap();
        assert!(stream.write_all(b"more").await.is_err());
    });
}

#[test]
fn a_server_that_closes_gets_its_answer() {
    let (tell, told) = smol::channel::unbounded();
    let port = serving(move |socket| {
        socket.send(Message::binary(&b"bye"[..])).unwrap();
        socket.close(None).unwrap();
        tell.send_blocking(socket.read().unwrap()).unwrap();
        // and holds the connection: ending it is its business, not a reason to wait
        let _ = socket.get_mut().read_to_end(&mut Vec::new());
    });
    run(async {
        let mut stream = open(port).await.unwrap();
        let mut got = Vec::new();
        stream.read_to_end(&mut got).await.unwrap();
        assert_eq!(got, b"bye");
        assert!(told.recv().await.unwrap().is_close());
        stream.close().await.unwrap();
    });
}

#[test]
fn a_server_that_complains_is_quoted() {
    let port = serving(|socket| {
        let frame = CloseFrame { code: 1008.into(), reason: "not\u{7} you".into() };
        socket.close(Some(frame)).unwrap();
        let _ = socket.get_mut().read_to_end(&mut Vec::new());
    });
    let error = run(async { open(port).await.unwrap().read(&mut [0; 8]).await.unwrap_err() });
    assert_eq!(error.to_string(), "the server closed the WebSocket: 1008 not\\u{7} you");
}

#[test]
fn a_server_that_just_hangs_up_has_ended_the_stream() {
    let port = serving(|socket| {
        socket.send(Message::binary(&b"bye"[..])).unwrap();
        socket.get_mut().shutdown(std::net::Shutdown::Write).unwrap();
        let _ = socket.get_mut().read_to_end(&mut Vec::new());
    });
    run(async {
        let mut got = Vec::new();
        open(port).await.unwrap().read_to_end(&mut got).await.unwrap();
        assert_eq!(got, b"bye");
    });
}

#[test]
fn an_error_answer_shows_no_secret() {
    let port = answering(|_| b"HTTP/1.1 403 Forbidden\r\nX: hunter2\r\n\r\nhunter2".to_vec());
    let socket = ws::WebSocket {
        path: "/mqtt?key=hunter2".into(),
        headers: vec![("Authorization".into(), "hunter2".into())],
    };
    let error =
        run(async { ws::handshake(dial(port).await, "localhost", port, false, &socket).await.unwrap_err() });
    let seen = format!("{error} {error:?} {socket:?}");
    assert!(seen.contains("403 Forbidden") && !seen.contains("hunter2"), "{seen}");
}
