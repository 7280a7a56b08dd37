//! Who reads from the socket: the connection's task, or for a while the thread that waits for what comes.
//!
//! A message that the task reads wakes two threads before a callback runs. A caller that waits anyway can wait on the
//! socket itself and read there, which is as fast as a bare socket. It may not keep the socket when it goes on to other
//! things, as acknowledgements and the answers to pings have to be read all the same, so it holds it on a lease:
//!
//! ```text
//!          lend (caller begins to wait)           give_back (caller stops waiting)
//!   Task ─────────────────────────────► Caller ──────────────────────────────────► Lent until t
//!    ▲                                    │  ▲                                       │    │
//!    │   end of the stream, much at once  │  └────────── lend, before t ─────────────┘    │
//!    ◄────────────────────────────────────┘                                               │
//!    ◄──────────────────────────────── the task comes by at t ────────────────────────────┘
//! ```
//!
//! A caller that is to read acknowledgements may also have a lease without having waited, when it finds that the task has read
//! some. One that connects, or closes, hands over at once: the socket is Lent from the moment when there is only an answer to
//! be waited for. In a goodbye the caller only waits; the task, run by the caller, reads.
//!
//! The task is woken at t without having been told of the lease: who gives back sets the alarm for it. So a caller that
//! waits, works for a moment and waits again disturbs no other thread: it puts the alarm off, and only when half of the
//! lease has gone by, as that is a call of the system. Until t the task need not be woken for bytes that are to be written
//! soon either.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use super::clock::{Clock, Sleep};
use super::driver::{End, make_ready, with_input};
use super::shared::{Inner, Shared, wake};
use super::{State, reactor};
use crate::net;
use crate::session::Events;

/// A caller that went on to other things keeps the socket for so long at most, and for half of it at least. (With half as
/// much the calls that put the alarm off are more than one in a hundred messages there and back on one core.)
const LEASE: Duration = Duration::from_millis(4);

/// One that has just done something on it keeps it for so long: its program may wait elsewhere.
const FIRST_LEASE: Duration = Duration::from_millis(2);

/// With so much at once the task does better, as it reads on while the caller deals with what has come. Not so …
///
/// - while acknowledgements are waited for: those are soon dealt with and the caller then publishes, so the two would wait for
///   each other's lock (on two cores that costs 2 to 18 % of the throughput at QoS 1 and 2);
/// - with messages that are not [`SMALL`]: to take them from another core's cache costs more than to read them (a third of the
///   processor's time at 1 KiB).
const MUCH: usize = 4 * 1024;

/// Messages smaller than this, as packets.
const SMALL: usize = 512;

/// See the module.
#[derive(Default)]
pub(super) struct Reader {
    who: Who,
    /// The task is between asking for bytes and handing them to the session.
    busy: bool,
    /// Wakes the task when the lease is over, if it is the caller's turn then. Boxed: most connections have none for most of
    /// the time.
    lease: Option<Box<Sleep>>,
    /// That is still the alarm of [`FIRST_LEASE`].
    is_first: bool,
    /// The last read brought [`MUCH`] in small packets, or a part of a large one.
    much: bool,
    /// Why the connection ends, found by a caller; until the task takes it.
    end: Option<Box<End>>,
    /// A caller has found the end, or may have. What has ended stays readable: a caller would come back at once, again and again.
    ended: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Who {
    #[default]
    Task,
    Caller,
    /// The caller's until the end of the lease, which there is.
    Lent,
}

/// A socket for a caller to wait on.
#[derive(Debug)]
pub struct Lent {
    /// It does not block.
    pub socket: net::Tcp,
    /// The broker seems to be on this machine.
    pub is_near: bool,
    /// The caller has just connected or closed, and the answer to that has not come.
    pub is_awaited: bool,
}

/// What a caller that has been lent the socket found there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Served {
    /// Nothing: the socket is still lent.
    Nothing,
    /// It is not, or no longer, the caller's to read: it was given back, the task has taken it, or the connection ends.
    NotLent,
    /// Something, and the socket was given back.
    Read {
        /// Something is to be sent by that.
        unsent: bool,
    },
}

impl Reader {
    /// For a caller that has just done something on the socket and is likely to wait for the answer. The task is to
    /// [`watch`](Self::watch) then.
    pub(super) fn lent_from(clock: &Clock, now: Instant) -> Reader {
        Reader {
            who: Who::Lent,
            lease: Some(Box::new(clock.sleep_until(now + FIRST_LEASE))),
            is_first: true,
            ..Reader::default()
        }
    }

    /// It is lent to a caller, and the task comes by when that ends.
    pub(super) fn is_lent(&self) -> bool {
        self.who == Who::Lent
    }

    /// Sees to it that the task of `cx` is woken when a lease ends; whether there is one.
    pub(super) fn watch(&mut self, cx: &mut Context<'_>) -> bool {
        let lease = self.lease.as_mut().filter(|_| self.who == Who::Lent);
        lease.is_some_and(|lease| {
            if Pin::new(&mut **lease).poll(cx).is_ready() {
                cx.waker().wake_by_ref();
            }
            true
        })
    }
}

impl Shared {
    /// A caller begins to wait: the socket to wait on, if it is to read.
    pub(super) fn lend(&self) -> Option<Lent> {
        let mut inner = self.lock();
        if !inner.is_free(&self.clock) {
            return None;
        }
        let closing = inner.farewell.as_ref().and_then(|farewell| farewell.socket.as_ref());
        let socket = inner.direct().or(closing)?.clone();
        inner.reader.who = Who::Caller;
        Some(Lent { socket, is_near: inner.is_near, is_awaited: inner.awaits_answer() })
    }

    /// Reads once. If there was something, the caller stops waiting by that. What happens is put into `events`, which are
    /// empty, unless the sink has been told of something that comes before; else the sink is told.
    pub(super) fn serve(&self, events: Option<&mut Events>) -> Served {
        let mut inner = self.lock();
        if inner.reader.who != Who::Caller {
            return Served::NotLent; // closed or replaced meanwhile
        }
        let Some(socket) = inner.direct().cloned() else {
            if farewell_is_silent(&inner) {
                return Served::Nothing;
            }
            // A connection that says goodbye: its end, almost always. If not, the task reads on.
            (inner.reader.who, inner.reader.ended) = (Who::Task, true);
            reactor::here(|| wake(inner));
            return Served::NotLent;
        };
        let now = self.clock.now();
        let events = events.filter(|_| !inner.is_sink_told());
        let came = with_input(|input| match read(&socket, input) {
            Ok(0) => {
                inner.reader.end = Some(Box::new(End::Eof));
                true
            }
            Ok(n) => {
                let events =
                    events.and_then(|events| inner.session.events().borrow(events).then_some(events));
                let outcome = inner.take_input(now, input, n);
                if let Some(events) = events {
                    inner.session.events().hand_over(events);
                }
                inner.reader.end = outcome.err().map(|error| Box::new(End::from(error)));
                true
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => false,
            Err(error) => {
                inner.reader.end = Some(Box::new(End::Read(error)));
                true
            }
        });
        if !came {
            return Served::Nothing;
        }
        inner.reader.ended = inner.reader.end.is_some();
        let waker = if inner.reader.ended || inner.is_much() {
            inner.reader.who = Who::Task;
            inner.waker()
        } else {
            inner.give_back(&self.clock, now);
            None
        };
        let unsent = inner.session.unsent() > 0;
        self.release(inner);
        waker.inspect(Waker::wake_by_ref);
        Served::Read { unsent }
    }

    /// The caller stops waiting.
    pub(super) fn give_back(&self) {
        let mut inner = self.lock();
        if inner.reader.who == Who::Caller {
            inner.give_back(&self.clock, self.clock.now());
        }
    }
}

impl Inner {
    /// Whether the caller has just connected or closed, and the answer has not come.
    fn awaits_answer(&self) -> bool {
        self.reader.is_first && self.state != State::Connected
    }

    /// Whether a caller may have the socket, if there is one for callers.
    fn is_free(&self, clock: &Clock) -> bool {
        let free = match self.reader.who {
            Who::Task => !self.reader.busy && !self.is_much(),
            Who::Lent => true,
            Who::Caller => false,
        };
        free && !self.reader.ended && !self.paused && !clock.is_manual()
    }

    /// A caller that waits when there is nothing else to do has found something: if acknowledgements are under way it is to
    /// read them, as if it had waited. Else it would find those that the task has read whenever it comes by, and never wait;
    /// and the two would be in each other's way at the lock (at QoS 1 that is an eighth of the processor's time, and three of
    /// four calls of the system).
    pub(super) fn claim(&mut self, clock: &Clock) {
        let is_free = self.reader.who == Who::Task && self.is_free(clock) && self.direct().is_some();
        if is_free && self.session.ids_in_use() > 0 {
            self.give_back(clock, clock.now());
        }
    }

    /// The caller stops waiting, or has read.
    fn give_back(&mut self, clock: &Clock, now: Instant) {
        self.reader.who = Who::Lent;
        let half = if self.reader.is_first { FIRST_LEASE / 2 } else { LEASE / 2 };
        let is_late_enough = |lease: &Sleep| {
            // what waits to be written is not put off again and again
            let left = lease.deadline().saturating_duration_since(now);
            lease.is_set() && (left >= half || self.awaits_lease_end())
        };
        if self.reader.lease.as_deref().is_some_and(is_late_enough) {
            return;
        }
        let Some(waker) = self.waker() else { return self.reader.who = Who::Task };
        self.reader.is_first = false;
        let lease = self.reader.lease.get_or_insert_with(|| Box::new(clock.sleep_until(now)));
        lease.put_off(now + LEASE, &waker);
    }
}

/// What the task asks.
impl Inner {
    /// Whether the task is to read now; then it calls [`end_reading`](Self::end_reading) after. `at_once`: it is about to
    /// end the connection.
    pub(super) fn begin_reading(&mut self, now: Instant, at_once: bool) -> bool {
        // What a deadline waits for may lie in the socket: that is read before it is judged, whoever's turn it is.
        let due = at_once || self.session.poll_timeout().is_some_and(|at| at <= now);
        match self.reader.who {
            Who::Caller if !due => return false,
            Who::Lent if !due && self.reader.lease.as_ref().is_some_and(|lease| now < lease.deadline()) => {
                return false;
            }
            _ => {
                (self.reader.who, self.reader.lease) = (Who::Task, None);
                self.reader.is_first = false;
            }
        }
        self.reader.busy = !self.paused;
        self.reader.busy
    }

    /// `n` bytes with so many packets were read.
    #[inline]
    pub(super) fn note_read(&mut self, n: usize, packets: u64) {
        self.reader.much = n >= MUCH && (packets == 0 || (n as u64) < packets * SMALL as u64);
    }

    /// Whether the task does better.
    fn is_much(&self) -> bool {
        self.reader.much && self.session.ids_in_use() == 0
    }

    /// What came is with the session.
    pub(super) fn end_reading(&mut self) {
        self.reader.busy = false;
    }

    /// Why the connection has to end, if a caller found that.
    pub(super) fn end_found(&mut self) -> Option<End> {
        self.reader.end.take().map(|end| *end)
    }
}

/// Whether nothing has come from the broker of a connection that says goodbye.
fn farewell_is_silent(inner: &Inner) -> bool {
    let socket = inner.farewell.as_ref().and_then(|farewell| farewell.socket.as_ref());
    let came = socket.map(|socket| socket.peek(&mut [0]));
    matches!(came, Some(Err(error)) if error.kind() == io::ErrorKind::WouldBlock)
}

fn read(socket: &net::Tcp, input: &mut Vec<u8>) -> io::Result<usize> {
    make_ready(input);
    net::append(socket, input)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;
    use crate::client::{ClientOptions, ConnectOptions, ManualClock, Sink};
    use crate::codec::Qos;
    use crate::session::{Config, Session, Token};

    struct Nobody;

    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    impl Sink for Nobody {
        fn ready(&self, _: u32) {}
    }

    fn shared() -> (Arc<Shared>, ManualClock) {
        let (clock, hand) = Clock::manual();
        let options = ClientOptions { clock, ..ClientOptions::default() };
        let shared = Shared::new(Session::new(Config::default()), options, Arc::new(Nobody));
        shared.lock().wake_by(&Context::from_waker(Waker::noop()));
        (shared, hand)
    }

    /// The caller has waited and goes on to other things; when the lease ends, from now on.
    fn lease_after_a_wait(shared: &Shared, hand: &ManualClock) -> Duration {
        shared.lock().reader.who = Who::Caller;
        shared.give_back();
        let inner = shared.lock();
        assert!(inner.reader.is_lent());
        inner.reader.lease.as_ref().expect("it ends").deadline() - hand.now()
    }

    #[test]
    fn a_deadline_takes_the_reading_back_from_a_caller_that_has_not_read() {
        let (shared, hand) = shared();
        let mut inner = shared.lock();
        let now = hand.now();
        let deadline = now + Duration::from_secs(9);
        inner.session.connect(&ConnectOptions::default().packet(None, None), Some(deadline));
        for who in [Who::Caller, Who::Lent] {
            inner.reader = Reader { who, ..Reader::lent_from(&shared.clock, deadline) };
            assert!(!inner.begin_reading(now, false));
            assert!(inner.begin_reading(deadline, false));
            assert!(inner.reader.who == Who::Task);
        }
    }

    #[test]
    fn a_lease_is_put_off_when_half_of_it_has_gone_by_and_ends_when_the_caller_stays_away() {
        let (shared, hand) = shared();
        let step = LEASE / 4;
        assert_eq!(lease_after_a_wait(&shared, &hand), LEASE);
        for left in [3, 2, 4, 3, 2, 4] {
            hand.advance(step);
            assert_eq!(lease_after_a_wait(&shared, &hand), left * step);
        }
        hand.advance(LEASE - Duration::from_nanos(1));
        assert!(!shared.lock().begin_reading(hand.now(), false));
        hand.advance(Duration::from_nanos(1));
        assert!(shared.lock().begin_reading(hand.now(), false));
        assert!(!shared.lock().reader.is_lent());
        assert_eq!(lease_after_a_wait(&shared, &hand), LEASE);
    }

    #[test]
    fn the_lease_of_a_caller_that_has_not_waited_yet_stays_for_half_of_its_time() {
        let (shared, hand) = shared();
        let step = FIRST_LEASE / 4;
        {
            let mut inner = shared.lock();
            inner.reader = Reader::lent_from(&shared.clock, hand.now());
            assert!(inner.reader.watch(&mut Context::from_waker(Waker::noop())));
        }
        for left in [3, 2] {
            hand.advance(step);
            assert_eq!(lease_after_a_wait(&shared, &hand), left * step);
        }
        hand.advance(step);
        assert_eq!(lease_after_a_wait(&shared, &hand), LEASE);
        hand.advance(LEASE / 2 + Duration::from_nanos(1));
        assert_eq!(lease_after_a_wait(&shared, &hand), LEASE, "from now on it is as any other");
    }

    /// Of a connection that nobody has waited for.
    fn socket() -> net::Tcp {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        socket.set_nonblocking(true).unwrap();
        Arc::new(socket)
    }

    #[test]
    fn a_caller_that_finds_an_acknowledgement_and_waits_soon_reads_those_to_come() {
        let shared = Shared::new(Session::new(Config::default()), ClientOptions::default(), Arc::new(Nobody));
        let is_lent = |waits| {
            shared.swap_events(&mut Events::new(), waits);
            shared.lock().reader.is_lent()
        };
        {
            let mut inner = shared.lock();
            inner.wake_by(&Context::from_waker(Waker::noop()));
            inner.opened(&net::Stream::Tcp(net::Plain::New(socket())), None);
            inner.session.connect(&ConnectOptions::default().packet(None, None), None);
            inner.session.handle_input(Instant::now(), &[0x20, 2, 0, 0]).unwrap();
        }
        assert!(!is_lent(true), "nothing is under way");
        shared.lock().session.publish("t", b"", Qos::AtLeastOnce, false, Token::NONE).unwrap();
        assert!(!is_lent(false));
        shared.lock().reader.busy = true;
        assert!(!is_lent(true), "the task is reading");
        shared.lock().reader.busy = false;
        assert!(is_lent(true));
        shared.lock().reader.who = Who::Caller;
        assert!(!is_lent(true), "it waits");
    }

    #[test]
    fn a_broker_whose_connection_was_up_at_once_is_near() {
        let (shared, _hand) = shared();
        let socket = socket();
        let mut inner = shared.lock();
        inner.opened(&net::Stream::Tcp(net::Plain::New(socket.clone())), None);
        assert!(inner.is_near);
        let polled = smol::Async::new_nonblocking(socket).unwrap();
        inner.opened(&net::Stream::Tcp(net::Plain::Polled(polled)), None);
        assert!(!inner.is_near);
    }

    #[test]
    fn an_answer_is_awaited_in_the_first_lease_until_it_comes() {
        let (shared, hand) = shared();
        let mut inner = shared.lock();
        let first = || Reader::lent_from(&shared.clock, hand.now());
        inner.reader = first();
        assert!(inner.awaits_answer());
        inner.state = State::Connected;
        assert!(!inner.awaits_answer(), "CONNACK has come");
        (inner.reader, inner.state) = (first(), State::Idle);
        assert!(inner.awaits_answer(), "DISCONNECT is out");
        assert!(inner.begin_reading(hand.now() + FIRST_LEASE, false));
        assert!(!inner.awaits_answer(), "the task reads");
        inner.reader = Reader::default();
        assert!(!inner.awaits_answer());
    }

    #[test]
    fn the_task_is_woken_at_the_end_of_a_lease_and_not_before() {
        let (shared, hand) = shared();
        let task = Arc::new(Count(AtomicUsize::new(0)));
        shared.lock().wake_by(&Context::from_waker(&Waker::from(task.clone())));
        let woken = |after: Duration| {
            hand.advance(after);
            task.0.load(Ordering::Relaxed)
        };
        lease_after_a_wait(&shared, &hand);
        for _ in 0..9 {
            assert_eq!(woken(LEASE / 2 + Duration::from_nanos(1)), 0);
            lease_after_a_wait(&shared, &hand);
        }
        assert_eq!(woken(LEASE - Duration::from_nanos(1)), 0);
        assert_eq!(woken(Duration::from_nanos(1)), 1);
        assert_eq!(woken(9 * LEASE), 1);
    }

    #[test]
    fn a_lease_that_began_without_an_alarm_has_one_when_it_is_given_back() {
        let (shared, hand) = shared();
        let task = Arc::new(Count(AtomicUsize::new(0)));
        let waker = Waker::from(task.clone());
        let mut cx = Context::from_waker(&waker);
        {
            let mut inner = shared.lock();
            inner.wake_by(&cx);
            // the caller ends the connection while the task runs elsewhere, and is the first to wait
            inner.reader = Reader { who: Who::Caller, ..Reader::lent_from(&shared.clock, hand.now()) };
            assert!(!inner.reader.watch(&mut cx));
        }
        shared.give_back();
        assert!(shared.lock().reader.is_lent());
        hand.advance(LEASE);
        assert_eq!(task.0.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_lease_is_not_put_off_while_something_waits_for_its_end_to_be_written() {
        let (shared, hand) = shared();
        lease_after_a_wait(&shared, &hand);
        shared.lock().session.connect(&ConnectOptions::default().packet(None, None), None);
        shared.lock().await_lease_end();
        hand.advance(LEASE * 3 / 4);
        assert_eq!(lease_after_a_wait(&shared, &hand), LEASE / 4);
        hand.advance(LEASE / 4);
        assert_eq!(lease_after_a_wait(&shared, &hand), Duration::ZERO, "the task has been woken");
        assert!(shared.lock().begin_reading(hand.now(), false));
    }
}
