//! What was written and is not in a file yet.
//!
//! A B-tree whose nodes are shared as long as somebody reads them as they were. One thread writes. A view takes a handle
//! on the root and is done; what is written while it is held goes to copies of the nodes on its way, and where nobody
//! holds a view, to the nodes themselves. So nothing is kept of a value that was overwritten but what a view sees.

mod keys;

use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;

use keys::{Fences, Keys};

/// A key, and its new value or none if it is gone.
pub(super) type Change = (Bytes, Option<Bytes>);

/// How many entries a leaf has at most. A copy of it costs twice as many handles.
const LEAF_KEYS_MAX: usize = 32;

/// How many keys a node above the leaves has at most. There are few of these nodes, and the fewer levels they make, the
/// less a search has to wait for.
const INNER_KEYS_MAX: usize = 128;

/// What an entry costs beside its key and value, about: two handles and a number, in nodes that are two thirds full.
const ENTRY_BYTES: u64 = 120;

/// Changes in memory, ordered by key. A clone is as the original was, and shares what neither of them changes.
#[derive(Clone)]
pub(super) struct Memtable {
    root: Arc<Node>,
    /// Keys and values.
    bytes: u64,
    /// Values that were deleted. Their memory may be shared with what is still here.
    deleted_bytes: u64,
    entries: u64,
}

#[derive(Clone)]
enum Node {
    Leaf(Leaf),
    Inner(Inner),
}

#[derive(Clone)]
struct Leaf {
    keys: Keys,
    values: Vec<Option<Bytes>>,
}

#[derive(Clone)]
struct Inner {
    /// The first key that may be in each child but the first.
    keys: Keys,
    children: Vec<Arc<Node>>,
}

/// What an insertion did to a node.
enum Inserted {
    /// A new entry.
    New,
    /// A new value in the place of one of so many bytes.
    Replaced(usize),
    /// A new entry; and the node has become two, of which the second begins with the key.
    Split(Bytes, Arc<Node>),
}

impl Default for Memtable {
    fn default() -> Self {
        let keys = Keys::with_capacity(LEAF_KEYS_MAX);
        let leaf = Leaf { keys, values: Vec::with_capacity(LEAF_KEYS_MAX) };
        Memtable { root: Arc::new(Node::Leaf(leaf)), bytes: 0, deleted_bytes: 0, entries: 0 }
    }
}

impl Memtable {
    pub(super) fn insert(&mut self, key: Bytes, value: Option<Bytes>) {
        let is_deletion = value.is_none();
        let value_bytes = value.as_ref().map_or(0, Bytes::len);
        let bytes = (key.len() + value_bytes) as u64;
        match Arc::make_mut(&mut self.root).insert(key, value, Fences::default()) {
            Inserted::Replaced(before) => {
                self.bytes = self.bytes + value_bytes as u64 - before as u64;
                self.deleted_bytes += if is_deletion { before as u64 } else { 0 };
                return;
            }
            Inserted::New => {}
            Inserted::Split(first, right) => {
                let mut keys = Keys::with_capacity(INNER_KEYS_MAX);
                keys.insert(0, first);
                let mut children = Vec::with_capacity(INNER_KEYS_MAX + 1);
                children.extend([self.root.clone(), right]);
                self.root = Arc::new(Node::Inner(Inner { keys, children }));
            }
        }
        self.bytes += bytes;
        self.entries += 1;
    }

    /// The bytes of its keys and values.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// About what it takes of memory.
    pub(super) fn footprint(&self) -> u64 {
        self.bytes + self.deleted_bytes + self.entries * ENTRY_BYTES
    }

    /// The change to a key, if there is one.
    pub(super) fn get(&self, key: &[u8]) -> Option<&Option<Bytes>> {
        let mut node = &*self.root;
        loop {
            match node {
                Node::Inner(inner) => node = &inner.children[inner.place_of(key)],
                Node::Leaf(leaf) => return leaf.values.get(leaf.keys.search(key).ok()?),
            }
        }
    }

    /// The changes of a range, keys rising.
    pub(super) fn ascending(
        &self,
        range: &(Bound<Bytes>, Bound<Bytes>),
    ) -> impl Iterator<Item = Change> + use<'_> {
        let mut gap = Gap::seek(&self.root, &range.0, true);
        let end = range.1.clone();
        std::iter::from_fn(move || {
            gap.next().filter(|(key, _)| match &end {
                Bound::Included(end) => key <= end,
                Bound::Excluded(end) => key < end,
                Bound::Unbounded => true,
            })
        })
    }

    /// The same, keys falling.
    pub(super) fn descending(
        &self,
        range: &(Bound<Bytes>, Bound<Bytes>),
    ) -> impl Iterator<Item = Change> + use<'_> {
        let mut gap = Gap::seek(&self.root, &range.1, false);
        let start = range.0.clone();
        std::iter::from_fn(move || {
            gap.next_back().filter(|(key, _)| match &start {
                Bound::Included(start) => key >= start,
                Bound::Excluded(start) => key > start,
                Bound::Unbounded => true,
            })
        })
    }
}

impl Node {
    fn insert(&mut self, key: Bytes, value: Option<Bytes>, fences: Fences<'_>) -> Inserted {
        match self {
            Node::Leaf(leaf) => leaf.insert(key, value, fences),
            Node::Inner(inner) => inner.insert(key, value, fences),
        }
    }
}

impl Leaf {
    fn insert(&mut self, key: Bytes, value: Option<Bytes>, fences: Fences<'_>) -> Inserted {
        let at = match self.keys.search(&key) {
            Ok(at) => {
                let before = std::mem::replace(&mut self.values[at], value);
                return Inserted::Replaced(before.map_or(0, |before| before.len()));
            }
            Err(at) => at,
        };
        if self.keys.len() < LEAF_KEYS_MAX {
            self.keys.insert(at, key);
            self.values.insert(at, value);
            return Inserted::New;
        }
        let middle = middle(at, LEAF_KEYS_MAX);
        let first = self.keys.get(middle).unwrap_or(&key).clone();
        let mut right = Leaf {
            keys: self.keys.split_off(middle, &first, fences),
            values: Vec::with_capacity(LEAF_KEYS_MAX),
        };
        right.values.extend(self.values.drain(middle..));
        let (half, at) = if key < first { (&mut *self, at) } else { (&mut right, at - middle) };
        half.keys.insert(at, key);
        half.values.insert(at, value);
        Inserted::Split(first, Arc::new(Node::Leaf(right)))
    }
}

impl Inner {
    /// The child that a key may be in.
    fn place_of(&self, key: &[u8]) -> usize {
        self.keys.search(key).map_or_else(|at| at, |at| at + 1)
    }

    fn insert(&mut self, key: Bytes, value: Option<Bytes>, fences: Fences<'_>) -> Inserted {
        let at = self.place_of(&key);
        let around = Fences {
            low: at.checked_sub(1).and_then(|before| self.keys.get(before)).or(fences.low),
            high: self.keys.get(at).or(fences.high),
        };
        let child = Arc::make_mut(&mut self.children[at]);
        let (first, child) = match child.insert(key, value, around) {
            Inserted::Split(first, child) => (first, child),
            done => return done,
        };
        if self.keys.len() < INNER_KEYS_MAX {
            self.keys.insert(at, first);
            self.children.insert(at + 1, child);
            return Inserted::New;
        }
        // Each half keeps a key less than it has children: the one between them goes up.
        let middle = middle(at, INNER_KEYS_MAX).min(INNER_KEYS_MAX - 1);
        let between = self.keys.get(middle).expect("a full node is empty").clone();
        let mut keys = self.keys.split_off(middle, &between, fences);
        keys.remove_first();
        let mut children = Vec::with_capacity(INNER_KEYS_MAX + 1);
        children.extend(self.children.drain(middle + 1..));
        let mut right = Inner { keys, children };
        let (half, at) =
            if at <= middle { (&mut *self, at) } else { (&mut right, at - middle - 1) };
        half.keys.insert(at, first);
        half.children.insert(at + 1, child);
        Inserted::Split(between, Arc::new(Node::Inner(right)))
    }
}

/// Where a full node is parted into which something is to be inserted: keys that rise leave full nodes behind.
fn middle(at: usize, keys_max: usize) -> usize {
    if at == keys_max { keys_max } else { keys_max / 2 }
}

/// A gap between two entries.
struct Gap<'a> {
    /// The nodes above, from the root, each with the child that it is in.
    path: Vec<(&'a Inner, usize)>,
    leaf: &'a Leaf,
    /// How many entries of the leaf are before it.
    at: usize,
}

impl<'a> Gap<'a> {
    /// The gap at one end of a range.
    fn seek(root: &'a Node, end: &Bound<Bytes>, is_start: bool) -> Self {
        let mut path = Vec::new();
        let mut node = root;
        let leaf = loop {
            match node {
                Node::Inner(inner) => {
                    let child = match end {
                        Bound::Included(key) | Bound::Excluded(key) => inner.place_of(key),
                        Bound::Unbounded if is_start => 0,
                        Bound::Unbounded => inner.children.len() - 1,
                    };
                    path.push((inner, child));
                    node = &inner.children[child];
                }
                Node::Leaf(leaf) => break leaf,
            }
        };
        let at = match end {
            Bound::Unbounded if is_start => 0,
            Bound::Unbounded => leaf.keys.len(),
            Bound::Included(key) | Bound::Excluded(key) => match leaf.keys.search(key) {
                // The key itself is before the gap if it is at a start and excluded, or at an end and included.
                Ok(at) => at + usize::from(is_start == matches!(end, Bound::Excluded(_))),
                Err(at) => at,
            },
        };
        Gap { path, leaf, at }
    }

    fn next(&mut self) -> Option<Change> {
        while self.at == self.leaf.keys.len() {
            let up = self.path.iter().rposition(|(inner, at)| at + 1 < inner.children.len())?;
            self.path.truncate(up + 1);
            self.path[up].1 += 1;
            self.descend(|_| 0);
            self.at = 0;
        }
        self.at += 1;
        self.entry(self.at - 1)
    }

    fn next_back(&mut self) -> Option<Change> {
        while self.at == 0 {
            let up = self.path.iter().rposition(|(_, at)| *at > 0)?;
            self.path.truncate(up + 1);
            self.path[up].1 -= 1;
            self.descend(|inner| inner.children.len() - 1);
            self.at = self.leaf.keys.len();
        }
        self.at -= 1;
        self.entry(self.at)
    }

    /// Goes to a leaf below the end of the path.
    fn descend(&mut self, choose: impl Fn(&Inner) -> usize) {
        while let Some((inner, at)) = self.path.last() {
            match &*inner.children[*at] {
                Node::Inner(below) => self.path.push((below, choose(below))),
                Node::Leaf(leaf) => {
                    self.leaf = leaf;
                    return;
                }
            }
        }
    }

    fn entry(&self, at: usize) -> Option<Change> {
        Some((self.leaf.keys.get(at)?.clone(), self.leaf.values.get(at)?.clone()))
    }
}

#[cfg(test)]
mod tests;
