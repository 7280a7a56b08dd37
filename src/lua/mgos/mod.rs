//! Mongoose OS's words: MQTT driven by configuration, as its manual describes it. The modules `mgos_mqtt` (the C API)
//! and `api_mqtt` (the JS API).
//!
//! | file | job |
//! | --- | --- |
//! | `conn` | a connection: configuring, connecting, handlers |
//! | `publish`, `format`, `value` | `pub`, `pubf`, `pubv`; JSON and Lua's values |
//! | `face`, `handlers` | from a client's events to handlers |
//! | `config`, `section`, `comments` | a configuration, checked |
//! | `plan` | from a configuration to what a client is told |
//! | `handlers.lua`, `console.lua` | the manual's arguments; what the script prints |

mod comments;
mod config;
mod conn;
mod face;
mod format;
mod handlers;
mod plan;
mod publish;
mod section;
mod value;

use std::rc::Rc;

use mlua::{Function, Table};

use super::args::{Args, Raise};
use super::{Maker, Reply, State, reply};
use config::Config;
#[doc(hidden)]
pub use config::fuzz as fuzz_config;

/// The function that hooks printing, in the registry.
const CONSOLE: &str = "mqtt.mgos.console";

/// Makes the tables of `mgos_mqtt` and `api_mqtt`.
pub(super) fn open(maker: &Maker<'_>) -> mlua::Result<(Table, Table)> {
    conn::register(maker)?;
    let lua = maker.lua;
    let emit = maker
        .function("emit", |state, args| publish::emit(state, &conn::default(state, args.lua)?, &args))?;
    let console: Function = lua.load(include_str!("console.lua")).set_name("=mgos_mqtt").call(emit)?;
    lua.set_named_registry_value(CONSOLE, console)?;

    let module = lua.create_table()?;
    for (name, method) in conn::METHODS {
        let global =
            move |state: &Rc<State>, args: Args<'_>| method(state, &conn::default(state, args.lua)?, &args);
        maker.add(&module, name, global)?;
    }
    maker.add(&module, "conn_create", conn::conn_create)?;
    maker.add(&module, "configure", configure)?;
    maker.add(&module, "configure_file", configure_file)?;
    publish::add_events(&module)?;

    let api = lua.create_table()?;
    for (name, original) in [("isConnected", "global_is_connected"), ("sub", "sub")] {
        api.raw_set(name, module.raw_get::<Function>(original)?)?;
    }
    maker.add(&api, "pub", |state, args| {
        let target = conn::default(state, args.lua)?;
        let id = publish::publish(state, &target, &args)?;
        let accepted = id.front().and_then(mlua::Value::as_integer).is_some_and(|id| id > 0);
        reply(args.lua, u8::from(accepted))
    })?;
    maker.add(&api, "setEventHandler", |state, args| {
        conn::set_event_handler(state, &conn::default(state, args.lua)?, &args)
    })?;
    publish::add_events(&api)?;
    Ok((module, api))
}

/// `configure(table)`
fn configure(state: &Rc<State>, args: Args<'_>) -> Reply {
    let arg = args.at(1);
    let config = Config::parse(value::table(&arg)?).and_then(|config| conn::check(state, config));
    put_in_force(state, &args, config.map_err(|problem| arg.reject(problem))?)
}

/// `configure_file(path)`
fn configure_file(state: &Rc<State>, args: Args<'_>) -> Reply {
    let path = args.at(1).text()?;
    let fail = |why: &dyn std::fmt::Display| Raise(format!("{path}: {why}"));
    let text = std::fs::read_to_string(&path).map_err(|error| fail(&error))?;
    let config = Config::from_json(&text).and_then(|config| conn::check(state, config));
    put_in_force(state, &args, config.map_err(|problem| fail(&problem))?)
}

fn put_in_force(state: &Rc<State>, args: &Args<'_>, config: Config) -> Reply {
    let target = conn::default(state, args.lua)?;
    if !config.debug.stdout_topic.is_empty() || !config.debug.stderr_topic.is_empty() {
        args.lua.named_registry_value::<Function>(CONSOLE)?.call::<()>(())?;
    }
    conn::apply(state, &target, config)?;
    reply(args.lua, true)
}
