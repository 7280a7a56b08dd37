//! What a client is told: where to connect, as whom, and what to do when that fails.
//!
//! Each face (`lua::nodemcu`, `lua::mgos`) fills these in; nothing here knows a Lua name.

use std::fmt;
use std::time::{Duration, SystemTime};

use super::clock::Clock;
use crate::codec::{self, Qos, Version};
use crate::net::Transport;
use crate::session::{Keep, Limits};

/// What a client is made with, beside its session's [`Config`](crate::session::Config).
#[derive(Clone, Debug, Default)]
pub struct ClientOptions {
    /// Its now and sleep.
    pub clock: Clock,
    /// What [`Sink::ready`](super::Sink::ready) is to be told with.
    pub key: u32,
    /// Nobody hears of the ends of QoS 0 messages without a token until [`Client::hear_writes`](super::Client::hear_writes).
    /// [`Sink::ready`](super::Sink::ready) is then not called for those alone that a caller's own call has sent.
    pub ignores_writes: bool,
}

/// Everything about one [`connect`](super::Client::connect) and the reconnects that follow from it.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where to connect: the first is tried first, the others take over as [`Policy`] says. At least one.
    pub profiles: Vec<Profile>,
    /// What to do after a loss; none: nothing.
    pub reconnect: Option<Policy>,
    /// One limit for resolving, dialling and the wait for CONNACK together.
    pub connect_timeout: Duration,
    /// Push [`Event::CredentialsWanted`](crate::session::Event::CredentialsWanted) before each dial and wait for
    /// [`provide_credentials`](super::Client::provide_credentials); what it gives replaces the profile's.
    pub ask_credentials: bool,
    /// With [`reconnect`](Options::reconnect): a first attempt that fails is followed by others, like a loss.
    pub retry_first: bool,
    /// Tell of each attempt: [`Event::Attempt`](crate::session::Event::Attempt) and
    /// [`Event::AttemptFailed`](crate::session::Event::AttemptFailed).
    pub report_attempts: bool,
}

impl Options {
    /// The limit of an attempt when nothing else is asked for.
    pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

    /// One attempt with one server, no reconnects.
    pub fn new(profile: Profile) -> Options {
        Options {
            profiles: vec![profile],
            reconnect: None,
            connect_timeout: Options::CONNECT_TIMEOUT,
            ask_credentials: false,
            retry_first: false,
            report_attempts: false,
        }
    }
}

/// A server, and how to introduce oneself there.
#[derive(Clone, Debug)]
pub struct Profile {
    /// Where.
    pub server: Server,
    /// What lies between TCP and MQTT there.
    pub transport: Transport,
    /// As whom.
    pub connect: ConnectOptions,
    /// The waits between attempts here, where they are not those of [`Options::reconnect`].
    pub reconnect: Option<Policy>,
    /// Other bounds of the session as long as this profile is tried or connected; none: they stay as they are.
    pub limits: Option<Limits>,
    /// Profiles with the same number mean the same session of a broker; see
    /// [`Session::set_broker`](crate::session::Session::set_broker).
    pub broker: u32,
    /// No attempt before the wall clock shows this.
    pub not_before: Option<SystemTime>,
}

impl Profile {
    /// A server and how to introduce oneself, over plain TCP; nothing special about it.
    pub fn new(server: Server, connect: ConnectOptions) -> Profile {
        Profile {
            server,
            transport: Transport::default(),
            connect,
            reconnect: None,
            limits: None,
            broker: 0,
            not_before: None,
        }
    }
}

/// The address of a broker.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Server {
    /// A name, an IPv4 or an IPv6 address (without brackets).
    pub host: String,
    /// The port, not 0.
    pub port: u16,
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// The contents of CONNECT. The caller has checked them: lengths, UTF-8, no NUL, an empty id only with a clean
/// session.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ConnectOptions {
    /// Which protocol name and level.
    pub version: Version,
    /// Client id.
    pub client_id: String,
    /// Seconds; 0: off.
    pub keep_alive: u16,
    /// Clean session. Also decides, without [`Options::reconnect`], whether what is unacknowledged survives a loss.
    pub clean_session: bool,
    /// Last will; [`Client::set_will`](super::Client::set_will) replaces it later.
    pub will: Option<Will>,
    /// User name.
    pub username: Option<String>,
    /// Password; only sent with a user name.
    pub password: Option<Vec<u8>>,
}

impl ConnectOptions {
    /// What becomes of unacknowledged messages when nothing reconnects by itself.
    pub(super) fn keep(&self) -> Keep {
        if self.clean_session { Keep::Nothing } else { Keep::Session }
    }

    /// The packet, with another will and other credentials where they have been replaced.
    pub(super) fn packet<'a>(
        &'a self,
        will: Option<&'a Will>,
        credentials: Option<&'a Credentials>,
    ) -> codec::Connect<'a> {
        let (username, password) = match credentials {
            Some(given) => (given.username.as_deref(), given.password.as_deref()),
            None => (self.username.as_deref(), self.password.as_deref()),
        };
        codec::Connect {
            version: self.version,
            clean_session: self.clean_session,
            keep_alive: self.keep_alive,
            client_id: &self.client_id,
            will: will.map(|will| codec::Will {
                topic: &will.topic,
                message: &will.message,
                qos: will.qos,
                retain: will.retain,
            }),
            username,
            password,
        }
    }
}

impl fmt::Debug for ConnectOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.packet(self.will.as_ref(), None).fmt(f)
    }
}

/// A last will.
#[derive(Clone, PartialEq, Eq)]
pub struct Will {
    /// Where the broker publishes it: a topic name.
    pub topic: String,
    /// Any bytes.
    pub message: Vec<u8>,
    /// Its quality of service.
    pub qos: Qos,
    /// Whether it is retained.
    pub retain: bool,
}

impl fmt::Debug for Will {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Will({:?}, {} B, {:?}, retain {})", self.topic, self.message.len(), self.qos, self.retain)
    }
}

/// User name and password of one dial.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    /// User name; none: neither is sent.
    pub username: Option<String>,
    /// Password.
    pub password: Option<Vec<u8>>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(<redacted>)")
    }
}

/// How to reconnect: for ever, with growing waits.
///
/// The waits go `min`, `min * factor`, … `max`, each changed by up to `jitter` either way, and start over at `min`
/// after progress. When the attempt after a wait of `max` fails and there are several profiles, the next one takes
/// over, its waits starting at `min`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Policy {
    /// The first wait.
    pub min: Duration,
    /// The longest wait (before jitter).
    pub max: Duration,
    /// What each wait is multiplied by for the next; at least 1.
    pub factor: f64,
    /// The largest share of a wait that is added or taken away at random; 0 to 1.
    pub jitter: f64,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy { min: Duration::from_millis(250), max: Duration::from_secs(60), factor: 2.0, jitter: 0.1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_holds_no_secret() {
        let connect = ConnectOptions {
            client_id: "id".into(),
            username: Some("user".into()),
            password: Some(b"hunter2".to_vec()),
            will: Some(Will {
                topic: "w".into(),
                message: b"hunter2".to_vec(),
                qos: Qos::AtMostOnce,
                retain: false,
            }),
            ..ConnectOptions::default()
        };
        let server = Server { host: "::1".into(), port: 1883 };
        let text = format!("{:?}", Options::new(Profile::new(server, connect)));
        assert!(!text.contains("hunter2"), "{text}");
        let credentials = Credentials { username: None, password: Some(b"hunter2".to_vec()) };
        assert!(!format!("{credentials:?}").contains("hunter2"));
    }

    #[test]
    fn an_ipv6_address_is_shown_in_brackets() {
        assert_eq!(Server { host: "::1".into(), port: 1 }.to_string(), "[::1]:1");
        assert_eq!(Server { host: "localhost".into(), port: 2 }.to_string(), "localhost:2");
    }
}
