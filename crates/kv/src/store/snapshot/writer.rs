//! From chunks to a map.

use bytes::{Buf, Bytes, BytesMut};
use prost::encoding::decode_varint;
use quorate_engine::{Engine, Import};

use super::{
    CHECKSUM_BYTES, CHUNK_HEAD_BYTES, FIRST, LAST, PAIRS, SnapshotError, SnapshotInfo, chunk_bytes,
};
use crate::store::layout::{META_KEY, is_live};
use crate::store::meta::Meta;

/// Fills a map from the chunks of a snapshot.
pub struct SnapshotWriter<E: Engine> {
    import: E::Import,
    /// The number of chunks taken.
    taken: u64,
    checksum: u32,
    /// What the first chunk said.
    info: Option<SnapshotInfo>,
    meta_record: Bytes,
    /// The beginning of a pair whose end is in the next chunk.
    partial: BytesMut,
    last_key: Option<Bytes>,
    pairs: u64,
    live_keys: u64,
    has_meta: bool,
    is_whole: bool,
    /// Why nothing more can be taken.
    failed: Option<SnapshotError>,
}

/// A chunk whose checksum holds and whose turn it is.
struct Chunk<'a> {
    kind: u8,
    body: &'a [u8],
    /// All but its checksum.
    checked: &'a [u8],
}

impl<E: Engine> SnapshotWriter<E> {
    /// Begins to fill a map beside the engine's own. One that was begun before and not adopted is dropped.
    ///
    /// # Errors
    /// As [`Engine::import`].
    pub fn begin(engine: &mut E) -> Result<Self, SnapshotError> {
        Ok(SnapshotWriter {
            import: engine.import()?,
            taken: 0,
            checksum: 0,
            info: None,
            meta_record: Bytes::new(),
            partial: BytesMut::new(),
            last_key: None,
            pairs: 0,
            live_keys: 0,
            has_meta: false,
            is_whole: false,
            failed: None,
        })
    }

    /// The chunk that is expected next.
    pub fn expects(&self) -> u64 {
        self.taken
    }

    /// Whether the last chunk was taken.
    pub fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// What the snapshot is of, once the first chunk was taken.
    pub fn info(&self) -> Option<&SnapshotInfo> {
        self.info.as_ref()
    }

    /// Takes the next chunk.
    ///
    /// # Errors
    /// After `NotASnapshot`, `NewerFormat`, `DamagedChunk` and `OutOfOrder` the chunk that is expected can still be given.
    /// After `Inconsistent` and `Engine` the snapshot must be begun anew, and the error is repeated.
    pub fn add(&mut self, chunk: &[u8]) -> Result<(), SnapshotError> {
        if let Some(failed) = &self.failed {
            return Err(failed.clone());
        }
        let Chunk { kind, body, checked } = self.open(chunk)?;
        let taken = match (kind, &self.info) {
            (FIRST, None) => self.take_first(body),
            (PAIRS, Some(_)) => self.take_pairs(body),
            (LAST, Some(_)) => self.take_last(body),
            _ => Err(self.inconsistent("it is of another kind than its place asks for")),
        };
        if let Err(error) = taken {
            self.failed = Some(error.clone());
            return Err(error);
        }
        self.checksum = crc32c::crc32c_append(self.checksum, checked);
        self.taken += 1;
        Ok(())
    }

    /// Puts the map in the place of the engine's own, durably.
    ///
    /// # Errors
    /// `Truncated` if the last chunk was not taken; else as [`Engine::adopt`].
    pub fn adopt(self, engine: &mut E) -> Result<SnapshotInfo, SnapshotError> {
        self.adopt_into(engine).map(|(_, info)| info)
    }

    pub(in crate::store) fn adopt_into(
        self,
        engine: &mut E,
    ) -> Result<(Meta, SnapshotInfo), SnapshotError> {
        let truncated = SnapshotError::Truncated { expected: self.taken };
        let info = self.info.filter(|_| self.is_whole).ok_or(truncated)?;
        let (meta, _) = Meta::decode(&self.meta_record)?;
        engine.adopt(self.import)?;
        Ok((meta, info))
    }

    /// Checks what a chunk says of itself.
    fn open<'a>(&self, chunk: &'a [u8]) -> Result<Chunk<'a>, SnapshotError> {
        let expected = self.taken;
        let damaged = |why| SnapshotError::DamagedChunk { chunk: expected, why };
        let head = chunk.first_chunk::<CHUNK_HEAD_BYTES>().ok_or(damaged("it is cut short"))?;
        if chunk_bytes(expected, head)? != chunk.len() as u64 {
            return Err(damaged("its length is not as it says"));
        }
        let (checked, checksum) =
            chunk.split_last_chunk::<CHECKSUM_BYTES>().ok_or(damaged("it is cut short"))?;
        if crc32c::crc32c(checked) != u32::from_le_bytes(*checksum) {
            return Err(damaged("its checksum is wrong"));
        }
        let mut numbers = &head[5..];
        let kind = numbers.get_u8();
        let got = numbers.get_u64_le();
        if got != expected || self.is_whole {
            return Err(SnapshotError::OutOfOrder { expected, got });
        }
        Ok(Chunk { kind, body: &checked[CHUNK_HEAD_BYTES..], checked })
    }

    fn take_first(&mut self, body: &[u8]) -> Result<(), SnapshotError> {
        self.meta_record = Bytes::copy_from_slice(body);
        let (meta, applied) = Meta::decode(&self.meta_record)?;
        self.info = Some(SnapshotInfo::new(&meta, applied));
        Ok(())
    }

    fn take_pairs(&mut self, body: &[u8]) -> Result<(), SnapshotError> {
        self.partial.extend_from_slice(body);
        let mut whole = std::mem::take(&mut self.partial);
        while let Some((key, value, pair_bytes)) = self.split_pair(&whole)? {
            self.add_pair(key, value)?;
            whole.advance(pair_bytes);
        }
        self.partial = whole;
        Ok(())
    }

    /// The first pair of some bytes and its length, if it is all there. The pair is copied: it outlives the chunk.
    fn split_pair(&self, bytes: &[u8]) -> Result<Option<(Bytes, Bytes, usize)>, SnapshotError> {
        const LENGTHS_BYTES_MAX: usize = 20;
        let mut rest = bytes;
        let lengths = (decode_varint(&mut rest), decode_varint(&mut rest));
        let (Ok(key), Ok(value)) = lengths else {
            if bytes.len() >= LENGTHS_BYTES_MAX {
                return Err(self.inconsistent("the lengths of a pair make no sense"));
            }
            return Ok(None);
        };
        let (Ok(key), Ok(value)) = (usize::try_from(key), usize::try_from(value)) else {
            return Err(self.inconsistent("a pair is longer than memory"));
        };
        let Some((key, rest)) = rest.split_at_checked(key) else { return Ok(None) };
        let Some((value, rest)) = rest.split_at_checked(value) else { return Ok(None) };
        let pair_bytes = bytes.len() - rest.len();
        Ok(Some((Bytes::copy_from_slice(key), Bytes::copy_from_slice(value), pair_bytes)))
    }

    fn add_pair(&mut self, key: Bytes, value: Bytes) -> Result<(), SnapshotError> {
        if self.last_key.as_ref().is_some_and(|last| *last >= key) {
            return Err(self.inconsistent("its keys do not rise"));
        }
        if key[..] == *META_KEY {
            if value != self.meta_record {
                return Err(self.inconsistent("the first chunk is of another store"));
            }
            self.has_meta = true;
        }
        self.pairs += 1;
        self.live_keys += u64::from(is_live(&key));
        self.last_key = Some(key.clone());
        Ok(self.import.add(key, value)?)
    }

    fn take_last(&mut self, mut body: &[u8]) -> Result<(), SnapshotError> {
        let (Ok(pairs), Ok(checksum)) = (body.try_get_u64_le(), body.try_get_u32_le()) else {
            return Err(self.inconsistent("the last chunk is too short"));
        };
        let live_keys = self.info.as_ref().map(|info| info.live_keys);
        let contradiction = if checksum != self.checksum {
            "its chunks are of several snapshots"
        } else if pairs != self.pairs || !self.partial.is_empty() {
            "it has not as many pairs as it says"
        } else if !self.has_meta || live_keys != Some(self.live_keys) {
            "it has not as many keys as it says"
        } else {
            self.is_whole = true;
            return Ok(());
        };
        Err(self.inconsistent(contradiction))
    }

    fn inconsistent(&self, why: &'static str) -> SnapshotError {
        SnapshotError::Inconsistent { chunk: self.taken, why }
    }
}
