//! From the sections of a configuration to what a client is told.

use std::time::{Duration, SystemTime};

use super::section::{Problem, Section, Security};
use crate::client::{ConnectOptions, Options, Policy, Profile, Will};
use crate::codec::{MAX_PACKET, Qos, Version};
use crate::lua::route::{Led, Routes};
use crate::net::pem::Pem;
use crate::net::psk::Psk;
use crate::net::tls::Tls;
use crate::net::uri::Scheme;
use crate::net::ws::WebSocket;
use crate::net::{self, Transport};
use crate::session::{Config, Limits, Resubscribe};

/// How long an attempt may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A clock that shows less has not been set: July 2017.
const TIME_IS_SET: Duration = Duration::from_secs(1_500_000_000);

/// What the session of every connection is made with.
pub(super) fn session() -> Config {
    let limits = Limits { inflight: u16::MAX, max_waiting: Some(0), ..Limits::default() };
    Config { limits, resubscribe: Resubscribe::Always, keep_messages: true }
}

/// That an enabled section's transport can be tried: its files are there and fit together, its names are known.
pub(super) fn check(name: &str, section: &Section) -> Result<(), Problem> {
    if !section.enable {
        return Ok(());
    }
    transport(section, section.scheme(), None).and_then(|transport| transport.check()).map_err(|why| {
        let (key, text) = why.split_once(": ").unwrap_or(("", &why));
        let key = match key {
            "ca_cert" => "ssl_ca_cert",
            "client_cert" => "ssl_cert",
            "client_key" => "ssl_key",
            "cipher_suites" => "ssl_cipher_suites",
            "psk_identity" => "ssl_psk_identity",
            "psk_key" => "ssl_psk_key",
            "path" => "ws_path",
            other => other,
        };
        Problem::at(name, key, text)
    })
}

/// What lies between TCP and MQTT when the connection is made as `scheme` says. The certificate has to be for
/// `certificate_for`, none: the server.
fn transport(
    section: &Section,
    scheme: Scheme,
    certificate_for: Option<String>,
) -> Result<Transport, String> {
    let security = match section.ssl.security() {
        _ if !scheme.is_secure() => net::Security::None,
        Security::None => net::Security::Tls(Tls { server_name: certificate_for, ..Tls::default() }),
        Security::Certificates { ca_cert, client, cipher_suites } => {
            let pem = |name: &str| Some(Pem::new(name.as_bytes()));
            net::Security::Tls(Tls {
                ca_cert: pem(ca_cert),
                client_cert: client.and_then(|(cert, _)| pem(cert)),
                client_key: client.and_then(|(_, key)| pem(key)),
                cipher_suites,
                server_name: certificate_for,
                ..Tls::default()
            })
        }
        // Of the suites with a pre-shared key all good ones are offered, whatever is listed.
        Security::SharedKey { identity, key, .. } => {
            net::Security::Psk(Psk::new(identity.as_bytes(), key.as_bytes())?)
        }
    };
    let websocket =
        scheme.is_websocket().then(|| WebSocket { path: section.ws_path.clone(), ..WebSocket::default() });
    Ok(Transport { security, websocket })
}

/// The brokers' sessions that a connection has had, by server and client id.
#[derive(Debug, Default)]
pub(super) struct Brokers(Vec<(String, String)>);

impl Brokers {
    fn number(&mut self, server: String, client_id: &str) -> u32 {
        let known = self.0.iter().position(|(server_, id)| *server_ == server && id == client_id);
        let index = known.unwrap_or_else(|| {
            self.0.push((server, client_id.to_owned()));
            self.0.len() - 1
        });
        index as u32
    }
}

/// Connects to these sections, the first first, for ever. Each has a server.
pub(super) fn options<'a>(
    sections: impl Iterator<Item = &'a Section>,
    device_id: &str,
    map: &Routes,
    brokers: &mut Brokers,
) -> Options {
    let profiles = sections.map(|section| profile(section, device_id, map, brokers)).collect();
    Options {
        profiles,
        reconnect: Some(Policy::default()),
        connect_timeout: CONNECT_TIMEOUT,
        ask_credentials: false,
        retry_first: true,
        report_attempts: true,
    }
}

fn profile(section: &Section, device_id: &str, map: &Routes, brokers: &mut Brokers) -> Profile {
    let server = section.address().expect("a usable section has a server");
    let Led { server, scheme, certificate_for } = map.lead(server, section.scheme());
    let transport = transport(section, scheme, certificate_for).expect("checked when it was configured");
    let connect = introduction(section, device_id);
    let limits = Limits {
        max_qos: section.max_qos,
        max_waiting: Some(section.max_queue_length),
        max_packet: (section.recv_mbuf_limit < MAX_PACKET).then_some(section.recv_mbuf_limit),
        ..session().limits
    };
    let policy = Policy { min: section.reconnect_min, max: section.reconnect_max, factor: 2.0, jitter: 0.1 };
    Profile {
        reconnect: Some(policy),
        limits: Some(limits),
        broker: brokers.number(server.to_string(), &connect.client_id),
        not_before: section.require_time.then(|| SystemTime::UNIX_EPOCH + TIME_IS_SET),
        transport,
        ..Profile::new(server, connect)
    }
}

/// What a section puts into CONNECT.
pub(super) fn introduction(section: &Section, device_id: &str) -> ConnectOptions {
    let given = |text: &String| (!text.is_empty()).then(|| text.clone());
    let will = given(&section.will_topic).map(|topic| Will {
        topic,
        message: section.will_message.clone().into_bytes(),
        qos: Qos::AtMostOnce,
        retain: section.will_retain,
    });
    ConnectOptions {
        version: Version::V311,
        client_id: given(&section.client_id).unwrap_or_else(|| device_id.to_owned()),
        keep_alive: section.keep_alive,
        clean_session: section.clean_session,
        will,
        username: given(&section.user),
        password: given(&section.pass).map(String::into_bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn section(value: serde_json::Value) -> Section {
        Section::parse("mqtt", value).unwrap_or_else(|problem| panic!("{problem}"))
    }

    #[test]
    fn a_section_becomes_a_profile() {
        let main = section(json!({
            "enable": true, "server": "h:17", "user": "u", "pass": "p", "keep_alive": 9, "clean_session": false,
            "will_topic": "w", "will_message": "gone", "will_retain": true, "max_qos": 1,
            "max_queue_length": 7, "recv_mbuf_limit": 3072, "require_time": true,
            "reconnect_timeout_min": 1, "reconnect_timeout_max": 4,
        }));
        let backup = section(json!({ "enable": true, "server": "h:17", "client_id": "other" }));
        let mut brokers = Brokers::default();
        let plan = options([&main, &backup].into_iter(), "device", &Routes::default(), &mut brokers);
        assert!(plan.retry_first && plan.report_attempts);
        let [main, backup] = &plan.profiles[..] else { panic!("two") };
        assert_eq!(main.server.to_string(), "h:17");
        let connect = &main.connect;
        assert_eq!(
            (connect.client_id.as_str(), connect.keep_alive, connect.clean_session),
            ("device", 9, false)
        );
        assert_eq!((connect.username.as_deref(), connect.password.as_deref()), (Some("u"), Some(&b"p"[..])));
        let will = connect.will.as_ref().unwrap();
        assert_eq!(
            (will.topic.as_str(), &will.message[..], will.qos, will.retain),
            ("w", &b"gone"[..], Qos::AtMostOnce, true)
        );
        let limits = main.limits.unwrap();
        assert_eq!(
            (limits.max_qos, limits.max_waiting, limits.max_packet),
            (Qos::AtLeastOnce, Some(7), Some(3072))
        );
        let policy = main.reconnect.unwrap();
        assert_eq!(
            (policy.min.as_secs(), policy.max.as_secs(), policy.factor, policy.jitter),
            (1, 4, 2.0, 0.1)
        );
        assert!(main.not_before.is_some() && backup.not_before.is_none());
        assert_eq!((backup.connect.client_id.as_str(), &backup.connect.will), ("other", &None));
        assert_eq!(backup.limits.unwrap().max_packet, None);
        assert_ne!(main.broker, backup.broker, "another id has another session");
    }

    #[test]
    fn the_same_server_and_id_is_the_same_session() {
        let main = section(json!({ "enable": true, "server": "h" }));
        let same = section(json!({ "enable": true, "server": "h:1883", "keep_alive": 5 }));
        let mut brokers = Brokers::default();
        let mut number = |section| {
            options([section].into_iter(), "d", &Routes::default(), &mut brokers).profiles[0].broker
        };
        assert_eq!(number(&main), number(&same));
    }

    #[test]
    fn a_transport_that_cannot_be_tried_is_a_problem_where_it_is_enabled() {
        for (key, value, text) in [
            ("ssl_ca_cert", json!("no such file.pem"), "mqtt1.ssl_ca_cert: "),
            ("ssl_psk_identity", json!("me"), if cfg!(feature = "psk") { "" } else { "mqtt1." }),
        ] {
            let mut asks = json!({ "server": "h", key: value });
            if key == "ssl_psk_identity" {
                asks["ssl_psk_key"] = json!("cafe");
            }
            assert_eq!(check("mqtt1", &section(asks.clone())), Ok(()));
            asks["enable"] = json!(true);
            let problem =
                check("mqtt1", &section(asks)).map_or_else(|problem| problem.to_string(), |()| String::new());
            assert!(problem.starts_with(text) && problem.is_empty() == text.is_empty(), "{problem}");
        }
    }

    #[test]
    fn web_sockets_are_as_the_section_says() {
        let plain = section(json!({ "enable": true, "server": "h", "ws_enable": true, "ws_path": "/mq" }));
        let plan = options([&plain].into_iter(), "d", &Routes::default(), &mut Brokers::default());
        let transport = &plan.profiles[0].transport;
        assert_eq!(transport.security, net::Security::None);
        assert_eq!(transport.websocket.as_ref().map(|socket| socket.path.as_str()), Some("/mq"));
    }
}
