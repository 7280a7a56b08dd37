//! The short ways of `mqtt.Client` and of `on`, `connect` and `close`, for what they are almost always called with: what
//! mlua does about the arguments of a function, each of which it keeps, is more than what most of these have to do. What
//! they do is [`quick`](crate::lua::nodemcu::quick)'s to say.

use std::ffi::c_int;
use std::ops::RangeInclusive;

use mlua::ffi::*;

use super::object::Size;
use super::{guarded, object, publish, state, string, trampoline};
use crate::lua::State;
use crate::lua::nodemcu::quick::{self, Changes, Store};
use crate::lua::nodemcu::settings::{KEYS, POSITIONS};
use crate::lua::nodemcu::tmr;
use crate::lua::peer::slot;
use crate::lua::plain::Plain;

// The upvalues after those of a trampoline: the objects that are not anchored, by key, those that are, and the metatable of
// clients, for the function that makes them.
const OBJECTS: c_int = 3;
const ANCHORS: c_int = 4;
const METATABLE: c_int = 5;

/// The functions that have a short way, by their names in Lua.
pub(super) const SHORT: [(lua_CFunction, &str); 5] =
    [(client, "Client"), (publish::publish, "publish"), (on, "on"), (connect, "connect"), (close, "close")];

unsafe extern "C-unwind" fn client(L: *mut lua_State) -> c_int {
    client_fast(L).unwrap_or_else(|| trampoline(L))
}

unsafe fn client_fast(L: *mut lua_State) -> Option<c_int> {
    let state = state(L);
    let top = lua_gettop(L);
    let first = lua_type(L, 1);
    if first != LUA_TTABLE && first != LUA_TSTRING {
        return None;
    }
    let key = guarded(L, || state.next_key().ok())?;
    // before the arguments are looked at: what is allocated here may run a finalizer that changes them
    let address = object::make(L, lua_upvalueindex(METATABLE), lua_upvalueindex(OBJECTS), key, Size::CLIENT);
    let mut values = [Plain::Nil; KEYS.len()];
    let is_read = if first == LUA_TTABLE {
        fields(L, 1, &KEYS, &mut values)
    } else {
        arguments(L, 1..=top, &mut values[..POSITIONS]);
        true
    };
    if is_read && guarded(L, || quick::client(state, key, address, &values)).is_some() {
        return Some(1);
    }
    lua_settop(L, top); // the object stands for nothing, and is collected
    None
}

unsafe extern "C-unwind" fn on(L: *mut lua_State) -> c_int {
    on_fast(L).unwrap_or_else(|| trampoline(L))
}

unsafe fn on_fast(L: *mut lua_State) -> Option<c_int> {
    let state = state(L);
    let address = device(L, state)?;
    let event = plain(L, 2).bytes()?;
    if lua_type(L, 3) != LUA_TFUNCTION {
        return None;
    }
    let slot = guarded(L, || state.peers.with_device(address, |peer| quick::on(peer, event)))??;
    lua_getuservalue(L, 1);
    store(L, slot, Store::Argument(2));
    Some(0)
}

unsafe extern "C-unwind" fn connect(L: *mut lua_State) -> c_int {
    connect_fast(L).unwrap_or_else(|| trampoline(L))
}

unsafe fn connect_fast(L: *mut lua_State) -> Option<c_int> {
    let state = state(L);
    let address = device(L, state)?;
    let mut values = [Plain::Nil; quick::MOST];
    arguments(L, 2..=lua_gettop(L), &mut values);
    let request = guarded(L, || quick::request(state, &values))?;
    let changes =
        guarded(L, || state.peers.with_device(address, |peer| quick::begin(state, peer, &request)))??;
    apply(L, changes, OBJECTS, ANCHORS);
    // still the one that was found: nothing since then may have run the collector
    guarded(L, || state.peers.with_device(address, |peer| quick::connect(state, peer, &request)));
    lua_pushboolean(L, 1);
    Some(1)
}

unsafe extern "C-unwind" fn close(L: *mut lua_State) -> c_int {
    close_fast(L).unwrap_or_else(|| trampoline(L))
}

unsafe fn close_fast(L: *mut lua_State) -> Option<c_int> {
    let state = state(L);
    let address = device(L, state)?;
    let changes = guarded(L, || state.peers.with_device(address, |peer| quick::close(state, peer)))??;
    apply(L, changes, ANCHORS, OBJECTS);
    Some(0)
}

/// Arguments are ignored.
pub(super) unsafe extern "C-unwind" fn now(L: *mut lua_State) -> c_int {
    let state = state(L);
    let now = guarded(L, || tmr::now(state));
    lua_pushinteger(L, now.into());
    1
}

/// Finds the client that is self: where its userdata lies. A light one may have the address of a client.
#[inline]
pub(super) unsafe fn device(L: *mut lua_State, state: &State) -> Option<usize> {
    if lua_type(L, 1) != LUA_TUSERDATA {
        return None;
    }
    let address = lua_touserdata(L, 1).addr();
    if !guarded(L, || state.peers.is_found(address)) {
        let key = object::key_at(L, 1)?;
        guarded(L, || state.peers.find_device(key, address))?;
    }
    Some(address)
}

/// Looks at the arguments that stand at these places. A string's bytes are there as long as the string stands there.
unsafe fn arguments<'a>(L: *mut lua_State, places: RangeInclusive<c_int>, values: &mut [Plain<'a>]) {
    for (n, value) in places.zip(values) {
        *value = plain(L, n);
    }
}

/// Looks at what stands under these keys in a table, which nothing may change as long as the values are in use. False: there
/// is something else in it.
unsafe fn fields<'a>(L: *mut lua_State, table: c_int, keys: &[&str], values: &mut [Plain<'a>]) -> bool {
    lua_pushnil(L);
    while lua_next(L, table) != 0 {
        let key = if lua_type(L, -2) == LUA_TSTRING { string(L, -2) } else { None };
        let Some(n) = keys.iter().position(|known| key == Some(known.as_bytes())) else { return false };
        values[n] = plain(L, -1);
        lua_pop(L, 1);
    }
    true
}

#[inline]
unsafe fn plain<'a>(L: *mut lua_State, n: c_int) -> Plain<'a> {
    match lua_type(L, n) {
        LUA_TNONE | LUA_TNIL => Plain::Nil,
        LUA_TBOOLEAN => Plain::Boolean(lua_toboolean(L, n) != 0),
        LUA_TNUMBER => Plain::Number(lua_tonumber(L, n)),
        LUA_TSTRING => string(L, n).map_or(Plain::Other, Plain::String),
        LUA_TFUNCTION => Plain::Function,
        _ => Plain::Other,
    }
}

/// Makes the changes to the client that is self; it moves, if it does, from one table of objects to the other.
unsafe fn apply(L: *mut lua_State, changes: Changes, from: c_int, to: c_int) {
    lua_getuservalue(L, 1);
    store(L, slot::OK, changes.ok);
    store(L, slot::NOK, changes.nok);
    if let Some(key) = changes.moves {
        lua_pushvalue(L, 1);
        lua_rawseti(L, lua_upvalueindex(to), key.into());
        lua_pushnil(L);
        lua_rawseti(L, lua_upvalueindex(from), key.into());
    }
}

/// Sets a callback; the table of callbacks is on top of the stack.
#[inline]
unsafe fn store(L: *mut lua_State, slot: c_int, what: Store) {
    match what {
        Store::Nothing => return,
        Store::Nil => lua_pushnil(L),
        Store::Argument(n) => lua_pushvalue(L, n + 1), // self is not counted
    }
    lua_rawseti(L, -2, slot.into());
}
