//! The log and what it is made of.

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;

use bytes::Bytes;
use quorate_core::{NodeId, RequestId};

use super::membership::Membership;

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

/// The entries a member holds, those that may still be overwritten included.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Log {
    entries: Vec<Entry>,
}

impl Log {
    /// The position of the last entry; 0 if there is none.
    pub fn last_index(&self) -> Index {
        Index(self.entries.len() as u64)
    }

    /// The term of the last entry; 0 if there is none.
    pub fn last_term(&self) -> Term {
        self.entries.last().map_or(Term(0), |entry| entry.term)
    }

    /// The term of the entry at `index`; that of position 0 is 0. None beyond the end.
    pub fn term_at(&self, index: Index) -> Option<Term> {
        if index == Index(0) { Some(Term(0)) } else { self.get(index).map(|entry| entry.term) }
    }

    /// The entry at `index`.
    pub fn get(&self, index: Index) -> Option<&Entry> {
        self.entries.get(index.0.checked_sub(1)? as usize)
    }

    /// The entries in a range of positions, which must exist.
    pub fn slice(&self, range: RangeInclusive<Index>) -> &[Entry] {
        let start = range.start().previous().0 as usize;
        &self.entries[start..(range.end().0 as usize).max(start)]
    }

    /// The first position whose entry has the term of the one at `index`, which must exist.
    pub fn first_index_of_term_at(&self, index: Index) -> Index {
        let term = self.term_at(index);
        let before =
            self.entries[..index.0 as usize].partition_point(|entry| Some(entry.term) < term);
        Index(before as u64 + 1)
    }

    /// The last position whose entry has a term of at most `term`; 0 if there is none.
    pub fn last_index_up_to_term(&self, term: Term) -> Index {
        Index(self.entries.partition_point(|entry| entry.term <= term) as u64)
    }

    /// Adds an entry at the end.
    pub fn push(&mut self, entry: Entry) {
        debug_assert!(entry.term >= self.last_term(), "terms fall along the log");
        self.entries.push(entry);
    }

    /// Drops every entry behind `index`.
    pub fn truncate_after(&mut self, index: Index) {
        self.entries.truncate(index.0 as usize);
    }
}
