//! `mqtt-lua --config`: a configuration that is applied before the script.
#![cfg(unix)]

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use mqtt::broker::{Broker, BrokerOptions};

/// A file that is removed with this.
struct File(PathBuf);

impl File {
    fn new(content: &str) -> File {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("mqtt-lua-{}-{number}.json", std::process::id()));
        fs::write(&path, content).unwrap();
        File(path)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Runs a script from standard input with a configuration.
fn run(options: &[&str], config: &File, source: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_mqtt-lua"))
        .args(options)
        .arg("--config")
        .arg(&config.0)
        .arg("-")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // one that ends early does not read
    let _ = child.stdin.take().unwrap().write_all(source.as_bytes());
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn the_configuration_is_in_force_when_the_script_begins() {
    let config = File::new(
        r#"{
            "mqtt": { "enable": true, "server": "127.0.0.1" }, // port 1883
            "device": { "id": "d" }
        }"#,
    );
    let script = "
        MQTT.sub('t', function(_, topic, message)
            print(topic, message)
            mgos_mqtt.global_disconnect()
        end)
        print(mgos_mqtt.config().mqtt.server, MQTT.pub('t', 'x', 1))
    ";
    let it = run(&["--broker"], &config, script);
    assert_eq!(text(&it.stdout), "127.0.0.1\t1\nt\tx\n", "{}", text(&it.stderr));
    assert_eq!(it.status.code(), Some(0));
}

#[test]
fn map_leads_configured_servers_too() {
    let broker = Broker::start(BrokerOptions::default()).unwrap();
    let config = File::new(r#"{ "enable": true, "server": "broker.example:17", "client_id": "led" }"#);
    let map = format!("broker.example=127.0.0.1:{}", broker.port());
    let script = "mgos_mqtt.add_cloud_handler(function(event)
        print(event)
        if event == 'connected' then mgos_mqtt.global_disconnect() end
    end)";
    let it = run(&["--map", &map], &config, script);
    assert_eq!(text(&it.stdout), "connecting\nconnected\ndisconnected\n", "{}", text(&it.stderr));
    assert_eq!(broker.accepted(), 1);
}

#[test]
fn a_configuration_that_is_wrong_is_an_error_before_the_script() {
    for (content, message) in [
        (r#"{ "mqtt": { "keep_alive": "x" } }"#, "mqtt.keep_alive: integer 0..65535 expected, got string"),
        ("{", "EOF while parsing an object at line 1 column 1"),
    ] {
        let config = File::new(content);
        let it = run(&[], &config, "print('never')");
        let expected = format!("mqtt-lua: {}: {message}\n", config.0.display());
        assert_eq!((text(&it.stdout), text(&it.stderr)), (String::new(), expected));
        assert_eq!(it.status.code(), Some(1));
    }
}

#[test]
fn packets_are_traced_without_being_published_as_output() {
    let config = File::new(
        r#"{
            "mqtt": { "enable": true, "server": "127.0.0.1" },
            "device": { "id": "d" },
            "debug": { "stdout_topic": "out", "stderr_topic": "err" }
        }"#,
    );
    let script = "
        local seen = {}
        mgos_mqtt.sub('+', function(_, topic, line)
            seen[#seen + 1] = topic .. line:match('|.*')
            if #seen == 1 then mgos_mqtt.global_disconnect() end
        end)
        mgos_mqtt.add_global_handler(function(_, ev)
            if ev == 209 then print('one line') end
            if ev == 5 then io.stdout:write(table.concat(seen, ', '), '\\n') end
        end)
    ";
    let it = run(&["--broker", "--trace"], &config, script);
    assert_eq!(text(&it.stdout), "one line\nout|one line\n", "{}", text(&it.stderr));
    assert!(text(&it.stderr).contains("PUBLISH"), "{}", text(&it.stderr));
}
