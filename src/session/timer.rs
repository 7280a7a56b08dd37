//! The deadlines of a session: a table, not tasks. Whoever drives the session sleeps until the earliest.

use std::time::Instant;

/// What a deadline is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timer {
    /// CONNACK has to be there.
    Connack,
    /// Something has to be sent \[MQTT-3.1.2-23\].
    KeepAlive,
    /// Something has to arrive after a PINGREQ.
    PingResponse,
    /// The application wants to hear that time passes.
    Tick,
}

impl Timer {
    const ALL: [Timer; 4] = [Timer::Connack, Timer::KeepAlive, Timer::PingResponse, Timer::Tick];
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
