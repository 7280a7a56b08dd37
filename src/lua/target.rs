//! The client that a script's call is about: made, found by its userdata, kept while it is in use.

use std::any::Any;
use std::rc::Rc;

use mlua::{AnyUserData, Function, Lua, Table, Value};

use super::args::{Args, Raise};
use super::hot::object::{self, Size};
use super::peer::{Face, Peer};
use super::{Maker, Reply, State};
use crate::client::{Client, ClientOptions, Options};
use crate::session::Config;

/// The clients of a module: they have a face of their own, and a type of userdata.
pub(crate) trait Kind: Face {
    /// What messages call it.
    const NAME: &str;
    /// See [`Peer::device`].
    const IS_DEVICE: bool;
}

/// What the methods of a module's clients are made of.
pub(crate) type Method<K> = fn(&Rc<State>, &Target<K>, &Args<'_>) -> Reply;

/// Takes self off the arguments.
pub(crate) fn bound<K: Kind>(method: Method<K>) -> impl Fn(&Rc<State>, Args<'_>) -> Reply {
    move |state, mut args| {
        let target = Target::take(state, &mut args)?;
        method(state, &target, &args)
    }
}

/// Makes the metatable of the clients, with their methods.
pub(crate) fn register<K: Kind>(
    maker: &Maker<'_>,
    methods: Vec<(&'static str, Function)>,
) -> mlua::Result<Table> {
    object::register(maker.lua, &maker.shell, K::NAME, methods)
}

/// A client, what it is to its module, and its userdata.
pub(crate) struct Target<K> {
    pub(crate) peer: Rc<Peer>,
    pub(crate) face: Rc<K>,
    pub(crate) object: AnyUserData,
}

impl<K: Kind> Target<K> {
    /// A new one. `each`: see [`Peer::each`].
    pub(crate) fn create(
        state: &State,
        lua: &Lua,
        config: Config,
        face: K,
        each: bool,
    ) -> Result<Target<K>, Raise> {
        let key = state.next_key()?;
        let object = object::create(lua, state, K::NAME, key, Size::CLIENT)?;
        let face = Rc::new(face);
        let peer = enlist(state, key, object.to_pointer().addr(), config, face.clone(), each);
        Ok(Target { peer, face, object })
    }

    /// The one that a value is.
    pub(crate) fn find(state: &State, lua: &Lua, value: Value) -> Option<Target<K>> {
        let Value::UserData(object) = value else { return None };
        let peer = state.peers.at(object::key(lua, &object)?, object.to_pointer().addr())?;
        let face: Rc<dyn Any> = peer.face.clone();
        Some(Target { face: face.downcast().ok()?, peer, object })
    }

    /// The one that is self, which is taken off the arguments.
    pub(crate) fn take(state: &State, args: &mut Args<'_>) -> Result<Target<K>, Raise> {
        Target::find(state, args.lua, args.take_self()).ok_or_else(|| Raise::bad_self(args.name, K::NAME))
    }

    /// Connects it. From here on it lives until it is idle, whoever refers to it.
    pub(crate) fn connect(&self, state: &State, options: Options) -> Result<(), Raise> {
        if !self.peer.anchored.get() {
            state.anchor(self.peer.key, &self.object)?;
        }
        connect(state, &self.peer, options);
        Ok(())
    }

    /// Leaves it to the collector, now that it was closed: at once, or when it has nothing to do any more.
    pub(crate) fn let_go(&self, state: &State) -> Result<(), Raise> {
        if let_go(state, &self.peer) {
            state.release(self.peer.key)?;
        }
        Ok(())
    }
}

/// Makes the client of a userdata that has this key and lies at this address.
pub(crate) fn enlist<K: Kind>(
    state: &State,
    key: u32,
    address: usize,
    config: Config,
    face: Rc<K>,
    each: bool,
) -> Rc<Peer> {
    let clock = state.clock.borrow().clone();
    // until there is a callback: a device's clients hear of them by nothing else
    let options = ClientOptions { clock, key, ignores_writes: K::IS_DEVICE };
    let client = Client::new(config, options, state.queue.clone());
    let peer = Rc::new(Peer::new(key, address, client, face, K::IS_DEVICE, each));
    state.peers.insert(peer.clone());
    peer
}

/// Connects a client whose userdata has its anchor.
pub(crate) fn connect(state: &State, peer: &Rc<Peer>, options: Options) {
    state.peers.activate(peer);
    state.cursor.note(peer.key);
    peer.client.connect(options);
}

/// A client was closed. Whether the caller is to take the anchor off its userdata at once; else that happens when it has
/// nothing to do any more.
pub(crate) fn let_go(state: &State, peer: &Rc<Peer>) -> bool {
    let at_once = peer.anchored.get() && !peer.client.busy();
    if at_once {
        state.peers.deactivate(peer);
    } else {
        state.peers.leave(peer);
    }
    at_once
}
