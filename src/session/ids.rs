//! Packet ids: which are in use, and for what.
//!
//! One pool serves PUBLISH, SUBSCRIBE and UNSUBSCRIBE. Looking an id up is one index into a page of 256, and pages exist
//! only where ids are in use, so a session that sends nothing holds nothing and a full window costs 4 bytes an id.

use super::on_demand::{Blank, OnDemand};
use crate::codec::PacketId;

/// A map from packet id to a number below [`IdMap::MAX`].
#[derive(Debug, Default)]
pub(super) struct IdMap {
    /// Indexed by the id's upper byte; as long as the highest page ever used.
    pages: Vec<Option<Box<Page>>>,
    len: usize,
}

#[derive(Debug)]
struct Page {
    used: u16,
    /// Indexed by the id's lower byte; 0: not in use, else the value plus one.
    slots: [u32; 256],
}

impl Blank for IdMap {
    const BLANK: IdMap = IdMap { pages: Vec::new(), len: 0 };
    const SHOWN: &'static IdMap = &IdMap::BLANK;

    fn is_blank(&self) -> bool {
        self.len == 0
    }
}

impl IdMap {
    /// One more than the largest value.
    pub(super) const MAX: u32 = u32::MAX;

    #[inline]
    fn place(id: PacketId) -> (usize, usize) {
        (usize::from(id.get() >> 8), usize::from(id.get() & 0xFF))
    }

    /// What `id` stands for, if it is in use.
    #[inline]
    pub(super) fn get(&self, id: PacketId) -> Option<u32> {
        let (page, slot) = Self::place(id);
        self.pages.get(page)?.as_ref()?.slots[slot].checked_sub(1)
    }

    /// Sets what `id` stands for.
    #[inline]
    pub(super) fn insert(&mut self, id: PacketId, value: u32) {
        debug_assert!(value < Self::MAX);
        let (page, slot) = Self::place(id);
        if page >= self.pages.len() {
            self.pages.resize_with(page + 1, || None);
        }
        let page = self.pages[page].get_or_insert_with(|| Box::new(Page { used: 0, slots: [0; 256] }));
        if page.slots[slot] == 0 {
            page.used += 1;
            self.len += 1;
        }
        page.slots[slot] = value + 1;
    }

    /// Frees `id`; what it stood for.
    #[inline]
    pub(super) fn remove(&mut self, id: PacketId) -> Option<u32> {
        let (at, slot) = Self::place(id);
        let page = self.pages.get_mut(at)?.as_mut()?;
        let value = page.slots[slot].checked_sub(1)?;
        page.slots[slot] = 0;
        page.used -= 1;
        self.len -= 1;
        // The window moves upwards: a page it has left is given back, the one it works in stays until its last slot.
        if page.used == 0 && slot == 0xFF {
            self.pages[at] = None;
        }
        Some(value)
    }

    /// How many ids are in use.
    pub(super) fn len(&self) -> usize {
        self.len
    }
}

/// The ids of the packets that we send.
#[derive(Debug)]
pub(super) struct Ids {
    used: OnDemand<IdMap>,
    /// Where the search for a free id starts: going round all of them keeps a late acknowledgement of a finished packet
    /// from meeting a new one.
    next: PacketId,
}

impl Ids {
    pub(super) fn new() -> Ids {
        Ids { used: OnDemand::new(), next: PacketId::MIN }
    }

    /// An id that is not in use \[MQTT-2.3.1-2\], now standing for `value`; none when all 65,535 are.
    #[inline]
    pub(super) fn allocate(&mut self, value: u32) -> Option<PacketId> {
        let id = self.take_turn()?;
        self.used.insert(id, value);
        Some(id)
    }

    /// The next id in turn that is not in use, and still is not after this.
    #[inline]
    pub(super) fn take_turn(&mut self) -> Option<PacketId> {
        if self.used.len() == usize::from(u16::MAX) {
            return None;
        }
        let mut id = self.next;
        while self.used.get(id).is_some() {
            id = id.next();
        }
        self.next = id.next();
        Some(id)
    }

    /// Takes an id that is not in use.
    pub(super) fn occupy(&mut self, id: PacketId, value: u32) {
        debug_assert!(self.used.get(id).is_none(), "one id for one packet [MQTT-2.3.1-2]");
        self.used.insert(id, value);
    }

    /// What an id in use stands for.
    #[inline]
    pub(super) fn get(&self, id: PacketId) -> Option<u32> {
        self.used.get(id)
    }

    /// Makes an id free for new packets \[MQTT-2.3.1-3\].
    #[inline]
    pub(super) fn release(&mut self, id: PacketId) {
        self.used.remove(id);
    }

    /// How many are in use.
    pub(super) fn len(&self) -> usize {
        self.used.len()
    }

    /// Gives back memory that holds nothing.
    pub(super) fn shrink(&mut self) {
        self.used.shrink();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mqtt_2_3_1_1_ids_are_never_zero_and_go_round() {
        let mut ids = Ids::new();
        let mut last = 0;
        for _ in 0..70_000 {
            let id = ids.allocate(0).expect("one is free");
            assert_eq!(id.get(), if last == 65_535 { 1 } else { last + 1 });
            last = id.get();
            ids.release(id);
        }
    }

    #[test]
    fn mqtt_2_3_1_2_an_id_in_use_is_passed_over() {
        let mut ids = Ids::new();
        let held = ids.allocate(7).expect("all are free");
        for _ in 0..140_000 {
            let id = ids.allocate(1).expect("one is free");
            assert_ne!(id, held);
            ids.release(id);
        }
        assert_eq!(ids.get(held), Some(7));
    }

    #[test]
    fn when_all_ids_are_in_use_there_is_none() {
        let mut ids = Ids::new();
        for n in 0..65_535 {
            assert!(ids.allocate(n).is_some());
        }
        assert_eq!(ids.allocate(0), None);
        let id = PacketId::new(300).expect("not 0");
        ids.release(id);
        assert_eq!(ids.allocate(9), Some(id));
    }

    #[test]
    fn pages_are_given_back() {
        let mut map = IdMap::default();
        for n in 1..=65_535 {
            let id = PacketId::new(n).expect("not 0");
            map.insert(id, u32::from(n));
            assert_eq!(map.remove(id), Some(u32::from(n)));
        }
        assert!(map.pages.iter().all(Option::is_none));
    }
}
