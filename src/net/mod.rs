//! From an address to a byte stream. Nothing here knows MQTT, and nothing here waits for ever by design but a peer:
//! limits are the caller's, who drops the future.

mod blocking;
mod handshake;
pub mod pem;
mod plain;
pub mod psk;
pub mod tls;
mod transport;
pub mod uri;
mod verify;
pub mod ws;
mod x509;

use std::future::{Future, poll_fn};
use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_lite::{AsyncRead, AsyncWrite};
use smol::Timer;

pub use handshake::HandshakeError;
pub use plain::{Plain, Tcp, append};
pub use transport::{Security, Transport};
#[doc(hidden)]
pub use x509::fuzz as fuzz_x509;

/// How long one address is tried alone before the next one joins in (RFC 8305, section 5).
const STAGGER: Duration = Duration::from_millis(250);

/// So much memory is cleared for a read that needs it: TLS gives no more at once.
const CLEARED: usize = 16 * 1024;

/// A connected byte stream, to be driven by one task: what it may do at once it does first, writes before reads, then it
/// flushes and waits.
#[derive(Debug)]
pub enum Stream {
    /// Plain TCP.
    Tcp(Plain),
    /// TLS.
    Tls(Box<tls::Stream<Stream>>),
    /// TLS with a pre-shared key.
    #[cfg(feature = "psk")]
    Psk(psk::Stream<Stream>),
    /// WebSocket over one of the others.
    WebSocket(Box<ws::Stream<Stream>>),
}

impl Stream {
    /// The socket, if its bytes are the stream's bytes, so that somebody else may send on it.
    pub fn direct(&self) -> Option<Tcp> {
        match self {
            Stream::Tcp(tcp) => Some(tcp.socket().clone()),
            _ => None,
        }
    }

    /// Whether nobody has had to wait for it yet: a connection of plain TCP that was up at once, as one to the same machine
    /// is, and hardly any other.
    pub fn was_up_at_once(&self) -> bool {
        matches!(self, Stream::Tcp(Plain::New(_)))
    }

    /// Reads to the free memory of `buffer`, behind what is in it. A TCP socket fills memory that nobody has to clear
    /// before.
    pub fn poll_append(&mut self, cx: &mut Context<'_>, buffer: &mut Vec<u8>) -> Poll<io::Result<usize>> {
        if let Stream::Tcp(tcp) = self {
            return tcp.poll_append(cx, buffer);
        }
        let len = buffer.len();
        buffer.resize(buffer.capacity().min(len + CLEARED), 0);
        let outcome = Pin::new(self).poll_read(cx, &mut buffer[len..]);
        buffer.truncate(len + if let Poll::Ready(Ok(n)) = outcome { n } else { 0 });
        outcome
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Tcp(tcp) => Pin::new(tcp).poll_read(cx, buffer),
            Stream::Tls(tls) => Pin::new(tls).poll_read(cx, buffer),
            #[cfg(feature = "psk")]
            Stream::Psk(psk) => Pin::new(psk).poll_read(cx, buffer),
            Stream::WebSocket(socket) => Pin::new(&mut **socket).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Tcp(tcp) => Pin::new(tcp).poll_write(cx, bytes),
            Stream::Tls(tls) => Pin::new(tls).poll_write(cx, bytes),
            #[cfg(feature = "psk")]
            Stream::Psk(psk) => Pin::new(psk).poll_write(cx, bytes),
            Stream::WebSocket(socket) => Pin::new(&mut **socket).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(tcp) => Pin::new(tcp).poll_flush(cx),
            Stream::Tls(tls) => Pin::new(tls).poll_flush(cx),
            #[cfg(feature = "psk")]
            Stream::Psk(psk) => Pin::new(psk).poll_flush(cx),
            Stream::WebSocket(socket) => Pin::new(&mut **socket).poll_flush(cx),
        }
    }

    /// Ends our direction only: the peer's bytes can still be read.
    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(tcp) => Pin::new(tcp).poll_close(cx),
            Stream::Tls(tls) => Pin::new(tls).poll_close(cx),
            #[cfg(feature = "psk")]
            Stream::Psk(psk) => Pin::new(psk).poll_close(cx),
            Stream::WebSocket(socket) => Pin::new(&mut **socket).poll_close(cx),
        }
    }
}

/// The addresses of a host, in the system's order. A numeric one needs no resolver.
///
/// # Errors
/// The system's resolver fails, or knows the name but no address of it.
pub async fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    let name = host.to_owned();
    // getaddrinfo blocks, and what it waits for nobody can cancel: the caller just stops waiting
    let addresses: Vec<_> =
        blocking::unblock(move || (name.as_str(), port).to_socket_addrs()).await??.collect();
    if addresses.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
    }
    Ok(addresses)
}

/// Connects to the first of `addresses` that answers. They are tried in turn with IPv6 and IPv4 alternating, each joined
/// by the next after 250 ms or as soon as it has failed (RFC 8305).
///
/// # Errors
/// Every address failed; the error is that of the first.
pub async fn connect(addresses: &[SocketAddr]) -> io::Result<Stream> {
    let tcp = match addresses {
        [address] => dial(*address).await?,
        // boxed, as it would make the future of the common case larger
        _ => Box::pin(race(addresses)).await?,
    };
    Ok(Stream::Tcp(tcp))
}

async fn race(addresses: &[SocketAddr]) -> io::Result<Plain> {
    let mut waiting = interleave(addresses).into_iter();
    let mut first_error = None;
    let mut attempts: Vec<Pin<Box<dyn Future<Output = io::Result<Plain>> + Send>>> = Vec::new();
    loop {
        match waiting.next() {
            Some(address) => attempts.push(Box::pin(dial(address))),
            None if attempts.is_empty() => {
                return Err(first_error.unwrap_or_else(|| io::Error::other("no address")));
            }
            None => {}
        }
        let more = waiting.len() > 0;
        let race = poll_fn(|cx| {
            for index in 0..attempts.len() {
                if let Poll::Ready(outcome) = attempts[index].as_mut().poll(cx) {
                    drop(attempts.swap_remove(index));
                    return Poll::Ready(Some(outcome));
                }
            }
            Poll::Pending
        });
        let stagger = async {
            match more {
                true => Timer::after(STAGGER).await,
                false => std::future::pending().await,
            };
            None
        };
        match futures_lite::future::or(pin!(race), pin!(stagger)).await {
            Some(Ok(tcp)) => return Ok(tcp),
            Some(Err(error)) => {
                first_error.get_or_insert(error);
            }
            None => {}
        }
    }
}

async fn dial(address: SocketAddr) -> io::Result<Plain> {
    let kind = socket2::Type::STREAM.nonblocking();
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), kind, None)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_keepalive(true)?;
    match socket.connect(&address.into()) {
        Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => return Err(error),
        _ => {}
    }
    let mut tcp = Plain::New(Arc::new(TcpStream::from(socket)));
    // On the same machine it has happened already, and waiting would cost more than all the rest. Waiting by a future of
    // async-io's would leave memory in the registration that nothing uses again.
    if tcp.socket().peer_addr().is_err() {
        poll_fn(|cx| tcp.poll_writable(cx)).await?;
        tcp.socket().take_error()?.map_or(Ok(()), Err)?;
    }
    if tcp.socket().local_addr()? == address {
        // nobody listens, and the system happened to choose that very port for our end: we would talk to ourselves
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    Ok(tcp)
}

/// The addresses with the two families taking turns, the first one's family first (RFC 8305, section 4).
fn interleave(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let mut one = addresses.iter().filter(|address| address.is_ipv6() == first_is_v6);
    let mut other = addresses.iter().filter(|address| address.is_ipv6() != first_is_v6);
    let mut order = Vec::with_capacity(addresses.len());
    loop {
        let before = order.len();
        order.extend(one.next());
        order.extend(other.next());
        if order.len() == before {
            return order;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn families_alternate_and_begin_with_the_systems_choice() {
        let given = ["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1", "2.2.2.2:1"].map(address);
        let expected = ["[::1]:1", "1.1.1.1:1", "[::2]:1", "2.2.2.2:1", "[::3]:1"].map(address);
        assert_eq!(interleave(&given), expected);
        assert_eq!(interleave(&[]), []);
    }

    #[test]
    fn a_refusing_address_is_passed_over_at_once() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let good = listener.local_addr().unwrap();
        let refusing = {
            let gone = TcpListener::bind("127.0.0.1:0").unwrap();
            gone.local_addr().unwrap()
        };
        smol::block_on(async {
            let tcp = connect(&[refusing, good]).await.unwrap().direct().unwrap();
            assert_eq!(tcp.peer_addr().unwrap(), good);
            assert!(tcp.nodelay().unwrap());
            assert!(socket2::SockRef::from(&*tcp).keepalive().unwrap());
            let error = connect(&[refusing]).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        });
    }

    #[test]
    fn a_connection_was_up_at_once_if_nobody_has_had_to_wait() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        socket.set_nonblocking(true).unwrap();
        let mut stream = Stream::Tcp(Plain::New(Arc::new(socket)));
        assert!(stream.was_up_at_once());
        smol::block_on(async {
            let read = poll_fn(|cx| Poll::Ready(stream.poll_append(cx, &mut Vec::with_capacity(1)))).await;
            assert!(read.is_pending());
        });
        assert!(!stream.was_up_at_once());
    }

    #[test]
    fn numeric_hosts_resolve_to_themselves() {
        smol::block_on(async {
            assert_eq!(resolve("127.0.0.1", 5).await.unwrap(), [address("127.0.0.1:5")]);
            assert_eq!(resolve("::1", 6).await.unwrap(), [address("[::1]:6")]);
            assert!(resolve("no such\0name", 7).await.is_err());
        });
    }
}
