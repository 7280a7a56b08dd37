//! Who gets a message: the filters of all sessions as a tree of topic levels.
//!
//! The tree lies in a [`Slab`] and is walked with an explicit stack, so that neither a filter of thirty thousand
//! levels nor its removal can overflow the thread's stack. Finding the receivers of a message costs by the depth of
//! its topic and the number of filters that match, not by the number of subscriptions.

use std::collections::{BTreeMap, HashMap};

use super::slab::Slab;
use crate::codec::{Qos, topic};

/// The subscriptions of all sessions. Filters have been checked before they come here.
#[derive(Debug)]
pub(super) struct Subscriptions {
    nodes: Slab<Node>,
}

/// One level of a filter, reached by the levels before it.
#[derive(Debug, Default)]
struct Node {
    /// Invariant: no child is without subscribers and without children.
    children: HashMap<Box<str>, usize>,
    /// The child for `+`.
    plus: Option<usize>,
    /// Filters that end here.
    here: Subscribers,
    /// Filters that end here with `/#`.
    below: Subscribers,
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
        let mut nodes = Slab::new();
        let root = nodes.insert(Node::default());
        debug_assert_eq!(root, ROOT);
        Subscriptions { nodes }
    }

    /// Adds the session to the filter, or changes the QoS it has there.
    pub(super) fn insert(&mut self, filter: &str, session: usize, qos: Qos) {
        let (group, filter) = split_group(filter);
        let (levels, below) = split_below(filter);
        let mut at = ROOT;
        for level in levels.into_iter().flat_map(|levels| levels.split('/')) {
            at = match self.child(at, level) {
                Some(child) => child,
                None => {
                    let child = self.nodes.insert(Node::default());
                    match level {
                        "+" => self.nodes[at].plus = Some(child),
                        _ => drop(self.nodes[at].children.insert(level.into(), child)),
                    }
                    child
                }
            };
        }
        self.nodes[at].subscribers(below).insert(group, session, qos);
    }

    /// Takes the session off the filter, if it is there.
    pub(super) fn remove(&mut self, filter: &str, session: usize) {
        let (group, filter) = split_group(filter);
        let (levels, below) = split_below(filter);
        let mut at = ROOT;
        let mut path = Vec::new();
        for level in levels.into_iter().flat_map(|levels| levels.split('/')) {
            let Some(child) = self.child(at, level) else { return };
            path.push((at, level));
            at = child;
        }
        self.nodes[at].subscribers(below).remove(group, session);
        while self.nodes[at].is_empty()
            && let Some((parent, level)) = path.pop()
        {
            self.nodes.remove(at);
            match level {
                "+" => self.nodes[parent].plus = None,
                _ => drop(self.nodes[parent].children.remove(level)),
            }
            at = parent;
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
        // Wildcards do not reach topics that start with `$` [MQTT-4.7.2-1]; only at the root can that matter.
        let hidden = topic.starts_with('$');
        let mut stack = vec![(ROOT, Some(topic))];
        while let Some((at, rest)) = stack.pop() {
            let node = &mut self.nodes[at];
            let wild = at != ROOT || !hidden;
            if wild {
                node.below.choose(&online, &mut receiver);
            }
            let Some(rest) = rest else {
                node.here.choose(&online, &mut receiver);
                continue;
            };
            let (level, rest) = match rest.split_once('/') {
                Some((level, rest)) => (level, Some(rest)),
                None => (rest, None),
            };
            stack.extend(node.plus.filter(|_| wild).map(|child| (child, rest)));
            stack.extend(node.children.get(level).map(|&child| (child, rest)));
        }
    }

    fn child(&self, at: usize, level: &str) -> Option<usize> {
        match level {
            "+" => self.nodes[at].plus,
            _ => self.nodes[at].children.get(level).copied(),
        }
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

impl Node {
    fn subscribers(&mut self, below: bool) -> &mut Subscribers {
        if below { &mut self.below } else { &mut self.here }
    }

    fn is_empty(&self) -> bool {
        self.children.is_empty() && self.plus.is_none() && self.here.is_empty() && self.below.is_empty()
    }
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

/// The levels before a final `#` (none for `#` alone), and whether there is one.
fn split_below(filter: &str) -> (Option<&str>, bool) {
    match filter {
        "#" => (None, true),
        _ => match filter.strip_suffix("/#") {
            Some(levels) => (Some(levels), true),
            None => (Some(filter), false),
        },
    }
}

const ROOT: usize = 0;

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
    fn a_topic_finds_the_filters_that_match_it() {
        let filters =
            ["a/b", "a/+", "a/#", "#", "+/b", "+", "a/b/#", "/+", "+/+", "a//c", "$SYS/#", "$SYS/+"];
        let mut tree = Subscriptions::new();
        for (session, filter) in filters.iter().enumerate() {
            tree.insert(filter, session, Qos::AtMostOnce);
        }
        let topics = ["a/b", "a", "a/b/c", "/x", "a//c", "$SYS/load", "$SYS", "b", "a/"];
        for topic in topics {
            let wanted: Vec<usize> =
                (0..filters.len()).filter(|&i| topic::matches(filters[i], topic)).collect();
            assert_eq!(receivers(&mut tree, topic), wanted, "{topic}");
        }
    }

    #[test]
    fn a_removed_filter_leaves_nothing_behind() {
        let mut tree = Subscriptions::new();
        for filter in ["a/b/c", "a/+/c", "a/#", "#", "$share/g/a/b"] {
            tree.insert(filter, 7, Qos::AtMostOnce);
        }
        for filter in ["a/b/c", "a/+/c", "a/#", "#", "$share/g/a/b", "never/there"] {
            tree.remove(filter, 7);
        }
        assert!(tree.nodes[ROOT].is_empty());
        assert_eq!(tree.nodes.iter_mut().count(), 1);
        assert!(receivers(&mut tree, "a/b/c").is_empty());
    }

    #[test]
    fn a_filter_of_thirty_thousand_levels_is_found_and_removed() {
        let filter = "/".repeat(30_000);
        let mut tree = Subscriptions::new();
        tree.insert(&filter, 1, Qos::AtMostOnce);
        assert_eq!(receivers(&mut tree, &filter), [1]);
        tree.remove(&filter, 1);
        assert_eq!(tree.nodes.iter_mut().count(), 1);
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
