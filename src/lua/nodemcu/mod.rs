//! NodeMCU's words: the modules `mqtt`, `tmr`, `sjson` and `file` as its manuals describe them.
//!
//! | file | job |
//! | --- | --- |
//! | `mqtt` | the module's table, `mqtt.Client` |
//! | `settings` | the arguments of `mqtt.Client` |
//! | `client` | the methods of a client |
//! | `quick` | what most clients call, for the common arguments |
//! | `connect` | the argument shapes of `client:connect` |
//! | `device` | from a client's events to its callbacks |
//! | `reason` | the numbers of `connfail` |
//! | `secure` | the table of `client:connect` about TLS, pre-shared keys and WebSocket |
//! | `tmr` | timers |
//! | `sjson` | JSON |
//! | `file` | a folder as the device's file system |
//! | `host` | the host's time and names, for modules in Lua |

mod client;
mod connect;
mod device;
pub(crate) mod file;
pub(crate) mod host;
pub(crate) mod mqtt;
pub(crate) mod quick;
mod reason;
mod secure;
pub(crate) mod settings;
pub(crate) mod sjson;
pub(crate) mod tmr;

pub use secure::fuzz as fuzz_secure;
pub use sjson::fuzz as fuzz_sjson;
