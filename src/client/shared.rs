//! What a client's callers and its task on the reactor share, behind one lock, and every change of it that is not I/O.

use std::io::{self, Write};
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};
use smol::Task;
use socket2::SockRef;

use super::dialogue::{Pause, Question};
use super::error::ConnectError;
use super::leave::Farewell;
use super::moment::Moment;
use super::options::{ClientOptions, Options, Will};
use super::reader::Reader;
use super::supervisor::Supervisor;
use super::{Clock, Sending, Sink, State, reactor};
use crate::codec::Qos;
use crate::net;
use crate::session::{self, Event, Events, Keep, Session};

/// The writer, once woken, waits this long for more before it takes the bytes: waking it costs the caller more than
/// encoding many messages does.
const LINGER: Duration = Duration::from_micros(300);

/// With this much waiting it does not linger.
const LINGER_BYTES: usize = 256 * 1024;

/// When nothing was sent for this long, a single message goes out at once on the caller's thread.
const QUIET: Duration = Duration::from_millis(1);

/// A batch that is to be flushed later is begun by the writer when it is this large.
const EARLY_BYTES: usize = 64 * 1024;

/// The most that is sent directly: copying more into the system would hold the caller up.
pub(super) const DIRECT_BYTES: usize = 256 * 1024;

/// Above this weight of events that nobody has taken the socket is not read.
pub(super) const MAX_EVENTS_BYTES: usize = 4 << 20;

/// A read buffer with so much in it, half of it, is kept with the messages that it holds.
const WORTH_KEEPING: usize = session::BUFFER / 2;

pub(super) struct Shared {
    pub(super) id: u32,
    pub(super) clock: Clock,
    sink: Arc<dyn Sink>,
    /// What the sink knows this client by.
    key: u32,
    /// How many [`Client`](super::Client)s point here; the tasks do not count.
    pub(super) handles: AtomicU32,
    /// A name is being resolved, or a connection made.
    pub(super) dialling: AtomicBool,
    inner: Mutex<Inner>,
    /// Notified when [`Inner::closing`] becomes false.
    said_goodbye: Condvar,
}

/// The part behind the lock. Tasks come one after the other: a new one waits for the end of the one before, so there is
/// never more than one connection, one that says goodbye included.
pub(super) struct Inner {
    pub(super) session: Session,
    pub(super) state: State,
    /// Which `connect` or `close` is in force; a task that was started under another one has been replaced.
    pub(super) generation: u32,
    /// The newest task; kept so that the next one can wait for its end.
    task: Option<Task<()>>,
    /// Wakes the task of the connection or attempt.
    waker: Option<Waker>,
    /// The sink has been told and nobody has come for the events yet.
    notified: bool,
    /// See [`ClientOptions::ignores_writes`].
    ignores_writes: bool,
    pub(super) writer: Writer,
    pub(super) reader: Reader,
    /// The connection was up at once: the broker seems to be on this machine.
    pub(super) is_near: bool,
    /// The reader holds back because of [`MAX_EVENTS_BYTES`].
    pub(super) paused: bool,
    /// What is left of a connection that was ended by the caller, until it is closed.
    pub(super) farewell: Option<Box<Farewell>>,
    /// A connection still says goodbye.
    pub(super) closing: bool,
    /// It shall stop that at once.
    pub(super) cut: bool,
    /// What to keep when the caller ends a connection or nothing reconnects.
    pub(super) keep: Keep,
    /// Whether this `connect` reconnects after a loss.
    pub(super) reconnects_after_loss: bool,
    /// Replaces the will of the options.
    pub(super) will: Option<Box<Option<Will>>>,
    pub(super) question: Question,
    /// Each link's CONNECT is asked for.
    pub(super) asks_connect: bool,
    pub(super) pause: Pause,
    /// The `max_qos` of the bounds …
    pub(super) bounds_max_qos: Qos,
    /// … and what replaces it, in all bounds.
    pub(super) max_qos: Option<Qos>,
    pub(super) reconnects: u32,
}

/// How bytes get to the socket.
#[derive(Default)]
pub(super) struct Writer {
    /// The socket, if callers may send on it themselves.
    pub(super) direct: Option<net::Tcp>,
    /// Bytes that the task has taken from the session and not written yet. Nobody else sends meanwhile.
    pub(super) lent: usize,
    /// So many of them the task has given to the stream at the end of the connection, without a word that they are sent.
    pub(super) begun: usize,
    attention: Attention,
    last_send: Option<Moment>,
    /// What the session's counters of bytes, in and out, were when the connection began.
    pub(super) before: (u64, u64),
}

/// What the task does about bytes that wait to be written.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Attention {
    /// Nothing: it has to be woken.
    #[default]
    Asleep,
    /// It comes by at the end of a lease.
    AtLeaseEnd,
    /// It has been woken and takes what there is at this time: lingering. A direct send meanwhile changes nothing, so a
    /// caller that sends one message after the other wakes it once per period, not once per message.
    Until(Instant),
    /// It has been woken and takes them at once.
    Now,
}

impl Shared {
    pub(super) fn new(session: Session, options: ClientOptions, sink: Arc<dyn Sink>) -> Arc<Shared> {
        static NEXT_ID: AtomicU32 = AtomicU32::new(1);
        Arc::new(Shared {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            clock: options.clock,
            sink,
            key: options.key,
            handles: AtomicU32::new(1),
            dialling: AtomicBool::new(false),
            inner: Mutex::new(Inner {
                bounds_max_qos: session.limits().max_qos,
                session,
                state: State::Idle,
                generation: 0,
                task: None,
                waker: None,
                notified: false,
                ignores_writes: options.ignores_writes,
                writer: Writer::default(),
                reader: Reader::default(),
                is_near: false,
                paused: false,
                farewell: None,
                closing: false,
                cut: false,
                keep: Keep::Nothing,
                reconnects_after_loss: false,
                will: None,
                question: Question::None,
                asks_connect: false,
                pause: Pause::default(),
                max_qos: None,
                reconnects: 0,
            }),
            said_goodbye: Condvar::new(),
        })
    }

    #[inline]
    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock()
    }

    /// Gives the lock back and tells the sink if there is something new.
    #[inline]
    pub(super) fn release(&self, mut inner: MutexGuard<'_, Inner>) {
        if !inner.session.events().is_empty() {
            self.notify(inner);
        }
    }

    /// The same, after a caller's own call has perhaps sent something.
    pub(super) fn release_after_write(&self, mut inner: MutexGuard<'_, Inner>) {
        if !inner.ignores_writes || !inner.session.events().is_only_written() {
            self.release(inner);
        }
    }

    /// Gives the lock back and tells the sink, unless that has been told since it came last.
    fn notify(&self, mut inner: MutexGuard<'_, Inner>) {
        if !std::mem::replace(&mut inner.notified, true) {
            drop(inner);
            self.sink.ready(self.key);
        }
    }

    // What callers do.

    pub(super) fn connect(self: &Arc<Self>, options: Options) {
        reactor::here(|| self.begin(options));
    }

    fn begin(self: &Arc<Self>, options: Options) {
        let started = reactor::start();
        let mut inner = self.lock();
        let was_connected = inner.leave(&self.clock, false, false);
        let offline = inner.purge(false, was_connected);
        if let Some(farewell) = &mut inner.farewell {
            farewell.offline |= offline && was_connected;
        }
        inner.state = State::Connecting;
        inner.reconnects_after_loss = options.reconnect.is_some();
        inner.keep = options.profiles.first().map_or(Keep::Nothing, |profile| profile.connect.keep());
        inner.will = None;
        if let Some(limits) = options.profiles.first().and_then(|profile| profile.limits) {
            inner.set_limits(limits);
        }
        let error = match (started, options.profiles.first()) {
            (Err(error), _) => Some(format!("cannot start the network thread: {error}")),
            (_, None) => Some("no server is given".to_owned()),
            _ => None,
        };
        let waker = inner.waker.take();
        if let Some(error) = error {
            inner.fail(&ConnectError::Setup(error));
        } else {
            let previous = inner.task.take();
            let mandate = Mandate::new(self.clone(), inner.generation);
            let task = Supervisor::new(mandate, options, previous).run();
            inner.task = Some(reactor::spawn(task));
        }
        self.release(inner);
        // whom this replaces has to notice
        waker.inspect(Waker::wake_by_ref);
    }

    pub(super) fn close(&self) {
        // what TLS has to encrypt is not to hold the caller up
        let is_plain = self.lock().direct().is_some();
        if is_plain { reactor::here(|| self.end()) } else { self.end() }
    }

    /// [`close`](Self::close), with all that is left to be done in the background.
    pub(super) fn end(&self) {
        let mut inner = self.lock();
        let was_connected = inner.leave(&self.clock, true, self.callers_read());
        let offline = inner.purge(true, was_connected);
        if let Some(farewell) = &mut inner.farewell {
            farewell.offline |= offline && was_connected;
        }
        let waker = inner.waker.take();
        self.release(inner);
        waker.inspect(Waker::wake_by_ref);
    }

    /// Whether this runs on the thread of a caller that may read from the socket when it waits next.
    pub(super) fn callers_read(&self) -> bool {
        reactor::is_elsewhere() && !self.clock.is_manual()
    }

    pub(super) fn hear_writes(&self) {
        let mut inner = self.lock();
        inner.ignores_writes = false;
        self.release(inner);
    }

    pub(super) fn swap_events(&self, empty: &mut Events, waits: bool) {
        let mut inner = self.lock();
        inner.session.events().swap(empty);
        inner.notified = false;
        if waits {
            inner.claim(&self.clock);
        }
        if inner.paused {
            wake(inner);
        }
    }

    /// Sees to it that what has just been encoded goes out; called when [`Inner::wants_push`] says so.
    #[cold]
    pub(super) fn push(&self, mut inner: MutexGuard<'_, Inner>) {
        if inner.session.unsent() == 0 {
            // kept for later: there is no connection, or the window is full
            return self.release(inner);
        }
        if self.clock.is_manual() {
            return self.flush(inner); // a test that moves time by hand shall not depend on the real one
        }
        if inner.writer.attention != Attention::Asleep || inner.session.unsent() >= LINGER_BYTES {
            return self.hurry(inner);
        }
        if inner.reader.is_lent() {
            return inner.await_lease_end();
        }
        let now = self.clock.now();
        if inner.writer.last_send.is_some_and(|at| now.saturating_duration_since(at.instant()) < QUIET) {
            inner.writer.attention = Attention::Until(now + LINGER);
            return wake(inner);
        }
        self.flush(inner);
    }

    /// Sends directly if that is possible, else hurries the writer.
    pub(super) fn flush(&self, mut inner: MutexGuard<'_, Inner>) {
        if inner.can_send_directly() {
            inner.send_directly(self.clock.now());
        }
        self.hurry(inner);
    }

    /// Makes the writer take what is unsent without lingering.
    fn hurry(&self, mut inner: MutexGuard<'_, Inner>) {
        let waker = if inner.session.unsent() > 0 && inner.writer.attention != Attention::Now {
            inner.writer.attention = Attention::Now;
            inner.waker.clone()
        } else {
            None
        };
        self.release_after_write(inner);
        waker.inspect(Waker::wake_by_ref);
    }

    /// Waits until no connection says goodbye; makes it stop at `deadline`.
    pub(super) fn await_goodbye(&self, deadline: Instant) {
        let mut inner = self.lock();
        while inner.closing {
            if self.said_goodbye.wait_until(&mut inner, deadline).timed_out() && inner.closing {
                inner.cut = true;
                return wake(inner);
            }
        }
    }
}

/// The shared state as the task of one `connect` sees it: it is to change nothing of a later `connect`'s, so
/// [`enter`](Self::enter) and [`current`](Self::current) fail once it has been replaced by one, or by `close`.
pub(super) struct Mandate {
    shared: Arc<Shared>,
    generation: u32,
}

impl Deref for Mandate {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.shared
    }
}

impl Mandate {
    pub(super) fn new(shared: Arc<Shared>, generation: u32) -> Mandate {
        Mandate { shared, generation }
    }

    /// The lock, and later changes wake the task; none if it has been replaced.
    #[inline]
    pub(super) fn enter(&self, cx: &Context<'_>) -> Option<MutexGuard<'_, Inner>> {
        let mut inner = self.current()?;
        inner.wake_by(cx);
        Some(inner)
    }

    /// The lock, unless the task has been replaced.
    #[inline]
    pub(super) fn current(&self) -> Option<MutexGuard<'_, Inner>> {
        Some(self.lock()).filter(|inner| inner.generation == self.generation)
    }

    /// What is left to write on a connection that the caller has ended; none if there is nothing left to be done with it,
    /// or it never was one that the broker had accepted.
    pub(super) fn take_last_words(&self) -> Option<Vec<u8>> {
        self.lock().farewell.as_mut()?.last_words.take()
    }

    /// The task ends: if it had a connection that the caller has ended, that is really closed now.
    pub(super) fn finish(&self) {
        let mut inner = self.lock();
        if inner.generation == self.generation {
            inner.waker = None;
        }
        if inner.closing {
            inner.closing = false;
            inner.cut = false;
            let farewell = inner.farewell.take();
            if farewell.as_ref().is_some_and(|farewell| farewell.offline) {
                inner.session.events().push(Event::Offline);
            }
            self.said_goodbye.notify_all();
            // also without an event: somebody may be waiting for the client to be no longer busy
            self.notify(inner);
            return drop(farewell); // it may hold the socket
        }
        self.release(inner);
    }
}

impl Inner {
    pub(super) fn busy(&mut self) -> bool {
        self.state != State::Idle || self.closing || !self.session.events().is_empty()
    }

    /// Later changes wake this task.
    #[inline]
    pub(super) fn wake_by(&mut self, cx: &Context<'_>) {
        match &mut self.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
    }

    /// Whether something that was just encoded needs [`Shared::push`]: almost never in a burst.
    #[inline]
    pub(super) fn wants_push(&self, sending: Sending) -> bool {
        match (self.writer.attention, sending) {
            (Attention::Now, _) => false,
            (Attention::Asleep, Sending::Soon) => true,
            (_, Sending::Soon) => self.session.unsent() >= LINGER_BYTES,
            (_, Sending::AtFlush) => self.session.unsent() >= EARLY_BYTES,
        }
    }

    // A connection, seen by its task.

    /// A byte stream is up.
    ///
    /// `reader`: who reads from it at first, if others than the task may.
    pub(super) fn opened(&mut self, stream: &net::Stream, reader: Option<Reader>) {
        let (stats, direct) = (self.session.stats(), stream.direct());
        self.is_near = stream.was_up_at_once();
        self.reader = reader.filter(|_| direct.is_some()).unwrap_or_default();
        self.writer = Writer { direct, before: (stats.bytes_in, stats.bytes_out), ..Writer::default() };
        self.paused = false;
    }

    /// Hands `n` bytes that came to the session, which may keep the buffer. The broker may accept the connection by them.
    pub(super) fn take_input(
        &mut self,
        now: Instant,
        buffer: &mut Vec<u8>,
        n: usize,
    ) -> Result<(), session::Error> {
        let before = self.session.packets_in();
        let outcome = if n < WORTH_KEEPING {
            self.session.handle_input(now, &buffer[..n])
        } else {
            self.session.handle_buffer(now, buffer, n)
        };
        self.note_read(n, self.session.packets_in() - before);
        if self.state != State::Connected && self.session.is_connected() {
            if self.state == State::Reconnecting {
                self.reconnects += 1;
            }
            self.state = State::Connected;
            self.session.set_offline_queue(self.reconnects_after_loss);
            tracing::info!(target: "mqtt", "connected");
        }
        outcome
    }

    /// Takes the bytes to be written to an empty buffer, if there are any and the writer has not to linger for more; whether
    /// it has.
    pub(super) fn take_bytes<'a>(&mut self, now: Instant, buffer: impl FnOnce() -> &'a mut Vec<u8>) -> bool {
        let unsent = self.session.unsent();
        if unsent < LINGER_BYTES && self.lingers_until().is_some_and(|until| now < until) {
            return false;
        }
        self.writer.attention = Attention::Asleep;
        if unsent > 0 {
            let buffer = buffer();
            self.session.take_transmit(buffer);
            self.writer.lent = buffer.len();
        }
        unsent > 0
    }

    /// The bytes that wait can wait for the end of the lease.
    pub(super) fn await_lease_end(&mut self) {
        self.writer.attention = Attention::AtLeaseEnd;
    }

    /// Whether bytes wait for the end of a lease.
    pub(super) fn awaits_lease_end(&self) -> bool {
        self.writer.attention == Attention::AtLeaseEnd && self.session.unsent() > 0
    }

    /// Until when the writer waits for more bytes; none: it does not.
    pub(super) fn lingers_until(&self) -> Option<Instant> {
        match self.writer.attention {
            Attention::Until(until) if self.writer.lent == 0 => Some(until),
            _ => None,
        }
    }

    /// The system took `n` of the bytes that were taken.
    pub(super) fn written(&mut self, now: Instant, n: usize) {
        self.writer.lent -= n;
        self.writer.last_send = Some(Moment::new(now));
        self.session.handle_transmitted(now, n);
    }

    /// The reader has to hold back, or no longer.
    #[inline]
    pub(super) fn check_back_pressure(&mut self, now: Instant) {
        let paused = self.session.events().weight() > MAX_EVENTS_BYTES;
        if self.paused != paused {
            self.paused = paused;
            self.session.set_reading(now, !paused);
        }
    }

    /// An attempt failed for good.
    pub(super) fn fail(&mut self, error: &ConnectError) {
        self.end_connection(self.keep);
        self.state = State::Idle;
        let detail = error.to_string();
        self.session.events().push(Event::ConnectFailed { reason: error.reason(), detail: &detail });
    }

    /// The socket is gone, without the caller having asked for it.
    pub(super) fn end_connection(&mut self, keep: Keep) {
        self.session.handle_begun(self.writer.begun);
        self.session.handle_closed(keep);
        self.writer = Writer::default();
        self.reader = Reader::default();
        self.paused = false;
        self.question = Question::None;
    }

    // Callers at the socket.

    /// The socket, if callers may use it.
    pub(super) fn direct(&self) -> Option<&net::Tcp> {
        self.writer.direct.as_ref()
    }

    /// Whether the sink knows that there are events, or soon will.
    pub(super) fn is_sink_told(&self) -> bool {
        self.notified
    }

    /// What wakes the task.
    pub(super) fn waker(&self) -> Option<Waker> {
        self.waker.clone()
    }

    #[inline]
    fn can_send_directly(&self) -> bool {
        self.writer.direct.is_some() && self.writer.lent == 0
    }

    /// Gives the system what it takes at once. An error is left for the task to find.
    fn send_directly(&mut self, now: Instant) {
        let Some(socket) = &self.writer.direct else { return };
        let bytes = self.session.transmit();
        if let Ok(n) = send(socket, &bytes[..bytes.len().min(DIRECT_BYTES)]) {
            self.writer.last_send = Some(Moment::new(now));
            self.session.handle_transmitted(now, n);
        }
    }
}

/// Wakes the task, after giving the lock back: the woken thread needs it.
pub(super) fn wake(inner: MutexGuard<'_, Inner>) {
    let waker = inner.waker.clone();
    drop(inner);
    waker.inspect(Waker::wake_by_ref);
}

/// Sends without blocking. On Linux std writes to a socket with `send` and MSG_NOSIGNAL, so a broken connection raises no
/// signal in a program that is not ours; `writev` would.
pub(super) fn send(socket: &net::Tcp, bytes: &[u8]) -> io::Result<usize> {
    if bytes.is_empty() {
        return Ok(0);
    }
    let mut socket = socket.as_ref();
    loop {
        match socket.write(bytes) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            outcome => return outcome,
        }
    }
}

/// The same for the last bytes before the socket is closed, which sends them.
pub(super) fn send_with_end(socket: &net::Tcp, bytes: &[u8]) -> io::Result<usize> {
    SockRef::from(&**socket).send_with_flags(bytes, libc::MSG_NOSIGNAL | libc::MSG_MORE)
}
