//! The native part of `require("mqtt.test")`: a clock that the test moves.

use mlua::{AnyUserData, MetaMethod, Table, UserDataFields, Value};
use std::time::Duration;

use super::args::{Args, Raise};
use super::{Maker, Reply, State, reply};
use crate::client::{Clock, ManualClock};

/// What a test holds.
struct Hand(ManualClock);

/// Makes the module's table.
pub(super) fn open(maker: &Maker<'_>) -> mlua::Result<Table> {
    let advance = maker.function("advance", |_, mut args| {
        let hand = hand(&mut args, "advance")?;
        let millis = args.at(1).seconds(0.0, 1e9)?.as_secs_f64();
        // moving time wakes other threads: nothing of ours is borrowed here
        hand.advance(Duration::from_secs_f64(millis / 1000.0));
        reply(args.lua, ())
    })?;
    let restore = maker.function("restore", |state, mut args| {
        hand(&mut args, "restore")?;
        set_clock(state, Clock::real());
        reply(args.lua, ())
    })?;
    maker.lua.register_userdata_type::<Hand>(|registry| {
        registry.add_field("advance", advance);
        registry.add_field("restore", restore);
        registry.add_meta_field(MetaMethod::Type, "test clock");
    })?;
    let testing = maker.lua.create_table()?;
    maker.add(&testing, "clock", |state, args| clock(state, &args))?;
    Ok(testing)
}

/// Puts a new manual clock in the place of the state's.
fn clock(state: &State, args: &Args<'_>) -> Reply {
    let (clock, hand) = Clock::manual();
    let object: AnyUserData = args.lua.create_any_userdata(Hand(hand))?;
    set_clock(state, clock);
    reply(args.lua, object)
}

fn set_clock(state: &State, clock: Clock) {
    state.clock.replace(clock);
    state.timers.rearm(state);
}

fn hand(args: &mut Args<'_>, name: &str) -> Result<ManualClock, Raise> {
    let wrong = || Raise::bad_self(name, "test clock");
    let Value::UserData(object) = args.take_self() else { return Err(wrong()) };
    Ok(object.borrow::<Hand>().map_err(|_| wrong())?.0.clone())
}
