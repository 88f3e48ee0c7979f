//! What one write of a key left behind, and what the index notes of it.

use bytes::{Buf, BufMut, Bytes};
use prost::encoding::{decode_varint, encode_varint};
use quorate_engine::EngineError;

use super::arena::Arena;
use super::layout::{Place, damaged};
use crate::request::{KeyValue, LeaseId, Revision};

/// What a record begins with.
const TOMBSTONE: u8 = 0;
const VALUE: u8 = 1;

/// The first byte, and five numbers.
const HEADER_BYTES_MAX: usize = 1 + 5 * 10;

/// What one write of a key left behind.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Version {
    pub(super) place: Place,
    pub(super) create_revision: Revision,
    /// The number of writes since the creation, this one included.
    pub(super) version: i64,
    pub(super) lease: LeaseId,
    /// Nothing in a tombstone, whose other fields (but for its place) are those of the version it ended.
    pub(super) value: Option<Bytes>,
}

impl Version {
    pub(super) fn is_live(&self) -> bool {
        self.value.is_some()
    }

    /// The tombstone that ends this version at a place.
    pub(super) fn ended_at(&self, place: Place) -> Self {
        Self { place, value: None, ..self.clone() }
    }

    /// How much a version of a key counts in [`super::Store::bytes`].
    pub(super) fn size(&self, key: &[u8]) -> u64 {
        self.value.as_ref().map_or(0, |value| (key.len() + value.len()) as u64)
    }

    /// This version as an answer. The value is shared, not copied.
    pub(super) fn into_key_value(self, key: Bytes, keys_only: bool) -> KeyValue {
        KeyValue {
            key,
            create_revision: self.create_revision,
            mod_revision: self.place.revision,
            version: self.version,
            value: if keys_only { Bytes::new() } else { self.value.unwrap_or_default() },
            lease: self.lease,
        }
    }

    /// The record of this version. What the value was a part of is not kept for its sake.
    pub(super) fn encode_in(&self, arena: &mut Arena) -> Bytes {
        let mut header = [0; HEADER_BYTES_MAX];
        let mut rest = &mut header[..];
        rest.put_u8(if self.is_live() { VALUE } else { TOMBSTONE });
        encode_varint(self.place.revision.0.cast_unsigned(), &mut rest);
        encode_varint(self.place.sub.into(), &mut rest);
        let age = self.place.revision.0.wrapping_sub(self.create_revision.0);
        encode_varint(age.cast_unsigned(), &mut rest);
        encode_varint(self.version.cast_unsigned(), &mut rest);
        encode_varint(self.lease.0.cast_unsigned(), &mut rest);
        let header_bytes = HEADER_BYTES_MAX - rest.len();
        let value = self.value.as_deref().unwrap_or_default();
        arena.lay(header_bytes + value.len(), |record| {
            record.put_slice(&header[..header_bytes]);
            record.put_slice(value);
        })
    }

    /// The version in a record. Its value shares the record's memory.
    pub(super) fn decode(mut record: Bytes) -> Result<Self, EngineError> {
        let mut rest = &record[..];
        let is_live = take_kind(&mut rest)?;
        let place = take_place(&mut rest)?;
        let age = take_number(&mut rest)?.cast_signed();
        let version = take_number(&mut rest)?.cast_signed();
        let lease = LeaseId(take_number(&mut rest)?.cast_signed());
        let create_revision = Revision(place.revision.0.wrapping_sub(age));
        let header_bytes = record.len() - rest.len();
        record.advance(header_bytes);
        let value = is_live.then_some(record);
        Ok(Version { place, create_revision, version, lease, value })
    }

    /// The place of the version in a record, without the rest.
    pub(super) fn place_in(record: &[u8]) -> Result<Place, EngineError> {
        let mut rest = record;
        take_kind(&mut rest)?;
        take_place(&mut rest)
    }

    /// Whether the version in a record has a value.
    pub(super) fn is_live_in(record: &[u8]) -> bool {
        record.first() == Some(&VALUE)
    }
}

/// What the index notes of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) key: Bytes,
    pub(super) is_deletion: bool,
    /// The version that ended here, if one did: its place, and its [`Version::size`].
    pub(super) ended: Option<(Place, u64)>,
}

/// The bits of a change's first byte.
const DELETES: u8 = 1;
const ENDS: u8 = 2;

impl Change {
    /// The record of a change of `key` at `place`.
    pub(super) fn encode_in(
        arena: &mut Arena,
        key: &[u8],
        is_deletion: bool,
        ended: Option<(Place, u64)>,
        place: Place,
    ) -> Bytes {
        let mut header = [0; 1 + 3 * 10];
        let mut rest = &mut header[..];
        let deletes = if is_deletion { DELETES } else { 0 };
        rest.put_u8(deletes | if ended.is_some() { ENDS } else { 0 });
        if let Some((before, bytes)) = ended {
            let age = place.revision.0.wrapping_sub(before.revision.0);
            encode_varint(age.cast_unsigned(), &mut rest);
            encode_varint(before.sub.into(), &mut rest);
            encode_varint(bytes, &mut rest);
        }
        let unused = rest.len();
        let header = &header[..header.len() - unused];
        arena.lay(header.len() + key.len(), |record| {
            record.put_slice(header);
            record.put_slice(key);
        })
    }

    /// The change in a record that was noted at `place`.
    pub(super) fn decode(record: &Bytes, place: Place) -> Result<Self, EngineError> {
        let mut rest = &record[..];
        let bits = take_byte(&mut rest)?;
        if bits & !(DELETES | ENDS) != 0 {
            return Err(malformed("its kind is unknown"));
        }
        let mut ended = None;
        if bits & ENDS != 0 {
            let age = take_number(&mut rest)?.cast_signed();
            let sub = take_sub(&mut rest)?;
            let revision = Revision(place.revision.0.wrapping_sub(age));
            ended = Some((Place { revision, sub }, take_number(&mut rest)?));
        }
        let key = record.slice(record.len() - rest.len()..);
        Ok(Change { key, is_deletion: bits & DELETES != 0, ended })
    }
}

fn take_kind(rest: &mut &[u8]) -> Result<bool, EngineError> {
    match take_byte(rest)? {
        TOMBSTONE => Ok(false),
        VALUE => Ok(true),
        _ => Err(malformed("its kind is unknown")),
    }
}

fn take_place(rest: &mut &[u8]) -> Result<Place, EngineError> {
    let revision = Revision(take_number(rest)?.cast_signed());
    Ok(Place { revision, sub: take_sub(rest)? })
}

fn take_sub(rest: &mut &[u8]) -> Result<u32, EngineError> {
    u32::try_from(take_number(rest)?).map_err(|_| malformed("a number in it is too large"))
}

fn take_byte(rest: &mut &[u8]) -> Result<u8, EngineError> {
    let (first, after) = rest.split_first().ok_or_else(|| malformed("it is empty"))?;
    *rest = after;
    Ok(*first)
}

fn take_number(rest: &mut &[u8]) -> Result<u64, EngineError> {
    decode_varint(rest).map_err(|_| malformed("a number in it is cut short"))
}

fn malformed(why: &str) -> EngineError {
    damaged("a record of the store", why)
}
