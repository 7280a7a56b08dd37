//! The NodeMCU `mqtt` module for Lua on PCs, gateways and servers.

pub mod codec;
pub mod net;
pub mod session;
