//! How the loop waits: on the sockets that clients lend it, and not before it has looked whether a broker on this machine
//! has answered already.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use super::peer::Peer;
use super::waiter::MAX_SOCKETS;
use super::{State, log};
use crate::client::{Lent, Served};

/// So long an answer to CONNECT or DISCONNECT is looked for: about as long as a connection takes of the processor.
const LOOK: Duration = Duration::from_micros(100);

/// When the core that was given away comes back later than this, another program works on it, or the broker does for long …
const LATE: Duration = Duration::from_micros(500);

/// … and for so long it is not given away again.
const CROWDED: Duration = Duration::from_millis(100);

impl State {
    /// Waits until there is something to dispatch.
    pub(crate) fn wait(&self, deadline: Deadline) -> Outcome {
        // first of all: a socket that is lent and given back again and again without a look at it would be read by nobody
        if self.queue.len() > 0 {
            return Outcome::Ready;
        }
        // what is not before the end of the longest wait need not be compared with a clock
        let may_have_passed = |at| !self.waiter.borrow().rings_before(at);
        if deadline.0.is_some_and(may_have_passed) && deadline.passed() {
            return Outcome::TimedOut;
        }
        // without one of its own left a child waits on its parent's, and may be late
        let _ = self.own_descriptors();
        let mut lent = [const { None }; MAX_SOCKETS];
        for (n, place) in lent.iter_mut().enumerate() {
            let Some((lent, peer)) = self.lend(n) else { continue };
            if n == 0 && self.has_answer(&lent, &peer, deadline) {
                return Outcome::Ready;
            }
            *place = Some((lent.socket, peer));
        }
        let give_back = |peer: &Rc<Peer>| peer.client.give_back();
        if !self.queue.begin_wait() {
            lent.iter().flatten().for_each(|(_, peer)| give_back(peer));
            return Outcome::Ready;
        }
        let outcome = self.waiter.borrow_mut().wait(deadline.0, &mut lent, give_back);
        let is_first = self.queue.end_wait();
        let (happened, readable) = outcome.unwrap_or_default();
        for (lent, is_readable) in lent.iter().zip(readable) {
            let Some((_, peer)) = lent else { continue };
            if !(is_readable && self.serve(peer, is_first)) {
                give_back(peer);
            }
        }
        match outcome {
            Ok(_) if happened => Outcome::Ready,
            Ok(_) if deadline.passed() => Outcome::TimedOut,
            _ => Outcome::Tick,
        }
    }

    /// The socket of one of the clients that had events last, the newest first, for Lua to read from while it waits. A message
    /// that comes there runs its callback without another thread in between.
    fn lend(&self, n: usize) -> Option<(Lent, Rc<Peer>)> {
        let peer = self.peers.get(self.cursor.recent(n)?)?;
        Some((peer.client.lend()?, peer))
    }

    /// Looks whether a broker on this machine has answered: see [`Patience`].
    fn has_answer(&self, lent: &Lent, peer: &Rc<Peer>, deadline: Deadline) -> bool {
        let Some(time) = time_to_look(lent.is_near, lent.is_awaited, is_alone) else { return false };
        let give_way = || {
            thread::yield_now();
            Instant::now()
        };
        self.patience.look(Instant::now(), time, deadline, give_way, || {
            if self.queue.len() > 0 {
                return Some(false); // another client's events, or a timer, have come before
            }
            self.serve(peer, true).then_some(true)
        })
    }

    /// Reads from a client's socket. What comes there need not go through the queue if it `is_first`, nothing else is at hand,
    /// and nobody wants log lines, which do. False: there was nothing, and the socket is still lent.
    fn serve(&self, peer: &Rc<Peer>, is_first: bool) -> bool {
        let mut free = self.cursor.free_events().filter(|_| is_first && !log::anybody_listens());
        let served = peer.client.serve(free.as_deref_mut());
        if served == (Served::Read { unsent: true }) {
            self.peers.mark_dirty(peer);
        }
        if free.is_some_and(|events| !events.is_empty()) {
            self.cursor.begin(peer.clone());
            self.queue.unsettle(); // an error in a callback may leave the loop before the others have run
        }
        served != Served::Nothing
    }
}

/// How long an answer is looked for before a wait; none: not at all.
fn time_to_look(is_near: bool, is_awaited: bool, is_alone: impl FnOnce() -> bool) -> Option<Duration> {
    match (is_near, is_awaited) {
        (true, true) => Some(LOOK),
        (true, false) if is_alone() => Some(Duration::ZERO),
        _ => None,
    }
}

/// Whether this process may use no more than one core.
fn is_alone() -> bool {
    static ALONE: OnceLock<bool> = OnceLock::new();
    *ALONE.get_or_init(|| thread::available_parallelism().is_ok_and(|cores| cores.get() == 1))
}

/// Looking for an answer before sleeping.
///
/// A broker on this machine answers within microseconds. To fall asleep and to be woken takes as long, and where the two are
/// on two cores the one that wakes the other pays for it as well. So what answers CONNECT and DISCONNECT is looked for again
/// and again, a while at most. Between two looks the core is given to others: if there is no other one, the broker can only
/// answer when this thread does not run. There it pays before every wait: on one core a message there and back takes 0.6 us
/// of 17 less.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    /// The core is wanted, until then: who gives it away has it back a time slice later.
    crowded_until: Cell<Option<Instant>>,
}

impl Patience {
    /// Looks, at once and for `time`, but not after the deadline, for something that ends the wait; true is the answer. Before
    /// each further look, of which there is one at least unless the core is wanted, that is given away, and it is so late then.
    fn look(
        &self,
        mut now: Instant,
        time: Duration,
        deadline: Deadline,
        mut give_way: impl FnMut() -> Instant,
        mut look: impl FnMut() -> Option<bool>,
    ) -> bool {
        let until = deadline.0.map_or(now + time, |deadline| deadline.min(now + time));
        if until < now {
            return false;
        }
        if let Some(found) = look() {
            return found;
        }
        if self.crowded_until.get().is_some_and(|until| now < until) {
            return false;
        }
        loop {
            let before = std::mem::replace(&mut now, give_way());
            let is_late = now.saturating_duration_since(before) > LATE;
            if is_late {
                self.crowded_until.set(Some(now + CROWDED));
            }
            match look() {
                Some(found) => return found,
                None if is_late || now >= until => return false,
                None => {}
            }
        }
    }
}

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// There is something to dispatch.
    Ready,
    /// There is not, and the time is up.
    TimedOut,
    /// A signal came, or may have come: let the interpreter look.
    Tick,
}

/// When to stop waiting. It is a matter of the host's time even where clients and timers run on a virtual clock: a test
/// that hangs has to end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline(Option<Instant>);

impl Deadline {
    pub(crate) const NEVER: Deadline = Deadline(None);

    /// At this time; one that has passed is at once.
    pub(crate) const fn at(time: Instant) -> Deadline {
        Deadline(Some(time))
    }

    /// After this many seconds; NaN and negative ones are 0, infinite and huge ones are for ever.
    pub(crate) fn after(seconds: f64) -> Deadline {
        /// Thirty years.
        const HUGE: f64 = 1e9;
        if seconds >= HUGE {
            return Deadline::NEVER;
        }
        let seconds = if seconds > 0.0 { seconds } else { 0.0 };
        Deadline(Some(Instant::now() + Duration::from_secs_f64(seconds)))
    }

    pub(crate) fn passed(self) -> bool {
        self.0.is_some_and(|at| Instant::now() >= at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: Duration = Duration::from_micros(7);

    /// Looks for so long, with an answer at the look of this number; each time others take so long. Whether it was found, and
    /// the number of looks.
    fn looks(
        patience: &Patience,
        now: &mut Instant,
        time: Duration,
        answer: usize,
        others: Duration,
    ) -> (bool, usize) {
        let (began, mut looks) = (*now, 0);
        let give_way = || {
            *now += others;
            *now
        };
        let found = patience.look(began, time, Deadline::NEVER, give_way, || {
            looks += 1;
            (looks == answer).then_some(true)
        });
        (found, looks)
    }

    #[test]
    fn an_answer_is_looked_for_until_the_time_is_up_and_at_least_twice() {
        let (patience, mut now) = (Patience::default(), Instant::now());
        assert_eq!(looks(&patience, &mut now, LOOK, 3, STEP), (true, 3));
        assert_eq!(looks(&patience, &mut now, LOOK, 99, STEP), (false, 16));
        for (answer, found) in [(1, true), (2, true), (3, false)] {
            assert_eq!(looks(&patience, &mut now, Duration::ZERO, answer, STEP), (found, answer.min(2)));
        }
    }

    #[test]
    fn nothing_is_looked_for_after_the_deadline() {
        let now = Instant::now();
        for (left, looks) in [(3 * STEP, 4), (Duration::ZERO, 2)] {
            let (mut later, mut seen) = (now, 0);
            let give_way = || {
                later += STEP;
                later
            };
            let look = || {
                seen += 1;
                None
            };
            assert!(!Patience::default().look(now, LOOK, Deadline::at(now + left), give_way, look));
            assert_eq!(seen, looks, "{left:?}");
        }
        let passed = Deadline::at(now);
        let later = now + STEP;
        assert!(!Patience::default().look(later, LOOK, passed, || later, || Some(true)));
    }

    #[test]
    fn something_else_to_do_ends_it() {
        let (patience, now) = (Patience::default(), Instant::now());
        let mut looks = [None, None, Some(false)].into_iter();
        let look = || looks.next().expect("it has ended");
        assert!(!patience.look(now, LOOK, Deadline::NEVER, || now, look));
    }

    #[test]
    fn a_core_that_others_want_is_not_given_away_for_a_while() {
        let (patience, mut now) = (Patience::default(), Instant::now());
        let late = LATE + STEP;
        assert_eq!(looks(&patience, &mut now, LOOK, 2, late), (true, 2), "what has come meanwhile is taken");
        for _ in 0..2 {
            assert_eq!(looks(&patience, &mut now, LOOK, 2, STEP), (false, 1), "without giving it away");
            now += CROWDED / 2;
        }
        assert_eq!(looks(&patience, &mut now, LOOK, 3, STEP), (true, 3));
        assert_eq!(looks(&patience, &mut now, CROWDED, 3, late), (false, 2), "no more looks once it is late");
    }

    #[test]
    fn only_brokers_on_this_machine_are_looked_for() {
        for is_alone in [false, true] {
            let time = |is_near, is_awaited| time_to_look(is_near, is_awaited, || is_alone);
            assert_eq!(time(true, true), Some(LOOK));
            assert_eq!(time(true, false), is_alone.then_some(Duration::ZERO));
            assert_eq!((time(false, true), time(false, false)), (None, None));
        }
    }
}
