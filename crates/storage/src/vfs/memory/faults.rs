//! What a disk does wrong besides losing what was not synced.
//!
//! Whoever drives the disk asks for a fault, and it strikes with the next call that it concerns. The
//! disk counts the errors it was made to return and notes the harm it was made to do, so that a
//! judge can tell a caller that met a fault from one that failed by itself.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::{Disk, MemoryVfs};
use crate::vfs::SECTOR_BYTES;

/// Faults that wait for their call, and what those before them have done.
#[derive(Clone, Debug, Default)]
pub(super) struct Faults {
    capacity_bytes: Option<u64>,
    fails_next_sync: bool,
    fails_next_write: bool,
    /// Reads that fail: of which file, which bytes, and how often; for ever if none.
    bad_reads: Vec<(u64, Range<u64>, Option<u32>)>,
    /// How the next `sync_data` with something to write betrays who asks for it.
    next_lie: Option<Lie>,
    errors: u64,
    harm: Harm,
}

/// What a disk was made to do that no caller of it was told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Harm {
    /// Bytes that were changed where they lay.
    pub rotten: u64,
    /// Syncs that were answered and never happened.
    pub phantoms: u64,
    /// Writes that landed elsewhere.
    pub misdirected: u64,
    /// Times that the disk was replaced, by an older copy of itself or by an empty one.
    pub replaced: u64,
}

impl Harm {
    /// Whether nothing was done.
    pub fn is_none(&self) -> bool {
        *self == Harm::default()
    }
}

#[derive(Clone, Debug)]
enum Lie {
    /// Nothing is written.
    Phantom,
    /// The oldest write lands there, as far as that file reaches.
    Misdirected { path: PathBuf, offset: u64 },
}

impl MemoryVfs {
    /// Flips bits of one byte where it lies, synced or not. The file must reach that far.
    pub fn corrupt(&self, path: &Path, offset: u64, xor: u8) {
        let mut disk = self.disk();
        let inode = disk.named(path);
        let inode = inode.unwrap_or_else(|_| panic!("no file {} to corrupt", path.display()));
        disk.inode(inode).content.corrupt(offset, xor);
        disk.faults.harm.rotten += 1;
    }

    /// Has a sector rot: flips bits of up to eight bytes in it, chosen by `choose(bound)`. The file must have
    /// a byte in that sector.
    pub fn rot(&self, path: &Path, sector: u64, choose: &mut dyn FnMut(u64) -> u64) {
        let start = sector * SECTOR_BYTES;
        let length = {
            let mut disk = self.disk();
            let inode = disk.named(path);
            inode.map_or(0, |inode| disk.inode(inode).content.len())
        };
        let reach = length.saturating_sub(start).min(SECTOR_BYTES);
        assert!(reach > 0, "{} has no sector {sector} that could rot", path.display());
        let first = choose(reach);
        let end = reach.min(first + 1 + choose(8));
        for byte in first..end {
            self.corrupt(path, start + byte, 1 << choose(8));
        }
    }

    /// Makes the next `sync_data` or `sync_dir` fail. What a failed `sync_data` should have written
    /// can still be read, but no later sync of it will ever make it durable, as on a kernel that
    /// marks pages clean when their write has failed.
    pub fn fail_next_sync(&self) {
        self.disk().faults.fails_next_sync = true;
    }

    /// Drops from memory what a failed sync, or one that never happened, should have written: from
    /// here on readers see what the disk has.
    pub fn drop_caches(&self) {
        for inode in self.disk().inodes.values_mut() {
            inode.content.drop_doomed();
        }
    }

    /// Makes the next `write_at` fail without having written anything.
    pub fn fail_next_write(&self) {
        self.disk().faults.fails_next_write = true;
    }

    /// Makes reads that touch these bytes of a file fail: so many times, or for ever.
    pub fn fail_reads(&self, path: &Path, bytes: Range<u64>, times: Option<u32>) {
        let mut disk = self.disk();
        let inode = disk.named(path);
        let inode = inode.unwrap_or_else(|_| panic!("no file {} to misread", path.display()));
        disk.faults.bad_reads.push((inode, bytes, times));
    }

    /// Limits the sum of all files' lengths; what would exceed it fails with `StorageFull`, and so
    /// does a new file once nothing is left.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.disk().faults.capacity_bytes = bytes;
    }

    /// The sum of all files' lengths.
    pub fn used_bytes(&self) -> u64 {
        self.disk().used_bytes()
    }

    /// Has the next `sync_data` that has something to write answer without writing it.
    pub fn feign_next_sync(&self) {
        self.disk().faults.next_lie = Some(Lie::Phantom);
    }

    /// Has the next `sync_data` that has something to write put the oldest of it elsewhere: over
    /// the bytes from `offset` of the file at `path`, as far as that reaches. Where it belongs,
    /// nothing is written.
    pub fn misdirect_next_sync(&self, path: &Path, offset: u64) {
        let path = path.to_owned();
        self.disk().faults.next_lie = Some(Lie::Misdirected { path, offset });
    }

    /// Takes back every fault that waits for its call. What was done stays done.
    pub fn relent(&self) {
        let mut disk = self.disk();
        let (errors, harm) = (disk.faults.errors, disk.faults.harm);
        disk.faults = Faults { errors, harm, ..Faults::default() };
    }

    /// Puts an older copy of the disk, made with [`MemoryVfs::duplicate`], in its place. Handles
    /// die; what was not synced when the copy was made may still be lost at the next crash.
    pub fn restore(&self, copy: &MemoryVfs) {
        let copied = copy.disk().clone();
        let mut disk = self.disk();
        let generation = disk.generation;
        let (errors, mut harm) = (disk.faults.errors, disk.faults.harm);
        harm.replaced += 1;
        *disk = copied;
        disk.generation = generation;
        disk.faults = Faults { errors, harm, ..Faults::default() };
        disk.forget_handles();
    }

    /// Puts an empty disk in its place.
    pub fn wipe(&self) {
        self.restore(&MemoryVfs::new());
    }

    /// How many errors the disk was made to return by a fault, a full disk included.
    pub fn errors(&self) -> u64 {
        self.disk().faults.errors
    }

    /// The harm that the disk was made to do.
    pub fn harm(&self) -> Harm {
        self.disk().faults.harm
    }

    /// All files with their lengths, in the order of their paths.
    pub fn files(&self) -> Vec<(PathBuf, u64)> {
        let disk = self.disk();
        let length = |inode| disk.inodes.get(inode).map_or(0, |inode| inode.content.len());
        disk.names.iter().map(|(path, inode)| (path.clone(), length(inode))).collect()
    }
}

impl Faults {
    pub(super) fn admit_sync(&mut self) -> io::Result<()> {
        let fails = std::mem::take(&mut self.fails_next_sync);
        if fails { Err(self.error("injected sync failure")) } else { Ok(()) }
    }

    pub(super) fn admit_write(&mut self) -> io::Result<()> {
        let fails = std::mem::take(&mut self.fails_next_write);
        if fails { Err(self.error("injected write failure")) } else { Ok(()) }
    }

    pub(super) fn admit_read(&mut self, inode: u64, offset: u64, bytes: usize) -> io::Result<()> {
        let read = offset..offset.saturating_add(bytes as u64);
        let touches = |(file, bad, left): &&mut (u64, Range<u64>, Option<u32>)| {
            *file == inode && *left != Some(0) && bad.start < read.end && read.start < bad.end
        };
        let Some((.., left)) = self.bad_reads.iter_mut().find(touches) else { return Ok(()) };
        if let Some(left) = left {
            *left -= 1;
        }
        Err(self.error("injected read failure"))
    }

    fn error(&mut self, what: &str) -> io::Error {
        self.errors += 1;
        io::Error::other(what)
    }
}

impl Disk {
    pub(super) fn used_bytes(&self) -> u64 {
        self.inodes.values().map(|inode| inode.content.len()).sum()
    }

    pub(super) fn admit_length(&mut self, inode: u64, bytes: u64) -> io::Result<()> {
        let growth = bytes.saturating_sub(self.inode(inode).content.len());
        self.admit_growth(growth)
    }

    /// A name takes room too, though here none is counted for it.
    pub(super) fn admit_name(&mut self) -> io::Result<()> {
        self.admit_growth(1)
    }

    fn admit_growth(&mut self, growth: u64) -> io::Result<()> {
        let is_full = |capacity| growth > 0 && self.used_bytes() + growth > capacity;
        if self.faults.capacity_bytes.is_some_and(is_full) {
            self.faults.errors += 1;
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    /// Makes what was written to a file durable, or says so.
    pub(super) fn sync_content(&mut self, inode: u64) {
        let content = &mut self.inode(inode).content;
        if !content.has_unsynced_write() {
            content.sync();
            return;
        }
        match self.faults.next_lie.take() {
            None => self.inode(inode).content.sync(),
            Some(Lie::Phantom) => {
                self.inode(inode).content.fail_sync();
                self.faults.harm.phantoms += 1;
            }
            Some(Lie::Misdirected { path, offset }) => {
                let content = &mut self.inode(inode).content;
                let astray = content.doom_oldest_write();
                content.sync();
                if let Ok(victim) = self.named(&path) {
                    self.inode(victim).content.overwrite_durably(&astray, offset);
                }
                self.faults.harm.misdirected += 1;
            }
        }
    }
}
