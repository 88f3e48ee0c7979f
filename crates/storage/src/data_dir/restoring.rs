//! A directory that is being filled with what was not made in it: a backup.
//!
//! The file `RESTORING` comes first, then what is restored, then `IDENTITY`, and then `RESTORING`
//! goes, each durable before the next. So a directory with the mark and no identity holds half of
//! something and is refused, except by whoever begins anew; one with an identity holds all of it,
//! whether the mark is still there or not.

use std::io;
use std::path::{Path, PathBuf};

use super::{
    Attempt, DataDirError, HARMLESS_NAMES, IDENTITY_NAME, Identity, Result, read_identity,
    take_lock, write_identity,
};
use crate::log::LogId;
use crate::mutant::Mutant;
use crate::vfs::Vfs;

pub(super) const MARK_NAME: &str = "RESTORING";

/// A directory that is this process's alone, to be filled. Dropped before it is finished, it stays
/// marked.
#[derive(Debug)]
pub struct Restoring<V: Vfs> {
    path: PathBuf,
    identity: Identity,
    log_id: LogId,
    #[cfg(feature = "mutants")]
    mutant: Option<Mutant>,
    /// Never read: dropping it gives up the lock.
    _lock: V::File,
}

impl<V: Vfs> Restoring<V> {
    /// Takes the directory at `path`, creating it if it is missing. It must be empty, but for what
    /// an earlier attempt has left; that is the caller's to remove. `log_id` is a number drawn at
    /// random, that of the log that will begin there.
    pub fn begin(vfs: &V, path: &Path, identity: Identity, log_id: LogId) -> Result<Self> {
        Self::begin_with(vfs, path, identity, log_id, None)
    }

    /// As [`Restoring::begin`], with a deliberate bug, for tests of the tests.
    #[cfg(feature = "mutants")]
    pub fn begin_mutated(
        vfs: &V,
        path: &Path,
        identity: Identity,
        log_id: LogId,
        mutant: Option<Mutant>,
    ) -> Result<Self> {
        Self::begin_with(vfs, path, identity, log_id, mutant)
    }

    fn begin_with(
        vfs: &V,
        path: &Path,
        identity: Identity,
        log_id: LogId,
        mutant: Option<Mutant>,
    ) -> Result<Self> {
        vfs.create_dir_all(path).attempt("create directory", path)?;
        // Looked at before the lock, so that not even a lock file is left in somebody's directory.
        check_is_free(vfs, path)?;
        let lock = take_lock(vfs, path)?;
        check_is_free(vfs, path)?;
        let mark = path.join(MARK_NAME);
        match vfs.create_new(&mark) {
            // That of an earlier attempt says the same.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            outcome => drop(outcome.attempt("create", &mark)?),
        }
        vfs.sync_dir(path).attempt("sync directory", path)?;
        if mutant == Some(Mutant::IdentityBeforeRestored) {
            write_identity(vfs, path, &identity, log_id)?;
        }
        Ok(Self {
            path: path.to_owned(),
            identity,
            log_id,
            #[cfg(feature = "mutants")]
            mutant,
            _lock: lock,
        })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All that is restored is there, and durable: it is a data directory from now on.
    pub fn finish(self, vfs: &V) -> Result<()> {
        #[cfg(feature = "mutants")]
        if self.mutant == Some(Mutant::IdentityBeforeRestored) {
            return Ok(());
        }
        write_identity(vfs, &self.path, &self.identity, self.log_id)?;
        let mark = self.path.join(MARK_NAME);
        vfs.remove(&mark).attempt("remove", &mark)?;
        vfs.sync_dir(&self.path).attempt("sync directory", &self.path)
    }
}

fn check_is_free(vfs: &impl Vfs, path: &Path) -> Result<()> {
    let names = vfs.list(path).attempt("list", path)?;
    let has = |wanted: &str| names.iter().any(|name| name == wanted);
    if has(IDENTITY_NAME) {
        let (Identity { cluster_id, node_id, .. }, _) = read_identity(vfs, path)?;
        return Err(DataDirError::Taken { path: path.to_owned(), cluster_id, node_id });
    }
    // The mark is there only if the directory was empty.
    let stranger = names.iter().find(|name| !HARMLESS_NAMES.contains(&name.as_str()));
    match stranger {
        Some(found) if !has(MARK_NAME) => {
            Err(DataDirError::NotADataDir { path: path.to_owned(), found: found.clone() })
        }
        _ => Ok(()),
    }
}
