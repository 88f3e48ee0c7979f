//! The keys of one node of a memtable.
//!
//! A key is somewhere on the heap, and to look at it is to wait for memory. So a node keeps a number for each of its keys:
//! the first bytes after those that all of them share (Graefe, "Modern B-tree techniques", 2011, section 3: poor man's
//! normalized keys). A search goes through the numbers, which are side by side, and looks at keys only where they tie.

use std::cmp::Ordering;

use bytes::Bytes;

/// How many bytes a number is made of.
const HEAD_BYTES: usize = 8;

/// Keys, rising.
#[derive(Clone)]
pub(super) struct Keys {
    /// How many bytes all of them begin with, at least.
    shared: usize,
    /// What follows those. Where one key is before another, its number is not the higher one.
    heads: Vec<u64>,
    keys: Vec<Bytes>,
}

impl Keys {
    pub(super) fn with_capacity(keys_max: usize) -> Self {
        Keys { shared: 0, heads: Vec::with_capacity(keys_max), keys: Vec::with_capacity(keys_max) }
    }

    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    pub(super) fn get(&self, at: usize) -> Option<&Bytes> {
        self.keys.get(at)
    }

    /// Where a key is, or else where it would be.
    pub(super) fn search(&self, key: &[u8]) -> Result<usize, usize> {
        let Some(first) = self.keys.first() else { return Err(0) };
        let beginning = &key[..key.len().min(self.shared)];
        match beginning.cmp(&first[..self.shared]) {
            Ordering::Less => return Err(0),
            Ordering::Greater => return Err(self.len()),
            Ordering::Equal => {}
        }
        let head = head(key, self.shared);
        let start = self.heads.partition_point(|other| *other < head);
        let ties = self.heads[start..].iter().take_while(|other| **other == head).count();
        let found = self.keys[start..start + ties].binary_search_by(|other| other[..].cmp(key));
        found.map(|at| start + at).map_err(|at| start + at)
    }

    /// Adds a key where [`Keys::search`] did not find it.
    pub(super) fn insert(&mut self, at: usize, key: Bytes) {
        let shared = match self.keys.first() {
            Some(first) => shared_bytes(&first[..self.shared], &key),
            None => key.len(),
        };
        if shared < self.shared {
            self.share(shared);
        } else if self.keys.is_empty() {
            self.shared = shared;
        }
        self.heads.insert(at, head(&key, self.shared));
        self.keys.insert(at, key);
    }

    /// Splits off the keys from `at` on.
    pub(super) fn split_off(&mut self, at: usize, keys_max: usize) -> Self {
        let mut right = Keys::with_capacity(keys_max);
        right.keys.extend(self.keys.drain(at..));
        for half in [&mut *self, &mut right] {
            let (first, last) = (half.keys.first(), half.keys.last());
            let shared = first.zip(last).map_or(0, |(first, last)| shared_bytes(first, last));
            half.share(shared);
        }
        right
    }

    /// Takes the first key out. There must be one.
    pub(super) fn take_first(&mut self) -> Bytes {
        self.heads.remove(0);
        self.keys.remove(0)
    }

    /// Makes the numbers anew, after so many shared bytes.
    fn share(&mut self, shared: usize) {
        self.shared = shared;
        self.heads.clear();
        self.heads.extend(self.keys.iter().map(|key| head(key, shared)));
    }
}

/// The bytes of a key from some place on as a number, as if zeros followed it.
fn head(key: &[u8], from: usize) -> u64 {
    let rest = &key[from..];
    if let Some(bytes) = rest.first_chunk::<HEAD_BYTES>() {
        return u64::from_be_bytes(*bytes);
    }
    let mut bytes = [0; HEAD_BYTES];
    bytes[..rest.len()].copy_from_slice(rest);
    u64::from_be_bytes(bytes)
}

/// How many bytes two keys begin with that are the same.
fn shared_bytes(one: &[u8], other: &[u8]) -> usize {
    one.iter().zip(other).take_while(|(one, other)| one == other).count()
}
