//! The embedded broker behind TLS and WebSocket, for tests of transports: `front CERT KEY CA`, all files with PEM data.
//!
//! Prints a line `NAME PORT` for each way in, on 127.0.0.1: `mqtt`, `mqtts`, `mutual` (with a client certificate of CA,
//! which is required), `ws`, `wss`. Serves until its standard input ends.

use std::io::{self, Read};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;

use async_tls::TlsAcceptor;
use async_tungstenite::accept_hdr_async;
use async_tungstenite::tungstenite::Message;
use async_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use async_tungstenite::tungstenite::http::HeaderValue;
use futures_lite::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, StreamExt, future};
use mqtt::broker::{Broker, BrokerOptions};
use rustls::server::AllowAnyAuthenticatedClient;
use rustls::{Certificate, PrivateKey, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use smol::Async;

type Error = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Error> {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let [cert, key, ca] = &arguments[..] else { return Err("front CERT KEY CA".into()) };
    let tls = |client_ca| Ok::<_, Error>(Some(acceptor(cert.as_ref(), key.as_ref(), client_ca)?));
    let broker = Broker::start(BrokerOptions::default())?;
    println!("mqtt {}", broker.port());
    for (name, tls, websocket) in [
        ("mqtts", tls(None)?, false),
        ("mutual", tls(Some(ca.as_ref()))?, false),
        ("ws", None, true),
        ("wss", tls(None)?, true),
    ] {
        let listener = Async::<TcpListener>::bind((Ipv4Addr::LOCALHOST, 0))?;
        println!("{name} {}", listener.get_ref().local_addr()?.port());
        smol::spawn(accept(listener, tls, websocket, broker.port())).detach();
    }
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

fn certificates(file: &Path) -> Result<Vec<Certificate>, Error> {
    CertificateDer::pem_file_iter(file)?.map(|der| Ok(Certificate(der?.to_vec()))).collect()
}

fn acceptor(cert: &Path, key: &Path, client_ca: Option<&Path>) -> Result<TlsAcceptor, Error> {
    let key = PrivateKey(PrivateKeyDer::from_pem_file(key)?.secret_der().to_vec());
    let config = ServerConfig::builder().with_safe_defaults();
    let config = match client_ca {
        None => config.with_no_client_auth(),
        Some(file) => {
            let mut roots = RootCertStore::empty();
            for ca in certificates(file)? {
                roots.add(&ca)?;
            }
            config.with_client_cert_verifier(AllowAnyAuthenticatedClient::new(roots).boxed())
        }
    };
    Ok(TlsAcceptor::from(Arc::new(config.with_single_cert(certificates(cert)?, key)?)))
}

async fn accept(listener: Async<TcpListener>, tls: Option<TlsAcceptor>, websocket: bool, broker: u16) {
    while let Ok((client, _)) = listener.accept().await {
        let tls = tls.clone();
        let Ok(socket) = client.get_ref().try_clone().and_then(Async::new) else { continue };
        let served = async move {
            client.get_ref().set_nodelay(true)?;
            let broker = Async::<TcpStream>::connect((Ipv4Addr::LOCALHOST, broker)).await?;
            broker.get_ref().set_nodelay(true)?;
            match tls {
                Some(tls) => enter(tls.accept(client).await?, websocket, broker).await,
                None => enter(client, websocket, broker).await,
            }
        };
        smol::spawn(async move {
            // a client that was refused, or has gone: the tests hear of it at their end
            drop(served.await);
            hang_up(socket).await;
        })
        .detach();
    }
}

/// Ends a connection. With input that nobody has read the system would say so by a reset, which overtakes the alert that a
/// refused client is to see.
async fn hang_up(mut socket: Async<TcpStream>) {
    let _ = socket.get_ref().shutdown(Shutdown::Write);
    while socket.read(&mut [0; 1024]).await.is_ok_and(|n| n > 0) {}
}

async fn enter<S>(client: S, websocket: bool, broker: Async<TcpStream>) -> Result<(), Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    if websocket {
        return relay_frames(client, broker).await;
    }
    let (from_client, to_client) = smol::io::split(client);
    let (from_broker, to_broker) = smol::io::split(broker);
    // one side's end is the end: the broker has had DISCONNECT, the client its last packet
    future::or(pipe(from_client, to_broker), pipe(from_broker, to_client)).await?;
    Ok(())
}

/// Passes bytes on until they end, and then that too.
async fn pipe(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let n = from.read(&mut buffer).await?;
        if n == 0 {
            return to.close().await;
        }
        to.write_all(&buffer[..n]).await?;
        to.flush().await?;
        // async_tls reads while it writes and tells nobody: has the task look at the other direction too
        future::yield_now().await;
    }
}

async fn relay_frames<S>(client: S, mut broker: Async<TcpStream>) -> Result<(), Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut to_client, mut from_client) = accept_hdr_async(client, agree).await?.split();
    let (mut from_broker, mut to_broker) = smol::io::split(&mut broker);
    let inward = async {
        while let Some(message) = from_client.next().await {
            if let Message::Binary(bytes) = message? {
                to_broker.write_all(&bytes).await?;
            }
        }
        to_broker.close().await?;
        Ok::<_, Error>(())
    };
    let outward = async {
        let mut buffer = vec![0; BUFFER];
        loop {
            let n = from_broker.read(&mut buffer).await?;
            if n == 0 {
                return Ok(to_client.close(None).await?);
            }
            to_client.send(Message::binary(buffer[..n].to_vec())).await?;
            future::yield_now().await; // as in `pipe`
        }
    };
    future::or(inward, outward).await
}

#[allow(clippy::result_large_err, reason = "the signature is the library's")]
fn agree(request: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
    if request.headers().get("Sec-WebSocket-Protocol").is_some_and(|offered| offered == "mqtt") {
        response.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_static("mqtt"));
    }
    Ok(response)
}

const BUFFER: usize = 16 * 1024;
