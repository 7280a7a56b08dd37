//! `sjson`: JSON as the devices' module of this name reads and writes it, over serde_json.
//!
//! | file | job |
//! | --- | --- |
//! | `encode` | tables to text |
//! | `decode` | text, in pieces, to tables |
//! | `fuzz` | fuzzing |
//!
//! Rules of the devices that differ from other libraries: only objects and arrays stand at the top; a table is an array
//! when all its keys are positive integers (gaps become null), so an empty one is `[]`; a function in a table is called
//! and its result encoded; all userdata is null. Unlike the devices' streaming parser, a decoder makes its tables when
//! the text is whole, so metamethods run then.

mod decode;
mod encode;
mod fuzz;

use std::cell::RefCell;
use std::rc::Rc;

use mlua::{AnyUserData, MetaMethod, MultiValue, Table, UserDataFields, Value};

use crate::lua::args::{Arg, Args, Raise};
use crate::lua::{Maker, Reply, State, Thrown, reply};
use decode::{Build, Decoder, Progress};
pub use fuzz::fuzz;

/// How deep containers may stand in each other unless told otherwise.
const DEPTH: usize = 20;

/// `t[k] = v` with metamethods, in the registry.
const SET: &str = "nodemcu-mqtt.set";

/// Makes the module's table.
pub(crate) fn open(maker: &Maker<'_>) -> mlua::Result<Table> {
    let lua = maker.lua;
    let set = lua.load("local t, k, v = ... t[k] = v").set_name("=sjson").into_function()?;
    lua.set_named_registry_value(SET, set)?;

    let read = maker.function("read", read)?;
    lua.register_userdata_type::<RefCell<Encoder>>(|registry| {
        registry.add_field("read", read);
        registry.add_meta_field(MetaMethod::Type, "sjson.encoder");
    })?;
    let (write, result) =
        (maker.function("write", write)?, maker.function("result", |_, args| result(args))?);
    lua.register_userdata_type::<RefCell<Decoder>>(|registry| {
        registry.add_field("write", write);
        registry.add_field("result", result);
        registry.add_meta_field(MetaMethod::Type, "sjson.decoder");
    })?;

    let sjson = lua.create_table()?;
    sjson.raw_set("NULL", Value::NULL)?;
    maker.add(&sjson, "encode", |_, args| -> Result<_, Thrown> {
        let table = args.at(1).table()?;
        let text = encode::encode(args.lua, table, &Options::of(&args.at(2))?)?;
        Ok(reply(args.lua, args.lua.create_string(text)?)?)
    })?;
    maker.add(&sjson, "decode", decode_whole)?;
    maker.add(&sjson, "encoder", |_, args| encoder(&args))?;
    maker.add(&sjson, "decoder", |_, args| {
        let options = Options::of(&args.at(1))?;
        reply(args.lua, decoder(&args, &options)?)
    })?;
    Ok(sjson)
}

/// The last argument of all functions.
struct Options {
    depth: usize,
    /// A string that stands for null.
    null: Option<Vec<u8>>,
    metatable: Option<Table>,
}

impl Options {
    /// What is no table is no options, as on the devices.
    fn of(arg: &Arg<'_>) -> Result<Options, Raise> {
        let Value::Table(table) = &*arg.value else {
            return Ok(Options { depth: DEPTH, null: None, metatable: None });
        };
        let depth = match arg.field(table, "depth")?.given() {
            None => DEPTH,
            Some(field) => match field.integer(i64::MIN..=i64::MAX)? {
                0 => DEPTH,
                depth => depth.clamp(4, 1000) as usize,
            },
        };
        let null = arg.field(table, "null")?.given().map(|field| field.bytes()).transpose()?;
        let metatable = arg.field(table, "metatable")?.given().map(|field| field.table()).transpose()?;
        Ok(Options { depth, null: null.map(|text| text.as_bytes().to_vec()), metatable })
    }
}

// Encoders.

/// A script's encoder. The table is its first user value.
struct Encoder {
    options: Options,
    /// What is encoded and not read; none before the first read.
    text: Option<Vec<u8>>,
    read: usize,
}

fn encoder(args: &Args<'_>) -> Reply {
    let table = args.at(1).table()?;
    let options = Options::of(&args.at(2))?;
    let object = args.lua.create_any_userdata(RefCell::new(Encoder { options, text: None, read: 0 }))?;
    object.set_user_value(table)?;
    reply(args.lua, object)
}

fn read(_: &Rc<State>, mut args: Args<'_>) -> Result<MultiValue, Thrown> {
    /// Bytes at a time, unless told otherwise.
    const SIZE: i64 = 1024;
    let lua = args.lua;
    let object = own::<Encoder>(&mut args, "sjson.encoder")?;
    let size = match &*args.at(1).value {
        Value::Integer(_) | Value::Number(_) => args.at(1).integer(i64::MIN..=i64::MAX)?.max(1),
        _ => SIZE,
    };
    let it = object.borrow::<RefCell<Encoder>>()?;
    if it.borrow().text.is_none() {
        // The table's functions run here: nothing is borrowed for writing.
        let text = encode::encode(lua, object.user_value()?, &it.borrow().options)?;
        it.borrow_mut().text = Some(text);
    }
    let mut it = it.borrow_mut();
    let Encoder { text: Some(text), read, .. } = &mut *it else { return Ok(MultiValue::new()) };
    let size = usize::try_from(size).unwrap_or(usize::MAX).min(text.len() - *read);
    if size == 0 {
        return Ok(MultiValue::new());
    }
    let chunk = lua.create_string(&text[*read..*read + size])?;
    *read += size;
    Ok(reply(lua, chunk)?)
}

// Decoders.

/// User values of a decoder.
const METATABLE: usize = 1;
const RESULT: usize = 2;

fn decoder(args: &Args<'_>, options: &Options) -> Result<AnyUserData, Raise> {
    let decoder = Decoder::new(options.depth, options.null.clone());
    let object = args.lua.create_any_userdata(RefCell::new(decoder))?;
    object.set_nth_user_value(METATABLE, options.metatable.clone())?;
    Ok(object)
}

fn decode_whole(_: &Rc<State>, args: Args<'_>) -> Result<MultiValue, Thrown> {
    let text = args.at(1).bytes()?;
    let options = Options::of(&args.at(2))?;
    let mut decoder = Decoder::new(options.depth, options.null.clone());
    match decoder.feed(&text.as_bytes())? {
        Progress::Incomplete => Err(Raise("Incomplete JSON object passed to sjson.decode".to_owned()).into()),
        Progress::Complete(text) => {
            Ok(reply(args.lua, Build::new(args.lua, options.metatable, &decoder)?.run(&text)?)?)
        }
    }
}

fn write(_: &Rc<State>, mut args: Args<'_>) -> Result<MultiValue, Thrown> {
    let object = own::<Decoder>(&mut args, "sjson.decoder")?;
    let text = args.at(1).bytes()?;
    let it = object.borrow::<RefCell<Decoder>>()?;
    if it.borrow().is_done() {
        return Ok(reply(args.lua, object.nth_user_value::<Value>(RESULT)?)?);
    }
    let progress = it.borrow_mut().feed(&text.as_bytes())?;
    let Progress::Complete(text) = progress else { return Ok(MultiValue::new()) };
    // Metamethods run here: nothing is borrowed for writing.
    let build = Build::new(args.lua, object.nth_user_value(METATABLE)?, &it.borrow())?;
    let value = build.run(&text)?;
    it.borrow_mut().done();
    object.set_nth_user_value(RESULT, &value)?;
    Ok(reply(args.lua, value)?)
}

fn result(mut args: Args<'_>) -> Reply {
    let object = own::<Decoder>(&mut args, "sjson.decoder")?;
    if !object.borrow::<RefCell<Decoder>>()?.borrow().is_done() {
        return Err(Raise("decode not complete".to_owned()));
    }
    reply(args.lua, object.nth_user_value::<Value>(RESULT)?)
}

/// Takes the object off the arguments.
fn own<T: 'static>(args: &mut Args<'_>, kind: &str) -> Result<AnyUserData, Raise> {
    let name = args.name;
    match args.take_self() {
        Value::UserData(object) if object.is::<RefCell<T>>() => Ok(object),
        _ => Err(Raise::bad_self(name, kind)),
    }
}
