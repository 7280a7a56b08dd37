//! The deadlines of a session: a table, not tasks. Whoever drives the session sleeps until the earliest.

use std::time::{Duration, Instant};

use super::transmit::Kind;
use super::{Event, Session, State};
use crate::codec::v4;

/// What a deadline is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Timer {
    /// CONNACK has to be there; once the connection is accepted, something after a PINGREQ.
    Answer,
    /// Something has to be sent \[MQTT-3.1.2-23\].
    KeepAlive,
}

impl Timer {
    const ALL: [Timer; 2] = [Timer::Answer, Timer::KeepAlive];
}

/// At most one deadline per [`Timer`].
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Timers([Option<Instant>; Timer::ALL.len()]);

impl Timers {
    pub(super) fn set(&mut self, timer: Timer, at: Instant) {
        self.0[timer as usize] = Some(at);
    }

    pub(super) fn clear(&mut self, timer: Timer) {
        self.0[timer as usize] = None;
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.0.iter().flatten().min().copied()
    }

    /// Takes one deadline that is due.
    pub(super) fn expire(&mut self, now: Instant) -> Option<Timer> {
        Timer::ALL.into_iter().find(|timer| self.0[*timer as usize].take_if(|at| *at <= now).is_some())
    }
}

/// The application wants to hear that time passes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tick {
    pub(super) every: Duration,
    /// When it is to hear it next; none without a connection.
    pub(super) at: Option<Instant>,
}

/// The session's own use of them.
impl Session {
    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let tick = self.tick.as_ref().and_then(|tick| tick.at);
        self.timers.next().into_iter().chain(tick).min()
    }

    /// The keep-alive interval, if there is one; else zero.
    pub(super) fn keep_alive_interval(&self) -> Duration {
        Duration::from_secs(self.keep_alive.into())
    }

    /// Nothing was sent for the keep-alive interval \[MQTT-3.1.2-23\]. PINGREQ may go out before CONNACK has come
    /// (MQTT 3.1.1, 3.1.4); the wait for CONNACK then serves for both.
    pub(super) fn keep_alive(&mut self, now: Instant) {
        self.timers.set(Timer::KeepAlive, now + self.keep_alive_interval());
        self.shrink();
        let stuck = self.ping_unsent > 0;
        if !stuck {
            self.send(Kind::Control, v4::pingreq);
            self.pings = self.pings.saturating_add(1);
        }
        if self.state == State::Connected && !self.awaiting_ping {
            self.awaiting_ping = true;
            if !stuck {
                self.ping_unsent = self.tx.len();
            }
            self.await_ping_response(now);
        }
    }

    /// Starts the wait for something to arrive anew, if there is one.
    pub(super) fn await_ping_response(&mut self, now: Instant) {
        if !self.awaiting_ping {
            return;
        }
        if self.reading {
            let wait = (self.keep_alive_interval() / 2).max(Duration::from_secs(1));
            self.timers.set(Timer::Answer, now + wait);
        } else {
            self.timers.clear(Timer::Answer);
        }
    }

    /// Whether the driver reads. While it holds back, the wait for PINGRESP rests; it starts anew after.
    pub fn set_reading(&mut self, now: Instant, reading: bool) {
        if self.reading != reading {
            self.reading = reading;
            self.await_ping_response(now);
        }
    }

    /// How often [`Event::Tick`] is said while connected.
    pub fn set_tick(&mut self, now: Instant, every: Option<Duration>) {
        self.tick = every.map(|every| Box::new(Tick { every, at: None }));
        if self.state == State::Connected {
            self.start_tick(now);
        }
    }

    pub(super) fn start_tick(&mut self, now: Instant) {
        if let Some(tick) = &mut self.tick {
            tick.at = Some(now + tick.every);
        }
    }

    pub(super) fn stop_timers(&mut self) {
        self.timers = Timers::default();
        if let Some(tick) = &mut self.tick {
            tick.at = None;
        }
    }

    /// Says [`Event::Tick`] if it is time to.
    pub(super) fn tick(&mut self, now: Instant) {
        if self.tick.as_ref().and_then(|tick| tick.at).is_some_and(|at| at <= now) {
            if self.events.is_empty() {
                self.events.push(Event::Tick);
            }
            self.start_tick(now);
        }
    }
}
