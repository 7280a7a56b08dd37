//! TLS and WebSocket against servers of other makes: `openssl s_server`, a rustls server, and peers that misbehave.
//! Certificates are made by the `openssl` command line when the tests run.

mod broken;
#[path = "../support/mosquitto.rs"]
mod broker;
mod certificates;
mod certs;
mod client;
mod client_auth;
mod data;
mod mosquitto;
mod options;
#[allow(dead_code, reason = "it has more than is needed here")]
#[path = "../client/support.rs"]
mod peers;
#[cfg(feature = "psk")]
mod psk;
mod server;
mod websocket;
