//! [`FilterTree`]: values kept under topic filters, found by a topic name without a look at every filter.
//!
//! The tree of topic levels lies in a slab and is walked with an explicit stack, so that neither a filter of thirty
//! thousand levels nor its removal can overflow the thread's stack. Finding what matches costs by the depth of the topic
//! and the number of filters that match, not by the number of filters.

use std::collections::HashMap;

use super::slab::Slab;

/// A map from topic filters to values. Filters have been checked before they come here, and stand without
/// `$share/<group>/` (see [`topic::shared`](super::topic::shared)).
#[derive(Debug)]
pub struct FilterTree<T> {
    nodes: Slab<Node<T>>,
}

/// One level of a filter, reached by the levels before it.
#[derive(Debug)]
struct Node<T> {
    /// Invariant: no child is without values and without children.
    children: HashMap<Box<str>, usize>,
    /// The child for `+`.
    plus: Option<usize>,
    /// Of the filter that ends here.
    here: Option<T>,
    /// Of the filter that ends here with `/#`.
    below: Option<T>,
}

impl<T> FilterTree<T> {
    /// An empty tree.
    pub fn new() -> FilterTree<T> {
        let mut nodes = Slab::new();
        let root = nodes.insert(Node::new());
        debug_assert_eq!(root, ROOT);
        FilterTree { nodes }
    }

    /// The value of a filter.
    pub fn get_mut(&mut self, filter: &str) -> Option<&mut T> {
        let (levels, below) = split_below(filter);
        let mut at = ROOT;
        for level in split_levels(levels) {
            at = self.child(at, level)?;
        }
        self.nodes[at].place(below).as_mut()
    }

    /// The value of a filter, a new one if there is none.
    pub fn get_or_default(&mut self, filter: &str) -> &mut T
    where
        T: Default,
    {
        let (levels, below) = split_below(filter);
        let mut at = ROOT;
        for level in split_levels(levels) {
            at = match self.child(at, level) {
                Some(child) => child,
                None => {
                    let child = self.nodes.insert(Node::new());
                    match level {
                        "+" => self.nodes[at].plus = Some(child),
                        _ => drop(self.nodes[at].children.insert(level.into(), child)),
                    }
                    child
                }
            };
        }
        self.nodes[at].place(below).get_or_insert_default()
    }

    /// Takes the value of a filter out.
    pub fn remove(&mut self, filter: &str) -> Option<T> {
        let (levels, below) = split_below(filter);
        let mut at = ROOT;
        let mut path = Vec::new();
        for level in split_levels(levels) {
            let child = self.child(at, level)?;
            path.push((at, level));
            at = child;
        }
        let value = self.nodes[at].place(below).take()?;
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
        Some(value)
    }

    /// Calls `found` with the value of each filter that a topic name matches.
    pub fn for_each_match(&mut self, topic: &str, mut found: impl FnMut(&mut T)) {
        // Wildcards do not reach topics that start with `$` [MQTT-4.7.2-1]; only at the root can that matter.
        let hidden = topic.starts_with('$');
        let mut stack = vec![(ROOT, Some(topic))];
        while let Some((at, rest)) = stack.pop() {
            let node = &mut self.nodes[at];
            let wild = at != ROOT || !hidden;
            if wild {
                node.below.as_mut().map(&mut found);
            }
            let Some(rest) = rest else {
                node.here.as_mut().map(&mut found);
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

impl<T> Default for FilterTree<T> {
    fn default() -> FilterTree<T> {
        FilterTree::new()
    }
}

impl<T> Node<T> {
    fn new() -> Node<T> {
        Node { children: HashMap::new(), plus: None, here: None, below: None }
    }

    fn place(&mut self, below: bool) -> &mut Option<T> {
        if below { &mut self.below } else { &mut self.here }
    }

    fn is_empty(&self) -> bool {
        self.children.is_empty() && self.plus.is_none() && self.here.is_none() && self.below.is_none()
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

fn split_levels(levels: Option<&str>) -> impl Iterator<Item = &str> {
    levels.into_iter().flat_map(|levels| levels.split('/'))
}

const ROOT: usize = 0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::topic;

    fn found(tree: &mut FilterTree<usize>, topic: &str) -> Vec<usize> {
        let mut found = Vec::new();
        tree.for_each_match(topic, |value| found.push(*value));
        found.sort_unstable();
        found
    }

    #[test]
    fn a_topic_finds_the_filters_that_match_it() {
        let filters =
            ["a/b", "a/+", "a/#", "#", "+/b", "+", "a/b/#", "/+", "+/+", "a//c", "$SYS/#", "$SYS/+"];
        let mut tree = FilterTree::new();
        for (number, filter) in filters.iter().enumerate() {
            *tree.get_or_default(filter) = number;
        }
        let topics = ["a/b", "a", "a/b/c", "/x", "a//c", "$SYS/load", "$SYS", "b", "a/"];
        for topic in topics {
            let wanted: Vec<usize> =
                (0..filters.len()).filter(|&i| topic::matches(filters[i], topic)).collect();
            assert_eq!(found(&mut tree, topic), wanted, "{topic}");
        }
    }

    #[test]
    fn a_filter_has_one_value() {
        let mut tree = FilterTree::new();
        for filter in ["a/b", "a/#", "#", "+"] {
            assert_eq!(tree.get_mut(filter), None, "{filter}");
            *tree.get_or_default(filter) += 1;
            *tree.get_or_default(filter) += 1;
            assert_eq!(tree.get_mut(filter), Some(&mut 2), "{filter}");
        }
        assert_eq!(tree.get_mut("a"), None);
    }

    #[test]
    fn a_removed_filter_leaves_nothing_behind() {
        let mut tree = FilterTree::new();
        let filters = ["a/b/c", "a/+/c", "a/#", "#"];
        for filter in filters {
            *tree.get_or_default(filter) = 7;
        }
        assert_eq!((tree.remove("never/there"), tree.remove("a"), tree.remove("a/b")), (None, None, None));
        for filter in filters {
            assert_eq!(tree.remove(filter), Some(7), "{filter}");
            assert_eq!(tree.remove(filter), None, "{filter}");
        }
        assert!(tree.nodes[ROOT].is_empty());
        assert_eq!(tree.nodes.iter_mut().count(), 1);
        assert!(found(&mut tree, "a/b/c").is_empty());
    }

    #[test]
    fn a_filter_of_thirty_thousand_levels_is_found_and_removed() {
        let filter = "/".repeat(30_000);
        let mut tree = FilterTree::new();
        *tree.get_or_default(&filter) = 1;
        assert_eq!(found(&mut tree, &filter), [1]);
        assert_eq!(tree.remove(&filter), Some(1));
        assert_eq!(tree.nodes.iter_mut().count(), 1);
    }
}
