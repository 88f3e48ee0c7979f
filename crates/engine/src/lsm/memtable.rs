//! What was written and is not in a file yet.
//!
//! One thread writes, any number read. A change is never altered: a later change to the same key stands beside it, under
//! a higher number, so that a view needs nothing but the number up to which it sees.

use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use crossbeam_skiplist::SkipMap;

/// A key, and its new value or none if it is gone.
pub(super) type Change = (Bytes, Option<Bytes>);

/// The place of a change among all. Counted from 1; 0 and the maximum stand for the ends.
pub(super) type ChangeNumber = u64;

/// What an entry of the list costs beside its key and value, about: its node, tower, and two handles.
const ENTRY_BYTES: u64 = 128;

/// The order of the list: by key, and of one key the newest first.
#[derive(PartialEq, Eq)]
struct Place {
    key: Bytes,
    number: ChangeNumber,
}

impl Ord for Place {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key.cmp(&other.key).then_with(|| other.number.cmp(&self.number))
    }
}

impl PartialOrd for Place {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// Changes in memory, ordered by key.
#[derive(Default)]
pub(super) struct Memtable {
    changes: SkipMap<Place, Option<Bytes>>,
    /// Keys and values.
    bytes: AtomicU64,
    entries: AtomicU64,
}

impl Memtable {
    pub(super) fn insert(&self, key: Bytes, number: ChangeNumber, value: Option<Bytes>) {
        let bytes = key.len() + value.as_ref().map_or(0, Bytes::len);
        self.changes.insert(Place { key, number }, value);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.entries.fetch_add(1, Ordering::Relaxed);
    }

    /// The bytes of its keys and values.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// About what it takes of memory.
    pub(super) fn footprint(&self) -> u64 {
        self.bytes() + self.entries.load(Ordering::Relaxed) * ENTRY_BYTES
    }

    /// The newest change to a key up to a number, if there is one.
    pub(super) fn get(&self, key: &Bytes, upto: ChangeNumber) -> Option<Option<Bytes>> {
        let newest = Place { key: key.clone(), number: upto };
        let entry = self.changes.lower_bound(Bound::Included(&newest))?;
        (entry.key().key == *key).then(|| entry.value().clone())
    }

    /// The newest change to each key of a range up to a number, keys rising.
    pub(super) fn ascending(
        &self,
        range: &(Bound<Bytes>, Bound<Bytes>),
        upto: ChangeNumber,
    ) -> impl Iterator<Item = Change> + use<'_> {
        let mut entries = self.changes.range(places(range));
        let mut last: Option<Bytes> = None;
        std::iter::from_fn(move || {
            loop {
                let entry = entries.next()?;
                let place = entry.key();
                if place.number > upto || last.as_ref() == Some(&place.key) {
                    continue;
                }
                last = Some(place.key.clone());
                return Some((place.key.clone(), entry.value().clone()));
            }
        })
    }

    /// The same, keys falling.
    pub(super) fn descending(
        &self,
        range: &(Bound<Bytes>, Bound<Bytes>),
        upto: ChangeNumber,
    ) -> impl Iterator<Item = Change> + use<'_> {
        let mut entries = self.changes.range(places(range));
        // Of one key the oldest change comes first here: it is held until none newer follows.
        let mut held: Option<Change> = None;
        std::iter::from_fn(move || {
            loop {
                let Some(entry) = entries.next_back() else { return held.take() };
                let place = entry.key();
                if place.number > upto {
                    continue;
                }
                let change = (place.key.clone(), entry.value().clone());
                if let Some(before) = held.replace(change)
                    && before.0 != place.key
                {
                    return Some(before);
                }
            }
        })
    }
}

/// The bounds of a range of keys in the order of the list.
fn places(range: &(Bound<Bytes>, Bound<Bytes>)) -> (Bound<Place>, Bound<Place>) {
    let newest = |key: &Bytes| Place { key: key.clone(), number: ChangeNumber::MAX };
    let oldest = |key: &Bytes| Place { key: key.clone(), number: 0 };
    let start = match &range.0 {
        Bound::Included(key) => Bound::Included(newest(key)),
        Bound::Excluded(key) => Bound::Excluded(oldest(key)),
        Bound::Unbounded => Bound::Unbounded,
    };
    let end = match &range.1 {
        Bound::Included(key) => Bound::Included(oldest(key)),
        Bound::Excluded(key) => Bound::Excluded(newest(key)),
        Bound::Unbounded => Bound::Unbounded,
    };
    (start, end)
}
