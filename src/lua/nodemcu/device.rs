//! From a client's events to its callbacks, by NodeMCU's rules.

use std::cell::Cell;
use std::ptr;

use crate::client::{Credentials, Will};
use crate::codec::Version;
use crate::lua::event_loop::{Call, Calls, Cursor, How, Marks, With};
use crate::lua::peer::{Face, Peer, slot};
use crate::session::{Event, Granted, Token};

/// What `mqtt.Client` was told, and what has become of it since.
pub(super) struct Device {
    pub(super) settings: Settings,
    /// For the next CONNECT.
    pub(super) will: Cell<Option<Box<Will>>>,
    /// The script has been told that it is connected, and not yet that it no longer is. `offline` runs only then.
    pub(super) announced: Cell<bool>,
    /// The steps of the loop before the last `connect`.
    pub(super) connected_at: Cell<u64>,
    /// The first callback of `connect` serves all connections, while there is no `on("connect")`.
    pub(super) ok_stays: bool,
    /// A connection was accepted since that callback was given.
    pub(super) accepted: Cell<bool>,
    /// The suback slot was set by `on`, so it runs for refusals too.
    pub(super) suback_by_on: Cell<bool>,
}

/// The arguments of `mqtt.Client` that every CONNECT needs.
pub(super) struct Settings {
    pub(super) client_id: Box<str>,
    pub(super) keep_alive: u16,
    /// Where the script gave values and not functions.
    pub(super) credentials: Option<Box<Credentials>>,
    pub(super) clean_session: bool,
    pub(super) version: Version,
    /// In milliseconds.
    pub(super) connect_timeout: u32,
}

impl Settings {
    /// User name and password.
    pub(super) fn credentials(&self) -> Credentials {
        self.credentials.as_deref().cloned().unwrap_or_default()
    }
}

impl Device {
    /// A copy of the will.
    pub(super) fn will(&self) -> Option<Will> {
        let will = self.will.take();
        let copy = will.as_deref().cloned();
        self.will.set(will);
        copy
    }
}

impl Face for Device {
    #[inline]
    fn calls(&self, peer: &Peer, event: &Event<'_>, cursor: &Cursor) -> Calls {
        let call = |slot, with| peer.has(slot).then_some(Call { key: peer.key, slot, how: How::Keep, with });
        // These calls come first, those that only forget before the one that runs: no script runs between the time when
        // a slot is said to be empty and the time when it is.
        let take = |slot, how, with| {
            let call = call(slot, with)?;
            peer.fill(slot, false);
            Some(Call { how, ..call })
        };
        match *event {
            Event::Message { topic, payload, qos, retain, dup, .. } => {
                let (topic, payload) = (ptr::from_ref(topic), ptr::from_ref(payload));
                let marks = Some(Marks { qos: qos as u8, retain, dup, id: None });
                let with = With::Message { topic, payload, marks };
                Calls::one(call(slot::MESSAGE, with))
            }
            Event::Overflow { topic, payload } => {
                let (topic, payload) = (ptr::from_ref(topic), ptr::from_ref(payload));
                Calls::one(call(slot::OVERFLOW, With::Message { topic, payload, marks: None }))
            }
            Event::Published { id, token } => {
                let with = With::Id(id.map(|id| id.get()));
                Calls(own(peer, token, with), call(slot::PUBACK, with))
            }
            Event::Subscribed { token, granted, .. } => self.subscribed(peer, token, granted, cursor),
            Event::Unsubscribed { token, .. } => {
                Calls(own(peer, token, With::Nothing), call(slot::UNSUBACK, With::Nothing))
            }
            Event::Dropped { token } => {
                Calls::one(own(peer, token, With::Nothing).map(|call| Call { how: How::Forget, ..call }))
            }
            Event::Connected { session_present } => {
                self.announced.set(true);
                let with = With::Present(session_present);
                let stays = self.ok_stays && !peer.has(slot::CONNECT);
                let is_first = !self.accepted.replace(true);
                let how = if is_first { How::Once } else { How::Forget };
                let ok = if stays { call(slot::OK, with) } else { take(slot::OK, how, with) };
                let nok = take(slot::NOK, How::Forget, With::Nothing);
                if let Some(call) = call(slot::CONNECT, with) {
                    cursor.add(call);
                }
                Calls(nok, ok)
            }
            Event::ConnectFailed { reason, detail } => {
                let with = With::Reason(reason, ptr::from_ref(detail.as_bytes()));
                let nok = take(slot::NOK, How::Once, with);
                let ok = if self.ok_stays { None } else { take(slot::OK, How::Forget, With::Nothing) };
                if let Some(call) = call(slot::CONNFAIL, with) {
                    cursor.add(call);
                }
                Calls(ok, nok)
            }
            Event::Offline if self.announced.replace(false) => Calls::one(call(slot::OFFLINE, With::Nothing)),
            Event::Offline
            | Event::CredentialsWanted
            | Event::Drained
            | Event::Attempt { .. }
            | Event::AttemptFailed { .. }
            | Event::ConnectWanted { .. }
            | Event::Tick => Calls::NONE,
        }
    }
}

impl Device {
    fn subscribed(&self, peer: &Peer, token: Token, granted: Granted<'_>, cursor: &Cursor) -> Calls {
        let refused: Vec<&str> = granted.filter(|(_, qos)| qos.is_none()).map(|(filter, _)| filter).collect();
        let own = own(peer, token, With::Granted);
        let runs = peer.has(slot::SUBACK) && (self.suback_by_on.get() || refused.is_empty());
        if !refused.is_empty() && own.is_none() && !runs {
            tracing::warn!(
                target: "mqtt",
                "client {:?}: the broker refused to subscribe {}",
                self.settings.client_id,
                refused.join(", ")
            );
        }
        let all =
            runs.then_some(Call { key: peer.key, slot: slot::SUBACK, how: How::Keep, with: With::Granted });
        if own.is_some() || all.is_some() {
            cursor.set_granted(
                granted.map(|(filter, qos)| (filter.as_bytes().into(), qos.map(|qos| qos as u8))).collect(),
            );
        }
        Calls(own, all)
    }
}

/// The callback that was given with the call of a token.
fn own(peer: &Peer, token: Token, with: With) -> Option<Call> {
    token.is_some().then(|| Call { key: peer.key, slot: slot::of(token), how: How::Once, with })
}
