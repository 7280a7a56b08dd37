//! The gallery in `lua_examples/devices`: each script runs against embedded brokers, and what goes over the wire is what
//! it is meant to be.

#[path = "support/device.rs"]
mod device;
#[path = "support/peer.rs"]
#[allow(unused_imports)]
mod peer;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use device::{Device, folder, runner};
use mqtt::broker::{Broker, BrokerOptions, Received};
use mqtt::codec::Qos::{AtLeastOnce, AtMostOnce};
use peer::{LIMIT, Peer, broker};

/// All of them.
const GALLERY: [&str; 6] = ["bridge.lua", "desk.lua", "ota.lua", "relay.lua", "shell.lua", "thermometer.lua"];

const CHIP: &str = "0x00a1b2";

/// The runner with a script of the gallery, every connect led to the broker.
fn device(script: &str, broker: &Broker, options: &[&str]) -> Command {
    let mut command = runner();
    command.args(["--chipid", CHIP, "--map", &format!("*=127.0.0.1:{}", broker.port())]).args(options);
    command.arg(format!("{}/lua_examples/devices/{script}", env!("CARGO_MANIFEST_DIR")));
    command
}

/// Waits for the first message with this topic among those behind `from`; its place.
#[track_caller]
fn wait_for(broker: &Broker, from: usize, topic: &str, payload: &str) -> (usize, Received) {
    let find = |broker: &Broker| {
        let received = broker.received();
        let fits = |it: &Received| &*it.topic == topic && it.payload == payload.as_bytes();
        let place = received.iter().skip(from).position(fits)? + from;
        Some((place, received[place].clone()))
    };
    assert!(
        broker.wait_until(LIMIT, |broker| find(broker).is_some()),
        "no {payload:?} in {topic}: {:?}",
        broker.received()
    );
    find(broker).expect("it was there")
}

/// The payload of a PUBLISH at QoS 0 or 1, and its topic.
fn topic_and_payload(packet: &[u8]) -> (String, String) {
    assert_eq!(packet[0] >> 4, 3, "{packet:02x?} is a PUBLISH");
    let length = usize::from(packet[2]) * 256 + usize::from(packet[3]);
    let id = if packet[0] & 0x06 == 0 { 0 } else { 2 };
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (text(&packet[4..4 + length]), text(&packet[4 + length + id..]))
}

#[test]
fn every_script_is_tested() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("lua_examples/devices");
    let found: BTreeSet<String> =
        fs::read_dir(root).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(found, GALLERY.map(str::to_owned).into());
}

#[test]
fn the_thermometer_tells_its_reading_and_goes_to_sleep() {
    let broker = broker();
    let environment = folder("thermometer").join("env.lua");
    fs::write(&environment, "sim.dht(4, 18.5, 71)").unwrap();
    let command = device("thermometer.lua", &broker, &["--env", environment.to_str().unwrap()]);
    let it = device::finish(command, "");
    assert_eq!(it.status, Some(0), "{it:?}");
    assert!(it.err.contains("deep sleep for 60 s"), "{it:?}");
    let received = broker.received();
    assert_eq!(received.len(), 1, "{received:?}");
    let reading = &received[0];
    assert_eq!(&*reading.topic, "home/thermometer-00a1b2/climate");
    assert_eq!((reading.qos, reading.retain, &*reading.client), (AtLeastOnce, true, "thermometer-00a1b2"));
    let payload = std::str::from_utf8(&reading.payload).unwrap();
    for part in ["\"temperature\":18.5", "\"humidity\":71", "\"boots\":0"] {
        assert!(payload.contains(part), "{payload}");
    }
    assert!(broker.clients().is_empty());
}

#[test]
fn the_thermometer_wakes_again_and_counts() {
    let broker = broker();
    let environment = folder("awake").join("env.lua");
    // a minute is as long as three seconds here
    fs::write(
        &environment,
        "local dsleep = node.dsleep
         function node.dsleep(us) dsleep(us / 20000) end
         sim.dht(4, 0, 0, dht.ERROR_TIMEOUT)",
    )
    .unwrap();
    let options = ["--awake", "-q", "--env", environment.to_str().unwrap()];
    let _device = Device::start(device("thermometer.lua", &broker, &options));
    assert!(broker.wait_until(LIMIT, |broker| broker.received().len() == 3));
    for (boots, reading) in broker.received().iter().enumerate() {
        let payload = std::str::from_utf8(&reading.payload).unwrap();
        assert!(payload.contains(&format!("\"boots\":{boots}")), "{payload}");
        assert!(payload.contains("\"failed\":-2"), "{payload}");
    }
    assert_eq!(broker.accepted(), 3, "each boot is a connection of its own");
}

#[test]
fn the_relay_does_what_it_is_told_and_tells_what_it_does() {
    let broker = broker();
    let environment = folder("relay").join("env.lua");
    // what the relay's coil would see; the button is pressed, and bounces, when it is on for the first time
    fs::write(
        &environment,
        "sim.gpio(3, 1)
         local pressed = false
         sim.on('gpio', function(pin, level)
           print(pin, level)
           if level == 1 and not pressed then
             pressed = true
             tmr.create():alarm(50, tmr.ALARM_SINGLE, function()
               for _ = 1, 3 do sim.gpio(3, 0) sim.gpio(3, 1) end
             end)
           end
         end)",
    )
    .unwrap();
    let mut watcher = Peer::subscriber(&broker, "watcher", "home/relay-00a1b2/status", AtMostOnce);
    let mut device = Device::start(device("relay.lua", &broker, &["--env", environment.to_str().unwrap()]));
    assert_eq!(device.line(), "1\t0");
    let (place, online) = wait_for(&broker, 0, "home/relay-00a1b2/status", "online");
    assert_eq!((online.qos, online.retain), (AtLeastOnce, true));
    let (place, off) = wait_for(&broker, place, "home/relay-00a1b2/state", "off");
    assert!(off.retain);

    broker.publish("home/relay-00a1b2/set", "on", AtLeastOnce, false).unwrap();
    assert_eq!(device.line(), "1\t1");
    let (place, _) = wait_for(&broker, place, "home/relay-00a1b2/state", "on");
    assert_eq!(device.line(), "1\t0", "the button, once");
    let (place, _) = wait_for(&broker, place, "home/relay-00a1b2/state", "off");
    broker.publish("home/relay-00a1b2/set", "nonsense", AtLeastOnce, false).unwrap();
    broker.publish("home/relay-00a1b2/set", "toggle", AtLeastOnce, false).unwrap();
    assert_eq!(device.line(), "1\t1");
    let (place, _) = wait_for(&broker, place, "home/relay-00a1b2/state", "on");

    // The connection is lost: it comes back by itself and says again what it is.
    assert!(broker.kill("relay-00a1b2"));
    let (place, _) = wait_for(&broker, place, "home/relay-00a1b2/status", "online");
    wait_for(&broker, place, "home/relay-00a1b2/state", "on");

    device.unplug();
    let said: Vec<String> = (0..4).map(|_| topic_and_payload(&watcher.packet()).1).collect();
    assert_eq!(said, ["online", "offline", "online", "offline"], "the will speaks for a lost device");
}

#[test]
fn the_shell_runs_what_it_gets_and_sends_what_that_prints() {
    let broker = broker();
    let mut device = Device::start(device("shell.lua", &broker, &[]));
    let out = "shells/shell-00a1b2/out";
    let mut place = wait_for(&broker, 0, out, "this is shell-00a1b2\n").0;
    for (line, answer) in [
        ("print(1 + 2)", "3\n"),
        ("=node.chipid()", "41394\n"),
        ("x = 'kept'", ""),
        ("print(x)", "kept\n"),
        ("for i = 1, 2 do", ""),
        ("  print('line', i) end", "line\t1\n"),
        ("error('oops')", "stdin:1: oops\n"),
        ("nonsense nonsense", ""),
        ("print('alive')", "alive\n"),
    ] {
        broker.publish("shells/shell-00a1b2/in", line, AtLeastOnce, false).unwrap();
        if !answer.is_empty() {
            place = wait_for(&broker, place, out, answer).0;
        }
    }
    broker.stop();
    device.unplug();
}

#[test]
fn the_bridge_carries_readings_there_and_commands_back() {
    let (near, far) = (broker(), broker());
    let mut command = runner();
    command.args(["--chipid", CHIP]);
    for (name, broker) in [("near", &near), ("far", &far)] {
        command.args(["--map", &format!("{name}.local=127.0.0.1:{}", broker.port())]);
    }
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/lua_examples/devices/bridge.lua"));
    let mut device = Device::start(command);
    let said: BTreeSet<String> = [device.line(), device.line()].into();
    assert_eq!(said, ["far is there".to_owned(), "near is there".to_owned()].into());

    near.publish("readings/roof/wind", "12", AtLeastOnce, false).unwrap();
    let (_, wind) = wait_for(&far, 0, "north/readings/roof/wind", "12");
    assert_eq!((wind.qos, &*wind.client), (AtLeastOnce, "bridge-far-00a1b2"));
    far.publish("north/commands/roof/awning", "in", AtMostOnce, false).unwrap();
    wait_for(&near, 0, "commands/roof/awning", "in");
    far.publish("south/commands/roof/awning", "out", AtLeastOnce, false).unwrap();
    far.publish("north/commands/end", "", AtLeastOnce, false).unwrap();
    wait_for(&near, 0, "commands/end", "");
    assert_eq!(near.received().len(), 2, "{:?}", near.received());

    // One of them goes away: what comes meanwhile is lost, and said so.
    far.stop();
    assert!(near.wait_until(LIMIT, |near| {
        near.publish("readings/roof/wind", "13", AtLeastOnce, false).unwrap();
        // the first of them may have been on its way already
        device_lost(&mut device)
    }));
    far.restart().unwrap();
    assert_eq!(skip_losses(&mut device), "far is there");
    near.publish("readings/roof/wind", "14", AtLeastOnce, false).unwrap();
    wait_for(&far, 0, "north/readings/roof/wind", "14");
}

fn device_lost(device: &mut Device) -> bool {
    device.try_line().is_some_and(|line| line == "lost: readings/roof/wind")
}

fn skip_losses(device: &mut Device) -> String {
    loop {
        let line = device.line();
        if !line.starts_with("lost: ") {
            return line;
        }
    }
}

/// What the update's header calls `sum`.
fn adler32(bytes: &[u8]) -> u64 {
    let (low, high) = bytes.iter().fold((1u64, 0u64), |(low, high), &byte| {
        let low = (low + u64::from(byte)) % 65521;
        (low, (high + low) % 65521)
    });
    high * 65536 + low
}

#[test]
fn an_update_is_checked_put_in_place_and_started() {
    let broker = broker();
    let root = folder("ota");
    fs::write(root.join("app.lua"), "return 'one'").unwrap();
    let _device = Device::start(device("ota.lua", &broker, &["--root", root.to_str().unwrap()]));
    let status = "ota/ota-00a1b2/status";
    let (mut place, _) = wait_for(&broker, 0, status, "running one");
    let mut say = |topic: &str, payload: &str, answer: &str| {
        broker.publish(&format!("ota/ota-00a1b2/{topic}"), payload.to_owned(), AtLeastOnce, false).unwrap();
        if !answer.is_empty() {
            place = wait_for(&broker, place, status, answer).0;
        }
    };

    // Larger than a message of a device, with every byte that Lua's strings may have.
    let app = format!("-- {}\nreturn 'two'\n", "0123456789 äöü ".repeat(200));
    let header =
        |name: &str, sum: u64| format!("{{\"name\":\"{name}\",\"size\":{},\"sum\":{sum}}}", app.len());
    let sum = adler32(app.as_bytes());
    let mut send = |name: &str, sum: u64, answer: &str| {
        say("begin", &header(name, sum), if answer == "failed: no such name" { answer } else { "receiving" });
        if answer == "failed: no such name" {
            return;
        }
        let middle = app.len() / 2 / 16 * 16;
        let middle = (middle..).find(|&at| app.is_char_boundary(at)).unwrap();
        say("data", &app[..middle], "");
        say("data", &app[middle..], "");
        say("end", "", answer);
    };
    send("../outside.lua", sum, "failed: no such name");
    send("app.lua", sum + 1, "failed: checksum");
    assert_eq!(fs::read_to_string(root.join("app.lua")).unwrap(), "return 'one'");
    assert!(!root.join("app.lua.new").exists());
    send("app.lua", sum, "installed");
    wait_for(&broker, place, status, "running two");
    assert_eq!(fs::read_to_string(root.join("app.lua")).unwrap(), app);
    assert_eq!(broker.accepted(), 2);
}

/// Files and readings by topics, in the manner of the firmware's own examples: no arguments for the client, handlers by
/// topic, the file opened last (or none), timers by number, the callbacks' client and the variable's.
const FILE_SERVER: &str = "
    local m = mqtt.Client()
    local commands = { run = dofile, remove = file.remove, write = file.write, close = function() file.close() end }
    function commands.open(name) file.open(name, 'w+') end
    function commands.read(name, client)
      file.close()
      file.open(name)
      repeat
        local piece = file.read(1024)
        if piece then client:publish('/files/out', piece, 0, 0) end
      until not piece
      file.close()
    end
    local topics = {}
    topics['/files/in'] = function(client, data)
      local order = sjson.decode(data)
      if order.content then commands[order.cmd](order.content, client) end
    end
    m:on('message', function(client, topic, data)
      if data ~= nil and topics[topic] then topics[topic](client, data) end
    end)
    m:on('connect', function(m)
      print('up, free: ' .. node.heap())
      m:subscribe('/files/#', 0, function(m) print('ready') end)
    end)
    m:on('offline', function()
      print('offline')
      print(node.heap())
    end)
    m:connect('192.168.18.88', 1883, 0, 1)
    tmr.alarm(0, 20, 1, function() m:publish('/files/time', 'time: ' .. tmr.time(), 0, 0) end)";

/// What `node.heap` gave.
#[track_caller]
fn assert_is_number(text: &str) {
    assert!(text.parse::<f64>().is_ok_and(|bytes| bytes > 0.0), "{text}");
}

#[test]
fn files_go_over_topics_and_readings_flow_also_after_a_lost_connection() {
    let broker = broker();
    let root = folder("files");
    fs::write(root.join("server.lua"), FILE_SERVER).unwrap();
    let mut command = runner();
    command.args(["--chipid", CHIP, "--map", &format!("*=127.0.0.1:{}", broker.port())]);
    command.arg("server.lua").current_dir(&root);
    let mut device = Device::start(command);
    let order = |cmd: &str, content: &str| {
        let order = format!("{{\"cmd\":\"{cmd}\",\"content\":{content:?}}}");
        broker.publish("/files/in", order, AtMostOnce, false).unwrap();
    };
    let topic = |topic: &str| -> Vec<String> {
        let received = broker.received().into_iter().filter(|it| &*it.topic == topic);
        received.map(|it| String::from_utf8(it.payload.to_vec()).unwrap()).collect()
    };
    let readings = || topic("/files/time").len();
    let lines = ["print([[hello world]])\n".to_owned(), format!("print([[{}]])\n", "x".repeat(2500))];
    let whole = lines.concat();

    assert_is_number(device.line().strip_prefix("up, free: ").expect("the first line"));
    assert_eq!(device.line(), "ready");
    // all of no meaning to it
    for (topic, data) in [("/files/in", ""), ("/files/in", "{\"cmd\":\"remove\"}"), ("/files/other", "x")] {
        broker.publish(topic, data, AtMostOnce, false).unwrap();
    }
    order("open", "test.lua");
    for line in &lines {
        order("write", line);
    }
    order("close", "");
    order("run", "test.lua");
    assert_eq!(device.line(), "hello world");
    assert_eq!(device.line(), "x".repeat(2500));
    assert_eq!(fs::read_to_string(root.join("test.lua")).unwrap(), whole);
    order("read", "test.lua");
    assert!(broker.wait_until(LIMIT, |_| topic("/files/out").concat() == whole));
    assert_eq!(
        topic("/files/out").iter().map(String::len).collect::<Vec<_>>(),
        [1024, 1024, whole.len() - 2048]
    );
    assert!(broker.wait_until(LIMIT, |_| readings() >= 3));

    assert!(broker.kill("NodeMCU_00A1B2"));
    assert_eq!(device.line(), "offline");
    assert_is_number(&device.line());
    assert!(device.line().starts_with("up, free: "));
    assert_eq!(device.line(), "ready");
    let before = readings();
    order("remove", "test.lua");
    order("read", "server.lua");
    let all = whole + FILE_SERVER;
    assert!(broker.wait_until(LIMIT, |_| topic("/files/out").concat() == all && readings() > before));
    assert!(!root.join("test.lua").exists());
}

/// The same with a service in the cloud: a name and a password, two topics asked for and served in one go, no callback and
/// no autoreconnect.
const CLOUD: &str = "
    do
      local function show(name) return function(_, data) print(name .. ': ' .. data) end end
      local topics = { ['/one'] = show('one'), ['/two'] = show('two') }
      local function route(client, topic, data)
        if data ~= nil and topics[topic] then topics[topic](client, data) end
      end

      local m = mqtt.Client('cloud', 60, 'user', 'secret')
      m:on('connect', function(client)
        print('up, free: ' .. node.heap())
        client:subscribe('/one', 0, function() print('subscribed') end)
        client:subscribe('/two', 0, function() print('subscribed') end)
        client:publish('/one', 'hello', 0, 0)
        client:publish('/two', 'world', 0, 0)
      end)
      m:on('offline', function()
        print('offline')
        print(node.heap())
      end)
      m:on('message', route)
      m:connect('cloud.example', 11214, 0)
      tmr.create():alarm(20, tmr.ALARM_AUTO, function()
        local data = 'time: ' .. tmr.time()
        if not m:publish('/one', data, 0, 0) then print('not sent') end
      end)
    end";

#[test]
fn a_service_with_a_login_is_served_and_its_loss_is_lived_with() {
    let users = [("user".to_owned(), "secret".to_owned())].into();
    let broker = Broker::start(BrokerOptions { users: Some(users), ..BrokerOptions::default() }).unwrap();
    let script = folder("cloud").join("cloud.lua");
    fs::write(&script, CLOUD).unwrap();
    let mut command = runner();
    command.args(["--map", &format!("cloud.example:11214=127.0.0.1:{}", broker.port())]).arg(&script);
    let mut device = Device::start(command);
    let mut line = || loop {
        let line = device.line();
        // readings may come in between
        if line != "not sent" && !line.starts_with("one: time: ") {
            return line;
        }
    };
    assert_is_number(line().strip_prefix("up, free: ").expect("the first line"));
    assert_eq!([line(), line(), line(), line()], ["subscribed", "subscribed", "one: hello", "two: world"]);
    while !device.line().starts_with("one: time: ") {}

    assert!(broker.kill("cloud"));
    while device.line() != "offline" {}
    assert_is_number(&device.line());
    for _ in 0..3 {
        assert_eq!(device.line(), "not sent");
    }
    assert_eq!(broker.accepted(), 1);
}

#[test]
fn the_scripts_in_the_guide_run() {
    let guide = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/src/guide/device.md")).unwrap();
    let scripts: Vec<&str> =
        guide.split("```lua\n").skip(1).map(|rest| rest.split("```").next().expect("split")).collect();
    assert_eq!(scripts.len(), 4);
    for script in scripts {
        let it = device::run(&[], script);
        assert_eq!(it.status, Some(0), "{script}\n{it:?}");
        assert!(!it.out.is_empty() && it.err.is_empty(), "{script}\n{it:?}");
    }
}
