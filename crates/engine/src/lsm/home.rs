//! The directory of an engine: trees by number, and a pointer to the one in use.
//!
//! ```text
//! CURRENT    "quorate engine 1", the number of the tree, a checksum of both
//! 3/         the tree in use
//! 4/         a tree that is being filled by an import, if there is one
//! ```
//!
//! The pointer is replaced by renaming, so a crash leaves the old tree in use or the new one. What it does not point to
//! is removed when the engine is opened.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use xxhash_rust::xxh3::xxh3_128;

use super::fault;
use crate::{EngineError, Result};

const POINTER: &str = "CURRENT";
const NEW_POINTER: &str = "CURRENT.new";
const FORMAT: &str = "quorate engine 1";

/// The directory of one tree. It goes with the last that holds it, once it is given up.
#[derive(Debug)]
pub(super) struct Home {
    path: PathBuf,
    number: u64,
    is_given_up: AtomicBool,
}

impl Home {
    fn new(dir: &Path, number: u64) -> Arc<Self> {
        let path = dir.join(number.to_string());
        Arc::new(Home { path, number, is_given_up: AtomicBool::new(false) })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Says whether the directory is to go when nobody holds it any more.
    pub(super) fn give_up(&self, is_given_up: bool) {
        self.is_given_up.store(is_given_up, Ordering::Release);
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if self.is_given_up.load(Ordering::Acquire) {
            // What cannot be removed now is removed when the engine is next opened.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// Finds the tree in use, and removes what is left of others. The flag says that the tree is to be made.
pub(super) fn open(dir: &Path) -> Result<(Arc<Home>, bool)> {
    fs::create_dir_all(dir).map_err(|error| fault::of_system(&error, "make", dir))?;
    let trees = trees(dir)?;
    let pointer = dir.join(POINTER);
    let number = match fs::read(&pointer) {
        Ok(bytes) => Some(number_in(&bytes).ok_or_else(|| EngineError::Corrupt {
            what: pointer.display().to_string(),
            why: "its checksum is wrong".into(),
        })?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(fault::of_system(&error, "read", &pointer)),
    };
    let _ = fs::remove_file(dir.join(NEW_POINTER));
    if let Some(number) = number {
        remove(dir, trees.into_iter().filter(|tree| *tree != number))?;
        let home = Home::new(dir, number);
        verify(&home.path)?;
        return Ok((home, false));
    }
    // The first tree is made before the pointer to it, and nothing is written to it in between.
    if let Some(used) = trees.iter().find(|tree| holds_tables(&dir.join(tree.to_string()))) {
        return Err(EngineError::Corrupt {
            what: pointer.display().to_string(),
            why: format!("it is missing, and there is data in {used}"),
        });
    }
    remove(dir, trees.into_iter())?;
    Ok((Home::new(dir, 1), true))
}

/// A place for another tree, which is given up until it is pointed to.
pub(super) fn beside(dir: &Path, home: &Home) -> Result<Arc<Home>> {
    let highest = trees(dir)?.into_iter().max().unwrap_or(0).max(home.number);
    let next = Home::new(dir, highest + 1);
    next.give_up(true);
    Ok(next)
}

/// Points to a tree, durably.
pub(super) fn point_to(dir: &Path, home: &Home) -> Result<()> {
    let new = dir.join(NEW_POINTER);
    let text = format!("{FORMAT}\n{}\n", home.number);
    let text = format!("{text}{:032x}\n", xxh3_128(text.as_bytes()));
    let write = || -> io::Result<()> {
        let mut file = File::create(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        sync_directory(&home.path)?;
        fs::rename(&new, dir.join(POINTER))?;
        sync_directory(dir)
    };
    write().map_err(|error| fault::of_system(&error, "write", &new))
}

/// Whether the pointer, as it can be read, is to this tree.
pub(super) fn is_pointed_to(dir: &Path, home: &Home) -> bool {
    fs::read(dir.join(POINTER)).ok().and_then(|bytes| number_in(&bytes)) == Some(home.number)
}

/// Removes the tables that the tree does not know: what an attempt that failed has left.
pub(super) fn remove_strays(home: &Home, version: u64, is_known: impl Fn(u64) -> bool) {
    // After an error the disk may be ahead of what the tree believes; then nothing is known to be a stray.
    let current = fs::read(home.path.join("current")).unwrap_or_default();
    if current.first_chunk().map(|bytes| u64::from_le_bytes(*bytes)) != Some(version) {
        return;
    }
    let tables = home.path.join("tables");
    for table in numbered(&tables).unwrap_or_default().into_iter().filter(|id| !is_known(*id)) {
        let _ = fs::remove_file(tables.join(table.to_string()));
    }
}

fn number_in(pointer: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(pointer).ok()?;
    let body_bytes = text.strip_suffix('\n')?.rfind('\n')? + 1;
    let (body, checksum) = text.split_at(body_bytes);
    if checksum != format!("{:032x}\n", xxh3_128(body.as_bytes())) {
        return None;
    }
    let (format, number) = body.split_once('\n')?;
    if format != FORMAT {
        return None;
    }
    number.trim_end().parse().ok()
}

fn trees(dir: &Path) -> Result<Vec<u64>> {
    numbered(dir).map_err(|error| fault::of_system(&error, "list", dir))
}

fn numbered(dir: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        numbers.extend(name.to_str().and_then(|name| name.parse::<u64>().ok()));
    }
    Ok(numbers)
}

fn holds_tables(tree: &Path) -> bool {
    fs::read_dir(tree.join("tables")).is_ok_and(|mut tables| tables.next().is_some())
}

fn remove(dir: &Path, trees: impl Iterator<Item = u64>) -> Result<()> {
    for tree in trees {
        let path = dir.join(tree.to_string());
        fs::remove_dir_all(&path).map_err(|error| fault::of_system(&error, "remove", &path))?;
    }
    Ok(())
}

/// Checks what the library believes without a checksum when it opens a tree.
fn verify(tree: &Path) -> Result<()> {
    let corrupt = |what: &Path, why: &str| EngineError::Corrupt {
        what: what.display().to_string(),
        why: why.into(),
    };
    let read = |path: &Path| fs::read(path).map_err(|error| fault::of_system(&error, "read", path));
    // "current" holds the number of the version and the checksum of its file, and what kind of checksum that is.
    let current = tree.join("current");
    let bytes = read(&current)?;
    let (Some(version), Some(checksum), 25) =
        (bytes.first_chunk(), bytes.get(8..).and_then(<[u8]>::first_chunk), bytes.len())
    else {
        return Err(corrupt(&current, "it has the wrong length"));
    };
    if bytes[24] != 0 {
        return Err(corrupt(&current, "its kind of checksum is unknown"));
    }
    let version = tree.join(format!("v{}", u64::from_le_bytes(*version)));
    if xxh3_128(&read(&version)?) != u128::from_le_bytes(*checksum) {
        return Err(corrupt(&version, "its checksum is wrong"));
    }
    let tables = tree.join("tables");
    let ids = numbered(&tables).map_err(|error| fault::of_system(&error, "list", &tables))?;
    for id in ids {
        let table = tables.join(id.to_string());
        let is_sound =
            has_sound_length(&table).map_err(|error| fault::of_system(&error, "read", &table))?;
        if !is_sound {
            return Err(corrupt(&table, "its table of contents is too long"));
        }
    }
    let entries = fs::read_dir(tree).map_err(|error| fault::of_system(&error, "list", tree))?;
    for entry in entries.flatten().filter(|entry| is_temporary(&entry.file_name())) {
        let _ = fs::remove_file(entry.path());
    }
    Ok(())
}

fn is_temporary(name: &std::ffi::OsStr) -> bool {
    name.to_str().is_some_and(|name| name.starts_with(".tmp"))
}

/// Whether the table of contents of a file has no more entries than any has. The library reserves memory for as many as
/// the file says before it looks at the checksum, and no memory is the end of the process. All else that is wrong it
/// finds itself.
fn has_sound_length(table: &Path) -> io::Result<bool> {
    const TRAILER: &[u8] = b"SFA!";
    const TRAILER_BYTES: u64 = 38;
    const CONTENTS_AT: usize = 22;
    const ENTRIES_MAX: u32 = 64;
    let mut file = File::open(table)?;
    let bytes = file.metadata()?.len();
    let mut trailer = [0; TRAILER_BYTES as usize];
    if bytes < TRAILER_BYTES {
        return Ok(true);
    }
    file.seek(SeekFrom::Start(bytes - TRAILER_BYTES))?;
    file.read_exact(&mut trailer)?;
    let Some(contents_at) = trailer.get(CONTENTS_AT..).and_then(<[u8]>::first_chunk) else {
        return Ok(false);
    };
    let contents_at = u64::from_le_bytes(*contents_at);
    if !trailer.starts_with(TRAILER) || contents_at.checked_add(8).is_none_or(|end| end > bytes) {
        return Ok(true);
    }
    let mut head = [0; 8];
    file.seek(SeekFrom::Start(contents_at))?;
    file.read_exact(&mut head)?;
    let [_, _, _, _, entries @ ..] = head;
    Ok(u32::from_le_bytes(entries) <= ENTRIES_MAX)
}

fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}
