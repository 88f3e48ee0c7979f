//! A backup in a file: what the node has streamed.
//!
//! That is the store's chunks, zeros up to a multiple of 512 bytes, and the SHA-256 of all that.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use quorate_engine::MemoryEngine;
use quorate_kv::store::snapshot::{CHUNK_HEAD_BYTES, SnapshotInfo, SnapshotWriter, chunk_bytes};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::error::CliError;

/// The digest at the end of a file.
const DIGEST_BYTES: usize = 32;
/// The first chunk says what the snapshot is of, and is short; a file whose first chunk is longer is none.
const FIRST_CHUNK_BYTES_MAX: u64 = 1 << 20;
/// How etcd's own file is recognised: the magic of a bbolt database, behind the head of its first page.
const BBOLT_MAGIC: (usize, [u8; 4]) = (16, 0xED0C_DAED_u32.to_le_bytes());

/// A file that was found whole and undamaged.
pub(super) struct BackupFile {
    path: PathBuf,
    /// What it holds.
    pub(super) info: SnapshotInfo,
    file_bytes: u64,
    /// The digest at its end.
    pub(super) digest: [u8; DIGEST_BYTES],
}

impl BackupFile {
    /// Reads all of a file, and checks it against its digest.
    pub(super) fn check(path: &Path) -> Result<Self, CliError> {
        let failed = |error| CliError::File { action: "read", path: path.into(), error };
        let refused = |why: &str| CliError::NotDone(format!("{}: {why}", path.display()));
        let damaged = |why: &str| refused(&format!("{why}; save it again, or use another copy"));
        let mut file = File::open(path).map_err(failed)?;
        let file_bytes = file.metadata().map_err(failed)?.len();
        let Some(mut left) = file_bytes.checked_sub(DIGEST_BYTES as u64).filter(|left| *left > 0)
        else {
            return Err(damaged("it is too short for a snapshot"));
        };
        let mut hasher = Sha256::new();
        let mut head = Vec::new();
        let mut buffer = vec![0; 1 << 16];
        while left > 0 {
            let take = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            file.read_exact(&mut buffer[..take]).map_err(failed)?;
            hasher.update(&buffer[..take]);
            let room = (FIRST_CHUNK_BYTES_MAX as usize).saturating_sub(head.len());
            head.extend_from_slice(&buffer[..take.min(room)]);
            left -= take as u64;
        }
        if is_of_etcd(&head) {
            return Err(refused(
                "it is a snapshot of etcd's own, a bbolt database, which quorate does not read; restore it into an \
                 etcd, and copy the keys from there",
            ));
        }
        let mut digest = [0; DIGEST_BYTES];
        file.read_exact(&mut digest).map_err(failed)?;
        if hasher.finalize()[..] != digest {
            return Err(damaged("it is damaged: its checksum does not match"));
        }
        let info = first_chunk(&head).map_err(|error| damaged(&error))?;
        Ok(BackupFile { path: path.into(), info, file_bytes, digest })
    }

    /// The chunks, one after the other, read as they are asked for.
    pub(super) fn chunks(&self) -> io::Result<Chunks> {
        let file = BufReader::new(File::open(&self.path)?);
        let left = self.file_bytes.saturating_sub(DIGEST_BYTES as u64);
        Ok(Chunks { file, left, number: 0 })
    }

    /// As it is printed.
    pub(super) fn shown(&self, path: &Path, as_json: bool) -> String {
        let BackupFile { info, file_bytes, digest, .. } = self;
        let (revision, keys) = (info.revision.0, info.live_keys);
        let sha256: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        // As much of it as etcdutl's hash has.
        let hash = u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]);
        if as_json {
            let found = json!({
                "file": path.display().to_string(),
                "hash": hash,
                "revision": revision,
                "totalKey": keys,
                "totalSize": file_bytes,
                "compact_revision": info.compact_revision.0,
                "data_bytes": info.bytes,
                "sha256": sha256,
            });
            return format!("{found}\n");
        }
        let path = path.display();
        format!(
            "{path}: whole and undamaged\nhash {hash:08x}, revision {revision}, {keys} keys, {file_bytes} bytes\n\
             sha256 {sha256}\n"
        )
    }
}

fn is_of_etcd(head: &[u8]) -> bool {
    let (at, magic) = BBOLT_MAGIC;
    head.get(at..).is_some_and(|rest| rest.starts_with(&magic))
}

/// What the first chunk says that the snapshot is of.
fn first_chunk(head: &[u8]) -> Result<SnapshotInfo, String> {
    let start = head.first_chunk::<CHUNK_HEAD_BYTES>().ok_or("it is too short for a snapshot")?;
    let bytes = chunk_bytes(0, start).map_err(|error| error.to_string())?;
    let bytes = usize::try_from(bytes).map_err(|_| "its first chunk is too long")?;
    let chunk = head.get(..bytes).ok_or("its first chunk is too long")?;
    let mut engine = MemoryEngine::default();
    let begun = SnapshotWriter::begin(&mut engine);
    let mut writer = begun.map_err(|error| error.to_string())?;
    writer.add(chunk).map_err(|error| error.to_string())?;
    writer.info().cloned().ok_or_else(|| "its first chunk says nothing".into())
}

/// The chunks of a file.
pub(super) struct Chunks {
    file: BufReader<File>,
    /// How many bytes there are before the digest.
    left: u64,
    number: u64,
}

impl Chunks {
    fn read(&mut self) -> io::Result<Bytes> {
        let mut head = [0; CHUNK_HEAD_BYTES];
        self.file.read_exact(&mut head)?;
        let bytes = chunk_bytes(self.number, &head).map_err(io::Error::other)?;
        if bytes > self.left {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= bytes;
        self.number += 1;
        let mut chunk = head.to_vec();
        self.file.by_ref().take(bytes - CHUNK_HEAD_BYTES as u64).read_to_end(&mut chunk)?;
        Ok(chunk.into())
    }
}

impl Iterator for Chunks {
    type Item = io::Result<Bytes>;

    fn next(&mut self) -> Option<io::Result<Bytes>> {
        Some(self.read())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(content: &[u8]) -> String {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("backup");
        std::fs::write(&path, content).expect("it is written");
        BackupFile::check(&path).err().expect("it was taken").to_string()
    }

    #[test]
    fn a_file_that_never_was_a_backup_is_refused_for_what_it_is() {
        assert!(refused(b"").contains("too short"));
        assert!(refused(&[0; 4096]).contains("checksum does not match"));
        let mut other = vec![7; 512];
        other.extend_from_slice(&Sha256::digest(vec![7; 512]));
        assert!(refused(&other).contains("is it the right file?"));
    }

    #[test]
    fn a_snapshot_of_etcds_own_is_recognised() {
        let mut page = vec![0; 4096];
        page[16..20].copy_from_slice(&[0xed, 0xda, 0x0c, 0xed]);
        assert!(refused(&page).contains("bbolt"));
    }
}
