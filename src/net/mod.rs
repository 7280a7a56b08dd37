//! From an address to a byte stream.
mod handshake;
pub mod pem;
pub mod psk;
pub mod tls;
mod verify;
pub mod ws;
mod x509;
pub use handshake::HandshakeError;
