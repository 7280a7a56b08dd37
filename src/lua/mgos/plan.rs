//! From the sections of a configuration to what a client is told.

use std::time::{Duration, SystemTime};

use super::section::{Problem, Section, Security};
use crate::client::{ConnectOptions, Options, Policy, Profile, Server, Will};
use crate::codec::{MAX_PACKET, Qos, Version};
use crate::lua::route::Routes;
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

/// That a section can be tried, if it is enabled: files are there and fit together, and what it asks for is built in.
pub(super) fn check(name: &str, section: &Section, map: &Routes) -> Result<(), Problem> {
    if !section.is_usable() {
        return Ok(());
    }
    if matches!(section.ssl.security(), Security::SharedKey { .. }) && !section.ssl.cipher_suites.is_empty() {
        tracing::warn!(target: "mqtt", "{name}.ssl_cipher_suites does not count beside ssl_psk_identity");
    }
    let checked = transport(section, map).and_then(|(_, transport)| transport.check());
    checked.map_err(|why| {
        let known = [
            ("ca_cert: ", "ssl_ca_cert"),
            ("client_cert: ", "ssl_cert"),
            ("client_key: ", "ssl_key"),
            ("cipher_suites: ", "ssl_cipher_suites"),
            ("psk_identity: ", "ssl_psk_identity"),
            ("psk_key: ", "ssl_psk_key"),
        ];
        for (theirs, ours) in known {
            if let Some(why) = why.strip_prefix(theirs) {
                return Problem::at(name, ours, why);
            }
        }
        Problem::at(name, if section.ws_enable { "ws_path" } else { "server" }, why)
    })
}

/// Where a section leads, and what lies on top of TCP there.
///
/// # Errors
/// What this build does not have, or a value that cannot be: a key of net's, a colon, and why.
fn transport(section: &Section, map: &Routes) -> Result<(Server, Transport), String> {
    let server = section.address().expect("a usable section has a server");
    let asked = match (section.ssl.is_on(), section.ws_enable) {
        (false, false) => Scheme::Mqtt,
        (true, false) => Scheme::Mqtts,
        (false, true) => Scheme::Ws,
        (true, true) => Scheme::Wss,
    };
    let led = map.lead(server, asked);
    let security = match section.ssl.security() {
        _ if !led.scheme.is_secure() => net::Security::None,
        Security::None => net::Security::Tls(Tls::default()),
        Security::Certificates { ca_cert, client, cipher_suites } => net::Security::Tls(Tls {
            ca_cert: Some(Pem::Path(ca_cert.into())),
            client_cert: client.map(|(certificate, _)| Pem::Path(certificate.into())),
            client_key: client.map(|(_, key)| Pem::Path(key.into())),
            cipher_suites,
            server_name: led.certificate_for,
            ..Tls::default()
        }),
        Security::SharedKey { identity, key } => {
            net::Security::Psk(Psk::new(identity.as_bytes(), key.as_bytes())?)
        }
    };
    let websocket = led
        .scheme
        .is_websocket()
        .then(|| WebSocket { path: section.ws_path.clone(), ..WebSocket::default() });
    Ok((led.server, Transport { security, websocket }))
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
///
/// # Errors
/// What [`check`] would have said.
pub(super) fn options<'a>(
    sections: impl Iterator<Item = &'a Section>,
    device_id: &str,
    map: &Routes,
    brokers: &mut Brokers,
) -> Result<Options, String> {
    let profiles = sections.map(|section| profile(section, device_id, map, brokers));
    Ok(Options {
        profiles: profiles.collect::<Result<_, String>>()?,
        reconnect: Some(Policy::default()),
        connect_timeout: CONNECT_TIMEOUT,
        ask_credentials: false,
        retry_first: true,
        report_attempts: true,
    })
}

fn profile(
    section: &Section,
    device_id: &str,
    map: &Routes,
    brokers: &mut Brokers,
) -> Result<Profile, String> {
    let (server, transport) = transport(section, map)?;
    let connect = introduction(section, device_id);
    let limits = Limits {
        max_qos: section.max_qos,
        max_waiting: Some(section.max_queue_length),
        max_packet: (section.recv_mbuf_limit < MAX_PACKET as u32).then_some(section.recv_mbuf_limit),
        ..session().limits
    };
    let policy = Policy { min: section.reconnect_min, max: section.reconnect_max, factor: 2.0, jitter: 0.1 };
    Ok(Profile {
        transport,
        reconnect: Some(policy),
        limits: Some(limits),
        broker: brokers.number(server.to_string(), &connect.client_id),
        not_before: section.require_time.then(|| SystemTime::UNIX_EPOCH + TIME_IS_SET),
        ..Profile::new(server, connect)
    })
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
        let plan = options([&main, &backup].into_iter(), "device", &Routes::default(), &mut brokers).unwrap();
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
            options([section].into_iter(), "d", &Routes::default(), &mut brokers).unwrap().profiles[0].broker
        };
        assert_eq!(number(&main), number(&same));
    }

    #[test]
    fn transports_are_those_of_the_keys() {
        let way = |value| transport(&section(value), &Routes::default()).unwrap().1;
        assert_eq!(way(json!({ "server": "h" })), Transport::default());
        let websocket = way(json!({ "server": "h", "ws_enable": true, "ws_path": "/x" })).websocket;
        assert_eq!(websocket.map(|it| it.path).as_deref(), Some("/x"));
        let tls = way(json!({
            "server": "h", "ssl_ca_cert": "ca.pem", "ssl_cert": "c.pem", "ssl_key": "k.pem",
            "ssl_cipher_suites": "TLS-ECDHE-RSA-WITH-AES-128-GCM-SHA256",
        }));
        let net::Security::Tls(tls) = tls.security else { panic!("TLS") };
        let path = |name: &str| Some(Pem::Path(name.into()));
        assert_eq!(
            (tls.ca_cert, tls.client_cert, tls.client_key),
            (path("ca.pem"), path("c.pem"), path("k.pem"))
        );
        assert_eq!(tls.cipher_suites, ["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"]);
        assert!(tls.verify);
    }

    #[test]
    fn a_map_decides_over_tls_where_it_is_a_uri() {
        let way = |value, route: &str| {
            transport(&section(value), &Routes::new(vec![route.parse().unwrap()])).unwrap()
        };
        let (server, transport) = way(json!({ "server": "h", "ssl_ca_cert": "ca.pem" }), "h=mqtt://x:1");
        assert_eq!((server.to_string().as_str(), transport), ("x:1", Transport::default()));
        let (_, transport) = way(json!({ "server": "h" }), "h=mqtts://x:1");
        assert_eq!(transport.security, net::Security::Tls(Tls::default()));
        let (_, transport) = way(json!({ "server": "h", "ssl_ca_cert": "ca.pem" }), "h=x:1");
        let net::Security::Tls(tls) = transport.security else { panic!("TLS") };
        assert_eq!(tls.server_name.as_deref(), Some("h"), "the certificate is still that server's");
    }

    #[test]
    fn what_cannot_be_tried_is_a_problem_where_it_is_enabled() {
        for (key, value, expected) in [
            ("ssl_ca_cert", json!("/nowhere/ca.pem"), "mqtt1.ssl_ca_cert: "),
            ("ws_path", json!("/a#b"), "mqtt1.ws_path: "),
        ] {
            let mut asks = json!({ "server": "h", "ws_enable": key == "ws_path", key: value });
            assert_eq!(check("mqtt1", &section(asks.clone()), &Routes::default()), Ok(()));
            asks["enable"] = json!(true);
            let problem = check("mqtt1", &section(asks), &Routes::default()).unwrap_err().to_string();
            assert!(problem.starts_with(expected), "{problem}");
        }
    }

    #[test]
    fn a_pre_shared_key_needs_the_feature() {
        let asks = json!({ "server": "h", "enable": true, "ssl_psk_identity": "i", "ssl_psk_key": "00ff" });
        let checked = check("mqtt", &section(asks), &Routes::default()).map_err(|it| it.to_string());
        assert_eq!(checked.is_ok(), cfg!(feature = "psk"));
        if let Err(problem) = checked {
            assert!(problem.starts_with("mqtt.ssl_psk_identity: "), "{problem}");
        }
    }
}
