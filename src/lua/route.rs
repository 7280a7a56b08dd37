//! Connects led elsewhere: device scripts have their broker written into them.

use std::str::FromStr;

use crate::client::Server;
use crate::net::uri::{self, Scheme, Uri};

/// Where connects to some address go instead. As text: `FROM=TO`, with `host`, `host:port` or `*` for FROM, and
/// `host:port` or `mqtt://host:port` for TO.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// None: any.
    host: Option<String>,
    /// None: any.
    port: Option<u16>,
    to: Server,
    /// TLS comes off.
    clear: bool,
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
        let clear = Uri::is_uri(to);
        let to = if clear { target_uri(to) } else { target(to) }.map_err(|error| format!("TO: {error}"))?;
        Ok(Route { host, port, to, clear })
    }
}

/// `host:port`
fn target(text: &str) -> Result<Server, String> {
    match uri::split_address(text).map_err(|error| error.to_string())? {
        (host, Some(port)) => Ok(Server { host: host.to_owned(), port }),
        (_, None) => Err("host:port or mqtt://host:port expected, got no port".into()),
    }
}

/// `mqtt://host:port`
fn target_uri(text: &str) -> Result<Server, String> {
    let uri = Uri::parse(text).map_err(|error| error.to_string())?;
    match uri.scheme {
        Scheme::Mqtt if uri.username.is_none() => Ok(Server { host: uri.host, port: uri.port }),
        Scheme::Mqtt => Err("user names and passwords are the script's".into()),
        Scheme::Mqtts => Err("mqtts:// needs TLS, which this version does not have".into()),
        Scheme::Ws | Scheme::Wss => Err("host:port or mqtt://host:port expected".into()),
    }
}

/// All routes, the first that fits counts.
#[derive(Clone, Debug, Default)]
pub struct Routes(Vec<Route>);

impl Routes {
    /// In this order.
    pub fn new(routes: Vec<Route>) -> Routes {
        Routes(routes)
    }

    /// Leads what would go to a broker on this machine's standard port to another port of it.
    pub fn lead_default_to(&mut self, port: u16) {
        for host in ["127.0.0.1", "localhost"] {
            self.0.push(Route {
                host: Some(host.into()),
                port: Some(Scheme::Mqtt.default_port()),
                to: Server { host: "127.0.0.1".into(), port },
                clear: false,
            });
        }
    }

    /// Where a connect to `server` goes, and whether with TLS.
    pub(crate) fn lead(&self, server: Server, secure: bool) -> (Server, bool) {
        match self.0.iter().find(|route| route.fits(&server)) {
            Some(route) => (route.to.clone(), secure && !route.clear),
            None => (server, secure),
        }
    }
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

    #[test]
    fn a_host_fits_at_any_port_and_in_any_case() {
        let routes = routes(&["broker.local=localhost:2000"]);
        assert_eq!(routes.lead(server("Broker.Local", 1883), true), (server("localhost", 2000), true));
        assert_eq!(routes.lead(server("broker.local", 9), false), (server("localhost", 2000), false));
        assert_eq!(routes.lead(server("other.local", 9), false), (server("other.local", 9), false));
    }

    #[test]
    fn a_host_with_a_port_fits_at_that_port() {
        let routes = routes(&["10.0.0.1:1883=localhost:2000"]);
        assert_eq!(routes.lead(server("10.0.0.1", 1883), false).0, server("localhost", 2000));
        assert_eq!(routes.lead(server("10.0.0.1", 1884), false).0, server("10.0.0.1", 1884));
    }

    #[test]
    fn the_first_that_fits_counts() {
        let routes = routes(&["a=x:1", "*=y:2", "b=z:3"]);
        assert_eq!(routes.lead(server("a", 1883), false).0, server("x", 1));
        assert_eq!(routes.lead(server("b", 1883), false).0, server("y", 2));
    }

    #[test]
    fn a_uri_takes_tls_off() {
        let routes = routes(&["a=mqtt://x:1", "b=x:1"]);
        assert_eq!(routes.lead(server("a", 8883), true), (server("x", 1), false));
        assert_eq!(routes.lead(server("b", 8883), true), (server("x", 1), true));
    }

    #[test]
    fn ipv6_addresses_stand_in_brackets() {
        let routes = routes(&["[::1]:1883=[fe80::2]:2000"]);
        assert_eq!(routes.lead(server("::1", 1883), false).0, server("fe80::2", 2000));
    }

    #[test]
    fn the_default_broker_gives_way_to_what_was_asked_for() {
        let mut routes = routes(&["localhost=x:1"]);
        routes.lead_default_to(4000);
        assert_eq!(routes.lead(server("localhost", 1883), false).0, server("x", 1));
        assert_eq!(routes.lead(server("127.0.0.1", 1883), false).0, server("127.0.0.1", 4000));
        assert_eq!(routes.lead(server("127.0.0.1", 1884), false).0, server("127.0.0.1", 1884));
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
            "a=http://b",
        ] {
            assert!(text.parse::<Route>().is_err(), "{text}");
        }
        assert!("a=mqtts://b:1".parse::<Route>().unwrap_err().contains("TLS"));
    }
}
