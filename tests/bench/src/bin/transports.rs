//! Messages of 64 bytes at QoS 0 per second, over plain TCP and over TLS, to a sink in the same process:
//! `transports [MESSAGES]`, 3,000,000 by default. The sink counts bytes and does not
//! decrypt them: it is the client that is measured. The processor's time, of publisher,
//! network thread and sink together, says more than the rate where other programs run too.
//!
//! ```sh
//! cargo run --release --manifest-path tests/bench/Cargo.toml --bin transports
//! ```

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use mqtt::client::{Client, ClientOptions, ConnectOptions, Options, Profile, Sending, Server, Sink, State};
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
    let mut rounds = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        for (transport, rounds) in [Transport::default(), tls.clone()].iter().zip(&mut rounds) {
            let busy = processor_time();
            let rate = measure(transport, &certificates, messages);
            rounds.push((rate, (processor_time() - busy).as_nanos() as f64 / messages as f64));
        }
    }
    println!("{messages} messages of {} B, medians of {ROUNDS} rounds (lowest to highest)", PAYLOAD.len());
    let [plain, secure] = rounds.map(|rounds| {
        let (mut rates, mut costs): (Vec<_>, Vec<_>) = rounds.into_iter().unzip();
        rates.sort_by(f64::total_cmp);
        costs.sort_by(f64::total_cmp);
        (rates, costs)
    });
    for (name, (rates, costs)) in [("TCP", &plain), ("TLS", &secure)] {
        let [low, middle, high] = [0, ROUNDS / 2, ROUNDS - 1].map(|at| rates[at] / 1e6);
        println!("{name}: {middle:.2} M/s ({low:.2} to {high:.2}), {:.0} ns per message", costs[ROUNDS / 2]);
    }
    println!("TLS / TCP: {:.2}", secure.0[ROUNDS / 2] / plain.0[ROUNDS / 2]);
    let _ = std::fs::remove_dir_all(certificates);
}

/// Messages per second, from the first publish until the sink has the last byte.
fn measure(transport: &Transport, certificates: &Path, messages: usize) -> f64 {
    let (port, done) = sink(certificates, transport.security != Security::None, messages * PACKET);
    let client = Client::new(Config::default(), ClientOptions::default(), Arc::new(Nobody));
    let connect =
        ConnectOptions { client_id: "bench".into(), clean_session: true, ..ConnectOptions::default() };
    let server = Server { host: "localhost".into(), port };
    client.connect(Options::new(Profile { transport: transport.clone(), ..Profile::new(server, connect) }));
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
    let sink = thread::Builder::new().name("sink".into());
    let serve = move || {
        let (socket, _) = listener.accept().unwrap();
        socket.set_nodelay(true).unwrap();
        let mut socket = Buffered(BufReader::with_capacity(256 * 1024, socket));
        match config {
            None => {
                welcome(&mut socket);
                swallow(&mut socket, bytes);
            }
            Some(config) => {
                let session = rustls::ServerConnection::new(config).unwrap();
                let mut tls = rustls::StreamOwned::new(session, socket);
                welcome(&mut tls);
                swallow_records(&mut tls.sock, bytes);
            }
        }
        tell.send(()).unwrap();
    };
    sink.spawn(serve).expect("a thread");
    (port, done)
}

/// Takes CONNECT, sends CONNACK. Nothing else has come then: the client waits for that.
fn welcome(stream: &mut (impl Read + Write)) {
    let mut packet = [0; 256];
    let n = stream.read(&mut packet).unwrap();
    assert!(n > 2 && packet[0] == 0x10 && usize::from(packet[1]) + 2 == n, "CONNECT alone");
    stream.write_all(b"\x20\x02\x00\x00").unwrap();
    stream.flush().unwrap();
}

/// Reads on until so many bytes have come.
fn swallow(socket: &mut Buffered, bytes: usize) {
    let mut seen = 0;
    while seen < bytes {
        let length = socket.0.fill_buf().unwrap().len();
        assert!(length > 0, "the client has gone");
        socket.0.consume(length);
        seen += length;
    }
}

/// The same inside of TLS 1.3, where each record has a header of 5 bytes and at its end 17 more.
fn swallow_records(socket: &mut Buffered, bytes: usize) {
    let mut seen = 0;
    while seen < bytes {
        let mut header = [0; 5];
        socket.0.read_exact(&mut header).unwrap();
        let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
        std::io::copy(&mut socket.0.by_ref().take(length as u64), &mut std::io::sink()).unwrap();
        seen += length - 17;
    }
}

fn server_config(certificates: &Path) -> Arc<rustls::ServerConfig> {
    let chain = CertificateDer::pem_file_iter(certificates.join("server.pem")).unwrap();
    let chain = chain.map(|der| rustls::Certificate(der.unwrap().to_vec())).collect();
    let key = PrivateKeyDer::from_pem_file(certificates.join("server.key")).unwrap();
    let key = rustls::PrivateKey(key.secret_der().to_vec());
    let config = rustls::ServerConfig::builder().with_safe_defaults().with_no_client_auth();
    Arc::new(config.with_single_cert(chain, key).unwrap())
}

/// What this process has used, in steps of 10 ms.
fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    // behind the program's name, which may hold anything: user time is field 14, system time 15
    let fields = stat.rsplit_once(')').expect("a name in brackets").1;
    let ticks: u64 =
        fields.split_whitespace().skip(11).take(2).map(|field| field.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 10)
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
    fn ready(&self, _: u32) {}
}
