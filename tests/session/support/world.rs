//! A session and the model broker with a link between them that can be slow and can break.
//!
//! ```text
//!   session ──write──► up ──carry_up──► broker ──► down ──carry_down──► session
//! ```
//! What is in `up` was taken by the client's system and has not arrived; a cut loses it, and what is in `down`.

use std::collections::VecDeque;

use mqtt::codec::Connect;
use mqtt::session::{Config, Keep, Refused, Token};

use super::broker::Broker;
use super::monitor::Monitor;
use super::{Driver, Happened, connect, qos};

pub struct World {
    pub client: Driver,
    pub broker: Broker,
    pub monitor: Monitor,
    /// Everything that the client was told.
    pub happened: Vec<Happened>,
    pub online: bool,
    /// What the client sends first on each connection.
    pub connect: Connect<'static>,
    /// Messages have their ids from the start.
    pub named: bool,
    /// What the client's writer has taken and not written.
    lent: Vec<u8>,
    up: VecDeque<u8>,
    down: VecDeque<u8>,
}

impl World {
    pub fn new(config: Config, clean_session: bool) -> World {
        let mut client = Driver::new(config);
        client.session.set_offline_queue(true);
        World {
            client,
            broker: Broker::default(),
            monitor: Monitor::default(),
            happened: Vec::new(),
            online: false,
            connect: connect(clean_session),
            named: false,
            lent: Vec::new(),
            up: VecDeque::new(),
            down: VecDeque::new(),
        }
    }

    pub fn publish(&mut self, level: u8, payload: &str, token: u32) -> Result<(), Refused> {
        let session = &mut self.client.session;
        if self.named {
            session.publish_with_id("t", payload.as_bytes(), qos(level), false, Token(token)).map(|_| ())
        } else {
            session.publish("t", payload.as_bytes(), qos(level), false, Token(token))
        }
    }

    /// The link is up: the client starts with CONNECT.
    pub fn open(&mut self) {
        self.broker.opened();
        self.client.session.connect(&self.connect, None);
        self.online = true;
    }

    /// The link breaks, and both sides get to know.
    pub fn cut(&mut self) {
        self.lent.clear();
        self.up.clear();
        self.down.clear();
        self.broker.closed();
        self.monitor.cut();
        self.client.session.handle_closed(Keep::Session);
        self.online = false;
        self.note();
    }

    /// The client says goodbye: DISCONNECT, behind what is unsent.
    pub fn disconnect(&mut self) {
        self.client.session.disconnect();
        self.monitor.client_leaves();
    }

    /// The client's writer takes what there is.
    pub fn lend(&mut self) {
        if self.lent.is_empty() {
            self.client.session.take_transmit(&mut self.lent);
        }
    }

    /// The client's system takes up to `n` bytes; how many.
    pub fn write(&mut self, n: usize) -> usize {
        let bytes = if self.lent.is_empty() {
            let n = n.min(self.client.session.transmit().len());
            self.client.take(n)
        } else {
            let n = n.min(self.lent.len());
            self.client.session.handle_transmitted(self.client.now, n);
            self.lent.drain(..n).collect()
        };
        self.monitor.client_sent(&bytes);
        self.up.extend(&bytes);
        self.note();
        bytes.len()
    }

    /// Up to `n` bytes arrive at the broker; how many.
    pub fn carry_up(&mut self, n: usize) -> usize {
        let bytes: Vec<u8> = self.up.drain(..n.min(self.up.len())).collect();
        if !bytes.is_empty() {
            self.broker.receive(&bytes);
        }
        self.collect();
        bytes.len()
    }

    /// Up to `n` bytes arrive at the client; how many.
    pub fn carry_down(&mut self, n: usize) -> usize {
        self.collect();
        let bytes: Vec<u8> = self.down.drain(..n.min(self.down.len())).collect();
        if !bytes.is_empty() {
            self.monitor.client_got(&bytes);
            self.client.feed(&bytes);
            self.note();
        }
        bytes.len()
    }

    /// Everything moves until nothing is left to move.
    pub fn settle(&mut self) {
        while self.write(usize::MAX) + self.carry_up(usize::MAX) + self.carry_down(usize::MAX) > 0 {}
    }

    /// The payloads that the client was given, with the QoS.
    pub fn received(&self) -> Vec<(u8, String)> {
        let messages = self.happened.iter().filter_map(|happened| match happened {
            Happened::Message { qos, payload, .. } => Some((*qos, payload.clone())),
            _ => None,
        });
        messages.collect()
    }

    /// The tokens of publishes that are done.
    pub fn done(&self) -> Vec<u32> {
        let tokens = self.happened.iter().filter_map(|happened| match happened {
            Happened::Published { token, .. } => Some(*token),
            _ => None,
        });
        tokens.collect()
    }

    fn note(&mut self) {
        let mut happened = self.client.happened();
        self.happened.append(&mut happened);
    }

    fn collect(&mut self) {
        self.down.extend(self.broker.output.drain(..));
    }
}
