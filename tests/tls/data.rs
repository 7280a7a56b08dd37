//! What happens to bytes once the handshake is done.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io::{self, Read, Write};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Instant;

use futures_lite::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use mqtt::net::HandshakeError;
use mqtt::net::tls::{self, Tls};

use crate::certs::{CA, Issued, LEAF, issue};
use crate::server::{LIMIT, dial, hello, listen_tls, run, server_config};

fn pair() -> (Tls, Issued) {
    let ca = issue(None, &CA);
    let leaf = issue(Some(&ca), &LEAF);
    (Tls { ca_cert: Some(ca.pem()), ..Tls::default() }, leaf)
}

/// Both versions, the way a client can ask for one.
fn versions(tls: &Tls) -> [Tls; 2] {
    ["TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "TLS_AES_128_GCM_SHA256"]
        .map(|suite| Tls { cipher_suites: vec![suite.into()], ..tls.clone() })
}

/// Writes all of `bytes` and reads `length` bytes, in one task, whichever can be done.
pub(crate) async fn exchange<S>(stream: &mut S, bytes: &[u8], length: usize) -> io::Result<Vec<u8>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut at, mut read, mut unflushed) = (0, Vec::new(), false);
    let mut buffer = vec![0; 64 * 1024];
    poll_fn(|cx| {
        while at < bytes.len() {
            match Pin::new(&mut *stream).poll_write(cx, &bytes[at..])? {
                Poll::Ready(n) => (at, unflushed) = (at + n, true),
                Poll::Pending => break,
            }
        }
        if unflushed && Pin::new(&mut *stream).poll_flush(cx)?.is_ready() {
            unflushed = false;
        }
        while read.len() < length {
            match Pin::new(&mut *stream).poll_read(cx, &mut buffer)? {
                Poll::Ready(0) => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                Poll::Ready(n) => read.extend_from_slice(&buffer[..n]),
                Poll::Pending => break,
            }
        }
        match at == bytes.len() && !unflushed && read.len() >= length {
            true => Poll::Ready(io::Result::Ok(())),
            false => Poll::Pending,
        }
    })
    .await?;
    Ok(read)
}

/// Bytes that do not repeat soon.
pub(crate) fn sample(length: usize) -> Vec<u8> {
    (0..length as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

#[test]
fn megabytes_come_back_as_they_were_sent() {
    let (tls, leaf) = pair();
    let port = listen_tls(&leaf, |mut stream| {
        let mut buffer = vec![0; 20_000];
        while let Ok(n) = stream.read(&mut buffer) {
            if n == 0 || stream.write_all(&buffer[..n]).is_err() {
                break;
            }
        }
    });
    for tls in versions(&tls) {
        run(async {
            let mut stream = tls::handshake(dial(port).await, "localhost", &tls).await.unwrap();
            let sent = sample(5_000_000);
            assert!(exchange(&mut stream, &sent, sent.len()).await.unwrap() == sent);
        });
    }
}

#[test]
fn a_server_that_writes_before_it_reads_is_no_deadlock() {
    let (tls, leaf) = pair();
    let port = listen_tls(&leaf, |mut stream| {
        stream.write_all(&sample(5_000_000)).unwrap();
        let mut got = vec![0; 5_000_000];
        stream.read_exact(&mut got).unwrap();
        assert!(got == sample(5_000_000));
        stream.write_all(b"!").unwrap();
    });
    for tls in versions(&tls) {
        run(async {
            let mut stream = tls::handshake(dial(port).await, "localhost", &tls).await.unwrap();
            let read = exchange(&mut stream, &sample(5_000_000), 5_000_001).await.unwrap();
            assert!(read[..5_000_000] == sample(5_000_000) && read[5_000_000] == b'!');
        });
    }
}

#[test]
fn both_ends_know_that_a_close_was_meant() {
    let (tls, leaf) = pair();
    let (tell, told) = smol::channel::unbounded();
    let port = listen_tls(&leaf, move |mut stream| {
        let mut got = Vec::new();
        let outcome = stream.read_to_end(&mut got);
        tell.send_blocking(outcome.map(|_| got).map_err(|error| error.kind())).unwrap();
        // what is still on its way to a client that has closed its direction
        stream.write_all(b"late").unwrap();
        stream.conn.send_close_notify();
        stream.flush().unwrap();
    });
    for tls in versions(&tls) {
        run(async {
            let mut stream = tls::handshake(dial(port).await, "localhost", &tls).await.unwrap();
            stream.write_all(b"last words").await.unwrap();
            stream.close().await.unwrap();
            assert_eq!(told.recv().await.unwrap(), Ok(b"last words".to_vec()));
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).await.unwrap();
            assert_eq!(rest, b"late");
        });
    }
}

#[test]
fn a_server_that_just_hangs_up_has_ended_the_stream() {
    let (tls, leaf) = pair();
    let port = listen_tls(&leaf, |mut stream| {
        stream.write_all(b"bye").unwrap();
        stream.sock.shutdown(std::net::Shutdown::Write).unwrap();
        let _ = stream.sock.read_to_end(&mut Vec::new());
    });
    for tls in versions(&tls) {
        run(async {
            let mut stream = tls::handshake(dial(port).await, "localhost", &tls).await.unwrap();
            let mut got = Vec::new();
            stream.read_to_end(&mut got).await.unwrap();
            assert_eq!(got, b"bye");
        });
    }
}

#[test]
fn a_record_that_was_tampered_with_is_an_error() {
    let (tls, leaf) = pair();
    let port = listen_tls(&leaf, |mut stream| {
        stream.flush().unwrap();
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock).unwrap();
        }
        stream.sock.write_all(b"\x17\x03\x03\x00\x20never encrypted, never encrypted").unwrap();
        let _ = stream.sock.read_to_end(&mut Vec::new());
    });
    for tls in versions(&tls) {
        run(async {
            let mut stream = tls::handshake(dial(port).await, "localhost", &tls).await.unwrap();
            assert!(stream.read(&mut [0; 64]).await.is_err());
        });
    }
}

#[test]
fn one_byte_at_a_time_is_enough() {
    /// Reads and writes single bytes.
    struct Trickle<S>(S);
    impl<S: AsyncRead + Unpin> AsyncRead for Trickle<S> {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buffer: &mut [u8],
        ) -> Poll<io::Result<usize>> {
            Pin::new(&mut self.0).poll_read(cx, &mut buffer[..1])
        }
    }
    impl<S: AsyncWrite + Unpin> AsyncWrite for Trickle<S> {
        fn poll_write(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            Pin::new(&mut self.0).poll_write(cx, &bytes[..bytes.len().min(1)])
        }
        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_flush(cx)
        }
        fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_close(cx)
        }
    }
    let (tls, leaf) = pair();
    let server = crate::server::Server::start(&leaf, &[]);
    for tls in versions(&tls) {
        run(async {
            let mut stream =
                tls::handshake(Trickle(dial(server.port).await), "localhost", &tls).await.unwrap();
            assert_eq!(hello(&mut stream).await.as_deref(), Ok("olleh"));
        });
    }
}

/// A connection in memory that wakes nobody, so that a test sees every wake that TLS itself causes.
#[derive(Clone, Default)]
struct Wire(Arc<Mutex<Ends>>);

#[derive(Default)]
struct Ends {
    to_client: VecDeque<u8>,
    to_server: VecDeque<u8>,
    /// The server's end is gone: writing fails.
    reset: bool,
    /// How often the client has written.
    writes: usize,
    /// So many more bytes of the client are taken; none: all.
    room: Option<usize>,
    /// Who waits for room.
    waiting: Option<Waker>,
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut ends = self.0.lock().unwrap();
        match ends.to_client.read(buffer)? {
            0 if ends.reset => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            0 => Poll::Pending,
            n => Poll::Ready(Ok(n)),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut ends = self.0.lock().unwrap();
        ends.writes += 1;
        if ends.reset {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let n = ends.room.map_or(bytes.len(), |room| room.min(bytes.len()));
        if n == 0 {
            ends.waiting = Some(cx.waker().clone());
            return Poll::Pending;
        }
        ends.room = ends.room.map(|room| room - n);
        Poll::Ready(ends.to_server.write(&bytes[..n]))
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A client and a server whose handshake is done and whose messages have all been read.
fn connected() -> (tls::Stream<Wire>, rustls::ServerConnection, Wire) {
    let (tls, leaf) = pair();
    let wire = Wire::default();
    let mut server = rustls::ServerConnection::new(Arc::new(server_config(&leaf))).unwrap();
    let mut handshake = pin!(tls::handshake(wire.clone(), "localhost", &tls));
    let mut context = Context::from_waker(Waker::noop());
    let begin = Instant::now();
    let mut stream = loop {
        assert!(begin.elapsed() < LIMIT);
        let outcome = handshake.as_mut().poll(&mut context);
        serve(&mut server, &wire);
        match outcome {
            Poll::Ready(outcome) => break outcome.unwrap(),
            Poll::Pending => std::thread::yield_now(),
        }
    };
    serve(&mut server, &wire);
    // session tickets
    assert!(Pin::new(&mut stream).poll_read(&mut context, &mut [0; 16]).is_pending());
    (stream, server, wire)
}

/// The server's turn.
fn serve(server: &mut rustls::ServerConnection, wire: &Wire) {
    let mut ends = wire.0.lock().unwrap();
    while !ends.to_server.is_empty() {
        server.read_tls(&mut ends.to_server).unwrap();
        server.process_new_packets().unwrap();
    }
    while server.wants_write() {
        server.write_tls(&mut ends.to_client).unwrap();
    }
}

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_write_that_finds_input_wakes_its_task_to_read_it() {
    for flush in [false, true] {
        let (mut stream, mut server, wire) = connected();
        let wakes = Arc::new(Wakes::default());
        let waker = Waker::from(wakes.clone());
        let mut context = Context::from_waker(&waker);
        // an ordinary write wakes nobody
        assert!(Pin::new(&mut stream).poll_write(&mut context, b"first").is_ready());
        assert!(Pin::new(&mut stream).poll_flush(&mut context).is_ready());
        assert_eq!(wakes.0.load(Ordering::Relaxed), 0);
        // input that the write takes off the wire, so that no event of the wire will tell of it
        server.writer().write_all(b"news").unwrap();
        serve(&mut server, &wire);
        assert!(Pin::new(&mut stream).poll_write(&mut context, b"second").is_ready());
        if flush {
            assert!(Pin::new(&mut stream).poll_flush(&mut context).is_ready());
        }
        assert!(wire.0.lock().unwrap().to_client.is_empty(), "the write has read");
        assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
        let mut buffer = [0; 16];
        assert!(matches!(Pin::new(&mut stream).poll_read(&mut context, &mut buffer), Poll::Ready(Ok(4))));
        assert_eq!(&buffer[..4], b"news");
        assert!(Pin::new(&mut stream).poll_read(&mut context, &mut buffer).is_pending());
        assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
    }
}

/// What the server gets out of so many bytes; whether that is the end.
fn received(server: &mut rustls::ServerConnection, wire: &Wire, length: usize) -> (Vec<u8>, bool) {
    let (mut got, mut at, mut ended) = (vec![0; length + 1], 0, false);
    // rustls keeps no more than a few records that nobody reads
    while !wire.0.lock().unwrap().to_server.is_empty() {
        server.read_tls(&mut wire.0.lock().unwrap().to_server).unwrap();
        server.process_new_packets().unwrap();
        loop {
            match server.reader().read(&mut got[at..]) {
                Ok(0) => break ended = true,
                Ok(n) => at += n,
                Err(error) => break assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
        }
    }
    got.truncate(at);
    (got, ended)
}

#[test]
fn many_records_go_out_in_one_write_and_none_stays_behind() {
    let (mut stream, mut server, wire) = connected();
    let sent = sample(100_000);
    wire.0.lock().unwrap().writes = 0;
    run(async {
        stream.write_all(&sent).await.unwrap();
        stream.flush().await.unwrap();
    });
    assert_eq!(wire.0.lock().unwrap().writes, 1);
    assert!(received(&mut server, &wire, sent.len()) == (sent, false));
}

#[test]
fn a_flush_and_a_close_that_have_to_wait_go_on_where_they_stopped() {
    for closes in [false, true] {
        let (mut stream, mut server, wire) = connected();
        let sent = sample(50_000);
        let wakes = Arc::new(Wakes::default());
        let waker = Waker::from(wakes.clone());
        let mut context = Context::from_waker(&waker);
        wire.0.lock().unwrap().room = Some(0);
        let mut at = 0;
        while at < sent.len() {
            let Poll::Ready(n) = Pin::new(&mut stream).poll_write(&mut context, &sent[at..]) else {
                panic!()
            };
            at += n.unwrap();
        }
        let mut step = || match closes {
            true => Pin::new(&mut stream).poll_close(&mut context),
            false => Pin::new(&mut stream).poll_flush(&mut context),
        };
        for (woken, room) in [Some(1), Some(7_000), Some(30_000), None].into_iter().enumerate() {
            assert!(step().is_pending(), "room {room:?}");
            assert_eq!(wakes.0.load(Ordering::Relaxed), woken, "nobody else wakes");
            let mut ends = wire.0.lock().unwrap();
            ends.room = room;
            let waiting = ends.waiting.take().expect("it waits for room");
            drop(ends);
            waiting.wake();
        }
        assert!(matches!(step(), Poll::Ready(Ok(()))));
        assert!(received(&mut server, &wire, sent.len()) == (sent, closes), "closes: {closes}");
    }
}

#[test]
fn more_than_is_gathered_at_once_waits_for_room() {
    let (mut stream, mut server, wire) = connected();
    let sent = sample(1_000_000);
    wire.0.lock().unwrap().room = Some(0);
    let mut context = Context::from_waker(Waker::noop());
    let mut at = 0;
    while let Poll::Ready(n) = Pin::new(&mut stream).poll_write(&mut context, &sent[at..]) {
        at += n.unwrap();
        assert!(at < 400_000, "memory has no bound");
    }
    assert!(wire.0.lock().unwrap().waiting.take().is_some(), "it waits for room");
    wire.0.lock().unwrap().room = None;
    run(async {
        stream.write_all(&sent[at..]).await.unwrap();
        stream.flush().await.unwrap();
    });
    assert!(received(&mut server, &wire, sent.len()) == (sent, false));
}

#[test]
fn an_idle_connection_wakes_nobody() {
    let (mut stream, mut server, wire) = connected();
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(wakes.clone());
    let mut context = Context::from_waker(&waker);
    // a keep-alive's worth of it, in both directions
    assert!(Pin::new(&mut stream).poll_write(&mut context, b"\xc0\x00").is_ready());
    assert!(Pin::new(&mut stream).poll_flush(&mut context).is_ready());
    assert_eq!(received(&mut server, &wire, 2), (b"\xc0\x00".to_vec(), false));
    server.writer().write_all(b"\xd0\x00").unwrap();
    serve(&mut server, &wire);
    assert!(matches!(Pin::new(&mut stream).poll_read(&mut context, &mut [0; 16]), Poll::Ready(Ok(2))));
    for _ in 0..3 {
        assert!(Pin::new(&mut stream).poll_flush(&mut context).is_ready());
        assert!(Pin::new(&mut stream).poll_read(&mut context, &mut [0; 16]).is_pending());
    }
    assert_eq!(wakes.0.load(Ordering::Relaxed), 0);
}

#[test]
fn the_servers_last_words_are_heard_though_writing_fails_first() {
    // an alert, as a server sends it that does not like the client's certificate, and a reset behind it
    let (mut stream, mut server, wire) = connected();
    server.read_tls(&mut &b"\x17\x03\x03\x00\x20never encrypted, never encrypted"[..]).unwrap();
    server.process_new_packets().unwrap_err();
    serve(&mut server, &wire);
    wire.0.lock().unwrap().reset = true;
    let error = run(async {
        let written = async {
            stream.write_all(b"CONNECT").await?;
            stream.flush().await
        };
        match written.await {
            Ok(()) => stream.read(&mut [0; 16]).await.unwrap_err(),
            Err(error) => error,
        }
    });
    let detail = HandshakeError::of(&error).expect("an alert is a handshake error").to_string();
    assert!(detail.contains("BadRecordMac"), "{detail}");
}

#[test]
fn without_last_words_a_failed_write_is_reported() {
    let (mut stream, _server, wire) = connected();
    wire.0.lock().unwrap().reset = true;
    let error = run(async { hello(&mut stream).await }).unwrap_err();
    // that of the write, or of the read that goes with it
    assert!(error.contains("broken pipe") || error.contains("connection reset"), "{error}");
}
