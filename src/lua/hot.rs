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
use mlua::{AnyUserData, Function, IntoLuaMulti, Lua, Table, Value};

use super::State;
use super::event_loop::{Call, Deadline, How, Outcome, STATE, Step, Turn, With};
use super::peer::slot;
use crate::client::Sending;
use crate::codec::{Qos, topic, v4};
use crate::session::{Refused, Token};
use crate::sys;

// The upvalues of our C closures.
const SHELL: c_int = 1;
/// Of a trampoline: the mlua function.
const FUNCTION: c_int = 2;
/// Of the loops: all objects by key (weak), those that are anchored, the state's own callbacks, a Lua function that does
/// nothing.
const OBJECTS: c_int = 2;
const ANCHORS: c_int = 3;
const CALLBACKS: c_int = 4;
const NOTHING: c_int = 5;

/// The contents of the first upvalue.
struct Shell {
    /// From `Rc::into_raw`; null once the interpreter closes.
    state: *const State,
}

/// Makes the userdata that is the first upvalue of all functions. It has to be made before them, and before it nothing
/// of ours, so that it is finalized after all.
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
    if !state.is_null() && !sys::forked() {
        // SAFETY: the pointer is from `Rc::into_raw` and is given back once.
        let state = Rc::from_raw(state);
        // a panic must not leave a finalizer
        let _ = catch_unwind(AssertUnwindSafe(move || {
            state.close();
            drop(state);
        }));
    }
    0
}

/// Wraps a function of mlua's that returns true and its results, or false and a message, or nil and an error that goes on
/// its way as it is.
pub(super) fn wrap(lua: &Lua, shell: &AnyUserData, function: Function) -> mlua::Result<Function> {
    closure(lua, trampoline, (shell, function))
}

/// `client.publish`, with the ordinary function for whatever is not the common case.
pub(super) fn wrap_publish(lua: &Lua, shell: &AnyUserData, ordinary: Function) -> mlua::Result<Function> {
    closure(lua, publish, (shell, ordinary))
}

/// `run`, `poll` and `wait`.
pub(super) fn loops(
    lua: &Lua,
    shell: &AnyUserData,
    objects: &Table,
    anchors: &Table,
    callbacks: &Table,
) -> mlua::Result<[Function; 3]> {
    let nothing = lua.load("").set_name("=mqtt").into_function()?;
    let upvalues = (shell, objects, anchors, callbacks, nothing);
    Ok([
        closure(lua, run, upvalues.clone())?,
        closure(lua, poll, upvalues.clone())?,
        closure(lua, wait, upvalues)?,
    ])
}

fn closure(lua: &Lua, f: lua_CFunction, upvalues: impl IntoLuaMulti) -> mlua::Result<Function> {
    // SAFETY: runs protected; the stack holds the upvalues and nothing else.
    unsafe { lua.exec_raw(upvalues, |L| lua_pushcclosure(L, f, lua_gettop(L))) }
}

/// Gives a new userdata its table of callbacks.
pub(super) fn add_slots(lua: &Lua, userdata: &AnyUserData) -> mlua::Result<()> {
    // SAFETY: runs protected.
    unsafe {
        lua.exec_raw(userdata, |L| {
            lua_createtable(L, 16, 0);
            lua_setuservalue(L, 1);
            lua_settop(L, 0);
        })
    }
}

/// Sets a callback of a userdata that was given a table for them.
pub(super) fn set_slot(lua: &Lua, userdata: &AnyUserData, slot: i32, value: Value) -> mlua::Result<()> {
    // SAFETY: runs protected; `add_slots` has set the table.
    unsafe {
        lua.exec_raw((userdata, value), |L| {
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
            raise_text(L, c"internal error in mqtt: please report it (the panic's message is on stderr)")
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
    if sys::forked() {
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
    if lua_toboolean(L, 1) == 0 {
        if lua_type(L, 1) == LUA_TNIL {
            lua_error(L);
        }
        raise(L);
    }
    lua_gettop(L) - 1
}

// publish

/// What became of a publish.
#[derive(Clone, Copy)]
enum Published {
    Accepted(Token),
    Refused(Refused),
    /// Not for us to judge.
    Unusual,
}

unsafe extern "C-unwind" fn publish(L: *mut lua_State) -> c_int {
    match publish_fast(L) {
        Some(results) => results,
        None => trampoline(L),
    }
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
    let qos = match lua_type(L, 4) {
        LUA_TNUMBER => match lua_tonumber(L, 4) {
            0.0 => Qos::AtMostOnce,
            1.0 => Qos::AtLeastOnce,
            2.0 => Qos::ExactlyOnce,
            _ => return None,
        },
        LUA_TFUNCTION => {
            callback = 4;
            Qos::AtMostOnce
        }
        LUA_TNONE | LUA_TNIL => Qos::AtMostOnce,
        _ => return None,
    };
    let retain = match lua_type(L, 5) {
        _ if callback != 0 => false,
        LUA_TNUMBER => match lua_tonumber(L, 5) {
            0.0 => false,
            1.0 => true,
            _ => return None,
        },
        LUA_TBOOLEAN => lua_toboolean(L, 5) != 0,
        LUA_TFUNCTION => {
            callback = 5;
            false
        }
        LUA_TNONE | LUA_TNIL => false,
        _ => return None,
    };
    if callback == 0 {
        match lua_type(L, 6) {
            LUA_TFUNCTION => callback = 6,
            LUA_TNONE | LUA_TNIL => {}
            _ => return None,
        }
    }
    let address = lua_touserdata(L, 1).addr();
    let topic = bytes(L, 2);
    let payload = bytes(L, 3);
    let sending = if in_callback(L, state) { Sending::AtFlush } else { Sending::Soon };
    let outcome = guarded(L, || {
        let Ok(topic) = str::from_utf8(topic) else { return Published::Unusual };
        if topic::check_name(topic).is_err() || v4::publish_size(topic, payload, qos).is_none() {
            return Published::Unusual;
        }
        let accepted = state.peers.with(address, |peer| {
            let token = if callback != 0 && peer.each { peer.next_token() } else { Token::NONE };
            match peer.client.publish(topic, payload, qos, retain, token, sending) {
                Err(refused) => Published::Refused(refused),
                Ok(()) => {
                    if sending == Sending::AtFlush {
                        state.peers.mark_dirty(peer);
                    }
                    if callback != 0 && !peer.each {
                        peer.fill(slot::PUBACK, true);
                    }
                    Published::Accepted(token)
                }
            }
        });
        accepted.unwrap_or(Published::Unusual)
    });
    match outcome {
        Published::Unusual => None,
        Published::Accepted(token) => {
            if callback != 0 {
                let slot = if token.is_some() { slot::of(token) } else { slot::PUBACK };
                lua_getuservalue(L, 1);
                lua_pushvalue(L, callback);
                lua_rawseti(L, -2, slot.into());
            }
            lua_pushboolean(L, 1);
            Some(1)
        }
        Published::Refused(why) => {
            let why = match why {
                Refused::NotConnected => c"not connected",
                Refused::QueueFull => c"queue full",
            };
            lua_pushboolean(L, 0);
            lua_pushstring(L, why.as_ptr());
            Some(2)
        }
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
            return false;
        }
        lua_getinfo(L, c"f".as_ptr(), &mut info);
        let function = lua_tocfunction(L, -1);
        lua_pop(L, 1);
        let address = function.map_or(0, |function| function as usize);
        if address == poll as *const () as usize
            || address == run as *const () as usize
            || address == wait as *const () as usize
        {
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
        if turn.moved || pause(L, state, deadline) == Outcome::TimedOut {
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
        if lua_toboolean(L, -1) != 0 {
            guarded(L, || state.leave());
            return 1;
        }
        lua_pop(L, 1);
        if timed_out {
            guarded(L, || state.leave());
            lua_pushnil(L);
            lua_pushstring(L, c"timeout".as_ptr());
            return 2;
        }
        timed_out = deadline.passed();
        while !dispatch(L, state, &mut frame, false).moved && !timed_out {
            timed_out = pause(L, state, deadline) == Outcome::TimedOut;
        }
    }
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
    const NO_KEY: u32 = u32::MAX;

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
        if self.key == key {
            return true;
        }
        self.key = Frame::NO_KEY;
        if key == STATE {
            lua_pushnil(L);
            lua_pushvalue(L, lua_upvalueindex(CALLBACKS));
        } else {
            lua_rawgeti(L, lua_upvalueindex(OBJECTS), key.into());
            if lua_type(L, -1) != LUA_TUSERDATA {
                lua_pop(L, 1);
                return false;
            }
            lua_getuservalue(L, -1);
        }
        lua_replace(L, self.callbacks());
        lua_replace(L, self.object);
        self.key = key;
        true
    }

    unsafe fn unload(&mut self, L: *mut lua_State) {
        lua_pushnil(L);
        lua_replace(L, self.callbacks());
        lua_pushnil(L);
        lua_replace(L, self.object);
        self.key = Frame::NO_KEY;
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
            Step::Credentials(key) => ask_credentials(L, state, frame, key),
            Step::Release(key) => {
                if frame.key == key {
                    frame.unload(L);
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
        With::Message { topic, payload, qos, retain, dup } => {
            push_topic(L, frame, &*topic);
            push_data(L, &*payload);
            lua_pushinteger(L, qos.into());
            lua_pushboolean(L, retain.into());
            lua_pushboolean(L, dup.into());
        }
        With::Overflow { topic, payload } => {
            push_topic(L, frame, &*topic);
            push_data(L, &*payload);
        }
        With::Id(None) => lua_pushnil(L),
        With::Id(Some(id)) => lua_pushinteger(L, id.into()),
        With::Present(present) => lua_pushboolean(L, present.into()),
        With::Reason(reason, detail) => {
            lua_pushinteger(L, reason.into());
            push_bytes(L, &*detail);
        }
        With::Granted => {
            let filters = state.cursor.granted.borrow().len();
            lua_createtable(L, 0, filters as c_int);
            for index in 0..filters {
                let (filter, qos) = {
                    let granted = state.cursor.granted.borrow();
                    (ptr::from_ref(&*granted[index].0), granted[index].1)
                };
                push_bytes(L, &*filter);
                match qos {
                    Some(qos) => lua_pushinteger(L, qos.into()),
                    None => lua_pushboolean(L, 0),
                }
                lua_rawset(L, -3);
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

/// Pushes a topic. Most messages have the topic of the one before: its string is kept, which is cheaper than to look up
/// an equal one.
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

/// Calls the script's functions for user name and password. Here the call is protected: when one fails, the attempt has
/// to fail too, and then the error goes on its way.
#[cold]
unsafe fn ask_credentials(L: *mut lua_State, state: &State, frame: &mut Frame, key: u32) {
    if !frame.load(L, key) {
        return;
    }
    let base = lua_gettop(L);
    for slot in [slot::USERNAME, slot::PASSWORD] {
        lua_rawgeti(L, frame.callbacks(), slot.into());
        if lua_type(L, -1) != LUA_TFUNCTION {
            continue; // nil: the client was not given a function for this
        }
        lua_pushvalue(L, frame.object);
        if lua_pcall(L, 1, 1, 0) != LUA_OK {
            guarded(L, || state.refuse_credentials(key));
            lua_error(L);
        }
        if !matches!(lua_type(L, -1), LUA_TNIL | LUA_TSTRING | LUA_TNUMBER) {
            guarded(L, || state.refuse_credentials(key));
            let what = if slot == slot::USERNAME { c"username" } else { c"password" };
            let got = lua_typename(L, lua_type(L, -1));
            let format = c"the %s function returned a wrong value (string expected, got %s)";
            lua_pushfstring(L, format.as_ptr(), what.as_ptr(), got);
            raise(L);
        }
        // so that a nil given by a function differs from none
        if lua_type(L, -1) == LUA_TNIL {
            lua_pop(L, 1);
            lua_pushboolean(L, 0);
        }
    }
    let given = |index| match lua_type(L, index) {
        LUA_TNIL => None,
        LUA_TBOOLEAN => Some(None),
        _ => Some(Some(bytes(L, index))),
    };
    let (username, password) = (given(base + 1), given(base + 2));
    let wrong = guarded(L, || state.give_credentials(key, username, password));
    lua_settop(L, base);
    if let Some(message) = wrong {
        raise_text(L, message);
    }
}
