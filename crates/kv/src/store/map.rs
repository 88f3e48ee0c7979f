//! The map as the store sees it: what an engine holds, under the changes that it was not given yet.

use std::cmp::Ordering;
use std::iter::Peekable;
use std::ops::Bound;

use bytes::Bytes;
use quorate_engine::{EngineError, View};

use super::layout::{Bounds, Place, at_or_before, history_prefix, live_key, past};
use super::pending::Pending;
use super::version::Version;
use crate::request::Revision;

/// A pair of the map, unless it could not be read.
pub(super) type Pair = Result<(Bytes, Bytes), EngineError>;

/// The map as the store sees it.
pub(super) struct Map<'a, V> {
    view: &'a V,
    pending: Option<&'a Pending>,
}

impl<V> Clone for Map<'_, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<V> Copy for Map<'_, V> {}

impl<'a, V: View> Map<'a, V> {
    pub(super) fn new(view: &'a V) -> Self {
        Map { view, pending: None }
    }

    pub(super) fn under(view: &'a V, pending: &'a Pending) -> Self {
        Map { view, pending: (!pending.is_empty()).then_some(pending) }
    }

    /// The value of a key of the map.
    pub(super) fn get(self, raw: &[u8]) -> Result<Option<Bytes>, EngineError> {
        match self.pending.and_then(|pending| pending.get(raw)) {
            Some(value) => Ok(value.clone()),
            None => self.view.get(raw),
        }
    }

    /// The pairs of a range of the map, in order.
    pub(super) fn scan(self, bounds: Bounds) -> impl Iterator<Item = Pair> + 'a {
        let pending = self.pending.map(|pending| pending.range(&bounds).peekable());
        let held = self.view.scan(bounds);
        match pending {
            None => Scan::Plain(held),
            Some(pending) => Scan::Layered(Layered { pending, held: held.peekable() }),
        }
    }

    /// The newest version of a key, if the key is there now.
    pub(super) fn live(self, key: &[u8]) -> Result<Option<Version>, EngineError> {
        self.get(&live_key(key))?.map(Version::decode).transpose()
    }

    /// What a read at a revision finds of a key.
    pub(super) fn live_at(self, key: &[u8], at: Revision) -> Result<Option<Version>, EngineError> {
        if let Some(newest) = self.live(key)?
            && newest.place.revision <= at
        {
            return Ok(Some(newest));
        }
        Ok(self.older_at(key, at)?.filter(Version::is_live))
    }

    /// The newest version of a key at a revision among those that were superseded, tombstones included.
    pub(super) fn older_at(self, key: &[u8], at: Revision) -> Result<Option<Version>, EngineError> {
        let mut prefix = Vec::new();
        history_prefix(key, &mut prefix);
        let start = at_or_before(&prefix, Place::last(at));
        let bounds = (Bound::Included(start), Bound::Excluded(past(&prefix)));
        let found = self.scan(bounds).next().transpose()?;
        found.map(|(_, record)| Version::decode(record)).transpose()
    }
}

enum Scan<P, L> {
    Plain(P),
    Layered(L),
}

impl<P: Iterator<Item = Pair>, L: Iterator<Item = Pair>> Iterator for Scan<P, L> {
    type Item = Pair;

    fn next(&mut self) -> Option<Pair> {
        match self {
            Scan::Plain(pairs) => pairs.next(),
            Scan::Layered(pairs) => pairs.next(),
        }
    }
}

/// Pairs that are held, under what becomes of them.
struct Layered<C: Iterator, H: Iterator> {
    pending: Peekable<C>,
    held: Peekable<H>,
}

impl<'a, C, H> Iterator for Layered<C, H>
where
    C: Iterator<Item = (&'a Bytes, &'a Option<Bytes>)>,
    H: Iterator<Item = Pair>,
{
    type Item = Pair;

    fn next(&mut self) -> Option<Pair> {
        loop {
            let order = match (self.pending.peek(), self.held.peek()) {
                (_, Some(Err(_))) | (None, _) => return self.held.next(),
                (Some((changed, _)), Some(Ok((held, _)))) => (*changed).cmp(held),
                (Some(_), None) => Ordering::Less,
            };
            if order == Ordering::Greater {
                return self.held.next();
            }
            if order == Ordering::Equal {
                self.held.next();
            }
            if let Some((key, Some(value))) = self.pending.next() {
                return Some(Ok((key.clone(), value.clone())));
            }
        }
    }
}
