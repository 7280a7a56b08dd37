//! What a script passes, checked: numbers serve as strings and the reverse, 0/1 and booleans as flags, nil is "not
//! given", and an error names the argument.
//!
//! Nothing is converted by mlua's `FromLua`: its errors are userdata and have their own wording. A function takes its
//! [`Args`], asks each [`Arg`] for what it needs, and returns the [`Raise`] that comes back when it is not there.

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::ops::RangeInclusive;
use std::time::Duration;

use mlua::{Function, Lua, LuaString, MultiValue, Table, Value};

use super::hot::{self, Fields};
use crate::codec::{MAX_REMAINING, Qos, TopicError, topic};

/// A message to be raised as a Lua error; the trampoline in `hot` puts file and line before it.
#[derive(Debug)]
pub(crate) struct Raise(pub(crate) String);

impl Raise {
    /// A method called on something else than its object.
    pub(crate) fn bad_self(name: &str, kind: &str) -> Raise {
        Raise(format!("calling '{name}' on bad self ({kind} expected)"))
    }
}

impl fmt::Display for Raise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<mlua::Error> for Raise {
    /// Only what mlua itself runs out of (memory, stack) comes this way.
    fn from(error: mlua::Error) -> Raise {
        Raise(error.to_string())
    }
}

/// The arguments of one call, self taken off.
#[derive(Debug)]
pub(crate) struct Args<'a> {
    pub(crate) lua: &'a Lua,
    /// What scripts call the function.
    pub(crate) name: &'static str,
    values: MultiValue,
    /// How many arguments the script counts before the first of these.
    before: usize,
}

impl<'a> Args<'a> {
    pub(crate) fn new(lua: &'a Lua, name: &'static str, values: MultiValue) -> Args<'a> {
        Args { lua, name, values, before: 0 }
    }

    /// Takes the first argument off as self: it is not counted in messages.
    pub(crate) fn take_self(&mut self) -> Value {
        self.values.pop_front().unwrap_or(Value::Nil)
    }

    /// Takes the first argument off; the others keep their numbers.
    pub(crate) fn take_first(&mut self) -> Arg<'_> {
        let missing = self.values.is_empty();
        let value = self.values.pop_front().unwrap_or(Value::Nil);
        self.before += 1;
        Arg { lua: self.lua, name: self.name, n: self.before, key: None, value: Cow::Owned(value), missing }
    }

    /// How many arguments there are.
    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }

    /// The argument of this number, from 1.
    pub(crate) fn at(&self, n: usize) -> Arg<'_> {
        let value = self.values.get(n - 1);
        Arg {
            lua: self.lua,
            name: self.name,
            n: n + self.before,
            key: None,
            missing: value.is_none(),
            value: value.map_or(Cow::Owned(Value::Nil), Cow::Borrowed),
        }
    }
}

/// One argument, or one field of a table that is an argument.
#[derive(Clone, Debug)]
pub(crate) struct Arg<'a> {
    lua: &'a Lua,
    name: &'static str,
    n: usize,
    key: Option<&'a str>,
    pub(crate) value: Cow<'a, Value>,
    /// Nothing stands there, not even nil.
    missing: bool,
}

impl<'a> Arg<'a> {
    /// A field of this argument, which is a table.
    pub(crate) fn field(&self, table: &Table, key: &'a str) -> Result<Arg<'a>, Raise> {
        Ok(self.inside(Some(key), table.raw_get(key)?))
    }

    /// A key or a value found while walking over this argument, which is a table.
    pub(crate) fn inside(&self, key: Option<&'a str>, value: Value) -> Arg<'a> {
        let value = Cow::Owned(value);
        Arg { lua: self.lua, name: self.name, n: self.n, key, value, missing: false }
    }

    /// This argument, unless it is nil.
    pub(crate) fn given(self) -> Option<Arg<'a>> {
        (!self.value.is_nil()).then_some(self)
    }

    pub(crate) fn is_function(&self) -> bool {
        self.value.is_function()
    }

    /// `bad argument #N to 'name' (text)`.
    pub(crate) fn reject(&self, text: impl fmt::Display) -> Raise {
        let mut message = format!("bad argument #{} to '{}' (", self.n, self.name);
        if let Some(key) = self.key {
            let _ = write!(message, "'{key}': ");
        }
        let _ = write!(message, "{text})");
        Raise(message)
    }

    /// `bad argument #N to 'name' (what was expected, got what)`.
    pub(crate) fn fail(&self, expected: impl fmt::Display) -> Raise {
        let got = match &*self.value {
            Value::Nil if self.missing => "no value".into(),
            Value::Integer(number) => number.to_string(),
            Value::Number(number) => number.to_string(),
            // a string that is a number has the wrong value, not the wrong type
            Value::String(string) if self.as_number().is_some() => string.to_string_lossy(),
            value => kind(value).to_owned(),
        };
        self.reject(format_args!("{expected} expected, got {got}"))
    }

    /// A string of any bytes.
    pub(crate) fn bytes(&self) -> Result<LuaString, Raise> {
        match &*self.value {
            Value::String(string) => Ok(string.clone()),
            number @ (Value::Integer(_) | Value::Number(_)) => {
                self.lua.coerce_string(number.clone())?.ok_or_else(|| self.fail("string"))
            }
            _ => Err(self.fail("string")),
        }
    }

    /// A string that MQTT can carry as text: UTF-8 without U+0000, at most 65535 bytes \[MQTT-1.5.3-1\]
    /// \[MQTT-1.5.3-2\].
    pub(crate) fn text(&self) -> Result<String, Raise> {
        let string = self.bytes()?;
        let bytes = string.as_bytes();
        let text = std::str::from_utf8(&bytes)
            .map_err(|_| self.reject("UTF-8 string expected, got other bytes [MQTT-1.5.3-1]"))?;
        if text.contains('\0') {
            return Err(self.reject("string without NUL expected, got one with it [MQTT-1.5.3-2]"));
        }
        self.check_length(text.len())?;
        Ok(text.to_owned())
    }

    /// A string of any bytes that fits into a field of a packet \[1.5.3\].
    pub(crate) fn short_bytes(&self) -> Result<Vec<u8>, Raise> {
        let string = self.bytes()?;
        let bytes = string.as_bytes();
        self.check_length(bytes.len())?;
        Ok(bytes.to_vec())
    }

    fn check_length(&self, len: usize) -> Result<(), Raise> {
        if len > topic::MAX_TOPIC {
            return Err(self.reject(format_args!("string of at most 65535 bytes expected, got {len}")));
        }
        Ok(())
    }

    /// That MQTT can carry the packet that this argument makes large: its size is not none \[2.2.3\].
    pub(crate) fn check_packet(&self, size: Option<usize>, got: impl fmt::Display) -> Result<(), Raise> {
        if size.is_none() {
            let text = format!("a packet of at most {MAX_REMAINING} bytes expected, got {got} [2.2.3]");
            return Err(self.reject(text));
        }
        Ok(())
    }

    /// A list of strings that MQTT can carry.
    pub(crate) fn strings(&self) -> Result<Vec<String>, Raise> {
        let Value::Table(list) = &*self.value else { return Err(self.fail("list of strings")) };
        if list.pairs::<Value, Value>().count() != list.raw_len() {
            return Err(self.reject("list of strings expected, got a table with other keys"));
        }
        list.sequence_values::<Value>().map(|value| self.inside(self.key, value?).text()).collect()
    }

    /// A topic name.
    pub(crate) fn topic_name(&self) -> Result<String, Raise> {
        self.topic("topic name", topic::check_name)
    }

    /// A topic filter.
    pub(crate) fn topic_filter(&self) -> Result<String, Raise> {
        self.topic("topic filter", topic::check_filter)
    }

    fn topic(&self, what: &str, check: fn(&str) -> Result<(), TopicError>) -> Result<String, Raise> {
        let string = self.bytes()?;
        let bytes = string.as_bytes();
        let checked = std::str::from_utf8(&bytes)
            .map_err(|_| TopicError::Utf8)
            .and_then(|text| check(text).map(|()| text));
        match checked {
            Ok(text) => Ok(text.to_owned()),
            Err(TopicError::Nul) => {
                Err(self.reject(format_args!("{what} without NUL expected, got one with it [MQTT-1.5.3-2]")))
            }
            Err(error) => {
                let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(60)]);
                Err(self.reject(format_args!("{what} expected, got {shown:?}, which {error}")))
            }
        }
    }

    /// A number, or a string that is one.
    pub(crate) fn number(&self) -> Result<f64, Raise> {
        self.as_number().ok_or_else(|| self.fail("number"))
    }

    fn as_number(&self) -> Option<f64> {
        match &*self.value {
            Value::Integer(number) => Some(*number as f64),
            Value::Number(number) => Some(*number),
            string @ Value::String(_) => self.lua.coerce_number(string.clone()).ok().flatten(),
            _ => None,
        }
    }

    /// A whole number.
    pub(crate) fn integer(&self, range: RangeInclusive<i64>) -> Result<i64, Raise> {
        self.number()?;
        self.as_integer()?
            .filter(|number| range.contains(number))
            .ok_or_else(|| self.fail(format_args!("integer {}..{}", range.start(), range.end())))
    }

    /// A number whose fraction is cut off, as Lua 5.1 does it where a device wants a whole one.
    pub(crate) fn truncated(&self, range: RangeInclusive<i64>) -> Result<i64, Raise> {
        let number = self.number()?;
        Some(number as i64)
            .filter(|whole| !number.is_nan() && range.contains(whole))
            .ok_or_else(|| self.fail(format_args!("{}..{}", range.start(), range.end())))
    }

    /// A whole number of any size.
    pub(crate) fn whole(&self) -> Result<i64, Raise> {
        self.number()?;
        self.as_integer()?.ok_or_else(|| self.fail("integer"))
    }

    fn as_integer(&self) -> Result<Option<i64>, Raise> {
        #[allow(clippy::unnecessary_cast, reason = "LuaJIT's integers have another type")]
        Ok(self.lua.coerce_integer((*self.value).clone())?.map(|number| number as i64))
    }

    /// A quality of service.
    pub(crate) fn qos(&self) -> Result<Qos, Raise> {
        let level = self.integer(0..=2)?;
        Ok(Qos::new(level as u8).expect("checked above"))
    }

    /// 0, 1 or a boolean.
    pub(crate) fn flag(&self) -> Result<bool, Raise> {
        match &*self.value {
            Value::Boolean(flag) => Ok(*flag),
            _ => match self.as_number() {
                Some(0.0) => Ok(false),
                Some(1.0) => Ok(true),
                _ => Err(self.fail("0, 1 or a boolean")),
            },
        }
    }

    /// A number of seconds within bounds.
    pub(crate) fn seconds(&self, min: f64, max: f64) -> Result<Duration, Raise> {
        let number = self.number()?;
        if !(min..=max).contains(&number) {
            return Err(self.fail(format_args!("number {min}..{max}")));
        }
        Ok(Duration::from_secs_f64(number))
    }

    pub(crate) fn function(&self) -> Result<Function, Raise> {
        match &*self.value {
            Value::Function(function) => Ok(function.clone()),
            _ => Err(self.fail("function")),
        }
    }

    /// A function, or none for nil.
    pub(crate) fn function_or_nil(&self) -> Result<Option<Function>, Raise> {
        match &*self.value {
            Value::Function(function) => Ok(Some(function.clone())),
            Value::Nil => Ok(None),
            _ => Err(self.fail("function or nil")),
        }
    }

    pub(crate) fn table(&self) -> Result<Table, Raise> {
        match &*self.value {
            Value::Table(table) => Ok(table.clone()),
            _ => Err(self.fail("table")),
        }
    }

    /// The fields of a table whose keys are all among `known`.
    pub(crate) fn record<'k>(&'k self, known: &[&'k str]) -> Result<Record<'k>, Raise> {
        let Value::Table(table) = &*self.value else { return Err(self.fail("table")) };
        let Fields { known: fields, other } = hot::fields(self.lua, table, known)?;
        if let Some(key) = other {
            let key = match self.lua.coerce_string(key.clone())? {
                Some(key) => format!("'{}'", key.to_string_lossy()),
                None => format!("a {} as key", kind(&key)),
            };
            return Err(self.reject(format_args!("one of {} expected, got {key}", known.join(", "))));
        }
        Ok(Record { arg: self, fields })
    }
}

/// What stands in a table that is an argument; none of it is nil.
#[derive(Debug)]
pub(crate) struct Record<'a> {
    arg: &'a Arg<'a>,
    fields: Vec<(&'a str, Value)>,
}

impl Record<'_> {
    /// The field of this key, if there is one.
    pub(crate) fn field(&self, key: &str) -> Option<Arg<'_>> {
        let (key, value) = self.fields.iter().find(|(known, _)| *known == key)?;
        Some(Arg { key: Some(key), value: Cow::Borrowed(value), missing: false, ..*self.arg })
    }
}

/// The name of a value's type, as Lua's `type` gives it.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Integer(_) | Value::Number(_) => "number",
        Value::LightUserData(_) | Value::Error(_) => "userdata",
        value => value.type_name(),
    }
}
