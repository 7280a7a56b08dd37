//! `client:connect`: the shapes that its arguments come in, and what they ask for.

use std::time::Duration;

use mlua::Function;

use super::secure::{self, Secure};
use crate::client::{Credentials, Policy, Server};
use crate::lua::args::{Arg, Args, Raise};
use crate::lua::route::Routes;
use crate::net::Transport;
use crate::net::uri::{Scheme, Uri, split_address};

/// What a script asks for.
pub(super) struct Request {
    pub(super) server: Server,
    pub(super) transport: Transport,
    pub(super) reconnect: Option<Policy>,
    /// From a URI: they replace those of the client.
    pub(super) credentials: Option<Credentials>,
    pub(super) ok: Option<Function>,
    pub(super) nok: Option<Function>,
}

/// Arguments by position: before the callbacks, and the last place that a callback can have.
pub(super) const PORT: usize = 2;
pub(super) const SECURITY: usize = 3;
pub(super) const AUTORECONNECT: usize = 4;
pub(super) const LAST: usize = 6;

/// Takes the arguments apart. `map` is the one of [`Options`](crate::lua::Options).
pub(super) fn parse(args: &Args<'_>, map: &Routes) -> Result<Request, Raise> {
    let (ok, nok, first) = callbacks(args)?;
    // what stands before the first callback
    let plain = |n: usize| (n < first).then(|| args.at(n)).and_then(Arg::given);
    let host = args.at(1);
    let text = host.text()?;
    let (port, security) = (plain(PORT), plain(SECURITY));
    let (server, scheme, path, credentials) = if Uri::is_uri(&text) {
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
        let (username, password) = (uri.username, uri.password);
        let given = username.is_some().then_some(Credentials { username, password });
        (Server { host: uri.host, port: uri.port }, uri.scheme, uri.path, given)
    } else {
        let tls = security.as_ref().is_some_and(|it| it.value.is_table() || it.flag().unwrap_or(false));
        let scheme = if tls { Scheme::Mqtts } else { Scheme::Mqtt };
        let port =
            port.map_or(Ok(scheme.default_port()), |port| port.integer(1..=65535).map(|it| it as u16))?;
        (Server { host: host_name(&host, &text)?, port }, scheme, String::new(), None)
    };
    let reconnect = plain(AUTORECONNECT).map_or(Ok(None), |it| policy(&it))?;
    if let Some(user) = credentials.as_ref().and_then(|credentials| credentials.username.as_ref())
        && user.len() > crate::codec::topic::MAX_TOPIC
    {
        return Err(host.reject("user name of at most 65535 bytes expected, got a longer one"));
    }
    let mut secure = security.as_ref().map_or(Ok(Secure::default()), |it| Secure::read(it, scheme))?;
    let led = map.lead(server, scheme);
    if let Some(name) = led.certificate_for {
        secure.expect_name(name);
    }
    let transport =
        secure.transport(led.scheme, path).map_err(|why| secure::blame(security.as_ref(), &host, &why))?;
    Ok(Request { server: led.server, transport, reconnect, credentials, ok, nok })
}

/// The callbacks, and the place of the first of them.
fn callbacks(args: &Args<'_>) -> Result<(Option<Function>, Option<Function>, usize), Raise> {
    let last = args.len().min(LAST);
    let Places { ok, nok, first } = places(last, |n| args.at(n).is_function());
    for n in first..=last {
        args.at(n).function_or_nil()?;
    }
    let function = |n: Option<usize>| n.map(|n| args.at(n).function()).transpose();
    Ok((function(ok)?, function(nok)?, first))
}

/// Where the callbacks are among the arguments.
pub(super) struct Places {
    pub(super) ok: Option<usize>,
    pub(super) nok: Option<usize>,
    /// From here on there is nothing but functions, or nothing.
    pub(super) first: usize,
}

/// Finds the callbacks among the arguments up to `last`.
pub(super) fn places(last: usize, is_function: impl Fn(usize) -> bool) -> Places {
    // the two places of their own hold functions or nothing, whichever of them is filled
    let first = (PORT..LAST).find(|&n| n <= last && is_function(n)).unwrap_or(LAST - 1);
    let mut found = [None, None];
    for n in (first..=last).filter(|&n| is_function(n)) {
        let place = usize::from(found[0].is_some() || n == LAST);
        found[place].get_or_insert(n);
    }
    let [ok, nok] = found;
    Places { ok, nok, first }
}

/// A text that is a name or an IPv4 address and nothing else, without a closer look; none: it may be one all the same.
pub(super) fn plain_host(text: &[u8]) -> Option<&str> {
    const LONGEST: usize = 255;
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b".-_".contains(byte);
    if !(1..=LONGEST).contains(&text.len()) || !text.iter().all(is_plain) {
        return None;
    }
    std::str::from_utf8(text).ok()
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

/// A flag, or a table with the shortest and the longest wait.
fn policy(arg: &Arg<'_>) -> Result<Option<Policy>, Raise> {
    const SHORTEST: f64 = 0.25;
    const LONGEST: f64 = 3600.0;
    if !arg.value.is_table() {
        return Ok(arg.flag()?.then(Policy::default));
    }
    let table = arg.record(&["min", "max"])?;
    let wait = |key, default: Duration| match table.field(key) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_function_is_ok_and_the_last_place_is_noks() {
        for (functions, last, expected) in [
            (&[][..], 6, (None, None, 5)),
            (&[2], 2, (Some(2), None, 2)),
            (&[2, 3], 3, (Some(2), Some(3), 2)),
            (&[3, 4], 4, (Some(3), Some(4), 3)),
            (&[5, 6], 6, (Some(5), Some(6), 5)),
            (&[6], 6, (None, Some(6), 5)),
            (&[4, 6], 6, (Some(4), Some(6), 4)),
            (&[2, 3, 4], 4, (Some(2), Some(3), 2)),
            (&[5], 4, (None, None, 5)), // there is no such argument
        ] {
            let Places { ok, nok, first } = places(last, |n| functions.contains(&n));
            assert_eq!((ok, nok, first), expected, "{functions:?}");
        }
    }

    #[test]
    fn a_plain_host_is_nothing_that_needs_a_closer_look() {
        for host in ["127.0.0.1", "localhost", "broker_1.example-site.org", "a"] {
            assert_eq!(plain_host(host.as_bytes()), Some(host));
        }
        let long = "x".repeat(256);
        for text in ["", "::1", "[::1]", "host:1883", "mqtt://host", "a b", "a\0", "b\u{fc}cher", &long] {
            assert_eq!(plain_host(text.as_bytes()), None, "{text}");
        }
    }
}
