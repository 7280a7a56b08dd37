//! The module `mqtt`: its table, and `mqtt.Client` with its arguments.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use mlua::{Function, Lua, Table, Value};

use super::client::{self, Target};
use super::device::{Device, Settings};
use super::reason::REASONS;
use crate::client::{Credentials, Options};
use crate::codec::{MAX_PACKET, Version, topic};
use crate::lua::args::{Arg, Args, Raise};
use crate::lua::peer::slot;
use crate::lua::{CALLBACKS, Maker, Reply, State, hot, log, reply};
use crate::session::{Config, Limits, Resubscribe};

/// The release.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Makes the module's table; the loops are put in by the caller.
pub(crate) fn open(maker: &Maker<'_>) -> mlua::Result<Table> {
    client::register(maker)?;
    let lua = maker.lua;
    let mqtt = lua.create_table()?;
    mqtt.raw_set("_VERSION", VERSION)?;
    for (name, value) in REASONS {
        mqtt.raw_set(name, value)?;
    }
    maker.add(&mqtt, "Client", new_client)?;
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

/// The keys of `mqtt.Client{…}`: the positional arguments in their order, then what the manuals don't have.
const KEYS: [&str; 12] = [
    "clientid",
    "keepalive",
    "username",
    "password",
    "cleansession",
    "max_message_length",
    "protocol",
    "callbacks",
    "max_queue",
    "inflight",
    "resubscribe",
    "connect_timeout",
];

fn new_client(state: &Rc<State>, args: Args<'_>) -> Reply {
    let first = args.at(1);
    let table = if first.value.is_table() { Some(first.record(&KEYS)?) } else { None };
    // By name or by position; none for nil.
    let find = |key: &'static str| match &table {
        Some(table) => table.field(key),
        None => {
            let position = KEYS.iter().position(|known| *known == key);
            let place = position.filter(|&position| position < 6);
            place.and_then(|position| args.at(position + 1).given())
        }
    };
    let flag = |key, default| find(key).map_or(Ok(default), |arg| arg.flag());

    let clean_session = flag("cleansession", true)?;
    let version = match find("protocol") {
        None => Version::V311,
        Some(arg) => match &*arg.bytes()?.as_bytes() {
            b"3.1.1" => Version::V311,
            b"3.1" => Version::V31,
            _ => return Err(arg.reject("\"3.1.1\" or \"3.1\" expected, got another string")),
        },
    };
    let client_id = match find("clientid") {
        None => state.default_id("NodeMCU"),
        Some(arg) => client_id(&arg, clean_session, version)?,
    };
    let keep_alive = find("keepalive").map_or(Ok(60), |arg| arg.integer(0..=65535))? as u16;
    let mut username_function = None;
    let username = match find("username") {
        Some(arg) if arg.is_function() => {
            username_function = Some(arg.function()?);
            None
        }
        Some(arg) => Some(arg.text()?),
        None => None,
    };
    let mut password_function = None;
    let password = match find("password") {
        Some(arg) if username.is_none() && username_function.is_none() => {
            return Err(arg.reject("nothing expected without a user name, got a password [MQTT-3.1.2-22]"));
        }
        Some(arg) if arg.is_function() => {
            password_function = Some(arg.function()?);
            None
        }
        Some(arg) => Some(arg.short_bytes()?),
        None => None,
    };
    let max_packet = find("max_message_length")
        .map(|arg| arg.integer(1..=MAX_PACKET as i64).map(|bytes| bytes as u32))
        .transpose()?;
    let each = match find("callbacks") {
        None => false,
        Some(arg) => match &*arg.bytes()?.as_bytes() {
            b"last" => false,
            b"each" => true,
            _ => return Err(arg.reject("\"last\" or \"each\" expected, got another string")),
        },
    };
    let limits = Limits::default();
    let max_queue = match find("max_queue") {
        None => limits.max_queue,
        Some(arg) => arg.integer(1..=1 << 40)? as usize,
    };
    let inflight = match find("inflight") {
        None => limits.inflight,
        Some(arg) => arg.integer(1..=65535)? as u16,
    };
    let resubscribe = flag("resubscribe", false)?;
    let connect_timeout = match find("connect_timeout") {
        None => Options::CONNECT_TIMEOUT,
        Some(arg) => arg.seconds(0.001, Duration::from_secs(86_400).as_secs_f64())?,
    };

    let resubscribe = if resubscribe { Resubscribe::NewSession } else { Resubscribe::Never };
    let limits = Limits { max_queue, inflight, max_packet, ..limits };
    let config = Config { limits, resubscribe, ..Config::default() };
    let device = Device {
        settings: Settings {
            client_id: client_id.into(),
            keep_alive,
            credentials: username
                .map(|username| Box::new(Credentials { username: Some(username), password })),
            clean_session,
            version,
            connect_timeout: connect_timeout.as_millis() as u32, // a day at most
        },
        will: Cell::default(),
        announced: Cell::new(false),
        connected_at: Cell::new(u64::MAX),
        ok_stays: state.as_esp8266,
        accepted: Cell::new(false),
        suback_by_on: Cell::new(true),
    };
    let Target { peer, object, .. } = Target::create(state, args.lua, config, device, each)?;
    for (slot, function) in [(slot::USERNAME, username_function), (slot::PASSWORD, password_function)] {
        if let Some(function) = function {
            peer.fill(slot, true);
            hot::set_slot(args.lua, &object, slot, Value::Function(function))?;
        }
    }
    reply(args.lua, object)
}

/// A client id that the broker can take.
fn client_id(arg: &Arg<'_>, clean_session: bool, version: Version) -> Result<String, Raise> {
    let id = arg.text()?;
    if version == Version::V31 && !(1..=23).contains(&id.chars().count()) {
        let got = id.chars().count();
        return Err(arg.reject(format_args!("1 to 23 characters expected with protocol 3.1, got {got}")));
    }
    if id.is_empty() && !clean_session {
        return Err(arg.reject("a client id expected with cleansession 0, got \"\" [MQTT-3.1.3-8]"));
    }
    Ok(id)
}
