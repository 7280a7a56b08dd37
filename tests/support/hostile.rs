//! A broker that misbehaves on a script, and the judgement of a real client that meets it over TCP.
//!
//! A [`Behaviour`] is data: what the broker does step by step, what the client may tell its caller of it, and a verdict.
//! [`judge`] plays it and then checks what holds for all: the connection ends as the verdict says and is told of once,
//! every call ends once, nothing else is told, and the same client then passes a message through a good broker.

use std::io::{ErrorKind, Read, Write};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use mqtt::broker::{Broker, BrokerOptions};
use mqtt::client::{Clock, Options, Policy, Sending, State};
use mqtt::codec::Qos;
use mqtt::session::{Config, Limits, Token};

use crate::client::{ACCEPTED, DISCONNECT, Listener, Peer, Seen, Tested, message, options, wait_until};

/// What has to become of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is closed within 2 s: `Offline` once if it had been accepted, else `ConnectFailed` once.
    Violation,
    /// It is closed by the limit of the attempt or by keep-alive, 1 s each here, and not before.
    Dead,
    /// It lives on and passes messages both ways.
    Harmless,
}

/// What the broker does next, or what is asked of the client meanwhile.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Takes the client's CONNECT.
    Connect,
    /// Writes.
    Send(Vec<u8>),
    /// Writes again and again, while the client's caller takes what is told.
    Flood(Vec<u8>, usize),
    /// Reads exactly this.
    Expect(Vec<u8>),
    /// Sends the client's CONNECT back.
    Echo,
    /// The client publishes "p" to "t".
    Publish(Qos),
    /// The client publishes so many bytes.
    PublishLarge(usize),
    /// The client subscribes to these filters at QoS 1.
    Subscribe(&'static [&'static str]),
    /// The client unsubscribes from "a".
    Unsubscribe,
    /// The client's caller closes.
    CloseClient,
    /// Ends its own direction.
    HalfClose,
    /// Ends the connection.
    Close,
    /// Ends the connection with a reset.
    Reset,
    /// Drops the connection and takes the next one, that of a client which reconnects.
    Again,
}

/// One way to misbehave.
#[derive(Clone, Debug)]
pub(crate) struct Behaviour {
    pub(crate) name: String,
    pub(crate) verdict: Verdict,
    steps: Vec<Step>,
    /// The broker accepts the connection at some point.
    pub(crate) accepted: bool,
    /// Otherwise, the reason of `ConnectFailed`.
    reason: i8,
    /// What the client tells beside the beginning and the end of the connection, in order: see [`word`].
    tells: Vec<String>,
    clean_session: bool,
    keep_alive: u16,
    max_message: Option<u32>,
    reconnects: bool,
    present: bool,
}

/// How to play behaviours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// As they stand.
    Plain,
    /// Every byte in a write of its own.
    ByteByByte,
    /// With a client that comes back by itself.
    Reconnecting,
}

impl Behaviour {
    fn new(name: &str, verdict: Verdict) -> Behaviour {
        Behaviour {
            name: name.to_owned(),
            verdict,
            steps: vec![],
            accepted: false,
            reason: -4,
            tells: vec![],
            clean_session: true,
            keep_alive: 0,
            max_message: None,
            reconnects: false,
            present: false,
        }
    }

    pub(crate) fn step(mut self, step: Step) -> Behaviour {
        self.steps.push(step);
        self
    }

    /// The broker has CONNECT and has said nothing.
    pub(crate) fn connecting(self) -> Behaviour {
        self.step(Step::Connect)
    }

    /// The broker has accepted.
    pub(crate) fn connected(self) -> Behaviour {
        self.step(Step::Connect).send(&ACCEPTED).accepts()
    }

    pub(crate) fn send(self, bytes: &[u8]) -> Behaviour {
        self.step(Step::Send(bytes.to_vec()))
    }

    pub(crate) fn expect(self, bytes: &[u8]) -> Behaviour {
        self.step(Step::Expect(bytes.to_vec()))
    }

    /// The client publishes as its `id`th message, "p" to "t", which the broker reads.
    pub(crate) fn published(self, qos: u8, id: u8) -> Behaviour {
        let qos = Qos::new(qos).expect("0 to 2");
        self.step(Step::Publish(qos)).expect(&[0x30 | (qos as u8) << 1, 6, 0, 1, b't', 0, id, b'p'])
    }

    /// The client subscribes to "a" under this id, which the broker reads.
    pub(crate) fn subscribed(self, id: u8) -> Behaviour {
        self.step(Step::Subscribe(&["a"])).expect(&[0x82, 6, 0, id, 0, 1, b'a', 1])
    }

    /// What the client tells in between, in the words of [`word`].
    pub(crate) fn tells(mut self, words: &[&str]) -> Behaviour {
        self.tells.extend(words.iter().map(|word| (*word).to_owned()));
        self
    }

    pub(crate) fn tells_times(mut self, word: &str, times: usize) -> Behaviour {
        self.tells.extend(std::iter::repeat_n(word.to_owned(), times));
        self
    }

    /// The attempt fails for this reason, not -4.
    pub(crate) fn fails(mut self, reason: i8) -> Behaviour {
        self.reason = reason;
        self
    }

    pub(crate) fn keeping_session(mut self) -> Behaviour {
        self.clean_session = false;
        self
    }

    /// Of 1 s.
    pub(crate) fn keep_alive(mut self) -> Behaviour {
        self.keep_alive = 1;
        self
    }

    /// Of the size of a message.
    pub(crate) fn max_message(mut self, limit: u32) -> Behaviour {
        self.max_message = Some(limit);
        self
    }

    pub(crate) fn reconnecting(mut self) -> Behaviour {
        self.reconnects = true;
        self
    }

    /// The first CONNACK is understood as "session present".
    pub(crate) fn present(mut self) -> Behaviour {
        self.present = true;
        self
    }

    /// When the connection has to have ended, after the last step. Keep-alive needs 2 s from when the system last took bytes.
    pub(crate) fn limit(&self) -> Duration {
        match self.verdict {
            Verdict::Violation => Duration::from_secs(2),
            Verdict::Dead => Duration::from_secs(4),
            Verdict::Harmless => Duration::MAX,
        }
    }

    /// The script's CONNACK is an accepting one.
    pub(crate) fn accepts(mut self) -> Behaviour {
        self.accepted = true;
        self
    }
}

pub(crate) fn violation(name: &str) -> Behaviour {
    Behaviour::new(name, Verdict::Violation)
}

pub(crate) fn dead(name: &str) -> Behaviour {
    Behaviour::new(name, Verdict::Dead)
}

pub(crate) fn harmless(name: &str) -> Behaviour {
    Behaviour::new(name, Verdict::Harmless)
}

/// An event in a word: "t=m" for a message of topic t and payload m.
fn word(seen: &Seen) -> String {
    match seen {
        Seen::Message(topic, payload) => {
            let payload = String::from_utf8_lossy(payload);
            if payload.len() > 40 { format!("{} bytes", payload.len()) } else { format!("{topic}={payload}") }
        }
        Seen::Published(_) => "published".to_owned(),
        Seen::Subscribed(_) => "subscribed".to_owned(),
        Seen::Unsubscribed(_) => "unsubscribed".to_owned(),
        Seen::Connected { session_present: false } => "connected".to_owned(),
        Seen::Connected { session_present: true } => "connected again".to_owned(),
        Seen::Failed(reason) => format!("failed {reason}"),
        other => format!("{other:?}").to_lowercase(),
    }
}

/// A broker without faults, for afterwards.
static GOOD: LazyLock<Broker> =
    LazyLock::new(|| Broker::start(BrokerOptions::default()).expect("127.0.0.1 has free ports"));

/// A client, its broker, and what was told so far.
struct Play {
    tested: Tested,
    listener: Listener,
    peer: Option<Peer>,
    connect: Vec<u8>,
    split: bool,
    told: Vec<String>,
    /// By token less one: how often the call has ended.
    ends: Vec<usize>,
}

/// Plays a behaviour; panics if the client does not do what it must. How long it took until the connection had ended, which
/// is for the caller to compare with [`Behaviour::limit`].
pub(crate) fn judge(behaviour: &Behaviour, manner: Manner) -> Duration {
    let limits = Limits { max_packet: behaviour.max_message, ..Limits::default() };
    let listener = Listener::new();
    let mut play = Play {
        tested: Tested::with(Config { limits, ..Config::default() }, Clock::real(), None),
        peer: None,
        connect: vec![],
        split: manner == Manner::ByteByByte,
        told: vec![],
        ends: vec![],
        listener,
    };
    let mut options = play.options(play.listener.port(), behaviour);
    if manner == Manner::Reconnecting || behaviour.reconnects {
        let policy =
            Policy { min: Duration::from_millis(1), max: Duration::from_millis(100), ..Policy::default() };
        options.reconnect = Some(policy);
    }
    let start = Instant::now();
    play.tested.client.connect(options);
    let mut peer = play.listener.accept();
    for step in &behaviour.steps {
        peer = play.step(step, peer);
    }
    play.peer = Some(peer);
    let began = if behaviour.accepted { Instant::now() } else { start };

    let mut expected = vec![];
    if behaviour.accepted {
        expected.push(if behaviour.present { "connected again" } else { "connected" }.to_owned());
    }
    expected.extend(behaviour.tells.iter().cloned());
    if behaviour.verdict == Verdict::Harmless {
        expected.extend(["later=x", "published"].map(str::to_owned));
        play.passes_messages(expected.len());
        expected.push("offline".to_owned());
    } else if behaviour.accepted {
        expected.push("offline".to_owned());
    } else {
        expected.push(format!("failed {}", behaviour.reason));
    }

    play.hear(expected.len());
    // also a half-closed connection ends, and one that the broker does not read
    play.peer.as_mut().expect("it is there").expect_gone();
    let took = began.elapsed();
    if behaviour.verdict == Verdict::Dead {
        // from the beginning: the steps take their time on a slow machine, and time limits run meanwhile
        let lived = start.elapsed();
        assert!(lived > Duration::from_millis(900), "given up after {lived:?}");
    }
    assert_eq!(play.told, expected);
    if manner == Manner::Reconnecting && play.tested.client.state() == State::Reconnecting {
        play.comes_back();
    } else {
        play.tested.expect_rest();
    }
    play.meets_a_good_broker(behaviour);
    took
}

impl Play {
    fn options(&self, port: u16, behaviour: &Behaviour) -> Options {
        let mut options = options(port);
        let connect = &mut options.profiles[0].connect;
        connect.client_id = format!("hostile-{}", self.tested.client.id());
        connect.clean_session = behaviour.clean_session;
        connect.keep_alive = behaviour.keep_alive;
        if behaviour.verdict == Verdict::Dead {
            options.connect_timeout = Duration::from_secs(1);
        }
        options
    }

    fn step(&mut self, step: &Step, mut peer: Peer) -> Peer {
        match step {
            Step::Connect => self.connect = peer.expect_connect(),
            Step::Send(bytes) => self.send(&mut peer, bytes),
            Step::Flood(bytes, times) => {
                for _ in 0..*times {
                    if peer.stream.write_all(bytes).is_err() {
                        break;
                    }
                    self.hear_what_is_there();
                }
            }
            Step::Expect(bytes) => {
                let mut got = vec![0; bytes.len()];
                peer.stream.read_exact(&mut got).expect("the client sends");
                assert_eq!(&got, bytes, "what the client sends");
            }
            Step::Echo => {
                let connect = self.connect.clone();
                self.send(&mut peer, &connect);
            }
            Step::Publish(qos) => {
                self.when_connected();
                let token = self.token();
                self.tested.client.publish("t", b"p", *qos, false, token, Sending::Soon).expect("connected");
            }
            Step::PublishLarge(size) => {
                self.when_connected();
                let (token, payload) = (self.token(), vec![b'p'; *size]);
                let qos = Qos::AtLeastOnce;
                self.tested
                    .client
                    .publish("t", &payload, qos, false, token, Sending::Soon)
                    .expect("connected");
            }
            Step::Subscribe(filters) => {
                self.when_connected();
                let token = self.token();
                let filters: Vec<_> = filters.iter().map(|filter| (*filter, Qos::AtLeastOnce)).collect();
                self.tested.client.subscribe(&filters, token, Sending::Soon).expect("connected");
            }
            Step::Unsubscribe => {
                self.when_connected();
                let token = self.token();
                self.tested.client.unsubscribe(&["a"], token, Sending::Soon).expect("connected");
            }
            Step::CloseClient => {
                // close() ends the telling
                self.hear(1);
                self.tested.client.close();
            }
            Step::HalfClose => _ = peer.stream.shutdown(std::net::Shutdown::Write),
            Step::Close => {
                // without unread input, or it would be a reset
                peer.stream.set_nonblocking(true).expect("a socket");
                while peer.stream.read(&mut [0; 1024]).is_ok_and(|n| n > 0) {}
                return self.spare();
            }
            Step::Reset => {
                peer.reset();
                return self.spare();
            }
            Step::Again => {
                drop(peer);
                return self.listener.accept();
            }
        }
        peer
    }

    /// A connection to nobody, in the place of one that the broker has closed.
    fn spare(&self) -> Peer {
        let other = Listener::new();
        let stream = std::net::TcpStream::connect(("127.0.0.1", other.port())).expect("it listens");
        Peer { stream }
    }

    /// Writes; that the client has closed already is no failure.
    fn send(&self, peer: &mut Peer, bytes: &[u8]) {
        let piece = if self.split && bytes.len() <= 400 { 1 } else { bytes.len() };
        for piece in bytes.chunks(piece) {
            match peer.stream.write_all(piece) {
                Ok(()) => {}
                Err(error) => {
                    let hangup = [ErrorKind::BrokenPipe, ErrorKind::ConnectionReset];
                    assert!(hangup.contains(&error.kind()), "{error}");
                    return;
                }
            }
        }
    }

    fn when_connected(&mut self) {
        wait_until("connected", || self.tested.client.state() == State::Connected);
    }

    fn token(&mut self) -> Token {
        self.ends.push(0);
        Token(self.ends.len() as u32)
    }

    fn note(&mut self, seen: &Seen) {
        match *seen {
            Seen::Published(token)
            | Seen::Subscribed(token)
            | Seen::Unsubscribed(token)
            | Seen::Dropped(token)
                if token.is_some() =>
            {
                self.ends[token.0 as usize - 1] += 1;
            }
            _ => {}
        }
        if !matches!(seen, Seen::Dropped(_)) {
            self.told.push(word(seen));
        }
    }

    fn hear_what_is_there(&mut self) {
        while let Some(seen) = self.tested.try_next() {
            self.note(&seen);
        }
    }

    /// Waits until so many things were told.
    fn hear(&mut self, count: usize) {
        while self.told.len() < count {
            let seen = self.tested.next();
            self.note(&seen);
        }
        self.hear_what_is_there();
    }

    /// QoS 1 from the broker, QoS 0 to it, on the connection that there is, and an orderly end. What the client sent
    /// before has been read; `told`: how much the client has to tell.
    fn passes_messages(&mut self, told: usize) {
        let peer = self.peer.as_mut().expect("it is there");
        peer.send(&[0x32, 10, 0, 5, b'l', b'a', b't', b'e', b'r', 0xFF, 0xFF, b'x']);
        peer.expect(&[0x40, 2, 0xFF, 0xFF]);
        self.hear(told - 1);
        let token = self.token();
        let client = &self.tested.client;
        client.publish("still", b"x", Qos::AtMostOnce, false, token, Sending::Soon).expect("connected");
        let peer = self.peer.as_mut().expect("it is there");
        peer.expect(&message("still", b"x"));
        // close() ends the telling
        self.hear(told);
        self.tested.client.close();
        let peer = self.peer.as_mut().expect("it is there");
        peer.expect(&DISCONNECT);
        peer.expect_eof();
        peer.shutdown_write();
    }

    /// The client reconnects by itself and gets a message.
    fn comes_back(&mut self) {
        let mut peer = self.listener.accept();
        peer.expect_connect();
        peer.send(&ACCEPTED);
        peer.send(&message("later", b"x"));
        self.told.clear();
        while self.told.last().is_none_or(|word| word != "later=x") {
            self.hear(self.told.len() + 1);
        }
        assert_eq!(self.told[0], "connected");
        self.tested.client.close();
        drop(peer);
        self.told.clear();
        self.hear(1);
        assert_eq!(self.told, ["offline"]);
        self.tested.expect_rest();
    }

    /// A message makes its way from this client to itself through a good broker.
    fn meets_a_good_broker(&mut self, behaviour: &Behaviour) {
        self.told.clear();
        let topic = format!("good/{}", self.tested.client.id());
        let mut options = self.options(GOOD.port(), behaviour);
        options.connect_timeout = Options::CONNECT_TIMEOUT;
        options.profiles[0].connect.keep_alive = 0;
        self.tested.client.connect(options);
        self.hear(1);
        assert_eq!(self.told[0], "connected");
        let token = self.token();
        self.tested.client.subscribe(&[(&topic, Qos::ExactlyOnce)], token, Sending::Soon).expect("connected");
        let token = self.token();
        let client = &self.tested.client;
        client.publish(&topic, b"hello", Qos::ExactlyOnce, false, token, Sending::Soon).expect("connected");
        let arrived = format!("{topic}=hello");
        while !self.told.contains(&arrived) || self.tested.client.pending().0 > 0 {
            self.hear(self.told.len() + 1);
        }
        assert_eq!(self.told.iter().filter(|word| word.contains('=')).count(), 1, "{:?}", self.told);
        self.tested.client.close();
        while self.told.last().is_none_or(|word| word != "offline") {
            self.hear(self.told.len() + 1);
        }
        self.tested.expect_rest();
        assert!(self.ends.iter().all(|ends| *ends == 1), "each call ends once: {:?}", self.ends);
    }
}
