//! One section of a configuration, `mqtt` or `mqtt1`: its keys, their defaults, and what is checked of them.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::client::Server;
use crate::codec::{MAX_PACKET, Qos, topic};
use crate::net::uri::{Uri, split_address};

/// What is wrong with a configuration: names section and key, never shows a secret.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Problem(String);

impl Problem {
    pub(super) fn new(text: impl Into<String>) -> Problem {
        Problem(text.into())
    }

    pub(super) fn at(section: &str, key: &str, text: impl fmt::Display) -> Problem {
        Problem(format!("{section}.{key}: {text}"))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The keys of a section.
pub(super) const KEYS: [&str; 26] = [
    "clean_session",
    "client_id",
    "cloud_events",
    "debug_use_log_level",
    "enable",
    "keep_alive",
    "max_qos",
    "max_queue_length",
    "pass",
    "reconnect_timeout_max",
    "reconnect_timeout_min",
    "recv_mbuf_limit",
    "require_time",
    "server",
    "ssl_ca_cert",
    "ssl_cert",
    "ssl_cipher_suites",
    "ssl_key",
    "ssl_psk_identity",
    "ssl_psk_key",
    "user",
    "will_message",
    "will_retain",
    "will_topic",
    "ws_enable",
    "ws_path",
];

/// See the [module](self). Texts are as given, empty for none.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Section {
    pub(super) enable: bool,
    /// `host[:port]`
    pub(super) server: String,
    pub(super) client_id: String,
    pub(super) user: String,
    pub(super) pass: String,
    /// Seconds.
    pub(super) keep_alive: u16,
    pub(super) clean_session: bool,
    pub(super) will_topic: String,
    pub(super) will_message: String,
    pub(super) will_retain: bool,
    pub(super) reconnect_min: Duration,
    pub(super) reconnect_max: Duration,
    pub(super) ssl: Ssl,
    pub(super) max_qos: Qos,
    /// Whether the configuration says so, or it is the default.
    pub(super) max_qos_given: bool,
    pub(super) max_queue_length: u32,
    pub(super) recv_mbuf_limit: u32,
    pub(super) require_time: bool,
    /// The path, where WebSocket is on.
    pub(super) ws_enable: bool,
    pub(super) ws_path: String,
    pub(super) cloud_events: bool,
    pub(super) debug_use_log_level: bool,
}

/// The keys that begin with `ssl_`, without that.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Ssl {
    /// Names of PEM files.
    pub(super) ca_cert: String,
    pub(super) cert: String,
    pub(super) key: String,
    /// Colon-separated.
    pub(super) cipher_suites: String,
    pub(super) psk_identity: String,
    /// Hexadecimal digits.
    pub(super) psk_key: String,
}

impl Section {
    /// Takes a section apart. `name` is for messages.
    pub(super) fn parse(name: &str, value: Value) -> Result<Section, Problem> {
        let mut fields = Fields::of(name, value)?;
        let (reconnect_min, reconnect_max) = fields.waits()?;
        let max_qos = fields.integer("max_qos", 0..=2)?;
        let section = Section {
            enable: fields.flag("enable", false)?,
            server: fields.text("server")?,
            client_id: fields.text("client_id")?,
            user: fields.text("user")?,
            pass: fields.text("pass")?,
            keep_alive: fields.integer("keep_alive", 0..=65535)?.unwrap_or(60) as u16,
            clean_session: fields.flag("clean_session", true)?,
            will_topic: fields.topic("will_topic")?,
            will_message: fields.text("will_message")?,
            will_retain: fields.flag("will_retain", false)?,
            reconnect_min,
            reconnect_max,
            ssl: Ssl {
                ca_cert: fields.text("ssl_ca_cert")?,
                cert: fields.text("ssl_cert")?,
                key: fields.text("ssl_key")?,
                cipher_suites: fields.text("ssl_cipher_suites")?,
                psk_identity: fields.text("ssl_psk_identity")?,
                psk_key: fields.text("ssl_psk_key")?,
            },
            max_qos: max_qos.map_or(Qos::ExactlyOnce, |level| Qos::new(level as u8).expect("0 to 2")),
            max_qos_given: max_qos.is_some(),
            max_queue_length: fields.integer("max_queue_length", 0..=65_000)?.unwrap_or(5) as u32,
            recv_mbuf_limit: fields
                .integer("recv_mbuf_limit", 1..=MAX_PACKET as u64)?
                .map_or(MAX_PACKET as u32, |limit| limit as u32),
            require_time: fields.flag("require_time", false)?,
            ws_enable: fields.flag("ws_enable", false)?,
            ws_path: fields.text_or("ws_path", "/mqtt")?,
            cloud_events: fields.flag("cloud_events", true)?,
            debug_use_log_level: fields.flag("debug_use_log_level", false)?,
        };
        fields.finish()?;
        section.check(name)?;
        Ok(section)
    }

    /// What a section is when nothing is said.
    pub(super) fn absent() -> Section {
        Section::parse("mqtt", json!({})).expect("every key has a default")
    }

    /// Where to connect; none without a server.
    pub(super) fn address(&self) -> Option<Server> {
        let (host, port) = split_address(&self.server).ok()?;
        let default = if self.ssl.is_on() { 8883 } else { 1883 };
        Some(Server { host: host.to_owned(), port: port.unwrap_or(default) })
    }

    /// Whether there is anything to connect to.
    pub(super) fn is_usable(&self) -> bool {
        self.enable && !self.server.is_empty()
    }

    /// The section for people and scripts, without secrets.
    pub(super) fn public(&self) -> Value {
        json!({
            "enable": self.enable,
            "server": self.server,
            "client_id": self.client_id,
            "user": self.user,
            "keep_alive": self.keep_alive,
            "clean_session": self.clean_session,
            "will_topic": self.will_topic,
            "will_message": self.will_message,
            "will_retain": self.will_retain,
            "reconnect_timeout_min": number(self.reconnect_min),
            "reconnect_timeout_max": number(self.reconnect_max),
            "ssl_ca_cert": self.ssl.ca_cert,
            "ssl_cert": self.ssl.cert,
            "ssl_key": self.ssl.key,
            "ssl_cipher_suites": self.ssl.cipher_suites,
            "ssl_psk_identity": self.ssl.psk_identity,
            "max_qos": self.max_qos as u8,
            "max_queue_length": self.max_queue_length,
            "recv_mbuf_limit": self.recv_mbuf_limit,
            "require_time": self.require_time,
            "ws_enable": self.ws_enable,
            "ws_path": self.ws_path,
            "cloud_events": self.cloud_events,
            "debug_use_log_level": self.debug_use_log_level,
        })
    }

    fn check(&self, name: &str) -> Result<(), Problem> {
        let wrong = |key, text: String| Err(Problem::at(name, key, text));
        if Uri::is_uri(&self.server) {
            return wrong("server", "host or host:port expected, got a URI".into());
        }
        if self.server.is_empty() && self.enable {
            return wrong("server", "host or host:port expected where enable is true, got none".into());
        }
        if !self.server.is_empty()
            && let Err(error) = split_address(&self.server)
        {
            return wrong("server", format!("host or host:port expected, got {:?}: {error}", self.server));
        }
        if self.user.is_empty() && !self.pass.is_empty() {
            return wrong("pass", "nothing expected without a user, got a password [MQTT-3.1.2-22]".into());
        }
        if self.will_topic.is_empty() && !self.will_message.is_empty() {
            return wrong("will_message", "nothing expected without a will_topic, got a message".into());
        }
        if !self.ws_path.starts_with('/') || !self.ws_path.bytes().all(|byte| byte.is_ascii_graphic()) {
            return wrong("ws_path", format!("path that starts with / expected, got {:?}", self.ws_path));
        }
        self.ssl.check(name)
    }
}

/// How to encrypt, in order of what decides.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Security<'a> {
    None,
    Certificates {
        ca_cert: &'a str,
        /// Certificate and key.
        client: Option<(&'a str, &'a str)>,
        cipher_suites: Vec<String>,
    },
    SharedKey {
        identity: &'a str,
        /// Hexadecimal digits.
        key: &'a str,
    },
}

impl Ssl {
    pub(super) fn is_on(&self) -> bool {
        self.security() != Security::None
    }

    pub(super) fn security(&self) -> Security<'_> {
        let cipher_suites = || self.cipher_suites.split(':').filter(|it| !it.is_empty()).map(iana).collect();
        if !self.psk_identity.is_empty() {
            Security::SharedKey { identity: &self.psk_identity, key: &self.psk_key }
        } else if !self.ca_cert.is_empty() {
            let client = (!self.cert.is_empty()).then_some((&*self.cert, &*self.key));
            Security::Certificates { ca_cert: &self.ca_cert, client, cipher_suites: cipher_suites() }
        } else {
            Security::None
        }
    }

    fn check(&self, name: &str) -> Result<(), Problem> {
        let wrong = |key, text: &str| Err(Problem::at(name, key, text));
        let pairs = [
            ("ssl_cert", &self.cert, "ssl_key", &self.key),
            ("ssl_psk_identity", &self.psk_identity, "ssl_psk_key", &self.psk_key),
        ];
        for (one, first, other, second) in pairs {
            if first.is_empty() != second.is_empty() {
                let (given, missing) = if first.is_empty() { (other, one) } else { (one, other) };
                return Err(Problem::at(name, missing, format_args!("expected beside {given}, got none")));
            }
        }
        if !self.cert.is_empty() && self.ca_cert.is_empty() {
            return wrong(
                "ssl_ca_cert",
                "expected beside ssl_cert, got none: the server would not be verified",
            );
        }
        if !self.psk_identity.is_empty() && !self.ca_cert.is_empty() {
            return wrong(
                "ssl_psk_identity",
                "nothing expected beside ssl_ca_cert: one of the two proves the server",
            );
        }
        let hex = self.psk_key.as_bytes();
        if !hex.len().is_multiple_of(2) || !hex.iter().all(u8::is_ascii_hexdigit) {
            return wrong("ssl_psk_key", "pairs of hexadecimal digits expected, got something else");
        }
        Ok(())
    }
}

/// The IANA name of a cipher suite: mbedTLS writes `TLS-ECDHE-RSA-WITH-AES-128-GCM-SHA256` and
/// `TLS1-3-AES-128-GCM-SHA256`.
fn iana(name: &str) -> String {
    let name = name.trim();
    let name = match name.strip_prefix("TLS1-3-") {
        Some(rest) => format!("TLS-{rest}"),
        None => name.to_owned(),
    };
    name.replace('-', "_")
}

/// The keys of a section that nobody has asked for yet.
pub(super) struct Fields<'a> {
    section: &'a str,
    map: Map<String, Value>,
}

/// The bounds of a wait.
const WAITS: RangeInclusive<f64> = 0.01..=86_400.0;

impl<'a> Fields<'a> {
    /// `section` is for messages.
    pub(super) fn of(section: &'a str, value: Value) -> Result<Fields<'a>, Problem> {
        match value {
            Value::Object(map) => Ok(Fields { section, map }),
            other => Err(Problem::new(format!("{section}: section expected, got {}", kind(&other)))),
        }
    }

    fn fail<T>(&self, key: &str, expected: impl fmt::Display, got: &Value) -> Result<T, Problem> {
        let got = match got {
            Value::Number(number) => number.to_string(),
            other => kind(other).to_owned(), // a string may be a secret
        };
        Err(Problem::at(self.section, key, format_args!("{expected} expected, got {got}")))
    }

    fn flag(&mut self, key: &str, default: bool) -> Result<bool, Problem> {
        match self.map.remove(key) {
            None => Ok(default),
            Some(Value::Bool(flag)) => Ok(flag),
            Some(other) => self.fail(key, "boolean", &other),
        }
    }

    /// A topic name, or nothing.
    pub(super) fn topic(&mut self, key: &str) -> Result<String, Problem> {
        let name = self.text(key)?;
        if !name.is_empty()
            && let Err(error) = topic::check_name(&name)
        {
            let text = format!("topic name expected, got {name:?}, which {error}");
            return Err(Problem::at(self.section, key, text));
        }
        Ok(name)
    }

    pub(super) fn text(&mut self, key: &str) -> Result<String, Problem> {
        self.text_or(key, "")
    }

    /// A string that MQTT can carry.
    fn text_or(&mut self, key: &str, default: &str) -> Result<String, Problem> {
        match self.map.remove(key) {
            None => Ok(default.to_owned()),
            Some(Value::String(text)) if text.contains('\0') => {
                let text = "string without NUL expected, got one with it [MQTT-1.5.3-2]";
                Err(Problem::at(self.section, key, text))
            }
            Some(Value::String(text)) if text.len() > topic::MAX_TOPIC => {
                let text = format!("string of at most 65535 bytes expected, got {}", text.len());
                Err(Problem::at(self.section, key, text))
            }
            Some(Value::String(text)) => Ok(text),
            // a number may be a secret here
            Some(other) => {
                Err(Problem::at(self.section, key, format_args!("string expected, got {}", kind(&other))))
            }
        }
    }

    fn integer(&mut self, key: &str, range: RangeInclusive<u64>) -> Result<Option<u64>, Problem> {
        let Some(value) = self.map.remove(key) else { return Ok(None) };
        // A float that is whole serves: some Luas have no other numbers.
        let whole = |number: f64| (number.fract() == 0.0 && number >= 0.0).then_some(number as u64);
        let integer = value.as_u64().or_else(|| value.as_f64().and_then(whole));
        match integer.filter(|integer| range.contains(integer)) {
            Some(integer) => Ok(Some(integer)),
            None => self.fail(key, format_args!("integer {}..{}", range.start(), range.end()), &value),
        }
    }

    fn seconds(&mut self, key: &str) -> Result<Option<Duration>, Problem> {
        let Some(value) = self.map.remove(key) else { return Ok(None) };
        match value.as_f64().filter(|seconds| WAITS.contains(seconds)) {
            Some(seconds) => Ok(Some(Duration::from_secs_f64(seconds))),
            None => self.fail(key, format_args!("number {}..{}", WAITS.start(), WAITS.end()), &value),
        }
    }

    /// The shortest and the longest wait. Where only one is given, the other's default gives way.
    fn waits(&mut self) -> Result<(Duration, Duration), Problem> {
        const MIN: Duration = Duration::from_secs(2);
        const MAX: Duration = Duration::from_secs(60);
        let given = (self.seconds("reconnect_timeout_min")?, self.seconds("reconnect_timeout_max")?);
        match given {
            (Some(min), Some(max)) if max < min => {
                let (min, max) = (min.as_secs_f64(), max.as_secs_f64());
                let text = format!("number not below reconnect_timeout_min expected, got {max} below {min}");
                Err(Problem::at(self.section, "reconnect_timeout_max", text))
            }
            (Some(min), Some(max)) => Ok((min, max)),
            (Some(min), None) => Ok((min, MAX.max(min))),
            (None, Some(max)) => Ok((MIN.min(max), max)),
            (None, None) => Ok((MIN, MAX)),
        }
    }

    /// That nothing is left.
    pub(super) fn finish(self) -> Result<(), Problem> {
        match self.map.keys().next() {
            None => Ok(()),
            Some(key) => Err(Problem::at(self.section, key, "there is no such key")),
        }
    }
}

/// Seconds: whole ones as an integer.
fn number(duration: Duration) -> Value {
    match duration.subsec_nanos() {
        0 => duration.as_secs().into(),
        _ => duration.as_secs_f64().into(),
    }
}

/// What a value is.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "list",
        Value::Object(_) => "table",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(value: Value) -> Section {
        Section::parse("mqtt1", value).unwrap_or_else(|problem| panic!("{problem}"))
    }

    fn problem(value: Value) -> String {
        match Section::parse("mqtt1", value.clone()) {
            Ok(_) => panic!("{value} passes"),
            Err(problem) => problem.to_string(),
        }
    }

    #[test]
    fn every_key_is_known_and_shown_unless_it_is_a_secret() {
        let public = Section::absent().public();
        for key in KEYS {
            assert!(problem(json!({ key: [] })).starts_with(&format!("mqtt1.{key}: ")), "{key}");
            let secret = ["pass", "ssl_psk_key"].contains(&key);
            assert_eq!(public.get(key).is_some(), !secret, "{key}");
        }
        assert_eq!(public.as_object().unwrap().len(), KEYS.len() - 2);
        assert_eq!(problem(json!({"servr": "x"})), "mqtt1.servr: there is no such key");
    }

    #[test]
    fn what_is_shown_can_be_given_again() {
        let section = parse(json!({
            "enable": true, "server": "h:1", "keep_alive": 7, "will_topic": "w", "will_retain": true,
            "reconnect_timeout_min": 0.5, "max_qos": 1, "ssl_ca_cert": "ca.pem", "ws_enable": true,
        }));
        assert!(parse(section.public()) == Section { max_qos_given: true, ..section });
        assert!(parse(Section::absent().public()) == Section { max_qos_given: true, ..Section::absent() });
    }

    #[test]
    fn the_defaults_are_the_manual_s() {
        let section = Section::absent();
        assert!(!section.enable && section.clean_session && !section.will_retain && section.cloud_events);
        assert_eq!(
            (section.keep_alive, section.max_qos, section.max_queue_length),
            (60, Qos::ExactlyOnce, 5)
        );
        assert_eq!((section.reconnect_min.as_secs(), section.reconnect_max.as_secs()), (2, 60));
        assert_eq!((section.ws_path.as_str(), section.recv_mbuf_limit as usize), ("/mqtt", MAX_PACKET));
    }

    #[test]
    fn a_wrong_type_or_range_names_section_key_and_what_was_expected() {
        for (key, value, expected) in [
            ("enable", json!("yes"), "boolean expected, got string"),
            ("enable", json!(1), "boolean expected, got 1"),
            ("server", json!(5), "string expected, got number"),
            ("server", Value::Null, "string expected, got null"),
            ("keep_alive", json!("60"), "integer 0..65535 expected, got string"),
            ("keep_alive", json!(-1), "integer 0..65535 expected, got -1"),
            ("keep_alive", json!(65536), "integer 0..65535 expected, got 65536"),
            ("keep_alive", json!(1.5), "integer 0..65535 expected, got 1.5"),
            ("max_qos", json!(3), "integer 0..2 expected, got 3"),
            ("reconnect_timeout_min", json!(0), "number 0.01..86400 expected, got 0"),
            ("max_queue_length", json!(65001), "integer 0..65000 expected, got 65001"),
            ("recv_mbuf_limit", json!(0), "integer 1..268435460 expected, got 0"),
            (
                "will_topic",
                json!("a/#"),
                "topic name expected, got \"a/#\", which has a wildcard [MQTT-4.7.1-1]",
            ),
        ] {
            let problem = problem(json!({ key: value }));
            let expected = format!("mqtt1.{key}: {expected}");
            assert!(problem.starts_with(expected.split(", which").next().unwrap()), "{problem}");
        }
        assert_eq!(problem(json!(5)), "mqtt1: section expected, got number");
        let limit =
            Section::parse("mqtt", json!({"recv_mbuf_limit": 3072.0})).ok().map(|it| it.recv_mbuf_limit);
        assert_eq!(limit, Some(3072), "a whole float serves");
    }

    #[test]
    fn keys_that_need_each_other_are_checked_together() {
        for (value, expected) in [
            (json!({"enable": true}), "mqtt1.server: host or host:port expected where enable is true"),
            (json!({"server": "mqtt://h"}), "mqtt1.server: host or host:port expected, got a URI"),
            (json!({"server": "h:0"}), "mqtt1.server: host or host:port expected"),
            (json!({"pass": "x"}), "mqtt1.pass: nothing expected without a user"),
            (json!({"will_message": "x"}), "mqtt1.will_message: nothing expected without a will_topic"),
            (
                json!({"reconnect_timeout_min": 3, "reconnect_timeout_max": 2}),
                "mqtt1.reconnect_timeout_max: ",
            ),
            (json!({"ssl_ca_cert": "ca", "ssl_cert": "c"}), "mqtt1.ssl_key: expected beside ssl_cert"),
            (json!({"ssl_ca_cert": "ca", "ssl_key": "k"}), "mqtt1.ssl_cert: expected beside ssl_key"),
            (json!({"ssl_cert": "c", "ssl_key": "k"}), "mqtt1.ssl_ca_cert: expected beside ssl_cert"),
            (json!({"ssl_psk_identity": "i"}), "mqtt1.ssl_psk_key: expected beside ssl_psk_identity"),
            (json!({"ssl_psk_identity": "i", "ssl_psk_key": "0"}), "mqtt1.ssl_psk_key: pairs of hexadecimal"),
            (
                json!({"ssl_ca_cert": "ca", "ssl_psk_identity": "i", "ssl_psk_key": "00"}),
                "mqtt1.ssl_psk_identity: nothing expected beside ssl_ca_cert",
            ),
            (json!({"ws_path": "mqtt"}), "mqtt1.ws_path: path that starts with / expected"),
        ] {
            let problem = problem(value);
            assert!(problem.starts_with(expected), "{problem}");
        }
    }

    #[test]
    fn a_wait_that_is_given_alone_moves_the_other() {
        let waits = |value| {
            let section = parse(value);
            (section.reconnect_min.as_secs_f64(), section.reconnect_max.as_secs_f64())
        };
        assert_eq!(waits(json!({"reconnect_timeout_min": 90})), (90.0, 90.0));
        assert_eq!(waits(json!({"reconnect_timeout_max": 0.5})), (0.5, 0.5));
        assert_eq!(waits(json!({"reconnect_timeout_min": 0.1, "reconnect_timeout_max": 0.4})), (0.1, 0.4));
    }

    #[test]
    fn the_port_depends_on_encryption() {
        let port = |value| parse(value).address().unwrap().port;
        assert_eq!(port(json!({"server": "h"})), 1883);
        assert_eq!(port(json!({"server": "h", "ws_enable": true})), 1883);
        assert_eq!(port(json!({"server": "h", "ssl_ca_cert": "ca.pem"})), 8883);
        assert_eq!(port(json!({"server": "h", "ssl_psk_identity": "i", "ssl_psk_key": "00"})), 8883);
        assert_eq!(port(json!({"server": "h:17", "ssl_ca_cert": "ca.pem"})), 17);
        assert_eq!(parse(json!({"server": "[::1]:17"})).address().unwrap().to_string(), "[::1]:17");
        assert_eq!(Section::absent().address(), None);
    }

    #[test]
    fn cipher_suites_have_their_iana_names() {
        let section = parse(json!({
            "ssl_ca_cert": "ca.pem",
            "ssl_cipher_suites": "TLS-ECDHE-RSA-WITH-AES-128-GCM-SHA256:TLS1-3-AES-128-GCM-SHA256:TLS_AES_256_GCM_SHA384",
        }));
        let Security::Certificates { cipher_suites, .. } = section.ssl.security() else { panic!("TLS") };
        let expected =
            ["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384"];
        assert_eq!(cipher_suites, expected);
    }

    #[test]
    fn problems_show_no_secrets() {
        for value in [
            json!({"user": 5, "pass": "hunter2"}),
            json!({"pass": "hunter2"}),
            json!({"user": "u", "pass": 123_454_321}),
            json!({"ssl_psk_identity": "i", "ssl_psk_key": "hunter2"}),
        ] {
            let problem = problem(value);
            assert!(!problem.contains("hunter2") && !problem.contains("123454321"), "{problem}");
        }
        let section = parse(json!({"user": "u", "pass": "hunter2"}));
        assert!(!section.public().to_string().contains("hunter2"));
    }
}
