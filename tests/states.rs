//! More than one Lua state in a process: beside each other on two threads, and one after the other.

use std::thread;
use std::time::{Duration, Instant};

use mlua::Lua;
use mqtt::broker::{Broker, BrokerOptions};
use mqtt::lua::{self, Options};

/// Connects as `id` and gets `n` messages of its own back.
const ECHO: &str = r#"
    local mqtt, port, id, n = ...
    local client = mqtt.Client(id)
    client:lwt("will", id)
    local got = 0
    client:on("message", function(c, topic, data)
      got = got + 1
      assert(topic == id and data == tostring(got))
      if got < n then assert(c:publish(id, got + 1, got % 3)) end
    end)
    client:connect("127.0.0.1", port, function(c)
      c:subscribe(id, 2, function() c:publish(id, 1, 1) end)
    end)
    assert(mqtt.wait(function() return got == n end, 20), "echoes are missing")
    return client:state()
"#;

fn echo(lua: &Lua, broker: &Broker, id: &str, n: u32) {
    let mqtt = lua::open(lua, Options::default()).unwrap();
    let state: String = lua.load(ECHO).call((mqtt, broker.port(), id, n)).unwrap();
    assert_eq!(state, "connected");
}

fn wait(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "never: {what}");
        thread::yield_now();
    }
}

/// Descriptors and threads of this process.
#[cfg(target_os = "linux")]
fn resources() -> (usize, usize) {
    let count = |path: &str| std::fs::read_dir(path).unwrap().count();
    (count("/proc/self/fd"), count("/proc/self/task"))
}

#[test]
fn states_on_two_threads_do_not_disturb_each_other() {
    let broker = Broker::start(BrokerOptions::default()).unwrap();
    thread::scope(|scope| {
        for id in ["one", "two", "three"] {
            let broker = &broker;
            scope.spawn(move || {
                for round in 0..5 {
                    let lua = Lua::new();
                    echo(&lua, broker, &format!("{id}-{round}"), 100);
                    // the state goes while the others work
                }
            });
        }
    });
    wait("everybody has said goodbye", || broker.clients().is_empty());
    let wills = broker.received().into_iter().filter(|message| &*message.topic == "will").count();
    assert_eq!(wills, 0, "DISCONNECT came first");
}

#[test]
fn a_state_that_was_closed_can_be_followed_by_another() {
    let broker = Broker::start(BrokerOptions::default()).unwrap();
    for round in 0..20 {
        let lua = Lua::new();
        echo(&lua, &broker, &format!("reopened-{round}"), 5);
        let closing = Instant::now();
        drop(lua);
        assert!(closing.elapsed() < Duration::from_secs(1), "the end took {:?}", closing.elapsed());
        wait("it has said goodbye", || broker.clients().is_empty());
    }
}

#[cfg(target_os = "linux")]
#[test]
fn states_leave_no_descriptor_and_no_thread_behind() {
    // a process of its own would be needed to be exact: the other tests open some meanwhile
    let (descriptors, threads) = resources();
    for _ in 0..200 {
        let lua = Lua::new();
        let mqtt = lua::open(&lua, Options::default()).unwrap();
        lua.load("local mqtt = ... mqtt.Client('idle') mqtt.fileno() mqtt.poll()").call::<()>(mqtt).unwrap();
    }
    wait("what was opened is closed", || {
        let now = resources();
        now.0 < descriptors + 100 && now.1 <= threads + 8
    });
}
