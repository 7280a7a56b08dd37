//! Between a caller and the task of its client: questions with their answers, and changes while it runs.

use std::time::Duration;

use super::options::{ConnectOptions, Credentials};
use super::shared::{Inner, Shared, wake};
use crate::codec::Qos;
use crate::session::Limits;

/// What the task asks its caller, one thing at a time, and the answers.
#[derive(Default)]
pub(super) enum Question {
    #[default]
    None,
    /// For user name and password.
    Credentials,
    /// They were given, or refused.
    Given(Option<Box<Credentials>>),
    /// For all of CONNECT.
    Connect,
    /// It was given.
    Introduced(Box<ConnectOptions>),
}

/// Where the wait for the next attempt stands.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Pause {
    /// There is none.
    #[default]
    None,
    Waiting,
    /// It was cut short.
    Over,
}

impl Shared {
    pub(super) fn provide_credentials(&self, credentials: Option<Credentials>) {
        let mut inner = self.lock();
        if matches!(inner.question, Question::Credentials) {
            inner.question = Question::Given(credentials.map(Box::new));
            wake(inner);
        }
    }

    pub(super) fn provide_connect(&self, connect: ConnectOptions) -> bool {
        let mut inner = self.lock();
        let asked = matches!(inner.question, Question::Connect);
        if asked {
            inner.question = Question::Introduced(Box::new(connect));
            wake(inner);
        }
        asked
    }

    pub(super) fn hasten(&self) {
        let mut inner = self.lock();
        if inner.pause == Pause::Waiting {
            inner.pause = Pause::Over;
            wake(inner);
        }
    }

    pub(super) fn set_tick(&self, every: Option<Duration>) {
        let mut inner = self.lock();
        inner.session.set_tick(self.clock.now(), every);
        wake(inner);
    }
}

impl Inner {
    /// Other bounds for the session.
    pub(super) fn set_limits(&mut self, limits: Limits) {
        self.bounds_max_qos = limits.max_qos;
        let max_qos = self.max_qos.unwrap_or(limits.max_qos);
        self.session.set_limits(Limits { max_qos, ..limits });
    }

    /// Another `max_qos` than that of the bounds; none: theirs.
    pub(super) fn set_max_qos(&mut self, max_qos: Option<Qos>) {
        self.max_qos = max_qos;
        let limits = self.session.limits();
        self.set_limits(Limits { max_qos: self.bounds_max_qos, ..limits });
    }
}
