//! `mqtt-lua` from outside: its options, its exit statuses, Ctrl-C.
#![cfg(unix)]

#[path = "support/device.rs"]
mod device;
#[path = "support/front_process.rs"]
mod front_process;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Child, Command};
use std::thread;
use std::time::Instant;

use device::{LIMIT, accept, finish, folder, run, runner, start, wait};
use front_process::Front;
use mqtt::broker::{Broker, BrokerOptions};

/// The runner with these arguments.
fn with(arguments: &[&str]) -> Command {
    let mut command = runner();
    command.args(arguments);
    command
}

fn broker() -> Broker {
    Broker::start(BrokerOptions::default()).unwrap()
}

/// A script that connects to `host`, prints "up" and ends.
fn connects_to(host: &str) -> String {
    format!(
        "local c = mqtt.Client() c:connect({host}, function() print('up') c:close() end, \
         function(_, reason) print(reason) end)"
    )
}

#[test]
fn a_script_has_its_modules_as_globals_and_ends_by_itself() {
    let it = run(
        &[],
        "print(type(mqtt.Client), type(tmr.create), type(node.heap()), type(node.chipid()))
         tmr.create():alarm(5, tmr.ALARM_SINGLE, function() print('timer') end)
         print('last line')",
    );
    assert_eq!(it.out, "function\tfunction\tnumber\tnumber\nlast line\ntimer\n", "{it:?}");
    assert_eq!(it.status, Some(0));
}

#[test]
fn a_script_gets_its_arguments() {
    let it = finish(with(&["-", "one", "--two", "3"]), "print(arg[0], arg[1], arg[2], arg[3], #arg, ...)");
    assert_eq!(it.out, "-\tone\t--two\t3\t3\tone\t--two\t3\n", "{it:?}");
}

#[test]
fn an_error_is_shown_with_a_traceback() {
    let it = run(&[], "local function culprit() error('told you so') end culprit() print('never')");
    assert_eq!((it.status, it.out.as_str()), (Some(1), ""), "{it:?}");
    assert!(it.err.starts_with("mqtt-lua: stdin:1: told you so\nstack traceback:\n"), "{it:?}");
    assert!(it.err.contains("culprit"), "{it:?}");
}

#[test]
fn an_error_in_a_callback_ends_the_script_too() {
    let it = run(
        &[],
        "tmr.create():alarm(1, 0, function() local x = nil; x() end)
         tmr.create():alarm(60000, 0, function() end)",
    );
    assert_eq!(it.status, Some(1), "{it:?}");
    assert!(it.err.contains("attempt to call") && it.err.contains("stack traceback"), "{it:?}");
}

#[test]
fn error_objects_are_shown_as_the_stock_interpreter_shows_them() {
    assert!(run(&[], "error({})").err.contains("(error object is a table value)"));
    let it = run(&[], "error(setmetatable({}, { __tostring = function() return 'readable' end }))");
    assert!(it.err.contains("mqtt-lua: readable"), "{it:?}");
}

#[test]
fn a_script_that_is_not_there_or_no_lua_is_an_error() {
    let it = finish(with(&["no/such/file.lua"]), "");
    assert_eq!(it.status, Some(1));
    assert!(it.err.contains("no/such/file.lua"), "{it:?}");
    let it = run(&[], "if if");
    assert_eq!(it.status, Some(1));
    assert!(it.err.contains("stdin:1:"), "{it:?}");
}

#[test]
fn os_exit_keeps_its_status() {
    assert_eq!(run(&[], "os.exit(7)").status, Some(7));
    assert_eq!(run(&[], "tmr.create():alarm(1, 0, function() os.exit(8, true) end)").status, Some(8));
}

#[test]
fn the_global_is_native_whatever_lies_around_and_may_be_overwritten() {
    let folder = folder("names");
    fs::write(folder.join("mqtt.lua"), "return 'the project\\'s own'").unwrap();
    fs::write(
        folder.join("main.lua"),
        "print(type(mqtt.Client), require('mqtt') == mqtt, dofile('mqtt.lua'))
         tmr.create():alarm(1, 0, function() print('still runs') end)
         mqtt = nil",
    )
    .unwrap();
    let mut command = with(&["main.lua"]);
    command.current_dir(&folder);
    let it = finish(command, "");
    assert_eq!(it.out, "function\ttrue\tthe project's own\nstill runs\n", "{it:?}");
}

#[test]
fn the_client_id_is_the_chips() {
    let broker = broker();
    let it = start(
        with(&["-", &broker.port().to_string()]),
        "print(('NodeMCU_%06X'):format(node.chipid()))
         mqtt.Client():connect('127.0.0.1', arg[1])",
    );
    assert!(broker.wait_until(LIMIT, |broker| !broker.clients().is_empty()));
    let clients = broker.clients();
    interrupt(&it);
    assert_eq!(wait(it).out.trim().to_uppercase(), clients[0].to_uppercase());
}

#[test]
fn broker_0_prints_the_port_it_got() {
    let it = run(&["--broker=0"], "");
    let port = it.err.trim().rsplit(':').next().unwrap().parse::<u16>().unwrap();
    assert_ne!(port, 0);
    assert_eq!(it.status, Some(0));
}

#[test]
fn a_taken_broker_port_is_an_error() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let it = run(&[&format!("--broker={port}")], "print('never')");
    assert_eq!((it.status, it.out.as_str()), (Some(1), ""));
    assert!(it.err.contains(&port.to_string()), "{it:?}");
}

#[test]
fn broker_without_a_port_serves_1883_even_where_that_is_taken() {
    // Taken by us, or by somebody else: all the same.
    let _taken = TcpListener::bind("127.0.0.1:1883");
    for host in ["'127.0.0.1'", "'localhost', 1883", "'mqtt://localhost'"] {
        let it = run(&["--broker"], &connects_to(host));
        assert_eq!(it.out, "up\n", "{it:?}");
        assert!(it.err.contains("1883 is taken"), "{it:?}");
    }
}

#[test]
fn map_leads_a_script_to_another_broker() {
    let broker = broker();
    let port = broker.port();
    for (map, host) in [
        (format!("*=127.0.0.1:{port}"), "'iot.eclipse.org', 1883, 0"),
        (format!("10.1.2.3=127.0.0.1:{port}"), "'10.1.2.3', 1884"),
        (format!("10.1.2.3:1884=mqtt://127.0.0.1:{port}"), "'10.1.2.3', 1884"),
        (format!("iot.example=mqtt://127.0.0.1:{port}"), "'iot.example', 8883, 1"),
        (format!("iot.example=mqtt://127.0.0.1:{port}"), "'mqtts://iot.example'"),
    ] {
        let it = run(&["--map", &map], &connects_to(host));
        assert_eq!(it.out, "up\n", "{map} {it:?}");
    }
}

#[test]
fn map_keeps_takes_off_or_puts_on_tls_and_says_so_once() {
    let front = Front::start("runner");
    let (plain, tls) = (front.port("mqtt"), front.port("mqtts"));
    let secure = format!("{{ ca_cert = '{}' }}", front.file("ca.pem"));
    let takes_off = format!("*=mqtt://127.0.0.1:{plain}");
    let puts_on = format!("*=mqtts://127.0.0.1:{tls}");
    for (map, arguments, out, said) in [
        // the certificate is localhost's
        (format!("localhost=127.0.0.1:{tls}"), format!("'localhost', 8883, {secure}"), "up", ""),
        (format!("foo.example=127.0.0.1:{tls}"), format!("'foo.example', 8883, {secure}"), "-6", ""),
        (takes_off.clone(), format!("'foo.example', 8883, {secure}"), "up", "takes TLS off"),
        (takes_off.clone(), "'foo.example', 8883, { ca_cert = '/not/here' }".into(), "up", "takes TLS off"),
        (takes_off.clone(), "'wss://foo.example/mqtt'".into(), "up", "takes TLS off"),
        (takes_off, "'foo.example'".into(), "up", ""),
        (puts_on.clone(), "'foo.example'".into(), "up", "puts TLS on"),
        (puts_on, format!("'foo.example', 8883, {secure}"), "up", ""),
    ] {
        // twice, and so that the second one is made by the first
        let source = format!(
            "local function go(next)
               local c = mqtt.Client()
               c:connect({arguments}, nil, function() print('up') c:close() next() end,
                 function(_, reason) print(reason) next() end)
             end
             go(function() go(function() end) end)"
        );
        let mut command = with(&["--map", &map, "-"]);
        command.env("SSL_CERT_FILE", front.file("ca.pem"));
        let it = finish(command, &source);
        assert_eq!(it.out, format!("{out}\n{out}\n"), "{map} {it:?}");
        let lines = it.err.lines().filter(|line| line.contains("--map")).count();
        assert_eq!(lines, usize::from(!said.is_empty()), "{map} {it:?}");
        assert!(it.err.contains(said), "{map} {it:?}");
    }
}

#[test]
fn the_first_map_that_fits_counts() {
    let broker = broker();
    let first = format!("a.example=127.0.0.1:{}", broker.port());
    let it = run(&["--map", &first, "--map", "*=127.0.0.1:1"], &connects_to("'a.example'"));
    assert_eq!(it.out, "up\n", "{it:?}");
    let it = run(&["--map", "*=127.0.0.1:1", "--map", &first], &connects_to("'a.example'"));
    assert_eq!(it.out, "-5\n", "{it:?}");
}

#[test]
fn a_map_that_makes_no_sense_is_refused_with_the_reason() {
    let it = run(&["--map", "a=ws://b"], "print('never')");
    assert_eq!((it.status, it.out.as_str()), (Some(2), ""));
    assert!(it.err.contains("mqtts://host:port expected"), "{it:?}");
    assert_eq!(run(&["--map", "nonsense"], "").status, Some(2));
}

#[test]
fn trace_prints_packets_without_payloads() {
    let broker = broker();
    let it = finish(
        with(&["--trace", "-", &broker.port().to_string()]),
        "local c = mqtt.Client('traced', 60, 'user', 'top-secret')
         c:connect('127.0.0.1', arg[1], function()
           c:publish('my/topic', 'a secret payload', 1, 0, function() c:close() end)
         end)",
    );
    for word in ["CONNECT", "CONNACK", "PUBLISH", "PUBACK", "my/topic"] {
        assert!(it.err.contains(word), "{word}: {it:?}");
    }
    assert!(!it.err.contains("secret"), "{it:?}");
    assert_eq!(it.out, "");
}

fn interrupt(child: &Child) {
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
}

/// Interrupts a script that is connected to us and does `first` and `then` in its callback; what we got after its CONNECT.
fn interrupted(first: &str, then: &str) -> Vec<u8> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let source = format!(
        "local c = mqtt.Client('interrupted')
         c:connect('127.0.0.1', {port}, function() {first} io.write('up\\n') io.flush() {then} end)"
    );
    let mut child = start(with(&["-"]), &source);
    let mut stream = accept(&listener);
    let mut connect = [0; 25];
    stream.read_exact(&mut connect).unwrap();
    stream.write_all(&[0x20, 2, 0, 0]).unwrap();
    let mut up = [0; 3];
    child.stdout.as_mut().unwrap().read_exact(&mut up).unwrap();
    interrupt(&child);
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    let it = wait(child);
    assert_eq!((it.status, it.out.as_str()), (Some(130), ""), "{it:?}");
    rest
}

#[test]
fn ctrl_c_says_goodbye_and_ends_with_130() {
    assert_eq!(interrupted("", ""), [0xE0, 0]);
}

#[test]
fn ctrl_c_ends_a_script_that_computes() {
    assert_eq!(interrupted("c:publish('t', '')", "while true do end"), [0x30, 3, 0, 1, b't', 0xE0, 0]);
}

const COUNTS: &str = "local n = 0 while true do n = n + 1 io.write(n .. '\\n') end";

#[test]
fn ctrl_c_writes_nothing_twice() {
    for _ in 0..10 {
        let mut child = start(with(&["-"]), COUNTS);
        let mut first = vec![0; 100_000];
        child.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
        interrupt(&child);
        let it = wait(child);
        assert_eq!(it.status, Some(130));
        let all = String::from_utf8(first).unwrap() + &it.out;
        let mut counted = all.split_inclusive('\n').zip(1..);
        let wrong = counted.find(|(line, n)| *line != format!("{n}\n"));
        assert_eq!(wrong, None);
    }
}

#[test]
fn ctrl_c_ends_a_script_whose_output_nobody_reads() {
    let mut child = start(with(&["-"]), COUNTS);
    let output = child.stdout.take().unwrap();
    // the pipe is full when its writer, which never waits for anything else, sleeps
    let sleeps = || fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap().contains(") S ");
    let deadline = Instant::now() + LIMIT;
    while rustix::io::ioctl_fionread(&output).unwrap() == 0 || !sleeps() {
        assert!(Instant::now() < deadline, "it still writes");
        thread::yield_now();
    }
    interrupt(&child);
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

#[test]
fn warnings_of_the_module_are_shown() {
    let it = run(&[], "mqtt.Client():connect('127.0.0.1', 1)");
    assert_eq!((it.status, it.out.as_str()), (Some(0), ""), "{it:?}");
    assert!(it.err.starts_with("mqtt-lua: ") && it.err.contains("127.0.0.1:1"), "{it:?}");
    let it = run(&[], "mqtt.log(nil) mqtt.Client():connect('127.0.0.1', 1)");
    assert_eq!(it.err, "");
}

#[test]
fn help_and_version_are_there() {
    let it = run(&["--help"], "");
    assert_eq!(it.status, Some(0));
    for option in ["--broker", "--map", "--trace"] {
        assert!(it.out.contains(option), "{it:?}");
    }
    assert_eq!(run(&["--version"], "").out, concat!("mqtt-lua ", env!("CARGO_PKG_VERSION"), "\n"));
}
