//! Messages of 64 bytes at QoS 0 per second, over plain TCP and over TLS, to a sink in the same process:
//! `transports [MESSAGES]`, 3,000,000 by default. The sink decrypts and counts bytes.
//!
//! ```sh
//! cargo run --release --manifest-path tests/bench/Cargo.toml --bin transports
//! ```

use std::io::{BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use mqtt::client::{
    Client, ClientOptions, ConnectOptions, Options, Profile, Sending, Server, Sink, State,
};
use mqtt::codec::Qos;
use mqtt::net::pem::Pem;
use mqtt::net::tls::Tls;
use mqtt::net::{Security, Transport};
use mqtt::session::{Config, Events, Refused, Token};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

const TOPIC: &str = "bench/qos0";
const PAYLOAD: [u8; 64] = [b'x'; 64];
/// Header, length, topic with its length, payload.
const PACKET: usize = 2 + 2 + TOPIC.len() + PAYLOAD.len();
const ROUNDS: usize = 5;

fn main() {
    let messages: usize = std::env::args().nth(1).map_or(3_000_000, |text| text.parse().expect("a number"));
    let certificates = make_certificates();
    let tls = Tls { ca_cert: Some(Pem::Path(certificates.join("ca.pem"))), ..Tls::default() };
    let tls = Transport { security: Security::Tls(tls), websocket: None };
    let mut rates = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        for (transport, rates) in [Transport::default(), tls.clone()].iter().zip(&mut rates) {
            rates.push(measure(transport, &certificates, messages));
        }
    }
    let [plain, secure] = rates.map(|mut rates| {
        rates.sort_by(f64::total_cmp);
        println!("  {}", rates.iter().map(|rate| format!("{:.2}", rate / 1e6)).collect::<Vec<_>>().join("  "));
        rates[ROUNDS / 2]
    });
    let ratio = secure / plain;
    println!("{messages} messages of {} B, median of {ROUNDS}:", PAYLOAD.len());
    println!("TCP {:.2} M/s, TLS {:.2} M/s, TLS / TCP {ratio:.2}", plain / 1e6, secure / 1e6);
    let _ = std::fs::remove_dir_all(certificates);
}

/// Messages per second, from the first publish until the sink has the last byte.
fn measure(transport: &Transport, certificates: &Path, messages: usize) -> f64 {
    let (port, done) = sink(certificates, transport.security != Security::None, messages * PACKET);
    let client = Client::new(Config::default(), ClientOptions::default(), Arc::new(Nobody));
    let connect = ConnectOptions { client_id: "bench".into(), clean_session: true, ..ConnectOptions::default() };
    let server = Server { host: "localhost".into(), port };
    client.connect(Options::new(Profile { server, transport: transport.clone(), connect }));
    while client.state() != State::Connected {
        assert_eq!(client.state(), State::Connecting, "the sink does not accept");
        thread::sleep(Duration::from_millis(1));
    }
    let mut events = Events::new();
    let start = Instant::now();
    for _ in 0..messages {
        while let Err(refused) =
            client.publish(TOPIC, &PAYLOAD, Qos::AtMostOnce, false, Token::NONE, Sending::Soon)
        {
            assert_eq!(refused, Refused::QueueFull);
            client.swap_events(&mut events);
            while events.pop().is_some() {}
            thread::sleep(Duration::from_micros(200));
        }
    }
    client.flush();
    done.recv().expect("the sink got everything");
    let rate = messages as f64 / start.elapsed().as_secs_f64();
    client.close();
    rate
}

/// Accepts one client and tells when so many bytes have come after CONNECT.
fn sink(certificates: &Path, secure: bool, bytes: usize) -> (u16, Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let config = secure.then(|| server_config(certificates));
    let (tell, done) = channel();
    thread::spawn(move || {
        let (socket, _) = listener.accept().unwrap();
        socket.set_nodelay(true).unwrap();
        match config {
            None => swallow(socket, bytes, || tell.send(()).unwrap()),
            Some(config) => {
                let session = rustls::ServerConnection::new(config).unwrap();
                // rustls itself reads 4 KiB at a time
                let socket = Buffered(BufReader::with_capacity(256 * 1024, socket));
                swallow(rustls::StreamOwned::new(session, socket), bytes, || tell.send(()).unwrap());
            }
        }
    });
    (port, done)
}

fn swallow(mut stream: impl Read + Write, bytes: usize, done: impl Fn()) {
    let mut buffer = vec![0; 256 * 1024];
    let n = stream.read(&mut buffer).unwrap();
    assert!(n > 2 && buffer[0] == 0x10 && usize::from(buffer[1]) + 2 == n, "CONNECT alone");
    stream.write_all(b"\x20\x02\x00\x00").unwrap();
    stream.flush().unwrap();
    let mut seen = 0;
    while seen < bytes {
        seen += stream.read(&mut buffer).unwrap();
    }
    done();
    while matches!(stream.read(&mut buffer), Ok(1..)) {}
}

fn server_config(certificates: &Path) -> Arc<rustls::ServerConfig> {
    let chain = CertificateDer::pem_file_iter(certificates.join("server.pem")).unwrap();
    let chain = chain.map(|der| rustls::Certificate(der.unwrap().to_vec())).collect();
    let key = PrivateKeyDer::from_pem_file(certificates.join("server.key")).unwrap();
    let key = rustls::PrivateKey(key.secret_der().to_vec());
    let config = rustls::ServerConfig::builder().with_safe_defaults().with_no_client_auth();
    Arc::new(config.with_single_cert(chain, key).unwrap())
}

fn make_certificates() -> PathBuf {
    let folder = std::env::temp_dir().join(format!("nodemcu-mqtt-bench-{}", std::process::id()));
    std::fs::create_dir(&folder).unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../support/certificates");
    assert!(Command::new(script).arg(&folder).output().unwrap().status.success());
    folder
}

/// Reads much at once, writes as it comes.
struct Buffered(BufReader<TcpStream>);

impl Read for Buffered {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Buffered {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.get_ref().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Events are looked at when the queue is full.
struct Nobody;

impl Sink for Nobody {
    fn ready(&self) {}
}

