//! Reads: ranges of keys, now or at an old revision.

use std::cmp::Ordering;
use std::collections::btree_map;
use std::ops::Bound;

use bytes::Bytes;

use super::Store;
use super::history::Version;
use crate::error::Error;
use crate::request::{
    KeyRange, RangeEnd, RangeRequest, RangeResponse, Revision, SortOrder, SortTarget,
};

impl Store {
    /// Answers a read that is not part of a transaction.
    pub(super) fn range(&self, request: &RangeRequest) -> Result<RangeResponse, Error> {
        let at = read_point(request, self.revision);
        if at > self.revision {
            return Err(Error::FutureRevision);
        }
        if at < self.compacted {
            return Err(Error::Compacted);
        }
        Ok(self.range_as_of(request, self.revision))
    }

    /// Answers a read whose revision is known to be readable, in a store that has come to the revision `now`.
    ///
    /// The order is etcd's: the count is of all keys in the range at that revision, whatever the bounds and the
    /// limit leave; then the bounds filter, then comes the sort, then the limit, and last the values are left out.
    pub(super) fn range_as_of(&self, request: &RangeRequest, now: Revision) -> RangeResponse {
        let visible = self.visible(&request.range, read_point(request, now));
        if request.count_only {
            let count = visible.count();
            return RangeResponse { revision: now, kvs: Vec::new(), more: false, count };
        }
        if request.sort.is_none() && !has_bounds(request) {
            return first(request, visible, now);
        }
        let mut found: Vec<(&Bytes, &Version)> = visible.collect();
        let count = found.len();
        found.retain(|(_, version)| is_within_bounds(request, version));
        if let Some((target, order)) = request.sort {
            sort(&mut found, target, order);
        }
        let more = found.len() > limit(request);
        found.truncate(limit(request));
        let kvs = found
            .into_iter()
            .map(|(key, version)| version.to_key_value(key, request.keys_only))
            .collect();
        RangeResponse { revision: now, kvs, more, count }
    }

    /// The keys of a range that hold a value at a revision, in order.
    pub(super) fn visible(
        &self,
        range: &KeyRange,
        at: Revision,
    ) -> impl Iterator<Item = (&Bytes, &Version)> {
        let (single, many) = match range.end {
            RangeEnd::Single => (self.keys.get_key_value(&range.start), None),
            RangeEnd::Before(_) | RangeEnd::Unbounded => {
                (None, bounds(range).map(|bounds| self.keys.range::<[u8], _>(bounds)))
            }
        };
        let many = many.unwrap_or_else(btree_map::Range::default);
        single
            .into_iter()
            .chain(many)
            .filter_map(move |(key, history)| history.live_at(at).map(|version| (key, version)))
    }
}

/// Where a range begins and ends in an ordered map.
type Bounds<'a> = (Bound<&'a [u8]>, Bound<&'a [u8]>);

/// The bounds of a range, or none for a range that is empty by its bounds alone.
pub(super) fn bounds(range: &KeyRange) -> Option<Bounds<'_>> {
    let start = &range.start[..];
    match &range.end {
        RangeEnd::Single => Some((Bound::Included(start), Bound::Included(start))),
        RangeEnd::Before(end) if end[..] <= *start => None,
        RangeEnd::Before(end) => Some((Bound::Included(start), Bound::Excluded(end))),
        RangeEnd::Unbounded => Some((Bound::Included(start), Bound::Unbounded)),
    }
}

/// The revision that a read is about. etcd takes every revision that is not positive for «the newest».
fn read_point(request: &RangeRequest, now: Revision) -> Revision {
    request.revision.filter(|revision| revision.0 > 0).unwrap_or(now)
}

/// Answers with the first keys up to the limit. Those beyond it are counted, but not built.
fn first<'a>(
    request: &RangeRequest,
    visible: impl Iterator<Item = (&'a Bytes, &'a Version)>,
    now: Revision,
) -> RangeResponse {
    let limit = limit(request);
    let mut kvs = Vec::new();
    let mut count = 0;
    for (key, version) in visible {
        if count < limit {
            kvs.push(version.to_key_value(key, request.keys_only));
        }
        count += 1;
    }
    RangeResponse { revision: now, kvs, more: count > limit, count }
}

fn limit(request: &RangeRequest) -> usize {
    if request.limit == 0 { usize::MAX } else { request.limit }
}

fn has_bounds(request: &RangeRequest) -> bool {
    [
        request.min_mod_revision,
        request.max_mod_revision,
        request.min_create_revision,
        request.max_create_revision,
    ]
    .iter()
    .any(|bound| bound.0 != 0)
}

fn is_within_bounds(request: &RangeRequest, version: &Version) -> bool {
    let is_within = |revision: Revision, min: Revision, max: Revision| {
        (min.0 == 0 || revision >= min) && (max.0 == 0 || revision <= max)
    };
    is_within(version.mod_revision, request.min_mod_revision, request.max_mod_revision)
        && is_within(
            version.create_revision,
            request.min_create_revision,
            request.max_create_revision,
        )
}

/// Sorts keys that are in ascending order. Keys that tie stay in that order, in both directions.
fn sort(found: &mut [(&Bytes, &Version)], target: SortTarget, order: SortOrder) {
    let ascending = |a: &(&Bytes, &Version), b: &(&Bytes, &Version)| -> Ordering {
        match target {
            SortTarget::Key => a.0.cmp(b.0),
            SortTarget::Version => a.1.version.cmp(&b.1.version),
            SortTarget::CreateRevision => a.1.create_revision.cmp(&b.1.create_revision),
            SortTarget::ModRevision => a.1.mod_revision.cmp(&b.1.mod_revision),
            SortTarget::Value => a.1.value.cmp(&b.1.value),
        }
    };
    match order {
        SortOrder::Ascending => found.sort_by(ascending),
        SortOrder::Descending => found.sort_by(|a, b| ascending(b, a)),
    }
}
