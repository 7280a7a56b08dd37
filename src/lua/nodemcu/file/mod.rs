//! The native part of `file`: opening, reading and writing within one folder, in both styles: `file.open` and `file.read`
//! on the file opened last, and file objects. What needs no care about names stands in `lua/nodemcu/file.lua`.
//!
//! [`root`] keeps names inside of the folder. Nothing is buffered, so that what was written is there for everybody else at
//! once, `dofile` first.

mod root;

use std::cell::RefCell;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::rc::Rc;

use mlua::{AnyUserData, MetaMethod, Table, UserDataFields, Value};

use crate::lua::args::{Arg, Args, Raise};
use crate::lua::{Maker, Reply, reply};
use root::{Mode, Root};

/// Read at once, unless told otherwise.
const CHUNK: u64 = 1024;

/// The file system of a Lua state.
#[derive(Default)]
struct Files {
    root: RefCell<Root>,
    /// The file opened last.
    current: RefCell<Option<AnyUserData>>,
}

/// What a script holds; none: closed.
type Handle = RefCell<Option<File>>;

type Function = fn(&Rc<Files>, &Args<'_>) -> Reply;
type Method = fn(&mut File, &Args<'_>) -> Reply;

/// Functions of the module only.
const FUNCTIONS: [(&str, Function); 9] = [
    // Not a function of the device: see `nodemcu.configure`.
    ("root", set_root),
    ("open", open_file),
    ("exists", |files, args| {
        let found = files.root.borrow_mut().stat(&name(&args.at(1))?).is_ok();
        reply(args.lua, found)
    }),
    ("remove", |files, args| {
        // as on the device, nobody hears of a file that is not there
        let _ = files.root.borrow_mut().remove(&name(&args.at(1))?);
        reply(args.lua, ())
    }),
    ("rename", |files, args| {
        let renamed = files.root.borrow_mut().rename(&name(&args.at(1))?, &name(&args.at(2))?);
        reply(args.lua, renamed.is_ok())
    }),
    ("stat", |files, args| match files.root.borrow_mut().stat(&name(&args.at(1))?) {
        Ok((size, modified)) => reply(args.lua, (size, modified)),
        Err(_) => reply(args.lua, Value::Nil),
    }),
    ("list", |files, args| {
        let list =
            files.root.borrow_mut().list().map_err(|error| Raise(format!("file system failed: {error}")))?;
        let table = args.lua.create_table()?;
        for (name, size) in list {
            table.raw_set(args.lua.create_string(name)?, size)?;
        }
        reply(args.lua, table)
    }),
    ("getcontents", |files, args| {
        let mut bytes = Vec::new();
        let opened = files.root.borrow_mut().open(&name(&args.at(1))?, Mode::READ);
        match opened.and_then(|mut file| file.read_to_end(&mut bytes)) {
            Ok(_) => reply(args.lua, args.lua.create_string(bytes)?),
            Err(_) => reply(args.lua, Value::Nil),
        }
    }),
    ("putcontents", |files, args| {
        let (name, bytes) = (name(&args.at(1))?, args.at(2).bytes()?);
        let opened = files.root.borrow_mut().open(&name, Mode::WRITE);
        success(args, opened.and_then(|mut file| file.write_all(&bytes.as_bytes())))
    }),
];

/// Methods, which are also functions on the file opened last.
const METHODS: [(&str, Method); 6] = [
    ("read", read),
    ("readline", |file, args| read_chunk(file, args, CHUNK, Some(b'\n'))),
    ("write", |file, args| {
        let bytes = args.at(1).bytes()?;
        success(args, file.write_all(&bytes.as_bytes()))
    }),
    ("writeline", |file, args| {
        let bytes = [&*args.at(1).bytes()?.as_bytes(), b"\n"].concat();
        success(args, file.write_all(&bytes))
    }),
    ("seek", seek),
    ("flush", |file, args| success(args, file.sync_data())),
];

/// Makes the module's table.
pub(crate) fn open(maker: &Maker<'_>) -> mlua::Result<Table> {
    let files = Rc::new(Files::default());
    let module = maker.lua.create_table()?;
    for (name, function) in FUNCTIONS {
        let files = files.clone();
        maker.add(&module, name, move |_, args| function(&files, &args))?;
    }
    let mut methods = Vec::new();
    for (name, method) in METHODS {
        methods.push((
            name,
            maker.function(name, move |_, mut args| {
                let object = own(&args.take_self()).ok_or_else(|| Raise::bad_self(name, "file object"))?;
                apply(&object, method, &args)
            })?,
        ));
        let files = files.clone();
        maker.add(&module, name, move |_, mut args| {
            // an object may be given here too
            if args.len() > 0
                && let Some(object) = own(&args.at(1).value)
            {
                args.take_first();
                return apply(&object, method, &args);
            }
            let object = files.current.borrow().clone().ok_or_else(not_open)?;
            apply(&object, method, &args)
        })?;
    }
    let closing = files.clone();
    methods.push((
        "close",
        maker.function("close", move |_, mut args| {
            let object = own(&args.take_self()).ok_or_else(|| Raise::bad_self("close", "file object"))?;
            close(&closing, Some(object), &args)
        })?,
    ));
    maker.add(&module, "close", move |_, args| close(&files, own(&args.at(1).value), &args))?;
    maker.lua.register_userdata_type::<Handle>(|registry| {
        for (name, method) in methods {
            registry.add_field(name, method);
        }
        registry.add_meta_field(MetaMethod::Type, "file object");
    })?;
    Ok(module)
}

fn set_root(files: &Rc<Files>, args: &Args<'_>) -> Reply {
    let arg = args.at(1);
    let folder = arg.text()?;
    let root = Root::at(&folder)
        .map_err(|error| arg.reject(format_args!("folder expected, but {folder}: {error}")))?;
    files.root.replace(root);
    reply(args.lua, ())
}

fn open_file(files: &Rc<Files>, args: &Args<'_>) -> Reply {
    // it stays open for who holds the object
    files.current.take();
    let name = name(&args.at(1))?;
    let mode = match args.at(2).given() {
        None => Mode::READ,
        Some(mode) => Mode::of(&mode.bytes()?.as_bytes()),
    };
    let Ok(file) = files.root.borrow_mut().open(&name, mode) else {
        return reply(args.lua, Value::Nil);
    };
    let object = args.lua.create_any_userdata::<Handle>(RefCell::new(Some(file)))?;
    files.current.replace(Some(object.clone()));
    reply(args.lua, object)
}

/// Closes the file, or that opened last.
fn close(files: &Rc<Files>, object: Option<AnyUserData>, args: &Args<'_>) -> Reply {
    let current = files.current.take();
    if let Some(object) = object {
        // only closing the file opened last leaves none
        files.current.replace(current.filter(|current| current.to_pointer() != object.to_pointer()));
        object.borrow::<Handle>()?.replace(None);
    } else if let Some(object) = current {
        object.borrow::<Handle>()?.replace(None);
    }
    reply(args.lua, ())
}

/// Calls a method on an object whose file is open.
fn apply(object: &AnyUserData, method: Method, args: &Args<'_>) -> Reply {
    let handle = object.borrow::<Handle>()?;
    let mut file = handle.borrow_mut();
    method(file.as_mut().ok_or_else(not_open)?, args)
}

fn own(value: &Value) -> Option<AnyUserData> {
    match value {
        Value::UserData(object) if object.is::<Handle>() => Some(object.clone()),
        _ => None,
    }
}

fn not_open() -> Raise {
    Raise("open a file first".to_owned())
}

/// true, or nil.
fn success(args: &Args<'_>, result: std::io::Result<()>) -> Reply {
    reply(args.lua, result.is_ok().then_some(true))
}

/// A file's name.
fn name(arg: &Arg<'_>) -> Result<Vec<u8>, Raise> {
    let name = arg.bytes()?;
    let name = name.as_bytes().to_vec();
    if name.contains(&0) {
        return Err(arg.reject("filename invalid"));
    }
    Ok(name)
}

/// So many bytes, or up to a character.
fn read(file: &mut File, args: &Args<'_>) -> Reply {
    let what = args.at(1);
    match &*what.value {
        Value::Nil => read_chunk(file, args, CHUNK, None),
        Value::String(text) => match *text.as_bytes() {
            [end] => read_chunk(file, args, CHUNK, Some(end)),
            _ => Err(Raise("wrong arg range".to_owned())),
        },
        _ => {
            let count = what.truncated(i64::from(i32::MIN)..=i64::from(i32::MAX))?;
            read_chunk(file, args, if count > 0 { count as u64 } else { CHUNK }, None)
        }
    }
}

fn read_chunk(file: &mut File, args: &Args<'_>, count: u64, end: Option<u8>) -> Reply {
    let mut bytes = Vec::new();
    if file.take(count).read_to_end(&mut bytes).is_err() || bytes.is_empty() {
        return reply(args.lua, Value::Nil);
    }
    if let Some(position) = end.and_then(|end| bytes.iter().position(|&byte| byte == end)) {
        let behind = bytes.len() - (position + 1);
        bytes.truncate(position + 1);
        if file.seek(SeekFrom::Current(-(behind as i64))).is_err() {
            return reply(args.lua, Value::Nil);
        }
    }
    reply(args.lua, args.lua.create_string(bytes)?)
}

fn seek(file: &mut File, args: &Args<'_>) -> Reply {
    let offset =
        args.at(2).given().map_or(Ok(0), |it| it.truncated(i64::from(i32::MIN)..=i64::from(i32::MAX)))?;
    let whence = args.at(1);
    let target = match whence.clone().given() {
        None => SeekFrom::Current(offset),
        Some(whence) => match &*whence.bytes()?.as_bytes() {
            b"cur" => SeekFrom::Current(offset),
            b"end" => SeekFrom::End(offset),
            // a negative position is no position
            b"set" => match u64::try_from(offset) {
                Ok(offset) => SeekFrom::Start(offset),
                Err(_) => return reply(args.lua, Value::Nil),
            },
            _ => return Err(whence.reject("\"set\", \"cur\" or \"end\" expected, got another string")),
        },
    };
    reply(args.lua, file.seek(target).ok())
}
