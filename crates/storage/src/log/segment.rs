//! A segment: one preallocated file of the log, its name and its header.
//!
//! ```text
//! magic 8 | format u32 | crc32c u32 | log id u128 | index u64 | first sequence u64
//!         | epoch u32 | zero u32 | capacity u64 | zeros up to 512
//! ```
//!
//! The header has a sector to itself, so that no write of records ever touches it again. A file
//! gets a segment's name only after its header is durable: a segment with a bad header is therefore
//! never a half-finished one.

use std::path::{Path, PathBuf};

use super::error::{Attempt, LogError, Result};
use super::record::{Epoch, LogId, Sequence, long, word};
use crate::vfs::{SECTOR_BYTES, Vfs, VfsFile};

/// The length of a segment's header.
pub(super) const HEADER_BYTES: u64 = SECTOR_BYTES;
/// The latest format that this code writes and reads.
const FORMAT: u32 = 1;
const MAGIC: [u8; 8] = *b"QUORLOG\n";
/// The part of the header that has fields; any later format keeps the first sixteen bytes' meaning
/// and the checksum over these.
const FIELDS_BYTES: usize = 64;

const SEGMENT_SUFFIX: &str = ".segment";
const FREE_SUFFIX: &str = ".free";
const PREPARING_PREFIX: &str = "next";
const PREPARING_SUFFIX: &str = ".preparing";
/// The file that says how far the log has come.
pub(super) const REACH_NAME: &str = "REACH";

/// A segment's place among the segments of its log: dense, starting at 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Index(pub(super) u64);

impl Index {
    pub(super) fn next(self) -> Self {
        Self(self.0 + 1)
    }

    pub(super) fn path(self, dir: &Path) -> PathBuf {
        dir.join(format!("{:020}{SEGMENT_SUFFIX}", self.0))
    }

    /// The name of the file once its records are released.
    pub(super) fn free_path(self, dir: &Path) -> PathBuf {
        dir.join(format!("{:020}{FREE_SUFFIX}", self.0))
    }
}

/// What a name in the log's directory stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    Segment(Index),
    Free(Index),
    /// Was going to become a segment.
    Preparing,
    Reach,
    /// Not of the log's making; left alone.
    Foreign,
}

impl Name {
    pub(super) fn parse(name: &str) -> Self {
        let index = |suffix| {
            let digits = name.strip_suffix(suffix)?;
            let is_ours = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
            if is_ours { digits.parse().ok().map(Index) } else { None }
        };
        if is_preparing(name) {
            Self::Preparing
        } else if name == REACH_NAME {
            Self::Reach
        } else if let Some(index) = index(SEGMENT_SUFFIX) {
            Self::Segment(index)
        } else if let Some(index) = index(FREE_SUFFIX) {
            Self::Free(index)
        } else {
            Self::Foreign
        }
    }
}

/// The name of the `number`th file, counted from 0, that is to become a segment.
pub(super) fn preparing_name(number: usize) -> String {
    match number {
        0 => format!("{PREPARING_PREFIX}{PREPARING_SUFFIX}"),
        _ => format!("{PREPARING_PREFIX}-{number}{PREPARING_SUFFIX}"),
    }
}

fn is_preparing(name: &str) -> bool {
    let inner = name.strip_prefix(PREPARING_PREFIX).and_then(|n| n.strip_suffix(PREPARING_SUFFIX));
    inner.is_some_and(|inner| {
        let digits = inner.strip_prefix('-').unwrap_or("0");
        (inner.is_empty() || inner.starts_with('-'))
            && !digits.is_empty()
            && digits.bytes().all(|byte| byte.is_ascii_digit())
    })
}

/// How much of the log is known to be whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The first record of all; none if that is not known.
    pub(super) readable_from: Option<Sequence>,
    /// The first record that is not known to be whole.
    pub(super) sequence: Sequence,
}

/// What a segment says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) log_id: LogId,
    pub(super) index: Index,
    pub(super) first: Sequence,
    pub(super) epoch: Epoch,
    /// The file's length.
    pub(super) capacity: u64,
}

impl Header {
    fn encode(&self) -> [u8; HEADER_BYTES as usize] {
        let mut bytes = [0; HEADER_BYTES as usize];
        bytes[0..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&FORMAT.to_le_bytes());
        bytes[16..32].copy_from_slice(&self.log_id.0.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.index.0.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.first.0.to_le_bytes());
        bytes[48..52].copy_from_slice(&self.epoch.0.to_le_bytes());
        bytes[56..64].copy_from_slice(&self.capacity.to_le_bytes());
        let checksum = checksum(&bytes);
        bytes[12..16].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// Reads the header of `file`, whose name says that it is segment `index` of `log_id`. The
    /// `place` is where the log is whole up to, for the error.
    pub(super) fn decode(
        file: &Path,
        bytes: &[u8],
        (log_id, index, place): (LogId, Index, Place),
    ) -> Result<Self> {
        let corrupt = |offset: u64, what: &str| LogError::Corrupt {
            file: file.to_owned(),
            offset,
            sequence: place.sequence,
            readable_from: place.readable_from,
            what: what.to_owned(),
        };
        if bytes.len() < HEADER_BYTES as usize {
            return Err(corrupt(bytes.len() as u64, "the file ends inside the segment's header"));
        }
        if bytes[0..8] != MAGIC {
            let what = "it does not begin as one does";
            return Err(LogError::NotALog { file: file.to_owned(), what });
        }
        if checksum(bytes) != word(bytes, 12) {
            return Err(corrupt(0, "the segment's header fails its checksum"));
        }
        let found = word(bytes, 8);
        if found > FORMAT {
            return Err(LogError::NewerFormat { file: file.to_owned(), found, supported: FORMAT });
        }
        let header = Self {
            log_id: LogId(u128::from_le_bytes(
                bytes[16..32].try_into().expect("sixteen bytes are sixteen bytes"),
            )),
            index: Index(long(bytes, 32)),
            first: Sequence(long(bytes, 40)),
            epoch: Epoch(word(bytes, 48)),
            capacity: long(bytes, 56),
        };
        if header.log_id != log_id {
            let what = "it carries the id of another log";
            return Err(LogError::NotALog { file: file.to_owned(), what });
        }
        if header.index != index {
            let what = "its header has another index than its name";
            return Err(LogError::NotALog { file: file.to_owned(), what });
        }
        if header.capacity > bytes.len() as u64 {
            return Err(corrupt(bytes.len() as u64, "the file is shorter than its header says"));
        }
        Ok(header)
    }
}

fn checksum(header: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&header[0..12]), &header[16..FIELDS_BYTES])
}

/// Makes the file at `path`, which has `header.capacity` bytes, a segment of the log; returns its
/// new path. Its header is durable before it has that name; the name is once the caller has synced the
/// directory.
pub(super) fn activate<V: Vfs>(
    vfs: &V,
    dir: &Path,
    file: &V::File,
    path: &Path,
    header: &Header,
) -> Result<PathBuf> {
    file.write_at(&header.encode(), 0).attempt("write the segment header of", path)?;
    file.sync_data().attempt("sync", path)?;
    let target = header.index.path(dir);
    vfs.rename(path, &target).attempt("rename", path)?;
    Ok(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: Header = Header {
        log_id: LogId(5),
        index: Index(2),
        first: Sequence(40),
        epoch: Epoch(6),
        capacity: HEADER_BYTES,
    };
    const PLACE: Place = Place { readable_from: None, sequence: Sequence(40) };
    const EXPECTED: (LogId, Index, Place) = (LogId(5), Index(2), PLACE);

    #[test]
    fn a_header_is_read_as_it_was_written() {
        let read = Header::decode(Path::new("f"), &HEADER.encode(), EXPECTED);
        assert_eq!(read.expect("the header is whole"), HEADER);
    }

    #[test]
    fn a_later_format_is_told_from_a_spoilt_one() {
        let mut bytes = HEADER.encode();
        bytes[8] = 9;
        let spoilt = Header::decode(Path::new("f"), &bytes, EXPECTED);
        assert!(matches!(spoilt, Err(LogError::Corrupt { offset: 0, .. })));

        let checksum = checksum(&bytes);
        bytes[12..16].copy_from_slice(&checksum.to_le_bytes());
        let newer = Header::decode(Path::new("f"), &bytes, EXPECTED);
        assert!(matches!(newer, Err(LogError::NewerFormat { found: 9, supported: 1, .. })));
    }

    #[test]
    fn only_names_of_the_logs_own_making_are_recognised() {
        let dir = Path::new("");
        let name = |path: PathBuf| Name::parse(path.to_str().expect("names are ASCII"));
        assert_eq!(name(Index(12).path(dir)), Name::Segment(Index(12)));
        assert_eq!(name(Index(12).free_path(dir)), Name::Free(Index(12)));
        for number in [0, 1, 12] {
            assert_eq!(Name::parse(&preparing_name(number)), Name::Preparing);
        }
        assert_eq!(Name::parse(REACH_NAME), Name::Reach);
        let others = ["next1.preparing", "next-.preparing", "preparing", "README"];
        let almost = ["12.segment", "+0000000000000000012.segment", ".segment"];
        for foreign in others.into_iter().chain(almost) {
            assert_eq!(Name::parse(foreign), Name::Foreign, "{foreign}");
        }
    }
}
