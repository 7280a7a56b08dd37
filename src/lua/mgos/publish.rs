//! `pub` and its variants that build JSON, and what the script prints.

use std::rc::Rc;
use std::time::SystemTime;

use mlua::{Table, Value};

use super::conn::Target;
use super::face::Connection;
use super::format::{self, Values};
use super::section::Section;
use super::value;
use crate::client::Sending;
use crate::codec::{Qos, v4};
use crate::lua::args::{Arg, Args, Raise};
use crate::lua::{Reply, State, reply};
use crate::session::Token;

/// `pub(topic, message[, qos[, retain]])` -> packet id, or 0
pub(super) fn publish(_: &Rc<State>, target: &Target, args: &Args<'_>) -> Reply {
    let topic = args.at(1).topic_name()?;
    let message = args.at(2);
    let bytes = message.bytes()?;
    let qos = args.at(3).given().map_or(Ok(Qos::AtMostOnce), |qos| qos.qos())?;
    let retain = args.at(4).given().map_or(Ok(false), |flag| flag.flag())?;
    let id = send(target, &message, &topic, &bytes.as_bytes(), qos, retain)?;
    reply(args.lua, id)
}

/// `pubf(topic, qos, retain, format, …)` -> packet id, or 0
pub(super) fn publish_format(_: &Rc<State>, target: &Target, args: &Args<'_>) -> Reply {
    formatted(target, args, |n| Ok(args.at(FORMAT + n)))
}

/// `pubv(topic, qos, retain, format, values)` -> packet id, or 0
pub(super) fn publish_values(_: &Rc<State>, target: &Target, args: &Args<'_>) -> Reply {
    let list = args.at(FORMAT + 1);
    let table = list.table()?;
    formatted(target, args, |n| Ok(list.inside(None, table.raw_get::<Value>(n)?)))
}

/// Which argument the format is.
const FORMAT: usize = 4;

fn formatted<'a>(
    target: &Target,
    args: &'a Args<'_>,
    at: impl FnMut(usize) -> Result<Arg<'a>, Raise>,
) -> Reply {
    let topic = args.at(1).topic_name()?;
    let qos = args.at(2).given().map_or(Ok(Qos::AtMostOnce), |qos| qos.qos())?;
    let retain = args.at(3).given().map_or(Ok(false), |flag| flag.flag())?;
    let format = args.at(FORMAT);
    let text = utf8(&format)?;
    let json = format::format(&text, &mut Taken { at, next: 0, format: &format })?;
    let id = send(target, &format, &topic, json.as_bytes(), qos, retain)?;
    reply(args.lua, id)
}

/// What a call gives to the conversions of its format, one after the other.
struct Taken<'a, F> {
    /// The value of this number, from 1.
    at: F,
    next: usize,
    format: &'a Arg<'a>,
}

impl<'a, F: FnMut(usize) -> Result<Arg<'a>, Raise>> Taken<'_, F> {
    fn take(&mut self) -> Result<Arg<'a>, Raise> {
        self.next += 1;
        (self.at)(self.next)
    }
}

impl<'a, F: FnMut(usize) -> Result<Arg<'a>, Raise>> Values for Taken<'_, F> {
    type Error = Raise;

    fn wrong(&self, text: String) -> Raise {
        self.format.reject(text)
    }

    fn integer(&mut self) -> Result<i64, Raise> {
        self.take()?.whole()
    }

    fn number(&mut self) -> Result<f64, Raise> {
        self.take()?.number()
    }

    fn boolean(&mut self) -> Result<bool, Raise> {
        self.take()?.flag()
    }

    fn text(&mut self) -> Result<String, Raise> {
        utf8(&self.take()?)
    }

    fn text_or_nil(&mut self) -> Result<Option<String>, Raise> {
        self.take()?.given().map(|given| utf8(&given)).transpose()
    }

    fn bytes(&mut self) -> Result<Vec<u8>, Raise> {
        Ok(self.take()?.bytes()?.as_bytes().to_vec())
    }

    fn result(&mut self) -> Result<serde_json::Value, Raise> {
        let arg = self.take()?;
        let returned: Value = arg
            .function()?
            .call(())
            .map_err(|error| arg.reject(format_args!("the function failed: {error}")))?;
        value::to_json(&returned).map_err(|error| arg.reject(error))
    }
}

/// A string of any length.
fn utf8(arg: &Arg<'_>) -> Result<String, Raise> {
    let string = arg.bytes()?;
    let text = std::str::from_utf8(&string.as_bytes()).map(str::to_owned);
    text.map_err(|_| arg.reject("UTF-8 string expected, got other bytes"))
}

/// The packet id; 0 where the message can neither be sent nor kept.
fn send(
    target: &Target,
    message: &Arg<'_>,
    topic: &str,
    payload: &[u8],
    qos: Qos,
    retain: bool,
) -> Result<u16, Raise> {
    let size = v4::publish_size(topic, payload, qos);
    message.check_packet(size, format_args!("a payload of {}", payload.len()))?;
    Ok(offer(target, topic, payload, qos, retain)?.unwrap_or(0))
}

fn offer(target: &Target, topic: &str, payload: &[u8], qos: Qos, retain: bool) -> Result<Option<u16>, Raise> {
    if target.face.with_section(0, Section::is_usable) != Some(true) {
        return Ok(None);
    }
    let client = &target.peer.client;
    let outcome = client.publish_with_id(topic, payload, qos, retain, Token::NONE, Sending::Soon);
    Ok(outcome.ok().map(|id| id.get()))
}

// What the script prints.

/// With more than this unsent, lines are dropped.
const MAX_UNSENT: usize = 2048;

/// Levels of the log for what is printed and what is complained about.
const INFO: u8 = 2;
const ERROR: u8 = 0;

/// Of `console.lua`: publishes what was written to the descriptor 1 or 2, if the configuration names a topic for it.
/// Never fails: printing shall not.
pub(super) fn emit(state: &State, target: &Target, args: &Args<'_>) -> Reply {
    let fd = args.at(1).integer(1..=2)? as u8;
    let text = args.at(2).bytes()?;
    let text = text.as_bytes();
    let text = text.strip_suffix(b"\n").unwrap_or(&text);
    let connection = &target.face;
    let wall = state.clock.borrow().wall();
    let Some((topic, prefix)) = line_start(connection, fd, wall) else { return reply(args.lua, ()) };
    if target.peer.client.unsent_bytes() <= MAX_UNSENT {
        let _ = offer(target, &topic, &[prefix.as_bytes(), text].concat(), Qos::AtMostOnce, false);
    }
    reply(args.lua, ())
}

/// Where to publish, and `id seq time level|`.
fn line_start(connection: &Connection, fd: u8, wall: SystemTime) -> Option<(String, String)> {
    let id = connection.device_id();
    let config = connection.config.borrow();
    let config = config.as_ref()?;
    let topic = if fd == 1 { &config.debug.stdout_topic } else { &config.debug.stderr_topic };
    if topic.is_empty() {
        return None;
    }
    let level = match (config.main.debug_use_log_level, fd) {
        (false, fd) => fd,
        (true, 1) => INFO,
        (true, _) => ERROR,
    };
    let number = connection.lines.get();
    connection.lines.set(number + 1);
    let time = wall.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Some((topic.clone(), format!("{id} {number} {:.3} {level}|", time.as_secs_f64())))
}

/// Adds the numbers of events under their names.
pub(super) fn add_events(table: &Table) -> mlua::Result<()> {
    for (name, number) in EVENTS {
        table.raw_set(name, number)?;
    }
    Ok(())
}

/// The numbers of events, as the manual has them.
const EVENTS: [(&str, u8); 7] = [
    ("EV_POLL", 0),
    ("EV_CLOSE", 5),
    ("EV_CONNACK", 202),
    ("EV_PUBLISH", 203),
    ("EV_PUBACK", 204),
    ("EV_SUBACK", 209),
    ("EV_UNSUBACK", 211),
];
