//! `tmr`: timers as objects (`tmr.create`) and by number (the older form), run by the event loop.
//!
//! An armed timer lives without being referred to. The deadlines stand in [`Timers`]; one task on the network thread
//! sleeps to the earliest and puts a word into the queue, which gives it its place among the events of the network. With
//! nothing in the queue the loop looks for itself which timers are due.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

use mlua::{AnyUserData, Lua, Table, Value};
use smol::Task;

use crate::client::reactor;
use crate::lua::args::{Args, Raise};
use crate::lua::event_loop::{Call, How, With};
use crate::lua::event_queue::Entry;
use crate::lua::hot::object::{self, Size};
use crate::lua::peer::slot;
use crate::lua::{Maker, Reply, State, hot, reply};

/// The longest interval: what the devices' counter can hold.
const MAX_INTERVAL: i64 = 0x68_D7A3;

/// Timers by number: 0 to 6.
const MAX_ID: i64 = 6;

/// Counters wrap at 31 bits.
const MASK: u128 = 0x7FFF_FFFF;

/// The objects of the timers by number, in the registry.
const BY_NUMBER: &str = "nodemcu-mqtt.timers";
/// What messages call one.
const NAME: &str = "timer";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Single = 0,
    Auto = 1,
    Semi = 2,
}

/// One timer.
#[derive(Debug)]
struct Timer {
    key: u32,
    /// Where its userdata lies.
    address: usize,
    /// None: nothing is registered.
    mode: Cell<Option<Mode>>,
    interval: Cell<Duration>,
    /// When it is due, while it is started.
    deadline: Cell<Option<Instant>>,
}

/// The timers of a Lua state.
#[derive(Default)]
pub(crate) struct Timers {
    by_key: RefCell<HashMap<u32, Rc<Timer>>>,
    /// Those that are started, by deadline and then by age.
    armed: RefCell<BTreeMap<(Instant, u32), Rc<Timer>>>,
    /// What the task sleeps to.
    alarm: RefCell<Option<(Instant, Task<()>)>>,
}

impl Timers {
    /// Whether any timer is started.
    pub(crate) fn any_armed(&self) -> bool {
        !self.armed.borrow().is_empty()
    }

    /// The callback of the timer that is due first, if it was due then.
    pub(crate) fn take_due(&self, then: Instant, now: Instant) -> Option<Call> {
        let timer = {
            let mut armed = self.armed.borrow_mut();
            let first = armed.first_entry().filter(|first| first.key().0 <= then)?;
            first.remove()
        };
        let due = timer.deadline.take()?;
        let how = match timer.mode.get()? {
            Mode::Single => {
                timer.mode.set(None);
                How::Last
            }
            Mode::Semi => How::Release,
            Mode::Auto => {
                // beats that were missed are not made up for
                let next = due + timer.interval.get();
                self.insert(&timer, if next > now { next } else { now + timer.interval.get() });
                How::Keep
            }
        };
        Some(Call { key: timer.key, slot: slot::TIMER, how, with: With::Nothing })
    }

    fn insert(&self, timer: &Rc<Timer>, deadline: Instant) {
        timer.deadline.set(Some(deadline));
        self.armed.borrow_mut().insert((deadline, timer.key), timer.clone());
    }

    fn remove(&self, timer: &Timer) -> bool {
        let deadline = timer.deadline.take();
        deadline.is_some_and(|at| self.armed.borrow_mut().remove(&(at, timer.key)).is_some())
    }

    /// Sees to it that the loop is woken for the timer that is due next.
    pub(crate) fn arm(&self, state: &State) {
        let next = self.armed.borrow().first_key_value().map(|(&(at, _), _)| at);
        let mut alarm = self.alarm.borrow_mut();
        if next == alarm.as_ref().map(|(at, _)| *at) {
            return;
        }
        *alarm = next.map(|at| {
            let clock = state.clock.borrow().clone();
            let queue = state.queue.clone();
            let task = reactor::spawn(async move {
                clock.sleep_until(at).await;
                queue.push(Entry::Timer(at));
            });
            (at, task)
        });
    }

    /// The word that [`arm`](Self::arm) has put into the queue was taken from there.
    pub(crate) fn rang(&self) {
        *self.alarm.borrow_mut() = None;
    }

    /// The clock is another one now.
    pub(crate) fn rearm(&self, state: &State) {
        self.rang();
        self.arm(state);
    }

    /// The userdata of this key was collected.
    pub(crate) fn forget(&self, key: u32) {
        self.by_key.borrow_mut().remove(&key);
    }

    /// Stops all.
    pub(crate) fn clear(&self) {
        self.armed.borrow_mut().clear();
        *self.alarm.borrow_mut() = None;
    }
}

/// A timer and its userdata.
struct Target {
    timer: Rc<Timer>,
    object: AnyUserData,
}

type Method = fn(&Rc<State>, &Target, &Args<'_>) -> Reply;

/// What timers can do, the same for both forms.
const METHODS: [(&str, Method); 7] = [
    ("register", register),
    ("start", start),
    ("stop", stop),
    ("unregister", unregister),
    ("alarm", alarm),
    ("interval", interval),
    ("state", get_state),
];

/// What timer objects can do on a device and not here.
const MISSING: [(&str, &str); 2] = [("suspend", "tmr.suspend"), ("resume", "tmr.resume")];

/// Makes the module's table.
pub(crate) fn open(maker: &Maker<'_>) -> mlua::Result<Table> {
    let lua = maker.lua;
    lua.set_named_registry_value(BY_NUMBER, lua.create_table()?)?;
    let tmr = lua.create_table()?;
    let mut methods = Vec::new();
    for (name, method) in METHODS {
        methods.push((
            name,
            maker.function(name, move |state, mut args| {
                let target = args.take_self();
                let target = find(state, args.lua, &target).ok_or_else(|| Raise::bad_self(name, NAME))?;
                method(state, &target, &args)
            })?,
        ));
        maker.add(&tmr, name, move |state, mut args| {
            let target = by_number(state, &mut args)?;
            method(state, &target, &args)
        })?;
    }
    for (name, whole) in MISSING {
        let missing = maker.function(name, move |_, _| Err(Raise(format!("{whole} is not simulated"))))?;
        methods.push((name, missing));
    }
    object::register(lua, &maker.shell, NAME, methods)?;

    maker.add(&tmr, "create", |state, args| reply(args.lua, create(state, args.lua)?))?;
    tmr.raw_set("now", hot::wrap_now(lua, &maker.shell)?)?;
    maker.add(&tmr, "time", |state, args| {
        let seconds = state.now().saturating_duration_since(state.started).as_secs();
        reply(args.lua, (u128::from(seconds) & MASK) as u32)
    })?;
    maker.add(&tmr, "delay", |state, args| {
        let micros = args.at(1).truncated(0..=i64::from(i32::MAX))?;
        // On a virtual clock no time passes while Lua runs.
        if !state.clock.borrow().is_manual() {
            thread::sleep(Duration::from_micros(micros as u64));
        }
        reply(args.lua, ())
    })?;
    // The watchdogs of a device. The second one is in lua/nodemcu/watchdog.lua: without that nobody could restart.
    maker.add(&tmr, "wdclr", |_, args| reply(args.lua, ()))?;
    maker.add(&tmr, "softwd", |_, args| reply(args.lua, ()))?;
    tmr.raw_set("ALARM_SINGLE", Mode::Single as i32)?;
    tmr.raw_set("ALARM_AUTO", Mode::Auto as i32)?;
    tmr.raw_set("ALARM_SEMI", Mode::Semi as i32)?;
    Ok(tmr)
}

/// `tmr.now()`: microseconds since the module was opened, as far as they fit.
pub(crate) fn now(state: &State) -> u32 {
    (state.now().saturating_duration_since(state.started).as_micros() & MASK) as u32
}

fn create(state: &State, lua: &Lua) -> Result<AnyUserData, Raise> {
    let key = state.next_key()?;
    let object = object::create(lua, state, NAME, key, Size::SMALL)?;
    let timer = Timer {
        key,
        address: object.to_pointer().addr(),
        mode: Cell::new(None),
        interval: Cell::new(Duration::ZERO),
        deadline: Cell::new(None),
    };
    state.timers.by_key.borrow_mut().insert(key, Rc::new(timer));
    Ok(object)
}

fn find(state: &State, lua: &Lua, value: &Value) -> Option<Target> {
    let Value::UserData(object) = value else { return None };
    let key = object::key(lua, object)?;
    let timer = state.timers.by_key.borrow().get(&key).cloned()?;
    // what looks like its key may have been another userdata's
    (timer.address == object.to_pointer().addr()).then(|| Target { timer, object: object.clone() })
}

/// The timer that the first argument of the older form names; an object serves too.
fn by_number(state: &Rc<State>, args: &mut Args<'_>) -> Result<Target, Raise> {
    let lua = args.lua;
    let first = args.take_first();
    if let Some(target) = find(state, lua, &first.value) {
        return Ok(target);
    }
    let id = first.integer(0..=MAX_ID)?;
    let timers: Table = lua.named_registry_value(BY_NUMBER)?;
    if let Some(target) = find(state, lua, &timers.raw_get::<Value>(id)?) {
        return Ok(target);
    }
    let object = create(state, lua)?;
    timers.raw_set(id, &object)?;
    find(state, lua, &Value::UserData(object)).ok_or_else(|| first.fail(NAME))
}

fn register(state: &Rc<State>, target: &Target, args: &Args<'_>) -> Reply {
    let interval = interval_of(args)?;
    let mode = match args.at(2).integer(0..=2)? {
        0 => Mode::Single,
        1 => Mode::Auto,
        _ => Mode::Semi,
    };
    let callback = args.at(3).function()?;
    disarm(state, target)?;
    hot::set_slot(args.lua, &target.object, slot::TIMER, Value::Function(callback))?;
    target.timer.mode.set(Some(mode));
    target.timer.interval.set(interval);
    reply(args.lua, ())
}

fn start(state: &Rc<State>, target: &Target, args: &Args<'_>) -> Reply {
    let restart = args.at(1).given().map_or(Ok(false), |flag| flag.flag())?;
    let running = target.timer.deadline.get().is_some();
    if target.timer.mode.get().is_none() || (running && !restart) {
        return reply(args.lua, false);
    }
    arm(state, target)?;
    reply(args.lua, true)
}

fn alarm(state: &Rc<State>, target: &Target, args: &Args<'_>) -> Reply {
    register(state, target, args)?;
    arm(state, target)?;
    reply(args.lua, true)
}

fn stop(state: &Rc<State>, target: &Target, args: &Args<'_>) -> Reply {
    reply(args.lua, disarm(state, target)?)
}

fn unregister(state: &Rc<State>, target: &Target, args: &Args<'_>) -> Reply {
    disarm(state, target)?;
    target.timer.mode.set(None);
    hot::set_slot(args.lua, &target.object, slot::TIMER, Value::Nil)?;
    reply(args.lua, ())
}

fn interval(state: &Rc<State>, target: &Target, args: &Args<'_>) -> Reply {
    let interval = interval_of(args)?;
    if target.timer.mode.get().is_some() {
        target.timer.interval.set(interval);
        if target.timer.deadline.get().is_some() {
            arm(state, target)?;
        }
    }
    reply(args.lua, ())
}

fn get_state(_: &Rc<State>, target: &Target, args: &Args<'_>) -> Reply {
    match target.timer.mode.get() {
        None => reply(args.lua, Value::Nil),
        Some(mode) => reply(args.lua, (target.timer.deadline.get().is_some(), mode as i32)),
    }
}

fn interval_of(args: &Args<'_>) -> Result<Duration, Raise> {
    Ok(Duration::from_millis(args.at(1).truncated(1..=MAX_INTERVAL)? as u64))
}

/// Starts a timer, or starts it anew.
fn arm(state: &Rc<State>, target: &Target) -> Result<(), Raise> {
    state.anchor(target.timer.key, &target.object)?;
    state.timers.remove(&target.timer);
    state.timers.insert(&target.timer, state.now() + target.timer.interval.get());
    state.timers.arm(state);
    Ok(())
}

/// Stops a timer; false if it was not running.
fn disarm(state: &Rc<State>, target: &Target) -> Result<bool, Raise> {
    let was_running = state.timers.remove(&target.timer);
    if was_running {
        state.release(target.timer.key)?;
        state.timers.arm(state);
    }
    Ok(was_running)
}
