//! What the store knows of itself, in one record.

use bytes::{Buf, BufMut, Bytes};
use quorate_engine::EngineError;

use super::layout::{Place, damaged};
use crate::request::Revision;

/// The version of everything that the store writes to its engine.
pub(super) const FORMAT: u16 = 1;

/// The format, six numbers, and a place.
const FIXED_BYTES: usize = 2 + 6 * 8 + 12;

/// What a store knows of itself, but for what its caller gave it to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Meta {
    /// The revision of the last change.
    pub(super) revision: Revision,
    /// The oldest revision that can be read.
    pub(super) compacted: Revision,
    /// The number of keys that hold a value now.
    pub(super) live_keys: u64,
    /// The sum of [`super::version::Version::size`].
    pub(super) bytes: u64,
    /// The last compaction whose garbage is all gone.
    pub(super) collected: Revision,
    /// The compaction whose garbage is being removed; that above if none is.
    pub(super) collecting: Revision,
    /// The next change to look at in doing so.
    pub(super) next: Place,
}

impl Meta {
    /// That of the empty store.
    pub(super) const EMPTY: Meta = Meta {
        revision: Revision(1),
        compacted: Revision(-1),
        live_keys: 0,
        bytes: 0,
        collected: Revision(-1),
        collecting: Revision(-1),
        next: Place { revision: Revision(0), sub: 0 },
    };

    /// The record, with what the caller gave to keep at its end.
    pub(super) fn encode(&self, applied: &[u8]) -> Bytes {
        let mut record = Vec::with_capacity(FIXED_BYTES + applied.len());
        record.put_u16_le(FORMAT);
        record.put_i64_le(self.revision.0);
        record.put_i64_le(self.compacted.0);
        record.put_u64_le(self.live_keys);
        record.put_u64_le(self.bytes);
        record.put_i64_le(self.collected.0);
        record.put_i64_le(self.collecting.0);
        record.put_i64_le(self.next.revision.0);
        record.put_u32_le(self.next.sub);
        record.extend_from_slice(applied);
        record.into()
    }

    /// The meta in a record, and what the caller gave to keep.
    pub(super) fn decode(record: &Bytes) -> Result<(Meta, Bytes), EngineError> {
        const WHAT: &str = "the store's record about itself";
        let mut rest = record.clone();
        if let Ok(format) = rest.try_get_u16_le()
            && format > FORMAT
        {
            let why =
                format!("its format {format} is newer than {FORMAT}, which this version reads");
            return Err(damaged(WHAT, why));
        }
        if record.len() < FIXED_BYTES {
            return Err(damaged(WHAT, "it is cut short"));
        }
        let meta = Meta {
            revision: Revision(rest.get_i64_le()),
            compacted: Revision(rest.get_i64_le()),
            live_keys: rest.get_u64_le(),
            bytes: rest.get_u64_le(),
            collected: Revision(rest.get_i64_le()),
            collecting: Revision(rest.get_i64_le()),
            next: Place { revision: Revision(rest.get_i64_le()), sub: rest.get_u32_le() },
        };
        Ok((meta, rest))
    }
}
