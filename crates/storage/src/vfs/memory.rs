//! A file system in memory that loses power the way a disk does.
//!
//! It is deterministic: what a crash spares is decided by the caller's `choose` alone, asked in an
//! order that depends on nothing but the calls made before. One [`MemoryVfs`] is one disk; clones
//! of a handle share it, [`MemoryVfs::duplicate`] copies it.
//!
//! What else a disk does wrong is in `faults.rs`, each for whoever drives the disk to ask for: rot,
//! reads and syncs that fail, writes that never happen or land elsewhere, no space, an older copy of
//! the disk in its place, or nothing at all.
//!
//! Omitted: crashes that lose a new directory (creating one is durable at once, as the seam asks),
//! and renaming across directories, which nobody here does.

mod content;
mod faults;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use self::content::Content;
use self::faults::Faults;
pub use self::faults::Harm;
use super::{Vfs, VfsFile};

/// One simulated disk. Clones share it.
#[derive(Clone, Debug)]
pub struct MemoryVfs(Arc<Mutex<Disk>>);

/// An open file of a [`MemoryVfs`]. It fails every call once the disk has crashed.
#[derive(Debug)]
pub struct MemoryFile {
    disk: Arc<Mutex<Disk>>,
    inode: u64,
    handle: u64,
    generation: u64,
}

#[derive(Clone, Debug, Default)]
struct Disk {
    /// Counts crashes; a handle of an earlier generation is dead.
    generation: u64,
    next_id: u64,
    inodes: BTreeMap<u64, Inode>,
    names: BTreeMap<PathBuf, u64>,
    durable_names: BTreeMap<PathBuf, u64>,
    name_changes: Vec<NameChange>,
    directories: BTreeSet<PathBuf>,
    faults: Faults,
    /// How many more changes the disk makes before it refuses them.
    changes_left: Option<u64>,
}

#[derive(Clone, Debug, Default)]
struct Inode {
    content: Content,
    handles: u32,
    locked_by: Option<u64>,
}

/// A change to a directory that no `sync_dir` has made durable yet.
#[derive(Clone, Debug)]
enum NameChange {
    Create { path: PathBuf, inode: u64 },
    Remove { path: PathBuf, inode: u64 },
    Rename { from: PathBuf, to: PathBuf, inode: u64 },
    RenameDir { from: PathBuf, to: PathBuf },
}

impl Default for MemoryVfs {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryVfs {
    /// An empty disk without a limit.
    pub fn new() -> Self {
        let directories = BTreeSet::from([PathBuf::new(), PathBuf::from("/")]);
        Self(Arc::new(Mutex::new(Disk { directories, ..Disk::default() })))
    }

    /// Another disk with the same content, durable and not; handles stay with the original.
    pub fn duplicate(&self) -> Self {
        let mut copy = self.disk().clone();
        copy.forget_handles();
        Self(Arc::new(Mutex::new(copy)))
    }

    /// Cuts the power. Handles die and locks are given up.
    ///
    /// Whatever was synced stays untouched. Each directory change without a `sync_dir` is kept or
    /// lost, and each write without a `sync_data` is kept, lost, torn at a sector boundary of which
    /// one side survives, or scattered, so that any of its sectors may survive without the others.
    /// `choose(bound)` answers a number below `bound` for each: 0 loses, 1 keeps, 2 tears, 3
    /// scatters, and then 0 or 1 for each sector.
    pub fn crash(&self, choose: &mut dyn FnMut(u64) -> u64) {
        let mut disk = self.disk();
        disk.forget_handles();
        disk.changes_left = None;
        for change in std::mem::take(&mut disk.name_changes) {
            if choose(2) == 1 {
                change.apply(&mut disk.durable_names);
            } else if let NameChange::RenameDir { from, to } = change {
                disk.move_directories(&to, &from);
            }
        }
        disk.names = disk.durable_names.clone();
        disk.drop_unreachable();
        for inode in disk.inodes.values_mut() {
            inode.content.crash(choose);
        }
    }

    /// Stops whoever uses the disk after so many more changes (writes, syncs, and changes of names
    /// or lengths): what follows them fails and does nothing, until [`MemoryVfs::crash`] or
    /// [`MemoryVfs::resume`]. So a test reaches the middle of any operation.
    pub fn stop_after(&self, changes: u64) {
        self.disk().changes_left = Some(changes);
    }

    /// Takes changes again after [`MemoryVfs::stop_after`], as when a process was killed and the
    /// machine has lived on: what was not synced can still be read.
    pub fn resume(&self) {
        self.disk().changes_left = None;
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        lock(&self.0)
    }

    fn handle(&self, disk: &mut Disk, inode: u64) -> MemoryFile {
        disk.inode(inode).handles += 1;
        let handle = disk.fresh_id();
        MemoryFile { disk: Arc::clone(&self.0), inode, handle, generation: disk.generation }
    }
}

impl Vfs for MemoryVfs {
    type File = MemoryFile;

    fn create_new(&self, path: &Path) -> io::Result<MemoryFile> {
        let mut disk = self.disk();
        if disk.names.contains_key(path) || disk.directories.contains(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        if !disk.directories.contains(parent(path)) {
            return Err(io::ErrorKind::NotFound.into());
        }
        disk.admit_change()?;
        disk.admit_name()?;
        let inode = disk.fresh_id();
        disk.inodes.insert(inode, Inode::default());
        disk.change(NameChange::Create { path: path.to_owned(), inode });
        Ok(self.handle(&mut disk, inode))
    }

    fn open(&self, path: &Path) -> io::Result<MemoryFile> {
        let mut disk = self.disk();
        let inode = disk.named(path)?;
        Ok(self.handle(&mut disk, inode))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        if parent(from) != parent(to) {
            return Err(io::ErrorKind::CrossesDevices.into());
        }
        let mut disk = self.disk();
        if disk.directories.contains(from) {
            return disk.rename_directory(from, to);
        }
        let inode = disk.named(from)?;
        disk.admit_change()?;
        disk.change(NameChange::Rename { from: from.to_owned(), to: to.to_owned(), inode });
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        let inode = disk.named(path)?;
        disk.admit_change()?;
        disk.change(NameChange::Remove { path: path.to_owned(), inode });
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let disk = self.disk();
        if !disk.directories.contains(dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let below = |path: &&PathBuf| path.parent() == Some(dir);
        let mut names: Vec<String> = disk
            .names
            .keys()
            .filter(below)
            .chain(disk.directories.iter().filter(below))
            .filter_map(|path| path.file_name())
            .map(|name| name.to_string_lossy().into_owned())
            .collect();
        names.sort_unstable();
        Ok(names)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        // As with the operating system's, a directory that is there is left as it is.
        if disk.directories.contains(dir) {
            return Ok(());
        }
        disk.admit_change()?;
        // Making the new name durable makes those beside it durable too.
        disk.sync_names(parent(dir));
        for ancestor in dir.ancestors() {
            if disk.names.contains_key(ancestor) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            disk.directories.insert(ancestor.to_owned());
        }
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        disk.admit_change()?;
        disk.faults.admit_sync()?;
        disk.sync_names(dir);
        Ok(())
    }

    fn process_id(&self) -> u32 {
        1
    }
}

impl MemoryFile {
    fn disk(&self) -> io::Result<MutexGuard<'_, Disk>> {
        let disk = lock(&self.disk);
        if disk.generation == self.generation {
            Ok(disk)
        } else {
            Err(io::Error::other("the file was opened before the disk crashed"))
        }
    }
}

impl VfsFile for MemoryFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let mut disk = self.disk()?;
        disk.faults.admit_read(self.inode, offset, buffer.len())?;
        disk.inode(self.inode).content.read(buffer, offset)
    }

    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        let mut disk = self.disk()?;
        disk.admit_change()?;
        disk.faults.admit_write()?;
        disk.admit_length(self.inode, offset + data.len() as u64)?;
        disk.inode(self.inode).content.write(data, offset);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut disk = self.disk()?;
        disk.admit_change()?;
        let admitted = disk.faults.admit_sync();
        if admitted.is_err() {
            disk.inode(self.inode).content.fail_sync();
        } else {
            disk.sync_content(self.inode);
        }
        admitted
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        let mut disk = self.disk()?;
        disk.admit_change()?;
        disk.admit_length(self.inode, bytes)?;
        disk.inode(self.inode).content.set_len(bytes);
        Ok(())
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        if self.len()? < bytes { self.set_len(bytes) } else { Ok(()) }
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.disk()?.inode(self.inode).content.len())
    }

    fn try_lock(&self) -> io::Result<bool> {
        let mut disk = self.disk()?;
        let holder = disk.inode(self.inode).locked_by.get_or_insert(self.handle);
        Ok(*holder == self.handle)
    }
}

impl Drop for MemoryFile {
    fn drop(&mut self) {
        let Ok(mut disk) = self.disk() else { return };
        let inode = disk.inode(self.inode);
        inode.handles -= 1;
        if inode.locked_by == Some(self.handle) {
            inode.locked_by = None;
        }
    }
}

impl Disk {
    fn fresh_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    fn inode(&mut self, id: u64) -> &mut Inode {
        self.inodes.get_mut(&id).expect("an inode outlives its names and handles")
    }

    fn named(&self, path: &Path) -> io::Result<u64> {
        self.names.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn change(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.name_changes.push(change);
    }

    fn admit_change(&mut self) -> io::Result<()> {
        match &mut self.changes_left {
            None => Ok(()),
            Some(0) => Err(io::Error::other("the disk was stopped")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
        }
    }

    fn rename_directory(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let is_taken = |path: &Path| path == to || path.starts_with(to);
        if self.directories.contains(to) || self.names.keys().any(|path| is_taken(path)) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.admit_change()?;
        self.move_directories(from, to);
        self.change(NameChange::RenameDir { from: from.to_owned(), to: to.to_owned() });
        Ok(())
    }

    /// Gives a directory, and those in it, other names.
    fn move_directories(&mut self, from: &Path, to: &Path) {
        let directories = std::mem::take(&mut self.directories);
        self.directories = directories.into_iter().map(|path| moved(path, from, to)).collect();
    }

    /// Makes the changes to a directory durable.
    fn sync_names(&mut self, dir: &Path) {
        let mut kept: Vec<NameChange> = Vec::new();
        for change in std::mem::take(&mut self.name_changes) {
            if change.directory() != dir {
                kept.push(change);
                continue;
            }
            change.apply(&mut self.durable_names);
            if let NameChange::RenameDir { from, to } = &change {
                // What has changed in that directory before is still not durable, but is in it.
                kept.iter_mut().for_each(|earlier| earlier.move_with(from, to));
            }
        }
        self.name_changes = kept;
        self.drop_unreachable();
    }

    fn forget_handles(&mut self) {
        self.generation += 1;
        for inode in self.inodes.values_mut() {
            inode.handles = 0;
            inode.locked_by = None;
        }
    }

    /// Frees what neither a name, now or after a crash, nor a handle can reach.
    fn drop_unreachable(&mut self) {
        let named: BTreeSet<u64> = self
            .names
            .values()
            .chain(self.durable_names.values())
            .copied()
            .chain(self.name_changes.iter().filter_map(NameChange::inode))
            .collect();
        self.inodes.retain(|id, inode| inode.handles > 0 || named.contains(id));
    }
}

impl NameChange {
    /// The file that this is about; none if it is a directory.
    fn inode(&self) -> Option<u64> {
        match self {
            Self::Create { inode, .. }
            | Self::Remove { inode, .. }
            | Self::Rename { inode, .. } => Some(*inode),
            Self::RenameDir { .. } => None,
        }
    }

    fn directory(&self) -> &Path {
        match self {
            Self::Create { path, .. } | Self::Remove { path, .. } => parent(path),
            Self::Rename { to, .. } | Self::RenameDir { to, .. } => parent(to),
        }
    }

    /// After a crash an earlier change may be missing, so a name is only taken away if it still
    /// means the file that this change was about.
    fn apply(&self, names: &mut BTreeMap<PathBuf, u64>) {
        let mut take_away = |path: &Path, inode| {
            if names.get(path) == Some(&inode) {
                names.remove(path);
            }
        };
        match self {
            Self::Create { path, inode } => {
                names.insert(path.clone(), *inode);
            }
            Self::Remove { path, inode } => take_away(path, *inode),
            Self::Rename { from, to, inode } => {
                take_away(from, *inode);
                names.insert(to.clone(), *inode);
            }
            Self::RenameDir { from, to } => {
                let before = std::mem::take(names);
                let after = before.into_iter().map(|(path, inode)| (moved(path, from, to), inode));
                *names = after.collect();
            }
        }
    }

    /// Follows a directory that was given another name.
    fn move_with(&mut self, from: &Path, to: &Path) {
        let paths = match self {
            Self::Create { path, .. } | Self::Remove { path, .. } => [Some(path), None],
            Self::Rename { from, to, .. } | Self::RenameDir { from, to } => [Some(from), Some(to)],
        };
        for path in paths.into_iter().flatten() {
            *path = moved(std::mem::take(path), from, to);
        }
    }
}

/// The path after a directory was given another name.
fn moved(path: PathBuf, from: &Path, to: &Path) -> PathBuf {
    match path.strip_prefix(from) {
        Ok(rest) if rest.as_os_str().is_empty() => to.to_owned(),
        Ok(rest) => to.join(rest),
        Err(_) => path,
    }
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}

/// A panic elsewhere leaves the disk as it was at that moment, which is what disks do.
fn lock(disk: &Mutex<Disk>) -> MutexGuard<'_, Disk> {
    disk.lock().unwrap_or_else(PoisonError::into_inner)
}
