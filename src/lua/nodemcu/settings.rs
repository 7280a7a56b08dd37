//! The arguments of `mqtt.Client`, whichever way they have been looked at.

use std::cell::Cell;
use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::device::{Device, Settings};
use crate::client::{Credentials, Options};
use crate::codec::{MAX_PACKET, Version, topic};
use crate::lua::State;
use crate::lua::args::{Arg, Raise};
use crate::lua::plain::Plain;
use crate::session::{Config, Limits, Resubscribe};

/// The keys of `mqtt.Client{…}`: the positional arguments in their order, then what the manuals don't have.
pub(crate) const KEYS: [&str; 12] = [
    "clientid",
    "keepalive",
    "username",
    "password",
    "cleansession",
    "max_message_length",
    "protocol",
    "callbacks",
    "max_queue",
    "inflight",
    "resubscribe",
    "connect_timeout",
];

/// How many of them are arguments too.
pub(crate) const POSITIONS: usize = 6;

/// The places of the keys.
pub(super) mod key {
    pub(super) const CLIENTID: usize = 0;
    pub(super) const KEEPALIVE: usize = 1;
    pub(in super::super) const USERNAME: usize = 2;
    pub(in super::super) const PASSWORD: usize = 3;
    pub(super) const CLEANSESSION: usize = 4;
    pub(super) const MAX_MESSAGE_LENGTH: usize = 5;
    pub(super) const PROTOCOL: usize = 6;
    pub(super) const CALLBACKS: usize = 7;
    pub(super) const MAX_QUEUE: usize = 8;
    pub(super) const INFLIGHT: usize = 9;
    pub(super) const RESUBSCRIBE: usize = 10;
    pub(super) const CONNECT_TIMEOUT: usize = 11;
}

/// What a client is made of.
pub(crate) struct Made {
    pub(super) config: Config,
    pub(super) device: Device,
    /// See [`Peer::each`](crate::lua::peer::Peer::each).
    pub(super) each: bool,
}

/// Reads the arguments; `find` gives that of a key, none for nil. Functions in the place of credentials are left to the
/// caller.
pub(super) fn read<G: Given>(state: &State, find: impl Fn(usize) -> Option<G>) -> Result<Made, G::Wrong> {
    let flag = |key, default| find(key).map_or(Ok(default), |arg| arg.flag());

    let clean_session = flag(key::CLEANSESSION, true)?;
    let version = match find(key::PROTOCOL) {
        Some(arg) if arg.is_second_of(["3.1.1", "3.1"])? => Version::V31,
        _ => Version::V311,
    };
    let client_id = match find(key::CLIENTID) {
        None => state.default_id("NodeMCU"),
        Some(arg) => client_id(&arg, clean_session, version)?,
    };
    let keep_alive = find(key::KEEPALIVE).map_or(Ok(60), |arg| arg.integer(0..=65535))? as u16;
    let plain = |arg: &G| !arg.is_function();
    let username = find(key::USERNAME);
    let password = match find(key::PASSWORD) {
        Some(arg) if username.is_none() => {
            return Err(arg.reject("nothing expected without a user name, got a password [MQTT-3.1.2-22]"));
        }
        password => password.filter(plain).map(|arg| arg.short_bytes()),
    };
    let username = username.filter(plain).map(|arg| arg.text()).transpose()?;
    let password = password.transpose()?;
    let max_packet = find(key::MAX_MESSAGE_LENGTH)
        .map(|arg| arg.integer(1..=MAX_PACKET as i64).map(|bytes| bytes as u32))
        .transpose()?;
    let each = find(key::CALLBACKS).map_or(Ok(false), |arg| arg.is_second_of(["last", "each"]))?;
    let limits = Limits::default();
    let max_queue = match find(key::MAX_QUEUE) {
        None => limits.max_queue,
        Some(arg) => arg.integer(1..=1 << 40)? as usize,
    };
    let inflight = match find(key::INFLIGHT) {
        None => limits.inflight,
        Some(arg) => arg.integer(1..=65535)? as u16,
    };
    let resubscribe = flag(key::RESUBSCRIBE, false)?;
    let connect_timeout = match find(key::CONNECT_TIMEOUT) {
        None => Options::CONNECT_TIMEOUT,
        Some(arg) => arg.seconds(0.001, Duration::from_secs(86_400).as_secs_f64())?,
    };

    let resubscribe = if resubscribe { Resubscribe::NewSession } else { Resubscribe::Never };
    let limits = Limits { max_queue, inflight, max_packet, ..limits };
    let device = Device {
        settings: Settings {
            client_id: client_id.into(),
            keep_alive,
            credentials: username
                .map(|username| Box::new(Credentials { username: Some(username), password })),
            clean_session,
            version,
            connect_timeout: connect_timeout.as_millis() as u32, // a day at most
        },
        will: Cell::default(),
        announced: Cell::new(false),
        connected_at: Cell::new(u64::MAX),
        ok_stays: state.as_esp8266,
        accepted: Cell::new(false),
        suback_by_on: Cell::new(true),
    };
    Ok(Made { config: Config { limits, resubscribe, ..Config::default() }, device, each })
}

/// A client id that the broker can take.
fn client_id<G: Given>(arg: &G, clean_session: bool, version: Version) -> Result<String, G::Wrong> {
    let id = arg.text()?;
    if version == Version::V31 && !(1..=23).contains(&id.chars().count()) {
        let got = id.chars().count();
        return Err(arg.reject(format_args!("1 to 23 characters expected with protocol 3.1, got {got}")));
    }
    if id.is_empty() && !clean_session {
        return Err(arg.reject("a client id expected with cleansession 0, got \"\" [MQTT-3.1.3-8]"));
    }
    Ok(id)
}

/// What an argument can be read as.
pub(super) trait Given {
    /// It cannot be read as that.
    type Wrong;

    fn is_function(&self) -> bool;
    fn flag(&self) -> Result<bool, Self::Wrong>;
    fn integer(&self, range: RangeInclusive<i64>) -> Result<i64, Self::Wrong>;
    fn seconds(&self, min: f64, max: f64) -> Result<Duration, Self::Wrong>;
    fn text(&self) -> Result<String, Self::Wrong>;
    fn short_bytes(&self) -> Result<Vec<u8>, Self::Wrong>;
    /// Whether it is the second of two words, if not the first.
    fn is_second_of(&self, words: [&str; 2]) -> Result<bool, Self::Wrong>;
    fn reject(&self, text: impl fmt::Display) -> Self::Wrong;
}

/// With all that serves for something else, and all messages.
impl Given for Arg<'_> {
    type Wrong = Raise;

    fn is_function(&self) -> bool {
        self.is_function()
    }

    fn flag(&self) -> Result<bool, Raise> {
        self.flag()
    }

    fn integer(&self, range: RangeInclusive<i64>) -> Result<i64, Raise> {
        self.integer(range)
    }

    fn seconds(&self, min: f64, max: f64) -> Result<Duration, Raise> {
        self.seconds(min, max)
    }

    fn text(&self) -> Result<String, Raise> {
        self.text()
    }

    fn short_bytes(&self) -> Result<Vec<u8>, Raise> {
        self.short_bytes()
    }

    fn is_second_of(&self, [first, second]: [&str; 2]) -> Result<bool, Raise> {
        let word = self.bytes()?;
        match &*word.as_bytes() {
            word if word == first.as_bytes() => Ok(false),
            word if word == second.as_bytes() => Ok(true),
            _ => Err(self.reject(format_args!("{first:?} or {second:?} expected, got another string"))),
        }
    }

    fn reject(&self, text: impl fmt::Display) -> Raise {
        self.reject(text)
    }
}

/// The long way has to be gone.
pub(super) struct Uncommon;

impl Given for Plain<'_> {
    type Wrong = Uncommon;

    fn is_function(&self) -> bool {
        *self == Plain::Function
    }

    fn flag(&self) -> Result<bool, Uncommon> {
        Plain::flag(*self).ok_or(Uncommon)
    }

    fn integer(&self, range: RangeInclusive<i64>) -> Result<i64, Uncommon> {
        Plain::integer(*self, range).ok_or(Uncommon)
    }

    fn seconds(&self, min: f64, max: f64) -> Result<Duration, Uncommon> {
        match *self {
            Plain::Number(number) if (min..=max).contains(&number) => Ok(Duration::from_secs_f64(number)),
            _ => Err(Uncommon),
        }
    }

    fn text(&self) -> Result<String, Uncommon> {
        let text = self.short_bytes().map(String::from_utf8)?.map_err(|_| Uncommon)?;
        if text.contains('\0') { Err(Uncommon) } else { Ok(text) }
    }

    fn short_bytes(&self) -> Result<Vec<u8>, Uncommon> {
        let bytes = self.bytes().filter(|bytes| bytes.len() <= topic::MAX_TOPIC).ok_or(Uncommon)?;
        Ok(bytes.to_vec())
    }

    fn is_second_of(&self, [first, second]: [&str; 2]) -> Result<bool, Uncommon> {
        let is_second = *self == Plain::String(second.as_bytes());
        if is_second || *self == Plain::String(first.as_bytes()) { Ok(is_second) } else { Err(Uncommon) }
    }

    fn reject(&self, _: impl fmt::Display) -> Uncommon {
        Uncommon
    }
}
