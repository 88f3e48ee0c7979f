//! The seam between this crate and whatever keeps the bytes.
//!
//! Everything of ours that touches a disk goes through [`Vfs`] and [`VfsFile`], so that one
//! implementation can be the operating system ([`DiskVfs`]) and others can lose, tear and rot what
//! they were given ([`MemoryVfs`], and the simulator's own).
//!
//! What the seam promises, and no more than that:
//! - A write is durable once a `sync_data` on its file, begun after the write, has succeeded.
//!   Until then each 512-byte sector of it may or may not reach the disk, in any order.
//! - A file's name (its creation, renaming or removal) is durable once `sync_dir` on its directory
//!   has succeeded. A rename happens wholly or not at all.
//! - After a failed `sync_data` nothing is known about the writes before it, and a later success
//!   says nothing about them either.

mod disk;
mod memory;

pub use disk::{DiskFile, DiskVfs};
pub use memory::{Harm, MemoryFile, MemoryVfs};

use std::io;
use std::path::Path;

/// The unit in which a disk either takes a write or does not.
pub const SECTOR_BYTES: u64 = 512;

/// A file system: a cheap handle that can be cloned.
///
/// Paths may be relative or absolute. Errors are the operating system's; the callers in this crate
/// add the path and what was attempted.
pub trait Vfs: Clone {
    /// An open file.
    type File: VfsFile;

    /// Creates a file for reading and writing; fails with `AlreadyExists` if the name is taken.
    fn create_new(&self, path: &Path) -> io::Result<Self::File>;

    /// Opens an existing file for reading and writing; fails with `NotFound` if there is none.
    fn open(&self, path: &Path) -> io::Result<Self::File>;

    /// Gives a file another name in the same directory, replacing what had that name; or gives a
    /// directory another name beside it, which must be free.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file's name. Handles that are open stay usable.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// The names of what is in a directory, sorted bytewise so that no caller can come to depend on
    /// an order that differs between runs.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// Creates a directory and its missing parents, and makes their names durable.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;

    /// Makes the names in a directory durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// The id of the process that uses this file system, for messages to the person who has to find
    /// it. A simulated file system returns a constant.
    fn process_id(&self) -> u32;
}

/// An open file. Closed, and its lock given up, when dropped.
pub trait VfsFile {
    /// Fills `buffer` from `offset`; fails with `UnexpectedEof` if the file ends before.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;

    /// Writes all of `data` at `offset`, extending the file if need be.
    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()>;

    /// Makes the content durable, and as much of the metadata as is needed to read it
    /// (`fdatasync`).
    fn sync_data(&self) -> io::Result<()>;

    /// Cuts the file, or extends it with zeros.
    fn set_len(&self, bytes: u64) -> io::Result<()>;

    /// Extends the file to at least `bytes`, reading as zeros, with its space reserved, so that a
    /// full disk is met here and not in a later write.
    fn allocate(&self, bytes: u64) -> io::Result<()>;

    /// The file's length in bytes.
    fn len(&self) -> io::Result<u64>;

    /// Whether the file has no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Takes the exclusive advisory lock on this file, without waiting. Returns `false` if another
    /// handle, of this process or another, holds it.
    fn try_lock(&self) -> io::Result<bool>;
}
