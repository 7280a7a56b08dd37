//! `require("mqtt.broker")`: the embedded broker with a Lua face, for tests and demos.

use std::collections::HashMap;
use std::io;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use mlua::{AnyUserData, LuaString, Table, Value};

use super::args::{Arg, Args, Raise};
use super::{Maker, Reply, State, reply};
use crate::broker::{Broker, BrokerOptions, Cut, Faults, Kinds, OnConnect, Received, kind_named};
use crate::codec::{ConnectCode, Kind, Qos, topic};
use crate::sys;

/// What stands in the object's `handle`; none only while it is dropped.
struct Handle(Option<Arc<Broker>>);

impl Drop for Handle {
    fn drop(&mut self) {
        // In a forked child the broker's locks may be held for ever.
        if sys::forked() {
            mem::forget(self.0.take());
        }
    }
}

/// Where an object keeps its [`Handle`].
const HANDLE: &str = "handle";

type Method = fn(&Broker, &Args<'_>) -> Reply;

const METHODS: [(&str, Method); 16] = [
    ("stop", |broker, args| {
        broker.stop();
        reply(args.lua, ())
    }),
    ("restart", |broker, args| {
        broker.restart().map_err(|error| Raise(format!("cannot start the broker: {error}")))?;
        reply(args.lua, ())
    }),
    ("publish", publish),
    ("received", received),
    ("retained", |broker, args| {
        let list = args.lua.create_table()?;
        for (topic, payload) in broker.retained() {
            list.raw_set(topic, args.lua.create_string(&payload)?)?;
        }
        reply(args.lua, list)
    }),
    ("clear_received", |broker, args| {
        broker.clear_received();
        reply(args.lua, ())
    }),
    ("clients", |broker, args| reply(args.lua, args.lua.create_sequence_from(broker.clients())?)),
    ("subscriptions", |broker, args| {
        let list = broker.subscriptions(&args.at(1).text()?);
        let list = list.into_iter().map(|(filter, qos)| (filter, qos as u8));
        reply(args.lua, args.lua.create_table_from(list)?)
    }),
    ("accepted", |broker, args| reply(args.lua, broker.accepted())),
    ("dropped", |broker, args| reply(args.lua, broker.dropped())),
    ("kill", |broker, args| reply(args.lua, broker.kill(&args.at(1).text()?))),
    ("send_raw", |broker, args| {
        let (client, bytes) = (args.at(1).text()?, args.at(2).bytes()?.as_bytes().to_vec());
        reply(args.lua, broker.send_raw(&client, bytes))
    }),
    ("faults", |broker, args| {
        broker.set_faults(faults(&args.at(1))?);
        reply(args.lua, ())
    }),
    ("next_faults", |broker, args| {
        broker.set_next_faults(faults(&args.at(1))?);
        reply(args.lua, ())
    }),
    ("client_faults", |broker, args| {
        broker.set_client_faults(&args.at(1).text()?, faults(&args.at(2))?);
        reply(args.lua, ())
    }),
    ("clear_faults", |broker, args| {
        broker.clear_faults();
        reply(args.lua, ())
    }),
];

/// Makes the module's table.
pub(super) fn open(maker: &Maker<'_>) -> mlua::Result<Table> {
    let methods = maker.lua.create_table()?;
    for (name, method) in METHODS {
        maker.add(&methods, name, move |_, mut args| {
            let object = handle(&args.take_self()).ok_or_else(|| Raise::bad_self(name, "broker"))?;
            let object = object.borrow::<Handle>().map_err(|_| Raise::bad_self(name, "broker"))?;
            let broker = object.0.as_ref().ok_or_else(|| Raise::bad_self(name, "broker"))?;
            method(broker, &args)
        })?;
    }
    let meta = maker.lua.create_table()?;
    meta.raw_set("__index", methods)?;
    maker.lua.register_userdata_type::<Handle>(|_| ())?;
    maker.lua.set_named_registry_value(META, meta)?;
    let module = maker.lua.create_table()?;
    maker.add(&module, "start", |state, args| start(state, &args))?;
    Ok(module)
}

/// The metatable of the objects, in the registry.
const META: &str = "nodemcu-mqtt.broker";

fn handle(value: &Value) -> Option<AnyUserData> {
    let Value::Table(table) = value else { return None };
    match table.raw_get(HANDLE) {
        Ok(Value::UserData(handle)) if handle.is::<Handle>() => Some(handle),
        _ => None,
    }
}

fn start(state: &State, args: &Args<'_>) -> Reply {
    let mut options = BrokerOptions::default();
    let mut at_first = None;
    let mut kept = Vec::new();
    if let Some(arg) = args.at(1).given() {
        let known = [
            "port",
            "users",
            "retained",
            "max_in_flight",
            "max_queue",
            "max_output",
            "max_received",
            "faults",
        ];
        let table = arg.record(&known)?;
        let field = |key| table.field(key);
        let size = |key, min, default| match field(key) {
            Some(arg) => Ok(arg.integer(min..=1 << 40)? as usize),
            None => Ok::<_, Raise>(default),
        };
        options.port = field("port").map_or(Ok(0), |arg| arg.integer(0..=65535))? as u16;
        options.users = field("users").map(|arg| users(&arg)).transpose()?;
        options.max_in_flight = size("max_in_flight", 1, options.max_in_flight)?;
        options.max_queue = size("max_queue", 0, options.max_queue)?;
        options.max_output = size("max_output", 0, options.max_output)?;
        options.max_received = size("max_received", 0, options.max_received)?;
        kept = field("retained").map_or(Ok(Vec::new()), |arg| retained(&arg))?;
        at_first = field("faults").map(|arg| faults(&arg)).transpose()?;
    }
    options.time = super::testing::time(state);
    let port = options.port;
    let broker = Broker::start(options)
        .map_err(|error: io::Error| Raise(format!("cannot start the broker on 127.0.0.1:{port}: {error}")))?;
    if let Some(faults) = at_first {
        broker.set_faults(faults);
    }
    for (topic, payload) in kept {
        broker.publish(&topic, payload, Qos::ExactlyOnce, true).map_err(|error| args.at(1).reject(error))?;
    }
    let broker = Arc::new(broker);
    let mut brokers = state.brokers.borrow_mut();
    brokers.retain(|broker| broker.strong_count() > 0);
    brokers.push(Arc::downgrade(&broker));
    let object = args.lua.create_table()?;
    object.raw_set("port", broker.port())?;
    object.raw_set(HANDLE, args.lua.create_any_userdata(Handle(Some(broker)))?)?;
    object.set_metatable(Some(args.lua.named_registry_value(META)?))?;
    reply(args.lua, object)
}

/// A table user name -> password.
fn users(arg: &Arg<'_>) -> Result<HashMap<String, String>, Raise> {
    let table = arg.table()?;
    let mut users = HashMap::new();
    for pair in table.pairs::<Value, Value>() {
        let (user, password) = pair?;
        users.insert(arg.inside(None, user).text()?, arg.inside(None, password).text()?);
    }
    Ok(users)
}

/// A table topic -> payload.
fn retained(arg: &Arg<'_>) -> Result<Vec<(String, Vec<u8>)>, Raise> {
    let table = arg.table()?;
    let mut messages = Vec::new();
    for pair in table.pairs::<Value, Value>() {
        let (topic, payload) = pair?;
        let payload = arg.inside(None, payload).bytes()?.as_bytes().to_vec();
        messages.push((arg.inside(None, topic).topic_name()?, payload));
    }
    Ok(messages)
}

fn publish(broker: &Broker, args: &Args<'_>) -> Reply {
    let topic = args.at(1).topic_name()?;
    let payload = args.at(2).bytes()?.as_bytes().to_vec();
    let qos = args.at(3).given().map_or(Ok(Qos::AtMostOnce), |qos| qos.qos())?;
    let retain = args.at(4).given().map_or(Ok(false), |flag| flag.flag())?;
    broker.publish(&topic, payload, qos, retain).map_err(|error| args.at(2).reject(error))?;
    reply(args.lua, ())
}

/// Which of the messages received.
#[derive(Default)]
struct Wanted {
    client: Option<String>,
    /// A filter.
    topic: Option<String>,
    payload: Option<LuaString>,
    qos: Option<Qos>,
    retain: Option<bool>,
    dup: Option<bool>,
}

impl Wanted {
    fn read(arg: &Arg<'_>) -> Result<Wanted, Raise> {
        let table = arg.record(&["client", "topic", "payload", "qos", "retain", "dup"])?;
        let field = |key| table.field(key);
        Ok(Wanted {
            client: field("client").map(|arg| arg.text()).transpose()?,
            topic: field("topic").map(|arg| arg.topic_filter()).transpose()?,
            payload: field("payload").map(|arg| arg.bytes()).transpose()?,
            qos: field("qos").map(|arg| arg.qos()).transpose()?,
            retain: field("retain").map(|arg| arg.flag()).transpose()?,
            dup: field("dup").map(|arg| arg.flag()).transpose()?,
        })
    }

    fn fits(&self, message: &Received) -> bool {
        self.client.as_deref().is_none_or(|client| client == &*message.client)
            && self.topic.as_deref().is_none_or(|filter| topic::matches(filter, &message.topic))
            && self.payload.as_ref().is_none_or(|payload| *payload.as_bytes() == *message.payload)
            && self.qos.is_none_or(|qos| qos == message.qos)
            && self.retain.is_none_or(|retain| retain == message.retain)
            && self.dup.is_none_or(|dup| dup == message.dup)
    }
}

/// A list of tables, oldest first.
fn received(broker: &Broker, args: &Args<'_>) -> Reply {
    let wanted = args.at(1).given().map_or(Ok(Wanted::default()), |arg| Wanted::read(&arg))?;
    let list = args.lua.create_table()?;
    for message in broker.received().into_iter().filter(|message| wanted.fits(message)) {
        let entry = args.lua.create_table()?;
        entry.raw_set("client", &*message.client)?;
        entry.raw_set("topic", &*message.topic)?;
        entry.raw_set("payload", args.lua.create_string(&message.payload)?)?;
        entry.raw_set("qos", message.qos as u8)?;
        entry.raw_set("id", message.id.map(|id| id.get()))?;
        entry.raw_set("retain", message.retain)?;
        entry.raw_set("dup", message.dup)?;
        entry.raw_set("repeated", message.repeated)?;
        list.raw_push(entry)?;
    }
    reply(args.lua, list)
}

/// The keys of a table of faults.
const FAULTS: [&str; 15] = [
    // CONNECT is answered with this code (1 to 5), not at all, or with these bytes
    "connack",
    "ignore_connect",
    "answer_connect",
    // the flag in CONNACK
    "session_present",
    // the connection ends after so many bytes or packets, read or written
    "cut_after_bytes_received",
    "cut_after_bytes_sent",
    "cut_after_packets_received",
    "cut_after_packets_sent",
    // seconds that everything sent is held back
    "delay",
    // lists of packets, by name
    "swallow",
    "duplicate",
    "byte_by_byte",
    "deaf",
    // SUBSCRIBE
    "refuse_filters",
    "max_qos",
];

/// A table of faults.
fn faults(arg: &Arg<'_>) -> Result<Faults, Raise> {
    let table = arg.record(&FAULTS)?;
    let field = |key| table.field(key);
    let flag = |key| field(key).map_or(Ok(false), |arg| arg.flag());
    let mut faults = Faults::default();
    if let Some(code) = field("connack") {
        let code = ConnectCode::new(code.integer(1..=5)? as u8).expect("checked above");
        faults.on_connect = OnConnect::Refuse(code);
    }
    if flag("ignore_connect")? {
        faults.on_connect = OnConnect::Ignore;
    }
    if let Some(bytes) = field("answer_connect") {
        faults.on_connect = OnConnect::Bytes(bytes.bytes()?.as_bytes().to_vec().into());
    }
    faults.session_present = field("session_present").map(|arg| arg.flag()).transpose()?;
    type NewCut = fn(u64) -> Cut;
    let cuts: [(&str, NewCut); 4] = [
        ("cut_after_bytes_received", Cut::BytesReceived),
        ("cut_after_bytes_sent", Cut::BytesSent),
        ("cut_after_packets_received", Cut::PacketsReceived),
        ("cut_after_packets_sent", Cut::PacketsSent),
    ];
    for (key, cut) in cuts {
        if let Some(count) = field(key) {
            faults.cut = Some(cut(count.integer(0..=1 << 40)? as u64));
        }
    }
    faults.delay = field("delay").map_or(Ok(Duration::ZERO), |arg| arg.seconds(0.0, 3600.0))?;
    faults.swallow = field("swallow").map_or(Ok(Kinds::default()), |arg| kinds(&arg))?;
    faults.repeat = field("duplicate").map_or(Ok(Kinds::default()), |arg| kinds(&arg))?;
    faults.byte_by_byte = flag("byte_by_byte")?;
    faults.deaf = flag("deaf")?;
    faults.refuse_filters = field("refuse_filters").map_or(Ok(Vec::new()), |arg| arg.strings())?;
    faults.max_qos = field("max_qos").map(|arg| arg.qos()).transpose()?;
    Ok(faults)
}

fn kinds(arg: &Arg<'_>) -> Result<Kinds, Raise> {
    let kinds = arg.strings()?.into_iter().map(|name| kind_named(&name).map_err(|error| arg.reject(error)));
    Ok(kinds.collect::<Result<Vec<Kind>, Raise>>()?.into_iter().collect())
}
