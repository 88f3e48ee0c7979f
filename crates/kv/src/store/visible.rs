//! The keys of a range that hold a value at a revision.

use std::cmp::Ordering;
use std::ops::Bound;

use bytes::Bytes;
use quorate_engine::{EngineError, View};

use super::layout::{
    Bounds, Place, at_or_before, history_bounds, history_prefix, key_of_history, key_of_live,
    live_bounds, past, split_history,
};
use super::map::{Map, Pair};
use super::version::Version;
use crate::request::{KeyRange, Revision};

/// So many versions of a key are passed over one by one. Where there are more, a new scan begins behind them.
const STEPS_MAX: usize = 8;

impl<'a, V: View> Map<'a, V> {
    /// The keys of a range that hold a value now, in order, each with its version's record.
    pub(super) fn visible_now(self, range: &KeyRange) -> impl Iterator<Item = Pair> + 'a {
        let pairs = live_bounds(range).map(|bounds| self.scan(bounds));
        pairs.into_iter().flatten().map(|pair| pair.map(|(raw, record)| (key_of_live(raw), record)))
    }

    /// The keys of a range that held a value at a revision, in order, each with its version's record.
    pub(super) fn visible_at(
        self,
        range: &KeyRange,
        at: Revision,
    ) -> Result<VisibleAt<'a, V>, EngineError> {
        let live = self.visible_now(range);
        Ok(VisibleAt {
            at,
            live: Ahead::new(Box::new(live))?,
            older: match history_bounds(range) {
                Some(bounds) => Some(Older::new(self, bounds)?),
                None => None,
            },
            prefix: Vec::new(),
        })
    }
}

/// What is visible at an old revision: for each key its newest version, or else one that was superseded.
pub(super) struct VisibleAt<'a, V> {
    at: Revision,
    live: Ahead<'a>,
    older: Option<Older<'a, V>>,
    /// The prefix of the key that is being looked at.
    prefix: Vec<u8>,
}

impl<V: View> VisibleAt<'_, V> {
    fn find_next(&mut self) -> Result<Option<(Bytes, Bytes)>, EngineError> {
        loop {
            let older = self.older.as_ref().and_then(|older| older.ahead.pair.as_ref());
            let prefix_of_older = match older {
                Some((raw, _)) => Some(split_history(raw)?.0),
                None => None,
            };
            let order = match (&self.live.pair, prefix_of_older) {
                (None, None) => return Ok(None),
                (None, Some(_)) => Ordering::Greater,
                (Some((key, _)), older) => {
                    history_prefix(key, &mut self.prefix);
                    older.map_or(Ordering::Less, |older| self.prefix[..].cmp(older))
                }
            };
            if order == Ordering::Greater {
                self.prefix.clear();
                self.prefix.extend_from_slice(prefix_of_older.unwrap_or_default());
            }
            let live = if order == Ordering::Greater { None } else { self.live.take()? };
            let is_visible = |(_, record): &(Bytes, Bytes)| {
                Version::place_in(record).map(|place| place.revision <= self.at)
            };
            let visible = match live {
                Some(live) if is_visible(&live)? => Some(live),
                _ => match &mut self.older {
                    Some(older) if order != Ordering::Less => older.find(&self.prefix, self.at)?,
                    _ => None,
                },
            };
            if let (Some(older), true) = (&mut self.older, order != Ordering::Less) {
                older.advance_to(past(&self.prefix))?;
            }
            if visible.is_some() {
                return Ok(visible);
            }
        }
    }
}

impl<V: View> Iterator for VisibleAt<'_, V> {
    type Item = Pair;

    fn next(&mut self) -> Option<Pair> {
        self.find_next().transpose()
    }
}

/// A scan of older versions that can leap.
struct Older<'a, V> {
    map: Map<'a, V>,
    end: Bound<Bytes>,
    ahead: Ahead<'a>,
}

impl<'a, V: View> Older<'a, V> {
    fn new(map: Map<'a, V>, bounds: Bounds) -> Result<Self, EngineError> {
        let end = bounds.1.clone();
        let ahead = Ahead::new(Box::new(map.scan(bounds)))?;
        Ok(Older { map, end, ahead })
    }

    /// The newest version of the key with a prefix that a revision shows, if it has a value. What is before it is passed
    /// over.
    fn find(&mut self, prefix: &[u8], at: Revision) -> Result<Option<(Bytes, Bytes)>, EngineError> {
        self.advance_to(at_or_before(prefix, Place::last(at)))?;
        let Some((raw, record)) = &self.ahead.pair else { return Ok(None) };
        let is_found = split_history(raw)?.0 == prefix && Version::is_live_in(record);
        Ok(is_found.then(|| (key_of_history(prefix), record.clone())))
    }

    /// Passes over all that is before `start`.
    fn advance_to(&mut self, start: Bytes) -> Result<(), EngineError> {
        for _ in 0..STEPS_MAX {
            match &self.ahead.pair {
                Some((raw, _)) if *raw < start => self.ahead.take()?,
                _ => return Ok(()),
            };
        }
        // The start may be behind the end of the range, which engines need not bear.
        let is_empty = match &self.end {
            Bound::Included(end) | Bound::Excluded(end) => start >= *end,
            Bound::Unbounded => false,
        };
        self.ahead = if is_empty {
            Ahead::new(Box::new(std::iter::empty()))?
        } else {
            Ahead::new(Box::new(self.map.scan((Bound::Included(start), self.end.clone()))))?
        };
        Ok(())
    }
}

/// A scan, with the pair that it has come to.
struct Ahead<'a> {
    pair: Option<(Bytes, Bytes)>,
    rest: Box<dyn Iterator<Item = Pair> + 'a>,
}

impl<'a> Ahead<'a> {
    fn new(mut rest: Box<dyn Iterator<Item = Pair> + 'a>) -> Result<Self, EngineError> {
        Ok(Ahead { pair: rest.next().transpose()?, rest })
    }

    /// Takes the pair, and goes on to the next.
    fn take(&mut self) -> Result<Option<(Bytes, Bytes)>, EngineError> {
        let next = self.rest.next().transpose()?;
        Ok(std::mem::replace(&mut self.pair, next))
    }
}
