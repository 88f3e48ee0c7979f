//! The multi-version store: a map from keys to values that remembers what every key held at every revision.
//!
//! # Revisions
//! The empty store is at revision 1. A command that changes something moves the store to one new revision, however
//! many keys it touches; a command that changes nothing leaves it. A command that is refused leaves no trace.
//! Where the new revision comes from is the caller's business: [`Store::apply`] counts, [`Store::apply_at`] is told.
//!
//! # Versions
//! A key's versions form its history, oldest first. A deletion is a version too, a *tombstone*: reads between the
//! deletion and the next write find nothing, and older reads still find what was there.
//!
//! # Compaction
//! Compacting at revision *c* promises that nobody reads below *c* again. A read *at* *c* still works, so each key
//! keeps the newest version that is not newer than *c*, unless that is a tombstone. Everything older is garbage: out
//! of reach at once, and freed a bounded number of versions a command, so that no command waits for a large
//! compaction.
//!
//! # Invariants
//! - No version is newer than the store's revision.
//! - The versions of a history are in the order in which they were written.
//! - Each version that is not the newest of its key, and each tombstone, is queued as garbage exactly once, at the
//!   revision from which on a compaction may drop it. The queue is in the order of these revisions, and within one
//!   key in the order of its versions, so that the front of the queue is always the oldest version of its key.
//! - Which garbage is already freed cannot be seen from outside, except in [`Store::bytes`]: neither an answer nor
//!   [`Store::digest`] depends on it.
//!
//! # Departures from etcd
//! - When garbage is freed.
//! - Transactions nest to [`crate::request::TXN_DEPTH_MAX`].
//! - Keys that tie in a sort are always in ascending order, where etcd promises none.
//! - A range is always sorted before it is cut to its limit; etcd cuts first where a sort target comes without an order.
//! - Where several operations of a transaction are to be refused, the first one says why; etcd 3.5 asks the puts first.
//! - A transaction that deletes a key and then asks to keep its value keeps the value from before the transaction,
//!   where etcd 3.5 stops the server.
//!
//! # Omitted
//! - Leases. A write that names one is refused, since none was ever granted.
//! - A count that does not walk the range: even a read with a limit walks all of it, since etcd's answer counts it.
//!
//! Read next: `history.rs`, `write.rs`, `txn.rs`, `compaction.rs`.

mod compaction;
mod digest;
mod history;
mod mutant;
mod read;
mod txn;
mod write;

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use crate::error::Error;
use crate::request::{Command, Query, Response, Revision};
use compaction::{GARBAGE_FREED_PER_COMMAND, Garbage};
use history::History;
pub use mutant::Mutant;
use write::Step;

/// The multi-version store. See the module for what it promises.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Store {
    /// The keys that have a history left, deleted ones among them until compaction forgets them.
    keys: BTreeMap<Bytes, History>,
    /// The revision of the last change.
    revision: Revision,
    /// The oldest revision that can be read.
    compacted: Revision,
    /// What a compaction may drop, in the order of the revision from which on it may.
    garbage: VecDeque<Garbage>,
    /// The number of keys that hold a value now.
    live_keys: usize,
    /// The size of what is in `keys`.
    bytes: usize,
    #[cfg(feature = "mutants")]
    mutant: Option<Mutant>,
}

impl Default for Store {
    fn default() -> Self {
        Self::new()
    }
}

impl Store {
    /// The empty store, at revision 1.
    pub fn new() -> Self {
        Self {
            keys: BTreeMap::new(),
            revision: Revision(1),
            compacted: Revision(-1),
            garbage: VecDeque::new(),
            live_keys: 0,
            bytes: 0,
            #[cfg(feature = "mutants")]
            mutant: None,
        }
    }

    /// The revision of the last change.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The oldest revision that can be read. It is -1 before the first compaction, as etcd reports it.
    pub fn compact_revision(&self) -> Revision {
        self.compacted
    }

    /// The number of keys that hold a value now.
    pub fn live_keys(&self) -> usize {
        self.live_keys
    }

    /// The size in bytes of all keys and of all versions' values that are still held, garbage included. What the
    /// structures around them take is not counted.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Carries out a command, and counts its revision: one above the last, if it changes anything.
    ///
    /// # Errors
    /// As [`Store::apply_at`].
    pub fn apply(&mut self, command: &Command) -> Result<Response, Error> {
        self.apply_at(command, Revision(self.revision.0 + 1))
    }

    /// Carries out a command at the revision `next`, which stays unused if the command changes nothing.
    ///
    /// The command is expected to have passed [`crate::validate::validate`]. One that has not is still carried out
    /// in the same way on every replica.
    ///
    /// # Errors
    /// `KeyNotFound`, `LeaseNotFound`, `Compacted` and `FutureRevision`, as etcd. Then the store is as it was.
    ///
    /// # Panics
    /// If `next` is not above the store's revision: whoever hands out revisions must never go back.
    pub fn apply_at(&mut self, command: &Command, next: Revision) -> Result<Response, Error> {
        assert!(next > self.revision, "a write was given a revision that is already taken");
        let mut step = Step::new(self.revision, next);
        let response = match command {
            Command::Put(put) => {
                self.check_lease(put)?;
                self.check_kept(put)?;
                Response::Put(self.put(put, &mut step))
            }
            Command::DeleteRange(delete) => {
                Response::DeleteRange(self.delete_range(delete, &mut step))
            }
            Command::Txn(txn) => Response::Txn(self.txn(txn, &mut step)?),
            Command::Compact(compact) => Response::Compact(self.compact(compact)?),
        };
        self.revision = step.now();
        self.free_garbage(GARBAGE_FREED_PER_COMMAND);
        Ok(response)
    }

    /// Answers a query from the store as it is.
    ///
    /// # Errors
    /// `Compacted` and `FutureRevision`, as etcd; `Unsupported` for a transaction that would write, which is a
    /// command and no query (see [`crate::validate::is_read_only`]).
    pub fn query(&self, query: &Query) -> Result<Response, Error> {
        match query {
            Query::Range(range) => self.range(range).map(Response::Range),
            Query::Txn(txn) => self.read_only_txn(txn).map(Response::Txn),
        }
    }
}
