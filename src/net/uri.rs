//! Addresses as URIs: `mqtt://`, `mqtts://`, `ws://`, `wss://`.

use std::fmt;

/// How to reach a broker, as the scheme of a URI says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// TCP.
    Mqtt,
    /// TLS.
    Mqtts,
    /// WebSocket over TCP.
    Ws,
    /// WebSocket over TLS.
    Wss,
}

impl Scheme {
    /// Whether the stream is encrypted.
    pub fn is_secure(self) -> bool {
        matches!(self, Scheme::Mqtts | Scheme::Wss)
    }

    /// Whether MQTT runs inside WebSocket frames.
    pub fn is_websocket(self) -> bool {
        matches!(self, Scheme::Ws | Scheme::Wss)
    }

    /// The port of a URI that names none.
    pub fn default_port(self) -> u16 {
        match self {
            Scheme::Mqtt => 1883,
            Scheme::Mqtts => 8883,
            Scheme::Ws => 80,
            Scheme::Wss => 443,
        }
    }

    fn new(name: &str) -> Option<Scheme> {
        let known =
            [("mqtt", Scheme::Mqtt), ("mqtts", Scheme::Mqtts), ("ws", Scheme::Ws), ("wss", Scheme::Wss)];
        known.into_iter().find(|(known, _)| name.eq_ignore_ascii_case(known)).map(|(_, scheme)| scheme)
    }
}

/// The parts of a URI, decoded.
#[derive(Clone, PartialEq, Eq)]
pub struct Uri {
    /// How.
    pub scheme: Scheme,
    /// Where: a name or an address, IPv6 without brackets.
    pub host: String,
    /// The port, given or the scheme's.
    pub port: u16,
    /// User name, percent-decoded.
    pub username: Option<String>,
    /// Password, percent-decoded: any bytes. Never without a user name.
    pub password: Option<Vec<u8>>,
    /// For WebSocket: path and query, from the first `/` on; `/mqtt` when the URI has none. Otherwise empty.
    pub path: String,
}

impl fmt::Debug for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // a query may hold a token
        let path = self.path.split('?').next().unwrap_or_default();
        f.debug_struct("Uri")
            .field("scheme", &self.scheme)
            .field("host", &self.host)
            .field("port", &self.port)
            .field("username", &self.username)
            .field("password", &self.password.as_ref().map(|_| "<redacted>"))
            .field("path", &path)
            .finish()
    }
}

/// Why a text is no URI of ours. Never shows the text, which may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UriError {
    /// No scheme that is known.
    Scheme,
    /// No host, or one with characters that no host has.
    Host,
    /// The port is not a number from 1 to 65535.
    Port,
    /// A `%` without two hexadecimal digits, or a user name that is not UTF-8 or holds NUL.
    UserInfo,
    /// A path where the scheme has none, a fragment, or a character that must be encoded.
    Path,
}

impl fmt::Display for UriError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            UriError::Scheme => "the scheme is none of mqtt, mqtts, ws, wss",
            UriError::Host => "the URI has no valid host",
            UriError::Port => "the port is no number from 1 to 65535",
            UriError::UserInfo => "user name or password are not percent-encoded UTF-8",
            UriError::Path => "the path is not valid for this scheme",
        })
    }
}

impl std::error::Error for UriError {}

impl Uri {
    /// Whether a text is meant as a URI rather than as a host.
    pub fn is_uri(text: &str) -> bool {
        text.contains("://")
    }

    /// Takes a URI apart.
    ///
    /// # Errors
    /// It is none, or none of these schemes.
    pub fn parse(text: &str) -> Result<Uri, UriError> {
        let (scheme, rest) = text.split_once("://").ok_or(UriError::Scheme)?;
        let scheme = Scheme::new(scheme).ok_or(UriError::Scheme)?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let (userinfo, address) = match authority.rsplit_once('@') {
            Some((userinfo, address)) => (Some(userinfo), address),
            None => (None, authority),
        };
        let (host, port) = split_address(address)?;
        let (username, password) = userinfo.map_or(Ok((None, None)), split_userinfo)?;
        Ok(Uri {
            scheme,
            host: host.to_owned(),
            port: port.unwrap_or(scheme.default_port()),
            username,
            password,
            path: check_path(scheme, path)?,
        })
    }
}

/// Host and port of `host`, `host:port`, `[v6]` or `[v6]:port`.
///
/// # Errors
/// The host or the port is not valid.
pub fn split_address(address: &str) -> Result<(&str, Option<u16>), UriError> {
    let (host, port) = if let Some(bracketed) = address.strip_prefix('[') {
        let (host, rest) = bracketed.split_once(']').ok_or(UriError::Host)?;
        // also the one form with a zone, `fe80::1%eth0`
        let ip = host.split_once('%').map_or(host, |(ip, _)| ip);
        ip.parse::<std::net::Ipv6Addr>().map_err(|_| UriError::Host)?;
        match rest.strip_prefix(':') {
            Some(port) => (host, Some(port)),
            None if rest.is_empty() => (host, None),
            None => return Err(UriError::Host),
        }
    } else {
        match address.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (address, None),
        }
    };
    let odd = |c: char| c.is_whitespace() || c.is_control() || "[]<>\"\\^`{|}".contains(c);
    if host.is_empty() || host.contains(odd) {
        return Err(UriError::Host);
    }
    Ok((host, port.map(parse_port).transpose()?))
}

fn parse_port(text: &str) -> Result<u16, UriError> {
    // parse() would take a sign
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(UriError::Port);
    }
    text.parse().ok().filter(|port| *port != 0).ok_or(UriError::Port)
}

type UserInfo = (Option<String>, Option<Vec<u8>>);

fn split_userinfo(userinfo: &str) -> Result<UserInfo, UriError> {
    let (username, password) = match userinfo.split_once(':') {
        Some((username, password)) => (username, Some(password)),
        None => (userinfo, None),
    };
    let username = String::from_utf8(decode(username)?).map_err(|_| UriError::UserInfo)?;
    if username.contains('\0') || (username.is_empty() && password.is_some_and(|it| !it.is_empty())) {
        return Err(UriError::UserInfo); // [MQTT-1.5.3-2], [MQTT-3.1.2-22]
    }
    if username.is_empty() {
        return Ok((None, None));
    }
    Ok((Some(username), password.map(decode).transpose()?))
}

/// Percent-decodes.
fn decode(text: &str) -> Result<Vec<u8>, UriError> {
    let digit =
        |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16)).ok_or(UriError::UserInfo);
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => (digit(bytes.next())? * 16 + digit(bytes.next())?) as u8,
            byte => byte,
        });
    }
    Ok(decoded)
}

fn check_path(scheme: Scheme, path: &str) -> Result<String, UriError> {
    if !scheme.is_websocket() {
        return if path.is_empty() || path == "/" { Ok(String::new()) } else { Err(UriError::Path) };
    }
    // it becomes a part of an HTTP request line: nothing in it may end that
    if path.contains('#') || !path.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(UriError::Path);
    }
    Ok(match path.as_bytes().first() {
        None => "/mqtt".to_owned(),
        Some(b'/') => path.to_owned(),
        Some(_) => format!("/mqtt{path}"), // a query alone
    })
}

/// The entry for fuzzing: what parses is what it promises to be, and put together again it parses to the same.
#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    fn encode(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("%{byte:02x}")).collect()
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok((host, port)) = split_address(text) {
        assert!(!host.is_empty() && port != Some(0));
    }
    let Ok(uri) = Uri::parse(text) else { return };
    assert!(uri.port != 0 && !uri.host.is_empty() && !uri.host.contains(char::is_whitespace));
    assert_eq!(uri.path.starts_with('/'), uri.scheme.is_websocket());
    assert!(uri.path.bytes().all(|byte| byte.is_ascii_graphic()), "nothing ends an HTTP request line");
    assert!(uri.username.is_some() || uri.password.is_none());
    let scheme = match uri.scheme {
        Scheme::Mqtt => "mqtt",
        Scheme::Mqtts => "mqtts",
        Scheme::Ws => "ws",
        Scheme::Wss => "wss",
    };
    let user = match (&uri.username, &uri.password) {
        (None, _) => String::new(),
        (Some(name), None) => encode(name.as_bytes()) + "@",
        (Some(name), Some(password)) => encode(name.as_bytes()) + ":" + &encode(password) + "@",
    };
    let host = if uri.host.contains(':') { format!("[{}]", uri.host) } else { uri.host.clone() };
    let again = format!("{scheme}://{user}{host}:{}{}", uri.port, uri.path);
    assert_eq!(Uri::parse(&again).as_ref(), Ok(&uri), "{again}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Uri {
        Uri::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn every_scheme_has_its_port() {
        for (text, scheme, port) in [
            ("mqtt://h", Scheme::Mqtt, 1883),
            ("MQTTS://h", Scheme::Mqtts, 8883),
            ("ws://h", Scheme::Ws, 80),
            ("wss://h", Scheme::Wss, 443),
        ] {
            let uri = parse(text);
            assert_eq!((uri.scheme, uri.port, uri.host.as_str()), (scheme, port, "h"));
        }
        assert_eq!(parse("mqtt://h:17").port, 17);
    }

    #[test]
    fn user_and_password_are_percent_decoded() {
        let uri = parse("mqtt://us%40er:p%3a%FF%00@host:1");
        assert_eq!(uri.username.as_deref(), Some("us@er"));
        assert_eq!(uri.password.as_deref(), Some(&b"p:\xff\0"[..]));
        assert_eq!(uri.host, "host");
        let uri = parse("mqtt://user@host");
        assert_eq!((uri.username.as_deref(), uri.password), (Some("user"), None));
        let uri = parse("mqtt://user:@host");
        assert_eq!(uri.password.as_deref(), Some(&b""[..]));
        assert_eq!(parse("mqtt://user:a@b@host").password.as_deref(), Some(&b"a@b"[..]));
    }

    #[test]
    fn ipv6_stands_in_brackets() {
        assert_eq!((parse("mqtt://[::1]").host, parse("mqtt://[::1]:99").port), ("::1".to_owned(), 99));
        assert_eq!(parse("mqtt://[fe80::1%eth0]:99").host, "fe80::1%eth0");
        for bad in ["mqtt://[::1", "mqtt://[]", "mqtt://[1.2.3.4]", "mqtt://[::1]x", "mqtt://::1"] {
            assert!(Uri::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_websockets_have_a_path() {
        assert_eq!(parse("ws://h").path, "/mqtt");
        assert_eq!(parse("ws://h/").path, "/");
        assert_eq!(parse("wss://h:1/a/b?c=d").path, "/a/b?c=d");
        assert_eq!(parse("ws://h?token=x").path, "/mqtt?token=x");
        assert_eq!(parse("mqtt://h/").path, "");
        for bad in ["mqtt://h/topic", "ws://h/#x", "ws://h/a b", "ws://h/a\r\nX: y"] {
            assert_eq!(Uri::parse(bad), Err(UriError::Path), "{bad}");
        }
    }

    #[test]
    fn what_is_no_uri_of_ours_is_refused_by_its_part() {
        for (text, error) in [
            ("host", UriError::Scheme),
            ("http://h", UriError::Scheme),
            ("://h", UriError::Scheme),
            ("mqtt://", UriError::Host),
            ("mqtt://user@", UriError::Host),
            ("mqtt://a b", UriError::Host),
            ("mqtt://h:0", UriError::Port),
            ("mqtt://h:65536", UriError::Port),
            ("mqtt://h:+5", UriError::Port),
            ("mqtt://h:", UriError::Port),
            ("mqtt://a%zz@h", UriError::UserInfo),
            ("mqtt://a%4@h", UriError::UserInfo),
            ("mqtt://%ff@h", UriError::UserInfo),
            ("mqtt://:secret@h", UriError::UserInfo),
        ] {
            assert_eq!(Uri::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn debug_output_holds_no_secret() {
        for text in ["mqtt://u:hunter2@h", "ws://h/mqtt?token=hunter2", "ws://h?hunter2"] {
            assert!(!format!("{:?}", parse(text)).contains("hunter2"));
        }
    }
}
