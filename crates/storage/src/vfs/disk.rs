//! The operating system's file system.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::{Vfs, VfsFile};

/// The real file system. Every call blocks until the operating system has answered.
#[derive(Clone, Copy, Debug, Default)]
pub struct DiskVfs;

/// A file of the real file system.
#[derive(Debug)]
pub struct DiskFile(File);

impl Vfs for DiskVfs {
    type File = DiskFile;

    fn create_new(&self, path: &Path) -> io::Result<DiskFile> {
        OpenOptions::new().read(true).write(true).create_new(true).open(path).map(DiskFile)
    }

    fn open(&self, path: &Path) -> io::Result<DiskFile> {
        OpenOptions::new().read(true).write(true).open(path).map(DiskFile)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(or_here(dir))? {
            // A name that is not UTF-8 is none of ours; it still shows that the place is taken.
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort_unstable();
        Ok(names)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let dir = or_here(dir);
        if dir.is_dir() {
            return Ok(());
        }
        let parent = dir.parent().map(or_here);
        if let Some(parent) = parent {
            self.create_dir_all(parent)?;
        }
        match fs::create_dir(dir) {
            // Someone else made it between the look and the attempt.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => {}
            outcome => outcome?,
        }
        parent.map_or(Ok(()), |parent| self.sync_dir(parent))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(or_here(dir))?.sync_all()
    }

    fn process_id(&self) -> u32 {
        std::process::id()
    }
}

impl VfsFile for DiskFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(buffer, offset)
    }

    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(data, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.0.set_len(bytes)
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        if self.len()? >= bytes {
            return Ok(());
        }
        match rustix::fs::fallocate(&self.0, rustix::fs::FallocateFlags::empty(), 0, bytes) {
            // Some file systems cannot reserve space. The length is right either way, and the zeros
            // that the log writes ahead of itself reserve the space a little later.
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => self.0.set_len(bytes),
            outcome => Ok(outcome?),
        }
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn try_lock(&self) -> io::Result<bool> {
        // `flock` belongs to the open file and not to the process, so that two handles in one
        // process exclude each other too, and the lock dies with its holder.
        match rustix::fs::flock(&self.0, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

/// The parent of a bare name is the empty path, which the operating system does not know.
fn or_here(path: &Path) -> &Path {
    if path.as_os_str().is_empty() { Path::new(".") } else { path }
}
