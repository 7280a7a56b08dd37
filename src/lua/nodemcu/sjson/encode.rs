//! Tables to JSON.

use mlua::{Lua, MultiValue, Table, Value};

use super::Options;
use crate::lua::args::Raise;
use crate::lua::{Thrown, call};

/// A function in a table may return another one, this often.
const CALLS: usize = 10;

/// A gap that an array may have though it is not mostly filled.
const LARGEST_SPARSE: i64 = 32_767;

/// Encodes a table; runs the functions in it.
pub(super) fn encode(lua: &Lua, table: Table, options: &Options) -> Result<Vec<u8>, Thrown> {
    let mut encoder = Encoder { lua, options, out: Vec::new() };
    encoder.table(&table, 1)?;
    Ok(encoder.out)
}

struct Encoder<'a> {
    lua: &'a Lua,
    options: &'a Options,
    out: Vec<u8>,
}

impl Encoder<'_> {
    fn table(&mut self, table: &Table, level: usize) -> Result<(), Thrown> {
        if level > self.options.depth {
            return Err(Raise("encoder stack overflow".to_owned()).into());
        }
        match array_length(table)? {
            Some(length) => {
                self.out.push(b'[');
                for index in 1..=length {
                    if index > 1 {
                        self.out.push(b',');
                    }
                    self.value(table.raw_get(index)?, level)?;
                }
                self.out.push(b']');
            }
            None => {
                self.out.push(b'{');
                let mut first = true;
                for pair in table.pairs::<Value, Value>() {
                    let (key, value) = pair?;
                    if !std::mem::take(&mut first) {
                        self.out.push(b',');
                    }
                    self.key(&key)?;
                    self.out.push(b':');
                    self.value(value, level)?;
                }
                self.out.push(b'}');
            }
        }
        Ok(())
    }

    fn value(&mut self, mut value: Value, level: usize) -> Result<(), Thrown> {
        for _ in 0..CALLS {
            let Value::Function(function) = &value else { break };
            value = call(self.lua, function, MultiValue::new())?.pop_front().unwrap_or(Value::Nil);
        }
        match &value {
            Value::Nil | Value::LightUserData(_) | Value::UserData(_) | Value::Error(_) => self.null(),
            Value::Boolean(flag) => self.out.extend_from_slice(if *flag { b"true" } else { b"false" }),
            Value::Integer(_) | Value::Number(_) => {
                let digits = self.number(&value)?;
                self.out.extend_from_slice(digits.as_bytes());
            }
            Value::String(text)
                if self.options.null.as_ref().is_some_and(|null| *null == *text.as_bytes()) =>
            {
                self.null();
            }
            Value::String(text) => self.string(&text.as_bytes()),
            Value::Table(table) => self.table(table, level + 1)?,
            other => return Err(cannot(other)),
        }
        Ok(())
    }

    fn null(&mut self) {
        self.out.extend_from_slice(b"null");
    }

    fn key(&mut self, key: &Value) -> Result<(), Thrown> {
        match key {
            Value::String(text) => self.string(&text.as_bytes()),
            Value::Integer(_) | Value::Number(_) => {
                let digits = self.number(key)?;
                self.string(digits.as_bytes());
            }
            other => return Err(cannot(other)),
        }
        Ok(())
    }

    /// As Lua writes numbers, but for the `.0` of newer versions: the devices' Lua has no integers of their own.
    fn number(&self, value: &Value) -> Result<String, Thrown> {
        /// Up to here a float holds every integer.
        const EXACT: f64 = 9_007_199_254_740_992.0;
        match *value {
            Value::Integer(number) => Ok(number.to_string()),
            Value::Number(number) if !number.is_finite() => {
                Err(Raise(format!("Cannot encode {number}")).into())
            }
            Value::Number(number) if number.fract() == 0.0 && number.abs() < EXACT => {
                Ok((number as i64).to_string())
            }
            _ => match self.lua.coerce_string(value.clone())? {
                Some(digits) => Ok(digits.to_string_lossy()),
                None => Err(cannot(value)),
            },
        }
    }

    /// What is not UTF-8 goes out as it is, like on the devices.
    fn string(&mut self, bytes: &[u8]) {
        self.out.push(b'"');
        for chunk in bytes.utf8_chunks() {
            let quoted = serde_json::to_vec(chunk.valid()).expect("a string can be encoded");
            self.out.extend_from_slice(&quoted[1..quoted.len() - 1]);
            self.out.extend_from_slice(chunk.invalid());
        }
        self.out.push(b'"');
    }
}

/// The highest index of a table that is an array; none of an object.
fn array_length(table: &Table) -> mlua::Result<Option<i64>> {
    let (mut highest, mut count) = (0, 0);
    for pair in table.pairs::<Value, Value>() {
        let index = match pair?.0 {
            #[allow(clippy::unnecessary_cast, reason = "LuaJIT's integers have another type")]
            Value::Integer(index) if index > 0 => index as i64,
            _ => return Ok(None),
        };
        highest = highest.max(index);
        count += 1;
    }
    // One key of a billion would be a billion nulls.
    let is_array = highest <= LARGEST_SPARSE || highest / 2 <= count;
    Ok(is_array.then_some(highest))
}

fn cannot(value: &Value) -> Thrown {
    let number = match value {
        Value::Boolean(_) => 1,
        Value::Table(_) => 5,
        Value::Function(_) => 6,
        Value::Thread(_) => 8,
        _ => 7,
    };
    Raise(format!("Cannot encode type {number}")).into()
}
