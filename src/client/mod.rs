//! One MQTT client with a socket and a clock: what connects, reconnects and drives a [`Session`].
//!
//! ```text
//!   any thread                              the reactor's thread (one per process)
//!   ----------                              --------------------------------------
//!   Client::connect ──────── spawns ──────▶ supervisor: ask credentials, dial, drive, wait, again
//!   Client::publish ─┐                          │
//!   Client::close   ─┼─▶ Mutex<Inner> ◀─────── driver: socket <-> session
//!   swap_events     ─┘   session, state         │
//!        ▲                                      │
//!        └── Sink::ready, no lock held ◀────────┘
//! ```
//!
//! A caller's `connect` and `close` run the task themselves as far as it gets without waiting ([`reactor::here`]).
//!
//! Everything that either thread may touch stands behind one lock (`shared`): the session with its buffers, the state,
//! the socket that bytes may be sent on directly. Calls never wait for the network: they change the session, perhaps send
//! without blocking, and wake the task that has the rest to do. What happened comes back as
//! [`Events`], to be taken with [`Client::swap_events`] whenever [`Sink::ready`] says so.
//!
//! | file | job |
//! | --- | --- |
//! | `shared` | the state behind the lock, and every change of it that is not I/O |
//! | `supervisor` | one task from `connect` to the end: attempts, losses, reconnects |
//! | `driver` | one connection: writes, reads, timers; its goodbye |
//! | `dialogue` | questions to the caller, changes by it |
//! | `reader` | who reads: that task, or a caller that waits |
//! | `leave` | the end by the caller |
//! | `reconnect` | when to try again, and where (pure) |
//! | `traffic` | whether there is anything left to do, for tests |
//! | `options`, `error`, `clock`, `system_timer`, `reactor` | plain values, reasons, time, the timer below it, the thread |

pub mod clock;
mod dialogue;
mod driver;
pub mod error;
mod leave;
mod moment;
pub mod options;
pub mod reactor;
mod reader;
pub mod reconnect;
mod shared;
mod shutdown;
mod supervisor;
mod system_timer;
mod traffic;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

pub use clock::{Clock, ManualClock, Sleep};
pub use error::ConnectError;
pub use options::{ClientOptions, ConnectOptions, Credentials, Options, Policy, Profile, Server, Will};
pub use reader::{Lent, Served};
pub use shutdown::shutdown_all;
pub use system_timer::SystemTimer;

use crate::codec::{PacketId, Qos};
use crate::session::{self, Config, Events, Refused, Session, Token};
use crate::sys;
use shared::Shared;
pub use traffic::Traffic;

/// Is told that a client has events.
pub trait Sink: Send + Sync {
    /// The client's events went from none to some: [`Client::swap_events`] has something to give. Called on any thread,
    /// also from inside calls of [`Client`], with no lock held; must not block. Once per batch: not again before the
    /// next `swap_events`. Now and then the batch turns out to be empty. `key` is the client's
    /// [`ClientOptions::key`].
    fn ready(&self, key: u32);
}

/// What a client is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// Nothing: not connected before, given up, or closed. After [`Client::close`] it is idle at once.
    #[default]
    Idle,
    /// `connect` was called, the outcome is open.
    Connecting,
    /// The broker has accepted the connection.
    Connected,
    /// The connection was lost, and the [`Policy`] is at work.
    Reconnecting,
}

/// When the bytes of a call are to go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sending {
    /// Soon without further calls, as cheaply as may be: at once when nothing was sent for a millisecond, else together
    /// with what follows within 300 µs, or until the lease of [`Client::give_back`] ends.
    Soon,
    /// The caller promises [`Client::flush`] when it is through with its batch; many bytes start earlier.
    AtFlush,
}

/// Counters of a client, from its beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Those of its session.
    pub session: session::Stats,
    /// Connections accepted after a loss, without a new `connect`.
    pub reconnects: u64,
}

/// A handle to one client; clones are the same client.
///
/// Every method returns without waiting for the network and may be called on any thread and from inside
/// [`Sink::ready`]. Dropping the last handle closes the client as [`close`](Client::close) does, in the background.
pub struct Client {
    shared: Arc<Shared>,
}

impl Client {
    /// An idle client; starts no thread.
    pub fn new(config: Config, options: ClientOptions, sink: Arc<dyn Sink>) -> Client {
        let client = Client { shared: Shared::new(Session::new(config), options, sink) };
        shutdown::register(&client.shared);
        client
    }

    /// A number that no other client of this process has (of four billion).
    pub fn id(&self) -> u32 {
        self.shared.id
    }

    /// The clock that it was made with.
    pub fn clock(&self) -> &Clock {
        &self.shared.clock
    }

    /// Connects, and keeps connected if `options` say so.
    ///
    /// Exactly one of `Event::Connected` and `Event::ConnectFailed` follows ([`Options::retry_first`]: later, and only
    /// the first), none when `close` or another `connect` comes before the caller has seen it. After `Connected`, each
    /// end of a connection is one `Event::Offline` and each return one more `Connected`; failing retries are silent.
    ///
    /// On a connected client this first says DISCONNECT (QoS 0 that was not sent is dropped) and `Offline` comes before
    /// anything of the new attempt; an attempt under way ends silently, with its outcome if that has not been taken by
    /// `swap_events`. (A caller that is in the middle of a batch skips what that holds of the old attempt.)
    pub fn connect(&self, options: Options) {
        self.shared.connect(options);
    }

    /// Replaces the will for every CONNECT from now on until the next [`connect`](Client::connect), reconnects included.
    pub fn set_will(&self, will: Option<Will>) {
        self.shared.lock().will = Some(Box::new(will));
    }

    /// Answers `Event::CredentialsWanted`; none fails the attempt (reason -1). Ignored when nothing was asked.
    pub fn provide_credentials(&self, credentials: Option<Credentials>) {
        self.shared.provide_credentials(credentials);
    }

    /// Whether, from the next link that is up on, `Event::ConnectWanted` comes and
    /// [`provide_connect`](Client::provide_connect) is waited for, within the limit of the attempt.
    pub fn ask_connect(&self, ask: bool) {
        self.shared.lock().asks_connect = ask;
    }

    /// Answers `Event::ConnectWanted`: what to put into CONNECT. The caller has checked it as that of a profile. Ignored,
    /// and false, when nothing was asked.
    pub fn provide_connect(&self, connect: ConnectOptions) -> bool {
        self.shared.provide_connect(connect)
    }

    /// Makes the next attempt at once, if one waits for its time.
    pub fn hasten(&self) {
        self.shared.hasten();
    }

    /// From now on QoS is lowered to this instead of the bounds' [`max_qos`](session::Limits::max_qos); none: to theirs.
    pub fn set_max_qos(&self, max_qos: Option<Qos>) {
        self.shared.lock().set_max_qos(max_qos);
    }

    /// How often `Event::Tick` comes while connected; none: never.
    pub fn set_tick(&self, every: Option<Duration>) {
        self.shared.set_tick(every);
    }

    /// Accepts a message for delivery. The caller has checked the topic and the size
    /// ([`v4::publish_size`](crate::codec::v4::publish_size)).
    // Always: a message is nine values, and a call would move them all.
    #[inline(always)]
    pub fn publish(
        &self,
        topic: &str,
        payload: &[u8],
        qos: Qos,
        retain: bool,
        token: Token,
        sending: Sending,
    ) -> Result<(), Refused> {
        let mut inner = self.shared.lock();
        inner.session.publish(topic, payload, qos, retain, token)?;
        if inner.wants_push(sending) {
            self.shared.push(inner);
        }
        Ok(())
    }

    /// The same, under a packet id that is chosen now and stays the message's until it is done; the id. A message of QoS 0
    /// has none, but takes one's turn.
    pub fn publish_with_id(
        &self,
        topic: &str,
        payload: &[u8],
        qos: Qos,
        retain: bool,
        token: Token,
        sending: Sending,
    ) -> Result<PacketId, Refused> {
        let mut inner = self.shared.lock();
        let id = inner.session.publish_with_id(topic, payload, qos, retain, token)?;
        if inner.wants_push(sending) {
            self.shared.push(inner);
        }
        Ok(id)
    }

    /// The packet id whose turn it is: not in use, and not taken by this call. None while all are in use.
    pub fn next_id(&self) -> Option<PacketId> {
        self.shared.lock().session.next_id()
    }

    /// Sends one SUBSCRIBE. At least one filter, each checked by the caller.
    pub fn subscribe(&self, filters: &[(&str, Qos)], token: Token, sending: Sending) -> Result<(), Refused> {
        let mut inner = self.shared.lock();
        inner.session.subscribe(filters, token)?;
        if inner.wants_push(sending) {
            self.shared.push(inner);
        }
        Ok(())
    }

    /// Sends one UNSUBSCRIBE. At least one filter, each checked by the caller.
    pub fn unsubscribe(&self, filters: &[&str], token: Token, sending: Sending) -> Result<(), Refused> {
        let mut inner = self.shared.lock();
        inner.session.unsubscribe(filters, token)?;
        if inner.wants_push(sending) {
            self.shared.push(inner);
        }
        Ok(())
    }

    /// The caller is about to wait and offers to read from the socket itself meanwhile: the socket to wait on, unless the
    /// connection is none of plain TCP or is better read in the background. To be followed by
    /// [`give_back`](Self::give_back).
    pub fn lend(&self) -> Option<Lent> {
        self.shared.lend()
    }

    /// Reads once from the socket that [`lend`](Self::lend) gave, without blocking. If there was something, that also gives the
    /// socket back. What happens by it is put into `events`, which have to be empty, unless the sink has been told of
    /// something before it that waits to be taken; then it joins that, and as without `events` the sink is told. If something
    /// is to be sent by it that is done by [`flush`](Self::flush), or a little later by itself.
    pub fn serve(&self, events: Option<&mut Events>) -> Served {
        self.shared.serve(events)
    }

    /// The caller no longer waits. If it does not wait again within two to four milliseconds (one to two where it has only
    /// just connected), reading goes on in the background.
    pub fn give_back(&self) {
        self.shared.give_back();
    }

    /// Sends what is unsent now, without blocking, as far as the system takes it; the writer does the rest. To be
    /// called after a batch of [`Sending::AtFlush`], and cheap when there is nothing to do. Whether there was anything.
    pub fn flush(&self) -> bool {
        let inner = self.shared.lock();
        let unsent = inner.session.unsent() > 0;
        if unsent {
            self.shared.flush(inner);
        } else {
            self.shared.release_after_write(inner);
        }
        unsent
    }

    /// Ends what this client is about; it is idle when this returns, and nothing but `Offline` and `Dropped` is delivered
    /// from here on. (A caller that is in the middle of a batch delivers of the rest at most an `Offline`, if the last
    /// thing that it delivered of the two was `Connected`.)
    ///
    /// Connected: what is unsent is flushed for at most a second, DISCONNECT goes out, the socket is closed in such a way
    /// that the broker gets it, then `Offline` comes. That happens in the background; a `connect` that follows waits for
    /// it. Otherwise it ends an attempt or the reconnecting silently, or does nothing.
    pub fn close(&self) {
        self.shared.close();
    }

    /// Messages accepted and not done yet, and their bytes.
    pub fn pending(&self) -> (u64, u64) {
        self.shared.lock().session.pending()
    }

    /// Bytes of payload in QoS 1 and 2 messages without their acknowledgement, and of everything else that the system has
    /// not taken yet.
    pub fn unsent_bytes(&self) -> usize {
        self.shared.lock().session.unsent_bytes()
    }

    /// What it is about.
    pub fn state(&self) -> State {
        self.shared.lock().state
    }

    /// Whether it is connecting, connected, reconnecting, still saying goodbye, or has events that nobody took.
    pub fn busy(&self) -> bool {
        self.shared.lock().busy()
    }

    /// Whether it waits for nothing but its peer, its clock or its caller, and how far its connection has got. False
    /// while it dials, says goodbye, or has bytes to send or to read.
    pub fn is_settled(&self) -> (bool, Option<Traffic>) {
        self.shared.is_settled()
    }

    /// The sink is told of the ends of QoS 0 messages without a token from now on, those included that have not been taken;
    /// only of interest after [`ClientOptions::ignores_writes`].
    pub fn hear_writes(&self) {
        self.shared.hear_writes();
    }

    /// Exchanges the events that wait for `empty`, which must have been emptied. `waits`: when there is nothing more to do the
    /// caller [offers](Self::lend) to read; while acknowledgements are under way that is left to it from now on, as after
    /// [`give_back`](Self::give_back).
    pub fn swap_events(&self, empty: &mut Events, waits: bool) {
        self.shared.swap_events(empty, waits);
    }

    /// Counters.
    pub fn stats(&self) -> Stats {
        let inner = self.shared.lock();
        Stats { session: inner.session.stats(), reconnects: inner.reconnects.into() }
    }

    fn from_shared(shared: Arc<Shared>) -> Client {
        shared.handles.fetch_add(1, Ordering::Relaxed);
        Client { shared }
    }
}

impl Clone for Client {
    fn clone(&self) -> Client {
        Client::from_shared(self.shared.clone())
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // In a forked child the lock may be held for ever by a thread that does not exist there.
        if self.shared.handles.fetch_sub(1, Ordering::AcqRel) == 1 && !sys::forked() {
            self.shared.close();
        }
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Client({})", self.id())
    }
}
