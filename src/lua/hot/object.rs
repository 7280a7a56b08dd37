//! The userdata of clients, timers and lookups. All that such a one holds is its key, by which is found what it stands for.
//! Made without mlua, which allocates a cell beside each and looks for its type when it goes: a quarter of
//! what making a client took, and 100 B of each.

use std::ffi::c_int;
use std::panic::{AssertUnwindSafe, catch_unwind};

use mlua::ffi::*;
use mlua::{AnyUserData, Function, Lua, Table};

use super::{SHELL, Shell, closure};
use crate::lua::State;
use crate::lua::peer::slot;

/// Makes the metatable of the kind of objects of this name, with its methods.
pub(in crate::lua) fn register(
    lua: &Lua,
    shell: &AnyUserData,
    name: &str,
    methods: Vec<(&'static str, Function)>,
) -> mlua::Result<Table> {
    let metatable = lua.create_table()?;
    metatable.raw_set("__index", lua.create_table_from(methods)?)?;
    metatable.raw_set("__gc", closure(lua, collect, shell)?)?;
    metatable.raw_set("__name", name)?;
    metatable.raw_set("__metatable", false)?;
    lua.set_named_registry_value(&registered(name), &metatable)?;
    Ok(metatable)
}

/// The name of a kind's metatable in the registry.
fn registered(name: &str) -> String {
    format!("nodemcu-mqtt.metatable.{name}")
}

/// What an object takes.
#[derive(Clone, Copy)]
pub(in crate::lua) struct Size {
    /// Its table of callbacks is made with room for so many in its array.
    callbacks: c_int,
    /// KiB of memory that Lua does not know of, and so does not hurry to collect: with a thousand clients a tenth of theirs
    /// was what had long been out of use.
    beside: c_int,
}

impl Size {
    /// A client.
    pub(in crate::lua) const CLIENT: Size = Size { callbacks: slot::ARRAY, beside: 1 };
    /// What has one callback, and little else.
    pub(in crate::lua) const SMALL: Size = Size { callbacks: 1, beside: 0 };
}

/// Makes an object of a registered kind and of this key, with a table for its callbacks, that is found by the key.
pub(in crate::lua) fn create(
    lua: &Lua,
    state: &State,
    name: &str,
    key: u32,
    size: Size,
) -> mlua::Result<AnyUserData> {
    let metatable: Table = lua.named_registry_value(&registered(name))?;
    // SAFETY: the closure runs protected and captures nothing that has a destructor; the two tables are its stack, and what
    // is left there is its result.
    unsafe {
        lua.exec_raw((metatable, &state.objects), |L| {
            make(L, 1, 2, key, size);
            lua_insert(L, 1);
            lua_settop(L, 1);
        })
    }
}

/// What [`create`] has been told, if that has made it; of another userdata it may be any number.
pub(in crate::lua) fn key(lua: &Lua, object: &AnyUserData) -> Option<u32> {
    // SAFETY: no call here raises an error, and they use one of the twenty places that every function has on the stack.
    let key = lua.exec_raw_lua(|raw| unsafe {
        raw.push(object)?;
        let key = key_at(raw.state(), -1);
        lua_pop(raw.state(), 1);
        mlua::Result::Ok(key)
    });
    key.ok().flatten()
}

/// The same of what stands on the stack.
#[inline]
pub(super) unsafe fn key_at(L: *mut lua_State, index: c_int) -> Option<u32> {
    let is_like_one = lua_type(L, index) == LUA_TUSERDATA && lua_rawlen(L, index) == size_of::<u32>();
    // SAFETY: there are four bytes, for any alignment.
    is_like_one.then(|| lua_touserdata(L, index).cast::<u32>().read_unaligned())
}

/// Does what [`create`] does, with tables at these indices; pushes the object and returns its address.
pub(super) unsafe fn make(
    L: *mut lua_State,
    metatable: c_int,
    objects: c_int,
    key: u32,
    size: Size,
) -> usize {
    let object = lua_newuserdata(L, size_of::<u32>()).cast::<u32>();
    // SAFETY: Lua has given so much, aligned for anything.
    object.write(key);
    lua_pushvalue(L, metatable);
    lua_setmetatable(L, -2);
    lua_createtable(L, size.callbacks, 0);
    lua_setuservalue(L, -2);
    lua_pushvalue(L, -1);
    lua_rawseti(L, objects, key.into());
    hurry_collector(L, size.beside);
    object.addr()
}

/// Has the collector go on as if so many KiB had been allocated; not in a finalizer, nor where a script has stopped it.
#[cfg(any(feature = "lua53", feature = "lua54"))]
unsafe fn hurry_collector(L: *mut lua_State, kib: c_int) {
    if kib > 0 && lua_gc(L, LUA_GCISRUNNING, 0) == 1 {
        lua_gc(L, LUA_GCSTEP, kib);
    }
}

/// The others cannot be told so: a step there begins a round, be it time for one or not.
#[cfg(not(any(feature = "lua53", feature = "lua54")))]
unsafe fn hurry_collector(_: *mut lua_State, _: c_int) {}

/// `__gc`.
unsafe extern "C-unwind" fn collect(L: *mut lua_State) -> c_int {
    let shell = lua_touserdata(L, lua_upvalueindex(SHELL)).cast::<Shell>();
    // With the debug library a script can get here, and pass anything.
    if let Some(key) = key_at(L, 1)
        && let Some(state) = (*shell).state.as_ref()
    {
        // a panic must not leave a finalizer
        let _ = catch_unwind(AssertUnwindSafe(|| state.forget(key)));
    }
    0
}
