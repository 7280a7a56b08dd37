//! The NodeMCU `mqtt` module for Lua on PCs, gateways and servers.
//!
//! Bytes become packets in [`codec`], packets become state and events in [`session`], [`client`] gives a session a socket
//! and a clock, [`lua`] gives a client a face. Each layer knows only those before it.
//!
//! | module | what it is for | what holds there |
//! | --- | --- | --- |
//! | [`codec`] | bytes and packets, topics and filters | pure; nothing malformed passes, whatever pieces the bytes come in |
//! | [`session`] | the protocol's state | pure: time is an argument, bytes go in and out, it never waits |
//! | [`net`] | from an address to a byte stream: TCP, TLS, WebSocket | knows no MQTT; no byte goes to a server that was not verified |
//! | [`client`] | a session with a socket and a clock: attempts, reconnects, the goodbye | one lock, one thread for all clients; no lock is held while a callback runs |
//! | [`broker`] | the embedded broker, for demos and tests | shares no state of the protocol with the client |
//! | [`lua`] | the Lua thread: arguments, the event loop, callbacks | Lua is touched on its own thread only; errors are strings |
//! | [`sys`] | fork, exit, signals | a forked child touches no lock |
//!
//! The long documentation is in [`guide`]; [`guide::inside`] follows a message both ways and has the map of the source.

#[cfg(all(feature = "module", feature = "vendored"))]
compile_error!("`module` is for an interpreter that has its own Lua: build it with --no-default-features");
#[cfg(all(feature = "module", feature = "runner"))]
compile_error!("`runner` is a program, `module` a library: build the module with --no-default-features");

pub mod broker;
pub mod client;
pub mod codec;
pub mod guide;
pub mod lua;
pub mod net;
pub mod session;
pub mod sys;

/// What `require` calls in a stock interpreter.
#[cfg(feature = "module")]
mod entry {
    use mlua::{Lua, Result, Table, lua_module};

    use crate::lua::{self, Options};

    #[lua_module(skip_memory_check)]
    fn mqtt(lua: &Lua) -> Result<Table> {
        lua::open(lua, Options::default())
    }

    #[lua_module(skip_memory_check)]
    fn mqtt_tmr(lua: &Lua) -> Result<Table> {
        lua::open_tmr(lua)
    }

    #[lua_module(skip_memory_check)]
    fn mqtt_sjson(lua: &Lua) -> Result<Table> {
        lua::open_sjson(lua)
    }

    #[lua_module(skip_memory_check)]
    fn mqtt_file(lua: &Lua) -> Result<Table> {
        lua::open_file(lua)
    }

    #[lua_module(skip_memory_check)]
    fn mqtt_host(lua: &Lua) -> Result<Table> {
        lua::open_host(lua)
    }

    #[lua_module(skip_memory_check)]
    fn mqtt_broker(lua: &Lua) -> Result<Table> {
        lua::open_broker(lua)
    }

    #[lua_module(skip_memory_check)]
    fn mqtt_mgos(lua: &Lua) -> Result<Table> {
        lua::open_mgos(lua)
    }

    #[lua_module(skip_memory_check)]
    fn mqtt_mgos_api(lua: &Lua) -> Result<Table> {
        lua::open_mgos_api(lua)
    }

    #[lua_module(skip_memory_check)]
    fn mqtt_test_native(lua: &Lua) -> Result<Table> {
        lua::open_testing(lua)
    }
}
