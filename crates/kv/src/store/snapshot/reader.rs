//! From a view to chunks.

use std::ops::Bound;

use bytes::{BufMut, Bytes};
use prost::encoding::encode_varint;
use quorate_engine::{EngineError, View};

use super::{
    CHECKSUM_BYTES, CHUNK_HEAD_BYTES, FIRST, LAST, MAGIC, PAIRS, SNAPSHOT_FORMAT, SnapshotInfo,
};
use crate::store::layout::{META_KEY, damaged};
use crate::store::meta::Meta;

/// Cuts one view of a store into chunks.
#[derive(Clone, Debug)]
pub struct SnapshotReader<V> {
    view: V,
    info: SnapshotInfo,
    meta_record: Bytes,
    body_bytes_max: usize,
    at: SnapshotMark,
}

/// A place between two chunks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotMark {
    number: u64,
    stage: Stage,
    /// The pair to go on with is the first at or after this key, without so many bytes of it.
    key: Bytes,
    offset: usize,
    /// How many pairs are behind, and the checksum of all chunks that are.
    pairs: u64,
    checksum: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    First,
    Pairs,
    Last,
    Over,
}

impl SnapshotMark {
    /// The number of chunks before it.
    pub fn chunk(&self) -> u64 {
        self.number
    }
}

impl<V: View> SnapshotReader<V> {
    /// Reads a view of a store, in chunks of at most so many bytes, but for the first, which is short.
    pub(in crate::store) fn new(view: V, chunk_bytes_max: usize) -> Result<Self, EngineError> {
        let meta_record = view
            .get(META_KEY)?
            .ok_or_else(|| damaged("the store's record about itself", "it is not there"))?;
        let (meta, applied) = Meta::decode(&meta_record)?;
        let overhead = CHUNK_HEAD_BYTES + CHECKSUM_BYTES;
        Ok(SnapshotReader {
            view,
            info: SnapshotInfo::new(&meta, applied),
            meta_record,
            // The last chunk is the longest that cannot be cut.
            body_bytes_max: chunk_bytes_max.saturating_sub(overhead).clamp(12, u32::MAX as usize),
            at: SnapshotMark {
                number: 0,
                stage: Stage::First,
                key: Bytes::new(),
                offset: 0,
                pairs: 0,
                checksum: 0,
            },
        })
    }

    /// What the snapshot is of.
    pub fn info(&self) -> &SnapshotInfo {
        &self.info
    }

    /// The place before the next chunk.
    pub fn mark(&self) -> SnapshotMark {
        self.at.clone()
    }

    /// Goes back to a place that it was at: the same chunks follow again.
    pub fn rewind(&mut self, mark: SnapshotMark) {
        self.at = mark;
    }

    /// The next chunk; none after the last.
    ///
    /// # Errors
    /// What the engine could not read. The reader is where it was.
    pub fn read(&mut self) -> Result<Option<Bytes>, EngineError> {
        let mut at = self.at.clone();
        let chunk = match at.stage {
            Stage::First => {
                at.stage = Stage::Pairs;
                at.seal(FIRST, &self.meta_record)
            }
            Stage::Pairs => {
                let body = self.cut(&mut at)?;
                at.seal(PAIRS, &body)
            }
            Stage::Last => {
                at.stage = Stage::Over;
                let mut body = Vec::new();
                body.put_u64_le(at.pairs);
                body.put_u32_le(at.checksum);
                at.seal(LAST, &body)
            }
            Stage::Over => return Ok(None),
        };
        self.at = at;
        Ok(Some(chunk))
    }

    /// As much of the pairs as a chunk holds.
    fn cut(&self, at: &mut SnapshotMark) -> Result<Vec<u8>, EngineError> {
        let mut body = Vec::with_capacity(self.body_bytes_max.min(1 << 20));
        for pair in self.view.scan((Bound::Included(at.key.clone()), Bound::Unbounded)) {
            let (key, value) = pair?;
            let mut lengths = [0; 20];
            let mut rest = &mut lengths[..];
            encode_varint(key.len() as u64, &mut rest);
            encode_varint(value.len() as u64, &mut rest);
            let unused = rest.len();
            let lengths = &lengths[..lengths.len() - unused];
            let mut skip = std::mem::take(&mut at.offset);
            let pair_bytes = lengths.len() + key.len() + value.len() - skip;
            let room = self.body_bytes_max - body.len();
            let offset = skip + pair_bytes.min(room);
            for piece in [lengths, &key, &value] {
                let skipped = skip.min(piece.len());
                skip -= skipped;
                let piece = &piece[skipped..];
                let fits = piece.len().min(self.body_bytes_max - body.len());
                body.extend_from_slice(&piece[..fits]);
            }
            if pair_bytes > room {
                (at.key, at.offset) = (key, offset);
                return Ok(body);
            }
            at.pairs += 1;
            at.key = [&key[..], &[0]].concat().into();
        }
        at.stage = Stage::Last;
        Ok(body)
    }
}

impl SnapshotMark {
    /// Makes a chunk of a body, and goes past it.
    fn seal(&mut self, kind: u8, body: &[u8]) -> Bytes {
        let mut chunk = Vec::with_capacity(CHUNK_HEAD_BYTES + body.len() + CHECKSUM_BYTES);
        chunk.extend_from_slice(&MAGIC);
        chunk.put_u8(SNAPSHOT_FORMAT);
        chunk.put_u8(kind);
        chunk.put_u64_le(self.number);
        chunk.put_u32_le(
            u32::try_from(body.len()).expect("a chunk is longer than its length can say"),
        );
        chunk.extend_from_slice(body);
        self.checksum = crc32c::crc32c_append(self.checksum, &chunk);
        chunk.put_u32_le(crc32c::crc32c(&chunk));
        self.number += 1;
        chunk.into()
    }
}
