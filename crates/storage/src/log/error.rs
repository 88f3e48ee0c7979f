//! What can go wrong with a log, and what the person who reads it should do.

use std::io;
use std::path::{Path, PathBuf};

use super::record::Sequence;

/// Why the log refused. Every variant but [`LogError::TooLarge`] ends the use of the log.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// The operating system failed a call. What was appended since the last successful sync *may
    /// have* become durable.
    #[error("could not {op} {}: {source}; the log cannot go on, so end this process, see to the disk, and start it again", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What was attempted, to be read after "could not".
        op: &'static str,
        /// The operating system's reason.
        source: io::Error,
    },
    /// Something that was durable is no longer what it was. Nothing has been changed on the disk.
    #[error("the log is corrupt in {} at byte {offset}, where record {sequence} was expected: {what}. It was durable once, so it is not cut away, and the data directory was left untouched. Restore this node from its peers (remove its data directory and let it join again) or from a backup", file.display())]
    Corrupt {
        /// The segment's file.
        file: PathBuf,
        /// Where in the file the first bad byte may be.
        offset: u64,
        /// The first record that may be lost.
        sequence: Sequence,
        /// What was found.
        what: String,
    },
    /// The log was written by a later version.
    #[error("{} has log format {found} and this binary reads up to {supported}: run a newer binary; nothing was changed", file.display())]
    NewerFormat {
        /// The segment's file.
        file: PathBuf,
        /// The format it states.
        found: u32,
        /// The latest format that this binary reads.
        supported: u32,
    },
    /// A file has a segment's name and is none of this log's.
    #[error("{} is not a segment of this log: {what}. Put the right file back, or restore this node from its peers (remove its data directory and let it join again) or from a backup; nothing was changed", file.display())]
    NotALog {
        /// The file.
        file: PathBuf,
        /// What was found.
        what: &'static str,
    },
    /// An earlier call failed, so that what is on the disk is not known any more.
    #[error("the log in {} has failed before and takes nothing more: {cause}", dir.display())]
    Poisoned {
        /// The log's directory.
        dir: PathBuf,
        /// The message of the first failure.
        cause: String,
    },
    /// The record was not appended; the log is as it was.
    #[error(
        "a record of {bytes} bytes is larger than the log takes, {bytes_max} bytes: split it, or open the log with larger segments"
    )]
    TooLarge {
        /// The record's length.
        bytes: u64,
        /// The longest record taken.
        bytes_max: u64,
    },
}

/// What this crate's log returns.
pub type Result<T> = std::result::Result<T, LogError>;

/// Names the path and the attempt in an error of the operating system.
pub(super) trait Attempt<T> {
    fn attempt(self, op: &'static str, path: &Path) -> Result<T>;
}

impl<T> Attempt<T> for io::Result<T> {
    fn attempt(self, op: &'static str, path: &Path) -> Result<T> {
        self.map_err(|source| LogError::Io { path: path.to_owned(), op, source })
    }
}
