//! `client:publish`, for what it is almost always called with.
//!
//! Raw calls cost 150 ns, mlua's ordinary ones 400: what is left is mostly Lua's own reading of the arguments, so each of
//! them is looked at once.

use std::ffi::c_int;
use std::{mem, str};

use mlua::ffi::*;

use super::loops::LOOPS;
use super::{guarded, push_bytes, short, state, string, trampoline};
use crate::client::Sending;
use crate::codec::{Qos, topic, v4};
use crate::lua::State;
use crate::lua::peer::slot;
use crate::session::{Refused, Token};

pub(super) unsafe extern "C-unwind" fn publish(L: *mut lua_State) -> c_int {
    publish_fast(L).unwrap_or_else(|| trampoline(L))
}

/// Does what `publish` is almost always called for; none where an argument is anything but that.
#[inline]
unsafe fn publish_fast(L: *mut lua_State) -> Option<c_int> {
    let state = state(L);
    let given = lua_gettop(L);
    let mut callback = 0;
    let qos = if given < 4 { 0 } else { small(L, 4, 2, &mut callback)? };
    let retain = if given < 5 { 0 } else { small(L, 5, 1, &mut callback)? };
    if given >= 6 && callback == 0 {
        match lua_type(L, 6) {
            LUA_TFUNCTION => callback = 6,
            LUA_TNIL => {}
            _ => return None,
        }
    }
    let (qos, retain) = (Qos::new(qos)?, retain == 1);
    if callback != 0 && lua_type(L, 1) != LUA_TUSERDATA {
        return None; // a light one at the address of a client
    }
    let address = lua_touserdata(L, 1).addr();
    if !guarded(L, || state.peers.is_found(address)) {
        short::device(L, state)?;
    }
    // numbers serve as strings
    let topic = string(L, 2)?;
    let payload = string(L, 3)?;
    let sending = if in_callback(L, state) { Sending::AtFlush } else { Sending::Soon };
    let accepted = guarded(L, || {
        topic::check_name_bytes(topic).ok()?;
        let topic = str::from_utf8_unchecked(topic); // SAFETY: just checked; saves 8 ns
        v4::publish_size(topic, payload, qos)?;
        state.peers.with_device(address, |peer| {
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

/// A number up to `max`, 0 for nil, or the callback. None: something else.
#[inline]
unsafe fn small(L: *mut lua_State, n: c_int, max: u8, callback: &mut c_int) -> Option<u8> {
    if *callback != 0 {
        return Some(0);
    }
    // before its type is asked for: the common case
    if let Some(number) = whole(L, n) {
        return Some(number).filter(|number| *number <= max);
    }
    match lua_type(L, n) {
        LUA_TNIL => Some(0),
        LUA_TBOOLEAN if max == 1 => Some(lua_toboolean(L, n) as u8),
        LUA_TFUNCTION => {
            *callback = n;
            Some(0)
        }
        _ => None,
    }
}

/// The value of a number, or a string that is one, if it is a whole one and fits. Reading it as what it is, an integer,
/// takes half the time.
#[cfg(any(feature = "lua53", feature = "lua54"))]
#[inline]
unsafe fn whole(L: *mut lua_State, n: c_int) -> Option<u8> {
    let mut is_whole = 0;
    let value = lua_tointegerx(L, n, &mut is_whole);
    u8::try_from(value).ok().filter(|_| is_whole != 0)
}

/// The same where all numbers are floating point.
#[cfg(not(any(feature = "lua53", feature = "lua54")))]
#[inline]
unsafe fn whole(L: *mut lua_State, n: c_int) -> Option<u8> {
    let value = lua_tonumber(L, n);
    // what is no number reads as 0
    let is_number = value != 0.0 || lua_isnumber(L, n) != 0;
    Some(value as u8).filter(|whole| is_number && f64::from(*whole) == value)
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
