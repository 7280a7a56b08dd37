//! What outlives a connection: how the session leaves one and goes on with the next.

use std::time::Instant;

use super::config::Messages;
use super::elsewhere::Left;
use super::timer::Timer;
use super::transmit::Kind;
use super::{Event, Events, Keep, REQUEST, Session, State, Token};
use crate::codec::{Qos, v4};

/// Filters per SUBSCRIBE when subscriptions are renewed: some brokers take no more in one packet.
const RENEW_AT_ONCE: usize = 8;

impl Session {
    /// Before [`handle_closed`](Self::handle_closed): the next `n` bytes of those that
    /// [`take_transmit`](Self::take_transmit) gave may have been sent, though nobody has said so.
    pub fn handle_begun(&mut self, n: usize) {
        self.tx.begin(n);
    }

    /// The connection is gone, whoever ended it. QoS 0 that was not sent and requests without their answer are dropped.
    pub fn handle_closed(&mut self, keep: Keep) {
        self.state = State::Disconnected;
        self.stop_timers();
        self.deframer.reset();
        self.awaiting_ping = false;
        self.pings = 0;
        self.ping_unsent = 0;
        self.reading = true;
        self.connected_at = None;
        self.progress = false;
        self.listening = false;
        self.copies = 0;
        self.replies = 0;
        self.messages = 0;
        self.message_bytes = 0;
        for (id, token) in self.subscriptions.drain() {
            self.ids.release(id);
            push_dropped(&mut self.events, token);
        }
        if let Some(outbox) = self.outbox.get_mut() {
            outbox.requeue();
        }
        let Session { tx, outbox, events, counts, .. } = self;
        if let Some(tx) = tx.get_mut() {
            tx.clear(|kind, begun| match kind {
                Kind::Control | Kind::Reply => {}
                Kind::Message(token) => drop_message(events, counts, token),
                // It is no repetition if not even its first byte went out.
                Kind::Stored { entry, id } => {
                    if let Some(entry) =
                        outbox.entry_mut(entry).filter(|entry| entry.id == Some(id) && !begun)
                    {
                        entry.dup = entry.resent;
                    }
                }
            });
        }
        self.tx.clear();
        if keep == Keep::Nothing && !self.config.keep_messages {
            self.forget();
        }
        self.check_drained();
    }

    /// Gives up every message that is not done, and what is known of the broker's.
    pub fn forget(&mut self) {
        while let Some(index) = self.outbox.first() {
            self.give_up(index);
        }
        self.received.clear();
        self.check_drained();
    }

    /// Gives up a message that is not under way.
    pub(super) fn give_up(&mut self, index: u32) {
        let id = self.outbox.entry(index).id;
        let token = self.outbox.remove(index);
        if let Some(id) = id {
            self.ids.release(id);
        }
        drop_message(&mut self.events, &mut self.counts, token);
    }

    /// The broker accepted the connection.
    pub(super) fn accepted(&mut self, now: Instant) {
        self.state = State::Connected;
        self.tx.shrink(); // CONNECT has been in it
        self.timers.clear(Timer::Answer);
        self.connected_at = Some(now);
        self.start_tick(now);
    }

    /// Goes on with the session that the broker `kept`, or with a new one. `present`: it said so, and has the subscriptions
    /// that it had confirmed. `left` is what was left at this broker, if it is another one than the last.
    pub(super) fn resume(&mut self, kept: bool, present: bool, left: Option<Left>) {
        let moved = left.is_some();
        if kept && !moved {
            self.repeat_pubrels();
        } else {
            self.publish_afresh();
        }
        if let Some(left) = left.filter(|_| kept) {
            self.return_to(left);
        }
        self.renew_subscriptions(present, moved);
        self.send_queued();
    }

    /// Released messages go on with PUBREL \[MQTT-4.4.0-1\]; sent ones are queued again already.
    fn repeat_pubrels(&mut self) {
        let mut index = self.outbox.next_released(None);
        while let Some(at) = index {
            let id = self.outbox.entry(at).id.expect("a released message has an id");
            self.send(Kind::Control, |out| v4::pubrel(out, id));
            index = self.outbox.next_released(Some(at));
        }
    }

    /// The broker has nothing of before: released messages had arrived and are done; the others become new ones.
    fn publish_afresh(&mut self) {
        self.received.clear();
        while let Some(index) = self.outbox.next_released(None) {
            self.finish(index);
        }
        let Session { outbox, ids, .. } = self;
        let Some(outbox) = outbox.get_mut() else { return };
        outbox.for_each_queued(|entry| {
            entry.dup = false;
            if !entry.named
                && let Some(id) = entry.id.take()
            {
                ids.release(id);
            }
        });
    }

    /// Subscribes to what is wanted and the broker does not have, where that is the session's task; ends what it has and
    /// is not wanted.
    fn renew_subscriptions(&mut self, present: bool, moved: bool) {
        for filters in self.subscriptions.unwanted(present).chunks(RENEW_AT_ONCE) {
            let Some(id) = self.ids.allocate(REQUEST) else { return };
            let filters: Vec<&str> = filters.iter().map(|filter| &**filter).collect();
            self.send_unsubscribe(id, &filters);
            self.subscriptions.unsubscribed(id, Token::NONE, &filters);
        }
        for filters in self.subscriptions.to_renew(present && !moved).chunks(RENEW_AT_ONCE) {
            let Some(id) = self.ids.allocate(REQUEST) else { return };
            let filters: Vec<(&str, Qos)> = filters.iter().map(|(filter, qos)| (&**filter, *qos)).collect();
            self.send_subscribe(id, &filters);
            self.subscriptions.subscribed(id, Token::NONE, &filters);
        }
    }

    /// A message is done: its id is free, its caller is told.
    #[inline]
    pub(super) fn finish(&mut self, index: u32) {
        let id = self.outbox.entry(index).id;
        let token = self.outbox.remove(index);
        if let Some(id) = id {
            self.ids.release(id);
        }
        self.events.push_published(id, token);
        self.check_drained();
    }
}

pub(super) fn drop_message(events: &mut Events, counts: &mut Messages, token: Token) {
    counts.dropped += 1;
    push_dropped(events, token);
}

/// Only a caller that waits has to hear that it waits in vain.
pub(super) fn push_dropped(events: &mut Events, token: Token) {
    if token.is_some() {
        events.push(Event::Dropped { token });
    }
}
