//! The methods of a client.

use std::rc::Rc;
use std::time::Duration;

use mlua::{Table, Value};

use super::connect;
use super::device::Device;
use crate::client::Sending;
use crate::client::{ConnectOptions, Credentials, Options, Policy, Profile, Server, State as Activity, Will};
use crate::codec::{Qos, v4};
use crate::lua::args::{Arg, Args, Raise};
use crate::lua::event_loop::Call;
use crate::lua::peer::{Peer, slot};
use crate::lua::target::{self, Kind, Method, bound};
use crate::lua::{Maker, Reply, State, hot, reply};
use crate::net::Transport;
use crate::session::{Event, Refused, Token};

/// A client of this module.
pub(super) type Target = target::Target<Device>;

impl Kind for Device {
    const NAME: &str = "mqtt client";
    const IS_DEVICE: bool = true;
}

impl Target {
    /// Fills a slot with a function, or empties it.
    fn set(&self, args: &Args<'_>, slot: i32, function: Option<mlua::Function>) -> Result<(), Raise> {
        // nil would take room in the table too
        if function.is_none() && !self.peer.has(slot) {
            return Ok(());
        }
        self.peer.fill(slot, function.is_some());
        let value = function.map_or(Value::Nil, Value::Function);
        Ok(hot::set_slot(args.lua, &self.object, slot, value)?)
    }

    /// The token for a call with this callback.
    fn token(&self, callback: Option<&mlua::Function>) -> Token {
        if callback.is_some() && self.peer.each { self.peer.next_token() } else { Token::NONE }
    }

    /// A call was accepted: keeps its callback, for it alone or for all of its kind.
    fn keep(
        &self,
        args: &Args<'_>,
        slot: i32,
        token: Token,
        callback: Option<mlua::Function>,
    ) -> Result<(), Raise> {
        match callback {
            None => Ok(()),
            Some(callback) if token.is_some() => {
                Ok(hot::set_slot(args.lua, &self.object, slot::of(token), Value::Function(callback))?)
            }
            callback => self.set(args, slot, callback),
        }
    }
}

const METHODS: [(&str, Method<Device>); 9] = [
    ("lwt", lwt),
    ("on", on),
    ("connect", connect),
    ("publish", publish),
    ("subscribe", subscribe),
    ("unsubscribe", unsubscribe),
    ("pending", pending),
    ("state", get_state),
    ("close", close),
];

/// Makes the metatable of the clients.
pub(super) fn register(maker: &Maker<'_>) -> mlua::Result<Table> {
    let mut methods = Vec::new();
    for (name, method) in METHODS {
        let ordinary = maker.ordinary(name, bound(method))?;
        methods.push((name, hot::wrap_short(maker.lua, &maker.shell, name, ordinary, &maker.state, None)?));
    }
    target::register::<Device>(maker, methods)
}

/// Of `credentials.lua`: client, whether there is a function for the user name, what it returned, the same for the
/// password. What there is no function for is the client's own.
pub(super) fn give_credentials(state: &Rc<State>, mut args: Args<'_>) -> Reply {
    let target = Target::take(state, &mut args)?;
    let settings = &target.face.settings;
    let wrong = |what, Raise(why)| {
        let why = why.split_once('(').map_or("", |(_, why)| why.trim_end_matches(')'));
        Raise(format!("the {what} function returned a wrong value ({why})"))
    };
    let username = if args.at(1).flag()? {
        args.at(2).given().map(|it| it.text()).transpose().map_err(|why| wrong("username", why))?
    } else {
        settings.credentials().username
    };
    let password = if args.at(3).flag()? {
        args.at(4).given().map(|it| it.short_bytes()).transpose().map_err(|why| wrong("password", why))?
    } else {
        settings.credentials().password
    };
    if username.is_none() && password.is_some() {
        return Err(Raise(
            "there is a password but the username function returned nil [MQTT-3.1.2-22]".into(),
        ));
    }
    target.peer.client.provide_credentials(Some(Credentials { username, password }));
    reply(args.lua, ())
}

/// Of `credentials.lua`: a function has failed.
pub(super) fn refuse_credentials(state: &Rc<State>, mut args: Args<'_>) -> Reply {
    if let Some(target) = Target::find(state, args.lua, args.take_self()) {
        target.peer.client.provide_credentials(None);
    }
    reply(args.lua, ())
}

fn lwt(_: &Rc<State>, target: &Target, args: &Args<'_>) -> Reply {
    let topic = args.at(1).topic_name()?;
    let message = args.at(2).short_bytes()?;
    let qos = args.at(3).given().map_or(Ok(Qos::AtMostOnce), |qos| qos.qos())?;
    let retain = args.at(4).given().map_or(Ok(false), |flag| flag.flag())?;
    let will = Will { topic, message, qos, retain };
    // A reconnect may come before the next `connect`.
    target.peer.client.set_will(Some(will.clone()));
    target.face.will.set(Some(Box::new(will)));
    reply(args.lua, ())
}

/// The events of `on`, with their slots.
const EVENTS: [(&str, i32); 8] = [
    ("connect", slot::CONNECT),
    ("connfail", slot::CONNFAIL),
    ("message", slot::MESSAGE),
    ("overflow", slot::OVERFLOW),
    ("offline", slot::OFFLINE),
    ("puback", slot::PUBACK),
    ("suback", slot::SUBACK),
    ("unsuback", slot::UNSUBACK),
];

/// Where the callback of an event stands.
pub(super) fn event_slot(event: &[u8]) -> Option<i32> {
    EVENTS.iter().find(|(known, _)| known.as_bytes() == event).map(|(_, slot)| *slot)
}

/// The callback of an event was set by `on`, or taken away.
pub(super) fn was_set(device: &Device, slot: i32) {
    if slot == slot::SUBACK {
        device.suback_by_on.set(true);
    }
}

fn on(_: &Rc<State>, target: &Target, args: &Args<'_>) -> Reply {
    let event = args.at(1);
    let name = event.bytes()?;
    let Some(slot) = event_slot(&name.as_bytes()) else {
        let known = EVENTS.map(|(name, _)| name).join(", ");
        return Err(event.reject(format_args!("one of {known} expected, got {:?}", name.to_string_lossy())));
    };
    let function = args.at(2).function_or_nil()?;
    was_set(&target.face, slot);
    target.set(args, slot, function)?;
    reply(args.lua, ())
}

fn connect(state: &Rc<State>, target: &Target, args: &Args<'_>) -> Reply {
    let connect::Request { server, transport, reconnect, credentials, ok, nok } =
        connect::parse(args, &state.map())?;
    let Target { peer, face: device, .. } = target;
    begin(state, peer, device);
    let keeps_ok = state.as_esp8266 && ok.is_none() && !peer.has(slot::CONNECT);
    if !keeps_ok {
        target.set(args, slot::OK, ok)?;
        device.accepted.set(false);
    }
    target.set(args, slot::NOK, nok)?;
    target.connect(state, options(peer, device, server, transport, reconnect, credentials))?;
    reply(args.lua, true)
}

/// The first part of every `connect`: what Lua has taken of the attempt before this one and not come to, neither ok nor
/// nok, is forgotten.
pub(super) fn begin(state: &State, peer: &Peer, device: &Device) {
    let outcome = |event: &Event<'_>| {
        matches!(event, Event::Connected { .. } | Event::ConnectFailed { .. } | Event::CredentialsWanted)
    };
    state.cursor.cut(peer, |event| !outcome(event), |_| ());
    state.cursor.cut_due(|call| {
        let slots = [slot::OK, slot::NOK, slot::CONNECT, slot::CONNFAIL];
        call.key == peer.key && slots.contains(&call.slot)
    });
    device.connected_at.set(state.steps.get());
}

/// What a `connect` is about. `credentials` replace those of the client.
pub(super) fn options(
    peer: &Peer,
    device: &Device,
    server: Server,
    transport: Transport,
    reconnect: Option<Policy>,
    credentials: Option<Credentials>,
) -> Options {
    let settings = &device.settings;
    let asks = peer.has(slot::USERNAME) || peer.has(slot::PASSWORD);
    let ask_credentials = asks && credentials.is_none();
    let Credentials { username, password } = credentials.unwrap_or_else(|| settings.credentials());
    let connect = ConnectOptions {
        version: settings.version,
        client_id: String::from(&*settings.client_id),
        keep_alive: settings.keep_alive,
        clean_session: settings.clean_session,
        will: device.will(),
        username,
        password,
    };
    let profile = Profile { transport, ..Profile::new(server, connect) };
    Options {
        reconnect,
        connect_timeout: Duration::from_millis(settings.connect_timeout.into()),
        ask_credentials,
        ..Options::new(profile)
    }
}

/// The part of `publish` that is not fast: numbers as strings, and every error. `hot` does the rest.
fn publish(state: &Rc<State>, target: &Target, args: &Args<'_>) -> Reply {
    let topic = args.at(1);
    let name = topic.topic_name()?;
    let payload = args.at(2);
    let bytes = payload.bytes()?;
    // The callback may take the place of qos or retain.
    let callback = (3..5).find(|&n| args.at(n).is_function()).unwrap_or(5);
    let plain = |n| (n < callback).then(|| args.at(n)).and_then(|arg| arg.given());
    let qos = plain(3).map_or(Ok(Qos::AtMostOnce), |qos| qos.qos())?;
    let retain = plain(4).map_or(Ok(false), |flag| flag.flag())?;
    let callback = args.at(callback).function_or_nil()?;
    let bytes = bytes.as_bytes();
    let size = v4::publish_size(&name, &bytes, qos);
    payload.check_packet(size, format_args!("a payload of {}", bytes.len()))?;
    let token = target.token(callback.as_ref());
    let outcome = target.peer.client.publish(&name, &bytes, qos, retain, token, Sending::Soon);
    drop(bytes);
    answer(state, target, args, outcome, slot::PUBACK, token, callback)
}

fn subscribe(state: &Rc<State>, target: &Target, args: &Args<'_>) -> Reply {
    let first = args.at(1);
    let mut filters: Vec<(String, Qos)> = Vec::new();
    let mut callback = args.at(2);
    if let Value::Table(table) = &*first.value {
        for pair in table.pairs::<Value, Value>() {
            let (filter, qos) = pair?;
            let filter = first.inside(None, filter).topic_filter()?;
            let qos = first.inside(Some(&filter), qos).qos()?;
            filters.push((filter, qos));
        }
        check_count(&first, filters.len(), "MQTT-3.8.3-3")?;
        // scripts have a stray qos here
        if callback.clone().given().is_some_and(|it| it.qos().is_ok()) {
            callback = args.at(3);
        }
    } else {
        let filter = first.topic_filter()?;
        let mut qos = Qos::AtMostOnce;
        if !callback.is_function() {
            qos = callback.given().map_or(Ok(qos), |it| it.qos())?;
            callback = args.at(3);
        }
        filters.push((filter, qos));
    }
    let callback = callback.function_or_nil()?;
    let filters: Vec<(&str, Qos)> = filters.iter().map(|(filter, qos)| (filter.as_str(), *qos)).collect();
    first.check_packet(v4::subscribe_size(filters.iter().copied()), "more filters")?;
    let token = target.token(callback.as_ref());
    let outcome = target.peer.client.subscribe(&filters, token, Sending::Soon);
    if outcome.is_ok() && callback.is_some() && !token.is_some() {
        target.face.suback_by_on.set(false);
    }
    answer(state, target, args, outcome, slot::SUBACK, token, callback)
}

fn unsubscribe(state: &Rc<State>, target: &Target, args: &Args<'_>) -> Reply {
    let first = args.at(1);
    let mut filters = Vec::new();
    if let Value::Table(table) = &*first.value {
        for pair in table.pairs::<Value, Value>() {
            filters.push(first.inside(None, pair?.0).topic_filter()?);
        }
        check_count(&first, filters.len(), "MQTT-3.10.3-2")?;
    } else {
        filters.push(first.topic_filter()?);
    }
    let callback = args.at(2).function_or_nil()?;
    let filters: Vec<&str> = filters.iter().map(String::as_str).collect();
    first.check_packet(v4::unsubscribe_size(filters.iter().copied()), "more filters")?;
    let token = target.token(callback.as_ref());
    let outcome = target.peer.client.unsubscribe(&filters, token, Sending::Soon);
    answer(state, target, args, outcome, slot::UNSUBACK, token, callback)
}

/// So many filters one table may hold. MQTT sets no such limit, but whoever exceeds it has filled the table by mistake:
/// no broker is made for packets like that.
const MAX_FILTERS: usize = 65_535;

fn check_count(table: &Arg<'_>, count: usize, clause: &str) -> Result<(), Raise> {
    match count {
        0 => Err(table.reject(format_args!("table of filters expected, got an empty one [{clause}]"))),
        1..=MAX_FILTERS => Ok(()),
        _ => Err(table.reject(format_args!("at most {MAX_FILTERS} filters expected, got {count}"))),
    }
}

/// true, or false and why; an accepted call's callback is kept.
fn answer(
    state: &State,
    target: &Target,
    args: &Args<'_>,
    outcome: Result<(), Refused>,
    slot: i32,
    token: Token,
    callback: Option<mlua::Function>,
) -> Reply {
    match outcome {
        Ok(()) => {
            state.peers.mark_dirty(&target.peer);
            target.keep(args, slot, token, callback)?;
            reply(args.lua, true)
        }
        Err(why) => reply(args.lua, (false, why.as_str())),
    }
}

fn pending(_: &Rc<State>, target: &Target, args: &Args<'_>) -> Reply {
    let (messages, bytes) = target.peer.client.pending();
    reply(args.lua, (messages, bytes))
}

fn get_state(_: &Rc<State>, target: &Target, args: &Args<'_>) -> Reply {
    reply(
        args.lua,
        match target.peer.client.state() {
            Activity::Idle => "idle",
            Activity::Connecting => "connecting",
            Activity::Connected => "connected",
            Activity::Reconnecting => "reconnecting",
        },
    )
}

fn close(state: &Rc<State>, target: &Target, args: &Args<'_>) -> Reply {
    let Target { peer, face: device, .. } = target;
    if state.as_esp8266
        && device.connected_at.get() == state.steps.get()
        && peer.client.state() == Activity::Connecting
    {
        tracing::warn!(
            target: "mqtt",
            "client {:?}: close() in one go with connect() is left out, as on the ESP8266",
            device.settings.client_id
        );
        return reply(args.lua, ());
    }
    let mut dropped = Vec::new();
    leave(state, peer, |token| dropped.push(token));
    for token in dropped {
        hot::set_slot(args.lua, &target.object, slot::of(token), Value::Nil)?;
    }
    target.set(args, slot::OK, None)?;
    target.set(args, slot::NOK, None)?;
    target.let_go(state)?;
    reply(args.lua, ())
}

/// The first part of `close`. Of what Lua has taken and not come to, only the end of a connection that the script knows of
/// is told; the tokens of the rest are handed to `dropped`.
pub(super) fn leave(state: &State, peer: &Peer, dropped: impl FnMut(Token)) {
    peer.client.close();
    let end = |event: &Event<'_>| matches!(event, Event::Offline | Event::Dropped { .. });
    state.cursor.cut(peer, end, dropped);
    state.cursor.cut_due(|call: &Call| call.key == peer.key && call.slot != slot::OFFLINE);
}
