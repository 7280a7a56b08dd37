//! Every example runs to its end against the embedded broker and prints what it is meant to; so do the scripts in the
//! README.

#[path = "support/device.rs"]
mod device;
#[path = "support/front_process.rs"]
mod front_process;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use device::finish;
use front_process::Front;

/// A script of `lua_examples` and its output.
const EXAMPLES: [(&str, &str); 11] = [
    (
        "mqtt/hello.lua",
        "connected\n\
         subscribed\n\
         hello/qos0: Hello at QoS 0\n\
         hello/qos1: Hello at QoS 1\n\
         hello/qos2: Hello at QoS 2\n\
         offline\n",
    ),
    (
        "mqtt/subscribe_many.lua",
        "subscribed to everything\n\
         house/kitchen/light: on\n\
         house/garden/gate: open\n\
         house/alarm/door: ajar\n\
         unsubscribed from everything\n",
    ),
    (
        "mqtt/lwt.lua",
        "polite: here\n\
         unlucky: here\n\
         unlucky: lost\n",
    ),
    (
        "mqtt/reconnect.lua",
        "attempt 1 failed, reason -5\n\
         attempt 2 failed, reason -5\n\
         attempt 3 connected\n",
    ),
    (
        "mqtt/persistent.lua",
        "subscribed, going away\n\
         back, session kept: true\n\
         missed news/today: first\n\
         missed news/today: second\n",
    ),
    (
        "mqtt/sensor.lua",
        "reading 1: 21.1\n\
         reading 2: 21.4\n\
         reading 3: 21.2\n\
         reading 4: 21.2\n\
         reading 5: 21.4\n\
         all 5 readings acknowledged\n",
    ),
    (
        "mqtt/request_reply.lua",
        "one -> ONE\n\
         two -> TWO\n\
         three -> THREE\n",
    ),
    (
        "mgos/button.lua",
        "pressed, published: yes\n\
         connected\n\
         button/pressed\t{\"button\": 0, \"count\": 1}\n\
         pressed, published: yes\n\
         button/pressed\t{\"button\": 0, \"count\": 2}\n\
         pressed, published: yes\n\
         button/pressed\t{\"button\": 0, \"count\": 3}\n\
         closed\n",
    ),
    (
        "mgos/backup.lua",
        "connected to the main server\n\
         the main server stops\n\
         lost the connection\n\
         connected to the backup server\n\
         received: message 1 while away\n\
         lost the connection\n\
         connected to the main server\n\
         received: message 2 while away\n\
         lost the connection\n",
    ),
    (
        "mgos/telemetry.lua",
        "bad argument #4 to 'pubf' (the result is not JSON: expected value at line 1 column 7)\n\
         sent\n\
         {\"n\": 1, \"temperature\": 21.5, \"humidity\": 61, \"door\": false, \"note\": \"calm\", \
         \"history\": [21.48]}\n\
         sent\n\
         {\"n\": 2, \"temperature\": 22.1, \"humidity\": 58, \"door\": true, \"note\": \"wind, \\\"gusts\\\"\", \
         \"history\": [21.48,22.07]}\n",
    ),
    (
        "mgos/token.lua",
        "connecting with token-1\n\
         accepted\n\
         connecting with token-2\n\
         accepted\n\
         connecting with token-3\n\
         accepted\n",
    ),
];

/// Files that examples load, a configuration of the script of its name among them; and one that needs pre-shared keys,
/// which tests/run tries with a build that has them.
const OTHERS: [&str; 3] = ["mqtt/mqtt_helpers.lua", "mgos/button.json", "mqtt/psk.lua"];

/// Scripts that need a broker with TLS or WebSocket, their arguments (`$name` is the port of that way in, `@name` a file)
/// and their output.
const TRANSPORTS: [(&str, &str, &str); 5] = [
    (
        "mqtt/tls.lua",
        "localhost $mqtts @ca.pem",
        "connected, the broker is who it should be\nreceived: nobody else can read this\n",
    ),
    ("mqtt/tls.lua", "localhost $mutual @ca.pem", "no connection, reason -6: client certificate required\n"),
    (
        "mqtt/mutual_tls.lua",
        "127.0.0.1 $mutual @ca.pem @client.pem @client.key",
        "connected with a certificate\nstate stored\n",
    ),
    ("mqtt/websocket.lua", "ws://localhost:$ws/mqtt", "connected\nreceived: through the web\n"),
    ("mqtt/websocket.lua", "wss://localhost:$wss @ca.pem", "connected\nreceived: through the web\n"),
];

fn runner() -> Command {
    let mut command = device::runner();
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
    command
}

#[test]
fn every_example_prints_what_it_is_meant_to() {
    for (script, expected) in EXAMPLES {
        let config = script.replace(".lua", ".json");
        let mut command = embedded();
        if OTHERS.contains(&&*config) {
            command.args(["--config", &format!("lua_examples/{config}")]);
        }
        command.arg(format!("lua_examples/{script}"));
        let it = finish(command, "");
        assert_eq!((it.out.as_str(), it.status), (expected, Some(0)), "{script}: {it:?}");
    }
}

#[test]
fn every_example_of_a_transport_prints_what_it_is_meant_to() {
    let front = Front::start("examples");
    for (script, arguments, expected) in TRANSPORTS {
        let fill = |argument: &str| {
            if let Some((address, name)) = argument.split_once('$') {
                let (name, path) =
                    name.split_once('/').map_or((name, String::new()), |(n, p)| (n, format!("/{p}")));
                return format!("{address}{}{path}", front.port(name));
            }
            argument.strip_prefix('@').map_or(argument.to_owned(), |name| front.file(name))
        };
        let mut command = embedded();
        command.arg(format!("lua_examples/{script}")).args(arguments.split(' ').map(fill));
        let it = finish(command, "");
        assert_eq!((it.out.as_str(), it.status), (expected, Some(0)), "{script} {arguments}: {it:?}");
    }
}

#[test]
fn every_example_is_in_the_list() {
    let with_transport = TRANSPORTS.iter().map(|(script, ..)| *script);
    let listed: BTreeSet<_> = EXAMPLES
        .iter()
        .map(|(script, _)| *script)
        .chain(with_transport)
        .chain(OTHERS)
        .map(str::to_owned)
        .collect();
    let root = format!("{}/lua_examples", env!("CARGO_MANIFEST_DIR"));
    let mut found = BTreeSet::new();
    for folder in fs::read_dir(&root).unwrap() {
        let folder = folder.unwrap().path();
        // see tests/devices.rs; the others are run by specs, under the libraries that they are about
        if ["devices", "loops", "testing"].iter().any(|other| folder.ends_with(other)) {
            continue;
        }
        for file in fs::read_dir(&folder).unwrap() {
            let file = file.unwrap().path();
            found.insert(file.strip_prefix(&root).unwrap().to_str().unwrap().to_owned());
        }
    }
    assert_eq!(found, listed);
}

#[test]
fn hello_can_take_less_than_two_tenths_of_a_second() {
    device::can_take_less_than(Duration::from_millis(200), || {
        let mut command = embedded();
        command.arg("lua_examples/mqtt/hello.lua");
        assert_eq!(finish(command, "").status, Some(0));
    });
}

#[test]
fn the_scripts_in_the_readme_run() {
    scripts_run("README.md", &mut embedded);
}

#[test]
fn the_scripts_in_the_guide_run() {
    let mut pages = 0;
    for page in fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src/guide")).unwrap() {
        let page = page.unwrap().file_name().into_string().unwrap();
        // device.md is for another environment: see tests/devices.rs; inside.md has no scripts
        if page.ends_with(".md") && !["device.md", "inside.md", "tls.md"].contains(&page.as_str()) {
            scripts_run(&format!("src/guide/{page}"), &mut embedded);
            pages += 1;
        }
    }
    assert_eq!(pages, 8);
}

/// The page on TLS has its certificates in the current folder, and brokers at the usual ports of its names.
#[test]
fn the_scripts_of_the_tls_cookbook_run_over_tls() {
    let front = Front::start("cookbook");
    let ways = [("localhost:8883", "mutual"), ("127.0.0.2:8883", "mqtts"), ("localhost:443", "wss")];
    scripts_run("src/guide/tls.md", &mut || {
        let mut command = runner();
        command.current_dir(Path::new(&front.file("ca.pem")).parent().expect("in a folder"));
        for (from, way) in ways {
            command.args(["--map", &format!("{from}=127.0.0.1:{}", front.port(way))]);
        }
        command
    });
}

/// The runner with a broker of its own.
fn embedded() -> Command {
    let mut command = runner();
    command.arg("--broker");
    command
}

/// Each script of a page, by this runner, ends by itself and prints something; none may print that it got nowhere.
fn scripts_run(page: &str, runner: &mut dyn FnMut() -> Command) {
    let page = fs::read_to_string(format!("{}/{page}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let scripts: Vec<&str> =
        page.split("```lua\n").skip(1).map(|rest| rest.split("```").next().expect("split")).collect();
    assert!(!scripts.is_empty());
    for script in scripts {
        let mut command = runner();
        command.arg("-").env("LUA_PATH", concat!(env!("CARGO_MANIFEST_DIR"), "/lua/?.lua;;"));
        let it = finish(command, script);
        assert_eq!(it.status, Some(0), "{script}\n{}", it.err);
        let nowhere = it.out.is_empty() || it.out.contains("no connection");
        assert!(!nowhere, "{script}\n{}\n{}", it.out, it.err);
    }
}
