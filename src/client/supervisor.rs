//! One task from a `connect` to its end: attempts, the connection, losses, waits.
//!
//! The task looks at the shared state at each step with [`Mandate::enter`], which fails once another `connect` or a
//! `close` is in force: then it has only to say goodbye, if it had a connection, and to be silent otherwise.

use std::collections::hash_map::RandomState;
use std::future::{Future, poll_fn};
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::{Duration, Instant, SystemTime};

use futures_lite::FutureExt;
use futures_lite::future::yield_now;
use smol::Task;

use super::dialogue::{Pause, Question};
use super::driver::{Driver, End};
use super::error::ConnectError;
use super::options::{ConnectOptions, Credentials, Options, Profile, Server};
use super::reader::Reader;
use super::reconnect::Backoff;
use super::shared::{Inner, Mandate};
use super::{Clock, State};
use crate::net::{self, HandshakeError};
use crate::session::{self, Event, Keep};

/// What the task of one `connect` knows.
pub(super) struct Supervisor {
    mandate: Mandate,
    /// Gone once there is a connection that nothing will follow.
    plan: Option<Box<Plan>>,
}

/// What attempts need.
struct Plan {
    options: Options,
    /// From the first wait on: most connections never come to one.
    backoff: Option<Backoff>,
    /// The task of the `connect` before, whose end comes first.
    previous: Option<Task<()>>,
}

impl Plan {
    /// The profile of the next attempt.
    fn profile(&self) -> usize {
        self.backoff.as_ref().map_or(0, Backoff::profile)
    }

    /// How long to wait before the next attempt.
    fn wait(&mut self, random: f64) -> Duration {
        let Plan { options, backoff, .. } = self;
        let default = options.reconnect.unwrap_or_default();
        let policies = options.profiles.iter().map(|profile| profile.reconnect.unwrap_or(default));
        backoff.get_or_insert_with(|| Backoff::new(policies)).wait(random)
    }
}

/// How an attempt, and the connection that it may have led to, ended.
enum Outcome {
    /// The caller ended it.
    Replaced,
    /// The broker had accepted it, and it ended.
    Lost(End),
}

impl Supervisor {
    /// `previous` is the task of the `connect` before, which may still say goodbye.
    pub(super) fn new(mandate: Mandate, options: Options, previous: Option<Task<()>>) -> Supervisor {
        Supervisor { mandate, plan: Some(Box::new(Plan { options, backoff: None, previous })) }
    }

    /// The task.
    ///
    /// This future lives as long as the connection, so it holds little: what only some steps need is boxed and gone after
    /// them, and an `async fn` would hold its arguments twice.
    #[expect(clippy::manual_async_fn, reason = "for its size")]
    pub(super) fn run(mut self) -> impl Future<Output = ()> + Send {
        async move {
            if let Some(previous) = self.plan.as_mut().and_then(|plan| plan.previous.take()) {
                previous.await;
            }
            if AssertUnwindSafe(self.supervise()).catch_unwind().await.is_err() {
                // a bug of ours; the panic's message has gone to standard error
                tracing::error!(target: "mqtt", "internal error, the connection is given up");
                give_up(&self.mandate);
            }
            self.mandate.finish();
        }
    }

    #[expect(clippy::manual_async_fn, reason = "for its size")]
    fn supervise(&mut self) -> impl Future<Output = ()> + Send {
        async move {
            loop {
                let go_on = match self.attempt().await {
                    Ok(Outcome::Replaced) => false,
                    Ok(Outcome::Lost(end)) => self.lost(&end),
                    Err(error) => self.failed(&error),
                };
                let lot = self.clock().lot();
                let Some(plan) = self.plan.as_mut().filter(|_| go_on) else { return };
                let wait = plan.wait(lot.unwrap_or_else(random));
                tracing::debug!(target: "mqtt", "next attempt in {wait:?}");
                // a wait that no clock can show is one for ever
                let until = self.clock().now().checked_add(wait);
                if Box::pin(self.pause(until)).await.is_none() {
                    return;
                }
            }
        }
    }

    /// Waits for the next attempt, as long as nobody wants it at once; none if it is replaced.
    async fn pause(&self, until: Option<Instant>) -> Option<()> {
        self.mandate.current()?.pause = Pause::Waiting;
        let mut sleep = pin!(sleep(self.clock(), until));
        poll_fn(|cx| {
            let Some(inner) = self.mandate.enter(cx) else { return Poll::Ready(None) };
            let over = inner.pause == Pause::Over;
            drop(inner);
            if over { Poll::Ready(Some(())) } else { sleep.as_mut().poll(cx).map(Some) }
        })
        .await?;
        self.mandate.current()?.pause = Pause::None;
        Some(())
    }

    /// Waits until the wall clock shows `time`; none if the attempt is replaced.
    async fn await_wall_clock(&self, time: SystemTime) -> Option<()> {
        /// It may be set at any time, and nothing tells of that.
        const LOOK: Duration = Duration::from_secs(1);
        while self.clock().wall() < time {
            let until = self.clock().now().checked_add(LOOK);
            self.unless_replaced(pin!(sleep(self.clock(), until))).await?;
        }
        Some(())
    }

    /// The profile is tried from now on; none if the attempt is replaced.
    fn begin(&self, index: usize, profile: &Profile, options: &Options) -> Option<()> {
        let mut inner = self.mandate.current()?;
        if let Some(limits) = profile.limits {
            inner.set_limits(limits);
        }
        inner.session.set_broker(profile.broker);
        if options.report_attempts {
            inner.session.events().push(Event::Attempt { profile: index as u16 });
        }
        self.mandate.release(inner);
        Some(())
    }

    /// One attempt, and the connection if there comes one.
    ///
    /// # Errors
    /// The broker never accepted it.
    #[expect(clippy::manual_async_fn, reason = "for its size")]
    fn attempt(&mut self) -> impl Future<Output = Result<Outcome, ConnectError>> + Send {
        async move {
            let Some(mut driver) = Box::pin(self.open()).await? else { return Ok(Outcome::Replaced) };
            self.plan.take_if(|plan| plan.options.reconnect.is_none());
            let end = driver.run(&self.mandate).await;
            if let Some(outcome) = self.conclude(end) {
                return outcome;
            }
            // the words are not to have a place in this future
            let last_words = self.mandate.take_last_words();
            let goodbye = last_words.map(|words| Box::pin(driver.say_goodbye(&self.mandate, words)));
            if let Some(goodbye) = goodbye {
                goodbye.await;
            }
            Ok(Outcome::Replaced)
        }
    }

    /// A byte stream with CONNECT to be sent; none if the attempt is replaced.
    async fn open(&self) -> Result<Option<Driver>, ConnectError> {
        let Some(plan) = &self.plan else { return Ok(None) };
        let options = &plan.options;
        let index = plan.profile();
        let profile = &options.profiles[index];
        // what only some attempts need is boxed: this future is large enough
        if let Some(time) = profile.not_before
            && Box::pin(self.await_wall_clock(time)).await.is_none()
        {
            return Ok(None);
        }
        if self.begin(index, profile, options).is_none() {
            return Ok(None);
        }
        let credentials = if options.ask_credentials {
            match Box::pin(self.ask(Event::CredentialsWanted, Question::Credentials)).await {
                Some(Question::Given(given)) => Some(given.ok_or(ConnectError::NoCredentials)?),
                _ => return Ok(None),
            }
        } else {
            None
        };
        let deadline = self.clock().now().checked_add(options.connect_timeout);
        let dialling = self.mandate.dial();
        let Some(stream) = self.unless_replaced(pin!(self.dial(profile, deadline))).await else {
            return Ok(None);
        };
        drop(dialling);
        let stream = stream?;
        let asks = self.mandate.lock().asks_connect;
        let introduction = if asks {
            let mut answer =
                Box::pin(self.ask(Event::ConnectWanted { profile: index as u16 }, Question::Connect));
            match before(self.clock(), deadline, answer.as_mut()).await.ok_or(ConnectError::SendTimeout)? {
                Some(Question::Introduced(connect)) => Some(connect),
                _ => return Ok(None),
            }
        } else {
            None
        };
        let sends =
            self.send_connect(profile, introduction.as_deref(), credentials.as_deref(), &stream, deadline);
        Ok(sends.then(|| Driver::new(stream)))
    }

    /// How a connection ended that the caller has not ended.
    fn conclude(&self, end: End) -> Option<Result<Outcome, ConnectError>> {
        let inner = self.mandate.current()?;
        Some(match inner.state {
            State::Connected => Ok(Outcome::Lost(end)),
            _ => Err(why_refused(end, inner.session.unsent() > 0)),
        })
    }

    /// Asks the caller by an event: the answer, or none if the attempt is replaced meanwhile.
    async fn ask(&self, event: Event<'_>, question: Question) -> Option<Question> {
        {
            let mut inner = self.mandate.current()?;
            inner.question = question;
            inner.session.events().push(event);
            self.mandate.release(inner);
        }
        poll_fn(|cx| {
            let Some(mut inner) = self.mandate.enter(cx) else { return Poll::Ready(None) };
            match inner.question {
                Question::Given(_) | Question::Introduced(_) => {
                    Poll::Ready(Some(std::mem::take(&mut inner.question)))
                }
                _ => Poll::Pending,
            }
        })
        .await
    }

    async fn dial(&self, profile: &Profile, deadline: Option<Instant>) -> Result<net::Stream, ConnectError> {
        let server = &profile.server;
        if profile.transport == net::Transport::default()
            && let Ok(ip) = server.host.parse::<IpAddr>()
        {
            tracing::debug!(target: "mqtt", "connecting to {server}");
            return self.reach(server, &[SocketAddr::new(ip, server.port)], deadline).await;
        }
        Box::pin(self.dial_slowly(profile, deadline)).await
    }

    /// With a name to look up, or handshakes.
    async fn dial_slowly(
        &self,
        profile: &Profile,
        deadline: Option<Instant>,
    ) -> Result<net::Stream, ConnectError> {
        // TLS reads files and computes, the resolver's thread inherits what signals are blocked
        yield_now().await;
        let server = &profile.server;
        tracing::debug!(target: "mqtt", "connecting to {server}");
        let resolve = net::resolve(&server.host, server.port);
        let addresses = before(self.clock(), deadline, pin!(resolve))
            .await
            .ok_or_else(|| ConnectError::ResolveTimeout(server.clone()))?
            .map_err(|error| ConnectError::Resolve(server.clone(), error))?;
        let tcp = self.reach(server, &addresses, deadline).await?;
        before(self.clock(), deadline, pin!(profile.transport.open(tcp, &server.host, server.port)))
            .await
            .ok_or_else(|| ConnectError::HandshakeTimeout(server.clone()))?
            .map_err(ConnectError::Handshake)
    }

    async fn reach(
        &self,
        server: &Server,
        addresses: &[SocketAddr],
        deadline: Option<Instant>,
    ) -> Result<net::Stream, ConnectError> {
        before(self.clock(), deadline, pin!(net::connect(addresses)))
            .await
            .ok_or_else(|| ConnectError::DialTimeout(server.clone()))?
            .map_err(|error| match error.kind() {
                // not a refusal: the connection was up for a moment
                io::ErrorKind::ConnectionReset => ConnectError::Closed(Some(error)),
                _ => ConnectError::Unreachable(server.clone(), error),
            })
    }

    /// Encodes CONNECT; false if the attempt has been replaced.
    fn send_connect(
        &self,
        profile: &Profile,
        introduction: Option<&ConnectOptions>,
        credentials: Option<&Credentials>,
        stream: &net::Stream,
        deadline: Option<Instant>,
    ) -> bool {
        let Some(mut inner) = self.mandate.current() else { return false };
        let connect = introduction.unwrap_or(&profile.connect);
        inner.keep = connect.keep();
        let reader = self.mandate.callers_read().then(|| Reader::lent_from(self.clock(), self.clock().now()));
        inner.opened(stream, reader);
        let Inner { session, will, .. } = &mut *inner;
        let will = match will {
            Some(replaced) if introduction.is_none() => (**replaced).as_ref(),
            _ => connect.will.as_ref(),
        };
        session.connect(&connect.packet(will, credentials), deadline);
        true
    }

    /// An attempt failed: whether there is another.
    fn failed(&self, error: &ConnectError) -> bool {
        let Some(mut inner) = self.mandate.current() else { return false };
        // Unless the options say otherwise, the first attempt after `connect` is not repeated.
        let options = self.plan.as_ref().map(|plan| &plan.options);
        let retries = match inner.state {
            State::Reconnecting => true,
            _ => options.is_some_and(|options| options.retry_first && options.reconnect.is_some()),
        };
        if retries {
            tracing::info!(target: "mqtt", "attempt failed: {error}");
            inner.end_connection(Keep::Session);
            if options.is_some_and(|options| options.report_attempts) {
                let detail = error.to_string();
                inner.session.events().push(Event::AttemptFailed { reason: error.reason(), detail: &detail });
            }
        } else {
            tracing::warn!(target: "mqtt", "connecting failed: {error}");
            inner.fail(error);
        }
        self.mandate.release(inner);
        retries
    }

    /// An accepted connection is gone: whether there is another attempt.
    fn lost(&mut self, end: &End) -> bool {
        let Some(mut inner) = self.mandate.current() else { return false };
        tracing::warn!(target: "mqtt", "connection lost: {end}");
        if inner.session.progressed(self.mandate.clock.now()) {
            let backoff = self.plan.as_mut().and_then(|plan| plan.backoff.as_mut());
            backoff.into_iter().for_each(Backoff::progressed);
        }
        let retries = inner.reconnects_after_loss;
        let keep = if retries { Keep::Session } else { inner.keep };
        inner.end_connection(keep);
        inner.state = if retries { State::Reconnecting } else { State::Idle };
        inner.session.events().push(Event::Offline);
        self.mandate.release(inner);
        retries
    }

    fn clock(&self) -> &Clock {
        &self.mandate.clock
    }

    /// What `future` gives; none if the attempt is replaced before. As in [`before`] it is the caller who holds it: each
    /// future around it would have room for it twice.
    async fn unless_replaced<F: Future>(&self, mut future: Pin<&mut F>) -> Option<F::Output> {
        poll_fn(|cx| {
            if self.mandate.enter(cx).is_none() {
                return Poll::Ready(None);
            }
            future.as_mut().poll(cx).map(Some)
        })
        .await
    }
}

/// After a panic in the task: nobody shall wait for it.
fn give_up(mandate: &Mandate) {
    let Some(mut inner) = mandate.current() else { return };
    if inner.state == State::Connecting {
        inner.fail(&ConnectError::Setup("internal error".into()));
    } else {
        let keep = inner.keep;
        inner.end_connection(keep);
        if std::mem::take(&mut inner.state) == State::Connected {
            inner.session.events().push(Event::Offline);
        }
    }
    mandate.release(inner);
}

/// Why a connection that ended was never accepted. `unsent`: CONNECT is not out yet.
fn why_refused(end: End, unsent: bool) -> ConnectError {
    match end {
        End::Session(session::Error::Refused(code)) => ConnectError::Refused(code),
        End::Session(session::Error::NoConnack) if unsent => ConnectError::SendTimeout,
        End::Session(session::Error::NoConnack) => ConnectError::NoConnack,
        End::Session(error) => ConnectError::Violation(error),
        End::Write(error) if unsent && !is_hangup(&error) => ConnectError::Send(error),
        End::Write(error) | End::Read(error) => match HandshakeError::of(&error) {
            // a server may tell only now that it refuses the handshake
            Some(why) => ConnectError::Handshake(why.clone()),
            None => ConnectError::Closed(Some(error)),
        },
        End::Eof | End::Replaced => ConnectError::Closed(None),
    }
}

/// The peer has ended the connection.
fn is_hangup(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset)
}

/// What `future` gives before `deadline`.
async fn before<F: Future>(
    clock: &Clock,
    deadline: Option<Instant>,
    future: Pin<&mut F>,
) -> Option<F::Output> {
    let timeout = async {
        sleep(clock, deadline).await;
        None
    };
    async { Some(future.await) }.or(timeout).await
}

/// Sleeps until then, or for ever.
async fn sleep(clock: &Clock, until: Option<Instant>) {
    match until {
        Some(until) => clock.sleep_until(until).await,
        None => std::future::pending().await,
    }
}

/// From -1 to 1. Good enough to keep a fleet from reconnecting in step; std seeds every `RandomState` anew.
fn random() -> f64 {
    let bits = RandomState::new().build_hasher().finish();
    bits as f64 / u64::MAX as f64 * 2.0 - 1.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_named_after_what_was_missing() {
        let timeout = || End::Session(session::Error::NoConnack);
        assert_eq!(why_refused(timeout(), true).reason(), -1, "CONNECT is not out");
        assert_eq!(why_refused(timeout(), false).reason(), -2, "CONNACK is not there");
    }

    #[test]
    fn a_failing_write_is_the_peers_doing_or_a_connect_that_could_not_be_sent() {
        let hangup = || End::Write(io::ErrorKind::BrokenPipe.into());
        assert_eq!(why_refused(hangup(), true).reason(), -4);
        let failing = || End::Write(io::ErrorKind::OutOfMemory.into());
        assert_eq!(why_refused(failing(), true).reason(), -1);
        assert_eq!(why_refused(failing(), false).reason(), -4);
    }

    #[test]
    fn a_handshake_may_be_refused_when_connect_is_out() {
        for end in [End::Read, End::Write] {
            for unsent in [false, true] {
                let error = HandshakeError::new("client certificate required").into();
                let why = why_refused(end(error), unsent);
                assert_eq!((why.reason(), why.to_string().as_str()), (-6, "client certificate required"));
            }
        }
    }

    #[test]
    fn jitter_is_drawn_from_both_sides() {
        let drawn: Vec<f64> = (0..200).map(|_| random()).collect();
        assert!(drawn.iter().all(|random| (-1.0..=1.0).contains(random)));
        assert!(drawn.iter().any(|random| *random < -0.2) && drawn.iter().any(|random| *random > 0.2));
    }

    #[test]
    fn the_task_of_an_idle_connection_is_small() {
        use std::sync::Arc;

        use crate::client::shared::Shared;

        struct Deaf;
        impl crate::client::Sink for Deaf {
            fn ready(&self, _: u32) {}
        }
        let server = crate::client::Server { host: "host".into(), port: 1 };
        let options = Options::new(Profile::new(server, ConnectOptions::default()));
        let session = session::Session::new(Default::default());
        let shared = Shared::new(session, Default::default(), Arc::new(Deaf));
        let supervisor = || Supervisor::new(Mandate::new(shared.clone(), 1), options.clone(), None);
        let opening = size_of_val(&supervisor().open());
        // what is larger than 1032 bytes the C library's allocator does not keep at hand
        assert!(opening <= 768, "{opening} bytes: box what only some attempts need");
        let task = size_of_val(&supervisor().run());
        assert!(task <= 144, "{task} bytes: box what only some steps need");
        assert!(size_of::<Shared>() <= 552, "{} bytes", size_of::<Shared>());
    }
}
