//! `on`, `connect` and `close` of a client, for what they are almost always called with: what an ordinary function of
//! mlua's does about its arguments is more than all that is to be done for some of them. What they do is
//! [`quick`](crate::lua::nodemcu::quick)'s to say.

use std::ffi::c_int;

use mlua::ffi::*;

use super::{guarded, publish, state, string, trampoline};
use crate::lua::nodemcu::quick::{self, MORE, Plain, Store};
use crate::lua::peer::slot;

// The upvalues after those of a trampoline: the objects that are not anchored, by key, and those that are.
const OBJECTS: c_int = 3;
const ANCHORS: c_int = 4;

/// The methods that have a short way, by their names in Lua.
pub(super) const METHODS: [(lua_CFunction, &str); 4] =
    [(publish::publish, "publish"), (on, "on"), (connect, "connect"), (close, "close")];

unsafe extern "C-unwind" fn on(L: *mut lua_State) -> c_int {
    on_fast(L).unwrap_or_else(|| trampoline(L))
}

unsafe fn on_fast(L: *mut lua_State) -> Option<c_int> {
    let state = state(L);
    let address = object(L)?;
    let event = text(L, 2)?;
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
    let address = object(L)?;
    let host = text(L, 2)?;
    let mut more = [Plain::Nil; MORE];
    for (n, value) in (3..=lua_gettop(L)).zip(&mut more) {
        *value = plain(L, n);
    }
    let request = guarded(L, || quick::request(state, host, &more))?;
    let changes =
        guarded(L, || state.peers.with_device(address, |peer| quick::begin(state, peer, &request)))??;
    lua_getuservalue(L, 1);
    store(L, slot::OK, changes.ok);
    store(L, slot::NOK, changes.nok);
    if let Some(key) = changes.moves {
        move_object(L, key, OBJECTS, ANCHORS);
    }
    guarded(L, || state.peers.with_device(address, |peer| quick::connect(state, peer, &request)));
    lua_pushboolean(L, 1);
    Some(1)
}

unsafe extern "C-unwind" fn close(L: *mut lua_State) -> c_int {
    close_fast(L).unwrap_or_else(|| trampoline(L))
}

unsafe fn close_fast(L: *mut lua_State) -> Option<c_int> {
    let state = state(L);
    let address = object(L)?;
    let changes = guarded(L, || state.peers.with_device(address, |peer| quick::close(state, peer)))??;
    lua_getuservalue(L, 1);
    store(L, slot::OK, changes.ok);
    store(L, slot::NOK, changes.nok);
    if let Some(key) = changes.moves {
        move_object(L, key, ANCHORS, OBJECTS);
    }
    Some(0)
}

/// Where the userdata that is self lies; none of a light one, which may have the address of a client.
#[inline]
unsafe fn object(L: *mut lua_State) -> Option<usize> {
    (lua_type(L, 1) == LUA_TUSERDATA).then(|| lua_touserdata(L, 1).addr())
}

/// The bytes of a string; none of a number, which `lua_tolstring` would change.
#[inline]
unsafe fn text<'a>(L: *mut lua_State, n: c_int) -> Option<&'a [u8]> {
    if lua_type(L, n) == LUA_TSTRING { string(L, n) } else { None }
}

#[inline]
unsafe fn plain(L: *mut lua_State, n: c_int) -> Plain {
    match lua_type(L, n) {
        LUA_TNIL => Plain::Nil,
        LUA_TBOOLEAN => Plain::Boolean(lua_toboolean(L, n) != 0),
        LUA_TNUMBER => Plain::Number(lua_tonumber(L, n)),
        LUA_TFUNCTION => Plain::Function,
        _ => Plain::Other,
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

/// Moves the object that is self from one table of objects to another.
unsafe fn move_object(L: *mut lua_State, key: u32, from: c_int, to: c_int) {
    lua_pushvalue(L, 1);
    lua_rawseti(L, lua_upvalueindex(to), key.into());
    lua_pushnil(L);
    lua_rawseti(L, lua_upvalueindex(from), key.into());
}
