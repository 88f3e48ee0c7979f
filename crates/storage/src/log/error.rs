//! What can go wrong with a log, and what the person who reads it should do.

use std::io;
use std::path::{Path, PathBuf};

use super::record::Sequence;

/// Why the log refused. Every variant but [`LogError::TooLarge`] and [`LogError::Full`] ends the use of
/// the log.
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
    /// There is no room. Nothing of the batch was written, and all of it is kept: the call may be
    /// repeated once there is.
    #[error("no room to {op} {}: {source}. Nothing is lost: make room on the disk, and the log goes on", path.display())]
    Full {
        /// The file.
        path: PathBuf,
        /// What was attempted, to be read after "no room to".
        op: &'static str,
        /// The operating system's reason.
        source: io::Error,
    },
    /// A file could not be read, and not the second time either. Nothing has been changed on the
    /// disk, and nothing is known to be lost.
    #[error("{} cannot be read: {source}, twice. See to the disk and start again; if it stays unreadable, restore this node from its peers or from a backup. Nothing was changed", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// A segment is gone whose records were durable. Nothing has been changed on the disk.
    #[error("the segment {} is missing, with record {sequence} and what followed it{}. Put the file back, or restore this node from its peers (remove its data directory and let it join again) or from a backup; nothing was changed", file.display(), readable(*readable_from, *sequence))]
    Missing {
        /// The file that is missing, or the first of them.
        file: PathBuf,
        /// The first record that is lost, as far as is known.
        sequence: Sequence,
        /// The first record that can be read: with it all from there up to `sequence` can. None if
        /// nothing is known to be readable.
        readable_from: Option<Sequence>,
    },
    /// Something that was durable is no longer what it was. Nothing has been changed on the disk.
    #[error("the log is corrupt in {} at byte {offset}, where record {sequence} was expected: {what}{}. It was durable once, so it is not cut away, and the data directory was left untouched. Restore this node from its peers (remove its data directory and let it join again) or from a backup", file.display(), readable(*readable_from, *sequence))]
    Corrupt {
        /// The segment's file.
        file: PathBuf,
        /// Where in the file the first bad byte may be.
        offset: u64,
        /// The first record that may be lost.
        sequence: Sequence,
        /// The first record that can be read: with it all from there up to `sequence` can. None if
        /// nothing is known to be readable.
        readable_from: Option<Sequence>,
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

impl LogError {
    /// Whether something that was durable is known to be gone or spoilt: this log cannot be trusted
    /// any more, however often it is opened. See [`DataDir::set_aside`](crate::DataDir::set_aside).
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Corrupt { .. } | Self::Missing { .. } | Self::NotALog { .. })
    }
}

fn readable(from: Option<Sequence>, until: Sequence) -> String {
    match from {
        Some(from) if from < until => {
            format!("; records {from} to {} can still be read", until.0 - 1)
        }
        _ => String::new(),
    }
}

/// What this crate's log returns.
pub type Result<T> = std::result::Result<T, LogError>;

/// Names the path and the attempt in an error of the operating system.
pub(super) trait Attempt<T> {
    fn attempt(self, op: &'static str, path: &Path) -> Result<T>;
    /// For what changes nothing if there is no room for it, and may be repeated.
    fn attempt_in_room(self, op: &'static str, path: &Path) -> Result<T>;
}

impl<T> Attempt<T> for io::Result<T> {
    fn attempt(self, op: &'static str, path: &Path) -> Result<T> {
        self.map_err(|source| LogError::Io { path: path.to_owned(), op, source })
    }

    fn attempt_in_room(self, op: &'static str, path: &Path) -> Result<T> {
        use io::ErrorKind::{QuotaExceeded, StorageFull};
        self.map_err(|source| match source.kind() {
            StorageFull | QuotaExceeded => LogError::Full { path: path.to_owned(), op, source },
            _ => LogError::Io { path: path.to_owned(), op, source },
        })
    }
}
