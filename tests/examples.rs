//! Every example runs to its end against the embedded broker and prints what it is meant to; so do the scripts in the
//! README.
//!
//! `MQTT_LUA` names another runner than the one that was built with the tests.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A script of `lua_examples` and its output.
const EXAMPLES: [(&str, &str); 7] = [
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
];

/// Files that examples load.
const PARTS: [&str; 1] = ["mqtt/mqtt_helpers.lua"];

fn runner() -> Command {
    let path = std::env::var("MQTT_LUA").unwrap_or_else(|_| env!("CARGO_BIN_EXE_mqtt-lua").into());
    let mut command = Command::new(path);
    command.current_dir(env!("CARGO_MANIFEST_DIR")).arg("--broker");
    command
}

#[test]
fn every_example_prints_what_it_is_meant_to() {
    for (script, expected) in EXAMPLES {
        let output = runner().arg(format!("lua_examples/{script}")).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{script}: {errors}");
        assert_eq!(output.status.code(), Some(0), "{script}: {errors}");
    }
}

#[test]
fn every_example_is_in_the_list() {
    let listed: BTreeSet<_> =
        EXAMPLES.iter().map(|(script, _)| *script).chain(PARTS).map(str::to_owned).collect();
    let root = format!("{}/lua_examples", env!("CARGO_MANIFEST_DIR"));
    let mut found = BTreeSet::new();
    for folder in fs::read_dir(&root).unwrap() {
        let folder = folder.unwrap().path();
        // see tests/devices.rs
        if folder.ends_with("devices") {
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
fn hello_takes_less_than_two_tenths_of_a_second() {
    let fastest = (0..3)
        .map(|_| {
            let start = Instant::now();
            assert!(runner().arg("lua_examples/mqtt/hello.lua").output().unwrap().status.success());
            start.elapsed()
        })
        .min()
        .expect("three runs");
    assert!(fastest < Duration::from_millis(200), "{fastest:?}");
}

#[test]
fn the_scripts_in_the_readme_run() {
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let scripts: Vec<&str> =
        readme.split("```lua\n").skip(1).map(|rest| rest.split("```").next().expect("split")).collect();
    assert!(!scripts.is_empty());
    for script in scripts {
        let mut child = runner()
            .arg("-")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{script}\n{errors}");
        assert!(!output.stdout.is_empty(), "{script}\n{errors}");
    }
}
