//! Files that wait to become segments.
//!
//! Overwriting blocks that are already allocated and written is what makes a sync fast, because no
//! metadata changes. Such files come from two places: segments whose records were released, and,
//! when there is none, a fresh file that is filled with zeros a little at a time while the segment
//! in use fills up.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use super::error::{Attempt, LogError, Result};
use super::segment::{Index, preparing_name};
use crate::vfs::{Vfs, VfsFile};

/// How many zeros one step writes and syncs: about the disk's latency again in writing time, so
/// that no turn of the caller's loop waits much longer than for its own sync.
const STEP_BYTES: u64 = 128 << 10;
static ZEROS: [u8; 1 << 16] = [0; 1 << 16];

/// The free files of one log.
#[derive(Debug)]
pub(super) struct Pool<F> {
    dir: PathBuf,
    segment_bytes: u64,
    free_max: usize,
    /// Released segments, all of them of `segment_bytes`.
    free: VecDeque<PathBuf>,
    /// Files with their room allocated, oldest first.
    preparing: VecDeque<Preparing<F>>,
    /// Whether there was no room when it was last asked for.
    is_full: bool,
    /// Zeros that are due, in bytes.
    credit: u64,
}

#[derive(Debug)]
struct Preparing<F> {
    file: F,
    path: PathBuf,
    zeroed_bytes: u64,
}

impl<F: VfsFile> Pool<F> {
    pub(super) fn new(dir: &Path, segment_bytes: u64, free_max: usize) -> Self {
        Self {
            dir: dir.to_owned(),
            segment_bytes,
            free_max,
            free: VecDeque::new(),
            preparing: VecDeque::new(),
            is_full: false,
            credit: 0,
        }
    }

    /// Whether there was no room for another file when it was last tried to make one.
    pub(super) fn is_full(&self) -> bool {
        self.is_full
    }

    /// How many files are there, with their room.
    pub(super) fn ready(&self) -> usize {
        self.free.len() + self.preparing.len()
    }

    /// Sees to it that there are so many files.
    pub(super) fn reserve<V: Vfs<File = F>>(&mut self, vfs: &V, files: usize) -> Result<()> {
        while self.ready() < files {
            self.create(vfs)?;
        }
        Ok(())
    }

    /// Takes over what an earlier run has left: keeps free files that fit, and removes the rest. A
    /// half-prepared file goes too, since it may carry a header that was never used.
    pub(super) fn adopt<V: Vfs<File = F>>(
        &mut self,
        vfs: &V,
        free: &[Index],
        preparing: &[String],
    ) -> Result<()> {
        for index in free {
            let path = index.free_path(&self.dir);
            let bytes = vfs.open(&path).and_then(|file| file.len()).attempt("open", &path)?;
            if bytes == self.segment_bytes && self.free.len() < self.free_max {
                self.free.push_back(path);
            } else {
                vfs.remove(&path).attempt("remove", &path)?;
            }
        }
        for name in preparing {
            let path = self.dir.join(name);
            vfs.remove(&path).attempt("remove", &path)?;
        }
        Ok(())
    }

    /// A file of `segment_bytes`, and its path: a released one if there is one, else the one being
    /// prepared as far as it got (the rest of it reads as zeros all the same), else a new one.
    pub(super) fn take<V: Vfs<File = F>>(&mut self, vfs: &V) -> Result<(F, PathBuf)> {
        self.credit = 0;
        if let Some(path) = self.free.pop_front() {
            let file = vfs.open(&path).attempt("open", &path)?;
            return Ok((file, path));
        }
        self.reserve(vfs, 1)?;
        let Preparing { file, path, .. } = self.preparing.pop_front().expect("one was made");
        Ok((file, path))
    }

    /// Takes in a segment whose records are released, or removes it if there are enough. When this
    /// returns the change is durable.
    pub(super) fn give<V: Vfs<File = F>>(
        &mut self,
        vfs: &V,
        index: Index,
        capacity: u64,
    ) -> Result<()> {
        let path = index.path(&self.dir);
        if capacity == self.segment_bytes && self.free.len() < self.free_max {
            let target = index.free_path(&self.dir);
            vfs.rename(&path, &target).attempt("rename", &path)?;
            self.free.push_back(target);
        } else {
            vfs.remove(&path).attempt("remove", &path)?;
        }
        self.is_full = false;
        vfs.sync_dir(&self.dir).attempt("sync directory", &self.dir)
    }

    /// Notes that the segment in use has grown by `bytes`, and does a step once enough is due. At
    /// four times the log's own pace a segment that is half full when this starts is three quarters
    /// full when the next one is ready.
    pub(super) fn keep_pace<V: Vfs<File = F>>(&mut self, vfs: &V, bytes: u64) -> Result<()> {
        self.credit = self.credit.saturating_add(bytes.saturating_mul(4));
        if self.credit >= STEP_BYTES.min(self.segment_bytes) {
            self.credit = 0;
            self.step(vfs)?;
        }
        Ok(())
    }

    /// Does one bounded piece of work towards a file that is ready; returns whether more is left.
    pub(super) fn step<V: Vfs<File = F>>(&mut self, vfs: &V) -> Result<bool> {
        if !self.free.is_empty() {
            return Ok(false);
        }
        self.reserve(vfs, 1)?;
        let segment_bytes = self.segment_bytes;
        let preparing = self.preparing.front_mut().expect("one was made");
        let target = segment_bytes.min(preparing.zeroed_bytes + STEP_BYTES);
        if preparing.zeroed_bytes == target {
            return Ok(false);
        }
        let zeroed = write_zeros(&preparing.file, preparing.zeroed_bytes, target)
            .attempt_in_room("fill with zeros", &preparing.path);
        self.is_full = matches!(zeroed, Err(LogError::Full { .. }));
        zeroed?;
        // Without this the next segment's first sync would have to write all these zeros at once.
        preparing.file.sync_data().attempt("sync", &preparing.path)?;
        preparing.zeroed_bytes = target;
        Ok(target < segment_bytes)
    }

    /// Makes another file and allocates its room, or leaves nothing behind.
    fn create<V: Vfs<File = F>>(&mut self, vfs: &V) -> Result<()> {
        let name = |number: &usize| self.dir.join(preparing_name(*number));
        let is_taken =
            |number: &usize| self.preparing.iter().any(|preparing| preparing.path == name(number));
        let number = (0..).find(|number| !is_taken(number)).expect("there are few");
        let path = name(&number);
        let created = self.allocate(vfs, &path);
        self.is_full = matches!(created, Err(LogError::Full { .. }));
        self.preparing.push_back(Preparing { file: created?, path, zeroed_bytes: 0 });
        Ok(())
    }

    fn allocate<V: Vfs<File = F>>(&self, vfs: &V, path: &Path) -> Result<F> {
        let file = vfs.create_new(path).attempt_in_room("create", path)?;
        let allocated = file.allocate(self.segment_bytes);
        if allocated.is_err() {
            // It would be in the way of the next attempt, and in that of others who need the room.
            vfs.remove(path).attempt("remove", path)?;
        }
        allocated.attempt_in_room("reserve space for", path)?;
        Ok(file)
    }
}

/// Writes zeros over the bytes from `from` up to `to`.
pub(super) fn write_zeros(file: &impl VfsFile, from: u64, to: u64) -> std::io::Result<()> {
    let mut offset = from;
    while offset < to {
        let piece = (to - offset).min(ZEROS.len() as u64);
        file.write_at(&ZEROS[..piece as usize], offset)?;
        offset += piece;
    }
    Ok(())
}
