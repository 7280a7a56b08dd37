//! The native part of `require("mqtt.test")`: a clock that the test moves, and connects led to its broker.

use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mlua::{MetaMethod, Table, UserDataFields, Value};

use super::args::{Args, Raise};
use super::peer::Peer;
use super::route::{Route, Routes};
use super::{Maker, Reply, State, reply};
use crate::broker::Time;
use crate::client::{Clock, ManualClock, Traffic, reactor};

/// What a test holds.
struct Hand {
    clock: ManualClock,
    started: Instant,
    /// Where `step` goes.
    target: Instant,
}

/// Makes the module's table.
pub(super) fn open(maker: &Maker<'_>) -> mlua::Result<Table> {
    let aim = maker.function("advance", |_, mut args| {
        let object = args.take_self();
        let millis = args.at(1).seconds(0.0, 1e12)?.as_secs_f64();
        hand(&object, "advance", |hand| {
            hand.target = hand.clock.now() + Duration::from_secs_f64(millis / 1e3)
        })?;
        reply(args.lua, ())
    })?;
    let step = maker.function("step", |_, mut args| {
        let (clock, target) = hand(&args.take_self(), "step", |hand| (hand.clock.clone(), hand.target))?;
        // what was started a moment ago is asleep now
        reactor::settle();
        // moving time wakes other threads: nothing of ours is borrowed here
        reply(args.lua, clock.step(target))
    })?;
    let now = maker.function("now", |_, mut args| {
        let elapsed = hand(&args.take_self(), "now", |hand| hand.clock.now() - hand.started)?;
        let whole = elapsed.subsec_nanos() % 1_000_000 == 0;
        if whole {
            reply(args.lua, elapsed.as_millis() as i64)
        } else {
            reply(args.lua, elapsed.as_secs_f64() * 1e3)
        }
    })?;
    maker.lua.register_userdata_type::<Hand>(|registry| {
        registry.add_field("aim", aim);
        registry.add_field("step", step);
        registry.add_field("now", now);
        registry.add_meta_field(MetaMethod::Type, "test clock");
    })?;
    let testing = maker.lua.create_table()?;
    maker.add(&testing, "clock", |state, args| {
        let (clock, hand) = Clock::manual();
        set_clock(state, clock);
        let started = hand.now();
        reply(args.lua, args.lua.create_any_userdata(Hand { clock: hand, started, target: started })?)
    })?;
    maker.add(&testing, "restore", |state, args| {
        set_clock(state, Clock::real());
        reply(args.lua, ())
    })?;
    maker.add(&testing, "is_quiet", |state, args| reply(args.lua, is_quiet(state)))?;
    maker.add(&testing, "lead", lead)?;
    Ok(testing)
}

/// The time of a broker that is started now, if it is a test's.
pub(super) fn time(state: &State) -> Option<Arc<dyn Time>> {
    let clock = state.clock.borrow().clone();
    clock.is_manual().then(|| Arc::new(clock) as Arc<dyn Time>)
}

impl Time for Clock {
    fn now(&self) -> Instant {
        Clock::now(self)
    }

    fn sleep_until(&self, at: Instant) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(Clock::sleep_until(self, at))
    }
}

fn set_clock(state: &State, clock: Clock) {
    state.clock.replace(clock);
    state.timers.rearm(state);
}

/// Leads all connects to a port of this machine, without TLS; nil: no longer.
fn lead(state: &Rc<State>, args: Args<'_>) -> Reply {
    let routes = match args.at(1).given() {
        None => None,
        Some(port) => {
            let route: Result<Route, _> = format!("*=mqtt://127.0.0.1:{}", port.integer(1..=65535)?).parse();
            Some(Rc::new(Routes::quiet(route.map_err(Raise)?)))
        }
    };
    state.led.replace(routes);
    reply(args.lua, ())
}

/// Whether everything that the clients and the brokers of this state have to do with each other is done, and every name
/// that a script asks for is found, so that only Lua or a deadline can bring about more. Peers that are none of these
/// brokers are asked for nothing: what they have sent counts as soon as it is in a client's socket.
fn is_quiet(state: &State) -> bool {
    let Some(before) = still(state) else { return false };
    // a task that was at work on what has just been counted comes to its end
    reactor::settle();
    // counters never go back: nothing has moved in between
    still(state) == Some(before) && !state.pending() && !state.lookups.any()
}

/// How far each connection is, if none has anything to do.
fn still(state: &State) -> Option<Vec<(u32, Option<Traffic>)>> {
    let brokers: Vec<_> = state.brokers.borrow().iter().filter_map(|broker| broker.upgrade()).collect();
    let mut peers = state.peers.all();
    peers.sort_unstable_by_key(|peer| peer.key);
    let look = |peer: &Rc<Peer>| {
        let (is_settled, traffic) = peer.client.is_settled();
        let is_through = traffic.is_none_or(|traffic| {
            let (ours, theirs) = traffic.ports;
            let broker = brokers.iter().find(|broker| broker.port() == theirs);
            broker.is_none_or(|broker| broker.is_through_with(ours, traffic.sent, traffic.received))
        });
        (is_settled && is_through).then_some((peer.key, traffic))
    };
    peers.iter().map(look).collect()
}

fn hand<R>(object: &Value, name: &str, f: impl FnOnce(&mut Hand) -> R) -> Result<R, Raise> {
    let wrong = || Raise::bad_self(name, "test clock");
    let Value::UserData(object) = object else { return Err(wrong()) };
    Ok(f(&mut *object.borrow_mut::<Hand>().map_err(|_| wrong())?))
}
