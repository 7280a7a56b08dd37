//! `mqtt-lua --config`: a configuration that is applied before the script.
#![cfg(unix)]

#[path = "support/device.rs"]
mod device;

use std::fs;

use device::{Outcome, folder};
use mqtt::broker::{Broker, BrokerOptions};

/// A file with a configuration.
fn configuration(content: &str) -> String {
    let path = folder("configuration").join("config.json");
    fs::write(&path, content).unwrap();
    path.to_str().expect("our own name").to_owned()
}

/// Runs a script from standard input with a configuration.
fn run(options: &[&str], config: &str, source: &str) -> Outcome {
    device::run(&[options, &["--config", config]].concat(), source)
}

#[test]
fn the_configuration_is_in_force_when_the_script_begins() {
    let config = configuration(
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
    assert_eq!(it.out, "127.0.0.1\t1\nt\tx\n", "{}", it.err);
    assert_eq!(it.status, Some(0));
}

#[test]
fn map_leads_configured_servers_too() {
    let broker = Broker::start(BrokerOptions::default()).unwrap();
    let config = configuration(r#"{ "enable": true, "server": "broker.example:17", "client_id": "led" }"#);
    let map = format!("broker.example=127.0.0.1:{}", broker.port());
    let script = "mgos_mqtt.add_cloud_handler(function(event)
        print(event)
        if event == 'connected' then mgos_mqtt.global_disconnect() end
    end)";
    let it = run(&["--map", &map], &config, script);
    assert_eq!(it.out, "connecting\nconnected\ndisconnected\n", "{}", it.err);
    assert_eq!(broker.accepted(), 1);
}

#[test]
fn a_configuration_that_is_wrong_is_an_error_before_the_script() {
    for (content, message) in [
        (r#"{ "mqtt": { "keep_alive": "x" } }"#, "mqtt.keep_alive: integer 0..65535 expected, got string"),
        ("{", "EOF while parsing an object at line 1 column 1"),
    ] {
        let config = configuration(content);
        let it = run(&[], &config, "print('never')");
        let expected = format!("mqtt-lua: {config}: {message}\n");
        assert_eq!((it.out, it.err), (String::new(), expected));
        assert_eq!(it.status, Some(1));
    }
}

#[test]
fn packets_are_traced_without_being_published_as_output() {
    let config = configuration(
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
    assert_eq!(it.out, "one line\nout|one line\n", "{}", it.err);
    assert!(it.err.contains("PUBLISH"), "{}", it.err);
}
