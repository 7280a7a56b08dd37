//! The broker's sockets: one task that accepts, one for each connection.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use smol::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use smol::{Async, LocalExecutor, Timer, future};
use tracing::debug;

use super::Shared;
use super::link::Output;
use crate::codec::Deframer;

/// Accepts connections and starts a task for each, for ever.
pub(super) async fn accept(
    listener: Async<TcpListener>,
    shared: Arc<Shared>,
    executor: &LocalExecutor<'static>,
) {
    // One buffer for all connections: what is read is acted upon before the next read.
    let scratch = Rc::new(RefCell::new(vec![0; READ_SIZE]));
    loop {
        match listener.accept().await {
            Ok((stream, _)) => executor.spawn(serve(stream, shared.clone(), scratch.clone())).detach(),
            Err(error) => {
                // Most likely the process has no file descriptor left: nothing is gained by asking at once again.
                debug!("accept: {error}");
                Timer::after(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// One connection from its beginning to its end.
async fn serve(stream: Async<TcpStream>, shared: Arc<Shared>, scratch: Rc<RefCell<Vec<u8>>>) {
    if let Err(error) = stream.get_ref().set_nodelay(true) {
        debug!("TCP_NODELAY: {error}");
    }
    let port = stream.get_ref().peer_addr().map_or(0, |peer| peer.port());
    let link = shared.update(|router| router.accept(port));
    let connection =
        Connection { stream, attached: Attached { shared, link }, heard: Cell::new(Instant::now()) };
    // In this order: what a batch of input brings about is written at once, and before the silence is measured.
    let end = future::or(connection.read(&scratch), future::or(connection.write(), connection.watch())).await;
    let Connection { stream, attached, .. } = connection;
    drop(attached);
    if let Ok(End::Finished) = end {
        linger(stream).await;
    }
}

struct Connection {
    stream: Async<TcpStream>,
    attached: Attached,
    /// When bytes came last.
    heard: Cell<Instant>,
}

/// Takes the link out of the router when the connection's task ends, also when it is dropped with its executor.
struct Attached {
    shared: Arc<Shared>,
    link: usize,
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.shared.update(|router| router.detach(self.link));
    }
}

/// How a connection ended.
enum End {
    /// All that there was to say has been written: the client is to get it.
    Finished,
    /// The client or the broker dropped it, or it was silent for too long.
    Dropped,
}

impl Connection {
    async fn read(&self, scratch: &RefCell<Vec<u8>>) -> io::Result<End> {
        let mut deframer = Deframer::from_client(None);
        loop {
            let count = poll_fn(|cx| self.poll_read(cx, &mut deframer, &mut scratch.borrow_mut())).await?;
            if count == 0 {
                return Ok(End::Dropped);
            }
            // Gives the answers their turn: one write for each read, and no connection keeps the others waiting.
            future::yield_now().await;
        }
    }

    fn poll_read(
        &self,
        cx: &mut Context<'_>,
        deframer: &mut Deframer,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let Attached { shared, link } = &self.attached;
        ready!(shared.router.lock().links[*link].poll_input_wanted(cx));
        let count = ready!(Pin::new(&mut &self.stream).poll_read(cx, buffer))?;
        self.heard.set(Instant::now());
        shared.update(|router| router.input(*link, deframer, &buffer[..count]));
        Poll::Ready(Ok(count))
    }

    async fn write(&self) -> io::Result<End> {
        let Attached { shared, link } = &self.attached;
        let mut buffer = Vec::new();
        loop {
            if let Output::Finished =
                poll_fn(|cx| shared.router.lock().links[*link].poll_output(cx, &mut buffer)).await
            {
                return Ok(End::Finished);
            }
            let (delay, byte_by_byte) = {
                let router = shared.router.lock();
                let faults = router.links[*link].faults();
                (faults.delay, faults.byte_by_byte)
            };
            if !delay.is_zero() {
                self.hold(delay).await;
                shared.router.lock().links[*link].take_output(&mut buffer);
            }
            let size = if byte_by_byte { 1 } else { buffer.len() };
            for part in buffer.chunks(size) {
                (&self.stream).write_all(part).await?;
                if byte_by_byte {
                    future::yield_now().await;
                }
            }
            buffer.clear();
            buffer.shrink_to(KEPT_BUFFER);
        }
    }

    /// Waits for so long before it writes.
    async fn hold(&self, delay: Duration) {
        let Attached { shared, link } = &self.attached;
        let Some(time) = &shared.time else {
            Timer::after(delay).await;
            return;
        };
        let until = time.now() + delay;
        shared.router.lock().links[*link].held_until = Some(until);
        time.sleep_until(until).await;
        shared.router.lock().links[*link].held_until = None;
    }

    /// Waits for the order to drop the connection, or until the client's silence cannot be put up with any more.
    async fn watch(&self) -> io::Result<End> {
        let Attached { shared, link } = &self.attached;
        let mut timer = Timer::never();
        let mut armed = None;
        let mut last_chance = None;
        poll_fn(|cx| {
            let mut router = shared.router.lock();
            let state = &mut router.links[*link];
            if state.poll_closed(cx).is_ready() {
                return Poll::Ready(());
            }
            let deadline = if state.is_ending() {
                let delay = state.faults().delay;
                Some(*last_chance.get_or_insert_with(|| Instant::now() + delay + LINGER))
            } else {
                state.silence_allowed().map(|silence| self.heard.get() + silence)
            };
            drop(router);
            let Some(deadline) = deadline else { return Poll::Pending };
            // A deadline that moves away, as it does with all that is heard, leaves the timer as it is until it fires.
            if armed.is_none_or(|armed| deadline < armed) {
                timer.set_at(deadline);
                armed = Some(deadline);
            }
            while ready!(Pin::new(&mut timer).poll(cx)) < deadline {
                timer.set_at(deadline);
                armed = Some(deadline);
            }
            debug!("connection {link} has been silent for too long");
            Poll::Ready(())
        })
        .await;
        Ok(End::Dropped)
    }
}

/// Closes a connection so that the client gets all that was written: with input unread, the kernel would answer with
/// a reset, which can overtake it.
async fn linger(mut stream: Async<TcpStream>) {
    if stream.get_ref().shutdown(Shutdown::Write).is_err() {
        return;
    }
    let drain = async {
        let mut rest = [0; 512];
        while matches!(stream.read(&mut rest).await, Ok(1..)) {}
    };
    let limit = async {
        Timer::after(LINGER).await;
    };
    future::or(drain, limit).await;
}

/// How much is read at once.
const READ_SIZE: usize = 64 << 10;
/// How large a connection's buffer stays when it is empty.
const KEPT_BUFFER: usize = 16 << 10;
/// How long a client may take to pick up the end of a connection.
const LINGER: Duration = Duration::from_secs(2);
/// How long no connection is accepted after an error.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
