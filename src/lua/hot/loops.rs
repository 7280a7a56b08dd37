//! `run`, `poll` and `wait`: what they wait for, and the callbacks that they run.

use std::ffi::{CStr, c_int};

use mlua::ffi::*;

use super::{guarded, push_bytes, raise_argument, state, string};
use crate::lua::State;
use crate::lua::event_loop::{Call, How, Marks, STATE, Step, Turn, With};
use crate::lua::peer::slot;
use crate::lua::waiting::{Deadline, Outcome};

// The upvalues of the loops, after the shell.
/// The objects that are not anchored, by key (weak), with the state's own callbacks; those that are; a Lua function that does
/// nothing, and the one of `nodemcu/credentials.lua`.
const OBJECTS: c_int = 2;
const ANCHORS: c_int = 3;
const NOTHING: c_int = 4;
const CREDENTIALS: c_int = 5;

/// The loops, by their names in Lua.
pub(super) const LOOPS: [(lua_CFunction, &str); 3] = [(run, "run"), (poll, "poll"), (wait, "wait")];

unsafe extern "C-unwind" fn poll(L: *mut lua_State) -> c_int {
    let state = state(L);
    let deadline = deadline(L, 1, c"poll", Deadline::at(state.started));
    let mut frame = Frame::enter(L, 1);
    let mut ran = 0;
    loop {
        let turn = dispatch(L, state, &mut frame, deadline, false);
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
        dispatch(L, state, &mut frame, deadline, true);
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
        if !dispatch(L, state, &mut frame, deadline, false).moved && !timed_out {
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
    /// It is there, and so are its callbacks.
    alive: bool,
}

impl Frame {
    /// No object has this key.
    const NO_KEY: u32 = i32::MAX as u32;

    unsafe fn enter(L: *mut lua_State, arguments: c_int) -> Frame {
        lua_settop(L, arguments);
        luaL_checkstack(L, 20, c"no room for callbacks".as_ptr());
        lua_settop(L, arguments + 3);
        Frame { object: arguments + 1, key: Frame::NO_KEY, alive: false }
    }

    fn callbacks(&self) -> c_int {
        self.object + 1
    }

    fn topic(&self) -> c_int {
        self.object + 2
    }

    /// Puts an object and its callbacks into place. False: it has been collected.
    #[inline]
    unsafe fn load(&mut self, L: *mut lua_State, key: u32) -> bool {
        if self.key != key {
            lua_rawgeti(L, lua_upvalueindex(ANCHORS), key.into());
            if lua_type(L, -1) == LUA_TNIL {
                lua_pop(L, 1);
                lua_rawgeti(L, lua_upvalueindex(OBJECTS), key.into());
            }
            if lua_type(L, -1) == LUA_TUSERDATA {
                lua_getuservalue(L, -1);
            } else {
                lua_pushvalue(L, -1); // the state's own callbacks, or nil
            }
            lua_replace(L, self.callbacks());
            lua_replace(L, self.object);
            self.key = key;
            self.alive = lua_type(L, self.callbacks()) == LUA_TTABLE;
        }
        self.alive
    }
}

/// Runs the callbacks of all that was pending; with `stoppable` only until `mqtt.stop`.
unsafe fn dispatch(
    L: *mut lua_State,
    state: &State,
    frame: &mut Frame,
    deadline: Deadline,
    stoppable: bool,
) -> Turn {
    let (mut turn, has_work) = guarded(L, || {
        let sent = state.peers.flush();
        let mut turn = state.turn(deadline);
        turn.moved = sent;
        (turn, state.has_work(&turn))
    });
    if !has_work {
        return turn;
    }
    let outer = state.dispatching.replace(true);
    loop {
        let step = guarded(L, || state.step(&mut turn));
        match step {
            Step::Call(call) => {
                if make_call(L, state, frame, &call) {
                    turn.ran += 1;
                    if let Some(changes) = guarded(L, || state.puback_row(&call)) {
                        turn.ran += make_calls(L, state, frame, call.key, changes, stoppable);
                    }
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
    lua_rawgeti(L, lua_upvalueindex(ANCHORS), key.into());
    lua_rawseti(L, lua_upvalueindex(OBJECTS), key.into());
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
    let arguments = push_arguments(L, state, frame, &call.with);
    state.cursor.unpin(before);
    state.callbacks_run.set(state.callbacks_run.get() + 1);
    lua_call(L, c_int::from(call.key != STATE) + arguments, 0);
    true
}

/// Runs the puback callback, which has just run, for all messages that were acknowledged in a row with that one; how
/// often. The function is looked up once: that and what is left out of [`make_call`] save a third of the time.
unsafe fn make_calls(
    L: *mut lua_State,
    state: &State,
    frame: &Frame,
    key: u32,
    changes: u32,
    stoppable: bool,
) -> u32 {
    let mut ran = 0;
    let base = lua_gettop(L);
    while !(stoppable && state.stopping.get())
        && let Some(id) = guarded(L, || state.next_puback(key, changes))
    {
        if ran == 0 {
            lua_rawgeti(L, frame.callbacks(), slot::PUBACK.into());
        }
        ran += 1;
        state.callbacks_run.set(state.callbacks_run.get() + 1);
        lua_pushvalue(L, base + 1);
        lua_pushvalue(L, frame.object);
        match id {
            Some(id) => lua_pushinteger(L, id.into()),
            None => lua_pushnil(L),
        }
        lua_call(L, 2, 0);
    }
    lua_settop(L, base);
    ran
}

/// Pushes the arguments after the object; how many.
#[inline]
unsafe fn push_arguments(L: *mut lua_State, state: &State, frame: &Frame, with: &With) -> c_int {
    match *with {
        With::Nothing => return 0,
        With::Message { topic, payload, marks } => {
            push_topic(L, frame, &*topic);
            push_data(L, &*payload);
            let Some(Marks { qos, retain, dup, id }) = marks else { return 2 };
            lua_pushinteger(L, qos.into());
            lua_pushboolean(L, retain.into());
            lua_pushboolean(L, dup.into());
            let Some(id) = id else { return 5 };
            lua_pushinteger(L, id.into());
            return 6;
        }
        With::Id(None) => lua_pushnil(L),
        With::Id(Some(id)) => lua_pushinteger(L, id.into()),
        With::Present(present) => lua_pushboolean(L, present.into()),
        With::Reason(reason, detail) => {
            lua_pushinteger(L, reason.into());
            push_bytes(L, &*detail);
            return 2;
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
            return 2;
        }
        With::Trace(text) | With::Text(text) => push_bytes(L, &*text),
    }
    1
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
    if string(L, frame.topic()) == Some(topic) {
        lua_pushvalue(L, frame.topic());
    } else {
        push_bytes(L, topic);
        lua_pushvalue(L, -1);
        lua_replace(L, frame.topic());
    }
}
