//! More than one Lua state in a process: beside each other on one thread and on several, and one after the other.

use std::thread;
use std::time::{Duration, Instant};

use mlua::{Lua, Table};
use mqtt::broker::{Broker, BrokerOptions};
use mqtt::lua::{self, Options};

/// A state with the module and a client that is connected to the broker, both global; it counts messages and
/// connections.
fn connected(broker: &Broker, name: &str) -> Lua {
    let lua = Lua::new();
    let mqtt: Table = lua::open(&lua, Options::default()).unwrap();
    lua.globals().set("mqtt", mqtt).unwrap();
    lua.globals().set("tmr", lua::open_tmr(&lua).unwrap()).unwrap();
    lua.globals().set("port", broker.port()).unwrap();
    lua.globals().set("name", name).unwrap();
    let script = r#"
        client, got = mqtt.Client(name, 60), {}
        client:lwt("will", name)
        client:on("message", function(_, topic, data) got[#got + 1] = data end)
        local ready
        client:connect("127.0.0.1", port, function()
          client:subscribe("to/" .. name, 1, function() ready = true end)
        end)
        assert(mqtt.wait(function() return ready end, 10))
        tmr.create():alarm(60000, tmr.ALARM_AUTO, function() end)
    "#;
    lua.load(script).exec().unwrap();
    lua
}

fn exec(lua: &Lua, script: &str) {
    lua.load(script).exec().unwrap();
}

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
fn states_side_by_side_do_not_hear_of_each_others_callbacks() {
    let broker = Broker::start(BrokerOptions::default()).unwrap();
    let (one, two) = (connected(&broker, "one"), connected(&broker, "two"));
    exec(&one, "assert(client:publish('to/two', 'from one', 1))");
    exec(&two, "assert(client:publish('to/one', 'from two', 1))");
    let got = "assert(mqtt.wait(function() return got[1] end, 10)) assert(#got == 1, #got)";
    exec(&one, got);
    exec(&two, got);
    exec(&one, "assert(got[1] == 'from two')");
    exec(&two, "assert(got[1] == 'from one')");
}

#[test]
fn the_end_of_a_state_says_goodbye_for_its_own_clients_only() {
    let broker = Broker::start(BrokerOptions::default()).unwrap();
    let stays = connected(&broker, "stays");
    for round in 1..=3 {
        let ends = connected(&broker, "ends");
        exec(&ends, "for i = 1, 3 do assert(client:publish('to/stays', tostring(i), 1)) end");
        drop(ends);
        exec(
            &stays,
            &format!(
                "assert(mqtt.wait(function() return #got == {} end, 10)) assert(got[#got] == '3')",
                3 * round
            ),
        );
    }
    wait("the others are gone", || broker.clients() == ["stays"]);
    exec(&stays, "assert(client:state() == 'connected') assert(mqtt.poll() == 0)");
    assert!(broker.received().iter().all(|message| &*message.topic != "will"));
}

#[test]
fn a_socket_that_one_state_has_read_from_is_served_while_another_waits_and_in_a_loop_that_never_waits() {
    let broker = Broker::start(BrokerOptions::default()).unwrap();
    let (one, two) = (connected(&broker, "one"), connected(&broker, "two"));
    for _ in 0..20 {
        // `one` waits on its socket itself, gets a message there and goes on to other things
        exec(
            &one,
            "got = {} client:publish('to/one', 'first', 0) assert(mqtt.wait(function() return got[1] end, 10))",
        );
        exec(&two, "got = {} client:publish('to/one', 'second', 1) client:publish('to/two', 'own', 1)");
        exec(&two, "assert(mqtt.wait(function() return got[1] end, 10))");
        exec(
            &one,
            "local give_up = os.time() + 10
            repeat mqtt.poll(0) until got[2] or os.time() > give_up
            assert(got[2] == 'second' and #got == 2)",
        );
    }
}

#[test]
fn states_on_several_threads_do_not_disturb_each_other() {
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
    let took = (0..20).map(|round| {
        let lua = Lua::new();
        echo(&lua, &broker, &format!("reopened-{round}"), 5);
        let closing = Instant::now();
        drop(lua);
        let took = closing.elapsed();
        wait("it has said goodbye", || broker.clients().is_empty());
        took
    });
    // waiting that is built in would make all of them slow, a busy machine only some
    let least = took.min().expect("20 rounds");
    assert!(least < Duration::from_secs(1), "the end took {least:?} at the least");
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
