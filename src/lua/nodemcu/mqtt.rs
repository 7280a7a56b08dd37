//! The module `mqtt`: its table, and `mqtt.Client`.

use std::rc::Rc;

use mlua::{Function, Lua, Table, Value};

use super::client::{self, Target};
use super::reason::REASONS;
use super::settings::{self, KEYS, Made, POSITIONS, key};
use crate::codec::topic;
use crate::lua::args::{Arg, Args, Raise};
use crate::lua::peer::slot;
use crate::lua::{CALLBACKS, Maker, Reply, State, hot, log, reply};

/// The release.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Makes the module's table; the loops are put in by the caller.
pub(crate) fn open(maker: &Maker<'_>) -> mlua::Result<Table> {
    let metatable = client::register(maker)?;
    let lua = maker.lua;
    let mqtt = lua.create_table()?;
    mqtt.raw_set("_VERSION", VERSION)?;
    for (name, value) in REASONS {
        mqtt.raw_set(name, value)?;
    }
    let ordinary = maker.ordinary("Client", new_client)?;
    let client = hot::wrap_short(lua, &maker.shell, "Client", ordinary, &maker.state, Some(&metatable))?;
    mqtt.raw_set("Client", client)?;
    // luamqtt installs a module of the same name.
    maker.add(&mqtt, "client", |_, _| {
        Err(Raise(format!(
            "this is nodemcu-mqtt {VERSION}, whose constructor is mqtt.Client(clientid, keepalive, ...); mqtt.client is luamqtt's, \
             which is installed under the same module name: require(\"nodemcu.mqtt\") always gives this module"
        )))
    })?;
    maker.add(&mqtt, "stop", |state, args| {
        state.stopping.set(true);
        reply(args.lua, ())
    })?;
    maker.add(&mqtt, "fileno", |state, args| reply(args.lua, fileno(state)))?;
    mqtt.raw_set("pollable", pollable(maker)?)?;
    maker.add(&mqtt, "stats", stats)?;
    maker.add(&mqtt, "log", |state, args| {
        let function = args.at(1).function_or_nil()?;
        log::subscribe_log(&state.queue, function.is_some());
        set_callback(args.lua, slot::LOG, function)
    })?;
    maker.add(&mqtt, "trace", |state, args| {
        let function = args.at(1).function_or_nil()?;
        log::subscribe_trace(&state.queue, function.is_some());
        set_callback(args.lua, slot::TRACE, function)
    })?;
    maker.add(&mqtt, "matches", |_, args| {
        let filter = args.at(1).topic_filter()?;
        let name = args.at(2).topic_name()?;
        reply(args.lua, topic::matches(&filter, &name))
    })?;
    Ok(mqtt)
}

/// The function that asks a script's functions for user name and password; see `credentials.lua`.
pub(crate) fn credentials(maker: &Maker<'_>) -> mlua::Result<Function> {
    let give = maker.function("give", client::give_credentials)?;
    let refuse = maker.function("refuse", client::refuse_credentials)?;
    let chunk = maker.lua.load(include_str!("credentials.lua")).set_name("=mqtt.Client");
    chunk.call((give, refuse))
}

fn set_callback(lua: &Lua, slot: i32, function: Option<Function>) -> Reply {
    lua.named_registry_value::<Table>(CALLBACKS)?.raw_set(slot, function)?;
    reply(lua, ())
}

fn fileno(state: &State) -> i32 {
    state.timers.arm(state);
    state.queue.export(state.pending())
}

/// What loops that know pollable objects by their methods want: cqueues, luasocket and copas.
fn pollable(maker: &Maker<'_>) -> mlua::Result<Table> {
    let pollable = maker.lua.create_table()?;
    maker.add(&pollable, "pollfd", |state, args| reply(args.lua, fileno(state)))?;
    maker.add(&pollable, "getfd", |state, args| reply(args.lua, fileno(state)))?;
    maker.add(&pollable, "events", |_, args| reply(args.lua, "r"))?;
    // Timers make the descriptor readable like everything else, and nothing is buffered behind it.
    maker.add(&pollable, "timeout", |_, args| reply(args.lua, Value::Nil))?;
    maker.add(&pollable, "dirty", |_, args| reply(args.lua, false))?;
    Ok(pollable)
}

fn stats(state: &Rc<State>, args: Args<'_>) -> Reply {
    let stats = state.stats();
    let table = args.lua.create_table()?;
    let session = &stats.session;
    table.raw_set("packets_in", session.packets_in)?;
    table.raw_set("packets_out", session.packets_out)?;
    table.raw_set("bytes_in", session.bytes_in)?;
    table.raw_set("bytes_out", session.bytes_out)?;
    for (name, counts) in [("messages_in", session.messages_in), ("messages_out", session.messages_out)] {
        let by_qos = args.lua.create_table()?;
        for (qos, count) in counts.into_iter().enumerate() {
            by_qos.raw_set(qos, count)?;
        }
        table.raw_set(name, by_qos)?;
    }
    table.raw_set("dropped", session.dropped)?;
    table.raw_set("reconnects", stats.reconnects)?;
    let pending = state.peers.all().into_iter().map(|peer| peer.client.pending());
    let (messages, bytes) = pending.fold((0, 0), |sum, next| (sum.0 + next.0, sum.1 + next.1));
    table.raw_set("queued", messages)?;
    table.raw_set("queued_bytes", bytes)?;
    table.raw_set("callbacks", state.callbacks_run.get())?;
    reply(args.lua, table)
}

fn new_client(state: &Rc<State>, args: Args<'_>) -> Reply {
    let first = args.at(1);
    let table = if first.value.is_table() { Some(first.record(&KEYS)?) } else { None };
    // By name or by position; none for nil.
    let find = |key: usize| match &table {
        Some(table) => table.field(KEYS[key]),
        None if key < POSITIONS => args.at(key + 1).given(),
        None => None,
    };
    let Made { config, device, each } = settings::read(state, find)?;
    let Target { peer, object, .. } = Target::create(state, args.lua, config, device, each)?;
    for (slot, key) in [(slot::USERNAME, key::USERNAME), (slot::PASSWORD, key::PASSWORD)] {
        if let Some(arg) = find(key).filter(Arg::is_function) {
            peer.fill(slot, true);
            hot::set_slot(args.lua, &object, slot, Value::Function(arg.function()?))?;
        }
    }
    reply(args.lua, object)
}
