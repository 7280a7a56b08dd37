//! TCP as a task uses it.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_lite::{AsyncRead, AsyncWrite};
use smol::Async;

/// A TCP socket that more than one thread may use, and that never blocks.
pub type Tcp = Arc<TcpStream>;

/// The stream of a socket. The system's poller hears of it once a task has to wait: a connection that its caller reads
/// from may come and go before that.
#[derive(Debug)]
pub enum Plain {
    /// No task has waited yet.
    New(Tcp),
    /// Known to the poller.
    Polled(Async<Tcp>),
}

impl Plain {
    /// The socket.
    pub fn socket(&self) -> &Tcp {
        match self {
            Plain::New(socket) => socket,
            Plain::Polled(polled) => polled.get_ref(),
        }
    }

    /// Waits until writing makes progress: a connection that is being made is up then, or has failed.
    pub fn poll_writable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.polled()?.poll_writable(cx)
    }

    /// Reads to the free memory of `buffer`, behind what is in it.
    pub fn poll_append(&mut self, cx: &mut Context<'_>, buffer: &mut Vec<u8>) -> Poll<io::Result<usize>> {
        self.poll(cx, Async::poll_readable, |socket| append(socket, buffer))
    }

    /// Does what is asked for as soon as it does not have to wait.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        poll_ready: fn(&Async<Tcp>, &mut Context<'_>) -> Poll<io::Result<()>>,
        mut act: impl FnMut(&Tcp) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            match act(self.socket()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                outcome => return Poll::Ready(outcome),
            }
            ready!(poll_ready(self.polled()?, cx))?;
        }
    }

    fn polled(&mut self) -> io::Result<&Async<Tcp>> {
        if let Plain::New(socket) = self {
            *self = Plain::Polled(Async::new_nonblocking(socket.clone())?);
        }
        match self {
            Plain::Polled(polled) => Ok(polled),
            Plain::New(_) => unreachable!("replaced above"),
        }
    }
}

/// Reads to the free memory of `buffer`, behind what is in it, without waiting. Nobody has to clear that before.
pub fn append(socket: &Tcp, buffer: &mut Vec<u8>) -> io::Result<usize> {
    loop {
        match rustix::io::read(socket, rustix::buffer::spare_capacity(buffer)) {
            Err(rustix::io::Errno::INTR) => {}
            outcome => return Ok(outcome?),
        }
    }
}

impl AsyncRead for Plain {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.get_mut().poll(cx, Async::poll_readable, |socket| socket.as_ref().read(buffer))
    }
}

impl AsyncWrite for Plain {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().poll(cx, Async::poll_writable, |socket| socket.as_ref().write(bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Ends our direction only.
    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.socket().shutdown(Shutdown::Write))
    }
}
