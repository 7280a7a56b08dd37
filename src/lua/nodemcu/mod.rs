//! NodeMCU's words: the modules `mqtt` and `tmr` as its manuals describe them.
//!
//! | file | job |
//! | --- | --- |
//! | `mqtt` | the module's table, `mqtt.Client` and its arguments |
//! | `client` | the methods of a client |
//! | `connect` | the argument shapes of `client:connect` |
//! | `device` | from a client's events to its callbacks |
//! | `reason` | the numbers of `connfail` |
//! | `secure` | the table of `client:connect` about TLS, pre-shared keys and WebSocket |
//! | `tmr` | timers |

mod client;
mod connect;
mod device;
pub(crate) mod mqtt;
mod reason;
mod secure;
pub(crate) mod tmr;
