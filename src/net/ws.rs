//! WebSocket (RFC 6455) over any byte stream, as MQTT uses it (MQTT 3.1.1, section 6): subprotocol `mqtt`, binary frames
//! only, packets cut and joined across frames as it happens.
//!
//! Each write is one frame, so it pays to write much at once. Pings are answered by reading. To close, end our direction
//! (`poll_close` sends a close frame) and read to the end: the server answers with its own close frame. A server that
//! closes first gets its answer, and reading ends.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use async_tungstenite::bytes::{ByteReader, ByteWriter};
use async_tungstenite::tungstenite::error::{ProtocolError, SubProtocolError};
use async_tungstenite::tungstenite::handshake::client::{Request, generate_key};
use async_tungstenite::tungstenite::http::{HeaderName, HeaderValue, Uri, header, uri};
use async_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use async_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use async_tungstenite::tungstenite::{Error, Message};
use async_tungstenite::{WebSocketReceiver, WebSocketSender, client_async_with_config};
use futures_lite::{AsyncRead, AsyncWrite};

use super::handshake::HandshakeError;

/// The frames we send are at most so large: they are copied to be masked.
const MAX_FRAME: usize = 64 * 1024;

/// The frames we accept: MQTT's largest packet fits in. Memory is reserved as a frame announces, and used as it comes.
const MAX_MESSAGE: usize = 5 + 268_435_455;

/// Per connection, and so much per read.
const READ_BUFFER: usize = 8 * 1024;

/// So many frames without data are taken in a row, then it is the turn of others.
const MAX_IDLE_FRAMES: usize = 32;

/// How to open a WebSocket.
#[derive(Clone, PartialEq, Eq)]
pub struct WebSocket {
    /// Path and query, from the first `/` on.
    pub path: String,
    /// Further headers of the request, in their order.
    pub headers: Vec<(String, String)>,
}

impl WebSocket {
    /// The path when none is given.
    pub const PATH: &str = "/mqtt";
}

impl Default for WebSocket {
    fn default() -> WebSocket {
        WebSocket { path: WebSocket::PATH.into(), headers: Vec::new() }
    }
}

impl fmt::Debug for WebSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // a query or a header may hold a token
        let path = self.path.split('?').next().unwrap_or_default();
        let names: Vec<_> = self.headers.iter().map(|(name, _)| name).collect();
        f.debug_struct("WebSocket").field("path", &path).field("headers", &names).finish_non_exhaustive()
    }
}

/// Whether a request can be made of this.
///
/// # Errors
/// What is wrong, for people; without the values of headers.
pub fn check(socket: &WebSocket) -> Result<(), String> {
    request(socket, "localhost", 80, false).map(drop)
}

/// Opens a WebSocket over a byte stream to `host`. There is no limit of time: drop the future.
///
/// # Errors
/// What the server did not agree to. No byte of MQTT has been sent then.
pub async fn handshake<S>(
    stream: S,
    host: &str,
    port: u16,
    secure: bool,
    socket: &WebSocket,
) -> Result<Stream<S>, HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let request = request(socket, host, port, secure).map_err(HandshakeError::new)?;
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(0)
        .max_frame_size(Some(MAX_MESSAGE))
        .max_message_size(Some(MAX_MESSAGE));
    let (opened, _response) =
        client_async_with_config(request, stream, Some(config)).await.map_err(|error| explain(&error))?;
    let (sender, receiver) = opened.split();
    Ok(Stream {
        reader: ByteReader::new(Binary { receiver, ended: false }),
        writer: ByteWriter::new(sender),
        ended: false,
    })
}

/// A byte stream inside of a WebSocket.
pub struct Stream<S> {
    reader: ByteReader<Binary<S>>,
    writer: ByteWriter<WebSocketSender<S>>,
    /// Reading has come to the end, whichever it was.
    ended: bool,
}

impl<S> fmt::Debug for Stream<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ws::Stream")
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Stream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = ready!(Pin::new(&mut self.reader).poll_read(cx, buffer));
        self.ended |= !matches!(outcome, Ok(n) if n > 0);
        Poll::Ready(outcome)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Stream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let frame = &bytes[..bytes.len().min(MAX_FRAME)];
        Pin::new(&mut self.writer).poll_write(cx, frame)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.writer).poll_flush(cx)
    }

    /// Sends a close frame. The stream below stays open, for the server's answer.
    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.ended {
            return Poll::Ready(Ok(())); // all is said
        }
        Pin::new(&mut self.writer).poll_close(cx)
    }
}

/// The data in binary messages, as the byte adapter wants it: that would take the text of a ping for data, and an empty
/// message for the end.
struct Binary<S> {
    receiver: WebSocketReceiver<S>,
    ended: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> futures_lite::Stream for Binary<S> {
    type Item = Result<Message, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        for _ in 0..MAX_IDLE_FRAMES {
            match ready!(Pin::new(&mut self.receiver).poll_next(cx)) {
                Some(Ok(Message::Binary(bytes))) if bytes.is_empty() => {}
                Some(Ok(message @ Message::Binary(_))) => return Poll::Ready(Some(Ok(message))),
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                Some(Ok(Message::Text(_))) => {
                    self.ended = true;
                    let error =
                        invalid("the server sent a text frame, MQTT needs binary ones [MQTT-6.0.0-1]");
                    return Poll::Ready(Some(Err(error)));
                }
                Some(Ok(Message::Close(frame))) => {
                    self.ended = true;
                    // sends our close frame, if the server's is not an answer to it
                    let _ = Pin::new(&mut self.receiver).poll_next(cx);
                    return Poll::Ready(reason(frame).map(Err));
                }
                // without a close frame: so ends many a server, and plain TCP too
                Some(Err(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake))) | None => {
                    self.ended = true;
                    return Poll::Ready(None);
                }
                Some(Err(error)) => {
                    self.ended = true;
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// What is to be reported when the server has closed: nothing, if it is no complaint.
fn reason(frame: Option<CloseFrame>) -> Option<Error> {
    let frame = frame?;
    match frame.code {
        CloseCode::Normal | CloseCode::Away | CloseCode::Status => None,
        code => {
            let code = u16::from(code);
            let text = frame.reason.as_str().escape_debug();
            Some(Error::Io(io::Error::new(
                io::ErrorKind::ConnectionAborted,
                format!("the server closed the WebSocket: {code} {text}"),
            )))
        }
    }
}

fn invalid(why: &str) -> Error {
    Error::Io(io::Error::new(io::ErrorKind::InvalidData, why))
}

/// The request that opens a WebSocket (RFC 6455, section 4.1).
fn request(socket: &WebSocket, host: &str, port: u16, secure: bool) -> Result<Request, String> {
    let is_allowed = |byte: u8| byte.is_ascii_graphic() && byte != b'#';
    let path = Some(&socket.path).filter(|path| path.starts_with('/') && path.bytes().all(is_allowed));
    let path: uri::PathAndQuery = path
        .and_then(|path| path.parse().ok())
        .ok_or("the path of a WebSocket begins with / and has only characters that a URI may have")?;
    let (scheme, default_port) = if secure { ("wss", 443) } else { ("ws", 80) };
    let host = host.split_once('%').map_or(host, |(address, _zone)| address);
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let authority = if port == default_port { host } else { format!("{host}:{port}") };
    let bad_host = |_| format!("{authority:?} is no host that a WebSocket can be opened to");
    let uri = Uri::builder().scheme(scheme).authority(authority.as_str()).path_and_query(path);
    let mut request = Request::new(());
    *request.uri_mut() = uri.build().map_err(bad_host)?;
    let key = HeaderValue::from_str(&generate_key()).expect("base64 is valid in a header");
    let host = HeaderValue::from_str(&authority).expect("the URI has accepted the authority");
    let headers = request.headers_mut();
    for (name, value) in [
        (header::HOST, host),
        (header::CONNECTION, HeaderValue::from_static("Upgrade")),
        (header::UPGRADE, HeaderValue::from_static("websocket")),
        (header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13")),
        (header::SEC_WEBSOCKET_KEY, key),
        (header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("mqtt")),
    ] {
        headers.insert(name, value);
    }
    for (name, value) in &socket.headers {
        let header = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| format!("headers: {name:?} is no name of a header"))?;
        if header.as_str().starts_with("sec-websocket-") || OWN_HEADERS.contains(&header) {
            return Err(format!("headers: {name} belongs to the handshake itself"));
        }
        let mut value = HeaderValue::from_bytes(value.as_bytes())
            .map_err(|_| format!("headers: the value of {name} has a character that is not allowed"))?;
        value.set_sensitive(true);
        headers.append(header, value);
    }
    Ok(request)
}

/// Headers that a request of ours has already, or that would make another request of it.
const OWN_HEADERS: [HeaderName; 5] =
    [header::HOST, header::CONNECTION, header::UPGRADE, header::CONTENT_LENGTH, header::TRANSFER_ENCODING];

fn explain(error: &Error) -> HandshakeError {
    if let Error::Io(error) = error
        && let Some(below) = HandshakeError::of(error)
    {
        return below.clone();
    }
    HandshakeError::new(match error {
        Error::Http(response) => {
            let status = response.status();
            format!("the server answers the WebSocket request with HTTP status {status}")
        }
        Error::Protocol(ProtocolError::SecWebSocketSubProtocolError(SubProtocolError::NoSubProtocol)) => {
            "the server's WebSocket does not speak the subprotocol mqtt".into()
        }
        Error::Protocol(ProtocolError::SecWebSocketSubProtocolError(_)) => {
            "the server's WebSocket speaks another subprotocol than mqtt".into()
        }
        Error::Protocol(ProtocolError::HandshakeIncomplete) => {
            "the server closed the connection during the WebSocket handshake".into()
        }
        Error::Protocol(ProtocolError::HttparseError(_) | ProtocolError::WrongHttpVersion) => {
            "the server does not speak HTTP, or not on this port".into()
        }
        Error::Io(error) => format!("the connection broke during the WebSocket handshake: {error}"),
        other => format!("the WebSocket handshake failed: {other}"),
    })
}
