//! What the Lua thread sleeps on: the descriptor of its queue, sockets that it has been lent, and a timer.
//!
//! Everything stays registered from one wait to the next, and no wait gives the system a time: with one message under way
//! poll(2) with a timeout took a microsecond more. So the timer is set when it would ring too late, and else rings for
//! nothing now and then.

use std::mem::MaybeUninit;
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Weak};
use std::time::Instant;
use std::{io, mem, ptr};

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;

use crate::client::SystemTimer;
use crate::net::Tcp;

/// The most sockets at a time.
pub(crate) const MAX_SOCKETS: usize = 4;

/// Sockets, and whose they are.
pub(crate) type Sockets<T> = [Option<(Tcp, T)>; MAX_SOCKETS];

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
            queue,
        })
    }

    /// From now on these sockets are waited for, and no others. Those that the system does not take are removed and told to
    /// `refused`.
    pub(crate) fn watch<T>(&mut self, sockets: &mut Sockets<T>, refused: impl Fn(&T)) {
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
        for slot in sockets {
            let Some((socket, whose)) = slot else { continue };
            if self.watched.iter().any(|(place, _)| is(socket, place)) {
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
    }

    /// Sleeps until something has happened, or it is `until`, or earlier. Whether anything has happened, and which of
    /// `sockets`, the watched ones, are readable.
    ///
    /// # Errors
    /// A signal came.
    pub(crate) fn wait<T>(
        &mut self,
        until: Instant,
        sockets: &Sockets<T>,
    ) -> Result<(bool, [bool; MAX_SOCKETS]), Errno> {
        if self.rings.is_none_or(|rings| until < rings) {
            self.timer.set(until);
            self.rings = Some(until);
        }
        let mut events = [MaybeUninit::uninit(); 2 + MAX_SOCKETS];
        let (events, _) = epoll::wait(&self.epoll, &mut events, None)?;
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
    fn wait(waiter: &mut Waiter, until: Instant, sockets: &Sockets<()>) -> Option<[bool; MAX_SOCKETS]> {
        loop {
            match waiter.wait(until, sockets) {
                Ok((true, readable)) => return Some(readable),
                Ok((false, _)) if Instant::now() >= until => return None,
                _ => {}
            }
        }
    }

    #[test]
    fn readable_sockets_are_told_by_their_places_as_long_as_they_are_watched() {
        let (mut waiter, queue) = waiter();
        let pairs = [pair(), pair(), pair(), pair()];
        let [(a, mut to_a), (b, mut to_b), (c, _to_c), (d, mut to_d)] = pairs;
        let mut all = sockets([&a, &b, &c, &d]);
        waiter.watch(&mut all, all_taken);
        to_b.write_all(b"x").unwrap();
        assert_eq!(wait(&mut waiter, Instant::now() + FAR, &all), Some([false, true, false, false]));
        let mut others = sockets([&d, &a]);
        waiter.watch(&mut others, all_taken);
        to_a.write_all(b"x").unwrap();
        assert_eq!(wait(&mut waiter, Instant::now() + FAR, &others), Some([false, true, false, false]));
        to_d.write_all(b"x").unwrap();
        assert_eq!(wait(&mut waiter, Instant::now() + FAR, &others), Some([true, true, false, false]));
        let mut none = sockets([]);
        waiter.watch(&mut none, all_taken);
        rustix::io::write(&queue, &1_u64.to_ne_bytes()).unwrap();
        assert_eq!(wait(&mut waiter, Instant::now() + FAR, &none), Some([false; MAX_SOCKETS]));
    }

    #[test]
    fn a_socket_that_takes_the_number_of_a_closed_one_is_watched() {
        let (mut waiter, _queue) = waiter();
        for round in 0..3 * MAX_SOCKETS {
            let (ours, mut theirs) = pair();
            let mut one = sockets([&ours]);
            waiter.watch(&mut one, all_taken);
            theirs.write_all(b"x").unwrap();
            assert!(
                wait(&mut waiter, Instant::now() + FAR, &one).is_some_and(|[first, ..]| first),
                "{round}"
            );
        }
    }

    #[test]
    fn a_closed_socket_that_the_child_of_a_fork_still_has_wakes_nobody_again_and_again() {
        for followed in [false, true] {
            let (mut waiter, _queue) = waiter();
            let (ours, theirs) = pair();
            let _childs = ours.try_clone().unwrap();
            waiter.watch(&mut sockets([&ours]), all_taken);
            drop((ours, theirs));
            let other = followed.then(pair); // its memory may be that of the one that is gone
            let mut others = other.as_ref().map_or(sockets([]), |(other, _)| sockets([other]));
            let until = Instant::now() + Duration::from_millis(50);
            let mut rounds = 0;
            while Instant::now() < until {
                waiter.watch(&mut others, all_taken);
                assert_eq!(waiter.wait(until, &others), Ok((false, [false; MAX_SOCKETS])));
                rounds += 1;
            }
            assert!(rounds < 5, "{rounds}");
        }
    }

    #[test]
    fn what_cannot_be_watched_is_refused_and_the_others_are_watched() {
        let (mut waiter, _queue) = waiter();
        let file = Arc::new(TcpStream::from(OwnedFd::from(File::open("Cargo.toml").unwrap())));
        let (ours, mut theirs) = pair();
        let mut both = sockets([&file, &ours]);
        let refused = std::cell::Cell::new(0);
        waiter.watch(&mut both, |()| refused.set(refused.get() + 1));
        assert!(refused.get() == 1 && both[0].is_none());
        theirs.write_all(b"x").unwrap();
        assert_eq!(wait(&mut waiter, Instant::now() + FAR, &both), Some([false, true, false, false]));
    }

    #[test]
    fn a_wait_ends_in_time_whatever_the_timer_was_set_for_before() {
        let (mut waiter, _queue) = waiter();
        let none = sockets([]);
        for wait_for in [1, 30, 2, 0, 10] {
            let until = Instant::now() + Duration::from_millis(wait_for);
            waiter.rings.get_or_insert(until + FAR); // as a longer wait left it
            waiter.timer.set(waiter.rings.unwrap());
            assert_eq!(wait(&mut waiter, until, &none), None);
            assert!(Instant::now() >= until);
        }
    }
}
