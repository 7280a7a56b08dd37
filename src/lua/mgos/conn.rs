//! A connection as a script holds it: the object of `conn_create`, and the one behind the module's functions.

use std::rc::Rc;
use std::time::Duration;

use mlua::{Function, Lua, Table, Value};

use super::config::Config;
use super::face::Connection;
use super::handlers::{CONNECT, Row};
use super::section::{Problem, Section};
use super::{plan, publish, value};
use crate::client::{ConnectOptions, Sending, State as Activity, Will};
use crate::codec::Qos;
use crate::lua::args::{Arg, Args, Raise};
use crate::lua::target::{self, Kind, Method, bound};
use crate::lua::{Maker, Reply, State, hot, reply};
use crate::session::{Event, Token};

/// Our table in the registry: the functions of `handlers.lua` by name, the connection behind the module's functions
/// under `default`, and those of `conn_create` by their numbers (weak, in `numbered`).
const REGISTRY: &str = "mqtt.mgos";

/// How often handlers of everything hear that time passes.
const POLL: Duration = Duration::from_secs(1);

/// A connection of this module.
pub(super) type Target = target::Target<Connection>;

impl Kind for Connection {
    const NAME: &str = "mqtt connection";
    const IS_DEVICE: bool = false;
}

/// The functions of the module and of connections.
pub(super) const METHODS: [(&str, Method<Connection>); 19] = [
    ("pub", publish::publish),
    ("pubf", publish::publish_format),
    ("pubv", publish::publish_values),
    ("sub", |state, target, args| subscribe(state, target, args, false)),
    ("global_subscribe", |state, target, args| subscribe(state, target, args, true)),
    ("unsub", unsubscribe),
    ("add_global_handler", add_global_handler),
    ("add_cloud_handler", add_cloud_handler),
    ("set_connect_fn", set_connect_fn),
    ("get_global_conn", |_, target, args| {
        let up = target.peer.client.state() == Activity::Connected;
        reply(args.lua, up.then(|| target.object.clone()))
    }),
    ("global_connect", |state, target, args| reply(args.lua, connect(state, target)?)),
    ("global_disconnect", |state, target, args| {
        disconnect(state, target)?;
        reply(args.lua, ())
    }),
    ("global_is_connected", |_, target, args| {
        reply(args.lua, target.peer.client.state() == Activity::Connected)
    }),
    ("num_unsent_bytes", |_, target, args| reply(args.lua, target.peer.client.unsent_bytes())),
    ("get_packet_id", |_, target, args| {
        reply(args.lua, target.peer.client.next_id().map_or(0, |id| id.get()))
    }),
    ("set_max_qos", |_, target, args| {
        target.peer.client.set_max_qos(Some(args.at(1).qos()?));
        reply(args.lua, ())
    }),
    ("set_config", set_config),
    ("config", |_, target, args| {
        let config = target.face.config.borrow();
        let shown = config.as_ref().map(Config::public);
        drop(config);
        reply(args.lua, shown.map(|shown| value::to_lua(args.lua, &shown)).transpose()?)
    }),
    ("send_handshake", send_handshake),
];

/// Makes the metatable of the connections, and our table.
pub(super) fn register(maker: &Maker<'_>) -> mlua::Result<()> {
    let lua = maker.lua;
    let introduction = maker.function("introduction", |state, mut args| {
        introduction(&Target::take(state, &mut args)?, args.lua)
    })?;
    let chunk = lua.load(include_str!("handlers.lua")).set_name("=mgos_mqtt");
    let numbers = lua.create_table()?;
    publish::add_events(&numbers)?;
    let registry: Table = chunk.call((introduction, numbers))?;
    let numbered = lua.create_table()?;
    let weak = lua.create_table()?;
    weak.raw_set("__mode", "v")?;
    numbered.set_metatable(Some(weak))?;
    registry.raw_set("numbered", numbered)?;
    lua.set_named_registry_value(REGISTRY, registry)?;

    let mut methods = Vec::new();
    for (name, method) in METHODS {
        methods.push((name, maker.function(name, bound(method))?));
    }
    target::register::<Connection>(maker, methods)?;
    Ok(())
}

/// The connection behind the module's functions, made when it is first wanted.
pub(super) fn default(state: &Rc<State>, lua: &Lua) -> Result<Target, Raise> {
    let registry: Table = lua.named_registry_value(REGISTRY)?;
    if let Some(target) = Target::find(state, lua, registry.raw_get("default")?) {
        return Ok(target);
    }
    let target = create(state, lua)?;
    registry.raw_set("default", &target.object)?;
    Ok(target)
}

/// `conn_create(id, section[, section1])`
pub(super) fn conn_create(state: &Rc<State>, args: Args<'_>) -> Reply {
    let number = args.at(1);
    let id = number.integer(0..=i64::from(i32::MAX))?;
    let registry: Table = args.lua.named_registry_value(REGISTRY)?;
    let numbered: Table = registry.raw_get("numbered")?;
    if numbered.raw_get::<Value>(id)? != Value::Nil {
        return Err(number.reject(format_args!("an id without a connection expected, got {id}")));
    }
    let main = section(state, &args.at(2), "mqtt")?;
    let backup = args.at(3).given().map(|given| section(state, &given, "mqtt1")).transpose()?;
    let target = create(state, args.lua)?;
    numbered.raw_set(id, &target.object)?;
    let config = Config {
        main,
        backup: backup.unwrap_or_else(Section::absent),
        device_id: default(state, args.lua)?.face.device_id(),
        debug: Default::default(),
    };
    apply(state, &target, config)?;
    reply(args.lua, target.object)
}

fn create(state: &Rc<State>, lua: &Lua) -> Result<Target, Raise> {
    let connection = Connection::new(state.default_id("mgos"));
    Target::create(state, lua, plan::session(), connection, false)
}

impl Target {
    fn set(&self, lua: &Lua, slot: i32, function: Value) -> Result<(), Raise> {
        Ok(hot::set_slot(lua, &self.object, slot, function)?)
    }

    /// Fills the slots of a row, from the first on, with what a function of `handlers.lua` makes of a handler.
    fn bind(&self, lua: &Lua, how: &str, row: Row, handler: Function, ud: Value) -> Result<(), Raise> {
        let functions = bind(lua, how, handler, ud)?;
        for (event, function) in functions.into_iter().enumerate() {
            self.set(lua, row.slot(event), function)?;
        }
        Ok(())
    }

    /// Empties the slots of a row, which may be used for another handler then.
    fn clear(&self, state: &State, lua: &Lua, row: Row) -> Result<(), Raise> {
        let key = self.peer.key;
        state.cursor.cut_due(|call| call.key == key && row.slots().contains(&call.slot));
        for slot in row.slots() {
            self.set(lua, slot, Value::Nil)?;
        }
        Ok(())
    }
}

fn bind(lua: &Lua, how: &str, handler: Function, ud: Value) -> mlua::Result<mlua::MultiValue> {
    lua.named_registry_value::<Table>(REGISTRY)?.raw_get::<Function>(how)?.call((handler, ud))
}

// Configuration.

/// A table as one section.
fn section(state: &State, arg: &Arg<'_>, name: &str) -> Result<Section, Raise> {
    let section = Section::parse(name, value::table(arg)?).map_err(|problem| arg.reject(problem))?;
    plan::check(name, &section, &state.map()).map_err(|problem| arg.reject(problem))?;
    Ok(section)
}

/// That what a configuration asks for can be tried.
pub(super) fn check(state: &State, config: Config) -> Result<Config, Problem> {
    plan::check("mqtt", &config.main, &state.map())?;
    plan::check("mqtt1", &config.backup, &state.map())?;
    Ok(config)
}

/// Puts a checked configuration in force.
pub(super) fn apply(state: &Rc<State>, target: &Target, config: Config) -> Result<(), Raise> {
    let connection = &target.face;
    if config.main.max_qos_given {
        target.peer.client.set_max_qos(None);
    }
    connection.section.set(0);
    connection.config.replace(Some(config));
    if connection.with_section(0, Section::is_usable) == Some(true) {
        start(state, target)
    } else {
        disconnect(state, target)
    }
}

fn set_config(state: &Rc<State>, target: &Target, args: &Args<'_>) -> Reply {
    let main = section(state, &args.at(1), "mqtt")?;
    let old = target.face.config.take();
    let config = Config {
        main,
        backup: Section::absent(),
        device_id: old.as_ref().map_or(String::new(), |old| old.device_id.clone()),
        debug: old.map(|old| old.debug).unwrap_or_default(),
    };
    apply(state, target, config)?;
    reply(args.lua, ())
}

// Connecting.

/// Connects anew, whatever there is.
fn start(state: &Rc<State>, target: &Target) -> Result<(), Raise> {
    let connection = &target.face;
    let options = {
        let config = connection.config.borrow();
        let config = config.as_ref().expect("only what is configured is started");
        let backup = config.backup.is_usable().then_some(&config.backup);
        let sections = std::iter::once(&config.main).chain(backup);
        let mut brokers = connection.brokers.borrow_mut();
        plan::options(sections, &connection.device_id(), &state.map(), &mut brokers).map_err(Raise)?
    };
    forget_attempts(state, target);
    target.connect(state, options)
}

/// What Lua has taken of the attempts before this and not come to is not told.
fn forget_attempts(state: &State, target: &Target) {
    let attempt = |event: &Event<'_>| {
        matches!(
            event,
            Event::Attempt { .. }
                | Event::AttemptFailed { .. }
                | Event::ConnectFailed { .. }
                | Event::ConnectWanted { .. }
                | Event::Connected { .. }
        )
    };
    state.cursor.cut(&target.peer, |event| !attempt(event), |_| ());
    target.face.introducing.set(None);
}

/// Whether it is connected or tries to be from now on.
fn connect(state: &Rc<State>, target: &Target) -> Result<bool, Raise> {
    if target.face.with_section(0, Section::is_usable) != Some(true) {
        return Ok(false);
    }
    match target.peer.client.state() {
        Activity::Idle => start(state, target)?,
        Activity::Connected => {}
        Activity::Connecting | Activity::Reconnecting => target.peer.client.hasten(),
    }
    Ok(true)
}

fn disconnect(state: &Rc<State>, target: &Target) -> Result<(), Raise> {
    target.peer.client.close();
    forget_attempts(state, target);
    target.let_go(state)
}

/// Of `handlers.lua`: whom to connect as, for the script to change.
fn introduction(target: &Target, lua: &Lua) -> Reply {
    let connection = &target.face;
    let device_id = connection.device_id();
    let section = connection.introducing.get().unwrap_or(0);
    let Some(connect) = connection.with_section(section, |section| plan::introduction(section, &device_id))
    else {
        return reply(lua, ());
    };
    let opts = lua.create_table()?;
    opts.raw_set("user_name", connect.username)?;
    opts.raw_set("password", connect.password.map(|it| lua.create_string(it)).transpose()?)?;
    opts.raw_set("keep_alive", connect.keep_alive)?;
    opts.raw_set("clean_session", connect.clean_session)?;
    if let Some(will) = connect.will {
        opts.raw_set("will_topic", will.topic)?;
        opts.raw_set("will_message", lua.create_string(will.message)?)?;
        opts.raw_set("will_retain", will.retain)?;
    }
    reply(lua, (connect.client_id, opts))
}

/// The fields of the second argument of `send_handshake`.
const OPTS: [&str; 7] =
    ["user_name", "password", "keep_alive", "clean_session", "will_topic", "will_message", "will_retain"];

/// `conn:send_handshake([client_id[, opts]])`: whether CONNECT was due.
fn send_handshake(_: &Rc<State>, target: &Target, args: &Args<'_>) -> Reply {
    let connection = &target.face;
    let device_id = connection.device_id();
    let section = connection.introducing.get().unwrap_or(0);
    let mut connect = connection
        .with_section(section, |section| plan::introduction(section, &device_id))
        .unwrap_or_default();
    let first = args.at(1);
    if let Some(client_id) = first.clone().given() {
        connect.client_id = client_id.text()?;
    }
    if let Some(opts) = args.at(2).given() {
        connect = with_opts(connect, &opts)?;
    }
    if connect.client_id.is_empty() && !connect.clean_session {
        return Err(first.reject("a client id expected without a clean session, got \"\" [MQTT-3.1.3-8]"));
    }
    let due = connection.introducing.take().is_some() && target.peer.client.provide_connect(connect);
    reply(args.lua, due)
}

/// With what the script has made of the table: what it has taken out is not sent.
fn with_opts(connect: ConnectOptions, opts: &Arg<'_>) -> Result<ConnectOptions, Raise> {
    let table = opts.record(&OPTS)?;
    let field = |key| table.field(key);
    let username = field("user_name").map(|it| it.text()).transpose()?;
    let password = field("password").map(|it| it.short_bytes()).transpose()?;
    if username.is_none() && password.is_some() {
        return Err(opts.reject("'user_name': string expected beside a password, got nil [MQTT-3.1.2-22]"));
    }
    let message = field("will_message").map(|it| it.short_bytes()).transpose()?;
    let retain = field("will_retain").map_or(Ok(false), |it| it.flag())?;
    let topic = field("will_topic").map(|it| it.topic_name()).transpose()?;
    let will =
        topic.map(|topic| Will { topic, message: message.unwrap_or_default(), qos: Qos::AtMostOnce, retain });
    let keep_alive = field("keep_alive").map(|it| it.integer(0..=65535)).transpose()?;
    Ok(ConnectOptions {
        username,
        password,
        will,
        keep_alive: keep_alive.map_or(connect.keep_alive, |seconds| seconds as u16),
        clean_session: field("clean_session").map_or(Ok(connect.clean_session), |it| it.flag())?,
        ..connect
    })
}

// Handlers.

/// `sub(topic, handler[, ud])` and `global_subscribe(topic, handler[, ud])`
fn subscribe(_: &Rc<State>, target: &Target, args: &Args<'_>, hears_all: bool) -> Reply {
    let filter = args.at(1).topic_filter()?;
    let handler = args.at(2).function()?;
    let row = target.face.handlers.borrow_mut().subscribe(&filter, hears_all);
    let how = if hears_all { "events" } else { "messages" };
    target.bind(args.lua, how, row, handler, args.at(3).value.into_owned())?;
    // never refused: the session keeps what it cannot send yet
    let filters = [(filter.as_str(), Qos::AtLeastOnce)];
    let outcome = target.peer.client.subscribe(&filters, Token::NONE, Sending::Soon);
    outcome.map_err(|refused| Raise(format!("cannot subscribe: {refused}")))?;
    reply(args.lua, ())
}

/// `unsub(topic)`: whether there was a handler.
fn unsubscribe(state: &Rc<State>, target: &Target, args: &Args<'_>) -> Reply {
    let filter = args.at(1).topic_filter()?;
    let rows = target.face.handlers.borrow_mut().unsubscribe(&filter);
    for row in &rows {
        target.clear(state, args.lua, *row)?;
    }
    if !rows.is_empty() {
        let outcome = target.peer.client.unsubscribe(&[&filter], Token::NONE, Sending::Soon);
        outcome.map_err(|refused| Raise(format!("cannot unsubscribe: {refused}")))?;
    }
    reply(args.lua, !rows.is_empty())
}

fn add_global_handler(_: &Rc<State>, target: &Target, args: &Args<'_>) -> Reply {
    let handler = args.at(1).function()?;
    add_global(target, args.lua, handler, args.at(2).value.into_owned())?;
    reply(args.lua, ())
}

fn add_global(target: &Target, lua: &Lua, handler: Function, ud: Value) -> Result<Row, Raise> {
    let row = target.face.handlers.borrow_mut().add_global();
    target.bind(lua, "events", row, handler, ud)?;
    target.peer.client.set_tick(Some(POLL));
    Ok(row)
}

/// `MQTT.setEventHandler(handler | nil[, ud])`
pub(super) fn set_event_handler(state: &Rc<State>, target: &Target, args: &Args<'_>) -> Reply {
    let handler = args.at(1).function_or_nil()?;
    let connection = &target.face;
    if let Some(old) = connection.set_handler.take() {
        connection.handlers.borrow_mut().remove_global(old);
        target.clear(state, args.lua, old)?;
    }
    if let Some(handler) = handler {
        let row = add_global(target, args.lua, handler, args.at(2).value.into_owned())?;
        connection.set_handler.set(Some(row));
    }
    reply(args.lua, ())
}

fn add_cloud_handler(_: &Rc<State>, target: &Target, args: &Args<'_>) -> Reply {
    let handler = args.at(1).function()?;
    let row = target.face.handlers.borrow_mut().add_cloud();
    target.bind(args.lua, "cloud", row, handler, Value::Nil)?;
    reply(args.lua, ())
}

/// `set_connect_fn(fn | nil[, ud])`
fn set_connect_fn(_: &Rc<State>, target: &Target, args: &Args<'_>) -> Reply {
    let function = args.at(1).function_or_nil()?;
    target.peer.client.ask_connect(function.is_some());
    let function = match function {
        Some(function) => bind(args.lua, "connect", function, args.at(2).value.into_owned())?.pop_front(),
        None => None,
    };
    target.set(args.lua, CONNECT, function.unwrap_or(Value::Nil))?;
    reply(args.lua, ())
}
