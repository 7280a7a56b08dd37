//! The QoS 1 and 2 messages that were accepted and are not done: one ordered list for what waits and what is under way.
//!
//! ```text
//!   head ──► released ─► released ─► sent ─► sent ─► queued ─► queued ◄── tail
//!            PUBREC came, in the     PUBLISH out,    waiting for the connection,
//!            order of the PUBRECs    in this order   the window or for room
//! ```
//! Sending moves the border between sent and queued to the right; a PUBREC moves an entry behind the last released one, so
//! that PUBRELs are repeated in the order of the PUBRECs \[MQTT-4.6.0-4\]; a lost connection makes what was sent
//! queued again, in place, with its id \[MQTT-4.4.0-1\], \[MQTT-4.6.0-1\]. As sending keeps the order, entries that no
//! connection has ever sent stand together at the tail.
//!
//! Entries live in a slab and are linked by index: every step is O(1) wherever the entry stands. A freed entry keeps its
//! packet's memory for the next one, so a steady stream allocates nothing.

use super::event::Token;
use super::on_demand::Blank;
use crate::codec::{PacketId, Qos};

/// No entry.
const NIL: u32 = u32::MAX;

/// Bookkeeping that a message costs beside its packet, counted against `max_queue`: the slab's entry and the
/// allocation's own overhead.
pub(super) const OVERHEAD: usize = size_of::<Entry>() + 32;

/// A freed entry keeps this much memory for its next packet …
const KEEP: usize = 1024;

/// … and all entries together so much when the last one is freed.
const KEEP_ALL: usize = 2 << 20;

/// How far an entry has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// On the free list.
    Free,
    /// To be sent; with an id, it had been sent on an earlier connection.
    Queued,
    /// PUBLISH is out.
    Sent,
    /// PUBREC came, PUBREL is out; the packet is no longer needed.
    Released,
}

pub(super) struct Entry {
    /// The encoded PUBLISH, DUP 0; empty once released.
    pub(super) packet: Vec<u8>,
    pub(super) token: Token,
    pub(super) id: Option<PacketId>,
    pub(super) qos: Qos,
    /// Part of it may have reached the broker: the next PUBLISH of it is a repetition.
    pub(super) dup: bool,
    /// The PUBLISH under way is a repetition itself.
    pub(super) resent: bool,
    /// The id was chosen when the message was accepted, and stays.
    pub(super) named: bool,
    /// It was never sent, on any connection.
    fresh: bool,
    /// Bytes of the payload.
    pub(super) payload: usize,
    state: State,
    prev: u32,
    next: u32,
}

impl Entry {
    pub(super) fn state(&self) -> State {
        self.state
    }
}

pub(super) struct Outbox {
    entries: Vec<Entry>,
    free: u32,
    /// Memory that free entries keep for packets.
    kept: usize,
    head: u32,
    tail: u32,
    /// The first sent entry; NIL if there is none.
    sent: u32,
    /// The first queued entry; NIL if there is none.
    queued: u32,
    /// The first entry that was never sent; NIL if there is none. So is every entry behind it.
    fresh: u32,
    len: usize,
    /// Entries that were never sent.
    waiting: usize,
    /// Sent and released entries.
    in_flight: usize,
    /// Bytes of packets.
    bytes: usize,
    /// Bytes of their payloads.
    payload_bytes: usize,
}

impl Blank for Outbox {
    const BLANK: Outbox = Outbox::new();
    const SHOWN: &'static Outbox = &Outbox::new();

    fn is_blank(&self) -> bool {
        self.len == 0
    }
}

impl Outbox {
    pub(super) const fn new() -> Outbox {
        Outbox {
            entries: Vec::new(),
            free: NIL,
            kept: 0,
            head: NIL,
            tail: NIL,
            sent: NIL,
            queued: NIL,
            fresh: NIL,
            len: 0,
            waiting: 0,
            in_flight: 0,
            bytes: 0,
            payload_bytes: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Bytes of the packets kept.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes of the payloads in them.
    pub(super) fn payload_bytes(&self) -> usize {
        self.payload_bytes
    }

    /// How many entries were never sent.
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// The oldest entry that was never sent.
    pub(super) fn first_waiting(&self) -> Option<u32> {
        (self.fresh != NIL).then_some(self.fresh)
    }

    #[inline]
    pub(super) fn entry(&self, index: u32) -> &Entry {
        &self.entries[index as usize]
    }

    /// The entry of an index that may be stale.
    pub(super) fn entry_mut(&mut self, index: u32) -> Option<&mut Entry> {
        self.entries.get_mut(index as usize).filter(|entry| entry.state != State::Free)
    }

    /// Appends a message with `payload` bytes of payload; `encode` writes its packet. Its index.
    #[inline]
    pub(super) fn push(
        &mut self,
        qos: Qos,
        token: Token,
        payload: usize,
        encode: impl FnOnce(&mut Vec<u8>),
    ) -> u32 {
        let index = self.take_free();
        let tail = self.tail;
        let entry = &mut self.entries[index as usize];
        self.kept -= entry.packet.capacity();
        encode(&mut entry.packet);
        self.bytes += entry.packet.len();
        self.payload_bytes += payload;
        entry.payload = payload;
        entry.token = token;
        entry.qos = qos;
        entry.id = None;
        entry.dup = false;
        entry.resent = false;
        entry.named = false;
        entry.fresh = true;
        entry.state = State::Queued;
        self.link(index, tail, NIL);
        if self.queued == NIL {
            self.queued = index;
        }
        if self.fresh == NIL {
            self.fresh = index;
        }
        self.waiting += 1;
        self.len += 1;
        index
    }

    /// The next entry to send.
    #[inline]
    pub(super) fn next_queued(&self) -> Option<u32> {
        (self.queued != NIL).then_some(self.queued)
    }

    /// `index`, the next queued one, goes out under `id`.
    #[inline]
    pub(super) fn set_sent(&mut self, index: u32, id: PacketId) {
        debug_assert_eq!(index, self.queued, "sent in order");
        let entry = &mut self.entries[index as usize];
        entry.id = Some(id);
        entry.state = State::Sent;
        self.queued = entry.next;
        if std::mem::take(&mut entry.fresh) {
            debug_assert_eq!(index, self.fresh, "sent in order");
            self.fresh = entry.next;
            self.waiting -= 1;
        }
        if self.sent == NIL {
            self.sent = index;
        }
        self.in_flight += 1;
    }

    /// PUBREC came for `index`: moves it behind the last released entry and frees its packet.
    pub(super) fn release(&mut self, index: u32) {
        if self.entries[index as usize].state == State::Queued {
            self.in_flight += 1; // acknowledged before it was sent again
        }
        self.unlink(index);
        let before = if self.sent != NIL { self.sent } else { self.queued };
        let after = if before == NIL { self.tail } else { self.entries[before as usize].prev };
        self.link(index, after, before);
        let entry = &mut self.entries[index as usize];
        entry.state = State::Released;
        self.bytes -= entry.packet.len();
        self.payload_bytes -= std::mem::take(&mut entry.payload);
        free_packet(&mut entry.packet);
    }

    /// `index` is done: its token.
    #[inline]
    pub(super) fn remove(&mut self, index: u32) -> Token {
        if self.entries[index as usize].state != State::Queued {
            self.in_flight -= 1;
        }
        self.unlink(index);
        let free = self.free;
        let entry = &mut self.entries[index as usize];
        self.bytes -= entry.packet.len();
        self.payload_bytes -= std::mem::take(&mut entry.payload);
        self.waiting -= usize::from(std::mem::take(&mut entry.fresh));
        free_packet(&mut entry.packet);
        self.kept += entry.packet.capacity();
        entry.state = State::Free;
        entry.next = free;
        self.free = index;
        self.len -= 1;
        let token = entry.token;
        if self.len == 0 && self.kept + self.entries.len() * size_of::<Entry>() > KEEP_ALL {
            *self = Outbox::new();
        }
        token
    }

    /// The connection is lost: what was sent is queued again with its id, and its next PUBLISH is a repetition.
    pub(super) fn requeue(&mut self) {
        let mut index = self.sent;
        while index != NIL && self.entries[index as usize].state == State::Sent {
            let entry = &mut self.entries[index as usize];
            entry.state = State::Queued;
            entry.dup = true;
            self.in_flight -= 1;
            index = entry.next;
        }
        if self.sent != NIL {
            self.queued = self.sent;
            self.sent = NIL;
        }
    }

    /// The first released entry, and the one after a given one.
    pub(super) fn next_released(&self, after: Option<u32>) -> Option<u32> {
        let index = after.map_or(self.head, |index| self.entries[index as usize].next);
        (index != NIL && self.entries[index as usize].state == State::Released).then_some(index)
    }

    /// Every entry, in order.
    pub(super) fn for_each(&self, mut f: impl FnMut(&Entry)) {
        let mut index = self.head;
        while index != NIL {
            let entry = &self.entries[index as usize];
            f(entry);
            index = entry.next;
        }
    }

    /// Every queued entry, in order.
    pub(super) fn for_each_queued(&mut self, mut f: impl FnMut(&mut Entry)) {
        let mut index = self.queued;
        while index != NIL {
            let entry = &mut self.entries[index as usize];
            f(entry);
            index = entry.next;
        }
    }

    /// The oldest entry.
    pub(super) fn first(&self) -> Option<u32> {
        (self.head != NIL).then_some(self.head)
    }

    #[inline]
    fn take_free(&mut self) -> u32 {
        if self.free != NIL {
            let index = self.free;
            self.free = self.entries[index as usize].next;
            return index;
        }
        self.entries.push(Entry {
            packet: Vec::new(),
            token: Token::NONE,
            id: None,
            qos: Qos::AtLeastOnce,
            dup: false,
            resent: false,
            named: false,
            fresh: false,
            payload: 0,
            state: State::Free,
            prev: NIL,
            next: NIL,
        });
        (self.entries.len() - 1) as u32
    }

    #[inline]
    fn link(&mut self, index: u32, prev: u32, next: u32) {
        let entry = &mut self.entries[index as usize];
        entry.prev = prev;
        entry.next = next;
        match prev {
            NIL => self.head = index,
            _ => self.entries[prev as usize].next = index,
        }
        match next {
            NIL => self.tail = index,
            _ => self.entries[next as usize].prev = index,
        }
    }

    /// Takes an entry out of the list and off the borders.
    #[inline]
    fn unlink(&mut self, index: u32) {
        let Entry { prev, next, .. } = self.entries[index as usize];
        if self.sent == index {
            let sent = next != NIL && self.entries[next as usize].state == State::Sent;
            self.sent = if sent { next } else { NIL };
        }
        if self.queued == index {
            self.queued = next;
        }
        if self.fresh == index {
            self.fresh = next;
        }
        match prev {
            NIL => self.head = next,
            _ => self.entries[prev as usize].next = next,
        }
        match next {
            NIL => self.tail = prev,
            _ => self.entries[next as usize].prev = prev,
        }
    }
}

/// Empties a packet, keeping a small one's memory.
#[inline]
fn free_packet(packet: &mut Vec<u8>) {
    packet.clear();
    if packet.capacity() > KEEP {
        *packet = Vec::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u16) -> PacketId {
        PacketId::new(n).expect("not 0")
    }

    fn with(n: u16) -> Outbox {
        let mut outbox = Outbox::new();
        for k in 1..=n {
            outbox.push(Qos::ExactlyOnce, Token(u32::from(k)), 1, |packet| packet.push(k as u8));
        }
        outbox
    }

    fn send_all(outbox: &mut Outbox) {
        let mut n = 0;
        while let Some(index) = outbox.next_queued() {
            n += 1;
            outbox.set_sent(index, id(n));
        }
    }

    fn order(outbox: &Outbox) -> Vec<(u32, State)> {
        let mut all = Vec::new();
        let mut index = outbox.head;
        while index != NIL {
            let entry = outbox.entry(index);
            all.push((entry.token.0, entry.state));
            index = entry.next;
        }
        all
    }

    #[test]
    fn mqtt_4_6_0_4_released_entries_stand_in_the_order_of_their_pubrecs() {
        let mut outbox = with(4);
        send_all(&mut outbox);
        outbox.release(2);
        outbox.release(0);
        assert_eq!(
            order(&outbox),
            [(3, State::Released), (1, State::Released), (2, State::Sent), (4, State::Sent)]
        );
        assert_eq!(outbox.in_flight(), 4);
    }

    #[test]
    fn what_was_sent_is_queued_again_before_what_never_was() {
        let mut outbox = with(3);
        let first = outbox.next_queued().expect("three wait");
        outbox.set_sent(first, id(1));
        outbox.requeue();
        assert_eq!(order(&outbox), [(1, State::Queued), (2, State::Queued), (3, State::Queued)]);
        assert_eq!(outbox.next_queued(), Some(first));
        assert_eq!(outbox.entry(first).id, Some(id(1)));
        assert_eq!(outbox.in_flight(), 0);
    }

    #[test]
    fn entries_leave_from_anywhere_and_their_places_are_used_again() {
        let mut outbox = with(3);
        send_all(&mut outbox);
        assert_eq!(outbox.remove(1), Token(2));
        assert_eq!(order(&outbox), [(1, State::Sent), (3, State::Sent)]);
        outbox.push(Qos::AtLeastOnce, Token(4), 1, |packet| packet.push(4));
        assert_eq!(order(&outbox), [(1, State::Sent), (3, State::Sent), (4, State::Queued)]);
        assert_eq!(outbox.next_queued(), Some(1));
        for index in [0, 2, 1] {
            outbox.remove(index);
        }
        assert_eq!((outbox.len(), outbox.bytes(), outbox.in_flight(), outbox.first()), (0, 0, 0, None));
        assert_eq!((outbox.next_queued(), outbox.tail), (None, NIL));
        assert_eq!((outbox.first_waiting(), outbox.waiting(), outbox.payload_bytes()), (None, 0, 0));
    }

    #[test]
    fn what_was_never_sent_stands_at_the_end() {
        let mut outbox = with(3);
        assert_eq!((outbox.first_waiting(), outbox.waiting()), (Some(0), 3));
        let first = outbox.next_queued().expect("three wait");
        outbox.set_sent(first, id(1));
        outbox.requeue();
        assert_eq!((outbox.first_waiting(), outbox.waiting()), (Some(1), 2), "sent once is not waiting");
        outbox.remove(1);
        assert_eq!((outbox.first_waiting(), outbox.waiting()), (Some(2), 1));
        outbox.remove(2);
        assert_eq!((outbox.first_waiting(), outbox.waiting()), (None, 0));
        outbox.push(Qos::AtLeastOnce, Token(4), 1, |packet| packet.push(4));
        assert_eq!((outbox.first_waiting(), outbox.waiting()), (Some(2), 1));
        assert_eq!(order(&outbox), [(1, State::Queued), (4, State::Queued)]);
    }

    #[test]
    fn the_last_sent_one_leaves_and_the_border_with_it() {
        let mut outbox = with(2);
        let first = outbox.next_queued().expect("two wait");
        outbox.set_sent(first, id(1));
        outbox.release(first);
        assert_eq!(outbox.sent, NIL);
        let second = outbox.next_queued().expect("one waits");
        outbox.set_sent(second, id(2));
        assert_eq!(order(&outbox), [(1, State::Released), (2, State::Sent)]);
        assert_eq!(outbox.next_released(None), Some(first));
        assert_eq!(outbox.next_released(Some(first)), None);
    }
}
