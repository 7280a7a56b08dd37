//! The client against scripted sockets and the embedded broker. Each file is a part of its life.

mod backup;
mod close;
mod connect;
mod end_to_end;
mod lease;
mod reading;
mod reconnect;
mod recovery;
mod sending;
mod shutdown;
mod support;
