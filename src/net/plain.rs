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

impl AsyncRead for Plain {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        loop {
            match this.socket().as_ref().read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                outcome => return Poll::Ready(outcome),
            }
            ready!(this.polled()?.poll_readable(cx))?;
        }
    }
}

impl AsyncWrite for Plain {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        loop {
            match this.socket().as_ref().write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                outcome => return Poll::Ready(outcome),
            }
            ready!(this.poll_writable(cx))?;
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Ends our direction only.
    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.socket().shutdown(Shutdown::Write))
    }
}
