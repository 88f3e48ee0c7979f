//! The map as it was at one moment: changes in memory over changes in files, merged when they are asked for.

use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;

use super::memtable::{Change, Memtable};
use super::tables::Tables;
use crate::Result;

/// Everything that a read looks at.
#[derive(Clone)]
pub(super) struct Snapshot {
    /// Newest first. The first may still be written to.
    pub(super) memtables: Vec<Arc<Memtable>>,
    pub(super) tables: Arc<Tables>,
}

type Source<'a> = Box<dyn Iterator<Item = Result<Change>> + 'a>;

impl Snapshot {
    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        match self.memtables.iter().find_map(|memtable| memtable.get(key)) {
            Some(value) => Ok(value.clone()),
            None => Ok(self.tables.get(key)?.flatten()),
        }
    }

    /// The pairs of a range.
    pub(super) fn scan(&self, range: (Bound<Bytes>, Bound<Bytes>)) -> Scan<'_> {
        Scan {
            snapshot: self,
            is_over: !crate::may_hold_a_key(&range),
            range,
            rising: None,
            falling: None,
            low: None,
            high: None,
        }
    }

    fn merge(&self, range: &(Bound<Bytes>, Bound<Bytes>), is_rising: bool) -> Merge<'_> {
        let in_memory = self.memtables.iter().map(|memtable| -> Source<'_> {
            if is_rising {
                Box::new(memtable.ascending(range).map(Ok))
            } else {
                Box::new(memtable.descending(range).map(Ok))
            }
        });
        Merge::new(in_memory.chain(self.tables.sources(range, is_rising)), is_rising)
    }
}

/// The pairs of a range, from both ends. Each end has a merge of its own, begun when it is first asked; they are over
/// where they meet.
pub(super) struct Scan<'a> {
    snapshot: &'a Snapshot,
    range: (Bound<Bytes>, Bound<Bytes>),
    rising: Option<Merge<'a>>,
    falling: Option<Merge<'a>>,
    /// The last key given at each end.
    low: Option<Bytes>,
    high: Option<Bytes>,
    is_over: bool,
}

impl Scan<'_> {
    fn step(&mut self, is_rising: bool) -> Option<Result<(Bytes, Bytes)>> {
        if self.is_over {
            return None;
        }
        let merge = if is_rising { &mut self.rising } else { &mut self.falling };
        let merge = merge.get_or_insert_with(|| self.snapshot.merge(&self.range, is_rising));
        let found = merge.find(|change| !matches!(change, Ok((_, None))));
        let (key, value) = match found {
            Some(Ok((key, Some(value)))) => (key, value),
            Some(Err(error)) => {
                self.is_over = true;
                return Some(Err(error));
            }
            Some(Ok((_, None))) | None => {
                self.is_over = true;
                return None;
            }
        };
        let has_met = if is_rising {
            self.high.as_ref().is_some_and(|high| key >= *high)
        } else {
            self.low.as_ref().is_some_and(|low| key <= *low)
        };
        if has_met {
            self.is_over = true;
            return None;
        }
        *(if is_rising { &mut self.low } else { &mut self.high }) = Some(key.clone());
        Some(Ok((key, value)))
    }
}

impl Iterator for Scan<'_> {
    type Item = Result<(Bytes, Bytes)>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step(true)
    }
}

impl DoubleEndedIterator for Scan<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.step(false)
    }
}

/// Sources merged in one direction. Of several changes to one key the first source's counts.
pub(super) struct Merge<'a> {
    sources: Vec<(Source<'a>, Option<Change>)>,
    is_rising: bool,
    has_begun: bool,
}

impl<'a> Merge<'a> {
    pub(super) fn new(sources: impl Iterator<Item = Source<'a>>, is_rising: bool) -> Self {
        let sources = sources.map(|source| (source, None)).collect();
        Merge { sources, is_rising, has_begun: false }
    }

    fn advance(&mut self, index: usize) -> Result<Option<Change>> {
        let (source, head) = &mut self.sources[index];
        let next = source.next().transpose()?;
        Ok(std::mem::replace(head, next))
    }

    fn step(&mut self) -> Result<Option<Change>> {
        if !self.has_begun {
            self.has_begun = true;
            for index in 0..self.sources.len() {
                self.advance(index)?;
            }
        }
        let mut best: Option<(usize, &Bytes)> = None;
        for (index, (_, head)) in self.sources.iter().enumerate() {
            let Some((key, _)) = head else { continue };
            let is_better = best.is_none_or(
                |(_, other)| {
                    if self.is_rising { key < other } else { key > other }
                },
            );
            if is_better {
                best = Some((index, key));
            }
        }
        let Some((first, _)) = best else { return Ok(None) };
        let Some(change) = self.advance(first)? else { return Ok(None) };
        for index in first + 1..self.sources.len() {
            let is_older = self.sources[index].1.as_ref().is_some_and(|head| head.0 == change.0);
            if is_older {
                self.advance(index)?;
            }
        }
        Ok(Some(change))
    }
}

impl Iterator for Merge<'_> {
    type Item = Result<Change>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step().transpose()
    }
}
