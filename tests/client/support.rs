//! A client whose events are waited for, and a broker that is a script: a plain socket.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use mqtt::client::{
    Client, ClientOptions, Clock, ConnectOptions, ManualClock, Options, Policy, Profile, Sending, Server,
    Sink, State, reactor,
};
use mqtt::codec::Qos;
use mqtt::session::{Config, Event, Events, Refused, Token};
use parking_lot::{Condvar, Mutex};
use rustix::event::{PollFd, PollFlags};

/// Far longer than anything takes: what is missing then does not come.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// CONNACK, accepted, no session.
pub(crate) const ACCEPTED: [u8; 4] = [0x20, 0x02, 0x00, 0x00];

/// DISCONNECT.
pub(crate) const DISCONNECT: [u8; 2] = [0xE0, 0x00];

/// PINGREQ.
pub(crate) const PINGREQ: [u8; 2] = [0xC0, 0x00];

/// PINGRESP.
pub(crate) const PINGRESP: [u8; 2] = [0xD0, 0x00];

/// An event that owns what it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Connected { session_present: bool },
    Failed(i8),
    Offline,
    CredentialsWanted,
    Message(String, Vec<u8>),
    Published(Token),
    Subscribed(Token),
    Unsubscribed(Token),
    Dropped(Token),
    Drained,
    Attempt(u16),
    AttemptFailed(i8),
    ConnectWanted(u16),
    Tick,
}

pub(crate) const CONNECTED: Seen = Seen::Connected { session_present: false };

impl Seen {
    fn new(event: Event<'_>) -> Seen {
        match event {
            Event::Connected { session_present } => Seen::Connected { session_present },
            Event::ConnectFailed { reason, detail } => {
                assert!(!detail.is_empty(), "a detail for people");
                Seen::Failed(reason)
            }
            Event::Offline => Seen::Offline,
            Event::CredentialsWanted => Seen::CredentialsWanted,
            Event::Message { topic, payload, .. } | Event::Overflow { topic, payload } => {
                Seen::Message(String::from_utf8(topic.to_vec()).unwrap(), payload.to_vec())
            }
            Event::Published { token, .. } => Seen::Published(token),
            Event::Subscribed { token, .. } => Seen::Subscribed(token),
            Event::Unsubscribed { token, .. } => Seen::Unsubscribed(token),
            Event::Dropped { token } => Seen::Dropped(token),
            Event::Drained => Seen::Drained,
            Event::Attempt { profile } => Seen::Attempt(profile),
            Event::AttemptFailed { reason, detail } => {
                assert!(!detail.is_empty(), "a detail for people");
                Seen::AttemptFailed(reason)
            }
            Event::ConnectWanted { profile } => Seen::ConnectWanted(profile),
            Event::Tick => Seen::Tick,
        }
    }
}

/// Counts how often it was told, and lets a test wait for it.
#[derive(Default)]
pub(crate) struct Bell {
    rings: Mutex<usize>,
    rang: Condvar,
}

impl Sink for Bell {
    fn ready(&self, _: u32) {
        *self.rings.lock() += 1;
        self.rang.notify_all();
    }
}

impl Bell {
    pub(crate) fn count(&self) -> usize {
        *self.rings.lock()
    }
}

/// A client with its events.
pub(crate) struct Tested {
    pub(crate) client: Client,
    pub(crate) bell: Arc<Bell>,
    /// The hand of its clock, if that is manual.
    pub(crate) hand: Option<ManualClock>,
    batch: Events,
    heard: usize,
}

impl Tested {
    /// On the real clock.
    pub(crate) fn new() -> Tested {
        Tested::with(Config::default(), Clock::real(), None)
    }

    /// On a clock that the test advances.
    pub(crate) fn manual() -> Tested {
        let (clock, hand) = Clock::manual();
        Tested::with(Config::default(), clock, Some(hand))
    }

    pub(crate) fn with(config: Config, clock: Clock, hand: Option<ManualClock>) -> Tested {
        let bell = Arc::new(Bell::default());
        let client = Client::new(config, ClientOptions { clock, ..ClientOptions::default() }, bell.clone());
        Tested::of(client, bell, hand)
    }

    /// A client that tells this bell.
    pub(crate) fn of(client: Client, bell: Arc<Bell>, hand: Option<ManualClock>) -> Tested {
        Tested { client, bell, hand, batch: Events::new(), heard: 0 }
    }

    /// The next event if there is one now.
    pub(crate) fn try_next(&mut self) -> Option<Seen> {
        if self.batch.is_empty() {
            // before the swap: a ring after it belongs to what comes later
            self.heard = *self.bell.rings.lock();
            self.client.swap_events(&mut self.batch, false);
        }
        self.batch.pop().map(Seen::new)
    }

    /// The next event, waited for.
    pub(crate) fn next(&mut self) -> Seen {
        let deadline = Instant::now() + LIMIT;
        loop {
            if let Some(event) = self.try_next() {
                return event;
            }
            let mut rings = self.bell.rings.lock();
            while *rings == self.heard {
                assert!(!self.bell.rang.wait_until(&mut rings, deadline).timed_out(), "no event came");
            }
        }
    }

    /// The next event while time is moved on by `step` again and again.
    pub(crate) fn next_advancing(&mut self, step: Duration) -> Seen {
        let deadline = Instant::now() + LIMIT;
        loop {
            if let Some(event) = self.try_next() {
                return event;
            }
            assert!(Instant::now() < deadline, "no event came");
            self.advance(step);
            std::thread::yield_now();
        }
    }

    pub(crate) fn advance(&self, by: Duration) {
        reactor::settle();
        self.hand.as_ref().expect("a manual clock").advance(by);
        reactor::settle();
    }

    /// That nothing happened, once everything that is ready has been done.
    pub(crate) fn expect_silence(&mut self) {
        reactor::settle();
        assert_eq!(self.try_next(), None);
    }

    /// Waits until the client is idle with nothing left to tell.
    pub(crate) fn expect_rest(&mut self) {
        wait_until("the client is at rest", || !self.client.busy());
        assert_eq!(self.try_next(), None);
        assert_eq!(self.client.state(), State::Idle);
    }

    /// QoS 0 or more, without a token, to go out soon.
    pub(crate) fn publish(&self, topic: &str, payload: &[u8], qos: Qos) -> Result<(), Refused> {
        self.client.publish(topic, payload, qos, false, Token::NONE, Sending::Soon)
    }

    /// Connects to `server`, which accepts.
    pub(crate) fn connected(&mut self, server: &Listener, options: Options) -> Peer {
        self.client.connect(options);
        let mut peer = server.accept();
        peer.expect_connect();
        peer.send(&ACCEPTED);
        assert_eq!(self.next(), CONNECTED);
        peer
    }
}

/// Waits for a condition that no event tells of.
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !condition() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::yield_now();
    }
}

/// One attempt, as "id", clean session, no keep-alive.
pub(crate) fn options(port: u16) -> Options {
    let connect = ConnectOptions { client_id: "id".into(), clean_session: true, ..ConnectOptions::default() };
    Options::new(Profile::new(Server { host: "127.0.0.1".into(), port }, connect))
}

/// The same with a session that the broker keeps: it may send something at any time.
pub(crate) fn keeping(port: u16) -> Options {
    let mut options = options(port);
    options.profiles[0].connect.clean_session = false;
    options
}

/// The same as [`options`], with reconnects after 1, 2, 4, … 8 s, without jitter.
pub(crate) fn reconnecting(port: u16) -> Options {
    let policy =
        Policy { min: Duration::from_secs(1), max: Duration::from_secs(8), factor: 2.0, jitter: 0.0 };
    Options { reconnect: Some(policy), ..options(port) }
}

/// PUBLISH of QoS 0.
pub(crate) fn message(topic: &str, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x30];
    let mut length = 2 + topic.len() + payload.len();
    while length > 127 {
        bytes.push((length % 128) as u8 | 0x80);
        length /= 128;
    }
    bytes.push(length as u8);
    bytes.extend_from_slice(&(topic.len() as u16).to_be_bytes());
    bytes.extend_from_slice(topic.as_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// Where a scripted broker listens.
pub(crate) struct Listener {
    pub(crate) listener: TcpListener,
}

impl Listener {
    pub(crate) fn new() -> Listener {
        Listener { listener: TcpListener::bind("127.0.0.1:0").unwrap() }
    }

    pub(crate) fn port(&self) -> u16 {
        self.listener.local_addr().unwrap().port()
    }

    /// The next connection, waited for.
    pub(crate) fn accept(&self) -> Peer {
        let limit = rustix::event::Timespec { tv_sec: LIMIT.as_secs() as i64, tv_nsec: 0 };
        let mut listener = [PollFd::new(&self.listener, PollFlags::IN)];
        let ready = rustix::event::poll(&mut listener, Some(&limit)).unwrap();
        assert!(ready > 0, "no connection came");
        self.try_accept().expect("it is there")
    }

    /// A connection that has come already.
    pub(crate) fn try_accept(&self) -> Option<Peer> {
        self.listener.set_nonblocking(true).unwrap();
        match self.listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false).unwrap();
                stream.set_nodelay(true).unwrap();
                stream.set_read_timeout(Some(LIMIT)).unwrap();
                stream.set_write_timeout(Some(LIMIT)).unwrap();
                Some(Peer { stream })
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            Err(error) => panic!("{error}"),
        }
    }
}

/// The broker's end of one connection.
pub(crate) struct Peer {
    pub(crate) stream: TcpStream,
}

impl Peer {
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    pub(crate) fn receive(&mut self, n: usize) -> Vec<u8> {
        let mut bytes = vec![0; n];
        self.stream.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// One whole packet.
    pub(crate) fn packet(&mut self) -> Vec<u8> {
        let mut bytes = self.receive(2);
        let mut length = usize::from(bytes[1] & 0x7F);
        let mut shift = 7;
        while bytes[bytes.len() - 1] & 0x80 != 0 {
            bytes.extend(self.receive(1));
            length |= usize::from(bytes[bytes.len() - 1] & 0x7F) << shift;
            shift += 7;
        }
        bytes.extend(self.receive(length));
        bytes
    }

    pub(crate) fn expect(&mut self, bytes: &[u8]) {
        assert_eq!(self.receive(bytes.len()), bytes);
    }

    pub(crate) fn expect_connect(&mut self) -> Vec<u8> {
        let packet = self.packet();
        assert_eq!(packet[0], 0x10, "CONNECT comes first");
        packet
    }

    /// The client has ended its direction in good order, and sent nothing more before.
    pub(crate) fn expect_eof(&mut self) {
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest).expect("no reset");
        assert_eq!(rest, b"", "nothing more");
    }

    /// The connection is gone, in whatever way.
    pub(crate) fn expect_gone(&mut self) {
        match io::copy(&mut self.stream, &mut io::sink()) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}"),
        }
    }

    /// Closes with a reset.
    pub(crate) fn reset(self) {
        // unread input at close() makes the system send RST; SO_LINGER 0 does it in any case
        rustix::net::sockopt::set_socket_linger(&self.stream, Some(Duration::ZERO)).unwrap();
    }

    pub(crate) fn shutdown_write(&self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// Writes without waiting; how much the system took.
    pub(crate) fn send_without_waiting(&mut self, bytes: &[u8]) -> usize {
        self.stream.set_nonblocking(true).unwrap();
        let taken = match self.stream.write(bytes) {
            Ok(n) => n,
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            Err(error) => panic!("{error}"),
        };
        self.stream.set_nonblocking(false).unwrap();
        taken
    }
}

/// A number for a test's own use.
pub(crate) fn counter() -> Arc<AtomicUsize> {
    Arc::new(AtomicUsize::new(0))
}

/// Reads a [`counter`].
pub(crate) fn count(counter: &AtomicUsize) -> usize {
    counter.load(Ordering::SeqCst)
}
