//! The Lua side: what scripts see, on the Lua thread only.
//!
//! | file | job |
//! | --- | --- |
//! | `hot` | every raw call into Lua: the trampoline, `publish`, the loops |
//! | `event_loop` | what a loop does next |
//! | `waiting` | how it waits |
//! | `event_queue` | what other threads tell Lua |
//! | `waiter` | what the Lua thread sleeps on |
//! | `peer` | a client as Lua sees it, and where its callbacks stand |
//! | `target` | the client that a call is about |
//! | `args` | what a script passes, checked |
//! | `plain` | the same where nothing but the common case is wanted |
//! | `route` | connects led elsewhere |
//! | `nodemcu` | NodeMCU's words: `mqtt`, `tmr`, `sjson`, `file` |
//! | `mgos` | Mongoose OS's words: `mgos_mqtt` and `api_mqtt` |
//! | `broker`, `testing` | the embedded broker and the virtual clock, for tests and demos |
//! | `log` | where log and trace lines go |
//!
//! Each Lua state has one `State`. All functions of all modules are made when the first of them is opened: in the end
//! the interpreter finalizes what is younger first, so none of them can be called when a part of it is gone.

mod args;
mod broker;
mod event_loop;
mod event_queue;
mod hot;
mod log;
mod mgos;
mod nodemcu;
mod peer;
mod plain;
mod route;
mod target;
mod testing;
mod waiter;
mod waiting;

use std::cell::{Cell, RefCell};
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use mlua::{AnyUserData, Function, IntoLuaMulti, Lua, MultiValue, Table, Value};

use crate::broker::Broker;
use crate::client::{self, Clock, Stats};
use crate::sys;
use args::{Args, Raise};
use event_loop::Cursor;
use event_queue::EventQueue;
use nodemcu::host::Lookups;
use nodemcu::tmr::Timers;
use peer::Peers;
use waiter::Waiter;
use waiting::Patience;

#[doc(hidden)]
pub use mgos::fuzz_config;
#[doc(hidden)]
pub use nodemcu::{fuzz_secure, fuzz_sjson};
pub use route::{Route, Routes};

/// What a program that embeds the modules may set.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The chip that the script believes to run on: default client ids are made of it. None: they are random.
    pub chip_id: Option<u32>,
    /// Where connections really go.
    pub map: Routes,
    /// Whether to do two things as the ESP8266's firmware does them, for the sake of scripts that rely on it. `close`
    /// leaves a connect alone that came just before it: an example that many have copied ends like that. And the first
    /// callback of a connect serves later connections too, while there is no `on("connect")`, whose place it takes.
    pub as_esp8266: bool,
}

/// Opens the module `mqtt`. The options of the first call for a Lua state count.
pub fn open(lua: &Lua, options: Options) -> mlua::Result<Table> {
    modules(lua, options)?.raw_get("mqtt")
}

/// Opens the module `mqtt.tmr`: NodeMCU's `tmr`.
pub fn open_tmr(lua: &Lua) -> mlua::Result<Table> {
    modules(lua, Options::default())?.raw_get("tmr")
}

/// Opens the module `mqtt.sjson`: NodeMCU's `sjson`.
pub fn open_sjson(lua: &Lua) -> mlua::Result<Table> {
    modules(lua, Options::default())?.raw_get("sjson")
}

/// Opens the native part of NodeMCU's `file`, `mqtt.file`.
pub fn open_file(lua: &Lua) -> mlua::Result<Table> {
    modules(lua, Options::default())?.raw_get("file")
}

/// Opens `mqtt.host`: what simulated modules need of the host.
pub fn open_host(lua: &Lua) -> mlua::Result<Table> {
    modules(lua, Options::default())?.raw_get("host")
}

/// Opens the module `mqtt.broker`: the embedded broker.
pub fn open_broker(lua: &Lua) -> mlua::Result<Table> {
    modules(lua, Options::default())?.raw_get("broker")
}

/// Opens the module `mqtt.mgos`: Mongoose OS's C API, under its names.
pub fn open_mgos(lua: &Lua) -> mlua::Result<Table> {
    modules(lua, Options::default())?.raw_get("mgos")
}

/// Opens the module `mqtt.mgos.api`: Mongoose OS's JS API.
pub fn open_mgos_api(lua: &Lua) -> mlua::Result<Table> {
    modules(lua, Options::default())?.raw_get("mgos_api")
}

/// Opens the native part of the module `mqtt.test`.
pub fn open_testing(lua: &Lua) -> mlua::Result<Table> {
    modules(lua, Options::default())?.raw_get("testing")
}

// Our names in the registry.
const MODULES: &str = "nodemcu-mqtt.modules";
/// The callbacks of `mqtt.log` and `mqtt.trace`.
const CALLBACKS: &str = "nodemcu-mqtt.callbacks";
/// Lua's own `pcall`, whatever a script makes of the global.
const PCALL: &str = "nodemcu-mqtt.pcall";

/// What a script gets to see of a panic.
const INTERNAL_ERROR: &str = "internal error in mqtt: please report it (the panic's message is on stderr)";

/// What all clients together get when the interpreter ends.
const GOODBYE: Duration = Duration::from_secs(1);

/// The tables of all modules.
fn modules(lua: &Lua, options: Options) -> mlua::Result<Table> {
    if let Some(modules) = lua.named_registry_value::<Option<Table>>(MODULES)? {
        return Ok(modules);
    }
    let queue = EventQueue::new().map_err(mlua::Error::external)?;
    let state = Rc::new(State::new(lua, queue, options)?);
    let shell = hot::shell(lua, state.clone())?;

    let callbacks = lua.create_table()?;
    state.objects.raw_set(event_loop::STATE, &callbacks)?;
    lua.set_named_registry_value(CALLBACKS, &callbacks)?;
    lua.set_named_registry_value(PCALL, lua.globals().raw_get::<Function>("pcall")?)?;

    let (objects, anchors) = (state.objects.clone(), state.anchors.clone());
    let maker = Maker { lua, state, shell };
    let nothing = lua.load("").set_name("=mqtt").into_function()?;
    let credentials = nodemcu::mqtt::credentials(&maker)?;
    let mqtt = nodemcu::mqtt::open(&maker)?;
    let upvalues = [
        Value::Table(objects),
        Value::Table(anchors),
        Value::Function(nothing),
        Value::Function(credentials),
    ];
    hot::add_loops(lua, &maker.shell, &upvalues, &mqtt)?;
    let modules = lua.create_table()?;
    modules.raw_set("mqtt", mqtt)?;
    modules.raw_set("tmr", nodemcu::tmr::open(&maker)?)?;
    modules.raw_set("sjson", nodemcu::sjson::open(&maker)?)?;
    modules.raw_set("file", nodemcu::file::open(&maker)?)?;
    modules.raw_set("host", nodemcu::host::open(&maker)?)?;
    modules.raw_set("broker", broker::open(&maker)?)?;
    modules.raw_set("testing", testing::open(&maker)?)?;
    let (mgos, mgos_api) = mgos::open(&maker)?;
    modules.raw_set("mgos", mgos)?;
    modules.raw_set("mgos_api", mgos_api)?;
    lua.set_named_registry_value(MODULES, &modules)?;
    Ok(modules)
}

/// What a function returns to the script: values, or an error to be raised.
type Reply = Result<MultiValue, Raise>;

/// Makes the functions of the modules.
struct Maker<'a> {
    lua: &'a Lua,
    state: Rc<State>,
    shell: AnyUserData,
}

impl Maker<'_> {
    /// A function that scripts call by this name.
    fn function<E: Into<Thrown>>(
        &self,
        name: &'static str,
        f: impl Fn(&Rc<State>, Args<'_>) -> Result<MultiValue, E> + 'static,
    ) -> mlua::Result<Function> {
        hot::wrap(self.lua, &self.shell, self.ordinary(name, f)?)
    }

    /// Adds a function to a table.
    fn add<E: Into<Thrown>>(
        &self,
        table: &Table,
        name: &'static str,
        f: impl Fn(&Rc<State>, Args<'_>) -> Result<MultiValue, E> + 'static,
    ) -> mlua::Result<()> {
        table.raw_set(name, self.function(name, f)?)
    }

    /// The mlua function inside: true and values, false and a message, or nil and the error of a script's function. It
    /// never returns an error, because those of mlua are userdata.
    fn ordinary<E: Into<Thrown>>(
        &self,
        name: &'static str,
        f: impl Fn(&Rc<State>, Args<'_>) -> Result<MultiValue, E> + 'static,
    ) -> mlua::Result<Function> {
        let state = self.state.clone();
        self.lua.create_function(move |lua, values: MultiValue| {
            let args = Args::new(lua, name, values);
            // a panic is a bug of ours; mlua would make a userdata of it
            let outcome = catch_unwind(AssertUnwindSafe(|| f(&state, args)));
            let panicked = |_| Err(Raise(INTERNAL_ERROR.to_owned()).into());
            match outcome.map_or_else(panicked, |result| result.map_err(Into::into)) {
                Ok(results) => Ok((Some(true), results)),
                Err(Thrown::Raise(Raise(message))) => Ok((Some(false), message.into_lua_multi(lua)?)),
                Err(Thrown::Value(error)) => Ok((None, error.into_lua_multi(lua)?)),
            }
        })
    }
}

/// What ends a function that calls the script's own functions.
#[derive(Debug)]
enum Thrown {
    /// A message of ours.
    Raise(Raise),
    /// The error of the script's function.
    Value(Value),
}

impl From<Raise> for Thrown {
    fn from(raise: Raise) -> Thrown {
        Thrown::Raise(raise)
    }
}

impl From<mlua::Error> for Thrown {
    fn from(error: mlua::Error) -> Thrown {
        Thrown::Raise(error.into())
    }
}

/// Calls a function of the script. An error of it keeps its identity, which mlua's own call would take.
fn call(lua: &Lua, function: &Function, mut arguments: MultiValue) -> Result<MultiValue, Thrown> {
    arguments.push_front(Value::Function(function.clone()));
    let mut results = lua.named_registry_value::<Function>(PCALL)?.call::<MultiValue>(arguments)?;
    match results.pop_front() {
        Some(Value::Boolean(true)) => Ok(results),
        _ => Err(Thrown::Value(results.pop_front().unwrap_or(Value::Nil))),
    }
}

/// Values for a [`Reply`].
fn reply(lua: &Lua, values: impl IntoLuaMulti) -> Reply {
    Ok(values.into_lua_multi(lua)?)
}

/// Everything of one Lua state. Never borrowed while Lua runs.
struct State {
    /// The clients, timers and lookups that live while something refers to them, by key; weak.
    objects: Table,
    /// The others, which live without that.
    anchors: Table,
    queue: Arc<EventQueue>,
    waiter: RefCell<Waiter>,
    patience: Patience,
    cursor: Cursor,
    peers: Peers,
    timers: Timers,
    lookups: Lookups,
    chip_id: Option<u32>,
    as_esp8266: bool,
    /// For clients made and timers armed from now on.
    clock: RefCell<Clock>,
    /// Where connects go: as the options say, unless a test leads them elsewhere.
    map: Rc<Routes>,
    led: RefCell<Option<Rc<Routes>>>,
    /// The embedded brokers that were started.
    brokers: RefCell<Vec<Weak<Broker>>>,
    /// `mqtt.stop` was called.
    stopping: Cell<bool>,
    /// A loop runs callbacks, or an error has left one that did.
    dispatching: Cell<bool>,
    callbacks_run: Cell<u64>,
    /// How often the loop has looked for something to do: what Lua does between two of these, it does in one go.
    steps: Cell<u64>,
    /// Counters of clients that have been collected.
    past: Cell<Stats>,
    last_key: Cell<u32>,
    /// The queue's descriptor is this process's own, and stays so.
    is_own: Cell<bool>,
    /// When the module was opened.
    started: Instant,
}

impl State {
    fn new(lua: &Lua, queue: EventQueue, options: Options) -> mlua::Result<State> {
        let Options { chip_id, map, as_esp8266 } = options;
        let objects = lua.create_table()?;
        objects.set_metatable(Some(lua.create_table_from([("__mode", "v")])?))?;
        Ok(State {
            objects,
            anchors: lua.create_table()?,
            waiter: RefCell::new(Waiter::new(&queue.descriptor()).map_err(mlua::Error::external)?),
            patience: Patience::default(),
            queue: Arc::new(queue),
            cursor: Cursor::default(),
            peers: Peers::default(),
            timers: Timers::default(),
            lookups: Lookups::default(),
            chip_id,
            as_esp8266,
            clock: RefCell::default(),
            map: Rc::new(map),
            led: RefCell::default(),
            brokers: RefCell::default(),
            stopping: Cell::new(false),
            dispatching: Cell::new(false),
            callbacks_run: Cell::new(0),
            steps: Cell::new(0),
            past: Cell::default(),
            last_key: Cell::new(event_loop::STATE),
            is_own: Cell::new(false),
            started: Instant::now(),
        })
    }

    /// Sees to it that the queue is not shared with the parent of a fork.
    fn own_descriptors(&self) -> io::Result<()> {
        // a child of a fork that is yet to come will be told by that: no need to ask the system each time
        if !self.is_own.get() {
            self.queue.own_descriptors(|fd| {
                self.waiter.replace(Waiter::new(fd)?);
                Ok(())
            })?;
            self.is_own.set(sys::is_installed());
        }
        Ok(())
    }

    /// A key for a new object. Never given twice: after two thousand million it is an error.
    fn next_key(&self) -> Result<u32, Raise> {
        self.own_descriptors().map_err(|error| Raise(format!("no descriptor is left: {error}")))?;
        let key = self.last_key.get() + 1;
        if key >= i32::MAX as u32 {
            return Err(Raise("too many clients and timers were made".to_owned()));
        }
        self.last_key.set(key);
        Ok(key)
    }

    /// Where connects go.
    fn map(&self) -> Rc<Routes> {
        self.led.borrow().as_ref().unwrap_or(&self.map).clone()
    }

    /// The prefix and six hexadecimal digits: the chip's, or random ones.
    fn default_id(&self, prefix: &str) -> String {
        let chip = self.chip_id.unwrap_or_else(|| RandomState::new().hash_one(0) as u32);
        format!("{prefix}_{:06X}", chip & 0xFF_FFFF)
    }

    fn now(&self) -> Instant {
        self.clock.borrow().now()
    }

    /// The interpreter ends: everybody says goodbye.
    fn close(&self) {
        log::unsubscribe(&self.queue);
        self.timers.clear();
        let mut leaving: Vec<u32> = self.peers.all().iter().map(|peer| peer.client.id()).collect();
        leaving.extend(self.peers.take_active().iter().map(|peer| peer.client.id()));
        client::shutdown_all(GOODBYE, |client| leaving.contains(&client.id()));
    }

    /// Lets an object live without being referred to.
    fn anchor(&self, key: u32, object: &AnyUserData) -> mlua::Result<()> {
        self.anchors.raw_set(key, object)?;
        self.objects.raw_set(key, Value::Nil)
    }

    /// Leaves an object to the collector.
    fn release(&self, key: u32) -> mlua::Result<()> {
        self.objects.raw_set(key, self.anchors.raw_get::<Value>(key)?)?;
        self.anchors.raw_set(key, Value::Nil)
    }

    /// The userdata of this key was collected.
    fn forget(&self, key: u32) {
        // In a forked child the locks of a client may be held for ever.
        if sys::forked() {
            return;
        }
        match self.peers.remove(key) {
            Some(peer) => self.past.set(add(self.past.get(), peer.client.stats())),
            None => self.timers.forget(key),
        }
    }

    /// The counters of all clients that there were.
    fn stats(&self) -> Stats {
        self.peers.all().iter().fold(self.past.get(), |sum, peer| add(sum, peer.client.stats()))
    }
}

/// The sum of two sets of counters.
fn add(mut sum: Stats, more: Stats) -> Stats {
    let (to, from) = (&mut sum.session, &more.session);
    to.packets_in += from.packets_in;
    to.packets_out += from.packets_out;
    to.bytes_in += from.bytes_in;
    to.bytes_out += from.bytes_out;
    to.dropped += from.dropped;
    for qos in 0..3 {
        to.messages_in[qos] += from.messages_in[qos];
        to.messages_out[qos] += from.messages_out[qos];
    }
    sum.reconnects += more.reconnects;
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_of_the_script() {
        let lua = Lua::new();
        let state = Rc::new(State::new(&lua, EventQueue::new().unwrap(), Options::default()).unwrap());
        let shell = hot::shell(&lua, state.clone()).unwrap();
        let maker = Maker { lua: &lua, state, shell };
        let plain = maker.function("plain", |_, _| -> Reply { panic!("on purpose") }).unwrap();
        let calling =
            maker.function("calling", |_, _| -> Result<_, Thrown> { panic!("on purpose") }).unwrap();
        for function in [plain, calling] {
            let pcall: Function = lua.globals().get("pcall").unwrap();
            let (ok, message): (bool, String) = pcall.call(function).unwrap();
            assert!(!ok && message.ends_with(INTERNAL_ERROR), "{message}");
        }
    }
}
