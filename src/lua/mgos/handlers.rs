//! Which handlers a connection has. The functions themselves stand in slots of its userdata, a row of slots for each
//! handler; here is known which row is whose.

use std::collections::HashMap;

use crate::codec::{FilterTree, topic};

/// Where the function of `set_connect_fn` stands.
pub(super) const CONNECT: i32 = 1;

/// The first row, and how long rows are.
const FIRST: i32 = 16;
const ROW: i32 = 8;

/// Events of a connection; the order is that of `handlers.lua`.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Publish,
    Suback,
    Close,
    Connack,
    /// CONNACK with a code other than 0.
    Refusal,
    Puback,
    Unsuback,
    Poll,
}

/// Events of `add_cloud_handler`; the order is that of `handlers.lua`.
#[derive(Clone, Copy)]
pub(super) enum Cloud {
    Connecting,
    Connected,
    Disconnected,
    ConnectError,
}

/// A handler's row of slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row(u32);

impl Row {
    /// The slot for the event of this number.
    pub(super) fn slot(self, event: usize) -> i32 {
        FIRST + ROW * self.0 as i32 + event as i32
    }

    pub(super) fn of(self, kind: Kind) -> i32 {
        self.slot(kind as usize)
    }

    /// All its slots.
    pub(super) fn slots(self) -> std::ops::Range<i32> {
        self.slot(0)..self.slot(0) + ROW
    }
}

/// A handler of one topic filter.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subscriber {
    /// Ascending: handlers run in the order in which they came.
    number: u64,
    pub(super) row: Row,
    /// It hears of SUBACK and of the end of the connection too.
    pub(super) hears_all: bool,
}

/// See the [module](self).
#[derive(Default)]
pub(super) struct Handlers {
    /// By filter as it was given, in their order.
    by_filter: HashMap<Box<str>, Vec<Subscriber>>,
    /// The same by filter without `$share/<group>/`.
    tree: FilterTree<Vec<Subscriber>>,
    /// Those of everything, oldest first.
    global: Vec<Row>,
    cloud: Vec<Row>,
    /// Rows that are not in use, below the first that never was.
    free: Vec<Row>,
    rows: u32,
    numbers: u64,
    /// For `matching`.
    found: Vec<Subscriber>,
}

impl Handlers {
    /// A handler for a topic filter.
    pub(super) fn subscribe(&mut self, filter: &str, hears_all: bool) -> Row {
        self.numbers += 1;
        let subscriber = Subscriber { number: self.numbers, row: self.take_row(), hears_all };
        self.by_filter.entry(filter.into()).or_default().push(subscriber);
        self.tree.get_or_default(without_group(filter)).push(subscriber);
        subscriber.row
    }

    /// Forgets all handlers of a topic filter: their rows, which are empty from now on.
    pub(super) fn unsubscribe(&mut self, filter: &str) -> Vec<Row> {
        let rows: Vec<Row> =
            self.by_filter.remove(filter).unwrap_or_default().iter().map(|it| it.row).collect();
        let filter = without_group(filter);
        if let Some(subscribers) = self.tree.get_mut(filter) {
            subscribers.retain(|it| !rows.contains(&it.row));
            if subscribers.is_empty() {
                self.tree.remove(filter);
            }
        }
        self.free.extend(&rows);
        rows
    }

    /// A handler for everything that no other one takes.
    pub(super) fn add_global(&mut self) -> Row {
        let row = self.take_row();
        self.global.push(row);
        row
    }

    /// Forgets such a handler; its row is empty from now on.
    pub(super) fn remove_global(&mut self, row: Row) {
        self.global.retain(|other| *other != row);
        self.free.push(row);
    }

    /// A handler for cloud events.
    pub(super) fn add_cloud(&mut self) -> Row {
        let row = self.take_row();
        self.cloud.push(row);
        row
    }

    /// The handlers of all filters that a topic matches, in their order.
    pub(super) fn matching(&mut self, topic: &str) -> &[Subscriber] {
        let Handlers { tree, found, .. } = self;
        found.clear();
        tree.for_each_match(topic, |subscribers| found.extend_from_slice(subscribers));
        if found.len() > 1 {
            found.sort_unstable_by_key(|it| it.number);
        }
        found
    }

    /// The handlers of one filter, in their order.
    pub(super) fn of_filter(&self, filter: &str) -> &[Subscriber] {
        self.by_filter.get(filter).map_or(&[], |subscribers| subscribers)
    }

    /// The handlers of topics that hear of the end of the connection, in their order.
    pub(super) fn hearing_all(&mut self) -> &[Subscriber] {
        let Handlers { by_filter, found, .. } = self;
        found.clear();
        found.extend(by_filter.values().flatten().filter(|it| it.hears_all));
        found.sort_unstable_by_key(|it| it.number);
        found
    }

    /// The handlers of everything, newest first.
    pub(super) fn global(&self) -> impl Iterator<Item = Row> {
        self.global.iter().rev().copied()
    }

    /// The handlers of cloud events, oldest first.
    pub(super) fn cloud(&self) -> impl Iterator<Item = Row> {
        self.cloud.iter().copied()
    }

    fn take_row(&mut self) -> Row {
        self.free.pop().unwrap_or_else(|| {
            self.rows += 1;
            Row(self.rows - 1)
        })
    }
}

fn without_group(filter: &str) -> &str {
    topic::shared(filter).map_or(filter, |(_, filter)| filter)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(subscribers: &[Subscriber]) -> Vec<u32> {
        subscribers.iter().map(|it| it.row.0).collect()
    }

    #[test]
    fn every_handler_of_every_matching_filter_is_found_in_the_order_of_the_calls() {
        let mut handlers = Handlers::default();
        for filter in ["a/+", "a/b", "#", "a/+", "$share/g/a/b", "x"] {
            handlers.subscribe(filter, false);
        }
        assert_eq!(rows(handlers.matching("a/b")), [0, 1, 2, 3, 4]);
        assert_eq!(rows(handlers.matching("a/c")), [0, 2, 3]);
        assert!(handlers.matching("$SYS").is_empty());
        assert_eq!(rows(handlers.of_filter("a/+")), [0, 3]);
        assert_eq!(rows(handlers.of_filter("$share/g/a/b")), [4]);
        assert!(handlers.of_filter("b").is_empty());
    }

    #[test]
    fn unsubscribing_ends_the_handlers_of_that_filter_only() {
        let mut handlers = Handlers::default();
        for filter in ["a", "a", "$share/g/a", "#"] {
            handlers.subscribe(filter, true);
        }
        assert_eq!(handlers.unsubscribe("a"), [Row(0), Row(1)]);
        assert_eq!(rows(handlers.matching("a")), [2, 3]);
        assert_eq!(rows(handlers.hearing_all()), [2, 3]);
        assert!(handlers.unsubscribe("a").is_empty());
        assert_eq!(handlers.unsubscribe("$share/g/a"), [Row(2)]);
        assert_eq!(rows(handlers.matching("a")), [3]);
        // rows are used again, the order stays that of the calls
        handlers.subscribe("a", false);
        assert_eq!(rows(handlers.matching("a")), [3, 2]);
    }

    #[test]
    fn global_handlers_run_newest_first() {
        let mut handlers = Handlers::default();
        let first = handlers.add_global();
        let second = handlers.add_global();
        assert_eq!(handlers.global().collect::<Vec<_>>(), [second, first]);
        handlers.remove_global(second);
        assert_eq!(handlers.global().collect::<Vec<_>>(), [first]);
        assert_eq!(handlers.add_cloud(), second, "its row");
    }

    #[test]
    fn rows_do_not_overlap() {
        assert_eq!(Row(0).of(Kind::Publish), FIRST);
        assert_eq!(Row(0).of(Kind::Poll) + 1, Row(1).of(Kind::Publish));
        assert!(Row(3).slots().contains(&Row(3).slot(Cloud::ConnectError as usize)));
    }
}
