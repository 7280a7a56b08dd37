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
//! A caller that connects, or closes, hands over at once: the socket is Lent from the moment when there is only an answer to
//! be waited for. In a goodbye the caller only waits; the task, run by the caller, reads.
//!
//! While the task watches for t it need not be woken, neither to take the reading back nor for bytes that are to be
//! written soon: a caller that waits, works for a moment and waits again wakes it once per lease, not once per message.

use std::io;
use std::task::Waker;
use std::time::{Duration, Instant};

use super::driver::{End, make_ready, with_input};
use super::reactor;
use super::shared::{Inner, Shared, wake};
use crate::net;

/// How long a caller that went on to other things keeps the socket …
const LEASE: Duration = Duration::from_millis(1);

/// … and how often that is doubled for one that comes back again and again: each look of the task interrupts it when both
/// share a core.
const DOUBLED: u8 = 2;

/// With so much at once the task does better: it reads on while the caller deals with what has come. Not so while
/// acknowledgements are waited for, as those are soon dealt with and the caller then publishes: the two would wait for each
/// other's lock (on two cores that costs 2 to 18 % of the throughput at QoS 1 and 2).
const MUCH: usize = 4 * 1024;

/// See the module.
#[derive(Default)]
pub(super) struct Reader {
    who: Who,
    /// The task is between asking for bytes and handing them to the session.
    busy: bool,
    /// The task looks after the lease by itself.
    watched: bool,
    /// How often in a row the task has looked after the lease and found that the caller has it: once when it was asked to,
    /// then at most once per lease.
    looks: u8,
    /// How much came last.
    last: usize,
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
    Lent(Instant),
}

impl Reader {
    /// For a caller that has just done something on the socket and is likely to wait for the answer.
    pub(super) fn lent_from(now: Instant) -> Reader {
        Reader { who: Who::Lent(now + LEASE), ..Reader::default() }
    }

    /// The task comes by at this time without being woken.
    pub(super) fn watched_until(&self) -> Option<Instant> {
        match self.who {
            Who::Lent(until) if self.watched => Some(until),
            _ => None,
        }
    }
}

impl Shared {
    /// A caller begins to wait: the socket to wait on, if it is to read.
    pub(super) fn lend(&self) -> Option<net::Tcp> {
        let mut inner = self.lock();
        let free = match inner.reader.who {
            Who::Task => !inner.reader.busy && !inner.is_much(inner.reader.last),
            Who::Lent(_) => true,
            Who::Caller => false,
        };
        if !free || inner.reader.ended || inner.paused || self.clock.is_manual() {
            return None;
        }
        let closing = inner.farewell.as_ref().and_then(|farewell| farewell.socket.as_ref());
        let socket = inner.direct().or(closing)?.clone();
        inner.reader.who = Who::Caller;
        Some(socket)
    }

    /// The socket is readable: reads once. Whether there is something to be sent by that.
    pub(super) fn serve(&self) -> bool {
        let mut inner = self.lock();
        if inner.reader.who != Who::Caller {
            return false; // closed or replaced meanwhile
        }
        let Some(socket) = inner.direct().cloned() else {
            // A connection that says goodbye: its end, almost always. If not, the task reads on.
            (inner.reader.who, inner.reader.ended) = (Who::Task, true);
            reactor::here(|| wake(inner));
            return false;
        };
        let now = self.clock.now();
        let to_task = with_input(|input| match read(&socket, input) {
            Ok(0) => {
                inner.reader.end = Some(Box::new(End::Eof));
                true
            }
            Ok(n) => {
                inner.reader.last = n;
                let outcome = inner.take_input(now, input, n);
                let violated = outcome.is_err();
                inner.reader.end = outcome.err().map(|error| Box::new(End::from(error)));
                violated || inner.is_much(n)
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                false
            }
            Err(error) => {
                inner.reader.end = Some(Box::new(End::Read(error)));
                true
            }
        });
        inner.reader.ended = inner.reader.end.is_some();
        let mut waker = None;
        if to_task {
            inner.reader.who = Who::Task;
            waker = inner.waker();
        }
        let unsent = inner.session.unsent() > 0;
        self.release(inner);
        waker.inspect(Waker::wake_by_ref);
        unsent
    }

    /// The caller stops waiting.
    pub(super) fn give_back(&self) {
        let mut inner = self.lock();
        if inner.reader.who != Who::Caller {
            return;
        }
        let doubled = inner.reader.looks.saturating_sub(1);
        inner.reader.who = Who::Lent(self.clock.now() + LEASE * (1 << doubled));
        if !std::mem::replace(&mut inner.reader.watched, true) {
            let waker = inner.waker();
            drop(inner);
            waker.inspect(Waker::wake_by_ref);
        }
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
            Who::Lent(until) if !due && now < until => {
                self.reader.looks = (DOUBLED + 1).min(self.reader.looks + 1);
                return false;
            }
            _ => (self.reader.who, self.reader.looks) = (Who::Task, 0),
        }
        self.reader.busy = !self.paused;
        self.reader.busy
    }

    /// Whether the task does better after a read of `n` bytes.
    fn is_much(&self, n: usize) -> bool {
        n >= MUCH && self.session.ids_in_use() == 0
    }

    /// `n` bytes came and are with the session.
    pub(super) fn end_reading(&mut self, n: usize) {
        self.reader.busy = false;
        if n > 0 {
            self.reader.last = n;
        }
    }

    /// When the task has to look after a lease; it does so from now on.
    pub(super) fn lease_ends(&mut self) -> Option<Instant> {
        self.reader.watched = matches!(self.reader.who, Who::Lent(_));
        self.reader.watched_until()
    }

    /// Why the connection has to end, if a caller found that.
    pub(super) fn end_found(&mut self) -> Option<End> {
        self.reader.end.take().map(|end| *end)
    }
}

fn read(socket: &net::Tcp, input: &mut Vec<u8>) -> io::Result<usize> {
    make_ready(input);
    net::append(socket, input)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::client::{ClientOptions, ConnectOptions, Sink};
    use crate::session::{Config, Session};

    struct Nobody;

    impl Sink for Nobody {
        fn ready(&self, _: u32) {}
    }

    #[test]
    fn a_deadline_takes_the_reading_back_from_a_caller_that_has_not_read() {
        let shared = Shared::new(Session::new(Config::default()), ClientOptions::default(), Arc::new(Nobody));
        let mut inner = shared.lock();
        let now = Instant::now();
        let deadline = now + Duration::from_secs(9);
        inner.session.connect(&ConnectOptions::default().packet(None, None), Some(deadline));
        for who in [Who::Caller, Who::Lent(deadline + LEASE)] {
            inner.reader.who = who;
            assert!(!inner.begin_reading(now, false));
            assert!(inner.begin_reading(deadline, false));
            assert!(inner.reader.who == Who::Task);
        }
    }

    #[test]
    fn a_lease_is_longer_the_more_often_the_task_has_found_it_renewed() {
        let shared = Shared::new(Session::new(Config::default()), ClientOptions::default(), Arc::new(Nobody));
        let look = |lapsed: bool, lasts: Duration| {
            let before = Instant::now();
            shared.lock().reader.who = Who::Caller;
            shared.give_back();
            let after = Instant::now();
            let mut inner = shared.lock();
            let Who::Lent(until) = inner.reader.who else { panic!("it is lent") };
            assert!(until - before >= lasts && until.saturating_duration_since(after) <= lasts);
            assert_eq!(inner.begin_reading(if lapsed { until } else { before }, false), lapsed);
        };
        for lasts in [1, 1, 2, 4, 4] {
            look(false, lasts * LEASE);
        }
        look(true, 4 * LEASE);
        look(false, LEASE);
    }
}
