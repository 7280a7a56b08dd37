//! Who gets a message: the filters of all sessions in a tree.

use std::collections::BTreeMap;

use crate::codec::{FilterTree, Qos, topic};

/// The subscriptions of all sessions. Filters have been checked before they come here.
#[derive(Debug)]
pub(super) struct Subscriptions {
    /// Invariant: no value is empty.
    filters: FilterTree<Subscribers>,
}

/// The sessions that subscribed to one filter.
#[derive(Debug, Default)]
struct Subscribers {
    own: BTreeMap<usize, Qos>,
    /// By the name of the group. Invariant: no group is empty.
    shared: BTreeMap<Box<str>, Group>,
}

/// The members of a shared subscription; one of them gets each message.
#[derive(Debug, Default)]
struct Group {
    members: Vec<(usize, Qos)>,
    /// Whose turn it is: the index of a member, or the number of members.
    turn: usize,
}

impl Subscriptions {
    pub(super) fn new() -> Subscriptions {
        Subscriptions { filters: FilterTree::new() }
    }

    /// Adds the session to the filter, or changes the QoS it has there.
    pub(super) fn insert(&mut self, filter: &str, session: usize, qos: Qos) {
        let (group, filter) = split_group(filter);
        self.filters.get_or_default(filter).insert(group, session, qos);
    }

    /// Takes the session off the filter, if it is there.
    pub(super) fn remove(&mut self, filter: &str, session: usize) {
        let (group, filter) = split_group(filter);
        let Some(subscribers) = self.filters.get_mut(filter) else { return };
        subscribers.remove(group, session);
        if subscribers.is_empty() {
            self.filters.remove(filter);
        }
    }

    /// Calls `receiver` for every session that is to get a message with this topic, once for each filter of its own
    /// that matches and once for each group that chose it. A group prefers members that are `online`.
    pub(super) fn matching(
        &mut self,
        topic: &str,
        online: impl Fn(usize) -> bool,
        mut receiver: impl FnMut(Receiver),
    ) {
        self.filters.for_each_match(topic, |subscribers| subscribers.choose(&online, &mut receiver));
    }
}

/// A session that is to get a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Receiver {
    pub(super) session: usize,
    /// The QoS of its subscription.
    pub(super) qos: Qos,
    /// Chosen by a group: this copy is not merged with those of other subscriptions.
    pub(super) shared: bool,
}

impl Subscribers {
    fn insert(&mut self, group: Option<&str>, session: usize, qos: Qos) {
        let Some(group) = group else {
            self.own.insert(session, qos);
            return;
        };
        let members = &mut self.shared.entry(group.into()).or_default().members;
        match members.iter_mut().find(|(member, _)| *member == session) {
            Some(member) => member.1 = qos,
            None => members.push((session, qos)),
        }
    }

    fn remove(&mut self, group: Option<&str>, session: usize) {
        let Some(name) = group else {
            self.own.remove(&session);
            return;
        };
        let Some(group) = self.shared.get_mut(name) else { return };
        if let Some(index) = group.members.iter().position(|(member, _)| *member == session) {
            group.members.remove(index);
            // The member after the removed one keeps its turn.
            group.turn -= usize::from(index < group.turn);
        }
        if group.members.is_empty() {
            self.shared.remove(name);
        }
    }

    fn is_empty(&self) -> bool {
        self.own.is_empty() && self.shared.is_empty()
    }

    fn choose(&mut self, online: impl Fn(usize) -> bool, receiver: &mut impl FnMut(Receiver)) {
        for (&session, &qos) in &self.own {
            receiver(Receiver { session, qos, shared: false });
        }
        for group in self.shared.values_mut() {
            let (session, qos) = group.next(&online);
            receiver(Receiver { session, qos, shared: true });
        }
    }
}

impl Group {
    fn next(&mut self, online: impl Fn(usize) -> bool) -> (usize, Qos) {
        let count = self.members.len();
        let turn = (self.turn..self.turn + count)
            .map(|turn| turn % count)
            .find(|&turn| online(self.members[turn].0))
            .unwrap_or(self.turn % count);
        self.turn = turn + 1;
        self.members[turn]
    }
}

/// A filter taken apart: the group of `$share/group/filter`, and the filter alone.
fn split_group(filter: &str) -> (Option<&str>, &str) {
    match topic::shared(filter) {
        Some((group, filter)) => (Some(group), filter),
        None => (None, filter),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receivers(tree: &mut Subscriptions, topic: &str) -> Vec<usize> {
        let mut found = Vec::new();
        tree.matching(topic, |_| true, |receiver| found.push(receiver.session));
        found.sort_unstable();
        found
    }

    #[test]
    fn a_session_gets_a_message_once_for_each_filter_of_its_own() {
        let mut tree = Subscriptions::new();
        for (filter, session) in [("a/b", 1), ("a/+", 1), ("a/#", 2), ("$share/g/a/b", 3)] {
            tree.insert(filter, session, Qos::AtMostOnce);
        }
        assert_eq!(receivers(&mut tree, "a/b"), [1, 1, 2, 3]);
        tree.insert("a/b", 1, Qos::ExactlyOnce);
        assert_eq!(receivers(&mut tree, "a/b"), [1, 1, 2, 3], "the same subscription, changed");
    }

    #[test]
    fn a_removed_filter_leaves_nothing_behind() {
        let mut tree = Subscriptions::new();
        let filters = ["a/b", "a/#", "#", "$share/g/a/b"];
        for filter in filters {
            tree.insert(filter, 7, Qos::AtMostOnce);
        }
        for filter in filters.into_iter().chain(["never/there"]) {
            tree.remove(filter, 7);
            tree.remove(filter, 7);
        }
        assert!(receivers(&mut tree, "a/b").is_empty());
        assert!(filters.iter().all(|filter| tree.filters.get_mut(split_group(filter).1).is_none()));
    }

    #[test]
    fn the_members_of_a_group_take_turns_and_the_absent_are_passed_over() {
        let mut tree = Subscriptions::new();
        for session in [1, 2, 3] {
            tree.insert("$share/g/jobs/+", session, Qos::AtMostOnce);
        }
        let next = |tree: &mut Subscriptions, absent: &[usize]| {
            let mut found = Vec::new();
            tree.matching("jobs/a", |session| !absent.contains(&session), |r| found.push(r.session));
            assert_eq!(found.len(), 1);
            found[0]
        };
        assert_eq!([1, 2, 3, 1], [(); 4].map(|()| next(&mut tree, &[])));
        assert_eq!(next(&mut tree, &[2]), 3);
        tree.remove("$share/g/jobs/+", 1);
        assert_eq!([2, 3, 2], [(); 3].map(|()| next(&mut tree, &[])));
        assert_eq!(next(&mut tree, &[2, 3]), 3, "nobody is there: it waits for the one whose turn it is");
    }
}
