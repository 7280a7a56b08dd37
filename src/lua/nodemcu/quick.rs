//! `mqtt.Client`, `on`, `connect` and `close` for what they are almost always called with, on arguments that `hot` has
//! looked at: none of this knows Lua. Where one of these functions returns none nothing has been done, and the ordinary
//! one, in `mqtt.rs` and `client.rs`, is called instead: it knows everything that an argument can be, and all errors.

use std::any::Any;
use std::rc::Rc;

use super::device::Device;
use super::settings::{self, KEYS, Made, key};
use super::{client, connect};
use crate::client::{Policy, Server};
use crate::lua::State;
use crate::lua::peer::{Peer, slot};
use crate::lua::plain::Plain;
use crate::lua::target;
use crate::net::Transport;
use crate::net::uri::Scheme;

/// `mqtt.Client`, of what stands under [`KEYS`], for the userdata of this key that lies at this address.
pub(crate) fn client(
    state: &State,
    key: u32,
    address: usize,
    values: &[Plain<'_>; KEYS.len()],
) -> Option<()> {
    // those have to be stored
    if [key::USERNAME, key::PASSWORD].iter().any(|key| values[*key] == Plain::Function) {
        return None;
    }
    let find = |key: usize| Some(values[key]).filter(|value| *value != Plain::Nil);
    let Made { config, device, each } = settings::read(state, find).ok()?;
    target::enlist(state, key, address, config, Rc::new(device), each);
    Some(())
}

/// What becomes of a callback's place.
#[derive(Clone, Copy)]
pub(crate) enum Store {
    /// It stays as it is.
    Nothing,
    /// It is emptied.
    Nil,
    /// The argument of this number gets into it.
    Argument(i32),
}

/// What is to be done in Lua.
#[derive(Clone, Copy)]
pub(crate) struct Changes {
    /// The callbacks of `connect`.
    pub(crate) ok: Store,
    pub(crate) nok: Store,
    /// The client of this key gets its anchor, or loses it.
    pub(crate) moves: Option<u32>,
}

/// `client:on(event, function)`: the slot that the function is to be put into.
pub(crate) fn on(peer: &Peer, event: &[u8]) -> Option<i32> {
    let slot = client::event_slot(event)?;
    client::was_set(device(peer)?, slot);
    peer.fill(slot, true);
    Some(slot)
}

/// What `connect` is asked for.
#[derive(Clone, Copy)]
pub(crate) struct Request<'a> {
    host: &'a str,
    port: u16,
    reconnects: bool,
    /// The callbacks, by the numbers of the arguments.
    ok: Option<usize>,
    nok: Option<usize>,
}

/// How many arguments `connect` has at most.
pub(crate) const MOST: usize = connect::LAST;

/// Reads the arguments of `connect`: a name or an IPv4 address, and flags and functions after it.
pub(crate) fn request<'a>(state: &State, values: &[Plain<'a>; MOST]) -> Option<Request<'a>> {
    // where connects may be led elsewhere, TLS may be put on
    if state.as_esp8266 || !state.map().is_empty() {
        return None;
    }
    let host = connect::plain_host(values[0].bytes()?)?;
    let at = |n: usize| values[n - 1];
    let places = connect::places(connect::LAST, |n| at(n) == Plain::Function);
    if !(places.first..=connect::LAST).all(|n| matches!(at(n), Plain::Function | Plain::Nil)) {
        return None;
    }
    let given = |n| Some(at(n)).filter(|value| n < places.first && *value != Plain::Nil);
    let flag = |n| given(n).map_or(Some(false), Plain::flag);
    let port = match given(connect::PORT) {
        Some(port) => port.integer(1..=65535)? as u16,
        None => Scheme::Mqtt.default_port(),
    };
    if flag(connect::SECURITY)? {
        return None;
    }
    let reconnects = flag(connect::AUTORECONNECT)?;
    Some(Request { host, port, reconnects, ok: places.ok, nok: places.nok })
}

/// The first part of `connect`: what was before is forgotten.
pub(crate) fn begin(state: &State, peer: &Peer, request: &Request<'_>) -> Option<Changes> {
    let device = device(peer)?;
    client::begin(state, peer, device);
    device.accepted.set(false);
    let place = |slot, argument: Option<usize>| match argument {
        Some(n) => {
            peer.fill(slot, true);
            Store::Argument(n as i32)
        }
        None => empty(peer, slot),
    };
    let (ok, nok) = (place(slot::OK, request.ok), place(slot::NOK, request.nok));
    Some(Changes { ok, nok, moves: (!peer.anchored.get()).then_some(peer.key) })
}

/// The second part of `connect`, when the first part's changes have been made.
pub(crate) fn connect(state: &State, peer: &Rc<Peer>, request: &Request<'_>) -> Option<()> {
    let server = Server { host: request.host.to_owned(), port: request.port };
    let reconnect = request.reconnects.then(Policy::default);
    let options = client::options(peer, device(peer)?, server, Transport::default(), reconnect, None);
    target::connect(state, peer, options);
    Some(())
}

/// `client:close()`.
pub(crate) fn close(state: &State, peer: &Rc<Peer>) -> Option<Changes> {
    // then it may leave a connect alone, or has more callbacks to forget
    if state.as_esp8266 || peer.has_tokens() {
        return None;
    }
    device(peer)?;
    client::leave(state, peer, |_| ());
    let (ok, nok) = (empty(peer, slot::OK), empty(peer, slot::NOK));
    Some(Changes { ok, nok, moves: target::let_go(state, peer).then_some(peer.key) })
}

fn empty(peer: &Peer, slot: i32) -> Store {
    if !peer.has(slot) {
        return Store::Nothing;
    }
    peer.fill(slot, false);
    Store::Nil
}

fn device(peer: &Peer) -> Option<&Device> {
    let face: &dyn Any = &*peer.face;
    face.downcast_ref()
}
