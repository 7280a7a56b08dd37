//! Servers to connect to, and connecting to them.

use std::future::Future;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use futures_lite::{AsyncReadExt, AsyncWriteExt, future};
use mqtt::net::HandshakeError;
use mqtt::net::tls::{self, Tls};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use smol::{Async, Timer};

use crate::certs::{Issued, p};

/// Nothing here takes so long; what does has failed.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

pub(crate) type Socket = Async<TcpStream>;

/// `openssl s_server`, which sends every line back reversed.
pub(crate) struct Server {
    child: Child,
    pub(crate) port: u16,
}

impl Server {
    /// With a certificate, its key, and further arguments.
    pub(crate) fn start(issued: &Issued, arguments: &[&str]) -> Server {
        Server::with(&[&["-cert", p(&issued.cert), "-key", p(&issued.key)], arguments].concat())
    }

    pub(crate) fn with(arguments: &[&str]) -> Server {
        let child = Command::new("openssl")
            .args(["s_server", "-accept", "127.0.0.1:0", "-rev"])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("openssl is installed");
        let mut server = Server { child, port: 0 };
        let mut output = BufReader::new(server.child.stdout.take().unwrap());
        let mut errors = server.child.stderr.take().unwrap();
        let errors = thread::spawn(move || {
            let mut text = String::new();
            let _ = errors.read_to_string(&mut text);
            text
        });
        let mut line = String::new();
        while server.port == 0 {
            line.clear();
            if output.read_line(&mut line).unwrap() == 0 {
                panic!("openssl s_server {arguments:?}: {}", errors.join().unwrap());
            }
            if let Some(port) = line.strip_prefix("ACCEPT 127.0.0.1:") {
                server.port = port.trim().parse().unwrap();
            }
        }
        thread::spawn(move || output.read_to_end(&mut Vec::new()));
        server
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server in this process: `serve` is called for each connection, in a thread of its own.
pub(crate) fn listen(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let serve = Arc::new(serve);
    thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let serve = serve.clone();
            thread::spawn(move || serve(socket));
        }
    });
    port
}

/// A rustls server in this process.
pub(crate) fn listen_tls(
    issued: &Issued,
    serve: impl Fn(rustls::StreamOwned<rustls::ServerConnection, TcpStream>) + Send + Sync + 'static,
) -> u16 {
    let config = Arc::new(server_config(issued));
    listen(move |socket| {
        let session = rustls::ServerConnection::new(config.clone()).unwrap();
        serve(rustls::StreamOwned::new(session, socket));
    })
}

pub(crate) fn server_config(issued: &Issued) -> rustls::ServerConfig {
    let chain = CertificateDer::pem_file_iter(&issued.cert).unwrap();
    let chain = chain.map(|der| rustls::Certificate(der.unwrap().to_vec())).collect();
    let key = PrivateKeyDer::from_pem_file(&issued.key).unwrap();
    let key = rustls::PrivateKey(key.secret_der().to_vec());
    rustls::ServerConfig::builder()
        .with_safe_defaults()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap()
}

/// Runs something that must not take long.
pub(crate) fn run<T>(what: impl Future<Output = T>) -> T {
    smol::block_on(future::or(what, async {
        Timer::after(LIMIT).await;
        panic!("this takes too long");
    }))
}

pub(crate) async fn dial(port: u16) -> Socket {
    Socket::connect(([127, 0, 0, 1], port)).await.unwrap()
}

/// Connects, says hello, and tells what came back or the reason why nothing did.
pub(crate) fn attempt(port: u16, host: &str, tls: &Tls) -> Result<String, String> {
    run(async {
        let mut stream =
            tls::handshake(dial(port).await, host, tls).await.map_err(|error| error.to_string())?;
        hello(&mut stream).await
    })
}

/// Says hello over a stream.
pub(crate) async fn hello<S>(stream: &mut S) -> Result<String, String>
where
    S: futures_lite::AsyncRead + futures_lite::AsyncWrite + Unpin,
{
    let said = async {
        stream.write_all(b"hello\n").await?;
        stream.flush().await?;
        let mut answer = [0; 6];
        stream.read_exact(&mut answer).await?;
        Ok(String::from_utf8_lossy(&answer).trim().to_owned())
    };
    said.await.map_err(|error: std::io::Error| match HandshakeError::of(&error) {
        Some(refusal) => refusal.to_string(),
        None => format!("no answer: {error}"),
    })
}

/// Connects twice and expects to succeed.
#[track_caller]
pub(crate) fn accepted(port: u16, host: &str, tls: &Tls) {
    for time in ["first", "second"] {
        assert_eq!(attempt(port, host, tls).as_deref(), Ok("olleh"), "{time} time");
    }
}

/// Connects twice and expects the same refusal, whose text holds all of `expected`.
#[track_caller]
pub(crate) fn refused(port: u16, host: &str, tls: &Tls, expected: &[&str]) {
    for time in ["first", "second"] {
        let why = attempt(port, host, tls).expect_err("this server was to be refused");
        assert!(
            expected.iter().all(|part| why.contains(part)),
            "{time} time: {why:?} lacks one of {expected:?}"
        );
    }
}

/// What passes between a client and a server, up to a point.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    /// The server's messages so far have passed, no more will.
    pub(crate) reached: smol::channel::Receiver<()>,
    /// The client has hung up.
    pub(crate) client_gone: smol::channel::Receiver<()>,
}

/// What a [`Proxy`] does at its point.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Then {
    Stall,
    Close,
    Reset,
}

impl Proxy {
    /// Lets `records` TLS records of the server and `bytes` of the next one pass.
    pub(crate) fn start(server: u16, records: usize, bytes: usize, then: Then) -> Proxy {
        let (tell_reached, reached) = smol::channel::unbounded();
        let (tell_gone, client_gone) = smol::channel::unbounded();
        let port = listen(move |client| {
            let upstream = TcpStream::connect(("127.0.0.1", server)).unwrap();
            let forth = (client.try_clone().unwrap(), upstream.try_clone().unwrap());
            let tell_gone = tell_gone.clone();
            thread::spawn(move || {
                let (mut client, mut upstream) = forth;
                let _ = std::io::copy(&mut client, &mut upstream);
                // s_server serves one client after the other
                let _ = upstream.shutdown(std::net::Shutdown::Both);
                let _ = tell_gone.send_blocking(());
            });
            let mut upstream = upstream;
            let mut to_client = &client;
            for _ in 0..records {
                let Some(record) = read_record(&mut upstream) else { return };
                to_client.write_all(&record).unwrap();
            }
            if bytes > 0 {
                let Some(record) = read_record(&mut upstream) else { return };
                to_client.write_all(&record[..bytes.min(record.len() - 1)]).unwrap();
            }
            match then {
                Then::Stall => {}
                Then::Close => client.shutdown(std::net::Shutdown::Both).unwrap(),
                Then::Reset => {
                    // closing with a linger time of zero is a reset; the other thread holds a handle too
                    rustix::net::sockopt::set_socket_linger(&client, Some(Duration::ZERO)).unwrap();
                    let _ = client.shutdown(std::net::Shutdown::Read);
                }
            }
            let _ = tell_reached.send_blocking(());
            if then == Then::Stall {
                // the server's end stays open until it gives up by itself or the test ends
                let _ = upstream.read_to_end(&mut Vec::new());
            }
        });
        Proxy { port, reached, client_gone }
    }
}

fn read_record(from: &mut TcpStream) -> Option<Vec<u8>> {
    let mut record = vec![0; 5];
    from.read_exact(&mut record).ok()?;
    let length = usize::from(u16::from_be_bytes([record[3], record[4]]));
    record.resize(5 + length, 0);
    from.read_exact(&mut record[5..]).ok()?;
    Some(record)
}
