//! A node's data directory: who may use it, and whose it is.
//!
//! Two files are kept in it by this module. `LOCK` is held for as long as the [`DataDir`] lives,
//! and contains the holder's process id, for the message that the second one gets. `IDENTITY` says
//! which node of which cluster the data belongs to, so that a wrong path or a wrong disk is noticed
//! before anything is written:
//!
//! ```text
//! quorate data directory
//! format 2
//! cluster 00000000000000ab
//! node 0000000000000001
//! log 0123456789abcdef0123456789abcdef
//! origin founded
//! crc32c 5d2a91f3
//! ```
//!
//! `IDENTITY` is written to a temporary name, synced, and renamed, so that it is there whole or not
//! at all. A directory that has other files and no `IDENTITY` is refused and left as it is.
//!
//! # A node that has lost its memory
//!
//! A log that is [damaged](crate::LogError::is_damage) is no use any more, but what a node knew can
//! come back from its peers, if it comes back as one that remembers nothing: it must not vote as if
//! it had never voted. [`DataDir::set_aside`] makes it such a node. The log goes to `corrupt-1` (or
//! the next number that is free) and is never deleted; a new one, with an id of its own, can begin
//! in its place; and the file `MEMORY_LOST` says, at this opening and each later one, that memory
//! was lost, until someone knows better and says so with [`DataDir::regain_memory`].
//!
//! The mark comes first, then the move, then the new log's id in `IDENTITY`, each durable before the
//! next. From the moment that the mark is durable the log counts as lost; whoever opens the
//! directory next finishes what was begun, which is recognised by a mark and an `IDENTITY` that do
//! not name the same log.
//!
//! What lies here beside the log and depends on it is the caller's to give up as well. A directory
//! that was emptied, or replaced by an older copy of itself, looks new, or well.
//!
//! # A backup
//!
//! [`Restoring`] fills a directory with what was not made in it. Until all of it is there, the
//! directory is refused.

mod memory_lost;
mod restoring;

use std::io;
use std::path::{Path, PathBuf};

use crate::log::LogId;
use crate::mutant::Mutant;
use crate::vfs::{Vfs, VfsFile};

pub use self::memory_lost::MemoryLost;
pub use self::restoring::Restoring;

const LOG_NAME: &str = "log";
const LOCK_NAME: &str = "LOCK";
const IDENTITY_NAME: &str = "IDENTITY";
const IDENTITY_TEMPORARY_NAME: &str = "IDENTITY.tmp";
/// What may lie in a directory that counts as empty. Some file systems put `lost+found` into the
/// root of every new disk.
///
/// `fixtures` is for certificates that a node makes itself: it needs them to ask for its place in a cluster.
const HARMLESS_NAMES: [&str; 4] = [LOCK_NAME, IDENTITY_TEMPORARY_NAME, "lost+found", "fixtures"];

const TITLE: &str = "quorate data directory";
/// The latest format that this code writes and reads. Any later one keeps the first two lines and
/// the checksum in the last.
const FORMAT: u32 = 2;
/// No file of this module's is longer, in any format; a longer one is something else.
const FILE_BYTES_MAX: u64 = 4096;

/// How a node came to be of its cluster, and so where the ids of both come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It was there when the cluster began: the ids can be computed from the configuration.
    Founded,
    /// It joined a cluster that was there: the ids were given to it, and are known from here alone.
    Joined,
    /// Its cluster began with a backup: the ids can't be computed from the configuration alone.
    Restored,
}

impl Origin {
    const ALL: [Origin; 3] = [Origin::Founded, Origin::Joined, Origin::Restored];

    fn name(self) -> &'static str {
        match self {
            Origin::Founded => "founded",
            Origin::Joined => "joined",
            Origin::Restored => "restored",
        }
    }
}

/// Whose data it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The cluster.
    pub cluster_id: u64,
    /// The node within it.
    pub node_id: u64,
    /// How the node came to be of the cluster.
    pub origin: Origin,
}

/// Why a data directory could not be opened. None of the data in it was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataDirError {
    /// Another process, or another handle in this one, has it.
    #[error("data directory {} is in use by another process ({holder}): stop that one, or give this node a directory of its own", path.display())]
    Locked {
        /// The directory.
        path: PathBuf,
        /// The holder as it has named itself, such as `pid 4711`.
        holder: String,
    },
    /// It belongs to another cluster.
    #[error("data directory {} belongs to cluster {found:016x}, not to {expected:016x}: check the directory's path, or correct the cluster's id", path.display())]
    OtherCluster {
        /// The directory.
        path: PathBuf,
        /// The cluster that it belongs to.
        found: u64,
        /// The cluster that was asked for.
        expected: u64,
    },
    /// It belongs to another node of the cluster.
    #[error("data directory {} belongs to node {found:016x}, not to {expected:016x}: check the directory's path, or correct the node's id", path.display())]
    OtherNode {
        /// The directory.
        path: PathBuf,
        /// The node that it belongs to.
        found: u64,
        /// The node that was asked for.
        expected: u64,
    },
    /// It was written by a later version.
    #[error("data directory {} has format {found} and this binary reads up to {supported}: run a newer binary, or restore a backup that this one can read into another directory", path.display())]
    NewerFormat {
        /// The directory.
        path: PathBuf,
        /// The format it states.
        found: u32,
        /// The latest format that this binary reads.
        supported: u32,
    },
    /// Its identity cannot be trusted.
    #[error("{} is corrupt ({what}): restore this node from its peers (remove the data directory and let it join again) or from a backup", path.display())]
    Corrupt {
        /// The identity's file.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// It has files in it and is nobody's data directory.
    #[error("{} is not a data directory and is not empty (it contains {found:?}): choose an empty or new directory, or, if this was one, put its file IDENTITY back", path.display())]
    NotADataDir {
        /// The directory.
        path: PathBuf,
        /// One name that was found in it.
        found: String,
    },
    /// A backup was to go where somebody's data is.
    #[error("{} holds the data of node {node_id:016x} of cluster {cluster_id:016x}: restore into an empty or new directory, or remove this one first if nobody needs it", path.display())]
    Taken {
        /// The directory.
        path: PathBuf,
        /// The cluster that it belongs to.
        cluster_id: u64,
        /// The node that it belongs to.
        node_id: u64,
    },
    /// It holds a part of a backup.
    #[error("a backup was being restored into {}, and that did not come to its end: restore it again, into the same directory", path.display())]
    RestoreUnfinished {
        /// The directory.
        path: PathBuf,
    },
    /// The operating system failed a call.
    #[error("could not {op} {}: {source}; check that the disk is healthy, has room, and that this user may write there", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What was attempted, to be read after "could not".
        op: &'static str,
        /// The operating system's reason.
        source: io::Error,
    },
}

type Result<T> = std::result::Result<T, DataDirError>;

/// A data directory that is this process's alone until it is dropped.
#[derive(Debug)]
pub struct DataDir<V: Vfs> {
    path: PathBuf,
    identity: Identity,
    log_id: LogId,
    is_new: bool,
    memory_lost: Option<MemoryLost>,
    #[cfg(feature = "mutants")]
    mutant: Option<Mutant>,
    /// Never read: dropping it gives up the lock.
    _lock: V::File,
}

impl<V: Vfs> DataDir<V> {
    /// Takes the directory at `path` for `identity`, creating it if it is missing or empty.
    /// `new_log_id` is a number drawn at random, used if the directory is new.
    pub fn open(vfs: &V, path: &Path, identity: &Identity, new_log_id: LogId) -> Result<Self> {
        vfs.create_dir_all(path).attempt("create directory", path)?;
        // Looked at before the lock, so that not even a lock file is left in somebody's directory.
        let _ = has_identity(vfs, path)?;
        let lock = take_lock(vfs, path)?;
        let is_new = !has_identity(vfs, path)?;
        let log_id = if is_new {
            write_identity(vfs, path, identity, new_log_id)?;
            new_log_id
        } else {
            check_identity(vfs, path, identity)?
        };
        let mut data_dir = Self {
            path: path.to_owned(),
            identity: *identity,
            log_id,
            is_new,
            memory_lost: None,
            #[cfg(feature = "mutants")]
            mutant: None,
            _lock: lock,
        };
        data_dir.remember_loss(vfs)?;
        Ok(data_dir)
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the log lives.
    pub fn log_dir(&self) -> PathBuf {
        self.path.join(LOG_NAME)
    }

    /// The id of the log that lives here.
    pub fn log_id(&self) -> LogId {
        self.log_id
    }

    /// Whether the directory has been given its identity just now.
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// Switches a deliberate bug on, for tests of the tests.
    #[cfg(feature = "mutants")]
    pub fn with_mutant(mut self, mutant: Option<Mutant>) -> Self {
        self.mutant = mutant;
        self
    }

    #[cfg(feature = "mutants")]
    fn has(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    #[cfg(not(feature = "mutants"))]
    fn has(&self, _: Mutant) -> bool {
        false
    }
}

/// Whose directory the one at `path` is, if it is there and was ever taken. Nothing is changed, and whoever has it keeps
/// it.
pub fn identity_at(vfs: &impl Vfs, path: &Path) -> Result<Option<Identity>> {
    match vfs.list(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(DataDirError::Io { path: path.to_owned(), op: "list", source }),
        Ok(_) if has_identity(vfs, path)? => Ok(Some(read_identity(vfs, path)?.0)),
        Ok(_) => Ok(None),
    }
}

fn has_identity(vfs: &impl Vfs, path: &Path) -> Result<bool> {
    let names = vfs.list(path).attempt("list", path)?;
    if names.iter().any(|name| name == IDENTITY_NAME) {
        return Ok(true);
    }
    if names.iter().any(|name| name == restoring::MARK_NAME) {
        return Err(DataDirError::RestoreUnfinished { path: path.to_owned() });
    }
    match names.into_iter().find(|name| !HARMLESS_NAMES.contains(&name.as_str())) {
        Some(found) => Err(DataDirError::NotADataDir { path: path.to_owned(), found }),
        None => Ok(false),
    }
}

fn take_lock<V: Vfs>(vfs: &V, dir: &Path) -> Result<V::File> {
    let path = dir.join(LOCK_NAME);
    let file = match vfs.create_new(&path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => vfs.open(&path),
        outcome => outcome,
    };
    let file = file.attempt("open", &path)?;
    if !file.try_lock().attempt("lock", &path)? {
        return Err(DataDirError::Locked { path: dir.to_owned(), holder: holder(&file) });
    }
    let text = format!("pid {}\n", vfs.process_id());
    file.set_len(0).attempt("write", &path)?;
    file.write_at(text.as_bytes(), 0).attempt("write", &path)?;
    Ok(file)
}

/// Who holds the lock, as far as can be told: the holder may just be writing it.
fn holder(file: &impl VfsFile) -> String {
    let unknown = || "pid unknown".to_owned();
    let Ok(length @ 1..=64) = file.len() else { return unknown() };
    let mut bytes = vec![0; length as usize];
    match file.read_at(&mut bytes, 0) {
        Ok(()) => String::from_utf8_lossy(&bytes).trim().to_owned(),
        Err(_) => unknown(),
    }
}

fn write_identity(vfs: &impl Vfs, dir: &Path, identity: &Identity, log_id: LogId) -> Result<()> {
    let names = (IDENTITY_TEMPORARY_NAME, IDENTITY_NAME);
    write_whole(vfs, dir, names, &encode(identity, log_id))
}

/// Writes a file that is durable and whole when this returns, and whole or not there until then.
fn write_whole(
    vfs: &impl Vfs,
    dir: &Path,
    (temporary, name): (&str, &str),
    text: &str,
) -> Result<()> {
    let temporary = dir.join(temporary);
    let file = match vfs.create_new(&temporary) {
        // Left by a process that died while it was writing it.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => vfs.open(&temporary),
        outcome => outcome,
    };
    let file = file.attempt("create", &temporary)?;
    file.set_len(0).attempt("write", &temporary)?;
    file.write_at(text.as_bytes(), 0).attempt("write", &temporary)?;
    file.sync_data().attempt("sync", &temporary)?;
    vfs.rename(&temporary, &dir.join(name)).attempt("rename", &temporary)?;
    vfs.sync_dir(dir).attempt("sync directory", dir)
}

fn read_identity(vfs: &impl Vfs, dir: &Path) -> Result<(Identity, LogId)> {
    let path = dir.join(IDENTITY_NAME);
    let Some(bytes) = read_small(vfs, &path)? else {
        return Err(DataDirError::Corrupt { path, what: "it is too long" });
    };
    decode(&bytes).map_err(|error| match error {
        Undecodable::Corrupt(what) => DataDirError::Corrupt { path, what },
        Undecodable::Newer(found) => {
            DataDirError::NewerFormat { path: dir.to_owned(), found, supported: FORMAT }
        }
    })
}

fn check_identity(vfs: &impl Vfs, dir: &Path, expected: &Identity) -> Result<LogId> {
    let (found, log_id) = read_identity(vfs, dir)?;
    let path = dir.to_owned();
    if found.cluster_id != expected.cluster_id {
        let (found, expected) = (found.cluster_id, expected.cluster_id);
        return Err(DataDirError::OtherCluster { path, found, expected });
    }
    if found.node_id != expected.node_id {
        let (found, expected) = (found.node_id, expected.node_id);
        return Err(DataDirError::OtherNode { path, found, expected });
    }
    // The process that wrote it may have been killed before the name was durable.
    vfs.sync_dir(dir).attempt("sync directory", dir)?;
    Ok(log_id)
}

/// The content of a file; none if it is longer than any of this module's. A read that fails is tried
/// once more: some failures pass, and there is a checksum over what is read.
fn read_small(vfs: &impl Vfs, path: &Path) -> Result<Option<Vec<u8>>> {
    let read = || {
        let file = vfs.open(path)?;
        let length = file.len()?;
        if length > FILE_BYTES_MAX {
            return Ok(None);
        }
        let mut bytes = vec![0; length as usize];
        file.read_at(&mut bytes, 0)?;
        Ok(Some(bytes))
    };
    read().or_else(|_| read()).attempt("read", path)
}

fn encode(identity: &Identity, log_id: LogId) -> String {
    let Identity { cluster_id, node_id, origin } = identity;
    let origin = origin.name();
    with_checksum(format!(
        "{TITLE}\nformat {FORMAT}\ncluster {cluster_id:016x}\nnode {node_id:016x}\nlog {log_id}\n\
         origin {origin}\n"
    ))
}

fn with_checksum(body: String) -> String {
    let checksum = crc32c::crc32c(body.as_bytes());
    format!("{body}crc32c {checksum:08x}\n")
}

/// The lines after the first one, of a text whose checksum and first line are right.
fn checked_lines<'a>(
    bytes: &'a [u8],
    title: &str,
) -> std::result::Result<std::str::Lines<'a>, &'static str> {
    let text = std::str::from_utf8(bytes).map_err(|_| "it is not text")?;
    let checksum_at = text.rfind("crc32c ").ok_or("its checksum is missing")?;
    let (body, _) = text.split_at(checksum_at);
    if with_checksum(body.to_owned()) != text {
        return Err("its checksum does not match");
    }
    let mut lines = body.lines();
    if lines.next() == Some(title) { Ok(lines) } else { Err("its first line is another file's") }
}

#[derive(Debug, PartialEq, Eq)]
enum Undecodable {
    Corrupt(&'static str),
    Newer(u32),
}

fn decode(bytes: &[u8]) -> std::result::Result<(Identity, LogId), Undecodable> {
    use Undecodable::Corrupt;
    let mut lines = checked_lines(bytes, TITLE).map_err(Corrupt)?;
    let mut field = |name| {
        let line = lines.next().unwrap_or_default();
        line.strip_prefix(name).ok_or(Corrupt("a line is missing"))
    };
    let bad = |_| Corrupt("a number is not one");
    let format = field("format ")?.parse::<u32>().map_err(bad)?;
    if format > FORMAT {
        return Err(Undecodable::Newer(format));
    }
    let cluster_id = u64::from_str_radix(field("cluster ")?, 16).map_err(bad)?;
    let node_id = u64::from_str_radix(field("node ")?, 16).map_err(bad)?;
    let log_id = u128::from_str_radix(field("log ")?, 16).map_err(bad)?;
    // Before there was a second format, every node was there from the beginning.
    let origin = if format < 2 { Origin::Founded.name() } else { field("origin ")? };
    let origin = Origin::ALL.into_iter().find(|known| known.name() == origin);
    let origin = origin.ok_or(Corrupt("its origin is none"))?;
    Ok((Identity { cluster_id, node_id, origin }, LogId(log_id)))
}

/// Names the path and the attempt in an error of the operating system.
trait Attempt<T> {
    fn attempt(self, op: &'static str, path: &Path) -> Result<T>;
}

impl<T> Attempt<T> for io::Result<T> {
    fn attempt(self, op: &'static str, path: &Path) -> Result<T> {
        self.map_err(|source| DataDirError::Io { path: path.to_owned(), op, source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDENTITY: Identity = Identity { cluster_id: 0xab, node_id: 3, origin: Origin::Joined };

    #[test]
    fn an_identity_is_read_as_it_was_written() {
        assert_eq!(decode(encode(&IDENTITY, LogId(77)).as_bytes()), Ok((IDENTITY, LogId(77))));
    }

    #[test]
    fn no_spoilt_byte_of_an_identity_goes_unnoticed() {
        let bytes = encode(&IDENTITY, LogId(77)).into_bytes();
        for at in 0..bytes.len() {
            let mut spoilt = bytes.clone();
            spoilt[at] ^= 1;
            assert!(matches!(decode(&spoilt), Err(Undecodable::Corrupt(_))), "byte {at}");
            assert!(matches!(decode(&bytes[..at]), Err(Undecodable::Corrupt(_))), "cut at {at}");
        }
    }

    #[test]
    fn an_identity_of_the_first_format_is_that_of_a_founder() {
        let text = with_checksum(format!("{TITLE}\nformat 1\ncluster ab\nnode 3\nlog 4d\n"));
        let founder = Identity { origin: Origin::Founded, ..IDENTITY };
        assert_eq!(decode(text.as_bytes()), Ok((founder, LogId(77))));
    }

    #[test]
    fn a_later_format_is_named_whatever_follows_it() {
        let text = with_checksum(format!("{TITLE}\nformat 7\nsomething new\n"));
        assert_eq!(decode(text.as_bytes()), Err(Undecodable::Newer(7)));
    }
}
