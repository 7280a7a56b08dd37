//! JSON to tables. [`Decoder`] gathers the text until the object at the top is closed; [`Build`] makes the tables.

use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt;
use std::mem;

use mlua::{Function, IntoLuaMulti, Lua, Table, Value};
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::SET;
use crate::lua::args::Raise;
use crate::lua::{Thrown, call};

const TOO_DEEP: &str = "LEVELS_EXCEEDED";

/// Up to this size a text that is not whole is checked whenever a piece comes, above it when it has doubled.
const CHECKED_ALWAYS: usize = 4096;

/// What came of a piece of text.
pub(super) enum Progress {
    Incomplete,
    /// The text of the object or array.
    Complete(Vec<u8>),
}

/// A text that comes in pieces.
pub(super) struct Decoder {
    /// Containers and what stands in them may be at this many levels.
    levels: usize,
    /// Stands for null.
    null: Option<Vec<u8>>,
    text: Vec<u8>,
    /// Containers that are open.
    depth: usize,
    in_string: bool,
    /// After a backslash.
    escaped: bool,
    /// How much of the text was checked last.
    checked: usize,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Done,
    /// There was an error, or what makes the tables has not come to its end.
    Failed,
}

impl Decoder {
    pub(super) fn new(depth: usize, null: Option<Vec<u8>>) -> Decoder {
        Decoder {
            levels: depth - 1,
            null,
            text: Vec::new(),
            depth: 0,
            in_string: false,
            escaped: false,
            checked: 0,
            state: State::Open,
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// The tables are made.
    pub(super) fn done(&mut self) {
        self.state = State::Done;
    }

    /// Takes the next piece. After the end of the object nothing is looked at.
    pub(super) fn feed(&mut self, piece: &[u8]) -> Result<Progress, Raise> {
        if self.state == State::Failed {
            return Err(Raise("JSON parse error: previous call".to_owned()));
        }
        self.state = State::Failed;
        let end = self.scan(piece)?;
        self.text.extend_from_slice(&piece[..end.unwrap_or(piece.len())]);
        if end.is_some() {
            return Ok(Progress::Complete(mem::take(&mut self.text)));
        }
        if self.text.len() < CHECKED_ALWAYS || self.text.len() / 2 >= self.checked {
            self.checked = self.text.len();
            let mut json = serde_json::Deserializer::from_slice(self.begun());
            if let Err(error) = IgnoredAny::deserialize(&mut json)
                && !error.is_eof()
            {
                return Err(parse_error(error));
            }
        }
        self.state = State::Open;
        Ok(Progress::Incomplete)
    }

    /// The text, but for a number at its end: as the rest may be still to come, `1.` is no error.
    fn begun(&self) -> &[u8] {
        let is_of_number = |byte: &u8| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
        match self.in_string {
            true => &self.text,
            false => {
                let number = self.text.iter().rev().take_while(|byte| is_of_number(byte)).count();
                &self.text[..self.text.len() - number]
            }
        }
    }

    /// Where in a piece the outermost container is closed: behind its last byte.
    fn scan(&mut self, piece: &[u8]) -> Result<Option<usize>, Raise> {
        for (index, byte) in piece.iter().enumerate() {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' if self.in_string => self.escaped = true,
                b'"' if self.depth > 0 => self.in_string = !self.in_string,
                _ if self.in_string => {}
                b'{' | b'[' => {
                    self.depth += 1;
                    if self.depth > self.levels {
                        return Err(parse_error(TOO_DEEP));
                    }
                }
                b'}' | b']' if self.depth > 0 => {
                    self.depth -= 1;
                    if self.depth == 0 {
                        return Ok(Some(index + 1));
                    }
                }
                b' ' | b'\t' | b'\r' | b'\n' => {}
                _ if self.depth == 0 => return Err(parse_error("an object or an array expected")),
                _ => {}
            }
        }
        Ok(None)
    }
}

fn parse_error(what: impl fmt::Display) -> Raise {
    Raise(format!("JSON parse error: {what}"))
}

/// Makes tables of a text.
pub(super) struct Build<'a> {
    lua: &'a Lua,
    levels: usize,
    null: Value,
    /// Of all tables.
    metatable: Option<Table>,
    /// Its function that is asked about each table, and the keys that lead to that.
    checkpath: Option<(Function, Table)>,
    /// The text was not UTF-8: see [`to_text`].
    smuggled: bool,
    /// What the script's functions have thrown: serde only carries text.
    thrown: RefCell<Option<Thrown>>,
}

impl<'a> Build<'a> {
    pub(super) fn new(
        lua: &'a Lua,
        metatable: Option<Table>,
        decoder: &Decoder,
    ) -> Result<Build<'a>, Thrown> {
        let null = match &decoder.null {
            Some(text) => Value::String(lua.create_string(text)?),
            None => Value::NULL,
        };
        let checkpath = match &metatable {
            Some(metatable) => match metatable.get::<Value>("checkpath")? {
                Value::Function(function) => Some((function, lua.create_table()?)),
                _ => None,
            },
            None => None,
        };
        let thrown = RefCell::new(None);
        Ok(Build { lua, levels: decoder.levels, null, metatable, checkpath, smuggled: false, thrown })
    }

    /// The table that the text describes; nil if the script does not want it.
    pub(super) fn run(mut self, text: &[u8]) -> Result<Value, Thrown> {
        let text = to_text(text);
        self.smuggled = matches!(text, Cow::Owned(_));
        let top = self.lua.create_table()?;
        let mut json = serde_json::Deserializer::from_str(&text);
        // There is a limit of our own.
        json.disable_recursion_limit();
        let seed = Place { build: &self, parent: &top, is_top: true, key: Value::Integer(1), level: 1 };
        match seed.deserialize(&mut json) {
            Ok(()) => Ok(top.raw_get(1)?),
            Err(error) => match self.thrown.take() {
                Some(thrown) => Err(thrown),
                None => Err(parse_error(error).into()),
            },
        }
    }

    /// Makes an error of the script's one of serde's.
    fn carry<T, E: serde::de::Error>(&self, result: Result<T, Thrown>) -> Result<T, E> {
        result.map_err(|thrown| {
            self.thrown.replace(Some(thrown));
            E::custom("")
        })
    }

    fn string(&self, text: &str) -> mlua::Result<Value> {
        let string = match self.smuggled {
            true => self.lua.create_string(from_text(text)),
            false => self.lua.create_string(text),
        };
        string.map(Value::String)
    }
}

/// Where a value goes.
struct Place<'a, 'b> {
    build: &'b Build<'a>,
    parent: &'b Table,
    /// The parent is not part of the result.
    is_top: bool,
    key: Value,
    /// Of the value, from 1.
    level: usize,
}

impl Place<'_, '_> {
    fn put(&self, value: Value) -> Result<(), Thrown> {
        if self.is_top || self.build.metatable.is_none() {
            return Ok(self.parent.raw_set(self.key.clone(), value)?);
        }
        let lua = self.build.lua;
        let arguments = (self.parent, self.key.clone(), value).into_lua_multi(lua)?;
        call(lua, &lua.named_registry_value(SET)?, arguments).map(|_| ())
    }

    fn put_scalar<E: serde::de::Error>(&self, value: mlua::Result<Value>) -> Result<(), E> {
        if self.level > self.build.levels {
            return Err(E::custom(TOO_DEEP));
        }
        self.build.carry(value.map_err(Thrown::from).and_then(|value| self.put(value)))
    }

    /// A new table in its place, if the script wants it there.
    fn put_table(&self) -> Result<Table, Thrown> {
        let build = self.build;
        let table = build.lua.create_table()?;
        table.set_metatable(build.metatable.clone())?;
        let mut is_wanted = true;
        if let Some((checkpath, path)) = &build.checkpath {
            if self.level > 1 {
                path.raw_set(self.level - 1, self.key.clone())?;
            }
            let arguments = (&table, path).into_lua_multi(build.lua)?;
            let answer = call(build.lua, checkpath, arguments)?.pop_front();
            is_wanted = !matches!(answer, None | Some(Value::Nil | Value::Boolean(false)));
        }
        if is_wanted {
            self.put(Value::Table(table.clone()))?;
        }
        Ok(table)
    }

    /// The table is filled.
    fn leave(&self) -> Result<(), Thrown> {
        match &self.build.checkpath {
            Some((_, path)) => Ok(path.raw_set(self.level, Value::Nil)?),
            None => Ok(()),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Place<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Place<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<(), E> {
        self.put_scalar(Ok(Value::Boolean(value)))
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<(), E> {
        #[allow(clippy::useless_conversion, reason = "LuaJIT's integers have another type")]
        self.put_scalar(Ok(match value.try_into() {
            Ok(integer) => Value::Integer(integer),
            Err(_) => Value::Number(value as f64),
        }))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<(), E> {
        self.put_scalar(Ok(match value.try_into() {
            Ok(integer) => Value::Integer(integer),
            Err(_) => Value::Number(value as f64),
        }))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<(), E> {
        self.put_scalar(Ok(Value::Number(value)))
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<(), E> {
        self.put_scalar(self.build.string(value))
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        self.put_scalar(Ok(self.build.null.clone()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let table = self.build.carry(self.put_table())?;
        let mut index = 1;
        let inside = |index| Place {
            build: self.build,
            parent: &table,
            is_top: false,
            key: Value::Integer(index),
            level: self.level + 1,
        };
        while list.next_element_seed(inside(index))?.is_some() {
            index += 1;
        }
        self.build.carry(self.leave())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let table = self.build.carry(self.put_table())?;
        while let Some(key) = map.next_key::<String>()? {
            if self.level + 1 > self.build.levels {
                return Err(A::Error::custom(TOO_DEEP));
            }
            let key = self.build.carry(self.build.string(&key).map_err(Thrown::from))?;
            map.next_value_seed(Place {
                build: self.build,
                parent: &table,
                is_top: false,
                key,
                level: self.level + 1,
            })?;
        }
        self.build.carry(self.leave())
    }
}

/// Bytes that are not UTF-8 go through the parser, which wants text, as characters at the end of Unicode's last private
/// area, which no text uses. The devices take any bytes.
fn to_text(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Cow::Borrowed(text);
    }
    let mut text = String::with_capacity(bytes.len() * 2);
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|&byte| smuggled(byte)));
    }
    Cow::Owned(text)
}

const FIRST: u32 = 0x10_FF00;

fn smuggled(byte: u8) -> char {
    char::from_u32(FIRST + u32::from(byte)).expect("at most U+10FFFF")
}

fn from_text(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    for c in text.chars() {
        match u32::from(c).checked_sub(FIRST) {
            Some(byte) => bytes.push(byte as u8),
            None => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    bytes
}
