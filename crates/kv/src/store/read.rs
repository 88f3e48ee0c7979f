//! Reads: ranges of keys, now or at an old revision.
//!
//! A read passes over its range once. That pass counts, since etcd's answer holds the number of all keys in the range
//! whatever its limit; and it either gives the keys out as it comes by them, or, where they are to be sorted, chooses the
//! first ones and remembers their names alone. So no read holds more than its answer.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use bytes::Bytes;
use quorate_engine::{EngineError, View};

use super::layout::{damaged, live_key};
use super::map::{Map, Pair};
use super::version::Version;
use crate::error::Error;
use crate::request::{
    KeyValue, RangeEnd, RangeRequest, RangeResponse, Revision, SortOrder, SortTarget,
};

/// How much a read may do before it is given up. A longer one is better done elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// The number of keys to pass over.
    pub keys: usize,
    /// The size in bytes of the answer's keys and values.
    pub bytes: usize,
}

impl Allowance {
    /// As much as it takes.
    pub const UNBOUNDED: Allowance = Allowance { keys: usize::MAX, bytes: usize::MAX };

    /// Takes what a step costs, and says whether there was so much left.
    fn spend(&mut self, keys: usize, bytes: usize) -> bool {
        let left = (self.keys.checked_sub(keys), self.bytes.checked_sub(bytes));
        let (Some(keys), Some(bytes)) = left else { return false };
        *self = Allowance { keys, bytes };
        true
    }
}

/// One read, of one state of the map.
pub(super) struct Reading<'a, V> {
    pub(super) map: Map<'a, V>,
    pub(super) request: &'a RangeRequest,
    /// The revision of the store.
    pub(super) now: Revision,
    /// The number of keys that hold a value now.
    pub(super) live_keys: usize,
}

impl<V> Clone for Reading<'_, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<V> Copy for Reading<'_, V> {}

/// What a pass over the range has found.
pub(super) struct Pass {
    pub(super) count: usize,
    pub(super) more: bool,
    /// The keys of the answer in their order, if they were not given out on the way.
    pub(super) chosen: Option<Vec<Bytes>>,
}

impl<'a, V: View> Reading<'a, V> {
    /// The answer, unless it takes more than is allowed.
    ///
    /// The order is etcd's: the count is of all keys in the range at that revision, whatever the bounds and the
    /// limit leave; then the bounds filter, then comes the sort, then the limit, and last the values are left out.
    pub(super) fn answer(
        &self,
        mut allowance: Allowance,
    ) -> Result<Option<RangeResponse>, EngineError> {
        let mut kvs = Vec::new();
        let Some(pass) = self.pass(&mut allowance, |kv| kvs.push(kv))? else { return Ok(None) };
        for key in pass.chosen.iter().flatten() {
            let kv = self.fetch(key)?;
            if !allowance.spend(0, kv.key.len() + kv.value.len()) {
                return Ok(None);
            }
            kvs.push(kv);
        }
        let Pass { count, more, .. } = pass;
        Ok(Some(RangeResponse { revision: self.now, kvs, more, count }))
    }

    /// Passes over the range, and gives out the keys of the answer in their order, unless they are to be sorted. Gives up
    /// once it takes more than is allowed.
    pub(super) fn pass(
        &self,
        allowance: &mut Allowance,
        emit: impl FnMut(KeyValue),
    ) -> Result<Option<Pass>, EngineError> {
        if self.request.count_only {
            let count = match self.known_count() {
                Some(count) => count,
                None => return self.count(allowance),
            };
            return Ok(Some(Pass { count, more: false, chosen: None }));
        }
        match self.sort() {
            None => self.pass_in_order(allowance, emit),
            Some((target, order)) => self.choose(target, order, allowance),
        }
    }

    /// Whether the keys of the answer come in another order than they come by, so that a pass must choose them.
    pub(super) fn is_sorted(&self) -> bool {
        self.sort().is_some() && !self.request.count_only
    }

    fn sort(&self) -> Option<(SortTarget, SortOrder)> {
        self.request.sort.filter(|sort| *sort != (SortTarget::Key, SortOrder::Ascending))
    }

    /// The keys of the answer, in their order. What a pass has chosen must be given.
    pub(super) fn kvs(
        self,
        chosen: Option<&'a [Bytes]>,
    ) -> Result<impl Iterator<Item = Result<KeyValue, EngineError>> + 'a, EngineError> {
        let request = self.request;
        let in_order = match chosen {
            None if !request.count_only => Some(self.visible()?),
            _ => None,
        };
        let in_order = in_order.into_iter().flatten().filter_map(move |found| {
            let found = found.and_then(|(key, record)| Ok((key, Version::decode(record)?)));
            match found {
                Ok((_, version)) if !is_within_bounds(request, &version) => None,
                Ok((key, version)) => Some(Ok(version.into_key_value(key, request.keys_only))),
                Err(error) => Some(Err(error)),
            }
        });
        let fetched = chosen.unwrap_or_default().iter().map(move |key| self.fetch(key));
        Ok(in_order.take(limit(request)).chain(fetched))
    }

    fn at(&self) -> Revision {
        read_point(self.request, self.now)
    }

    fn visible(self) -> Result<impl Iterator<Item = Pair> + 'a, EngineError> {
        let (mut one, mut now, mut before) = (None, None, None);
        let range = &self.request.range;
        if self.at() < self.now {
            before = Some(self.map.visible_at(range, self.at())?);
        } else if range.end == RangeEnd::Single {
            let record = self.map.get(&live_key(&range.start))?;
            one = record.map(|record| Ok((range.start.clone(), record)));
        } else {
            now = Some(self.map.visible_now(range));
        }
        let many = now.into_iter().flatten().chain(before.into_iter().flatten());
        Ok(one.into_iter().chain(many))
    }

    /// The number of keys in the range, where that need not be counted. No key is empty.
    fn known_count(&self) -> Option<usize> {
        let range = &self.request.range;
        let is_whole = range.end == RangeEnd::Unbounded && range.start[..] <= [0][..];
        (is_whole && self.at() >= self.now).then_some(self.live_keys)
    }

    fn count(&self, allowance: &mut Allowance) -> Result<Option<Pass>, EngineError> {
        let mut count = 0;
        for found in self.visible()? {
            found?;
            count += 1;
            if !allowance.spend(1, 0) {
                return Ok(None);
            }
        }
        Ok(Some(Pass { count, more: false, chosen: None }))
    }

    fn pass_in_order(
        &self,
        allowance: &mut Allowance,
        mut emit: impl FnMut(KeyValue),
    ) -> Result<Option<Pass>, EngineError> {
        let limit = limit(self.request);
        let known_count = self.known_count();
        let mut count = 0;
        let mut matching = 0;
        for found in self.visible()? {
            let (key, record) = found?;
            count += 1;
            let mut bytes = 0;
            // One beyond the limit says that there are more; all beyond that one are only counted.
            if matching <= limit {
                let version = Version::decode(record)?;
                if is_within_bounds(self.request, &version) {
                    matching = matching.saturating_add(1);
                    if matching <= limit {
                        let kv = version.into_key_value(key, self.request.keys_only);
                        bytes = kv.key.len() + kv.value.len();
                        emit(kv);
                    }
                }
            }
            if !allowance.spend(1, bytes) {
                return Ok(None);
            }
            if let (true, Some(known)) = (matching > limit, known_count) {
                count = known;
                break;
            }
        }
        Ok(Some(Pass { count, more: matching > limit, chosen: None }))
    }

    fn choose(
        &self,
        target: SortTarget,
        order: SortOrder,
        allowance: &mut Allowance,
    ) -> Result<Option<Pass>, EngineError> {
        let limit = limit(self.request);
        let mut count = 0;
        let mut matching = 0;
        let mut first = BinaryHeap::new();
        for found in self.visible()? {
            let (key, record) = found?;
            let version = Version::decode(record)?;
            if is_within_bounds(self.request, &version) {
                let rank = Rank::new(target, &key, version);
                matching += 1;
                let candidate = Candidate { rank, order, position: count, key };
                if first.len() < limit {
                    first.push(candidate);
                } else if let Some(mut last) = first.peek_mut()
                    && candidate < *last
                {
                    *last = candidate;
                }
            }
            count += 1;
            if !allowance.spend(1, 0) {
                return Ok(None);
            }
        }
        let chosen = first.into_sorted_vec().into_iter().map(|candidate| candidate.key).collect();
        Ok(Some(Pass { count, more: matching > limit, chosen: Some(chosen) }))
    }

    /// A key that a pass has chosen.
    fn fetch(&self, key: &Bytes) -> Result<KeyValue, EngineError> {
        let found = self.map.live_at(key, self.at())?;
        let version = found.ok_or_else(|| {
            damaged(format!("the key {key:?}"), "a scan found it, and a look-up did not")
        })?;
        Ok(version.into_key_value(key.clone(), self.request.keys_only))
    }
}

/// The revision that a read is about. etcd takes every revision that is not positive for «the newest».
pub(super) fn read_point(request: &RangeRequest, now: Revision) -> Revision {
    request.revision.filter(|revision| revision.0 > 0).unwrap_or(now)
}

/// Refuses a read, outside a transaction, at a revision that cannot be read.
pub(super) fn check_read_point(
    request: &RangeRequest,
    now: Revision,
    compacted: Revision,
) -> Result<(), Error> {
    match read_point(request, now) {
        at if at > now => Err(Error::FutureRevision),
        at if at < compacted => Err(Error::Compacted),
        _ => Ok(()),
    }
}

fn limit(request: &RangeRequest) -> usize {
    if request.limit == 0 { usize::MAX } else { request.limit }
}

fn is_within_bounds(request: &RangeRequest, version: &Version) -> bool {
    let is_within = |revision: Revision, min: Revision, max: Revision| {
        (min.0 == 0 || revision >= min) && (max.0 == 0 || revision <= max)
    };
    is_within(version.place.revision, request.min_mod_revision, request.max_mod_revision)
        && is_within(
            version.create_revision,
            request.min_create_revision,
            request.max_create_revision,
        )
}

/// What a sort compares.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Number(i64),
    Text(Bytes),
}

impl Rank {
    fn new(target: SortTarget, key: &Bytes, version: Version) -> Self {
        match target {
            SortTarget::Key => Rank::Text(key.clone()),
            SortTarget::Version => Rank::Number(version.version),
            SortTarget::CreateRevision => Rank::Number(version.create_revision.0),
            SortTarget::ModRevision => Rank::Number(version.place.revision.0),
            SortTarget::Value => Rank::Text(version.value.unwrap_or_default()),
        }
    }
}

/// A key that may be among the first ones. What comes first in the answer is the least.
struct Candidate {
    rank: Rank,
    order: SortOrder,
    /// Keys that tie stay in ascending order, in both directions.
    position: usize,
    key: Bytes,
}

impl Ord for Candidate {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_rank = match self.order {
            SortOrder::Ascending => self.rank.cmp(&other.rank),
            SortOrder::Descending => other.rank.cmp(&self.rank),
        };
        by_rank.then(self.position.cmp(&other.position))
    }
}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Candidate {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Candidate {}
