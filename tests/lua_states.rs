//! More than one Lua state in a process, one after the other and side by side.

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
    assert_eq!(broker.clients(), ["stays"]);
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
