//! The log and what it is made of.

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;

use bytes::Bytes;
use quorate_core::{NodeId, RequestId};

use super::membership::Membership;
use super::snapshot::Snapshot;

/// A period with at most one leader. 0 is before the first election.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Term(pub u64);

impl Term {
    /// Terms are counted one by one, so no honest member ever comes near this one; a message that says so lies.
    pub const END: Term = Term(1 << 62);

    /// The term after this one.
    pub fn next(self) -> Term {
        Term(self.0 + 1)
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A position in the log. The first entry is at 1; 0 is the place before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Index(pub u64);

impl Index {
    /// Entries are counted one by one, so no honest log ever comes near this one; a message that says so lies.
    pub const END: Index = Index(1 << 62);

    /// The position after this one.
    pub fn next(self) -> Index {
        Index(self.0 + 1)
    }

    /// The position before this one; 0 has none, and stays.
    pub fn previous(self) -> Index {
        Index(self.0.saturating_sub(1))
    }
}

impl fmt::Display for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Whose proposal an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    /// The member it was put to.
    pub node: NodeId,
    /// The run of that member.
    pub boot: u64,
    /// The name it has there.
    pub request: RequestId,
}

/// One entry of the log.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Entry {
    /// The term of the leader that appended it.
    pub term: Term,
    /// Whose proposal it is; none for the empty entry that opens a term.
    pub origin: Option<Origin>,
    /// What was proposed.
    pub payload: Bytes,
    /// Who takes part from here on, for an entry that changes that; such an entry has no payload.
    pub membership: Option<Arc<Membership>>,
}

/// The entries a member holds, those that may still be overwritten included, and what stands for those before them.
///
/// A log is born with the base 0. Compaction moves the base up, and so does the snapshot of a leader that no longer
/// has what we lack; nothing ever moves it down. Of what is before the base, only that it is committed is known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Log {
    base: Snapshot,
    entries: Vec<Entry>,
}

impl Log {
    /// What stands for the entries that are no longer held.
    pub fn base(&self) -> &Snapshot {
        &self.base
    }

    /// The position of the first entry that is held, or would be.
    pub fn first_index(&self) -> Index {
        self.base.index.next()
    }

    /// The position of the last entry; that of the base if there is none.
    pub fn last_index(&self) -> Index {
        Index(self.base.index.0 + self.entries.len() as u64)
    }

    /// The term of the last entry; that of the base if there is none.
    pub fn last_term(&self) -> Term {
        self.entries.last().map_or(self.base.term, |entry| entry.term)
    }

    /// The term of the entry at `index`, or of the base. None before the base and beyond the end.
    pub fn term_at(&self, index: Index) -> Option<Term> {
        if index == self.base.index {
            Some(self.base.term)
        } else {
            self.get(index).map(|entry| entry.term)
        }
    }

    /// The entry at `index`, if it is held.
    pub fn get(&self, index: Index) -> Option<&Entry> {
        self.entries.get(self.offset(index)?)
    }

    /// The entries in a range of positions, which must be held.
    pub fn slice(&self, range: RangeInclusive<Index>) -> &[Entry] {
        assert!(*range.start() > self.base.index, "entries are asked for that are compacted");
        let start = self.count_up_to(range.start().previous());
        &self.entries[start..self.count_up_to(*range.end()).max(start)]
    }

    /// The first position held whose entry has the term of the one at `index`, which must be held, or the base.
    pub fn first_index_of_term_at(&self, index: Index) -> Index {
        let term = self.term_at(index);
        let before = self.entries[..self.count_up_to(index)]
            .partition_point(|entry| Some(entry.term) < term);
        Index(self.base.index.0 + before as u64 + 1)
    }

    /// The last position whose entry, or base, has a term of at most `term`; 0 if none is known.
    pub fn last_index_up_to_term(&self, term: Term) -> Index {
        if term < self.base.term {
            return Index(0);
        }
        let count = self.entries.partition_point(|entry| entry.term <= term);
        Index(self.base.index.0 + count as u64)
    }

    /// What the entries up to `index` come to; none if it is before the base, or beyond the end.
    pub fn snapshot_at(&self, index: Index) -> Option<Snapshot> {
        let term = self.term_at(index)?;
        let changes = self.entries[..self.count_up_to(index)].iter().rev();
        let newest = changes.filter_map(|entry| entry.membership.as_ref()).next();
        let membership = newest.unwrap_or(&self.base.membership).clone();
        Some(Snapshot { index, term, membership })
    }

    /// Adds an entry at the end.
    pub fn push(&mut self, entry: Entry) {
        debug_assert!(entry.term >= self.last_term(), "terms fall along the log");
        self.entries.push(entry);
    }

    /// Drops every entry behind `index`.
    pub fn truncate_after(&mut self, index: Index) {
        self.entries.truncate(self.count_up_to(index));
    }

    /// Says who took part before the first entry. It holds only for a log that is still at its beginning.
    pub(super) fn begin_with(&mut self, membership: &Arc<Membership>) {
        if self.base.index == Index(0) {
            self.base.membership = membership.clone();
        }
    }

    /// Begins at `base` from now on; the entries behind it stay.
    pub fn compact(&mut self, base: Snapshot) {
        if base.index >= self.base.index {
            self.entries.drain(..self.count_up_to(base.index));
            // What a burst needed is given back once it is over.
            if self.entries.capacity() / 4 > self.entries.len() {
                self.entries.shrink_to(self.entries.len() * 2);
            }
            self.base = base;
        }
    }

    /// Begins at `base`, and holds nothing behind it.
    pub fn reset(&mut self, base: Snapshot) {
        self.entries.clear();
        self.base = base;
    }

    fn offset(&self, index: Index) -> Option<usize> {
        Some(index.0.checked_sub(self.base.index.0)?.checked_sub(1)? as usize)
    }

    /// How many of the entries held are not behind `index`.
    fn count_up_to(&self, index: Index) -> usize {
        let count = index.0.saturating_sub(self.base.index.0);
        count.min(self.entries.len() as u64) as usize
    }
}
