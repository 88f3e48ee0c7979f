//! A store as a stream of chunks, and back: what a replica that is far behind is sent, and what a backup holds.
//!
//! A chunk stands for itself: it says what it is, and carries its own checksum. All numbers are little-endian.
//!
//! | bytes | of a chunk |
//! |---|---|
//! | 4 | `QSNP` |
//! | 1 | the format, [`SNAPSHOT_FORMAT`] |
//! | 1 | the kind: 1 the first, 2 pairs, 3 the last |
//! | 8 | the number of chunks before it |
//! | 4 | the length of its body |
//! | … | the body |
//! | 4 | CRC-32C of all the above |
//!
//! The body of the first chunk is the store's record about itself ([`SnapshotInfo`]). The bodies of the second kind,
//! one after the other, are the pairs of the map in order, each with the lengths of key and value as varints before it;
//! a chunk may end anywhere. The body of the last chunk is the number of pairs in 8 bytes, and in 4 the CRC-32C of all chunks
//! before it, each without its own: any bytes followed by their CRC leave a CRC in the same state, so that with them it
//! would be blind to what they follow.
//!
//! *Life of a snapshot.* [`Store::snapshot`](super::Store::snapshot) takes a view, which costs nothing; the reader cuts
//! its chunks from it on any thread, and goes back to any chunk that it has passed ([`SnapshotReader::rewind`]). The
//! writer fills a map beside the one in use, and takes each chunk once and in its turn; a chunk that is damaged or out of
//! turn leaves it as it was. Only a map that is whole is adopted.

mod reader;
mod writer;

use bytes::Bytes;
use quorate_engine::EngineError;
use thiserror::Error;

use super::meta::Meta;
use crate::request::Revision;
pub use reader::{SnapshotMark, SnapshotReader};
pub use writer::SnapshotWriter;

/// The version of the stream. A newer one is refused.
pub const SNAPSHOT_FORMAT: u8 = 1;

/// What is to be read of a chunk to know its length (see [`chunk_bytes`]).
pub const CHUNK_HEAD_BYTES: usize = 18;

const MAGIC: [u8; 4] = *b"QSNP";
const CHECKSUM_BYTES: usize = 4;

const FIRST: u8 = 1;
const PAIRS: u8 = 2;
const LAST: u8 = 3;

/// Why a stream is no snapshot. The store is as it was before.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SnapshotError {
    /// A chunk does not begin as chunks do.
    #[error("chunk {chunk} is not of a snapshot: {why}; is it the right file?")]
    NotASnapshot {
        /// The chunk that was expected.
        chunk: u64,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The stream was written by a later version.
    #[error(
        "chunk {chunk} has format {format}, and this version reads up to {SNAPSHOT_FORMAT}; upgrade it"
    )]
    NewerFormat {
        /// The chunk that was expected.
        chunk: u64,
        /// Its format.
        format: u8,
    },
    /// A chunk is not as it was written.
    #[error("chunk {chunk} is damaged: {why}; send or copy it again")]
    DamagedChunk {
        /// The chunk that was expected.
        chunk: u64,
        /// How that was found.
        why: &'static str,
    },
    /// A chunk came before its turn, or again.
    #[error("chunk {got} came where chunk {expected} was expected")]
    OutOfOrder {
        /// The chunk that was expected.
        expected: u64,
        /// The one that came.
        got: u64,
    },
    /// Each chunk is as it was written, but they do not belong together, or were never a store.
    #[error("the snapshot contradicts itself in chunk {chunk}: {why}; take another one")]
    Inconsistent {
        /// Where that was found.
        chunk: u64,
        /// The contradiction.
        why: &'static str,
    },
    /// The stream ended early.
    #[error("the snapshot ends before its last chunk: chunk {expected} is missing")]
    Truncated {
        /// The chunk that was expected.
        expected: u64,
    },
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// What a snapshot is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotInfo {
    /// The revision of the store.
    pub revision: Revision,
    /// The oldest revision that can be read from it.
    pub compact_revision: Revision,
    /// The number of keys that hold a value.
    pub live_keys: u64,
    /// As [`super::Store::bytes`].
    pub bytes: u64,
    /// What the store's owner gave it to keep: how far it had applied its log.
    pub applied: Bytes,
}

impl SnapshotInfo {
    fn new(meta: &Meta, applied: Bytes) -> Self {
        SnapshotInfo {
            revision: meta.revision,
            compact_revision: meta.compacted,
            live_keys: meta.live_keys,
            bytes: meta.bytes,
            applied,
        }
    }
}

/// The length of a whole chunk that begins with `head`; for who reads chunks from a file, one after the other. `chunk`
/// is its number, for the error.
///
/// # Errors
/// If it is not the beginning of a chunk.
pub fn chunk_bytes(chunk: u64, head: &[u8; CHUNK_HEAD_BYTES]) -> Result<u64, SnapshotError> {
    let [m, a, g, i, format, _, _, _, _, _, _, _, _, _, length @ ..] = *head;
    if [m, a, g, i] != MAGIC {
        return Err(SnapshotError::NotASnapshot { chunk, why: "it does not begin with QSNP" });
    }
    if format > SNAPSHOT_FORMAT {
        return Err(SnapshotError::NewerFormat { chunk, format });
    }
    Ok((CHUNK_HEAD_BYTES + CHECKSUM_BYTES) as u64 + u64::from(u32::from_le_bytes(length)))
}
