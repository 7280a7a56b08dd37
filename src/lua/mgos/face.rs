//! From a client's events to the handlers of a connection, by Mongoose's rules.

use std::cell::{Cell, RefCell};
use std::ptr;

use super::config::Config;
use super::handlers::{CONNECT, Cloud, Handlers, Kind, Row};
use super::plan::Brokers;
use super::section::Section;
use crate::codec::suback_code;
use crate::lua::event_loop::{Call, Calls, Cursor, How, Marks, With};
use crate::lua::peer::{Face, Peer};
use crate::session::{Event, Granted};

/// A connection, seen from its script.
pub(super) struct Connection {
    /// None until it is configured.
    pub(super) config: RefCell<Option<Config>>,
    /// Serves where the configuration has no device id.
    pub(super) default_id: String,
    pub(super) handlers: RefCell<Handlers>,
    pub(super) brokers: RefCell<Brokers>,
    /// Which section is tried or connected: 0 or 1.
    pub(super) section: Cell<u16>,
    /// The section whose CONNECT is due.
    pub(super) introducing: Cell<Option<u16>>,
    /// The handlers have been told of a connection, and not yet of its end.
    announced: Cell<bool>,
    /// The handler that `MQTT.setEventHandler` has set.
    pub(super) set_handler: Cell<Option<Row>>,
    /// Lines published of what the script prints.
    pub(super) lines: Cell<u64>,
}

impl Connection {
    pub(super) fn new(default_id: String) -> Connection {
        Connection {
            config: RefCell::default(),
            default_id,
            handlers: RefCell::default(),
            brokers: RefCell::default(),
            section: Cell::new(0),
            introducing: Cell::new(None),
            announced: Cell::new(false),
            set_handler: Cell::new(None),
            lines: Cell::new(0),
        }
    }

    /// What serves as client id where a section has none.
    pub(super) fn device_id(&self) -> String {
        let config = self.config.borrow();
        let given = config.as_ref().map(|config| &config.device_id).filter(|id| !id.is_empty());
        given.unwrap_or(&self.default_id).clone()
    }

    /// Looks at a section.
    pub(super) fn with_section<R>(&self, index: u16, f: impl FnOnce(&Section) -> R) -> Option<R> {
        let config = self.config.borrow();
        config.as_ref().map(|config| f(if index == 0 { &config.main } else { &config.backup }))
    }

    /// To the subscribers of a message; to the handlers of everything if there are none.
    fn message(&self, topic: &[u8], with: With, add: &impl Fn(i32, With)) {
        let mut handlers = self.handlers.borrow_mut();
        let topic = std::str::from_utf8(topic).expect("the codec has checked it");
        let subscribers = handlers.matching(topic);
        for subscriber in subscribers {
            add(subscriber.row.of(Kind::Publish), with);
        }
        if subscribers.is_empty() {
            handlers.global().for_each(|row| add(row.of(Kind::Publish), with));
        }
    }

    fn subscribed(&self, id: u16, granted: Granted<'_>, add: &impl Fn(i32, With)) {
        let handlers = self.handlers.borrow();
        for (filter, qos) in granted {
            let marks = Some(Marks { qos: suback_code(qos), retain: false, dup: false, id: Some(id) });
            let topic = ptr::from_ref(filter.as_bytes());
            let with = With::Message { topic, payload: ptr::from_ref(&[]), marks };
            let takers = handlers.of_filter(filter).iter().filter(|it| it.hears_all);
            let mut taken = false;
            for taker in takers {
                add(taker.row.of(Kind::Suback), with);
                taken = true;
            }
            if !taken {
                handlers.global().for_each(|row| add(row.of(Kind::Suback), with));
            }
            if qos.is_none() {
                tracing::warn!(target: "mqtt", "the broker refused to subscribe {filter}");
            }
        }
    }

    /// To the handlers of everything.
    fn tell(&self, kind: Kind, with: With, add: &impl Fn(i32, With)) {
        self.handlers.borrow().global().for_each(|row| add(row.of(kind), with));
    }

    fn tell_cloud(&self, event: Cloud, add: &impl Fn(i32, With)) {
        if self.with_section(self.section.get(), |section| section.cloud_events) == Some(true) {
            self.handlers.borrow().cloud().for_each(|row| add(row.slot(event as usize), With::Nothing));
        }
    }

    fn failed(&self, reason: i8, detail: &str, add: &impl Fn(i32, With)) {
        self.introducing.set(None);
        self.tell_cloud(Cloud::ConnectError, add);
        if reason > 0 {
            self.tell(Kind::Refusal, With::Reason(reason, ptr::from_ref(detail.as_bytes())), add);
        }
    }
}

impl Face for Connection {
    fn calls(&self, peer: &Peer, event: &Event<'_>, cursor: &Cursor) -> Calls {
        let add = |slot, with| cursor.add(Call { key: peer.key, slot, how: How::Keep, with });
        match *event {
            Event::Message { topic, payload, qos, retain, dup, id } => {
                let marks = Some(Marks { qos: qos as u8, retain, dup, id: id.map(|id| id.get()) });
                let with =
                    With::Message { topic: ptr::from_ref(topic), payload: ptr::from_ref(payload), marks };
                self.message(topic, with, &add);
            }
            Event::Overflow { topic, .. } => {
                let topic = String::from_utf8_lossy(topic);
                tracing::warn!(target: "mqtt", "a message to {topic} is larger than recv_mbuf_limit and was dropped");
            }
            Event::Attempt { profile } => {
                self.section.set(profile);
                self.tell_cloud(Cloud::Connecting, &add);
            }
            Event::ConnectWanted { profile } => {
                self.introducing.set(Some(profile));
                add(CONNECT, With::Nothing);
            }
            Event::Connected { session_present } => {
                self.announced.set(true);
                self.tell_cloud(Cloud::Connected, &add);
                self.tell(Kind::Connack, With::Present(session_present), &add);
            }
            Event::AttemptFailed { reason, detail } | Event::ConnectFailed { reason, detail } => {
                self.failed(reason, detail, &add);
            }
            Event::Offline if self.announced.replace(false) => {
                for subscriber in self.handlers.borrow_mut().hearing_all() {
                    add(subscriber.row.of(Kind::Close), With::Nothing);
                }
                self.tell(Kind::Close, With::Nothing, &add);
                self.tell_cloud(Cloud::Disconnected, &add);
            }
            Event::Subscribed { id, granted, .. } => self.subscribed(id.get(), granted, &add),
            Event::Unsubscribed { id, .. } => self.tell(Kind::Unsuback, With::Id(Some(id.get())), &add),
            Event::Published { id: Some(id), .. } => self.tell(Kind::Puback, With::Id(Some(id.get())), &add),
            Event::Tick => self.tell(Kind::Poll, With::Nothing, &add),
            Event::Published { id: None, .. }
            | Event::Offline
            | Event::CredentialsWanted
            | Event::Dropped { .. }
            | Event::Drained => {}
        }
        Calls::NONE
    }
}
