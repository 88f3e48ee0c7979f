//! Compaction: forgetting what only reads below some revision could see.

use std::collections::VecDeque;

use bytes::Bytes;

use super::Store;
use super::mutant::Mutant;
use crate::error::Error;
use crate::request::{CompactRequest, CompactResponse, Revision};

/// The number of versions that one command frees, at most. One command makes at most a few, except for deletions of
/// large ranges, so the queue shrinks under load; a larger number would only make single commands slower.
pub(super) const GARBAGE_FREED_PER_COMMAND: usize = 16;

/// The oldest version of a key, once a compaction has reached a revision.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Garbage {
    from: Revision,
    key: Bytes,
}

impl Garbage {
    /// Says that one more version of a key may be dropped by compactions at or after a revision.
    pub(super) fn new(from: Revision, key: &Bytes) -> Self {
        Self { from, key: key.clone() }
    }
}

impl Store {
    pub(super) fn compact(&mut self, request: &CompactRequest) -> Result<CompactResponse, Error> {
        if request.revision <= self.compacted {
            return Err(Error::Compacted);
        }
        if request.revision > self.revision {
            return Err(Error::FutureRevision);
        }
        self.compacted = request.revision;
        if request.physical {
            self.free_garbage(usize::MAX);
        }
        Ok(CompactResponse { revision: self.revision })
    }

    /// Frees at most so many versions that the last compaction has put out of reach.
    pub(super) fn free_garbage(&mut self, versions_max: usize) {
        let mut reached = self.compacted;
        if self.is_mutant(Mutant::CompactionReachesTooFar) {
            reached.0 += 1;
        }
        for _ in 0..versions_max {
            if self.garbage.front().is_none_or(|garbage| garbage.from > reached) {
                break;
            }
            if let Some(garbage) = self.garbage.pop_front() {
                self.free_oldest_version(&garbage.key);
            }
        }
        release_slack(&mut self.garbage);
    }

    fn free_oldest_version(&mut self, key: &Bytes) {
        let history = self.keys.get_mut(key).expect("garbage names a key without a history");
        if let Some(version) = history.older.pop_front() {
            self.bytes -= version.value_bytes();
            release_slack(&mut history.older);
        } else {
            assert!(!history.newest.is_live(), "compaction would drop a value that is there now");
            self.keys.remove(key);
            self.bytes -= key.len();
        }
    }
}

/// Gives memory back once a queue that was long is mostly empty. Halving at a quarter keeps the cost of it constant
/// for each element that was taken out.
fn release_slack<T>(queue: &mut VecDeque<T>) {
    const WORTH_RELEASING: usize = 16;
    if queue.capacity() > WORTH_RELEASING && queue.len() < queue.capacity() / 4 {
        queue.shrink_to(queue.capacity() / 2);
    }
}
