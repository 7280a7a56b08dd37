//! One connection, driven by one task: writes, reads, timers, in that order, then sleep.
//!
//! Writes come before reads and are flushed, because a TLS stream makes progress with its own bytes that way. The lock is
//! held around every step of the session and never around a call of the system: what is written has been taken from the
//! session before, what was read lies in a buffer that all connections of the thread share, or behind the start of a large
//! packet that the session has lent.

use std::cell::RefCell;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_lite::{AsyncRead, AsyncWrite};

use super::clock::{Clock, Sleep};
use super::shared::Shared;
use crate::net::Stream;
use crate::session;

/// A packet of which so much has come and so much is missing is read on in its place. One that is nearly there is not worth
/// a read of its own.
const LARGE: usize = 16 * 1024;

/// Memory that the written bytes of a connection may leave behind when there is nothing more to write.
const KEEP: usize = 32 * 1024;

/// A flush comes after so many bytes: what TLS makes of them lies in memory until then.
const UNFLUSHED: usize = 64 * 1024;

/// So many reads and writes in a row, then it is the turn of other connections.
const BUDGET: usize = 8;

/// Flushing takes at most so long when a connection is ended.
const FLUSH: Duration = Duration::from_secs(1);

/// After DISCONNECT the peer has so long to close its side…
const DRAIN: Duration = Duration::from_secs(1);

/// … and may send so much before it does.
const DRAIN_BYTES: usize = 8 << 20;

thread_local! {
    /// One for all connections: it would cost an idle one more than all the rest.
    static INPUT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Runs `f` with the thread's read buffer.
pub(super) fn with_input<R>(f: impl FnOnce(&mut Vec<u8>) -> R) -> R {
    INPUT.with_borrow_mut(f)
}

/// Empties the read buffer and gives it its memory, which the session may have kept.
pub(super) fn make_ready(input: &mut Vec<u8>) {
    input.clear();
    input.reserve_exact(session::BUFFER);
}

/// Why a connection is no longer driven.
#[derive(Debug)]
pub(super) enum End {
    /// The caller ended it.
    Replaced,
    /// The peer closed it.
    Eof,
    /// Reading failed.
    Read(io::Error),
    /// Writing failed.
    Write(io::Error),
    /// The peer broke the protocol, refused us, or has gone silent.
    Session(session::Error),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Replaced => f.write_str("closed by this side"),
            End::Eof => f.write_str("closed by the broker"),
            End::Read(error) | End::Write(error) => error.fmt(f),
            End::Session(error) => error.fmt(f),
        }
    }
}

impl From<session::Error> for End {
    fn from(error: session::Error) -> End {
        End::Session(error)
    }
}

pub(super) struct Driver {
    shared: Arc<Shared>,
    generation: u64,
    stream: Stream,
    /// Taken from the session; `out[at..]` is not written yet. While that or what is unflushed is not empty the writer is
    /// lent out.
    out: Vec<u8>,
    at: usize,
    /// So many bytes were written since the last flush: those before `at`.
    unflushed: usize,
    /// Writing failed. Reported once reading has nothing more to tell: the peer may have said why it hung up.
    write_error: Option<io::Error>,
    alarm: Alarm,
}

impl Driver {
    /// For a stream on which the session's CONNECT is to be sent.
    pub(super) fn new(shared: Arc<Shared>, generation: u64, stream: Stream) -> Driver {
        Driver {
            shared,
            generation,
            stream,
            out: Vec::new(),
            at: 0,
            unflushed: 0,
            write_error: None,
            alarm: Alarm::default(),
        }
    }

    /// Drives until the connection ends.
    pub(super) fn run(&mut self) -> impl Future<Output = End> {
        poll_fn(|cx| {
            let mut budget = BUDGET;
            let end = loop {
                match self.turn(cx, &mut budget) {
                    Ok(true) => {}
                    Ok(false) => return Poll::Pending,
                    Err(end) => break end,
                }
            };
            if let Some(mut inner) = self.shared.current(self.generation) {
                inner.writer.begun = self.unflushed;
            }
            Poll::Ready(end)
        })
    }

    /// Does what can be done now; whether something has become due meanwhile. Otherwise the task is woken when there is
    /// more to do.
    fn turn(&mut self, cx: &mut Context<'_>, budget: &mut usize) -> Result<bool, End> {
        self.write(cx, budget)?;
        let failed = self.write_error.is_some();
        self.read(cx, budget)?;
        // Not before reading: after the machine was suspended the answer to a PINGREQ may lie in the socket.
        let now = self.shared.clock.now();
        let mut inner = self.shared.enter(self.generation, cx).ok_or(End::Replaced)?;
        let outcome = inner.session.handle_timeout(now);
        self.shared.release(inner);
        outcome?;
        self.write(cx, budget)?;
        if *budget == 0 {
            cx.waker().wake_by_ref();
            return Ok(false);
        }
        if self.write_error.is_some() && !failed {
            return Ok(true); // reading comes first
        }
        if let Some(error) = self.write_error.take() {
            return Err(End::Write(error));
        }
        let next = {
            let mut inner = self.shared.enter(self.generation, cx).ok_or(End::Replaced)?;
            inner.reader.watch(cx);
            [inner.session.poll_timeout(), inner.lingers_until()].into_iter().flatten().min()
        };
        Ok(self.alarm.poll(next, &self.shared.clock, cx))
    }

    /// Writes and flushes. What the stream has taken counts as sent once it is flushed: TLS and WebSocket hold bytes back
    /// until then.
    fn write(&mut self, cx: &mut Context<'_>, budget: &mut usize) -> Result<(), End> {
        while self.write_error.is_none() {
            if self.at == self.out.len() && self.unflushed == 0 {
                self.out.clear();
                self.at = 0;
                let mut inner = self.shared.enter(self.generation, cx).ok_or(End::Replaced)?;
                inner.take_bytes(self.shared.clock.now(), &mut self.out);
                if self.out.is_empty() {
                    // nor what CONNECT was written from: most connections never have much to say
                    if self.out.capacity() > KEEP || !inner.session.is_connected() {
                        self.out = Vec::new();
                    }
                    return Ok(());
                }
            }
            let stuck = self.push(cx, budget);
            if self.unflushed > 0 && !self.flush(cx)? || stuck {
                break;
            }
        }
        Ok(())
    }

    /// Gives bytes to the stream, at most up to where a flush is due. Whether no more can be given before something
    /// changes.
    fn push(&mut self, cx: &mut Context<'_>, budget: &mut usize) -> bool {
        while self.at < self.out.len() && self.unflushed < UNFLUSHED {
            if *budget == 0 {
                return true;
            }
            *budget -= 1;
            match Pin::new(&mut self.stream).poll_write(cx, &self.out[self.at..]) {
                Poll::Ready(Ok(n)) if n > 0 => (self.at, self.unflushed) = (self.at + n, self.unflushed + n),
                Poll::Ready(Ok(_)) => self.write_error = Some(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Err(error)) => self.write_error = Some(error),
                Poll::Pending => return true,
            }
            if self.write_error.is_some() {
                return true;
            }
        }
        false
    }

    /// Has the stream send what it was given; whether it has.
    fn flush(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        match Pin::new(&mut self.stream).poll_flush(cx) {
            Poll::Pending => return Ok(false),
            Poll::Ready(Err(error)) => _ = self.write_error.get_or_insert(error),
            Poll::Ready(Ok(())) => {
                let mut inner = self.shared.enter(self.generation, cx).ok_or(End::Replaced)?;
                inner.written(self.shared.clock.now(), std::mem::take(&mut self.unflushed));
                self.shared.release(inner);
            }
        }
        Ok(true)
    }

    /// Takes what came.
    fn read(&mut self, cx: &mut Context<'_>, budget: &mut usize) -> Result<(), End> {
        with_input(|input| {
            loop {
                let mut packet = {
                    let now = self.shared.clock.now();
                    let mut inner = self.shared.enter(self.generation, cx).ok_or(End::Replaced)?;
                    // first of all: nothing that comes after a violation is taken
                    if let Some(end) = inner.end_found() {
                        return Err(end);
                    }
                    inner.check_back_pressure(now);
                    if *budget == 0 || !inner.begin_reading(now, self.write_error.is_some()) {
                        return Ok(());
                    }
                    inner.session.lend_packet(LARGE)
                };
                *budget -= 1;
                let read = match &mut packet {
                    Some(packet) => self.stream.poll_append(cx, packet.room()),
                    None => self.poll_input(cx, input),
                };
                let n = match read {
                    Poll::Pending => 0,
                    Poll::Ready(Ok(0)) => return Err(End::Eof),
                    Poll::Ready(Ok(n)) => n,
                    Poll::Ready(Err(error)) => return Err(End::Read(error)),
                };
                let mut inner = self.shared.enter(self.generation, cx).ok_or(End::Replaced)?;
                let outcome = match packet {
                    Some(packet) => inner.session.handle_packet(self.shared.clock.now(), packet, n),
                    None if n == 0 => Ok(()),
                    None => inner.take_input(self.shared.clock.now(), input, n),
                };
                if n == 0 {
                    inner.end_reading();
                    return Ok(());
                }
                if outcome.is_ok() {
                    inner.end_reading(); // else no caller is to read what follows a violation
                }
                self.shared.release(inner);
                outcome?;
            }
        })
    }

    /// The caller has ended the connection: writes what was taken and `last_words`, ends our direction, reads until the
    /// peer has ended its own, and closes. Each step has its limit.
    ///
    /// Closing a socket with unread input makes the system answer with a reset, which overtakes DISCONNECT: then the
    /// broker would publish the will. Therefore everything that comes is read first.
    pub(super) async fn say_goodbye(mut self, last_words: Vec<u8>) {
        if self.write_error.is_some() {
            return;
        }
        if self.at == self.out.len() {
            (self.out, self.at) = (last_words, 0);
        } else {
            self.out.extend_from_slice(&last_words);
        }
        let clock = self.shared.clock.clone();
        let mut deadline = clock.now() + FLUSH;
        let mut alarm = Alarm::default();
        let mut said = false;
        let mut peer_is_done = false;
        let mut drained = 0;
        poll_fn(|cx| {
            {
                let mut inner = self.shared.lock();
                inner.wake_by(cx);
                if inner.cut {
                    return Poll::Ready(());
                }
            }
            let all_out = match self.poll_rest(cx) {
                Poll::Ready(true) => true,
                Poll::Ready(false) => return Poll::Ready(()),
                Poll::Pending => false,
            };
            // Also before all is said: the peer may not read as long as it cannot write.
            let mut budget = BUDGET;
            let is_lent = loop {
                {
                    let mut inner = self.shared.lock();
                    if peer_is_done || !inner.begin_reading(clock.now(), false) {
                        break inner.reader.watch(cx);
                    }
                }
                let read = if budget > 0 { self.poll_discard(cx) } else { Poll::Pending };
                self.shared.lock().end_reading();
                match read {
                    Poll::Pending => break false,
                    Poll::Ready(Ok(n)) if n > 0 => (drained, budget) = (drained + n, budget - 1),
                    Poll::Ready(Ok(_)) => peer_is_done = true,
                    Poll::Ready(Err(_)) => return Poll::Ready(()),
                }
            };
            // A peer that hangs up at DISCONNECT, as it has to, need not be told.
            if all_out && !said && !peer_is_done && !is_lent {
                match Pin::new(&mut self.stream).poll_close(cx) {
                    Poll::Ready(Ok(())) => {
                        said = true;
                        deadline = clock.now() + DRAIN;
                    }
                    Poll::Ready(Err(_)) => return Poll::Ready(()),
                    Poll::Pending => {}
                }
            }
            let enough = all_out && peer_is_done || said && drained > DRAIN_BYTES;
            if enough || clock.now() >= deadline {
                return Poll::Ready(());
            }
            if budget == 0 || alarm.poll(Some(deadline), &clock, cx) {
                cx.waker().wake_by_ref();
            }
            Poll::Pending
        })
        .await;
    }

    /// Writes the rest of `out` and has the stream send it; false if that is not possible.
    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        while self.at < self.out.len() {
            match Pin::new(&mut self.stream).poll_write(cx, &self.out[self.at..]) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(false),
                Poll::Ready(Ok(n)) => self.at += n,
            }
        }
        Pin::new(&mut self.stream).poll_flush(cx).map(|outcome| outcome.is_ok())
    }

    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        with_input(|input| self.poll_input(cx, input))
    }

    /// Reads to the start of the read buffer.
    fn poll_input(&mut self, cx: &mut Context<'_>, input: &mut Vec<u8>) -> Poll<io::Result<usize>> {
        if let Stream::Tcp(_) = self.stream {
            make_ready(input);
            return self.stream.poll_append(cx, input);
        }
        input.resize(session::BUFFER, 0); // it mostly is: to clear all of it for each read would take time
        Pin::new(&mut self.stream).poll_read(cx, input)
    }
}

/// A sleep that is set anew only when it would come too late: deadlines mostly move back, and a wake-up that turns out
/// too early costs less than a timer per packet. Boxed: few connections have one at a time.
#[derive(Default)]
struct Alarm(Option<Box<Sleep>>);

impl Alarm {
    /// Whether it may be `at`; if not, `cx` is woken then.
    fn poll(&mut self, at: Option<Instant>, clock: &Clock, cx: &mut Context<'_>) -> bool {
        let Some(at) = at else {
            self.0 = None;
            return false;
        };
        let sleep = match &mut self.0 {
            Some(armed) if armed.deadline() <= at => armed,
            late => late.insert(Box::new(clock.sleep_until(at))),
        };
        let due = Pin::new(&mut **sleep).poll(cx).is_ready();
        if due {
            self.0 = None;
        }
        due
    }
}
