//! A whole configuration: the sections `mqtt`, `mqtt1`, `device` and `debug`, from JSON with comments or from a table.

use serde_json::{Map, Value, json};

use super::comments;
use super::section::{Fields, KEYS, Problem, Section, kind};

/// See the [module](self).
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Config {
    pub(super) main: Section,
    pub(super) backup: Section,
    /// Serves as client id where a section has none; empty if it is not given either.
    pub(super) device_id: String,
    pub(super) debug: Debug,
}

/// Where to publish what the script prints; empty for nowhere.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Debug {
    pub(super) stdout_topic: String,
    pub(super) stderr_topic: String,
}

/// The sections, by their names in messages.
const MAIN: &str = "mqtt";
const BACKUP: &str = "mqtt1";
const DEVICE: &str = "device";
const DEBUG: &str = "debug";

impl Config {
    /// From the text of a file. A position in a message counts from 1.
    pub(super) fn from_json(text: &str) -> Result<Config, Problem> {
        let text = comments::strip(text).map_err(|line| {
            Problem::new(format!("line {line}: the comment that begins here does not end"))
        })?;
        let value = serde_json::from_str(&text).map_err(|error| Problem::new(error.to_string()))?;
        Config::parse(value)
    }

    /// From sections, or from the keys of `mqtt` alone. `section.key` serves for a key of a section.
    pub(super) fn parse(value: Value) -> Result<Config, Problem> {
        let Value::Object(given) = value else {
            return Err(Problem::new(format!("table of sections expected, got {}", kind(&value))));
        };
        let mut sections = sort(given)?;
        let mut section = |name| sections.remove(name).unwrap_or_else(|| json!({}));
        let main = Section::parse(MAIN, section(MAIN))?;
        let backup = Section::parse(BACKUP, section(BACKUP))?;
        let mut device = Fields::of(DEVICE, section(DEVICE))?;
        let device_id = device.text("id")?;
        device.finish()?;
        let mut fields = Fields::of(DEBUG, section(DEBUG))?;
        let debug = Debug {
            stdout_topic: fields.topic("stdout_topic")?,
            stderr_topic: fields.topic("stderr_topic")?,
        };
        fields.finish()?;
        if let Some(name) = sections.keys().next() {
            return Err(Problem::new(format!("{name}: there is no such section")));
        }
        Ok(Config { main, backup, device_id, debug })
    }

    /// For people and scripts, without secrets.
    pub(super) fn public(&self) -> Value {
        json!({
            MAIN: self.main.public(),
            BACKUP: self.backup.public(),
            DEVICE: { "id": self.device_id },
            DEBUG: { "stdout_topic": self.debug.stdout_topic, "stderr_topic": self.debug.stderr_topic },
        })
    }
}

/// Puts keys that stand at the top into their sections.
fn sort(given: Map<String, Value>) -> Result<Map<String, Value>, Problem> {
    let mut sections = Map::new();
    let mut keys = Vec::new();
    for (name, value) in given {
        if KEYS.contains(&&*name) {
            keys.push((MAIN.to_owned(), name, value));
        } else if let Some((section, key)) = name.split_once('.') {
            keys.push((section.to_owned(), key.to_owned(), value));
        } else {
            sections.insert(name, value);
        }
    }
    for (section, key, value) in keys {
        let place = sections.entry(section.clone()).or_insert_with(|| json!({}));
        let Value::Object(place) = place else { continue }; // said when the section is taken apart
        if place.contains_key(&key) {
            return Err(Problem::at(&section, &key, "given twice"));
        }
        place.insert(key, value);
    }
    Ok(sections)
}

/// The entry for fuzzing: a file of any text is a configuration, which can be shown, or the problem can.
#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match Config::from_json(text) {
        Ok(config) => assert!(config.public().is_object()),
        Err(problem) => assert!(!problem.to_string().is_empty()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Config {
        Config::from_json(text).unwrap_or_else(|problem| panic!("{problem}"))
    }

    fn problem(text: &str) -> String {
        match Config::from_json(text) {
            Ok(_) => panic!("{text} passes"),
            Err(problem) => problem.to_string(),
        }
    }

    /// What the manual shows: every key of its first edition, with comments, without a section around it.
    const BLOCK: &str = r#"
        {
          "clean_session": true,        // kept by the server otherwise
          "client_id": "",              // device.id where it is empty
          "enable": false,
          "keep_alive": 60,             // seconds
          "pass": "",
          "reconnect_timeout_min": 2,   // seconds
          "reconnect_timeout_max": 60,
          "server": "iot.eclipse.org",  // 1883, or 8883 with TLS,
                                        // unless `:PORT` follows
          "ssl_ca_cert": "",
          "ssl_cert": "",
          "ssl_cipher_suites": "",
          "ssl_key": "",
          "ssl_psk_identity": "",
          "ssl_psk_key": "",
          "user": "",
          "will_message": "",
          "will_topic": ""              // the last one, without a comma
        }
    "#;

    #[test]
    fn the_keys_of_a_section_may_stand_alone() {
        let config = parse(BLOCK);
        assert_eq!((config.main.server.as_str(), config.main.enable), ("iot.eclipse.org", false));
        assert_eq!(config.backup.server, "");
        let wrapped = parse(&format!("{{ \"mqtt\": {BLOCK} }}"));
        assert!(config == wrapped);
    }

    #[test]
    fn sections_are_told_apart() {
        let config = parse(
            r#"{
                /* the first */ "mqtt": { "enable": true, "server": "a" },
                "mqtt1": { "enable": true, "server": "b:17", "keep_alive": 5 },
                "device": { "id": "d1" },
                "debug": { "stdout_topic": "d1/out" }
            }"#,
        );
        assert_eq!((config.main.server.as_str(), config.backup.server.as_str()), ("a", "b:17"));
        assert_eq!((config.main.keep_alive, config.backup.keep_alive), (60, 5));
        assert_eq!((config.device_id.as_str(), config.debug.stdout_topic.as_str()), ("d1", "d1/out"));
        assert_eq!(config.debug.stderr_topic, "");
    }

    #[test]
    fn keys_may_be_written_with_their_section() {
        let config =
            parse(r#"{ "mqtt.server": "a", "device.id": "d", "mqtt": { "keep_alive": 9 }, "user": "u" }"#);
        assert_eq!((config.main.server.as_str(), config.main.keep_alive), ("a", 9));
        assert_eq!((config.main.user.as_str(), config.device_id.as_str()), ("u", "d"));
        assert_eq!(
            problem(r#"{ "mqtt.server": "a", "mqtt": { "server": "b" } }"#),
            "mqtt.server: given twice"
        );
    }

    #[test]
    fn problems_name_section_and_key() {
        for (text, expected) in [
            (r#"{ "mqtt2": {} }"#, "mqtt2: there is no such section"),
            (r#"{ "mqtt1": { "enabled": true } }"#, "mqtt1.enabled: there is no such key"),
            (r#"{ "enabled": true }"#, "enabled: there is no such section"),
            (r#"{ "mqtt": 5 }"#, "mqtt: section expected, got number"),
            (r#"{ "mqtt": 5, "server": "a" }"#, "mqtt: section expected, got number"),
            (r#"{ "device": { "id": 5 } }"#, "device.id: string expected, got number"),
            (r#"{ "device": { "name": "x" } }"#, "device.name: there is no such key"),
            (r#"{ "debug": { "stdout_topic": "a/+" } }"#, "debug.stdout_topic: topic name expected"),
            (r#"{ "debug": [] }"#, "debug: section expected, got list"),
            ("[]", "table of sections expected, got list"),
            ("{ // }", "EOF while parsing an object at line 1 column 6"),
            ("{\n  \"mqtt\": {\n /* ", "line 3: the comment that begins here does not end"),
            ("{\n  \"mqtt\" {} }", "expected `:` at line 2 column 10"),
        ] {
            let problem = problem(text);
            assert!(problem.starts_with(expected), "{text}: {problem}");
        }
    }

    #[test]
    fn what_is_shown_can_be_given_again_and_has_no_secrets() {
        let text = r#"{
            "mqtt": { "server": "a", "user": "u", "pass": "hunter2" },
            "mqtt1": { "server": "b", "ssl_psk_identity": "i", "ssl_psk_key": "cafe" },
            "device": { "id": "d" }
        }"#;
        let shown = parse(text).public();
        assert!(!shown.to_string().contains("hunter2") && !shown.to_string().contains("cafe"));
        let mut again = shown.clone();
        again["mqtt1"]["ssl_psk_key"] = json!("cafe");
        assert_eq!(Config::parse(again).ok().map(|config| config.public()), Some(shown));
    }
}
