//! `mqtt.host`: what the simulated modules need of the host: its time, and the addresses of names.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, UNIX_EPOCH};

use mlua::{Table, Value};

use crate::client::reactor;
use crate::lua::args::Args;
use crate::lua::event_queue::Entry;
use crate::lua::hot::object::{self, Size};
use crate::lua::peer::slot;
use crate::lua::{Maker, Reply, State, hot, reply};

/// Lookups of a Lua state that are under way.
#[derive(Default)]
pub(crate) struct Lookups(Cell<usize>);

impl Lookups {
    pub(crate) fn any(&self) -> bool {
        self.0.get() > 0
    }

    /// One has come to its end.
    pub(crate) fn finish(&self) {
        self.0.set(self.0.get() - 1);
    }
}

/// What holds the callback of a lookup.
const LOOKUP: &str = "lookup";

/// Makes the module's table.
pub(crate) fn open(maker: &Maker<'_>) -> mlua::Result<Table> {
    object::register(maker.lua, &maker.shell, LOOKUP, Vec::new())?;
    let host = maker.lua.create_table()?;
    maker.add(&host, "time", |state, args| time(state, &args))?;
    maker.add(&host, "resolve", |state, args| resolve(state, &args))?;
    Ok(host)
}

/// Seconds since 1970 and microseconds. On a virtual clock they pass with it.
fn time(state: &State, args: &Args<'_>) -> Reply {
    let since = state.clock.borrow().wall().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    reply(args.lua, (since.as_secs(), since.subsec_micros()))
}

/// resolve(name, callback(object, address)): the IPv4 address, as the devices know no other; nil if there is none.
fn resolve(state: &Rc<State>, args: &Args<'_>) -> Reply {
    let name = args.at(1).text()?;
    let callback = args.at(2).function()?;
    let key = state.next_key()?;
    let object = object::create(args.lua, state, LOOKUP, key, Size::SMALL)?;
    hot::set_slot(args.lua, &object, slot::TIMER, Value::Function(callback))?;
    state.anchor(key, &object)?;
    state.lookups.0.set(state.lookups.0.get() + 1);
    let queue = state.queue.clone();
    reactor::spawn(async move {
        let found = crate::net::resolve(&name, 0).await.unwrap_or_default();
        let address = found.into_iter().find(SocketAddr::is_ipv4);
        queue.push(Entry::Resolved { key, address: address.map(|address| address.ip().to_string()) });
    })
    .detach();
    reply(args.lua, ())
}
