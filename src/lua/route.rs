//! Connects led elsewhere: device scripts have their broker written into them.

use std::cell::Cell;
use std::str::FromStr;

use crate::client::Server;
use crate::net::uri::{self, Scheme, Uri};

/// Where connects to some address go instead. As text: `FROM=TO`, with `host`, `host:port` or `*` for FROM, and
/// `host:port`, `mqtt://host:port` or `mqtts://host:port` for TO. A URI decides over TLS too, otherwise the script does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// None: any.
    host: Option<String>,
    /// None: any.
    port: Option<u16>,
    to: Server,
    /// How, if that is not for the script to say.
    scheme: Option<Scheme>,
    /// As it was written.
    text: String,
}

impl Route {
    fn fits(&self, server: &Server) -> bool {
        self.host.as_ref().is_none_or(|host| host.eq_ignore_ascii_case(&server.host))
            && self.port.is_none_or(|port| port == server.port)
    }
}

impl FromStr for Route {
    type Err = String;

    fn from_str(text: &str) -> Result<Route, String> {
        let (from, to) = text.split_once('=').ok_or("FROM=TO expected")?;
        let (host, port) = match from {
            "*" => (None, None),
            from => {
                let (host, port) = uri::split_address(from).map_err(|error| format!("FROM: {error}"))?;
                (Some(host.to_owned()), port)
            }
        };
        let (to, scheme) = if Uri::is_uri(to) { target_uri(to) } else { target(to) }
            .map_err(|error| format!("TO: {error}"))?;
        Ok(Route { host, port, to, scheme, text: text.to_owned() })
    }
}

/// `host:port`
fn target(text: &str) -> Result<(Server, Option<Scheme>), String> {
    match uri::split_address(text).map_err(|error| error.to_string())? {
        (host, Some(port)) => Ok((Server { host: host.to_owned(), port }, None)),
        (_, None) => Err(format!("{TARGETS} expected, got no port")),
    }
}

/// `mqtt://host:port`, `mqtts://host:port`
fn target_uri(text: &str) -> Result<(Server, Option<Scheme>), String> {
    let uri = Uri::parse(text).map_err(|error| error.to_string())?;
    match uri.scheme {
        Scheme::Ws | Scheme::Wss => Err(format!("{TARGETS} expected")),
        _ if uri.username.is_some() => Err("user names and passwords are the script's".into()),
        scheme => Ok((Server { host: uri.host, port: uri.port }, Some(scheme))),
    }
}

const TARGETS: &str = "host:port, mqtt://host:port or mqtts://host:port";

/// All routes, the first that fits counts; each with whether it has said what it does to TLS.
#[derive(Clone, Debug, Default)]
pub struct Routes(Vec<(Route, Cell<bool>)>);

impl Routes {
    /// In this order.
    pub fn new(routes: Vec<Route>) -> Routes {
        Routes(routes.into_iter().map(|route| (route, Cell::new(false))).collect())
    }

    /// This one, which has nothing to say.
    pub(crate) fn quiet(route: Route) -> Routes {
        Routes(vec![(route, Cell::new(true))])
    }

    /// Whether everything goes where it would go without them.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Leads what would go to a broker on this machine's standard port to another port of it.
    pub fn lead_default_to(&mut self, port: u16) {
        for host in ["127.0.0.1", "localhost"] {
            let route = Route {
                host: Some(host.into()),
                port: Some(Scheme::Mqtt.default_port()),
                to: Server { host: "127.0.0.1".into(), port },
                scheme: None,
                text: String::new(),
            };
            self.0.push((route, Cell::new(false)));
        }
    }

    /// Where a connect to `server` goes. Says on standard error when that is with TLS or without it, other than the
    /// script has it: once per route.
    pub(crate) fn lead(&self, server: Server, scheme: Scheme) -> Led {
        let Some((route, said)) = self.0.iter().find(|(route, _)| route.fits(&server)) else {
            return Led { server, scheme, certificate_for: None };
        };
        let decided = route.scheme.unwrap_or(scheme);
        if decided.is_secure() != scheme.is_secure() && !said.replace(true) {
            let how = if decided.is_secure() { "puts TLS on" } else { "takes TLS off" };
            eprintln!("mqtt-lua: --map {} {how}", route.text);
        }
        // the script has told whom it trusts, and that is not TO
        let certificate_for = route.scheme.is_none().then_some(server.host);
        Led { server: route.to.clone(), scheme: decided, certificate_for }
    }
}

/// Where a connect goes, and how.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Led {
    pub(crate) server: Server,
    pub(crate) scheme: Scheme,
    /// Whose certificate is expected there, if that is not the server's own.
    pub(crate) certificate_for: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(host: &str, port: u16) -> Server {
        Server { host: host.into(), port }
    }

    fn routes(texts: &[&str]) -> Routes {
        Routes::new(texts.iter().map(|text| text.parse().unwrap()).collect())
    }

    fn place(routes: &Routes, host: &str, port: u16) -> Server {
        routes.lead(server(host, port), Scheme::Mqtt).server
    }

    #[test]
    fn a_host_fits_at_any_port_and_in_any_case() {
        let routes = routes(&["broker.local=localhost:2000"]);
        assert_eq!(place(&routes, "Broker.Local", 1883), server("localhost", 2000));
        assert_eq!(place(&routes, "broker.local", 9), server("localhost", 2000));
        assert_eq!(place(&routes, "other.local", 9), server("other.local", 9));
    }

    #[test]
    fn a_host_with_a_port_fits_at_that_port() {
        let routes = routes(&["10.0.0.1:1883=localhost:2000"]);
        assert_eq!(place(&routes, "10.0.0.1", 1883), server("localhost", 2000));
        assert_eq!(place(&routes, "10.0.0.1", 1884), server("10.0.0.1", 1884));
    }

    #[test]
    fn the_first_that_fits_counts() {
        let routes = routes(&["a=x:1", "*=y:2", "b=z:3"]);
        assert_eq!(place(&routes, "a", 1883), server("x", 1));
        assert_eq!(place(&routes, "b", 1883), server("y", 2));
    }

    #[test]
    fn an_address_leaves_tls_to_the_script_and_a_uri_does_not() {
        let routes = routes(&["a=mqtt://x:1", "b=mqtts://x", "c=x:1"]);
        let led = |host, scheme| {
            let led = routes.lead(server(host, 8883), scheme);
            (led.server.port, led.scheme, led.certificate_for)
        };
        for scheme in [Scheme::Mqtt, Scheme::Mqtts, Scheme::Ws, Scheme::Wss] {
            assert_eq!(led("a", scheme), (1, Scheme::Mqtt, None));
            assert_eq!(led("b", scheme), (8883, Scheme::Mqtts, None));
            assert_eq!(led("c", scheme), (1, scheme, Some("c".into())), "FROM's certificate");
            assert_eq!(led("d", scheme), (8883, scheme, None));
        }
    }

    #[test]
    fn ipv6_addresses_stand_in_brackets() {
        let routes = routes(&["[::1]:1883=[fe80::2]:2000"]);
        assert_eq!(place(&routes, "::1", 1883), server("fe80::2", 2000));
    }

    #[test]
    fn the_default_broker_gives_way_to_what_was_asked_for() {
        let mut routes = routes(&["localhost=x:1"]);
        routes.lead_default_to(4000);
        assert_eq!(place(&routes, "localhost", 1883), server("x", 1));
        assert_eq!(place(&routes, "127.0.0.1", 1883), server("127.0.0.1", 4000));
        assert_eq!(place(&routes, "127.0.0.1", 1884), server("127.0.0.1", 1884));
    }

    #[test]
    fn what_is_no_route_is_refused() {
        for text in [
            "a",
            "=b:1",
            "a=",
            "a=b",
            "a=b:0",
            "a=b:x",
            "a:0=b:1",
            "a=ws://b",
            "a=mqtt://u:p@b:1",
            "a=mqtts://u:p@b:1",
            "a=http://b",
        ] {
            assert!(text.parse::<Route>().is_err(), "{text}");
        }
    }
}
