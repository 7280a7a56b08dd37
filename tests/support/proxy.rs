//! A TCP proxy that is hard on connections: it cuts, resets, stalls and half-delivers them at random places, drawn from a
//! seed.

use std::collections::{HashMap, HashSet};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use mqtt::codec::{Deframer, Delivery, Packet, PacketId, Publish, v4};
use parking_lot::Mutex;

use crate::random::Random;

/// How long a pump sleeps in a read before it looks at the clock and the flags again.
const SLICE: Duration = Duration::from_millis(5);

/// What is done to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Blow {
    /// Both sides see an orderly end.
    Cut,
    /// Both sides see a reset.
    Reset,
    /// Nothing moves for a while, then everything goes on.
    Stall,
    /// The direction that was hit delivers no more, the other one lives on for a moment; then a reset.
    HalfDeliver,
}

/// See the [module](self).
pub(crate) struct Proxy {
    shared: Arc<Shared>,
    port: u16,
}

struct Shared {
    upstream: AtomicU16,
    /// Blows fall.
    raging: AtomicBool,
    stopped: AtomicBool,
    /// Connections that were ended by a blow.
    cuts: AtomicUsize,
    stalls: AtomicUsize,
    random: Mutex<Random>,
    /// What the broker has said about QoS 2 messages.
    said: Mutex<Said>,
    /// When connections came.
    attempts: Mutex<Vec<Instant>>,
    /// A connection is hit before it has carried so many bytes…
    bytes: usize,
    /// … or lived so many milliseconds.
    millis: usize,
}

impl Proxy {
    /// In front of a port of 127.0.0.1; calm at first.
    pub(crate) fn start(upstream: u16, seed: u64, bytes: usize, millis: usize) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("127.0.0.1 has free ports");
        let port = listener.local_addr().expect("bound").port();
        let shared = Arc::new(Shared {
            upstream: AtomicU16::new(upstream),
            raging: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            cuts: AtomicUsize::new(0),
            stalls: AtomicUsize::new(0),
            random: Mutex::new(Random::new(seed)),
            said: Mutex::default(),
            attempts: Mutex::default(),
            bytes,
            millis,
        });
        let accepting = shared.clone();
        thread::spawn(move || {
            for client in listener.incoming() {
                if accepting.stopped.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(client) = client else { continue };
                accepting.attempts.lock().push(Instant::now());
                let upstream = accepting.upstream.load(Ordering::SeqCst);
                // a broker that is down hangs up on the client
                if let Ok(server) = TcpStream::connect(("127.0.0.1", upstream)) {
                    Link::start(&accepting, client, server);
                }
            }
        });
        Proxy { shared, port }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Whether blows fall from now on.
    pub(crate) fn rage(&self, on: bool) {
        self.shared.raging.store(on, Ordering::SeqCst);
    }

    /// The QoS 2 messages that the broker has published again after their PUBREL or under another packet id: the receiver
    /// cannot tell them from new ones. Their payloads.
    pub(crate) fn repeated(&self) -> Vec<Vec<u8>> {
        self.shared.said.lock().repeated.clone()
    }

    /// Connections ended by a blow.
    pub(crate) fn cuts(&self) -> usize {
        self.shared.cuts.load(Ordering::SeqCst)
    }

    /// Connections that stood still for a while.
    pub(crate) fn stalls(&self) -> usize {
        self.shared.stalls.load(Ordering::SeqCst)
    }

    /// Connections that came, and the most of them within any `span`.
    pub(crate) fn attempts(&self, span: Duration) -> (usize, usize) {
        let attempts = self.shared.attempts.lock();
        let within =
            |start: &Instant| attempts.iter().filter(|at| **at >= *start && **at < *start + span).count();
        (attempts.len(), attempts.iter().map(within).max().unwrap_or(0))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        // the accepting thread looks at the flag when a connection comes
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

/// What went to a subscriber, over all its connections.
#[derive(Default)]
struct Said {
    /// QoS 2 messages by their packet id, until another one has it.
    published: HashMap<PacketId, Vec<u8>>,
    known: HashSet<Vec<u8>>,
    /// Those whose PUBREL has been delivered.
    released: HashSet<Vec<u8>>,
    repeated: Vec<Vec<u8>>,
}

impl Said {
    fn listen(&mut self, deframer: &mut Deframer, mut bytes: &[u8]) {
        while let Ok(Some(frame)) = deframer.next(&mut bytes) {
            match v4::decode(&frame) {
                Ok(Packet::Publish(Publish { delivery: Delivery::ExactlyOnce(id), payload, .. })) => {
                    let before = self.published.insert(id, payload.to_vec());
                    let under_way = before.as_deref() == Some(payload) && !self.released.contains(payload);
                    if !self.known.insert(payload.to_vec()) && !under_way {
                        self.repeated.push(payload.to_vec());
                    }
                }
                Ok(Packet::Pubrel(id)) => self.released.extend(self.published.get(&id).cloned()),
                _ => {}
            }
        }
    }
}

/// One connection: two sockets, a thread for each direction.
struct Link {
    shared: Arc<Shared>,
    client: TcpStream,
    server: TcpStream,
    plan: Mutex<Plan>,
    /// Both directions end.
    dead: AtomicBool,
    /// Nobody forwards before this time.
    stalled: Mutex<Option<Instant>>,
}

/// Where the next blow falls.
struct Plan {
    blow: Blow,
    /// After so many bytes more, in both directions together…
    bytes: usize,
    /// … or at this time.
    at: Instant,
}

impl Plan {
    fn draw(shared: &Shared) -> Plan {
        let mut random = shared.random.lock();
        let blow = match random.below(10) {
            0..3 => Blow::Cut,
            3..6 => Blow::Reset,
            6 => Blow::Stall,
            _ => Blow::HalfDeliver,
        };
        let life = millis(1 + random.below(shared.millis));
        Plan { blow, bytes: random.below(shared.bytes), at: Instant::now() + life }
    }
}

impl Link {
    fn start(shared: &Arc<Shared>, client: TcpStream, server: TcpStream) {
        for socket in [&client, &server] {
            socket.set_nodelay(true).expect("an open socket");
            socket.set_read_timeout(Some(SLICE)).expect("an open socket");
        }
        let link = Arc::new(Link {
            plan: Mutex::new(Plan::draw(shared)),
            shared: shared.clone(),
            client,
            server,
            dead: AtomicBool::new(false),
            stalled: Mutex::new(None),
        });
        for upwards in [true, false] {
            let link = link.clone();
            thread::spawn(move || link.pump(upwards));
        }
    }

    /// Forwards one direction until the connection ends.
    fn pump(&self, upwards: bool) {
        let (mut from, mut to) =
            if upwards { (&self.client, &self.server) } else { (&self.server, &self.client) };
        let mut muted: Option<Instant> = None;
        let mut buffer = [0; 2048];
        let mut deframer = Deframer::from_broker(None);
        while !self.dead.load(Ordering::SeqCst) && !self.shared.stopped.load(Ordering::SeqCst) {
            if self.stalled.lock().is_some_and(|until| Instant::now() < until) {
                thread::sleep(SLICE);
                continue;
            }
            let n = match from.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => n,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => 0,
                Err(_) => break,
            };
            if let Some(until) = muted {
                if Instant::now() >= until {
                    self.reset();
                    return;
                }
                continue;
            }
            let (deliver, blow) = self.look(n);
            let deliver = if blow == Some(Blow::Stall) { n } else { deliver };
            if !upwards {
                self.shared.said.lock().listen(&mut deframer, &buffer[..deliver]);
            }
            if to.write_all(&buffer[..deliver]).is_err() {
                break;
            }
            match blow {
                None | Some(Blow::Stall) => {}
                Some(Blow::Cut) => break,
                Some(Blow::Reset) => return self.reset(),
                Some(Blow::HalfDeliver) => muted = Some(Instant::now() + Duration::from_millis(40)),
            }
        }
        self.dead.store(true, Ordering::SeqCst);
        let _ = self.client.shutdown(Shutdown::Both);
        let _ = self.server.shutdown(Shutdown::Both);
    }

    /// `n` bytes came: how many of them to deliver, and whether a blow follows.
    fn look(&self, n: usize) -> (usize, Option<Blow>) {
        let mut plan = self.plan.lock();
        if !self.shared.raging.load(Ordering::SeqCst) {
            return (n, None);
        }
        if n <= plan.bytes && Instant::now() < plan.at {
            plan.bytes -= n;
            return (n, None);
        }
        let deliver = plan.bytes.min(n);
        let blow = plan.blow;
        *plan = Plan::draw(&self.shared);
        if blow == Blow::Stall {
            self.shared.stalls.fetch_add(1, Ordering::SeqCst);
            let wait = millis(20 + self.shared.random.lock().below(200));
            *self.stalled.lock() = Some(Instant::now() + wait);
        } else {
            self.shared.cuts.fetch_add(1, Ordering::SeqCst);
            // the other direction is not hit again
            plan.bytes = usize::MAX;
            plan.at += Duration::from_secs(3600);
        }
        (deliver, Some(blow))
    }

    /// Ends both sides with a reset: that is what closing does when lingering is set to nothing.
    fn reset(&self) {
        for socket in [&self.client, &self.server] {
            let _ = rustix::net::sockopt::set_socket_linger(socket, Some(Duration::ZERO));
        }
        self.dead.store(true, Ordering::SeqCst);
    }
}

fn millis(n: usize) -> Duration {
    Duration::from_millis(n as u64)
}
