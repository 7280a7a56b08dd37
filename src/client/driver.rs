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
use std::ops::RangeInclusive;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_lite::{AsyncRead, AsyncWrite};

use super::clock::{Clock, Sleep};
use super::shared::Mandate;
use crate::net::Stream;
use crate::session;

/// A packet of which so much has come and so much is missing is read on in its place. One that is nearly there is not worth
/// a read of its own.
const LARGE: usize = 16 * 1024;

/// Memory that the written bytes of a connection leave behind when there is nothing more to write. Less is not worth it: it
/// would stay for a PINGREQ.
const KEEP: RangeInclusive<usize> = 1024..=32 * 1024;

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
    stream: Stream,
    /// None: most connections have nothing to write for most of the time. While there is something to be written or flushed
    /// the writer is lent out.
    out: Option<Box<Outgoing>>,
    /// Writing failed. Reported once reading has nothing more to tell: the peer may have said why it hung up.
    write_error: Option<io::Error>,
    alarm: Alarm,
}

/// Bytes that were taken from the session.
#[derive(Default)]
struct Outgoing {
    bytes: Vec<u8>,
    /// So many of them are written.
    at: usize,
    /// So many of these were written since the last flush.
    unflushed: usize,
}

impl Outgoing {
    /// What is not written yet.
    fn rest(&self) -> &[u8] {
        &self.bytes[self.at..]
    }

    /// Gives its memory away.
    fn emptied(&mut self) -> &mut Vec<u8> {
        self.bytes.clear();
        self.at = 0;
        &mut self.bytes
    }
}

impl Driver {
    /// For a stream on which the session's CONNECT is to be sent.
    pub(super) fn new(stream: Stream) -> Driver {
        Driver { stream, out: None, write_error: None, alarm: Alarm::default() }
    }

    /// Drives until the connection ends.
    pub(super) fn run(&mut self, mandate: &Mandate) -> impl Future<Output = End> {
        poll_fn(|cx| {
            let mut budget = BUDGET;
            let end = loop {
                match self.turn(mandate, cx, &mut budget) {
                    Ok(true) => {}
                    Ok(false) => return Poll::Pending,
                    Err(end) => break end,
                }
            };
            if let Some(mut inner) = mandate.current() {
                inner.writer.begun = self.unflushed();
            }
            Poll::Ready(end)
        })
    }

    /// Does what can be done now; whether something has become due meanwhile. Otherwise the task is woken when there is
    /// more to do.
    fn turn(&mut self, mandate: &Mandate, cx: &mut Context<'_>, budget: &mut usize) -> Result<bool, End> {
        self.write(mandate, cx, budget)?;
        let failed = self.write_error.is_some();
        self.read(mandate, cx, budget)?;
        // Not before reading: after the machine was suspended the answer to a PINGREQ may lie in the socket.
        let now = mandate.clock.now();
        let mut inner = mandate.enter(cx).ok_or(End::Replaced)?;
        let outcome = inner.session.handle_timeout(now);
        mandate.release(inner);
        outcome?;
        self.write(mandate, cx, budget)?;
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
            let mut inner = mandate.enter(cx).ok_or(End::Replaced)?;
            inner.reader.watch(cx);
            [inner.session.poll_timeout(), inner.lingers_until()].into_iter().flatten().min()
        };
        Ok(self.alarm.poll(next, &mandate.clock, cx))
    }

    /// How many bytes the stream was given since the last flush.
    fn unflushed(&self) -> usize {
        self.out.as_ref().map_or(0, |out| out.unflushed)
    }

    /// Writes and flushes. What the stream has taken counts as sent once it is flushed: TLS and WebSocket hold bytes back
    /// until then.
    fn write(&mut self, mandate: &Mandate, cx: &mut Context<'_>, budget: &mut usize) -> Result<(), End> {
        while self.write_error.is_none() {
            let out = &mut self.out;
            if out.as_ref().is_none_or(|out| out.rest().is_empty() && out.unflushed == 0) {
                let mut inner = mandate.enter(cx).ok_or(End::Replaced)?;
                if !inner.take_bytes(mandate.clock.now(), || out.get_or_insert_default().emptied()) {
                    // nor what CONNECT was written from: most connections never have much to say
                    out.take_if(|out| !KEEP.contains(&out.bytes.capacity()) || !inner.session.is_connected());
                    return Ok(());
                }
            }
            let stuck = self.push(cx, budget);
            if self.unflushed() > 0 && !self.flush(mandate, cx)? || stuck {
                break;
            }
        }
        Ok(())
    }

    /// Gives bytes to the stream, at most up to where a flush is due. Whether no more can be given before something
    /// changes.
    fn push(&mut self, cx: &mut Context<'_>, budget: &mut usize) -> bool {
        let Some(out) = &mut self.out else { return false };
        while !out.rest().is_empty() && out.unflushed < UNFLUSHED {
            if *budget == 0 {
                return true;
            }
            *budget -= 1;
            match Pin::new(&mut self.stream).poll_write(cx, out.rest()) {
                Poll::Ready(Ok(n)) if n > 0 => (out.at, out.unflushed) = (out.at + n, out.unflushed + n),
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
    fn flush(&mut self, mandate: &Mandate, cx: &mut Context<'_>) -> Result<bool, End> {
        match Pin::new(&mut self.stream).poll_flush(cx) {
            Poll::Pending => return Ok(false),
            Poll::Ready(Err(error)) => _ = self.write_error.get_or_insert(error),
            Poll::Ready(Ok(())) => {
                let mut inner = mandate.enter(cx).ok_or(End::Replaced)?;
                let sent = self.out.as_mut().map_or(0, |out| std::mem::take(&mut out.unflushed));
                inner.written(mandate.clock.now(), sent);
                mandate.release(inner);
            }
        }
        Ok(true)
    }

    /// Takes what came.
    fn read(&mut self, mandate: &Mandate, cx: &mut Context<'_>, budget: &mut usize) -> Result<(), End> {
        with_input(|input| {
            loop {
                let mut packet = {
                    let now = mandate.clock.now();
                    let mut inner = mandate.enter(cx).ok_or(End::Replaced)?;
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
                let mut inner = mandate.enter(cx).ok_or(End::Replaced)?;
                let outcome = match packet {
                    Some(packet) => inner.session.handle_packet(mandate.clock.now(), packet, n),
                    None if n == 0 => Ok(()),
                    None => inner.take_input(mandate.clock.now(), input, n),
                };
                if n == 0 {
                    inner.end_reading();
                    return Ok(());
                }
                if outcome.is_ok() {
                    inner.end_reading(); // else no caller is to read what follows a violation
                }
                mandate.release(inner);
                outcome?;
            }
        })
    }

    /// The caller has ended the connection: writes what was taken and `last_words`, ends our direction, reads until the
    /// peer has ended its own, and closes. Each step has its limit.
    ///
    /// Closing a socket with unread input makes the system answer with a reset, which overtakes DISCONNECT: then the
    /// broker would publish the will. Therefore everything that comes is read first.
    pub(super) async fn say_goodbye(mut self, mandate: &Mandate, last_words: Vec<u8>) {
        if self.write_error.is_some() {
            return;
        }
        let out = self.out.get_or_insert_default();
        match out.rest() {
            [] => **out = Outgoing { bytes: last_words, ..Outgoing::default() },
            _ => out.bytes.extend_from_slice(&last_words),
        }
        let clock = mandate.clock.clone();
        let mut deadline = clock.now() + FLUSH;
        let mut alarm = Alarm::default();
        let mut said = false;
        let mut peer_is_done = false;
        let mut drained = 0;
        poll_fn(|cx| {
            {
                let mut inner = mandate.lock();
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
                    let mut inner = mandate.lock();
                    if peer_is_done || !inner.begin_reading(clock.now(), false) {
                        break inner.reader.watch(cx);
                    }
                }
                let read = if budget > 0 { self.poll_discard(cx) } else { Poll::Pending };
                mandate.lock().end_reading();
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
        while let Some(out) = self.out.as_mut().filter(|out| !out.rest().is_empty()) {
            match Pin::new(&mut self.stream).poll_write(cx, out.rest()) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(false),
                Poll::Ready(Ok(n)) => out.at += n,
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
/// too early costs less than a timer per packet.
#[derive(Default)]
struct Alarm(Option<Sleep>);

impl Alarm {
    /// Whether it may be `at`; if not, `cx` is woken then.
    fn poll(&mut self, at: Option<Instant>, clock: &Clock, cx: &mut Context<'_>) -> bool {
        let Some(at) = at else {
            self.0 = None;
            return false;
        };
        let sleep = match &mut self.0 {
            Some(armed) if armed.deadline() <= at => armed,
            late => late.insert(clock.sleep_until(at)),
        };
        let due = Pin::new(sleep).poll(cx).is_ready();
        if due {
            self.0 = None;
        }
        due
    }
}
