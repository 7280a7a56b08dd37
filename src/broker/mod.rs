//! A small MQTT broker inside the process: for demos and for tests.
//!
//! It speaks MQTT 3.1.1 and 3.1 over plain TCP on 127.0.0.1: QoS 0, 1 and 2 both ways, retained messages, wills, clean
//! and persistent sessions, wildcards, shared subscriptions (`$share/group/filter`, round robin), user names. It keeps
//! everything in memory and serves everybody from one thread of its own. And it can misbehave on request
//! ([`Faults`]), because what a client is worth shows when its broker is not well. For anything else there are real
//! brokers.
//!
//! ```
//! use mqtt::broker::{Broker, BrokerOptions, Faults, OnConnect};
//! use mqtt::codec::{ConnectCode, Qos};
//!
//! let broker = Broker::start(BrokerOptions::default())?;
//! broker.publish("room/1", "21.5", Qos::AtMostOnce, true)?;
//! broker.set_next_faults(Faults {
//!     on_connect: OnConnect::Refuse(ConnectCode::ServerUnavailable),
//!     ..Faults::default()
//! });
//! println!("mqtt://127.0.0.1:{}", broker.port());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | file | what it knows |
//! |---|---|
//! | `router.rs` | the state of the broker and what packets do to it; no socket, no clock |
//! | `routing.rs` | from a message to its receivers |
//! | `session.rs` | one client: its subscriptions, the messages on their way to it |
//! | `subscriptions.rs` | which filters match a topic |
//! | `link.rs` | one connection: its output, its end, its faults |
//! | `connection.rs` | the sockets, timers and tasks |
//! | `faults.rs` | what can go wrong, as data |
//! | `received.rs` | the log of what arrived |

mod connection;
mod faults;
mod link;
mod received;
mod router;
mod routing;
mod session;
mod subscriptions;

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use smol::{Async, LocalExecutor, channel, future};

use crate::codec::{Error, Kind, MAX_REMAINING, Qos, topic, v4};
use crate::sys;

pub use faults::{Cut, Faults, Kinds, OnConnect, SENT, Time, UnknownKind, kind_named};
pub use received::Received;

use faults::Scope;
use router::Router;
use session::Message;

/// A broker that runs until it is stopped or dropped. Can be used from any thread.
///
/// What a method reports is the state at that moment: the broker acts on what clients send when it reads it. To wait
/// for something, use [`Broker::wait_until`].
pub struct Broker {
    shared: Arc<Shared>,
    port: u16,
    thread: Mutex<Option<Running>>,
}

/// How a broker is set up.
#[derive(Clone)]
pub struct BrokerOptions {
    /// Where it listens on 127.0.0.1; 0 lets the system choose.
    pub port: u16,
    /// Passwords by user name: everybody else gets CONNACK 4. `None` lets everybody in.
    pub users: Option<HashMap<String, String>>,
    /// How many QoS 1 and 2 messages are sent to a client before it acknowledges one; at least 1.
    pub max_in_flight: usize,
    /// How many QoS 1 and 2 messages wait for one client. Those that come then are lost.
    pub max_queue: usize,
    /// How many bytes may wait for one client to read them. QoS 0 messages that come then are lost, and nothing more
    /// is read from it.
    pub max_output: usize,
    /// How many messages [`Broker::received`] remembers; 0 turns it off.
    pub max_received: usize,
    /// The time that [`Faults::delay`] goes by. `None`: the system's.
    pub time: Option<Arc<dyn Time>>,
}

impl Default for BrokerOptions {
    fn default() -> BrokerOptions {
        BrokerOptions {
            port: 0,
            users: None,
            max_in_flight: 100,
            max_queue: 100_000,
            max_output: 16 << 20,
            max_received: 10_000,
            time: None,
        }
    }
}

/// What the broker's thread and its handle share.
struct Shared {
    router: Mutex<Router>,
    changed: Condvar,
    time: Option<Arc<dyn Time>>,
}

/// The thread of a broker.
struct Running {
    thread: JoinHandle<()>,
    /// Closed to end it.
    stop: channel::Sender<()>,
    /// A forked child has the handle, but not the thread.
    process: u32,
}

impl Broker {
    /// Starts a broker. It listens when this returns.
    pub fn start(options: BrokerOptions) -> io::Result<Broker> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, options.port))?;
        let port = listener.local_addr()?.port();
        let time = options.time.clone();
        let router = Mutex::new(Router::new(options));
        let shared = Arc::new(Shared { router, changed: Condvar::new(), time });
        let running = Running::start(listener, shared.clone())?;
        Ok(Broker { shared, port, thread: Mutex::new(Some(running)) })
    }

    /// Where it listens, on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Drops all connections (without wills) and stops listening. Sessions, retained messages and faults stay, for
    /// [`Broker::restart`]. Returns when the port is free.
    pub fn stop(&self) {
        let running = self.thread.lock().take();
        if let Some(Running { thread, stop, process }) = running
            && process == std::process::id()
        {
            self.shared.update(|router| router.stopping = true);
            stop.close();
            if thread.join().is_err() {
                tracing::error!("the broker's thread panicked");
            }
        }
    }

    /// Listens again on the same port after [`Broker::stop`]; nothing if it still does.
    pub fn restart(&self) -> io::Result<()> {
        let mut thread = self.thread.lock();
        if thread.is_none() {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, self.port))?;
            self.shared.update(|router| router.stopping = false);
            *thread = Some(Running::start(listener, self.shared.clone())?);
        }
        Ok(())
    }

    /// Publishes a message of the broker's own.
    pub fn publish(
        &self,
        topic: &str,
        payload: impl Into<Bytes>,
        qos: Qos,
        retain: bool,
    ) -> Result<(), Error> {
        let payload = payload.into();
        topic::check_name(topic).map_err(|error| Error::Topic(Kind::Publish, error))?;
        if v4::publish_size(topic, &payload, qos).is_none() {
            let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).max(MAX_REMAINING as u32 + 1);
            return Err(Error::Length(Kind::Publish, length));
        }
        let message = Message { topic: topic.into(), payload, qos, retain };
        self.shared.update(|router| router.route(&mut (&message).into()));
        Ok(())
    }

    /// The last PUBLISHes that clients sent (see [`BrokerOptions::max_received`]), oldest first.
    pub fn received(&self) -> Vec<Received> {
        self.shared.router.lock().received.to_vec()
    }

    /// Forgets what [`Broker::received`] reports.
    pub fn clear_received(&self) {
        self.shared.update(|router| router.received.clear());
    }

    /// The ids of the connected clients, sorted.
    pub fn clients(&self) -> Vec<String> {
        let router = self.shared.router.lock();
        let connected =
            router.by_client.iter().filter(|&(_, &session)| router.sessions[session].link.is_some());
        let mut clients: Vec<String> = connected.map(|(client, _)| client.to_string()).collect();
        clients.sort_unstable();
        clients
    }

    /// The subscriptions of a client with the QoS granted, sorted by filter; also those of a persistent session whose
    /// client is away.
    pub fn subscriptions(&self, client: &str) -> Vec<(String, Qos)> {
        let router = self.shared.router.lock();
        let Some(session) = router.session_of(client) else { return Vec::new() };
        router.sessions[session].subscriptions.iter().map(|(filter, qos)| (filter.clone(), *qos)).collect()
    }

    /// The retained messages, sorted by topic.
    pub fn retained(&self) -> Vec<(String, Bytes)> {
        let router = self.shared.router.lock();
        router.retained.iter().map(|(topic, message)| (topic.to_string(), message.payload.clone())).collect()
    }

    /// Whether the connection from this port of a client that has sent so many bytes, and acted upon so many, lies idle:
    /// the broker has acted upon all of them and has sent nothing that is still on its way. What the time of a test holds
    /// back is not.
    pub fn is_through_with(&self, port: u16, sent: u64, received: u64) -> bool {
        let now = self.shared.time.as_ref().map(|time| time.now());
        let mut router = self.shared.router.lock();
        router.links.iter_mut().any(|link| link.port == port && link.is_through(sent, received, now))
    }

    /// How many connections were accepted so far.
    pub fn accepted(&self) -> u64 {
        self.shared.router.lock().accepted
    }

    /// How many messages were lost so far because their receivers were too slow.
    pub fn dropped(&self) -> u64 {
        self.shared.router.lock().dropped
    }

    /// Drops the connection of a client as if the network had failed. False: it is not connected.
    pub fn kill(&self, client: &str) -> bool {
        self.shared.update(|router| router.link_of(client).map(|link| router.kill(link)).is_some())
    }

    /// Sends a client these bytes, between two packets. False: it is not connected.
    pub fn send_raw(&self, client: &str, bytes: impl Into<Bytes>) -> bool {
        let bytes = bytes.into();
        self.shared
            .update(|router| router.link_of(client).map(|link| router.links[link].send_raw(&bytes)).is_some())
    }

    /// How all connections misbehave from now on, but those with faults of their own.
    pub fn set_faults(&self, faults: Faults) {
        self.shared.update(|router| {
            for link in router.links.iter_mut().filter(|link| link.scope == Scope::All) {
                link.set_faults(Scope::All, faults.clone());
            }
            router.faults.all = faults;
        });
    }

    /// How the next connection misbehaves; called twice, the next two.
    pub fn set_next_faults(&self, faults: Faults) {
        self.shared.update(|router| router.faults.next.push_back(faults));
    }

    /// How the connections of a client misbehave: the present one, and those to come.
    pub fn set_client_faults(&self, client: &str, faults: Faults) {
        self.shared.update(|router| {
            if let Some(link) = router.link_of(client) {
                router.links[link].set_faults(Scope::Client, faults.clone());
            }
            router.faults.clients.insert(client.to_owned(), faults);
        });
    }

    /// No faults for anybody.
    pub fn clear_faults(&self) {
        self.shared.update(|router| {
            router.faults = Default::default();
            for link in router.links.iter_mut() {
                link.set_faults(Scope::All, Faults::default());
            }
        });
    }

    /// Waits for a condition on this broker, which is looked at again whenever something has changed. False: it did
    /// not come true within `limit`.
    pub fn wait_until(&self, limit: Duration, mut condition: impl FnMut(&Broker) -> bool) -> bool {
        let deadline = Instant::now() + limit;
        loop {
            let version = self.shared.router.lock().version;
            if condition(self) {
                return true;
            }
            let mut router = self.shared.router.lock();
            while router.version == version {
                if self.shared.changed.wait_until(&mut router, deadline).timed_out() {
                    return false;
                }
            }
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    /// Changes the state and tells those who wait for changes.
    fn update<R>(&self, change: impl FnOnce(&mut Router) -> R) -> R {
        let mut router = self.router.lock();
        let result = change(&mut router);
        router.version += 1;
        drop(router);
        self.changed.notify_all();
        result
    }
}

impl Running {
    fn start(listener: TcpListener, shared: Arc<Shared>) -> io::Result<Running> {
        // Around all of it: the first use of a socket starts a thread of smol's as well.
        sys::with_signals_blocked(|| Running::start_thread(listener, shared))
    }

    fn start_thread(listener: TcpListener, shared: Arc<Shared>) -> io::Result<Running> {
        let listener = Async::new(listener)?;
        let (stop, stopped) = channel::bounded::<()>(1);
        let run = move || {
            let executor = LocalExecutor::new();
            let until_stopped = async {
                // An error: the other end was closed.
                let _ = stopped.recv().await;
            };
            let accept = connection::accept(listener, shared, &executor);
            smol::block_on(executor.run(future::or(until_stopped, accept)));
        };
        let thread = thread::Builder::new().name("mqtt-broker".into()).spawn(run)?;
        Ok(Running { thread, stop, process: std::process::id() })
    }
}
