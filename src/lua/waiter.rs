//! What the Lua thread sleeps on: the descriptor of its queue, sockets that it has been lent, and a timer.
//!
//! What is waited for again stays registered from one wait to the next, and no wait gives the system a time: with one message
//! under way poll(2) with a timeout took a microsecond more. So the timer is set when it would ring too late, and else rings
//! for nothing now and then. A socket that is waited for the first time is not registered yet: many a connection only waits
//! once, for the broker's word that it is accepted, and to be registered for that costs more than it saves.

use std::mem::MaybeUninit;
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};
use std::{array, io, mem, ptr};

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::client::SystemTimer;
use crate::net::Tcp;

/// The most sockets at a time.
pub(crate) const MAX_SOCKETS: usize = 4;

/// Sockets, and whose they are.
pub(crate) type Sockets<T> = [Option<(Tcp, T)>; MAX_SOCKETS];

/// The longest wait: a signal may arrive just before it begins, so somebody has to look whether one came.
const SLICE: Duration = Duration::from_secs(1);

// What events are known by; those of sockets follow.
const QUEUE: u64 = 0;
const TIMER: u64 = 1;

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Waiter {
    epoll: OwnedFd,
    timer: SystemTimer,
    /// When the timer rings, if it has not rung.
    rings: Option<Instant>,
    /// The sockets that are registered, and what their events are known by. One that is closed leaves by itself …
    watched: [(Weak<TcpStream>, u64); MAX_SOCKETS],
    last: u64,
    /// … unless the child of a fork still has it: then it is readable for ever, and out of reach in this set.
    has_stray: bool,
    /// Those that the last wait waited for without having registered them.
    new: [Weak<TcpStream>; MAX_SOCKETS],
    queue: Arc<OwnedFd>,
}

impl Waiter {
    /// With the descriptor of a queue.
    pub(crate) fn new(queue: &Arc<OwnedFd>) -> io::Result<Waiter> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let timer = SystemTimer::new()?;
        epoll::add(&epoll, queue, EventData::new_u64(QUEUE), EventFlags::IN)?;
        epoll::add(&epoll, &timer, EventData::new_u64(TIMER), EventFlags::IN)?;
        let queue = queue.clone();
        Ok(Waiter {
            epoll,
            timer,
            rings: None,
            watched: Default::default(),
            last: TIMER,
            has_stray: false,
            new: Default::default(),
            queue,
        })
    }

    /// Whether a wait would end before `at`, or has.
    #[inline]
    pub(crate) fn rings_before(&self, at: Instant) -> bool {
        self.rings.is_some_and(|rings| rings < at)
    }

    /// Sleeps until something has happened, or it is `until`, or earlier. Whether anything has happened, and which of
    /// `sockets` are readable. Those that the system does not take are removed and told to `refused`.
    ///
    /// # Errors
    /// A signal came.
    pub(crate) fn wait<T>(
        &mut self,
        until: Option<Instant>,
        sockets: &mut Sockets<T>,
        refused: impl Fn(&T),
    ) -> Result<(bool, [bool; MAX_SOCKETS]), Errno> {
        let any_new = self.watch(sockets, refused);
        if self.rings.is_none_or(|rings| until.is_some_and(|until| until < rings)) {
            let slice = Instant::now() + SLICE;
            let rings = until.map_or(slice, |until| until.min(slice));
            self.timer.set(rings);
            self.rings = Some(rings);
        }
        if any_new { self.wait_for_all(sockets) } else { self.wait_for_registered(sockets, None) }
    }

    /// From now on these sockets are waited for, and no others. Whether any is not registered.
    fn watch<T>(&mut self, sockets: &mut Sockets<T>, refused: impl Fn(&T)) -> bool {
        if self.has_stray
            && let Ok(new) = Waiter::new(&self.queue)
        {
            *self = new;
        }
        for place in &mut self.watched {
            if sockets.iter().flatten().any(|(socket, _)| is(socket, &place.0)) {
                continue;
            }
            if let Some(socket) = mem::take(place).0.upgrade() {
                let deleted = epoll::delete(&self.epoll, &socket);
                debug_assert!(deleted.is_ok(), "it is registered: {deleted:?}");
            }
        }
        let known = mem::take(&mut self.new);
        let mut any_new = false;
        for (slot, new) in sockets.iter_mut().zip(&mut self.new) {
            let Some((socket, whose)) = slot else { continue };
            if self.watched.iter().any(|(place, _)| is(socket, place)) {
                continue;
            }
            if !known.iter().any(|known| is(socket, known)) {
                *new = Arc::downgrade(socket);
                any_new = true;
                continue;
            }
            let free = self.watched.iter_mut().find(|(place, _)| place.strong_count() == 0);
            self.last += 1;
            let data = EventData::new_u64(self.last);
            match free {
                Some(place) if epoll::add(&self.epoll, &*socket, data, EventFlags::IN).is_ok() => {
                    *place = (Arc::downgrade(socket), self.last);
                }
                _ => {
                    refused(whose);
                    *slot = None;
                }
            }
        }
        any_new
    }

    /// Waits for the set of those that are registered, and for the others beside it.
    fn wait_for_all<T>(&mut self, sockets: &Sockets<T>) -> Result<(bool, [bool; MAX_SOCKETS]), Errno> {
        let mut polled: [_; MAX_SOCKETS + 1] = array::from_fn(|_| PollFd::new(&self.epoll, PollFlags::IN));
        let mut places = [0; MAX_SOCKETS];
        let mut many = 0;
        for (place, (slot, new)) in sockets.iter().zip(&self.new).enumerate() {
            if let Some((socket, _)) = slot
                && is(socket, new)
            {
                places[many] = place;
                many += 1;
                polled[many] = PollFd::new(&**socket, PollFlags::IN);
            }
        }
        let polled = &mut polled[..=many];
        poll(polled, None)?;
        let is_ready = |polled: &PollFd<'_>| !polled.revents().is_empty();
        let (registered, others) = (is_ready(&polled[0]), polled[1..].iter().map(is_ready));
        let mut ready = [false; MAX_SOCKETS];
        others.zip(places).for_each(|(is_ready, place)| ready[place] = is_ready);
        let mut happened = ready.contains(&true);
        if registered {
            let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
            let (more, readable) = self.wait_for_registered(sockets, Some(&at_once))?;
            happened |= more;
            readable.iter().zip(&mut ready).for_each(|(more, ready)| *ready |= more);
        }
        Ok((happened, ready))
    }

    fn wait_for_registered<T>(
        &mut self,
        sockets: &Sockets<T>,
        at_most: Option<&Timespec>,
    ) -> Result<(bool, [bool; MAX_SOCKETS]), Errno> {
        let mut events = [MaybeUninit::uninit(); 2 + MAX_SOCKETS];
        let (events, _) = epoll::wait(&self.epoll, &mut events, at_most)?;
        let (mut happened, mut readable) = (false, [false; MAX_SOCKETS]);
        for event in events {
            match event.data.u64() {
                TIMER => self.rings = None,
                QUEUE => happened = true,
                data => match self.watched.iter().find(|(_, known_by)| *known_by == data) {
                    Some((place, _)) => {
                        happened = true;
                        for (readable, socket) in readable.iter_mut().zip(sockets) {
                            *readable |= socket.as_ref().is_some_and(|(socket, _)| is(socket, place));
                        }
                    }
                    None => self.has_stray = true,
                },
            }
        }
        Ok((happened, readable))
    }
}

fn is(socket: &Tcp, watched: &Weak<TcpStream>) -> bool {
    ptr::eq(Arc::as_ptr(socket), watched.as_ptr())
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write;
    use std::net::TcpListener;
    use std::time::Duration;

    use rustix::event::{EventfdFlags, eventfd};

    use super::*;

    const FAR: Duration = Duration::from_secs(60);

    fn waiter() -> (Waiter, Arc<OwnedFd>) {
        let queue = Arc::new(eventfd(0, EventfdFlags::NONBLOCK).unwrap());
        (Waiter::new(&queue).unwrap(), queue)
    }

    /// Both ends of a connection.
    fn pair() -> (Tcp, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (Arc::new(ours), listener.accept().unwrap().0)
    }

    fn all_taken(_: &()) {
        panic!("the system takes sockets");
    }

    fn sockets<const N: usize>(some: [&Tcp; N]) -> Sockets<()> {
        let mut sockets = [const { None }; MAX_SOCKETS];
        some.iter().zip(&mut sockets).for_each(|(socket, place)| *place = Some((Tcp::clone(socket), ())));
        sockets
    }

    /// Waits for something to happen, as a loop does it.
    fn wait(waiter: &mut Waiter, until: Instant, sockets: &mut Sockets<()>) -> Option<[bool; MAX_SOCKETS]> {
        loop {
            match waiter.wait(Some(until), sockets, all_taken) {
                Ok((true, readable)) => return Some(readable),
                Ok((false, _)) if Instant::now() >= until => return None,
                _ => {}
            }
        }
    }

    /// After this they are registered.
    fn wait_for_nothing(waiter: &mut Waiter, sockets: &mut Sockets<()>) {
        for _ in 0..2 {
            assert_eq!(wait(waiter, Instant::now() + Duration::from_millis(1), sockets), None);
        }
    }

    fn far() -> Instant {
        Instant::now() + FAR
    }

    #[test]
    fn readable_sockets_are_told_by_their_places_as_long_as_they_are_waited_for() {
        for registered in [false, true] {
            let (mut waiter, queue) = waiter();
            let pairs = [pair(), pair(), pair(), pair()];
            let [(a, mut to_a), (b, mut to_b), (c, _to_c), (d, mut to_d)] = pairs;
            let mut all = sockets([&a, &b, &c, &d]);
            if registered {
                wait_for_nothing(&mut waiter, &mut all);
            }
            to_b.write_all(b"x").unwrap();
            assert_eq!(wait(&mut waiter, far(), &mut all), Some([false, true, false, false]));
            let mut others = sockets([&d, &a]);
            to_a.write_all(b"x").unwrap();
            assert_eq!(wait(&mut waiter, far(), &mut others), Some([false, true, false, false]));
            to_d.write_all(b"x").unwrap();
            assert_eq!(wait(&mut waiter, far(), &mut others), Some([true, true, false, false]));
            let mut none = sockets([]);
            rustix::io::write(&queue, &1_u64.to_ne_bytes()).unwrap();
            assert_eq!(wait(&mut waiter, far(), &mut none), Some([false; MAX_SOCKETS]));
        }
    }

    #[test]
    fn new_sockets_are_waited_for_together_with_registered_ones_and_the_queue() {
        let (mut waiter, queue) = waiter();
        let [(old, mut to_old), (new, mut to_new)] = [pair(), pair()];
        let is_registered =
            |waiter: &Waiter, socket| waiter.watched.iter().any(|(known, _)| is(socket, known));
        // whether the next wait for it is not the first one
        let knows = |waiter: &Waiter, socket| {
            is_registered(waiter, socket) || waiter.new.iter().any(|new| is(socket, new))
        };
        assert!(!knows(&waiter, &old));
        wait_for_nothing(&mut waiter, &mut sockets([&old]));
        assert!(knows(&waiter, &old) && !knows(&waiter, &new));
        assert!(is_registered(&waiter, &old));
        to_old.write_all(b"x").unwrap();
        assert_eq!(wait(&mut waiter, far(), &mut sockets([&new, &old])), Some([false, true, false, false]));
        assert!(knows(&waiter, &new) && !is_registered(&waiter, &new));
        to_new.write_all(b"x").unwrap();
        assert_eq!(wait(&mut waiter, far(), &mut sockets([&old])), Some([true, false, false, false]));
        assert!(!knows(&waiter, &new), "it has not been waited for again");
        assert_eq!(wait(&mut waiter, far(), &mut sockets([&old, &new])), Some([true, true, false, false]));
        rustix::io::write(&queue, &1_u64.to_ne_bytes()).unwrap();
        let (silent, _peer) = pair();
        assert_eq!(
            wait(&mut waiter, far(), &mut sockets([&silent])),
            Some([false; MAX_SOCKETS]),
            "the queue's word"
        );
    }

    #[test]
    fn a_socket_that_takes_the_number_of_a_closed_one_is_waited_for() {
        let (mut waiter, _queue) = waiter();
        for round in 0..3 * MAX_SOCKETS {
            let (ours, mut theirs) = pair();
            let mut one = sockets([&ours]);
            if round % 2 == 0 {
                wait_for_nothing(&mut waiter, &mut one);
            }
            theirs.write_all(b"x").unwrap();
            assert!(wait(&mut waiter, far(), &mut one).is_some_and(|[first, ..]| first), "{round}");
        }
    }

    #[test]
    fn a_closed_socket_that_the_child_of_a_fork_still_has_wakes_nobody_again_and_again() {
        for followed in [false, true] {
            let (mut waiter, _queue) = waiter();
            let (ours, theirs) = pair();
            let _childs = ours.try_clone().unwrap();
            wait_for_nothing(&mut waiter, &mut sockets([&ours]));
            drop((ours, theirs));
            let other = followed.then(pair); // its memory may be that of the one that is gone
            let mut others = other.as_ref().map_or(sockets([]), |(other, _)| sockets([other]));
            let until = Instant::now() + Duration::from_millis(50);
            let mut rounds = 0;
            while Instant::now() < until {
                assert_eq!(
                    waiter.wait(Some(until), &mut others, all_taken),
                    Ok((false, [false; MAX_SOCKETS]))
                );
                rounds += 1;
            }
            assert!(rounds < 6, "{rounds}");
        }
    }

    #[test]
    fn what_cannot_be_waited_for_is_refused_and_the_others_are_not() {
        let (mut waiter, _queue) = waiter();
        let file = Arc::new(TcpStream::from(OwnedFd::from(File::open("Cargo.toml").unwrap())));
        let (ours, mut theirs) = pair();
        let mut both = sockets([&file, &ours]);
        waiter.new = [&file, &ours, &ours, &ours].map(Arc::downgrade);
        theirs.write_all(b"x").unwrap();
        let refused = std::cell::Cell::new(0);
        let readable = waiter.wait(Some(far()), &mut both, |()| refused.set(refused.get() + 1));
        assert!(refused.get() == 1 && both[0].is_none());
        assert_eq!(readable, Ok((true, [false, true, false, false])));
    }

    #[test]
    fn a_wait_ends_in_time_whatever_the_timer_was_set_for_before() {
        let (mut waiter, _queue) = waiter();
        let mut none = sockets([]);
        for wait_for in [1, 30, 2, 0, 10] {
            let until = Instant::now() + Duration::from_millis(wait_for);
            waiter.rings.get_or_insert(until + FAR); // as a longer wait left it
            waiter.timer.set(waiter.rings.unwrap());
            assert_eq!(wait(&mut waiter, until, &mut none), None);
            assert!(Instant::now() >= until);
        }
    }

    #[test]
    fn a_wait_without_an_end_is_a_slice_long() {
        let (mut waiter, _queue) = waiter();
        let begin = Instant::now();
        let outcome = waiter.wait(None, &mut sockets([]), all_taken);
        assert_eq!(outcome, Ok((false, [false; MAX_SOCKETS])));
        assert!(begin.elapsed() >= SLICE);
        assert!(!waiter.rings_before(Instant::now()), "it has rung");
    }
}
