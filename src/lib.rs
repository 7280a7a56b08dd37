//! The NodeMCU `mqtt` module for Lua on PCs, gateways and servers.

pub mod broker;
pub mod codec;
pub mod session;
pub mod client;
pub mod net;
pub mod sys;
