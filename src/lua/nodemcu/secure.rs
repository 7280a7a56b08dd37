//! The `secure` argument of `client:connect`: a flag, or a table about TLS, pre-shared keys and WebSocket.

use mlua::{IntoLua, Lua, MultiValue, Value};

use crate::lua::args::{Arg, Args, Raise};
use crate::net::pem::Pem;
use crate::net::psk::Psk;
use crate::net::tls::Tls;
use crate::net::uri::Scheme;
use crate::net::ws::WebSocket;
use crate::net::{Security, Transport};

/// The keys of the table.
const KEYS: [&str; 10] = [
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

/// Those among them that speak of certificates: a pre-shared key does without.
const WITHOUT_PSK: [&str; 7] =
    ["ca_cert", "client_cert", "client_key", "server_name", "alpn", "cipher_suites", "verify"];

/// What the argument asks for, each value of its type. Whether they go together is for [`Secure::transport`] to say.
#[derive(Default)]
pub(super) struct Secure {
    tls: Tls,
    /// Identity, and key in hexadecimal.
    psk: Option<(Vec<u8>, Vec<u8>)>,
    headers: Vec<(String, String)>,
}

impl Secure {
    /// Reads the argument.
    pub(super) fn read(arg: &Arg<'_>, scheme: Scheme) -> Result<Secure, Raise> {
        if !arg.value.is_table() {
            return arg.flag().map(|_| Secure::default());
        }
        let known: &[&str] = if scheme.is_secure() { &KEYS } else { &["headers"] };
        let table = arg.record(known)?;
        let field = |key| table.field(key);
        let bytes = |key| -> Result<Option<Vec<u8>>, Raise> {
            field(key).map(|it| Ok(it.bytes()?.as_bytes().to_vec())).transpose()
        };
        let pem = |key| Ok::<_, Raise>(bytes(key)?.map(|given| Pem::new(&given)));
        let mut secure = Secure {
            tls: Tls {
                ca_cert: pem("ca_cert")?,
                client_cert: pem("client_cert")?,
                client_key: pem("client_key")?,
                server_name: field("server_name").map(|it| it.text()).transpose()?,
                ..Tls::default()
            },
            ..Secure::default()
        };
        if let Some(alpn) = field("alpn") {
            secure.tls.alpn = alpn.strings()?.into_iter().map(String::into_bytes).collect();
        }
        if let Some(suites) = field("cipher_suites") {
            secure.tls.cipher_suites = match &*suites.value {
                Value::String(_) => suites.text()?.split(':').map(str::to_owned).collect(),
                _ => suites.strings()?,
            };
            if secure.tls.cipher_suites.is_empty() {
                return Err(suites.reject("at least one name expected, got none"));
            }
        }
        if let Some(verify) = field("verify") {
            secure.tls.verify = verify.flag()?;
        }
        if let Some(headers) = field("headers") {
            secure.headers = pairs(&headers)?;
        }
        for (one, other) in [("client_cert", "client_key"), ("psk_identity", "psk_key")] {
            let (first, second) = (field(one), field(other));
            if first.is_some() != second.is_some() {
                let (given, missing) = if first.is_some() { (one, other) } else { (other, one) };
                return Err(arg.reject(format_args!("'{missing}' expected beside '{given}', got none")));
            }
        }
        if let (Some(identity), Some(key)) = (bytes("psk_identity")?, bytes("psk_key")?) {
            for key in WITHOUT_PSK {
                if let Some(field) = field(key) {
                    return Err(field.fail("nothing beside psk_identity"));
                }
            }
            secure.psk = Some((identity, key));
        }
        Ok(secure)
    }

    /// The server's certificate has to bear this name, unless the script has named another.
    pub(super) fn expect_name(&mut self, host: String) {
        self.tls.server_name.get_or_insert(host);
    }

    /// What is to be put on top of TCP; it can be tried. Files are read, and only if they will be needed.
    ///
    /// # Errors
    /// The key that is wrong, a colon, and why.
    pub(super) fn transport(self, scheme: Scheme, path: String) -> Result<Transport, String> {
        let security = match self.psk {
            _ if !scheme.is_secure() => Security::None,
            Some((identity, key)) => Security::Psk(Psk::new(&identity, &key)?),
            None => Security::Tls(self.tls),
        };
        let websocket = scheme.is_websocket().then_some(WebSocket { path, headers: self.headers });
        let transport = Transport { security, websocket };
        transport.check()?;
        Ok(transport)
    }
}

/// An error of [`Secure::transport`] as an error of the argument that it is about.
pub(super) fn blame(secure: Option<&Arg<'_>>, host: &Arg<'_>, why: &str) -> Raise {
    match (secure, why.split_once(": ")) {
        (Some(secure), Some((key, why))) if KEYS.contains(&key) => {
            secure.inside(Some(key), Value::Nil).reject(why)
        }
        (Some(secure), _) => secure.reject(why),
        (None, _) => host.reject(why),
    }
}

/// Names and values of headers, in the order of the names: that of a Lua table is none.
fn pairs(arg: &Arg<'_>) -> Result<Vec<(String, String)>, Raise> {
    let table = arg.table()?;
    let text = |value| arg.inside(Some("headers"), value).text();
    let mut headers = Vec::new();
    for pair in table.pairs::<Value, Value>() {
        let (name, value) = pair?;
        headers.push((text(name)?, text(value)?));
    }
    headers.sort();
    Ok(headers)
}

/// The entry for fuzzing: a scheme, then keys with values of any kind. The table is taken or an error says why not, and
/// neither that nor `Debug` shows a key.
#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    thread_local!(static LUA: Lua = Lua::new());
    LUA.with(|lua| fuzz_with(lua, data).expect("there is memory"));
}

fn fuzz_with(lua: &Lua, mut data: &[u8]) -> mlua::Result<()> {
    const SECRET: &[u8] = b"hunter2";
    let known = data.windows(SECRET.len()).any(|window| window == SECRET);
    let mut take = |n: usize| data.split_off(..n.min(data.len())).expect("no more than there is");
    let scheme = match take(1) {
        [0] => Scheme::Mqtt,
        [1] => Scheme::Ws,
        [2] => Scheme::Wss,
        _ => Scheme::Mqtts,
    };
    let table = lua.create_table()?;
    while let [key, kind, length] = *take(3) {
        let text = lua.create_string(take(length.into()))?;
        let value = match kind % 8 {
            0 => Value::Boolean(length % 2 == 0),
            1 => Value::Number(f64::from(length) / 2.0),
            2 => lua.create_sequence_from([&text, &text])?.into_lua(lua)?,
            3 => lua.create_table_from([(&text, &text)])?.into_lua(lua)?,
            _ => Value::String(text),
        };
        match KEYS.get(usize::from(key) % 16) {
            Some(&key) => table.raw_set(key, value)?,
            None => table.raw_set(key, value)?,
        }
    }
    for key in ["client_key", "psk_key"] {
        if let Value::String(text) = table.raw_get(key)? {
            table.raw_set(key, lua.create_string([SECRET, &text.as_bytes()].concat())?)?;
        }
    }
    let args = Args::new(lua, "connect", MultiValue::from_iter([Value::Table(table)]));
    let arg = args.at(1);
    let message = match Secure::read(&arg, scheme) {
        Err(raise) => raise.0,
        Ok(secure) => match secure.transport(scheme, "/mqtt".to_owned()) {
            Ok(transport) => format!("{transport:?}"),
            Err(why) => blame(Some(&arg), &arg, &why).0,
        },
    };
    let shown = message.as_bytes().windows(SECRET.len()).any(|window| window == SECRET);
    assert!(!message.is_empty() && (known || !shown), "{message}");
    Ok(())
}
