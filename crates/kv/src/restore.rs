//! A store from a backup, as the beginning of a new cluster.
//!
//! What the store holds goes on: its keys, their versions, its revision. What the old cluster's log was does not: the
//! log of the new one begins with an entry that nobody ever wrote, whose effect is the backup, and with members of its
//! own. Each node of the new cluster makes that beginning by itself, and all make the same one.

use std::sync::Arc;

use quorate_core::Mutants;
use quorate_engine::Engine;
use quorate_protocols::consensus::raft::{Index, Membership, Snapshot, Term};
use thiserror::Error;

use crate::error::Error as StoreError;
use crate::node::wire::encode_snapshot;
use crate::request::{Command, CompactRequest};
use crate::store::Store;
use crate::store::snapshot::{SnapshotError, SnapshotInfo, SnapshotWriter};

/// Why a store was not restored.
#[derive(Debug, Error)]
pub enum RestoreError {
    /// The backup, or the engine that it goes to.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The store in the backup.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There are not so many revisions left.
    #[error("revision {revision} cannot be raised by {by}: the highest is {}", i64::MAX)]
    NoRevisions {
        /// That of the backup.
        revision: i64,
        /// What it was to be raised by.
        by: u64,
    },
}

/// A backup that is being taken in.
pub struct Restore<E: Engine> {
    store: Store<E>,
    writer: SnapshotWriter<E>,
}

impl<E: Engine> Restore<E> {
    /// Begins to fill an engine, whose own content is to go.
    ///
    /// # Errors
    /// As [`Engine::import`].
    pub fn begin(engine: E) -> Result<Self, RestoreError> {
        let (mut store, _) = Store::open_anyway(engine, Mutants::NONE);
        let writer = store.import()?;
        Ok(Restore { store, writer })
    }

    /// Takes the next chunk.
    ///
    /// # Errors
    /// As [`SnapshotWriter::add`].
    pub fn add(&mut self, chunk: &[u8]) -> Result<(), RestoreError> {
        Ok(self.writer.add(chunk)?)
    }

    /// Whether the last chunk was taken.
    pub fn is_whole(&self) -> bool {
        self.writer.is_whole()
    }

    /// Makes what was taken in the beginning of a cluster with these members. Returns what the new store is, and its
    /// engine, which is durable once it was closed.
    ///
    /// With `raised_by`, the store's revision is raised by so many, and all below the new one counts as compacted: who
    /// has seen later revisions of the old cluster than there are in the backup never sees one of them a second time,
    /// and is told that what it knows is too old.
    ///
    /// # Errors
    /// If the last chunk is missing, or the engine fails.
    pub fn finish(
        self,
        members: Membership,
        raised_by: Option<u64>,
    ) -> Result<(SnapshotInfo, E), RestoreError> {
        let Restore { mut store, writer } = self;
        let mut info = store.adopt(writer)?;
        if let Some(by) = raised_by {
            let revision = store.revision().0;
            if !store.skip_revisions(by) {
                return Err(RestoreError::NoRevisions { revision, by });
            }
            if store.revision() > store.compact_revision() {
                let all = CompactRequest { revision: store.revision(), physical: false };
                store.apply(&Command::Compact(all))?;
            }
        }
        let beginning = Snapshot { index: Index(1), term: Term(1), membership: Arc::new(members) };
        store.commit_with(&encode_snapshot(&beginning));
        info.revision = store.revision();
        info.compact_revision = store.compact_revision();
        info.applied = store.applied().to_vec().into();
        Ok((info, store.into_engine()))
    }
}
