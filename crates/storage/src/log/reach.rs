//! How far the log has come: the one thing that tells of a last segment whose file is gone.
//!
//! ```text
//! magic 8 | format u32 | crc32c u32 | log id u128 | index u64
//! ```
//!
//! The file `REACH` names a segment that is, or was, there. It is written after that segment's name
//! is durable and may lag behind, so it never promises a segment that there was not; and the last
//! segment is never given up. A log that ends before the segment that this names has lost its end.
//! Without the file, or with a spoilt one, that is not known.

use std::io;
use std::path::Path;

use super::error::{Attempt, LogError, Result};
use super::record::{LogId, long, word};
use super::segment::{Index, REACH_NAME};
use crate::vfs::{Vfs, VfsFile};

const MAGIC: [u8; 8] = *b"QUORLGR\n";
const FORMAT: u32 = 1;
const BYTES: usize = 40;

/// What the file says, if it says anything.
#[derive(Debug, Default)]
pub(super) struct Reach {
    noted: Option<Index>,
}

impl Reach {
    /// Reads what an earlier run has noted.
    pub(super) fn read<V: Vfs>(vfs: &V, dir: &Path, log_id: LogId) -> io::Result<Self> {
        let mut bytes = [0; BYTES];
        match vfs.open(&dir.join(REACH_NAME))?.read_at(&mut bytes, 0) {
            // A process that died while it made the file has left a short one.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
            outcome => outcome?,
        }
        Ok(Self { noted: decode(&bytes, log_id) })
    }

    /// A segment that is, or was, there.
    pub(super) fn noted(&self) -> Option<Index> {
        self.noted
    }

    /// Whether the log has come further than was noted.
    pub(super) fn is_behind(&self, index: Index) -> bool {
        self.noted.is_none_or(|noted| noted < index)
    }

    /// Notes that the log has come to the segment `index`, whose name is durable. Without room for
    /// the note there is none.
    pub(super) fn note<V: Vfs>(
        &mut self,
        vfs: &V,
        dir: &Path,
        log_id: LogId,
        index: Index,
    ) -> Result<()> {
        if self.is_behind(index) {
            match write(vfs, dir, &encode(log_id, index)) {
                Err(LogError::Full { .. }) => {}
                outcome => {
                    outcome?;
                    self.noted = Some(index);
                }
            }
        }
        Ok(())
    }
}

/// Writes the note in place: it lies in one sector, which is written wholly or not at all.
fn write<V: Vfs>(vfs: &V, dir: &Path, bytes: &[u8]) -> Result<()> {
    let path = dir.join(REACH_NAME);
    let (file, is_new) = match vfs.open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => (vfs.create_new(&path), true),
        opened => (opened, false),
    };
    let file = file.attempt_in_room("create", &path)?;
    file.write_at(bytes, 0).attempt_in_room("write", &path)?;
    file.sync_data().attempt("sync", &path)?;
    if is_new {
        vfs.sync_dir(dir).attempt("sync directory", dir)?;
    }
    Ok(())
}

fn encode(log_id: LogId, index: Index) -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    bytes[0..8].copy_from_slice(&MAGIC);
    bytes[8..12].copy_from_slice(&FORMAT.to_le_bytes());
    bytes[16..32].copy_from_slice(&log_id.0.to_le_bytes());
    bytes[32..40].copy_from_slice(&index.0.to_le_bytes());
    let checksum = checksum(&bytes);
    bytes[12..16].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

fn decode(bytes: &[u8; BYTES], log_id: LogId) -> Option<Index> {
    let is_ours = bytes[0..8] == MAGIC
        && word(bytes, 8) == FORMAT
        && word(bytes, 12) == checksum(bytes)
        && bytes[16..32] == log_id.0.to_le_bytes();
    is_ours.then(|| Index(long(bytes, 32)))
}

fn checksum(bytes: &[u8; BYTES]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&bytes[0..12]), &bytes[16..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_read_as_it_was_written_and_no_spoilt_one_is_believed() {
        let bytes = encode(LogId(5), Index(9));
        assert_eq!(decode(&bytes, LogId(5)), Some(Index(9)));
        assert_eq!(decode(&bytes, LogId(6)), None);
        for bit in 0..BYTES * 8 {
            let mut spoilt = bytes;
            spoilt[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&spoilt, LogId(5)), None, "bit {bit} was not noticed");
        }
    }
}
