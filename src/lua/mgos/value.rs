//! Lua's values as JSON, and back.

use mlua::{Lua, Table, Value as LuaValue};
use serde_json::{Map, Number, Value};

use crate::lua::args::{Arg, Raise};

/// Tables nested deeper than this are taken for a cycle.
const DEEPEST: usize = 64;

/// A value of Lua's as JSON: a table is a list if its keys are 1 to n, otherwise (and when it is empty) an object.
///
/// # Errors
/// It is something that JSON does not have: what, for people.
pub(super) fn to_json(value: &LuaValue) -> Result<Value, String> {
    convert(value, DEEPEST)
}

/// A table that a script has passed, as JSON.
pub(super) fn table(arg: &Arg<'_>) -> Result<Value, Raise> {
    arg.table()?;
    to_json(&arg.value).map_err(|error| arg.reject(error))
}

fn convert(value: &LuaValue, depth: usize) -> Result<Value, String> {
    match value {
        LuaValue::Nil => Ok(Value::Null),
        LuaValue::Boolean(flag) => Ok((*flag).into()),
        #[allow(clippy::useless_conversion, reason = "LuaJIT's integers have another type")]
        LuaValue::Integer(number) => Ok(i64::from(*number).into()),
        LuaValue::Number(number) => match Number::from_f64(*number) {
            Some(number) => Ok(Value::Number(number)),
            None => Err(format!("JSON has no {number}")),
        },
        LuaValue::String(string) => match std::str::from_utf8(&string.as_bytes()) {
            Ok(text) => Ok(text.into()),
            Err(_) => Err("a string is not UTF-8".to_owned()),
        },
        LuaValue::Table(_) if depth == 0 => Err(format!("tables are nested more than {DEEPEST} deep")),
        LuaValue::Table(table) => table_to_json(table, depth - 1),
        other => Err(format!("JSON has no {}", other.type_name())),
    }
}

fn table_to_json(table: &Table, depth: usize) -> Result<Value, String> {
    let length = table.raw_len();
    if length > 0 {
        let pairs = table.pairs::<LuaValue, LuaValue>().count();
        if pairs > length {
            return Err("a table has numbers and other keys, or holes".to_owned());
        }
        let mut list = Vec::with_capacity(length);
        for index in 1..=length {
            let item: LuaValue = table.raw_get(index).map_err(|error| error.to_string())?;
            list.push(convert(&item, depth)?);
        }
        return Ok(Value::Array(list));
    }
    let mut object = Map::new();
    for pair in table.pairs::<LuaValue, LuaValue>() {
        let (key, item) = pair.map_err(|error| error.to_string())?;
        let LuaValue::String(key) = key else {
            return Err(format!("a table has a {} as key", key.type_name()));
        };
        let key = key.to_str().map_err(|_| "a key is not UTF-8".to_owned())?.to_owned();
        object.insert(key, convert(&item, depth)?);
    }
    Ok(Value::Object(object))
}

/// JSON as a value of Lua's; null is nil.
pub(super) fn to_lua(lua: &Lua, value: &Value) -> mlua::Result<LuaValue> {
    Ok(match value {
        Value::Null => LuaValue::Nil,
        Value::Bool(flag) => LuaValue::Boolean(*flag),
        Value::Number(number) => match number.as_i64() {
            Some(integer) => LuaValue::Integer(integer as _),
            None => LuaValue::Number(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => LuaValue::String(lua.create_string(text)?),
        Value::Array(list) => {
            let table = lua.create_table()?;
            for item in list {
                table.raw_push(to_lua(lua, item)?)?;
            }
            LuaValue::Table(table)
        }
        Value::Object(object) => {
            let table = lua.create_table()?;
            for (key, item) in object {
                table.raw_set(key.as_str(), to_lua(lua, item)?)?;
            }
            LuaValue::Table(table)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn from(source: &str) -> Result<Value, String> {
        to_json(&Lua::new().load(source).eval::<LuaValue>().unwrap())
    }

    #[test]
    fn tables_are_lists_or_objects() {
        assert_eq!(from("return { 1, 'a', { x = true } }"), Ok(json!([1, "a", {"x": true}])));
        assert_eq!(from("return { a = { b = {} } }"), Ok(json!({"a": {"b": {}}})));
        assert_eq!(from("return nil"), Ok(Value::Null));
        assert_eq!(from("return 1.5"), Ok(json!(1.5)));
    }

    #[test]
    fn what_json_does_not_have_is_an_error() {
        for (source, expected) in [
            ("return print", "JSON has no function"),
            ("return { a = 0/0 }", "JSON has no "),
            ("return { 1, 2, a = 3 }", "a table has numbers and other keys"),
            ("return { [true] = 1 }", "a table has a boolean as key"),
            ("return { [2] = 1 }", "a table has a"),
            ("return '\\255'", "a string is not UTF-8"),
            ("local t = {} t.t = t return t", "tables are nested more than 64 deep"),
        ] {
            let error = from(source).unwrap_err();
            assert!(error.starts_with(expected), "{source}: {error}");
        }
    }

    #[test]
    fn there_and_back_again() {
        let lua = Lua::new();
        let value = json!({"a": [1, 2.5, "x", false], "b": {"c": "d"}});
        assert_eq!(to_json(&to_lua(&lua, &value).unwrap()), Ok(value));
    }
}
