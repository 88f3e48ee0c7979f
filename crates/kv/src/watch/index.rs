//! Which watches a change concerns.
//!
//! Watches of one key are looked up. Those of a range are kept sorted by where they begin, as an implicit search tree in
//! which each node knows how far the ranges below it reach (an augmented interval tree: Cormen et al., "Introduction to
//! Algorithms", section on interval trees); a look-up passes over those that end too early without touching them. New
//! ranges wait in a small list beside the tree, and gone ones are passed over, until there are so many that the tree is
//! built anew.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::request::{KeyRange, RangeEnd};

/// So many ranges may wait beside the tree, however small it is.
const WAITING_MIN: usize = 32;

/// The name of a watch.
pub type WatchKey = u64;

/// All watches by what they watch.
#[derive(Debug, Default)]
pub struct Index {
    keys: BTreeSet<(Bytes, WatchKey)>,
    tree: Vec<Node>,
    /// Ranges that are not in the tree yet.
    waiting: BTreeMap<WatchKey, Span>,
    /// How many in the tree are gone.
    gone: usize,
    /// The watches in the tree that are not gone, and where each begins.
    starts: BTreeMap<WatchKey, Bytes>,
}

/// A range that has an end, or has none.
#[derive(Clone, Debug)]
struct Span {
    start: Bytes,
    end: Option<Bytes>,
}

impl Span {
    fn holds(&self, key: &[u8]) -> bool {
        self.start <= key && reaches(&self.end, key)
    }
}

/// Whether a range with this end, or one without, reaches beyond a key.
fn reaches(end: &Option<Bytes>, key: &[u8]) -> bool {
    end.as_ref().is_none_or(|end| key < end)
}

#[derive(Debug)]
struct Node {
    span: Span,
    watch: WatchKey,
    is_gone: bool,
    /// The farthest end in the subtree whose root this is.
    reach: Option<Bytes>,
}

impl Index {
    /// Adds a watch, whose name must be new.
    pub fn add(&mut self, watch: WatchKey, range: &KeyRange) {
        let end = match &range.end {
            RangeEnd::Single => {
                self.keys.insert((range.start.clone(), watch));
                return;
            }
            RangeEnd::Before(end) => Some(end.clone()),
            RangeEnd::Unbounded => None,
        };
        self.waiting.insert(watch, Span { start: range.start.clone(), end });
        if self.waiting.len() > WAITING_MIN + self.tree.len() / 4 {
            self.rebuild();
        }
    }

    /// Removes a watch of this range, if it is here.
    pub fn remove(&mut self, watch: WatchKey, range: &KeyRange) {
        if range.end == RangeEnd::Single {
            self.keys.remove(&(range.start.clone(), watch));
            return;
        }
        if self.waiting.remove(&watch).is_some() {
            return;
        }
        let Some(start) = self.starts.remove(&watch) else { return };
        let found =
            self.tree.binary_search_by(|node| (&node.span.start, node.watch).cmp(&(&start, watch)));
        if let Ok(place) = found {
            self.tree[place].is_gone = true;
            self.gone += 1;
        }
        if self.gone > WAITING_MIN + self.tree.len() / 2 {
            self.rebuild();
        }
    }

    /// Whether no watch is here.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.waiting.is_empty() && self.starts.is_empty()
    }

    /// Names each watch that a change of this key concerns, once, in no particular order.
    pub fn each(&self, key: &Bytes, mut name: impl FnMut(WatchKey)) {
        for (_, watch) in
            self.keys.range((key.clone(), 0)..).take_while(|(watched, _)| watched == key)
        {
            name(*watch);
        }
        for (watch, span) in &self.waiting {
            if span.holds(key) {
                name(*watch);
            }
        }
        each_under(&self.tree, key, &mut name);
    }

    fn rebuild(&mut self) {
        let mut nodes: Vec<Node> =
            std::mem::take(&mut self.tree).into_iter().filter(|node| !node.is_gone).collect();
        for (watch, span) in std::mem::take(&mut self.waiting) {
            self.starts.insert(watch, span.start.clone());
            nodes.push(Node { span, watch, is_gone: false, reach: None });
        }
        nodes.sort_unstable_by(|a, b| (&a.span.start, a.watch).cmp(&(&b.span.start, b.watch)));
        note_reach(&mut nodes);
        self.tree = nodes;
        self.gone = 0;
    }
}

/// The root of a subtree that is not empty, between what is left of it and what is right.
fn root_of<T>(nodes: &[T]) -> usize {
    nodes.len() / 2
}

fn each_under(nodes: &[Node], key: &[u8], name: &mut impl FnMut(WatchKey)) {
    if nodes.is_empty() {
        return;
    }
    let (left, rest) = nodes.split_at(root_of(nodes));
    let (root, right) = (&rest[0], &rest[1..]);
    if !reaches(&root.reach, key) {
        return;
    }
    each_under(left, key, name);
    if root.span.start <= key {
        if !root.is_gone && root.span.holds(key) {
            name(root.watch);
        }
        each_under(right, key, name);
    }
}

/// Notes in each node how far its subtree reaches, and returns how far they all do.
fn note_reach(nodes: &mut [Node]) -> Option<Bytes> {
    let (left, rest) = nodes.split_at_mut(root_of(nodes));
    let (root, right) = rest.split_first_mut()?;
    let mut reach = root.span.end.clone();
    for side in [left, right] {
        if !side.is_empty() {
            let farther = note_reach(side);
            reach = match (reach, farther) {
                (Some(a), Some(b)) => Some(a.max(b)),
                _ => None,
            };
        }
    }
    root.reach = reach.clone();
    reach
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn any_key() -> impl Strategy<Value = Bytes> {
        vec(prop::sample::select(vec![b'a', b'b', b'c']), 0..4).prop_map(Bytes::from)
    }

    fn any_range() -> impl Strategy<Value = KeyRange> {
        let end = prop_oneof![
            Just(RangeEnd::Single),
            any_key().prop_map(RangeEnd::Before),
            Just(RangeEnd::Unbounded)
        ];
        (any_key(), end).prop_map(|(start, end)| KeyRange { start, end })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_change_is_told_to_those_whose_range_holds_its_key(
            ranges in vec((any_range(), any::<bool>()), 0..300),
            keys in vec(any_key(), 1..20),
        ) {
            let mut index = Index::default();
            for (watch, (range, _)) in (0..).zip(&ranges) {
                index.add(watch, range);
            }
            for (watch, (range, is_gone)) in (0..).zip(&ranges) {
                if *is_gone {
                    index.remove(watch, range);
                }
            }
            for key in keys {
                let mut found = Vec::new();
                index.each(&key, |watch| found.push(watch));
                found.sort_unstable();
                let concerned = (0..).zip(&ranges).filter(|(_, (range, is_gone))| {
                    !is_gone && range.holds(&key)
                });
                let expected: Vec<WatchKey> = concerned.map(|(watch, _)| watch).collect();
                prop_assert_eq!(found, expected);
            }
            prop_assert_eq!(index.is_empty(), ranges.iter().all(|(_, is_gone)| *is_gone));
        }
    }
}
