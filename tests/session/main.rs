//! The session against bytes: no socket, no sleep, a clock that the test moves.
//!
//! A test whose name starts with `mqtt_` and a number shows that normative statement of the OASIS Standard of
//! 29 October 2014.

// A test exports nothing: here `pub` only means for the other modules.
#![allow(unreachable_pub)]

mod always;
mod connect;
mod cut;
mod disconnect;
mod ids;
mod keep_alive;
mod lower;
mod moves;
mod outgoing;
mod queue;
mod random;
mod receive;
mod resume;
mod subscribe;
mod support;
mod transmit;
mod violations;
mod waiting;
