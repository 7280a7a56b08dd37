//! `client:connect`: the shapes that its arguments come in, and what they ask for.

use std::time::Duration;

use mlua::{Function, Table, Value};

use crate::client::{Policy, Server};
use crate::lua::args::{Arg, Args, Raise};
use crate::lua::route::Routes;
use crate::net::uri::{Scheme, Uri, split_address};

/// What a script asks for.
pub(super) struct Request {
    pub(super) server: Server,
    pub(super) reconnect: Option<Policy>,
    /// From a URI: they replace those of the client.
    pub(super) credentials: Option<(Option<String>, Option<Vec<u8>>)>,
    pub(super) ok: Option<Function>,
    pub(super) nok: Option<Function>,
}

/// The keys of a table in the place of `secure`.
const SECURE: [&str; 10] = [
    "ca_cert",
    "client_cert",
    "client_key",
    "server_name",
    "alpn",
    "psk_identity",
    "psk_key",
    "cipher_suites",
    "headers",
    "verify",
];

/// Arguments by position: before the callbacks, and the last place that a callback can have.
const PORT: usize = 2;
const SECURITY: usize = 3;
const AUTORECONNECT: usize = 4;
const LAST: usize = 6;

/// Takes the arguments apart. `map` is the one of [`Options`](crate::lua::Options).
pub(super) fn parse(args: &Args<'_>, map: &Routes) -> Result<Request, Raise> {
    let (ok, nok, first) = callbacks(args)?;
    // what stands before the first callback
    let plain = |n: usize| (n < first).then(|| args.at(n)).and_then(Arg::given);
    let host = args.at(1);
    let text = host.text()?;
    let (port, security) = (plain(PORT), plain(SECURITY));
    let (server, scheme, credentials) = if Uri::is_uri(&text) {
        let uri = Uri::parse(&text).map_err(|error| {
            // the rest may hold a password
            let scheme = text.split("://").next().unwrap_or_default();
            host.reject(format_args!("host or URI expected, got \"{scheme}://...\": {error}"))
        })?;
        if let Some(port) = port {
            return Err(port.fail("nothing beside a URI"));
        }
        if let Some(security) = security.as_ref().filter(|it| !it.value.is_table()) {
            return Err(security.fail("nothing or a table beside a URI"));
        }
        let given = uri.username.is_some().then_some((uri.username, uri.password));
        (Server { host: uri.host, port: uri.port }, uri.scheme, given)
    } else {
        let tls = security.as_ref().is_some_and(|it| it.value.is_table() || it.flag().unwrap_or(false));
        let scheme = if tls { Scheme::Mqtts } else { Scheme::Mqtt };
        let port =
            port.map_or(Ok(scheme.default_port()), |port| port.integer(1..=65535).map(|it| it as u16))?;
        (Server { host: host_name(&host, &text)?, port }, scheme, None)
    };
    if let Some(security) = &security {
        check_security(security, scheme)?;
    }
    let reconnect = plain(AUTORECONNECT).map_or(Ok(None), |it| policy(&it))?;
    if let Some(user) = credentials.as_ref().and_then(|(user, _)| user.as_ref())
        && user.len() > crate::codec::topic::MAX_TOPIC
    {
        return Err(host.reject("user name of at most 65535 bytes expected, got a longer one"));
    }
    let (server, encrypted) = map.lead(server, scheme.is_secure());
    // Never in clear what was to be encrypted.
    if scheme.is_websocket() {
        return Err(
            host.reject("mqtt:// expected: WebSocket is not built in yet, it arrives with a later release")
        );
    }
    if encrypted {
        let (asked, expected) = security.as_ref().map_or((&host, "mqtt://"), |it| (it, "0"));
        return Err(asked.reject(format_args!(
            "{expected} expected: TLS is not built in yet, it arrives with a later release"
        )));
    }
    Ok(Request { server, reconnect, credentials, ok, nok })
}

/// The callbacks, and the place of the first of them.
fn callbacks(args: &Args<'_>) -> Result<(Option<Function>, Option<Function>, usize), Raise> {
    let last = args.len().min(LAST);
    // the two places of their own hold functions or nothing, whichever of them is filled
    let first = (PORT..LAST).find(|&n| n <= last && args.at(n).is_function()).unwrap_or(LAST - 1);
    let mut found = [None, None];
    for n in first..=last {
        let Some(function) = args.at(n).function_or_nil()? else { continue };
        let place = usize::from(found[0].is_some() || n == LAST);
        found[place].get_or_insert(function);
    }
    let [ok, nok] = found;
    Ok((ok, nok, first))
}

/// A name or an address; not `host:port`.
fn host_name(arg: &Arg<'_>, text: &str) -> Result<String, Raise> {
    let bare = match text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => address,
        None => text,
    };
    let ip = bare.split_once('%').map_or(bare, |(ip, _)| ip);
    if ip.parse::<std::net::Ipv6Addr>().is_ok() {
        return Ok(bare.to_owned());
    }
    match split_address(text) {
        Ok((host, None)) => Ok(host.to_owned()),
        Ok((_, Some(_))) => Err(arg.reject("host without a port expected, got both in one")),
        Err(_) if text.is_empty() => Err(arg.reject("host expected, got an empty string")),
        Err(_) => Err(arg.reject(format_args!("host expected, got {text:?}"))),
    }
}

/// A flag, or a table of options for TLS and WebSocket.
fn check_security(arg: &Arg<'_>, scheme: Scheme) -> Result<(), Raise> {
    if !arg.value.is_table() {
        return arg.flag().map(|_| ());
    }
    let known: &[&str] = if scheme.is_secure() { &SECURE } else { &["headers"] };
    let table = arg.record(known)?;
    let field = |key| arg.field(&table, key).map(Arg::given);
    for key in ["ca_cert", "client_cert", "client_key", "server_name", "psk_identity", "psk_key"] {
        if let Some(field) = field(key)? {
            field.bytes()?;
        }
    }
    for (one, other) in [("client_cert", "client_key"), ("psk_identity", "psk_key")] {
        let (first, second) = (field(one)?, field(other)?);
        if first.is_some() != second.is_some() {
            let (given, missing) = if first.is_some() { (one, other) } else { (other, one) };
            return Err(arg.reject(format_args!("'{missing}' expected beside '{given}', got none")));
        }
    }
    if let Some(key) = field("psk_key")? {
        let key_bytes = key.bytes()?;
        let hex = key_bytes.as_bytes();
        if hex.is_empty() || hex.len() % 2 != 0 || !hex.iter().all(u8::is_ascii_hexdigit) {
            return Err(key.reject("hexadecimal digits expected, got something else"));
        }
    }
    for key in ["alpn", "cipher_suites"] {
        if let Some(field) = field(key)? {
            strings(&field, key == "cipher_suites")?;
        }
    }
    if let Some(headers) = field("headers")? {
        let Value::Table(table) = &headers.value else { return Err(headers.fail("table")) };
        for pair in table.pairs::<Value, Value>() {
            let (name, value) = pair?;
            headers.inside(Some("headers"), name).text()?;
            headers.inside(Some("headers"), value).text()?;
        }
    }
    if let Some(verify) = field("verify")? {
        verify.flag()?;
    }
    Ok(())
}

/// A list of strings; or one string, where that is allowed.
fn strings(arg: &Arg<'_>, or_one: bool) -> Result<(), Raise> {
    match &arg.value {
        Value::Table(list) => {
            for value in list.sequence_values::<Value>() {
                arg.inside(None, value?).text()?;
            }
            Ok(())
        }
        Value::String(_) if or_one => arg.text().map(|_| ()),
        _ => Err(arg.fail("list of strings")),
    }
}

/// A flag, or a table with the shortest and the longest wait.
fn policy(arg: &Arg<'_>) -> Result<Option<Policy>, Raise> {
    const SHORTEST: f64 = 0.25;
    const LONGEST: f64 = 3600.0;
    if !arg.value.is_table() {
        return Ok(arg.flag()?.then(Policy::default));
    }
    let table: Table = arg.record(&["min", "max"])?;
    let wait = |key, default: Duration| match arg.field(&table, key)?.given() {
        Some(field) => field.seconds(SHORTEST, LONGEST),
        None => Ok(default),
    };
    let default = Policy::default();
    let min = wait("min", default.min)?;
    let max = wait("max", default.max.max(min))?;
    if max < min {
        return Err(arg.reject(format_args!(
            "'max': a number not below min expected, got {} below {}",
            max.as_secs_f64(),
            min.as_secs_f64()
        )));
    }
    Ok(Some(Policy { min, max, ..default }))
}
