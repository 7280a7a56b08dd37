//! What the loop does next. Nothing here touches Lua: `hot` asks for a [`Step`] and makes the call.
//!
//! Where the loop stands is kept in the [`Cursor`] of the Lua state, not in a frame of the C stack: a callback may raise
//! an error, which leaves the loop by a long jump, or enter the loop itself; either way the next step goes on behind the
//! event that was taken last, and nothing is lost or run twice.

use std::cell::{Cell, RefCell, RefMut};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Instant;

use super::State;
use super::event_queue::Entry;
use super::peer::{Peer, slot};
use super::waiter::MAX_SOCKETS;
use super::waiting::Deadline;
use crate::session::{Event, Events, Token};

/// The key of the Lua state itself, whose callbacks are those of `mqtt.log` and `mqtt.trace`.
pub(crate) const STATE: u32 = 0;

/// A function to call: that in a slot of the object of this key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    pub(crate) key: u32,
    pub(crate) slot: i32,
    pub(crate) how: How,
    pub(crate) with: With,
}

/// What becomes of the function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// It stays.
    Keep,
    /// It is taken out of its slot, then called.
    Once,
    /// It is taken out of its slot and not called.
    Forget,
    /// It stays, and the object loses its anchor.
    Release,
    /// Both: it is taken out, the object loses its anchor, then it is called.
    Last,
}

/// The arguments, after the object itself. What the pointers point to belongs to the [`Cursor`]; see [`Cursor::pin`].
#[derive(Clone, Copy, Debug)]
pub(crate) enum With {
    /// None.
    Nothing,
    /// session_present
    Present(bool),
    /// reason, detail
    Reason(i8, *const [u8]),
    /// topic, data, and the marks of a message
    Message { topic: *const [u8], payload: *const [u8], marks: Option<Marks> },
    /// packet_id
    Id(Option<u16>),
    /// A table of [`Cursor::granted`].
    Granted,
    /// level, text (without an object before them)
    Log(&'static str, *const [u8]),
    /// line (without an object before it)
    Trace(*const [u8]),
    /// a string
    Text(*const [u8]),
}

/// qos, retain, dup, and the packet id where it is given.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Marks {
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    pub(crate) dup: bool,
    pub(crate) id: Option<u16>,
}

/// The calls for one event: two at most, the second waits in [`Cursor::due`] while the first runs. Others follow by
/// [`Cursor::add`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Calls(pub(crate) Option<Call>, pub(crate) Option<Call>);

impl Calls {
    pub(crate) const NONE: Calls = Calls(None, None);

    pub(crate) fn one(call: Option<Call>) -> Calls {
        Calls(call, None)
    }
}

/// What to do next.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    Call(Call),
    /// Ask the script for the user name and password of this client's next dial.
    Credentials(u32),
    /// Nothing keeps this client alive any more but the script.
    Release(u32),
    /// What was pending is done.
    Done,
}

/// One round: all that was pending when it began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    /// How many entries of the queue it may still take: a flood does not keep it for ever.
    budget: usize,
    /// The loop is about to wait until then, if it does not find enough to do.
    deadline: Deadline,
    /// Timers that were due then come next.
    timers: Option<Instant>,
    /// Whether timers are left to look at that nobody has put into the queue.
    unasked: bool,
    /// Something happened.
    pub(crate) moved: bool,
    /// Something happened that is more than the end of a call whose end nobody asked for.
    pub(crate) notable: bool,
    /// Callbacks run.
    pub(crate) ran: u32,
}

/// Where the loop stands.
#[derive(Default)]
pub(crate) struct Cursor {
    /// The client whose events are in `events`.
    current: RefCell<Option<Rc<Peer>>>,
    events: RefCell<Events>,
    /// The calls of the event taken last, after its first.
    due: RefCell<VecDeque<Call>>,
    /// The result of the SUBSCRIBE answered last.
    granted: RefCell<Granted>,
    /// The log line taken last.
    text: RefCell<String>,
    /// The clients that had events or connected last, newest first; 0 is none.
    recent: Cell<[u32; MAX_SOCKETS]>,
    /// Where on the C stack values are being pushed; 0 when nowhere.
    pinned: Cell<usize>,
    /// What was replaced while values were being pushed.
    graveyard: RefCell<Vec<Trash>>,
}

/// Filters with the QoS granted, none where refused.
pub(crate) type Granted = Vec<(Box<[u8]>, Option<u8>)>;

/// Memory that a [`With`] may point to.
#[expect(dead_code, reason = "only kept to be dropped later")]
pub(crate) enum Trash {
    Events(Events),
    Granted(Granted),
    Text(String),
}

impl Cursor {
    /// Marks that the caller pushes what a [`With`] points to. Pushing a string may run the collector, the collector a
    /// script's finalizer, and that one the loop, or `close`: whatever they replace is kept until
    /// [`unpin`](Self::unpin).
    ///
    /// An error in a push (memory) skips `unpin`. So the mark is an address on the stack: code that runs inside the
    /// push is deeper than that, and a mark that is deeper than the running code is stale.
    #[inline]
    pub(crate) fn pin(&self) -> usize {
        let here = 0u8;
        let here = (&raw const here).addr();
        let before = self.pinned.replace(here);
        if here < before { before } else { 0 }
    }

    /// Ends what [`pin`](Self::pin), which returned `before`, began.
    #[inline]
    pub(crate) fn unpin(&self, before: usize) {
        self.pinned.set(before);
        if before == 0 && !self.graveyard.borrow().is_empty() && self.due.borrow().is_empty() {
            self.graveyard.take();
        }
    }

    /// Whether a frame further up is pushing what a [`With`] points to.
    #[inline]
    fn is_pinned(&self) -> bool {
        let here = 0u8;
        (&raw const here).addr() < self.pinned.get()
    }

    /// Drops memory as soon as nobody can be reading it.
    fn discard(&self, trash: Trash) {
        if self.is_pinned() || !self.due.borrow().is_empty() {
            self.graveyard.borrow_mut().push(trash);
        }
    }

    /// Drops the events of a client that Lua has not come to, but for those that are to be kept; the tokens of dropped
    /// ones are handed to `dropped`.
    pub(crate) fn cut(
        &self,
        peer: &Peer,
        mut keep: impl FnMut(&Event<'_>) -> bool,
        mut dropped: impl FnMut(Token),
    ) {
        if self.current.borrow().as_ref().is_none_or(|current| current.key != peer.key) {
            return;
        }
        let mut kept = Events::new();
        let mut old = self.events.take();
        while let Some(event) = old.pop() {
            if keep(&event) {
                kept.push(event);
            } else if let Some(token) = token(&event) {
                dropped(token);
            }
        }
        *self.events.borrow_mut() = kept;
        self.discard(Trash::Events(old));
    }

    /// Drops the calls that are due, if they are of these.
    pub(crate) fn cut_due(&self, unwanted: impl Fn(&Call) -> bool) {
        self.due.borrow_mut().retain(|call| !unwanted(call));
    }

    /// Adds a call to those of the event at hand.
    pub(crate) fn add(&self, call: Call) {
        self.due.borrow_mut().push_back(call);
    }

    /// The next call of the event taken last.
    #[inline]
    fn next_call(&self) -> Option<Call> {
        self.due.borrow_mut().pop_front()
    }

    /// Whether the event taken last has calls left, or there are other events.
    fn has_more(&self) -> bool {
        !self.due.borrow().is_empty() || !self.events.borrow().is_empty()
    }

    /// Remembers the outcome of a SUBSCRIBE for [`With::Granted`].
    pub(crate) fn set_granted(&self, granted: Granted) {
        let old = self.granted.replace(granted);
        self.discard(Trash::Granted(old));
    }

    /// One of the filters for [`With::Granted`], and the QoS granted.
    pub(crate) fn granted(&self, index: usize) -> Option<(*const [u8], Option<u8>)> {
        self.granted.borrow().get(index).map(|(filter, qos)| (std::ptr::from_ref(&**filter), *qos))
    }

    /// Where the events of a client may be put without the queue: there are none, and nothing is at hand.
    pub(crate) fn free_events(&self) -> Option<RefMut<'_, Events>> {
        let is_free = self.current.borrow().is_none() && !self.is_pinned();
        Some(self.events.borrow_mut()).filter(|events| is_free && events.is_empty())
    }

    /// The events that are there are those of this client.
    pub(crate) fn begin(&self, peer: Rc<Peer>) {
        self.note(peer.key);
        *self.current.borrow_mut() = Some(peer);
    }

    /// The key of one of the clients that had events or connected last, the newest first.
    pub(crate) fn recent(&self, n: usize) -> Option<u32> {
        Some(self.recent.get()[n]).filter(|key| *key != STATE)
    }

    /// This client has events, or will have soon.
    #[inline]
    pub(crate) fn note(&self, key: u32) {
        let mut recent = self.recent.get();
        if recent[0] != key {
            let at = recent.iter().position(|other| *other == key).unwrap_or(MAX_SOCKETS - 1);
            recent[..=at].rotate_right(1);
            recent[0] = key;
            self.recent.set(recent);
        }
    }

    fn set_text(&self, text: String) -> *const [u8] {
        let old = self.text.replace(text);
        self.discard(Trash::Text(old));
        std::ptr::from_ref(self.text.borrow().as_bytes())
    }
}

/// The token of an event that is the last of its call.
fn token(event: &Event<'_>) -> Option<Token> {
    match *event {
        Event::Published { token, .. }
        | Event::Subscribed { token, .. }
        | Event::Unsubscribed { token, .. }
        | Event::Dropped { token } => token.is_some().then_some(token),
        _ => None,
    }
}

impl State {
    /// Begins a round.
    pub(crate) fn turn(&self, deadline: Deadline) -> Turn {
        // an error may have kept the last round from doing so
        self.timers.arm(self);
        self.steps.set(self.steps.get() + 1);
        let budget = self.queue.len();
        Turn { budget, deadline, timers: None, unasked: true, moved: false, notable: false, ran: 0 }
    }

    /// What to do next in this round.
    #[inline]
    pub(crate) fn step(&self, turn: &mut Turn) -> Step {
        self.steps.set(self.steps.get() + 1);
        if let Some(call) = self.cursor.next_call() {
            turn.moved = true;
            return Step::Call(call);
        }
        loop {
            let current = self.cursor.current.borrow();
            if let Some(peer) = &*current {
                let mut events = self.cursor.events.borrow_mut();
                while let Some(event) = events.pop() {
                    turn.moved = true;
                    if matches!(event, Event::CredentialsWanted) {
                        return Step::Credentials(peer.key);
                    }
                    turn.notable |= !matches!(event, Event::Published { .. } | Event::Dropped { .. });
                    let is_puback =
                        peer.device && matches!(event, Event::Published { token: Token::NONE, .. });
                    let Calls(first, second) = peer.face.calls(peer, &event, &self.cursor);
                    if let Some(call) = second {
                        self.cursor.due.borrow_mut().push_front(call);
                    }
                    if let Some(call) = first {
                        return Step::Call(call);
                    }
                    if let Some(call) = self.cursor.next_call() {
                        return Step::Call(call);
                    }
                    if is_puback {
                        // nobody hears of those that follow either: one by one they cost an eighth of a burst
                        events.skip_published();
                    }
                }
            }
            drop(current);
            if let Some(step) = self.next_batch(turn) {
                return step;
            }
        }
    }

    /// Whether more calls like this one, of which the function stays the same until [`Peer::changes`] says otherwise, may
    /// be found by [`next_puback`](Self::next_puback); what that says now.
    #[inline]
    pub(crate) fn puback_row(&self, call: &Call) -> Option<u32> {
        let plain = matches!(call.with, With::Id(_)) && call.slot == slot::PUBACK && call.how == How::Keep;
        let current = self.cursor.current.borrow();
        let peer = current.as_ref().filter(|peer| plain && peer.key == call.key)?;
        // the call before may have taken the function away
        (peer.has(slot::PUBACK) && peer.device).then(|| peer.changes())
    }

    /// Goes on to the next event at hand if it is the end of one more publish, without a token: its packet id. A short way
    /// past [`step`](Self::step).
    #[inline]
    pub(crate) fn next_puback(&self, key: u32, changes: u32) -> Option<Option<u16>> {
        let current = self.cursor.current.borrow();
        let peer = current.as_ref()?;
        if peer.key != key || peer.changes() != changes || !self.cursor.due.borrow().is_empty() {
            return None;
        }
        let id = self.cursor.events.borrow_mut().pop_published()?;
        self.steps.set(self.steps.get() + 1);
        Some(id.map(|id| id.get()))
    }

    /// The events at hand have been served: finds others. None: there are some.
    fn next_batch(&self, turn: &mut Turn) -> Option<Step> {
        if !self.cursor.is_pinned() {
            self.cursor.events.borrow_mut().clear(); // a large message is not to stay until the next one
        }
        if let Some(peer) = self.cursor.current.take()
            && peer.anchored.get()
            && !peer.client.busy()
        {
            self.peers.deactivate(&peer);
            return Some(Step::Release(peer.key));
        }
        if let Some(step) = self.due_timer(turn) {
            return Some(step);
        }
        while turn.budget > 0 {
            turn.budget -= 1;
            let entry = self.queue.pop();
            turn.moved |= matches!(entry, Some(Entry::Log { .. } | Entry::Trace(_)));
            match entry {
                None => break,
                Some(Entry::Client(key)) => {
                    let Some(peer) = self.peers.get(key) else { continue };
                    if self.cursor.is_pinned() {
                        self.cursor.discard(Trash::Events(self.cursor.events.take()));
                    }
                    // where others have events too the loop may find enough to do for long, and look at no socket
                    let waits = self.cursor.recent(0) == Some(key) && !turn.deadline.passed();
                    peer.client.swap_events(&mut self.cursor.events.borrow_mut(), waits);
                    self.cursor.begin(peer);
                    return None;
                }
                Some(Entry::Timer(due)) => {
                    self.timers.rang();
                    turn.timers = Some(due);
                    if let Some(step) = self.due_timer(turn) {
                        return Some(step);
                    }
                }
                Some(Entry::Resolved { key, address }) => {
                    self.lookups.finish();
                    let with = match address {
                        Some(address) => With::Text(self.cursor.set_text(address)),
                        None => With::Nothing,
                    };
                    turn.moved = true;
                    return Some(Step::Call(Call { key, slot: slot::TIMER, how: How::Last, with }));
                }
                Some(Entry::Log { level, text }) => {
                    let text = self.cursor.set_text(text);
                    return Some(self.line(slot::LOG, With::Log(level, text)));
                }
                Some(Entry::Trace(line)) => {
                    let line = self.cursor.set_text(line);
                    return Some(self.line(slot::TRACE, With::Trace(line)));
                }
            }
        }
        // No need to wait for the word of the network thread, unless something else came before it.
        if std::mem::take(&mut turn.unasked) && self.timers.any_armed() && self.queue.len() == 0 {
            turn.timers = Some(self.now());
            if let Some(step) = self.due_timer(turn) {
                return Some(step);
            }
        }
        Some(match self.peers.take_left() {
            Some(peer) => Step::Release(peer.key),
            None => Step::Done,
        })
    }

    /// The next of the timers whose turn it is.
    fn due_timer(&self, turn: &mut Turn) -> Option<Step> {
        let due = turn.timers?;
        if let Some(call) = self.timers.take_due(due, self.now()) {
            turn.moved = true;
            return Some(Step::Call(call));
        }
        turn.timers = None;
        self.timers.arm(self);
        None
    }

    fn line(&self, slot: i32, with: With) -> Step {
        Step::Call(Call { key: STATE, slot, how: How::Keep, with })
    }

    /// Whether this round, which has just begun, may find anything. A loop that comes to wait mostly has nothing to do
    /// before: without this a message there and back takes an eighth of its instructions more.
    #[inline]
    pub(crate) fn has_work(&self, turn: &Turn) -> bool {
        turn.budget > 0
            || self.cursor.has_more()
            || self.timers.any_armed()
            || self.cursor.current.borrow().is_some()
            || self.peers.any_leaving()
    }

    /// Whether there is something to dispatch.
    pub(crate) fn pending(&self) -> bool {
        self.cursor.has_more() || self.queue.len() > 0
    }

    /// Whether anything could still call back: a client that is not idle, an armed timer, something pending.
    pub(crate) fn alive(&self) -> bool {
        self.pending() || self.timers.any_armed() || self.peers.any_busy() || self.lookups.any()
    }

    /// A loop is left. A foreign loop has to come back if there is something left to do.
    pub(crate) fn leave(&self) {
        self.peers.flush(); // what the predicate of `wait` published
        self.timers.arm(self); // `stop` in a timer's callback leaves the round before that
        if self.cursor.has_more() {
            self.queue.unsettle();
        } else {
            self.queue.settle();
        }
    }
}
