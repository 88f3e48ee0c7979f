//! The mark of a node that has lost its memory, and how its log is set aside.
//!
//! ```text
//! quorate memory lost
//! log 0123456789abcdef0123456789abcdef
//! why the log is corrupt in …
//! crc32c 5d2a91f3
//! ```
//!
//! The log's id is that of the log which begins anew.

use std::io;
use std::path::PathBuf;

use super::{
    Attempt, DataDir, LOG_NAME, Result, checked_lines, read_small, with_checksum, write_identity,
    write_whole,
};
use crate::log::LogId;
use crate::mutant::Mutant;
use crate::vfs::Vfs;

const MARK_NAME: &str = "MEMORY_LOST";
const MARK_TEMPORARY_NAME: &str = "MEMORY_LOST.tmp";
const TITLE: &str = "quorate memory lost";
const ASIDE_PREFIX: &str = "corrupt-";
/// How much of a reason is kept.
const WHY_CHARS_MAX: usize = 1000;

/// That this node has lost its memory: what it promised and held durably may be gone, though its log
/// looks well. It may take part again as one that remembers nothing, and not as if it were new.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryLost {
    /// What was found, for the person who reads it.
    pub why: String,
}

impl<V: Vfs> DataDir<V> {
    /// That this node has lost its memory, unless it has not, or was told that it has it again.
    pub fn memory_lost(&self) -> Option<&MemoryLost> {
        self.memory_lost.as_ref()
    }

    /// Sets aside a log that cannot be trusted, so that a new one can begin in its place; marks the
    /// node as one that has lost its memory. The log must be closed. `new_log_id` is a number drawn
    /// at random. Returns where the old log is now, if there was one.
    ///
    /// When this fails, or is cut short, either nothing has happened or the next
    /// [`DataDir::open`] finishes it.
    pub fn set_aside(&mut self, vfs: &V, new_log_id: LogId, why: &str) -> Result<Option<PathBuf>> {
        let mut aside = None;
        if self.has(Mutant::MovesBeforeMark) {
            aside = self.move_log(vfs)?;
        }
        // One line, and no line of ours.
        let why: String = why.replace(['\n', '\r'], " ").chars().take(WHY_CHARS_MAX).collect();
        let text = with_checksum(format!("{TITLE}\nlog {new_log_id}\nwhy {why}\n"));
        write_whole(vfs, &self.path, (MARK_TEMPORARY_NAME, MARK_NAME), &text)?;
        self.memory_lost = Some(MemoryLost { why });
        let moved = self.begin_anew(vfs, new_log_id)?;
        Ok(aside.or(moved))
    }

    /// Takes the mark away: this node knows again what it has to know. Durable when this returns.
    pub fn regain_memory(&mut self, vfs: &V) -> Result<()> {
        if self.memory_lost.is_some() {
            let path = self.path.join(MARK_NAME);
            match vfs.remove(&path) {
                // An earlier attempt came so far, and no further.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                outcome => outcome.attempt("remove", &path)?,
            }
            vfs.sync_dir(&self.path).attempt("sync directory", &self.path)?;
            self.memory_lost = None;
        }
        Ok(())
    }

    /// Looks for the mark, and finishes what was begun when it was made.
    pub(super) fn remember_loss(&mut self, vfs: &V) -> Result<()> {
        if !vfs.list(&self.path).attempt("list", &self.path)?.iter().any(|name| name == MARK_NAME) {
            return Ok(());
        }
        let bytes = read_small(vfs, &self.path.join(MARK_NAME))?;
        match bytes.as_deref().and_then(decode) {
            Some((lost, new_log_id)) => {
                self.memory_lost = Some(lost);
                if new_log_id != self.log_id {
                    self.begin_anew(vfs, new_log_id)?;
                }
            }
            // It is there, and that is most of what it says. Should the old log be there as well, it
            // will be found out again.
            None => {
                let why = "the mark that says why is itself unreadable".to_owned();
                self.memory_lost = Some(MemoryLost { why });
            }
        }
        Ok(())
    }

    /// Moves the log out of the way, and has the next one carry its own id.
    fn begin_anew(&mut self, vfs: &V, new_log_id: LogId) -> Result<Option<PathBuf>> {
        let aside = self.move_log(vfs)?;
        write_identity(vfs, &self.path, &self.identity, new_log_id)?;
        self.log_id = new_log_id;
        if self.has(Mutant::ClearsMarkEarly) {
            let path = self.path.join(MARK_NAME);
            vfs.remove(&path).attempt("remove", &path)?;
        }
        Ok(aside)
    }

    fn move_log(&self, vfs: &V) -> Result<Option<PathBuf>> {
        let names = vfs.list(&self.path).attempt("list", &self.path)?;
        if !names.iter().any(|name| name == LOG_NAME) {
            return Ok(None);
        }
        let taken = names.iter().filter_map(|name| name.strip_prefix(ASIDE_PREFIX)?.parse().ok());
        let number = taken.max().unwrap_or(0_u64) + 1;
        let (from, to) = (self.log_dir(), self.path.join(format!("{ASIDE_PREFIX}{number}")));
        vfs.rename(&from, &to).attempt("rename", &from)?;
        // Else the new log's id could become durable while the old log is still in its place.
        vfs.sync_dir(&self.path).attempt("sync directory", &self.path)?;
        Ok(Some(to))
    }
}

fn decode(bytes: &[u8]) -> Option<(MemoryLost, LogId)> {
    let mut lines = checked_lines(bytes, TITLE).ok()?;
    let log_id = u128::from_str_radix(lines.next()?.strip_prefix("log ")?, 16).ok()?;
    let why = lines.next()?.strip_prefix("why ")?.to_owned();
    Some((MemoryLost { why }, LogId(log_id)))
}
