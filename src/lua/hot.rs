//! Every raw call into Lua: the trampoline that all functions go through, `publish`, and the loop that runs callbacks.
//!
//! Lua reports an error by a long jump (LuaJIT: by unwinding) over the frames of C functions. So the rule of this file:
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
#![allow(unsafe_op_in_unsafe_fn, reason = "nearly every line of this file is such an operation")]
#![allow(non_snake_case, reason = "Lua's own name for its state is L")]

use std::ffi::{CStr, c_int};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::{mem, ptr, slice, str};

use mlua::ffi::*;
use mlua::{AnyUserData, Function, IntoLuaMulti, Lua, Table, Value, Variadic};

use super::event_loop::{Call, Deadline, How, Marks, Outcome, STATE, Step, Turn, With};
use super::peer::slot;
use super::{INTERNAL_ERROR, State};
use crate::client::Sending;
use crate::codec::{Qos, topic, v4};
use crate::session::{Refused, Token};

// The upvalues of our C closures.
const SHELL: c_int = 1;
/// Of a trampoline: the mlua function.
const FUNCTION: c_int = 2;
/// Of the loops: all objects by key (weak) and the state's own callbacks, the objects that are anchored, a Lua function
/// that does nothing, and the one of `nodemcu/credentials.lua`.
const OBJECTS: c_int = 2;
const ANCHORS: c_int = 3;
const NOTHING: c_int = 4;
const CREDENTIALS: c_int = 5;

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

/// `client.publish`, with the ordinary function for whatever is not the common case.
pub(super) fn wrap_publish(lua: &Lua, shell: &AnyUserData, ordinary: Function) -> mlua::Result<Function> {
    closure(lua, publish, (shell, ordinary))
}

/// The loops, by their names in Lua.
const LOOPS: [(lua_CFunction, &str); 3] = [(run, "run"), (poll, "poll"), (wait, "wait")];

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

/// Sets a callback of an object, in its table of user values, which [`State::enlist`] has seen to.
pub(super) fn set_slot(lua: &Lua, object: &AnyUserData, slot: i32, value: Value) -> mlua::Result<()> {
    // SAFETY: runs protected.
    unsafe {
        lua.exec_raw((object, value), |L| {
            lua_getuservalue(L, 1);
            lua_pushvalue(L, 2);
            lua_rawseti(L, -2, slot.into());
            lua_settop(L, 0);
        })
    }
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

// publish

unsafe extern "C-unwind" fn publish(L: *mut lua_State) -> c_int {
    publish_fast(L).unwrap_or_else(|| trampoline(L))
}

/// Does what `publish` is almost always called for; none where an argument is anything but that.
#[inline]
unsafe fn publish_fast(L: *mut lua_State) -> Option<c_int> {
    let state = state(L);
    if lua_type(L, 1) != LUA_TUSERDATA
        || lua_type(L, 2) != LUA_TSTRING
        || !matches!(lua_type(L, 3), LUA_TSTRING | LUA_TNUMBER)
    {
        return None;
    }
    let mut callback = 0;
    let qos = Qos::new(small(L, 4, 2, &mut callback)?)?;
    let retain = small(L, 5, 1, &mut callback)? == 1;
    match lua_type(L, 6) {
        _ if callback != 0 => {}
        LUA_TFUNCTION => callback = 6,
        LUA_TNONE | LUA_TNIL => {}
        _ => return None,
    }
    let address = lua_touserdata(L, 1).addr();
    let topic = bytes(L, 2);
    let payload = bytes(L, 3);
    let sending = if in_callback(L, state) { Sending::AtFlush } else { Sending::Soon };
    let accepted = guarded(L, || {
        topic::check_name_bytes(topic).ok()?;
        let topic = str::from_utf8_unchecked(topic); // SAFETY: just checked; saves 8 ns
        v4::publish_size(topic, payload, qos)?;
        state.peers.with(address, |peer| {
            let token = if callback != 0 && peer.each { peer.next_token() } else { Token::NONE };
            peer.client.publish(topic, payload, qos, retain, token, sending)?;
            state.peers.mark_dirty(peer);
            if callback != 0 && !peer.each {
                peer.fill(slot::PUBACK, true);
            }
            Ok::<Token, Refused>(token)
        })
    });
    match accepted? {
        Ok(token) => {
            if callback != 0 {
                let slot = if token.is_some() { slot::of(token) } else { slot::PUBACK };
                lua_getuservalue(L, 1);
                lua_pushvalue(L, callback);
                lua_rawseti(L, -2, slot.into());
            }
            lua_pushboolean(L, 1);
            Some(1)
        }
        Err(why) => {
            lua_pushboolean(L, 0);
            push_bytes(L, why.as_str().as_bytes());
            Some(2)
        }
    }
}

/// A number up to `max`, 0 where there is none, or the callback. None: something else.
#[inline]
unsafe fn small(L: *mut lua_State, n: c_int, max: u8, callback: &mut c_int) -> Option<u8> {
    match lua_type(L, n) {
        LUA_TNONE | LUA_TNIL => Some(0),
        _ if *callback != 0 => Some(0),
        LUA_TNUMBER => {
            Some(lua_tonumber(L, n) as u8).filter(|&k| k <= max && f64::from(k) == lua_tonumber(L, n))
        }
        LUA_TBOOLEAN if max == 1 => Some(lua_toboolean(L, n) as u8),
        LUA_TFUNCTION => {
            *callback = n;
            Some(0)
        }
        _ => None,
    }
}

/// The bytes of a string or number, which stays on the stack while they are used.
#[inline]
unsafe fn bytes<'a>(L: *mut lua_State, index: c_int) -> &'a [u8] {
    let mut len = 0;
    let start = lua_tolstring(L, index, &mut len);
    slice::from_raw_parts(start.cast(), len)
}

/// Whether a loop runs further up the stack, which flushes when its callbacks are through. [`State::dispatching`] alone
/// does not tell: it stays set when an error leaves the loop.
#[inline]
unsafe fn in_callback(L: *mut lua_State, state: &State) -> bool {
    state.dispatching.get() && is_below_loop(L)
}

unsafe fn is_below_loop(L: *mut lua_State) -> bool {
    /// Deeper in the calls of a callback it counts as outside: that costs some speed, nothing else.
    const FAR: c_int = 12;
    let mut info: lua_Debug = mem::zeroed();
    for level in 1..FAR {
        if lua_getstack(L, level, &mut info) == 0 {
            break;
        }
        lua_getinfo(L, c"f".as_ptr(), &mut info);
        let function = lua_tocfunction(L, -1).map_or(0, |function| function as usize);
        lua_pop(L, 1);
        if LOOPS.iter().any(|(known, _)| *known as usize == function) {
            return true;
        }
    }
    false
}

// The loops.

unsafe extern "C-unwind" fn poll(L: *mut lua_State) -> c_int {
    let state = state(L);
    let deadline = deadline(L, 1, c"poll", Deadline::after(0.0));
    let mut frame = Frame::enter(L, 1);
    let mut ran = 0;
    loop {
        let turn = dispatch(L, state, &mut frame, false);
        ran += turn.ran;
        if ran > 0 || turn.notable || pause(L, state, deadline) == Outcome::TimedOut {
            break;
        }
    }
    guarded(L, || state.leave());
    lua_pushinteger(L, ran.into());
    1
}

unsafe extern "C-unwind" fn run(L: *mut lua_State) -> c_int {
    let state = state(L);
    let deadline = deadline(L, 1, c"run", Deadline::NEVER);
    let mut frame = Frame::enter(L, 1);
    let done = loop {
        if state.stopping.replace(false) {
            break true;
        }
        dispatch(L, state, &mut frame, true);
        if state.stopping.replace(false) || !guarded(L, || state.alive()) {
            break true;
        }
        if pause(L, state, deadline) == Outcome::TimedOut || deadline.passed() {
            break false;
        }
    };
    guarded(L, || state.leave());
    lua_pushboolean(L, done.into());
    1
}

unsafe extern "C-unwind" fn wait(L: *mut lua_State) -> c_int {
    let state = state(L);
    if lua_type(L, 1) != LUA_TFUNCTION {
        raise_argument(L, 1, c"wait", c"function");
    }
    let deadline = deadline(L, 2, c"wait", Deadline::NEVER);
    let mut frame = Frame::enter(L, 2);
    let mut timed_out = false;
    loop {
        lua_pushvalue(L, 1);
        lua_call(L, 0, 1);
        if lua_toboolean(L, -1) != 0 || timed_out {
            break;
        }
        lua_pop(L, 1);
        timed_out = deadline.passed();
        // after every slice too: the condition may be about something that no event tells of
        if !dispatch(L, state, &mut frame, false).moved && !timed_out {
            timed_out = pause(L, state, deadline) == Outcome::TimedOut;
        }
    }
    guarded(L, || state.leave());
    if lua_toboolean(L, -1) != 0 {
        return 1;
    }
    lua_pushnil(L);
    lua_pushstring(L, c"timeout".as_ptr());
    2
}

/// An optional timeout in seconds.
unsafe fn deadline(L: *mut lua_State, n: c_int, name: &CStr, default: Deadline) -> Deadline {
    match lua_type(L, n) {
        LUA_TNONE | LUA_TNIL => default,
        _ if lua_isnumber(L, n) != 0 => Deadline::after(lua_tonumber(L, n)),
        _ => raise_argument(L, n, name, c"number"),
    }
}

/// Waits for something to dispatch.
unsafe fn pause(L: *mut lua_State, state: &State, deadline: Deadline) -> Outcome {
    let outcome = guarded(L, || state.wait(deadline));
    if outcome == Outcome::Tick {
        // The stock interpreters answer Ctrl-C with a hook, and a hook runs when a Lua function does.
        lua_pushvalue(L, lua_upvalueindex(NOTHING));
        lua_call(L, 0, 0);
    }
    outcome
}

/// The part of the Lua stack that a loop uses, above its arguments.
struct Frame {
    /// Where the object whose callbacks run stands; its table of callbacks and the last topic follow.
    object: c_int,
    /// Its key; none of an object when there is none.
    key: u32,
}

impl Frame {
    /// No object has this key.
    const NO_KEY: u32 = i32::MAX as u32;

    unsafe fn enter(L: *mut lua_State, arguments: c_int) -> Frame {
        lua_settop(L, arguments);
        luaL_checkstack(L, 20, c"no room for callbacks".as_ptr());
        lua_settop(L, arguments + 3);
        Frame { object: arguments + 1, key: Frame::NO_KEY }
    }

    fn callbacks(&self) -> c_int {
        self.object + 1
    }

    fn topic(&self) -> c_int {
        self.object + 2
    }

    /// Puts an object and its callbacks into place. False: it has been collected.
    unsafe fn load(&mut self, L: *mut lua_State, key: u32) -> bool {
        if self.key != key {
            lua_rawgeti(L, lua_upvalueindex(OBJECTS), key.into());
            if lua_type(L, -1) == LUA_TUSERDATA {
                lua_getuservalue(L, -1);
            } else {
                lua_pushvalue(L, -1); // the state's own callbacks, or nil
            }
            lua_replace(L, self.callbacks());
            lua_replace(L, self.object);
            self.key = key;
        }
        lua_type(L, self.callbacks()) == LUA_TTABLE
    }
}

/// Runs the callbacks of all that was pending; with `stoppable` only until `mqtt.stop`.
unsafe fn dispatch(L: *mut lua_State, state: &State, frame: &mut Frame, stoppable: bool) -> Turn {
    guarded(L, || state.peers.flush());
    let mut turn = guarded(L, || state.turn());
    let outer = state.dispatching.replace(true);
    loop {
        let step = guarded(L, || state.step(&mut turn));
        match step {
            Step::Call(call) => {
                if make_call(L, state, frame, &call) {
                    turn.ran += 1;
                    if stoppable && state.stopping.get() {
                        break;
                    }
                }
            }
            Step::Credentials(key) => ask_credentials(L, frame, key),
            Step::Release(key) => {
                if frame.key == key {
                    frame.load(L, Frame::NO_KEY);
                }
                release(L, key);
            }
            Step::Done => break,
        }
    }
    state.dispatching.set(outer);
    guarded(L, || state.peers.flush());
    turn
}

/// Has the script asked for user name and password.
#[cold]
unsafe fn ask_credentials(L: *mut lua_State, frame: &mut Frame, key: u32) {
    if frame.load(L, key) {
        lua_pushvalue(L, lua_upvalueindex(CREDENTIALS));
        lua_pushvalue(L, frame.object);
        lua_rawgeti(L, frame.callbacks(), slot::USERNAME.into());
        lua_rawgeti(L, frame.callbacks(), slot::PASSWORD.into());
        lua_call(L, 3, 0);
    }
}

/// Takes the anchor off an object.
unsafe fn release(L: *mut lua_State, key: u32) {
    lua_pushnil(L);
    lua_rawseti(L, lua_upvalueindex(ANCHORS), key.into());
}

/// Runs a callback. False: there is none.
#[inline]
unsafe fn make_call(L: *mut lua_State, state: &State, frame: &mut Frame, call: &Call) -> bool {
    if !frame.load(L, call.key) {
        return false;
    }
    lua_rawgeti(L, frame.callbacks(), call.slot.into());
    if matches!(call.how, How::Once | How::Forget | How::Last) {
        lua_pushnil(L);
        lua_rawseti(L, frame.callbacks(), call.slot.into());
    }
    if matches!(call.how, How::Release | How::Last) {
        release(L, call.key);
    }
    if call.how == How::Forget || lua_type(L, -1) != LUA_TFUNCTION {
        lua_pop(L, 1);
        return false;
    }
    if call.key != STATE {
        lua_pushvalue(L, frame.object);
    }
    let before = state.cursor.pin();
    push_arguments(L, state, frame, &call.with);
    state.cursor.unpin(before);
    let arguments = lua_gettop(L) - frame.topic() - 1;
    state.callbacks_run.set(state.callbacks_run.get() + 1);
    lua_call(L, arguments, 0);
    true
}

/// Pushes the arguments after the object.
#[inline]
unsafe fn push_arguments(L: *mut lua_State, state: &State, frame: &Frame, with: &With) {
    match *with {
        With::Nothing => {}
        With::Message { topic, payload, marks } => {
            push_topic(L, frame, &*topic);
            push_data(L, &*payload);
            if let Some(Marks { qos, retain, dup, id }) = marks {
                lua_pushinteger(L, qos.into());
                lua_pushboolean(L, retain.into());
                lua_pushboolean(L, dup.into());
                if let Some(id) = id {
                    lua_pushinteger(L, id.into());
                }
            }
        }
        With::Id(None) => lua_pushnil(L),
        With::Id(Some(id)) => lua_pushinteger(L, id.into()),
        With::Present(present) => lua_pushboolean(L, present.into()),
        With::Reason(reason, detail) => {
            lua_pushinteger(L, reason.into());
            push_bytes(L, &*detail);
        }
        With::Granted => {
            lua_createtable(L, 0, 0);
            let mut index = 0;
            while let Some((filter, qos)) = state.cursor.granted(index) {
                push_bytes(L, &*filter);
                match qos {
                    Some(qos) => lua_pushinteger(L, qos.into()),
                    None => lua_pushboolean(L, 0),
                }
                lua_rawset(L, -3);
                index += 1;
            }
        }
        With::Log(level, text) => {
            push_bytes(L, level.as_bytes());
            push_bytes(L, &*text);
        }
        With::Trace(text) | With::Text(text) => push_bytes(L, &*text),
    }
}

#[inline]
unsafe fn push_bytes(L: *mut lua_State, bytes: &[u8]) {
    lua_pushlstring(L, bytes.as_ptr().cast(), bytes.len());
}

/// Pushes a payload: nil when it is empty, as the devices have it.
#[inline]
unsafe fn push_data(L: *mut lua_State, bytes: &[u8]) {
    if bytes.is_empty() {
        lua_pushnil(L);
    } else {
        push_bytes(L, bytes);
    }
}

/// Pushes a topic. Most are that of the message before: its string is kept, as to look up an equal one costs more.
#[inline]
unsafe fn push_topic(L: *mut lua_State, frame: &Frame, topic: &[u8]) {
    if lua_type(L, frame.topic()) == LUA_TSTRING && bytes(L, frame.topic()) == topic {
        lua_pushvalue(L, frame.topic());
    } else {
        push_bytes(L, topic);
        lua_pushvalue(L, -1);
        lua_replace(L, frame.topic());
    }
}
