//! TLS and WebSocket against servers of other makes: `openssl s_server`, a rustls server, and peers that misbehave.
//! Certificates are made by the `openssl` command line when the tests run.

mod broken;
mod certificates;
mod certs;
mod client_auth;
mod data;
mod mosquitto;
mod options;
#[cfg(feature = "psk")]
mod psk;
mod server;
mod websocket;
