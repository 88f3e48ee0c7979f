//! A store as it was at one moment, to be read piece by piece by whoever asked, on any thread.

#![allow(
    clippy::disallowed_types,
    reason = "a backup is no part of a state machine: whoever asked reads it, on any thread"
)]

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use quorate_engine::{EngineError, View};

use crate::store::snapshot::{SnapshotInfo, SnapshotReader};

/// The longest chunk of a backup.
pub const BACKUP_CHUNK_BYTES_MAX: usize = 256 << 10;

/// A store as it was when it was asked for. Nothing of it is in memory but what is being read; the store goes on
/// meanwhile. Clones read the same chunks, each once.
#[derive(Clone)]
pub struct Backup {
    term: u64,
    info: SnapshotInfo,
    chunks: Arc<Mutex<dyn Chunks>>,
}

/// A snapshot of whichever engine it is.
trait Chunks: Send {
    fn next(&mut self) -> Result<Option<Bytes>, EngineError>;
}

impl<V: View + Send> Chunks for SnapshotReader<V> {
    fn next(&mut self) -> Result<Option<Bytes>, EngineError> {
        self.read()
    }
}

impl Backup {
    /// What a reader reads, at a replica in this term.
    pub(crate) fn new(term: u64, reader: SnapshotReader<impl View + Send + 'static>) -> Self {
        Backup { term, info: reader.info().clone(), chunks: Arc::new(Mutex::new(reader)) }
    }

    /// The replica's term.
    pub fn term(&self) -> u64 {
        self.term
    }

    /// What it is of.
    pub fn info(&self) -> &SnapshotInfo {
        &self.info
    }

    /// The next chunk; none after the last. It is read from the disk, so this is not for an event loop.
    ///
    /// # Errors
    /// What the engine could not read.
    pub fn next_chunk(&self) -> Result<Option<Bytes>, EngineError> {
        self.chunks.lock().unwrap_or_else(PoisonError::into_inner).next()
    }
}

impl fmt::Debug for Backup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backup").field("info", &self.info).finish_non_exhaustive()
    }
}

/// Two are the same if they read the same chunks.
impl PartialEq for Backup {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.chunks, &other.chunks)
    }
}

impl Eq for Backup {}
