//! Where each record lies in the engine's ordered map. The table is in the [module's doc](super).

use std::ops::Bound;

use bytes::{Buf, BufMut, Bytes};
use quorate_engine::EngineError;

use super::arena::Arena;
use crate::request::{KeyRange, RangeEnd, Revision};

/// What each key of a family begins with.
const LIVE: u8 = b'k';
const HISTORY: u8 = b'h';
const META: u8 = b'm';
const INDEX: u8 = b'r';

/// The one record of its family.
pub(super) const META_KEY: &[u8] = &[META];

/// An escaped key ends with these, and holds a zero only before [`ESCAPED_ZERO`].
const END: [u8; 2] = [0, 0];
const ESCAPED_ZERO: u8 = 0xff;

/// The length of a place in a key.
const PLACE_BYTES: usize = 12;

/// Where a range of the map begins and ends.
pub(super) type Bounds = (Bound<Bytes>, Bound<Bytes>);

/// The place of a change among all that were ever made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Place {
    pub(super) revision: Revision,
    /// The number of changes before it at the same revision.
    pub(super) sub: u32,
}

impl Place {
    /// The first place of a revision.
    pub(super) fn first(revision: Revision) -> Self {
        Place { revision, sub: 0 }
    }

    /// The last place of a revision.
    pub(super) fn last(revision: Revision) -> Self {
        Place { revision, sub: u32::MAX }
    }

    /// Places in rising order.
    fn rising(self) -> [u8; PLACE_BYTES] {
        let mut bytes = [0; PLACE_BYTES];
        bytes[..8].copy_from_slice(&self.revision.0.to_be_bytes());
        bytes[8..].copy_from_slice(&self.sub.to_be_bytes());
        bytes
    }

    /// Places in falling order.
    fn falling(self) -> [u8; PLACE_BYTES] {
        self.rising().map(|byte| !byte)
    }

    fn from_rising(bytes: [u8; PLACE_BYTES]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l] = bytes;
        Place {
            revision: Revision(i64::from_be_bytes([a, b, c, d, e, f, g, h])),
            sub: u32::from_be_bytes([i, j, k, l]),
        }
    }
}

/// What was read is not what any version of the store writes. Its checksums held, so that only a bug explains it.
pub(super) fn damaged(what: impl Into<String>, why: impl Into<String>) -> EngineError {
    EngineError::Corrupt { what: what.into(), why: why.into() }
}

/// Where the newest version of a key is, while it is there.
pub(super) fn live_key(key: &[u8]) -> Bytes {
    let mut raw = Vec::with_capacity(1 + key.len());
    raw.push(LIVE);
    raw.extend_from_slice(key);
    raw.into()
}

/// As [`live_key`], to be kept.
pub(super) fn live_key_in(arena: &mut Arena, key: &[u8]) -> Bytes {
    arena.lay(1 + key.len(), |raw| {
        raw.put_u8(LIVE);
        raw.put_slice(key);
    })
}

/// The key in a key of the live family.
pub(super) fn key_of_live(mut raw: Bytes) -> Bytes {
    raw.advance(1);
    raw
}

/// What the keys of all older versions of a key begin with. Prefixes are in the order of their keys, and none is the
/// beginning of another.
pub(super) fn history_prefix(key: &[u8], into: &mut Vec<u8>) {
    into.clear();
    into.reserve(1 + key.len() + END.len() + PLACE_BYTES);
    put_history_prefix(key, into);
}

fn put_history_prefix(key: &[u8], into: &mut impl BufMut) {
    into.put_u8(HISTORY);
    let mut rest = key;
    while let Some(zero) = rest.iter().position(|byte| *byte == 0) {
        into.put_slice(&rest[..=zero]);
        into.put_u8(ESCAPED_ZERO);
        rest = &rest[zero + 1..];
    }
    into.put_slice(rest);
    into.put_slice(&END);
}

/// Where an older version of a key is.
pub(super) fn history_key(arena: &mut Arena, key: &[u8], place: Place) -> Bytes {
    // Each byte of the key may be a zero.
    arena.lay(1 + 2 * key.len() + END.len() + PLACE_BYTES, |raw| {
        put_history_prefix(key, raw);
        raw.put_slice(&place.falling());
    })
}

/// The key of the newest version at or before a place, or where it would be.
pub(super) fn at_or_before(prefix: &[u8], place: Place) -> Bytes {
    [prefix, &place.falling()].concat().into()
}

/// What follows the last version under a prefix.
pub(super) fn past(prefix: &[u8]) -> Bytes {
    let mut raw = prefix.to_vec();
    if let Some(last) = raw.last_mut() {
        // A prefix ends with zeros, so that this is the next string of its length.
        *last += 1;
    }
    raw.into()
}

/// A key of the history in its two parts: the prefix of its key, and the place.
pub(super) fn split_history(raw: &[u8]) -> Result<(&[u8], Place), EngineError> {
    match raw.split_last_chunk::<PLACE_BYTES>() {
        Some((prefix, place)) if prefix.len() > END.len() => {
            Ok((prefix, Place::from_rising(place.map(|byte| !byte))))
        }
        _ => Err(damaged(format!("the history's record {raw:?}"), "its key is too short")),
    }
}

/// The key whose versions are under a prefix.
pub(super) fn key_of_history(prefix: &[u8]) -> Bytes {
    let escaped = &prefix[1..prefix.len() - END.len()];
    let mut key = Vec::with_capacity(escaped.len());
    let mut was_zero = false;
    for &byte in escaped {
        if !was_zero {
            key.push(byte);
        }
        was_zero = !was_zero && byte == 0;
    }
    key.into()
}

/// Where a change is noted.
fn index_key(place: Place) -> [u8; 1 + PLACE_BYTES] {
    let mut raw = [INDEX; 1 + PLACE_BYTES];
    raw[1..].copy_from_slice(&place.rising());
    raw
}

/// The same, to be kept.
pub(super) fn index_key_in(arena: &mut Arena, place: Place) -> Bytes {
    arena.lay(1 + PLACE_BYTES, |raw| raw.put_slice(&index_key(place)))
}

/// The place in a key of the index.
pub(super) fn place_of_index(raw: &[u8]) -> Result<Place, EngineError> {
    match raw.split_first_chunk::<1>() {
        Some((_, place)) if place.len() == PLACE_BYTES => {
            let mut bytes = [0; PLACE_BYTES];
            bytes.copy_from_slice(place);
            Ok(Place::from_rising(bytes))
        }
        _ => Err(damaged(format!("the index's record {raw:?}"), "its key has a wrong length")),
    }
}

/// The part of the index from a place to another, both included.
pub(super) fn index_bounds(from: Place, to: Place) -> Bounds {
    let key = |place| Bytes::copy_from_slice(&index_key(place));
    (Bound::Included(key(from)), Bound::Included(key(to)))
}

/// Where the newest versions of a range of keys are, unless it is empty by its bounds alone.
pub(super) fn live_bounds(range: &KeyRange) -> Option<Bounds> {
    bounds(range, live_key, LIVE)
}

/// Where the older versions of a range of keys are, unless it is empty by its bounds alone.
pub(super) fn history_bounds(range: &KeyRange) -> Option<Bounds> {
    let prefix = |key: &[u8]| {
        let mut prefix = Vec::new();
        history_prefix(key, &mut prefix);
        Bytes::from(prefix)
    };
    if range.end == RangeEnd::Single {
        let prefix = prefix(&range.start);
        let end = past(&prefix);
        return Some((Bound::Included(prefix), Bound::Excluded(end)));
    }
    bounds(range, prefix, HISTORY)
}

fn bounds(range: &KeyRange, raw: impl Fn(&[u8]) -> Bytes, family: u8) -> Option<Bounds> {
    let start = Bound::Included(raw(&range.start));
    let end = match &range.end {
        RangeEnd::Single => Bound::Included(raw(&range.start)),
        RangeEnd::Before(end) if *end <= range.start => return None,
        RangeEnd::Before(end) => Bound::Excluded(raw(end)),
        RangeEnd::Unbounded => Bound::Excluded(Bytes::copy_from_slice(&[family + 1])),
    };
    Some((start, end))
}

/// Every key there can be.
pub(super) fn all_keys() -> KeyRange {
    KeyRange { start: Bytes::new(), end: RangeEnd::Unbounded }
}

/// Whether a key of the map is a live key's.
pub(super) fn is_live(raw: &[u8]) -> bool {
    raw.first() == Some(&LIVE)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn any_key() -> impl Strategy<Value = Vec<u8>> {
        vec(prop::sample::select(vec![0, 1, b'a', 0xfe, 0xff]), 0..6)
    }

    fn any_place() -> impl Strategy<Value = Place> {
        let edge = prop::sample::select(vec![2, 3, 255, 256, i64::MAX]);
        (edge, prop::sample::select(vec![0, 1, 255, 256, u32::MAX]))
            .prop_map(|(revision, sub)| Place { revision: Revision(revision), sub })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn older_versions_lie_by_key_and_then_newest_first(
            (a, b) in (any_key(), any_key()),
            (at, than) in (any_place(), any_place()),
        ) {
            let mut arena = Arena::default();
            let found = history_key(&mut arena, &a, at).cmp(&history_key(&mut arena, &b, than));
            prop_assert_eq!(found, a.cmp(&b).then(than.cmp(&at)));
        }

        #[test]
        fn a_key_and_a_place_come_back_from_the_history(key in any_key(), place in any_place()) {
            let raw = history_key(&mut Arena::default(), &key, place);
            let (prefix, at) = split_history(&raw).expect("a key of the history");
            prop_assert_eq!(&key_of_history(prefix)[..], &key[..]);
            prop_assert_eq!(at, place);
            prop_assert!(prefix < &raw[..] && raw < past(prefix));
        }

        #[test]
        fn changes_lie_in_the_order_in_which_they_were_made(a in any_place(), b in any_place()) {
            prop_assert_eq!(index_key(a).cmp(&index_key(b)), a.cmp(&b));
            prop_assert_eq!(place_of_index(&index_key(a)), Ok(a));
        }
    }
}
