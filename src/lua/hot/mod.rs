//! Every raw call into Lua.
//!
//! | file | what it holds |
//! |---|---|
//! | `mod.rs` | the shell of a state, the trampoline that all functions go through, errors |
//! | `publish.rs` | `client:publish` |
//! | `short.rs` | the short ways of `mqtt.Client` and of other methods |
//! | `object.rs` | the userdata of clients, timers and lookups |
//! | `loops.rs` | `run`, `poll` and `wait`, which run the callbacks |
//!
//! Lua reports an error by a long jump (LuaJIT: by unwinding) over the frames of C functions. So the rule of these files:
//!
//! > In a function that may be left that way nothing is alive that has a destructor, no lock is held, no `RefCell` is
//! > borrowed, and no frame of mlua's lies above it.
//!
//! Rust code that calls no Lua runs inside [`guarded`], which stops panics; Lua is called outside of it. What the loop
//! works on belongs to the [`State`], so that an error that leaves it loses nothing.
//!
//! All functions have the shell of their state as first upvalue: a userdata that outlives everything else of ours. When
//! the interpreter closes, its `__gc` takes leave of the brokers and empties it; what a script's finalizer calls after
//! that raises an error instead of touching memory that is gone.
#![allow(unsafe_code)]
#![allow(unsafe_op_in_unsafe_fn, reason = "nearly every line here is such an operation")]
#![allow(non_snake_case, reason = "Lua's own name for its state is L")]

mod loops;
pub(super) mod object;
mod publish;
mod short;

use std::ffi::{CStr, c_int};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::{mem, ptr, slice};

use mlua::ffi::*;
use mlua::{AnyUserData, Function, IntoLuaMulti, Lua, Table, Value, Variadic};

use super::{INTERNAL_ERROR, State};
use loops::LOOPS;
use short::SHORT;

// The upvalues of our C closures.
const SHELL: c_int = 1;
/// Of a trampoline: the mlua function.
const FUNCTION: c_int = 2;

/// The contents of the first upvalue.
struct Shell {
    /// From `Rc::into_raw`; null once the interpreter closes.
    state: *const State,
}

/// Makes the userdata that is the first upvalue of all functions: before all else, so that it is finalized last.
pub(super) fn shell(lua: &Lua, state: Rc<State>) -> mlua::Result<AnyUserData> {
    let state = Rc::into_raw(state);
    // SAFETY: the closure runs protected and captures nothing that has a destructor.
    unsafe {
        lua.exec_raw((), |L| {
            let shell = lua_newuserdata(L, size_of::<Shell>()).cast::<Shell>();
            shell.write(Shell { state });
            lua_createtable(L, 0, 2);
            lua_pushcfunction(L, close_shell);
            lua_setfield(L, -2, c"__gc".as_ptr());
            lua_pushboolean(L, 0);
            lua_setfield(L, -2, c"__metatable".as_ptr());
            lua_setmetatable(L, -2);
        })
    }
}

unsafe extern "C-unwind" fn close_shell(L: *mut lua_State) -> c_int {
    let shell = lua_touserdata(L, 1).cast::<Shell>();
    let state = mem::replace(&mut (*shell).state, ptr::null());
    // In a forked child the state is left as it is: whatever it would lock may be locked for ever.
    if !state.is_null() && !crate::sys::forked() {
        // SAFETY: the pointer is from `Rc::into_raw` and is given back once.
        let state = Rc::from_raw(state);
        // a panic must not leave a finalizer
        let _ = catch_unwind(AssertUnwindSafe(move || state.close()));
    }
    0
}

/// Wraps a function of mlua's that returns true and its results, false and a message, or nil and an error as it is.
pub(super) fn wrap(lua: &Lua, shell: &AnyUserData, function: Function) -> mlua::Result<Function> {
    closure(lua, trampoline, (shell, function))
}

/// The same for one of NodeMCU's functions about clients, which may have a short way for the common case. `metatable`: of the
/// objects that it makes.
pub(super) fn wrap_short(
    lua: &Lua,
    shell: &AnyUserData,
    name: &str,
    function: Function,
    state: &State,
    metatable: Option<&Table>,
) -> mlua::Result<Function> {
    let Some((short, _)) = SHORT.iter().find(|(_, known)| *known == name) else {
        return wrap(lua, shell, function);
    };
    closure(lua, *short, (shell, function, &state.objects, &state.anchors, metatable))
}

/// `tmr.now`, which scripts measure with: through mlua it took a quarter of a microsecond.
pub(super) fn wrap_now(lua: &Lua, shell: &AnyUserData) -> mlua::Result<Function> {
    closure(lua, short::now, shell)
}

/// Adds the loops to a table; `upvalues` are those after the shell.
pub(super) fn add_loops(
    lua: &Lua,
    shell: &AnyUserData,
    upvalues: &[Value; 4],
    table: &Table,
) -> mlua::Result<()> {
    for (function, name) in LOOPS {
        let upvalues = [&[Value::UserData(shell.clone())], &upvalues[..]].concat();
        table.raw_set(name, closure(lua, function, Variadic::from(upvalues))?)?;
    }
    Ok(())
}

fn closure(lua: &Lua, f: lua_CFunction, upvalues: impl IntoLuaMulti) -> mlua::Result<Function> {
    // SAFETY: runs protected; the stack holds the upvalues and nothing else.
    unsafe { lua.exec_raw(upvalues, |L| lua_pushcclosure(L, f, lua_gettop(L))) }
}

// The two that follow look at userdata and tables without protection: on Lua 5.1 that makes three closures each time.

/// Sets a callback of an [`object`].
pub(super) fn set_slot(lua: &Lua, object: &AnyUserData, slot: i32, value: Value) -> mlua::Result<()> {
    // SAFETY: no call here raises an error, and they use two of the twenty places that every function has on the stack.
    let callbacks: Table = lua.exec_raw_lua(|raw| unsafe {
        raw.push(object)?;
        lua_getuservalue(raw.state(), -1);
        let callbacks = raw.pop();
        lua_pop(raw.state(), 1);
        callbacks
    })?;
    callbacks.raw_set(slot, value)
}

/// What stands in a table under these keys, and one of the keys that are others. mlua's own iterators protect each
/// step and keep each key, which takes five times as long.
pub(super) fn fields<'k>(lua: &Lua, table: &Table, known: &[&'k str]) -> mlua::Result<Fields<'k>> {
    let mut fields = Fields { known: Vec::new(), other: None };
    // SAFETY: no call here raises an error, as each key is one that the table has just given and nothing changes it
    // meanwhile; they use four of the twenty places that every function has on the stack.
    lua.exec_raw_lua(|raw| unsafe {
        let L = raw.state();
        let base = lua_gettop(L);
        raw.push(table)?;
        lua_pushnil(L);
        while lua_next(L, base + 1) != 0 {
            // a number would be changed by being read as a string
            let key = if lua_type(L, -2) == LUA_TSTRING { string(L, -2) } else { None };
            match known.iter().find(|known| key == Some(known.as_bytes())) {
                Some(name) => fields.known.push((*name, raw.pop_value())),
                None if fields.other.is_none() => {
                    lua_pushvalue(L, -2);
                    fields.other = Some(raw.pop_value());
                }
                None => {}
            }
            lua_settop(L, base + 2);
        }
        lua_settop(L, base);
        Ok(fields)
    })
}

/// What [`fields`] has found.
pub(super) struct Fields<'k> {
    pub(super) known: Vec<(&'k str, Value)>,
    pub(super) other: Option<Value>,
}

// Errors.

/// Raises the string on top of the stack, with file and line of the nearest Lua function before it: also where that called
/// us through `pcall`.
#[cold]
unsafe fn raise(L: *mut lua_State) -> ! {
    let mut info: lua_Debug = mem::zeroed();
    let mut level = 1;
    while lua_getstack(L, level, &mut info) != 0 {
        lua_getinfo(L, c"Sl".as_ptr(), &mut info);
        if info.currentline > 0 {
            lua_pushfstring(L, c"%s:%d: ".as_ptr(), info.short_src.as_ptr(), info.currentline);
            lua_insert(L, -2);
            lua_concat(L, 2);
            break;
        }
        level += 1;
    }
    lua_error(L)
}

#[cold]
unsafe fn raise_text(L: *mut lua_State, text: &CStr) -> ! {
    lua_pushstring(L, text.as_ptr());
    raise(L)
}

#[cold]
unsafe fn raise_argument(L: *mut lua_State, n: c_int, name: &CStr, expected: &CStr) -> ! {
    let got = match lua_type(L, n) {
        LUA_TNONE => c"no value".as_ptr(),
        other => lua_typename(L, other),
    };
    let format = c"bad argument #%d to '%s' (%s expected, got %s)";
    lua_pushfstring(L, format.as_ptr(), n, name.as_ptr(), expected.as_ptr(), got);
    raise(L)
}

/// Runs Rust code that calls no Lua; a panic in it, which is a bug, becomes a Lua error.
#[inline]
unsafe fn guarded<R: Copy>(L: *mut lua_State, f: impl FnOnce() -> R) -> R {
    match catch_unwind(AssertUnwindSafe(f)) {
        Ok(result) => result,
        Err(panic) => {
            drop(panic);
            push_bytes(L, INTERNAL_ERROR.as_bytes());
            raise(L)
        }
    }
}

/// The state of the function that runs.
#[inline]
unsafe fn state<'a>(L: *mut lua_State) -> &'a State {
    let shell = lua_touserdata(L, lua_upvalueindex(SHELL)).cast::<Shell>();
    if (*shell).state.is_null() {
        raise_text(L, c"mqtt is closed: the interpreter is ending");
    }
    if crate::sys::forked() {
        raise_text(L, c"mqtt does not work in a forked child: its clients belong to the parent process");
    }
    &*(*shell).state
}

// Functions of mlua's.

unsafe extern "C-unwind" fn trampoline(L: *mut lua_State) -> c_int {
    state(L);
    lua_pushvalue(L, lua_upvalueindex(FUNCTION));
    lua_insert(L, 1);
    lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
    match lua_type(L, 1) {
        LUA_TNIL => lua_error(L),
        _ if lua_toboolean(L, 1) == 0 => raise(L),
        _ => lua_gettop(L) - 1,
    }
}

// Strings.

/// The bytes of a string or number, which stays on the stack while they are used; none of anything else.
#[inline]
unsafe fn string<'a>(L: *mut lua_State, index: c_int) -> Option<&'a [u8]> {
    let mut len = 0;
    let start = lua_tolstring(L, index, &mut len);
    // SAFETY: Lua says that so many bytes are there, and keeps them while the value is on the stack.
    (!start.is_null()).then(|| slice::from_raw_parts(start.cast(), len))
}

#[inline]
unsafe fn push_bytes(L: *mut lua_State, bytes: &[u8]) {
    lua_pushlstring(L, bytes.as_ptr().cast(), bytes.len());
}
