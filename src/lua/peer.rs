//! A client as the Lua thread sees it: the userdata a script holds, the [`Client`] behind it, and the slots of its
//! callbacks.
//!
//! The callbacks are user values of the userdata and nothing else holds them, so that a script's closures over its own
//! client are collected with it. Rust only knows which slots are filled.

use std::any::Any;
use std::borrow::Borrow;
use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::mem;
use std::rc::Rc;

use super::event_loop::{Calls, Cursor};
use crate::client::{Client, State};
use crate::session::{Event, Token};

/// Where callbacks stand in the table of a userdata.
pub(crate) mod slot {
    // Those that most clients have come first: up to `ARRAY` they stand in the array that a table is made with, in which a
    // place takes half as much memory or less as elsewhere.
    /// Of one `connect`.
    pub(crate) const OK: i32 = 1;
    /// `on("message")` and so on.
    pub(crate) const MESSAGE: i32 = 2;
    pub(crate) const OFFLINE: i32 = 3;
    pub(crate) const CONNECT: i32 = 4;
    pub(crate) const CONNFAIL: i32 = 5;
    pub(crate) const PUBACK: i32 = 6;
    pub(crate) const ARRAY: i32 = 6;
    /// Of one `connect` too.
    pub(crate) const NOK: i32 = 7;
    pub(crate) const OVERFLOW: i32 = 8;
    pub(crate) const SUBACK: i32 = 9;
    pub(crate) const UNSUBACK: i32 = 10;
    /// Functions that give the user name and the password of a dial.
    pub(crate) const USERNAME: i32 = 11;
    pub(crate) const PASSWORD: i32 = 12;
    /// The callback of a timer.
    pub(crate) const TIMER: i32 = 1;
    /// What this state's `mqtt.log` and `mqtt.trace` were given.
    pub(crate) const LOG: i32 = 1;
    pub(crate) const TRACE: i32 = 2;
    /// The callbacks of single calls (`callbacks = "each"`) stand from here on, by token.
    const TOKENS: i32 = 16;

    /// Where the callback of a single call stands.
    pub(crate) fn of(token: super::Token) -> i32 {
        TOKENS + token.0 as i32
    }
}

/// What a module makes of a client's events.
pub(crate) trait Face: Any {
    /// The Lua calls that an event leads to, in order.
    fn calls(&self, peer: &Peer, event: &Event<'_>, cursor: &Cursor) -> Calls;
}

/// See the [module](self).
pub(crate) struct Peer {
    /// Its userdata's index in the tables of objects; also the key of its entries in the queue. Never used again.
    pub(crate) key: u32,
    pub(crate) client: Client,
    pub(crate) face: Rc<dyn Face>,
    /// It is a client of NodeMCU's module: with its methods, and the end of a publish without a token leads to one call,
    /// if any, that of [`slot::PUBACK`].
    pub(crate) device: bool,
    /// Every call keeps its own callback, instead of one slot for all.
    pub(crate) each: bool,
    /// The address of its userdata.
    address: usize,
    /// Which of the slots below 32 are filled.
    filled: Cell<u32>,
    /// How often one of those has been set.
    changes: Cell<u32>,
    /// Its userdata stands in the table of anchors …
    pub(crate) anchored: Cell<bool>,
    /// … and it itself in this place of the list of such clients.
    place: Cell<u32>,
    /// It stands in the list of those to flush.
    pub(crate) dirty: Cell<bool>,
    last_token: Cell<u32>,
}

impl Peer {
    pub(crate) fn new(
        key: u32,
        address: usize,
        client: Client,
        face: Rc<dyn Face>,
        device: bool,
        each: bool,
    ) -> Peer {
        Peer {
            key,
            client,
            face,
            device,
            each,
            address,
            filled: Cell::new(0),
            changes: Cell::new(0),
            anchored: Cell::new(false),
            place: Cell::new(0),
            dirty: Cell::new(false),
            last_token: Cell::new(0),
        }
    }

    /// Whether there is a function in a slot.
    #[inline]
    pub(crate) fn has(&self, slot: i32) -> bool {
        self.filled.get() & (1 << slot) != 0
    }

    /// Says whether there is a function in a slot.
    #[inline]
    pub(crate) fn fill(&self, slot: i32, filled: bool) {
        if slot == slot::PUBACK && filled && !self.has(slot) {
            self.client.hear_writes();
        }
        let others = self.filled.get() & !(1 << slot);
        self.filled.set(others | u32::from(filled) << slot);
        self.changes.set(self.changes.get().wrapping_add(1));
    }

    /// A number that is another one once any slot below 32 has been set.
    #[inline]
    pub(crate) fn changes(&self) -> u32 {
        self.changes.get()
    }

    /// Whether any call has kept its own callback.
    pub(crate) fn has_tokens(&self) -> bool {
        self.last_token.get() != 0
    }

    /// A token for a call that keeps its own callback.
    pub(crate) fn next_token(&self) -> Token {
        // Far below what an index into a Lua 5.1 table can be; a callback that is still there after a billion others
        // is overwritten.
        let next = if self.last_token.get() >= 1 << 30 { 1 } else { self.last_token.get() + 1 };
        self.last_token.set(next);
        Token(next)
    }
}

/// Found by its key, which is in it: an entry of such a set is half as large as one of a map.
struct ByKey(Rc<Peer>);

impl Borrow<u32> for ByKey {
    fn borrow(&self) -> &u32 {
        &self.0.key
    }
}

impl Hash for ByKey {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.0.key.hash(hasher);
    }
}

impl PartialEq for ByKey {
    fn eq(&self, other: &ByKey) -> bool {
        self.0.key == other.0.key
    }
}

impl Eq for ByKey {}

/// Spreads numbers that nobody picks to collide: a tenth of the work of the standard library's hasher.
#[derive(Default)]
struct Spread(u64);

impl Hasher for Spread {
    fn write(&mut self, bytes: &[u8]) {
        unreachable!("hashing {bytes:?}, which is no number");
    }

    fn write_u32(&mut self, number: u32) {
        // 2^64 by the golden ratio; both halves, as a set looks at the highest bits and at the lowest
        let product = u128::from(number) * 0x9E37_79B9_7F4A_7C15;
        self.0 = (product >> 64) as u64 ^ product as u64;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

type Set = RefCell<HashSet<ByKey, BuildHasherDefault<Spread>>>;

/// The clients of a Lua state, by key.
#[derive(Default)]
pub(crate) struct Peers {
    by_key: Set,
    /// The one of NodeMCU's found last: most scripts have one client.
    cached: RefCell<Option<(usize, Rc<Peer>)>>,
    /// Those whose userdata is anchored.
    active: RefCell<Vec<Rc<Peer>>>,
    /// Those of them that were closed: they may become idle without an event.
    leaving: RefCell<Vec<Rc<Peer>>>,
    /// Those that were published to inside a callback.
    dirty: RefCell<Vec<Rc<Peer>>>,
}

impl Peers {
    /// Adds a client.
    pub(crate) fn insert(&self, peer: Rc<Peer>) {
        self.by_key.borrow_mut().replace(ByKey(peer));
    }

    /// Forgets a client whose userdata was collected, and returns it. One that is still active is not given up: that
    /// happens only when the interpreter ends, and [`take_active`](Self::take_active) is called next.
    pub(crate) fn remove(&self, key: u32) -> Option<Rc<Peer>> {
        *self.cached.borrow_mut() = None;
        let ByKey(peer) = self.by_key.borrow_mut().take(&key)?;
        Some(peer)
    }

    /// Calls `f`, which must not call Lua, with the client that [`find_device`](Self::find_device) has found.
    // `f` stands here once, so that it is no call, which saves a publish 50 instructions.
    #[inline]
    pub(crate) fn with_device<R>(&self, address: usize, f: impl FnOnce(&Rc<Peer>) -> R) -> Option<R> {
        let cached = self.cached.borrow();
        cached.as_ref().filter(|(cached, _)| *cached == address).map(|(_, peer)| f(peer))
    }

    /// Whether it is the client that was found last whose userdata lies at `address`.
    #[inline]
    pub(crate) fn is_found(&self, address: usize) -> bool {
        self.cached.borrow().as_ref().is_some_and(|(cached, _)| *cached == address)
    }

    /// Finds the client of NodeMCU's module with this key, whose userdata lies at `address`, for what is done to it next.
    pub(crate) fn find_device(&self, key: u32, address: usize) -> Option<()> {
        let peer = self.at(key, address).filter(|peer| peer.device)?;
        *self.cached.borrow_mut() = Some((address, peer));
        Some(())
    }

    /// The client of a key, if its userdata lies at `address`: what looks like the key may have been another userdata's.
    pub(crate) fn at(&self, key: u32, address: usize) -> Option<Rc<Peer>> {
        self.get(key).filter(|peer| peer.address == address)
    }

    /// The client of a key.
    pub(crate) fn get(&self, key: u32) -> Option<Rc<Peer>> {
        self.by_key.borrow().get(&key).map(|entry| entry.0.clone())
    }

    /// All clients.
    pub(crate) fn all(&self) -> Vec<Rc<Peer>> {
        self.by_key.borrow().iter().map(|entry| entry.0.clone()).collect()
    }

    /// Notes that a client's userdata is anchored.
    pub(crate) fn activate(&self, peer: &Rc<Peer>) {
        if !peer.anchored.replace(true) {
            let mut active = self.active.borrow_mut();
            peer.place.set(active.len() as u32);
            active.push(peer.clone());
        }
    }

    /// Notes that a client's userdata is no longer anchored.
    pub(crate) fn deactivate(&self, peer: &Peer) {
        if peer.anchored.replace(false) {
            let mut active = self.active.borrow_mut();
            let place = peer.place.get() as usize;
            active.swap_remove(place);
            if let Some(moved) = active.get(place) {
                moved.place.set(place as u32);
            }
        }
    }

    /// Whether any client is connecting, connected, reconnecting or has events.
    pub(crate) fn any_busy(&self) -> bool {
        self.active.borrow().iter().any(|peer| peer.client.busy())
    }

    /// Notes that a client was closed.
    pub(crate) fn leave(&self, peer: &Rc<Peer>) {
        if peer.anchored.get() {
            self.leaving.borrow_mut().push(peer.clone());
        }
    }

    /// Whether [`take_left`](Self::take_left) may find one.
    pub(crate) fn any_leaving(&self) -> bool {
        !self.leaving.borrow().is_empty()
    }

    /// A closed client that has become idle and needs no anchor any more.
    pub(crate) fn take_left(&self) -> Option<Rc<Peer>> {
        loop {
            let mut leaving = self.leaving.borrow_mut();
            // one that was released meanwhile, or connects again, counts as any other
            leaving.retain(|peer| peer.anchored.get() && peer.client.state() == State::Idle);
            let index = leaving.iter().position(|peer| !peer.client.busy())?;
            let peer = leaving.swap_remove(index);
            drop(leaving);
            if peer.anchored.get() {
                self.deactivate(&peer);
                return Some(peer);
            }
        }
    }

    /// The anchored clients, which are forgotten here.
    pub(crate) fn take_active(&self) -> Vec<Rc<Peer>> {
        let active = mem::take(&mut *self.active.borrow_mut());
        active.iter().for_each(|peer| peer.anchored.set(false));
        active
    }

    /// Notes that a client was published to inside a callback.
    #[inline]
    pub(crate) fn mark_dirty(&self, peer: &Rc<Peer>) {
        if !peer.dirty.replace(true) {
            self.dirty.borrow_mut().push(peer.clone());
        }
    }

    /// Sends what was published inside callbacks; whether there was anything.
    #[inline]
    pub(crate) fn flush(&self) -> bool {
        let mut any = false;
        while let Some(peer) = self.next_dirty() {
            peer.dirty.set(false);
            any |= peer.client.flush();
        }
        any
    }

    #[inline]
    fn next_dirty(&self) -> Option<Rc<Peer>> {
        self.dirty.borrow_mut().pop()
    }
}
