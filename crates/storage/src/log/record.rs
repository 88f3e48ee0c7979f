//! How one record lies in a segment.
//!
//! ```text
//! crc32c u32 | length u32 | epoch u32 | kind u32 | sequence u64 | synced u64 | payload | 0..7
//! zeros
//! ```
//!
//! Little-endian, starting at a multiple of eight bytes, so that recovery can find the next header
//! after a spoilt one. The checksum covers the log's id (which is not stored), the header after the
//! checksum, and the payload: a record of another log, of the segment's earlier life or from
//! another place is not mistaken for one that belongs here.

use std::fmt;
use std::ops::Range;

/// The length of a record's header.
pub(super) const HEADER_BYTES: usize = 32;
/// Records begin at multiples of this.
pub(super) const ALIGNMENT: usize = 8;
/// The longest record that any log takes.
pub const RECORD_BYTES_MAX: u64 = 64 << 20;

/// The most bytes that a record takes in the log besides its own.
pub const RECORD_OVERHEAD_BYTES_MAX: u64 = (HEADER_BYTES + ALIGNMENT - 1) as u64;

/// A record's place in the log: dense, starting at 1. Zero stands for "before every record".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sequence(pub u64);

impl Sequence {
    /// The record after this one.
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Identifies one log among all that there are, so that no segment or record of another is taken
/// for its own. Drawn at random by whoever creates the log.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct LogId(pub u128);

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LogId({self})")
    }
}

/// One life of a segment file. Strictly increasing over a log's segments and never used twice, so
/// that what an earlier life left in a recycled file is recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Epoch(pub(super) u32);

impl Epoch {
    pub(super) fn next(self) -> Self {
        Self(self.0.checked_add(1).expect("a log outlives no more than 2^32 segments"))
    }
}

/// What a record is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A record of the caller's.
    Data = 1,
    /// Says only that everything before it is durable. Its sequence is that of the last record.
    Watermark = 2,
}

/// What is stamped into a record besides its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) epoch: Epoch,
    pub(super) kind: Kind,
    pub(super) sequence: Sequence,
    /// How many bytes of this segment were durable when the record was written.
    pub(super) synced: u64,
}

/// A record that was found whole.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) stamp: Stamp,
    pub(super) payload: Range<usize>,
    /// Where the next record begins.
    pub(super) end: usize,
}

/// How many bytes a record with such a payload takes.
pub(super) fn framed_bytes(payload: usize) -> usize {
    (HEADER_BYTES + payload).next_multiple_of(ALIGNMENT)
}

/// Appends a record to `buffer`.
pub(super) fn frame(buffer: &mut Vec<u8>, log_id: LogId, stamp: Stamp, parts: &[&[u8]]) {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let start = buffer.len();
    let length_field = u32::try_from(length).expect("the log checks a record's length first");
    buffer.extend_from_slice(&[0; 4]);
    buffer.extend_from_slice(&length_field.to_le_bytes());
    buffer.extend_from_slice(&stamp.epoch.0.to_le_bytes());
    buffer.extend_from_slice(&(stamp.kind as u32).to_le_bytes());
    buffer.extend_from_slice(&stamp.sequence.0.to_le_bytes());
    buffer.extend_from_slice(&stamp.synced.to_le_bytes());
    for part in parts {
        buffer.extend_from_slice(part);
    }
    let checksum = checksum(log_id, &buffer[start + 4..]);
    buffer[start..start + 4].copy_from_slice(&checksum.to_le_bytes());
    buffer.resize(start + framed_bytes(length), 0);
}

/// The whole and unspoilt record of this log and epoch that begins at `offset`, if there is one.
pub(super) fn find(segment: &[u8], offset: usize, log_id: LogId, epoch: Epoch) -> Option<Found> {
    let payload_start = offset.checked_add(HEADER_BYTES)?;
    let header = segment.get(offset..payload_start)?;
    // Cheap comparisons first: recovery asks this of every eighth byte.
    if word(header, 8) != epoch.0 {
        return None;
    }
    let kind = match word(header, 12) {
        1 => Kind::Data,
        2 => Kind::Watermark,
        _ => return None,
    };
    let payload = payload_start..payload_start.checked_add(word(header, 4) as usize)?;
    let end = payload.end.checked_next_multiple_of(ALIGNMENT)?;
    if end > segment.len() || checksum(log_id, &segment[offset + 4..payload.end]) != word(header, 0)
    {
        return None;
    }
    let (sequence, synced) = (Sequence(long(header, 16)), long(header, 24));
    Some(Found { stamp: Stamp { epoch, kind, sequence, synced }, payload, end })
}

fn checksum(log_id: LogId, header_and_payload: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&log_id.0.to_le_bytes()), header_and_payload)
}

/// The little-endian word at a place that the caller knows to exist.
pub(super) fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes are four bytes"))
}

/// The little-endian double word at a place that the caller knows to exist.
pub(super) fn long(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes are eight bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: LogId = LogId(7);

    fn framed() -> Vec<u8> {
        let mut buffer = Vec::new();
        let stamp = Stamp { epoch: Epoch(3), kind: Kind::Data, sequence: Sequence(9), synced: 512 };
        frame(&mut buffer, LOG, stamp, &[b"in ", b"parts"]);
        buffer
    }

    #[test]
    fn a_framed_record_is_found_as_it_was() {
        let buffer = framed();
        let found = find(&buffer, 0, LOG, Epoch(3)).expect("the record is whole");
        assert_eq!(&buffer[found.payload.clone()], b"in parts");
        assert_eq!((found.stamp.sequence, found.stamp.synced), (Sequence(9), 512));
        assert_eq!(found.end, buffer.len());
    }

    #[test]
    fn a_record_of_another_log_or_epoch_is_not_found() {
        let buffer = framed();
        assert!(find(&buffer, 0, LogId(8), Epoch(3)).is_none());
        assert!(find(&buffer, 0, LOG, Epoch(4)).is_none());
    }

    #[test]
    fn no_flipped_bit_goes_unnoticed() {
        let buffer = framed();
        for bit in 0..buffer.len() * 8 {
            let mut spoilt = buffer.clone();
            spoilt[bit / 8] ^= 1 << (bit % 8);
            assert!(find(&spoilt, 0, LOG, Epoch(3)).is_none(), "bit {bit} was not noticed");
        }
    }
}
