//! `mqtt-lua` as a device: its globals, --env, --chipid, --root, --profile, -v and -q, restart and deep sleep.

#[path = "support/device.rs"]
mod device;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use device::{Device, Outcome, accept, finish, folder, run, runner};
use mqtt::broker::{Broker, BrokerOptions};

fn broker() -> Broker {
    Broker::start(BrokerOptions::default()).unwrap()
}

/// Runs files of a folder from elsewhere.
fn run_file(options: &[&str], script: &std::path::Path) -> Outcome {
    let mut command = runner();
    command.args(options).arg(script);
    finish(command, "")
}

#[test]
fn the_modules_of_a_device_are_globals() {
    let names = [
        "mqtt",
        "tmr",
        "node",
        "file",
        "wifi",
        "gpio",
        "adc",
        "dht",
        "i2c",
        "pwm",
        "uart",
        "bit",
        "sjson",
        "cjson",
        "rtctime",
        "rtcmem",
        "sntp",
        "net",
        "enduser_setup",
        "http",
        "sim",
    ];
    for name in names {
        let it = run(&[], &format!("print(type({name}))"));
        assert_eq!(it.out, "table\n", "{name} {it:?}");
    }
    let it = run(&[], "http.get('http://localhost')");
    assert_eq!(it.status, Some(1));
    assert!(it.err.starts_with("mqtt-lua: stdin:1: http.get is not simulated\n"), "{it:?}");
    let it = run(&[], "gpio.mode('x', 1)");
    assert!(it.err.starts_with("mqtt-lua: stdin:1: bad argument #1 to 'mode'"), "{it:?}");
}

#[test]
fn env_runs_first_in_the_same_globals() {
    let environment = folder("env").join("env.lua");
    fs::write(&environment, "sim.adc(0, 77) settings = { name = 'desk' } print('env')").unwrap();
    let it = run(&["--env", environment.to_str().unwrap()], "print(adc.read(0), settings.name)");
    assert_eq!(it.out, "env\n77\tdesk\n", "{it:?}");
    let it = run(&["--env", "no/such/file.lua"], "print('never')");
    assert_eq!((it.status, it.out.as_str()), (Some(1), ""), "{it:?}");
    assert!(it.err.contains("no/such/file.lua"), "{it:?}");
    fs::write(&environment, "error('broken')").unwrap();
    let it = run(&["--env", environment.to_str().unwrap()], "print('never')");
    assert_eq!((it.status, it.out.as_str()), (Some(1), ""), "{it:?}");
    assert!(it.err.contains("env.lua:1: broken\nstack traceback:"), "{it:?}");
}

#[test]
fn chipid_makes_the_id_the_address_and_the_default_client_id() {
    let broker = broker();
    let source = format!(
        "print(node.chipid(), wifi.sta.getmac(), wifi.sta.gethostname())
         local c = mqtt.Client()
         c:connect('127.0.0.1', {}, function() c:publish('t', 'x', 1, 0, function() c:close() end) end)",
        broker.port()
    );
    let it = run(&["--chipid", "0xABCDEF"], &source);
    assert_eq!(it.out, "11259375\t5c:cf:7f:ab:cd:ef\tNODE-ABCDEF\n", "{it:?}");
    assert_eq!(&*broker.received()[0].client, "NodeMCU_ABCDEF");
    assert_eq!(run(&["--chipid", "99"], "print(node.chipid())").out, "99\n");
    assert_eq!(run(&["--chipid", "xyz"], "").status, Some(2));
    let (one, other) = (run(&[], "print(node.chipid())"), run(&[], "print(node.chipid())"));
    assert_eq!(one.out, other.out, "the same on this machine");
}

#[test]
fn root_is_where_files_are() {
    let folder = folder("root");
    fs::create_dir(folder.join("flash")).unwrap();
    fs::write(folder.join("secret"), "secret").unwrap();
    let root = folder.join("flash");
    let it = run(
        &["--root", root.to_str().unwrap()],
        "file.putcontents('made.lua', 'print([[made]]) return ...')
         print(file.getcontents('../secret'), file.exists('/etc/passwd'), file.exists('made.lua'))
         dofile('made.lua')
         print(pcall(require, 'made'))",
    );
    assert_eq!(it.out, "nil\tfalse\ttrue\nmade\nmade\ntrue\tmade\n", "{it:?}");
    assert!(root.join("made.lua").exists());
    let it = run(
        &["--root", root.to_str().unwrap()],
        "print(pcall(require('mqtt.file').root, '/'))
         print(pcall(require('nodemcu').configure, { root = '/' }))
         print(file.exists('etc/passwd'))",
    );
    let refusal = "false\tthe root is what --root says\n";
    assert_eq!(it.out, format!("{refusal}{refusal}false\n"), "{it:?}");
    let it = run(&["--root", "/no/such/folder"], "print('never')");
    assert_eq!((it.status, it.out.as_str()), (Some(1), ""));
    assert!(it.err.contains("/no/such/folder"), "{it:?}");
}

#[test]
fn a_project_finds_its_parts_from_wherever_it_is_started() {
    let folder = folder("project");
    fs::write(folder.join("init.lua"), "dofile('config.lc') print(require('part').name, CONFIG)").unwrap();
    fs::write(folder.join("config.lua"), "CONFIG = 'configured'").unwrap();
    fs::write(folder.join("part.lua"), "return { name = 'part' }").unwrap();
    let it = run_file(&[], &folder.join("init.lua"));
    assert_eq!(it.out, "part\tconfigured\n", "{it:?}");
}

#[test]
fn old_modules_that_change_their_globals_load() {
    let folder = folder("old");
    fs::write(
        folder.join("sensor.lua"),
        "local name = ...
         local M = {}
         _G[name] = M
         local print = print
         setfenv(1, M)
         function read() return 42 end
         return M",
    )
    .unwrap();
    fs::write(folder.join("init.lua"), "require('sensor') print(sensor.read(), read, math.pow(2, 2) == 4)")
        .unwrap();
    let it = run_file(&[], &folder.join("init.lua"));
    assert_eq!(it.out, "42\tnil\ttrue\n", "{it:?}");
}

#[test]
fn text_for_the_devices_lua_loads_as_a_script_and_as_its_parts() {
    let folder = folder("backslashes");
    fs::write(folder.join("env.lua"), r"env = '\-env'").unwrap();
    fs::write(folder.join("part.lua"), r"return '\/part'").unwrap();
    fs::write(folder.join("main.lua"), r"print('\=main', env, require('part'), dofile('part.lua'))").unwrap();
    let environment = folder.join("env.lua");
    let it = run_file(&["--env", environment.to_str().unwrap()], &folder.join("main.lua"));
    assert_eq!(it.out, "=main\t-env\t/part\t/part\n", "{it:?}");
    assert_eq!(run(&[], r"print('\=stdin')").out, "=stdin\n");
}

#[test]
fn modules_of_the_device_can_be_required_unless_the_project_has_its_own() {
    let folder = folder("required");
    fs::write(folder.join("i2c.lua"), "return 'own'").unwrap();
    fs::write(
        folder.join("main.lua"),
        "local cjson, node = require 'cjson', require('node')
         dht = require('dht')
         print(cjson.encode({ 1 }), node == _G.node, dht.read(4) == dht.OK, require('i2c'))
         print(pcall(function() require('ds18b20').setup(3) end))",
    )
    .unwrap();
    let it = run_file(&[], &folder.join("main.lua"));
    let script = folder.join("main.lua");
    assert_eq!(
        it.out,
        format!("[1]\ttrue\ttrue\town\nfalse\t{}:4: ds18b20.setup is not simulated\n", script.display()),
        "{it:?}"
    );
}

#[test]
fn a_script_may_have_variables_with_the_names_of_luas_functions() {
    let it = run(
        &[],
        "sim.on('gpio', function(pin, level) io.write('pin ', pin, ' ', level, '\\n') end)
         local print = print
         type, select, pcall, error, next, tonumber = 'relay', 1, 2, 3, 4, 5
         math, table, string, os, debug, ipairs, pairs = 1, 2, 3, 4, 5, 6, 7
         setmetatable, getmetatable, unpack, rawget, require = nil, nil, nil, nil, nil
         gpio.mode(1, gpio.OUTPUT)
         gpio.write(1, 1.0)
         print(dht.read(4))
         print(sjson.encode({ wifi.sta.getip(), node.heap() > 0, ('%d'):format(2.5), ('x'):rep(2.5) }))
         wifi.eventmon.register(wifi.eventmon.STA_GOT_IP, function(info)
           print(info.IP)
           http.get('http://localhost')
         end)",
    );
    assert_eq!(
        it.out, "pin 1 1\n0\t21.5\t60\t500\t0\n[\"192.168.1.77\",true,\"2\",\"xx\"]\n192.168.1.77\n",
        "{it:?}"
    );
    assert!(it.err.starts_with("mqtt-lua: stdin:12: http.get is not simulated\nstack traceback:"), "{it:?}");
}

#[test]
fn profile_makes_mqtt_strict_and_warns_with_file_and_line() {
    let broker = broker();
    let source = |call: &str| {
        format!(
            "c = mqtt.Client('strict', 60)
             tmr.create():alarm(300, 0, function() c:close() end)
             {call}",
            call = call.replace("PORT", &broker.port().to_string())
        )
    };
    let it = run(
        &["--profile", "esp8266"],
        &source("c:connect('127.0.0.1', PORT, 0, 1, function() print('up') end)"),
    );
    assert_eq!(it.out, "", "{it:?}");
    assert!(it.err.starts_with("mqtt-lua: stdin:3: the esp8266 takes #4 of connect"), "{it:?}");
    let it = run(
        &["--profile", "esp32"],
        &source("c:connect('127.0.0.1', PORT, 0, 1, function() print('up') end)"),
    );
    assert_eq!((it.out.as_str(), it.err.as_str()), ("up\n", ""), "{it:?}");
    let it = run(&["--profile", "esp32"], &source("c:connect('127.0.0.1', PORT, false, print)"));
    assert!(it.err.starts_with("mqtt-lua: stdin:3: the esp32 stops reading"), "{it:?}");
    let it = run(&["--profile", "esp8266"], &source("c:publish('t', 'x', 0, 0)"));
    assert!(it.err.starts_with("mqtt-lua: stdin:3: not connected\n"), "{it:?}");
    let it = run(&[], &source("print(c:publish('t', 'x'))"));
    assert_eq!(it.out, "false\tnot connected\n", "{it:?}");
    assert_eq!(
        run(&["--profile", "esp32"], "print(require('mqtt') == mqtt, mqtt.CONN_FAIL_DNS)").out,
        "true\tnil\n"
    );
    assert_eq!(run(&["--profile", "esp1"], "").status, Some(2));
}

#[test]
fn a_close_in_one_go_with_connect_is_left_out_but_for_an_esp32() {
    let broker = broker();
    let source = |how: &str| {
        format!(
            "local m = mqtt.Client('both', 60)
             local function go()
               m:connect('127.0.0.1', {}, 0, function(client) print('up') client:close() end)
               m:close()
             end
             {how}",
            broker.port()
        )
    };
    for how in ["go()", "tmr.create():alarm(1, 0, go)"] {
        let it = run(&[], &source(how));
        assert_eq!(it.out, "up\n", "{how} {it:?}");
        assert!(it.err.contains("client \"both\": close() in one go with connect()"), "{it:?}");
        assert_eq!(run(&["--profile", "esp8266"], &source(how)).out, "up\n", "{how}");
        assert_eq!(run(&["--profile", "esp32"], &source(how)).out, "", "{how}");
    }
    // With the loop between them it ends the attempt, at which nobody answers here.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let it = run(
        &[],
        &format!(
            "local m = mqtt.Client()
             m:connect('127.0.0.1', {}, 0)
             tmr.create():alarm(1, 0, function() m:close() end)",
            listener.local_addr().unwrap().port()
        ),
    );
    assert_eq!((it.status, it.err.as_str()), (Some(0), ""), "{it:?}");
}

#[test]
fn the_callback_of_a_connect_serves_later_connections_unless_there_is_another() {
    let again = "m:on('offline', function() m:connect('127.0.0.1', PORT) end)";
    let on = "m:on('connect', function() print('on') end)";
    for (autoreconnect, then, lines) in [
        (1, "", ["up", "up", "up"]),
        (1, on, ["up", "on", "on"]),
        (0, again, ["up", "up", "up"]),
        (0, &format!("{again} {on}"), ["up", "on", "on"]),
    ] {
        let broker = broker();
        let script = folder("again").join("main.lua");
        let source = format!(
            "m = mqtt.Client('again', 60)
             m:connect('127.0.0.1', PORT, 0, {autoreconnect}, function() print('up') {then} end)"
        );
        fs::write(&script, source.replace("PORT", &broker.port().to_string())).unwrap();
        let mut command = runner();
        command.arg(&script);
        let mut device = Device::start(command);
        for line in lines {
            assert_eq!(device.line(), line, "{then}");
            assert!(broker.wait_until(device::LIMIT, |broker| broker.kill("again")));
        }
    }
}

#[test]
fn quiet_says_less_and_verbose_more() {
    let source = "mqtt.Client('x', 60):connect('127.0.0.1', 1, 0, 1, function() end)";
    assert!(run(&["--profile", "esp8266"], source).err.contains("takes #4"));
    assert_eq!(run(&["-q", "--profile", "esp8266"], source).err, "");
    assert!(run(&["-q"], "error('told')").err.contains("told"), "errors are never quiet");
    let broker = broker();
    let connects = format!(
        "local c = mqtt.Client('x') c:connect('127.0.0.1', {}, function() c:close() end)",
        broker.port()
    );
    assert_eq!(run(&[], &connects).err, "");
    assert_ne!(run(&["-vv"], &connects).err, "");
    assert_eq!(run(&["-q", "-v"], "").status, Some(2));
}

#[test]
fn restart_runs_the_script_again_in_a_fresh_state() {
    let it = run(
        &["--chipid", "7"],
        "print(left, node.chipid(), rtcmem.read32(0), node.bootreason())
         left = true
         rtcmem.write32(0, rtcmem.read32(0) + 1)
         if rtcmem.read32(0) < 2 then
           tmr.create():alarm(1, tmr.ALARM_SINGLE, function()
             node.restart()
             print('the callback goes on')
           end)
           tmr.create():alarm(60000, tmr.ALARM_SINGLE, function() end)
         end",
    );
    assert_eq!(it.out, "nil\t7\t0\t1\t0\nthe callback goes on\nnil\t7\t1\t2\t4\n", "{it:?}");
    assert_eq!(it.status, Some(0));
}

#[test]
fn a_watchdog_that_is_not_fed_restarts_the_script() {
    let it = run(
        &[],
        "print('boot', rtcmem.read32(0))
         if rtcmem.read32(0) == 0 then tmr.softwd(1) end
         rtcmem.write32(0, 1)",
    );
    assert_eq!(it.out, "boot\t0\nboot\t1\n", "{it:?}");
    assert_eq!(it.err, "mqtt-lua: tmr.softwd: the time is up, restarting\n");
}

#[test]
fn restart_gives_the_script_its_arguments_again() {
    let folder = folder("again");
    let script = folder.join("main.lua");
    fs::write(
        &script,
        "print(arg[0] ~= nil, arg[1], ...)
         if not file.exists('done') then
           file.putcontents('done', '')
           node.restart()
         end",
    )
    .unwrap();
    let mut command = runner();
    command.arg("--root").arg(&folder).arg(&script).args(["one", "two"]);
    let it = finish(command, "");
    assert_eq!(it.out, "true\tone\tone\ttwo\ntrue\tone\tone\ttwo\n", "{it:?}");
}

/// Takes the next connection, accepts it, and returns what comes after its CONNECT.
fn serve(listener: &TcpListener) -> Vec<u8> {
    let mut stream = accept(listener);
    let mut head = [0; 2];
    stream.read_exact(&mut head).unwrap();
    let mut body = vec![0; head[1].into()];
    stream.read_exact(&mut body).unwrap();
    stream.write_all(&[0x20, 2, 0, 0]).unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    rest
}

#[test]
fn restart_and_sleep_say_goodbye_to_the_broker_first() {
    const DISCONNECT: [u8; 2] = [0xE0, 0];
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let source = format!(
        "local boots = rtcmem.read32(0)
         rtcmem.write32(0, boots + 1)
         mqtt.Client('boot'):connect('127.0.0.1', {}, function()
           if boots == 0 then node.restart() else node.dsleep(0) end
         end)",
        listener.local_addr().unwrap().port()
    );
    let device = std::thread::spawn(move || run(&["--awake"], &source));
    assert_eq!(serve(&listener), DISCONNECT, "restart");
    assert_eq!(serve(&listener), DISCONNECT, "sleep");
    let it = device.join().unwrap();
    assert_eq!(it.status, Some(0), "{it:?}");
}

#[test]
fn a_script_that_restarts_for_ever_is_slowed_and_told() {
    let begun = Instant::now();
    let it = run(
        &[],
        "rtcmem.write32(0, rtcmem.read32(0) + 1)
         if rtcmem.read32(0) <= 3 then node.restart() end",
    );
    // the first restart is free
    assert!(begun.elapsed() >= Duration::from_secs(2), "{:?}", begun.elapsed());
    assert_eq!(it.err, "mqtt-lua: the script starts again and again: once per second from here on\n");
}

#[test]
fn one_restart_is_not_slowed() {
    device::can_take_less_than(Duration::from_secs(1), || {
        let it = run(&[], "if rtcmem.read32(0) == 0 then rtcmem.write32(0, 1) node.restart() end");
        assert_eq!(it.err, "");
    });
}

#[test]
fn deep_sleep_ends_the_run() {
    let source = "tmr.create():alarm(60000, 0, function() end) node.dsleep(5 * 1000000) print('last')";
    let it = run(&[], source);
    assert_eq!((it.status, it.out.as_str()), (Some(0), "last\n"), "{it:?}");
    assert_eq!(
        it.err,
        "mqtt-lua: deep sleep for 5 s (--awake starts the script again then): the run ends here\n"
    );
    assert_eq!(run(&["-q"], source).err, "");
    assert!(run(&[], "node.dsleep(0)").err.contains("for ever"));
}

#[test]
fn awake_sleeps_and_starts_again() {
    let begun = Instant::now();
    let it = run(
        &["--awake"],
        "print(select(2, node.bootreason()), rtcmem.read32(3))
         if rtcmem.read32(3) == 0 then
           rtcmem.write32(3, 5)
           node.dsleep(300000)
         end",
    );
    assert_eq!(it.out, "0\t0\n5\t5\n", "{it:?}");
    assert!(begun.elapsed() >= Duration::from_millis(300), "{:?}", begun.elapsed());
    assert_eq!(it.err, "");
}

#[test]
fn an_error_ends_the_run_also_after_a_restart() {
    let it = run(
        &[],
        "if rtcmem.read32(0) == 1 then error('second life') end
         rtcmem.write32(0, 1)
         node.restart()",
    );
    assert_eq!(it.status, Some(1));
    assert!(it.err.contains("stdin:1: second life\nstack traceback:"), "{it:?}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_lookup_leaves_no_pool_of_threads_behind() {
    let it = run(
        &[],
        r#"net.dns.resolve("localhost", function(_, ip)
  print(ip)
  print(io.popen("cat /proc/$PPID/task/*/comm"):read("*a"))
end)"#,
    );
    assert!(it.out.starts_with("127.0.0.1\nmqtt-lua\n"), "{it:?}");
    assert!(!it.out.contains("blocking-"), "{it:?}");
}
