//! The keys of one node of a memtable.
//!
//! A key is somewhere on the heap, and to look at it is to wait for memory. So a node keeps a number for each of its keys:
//! the first bytes after those that every key has which can come to the node (Graefe, "Modern B-tree techniques", 2011,
//! section 3: prefix truncation, and poor man's normalized keys). A search goes through the numbers, which are side by
//! side, and looks at keys only where two are long and their numbers the same.

use bytes::Bytes;

/// How many bytes a number is made of.
const HEAD_BYTES: usize = size_of::<u128>();

/// What lies around the keys of a node: those that come to it are not before the first, and before the second.
#[derive(Clone, Copy, Default)]
pub(super) struct Fences<'a> {
    pub(super) low: Option<&'a Bytes>,
    pub(super) high: Option<&'a Bytes>,
}

impl Fences<'_> {
    /// How many bytes all keys between them begin with.
    fn shared_bytes(self) -> usize {
        let (Some(low), Some(high)) = (self.low, self.high) else { return 0 };
        low.iter().zip(high).take_while(|(low, high)| low == high).count()
    }
}

/// Keys, rising.
#[derive(Clone)]
pub(super) struct Keys {
    /// How many bytes they and all that can be searched for among them begin with.
    shared: usize,
    /// What follows those. Where one key is before another, its number is not the higher one.
    heads: Vec<u128>,
    keys: Vec<Bytes>,
}

impl Keys {
    /// No keys yet, of all that there can be.
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
        let head = head(key, self.shared);
        let start = self.heads.partition_point(|other| *other < head);
        let ties = self.heads[start..].iter().take_while(|other| **other == head).count();
        let whole = self.shared + HEAD_BYTES;
        let found = self.keys[start..start + ties].binary_search_by(|other| {
            // What a number holds to its end differs in the zeros at the end alone.
            if other.len() <= whole && key.len() <= whole {
                return other.len().cmp(&key.len());
            }
            other[..].cmp(key)
        });
        found.map(|at| start + at).map_err(|at| start + at)
    }

    /// Adds a key where [`Keys::search`] did not find it.
    pub(super) fn insert(&mut self, at: usize, key: Bytes) {
        self.heads.insert(at, head(&key, self.shared));
        self.keys.insert(at, key);
    }

    /// Splits off the keys from `at` on. From here on `between` is between the two.
    pub(super) fn split_off(&mut self, at: usize, between: &Bytes, fences: Fences<'_>) -> Self {
        let mut right = Keys::with_capacity(self.keys.capacity());
        right.shared = self.shared;
        right.heads.extend(self.heads.drain(at..));
        right.keys.extend(self.keys.drain(at..));
        self.share(Fences { high: Some(between), ..fences }.shared_bytes());
        right.share(Fences { low: Some(between), ..fences }.shared_bytes());
        right
    }

    /// Takes the first key out. There must be one.
    pub(super) fn remove_first(&mut self) {
        self.heads.remove(0);
        self.keys.remove(0);
    }

    /// Makes the numbers anew, after so many shared bytes.
    fn share(&mut self, shared: usize) {
        if self.shared != shared {
            self.shared = shared;
            self.heads.clear();
            self.heads.extend(self.keys.iter().map(|key| head(key, shared)));
        }
    }
}

/// The bytes of a key from some place on as a number, as if zeros followed it.
fn head(key: &[u8], from: usize) -> u128 {
    let rest = &key[from..];
    if let Some(bytes) = rest.first_chunk::<HEAD_BYTES>() {
        return u128::from_be_bytes(*bytes);
    }
    let mut bytes = [0; HEAD_BYTES];
    bytes[..rest.len()].copy_from_slice(rest);
    u128::from_be_bytes(bytes)
}
