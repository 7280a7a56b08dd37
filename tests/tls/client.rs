//! The whole client over TLS and WebSocket: what it reports as sent, how it says goodbye, what it reads again before it
//! comes back, and its one limit of time.

use std::fs;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use async_tungstenite::tungstenite::{self, Message, WebSocket};
use mqtt::client::{Options, Server};
use mqtt::codec::Qos;
use mqtt::net::pem::Pem;
use mqtt::net::tls::Tls;
use mqtt::net::{Security, Transport, ws};
use mqtt::session::{Config, Limits, Refused};

use crate::certs::{CA, Issued, Key, LEAF, Spec, fresh_dir, issue};
use crate::peers::{ACCEPTED, CONNECTED, DISCONNECT, LIMIT, Seen, Tested, message, options, reconnecting};
use crate::server::{listen, listen_tls, server_config};
use crate::websocket::accept;

/// The ways to a broker that leave nothing in the hands of the caller's thread.
const WAYS: [(bool, bool); 3] = [(true, false), (false, true), (true, true)];

fn transport(tls: Option<Tls>, websocket: bool) -> Transport {
    Transport {
        security: tls.map_or(Security::None, Security::Tls),
        websocket: websocket.then(ws::WebSocket::default),
    }
}

fn over(transport: Transport, mut options: Options) -> Options {
    options.profiles[0].transport = transport;
    options
}

fn trusting(ca: &Issued) -> Tls {
    Tls { ca_cert: Some(ca.pem()), ..Tls::default() }
}

trait Link: Read + Write {}

impl<S: Read + Write> Link for S {}

/// The data in binary messages.
struct Frames<S> {
    socket: WebSocket<S>,
    rest: Vec<u8>,
}

impl<S: Read + Write> Read for Frames<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() {
            match self.socket.read() {
                Ok(Message::Binary(bytes)) => self.rest = bytes.into(),
                Ok(_) => {}
                Err(tungstenite::Error::ConnectionClosed) => return Ok(0),
                Err(error) => return Err(io::Error::other(error)),
            }
        }
        let n = self.rest.len().min(buffer.len());
        buffer[..n].copy_from_slice(&self.rest[..n]);
        self.rest.drain(..n);
        Ok(n)
    }
}

impl<S: Read + Write> Write for Frames<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.send(Message::binary(bytes.to_vec())).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A broker that accepts a client and reads on when it is told to.
struct Late {
    transport: Transport,
    port: u16,
    go: Sender<()>,
    /// All that came after CONNECT, and whether the client has said that it is the end.
    heard: Receiver<(Vec<u8>, bool)>,
}

impl Late {
    fn start((secure, websocket): (bool, bool)) -> Late {
        let (go, may_read) = channel();
        let (tell, heard) = channel();
        let once = parking_lot::Mutex::new((may_read, tell));
        let serve = move |link: &mut dyn Link| {
            let (may_read, tell) = &*once.lock();
            welcome(link);
            may_read.recv().unwrap();
            let mut bytes = Vec::new();
            let ended_well = link.read_to_end(&mut bytes).is_ok();
            tell.send((bytes, ended_well)).unwrap();
        };
        let framed = move |link: &mut dyn Link| match websocket {
            true => serve(&mut Frames { socket: accept(link), rest: Vec::new() }),
            false => serve(link),
        };
        if !secure {
            let port = listen(move |mut socket| framed(&mut socket));
            return Late { transport: transport(None, websocket), port, go, heard };
        }
        let ca = issue(None, &CA);
        let port = listen_tls(&issue(Some(&ca), &LEAF), move |mut stream| framed(&mut stream));
        Late { transport: transport(Some(trusting(&ca)), websocket), port, go, heard }
    }

    /// All that came, once the client has gone.
    fn heard(&self) -> (Vec<u8>, bool) {
        self.heard.recv_timeout(LIMIT).expect("the client goes")
    }
}

/// Takes CONNECT and accepts.
fn welcome(link: &mut dyn Link) {
    let mut connect = [0; 16];
    link.read_exact(&mut connect).unwrap();
    assert_eq!(connect[0], 0x10);
    link.write_all(&ACCEPTED).unwrap();
    link.flush().unwrap();
}

const QUEUE: usize = 4 << 20;

/// A client with a queue of that size, on a clock that stands still.
fn tested() -> Tested {
    let config = Config { limits: Limits { max_queue: QUEUE, ..Limits::default() }, ..Config::default() };
    let (clock, hand) = mqtt::client::Clock::manual();
    Tested::with(config, clock, Some(hand))
}

/// The publish number `n`: no two of them are alike.
fn nth(n: usize) -> Vec<u8> {
    format!("{n:01000}").into_bytes()
}

/// Publishes until nothing more is taken, by the system's buffers either. How much was accepted, and how much of that was
/// reported as sent.
fn fill(tested: &mut Tested) -> (usize, usize) {
    let (mut accepted, mut published) = (0, 0);
    for _ in 0..200 {
        let refused = loop {
            match tested.publish("t", &nth(accepted), Qos::AtMostOnce) {
                Ok(()) => accepted += 1,
                Err(refused) => break refused,
            }
        };
        assert_eq!(refused, Refused::QueueFull);
        mqtt::client::reactor::settle();
        while let Some(seen) = tested.try_next() {
            published += usize::from(matches!(seen, Seen::Published(_)));
        }
    }
    (accepted, published)
}

#[test]
fn what_is_reported_as_sent_has_been_taken_by_the_system() {
    for way in WAYS {
        let late = Late::start(way);
        let mut tested = tested();
        tested.client.connect(over(late.transport.clone(), options(late.port)));
        assert_eq!(tested.next(), CONNECTED);
        let (accepted, published) = fill(&mut tested);
        let (messages, bytes) = tested.client.pending();
        assert_eq!(messages as usize, accepted - published, "{way:?}");
        assert!(bytes as usize <= QUEUE + 2000, "{way:?}: {bytes} bytes pending");
        // the server does not read, so the goodbye ends without having been said
        tested.client.close();
        tested.advance(Duration::from_secs(1));
        assert_eq!(tested.next(), Seen::Offline);
        tested.expect_rest();
        // what the system has taken arrives all the same, and only that
        late.go.send(()).unwrap();
        let (heard, ended_well) = late.heard();
        assert!(!ended_well, "{way:?}: the end was announced before all was sent");
        let whole = heard.len() / message("t", &nth(0)).len();
        assert!(published <= whole, "{way:?}: {published} reported as sent, {whole} came");
    }
}

#[test]
fn a_server_that_reads_late_gets_everything_in_order_and_a_goodbye() {
    for way in WAYS {
        let late = Late::start(way);
        let mut tested = tested();
        tested.client.connect(over(late.transport.clone(), options(late.port)));
        assert_eq!(tested.next(), CONNECTED);
        let (accepted, mut published) = fill(&mut tested);
        late.go.send(()).unwrap();
        let mut drained = false;
        while published < accepted || !drained {
            match tested.next() {
                Seen::Published(_) => published += 1,
                Seen::Drained => drained = true,
                other => panic!("{way:?}: {other:?}"),
            }
        }
        assert_eq!(tested.client.pending(), (0, 0));
        for n in accepted..accepted + 300 {
            tested.publish("t", &nth(n), Qos::AtMostOnce).unwrap();
        }
        tested.client.close();
        let (heard, ended_well) = late.heard();
        let mut expected: Vec<u8> = (0..accepted + 300).flat_map(|n| message("t", &nth(n))).collect();
        expected.extend(DISCONNECT);
        assert!(heard == expected, "{way:?}: {} bytes came, not {}", heard.len(), expected.len());
        // close_notify, or a close frame
        assert!(ended_well, "{way:?}");
    }
}

#[test]
fn files_are_read_again_before_a_reconnect_and_nothing_is_sent_if_they_do_not_fit() {
    let (ca, other) = (issue(None, &CA), issue(None, &Spec { key: Key::P256(2), ..CA }));
    let (tell, told) = channel();
    let tell = parking_lot::Mutex::new(tell);
    let port = listen_tls(&issue(Some(&ca), &LEAF), move |mut stream| {
        // CONNECT or nothing; then the connection is cut
        let came = stream.read_exact(&mut [0; 16]).is_ok();
        if came {
            stream.write_all(&ACCEPTED).unwrap();
        }
        tell.lock().send(came).unwrap();
    });
    let file = fresh_dir().join("ca.pem");
    fs::copy(&ca.cert, &file).unwrap();
    let tls = Tls { ca_cert: Some(Pem::Path(file.clone())), ..Tls::default() };
    let mut tested = Tested::manual();
    let options = over(transport(Some(tls), false), reconnecting(port));
    tested.client.connect(Options { report_attempts: true, ..options });
    let came = || told.recv_timeout(LIMIT).unwrap();
    assert_eq!([tested.next(), tested.next(), tested.next()], [Seen::Attempt(0), CONNECTED, Seen::Offline]);
    assert!(came());
    fs::copy(&other.cert, &file).unwrap();
    for _ in 0..2 {
        assert_eq!(tested.next_advancing(Duration::from_secs(1)), Seen::Attempt(0));
        assert_eq!(tested.next(), Seen::AttemptFailed(-6));
        assert!(!came(), "something was sent to a server that is not verified");
    }
    // no file at all: there is not even a handshake
    fs::remove_file(&file).unwrap();
    assert_eq!(tested.next_advancing(Duration::from_secs(1)), Seen::Attempt(0));
    assert_eq!(tested.next(), Seen::AttemptFailed(-6));
    assert!(!came());
    fs::copy(&ca.cert, &file).unwrap();
    assert_eq!(tested.next_advancing(Duration::from_secs(1)), Seen::Attempt(0));
    assert_eq!(tested.next(), CONNECTED);
    assert!(came());
}

#[test]
fn mqtt_6_0_0_1_a_frame_that_is_not_binary_ends_the_connection_of_the_client() {
    for first in [Message::text("\u{d0}\0"), Message::text("")] {
        let (tell, gone) = channel();
        let script = parking_lot::Mutex::new((first, tell));
        let port = listen(move |socket| {
            let (first, tell) = &*script.lock();
            let mut frames = Frames { socket: accept(socket), rest: Vec::new() };
            welcome(&mut frames);
            frames.socket.send(first.clone()).unwrap();
            // a message that must not be heard any more
            let _ = frames.socket.send(Message::binary(message("t", b"late")));
            tell.send(io::copy(frames.socket.get_mut(), &mut io::sink()).is_ok()).unwrap();
        });
        let mut tested = Tested::new();
        tested.client.connect(over(transport(None, true), options(port)));
        assert_eq!([tested.next(), tested.next()], [CONNECTED, Seen::Offline]);
        tested.expect_rest();
        gone.recv_timeout(LIMIT).expect("the client hangs up");
    }
}

/// What a server does not answer to.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Silent {
    Tls,
    WebSocket,
    Connect,
}

#[test]
fn one_limit_of_time_holds_for_all_steps_of_an_attempt_together() {
    let ca = issue(None, &CA);
    let leaf = issue(Some(&ca), &LEAF);
    for (silent, reason) in [(Silent::Tls, -6), (Silent::WebSocket, -6), (Silent::Connect, -2)] {
        let config = std::sync::Arc::new(server_config(&leaf));
        let (reached, at) = channel();
        let (go, may_go_on) = channel::<()>();
        let script = parking_lot::Mutex::new((reached, may_go_on));
        let port = listen(move |mut socket: TcpStream| {
            let (reached, may_go_on) = &*script.lock();
            let step = || {
                reached.send(()).unwrap();
                may_go_on.recv().is_ok()
            };
            // each step of the handshakes takes as long as the test wants
            socket.peek(&mut [0]).unwrap();
            step();
            if silent != Silent::Tls {
                let session = rustls::ServerConnection::new(config.clone()).unwrap();
                let mut tls = rustls::StreamOwned::new(session, &mut socket);
                tls.conn.complete_io(&mut tls.sock).unwrap();
                step();
                if silent == Silent::Connect {
                    let mut frames = Frames { socket: accept(tls), rest: Vec::new() };
                    frames.read_exact(&mut [0; 16]).unwrap();
                    step();
                }
            }
            // open until the client hangs up
            let _ = io::copy(&mut socket, &mut io::sink());
        });
        let mut tested = Tested::manual();
        let mut options = over(transport(Some(trusting(&ca)), true), options(port));
        options.profiles[0].server = Server { host: "localhost".into(), port };
        tested.client.connect(options);
        let steps = match silent {
            Silent::Tls => 1,
            Silent::WebSocket => 2,
            Silent::Connect => 3,
        };
        let mut left = Options::CONNECT_TIMEOUT;
        for _ in 0..steps {
            at.recv_timeout(LIMIT).unwrap();
            tested.advance(Duration::from_secs(3));
            left -= Duration::from_secs(3);
            go.send(()).unwrap();
        }
        tested.advance(left - Duration::from_millis(1));
        tested.expect_silence();
        tested.advance(Duration::from_millis(1));
        assert_eq!(tested.next(), Seen::Failed(reason), "{silent:?}");
        tested.expect_rest();
    }
}
